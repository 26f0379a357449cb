/* load.c - a state that was read becomes a core that can be trusted.
 *
 * save.c reads the bytes into records. Here every index is held against its slab (S1), what is derived is built anew, and
 * core_check() has the last word. */
#include <stdlib.h>

#include "base/hash.h"
#include "base/mutation.h"
#include "core/core_internal.h"

static bool is_index(const struct slab *slab, uint32_t index)
{
    return slab_is_live(slab, index);
}

static bool is_index_or_none(const struct slab *slab, uint32_t index)
{
    return index == NONE || slab_is_live(slab, index);
}

static bool are_symbols(const struct core *core, const uint32_t *symbols, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (!is_index(&core->symbols, symbols[i])) {
            return false;
        }
    }
    return true;
}

static bool is_good_task(const struct core *core, const struct task *task, uint32_t index)
{
    const struct slab *owner = task->state == TASK_READY ? &core->slots : &core->nodes;
    bool has_owner = task->state == TASK_READY || task->state == TASK_LEASED;
    return task->state < TASK_STATE_COUNT && task_id_index(task->id) == index && task->weight >= 1 &&
           task->weight <= LIMIT_WEIGHT_MAX && task->lease_ms <= LIMIT_LEASE_MS_MAX &&
           is_index_or_none(&core->tasks, task->newer) && is_index_or_none(&core->tasks, task->older) &&
           is_index_or_none(&core->tasks, task->next) && is_index_or_none(&core->tasks, task->prev) &&
           (has_owner ? is_index(owner, task->owner) : task->owner == NONE) && is_index(&core->flows, task->flow) &&
           is_index(&core->signatures, task->signature) && is_index(&core->retries, task->retry) &&
           is_index_or_none(&core->sides, task->side) && is_index_or_none(&core->attempts, task->attempt_newest) &&
           is_index_or_none(&core->idempotencies, task->idempotency);
}

