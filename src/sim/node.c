/* node.c - nodes: honest ones, slow ones, liars, and those that die.
 *
 * Every second node runs the production agent (agent.c here, src/node/agent.c there). The others are played by this file: it
 * speaks the same protocol by its own understanding of it, and can therefore break it on purpose.
 *
 *   dial ──▶ hello (with what it still works on) ──▶ welcome ──▶ leases, work, reports, beats ──▶ connection gone ──▶ dial
 *
 * An outcome stays in the outbox until `reported` acknowledges it; after a new welcome it is said again. A free slot is
 * told of once: in the report of its outcome, in a credit message, or in the next hello. So an honest node can count what
 * it may be given, and more is the hub's mistake. */
#include <stdio.h>
#include <stdlib.h>

#include "base/ensure.h"
#include "base/limits.h"
#include "sim/world.h"

#define REDIAL_MS 50
#define RESTART_MS 400

static struct sim_node *node_at(struct world *world, uint32_t index)
{
    return &world->nodes[index];
}

static void forget_work(struct sim_node *node)
{
    for (uint32_t i = 0; i < node->outbox_count; i++) {
        buf_free(&node->outbox[i].large);
    }
    node->held_count = node->outbox_count = node->credit_owed = 0;
}

/* A frozen node does nothing; whatever came meanwhile is looked at when it goes on. */
static bool is_frozen(const struct world *world, const struct sim_node *node)
{
    return node->frozen_until_ns > world->now_ns;
}

/* --- saying --- */

static struct buf *text_begin(struct world *world)
{
    buf_reset(&world->text);
    return &world->text;
}

static void say(struct world *world, struct sim_node *node)
{
    ensure(buf_status(&world->text) == STATUS_OK);
    if (node->link != NULL) {
        net_send(world, node->link, SIDE_NODE, buf_slice(&world->text));
    }
}

struct outcome node_outcome(const struct outbox_item *item)
{
    struct outcome outcome = item->outcome;
    if (outcome.type == OUTCOME_COMPLETE || outcome.type == OUTCOME_PROGRESS) {
        outcome.payload = item->large.len > 0 ? buf_slice(&item->large) : slice_str(item->payload);
    } else if (outcome.type == OUTCOME_FAIL) {
        outcome.error_kind = SLICE("planned");
        outcome.message = SLICE("It fails on purpose.");
    }
    return outcome;
}

/* Says every outcome that was not said on this connection yet, and the slots that became free otherwise. */
static void report(struct world *world, struct sim_node *node)
{
    if (!node->is_live) {
        return;
    }
    uint32_t credit = 0;
    bool is_any = false;
    buf_reset(&world->aux);
    for (uint32_t i = 0; i < node->outbox_count; i++) {
        struct outbox_item *item = &node->outbox[i];
        if (item->report != 0) {
            continue;
        }
        if (is_any) {
            buf_append_char(&world->aux, ',');
        } else {
            node->report_sent++;
        }
        struct outcome outcome = node_outcome(item);
        work_write_outcome(&world->aux, &outcome);
        item->report = node->report_sent;
        credit += item->gives_credit;
        item->gives_credit = false;
        is_any = true;
    }
    if (is_any) {
        work_write_report(text_begin(world), buf_slice(&world->aux), credit);
        say(world, node);
    }
    if (node->credit_owed > 0) {
        work_write_credit(text_begin(world), node->credit_owed);
        node->credit_owed = 0;
        say(world, node);
    }
}

static bool ends_lease(const struct outbox_item *item)
{
    return !item->is_lie && item->outcome.type != OUTCOME_EXTEND && item->outcome.type != OUTCOME_PROGRESS;
}

