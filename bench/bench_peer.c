/* bench_peer.c - the same work for Shoal and for each server it is compared with: bench/peers.sh drives it.
 *
 *   bench_peer PEER PORT lifecycle|enqueue CONNECTIONS BATCH SECONDS
 *   bench_peer PEER PORT latency SECONDS [PAUSE_MS=1]
 *   PEER: shoal, redis-list, redis-stream, beanstalkd, nats
 *
 * lifecycle: every connection submits BATCH tasks, waits until they are acknowledged, then in one write completes the tasks it
 * holds and takes BATCH others, for ever. What a connection takes another may have submitted; but each has put in what it takes
 * out, so no queue grows or runs dry, whatever the peer. Counted is half of what was acknowledged and half of what was confirmed
 * to be complete: the same number in the long run, and no accident of the moment where a slow server needs seconds for a turn.
 * enqueue: the first half of it; the queue grows. Counted are acknowledged tasks.
 * latency: one connection waits for a task, another submits one now and then; the time from before the submit to the task's
 * arrival.
 *
 * One thread with epoll, one write an exchange. The first WARMUP_NS are not counted. Prints one JSON line, with the share of one
 * core that this program itself used: a driver near 1 with a server far below it would have measured itself. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "peer.h"

#define WARMUP_NS (250 * NS_PER_MS)
#define SILENCE_MS 10000 /* nothing at all for so long: the server hangs */
#define TASK_SIZE 100

static const struct peer_wire *const wires[] = {&peer_shoal,      &peer_redis_list, &peer_redis_stream,
                                                &peer_beanstalkd, &peer_nats,       NULL};

/* One exchange's time each; grows by doubling, a sample is eight bytes. */
static double *samples_ms;
static size_t sample_count, sample_room;

static void sample(double ms)
{
    if (sample_count == sample_room) {
        sample_room = sample_room == 0 ? 1u << 16 : sample_room * 2;
        samples_ms = realloc(samples_ms, sample_room * sizeof(*samples_ms));
        if (samples_ms == NULL) {
            client_die("no memory for samples");
        }
    }
    samples_ms[sample_count++] = ms;
}

struct slice peer_task(uint64_t number)
{
    static char text[TASK_SIZE + 1];
    static const char filler[] = "a small task as a client may send it, one of very many like it in a row";
    const char *head = "{\"kind\":\"bench.noop\",\"input\":{\"n\":%llu,\"text\":\"%.*s\"}}";
    int bare = snprintf(NULL, 0, head, (unsigned long long)number, 0, filler);
    snprintf(text, sizeof(text), head, (unsigned long long)number, TASK_SIZE - bare, filler);
    return slice_of(text, TASK_SIZE);
}

bool peer_next_line(struct slice *text, struct slice *ret_line)
{
    const char *end = text->len == 0 ? NULL : memchr(text->data, '\n', text->len);
    if (end == NULL) {
        return false;
    }
    size_t len = (size_t)(end - text->data);
    *ret_line = slice_of(text->data, len);
    *text = slice_of(end + 1, text->len - len - 1);
    return true;
}

void peer_hold(struct peer_conn *conn, struct slice name)
{
    buf_append_slice(&conn->held, name);
    buf_append_char(&conn->held, '\n');
    conn->held_count++;
}

void peer_refuse(const struct peer_conn *conn, const char *what, struct slice said)
{
    client_die("connection %u: %s: %.*s", conn->number, what, (int)(said.len < 400 ? said.len : 400), said.data);
}

void peer_understood(struct peer_conn *conn, struct slice left)
{
    if (conn->awaited == 0 && left.len > 0) {
        peer_refuse(conn, "an answer too many", left);
    }
    buf_consume(&conn->in, conn->in.len - left.len);
}

static void open_conn(struct peer_conn *conn, unsigned number, uint16_t port)
{
    *conn = (struct peer_conn){.fd = client_connect(port), .number = number};
    buf_init(&conn->in, 64u << 20);
    buf_init(&conn->out, 64u << 20);
    buf_init(&conn->held, 16u << 20);
}

void peer_exchange(const struct peer_wire *wire, struct peer_conn *conn)
{
    client_send(conn->fd, conn->out.data, conn->out.len);
    buf_reset(&conn->out);
    while (conn->awaited > 0) {
        if (client_read(conn->fd, &conn->in) == 0) {
            client_die("%s closed the connection", wire->name);
        }
        wire->understand(conn);
    }
}

/* Sends what the socket takes; whether anything is left. */
static bool flush(struct peer_conn *conn)
{
    while (conn->sent < conn->out.len) {
        ssize_t sent = send(conn->fd, conn->out.data + conn->sent, conn->out.len - conn->sent, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) {
            continue;
        }
        if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            return true;
        }
        if (sent < 0) {
            client_die("send: %s", strerror(errno));
        }
        conn->sent += (size_t)sent;
    }
    return false;
}

