/* shadow.c - what an agent must be doing, worked out again from outside: from what it was told, what its launchers did,
 * and what it says. It decodes both directions of the wire and keeps
 *
 *   runs     attempts in progress (struct work_run), with whether the hub has taken their lease away
 *   outbox   outcomes that the hub has not answered (node->outbox), with the report of this connection that carried each;
 *            and leases that were given back, which are forgotten with the connection
 *   credit   granted on this connection and not used
 *
 * and demands what agent.c promises:
 *
 *  T2    an attempt is started once, and only what was just leased
 *  T5    runs and open credit are never more than the slots (A1, A2); no two runs share a slot; a lease is given back only
 *        while the process is ending
 *  kept  every outcome is said once on a connection, and held and said again on the next until it is answered; what the hub
 *        took away is stopped at once and not reported; nothing else is stopped; leave is the last word (A3, A4)
 *  alone the name goes to another process only while the hub hears nothing of this one
 *  due   attempts end at their timeout, leases are extended in time, a hub that is silent is left
 *
 * check.c has what must hold between the nodes. */
#include <stdlib.h>

#include "base/ensure.h"
#include "base/limits.h"
#include "sim/agent.h"

#define SLACK_MS 60          /* rounding, a slow turn */
#define ALONE_SLACK_MS 10000 /* the word that a name is lost waits for the disk and for a clogged wire */

typedef unsigned long long ull;

static struct work_run *find_run(const struct sim_agent *sim, const struct lease_token *token)
{
    for (uint32_t i = 0; i < sim->node->held_count; i++) {
        if (lease_token_equal(&sim->runs[i]->token, token)) {
            return sim->runs[i];
        }
    }
    return NULL;
}

/* An outcome that is not said yet, or with report number `report`. */
static struct outbox_item *find_item(const struct sim_agent *sim, const struct lease_token *token, uint32_t report)
{
    for (uint32_t i = 0; i < sim->node->outbox_count; i++) {
        struct outbox_item *item = &sim->node->outbox[i];
        if (item->report == report && lease_token_equal(&item->outcome.token, token)) {
            return item;
        }
    }
    return NULL;
}

static void check_room(struct sim_agent *sim)
{
    const struct sim_node *node = sim->node;
    CHECK_THAT(sim->world, sim->credit_open + node->held_count <= node->slots, "T5",
               "node %s has %u slots, %u runs, and credit for %u", node->name, node->slots, node->held_count,
               sim->credit_open);
}

/* --- what it does --- */

void shadow_starts(struct sim_agent *sim, const struct lease_token *token, uint64_t op, uint32_t slot)
{
    struct world *world = sim->world;
    bool is_leased = sim->lease.is_there && !sim->lease.is_taken && lease_token_equal(&sim->lease.token, token);
    world->report->checks++;
    CHECK_THAT(world, is_leased && sim->lease.op == op, "T2", "node %s starts op %llu, attempt %u, unasked",
               sim->node->name, (ull)op, token->attempt);
    CHECK_THAT(world, !sim->is_signalled, "T5", "node %s is ending and starts op %llu", sim->node->name, (ull)op);
    CHECK_THAT(world, slot < sim->node->slots && sim->node->held_count < sim->node->slots, "T5",
               "node %s starts op %llu in slot %u of %u", sim->node->name, (ull)op, slot, sim->node->slots);
    for (uint32_t i = 0; i < sim->node->held_count; i++) {
        CHECK_THAT(world, sim->runs[i]->slot != slot, "T5", "node %s runs op %llu and op %llu in slot %u",
                   sim->node->name, (ull)sim->runs[i]->op, (ull)op, slot);
    }
    sim->lease.is_taken = true;
}

static bool is_past(const struct sim_agent *sim, const struct work_run *run, int64_t slack_ms)
{
    return run->timeout_ms > 0 && sim->world->now_ns - run->started_ns >= (run->timeout_ms + slack_ms) * SIM_MS;
}

void shadow_cancels(struct sim_agent *sim, const struct work_run *run)
{
    bool is_right = run->is_dropped || sim->is_signalled || sim->is_told_to_end || is_past(sim, run, 0);
    CHECK_THAT(sim->world, is_right && !run->is_cancelled, "kept", "node %s stops op %llu, attempt %u, unasked",
               sim->node->name, (ull)run->op, run->token.attempt);
}

void shadow_overdue(struct sim_agent *sim, const struct work_run *run)
{
    CHECK_THAT(sim->world, run->is_cancelled, "due", "node %s lets op %llu run past its timeout of %lld ms",
               sim->node->name, (ull)run->op, (long long)run->timeout_ms);
}

