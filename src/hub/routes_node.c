/* routes_node.c - nodes over HTTP: list, get, drain, quiet. */
#include "base/base32.h"
#include "base/ensure.h"
#include "hub/fields.h"
#include "hub/paging.h"
#include "hub/routes.h"
#include "hub/sessions.h"
#include "hub/task_json.h"

static void member_count(struct buf *out, const char *name, uint64_t value)
{
    buf_append_str(out, name);
    buf_append_u64_dec(out, value);
}

static void member_bool(struct buf *out, const char *name, bool value)
{
    buf_append_str(out, name);
    buf_append_str(out, value ? "true" : "false");
}

static void write_node(struct buf *out, const struct sessions *sessions, const struct node_view *view)
{
    struct session_facts facts = {0};
    if (view->session != 0) {
        sessions_facts(sessions, view->session, &facts);
    }
    buf_append_slice(out, SLICE("{\"name\":"));
    json_write_str(out, view->name);
    buf_append_slice(out, SLICE(",\"state\":\""));
    buf_append_str(out, view->session == 0 ? "gone" : facts.is_suspect ? "suspect" : "live");
    buf_append_char(out, '"');
    member_bool(out, ",\"worker\":", view->is_worker);
    member_bool(out, ",\"draining\":", view->is_draining);
    member_bool(out, ",\"quiet\":", view->is_quiet);
    buf_append_slice(out, SLICE(",\"kinds\":["));
    for (uint32_t i = 0; i < view->kind_count; i++) {
        if (i > 0) {
            buf_append_char(out, ',');
        }
        json_write_str(out, view->kinds[i]);
    }
    buf_append_slice(out, SLICE("],"));
    write_requirement(out, &view->facts);
    member_count(out, ",\"credit\":", view->credit);
    member_count(out, ",\"leases\":", view->leases);
    member_count(out, ",\"succeeded\":", view->succeeded);
    member_count(out, ",\"failed\":", view->failed);
    member_count(out, ",\"lost\":", view->lost);
    buf_append_slice(out, SLICE(",\"joined_at\":"));
    write_time(out, view->joined_ns);
    buf_append_slice(out, SLICE(",\"since\":"));
    write_time(out, view->session_ns);
    if (facts.load.is_known) {
        member_count(out, ",\"load\":{\"cpu_permille\":", facts.load.cpu_permille);
        member_count(out, ",\"memory_used_mib\":", facts.load.memory_used_mib);
        member_count(out, ",\"running\":", facts.load.running);
        buf_append_char(out, '}');
    }
    buf_append_slice(out, SLICE(",\"info\":"));
    buf_append_slice(out, view->info.len > 0 ? view->info : SLICE("{}"));
    buf_append_char(out, '}');
}

static struct core *core_of(const struct call *call)
{
    return sequencer_core(call->hub->sequencer);
}

static void refuse_unknown(struct call *call)
{
    call_refuse_status(call, STATUS_NOT_FOUND, "there is no node %.*s", SLICE_ARG(call_param(call)));
}

static void answer_node(struct call *call)
{
    struct node_view view;
    if (!core_node_find(core_of(call), call_param(call), &view)) {
        refuse_unknown(call);
        return;
    }
    write_node(&call->routes->out, call->hub->sessions, &view);
    call_answer_durable(call, 200, view.changed_seq);
}

void handle_node_get(struct call *call)
{
    answer_node(call);
}

void handle_node_list(struct call *call)
{
    uint32_t limit;
    uint64_t at;
    if (!call_query_page(call, 0, &limit, &at)) {
        return;
    }
    struct buf *out = &call->routes->out;
    struct node_view view;
    buf_append_slice(out, SLICE("{\"items\":["));
    uint32_t i = core_node_next(core_of(call), at < UINT32_MAX ? (uint32_t)at : UINT32_MAX);
    for (uint32_t count = 0; count < limit && core_node_at(core_of(call), i, &view); count++) {
        if (count > 0) {
            buf_append_char(out, ',');
        }
        write_node(out, call->hub->sessions, &view);
        i = core_node_next(core_of(call), i + 1);
    }
    write_page_end(out, i, i != UINT32_MAX);
    call_answer_durable(call, 200, core_seq(core_of(call)));
}

static void on_node_set(struct call *call, const struct effect_reply *reply, uint64_t seq)
{
    (void)seq;
    buf_reset(&call->routes->out);
    if (reply->status == STATUS_OK) {
        answer_node(call);
    } else if (reply->status == STATUS_NOT_FOUND) {
        refuse_unknown(call);
    } else {
        call_refuse_status(call, reply->status, NULL);
    }
}

static void set_node(struct call *call, struct command_node_set command)
{
    struct node_view view;
    if (!call_expect_empty(call)) {
        return;
    }
    /* Also what no command could hold is refused here: names of nodes that are known fit. */
    if (!core_node_find(core_of(call), call_param(call), &view)) {
        refuse_unknown(call);
        return;
    }
    struct buf *out = call_begin(call);
    if (out == NULL) {
        return;
    }
    command.node = call_param(call);
    command_put_node_set(out, &command);
    call_commit(call, on_node_set);
}

void handle_node_drain(struct call *call)
{
    set_node(call, (struct command_node_set){.has_drain = true, .drain = true});
}

void handle_node_undrain(struct call *call)
{
    set_node(call, (struct command_node_set){.has_drain = true, .drain = false});
}

void handle_node_quiet(struct call *call)
{
    set_node(call, (struct command_node_set){.has_quiet = true, .quiet = true});
}

void handle_node_unquiet(struct call *call)
{
    set_node(call, (struct command_node_set){.has_quiet = true, .quiet = false});
}

static void on_node_deleted(struct call *call, const struct effect_reply *reply, uint64_t seq)
{
    (void)seq;
    buf_reset(&call->routes->out);
    if (reply->status == STATUS_OK) {
        call_answer_nothing(call, 204, "", NULL, 0);
    } else if (reply->status == STATUS_NOT_FOUND) {
        refuse_unknown(call);
    } else if (reply->status == STATUS_CONFLICT) {
        call_refuse_status(call, reply->status, "it is connected; only a node that is gone can be forgotten");
    } else {
        call_refuse_reply(call, reply);
    }
}

void handle_node_delete(struct call *call)
{
    struct node_view view;
    if (!core_node_find(core_of(call), call_param(call), &view)) {
        refuse_unknown(call);
        return;
    }
    struct buf *out = call_begin(call);
    if (out != NULL) {
        command_put_drop(out, &(struct command_drop){.what = DROP_NODE, .name = call_param(call)});
        call_commit(call, on_node_deleted);
    }
}
