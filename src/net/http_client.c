/* http_client.c - connections that are cheap enough to measure with.
 *
 *   CLOSED ──send──▶ CONNECTING ──▶ OPEN ──send──▶ (busy) ──answer──▶ OPEN
 *      ▲                 │ next address   │ the server closes, or nothing can be read after it
 *      └─────CLOSING◀────┴────────────────┘   (the poll handle needs a turn of the loop to go)
 *
 * A request costs one write, one read, one clock reading and the loop's share of one epoll_wait. libuv's streams are not used: they queue,
 * count and call back for things that are known here at once. The socket stays registered for reading all its life, so
 * nothing is said to epoll per request.
 *
 * Reading an answer is the work of proto/http1_reply.c, which knows where one ends (RFC 9112 6.3). The origin keeps the memo by
 * which a head like the one before is understood with one memcmp; in front of nginx's constant answer this saves 0.4 of
 * 0.5 us per answer. A connection is used again only when its answer was complete, said so, and left nothing behind: not a
 * byte that was not asked for, be it in the same read or in the socket when the next request is due, and not a rest of the
 * request that was never sent.
 *
 * Failing. Whatever goes wrong inside http_client_send is told from the alarm, so that callbacks never nest. A failed write is no
 * failure yet: a server that refuses a body may have answered and closed, and the answer can still be read. The end comes
 * with the read.
 *
 * A kept connection that the server closed just as a request was on its way is an accident of timing, not an answer: such a request
 * is sent again, once, if the caller says that this is harmless and no byte of an answer has come (RFC 9112 9.3.1). */
#include "net/http_client.h"

#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/ensure.h"
#include "net/url.h"
#include "proto/http1_reply.h"

#define ADDRESSES_MAX 8
#define UNSENT_MAX (256u << 20)

static_assert(HTTP1_REPLY_PADDING <= LOOP_READ_PADDING_SIZE, "bodies are handed on where they were read");

struct address {
    struct sockaddr_storage name;
    socklen_t len;
};

struct http_origin {
    struct loop *loop;
    struct alarms *alarms;
    struct url url;
    char *text; /* owned; url.path points into it */
    struct address addresses[ADDRESSES_MAX];
    uint32_t address_count, preferred; /* the one that worked last */
    struct http1_memo memo;            /* the last head that was parsed */
    struct http_origin_stats stats;
};

enum client_state { CLOSED, CONNECTING, OPEN, CLOSING };

struct http_client {
    uint32_t magic;
    uint8_t state; /* enum client_state */
    bool is_busy;  /* a request waits for its answer */
    bool is_freed;
    bool must_connect; /* as soon as CLOSING is over */
    bool is_reused;    /* the request was sent on a connection that had served before */
    bool is_repeated;  /* it is the second try */
    bool wants_writable;
    bool is_reading;    /* inside of on_readable: nothing can have come since the read */
    bool is_failed;     /* libuv watches the socket no longer; what it holds is being read */
    uint8_t failure;    /* enum http_failure, to be told by the alarm */
    uint8_t tries_left; /* addresses not tried yet for this connection */
    uint32_t address;
    int fd;
    struct http_origin *origin;
    http_client_done *on_done;
    void *user;
    uv_poll_t poll;
    struct alarm alarm;
    struct http_request_bytes request;
    uint64_t bytes_in, bytes_out;
    int64_t sent_ns;
    struct buf unsent;
    struct http1_reply reply;
};

/* --- the origin --- */

