/* agent.c - leases in, outcomes out, whatever happens to the connection.
 *
 * Time, timers and the connection itself come through struct agent_port: agent_net.c has the real ones, the simulator its
 * own. What is here never touches the world.
 *
 * The session:
 *
 *   OFFLINE ──timer──▶ CONNECTING ──open, hello──▶ GREETING ──welcome──▶ ONLINE ──▶ LEAVING
 *      ▲                   │                           │                    │           │
 *      └───────closed──────┴───────────closed──────────┴──────closed────────┘        closed ─▶ ended
 *
 * A job (one attempt in one slot):
 *
 *   RUNNING ──done──▶ FINISHED ──reported──▶ gone
 *      └─cancel, time-out, lease lost, drain over─▶ STOPPING ──done──▶ FINISHED, or gone when the lease is lost
 *
 * The hub never waits for a node, and a node never needs the hub to work: a job runs on while the connection is away, its
 * outcome waits, and `hello.held` names every job, running or finished, so that the hub keeps their leases. What the hub no
 * longer wants comes back in `welcome.lost` and is dropped.
 *
 * Invariants:
 *  A1 a job that has a run occupies its slot; free_slots + jobs with a run = slots
 *  A2 credit at the hub + credit not yet said + jobs with a run <= slots: a lease beyond that is given back
 *  A3 an outcome is kept until a `reported` answers the report that carried it on this very connection
 *  A4 reports are answered in order, so the n-th `reported` of a connection answers its n-th report
 *
 * Outcomes that come up in one turn of the loop leave in one report, flushed before the loop waits.
 * Rejected: credit beyond the free slots (prefetch). It would hide a millisecond between two tasks and hold work that an
 * idle node elsewhere could start now. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/ensure.h"
#include "base/log.h"
#include "base/mutation.h"
#include "node/agent_internal.h"

static void connect_now(struct agent *agent);
static void end_with(struct agent *agent, enum status status, const char *why);

/* --- saying it --- */

static void send_text(struct agent *agent)
{
    if (buf_status(&agent->text) != STATUS_OK) {
        log_error("node.send", "why=\"a message does not fit into memory\"");
        return;
    }
    agent->port.send(agent->port.ctx, buf_slice(&agent->text));
}

static void send_report(struct agent *agent)
{
    buf_reset(&agent->text);
    work_write_report(&agent->text, buf_slice(&agent->list), agent->credit_unsaid);
    agent->credit_at_hub += agent->credit_unsaid;
    agent->credit_unsaid = 0;
    agent->reports_sent++;
    send_text(agent);
    buf_reset(&agent->list);
}

/* Notes first, so that nothing said of a job follows its end. */
static void flush(struct agent *agent)
{
    buf_reset(&agent->list);
    buf_append_slice(&agent->list, buf_slice(&agent->notes));
    buf_reset(&agent->notes);
    for (struct job *job = agent->jobs; job != NULL; job = job->next) {
        if (job->state != JOB_FINISHED || job->report_number != 0) {
            continue;
        }
        if (agent->list.len > 0 && agent->list.len + job->outcome.len > REPORT_SIZE_MAX) {
            send_report(agent);
        }
        if (agent->list.len > 0) {
            buf_append_char(&agent->list, ',');
        }
        buf_append_slice(&agent->list, buf_slice(&job->outcome));
        job->report_number = agent->reports_sent + 1;
    }
    if (agent->list.len > 0) {
        send_report(agent);
    } else if (agent->credit_unsaid > 0) {
        buf_reset(&agent->text);
        work_write_credit(&agent->text, agent->credit_unsaid);
        agent->credit_at_hub += agent->credit_unsaid;
        agent->credit_unsaid = 0;
        send_text(agent);
    }
}

void agent_on_flush(struct agent *agent)
{
    ensure_magic(agent, AGENT_MAGIC);
    if (agent->state == AGENT_ONLINE && !agent->is_ending) {
        flush(agent);
    }
    agent_check_end(agent);
}

void agent_mark_dirty(struct agent *agent)
{
    if (!agent->is_leaving_world) {
        agent->port.flush_soon(agent->port.ctx);
    }
}

static void close_connection(struct agent *agent)
{
    agent->port.close(agent->port.ctx);
}