static void hello(struct world *world, struct sim_node *node)
{
    const struct workload *workload = world->workload;
    const struct sim_node *named = node->guise != 0 ? node_at(world, node->guise - 1) : node;
    struct command_node_hello hello = {.node = slice_str(named->name), .instance = node->instance, .info = SLICE("{}")};
    for (uint32_t i = 0; i < workload->kind_count; i++) {
        if ((node->kinds & 1u << i) != 0) {
            hello.kinds[hello.kind_count++] = slice_str(workload->kinds[i].name);
        }
    }
    hello.facts = (struct requirement){.cpu_milli = 4000, .memory_mib = 4096};
    hello.credit = node->slots - node->held_count;
    node->credit_owed = 0;
    buf_reset(&world->aux);
    for (uint32_t i = 0; i < node->held_count; i++) {
        buf_append(&world->aux, &node->held[i].token, sizeof(struct lease_token));
        hello.held_count++;
    }
    for (uint32_t i = 0; i < node->outbox_count; i++) {
        struct outbox_item *item = &node->outbox[i];
        item->report = 0;
        item->gives_credit = false; /* its slot is among those that the hello tells of */
        if (ends_lease(item)) {
            buf_append(&world->aux, &item->outcome.token, sizeof(struct lease_token));
            hello.held_count++;
        }
    }
    node->report_sent = node->report_answered = 0;
    work_write_hello(text_begin(world), &hello, (const struct lease_token *)(const void *)world->aux.data,
                     (struct slice){NULL, 0});
    say(world, node);
}

/* --- what it holds, and the outbox --- */

struct outbox_item *node_outbox_add(struct sim_node *node, enum outcome_type type, const struct lease_token *token,
                                    uint64_t op)
{
    if (node->outbox_count == SIM_OUTBOX_MAX) {
        return NULL;
    }
    struct outbox_item *item = &node->outbox[node->outbox_count++];
    *item = (struct outbox_item){.outcome = {.type = type, .token = *token}, .op = op};
    buf_init(&item->large, LIMIT_INPUT_SIZE);
    return item;
}

void node_outbox_remove(struct sim_node *node, uint32_t i)
{
    buf_free(&node->outbox[i].large);
    memmove(&node->outbox[i], &node->outbox[i + 1], (node->outbox_count - i - 1) * sizeof(node->outbox[0]));
    node->outbox_count--;
}

static void held_remove(struct sim_node *node, uint32_t i)
{
    memmove(&node->held[i], &node->held[i + 1], (node->held_count - i - 1) * sizeof(node->held[0]));
    node->held_count--;
}

/* The hub says that this lease is no more. */
static void drop_token(struct world *world, struct sim_node *node, uint32_t index, const struct lease_token *token,
                       uint64_t why)
{
    for (uint32_t i = 0; i < node->held_count; i++) {
        if (lease_token_equal(&node->held[i].token, token)) {
            trace(world, TRACE_DROP, index, node->held[i].op, why);
            held_remove(node, i);
            node->credit_owed++;
            return;
        }
    }
}

static void drop_outcomes(struct sim_node *node, const struct lease_token *token)
{
    for (uint32_t i = node->outbox_count; i-- > 0;) {
        if (lease_token_equal(&node->outbox[i].outcome.token, token) && !node->outbox[i].is_lie) {
            node->credit_owed += node->outbox[i].gives_credit;
            node_outbox_remove(node, i);
        }
    }
}

/* --- work --- */

void node_write_result(struct world *world, enum stream stream, struct outbox_item *item,
                       const struct workload_kind *kind)
{
    size_t pad = (size_t)world_range(world, stream, kind->result);
    int len = snprintf(item->payload, sizeof(item->payload), "{\"op\":%llu,\"by\":%llu}", (unsigned long long)item->op,
                       (unsigned long long)item->outcome.token.seq);
    if (pad > (size_t)len + 10) {
        item->payload[len - 1] = '\0';
        buf_append_str(&item->large, item->payload);
        buf_append_str(&item->large, ",\"pad\":\"");
        while (item->large.len < pad) {
            buf_append_char(&item->large, 'r');
        }
        buf_append_str(&item->large, "\"}");
    }
}

static void on_done(struct world *world, const struct event *event)
{
    uint32_t index = (uint32_t)event->a;
    struct sim_node *node = node_at(world, index);
    uint32_t i = 0;
    while (i < node->held_count && node->held[i].number != event->b) {
        i++;
    }
    if (i == node->held_count) {
        return; /* dropped meanwhile */
    }
    if (is_frozen(world, node)) {
        world_after(world, node->frozen_until_ns - world->now_ns + SIM_US, on_done, event->a, event->b, NULL);
        return;
    }
    struct held held = node->held[i];
    const struct workload_kind *kind = &world->workload->kinds[check_op(world, held.op)->kind];
    enum outcome_type type = OUTCOME_COMPLETE;
    if (world_chance(world, STREAM_NODE, kind->fail_permille)) {
        type = world_chance(world, STREAM_NODE, 100) ? OUTCOME_RELEASE : OUTCOME_FAIL;
    }
    struct outbox_item *item = node_outbox_add(node, type, &held.token, held.op);
    if (item == NULL) {
        world_after(world, 5 * SIM_MS, on_done, event->a, event->b, NULL);
        return;
    }
    held_remove(node, i);
    item->gives_credit = true;
    if (type == OUTCOME_COMPLETE) {
        node_write_result(world, STREAM_NODE, item, kind);
    } else {
        item->outcome.is_final = type == OUTCOME_FAIL && world_chance(world, STREAM_NODE, 50);
    }
    trace(world, TRACE_DONE, index, held.op, (uint64_t)type);
    report(world, node);
}

