/* test_guard.c - who may come in, as tables: each row is the head of a request and what the hub says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>
#include <unistd.h>

#include "base/ensure.h"
#include "hub/guard.h"

static const struct guard_config plain = {
    .listen_host = "hub.lan", .hosts = "", .origins = "", .api_key = "", .node_key = ""};

struct row {
    const char *line; /* METHOD target */
    const char *host, *origin, *site, *mode, *type, *key;
    int http; /* 200: may come in */
};

static struct slice field(const char *text)
{
    return text != NULL ? slice_str(text) : (struct slice){NULL, 0};
}

static int answer_of(struct guard *guard, const struct row *row, char *ret_detail)
{
    struct guard_request request = {.host = field(row->host),
                                    .origin = field(row->origin),
                                    .fetch_site = field(row->site),
                                    .fetch_mode = field(row->mode),
                                    .content_type = field(row->type),
                                    .authorization = field(row->key),
                                    .has_host = row->host != NULL,
                                    .has_origin = row->origin != NULL,
                                    .has_body = row->type != NULL};
    size_t len = strcspn(row->line, " ");
    for (enum http_method method = HTTP_GET; method < HTTP_OTHER; method++) {
        if (slice_equal_str(slice_of(row->line, len), http_method_name(method))) {
            request.method = method;
        }
    }
    request.target = slice_str(row->line + len + 1);
    struct route_match match;
    const char *path = request.target.data[0] == '/' ? request.target.data : "/v1/tasks";
    route_find(request.method, slice_str(path), &match);
    request.route = match.route;
    struct problem problem;
    problem_init(&problem);
    enum status status = guard_check(guard, &request, &problem);
    assert_int_equal(status == STATUS_OK, problem_is_ok(&problem));
    strcpy(ret_detail, problem.detail);
    return status == STATUS_OK ? 200 : status_http(status);
}

static void check_rows(const struct guard_config *config, const struct row *rows, size_t count)
{
    struct guard guard;
    guard_init(&guard, config);
    for (int round = 0; round < 2; round++) { /* what the guard remembers changes nothing */
        for (size_t i = 0; i < count; i++) {
            char detail[sizeof(((struct problem *)0)->detail)];
            int http = answer_of(&guard, &rows[i], detail);
            if (http != rows[i].http) {
                fail_msg("row %zu (%s, Host %s): %d, not %d: %s", i, rows[i].line, rows[i].host, http, rows[i].http,
                         detail);
            }
        }
    }
}

