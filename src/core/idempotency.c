/* idempotency.c - the same submit twice is one task.
 *
 * A key remembers the hash of the body it came with and the task it made, for LIMIT_IDEMPOTENCY_MS and while there are
 * fewer than LIMIT_IDEMPOTENCY_KEYS; the oldest goes first. It outlives its task, whose last state it then answers
 * with. Keys of one task (a key can also arrive at a task through the task's unique key) are chained, so that its end
 * reaches all of them.
 *
 * The retry of a task that only history has is a submit with a key of its own (core_retry_key), so that there is one. */
#include "base/hash.h"
#include "base/mutation.h"
#include "core/core_internal.h"

#define PURGE_MAX 20000u      /* in one entry */
#define RETRY_KEY_MARK '\x01' /* clients' keys are visible characters */

static bool is_equal(const void *ctx, uint32_t value, const void *key)
{
    return slice_equal(block_slice(idempotency_at(ctx, value)->key), *(const struct slice *)key);
}

static uint64_t hash_of(const void *ctx, uint32_t value)
{
    const struct core *core = ctx;
    return hash_keyed(&core->hash_key, 0, block_slice(idempotency_at(core, value)->key));
}

static void drop_oldest(struct core *core)
{
    uint32_t index = core->idempotency_oldest;
    struct idempotency *gone = idempotency_at(core, index);
    uint32_t task = task_find(core, gone->task_id);
    if (gone->prev_of_task != NONE) {
        idempotency_at(core, gone->prev_of_task)->next_of_task = gone->next_of_task;
    } else if (task != NONE) {
        ensure(task_at(core, task)->idempotency == index);
        task_at(core, task)->idempotency = gone->next_of_task;
    }
    if (gone->next_of_task != NONE) {
        idempotency_at(core, gone->next_of_task)->prev_of_task = gone->prev_of_task;
    }
    core->steps++;
    core->idempotency_oldest = gone->newer;
    if (gone->newer == NONE) {
        core->idempotency_newest = NONE;
    }
    map_remove(&core->idempotency_map, hash_of(core, index), index, hash_of, core);
    block_drop(core, &gone->key);
    slab_free(&core->idempotencies, index);
}

static bool is_expired(const struct core *core, uint32_t index)
{
    int64_t keep_ms = MUTATION(forget_idempotency) ? 5 : LIMIT_IDEMPOTENCY_MS;
    return time_add_ms(idempotency_at(core, index)->created_ns, keep_ms) <= core->time_ns;
}

/* The key of a retry is known as long as the task that it made is in memory; from then on history knows the two. */
static bool is_kept(const struct core *core, uint32_t index)
{
    const struct idempotency *known = idempotency_at(core, index);
    return known->key->len == RETRY_KEY_SIZE && known->key->data[0] == RETRY_KEY_MARK &&
           task_find(core, known->task_id) != NONE;
}

/* Takes the oldest key, whose time is over, off the front: it goes, or begins anew. */
static void retire_oldest(struct core *core)
{
    uint32_t index = core->idempotency_oldest;
    if (!is_kept(core, index)) {
        drop_oldest(core);
        return;
    }
    struct idempotency *kept = idempotency_at(core, index);
    kept->created_ns = core->time_ns;
    if (kept->newer != NONE) {
        core->idempotency_oldest = kept->newer;
        idempotency_at(core, core->idempotency_newest)->newer = index;
        core->idempotency_newest = index;
        kept->newer = NONE;
    }
    core->steps++;
}

static uint32_t lookup(const struct core *core, struct slice key)
{
    return map_find(&core->idempotency_map, hash_keyed(&core->hash_key, 0, key), is_equal, core, &key);
}

uint32_t idempotency_find(const struct core *core, struct slice key)
{
    uint32_t index = lookup(core, key);
    return index != MAP_NONE && (!is_expired(core, index) || is_kept(core, index)) ? index : NONE;
}

struct slice core_retry_key(uint64_t task_id, char ret[RETRY_KEY_SIZE])
{
    ret[0] = RETRY_KEY_MARK;
    for (int i = 0; i < RETRY_KEY_SIZE - 1; i++) {
        ret[i + 1] = "0123456789abcdef"[task_id >> (60 - 4 * i) & 15];
    }
    return slice_of(ret, RETRY_KEY_SIZE);
}

uint64_t core_retried_as(const struct core *core, uint64_t task_id)
{
    char text[RETRY_KEY_SIZE];
    uint32_t found = idempotency_find(core, core_retry_key(task_id, text));
    return found != NONE ? idempotency_at(core, found)->task_id : 0;
}

void idempotency_add(struct core *core, struct slice key, uint64_t body_hash, uint32_t task_index)
{
    while (lookup(core, key) != MAP_NONE) { /* over, and so is all that is older */
        ensure(is_expired(core, core->idempotency_oldest));
        retire_oldest(core);
    }
    while (core->idempotencies.used >= LIMIT_IDEMPOTENCY_KEYS) {
        drop_oldest(core);
    }
    struct task *task = task_at(core, task_index);
    uint32_t index = slab_alloc(&core->idempotencies);
    ensure(index != SLAB_NONE);
    *idempotency_at(core, index) = (struct idempotency){.key = block_new(core, key),
                                                        .body_hash = body_hash,
                                                        .task_id = task->id,
                                                        .created_ns = core->time_ns,
                                                        .newer = NONE,
                                                        .next_of_task = task->idempotency,
                                                        .prev_of_task = NONE,
                                                        .state = task->state};
    if (task->idempotency != NONE) {
        idempotency_at(core, task->idempotency)->prev_of_task = index;
    }
    task->idempotency = index;
    if (core->idempotency_newest != NONE) {
        idempotency_at(core, core->idempotency_newest)->newer = index;
    } else {
        core->idempotency_oldest = index;
    }
    core->idempotency_newest = index;
    ensure(map_add(&core->idempotency_map, hash_of(core, index), index, hash_of, core));
}

void idempotency_on_final(struct core *core, uint32_t task_index)
{
    const struct task *task = task_at(core, task_index);
    for (uint32_t i = task->idempotency; i != NONE; i = idempotency_at(core, i)->next_of_task) {
        idempotency_at(core, i)->state = task->state;
        core->steps++;
    }
}

void idempotency_forget(struct core *core, uint32_t task_index)
{
    struct task *task = task_at(core, task_index);
    for (uint32_t i = task->idempotency; i != NONE;) {
        struct idempotency *key = idempotency_at(core, i);
        i = key->next_of_task;
        key->next_of_task = key->prev_of_task = NONE;
        core->steps++;
    }
    task->idempotency = NONE;
}

void idempotency_purge(struct core *core)
{
    for (uint32_t i = 0; i < PURGE_MAX; i++) {
        if (core->idempotency_oldest == NONE || !is_expired(core, core->idempotency_oldest)) {
            return;
        }
        retire_oldest(core);
    }
}

void idempotency_index(struct core *core, uint32_t index)
{
    uint32_t next = idempotency_at(core, index)->next_of_task;
    if (next != NONE) {
        idempotency_at(core, next)->prev_of_task = index;
    }
    ensure(map_add(&core->idempotency_map, hash_of(core, index), index, hash_of, core));
}

void idempotency_rehash(struct core *core)
{
    ensure(map_rehash(&core->idempotency_map, hash_of, core));
}
