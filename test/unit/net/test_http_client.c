/* The HTTP client against a server that says every sort of answer of RFC 9112 section 6.3, whole and split at every byte.
 *
 * Each case is asked for three times over one client: as it is (the parser reads it), again (its head may be remembered by
 * now), and then a plain answer with a number of its own: nothing of the case may be left over in it. Client and server live
 * on one thread: the server's sockets are written between turns of the loop. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h> /* wants those above */

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "net/http_client.h"

#define DEADLINE_MS 10000
#define BODY_MAX 1000

enum ending { STAYS, ENDS, BREAKS }; /* the server's side after the answer: open, FIN, RST */

struct reply_case {
    const char *name;
    const char *bytes;
    const char *body; /* that is to come out */
    int status;
    enum http_failure failure;
    enum ending ending;
    bool is_head;
    bool keeps; /* the connection serves the next request, too */
};

#define LINE(code) "HTTP/1.1 " #code " Something\r\n"
#define SIX "Content-Length: 6\r\n"
#define CHUNKED "Transfer-Encoding: chunked\r\n"
#define EARLY "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n"
#define CONTINUE "HTTP/1.1 100 Continue\r\n\r\n"
#define GOOD(...) .failure = HTTP_NO_FAILURE, __VA_ARGS__
#define BAD(what) .failure = what

