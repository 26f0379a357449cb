/* proxy.c - two sockets, and a queue for each direction in between.
 *
 *   client ──read──▶ pieces with a time of release ──write──▶ target, and the same back
 *
 * A piece that needs not wait is written at once. Bandwidth is a line shared by all connections of a direction: each
 * piece occupies it for its length, and is released when it has passed; delay is added behind that. Reading stops
 * while a direction holds more than QUEUE_SIZE_MAX, so that a slow line is felt by the sender.
 *
 * A cut line must refuse connections without losing its port to somebody else, so a second socket is bound to the port for
 * good and never listens; the one that listens comes and goes. */
#include "bench/proxy.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/rng.h"

#define QUEUE_SIZE_MAX (256u << 10) /* bytes that wait in one direction before its sender is no longer read */
#define BACKLOG 1024
#define LISTEN_TRIES 20

struct piece {
    struct piece *next;
    int64_t release_ns;
    uv_write_t write;
    struct side *to;
    size_t len;
    char data[];
};

struct side { /* a socket, and what waits to be written to it */
    uv_tcp_t tcp;
    struct link *link;
    struct side *other;
    uv_timer_t timer; /* for the first piece */
    struct piece *first, **end;
    size_t queued_size; /* waiting or being written */
    int64_t release_ns; /* of the last piece: order is kept */
    uv_shutdown_t shutdown;
    bool is_reading, has_ended; /* its peer sends no more */
    bool is_shut;
};

struct link { /* one connection */
    uint32_t magic;
    struct proxy *proxy;
    struct link *next, *previous;
    struct side client, target;
    uv_connect_t connect;
    bool is_connecting, is_connected, is_closing;
    int handles; /* that are not closed yet */
};

struct proxy {
    uint32_t magic;
    struct loop *loop;
    int holder;         /* keeps the port */
    uv_tcp_t *listener; /* NULL while the line is cut; frees itself when closed */
    uv_timer_t last;    /* does nothing; so that there is always a handle whose closing ends the proxy */
    int handles;        /* of its own that are not closed yet */
    uint16_t port, to_port;
    struct rng rng;
    struct words_range delay;
    uint64_t bytes_per_s;
    uint32_t loss_permille;
    bool is_blackhole, is_closing;
    int64_t busy_until_ns[2]; /* of the line to the target, and back */
    struct link links;        /* ring */
    struct proxy_stats stats;
    void (*on_closed)(void *ctx);
    void *closed_ctx;
};

static void pump(struct side *side);
static void resume(struct side *side);

static void free_if_done(struct proxy *proxy)
{
    if (!proxy->is_closing || proxy->links.next != &proxy->links || proxy->handles > 0) {
        return;
    }
    void (*on_closed)(void *ctx) = proxy->on_closed;
    void *ctx = proxy->closed_ctx;
    if (proxy->holder >= 0) {
        close(proxy->holder);
    }
    proxy->magic = 0;
    free(proxy);
    if (on_closed != NULL) {
        on_closed(ctx);
    }
}

/* --- a connection's end --- */

static void drop_pieces(struct side *side)
{
    while (side->first != NULL) {
        struct piece *piece = side->first;
        side->first = piece->next;
        free(piece);
    }
    side->end = &side->first;
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct link *link = handle->data;
    if (--link->handles > 0) {
        return;
    }
    struct proxy *proxy = link->proxy;
    drop_pieces(&link->client);
    drop_pieces(&link->target);
    link->next->previous = link->previous;
    link->previous->next = link->next;
    link->magic = 0;
    free(link);
    proxy->stats.open--;
    free_if_done(proxy);
}

static void close_handle(struct link *link, uv_handle_t *handle)
{
    handle->data = link;
    uv_close(handle, on_handle_closed);
}

static void close_link(struct link *link, bool is_reset)
{
    ensure_magic(link, BENCH_LINK_MAGIC);
    if (link->is_closing) {
        return;
    }
    link->is_closing = true;
    link->proxy->stats.resets += is_reset;
    struct side *sides[] = {&link->client, &link->target};
    for (unsigned i = 0; i < 2; i++) {
        int fd;
        struct linger linger = {.l_onoff = 1};
        if (is_reset && uv_fileno((uv_handle_t *)&sides[i]->tcp, &fd) == 0) {
            (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)); /* closing then sends a reset */
        }
        close_handle(link, (uv_handle_t *)&sides[i]->tcp);
        close_handle(link, (uv_handle_t *)&sides[i]->timer);
    }
}