static void on_beat_timer(struct agent *agent)
{
    if (agent->state != AGENT_ONLINE) {
        return;
    }
    /* The hub answers every beat: silence means that the connection is dead, whatever TCP believes. */
    if (agent_now_ns(agent) - agent->heard_ns > agent->lost_ms * NS_PER_MS && !MUTATION(agent_deaf)) {
        log_warn("node.silent", "why=\"the hub has said nothing for %" PRId64 " ms\"", agent->lost_ms);
        close_connection(agent);
        return;
    }
    agent_set_timer(agent, AGENT_TIMER_BEAT, agent->beat_ms);
    struct work_load load = {.is_known = true};
    if (agent->config.sample_load != NULL) {
        agent->config.sample_load(agent->config.ctx, &load);
    }
    load.running = agent_runs(agent);
    buf_reset(&agent->text);
    work_write_beat(&agent->text, &load);
    send_text(agent);
}

static void send_hello(struct agent *agent)
{
    buf_reset(&agent->list);
    uint32_t held_count = 0;
    for (const struct job *job = agent->jobs; job != NULL; job = job->next) {
        if (job->end == END_DROPPED || (job->state == JOB_FINISHED && MUTATION(agent_forgets_held))) {
            continue;
        }
        buf_append(&agent->list, &job->token, sizeof(job->token));
        held_count++;
    }
    if (!MUTATION(agent_grants_twice)) {
        agent->credit_unsaid = 0;
    }
    agent->credit_at_hub = agent_takes_work(agent) ? agent->free_slots : 0;
    struct command_node_hello hello = {.node = agent->config.name,
                                       .instance = agent->config.instance,
                                       .owner = agent->config.owner,
                                       .start = agent->config.start,
                                       .facts = agent->config.facts,
                                       .info = agent->config.info,
                                       .kind_count = agent->config.kind_count,
                                       .credit = agent->credit_at_hub,
                                       .held_count = held_count};
    for (uint32_t i = 0; i < agent->config.kind_count; i++) {
        hello.kinds[i] = slice_str(agent->config.kinds[i].launcher->kind);
    }
    buf_reset(&agent->text);
    work_write_hello(&agent->text, &hello, (const struct lease_token *)(const void *)agent->list.data,
                     agent->config.key);
    buf_reset(&agent->list);
    send_text(agent);
}

/* --- hearing it --- */

static void handle_welcome(struct agent *agent, const struct work_welcome *welcome)
{
    agent->state = AGENT_ONLINE;
    agent->backoff_ms = BACKOFF_MIN_MS;
    agent->beat_ms = welcome->beat_ms;
    agent->lost_ms = welcome->lost_ms > 2 * welcome->beat_ms ? welcome->lost_ms : 2 * welcome->beat_ms;
    agent->stats.connects++;
    agent_set_timer(agent, AGENT_TIMER_CONNECT, AGENT_TIMER_OFF);
    agent_set_timer(agent, AGENT_TIMER_BEAT, agent->beat_ms);
    agent->said_refused = STATUS_OK;
    bool is_first = !agent->was_welcomed;
    agent->was_welcomed = true;
    log_info("node.welcome", "hub=%s resumed=%s held=%" PRIu32 " lost=%" PRIu32 "%s%s", agent->config.hub_url,
             welcome->is_resumed ? "yes" : "no", agent->job_count, welcome->lost_count,
             welcome->drain ? " drain=on" : "", welcome->quiet ? " quiet=on" : "");
    for (uint32_t i = 0; i < welcome->lost_count; i++) {
        struct job *job = agent_job_find(agent, &welcome->lost[i]);
        if (job != NULL && !MUTATION(agent_keeps_lost)) {
            agent_job_drop(job, "the hub gave the task to somebody else while it was away");
        }
    }
    for (struct job *job = agent->jobs; job != NULL; job = job->next) {
        job->extend_due_ns =
            job->state == JOB_RUNNING ? 0 : INT64_MAX; /* leases ran on while nobody could extend them */
    }
    agent_mark_dirty(agent);
    if (agent->is_draining && agent->credit_at_hub > 0) { /* the drain began between hello and welcome */
        buf_reset(&agent->text);
        work_write_credit_set(&agent->text, 0);
        agent->credit_at_hub = 0;
        agent->reports_sent++;
        send_text(agent);
    }
    agent_arm_work_timer(agent);
    if (agent->config.on_welcome != NULL) {
        agent->config.on_welcome(agent->config.ctx, is_first);
    }
    agent_check_end(agent);
}

