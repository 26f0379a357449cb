/* test_route_table.c - finding routes, and what is made from the table.
 *
 * With --write FILE it writes the page of routes instead of testing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "hub/route_table.h"

static enum route_id found(enum http_method method, const char *path, const char *wanted_param)
{
    struct route_match match;
    route_find(method, slice_str(path), &match);
    if (match.route == NULL) {
        return ROUTE_COUNT;
    }
    if (!slice_equal_str(match.param, wanted_param)) {
        fail_msg("%s: the parameter is %.*s, not %s", path, SLICE_ARG(match.param), wanted_param);
    }
    return match.route->id;
}

static void paths_find_their_routes(void **state)
{
    (void)state;
    assert_int_equal(found(HTTP_POST, "/v1/tasks", ""), ROUTE_TASK_SUBMIT);
    assert_int_equal(found(HTTP_GET, "/v1/tasks", ""), ROUTE_TASK_LIST);
    assert_int_equal(found(HTTP_HEAD, "/v1/tasks", ""), ROUTE_TASK_LIST);
    assert_int_equal(found(HTTP_POST, "/v1/tasks:batch", ""), ROUTE_TASK_BATCH);
    assert_int_equal(found(HTTP_GET, "/v1/tasks/abc", "abc"), ROUTE_TASK_GET);
    assert_int_equal(found(HTTP_GET, "/v1/tasks/abc/result", "abc"), ROUTE_TASK_RESULT);
    assert_int_equal(found(HTTP_POST, "/v1/tasks/abc:cancel", "abc"), ROUTE_TASK_CANCEL);
    assert_int_equal(found(HTTP_POST, "/v1/tasks/abc:retry", "abc"), ROUTE_TASK_RETRY);
    assert_int_equal(found(HTTP_PUT, "/v1/queues/a%20b", "a%20b"), ROUTE_QUEUE_PUT);
    assert_int_equal(found(HTTP_POST, "/v1/nodes/n-1:unquiet", "n-1"), ROUTE_NODE_UNQUIET);
    assert_int_equal(found(HTTP_POST, "/v1/leases:report", ""), ROUTE_LEASE_REPORT);
    assert_int_equal(found(HTTP_PUT, "/v1/blobs", ""), ROUTE_BLOB_PUT);
    assert_int_equal(found(HTTP_PUT, "/v1/blobs/00ff", "00ff"), ROUTE_BLOB_PUT_HEX);
    assert_int_equal(found(HTTP_GET, "/tasks/abc", "abc"), ROUTE_TASK_GET_SHORT);
    assert_int_equal(route_at(ROUTE_TASK_GET_SHORT)->of, ROUTE_TASK_GET);
    assert_int_equal(found(HTTP_GET, "/status", ""), ROUTE_STATUS);
}

static void anything_else_finds_none(void **state)
{
    (void)state;
    static const char *const paths[] = {"",
                                        "/",
                                        "/v1",
                                        "/v1/",
                                        "/v1/tasks/",
                                        "/v1/tasks//result",
                                        "/v1/tasks/abc/",
                                        "/v1/tasks/abc/result/",
                                        "/v1/tasks/abc/resul",
                                        "/v1/tasks/abc:nope",
                                        "/v1/tasks/:cancel",
                                        "/v1/tasks/abc:cancel:cancel",
                                        "/v1/tasks:batch/",
                                        "/v1/taskss",
                                        "/v1/task",
                                        "/v2/tasks",
                                        "v1/tasks",
                                        "/v1/queues/a/b",
                                        "/v1/blobs/a/b",
                                        "/V1/tasks",
                                        "*"};
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        for (unsigned method = 0; method <= HTTP_OTHER; method++) {
            struct route_match match;
            route_find((enum http_method)method, slice_str(paths[i]), &match);
            if (match.route != NULL || match.allowed != 0) {
                fail_msg("%s matches", paths[i]);
            }
        }
    }
}

/* A prefix of a path of the table, or a path with a slash more, is another path or none. */
static void nothing_is_matched_by_halves(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ROUTE_COUNT; i++) {
        struct slice path = route_at((enum route_id)i)->path;
        char text[128];
        for (size_t len = 0; len < path.len && path.data[len] != '}'; len++) {
            struct route_match match;
            route_find(HTTP_GET, slice_of(path.data, len), &match);
            assert_true(match.route == NULL || match.param.len > 0 || match.route->path.len == len);
        }
        memcpy(text, path.data, path.len);
        text[path.len] = '/';
        struct route_match match;
        route_find(HTTP_GET, slice_of(text, path.len + 1), &match);
        assert_int_equal(match.allowed, 0);
    }
}

