/* route_table.c - finding the route of a request.
 *
 * The table is walked from the top. A path of the table either has no parameter and is compared by length and bytes, or has
 * one, and is compared as what stands before it, a run without '/' and ':', and what stands behind. Forty comparisons of
 * lengths cost less than hashing the path would, and no structure has to be built at start.
 *
 * Because a parameter never contains ':' or '/', at most one path of the table matches, whatever its methods: "allowed" is
 * then the methods of all entries with that path. */
#include "hub/route_table.h"

#include <string.h>

#include "base/ensure.h"
#include "base/json.h"
#include "base/limits.h"

#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)

static const struct route table[ROUTE_COUNT] = {
#define ROUTE(id_, method_, path_, handler_, tag_, summary_, params_, body_, schema_, answers_, errors_)               \
    [ROUTE_##id_] = {ROUTE_##id_, ROUTE_##id_, HTTP_##method_, {path_, sizeof(path_) - 1},                             \
                     #id_,        tag_,        summary_,       params_,                                                \
                     body_,       schema_,     answers_,       errors_},
#define ALIAS(id_, method_, path_, of_)                                                                                \
    [ROUTE_##id_] = {ROUTE_##id_, ROUTE_##of_, HTTP_##method_, {path_, sizeof(path_) - 1}, #id_},
#include "hub/route_table.def"
#undef ROUTE
#undef ALIAS
};

static const struct route_param_info params[] = {
    {PARAM_WAIT_MS, "wait_ms", false, "{\"type\":\"integer\",\"minimum\":0,\"maximum\":" TEXT(LIMIT_WAIT_MS) "}",
     "Answer when the task is final, or after so many milliseconds."},
    {PARAM_STATE, "state", false, "{\"$ref\":\"#/components/schemas/State\"}", "Only tasks in this state."},
    {PARAM_QUEUE, "queue", false, "{\"$ref\":\"#/components/schemas/Name\"}", "Only tasks of this queue."},
    {PARAM_KIND, "kind", false, "{\"$ref\":\"#/components/schemas/Name\"}", "Only tasks of this kind."},
    {PARAM_LIMIT, "limit", false,
     "{\"type\":\"integer\",\"minimum\":1,\"maximum\":" TEXT(LIMIT_PAGE_MAX) ",\"default\":" TEXT(
         LIMIT_PAGE_DEFAULT) "}",
     "Items on the page at most."},
    {PARAM_CURSOR, "cursor", false, "{\"type\":\"string\"}", "next_cursor of the page before."},
    {PARAM_ORDER, "order", false, "{\"type\":\"string\",\"enum\":[\"newest\",\"oldest\"],\"default\":\"newest\"}",
     "Which task comes first, by creation."},
    {PARAM_ERROR_KIND, "error_kind", false, "{\"type\":\"string\"}", "Only tasks whose last error has this kind."},
    {PARAM_CREATED_AFTER, "created_after", false, "{\"type\":\"string\",\"format\":\"date-time\"}",
     "Only tasks created at this time or later."},
    {PARAM_CREATED_BEFORE, "created_before", false, "{\"type\":\"string\",\"format\":\"date-time\"}",
     "Only tasks created before this time."},
    {PARAM_IDEMPOTENCY_KEY, "Idempotency-Key", true, "{\"type\":\"string\",\"minLength\":1,\"maxLength\":255}",
     "The same key and body give the first answer again."},
    {PARAM_TRACEPARENT, "traceparent", true, "{\"type\":\"string\"}", "W3C Trace Context, handed to the worker."},
    {PARAM_AUTHORIZATION, "Authorization", true, "{\"type\":\"string\"}",
     "Bearer and the node key, where the hub has one."},
    {PARAM_RANGE, "Range", true, "{\"type\":\"string\"}", "One range of bytes."},
};

const struct route_param_info *route_param_at(unsigned i)
{
    return i < ARRAY_COUNT(params) ? &params[i] : NULL;
}

const char *http_method_name(enum http_method method)
{
    static const char *const names[] = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"};
    return (size_t)method < ARRAY_COUNT(names) ? names[method] : "OTHER";
}

const struct route *route_at(enum route_id id)
{
    ensure(id >= 0 && id < ROUTE_COUNT);
    return &table[id];
}

/* Whether `path` is the pattern; *ret_param is what the braces stand for. */
static bool matches(struct slice pattern, struct slice path, struct slice *ret_param)
{
    /* No parameter begins within the first bytes; most paths part ways there. */
    enum { FIRST = 6 };
    if (pattern.len >= FIRST && path.len >= FIRST && memcmp(pattern.data, path.data, FIRST) != 0) {
        return false;
    }
    const char *open = memchr(pattern.data, '{', pattern.len);
    if (open == NULL) {
        return slice_equal(pattern, path);
    }
    size_t before = (size_t)(open - pattern.data);
    if (path.len <= before || memcmp(path.data, pattern.data, before) != 0) {
        return false;
    }
    const char *close = memchr(open, '}', pattern.len - before);
    struct slice behind = {close + 1, (size_t)(pattern.data + pattern.len - (close + 1))};
    size_t end = before;
    while (end < path.len && path.data[end] != '/' && path.data[end] != ':') {
        end++;
    }
    if (end == before || !slice_equal((struct slice){path.data + end, path.len - end}, behind)) {
        return false;
    }
    *ret_param = (struct slice){path.data + before, end - before};
    return true;
}

void route_find(enum http_method method, struct slice path, struct route_match *ret_match)
{
    enum http_method wanted = method == HTTP_HEAD ? HTTP_GET : method;
    *ret_match = (struct route_match){0};
    for (unsigned i = 0; i < ROUTE_COUNT; i++) {
        struct slice param = {0};
        if (!matches(table[i].path, path, &param)) {
            continue;
        }
        ret_match->allowed |= 1u << table[i].method;
        if (table[i].method == wanted) {
            ret_match->route = &table[i];
            ret_match->param = param;
            return;
        }
    }
}

void route_allow_text(unsigned allowed, char ret[ROUTE_ALLOW_SIZE])
{
    if ((allowed >> HTTP_GET & 1) != 0) {
        allowed |= 1u << HTTP_HEAD;
    }
    allowed |= 1u << HTTP_OPTIONS;
    size_t at = 0;
    for (unsigned method = 0; method <= HTTP_OPTIONS; method++) {
        if ((allowed >> method & 1) == 0) {
            continue;
        }
        const char *name = http_method_name((enum http_method)method);
        size_t len = strlen(name);
        ensure(at + len + 3 < ROUTE_ALLOW_SIZE);
        if (at > 0) {
            ret[at++] = ',';
            ret[at++] = ' ';
        }
        memcpy(ret + at, name, len);
        at += len;
    }
    ret[at] = '\0';
}

bool route_takes_query(const struct route *route, struct slice name)
{
    unsigned takes = table[route->of].params & PARAM_QUERY_ALL;
    for (size_t i = 0; i < ARRAY_COUNT(params); i++) {
        if ((takes & params[i].bit) != 0 && slice_equal_str(name, params[i].name)) {
            return true;
        }
    }
    return false;
}

/* The statuses of "200:Task 201:TaskShort" or "404 409", separated by commas. */
static void put_numbers(struct buf *out, const char *list)
{
    ensure(list != NULL); /* an alias of an alias would have none */
    for (size_t at = 0; list[at] != '\0';) {
        if (at > 0) {
            buf_append_str(out, ", ");
        }
        buf_append(out, list + at, strspn(list + at, "0123456789"));
        at += strcspn(list + at, " ");
        at += strspn(list + at, " ");
    }
}

void route_table_markdown(struct buf *out)
{
    buf_append_str(
        out,
        "# Routes of the hub\n\n"
        "Made from `src/hub/route_table.def` by `test_hub_route_table --write`; a test compares the two. What the\n"
        "routes mean is in [api.md](api.md).\n\n"
        "| method | path | | parameters | answers | errors |\n|---|---|---|---|---|---|\n");
    for (unsigned i = 0; i < ROUTE_COUNT; i++) {
        const struct route *route = &table[i];
        const struct route *of = &table[route->of];
        buf_printf(out, "| %s | `%s` | ", http_method_name(route->method), route->path.data);
        if (of != route) {
            buf_printf(out, "as `%s` | | | |\n", of->path.data);
            continue;
        }
        buf_printf(out, "%s | ", route->summary);
        bool is_first = true;
        for (unsigned k = 0; k < ARRAY_COUNT(params); k++) {
            if ((route->params & params[k].bit) == 0) {
                continue;
            }
            buf_printf(out, "%s`%s`", is_first ? "" : ", ", params[k].name);
            is_first = false;
        }
        buf_append_str(out, " | ");
        put_numbers(out, of->answers);
        buf_append_str(out, " | ");
        put_numbers(out, of->errors);
        buf_append_str(out, " |\n");
    }
}
