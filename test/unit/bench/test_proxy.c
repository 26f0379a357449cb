/* The line between two ends, good and bad. Both ends are plain sockets on a loop of their own thread's making. */
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "bench/proxy.h"

static struct loop loop;
static struct proxy *proxy;
static int listener;
static bool is_closed;

static int bind_listener(uint16_t *ret_port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_true(fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0 && listen(fd, 64) == 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    *ret_port = ntohs(address.sin_port);
    return fd;
}

static int setup(void **state)
{
    (void)state;
    uint16_t port;
    listener = bind_listener(&port);
    is_closed = false;
    assert_int_equal(loop_init(&loop), STATUS_OK);
    assert_int_equal(proxy_start(&loop, port, 1, &proxy), STATUS_OK);
    assert_true(proxy_port(proxy) != 0 && proxy_port(proxy) != port);
    return 0;
}

static void on_closed(void *ctx)
{
    (void)ctx;
    is_closed = true;
}

static int teardown(void **state)
{
    (void)state;
    proxy_close(proxy, on_closed, NULL);
    for (int i = 0; i < 1000 && !is_closed; i++) {
        uv_run(&loop.uv, UV_RUN_NOWAIT);
    }
    assert_true(is_closed);
    loop_free(&loop);
    close(listener);
    return 0;
}

static void turn(int64_t for_ms)
{
    int64_t until_ns = clock_mono_ns() + for_ms * NS_PER_MS;
    do {
        uv_run(&loop.uv, UV_RUN_NOWAIT);
        (void)poll(NULL, 0, 1);
    } while (clock_mono_ns() < until_ns);
}

static int dial(void)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(proxy_port(proxy)), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
        close(fd);
        return -errno;
    }
    struct timeval none = {.tv_usec = 1};
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &none, sizeof(none));
    return fd;
}

static int answer(void)
{
    for (int i = 0; i < 2000; i++) {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0) {
            return fd;
        }
        turn(1);
    }
    fail_msg("the proxy does not connect");
    return -1;
}

/* Reads `size` bytes while the loop turns; how long it took. */
static int64_t take(int fd, char *into, size_t size, int64_t within_ms)
{
    int64_t start_ns = clock_mono_ns();
    for (size_t len = 0; len < size;) {
        ssize_t got = recv(fd, into + len, size - len, MSG_DONTWAIT);
        if (got > 0) {
            len += (size_t)got;
        } else if (got == 0 || errno != EAGAIN) {
            return -1;
        } else {
            turn(1);
        }
        if (clock_mono_ns() > start_ns + within_ms * NS_PER_MS) {
            return -2;
        }
    }
    return clock_mono_ns() - start_ns;
}

static void test_passes_both_ways_and_the_end(void **state)
{
    (void)state;
    enum { SIZE = 1 << 20 };
    char *sent = malloc(SIZE), *came = malloc(SIZE);
    for (size_t i = 0; i < SIZE; i++) {
        sent[i] = (char)(i * 2654435761u >> 13);
    }
    int client = dial(), target = answer();
    assert_true(client >= 0);
    size_t out = 0, in = 0;
    while (in < SIZE) { /* more than what socket buffers and queue hold together */
        ssize_t wrote = out < SIZE ? send(client, sent + out, SIZE - out, MSG_DONTWAIT) : 0;
        out += wrote > 0 ? (size_t)wrote : 0;
        uv_run(&loop.uv, UV_RUN_NOWAIT);
        ssize_t got = recv(target, came + in, SIZE - in, MSG_DONTWAIT);
        in += got > 0 ? (size_t)got : 0;
    }
    assert_memory_equal(sent, came, SIZE);
    assert_int_equal(send(target, "answer", 6, 0), 6);
    assert_true(take(client, came, 6, 5000) >= 0);
    assert_memory_equal(came, "answer", 6);
    assert_int_equal(shutdown(client, SHUT_WR), 0);
    turn(20);
    assert_int_equal(recv(target, came, 1, MSG_DONTWAIT), 0); /* the end came through; the way back is open */
    assert_int_equal(send(target, "last", 4, 0), 4);
    assert_true(take(client, came, 4, 5000) >= 0);
    close(target);
    turn(20);
    assert_int_equal(recv(client, came, 1, MSG_DONTWAIT), 0);
    struct proxy_stats stats;
    proxy_stats(proxy, &stats);
    assert_int_equal(stats.open, 0);
    assert_int_equal(stats.bytes_to, SIZE);
    assert_int_equal(stats.bytes_from, 10);
    assert_int_equal(stats.resets, 0);
    close(client);
    free(sent);
    free(came);
}

