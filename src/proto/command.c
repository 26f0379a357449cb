/* command.c - commands as bytes.
 *
 * A command is `u8 type | u32 len | body`. The body of a SUBMIT, by far the most frequent one, says in a mask which of
 * its optional fields are there, so that a plain task costs some sixty bytes of journal and about ten reads. The other
 * bodies are their fields in order. Strings are a u32 length and the bytes.
 *
 * What a decoder hands out is within every limit of limits.h; a value outside fails the reader, exactly like missing
 * bytes, and the command is CORRUPT. The encoders ensure the same limits, so what one end writes the other end reads. */
#include "proto/command.h"

#include <assert.h>
#include <stdio.h>

#include "base/base32.h"
#include "base/ensure.h"

#define TOKEN_SIZE 20u
#define INFO_SIZE_MAX 4096u
#define IDEMPOTENCY_KEY_SIZE (LIMIT_KEY_SIZE + 8u) /* an item of a batch has "#<index>" after the client's key */
#define FACTOR_MILLI_MAX 1000000u
#define NOT_RETRYABLE_MAX ARRAY_COUNT(((struct retry_policy *)0)->not_retryable)

/* The mask of a SUBMIT. */
enum {
    HAS_FAIRNESS_KEY = 1 << 0,
    HAS_UNIQUE = 1 << 1,
    HAS_IDEMPOTENCY_KEY = 1 << 2,
    HAS_BODY_HASH = 1 << 3,
    HAS_TRACEPARENT = 1 << 4,
    HAS_RUN_AT = 1 << 5,
    HAS_TTL = 1 << 6,
    HAS_TIMEOUT = 1 << 7,
    HAS_LEASE = 1 << 8,
    HAS_REQUIREMENT = 1 << 9,
    HAS_RETRY = 1 << 10,
    HAS_WEIGHT = 1 << 11,
    HAS_CALLER = 1 << 12,
    HAS_ANYBODY = 1 << 13, /* CALLER_ANYBODY, in no bytes: the plain submit stays small */
    HAS_ALONE = 1 << 14,   /* in no bytes either */
    HAS_RETRY_OF = 1 << 15,
    HAS_ALL = (1 << 16) - 1
};

void retry_policy_default(struct retry_policy *ret_policy)
{
    ret_policy->attempts_max = 3;
    ret_policy->factor_milli = 2000;
    ret_policy->jitter_percent = 10;
    ret_policy->base_ms = 1000;
    ret_policy->cap_ms = 300000;
    ret_policy->not_retryable_count = 0;
}

static bool retry_policy_is_default(const struct retry_policy *policy)
{
    return policy->attempts_max == 3 && policy->factor_milli == 2000 && policy->jitter_percent == 10 &&
           policy->base_ms == 1000 && policy->cap_ms == 300000 && policy->not_retryable_count == 0;
}

static bool is_duration(int64_t ms)
{
    return ms >= 0 && ms <= LIMIT_DURATION_MS;
}

/* --- encoding --- */

static void put_text(struct buf *out, struct slice text, size_t size_max)
{
    ensure(text.len <= size_max);
    buf_append_lv(out, text);
}

static void put_name(struct buf *out, struct slice name)
{
    ensure(name.len > 0);
    put_text(out, name, LIMIT_NAME_SIZE);
}

static void put_bool(struct buf *out, bool value)
{
    buf_append_u8(out, value ? 1 : 0);
}

static void put_duration(struct buf *out, int64_t ms)
{
    ensure(is_duration(ms));
    buf_append_u64(out, (uint64_t)ms);
}

/* The tail of a command; older ones end before it. */
static void put_caller(struct buf *out, const struct command_caller *caller)
{
    buf_append_u64(out, caller->id);
    put_bool(out, caller->is_operator);
}

static void put_requirement(struct buf *out, const struct requirement *requirement)
{
    ensure(requirement->label_count <= LIMIT_LABELS);
    buf_append_u32(out, requirement->cpu_milli);
    buf_append_u32(out, requirement->memory_mib);
    buf_append_u32(out, requirement->gpu);
    buf_append_u8(out, (uint8_t)requirement->label_count);
    for (uint32_t i = 0; i < requirement->label_count; i++) {
        put_name(out, requirement->labels[i]);
    }
}