static void on_shutdown(uv_shutdown_t *shutdown, int error)
{
    (void)shutdown;
    (void)error; /* the other end hears of it by its own reading */
}

/* Passes an end of stream on once everything before it has gone. */
static void end_if_drained(struct side *side)
{
    if (!side->other->has_ended || side->queued_size > 0 || side->is_shut || side->link->is_closing) {
        return;
    }
    side->is_shut = true;
    if (side->other->is_shut) {
        close_link(side->link, false);
    } else if (uv_shutdown(&side->shutdown, (uv_stream_t *)&side->tcp, on_shutdown) != 0) {
        close_link(side->link, true);
    }
}

/* --- writing --- */

static void on_written(uv_write_t *write, int error)
{
    struct piece *piece = write->data;
    struct side *side = piece->to;
    struct link *link = side->link;
    side->queued_size -= piece->len;
    free(piece);
    if (link->is_closing) {
        return;
    }
    if (error != 0) {
        close_link(link, true);
        return;
    }
    resume(side->other);
    end_if_drained(side);
}

static void on_timer(uv_timer_t *timer)
{
    struct side *side = timer->data;
    pump(side);
}

/* Writes what may go by now. */
static void pump(struct side *side)
{
    struct link *link = side->link;
    struct proxy *proxy = link->proxy;
    int64_t now_ns = loop_mono_ns(proxy->loop);
    bool is_target = side == &link->target;
    if (link->is_closing || proxy->is_blackhole || (is_target && !link->is_connected)) {
        return;
    }
    while (side->first != NULL && side->first->release_ns <= now_ns) {
        struct piece *piece = side->first;
        side->first = piece->next;
        if (side->first == NULL) {
            side->end = &side->first;
        }
        uv_buf_t buf = uv_buf_init(piece->data, (unsigned)piece->len);
        piece->write.data = piece;
        *(is_target ? &proxy->stats.bytes_to : &proxy->stats.bytes_from) += piece->len;
        if (uv_write(&piece->write, (uv_stream_t *)&side->tcp, &buf, 1, on_written) != 0) {
            side->queued_size -= piece->len;
            free(piece);
            close_link(link, true);
            return;
        }
    }
    if (side->first != NULL) {
        int64_t wait_ns = side->first->release_ns - now_ns;
        uv_timer_start(&side->timer, on_timer, (uint64_t)((wait_ns + NS_PER_MS - 1) / NS_PER_MS), 0);
    }
}

/* When data that came now may leave. */
static int64_t release_time(struct proxy *proxy, struct side *to, size_t len)
{
    int64_t release_ns = loop_mono_ns(proxy->loop);
    int64_t *busy_until_ns = &proxy->busy_until_ns[to == &to->link->client];
    if (proxy->bytes_per_s > 0) {
        if (*busy_until_ns > release_ns) {
            release_ns = *busy_until_ns;
        }
        release_ns += (int64_t)((double)len * (double)NS_PER_S / (double)proxy->bytes_per_s);
        *busy_until_ns = release_ns;
    }
    if (proxy->delay.max > 0) {
        uint64_t spread = (uint64_t)(proxy->delay.max - proxy->delay.min) + 1;
        release_ns += proxy->delay.min + (int64_t)rng_below(&proxy->rng, spread);
    }
    if (release_ns < to->release_ns) {
        release_ns = to->release_ns;
    }
    to->release_ns = release_ns;
    return release_ns;
}

/* --- reading --- */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct side *side = handle->data;
    const struct proxy *proxy = side->link->proxy;
    size_t size = LOOP_READ_BUFFER_SIZE;
    (void)suggested;
    /* A slow line delivers evenly: pieces of 20 ms. */
    if (proxy->bytes_per_s > 0 && proxy->bytes_per_s / 50 < size) {
        size = proxy->bytes_per_s / 50 > 256 ? proxy->bytes_per_s / 50 : 256;
    }
    *buf = uv_buf_init(proxy->loop->read_buffer, (unsigned)size);
}

