/* task.c - a task from its submit to the day it is forgotten.
 *
 *                 ┌────────────── back-off ──────────────┐
 *                 ▼                                      │ failed
 *   submit ──▶ scheduled ──run_at──▶ ready ──grant──▶ leased ──complete──▶ succeeded
 *      └───────────────────────────▶   ▲                │ │
 *                                      └─ lost, given ──┘ └─ failed too often ──▶ dead
 *                                         back                     (or lost too often)
 *   leased, to wait again, and its unique key is another one's by now ──▶ cancelled (unique.c)
 *   any state that is not final ──cancel──▶ cancelled, ──ttl──▶ expired
 *   dead, cancelled, expired ──retry──▶ ready
 *
 * A final task stays in memory until history has it and finished_keep_ms have passed, or earlier when memory runs short;
 * then its record goes (T4: accepted = live + evicted).
 *
 * In which list a task is follows from its state: ready: its slot (ready.c); leased: its node (lease.c); final: the list of
 * finished tasks here; scheduled: none, the timer heap has it. All of them share `next` and `prev`. */
#include "base/mutation.h"
#include "core/core_internal.h"

#define EVICT_MAX 20000u /* in one entry, about 10 ms */
/* What one submit can add to the table of symbols: labels, error kinds of its policy, fairness key. */
#define SYMBOLS_PER_SUBMIT (LIMIT_LABELS + 16 + 1)

uint32_t task_find(const struct core *core, uint64_t task_id)
{
    uint32_t index = task_id_index(task_id);
    return slab_is_live(&core->tasks, index) && task_at(core, index)->id == task_id ? index : NONE;
}

uint32_t task_queue(const struct core *core, const struct task *task)
{
    return flow_at(core, task->flow)->queue;
}

struct task_side *task_side_make(struct core *core, struct task *task)
{
    if (task->side == NONE) {
        task->side = slab_alloc(&core->sides);
        ensure(task->side != SLAB_NONE);
        side_at(core, task->side)->unique = NONE;
    }
    return side_at(core, task->side);
}

static void replace_block(struct core *core, struct block **block, struct slice text)
{
    block_drop(core, block);
    *block = block_new(core, text);
}

/* --- state --- */

static void enter_state(struct core *core, uint32_t index, enum task_state state)
{
    struct task *task = task_at(core, index);
    task->state = (uint8_t)state;
    task->changed_seq = MUTATION(same_version) && state == TASK_LEASED ? task->changed_seq : core->seq;
    core->counts[state]++;
    struct queue *queue = queue_at(core, task_queue(core, task));
    queue->counts[state]++;
    queue->changed_seq = core->seq;
    struct effect_task effect = {task->id, state};
    effect_put_task(core->effects, &effect);
}

void task_set_state(struct core *core, uint32_t index, enum task_state state)
{
    struct task *task = task_at(core, index);
    struct queue *queue = queue_at(core, task_queue(core, task));
    ensure(core->counts[task->state] > 0 && queue->counts[task->state] > 0);
    core->counts[task->state]--;
    queue->counts[task->state]--;
    roll_set_state(core, index, (uint8_t)state);
    enter_state(core, index, state);
    unique_on_state(core, index);
}

void task_make_ready(struct core *core, uint32_t index, bool is_first)
{
    task_set_state(core, index, TASK_READY);
    ready_add(core, index, is_first);
    timer_update(core, index);
}

void task_schedule(struct core *core, uint32_t index, int64_t run_at_ns)
{
    task_at(core, index)->run_at_ns = run_at_ns;
    task_set_state(core, index, TASK_SCHEDULED);
    timer_update(core, index);
}

void task_set_error(struct core *core, uint32_t index, struct slice kind, struct slice message, struct slice detail)
{
    struct task_side *side = task_side_make(core, task_at(core, index));
    roll_error_begin(core, index);
    replace_block(core, &side->error_kind, kind);
    roll_error_end(core, index);
    replace_block(core, &side->error_message, message);
    replace_block(core, &side->error_detail, detail);
}

