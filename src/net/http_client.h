/* http_client.h - the client end of HTTP/1.1 for a load generator: many keep-alive connections to one place, each with one
 * request at a time, and as little work per request as there can be.
 *
 * An origin is the place: its addresses are looked up once. A client is one connection, which opens itself when there is a request
 * and stays open after it when the server lets it. Requests are bytes that the caller made; times are those of clock_mono_ns().
 * The loop's thread only. */
#ifndef SHOAL_NET_HTTP_CLIENT_H
#define SHOAL_NET_HTTP_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"
#include "base/status.h"
#include "net/alarm.h"
#include "net/loop.h"

struct http_origin;
struct http_client;

/* Looks the host of a URL up (this blocks). INVALID, UNREACHABLE: ret_why is one sentence. */
STATUS_MUST_CHECK enum status http_origin_new(struct loop *loop, struct alarms *alarms, const char *url,
                                              struct http_origin **ret_origin, char *ret_why, size_t why_size);
/* Its clients are freed and the loop has had the turn in which they went. NULL is harmless. */
void http_origin_free(struct http_origin *origin);
/* What goes into the Host field. */
const char *http_origin_authority(const struct http_origin *origin);
/* The path of the URL, "" without one; what requests are relative to, if the caller likes. */
struct slice http_origin_path(const struct http_origin *origin);

struct http_origin_stats {
    uint64_t connects; /* connections that were made */
    uint32_t open_now, open_max;
    uint64_t repeats; /* requests that were said again, see may_repeat */
    uint64_t unasked; /* connections on which bytes came that no request had asked for */
};
void http_origin_stats(const struct http_origin *origin, struct http_origin_stats *ret_stats);

enum http_failure {
    HTTP_NO_FAILURE,
    HTTP_REFUSED,     /* nobody listens there */
    HTTP_UNREACHABLE, /* no way there */
    HTTP_RESET,       /* the connection broke before the answer was complete */
    HTTP_TIMED_OUT,
    HTTP_NONSENSE,  /* the answer is not HTTP */
    HTTP_TOO_LARGE, /* its head, or a body that was wanted */
    HTTP_EXHAUSTED  /* descriptors, ports or memory ran out on this side */
};

#define HTTP_REQUEST_PARTS 2
struct http_request_bytes {
    struct slice parts[HTTP_REQUEST_PARTS]; /* sent one after the other; they stay until on_done */
    int64_t deadline_ns;                    /* ALARM_NEVER: none */
    bool is_head;                           /* no body follows the answer's head */
    size_t body_max;                        /* a body is collected up to this size; 0: only counted */
    bool may_repeat; /* sent once more on a new connection when a kept one turns out to have been closed meanwhile */
};
struct http_outcome {
    enum http_failure failure;
    int status_code;    /* 0 with a failure that came before it */
    struct slice body;  /* when it was wanted: valid during the callback, with JSON padding behind it */
    uint64_t bytes_out; /* of the request as far as it was sent */
    uint64_t bytes_in;
    int64_t sent_ns; /* when the request was written; 0: it never was */
    int64_t end_ns;  /* when the answer was complete, or the failure noticed */
};

/* One request is over. Called from the loop, never from inside http_client_send; the next request may be sent from it. */
typedef void http_client_done(struct http_client *client, void *user, const struct http_outcome *outcome);

/* Not connected yet. NULL without memory. */
struct http_client *http_client_new(struct http_origin *origin, http_client_done *on_done, void *user);
void http_client_set_user(struct http_client *client, void *user);
/* One at a time. Connects first when it has to; every failure comes through on_done. */
void http_client_send(struct http_client *client, const struct http_request_bytes *request);
/* A request that has not ended is forgotten without a call; the memory goes in the loop's next turn. NULL is harmless. */
void http_client_free(struct http_client *client);
bool http_client_is_open(const struct http_client *client);

#endif
