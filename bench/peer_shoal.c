/* peer_shoal.c - Shoal over plain HTTP, as docs/api.md has it: POST /v1/tasks or /v1/tasks:batch, and for a turn
 * POST /v1/leases:report, which reports outcomes and takes new leases. */
#include <stdio.h>
#include <string.h>

#include "peer.h"

static struct buf body = {.max = 16u << 20};

static void prepare(struct peer_conn *conn)
{
    struct slice answer;
    if (client_call(conn->fd, &conn->in, "PUT", "/v1/kinds/bench.noop", SLICE("{}"), &answer) >= 300) {
        peer_refuse(conn, "the kind is refused", answer);
    }
}

/* A worker has its session before it waits for anything. */
static void join(struct peer_conn *conn)
{
    char ask[128];
    struct slice answer, session;
    int len = snprintf(ask, sizeof(ask), "{\"node\":\"bench-%u\",\"kinds\":[\"bench.noop\"],\"max\":1}", conn->number);
    int status = client_call(conn->fd, &conn->in, "POST", "/v1/leases", slice_of(ask, (size_t)len), &answer);
    if (status != 200 || !client_field(answer, "session", &session) || session.len >= sizeof(conn->session)) {
        peer_refuse(conn, "no session", answer);
    }
    memcpy(conn->session, session.data, session.len);
    buf_reset(&conn->in);
}

static void submit(struct peer_conn *conn, unsigned count, uint64_t first)
{
    conn->awaited = count;
    if (count == 1) {
        client_request(&conn->out, "POST", "/v1/tasks", peer_task(first));
        return;
    }
    buf_reset(&body);
    for (unsigned i = 0; i < count; i++) {
        buf_append_char(&body, i == 0 ? '[' : ',');
        buf_append_slice(&body, peer_task(first + i));
    }
    buf_append_char(&body, ']');
    client_request(&conn->out, "POST", "/v1/tasks:batch", buf_slice(&body));
}

static void turn(struct peer_conn *conn, unsigned want)
{
    struct slice held = buf_slice(&conn->held), token;
    buf_reset(&body);
    buf_append_str(&body, "{\"session\":\"");
    buf_append_str(&body, conn->session);
    buf_printf(&body, "\",\"max\":%u,\"wait_ms\":5000,\"outcomes\":[", want);
    for (const char *comma = ""; peer_next_line(&held, &token); comma = ",") {
        buf_append_str(&body, comma);
        buf_append_str(&body, "{\"token\":\"");
        buf_append_slice(&body, token);
        buf_append_str(&body, "\",\"outcome\":\"complete\",\"result\":{\"ok\":true}}");
    }
    buf_append_str(&body, "]}");
    client_request(&conn->out, "POST", "/v1/leases:report", buf_slice(&body));
    conn->awaited = conn->held_count + 1;
    buf_reset(&conn->held);
    conn->held_count = 0;
}

static void reported(struct peer_conn *conn, struct slice text)
{
    const char *end = text.data + text.len, *leases = memmem(text.data, text.len, "\"leases\":", 9);
    if (leases == NULL) {
        peer_refuse(conn, "no leases in the answer", text);
    }
    const char *at = text.data;
    while ((at = memmem(at, (size_t)(leases - at), "\"ok\":true", 9)) != NULL) {
        conn->done_count++;
        at += 9;
    }
    if (conn->done_count + 1 != conn->awaited) {
        peer_refuse(conn, "not every outcome was accepted", text);
    }
    for (at = leases; (at = memmem(at, (size_t)(end - at), "\"token\":\"", 9)) != NULL;) {
        at += 9;
        const char *close = memchr(at, '"', (size_t)(end - at));
        if (close == NULL) {
            peer_refuse(conn, "a token without an end", text);
        }
        peer_hold(conn, slice_of(at, (size_t)(close - at)));
        at = close;
    }
}

static void understand(struct peer_conn *conn)
{
    size_t size;
    int status;
    struct slice text, accepted;
    if (!client_answer(&conn->in, &size, &status, &text)) {
        return;
    }
    if (status == 503) { /* back-pressure: the same again */
        conn->sent = 0;
        buf_consume(&conn->in, size);
        return;
    }
    conn->done_count = 0;
    if (conn->is_turn && status == 200) {
        reported(conn, text);
    } else if (!conn->is_turn && status == 201 && conn->awaited == 1) {
        conn->done_count = 1;
    } else if (!conn->is_turn && status == 200 && client_field(text, "accepted", &accepted)) {
        for (size_t i = 0; i < accepted.len; i++) {
            conn->done_count = conn->done_count * 10 + (unsigned)(accepted.data[i] - '0');
        }
        if (conn->done_count != conn->awaited) {
            peer_refuse(conn, "not every task was accepted", text);
        }
    } else {
        peer_refuse(conn, "refused", text);
    }
    conn->awaited = 0;
    buf_consume(&conn->in, size);
}

const struct peer_wire peer_shoal = {
    .name = "shoal", .prepare = prepare, .join = join, .submit = submit, .turn = turn, .understand = understand};