void task_set_end(struct core *core, uint32_t index, struct slice kind, struct slice message)
{
    roll_error_begin(core, index);
    struct task_side *side = task_side_make(core, task_at(core, index));
    replace_block(core, &side->error_kind, kind);
    replace_block(core, &side->error_message, message);
    if (core_level(core) < ENTRY_LEVEL_MEND) {
        block_drop(core, &side->error_detail);
    }
    roll_error_end(core, index);
}

static void count_final(struct core *core, struct queue *queue, enum task_state state)
{
    switch (state) {
    case TASK_SUCCEEDED:
        core->succeeded++;
        queue->succeeded++;
        break;
    case TASK_DEAD:
        core->dead++;
        queue->dead++;
        break;
    case TASK_CANCELLED:
        core->cancelled++;
        queue->cancelled++;
        break;
    default:
        ensure(state == TASK_EXPIRED);
        core->expired++;
        queue->expired++;
    }
}

static void put_finished(struct core *core, uint32_t index)
{
    const struct task *task = task_at(core, index);
    struct task_view view;
    view_fill(core, index, &view);
    buf_reset(&core->row);
    task_view_put(&core->row, &view);
    ensure(buf_status(&core->row) == STATUS_OK);
    struct effect_finished effect = {.task_id = task->id,
                                     .state = (enum task_state)task->state,
                                     .created_ns = task->created_ns,
                                     .finished_ns = task->finished_ns,
                                     .queue = view.queue,
                                     .kind = view.kind,
                                     .error_kind = view.error_kind,
                                     .retry_of = view.retry_of,
                                     .row = buf_slice(&core->row)};
    effect_put_finished(core->effects, &effect);
}

void task_finish(struct core *core, uint32_t index, enum task_state state)
{
    struct task *task = task_at(core, index);
    ensure(task_state_is_final(state) && !task_state_is_final((enum task_state)task->state)); /* T3 */
    ensure(task->owner == NONE && task->next == NONE && task->prev == NONE);
    if (!MUTATION(keep_deadline)) {
        timer_remove(core, index);
    }
    task->finished_seq = core->seq;
    task->finished_ns = core->time_ns;
    task->prev = core->finished_tail;
    if (core->finished_tail != NONE) {
        task_at(core, core->finished_tail)->next = index;
    } else {
        core->finished_head = index;
    }
    core->finished_tail = index;
    task_set_state(core, index, state);
    count_final(core, queue_at(core, task_queue(core, task)), state);
    idempotency_on_final(core, index);
    if (!MUTATION(lose_task) || state != TASK_CANCELLED) {
        put_finished(core, index);
    }
}

static void leave_finished(struct core *core, struct task *task)
{
    if (task->prev != NONE) {
        task_at(core, task->prev)->next = task->next;
    } else {
        core->finished_head = task->next;
    }
    if (task->next != NONE) {
        task_at(core, task->next)->prev = task->prev;
    } else {
        core->finished_tail = task->prev;
    }
    task->next = task->prev = NONE;
}

void task_expire(struct core *core, uint32_t index)
{
    struct task *task = task_at(core, index);
    if (task->state == TASK_READY) {
        ready_remove(core, index);
    } else if (task->state == TASK_LEASED) {
        lease_put_stop(core, index, STOP_EXPIRED);
        lease_end(core, index, ATTEMPT_CANCELLED, SLICE("expired"), (struct slice){NULL, 0});
    }
    task_set_end(core, index, SLICE("expired"), SLICE("The task was not done within its time to live."));
    task_finish(core, index, TASK_EXPIRED);
}

/* --- submit --- */

static uint64_t submit_payload_size(const struct command_submit *command)
{
    const struct slice texts[] = {command->input, command->traceparent, command->unique_key, command->unique_key,
                                  command->idempotency_key};
    uint64_t size = 0;
    for (size_t i = 0; i < ARRAY_COUNT(texts); i++) {
        size += texts[i].len > 0 ? texts[i].len + BLOCK_OVERHEAD : 0;
    }
    return size;
}

