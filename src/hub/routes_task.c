/* routes_task.c - tasks over HTTP: submit, get, list, result, attempts, cancel, retry. (Batches: routes_batch.c.)
 *
 * A task is looked for in memory first and then in history. A row gets into history before the core lets go of the task, and
 * the core forgets only what history holds durably, so a task that both lack never was.
 *
 * The list merges two descending walks, memory and history, newest first. A task in memory hides its row: it may have been
 * retried since. Neither walk may run ahead of what the other has looked at, so the page ends where the shorter of
 * the two ended, and the cursor is the last id that both are past. */
#include <stdio.h>
#include <stdlib.h>

#include "base/base32.h"
#include "base/ensure.h"
#include "hub/fields.h"
#include "hub/routes.h"
#include "hub/task_json.h"
#include "hub/task_waits.h"

/* Tasks that one list request looks at, so that no list holds up the loop for more than about 5 ms */
#define SCAN_MAX 20000
#define SCAN_ROWS_MAX                                                                                                  \
    4000 /* of them in history, where each costs a step of SQLite: 1.2 us, and more with a cold cache */
#define IDEMPOTENCY_KEY_SIZE_MAX 255

/* --- finding one --- */

/* The view of a task from memory, or from history (its row then lies in routes->aux). */
static enum status find_task(struct call *call, uint64_t task_id, struct task_view *ret_view, bool *ret_is_in_memory)
{
    struct hub *hub = call->hub;
    *ret_is_in_memory = true;
    enum status status = core_task_get(sequencer_core(hub->sequencer), task_id, ret_view);
    if (status != STATUS_NOT_FOUND) {
        return status;
    }
    *ret_is_in_memory = false;
    struct buf *row = &call->routes->aux;
    buf_reset(row);
    status = hub->history != NULL ? history_get(hub->history, task_id, row) : STATUS_NOT_FOUND;
    if (status == STATUS_OK) {
        status = task_view_get(buf_slice(row), ret_view);
    }
    return status;
}

static void refuse_missing(struct call *call, enum status status)
{
    if (status == STATUS_NOT_FOUND) {
        call_refuse_status(call, status, "there is no task %.*s", SLICE_ARG(call_param(call)));
    } else {
        call_refuse_status(call, status, NULL);
    }
}

/* The task named in the path, with its view. False: answered. */
static bool take_task(struct call *call, struct task_view *ret_view, bool *ret_is_in_memory)
{
    enum status status = STATUS_NOT_FOUND;
    if (call->task_id != 0 || (base32_parse(call_param(call), &call->task_id) && call->task_id != 0)) {
        status = find_task(call, call->task_id, ret_view, ret_is_in_memory);
    }
    if (status == STATUS_OK) {
        return true;
    }
    refuse_missing(call, status);
    return false;
}

/* Answers with routes->out, which shows `view`. A row of history is durable by itself. */
static void answer_view(struct call *call, const struct task_view *view, bool is_in_memory)
{
    call_answer_durable(call, 200, is_in_memory ? view->changed_seq : 0);
}

/* --- waiting --- */

static void on_waited(void *ctx, bool is_final)
{
    struct call *call = ctx;
    ensure_magic(call, CALL_MAGIC);
    (void)is_final;
    call->wait = TASK_WAIT_NONE;
    call->request->on_gone = NULL;
    buf_reset(&call->routes->out);
    call->show(call);
}

static void on_gone(struct http_request *request)
{
    struct call *call = request->user;
    ensure_magic(call, CALL_MAGIC);
    ensure(call->wait != TASK_WAIT_NONE);
    task_waits_remove(call->hub->task_waits, call->wait);
    call->wait = TASK_WAIT_NONE;
    call_refuse_status(call, STATUS_CANCELLED, NULL); /* goes nowhere; it ends the request */
}

/* Calls `show` once the task is final or wait_ms has passed; later in any case. */
static void wait_and_show(struct call *call, void (*show)(struct call *call))
{
    if (call->hub->is_stopping) {
        show(call);
        return;
    }
    enum status status =
        task_waits_add(call->hub->task_waits, call->task_id, call->wait_ms, on_waited, call, &call->wait);
    if (status != STATUS_OK) {
        call->wait = TASK_WAIT_NONE;
        call_refuse_status(call, status, "too many requests wait for tasks");
        return;
    }
    call->show = show;
    call->request->on_gone = on_gone;
    call->request->end_is_gone = true; /* or a client that gave up would hold its connection for the rest of wait_ms */
}

/* --- POST /v1/tasks --- */

