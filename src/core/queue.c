/* queue.c - queues and the kinds that are known. They go when somebody says so (DROP), or, never used, when their table runs
 * full (COLLECT); the totals of a queue that was used are history, and stay until then. */
#include <stdlib.h>

#include "core/core_internal.h"

uint32_t queue_find(const struct core *core, struct slice name)
{
    uint32_t symbol = symbol_find(core, name);
    return symbol != NONE ? symbol_at(core, symbol)->queue : NONE;
}

static uint32_t refuse_busy(struct core *core)
{
    core->refusal = STATUS_BUSY;
    return NONE;
}

uint32_t queue_make(struct core *core, struct slice name, int64_t now_ns, const struct command_caller *by)
{
    if (by->id == 0 && core->queues.used >= LIMIT_QUEUES) {
        return refuse_busy(core);
    }
    if (!table_admits(core, by, TABLE_QUEUES, 1) || !table_admits_names(core, by, &name, 1)) {
        return NONE;
    }
    uint32_t symbol = symbol_acquire(core, name);
    if (symbol == NONE) {
        return refuse_busy(core);
    }
    ensure(symbol_at(core, symbol)->queue == NONE);
    uint32_t index = slab_alloc(&core->queues);
    ensure(index != SLAB_NONE);
    struct queue *queue = queue_at(core, index);
    queue->symbol = symbol;
    queue->created_ns = now_ns;
    queue->changed_seq = core->seq;
    queue->slots = NONE;
    queue->owner = by->id;
    table_charge(core, queue->owner, TABLE_QUEUES, 1);
    table_charge(core, queue->owner, TABLE_NAMES, 1);
    symbol_at(core, symbol)->queue = index;
    return index;
}

void queue_apply_set(struct core *core, const struct command_queue_set *command, struct effect_reply *reply)
{
    uint32_t index = queue_find(core, command->name);
    if (index == NONE) {
        if (command->must_exist) {
            reply->status = STATUS_NOT_FOUND;
            return;
        }
        index = queue_make(core, command->name, core->time_ns, &command->by);
        if (index == NONE) {
            table_refuse(core, reply);
            return;
        }
    }
    struct queue *queue = queue_at(core, index);
    if (command->has_paused && command->paused != queue->is_paused) {
        queue->is_paused = command->paused;
        queue->changed_seq = core->seq;
        if (command->paused) {
            ready_pause(core, index);
        } else {
            ready_resume(core, index);
        }
    }
}

/* Whether a queue has no task in memory and holds no unique key. The default one is never idle. */
static bool queue_is_idle(const struct core *core, uint32_t index)
{
    return queue_at(core, index)->refs == 0 && index != 0;
}

static void queue_forget(struct core *core, uint32_t index)
{
    struct queue *queue = queue_at(core, index);
    ensure(queue->slots == NONE && queue->refs == 0);
    core->dropped.submitted += queue->submitted;
    core->dropped.succeeded += queue->succeeded;
    core->dropped.dead += queue->dead;
    core->dropped.cancelled += queue->cancelled;
    core->dropped.expired += queue->expired;
    core->dropped.retried += queue->retried;
    table_charge(core, queue->owner, TABLE_QUEUES, -1);
    table_charge(core, queue->owner, TABLE_NAMES, -1);
    symbol_at(core, queue->symbol)->queue = NONE;
    symbol_unref(core, queue->symbol);
    slab_free(&core->queues, index);
}

enum status queue_drop(struct core *core, struct slice name)
{
    uint32_t index = queue_find(core, name);
    if (index == NONE) {
        return STATUS_NOT_FOUND;
    }
    if (!queue_is_idle(core, index)) {
        return STATUS_CONFLICT;
    }
    queue_forget(core, index);
    return STATUS_OK;
}

/* Whether records of this owner may be collected: those of one who made a few are not what fills a table. */
static bool is_collectable(const struct core *core, uint64_t owner, enum core_table table)
{
    struct table_view view;
    core_table(core, table, &view);
    return owner <= CALLER_ANYBODY || core_caller_used(core, owner, table) > view.max / 100;
}

