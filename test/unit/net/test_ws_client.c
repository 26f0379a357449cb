#include "net_fixture.h"

#include <netdb.h>
#include <poll.h>

#include "base/limits.h"
#include "net/ws_client.h"
#include "proto/ws_frame.h"

struct peer {
    struct fixture *f;
    struct ws_client *client;
    unsigned opened, messages, closed;
    enum status status;
    char why[400];
    struct buf got;
    bool closes_in_message;
};

static void on_open(struct ws_client *client)
{
    struct peer *peer = ws_client_user(client);
    peer->opened++;
}

static void on_message(struct ws_client *client, struct slice message)
{
    struct peer *peer = ws_client_user(client);
    peer->messages++;
    buf_append_slice(&peer->got, message);
    buf_append_char(&peer->got, ';');
    volatile char sum = 0;
    for (int i = 0; i < 64; i++) {
        sum = (char)(sum + message.data[message.len + (size_t)i]); /* the padding is readable */
    }
    if (peer->closes_in_message) {
        ws_client_close(client);
    }
}

static void on_closed(struct ws_client *client, enum status status, const char *why)
{
    struct peer *peer = ws_client_user(client);
    peer->closed++;
    peer->status = status;
    snprintf(peer->why, sizeof(peer->why), "%s", why);
    peer->client = NULL;
}

static const struct ws_client_callbacks callbacks = {on_open, on_message, on_closed};

static struct peer *begin(void)
{
    static struct fixture fixture;
    static struct peer peer;
    fixture_init(&fixture);
    fixture_start(&fixture);
    peer = (struct peer){.f = &fixture};
    buf_init(&peer.got, 64u << 20);
    return &peer;
}

static void end(struct peer *peer)
{
    buf_free(&peer->got);
    fixture_end(peer->f);
}

static void connect_to(struct peer *peer, const char *format, uint16_t port, const char *subprotocol,
                       int64_t connect_ms)
{
    char url[200];
    snprintf(url, sizeof(url), format, port);
    peer->closed = 0;
    peer->opened = 0;
    assert_int_equal(ws_client_connect(&peer->f->loop, url, subprotocol, connect_ms, &callbacks, peer, &peer->client),
                     STATUS_OK);
}

static void wait_for(struct peer *peer, unsigned *what, unsigned count)
{
    int64_t end_ns = clock_mono_ns() + 5 * NS_PER_S;
    while (*what < count) {
        pump_ms(peer->f, 1);
        assert_true(clock_mono_ns() < end_ns);
    }
}

static void talking_to_our_server(void **state)
{
    (void)state;
    struct peer *peer = begin();
    uint16_t port = http_server_port(peer->f->server);
    static const char *const urls[] = {"ws://127.0.0.1:%u/ws", "HTTP://127.0.0.1:%u/ws?x=y#z"};
    for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
        connect_to(peer, urls[i], port, "test.v1", 2000);
        wait_for(peer, &peer->opened, 1);
        peer->messages = 0;
        buf_reset(&peer->got);
        for (int n = 0; n < 100; n++) {
            char text[16];
            snprintf(text, sizeof(text), "%d", n);
            ws_client_send_text(peer->client, slice_str(text));
        }
        assert_true(ws_client_unsent_size(peer->client) > 0);
        wait_for(peer, &peer->messages, 100);
        assert_memory_equal(peer->got.data, "0;1;2;3;", 8);
        ws_client_close(peer->client);
        ws_client_send_text(peer->client, SLICE("dropped"));
        wait_for(peer, &peer->closed, 1);
        assert_int_equal(peer->status, STATUS_CLOSED);
        assert_int_equal(peer->messages, 100);
    }
    assert_int_equal(peer->f->ws_closed, 2);
    end(peer);
}

/* Needs a machine that knows the name, which not every container does. */
static void a_name_is_looked_up(void **state)
{
    (void)state;
    struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM}, *found = NULL;
    int error = getaddrinfo("localhost", NULL, &hints, &found);
    if (error != 0) {
        print_message("the name localhost is not known here: %s\n", gai_strerror(error));
        skip();
    }
    freeaddrinfo(found);
    struct peer *peer = begin();
    connect_to(peer, "ws://localhost:%u/ws", http_server_port(peer->f->server), "test.v1", 2000);
    wait_for(peer, &peer->opened, 1);
    ws_client_close(peer->client);
    wait_for(peer, &peer->closed, 1);
    end(peer);
}

static void large_messages_both_ways(void **state)
{
    (void)state;
    struct peer *peer = begin();
    static char text[3000000];
    memset(text, 'm', sizeof(text));
    connect_to(peer, "ws://127.0.0.1:%u/ws", http_server_port(peer->f->server), "test.v1", 2000);
    wait_for(peer, &peer->opened, 1);
    ws_client_send_text(peer->client, slice_of(text, sizeof(text)));
    wait_for(peer, &peer->messages, 1);
    assert_int_equal(peer->got.len, sizeof(text) + 1);
    assert_memory_equal(peer->got.data, text, sizeof(text));
    peer->closes_in_message = true;
    ws_client_send_text(peer->client, SLICE("again"));
    wait_for(peer, &peer->closed, 1);
    end(peer);
}

