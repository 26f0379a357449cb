/* timer.c - what time alone does to tasks.
 *
 * A task has one deadline, the least of what its state waits for:
 *
 *     scheduled  run_at, ttl         ready  ttl         leased  ttl, time-out of the attempt, end of the lease
 *
 * and is in one heap by (deadline, id) while it has any. A wheel was not taken: firing in exact order makes outcomes a
 * function of the state alone, and an indexed heap moves a lease's end in the same few steps. Nothing fires by itself:
 * every entry first fires what is due at its time; of more than FIRE_MAX tasks or FIRE_EFFECTS_SIZE bytes of effects (a
 * million tasks may be due in the same moment, or expire, each with its row) the rest waits for the next entry, which the
 * deadline then calls for. */
#include "core/core_internal.h"

#define FIRE_MAX 5000u               /* about 15 ms; 300,000 in one entry stopped the hub for 0.9 s */
#define FIRE_EFFECTS_SIZE (8u << 20) /* of large rows */

static bool is_before(void *ctx, uint32_t a, uint32_t b)
{
    const struct task *left = task_at(ctx, a);
    const struct task *right = task_at(ctx, b);
    return left->deadline_ns != right->deadline_ns ? left->deadline_ns < right->deadline_ns : left->id < right->id;
}

static void set_position(void *ctx, uint32_t item, uint32_t position)
{
    task_at(ctx, item)->timer_position = position;
}

void timer_init(struct core *core)
{
    heap_init(&core->timers, is_before, set_position, core);
}

static int64_t attempt_end_ns(const struct core *core, const struct task *task)
{
    const struct task_side *side = task_side(core, task);
    return side != NULL && side->timeout_ms > 0 ? time_add_ms(task->started_ns, side->timeout_ms) : NEVER_NS;
}

static int64_t deadline_of(const struct core *core, const struct task *task)
{
    int64_t deadline_ns = task->expires_ns != 0 ? task->expires_ns : NEVER_NS;
    int64_t other_ns = NEVER_NS;
    switch ((enum task_state)task->state) {
    case TASK_SCHEDULED:
        other_ns = task->run_at_ns;
        break;
    case TASK_LEASED: {
        int64_t attempt_ns = attempt_end_ns(core, task);
        other_ns = attempt_ns < task->lease_expires_ns ? attempt_ns : task->lease_expires_ns;
        break;
    }
    case TASK_READY:
        break;
    default:
        return NEVER_NS;
    }
    return other_ns < deadline_ns ? other_ns : deadline_ns;
}

void timer_update(struct core *core, uint32_t index)
{
    struct task *task = task_at(core, index);
    int64_t deadline_ns = deadline_of(core, task);
    bool is_in = task->timer_position != HEAP_NONE;
    if (deadline_ns == task->deadline_ns && is_in == (deadline_ns != NEVER_NS)) {
        return;
    }
    if (deadline_ns == NEVER_NS) {
        timer_remove(core, index);
        return;
    }
    task->deadline_ns = deadline_ns;
    if (is_in) {
        heap_fix(&core->timers, task->timer_position);
    } else {
        ensure(heap_push(&core->timers, index));
    }
}

void timer_remove(struct core *core, uint32_t index)
{
    struct task *task = task_at(core, index);
    if (task->timer_position != HEAP_NONE) {
        heap_remove(&core->timers, task->timer_position);
    }
    task->deadline_ns = NEVER_NS;
}

static void fire(struct core *core, uint32_t index)
{
    struct task *task = task_at(core, index);
    int64_t deadline_ns = task->deadline_ns;
    if (task->expires_ns != 0 && task->expires_ns == deadline_ns) {
        task_expire(core, index);
    } else if (task->state == TASK_SCHEDULED) {
        task_make_ready(core, index, false);
    } else {
        ensure(task->state == TASK_LEASED);
        if (attempt_end_ns(core, task) == deadline_ns) {
            lease_timed_out(core, index);
        } else {
            ensure(task->lease_expires_ns == deadline_ns);
            lease_put_stop(core, index, STOP_EXPIRED);
            lease_lost(core, index, ATTEMPT_EXPIRED, node_at(core, task->owner)->is_worker); /* it is how those die */
        }
    }
}

void timer_fire(struct core *core)
{
    size_t start = core->effects->len;
    for (uint32_t i = 0; i < FIRE_MAX && core->effects->len - start < FIRE_EFFECTS_SIZE; i++) {
        uint32_t index = heap_top(&core->timers);
        if (index == HEAP_NONE || task_at(core, index)->deadline_ns > core->time_ns) {
            return;
        }
        fire(core, index);
    }
}
