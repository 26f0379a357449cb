/* table.c - what fills up, who filled it, and how it empties again.
 *
 * The shared tables (names, kinds, queues, requirement sets, retry policies, fairness keys, sessions) are of fixed size, and
 * whatever a client says first makes a record in one of them. So that nobody can take them from the others:
 *
 *   share      a record has an owner, the caller whose command made it; one caller owns at most LIMIT_TABLE_SHARE_PERCENT
 *              of a table. It is given back when the record goes, whoever uses it by then
 *   reserve    above LIMIT_TABLE_OPEN_PERCENT only the operator makes new records
 *   no need    what exists is never refused; and the plain requirement set of a kind, the common key of a queue and the
 *              default policy are outside of the counts: a plain task needs nothing that can be full
 *   deletion   DROP of a kind, a queue, a node that nobody needs
 *   collection COLLECT: nodes that are long gone, under pressure kinds and queues that were never used
 *
 * Commands of before this have no caller. They are applied by the limits of then, so that a replay gives what was answered.
 *
 * Invariant C1: a caller's counts equal a recount over the owners. core_check() verifies it. */
#include "base/hash.h"
#include "core/core_internal.h"

/* --- callers --- */

static bool is_equal(const void *ctx, uint32_t value, const void *key)
{
    const struct core *core = ctx;
    return ((const struct caller *)slab_at(&core->callers, value))->id == *(const uint64_t *)key;
}

static uint64_t hash_of(const void *ctx, uint32_t value)
{
    const struct core *core = ctx;
    return hash_mix(((const struct caller *)slab_at(&core->callers, value))->id);
}

void table_init(struct core *core)
{
    slab_init(&core->callers, sizeof(struct caller), UINT32_MAX / 2); /* each owns at least one record */
}

void table_free(struct core *core)
{
    slab_free_all(&core->callers);
    map_free(&core->caller_map);
}

static uint32_t caller_find(const struct core *core, uint64_t id)
{
    return map_find(&core->caller_map, hash_mix(id), is_equal, core, &id);
}

void table_charge(struct core *core, uint64_t owner, enum core_table table, int32_t count)
{
    if (owner <= CALLER_ANYBODY || count == 0) {
        return;
    }
    uint32_t index = caller_find(core, owner);
    if (index == MAP_NONE) {
        index = slab_alloc(&core->callers);
        ensure(index != SLAB_NONE);
        *(struct caller *)slab_at(&core->callers, index) = (struct caller){.id = owner};
        ensure(map_add(&core->caller_map, hash_mix(owner), index, hash_of, core));
    }
    struct caller *caller = slab_at(&core->callers, index);
    ensure(count > 0 || caller->used[table] >= (uint32_t)-count);
    caller->used[table] += (uint32_t)count;
    for (unsigned i = 0; i < TABLE_SHARED; i++) {
        if (caller->used[i] > 0) {
            return;
        }
    }
    map_remove(&core->caller_map, hash_mix(owner), index, hash_of, core);
    slab_free(&core->callers, index);
}

uint32_t core_caller_used(const struct core *core, uint64_t caller, enum core_table table)
{
    ensure(table < TABLE_SHARED);
    uint32_t index = caller_find(core, caller);
    return index != MAP_NONE ? ((const struct caller *)slab_at(&core->callers, index))->used[table] : 0;
}

/* --- tables --- */

const char *core_table_name(enum core_table table)
{
    static const char *const names[TABLE_COUNT] = {
        "names",    "kinds", "queues",           "requirements", "retry_policies", "fairness_keys",
        "sessions", "nodes", "idempotency_keys", "unique_keys",  "tasks",          "payload_bytes"};
    return names[table];
}

void core_table(const struct core *core, enum core_table table, struct table_view *ret)
{
    const struct table_view views[TABLE_COUNT] = {
        [TABLE_NAMES] = {core->symbols.used, LIMIT_SYMBOLS, false},
        [TABLE_KINDS] = {core->kind_count, LIMIT_KINDS, false},
        [TABLE_QUEUES] = {core->queues.used, LIMIT_QUEUES, false},
        [TABLE_REQUIREMENTS] = {core->signatures.used - core->plain_signatures, LIMIT_SIGNATURES, false},
        [TABLE_RETRY_POLICIES] = {core->retries.used, LIMIT_RETRY_POLICIES, false},
        [TABLE_FAIRNESS_KEYS] = {core->flows.used - core->common_flows, LIMIT_FLOWS, false},
        [TABLE_SESSIONS] = {core->sessions, LIMIT_NODES, false},
        [TABLE_NODES] = {core->nodes.used, LIMIT_NODES, true},
        [TABLE_IDEMPOTENCY_KEYS] = {core->idempotencies.used, LIMIT_IDEMPOTENCY_KEYS, true},
        [TABLE_UNIQUE_KEYS] = {core->uniques.used, LIMIT_TASKS, false},
        [TABLE_TASKS] = {core->tasks.used, core->tasks_max, false},
        [TABLE_PAYLOAD] = {core->payload_size, core->payload_size_max, false},
    };
    *ret = views[table];
}

int64_t core_longest_gone_ns(const struct core *core)
{
    uint32_t index = heap_top(&core->gone);
    return index != HEAP_NONE ? node_at(core, index)->session_ns : NEVER_NS;
}

static bool refuse(struct core *core, enum status status, enum core_table table)
{
    core->refusal = status;
    core->refusal_table = table;
    return false;
}