static void the_peer_closes(void **state)
{
    (void)state;
    struct peer *peer = begin();
    connect_to(peer, "ws://127.0.0.1:%u/ws", http_server_port(peer->f->server), "test.v1", 2000);
    wait_for(peer, &peer->opened, 1);
    ws_client_send_text(peer->client, SLICE("close"));
    wait_for(peer, &peer->closed, 1);
    assert_int_equal(peer->status, STATUS_CLOSED);
    assert_string_equal(peer->why, "The peer closed the connection (4001, as you wish).");
    /* The whole server goes. */
    connect_to(peer, "ws://127.0.0.1:%u/ws", http_server_port(peer->f->server), "test.v1", 2000);
    wait_for(peer, &peer->opened, 1);
    http_server_close(peer->f->server, 1000);
    peer->f->server = NULL;
    wait_for(peer, &peer->closed, 1);
    assert_int_equal(peer->status, STATUS_CLOSED);
    assert_string_equal(peer->why, "The peer closed the connection (1001, The server is stopping.).");
    end(peer);
}

static void answers_that_are_no_handshake(void **state)
{
    (void)state;
    struct peer *peer = begin();
    uint16_t port = http_server_port(peer->f->server);
    connect_to(peer, "ws://127.0.0.1:%u/hello", port, "test.v1", 2000);
    wait_for(peer, &peer->closed, 1);
    assert_int_equal(peer->opened, 0);
    assert_int_equal(peer->status, STATUS_BAD_REQUEST);
    assert_non_null(strstr(peer->why, "answered HTTP 200."));
    connect_to(peer, "ws://127.0.0.1:%u/ws", port, "other.v9", 2000);
    wait_for(peer, &peer->closed, 1);
    assert_non_null(strstr(peer->why, "answered HTTP 400."));
    end(peer);
}

/* A listening socket of the test's own that says what it is told. */
static int listen_raw(uint16_t *ret_port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(fd, 4), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    *ret_port = ntohs(address.sin_port);
    return fd;
}

static void servers_that_lie(void **state)
{
    (void)state;
    static const struct {
        const char *answer;
        enum status status;
    } table[] = {
        {"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
         "Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\nSec-WebSocket-Protocol: test.v1\r\n\r\n",
         STATUS_BAD_HTTP},
        {"HTTP/1.1 101 Switching Protocols\r\n\r\n", STATUS_BAD_HTTP},
        {"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n", STATUS_UNAUTHORIZED},
        {"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", STATUS_BUSY},
        {"SSH-2.0-OpenSSH_9.2\r\n", STATUS_BAD_HTTP},
        {"", STATUS_CLOSED},
    };
    struct peer *peer = begin();
    uint16_t port;
    int listener = listen_raw(&port);
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        connect_to(peer, "ws://127.0.0.1:%u/", port, "test.v1", 2000);
        pump_ms(peer->f, 20);
        int fd = accept(listener, NULL, NULL);
        assert_true(fd >= 0);
        pump_ms(peer->f, 20);
        assert_true(send(fd, table[i].answer, strlen(table[i].answer), MSG_NOSIGNAL) >= 0);
        shutdown(fd, SHUT_WR);
        wait_for(peer, &peer->closed, 1);
        assert_int_equal(peer->opened, 0);
        assert_int_equal(peer->status, table[i].status);
        assert_true(strlen(peer->why) > 10 && peer->why[strlen(peer->why) - 1] == '.');
        close(fd);
    }
    /* One that accepts and says nothing, one given up by the caller while it does so. */
    connect_to(peer, "ws://127.0.0.1:%u/", port, "test.v1", 100);
    wait_for(peer, &peer->closed, 1);
    assert_int_equal(peer->status, STATUS_TIMEOUT);
    assert_non_null(strstr(peer->why, "did not answer in time."));
    connect_to(peer, "ws://127.0.0.1:%u/", port, "test.v1", 5000);
    pump_ms(peer->f, 20);
    ws_client_close(peer->client);
    assert_int_equal(peer->closed, 0); /* never from inside the call */
    wait_for(peer, &peer->closed, 1);
    close(listener);
    /* Nobody there at all. */
    connect_to(peer, "ws://127.0.0.1:%u/", port, "test.v1", 2000);
    wait_for(peer, &peer->closed, 1);
    assert_int_equal(peer->status, STATUS_UNREACHABLE);
    assert_non_null(strstr(peer->why, "connection refused."));
    /* A name that cannot be; closed while it is being looked up. */
    connect_to(peer, "ws://name.invalid:%u/", port, "test.v1", 4000);
    wait_for(peer, &peer->closed, 1);
    assert_int_equal(peer->opened, 0);
    connect_to(peer, "ws://127.0.0.1:%u/", port, "test.v1", 2000);
    ws_client_close(peer->client);
    wait_for(peer, &peer->closed, 1);
    end(peer);
}

