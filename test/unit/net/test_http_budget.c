/* The memory that all connections share: who gets room, who waits, who is refused, and that nothing is forgotten. */
#include "net_fixture.h"

#define BODY_MAX (1u << 20)
#define LARGE "1048576"

static char letters[BODY_MAX];

static struct fixture *begin(int64_t room_ms)
{
    static struct fixture fixture;
    memset(letters, 'a', sizeof(letters));
    fixture_init(&fixture);
    fixture.config.body_size_max = BODY_MAX;
    fixture.config.memory_budget = 1; /* raised to what it has to be: room for two of the largest bodies at a time */
    fixture.config.room_ms = room_ms;
    fixture_start(&fixture);
    return &fixture;
}

static struct http_server_stats stats_of(struct fixture *f)
{
    struct http_server_stats stats;
    http_server_stats(f->server, &stats);
    return stats;
}

/* Turns the loop until it holds, however slow this machine is. */
#define WAIT(f, condition)                                                                                             \
    for (int64_t wait_end_ns = clock_mono_ns() + 20 * NS_PER_S; !(condition); pump_ms(f, 1)) {                         \
        assert_true(clock_mono_ns() < wait_end_ns);                                                                    \
    }

/* Every byte that was charged has been given back once nobody is there. */
static void finish(struct fixture *f, const int *fds, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        close(fds[i]);
    }
    WAIT(f, stats_of(f).connections == 0);
    assert_int_equal(stats_of(f).buffered, 0);
    assert_int_equal(stats_of(f).waiting, 0);
    fixture_end(f);
}

static int begin_large(struct fixture *f)
{
    int fd = client_open(f);
    client_say(f, fd, "POST /hello HTTP/1.1\r\nHost: a\r\nContent-Length: " LARGE "\r\n\r\n");
    client_send(f, fd, letters, 1000);
    pump(f);
    return fd;
}

static void end_large(struct fixture *f, int fd)
{
    client_send(f, fd, letters, BODY_MAX - 1000);
}