static void put_retry(struct buf *out, const struct retry_policy *retry)
{
    ensure(retry->attempts_max >= 1 && retry->attempts_max <= LIMIT_ATTEMPTS);
    ensure(retry->factor_milli <= FACTOR_MILLI_MAX && retry->jitter_percent <= 100);
    ensure(retry->not_retryable_count <= NOT_RETRYABLE_MAX);
    buf_append_u32(out, retry->attempts_max);
    buf_append_u32(out, retry->factor_milli);
    buf_append_u8(out, (uint8_t)retry->jitter_percent);
    put_duration(out, retry->base_ms);
    put_duration(out, retry->cap_ms);
    buf_append_u8(out, (uint8_t)retry->not_retryable_count);
    for (uint32_t i = 0; i < retry->not_retryable_count; i++) {
        put_name(out, retry->not_retryable[i]);
    }
}

void command_put_tick(struct buf *out)
{
    buf_end_part(out, buf_begin_part(out, (uint8_t)COMMAND_TICK));
}

void command_put_configure(struct buf *out, const struct command_configure *command)
{
    size_t start = buf_begin_part(out, (uint8_t)COMMAND_CONFIGURE);
    ensure(command->tasks_max <= LIMIT_TASKS);
    buf_append_u32(out, command->tasks_max);
    buf_append_u64(out, command->payload_size_max);
    put_duration(out, command->finished_keep_ms);
    ensure(command->secret.len == 0 || command->secret.len == COMMAND_SECRET_SIZE);
    buf_append_slice(out, command->secret);
    ensure(command->deaths_max <= LIMIT_DEATHS_MAX);
    buf_append_u32(out, command->deaths_max);
    buf_end_part(out, start);
}

static uint16_t submit_mask(const struct command_submit *command)
{
    const struct requirement *requirement = &command->requirement;
    bool has_requirement = requirement->label_count > 0 || requirement->cpu_milli > 0 || requirement->memory_mib > 0 ||
                           requirement->gpu > 0;
    unsigned mask = 0;
    mask |= command->fairness_key.len > 0 ? HAS_FAIRNESS_KEY : 0;
    mask |= command->unique_mode != UNIQUE_NONE ? HAS_UNIQUE : 0;
    mask |= command->idempotency_key.len > 0 ? HAS_IDEMPOTENCY_KEY : 0;
    mask |= command->body_hash != 0 ? HAS_BODY_HASH : 0;
    mask |= command->traceparent.len > 0 ? HAS_TRACEPARENT : 0;
    mask |= command->run_at_ns != 0 ? HAS_RUN_AT : 0;
    mask |= command->ttl_ms != 0 ? HAS_TTL : 0;
    mask |= command->timeout_ms != 0 ? HAS_TIMEOUT : 0;
    mask |= command->lease_ms != 0 ? HAS_LEASE : 0;
    mask |= has_requirement ? HAS_REQUIREMENT : 0;
    mask |= requirement->is_alone ? HAS_ALONE : 0;
    mask |= command->retry_of != 0 ? HAS_RETRY_OF : 0;
    mask |= !retry_policy_is_default(&command->retry) ? HAS_RETRY : 0;
    mask |= command->weight != 1 ? HAS_WEIGHT : 0;
    if (command->by.id != 0) {
        bool is_counted = command->fairness_key.len > 0 || (mask & (HAS_REQUIREMENT | HAS_RETRY)) != 0;
        mask |= is_counted ? HAS_CALLER : HAS_ANYBODY;
    }
    return (uint16_t)mask;
}

void command_put_submit(struct buf *out, const struct command_submit *command)
{
    size_t start = buf_begin_part(out, (uint8_t)COMMAND_SUBMIT);
    uint16_t mask = submit_mask(command);
    ensure(command->priority <= LIMIT_PRIORITY_MAX);
    buf_append_u16(out, mask);
    buf_append_u8(out, command->priority);
    put_name(out, command->queue);
    put_name(out, command->kind);
    put_text(out, command->input, LIMIT_INPUT_SIZE);
    if (mask & HAS_FAIRNESS_KEY) {
        put_text(out, command->fairness_key, LIMIT_KEY_SIZE);
    }
    if (mask & HAS_UNIQUE) {
        ensure(command->unique_mode <= UNIQUE_FOR_TIME && command->unique_key.len > 0);
        buf_append_u8(out, (uint8_t)command->unique_mode);
        put_text(out, command->unique_key, LIMIT_KEY_SIZE);
        put_duration(out, command->unique_ms);
    }
    if (mask & HAS_IDEMPOTENCY_KEY) {
        put_text(out, command->idempotency_key, IDEMPOTENCY_KEY_SIZE);
    }
    if (mask & HAS_BODY_HASH) {
        buf_append_u64(out, command->body_hash);
    }
    if (mask & HAS_TRACEPARENT) {
        put_text(out, command->traceparent, LIMIT_NAME_SIZE);
    }
    if (mask & HAS_RUN_AT) {
        ensure(command->run_at_ns > 0 && command->run_at_ns < INT64_MAX);
        buf_append_u64(out, (uint64_t)command->run_at_ns);
    }
    if (mask & HAS_TTL) {
        put_duration(out, command->ttl_ms);
    }
    if (mask & HAS_TIMEOUT) {
        put_duration(out, command->timeout_ms);
    }
    if (mask & HAS_LEASE) {
        put_duration(out, command->lease_ms);
    }
    if (mask & HAS_REQUIREMENT) {
        put_requirement(out, &command->requirement);
    }
    if (mask & HAS_RETRY_OF) {
        buf_append_u64(out, command->retry_of);
    }
    if (mask & HAS_RETRY) {
        put_retry(out, &command->retry);
    }
    if (mask & HAS_WEIGHT) {
        ensure(command->weight >= 1 && command->weight <= LIMIT_WEIGHT_MAX);
        buf_append_u16(out, (uint16_t)command->weight);
    }
    if (mask & HAS_CALLER) {
        put_caller(out, &command->by);
    }
    buf_end_part(out, start);
}

