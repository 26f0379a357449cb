/* worker_hub.c - the calls of workers at the hub: the world of hub/workers.c, and what must hold for it.
 *
 * Hanging up reaches the hub in two steps, as it does in a socket: first it can be seen by who asks (is_there), a little
 * later the hub is told (workers_gone). Some callers do so exactly when their lease is released.
 *
 * What is checked here: no call brings more leases than it asked for, or another worker's, or of kinds that the worker does
 * not know; what is released for a worker is answered or goes back soon (a promise); without a call there is no credit;
 * nobody who could be seen hanging up is handed a lease; a complete that is told as taken is the task's end. */
#include <stdio.h>
#include <stdlib.h>

#include "base/ensure.h"
#include "base/limits.h"
#include "sim/worker_internal.h"

#define DELAY_US 20
#define SPREAD_US 700
#define SEEN_US 150 /* from the moment a hang-up can be seen to the moment the hub is told */
#define SOON_MS 400 /* of a hub that can write: some fsyncs, and retries when it is full */
#define SILENCE_SLACK_MS 1500

/* --- the network --- */

int64_t worker_arrival_after(struct world *world, const struct sim_worker *worker, struct lane *lane, enum side to)
{
    uint64_t spread = world_chance(world, STREAM_WORKER, 20) ? SPREAD_US * 20 : SPREAD_US;
    int64_t at_ns = world->now_ns + (DELAY_US + (int64_t)world_below(world, STREAM_WORKER, spread)) * SIM_US;
    const int64_t least[] = {lane->last_arrival_ns[to], worker->cut_until_ns[to]};
    for (size_t i = 0; i < ARRAY_COUNT(least); i++) {
        at_ns = at_ns < least[i] ? least[i] : at_ns;
    }
    lane->last_arrival_ns[to] = at_ns;
    return at_ns - world->now_ns;
}

/* An answer for a lane, out of `body`. */
static void tell(struct world *world, const struct worker_call *call, enum status status, struct slice body)
{
    struct sim_worker *worker = worker_at(world, call->worker);
    struct told *told = calloc(1, sizeof(*told) + body.len);
    ensure(told != NULL);
    told->request = call->request;
    told->status = status;
    told->done_count = call->done_count;
    told->len = body.len;
    if (body.len > 0) {
        memcpy(told->body, body.data, body.len);
    }
    for (uint32_t i = 0; i < call->done_count && status == STATUS_OK; i++) {
        static struct task_view view; /* large */
        const struct history_op *op = history_op_of_task(&world->checks.seen, call->done[i]);
        told->done[i] = call->done[i];
        if (core_task_get(sequencer_core(world->hub.hub.sequencer), call->done[i], &view) == STATUS_OK) {
            told->versions[i] = view.state == TASK_SUCCEEDED ? view.changed_seq : 0;
        } else if (op != NULL && op->has_row && op->row.state == TASK_SUCCEEDED) {
            told->versions[i] = op->row.seq;
        }
    }
    world_after(world, worker_arrival_after(world, worker, &worker->lanes[call->lane], SIDE_NODE), worker_on_told,
                call->worker, call->lane, told);
}

/* --- at the hub --- */

static struct worker_call *call_of(struct call *call)
{
    return (struct worker_call *)call;
}

static struct worker_call *call_find(const struct world *world, uint64_t request)
{
    struct worker_call *call = world->workers->calls;
    while (call != NULL && call->request != request) {
        call = call->next;
    }
    return call;
}

static void call_end(struct worker_call *call)
{
    struct sim_worker *worker = worker_at(call->world, call->worker);
    worker->open_calls--;
    worker->called_ns = call->world->now_ns;
    *call->link = call->next;
    if (call->next != NULL) {
        call->next->link = call->link;
    }
    buf_free(&call->body);
    free(call);
}

static void port_set_poll(struct call *pub, struct poll *poll)
{
    call_of(pub)->poll = poll;
}

static bool port_is_there(const struct call *pub)
{
    return !((const struct worker_call *)pub)->is_hung_up;
}

static struct buf *port_answer_begin(struct call *pub)
{
    struct buf *body = &call_of(pub)->body;
    buf_reset(body);
    return body;
}

static void port_answer(struct call *pub, uint64_t seq)
{
    struct worker_call *call = call_of(pub);
    struct world *world = call->world;
    struct slice body = buf_slice(&call->body);
    const struct slice none = SLICE("[]}"); /* leases come last */
    bool has_leases = body.len < none.len || memcmp(body.data + body.len - none.len, none.data, none.len) != 0;
    if (has_leases) {
        worker_at(world, call->worker)->promise_count = 0; /* K1: the leases of a worker are all in one call */
        CHECK_THAT(world, !call->is_hung_up || call->is_dead, "gone",
                   "worker %s is handed a lease after it could be seen hanging up",
                   worker_at(world, call->worker)->name);
    }
    trace(world, TRACE_WORKER_TOLD, call->worker, call->request, has_leases);
    if (!call->is_dead && !call->is_hung_up && !fault_loses(world)) {
        check_visible(world, seq, "an answer to a worker");
        tell(world, call, STATUS_OK, body);
    }
    call_end(call);
}

