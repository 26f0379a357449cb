/* sessions.c - the hub's end of the nodes' connections.
 *
 *   connect ─▶ GREETING ─hello─▶ HELLO ─durable─▶ LIVE ◀──any message── SUSPECT ─lost_ms─▶ ENDING ─EFFECT_SESSION─▶ gone
 *                 │ 5 s                            │ └──suspect_ms──────▲ │                 ▲ │
 *                 ▼                                │ closed               │ closed          │ │
 *               closed                             └──────▶ CLOSED ◀──────┘ ──grace─────────┘ │
 *   hub restarted, session in the core ─▶ RETURNING ─lost_ms──────────────────────────────────┘
 *
 * The core decides what a session is; this file only notices silence and tells the core (NODE_LOST), and brings to the
 * connection what the core released. A node that comes back with the same instance gets a new session number that keeps its
 * leases; the core says so with EFFECT_SESSION for the old one, which is how the old record leaves.
 *
 * Time. Every phase has a fixed duration, so its list is in the order of its ends and one coarse timer looks only at
 * the heads: the cost of 12,500 silent seconds is that of one. The clock is a stretched one: it never advances by more than
 * CLOCK_STEP_NS a tick. When the hub itself was stopped or swapped out, its nodes' beats lie unread in the sockets;
 * with the plain clock it would call all of them lost before reading one.
 *
 * What it needs of the world (connections, a clock, a tick) comes through struct session_port; session_net.c brings the real
 * ones, the simulator its own.
 *
 * Invariants: N1 a record with a number is in by_session; N2 a record is in the list of its phase, and only there;
 * N3 a connection's user is its record, or NULL once the record let go of it; N4 is in session_hello.c. */
#include "hub/sessions.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/log.h"
#include "base/mutation.h"
#include "hub/caller.h"
#include "hub/fields.h"
#include "hub/sessions_internal.h"

#define CLOCK_STEP_NS (3 * SESSIONS_TICK_MS * NS_PER_MS)
#define GREETING_MS 5000 /* a node says hello in its first packet */
#define SCRATCH_SIZE_MAX (2 * LIMIT_WS_MESSAGE_SIZE)
#define OUT_SIZE_MAX LIMIT_HTTP_OUT_SIZE
#define SCRATCH_SIZE_KEPT (256u << 10)
#define CLOSE_POLICY 1008 /* RFC 6455 section 7.4 */
#define CLOSE_GOING_AWAY 1001
#define CLOSE_NORMAL 1000
#define CLOSE_TRY_LATER 1013

/* --- records --- */

static bool is_equal_number(const void *ctx, uint32_t value, const void *key)
{
    const uint64_t *number = key;
    return session_at(ctx, value)->session == *number;
}

static uint64_t hash_of_number(const void *ctx, uint32_t value)
{
    return hash_mix(session_at(ctx, value)->session);
}

struct session *session_find(const struct sessions *sessions, uint64_t number)
{
    uint32_t index =
        number != 0 ? map_find(&sessions->by_session, hash_mix(number), is_equal_number, sessions, &number) : MAP_NONE;
    return index != MAP_NONE ? session_at(sessions, index) : NULL;
}

struct session *session_new(struct sessions *sessions)
{
    uint32_t index = slab_alloc(&sessions->slab);
    if (index == SLAB_NONE) {
        return NULL;
    }
    struct session *session = session_at(sessions, index);
    session->magic = SESSION_MAGIC;
    session->sessions = sessions;
    session->index = index;
    session->next = session->before = SLAB_NONE;
    return session;
}

void session_set_number(struct session *session, uint64_t number)
{
    struct sessions *sessions = session->sessions;
    if (session->session == number) {
        return;
    }
    if (session->session != 0) {
        map_remove(&sessions->by_session, hash_mix(session->session), session->index, hash_of_number, sessions);
    }
    session->session = number;
    if (number != 0) {
        ensure(map_add(&sessions->by_session, hash_mix(number), session->index, hash_of_number, sessions));
    }
}

static bool phase_has_list(enum session_phase phase)
{
    return phase != SESSION_NONE && phase != SESSION_HELLO && phase != SESSION_ENDING;
}