void command_put_task(struct buf *out, enum command_type type, const struct command_task *command)
{
    ensure(type == COMMAND_CANCEL || type == COMMAND_RETRY);
    size_t start = buf_begin_part(out, (uint8_t)type);
    buf_append_u64(out, command->task_id);
    put_text(out, command->reason, LIMIT_ERROR_SIZE);
    buf_end_part(out, start);
}

void command_put_queue_set(struct buf *out, const struct command_queue_set *command)
{
    size_t start = buf_begin_part(out, (uint8_t)COMMAND_QUEUE_SET);
    put_name(out, command->name);
    put_bool(out, command->has_paused);
    put_bool(out, command->paused);
    put_bool(out, command->must_exist);
    put_caller(out, &command->by);
    buf_end_part(out, start);
}

void command_put_kind_set(struct buf *out, const struct command_kind_set *command)
{
    size_t start = buf_begin_part(out, (uint8_t)COMMAND_KIND_SET);
    put_name(out, command->name);
    put_caller(out, &command->by);
    buf_end_part(out, start);
}

void command_put_node_hello(struct buf *out, const struct command_node_hello *command)
{
    ensure(command->kind_count <= LIMIT_KINDS_PER_NODE && command->held_count <= LIMIT_CREDIT);
    size_t start = buf_begin_part(out, (uint8_t)COMMAND_NODE_HELLO);
    put_name(out, command->node);
    buf_append_u64(out, command->instance);
    put_bool(out, command->is_worker);
    buf_append_u32(out, command->credit);
    buf_append_u8(out, (uint8_t)command->kind_count);
    for (uint32_t i = 0; i < command->kind_count; i++) {
        put_name(out, command->kinds[i]);
    }
    put_requirement(out, &command->facts);
    put_text(out, command->info, INFO_SIZE_MAX);
    buf_append_u32(out, command->held_count);
    buf_append(out, command->held, (size_t)command->held_count * TOKEN_SIZE);
    bool has_caller = command->by.id != 0;
    if (command->owner != 0 || command->start != 0 || has_caller) {
        buf_append_u64(out, command->owner);
        buf_append_u64(out, command->start);
    }
    if (has_caller) {
        put_caller(out, &command->by);
    }
    buf_end_part(out, start);
}

void command_put_node_report(struct buf *out, const struct command_node_report *command)
{
    size_t start = buf_begin_part(out, (uint8_t)COMMAND_NODE_REPORT);
    buf_append_u64(out, command->session);
    buf_append_u32(out, command->credit_add);
    put_bool(out, command->has_credit);
    buf_append_u32(out, command->credit_set);
    buf_append_u32(out, command->outcome_count);
    buf_append_lv(out, command->outcomes);
    buf_end_part(out, start);
}

void command_put_node_lost(struct buf *out, const struct command_node_lost *command)
{
    ensure(command->reason >= LOST_SILENT && command->reason <= LOST_REPLACED);
    size_t start = buf_begin_part(out, (uint8_t)COMMAND_NODE_LOST);
    buf_append_u64(out, command->session);
    buf_append_u8(out, (uint8_t)command->reason);
    buf_end_part(out, start);
}

void command_put_node_set(struct buf *out, const struct command_node_set *command)
{
    size_t start = buf_begin_part(out, (uint8_t)COMMAND_NODE_SET);
    put_name(out, command->node);
    put_bool(out, command->has_drain);
    put_bool(out, command->drain);
    put_bool(out, command->has_quiet);
    put_bool(out, command->quiet);
    buf_end_part(out, start);
}

void command_put_history_done(struct buf *out, const struct command_history_done *command)
{
    size_t start = buf_begin_part(out, (uint8_t)COMMAND_HISTORY_DONE);
    buf_append_u64(out, command->seq);
    buf_end_part(out, start);
}