struct load {
    const struct peer_wire *wire;
    bool has_turns; /* lifecycle, not enqueue */
    unsigned batch;
    uint64_t submitted;
    uint64_t counted; /* tasks acknowledged, and tasks completed, since the warm-up's end */
    bool is_warm;
};

static void next(struct load *load, struct peer_conn *conn)
{
    conn->is_turn = load->has_turns && !conn->is_turn;
    buf_reset(&conn->out);
    conn->sent = 0;
    if (conn->is_turn) {
        load->wire->turn(conn, load->batch);
    } else {
        load->wire->submit(conn, load->batch, load->submitted);
        load->submitted += load->batch;
    }
    if (buf_status(&conn->out) != STATUS_OK) {
        client_die("a request is too large");
    }
}

static double cpu_seconds(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* Something was understood: counts what was done with it, and goes on when the exchange is over. */
static void advance(struct load *load, struct peer_conn *conn, int64_t now_ns)
{
    if (load->is_warm) {
        load->counted += conn->done_count;
    }
    conn->done_count = 0;
    if (conn->awaited > 0) {
        return;
    }
    if (load->is_warm) {
        sample((double)(now_ns - conn->asked_ns) / 1e6);
    }
    conn->asked_ns = now_ns;
    next(load, conn);
}

/* Opens all connections, watches them and lets each begin. */
static struct peer_conn *begin_load(struct load *load, uint16_t port, unsigned connections, int epoll)
{
    struct peer_conn *conns = calloc(connections, sizeof(*conns));
    if (conns == NULL || epoll < 0) {
        client_die("no memory");
    }
    for (unsigned i = 0; i < connections; i++) {
        open_conn(&conns[i], i, port);
        if (load->wire->join != NULL) {
            load->wire->join(&conns[i]);
        }
        fcntl(conns[i].fd, F_SETFL, O_NONBLOCK);
        epoll_ctl(epoll, EPOLL_CTL_ADD, conns[i].fd, &(struct epoll_event){.events = EPOLLIN, .data.u32 = i});
        conns[i].is_turn = load->has_turns; /* so that the first exchange is a submit */
    }
    for (unsigned i = 0; i < connections; i++) {
        conns[i].asked_ns = clock_mono_ns();
        next(load, &conns[i]);
        if (flush(&conns[i])) {
            client_die("the first request does not fit the socket");
        }
    }
    return conns;
}

static void serve(struct load *load, struct peer_conn *conn, const struct epoll_event *event, int epoll, int64_t now_ns)
{
    if (event->events & (EPOLLIN | EPOLLERR | EPOLLHUP)) {
        if (client_read(conn->fd, &conn->in) == 0) {
            client_die("%s closed the connection", load->wire->name);
        }
        load->wire->understand(conn);
        advance(load, conn, now_ns);
    }
    bool blocks = flush(conn);
    if (blocks != conn->is_blocked) {
        conn->is_blocked = blocks;
        epoll_ctl(epoll, EPOLL_CTL_MOD, conn->fd,
                  &(struct epoll_event){.events = EPOLLIN | (blocks ? EPOLLOUT : 0), .data.u32 = event->data.u32});
    }
}

static void run_load(struct load *load, uint16_t port, unsigned connections, double seconds)
{
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct peer_conn *conns = begin_load(load, port, connections, epoll);
    int64_t warm_ns = clock_mono_ns() + WARMUP_NS, end_ns = warm_ns + (int64_t)(seconds * 1e9);
    double cpu_before = 0;
    for (;;) {
        struct epoll_event events[256];
        int count = epoll_wait(epoll, events, 256, SILENCE_MS);
        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count <= 0) {
            client_die("%s is silent", load->wire->name);
        }
        int64_t now_ns = clock_mono_ns();
        if (now_ns >= end_ns && load->is_warm) {
            end_ns = now_ns;
            break;
        }
        if (!load->is_warm && now_ns >= warm_ns) {
            load->is_warm = true;
            end_ns += now_ns - warm_ns;
            warm_ns = now_ns;
            cpu_before = cpu_seconds();
        }
        for (int e = 0; e < count; e++) {
            serve(load, &conns[events[e].data.u32], &events[e], epoll, now_ns);
        }
    }
    double took_s = (double)(end_ns - warm_ns) / 1e9, cpu_s = cpu_seconds() - cpu_before;
    if (load->counted == 0) {
        client_die("%s finished nothing in %.1f s", load->wire->name, took_s);
    }
    printf("{\"rate\":%.1f,\"p50_ms\":%.3f,\"p99_ms\":%.3f,\"driver_cpu\":%.3f}\n",
           (double)load->counted / (load->has_turns ? 2 : 1) / took_s, client_percentile(samples_ms, sample_count, 50),
           client_percentile(samples_ms, sample_count, 99), cpu_s / took_s);
    free(conns); /* the sockets and buffers go with the process */
}