enum status http_origin_new(struct loop *loop, struct alarms *alarms, const char *url, struct http_origin **ret_origin,
                            char *ret_why, size_t why_size)
{
    struct http_origin *origin = calloc(1, sizeof(*origin));
    if (origin == NULL || (origin->text = strdup(url)) == NULL) {
        free(origin);
        snprintf(ret_why, why_size, "There is no memory.");
        return STATUS_NO_MEMORY;
    }
    origin->loop = loop;
    origin->alarms = alarms;
    const char *problem = url_parse(origin->text, &origin->url);
    if (problem != NULL) {
        snprintf(ret_why, why_size, "%s: %s", url, problem);
        http_origin_free(origin);
        return STATUS_INVALID;
    }
    char port[8];
    snprintf(port, sizeof(port), "%u", origin->url.port);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    int error = getaddrinfo(origin->url.host, port, &hints, &found);
    for (struct addrinfo *at = found; at != NULL && origin->address_count < ADDRESSES_MAX; at = at->ai_next) {
        struct address *address = &origin->addresses[origin->address_count++];
        memcpy(&address->name, at->ai_addr, at->ai_addrlen);
        address->len = at->ai_addrlen;
    }
    if (found != NULL) {
        freeaddrinfo(found);
    }
    if (origin->address_count == 0) {
        snprintf(ret_why, why_size, "The name %.200s is not known here: %s.", origin->url.host,
                 error != 0 ? gai_strerror(error) : "it has no address");
        http_origin_free(origin);
        return STATUS_UNREACHABLE;
    }
    *ret_origin = origin;
    return STATUS_OK;
}

void http_origin_free(struct http_origin *origin)
{
    if (origin == NULL) {
        return;
    }
    free(origin->text);
    free(origin);
}

const char *http_origin_authority(const struct http_origin *origin)
{
    return origin->url.authority;
}

struct slice http_origin_path(const struct http_origin *origin)
{
    return slice_of(origin->url.path, origin->url.path_len);
}

void http_origin_stats(const struct http_origin *origin, struct http_origin_stats *ret_stats)
{
    *ret_stats = origin->stats;
}

/* --- ending --- */

static void connect_now(struct http_client *client);

static void free_now(struct http_client *client)
{
    alarm_close(&client->alarm);
    buf_free(&client->unsent);
    http1_reply_free(&client->reply);
    client->magic = 0;
    free(client);
}

static void on_poll_closed(uv_handle_t *handle)
{
    struct http_client *client = handle->data;
    client->state = CLOSED;
    if (client->is_freed) {
        free_now(client);
    } else if (client->must_connect && client->is_busy) {
        connect_now(client);
    }
}

static void close_socket(struct http_client *client)
{
    if (client->state != CONNECTING && client->state != OPEN) {
        return;
    }
    if (client->state == OPEN) {
        client->origin->stats.open_now--;
    }
    client->state = CLOSING;
    client->must_connect = false;
    client->wants_writable = false;
    client->is_failed = false;
    buf_free(&client->unsent);
    uv_close((uv_handle_t *)&client->poll, on_poll_closed);
    close(client->fd);
}

static void expect_answer(struct http_client *client)
{
    client->bytes_in = 0;
    http1_reply_begin(&client->reply, client->request.is_head, client->request.body_max);
}

/* The request is over, one way or the other. Nothing of the client is touched after the callback. */
static void done(struct http_client *client, enum http_failure failure, int64_t now_ns)
{
    ensure(client->is_busy);
    struct http_outcome outcome = {.failure = failure,
                                   .status_code = client->reply.status_code,
                                   .body = failure == HTTP_NO_FAILURE ? client->reply.body : slice_of(NULL, 0),
                                   .bytes_out = client->bytes_out,
                                   .bytes_in = client->bytes_in,
                                   .sent_ns = client->sent_ns,
                                   .end_ns = now_ns};
    client->is_busy = false;
    client->failure = HTTP_NO_FAILURE;
    alarm_set(&client->alarm, ALARM_NEVER);
    if (failure != HTTP_NO_FAILURE || !client->reply.keeps_alive || client->unsent.len > 0) {
        close_socket(client);
    }
    client->on_done(client, client->user, &outcome);
}

