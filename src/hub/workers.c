/* workers.c - workers over plain HTTP: POST /v1/leases and POST /v1/leases:report.
 *
 * A worker is a name. Its session is opened by its first poll and ends when it has not called for a while and holds
 * nothing. Credit exists only while a poll of its own waits for it: a poll sets it to `max`, and before it answers with less
 * it takes the rest back and waits until that is durable, so that no lease is ever granted to nobody.
 *
 *   LINE ──its turn──▶ ASKING ──durable──▶ WAITING ──a lease, or the time is over, or the caller left──▶ WITHDRAWING
 *                         │                   └──max leases──▶ answered                                      │ durable
 *                         └ hello or report                                       answered, or RELEASING ◀───┘
 *
 * Polls of one worker are served one after the other (LINE). Outcomes are never held up by a poll that waits: a report that
 * cannot be combined with asking for work goes to the core at once (REPORTING), and only then stands in line for leases.
 *
 * A caller that hangs up gets nothing, so what was leased for it goes back (OUTCOME_RELEASE). The call is answered
 * at once then, into the void; the poll lives on until the core has everything back.
 *
 * Invariants: K1 a worker has at most one poll in ASKING, WAITING, WITHDRAWING or RELEASING; K2 a lease that was released
 * for a worker's session is in that poll's list until it is answered or given back; K3 the core's credit for a worker
 * without such a poll is 0, or its withdrawal has been proposed. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/entropy.h"
#include "base/mutation.h"
#include "hub/caller.h"
#include "hub/sessions_internal.h"
#include "hub/task_json.h"
#include "hub/task_waits.h"

#define POLLS_IN_LINE_MAX 64         /* of one worker; more of them is a mistake, and each holds a request */
#define LEASES_SIZE_MAX (128u << 20) /* 1000 leases with an input and a checkpoint of 64 KiB each */
#define OUTCOMES_SIZE_MAX (2 * LIMIT_HTTP_BODY_SIZE)
#define LINE_MS_MIN 1000 /* the patience of a poll that wants to wait for nothing but its turn */
#define RETRY_MS 20      /* a full hub has room again after the next fsync or two */
#define NO_TASK 0        /* task_waits as a timer: no task has this id, so only the time ends the wait */

enum poll_state { POLL_LINE, POLL_REPORTING, POLL_ASKING, POLL_WAITING, POLL_WITHDRAWING, POLL_RELEASING };

struct poll {
    uint32_t magic;
    enum poll_state state;
    struct pending pending;
    struct call *call; /* NULL: the caller left */
    struct session *session;
    struct poll *next;       /* in line */
    struct poll *next_check; /* in sessions->checks */
    bool is_listed;          /* it is there */
    bool is_asked;           /* the reply to ASKING or WITHDRAWING is in */
    bool is_report;
    bool is_retried;     /* a report that met a lost session has become a hello */
    bool is_late;        /* its time is over */
    bool is_reported;    /* its outcomes are done: whatever comes, the answer tells them */
    enum status refused; /* the whole answer is this problem, and leases go back */
    enum status failed;  /* no leases, because of this */
    uint32_t max;
    int64_t due_ns; /* monotonic */
    uint32_t timer; /* TASK_WAIT_NONE, or in task_waits */
    uint32_t lease_count;
    struct buf leases;   /* JSON, separated by commas */
    struct buf tokens;   /* struct lease_token of them */
    struct buf results;  /* JSON of a report's outcomes */
    struct buf reported; /* struct lease_token of a report's outcomes */
    struct buf bad;      /* struct work_bad_outcome: what of the report is refused already */
    struct buf hello;    /* the encoded command, in case that its session must be opened */
    uint64_t facts;      /* hash of what the hello says */
};

struct worker {
    struct poll *current; /* K1 */
    struct poll *line_first, *line_last;
    uint32_t line_count;
    uint32_t poll_count; /* in any state; the record stays while there is one */
    uint64_t facts;      /* hash of what it said it is; 0: never said to this process */
    bool is_owned;       /* it has shown its session: others may not use the name meanwhile */
    uint8_t name_len;
    char name[LIMIT_NAME_SIZE];
};

static void poll_check_soon(struct poll *poll);
static void poll_start(struct poll *poll);
static void poll_withdraw(struct poll *poll);

/* --- workers --- */

static struct slice worker_name(const struct session *session)
{
    return (struct slice){session->worker->name, session->worker->name_len};
}

static bool is_equal_name(const void *ctx, uint32_t value, const void *key)
{
    return slice_equal(worker_name(session_at(ctx, value)), *(const struct slice *)key);
}

