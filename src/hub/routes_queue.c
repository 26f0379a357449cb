/* routes_queue.c - queues and kinds over HTTP. */
#include "base/ensure.h"
#include "hub/fields.h"
#include "hub/paging.h"
#include "hub/routes.h"
#include "hub/task_json.h"

static void write_queue(struct buf *out, const struct queue_view *view)
{
    buf_append_slice(out, SLICE("{\"name\":"));
    json_write_str(out, view->name);
    buf_append_str(out, view->is_paused ? ",\"paused\":true" : ",\"paused\":false");
    if (view->created_ns > 0) { /* `default` was there before any time was known */
        buf_append_slice(out, SLICE(",\"created_at\":"));
        write_time(out, view->created_ns);
    }
    buf_append_slice(out, SLICE(",\"counts\":{"));
    for (unsigned i = 0; i < TASK_STATE_COUNT; i++) {
        buf_append_str(out, i == 0 ? "\"" : ",\"");
        buf_append_str(out, task_state_name((enum task_state)i));
        buf_append_slice(out, SLICE("\":"));
        buf_append_u64_dec(out, view->counts[i]);
    }
    const struct {
        const char *name;
        uint64_t value;
    } totals[] = {{"},\"totals\":{\"submitted\":", view->submitted},
                  {",\"succeeded\":", view->succeeded},
                  {",\"dead\":", view->dead},
                  {",\"cancelled\":", view->cancelled},
                  {",\"expired\":", view->expired},
                  {",\"retried\":", view->retried}};
    for (size_t i = 0; i < ARRAY_COUNT(totals); i++) {
        buf_append_str(out, totals[i].name);
        buf_append_u64_dec(out, totals[i].value);
    }
    buf_append_slice(out, SLICE("}}"));
}

static void refuse_unknown(struct call *call, const char *what)
{
    call_refuse_status(call, STATUS_NOT_FOUND, "there is no %s %.*s", what, SLICE_ARG(call_param(call)));
}

static struct core *core_of(const struct call *call)
{
    return sequencer_core(call->hub->sequencer);
}

/* The queue of the path as it is now. */
static void answer_queue(struct call *call, int status)
{
    struct queue_view view;
    if (!core_queue_find(core_of(call), call_param(call), &view)) {
        refuse_unknown(call, "queue");
        return;
    }
    write_queue(&call->routes->out, &view);
    call_answer_durable(call, status, view.changed_seq);
}

void handle_queue_get(struct call *call)
{
    answer_queue(call, 200);
}

void handle_queue_list(struct call *call)
{
    uint32_t limit;
    uint64_t at;
    if (!call_query_page(call, 0, &limit, &at)) {
        return;
    }
    struct buf *out = &call->routes->out;
    struct queue_view view;
    buf_append_slice(out, SLICE("{\"items\":["));
    uint32_t i = core_queue_next(core_of(call), at < UINT32_MAX ? (uint32_t)at : UINT32_MAX);
    for (uint32_t count = 0; count < limit && core_queue_at(core_of(call), i, &view); count++) {
        if (count > 0) {
            buf_append_char(out, ',');
        }
        write_queue(out, &view);
        i = core_queue_next(core_of(call), i + 1);
    }
    write_page_end(out, i, i != UINT32_MAX);
    call_answer_durable(call, 200, core_seq(core_of(call)));
}

static void on_queue_set(struct call *call, const struct effect_reply *reply, uint64_t seq)
{
    (void)seq;
    buf_reset(&call->routes->out);
    if (reply->status == STATUS_OK) {
        answer_queue(call, call->is_new ? 201 : 200);
    } else if (reply->status == STATUS_NOT_FOUND) {
        refuse_unknown(call, "queue");
    } else {
        call_refuse_reply(call, reply);
    }
}

/* Proposes what is to become of the queue of the path. */
static void set_queue(struct call *call, struct command_queue_set command)
{
    struct buf *out = call_begin(call);
    if (out == NULL) {
        return;
    }
    command.name = call_param(call);
    command.by = call_caller(call);
    command_put_queue_set(out, &command);
    call_commit(call, on_queue_set);
}

/* Whether the path's name can be one. False: answered. */
static bool check_name(struct call *call, bool must_exist)
{
    if (name_is_valid(call_param(call))) {
        return true;
    }
    if (must_exist) {
        call_refuse_status(call, STATUS_NOT_FOUND, "no such name can be");
    } else {
        call_refuse_status(call, STATUS_INVALID, "a name has 1 to %d characters of A-Z a-z 0-9 . _ -", LIMIT_NAME_SIZE);
    }
    return false;
}

static void take_paused(struct field *field, void *ctx)
{
    struct command_queue_set *command = ctx;
    command->has_paused = field_bool(field, &command->paused);
}

