/* roll.c - the live tasks in order of creation, and an index over them that answers filtered walks.
 *
 * The tasks are one list (newer, older), cut into blocks of at most ROLL_BLOCK_TASKS neighbours. A block counts its tasks
 * by class: (queue, kind, hash of the last error's kind) and state. A walk steps over a block whose classes cannot match
 * at the cost of a look, and inside of a block it ends at the last match: 5 million tasks are ten thousand blocks, so the
 * one dead task behind all of them is found within a millisecond, where a walk over the tasks would take half a second.
 *
 *   newest ─▶ [512 tasks: default code.run - │ ready 480, leased 32] ─▶ [301: … dead 1] ─▶ … ─▶ oldest
 *
 * A state change costs two counters in its block. Blocks that run empty are joined with a neighbour, so that there are
 * never more than live tasks / (ROLL_BLOCK_TASKS / 8) of them, whatever is deleted in which order.
 *
 * All of this is derived: not saved, part of no hash, of no influence on any outcome.
 *
 * Invariants (core_check): V1 every live task is in exactly one block, and blocks are runs of the list, in its order;
 * V2 the counts of a block equal a recount of its tasks.
 * Rejected: a list for each class (a task that becomes dead would have to find its place in order: O(n)); a tree for each
 * class (three pointers a task). */
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/mutation.h"
#include "core/core_internal.h"

#define JOIN_BELOW (ROLL_BLOCK_TASKS / 4)     /* a block with fewer tasks looks for a neighbour to join ... */
#define JOINED_MAX (ROLL_BLOCK_TASKS / 4 * 3) /* ... unless they were nearly full together */

/* --- classes of a block: open addressing; a class whose tasks are gone keeps its place until the table grows --- */

/* Kinds of errors, queues and kinds are chosen by clients: keyed, so that nobody can make walks look in vain. */
static uint32_t error_hash(const struct core *core, struct slice error_kind)
{
    return error_kind.len > 0 ? (uint32_t)hash_keyed(&core->hash_key, 0, error_kind) | 1u : 0;
}

static struct roll_class class_of(const struct core *core, const struct task *task)
{
    const struct task_side *side = task_side(core, task);
    return (struct roll_class){.queue = task_queue(core, task),
                               .kind = signature_at(core, task->signature)->kind,
                               .error = side != NULL ? error_hash(core, block_slice(side->error_kind)) : 0};
}

static uint32_t class_slot(const struct core *core, const struct roll_class *class)
{
    const uint64_t numbers[] = {(uint64_t) class->queue << 32 | class->kind, class->error};
    return (uint32_t)hash_keyed_numbers(&core->hash_key, numbers, ARRAY_COUNT(numbers));
}

/* The place of the class, or the free one where it would be. */
static struct roll_class *class_find(const struct core *core, const struct roll_block *block,
                                     const struct roll_class *class)
{
    for (uint32_t at = class_slot(core, class);; at++) {
        struct roll_class *found = &block->classes[at & (block->class_cap - 1)];
        if (found->queue == NONE ||
            (found->queue == class->queue && found->kind == class->kind && found->error == class->error)) {
            return found;
        }
    }
}

static void classes_grow(const struct core *core, struct roll_block *block)
{
    struct roll_class *old = block->classes;
    uint32_t old_cap = block->class_cap, live = 0;
    for (uint32_t i = 0; i < old_cap; i++) {
        live += old[i].queue != NONE && old[i].total > 0;
    }
    block->class_cap = 2;
    while (block->class_cap < 2 * (live + 1)) {
        block->class_cap *= 2;
    }
    block->classes = malloc(block->class_cap * sizeof(*block->classes));
    ensure(block->classes != NULL);
    for (uint32_t i = 0; i < block->class_cap; i++) {
        block->classes[i] = (struct roll_class){.queue = NONE};
    }
    for (uint32_t i = 0; i < old_cap; i++) {
        if (old[i].queue != NONE && old[i].total > 0) {
            *class_find(core, block, &old[i]) = old[i];
        }
    }
    block->class_used = live;
    free(old);
}

static struct roll_class *class_take(const struct core *core, struct roll_block *block, const struct roll_class *class)
{
    if (block->class_cap == 0) {
        classes_grow(core, block);
    }
    struct roll_class *found = class_find(core, block, class);
    if (found->queue == NONE) {
        if (4 * (block->class_used + 1) > 3 * block->class_cap) {
            classes_grow(core, block);
            found = class_find(core, block, class);
        }
        *found = *class;
        block->class_used++;
    }
    return found;
}