static int64_t phase_ms(const struct sessions *sessions, enum session_phase phase)
{
    const struct hub_config *config = &sessions->hub->config;
    switch (phase) {
    case SESSION_GREETING:
        return GREETING_MS;
    case SESSION_LIVE:
        return config->suspect_ms;
    case SESSION_SUSPECT:
        return config->lost_ms - config->suspect_ms;
    case SESSION_CLOSED:
        return config->closed_grace_ms;
    case SESSION_RETURNING:
        return config->lost_ms;
    case SESSION_WORKER:
        return LIMIT_WORKER_IDLE_MS;
    default:
        return 0;
    }
}

int64_t sessions_now(const struct sessions *sessions)
{
    int64_t since_ns = sessions_mono_ns(sessions) - sessions->tick_mono_ns;
    return sessions->clock_ns + (since_ns < CLOCK_STEP_NS ? since_ns : CLOCK_STEP_NS);
}

static void list_remove(struct session *session)
{
    struct sessions *sessions = session->sessions;
    if (!phase_has_list(session->phase)) {
        return;
    }
    struct session_list *list = &sessions->lists[session->phase];
    if (session->before != SLAB_NONE) {
        session_at(sessions, session->before)->next = session->next;
    } else {
        list->head = session->next;
    }
    if (session->next != SLAB_NONE) {
        session_at(sessions, session->next)->before = session->before;
    } else {
        list->tail = session->before;
    }
    session->next = session->before = SLAB_NONE;
    list->count--;
}

static void start_ticking(struct sessions *sessions)
{
    if (sessions->is_ticking) {
        return;
    }
    sessions->is_ticking = true;
    sessions->tick_mono_ns = sessions_mono_ns(sessions);
    sessions->port.set_ticking(sessions->port.ctx, true);
}

void session_set_phase(struct session *session, enum session_phase phase)
{
    struct sessions *sessions = session->sessions;
    list_remove(session);
    session->phase = phase;
    if (!phase_has_list(phase)) {
        return;
    }
    start_ticking(sessions);
    session->due_ns = sessions_now(sessions) + phase_ms(sessions, phase) * NS_PER_MS;
    struct session_list *list = &sessions->lists[phase];
    session->before = list->tail;
    session->next = SLAB_NONE;
    if (list->tail != SLAB_NONE) {
        session_at(sessions, list->tail)->next = session->index;
    } else {
        list->head = session->index;
    }
    list->tail = session->index;
    list->count++;
}

void session_free(struct session *session)
{
    ensure_magic(session, SESSION_MAGIC);
    struct sessions *sessions = session->sessions;
    session_set_phase(session, SESSION_NONE);
    session_set_number(session, 0);
    session_hello_end(session);
    if (session->worker != NULL) {
        worker_free(session);
    }
    if (session->ws != NULL) {
        sessions->port.set_user(session->ws, NULL);
    }
    session->magic = 0;
    slab_free(&sessions->slab, session->index);
}

/* --- saying --- */

/* The buffer for one message; say() sends it. */
static struct buf *message_begin(struct sessions *sessions)
{
    buf_reset(&sessions->out);
    return &sessions->out;
}

static void say(struct session *session)
{
    struct buf *out = &session->sessions->out;
    if (session->ws != NULL && buf_status(out) == STATUS_OK) {
        session->sessions->port.send(session->ws, buf_slice(out));
    }
}

static void say_error(struct session *session, enum status status, const char *detail)
{
    work_write_error(message_begin(session->sessions), status,
                     slice_str(detail != NULL ? detail : status_title(status)));
    say(session);
}

static void say_directive(struct session *session, const struct directive *directive)
{
    work_write_beat_answer(message_begin(session->sessions), directive, 1);
    say(session);
}

/* Closes the connection; the record lets go of it at once. */
static void hang_up(struct session *session, uint16_t code, const char *reason)
{
    struct ws_connection *ws = TAKE(session->ws);
    if (ws == NULL) {
        return;
    }
    const struct session_port *port = &session->sessions->port;
    session->sessions->stats.connections--;
    port->set_user(ws, NULL);
    port->close(ws, code, reason);
}

/* --- telling the core --- */

bool session_propose_lost(struct session *session, enum lost_reason reason)
{
    struct hub *hub = session->sessions->hub;
    struct buf *out = sequencer_begin(hub->sequencer);
    if (out == NULL) {
        return false;
    }
    command_put_node_lost(out, &(struct command_node_lost){.session = session->session, .reason = reason});
    sequencer_commit(hub->sequencer, NULL);
    sessions_flush_soon(session->sessions);
    session_set_phase(session, SESSION_ENDING);
    return true;
}

