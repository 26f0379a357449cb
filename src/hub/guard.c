/* guard.c - Host, Origin, key and content type of a request, against what the hub was told to accept.
 *
 * An IP literal passes as a Host without being listed: rebinding needs a name, whose address its owner can change; a page
 * that was loaded from an address has that address as its origin, and G2 looks at that. A name is compared as a whole
 * and in any case, without its port: the port is the client's way in (a tunnel, a proxy), not a promise about who it is.
 *
 * Origin and Host are compared with their ports, since another port is another program: that is what Sec-Fetch-Site calls
 * "same-site". The scheme may differ, for a proxy that ends TLS passes the Host on.
 *
 * Rejected: a token in a cookie or a header of our own for everybody (curl is a client of the first order here);
 * answering CORS (a page that may drive the hub is served by it or stands behind the same proxy). */
#include "hub/guard.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/ensure.h"

/* --- words --- */

static bool equal_any_case(struct slice a, struct slice b)
{
    return a.len == b.len && (a.len == 0 || strncasecmp(a.data, b.data, a.len) == 0);
}

static bool is_separator(char c)
{
    return c == ',' || c == ' ' || c == '\t';
}

static bool lists(const char *list, struct slice word)
{
    while (list != NULL && *list != '\0') {
        size_t len = 0;
        while (list[len] != '\0' && !is_separator(list[len])) {
            len++;
        }
        struct slice entry = slice_of(list, len);
        if (len > 0 && (equal_any_case(entry, word) || slice_equal_str(entry, "*"))) {
            return true;
        }
        list += len + (list[len] != '\0');
    }
    return false;
}

/* --- G1: the host --- */

static bool is_literal(struct slice host)
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr address; /* room for both families */
    bool is_v6 = host.len >= 2 && host.data[0] == '[' && host.data[host.len - 1] == ']';
    if (is_v6) {
        host = slice_of(host.data + 1, host.len - 2);
    }
    if (host.len == 0 || host.len >= sizeof(text)) {
        return false;
    }
    memcpy(text, host.data, host.len);
    text[host.len] = '\0';
    return inet_pton(is_v6 ? AF_INET6 : AF_INET, text, &address) == 1;
}

/* "host:port" as host. An IPv6 literal keeps its brackets. */
static struct slice without_port(struct slice authority)
{
    size_t at = authority.len;
    while (at > 0 && authority.data[at - 1] >= '0' && authority.data[at - 1] <= '9') {
        at--;
    }
    return at > 0 && authority.data[at - 1] == ':' ? slice_of(authority.data, at - 1) : authority;
}

static bool ends_with(struct slice text, struct slice end)
{
    return text.len > end.len && equal_any_case(slice_of(text.data + text.len - end.len, end.len), end);
}

static bool host_is_ours(const struct guard *guard, struct slice authority)
{
    struct slice host = without_port(authority);
    if (is_literal(host)) {
        return true;
    }
    if (host.len > 1 && host.data[host.len - 1] == '.') {
        host.len--; /* the root of the DNS, which a name may end in */
    }
    if (host.len == 0) {
        return false;
    }
    return equal_any_case(host, SLICE("localhost")) || ends_with(host, SLICE(".localhost")) ||
           equal_any_case(host, slice_str(guard->config.listen_host)) ||
           (guard->machine[0] != '\0' && equal_any_case(host, slice_str(guard->machine))) ||
           lists(guard->config.hosts, host);
}

/* The authority of an absolute-form target; empty when it is no such target. */
static struct slice authority_of(struct slice target)
{
    if (target.len == 0 || target.data[0] == '/' || target.data[0] == '*') {
        return (struct slice){NULL, 0};
    }
    const char *end = memmem(target.data, target.len, "://", 3);
    size_t begin = end != NULL ? (size_t)(end - target.data) + 3 : 0;
    size_t at = begin;
    while (at < target.len && target.data[at] != '/' && target.data[at] != '?' && target.data[at] != '#') {
        at++;
    }
    return slice_of(target.data + begin, at - begin);
}

static bool check_host(struct guard *guard, struct slice authority, struct problem *problem)
{
    if (authority.len > 0 && authority.len == guard->accepted_len &&
        memcmp(authority.data, guard->accepted, authority.len) == 0) {
        return true;
    }
    if (host_is_ours(guard, authority)) {
        if (authority.len <= sizeof(guard->accepted)) {
            memcpy(guard->accepted, authority.data, authority.len);
            guard->accepted_len = (uint8_t)authority.len;
        }
        return true;
    }
    struct slice host = without_port(authority);
    problem_set(
        problem, STATUS_MISDIRECTED,
        "this hub does not go by the name \"%.*s\"; if it is one of its names, start the hub with --set hosts=%.*s",
        (int)(host.len < 100 ? host.len : 100), host.data, (int)(host.len < 100 ? host.len : 100), host.data);
    return false;
}