static void on_read(uv_stream_t *stream, ssize_t got, const uv_buf_t *buf)
{
    struct side *side = stream->data;
    struct link *link = side->link;
    struct side *to = side->other;
    struct proxy *proxy = link->proxy;
    if (got == 0) {
        return;
    }
    if (got < 0) {
        side->is_reading = false;
        side->has_ended = true;
        if (got == UV_EOF) {
            end_if_drained(to);
        } else {
            close_link(link, true);
        }
        return;
    }
    if (proxy->loss_permille > 0 && rng_below(&proxy->rng, 1000) < proxy->loss_permille) {
        close_link(link, true);
        return;
    }
    struct piece *piece = malloc(sizeof(*piece) + (size_t)got);
    if (piece == NULL) {
        close_link(link, true);
        return;
    }
    *piece = (struct piece){.to = to, .len = (size_t)got, .release_ns = release_time(proxy, to, (size_t)got)};
    memcpy(piece->data, buf->base, (size_t)got);
    *to->end = piece;
    to->end = &piece->next;
    to->queued_size += (size_t)got;
    pump(to);
    if (!link->is_closing && to->queued_size > QUEUE_SIZE_MAX && side->is_reading) {
        uv_read_stop(stream);
        side->is_reading = false;
    }
}

static void resume(struct side *side)
{
    struct link *link = side->link;
    bool is_open = side == &link->client || link->is_connected;
    if (side->is_reading || side->has_ended || link->is_closing || link->proxy->is_blackhole || !is_open ||
        side->other->queued_size > QUEUE_SIZE_MAX) {
        return;
    }
    if (uv_read_start((uv_stream_t *)&side->tcp, on_alloc, on_read) == 0) {
        side->is_reading = true;
    } else {
        close_link(link, true);
    }
}

/* --- a connection's beginning --- */

static void on_connected(uv_connect_t *connect, int error)
{
    struct link *link = connect->data;
    if (link->is_closing) {
        return;
    }
    if (error != 0) {
        close_link(link, true);
        return;
    }
    link->is_connected = true;
    uv_tcp_nodelay(&link->target.tcp, 1);
    pump(&link->target);
    if (!link->is_closing) {
        resume(&link->target);
    }
}

static void connect_target(struct link *link)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(link->proxy->to_port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    link->is_connecting = true;
    link->connect.data = link;
    if (uv_tcp_connect(&link->connect, &link->target.tcp, (struct sockaddr *)&address, on_connected) != 0) {
        close_link(link, true);
    }
}

static void init_side(struct link *link, struct side *side, struct side *other)
{
    uv_loop_t *uv = &link->proxy->loop->uv;
    side->link = link;
    side->other = other;
    side->end = &side->first;
    ensure(uv_tcp_init(uv, &side->tcp) == 0 && uv_timer_init(uv, &side->timer) == 0);
    side->tcp.data = side->timer.data = side;
    link->handles += 2;
}

static void on_connection(uv_stream_t *listener, int error)
{
    struct proxy *proxy = listener->data;
    if (error != 0) {
        return;
    }
    struct link *link = calloc(1, sizeof(*link));
    if (link == NULL) {
        return; /* it waits in the backlog until another connection comes */
    }
    link->magic = BENCH_LINK_MAGIC;
    link->proxy = proxy;
    init_side(link, &link->client, &link->target);
    init_side(link, &link->target, &link->client);
    link->next = &proxy->links;
    link->previous = proxy->links.previous;
    link->previous->next = link->next->previous = link;
    proxy->stats.connections++;
    proxy->stats.open++;
    if (uv_accept(listener, (uv_stream_t *)&link->client.tcp) != 0) {
        close_link(link, false);
        return;
    }
    uv_tcp_nodelay(&link->client.tcp, 1);
    if (proxy->is_blackhole) {
        return;
    }
    connect_target(link);
    if (!link->is_closing) {
        resume(&link->client);
    }
}

/* --- the proxy --- */

static int bound_socket(uint16_t port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return -1;
    }
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) != 0 ||
        bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static uint16_t port_of(int fd)
{
    struct sockaddr_in address = {0};
    socklen_t len = sizeof(address);
    ensure(getsockname(fd, (struct sockaddr *)&address, &len) == 0);
    return ntohs(address.sin_port);
}

static void on_listener_closed(uv_handle_t *handle)
{
    struct proxy *proxy = handle->data;
    free(handle);
    proxy->handles--;
    free_if_done(proxy);
}

static void on_last_closed(uv_handle_t *handle)
{
    struct proxy *proxy = handle->data;
    proxy->handles--;
    free_if_done(proxy);
}

static enum status open_listener(struct proxy *proxy)
{
    int fd = bound_socket(proxy->port);
    if (fd < 0) {
        return STATUS_IO;
    }
    uv_tcp_t *listener = calloc(1, sizeof(*listener));
    if (listener == NULL) {
        close(fd);
        return STATUS_NO_MEMORY;
    }
    ensure(uv_tcp_init(&proxy->loop->uv, listener) == 0);
    ensure(uv_tcp_open(listener, fd) == 0);
    listener->data = proxy;
    proxy->handles++;
    int error = uv_listen((uv_stream_t *)listener, BACKLOG, on_connection);
    if (error != 0) {
        uv_close((uv_handle_t *)listener, on_listener_closed);
        return status_of_uv(error);
    }
    proxy->listener = listener;
    return STATUS_OK;
}