static void test_delay(void **state)
{
    (void)state;
    char came[8];
    int client = dial(), target = answer();
    proxy_set_delay(proxy, (struct words_range){60 * NS_PER_MS, 80 * NS_PER_MS});
    assert_int_equal(send(client, "abcd", 4, 0), 4);
    int64_t took_ns = take(target, came, 4, 5000);
    assert_true(took_ns >= 55 * NS_PER_MS && took_ns < 1000 * NS_PER_MS);
    proxy_set_delay(proxy, (struct words_range){0, 0});
    assert_int_equal(send(target, "efgh", 4, 0), 4);
    took_ns = take(client, came, 4, 5000);
    assert_true(took_ns >= 0 && took_ns < 50 * NS_PER_MS);
    close(client);
    close(target);
}

static void test_bandwidth(void **state)
{
    (void)state;
    enum { SIZE = 100000 };
    static char data[SIZE];
    int client = dial(), target = answer();
    proxy_set_bandwidth(proxy, 250000); /* 0.4 s for what is sent */
    assert_int_equal(send(client, data, SIZE, 0), SIZE);
    int64_t took_ns = take(target, data, SIZE, 10000);
    assert_true(took_ns > 350 * NS_PER_MS && took_ns < 2000 * NS_PER_MS);
    close(client);
    close(target);
}

static void test_cut(void **state)
{
    (void)state;
    char came[8];
    int client = dial(), target = answer();
    turn(5);
    assert_int_equal(proxy_set_cut(proxy, true), STATUS_OK);
    turn(20);
    assert_true(recv(client, came, 1, MSG_DONTWAIT) == -1 && errno == ECONNRESET);
    assert_true(recv(target, came, 1, MSG_DONTWAIT) == -1 && errno == ECONNRESET);
    assert_int_equal(dial(), -ECONNREFUSED);
    uint16_t port = proxy_port(proxy);
    assert_int_equal(proxy_set_cut(proxy, false), STATUS_OK);
    assert_int_equal(proxy_port(proxy), port);
    close(client);
    close(target);
    client = dial();
    target = answer();
    assert_true(client >= 0);
    assert_int_equal(send(client, "abcd", 4, 0), 4);
    assert_true(take(target, came, 4, 5000) >= 0);
    close(client);
    close(target);
    assert_int_equal(proxy_set_cut(proxy, true), STATUS_OK); /* and is closed while it is cut */
}

static void test_blackhole(void **state)
{
    (void)state;
    char came[8];
    int client = dial(), target = answer();
    turn(5);
    proxy_set_blackhole(proxy, true);
    assert_int_equal(send(client, "abcd", 4, 0), 4);
    int second = dial();
    assert_true(second >= 0); /* taken, but led nowhere */
    assert_int_equal(send(second, "2nd", 3, 0), 3);
    turn(50);
    assert_true(recv(target, came, 1, MSG_DONTWAIT) == -1 && errno == EAGAIN);
    assert_true(accept(listener, NULL, NULL) == -1 && errno == EAGAIN);
    proxy_set_blackhole(proxy, false);
    assert_true(take(target, came, 4, 5000) >= 0);
    int second_target = answer();
    assert_true(take(second_target, came, 3, 5000) >= 0);
    assert_memory_equal(came, "2nd", 3);
    close(client);
    close(target);
    close(second);
    close(second_target);
}

static void test_loss(void **state)
{
    (void)state;
    char came[8];
    unsigned reset = 0;
    proxy_set_loss(proxy, 300);
    for (unsigned i = 0; i < 100; i++) {
        int client = dial(), target = answer();
        assert_int_equal(send(client, "abcd", 4, 0), 4);
        reset += take(target, came, 4, 5000) < 0;
        close(client);
        close(target);
        turn(1);
    }
    assert_in_range(reset, 15, 45); /* 30 are expected; three deviations are 14 */
    struct proxy_stats stats;
    proxy_stats(proxy, &stats);
    assert_true(stats.resets >= reset && stats.connections == 100);
}

static void test_target_that_refuses(void **state)
{
    (void)state;
    char came[8];
    close(listener);
    listener = -1;
    int client = dial();
    assert_true(client >= 0);
    turn(30);
    assert_true(recv(client, came, 1, MSG_DONTWAIT) == -1 && errno == ECONNRESET);
    close(client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_passes_both_ways_and_the_end, setup, teardown),
        cmocka_unit_test_setup_teardown(test_delay, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bandwidth, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cut, setup, teardown),
        cmocka_unit_test_setup_teardown(test_blackhole, setup, teardown),
        cmocka_unit_test_setup_teardown(test_loss, setup, teardown),
        cmocka_unit_test_setup_teardown(test_target_that_refuses, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
