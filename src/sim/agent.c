/* agent.c - the world of a production agent (src/node/agent.c): its process, connection, timers and launchers.
 *
 *   event ──▶ the process stands still? ──yes──▶ kept, in order, until it goes on
 *                      │ no
 *                      ▼
 *                 one turn: what happened, then what the agent wanted flushed (or, now and then, a little later, together
 *                 with what comes meanwhile, as in a busy loop)
 *
 * Work takes virtual time. It succeeds, fails, hangs until it is stopped, cannot begin, gives a result that is no JSON; when
 * it is cancelled it ends inside the call, soon, late, or comes to its own end all the same. shadow.c watches all of it. */
#include "sim/agent.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/ensure.h"
#include "base/limits.h"

#define CLOSE_MS 2000 /* as ws_client.c waits for the peer's close frame */
#define OVERDUE_MS 60 /* past a timeout, rounding and a slow turn included */

enum thing {
    THING_OPEN,
    THING_TEXT,
    THING_CLOSED,
    THING_REFUSED,
    THING_GIVE_UP,
    THING_TIMER,
    THING_DONE,
    THING_OVERDUE,
    THING_FLUSH,
    THING_DRAIN,
    THING_KILL,
    THING_ENDED
};

struct late {
    enum thing thing;
    uint64_t number;
    char *text; /* owned; THING_TEXT */
    size_t len;
};

static void on_thing(struct world *world, const struct event *event);

static uint64_t below(struct sim_agent *sim, uint64_t bound)
{
    return world_below(sim->world, STREAM_NODE, bound);
}

static bool chance(struct sim_agent *sim, uint32_t permille)
{
    return world_chance(sim->world, STREAM_NODE, permille);
}

static void post(struct sim_agent *sim, int64_t delay_ns, enum thing thing, uint64_t number)
{
    world_after(sim->world, delay_ns, on_thing, sim->index | (uint64_t)thing << 32, number, NULL);
}

/* --- launchers --- */

static void write_result(struct sim_agent *sim, const struct work_run *run, struct buf *out)
{
    size_t pad = (size_t)world_range(sim->world, STREAM_NODE, sim->world->workload->kinds[run->kind].result);
    buf_printf(out, "{\"op\":%llu,\"by\":%llu", (unsigned long long)run->op, (unsigned long long)run->token.seq);
    if (pad > out->len + 10) {
        buf_append_str(out, ",\"pad\":\"");
        while (out->len < pad) {
            buf_append_char(out, 'r');
        }
        buf_append_char(out, '"');
    }
    buf_append_char(out, '}');
}

static void forget_run(struct sim_agent *sim, struct work_run *run)
{
    struct sim_node *node = sim->node;
    uint32_t i = 0;
    while (sim->runs[i] != run) {
        i++;
    }
    sim->runs[i] = sim->runs[--node->held_count];
}

/* The run comes to an end, its own or the one that was asked for. */
static void end_run(struct sim_agent *sim, struct work_run *run)
{
    const struct workload_kind *kind = &sim->world->workload->kinds[run->kind];
    struct work_done done = {.error_kind = SLICE("planned"), .message = SLICE("It fails on purpose.")};
    struct buf result;
    buf_init(&result, 1 << 20);
    if (run->is_cancelled && !run->is_stubborn) {
        done.error_kind = done.message = SLICE("cancelled");
    } else if (chance(sim, kind->fail_permille)) {
        done.is_final = chance(sim, 50);
    } else {
        bool is_json = !chance(sim, 3);
        write_result(sim, run, &result);
        done.is_success = true;
        done.result = is_json ? buf_slice(&result) : SLICE("{\"op\":");
        if (!is_json) {
            buf_reset(&result);
        }
    }
    trace(sim->world, TRACE_DONE, sim->index, run->op, result.len > 0 ? OUTCOME_COMPLETE : OUTCOME_FAIL);
    forget_run(sim, run);
    if (!run->is_dropped) {
        shadow_done(sim, &run->token, run->op, buf_slice(&result));
    }
    run->done(run->ctx, &done);
    buf_free(&result);
    free(run);
}

static struct work_run *find_run(const struct sim_agent *sim, uint64_t number)
{
    for (uint32_t i = 0; i < sim->node->held_count; i++) {
        if (sim->runs[i]->number == number) {
            return sim->runs[i];
        }
    }
    return NULL;
}