static uint64_t hash_of_name(const void *ctx, uint32_t value)
{
    return hash_keyed(entropy_hash_key(), 0, worker_name(session_at(ctx, value)));
}

struct session *worker_find(const struct sessions *sessions, struct slice name)
{
    uint32_t index =
        map_find(&sessions->by_name, hash_keyed(entropy_hash_key(), 0, name), is_equal_name, sessions, &name);
    return index != MAP_NONE ? session_at(sessions, index) : NULL;
}

/* The same for each process of one name, and unlike that of any agent: a worker that comes back resumes. */
static uint64_t worker_instance(struct slice name)
{
    return hash64(name, UINT64_C(0x5348574f524b4552)) | 1;
}

static struct session *worker_new(struct sessions *sessions, struct slice name)
{
    struct session *session = session_new(sessions);
    if (session == NULL) {
        return NULL;
    }
    session->worker = calloc(1, sizeof(*session->worker));
    if (session->worker == NULL) {
        session_free(session);
        return NULL;
    }
    struct worker *worker = session->worker;
    worker->name_len = (uint8_t)name.len;
    memcpy(worker->name, name.data, name.len);
    session->instance = worker_instance(name);
    if (!map_add(&sessions->by_name, hash_keyed(entropy_hash_key(), 0, name), session->index, hash_of_name, sessions)) {
        free(TAKE(session->worker)); /* it is in no map: worker_free must not look for it */
        session_free(session);
        return NULL;
    }
    return session;
}

enum status workers_adopt(struct sessions *sessions, const struct node_view *view)
{
    struct session *session = worker_new(sessions, view->name);
    if (session == NULL) {
        return STATUS_NO_MEMORY;
    }
    session->instance = view->instance;
    session_set_number(session, view->session);
    session_set_phase(session, SESSION_WORKER);
    struct hub *hub = sessions->hub;
    struct buf *out = view->credit > 0 && !MUTATION(worker_credit_stays) ? sequencer_begin(hub->sequencer) : NULL;
    if (out != NULL) { /* of a poll whose caller is gone with the process before */
        command_put_node_report(out, &(struct command_node_report){.session = view->session, .has_credit = true});
        sequencer_commit(hub->sequencer, NULL);
        sessions_flush_soon(sessions);
    }
    return STATUS_OK;
}

static bool worker_is_busy(const struct session *session)
{
    return session->worker->poll_count > 0;
}

static bool worker_has_leases(const struct session *session)
{
    struct node_view view;
    const struct core *core = sequencer_core(session->sessions->hub->sequencer);
    return session->session != 0 && core_session_find(core, session->session, &view) && view.leases > 0;
}

bool worker_is_there(const struct session *session)
{
    const struct sessions *sessions = session->sessions;
    int64_t heard_ns = session->due_ns - LIMIT_WORKER_IDLE_MS * NS_PER_MS; /* when its phase began */
    return worker_is_busy(session) || session->phase != SESSION_WORKER || worker_has_leases(session) ||
           sessions_now(sessions) - heard_ns < sessions->hub->config.suspect_ms * NS_PER_MS;
}

/* The worker has called: its time begins anew once nothing of it waits. */
static void worker_called(struct session *session)
{
    if (worker_is_busy(session)) {
        session_set_phase(session, SESSION_NONE);
    } else if (session->session != 0) {
        session_set_phase(session, SESSION_WORKER);
    } else {
        session_free(session);
    }
}

bool workers_on_idle(struct session *session)
{
    struct node_view view;
    struct core *core = sequencer_core(session->sessions->hub->sequencer);
    if (core_session_find(core, session->session, &view) && view.leases > 0) {
        session_set_phase(session, SESSION_WORKER); /* it may be at work for long; its leases end by themselves */
        return true;
    }
    return session_propose_lost(session, LOST_SILENT);
}

void worker_free(struct session *session)
{
    struct worker *worker = session->worker;
    map_remove(&session->sessions->by_name, hash_keyed(entropy_hash_key(), 0, worker_name(session)), session->index,
               hash_of_name, session->sessions);
    session->worker = NULL;
    free(worker);
}

/* --- polls --- */

static struct poll *poll_new(struct call *call, struct session *session)
{
    struct poll *poll = calloc(1, sizeof(*poll));
    if (poll == NULL) {
        return NULL;
    }
    poll->magic = POLL_MAGIC;
    poll->call = call;
    poll->session = session;
    poll->refused = poll->failed = STATUS_OK;
    poll->timer = TASK_WAIT_NONE;
    buf_init(&poll->leases, LEASES_SIZE_MAX);
    buf_init(&poll->tokens, WORKER_LEASES_MAX * 2 * sizeof(struct lease_token));
    buf_init(&poll->results, LEASES_SIZE_MAX);
    buf_init(&poll->reported, LIMIT_HTTP_BODY_SIZE);
    buf_init(&poll->bad, WORK_LIST_MAX * sizeof(struct work_bad_outcome));
    buf_init(&poll->hello, LIMIT_HTTP_BODY_SIZE);
    session->sessions->polls++;
    session->worker->poll_count++;
    session->sessions->port.set_poll(call, poll);
    return poll;
}

