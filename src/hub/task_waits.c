/* task_waits.c - requests that wait for a task to become final.
 *
 * A map leads from a task's id to the first of its waits; those of one task are a doubly linked ring through the slab, so
 * that one leaves in one step. All waits lie in one heap by their end, and one timer stands at the top of it.
 *
 * What it needs of the world (a clock, one timer) comes through struct task_waits_port; task_waits_net.c brings the real
 * ones, the simulator its own.
 *
 * Invariants: W1 a live wait is in the heap and in exactly one ring; W2 the map holds one wait of each ring; W3 on_done is
 * called at most once, after the wait has left both. */
#include "hub/task_waits.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/heap.h"
#include "base/map.h"
#include "base/mutation.h"
#include "base/slab.h"

struct wait {
    uint64_t task_id;
    int64_t due_ns; /* monotonic */
    task_wait_done *on_done;
    void *ctx;
    uint32_t next, before; /* ring of the waits of one task */
    uint32_t position;     /* in the heap */
};

struct task_waits {
    uint32_t magic;
    struct task_waits_port port;
    struct slab slab;
    struct map map; /* task_id → the first wait of its ring */
    struct heap heap;
};

static int64_t now_mono_ns(const struct task_waits *waits)
{
    return waits->port.mono_ns(waits->port.ctx);
}

static struct wait *wait_at(const struct task_waits *waits, uint32_t index)
{
    return slab_at(&waits->slab, index);
}

static bool is_before(void *ctx, uint32_t a, uint32_t b)
{
    const struct wait *left = wait_at(ctx, a), *right = wait_at(ctx, b);
    return left->due_ns != right->due_ns ? left->due_ns < right->due_ns : a < b;
}

static void set_position(void *ctx, uint32_t item, uint32_t position)
{
    wait_at(ctx, item)->position = position;
}

static bool is_equal(const void *ctx, uint32_t value, const void *key)
{
    const uint64_t *task_id = key;
    return wait_at(ctx, value)->task_id == *task_id;
}

static uint64_t hash_of(const void *ctx, uint32_t value)
{
    return hash_mix(wait_at(ctx, value)->task_id);
}

static uint32_t find(const struct task_waits *waits, uint64_t task_id)
{
    return map_find(&waits->map, hash_mix(task_id), is_equal, waits, &task_id);
}

/* Takes a wait out of heap, ring and map; the record is free afterwards. */
static void unlink_wait(struct task_waits *waits, uint32_t index)
{
    struct wait *wait = wait_at(waits, index);
    heap_remove(&waits->heap, wait->position);
    if (find(waits, wait->task_id) == index) {
        map_remove(&waits->map, hash_mix(wait->task_id), index, hash_of, waits);
        if (wait->next != index) { /* the place just freed is there for the next of the ring: this cannot fail */
            ensure(map_add(&waits->map, hash_mix(wait->task_id), wait->next, hash_of, waits));
        }
    }
    wait_at(waits, wait->next)->before = wait->before;
    wait_at(waits, wait->before)->next = wait->next;
    slab_free(&waits->slab, index);
}

static void finish(struct task_waits *waits, uint32_t index, bool is_final)
{
    struct wait wait = *wait_at(waits, index);
    unlink_wait(waits, index);
    wait.on_done(wait.ctx, is_final);
}

static void arm(struct task_waits *waits)
{
    uint32_t top = heap_top(&waits->heap);
    int64_t left_ns = top != HEAP_NONE ? wait_at(waits, top)->due_ns - now_mono_ns(waits) : TASK_WAITS_NO_TIMER;
    waits->port.set_timer(waits->port.ctx, top != HEAP_NONE && left_ns < 0 ? 0 : left_ns);
}

void task_waits_tick(struct task_waits *waits)
{
    ensure_magic(waits, TASK_WAITS_MAGIC);
    int64_t now_ns = now_mono_ns(waits);
    for (uint32_t top; (top = heap_top(&waits->heap)) != HEAP_NONE && wait_at(waits, top)->due_ns <= now_ns;) {
        finish(waits, top, false);
    }
    arm(waits);
}