/* --- G2: the origin --- */

/* "https://a:443" as "a" with the scheme's own port taken away; false when it is no such origin ("null"). */
static bool origin_split(struct slice origin, struct slice *ret_authority, const char **ret_own_port)
{
    static const struct {
        struct slice scheme;
        const char *port;
    } schemes[] = {{{"http://", 7}, ":80"}, {{"https://", 8}, ":443"}};
    for (size_t i = 0; i < ARRAY_COUNT(schemes); i++) {
        struct slice scheme = schemes[i].scheme;
        if (origin.len > scheme.len && equal_any_case(slice_of(origin.data, scheme.len), scheme)) {
            *ret_authority = slice_of(origin.data + scheme.len, origin.len - scheme.len);
            *ret_own_port = schemes[i].port;
            return true;
        }
    }
    return false;
}

static struct slice without_own_port(struct slice authority, const char *own_port)
{
    if (ends_with(authority, slice_str(own_port))) {
        authority.len -= strlen(own_port);
    }
    return authority;
}

static bool is_same_origin(struct slice origin, struct slice host)
{
    struct slice authority;
    const char *own_port;
    return host.len > 0 && origin_split(origin, &authority, &own_port) &&
           equal_any_case(without_own_port(authority, own_port), without_own_port(host, own_port));
}

static bool check_origin(const struct guard *guard, const struct guard_request *request, struct problem *problem)
{
    bool is_listed = request->has_origin && lists(guard->config.origins, request->origin);
    if (request->has_origin && !is_listed && !is_same_origin(request->origin, request->host)) {
        struct slice origin = request->origin;
        problem_set(problem, STATUS_FOREIGN_ORIGIN,
                    "the page %.*s is not of this hub; if it may use it, start the hub with --set origins=%.*s",
                    (int)(origin.len < 100 ? origin.len : 100), origin.len > 0 ? origin.data : "",
                    (int)(origin.len < 100 ? origin.len : 100), origin.len > 0 ? origin.data : "");
        return false;
    }
    struct slice site = request->fetch_site;
    bool is_reading = request->method == HTTP_GET || request->method == HTTP_HEAD;
    bool is_click = is_reading && slice_equal_str(request->fetch_mode, "navigate");
    if (site.len == 0 || is_listed || is_click || slice_equal_str(site, "same-origin") ||
        slice_equal_str(site, "none")) {
        return true;
    }
    problem_set(problem, STATUS_FOREIGN_ORIGIN, "a page of another site (Sec-Fetch-Site: %.*s) may not use this hub",
                (int)(site.len < 100 ? site.len : 100), site.data);
    return false;
}

/* --- G3: the key --- */

/* Looks at every byte of the wanted key whatever was sent, so that time tells nothing about it but its length. */
static bool key_equals(const char *wanted_text, struct slice key)
{
    struct slice wanted = slice_str(wanted_text);
    unsigned difference = wanted.len > 0 && key.len == wanted.len ? 0 : 1;
    for (size_t i = 0; i < wanted.len; i++) {
        difference |= (unsigned char)wanted.data[i] ^ (i < key.len ? (unsigned char)key.data[i] : 0u);
    }
    return difference == 0;
}

bool guard_node_key_matches(const struct guard_config *config, struct slice key)
{
    if (config->node_key[0] == '\0' && config->api_key[0] == '\0') {
        return true;
    }
    bool is_node = key_equals(config->node_key, key);
    bool is_api = key_equals(config->api_key, key);
    return is_node || is_api;
}

bool guard_api_key_matches(const struct guard_config *config, struct slice key)
{
    return key_equals(config->api_key, key);
}

struct slice guard_bearer(struct slice authorization)
{
    if (authorization.len <= 7 || strncasecmp(authorization.data, "Bearer ", 7) != 0) {
        return (struct slice){NULL, 0};
    }
    return slice_of(authorization.data + 7, authorization.len - 7);
}

enum access { ACCESS_API, ACCESS_OPEN, ACCESS_LEASES, ACCESS_BLOBS };

/* What is not named here needs the API key, new routes too. */
static enum access access_of(const struct route *route)
{
    switch (route != NULL ? route->of : ROUTE_COUNT) {
    case ROUTE_HEALTHZ:
    case ROUTE_READYZ:
    case ROUTE_WORK: /* its hello shows the key */
        return ACCESS_OPEN;
    case ROUTE_LEASE_POLL:
    case ROUTE_LEASE_REPORT:
        return ACCESS_LEASES;
    case ROUTE_BLOB_PUT:
    case ROUTE_BLOB_PUT_HEX:
    case ROUTE_BLOB_GET:
        return ACCESS_BLOBS;
    default:
        return ACCESS_API;
    }
}