static void on_extend(struct world *world, const struct event *event)
{
    struct sim_node *node = node_at(world, (uint32_t)event->a);
    for (uint32_t i = 0; i < node->held_count; i++) {
        struct held *held = &node->held[i];
        if (held->number != event->b) {
            continue;
        }
        world_after(world, held->lease_ms * SIM_MS / 3, on_extend, event->a, event->b, NULL);
        bool is_progress = world_chance(world, STREAM_NODE, 300);
        if (!is_frozen(world, node) && node->is_live) {
            struct outbox_item *item =
                node_outbox_add(node, is_progress ? OUTCOME_PROGRESS : OUTCOME_EXTEND, &held->token, held->op);
            if (item != NULL && is_progress) {
                snprintf(item->payload, sizeof(item->payload), "{\"at\":%llu}", (unsigned long long)world->step);
                item->outcome.progress_permille = 500;
                item->outcome.message = SLICE("half");
            }
            report(world, node);
        }
        return;
    }
}

uint64_t node_op_of_input(struct json_value input)
{
    struct json_value member;
    uint64_t op = 0;
    return json_member(input, "op", &member) && json_get_u64(member, &op) ? op : 0;
}

static void on_lease(struct world *world, struct sim_node *node, uint32_t index, const struct work_lease *lease)
{
    uint64_t op = node_op_of_input(lease->input);
    check_delivered(world, index, lease, op);
    CHECK_THAT(world, node->held_count < node->slots, "T5", "node %s was given more leases than it has slots",
               node->name);
    if (world->report->has_failed) {
        return;
    }
    const struct workload_kind *kind = &world->workload->kinds[check_op(world, op)->kind];
    struct held *held = &node->held[node->held_count++];
    *held = (struct held){.token = lease->token,
                          .op = op,
                          .number = ++world->number,
                          .lease_ms = lease->lease_ms > 0 ? lease->lease_ms : 1000};
    trace(world, TRACE_WORK, index, op, lease->token.attempt);
    int64_t work_ns = world_range(world, STREAM_NODE, kind->work);
    world_after(world, work_ns, on_done, index, held->number, NULL);
    if (work_ns > held->lease_ms * SIM_MS / 3) {
        world_after(world, held->lease_ms * SIM_MS / 3, on_extend, index, held->number, NULL);
    }
}

/* --- hearing --- */

static void on_reported(struct world *world, struct sim_node *node, uint32_t index, const struct work_answer *said)
{
    uint32_t number = ++node->report_answered;
    uint64_t seq = said->reported_seq;
    CHECK_THAT(world, number <= node->report_sent, "proto", "node %s got an answer to a report that it did not send",
               node->name);
    check_visible(world, seq, "an answer to a report");
    trace(world, TRACE_REPORTED, index, number, seq);
    for (uint32_t i = 0; i < node->outbox_count && !world->report->has_failed;) {
        struct outbox_item *item = &node->outbox[i];
        if (item->report != number) {
            i++;
            continue;
        }
        bool is_refused = false;
        for (uint32_t r = 0; r < said->refused_count && !is_refused; r++) {
            is_refused = lease_token_equal(&said->refused[r].token, &item->outcome.token);
        }
        struct lease_token token = item->outcome.token;
        bool is_lie = item->is_lie;
        if (!is_refused) {
            check_accepted(world, index, item, seq);
        }
        node_outbox_remove(node, i);
        if (is_refused && !is_lie) {
            drop_token(world, node, index, &token, 1);
        }
    }
    report(world, node);
}

