/* routes_lease.c - POST /v1/leases and POST /v1/leases:report: what their bodies say. What becomes of them is in workers.c. */
#include <stdio.h>

#include "base/base32.h"
#include "base/ensure.h"
#include "hub/fields.h"
#include "hub/routes.h"
#include "hub/sessions.h"

static void read_kinds(const struct field *field, struct command_node_hello *hello)
{
    if (!field_array(field)) {
        return;
    }
    size_t count = json_count(field->value);
    if (count < 1 || count > LIMIT_KINDS_PER_NODE) {
        problem_add(field->problem, STATUS_INVALID, field->base, field->key, "1 to %d kinds", LIMIT_KINDS_PER_NODE);
        return;
    }
    struct json_iter it = json_iter_of(field->value);
    struct json_value element;
    for (uint32_t i = 0; json_next(&it, NULL, &element); i++) {
        char index[12];
        snprintf(index, sizeof(index), "%u", i);
        struct field kind = {field->problem, "/kinds", slice_str(index), element};
        if (field_name(&kind, &hello->kinds[hello->kind_count])) {
            hello->kind_count++;
        }
    }
}

/* Bits of `seen`, beside those of each request's own members. */
enum { SEEN_REQUIREMENT = 16, SEEN_MAX = SEEN_REQUIREMENT + FIELD_REQUIREMENT_BITS, SEEN_WAIT_MS };

/* max and wait_ms, which both requests have. True when the key is one of them. */
static bool read_wish(const struct field *field, uint64_t *seen, int64_t max_min, int64_t *max, int64_t *wait_ms)
{
    if (slice_equal(field->key, SLICE("max"))) {
        if (field_is_first(field, seen, SEEN_MAX)) {
            field_int(field, max_min, WORKER_LEASES_MAX, max);
        }
    } else if (slice_equal(field->key, SLICE("wait_ms"))) {
        if (field_is_first(field, seen, SEEN_WAIT_MS)) {
            field_int(field, 0, LIMIT_WAIT_MS, wait_ms);
        }
    } else {
        return false;
    }
    return true;
}

#define SESSION_RULE "the session that POST /v1/leases gave"

/* Decodes the body of POST /v1/leases. False: the problem says why. */
static bool read_poll(struct call *call, struct problem *problem, struct command_node_hello *hello,
                      struct slice *ret_session, int64_t *ret_wait_ms)
{
    struct json_value root;
    bool is_empty;
    int64_t max = 1, wait_ms = 0;
    *ret_session = (struct slice){0};
    *hello = (struct command_node_hello){.is_worker = true, .info = SLICE("{}")};
    if (!call_parse_body(call, problem, &root, &is_empty)) {
        return false;
    }
    struct field field = {.problem = problem, .base = "", .value = root};
    if (!field_object(&field)) {
        return false;
    }
    struct json_iter it = json_iter_of(root);
    uint64_t seen = 0;
    while (json_next(&it, &field.key, &field.value)) {
        if (slice_equal(field.key, SLICE("node"))) {
            if (field_is_first(&field, &seen, 0)) {
                field_name(&field, &hello->node);
            }
        } else if (slice_equal(field.key, SLICE("kinds"))) {
            if (field_is_first(&field, &seen, 1)) {
                read_kinds(&field, hello);
            }
        } else if (slice_equal(field.key, SLICE("session"))) {
            if (field_is_first(&field, &seen, 2) &&
                (!json_get_str(field.value, ret_session) || ret_session->len == 0)) {
                problem_add(problem, STATUS_INVALID, "", field.key, SESSION_RULE);
            }
        } else if (!field_requirement(&field, &seen, SEEN_REQUIREMENT, &hello->facts) &&
                   !read_wish(&field, &seen, 1, &max, &wait_ms)) {
            field_unknown(&field);
        }
    }
    if ((seen & 1) == 0) {
        problem_add(problem, STATUS_INVALID, "/node", (struct slice){0}, "is needed");
    }
    if ((seen & 2) == 0) {
        problem_add(problem, STATUS_INVALID, "/kinds", (struct slice){0}, "is needed");
    }
    hello->credit = (uint32_t)max;
    *ret_wait_ms = wait_ms;
    return problem_is_ok(problem);
}

/* Whether the hub takes calls of workers now, and this one may call. False: answered. */
static bool may_call(struct call *call)
{
    if (call->hub->is_ready && !call->hub->is_stopping) {
        return true;
    }
    call_refuse_status(call, STATUS_NOT_READY, NULL);
    return false;
}

/* Keeps the kinds that are known: asking for work must not make names that stay. What becomes known later is matched by the
 * worker's next poll. False when none is left. */
static bool keep_known_kinds(const struct core *core, struct command_node_hello *hello)
{
    uint32_t known = 0;
    for (uint32_t i = 0; i < hello->kind_count; i++) {
        if (core_kind_is_known(core, hello->kinds[i])) {
            hello->kinds[known++] = hello->kinds[i];
        }
    }
    hello->kind_count = known;
    return known > 0;
}