/* S1: every index names a live record of its slab, and what selects an array or a branch is in range. */
static bool are_indices_good(const struct core *core)
{
    bool good = is_index_or_none(&core->tasks, core->newest) && is_index_or_none(&core->tasks, core->oldest) &&
                is_index_or_none(&core->tasks, core->finished_head) &&
                is_index_or_none(&core->tasks, core->finished_tail) &&
                is_index_or_none(&core->idempotencies, core->idempotency_oldest) &&
                is_index_or_none(&core->idempotencies, core->idempotency_newest) &&
                are_symbols(core, core->kinds, core->kind_count);
    for (uint32_t i = slab_next(&core->queues, 0); good && i != SLAB_NONE; i = slab_next(&core->queues, i + 1)) {
        good = is_index(&core->symbols, queue_at(core, i)->symbol);
    }
    for (uint32_t i = slab_next(&core->flows, 0); good && i != SLAB_NONE; i = slab_next(&core->flows, i + 1)) {
        const struct flow *flow = flow_at(core, i);
        good = is_index(&core->queues, flow->queue) && is_index_or_none(&core->symbols, flow->symbol);
    }
    for (uint32_t i = slab_next(&core->signatures, 0); good && i != SLAB_NONE;
         i = slab_next(&core->signatures, i + 1)) {
        const struct signature *signature = signature_at(core, i);
        good =
            is_index(&core->symbols, signature->kind) && are_symbols(core, signature->labels, signature->label_count);
    }
    for (uint32_t i = slab_next(&core->retries, 0); good && i != SLAB_NONE; i = slab_next(&core->retries, i + 1)) {
        const struct retry *retry = retry_at(core, i);
        good = are_symbols(core, retry->not_retryable, retry->not_retryable_count);
    }
    for (uint32_t i = slab_next(&core->nodes, 0); good && i != SLAB_NONE; i = slab_next(&core->nodes, i + 1)) {
        const struct node *node = node_at(core, i);
        good = is_index(&core->symbols, node->symbol) && is_index_or_none(&core->tasks, node->lease_head) &&
               is_index_or_none(&core->tasks, node->lease_tail) && are_symbols(core, node->kinds, node->kind_count) &&
               are_symbols(core, node->labels, node->label_count) && node->credit <= LIMIT_CREDIT;
    }
    for (uint32_t i = slab_next(&core->slots, 0); good && i != SLAB_NONE; i = slab_next(&core->slots, i + 1)) {
        const struct slot *slot = slot_at(core, i);
        good = is_index(&core->flows, slot->flow) && is_index(&core->signatures, slot->signature) &&
               is_index(&core->tasks, slot->head) && is_index(&core->tasks, slot->tail) &&
               slot->priority <= LIMIT_PRIORITY_MAX;
    }
    for (uint32_t i = slab_next(&core->attempts, 0); good && i != SLAB_NONE; i = slab_next(&core->attempts, i + 1)) {
        const struct attempt *attempt = attempt_at(core, i);
        good = is_index(&core->symbols, attempt->node) && is_index_or_none(&core->attempts, attempt->older) &&
               attempt->outcome <= ATTEMPT_CANCELLED;
    }
    for (uint32_t i = slab_next(&core->sides, 0); good && i != SLAB_NONE; i = slab_next(&core->sides, i + 1)) {
        const struct task_side *side = side_at(core, i);
        good = is_index_or_none(&core->uniques, side->unique) && side->unique_mode <= UNIQUE_FOR_TIME;
    }
    for (uint32_t i = slab_next(&core->tasks, 0); good && i != SLAB_NONE; i = slab_next(&core->tasks, i + 1)) {
        good = is_good_task(core, task_at(core, i), i);
    }
    for (uint32_t i = slab_next(&core->uniques, 0); good && i != SLAB_NONE; i = slab_next(&core->uniques, i + 1)) {
        const struct unique *unique = unique_at(core, i);
        good = is_index(&core->queues, unique->queue) && is_index_or_none(&core->symbols, unique->kind) &&
               unique->mode >= UNIQUE_QUEUED && unique->mode <= UNIQUE_FOR_TIME && unique->state < TASK_STATE_COUNT;
    }
    for (uint32_t i = slab_next(&core->idempotencies, 0); good && i != SLAB_NONE;
         i = slab_next(&core->idempotencies, i + 1)) {
        const struct idempotency *key = idempotency_at(core, i);
        good = is_index_or_none(&core->idempotencies, key->newer) &&
               is_index_or_none(&core->idempotencies, key->next_of_task) && key->state < TASK_STATE_COUNT;
    }
    return good;
}

/* Gives the names back to queues and nodes; false when two claim the same. */
static bool index_names(struct core *core)
{
    for (uint32_t i = slab_next(&core->symbols, 0); i != SLAB_NONE; i = slab_next(&core->symbols, i + 1)) {
        if (!symbol_index(core, i)) {
            return false;
        }
    }
    for (uint32_t i = slab_next(&core->queues, 0); i != SLAB_NONE; i = slab_next(&core->queues, i + 1)) {
        struct symbol *symbol = symbol_at(core, queue_at(core, i)->symbol);
        if (symbol->queue != NONE) {
            return false;
        }
        symbol->queue = i;
    }
    for (uint32_t i = slab_next(&core->nodes, 0); i != SLAB_NONE; i = slab_next(&core->nodes, i + 1)) {
        struct symbol *symbol = symbol_at(core, node_at(core, i)->symbol);
        if (symbol->node != NONE) {
            return false;
        }
        symbol->node = i;
    }
    return true;
}