static void timer_stop(struct poll *poll)
{
    if (poll->timer != TASK_WAIT_NONE) {
        task_waits_remove(poll->session->sessions->hub->task_waits, poll->timer);
    }
    poll->timer = TASK_WAIT_NONE;
}

static void line_remove(struct poll *poll)
{
    struct worker *worker = poll->session->worker;
    struct poll *before = NULL;
    for (struct poll *at = worker->line_first; at != NULL; before = at, at = at->next) {
        if (at != poll) {
            continue;
        }
        if (before != NULL) {
            before->next = poll->next;
        } else {
            worker->line_first = poll->next;
        }
        if (worker->line_last == poll) {
            worker->line_last = before;
        }
        poll->next = NULL;
        worker->line_count--;
        return;
    }
}

/* Frees a poll that is not in line; the next one in line has its turn. */
static void poll_free(struct poll *poll)
{
    ensure_magic(poll, POLL_MAGIC);
    ensure(poll->call == NULL);
    struct session *session = poll->session;
    struct worker *worker = session->worker;
    timer_stop(poll);
    for (struct poll **at = &session->sessions->checks; poll->is_listed; at = &(*at)->next_check) {
        if (*at == poll) {
            *at = poll->next_check;
            poll->is_listed = false;
            break;
        }
    }
    if (worker->current == poll) {
        worker->current = NULL;
    }
    session->sessions->polls--;
    worker->poll_count--;
    buf_free(&poll->leases);
    buf_free(&poll->tokens);
    buf_free(&poll->results);
    buf_free(&poll->reported);
    buf_free(&poll->bad);
    buf_free(&poll->hello);
    poll->magic = 0;
    free(poll);
    if (worker->current == NULL && worker->line_first != NULL) {
        struct poll *next = worker->line_first;
        line_remove(next);
        poll_start(next);
        return;
    }
    worker_called(session);
}

static void refuse(const struct sessions *sessions, struct call *call, enum status status, const char *detail)
{
    sessions->port.refuse(call, status, detail != NULL ? detail : status_title(status));
}

/* Ends a poll with a problem. */
static void poll_refuse(struct poll *poll, enum status status, const char *detail)
{
    struct call *call = TAKE(poll->call);
    if (call != NULL) {
        refuse(poll->session->sessions, call, status, detail);
    }
    poll_free(poll);
}

static void poll_answer(struct poll *poll)
{
    struct sessions *sessions = poll->session->sessions;
    struct call *call = TAKE(poll->call);
    struct buf *out = sessions->port.answer_begin(call);
    buf_append_slice(out, SLICE("{\"session\":\""));
    session_write(sessions, out, poll->session->session);
    buf_append_char(out, '"');
    if (poll->is_report) {
        buf_append_slice(out, SLICE(",\"results\":["));
        buf_append_slice(out, buf_slice(&poll->results));
        buf_append_char(out, ']');
    }
    buf_append_slice(out, SLICE(",\"leases\":["));
    buf_append_slice(out, buf_slice(&poll->leases));
    buf_append_slice(out, SLICE("]}"));
    sessions->stats.leases_pushed += poll->lease_count;
    const struct sequencer *sequencer =
        sessions->hub->sequencer; /* NULL: the hub ends, and the next in line hears of it */
    sessions->port.answer(call, sequencer != NULL ? sequencer_durable_seq(sequencer) : 0);
    poll_free(poll);
}

/* Ends a poll that got no leases because of `status`. Outcomes that were reported before are told all the same: a
 * problem would say that nothing was taken. */
static void poll_fail(struct poll *poll, enum status status, const char *detail)
{
    if (poll->is_reported && poll->call != NULL) {
        poll_answer(poll);
    } else {
        poll_refuse(poll, status, detail);
    }
}

/* What was leased is void. */
static void drop_leases(struct poll *poll)
{
    poll->lease_count = 0;
    buf_reset(&poll->leases);
    buf_reset(&poll->tokens);
}

/* Nobody waits for this poll's answer any more. */
static void let_go(struct poll *poll)
{
    refuse(poll->session->sessions, TAKE(poll->call), STATUS_CANCELLED, NULL); /* goes nowhere; it ends the request */
}

/* Whether leases would go to a caller that has hung up although nobody has said so yet. Then nobody waits any more, and
 * they go back now instead of when their time is over. */