static void hosts(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"GET /v1/tasks", .host = "127.0.0.1:7433", .http = 200},
        {"GET /v1/tasks", .host = "127.8.9.1", .http = 200},
        {"GET /v1/tasks", .host = "[::1]:7433", .http = 200},
        {"GET /v1/tasks", .host = "[::1]", .http = 200},
        {"GET /v1/tasks", .host = "10.1.2.3:80", .http = 200}, /* a literal cannot be rebound */
        {"GET /v1/tasks", .host = "[fe80::1]:1", .http = 200},
        {"GET /v1/tasks", .host = "localhost", .http = 200},
        {"GET /v1/tasks", .host = "LocalHost:1", .http = 200},
        {"GET /v1/tasks", .host = "localhost.", .http = 200},
        {"GET /v1/tasks", .host = "hub.localhost:7433", .http = 200},
        {"GET /v1/tasks", .host = "hub.lan:7433", .http = 200}, /* the listening address */
        {"GET /v1/tasks", .host = "HUB.LAN", .http = 200},
        {"GET /v1/tasks", .host = NULL, .http = 200}, /* HTTP/1.0: no browser */
        {"GET /v1/tasks", .host = "evil.example", .http = 421},
        {"GET /v1/tasks", .host = "evil.example:7433", .http = 421},
        {"POST /v1/tasks", .host = "evil.example:7433", .type = "application/json", .http = 421},
        {"GET /healthz", .host = "evil.example:7433", .http = 421},
        {"OPTIONS /v1/tasks", .host = "evil.example:7433", .http = 421},
        {"GET /nowhere", .host = "evil.example:7433", .http = 421},
        {"GET /v1/tasks", .host = "", .http = 421},
        {"GET /v1/tasks", .host = ":7433", .http = 421},
        {"GET /v1/tasks", .host = ".", .http = 421},
        {"GET /v1/tasks", .host = "localhost.evil.example", .http = 421},
        {"GET /v1/tasks", .host = "evillocalhost", .http = 421},
        {"GET /v1/tasks", .host = ".localhost", .http = 421},
        {"GET /v1/tasks", .host = "127.0.0.1.evil.example", .http = 421},
        {"GET /v1/tasks", .host = "127.0.0.1@evil.example", .http = 421},
        {"GET /v1/tasks", .host = "evil.example@127.0.0.1", .http = 421},
        {"GET /v1/tasks", .host = "0x7f000001", .http = 421},
        {"GET /v1/tasks", .host = "127.1", .http = 421},
        {"GET /v1/tasks", .host = "[evil.example]", .http = 421},
        {"GET /v1/tasks", .host = "::1", .http = 421}, /* without brackets its end is anybody's guess */
        {"GET http://localhost/v1/tasks", .host = "localhost", .http = 200},
        {"GET http://evil.example/v1/tasks", .host = "localhost", .http = 421},
        {"GET http://localhost/v1/tasks", .host = "evil.example", .http = 421},
        {"GET evil.example:80", .host = "localhost", .http = 421},
    };
    check_rows(&plain, rows, ARRAY_COUNT(rows));

    static const struct row listed_rows[] = {
        {"GET /v1/tasks", .host = "shoal.example", .http = 200},
        {"GET /v1/tasks", .host = "Work.Example:443", .http = 200},
        {"GET /v1/tasks", .host = "work.example", .http = 200},
        {"GET /v1/tasks", .host = "a.work.example", .http = 421},
        {"GET /v1/tasks", .host = "shoal", .http = 421},
        {"GET /v1/tasks", .host = "example", .http = 421},
        {"GET /v1/tasks", .host = "shoal.example,", .http = 421},
    };
    struct guard_config listed = plain;
    listed.hosts = "shoal.example, work.example";
    check_rows(&listed, listed_rows, ARRAY_COUNT(listed_rows));
    static const struct row any_rows[] = {{"GET /v1/tasks", .host = "evil.example", .http = 200}};
    listed.hosts = "*";
    check_rows(&listed, any_rows, ARRAY_COUNT(any_rows));

    char machine[256] = "";
    assert_int_equal(gethostname(machine, sizeof(machine) - 1), 0);
    struct row own = {"GET /v1/tasks", .host = machine, .http = 200};
    check_rows(&plain, &own, 1);
}

#define AT .host = "127.0.0.1:7433"

