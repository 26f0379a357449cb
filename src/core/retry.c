/* retry.c - what happens after a failure: policies, and how long to wait.
 *
 *     delay = min(cap, base × factor^(n-1)), less up to jitter percent of it
 *
 * in integers, where n counts the failures. The jitter is a hash of (task, attempt): spread over tasks, the same in every
 * replay. Policies are interned, as nearly all tasks share a few; index 0 is the default one and stays. */
#include "base/hash.h"
#include "core/core_internal.h"

static uint64_t hash_policy(const struct core *core, const struct retry *retry)
{
    uint64_t numbers[5 + ARRAY_COUNT(retry->not_retryable)] = {
        retry->attempts_max, (uint64_t)retry->base_ms, (uint64_t)retry->cap_ms,
        (uint64_t)retry->factor_milli << 32 | retry->jitter_percent, retry->not_retryable_count};
    for (uint32_t i = 0; i < retry->not_retryable_count; i++) {
        numbers[5 + i] = retry->not_retryable[i];
    }
    return hash_keyed_numbers(&core->hash_key, numbers, 5 + retry->not_retryable_count);
}

static bool is_equal(const void *ctx, uint32_t value, const void *key)
{
    const struct retry *a = retry_at(ctx, value);
    const struct retry *b = key;
    return a->attempts_max == b->attempts_max && a->factor_milli == b->factor_milli &&
           a->jitter_percent == b->jitter_percent && a->base_ms == b->base_ms && a->cap_ms == b->cap_ms &&
           a->not_retryable_count == b->not_retryable_count &&
           memcmp(a->not_retryable, b->not_retryable, a->not_retryable_count * sizeof(a->not_retryable[0])) == 0;
}

static uint64_t hash_of(const void *ctx, uint32_t value)
{
    return hash_policy(ctx, retry_at(ctx, value));
}

static bool may_add(struct core *core, const struct command_caller *by)
{
    core->refusal = STATUS_BUSY;
    return by->id == 0 ? core->retries.used < LIMIT_RETRY_POLICIES : table_admits(core, by, TABLE_RETRY_POLICIES, 1);
}

uint32_t retry_acquire(struct core *core, const struct retry_policy *policy, const struct command_caller *by)
{
    struct retry wanted = {.refs = 1,
                           .attempts_max = policy->attempts_max,
                           .factor_milli = policy->factor_milli,
                           .jitter_percent = policy->jitter_percent,
                           .base_ms = policy->base_ms,
                           .cap_ms = policy->cap_ms,
                           .not_retryable_count = policy->not_retryable_count,
                           .owner = by->id};
    for (uint32_t i = 0; i < policy->not_retryable_count; i++) {
        wanted.not_retryable[i] = symbol_acquire(core, policy->not_retryable[i]);
        ensure(wanted.not_retryable[i] != NONE); /* task_submit has looked that there is room */
    }
    uint64_t hash = hash_policy(core, &wanted);
    uint32_t index = map_find(&core->retry_map, hash, is_equal, core, &wanted);
    if (index == MAP_NONE && may_add(core, by)) {
        index = slab_alloc(&core->retries);
        ensure(index != SLAB_NONE);
        *retry_at(core, index) = wanted;
        ensure(map_add(&core->retry_map, hash, index, hash_of, core));
        table_charge(core, wanted.owner, TABLE_RETRY_POLICIES, 1);
        table_charge(core, wanted.owner, TABLE_NAMES, (int32_t)wanted.not_retryable_count);
        return index;
    }
    for (uint32_t i = 0; i < wanted.not_retryable_count; i++) {
        symbol_unref(core, wanted.not_retryable[i]);
    }
    if (index == MAP_NONE) {
        return NONE;
    }
    retry_at(core, index)->refs++;
    return index;
}

void retry_unref(struct core *core, uint32_t index)
{
    struct retry *retry = retry_at(core, index);
    ensure(retry->refs > 0);
    if (--retry->refs > 0) {
        return;
    }
    map_remove(&core->retry_map, hash_policy(core, retry), index, hash_of, core);
    table_charge(core, retry->owner, TABLE_RETRY_POLICIES, -1);
    table_charge(core, retry->owner, TABLE_NAMES, -(int32_t)retry->not_retryable_count);
    for (uint32_t i = 0; i < retry->not_retryable_count; i++) {
        symbol_unref(core, retry->not_retryable[i]);
    }
    slab_free(&core->retries, index);
}

void retry_index(struct core *core, uint32_t index)
{
    ensure(map_add(&core->retry_map, hash_of(core, index), index, hash_of, core));
}

bool retry_is_retryable(const struct core *core, const struct retry *retry, struct slice error_kind)
{
    for (uint32_t i = 0; i < retry->not_retryable_count; i++) {
        if (slice_equal(symbol_text(core, retry->not_retryable[i]), error_kind)) {
            return false;
        }
    }
    return true;
}

int64_t retry_delay_ms(const struct retry *retry, uint32_t failures, uint64_t task_id, uint32_t attempt)
{
    ensure(failures >= 1);
    int64_t delay_ms = retry->base_ms;
    /* base and cap are below 2^35 and factor below 2^20: no step overflows. */
    for (uint32_t i = 1; i < failures && delay_ms > 0 && delay_ms < retry->cap_ms; i++) {
        int64_t next_ms = delay_ms * retry->factor_milli / 1000;
        if (next_ms == delay_ms) {
            break;
        }
        delay_ms = next_ms;
    }
    if (delay_ms > retry->cap_ms) {
        delay_ms = retry->cap_ms;
    }
    int64_t jitter_ms = delay_ms * retry->jitter_percent / 100;
    if (jitter_ms > 0) {
        delay_ms -= (int64_t)(hash_mix(hash_mix(task_id) ^ attempt) % (uint64_t)(jitter_ms + 1));
    }
    ensure(delay_ms >= 0);
    return delay_ms;
}

void retry_rehash(struct core *core)
{
    ensure(map_rehash(&core->retry_map, hash_of, core));
}