static bool has_left(struct poll *poll)
{
    if (poll->lease_count == 0 || poll->session->sessions->port.is_there(poll->call) || MUTATION(worker_answers_gone)) {
        return false;
    }
    let_go(poll);
    return true;
}

void workers_gone(struct poll *poll)
{
    ensure_magic(poll, POLL_MAGIC);
    let_go(poll);
    if (poll->state == POLL_LINE) {
        line_remove(poll);
        poll_free(poll);
    } else if (poll->state == POLL_WAITING) {
        struct sessions *sessions = poll->session->sessions;
        poll_withdraw(poll);
        workers_on_released(sessions);
    }
}

/* --- time --- */

static void on_time(void *ctx, bool is_final)
{
    struct poll *poll = ctx;
    ensure_magic(poll, POLL_MAGIC);
    struct sessions *sessions = poll->session->sessions;
    (void)is_final;
    poll->timer = TASK_WAIT_NONE;
    poll->is_late = poll->is_late || poll->state == POLL_LINE || sessions_mono_ns(sessions) >= poll->due_ns ||
                    sessions->hub->is_stopping;
    if (poll->state == POLL_LINE) { /* asked nobody: nothing to take back */
        line_remove(poll);
        if (poll->session->session == 0) {
            poll_fail(poll, STATUS_BUSY, "another call of this worker is being served");
        } else {
            poll_answer(poll);
        }
    } else if (poll->state == POLL_WAITING) {
        poll_withdraw(poll);
        workers_on_released(sessions);
    } else if (poll->state == POLL_RELEASING) {
        poll_check_soon(poll);
        workers_on_released(sessions);
    }
}

static bool timer_start(struct poll *poll, int64_t wait_ms)
{
    return task_waits_add(poll->session->sessions->hub->task_waits, NO_TASK, wait_ms, on_time, poll, &poll->timer) ==
           STATUS_OK;
}

/* --- to the core and back --- */

static void poll_check_soon(struct poll *poll)
{
    if (poll->is_listed) {
        return;
    }
    struct sessions *sessions = poll->session->sessions;
    poll->is_listed = true;
    poll->next_check = sessions->checks;
    sessions->checks = poll;
}

/* Proposes a report for the poll's session. False: the hub is full. */
static bool poll_propose(struct poll *poll, const struct command_node_report *command,
                         void (*on_reply)(struct pending *pending, const struct effect_reply *reply, uint64_t seq))
{
    struct sessions *sessions = poll->session->sessions;
    struct hub *hub = sessions->hub;
    struct buf *out = hub->sequencer != NULL ? sequencer_begin(hub->sequencer) : NULL;
    if (out == NULL) {
        return false;
    }
    struct command_node_report complete = *command;
    complete.session = poll->session->session;
    command_put_node_report(out, &complete);
    poll->pending.on_reply = on_reply;
    poll->is_asked = false;
    sequencer_commit(hub->sequencer, &poll->pending);
    sessions_flush_soon(sessions);
    return true;
}

static struct poll *poll_of(struct pending *pending)
{
    struct poll *poll = (struct poll *)((char *)pending - offsetof(struct poll, pending));
    ensure_magic(poll, POLL_MAGIC);
    return poll;
}

static void on_withdrawn(struct pending *pending, const struct effect_reply *reply, uint64_t seq)
{
    struct poll *poll = poll_of(pending);
    struct sessions *sessions = poll->session->sessions;
    (void)seq;
    poll->is_asked = true;
    poll_check_soon(poll);
    if (reply->status != STATUS_OK) { /* the session has ended, or the hub is ending: its leases are void, or expire */
        poll->failed = reply->status;
        drop_leases(poll);
        workers_on_released(sessions); /* nothing may be released with such a reply */
    }
}

/* The withdrawal cannot be proposed now: again in a moment, or never when the hub is ending. */
static void withdraw_later(struct poll *poll)
{
    struct hub *hub = poll->session->sessions->hub;
    poll->state = POLL_RELEASING;
    if (!hub->is_stopping && hub->sequencer != NULL && timer_start(poll, RETRY_MS)) {
        return;
    }
    drop_leases(poll); /* they expire */
    poll->failed = STATUS_NOT_READY;
    poll->state = POLL_WITHDRAWING;
    poll->is_asked = true;
    poll_check_soon(poll);
}