/* --- hello --- */

struct hello {
    struct pending pending;
    struct session *session; /* stays: a record in HELLO is freed by the reply alone */
    uint32_t held_count;
    struct lease_token held[];
};

static void say_welcome(struct session *session, const struct hello *hello, const struct effect_reply *reply,
                        uint64_t seq)
{
    struct sessions *sessions = session->sessions;
    const struct hub_config *config = &sessions->hub->config;
    struct lease_token *lost = hello->held_count > 0 ? calloc(hello->held_count, sizeof(*lost)) : NULL;
    uint32_t lost_count = 0;
    struct reader reader = reader_of(reply->refused);
    uint32_t ordinal;
    enum status status;
    while (lost != NULL && effect_refused_next(&reader, &ordinal, &status)) {
        if (ordinal < hello->held_count && lost_count < hello->held_count) {
            lost[lost_count++] = hello->held[ordinal];
        }
    }
    struct node_view view;
    if (core_session_find(sequencer_core(sessions->hub->sequencer), session->session, &view)) {
        session->drain = view.is_draining;
        session->quiet = view.is_quiet;
    }
    struct work_welcome welcome = {.session = session->session,
                                   .beat_ms = (uint32_t)config->beat_ms,
                                   .lost_ms = (uint32_t)config->lost_ms,
                                   .seq = seq,
                                   .is_resumed = reply->is_resumed,
                                   .drain = session->drain,
                                   .quiet = session->quiet,
                                   .lost = lost,
                                   .lost_count = lost_count};
    work_write_welcome(message_begin(sessions), &welcome);
    say(session);
    free(lost);
}

static void on_hello_reply(struct pending *pending, const struct effect_reply *reply, uint64_t seq)
{
    struct hello *hello = (struct hello *)pending;
    struct session *session = hello->session;
    ensure_magic(session, SESSION_MAGIC);
    session_hello_end(session);
    if (reply->status != STATUS_OK) {
        char text[CALLER_TEXT_SIZE] = "";
        if (caller_is_refusal(reply->status)) {
            caller_refusal(sequencer_core(session->sessions->hub->sequencer), reply, text);
        }
        say_error(session, reply->status, text[0] != '\0' ? text : NULL);
        hang_up(session, CLOSE_TRY_LATER, "hello was refused");
        session_free(session);
    } else {
        session_set_number(session, reply->session);
        if (session->ws == NULL) { /* it left meanwhile */
            session_set_phase(session, SESSION_CLOSED);
        } else {
            session_set_phase(session, SESSION_LIVE);
            say_welcome(session, hello, reply, seq);
        }
    }
    free(hello);
}

/* Ends a connection whose hello is refused. */
static void refuse_hello(struct session *session, enum status status, const char *detail, uint16_t code,
                         const char *reason)
{
    say_error(session, status, detail);
    hang_up(session, code, reason);
    session_free(session);
}

/* Key and name. False: refused. */
static bool may_join(struct session *session, const struct work_message *message)
{
    struct sessions *sessions = session->sessions;
    struct slice name = message->hello.node;
    if (!node_key_matches(sessions->hub, message->key)) {
        session_log_bad_hello(sessions, BAD_HELLO_KEY, name, session->peer, status_title(STATUS_UNAUTHORIZED));
        refuse_hello(session, STATUS_UNAUTHORIZED, NULL, CLOSE_POLICY, "unauthorized");
        return false;
    }
    char detail[SESSION_DETAIL_SIZE];
    enum status status = session_check_name(sessions, &message->hello, detail);
    if (status == STATUS_OK) {
        return true;
    }
    session_log_bad_hello(sessions, BAD_HELLO_NAME, name, session->peer, detail);
    refuse_hello(session, status, detail, CLOSE_TRY_LATER, status_slug(status));
    return false;
}

