/* ws_client.c - connecting to a hub and speaking WebSocket with it.
 *
 *   RESOLVING ──▶ CONNECTING ──▶ HANDSHAKE ──101──▶ OPEN ──▶ CLOSING ──▶ ENDED
 *                  ▲  │ next address      │ anything else, or any failure on the way    ▲
 *                  └──┘                   └───────────────────────────────────────────┘
 *
 * One timer serves the whole way up to OPEN (connect_ms) and then the close handshake. In ENDED the handles are closing;
 * on_closed is called, and the client freed, when the last of them has closed. */
#include "net/ws_client.h"

#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/ensure.h"
#include "base/entropy.h"
#include "base/limits.h"
#include "net/outbox.h"
#include "net/url.h"
#include "proto/http1.h"
#include "proto/ws_frame.h"

#define CLOSE_MS 2000
#define WHY_SIZE 320
#define MASK_BYTES 1024 /* random bytes are fetched in blocks: a frame needs four */

enum state { RESOLVING, CONNECTING, HANDSHAKE, OPEN, CLOSING, ENDED };

struct ws_client {
    uint32_t magic;
    enum state state;
    struct loop *loop;
    struct ws_client_callbacks callbacks;
    void *user;
    uv_tcp_t tcp;
    uv_timer_t timer;
    uv_getaddrinfo_t lookup;
    uv_connect_t connect;
    struct addrinfo *addresses, *address; /* owned; the one being tried */
    struct outbox box;
    struct loop_flush flush;
    struct http1_parser http;
    struct http1_head head;
    struct ws_parser parser;
    struct url url;
    char *path;        /* owned */
    char *subprotocol; /* owned; may be NULL */
    char key[WS_KEY_TEXT_SIZE];
    uint8_t masks[MASK_BYTES];
    size_t masks_used;
    bool is_looking_up;
    bool has_tcp;
    bool timer_is_closed;
    bool handshake_is_good;
    bool sent_close, got_close;
    enum status status; /* why it ended */
    char why[WHY_SIZE];
};

const char *ws_client_url_problem(const char *url)
{
    struct url parsed;
    return url_parse(url, &parsed);
}

/* --- ending --- */

static void free_client(struct ws_client *client)
{
    outbox_free(&client->box);
    ws_parser_free(&client->parser);
    http1_head_free(&client->head);
    uv_freeaddrinfo(client->addresses);
    free(client->path);
    free(client->subprotocol);
    client->magic = 0;
    free(client);
}

static void maybe_done(struct ws_client *client)
{
    if (client->state != ENDED || client->has_tcp || client->is_looking_up || !client->timer_is_closed) {
        return;
    }
    if (client->callbacks.on_closed != NULL) {
        client->callbacks.on_closed(client, client->status, client->why);
    }
    free_client(client);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct ws_client *client = handle->data;
    client->timer_is_closed = true;
    maybe_done(client);
}

static void try_address(struct ws_client *client);

static void on_tcp_closed(uv_handle_t *handle)
{
    struct ws_client *client = handle->data;
    client->has_tcp = false;
    if (client->state == CONNECTING) {
        try_address(client);
        return;
    }
    maybe_done(client);
}

static void end(struct ws_client *client, enum status status, const char *why)
{
    if (client->state == ENDED) {
        return;
    }
    client->state = ENDED;
    client->status = status;
    if (why != client->why) {
        snprintf(client->why, sizeof(client->why), "%s", why);
    }
    client->box.is_closed = true;
    loop_flush_cancel(&client->flush);
    if (client->is_looking_up) {
        uv_cancel((uv_req_t *)&client->lookup);
    }
    uv_close((uv_handle_t *)&client->timer, on_timer_closed);
    if (client->has_tcp && !uv_is_closing((uv_handle_t *)&client->tcp)) {
        uv_close((uv_handle_t *)&client->tcp, on_tcp_closed);
    }
}

static void end_with_uv(struct ws_client *client, const char *what, int error)
{
    char why[WHY_SIZE];
    snprintf(why, sizeof(why), "%s %.*s: %s.", what, 200, client->url.authority, uv_strerror(error));
    end(client, status_of_uv(error), why);
}

static void on_timeout(uv_timer_t *timer)
{
    struct ws_client *client = timer->data;
    if (client->state == CLOSING) {
        end(client, STATUS_CLOSED, "The connection is closed.");
        return;
    }
    char why[WHY_SIZE];
    snprintf(why, sizeof(why), "%.*s did not answer in time.", 200, client->url.authority);
    end(client, STATUS_TIMEOUT, why);
}