static void wrong_methods_are_told_the_right_ones(void **state)
{
    (void)state;
    struct route_match match;
    char text[ROUTE_ALLOW_SIZE];
    route_find(HTTP_DELETE, SLICE("/v1/tasks"), &match);
    assert_null(match.route);
    route_allow_text(match.allowed, text);
    assert_string_equal(text, "GET, HEAD, POST, OPTIONS");
    route_find(HTTP_GET, SLICE("/v1/tasks/abc:cancel"), &match);
    assert_null(match.route);
    route_allow_text(match.allowed, text);
    assert_string_equal(text, "POST, OPTIONS");
    route_find(HTTP_OPTIONS, SLICE("/v1/queues/a"), &match);
    route_allow_text(match.allowed, text);
    assert_string_equal(text, "GET, HEAD, PUT, DELETE, OPTIONS");
}

static void query_parameters(void **state)
{
    (void)state;
    assert_true(route_takes_query(route_at(ROUTE_TASK_SUBMIT), SLICE("wait_ms")));
    assert_false(route_takes_query(route_at(ROUTE_TASK_SUBMIT), SLICE("cursor")));
    assert_true(route_takes_query(route_at(ROUTE_TASK_LIST_SHORT), SLICE("cursor")));
    assert_false(route_takes_query(route_at(ROUTE_TASK_SUBMIT), SLICE("Idempotency-Key"))); /* a header */
}

/* Follows every $ref of a value; counts them. */
static unsigned follow_refs(struct json_value value, struct json_value schemas)
{
    unsigned count = 0;
    struct json_iter it = json_iter_of(value);
    struct slice key, text;
    struct json_value element;
    while (json_next(&it, &key, &element)) {
        if (slice_equal(key, SLICE("$ref")) && json_get_str(element, &text)) {
            struct slice prefix = SLICE("#/components/schemas/");
            assert_true(slice_starts_with(text, prefix));
            char name[64];
            assert_true(text.len - prefix.len < sizeof(name));
            memcpy(name, text.data + prefix.len, text.len - prefix.len);
            name[text.len - prefix.len] = '\0';
            struct json_value schema;
            if (!json_member(schemas, name, &schema)) {
                fail_msg("there is no schema %s", name);
            }
            count++;
        }
        count += follow_refs(element, schemas);
    }
    return count;
}

/* Whether what stands under `key` is a schema, a map of schemas, or a list of them. */
enum schema_place { PLACE_NONE, PLACE_ONE, PLACE_MAP, PLACE_LIST };

static enum schema_place place_of(struct slice key)
{
    static const struct {
        const char *key;
        enum schema_place place;
    } places[] = {
        {"schema", PLACE_ONE},   {"items", PLACE_ONE},         {"not", PLACE_ONE},
        {"schemas", PLACE_MAP},  {"properties", PLACE_MAP},    {"anyOf", PLACE_LIST},
        {"oneOf", PLACE_LIST},   {"allOf", PLACE_LIST},        {"prefixItems", PLACE_LIST},
        {"contains", PLACE_ONE}, {"propertyNames", PLACE_ONE}, {"patternProperties", PLACE_MAP},
        {"$defs", PLACE_MAP},
    };
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        if (slice_equal_str(key, places[i].key)) {
            return places[i].place;
        }
    }
    return PLACE_NONE;
}

