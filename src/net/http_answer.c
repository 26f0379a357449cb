/* http_answer.c - what handlers read from a request and write as its answer.
 *
 * Nothing here writes to a socket, parses or closes: bytes are appended and the connection is woken for its turn. That
 * is why handlers may answer from anywhere, also from inside the parser's callbacks. */
#include <poll.h>

#include "net/http_internal.h"

static struct request *request_of_const(const struct http_request *pub)
{
    ensure_magic(pub, HTTP_REQUEST_MAGIC);
    return (struct request *)(uintptr_t)pub;
}

struct slice http_header(const struct http_request *request, const char *lower_name)
{
    return http1_header(&request_of_const(request)->head, lower_name);
}

bool http_header_once(const struct http_request *request, const char *lower_name, struct slice *ret)
{
    return http1_header_once(&request_of_const(request)->head, lower_name, ret);
}

bool http_query_param(const struct http_request *request, const char *name, struct buf *scratch, struct slice *ret)
{
    struct slice raw;
    if (!http1_query_find(request->query, name, &raw)) {
        return false;
    }
    bool has_escapes =
        raw.len > 0 && (memchr(raw.data, '%', raw.len) != NULL || memchr(raw.data, '+', raw.len) != NULL);
    if (!has_escapes) {
        *ret = raw;
        return true;
    }
    size_t begin = scratch->len;
    http1_percent_decode(raw, true, scratch);
    *ret = slice_of(scratch->data + begin, scratch->len - begin);
    return true;
}

void http_percent_decode(struct slice text, bool plus_is_space, struct buf *out)
{
    http1_percent_decode(text, plus_is_space, out);
}

enum status http_keep_body(struct http_request *pub)
{
    struct request *request = request_of(pub);
    if (pub->body.len == 0 || pub->body.data == request->body.data) {
        return STATUS_OK;
    }
    struct body_in_hand *in_hand = pub->is_gone ? NULL : pub->connection->in_hand;
    if (in_hand != NULL && in_hand->body.data == pub->body.data) {
        buf_free(&request->body);
        request->body = in_hand->body;
        request->body_room = in_hand->room;
        *in_hand = (struct body_in_hand){.body = {0}};
        return STATUS_OK;
    }
    buf_reset(&request->body);
    if (buf_reserve(&request->body, pub->body.len + LOOP_READ_PADDING_SIZE) != STATUS_OK) {
        buf_reset(&request->body);
        return STATUS_NO_MEMORY;
    }
    buf_append_slice(&request->body, pub->body);
    pub->body = buf_slice(&request->body);
    return STATUS_OK;
}

/* Where the bytes of this answer go: out, when its turn has come. */
static struct buf *sink_of(struct request *request)
{
    struct http_connection *connection = request->pub.connection;
    return connection->first == request ? outbox_buf(&connection->box) : &request->answer;
}

/* After an append to an answer whose turn has not come. */
static void note_held(struct request *request)
{
    if (request->pub.connection->first != request) {
        request->pub.connection->held_size += request->answer.len - request->held;
        request->held = request->answer.len;
    }
}

/* Whether the connection ends with this answer, and if so, that it does. */
static bool decide_close(struct request *request)
{
    struct http_connection *connection = request->pub.connection;
    bool close = !request->head.keeps_alive;
    if (connection->receiving == request) {
        /* Answered early. A sender that still waits for 100 Continue may send the body or not, so nobody knows what
         * its next bytes mean (RFC 9110 10.1.1); and a sender of a long rest had better stop. */
        bool may_send_or_not = request->head.expects_continue && !request->was_continued && request->body_size == 0;
        bool is_long =
            !request->head.is_chunked && request->head.content_length - request->body_size > HTTP_DROP_KEEP_SIZE;
        close = close || (request->head.has_body && (may_send_or_not || is_long));
        connection->drop_by_ms = (int64_t)uv_now(&connection->server->loop->uv) + connection->server->config.drop_ms;
    }
    if (connection->server->is_closing && connection->last == request) {
        close = true;
    }
    if (connection->is_ending && connection->last == request) {
        close = true;
    }
    if (close && connection->last == request) {
        connection->is_ending = true;
    }
    return close;
}

static void write_head(struct request *request, int status, const char *content_type, struct slice headers,
                       uint64_t length)
{
    struct http_connection *connection = request->pub.connection;
    bool has_content = status != 204 && status != 304;
    struct http1_answer_head head = {
        .status = status,
        .date = connection->server->date,
        .content_type = has_content ? content_type : NULL,
        .length = has_content ? length : HTTP1_LENGTH_NONE,
        .headers = headers,
    };
    if (head.length == HTTP1_LENGTH_CHUNKED && request->head.minor == 0) {
        head.length = HTTP1_LENGTH_NONE; /* HTTP/1.0: ended by the end of the connection */
        request->head.keeps_alive = false;
    }
    request->answer_is_chunked = head.length == HTTP1_LENGTH_CHUNKED;
    request->answer_has_length = has_content && length != HTTP1_LENGTH_CHUNKED;
    request->answer_left = length;
    request->has_begun = true;
    if (decide_close(request)) {
        head.connection = HTTP1_CONNECTION_CLOSE;
    } else if (request->head.minor == 0) {
        head.connection = HTTP1_CONNECTION_KEEP_ALIVE;
    }
    http1_write_head(sink_of(request), &head);
}