static void on_hello(struct session *session, const struct work_message *message)
{
    struct sessions *sessions = session->sessions;
    struct hub *hub = sessions->hub;
    if (session->phase != SESSION_GREETING) {
        say_error(session, STATUS_BAD_REQUEST, "this connection has said hello already");
        return;
    }
    if (!may_join(session, message)) {
        return;
    }
    uint32_t held_count = message->hello.held_count;
    struct hello *hello = malloc(sizeof(*hello) + held_count * sizeof(hello->held[0]));
    bool is_open = hello != NULL && hub->is_ready && !hub->is_stopping;
    struct buf *out =
        is_open && session_hello_begin(session, message->hello.node) ? sequencer_begin(hub->sequencer) : NULL;
    if (out == NULL) {
        free(hello);
        refuse_hello(session, hub->is_ready ? STATUS_BUSY : STATUS_NOT_READY, NULL, CLOSE_TRY_LATER, "try again later");
        return;
    }
    struct node_view view;
    struct session *old;
    if (core_node_find(sequencer_core(hub->sequencer), message->hello.node, &view) &&
        view.instance == message->hello.instance && (old = session_find(sessions, view.session)) != NULL) {
        old->is_resuming = true;
    }
    hello->session = session;
    hello->held_count = held_count;
    ensure(sessions->said.len == held_count * sizeof(hello->held[0]));
    if (held_count > 0) {
        memcpy(hello->held, sessions->said.data, sessions->said.len);
    }
    hello->pending.on_reply = on_hello_reply;
    session->instance = message->hello.instance;
    struct command_node_hello complete = message->hello;
    complete.by = session->by;
    command_put_node_hello(out, &complete);
    session_set_phase(session, SESSION_HELLO);
    sequencer_commit(hub->sequencer, &hello->pending);
    sessions_flush_soon(sessions);
}

/* --- reports --- */

struct report_call {
    struct pending pending;
    uint32_t outcome_count; /* of `tokens`; those behind are of outcomes that were none */
    struct sessions *sessions;
    uint64_t session;
    uint32_t connection;
    struct buf tokens; /* struct lease_token of its outcomes */
    struct report_call *next;
};

static struct report_call *report_new(struct sessions *sessions)
{
    struct report_call *report = sessions->free_reports;
    if (report != NULL) {
        sessions->free_reports = report->next;
        return report;
    }
    report = malloc(sizeof(*report));
    if (report != NULL) {
        report->sessions = sessions;
        buf_init(&report->tokens, LIMIT_WS_MESSAGE_SIZE);
    }
    return report;
}

static void report_release(struct report_call *report)
{
    buf_reset(&report->tokens);
    report->next = report->sessions->free_reports;
    report->sessions->free_reports = report;
}

static void on_report_reply(struct pending *pending, const struct effect_reply *reply, uint64_t seq)
{
    struct report_call *report = (struct report_call *)pending;
    struct sessions *sessions = report->sessions;
    struct session *session = session_find(sessions, report->session);
    if (session == NULL || session->ws == NULL || session->connection != report->connection) {
        report_release(report); /* it will repeat what was not acknowledged */
        return;
    }
    if (reply->status != STATUS_OK) {
        /* Not applied. Without `reported` the node keeps its outcomes and says them again when it is back. */
        say_error(session, reply->status, NULL);
        if (reply->status != STATUS_SESSION_LOST) {
            hang_up(session, CLOSE_TRY_LATER, "try again later");
            session_set_phase(session, SESSION_CLOSED);
        }
        report_release(report);
        return;
    }
    const struct lease_token *tokens = (const struct lease_token *)(const void *)report->tokens.data;
    uint32_t token_count = (uint32_t)(report->tokens.len / sizeof(*tokens));
    struct buf *list = &sessions->refused;
    buf_reset(list);
    struct reader reader = reader_of(reply->refused);
    uint32_t ordinal;
    enum status status;
    uint32_t count = 0;
    for (uint32_t i = report->outcome_count; i < token_count; i++) { /* these never were a command */
        struct work_refused refused = {.token = tokens[i], .status = STATUS_INVALID};
        buf_append(list, &refused, sizeof(refused));
        count++;
    }
    while (effect_refused_next(&reader, &ordinal, &status)) {
        if (ordinal >= report->outcome_count) {
            continue;
        }
        struct work_refused refused = {.token = tokens[ordinal], .status = status};
        buf_append(list, &refused, sizeof(refused));
        count++;
    }
    if (buf_status(list) == STATUS_OK) {
        work_write_reported(message_begin(sessions), (const struct work_refused *)(const void *)list->data, count, seq);
        say(session);
    }
    report_release(report);
}