static void port_refuse(struct call *pub, enum status status, const char *detail)
{
    struct worker_call *call = call_of(pub);
    struct world *world = call->world;
    (void)detail;
    if (!call->is_dead && !call->is_hung_up && !fault_loses(world)) {
        tell(world, call, status, (struct slice){NULL, 0});
    }
    call_end(call);
}

void workers_fill_port(struct session_port *ret_port)
{
    ret_port->set_poll = port_set_poll;
    ret_port->is_there = port_is_there;
    ret_port->answer_begin = port_answer_begin;
    ret_port->answer = port_answer;
    ret_port->refuse = port_refuse;
}

static void arrive_poll(struct world *world, struct worker_call *call, const struct sent *sent)
{
    const struct sim_worker *worker = worker_at(world, call->worker);
    struct command_node_hello hello = {
        .node = slice_str(worker->name), .info = SLICE("{}"), .is_worker = true, .credit = sent->max};
    for (uint32_t i = 0; i < world->workload->kind_count; i++) {
        if ((worker->kinds & 1u << i) != 0) {
            hello.kinds[hello.kind_count++] = slice_str(world->workload->kinds[i].name);
        }
    }
    workers_poll(world->hub.hub.sessions, (struct call *)call, &hello, sent->shown, sent->wait_ms);
}

static void arrive_report(struct world *world, struct worker_call *call, const struct sent *sent)
{
    struct json_value root;
    struct field_error error;
    uint32_t count = 0;
    buf_reset(&world->aux);
    const struct work_tokens tokens = sessions_tokens(world->hub.hub.sessions);
    enum status status = json_parse(world->hub.hub.json, slice_of(sent->outcomes, sent->len), &root, NULL, NULL);
    if (status == STATUS_OK) {
        status = work_outcomes_decode(root, "/outcomes", &tokens, &world->aux, &count, NULL, &error);
    }
    CHECK_THAT(world, status == STATUS_OK, "proto", "the hub cannot read a worker's report: %.*s",
               (int)(sent->len < 200 ? sent->len : 200), sent->outcomes);
    if (status != STATUS_OK) {
        call_end(call);
        return;
    }
    workers_report(world->hub.hub.sessions, (struct call *)call, sent->session, count, buf_slice(&world->aux),
                   (const struct lease_token *)(const void *)tokens.said->data, (struct slice){NULL, 0}, sent->max,
                   sent->wait_ms);
}

void worker_on_sent(struct world *world, const struct event *event)
{
    struct workers *workers = world->workers;
    struct sim_worker *worker = worker_at(world, event->a);
    const struct hub *hub = &world->hub.hub;
    const struct sent *sent = event->owned;
    struct worker_call *call = calloc(1, sizeof(*call));
    ensure(call != NULL);
    *call = (struct worker_call){.world = world,
                                 .worker = (uint32_t)event->a,
                                 .lane = (uint32_t)event->b,
                                 .life = sent->life,
                                 .request = sent->request,
                                 .leaves_at_lease = sent->leaves_at_lease,
                                 .done_count = sent->done_count};
    memcpy(call->done, sent->done, sizeof(call->done));
    buf_init(&call->body, 1 << 20);
    call->link = &workers->calls;
    call->next = workers->calls;
    if (call->next != NULL) {
        call->next->link = &call->next;
    }
    workers->calls = call;
    worker->open_calls++;
    worker->called_ns = world->now_ns;
    if (!world->hub.is_up || !hub->is_ready || hub->is_stopping) {
        port_refuse((struct call *)call, STATUS_NOT_READY, NULL);
    } else if (sent->session == 0) {
        arrive_poll(world, call, sent);
    } else {
        arrive_report(world, call, sent);
    }
}

/* The hub is told that a caller has left. */
static void on_seen(struct world *world, const struct event *event)
{
    struct worker_call *call = call_find(world, event->a);
    if (call != NULL) {
        workers_gone(call->poll);
    }
}

static void leave(struct world *world, struct worker_call *call)
{
    call->is_hung_up = true;
    world_after(world, (int64_t)world_below(world, STREAM_WORKER, SEEN_US) * SIM_US, on_seen, call->request, 0, NULL);
}

void worker_on_end(struct world *world, const struct event *event)
{
    struct worker_call *call = call_find(world, event->a);
    if (call != NULL && !call->is_hung_up) {
        leave(world, call);
    }
}

/* A lease was released for whoever has this session: it must be answered, or go back. */
void workers_on_promise(struct world *world, const struct effect_lease *lease)
{
    struct workers *workers = world->workers;
    struct node_view view;
    if (workers->count == 0 || !core_session_find(sequencer_core(world->hub.hub.sequencer), lease->session, &view) ||
        !view.is_worker) {
        return;
    }
    uint32_t index = 0;
    while (index < workers->count && !slice_equal_str(view.name, workers->list[index].name)) {
        index++;
    }
    ensure(index < workers->count);
    struct sim_worker *worker = &workers->list[index];
    if (worker->promise_count < PROMISES_MAX) {
        worker->promises[worker->promise_count++] = (struct promise){lease->offer.token, world->now_ns};
    }
    for (struct worker_call *call = workers->calls; call != NULL; call = call->next) {
        if (call->worker == index && call->leaves_at_lease && !call->is_hung_up) {
            leave(world, call);
            if (worker->lanes[call->lane].request == call->request) {
                worker_left_at_lease(world, index, call->lane);
            }
            return;
        }
    }
}

