/* http_server.h - HTTP/1.1 and WebSocket on a loop.
 *
 * A server accepts connections, parses requests (llhttp, strict), and calls a handler with each complete request; the
 * handler answers at once or later, on the loop's thread. Keep-alive and pipelining: answers leave in the order of their
 * requests, whatever order they are given in, and answers ready in one loop turn share one write. Malformed, oversized
 * and slow requests are answered by the server itself through `on_refused`, which only shapes the body (problem+json).
 *
 * Lifetime: a request lives from on_request (or on_head) until its answer is complete, even when the connection
 * dies before; then `is_gone` is set and answers to it are dropped. The server never frees a request that has not been
 * answered. One exception: a request that was seen by on_head, whose on_request has not been called, and that has no
 * on_gone ends silently when its connection dies or its body is refused, for nobody could hear of it.
 *
 * An answer may be given before the body has come (from on_head, from on_body): on_request is then not called, and the
 * rest is read and dropped, for at most config.drop_ms and without a pause of drop_idle_ms; then the connection goes on. If
 * more than 64 MiB are to come, the answer says that it ends.
 *
 * The callbacks may call everything here. Nothing here calls back before it returns. Memory maxima are in limits.h. */
#ifndef SHOAL_NET_HTTP_SERVER_H
#define SHOAL_NET_HTTP_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"
#include "base/status.h"
#include "net/loop.h"

enum http_method { HTTP_GET, HTTP_HEAD, HTTP_POST, HTTP_PUT, HTTP_PATCH, HTTP_DELETE, HTTP_OPTIONS, HTTP_OTHER };

struct http_server;
struct http_connection;
struct ws_connection;

struct http_request {
    uint32_t magic;
    enum http_method method;
    struct slice target; /* as sent */
    struct slice path;   /* before '?', still percent-encoded */
    struct slice query;  /* after '?' */
    struct slice body;   /* complete in on_request; has LIMIT_JSON padding readable behind it. Valid during on_request
                            only, unless http_keep_body was called */
    bool is_gone;        /* the connection died; answer as usual, it is dropped */
    bool end_is_gone;    /* set by the handler of a long poll: take the peer's end of stream as its leaving, although it
                            may still be reading (it then counts as gone and on_gone is called) */
    bool wants_upgrade;  /* a WebSocket handshake */
    bool has_body;
    uint64_t content_length; /* UINT64_MAX when chunked */
    struct http_connection *connection;
    void *user;                                    /* the handler's */
    void (*on_gone)(struct http_request *request); /* set by the handler: called once when the connection dies first */
};

/* Header by lower-case name; empty slice when missing. Valid as long as the request. */
struct slice http_header(const struct http_request *request, const char *lower_name);
/* The same for a field that may stand there once: *ret has NULL data when it is missing; false when it is there again. */
bool http_header_once(const struct http_request *request, const char *lower_name, struct slice *ret);
/* Query parameter, percent-decoded; false when missing. A malformed escape is left as it is. A value with escapes is
 * appended to `scratch` and lives there, any other one lives as long as the request. */
bool http_query_param(const struct http_request *request, const char *name, struct buf *scratch, struct slice *ret);
/* Percent-decodes a path segment or parameter, appended to out. */
void http_percent_decode(struct slice text, bool plus_is_space, struct buf *out);
/* Copies the body so that it lives as long as the request. */
STATUS_MUST_CHECK enum status http_keep_body(struct http_request *request);
/* Peer address as text, for logs; "gone" once the connection is. */
const char *http_peer(const struct http_request *request);

enum http_body_mode {
    HTTP_BODY_BUFFER,  /* collect it (limit: config.body_size_max), then on_request */
    HTTP_BODY_STREAM,  /* call on_body for each piece, then on_request with an empty body */
    HTTP_BODY_ANSWERED /* on_head already answered: the rest of the request is read and dropped */
};

struct http_callbacks {
    /* The head is complete. Decide how the body comes. NULL: always buffered. */
    enum http_body_mode (*on_head)(void *ctx, struct http_request *request);
    /* A piece of a streamed body. */
    void (*on_body)(void *ctx, struct http_request *request, struct slice piece);
    /* The request is complete: answer it now or later, exactly once. */
    void (*on_request)(void *ctx, struct http_request *request);
    /* Writes headers' tail and body of an answer that the server gives by itself (400, 408, 413, 414, 431, 501, 503, 505):
     * appends the body to `body`; content type is application/problem+json. */
    void (*on_refused)(void *ctx, enum status status, const char *detail, struct buf *body);
    /* Memory that belongs to the budget besides, looked at with every tick; NULL: none. */
    uint64_t (*other_size)(void *ctx);
    void *ctx;
};