static bool has_room(const struct core *core, const struct command_submit *command)
{
    return core->tasks.used < core->tasks_max &&
           core->payload_size + submit_payload_size(command) <= core->payload_size_max &&
           (command->by.id != 0 || core->symbols.used + SYMBOLS_PER_SUBMIT <= LIMIT_SYMBOLS) &&
           core->uniques.used < LIMIT_TASKS;
}

/* Whether the names that it may bring have room. */
static bool admits_names(struct core *core, const struct command_submit *command)
{
    struct slice names[SYMBOLS_PER_SUBMIT];
    uint32_t count = 0;
    if (command->by.id <= CALLER_ANYBODY) {
        return true;
    }
    for (uint32_t i = 0; i < command->requirement.label_count; i++) {
        names[count++] = command->requirement.labels[i];
    }
    for (uint32_t i = 0; i < command->retry.not_retryable_count; i++) {
        names[count++] = command->retry.not_retryable[i];
    }
    if (command->fairness_key.len > 0) {
        names[count++] = command->fairness_key;
    }
    return table_admits_names(core, &command->by, names, count);
}

static void evict(struct core *core, uint32_t index);

/* Makes room by letting go of finished tasks that history has, oldest first. */
static bool make_room(struct core *core, const struct command_submit *command)
{
    while (!has_room(core, command)) {
        uint32_t index = core->finished_head;
        if (index == NONE || task_at(core, index)->finished_seq > core->history_seq) {
            return false;
        }
        evict(core, index);
    }
    return true;
}

static void reply_task(const struct task *task, struct effect_reply *reply)
{
    reply->task_id = task->id;
    reply->state = (enum task_state)task->state;
}

/* The state of a task that an earlier submit was answered with: as it is, or as it was when it left memory. */
static enum task_state known_state(const struct core *core, uint64_t task_id, uint8_t last_state)
{
    uint32_t index = task_find(core, task_id);
    return (enum task_state)(index != NONE ? task_at(core, index)->state : last_state);
}

/* Whether the submit repeats one that an idempotency key remembers; then the reply is complete. */
static bool is_repeat(struct core *core, const struct command_submit *command, struct effect_reply *reply)
{
    if (command->idempotency_key.len == 0) {
        return false;
    }
    uint32_t found = idempotency_find(core, command->idempotency_key);
    if (found == NONE) {
        return false;
    }
    const struct idempotency *known = idempotency_at(core, found);
    if (known->body_hash != command->body_hash) {
        reply->status = STATUS_IDEMPOTENCY_MISMATCH;
        return true;
    }
    core->duplicates++;
    reply->task_id = known->task_id;
    reply->state = known_state(core, known->task_id, known->state);
    reply->is_duplicate = true;
    return true;
}

static bool is_held_unique(struct core *core, uint32_t queue, uint32_t kind, const struct command_submit *command,
                           struct effect_reply *reply)
{
    if (command->unique_mode == UNIQUE_NONE) {
        return false;
    }
    uint32_t found = unique_find(core, queue, kind, command->unique_key);
    if (found == NONE) {
        return false;
    }
    const struct unique *unique = unique_at(core, found);
    if (command->retry_of != 0) { /* another try of a task is no duplicate of a third one */
        if (unique->task_id == command->retry_of) {
            return false;
        }
        reply->status = STATUS_CONFLICT;
        reply->task_id = unique->task_id;
        reply->state = known_state(core, unique->task_id, unique->state);
        return true;
    }
    core->duplicates++;
    reply->task_id = unique->task_id;
    reply->state = known_state(core, unique->task_id, unique->state);
    reply->is_duplicate = true;
    uint32_t task = task_find(core, unique->task_id);
    if (command->idempotency_key.len > 0 && task != NONE) {
        idempotency_add(core, command->idempotency_key, command->body_hash, task);
    }
    return true;
}