/* Takes the rest of the credit back, and gives back what nobody is there to take. */
static void poll_withdraw(struct poll *poll)
{
    struct sessions *sessions = poll->session->sessions;
    struct hub *hub = sessions->hub;
    timer_stop(poll);
    if (poll->session->session == 0) { /* ended meanwhile: nothing is left to take back */
        drop_leases(poll);
        poll->failed = STATUS_SESSION_LOST;
        poll->state = POLL_WITHDRAWING;
        poll->is_asked = true;
        poll_check_soon(poll);
        return;
    }
    /* begin may flush, and a flush may answer: what is shared is written only after it. */
    struct buf *out = hub->sequencer != NULL ? sequencer_begin(hub->sequencer) : NULL;
    if (out == NULL) {
        withdraw_later(poll);
        return;
    }
    struct command_node_report command = {.session = poll->session->session, .has_credit = true};
    if (poll->call == NULL || poll->refused != STATUS_OK) {
        const struct lease_token *tokens = (const struct lease_token *)(const void *)poll->tokens.data;
        if (MUTATION(worker_lease_leaks)) {
            drop_leases(poll);
        }
        buf_reset(&sessions->refused);
        for (uint32_t i = 0; i < poll->lease_count; i++) {
            outcome_put(&sessions->refused, &(struct outcome){.type = OUTCOME_RELEASE,
                                                              .token = tokens[i],
                                                              .message = SLICE("the worker's connection closed")});
        }
        command.outcome_count = poll->lease_count;
        command.outcomes = buf_slice(&sessions->refused);
        drop_leases(poll);
    }
    command_put_node_report(out, &command);
    poll->pending.on_reply = on_withdrawn;
    poll->is_asked = false;
    poll->state = POLL_WITHDRAWING;
    sequencer_commit(hub->sequencer, &poll->pending);
    sessions_flush_soon(sessions);
}

/* A reply to hello or to a report with credit: from here the poll waits for leases. */
static void poll_asked(struct poll *poll)
{
    poll->state = POLL_WAITING;
    poll->is_asked = true;
    poll_check_soon(poll);
}

static void on_hello_reply(struct pending *pending, const struct effect_reply *reply, uint64_t seq)
{
    struct poll *poll = poll_of(pending);
    struct session *session = poll->session;
    (void)seq;
    if (reply->status != STATUS_OK) {
        char text[CALLER_TEXT_SIZE] = "";
        if (caller_is_refusal(reply->status)) {
            caller_refusal(sequencer_core(session->sessions->hub->sequencer), reply, text);
        }
        session->worker->facts = 0;
        poll_refuse(poll, reply->status, text[0] != '\0' ? text : NULL);
        return;
    }
    session_set_number(session, reply->session);
    poll_asked(poll);
}

static void write_result(struct poll *poll, const struct lease_token *token, const struct problem *problem)
{
    struct buf *out = &poll->results;
    buf_append_slice(out, out->len == 0 ? SLICE("{") : SLICE(",{"));
    if (token != NULL) {
        char text[LEASE_TOKEN_TEXT_SIZE];
        lease_token_format(token, text);
        buf_append_slice(out, SLICE("\"token\":\""));
        buf_append_str(out, text);
        buf_append_slice(out, SLICE("\","));
    }
    if (problem == NULL) {
        buf_append_slice(out, SLICE("\"ok\":true}"));
        return;
    }
    buf_append_slice(out, SLICE("\"ok\":false,\"error\":"));
    problem_write(out, problem);
    buf_append_char(out, '}');
}

/* The results in the order of the items: those that were bad from the start, and what became of the others. */
static void write_results(struct poll *poll, const struct effect_reply *reply)
{
    const struct lease_token *tokens = (const struct lease_token *)(const void *)poll->reported.data;
    const struct work_bad_outcome *bad = (const struct work_bad_outcome *)(const void *)poll->bad.data;
    uint32_t count = (uint32_t)(poll->reported.len / sizeof(*tokens));
    uint32_t bad_left = (uint32_t)(poll->bad.len / sizeof(*bad)), total = count + bad_left;
    struct reader reader = reader_of(reply->refused);
    uint32_t refused = UINT32_MAX;
    enum status status = STATUS_OK;
    bool has_refused = effect_refused_next(&reader, &refused, &status);
    for (uint32_t i = 0, at = 0; i < total; i++) {
        struct problem problem;
        problem_init(&problem);
        if (bad_left > 0 && bad->ordinal == i) {
            problem_add_field_error(&problem, &bad->error);
            write_result(poll, bad->has_token ? &bad->token : NULL, &problem);
            bad++;
            bad_left--;
            continue;
        }
        bool is_refused = has_refused && refused == at && !MUTATION(worker_report_unfenced);
        if (is_refused) {
            problem_set(&problem, status, "%s", status_title(status));
            poll->refused = total == 1 ? status : poll->refused;
            has_refused = effect_refused_next(&reader, &refused, &status);
        }
        write_result(poll, &tokens[at++], is_refused ? &problem : NULL);
    }
}