/* --- blocks --- */

static struct roll_block *block_at(const struct core *core, uint32_t block)
{
    return slab_at(&core->blocks, block);
}

static void block_add(struct core *core, uint32_t block_index, const struct task *task)
{
    struct roll_block *block = block_at(core, block_index);
    struct roll_class class = class_of(core, task);
    struct roll_class *found = class_take(core, block, &class);
    found->total++;
    found->counts[task->state]++;
    block->counts[task->state]++;
    block->count++;
}

static void block_subtract(struct core *core, const struct task *task)
{
    struct roll_block *block = block_at(core, task->block);
    struct roll_class class = class_of(core, task);
    struct roll_class *found = class_find(core, block, &class);
    ensure(found->queue != NONE && found->counts[task->state] > 0 && block->counts[task->state] > 0);
    found->total--;
    found->counts[task->state]--;
    block->counts[task->state]--;
    block->count--;
}

/* An empty block behind the newest one. */
static uint32_t block_append(struct core *core)
{
    uint32_t index = slab_alloc(&core->blocks);
    ensure(index != SLAB_NONE);
    struct roll_block *block = block_at(core, index);
    block->first = block->last = block->newer = NONE;
    block->older = core->block_newest;
    if (core->block_newest != NONE) {
        block_at(core, core->block_newest)->newer = index;
    } else {
        core->block_oldest = index;
    }
    core->block_newest = index;
    return index;
}

static void block_drop_empty(struct core *core, uint32_t index)
{
    struct roll_block *block = block_at(core, index);
    *(block->newer != NONE ? &block_at(core, block->newer)->older : &core->block_newest) = block->older;
    *(block->older != NONE ? &block_at(core, block->older)->newer : &core->block_oldest) = block->newer;
    free(block->classes);
    slab_free(&core->blocks, index);
}

/* Moves the tasks of `from` into its neighbour `into`. */
static void block_join(struct core *core, uint32_t from_index, uint32_t into_index)
{
    struct roll_block *from = block_at(core, from_index), *into = block_at(core, into_index);
    uint32_t count = from->count;
    for (uint32_t i = from->first; count > 0; i = task_at(core, i)->newer, count--) {
        task_at(core, i)->block = into_index;
        block_add(core, into_index, task_at(core, i));
    }
    if (from->newer == into_index) {
        into->first = from->first;
    } else {
        into->last = from->last;
    }
    block_drop_empty(core, from_index);
}

static void block_shrunk(struct core *core, uint32_t index)
{
    const struct roll_block *block = block_at(core, index);
    if (block->count == 0) {
        block_drop_empty(core, index);
        return;
    }
    if (block->count >= JOIN_BELOW || block->newer == NONE) { /* the newest is being filled */
        return;
    }
    const uint32_t neighbours[] = {block->older, block->newer};
    for (size_t i = 0; i < ARRAY_COUNT(neighbours); i++) {
        uint32_t other = neighbours[i];
        if (other == NONE || block_at(core, other)->count + block->count > JOINED_MAX) {
            continue;
        }
        bool is_smaller = block->count <= block_at(core, other)->count;
        block_join(core, is_smaller ? index : other, is_smaller ? other : index);
        return;
    }
}

/* --- what task.c calls --- */

void roll_append(struct core *core, uint32_t index)
{
    struct task *task = task_at(core, index);
    uint32_t at = core->block_newest;
    if (at == NONE || block_at(core, at)->count >= ROLL_BLOCK_TASKS) {
        at = block_append(core);
    }
    task->block = at;
    block_add(core, at, task);
    struct roll_block *block = block_at(core, at);
    block->last = index;
    block->first = block->first == NONE ? index : block->first;
}

void roll_remove(struct core *core, uint32_t index)
{
    const struct task *task = task_at(core, index);
    block_subtract(core, task);
    struct roll_block *block = block_at(core, task->block);
    if (block->first == index) {
        block->first = block->count > 0 ? task->newer : NONE;
    }
    if (block->last == index) {
        block->last = block->count > 0 ? task->older : NONE;
    }
}

void roll_removed(struct core *core, uint32_t block)
{
    block_shrunk(core, block);
}

void roll_set_state(struct core *core, uint32_t index, uint8_t state)
{
    const struct task *task = task_at(core, index);
    struct roll_block *block = block_at(core, task->block);
    struct roll_class class = class_of(core, task);
    struct roll_class *found = class_find(core, block, &class);
    ensure(found->queue != NONE && found->counts[task->state] > 0 && block->counts[task->state] > 0);
    found->counts[task->state]--;
    block->counts[task->state]--;
    found->counts[state]++;
    block->counts[state]++;
}