void command_put_drop(struct buf *out, const struct command_drop *command)
{
    ensure(command->what >= DROP_KIND && command->what <= DROP_NODE);
    size_t start = buf_begin_part(out, (uint8_t)COMMAND_DROP);
    buf_append_u8(out, (uint8_t)command->what);
    put_name(out, command->name);
    buf_end_part(out, start);
}

void command_put_collect(struct buf *out, const struct command_collect *command)
{
    size_t start = buf_begin_part(out, (uint8_t)COMMAND_COLLECT);
    put_duration(out, command->gone_ms);
    buf_append_u32(out, command->kinds_keep);
    buf_append_u32(out, command->queues_keep);
    buf_end_part(out, start);
}

bool lease_token_equal(const struct lease_token *a, const struct lease_token *b)
{
    return a->task_id == b->task_id && a->attempt == b->attempt && a->seq == b->seq;
}

void lease_token_put(struct buf *out, const struct lease_token *token)
{
    buf_append_u64(out, token->task_id);
    buf_append_u32(out, token->attempt);
    buf_append_u64(out, token->seq);
}

void outcome_put(struct buf *out, const struct outcome *outcome)
{
    size_t start = out->len;
    buf_append_u8(out, (uint8_t)outcome->type);
    lease_token_put(out, &outcome->token);
    switch (outcome->type) {
    case OUTCOME_COMPLETE:
        put_text(out, outcome->payload, LIMIT_INPUT_SIZE);
        break;
    case OUTCOME_FAIL:
        put_bool(out, outcome->is_final);
        put_text(out, outcome->error_kind, LIMIT_NAME_SIZE);
        put_text(out, outcome->message, LIMIT_ERROR_SIZE);
        put_text(out, outcome->payload, LIMIT_INPUT_SIZE);
        break;
    case OUTCOME_EXTEND:
        put_duration(out, outcome->lease_ms);
        break;
    case OUTCOME_PROGRESS:
        ensure(outcome->progress_permille <= 1000);
        buf_append_u16(out, outcome->progress_permille);
        put_duration(out, outcome->lease_ms);
        put_text(out, outcome->message, LIMIT_PROGRESS_SIZE);
        put_text(out, outcome->payload, LIMIT_INPUT_SIZE);
        break;
    case OUTCOME_RELEASE:
        put_text(out, outcome->message, LIMIT_ERROR_SIZE);
        break;
    default:
        ensure(!"an outcome type");
    }
    if (out->failed) {
        out->len = start;
    }
}

/* --- decoding: `reader->failed` stands for "too short" and for "outside of a limit" alike --- */

static struct slice get_text(struct reader *reader, size_t size_max)
{
    struct slice text = reader_lv(reader);
    if (text.len > size_max) {
        reader->failed = true;
        return (struct slice){NULL, 0};
    }
    return text;
}

static struct slice get_name(struct reader *reader)
{
    struct slice name = get_text(reader, LIMIT_NAME_SIZE);
    reader->failed |= name.len == 0;
    return name;
}

static bool get_bool(struct reader *reader)
{
    uint8_t value = reader_u8(reader);
    reader->failed |= value > 1;
    return value == 1;
}

static int64_t get_duration(struct reader *reader)
{
    uint64_t ms = reader_u64(reader);
    if (ms > (uint64_t)LIMIT_DURATION_MS) {
        reader->failed = true;
        return 0;
    }
    return (int64_t)ms;
}

/* Whether the body goes on with a field that came later than the ones before it; if not, it means its default. */
static inline bool has_tail(const struct reader *reader)
{
    return reader_left(reader) > 0;
}

/* The tail that newer commands have. */
static void get_caller(struct reader *reader, struct command_caller *ret)
{
    *ret = (struct command_caller){0};
    if (has_tail(reader)) {
        ret->id = reader_u64(reader);
        ret->is_operator = get_bool(reader);
    }
}

/* A number of things; 0 when it is above the maximum, so that no loop runs on a wrong one. */
static uint32_t get_count(struct reader *reader, uint32_t count, uint32_t count_max)
{
    if (count > count_max) {
        reader->failed = true;
        return 0;
    }
    return count;
}

static void get_requirement(struct reader *reader, struct requirement *ret)
{
    ret->cpu_milli = reader_u32(reader);
    ret->memory_mib = reader_u32(reader);
    ret->gpu = reader_u32(reader);
    ret->label_count = get_count(reader, reader_u8(reader), LIMIT_LABELS);
    for (uint32_t i = 0; i < ret->label_count; i++) {
        ret->labels[i] = get_name(reader);
    }
}

