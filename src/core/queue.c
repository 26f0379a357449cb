/* queue.c - queues and the kinds that are known. Neither ever goes: their number is bounded, and their totals are history. */
#include <stdlib.h>

#include "core/core_internal.h"

uint32_t queue_find(const struct core *core, struct slice name)
{
    uint32_t symbol = symbol_find(core, name);
    return symbol != NONE ? symbol_at(core, symbol)->queue : NONE;
}

uint32_t queue_make(struct core *core, struct slice name, int64_t now_ns)
{
    if (core->queues.used >= LIMIT_QUEUES) {
        return NONE;
    }
    uint32_t symbol = symbol_acquire(core, name);
    if (symbol == NONE) {
        return NONE;
    }
    ensure(symbol_at(core, symbol)->queue == NONE);
    uint32_t index = slab_alloc(&core->queues);
    ensure(index != SLAB_NONE);
    struct queue *queue = queue_at(core, index);
    queue->symbol = symbol;
    queue->created_ns = now_ns;
    queue->changed_seq = core->seq;
    queue->slots = NONE;
    symbol_at(core, symbol)->queue = index;
    return index;
}

enum status queue_apply_set(struct core *core, const struct command_queue_set *command)
{
    uint32_t index = queue_find(core, command->name);
    if (index == NONE) {
        if (command->must_exist) {
            return STATUS_NOT_FOUND;
        }
        index = queue_make(core, command->name, core->time_ns);
        if (index == NONE) {
            return STATUS_BUSY;
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
    return STATUS_OK;
}

bool kind_add(struct core *core, struct slice name)
{
    uint32_t index = symbol_acquire(core, name);
    if (index == NONE) {
        return false;
    }
    struct symbol *symbol = symbol_at(core, index);
    if (symbol->is_kind) {
        symbol_unref(core, index);
        return true;
    }
    symbol->is_kind = true;
    if (core->kind_count == core->kinds_cap) {
        core->kinds_cap = core->kinds_cap == 0 ? 16 : core->kinds_cap * 2;
        core->kinds = realloc(core->kinds, (size_t)core->kinds_cap * sizeof(*core->kinds));
        ensure(core->kinds != NULL);
    }
    core->kinds[core->kind_count++] = index;
    return true;
}