/* The same from inside http_client_send: told soon. */
static void done_soon(struct http_client *client, enum http_failure failure)
{
    client->failure = (uint8_t)failure;
    close_socket(client);
    alarm_set(&client->alarm, 0);
}

static enum http_failure failure_of(int error)
{
    switch (error) {
    case ECONNREFUSED:
        return HTTP_REFUSED;
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
    case EADDRNOTAVAIL:
    case EADDRINUSE:
    case EAGAIN:
        return HTTP_EXHAUSTED;
    case ENETUNREACH:
    case EHOSTUNREACH:
    case ENETDOWN:
    case EACCES:
    case EPERM:
    case EAFNOSUPPORT:
        return HTTP_UNREACHABLE;
    case ETIMEDOUT:
        return HTTP_TIMED_OUT;
    default:
        return HTTP_RESET;
    }
}

static void on_alarm(struct alarm *alarm, int64_t now_ns)
{
    struct http_client *client = (struct http_client *)(void *)((char *)alarm - offsetof(struct http_client, alarm));
    ensure_magic(client, HTTP_CLIENT_MAGIC);
    if (!client->is_busy) {
        return;
    }
    done(client, client->failure != HTTP_NO_FAILURE ? (enum http_failure)client->failure : HTTP_TIMED_OUT, now_ns);
}

/* Once CLOSING is over, beginning with the address that worked last. */
static void connect_soon(struct http_client *client)
{
    client->address = client->origin->preferred;
    client->tries_left = (uint8_t)client->origin->address_count;
    client->must_connect = true;
}

/* The connection ended while an answer was due. */
static void broken(struct http_client *client, int64_t now_ns)
{
    if (client->is_reused && client->request.may_repeat && !client->is_repeated && client->bytes_in == 0) {
        client->is_repeated = true;
        client->is_reused = false;
        client->origin->stats.repeats++;
        expect_answer(client);
        close_socket(client);
        connect_soon(client);
        return;
    }
    done(client, HTTP_RESET, now_ns);
}

/* --- sending --- */

static void on_event(uv_poll_t *poll, int status, int events);

static void watch(struct http_client *client, bool wants_writable)
{
    client->wants_writable = wants_writable;
    ensure(uv_poll_start(&client->poll, UV_READABLE | (wants_writable ? UV_WRITABLE : 0), on_event) == 0);
}

static void write_request(struct http_client *client)
{
    struct iovec parts[HTTP_REQUEST_PARTS];
    int count = 0;
    size_t total = 0;
    for (int i = 0; i < HTTP_REQUEST_PARTS; i++) {
        if (client->request.parts[i].len > 0) {
            parts[count].iov_base = (void *)(uintptr_t)client->request.parts[i].data;
            parts[count++].iov_len = client->request.parts[i].len;
            total += client->request.parts[i].len;
        }
    }
    client->sent_ns = clock_mono_ns();
    ssize_t sent =
        count == 1 ? write(client->fd, parts[0].iov_base, parts[0].iov_len) : writev(client->fd, parts, count);
    if (sent < 0 && errno != EAGAIN && errno != EINTR) {
        return; /* the read will tell why, and perhaps bring an answer */
    }
    sent = sent > 0 ? sent : 0;
    client->bytes_out = (uint64_t)sent;
    if ((size_t)sent == total) {
        return;
    }
    size_t skip = (size_t)sent;
    for (int i = 0; i < count; i++) {
        size_t cut = skip < parts[i].iov_len ? skip : parts[i].iov_len;
        skip -= cut;
        buf_append(&client->unsent, (char *)parts[i].iov_base + cut, parts[i].iov_len - cut);
    }
    if (buf_status(&client->unsent) != STATUS_OK) {
        done_soon(client, HTTP_EXHAUSTED);
        return;
    }
    watch(client, true);
}

