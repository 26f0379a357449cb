/* lease.c - who may run which task until when.
 *
 * A lease is a promise with an end: node N may run attempt A of a task until lease_expires_ns. Nobody needs to know
 * whether N is alive; whatever happens the end comes. A node that comes back late finds its token stale and stops.
 *
 *   ready ──grant──▶ leased ──extend, progress──▶ leased
 *                      ├── complete ──────────────▶ succeeded
 *                      ├── fail, timed out ───────▶ scheduled (back-off) or ready, or dead
 *                      ├── release ───────────────▶ ready, at the front of its line
 *                      ├── expired, node lost ────▶ ready, at the front; dead after LIMIT_ATTEMPTS_LOST
 *                      └── cancel, ttl ───────────▶ cancelled, expired (task.c)
 *   what would wait again while another task holds its unique key is cancelled instead (unique.c)
 *
 * A token is (task, attempt, seq of the entry that granted it). The attempt number of a task only grows, so no two leases
 * of a task ever share a token; the seq guards against a task id from another life of the data directory.
 *
 * Invariants:
 *  L1 a leased task is in the lease list of exactly one node, and that node has a session
 *  L2 its newest attempt is the only one that is running
 *  L3 node->leases is the length of its list
 * core_check() verifies them.
 *
 * Granting takes one credit; the end of a lease gives none back. Only the node knows when it has room again, and says
 * so in the same report. */
#include <stdio.h>

#include "base/base32.h"
#include "base/mutation.h"
#include "core/core_internal.h"

/* --- attempts --- */

static uint32_t attempt_new(struct core *core, struct task *task, uint32_t node_symbol)
{
    uint32_t index = slab_alloc(&core->attempts);
    ensure(index != SLAB_NONE);
    symbol_ref(core, node_symbol);
    *attempt_at(core, index) = (struct attempt){.started_ns = core->time_ns,
                                                .number = task->attempts,
                                                .node = node_symbol,
                                                .older = task->attempt_newest,
                                                .outcome = ATTEMPT_RUNNING};
    task->attempt_newest = index;
    core->payload_size += sizeof(struct attempt);
    return index;
}

void attempt_free(struct core *core, uint32_t index)
{
    struct attempt *attempt = attempt_at(core, index);
    block_drop(core, &attempt->error_kind);
    block_drop(core, &attempt->message);
    symbol_unref(core, attempt->node);
    core->payload_size -= sizeof(struct attempt);
    slab_free(&core->attempts, index);
}

/* Forgets the oldest attempt when there are more than are kept. */
static void trim_attempts(struct core *core, struct task *task)
{
    uint32_t index = task->attempt_newest;
    for (uint32_t i = 1; i < LIMIT_ATTEMPTS_KEPT && index != NONE; i++) {
        index = attempt_at(core, index)->older;
    }
    if (index == NONE) {
        return;
    }
    uint32_t rest = attempt_at(core, index)->older;
    attempt_at(core, index)->older = NONE;
    if (rest != NONE) {
        ensure(attempt_at(core, rest)->older == NONE);
        attempt_free(core, rest);
    }
}

/* --- the lease list of a node --- */

static void list_append(struct core *core, struct node *node, uint32_t node_index, uint32_t index)
{
    struct task *task = task_at(core, index);
    ensure(task->owner == NONE && task->next == NONE && task->prev == NONE);
    task->owner = node_index;
    task->prev = node->lease_tail;
    if (node->lease_tail != NONE) {
        task_at(core, node->lease_tail)->next = index;
    } else {
        node->lease_head = index;
    }
    node->lease_tail = index;
    node->leases++;
}

static void list_remove(struct core *core, struct node *node, uint32_t index)
{
    struct task *task = task_at(core, index);
    if (task->prev != NONE) {
        task_at(core, task->prev)->next = task->next;
    } else {
        ensure(node->lease_head == index);
        node->lease_head = task->next;
    }
    if (task->next != NONE) {
        task_at(core, task->next)->prev = task->prev;
    } else {
        ensure(node->lease_tail == index);
        node->lease_tail = task->prev;
    }
    task->owner = task->next = task->prev = NONE;
    ensure(node->leases > 0);
    node->leases--;
}