void roll_error_begin(struct core *core, uint32_t index)
{
    block_subtract(core, task_at(core, index));
}

void roll_error_end(struct core *core, uint32_t index)
{
    block_add(core, task_at(core, index)->block, task_at(core, index));
}

void roll_rehash(struct core *core)
{
    for (uint32_t i = slab_next(&core->blocks, 0); i != SLAB_NONE; i = slab_next(&core->blocks, i + 1)) {
        struct roll_block *block = block_at(core, i);
        uint32_t count = block->count;
        block->count = 0;
        free(TAKE(block->classes));
        block->class_used = block->class_cap = 0;
        memset(block->counts, 0, sizeof(block->counts));
        for (uint32_t at = block->first; block->count < count; at = task_at(core, at)->newer) {
            block_add(core, i, task_at(core, at));
        }
    }
}

void roll_free(struct core *core)
{
    for (uint32_t i = slab_next(&core->blocks, 0); i != SLAB_NONE; i = slab_next(&core->blocks, i + 1)) {
        free(block_at(core, i)->classes);
    }
    slab_free_all(&core->blocks);
}

/* --- walks --- */

struct wanted { /* a filter in the core's own terms */
    int state;
    uint32_t queue, kind, error; /* NONE: any; of the error a hash, 0: any */
    struct slice error_kind;
    int64_t from_ns, until_ns;
    bool is_empty; /* names something that the core does not have */
};

static struct wanted wanted_of(const struct core *core, const struct task_filter *filter)
{
    struct wanted wanted = {.state = filter->state,
                            .queue = NONE,
                            .kind = NONE,
                            .error = error_hash(core, filter->error_kind),
                            .error_kind = filter->error_kind,
                            .from_ns = filter->created_from_ns,
                            .until_ns = filter->created_until_ns};
    if (filter->queue.len > 0) {
        wanted.queue = queue_find(core, filter->queue);
        wanted.is_empty |= wanted.queue == NONE;
    }
    if (filter->kind.len > 0) {
        wanted.kind = symbol_find(core, filter->kind);
        wanted.is_empty |= wanted.kind == NONE;
    }
    return wanted;
}

/* The matches of a block as far as classes tell: at least as many as there are, not looking at times. */
static uint32_t count_wanted(const struct roll_block *block, const struct wanted *wanted)
{
    bool has_class = wanted->queue != NONE || wanted->kind != NONE || wanted->error != 0;
    uint32_t count = wanted->state >= 0 ? block->counts[wanted->state] : block->count;
    if (count == 0 || !has_class) {
        return count;
    }
    count = 0;
    for (uint32_t i = 0; i < block->class_cap; i++) {
        const struct roll_class *class = &block->classes[i];
        if (class->queue == NONE || (wanted->queue != NONE && wanted->queue != class->queue) ||
            (wanted->kind != NONE && wanted->kind != class->kind) ||
            (wanted->error != 0 && wanted->error != class->error)) {
            continue;
        }
        count += wanted->state >= 0 ? class->counts[wanted->state] : class->total;
    }
    return count;
}

static bool is_wanted(const struct core *core, const struct task *task, const struct wanted *wanted)
{
    if ((wanted->state >= 0 && task->state != (uint8_t)wanted->state) || task->created_ns < wanted->from_ns ||
        task->created_ns >= wanted->until_ns || (wanted->queue != NONE && task_queue(core, task) != wanted->queue) ||
        (wanted->kind != NONE && signature_at(core, task->signature)->kind != wanted->kind)) {
        return false;
    }
    if (wanted->error == 0) {
        return true;
    }
    const struct task_side *side = task_side(core, task);
    return side != NULL && slice_equal(block_slice(side->error_kind), wanted->error_kind);
}

/* Whether task ids beyond `at` in the direction of the walk begin inside this block or further on: false when all of it
 * lies before. Also steps over what the time range excludes. */
static bool is_block_ahead(const struct core *core, const struct roll_block *block, const struct wanted *wanted,
                           uint64_t at, enum list_order order)
{
    const struct task *first = task_at(core, block->first), *last = task_at(core, block->last);
    if (last->created_ns < wanted->from_ns || first->created_ns >= wanted->until_ns) {
        return false;
    }
    return order == LIST_NEWEST ? first->id < at : last->id > at;
}

static uint32_t step(const struct core *core, uint32_t index, enum list_order order)
{
    return order == LIST_NEWEST ? task_at(core, index)->older : task_at(core, index)->newer;
}

