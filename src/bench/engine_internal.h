/* engine_internal.h - what the engine's files share: a run, its phases, its users, its connections. One loop, one thread.
 *
 * Times are ns of clock_mono_ns() in here; what leaves in the result counts from the run's begin_ns. */
#ifndef SHOAL_BENCH_ENGINE_INTERNAL_H
#define SHOAL_BENCH_ENGINE_INTERNAL_H

#include "base/json.h"
#include "bench/engine.h"
#include "bench/nodes.h"
#include "bench/recovery.h"
#include "bench/sampler.h"
#include "bench/target.h"
#include "net/alarm.h"
#include "net/http_client.h"
#include "net/loop.h"
#include "net/ws_client.h"

#define REQUEST_SIZE_MAX (256u << 20) /* head and body; a larger one fails as "too large" */
#define ENGINE_LABELS_MAX 256
#define ENGINE_TASK_ID_SIZE 16
#define ENGINE_PROCESSES_MAX 128

/* --- requests, made ready (request.c) --- */

enum variable_kind { VARIABLE_TAKEN, VARIABLE_INDEX, VARIABLE_USER, VARIABLE_UUID, VARIABLE_FEED };
struct variable_plan {
    enum variable_kind kind;
    uint32_t feed, column;
};
struct step_plan {
    const struct scenario_step *step;
    uint32_t label;   /* of engine->labels */
    struct buf fixed; /* the whole request when nothing in it varies; else empty */
    bool may_repeat;  /* sending it twice does no harm */
    bool is_head;
    bool has_host, has_content_type;
};
struct flow_plan {
    const struct scenario_flow *flow;
    struct step_plan *steps;  /* owned; flow->step_count */
    uint32_t first_label;     /* of the first step that is counted; ENGINE_LABELS_MAX: there is none */
    bool begins_with_request; /* over a connection of the pool */
};

/* --- counting (tally.c) --- */

struct tally_series {
    struct bench_counts counts;
    uint64_t items;
    struct histogram *latency, *service; /* owned */
};

/* --- phases (phases.c) --- */

enum phase_state { PHASE_WAITS, PHASE_RUNS, PHASE_ENDED };
struct phase_run {
    struct engine *engine;
    struct scenario_phase plan; /* a copy, scaled in time */
    uint32_t index;
    enum phase_state state;
    int64_t begin_ns, end_ns; /* as planned; end_ns ALARM_NEVER: when its iterations are over */
    int64_t ended_ns;
    struct schedule_cursor cursor;
    struct alarm arrival;   /* OPEN: the next one; USERS: the next user that comes or goes */
    struct alarm boundary;  /* its beginning, then its end */
    uint64_t share_total;   /* of its flows */
    uint64_t arrivals;      /* begun or shed, or users that came */
    uint64_t arrivals_late; /* OPEN: begun when the phase was over already */
    uint64_t iterations;    /* flows begun */
    uint32_t users_now, users_wanted;
    struct user *users;                             /* that are in it; list */
    bool takes_no_more;                             /* OPEN: a feed has run out */
    struct tally_series *series[ENGINE_LABELS_MAX]; /* owned; NULL: not seen */
};

/* --- users (user.c) --- */

enum user_state {
    USER_FREE,
    USER_THINKS, /* until its alarm */
    USER_WAITS,  /* for a connection */
    USER_ASKS    /* an answer is due */
};
struct user_value {
    char *text; /* owned */
    uint32_t len, cap;
};
struct user {
    uint32_t magic;
    enum user_state state;
    struct engine *engine;
    struct phase_run *phase;
    struct user *next, **link; /* in phase->users, or next in engine->free_users */
    struct user *wait_next;    /* in pool.waiting */
    const struct flow_plan *flow;
    struct connection *connection; /* a closed user keeps it from flow to flow */
    struct socket *socket;         /* of ws-open; sockets.c */
    uint32_t step, times_done;
    bool is_counted;            /* the first request was scheduled while it stood in line */
    uint32_t number;            /* among the users of the phase, from 0 */
    uint32_t failures_in_a_row; /* connections that could not be made */
    uint64_t index;             /* of the arrival, or of the user's flow */
    uint64_t random;            /* of the flow; see user_random */
    uint64_t items;             /* tasks of the request under way */
    uint64_t first_op;          /* the number of the first of them */
    int64_t at_ns;              /* when it is meant to do what it does next */
    int64_t flow_at_ns;         /* when the flow was meant to begin */
    struct alarm alarm;
    struct buf out;                    /* the request, when it had to be made */
    struct user_value *values;         /* owned; per variable; NULL without variables */
    uint64_t rows[SCENARIO_FEEDS_MAX]; /* of the feeds, in this flow */
    char task_id[ENGINE_TASK_ID_SIZE]; /* TASK: accepted, not over yet */
};