/* --- grant and end --- */

static struct lease_token token_of(const struct task *task)
{
    return (struct lease_token){.task_id = task->id, .attempt = task->attempts, .seq = task->lease_seq};
}

static void put_lease(struct core *core, const struct task *task, const struct node *node)
{
    const struct task_side *side = task_side(core, task);
    struct effect_lease effect = {.session = node->session};
    effect.offer = (struct work_lease_offer){
        .token = token_of(task),
        .kind = symbol_text(core, signature_at(core, task->signature)->kind),
        .queue = symbol_text(core, queue_at(core, task_queue(core, task))->symbol),
        .input = block_slice(task->input),
        .checkpoint = side != NULL ? block_slice(side->checkpoint) : (struct slice){NULL, 0},
        .traceparent = side != NULL ? block_slice(side->traceparent) : (struct slice){NULL, 0},
        .expires_ns = task->lease_expires_ns,
        .lease_ms = task->lease_ms,
        .timeout_ms = side != NULL ? side->timeout_ms : 0};
    effect_put_lease(core->effects, &effect);
}

void lease_grant(struct core *core, uint32_t index, uint32_t node_index)
{
    struct task *task = task_at(core, index);
    struct node *node = node_at(core, node_index);
    ensure(task->state == TASK_READY && node->session != 0 && node->credit > 0);
    ensure(!node->is_draining && !node->is_quiet);
    node->credit--;
    node->changed_seq = core->seq;
    list_append(core, node, node_index, index);
    task->attempts++;
    task->started_ns = core->time_ns;
    task->lease_seq = core->seq;
    task->lease_expires_ns = time_add_ms(core->time_ns, task->lease_ms);
    attempt_new(core, task, node->symbol);
    trim_attempts(core, task);
    core->leases_granted++;
    node->is_taken = signature_at(core, task->signature)->is_alone;
    task_set_state(core, index, TASK_LEASED);
    timer_update(core, index);
    node_update_idle(core, node_index);
    put_lease(core, task, node);
}

void lease_end(struct core *core, uint32_t index, enum attempt_outcome outcome, struct slice error_kind,
               struct slice message)
{
    struct task *task = task_at(core, index);
    ensure(task->state == TASK_LEASED);
    struct node *node = node_at(core, task->owner);
    uint32_t node_index = task->owner;
    list_remove(core, node, index);
    if (node->leases == 0) { /* it may be what a task waits for that is to run alone */
        node->is_taken = false;
        node_update_idle(core, node_index);
    }
    if (MUTATION(credit_twice) && outcome == ATTEMPT_SUCCEEDED) {
        node->credit++;
    }
    node->changed_seq = core->seq;
    struct attempt *attempt = attempt_at(core, task->attempt_newest);
    ensure(attempt->outcome == ATTEMPT_RUNNING && attempt->number == task->attempts); /* L2 */
    attempt->outcome = (uint8_t)outcome;
    attempt->ended_ns = core->time_ns;
    attempt->error_kind = block_new(core, error_kind);
    attempt->message = block_new(core, message);
    task->lease_seq = 0;
    task->lease_expires_ns = 0;
    core->attempts_ended += MUTATION(miscount) && outcome == ATTEMPT_EXPIRED ? 0 : 1;
    switch (outcome) {
    case ATTEMPT_SUCCEEDED:
        node->succeeded++;
        break;
    case ATTEMPT_FAILED:
    case ATTEMPT_TIMED_OUT:
        node->failed++;
        break;
    case ATTEMPT_LOST:
        node->lost++;
        core->leases_lost++;
        break;
    case ATTEMPT_EXPIRED:
        node->lost++;
        core->leases_expired++;
        break;
    default:
        ensure(outcome == ATTEMPT_RELEASED || outcome == ATTEMPT_CANCELLED);
    }
}