static void handle_reported(struct agent *agent, const struct work_answer *answer)
{
    agent->reports_answered++;
    for (uint32_t i = 0; i < answer->refused_count; i++) {
        struct job *job = agent_job_find(agent, &answer->refused[i].token);
        if (job == NULL) {
            continue;
        }
        if (job->state != JOB_FINISHED || job->report_number == agent->reports_answered) {
            agent_job_drop(job, status_title(answer->refused[i].status));
        }
    }
    struct job *next;
    for (struct job *job = agent->jobs; job != NULL; job = next) {
        next = job->next;
        bool is_answered = job->report_number <= agent->reports_answered || MUTATION(agent_frees_early);
        if (job->state == JOB_FINISHED && job->report_number != 0 && is_answered) {
            agent_job_free(job);
        }
    }
    agent_check_end(agent);
}

static void handle_directive(struct agent *agent, const struct directive *directive)
{
    struct job *job;
    switch (directive->type) {
    case DIRECTIVE_CANCEL:
        job = agent_job_find(agent, &directive->token);
        if (job != NULL && job->state != JOB_FINISHED && !MUTATION(agent_ignores_cancel)) {
            agent_job_drop(job, directive->reason);
        }
        break;
    case DIRECTIVE_DRAIN:
    case DIRECTIVE_QUIET:
        /* The hub itself hands out nothing meanwhile; credit stays as it is for the time after. */
        log_info("node.directive", "do=%s on=%s", directive->type == DIRECTIVE_DRAIN ? "drain" : "quiet",
                 directive->on ? "yes" : "no");
        break;
    case DIRECTIVE_TERMINATE:
        if (MUTATION(agent_fights_twin)) {
            close_connection(agent);
        } else if (strcmp(directive->reason, "superseded") == 0 || strcmp(directive->reason, "replaced") == 0) {
            end_with(agent, STATUS_SESSION_LOST, "another process has joined under this node's name");
        } else if (strcmp(directive->reason, "unauthorized") == 0) {
            end_with(agent, STATUS_UNAUTHORIZED, "the hub does not accept this node's key");
        } else if (strcmp(directive->reason, "lost") == 0 || strcmp(directive->reason, "silent") == 0 ||
                   strcmp(directive->reason, "closed") == 0 || strcmp(directive->reason, "session-lost") == 0) {
            close_connection(agent); /* the session is over, not the node: come back with a new one */
        } else {
            end_with(agent, STATUS_CANCELLED, "the hub told this node to end");
        }
        break;
    }
}

/* Errors that another try cannot mend. */
static bool is_fatal(enum status status)
{
    switch (status) {
    case STATUS_UNAUTHORIZED:
    case STATUS_INVALID:
    case STATUS_UNKNOWN_FIELD:
    case STATUS_BAD_JSON:
    case STATUS_BAD_REQUEST:
    case STATUS_TOO_LARGE:
    case STATUS_NOT_IMPLEMENTED:
        return true;
    default:
        return false;
    }
}

void agent_on_message(struct agent *agent, struct slice message)
{
    ensure_magic(agent, AGENT_MAGIC);
    agent->heard_ns = agent_now_ns(agent);
    struct work_answer *answer = agent->answer;
    enum status status = work_answer_decode(agent->parser, message, answer);
    if (status == STATUS_NOT_IMPLEMENTED) {
        return; /* a newer hub */
    }
    if (status != STATUS_OK) {
        log_error("node.message", "why=\"the hub sent a message that is not understood\"");
        close_connection(agent);
        return;
    }
    if (answer->type == WORK_ERROR) {
        char why[sizeof(agent->end_why)];
        snprintf(why, sizeof(why), "the hub refuses this node: %.*s", SLICE_ARG(answer->error_detail));
        bool is_greeting = agent->state == AGENT_GREETING;
        if (agent->said_refused != answer->error) { /* once, not once a second */
            agent->said_refused = answer->error;
            log_warn("node.refused", "code=%s detail=\"%.*s\"", status_slug(answer->error),
                     SLICE_ARG(answer->error_detail));
        }
        if (is_fatal(answer->error) || (is_greeting && answer->error == STATUS_SESSION_LOST)) {
            end_with(agent, answer->error, why);
        } else if (is_greeting && agent->config.on_refused != NULL) {
            agent->config.on_refused(agent->config.ctx, answer->error, answer->error_detail);
        }
        return; /* the hub closes */
    }
    if (agent->state == AGENT_GREETING && answer->type == WORK_WELCOME) {
        handle_welcome(agent, &answer->welcome);
        return;
    }
    if (agent->state != AGENT_ONLINE) {
        return; /* leaving, or said before the welcome */
    }
    switch (answer->type) {
    case WORK_LEASE:
        agent_take_lease(agent, &answer->lease);
        break;
    case WORK_REPORTED:
        handle_reported(agent, answer);
        break;
    case WORK_DIRECTIVES:
        for (uint32_t i = 0; i < answer->directive_count && agent->state == AGENT_ONLINE; i++) {
            handle_directive(agent, &answer->directives[i]);
        }
        break;
    default:
        break;
    }
}