static int accept_soon(struct peer *peer, int listener)
{
    int64_t end_ns = clock_mono_ns() + 5 * NS_PER_S;
    struct pollfd look = {.fd = listener, .events = POLLIN};
    while (poll(&look, 1, 0) == 0) {
        pump_ms(peer->f, 1);
        assert_true(clock_mono_ns() < end_ns);
    }
    return accept(listener, NULL, NULL);
}

/* The key of the handshake that the client sends. */
static void read_key(struct peer *peer, int fd, char *ret_key, size_t size)
{
    char request[2048];
    size_t got = 0;
    int64_t end_ns = clock_mono_ns() + 5 * NS_PER_S;
    while (got < 4 || memcmp(request + got - 4, "\r\n\r\n", 4) != 0) {
        pump_ms(peer->f, 0);
        ssize_t count = recv(fd, request + got, sizeof(request) - 1 - got, MSG_DONTWAIT);
        got += count > 0 ? (size_t)count : 0;
        assert_true(clock_mono_ns() < end_ns);
    }
    request[got] = '\0';
    const char *key = strstr(request, "Sec-WebSocket-Key: ");
    assert_non_null(key);
    snprintf(ret_key, size, "%.24s", key + strlen("Sec-WebSocket-Key: "));
}

/* Interim answers before the handshake's, the first frames right behind it, and all of it cut anywhere. */
static void a_handshake_in_pieces(void **state)
{
    (void)state;
    struct peer *peer = begin();
    uint16_t port;
    int listener = listen_raw(&port);
    size_t len = 1;
    for (size_t cut = 0; cut <= len; cut++) {
        char key[32], accept_text[WS_ACCEPT_TEXT_SIZE], answer[600];
        peer->messages = 0;
        buf_reset(&peer->got);
        connect_to(peer, "ws://127.0.0.1:%u/", port, "test.v1", 5000);
        int fd = accept_soon(peer, listener);
        read_key(peer, fd, key, sizeof(key));
        ws_accept_of(slice_str(key), accept_text);
        len = (size_t)snprintf(answer, sizeof(answer),
                               "HTTP/1.1 100 Continue\r\nConnection: close\r\n\r\n"
                               "HTTP/1.1 103 Early Hints\r\nContent-Length: 3\r\n\r\n"
                               "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                               "Sec-WebSocket-Accept: %s\r\nSec-WebSocket-Protocol: test.v1\r\n\r\n"
                               "\x81\x03one\x81\x03two",
                               accept_text);
        assert_int_equal(send(fd, answer, cut, MSG_NOSIGNAL), cut);
        pump_ms(peer->f, 0);
        assert_int_equal(send(fd, answer + cut, len - cut, MSG_NOSIGNAL), len - cut);
        wait_for(peer, &peer->messages, 2);
        assert_int_equal(peer->opened, 1);
        assert_memory_equal(peer->got.data, "one;two;", 8);
        ws_client_close(peer->client);
        close(fd);
        wait_for(peer, &peer->closed, 1);
    }
    close(listener);
    end(peer);
}

static void urls(void **state)
{
    (void)state;
    static const char *const good[] = {"ws://a",     "http://a/", "ws://a:1", "ws://[::1]:8080/x?y",
                                       "ws://[::1]", "WS://A.b/c"};
    static const char *const bad[] = {"",          "a",           "ftp://a",      "ws://",          "ws:///x",
                                      "ws://a:",   "ws://a:0",    "ws://a:65536", "ws://a:1x",      "ws://[::1",
                                      "ws://[]",   "ws://[::1]x", "ws://u@a",     "ws://a/ b",      "ws://a/\r\nX: y",
                                      "https://a", "wss://a",     "ws://a:-1",    "ws://a:1234567", "ws://:80"};
    struct peer *peer = begin();
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_null(ws_client_url_problem(good[i]));
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (ws_client_url_problem(bad[i]) == NULL) {
            fail_msg("taken: %s", bad[i]);
        }
        assert_int_equal(ws_client_connect(&peer->f->loop, bad[i], NULL, 100, &callbacks, peer, &peer->client),
                         STATUS_INVALID);
    }
    assert_non_null(strstr(ws_client_url_problem("https://a"), "not supported yet"));
    end(peer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(talking_to_our_server),         cmocka_unit_test(a_name_is_looked_up),
        cmocka_unit_test(large_messages_both_ways),      cmocka_unit_test(the_peer_closes),
        cmocka_unit_test(answers_that_are_no_handshake), cmocka_unit_test(servers_that_lie),
        cmocka_unit_test(a_handshake_in_pieces),         cmocka_unit_test(urls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