void handle_queue_put(struct call *call)
{
    struct command_queue_set command = {0};
    if (!check_name(call, false) || !call_parse_member(call, "paused", take_paused, &command)) {
        return;
    }
    struct queue_view view;
    call->is_new = !core_queue_find(core_of(call), call_param(call), &view);
    set_queue(call, command);
}

static void pause_queue(struct call *call, bool paused)
{
    if (check_name(call, true) && call_expect_empty(call)) {
        set_queue(call, (struct command_queue_set){.has_paused = true, .paused = paused, .must_exist = true});
    }
}

void handle_queue_pause(struct call *call)
{
    pause_queue(call, true);
}

void handle_queue_resume(struct call *call)
{
    pause_queue(call, false);
}

static void on_queue_deleted(struct call *call, const struct effect_reply *reply, uint64_t seq)
{
    struct queue_view view;
    buf_reset(&call->routes->out);
    if (reply->status == STATUS_OK) {
        call_answer_nothing(call, 204, "", NULL, 0);
    } else if (reply->status == STATUS_NOT_FOUND) {
        refuse_unknown(call, "queue");
    } else if (reply->status == STATUS_CONFLICT && core_queue_find(core_of(call), call_param(call), &view)) {
        uint64_t tasks = 0;
        for (unsigned i = 0; i < TASK_STATE_COUNT; i++) {
            tasks += view.counts[i];
        }
        call_refuse_status(call, reply->status,
                           tasks > 0 ? "it has tasks in memory; finished ones leave it within a minute or two"
                           : slice_equal(view.name, SLICE("default"))
                               ? "the default queue stays"
                               : "unique keys of finished tasks are still held in it");
    } else {
        call_refuse_reply(call, reply);
    }
    (void)seq;
}

/* Proposes to forget what the path names. */
static void drop(struct call *call, enum drop_what what,
                 void (*on_reply)(struct call *call, const struct effect_reply *reply, uint64_t seq))
{
    struct buf *out = check_name(call, true) ? call_begin(call) : NULL;
    if (out != NULL) {
        command_put_drop(out, &(struct command_drop){.what = what, .name = call_param(call)});
        call_commit(call, on_reply);
    }
}

void handle_queue_delete(struct call *call)
{
    drop(call, DROP_QUEUE, on_queue_deleted);
}

/* --- kinds --- */

static void write_kind(struct buf *out, struct slice name)
{
    buf_append_slice(out, SLICE("{\"name\":"));
    json_write_str(out, name);
    buf_append_char(out, '}');
}

void handle_kind_list(struct call *call)
{
    uint32_t limit;
    uint64_t at;
    if (!call_query_page(call, 0, &limit, &at)) {
        return;
    }
    struct buf *out = &call->routes->out;
    struct slice name;
    buf_append_slice(out, SLICE("{\"items\":["));
    uint64_t i = at;
    bool has_more = false;
    for (; i < UINT32_MAX && (has_more = core_kind_at(core_of(call), (uint32_t)i, &name)) && i - at < limit; i++) {
        if (i > at) {
            buf_append_char(out, ',');
        }
        write_kind(out, name);
    }
    write_page_end(out, i, has_more);
    call_answer_durable(call, 200, core_seq(core_of(call)));
}

static void on_kind_set(struct call *call, const struct effect_reply *reply, uint64_t seq)
{
    buf_reset(&call->routes->out);
    if (reply->status != STATUS_OK) {
        call_refuse_reply(call, reply);
        return;
    }
    write_kind(&call->routes->out, call_param(call));
    call_answer(call, call->is_new ? 201 : 200, seq, "");
}

void handle_kind_put(struct call *call)
{
    if (!check_name(call, false) || !call_expect_empty(call)) {
        return;
    }
    call->is_new = !core_kind_is_known(core_of(call), call_param(call));
    struct buf *out = call_begin(call);
    if (out == NULL) {
        return;
    }
    command_put_kind_set(out, &(struct command_kind_set){.name = call_param(call), .by = call_caller(call)});
    call_commit(call, on_kind_set);
}

static void on_kind_deleted(struct call *call, const struct effect_reply *reply, uint64_t seq)
{
    (void)seq;
    buf_reset(&call->routes->out);
    if (reply->status == STATUS_OK) {
        call_answer_nothing(call, 204, "", NULL, 0);
    } else if (reply->status == STATUS_NOT_FOUND) {
        refuse_unknown(call, "kind");
    } else if (reply->status == STATUS_CONFLICT) {
        call_refuse_status(call, reply->status,
                           "it has tasks in memory; finished ones leave it within a minute or two");
    } else {
        call_refuse_reply(call, reply);
    }
}

void handle_kind_delete(struct call *call)
{
    drop(call, DROP_KIND, on_kind_deleted);
}