/* Proposes a report; `report` may be NULL when nobody waits. False: the hub is full. */
static bool propose_report(struct session *session, const struct command_node_report *command,
                           struct report_call *report)
{
    struct hub *hub = session->sessions->hub;
    struct buf *out = sequencer_begin(hub->sequencer);
    if (out == NULL) {
        return false;
    }
    struct command_node_report complete = *command;
    complete.session = session->session;
    command_put_node_report(out, &complete);
    sequencer_commit(hub->sequencer, report != NULL ? &report->pending : NULL);
    sessions_flush_soon(session->sessions);
    return true;
}

static void turn_away(struct session *session)
{
    say_error(session, STATUS_BUSY, NULL);
    hang_up(session, CLOSE_TRY_LATER, "try again later");
    session_set_phase(session, SESSION_CLOSED);
}

static void say_field_error(struct session *session, const struct field_error *error)
{
    char detail[sizeof(error->pointer) + sizeof(error->detail) + 4];
    snprintf(detail, sizeof(detail), "%s%s%s", error->pointer, error->pointer[0] != '\0' ? ": " : "", error->detail);
    say_error(session, error->status, detail);
}

static void on_report(struct session *session, const struct work_message *message)
{
    struct report_call *report = report_new(session->sessions);
    if (report == NULL) {
        turn_away(session);
        return;
    }
    buf_append_slice(&report->tokens, buf_slice(&session->sessions->said));
    report->outcome_count = message->report.outcome_count;
    for (size_t at = 0; at < message->bad.len; at += sizeof(struct work_bad_outcome)) {
        struct work_bad_outcome bad;
        memcpy(&bad, message->bad.data + at, sizeof(bad));
        if (bad.has_token) {
            buf_append(&report->tokens, &bad.token, sizeof(bad.token));
        }
        say_field_error(session, &bad.error);
    }
    report->session = session->session;
    report->connection = session->connection;
    report->pending.on_reply = on_report_reply;
    session->sessions->stats.reports++;
    if (buf_status(&report->tokens) != STATUS_OK || !propose_report(session, &message->report, report)) {
        report_release(report);
        turn_away(session);
    }
}

/* --- hearing --- */

static void on_beat(struct session *session, const struct work_message *message)
{
    struct directive directives[2];
    uint32_t count = 0;
    if (message->load.is_known) {
        session->load = message->load;
    }
    /* Flags are pushed when they change; repeating the ones that are set costs little and heals a lost push. */
    if (session->drain) {
        directives[count++] = (struct directive){.type = DIRECTIVE_DRAIN, .on = true};
    }
    if (session->quiet) {
        directives[count++] = (struct directive){.type = DIRECTIVE_QUIET, .on = true};
    }
    session->sessions->stats.beats++;
    work_write_beat_answer(message_begin(session->sessions), directives, count);
    say(session);
}

static void on_bad_message(struct session *session, enum status status, const struct field_error *error)
{
    struct field_error said = *error;
    said.status = status;
    say_field_error(session, &said);
    if (session->phase == SESSION_GREETING) {
        session_log_bad_hello(session->sessions, BAD_HELLO_MESSAGE, (struct slice){NULL, 0}, session->peer,
                              status_title(status));
        hang_up(session, CLOSE_POLICY, "say hello first");
        session_free(session);
    }
}

static void heard_of(struct session *session)
{
    if (session->phase == SESSION_LIVE || session->phase == SESSION_SUSPECT) {
        session_set_phase(session, SESSION_LIVE);
    }
}

static void dispatch(struct session *session, const struct work_message *message)
{
    bool has_session = session->phase == SESSION_LIVE;
    if (message->type == WORK_HELLO) {
        on_hello(session, message);
        return;
    }
    if (!has_session) {
        if (session->phase == SESSION_HELLO || session->phase == SESSION_ENDING) {
            return; /* a beat before the welcome, or anything after the leave */
        }
        session_log_bad_hello(session->sessions, BAD_HELLO_MESSAGE, (struct slice){NULL, 0}, session->peer,
                              "something else came first");
        refuse_hello(session, STATUS_BAD_REQUEST, "say hello first", CLOSE_POLICY, "say hello first");
        return;
    }
    switch (message->type) {
    case WORK_REPORT:
        on_report(session, message);
        break;
    case WORK_CREDIT: {
        struct command_node_report command = {.credit_add = message->credit};
        if (!propose_report(session, &command, NULL)) {
            turn_away(session);
        }
        break;
    }
    case WORK_BEAT:
        on_beat(session, message);
        break;
    case WORK_LEAVE:
        if (!session_propose_lost(session, LOST_LEFT)) {
            turn_away(session);
        }
        break;
    case WORK_HELLO:
        break;
    }
}

