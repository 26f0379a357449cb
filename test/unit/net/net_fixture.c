#include "net_fixture.h"

#include <poll.h>

#define DEADLINE_MS 5000

static void reply(struct http_request *request, int status, struct slice body)
{
    http_answer(request, &(struct http_answer){.status = status, .content_type = "text/plain", .body = body});
}

static void on_gone(struct http_request *request)
{
    struct fixture *fixture = request->user;
    assert_true(request->is_gone);
    fixture->gone_count++;
    for (unsigned i = 0; i < fixture->later_count; i++) {
        if (fixture->later[i] == request) {
            fixture->later[i] = NULL;
        }
    }
    if (fixture->upload == request) {
        fixture->upload = NULL;
    }
    reply(request, 500, SLICE("nobody reads this")); /* dropped; frees the request */
}

/* Only counts: the test answers later. */
static void on_gone_kept(struct http_request *request)
{
    ((struct fixture *)request->user)->gone_count++;
}

static enum http_body_mode on_head(void *ctx, struct http_request *request)
{
    struct fixture *fixture = ctx;
    if (slice_equal_str(request->path, "/up")) {
        request->user = fixture;
        request->on_gone = on_gone;
        fixture->upload = request;
        fixture->upload_size = 0;
        return HTTP_BODY_STREAM;
    }
    if (slice_equal_str(request->path, "/forbidden")) {
        reply(request, 403, SLICE("no"));
        return HTTP_BODY_ANSWERED;
    }
    return HTTP_BODY_BUFFER;
}

static void on_body(void *ctx, struct http_request *request, struct slice piece)
{
    struct fixture *fixture = ctx;
    assert_ptr_equal(request, fixture->upload);
    fixture->upload_size += piece.len;
    if (fixture->upload_pauses) {
        http_body_pause(request, true);
    }
    if (slice_equal_str(http_header(request, "x-give-up"), "yes")) {
        fixture->upload = NULL;
        reply(request, 507, SLICE("full"));
    }
}

static void write_more(struct http_request *request)
{
    struct fixture *fixture = request->user;
    static char piece[60000];
    fixture->drained++;
    while (fixture->download_left > 0) {
        size_t len = fixture->download_left < sizeof(piece) ? (size_t)fixture->download_left : sizeof(piece);
        memset(piece, 'x', len);
        fixture->download_left -= len;
        if (!http_answer_write(request, slice_of(piece, len))) {
            return;
        }
    }
    http_answer_end(request);
}

static void on_message(struct ws_connection *ws, struct slice message, bool is_text)
{
    struct fixture *fixture = ws_user(ws);
    fixture->ws_messages++;
    assert_true(is_text || message.len < 1000);
    if (slice_equal_str(message, "close")) {
        ws_close(ws, 4001, "as you wish");
        return;
    }
    if (slice_equal_str(message, "flood")) {
        static char big[1 << 20];
        memset(big, 'f', sizeof(big));
        for (int i = 0; i < 40; i++) {
            ws_send_text(ws, slice_of(big, sizeof(big)));
        }
        return;
    }
    ws_send_text(ws, message);
}

static void on_ws_closed(struct ws_connection *ws)
{
    struct fixture *fixture = ws_user(ws);
    fixture->ws_closed++;
    if (fixture->ws == ws) {
        fixture->ws = NULL;
    }
}