static void large_bodies_wait_in_line_and_small_ones_do_not(void **state)
{
    (void)state;
    struct fixture *f = begin(60000);
    int fds[6];
    uint64_t budget = stats_of(f).budget;
    assert_true(budget >= 4 * BODY_MAX && budget < 5 * BODY_MAX);
    for (int i = 0; i < 4; i++) {
        fds[i] = begin_large(f);
    }
    WAIT(f, stats_of(f).waiting == 2);
    assert_true(stats_of(f).buffered >= 2 * BODY_MAX);
    assert_true(stats_of(f).buffered < budget);
    /* Others: without a body, with one in a single piece, with one in two, in chunks. */
    char body[4096];
    fds[4] = client_open(f);
    client_say(f, fds[4],
               "GET /hello HTTP/1.1\r\nHost: a\r\n\r\nPOST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
    assert_int_equal(client_answer(f, fds[4], NULL, NULL), 200);
    assert_int_equal(client_answer(f, fds[4], NULL, body), 200);
    assert_string_equal(body, "abc");
    client_say(f, fds[4], "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc");
    pump_ms(f, 5);
    client_say(f, fds[4], "def");
    assert_int_equal(client_answer(f, fds[4], NULL, body), 200);
    assert_string_equal(body, "abcdef");
    client_say(f, fds[4], "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    pump_ms(f, 5);
    client_say(f, fds[4], "3\r\ndef\r\n0\r\n\r\n");
    assert_int_equal(client_answer(f, fds[4], NULL, body), 200);
    assert_string_equal(body, "abcdef");
    /* One who asks before it sends is not told to go on before there is room. */
    fds[5] = client_open(f);
    client_say(f, fds[5],
               "POST /hello HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: " LARGE "\r\n\r\n");
    WAIT(f, stats_of(f).waiting == 3);
    assert_int_equal(recv(fds[5], body, 1, MSG_DONTWAIT), -1);
    for (int i = 0; i < 4; i++) {
        end_large(f, fds[i]);
        assert_int_equal(client_answer(f, fds[i], NULL, NULL), 200);
    }
    assert_int_equal(client_head(f, fds[5], body), 100);
    client_send(f, fds[5], letters, BODY_MAX);
    assert_int_equal(client_answer(f, fds[5], NULL, NULL), 200);
    finish(f, fds, 6);
}

static void chunks_get_room_when_they_outgrow_what_is_small(void **state)
{
    (void)state;
    struct fixture *f = begin(60000);
    int fds[3] = {begin_large(f), begin_large(f), client_open(f)};
    client_say(f, fds[2], "POST /hello HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n40000\r\n");
    client_send(f, fds[2], letters, 200000);
    WAIT(f, stats_of(f).waiting == 1);
    end_large(f, fds[0]);
    assert_int_equal(client_answer(f, fds[0], NULL, NULL), 200);
    client_send(f, fds[2], letters, 0x40000 - 200000);
    client_say(f, fds[2], "\r\n0\r\n\r\n");
    assert_int_equal(client_answer(f, fds[2], NULL, NULL), 200);
    end_large(f, fds[1]);
    assert_int_equal(client_answer(f, fds[1], NULL, NULL), 200);
    finish(f, fds, 3);
}

static void who_waits_too_long_is_told_to_come_again(void **state)
{
    (void)state;
    struct fixture *f = begin(1500);
    int fds[3] = {begin_large(f), begin_large(f), begin_large(f)};
    char head[4096];
    assert_int_equal(client_answer(f, fds[2], head, NULL), 503);
    assert_non_null(strstr(head, "Retry-After: 1\r\n"));
    assert_int_equal(stats_of(f).waiting, 0);
    /* The rest of that body is dropped, and the connection goes on. */
    end_large(f, fds[2]);
    client_say(f, fds[2], "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_int_equal(client_answer(f, fds[2], NULL, NULL), 200);
    /* One in line hangs up, one that holds room does: the next has it. */
    int gone = begin_large(f), next;
    pump_ms(f, 20);
    close(gone);
    close(fds[0]);
    next = fds[0] = begin_large(f);
    end_large(f, next);
    assert_int_equal(client_answer(f, next, NULL, NULL), 200);
    finish(f, fds, 3);
}

static void who_is_slow_while_others_wait_loses_the_room(void **state)
{
    (void)state;
    struct fixture *f = begin(60000);
    int fds[4] = {begin_large(f), begin_large(f), begin_large(f), begin_large(f)};
    end_large(f, fds[3]);
    for (int i = 0; i < 70; i++) { /* a byte now and then keeps the idle time from passing */
        client_send(f, fds[0], letters, 1);
        client_send(f, fds[1], letters, 1);
        pump_ms(f, 100);
    }
    assert_int_equal(client_answer(f, fds[0], NULL, NULL), 408);
    assert_int_equal(client_answer(f, fds[1], NULL, NULL), 408);
    assert_int_equal(client_answer(f, fds[3], NULL, NULL), 200);
    /* Those who waited begin anew: their time in line was not theirs. */
    end_large(f, fds[2]);
    assert_int_equal(client_answer(f, fds[2], NULL, NULL), 200);
    assert_int_equal(stats_of(f).ended_slow, 2);
    finish(f, fds, 4);
}

/* A body is needed while the handler looks at it, not until the answer. */
static void a_pipeline_of_bodies_is_one_body(void **state)
{
    (void)state;
    struct fixture *f = begin(60000);
    int fd = client_open(f);
    for (int i = 0; i < 20; i++) {
        client_say(f, fd, "POST /kept HTTP/1.1\r\nHost: a\r\nContent-Length: " LARGE "\r\n\r\n");
        client_send(f, fd, letters, BODY_MAX);
    }
    WAIT(f, f->later_count >= 20);
    pump_ms(f, 20);
    assert_int_equal(f->later_count, 20);
    assert_true(stats_of(f).buffered < BODY_MAX / 4);
    assert_true(stats_of(f).buffered_max < 2 * BODY_MAX);
    for (unsigned i = 0; i < 20; i++) {
        answer_later(f, i, "done");
        assert_int_equal(client_answer(f, fd, NULL, NULL), 200);
    }
    finish(f, &fd, 1);
}

/* One that is kept goes on counting. Nobody gets more room than there is by keeping. */
static void kept_bodies_count_as_long_as_they_are_kept(void **state)
{
    (void)state;
    struct fixture *f = begin(60000);
    int fd = client_open(f);
    for (int i = 0; i < 2; i++) {
        client_say(f, fd, "POST /later HTTP/1.1\r\nHost: a\r\nContent-Length: " LARGE "\r\n\r\n");
        client_send(f, fd, letters, BODY_MAX);
    }
    client_say(f, fd, "POST /later HTTP/1.1\r\nHost: a\r\nContent-Length: " LARGE "\r\n\r\n");
    WAIT(f, f->later_count >= 2);
    pump_ms(f, 20);
    assert_int_equal(f->later_count, 2);
    assert_int_equal(f->later[1]->body.len, BODY_MAX);
    assert_int_equal(f->later[1]->body.data[BODY_MAX - 1], 'a');
    assert_true(stats_of(f).buffered >= 2 * BODY_MAX);
    assert_int_equal(stats_of(f).waiting, 1);
    answer_later(f, 0, "done");
    assert_int_equal(client_answer(f, fd, NULL, NULL), 200);
    client_send(f, fd, letters, BODY_MAX);
    WAIT(f, f->later_count >= 3);
    pump_ms(f, 20);
    assert_int_equal(f->later_count, 3);
    answer_later(f, 1, "done");
    answer_later(f, 2, "done");
    assert_int_equal(client_answer(f, fd, NULL, NULL), 200);
    assert_int_equal(client_answer(f, fd, NULL, NULL), 200);
    finish(f, &fd, 1);
}

static void pressed_and_over(void **state)
{
    (void)state;
    struct fixture *f = begin(60000);
    int fds[2] = {client_open(f), client_open(f)};
    int64_t budget = (int64_t)stats_of(f).budget;
    char head[4096];
    /* Pressed: one request of a connection at a time, and everybody is served. */
    http_server_charge(f->server, budget / 5 * 4);
    assert_true(http_server_is_pressed(f->server));
    client_say(f, fds[0],
               "GET /later HTTP/1.1\r\nHost: a\r\n\r\nGET /later HTTP/1.1\r\nHost: a\r\n\r\n"
               "GET /later HTTP/1.1\r\nHost: a\r\n\r\n");
    WAIT(f, f->later_count >= 1);
    pump_ms(f, 20);
    assert_int_equal(f->later_count, 1);
    client_say(f, fds[1], "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_int_equal(client_answer(f, fds[1], NULL, NULL), 200);
    answer_later(f, 0, "one");
    assert_int_equal(client_answer(f, fds[0], NULL, NULL), 200);
    WAIT(f, f->later_count >= 2);
    pump_ms(f, 20);
    assert_int_equal(f->later_count, 2);
    /* Over: come again. */
    http_server_charge(f->server, budget / 5);
    client_say(f, fds[1], "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
    assert_int_equal(client_answer(f, fds[1], head, NULL), 503);
    assert_non_null(strstr(head, "Retry-After: 1\r\n"));
    assert_int_equal(f->refused_status, STATUS_BUSY);
    /* And all is well again, also for who waited unread. */
    http_server_charge(f->server, -(budget / 5 * 4) - budget / 5);
    WAIT(f, f->later_count >= 3);
    assert_false(http_server_is_pressed(f->server));
    assert_int_equal(stats_of(f).pressed, 1);
    client_say(f, fds[1], "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_int_equal(client_answer(f, fds[1], NULL, NULL), 200);
    answer_later(f, 1, "two");
    answer_later(f, 2, "three");
    assert_int_equal(client_answer(f, fds[0], NULL, NULL), 200);
    assert_int_equal(client_answer(f, fds[0], NULL, NULL), 200);
    finish(f, fds, 2);
}

/* Answers that nobody reads, on many connections: who holds them is ended when others need the room. */
static void unread_answers_count_and_go(void **state)
{
    (void)state;
    enum { READERS = 8 };
    struct fixture *f = begin(60000);
    int fds[READERS + 1];
    for (int i = 0; i < READERS; i++) {
        int small = 4096;
        fds[i] = client_open(f);
        setsockopt(fds[i], SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
        for (int n = 0; n < 8; n++) { /* as much as the sockets hold, and more */
            client_say(f, fds[i], "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: " LARGE "\r\n\r\n");
            client_send(f, fds[i], letters, BODY_MAX / 4);
            pump_ms(f, 1);
            if (stats_of(f).pressed > 0) {
                break;
            }
            client_send(f, fds[i], letters, BODY_MAX - BODY_MAX / 4);
        }
    }
    if (stats_of(f).pressed == 0) {
        print_message("the sockets of this machine hold it all\n");
    }
    assert_true(stats_of(f).buffered_max < 2 * stats_of(f).budget);
    fds[READERS] = client_open(f);
    int status = 503; /* at the worst, until the slow ones have been ended */
    for (int64_t end_ns = clock_mono_ns() + 5 * NS_PER_S; status == 503; pump_ms(f, 100)) {
        client_say(f, fds[READERS], "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
        status = client_answer(f, fds[READERS], NULL, NULL);
        assert_true(clock_mono_ns() < end_ns);
    }
    assert_int_equal(status, 200);
    for (int64_t end_ns = clock_mono_ns() + 15 * NS_PER_S; http_server_is_pressed(f->server); pump_ms(f, 10)) {
        assert_true(clock_mono_ns() < end_ns);
    }
    finish(f, fds, READERS + 1);
}

/* Messages of WebSockets in pieces count; past the end their connections are closed, and only those. */
static void websocket_messages_count(void **state)
{
    (void)state;
    struct fixture *f = begin(60000);
    int fds[2];
    char head[4096];
    for (int i = 0; i < 2; i++) {
        fds[i] = client_open(f);
        client_say(f, fds[i],
                   "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                   "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
                   "Sec-WebSocket-Protocol: test.v1\r\n\r\n");
        assert_int_equal(client_head(f, fds[i], head), 101);
    }
    uint64_t before = stats_of(f).buffered;
    client_send(f, fds[0], "\x81\xff\0\0\0\0\0\x10\0\0mask", 14); /* a text of 1 MiB */
    client_send(f, fds[0], letters, BODY_MAX / 2);
    WAIT(f, stats_of(f).buffered >= before + BODY_MAX / 2);
    assert_int_equal(f->ws_closed, 0);
    int64_t budget = (int64_t)stats_of(f).budget;
    http_server_charge(f->server, budget);
    WAIT(f, f->ws_closed > 0);
    assert_int_equal(stats_of(f).websockets, 1);
    http_server_charge(f->server, -budget);
    client_send(f, fds[1], "\x81\x82mask\0\0", 8); /* the other one goes on: a message of two letters comes back */
    client_read(f, fds[1], head, 4);
    assert_memory_equal(head, "\x81\x02ma", 4);
    finish(f, fds, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(large_bodies_wait_in_line_and_small_ones_do_not),
        cmocka_unit_test(chunks_get_room_when_they_outgrow_what_is_small),
        cmocka_unit_test(who_waits_too_long_is_told_to_come_again),
        cmocka_unit_test(who_is_slow_while_others_wait_loses_the_room),
        cmocka_unit_test(a_pipeline_of_bodies_is_one_body),
        cmocka_unit_test(kept_bodies_count_as_long_as_they_are_kept),
        cmocka_unit_test(pressed_and_over),
        cmocka_unit_test(unread_answers_count_and_go),
        cmocka_unit_test(websocket_messages_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