static void write_more(struct http_client *client)
{
    ssize_t sent = write(client->fd, client->unsent.data, client->unsent.len);
    if (sent < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (sent < 0) {
        buf_free(&client->unsent);
    } else {
        client->bytes_out += (uint64_t)sent;
        buf_consume(&client->unsent, (size_t)sent);
    }
    if (client->unsent.len == 0) {
        buf_free(&client->unsent);
        watch(client, false);
    }
}

/* --- the answer --- */

static void take(struct http_client *client, struct slice bytes, int64_t now_ns)
{
    switch (http1_reply_feed(&client->reply, bytes)) {
    case HTTP1_REPLY_MORE:
        return;
    case HTTP1_REPLY_DONE:
        client->origin->stats.unasked += client->reply.has_extra;
        done(client, HTTP_NO_FAILURE, now_ns);
        return;
    case HTTP1_REPLY_NONSENSE:
        done(client, HTTP_NONSENSE, now_ns);
        return;
    case HTTP1_REPLY_TOO_LARGE:
        done(client, HTTP_TOO_LARGE, now_ns);
        return;
    }
}

/* Nothing more can be read. In order: the peer has said that it sends nothing more. Only then may an answer end with it; one
 * that was cut off by a reset is not known to be whole. */
static void on_ended(struct http_client *client, bool is_in_order, int64_t now_ns)
{
    if (!client->is_busy) {
        close_socket(client);
    } else if (is_in_order && http1_reply_end(&client->reply)) {
        done(client, HTTP_NO_FAILURE, now_ns);
    } else {
        broken(client, now_ns);
    }
}

/* --- the socket --- */

/* One read. False: there was nothing to read. */
static bool on_readable(struct http_client *client)
{
    struct loop *loop = client->origin->loop;
    ssize_t got = read(client->fd, loop->read_buffer, LOOP_READ_BUFFER_SIZE);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
        return false;
    }
    int64_t now_ns = clock_mono_ns();
    alarms_look(client->origin->alarms, now_ns);
    if (client->state != OPEN) {
        return true; /* the alarm that ran was its own */
    }
    if (got <= 0) {
        on_ended(client, got == 0, now_ns);
        return true;
    }
    struct slice bytes = slice_of(loop->read_buffer, (size_t)got);
    if (!client->is_busy) {
        client->origin->stats.unasked++;
        close_socket(client);
        return true;
    }
    client->bytes_in += bytes.len;
    client->is_reading = bytes.len < LOOP_READ_BUFFER_SIZE;
    take(client, bytes, now_ns);
    client->is_reading = false;
    return true;
}

/* libuv has taken the socket off its list because of an error. What came before the error is read, and nothing is sent any more. */
static void on_error(struct http_client *client)
{
    client->is_failed = true;
    while (client->state == OPEN) {
        if (!on_readable(client)) {
            on_ended(client, false, clock_mono_ns());
        }
    }
}

static void begin_open(struct http_client *client)
{
    struct http_origin *origin = client->origin;
    client->state = OPEN;
    origin->preferred = client->address;
    origin->stats.connects++;
    origin->stats.open_now++;
    if (origin->stats.open_now > origin->stats.open_max) {
        origin->stats.open_max = origin->stats.open_now;
    }
    http1_reply_connected(&client->reply);
    watch(client, false);
    write_request(client);
}