static void origins(void **state)
{
    (void)state;
    static const struct row rows[] = {
        /* no browser */
        {"POST /v1/tasks/abc:cancel", AT, .http = 200},
        {"PUT /v1/kinds/a", AT, .http = 200},
        /* the hub's own pages, and what a user does by hand */
        {"POST /v1/tasks/abc:cancel", AT, .origin = "http://127.0.0.1:7433", .site = "same-origin", .http = 200},
        {"POST /v1/tasks/abc:cancel", AT, .origin = "HTTP://127.0.0.1:7433", .http = 200},
        {"POST /v1/tasks/abc:cancel", .host = "hub.lan", .origin = "https://hub.lan", .http = 200}, /* TLS before it */
        {"POST /v1/tasks/abc:cancel", .host = "hub.lan:443", .origin = "https://hub.lan", .http = 200},
        {"POST /v1/tasks/abc:cancel", .host = "hub.lan:80", .origin = "http://hub.lan", .http = 200},
        {"GET /v1/work", AT, .origin = "http://127.0.0.1:7433", .http = 200},
        {"GET /v1/tasks", AT, .site = "none", .mode = "navigate", .http = 200},
        /* a click on a page elsewhere only reads */
        {"GET /v1/tasks", AT, .site = "cross-site", .mode = "navigate", .http = 200},
        {"HEAD /v1/tasks", AT, .site = "same-site", .mode = "navigate", .http = 200},
        /* other pages */
        {"POST /v1/tasks/abc:cancel", AT, .origin = "https://evil.example", .http = 403},
        {"POST /v1/tasks/abc:cancel", AT, .origin = "null", .http = 403},
        {"POST /v1/tasks/abc:cancel", AT, .origin = "", .http = 403},
        {"POST /v1/tasks/abc:cancel", AT, .origin = "http://127.0.0.1:9999", .site = "same-site", .http = 403},
        {"POST /v1/tasks/abc:cancel", AT, .origin = "http://127.0.0.1", .http = 403},
        {"POST /v1/tasks/abc:cancel", AT, .origin = "http://localhost:7433", .http = 403},
        {"POST /v1/tasks/abc:cancel", AT, .origin = "file://", .http = 403},
        {"POST /v1/tasks/abc:cancel", AT, .origin = "chrome-extension://127.0.0.1:7433", .http = 403},
        {"POST /v1/tasks/abc:cancel", AT, .site = "cross-site", .http = 403},
        {"POST /v1/tasks/abc:cancel", AT, .site = "same-site", .http = 403},
        {"POST /v1/tasks/abc:cancel", AT, .site = "cross-site", .mode = "navigate", .http = 403}, /* a form */
        {"POST /v1/tasks/abc:cancel", AT, .site = "something-new", .http = 403},
        {"PUT /v1/queues/a", AT, .origin = "https://evil.example", .http = 403},
        {"PUT /v1/blobs", AT, .origin = "https://evil.example", .http = 403},
        {"DELETE /v1/tasks/abc", AT, .origin = "https://evil.example", .http = 403},
        {"GET /v1/work", AT, .origin = "https://evil.example", .http = 403},
        {"GET /v1/work", AT, .origin = "http://127.0.0.1:9999", .site = "same-site", .mode = "websocket", .http = 403},
        {"GET /v1/work", AT, .origin = "null", .http = 403},
        {"GET /v1/work", AT, .site = "cross-site", .mode = "websocket", .http = 403},
        {"GET /v1/tasks", AT, .origin = "https://evil.example", .site = "cross-site", .mode = "cors", .http = 403},
        {"GET /v1/tasks", AT, .site = "cross-site", .mode = "no-cors", .http = 403},
        {"POST /v1/tasks", AT, .origin = "https://evil.example", .type = "application/json", .http = 403},
        {"POST /v1/tasks", .origin = "http://127.0.0.1:7433", .type = "application/json", .http = 403}, /* no Host */
    };
    check_rows(&plain, rows, ARRAY_COUNT(rows));

    static const struct row listed_rows[] = {
        {"POST /v1/tasks/abc:cancel", AT, .origin = "https://shoal.example", .site = "cross-site", .http = 200},
        {"GET /v1/work", AT, .origin = "https://SHOAL.example", .http = 200},
        {"POST /v1/tasks/abc:cancel", AT, .origin = "http://shoal.example", .http = 403},
        {"POST /v1/tasks/abc:cancel", AT, .origin = "https://shoal.example:8443", .http = 403},
        {"POST /v1/tasks/abc:cancel", AT, .origin = "https://shoal.example.evil.example", .http = 403},
        {"POST /v1/tasks/abc:cancel", AT, .site = "cross-site", .http = 403},
        {"POST /v1/tasks/abc:cancel", .host = "evil.example", .origin = "https://shoal.example", .http = 421},
    };
    struct guard_config listed = plain;
    listed.origins = "https://other.example https://shoal.example";
    check_rows(&listed, listed_rows, ARRAY_COUNT(listed_rows));
}