static void on_welcome(struct world *world, struct sim_node *node, uint32_t index, const struct work_welcome *welcome)
{
    node->is_live = true;
    check_visible(world, welcome->seq, "a welcome");
    trace(world, TRACE_WELCOME, index, welcome->session, welcome->is_resumed);
    for (uint32_t i = 0; i < welcome->lost_count; i++) {
        drop_token(world, node, index, &welcome->lost[i], 2);
        drop_outcomes(node, &welcome->lost[i]);
    }
    for (uint32_t i = 0; i < node->held_count; i++) {
        check_kept(world, index, welcome->session, &node->held[i].token);
    }
    report(world, node);
}

static void on_directives(struct world *world, struct sim_node *node, uint32_t index, const struct work_answer *said)
{
    for (uint32_t i = 0; i < said->directive_count; i++) {
        const struct directive *directive = &said->directives[i];
        if (directive->type == DIRECTIVE_CANCEL) {
            drop_token(world, node, index, &directive->token, 3);
        }
    }
    report(world, node);
}

static void hear(struct world *world, uint32_t index, struct slice text)
{
    struct sim_node *node = node_at(world, index);
    enum status status = work_answer_decode(world->json, text, world->said);
    CHECK_THAT(world, status == STATUS_OK, "proto", "node %s cannot read what the hub says: %.*s", node->name,
               (int)(text.len < 200 ? text.len : 200), text.data);
    if (status != STATUS_OK) {
        return;
    }
    node->heard_ns = world->now_ns;
    switch (world->said->type) {
    case WORK_WELCOME:
        on_welcome(world, node, index, &world->said->welcome);
        break;
    case WORK_LEASE:
        on_lease(world, node, index, &world->said->lease);
        break;
    case WORK_REPORTED:
        on_reported(world, node, index, world->said);
        break;
    case WORK_DIRECTIVES:
        on_directives(world, node, index, world->said);
        break;
    case WORK_ERROR: /* the hub closes, or the session is over; either way a new connection follows */
        break;
    }
}

struct kept_text {
    size_t len;
    char text[];
};

static void on_thawed_text(struct world *world, const struct event *event)
{
    const struct sim_node *node = node_at(world, (uint32_t)event->a);
    const struct kept_text *kept = event->owned;
    if (node->link != NULL && node->link->number == event->b) {
        hear(world, (uint32_t)event->a, slice_of(kept->text, kept->len));
    }
}

void node_on_text(struct world *world, uint32_t index, const struct link *link, struct slice text)
{
    const struct sim_node *node = node_at(world, index);
    if (node->link != link) {
        return; /* it was cut before the node knew of it */
    }
    if (node->agent != NULL) {
        agent_node_on_text(node->agent, text);
        return;
    }
    if (!is_frozen(world, node)) {
        hear(world, index, text);
        return;
    }
    struct kept_text *kept = malloc(sizeof(*kept) + text.len);
    ensure(kept != NULL);
    kept->len = text.len;
    memcpy(kept->text, text.data, text.len);
    world_after(world, node->frozen_until_ns - world->now_ns, on_thawed_text, index, link->number, kept);
}

/* --- connections --- */

static void on_redial(struct world *world, const struct event *event)
{
    struct sim_node *node = node_at(world, (uint32_t)event->a);
    if (node->is_up && node->life == event->b && node->link == NULL && !node->is_dialing) {
        node->is_dialing = true;
        net_dial(world, (uint32_t)event->a);
    }
}

static void dial_soon(struct world *world, uint32_t index)
{
    node_at(world, index)->guise = 0;
    uint64_t spread_ms = world_chance(world, STREAM_NODE, 300) ? 1 : 2 * REDIAL_MS;
    int64_t wait_ns = (int64_t)(1 + world_below(world, STREAM_NODE, spread_ms * 1000)) * SIM_US;
    world_after(world, wait_ns, on_redial, index, node_at(world, index)->life, NULL);
}

void node_on_connected(struct world *world, uint32_t index, struct link *link)
{
    struct sim_node *node = node_at(world, index);
    if (node->agent != NULL) {
        agent_node_on_connected(node->agent, link);
        return;
    }
    node->link = link;
    link->guise = node->guise;
    node->is_dialing = node->is_live = false;
    node->heard_ns = world->now_ns;
    trace(world, TRACE_DIAL, index, node->life, link->index);
    hello(world, node);
}

