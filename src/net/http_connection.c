/* http_connection.c - one connection: bytes in, requests in a queue, answers out in order.
 *
 *            read ─▶ parse ─▶ on_head / on_body / on_request ─▶ (handler, now or later) http_answer
 *                                                                        │ appends, wakes
 *   socket ◀─ flush ◀─ turn ◀────────────────────────────────────────────┘
 *
 * Everything that can change the connection's own state (write, go on parsing, stop reading, close) happens in its
 * turn, at the end of a read callback or from the loop's flush list, never inside a call of a handler. So a handler may
 * answer from anywhere, and one turn sends whatever became ready in it with one write.
 *
 * The parser is paused, and reading with it, while nothing more should come in: a full pipeline, too much unsent
 * output, a streamed body on hold, a WebSocket handshake that is not answered, an HTTP/1.0 request (its answer may end
 * the connection). What was read and not parsed waits in `unread`, at most one read buffer.
 *
 * Invariants: (C1) requests leave the queue in the order in which they came, each when it is both received and answered;
 * (C2) bytes of the first request's answer are in the box, those of all others in their own buffers; (C3) `receiving` is
 * NULL or the last in the queue; (C4) unread holds bytes only while the parser is paused; (C5) a closed connection has
 * no requests: they went to their handlers as orphans; (C6) the memory of a connection goes in its close callback.
 *
 * Ending: is_ending stops the parser for good. Once the last answer is sent, the sending side is shut down and what the
 * peer still sends is read and dropped for a while (config.drop_ms), because closing a socket with unread bytes resets it
 * and destroys the answer on its way (RFC 9112 9.6). The rest of a body that was answered early is dropped for as long,
 * and when it ends in time the connection goes on. */
#include <assert.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "net/http_internal.h"

/* --- requests --- */

static void queue_append(struct http_connection *connection, struct request *request)
{
    request->next = NULL;
    if (connection->last != NULL) {
        connection->last->next = request;
    } else {
        connection->first = request;
    }
    connection->last = request;
    connection->request_count++;
}

static struct request *queue_pop(struct http_connection *connection)
{
    struct request *request = connection->first;
    connection->first = request->next;
    if (connection->first == NULL) {
        connection->last = NULL;
    }
    connection->request_count--;
    request->next = NULL;
    return request;
}

static struct request *new_request(struct http_connection *connection)
{
    struct request *request = server_take_request(connection->server);
    if (request != NULL) {
        request->pub.connection = connection;
        queue_append(connection, request);
    }
    return request;
}

/* The connection will never answer this request. Its handler is told, and frees it by answering; a request that no handler
 * has seen, or whose handler has no way to hear of it, is freed here. It must be out of the queue. */
static void orphan(struct http_connection *connection, struct request *request)
{
    struct http_server *server = connection->server;
    budget_give_room(server, &request->body_room);
    connection->held_size -= request->held;
    request->held = 0;
    if (connection->receiving == request) {
        budget_leave_line(connection);
        connection->receiving = NULL;
    }
    if (connection->upgrading == request) {
        connection->upgrading = NULL;
    }
    if (!request->is_shown || request->is_answered) {
        server_give_request(server, request);
        return;
    }
    server->stats.in_flight--;
    request->server = NULL;
    request->pub.is_gone = true;
    request->pub.connection = NULL;
    bool was_complete = request->is_received;
    if (request->pub.on_gone != NULL) {
        request->pub.on_gone(&request->pub);
    } else if (!was_complete) {
        server_give_request(NULL, request);
    }
}

static void orphan_all(struct http_connection *connection)
{
    while (connection->first != NULL) {
        orphan(connection, queue_pop(connection));
    }
    ensure(connection->receiving == NULL && connection->upgrading == NULL);
}