static const struct reply_case cases[] = {
    /* rule 6: a length */
    {"a length", LINE(200) SIX "\r\nabcdef", "abcdef", 200, GOOD(.keeps = true)},
    {"a length of nothing", LINE(200) "Content-Length: 0\r\n\r\n", "", 200, GOOD(.keeps = true)},
    {"a length, then the end", LINE(200) SIX "\r\nabcdef", "abcdef", 200, GOOD(.ending = ENDS)},
    {"a length and a goodbye", LINE(500) "Connection: close\r\n" SIX "\r\nabcdef", "abcdef", 500, GOOD(.ending = ENDS)},
    {"a length with leading zeros", LINE(200) "Content-Length: 006\r\n\r\nabcdef", "abcdef", 200, GOOD(.keeps = true)},
    {"cut off in a counted body", LINE(200) SIX "\r\nabc", "", 200, BAD(HTTP_RESET), ENDS},
    {"reset in a counted body", LINE(200) SIX "\r\nabc", "", 200, BAD(HTTP_RESET), BREAKS},
    {"cut off in the head", LINE(200) "Content-Len", "", 0, BAD(HTTP_RESET), ENDS},
    {"no byte at all", "", "", 0, BAD(HTTP_RESET), ENDS},
    {"HTTP/1.0 with a length", "HTTP/1.0 200 OK\r\n" SIX "\r\nabcdef", "abcdef", 200, GOOD(.ending = ENDS)},
    {"HTTP/1.0 that stays", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n" SIX "\r\nabcdef", "abcdef", 200,
     GOOD(.keeps = true)},
    /* interim answers */
    {"103 first", EARLY LINE(500) SIX "\r\nabcdef", "abcdef", 500, GOOD(.keeps = true)},
    {"100 first", CONTINUE LINE(200) SIX "\r\nabcdef", "abcdef", 200, GOOD(.keeps = true)},
    {"several first",
     CONTINUE EARLY EARLY "HTTP/1.1 199 What\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n" LINE(503) SIX "\r\nabcdef",
     "abcdef", 503, GOOD(.keeps = true)},
    {"100 before a 204", CONTINUE LINE(204) "\r\n", "", 204, GOOD(.keeps = true)},
    {"103 before chunks", EARLY LINE(200) CHUNKED "\r\n6\r\nabcdef\r\n0\r\n\r\n", "abcdef", 200, GOOD(.keeps = true)},
    {"103 before a body up to the end", EARLY LINE(200) "\r\nabcdef", "abcdef", 200, GOOD(.ending = ENDS)},
    {"103 with a length, which has no body", "HTTP/1.1 103 Early\r\n" SIX "\r\n" LINE(200) SIX "\r\nabcdef", "abcdef",
     200, GOOD(.keeps = true)},
    {"100 that says goodbye", "HTTP/1.1 100 Continue\r\nConnection: close\r\n\r\n" LINE(200) SIX "\r\nabcdef", "abcdef",
     200, GOOD(.keeps = true)},
    {"100 and no more", CONTINUE, "", 0, BAD(HTTP_RESET), ENDS},
    {"103 before HEAD's answer", EARLY LINE(200) SIX "\r\n", "", 200, GOOD(.is_head = true, .keeps = true)},
    {"101 that nobody asked for", "HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\nabcdef", "", 0,
     BAD(HTTP_NONSENSE)},
    {"101 without an upgrade", "HTTP/1.1 101 Switching\r\n\r\n", "", 0, BAD(HTTP_NONSENSE)},
    {"an offer to upgrade", LINE(200) "Upgrade: h2c\r\nConnection: Upgrade\r\n" SIX "\r\nabcdef", "abcdef", 200,
     GOOD(.keeps = true)},
    {"an offer to upgrade, up to the end", LINE(200) "Upgrade: h2c\r\nConnection: Upgrade\r\n\r\nabcdef", "abcdef", 200,
     GOOD(.ending = ENDS)},
    /* rule 1: no body, whatever is written */
    {"HEAD with a length", LINE(200) SIX "\r\n", "", 200, GOOD(.is_head = true, .keeps = true)},
    {"HEAD with chunks", LINE(200) CHUNKED "\r\n", "", 200, GOOD(.is_head = true, .keeps = true)},
    {"HEAD with neither", LINE(200) "\r\n", "", 200, GOOD(.is_head = true)},
    {"HEAD with a body all the same", LINE(200) SIX "\r\nabcdef", "", 200, GOOD(.is_head = true)},
    {"204", LINE(204) "\r\n", "", 204, GOOD(.keeps = true)},
    {"204 with a length of nothing", LINE(204) "Content-Length: 0\r\n\r\n", "", 204, GOOD(.keeps = true)},
    {"204 with a length", LINE(204) SIX "\r\n", "", 204, GOOD()},
    {"204 with a length and its body", LINE(204) SIX "\r\nabcdef", "", 204, GOOD()},
    {"204 with chunks", LINE(204) CHUNKED "\r\n", "", 204, GOOD()},
    {"204 with chunks that come", LINE(204) CHUNKED "\r\n0\r\n\r\n", "", 204, GOOD()},
    {"304", LINE(304) "ETag: \"x\"\r\n\r\n", "", 304, GOOD(.keeps = true)},
    {"304 with a length", LINE(304) SIX "\r\n", "", 304, GOOD(.keeps = true)},
    {"304 with chunks", LINE(304) CHUNKED "\r\n", "", 304, GOOD(.keeps = true)},
    /* rules 3 and 4: codings */
    {"chunks", LINE(200) CHUNKED "\r\n3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n", "abcdef", 200, GOOD(.keeps = true)},
    {"chunks in capitals", LINE(200) "transfer-encoding: Chunked\r\n\r\n6\r\nabcdef\r\n0\r\n\r\n", "abcdef", 200,
     GOOD(.keeps = true)},
    {"chunks with extensions and trailers", LINE(200) CHUNKED "\r\n6;a=b\r\nabcdef\r\n0\r\nDigest: z\r\nX: y\r\n\r\n",
     "abcdef", 200, GOOD(.keeps = true)},
    {"no chunk", LINE(200) CHUNKED "\r\n0\r\n\r\n", "", 200, GOOD(.keeps = true)},
    {"cut off in a chunk", LINE(200) CHUNKED "\r\n6\r\nabc", "", 200, BAD(HTTP_RESET), ENDS},
    {"cut off between chunks", LINE(200) CHUNKED "\r\n6\r\nabcdef\r\n", "", 200, BAD(HTTP_RESET), ENDS},
    {"cut off before the last line end", LINE(200) CHUNKED "\r\n6\r\nabcdef\r\n0\r\n", "", 200, BAD(HTTP_RESET), ENDS},
    {"a chunk of nonsense", LINE(200) CHUNKED "\r\nxyz\r\n", "", 200, BAD(HTTP_NONSENSE)},
    {"a chunk longer than it says", LINE(200) CHUNKED "\r\n2\r\nabc\r\n0\r\n\r\n", "", 200, BAD(HTTP_NONSENSE)},
    {"a chunk that is too large", LINE(200) CHUNKED "\r\nFFFFFFFFFFFFFFFFF\r\n", "", 200, BAD(HTTP_NONSENSE)},
    {"a coding that nobody offered", LINE(200) "Transfer-Encoding: gzip\r\n\r\nabcdef", "", 0, BAD(HTTP_NONSENSE),
     ENDS},
    {"gzip, then chunks", LINE(200) "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "", 0, BAD(HTTP_NONSENSE)},
    {"chunks that are not last", LINE(200) "Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", "", 0,
     BAD(HTTP_NONSENSE)},
    {"chunks twice", LINE(200) "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", "", 0, BAD(HTTP_NONSENSE)},
    {"two codings' fields", LINE(200) CHUNKED CHUNKED "\r\n0\r\n\r\n", "", 0, BAD(HTTP_NONSENSE)},
    {"chunks and a length", LINE(200) CHUNKED SIX "\r\n6\r\nabcdef\r\n0\r\n\r\n", "", 0, BAD(HTTP_NONSENSE)},
    {"a length and chunks", LINE(200) SIX CHUNKED "\r\n6\r\nabcdef\r\n0\r\n\r\n", "", 0, BAD(HTTP_NONSENSE)},
    {"chunks in HTTP/1.0", "HTTP/1.0 200 OK\r\n" CHUNKED "\r\n6\r\nabcdef\r\n0\r\n\r\n", "", 0, BAD(HTTP_NONSENSE)},
    /* rule 5: lengths that are none */
    {"two lengths", LINE(200) "Content-Length: 6\r\nContent-Length: 5\r\n\r\nabcdef", "", 0, BAD(HTTP_NONSENSE)},
    {"the same length twice", LINE(200) SIX SIX "\r\nabcdef", "", 0, BAD(HTTP_NONSENSE)},
    {"a list of lengths", LINE(200) "Content-Length: 6, 6\r\n\r\nabcdef", "", 0, BAD(HTTP_NONSENSE)},
    {"a negative length", LINE(200) "Content-Length: -6\r\n\r\nabcdef", "", 0, BAD(HTTP_NONSENSE)},
    {"a length with a sign", LINE(200) "Content-Length: +6\r\n\r\nabcdef", "", 0, BAD(HTTP_NONSENSE)},
    {"a length in sixteens", LINE(200) "Content-Length: 0x6\r\n\r\nabcdef", "", 0, BAD(HTTP_NONSENSE)},
    {"an empty length", LINE(200) "Content-Length: \r\n\r\nabcdef", "", 0, BAD(HTTP_NONSENSE)},
    {"a length beyond 64 bits", LINE(200) "Content-Length: 18446744073709551622\r\n\r\nabcdef", "", 0,
     BAD(HTTP_NONSENSE)},
    {"a body that is too large", LINE(200) "Content-Length: 2000\r\n\r\n" /* and 2000 bytes */, "", 200,
     BAD(HTTP_TOO_LARGE)},
    /* rule 8: neither */
    {"up to the end", LINE(200) "\r\nabcdef", "abcdef", 200, GOOD(.ending = ENDS)},
    {"nothing up to the end", LINE(200) "\r\n", "", 200, GOOD(.ending = ENDS)},
    {"up to a reset", LINE(200) "\r\nabcdef", "", 200, BAD(HTTP_RESET), BREAKS},
    {"HTTP/1.0 up to the end", "HTTP/1.0 200 OK\r\n\r\nabcdef", "abcdef", 200, GOOD(.ending = ENDS)},
    /* more than was asked for */
    {"a second answer", LINE(200) SIX "\r\nabcdef" LINE(201) SIX "\r\nghijkl", "abcdef", 200, GOOD()},
    {"a second answer behind chunks", LINE(200) CHUNKED "\r\n0\r\n\r\n" LINE(201) SIX "\r\nghijkl", "", 200, GOOD()},
    {"a second answer behind a 204", LINE(204) "\r\n" LINE(201) SIX "\r\nghijkl", "", 204, GOOD()},
    {"a second answer behind a 304", LINE(304) SIX "\r\n" LINE(201) SIX "\r\nghijkl", "", 304, GOOD()},
    {"a byte too many", LINE(200) SIX "\r\nabcdefg", "abcdef", 200, GOOD()},
    /* what is no answer */
    {"another protocol", "SSH-2.0-OpenSSH_9.2\r\n", "", 0, BAD(HTTP_NONSENSE)},
    {"another version", "HTTP/2.0 200 OK\r\n\r\n", "", 0, BAD(HTTP_NONSENSE)},
    {"a status that is none", "HTTP/1.1 099 Low\r\n" SIX "\r\nabcdef", "", 0, BAD(HTTP_NONSENSE)},
    {"empty lines first", "\r\n\r\n" LINE(500) SIX "\r\nabcdef", "abcdef", 500, GOOD(.keeps = true)},
};

struct world {
    struct loop loop;
    struct alarms *alarms;
    struct http_origin *origin;
    struct http_client *client;
    int listener, peer; /* the server's side; -1: none */
    unsigned accepted;
    unsigned ended;
    struct http_outcome outcome;
    char body[BODY_MAX + 1];
};

static void on_done(struct http_client *client, void *user, const struct http_outcome *outcome)
{
    struct world *world = user;
    assert_ptr_equal(client, world->client);
    world->ended++;
    world->outcome = *outcome;
    assert_true(outcome->body.len <= BODY_MAX);
    if (outcome->body.len > 0) {
        memcpy(world->body, outcome->body.data, outcome->body.len);
    }
    world->body[outcome->body.len] = '\0';
}

static void turn(struct world *world)
{
    uv_run(&world->loop.uv, UV_RUN_NOWAIT);
}

static void begin(struct world *world)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    char url[64], why[200];
    *world = (struct world){.peer = -1};
    world->listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(world->listener, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(world->listener, 16), 0);
    assert_int_equal(getsockname(world->listener, (struct sockaddr *)&address, &size), 0);
    snprintf(url, sizeof(url), "http://127.0.0.1:%u/", ntohs(address.sin_port));
    assert_int_equal(loop_init(&world->loop), STATUS_OK);
    assert_int_equal(alarms_new(&world->loop, &world->alarms), STATUS_OK);
    assert_int_equal(http_origin_new(&world->loop, world->alarms, url, &world->origin, why, sizeof(why)), STATUS_OK);
    world->client = http_client_new(world->origin, on_done, world);
    assert_non_null(world->client);
}