static void get_retry(struct reader *reader, struct retry_policy *ret)
{
    ret->attempts_max = reader_u32(reader);
    ret->factor_milli = reader_u32(reader);
    ret->jitter_percent = reader_u8(reader);
    ret->base_ms = get_duration(reader);
    ret->cap_ms = get_duration(reader);
    ret->not_retryable_count = get_count(reader, reader_u8(reader), NOT_RETRYABLE_MAX);
    for (uint32_t i = 0; i < ret->not_retryable_count; i++) {
        ret->not_retryable[i] = get_name(reader);
    }
    reader->failed |= ret->attempts_max < 1 || ret->attempts_max > LIMIT_ATTEMPTS ||
                      ret->factor_milli > FACTOR_MILLI_MAX || ret->jitter_percent > 100;
}

static void get_submit(struct reader *reader, struct command_submit *ret)
{
    const struct slice none = {NULL, 0};
    uint16_t mask = reader_u16(reader);
    reader->failed |= (mask & ~(unsigned)HAS_ALL) != 0;
    ret->priority = reader_u8(reader);
    reader->failed |= ret->priority > LIMIT_PRIORITY_MAX;
    ret->queue = get_name(reader);
    ret->kind = get_name(reader);
    ret->input = get_text(reader, LIMIT_INPUT_SIZE);
    ret->fairness_key = mask & HAS_FAIRNESS_KEY ? get_text(reader, LIMIT_KEY_SIZE) : none;
    ret->unique_mode = UNIQUE_NONE;
    ret->unique_key = none;
    ret->unique_ms = 0;
    if (mask & HAS_UNIQUE) {
        uint8_t mode = reader_u8(reader);
        reader->failed |= mode > UNIQUE_FOR_TIME;
        ret->unique_mode = (enum unique_mode)mode;
        ret->unique_key = get_text(reader, LIMIT_KEY_SIZE);
        reader->failed |= ret->unique_key.len == 0;
        ret->unique_ms = get_duration(reader);
    }
    ret->idempotency_key = mask & HAS_IDEMPOTENCY_KEY ? get_text(reader, IDEMPOTENCY_KEY_SIZE) : none;
    ret->body_hash = mask & HAS_BODY_HASH ? reader_u64(reader) : 0;
    ret->traceparent = mask & HAS_TRACEPARENT ? get_text(reader, LIMIT_NAME_SIZE) : none;
    ret->run_at_ns = 0;
    if (mask & HAS_RUN_AT) {
        uint64_t run_at_ns = reader_u64(reader);
        reader->failed |= run_at_ns >= INT64_MAX;
        ret->run_at_ns = (int64_t)run_at_ns;
    }
    ret->ttl_ms = mask & HAS_TTL ? get_duration(reader) : 0;
    ret->timeout_ms = mask & HAS_TIMEOUT ? get_duration(reader) : 0;
    ret->lease_ms = mask & HAS_LEASE ? get_duration(reader) : 0;
    if (mask & HAS_REQUIREMENT) {
        get_requirement(reader, &ret->requirement);
    } else {
        ret->requirement.label_count = 0;
        ret->requirement.cpu_milli = ret->requirement.memory_mib = ret->requirement.gpu = 0;
    }
    ret->requirement.is_alone = (mask & HAS_ALONE) != 0;
    ret->retry_of = mask & HAS_RETRY_OF ? reader_u64(reader) : 0;
    reader->failed |= (mask & HAS_RETRY_OF) != 0 && ret->retry_of == 0;
    if (mask & HAS_RETRY) {
        get_retry(reader, &ret->retry);
    } else {
        retry_policy_default(&ret->retry);
    }
    ret->weight = mask & HAS_WEIGHT ? reader_u16(reader) : 1;
    reader->failed |= ret->weight < 1 || ret->weight > LIMIT_WEIGHT_MAX;
    ret->by = (struct command_caller){0};
    if (mask & HAS_CALLER) {
        get_caller(reader, &ret->by);
        reader->failed |= ret->by.id == 0;
    } else if (mask & HAS_ANYBODY) {
        ret->by.id = CALLER_ANYBODY;
    }
}

static void get_configure(struct reader *reader, struct command_configure *ret)
{
    ret->tasks_max = get_count(reader, reader_u32(reader), LIMIT_TASKS);
    ret->payload_size_max = reader_u64(reader);
    ret->finished_keep_ms = get_duration(reader);
    bool has_secret = reader_left(reader) >= COMMAND_SECRET_SIZE;
    ret->secret = has_secret ? reader_bytes(reader, COMMAND_SECRET_SIZE) : (struct slice){NULL, 0};
    ret->deaths_max = has_tail(reader) ? get_count(reader, reader_u32(reader), LIMIT_DEATHS_MAX) : 0;
}