void connection_advance(struct http_connection *connection)
{
    while (connection->first != NULL && connection->first->is_answered && connection->first->is_received) {
        struct request *request = queue_pop(connection);
        server_give_request(connection->server, request);
        struct request *next = connection->first;
        if (next == NULL) {
            return;
        }
        connection->held_size -= next->held;
        next->held = 0;
        if (next->answer.len > 0) {
            buf_append_slice(outbox_buf(&connection->box), buf_slice(&next->answer));
            connection->is_broken = connection->is_broken || next->answer.failed;
            next->answer.cap > LIMIT_HTTP_SMALL_SIZE ? buf_free(&next->answer) : buf_reset(&next->answer);
        }
        if (next->wants_continue && !next->is_received && !next->has_begun) {
            buf_append_str(outbox_buf(&connection->box), "HTTP/1.1 100 Continue\r\n\r\n");
        }
    }
}

/* Puts a request of the server's own in the place of one that a handler knows. */
static struct request *replace(struct http_connection *connection, struct request *request)
{
    struct request *carrier = server_take_request(connection->server);
    if (carrier == NULL) {
        return NULL;
    }
    carrier->pub.connection = connection;
    carrier->head.method = request->head.method;
    carrier->head.minor = request->head.minor;
    carrier->head.has_body = request->head.has_body;
    carrier->head.is_chunked = request->head.is_chunked;
    carrier->head.keeps_alive = request->head.keeps_alive;
    carrier->head.expects_continue = request->head.expects_continue;
    carrier->head.content_length = request->head.content_length;
    carrier->body_size = request->body_size;
    carrier->was_continued = request->was_continued;
    carrier->is_received = request->is_received;
    carrier->next = request->next;
    struct request **link = &connection->first;
    while (*link != request) {
        link = &(*link)->next;
    }
    *link = carrier;
    if (connection->last == request) {
        connection->last = carrier;
    }
    bool was_receiving = connection->receiving == request;
    orphan(connection, request);
    if (was_receiving) {
        connection->receiving = carrier;
    }
    return carrier;
}

void connection_refuse(struct http_connection *connection, struct request *request, enum status status,
                       const char *detail)
{
    if (request->is_answered) {
        return;
    }
    if (request->has_begun) {
        connection->is_broken = true; /* half an answer is out; only the end of the connection can say so */
        return;
    }
    if (request->is_shown) {
        request = replace(connection, request);
        if (request == NULL) {
            connection->is_broken = true;
            return;
        }
    }
    struct slice headers = status == STATUS_BUSY ? SLICE("Retry-After: 1\r\n") : (struct slice){NULL, 0};
    answer_refusal(request, status, status_http(status), detail, headers);
}

/* The stream cannot be read any further: answer, after the requests before it, and end. */
static void refuse_stream(struct http_connection *connection, enum status status, const char *detail)
{
    connection->is_ending = true;
    struct request *request = connection->receiving;
    if (request == NULL) {
        request = new_request(connection);
        if (request == NULL) {
            connection->is_broken = true;
            return;
        }
    }
    if (!request->is_answered && !request->has_begun && request->is_shown) {
        request = replace(connection, request);
        if (request == NULL) {
            connection->is_broken = true;
            return;
        }
    }
    connection->receiving = NULL;
    request->is_received = true;
    request->head.keeps_alive = false;
    if (request->is_answered) {
        connection_advance(connection);
        return;
    }
    connection_refuse(connection, request, status, detail);
}

/* --- the parser's events --- */

static struct http1_head *on_begin(void *ctx)
{
    struct http_connection *connection = ctx;
    connection->receiving = new_request(connection);
    if (connection->receiving == NULL) {
        return NULL;
    }
    connection->request_number++;
    connection->drop_by_ms = 0;
    connection->body_begun_ms = (int64_t)uv_now(&connection->server->loop->uv);
    return &connection->receiving->head;
}