/* JSON Schema allows true for {}; many generators of clients do not. Every schema is an object. Returns how many there are. */
static int schemas_are_objects(struct json_value value, enum schema_place place, const char *where)
{
    int count = place == PLACE_ONE;
    if (place == PLACE_ONE && json_type_of(value) != JSON_OBJECT) {
        fail_msg("the schema %s is no object", where);
    }
    struct json_iter it = json_iter_of(value);
    struct slice key = SLICE("");
    struct json_value element;
    while (json_next(&it, &key, &element)) {
        char path[512];
        snprintf(path, sizeof(path), "%.300s/%.*s", where, SLICE_ARG(key));
        enum schema_place inner = place == PLACE_MAP || place == PLACE_LIST ? PLACE_ONE : place_of(key);
        count += schemas_are_objects(element, inner, path);
    }
    return count;
}

static void openapi_is_whole(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 1 << 20);
    struct json_parser *parser = json_parser_new();
    struct json_value root, paths, components, schemas, path, operation, value;
    const char *reason = "";
    size_t offset = 0;
    route_table_openapi(&out, "1.2.3");
    assert_int_equal(buf_status(&out), STATUS_OK);
    if (json_parse(parser, buf_slice(&out), &root, &offset, &reason) != STATUS_OK) {
        fail_msg("at byte %zu: %s: %.60s", offset, reason, out.data + offset);
    }
    assert_true(json_member(root, "paths", &paths));
    assert_true(json_member(root, "components", &components));
    assert_true(json_member(components, "schemas", &schemas));
    assert_true(follow_refs(root, schemas) > 100);
    assert_true(schemas_are_objects(root, PLACE_NONE, "") > 200);
    for (unsigned i = 0; i < ROUTE_COUNT; i++) {
        const struct route *route = route_at((enum route_id)i);
        static const char *const verbs[] = {"get", "head", "post", "put", "patch", "delete", "options"};
        assert_true(json_member(paths, route->path.data, &path));
        assert_true(json_member(path, verbs[route->method], &operation));
        assert_true(json_member(operation, "responses", &value));
        assert_true(json_count(value) >= 2);
        assert_true(json_member(operation, "operationId", &value));
    }
    json_parser_free(parser);
    buf_free(&out);
}

static void the_page_is_that_of_the_table(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 1 << 20);
    route_table_markdown(&out);
    assert_int_equal(buf_status(&out), STATUS_OK);
    FILE *file = fopen(SHOAL_SOURCE_ROOT "/docs/api-routes.md", "r");
    assert_non_null(file);
    char *text = calloc(1, out.len + 2);
    size_t len = fread(text, 1, out.len + 1, file);
    fclose(file);
    if (len != out.len || memcmp(text, out.data, len) != 0) {
        fail_msg("docs/api-routes.md is not that of the table: run this test with --write docs/api-routes.md");
    }
    free(text);
    buf_free(&out);
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "--write") == 0) {
        struct buf out;
        buf_init(&out, 1 << 20);
        route_table_markdown(&out);
        FILE *file = fopen(argv[2], "w");
        bool is_written = file != NULL && fwrite(out.data, 1, out.len, file) == out.len;
        if (file != NULL) {
            is_written = fclose(file) == 0 && is_written;
        }
        buf_free(&out);
        return is_written ? 0 : 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths_find_their_routes),
        cmocka_unit_test(anything_else_finds_none),
        cmocka_unit_test(nothing_is_matched_by_halves),
        cmocka_unit_test(wrong_methods_are_told_the_right_ones),
        cmocka_unit_test(query_parameters),
        cmocka_unit_test(openapi_is_whole),
        cmocka_unit_test(the_page_is_that_of_the_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