static enum status launcher_start(void *state, const struct work_input *input,
                                  void (*done)(void *ctx, const struct work_done *done), void *ctx,
                                  struct work_run **ret_run)
{
    const struct sim_kind *kind = state;
    struct sim_agent *sim = kind->sim;
    struct world *world = sim->world;
    struct lease_token token;
    bool is_token = lease_token_parse(slice_str(input->token), &token);
    ensure(is_token);
    uint64_t op = check_op_of_text(input->input);
    shadow_starts(sim, &token, op, input->slot);
    if (world->report->has_failed || chance(sim, 3)) { /* no more runs after a failure: there may be no room */
        shadow_done(sim, &token, op, (struct slice){NULL, 0});
        return STATUS_NO_SPACE;
    }
    struct work_run *run = calloc(1, sizeof(*run));
    ensure(run != NULL && sim->node->held_count < SIM_HELD_MAX);
    *run = (struct work_run){.sim = sim,
                             .token = token,
                             .op = op,
                             .number = ++world->number,
                             .kind = kind->kind,
                             .slot = input->slot,
                             .started_ns = world->now_ns,
                             .said_ns = world->now_ns,
                             .timeout_ms = input->timeout_ms,
                             .lease_ms = sim->lease.lease_ms,
                             .done = done,
                             .ctx = ctx};
    sim->runs[sim->node->held_count++] = run;
    trace(world, TRACE_WORK, sim->index, op, token.attempt);
    if (run->timeout_ms > 0) {
        post(sim, (run->timeout_ms + OVERDUE_MS) * SIM_MS, THING_OVERDUE, run->number);
    }
    if (run->timeout_ms == 0 || !chance(sim, 20)) { /* else it hangs */
        post(sim, world_range(world, STREAM_NODE, world->workload->kinds[run->kind].work), THING_DONE, run->number);
    }
    *ret_run = run;
    return STATUS_OK;
}

static void launcher_cancel(struct work_run *run)
{
    struct sim_agent *sim = run->sim;
    shadow_cancels(sim, run);
    trace(sim->world, TRACE_DROP, sim->index, run->op, run->is_dropped);
    run->is_cancelled = true;
    uint64_t way = below(sim, 100);
    run->is_stubborn = way < 10;
    if (way % 10 < 2) {
        end_run(sim, run);
    } else {
        uint64_t within_ms = way == 99 ? 9000 : 40;
        post(sim, (int64_t)(1 + below(sim, within_ms * 1000)) * SIM_US, THING_DONE, run->number);
    }
}

static bool launcher_progress(struct work_run *run, uint16_t *ret_permille, struct buf *ret_note)
{
    *ret_permille = 500;
    buf_append_str(ret_note, "half");
    return chance(run->sim, 600);
}

/* --- the table --- */

static int64_t port_mono_ns(void *ctx)
{
    const struct sim_agent *sim = ctx;
    return sim->world->now_ns;
}

static uint64_t port_random(void *ctx)
{
    return below(ctx, UINT64_MAX);
}

/* An event that comes too soon is used to post the next one: timers are put off far more often than they fire. */
static void arm_timer(struct sim_agent *sim, enum agent_timer which)
{
    struct sim_timer *timer = &sim->timers[which];
    if (timer->due_ns >= timer->event_ns) {
        return;
    }
    timer->event_ns = timer->due_ns;
    timer->number = ++sim->world->number;
    post(sim, timer->due_ns - sim->world->now_ns, THING_TIMER, timer->number);
}

static void port_set_timer(void *ctx, enum agent_timer timer, int64_t wait_ms)
{
    struct sim_agent *sim = ctx;
    sim->timers[timer].due_ns = wait_ms == AGENT_TIMER_OFF ? INT64_MAX : sim->world->now_ns + wait_ms * SIM_MS;
    arm_timer(sim, timer);
}

static enum status port_connect(void *ctx, int64_t connect_ms)
{
    struct sim_agent *sim = ctx;
    ensure(sim->connection == 0);
    if (sim->agent != NULL && chance(sim, 5)) {
        return STATUS_NO_MEMORY;
    }
    sim->connection = ++sim->world->number;
    sim->is_closing = false;
    sim->node->is_dialing = true;
    net_dial(sim->world, sim->index);
    post(sim, connect_ms * SIM_MS, THING_GIVE_UP, sim->connection);
    return STATUS_OK;
}

