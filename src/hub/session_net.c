/* session_net.c - the world of sessions.c as it really is: WebSockets and requests of the HTTP server, a
 * timer of the loop, the clock. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "hub/sessions_internal.h"

/* --- the table --- */

struct session_net {
    struct hub *hub;
    uv_timer_t timer;
};

static void net_set_user(struct ws_connection *ws, struct session *user)
{
    ws_set_user(ws, user);
}

static void on_gone(struct http_request *request)
{
    const struct call *call = request->user;
    ensure_magic(call, CALL_MAGIC);
    workers_gone(call->extra);
}

static void net_set_poll(struct call *call, struct poll *poll)
{
    call->extra = poll;
    call->request->on_gone = on_gone;
    call->request->end_is_gone = true; /* a caller that only waits has left when it ends its side */
}

static bool net_is_there(const struct call *call)
{
    return http_peer_is_there(call->request);
}

static struct buf *net_answer_begin(struct call *call)
{
    struct buf *out = &call->routes->out;
    buf_reset(out);
    return out;
}

static void net_answer(struct call *call, uint64_t seq)
{
    call_answer(call, 200, seq, "");
}

static void net_refuse(struct call *call, enum status status, const char *detail)
{
    call_refuse_status(call, status, "%s", detail);
}

static int64_t net_mono_ns(void *ctx)
{
    (void)ctx;
    return clock_mono_ns();
}

static void on_timer(uv_timer_t *timer)
{
    struct session_net *net = timer->data;
    sessions_tick(net->hub->sessions);
}

static void net_set_ticking(void *ctx, bool is_on)
{
    struct session_net *net = ctx;
    if (is_on) {
        uv_timer_start(&net->timer, on_timer, SESSIONS_TICK_MS, SESSIONS_TICK_MS);
    } else {
        uv_timer_stop(&net->timer);
    }
}

static void net_flush_soon(void *ctx)
{
    struct session_net *net = ctx;
    hub_schedule_flush(net->hub);
}

static void on_timer_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void net_end(void *ctx)
{
    struct session_net *net = ctx;
    uv_close((uv_handle_t *)&net->timer, on_timer_closed);
}

enum status sessions_new(struct hub *hub, struct sessions **ret_sessions)
{
    struct session_net *net = calloc(1, sizeof(*net));
    if (net == NULL) {
        return STATUS_NO_MEMORY;
    }
    net->hub = hub;
    uv_timer_init(&hub->loop.uv, &net->timer);
    uv_unref((uv_handle_t *)&net->timer);
    net->timer.data = net;
    const struct session_port port = {.send = ws_send_text,
                                      .close = ws_close,
                                      .set_user = net_set_user,
                                      .set_poll = net_set_poll,
                                      .is_there = net_is_there,
                                      .answer_begin = net_answer_begin,
                                      .answer = net_answer,
                                      .refuse = net_refuse,
                                      .mono_ns = net_mono_ns,
                                      .set_ticking = net_set_ticking,
                                      .flush_soon = net_flush_soon,
                                      .end = net_end,
                                      .ctx = net};
    enum status status = sessions_make(hub, &port, ret_sessions);
    if (status != STATUS_OK) {
        net_end(net);
    }
    return status;
}

/* --- connections --- */

static void on_message(struct ws_connection *ws, struct slice text, bool is_text)
{
    struct session *session = ws_user(ws);
    if (session != NULL) {
        session_on_message(session, text, is_text);
    }
}

static void on_closed(struct ws_connection *ws)
{
    struct session *session = ws_user(ws);
    if (session != NULL) {
        session_on_closed(session);
    }
}

/* Whether a header lists this token (Sec-WebSocket-Protocol). */
static bool lists_token(struct slice list, const char *token)
{
    size_t len = strlen(token);
    for (size_t at = 0; at < list.len;) {
        while (at < list.len && (list.data[at] == ' ' || list.data[at] == '\t' || list.data[at] == ',')) {
            at++;
        }
        size_t start = at;
        while (at < list.len && list.data[at] != ',' && list.data[at] != ' ' && list.data[at] != '\t') {
            at++;
        }
        if (at - start == len && memcmp(list.data + start, token, len) == 0) {
            return true;
        }
    }
    return false;
}

void handle_work(struct call *call)
{
    static const struct ws_callbacks callbacks = {.on_message = on_message, .on_closed = on_closed};
    struct sessions *sessions = call->hub->sessions;
    struct http_request *request = call->request;
    if (!request->wants_upgrade) {
        call_refuse_status(call, STATUS_BAD_REQUEST, "this path is a WebSocket; ask for an upgrade over HTTP/1.1");
        return;
    }
    if (!lists_token(http_header(request, "sec-websocket-protocol"), WORK_SUBPROTOCOL)) {
        call_refuse_status(call, STATUS_BAD_REQUEST, "the subprotocol here is " WORK_SUBPROTOCOL);
        return;
    }
    if (!call->hub->is_ready || call->hub->is_stopping) {
        call_refuse_status(call, STATUS_NOT_READY, NULL);
        return;
    }
    struct session *session = session_new(sessions);
    if (session == NULL) {
        call_refuse_status(call, STATUS_BUSY, NULL);
        return;
    }
    char peer[SESSION_PEER_SIZE];
    snprintf(peer, sizeof(peer), "%s", http_peer(request));
    session->by = call_caller(call);
    request->user = NULL;
    struct ws_connection *ws = ws_accept(request, WORK_SUBPROTOCOL, &callbacks, session);
    call_free(call);
    if (ws == NULL) {
        session_free(session);
        return;
    }
    session_connected(session, ws, peer);
}