/* origin-form, absolute-form (the authority is skipped, RFC 9112 3.2.2) or "*"; the parser has seen that it is one of them. */
static void split_target(struct request *request)
{
    struct slice target = http1_target(&request->head);
    request->pub.target = target;
    struct slice path = target;
    if (path.len > 0 && path.data[0] != '/' && path.data[0] != '*') {
        const char *scheme_end = memmem(path.data, path.len, "://", 3);
        size_t skip = scheme_end != NULL ? (size_t)(scheme_end - path.data) + 3 : 0;
        while (skip < path.len && path.data[skip] != '/' && path.data[skip] != '?') {
            skip++;
        }
        path = slice_of(path.data + skip, path.len - skip);
    }
    const char *question = path.len > 0 ? memchr(path.data, '?', path.len) : NULL;
    if (question != NULL) {
        request->pub.query = slice_of(question + 1, path.len - (size_t)(question - path.data) - 1);
        path.len = (size_t)(question - path.data);
    }
    request->pub.path = path.len > 0 ? path : SLICE("/");
}

static enum http1_next pause_if(bool condition)
{
    return condition ? HTTP1_PAUSE : HTTP1_GO_ON;
}

/* 100 Continue, now or when its turn comes. */
static void ask_for_body(struct http_connection *connection, struct request *request)
{
    if (request->head.expects_continue && request->head.minor > 0 && !request->was_continued) {
        request->was_continued = true;
        request->wants_continue = connection->first != request;
        if (connection->first == request) {
            buf_append_str(outbox_buf(&connection->box), "HTTP/1.1 100 Continue\r\n\r\n");
        }
    }
}

/* Room for a body. False: it has to wait, or it was refused and is answered. */
static bool has_room(struct http_connection *connection, struct request *request, uint64_t size)
{
    enum http_room room = budget_take_room(connection, request, size);
    if (room == HTTP_ROOM_NONE) {
        connection_refuse(connection, request, STATUS_BUSY, "The hub has no memory free for the body now.");
    }
    return room == HTTP_ROOM_MADE;
}

void connection_admitted(struct http_connection *connection)
{
    connection->body_begun_ms = (int64_t)uv_now(&connection->server->loop->uv); /* it was not slow, it waited */
    ask_for_body(connection, connection->receiving);
    connection_wake(connection);
}

static enum http1_next on_head(void *ctx)
{
    struct http_connection *connection = ctx;
    struct http_server *server = connection->server;
    struct request *request = connection->receiving;
    const struct http1_head *head = &request->head;
    static_assert((int)HTTP_GET == (int)HTTP1_GET && (int)HTTP_OTHER == (int)HTTP1_OTHER, "the same order of methods");
    request->pub.method = (enum http_method)head->method;
    request->pub.has_body = head->has_body;
    request->pub.content_length = head->content_length;
    request->pub.wants_upgrade = head->wants_websocket;
    split_target(request);
    server->stats.requests++;
    if (budget_is_over(server)) {
        connection_refuse(connection, request, STATUS_BUSY, "The hub has no memory free for another request now.");
        return HTTP1_GO_ON;
    }
    if (server->callbacks.on_head != NULL) {
        request->is_shown = true;
        server->stats.in_flight++;
        request->mode = server->callbacks.on_head(server->callbacks.ctx, &request->pub);
    }
    if (request->mode == HTTP_BODY_ANSWERED) {
        ensure(request->is_answered);
    }
    if (request->is_answered || !head->has_body) {
        return HTTP1_GO_ON;
    }
    if (request->mode == HTTP_BODY_BUFFER && !head->is_chunked && head->content_length > server->config.body_size_max) {
        char detail[96];
        snprintf(detail, sizeof(detail), "The body is larger than the limit of %zu bytes.",
                 server->config.body_size_max);
        connection_refuse(connection, request, STATUS_TOO_LARGE, detail);
        return HTTP1_GO_ON;
    }
    bool is_large = !head->is_chunked && head->content_length > LIMIT_HTTP_SMALL_SIZE;
    if (request->mode == HTTP_BODY_BUFFER && is_large && !has_room(connection, request, head->content_length)) {
        return pause_if(!request->is_answered);
    }
    ask_for_body(connection, request);
    return pause_if(request->is_paused);
}

static bool may_drop(const struct http_connection *connection)
{
    return (int64_t)uv_now(&connection->server->loop->uv) < connection->drop_by_ms;
}