static void port_send(void *ctx, struct slice text)
{
    struct sim_agent *sim = ctx;
    if (sim->connection == 0 || sim->is_closing) {
        return;
    }
    shadow_said(sim, text);
    if (sim->node->link != NULL) { /* else it is gone, and the agent does not know yet */
        net_send(sim->world, sim->node->link, SIDE_NODE, text);
    }
}

static void port_close(void *ctx)
{
    struct sim_agent *sim = ctx;
    struct sim_node *node = sim->node;
    ensure(sim->connection != 0);
    if (sim->is_closing) {
        return;
    }
    sim->is_closing = true;
    struct link *link = TAKE(node->link);
    if (link != NULL) {
        net_close(sim->world, link, SIDE_NODE);
    } else if (!node->is_dialing) {
        return; /* that it is gone is on its way to the agent */
    }
    node->is_dialing = false;
    int64_t after_ns = link != NULL && chance(sim, 100) ? CLOSE_MS * SIM_MS : (int64_t)below(sim, 3000) * SIM_US;
    post(sim, after_ns, THING_CLOSED, sim->connection);
}

static void port_flush_soon(void *ctx)
{
    ((struct sim_agent *)ctx)->wants_flush = true;
}

static void port_end(void *ctx)
{
    struct sim_agent *sim = ctx;
    for (unsigned i = 0; i < AGENT_TIMER_COUNT; i++) {
        sim->timers[i].due_ns = INT64_MAX;
    }
    sim->wants_flush = false;
    post(sim, 0, THING_ENDED, sim->node->life);
}

static void port_free(void *ctx)
{
    (void)ctx; /* it outlives its processes */
}

/* --- what happens to the process --- */

static void on_timer(struct sim_agent *sim, uint64_t number)
{
    for (unsigned i = 0; i < AGENT_TIMER_COUNT; i++) {
        struct sim_timer *timer = &sim->timers[i];
        if (timer->number != number || timer->event_ns == INT64_MAX) {
            continue;
        }
        timer->event_ns = INT64_MAX;
        if (timer->due_ns > sim->world->now_ns) {
            arm_timer(sim, (enum agent_timer)i);
        } else {
            timer->due_ns = INT64_MAX;
            agent_on_timer(sim->agent, (enum agent_timer)i);
        }
        return;
    }
}

static void on_closed(struct sim_agent *sim, uint64_t connection, enum status status)
{
    if (sim->connection == connection) {
        sim->connection = 0;
        sim->is_closing = false;
        shadow_closed(sim);
        agent_on_closed(sim->agent, status, status_title(status));
    }
}

static void on_text(struct sim_agent *sim, uint64_t connection, struct slice text)
{
    struct world *world = sim->world;
    if (sim->connection != connection || sim->is_closing) {
        return;
    }
    enum status status = work_answer_decode(world->json, text, world->said);
    CHECK_THAT(world, status == STATUS_OK, "proto", "node %s cannot read what the hub says: %.*s", sim->node->name,
               (int)(text.len < 200 ? text.len : 200), text.data);
    if (status == STATUS_OK && !world->report->has_failed) {
        shadow_hears(sim, world->said);
        agent_on_message(sim->agent, text);
        shadow_heard(sim, world->said);
    }
}

static void handle(struct sim_agent *sim, enum thing thing, uint64_t number, struct slice text)
{
    struct work_run *run;
    bool is_current = sim->connection == number && !sim->is_closing;
    switch (thing) {
    case THING_OPEN:
        if (is_current) {
            shadow_opened(sim);
            agent_on_open(sim->agent);
        }
        break;
    case THING_TEXT:
        on_text(sim, number, text);
        break;
    case THING_CLOSED:
        on_closed(sim, number, STATUS_CLOSED);
        break;
    case THING_REFUSED:
        on_closed(sim, number, STATUS_UNREACHABLE);
        break;
    case THING_GIVE_UP:
        if (is_current && sim->node->is_dialing) {
            sim->node->is_dialing = false;
            on_closed(sim, number, STATUS_TIMEOUT);
        }
        break;
    case THING_TIMER:
        on_timer(sim, number);
        break;
    case THING_DONE:
    case THING_OVERDUE:
        run = find_run(sim, number);
        if (run != NULL && thing == THING_DONE) {
            end_run(sim, run);
        } else if (run != NULL) {
            shadow_overdue(sim, run);
        }
        break;
    case THING_FLUSH:
        sim->has_flush_event = false;
        break;
    case THING_DRAIN:
    case THING_KILL:
        if (sim->node->life == number) {
            sim->is_signalled = true;
            trace(sim->world, TRACE_NODE_STOP, sim->index, thing == THING_KILL, sim->node->held_count);
            if (thing == THING_DRAIN) {
                agent_drain(sim->agent);
            } else {
                agent_kill(sim->agent);
            }
        }
        break;
    case THING_ENDED:
        if (sim->node->life == number) {
            agent_on_ended(sim->agent);
        }
        break;
    }
}

