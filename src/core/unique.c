/* unique.c - at most one task for each (queue, kind, unique key), for as long as the mode of the holder says:
 *
 *   queued      while it waits: scheduled, blocked, ready. It lets go when it is leased. When it is to wait again (a failed
 *               attempt, a lost or a returned lease) it takes the key again; if another task has it by then, that
 *               one was asked for later and does the same work: this one ends, cancelled as superseded
 *   unfinished  until it is final
 *   for a time  until a moment, whatever happens to the task, even after it has left memory
 *
 * Invariant U1: a waiting task with the mode queued, and an unfinished one with the mode unfinished, holds its key. So no
 * two of them wait with one key, whatever became of their attempts. core_check() verifies it, but in a core that has tasks
 * from before there was this rule (has_keyless): those wait without.
 *
 * Entries of the first level knew no kind here: their keys are held for every kind of the queue (kind NONE), until they end.
 *
 * A record is in the map while its key is held. Only UNIQUE_FOR_TIME records are in the heap of ends. */
#include "base/hash.h"
#include "base/mutation.h"
#include "core/core_internal.h"

#define PURGE_MAX 20000u /* in one entry */

struct unique_key {
    uint32_t queue, kind;
    struct slice text;
};

static bool is_equal(const void *ctx, uint32_t value, const void *key)
{
    const struct unique *unique = unique_at(ctx, value);
    const struct unique_key *wanted = key;
    return unique->queue == wanted->queue && unique->kind == wanted->kind &&
           slice_equal(block_slice(unique->key), wanted->text);
}

static uint64_t hash_fields(const struct core *core, uint32_t queue, uint32_t kind, struct slice text)
{
    return hash_keyed(&core->hash_key, (uint64_t)kind << 32 | queue, text);
}

static uint64_t hash_of(const void *ctx, uint32_t value)
{
    const struct core *core = ctx;
    const struct unique *unique = unique_at(core, value);
    return hash_fields(core, unique->queue, unique->kind, block_slice(unique->key));
}

static bool is_before(void *ctx, uint32_t a, uint32_t b)
{
    const struct unique *left = unique_at(ctx, a);
    const struct unique *right = unique_at(ctx, b);
    return left->until_ns != right->until_ns ? left->until_ns < right->until_ns : a < b;
}

static void set_position(void *ctx, uint32_t item, uint32_t position)
{
    unique_at(ctx, item)->position = position;
}

void unique_init(struct core *core)
{
    heap_init(&core->unique_ends, is_before, set_position, core);
}

static void drop(struct core *core, uint32_t index)
{
    struct unique *unique = unique_at(core, index);
    uint32_t task = task_find(core, unique->task_id);
    if (task != NONE) {
        struct task_side *side = side_at(core, task_at(core, task)->side);
        ensure(side->unique == index);
        side->unique = NONE;
    }
    if (unique->position != HEAP_NONE) {
        heap_remove(&core->unique_ends, unique->position);
    }
    map_remove(&core->unique_map, hash_of(core, index), index, hash_of, core);
    queue_at(core, unique->queue)->refs--;
    core->unique_kindless -= unique->kind == NONE;
    symbol_unref(core, unique->kind);
    block_drop(core, &unique->key);
    slab_free(&core->uniques, index);
}

static uint32_t lookup_kind(const struct core *core, uint32_t queue, uint32_t kind, struct slice text)
{
    struct unique_key key = {queue, kind, text};
    return map_find(&core->unique_map, hash_fields(core, queue, kind, text), is_equal, core, &key);
}

/* What a key is held for by the entry being applied. */
static uint32_t scope_of(const struct core *core, uint32_t kind)
{
    return core_level(core) >= ENTRY_LEVEL_MEND ? kind : NONE;
}

static bool is_over(const struct core *core, uint32_t index)
{
    const struct unique *unique = unique_at(core, index);
    return unique->mode == UNIQUE_FOR_TIME && unique->until_ns <= core->time_ns;
}

/* The record of that scope or of any kind, over or not. */
static uint32_t lookup(const struct core *core, uint32_t queue, uint32_t kind, struct slice text)
{
    uint32_t scope = scope_of(core, kind);
    uint32_t index = lookup_kind(core, queue, scope, text);
    bool is_found = index != MAP_NONE && !is_over(core, index);
    if (is_found || scope == NONE || core->unique_kindless == 0) {
        return index;
    }
    uint32_t any = lookup_kind(core, queue, NONE, text);
    return any != MAP_NONE && !is_over(core, any) ? any : index;
}

uint32_t unique_find(const struct core *core, uint32_t queue, uint32_t kind, struct slice text)
{
    uint32_t index = lookup(core, queue, kind, text);
    return index != MAP_NONE && !is_over(core, index) ? index : NONE;
}