void problem_of_submit(struct problem *problem, enum status status, struct slice kind, struct slice queue)
{
    struct slice none = {0};
    if (status == STATUS_KIND_UNKNOWN) {
        problem_add(problem, status, "/kind", none,
                    "%.*s is not known here; PUT /v1/kinds/%.*s makes it known, as does a node that offers it",
                    (int)(kind.len < 60 ? kind.len : 60), kind.data, (int)(kind.len < 60 ? kind.len : 60), kind.data);
    } else if (status == STATUS_QUEUE_UNKNOWN) {
        problem_add(problem, status, "/queue", none, "%.*s is not known here; PUT /v1/queues/%.*s makes it",
                    (int)(queue.len < 60 ? queue.len : 60), queue.data, (int)(queue.len < 60 ? queue.len : 60),
                    queue.data);
    } else {
        problem_set(problem, status, "%s", status_title(status));
    }
}

static void answer_submitted(struct call *call)
{
    struct slice queue = {call->queue, call->queue_len}, kind = {call->kind, call->kind_len};
    struct task_brief brief;
    /* A unique key may stand for a task of another queue. */
    if (!call->is_new && core_task_brief(sequencer_core(call->hub->sequencer), call->task_id, &brief) == STATUS_OK) {
        queue = brief.queue;
        kind = brief.kind;
    }
    struct buf *out = &call->routes->out;
    buf_reset(out);
    task_json_write_short(out, call->task_id, call->state, queue, kind, !call->is_new);
    buf_append_slice(out, SLICE(",\"seq\":"));
    buf_append_u64_dec(out, call->seq);
    buf_append_char(out, '}');
    char location[64] = "Location: /v1/tasks/";
    char id[BASE32_TEXT_SIZE];
    base32_format(call->task_id, id);
    memcpy(location + 20, id, BASE32_DIGITS);
    memcpy(location + 20 + BASE32_DIGITS, "\r\n", 3);
    call_answer(call, call->is_new ? 201 : 200, call->seq, location);
}

/* After a wait: the whole task when it is final, else what was known when it was accepted. */
static void show_submitted(struct call *call)
{
    struct task_view view;
    bool is_in_memory;
    if (find_task(call, call->task_id, &view, &is_in_memory) != STATUS_OK || !task_state_is_final(view.state)) {
        answer_submitted(call);
        return;
    }
    task_json_write(&call->routes->out, &view, false);
    answer_view(call, &view, is_in_memory);
}

static void on_submitted(struct call *call, const struct effect_reply *reply, uint64_t seq)
{
    buf_reset(&call->routes->out);
    if (reply->status != STATUS_OK) {
        struct problem problem;
        problem_init(&problem);
        problem_of_submit(&problem, reply->status, (struct slice){call->kind, call->kind_len},
                          (struct slice){call->queue, call->queue_len});
        call_refuse(call, &problem);
        return;
    }
    call->task_id = reply->task_id;
    call->state = reply->state;
    call->is_new = !reply->is_duplicate;
    call->seq = seq;
    if (call->wait_ms == 0) {
        answer_submitted(call);
        return;
    }
    /* The core may be ahead of the reply: then nobody would wake a wait that begins now. */
    struct task_brief brief;
    if (core_task_brief(sequencer_core(call->hub->sequencer), call->task_id, &brief) != STATUS_OK ||
        task_state_is_final(brief.state)) {
        show_submitted(call);
    } else {
        wait_and_show(call, show_submitted);
    }
}

void handle_task_submit(struct call *call)
{
    struct problem problem;
    problem_init(&problem);
    struct command_submit command;
    struct json_value root;
    bool is_empty;
    if (call->request->query.len > 0 && !call_query_wait_ms(call, &call->wait_ms)) {
        return;
    }
    if (!call_parse_body(call, &problem, &root, &is_empty) ||
        !task_json_decode(root, sequencer_now_ns(call->hub->sequencer), &call->routes->input, &command, &problem) ||
        !call_idempotency_key(call, IDEMPOTENCY_KEY_SIZE_MAX, &command.idempotency_key, &problem)) {
        call_refuse(call, &problem);
        return;
    }
    command.traceparent = call_traceparent(call);
    if (command.idempotency_key.len > 0) {
        command.body_hash = hash64(call_body(call), 0);
    }
    struct buf *out = call_begin_submit(call);
    if (out == NULL) {
        return;
    }
    command_put_submit(out, &command);
    call->queue_len = (uint8_t)command.queue.len;
    memcpy(call->queue, command.queue.data, command.queue.len);
    call->kind_len = (uint8_t)command.kind.len;
    memcpy(call->kind, command.kind.data, command.kind.len);
    call_commit(call, on_submitted);
}