void node_on_refused(struct world *world, uint32_t index)
{
    struct sim_node *node = node_at(world, index);
    if (node->is_up && node->is_dialing && node->agent != NULL) {
        agent_node_on_refused(node->agent);
    } else if (node->is_up && node->is_dialing) {
        node->is_dialing = false;
        dial_soon(world, index);
    }
}

void node_on_closed(struct world *world, uint32_t index, const struct link *link)
{
    struct sim_node *node = node_at(world, index);
    if (node->link == link && node->agent != NULL) {
        agent_node_on_closed(node->agent);
    } else if (node->link == link) {
        node->link = NULL;
        node->is_live = false;
        dial_soon(world, index);
    }
}

static void on_beat(struct world *world, const struct event *event)
{
    uint32_t index = (uint32_t)event->a;
    struct sim_node *node = node_at(world, index);
    if (!node->is_up || node->life != event->b) {
        return;
    }
    world_after(world, LIMIT_BEAT_MS * SIM_MS, on_beat, event->a, event->b, NULL);
    if (is_frozen(world, node) || node->link == NULL) {
        return;
    }
    if (world->now_ns - node->heard_ns > LIMIT_LOST_MS * SIM_MS) {
        struct link *link = TAKE(node->link);
        node->is_live = false;
        net_close(world, link, SIDE_NODE);
        dial_soon(world, index);
    } else if (node->is_live) {
        struct work_load load = {.is_known = true, .cpu_permille = 100, .running = node->held_count};
        work_write_beat(text_begin(world), &load);
        say(world, node);
    }
}

/* --- life and faults --- */

static void node_begin(struct world *world, uint32_t index)
{
    struct sim_node *node = node_at(world, index);
    node->is_up = node->is_dialing = true;
    node->guise = 0;
    node->life++;
    node->instance = ++world->number;
    if (node->agent != NULL) {
        agent_node_begin(node->agent);
        return;
    }
    net_dial(world, index);
    world_after(world, LIMIT_BEAT_MS * SIM_MS, on_beat, index, node->life, NULL);
}

void nodes_init(struct world *world)
{
    const struct workload *workload = world->workload;
    world->node_count = workload->node_count;
    world->nodes = calloc(world->node_count, sizeof(*world->nodes));
    ensure(world->nodes != NULL);
    for (uint32_t i = 0; i < world->node_count; i++) {
        struct sim_node *node = node_at(world, i);
        snprintf(node->name, sizeof(node->name), "n%u", i);
        const struct workload_nodes *group = workload_group(workload, i);
        node->slots = group->slots < SIM_HELD_MAX ? group->slots : SIM_HELD_MAX;
        node->kinds = group->kinds;
        if ((i + world->options.seed) % 2 == 0) {
            node->agent = agent_node_new(world, i);
        }
        node_begin(world, i);
    }
}

void world_nodes_free(struct world *world)
{
    for (uint32_t i = 0; i < world->node_count; i++) {
        struct sim_node *node = node_at(world, i);
        if (node->agent != NULL) {
            agent_node_free(node->agent);
        }
        forget_work(node);
    }
    free(world->nodes);
}

static void on_restart(struct world *world, const struct event *event)
{
    const struct sim_node *node = node_at(world, (uint32_t)event->a);
    if (!node->is_up && node->life == event->b) {
        node_begin(world, (uint32_t)event->a);
    }
}

/* The process is gone; another one will come. */
static void node_down(struct world *world, uint32_t index, bool is_silent)
{
    struct sim_node *node = node_at(world, index);
    node->is_up = node->is_live = node->is_dialing = false;
    node->life++;
    node->frozen_until_ns = 0;
    forget_work(node);
    struct link *link = TAKE(node->link);
    if (link != NULL) {
        link->is_open[SIDE_NODE] = false;
        if (!is_silent) {
            net_abort(world, link, SIDE_NODE, false);
        }
    }
    int64_t wait_ns = (int64_t)(1 + world_below(world, STREAM_NODE, 2 * RESTART_MS)) * SIM_MS;
    world_after(world, wait_ns, on_restart, index, node->life, NULL);
}

