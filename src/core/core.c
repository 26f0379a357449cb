/* core.c - the state machine: an entry in, effects out.
 *
 *   1. the body is decoded once from end to end; one that is malformed changes nothing, one of a newer Shoal is refused
 *   2. time moves to the entry's time: what is due fires in order, finished tasks that are due leave memory
 *   3. the commands are applied in order, each with exactly one reply
 *   4. ready work meets idle nodes, best first (T6): after all commands, so that priorities hold across a batch
 *
 * Everything that an outcome depends on is in the state or in the entry. Indices come from slabs whose order of reuse is
 * part of the state; hash maps are only asked for exact keys; heaps compare by total orders.
 *
 * Running out of memory below the configured limits ends the process: the state of a replica that refused what
 * others accepted would no longer be theirs. */
#include <stdlib.h>

#include "base/seal.h"
#include "core/core_internal.h"

#define SCRATCH_SIZE_MAX (16u << 20) /* a row is below 1 MiB: 5 payloads of 64 KiB and 16 attempts of 4 KiB */

struct core *core_alloc(void)
{
    struct core *core = calloc(1, sizeof(*core));
    if (core == NULL) {
        return NULL;
    }
    core->magic = CORE_MAGIC;
    core->tasks_max = LIMIT_TASKS;
    core->payload_size_max = LIMIT_PAYLOAD_TOTAL_SIZE;
    core->finished_keep_ms = LIMIT_FINISHED_KEEP_MS;
    core->newest = core->oldest = NONE;
    core->block_newest = core->block_oldest = NONE;
    core->finished_head = core->finished_tail = NONE;
    core->idempotency_oldest = core->idempotency_newest = NONE;
    slab_init(&core->symbols, sizeof(struct symbol), LIMIT_SYMBOLS);
    slab_init(&core->queues, sizeof(struct queue), LIMIT_QUEUES);
    slab_init(&core->flows, sizeof(struct flow), LIMIT_FLOWS + LIMIT_QUEUES); /* with the common one of each queue */
    slab_init(&core->slots, sizeof(struct slot), LIMIT_TASKS);
    slab_init(&core->signatures, sizeof(struct signature), LIMIT_SIGNATURES + LIMIT_SYMBOLS); /* with the plain ones */
    slab_init(&core->retries, sizeof(struct retry), LIMIT_RETRY_POLICIES);
    slab_init(&core->tasks, sizeof(struct task), LIMIT_TASKS);
    slab_init(&core->blocks, sizeof(struct roll_block), LIMIT_TASKS);
    slab_init(&core->blob_refs, sizeof(struct blob_ref), UINT32_MAX - 2);
    map_init(&core->blob_map);
    slab_init(&core->sides, sizeof(struct task_side), LIMIT_TASKS);
    slab_init(&core->attempts, sizeof(struct attempt), (uint32_t)LIMIT_TASKS * LIMIT_ATTEMPTS_KEPT);
    slab_init(&core->uniques, sizeof(struct unique), LIMIT_TASKS);
    slab_init(&core->idempotencies, sizeof(struct idempotency), LIMIT_IDEMPOTENCY_KEYS);
    slab_init(&core->nodes, sizeof(struct node), LIMIT_NODES);
    timer_init(core);
    unique_init(core);
    node_init(core);
    table_init(core);
    buf_init(&core->row, SCRATCH_SIZE_MAX);
    buf_init(&core->refused, SCRATCH_SIZE_MAX);
    return core;
}

struct core *core_new(void)
{
    struct core *core = core_alloc();
    if (core != NULL) {
        struct retry_policy policy;
        retry_policy_default(&policy);
        const struct command_caller nobody = {0};
        ensure(retry_acquire(core, &policy, &nobody) == 0); /* never freed: this reference is the core's own */
        ensure(queue_make(core, SLICE("default"), 0, &nobody) == 0);
    }
    return core;
}

static void free_tasks(struct core *core)
{
    for (uint32_t i = slab_next(&core->tasks, 0); i != SLAB_NONE; i = slab_next(&core->tasks, i + 1)) {
        free(task_at(core, i)->input);
    }
    for (uint32_t i = slab_next(&core->sides, 0); i != SLAB_NONE; i = slab_next(&core->sides, i + 1)) {
        struct task_side *side = side_at(core, i);
        free(side->unique_key);
        free(side->traceparent);
        free(side->checkpoint);
        free(side->result);
        free(side->error_kind);
        free(side->error_message);
        free(side->error_detail);
        free(side->progress_note);
    }
    for (uint32_t i = slab_next(&core->attempts, 0); i != SLAB_NONE; i = slab_next(&core->attempts, i + 1)) {
        free(attempt_at(core, i)->error_kind);
        free(attempt_at(core, i)->message);
    }
    for (uint32_t i = slab_next(&core->uniques, 0); i != SLAB_NONE; i = slab_next(&core->uniques, i + 1)) {
        free(unique_at(core, i)->key);
    }
    for (uint32_t i = slab_next(&core->idempotencies, 0); i != SLAB_NONE; i = slab_next(&core->idempotencies, i + 1)) {
        free(idempotency_at(core, i)->key);
    }
}