/* --- GET /v1/tasks/{id} and what hangs on it --- */

static void show_task(struct call *call)
{
    struct task_view view;
    bool is_in_memory;
    if (!take_task(call, &view, &is_in_memory)) {
        return;
    }
    task_json_write(&call->routes->out, &view, false);
    answer_view(call, &view, is_in_memory);
}

void handle_task_get(struct call *call)
{
    struct task_view view;
    bool is_in_memory;
    if (!call_query_wait_ms(call, &call->wait_ms) || !take_task(call, &view, &is_in_memory)) {
        return;
    }
    if (call->wait_ms > 0 && !task_state_is_final(view.state)) {
        wait_and_show(call, show_task);
        return;
    }
    task_json_write(&call->routes->out, &view, false);
    answer_view(call, &view, is_in_memory);
}

static void answer_result(struct call *call, const struct task_view *view, bool is_in_memory)
{
    struct buf *out = &call->routes->out;
    if (view->state == TASK_SUCCEEDED) {
        buf_append_slice(out, view->result.len > 0 ? view->result : SLICE("null"));
        answer_view(call, view, is_in_memory);
        return;
    }
    struct problem problem;
    bool is_final = task_state_is_final(view->state);
    if (!is_final) {
        problem_set(&problem, STATUS_CONFLICT, "the task is %s and has no result yet", task_state_name(view->state));
    } else {
        problem_set(&problem, STATUS_CONFLICT, "the task is %s and has no result: %.*s%s%.*s",
                    task_state_name(view->state), SLICE_ARG(view->error_kind), view->error_message.len > 0 ? ": " : "",
                    (int)(view->error_message.len < 200 ? view->error_message.len : 200), view->error_message.data);
    }
    problem.is_passing = !is_final;
    problem_write(out, &problem);
    call_answer_durable_as(call, status_http(STATUS_CONFLICT), is_in_memory ? view->changed_seq : 0,
                           PROBLEM_CONTENT_TYPE);
}

static void show_result(struct call *call)
{
    struct task_view view;
    bool is_in_memory;
    if (take_task(call, &view, &is_in_memory)) {
        answer_result(call, &view, is_in_memory);
    }
}

void handle_task_result(struct call *call)
{
    struct task_view view;
    bool is_in_memory;
    if (!call_query_wait_ms(call, &call->wait_ms) || !take_task(call, &view, &is_in_memory)) {
        return;
    }
    if (call->wait_ms > 0 && !task_state_is_final(view.state)) {
        wait_and_show(call, show_result);
    } else {
        answer_result(call, &view, is_in_memory);
    }
}

void handle_task_attempts(struct call *call)
{
    struct task_view view;
    bool is_in_memory;
    if (!take_task(call, &view, &is_in_memory)) {
        return;
    }
    task_json_write_attempts(&call->routes->out, &view);
    answer_view(call, &view, is_in_memory);
}

/* --- cancel and retry --- */

static void answer_state(struct call *call, const struct effect_reply *reply, uint64_t seq)
{
    struct buf *out = &call->routes->out;
    buf_append_slice(out, SLICE("{\"id\":\""));
    write_id(out, reply->task_id);
    buf_append_slice(out, SLICE("\",\"state\":\""));
    buf_append_str(out, task_state_name(reply->state));
    if (call->is_new) {
        buf_append_slice(out, SLICE("\",\"retry_of\":\""));
        write_id(out, call->task_id);
    }
    buf_append_slice(out, SLICE("\",\"seq\":"));
    buf_append_u64_dec(out, seq);
    buf_append_char(out, '}');
    call_answer(call, call->is_new ? 201 : 200, seq, "");
}

static void refuse_transition(struct call *call, const char *verb, enum task_state state)
{
    call_refuse_status(call, STATUS_CONFLICT, "the task is %s and cannot be %s", task_state_name(state), verb);
}

static void on_cancelled(struct call *call, const struct effect_reply *reply, uint64_t seq)
{
    buf_reset(&call->routes->out);
    struct task_view view;
    bool is_in_memory;
    enum status status = reply->status;
    if (status == STATUS_OK) {
        answer_state(call, reply, seq);
    } else if (status == STATUS_CONFLICT) {
        refuse_transition(call, "cancelled", reply->state);
    } else if (status == STATUS_NOT_FOUND) { /* final, if history has it */
        status = find_task(call, call->task_id, &view, &is_in_memory);
        if (status == STATUS_OK) {
            refuse_transition(call, "cancelled", view.state);
        } else {
            refuse_missing(call, status);
        }
    } else {
        call_refuse_status(call, status, NULL);
    }
}