void session_on_message(struct session *session, struct slice text, bool is_text)
{
    ensure_magic(session, SESSION_MAGIC);
    struct sessions *sessions = session->sessions;
    struct field_error error = {.status = STATUS_BAD_REQUEST, .detail = "messages are JSON text"};
    heard_of(session);
    buf_reset(&sessions->scratch);
    enum status status = STATUS_BAD_REQUEST;
    if (is_text) {
        const struct work_tokens tokens = sessions_tokens(sessions);
        status = work_message_decode_checked(sessions->hub->json, text, &sessions->scratch, &tokens, &sessions->message,
                                             &error);
    }
    if (status != STATUS_OK) {
        on_bad_message(session, status, &error);
    } else {
        dispatch(session, &sessions->message);
    }
    if (sessions->scratch.cap > SCRATCH_SIZE_KEPT) {
        buf_free(&sessions->scratch);
    }
}

bool session_is_live(const struct session *session)
{
    return session->phase == SESSION_LIVE;
}

void session_on_closed(struct session *session)
{
    ensure_magic(session, SESSION_MAGIC);
    session->ws = NULL;
    session->sessions->stats.connections--;
    switch (session->phase) {
    case SESSION_LIVE:
    case SESSION_SUSPECT:
        session_set_phase(session, SESSION_CLOSED);
        break;
    case SESSION_GREETING:
        session_free(session);
        break;
    default: /* the reply to its hello, or the end of its session, finds no connection */
        break;
    }
}

void session_connected(struct session *session, struct ws_connection *ws, const char *peer)
{
    struct sessions *sessions = session->sessions;
    snprintf(session->peer, sizeof(session->peer), "%s", peer);
    session->ws = ws;
    session->connection = ++sessions->connection_number;
    sessions->stats.connections++;
    session_set_phase(session, SESSION_GREETING);
}

/* --- time --- */

/* What comes when a phase's time is over. False: the hub is full, the rest of the list waits for the next tick. */
static bool phase_ended(struct session *session)
{
    struct sessions *sessions = session->sessions;
    switch (session->phase) {
    case SESSION_GREETING:
        session_log_bad_hello(sessions, BAD_HELLO_NONE, (struct slice){NULL, 0}, session->peer, "no hello came");
        refuse_hello(session, STATUS_REQUEST_TIMEOUT, "no hello came", CLOSE_POLICY, "no hello");
        return true;
    case SESSION_LIVE:
        session_set_phase(session, SESSION_SUSPECT);
        return true;
    case SESSION_SUSPECT:
    case SESSION_RETURNING:
        if (MUTATION(deaf_to_silence)) {
            session_set_phase(session, SESSION_NONE);
            return true;
        }
        if (!session_propose_lost(session, LOST_SILENT)) {
            return false;
        }
        sessions->stats.lost_silent++;
        return true;
    case SESSION_CLOSED:
        if (!session_propose_lost(session, LOST_CLOSED)) {
            return false;
        }
        sessions->stats.lost_closed++;
        return true;
    case SESSION_WORKER:
        return workers_on_idle(session);
    default:
        ensure(!"a phase with a time");
    }
    return true;
}

void sessions_tick(struct sessions *sessions)
{
    ensure_magic(sessions, SESSIONS_MAGIC);
    sessions->clock_ns = sessions_now(sessions);
    sessions->tick_mono_ns = sessions_mono_ns(sessions);
    bool is_empty = true;
    for (unsigned phase = 0; phase < SESSION_PHASE_COUNT; phase++) {
        struct session_list *list = &sessions->lists[phase];
        while (list->head != SLAB_NONE) {
            struct session *session = session_at(sessions, list->head);
            if (session->due_ns > sessions->clock_ns || sessions->hub->is_stopping || !phase_ended(session)) {
                break;
            }
        }
        is_empty = is_empty && list->head == SLAB_NONE;
    }
    if (is_empty) {
        sessions->port.set_ticking(sessions->port.ctx, false);
        sessions->is_ticking = false;
    }
}