void shadow_done(struct sim_agent *sim, const struct lease_token *token, uint64_t op, struct slice result)
{
    enum outcome_type type = result.len > 0 ? OUTCOME_COMPLETE : OUTCOME_FAIL;
    struct outbox_item *item = node_outbox_add(sim->node, type, token, op);
    ensure(item != NULL);
    buf_append_slice(&item->large, result);
}

void shadow_ended(struct sim_agent *sim, enum status status, const char *why, uint32_t runs_left)
{
    struct world *world = sim->world;
    const struct sim_node *node = sim->node;
    bool is_right = status == STATUS_SESSION_LOST ? sim->is_told_to_end : sim->is_signalled;
    CHECK_THAT(world, is_right, "proto", "node %s ends by itself: %s", node->name, why);
    CHECK_THAT(world, runs_left == node->held_count, "T5", "node %s ends with %u runs and believes in %u", node->name,
               node->held_count, runs_left);
    CHECK_THAT(world, status != STATUS_OK || runs_left == 0, "kept", "node %s has drained, with %u runs left",
               node->name, runs_left);
}

/* --- what it says --- */

void shadow_opened(struct sim_agent *sim)
{
    sim->heard_ns = sim->world->now_ns;
}

/* Every lease that it runs or has an outcome of, and no other. */
static void says_hello(struct sim_agent *sim, const struct command_node_hello *hello)
{
    struct world *world = sim->world;
    const struct sim_node *node = sim->node;
    uint32_t expected = 0;
    uint32_t known = 0;
    for (uint32_t i = 0; i < node->held_count; i++) {
        expected += !sim->runs[i]->is_dropped;
    }
    for (uint32_t i = 0; i < node->outbox_count; i++) {
        ensure(!node->outbox[i].is_refusal);
        expected++;
    }
    for (uint32_t i = 0; i < hello->held_count; i++) {
        struct lease_token token = command_held_at(hello, i);
        const struct work_run *run = find_run(sim, &token);
        known += (run != NULL && !run->is_dropped) || find_item(sim, &token, 0) != NULL;
    }
    CHECK_THAT(world, known == hello->held_count && known == expected, "kept",
               "node %s comes back with %u leases, of which it has %u; it has %u", node->name, hello->held_count, known,
               expected);
    CHECK_THAT(world, !sim->is_told_to_end, "proto", "node %s comes back, though another process has its name",
               node->name);
    CHECK_THAT(world, !sim->is_signalled || hello->credit == 0, "T5", "node %s is ending and offers %u slots",
               node->name, hello->credit);
    sim->credit_open = hello->credit;
}

static void says_outcome(struct sim_agent *sim, const struct outcome *outcome)
{
    struct world *world = sim->world;
    const struct lease_token *token = &outcome->token;
    struct work_run *run = find_run(sim, token);
    if (outcome->type == OUTCOME_EXTEND || outcome->type == OUTCOME_PROGRESS) {
        if (run != NULL) { /* else it ended in this very turn */
            run->said_ns = world->now_ns;
        }
        return;
    }
    struct outbox_item *item = find_item(sim, token, 0);
    CHECK_THAT(world, item != NULL, "kept", "node %s reports an outcome of task %llx, attempt %u, that it has not",
               sim->node->name, (ull)token->task_id, token->attempt);
    if (item == NULL) {
        return;
    }
    bool is_complete = outcome->type == OUTCOME_COMPLETE;
    CHECK_THAT(world, is_complete == (item->outcome.type == OUTCOME_COMPLETE), "kept",
               "node %s reports op %llu as %s, and it was not", sim->node->name, (ull)item->op,
               is_complete ? "complete" : "failed");
    bool is_release = outcome->type == OUTCOME_RELEASE;
    CHECK_THAT(world, !is_release || sim->is_signalled, "kept", "node %s gives op %llu back, and need not",
               sim->node->name, (ull)item->op);
    item->report = sim->node->report_sent;
}

static void says_report(struct sim_agent *sim, const struct command_node_report *report)
{
    sim->node->report_sent++;
    struct reader reader = reader_of(report->outcomes);
    struct outcome outcome;
    while (outcome_next(&reader, &outcome)) {
        says_outcome(sim, &outcome);
    }
    sim->credit_open = (report->has_credit ? report->credit_set : sim->credit_open) + report->credit_add;
    check_room(sim);
}