/* The id of the path as a number. False: answered. */
static bool take_id(struct call *call)
{
    if (base32_parse(call_param(call), &call->task_id) && call->task_id != 0) {
        return true;
    }
    refuse_missing(call, STATUS_NOT_FOUND);
    return false;
}

static void take_reason(struct field *field, void *ctx)
{
    struct command_task *command = ctx;
    field_text(field, LIMIT_ERROR_SIZE, &command->reason);
}

void handle_task_cancel(struct call *call)
{
    struct command_task command = {0};
    if (!take_id(call) || !call_parse_member(call, "reason", take_reason, &command)) {
        return;
    }
    struct buf *out = call_begin(call);
    if (out == NULL) {
        return;
    }
    command.task_id = call->task_id;
    command_put_task(out, COMMAND_CANCEL, &command);
    call_commit(call, on_cancelled);
}

static void on_resubmitted(struct call *call, const struct effect_reply *reply, uint64_t seq)
{
    buf_reset(&call->routes->out);
    if (reply->status == STATUS_OK) {
        call->is_new = true;
        answer_state(call, reply, seq);
        return;
    }
    call_refuse_status(call, reply->status, NULL);
}

static void on_retried(struct call *call, const struct effect_reply *reply, uint64_t seq)
{
    buf_reset(&call->routes->out);
    struct task_view view;
    bool is_in_memory;
    enum status status = reply->status;
    if (status == STATUS_OK) {
        answer_state(call, reply, seq);
        return;
    }
    if (status == STATUS_CONFLICT) {
        refuse_transition(call, "retried", reply->state);
        return;
    }
    if (status == STATUS_NOT_FOUND) {
        status = find_task(call, call->task_id, &view, &is_in_memory);
    }
    if (status != STATUS_OK) {
        refuse_missing(call, status);
        return;
    }
    if (view.state != TASK_DEAD && view.state != TASK_CANCELLED && view.state != TASK_EXPIRED) {
        refuse_transition(call, "retried", view.state);
        return;
    }
    struct command_submit command;
    task_json_resubmit(&view, &command);
    struct buf *out = call_begin_submit(call);
    if (out == NULL) {
        return;
    }
    command_put_submit(out, &command);
    call_commit(call, on_resubmitted);
}

void handle_task_retry(struct call *call)
{
    if (!take_id(call) || !call_expect_empty(call)) {
        return;
    }
    struct buf *out = call_begin(call);
    if (out == NULL) {
        return;
    }
    command_put_task(out, COMMAND_RETRY, &(struct command_task){.task_id = call->task_id});
    call_commit(call, on_retried);
}

/* --- GET /v1/tasks --- */

struct listing {
    struct core *core;
    struct history_filter filter;
    struct buf *out;
    uint32_t limit;
    uint32_t count;
    /* the walk through memory */
    uint64_t memory_at;   /* the next match, not written yet; 0: none */
    uint64_t memory_last; /* last id looked at */
    uint32_t memory_left; /* tasks that may still be looked at */
    bool is_memory_done;
    /* where the page ends: everything above is on it or does not match */
    uint64_t end;
    bool is_full;
    enum status status;
};

/* Goes on to the next match in memory, as far as the budget lasts. */
static void memory_next(struct listing *listing)
{
    listing->memory_at = 0;
    while (!listing->is_memory_done && listing->memory_left > 0) {
        uint64_t id = core_task_before(listing->core, listing->memory_last);
        if (id == 0) {
            listing->is_memory_done = true;
            return;
        }
        listing->memory_last = id;
        listing->memory_left--;
        struct task_brief brief;
        const struct history_filter *filter = &listing->filter;
        if (core_task_brief(listing->core, id, &brief) != STATUS_OK ||
            (filter->state >= 0 && brief.state != (enum task_state)filter->state) ||
            (filter->queue.len > 0 && !slice_equal(filter->queue, brief.queue)) ||
            (filter->kind.len > 0 && !slice_equal(filter->kind, brief.kind))) {
            continue;
        }
        listing->memory_at = id;
        return;
    }
}

/* Below this id memory has not been looked at; 0: it has been, everywhere. */
static uint64_t memory_floor(const struct listing *listing)
{
    return listing->memory_at != 0 ? listing->memory_at : listing->is_memory_done ? 0 : listing->memory_last;
}