/* Builds what is derived. */
static void index_rest(struct core *core)
{
    for (uint32_t i = slab_next(&core->nodes, 0); i != SLAB_NONE; i = slab_next(&core->nodes, i + 1)) {
        core->sessions += node_at(core, i)->session != 0;
        node_index(core, i);
    }
    for (uint32_t i = slab_next(&core->flows, 0); i != SLAB_NONE; i = slab_next(&core->flows, i + 1)) {
        flow_index(core, i);
    }
    for (uint32_t i = slab_next(&core->signatures, 0); i != SLAB_NONE; i = slab_next(&core->signatures, i + 1)) {
        signature_index(core, i);
    }
    for (uint32_t i = slab_next(&core->retries, 0); i != SLAB_NONE; i = slab_next(&core->retries, i + 1)) {
        retry_index(core, i);
    }
    for (uint32_t i = slab_next(&core->slots, 0); i != SLAB_NONE; i = slab_next(&core->slots, i + 1)) {
        ready_index(core, i);
    }
    for (uint32_t i = slab_next(&core->uniques, 0); i != SLAB_NONE; i = slab_next(&core->uniques, i + 1)) {
        unique_index(core, i);
    }
    for (uint32_t i = slab_next(&core->idempotencies, 0); i != SLAB_NONE; i = slab_next(&core->idempotencies, i + 1)) {
        idempotency_index(core, i);
    }
    for (uint32_t i = slab_next(&core->nodes, 0); i != SLAB_NONE; i = slab_next(&core->nodes, i + 1)) {
        node_update_idle(core, i);
    }
    for (uint32_t i = slab_next(&core->tasks, 0); i != SLAB_NONE; i = slab_next(&core->tasks, i + 1)) {
        struct task *task = task_at(core, i);
        task->deadline_ns = NEVER_NS;
        task->timer_position = HEAP_NONE;
        const struct task_side *side = task_side(core, task);
        core->has_keyless |=
            side != NULL && side->unique_mode == UNIQUE_QUEUED && side->unique == NONE && task->state <= TASK_READY;
        core->counts[task->state]++;
        if (task->state == TASK_LEASED && signature_at(core, task->signature)->is_alone) {
            node_at(core, task->owner)->is_taken = true;
            node_update_idle(core, task->owner);
        }
        if (!MUTATION(forget_timers)) {
            timer_update(core, i);
        }
    }
    /* The list may be broken still: core_check looks. No task is taken twice, nor is one without end. */
    uint32_t count = 0;
    for (uint32_t i = core->oldest; i != NONE && count < core->tasks.used; i = task_at(core, i)->newer, count++) {
        roll_append(core, i);
    }
    table_index(core);
    bitset_clear_all(&core->servable); /* T6 holds between entries; core_check looks */
}

static enum status load(struct core *core, struct slice body, struct buf *why)
{
    enum status status = archive_load(core, body, why);
    core->kinds_cap = core->kind_count;
    core_rekey(core, false);
    refs_rehash(core); /* what came before the secret */
    if (status != STATUS_OK) {
        return status;
    }
    if (!are_indices_good(core) || !index_names(core)) {
        return STATUS_CORRUPT;
    }
    index_rest(core);
    return core_check(core) == NULL ? STATUS_OK : STATUS_CORRUPT;
}

enum status core_load_why(struct slice state, struct core **ret_core, struct buf *why)
{
    if (state.len < SHA256_SIZE) {
        return STATUS_CORRUPT;
    }
    struct slice body = slice_of(state.data, state.len - SHA256_SIZE);
    uint8_t digest[SHA256_SIZE];
    sha256(body, digest);
    if (memcmp(digest, state.data + body.len, SHA256_SIZE) != 0) {
        return STATUS_CORRUPT;
    }
    struct core *core = core_alloc();
    enum status status = core != NULL ? load(core, body, why) : STATUS_NO_MEMORY;
    if (status != STATUS_OK) {
        core_free(core);
        return status;
    }
    *ret_core = core;
    return STATUS_OK;
}

enum status core_load(struct slice state, struct core **ret_core)
{
    return core_load_why(state, ret_core, NULL);
}