static void end(struct world *world)
{
    http_client_free(world->client);
    if (world->peer >= 0) {
        close(world->peer);
    }
    for (int i = 0; i < 5; i++) {
        turn(world);
    }
    http_origin_free(world->origin);
    alarms_free(world->alarms);
    close(world->listener);
    loop_free(&world->loop);
}

static void hang_up(struct world *world, enum ending ending)
{
    if (ending == BREAKS) {
        struct linger now = {.l_onoff = 1};
        setsockopt(world->peer, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    }
    close(world->peer);
    world->peer = -1;
}

/* The request has arrived at the server, over the connection that there is or over a new one. */
static void receive_request(struct world *world)
{
    int64_t end_ns = clock_mono_ns() + DEADLINE_MS * NS_PER_MS;
    size_t got = 0;
    char bytes[512];
    while (got < 4 || memcmp(bytes + got - 4, "\r\n\r\n", 4) != 0) {
        turn(world);
        assert_true(clock_mono_ns() < end_ns);
        struct pollfd look[2] = {{.fd = world->listener, .events = POLLIN}, {.fd = world->peer, .events = POLLIN}};
        poll(look, 2, 1);
        if ((look[0].revents & POLLIN) != 0) {
            int fd = accept(world->listener, NULL, NULL);
            int one = 1;
            assert_true(fd >= 0);
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
            if (world->peer >= 0) {
                close(world->peer);
            }
            world->peer = fd;
            world->accepted++;
            got = 0;
        } else if (world->peer >= 0 && look[1].revents != 0) {
            ssize_t count = recv(world->peer, bytes + got, sizeof(bytes) - got, MSG_DONTWAIT);
            if (count > 0) {
                got += (size_t)count;
            } else if (count == 0 || errno != EAGAIN) {
                close(world->peer); /* the client gave this connection up */
                world->peer = -1;
            }
        }
    }
}

static void ask(struct world *world, bool is_head)
{
    static const char get[] = "GET / HTTP/1.1\r\nHost: a\r\n\r\n", head[] = "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n";
    struct http_request_bytes request = {.parts = {slice_str(is_head ? head : get)},
                                         .deadline_ns = clock_mono_ns() + DEADLINE_MS * NS_PER_MS,
                                         .is_head = is_head,
                                         .body_max = BODY_MAX};
    world->ended = 0;
    http_client_send(world->client, &request);
    receive_request(world);
}

static void say(struct world *world, const char *bytes, size_t len)
{
    if (len > 0) { /* the client may be gone already, having heard enough */
        (void)send(world->peer, bytes, len, MSG_NOSIGNAL);
    }
    turn(world);
    turn(world);
}

static void wait_for_end(struct world *world)
{
    int64_t end_ns = clock_mono_ns() + 2 * DEADLINE_MS * NS_PER_MS;
    while (world->ended == 0) {
        turn(world);
        poll(NULL, 0, 1);
        assert_true(clock_mono_ns() < end_ns);
    }
    turn(world);
}

static void expect(const struct world *world, const struct reply_case *expected, size_t cut)
{
    const struct http_outcome *outcome = &world->outcome;
    const char *body = outcome->failure == HTTP_NO_FAILURE ? world->body : "";
    bool is_right = outcome->failure == expected->failure && strcmp(body, expected->body) == 0 &&
                    (expected->failure != HTTP_NO_FAILURE || outcome->status_code == expected->status);
    if (!is_right) {
        fail_msg("%s, cut at %zu: failure %d instead of %d, status %d instead of %d, body \"%s\" instead of \"%s\"",
                 expected->name, cut, outcome->failure, expected->failure, outcome->status_code, expected->status, body,
                 expected->body);
    }
}

static void try_case(struct world *world, const struct reply_case *tried, size_t cut)
{
    size_t len = strlen(tried->bytes);
    for (int round = 0; round < 2; round++) {
        ask(world, tried->is_head);
        say(world, tried->bytes, cut);
        say(world, tried->bytes + cut, len - cut);
        if (tried->failure == HTTP_TOO_LARGE) {
            char rest[2000];
            memset(rest, 'r', sizeof(rest));
            say(world, rest, sizeof(rest));
        }
        if (tried->ending != STAYS) {
            hang_up(world, tried->ending);
        }
        wait_for_end(world);
        expect(world, tried, cut);
    }
    unsigned accepted = world->accepted;
    char plain[100];
    snprintf(plain, sizeof(plain), "HTTP/1.1 %u Plain\r\nContent-Length: 5\r\n\r\nplain", 400 + (unsigned)(cut % 100));
    struct reply_case next = {tried->name, plain, "plain", 400 + (int)(cut % 100), GOOD()};
    ask(world, false);
    say(world, plain, strlen(plain));
    wait_for_end(world);
    expect(world, &next, cut);
    if (tried->keeps && accepted != world->accepted) {
        fail_msg("%s, cut at %zu: the connection was given up", tried->name, cut);
    }
    if (!tried->keeps && accepted == world->accepted) {
        fail_msg("%s, cut at %zu: the connection was used again", tried->name, cut);
    }
}

static void every_sort_of_answer(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct world world;
        begin(&world);
        for (size_t cut = 0; cut <= strlen(cases[i].bytes); cut++) {
            try_case(&world, &cases[i], cut);
        }
        end(&world);
    }
}

