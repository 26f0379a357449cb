#include "net_fixture.h"

#include <fcntl.h>
#include <sys/resource.h>

#include "base/limits.h"

static struct fixture *begin(void)
{
    static struct fixture fixture;
    fixture_init(&fixture);
    return &fixture;
}

static struct fixture *begin_started(void)
{
    struct fixture *fixture = begin();
    fixture_start(fixture);
    return fixture;
}

static void end(struct fixture *fixture, int fd)
{
    close(fd);
    fixture_end(fixture);
}

static void simple_answers_and_keep_alive(void **state)
{
    (void)state;
    struct fixture *f = begin_started();
    char head[4096], body[4096];
    int fd = client_open(f);
    for (int i = 0; i < 3; i++) {
        client_say(f, fd, "GET /hello HTTP/1.1\r\nHost: t\r\n\r\n");
        assert_int_equal(client_answer(f, fd, head, body), 200);
        assert_string_equal(body, "hello");
        assert_non_null(strstr(head, "\r\nDate: "));
        assert_non_null(strstr(head, "\r\nContent-Type: text/plain\r\n"));
        assert_null(strstr(head, "\r\nConnection:"));
    }
    client_say(f, fd, "HEAD /hello HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_int_equal(client_head(f, fd, head), 200);
    assert_non_null(strstr(head, "Content-Length: 5\r\n"));
    client_say(f, fd, "GET /empty HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_int_equal(client_answer(f, fd, head, body), 204);
    assert_null(strstr(head, "Content-"));
    client_say(f, fd, "GET /query?a=1&name=b%20c+d%zz&x HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_int_equal(client_answer(f, fd, head, body), 200);
    assert_string_equal(body, "b c d%zz");
    client_say(f, fd, "GET http://t/query?name=plain HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_int_equal(client_answer(f, fd, head, body), 200);
    assert_string_equal(body, "plain");
    client_say(f, fd, "GET /header HTTP/1.1\r\nHost: t\r\nX-Empty:\r\nx-TEST: a value \r\n\r\n");
    assert_int_equal(client_answer(f, fd, head, body), 200);
    assert_string_equal(body, "a value");
    client_say(f, fd, "GET /peer HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_int_equal(client_answer(f, fd, head, body), 200);
    assert_memory_equal(body, "127.0.0.1:", 10);
    struct http_server_stats stats;
    http_server_stats(f->server, &stats);
    assert_int_equal(stats.accepted, 1);
    assert_int_equal(stats.connections, 1);
    assert_int_equal(stats.requests, 9);
    assert_int_equal(stats.in_flight, 0);
    end(f, fd);
}

/* Every way to cut two pipelined requests, one with chunks, into two pieces. */
static void requests_split_at_every_byte(void **state)
{
    (void)state;
    static const char text[] = "POST /echo HTTP/1.1\r\nHost: t\r\nX-Test: 1\r\nContent-Length: 5\r\n\r\nabcde"
                               "POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n"
                               "3;x=y\r\nfgh\r\n2\r\nij\r\n0\r\nTrailer: z\r\n\r\n"
                               "GET /header HTTP/1.1\r\nHost: t\r\nX-Test: v\r\n\r\n";
    struct fixture *f = begin_started();
    char body[4096];
    int fd = client_open(f);
    for (size_t cut = 1; cut < sizeof(text) - 1; cut++) {
        client_send(f, fd, text, cut);
        pump(f);
        client_send(f, fd, text + cut, sizeof(text) - 1 - cut);
        assert_int_equal(client_answer(f, fd, NULL, body), 200);
        assert_string_equal(body, "abcde");
        assert_int_equal(client_answer(f, fd, NULL, body), 200);
        assert_string_equal(body, "fghij");
        assert_int_equal(client_answer(f, fd, NULL, body), 200);
        assert_string_equal(body, "v");
    }
    for (size_t at = 0; at < sizeof(text) - 1; at++) {
        client_send(f, fd, text + at, 1);
        pump(f);
    }
    for (int i = 0; i < 3; i++) {
        assert_int_equal(client_answer(f, fd, NULL, NULL), 200);
    }
    end(f, fd);
}

static void pipelined_answers_keep_their_order(void **state)
{
    (void)state;
    struct fixture *f = begin_started();
    char body[4096];
    int fd = client_open(f);
    client_say(f, fd,
               "GET /later HTTP/1.1\r\nHost: t\r\n\r\nGET /later HTTP/1.1\r\nHost: t\r\n\r\n"
               "GET /hello HTTP/1.1\r\nHost: t\r\n\r\nGET /later HTTP/1.1\r\nHost: t\r\n\r\n");
    pump_ms(f, 5);
    assert_int_equal(f->later_count, 3);
    answer_later(f, 2, "third");
    answer_later(f, 1, "second");
    assert_false(client_sees_end(f, fd, 20));
    answer_later(f, 0, "first");
    static const char *const expected[] = {"first", "second", "hello", "third"};
    for (int i = 0; i < 4; i++) {
        assert_int_equal(client_answer(f, fd, NULL, body), 200);
        assert_string_equal(body, expected[i]);
    }
    end(f, fd);
}

static void a_full_pipeline_stops_reading(void **state)
{
    (void)state;
    struct fixture *f = begin_started();
    char body[4096];
    char text[64];
    int fd = client_open(f);
    for (int i = 0; i < LIMIT_HTTP_PIPELINE + 50; i++) {
        client_say(f, fd, "GET /later HTTP/1.1\r\nHost: t\r\n\r\n");
    }
    pump_ms(f, 20);
    assert_int_equal(f->later_count, LIMIT_HTTP_PIPELINE);
    for (unsigned i = 0; i < LIMIT_HTTP_PIPELINE + 50; i++) {
        snprintf(text, sizeof(text), "%u", i);
        answer_later(f, i, text);
        assert_int_equal(client_answer(f, fd, NULL, body), 200);
        assert_string_equal(body, text);
        assert_true(f->later_count <= i + 1 + LIMIT_HTTP_PIPELINE);
    }
    end(f, fd);
}

static void bodies_large_and_kept(void **state)
{
    (void)state;
    struct fixture *f = begin();
    f->config.body_size_max = 300000;
    fixture_start(f);
    static char text[400000], got[400000];
    int fd = client_open(f);
    int head_len = snprintf(text, sizeof(text), "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 300000\r\n\r\n");
    for (int i = 0; i < 300000; i++) {
        text[head_len + i] = (char)('a' + i % 23);
    }
    client_send(f, fd, text, (size_t)head_len + 300000);
    char head[4096];
    assert_int_equal(client_head(f, fd, head), 200);
    client_read(f, fd, got, 300000);
    assert_memory_equal(got, text + head_len, 300000);

    /* A body that was kept is there when the read buffer has long held other things. */
    client_say(f, fd, "POST /later HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\n\r\nkeep");
    client_say(f, fd, "GET /hello HTTP/1.1\r\nHost: t\r\n\r\n");
    pump_ms(f, 5);
    assert_true(slice_equal_str(f->later[0]->body, "keep"));
    answer_later(f, 0, "ok");
    assert_int_equal(client_answer(f, fd, NULL, NULL), 200);
    assert_int_equal(client_answer(f, fd, NULL, NULL), 200);
    end(f, fd);
}

static void an_oversized_body_is_refused_and_the_connection_kept(void **state)
{
    (void)state;
    struct fixture *f = begin();
    f->config.body_size_max = 100;
    fixture_start(f);
    char body[4096], head[4096];
    static char big[5000];
    memset(big, 'b', sizeof(big));
    int fd = client_open(f);
    /* With a length, which is small enough to read past. */
    client_say(f, fd, "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 5000\r\n\r\n");
    assert_int_equal(client_answer(f, fd, head, body), 413);
    assert_null(strstr(head, "Connection: close"));
    assert_string_equal(body, "{\"code\":\"too-large\"}");
    client_send(f, fd, big, sizeof(big));
    client_say(f, fd, "GET /hello HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_int_equal(client_answer(f, fd, head, body), 200);
    /* Chunked: found out half-way. */
    client_say(f, fd, "POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 5; i++) {
        client_say(f, fd, "28\r\n0123456789012345678901234567890123456789\r\n");
    }
    client_say(f, fd, "0\r\n\r\nGET /hello HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_int_equal(client_answer(f, fd, head, body), 413);
    assert_int_equal(client_answer(f, fd, head, body), 200);
    /* Exactly the limit is no more than the limit. */
    client_say(f, fd, "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 100\r\n\r\n");
    client_send(f, fd, big, 100);
    assert_int_equal(client_answer(f, fd, head, body), 200);
    assert_int_equal(f->handled, 3);
    end(f, fd);
}

/* Sends exactly so much; false when the server cut it off. Reads nothing, as many clients do while they write. */
static bool send_all(struct fixture *f, int fd, size_t size)
{
    static char big[1 << 16];
    int64_t end_ns = clock_mono_ns() + 20 * NS_PER_S;
    while (size > 0 && clock_mono_ns() < end_ns) {
        ssize_t count = send(fd, big, size < sizeof(big) ? size : sizeof(big), MSG_DONTWAIT | MSG_NOSIGNAL);
        if (count > 0) {
            size -= (size_t)count;
        } else if (errno != EAGAIN) {
            return false;
        }
        pump(f);
    }
    return size == 0;
}

static void a_client_that_writes_everything_before_it_reads_gets_its_answer(void **state)
{
    (void)state;
    struct fixture *f = begin();
    f->config.body_size_max = 100;
    fixture_start(f);
    char body[4096], head[4096];
    int fd = client_open(f);
    /* 9 MiB, with a length and in one chunk: the connection goes on. */
    client_say(f, fd, "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 9437184\r\n\r\n");
    assert_true(send_all(f, fd, 9437184));
    client_say(f, fd, "GET /hello HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_int_equal(client_answer(f, fd, head, body), 413);
    assert_null(strstr(head, "Connection: close"));
    assert_int_equal(client_answer(f, fd, head, body), 200);
    client_say(f, fd, "POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n900000\r\n");
    assert_true(send_all(f, fd, 9437184));
    client_say(f, fd, "\r\n0\r\n\r\nGET /hello HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_int_equal(client_answer(f, fd, head, body), 413);
    assert_int_equal(client_answer(f, fd, head, body), 200);
    /* One that is too long to be worth it ends the connection, but not before the client has its answer. */
    client_say(f, fd, "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 70000000\r\n\r\n");
    assert_true(send_all(f, fd, 70000000));
    assert_int_equal(client_answer(f, fd, head, body), 413);
    assert_non_null(strstr(head, "Connection: close"));
    assert_true(client_sees_end(f, fd, 2000));
    assert_int_equal(f->handled, 2);
    end(f, fd);
}

/* Sends a byte at a time, until the server cuts it off; how long that took. */
static int64_t trickle_ns(struct fixture *f, int fd, int pause_ms)
{
    int64_t begin_ns = clock_mono_ns();
    while (clock_mono_ns() - begin_ns < 40 * NS_PER_S && send(fd, "x", 1, MSG_DONTWAIT | MSG_NOSIGNAL) == 1) {
        pump_ms(f, pause_ms);
    }
    return clock_mono_ns() - begin_ns;
}

static void a_sender_that_goes_on_for_ever_is_cut_off(void **state)
{
    (void)state;
    struct fixture *f = begin();
    f->config.body_size_max = 100;
    f->config.drop_idle_ms = 700;
    f->config.drop_ms = 2000;
    fixture_start(f);
    static const char *const heads[] = {
        "POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n7fffffff\r\n",
        "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 5000\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 5000000000\r\n\r\n", /* this one is told to stop */
    };
    char head[4096];
    struct http_server_stats stats;
    for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
        /* A pause that is longer than it may be */
        int fd = client_open(f);
        client_say(f, fd, heads[i]);
        send_all(f, fd, 200);
        assert_int_equal(client_answer(f, fd, head, NULL), 413);
        pump_ms(f, 300);
        http_server_stats(f->server, &stats);
        assert_int_equal(stats.connections, 1);
        pump_ms(f, 1200);
        http_server_stats(f->server, &stats);
        assert_int_equal(stats.connections, 0);
        close(fd);
        /* No pause, and no end either */
        fd = client_open(f);
        client_say(f, fd, heads[i]);
        send_all(f, fd, 200);
        int64_t took_ns = trickle_ns(f, fd, 50);
        assert_in_range(took_ns / NS_PER_MS, 1500, 5000);
        pump_ms(f, 20);
        http_server_stats(f->server, &stats);
        assert_int_equal(stats.connections, 0);
        close(fd);
    }
    fixture_end(f);
}

static void expect_continue(void **state)
{
    (void)state;
    struct fixture *f = begin();
    f->config.body_size_max = 100;
    fixture_start(f);
    char head[4096], body[4096];
    int fd = client_open(f);
    client_say(f, fd, "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\nExpect: 100-Continue\r\n\r\n");
    assert_int_equal(client_head(f, fd, head), 100);
    client_say(f, fd, "abc");
    assert_int_equal(client_answer(f, fd, head, body), 200);
    assert_string_equal(body, "abc");
    /* Behind another request the 100 waits for its turn. */
    client_say(f, fd,
               "GET /later HTTP/1.1\r\nHost: t\r\n\r\n"
               "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
    pump_ms(f, 10);
    answer_later(f, 0, "x");
    assert_int_equal(client_answer(f, fd, head, body), 200);
    assert_int_equal(client_head(f, fd, head), 100);
    client_say(f, fd, "def");
    assert_int_equal(client_answer(f, fd, head, body), 200);
    assert_string_equal(body, "def");
    /* Refused without the body: nobody knows whether it comes, so the connection ends. */
    client_say(f, fd, "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 101\r\nExpect: 100-continue\r\n\r\n");
    assert_int_equal(client_answer(f, fd, head, body), 413);
    assert_non_null(strstr(head, "Connection: close"));
    assert_true(client_sees_end(f, fd, 2000));
    end(f, fd);
}

static void connection_close_and_http10(void **state)
{
    (void)state;
    struct fixture *f = begin_started();
    char head[4096], body[4096];
    static const char *const closing[] = {
        "GET /hello HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\nGET /hello HTTP/1.1\r\nHost: t\r\n\r\n",
        "GET /hello HTTP/1.0\r\n\r\n",
        "GET /hello HTTP/1.0\r\nHost: t\r\n\r\n",
    };
    for (size_t i = 0; i < sizeof(closing) / sizeof(closing[0]); i++) {
        int fd = client_open(f);
        client_say(f, fd, closing[i]);
        assert_int_equal(client_answer(f, fd, head, body), 200);
        assert_non_null(strstr(head, "\r\nConnection: close\r\n"));
        assert_true(client_sees_end(f, fd, 2000));
        close(fd);
    }
    assert_int_equal(f->handled, 3);
    int fd = client_open(f);
    client_say(
        f, fd,
        "GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    for (int i = 0; i < 2; i++) {
        assert_int_equal(client_answer(f, fd, head, body), 200);
        assert_non_null(strstr(head, "\r\nConnection: keep-alive\r\n"));
    }
    /* HTTP/1.0 knows no chunks: the end of the connection ends the body. */
    f->download_left = 3;
    client_say(f, fd, "GET /down HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /hello HTTP/1.0\r\n\r\n");
    assert_int_equal(client_head(f, fd, head), 200);
    assert_null(strstr(head, "chunked"));
    assert_non_null(strstr(head, "Connection: close"));
    assert_int_equal(client_read_all(f, fd, body, sizeof(body)), 3);
    end(f, fd);
}

static void half_close_still_gets_its_answers(void **state)
{
    (void)state;
    struct fixture *f = begin_started();
    char body[4096];
    int fd = client_open(f);
    client_say(f, fd, "GET /later HTTP/1.1\r\nHost: t\r\n\r\nGET /hello HTTP/1.1\r\nHost: t\r\n\r\nGET /cut");
    shutdown(fd, SHUT_WR);
    pump_ms(f, 20);
    assert_int_equal(f->gone_count, 0);
    answer_later(f, 0, "late");
    assert_int_equal(client_answer(f, fd, NULL, body), 200);
    assert_string_equal(body, "late");
    assert_int_equal(client_answer(f, fd, NULL, body), 200);
    assert_true(client_sees_end(f, fd, 2000));
    close(fd);
    /* A long poll may say that the end of the stream means the end of the client. */
    fd = client_open(f);
    client_say(f, fd, "GET /later?poll HTTP/1.1\r\nHost: t\r\n\r\n");
    pump_ms(f, 5);
    close(fd);
    pump_ms(f, 20);
    assert_int_equal(f->gone_count, 1);
    /* Also when the connection was to end with this request. */
    fd = client_open(f);
    client_say(f, fd, "GET /later?poll HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\nmore that nobody asked for");
    pump_ms(f, 5);
    close(fd);
    pump_ms(f, 20);
    assert_int_equal(f->gone_count, 2);
    fixture_end(f);
}

static void reset(int fd)
{
    struct linger linger = {.l_onoff = 1, .l_linger = 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    close(fd);
}

static void a_client_that_leaves(void **state)
{
    (void)state;
    struct fixture *f = begin_started();
    int fd = client_open(f);
    client_say(f, fd,
               "GET /later HTTP/1.1\r\nHost: t\r\n\r\nGET /later HTTP/1.1\r\nHost: t\r\n\r\n"
               "GET /kept HTTP/1.1\r\nHost: t\r\n\r\nPOST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 9\r\n\r\nabc");
    pump_ms(f, 5);
    assert_int_equal(f->later_count, 3);
    struct http_server_stats stats;
    http_server_stats(f->server, &stats);
    assert_int_equal(stats.in_flight, 4);
    reset(fd);
    pump_ms(f, 20);
    assert_int_equal(f->gone_count, 3); /* once each; the unfinished one had nobody to tell */
    http_server_stats(f->server, &stats);
    assert_int_equal(stats.connections, 0);
    assert_int_equal(stats.in_flight, 0);
    /* The one that was kept outlives its connection. */
    assert_true(f->later[2]->is_gone);
    assert_true(slice_equal_str(f->later[2]->path, "/kept"));
    assert_true(slice_equal_str(http_header(f->later[2], "host"), "t"));
    assert_string_equal(http_peer(f->later[2]), "gone");
    answer_later(f, 2, "dropped");
    fixture_end(f);
}

static void a_peer_that_left_is_seen_before_the_loop_reads_it(void **state)
{
    (void)state;
    struct fixture *f = begin_started();
    for (unsigned i = 0; i < 3; i++) {
        int fd = client_open(f);
        client_say(f, fd, "GET /later?poll HTTP/1.1\r\nHost: t\r\n\r\n");
        pump_ms(f, 5);
        assert_int_equal(f->later_count, i + 1);
        struct http_request *request = f->later[i];
        assert_true(http_peer_is_there(request));
        if (i == 0) {
            close(fd);
        } else if (i == 1) {
            reset(fd);
        } else { /* its end comes behind bytes that nobody has read */
            assert_int_equal(send(fd, "GET /", 5, MSG_DONTWAIT), 5);
            assert_true(http_peer_is_there(request));
            shutdown(fd, SHUT_WR);
        }
        assert_false(http_peer_is_there(request)); /* no turn of the loop in between */
        assert_false(request->is_gone);
        pump_ms(f, 20);
        assert_int_equal(f->gone_count, i + 1);
        if (i == 2) {
            close(fd);
        }
    }
    fixture_end(f);
}

static void upload_in_pieces_with_pauses(void **state)
{
    (void)state;
    struct fixture *f = begin();
    f->config.body_size_max = 10;
    fixture_start(f);
    char head[4096], body[4096];
    static char big[200000];
    int fd = client_open(f);
    client_say(f, fd, "PUT /up HTTP/1.1\r\nHost: t\r\nContent-Length: 200000\r\n\r\n");
    client_send(f, fd, big, sizeof(big));
    assert_int_equal(client_answer(f, fd, head, body), 201);
    assert_string_equal(body, "200000");

    f->upload_pauses = true;
    client_say(f, fd,
               "PUT /up HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n5\r\nfghij\r\n0\r\n\r\n"
               "GET /hello HTTP/1.1\r\nHost: t\r\n\r\n");
    pump_ms(f, 20);
    assert_int_equal(f->upload_size, 5);
    http_body_pause(f->upload, false);
    pump_ms(f, 20);
    assert_int_equal(f->upload_size, 10);
    http_body_pause(f->upload, false);
    assert_int_equal(client_answer(f, fd, head, body), 201);
    assert_string_equal(body, "10");
    assert_int_equal(client_answer(f, fd, head, body), 200);

    /* Paused at the very last byte: what is held back is only the end. */
    client_say(f, fd, "PUT /up HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\n\r\nabc");
    pump_ms(f, 20);
    assert_int_equal(f->upload_size, 3);
    http_body_pause(f->upload, false);
    assert_int_equal(client_answer(f, fd, head, body), 201);

    /* Answered before its end: the rest is dropped, the connection stays. */
    f->upload_pauses = false;
    client_say(f, fd, "PUT /up HTTP/1.1\r\nHost: t\r\nX-Give-Up: yes\r\nContent-Length: 10\r\n\r\nabc");
    assert_int_equal(client_answer(f, fd, head, body), 507);
    client_say(f, fd, "defghijGET /hello HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_int_equal(client_answer(f, fd, head, body), 200);
    client_say(f, fd,
               "POST /forbidden HTTP/1.1\r\nHost: t\r\nContent-Length: 10\r\n\r\nabcdefghij"
               "GET /hello HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_int_equal(client_answer(f, fd, head, body), 403);
    assert_int_equal(client_answer(f, fd, head, body), 200);

    /* A sender that leaves, and one whose chunks are broken. */
    client_say(f, fd, "PUT /up HTTP/1.1\r\nHost: t\r\nContent-Length: 10\r\n\r\nabc");
    pump_ms(f, 5);
    reset(fd);
    pump_ms(f, 10);
    assert_int_equal(f->gone_count, 1);
    fd = client_open(f);
    client_say(f, fd, "PUT /up HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n");
    assert_int_equal(client_answer(f, fd, head, body), 400);
    assert_int_equal(f->gone_count, 2);
    assert_true(client_sees_end(f, fd, 2000));
    end(f, fd);
}

static void download_in_pieces_to_a_slow_reader(void **state)
{
    (void)state;
    struct fixture *f = begin_started();
    char head[4096];
    static char piece[1 << 20];
    const uint64_t size = 24u << 20;
    int fd = client_open(f);
    f->download_left = size;
    client_say(f, fd, "GET /down-sized HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_int_equal(client_head(f, fd, head), 200);
    pump_ms(f, 20);
    assert_true(f->download_left > 0); /* it waits for the reader */
    uint64_t got = 0;
    while (got < size) {
        size_t len = size - got < sizeof(piece) ? (size_t)(size - got) : sizeof(piece);
        client_read(f, fd, piece, len);
        got += len;
    }
    assert_true(f->drained > 3);
    /* Chunked, pipelined behind an answer that takes its time. */
    f->download_left = 5u << 20;
    client_say(
        f, fd,
        "GET /later HTTP/1.1\r\nHost: t\r\n\r\nGET /down HTTP/1.1\r\nHost: t\r\n\r\nGET /hello HTTP/1.1\r\nHost: t\r\n\r\n");
    pump_ms(f, 20);
    assert_true(f->download_left > 0);
    answer_later(f, 0, "first");
    assert_int_equal(client_answer(f, fd, head, NULL), 200);
    assert_int_equal(client_head(f, fd, head), 200);
    assert_non_null(strstr(head, "Transfer-Encoding: chunked"));
    uint64_t content = 0;
    for (;;) {
        char line[16];
        size_t at = 0;
        do {
            client_read(f, fd, line + at, 1);
            at++;
        } while (line[at - 1] != '\n');
        size_t len = strtoul(line, NULL, 16);
        client_read(f, fd, piece, len + 2);
        content += len;
        if (len == 0) {
            break;
        }
    }
    assert_int_equal(content, 5u << 20);
    assert_int_equal(client_answer(f, fd, head, NULL), 200);
    f->download_left = 7;
    client_say(f, fd, "HEAD /down HTTP/1.1\r\nHost: t\r\n\r\nGET /hello HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_int_equal(client_head(f, fd, head), 200);
    assert_int_equal(client_answer(f, fd, head, NULL), 200);
    /* An answer that ends short of its length breaks the connection. */
    client_say(f, fd, "GET /short HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_true(client_read_all(f, fd, piece, sizeof(piece)) < 300);
    close(fd);
    /* A reader that leaves half-way. */
    fd = client_open(f);
    f->download_left = size;
    client_say(f, fd, "GET /down HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_int_equal(client_head(f, fd, head), 200);
    reset(fd);
    pump_ms(f, 20);
    struct http_server_stats stats;
    http_server_stats(f->server, &stats);
    assert_int_equal(stats.connections, 0);
    assert_int_equal(f->gone_count, 1);
    fixture_end(f);
}

static void malformed_requests(void **state)
{
    (void)state;
    static const struct {
        int status;
        const char *text;
    } table[] = {
        {400, "garbage\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\nHost: t\r\nbad header\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\nHost : t\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\nHost: t\r\n: v\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\nHost: t\r\nX: a\r\n folded\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\nHost: t\r\nX:\r\n folded\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\n Host: t\r\n\r\n"},
        {400, "GET / HTTP/1.1\nHost: t\n\n"},
        {400, "GET / HTTP/1.1\r\nHost: t\r\nX: a\rContent-Length: 3\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\nHost: t\r\nX: a\x01\r\n\r\n"},
        {400, "GET /a b HTTP/1.1\r\nHost: t\r\n\r\n"},
        {400, "GET relative HTTP/1.1\r\nHost: t\r\n\r\n"},
        {400, "POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
        {400, "POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n"},
        {400, "POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc"},
        {400, "POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc"},
        {400, "POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 3, 3\r\n\r\nabc"},
        {400, "POST / HTTP/1.1\r\nHost: t\r\nContent-Length: +3\r\n\r\nabc"},
        {400, "POST / HTTP/1.1\r\nHost: t\r\nContent-Length: -3\r\n\r\nabc"},
        {400, "POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 0x3\r\n\r\nabc"},
        {400, "POST / HTTP/1.1\r\nHost: t\r\nContent-Length:\r\n\r\nabc"},
        {400, "POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 99999999999999999999\r\n\r\nabc"},
        {400, "POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n"},
        {400, "POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n-3\r\nabc\r\n0\r\n\r\n"},
        {400, "POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n"},
        {400, "POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n3 \r\nabc\r\n0\r\n\r\n"},
        {400, "POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc\n0\n\n"},
        {400, "POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n"},
        {400, "POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n"},
        {400, "POST / HTTP/1.0\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
        {400,
         "POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
        {501, "POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: gzip\r\n\r\n"},
        {501, "POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"},
        {501, "POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"},
        {501, "CONNECT t:80 HTTP/1.1\r\nHost: t\r\n\r\n"},
        {505, "GET / HTTP/2.0\r\nHost: t\r\n\r\n"},
        {505, "GET / HTTP/3.7\r\nHost: t\r\n\r\n"},
        {400, "GET /\r\n\r\n"},
        {400, "GET  / HTTP/1.1\r\nHost: t\r\n\r\n"},
        {400, "GET /#fragment HTTP/1.1\r\nHost: t\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\nHost: t u\r\n\r\n"},
        {400, "POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 1\t2\r\n\r\nabcdefghijkl"},
        {505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"},
    };
    struct fixture *f = begin_started();
    char head[4096], body[4096];
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        /* Behind a good request, whose answer comes first; and nothing after it is taken for a request. */
        int fd = client_open(f);
        unsigned handled = f->handled;
        client_say(f, fd, "GET /later HTTP/1.1\r\nHost: t\r\n\r\n");
        client_say(f, fd, table[i].text);
        client_say(f, fd, "GET /hello HTTP/1.1\r\nHost: t\r\n\r\n");
        pump_ms(f, 2);
        answer_later(f, f->later_count - 1, "good");
        assert_int_equal(client_answer(f, fd, head, body), 200);
        assert_string_equal(body, "good");
        int status = client_answer(f, fd, head, body);
        if (status != table[i].status) {
            fail_msg("%d instead of %d for: %s", status, table[i].status, table[i].text);
        }
        assert_non_null(strstr(head, "Content-Type: application/problem+json\r\n"));
        assert_non_null(strstr(head, "Connection: close\r\n"));
        assert_memory_equal(body, "{\"code\":\"", 9);
        assert_int_equal(f->handled, handled + 1);
        assert_true(client_sees_end(f, fd, 2000));
        close(fd);
    }
    fixture_end(f);
}

static void heads_that_are_too_large(void **state)
{
    (void)state;
    struct fixture *f = begin_started();
    static char text[100000];
    char head[4096];
    /* Target */
    int fd = client_open(f);
    size_t len = (size_t)snprintf(text, sizeof(text), "GET /");
    memset(text + len, 'a', LIMIT_HTTP_TARGET_SIZE);
    client_send(f, fd, text, len + LIMIT_HTTP_TARGET_SIZE);
    assert_int_equal(client_answer(f, fd, head, NULL), 414);
    assert_true(client_sees_end(f, fd, 2000));
    close(fd);
    /* One large field */
    fd = client_open(f);
    len = (size_t)snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: t\r\nX: ");
    memset(text + len, 'a', LIMIT_HTTP_HEADERS_SIZE);
    client_send(f, fd, text, len + LIMIT_HTTP_HEADERS_SIZE);
    assert_int_equal(client_answer(f, fd, head, NULL), 431);
    assert_true(client_sees_end(f, fd, 2000));
    close(fd);
    /* Many small fields: Host and 99 more are allowed */
    for (int count = 99; count <= 100; count++) {
        fd = client_open(f);
        client_say(f, fd, "GET / HTTP/1.1\r\nHost: t\r\n");
        for (int i = 0; i < count; i++) {
            client_say(f, fd, "X: y\r\n");
        }
        client_say(f, fd, "\r\n");
        assert_int_equal(client_answer(f, fd, head, NULL), count == 99 ? 200 : 431);
        close(fd);
    }
    /* White space that counts as neither name nor value */
    fd = client_open(f);
    client_say(f, fd, "GET / HTTP/1.1\r\nHost: t\r\nX:");
    memset(text, ' ', sizeof(text));
    client_send(f, fd, text, sizeof(text));
    assert_int_equal(client_answer(f, fd, head, NULL), 431);
    close(fd);
    /* Endless chunk extensions and trailers */
    static const char *const begins[] = {
        "POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n1;",
        "POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: ",
    };
    memset(text, 'e', sizeof(text));
    for (int i = 0; i < 2; i++) {
        fd = client_open(f);
        client_say(f, fd, begins[i]);
        client_send(f, fd, text, 20000);
        assert_int_equal(client_answer(f, fd, head, NULL), 400);
        close(fd);
    }
    fixture_end(f);
}

static void slow_clients_are_timed_out(void **state)
{
    (void)state;
    struct fixture *f = begin();
    f->config.header_ms = 400;
    f->config.body_idle_ms = 1000;
    f->config.idle_ms = 600;
    fixture_start(f);
    char head[4096], body[4096];
    /* A head that trickles: each byte is a sign of life, but the head has its time as a whole. */
    int fd = client_open(f);
    static const char slow[] =
        "GET / HTTP/1.1\r\nHost: t\r\nX: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    int64_t begin_ns = clock_mono_ns();
    for (size_t i = 0; i < sizeof(slow) - 1 && clock_mono_ns() - begin_ns < 800 * NS_PER_MS; i++) {
        client_send(f, fd, slow + i, 1);
        pump_ms(f, 10);
    }
    assert_int_equal(client_answer(f, fd, head, body), 408);
    assert_string_equal(body, "{\"code\":\"request-timeout\"}");
    assert_true(client_sees_end(f, fd, 2000));
    close(fd);
    /* A body that pauses; one that only trickles is let be. */
    fd = client_open(f);
    client_say(f, fd, "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 100\r\n\r\n");
    for (int i = 0; i < 8; i++) {
        client_say(f, fd, "x");
        pump_ms(f, 200);
    }
    assert_false(client_sees_end(f, fd, 1));
    begin_ns = clock_mono_ns();
    assert_int_equal(client_answer(f, fd, head, body), 408);
    assert_true(clock_mono_ns() - begin_ns > 400 * NS_PER_MS);
    close(fd);
    /* An upload's handler hears of it. */
    fd = client_open(f);
    client_say(f, fd, "PUT /up HTTP/1.1\r\nHost: t\r\nContent-Length: 100\r\n\r\nx");
    assert_int_equal(client_answer(f, fd, head, body), 408);
    assert_int_equal(f->gone_count, 1);
    close(fd);
    /* Idle connections end silently, also those that never said a word; waiting for an answer is not idle. */
    int silent = client_open(f);
    fd = client_open(f);
    int waiting = client_open(f);
    client_say(f, waiting, "GET /later HTTP/1.1\r\nHost: t\r\n\r\n");
    client_say(f, fd, "GET /hello HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_int_equal(client_answer(f, fd, head, body), 200);
    assert_true(client_sees_end(f, fd, 2000));
    assert_true(client_sees_end(f, silent, 2000));
    close(silent);
    close(fd);
    answer_later(f, f->later_count - 1, "patience");
    assert_int_equal(client_answer(f, waiting, head, body), 200);
    close(waiting);
    /* A reader that does not read. */
    fd = client_open(f);
    f->download_left = 64u << 20;
    client_say(f, fd, "GET /down-sized HTTP/1.1\r\nHost: t\r\n\r\n");
    pump_ms(f, 2600);
    struct http_server_stats stats;
    http_server_stats(f->server, &stats);
    assert_int_equal(stats.connections, 0);
    end(f, fd);
}

static void too_many_connections(void **state)
{
    (void)state;
    struct fixture *f = begin();
    f->config.connections_max = 3;
    fixture_start(f);
    char head[4096], body[4096];
    int fds[3];
    for (int i = 0; i < 3; i++) {
        fds[i] = client_open(f);
        client_say(f, fds[i], "GET /hello HTTP/1.1\r\nHost: t\r\n\r\n");
        assert_int_equal(client_answer(f, fds[i], NULL, NULL), 200);
    }
    for (int i = 0; i < 5; i++) {
        int fd = client_open(f);
        client_say(f, fd, "GET /hello HTTP/1.1\r\nHost: t\r\n\r\n");
        assert_int_equal(client_answer(f, fd, head, body), 503);
        assert_non_null(strstr(head, "Retry-After: "));
        assert_string_equal(body, "{\"code\":\"busy\"}");
        assert_true(client_sees_end(f, fd, 2000));
        close(fd);
    }
    close(fds[0]);
    pump_ms(f, 10);
    int fd = client_open(f);
    client_say(f, fd, "GET /hello HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_int_equal(client_answer(f, fd, NULL, NULL), 200);
    close(fds[1]);
    close(fds[2]);
    end(f, fd);
}

static void no_file_descriptors_left(void **state)
{
    (void)state;
    struct fixture *f = begin_started();
    int fd = client_open(f); /* libuv opens what it needs for its first handle */
    client_say(f, fd, "GET /hello HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_int_equal(client_answer(f, fd, NULL, NULL), 200);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(http_server_port(f->server)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int second = socket(AF_INET, SOCK_STREAM, 0);
    struct rlimit old, none;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    none = old;
    none.rlim_cur = (rlim_t)second + 1;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    assert_int_equal(connect(second, (struct sockaddr *)&address, sizeof(address)), 0);
    client_say(f, second, "GET /hello HTTP/1.1\r\nHost: t\r\n\r\n");
    pump_ms(f, 300);
    assert_false(client_sees_end(f, second, 10)); /* it waits; those there are go on */
    client_say(f, fd, "GET /hello HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_int_equal(client_answer(f, fd, NULL, NULL), 200);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    assert_int_equal(client_answer(f, second, NULL, NULL), 200);
    close(second);
    end(f, fd);
}

static void starting_and_closing(void **state)
{
    (void)state;
    struct fixture *f = begin_started();
    struct http_server *other = NULL;
    struct http_config config = f->config;
    config.port = http_server_port(f->server);
    struct http_callbacks same = {0};
    same.on_request = (void (*)(void *, struct http_request *))(uintptr_t)1; /* never called */
    assert_int_equal(http_server_start(&f->loop, &config, &same, &other), STATUS_ADDRESS_IN_USE);
    config.port = 0;
    config.host = "no such host!";
    assert_int_equal(http_server_start(&f->loop, &config, &same, &other), STATUS_INVALID);
    config.host = "192.0.2.1"; /* TEST-NET: not an address of this machine */
    assert_int_equal(http_server_start(&f->loop, &config, &same, &other), STATUS_INVALID);
    assert_null(other);

    /* Closing: idle ones end, one that waits gets its answer and then ends, nothing new is accepted. */
    char head[4096], body[4096];
    int idle = client_open(f);
    int waiting = client_open(f);
    client_say(f, waiting, "GET /later HTTP/1.1\r\nHost: t\r\n\r\n");
    pump_ms(f, 5);
    http_server_close(f->server, 5000);
    f->server = NULL;
    assert_true(client_sees_end(f, idle, 1000));
    answer_later(f, 0, "goodbye");
    assert_int_equal(client_answer(f, waiting, head, body), 200);
    assert_non_null(strstr(head, "Connection: close"));
    assert_true(client_sees_end(f, waiting, 1000));
    close(idle);
    end(f, waiting);
}

/* Answers held back by the first one count as unsent: reading stops long before the pipeline is full. */
static void held_answers_are_bounded(void **state)
{
    (void)state;
    struct fixture *f = begin_started();
    static char text[2000100];
    char head[4096];
    int fd = client_open(f);
    client_say(f, fd, "GET /later HTTP/1.1\r\nHost: t\r\n\r\n");
    size_t head_len =
        (size_t)snprintf(text, sizeof(text), "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 2000000\r\n\r\n");
    size_t at = 0;
    int64_t quiet_since_ns = clock_mono_ns();
    while (clock_mono_ns() - quiet_since_ns < 300 * NS_PER_MS && f->handled < 60) {
        ssize_t count = send(fd, text + at, head_len + 2000000 - at, MSG_DONTWAIT);
        if (count > 0) {
            at = (at + (size_t)count) % (head_len + 2000000);
            quiet_since_ns = clock_mono_ns();
        }
        pump(f);
    }
    assert_int_equal(f->handled, 3); /* the first, one of 2 MB, and the one that makes it more than 2 MiB */
    answer_later(f, 0, "first");
    assert_int_equal(client_answer(f, fd, head, NULL), 200);
    assert_int_equal(client_head(f, fd, head), 200);
    client_read(f, fd, text, 2000000);
    end(f, fd);
}

static void answers_past_the_socket_buffer(void **state)
{
    (void)state;
    struct fixture *f = begin_started();
    static char text[2000100], got[2000000];
    char head[4096];
    int fd = client_open(f);
    /* Three echoes of 2 MB are sent before any answer is read; the server stops reading when more than 2 MiB wait. */
    int head_len = snprintf(text, sizeof(text), "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 2000000\r\n\r\n");
    for (int i = 0; i < 2000000; i++) {
        text[head_len + i] = (char)('a' + i % 25);
    }
    for (int i = 0; i < 3; i++) {
        size_t at = 0;
        while (at < (size_t)head_len + 2000000) {
            ssize_t count = send(fd, text + at, (size_t)head_len + 2000000 - at, MSG_DONTWAIT);
            if (count > 0) {
                at += (size_t)count;
            }
            pump(f);
        }
    }
    for (int i = 0; i < 3; i++) {
        assert_int_equal(client_head(f, fd, head), 200);
        client_read(f, fd, got, 2000000);
        assert_memory_equal(got, text + head_len, 2000000);
    }
    end(f, fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(simple_answers_and_keep_alive),
        cmocka_unit_test(requests_split_at_every_byte),
        cmocka_unit_test(pipelined_answers_keep_their_order),
        cmocka_unit_test(a_full_pipeline_stops_reading),
        cmocka_unit_test(bodies_large_and_kept),
        cmocka_unit_test(an_oversized_body_is_refused_and_the_connection_kept),
        cmocka_unit_test(a_client_that_writes_everything_before_it_reads_gets_its_answer),
        cmocka_unit_test(a_sender_that_goes_on_for_ever_is_cut_off),
        cmocka_unit_test(expect_continue),
        cmocka_unit_test(connection_close_and_http10),
        cmocka_unit_test(half_close_still_gets_its_answers),
        cmocka_unit_test(a_client_that_leaves),
        cmocka_unit_test(a_peer_that_left_is_seen_before_the_loop_reads_it),
        cmocka_unit_test(upload_in_pieces_with_pauses),
        cmocka_unit_test(download_in_pieces_to_a_slow_reader),
        cmocka_unit_test(malformed_requests),
        cmocka_unit_test(heads_that_are_too_large),
        cmocka_unit_test(slow_clients_are_timed_out),
        cmocka_unit_test(too_many_connections),
        cmocka_unit_test(no_file_descriptors_left),
        cmocka_unit_test(starting_and_closing),
        cmocka_unit_test(held_answers_are_bounded),
        cmocka_unit_test(answers_past_the_socket_buffer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