/* --- what the core released --- */

void sessions_on_lease(void *hub, const struct effect_lease *lease, uint64_t seq)
{
    (void)seq;
    struct sessions *sessions = ((struct hub *)hub)->sessions;
    struct session *session = sessions != NULL ? session_find(sessions, lease->session) : NULL;
    if (session == NULL) {
        return;
    }
    if (session->worker != NULL) {
        workers_on_lease(session, lease);
        return;
    }
    /* Without a connection it goes nowhere: the node's next hello does not hold it, or the node is lost. */
    if (session->ws == NULL) {
        return;
    }
    sessions->stats.leases_pushed++;
    struct work_lease_offer offer = lease->offer;
    sessions_seal(sessions, &offer.token);
    work_write_lease(message_begin(sessions), &offer);
    say(session);
}

void sessions_on_stop(void *hub, const struct effect_stop *stop)
{
    static const char *const reasons[] = {[STOP_CANCELLED] = "cancelled",
                                          [STOP_LOST] = "lost",
                                          [STOP_TIMED_OUT] = "timed-out",
                                          [STOP_EXPIRED] = "expired"};
    struct sessions *sessions = ((struct hub *)hub)->sessions;
    struct session *session = sessions != NULL ? session_find(sessions, stop->session) : NULL;
    if (session == NULL || session->ws == NULL) {
        return;
    }
    struct directive directive = {.type = DIRECTIVE_CANCEL, .token = stop->token};
    sessions_seal(sessions, &directive.token);
    const char *reason = (size_t)stop->reason < ARRAY_COUNT(reasons) ? reasons[stop->reason] : NULL;
    snprintf(directive.reason, sizeof(directive.reason), "%s", reason != NULL ? reason : "stopped");
    say_directive(session, &directive);
}

static void on_session_ended(struct session *session, enum lost_reason reason)
{
    static const char *const words[] = {
        [LOST_SILENT] = "silent", [LOST_CLOSED] = "closed", [LOST_LEFT] = "left", [LOST_REPLACED] = "replaced"};
    if (session->worker != NULL) {
        workers_on_ended(session);
        return;
    }
    if (reason == LOST_LEFT) {
        hang_up(session, CLOSE_NORMAL, "left");
    } else if (session->is_resuming) {
        hang_up(session, CLOSE_NORMAL, "the node is back on another connection");
    } else {
        struct directive directive = {.type = DIRECTIVE_TERMINATE};
        snprintf(directive.reason, sizeof(directive.reason), "%s", words[reason]);
        say_directive(session, &directive);
        hang_up(session, CLOSE_POLICY, words[reason]);
    }
    session_free(session);
}

void sessions_on_session(void *hub, const struct effect_session *effect)
{
    struct sessions *sessions = ((struct hub *)hub)->sessions;
    struct session *session = sessions != NULL ? session_find(sessions, effect->session) : NULL;
    if (session == NULL) {
        return;
    }
    if (effect->has_ended) {
        on_session_ended(session, effect->reason);
        return;
    }
    struct directive directives[2];
    uint32_t count = 0;
    if (effect->drain != session->drain) {
        directives[count++] = (struct directive){.type = DIRECTIVE_DRAIN, .on = effect->drain};
    }
    if (effect->quiet != session->quiet) {
        directives[count++] = (struct directive){.type = DIRECTIVE_QUIET, .on = effect->quiet};
    }
    session->drain = effect->drain;
    session->quiet = effect->quiet;
    if (count == 0 || session->ws == NULL) {
        return;
    }
    work_write_beat_answer(message_begin(sessions), directives, count);
    say(session);
}

void sessions_on_released(void *hub, uint64_t seq)
{
    (void)seq;
    struct sessions *sessions = ((struct hub *)hub)->sessions;
    if (sessions != NULL) {
        workers_on_released(sessions);
    }
}

/* --- facts --- */