void lease_put_stop(struct core *core, uint32_t index, enum stop_reason reason)
{
    const struct task *task = task_at(core, index);
    struct effect_stop effect = {node_at(core, task->owner)->session, token_of(task), reason};
    effect_put_stop(core->effects, &effect);
}

/* Whether a task whose lease has ended must not wait again, because another one waits with its key; then it is over. */
static bool is_superseded(struct core *core, uint32_t index)
{
    uint64_t other = unique_other(core, task_at(core, index));
    const struct task_side *side = task_side(core, task_at(core, index));
    if (other == 0 || side->unique_mode != UNIQUE_QUEUED || core_level(core) < ENTRY_LEVEL_MEND ||
        MUTATION(share_unique)) {
        return false;
    }
    char message[96];
    char id[BASE32_TEXT_SIZE];
    base32_format(other, id);
    int len =
        snprintf(message, sizeof(message), "Task %s came later with the same unique key and takes its place.", id);
    task_set_end(core, index, SLICE("superseded"), slice_of(message, (size_t)len));
    task_finish(core, index, TASK_CANCELLED);
    return true;
}

static bool is_poison(const struct core *core, const struct task *task)
{
    uint32_t deaths_max = core->deaths_max != 0 ? core->deaths_max : LIMIT_DEATHS;
    return task->deaths >= deaths_max && !MUTATION(poison_goes_on);
}

/* A task under which nodes die is not given to a further one: it is dead, and says under which. */
static void hold_poison(struct core *core, uint32_t index)
{
    const struct task *task = task_at(core, index);
    char message[LIMIT_ERROR_SIZE];
    struct slice name = symbol_text(core, attempt_at(core, task->attempt_newest)->node);
    int len =
        snprintf(message, sizeof(message),
                 "%u nodes died while it ran, the last one was %.*s. It is held for somebody to look at; a retry runs "
                 "it alone on its node.",
                 task->deaths, SLICE_ARG(name));
    task_set_end(core, index, SLICE(POISON), slice_of(message, (size_t)len));
    task_finish(core, index, TASK_DEAD);
}

void lease_lost(struct core *core, uint32_t index, enum attempt_outcome outcome, bool has_died)
{
    struct task *task = task_at(core, index);
    const struct slice none = {NULL, 0};
    lease_end(core, index, outcome, none, none);
    task->attempts_lost++;
    if (has_died && core_level(core) >= ENTRY_LEVEL_MEND) {
        attempt_at(core, task->attempt_newest)->is_death = true;
        task->deaths++;
    }
    if (is_poison(core, task)) {
        hold_poison(core, index);
    } else if (task->attempts_lost > LIMIT_ATTEMPTS_LOST) {
        task_set_end(core, index, SLICE("lost"), SLICE("Too many attempts were lost with their nodes."));
        task_finish(core, index, TASK_DEAD);
    } else if (!is_superseded(core, index)) {
        task_make_ready(core, index, true);
    }
}

void lease_survived(struct core *core, const struct lease_token *token, uint32_t node_symbol)
{
    uint32_t index = task_find(core, token->task_id);
    if (index == NONE || task_state_is_final((enum task_state)task_at(core, index)->state)) {
        return;
    }
    struct task *task = task_at(core, index);
    for (uint32_t i = task->attempt_newest; i != NONE; i = attempt_at(core, i)->older) {
        struct attempt *attempt = attempt_at(core, i);
        if (attempt->number == token->attempt && attempt->node == node_symbol && attempt->is_death) {
            attempt->is_death = false;
            task->deaths -= task->deaths > 0;
        }
    }
}

static void fail(struct core *core, uint32_t index, enum attempt_outcome how, const struct outcome *outcome)
{
    struct task *task = task_at(core, index);
    const struct retry *retry = retry_at(core, task->retry);
    lease_end(core, index, how, outcome->error_kind, outcome->message);
    task_set_error(core, index, outcome->error_kind, outcome->message, outcome->payload);
    task->attempts_failed++;
    if (outcome->is_final || task->attempts_failed >= retry->attempts_max ||
        !retry_is_retryable(core, retry, outcome->error_kind)) {
        task_finish(core, index, TASK_DEAD);
        return;
    }
    if (is_superseded(core, index)) {
        return;
    }
    int64_t delay_ms = retry_delay_ms(retry, task->attempts_failed, task->id, task->attempts);
    if (MUTATION(drop_retry)) {
        task_schedule(core, index, NEVER_NS - 1);
    } else if (delay_ms > 0) {
        task_schedule(core, index, time_add_ms(core->time_ns, delay_ms));
    } else {
        task_make_ready(core, index, false);
    }
}