/* --- sending --- */

static const uint8_t *next_mask(struct ws_client *client)
{
    if (client->masks_used + 4 > sizeof(client->masks)) {
        random_bytes(client->masks, sizeof(client->masks));
        client->masks_used = 0;
    }
    client->masks_used += 4;
    return client->masks + client->masks_used - 4;
}

static void wake(struct ws_client *client)
{
    if (client->state != ENDED) {
        loop_flush_soon(client->loop, &client->flush);
    }
}

static void begin_close(struct ws_client *client, uint16_t code, const char *reason)
{
    if (client->sent_close) {
        return;
    }
    client->sent_close = true;
    client->state = CLOSING;
    uv_timer_start(&client->timer, on_timeout, CLOSE_MS, 0);
    ws_write_close(outbox_buf(&client->box), code, reason, next_mask(client));
    wake(client);
}

static void send_all(struct ws_client *client)
{
    int error = outbox_flush(&client->box);
    if (error != 0) {
        end_with_uv(client, "The connection broke:", error);
        return;
    }
    if (client->sent_close && client->got_close && outbox_unsent(&client->box) == 0) {
        end(client, STATUS_CLOSED, client->why[0] != '\0' ? client->why : "The connection is closed.");
        return;
    }
    if (client->state == OPEN && outbox_unsent(&client->box) > LIMIT_HTTP_OUT_SIZE) {
        begin_close(client, WS_CLOSE_TRY_AGAIN, "Too much waits to be read.");
    }
}

static void on_flush(struct loop_flush *flush)
{
    send_all((struct ws_client *)(void *)((char *)flush - offsetof(struct ws_client, flush)));
}

static void on_written(struct outbox *box, int error)
{
    struct ws_client *client = (struct ws_client *)(void *)((char *)box - offsetof(struct ws_client, box));
    if (error != 0) {
        end_with_uv(client, "The connection broke:", error);
        return;
    }
    send_all(client);
}

/* --- receiving --- */

static void note_close(struct ws_client *client, uint16_t code, struct slice reason)
{
    snprintf(client->why, sizeof(client->why), "The peer closed the connection (%u%s%.*s).", code,
             reason.len > 0 ? ", " : "", SLICE_ARG(reason));
}

static void feed_frames(struct ws_client *client, char *bytes, size_t len)
{
    struct ws_incoming incoming;
    while (!client->got_close && client->state != ENDED) {
        size_t used;
        enum ws_event event = ws_parse(&client->parser, bytes, len, &used, &incoming);
        bytes += used;
        len -= used;
        switch (event) {
        case WS_EVENT_NONE:
            return;
        case WS_EVENT_MESSAGE:
            if (!client->sent_close && incoming.is_text) {
                client->callbacks.on_message(client, incoming.payload);
            } else if (!client->sent_close) {
                begin_close(client, WS_CLOSE_UNSUPPORTED, "Only text is spoken here.");
            }
            break;
        case WS_EVENT_PING:
            if (!client->sent_close) {
                ws_write_frame(outbox_buf(&client->box), WS_PONG, incoming.payload, next_mask(client));
                wake(client);
            }
            break;
        case WS_EVENT_PONG:
            break;
        case WS_EVENT_CLOSE:
            client->got_close = true;
            if (!client->sent_close) {
                note_close(client, incoming.code, incoming.payload);
            }
            begin_close(client, incoming.code, NULL);
            wake(client);
            break;
        case WS_EVENT_ERROR:
            client->got_close = true;
            snprintf(client->why, sizeof(client->why), "The peer broke the protocol: %.*s",
                     SLICE_ARG(incoming.payload));
            begin_close(client, incoming.code, client->parser.detail);
            wake(client);
            break;
        }
    }
}

static struct http1_head *on_http_begin(void *ctx)
{
    struct ws_client *client = ctx;
    http1_head_reset(&client->head);
    return &client->head;
}