struct http_config {
    const char *host; /* numeric address or name */
    uint16_t port;    /* 0: any */
    uint32_t connections_max;
    size_t body_size_max;
    uint64_t
        memory_budget; /* of all connections together, see http_budget.c; raised to what four largest bodies need */
    int64_t header_ms, body_idle_ms, idle_ms;
    int64_t room_ms;               /* a large body waits so long for room in the budget */
    int64_t drop_idle_ms, drop_ms; /* for what a peer sends after its answer: at most so long a pause, and in all */
};
void http_config_default(struct http_config *ret_config);

/* Listens. ADDRESS_IN_USE, … The server is owned by the caller: http_server_close, then it frees itself on the loop. */
STATUS_MUST_CHECK enum status http_server_start(struct loop *loop, const struct http_config *config,
                                                const struct http_callbacks *callbacks,
                                                struct http_server **ret_server);
uint16_t http_server_port(const struct http_server *server);
/* Stops accepting; idle connections are closed, WebSockets with 1001, others after the answers they wait for (at most
 * grace_ms). */
void http_server_close(struct http_server *server, int64_t grace_ms);
struct http_server_stats {
    uint64_t accepted, requests, refused, bytes_in, bytes_out;
    uint32_t connections, websockets, in_flight;
    uint64_t buffered, buffered_max, budget; /* bytes charged to the budget, the most of them so far, the budget */
    uint64_t pressed, ended_slow;            /* times that the budget was pressed; connections ended because of it */
    uint32_t waiting;                        /* bodies in line for room */
};
void http_server_stats(const struct http_server *server, struct http_server_stats *ret_stats);
/* Memory that a handler holds for a request, charged to the budget; negative to give it back. */
void http_server_charge(struct http_server *server, int64_t size);
/* Most of the budget is taken: what needs much of it had better come again. */
bool http_server_is_pressed(const struct http_server *server);

/* Whether the peer may still read an answer, asked of the socket itself (one system call): false when it has ended its side
 * or reset the connection, which the loop may not have read yet. */
bool http_peer_is_there(const struct http_request *request);

/* --- answering --- */
struct http_answer {
    int status;
    const char *content_type; /* NULL: none */
    struct slice headers;     /* further header lines, each ended by \r\n; may be empty */
    struct slice body;        /* copied; for HEAD only its length is used */
};
/* The whole answer. Once per request. */
void http_answer(struct http_request *request, const struct http_answer *answer);
/* An answer written in pieces: begin (length UINT64_MAX: chunked), write, end. write returns false when more than
 * LIMIT_HTTP_STREAM_SIZE waits unsent: the piece was taken, now wait for on_drained. Calls after is_gone are dropped
 * (end still ends the request). An end before `length` bytes were written breaks the connection: that is how a failure
 * half-way is told. */
void http_answer_begin(struct http_request *request, int status, const char *content_type, struct slice headers,
                       uint64_t length);
bool http_answer_write(struct http_request *request, struct slice piece);
void http_answer_end(struct http_request *request);
/* Who is called, from the loop, each time there is room again after a write that returned false. */
void http_on_drained(struct http_request *request, void (*on_drained)(struct http_request *request));
/* Stops and resumes reading of a streamed request body (back-pressure). */
void http_body_pause(struct http_request *request, bool pause);

/* --- WebSocket (RFC 6455, no extensions) --- */
struct ws_callbacks {
    void (*on_message)(struct ws_connection *ws, struct slice message, bool is_text); /* padding as for bodies */
    void (*on_closed)(struct ws_connection *ws); /* last call; the connection is gone. Frees user data */
};
/* Accepts the upgrade (answers 101 with the subprotocol). Consumes the request. NULL when the connection is gone, or when
 * it is no handshake that can be accepted: then 400 or 426 has been answered (through on_refused). */
struct ws_connection *ws_accept(struct http_request *request, const char *subprotocol,
                                const struct ws_callbacks *callbacks, void *user);
void *ws_user(const struct ws_connection *ws);
void ws_set_user(struct ws_connection *ws, void *user);
/* Queues a text message; messages queued in one loop turn share a write. Past LIMIT_HTTP_OUT_SIZE unsent the connection
 * is closed (1013). */
void ws_send_text(struct ws_connection *ws, struct slice message);
/* Sends a close frame with the code and closes; on_closed follows. */
void ws_close(struct ws_connection *ws, uint16_t code, const char *reason);
size_t ws_unsent_size(const struct ws_connection *ws);

#endif