static void types(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"POST /v1/tasks", AT, .type = "application/json", .http = 200},
        {"POST /v1/tasks", AT, .type = "Application/JSON ; charset=utf-8", .http = 200},
        {"POST /v1/tasks", AT, .type = "application/vnd.shoal+json;v=1", .http = 200},
        {"POST /v1/tasks:batch", AT, .type = "application/x-ndjson", .http = 200},
        {"POST /v1/tasks:batch", AT, .type = "application/json", .http = 200},
        {"POST /v1/leases", AT, .type = "application/json", .http = 200},
        {"PUT /v1/blobs", AT, .type = "text/plain", .http = 200}, /* any bytes; no page may PUT without asking */
        {"PUT /v1/blobs", AT, .type = "", .http = 200},
        {"GET /v1/tasks", AT, .type = "text/plain", .http = 200}, /* nobody reads that body */
        {"POST /v1/nowhere", AT, .type = "text/plain", .http = 200},
        {"POST /v1/tasks", AT, .type = "", .http = 415},
        {"POST /v1/tasks", AT, .type = "text/plain", .http = 415},
        {"POST /v1/tasks", AT, .type = "text/plain; application/json", .http = 415},
        {"POST /v1/tasks", AT, .type = "application/x-www-form-urlencoded", .http = 415},
        {"POST /v1/tasks", AT, .type = "multipart/form-data; boundary=application/json", .http = 415},
        {"POST /v1/tasks", AT, .type = "application/jsonp", .http = 415},
        {"POST /v1/tasks", AT, .type = "application/json, text/plain", .http = 415},
        {"POST /v1/tasks", AT, .type = "application/+json", .http = 200},
        {"POST /v1/tasks", AT, .type = "text/x+json", .http = 415},
        {"POST /v1/tasks", AT, .type = "application/x-ndjson", .http = 415},
        {"POST /v1/tasks/abc:cancel", AT, .type = "text/plain", .http = 415},
        {"POST /v1/tasks/abc:retry", AT, .type = "", .http = 415},
        {"PUT /v1/queues/a", AT, .type = "", .http = 415},
        {"POST /v1/queues/a:pause", AT, .type = "text/plain", .http = 415},
        {"POST /v1/nodes/a:drain", AT, .type = "text/plain", .http = 415},
        {"POST /v1/leases", AT, .type = "", .http = 415},
        {"POST /v1/leases:report", AT, .type = "text/plain", .http = 415},
    };
    check_rows(&plain, rows, ARRAY_COUNT(rows));
}