/* --- connections (pool.c) --- */

struct connection {
    struct http_client *client;
    struct user *user; /* who is served; NULL when idle */
    struct connection *next;
    struct connection *all_next;
};
/* Arrivals whose time has come and for which there is no connection: kept as small as can be, there may be millions. */
struct arrival {
    int64_t at_ns;
    uint64_t index;
    struct phase_run *phase;
};
struct pool {
    uint32_t count, max;
    bool is_fixed;          /* so many, used in turn; else as few as are needed */
    struct connection *all; /* owned */
    struct connection *idle, **idle_end;
    struct user *waiting, **waiting_end; /* in the middle of a flow */
    struct arrival *arrivals;            /* owned; ring */
    size_t arrivals_head, arrivals_len, arrivals_cap;
    struct alarm arrivals_alarm; /* when the first of them has waited too long */
};

/* --- faults --- */

struct fault_run {
    struct engine *engine;
    struct scenario_fault plan; /* scaled */
    struct alarm alarm;
    int64_t next_ns;
};

struct engine {
    struct loop loop;
    struct alarms *alarms;
    struct http_origin *origin;
    char url[256];
    const struct scenario *scenario;
    const struct bench_options *options;
    struct bench_result *result;
    double time_scale;
    struct targets *targets;
    struct sampler *sampler;
    struct recovery *recovery;
    struct nodes *nodes;

    struct flow_plan flows[SCENARIO_FLOWS_MAX];
    char labels[ENGINE_LABELS_MAX][BENCH_NAME_SIZE];
    uint32_t label_count;
    bool has_takes;                  /* some flow takes values from answers */
    struct variable_plan *variables; /* owned */
    uint64_t feed_next[SCENARIO_FEEDS_MAX];
    struct buf letters; /* random text that TEXT feeds and inputs are cut from */
    struct buf scratch;
    struct json_parser *parser;

    struct phase_run *phases; /* owned */
    struct pool pool;
    struct user *free_users;
    uint32_t users_now;
    uint32_t phases_ended;
    uint32_t closed_phases;   /* of the closed model that run */
    uint32_t sockets_open;    /* WebSockets of users, until the last of their memory is gone */
    struct fault_run *faults; /* owned */

    uint64_t op_next; /* number of the next task that is submitted */

    struct histogram *second_latency; /* of the second that runs */
    struct bench_counts counted;      /* as of the last second */
    uint64_t items_counted, connects_counted;
    int64_t second_lag_max_ns;
    uint32_t seconds_cap;
    struct alarm second_alarm;
    uv_signal_t signals[3];
    int64_t begin_ns;
    int64_t cpu_begin_ns, measured_begin_ns; /* of the thread, when the first phase that counts began */
    int64_t drain_until_ns;
    uint32_t second; /* that runs */
    bool is_interrupted, is_draining, has_cpu_mark;
    double generator_cpu_percent; /* of the last second */
    int64_t second_cpu_ns, second_at_ns;
    int pids[ENGINE_PROCESSES_MAX]; /* as the sampler knows them */
};

/* engine.c */
int64_t engine_thread_cpu_ns(void);

/* validity.c */
/* Whether the run says something about the target, or the generator was in its own way: fills in the verdict. */
void validity_judge(struct engine *engine, int64_t over_ns);