static void get_task(struct reader *reader, struct command_task *ret)
{
    ret->task_id = reader_u64(reader);
    ret->reason = get_text(reader, LIMIT_ERROR_SIZE);
}

static void get_queue_set(struct reader *reader, struct command_queue_set *ret)
{
    ret->name = get_name(reader);
    ret->has_paused = get_bool(reader);
    ret->paused = get_bool(reader);
    ret->must_exist = get_bool(reader);
    get_caller(reader, &ret->by);
}

static void get_node_hello(struct reader *reader, struct command_node_hello *ret)
{
    ret->node = get_name(reader);
    ret->instance = reader_u64(reader);
    ret->is_worker = get_bool(reader);
    ret->credit = reader_u32(reader);
    ret->kind_count = get_count(reader, reader_u8(reader), LIMIT_KINDS_PER_NODE);
    for (uint32_t i = 0; i < ret->kind_count; i++) {
        ret->kinds[i] = get_name(reader);
    }
    get_requirement(reader, &ret->facts);
    ret->info = get_text(reader, INFO_SIZE_MAX);
    ret->held_count = get_count(reader, reader_u32(reader), LIMIT_CREDIT);
    ret->held = reader_bytes(reader, (size_t)ret->held_count * TOKEN_SIZE).data;
    bool has_owner = has_tail(reader);
    ret->owner = has_owner ? reader_u64(reader) : 0;
    ret->start = has_owner ? reader_u64(reader) : 0;
    get_caller(reader, &ret->by);
}

static void get_node_report(struct reader *reader, struct command_node_report *ret)
{
    ret->session = reader_u64(reader);
    ret->credit_add = reader_u32(reader);
    ret->has_credit = get_bool(reader);
    ret->credit_set = reader_u32(reader);
    ret->outcome_count = reader_u32(reader);
    ret->outcomes = reader_lv(reader);
    struct reader outcomes = reader_of(ret->outcomes);
    struct outcome outcome;
    uint32_t count = 0;
    while (outcome_next(&outcomes, &outcome)) {
        count++;
    }
    reader->failed |= outcomes.failed || count != ret->outcome_count;
}

static void get_node_lost(struct reader *reader, struct command_node_lost *ret)
{
    ret->session = reader_u64(reader);
    uint8_t reason = reader_u8(reader);
    reader->failed |= reason < LOST_SILENT || reason > LOST_REPLACED;
    ret->reason = (enum lost_reason)reason;
}

static void get_node_set(struct reader *reader, struct command_node_set *ret)
{
    ret->node = get_name(reader);
    ret->has_drain = get_bool(reader);
    ret->drain = get_bool(reader);
    ret->has_quiet = get_bool(reader);
    ret->quiet = get_bool(reader);
}

static void get_drop(struct reader *reader, struct command_drop *ret)
{
    uint8_t what = reader_u8(reader);
    reader->failed |= what < DROP_KIND || what > DROP_NODE;
    ret->what = (enum drop_what)what;
    ret->name = get_name(reader);
}

enum status command_get(struct reader *reader, struct command *ret_command)
{
    uint8_t type = reader_u8(reader);
    uint32_t len = reader_u32(reader);
    struct reader body = reader_of(reader_bytes(reader, len));
    if (reader->failed) {
        return STATUS_CORRUPT;
    }
    ret_command->type = (enum command_type)type;
    switch (type) {
    case COMMAND_TICK:
        break;
    case COMMAND_CONFIGURE:
        get_configure(&body, &ret_command->as.configure);
        break;
    case COMMAND_SUBMIT:
        get_submit(&body, &ret_command->as.submit);
        break;
    case COMMAND_CANCEL:
    case COMMAND_RETRY:
        get_task(&body, &ret_command->as.task);
        break;
    case COMMAND_QUEUE_SET:
        get_queue_set(&body, &ret_command->as.queue_set);
        break;
    case COMMAND_KIND_SET:
        ret_command->as.kind_set.name = get_name(&body);
        get_caller(&body, &ret_command->as.kind_set.by);
        break;
    case COMMAND_NODE_HELLO:
        get_node_hello(&body, &ret_command->as.node_hello);
        break;
    case COMMAND_NODE_REPORT:
        get_node_report(&body, &ret_command->as.node_report);
        break;
    case COMMAND_NODE_LOST:
        get_node_lost(&body, &ret_command->as.node_lost);
        break;
    case COMMAND_NODE_SET:
        get_node_set(&body, &ret_command->as.node_set);
        break;
    case COMMAND_HISTORY_DONE:
        ret_command->as.history_done.seq = reader_u64(&body);
        break;
    case COMMAND_DROP:
        get_drop(&body, &ret_command->as.drop);
        break;
    case COMMAND_COLLECT:
        ret_command->as.collect.gone_ms = get_duration(&body);
        ret_command->as.collect.kinds_keep = reader_u32(&body);
        ret_command->as.collect.queues_keep = reader_u32(&body);
        break;
    default:
        reader->failed = true;
        return type == 0 ? STATUS_CORRUPT : STATUS_TOO_NEW;
    }
    if (!reader_is_done(&body)) {
        reader->failed = true;
        return STATUS_CORRUPT;
    }
    return STATUS_OK;
}

