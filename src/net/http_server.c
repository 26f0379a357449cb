/* http_server.c - listening, accepting, time-outs and the pools of the HTTP server.
 *
 * The listening sockets are polled and accepted from here rather than through uv_listen, for one reason: without a
 * free file descriptor libuv either accepts and drops, or spins. Here accepting stops, and is tried again with the next
 * tick or when a connection closes; clients wait in the backlog meanwhile.
 *
 * Time-outs are coarse: every connection is in the list of its phase, oldest first, and a tick of 250 ms looks at the
 * heads of the lists. A timer per connection would cost more than a request.
 *
 * Life: RUNNING ──http_server_close──▶ CLOSING (no listeners; idle connections gone, others until answered or grace)
 * ──last connection and handle closed──▶ freed. */
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "net/http_internal.h"

#define TICK_MS 250
#define BACKLOG 4096
#define ACCEPTS_PER_TURN 64 /* so that a storm of connections leaves time for those there are */
#define REFUSING_MAX 256    /* connections being told 503; any further one is just closed */
#define POOLED_REQUESTS_MAX 1024
#define POOLED_BUF_SIZE_MAX 16384
#define ACCEPT_WARN_MS 10000

void http_config_default(struct http_config *ret_config)
{
    *ret_config = (struct http_config){
        .host = "127.0.0.1",
        .port = 0,
        .connections_max = LIMIT_HTTP_CONNECTIONS,
        .body_size_max = LIMIT_HTTP_BODY_SIZE,
        .memory_budget = LIMIT_MEMORY_BUDGET,
        .header_ms = LIMIT_HTTP_HEADER_MS,
        .body_idle_ms = LIMIT_HTTP_BODY_IDLE_MS,
        .idle_ms = LIMIT_HTTP_IDLE_MS,
        .room_ms = LIMIT_HTTP_ROOM_MS,
        .drop_idle_ms = LIMIT_HTTP_DROP_IDLE_MS,
        .drop_ms = LIMIT_HTTP_DROP_MS,
    };
}

/* --- the pool of requests --- */

struct request *server_take_request(struct http_server *server)
{
    struct request *request = server->free_requests;
    if (request != NULL) {
        server->free_requests = request->next;
        server->free_request_count--;
    } else {
        request = calloc(1, sizeof(*request));
        if (request == NULL) {
            return NULL;
        }
        http1_head_init(&request->head);
        buf_init(&request->answer, OUTBOX_SIZE_MAX);
        buf_init(&request->body, server->config.body_size_max + LOOP_READ_PADDING_SIZE);
    }
    request->pub.magic = HTTP_REQUEST_MAGIC;
    request->server = server;
    request->next = NULL;
    return request;
}

static void trim(struct buf *buf)
{
    buf_reset(buf);
    if (buf->cap > POOLED_BUF_SIZE_MAX) {
        buf_free(buf);
    }
}

static void free_request(struct request *request)
{
    request->pub.magic = 0;
    http1_head_free(&request->head);
    buf_free(&request->answer);
    buf_free(&request->body);
    free(request);
}

void server_give_request(struct http_server *server, struct request *request)
{
    ensure_magic(&request->pub, HTTP_REQUEST_MAGIC);
    if (server != NULL) {
        budget_give_room(server, &request->body_room);
    }
    if (server == NULL || server->free_request_count >= POOLED_REQUESTS_MAX) {
        free_request(request);
        return;
    }
    struct buf answer = request->answer;
    struct buf body = request->body;
    trim(&answer);
    trim(&body);
    http1_head_reset(&request->head);
    /* Everything before the head, which has its own reset and is large. */
    memset(request, 0, offsetof(struct request, head));
    request->answer = answer;
    request->body = body;
    request->next = server->free_requests;
    server->free_requests = request;
    server->free_request_count++;
}

/* --- time --- */