static void on_event(uv_poll_t *poll, int status, int events)
{
    struct http_client *client = poll->data;
    if (client->state == CONNECTING) {
        int error = 0;
        socklen_t size = sizeof(error);
        if (getsockopt(client->fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0) {
            error = errno;
        }
        if (error == 0 && status < 0) {
            error = -status;
        }
        if (error == 0) {
            begin_open(client);
            return;
        }
        if (client->tries_left > 0) {
            client->address = (client->address + 1) % client->origin->address_count;
            close_socket(client);
            client->must_connect = true;
            return;
        }
        done(client, failure_of(error), clock_mono_ns());
        return;
    }
    if (client->state == OPEN && client->wants_writable && (events & UV_WRITABLE) != 0) {
        write_more(client);
    }
    if (client->state == OPEN && status < 0) {
        on_error(client);
    } else if (client->state == OPEN && (events & UV_READABLE) != 0) {
        (void)on_readable(client);
    }
}

/* Begins to connect to one address; 0, or what was wrong. */
static int connect_to(struct http_client *client, const struct address *address)
{
    client->fd = socket(address->name.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (client->fd < 0) {
        return errno;
    }
    int one = 1;
    setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    int error = connect(client->fd, (const struct sockaddr *)&address->name, address->len) == 0 ? 0 : errno;
    if (error == EINPROGRESS || error == EINTR) {
        error = 0;
    }
    if (error == 0 && uv_poll_init(&client->origin->loop->uv, &client->poll, client->fd) != 0) {
        error = ENOMEM;
    }
    if (error != 0) {
        close(client->fd);
    }
    return error;
}

static void connect_now(struct http_client *client)
{
    struct http_origin *origin = client->origin;
    client->must_connect = false;
    int error;
    do {
        client->tries_left--;
        error = connect_to(client, &origin->addresses[client->address]);
        if (error != 0 && client->tries_left > 0) {
            client->address = (client->address + 1) % origin->address_count;
        }
    } while (error != 0 && client->tries_left > 0);
    if (error != 0) {
        done_soon(client, failure_of(error));
        return;
    }
    client->poll.data = client;
    client->state = CONNECTING;
    ensure(uv_poll_start(&client->poll, UV_WRITABLE, on_event) == 0);
}

/* --- what callers use --- */

struct http_client *http_client_new(struct http_origin *origin, http_client_done *on_done, void *user)
{
    struct http_client *client = calloc(1, sizeof(*client));
    if (client == NULL || alarm_open(origin->alarms, &client->alarm, on_alarm) != STATUS_OK) {
        free(client);
        return NULL;
    }
    client->magic = HTTP_CLIENT_MAGIC;
    client->origin = origin;
    client->on_done = on_done;
    client->user = user;
    buf_init(&client->unsent, UNSENT_MAX);
    http1_reply_init(&client->reply, &origin->memo);
    return client;
}

void http_client_set_user(struct http_client *client, void *user)
{
    client->user = user;
}

/* Whether nothing waits in the socket: neither an end nor bytes that came without having been asked for, which must not be
 * read as the answer to what is sent next. */
static bool is_quiet(struct http_client *client)
{
    char byte;
    ssize_t got = recv(client->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    client->origin->stats.unasked += got > 0;
    return got < 0 && (errno == EAGAIN || errno == EINTR);
}

void http_client_send(struct http_client *client, const struct http_request_bytes *request)
{
    ensure_magic(client, HTTP_CLIENT_MAGIC);
    ensure(!client->is_busy && !client->is_freed);
    client->is_busy = true;
    client->request = *request;
    client->is_repeated = false;
    client->bytes_out = 0;
    client->sent_ns = 0;
    expect_answer(client);
    alarm_set(&client->alarm, request->deadline_ns);
    if (client->is_failed || (client->state == OPEN && !client->is_reading && !is_quiet(client))) {
        close_socket(client);
    }
    client->is_reused = client->state == OPEN;
    if (client->state == OPEN) {
        write_request(client);
        return;
    }
    connect_soon(client);
    if (client->state == CLOSED) {
        connect_now(client);
    }
}

void http_client_free(struct http_client *client)
{
    if (client == NULL) {
        return;
    }
    ensure_magic(client, HTTP_CLIENT_MAGIC);
    client->is_busy = false;
    client->is_freed = true;
    close_socket(client);
    if (client->state == CLOSED) {
        free_now(client);
    } else {
        alarm_set(&client->alarm, ALARM_NEVER);
    }
}

bool http_client_is_open(const struct http_client *client)
{
    return client->state == OPEN;
}
