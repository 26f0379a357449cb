/* route_table.h - the one table of routes (route_table.def) and what is made from it.
 *
 * Static data, built by the compiler; any thread. */
#ifndef SHOAL_HUB_ROUTE_TABLE_H
#define SHOAL_HUB_ROUTE_TABLE_H

#include "base/buf.h"
#include "net/http_server.h"

enum route_id {
#define ROUTE(id, method, path, handler, tag, summary, parameters, body, body_schema, answers, errors) ROUTE_##id,
#define ALIAS(id, method, path, of) ROUTE_##id,
#include "hub/route_table.def"
#undef ROUTE
#undef ALIAS
    ROUTE_COUNT
};

enum route_param {
    PARAM_WAIT_MS = 1 << 0,
    PARAM_STATE = 1 << 1,
    PARAM_QUEUE = 1 << 2,
    PARAM_KIND = 1 << 3,
    PARAM_LIMIT = 1 << 4,
    PARAM_CURSOR = 1 << 5,
    PARAM_ORDER = 1 << 6,
    PARAM_ERROR_KIND = 1 << 7,
    PARAM_CREATED_AFTER = 1 << 8,
    PARAM_CREATED_BEFORE = 1 << 9,
    PARAM_QUERY_ALL = (1 << 10) - 1, /* those above are query parameters, those below headers */
    PARAM_IDEMPOTENCY_KEY = 1 << 10,
    PARAM_TRACEPARENT = 1 << 11,
    PARAM_AUTHORIZATION = 1 << 12,
    PARAM_RANGE = 1 << 13
};

enum route_body {
    BODY_NONE,     /* ignored */
    BODY_JSON,     /* a JSON object */
    BODY_OPTIONAL, /* a JSON object, or nothing */
    BODY_BATCH,    /* JSON or NDJSON */
    BODY_STREAM    /* any bytes, in pieces */
};

struct route {
    enum route_id id;
    enum route_id of; /* itself, or what it is an alias of; the fields below are those of `of` except path and method */
    enum http_method method;
    struct slice path;
    const char *operation; /* the id in words, e.g. "task_submit" */
    const char *tag, *summary;
    unsigned params;
    enum route_body body;
    const char *body_schema, *answers, *errors;
};

const struct route *route_at(enum route_id id);

struct route_match {
    const struct route *route; /* NULL: see allowed */
    unsigned allowed;          /* bit per enum http_method that the path takes; 0: no such path */
    struct slice param;        /* what {…} stands for, still percent-encoded; may be empty */
};
/* HEAD is taken as GET. */
void route_find(enum http_method method, struct slice path, struct route_match *ret_match);
/* "GET, HEAD, OPTIONS, POST" */
#define ROUTE_ALLOW_SIZE 64
void route_allow_text(unsigned allowed, char ret[ROUTE_ALLOW_SIZE]);
/* Whether the route takes this query parameter. */
bool route_takes_query(const struct route *route, struct slice name);

/* The OpenAPI 3.1 document (openapi.c), and the page docs/api-routes.md. */
void route_table_openapi(struct buf *out, const char *version);
void route_table_markdown(struct buf *out);

/* For openapi.c and docs: the facts of one PARAM_ bit. */
struct route_param_info {
    enum route_param bit;
    const char *name;
    bool is_header;
    const char *schema; /* JSON */
    const char *summary;
};
/* i = 0, 1, …; NULL past the last. */
const struct route_param_info *route_param_at(unsigned i);
const char *http_method_name(enum http_method method);

#endif