static enum http1_next on_http_head(void *ctx)
{
    struct ws_client *client = ctx;
    const struct http1_head *head = &client->head;
    char expected[WS_ACCEPT_TEXT_SIZE];
    char why[WHY_SIZE];
    if (head->status_code / 100 == 1 && head->status_code != 101) {
        return HTTP1_GO_ON; /* an interim answer; the real one follows */
    }
    if (head->status_code != 101) {
        snprintf(why, sizeof(why), "%.*s answered HTTP %d.", 200, client->url.authority, head->status_code);
        enum status status = head->status_code == 401   ? STATUS_UNAUTHORIZED
                             : head->status_code == 404 ? STATUS_NOT_FOUND
                             : head->status_code == 503 ? STATUS_BUSY
                             : head->status_code >= 500 ? STATUS_UNREACHABLE
                                                        : STATUS_BAD_REQUEST;
        end(client, status, why);
        return HTTP1_PAUSE;
    }
    ws_accept_of(slice_str(client->key), expected);
    bool is_upgraded = http1_list_has(http1_header(head, "upgrade"), "websocket") &&
                       http1_list_has(http1_header(head, "connection"), "upgrade") &&
                       slice_equal_str(http1_header(head, "sec-websocket-accept"), expected) &&
                       http1_header(head, "sec-websocket-extensions").len == 0;
    bool has_subprotocol = slice_equal(http1_header(head, "sec-websocket-protocol"), slice_str(client->subprotocol));
    if (!is_upgraded || !has_subprotocol) {
        end(client, STATUS_BAD_HTTP,
            is_upgraded ? "The peer does not speak the WebSocket subprotocol."
                        : "The peer's WebSocket handshake is wrong.");
        return HTTP1_PAUSE;
    }
    client->handshake_is_good = true;
    return HTTP1_GO_ON;
}

static enum http1_next on_http_body(void *ctx, struct slice piece)
{
    (void)ctx;
    (void)piece;
    return HTTP1_PAUSE;
}

static enum http1_next on_http_complete(void *ctx)
{
    const struct ws_client *client = ctx;
    return client->handshake_is_good ? HTTP1_PAUSE : HTTP1_GO_ON;
}

static const struct http1_events http_events = {on_http_begin, on_http_head, on_http_body, on_http_complete};

static void feed_handshake(struct ws_client *client, char *bytes, size_t len)
{
    size_t used;
    enum status status = http1_parse(&client->http, slice_of(bytes, len), &used);
    if (client->state == ENDED) {
        return;
    }
    if (status == STATUS_AGAIN && client->handshake_is_good) {
        client->state = OPEN;
        uv_timer_stop(&client->timer);
        http1_head_free(&client->head);
        client->callbacks.on_open(client);
        feed_frames(client, bytes + used, len - used);
        return;
    }
    if (status != STATUS_OK) {
        end(client, STATUS_BAD_HTTP, "The peer's answer is not valid HTTP.");
    }
}

static void on_alloc(uv_handle_t *handle, size_t suggested_size, uv_buf_t *ret_buf)
{
    (void)suggested_size;
    struct ws_client *client = handle->data;
    *ret_buf = uv_buf_init(client->loop->read_buffer, LOOP_READ_BUFFER_SIZE);
}

static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buf)
{
    struct ws_client *client = stream->data;
    ensure_magic(client, WS_CLIENT_MAGIC);
    if (size == 0 || client->state == ENDED) {
        return;
    }
    if (size < 0) {
        if (client->got_close || client->sent_close) {
            end(client, STATUS_CLOSED, client->why[0] != '\0' ? client->why : "The connection is closed.");
        } else if (client->state == HANDSHAKE && size == UV_EOF) {
            end(client, STATUS_CLOSED, "The peer closed the connection during the handshake.");
        } else {
            end_with_uv(client, "The connection broke:", (int)size);
        }
        return;
    }
    if (client->state == HANDSHAKE) {
        feed_handshake(client, buf->base, (size_t)size);
    } else {
        feed_frames(client, buf->base, (size_t)size);
    }
}

/* --- connecting --- */

static void send_handshake(struct ws_client *client)
{
    uint8_t key[16];
    random_bytes(key, sizeof(key));
    ws_key_format(key, client->key);
    struct buf *out = outbox_buf(&client->box);
    buf_printf(out,
               "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
               "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n",
               client->path, client->url.authority, client->key);
    if (client->subprotocol != NULL) {
        buf_printf(out, "Sec-WebSocket-Protocol: %s\r\n", client->subprotocol);
    }
    buf_append_str(out, "\r\n");
    wake(client);
}

static void on_connect(uv_connect_t *connect, int error)
{
    struct ws_client *client = connect->data;
    if (client->state == ENDED) {
        return;
    }
    if (error != 0) {
        client->address = client->address->ai_next;
        if (client->address == NULL) {
            end_with_uv(client, "Cannot connect to", error);
            return;
        }
        uv_close((uv_handle_t *)&client->tcp, on_tcp_closed); /* then the next address is tried */
        return;
    }
    client->state = HANDSHAKE;
    uv_tcp_nodelay(&client->tcp, 1);
    uv_tcp_keepalive(&client->tcp, 1, 60);
    error = uv_read_start((uv_stream_t *)&client->tcp, on_alloc, on_read);
    if (error != 0) {
        end_with_uv(client, "Cannot connect to", error);
        return;
    }
    send_handshake(client);
}