void lease_timed_out(struct core *core, uint32_t index)
{
    const struct outcome outcome = {.error_kind = SLICE("timeout"),
                                    .message = SLICE("The attempt ran past its time-out.")};
    lease_put_stop(core, index, STOP_TIMED_OUT);
    fail(core, index, ATTEMPT_TIMED_OUT, &outcome);
}

/* --- reports --- */

uint32_t lease_find(const struct core *core, uint32_t node, const struct lease_token *token)
{
    uint32_t index = task_find(core, token->task_id);
    if (index == NONE) {
        return NONE;
    }
    const struct task *task = task_at(core, index);
    bool is_held = task->state == TASK_LEASED && (task->owner == node || MUTATION(any_node_reports)) &&
                   ((task->attempts == token->attempt && task->lease_seq == token->seq) || MUTATION(forget_fence));
    return is_held ? index : NONE;
}

static void extend(struct core *core, uint32_t index, int64_t lease_ms)
{
    struct task *task = task_at(core, index);
    if (lease_ms == 0) {
        lease_ms = task->lease_ms;
    } else if (lease_ms < LIMIT_LEASE_MS_MIN) {
        lease_ms = LIMIT_LEASE_MS_MIN;
    } else if (lease_ms > LIMIT_LEASE_MS_MAX) {
        lease_ms = LIMIT_LEASE_MS_MAX;
    }
    task->lease_expires_ns = time_add_ms(core->time_ns, lease_ms);
    task->changed_seq = core->seq;
    timer_update(core, index);
}

static void complete(struct core *core, uint32_t index, const struct outcome *outcome)
{
    const struct slice none = {NULL, 0};
    lease_end(core, index, ATTEMPT_SUCCEEDED, none, none);
    struct task *task = task_at(core, index);
    if (outcome->payload.len > 0) {
        struct task_side *side = task_side_make(core, task);
        ensure(side->result == NULL); /* T3 */
        side->result = block_new(core, outcome->payload);
    }
    if (task->side != NONE) { /* what an earlier attempt said is in the attempts */
        task_set_error(core, index, none, none, none);
    }
    task_finish(core, index, TASK_SUCCEEDED);
}

static void progress(struct core *core, uint32_t index, const struct outcome *outcome)
{
    struct task_side *side = task_side_make(core, task_at(core, index));
    side->progress_permille = outcome->progress_permille;
    block_drop(core, &side->progress_note);
    side->progress_note = block_new(core, outcome->message);
    if (outcome->payload.len > 0) {
        block_drop(core, &side->checkpoint);
        side->checkpoint = block_new(core, outcome->payload);
    }
    extend(core, index, outcome->lease_ms);
}

enum status lease_apply_outcome(struct core *core, uint32_t node, const struct outcome *outcome)
{
    uint32_t index = lease_find(core, node, &outcome->token);
    if (index == NONE) {
        return STATUS_LEASE_LOST;
    }
    switch (outcome->type) {
    case OUTCOME_COMPLETE:
        complete(core, index, outcome);
        break;
    case OUTCOME_FAIL:
        fail(core, index, ATTEMPT_FAILED, outcome);
        break;
    case OUTCOME_EXTEND:
        extend(core, index, outcome->lease_ms);
        break;
    case OUTCOME_PROGRESS:
        progress(core, index, outcome);
        break;
    case OUTCOME_RELEASE:
        lease_end(core, index, ATTEMPT_RELEASED, (struct slice){NULL, 0}, outcome->message);
        if (!is_superseded(core, index)) {
            task_make_ready(core, index, true);
        }
        break;
    }
    return STATUS_OK;
}