/* Takes the interned parts that may be full. False: nothing was taken. */
static bool acquire_parts(struct core *core, const struct command_submit *command, uint32_t queue, uint32_t kind,
                          struct task *task)
{
    if (!admits_names(core, command)) {
        return false;
    }
    task->flow = flow_acquire(core, queue, command->fairness_key, &command->by);
    if (task->flow == NONE) {
        return false;
    }
    task->signature = signature_acquire(core, kind, &command->requirement, &command->by);
    if (task->signature == NONE) {
        flow_unref(core, task->flow);
        return false;
    }
    task->retry = retry_acquire(core, &command->retry, &command->by);
    if (task->retry == NONE) {
        signature_unref(core, task->signature);
        flow_unref(core, task->flow);
        return false;
    }
    return true;
}

static void fill_side(struct core *core, struct task *task, const struct command_submit *command)
{
    if (command->unique_mode == UNIQUE_NONE && command->traceparent.len == 0 && command->ttl_ms == 0 &&
        command->timeout_ms == 0 && command->retry_of == 0) {
        return;
    }
    struct task_side *side = task_side_make(core, task);
    side->unique_key = command->unique_mode != UNIQUE_NONE ? block_new(core, command->unique_key) : NULL;
    side->unique_mode = (uint8_t)command->unique_mode;
    side->traceparent = block_new(core, command->traceparent);
    side->ttl_ms = command->ttl_ms;
    side->timeout_ms = command->timeout_ms;
    side->retry_of = command->retry_of;
}

/* The key of another try is that of the first one, if that is still held by its name. The time of a timed one does not begin anew. */
static void take_key(struct core *core, uint32_t index, uint32_t queue, uint32_t kind,
                     const struct command_submit *command)
{
    uint32_t held = command->retry_of != 0 ? unique_find(core, queue, kind, command->unique_key) : NONE;
    if (held != NONE) {
        unique_hand_over(core, held, index);
    } else if (command->unique_mode != UNIQUE_FOR_TIME || command->unique_ms > 0) {
        ensure(unique_take(core, index));
        if (command->unique_mode == UNIQUE_FOR_TIME) {
            unique_set_end(core, index, time_add_ms(core->time_ns, command->unique_ms));
        }
    }
}

static uint32_t clamp_lease_ms(int64_t lease_ms)
{
    if (lease_ms == 0) {
        return LIMIT_LEASE_MS_DEFAULT;
    }
    return (uint32_t)(lease_ms < LIMIT_LEASE_MS_MIN   ? LIMIT_LEASE_MS_MIN
                      : lease_ms > LIMIT_LEASE_MS_MAX ? LIMIT_LEASE_MS_MAX
                                                      : lease_ms);
}

static void append_live(struct core *core, uint32_t index)
{
    struct task *task = task_at(core, index);
    task->older = core->newest;
    task->newer = NONE;
    if (core->newest != NONE) {
        task_at(core, core->newest)->newer = index;
    } else {
        core->oldest = index;
    }
    core->newest = index;
}