/* Interim heads repeat themselves, and what follows them differs: none may stand for the answer. */
static void an_interim_head_is_not_remembered(void **state)
{
    (void)state;
    static const char *const firsts[] = {EARLY, CONTINUE, CONTINUE EARLY, ""};
    static const int codes[] = {200, 500, 404, 200, 503};
    struct world world;
    begin(&world);
    for (size_t i = 0; i < sizeof(firsts) / sizeof(firsts[0]); i++) {
        for (size_t n = 0; n < sizeof(codes) / sizeof(codes[0]); n++) {
            char bytes[400];
            snprintf(bytes, sizeof(bytes), "%sHTTP/1.1 %d X\r\nContent-Length: %zu\r\n\r\n%.*s", firsts[i], codes[n], n,
                     (int)n, "abcdef");
            struct reply_case expected = {"interim", bytes, n == 0 ? "" : strndup("abcdef", n), codes[n], GOOD()};
            ask(&world, false);
            say(&world, bytes, strlen(bytes));
            wait_for_end(&world);
            expect(&world, &expected, n);
            if (n > 0) {
                free((char *)(uintptr_t)expected.body);
            }
        }
    }
    assert_int_equal(world.accepted, 1);
    end(&world);
}

/* What comes between two requests was asked for by neither. */
static void bytes_between_requests_answer_nothing(void **state)
{
    (void)state;
    static const char first[] = LINE(200) SIX "\r\nabcdef", late[] = LINE(201) SIX "\r\nghijkl";
    struct reply_case next = {"late", NULL, "right", 418, GOOD()};
    for (int turns = 0; turns < 2; turns++) { /* the loop has noticed them, or not yet */
        struct world world;
        begin(&world);
        ask(&world, false);
        say(&world, first, strlen(first));
        wait_for_end(&world);
        (void)send(world.peer, late, strlen(late), MSG_NOSIGNAL);
        if (turns > 0) {
            turn(&world);
            turn(&world);
        }
        ask(&world, false);
        assert_int_equal(world.accepted, 2);
        say(&world, "HTTP/1.1 418 X\r\nContent-Length: 5\r\n\r\nright", 42);
        wait_for_end(&world);
        expect(&world, &next, 0);
        struct http_origin_stats stats;
        http_origin_stats(world.origin, &stats);
        assert_int_equal(stats.unasked, 1);
        end(&world);
    }
}