struct lease_token lease_token_get(struct reader *reader)
{
    struct lease_token token;
    token.task_id = reader_u64(reader);
    token.attempt = reader_u32(reader);
    token.seq = reader_u64(reader);
    return token;
}

bool outcome_next(struct reader *reader, struct outcome *ret_outcome)
{
    if (reader->failed || reader->at == reader->end) {
        return false;
    }
    *ret_outcome = (struct outcome){.type = (enum outcome_type)reader_u8(reader)};
    ret_outcome->token = lease_token_get(reader);
    switch (ret_outcome->type) {
    case OUTCOME_COMPLETE:
        ret_outcome->payload = get_text(reader, LIMIT_INPUT_SIZE);
        break;
    case OUTCOME_FAIL:
        ret_outcome->is_final = get_bool(reader);
        ret_outcome->error_kind = get_text(reader, LIMIT_NAME_SIZE);
        ret_outcome->message = get_text(reader, LIMIT_ERROR_SIZE);
        ret_outcome->payload = get_text(reader, LIMIT_INPUT_SIZE);
        break;
    case OUTCOME_EXTEND:
        ret_outcome->lease_ms = get_duration(reader);
        break;
    case OUTCOME_PROGRESS:
        ret_outcome->progress_permille = reader_u16(reader);
        reader->failed |= ret_outcome->progress_permille > 1000;
        ret_outcome->lease_ms = get_duration(reader);
        ret_outcome->message = get_text(reader, LIMIT_PROGRESS_SIZE);
        ret_outcome->payload = get_text(reader, LIMIT_INPUT_SIZE);
        break;
    case OUTCOME_RELEASE:
        ret_outcome->message = get_text(reader, LIMIT_ERROR_SIZE);
        break;
    default:
        reader->failed = true;
    }
    return !reader->failed;
}

struct lease_token command_held_at(const struct command_node_hello *hello, uint32_t i)
{
    ensure(i < hello->held_count);
    struct reader reader = reader_of(slice_of(hello->held + (size_t)i * TOKEN_SIZE, TOKEN_SIZE));
    return lease_token_get(&reader);
}

void entry_head_put(struct buf *out, const struct entry_head *head)
{
    buf_append_u64(out, head->origin);
    ensure(head->batch <= ENTRY_BATCH_MAX);
    buf_append_u64(out, head->batch | (uint64_t)ENTRY_LEVEL << 56);
    buf_append_u32(out, head->count);
}

enum status entry_head_get(struct reader *reader, struct entry_head *ret_head)
{
    ret_head->origin = reader_u64(reader);
    uint64_t batch = reader_u64(reader);
    ret_head->batch = batch & ENTRY_BATCH_MAX;
    ret_head->level = (uint8_t)(batch >> 56);
    ret_head->count = reader_u32(reader);
    return reader->failed ? STATUS_CORRUPT : STATUS_OK;
}

/* Reads on to the first command that is not well-formed; `ret_type` is that one's type, `ret_ordinal` its place from 1. */
static enum status check_commands(struct reader *reader, uint32_t count, uint8_t *ret_type, uint32_t *ret_ordinal)
{
    struct command command;
    for (uint32_t i = 0; i < count; i++) {
        *ret_type = reader_left(reader) > 0 ? (uint8_t)*reader->at : 0;
        *ret_ordinal = i + 1;
        enum status status = command_get(reader, &command);
        if (status != STATUS_OK) {
            return status;
        }
    }
    return reader_is_done(reader) ? STATUS_OK : STATUS_CORRUPT;
}

enum status entry_check(struct slice body, struct entry_head *ret_head)
{
    struct reader reader = reader_of(body);
    uint8_t type;
    uint32_t ordinal;
    enum status status = entry_head_get(&reader, ret_head);
    if (status != STATUS_OK) {
        return status;
    }
    return ret_head->level > ENTRY_LEVEL ? STATUS_TOO_NEW : check_commands(&reader, ret_head->count, &type, &ordinal);
}

