/* routes.c - from a request to its handler and back: dispatch, calls, answers.
 *
 *   on_head ─ guard_check ─▶ 400, 401, 403, 415, 421 before a byte of the body is read
 *   on_request ─ route_find ─▶ handler ─ begin/put/commit ─▶ sequencer ─ on_reply ─▶ call_answer   (a change)
 *                                │ reads the core ─ await(seq) ─────────────────────▶ call_answer   (a read)
 *                                └ task_waits_add ─ final or late ─▶ show ─▶ as a read              (wait_ms)
 *
 * A call costs no malloc once the free list has warmed up; its `text` keeps its memory while it is small. Bodies
 * are written into one shared buffer, because writing and answering happen in one go; only an answer that must wait
 * for an fsync is copied into its call.
 *
 * Invariants: R1 every call is answered or freed exactly once; R2 a call in the free list is nowhere else: not in the
 * sequencer, not in task_waits; R3 no answer shows what is not durable. */
#include "hub/routes.h"
#include "hub/paging.h"

#include <assert.h>
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/base32.h"
#include "base/ensure.h"
#include "hub/blob_sweep.h"
#include "hub/fields.h"
#include "hub/sessions.h"
#include "hub/task_waits.h"

#define OUT_SIZE_MAX (64u << 20) /* the largest answer that is not streamed: a page of 1000 tasks with all they hold */
#define OUT_SIZE_KEPT (1u << 20)
#define TEXT_SIZE_KEPT 4096u