void node_crash(struct world *world, uint32_t index)
{
    struct sim_node *node = node_at(world, index);
    if (!node->is_up) {
        return;
    }
    trace(world, TRACE_NODE_CRASH, index, node->held_count, node->outbox_count);
    if (node->agent != NULL) {
        agent_node_end(node->agent);
    }
    node_down(world, index, world_chance(world, STREAM_NODE, 300));
}

void node_stop(struct world *world, uint32_t index, enum stream stream)
{
    const struct sim_node *node = node_at(world, index);
    if (node->agent != NULL) {
        agent_node_stop(node->agent, stream);
    }
}

void node_pose(struct world *world, uint32_t index, enum stream stream)
{
    struct sim_node *node = node_at(world, index);
    uint32_t other = (uint32_t)world_below(world, stream, world->node_count);
    if (node->agent != NULL || node->link == NULL || is_frozen(world, node) || node_at(world, other)->agent == NULL) {
        return;
    }
    trace(world, TRACE_POSE, index, other, node->held_count);
    node->is_live = false;
    net_close(world, TAKE(node->link), SIDE_NODE);
    dial_soon(world, index);
    node->guise = other + 1;
}

void node_ended(struct world *world, uint32_t index)
{
    node_down(world, index, false);
}

void node_freeze(struct world *world, uint32_t index, int64_t for_ns)
{
    struct sim_node *node = node_at(world, index);
    if (node->is_up && !is_frozen(world, node)) {
        trace(world, TRACE_NODE_FREEZE, index, (uint64_t)(for_ns / SIM_MS), 0);
        node->frozen_until_ns = world->now_ns + for_ns;
    }
}

/* A token near the newest one of some recent task, but none that this node was given. */
bool node_choose_lie(struct world *world, uint32_t index, enum stream stream, uint64_t *ret_op,
                     struct lease_token *ret_token, uint64_t *ret_way)
{
    size_t count = world->checks.seen.op_count;
    const struct history_op *op = NULL;
    for (int i = 0; i < 8 && count > 0 && (op == NULL || op->lease_seq == 0); i++) {
        *ret_op = count - world_below(world, stream, count < 200 ? count : 200);
        op = check_seen(world, *ret_op);
    }
    if (op == NULL || op->lease_seq == 0) {
        return false;
    }
    *ret_way = world_below(world, stream, 4);
    *ret_token = (struct lease_token){.task_id = op->task_id, .attempt = op->attempt, .seq = op->lease_seq};
    if (*ret_way == 0 && ret_token->attempt > 1) {
        ret_token->attempt--;
    } else if (*ret_way == 1) {
        ret_token->seq--;
    } else if (*ret_way == 2) {
        ret_token->attempt++;
    } else if (op->holder == index || op->holder == HISTORY_NODE_NONE) {
        return false; /* that would be true, or may be */
    }
    sessions_seal(world->hub.hub.sessions, ret_token); /* as if it had come by the seal: the fence alone must hold */
    return true;
}

void node_lie(struct world *world, uint32_t index, enum stream stream)
{
    static const enum outcome_type types[] = {OUTCOME_COMPLETE, OUTCOME_COMPLETE, OUTCOME_FAIL, OUTCOME_RELEASE};
    index = node_at(world, index)->agent == NULL ? index : (index + 1) % world->node_count;
    struct sim_node *node = node_at(world, index);
    uint64_t op;
    uint64_t way;
    struct lease_token token;
    if (!node->is_live || node->agent != NULL || is_frozen(world, node) ||
        !node_choose_lie(world, index, stream, &op, &token, &way)) {
        return;
    }
    for (uint32_t i = 0; i < node->outbox_count; i++) {
        if (node->outbox[i].outcome.token.task_id == token.task_id) {
            return; /* its answer could not be told from that of the lie */
        }
    }
    struct outbox_item *item = node_outbox_add(node, types[world_below(world, stream, ARRAY_COUNT(types))], &token, op);
    if (item != NULL) {
        item->is_lie = true;
        snprintf(item->payload, sizeof(item->payload), "{\"lie\":%llu}", (unsigned long long)way);
        trace(world, TRACE_LIE, index, op, way);
        report(world, node);
    }
}

void nodes_heal(struct world *world)
{
    for (uint32_t i = 0; i < world->node_count; i++) {
        struct sim_node *node = node_at(world, i);
        node->cut_until_ns[SIDE_NODE] = node->cut_until_ns[SIDE_HUB] = 0;
    }
}