static void end_turn(struct sim_agent *sim)
{
    if (sim->agent == NULL || !sim->wants_flush || sim->has_flush_event) {
        return;
    }
    if (chance(sim, 150)) {
        sim->has_flush_event = true;
        post(sim, (int64_t)below(sim, 400) * SIM_US, THING_FLUSH, 0);
        return;
    }
    while (sim->wants_flush) {
        sim->wants_flush = false;
        agent_on_flush(sim->agent);
    }
}

static bool is_frozen(const struct sim_agent *sim)
{
    return sim->node->frozen_until_ns > sim->world->now_ns;
}

static void on_thaw(struct world *world, const struct event *event)
{
    struct sim_agent *sim = world->nodes[event->a].agent;
    if (sim->agent == NULL || sim->node->life != event->b) {
        return;
    }
    if (is_frozen(sim)) {
        world_after(world, sim->node->frozen_until_ns - world->now_ns, on_thaw, event->a, event->b, NULL);
        return;
    }
    sim->has_thaw = false;
    sim->thawed_ns = world->now_ns;
    size_t count = sim->late_count;
    struct late *late = TAKE(sim->late);
    sim->late_count = sim->late_cap = 0;
    for (size_t i = 0; i < count; i++) {
        if (sim->agent != NULL) {
            handle(sim, late[i].thing, late[i].number, slice_of(late[i].text, late[i].len));
        }
        free(late[i].text);
    }
    free(late);
    end_turn(sim);
}

static void keep(struct sim_agent *sim, enum thing thing, uint64_t number, struct slice text)
{
    if (sim->late_count == sim->late_cap) {
        sim->late_cap = sim->late_cap == 0 ? 16 : sim->late_cap * 2;
        sim->late = realloc(sim->late, sim->late_cap * sizeof(*sim->late));
        ensure(sim->late != NULL);
    }
    struct late *late = &sim->late[sim->late_count++];
    *late = (struct late){.thing = thing, .number = number, .len = text.len};
    if (text.len > 0) {
        late->text = malloc(text.len);
        ensure(late->text != NULL);
        memcpy(late->text, text.data, text.len);
    }
    if (!sim->has_thaw) {
        sim->has_thaw = true;
        world_after(sim->world, sim->node->frozen_until_ns - sim->world->now_ns, on_thaw, sim->index, sim->node->life,
                    NULL);
    }
}

static void happens(struct sim_agent *sim, enum thing thing, uint64_t number, struct slice text)
{
    if (sim->agent == NULL) {
        return;
    }
    if (is_frozen(sim) || sim->late_count > 0) {
        keep(sim, thing, number, text);
        return;
    }
    handle(sim, thing, number, text);
    end_turn(sim);
}

static void on_thing(struct world *world, const struct event *event)
{
    struct sim_agent *sim = world->nodes[event->a & UINT32_MAX].agent;
    happens(sim, (enum thing)(event->a >> 32), event->b, (struct slice){NULL, 0});
}

/* --- from the network --- */

void agent_node_on_connected(struct sim_agent *sim, struct link *link)
{
    sim->node->link = link;
    sim->node->is_dialing = false;
    trace(sim->world, TRACE_DIAL, sim->index, sim->node->life, link->index);
    happens(sim, THING_OPEN, sim->connection, (struct slice){NULL, 0});
}

void agent_node_on_refused(struct sim_agent *sim)
{
    sim->node->is_dialing = false;
    happens(sim, THING_REFUSED, sim->connection, (struct slice){NULL, 0});
}

void agent_node_on_text(struct sim_agent *sim, struct slice text)
{
    happens(sim, THING_TEXT, sim->connection, text);
}

void agent_node_on_closed(struct sim_agent *sim)
{
    sim->node->link = NULL;
    happens(sim, THING_CLOSED, sim->connection, (struct slice){NULL, 0});
}

/* --- life --- */

/* All that a dying process had is gone. Its memory is not: runs are ended so that the agent can let go of them, and nothing
 * of that reaches anybody. */