static void refresh_date(struct http_server *server)
{
    int64_t now_s = clock_wall_ns() / NS_PER_S;
    if (now_s != server->date_s && now_s >= 0) {
        server->date_s = now_s;
        http1_format_date(now_s, server->date);
    }
}

int64_t server_timeout_ms(const struct http_server *server, enum phase phase)
{
    switch (phase) {
    case PHASE_IDLE:
        return server->config.idle_ms;
    case PHASE_HEAD:
        return server->config.header_ms;
    case PHASE_BODY:
    case PHASE_WRITE:
        return server->config.body_idle_ms;
    case PHASE_ROOM:
        return server->config.room_ms;
    case PHASE_DROP:
        return server->is_closing ? HTTP_LINGER_CLOSING_MS : server->config.drop_idle_ms;
    case PHASE_REFUSE:
        return HTTP_REFUSE_MS;
    case PHASE_WS_CLOSE:
        return HTTP_WS_CLOSE_MS;
    default:
        return INT64_MAX;
    }
}

static void expire(struct http_server *server, enum phase phase, int64_t now_ms)
{
    struct list *list = &server->phases[phase];
    int64_t timeout_ms = server_timeout_ms(server, phase);
    /* Those that a time-out leaves in the list (a slow reader begins anew) are appended and not met again. */
    struct list *last = list->previous;
    while (!list_is_empty(list)) {
        struct list *node = list->next;
        struct http_connection *connection = connection_of_node(node);
        if (now_ms - connection->phase_begun_ms < timeout_ms) {
            return;
        }
        bool is_last = node == last;
        /* Out of the list before anything else: whatever happens, this walk ends. */
        list_remove(node);
        list_append(&server->phases[PHASE_NONE], node);
        connection_timed_out(connection);
        if (is_last) {
            return;
        }
    }
}

static void set_polling(struct http_server *server, bool wanted);

/* The server goes when nothing of it is left. */
static void free_when_done(struct http_server *server)
{
    if (!server->is_closing || server->handles > 0 || server->stats.connections > 0) {
        return;
    }
    while (server->free_requests != NULL) {
        struct request *request = server->free_requests;
        server->free_requests = request->next;
        free_request(request);
    }
    buf_pool_free(&server->bufs);
    server->magic = 0;
    free(server);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct http_server *server = handle->data;
    server->handles--;
    free_when_done(server);
}

static void on_listener_closed(uv_handle_t *handle)
{
    struct http_listener *listener = handle->data;
    close(listener->fd);
    listener->server->handles--;
    free_when_done(listener->server);
}

/* Aborts what is in a phase. */
static void abort_all(struct http_server *server, enum phase phase)
{
    struct list *list = &server->phases[phase];
    struct list mine;
    if (list_is_empty(list)) {
        return;
    }
    /* Onto a list of our own, since closed connections stay in a list until their close callback. */
    mine = *list;
    mine.next->previous = &mine;
    mine.previous->next = &mine;
    list_init(list);
    while (!list_is_empty(&mine)) {
        struct list *node = mine.next;
        list_remove(node);
        list_append(&server->phases[PHASE_NONE], node);
        connection_abort(connection_of_node(node));
    }
}

/* WebSockets have no answer to wait for: their peers are told. */
static void say_goodbye(struct http_server *server)
{
    for (int phase = PHASE_NONE; phase < PHASE_COUNT; phase++) {
        for (struct list *at = server->phases[phase].next; at != &server->phases[phase]; at = at->next) {
            struct http_connection *connection = connection_of_node(at);
            if (connection->ws != NULL && !connection->is_closed) {
                ws_close(connection->ws, 1001, "The server is stopping.");
            }
        }
    }
}

