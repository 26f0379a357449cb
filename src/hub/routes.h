/* routes.h - what all routes share: the call (one request being answered) and how to answer it.
 *
 * A call is taken from a free list when its request is complete (or, for streamed bodies, when its head is) and goes back
 * when it is answered; answering is the last thing that touches it. It survives its connection: answers to a
 * request that is gone are dropped by the server. Every handler answers its call exactly once, now or later. Loop's
 * thread. */
#ifndef SHOAL_HUB_ROUTES_H
#define SHOAL_HUB_ROUTES_H

#include <assert.h>

#include "hub/caller.h"
#include "hub/guard.h"
#include "hub/hub.h"
#include "hub/problem.h"
#include "hub/route_table.h"

#define CALL_PARAM_SIZE (LIMIT_NAME_SIZE + 1) /* a longer one names nothing */
#define CALLS_MAX 200000                      /* requests being answered; ten for each of LIMIT_HTTP_CONNECTIONS */

struct call;

struct routes {
    uint32_t magic;
    struct hub *hub;
    struct guard guard;
    struct call *free_calls;
    uint32_t call_count;           /* in use */
    struct buf out;                /* one answer's body while it is written */
    struct buf input;              /* the minified input of the task being decoded */
    struct buf aux;                /* decoded parameters; rows from history */
    struct buf openapi;            /* written once */
    struct batch *free_batches[3]; /* routes_batch.c */
};

struct call {
    uint32_t magic;
    struct routes *routes;
    struct hub *hub;
    struct http_request *request;
    const struct route *route; /* what was matched; route->of is what to do */
    struct call *next_free;
    struct pending pending;
    struct read_waiter read;
    void (*on_reply)(struct call *call, const struct effect_reply *reply, uint64_t seq);
    void (*show)(struct call *call); /* after a wait: write the answer */
    void *extra;                     /* the handler's: a batch, an upload, a poll */
    uint64_t task_id;
    uint64_t seq; /* of the write that made the task; 0 for reads */
    int64_t wait_ms;
    uint32_t wait; /* TASK_WAIT_NONE, or in task_waits */
    int answer_status;
    const char *answer_type;
    uint64_t shown_seq; /* core_seq when a held answer was written */
    struct buf text;    /* a written answer that waits for its entry to be durable */
    uint64_t charged;   /* to the memory budget, given back with the call */
    uint64_t body_size; /* of a streamed body, so far */
    bool is_new;
    bool is_held; /* a streamed answer waits for room */
    enum task_state state;
    uint8_t param_len;
    char param[CALL_PARAM_SIZE]; /* decoded */
    uint8_t queue_len, kind_len;
    char queue[LIMIT_NAME_SIZE], kind[LIMIT_NAME_SIZE]; /* of a submit, for its answer */
};
static_assert(LIMIT_NAME_SIZE <= UINT8_MAX, "lengths of names fit a byte");

static inline struct slice call_param(const struct call *call)
{
    return (struct slice){call->param, call->param_len};
}
static inline struct slice call_body(const struct call *call)
{
    return call->request->body;
}

/* Charges memory that the call holds until it ends to the hub's memory budget. */
void call_charge(struct call *call, uint64_t size);

/* --- answering: each ends the call --- */
/* routes->out as JSON. `seq` goes into Shoal-Seq; `headers` are further lines, "" for none. */
void call_answer(struct call *call, int status, uint64_t seq, const char *headers);
/* The same with another content type. */
void call_answer_as(struct call *call, int status, uint64_t seq, const char *content_type, const char *headers);
/* routes->out as JSON once the entry `seq` is durable; Shoal-Seq then is the state that it shows. */
void call_answer_durable(struct call *call, int status, uint64_t seq);
void call_answer_durable_as(struct call *call, int status, uint64_t seq, const char *content_type);
/* A problem. */
void call_refuse(struct call *call, const struct problem *problem);
/* A problem without a place; a NULL format stands for the status's title. */
void call_refuse_status(struct call *call, enum status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Gives the call back without an answer: the request was consumed otherwise (WebSocket, streamed answer). */
void call_free(struct call *call);
/* Begins an answer in pieces (http_answer_begin) with Shoal-Seq; the call lives until call_free. */
void call_answer_begin(struct call *call, int status, const char *content_type, const char *headers, uint64_t length);

/* An answer without a body: to HEAD, or because there is none. `length` is the content's. */
void call_answer_nothing(struct call *call, int status, const char *headers, const char *content_type, uint64_t length);
/* 416 with the size that there is. */
void call_refuse_range(struct call *call, uint64_t size);

/* --- asking --- */
/* Parses the body, whose Content-Type the guard has checked. An empty one is `{}` where the route has BODY_OPTIONAL (*ret_is_empty is then
 * true), else BAD_JSON. False: the problem says why. */
bool call_parse_body(struct call *call, struct problem *problem, struct json_value *ret_root, bool *ret_is_empty);
/* The same and the body must be an object that has no member but this one, which `take` reads when it is there (fields.h). False:
 * answered. */
struct field;
bool call_parse_member(struct call *call, const char *name, void (*take)(struct field *field, void *ctx), void *ctx);
/* The same with nothing in it. */
bool call_expect_empty(struct call *call);
/* 0 when missing. False: answered (400). */
bool call_query_wait_ms(struct call *call, int64_t *ret);
/* A query parameter, decoded into routes->aux. */
bool call_query(struct call *call, const char *name, struct slice *ret);

/* --- changing --- */
/* Where to append one command; NULL: answered with 503. */
struct buf *call_begin(struct call *call);
/* The same for a command that makes a task: also BUSY while history is too far behind, NO_SPACE while the disk is low. */
struct buf *call_begin_submit(struct call *call);
/* 507 with how much is left. */
void call_refuse_low_disk(struct call *call);
/* Commits it; on_reply comes once. */
void call_commit(struct call *call,
                 void (*on_reply)(struct call *call, const struct effect_reply *reply, uint64_t seq));
/* Whether a hello shows the key that the hub asks for. */
bool node_key_matches(const struct hub *hub, struct slice key);

/* --- handlers, one for each route; named in route_table.def --- */
#define ROUTE(id, method, path, handler, tag, summary, parameters, body, body_schema, answers, errors)                 \
    void handler(struct call *call);
#define ALIAS(id, method, path, of)
#include "hub/route_table.def"
#undef ROUTE
#undef ALIAS
/* Blobs: pieces of a streamed body. */
enum http_body_mode blob_put_head(struct call *call);
void blob_put_piece(struct call *call, struct slice piece);
void blob_put_gone(struct call *call);
void batches_free(struct routes *routes);
/* A task's refusal by the core with its place in the submit body. */
void problem_of_submit(struct problem *problem, const struct effect_reply *reply, const struct core *core,
                       struct slice kind, struct slice queue);
/* Who asks: the one place that decides it. */
struct command_caller call_caller(const struct call *call);
/* Refuses with the status of a reply, and what there is to say about it. */
void call_refuse_reply(struct call *call, const struct effect_reply *reply);
/* Idempotency-Key of at most `size_max`; empty when missing. False: the problem says why. */
bool call_idempotency_key(struct call *call, size_t size_max, struct slice *ret, struct problem *problem);
/* traceparent, or empty when it is missing or no such thing (it is then ignored, as W3C asks). */
struct slice call_traceparent(struct call *call);

#endif