uint32_t queue_collect(struct core *core, uint32_t keep, uint32_t count_max)
{
    uint32_t count = 0;
    for (uint32_t i = core->queues.len; i > 0 && core->queues.used > keep && count < count_max; i--) {
        uint32_t index = i - 1;
        if (!slab_is_live(&core->queues, index) || !queue_is_idle(core, index)) {
            continue;
        }
        const struct queue *queue = queue_at(core, index);
        if (queue->submitted == 0 && !queue->is_paused && is_collectable(core, queue->owner, TABLE_QUEUES)) {
            queue_forget(core, index);
            count++;
        }
    }
    return count;
}

/* --- kinds --- */

bool kind_add(struct core *core, struct slice name, const struct command_caller *by)
{
    uint32_t index = symbol_find(core, name);
    if (index != NONE && symbol_at(core, index)->is_kind) {
        return true;
    }
    if (!table_admits(core, by, TABLE_KINDS, 1) || !table_admits_names(core, by, &name, 1)) {
        return false;
    }
    index = symbol_acquire(core, name);
    if (index == NONE) {
        (void)refuse_busy(core);
        return false;
    }
    struct symbol *symbol = symbol_at(core, index);
    symbol->is_kind = true;
    symbol->kind_owner = by->id;
    table_charge(core, by->id, TABLE_KINDS, 1);
    table_charge(core, by->id, TABLE_NAMES, 1);
    if (core->kind_count == core->kinds_cap) {
        core->kinds_cap = core->kinds_cap == 0 ? 16 : core->kinds_cap * 2;
        core->kinds = realloc(core->kinds, (size_t)core->kinds_cap * sizeof(*core->kinds));
        ensure(core->kinds != NULL);
    }
    core->kinds[core->kind_count++] = index;
    return true;
}

/* No more a known kind; its place in core->kinds is for the caller to close. */
static void kind_forget(struct core *core, uint32_t index)
{
    struct symbol *symbol = symbol_at(core, index);
    table_charge(core, symbol->kind_owner, TABLE_KINDS, -1);
    table_charge(core, symbol->kind_owner, TABLE_NAMES, -1);
    symbol->is_kind = false;
    symbol->kind_owner = 0;
    symbol_unref(core, index);
}

enum status kind_drop(struct core *core, struct slice name)
{
    uint32_t index = symbol_find(core, name);
    if (index == NONE || !symbol_at(core, index)->is_kind) {
        return STATUS_NOT_FOUND;
    }
    if (symbol_at(core, index)->signatures != NONE) {
        return STATUS_CONFLICT;
    }
    uint32_t at = 0;
    while (core->kinds[at] != index) {
        at++;
    }
    core->kind_count--;
    memmove(core->kinds + at, core->kinds + at + 1, (size_t)(core->kind_count - at) * sizeof(*core->kinds));
    kind_forget(core, index);
    return STATUS_OK;
}

uint32_t kind_collect(struct core *core, uint32_t keep, uint32_t count_max)
{
    uint32_t left = core->kind_count, kept = core->kind_count, first = core->kind_count;
    for (uint32_t i = core->kind_count; i > 0 && left > keep && core->kind_count - left < count_max; i--) {
        uint32_t symbol = core->kinds[i - 1];
        if (symbol_at(core, symbol)->refs == 1 && /* the one of being known */
            is_collectable(core, symbol_at(core, symbol)->kind_owner, TABLE_KINDS)) {
            kind_forget(core, symbol);
            core->kinds[i - 1] = NONE;
            first = i - 1;
            left--;
        }
    }
    uint32_t count = kept - left;
    for (uint32_t i = kept = first; i < core->kind_count; i++) {
        if (core->kinds[i] != NONE) {
            core->kinds[kept++] = core->kinds[i];
        }
    }
    core->kind_count = kept;
    return count;
}