void agent_node_end(struct sim_agent *sim)
{
    const struct work_done killed = {.error_kind = SLICE("killed")};
    struct agent *agent = TAKE(sim->agent);
    while (sim->node->held_count > 0) {
        struct work_run *run = sim->runs[--sim->node->held_count];
        run->done(run->ctx, &killed);
        free(run);
    }
    agent_free(agent);
    shadow_closed(sim);
    for (size_t i = 0; i < sim->late_count; i++) {
        free(sim->late[i].text);
    }
    free(TAKE(sim->late));
    sim->late_count = sim->late_cap = 0;
    sim->connection = 0;
    sim->is_closing = sim->wants_flush = sim->has_flush_event = sim->has_thaw = false;
    for (unsigned i = 0; i < AGENT_TIMER_COUNT; i++) {
        sim->timers[i] = (struct sim_timer){.due_ns = INT64_MAX, .event_ns = INT64_MAX};
    }
}

static void on_ended(void *ctx, enum status status, const char *why, uint32_t runs_left)
{
    struct sim_agent *sim = ctx;
    trace(sim->world, TRACE_NODE_END, sim->index, (uint64_t)status, runs_left);
    shadow_ended(sim, status, why, runs_left);
    agent_node_end(sim);
    node_ended(sim->world, sim->index);
}

void agent_node_stop(struct sim_agent *sim, enum stream stream)
{
    struct world *world = sim->world;
    if (sim->agent == NULL || sim->is_signalled) {
        return;
    }
    if (world_chance(world, stream, 300)) {
        int64_t kill_ns = (int64_t)world_below(world, stream, 3000000) * SIM_US;
        post(sim, kill_ns, THING_KILL, sim->node->life);
    }
    happens(sim, THING_DRAIN, sim->node->life, (struct slice){NULL, 0});
}

void agent_node_begin(struct sim_agent *sim)
{
    struct world *world = sim->world;
    const struct workload *workload = world->workload;
    struct sim_node *node = sim->node;
    sim->is_signalled = sim->is_told_to_end = sim->has_left = false;
    sim->thawed_ns = 0;
    struct agent_config config = {.hub_url = "the simulated hub",
                                  .name = slice_str(node->name),
                                  .slots = node->slots,
                                  .instance = node->instance,
                                  .owner = sim->index + 1,
                                  .start = node->life,
                                  .facts = {.cpu_milli = 4000, .memory_mib = 4096},
                                  .info = SLICE("{}"),
                                  .kinds = sim->offers,
                                  .drain_ms = (int64_t)below(sim, 4000),
                                  .on_ended = on_ended,
                                  .ctx = sim};
    for (uint32_t i = 0; i < workload->kind_count; i++) {
        if ((node->kinds & 1u << i) != 0) {
            sim->offers[config.kind_count++] =
                (struct agent_kind){.launcher = &sim->kinds[i].launcher, .state = &sim->kinds[i]};
        }
    }
    const struct agent_port port = {.mono_ns = port_mono_ns,
                                    .random = port_random,
                                    .set_timer = port_set_timer,
                                    .connect = port_connect,
                                    .send = port_send,
                                    .close = port_close,
                                    .flush_soon = port_flush_soon,
                                    .end = port_end,
                                    .free = port_free,
                                    .ctx = sim};
    enum status status = agent_make(&config, &port, &sim->agent);
    ensure(status == STATUS_OK);
}

struct sim_agent *agent_node_new(struct world *world, uint32_t index)
{
    struct sim_agent *sim = calloc(1, sizeof(*sim));
    ensure(sim != NULL);
    sim->world = world;
    sim->index = index;
    sim->node = &world->nodes[index];
    for (unsigned i = 0; i < AGENT_TIMER_COUNT; i++) {
        sim->timers[i] = (struct sim_timer){.due_ns = INT64_MAX, .event_ns = INT64_MAX};
    }
    for (uint32_t i = 0; i < world->workload->kind_count; i++) {
        sim->kinds[i] = (struct sim_kind){.sim = sim,
                                          .kind = i,
                                          .launcher = {.kind = world->workload->kinds[i].name,
                                                       .start = launcher_start,
                                                       .cancel = launcher_cancel,
                                                       .progress = i % 2 != 0 ? launcher_progress : NULL}};
    }
    return sim;
}

void agent_node_free(struct sim_agent *sim)
{
    agent_node_end(sim);
    free(sim);
}