static void on_request(void *ctx, struct http_request *request)
{
    struct fixture *fixture = ctx;
    fixture->handled++;
    if (slice_equal_str(request->path, "/echo")) {
        /* The padding must be readable. */
        volatile char sum = 0;
        for (size_t i = 0; request->body.len > 0 && i < 64; i++) {
            sum = (char)(sum + request->body.data[request->body.len + i]);
        }
        reply(request, 200, request->body);
    } else if (slice_equal_str(request->path, "/later")) {
        request->user = fixture;
        request->on_gone = on_gone;
        request->end_is_gone = slice_equal_str(request->query, "poll");
        assert_true(fixture->later_count < LATER_MAX);
        assert_int_equal(http_keep_body(request), STATUS_OK);
        fixture->later[fixture->later_count++] = request;
    } else if (slice_equal_str(request->path, "/kept")) {
        request->user = fixture;
        request->on_gone = on_gone_kept;
        fixture->later[fixture->later_count++] = request;
    } else if (slice_equal_str(request->path, "/up")) {
        char text[32];
        fixture->upload = NULL;
        snprintf(text, sizeof(text), "%llu", (unsigned long long)fixture->upload_size);
        reply(request, 201, slice_str(text));
    } else if (slice_equal_str(request->path, "/down") || slice_equal_str(request->path, "/down-sized")) {
        request->user = fixture;
        request->on_gone = on_gone;
        http_on_drained(request, write_more);
        http_answer_begin(request, 200, "application/octet-stream", (struct slice){NULL, 0},
                          slice_equal_str(request->path, "/down") ? UINT64_MAX : fixture->download_left);
        write_more(request);
    } else if (slice_equal_str(request->path, "/short")) {
        http_answer_begin(request, 200, NULL, (struct slice){NULL, 0}, 100);
        http_answer_write(request, SLICE("not a hundred"));
        http_answer_end(request);
    } else if (slice_equal_str(request->path, "/empty")) {
        reply(request, 204, (struct slice){NULL, 0});
    } else if (slice_equal_str(request->path, "/query")) {
        struct buf scratch;
        struct slice value = SLICE("(none)");
        buf_init(&scratch, 1000);
        (void)http_query_param(request, "name", &scratch, &value);
        reply(request, 200, value);
        buf_free(&scratch);
    } else if (slice_equal_str(request->path, "/peer")) {
        reply(request, 200, slice_str(http_peer(request)));
    } else if (slice_equal_str(request->path, "/header")) {
        reply(request, 200, http_header(request, "x-test"));
    } else if (slice_equal_str(request->path, "/ws")) {
        struct ws_callbacks callbacks = {on_message, on_ws_closed};
        fixture->ws = ws_accept(request, "test.v1", &callbacks, fixture);
        fixture->ws_opened += fixture->ws != NULL;
    } else {
        reply(request, 200, SLICE("hello"));
    }
}

static void on_refused(void *ctx, enum status status, const char *detail, struct buf *body)
{
    struct fixture *fixture = ctx;
    assert_non_null(detail);
    fixture->refused++;
    fixture->refused_status = status;
    buf_printf(body, "{\"code\":\"%s\"}", status_slug(status));
}

void fixture_init(struct fixture *fixture)
{
    *fixture = (struct fixture){0};
    assert_int_equal(loop_init(&fixture->loop), STATUS_OK);
    http_config_default(&fixture->config);
}

void fixture_start(struct fixture *fixture)
{
    struct http_callbacks callbacks = {
        .on_head = on_head, .on_body = on_body, .on_request = on_request, .on_refused = on_refused, .ctx = fixture};
    assert_int_equal(http_server_start(&fixture->loop, &fixture->config, &callbacks, &fixture->server), STATUS_OK);
    assert_true(http_server_port(fixture->server) != 0);
}

void fixture_end(struct fixture *fixture)
{
    for (unsigned i = 0; i < fixture->later_count; i++) {
        if (fixture->later[i] != NULL) {
            answer_later(fixture, i, "end");
        }
    }
    if (fixture->server != NULL) {
        http_server_close(fixture->server, 100);
    }
    loop_stop(&fixture->loop);
    int64_t begin_ns = clock_mono_ns();
    loop_run(&fixture->loop); /* hangs the test when a handle is left */
    assert_true(clock_mono_ns() - begin_ns < 3 * NS_PER_S);
    loop_free(&fixture->loop);
}