void entry_explain(struct slice body, char ret_why[ENTRY_WHY_SIZE])
{
    struct reader reader = reader_of(body);
    struct entry_head head;
    uint8_t type = 0;
    uint32_t ordinal = 0;
    ret_why[0] = '\0';
    if (entry_head_get(&reader, &head) != STATUS_OK) {
        return;
    }
    if (head.level > ENTRY_LEVEL) {
        (void)snprintf(ret_why, ENTRY_WHY_SIZE, "it has feature level %u, and this Shoal knows levels up to %u",
                       head.level, (unsigned)ENTRY_LEVEL);
    } else if (check_commands(&reader, head.count, &type, &ordinal) == STATUS_TOO_NEW) {
        (void)snprintf(ret_why, ENTRY_WHY_SIZE, "its command %u of %u has type %u, and this Shoal knows types up to %u",
                       ordinal, head.count, type, (unsigned)COMMAND_TYPE_END - 1);
    }
}

/* --- a token as text --- */

static size_t format_dec(uint64_t value, char *ret)
{
    char digits[20];
    size_t count = 0;
    do {
        digits[count++] = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    for (size_t i = 0; i < count; i++) {
        ret[i] = digits[count - 1 - i];
    }
    return count;
}

static struct seal seal_of(const struct seal_key *key, const struct lease_token *token)
{
    const uint64_t numbers[] = {token->task_id, token->attempt, token->seq};
    return seal_make(key, numbers, sizeof(numbers) / sizeof(numbers[0]));
}

void lease_token_seal(const struct seal_key *key, struct lease_token *token)
{
    token->seal = seal_of(key, token);
}

bool lease_token_is_sealed(const struct seal_key *key, const struct lease_token *token)
{
    struct seal seal = seal_of(key, token);
    return seal_equal(&seal, &token->seal);
}

void lease_token_name(const struct lease_token *token, char ret[LEASE_TOKEN_TEXT_SIZE])
{
    lease_token_format(&(struct lease_token){.task_id = token->task_id, .attempt = token->attempt, .seq = token->seq},
                       ret);
}

void lease_token_format(const struct lease_token *token, char ret[LEASE_TOKEN_TEXT_SIZE])
{
    static_assert(BASE32_DIGITS + 1 + 10 + 1 + 20 + 1 + SEAL_DIGITS < LEASE_TOKEN_TEXT_SIZE, "the longest token fits");
    base32_format(token->task_id, ret);
    size_t len = BASE32_DIGITS;
    ret[len++] = '.';
    len += format_dec(token->attempt, ret + len);
    ret[len++] = '.';
    len += format_dec(token->seq, ret + len);
    ret[len] = '\0';
    if (!seal_is_none(&token->seal)) {
        ret[len++] = '.';
        seal_format(&token->seal, ret + len);
    }
}

/* Plain digits without sign or leading zeros, so that a token has one spelling. */
static bool parse_dec(struct slice text, uint64_t value_max, uint64_t *ret_value)
{
    uint64_t value = 0;
    if (text.len == 0 || text.len > 20 || (text.len > 1 && text.data[0] == '0')) {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') {
            return false;
        }
        uint64_t digit = (uint64_t)(text.data[i] - '0');
        if (value > (value_max - digit) / 10) {
            return false;
        }
        value = value * 10 + digit;
    }
    *ret_value = value;
    return true;
}

bool lease_token_parse(struct slice text, struct lease_token *ret_token)
{
    uint64_t task_id, attempt, seq;
    if (text.len <= BASE32_DIGITS + 1 || text.data[BASE32_DIGITS] != '.' ||
        !base32_parse(slice_of(text.data, BASE32_DIGITS), &task_id)) {
        return false;
    }
    struct slice rest = slice_of(text.data + BASE32_DIGITS + 1, text.len - BASE32_DIGITS - 1);
    struct seal seal = {0};
    if (rest.len > SEAL_DIGITS && rest.data[rest.len - SEAL_DIGITS - 1] == '.') {
        if (!seal_parse(slice_of(rest.data + rest.len - SEAL_DIGITS, SEAL_DIGITS), &seal)) {
            return false;
        }
        rest.len -= SEAL_DIGITS + 1;
    }
    const char *dot = memchr(rest.data, '.', rest.len);
    if (dot == NULL || !parse_dec(slice_of(rest.data, (size_t)(dot - rest.data)), UINT32_MAX, &attempt) ||
        !parse_dec(slice_of(dot + 1, (size_t)(rest.data + rest.len - dot - 1)), UINT64_MAX, &seq)) {
        return false;
    }
    *ret_token = (struct lease_token){.task_id = task_id, .attempt = (uint32_t)attempt, .seq = seq, .seal = seal};
    return true;
}
