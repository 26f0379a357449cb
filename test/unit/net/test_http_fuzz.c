/* Random and half-right bytes against a whole server: whatever comes, it answers or ends the connection, keeps no
 * request, and goes on serving others. */
#include "net_fixture.h"

#include "base/rng.h"

static const char handshake[] =
    "GET /ws HTTP/1.1\r\nHost: t\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: test.v1\r\n\r\n\x81\x80";

static const char *const parts[] = {
    "GET /hello HTTP/1.1\r\nHost: t\r\n\r\n",
    "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\n\r\nabcd",
    "POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "PUT /up HTTP/1.1\r\nHost: t\r\nContent-Length: 6\r\nExpect: 100-continue\r\n\r\nabcdef",
    "PUT /up HTTP/1.1\r\nHost: t\r\nX-Give-Up: yes\r\nContent-Length: 6\r\n\r\nabcdef",
    "POST /forbidden HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\n\r\nab",
    "GET /later HTTP/1.1\r\nHost: t\r\n\r\n",
    "HEAD /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    handshake,
    "GET /query?name=%zz HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n",
    "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 999999\r\n\r\n",
};

static void finish_uploads(struct fixture *f)
{
    for (unsigned i = 0; i < f->later_count; i++) {
        if (f->later[i] != NULL) {
            answer_later(f, i, "later");
        }
    }
    f->later_count = 0;
}

static void half_right_bytes(void **state)
{
    (void)state;
    static struct fixture fixture;
    struct fixture *f = &fixture;
    struct rng rng;
    fixture_init(f);
    f->config.body_size_max = 1000;
    fixture_start(f);
    rng_seed(&rng, 2026);
    for (int round = 0; round < 3000; round++) {
        char text[4096];
        size_t len = 0;
        uint64_t count = 1 + rng_below(&rng, 4);
        for (uint64_t i = 0; i < count; i++) {
            const char *part = parts[rng_below(&rng, sizeof(parts) / sizeof(parts[0]))];
            size_t part_len = strlen(part);
            memcpy(text + len, part, part_len);
            len += part_len;
        }
        uint64_t changes = rng_below(&rng, 5);
        for (uint64_t i = 0; i < changes; i++) {
            text[rng_below(&rng, len)] = rng_below(&rng, 2) ? (char)rng_u64(&rng) : "\r\n :0"[rng_below(&rng, 5)];
        }
        int fd = client_open(f);
        size_t cut = (size_t)rng_below(&rng, len + 1);
        client_send(f, fd, text, cut);
        pump(f);
        client_send(f, fd, text + cut, len - cut);
        if (rng_below(&rng, 2) == 0) {
            finish_uploads(f);
        }
        if (rng_below(&rng, 4) == 0) {
            shutdown(fd, SHUT_WR);
            pump(f);
        }
        pump(f);
        char answer[8192];
        (void)!recv(fd, answer, sizeof(answer), MSG_DONTWAIT);
        close(fd);
        pump(f);
        finish_uploads(f);
    }
    pump_ms(f, 50);
    finish_uploads(f);
    pump_ms(f, 50);
    struct http_server_stats stats;
    http_server_stats(f->server, &stats);
    assert_int_equal(stats.connections, 0);
    assert_int_equal(stats.in_flight, 0);
    assert_int_equal(stats.websockets, 0);
    assert_int_equal(f->ws_opened, f->ws_closed);
    int fd = client_open(f);
    client_say(f, fd, "GET /hello HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_int_equal(client_answer(f, fd, NULL, NULL), 200);
    close(fd);
    fixture_end(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(half_right_bytes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