/* The first match of the block beyond `at`, starting at task `from`; NONE. */
static uint32_t search_block(const struct core *core, uint32_t block, uint32_t from, const struct wanted *wanted,
                             uint64_t at, enum list_order order, uint64_t *steps)
{
    uint32_t left = count_wanted(block_at(core, block), wanted);
    for (uint32_t i = from; left > 0 && i != NONE && task_at(core, i)->block == block; i = step(core, i, order)) {
        const struct task *task = task_at(core, i);
        *steps += 1;
        if (!is_wanted(core, task, wanted)) {
            continue;
        }
        if (order == LIST_NEWEST ? task->id < at : task->id > at) {
            return i;
        }
        left--; /* it lies before `at` */
    }
    return NONE;
}

uint64_t core_task_next(const struct core *core, const struct task_filter *filter, enum list_order order, uint64_t at,
                        uint64_t *steps)
{
    ensure_magic(core, CORE_MAGIC);
    struct wanted wanted = wanted_of(core, filter);
    uint64_t ignored = 0;
    steps = steps != NULL ? steps : &ignored;
    if (wanted.is_empty) {
        return 0;
    }
    uint32_t block = order == LIST_NEWEST ? core->block_newest : core->block_oldest;
    uint32_t from = task_find(core, at);
    if (from != NONE) { /* goes on behind a live task */
        block = task_at(core, from)->block;
        uint32_t found = search_block(core, block, step(core, from, order), &wanted, at, order, steps);
        if (found != NONE) {
            return task_at(core, found)->id;
        }
        block = order == LIST_NEWEST ? block_at(core, block)->older : block_at(core, block)->newer;
    }
    while (block != NONE) {
        const struct roll_block *here = block_at(core, block);
        *steps += 1;
        uint32_t begin = order == LIST_NEWEST ? here->last : here->first;
        /* Times never go back: beyond the range there is nothing more. */
        if (order == LIST_NEWEST ? task_at(core, begin)->created_ns < wanted.from_ns
                                 : task_at(core, begin)->created_ns >= wanted.until_ns) {
            return 0;
        }
        if (count_wanted(here, &wanted) > 0 && is_block_ahead(core, here, &wanted, at, order)) {
            uint32_t found = search_block(core, block, begin, &wanted, at, order, steps);
            if (found != NONE) {
                return task_at(core, found)->id;
            }
        }
        block = order == LIST_NEWEST ? here->older : here->newer;
    }
    return 0;
}

/* --- V1, V2 --- */

static bool is_block_right(const struct core *core, uint32_t index, uint32_t *at)
{
    const struct roll_block *block = block_at(core, index);
    uint16_t counts[TASK_STATE_COUNT] = {0};
    if (block->count == 0 || block->count > ROLL_BLOCK_TASKS || block->first != *at) {
        return false;
    }
    uint32_t in_classes = 0;
    for (uint32_t i = 0; i < block->class_cap; i++) {
        in_classes += block->classes[i].queue != NONE ? block->classes[i].total : 0;
    }
    /* Each task takes one away from its class in a copy, which then must be empty. */
    struct roll_class *left = malloc(block->class_cap * sizeof(*left));
    ensure(left != NULL);
    memcpy(left, block->classes, block->class_cap * sizeof(*left));
    struct roll_block copy = *block;
    copy.classes = left;
    bool is_right = in_classes == block->count;
    for (uint32_t n = 0; is_right && n < block->count; n++) {
        const struct task *task = *at != NONE ? task_at(core, *at) : NULL;
        struct roll_class class = task != NULL ? class_of(core, task) : (struct roll_class){.queue = NONE};
        struct roll_class *found = class_find(core, &copy, &class);
        is_right = task != NULL && task->block == index && found->queue != NONE && found->total > 0 &&
                   found->counts[task->state] > 0 && (n + 1 < block->count || block->last == *at);
        if (is_right) {
            found->total--;
            found->counts[task->state]--;
            counts[task->state]++;
            *at = task->newer;
        }
    }
    free(left);
    return is_right && memcmp(counts, block->counts, sizeof(counts)) == 0;
}

bool roll_is_right(const struct core *core)
{
    uint32_t at = core->oldest, older = NONE, count = 0;
    for (uint32_t i = core->block_oldest; i != NONE; i = block_at(core, i)->newer) {
        if (++count > core->blocks.used || block_at(core, i)->older != older || !is_block_right(core, i, &at)) {
            return false;
        }
        older = i;
    }
    return at == NONE && count == core->blocks.used && core->block_newest == older;
}