void pump(struct fixture *fixture)
{
    if (uv_run(&fixture->loop.uv, UV_RUN_NOWAIT) >= 0) {
        poll(NULL, 0, 0);
    }
}

void pump_ms(struct fixture *fixture, int ms)
{
    int64_t end_ns = clock_mono_ns() + ms * NS_PER_MS;
    do {
        pump(fixture);
        poll(NULL, 0, 1);
    } while (clock_mono_ns() < end_ns);
}

int client_open(struct fixture *fixture)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(http_server_port(fixture->server)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    pump(fixture);
    return fd;
}

void client_send(struct fixture *fixture, int fd, const char *bytes, size_t len)
{
    int64_t end_ns = clock_mono_ns() + DEADLINE_MS * NS_PER_MS;
    while (len > 0) {
        ssize_t count = send(fd, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (count > 0) {
            bytes += count;
            len -= (size_t)count;
        } else if (errno != EAGAIN) {
            return; /* the server has closed; what it said before is what the test looks at */
        }
        pump(fixture);
        assert_true(clock_mono_ns() < end_ns);
    }
}

/* One piece; 0 at the end of the stream, -1 when there was nothing for ms. */
static ssize_t read_some(struct fixture *fixture, int fd, char *ret, size_t len, int ms)
{
    int64_t end_ns = clock_mono_ns() + ms * NS_PER_MS;
    for (;;) {
        pump(fixture);
        ssize_t count = recv(fd, ret, len, MSG_DONTWAIT);
        if (count >= 0) {
            return count;
        }
        if (errno != EAGAIN) {
            return 0; /* a reset is an end as well */
        }
        if (clock_mono_ns() >= end_ns) {
            return -1;
        }
        struct pollfd pollfd = {.fd = fd, .events = POLLIN};
        poll(&pollfd, 1, 1);
    }
}

void client_read(struct fixture *fixture, int fd, char *ret, size_t len)
{
    size_t at = 0;
    while (at < len) {
        ssize_t count = read_some(fixture, fd, ret + at, len - at, DEADLINE_MS);
        assert_true(count > 0);
        at += (size_t)count;
    }
}

int client_head(struct fixture *fixture, int fd, char *ret_head)
{
    size_t at = 0;
    do {
        assert_true(at < 4095);
        client_read(fixture, fd, ret_head + at, 1);
        at++;
        ret_head[at] = '\0';
    } while (at < 4 || memcmp(ret_head + at - 4, "\r\n\r\n", 4) != 0);
    assert_memory_equal(ret_head, "HTTP/1.1 ", 9);
    return atoi(ret_head + 9);
}

int client_answer(struct fixture *fixture, int fd, char *ret_head, char *ret_body)
{
    char own_head[4096];
    char own_body[4096];
    char *head = ret_head != NULL ? ret_head : own_head;
    char *body = ret_body != NULL ? ret_body : own_body;
    int status = client_head(fixture, fd, head);
    const char *length = strstr(head, "Content-Length: ");
    size_t len = length != NULL ? strtoul(length + 16, NULL, 10) : 0;
    assert_true(len < 4096);
    client_read(fixture, fd, body, len);
    body[len] = '\0';
    return status;
}

bool client_sees_end(struct fixture *fixture, int fd, int ms)
{
    char byte;
    return read_some(fixture, fd, &byte, 1, ms) == 0;
}

size_t client_read_all(struct fixture *fixture, int fd, char *ret, size_t max)
{
    size_t at = 0;
    for (;;) {
        assert_true(at < max);
        ssize_t count = read_some(fixture, fd, ret + at, max - at, DEADLINE_MS);
        assert_true(count >= 0);
        if (count == 0) {
            return at;
        }
        at += (size_t)count;
    }
}

void answer_later(struct fixture *fixture, unsigned index, const char *text)
{
    assert_non_null(fixture->later[index]);
    struct http_request *request = fixture->later[index];
    fixture->later[index] = NULL;
    reply(request, 200, slice_str(text));
}