/* request.c */
STATUS_MUST_CHECK enum status requests_compile(struct engine *engine, char *ret_why, size_t why_size);
void requests_free(struct engine *engine);
/* Chooses the rows of the feeds for a flow; false: a feed that gives each row once has none left. */
bool requests_choose_rows(struct engine *engine, struct user *user);
/* The bytes of the user's step, valid until its next request; false without memory. Fills in items and first_op. */
bool request_make(struct user *user, const struct step_plan *plan, struct slice *ret_bytes);
/* Text with the user's values in it, appended. */
void request_append_text(struct buf *out, struct user *user, const struct scenario_text *text);
/* What an answer has to hold, and what is taken from it. BENCH_ERROR_COUNT: all is well. */
enum bench_error request_check(struct user *user, const struct step_plan *plan, int status_code, struct slice body);
bool request_wants_body(const struct scenario_step *step);
/* The value at an RFC 6901 pointer. */
bool json_at_pointer(struct json_value root, const char *pointer, struct json_value *ret_value);

/* tally.c */
STATUS_MUST_CHECK enum status tally_prepare_phase(struct phase_run *phase);
void tally_free_phase(struct phase_run *phase);
void tally_scheduled(struct phase_run *phase, uint32_t label);
struct tally_end {
    enum bench_error error;               /* BENCH_ERROR_COUNT: it went well */
    int64_t intended_ns, sent_ns, end_ns; /* sent_ns 0: it was not */
    uint64_t items, bytes_out, bytes_in;
};
void tally_ended(struct phase_run *phase, uint32_t label, const struct tally_end *end);
void tally_shed(struct phase_run *phase, uint32_t label);
void tally_lag(struct engine *engine, int64_t lag_ns);
/* Closes a second: its line in the result, and whether everything is accounted for. */
void tally_second(struct engine *engine, uint32_t second);
/* Whether scheduled = ok + failed + timed out + shed + in flight, in every series, with what really is in flight. */
bool tally_is_conserved(const struct engine *engine);
struct bench_counts tally_total(const struct engine *engine, uint64_t *ret_items);
STATUS_MUST_CHECK enum status tally_collect(struct engine *engine);

/* phases.c */
STATUS_MUST_CHECK enum status phases_prepare(struct engine *engine, char *ret_why, size_t why_size);
void phases_start(struct engine *engine);
/* Nothing begins, arrives or ends any more, though the loop still runs. */
void phases_stop(struct engine *engine);
void phases_free(struct engine *engine);
bool phases_are_over(const struct engine *engine);
void phase_end_now(struct phase_run *phase, int64_t now_ns);
/* Names of those that run, with commas. */
void phases_names(const struct engine *engine, char *ret, size_t size);
double phases_rate_meant(const struct engine *engine, int64_t now_ns);
int64_t phases_planned_ns(const struct engine *engine);
/* The flow that an arrival or a user's flow takes: a function of seed, phase, user and index. */
const struct flow_plan *phase_choose_flow(const struct phase_run *phase, uint32_t number, uint64_t index,
                                          uint64_t *ret_random);

/* user.c */
/* One flow for an arrival, on a connection if there is one at hand. */
void user_arrive(struct phase_run *phase, const struct arrival *arrival, struct connection *connection, bool is_counted,
                 int64_t now_ns);
/* A user of the closed model comes. */
void user_join(struct phase_run *phase, uint32_t number, int64_t at_ns, int64_t now_ns);
/* Its phase is over: it ends as soon as it waits for no answer. */
void user_retire(struct user *user);
/* A connection for one that waits. */
void user_serve(struct user *user, struct connection *connection, int64_t now_ns);
http_client_done user_answered;
/* An event of its WebSocket ended the step. */
void user_step_ended(struct user *user, enum bench_error error, int64_t sent_ns, int64_t end_ns, uint64_t bytes_out,
                     uint64_t bytes_in);
uint64_t user_random(struct user *user);
/* A number from min to max, both included. */
int64_t user_draw(struct user *user, int64_t min, int64_t max);
void users_free(struct engine *engine);

/* pool.c */
STATUS_MUST_CHECK enum status pool_prepare(struct engine *engine);
void pool_free(struct engine *engine);
/* NULL: none is free and no more may be made. */
struct connection *pool_take(struct engine *engine);
void pool_give(struct engine *engine, struct connection *connection, int64_t now_ns);
void pool_wait(struct engine *engine, struct user *user);
void pool_wait_no_more(struct engine *engine, struct user *user);
/* Puts an arrival in line; false without memory. */
bool pool_queue(struct engine *engine, const struct arrival *arrival);

#endif