enum status task_waits_make(const struct task_waits_port *port, struct task_waits **ret_waits)
{
    struct task_waits *waits = calloc(1, sizeof(*waits));
    if (waits == NULL) {
        return STATUS_NO_MEMORY;
    }
    waits->magic = TASK_WAITS_MAGIC;
    waits->port = *port;
    slab_init(&waits->slab, sizeof(struct wait), TASK_WAITS_MAX);
    map_init(&waits->map);
    heap_init(&waits->heap, is_before, set_position, waits);
    *ret_waits = waits;
    return STATUS_OK;
}

void task_waits_free(struct task_waits *waits)
{
    if (waits == NULL) {
        return;
    }
    ensure_magic(waits, TASK_WAITS_MAGIC);
    task_waits_stop(waits);
    heap_free(&waits->heap);
    map_free(&waits->map);
    slab_free_all(&waits->slab);
    waits->port.end(waits->port.ctx);
    waits->magic = 0;
    free(waits);
}

enum status task_waits_add(struct task_waits *waits, uint64_t task_id, int64_t wait_ms, task_wait_done *on_done,
                           void *ctx, uint32_t *ret_wait)
{
    ensure_magic(waits, TASK_WAITS_MAGIC);
    uint32_t index = slab_alloc(&waits->slab);
    if (index == SLAB_NONE) {
        return STATUS_BUSY;
    }
    struct wait *wait = wait_at(waits, index);
    *wait = (struct wait){.task_id = task_id,
                          .due_ns = now_mono_ns(waits) + wait_ms * NS_PER_MS,
                          .on_done = on_done,
                          .ctx = ctx,
                          .next = index,
                          .before = index};
    uint32_t first = find(waits, task_id);
    bool is_first = first == MAP_NONE;
    if (is_first && !map_add(&waits->map, hash_mix(task_id), index, hash_of, waits)) {
        slab_free(&waits->slab, index);
        return STATUS_BUSY;
    }
    if (!heap_push(&waits->heap, index)) {
        if (is_first) {
            map_remove(&waits->map, hash_mix(task_id), index, hash_of, waits);
        }
        slab_free(&waits->slab, index);
        return STATUS_BUSY;
    }
    if (!is_first) {
        uint32_t last = wait_at(waits, first)->before;
        wait->next = first;
        wait->before = last;
        wait_at(waits, last)->next = index;
        wait_at(waits, first)->before = index;
    }
    if (heap_top(&waits->heap) == index) {
        arm(waits);
    }
    *ret_wait = index;
    return STATUS_OK;
}

void task_waits_remove(struct task_waits *waits, uint32_t wait)
{
    ensure_magic(waits, TASK_WAITS_MAGIC);
    ensure(slab_is_live(&waits->slab, wait));
    unlink_wait(waits, wait); /* a timer that stands too early finds nothing and stands anew */
}

void task_waits_stop(struct task_waits *waits)
{
    for (uint32_t top; (top = heap_top(&waits->heap)) != HEAP_NONE;) {
        finish(waits, top, false);
    }
}

uint32_t task_waits_count(const struct task_waits *waits)
{
    return waits->slab.used;
}

void task_waits_on_task(void *hub, const struct effect_task *task, uint64_t seq)
{
    (void)seq;
    struct task_waits *waits = ((struct hub *)hub)->task_waits;
    if (waits->slab.used == 0 || !task_state_is_final(task->state)) {
        return;
    }
    ensure_magic(waits, TASK_WAITS_MAGIC);
    for (uint32_t wait; (wait = find(waits, task->task_id)) != MAP_NONE;) {
        finish(waits, wait, true);
        if (MUTATION(wait_forgotten)) {
            break;
        }
    }
}