/* --- the connection --- */

static void on_connect_timer(struct agent *agent)
{
    if (agent->state == AGENT_OFFLINE) {
        connect_now(agent);
    } else if (agent->state == AGENT_GREETING) {
        log_warn("node.connect", "why=\"the hub does not say welcome\"");
        close_connection(agent);
    }
}

void agent_on_timer(struct agent *agent, enum agent_timer timer)
{
    ensure_magic(agent, AGENT_MAGIC);
    switch (timer) {
    case AGENT_TIMER_CONNECT:
        on_connect_timer(agent);
        break;
    case AGENT_TIMER_BEAT:
        on_beat_timer(agent);
        break;
    case AGENT_TIMER_WORK:
        agent_on_work_timer(agent);
        break;
    case AGENT_TIMER_COUNT:
        break;
    }
}

void agent_on_open(struct agent *agent)
{
    ensure_magic(agent, AGENT_MAGIC);
    if (agent->is_ending) {
        close_connection(agent);
        return;
    }
    agent->state = AGENT_GREETING;
    agent->heard_ns = agent_now_ns(agent);
    agent_set_timer(agent, AGENT_TIMER_CONNECT, WELCOME_MS);
    send_hello(agent);
}

/* Between half and the whole of the pause, so that many nodes do not come back in step. */
static void connect_later(struct agent *agent)
{
    uint32_t half = agent->backoff_ms / 2;
    int64_t wait_ms = half + (int64_t)rng_below(&agent->rng, half + 1);
    agent->backoff_ms = agent->backoff_ms * 2 > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : agent->backoff_ms * 2;
    agent_set_timer(agent, AGENT_TIMER_CONNECT, wait_ms);
}

void agent_on_closed(struct agent *agent, enum status status, const char *why)
{
    ensure_magic(agent, AGENT_MAGIC);
    enum agent_state before = agent->state;
    agent->has_connection = false;
    agent->state = AGENT_OFFLINE;
    agent->reports_sent = agent->reports_answered = 0;
    agent->credit_at_hub = 0;
    buf_reset(&agent->notes);
    agent_set_timer(agent, AGENT_TIMER_BEAT, AGENT_TIMER_OFF);
    agent_set_timer(agent, AGENT_TIMER_CONNECT, AGENT_TIMER_OFF);
    struct job *next;
    for (struct job *job = agent->jobs; job != NULL; job = next) {
        next = job->next;
        if (MUTATION(agent_forgets_report) && job->report_number != 0) {
            agent_job_free(job);
        } else {
            job->report_number = 0;
        }
    }
    if (agent->is_ending || before == AGENT_LEAVING) {
        end_with(agent, agent->end_status, agent->end_why);
        return;
    }
    if (status == STATUS_UNAUTHORIZED) {
        end_with(agent, status, "the hub does not accept this node's key");
        return;
    }
    int64_t now = agent_now_ns(agent);
    if (before == AGENT_ONLINE || agent->said_offline_ns == 0 || now - agent->said_offline_ns > SAY_OFFLINE_EVERY_NS) {
        agent->said_offline_ns = now;
        log_warn("node.offline", "hub=%s why=\"%s\" running=%" PRIu32 " unreported=%" PRIu32, agent->config.hub_url,
                 why != NULL ? why : "", agent_runs(agent), agent->job_count - agent_runs(agent));
    }
    connect_later(agent);
    agent_arm_work_timer(agent);
    agent_check_end(agent);
}