/* --- the hub's process ends --- */

void workers_hub_died(struct world *world, bool is_silent)
{
    struct workers *workers = world->workers;
    for (struct worker_call *call = workers->calls; call != NULL; call = call->next) {
        if (!call->is_dead && !call->is_hung_up && !is_silent) {
            tell(world, call, STATUS_NOT_READY, (struct slice){NULL, 0}); /* the connection closes */
        }
        call->is_dead = true;
    }
    for (uint32_t i = 0; i < workers->count; i++) {
        worker_at(world, i)->promise_count = 0; /* nobody else can have heard of these: they end by time */
    }
}

void workers_drop_calls(struct world *world)
{
    while (world->workers->calls != NULL) {
        workers_gone(world->workers->calls->poll);
    }
}

/* --- checks --- */

/* Since when the hub could have done anything about it. */
static int64_t able_since_ns(const struct world *world)
{
    const struct sim_hub *hub = &world->hub;
    int64_t since_ns = hub->up_since_ns > hub->slow_until_ns ? hub->up_since_ns : hub->slow_until_ns;
    return since_ns > hub->full_until_ns ? since_ns : hub->full_until_ns;
}

static bool is_held(struct world *world, const struct lease_token *token)
{
    static struct task_view view; /* large */
    return core_task_get(sequencer_core(world->hub.hub.sequencer), token->task_id, &view) == STATUS_OK &&
           view.state == TASK_LEASED && view.attempt_count > 0 &&
           view.attempt[view.attempt_count - 1].attempt == token->attempt;
}

static bool is_long_ago(const struct world *world, int64_t at_ns, int64_t limit_ms)
{
    int64_t since_ns = able_since_ns(world);
    return world->now_ns - (at_ns > since_ns ? at_ns : since_ns) > limit_ms * SIM_MS;
}

void check_workers(struct world *world)
{
    struct core *core = sequencer_core(world->hub.hub.sequencer);
    for (uint32_t i = 0; i < world->workers->count && !world->report->has_failed; i++) {
        struct sim_worker *worker = worker_at(world, i);
        for (uint32_t k = 0; k < worker->promise_count;) {
            const struct promise *promise = &worker->promises[k];
            if (!is_long_ago(world, promise->at_ns, SOON_MS)) {
                k++;
                continue;
            }
            CHECK_THAT(world, !is_held(world, &promise->token), "promise",
                       "task %llx was leased to worker %s %lld ms ago, which neither has it nor has left it",
                       (unsigned long long)promise->token.task_id, worker->name,
                       (long long)((world->now_ns - promise->at_ns) / SIM_MS));
            worker->promises[k] = worker->promises[--worker->promise_count];
        }
        struct node_view view;
        if (worker->open_calls > 0 || !is_long_ago(world, worker->called_ns, SOON_MS) ||
            !core_node_find(core, slice_str(worker->name), &view)) {
            continue;
        }
        CHECK_THAT(world, view.credit == 0, "T5", "nobody calls for worker %s, which has credit for %u", worker->name,
                   view.credit);
        CHECK_THAT(world,
                   view.session == 0 || view.leases > 0 ||
                       !is_long_ago(world, worker->called_ns, LIMIT_WORKER_IDLE_MS + SILENCE_SLACK_MS),
                   "silence", "worker %s has not called for %lld ms and has a session", worker->name,
                   (long long)((world->now_ns - worker->called_ns) / SIM_MS));
    }
}

bool workers_are_done(struct world *world, char *ret_why, size_t why_size)
{
    struct workers *workers = world->workers;
    workers->is_retired = true;
    for (uint32_t i = 0; i < workers->count; i++) {
        const struct sim_worker *worker = worker_at(world, i);
        struct node_view view;
        bool is_calling = worker->open_calls > 0 || worker->lanes[0].request != 0 || worker->lanes[1].request != 0;
        if (!worker->is_up || is_calling || worker->held_count > 0 || worker->outbox_count > 0) {
            snprintf(ret_why, why_size, "worker %s is not at rest", worker->name);
            return false;
        }
        if (core_node_find(sequencer_core(world->hub.hub.sequencer), slice_str(worker->name), &view) &&
            view.session != 0) {
            snprintf(ret_why, why_size, "worker %s has a session, and nothing to do", worker->name);
            return false;
        }
    }
    struct sessions_stats stats;
    sessions_stats(world->hub.hub.sessions, &stats);
    if (stats.polls > 0 || stats.workers > 0) {
        snprintf(ret_why, why_size, "the hub has %u polls and records of %u workers", stats.polls, stats.workers);
        return false;
    }
    return true;
}