/* An answer that comes before the request is wholly sent ends the connection: its rest would be the head of the next one. */
static void an_answer_before_the_request_is_sent(void **state)
{
    (void)state;
    struct world world;
    begin(&world);
    size_t size = 64u << 20; /* more than the sockets hold */
    char *large = malloc(size);
    assert_non_null(large);
    memset(large, 'x', size);
    struct http_request_bytes request = {
        .parts = {SLICE("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 67108864\r\n\r\n"), slice_of(large, size)},
        .deadline_ns = clock_mono_ns() + DEADLINE_MS * NS_PER_MS,
        .body_max = BODY_MAX};
    http_client_send(world.client, &request);
    int64_t end_ns = clock_mono_ns() + DEADLINE_MS * NS_PER_MS;
    while (!http_client_is_open(world.client)) {
        turn(&world);
        assert_true(clock_mono_ns() < end_ns);
    }
    world.peer = accept(world.listener, NULL, NULL);
    assert_true(world.peer >= 0);
    say(&world, LINE(413) "Content-Length: 0\r\n\r\n", strlen(LINE(413) "Content-Length: 0\r\n\r\n"));
    wait_for_end(&world);
    assert_int_equal(world.outcome.failure, HTTP_NO_FAILURE);
    assert_int_equal(world.outcome.status_code, 413);
    assert_true(world.outcome.bytes_out < size);
    assert_false(http_client_is_open(world.client));
    free(large);
    end(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_sort_of_answer),
        cmocka_unit_test(an_interim_head_is_not_remembered),
        cmocka_unit_test(bytes_between_requests_answer_nothing),
        cmocka_unit_test(an_answer_before_the_request_is_sent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