static enum status dial(struct agent *agent)
{
    int64_t connect_ms = agent->config.connect_ms > 0 ? agent->config.connect_ms : CONNECT_MS;
    agent->state = AGENT_CONNECTING;
    enum status status = agent->port.connect(agent->port.ctx, connect_ms);
    agent->has_connection = status == STATUS_OK;
    return status;
}

static void connect_now(struct agent *agent)
{
    if (dial(agent) != STATUS_OK) {
        agent->state = AGENT_OFFLINE;
        connect_later(agent);
    }
}

/* --- the end --- */

void agent_on_ended(struct agent *agent)
{
    ensure_magic(agent, AGENT_MAGIC);
    ensure(agent->is_leaving_world);
    agent->config.on_ended(agent->config.ctx, agent->end_status, agent->end_why, agent_runs(agent));
}

/* Ends for good: nothing more is reported. Called again at every event until nothing is left to wait for. */
static void end_with(struct agent *agent, enum status status, const char *why)
{
    if (!agent->is_ending) {
        agent->is_ending = true;
        agent->end_status = status;
        if (why != agent->end_why) {
            snprintf(agent->end_why, sizeof(agent->end_why), "%s", why);
        }
        agent->drain_due_ns = INT64_MAX;
        if (agent->end_due_ns == INT64_MAX) {
            agent->end_due_ns = agent_now_ns(agent) + KILL_MS * NS_PER_MS;
        }
        agent_set_timer(agent, AGENT_TIMER_BEAT, AGENT_TIMER_OFF);
        agent_set_timer(agent, AGENT_TIMER_CONNECT, AGENT_TIMER_OFF);
        struct job *next;
        for (struct job *job = agent->jobs; job != NULL; job = next) {
            next = job->next;
            agent_job_stop(job, END_DROPPED);
        }
        if (agent->has_connection) {
            close_connection(agent);
        }
        agent_arm_work_timer(agent);
    }
    if (agent->is_leaving_world || agent->has_connection || (agent_runs(agent) > 0 && !agent->is_overdue)) {
        return;
    }
    agent->is_leaving_world = true;
    agent->port.end(agent->port.ctx);
}

void agent_check_end(struct agent *agent)
{
    if (agent->is_ending) {
        end_with(agent, agent->end_status, agent->end_why);
        return;
    }
    if (!agent->is_draining) {
        return;
    }
    enum status status = agent->is_killed ? STATUS_INTERRUPTED : STATUS_OK;
    const char *why = agent->is_killed ? "it was interrupted" : "it has drained";
    uint32_t kept = MUTATION(agent_leaves_early) ? agent_runs(agent) : agent->job_count;
    if (kept == 0 && agent->notes.len == 0) {
        if (agent->state == AGENT_LEAVING) {
            return;
        }
        if (agent->state != AGENT_ONLINE) {
            end_with(agent, status, why);
            return;
        }
        if (agent->reports_answered < agent->reports_sent && !agent->is_overdue && !MUTATION(agent_leaves_early)) {
            return;
        }
        buf_reset(&agent->text);
        work_write_leave(&agent->text);
        send_text(agent);
        agent->state = AGENT_LEAVING;
        agent->end_status = status;
        snprintf(agent->end_why, sizeof(agent->end_why), "%s", why);
        agent->end_due_ns = INT64_MAX;
        agent_set_timer(agent, AGENT_TIMER_BEAT, AGENT_TIMER_OFF);
        close_connection(agent);
    } else if (agent->is_overdue) {
        snprintf(agent->end_why, sizeof(agent->end_why),
                 "%" PRIu32 " outcomes could not be delivered, because the hub cannot be reached", agent->job_count);
        end_with(agent, agent->is_killed ? STATUS_INTERRUPTED : STATUS_UNREACHABLE, agent->end_why);
    }
}