static void write_item(struct listing *listing, const struct task_view *view)
{
    if (listing->count > 0) {
        buf_append_char(listing->out, ',');
    }
    task_json_write(listing->out, view, true);
    listing->end = view->task_id;
    listing->count++;
    listing->is_full = listing->count == listing->limit;
}

/* Writes the matches of memory with ids above `floor`. */
static void write_memory(struct listing *listing, uint64_t floor)
{
    while (!listing->is_full && listing->memory_at > floor) {
        struct task_view view;
        if (core_task_get(listing->core, listing->memory_at, &view) == STATUS_OK) {
            write_item(listing, &view);
        }
        memory_next(listing);
    }
}

static bool visit_row(void *ctx, uint64_t task_id, struct slice row)
{
    struct listing *listing = ctx;
    write_memory(listing, task_id);
    /* Full, or memory was not looked at down to here: the page ends above this row. */
    if (listing->is_full || memory_floor(listing) > task_id) {
        return false;
    }
    struct task_brief brief;
    if (core_task_brief(listing->core, task_id, &brief) == STATUS_OK) { /* memory shows it, if it matches */
        write_memory(listing, task_id - 1);
        return !listing->is_full;
    }
    struct task_view view;
    listing->status = task_view_get(row, &view);
    if (listing->status != STATUS_OK) {
        return false;
    }
    write_item(listing, &view);
    return !listing->is_full;
}

/* Fills the page and sets `end`; *ret_has_next whether something may be below. */
static enum status list_tasks(struct hub *hub, struct listing *listing, uint64_t before, bool *ret_has_next)
{
    bool is_final = listing->filter.state < 0 || task_state_is_final((enum task_state)listing->filter.state);
    listing->memory_last = before;
    listing->memory_left = SCAN_MAX;
    listing->end = before;
    memory_next(listing);
    uint64_t history_last = 0;
    if (is_final && hub->history != NULL) {
        enum status status =
            history_list(hub->history, &listing->filter, before, SCAN_ROWS_MAX, visit_row, listing, &history_last);
        if (status != STATUS_OK) {
            return status;
        }
        if (listing->status != STATUS_OK) {
            return listing->status;
        }
    }
    if (!listing->is_full) {
        write_memory(listing, history_last);
    }
    if (listing->is_full) {
        *ret_has_next = true;
        return STATUS_OK;
    }
    /* The lower bound of what both walks have seen. A row that visit_row stopped at is below memory's floor. */
    uint64_t floor = memory_floor(listing);
    if (history_last > floor) {
        floor = history_last;
    }
    *ret_has_next = floor != 0;
    listing->end = floor;
    return STATUS_OK;
}

void handle_task_list(struct call *call)
{
    struct hub *hub = call->hub;
    uint32_t limit;
    uint64_t before;
    if (!call_query_page(call, UINT64_MAX, &limit, &before)) {
        return;
    }
    struct listing listing = {
        .core = sequencer_core(hub->sequencer), .filter = {.state = -1}, .out = &call->routes->out, .limit = limit};
    struct slice text;
    enum task_state state;
    if (call_query(call, "state", &text)) {
        if (!task_state_from_name(text, &state)) {
            call_refuse_status(
                call, STATUS_BAD_REQUEST,
                "state: scheduled, blocked, ready, leased, validating, succeeded, dead, cancelled or expired");
            return;
        }
        listing.filter.state = (int)state;
    }
    /* The call keeps the two names: a decoded parameter lives in a buffer that is used again. */
    const struct {
        const char *name;
        char *keep;
        struct slice *filter;
    } names[] = {{"queue", call->queue, &listing.filter.queue}, {"kind", call->kind, &listing.filter.kind}};
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        if (!call_query(call, names[i].name, &text)) {
            continue;
        }
        if (!name_is_valid(text)) {
            call_refuse_status(call, STATUS_BAD_REQUEST, "%s: no such name can be", names[i].name);
            return;
        }
        memcpy(names[i].keep, text.data, text.len);
        *names[i].filter = (struct slice){names[i].keep, text.len};
    }
    buf_append_slice(listing.out, SLICE("{\"items\":["));
    bool has_next = false;
    enum status status = list_tasks(hub, &listing, before, &has_next);
    if (status != STATUS_OK) {
        call_refuse_status(call, status, NULL);
        return;
    }
    write_page_end(listing.out, listing.end, has_next);
    call_answer_durable(call, 200, core_seq(listing.core));
}