typedef void handler(struct call *call);
static handler *const handlers[ROUTE_COUNT] = {
#define ROUTE(id, method, path, handler, tag, summary, parameters, body, body_schema, answers, errors)                 \
    [ROUTE_##id] = handler,
#define ALIAS(id, method, path, of)
#include "hub/route_table.def"
#undef ROUTE
#undef ALIAS
};

/* --- calls --- */

static struct call *call_new(struct routes *routes, struct http_request *request, const struct route *route)
{
    struct call *call = routes->free_calls;
    if (call != NULL) {
        routes->free_calls = call->next_free;
    } else {
        if (routes->call_count >= CALLS_MAX || (call = malloc(sizeof(*call))) == NULL) {
            return NULL;
        }
        buf_init(&call->text, OUT_SIZE_MAX);
        call->routes = routes;
        call->hub = routes->hub;
    }
    routes->call_count++;
    call->magic = CALL_MAGIC;
    call->request = request;
    call->route = route;
    call->on_reply = NULL;
    call->show = NULL;
    call->extra = NULL;
    call->task_id = 0;
    call->charged = 0;
    call->seq = 0;
    call->wait_ms = 0;
    call->wait = TASK_WAIT_NONE;
    call->is_new = false;
    call->param_len = 0;
    call->queue_len = call->kind_len = 0;
    request->user = call;
    return call;
}

void call_free(struct call *call)
{
    ensure_magic(call, CALL_MAGIC);
    ensure(call->wait == TASK_WAIT_NONE);
    call->magic = 0;
    call->request = NULL;
    if (call->text.cap > TEXT_SIZE_KEPT) {
        buf_free(&call->text);
    } else {
        buf_reset(&call->text);
    }
    if (call->charged > 0) {
        http_server_charge(call->hub->server, -(int64_t)call->charged);
    }
    struct routes *routes = call->routes;
    routes->call_count--;
    call->next_free = routes->free_calls;
    routes->free_calls = call;
}

void call_charge(struct call *call, uint64_t size)
{
    call->charged += size;
    http_server_charge(call->hub->server, (int64_t)size);
}

/* --- answers --- */

static void give(struct call *call, int status, const char *content_type, const char *headers, struct slice body)
{
    struct http_request *request = call->request;
    request->user = NULL;
    request->on_gone = NULL;
    http_answer(request,
                &(struct http_answer){
                    .status = status, .content_type = content_type, .headers = slice_str(headers), .body = body});
    call_free(call);
}

/* "Shoal-Seq: n" and further lines into `ret`. Written by hand: this is on the way of every answer. */
#define HEADERS_SIZE 512
static void format_headers(char ret[HEADERS_SIZE], uint64_t seq, const char *headers)
{
    size_t len = strlen(headers);
    ensure(len < HEADERS_SIZE - 64);
    memcpy(ret, headers, len);
    memcpy(ret + len, "Shoal-Seq: ", 11);
    len += 11;
    char digits[20];
    size_t count = 0;
    do {
        digits[count++] = (char)('0' + seq % 10);
        seq /= 10;
    } while (seq > 0);
    while (count > 0) {
        ret[len++] = digits[--count];
    }
    memcpy(ret + len, "\r\n", 3);
}

/* What an answer that was not made for a certain entry says: all up to there is durable. */
static uint64_t durable_seq(const struct call *call)
{
    return call->hub->sequencer != NULL ? sequencer_durable_seq(call->hub->sequencer) : 0;
}

static void shrink(struct buf *out)
{
    if (out->cap > OUT_SIZE_KEPT) {
        buf_free(out);
    }
}

void call_answer_as(struct call *call, int status, uint64_t seq, const char *content_type, const char *headers)
{
    ensure_magic(call, CALL_MAGIC);
    struct routes *routes = call->routes;
    if (buf_status(&routes->out) != STATUS_OK) {
        buf_reset(&routes->out);
        call_refuse_status(call, STATUS_NO_MEMORY, NULL);
        return;
    }
    char lines[HEADERS_SIZE];
    format_headers(lines, seq, headers);
    give(call, status, content_type, lines, buf_slice(&routes->out));
    shrink(&routes->out);
}

void call_answer(struct call *call, int status, uint64_t seq, const char *headers)
{
    call_answer_as(call, status, seq, "application/json", headers);
}

static void on_durable(struct read_waiter *waiter)
{
    struct call *call = (struct call *)((char *)waiter - offsetof(struct call, read));
    ensure_magic(call, CALL_MAGIC);
    char lines[HEADERS_SIZE];
    uint64_t durable = durable_seq(call);
    if (durable < waiter->seq) { /* the hub ends before */
        call_refuse_status(call, STATUS_NOT_READY, NULL);
        return;
    }
    format_headers(lines, call->shown_seq < durable ? call->shown_seq : durable, "");
    give(call, call->answer_status, call->answer_type, lines, buf_slice(&call->text));
}

void call_answer_durable(struct call *call, int status, uint64_t seq)
{
    call_answer_durable_as(call, status, seq, "application/json");
}

void call_answer_durable_as(struct call *call, int status, uint64_t seq, const char *content_type)
{
    ensure_magic(call, CALL_MAGIC);
    struct sequencer *sequencer = call->hub->sequencer;
    uint64_t shown = core_seq(sequencer_core(sequencer));
    uint64_t durable = sequencer_durable_seq(sequencer);
    call->read.on_durable = on_durable;
    call->read.seq = seq;
    if (seq <= durable) {
        call_answer_as(call, status, shown < durable ? shown : durable, content_type, "");
        return;
    }
    struct buf *out = &call->routes->out;
    if (buf_status(out) == STATUS_OK) {
        buf_append_slice(&call->text, buf_slice(out));
    }
    if (buf_status(out) != STATUS_OK || buf_status(&call->text) != STATUS_OK) {
        call_refuse_status(call, STATUS_NO_MEMORY, NULL);
        return;
    }
    call_charge(call, call->text.len);
    shrink(out);
    call->answer_status = status;
    call->answer_type = content_type;
    call->shown_seq = shown;
    if (sequencer_await(sequencer, seq, &call->read)) {
        on_durable(&call->read);
    }
}

static const char *retry_after(enum status status)
{
    int http = status_http(status);
    return http == 429 || http == 503 ? "Retry-After: 1\r\n" : "";
}
static_assert(PROBLEM_RETRY_AFTER_S == 1, "the header above says so");

static void refuse_with(struct call *call, const struct problem *problem, const char *headers)
{
    struct buf *out = &call->routes->out;
    buf_reset(out);
    problem_write(out, problem);
    char lines[HEADERS_SIZE], all[HEADERS_SIZE];
    snprintf(all, sizeof(all), "%s%s", retry_after(problem->status), headers);
    format_headers(lines, durable_seq(call), all);
    give(call, status_http(problem->status), PROBLEM_CONTENT_TYPE, lines, buf_slice(out));
}

void call_refuse(struct call *call, const struct problem *problem)
{
    refuse_with(call, problem, "");
}

void call_refuse_status(struct call *call, enum status status, const char *format, ...)
{
    struct problem problem;
    if (format == NULL) {
        problem_set(&problem, status, "%s", status_title(status));
    } else {
        problem_init(&problem);
        problem.status = status;
        va_list args;
        va_start(args, format);
        vsnprintf(problem.detail, sizeof(problem.detail), format, args);
        va_end(args);
    }
    call_refuse(call, &problem);
}

void call_answer_nothing(struct call *call, int status, const char *headers, const char *content_type, uint64_t length)
{
    char lines[HEADERS_SIZE];
    format_headers(lines, durable_seq(call), headers);
    give(call, status, content_type, lines, (struct slice){NULL, (size_t)length});
}

void call_refuse_range(struct call *call, uint64_t size)
{
    struct problem problem;
    char line[64];
    problem_set(&problem, STATUS_RANGE, "the blob has %" PRIu64 " bytes", size);
    snprintf(line, sizeof(line), "Content-Range: bytes */%" PRIu64 "\r\n", size);
    refuse_with(call, &problem, line);
}

void call_answer_begin(struct call *call, int status, const char *content_type, const char *headers, uint64_t length)
{
    char lines[HEADERS_SIZE];
    format_headers(lines, durable_seq(call), headers);
    http_answer_begin(call->request, status, content_type, slice_str(lines), length);
}

/* --- asking --- */

bool call_parse_body(struct call *call, struct problem *problem, struct json_value *ret_root, bool *ret_is_empty)
{
    struct slice body = call_body(call);
    enum route_body mode = route_at(call->route->of)->body;
    *ret_is_empty = body.len == 0 && mode == BODY_OPTIONAL;
    if (*ret_is_empty) {
        body = SLICE("{}");
    }
    if (body.len == 0) {
        problem_set(problem, STATUS_BAD_JSON, "the body is empty; JSON is needed");
        problem->has_offset = true;
        problem->offset = 0;
        return false;
    }
    return fields_parse(call->hub->json, body, problem, ret_root);
}

bool call_parse_member(struct call *call, const char *name, void (*take)(struct field *field, void *ctx), void *ctx)
{
    struct problem problem;
    problem_init(&problem);
    struct json_value root;
    bool is_empty;
    if (call_parse_body(call, &problem, &root, &is_empty)) {
        struct field field = {.problem = &problem, .base = "", .value = root};
        struct json_iter it = json_iter_of(root);
        uint64_t seen = 0;
        if (field_object(&field)) {
            while (json_next(&it, &field.key, &field.value)) {
                if (name == NULL || !slice_equal_str(field.key, name)) {
                    field_unknown(&field);
                } else if (field_is_first(&field, &seen, 0)) {
                    take(&field, ctx);
                }
            }
        }
    }
    if (problem_is_ok(&problem)) {
        return true;
    }
    call_refuse(call, &problem);
    return false;
}

bool call_expect_empty(struct call *call)
{
    return call_parse_member(call, NULL, NULL, NULL);
}

bool call_query(struct call *call, const char *name, struct slice *ret)
{
    buf_reset(&call->routes->aux);
    return call->request->query.len > 0 && http_query_param(call->request, name, &call->routes->aux, ret);
}

bool call_query_wait_ms(struct call *call, int64_t *ret)
{
    struct slice text;
    uint64_t value = 0;
    if (call_query(call, "wait_ms", &text) && !query_decimal(text, LIMIT_WAIT_MS, &value)) {
        call_refuse_status(call, STATUS_BAD_REQUEST, "wait_ms: an integer from 0 to %d", LIMIT_WAIT_MS);
        return false;
    }
    *ret = (int64_t)value;
    return true;
}

bool call_idempotency_key(struct call *call, size_t size_max, struct slice *ret, struct problem *problem)
{
    struct slice key = http_header(call->request, "idempotency-key");
    bool is_good = key.len <= size_max;
    for (size_t i = 0; is_good && i < key.len; i++) {
        is_good = key.data[i] >= 0x20 && key.data[i] < 0x7f;
    }
    if (!is_good) {
        problem_set(problem, STATUS_BAD_REQUEST, "Idempotency-Key: at most %zu visible characters", size_max);
        return false;
    }
    *ret = key;
    return true;
}

struct slice call_traceparent(struct call *call)
{
    /* version "-" trace-id "-" parent-id "-" flags, all lower-case hexadecimal; a later version may be longer */
    struct slice text = http_header(call->request, "traceparent");
    if (text.len < 55 || text.len > LIMIT_NAME_SIZE) {
        return (struct slice){0};
    }
    for (size_t i = 0; i < 55; i++) {
        char c = text.data[i];
        bool is_dash = i == 2 || i == 35 || i == 52;
        if (is_dash ? c != '-' : !((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) {
            return (struct slice){0};
        }
    }
    for (size_t i = 55; i < text.len; i++) {
        if (text.data[i] <= ' ' || text.data[i] >= 0x7f) {
            return (struct slice){0};
        }
    }
    return text;
}

/* --- changing --- */

struct buf *call_begin(struct call *call)
{
    struct hub *hub = call->hub;
    if (!hub->is_ready || hub->is_stopping) {
        call_refuse_status(call, STATUS_NOT_READY, NULL);
        return NULL;
    }
    struct buf *out = sequencer_begin(hub->sequencer);
    if (out == NULL) {
        call_refuse_status(call, STATUS_BUSY, NULL);
    }
    return out;
}

void call_refuse_low_disk(struct call *call)
{
    struct storage_stats stats;
    blob_sweep_stats(call->hub->blob_sweep, &stats);
    call_refuse_status(call, STATUS_NO_SPACE,
                       "the disk has %" PRIu64 " MiB left, and %" PRIu64
                       " MiB are kept for the tasks that are there; new ones are taken again when it has more",
                       stats.disk_free >> 20, stats.disk_reserve >> 20);
}

struct buf *call_begin_submit(struct call *call)
{
    if (call->hub->is_disk_low) {
        call_refuse_low_disk(call);
        return NULL;
    }
    if (hub_takes_work(call->hub)) {
        return call_begin(call);
    }
    call_refuse_status(call, STATUS_BUSY, "history is behind; try again later");
    return NULL;
}

static void on_pending_reply(struct pending *pending, const struct effect_reply *reply, uint64_t seq)
{
    struct call *call = (struct call *)((char *)pending - offsetof(struct call, pending));
    ensure_magic(call, CALL_MAGIC);
    call->on_reply(call, reply, seq);
}

void call_commit(struct call *call, void (*on_reply)(struct call *call, const struct effect_reply *reply, uint64_t seq))
{
    call->on_reply = on_reply;
    call->pending.on_reply = on_pending_reply;
    sequencer_commit(call->hub->sequencer, &call->pending);
    hub_schedule_flush(call->hub);
}

static struct guard_config guard_config_of(const struct hub *hub)
{
    const struct hub_config *config = &hub->config;
    return (struct guard_config){.listen_host = config->host,
                                 .hosts = config->hosts,
                                 .origins = config->origins,
                                 .api_key = config->api_key,
                                 .node_key = config->node_key};
}

bool node_key_matches(const struct hub *hub, struct slice key)
{
    struct guard_config config = guard_config_of(hub);
    return guard_node_key_matches(&config, key);
}

struct command_caller call_caller(const struct call *call)
{
    struct guard_config config = guard_config_of(call->hub);
    struct slice key = guard_bearer(http_header(call->request, "authorization"));
    return guard_api_key_matches(&config, key) ? caller_operator() : caller_of_peer(http_peer(call->request));
}

void call_refuse_reply(struct call *call, const struct effect_reply *reply)
{
    if (caller_is_refusal(reply->status)) {
        char text[CALLER_TEXT_SIZE];
        caller_refusal(sequencer_core(call->hub->sequencer), reply, text);
        call_refuse_status(call, reply->status, "%s", text);
    } else {
        call_refuse_status(call, reply->status, NULL);
    }
}

/* --- dispatch --- */

/* Every query parameter must be one that the route takes; a misspelt one would silently do nothing. */
static bool check_query(struct call *call)
{
    struct slice query = call->request->query;
    for (size_t at = 0; at < query.len;) {
        const char *start = query.data + at;
        const char *amp = memchr(start, '&', query.len - at);
        size_t len = amp != NULL ? (size_t)(amp - start) : query.len - at;
        const char *equals = memchr(start, '=', len);
        struct slice name = {start, equals != NULL ? (size_t)(equals - start) : len};
        if (name.len > 0 && !route_takes_query(call->route, name)) {
            call_refuse_status(call, STATUS_BAD_REQUEST, "%.*s: no such parameter here",
                               (int)(name.len < 100 ? name.len : 100), name.data);
            return false;
        }
        at += len + 1;
    }
    return true;
}

static void refuse_path(struct call *call, const struct route_match *match)
{
    struct http_request *request = call->request;
    char allow[ROUTE_ALLOW_SIZE], line[ROUTE_ALLOW_SIZE + 16];
    if (match->allowed == 0) {
        size_t len = request->path.len < 120 ? request->path.len : 120;
        call_refuse_status(call, STATUS_NOT_FOUND, "there is no path %.*s; GET /openapi.json lists them", (int)len,
                           request->path.data);
        return;
    }
    route_allow_text(match->allowed, allow);
    snprintf(line, sizeof(line), "Allow: %s\r\n", allow);
    if (request->method == HTTP_OPTIONS) {
        char lines[HEADERS_SIZE];
        format_headers(lines, durable_seq(call), line);
        give(call, 204, NULL, lines, (struct slice){0});
        return;
    }
    struct problem problem;
    problem_set(&problem, STATUS_METHOD_NOT_ALLOWED, "this path takes %s", allow);
    refuse_with(call, &problem, line);
}

/* There is no call to be had: the hub is full. */
static void refuse_call(struct routes *routes, struct http_request *request)
{
    struct buf *out = &routes->out;
    buf_reset(out);
    problem_write_status(out, STATUS_BUSY, NULL);
    http_answer(request, &(struct http_answer){.status = status_http(STATUS_BUSY),
                                               .content_type = PROBLEM_CONTENT_TYPE,
                                               .headers = SLICE("Retry-After: 1\r\n"),
                                               .body = buf_slice(out)});
}

/* Whether the request may come in at all. False: answered, without a look at its body. */
static bool pass_guard(struct routes *routes, struct http_request *request)
{
    struct guard_request seen;
    struct route_match match;
    guard_request_of(request, &seen);
    route_find(request->method, request->path, &match);
    seen.route = match.route;
    struct problem problem;
    problem_init(&problem);
    enum status status = guard_check(&routes->guard, &seen, &problem);
    if (status == STATUS_OK) {
        return true;
    }
    struct call *call = call_new(routes, request, match.route);
    if (call == NULL) {
        refuse_call(routes, request);
    } else {
        refuse_with(call, &problem, status == STATUS_UNAUTHORIZED ? "WWW-Authenticate: Bearer\r\n" : "");
    }
    return false;
}

/* A call for the request, with its parameter decoded. NULL: answered. */
static struct call *accept_request(struct routes *routes, struct http_request *request)
{
    struct route_match match;
    route_find(request->method, request->path, &match);
    if (match.allowed == 0 && request->method == HTTP_OPTIONS && slice_equal(request->path, SLICE("*"))) {
        match.allowed = 1u << HTTP_GET | 1u << HTTP_POST | 1u << HTTP_PUT | 1u << HTTP_DELETE;
    }
    struct call *call = call_new(routes, request, match.route);
    if (call == NULL) {
        refuse_call(routes, request);
        return NULL;
    }
    if (match.route == NULL) {
        refuse_path(call, &match);
        return NULL;
    }
    if (match.param.len > 0) {
        struct buf *aux = &routes->aux;
        buf_reset(aux);
        http_percent_decode(match.param, false, aux);
        if (buf_status(aux) != STATUS_OK || aux->len >= CALL_PARAM_SIZE) {
            call_refuse_status(call, STATUS_NOT_FOUND, "the name in the path is longer than any");
            return NULL;
        }
        memcpy(call->param, aux->data, aux->len);
        call->param[aux->len] = '\0';
        call->param_len = (uint8_t)aux->len;
    }
    return call;
}

static void on_request(void *ctx, struct http_request *request)
{
    struct routes *routes = ctx;
    ensure_magic(routes, ROUTES_MAGIC);
    struct call *call = request->user; /* of on_head, with a streamed body */
    if (call == NULL) {
        call = accept_request(routes, request);
    }
    if (call == NULL) {
        return;
    }
    buf_reset(&routes->out);
    if (request->query.len > 0 && slice_starts_with(request->path, SLICE("/v1/")) && call->extra == NULL &&
        !check_query(call)) {
        return;
    }
    handlers[call->route->of](call);
}

/* The connection ended while the body was still coming: nobody else will answer this request. */
static void on_gone(struct http_request *request)
{
    struct call *call = request->user;
    if (call != NULL && call->extra != NULL) {
        blob_put_gone(call);
    }
}

static enum http_body_mode on_head(void *ctx, struct http_request *request)
{
    struct routes *routes = ctx;
    if (!pass_guard(routes, request)) {
        return HTTP_BODY_ANSWERED;
    }
    if (request->method != HTTP_PUT || !slice_starts_with(request->path, SLICE("/v1/blobs"))) {
        return HTTP_BODY_BUFFER;
    }
    struct call *call = accept_request(routes, request);
    if (call == NULL) {
        return HTTP_BODY_ANSWERED;
    }
    buf_reset(&routes->out);
    if (!check_query(call)) {
        return HTTP_BODY_ANSWERED;
    }
    enum http_body_mode mode = blob_put_head(call);
    if (mode == HTTP_BODY_STREAM) {
        request->on_gone = on_gone;
    }
    return mode;
}

static void on_body(void *ctx, struct http_request *request, struct slice piece)
{
    (void)ctx;
    if (request->user != NULL) {
        blob_put_piece(request->user, piece);
    }
}

static void on_refused(void *ctx, enum status status, const char *detail, struct buf *body)
{
    (void)ctx;
    struct problem problem;
    problem_set(&problem, status, "%s", detail != NULL ? detail : status_title(status));
    if (status == STATUS_TOO_LARGE) {
        problem.limit = LIMIT_HTTP_BODY_SIZE;
    }
    problem_write(body, &problem);
}

/* What is held back until the disk has it; the sequencer and the journal have limits of their own for it. */
static uint64_t other_size(void *ctx)
{
    const struct routes *routes = ctx;
    const struct hub *hub = routes->hub;
    return sequencer_held_size(hub->sequencer) + hub->journal->driver->unsynced_size(hub->journal);
}

struct http_callbacks routes_callbacks(struct hub *hub)
{
    struct routes *routes = calloc(1, sizeof(*routes));
    ensure(routes != NULL); /* at start, before anything was promised */
    routes->magic = ROUTES_MAGIC;
    routes->hub = hub;
    buf_init(&routes->out, OUT_SIZE_MAX);
    buf_init(&routes->input, LIMIT_INPUT_SIZE);
    buf_init(&routes->aux, OUT_SIZE_MAX);
    buf_init(&routes->openapi, 1u << 20);
    struct guard_config config = guard_config_of(hub);
    guard_init(&routes->guard, &config);
    hub->routes = routes;
    return (struct http_callbacks){.on_head = on_head,
                                   .on_body = on_body,
                                   .on_request = on_request,
                                   .on_refused = on_refused,
                                   .other_size = other_size,
                                   .ctx = routes};
}

void routes_stop(struct hub *hub)
{
    task_waits_stop(hub->task_waits);
    sessions_stop(hub->sessions);
}

void routes_free(struct hub *hub)
{
    struct routes *routes = TAKE(hub->routes);
    if (routes == NULL) {
        return;
    }
    ensure_magic(routes, ROUTES_MAGIC);
    while (routes->free_calls != NULL) {
        struct call *call = routes->free_calls;
        routes->free_calls = call->next_free;
        buf_free(&call->text);
        free(call);
    }
    batches_free(routes);
    buf_free(&routes->out);
    buf_free(&routes->input);
    buf_free(&routes->aux);
    buf_free(&routes->openapi);
    routes->magic = 0;
    free(routes);
}
