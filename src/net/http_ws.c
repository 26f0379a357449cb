/* http_ws.c - the server's end of a WebSocket, on a connection that began as HTTP. */
#include <stdlib.h>

#include "net/http_internal.h"
#include "proto/ws_frame.h"

struct ws_connection {
    uint32_t magic;
    struct http_connection *connection; /* NULL once it is gone */
    struct ws_callbacks callbacks;
    void *user;
    struct ws_parser parser;
    bool sent_close;
    bool got_close; /* or an error after which nothing more is read */
};

static enum status check_handshake(struct http_request *request, const char *subprotocol, const char **ret_detail,
                                   int *ret_http)
{
    *ret_http = 400;
    if (!request->wants_upgrade) {
        *ret_http = 426;
        *ret_detail = "This path speaks WebSocket only, over HTTP/1.1.";
        return STATUS_BAD_REQUEST;
    }
    if (!slice_equal_str(http_header(request, "sec-websocket-version"), "13")) {
        *ret_http = 426;
        *ret_detail = "Only version 13 of WebSocket is supported.";
        return STATUS_BAD_REQUEST;
    }
    if (!ws_key_is_valid(http_header(request, "sec-websocket-key"))) {
        *ret_detail = "Sec-WebSocket-Key is missing or malformed.";
        return STATUS_BAD_REQUEST;
    }
    if (subprotocol != NULL && !http1_list_has(http_header(request, "sec-websocket-protocol"), subprotocol)) {
        *ret_detail = "The WebSocket subprotocol of this path was not offered.";
        return STATUS_BAD_REQUEST;
    }
    return STATUS_OK;
}

struct ws_connection *ws_accept(struct http_request *pub, const char *subprotocol, const struct ws_callbacks *callbacks,
                                void *user)
{
    struct request *request = request_of(pub);
    if (pub->is_gone) {
        http_answer(pub, &(struct http_answer){.status = 400});
        return NULL;
    }
    const char *detail = NULL;
    int http_status = 0;
    enum status status = check_handshake(pub, subprotocol, &detail, &http_status);
    if (status != STATUS_OK) {
        answer_refusal(request, status, http_status, detail,
                       http_status == 426 ? SLICE("Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n")
                                          : (struct slice){NULL, 0});
        return NULL;
    }
    struct http_connection *connection = pub->connection;
    struct ws_connection *ws = calloc(1, sizeof(*ws));
    if (ws == NULL) {
        answer_refusal(request, STATUS_NO_MEMORY, 503, "There is no memory for another connection.",
                       SLICE("Retry-After: 1\r\n"));
        return NULL;
    }
    ws->magic = HTTP_WS_MAGIC;
    ws->connection = connection;
    ws->callbacks = *callbacks;
    ws->user = user;
    ws_parser_init(&ws->parser, true, LIMIT_WS_MESSAGE_SIZE);

    char accept[WS_ACCEPT_TEXT_SIZE];
    ws_accept_of(http_header(pub, "sec-websocket-key"), accept);
    struct buf *out = &request->answer;
    if (connection->first == request) {
        out = outbox_buf(&connection->box);
    }
    buf_printf(out,
               "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
               "Sec-WebSocket-Accept: %s\r\n",
               accept);
    if (subprotocol != NULL) {
        buf_printf(out, "Sec-WebSocket-Protocol: %s\r\n", subprotocol);
    }
    buf_append_str(out, "\r\n");
    connection->ws = ws;
    connection->upgrading = NULL;
    connection->server->stats.websockets++;
    connection->server->stats.in_flight--;
    request->has_begun = true;
    request->is_answered = true;
    connection_advance(connection);
    connection_wake(connection);
    return ws;
}

/* Where frames go: behind the 101, which may itself wait for the answers of requests before it. */
static struct buf *out_of(struct ws_connection *ws)
{
    struct http_connection *connection = ws->connection;
    return connection->first == NULL ? outbox_buf(&connection->box) : &connection->last->answer;
}

void *ws_user(const struct ws_connection *ws)
{
    ensure_magic(ws, HTTP_WS_MAGIC);
    return ws->user;
}

void ws_set_user(struct ws_connection *ws, void *user)
{
    ensure_magic(ws, HTTP_WS_MAGIC);
    ws->user = user;
}

void ws_send_text(struct ws_connection *ws, struct slice message)
{
    ensure_magic(ws, HTTP_WS_MAGIC);
    if (ws->sent_close || ws->connection == NULL) {
        return;
    }
    ws_write_frame(out_of(ws), WS_TEXT, message, NULL);
    connection_wake(ws->connection);
}

void ws_close(struct ws_connection *ws, uint16_t code, const char *reason)
{
    ensure_magic(ws, HTTP_WS_MAGIC);
    if (ws->sent_close || ws->connection == NULL) {
        return;
    }
    ws->sent_close = true;
    ws_write_close(out_of(ws), code, reason, NULL);
    connection_wake(ws->connection);
}

size_t ws_unsent_size(const struct ws_connection *ws)
{
    ensure_magic(ws, HTTP_WS_MAGIC);
    struct http_connection *connection = ws->connection;
    if (connection == NULL) {
        return 0;
    }
    return outbox_unsent(&connection->box) + (connection->first != NULL ? connection->last->answer.len : 0);
}

void ws_feed(struct ws_connection *ws, char *bytes, size_t len)
{
    ensure_magic(ws, HTTP_WS_MAGIC);
    struct ws_incoming incoming;
    while (!ws->got_close) {
        size_t used;
        enum ws_event event = ws_parse(&ws->parser, bytes, len, &used, &incoming);
        bytes += used;
        len -= used;
        switch (event) {
        case WS_EVENT_NONE:
            return;
        case WS_EVENT_MESSAGE:
            if (!ws->sent_close) {
                ws->callbacks.on_message(ws, incoming.payload, incoming.is_text);
            }
            break;
        case WS_EVENT_PING:
            if (!ws->sent_close) {
                ws_write_frame(out_of(ws), WS_PONG, incoming.payload, NULL);
            }
            break;
        case WS_EVENT_PONG:
            break;
        case WS_EVENT_CLOSE:
            ws->got_close = true;
            ws_close(ws, incoming.code, NULL);
            break;
        case WS_EVENT_ERROR:
            ws->got_close = true;
            ws_close(ws, incoming.code, ws->parser.detail);
            break;
        }
    }
}

void ws_gone(struct ws_connection *ws)
{
    ensure_magic(ws, HTTP_WS_MAGIC);
    ws->connection->server->stats.websockets--;
    ws->connection = NULL;
    if (ws->callbacks.on_closed != NULL) {
        ws->callbacks.on_closed(ws);
    }
    ws_parser_free(&ws->parser);
    ws->magic = 0;
    free(ws);
}

bool ws_is_closing(const struct ws_connection *ws)
{
    return ws->sent_close;
}

bool ws_is_over(const struct ws_connection *ws)
{
    return ws->sent_close && ws->got_close;
}

size_t ws_held_size(const struct ws_connection *ws)
{
    return ws->parser.message.cap;
}

void ws_check_unsent(struct ws_connection *ws)
{
    bool is_pressed = ws->connection->server->budget.is_pressed;
    if (!ws->sent_close && ws_unsent_size(ws) > (is_pressed ? LIMIT_HTTP_UNREAD_SIZE : LIMIT_HTTP_OUT_SIZE)) {
        ws_close(ws, WS_CLOSE_TRY_AGAIN, "Too much waits to be read.");
    }
}
