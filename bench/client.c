#include "client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

void client_die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "bench: ");
    vfprintf(stderr, format, args);
    fprintf(stderr, "\n");
    va_end(args);
    exit(1);
}

int client_connect(uint16_t port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1;
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
        client_die("no connection to 127.0.0.1:%u: %s", port, strerror(errno));
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    return fd;
}

void client_send(int fd, const void *data, size_t len)
{
    const char *at = data;
    while (len > 0) {
        ssize_t sent = send(fd, at, len, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) {
            continue;
        }
        if (sent <= 0) {
            client_die("send: %s", strerror(errno));
        }
        at += sent;
        len -= (size_t)sent;
    }
}

bool client_answer(const struct buf *in, size_t *ret_size, int *ret_status, struct slice *ret_body)
{
    if (in->len < 16) {
        return false;
    }
    const char *end = memmem(in->data, in->len, "\r\n\r\n", 4);
    if (end == NULL) {
        return false;
    }
    size_t head = (size_t)(end - in->data) + 4;
    size_t length = 0;
    bool has_length = false;
    for (const char *line = in->data; line < end;) {
        const char *next = memmem(line, (size_t)(end + 2 - line), "\r\n", 2);
        if (strncasecmp(line, "content-length:", 15) == 0) {
            length = strtoul(line + 15, NULL, 10);
            has_length = true;
        }
        line = next + 2;
    }
    int status = atoi(in->data + 9);
    if (!has_length && status != 204 && status != 101) {
        client_die("an answer without Content-Length: %.*s", (int)(head < 300 ? head : 300), in->data);
    }
    if (in->len < head + length) {
        return false;
    }
    *ret_size = head + length;
    *ret_status = status;
    *ret_body = slice_of(in->data + head, length);
    return true;
}

long client_read(int fd, struct buf *in)
{
    if (buf_reserve(in, 262144) != STATUS_OK) {
        client_die("an answer is too large");
    }
    for (;;) {
        ssize_t got = recv(fd, in->data + in->len, in->cap - in->len, 0);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            return -1;
        }
        if (got < 0) {
            client_die("recv: %s", strerror(errno));
        }
        in->len += (size_t)got;
        return got;
    }
}

void client_request(struct buf *out, const char *method, const char *target, struct slice body)
{
    buf_printf(out,
               "%s %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
               method, target, body.len);
    buf_append_slice(out, body);
}

int client_call(int fd, struct buf *in, const char *method, const char *target, struct slice body,
                struct slice *ret_body)
{
    struct buf out;
    buf_init(&out, 64u << 20);
    client_request(&out, method, target, body);
    client_send(fd, out.data, out.len);
    buf_free(&out);
    buf_reset(in);
    size_t size;
    int status;
    while (!client_answer(in, &size, &status, ret_body)) {
        if (client_read(fd, in) == 0) {
            client_die("the server closed the connection");
        }
    }
    return status;
}

bool client_field(struct slice json, const char *name, struct slice *ret_value)
{
    char key[64];
    int len = snprintf(key, sizeof(key), "\"%s\":", name);
    const char *at = memmem(json.data, json.len, key, (size_t)len);
    if (at == NULL) {
        return false;
    }
    const char *end = json.data + json.len;
    at += len;
    if (at < end && *at == '"') {
        const char *close = memchr(at + 1, '"', (size_t)(end - at - 1));
        if (close == NULL) {
            return false;
        }
        *ret_value = slice_of(at + 1, (size_t)(close - at - 1));
        return true;
    }
    const char *stop = at;
    while (stop < end && *stop != ',' && *stop != '}' && *stop != ']') {
        stop++;
    }
    *ret_value = slice_of(at, (size_t)(stop - at));
    return true;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double client_percentile(double *samples, size_t count, double percent)
{
    qsort(samples, count, sizeof(*samples), compare);
    size_t rank = (size_t)(percent / 100 * (double)count);
    return count == 0 ? 0 : samples[rank < count ? rank : count - 1];
}