bool table_admits(struct core *core, const struct command_caller *by, enum core_table table, uint32_t count)
{
    if (by->id == 0) {
        return true;
    }
    struct table_view view;
    core_table(core, table, &view);
    uint64_t open = by->is_operator ? view.max : view.max / 100 * LIMIT_TABLE_OPEN_PERCENT;
    uint64_t share = view.max / 100 * LIMIT_TABLE_SHARE_PERCENT;
    if (core_caller_used(core, by->id, table) + (uint64_t)count > share) {
        return refuse(core, STATUS_TABLE_SHARE, table);
    }
    if (view.used + count > open) {
        return refuse(core, STATUS_TABLE_FULL, table);
    }
    return true;
}

bool table_admits_names(struct core *core, const struct command_caller *by, const struct slice *names, uint32_t count)
{
    if (count == 0 || table_admits(core, by, TABLE_NAMES, count)) {
        return true;
    }
    uint32_t unknown = 0; /* nearly full: what exists already needs no room */
    for (uint32_t i = 0; i < count; i++) {
        unknown += symbol_find(core, names[i]) == NONE ? 1 : 0;
    }
    return unknown == 0 || table_admits(core, by, TABLE_NAMES, unknown);
}

void table_index(struct core *core)
{
    for (uint32_t i = 0; i < core->kind_count; i++) {
        uint64_t owner = symbol_at(core, core->kinds[i])->kind_owner;
        table_charge(core, owner, TABLE_KINDS, 1);
        table_charge(core, owner, TABLE_NAMES, 1);
    }
    for (uint32_t i = slab_next(&core->queues, 0); i != SLAB_NONE; i = slab_next(&core->queues, i + 1)) {
        table_charge(core, queue_at(core, i)->owner, TABLE_QUEUES, 1);
        table_charge(core, queue_at(core, i)->owner, TABLE_NAMES, 1);
    }
    for (uint32_t i = slab_next(&core->signatures, 0); i != SLAB_NONE; i = slab_next(&core->signatures, i + 1)) {
        const struct signature *signature = signature_at(core, i);
        table_charge(core, signature->owner, TABLE_REQUIREMENTS, 1);
        table_charge(core, signature->owner, TABLE_NAMES, (int32_t)signature->label_count);
    }
    for (uint32_t i = slab_next(&core->retries, 0); i != SLAB_NONE; i = slab_next(&core->retries, i + 1)) {
        const struct retry *retry = retry_at(core, i);
        table_charge(core, retry->owner, TABLE_RETRY_POLICIES, 1);
        table_charge(core, retry->owner, TABLE_NAMES, (int32_t)retry->not_retryable_count);
    }
    for (uint32_t i = slab_next(&core->flows, 0); i != SLAB_NONE; i = slab_next(&core->flows, i + 1)) {
        table_charge(core, flow_at(core, i)->owner, TABLE_FAIRNESS_KEYS, 1);
        table_charge(core, flow_at(core, i)->owner, TABLE_NAMES, 1);
    }
    for (uint32_t i = slab_next(&core->nodes, 0); i != SLAB_NONE; i = slab_next(&core->nodes, i + 1)) {
        const struct node *node = node_at(core, i);
        table_charge(core, node->caller, TABLE_SESSIONS, node->session != 0 ? 1 : 0);
        table_charge(core, node->caller, TABLE_NAMES, 1 + (int32_t)node->label_count);
    }
}

const char *table_check(const struct core *core)
{
    struct core counted = {.kinds = core->kinds,
                           .kind_count = core->kind_count,
                           .symbols = core->symbols,
                           .queues = core->queues,
                           .signatures = core->signatures,
                           .retries = core->retries,
                           .flows = core->flows,
                           .nodes = core->nodes};
    const char *why = NULL;
    uint32_t plain = 0, common = 0;
    table_init(&counted);
    table_index(&counted); /* reads what is borrowed, fills its own callers */
    why = counted.callers.used != core->callers.used ? "C1: there are more callers, or fewer, than owners" : NULL;
    for (uint32_t i = slab_next(&counted.callers, 0); i != SLAB_NONE; i = slab_next(&counted.callers, i + 1)) {
        const struct caller *caller = slab_at(&counted.callers, i);
        for (unsigned t = 0; t < TABLE_SHARED; t++) {
            if (caller->used[t] != core_caller_used(core, caller->id, (enum core_table)t)) {
                why = "C1: a caller's records are counted wrong";
            }
        }
    }
    table_free(&counted);
    for (uint32_t i = slab_next(&core->signatures, 0); i != SLAB_NONE; i = slab_next(&core->signatures, i + 1)) {
        plain += signature_is_plain(signature_at(core, i)) ? 1 : 0;
    }
    for (uint32_t i = slab_next(&core->flows, 0); i != SLAB_NONE; i = slab_next(&core->flows, i + 1)) {
        common += flow_at(core, i)->symbol == NONE ? 1 : 0;
    }
    if (plain != core->plain_signatures || common != core->common_flows) {
        why = "C1: plain requirement sets or common keys are counted wrong";
    }
    return why;
}

void table_refuse(const struct core *core, struct effect_reply *reply)
{
    reply->status = core->refusal;
    reply->count = (uint32_t)core->refusal_table;
}

/* --- letting go --- */

void table_apply_drop(struct core *core, const struct command_drop *command, struct effect_reply *reply)
{
    switch (command->what) {
    case DROP_KIND:
        reply->status = kind_drop(core, command->name);
        break;
    case DROP_QUEUE:
        reply->status = queue_drop(core, command->name);
        break;
    case DROP_NODE:
        reply->status = node_forget(core, command->name);
        break;
    }
}

void table_apply_collect(struct core *core, const struct command_collect *command, struct effect_reply *reply)
{
    /* Nodes first: they refer to kinds. */
    uint32_t count = node_collect(core, command->gone_ms, LIMIT_COLLECT);
    count += kind_collect(core, command->kinds_keep, LIMIT_COLLECT - count);
    count += queue_collect(core, command->queues_keep, LIMIT_COLLECT - count);
    reply->count = count;
}