void task_submit(struct core *core, const struct command_submit *command, struct effect_reply *reply)
{
    if (is_repeat(core, command, reply)) {
        return;
    }
    uint32_t queue = queue_find(core, command->queue);
    uint32_t kind = symbol_find(core, command->kind);
    if (queue == NONE) {
        reply->status = STATUS_QUEUE_UNKNOWN;
        return;
    }
    if (kind == NONE || !symbol_at(core, kind)->is_kind) {
        reply->status = STATUS_KIND_UNKNOWN;
        return;
    }
    if (is_held_unique(core, queue, kind, command, reply)) {
        return;
    }
    struct task parts = {0};
    if (!make_room(core, command) || core->task_number >= TASK_ID_NUMBER_MAX) {
        reply->status = STATUS_BUSY;
        return;
    }
    if (!acquire_parts(core, command, queue, kind, &parts)) {
        table_refuse(core, reply);
        return;
    }

    uint32_t index = slab_alloc(&core->tasks);
    ensure(index != SLAB_NONE);
    struct task *task = task_at(core, index);
    task->id = task_id_make(
        MUTATION(reuse_id) && core->task_number % 16 == 15 ? core->task_number : ++core->task_number, index);
    task->flow = parts.flow;
    task->signature = parts.signature;
    task->retry = parts.retry;
    task->input = block_new(core, command->input);
    task->created_ns = core->time_ns;
    task->run_at_ns = command->run_at_ns;
    task->expires_ns = command->ttl_ms > 0 ? time_add_ms(core->time_ns, command->ttl_ms) : 0;
    task->deadline_ns = NEVER_NS;
    task->next = task->prev = task->owner = NONE;
    task->timer_position = HEAP_NONE;
    task->side = task->attempt_newest = task->idempotency = NONE;
    task->lease_ms = clamp_lease_ms(command->lease_ms);
    task->weight = (uint16_t)command->weight;
    task->priority = command->priority & 0x7F;
    fill_side(core, task, command);
    append_live(core, index);
    core->accepted++;
    queue_at(core, queue)->submitted++;

    bool is_now = command->run_at_ns <= core->time_ns;
    enter_state(core, index, is_now ? TASK_READY : TASK_SCHEDULED);
    roll_append(core, index);
    if (is_now) {
        ready_add(core, index, MUTATION(break_fifo));
    }
    timer_update(core, index);
    if (command->unique_mode != UNIQUE_NONE) {
        take_key(core, index, queue, kind, command);
    }
    if (command->idempotency_key.len > 0) {
        idempotency_add(core, command->idempotency_key, command->body_hash, index);
    }
    reply_task(task, reply);
}

/* --- cancel, retry --- */

void task_cancel(struct core *core, const struct command_task *command, struct effect_reply *reply)
{
    uint32_t index = task_find(core, command->task_id);
    reply->task_id = command->task_id;
    if (index == NONE) {
        reply->status = STATUS_NOT_FOUND;
        return;
    }
    struct task *task = task_at(core, index);
    if (task_state_is_final((enum task_state)task->state)) {
        reply_task(task, reply);
        reply->status = STATUS_CONFLICT;
        return;
    }
    if (task->state == TASK_READY) {
        ready_remove(core, index);
    } else if (task->state == TASK_LEASED) {
        lease_put_stop(core, index, STOP_CANCELLED);
        lease_end(core, index, ATTEMPT_CANCELLED, SLICE("cancelled"), command->reason);
    }
    task_set_end(core, index, SLICE("cancelled"), command->reason);
    task_finish(core, index, TASK_CANCELLED);
    reply_task(task, reply);
}

/* From now on it needs a node for itself. The kind, which is what indexes know it by, stays. */
static void run_alone(struct core *core, struct task *task)
{
    uint32_t alone = signature_acquire_alone(core, task->signature);
    if (alone != NONE) {
        signature_unref(core, task->signature);
        task->signature = alone;
    }
}

/* A task that a retry woke is not woken twice: it is as was asked for. Else the reply names the task that is in the way, which is
 * the task itself, or the one that has its unique key by now. */
static void refuse_retry(struct core *core, const struct task *task, bool is_open, struct effect_reply *reply)
{
    const struct task_side *side = task_side(core, task);
    bool is_new_level = core_level(core) >= ENTRY_LEVEL_MEND;
    reply_task(task, reply);
    if (!is_open && side != NULL && side->is_retried && is_new_level) {
        reply->is_duplicate = true;
        return;
    }
    reply->status = STATUS_CONFLICT;
    if (is_open && is_new_level) {
        reply->task_id = unique_other(core, task);
    }
}