static void on_tick(uv_timer_t *timer)
{
    struct http_server *server = timer->data;
    int64_t now_ms = (int64_t)uv_now(&server->loop->uv);
    refresh_date(server);
    budget_tick(server, now_ms); /* first: who gets room now has not waited too long */
    for (int phase = PHASE_IDLE; phase < PHASE_COUNT; phase++) {
        expire(server, (enum phase)phase, now_ms);
    }
    if (server->is_accept_paused && !server->is_closing) {
        set_polling(server, true);
    }
    if (server->is_closing) {
        if (!server->has_said_goodbye) {
            server->has_said_goodbye = true;
            say_goodbye(server);
        }
        abort_all(server, PHASE_IDLE);
        if (now_ms >= server->close_by_ms) {
            for (int phase = PHASE_NONE; phase < PHASE_COUNT; phase++) {
                abort_all(server, (enum phase)phase);
            }
        }
        if (server->stats.connections == 0 && !uv_is_closing((uv_handle_t *)timer)) {
            uv_close((uv_handle_t *)timer, on_handle_closed);
        }
    }
}

/* --- accepting --- */

static void warn_no_fd(struct http_server *server, int error)
{
    int64_t now_ms = (int64_t)uv_now(&server->loop->uv);
    if (server->accept_warned_ms == 0 || now_ms - server->accept_warned_ms > ACCEPT_WARN_MS) {
        server->accept_warned_ms = now_ms;
        log_warn("http.accept", "error=\"%s\" connections=%u", strerror(error), server->stats.connections);
    }
}

static void on_connectable(uv_poll_t *poll, int error, int events)
{
    struct http_listener *listener = poll->data;
    struct http_server *server = listener->server;
    (void)events;
    if (error != 0) {
        return;
    }
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
                warn_no_fd(server, errno);
                server->is_accept_paused = true;
                set_polling(server, false);
                return;
            }
            if (errno == EAGAIN) {
                return;
            }
            continue; /* a client that left while it waited, or a network error of its own (accept(2)) */
        }
        bool is_over = server->stats.connections - server->refusing >= server->config.connections_max;
        if (is_over && server->refusing >= REFUSING_MAX) {
            server->stats.refused++;
            close(fd);
            continue;
        }
        connection_open(server, fd, is_over);
    }
}

static void set_polling(struct http_server *server, bool wanted)
{
    if (wanted) {
        server->is_accept_paused = false;
    }
    for (uint32_t i = 0; i < server->listener_count; i++) {
        if (!server->listeners[i].is_open) {
            continue;
        }
        if (wanted) {
            uv_poll_start(&server->listeners[i].poll, UV_READABLE, on_connectable);
        } else {
            uv_poll_stop(&server->listeners[i].poll);
        }
    }
}

void server_connection_closed(struct http_server *server, struct http_connection *connection)
{
    list_remove(&connection->node);
    server->stats.connections--;
    if (connection->is_refusing) {
        server->refusing--;
    }
    if (server->is_accept_paused && !server->is_closing) {
        set_polling(server, true);
    }
    free_when_done(server);
}

/* --- starting and ending --- */

static enum status status_of_errno(int error)
{
    return status_of_uv(uv_translate_sys_error(error));
}

static enum status listen_on(struct http_server *server, const struct addrinfo *address)
{
    struct http_listener *listener = &server->listeners[server->listener_count];
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return status_of_errno(errno);
    }
    struct sockaddr_storage name;
    socklen_t name_size = address->ai_addrlen;
    memcpy(&name, address->ai_addr, name_size);
    /* With port 0 the second address of a name gets the port of the first. */
    if (name.ss_family == AF_INET6) {
        ((struct sockaddr_in6 *)(void *)&name)->sin6_port = htons(server->port);
    } else {
        ((struct sockaddr_in *)(void *)&name)->sin_port = htons(server->port);
    }
    int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (name.ss_family == AF_INET6) {
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
    }
    if (bind(fd, (struct sockaddr *)&name, name_size) != 0 || listen(fd, BACKLOG) != 0) {
        enum status status = status_of_errno(errno);
        close(fd);
        return status;
    }
    name_size = sizeof(name);
    if (getsockname(fd, (struct sockaddr *)&name, &name_size) == 0) {
        server->port = ntohs(name.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)(void *)&name)->sin6_port
                                                        : ((struct sockaddr_in *)(void *)&name)->sin_port);
    }
    int error = uv_poll_init(&server->loop->uv, &listener->poll, fd);
    if (error != 0) {
        close(fd);
        return status_of_uv(error);
    }
    *listener = (struct http_listener){.poll = listener->poll, .server = server, .fd = fd, .is_open = true};
    listener->poll.data = listener;
    server->listener_count++;
    server->handles++;
    return STATUS_OK;
}