static void stand_in_line(struct poll *poll);

/* The reply to a report: its outcomes are done; with credit it now waits for leases too. */
static void on_report_reply(struct pending *pending, const struct effect_reply *reply, uint64_t seq)
{
    struct poll *poll = poll_of(pending);
    (void)seq;
    if (reply->status != STATUS_OK) {
        if (reply->status == STATUS_SESSION_LOST && !poll->is_report && !poll->is_retried && poll->call != NULL) {
            poll->is_retried = true; /* it believed in a session that has ended: says hello */
            poll->session->worker->facts = 0;
            session_set_number(poll->session, 0);
            poll_start(poll);
            return;
        }
        poll_fail(poll, reply->status, NULL);
        return;
    }
    if (poll->is_report && !poll->is_reported) { /* else they were reported before it stood in line */
        write_results(poll, reply);
        poll->is_reported = poll->refused == STATUS_OK;
    }
    if (poll->state == POLL_ASKING) {
        poll_asked(poll);
    } else if (poll->call == NULL) {
        poll_free(poll);
    } else if (poll->refused != STATUS_OK) {
        poll_refuse(poll, poll->refused, NULL);
    } else if (poll->max == 0 || poll->is_late) {
        poll_answer(poll);
    } else {
        stand_in_line(poll);
    }
}

/* --- a poll's way --- */

static uint64_t hash_facts(const struct command_node_hello *hello)
{
    uint64_t hash = hash_mix(hello->facts.cpu_milli) ^ hash_mix(hello->facts.memory_mib + UINT64_C(0x100000000)) ^
                    hash_mix(hello->facts.gpu + UINT64_C(0x200000000));
    for (uint32_t i = 0; i < hello->kind_count; i++) {
        hash = hash64(hello->kinds[i], hash);
    }
    for (uint32_t i = 0; i < hello->facts.label_count; i++) {
        hash = hash64(hello->facts.labels[i], hash + 1);
    }
    return hash | 1;
}

/* It is this poll's turn: asks the core for leases, with a hello if that is needed. */
static void poll_start(struct poll *poll)
{
    struct session *session = poll->session;
    struct sessions *sessions = session->sessions;
    struct hub *hub = sessions->hub;
    session->worker->current = poll;
    poll->state = POLL_ASKING;
    session_set_phase(session, SESSION_NONE);
    if (hub->sequencer == NULL || hub->is_stopping) {
        poll_fail(poll, STATUS_NOT_READY, NULL);
        return;
    }
    if (!poll->is_report && (session->session == 0 || session->worker->facts != poll->facts)) {
        struct buf *out = sequencer_begin(hub->sequencer);
        if (out == NULL) {
            poll_refuse(poll, STATUS_BUSY, NULL);
            return;
        }
        buf_append_slice(out, buf_slice(&poll->hello));
        session->worker->facts = poll->facts;
        poll->pending.on_reply = on_hello_reply;
        sequencer_commit(hub->sequencer, &poll->pending);
        sessions_flush_soon(sessions);
        return;
    }
    struct command_node_report command = {.has_credit = true, .credit_set = poll->max};
    if (session->session == 0) {
        poll_fail(poll, STATUS_SESSION_LOST, NULL);
    } else if (!poll_propose(poll, &command, on_report_reply)) {
        poll_fail(poll, STATUS_BUSY, NULL);
    }
}

static void stand_in_line(struct poll *poll)
{
    struct worker *worker = poll->session->worker;
    if (worker->current == NULL) {
        poll_start(poll);
        return;
    }
    if (worker->line_count >= POLLS_IN_LINE_MAX) {
        poll_fail(poll, STATUS_BUSY, "too many calls of this worker wait");
        return;
    }
    poll->state = POLL_LINE;
    poll->next = NULL;
    if (worker->line_last != NULL) {
        worker->line_last->next = poll;
    } else {
        worker->line_first = poll;
    }
    worker->line_last = poll;
    worker->line_count++;
}

/* Whether a call may go on under a worker's name; `session` is its record, or NULL. A worker that shows its session keeps
 * others away: they get the name when it is silent and holds nothing, and then with another instance, which ends its session.
 * One that never does shares its name with all who use it. */
