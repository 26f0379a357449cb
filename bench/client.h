/* client.h - a blocking HTTP/1.1 client over one keep-alive connection, for benchmarks that need no more.
 *
 * Deliberately not Shoal's own net layer: what is measured should not measure itself. */
#ifndef SHOAL_BENCH_CLIENT_H
#define SHOAL_BENCH_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

/* A connected TCP socket to 127.0.0.1:port with TCP_NODELAY; ends the program when there is none. */
int client_connect(uint16_t port);
/* Sends all of it; ends the program when it cannot. */
void client_send(int fd, const void *data, size_t len);

/* Takes one complete HTTP answer off the front of `in`: its total size, its status and its body (a view into `in`).
 * False while it is incomplete. Needs a Content-Length. */
bool client_answer(const struct buf *in, size_t *ret_size, int *ret_status, struct slice *ret_body);
/* Reads once from a socket into `in` (blocking or not): bytes read, 0 at the end, -1 when it would block. */
long client_read(int fd, struct buf *in);
/* Sends a request and waits for its answer; the body lives until the next call with the same buffer. */
int client_call(int fd, struct buf *in, const char *method, const char *target, struct slice body,
                struct slice *ret_body);

/* Appends a whole request with a JSON body. */
void client_request(struct buf *out, const char *method, const char *target, struct slice body);

/* The value of "name": in flat JSON text written by the hub: a string's inside or a bare number. False when missing. */
bool client_field(struct slice json, const char *name, struct slice *ret_value);

/* Sorts the samples and gives the value at a percentile (0..100). */
double client_percentile(double *samples, size_t count, double percent);

_Noreturn void client_die(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