static void free_rest(struct core *core)
{
    for (uint32_t i = slab_next(&core->symbols, 0); i != SLAB_NONE; i = slab_next(&core->symbols, i + 1)) {
        free(symbol_at(core, i)->text);
        bearers_free(symbol_at(core, i));
    }
    for (uint32_t i = slab_next(&core->signatures, 0); i != SLAB_NONE; i = slab_next(&core->signatures, i + 1)) {
        struct signature *signature = signature_at(core, i);
        free(signature->labels);
        bitset_free(&signature->nodes);
        for (uint32_t p = 0; p < PRIORITY_COUNT; p++) {
            heap_free(&signature->cell[p]);
        }
    }
    for (uint32_t i = slab_next(&core->nodes, 0); i != SLAB_NONE; i = slab_next(&core->nodes, i + 1)) {
        struct node *node = node_at(core, i);
        free(node->kinds);
        free(node->labels);
        free(node->kind_at);
        free(node->label_at);
        free(node->info);
        bitset_free(&node->match);
    }
}

void core_free(struct core *core)
{
    if (core == NULL) {
        return;
    }
    ensure_magic(core, CORE_MAGIC);
    core->magic = 0;
    free_tasks(core);
    free_rest(core);
    struct slab *const slabs[] = {&core->symbols,    &core->queues,  &core->flows,         &core->slots,
                                  &core->signatures, &core->retries, &core->tasks,         &core->sides,
                                  &core->attempts,   &core->uniques, &core->idempotencies, &core->nodes};
    for (size_t i = 0; i < ARRAY_COUNT(slabs); i++) {
        slab_free_all(slabs[i]);
    }
    struct map *const maps[] = {&core->symbol_map, &core->flow_map,   &core->slot_map,       &core->signature_map,
                                &core->retry_map,  &core->unique_map, &core->idempotency_map};
    for (size_t i = 0; i < ARRAY_COUNT(maps); i++) {
        map_free(maps[i]);
    }
    roll_free(core);
    slab_free_all(&core->blob_refs);
    map_free(&core->blob_map);
    heap_free(&core->timers);
    heap_free(&core->unique_ends);
    table_free(core);
    heap_free(&core->gone);
    bitset_free(&core->live);
    bitset_free(&core->idle);
    bitset_free(&core->empty);
    bitset_free(&core->servable);
    for (uint32_t p = 0; p < PRIORITY_COUNT; p++) {
        bitset_free(&core->backlog[p]);
    }
    free(core->kinds);
    buf_free(&core->row);
    buf_free(&core->refused);
    free(core);
}

void core_rekey(struct core *core, bool moves)
{
    struct seal_key key = {{0, 0}};
    if (core->has_secret) {
        seal_key_derive(slice_of((const char *)core->secret, sizeof(core->secret)), "hash maps of the core", &key);
    }
    core->hash_key = (struct hash_key){{key.part[0], key.part[1]}};
    if (moves) {
        symbol_rehash(core);
        signature_rehash(core);
        retry_rehash(core);
        ready_rehash(core);
        unique_rehash(core);
        idempotency_rehash(core);
        refs_rehash(core);
        roll_rehash(core);
    }
}

static void configure(struct core *core, const struct command_configure *command)
{
    if (command->secret.len == sizeof(core->secret) && !core->has_secret) { /* what it has been used for must stay */
        memcpy(core->secret, command->secret.data, sizeof(core->secret));
        core->has_secret = true;
        core_rekey(core, true);
    }
    core->tasks_max = command->tasks_max != 0 ? command->tasks_max : LIMIT_TASKS;
    core->payload_size_max = command->payload_size_max != 0 ? command->payload_size_max : LIMIT_PAYLOAD_TOTAL_SIZE;
    core->finished_keep_ms = command->finished_keep_ms != 0 ? command->finished_keep_ms : LIMIT_FINISHED_KEEP_MS;
    core->deaths_max = command->deaths_max;
}

