#include "truth_server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define FDS_MAX 4096
#define RECORDS_MAX 200000
#define NS_PER_S INT64_C(1000000000)

struct due { /* an answer that waits for its time */
    int64_t at_ns;
    int fd;
    uint64_t index;
    uint32_t generation; /* of the connection */
};
struct truth_server {
    struct truth_config config;
    pthread_t thread;
    atomic_bool must_end;
    int listener, epoll;
    uint64_t answers;
    int64_t stall_begin_ns;
    bool has_stalled;
    char in[FDS_MAX][512];
    size_t in_len[FDS_MAX];
    uint32_t generation[FDS_MAX];
    bool is_open[FDS_MAX];
    struct due heap[FDS_MAX * 4];
    size_t heap_len;
    struct truth_record records[RECORDS_MAX];
    uint64_t record_count;
};

static int64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * NS_PER_S + time.tv_nsec;
}

/* --- the heap of what is due --- */

static void heap_push(struct truth_server *server, struct due due)
{
    size_t at = server->heap_len++;
    while (at > 0 && server->heap[(at - 1) / 2].at_ns > due.at_ns) {
        server->heap[at] = server->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    server->heap[at] = due;
}

static struct due heap_pop(struct truth_server *server)
{
    struct due top = server->heap[0];
    struct due last = server->heap[--server->heap_len];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child + 1 < server->heap_len && server->heap[child + 1].at_ns < server->heap[child].at_ns) {
            child++;
        }
        if (child >= server->heap_len || server->heap[child].at_ns >= last.at_ns) {
            break;
        }
        server->heap[at] = server->heap[child];
        at = child;
    }
    server->heap[at] = last;
    return top;
}

/* --- answering --- */

static void close_fd(struct truth_server *server, int fd, bool is_reset)
{
    if (is_reset) {
        struct linger linger = {.l_onoff = 1, .l_linger = 0};
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    }
    server->is_open[fd] = false;
    close(fd);
}

static void say(int fd, const char *text, size_t len)
{
    while (len > 0) {
        ssize_t sent = send(fd, text, len, MSG_NOSIGNAL);
        if (sent < 0 && (errno == EAGAIN || errno == EINTR)) {
            usleep(200);
            continue;
        }
        if (sent <= 0) {
            return;
        }
        text += sent;
        len -= (size_t)sent;
    }
}

static void say_text(int fd, const char *text)
{
    say(fd, text, strlen(text));
}

static const char plain[] =
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n{\"status\":\"ok\"}";

static void say_varying(struct truth_server *server, int fd)
{
    size_t size = (size_t)(server->answers * 7919 % 200000);
    char head[256];
    char *body = malloc(size + 1);
    int len = snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nX-Number: %llu\r\nContent-Length: %zu\r\n\r\n",
                       (unsigned long long)server->answers, size);
    memset(body, 'b', size);
    say(fd, head, (size_t)len);
    say(fd, body, size);
    free(body);
}

static void say_huge_head(int fd)
{
    say_text(fd, "HTTP/1.1 200 OK\r\n");
    for (int i = 0; i < 1024; i++) {
        char line[1024];
        memset(line, 'h', sizeof(line));
        int len = snprintf(line, sizeof(line), "X-%d: ", i);
        line[len] = 'h';
        memcpy(line + sizeof(line) - 2, "\r\n", 2);
        if (send(fd, line, sizeof(line), MSG_NOSIGNAL) < 0) {
            return;
        }
    }
}