void task_retry(struct core *core, const struct command_task *command, struct effect_reply *reply)
{
    uint32_t index = task_find(core, command->task_id);
    reply->task_id = command->task_id;
    if (index == NONE) {
        reply->status = STATUS_NOT_FOUND;
        return;
    }
    struct task *task = task_at(core, index);
    bool is_open = task->state == TASK_DEAD || task->state == TASK_CANCELLED || task->state == TASK_EXPIRED ||
                   (MUTATION(retry_done) && task->state == TASK_SUCCEEDED);
    if (!is_open || unique_other(core, task) != 0) {
        refuse_retry(core, task, is_open, reply);
        return;
    }
    leave_finished(core, task);
    task->finished_seq = 0;
    task->finished_ns = 0;
    task->attempts_failed = task->attempts_lost = 0;
    task->deaths = 0;
    const struct task_side *side = task_side(core, task);
    if (side != NULL && side->ttl_ms > 0) {
        task->expires_ns = time_add_ms(core->time_ns, side->ttl_ms); /* its time starts anew */
    }
    if (side != NULL && slice_equal_str(block_slice(side->error_kind), POISON) &&
        core_level(core) >= ENTRY_LEVEL_MEND) {
        run_alone(core, task);
    }
    task_set_error(core, index, (struct slice){NULL, 0}, (struct slice){NULL, 0}, (struct slice){NULL, 0});
    side_at(core, task->side)->is_retried = core_level(core) >= ENTRY_LEVEL_MEND;
    core->retried++;
    queue_at(core, task_queue(core, task))->retried++;
    task_make_ready(core, index, false);
    reply_task(task, reply);
}

/* --- leaving memory --- */

static void drop_attempts(struct core *core, struct task *task)
{
    for (uint32_t i = task->attempt_newest; i != NONE;) {
        struct attempt *attempt = attempt_at(core, i);
        uint32_t older = attempt->older;
        attempt_free(core, i);
        i = older;
    }
    task->attempt_newest = NONE;
}

static void drop_side(struct core *core, struct task *task)
{
    if (task->side == NONE) {
        return;
    }
    struct task_side *side = side_at(core, task->side);
    struct block **const blocks[] = {&side->unique_key,   &side->traceparent,  &side->checkpoint,
                                     &side->result,       &side->error_kind,   &side->error_message,
                                     &side->error_detail, &side->progress_note};
    for (size_t i = 0; i < ARRAY_COUNT(blocks); i++) {
        block_drop(core, blocks[i]);
    }
    slab_free(&core->sides, task->side);
    task->side = NONE;
}

static void evict(struct core *core, uint32_t index)
{
    struct task *task = task_at(core, index);
    ensure(task_state_is_final((enum task_state)task->state) && task->finished_seq <= core->history_seq); /* T4 */
    leave_finished(core, task);
    roll_remove(core, index);
    uint32_t block = task->block;
    idempotency_forget(core, index);
    drop_attempts(core, task);
    drop_side(core, task);
    block_drop(core, &task->input);
    struct queue *queue = queue_at(core, task_queue(core, task));
    core->counts[task->state]--;
    queue->counts[task->state]--;
    queue->changed_seq = core->seq;
    if (task->older != NONE) {
        task_at(core, task->older)->newer = task->newer;
    } else {
        core->oldest = task->newer;
    }
    if (task->newer != NONE) {
        task_at(core, task->newer)->older = task->older;
    } else {
        core->newest = task->older;
    }
    roll_removed(core, block);
    flow_unref(core, task->flow);
    signature_unref(core, task->signature);
    retry_unref(core, task->retry);
    slab_free(&core->tasks, index);
    core->evicted++;
}

static bool is_short_of_memory(const struct core *core)
{
    return core->tasks.used >= core->tasks_max || core->payload_size > core->payload_size_max / 4 * 3;
}

int64_t task_next_evict_ns(const struct core *core)
{
    if (core->finished_head == NONE) {
        return NEVER_NS;
    }
    const struct task *task = task_at(core, core->finished_head);
    return task->finished_seq <= core->history_seq ? time_add_ms(task->finished_ns, core->finished_keep_ms) : NEVER_NS;
}

void task_evict_due(struct core *core)
{
    for (uint32_t i = 0; i < EVICT_MAX && core->finished_head != NONE; i++) {
        const struct task *task = task_at(core, core->finished_head);
        bool is_due = task_next_evict_ns(core) <= core->time_ns;
        if (task->finished_seq > core->history_seq || (!is_due && !is_short_of_memory(core))) {
            return;
        }
        evict(core, core->finished_head);
    }
}