static void says_beat(struct sim_agent *sim, const struct work_load *load)
{
    struct world *world = sim->world;
    const struct sim_node *node = sim->node;
    int64_t now_ns = world->now_ns;
    CHECK_THAT(world, load->running == node->held_count, "T5", "node %s has %u runs and says %u", node->name,
               node->held_count, load->running);
    CHECK_THAT(world, now_ns - sim->heard_ns <= (LIMIT_LOST_MS + 2 * LIMIT_BEAT_MS) * SIM_MS, "due",
               "node %s stays on a connection that has been silent for %lld ms", node->name,
               (long long)((now_ns - sim->heard_ns) / SIM_MS));
    for (uint32_t i = 0; i < node->held_count; i++) {
        const struct work_run *run = sim->runs[i];
        int64_t since_ns = run->said_ns > sim->welcome_ns ? run->said_ns : sim->welcome_ns;
        since_ns = since_ns > sim->thawed_ns ? since_ns : sim->thawed_ns;
        CHECK_THAT(world, run->is_cancelled || now_ns - since_ns <= (run->lease_ms / 3 + SLACK_MS) * SIM_MS, "due",
                   "node %s has not extended op %llu for %lld ms, of a lease of %lld", node->name, (ull)run->op,
                   (long long)((now_ns - since_ns) / SIM_MS), (long long)run->lease_ms);
    }
}

static void says_leave(struct sim_agent *sim)
{
    const struct sim_node *node = sim->node;
    uint32_t kept = node->held_count;
    for (uint32_t i = 0; i < node->outbox_count; i++) {
        kept += !node->outbox[i].is_refusal;
    }
    CHECK_THAT(sim->world, sim->is_signalled && kept == 0, "kept", "node %s leaves with %u runs and %u outcomes",
               node->name, node->held_count, kept - node->held_count);
    sim->has_left = true;
}

void shadow_said(struct sim_agent *sim, struct slice text)
{
    static struct work_message message; /* large */
    struct world *world = sim->world;
    struct field_error error;
    buf_reset(&world->aux);
    enum status status = work_message_decode(world->json, text, &world->aux, &message, &error);
    world->report->checks++;
    CHECK_THAT(world, status == STATUS_OK, "proto", "node %s says what nobody understands: %.*s", sim->node->name,
               (int)(text.len < 200 ? text.len : 200), text.data);
    if (status != STATUS_OK) {
        return;
    }
    CHECK_THAT(world, !sim->has_left && sim->node->is_live == (message.type != WORK_HELLO), "proto",
               "node %s says message %d out of turn", sim->node->name, (int)message.type);
    switch (message.type) {
    case WORK_HELLO:
        says_hello(sim, &message.hello);
        break;
    case WORK_REPORT:
        says_report(sim, &message.report);
        break;
    case WORK_CREDIT:
        sim->credit_open += message.credit;
        break;
    case WORK_BEAT:
        says_beat(sim, &message.load);
        break;
    case WORK_LEAVE:
        says_leave(sim);
        break;
    }
    check_room(sim);
}

void shadow_closed(struct sim_agent *sim)
{
    struct sim_node *node = sim->node;
    node->is_live = sim->has_left = false;
    node->report_sent = node->report_answered = 0;
    sim->credit_open = 0;
    for (uint32_t i = node->outbox_count; i-- > 0;) {
        node->outbox[i].report = 0;
        if (node->outbox[i].is_refusal) {
            node_outbox_remove(node, i);
        }
    }
}

/* --- what it hears --- */

static void hears_lease(struct sim_agent *sim, const struct work_lease *lease)
{
    struct world *world = sim->world;
    uint64_t op = node_op_of_input(lease->input);
    check_delivered(world, sim->index, lease, op);
    CHECK_THAT(world, sim->credit_open > 0 || sim->is_signalled, "T5",
               "node %s has granted no credit, and gets a lease of op %llu", sim->node->name, (ull)op);
    sim->credit_open -= sim->credit_open > 0;
    sim->lease.token = lease->token;
    sim->lease.op = op;
    sim->lease.lease_ms = lease->lease_ms;
    sim->lease.is_there = true;
    sim->lease.is_taken = false;
}

static void heard_lease(struct sim_agent *sim)
{
    sim->lease.is_there = false;
    if (sim->lease.is_taken || sim->has_left || sim->is_told_to_end || sim->is_closing) {
        return;
    }
    CHECK_THAT(sim->world, sim->is_signalled, "T5", "node %s does not start op %llu, and has room for it",
               sim->node->name, (ull)sim->lease.op);
    struct outbox_item *item = node_outbox_add(sim->node, OUTCOME_RELEASE, &sim->lease.token, sim->lease.op);
    ensure(item != NULL);
    item->is_refusal = true;
}