/* Bytes of a body that nobody wants any more. */
static enum http1_next drop_body(struct http_connection *connection)
{
    if (!may_drop(connection)) {
        connection->is_ending = true;
        return HTTP1_PAUSE;
    }
    return HTTP1_GO_ON;
}

static enum http1_next on_body(void *ctx, struct slice piece)
{
    struct http_connection *connection = ctx;
    struct http_server *server = connection->server;
    struct request *request = connection->receiving;
    if (request->is_answered) {
        request->body_size += piece.len;
        return drop_body(connection);
    }
    if (request->mode == HTTP_BODY_STREAM) {
        request->body_size += piece.len;
        server->callbacks.on_body(server->callbacks.ctx, &request->pub, piece);
        /* The handler may have answered, then the request stays in the queue until it is received. */
        return pause_if(request->is_paused && !request->is_answered);
    }
    if (request->body_size == 0 && piece.len == request->head.content_length) {
        request->body_size = piece.len;
        request->pub.body = piece; /* the usual case: all of it in one read, used where it lies */
        return HTTP1_GO_ON;
    }
    if (piece.len > server->config.body_size_max - request->body_size) {
        char detail[96];
        snprintf(detail, sizeof(detail), "The body is larger than the limit of %zu bytes.",
                 server->config.body_size_max);
        connection_refuse(connection, request, STATUS_TOO_LARGE, detail);
        return HTTP1_GO_ON;
    }
    if (request->body_room == 0 && !has_room(connection, request, LIMIT_HTTP_SMALL_SIZE)) {
        return HTTP1_GO_ON;
    }
    request->body_size += piece.len;
    buf_append_slice(&request->body, piece);
    if (request->body.failed) {
        connection_refuse(connection, request, STATUS_NO_MEMORY, "There is no memory for the body.");
        return HTTP1_GO_ON;
    }
    bool is_outgrown =
        request->body_size > request->body_room; /* in chunks, so that nobody knew; this piece is in already */
    if (is_outgrown && !has_room(connection, request, server->config.body_size_max)) {
        return pause_if(!request->is_answered);
    }
    return HTTP1_GO_ON;
}

static bool is_full(const struct http_connection *connection)
{
    size_t unsent = outbox_unsent(&connection->box) + connection->held_size;
    if (connection->request_count >= LIMIT_HTTP_PIPELINE || unsent > LIMIT_HTTP_UNREAD_SIZE) {
        return true;
    }
    return connection->server->budget.is_pressed && connection->receiving == NULL &&
           (connection->request_count > 0 || unsent > LIMIT_HTTP_SMALL_SIZE);
}

/* The handler has looked at the body, and has not kept it. */
static void let_go(struct http_connection *connection, struct body_in_hand *in_hand)
{
    connection->in_hand = NULL;
    if (in_hand->room > 0) {
        buf_free(&in_hand->body);
        budget_give_room(connection->server, &in_hand->room);
    }
}

static enum http1_next on_complete(void *ctx)
{
    struct http_connection *connection = ctx;
    struct http_server *server = connection->server;
    struct request *request = TAKE(connection->receiving);
    struct body_in_hand in_hand = {.body = {0}};
    bool is_http10 = request->head.minor == 0;
    if (!request->head.keeps_alive) {
        connection->is_ending = true;
    }
    request->is_received = true;
    if (request->is_answered) {
        connection_advance(connection);
        return pause_if(is_http10 || is_full(connection));
    }
    if (request->mode == HTTP_BODY_BUFFER && request->body.len > 0) {
        if (buf_reserve(&request->body, LOOP_READ_PADDING_SIZE) != STATUS_OK) {
            connection_refuse(connection, request, STATUS_NO_MEMORY, "There is no memory for the body.");
            return HTTP1_GO_ON;
        }
        request->pub.body = buf_slice(&request->body);
        in_hand.body = request->body;
        in_hand.room = request->body_room;
        request->body_room = 0;
        buf_init(&request->body, in_hand.body.max);
        connection->in_hand = &in_hand;
    }
    if (request->head.wants_websocket) {
        connection->upgrading = request;
    }
    if (!request->is_shown) {
        request->is_shown = true;
        server->stats.in_flight++;
    }
    server->callbacks.on_request(server->callbacks.ctx, &request->pub);
    let_go(connection, &in_hand);
    return pause_if(is_http10 || connection->upgrading != NULL || connection->ws != NULL || is_full(connection));
}