static void try_address(struct ws_client *client)
{
    client->state = CONNECTING;
    uv_tcp_init(&client->loop->uv, &client->tcp);
    client->tcp.data = client;
    client->has_tcp = true;
    client->connect.data = client;
    int error = uv_tcp_connect(&client->connect, &client->tcp, client->address->ai_addr, on_connect);
    if (error != 0) {
        end_with_uv(client, "Cannot connect to", error);
    }
}

static void on_lookup(uv_getaddrinfo_t *lookup, int error, struct addrinfo *addresses)
{
    struct ws_client *client = lookup->data;
    client->is_looking_up = false;
    client->addresses = addresses;
    if (client->state == ENDED) {
        maybe_done(client);
        return;
    }
    if (error != 0) {
        end_with_uv(client, "Cannot find", error);
        return;
    }
    client->address = addresses;
    try_address(client);
}

enum status ws_client_connect(struct loop *loop, const char *url, const char *subprotocol, int64_t connect_ms,
                              const struct ws_client_callbacks *callbacks, void *user, struct ws_client **ret_client)
{
    struct url parsed;
    if (url_parse(url, &parsed) != NULL) {
        return STATUS_INVALID;
    }
    ensure(callbacks->on_open != NULL && callbacks->on_message != NULL);
    struct ws_client *client = calloc(1, sizeof(*client));
    if (client == NULL) {
        return STATUS_NO_MEMORY;
    }
    client->magic = WS_CLIENT_MAGIC;
    client->loop = loop;
    client->callbacks = *callbacks;
    client->user = user;
    client->url = parsed;
    client->masks_used = sizeof(client->masks);
    client->flush.flush = on_flush;
    outbox_init(&client->box, (uv_stream_t *)&client->tcp, NULL);
    client->box.on_written = on_written;
    http1_head_init(&client->head);
    http1_parser_init(&client->http, true, &http_events, client);
    ws_parser_init(&client->parser, false, LIMIT_WS_MESSAGE_SIZE);
    bool needs_slash = parsed.path_len == 0 || parsed.path[0] != '/';
    client->path = malloc(parsed.path_len + 2);
    client->subprotocol = subprotocol != NULL ? strdup(subprotocol) : NULL;
    if (client->path == NULL || (subprotocol != NULL && client->subprotocol == NULL)) {
        free_client(client);
        return STATUS_NO_MEMORY;
    }
    snprintf(client->path, parsed.path_len + 2, "%s%.*s", needs_slash ? "/" : "", (int)parsed.path_len, parsed.path);
    client->url.path = NULL; /* the caller's text */

    char port[8];
    snprintf(port, sizeof(port), "%u", parsed.port);
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    client->lookup.data = client;
    int error = uv_getaddrinfo(&loop->uv, &client->lookup, on_lookup, parsed.host, port, &hints);
    if (error != 0) {
        free_client(client);
        return status_of_uv(error);
    }
    client->is_looking_up = true;
    uv_timer_init(&loop->uv, &client->timer);
    client->timer.data = client;
    uv_timer_start(&client->timer, on_timeout, connect_ms > 0 ? (uint64_t)connect_ms : 1, 0);
    *ret_client = client;
    return STATUS_OK;
}

void *ws_client_user(const struct ws_client *client)
{
    ensure_magic(client, WS_CLIENT_MAGIC);
    return client->user;
}

void ws_client_send_text(struct ws_client *client, struct slice message)
{
    ensure_magic(client, WS_CLIENT_MAGIC);
    if (client->state != OPEN) {
        return;
    }
    ws_write_frame(outbox_buf(&client->box), WS_TEXT, message, next_mask(client));
    wake(client);
}

size_t ws_client_unsent_size(const struct ws_client *client)
{
    ensure_magic(client, WS_CLIENT_MAGIC);
    return client->state == OPEN || client->state == CLOSING ? outbox_unsent(&client->box) : 0;
}

void ws_client_close(struct ws_client *client)
{
    ensure_magic(client, WS_CLIENT_MAGIC);
    if (client->state == OPEN) {
        begin_close(client, WS_CLOSE_NORMAL, NULL);
    } else if (client->state != CLOSING) {
        end(client, STATUS_CLOSED, "The connection was given up.");
    }
}