static void hears_welcome(struct sim_agent *sim, const struct work_welcome *welcome)
{
    struct world *world = sim->world;
    struct sim_node *node = sim->node;
    node->is_live = true;
    sim->welcome_ns = world->now_ns;
    check_visible(world, welcome->seq, "a welcome");
    trace(world, TRACE_WELCOME, sim->index, welcome->session, welcome->is_resumed);
    for (uint32_t i = 0; i < welcome->lost_count; i++) {
        struct work_run *run = find_run(sim, &welcome->lost[i]);
        const struct outbox_item *item = find_item(sim, &welcome->lost[i], 0);
        if (run != NULL) {
            run->is_dropped = true;
        } else if (item != NULL) {
            node_outbox_remove(node, (uint32_t)(item - node->outbox));
        }
    }
    for (uint32_t i = 0; i < node->held_count; i++) {
        if (!sim->runs[i]->is_dropped) {
            check_kept(world, sim->index, welcome->session, &sim->runs[i]->token);
        }
    }
    for (uint32_t i = 0; i < node->outbox_count; i++) {
        check_kept(world, sim->index, welcome->session, &node->outbox[i].outcome.token);
    }
}

static bool is_refused(const struct work_answer *said, const struct lease_token *token)
{
    for (uint32_t i = 0; i < said->refused_count; i++) {
        if (lease_token_equal(&said->refused[i].token, token)) {
            return true;
        }
    }
    return false;
}

static void hears_reported(struct sim_agent *sim, const struct work_answer *said)
{
    struct world *world = sim->world;
    struct sim_node *node = sim->node;
    uint32_t number = ++node->report_answered;
    CHECK_THAT(world, number <= node->report_sent, "proto", "node %s got an answer to a report that it did not send",
               node->name);
    check_visible(world, said->reported_seq, "an answer to a report");
    trace(world, TRACE_REPORTED, sim->index, number, said->reported_seq);
    for (uint32_t i = 0; i < node->held_count; i++) {
        sim->runs[i]->is_dropped = sim->runs[i]->is_dropped || is_refused(said, &sim->runs[i]->token);
    }
    for (uint32_t i = node->outbox_count; i-- > 0 && !world->report->has_failed;) {
        const struct outbox_item *item = &node->outbox[i];
        if (item->report == number) {
            if (!is_refused(said, &item->outcome.token)) {
                check_accepted(world, sim->index, item, said->reported_seq);
            }
            node_outbox_remove(node, i);
        }
    }
}

/* Its name went to another process: only while the hub heard nothing of it. */
static void check_alone(const struct sim_agent *sim)
{
    const struct sim_node *node = sim->node;
    int64_t now_ns = sim->world->now_ns;
    bool was_silent = node->silent_ns != 0 && now_ns - node->silent_ns < ALONE_SLACK_MS * SIM_MS;
    CHECK_THAT(sim->world, was_silent || now_ns - node->live_ns >= LIMIT_SUSPECT_MS * SIM_MS, "alone",
               "node %s loses its name, although it was heard %lld ms ago", node->name,
               (long long)((now_ns - node->live_ns) / SIM_MS));
}

static void hears_directives(struct sim_agent *sim, const struct work_answer *said)
{
    for (uint32_t i = 0; i < said->directive_count; i++) {
        const struct directive *directive = &said->directives[i];
        struct work_run *run =
            directive->type == DIRECTIVE_CANCEL && sim->node->is_live ? find_run(sim, &directive->token) : NULL;
        if (run != NULL) {
            run->is_dropped = true;
        } else if (directive->type == DIRECTIVE_TERMINATE && strcmp(directive->reason, "replaced") == 0) {
            check_alone(sim);
            sim->is_told_to_end = true; /* a twin came while it was silent */
        }
    }
}

void shadow_hears(struct sim_agent *sim, const struct work_answer *said)
{
    sim->heard_ns = sim->world->now_ns;
    sim->world->report->checks++;
    switch (said->type) {
    case WORK_WELCOME:
        hears_welcome(sim, &said->welcome);
        break;
    case WORK_LEASE:
        hears_lease(sim, &said->lease);
        break;
    case WORK_REPORTED:
        hears_reported(sim, said);
        break;
    case WORK_DIRECTIVES:
        hears_directives(sim, said);
        break;
    case WORK_ERROR: /* the hub closes */
        break;
    }
}

void shadow_heard(struct sim_agent *sim, const struct work_answer *said)
{
    if (said->type == WORK_LEASE) {
        heard_lease(sim);
        return;
    }
    for (uint32_t i = 0; i < sim->node->held_count; i++) {
        const struct work_run *run = sim->runs[i];
        CHECK_THAT(sim->world, !run->is_dropped || run->is_cancelled, "kept",
                   "node %s goes on with op %llu, attempt %u, whose lease is no more", sim->node->name, (ull)run->op,
                   run->token.attempt);
    }
}