/* Waits for what comes on one of the two and understands it; false when nothing came in that time. */
static bool listen_to(const struct peer_wire *wire, struct peer_conn *conns, int timeout_ms)
{
    struct pollfd polls[] = {{.fd = conns[0].fd, .events = POLLIN}, {.fd = conns[1].fd, .events = POLLIN}};
    if (poll(polls, 2, timeout_ms) <= 0) {
        return false;
    }
    for (unsigned i = 0; i < 2; i++) {
        if (polls[i].revents != 0) {
            if (client_read(conns[i].fd, &conns[i].in) == 0) {
                client_die("%s closed the connection", wire->name);
            }
            wire->understand(&conns[i]);
            client_send(conns[i].fd, conns[i].out.data, conns[i].out.len); /* what understanding may have answered */
            buf_reset(&conns[i].out);
            conns[i].done_count = 0;
        }
    }
    return true;
}

static void run_latency(const struct peer_wire *wire, uint16_t port, double seconds, unsigned pause_ms)
{
    struct peer_conn conns[2], *consumer = &conns[0], *producer = &conns[1];
    for (unsigned i = 0; i < 2; i++) {
        open_conn(&conns[i], i, port);
        if (wire->join != NULL) {
            wire->join(&conns[i]);
        }
    }
    consumer->is_turn = true;
    int64_t began_ns = clock_mono_ns(), end_ns = began_ns + (int64_t)(seconds * 1e9);
    double cpu_before = cpu_seconds();
    uint64_t number = 0;
    do {
        wire->turn(consumer, 1);
        client_send(consumer->fd, consumer->out.data, consumer->out.len);
        buf_reset(&consumer->out);
        while (listen_to(wire, conns, (int)pause_ms)) { /* the previous task's end is confirmed; the consumer waits */
        }
        if (consumer->awaited == 0) {
            client_die("a task was there before it was submitted");
        }
        int64_t asked_ns = clock_mono_ns(), arrived_ns = 0;
        wire->submit(producer, 1, number++);
        client_send(producer->fd, producer->out.data, producer->out.len);
        buf_reset(&producer->out);
        while (consumer->awaited > 0 || producer->awaited > 0) {
            if (!listen_to(wire, conns, SILENCE_MS)) {
                client_die("%s is silent", wire->name);
            }
            if (arrived_ns == 0 && consumer->awaited == 0) {
                arrived_ns = clock_mono_ns();
            }
        }
        sample((double)(arrived_ns - asked_ns) / 1e6);
    } while (clock_mono_ns() < end_ns);
    printf("{\"count\":%zu,\"p50_ms\":%.3f,\"p99_ms\":%.3f,\"driver_cpu\":%.3f}\n", sample_count,
           client_percentile(samples_ms, sample_count, 50), client_percentile(samples_ms, sample_count, 99),
           (cpu_seconds() - cpu_before) * 1e9 / (double)(clock_mono_ns() - began_ns));
}

int main(int argc, char **argv)
{
    const char *usage = "usage: bench_peer PEER PORT lifecycle|enqueue CONNECTIONS BATCH SECONDS\n"
                        "       bench_peer PEER PORT latency SECONDS [PAUSE_MS]";
    if (argc < 5) {
        client_die("%s", usage);
    }
    struct load load = {0};
    for (const struct peer_wire *const *wire = wires; *wire != NULL; wire++) {
        if (strcmp((*wire)->name, argv[1]) == 0) {
            load.wire = *wire;
        }
    }
    if (load.wire == NULL) {
        client_die("no peer \"%s\"", argv[1]);
    }
    uint16_t port = (uint16_t)atoi(argv[2]);
    struct peer_conn first;
    open_conn(&first, 0, port);
    if (load.wire->prepare != NULL) {
        load.wire->prepare(&first);
    }
    close(first.fd);
    if (strcmp(argv[3], "latency") == 0) {
        run_latency(load.wire, port, atof(argv[4]), argc > 5 ? (unsigned)atoi(argv[5]) : 1);
        return 0;
    }
    load.has_turns = strcmp(argv[3], "lifecycle") == 0;
    if (argc < 7 || (!load.has_turns && strcmp(argv[3], "enqueue") != 0)) {
        client_die("%s", usage);
    }
    unsigned connections = (unsigned)atoi(argv[4]);
    load.batch = (unsigned)atoi(argv[5]);
    if (connections == 0 || load.batch == 0 || load.batch > PEER_BATCH_MAX) {
        client_die("at least one connection, and a batch of 1 to %u", PEER_BATCH_MAX);
    }
    run_load(&load, port, connections, atof(argv[6]));
    return 0;
}
