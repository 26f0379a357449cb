/* bench_latency.c - from submit to lease on an idle node, and from submit to the answer.
 *
 *   bench_latency PORT COUNT [PAUSE_US=2000]
 *
 * One process is the node (a WebSocket session of its own making, RFC 6455) and the client: it notes the time, sends
 * POST /v1/tasks, and notes when the lease arrives on the session. The hub answers neither before its fsync. Prints one
 * JSON line with percentiles in milliseconds. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "client.h"

static struct buf ws_in = {.max = 16u << 20};

static void ws_send(int fd, struct slice text)
{
    unsigned char head[14] = {0x81};
    size_t len = 2;
    if (text.len < 126) {
        head[1] = (unsigned char)(0x80 | text.len);
    } else {
        head[1] = 0x80 | 126;
        head[2] = (unsigned char)(text.len >> 8);
        head[3] = (unsigned char)text.len;
        len = 4;
    }
    memset(head + len, 0, 4); /* a mask of zeros is a mask */
    len += 4;
    char frame[4096];
    if (len + text.len > sizeof(frame)) {
        client_die("message too long");
    }
    memcpy(frame, head, len);
    memcpy(frame + len, text.data, text.len);
    client_send(fd, frame, len + text.len);
}

/* The next text message of the session; it lives until the next call. */
static struct slice ws_receive(int fd)
{
    static size_t consumed;
    buf_consume(&ws_in, consumed);
    consumed = 0;
    for (;;) {
        const unsigned char *at = (const unsigned char *)ws_in.data;
        size_t head = 2, size = 0;
        bool is_whole = ws_in.len >= 2;
        if (is_whole) {
            size = at[1] & 127;
            if (size == 126) {
                head = 4;
                is_whole = ws_in.len >= 4;
                size = is_whole ? (size_t)at[2] << 8 | at[3] : 0;
            } else if (size == 127) {
                client_die("an unexpectedly large message");
            }
        }
        if (is_whole && ws_in.len >= head + size) {
            consumed = head + size;
            if ((at[0] & 15) == 8) {
                client_die("the hub closed the session: %.*s", (int)size - 2, ws_in.data + head + 2);
            }
            return slice_of(ws_in.data + head, size);
        }
        if (client_read(fd, &ws_in) == 0) {
            client_die("the hub closed the session");
        }
    }
}

static bool is_type(struct slice message, const char *type)
{
    struct slice value;
    return client_field(message, "type", &value) && slice_equal_str(value, type);
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        client_die("usage: bench_latency PORT COUNT [PAUSE_US]");
    }
    uint16_t port = (uint16_t)atoi(argv[1]);
    size_t count = strtoul(argv[2], NULL, 10);
    useconds_t pause_us = argc > 3 ? (useconds_t)atoi(argv[3]) : 2000;

    int ws = client_connect(port);
    const char *upgrade = "GET /v1/work HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                          "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                          "Sec-WebSocket-Protocol: shoal.work.v1\r\n\r\n";
    client_send(ws, upgrade, strlen(upgrade));
    size_t size;
    int status;
    struct slice body;
    while (!client_answer(&ws_in, &size, &status, &body)) {
        if (client_read(ws, &ws_in) == 0) {
            client_die("no upgrade");
        }
    }
    if (status != 101) {
        client_die("no upgrade: %d", status);
    }
    buf_consume(&ws_in, size);
    ws_send(ws,
            slice_str("{\"type\":\"hello\",\"node\":\"bench-latency\",\"instance\":\"00000000000000aa\",\"kinds\":"
                      "[\"bench.latency\"],\"labels\":[],\"cpu_milli\":1000,\"memory_mib\":64,\"gpu\":0,\"credit\":1,"
                      "\"held\":[],\"info\":{}}"));
    while (!is_type(ws_receive(ws), "welcome")) {
    }

    int http = client_connect(port);
    struct buf in = {.max = 1u << 20}, request = {.max = 1u << 20};
    client_request(&request, "POST", "/v1/tasks", SLICE("{\"kind\":\"bench.latency\",\"input\":{\"n\":1}}"));
    double *lease_ms = malloc(count * sizeof(double)), *answer_ms = malloc(count * sizeof(double));
    int64_t beat_ns = clock_mono_ns();
    for (size_t i = 0; i < count; i++) {
        int64_t began_ns = clock_mono_ns();
        client_send(http, request.data, request.len);
        bool is_answered = false, is_leased = false;
        char token[80] = "";
        while (!is_answered || !is_leased) {
            struct pollfd polls[2] = {{.fd = http, .events = POLLIN}, {.fd = ws, .events = POLLIN}};
            if (poll(polls, 2, 5000) <= 0) {
                client_die("no answer or no lease");
            }
            int64_t now_ns = clock_mono_ns();
            if (polls[1].revents != 0) {
                struct slice message = ws_receive(ws), text;
                if (is_type(message, "lease") && client_field(message, "token", &text) && text.len < sizeof(token)) {
                    lease_ms[i] = (double)(now_ns - began_ns) / 1e6;
                    memcpy(token, text.data, text.len);
                    is_leased = true;
                }
            }
            if (polls[0].revents != 0) {
                if (client_read(http, &in) == 0) {
                    client_die("the hub closed the connection");
                }
                if (client_answer(&in, &size, &status, &body)) {
                    if (status != 201) {
                        client_die("status %d: %.*s", status, (int)body.len, body.data);
                    }
                    answer_ms[i] = (double)(now_ns - began_ns) / 1e6;
                    buf_consume(&in, size);
                    is_answered = true;
                }
            }
        }
        char report[256];
        int len = snprintf(report, sizeof(report),
                           "{\"type\":\"report\",\"credit\":1,\"outcomes\":[{\"token\":\"%s\",\"outcome\":\"complete\","
                           "\"result\":1}]}",
                           token);
        ws_send(ws, slice_of(report, (size_t)len));
        while (!is_type(ws_receive(ws), "reported")) {
        }
        if (clock_mono_ns() - beat_ns > 400 * NS_PER_MS) {
            ws_send(ws, SLICE("{\"type\":\"beat\"}"));
            beat_ns = clock_mono_ns();
        }
        usleep(pause_us);
    }
    printf("{\"count\":%zu,\"lease_p50_ms\":%.3f,\"lease_p90_ms\":%.3f,\"lease_p99_ms\":%.3f,\"lease_max_ms\":%.3f,"
           "\"answer_p50_ms\":%.3f,\"answer_p99_ms\":%.3f}\n",
           count, client_percentile(lease_ms, count, 50), client_percentile(lease_ms, count, 90),
           client_percentile(lease_ms, count, 99), client_percentile(lease_ms, count, 100),
           client_percentile(answer_ms, count, 50), client_percentile(answer_ms, count, 99));
    return 0;
}