static const struct http1_events parser_events = {on_begin, on_head, on_body, on_complete};

/* --- bytes in --- */

/* Feeds the parser; what it does not take is kept as unread. `bytes` may lie in `unread` itself. */
static void parse(struct http_connection *connection, struct slice bytes)
{
    size_t used = 0;
    connection->is_in_parser = true;
    enum status status = http1_parse(&connection->parser, bytes, &used);
    connection->is_in_parser = false;
    bool is_unread = bytes.data == connection->unread.data + connection->unread_at && connection->unread.len > 0;
    if (status == STATUS_AGAIN) {
        connection->is_parser_paused = true;
        if (is_unread) {
            connection->unread_at += used;
        } else if (used < bytes.len) {
            buf_append(&connection->unread, bytes.data + used, bytes.len - used);
            (void)buf_reserve(&connection->unread, LOOP_READ_PADDING_SIZE);
            connection->is_broken = connection->is_broken || connection->unread.failed;
        }
    } else if (is_unread) {
        connection->unread_at = connection->unread.len;
    }
    if (connection->unread_at == connection->unread.len) {
        connection->unread_at = 0;
        buf_free(&connection->unread);
    }
    if (status != STATUS_OK && status != STATUS_AGAIN) {
        refuse_stream(connection, status, connection->parser.detail);
    }
}

static bool may_parse(const struct http_connection *connection)
{
    const struct request *receiving = connection->receiving;
    if (connection->is_ending || connection->ws != NULL || connection->upgrading != NULL || is_full(connection)) {
        return false;
    }
    if (receiving != NULL) {
        return (!receiving->is_paused && connection->room_wanted == 0) || receiving->is_answered;
    }
    return connection->last == NULL || connection->last->head.minor > 0;
}

static void on_alloc(uv_handle_t *handle, size_t suggested_size, uv_buf_t *ret_buf)
{
    (void)suggested_size;
    struct http_connection *connection = handle->data;
    *ret_buf = uv_buf_init(connection->server->loop->read_buffer, LOOP_READ_BUFFER_SIZE);
}

static void turn(struct http_connection *connection);

/* The peer sends nothing more. It may still read: what it asked for is answered (C1 goes on to hold), unless a request
 * says that this means its end. */
static void on_end(struct http_connection *connection)
{
    connection->saw_end = true;
    if (connection->is_lingering || connection->ws != NULL || connection->is_refusing) {
        connection_abort(connection);
        return;
    }
    for (const struct request *request = connection->first; request != NULL; request = request->next) {
        if (request->pub.end_is_gone && !request->is_answered) {
            connection_abort(connection);
            return;
        }
    }
    connection->is_ending = true;
    struct request *receiving = connection->receiving;
    if (receiving != NULL && !receiving->is_answered) {
        /* It will never be complete. */
        if (receiving->has_begun || connection->first == receiving) {
            connection_abort(connection);
            return;
        }
        struct request **link = &connection->first;
        while (*link != receiving) {
            ensure(*link != NULL); /* C3 */
            connection->last = *link;
            link = &(*link)->next;
        }
        *link = NULL;
        connection->request_count--;
        orphan(connection, receiving);
    }
    turn(connection);
}