uint64_t unique_other(const struct core *core, const struct task *task)
{
    const struct task_side *side = task_side(core, task);
    if (side == NULL || side->unique_mode == UNIQUE_NONE) {
        return 0;
    }
    uint32_t kind = signature_at(core, task->signature)->kind;
    uint32_t held = unique_find(core, task_queue(core, task), kind, block_slice(side->unique_key));
    return held != NONE && unique_at(core, held)->task_id != task->id ? unique_at(core, held)->task_id : 0;
}

bool unique_take(struct core *core, uint32_t task_index)
{
    struct task *task = task_at(core, task_index);
    struct task_side *side = side_at(core, task->side);
    ensure(side->unique == NONE);
    struct slice text = block_slice(side->unique_key);
    uint32_t queue = task_queue(core, task);
    uint32_t kind = signature_at(core, task->signature)->kind;
    uint32_t held = lookup(core, queue, kind, text);
    if (held != MAP_NONE) {
        if (!is_over(core, held)) {
            return false;
        }
        drop(core, held);
    }
    uint32_t index = slab_alloc(&core->uniques);
    if (index == SLAB_NONE) {
        return false;
    }
    *unique_at(core, index) = (struct unique){.key = block_new(core, text),
                                              .queue = queue,
                                              .kind = scope_of(core, kind),
                                              .position = HEAP_NONE,
                                              .task_id = task->id,
                                              .mode = side->unique_mode,
                                              .state = task->state};
    side->unique = index;
    queue_at(core, queue)->refs++;
    if (unique_at(core, index)->kind != NONE) {
        symbol_ref(core, kind);
    } else {
        core->unique_kindless++;
    }
    ensure(map_add(&core->unique_map, hash_of(core, index), index, hash_of, core));
    return true;
}

void unique_hand_over(struct core *core, uint32_t index, uint32_t task_index)
{
    struct unique *unique = unique_at(core, index);
    struct task_side *side = side_at(core, task_at(core, task_index)->side);
    ensure(task_find(core, unique->task_id) == NONE && side->unique == NONE && unique->mode == side->unique_mode);
    unique->task_id = task_at(core, task_index)->id;
    unique->state = task_at(core, task_index)->state;
    side->unique = index;
}

void unique_set_end(struct core *core, uint32_t task_index, int64_t until_ns)
{
    uint32_t index = side_at(core, task_at(core, task_index)->side)->unique;
    struct unique *unique = unique_at(core, index);
    ensure(unique->mode == UNIQUE_FOR_TIME && unique->position == HEAP_NONE);
    unique->until_ns = until_ns;
    ensure(heap_push(&core->unique_ends, index));
}

void unique_on_state(struct core *core, uint32_t task_index)
{
    const struct task *task = task_at(core, task_index);
    const struct task_side *side = task_side(core, task);
    if (side == NULL || side->unique_mode == UNIQUE_NONE) {
        return;
    }
    if (side->unique_mode == UNIQUE_FOR_TIME) {
        if (side->unique != NONE) {
            unique_at(core, side->unique)->state = task->state;
        }
        return;
    }
    bool is_wanted = side->unique_mode == UNIQUE_QUEUED ? task->state <= TASK_READY
                                                        : !task_state_is_final((enum task_state)task->state);
    if (!is_wanted && side->unique != NONE) {
        drop(core, side->unique);
    } else if (is_wanted && side->unique == NONE) {
        if (!unique_take(core, task_index)) {
            bool is_old = core_level(core) < ENTRY_LEVEL_MEND;             /* then it waited without */
            ensure(is_old || core->has_keyless || MUTATION(share_unique)); /* U1 */
            core->has_keyless |= is_old;
        }
    } else if (side->unique != NONE) {
        unique_at(core, side->unique)->state = task->state;
    }
}

void unique_purge(struct core *core)
{
    for (uint32_t i = 0; i < PURGE_MAX; i++) {
        uint32_t index = heap_top(&core->unique_ends);
        if (index == HEAP_NONE || !is_over(core, index)) {
            return;
        }
        drop(core, index);
    }
}

void unique_index(struct core *core, uint32_t index)
{
    struct unique *unique = unique_at(core, index);
    ensure(map_add(&core->unique_map, hash_of(core, index), index, hash_of, core));
    queue_at(core, unique->queue)->refs++;
    core->unique_kindless += unique->kind == NONE;
    unique->position = HEAP_NONE;
    if (unique->mode == UNIQUE_FOR_TIME) {
        ensure(heap_push(&core->unique_ends, index));
    }
}

void unique_rehash(struct core *core)
{
    ensure(map_rehash(&core->unique_map, hash_of, core));
}