void agent_drain(struct agent *agent)
{
    ensure_magic(agent, AGENT_MAGIC);
    if (agent->is_draining || agent->is_ending) {
        return;
    }
    agent->is_draining = true;
    agent->drain_due_ns = agent_now_ns(agent) + agent->config.drain_ms * NS_PER_MS;
    agent->credit_unsaid = 0;
    log_info("node.drain", "running=%" PRIu32 " unreported=%" PRIu32, agent_runs(agent),
             agent->job_count - agent_runs(agent));
    if (agent->state == AGENT_ONLINE) {
        buf_reset(&agent->text);
        work_write_credit_set(&agent->text, 0);
        agent->credit_at_hub = 0;
        agent->reports_sent++;
        send_text(agent);
    }
    agent_arm_work_timer(agent);
    agent_check_end(agent);
}

void agent_kill(struct agent *agent)
{
    ensure_magic(agent, AGENT_MAGIC);
    agent_drain(agent);
    if (agent->is_killed || agent->is_ending) {
        return;
    }
    agent->is_killed = true;
    agent->drain_due_ns = INT64_MAX;
    agent->end_due_ns = agent_now_ns(agent) + KILL_MS * NS_PER_MS;
    struct job *next;
    for (struct job *job = agent->jobs; job != NULL; job = next) {
        next = job->next;
        agent_job_stop(job, END_RELEASED);
    }
    agent_arm_work_timer(agent);
    agent_check_end(agent);
}

/* --- life --- */

static void free_memory(struct agent *agent)
{
    buf_free(&agent->notes);
    buf_free(&agent->list);
    buf_free(&agent->text);
    buf_free(&agent->payload);
    free(agent->slot_used);
    json_parser_free(agent->parser);
    json_parser_free(agent->result_parser);
    free(agent->answer);
    agent->magic = 0;
    free(agent);
}

enum status agent_make(const struct agent_config *config, const struct agent_port *port, struct agent **ret_agent)
{
    ensure(config->slots >= 1 && config->slots <= AGENT_SLOTS_MAX);
    ensure(config->kind_count <= LIMIT_KINDS_PER_NODE);
    ensure(config->on_ended != NULL);
    struct agent *agent = calloc(1, sizeof(*agent));
    if (agent == NULL) {
        return STATUS_NO_MEMORY;
    }
    *agent = (struct agent){.magic = AGENT_MAGIC,
                            .port = *port,
                            .config = *config,
                            .backoff_ms = BACKOFF_MIN_MS,
                            .free_slots = config->slots,
                            .drain_due_ns = INT64_MAX,
                            .end_due_ns = INT64_MAX,
                            .slot_used = calloc(config->slots, sizeof(bool)),
                            .parser = json_parser_new(),
                            .result_parser = json_parser_new(),
                            .answer = calloc(1, sizeof(struct work_answer))};
    buf_init(&agent->notes, LIMIT_WS_MESSAGE_SIZE / 4);
    buf_init(&agent->list, LIMIT_WS_MESSAGE_SIZE / 2);
    buf_init(&agent->text, LIMIT_WS_MESSAGE_SIZE);
    buf_init(&agent->payload, LIMIT_INPUT_SIZE);
    enum status status = STATUS_NO_MEMORY;
    if (agent->slot_used != NULL && agent->parser != NULL && agent->result_parser != NULL && agent->answer != NULL) {
        status = dial(agent); /* the first try tells whether the URL is one at all */
    }
    if (status != STATUS_OK) {
        free_memory(agent);
        return status;
    }
    rng_seed(&agent->rng, port->random(port->ctx));
    *ret_agent = agent;
    return STATUS_OK;
}

void agent_free(struct agent *agent)
{
    if (agent == NULL) {
        return;
    }
    ensure_magic(agent, AGENT_MAGIC);
    if (agent_runs(agent) == 0) { /* else a launcher may still call back: leave the jobs to the end of the process */
        while (agent->jobs != NULL) {
            agent_job_free(agent->jobs);
        }
    }
    agent->port.free(agent->port.ctx);
    free_memory(agent);
}

void agent_stats(const struct agent *agent, struct agent_stats *ret_stats)
{
    ensure_magic(agent, AGENT_MAGIC);
    *ret_stats = agent->stats;
    ret_stats->is_online = agent->state == AGENT_ONLINE;
    ret_stats->is_draining = agent->is_draining;
    ret_stats->running = agent_runs(agent);
    ret_stats->unreported = agent->job_count - agent_runs(agent);
}
