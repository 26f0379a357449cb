/* net_fixture.h - a server with a handler for every feature, and raw client sockets, on one loop and one thread: the
 * client's calls turn the loop until they have what they want, so nothing here depends on luck in timing. */
#ifndef TEST_NET_FIXTURE_H
#define TEST_NET_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h> /* wants those above */

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "net/http_server.h"

#define LATER_MAX 256

struct fixture {
    struct loop loop;
    struct http_server *server;
    struct http_config config;
    struct http_request *later[LATER_MAX]; /* requests of /later, in order of arrival */
    unsigned later_count;
    unsigned gone_count;
    unsigned handled; /* calls of on_request */
    unsigned refused; /* calls of on_refused */
    enum status refused_status;
    struct http_request *upload; /* of /up */
    uint64_t upload_size;
    bool upload_pauses;     /* /up pauses at its first piece */
    uint64_t download_left; /* of /down */
    unsigned drained;
    unsigned ws_opened, ws_closed;
    struct ws_connection *ws;
    unsigned ws_messages;
};

/* A started server; change `config` between the two when needed. */
void fixture_init(struct fixture *fixture);
void fixture_start(struct fixture *fixture);
/* Closes the server, turns the loop until nothing is left, and checks that nothing leaks. */
void fixture_end(struct fixture *fixture);

/* One turn of the loop that waits at most 1 ms. */
void pump(struct fixture *fixture);
void pump_ms(struct fixture *fixture, int ms);
int client_open(struct fixture *fixture);
void client_send(struct fixture *fixture, int fd, const char *bytes, size_t len);
#define client_say(fixture, fd, text) client_send(fixture, fd, text, strlen(text))
/* Reads until there are `len` bytes; fails the test after 5 s or at the end of the stream. */
void client_read(struct fixture *fixture, int fd, char *ret, size_t len);
/* Reads one answer with a Content-Length or chunks: its status code, and its body as text into ret_body (may be NULL). The
 * head goes to ret_head (may be NULL), both of at least 4096 bytes. */
int client_answer(struct fixture *fixture, int fd, char *ret_head, char *ret_body);
/* Whether the stream ends (true) with nothing more before, within ms. */
bool client_sees_end(struct fixture *fixture, int fd, int ms);
/* Reads everything up to the end of the stream, at most `max` bytes; the number of bytes. */
size_t client_read_all(struct fixture *fixture, int fd, char *ret, size_t max);
/* The first answer with a body left to come: only the head. */
int client_head(struct fixture *fixture, int fd, char *ret_head);

void answer_later(struct fixture *fixture, unsigned index, const char *text);

#endif