static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buf)
{
    struct http_connection *connection = stream->data;
    ensure_magic(connection, HTTP_CONNECTION_MAGIC);
    if (size == 0 || connection->is_closed) {
        return;
    }
    if (size == UV_EOF) {
        on_end(connection);
        return;
    }
    if (size < 0) {
        connection_abort(connection);
        return;
    }
    connection->server->stats.bytes_in += (uint64_t)size;
    if (connection->is_lingering) {
        if (may_drop(connection)) {
            turn(connection); /* its time without a sign of life begins anew */
        } else {
            connection_abort(connection);
        }
        return;
    }
    if (connection->is_refusing || connection->is_ending) {
        connection->peek_left -= (size_t)size < connection->peek_left ? (size_t)size : connection->peek_left;
        if (connection->peek_left == 0) {
            turn(connection); /* stops reading */
        }
        return;
    }
    connection->is_in_turn = true; /* answers given while parsing need no place in the flush list */
    if (connection->ws != NULL) {
        ws_feed(connection->ws, buf->base, (size_t)size);
    } else {
        parse(connection, slice_of(buf->base, (size_t)size));
    }
    connection->is_in_turn = false;
    turn(connection);
}

/* --- the turn --- */

static void set_reading(struct http_connection *connection, bool wanted)
{
    if (wanted == connection->is_reading || connection->is_closed) {
        return;
    }
    connection->is_reading = wanted;
    if (wanted) {
        uv_read_start((uv_stream_t *)&connection->tcp, on_alloc, on_read);
    } else {
        uv_read_stop((uv_stream_t *)&connection->tcp);
    }
}

static void set_phase(struct http_connection *connection, enum phase phase)
{
    int64_t now_ms = (int64_t)uv_now(&connection->server->loop->uv);
    if (phase == connection->phase) {
        /* A head has its time as a whole; everything else begins anew with each sign of life. */
        bool is_same_head = phase == PHASE_HEAD && connection->phase_request == connection->request_number;
        bool is_renewed = phase == PHASE_IDLE || phase == PHASE_BODY || phase == PHASE_HEAD || phase == PHASE_DROP;
        if (!is_renewed || is_same_head || connection->phase_begun_ms == now_ms) {
            return;
        }
    }
    connection->phase = phase;
    connection->phase_begun_ms = now_ms;
    connection->phase_request = connection->request_number;
    connection->phase_unsent = outbox_unsent(&connection->box);
    connection->phase_sent = outbox_sent(&connection->box);
    list_remove(&connection->node);
    list_append(&connection->server->phases[phase], &connection->node);
}

static enum phase phase_of(const struct http_connection *connection)
{
    const struct request *receiving = connection->receiving;
    if (connection->is_lingering || connection->is_refusing) {
        return connection->is_refusing ? PHASE_REFUSE : PHASE_DROP;
    }
    if (connection->ws != NULL && ws_is_closing(connection->ws)) {
        return PHASE_WS_CLOSE;
    }
    if (connection->room_wanted > 0) {
        return PHASE_ROOM;
    }
    if (connection->box.is_writing) {
        return PHASE_WRITE;
    }
    if (connection->ws != NULL || connection->is_parser_paused || connection->is_ending) {
        return PHASE_NONE;
    }
    if (receiving != NULL && !connection->parser.in_head) {
        return receiving->is_answered && connection->first == receiving ? PHASE_DROP : PHASE_BODY;
    }
    if (receiving != NULL) {
        return PHASE_HEAD;
    }
    return connection->first == NULL ? PHASE_IDLE : PHASE_NONE;
}

/* Everything is sent: say so to the peer, and listen a little longer. True when the connection is closed already. */
static bool linger(struct http_connection *connection)
{
    if (connection->receiving != NULL) {
        struct request *request = TAKE(connection->receiving);
        ensure(connection->first == request && request->is_answered);
        server_give_request(connection->server, queue_pop(connection));
    }
    bool has_dropped_enough = connection->drop_by_ms != 0 && !may_drop(connection);
    if (connection->saw_end || has_dropped_enough) {
        connection_abort(connection);
        return true;
    }
    if (connection->drop_by_ms == 0) {
        connection->drop_by_ms = (int64_t)uv_now(&connection->server->loop->uv) + connection->server->config.drop_ms;
    }
    uv_os_fd_t fd;
    if (uv_fileno((uv_handle_t *)&connection->tcp, &fd) != 0 || shutdown(fd, SHUT_WR) != 0) {
        connection_abort(connection);
        return true;
    }
    buf_free(&connection->unread);
    connection->unread_at = 0;
    connection->is_lingering = true;
    return false;
}