static void answer(struct truth_server *server, int fd)
{
    server->answers++;
    switch (server->config.manner) {
    case TRUTH_ANSWERS:
        say_text(fd, plain);
        break;
    case TRUTH_CHUNKED:
        say_text(fd,
                 "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"sta\r\na\r\ntus\":\"ok\"}\r\n0\r\n\r\n");
        break;
    case TRUTH_INTERIM:
        say_text(fd, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
        say_text(fd, plain);
        break;
    case TRUTH_SPLIT:
        for (size_t i = 0; i < sizeof(plain) - 1; i++) {
            say(fd, plain + i, 1);
        }
        break;
    case TRUTH_UNTIL_END:
        say_text(fd, "HTTP/1.0 200 OK\r\n\r\n{\"status\":\"ok\"}");
        close_fd(server, fd, false);
        break;
    case TRUTH_SAYS_CLOSE:
        say_text(fd, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}");
        close_fd(server, fd, false);
        break;
    case TRUTH_JUST_CLOSES:
        say_text(fd, plain);
        close_fd(server, fd, false);
        break;
    case TRUTH_VARIES:
        say_varying(server, fd);
        break;
    case TRUTH_RESETS:
        say(fd, plain, 40);
        close_fd(server, fd, true);
        break;
    case TRUTH_ENDS:
        say(fd, plain, sizeof(plain) - 3);
        close_fd(server, fd, false);
        break;
    case TRUTH_HANGS_UP:
        close_fd(server, fd, false);
        break;
    case TRUTH_STALLS:
        break;
    case TRUTH_GARBAGE:
        say_text(fd, "220 mail.example ESMTP ready\r\n");
        break;
    case TRUTH_HUGE_HEAD:
        say_huge_head(fd);
        close_fd(server, fd, false);
        break;
    case TRUTH_TALKS_ON:
        say_text(fd, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{} and another thing");
        break;
    case TRUTH_FAILS:
        say_text(fd, "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n");
        break;
    }
}

static void answer_due(struct truth_server *server)
{
    while (server->heap_len > 0 && server->heap[0].at_ns <= now()) {
        struct due due = heap_pop(server);
        if (!server->is_open[due.fd] || server->generation[due.fd] != due.generation) {
            continue;
        }
        if (due.index < RECORDS_MAX) {
            server->records[due.index].sent_ns = now();
        }
        answer(server, due.fd);
    }
}

static void take_request(struct truth_server *server, int fd)
{
    char kind = 0;
    unsigned long long index = 0;
    server->in[fd][server->in_len[fd]] = '\0';
    sscanf(server->in[fd], "%*s /%c/%llu", &kind, &index);
    server->in_len[fd] = 0;
    int64_t received_ns = now();
    int64_t delay_ns = server->config.delay_ns != NULL ? server->config.delay_ns(kind, index) : 0;
    if (index < RECORDS_MAX) {
        server->records[index] = (struct truth_record){.received_ns = received_ns, .delay_ns = delay_ns, .kind = kind};
        if (index >= server->record_count) {
            server->record_count = index + 1;
        }
    }
    if (server->stall_begin_ns == 0 && server->config.stall_for_ns > 0) {
        server->stall_begin_ns = received_ns + server->config.stall_at_ns;
    }
    heap_push(
        server,
        (struct due){.at_ns = received_ns + delay_ns, .fd = fd, .index = index, .generation = server->generation[fd]});
}

static void on_readable(struct truth_server *server, int fd)
{
    size_t room = sizeof(server->in[fd]) - 1 - server->in_len[fd];
    ssize_t got = recv(fd, server->in[fd] + server->in_len[fd], room, 0);
    if (got < 0 && errno == EAGAIN) {
        return;
    }
    if (got <= 0) {
        close_fd(server, fd, false);
        return;
    }
    server->in_len[fd] += (size_t)got;
    if (memmem(server->in[fd], server->in_len[fd], "\r\n\r\n", 4) != NULL) {
        take_request(server, fd);
    }
}

static void on_connection(struct truth_server *server)
{
    int fd = accept4(server->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0 || fd >= FDS_MAX) {
        if (fd >= 0) {
            close(fd);
        }
        return;
    }
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    server->in_len[fd] = 0;
    server->generation[fd]++;
    server->is_open[fd] = true;
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    epoll_ctl(server->epoll, EPOLL_CTL_ADD, fd, &event);
}

static void stall_if_due(struct truth_server *server)
{
    if (server->has_stalled || server->stall_begin_ns == 0 || now() < server->stall_begin_ns) {
        return;
    }
    server->has_stalled = true;
    int64_t end_ns = server->stall_begin_ns + server->config.stall_for_ns;
    struct timespec until = {.tv_sec = (time_t)(end_ns / NS_PER_S), .tv_nsec = (long)(end_ns % NS_PER_S)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR) {
    }
}

static void *serve(void *ctx)
{
    struct truth_server *server = ctx;
    struct epoll_event events[256];
    while (!atomic_load(&server->must_end)) {
        int64_t wait_ns = 20000000;
        if (server->heap_len > 0 && server->heap[0].at_ns - now() < wait_ns) {
            wait_ns = server->heap[0].at_ns - now();
        }
        if (!server->has_stalled && server->stall_begin_ns != 0 && server->stall_begin_ns - now() < wait_ns) {
            wait_ns = server->stall_begin_ns - now();
        }
        struct timespec timeout = {.tv_nsec = wait_ns > 0 ? (long)wait_ns : 0};
        int count = epoll_pwait2(server->epoll, events, 256, &timeout, NULL);
        stall_if_due(server);
        answer_due(server);
        for (int i = 0; i < count; i++) {
            if (events[i].data.fd == server->listener) {
                on_connection(server);
            } else if (server->is_open[events[i].data.fd]) {
                on_readable(server, events[i].data.fd);
            }
        }
        answer_due(server);
    }
    for (int fd = 0; fd < FDS_MAX; fd++) {
        if (server->is_open[fd]) {
            close(fd);
        }
    }
    return NULL;
}

struct truth_server *truth_server_start(const struct truth_config *config, uint16_t *ret_port)
{
    struct truth_server *server = calloc(1, sizeof(*server));
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    if (server == NULL) {
        return NULL;
    }
    server->config = *config;
    server->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    server->epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = server->listener};
    if (bind(server->listener, (struct sockaddr *)&address, size) != 0 || listen(server->listener, 4096) != 0 ||
        getsockname(server->listener, (struct sockaddr *)&address, &size) != 0 ||
        epoll_ctl(server->epoll, EPOLL_CTL_ADD, server->listener, &event) != 0 ||
        pthread_create(&server->thread, NULL, serve, server) != 0) {
        free(server);
        return NULL;
    }
    *ret_port = ntohs(address.sin_port);
    return server;
}

const struct truth_record *truth_server_stop(struct truth_server *server, uint64_t *ret_count,
                                             int64_t *ret_stall_begin_ns)
{
    atomic_store(&server->must_end, true);
    pthread_join(server->thread, NULL);
    close(server->listener);
    close(server->epoll);
    *ret_count = server->record_count;
    *ret_stall_begin_ns = server->stall_begin_ns;
    return server->records;
}

void truth_server_free(struct truth_server *server)
{
    free(server);
}