static void keys(void **state)
{
    (void)state;
    static const struct row with_both[] = {
        {"GET /healthz", AT, .http = 200},
        {"GET /health", AT, .http = 200},
        {"GET /readyz", AT, .http = 200},
        {"HEAD /readyz", AT, .http = 200},
        {"OPTIONS /v1/tasks", AT, .http = 200},
        {"GET /v1/work", AT, .http = 200}, /* its hello shows the key */
        {"GET /v1/tasks", AT, .key = "Bearer apple", .http = 200},
        {"GET /v1/tasks", AT, .key = "bearer apple", .http = 200},
        {"GET /v1/tasks", AT, .http = 401},
        {"GET /v1/tasks", AT, .key = "Bearer ", .http = 401},
        {"GET /v1/tasks", AT, .key = "Bearer appl", .http = 401},
        {"GET /v1/tasks", AT, .key = "Bearer apples", .http = 401},
        {"GET /v1/tasks", AT, .key = "Bearer Apple", .http = 401},
        {"GET /v1/tasks", AT, .key = "Basic apple", .http = 401},
        {"GET /v1/tasks", AT, .key = "apple", .http = 401},
        {"GET /v1/tasks", AT, .key = "Bearer nut", .http = 401},
        {"GET /metrics", AT, .http = 401},
        {"GET /status", AT, .http = 401},
        {"GET /openapi.json", AT, .http = 401},
        {"GET /nowhere", AT, .http = 401},
        {"POST /v1/tasks", AT, .type = "text/plain", .http = 401},
        {"POST /v1/tasks", AT, .type = "application/json", .key = "Bearer nut", .http = 401},
        {"POST /v1/tasks", AT, .type = "application/json", .key = "Bearer apple", .http = 200},
        {"POST /tasks", AT, .type = "application/json", .http = 401},
        {"POST /v1/leases", AT, .type = "application/json", .key = "Bearer nut", .http = 200},
        {"POST /v1/leases", AT, .type = "application/json", .key = "Bearer apple", .http = 200},
        {"POST /v1/leases:report", AT, .type = "application/json", .http = 401},
        {"GET /v1/blobs/00", AT, .key = "Bearer nut", .http = 200},
        {"PUT /v1/blobs", AT, .key = "Bearer nut", .http = 200},
        {"PUT /v1/blobs", AT, .http = 401},
        {"GET /v1/tasks", .host = "evil.example", .key = "Bearer apple", .http = 421},
    };
    struct guard_config config = plain;
    config.api_key = "apple";
    config.node_key = "nut";
    check_rows(&config, with_both, ARRAY_COUNT(with_both));

    static const struct row with_api[] = {
        {"GET /v1/tasks", AT, .http = 401},    {"POST /v1/leases", AT, .key = "Bearer apple", .http = 200},
        {"POST /v1/leases", AT, .http = 401},  {"POST /v1/leases", AT, .key = "Bearer ", .http = 401},
        {"GET /v1/blobs/00", AT, .http = 401},
    };
    config.node_key = "";
    check_rows(&config, with_api, ARRAY_COUNT(with_api));
    assert_false(guard_node_key_matches(&config, SLICE("")));
    assert_true(guard_node_key_matches(&config, SLICE("apple")));

    static const struct row with_node[] = {
        {"GET /v1/tasks", AT, .http = 200},
        {"PUT /v1/blobs", AT, .http = 200},
        {"POST /v1/leases", AT, .http = 401},
        {"POST /v1/leases", AT, .key = "Bearer nut", .http = 200},
    };
    config.node_key = "nut";
    config.api_key = "";
    check_rows(&config, with_node, ARRAY_COUNT(with_node));
    assert_false(guard_node_key_matches(&config, SLICE("")));
    assert_true(guard_node_key_matches(&plain, SLICE("")));
}

static void every_route_needs_the_key_but_these(void **state)
{
    (void)state;
    struct guard_config config = plain;
    config.api_key = "apple";
    struct guard guard;
    guard_init(&guard, &config);
    for (unsigned i = 0; i < ROUTE_COUNT; i++) {
        const struct route *route = route_at((enum route_id)i);
        struct guard_request request = {.method = route->method, .route = route, .target = route->path};
        struct problem problem;
        problem_init(&problem);
        bool is_open = guard_check(&guard, &request, &problem) == STATUS_OK;
        bool may_be_open = route->of == ROUTE_HEALTHZ || route->of == ROUTE_READYZ || route->of == ROUTE_WORK;
        assert_int_equal(is_open, may_be_open);
    }
}

static void repeated_fields_are_refused(void **state)
{
    (void)state;
    struct guard guard;
    guard_init(&guard, &plain);
    struct guard_request request = {.target = SLICE("/v1/tasks"), .repeated = "Origin"};
    struct problem problem;
    problem_init(&problem);
    assert_int_equal(guard_check(&guard, &request, &problem), STATUS_BAD_REQUEST);
    assert_non_null(strstr(problem.detail, "Origin"));
}

static void loopback(void **state)
{
    (void)state;
    static const char *const inside[] = {"127.0.0.1", "127.255.0.9", "::1", "localhost", "LOCALHOST"};
    static const char *const outside[] = {"0.0.0.0", "::", "10.0.0.1", "128.0.0.1", "fe80::1", "example", "", "127.1"};
    for (size_t i = 0; i < ARRAY_COUNT(inside); i++) {
        assert_true(guard_is_loopback(inside[i]));
    }
    for (size_t i = 0; i < ARRAY_COUNT(outside); i++) {
        assert_false(guard_is_loopback(outside[i]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hosts),
        cmocka_unit_test(origins),
        cmocka_unit_test(types),
        cmocka_unit_test(keys),
        cmocka_unit_test(loopback),
        cmocka_unit_test(every_route_needs_the_key_but_these),
        cmocka_unit_test(repeated_fields_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
