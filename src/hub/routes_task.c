/* routes_task.c - tasks over HTTP: submit, get, result, attempts, cancel, retry. (Batches: routes_batch.c, lists:
 * routes_list.c.)
 *
 * A task is looked for in memory first and then in history. A row gets into history before the core lets go of the task, and
 * the core forgets only what history holds durably, so a task that both lack never was. */
#include <stdio.h>
#include <stdlib.h>

#include "base/base32.h"
#include "base/ensure.h"
#include "hub/fields.h"
#include "hub/routes.h"
#include "hub/task_json.h"
#include "hub/task_waits.h"

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

/* The task that is another try of one of history; 0: none. The core knows it until it is final itself, and history from then on. */
static uint64_t retried_as(const struct hub *hub, uint64_t task_id)
{
    uint64_t as = core_retried_as(sequencer_core(hub->sequencer), task_id);
    return as != 0 ? as : history_retried_as(hub->history, task_id);
}

/* Answers with the whole task; one of history says what its retry became, which the core knows. */
static void answer_task(struct call *call, const struct task_view *view, bool is_in_memory)
{
    struct buf *out = &call->routes->out;
    const struct core *core = sequencer_core(call->hub->sequencer);
    uint64_t as = is_in_memory ? 0 : retried_as(call->hub, view->task_id);
    task_json_write(out, view, false);
    if (call->route->of == ROUTE_TASK_SUBMIT && !call->is_new && buf_status(out) == STATUS_OK) {
        out->len--; /* the closing brace */
        buf_append_slice(out, SLICE(",\"duplicate\":true}"));
    }
    if (as == 0 || buf_status(out) != STATUS_OK) {
        answer_view(call, view, is_in_memory);
        return;
    }
    out->len--; /* the closing brace */
    buf_append_slice(out, SLICE(",\"retried_as\":\""));
    write_id(out, as);
    buf_append_slice(out, SLICE("\"}"));
    call_answer_durable(call, 200, core_seq(core));
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

void problem_of_submit(struct problem *problem, const struct effect_reply *reply, const struct core *core,
                       struct slice kind, struct slice queue)
{
    struct slice none = {0};
    enum status status = reply->status;
    if (status == STATUS_KIND_UNKNOWN) {
        problem_add(problem, status, "/kind", none,
                    "%.*s is not known here; PUT /v1/kinds/%.*s makes it known, as does a node that offers it",
                    (int)(kind.len < 60 ? kind.len : 60), kind.data, (int)(kind.len < 60 ? kind.len : 60), kind.data);
    } else if (status == STATUS_QUEUE_UNKNOWN) {
        problem_add(problem, status, "/queue", none, "%.*s is not known here; PUT /v1/queues/%.*s makes it",
                    (int)(queue.len < 60 ? queue.len : 60), queue.data, (int)(queue.len < 60 ? queue.len : 60),
                    queue.data);
    } else if (caller_is_refusal(status)) {
        char text[CALLER_TEXT_SIZE];
        caller_refusal(core, reply, text);
        problem_set(problem, status, "%s", text);
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
    answer_task(call, &view, is_in_memory);
}

static void on_submitted(struct call *call, const struct effect_reply *reply, uint64_t seq)
{
    buf_reset(&call->routes->out);
    if (reply->status != STATUS_OK) {
        struct problem problem;
        problem_init(&problem);
        problem_of_submit(&problem, reply, sequencer_core(call->hub->sequencer),
                          (struct slice){call->kind, call->kind_len}, (struct slice){call->queue, call->queue_len});
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
    command.by = call_caller(call);
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
    answer_task(call, &view, is_in_memory);
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
    answer_task(call, &view, is_in_memory);
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

/* `is_other`: the task answered with is another one than the path names, whose retry it is. */
static void answer_state(struct call *call, const struct effect_reply *reply, bool is_other, uint64_t seq)
{
    struct buf *out = &call->routes->out;
    buf_append_slice(out, SLICE("{\"id\":\""));
    write_id(out, reply->task_id);
    buf_append_slice(out, SLICE("\",\"state\":\""));
    buf_append_str(out, task_state_name(reply->state));
    if (is_other) {
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
        answer_state(call, reply, false, seq);
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

static void refuse_key_taken(struct call *call, uint64_t holder)
{
    char id[BASE32_TEXT_SIZE];
    base32_format(holder, id);
    call_refuse_status(call, STATUS_CONFLICT,
                       "task %s has the unique key of this one by now; when it is final this one can be retried", id);
}

static void on_resubmitted(struct call *call, const struct effect_reply *reply, uint64_t seq)
{
    buf_reset(&call->routes->out);
    if (reply->status == STATUS_OK) {
        call->is_new = !reply->is_duplicate; /* else an earlier retry made it, or it holds the unique key */
        answer_state(call, reply, true, seq);
    } else if (reply->status == STATUS_CONFLICT) {
        refuse_key_taken(call, reply->task_id);
    } else {
        call_refuse_reply(call, reply);
    }
}

static void refuse_retry(struct call *call, enum task_state state)
{
    call_refuse_status(call, STATUS_CONFLICT, "the task is %s; only dead, cancelled and expired tasks can be retried",
                       task_state_name(state));
}

static void answer_earlier_retry(struct call *call, uint64_t as, uint64_t seq)
{
    static struct task_view view; /* too large for a stack; the loop's thread alone */
    bool is_in_memory;
    struct effect_reply reply = {.task_id = as, .state = TASK_SUCCEEDED};
    if (find_task(call, as, &view, &is_in_memory) == STATUS_OK) {
        reply.state = view.state;
    }
    call->is_new = false;
    answer_state(call, &reply, true, seq);
}

static void on_retried(struct call *call, const struct effect_reply *reply, uint64_t seq)
{
    buf_reset(&call->routes->out);
    struct task_view view;
    bool is_in_memory;
    enum status status = reply->status;
    if (status == STATUS_OK) {
        answer_state(call, reply, false, seq);
        return;
    }
    if (status == STATUS_CONFLICT && reply->task_id != call->task_id) {
        refuse_key_taken(call, reply->task_id);
        return;
    }
    if (status == STATUS_CONFLICT) {
        refuse_retry(call, reply->state);
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
        refuse_retry(call, view.state);
        return;
    }
    uint64_t as = history_retried_as(call->hub->history, call->task_id);
    if (as != 0) { /* it is final itself: what the core knew of the two may be gone */
        answer_earlier_retry(call, as, seq);
        return;
    }
    struct command_submit command;
    char key[RETRY_KEY_SIZE];
    task_json_resubmit(&view, &command);
    command.idempotency_key = core_retry_key(call->task_id, key);
    command.by = call_caller(call);
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

/* --- DELETE /v1/tasks/{id} --- */

struct deletion {                   /* in call->extra */
    struct history_removal removal; /* first */
    struct call *call;
};

static void on_deleted(struct history_removal *removal, enum status status)
{
    struct call *call = ((struct deletion *)removal)->call;
    ensure_magic(call, CALL_MAGIC);
    free(TAKE(call->extra));
    buf_reset(&call->routes->out);
    if (status == STATUS_NOT_FOUND) { /* somebody else was first */
        refuse_missing(call, status);
        return;
    }
    if (status != STATUS_OK) {
        call_refuse_status(call, status, NULL);
        return;
    }
    buf_append_slice(&call->routes->out, SLICE("{\"id\":\""));
    write_id(&call->routes->out, call->task_id);
    buf_append_slice(&call->routes->out, SLICE("\",\"deleted\":true}"));
    call_answer(call, 200, sequencer_durable_seq(call->hub->sequencer), "");
}

/* Of a task that history alone has: what is in memory is still answered from there, and written again after a crash. */
void handle_task_delete(struct call *call)
{
    struct task_view view;
    bool is_in_memory;
    if (!take_task(call, &view, &is_in_memory)) {
        return;
    }
    if (is_in_memory) {
        struct problem problem;
        bool is_final = task_state_is_final(view.state);
        problem_set(&problem, STATUS_CONFLICT,
                    is_final ? "the task is %s and still in memory; it can be deleted once it has left it"
                             : "the task is %s and cannot be deleted; cancel it first",
                    task_state_name(view.state));
        problem.is_passing = is_final;
        call_refuse(call, &problem);
        return;
    }
    struct deletion *deletion = calloc(1, sizeof(*deletion));
    if (deletion == NULL) {
        call_refuse_status(call, STATUS_NO_MEMORY, NULL);
        return;
    }
    deletion->call = call;
    deletion->removal.task_id = call->task_id;
    deletion->removal.done = on_deleted;
    call->extra = deletion;
    history_remove(call->hub->history, &deletion->removal);
}