void sessions_facts(const struct sessions *sessions, uint64_t session, struct session_facts *ret_facts)
{
    *ret_facts = (struct session_facts){0};
    const struct session *found = session_find(sessions, session);
    if (found == NULL) {
        return;
    }
    ret_facts->is_suspect = found->phase == SESSION_SUSPECT || found->phase == SESSION_CLOSED ||
                            found->phase == SESSION_RETURNING || found->phase == SESSION_ENDING;
    ret_facts->load = found->load;
}

void sessions_stats(const struct sessions *sessions, struct sessions_stats *ret_stats)
{
    *ret_stats = sessions->stats;
    ret_stats->polls = sessions->polls;
    ret_stats->workers = sessions->by_name.len;
    ret_stats->suspect = sessions->lists[SESSION_SUSPECT].count;
}

/* --- life --- */

enum status sessions_make(struct hub *hub, const struct session_port *port, struct sessions **ret_sessions)
{
    struct sessions *sessions = calloc(1, sizeof(*sessions));
    if (sessions == NULL) {
        return STATUS_NO_MEMORY;
    }
    sessions->magic = SESSIONS_MAGIC;
    sessions->hub = hub;
    sessions->port = *port;
    slab_init(&sessions->slab, sizeof(struct session), SESSIONS_MAX);
    map_init(&sessions->by_session);
    map_init(&sessions->by_name);
    map_init(&sessions->by_hello);
    for (unsigned i = 0; i < SESSION_PHASE_COUNT; i++) {
        sessions->lists[i] = (struct session_list){.head = SLAB_NONE, .tail = SLAB_NONE};
    }
    buf_init(&sessions->scratch, SCRATCH_SIZE_MAX);
    buf_init(&sessions->out, OUT_SIZE_MAX);
    buf_init(&sessions->refused, LIMIT_WS_MESSAGE_SIZE);
    buf_init(&sessions->said, WORK_LIST_MAX * sizeof(struct lease_token));
    *ret_sessions = sessions;
    return STATUS_OK;
}

void sessions_start(struct sessions *sessions)
{
    struct node_view view;
    struct core *core = sequencer_core(sessions->hub->sequencer);
    for (uint32_t i = core_node_next(core, 0); core_node_at(core, i, &view); i = core_node_next(core, i + 1)) {
        if (view.session == 0 || session_find(sessions, view.session) != NULL) {
            continue;
        }
        if (view.is_worker) {
            if (workers_adopt(sessions, &view) != STATUS_OK) {
                log_warn("worker.forgotten", "node=\"%.*s\"", SLICE_ARG(view.name));
            }
            continue;
        }
        struct session *session = session_new(sessions);
        ensure(session != NULL); /* SESSIONS_MAX is above LIMIT_NODES, and nobody has connected yet */
        session_set_number(session, view.session);
        session->instance = view.instance;
        session_set_phase(session, SESSION_RETURNING);
    }
}

void sessions_stop(struct sessions *sessions)
{
    if (sessions == NULL) {
        return;
    }
    for (uint32_t i = slab_next(&sessions->slab, 0); i != SLAB_NONE; i = slab_next(&sessions->slab, i + 1)) {
        struct session *session = session_at(sessions, i);
        if (session->ws == NULL) {
            continue;
        }
        hang_up(session, CLOSE_GOING_AWAY, "the hub is stopping");
        if (session->phase != SESSION_HELLO && session->phase != SESSION_ENDING) {
            session_set_phase(session, SESSION_NONE);
        }
    }
    workers_stop(sessions);
}

void sessions_free(struct sessions *sessions)
{
    if (sessions == NULL) {
        return;
    }
    ensure_magic(sessions, SESSIONS_MAGIC);
    for (uint32_t i = slab_next(&sessions->slab, 0); i != SLAB_NONE; i = slab_next(&sessions->slab, i + 1)) {
        session_free(session_at(sessions, i));
    }
    while (sessions->free_reports != NULL) {
        struct report_call *report = sessions->free_reports;
        sessions->free_reports = report->next;
        buf_free(&report->tokens);
        free(report);
    }
    map_free(&sessions->by_session);
    map_free(&sessions->by_name);
    map_free(&sessions->by_hello);
    slab_free_all(&sessions->slab);
    buf_free(&sessions->scratch);
    buf_free(&sessions->out);
    buf_free(&sessions->refused);
    buf_free(&sessions->said);
    sessions->port.end(sessions->port.ctx);
    sessions->magic = 0;
    free(sessions);
}