static bool check_key(const struct guard *guard, const struct guard_request *request, struct problem *problem)
{
    const struct guard_config *config = &guard->config;
    enum access access = access_of(request->route);
    bool has_api_key = config->api_key[0] != '\0';
    if (access == ACCESS_OPEN || request->method == HTTP_OPTIONS || (!has_api_key && access != ACCESS_LEASES)) {
        return true; /* OPTIONS says what the documentation says, and a browser asks it without a key */
    }
    struct slice key = guard_bearer(request->authorization);
    bool is_shown = access == ACCESS_API ? key_equals(config->api_key, key) : guard_node_key_matches(config, key);
    if (!is_shown) {
        problem_set(problem, STATUS_UNAUTHORIZED, "send the hub's %s key as Authorization: Bearer KEY",
                    access == ACCESS_API ? "API"
                    : !has_api_key       ? "node"
                                         : "node or API");
    }
    return is_shown;
}

/* --- G4: the content type --- */

/* "Application/JSON ; charset=utf-8" as "Application/JSON". */
static struct slice essence_of(struct slice type)
{
    size_t len = 0;
    while (len < type.len && type.data[len] != ';') {
        len++;
    }
    while (len > 0 && (type.data[len - 1] == ' ' || type.data[len - 1] == '\t')) {
        len--;
    }
    return slice_of(type.data, len);
}

bool guard_type_fits(enum route_body mode, struct slice type)
{
    struct slice essence = essence_of(type);
    if (mode == BODY_NONE || mode == BODY_STREAM) {
        return true;
    }
    if (mode == BODY_BATCH && equal_any_case(essence, SLICE("application/x-ndjson"))) {
        return true;
    }
    struct slice area = SLICE("application/");
    return equal_any_case(essence, SLICE("application/json")) ||
           (essence.len > area.len && equal_any_case(slice_of(essence.data, area.len), area) &&
            ends_with(essence, SLICE("+json")));
}

static bool check_type(const struct guard_request *request, struct problem *problem)
{
    if (!request->has_body || request->route == NULL) {
        return true;
    }
    enum route_body mode = route_at(request->route->of)->body;
    if (guard_type_fits(mode, request->content_type)) {
        return true;
    }
    problem_set(problem, STATUS_MEDIA_TYPE, "send the body with Content-Type: application/json%s",
                mode == BODY_BATCH ? " or application/x-ndjson" : "");
    return false;
}

/* --- all of it --- */

void guard_init(struct guard *guard, const struct guard_config *config)
{
    *guard = (struct guard){.config = *config};
    if (gethostname(guard->machine, sizeof(guard->machine) - 1) != 0) {
        guard->machine[0] = '\0';
    }
}

enum status guard_check(struct guard *guard, const struct guard_request *request, struct problem *problem)
{
    struct slice authority = authority_of(request->target);
    if (request->repeated != NULL) {
        problem_set(problem, STATUS_BAD_REQUEST, "there is more than one %s", request->repeated);
        return problem->status;
    }
    bool is_ok = (!request->has_host || check_host(guard, request->host, problem)) &&
                 (authority.len == 0 || check_host(guard, authority, problem)) &&
                 check_origin(guard, request, problem) && check_key(guard, request, problem) &&
                 check_type(request, problem);
    return is_ok ? STATUS_OK : problem->status;
}

void guard_request_of(const struct http_request *request, struct guard_request *ret)
{
    *ret = (struct guard_request){.method = request->method, .target = request->target, .has_body = request->has_body};
    struct slice idempotency_key;
    const struct {
        const char *name, *lower_name;
        struct slice *value;
    } fields[] = {
        {"Host", "host", &ret->host},
        {"Origin", "origin", &ret->origin},
        {"Sec-Fetch-Site", "sec-fetch-site", &ret->fetch_site},
        {"Sec-Fetch-Mode", "sec-fetch-mode", &ret->fetch_mode},
        {"Content-Type", "content-type", &ret->content_type},
        {"Authorization", "authorization", &ret->authorization},
        {"Idempotency-Key", "idempotency-key", &idempotency_key},
    };
    for (size_t i = 0; i < ARRAY_COUNT(fields); i++) {
        if (!http_header_once(request, fields[i].lower_name, fields[i].value)) {
            ret->repeated = fields[i].name;
        }
    }
    ret->has_host = ret->host.data != NULL;
    ret->has_origin = ret->origin.data != NULL;
}

bool guard_is_loopback(const char *host)
{
    struct in_addr v4;
    struct in6_addr v6;
    if (inet_pton(AF_INET, host, &v4) == 1) {
        return (ntohl(v4.s_addr) >> 24) == 127;
    }
    if (inet_pton(AF_INET6, host, &v6) == 1) {
        return IN6_IS_ADDR_LOOPBACK(&v6);
    }
    return equal_any_case(slice_str(host), SLICE("localhost"));
}