static enum status check_worker(const struct sessions *sessions, struct session *session,
                                const struct command_node_hello *hello, uint64_t shown,
                                char ret_detail[SESSION_DETAIL_SIZE])
{
    bool is_open = session != NULL && session->session != 0;
    if (shown != 0 && (!is_open || shown != session->session)) {
        snprintf(ret_detail, SESSION_DETAIL_SIZE, "that session has ended; ask without it to open another one");
        return STATUS_SESSION_LOST;
    }
    if (!is_open) {
        return session_check_name(sessions, hello, ret_detail);
    }
    if (shown != 0) {
        session->worker->is_owned = true;
        return STATUS_OK;
    }
    if (!session->worker->is_owned) {
        return STATUS_OK;
    }
    if (worker_is_there(session)) {
        snprintf(ret_detail, SESSION_DETAIL_SIZE,
                 "a worker named %.*s is at work; show its session, choose another name or wait until it is gone",
                 SLICE_ARG(hello->node));
        return STATUS_NAME_TAKEN;
    }
    session->instance = hash64(hello->node, session->session) | 1;
    session->worker->is_owned = false;
    session->worker->facts = 0;
    return STATUS_OK;
}

void workers_poll(struct sessions *sessions, struct call *call, struct command_node_hello *hello, uint64_t shown,
                  int64_t wait_ms)
{
    struct session *session = worker_find(sessions, hello->node);
    hello->is_worker = true;
    hello->instance = worker_instance(hello->node);
    char detail[SESSION_DETAIL_SIZE];
    enum status status = check_worker(sessions, session, hello, shown, detail);
    if (status != STATUS_OK) {
        refuse(sessions, call, status, detail);
        return;
    }
    if (session == NULL) {
        session = worker_new(sessions, hello->node);
    }
    if (session == NULL) {
        refuse(sessions, call, STATUS_BUSY, NULL);
        return;
    }
    struct poll *poll = poll_new(call, session);
    if (poll == NULL) {
        worker_called(session);
        refuse(sessions, call, STATUS_BUSY, NULL);
        return;
    }
    hello->instance = session->instance;
    poll->max = hello->credit;
    poll->due_ns = sessions_mono_ns(sessions) + wait_ms * NS_PER_MS;
    poll->facts = hash_facts(hello);
    command_put_node_hello(&poll->hello, hello);
    poll->is_late = wait_ms == 0;
    if (session->worker->current != NULL && wait_ms < LINE_MS_MIN) {
        wait_ms = LINE_MS_MIN; /* for its turn; then it waits no longer than it asked for */
    }
    if (buf_status(&poll->hello) != STATUS_OK || (wait_ms > 0 && !timer_start(poll, wait_ms))) {
        poll_refuse(poll, STATUS_BUSY, NULL);
    } else {
        stand_in_line(poll);
    }
}

void workers_report(struct sessions *sessions, struct call *call, uint64_t number, uint32_t count,
                    struct slice outcomes, const struct lease_token *said, struct slice bad, uint32_t max,
                    int64_t wait_ms)
{
    struct session *session = session_find(sessions, number);
    if (session == NULL || session->worker == NULL || session->phase == SESSION_ENDING) {
        refuse(sessions, call, STATUS_SESSION_LOST, "the session has ended; POST /v1/leases opens another one");
        return;
    }
    struct poll *poll = poll_new(call, session);
    if (poll == NULL) {
        refuse(sessions, call, STATUS_BUSY, NULL);
        return;
    }
    poll->is_report = true;
    poll->is_late = wait_ms == 0;
    poll->max = max;
    poll->due_ns = sessions_mono_ns(sessions) + wait_ms * NS_PER_MS;
    buf_append(&poll->reported, said, count * sizeof(*said));
    buf_append_slice(&poll->bad, bad);
    /* One command for both where the poll can be the current one at once. */
    bool is_current = max > 0 && session->worker->current == NULL;
    poll->state = is_current ? POLL_ASKING : POLL_REPORTING;
    if (is_current) {
        session->worker->current = poll;
    }
    session_set_phase(session, SESSION_NONE);
    struct command_node_report command = {
        .has_credit = is_current, .credit_set = is_current ? max : 0, .outcome_count = count, .outcomes = outcomes};
    sessions->stats.reports++;
    if (buf_status(&poll->reported) != STATUS_OK || buf_status(&poll->bad) != STATUS_OK ||
        (wait_ms > 0 && max > 0 && !timer_start(poll, wait_ms)) || !poll_propose(poll, &command, on_report_reply)) {
        poll_refuse(poll, STATUS_BUSY, NULL);
    }
}

/* --- what the core released --- */

/* A lease that no poll is there to take: goes back at once. */
static void give_back(struct session *session, const struct lease_token *token)
{
    struct sessions *sessions = session->sessions;
    struct hub *hub = sessions->hub;
    struct buf *out = sequencer_begin(hub->sequencer);
    if (out == NULL) {
        return; /* then it expires */
    }
    struct buf *outcomes = &sessions->refused;
    buf_reset(outcomes);
    outcome_put(outcomes,
                &(struct outcome){.type = OUTCOME_RELEASE, .token = *token, .message = SLICE("nobody asked for it")});
    command_put_node_report(
        out, &(struct command_node_report){
                 .session = session->session, .has_credit = true, .outcome_count = 1, .outcomes = buf_slice(outcomes)});
    sequencer_commit(hub->sequencer, NULL);
    sessions_flush_soon(sessions);
}