static bool has_all_answered(const struct http_connection *connection)
{
    return connection->first == NULL || (connection->first->is_answered && connection->first == connection->receiving);
}

/* One round of sending and, if that made room, of parsing what waited. True when another round may do more. */
static bool turn_once(struct http_connection *connection)
{
    struct request *first = connection->first;
    int error = outbox_flush(&connection->box);
    if (error != 0 || connection->is_broken) {
        connection_abort(connection);
        return false;
    }
    bool did_something = false;
    if (first != NULL && first->wants_room && !first->is_answered &&
        outbox_unsent(&connection->box) <= budget_stream_size(connection->server) / 2) {
        first->wants_room = false;
        if (first->on_drained != NULL) {
            first->on_drained(&first->pub);
            did_something = true;
        }
    }
    if (connection->ws != NULL && connection->unread.len > 0) {
        /* What came in one read with the handshake. The peer spoke early, which it may. */
        struct buf unread = connection->unread;
        size_t at = connection->unread_at;
        buf_init(&connection->unread, LOOP_READ_BUFFER_SIZE + LOOP_READ_PADDING_SIZE);
        connection->unread_at = 0;
        ws_feed(connection->ws, unread.data + at, unread.len - at);
        buf_free(&unread);
        did_something = true;
    }
    if (connection->is_parser_paused && may_parse(connection)) {
        connection->is_parser_paused = false;
        http1_parser_resume(&connection->parser);
        /* Also without bytes: the end of a body may be all that was held back. */
        parse(connection, slice_of(connection->unread.data + connection->unread_at,
                                   connection->unread.len - connection->unread_at));
        did_something = true;
    }
    return did_something;
}

static bool may_read(const struct http_connection *connection)
{
    if (connection->saw_end) {
        return false;
    }
    if (connection->is_lingering || connection->ws != NULL) {
        return true;
    }
    if (connection->is_ending) {
        return connection->peek_left > 0; /* only to see whether the peer is still there */
    }
    return !connection->is_parser_paused && !is_full(connection);
}

/* Rounds of one turn. More would let one fast reader of a big answer keep the loop from everybody else. */
#define ROUNDS_MAX 16

static void turn(struct http_connection *connection)
{
    if (connection->is_closed) {
        return;
    }
    loop_flush_cancel(&connection->flush);
    connection->is_in_turn = true;
    int rounds = 0;
    bool did_something;
    do {
        did_something = turn_once(connection);
        if (connection->is_closed) {
            return;
        }
    } while (did_something && ++rounds < ROUNDS_MAX);
    connection->is_in_turn = false;
    if (did_something) {
        connection_wake(connection);
    }
    bool is_all_sent = outbox_unsent(&connection->box) == 0;
    if (connection->ws != NULL) {
        ws_check_unsent(connection->ws);
        if (ws_is_over(connection->ws) && is_all_sent && connection->first == NULL) {
            connection_abort(connection);
            return;
        }
    } else if (connection->is_ending && is_all_sent && !connection->is_lingering && has_all_answered(connection) &&
               linger(connection)) {
        return;
    }
    set_reading(connection, may_read(connection));
    set_phase(connection, phase_of(connection));
    budget_settle(connection);
}

static void on_flush(struct loop_flush *flush)
{
    turn((struct http_connection *)(void *)((char *)flush - offsetof(struct http_connection, flush)));
}

void connection_wake(struct http_connection *connection)
{
    if (!connection->is_in_turn && !connection->is_closed) {
        loop_flush_soon(connection->server->loop, &connection->flush);
    }
}