/* The handler is done with the request. */
static void finish(struct request *request)
{
    struct http_connection *connection = request->pub.connection;
    if (request->is_shown) {
        connection->server->stats.in_flight--;
    }
    request->is_answered = true;
    request->on_drained = NULL;
    note_held(request);
    if (connection->upgrading == request) {
        connection->upgrading = NULL;
    }
    connection_advance(connection);
    connection_wake(connection);
}

/* An answer to a connection that died: all that is left is to free the request. */
static bool drop_when_gone(struct request *request)
{
    if (!request->pub.is_gone) {
        ensure(!request->is_answered);
        return false;
    }
    server_give_request(NULL, request);
    return true;
}

void http_answer(struct http_request *pub, const struct http_answer *answer)
{
    struct request *request = request_of(pub);
    if (drop_when_gone(request)) {
        return;
    }
    ensure(!request->has_begun);
    write_head(request, answer->status, answer->content_type, answer->headers, answer->body.len);
    if (request->head.method != HTTP1_HEAD && answer->status != 204 && answer->status != 304) {
        buf_append_slice(sink_of(request), answer->body);
    }
    finish(request);
}

void http_answer_begin(struct http_request *pub, int status, const char *content_type, struct slice headers,
                       uint64_t length)
{
    struct request *request = request_of(pub);
    if (pub->is_gone) {
        return;
    }
    ensure(!request->has_begun && !request->is_answered);
    write_head(request, status, content_type, headers, length);
    connection_wake(pub->connection);
}

bool http_answer_write(struct http_request *pub, struct slice piece)
{
    struct request *request = request_of(pub);
    if (pub->is_gone) {
        return true;
    }
    ensure(request->has_begun && !request->is_answered);
    if (request->answer_has_length) {
        ensure(piece.len <= request->answer_left);
        request->answer_left -= piece.len;
    }
    struct buf *out = sink_of(request);
    if (request->head.method != HTTP1_HEAD && piece.len > 0) {
        if (request->answer_is_chunked) {
            http1_write_chunk_size(out, piece.len);
        }
        buf_append_slice(out, piece);
        if (request->answer_is_chunked) {
            buf_append(out, "\r\n", 2);
        }
    }
    connection_wake(pub->connection);
    note_held(request);
    size_t unsent = out == &request->answer ? pub->connection->held_size : outbox_unsent(&pub->connection->box);
    if (unsent > budget_stream_size(pub->connection->server)) {
        request->wants_room = true;
    }
    return !request->wants_room;
}

void http_answer_end(struct http_request *pub)
{
    struct request *request = request_of(pub);
    if (drop_when_gone(request)) {
        return;
    }
    ensure(request->has_begun);
    if (request->head.method != HTTP1_HEAD) {
        if (request->answer_is_chunked) {
            buf_append_str(sink_of(request), "0\r\n\r\n");
        } else if (request->answer_has_length && request->answer_left > 0) {
            pub->connection->is_broken = true;
        }
    }
    finish(request);
}

void http_on_drained(struct http_request *pub, void (*on_drained)(struct http_request *request))
{
    request_of(pub)->on_drained = on_drained;
}

void http_body_pause(struct http_request *pub, bool pause)
{
    struct request *request = request_of(pub);
    request->is_paused = pause;
    if (!pub->is_gone) {
        connection_wake(pub->connection);
    }
}

void answer_refusal(struct request *request, enum status status, int http_status, const char *detail,
                    struct slice headers)
{
    struct http_server *server = request->pub.connection->server;
    struct buf body;
    buf_init(&body, 65536);
    if (server->callbacks.on_refused != NULL) {
        server->callbacks.on_refused(server->callbacks.ctx, status, detail, &body);
    }
    server->stats.refused++;
    http_answer(&request->pub, &(struct http_answer){
                                   .status = http_status,
                                   .content_type = body.len > 0 ? "application/problem+json" : NULL,
                                   .headers = headers,
                                   .body = buf_slice(&body),
                               });
    buf_free(&body);
}

bool http_peer_is_there(const struct http_request *pub)
{
    ensure_magic(pub, HTTP_REQUEST_MAGIC);
    uv_os_fd_t fd;
    if (pub->is_gone || pub->connection == NULL || uv_fileno((const uv_handle_t *)&pub->connection->tcp, &fd) != 0) {
        return false;
    }
    struct pollfd look = {.fd = fd, .events = POLLRDHUP};
    return poll(&look, 1, 0) == 0; /* errors and resets are told without being asked for */
}

const char *http_peer(const struct http_request *pub)
{
    ensure_magic(pub, HTTP_REQUEST_MAGIC);
    struct http_connection *connection = pub->connection;
    if (pub->is_gone || connection == NULL) {
        return "gone";
    }
    if (connection->peer[0] == '\0') {
        struct sockaddr_storage address;
        int size = sizeof(address);
        char host[46] = "unknown";
        unsigned port = 0;
        if (uv_tcp_getpeername(&connection->tcp, (struct sockaddr *)&address, &size) == 0) {
            if (address.ss_family == AF_INET6) {
                struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)(void *)&address;
                uv_ip6_name(in6, host, sizeof(host));
                port = ntohs(in6->sin6_port);
            } else {
                struct sockaddr_in *in4 = (struct sockaddr_in *)(void *)&address;
                uv_ip4_name(in4, host, sizeof(host));
                port = ntohs(in4->sin_port);
            }
        }
        snprintf(connection->peer, sizeof(connection->peer), address.ss_family == AF_INET6 ? "[%s]:%u" : "%s:%u", host,
                 port);
    }
    return connection->peer;
}