/* Every address of the host. One that this machine lacks (::1 without IPv6) is skipped when another one works. */
static enum status listen_on_all(struct http_server *server)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *found = NULL;
    if (getaddrinfo(server->config.host, NULL, &hints, &found) != 0) {
        return STATUS_INVALID;
    }
    enum status status = STATUS_INVALID;
    for (struct addrinfo *at = found; at != NULL && server->listener_count < HTTP_LISTENERS_MAX; at = at->ai_next) {
        if (at->ai_family != AF_INET && at->ai_family != AF_INET6) {
            continue;
        }
        enum status this_status = listen_on(server, at);
        if (this_status == STATUS_ADDRESS_IN_USE) {
            status = this_status;
            break;
        }
        if (status != STATUS_OK) {
            status = this_status;
        }
    }
    freeaddrinfo(found);
    return status;
}

static void close_listeners(struct http_server *server)
{
    for (uint32_t i = 0; i < server->listener_count; i++) {
        server->listeners[i].is_open = false;
        uv_close((uv_handle_t *)&server->listeners[i].poll, on_listener_closed);
    }
}

enum status http_server_start(struct loop *loop, const struct http_config *config,
                              const struct http_callbacks *callbacks, struct http_server **ret_server)
{
    ensure(callbacks->on_request != NULL);
    struct http_server *server = calloc(1, sizeof(*server));
    if (server == NULL) {
        return STATUS_NO_MEMORY;
    }
    server->magic = HTTP_SERVER_MAGIC;
    server->loop = loop;
    server->config = *config;
    server->callbacks = *callbacks;
    server->port = config->port;
    budget_init(server);
    for (int phase = 0; phase < PHASE_COUNT; phase++) {
        list_init(&server->phases[phase]);
    }
    uv_timer_init(&loop->uv, &server->timer);
    server->timer.data = server;
    server->handles++;
    enum status status = listen_on_all(server);
    if (status != STATUS_OK) {
        server->is_closing = true;
        close_listeners(server);
        uv_close((uv_handle_t *)&server->timer, on_handle_closed);
        return status;
    }
    server->date_s = -1;
    refresh_date(server);
    uv_timer_start(&server->timer, on_tick, TICK_MS, TICK_MS);
    set_polling(server, true);
    server->config.host = NULL; /* the caller's */
    *ret_server = server;
    return STATUS_OK;
}

uint16_t http_server_port(const struct http_server *server)
{
    return server->port;
}

void http_server_close(struct http_server *server, int64_t grace_ms)
{
    ensure_magic(server, HTTP_SERVER_MAGIC);
    if (server->is_closing) {
        return;
    }
    server->is_closing = true;
    server->close_by_ms = (int64_t)uv_now(&server->loop->uv) + grace_ms;
    close_listeners(server);
    /* The rest happens with the next tick, outside of whatever calls this now. */
    uv_timer_start(&server->timer, on_tick, 0, TICK_MS);
}

void http_server_stats(const struct http_server *server, struct http_server_stats *ret_stats)
{
    const struct http_budget *budget = &server->budget;
    *ret_stats = server->stats;
    ret_stats->buffered = budget->used + budget->other;
    ret_stats->buffered_max = budget->used_max;
    ret_stats->budget = budget->max;
    ret_stats->pressed = budget->pressed_count;
    ret_stats->ended_slow = budget->ended_count;
    ret_stats->waiting = budget->waiting;
}