enum status proxy_start(struct loop *loop, uint16_t to_port, uint64_t seed, struct proxy **ret_proxy)
{
    struct proxy *proxy = calloc(1, sizeof(*proxy));
    if (proxy == NULL) {
        return STATUS_NO_MEMORY;
    }
    *proxy = (struct proxy){.magic = BENCH_PROXY_MAGIC, .loop = loop, .to_port = to_port, .handles = 1};
    proxy->links.next = proxy->links.previous = &proxy->links;
    rng_seed(&proxy->rng, seed);
    ensure(uv_timer_init(&loop->uv, &proxy->last) == 0);
    proxy->last.data = proxy;
    enum status status = STATUS_IO;
    for (int i = 0; i < LISTEN_TRIES && status != STATUS_OK; i++) { /* the port may be taken between the two binds */
        proxy->holder = bound_socket(0);
        if (proxy->holder < 0) {
            break;
        }
        proxy->port = port_of(proxy->holder);
        status = open_listener(proxy);
        if (status != STATUS_OK) {
            close(proxy->holder);
            proxy->holder = -1;
        }
    }
    if (status == STATUS_OK) {
        *ret_proxy = proxy;
    } else {
        proxy_close(proxy, NULL, NULL);
    }
    return status;
}

uint16_t proxy_port(const struct proxy *proxy)
{
    return proxy->port;
}

void proxy_set_delay(struct proxy *proxy, struct words_range delay)
{
    ensure_magic(proxy, BENCH_PROXY_MAGIC);
    proxy->delay = delay;
}

void proxy_set_bandwidth(struct proxy *proxy, uint64_t bytes_per_s)
{
    ensure_magic(proxy, BENCH_PROXY_MAGIC);
    proxy->bytes_per_s = bytes_per_s;
    proxy->busy_until_ns[0] = proxy->busy_until_ns[1] = 0;
}

void proxy_set_loss(struct proxy *proxy, uint32_t permille)
{
    ensure_magic(proxy, BENCH_PROXY_MAGIC);
    proxy->loss_permille = permille;
}

static void reset_all(struct proxy *proxy)
{
    for (struct link *link = proxy->links.next; link != &proxy->links; link = link->next) {
        close_link(link, true);
    }
}

static void close_listener(struct proxy *proxy)
{
    if (proxy->listener == NULL) {
        return;
    }
    uv_tcp_t *listener = TAKE(proxy->listener);
    uv_close((uv_handle_t *)listener, on_listener_closed);
}

enum status proxy_set_cut(struct proxy *proxy, bool is_cut)
{
    ensure_magic(proxy, BENCH_PROXY_MAGIC);
    if (!is_cut) {
        return proxy->listener == NULL ? open_listener(proxy) : STATUS_OK;
    }
    close_listener(proxy);
    reset_all(proxy);
    return STATUS_OK;
}

void proxy_set_blackhole(struct proxy *proxy, bool is_blackhole)
{
    ensure_magic(proxy, BENCH_PROXY_MAGIC);
    proxy->is_blackhole = is_blackhole;
    for (struct link *link = proxy->links.next, *next; link != &proxy->links; link = next) {
        next = link->next;
        struct side *sides[] = {&link->client, &link->target};
        for (unsigned i = 0; i < 2 && !link->is_closing; i++) {
            struct side *side = sides[i];
            if (is_blackhole && side->is_reading) {
                uv_read_stop((uv_stream_t *)&side->tcp);
                side->is_reading = false;
            } else if (!is_blackhole) {
                pump(side);
                if (!link->is_closing) {
                    resume(side);
                }
            }
        }
        if (!is_blackhole && !link->is_connecting && !link->is_closing) {
            connect_target(link);
        }
    }
}

void proxy_stats(const struct proxy *proxy, struct proxy_stats *ret_stats)
{
    *ret_stats = proxy->stats;
}

void proxy_close(struct proxy *proxy, void (*on_closed)(void *ctx), void *ctx)
{
    ensure_magic(proxy, BENCH_PROXY_MAGIC);
    proxy->is_closing = true;
    proxy->on_closed = on_closed;
    proxy->closed_ctx = ctx;
    reset_all(proxy);
    close_listener(proxy);
    uv_close((uv_handle_t *)&proxy->last, on_last_closed);
}
