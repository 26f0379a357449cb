#include "net_fixture.h"

#include "base/limits.h"
#include "base/rng.h"
#include "proto/ws_frame.h"

#define HANDSHAKE                                                                                                      \
    "GET /ws HTTP/1.1\r\nHost: t\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"        \
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: other, test.v1\r\n\r\n"

static const uint8_t mask[4] = {1, 2, 3, 4};

static struct fixture *begin(void)
{
    static struct fixture fixture;
    fixture_init(&fixture);
    fixture_start(&fixture);
    return &fixture;
}

static int open_ws(struct fixture *f)
{
    char head[4096];
    int fd = client_open(f);
    client_say(f, fd, HANDSHAKE);
    assert_int_equal(client_head(f, fd, head), 101);
    assert_non_null(strstr(head, "\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
    assert_non_null(strstr(head, "\r\nSec-WebSocket-Protocol: test.v1\r\n"));
    return fd;
}

static void send_frame(struct fixture *f, int fd, enum ws_opcode opcode, struct slice payload)
{
    struct buf out;
    buf_init(&out, 64u << 20);
    ws_write_frame(&out, opcode, payload, mask);
    client_send(f, fd, out.data, out.len);
    buf_free(&out);
}

/* One short frame of the server: its first byte; the payload into ret, NUL-terminated. */
static uint8_t read_frame(struct fixture *f, int fd, char *ret, size_t *ret_len)
{
    uint8_t header[2];
    client_read(f, fd, (char *)header, 2);
    assert_true(header[1] < 126);
    client_read(f, fd, ret, header[1]);
    ret[header[1]] = '\0';
    *ret_len = header[1];
    return header[0];
}

static void expect_close(struct fixture *f, int fd, uint16_t code)
{
    char text[126];
    size_t len;
    assert_int_equal(read_frame(f, fd, text, &len), 0x88);
    assert_true(len >= 2);
    assert_int_equal((uint8_t)text[0] << 8 | (uint8_t)text[1], code);
}

static void echo(void **state)
{
    (void)state;
    struct fixture *f = begin();
    char text[126];
    size_t len;
    int fd = open_ws(f);
    send_frame(f, fd, WS_TEXT, SLICE("hello"));
    assert_int_equal(read_frame(f, fd, text, &len), 0x81);
    assert_string_equal(text, "hello");
    /* Fragments with a ping between them. */
    client_send(f, fd, "\x01\x82\0\0\0\0ab\x89\x84\0\0\0\0ping\x00\x81\0\0\0\0c\x80\x81\0\0\0\0d", 32);
    assert_int_equal(read_frame(f, fd, text, &len), 0x8a);
    assert_string_equal(text, "ping");
    assert_int_equal(read_frame(f, fd, text, &len), 0x81);
    assert_string_equal(text, "abcd");
    send_frame(f, fd, WS_PONG, SLICE("nobody asked"));
    /* Several messages in one write come back, in order. */
    struct buf many;
    buf_init(&many, 100000);
    for (int i = 0; i < 500; i++) {
        char number[8];
        snprintf(number, sizeof(number), "%d", i);
        ws_write_frame(&many, WS_TEXT, slice_str(number), mask);
    }
    client_send(f, fd, many.data, many.len);
    buf_free(&many);
    for (int i = 0; i < 500; i++) {
        assert_int_equal(read_frame(f, fd, text, &len), 0x81);
        assert_int_equal(atoi(text), i);
    }
    struct http_server_stats stats;
    http_server_stats(f->server, &stats);
    assert_int_equal(stats.websockets, 1);
    assert_int_equal(stats.in_flight, 0);
    /* The close handshake, begun by the client. */
    send_frame(f, fd, WS_CLOSE, SLICE("\x03\xe8 bye"));
    expect_close(f, fd, 1000);
    assert_true(client_sees_end(f, fd, 1000));
    assert_int_equal(f->ws_closed, 1);
    close(fd);
    fixture_end(f);
}

static void frames_split_at_every_byte(void **state)
{
    (void)state;
    struct fixture *f = begin();
    char text[126];
    size_t len;
    struct buf out;
    buf_init(&out, 1000);
    ws_write_frame(&out, WS_TEXT, SLICE("h\xc3\xa9llo"), mask);
    ws_write_frame(&out, WS_PING, SLICE("p"), mask);
    int fd = open_ws(f);
    for (size_t cut = 1; cut < out.len; cut++) {
        client_send(f, fd, out.data, cut);
        pump(f);
        client_send(f, fd, out.data + cut, out.len - cut);
        assert_int_equal(read_frame(f, fd, text, &len), 0x81);
        assert_string_equal(text, "h\xc3\xa9llo");
        assert_int_equal(read_frame(f, fd, text, &len), 0x8a);
    }
    buf_free(&out);
    close(fd);
    fixture_end(f);
}

static void frames_in_one_read_with_the_handshake(void **state)
{
    (void)state;
    struct fixture *f = begin();
    char head[4096], text[126];
    size_t len;
    struct buf out;
    buf_init(&out, 1000);
    buf_append_str(&out, "GET /later HTTP/1.1\r\nHost: t\r\n\r\n" HANDSHAKE);
    ws_write_frame(&out, WS_TEXT, SLICE("early"), mask);
    int fd = client_open(f);
    client_send(f, fd, out.data, out.len);
    pump_ms(f, 10);
    answer_later(f, 0, "first"); /* the handshake is answered in its turn */
    assert_int_equal(client_answer(f, fd, head, NULL), 200);
    assert_int_equal(client_head(f, fd, head), 101);
    assert_int_equal(read_frame(f, fd, text, &len), 0x81);
    assert_string_equal(text, "early");
    buf_free(&out);
    close(fd);
    fixture_end(f);
}

static void large_messages(void **state)
{
    (void)state;
    struct fixture *f = begin();
    static char text[1000000], got[1000000];
    memset(text, 'L', sizeof(text));
    int fd = open_ws(f);
    send_frame(f, fd, WS_TEXT, slice_of(text, sizeof(text)));
    client_read(f, fd, got, 10);
    client_read(f, fd, got, sizeof(got));
    assert_memory_equal(got, text, sizeof(text));
    /* The header alone says that it is too large. */
    uint8_t header[14] = {0x82, 0xff, 0, 0, 0, 0, 0, 0x80, 0, 1};
    client_send(f, fd, (char *)header, sizeof(header));
    expect_close(f, fd, 1009);
    assert_true(client_sees_end(f, fd, 1000));
    close(fd);
    fixture_end(f);
}

static void protocol_errors(void **state)
{
    (void)state;
    static const struct {
        struct slice bytes;
        uint16_t code;
    } table[] = {
        {SLICE("\x81\x05Hello"), 1002},            /* not masked */
        {SLICE("\xc1\x80\0\0\0\0"), 1002},         /* RSV */
        {SLICE("\x83\x80\0\0\0\0"), 1002},         /* opcode */
        {SLICE("\x80\x80\0\0\0\0"), 1002},         /* continuation of nothing */
        {SLICE("\x09\x80\0\0\0\0"), 1002},         /* fragmented ping */
        {SLICE("\x89\xfe\0\x7e\0\0\0\0"), 1002},   /* long ping */
        {SLICE("\x81\x82\0\0\0\0\xc3\x28"), 1007}, /* UTF-8 */
        {SLICE("\x88\x82\0\0\0\0\x03\xed"), 1002}, /* close code 1005 */
    };
    struct fixture *f = begin();
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        int fd = open_ws(f);
        client_send(f, fd, table[i].bytes.data, table[i].bytes.len);
        expect_close(f, fd, table[i].code);
        assert_true(client_sees_end(f, fd, 1000));
        close(fd);
    }
    assert_int_equal(f->ws_closed, f->ws_opened);
    assert_int_equal(f->ws_messages, 0);
    fixture_end(f);
}

static void bad_handshakes(void **state)
{
    (void)state;
    static const struct {
        int status;
        const char *text;
    } table[] = {
        {426, "GET /ws HTTP/1.1\r\nHost: t\r\n\r\n"},
        {426,
         "POST /ws HTTP/1.1\r\nHost: t\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
         "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: test.v1\r\n\r\n"},
        {426, "GET /ws HTTP/1.1\r\nHost: t\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n"},
        {426, "GET /ws HTTP/1.1\r\nHost: t\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 8\r\n"
              "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: test.v1\r\n\r\n"},
        {400,
         "GET /ws HTTP/1.1\r\nHost: t\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
         "Sec-WebSocket-Key: short\r\nSec-WebSocket-Protocol: test.v1\r\n\r\n"},
        {400,
         "GET /ws HTTP/1.1\r\nHost: t\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
         "Sec-WebSocket-Protocol: test.v1\r\n\r\n"},
        {400,
         "GET /ws HTTP/1.1\r\nHost: t\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
         "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: test.v2\r\n\r\n"},
    };
    struct fixture *f = begin();
    char head[4096];
    int fd = client_open(f);
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        /* The connection stays: nothing about its framing is in doubt. */
        client_say(f, fd, table[i].text);
        assert_int_equal(client_answer(f, fd, head, NULL), table[i].status);
        if (table[i].status == 426) {
            assert_non_null(strstr(head, "Sec-WebSocket-Version: 13\r\n"));
        }
    }
    client_say(f, fd,
               "GET /hello HTTP/1.1\r\nHost: t\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
               "GET /hello HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_int_equal(client_answer(f, fd, head, NULL), 200); /* a handler need not take the upgrade */
    assert_int_equal(client_answer(f, fd, head, NULL), 200);
    assert_int_equal(f->ws_opened, 0);
    close(fd);
    fixture_end(f);
}

static void closing_from_the_server(void **state)
{
    (void)state;
    struct fixture *f = begin();
    int fd = open_ws(f);
    send_frame(f, fd, WS_TEXT, SLICE("close"));
    expect_close(f, fd, 4001);
    assert_int_equal(f->ws_closed, 0); /* the peer's close frame is awaited */
    send_frame(f, fd, WS_TEXT, SLICE("too late"));
    send_frame(f, fd, WS_CLOSE, SLICE("\x0f\xa1"));
    assert_true(client_sees_end(f, fd, 1000));
    assert_int_equal(f->ws_closed, 1);
    assert_int_equal(f->ws_messages, 1);
    close(fd);
    /* A peer that never answers the close frame is not waited for longer than 2 s. */
    fd = open_ws(f);
    send_frame(f, fd, WS_TEXT, SLICE("close"));
    expect_close(f, fd, 4001);
    assert_true(client_sees_end(f, fd, 3000));
    assert_int_equal(f->ws_closed, 2);
    close(fd);
    /* A peer that just leaves. */
    fd = open_ws(f);
    close(fd);
    pump_ms(f, 20);
    assert_int_equal(f->ws_closed, 3);
    /* Messages queued while others are being written keep their order; sending on a closing one is dropped. */
    fd = open_ws(f);
    ws_send_text(f->ws, SLICE("one"));
    ws_send_text(f->ws, SLICE("two"));
    ws_close(f->ws, 1001, "going away");
    ws_send_text(f->ws, SLICE("three"));
    assert_true(ws_unsent_size(f->ws) > 0);
    char text[126];
    size_t len;
    assert_int_equal(read_frame(f, fd, text, &len), 0x81);
    assert_string_equal(text, "one");
    assert_int_equal(read_frame(f, fd, text, &len), 0x81);
    assert_string_equal(text, "two");
    expect_close(f, fd, 1001);
    close(fd);
    fixture_end(f);
}

static void a_reader_that_does_not_read(void **state)
{
    (void)state;
    struct fixture *f = begin();
    int fd = open_ws(f);
    send_frame(f, fd, WS_TEXT, SLICE("flood")); /* 40 MiB come back */
    pump_ms(f, 100);
    assert_int_equal(f->ws_closed, 0);
    pump_ms(f, 2600);
    assert_int_equal(f->ws_closed, 1); /* 1013 was due, but the peer does not even read that */
    close(fd);
    fixture_end(f);
}

static void random_frames_never_break_it(void **state)
{
    (void)state;
    struct fixture *f = begin();
    struct rng rng;
    rng_seed(&rng, 5);
    for (int round = 0; round < 300; round++) {
        int fd = open_ws(f);
        char text[400];
        size_t len = 1 + (size_t)rng_below(&rng, sizeof(text));
        for (size_t i = 0; i < len; i++) {
            text[i] = (char)(rng_below(&rng, 3) == 0 ? 0x81 + rng_below(&rng, 10) : rng_u64(&rng));
        }
        text[0] = (char)(0x81 + rng_below(&rng, 2));
        size_t cut = (size_t)rng_below(&rng, len);
        client_send(f, fd, text, cut);
        client_send(f, fd, text + cut, len - cut);
        pump(f);
        close(fd);
    }
    pump_ms(f, 20);
    assert_int_equal(f->ws_closed, f->ws_opened);
    fixture_end(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(echo),
        cmocka_unit_test(frames_split_at_every_byte),
        cmocka_unit_test(frames_in_one_read_with_the_handshake),
        cmocka_unit_test(large_messages),
        cmocka_unit_test(protocol_errors),
        cmocka_unit_test(bad_handshakes),
        cmocka_unit_test(closing_from_the_server),
        cmocka_unit_test(a_reader_that_does_not_read),
        cmocka_unit_test(random_frames_never_break_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