static void apply_command(struct core *core, const struct command *command, uint32_t ordinal)
{
    struct effect_reply reply = {.ordinal = ordinal, .command = command->type, .status = STATUS_OK};
    switch (command->type) {
    case COMMAND_TICK:
        break;
    case COMMAND_CONFIGURE:
        configure(core, &command->as.configure);
        break;
    case COMMAND_SUBMIT:
        task_submit(core, &command->as.submit, &reply);
        break;
    case COMMAND_CANCEL:
        task_cancel(core, &command->as.task, &reply);
        break;
    case COMMAND_RETRY:
        task_retry(core, &command->as.task, &reply);
        break;
    case COMMAND_QUEUE_SET:
        queue_apply_set(core, &command->as.queue_set, &reply);
        break;
    case COMMAND_KIND_SET:
        if (!kind_add(core, command->as.kind_set.name, &command->as.kind_set.by)) {
            table_refuse(core, &reply);
        }
        break;
    case COMMAND_NODE_HELLO:
        node_hello(core, &command->as.node_hello, &reply);
        break;
    case COMMAND_NODE_REPORT:
        node_report(core, &command->as.node_report, &reply);
        break;
    case COMMAND_NODE_LOST:
        reply.status = node_lost(core, &command->as.node_lost);
        reply.session = command->as.node_lost.session;
        break;
    case COMMAND_NODE_SET:
        reply.status = node_set(core, &command->as.node_set);
        break;
    case COMMAND_HISTORY_DONE:
        if (command->as.history_done.seq > core->history_seq) {
            core->history_seq = command->as.history_done.seq;
        }
        break;
    case COMMAND_DROP:
        table_apply_drop(core, &command->as.drop, &reply);
        break;
    case COMMAND_COLLECT:
        table_apply_collect(core, &command->as.collect, &reply);
        break;
    case COMMAND_TYPE_END:
        ensure(!"a command");
    }
    effect_put_reply(core->effects, &reply);
}

enum status core_apply(struct core *core, const struct core_entry *entry, struct buf *effects)
{
    ensure_magic(core, CORE_MAGIC);
    ensure(entry->seq == core->seq + 1);
    struct entry_head head;
    enum status status = entry_check(entry->body, &head);
    if (status == STATUS_TOO_NEW) {
        return status;
    }
    core->seq = entry->seq;
    if (status != STATUS_OK) {
        return STATUS_CORRUPT;
    }
    core->level = head.level;
    if (entry->time_ns > core->time_ns) {
        core->time_ns = entry->time_ns;
    }
    core->effects = effects;
    timer_fire(core);
    unique_purge(core);
    idempotency_purge(core);
    task_evict_due(core);

    struct reader reader = reader_of(entry->body);
    ensure(entry_head_get(&reader, &head) == STATUS_OK);
    for (uint32_t i = 0; i < head.count; i++) {
        struct command command;
        ensure(command_get(&reader, &command) == STATUS_OK);
        apply_command(core, &command, i);
    }
    ready_dispatch(core);
    core->effects = NULL;
    return STATUS_OK;
}

uint64_t core_seq(const struct core *core)
{
    return core->seq;
}

int64_t core_time_ns(const struct core *core)
{
    return core->time_ns;
}

uint64_t core_steps(const struct core *core)
{
    return core->steps;
}

int64_t core_next_deadline_ns(const struct core *core)
{
    ensure_magic(core, CORE_MAGIC);
    uint32_t task = heap_top(&core->timers);
    int64_t timer_ns = task != HEAP_NONE ? task_at(core, task)->deadline_ns : NEVER_NS;
    int64_t evict_ns = task_next_evict_ns(core);
    return timer_ns < evict_ns ? timer_ns : evict_ns;
}

void core_stats(const struct core *core, struct core_stats *ret)
{
    ensure_magic(core, CORE_MAGIC);
    *ret = (struct core_stats){.seq = core->seq,
                               .time_ns = core->time_ns,
                               .tasks_live = core->tasks.used,
                               .tasks_max = core->tasks_max,
                               .accepted = core->accepted,
                               .succeeded = core->succeeded,
                               .dead = core->dead,
                               .cancelled = core->cancelled,
                               .expired = core->expired,
                               .evicted = core->evicted,
                               .retried = core->retried,
                               .duplicates = core->duplicates,
                               .attempts = core->attempts_ended,
                               .leases_granted = core->leases_granted,
                               .leases_expired = core->leases_expired,
                               .leases_lost = core->leases_lost,
                               .payload_size = core->payload_size,
                               .payload_size_max = core->payload_size_max,
                               .nodes = core->nodes.used,
                               .sessions = core->sessions,
                               .queues = core->queues.used,
                               .kinds = core->kind_count,
                               .signatures = core->signatures.used,
                               .flows = core->flows.used,
                               .idempotency_keys = core->idempotencies.used,
                               .history_seq = core->history_seq};
    memcpy(ret->counts, core->counts, sizeof(ret->counts));
}