void handle_lease_poll(struct call *call)
{
    struct problem problem;
    problem_init(&problem);
    struct command_node_hello hello;
    struct slice session;
    uint64_t shown = 0;
    int64_t wait_ms;
    if (!may_call(call)) {
        return;
    }
    if (!read_poll(call, &problem, &hello, &session, &wait_ms)) {
        call_refuse(call, &problem);
        return;
    }
    if (session.len > 0 && !session_parse(call->hub->sessions, session, &shown)) {
        problem_add(&problem, STATUS_INVALID, "/session", (struct slice){0}, SESSION_RULE);
        call_refuse(call, &problem);
        return;
    }
    if (session.len > 0 && shown == 0) {
        call_refuse_status(call, STATUS_SESSION_LOST, "that session is none of this hub");
        return;
    }
    struct slice first = hello.kinds[0];
    if (!keep_known_kinds(sequencer_core(call->hub->sequencer), &hello)) {
        problem_add(&problem, STATUS_KIND_UNKNOWN, "/kinds", (struct slice){0},
                    "none of them is known; PUT /v1/kinds/%.*s makes that one known", SLICE_ARG(first));
        call_refuse(call, &problem);
        return;
    }
    hello.by = call_caller(call);
    workers_poll(call->hub->sessions, call, &hello, shown, wait_ms);
}

struct report_body {
    const struct buf *said; /* struct lease_token of each outcome; the sessions' */
    uint64_t session;
    uint32_t count;
    int64_t max, wait_ms;
};

static void read_outcomes(const struct call *call, const struct field *field, struct buf *outcomes, struct buf *bad,
                          uint32_t *ret_count)
{
    struct field_error error;
    const struct work_tokens tokens = sessions_tokens(call->hub->sessions);
    if (!field_array(field)) {
        return;
    }
    if (json_count(field->value) > WORK_LIST_MAX) {
        problem_add(field->problem, STATUS_INVALID, "", field->key, "at most %d outcomes", WORK_LIST_MAX);
    } else if (work_outcomes_decode(field->value, "/outcomes", &tokens, outcomes, ret_count, bad, &error) !=
               STATUS_OK) {
        problem_add_field_error(field->problem, &error);
    }
}

/* Decodes the body of POST /v1/leases:report; outcomes go encoded into `outcomes`, those that are none into `bad`. False: the problem says why. */
static bool read_report(struct call *call, struct problem *problem, struct buf *outcomes, struct buf *bad,
                        struct report_body *ret_body)
{
    struct json_value root;
    bool is_empty;
    *ret_body = (struct report_body){.said = sessions_tokens(call->hub->sessions).said};
    buf_reset(outcomes);
    if (!call_parse_body(call, problem, &root, &is_empty)) {
        return false;
    }
    struct field field = {.problem = problem, .base = "", .value = root};
    if (!field_object(&field)) {
        return false;
    }
    struct json_iter it = json_iter_of(root);
    uint64_t seen = 0;
    while (json_next(&it, &field.key, &field.value)) {
        struct slice text = {0};
        if (slice_equal(field.key, SLICE("session"))) {
            if (field_is_first(&field, &seen, 0) &&
                (!json_get_str(field.value, &text) || !session_parse(call->hub->sessions, text, &ret_body->session))) {
                problem_add(problem, STATUS_INVALID, "", field.key, SESSION_RULE);
            }
        } else if (slice_equal(field.key, SLICE("outcomes"))) {
            if (field_is_first(&field, &seen, 1)) {
                read_outcomes(call, &field, outcomes, bad, &ret_body->count);
            }
        } else if (!read_wish(&field, &seen, 0, &ret_body->max, &ret_body->wait_ms)) {
            field_unknown(&field);
        }
    }
    if ((seen & 1) == 0) {
        problem_add(problem, STATUS_INVALID, "/session", (struct slice){0}, "is needed");
    }
    if ((seen & 2) == 0) {
        problem_add(problem, STATUS_INVALID, "/outcomes", (struct slice){0}, "is needed");
    }
    return problem_is_ok(problem);
}

void handle_lease_report(struct call *call)
{
    struct problem problem;
    problem_init(&problem);
    struct report_body body;
    struct buf *outcomes = &call->routes->aux; /* the parser of this request is done with it */
    if (!may_call(call)) {
        return;
    }
    struct buf bad;
    buf_init(&bad, WORK_LIST_MAX * sizeof(struct work_bad_outcome));
    if (read_report(call, &problem, outcomes, &bad, &body)) {
        workers_report(call->hub->sessions, call, body.session, body.count, buf_slice(outcomes),
                       (const struct lease_token *)(const void *)body.said->data, buf_slice(&bad), (uint32_t)body.max,
                       body.wait_ms);
    } else {
        call_refuse(call, &problem);
    }
    buf_free(&bad);
}