/* Any poll that is there; for a planted bug. */
static struct poll *some_poll(const struct sessions *sessions)
{
    for (uint32_t i = slab_next(&sessions->slab, 0); i != SLAB_NONE; i = slab_next(&sessions->slab, i + 1)) {
        const struct worker *worker = session_at(sessions, i)->worker;
        if (worker != NULL && worker->current != NULL) {
            return worker->current;
        }
    }
    return NULL;
}

void workers_on_lease(struct session *session, const struct effect_lease *lease)
{
    struct poll *poll = session->worker->current;
    if (MUTATION(worker_wakes_wrong)) {
        poll = some_poll(session->sessions);
    }
    if (poll == NULL) {
        give_back(session, &lease->offer.token);
        return;
    }
    if (poll->lease_count > 0) {
        buf_append_char(&poll->leases, ',');
    }
    struct work_lease_offer offer = lease->offer;
    sessions_seal(poll->session->sessions, &offer.token);
    work_write_offer(&poll->leases, &offer);
    buf_append(&poll->tokens, &lease->offer.token, sizeof(lease->offer.token));
    poll->lease_count++;
    if (!MUTATION(worker_poll_forgotten) || (lease->offer.token.seq & 7) != 0) {
        poll_check_soon(poll);
    }
}

static void poll_check(struct poll *poll)
{
    struct sessions *sessions = poll->session->sessions;
    bool is_void = poll->call == NULL || poll->refused != STATUS_OK;
    switch (poll->state) {
    case POLL_WAITING:
        is_void = is_void || has_left(poll);
        if (!is_void && (poll->max == 0 || poll->lease_count >= poll->max)) {
            poll_answer(poll);
        } else if (is_void || poll->lease_count > 0 || poll->is_late || sessions_mono_ns(sessions) >= poll->due_ns) {
            poll_withdraw(poll);
        }
        break;
    case POLL_WITHDRAWING:
        if (!poll->is_asked) {
            break;
        }
        is_void = is_void || has_left(poll);
        if (is_void && poll->lease_count > 0) {
            poll_withdraw(poll); /* these came while the first ones went back */
        } else if (poll->refused != STATUS_OK || poll->call == NULL) {
            poll_refuse(poll, poll->refused, NULL);
        } else if (poll->failed != STATUS_OK) {
            poll_fail(poll, poll->failed, NULL);
        } else {
            poll_answer(poll);
        }
        break;
    case POLL_RELEASING:
        if (poll->timer == TASK_WAIT_NONE) {
            poll_withdraw(poll);
        }
        break;
    case POLL_LINE:
    case POLL_REPORTING:
    case POLL_ASKING:
        break;
    }
}

void workers_on_released(struct sessions *sessions)
{
    while (sessions->checks != NULL) {
        struct poll *poll = sessions->checks;
        ensure_magic(poll, POLL_MAGIC);
        sessions->checks = poll->next_check;
        poll->is_listed = false;
        poll_check(poll);
    }
}

void workers_on_ended(struct session *session)
{
    struct worker *worker = session->worker;
    worker->facts = 0;
    session_set_number(session, 0);
    struct poll *poll = worker->current;
    if (poll == NULL) {
        worker_called(session);
        return;
    }
    drop_leases(poll); /* they ended with the session */
    if (poll->state == POLL_WAITING || poll->state == POLL_RELEASING) {
        poll->failed = STATUS_SESSION_LOST;
        poll->state = POLL_WITHDRAWING;
        poll->is_asked = true;
        timer_stop(poll);
        poll_check_soon(poll);
    }
}

void workers_stop(struct sessions *sessions)
{
    for (uint32_t i = slab_next(&sessions->slab, 0); i != SLAB_NONE; i = slab_next(&sessions->slab, i + 1)) {
        struct session *session = session_at(sessions, i);
        struct worker *worker = session->worker;
        if (worker == NULL) {
            continue;
        }
        while (worker->line_first != NULL) {
            struct poll *poll = worker->line_first;
            line_remove(poll);
            poll_fail(poll, STATUS_NOT_READY, NULL); /* K1: there is a current one, so the record stays */
        }
        if (worker->current != NULL && worker->current->state == POLL_WAITING) {
            worker->current->is_late = true;
            poll_withdraw(worker->current);
        }
    }
    workers_on_released(sessions);
}
