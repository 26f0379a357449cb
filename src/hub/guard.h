/* guard.h - who may speak to the hub at all: asked once for every request, in front of every route.
 *
 * A hub on loopback has no user that it could ask for a password, but a browser on the same machine will send it whatever a
 * page of the web tells it to. What tells such a request from one that the user meant is in its head, and looked at here, in
 * this order:
 *
 *   G1 its Host (and the authority of an absolute target) is an IP literal, a loopback name, the name of this machine or of
 *      the listening address, or listed: a page whose name was rebound to this address comes with its own name. 421
 *   G2 its Origin, if it has one, is that of its Host, or listed; and its Sec-Fetch-Site, if it has one, says that it comes
 *      from there, unless its Origin is listed, or it is a reader's click (GET, Sec-Fetch-Mode: navigate). 403. No browser sends a
 *      request that changes something, or opens a WebSocket, for a foreign page without one of these two fields.
 *   G3 it shows the key that its route asks for: the node key or the API key to lease work, and, when the hub has an API key,
 *      either of them for blobs and that one for everything but health. The WebSocket of nodes asks in its hello. 401
 *   G4 its body is declared as what the route reads: what a page may send without asking first (text/plain, a form, no type at
 *      all) is none of these. 415
 *
 * A field that decides one of these, or Idempotency-Key, and stands there twice says two things: 400.
 *
 * Nothing here touches a socket: routes.c fills a guard_request. Loop's thread. */
#ifndef SHOAL_HUB_GUARD_H
#define SHOAL_HUB_GUARD_H

#include "hub/problem.h"
#include "hub/route_table.h"

struct guard_config { /* strings are borrowed as long as the guard lives */
    const char *listen_host;
    const char *hosts;   /* names beside the standing ones, separated by commas or spaces; "*" is any */
    const char *origins; /* such as https://shoal.example, separated the same way */
    const char *api_key; /* "": the hub asks for none */
    const char *node_key;
};

struct guard {
    struct guard_config config;
    char machine[256];    /* name of this machine, "" when it has none */
    uint8_t accepted_len; /* of the last Host that passed, so that the next of the same client costs one comparison */
    char accepted[64];
};

struct guard_request {
    enum http_method method;
    const struct route *route; /* NULL: the path takes no such method, or there is no such path */
    struct slice target;       /* as sent */
    bool has_host, has_origin;
    bool has_body;
    const char *repeated; /* a field that may stand there once and does not; NULL: none */
    struct slice host, origin, fetch_site, fetch_mode, content_type, authorization;
};

/* The request of the HTTP server as the guard sees it. */
void guard_request_of(const struct http_request *request, struct guard_request *ret);

void guard_init(struct guard *guard, const struct guard_config *config);
/* OK; or BAD_REQUEST, MISDIRECTED, FOREIGN_ORIGIN, UNAUTHORIZED, MEDIA_TYPE, and the problem says how to mend it. */
STATUS_MUST_CHECK enum status guard_check(struct guard *guard, const struct guard_request *request,
                                          struct problem *problem);

/* Whether `key` opens what nodes need: it is the node key or the API key. True when the hub has neither. */
bool guard_node_key_matches(const struct guard_config *config, struct slice key);
/* Whether `key` is the API key; false when the hub has none. */
bool guard_api_key_matches(const struct guard_config *config, struct slice key);
/* "Bearer KEY" as KEY; empty when it is something else. */
struct slice guard_bearer(struct slice authorization);
/* Whether a Content-Type names a media type that a body mode reads, whatever its parameters. */
bool guard_type_fits(enum route_body mode, struct slice type);
/* Whether an address to listen on is reached from this machine alone: 127.0.0.0/8, ::1, localhost. Names are not looked up. */
bool guard_is_loopback(const char *host);

#endif