static void on_written(struct outbox *box, int error)
{
    struct http_connection *connection =
        (struct http_connection *)(void *)((char *)box - offsetof(struct http_connection, box));
    if (error != 0) {
        connection_abort(connection);
        return;
    }
    turn(connection);
}

/* --- life and death --- */

static void on_closed(uv_handle_t *handle)
{
    struct http_connection *connection = handle->data;
    ensure_magic(connection, HTTP_CONNECTION_MAGIC);
    outbox_free(&connection->box);
    buf_free(&connection->unread);
    connection->magic = 0;
    server_connection_closed(connection->server, connection);
    free(connection);
}

void connection_abort(struct http_connection *connection)
{
    if (connection->is_closed) {
        return;
    }
    connection->is_closed = true;
    connection->box.is_closed = true;
    loop_flush_cancel(&connection->flush);
    uv_close((uv_handle_t *)&connection->tcp, on_closed);
    orphan_all(connection);
    budget_forget(connection);
    if (connection->ws != NULL) {
        ws_gone(TAKE(connection->ws));
    }
}

void connection_timed_out(struct http_connection *connection)
{
    switch (connection->phase) {
    case PHASE_HEAD:
        refuse_stream(connection, STATUS_REQUEST_TIMEOUT, "The head of the request took too long to arrive.");
        connection->is_parser_paused = true;
        connection_wake(connection);
        return;
    case PHASE_BODY:
        if (connection->receiving->is_answered) {
            break;
        }
        refuse_stream(connection, STATUS_REQUEST_TIMEOUT, "The body of the request paused for too long.");
        connection->is_parser_paused = true;
        connection_wake(connection);
        return;
    case PHASE_ROOM:
        connection->phase = PHASE_NONE;
        budget_leave_line(connection);
        connection_refuse(connection, connection->receiving, STATUS_BUSY,
                          "The hub has had no memory free for the body for too long.");
        connection_wake(connection);
        return;
    case PHASE_WRITE:
        if (outbox_unsent(&connection->box) < connection->phase_unsent) {
            connection->phase = PHASE_NONE; /* it does read, if slowly: begin anew */
            set_phase(connection, PHASE_WRITE);
            return;
        }
        break;
    default:
        break;
    }
    connection_abort(connection);
}

void connection_open(struct http_server *server, int fd, bool is_refusing)
{
    struct http_connection *connection = calloc(1, sizeof(*connection));
    if (connection == NULL) {
        uv_fs_t request;
        uv_fs_close(NULL, &request, fd, NULL);
        return;
    }
    connection->magic = HTTP_CONNECTION_MAGIC;
    connection->server = server;
    connection->flush.flush = on_flush;
    connection->is_refusing = is_refusing;
    connection->peek_left = HTTP_PEEK_SIZE_MAX;
    list_init(&connection->node);
    buf_init(&connection->unread, LOOP_READ_BUFFER_SIZE + LOOP_READ_PADDING_SIZE);
    http1_parser_init(&connection->parser, false, &parser_events, connection);
    server->stats.accepted++;
    server->stats.connections++;
    uv_tcp_init(&server->loop->uv, &connection->tcp);
    connection->tcp.data = connection;
    outbox_init(&connection->box, (uv_stream_t *)&connection->tcp, &server->bufs);
    connection->box.on_written = on_written;
    connection->box.sent_total = &server->stats.bytes_out;
    list_append(&server->phases[PHASE_NONE], &connection->node);
    if (uv_tcp_open(&connection->tcp, fd) != 0) {
        uv_fs_t request;
        uv_fs_close(NULL, &request, fd, NULL);
        connection_abort(connection);
        return;
    }
    uv_tcp_nodelay(&connection->tcp, 1);
    uv_tcp_keepalive(&connection->tcp, 1, 60);
    if (is_refusing) {
        server->refusing++;
        struct request *request = new_request(connection);
        if (request == NULL) {
            connection_abort(connection);
            return;
        }
        request->is_received = true;
        connection->is_ending = true;
        connection_refuse(connection, request, STATUS_BUSY, "The hub has as many connections as it may have.");
    }
    turn(connection);
}
