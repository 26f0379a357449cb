/* worker.c - workers over plain HTTP: they ask for leases, work, report, hang up, die, and come back under the same name.
 *
 *   lane   free ──POST /v1/leases, or :report with what is done──▶ at the hub ──answer──▶ free
 *                      └── lost, no answer in time, hung up: leases in it are nobody's, outcomes in it are said again
 *
 * The requests enter hub/workers.c where the route's handler would bring them, reports after their JSON was decoded; the
 * answers are the bodies that a caller gets. A worker has two lanes, so that its polls stand in line behind each other and its
 * reports overtake them. A lane keeps the order of what it sends, as its connection would.
 *
 * Hanging up reaches the hub in two steps, as it does in a socket: first it can be seen by who asks (is_there), a little
 * later the hub is told (workers_gone). Some callers do so exactly when their lease is released.
 *
 * What is checked here: no call brings more leases than it asked for, or another worker's, or of kinds that the worker does
 * not know; what is released for a worker is answered or goes back soon (a promise); without a call there is no credit;
 * nobody who could be seen hanging up is handed a lease; a complete that is told as taken is the task's end. */
#include <stdio.h>
#include <stdlib.h>

#include "base/base32.h"
#include "base/ensure.h"
#include "base/limits.h"
#include "sim/world.h"

#define LANES 2
#define REPORT_MAX 8 /* outcomes of one call */
#define WAIT_MS_MAX 4000
#define TIMEOUT_MS 900 /* past the wait that was asked for */
#define RESTART_MS 500
#define DELAY_US 20
#define SPREAD_US 700
#define SEEN_US 150 /* from the moment a hang-up can be seen to the moment the hub is told */
#define SOON_MS 400 /* of a hub that can write: some fsyncs, and retries when it is full */
#define SILENCE_SLACK_MS 1500
#define PROMISES_MAX 256

struct lane {
    uint64_t request; /* that is waited for; 0: free */
    uint32_t max;     /* leases that it may bring */
    bool is_report;
    int64_t pause_until_ns;
    int64_t last_arrival_ns[2]; /* by side */
};

struct promise { /* a lease that was released for the worker and is in no answer yet */
    struct lease_token token;
    int64_t at_ns;
};

struct sim_worker {
    char name[16];
    uint32_t slots, kinds;
    bool is_up;
    uint32_t life;
    uint64_t session; /* as the hub said; 0: none */
    int64_t frozen_until_ns;
    int64_t cut_until_ns[2]; /* by the side that hears nothing */
    struct lane lanes[LANES];
    uint32_t held_count, outbox_count;
    struct held held[SIM_HELD_MAX];
    struct outbox_item outbox[SIM_OUTBOX_MAX]; /* report: 1 + lane that it is in; 0: in none */
    uint32_t open_calls;                       /* at the hub */
    int64_t called_ns;                         /* when it had one last */
    struct promise promises[PROMISES_MAX];
    uint32_t promise_count;
};

/* A request at the hub: what hub/workers.c knows as its struct call. */
struct worker_call {
    struct world *world;
    struct poll *poll;
    struct worker_call *next, **link;
    uint32_t worker, lane, life;
    uint64_t request;
    bool is_hung_up;      /* and it can be seen */
    bool leaves_at_lease; /* hangs up when a lease is released for it */
    bool is_dead;         /* its hub is */
    uint32_t done_count;
    uint64_t done[REPORT_MAX]; /* tasks that it reports as done */
    struct buf body;
};

struct workers {
    struct sim_worker *list; /* owned */
    uint32_t count;
    struct worker_call *calls; /* at the hub */
    bool is_retired;           /* all work is done: nobody asks for more */
};

struct sent { /* on its way to the hub */
    uint64_t request;
    uint64_t session; /* 0: a poll */
    uint32_t max, life;
    int64_t wait_ms;
    bool leaves_at_lease;
    uint32_t done_count;
    uint64_t done[REPORT_MAX];
    size_t len;
    char outcomes[]; /* JSON array */
};

struct told { /* on its way back */
    uint64_t request;
    enum status status;
    uint64_t versions[REPORT_MAX]; /* entries at which the tasks done became final */
    uint32_t done_count;
    uint64_t done[REPORT_MAX];
    size_t len;
    char body[];
};

static void turn(struct world *world, uint32_t index);
static void lane_free(struct world *world, uint32_t index, uint32_t number);

static struct sim_worker *worker_at(struct world *world, uint64_t index)
{
    return &world->workers->list[index];
}

static uint32_t number_of(const struct world *world, uint64_t index)
{
    return world->node_count + (uint32_t)index;
}

static bool is_frozen(const struct world *world, const struct sim_worker *worker)
{
    return worker->frozen_until_ns > world->now_ns;
}

/* --- the network --- */

static int64_t arrival_after(struct world *world, const struct sim_worker *worker, struct lane *lane, enum side to)
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

static void on_told(struct world *world, const struct event *event);

/* An answer for a lane, out of `body`. */
static void tell(struct world *world, const struct worker_call *call, enum status status, struct slice body)
{
    struct sim_worker *worker = worker_at(world, call->worker);
    struct told *told = calloc(1, sizeof *told + body.len);
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
    world_after(world, arrival_after(world, worker, &worker->lanes[call->lane], SIDE_NODE), on_told, call->worker,
                call->lane, told);
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
    workers_poll(world->hub.hub.sessions, (struct call *)call, &hello, sent->wait_ms);
}

static void arrive_report(struct world *world, struct worker_call *call, const struct sent *sent)
{
    struct json_value root;
    struct field_error error;
    uint32_t count = 0;
    buf_reset(&world->aux);
    enum status status = json_parse(world->hub.hub.json, slice_of(sent->outcomes, sent->len), &root, NULL, NULL);
    if (status == STATUS_OK) {
        status = work_outcomes_decode(root, "/outcomes", &world->aux, &count, &error);
    }
    CHECK_THAT(world, status == STATUS_OK, "proto", "the hub cannot read a worker's report: %.*s",
               (int)(sent->len < 200 ? sent->len : 200), sent->outcomes);
    if (status != STATUS_OK) {
        call_end(call);
        return;
    }
    workers_report(world->hub.hub.sessions, (struct call *)call, sent->session, count, buf_slice(&world->aux),
                   sent->max, sent->wait_ms);
}

static void on_sent(struct world *world, const struct event *event)
{
    struct workers *workers = world->workers;
    struct sim_worker *worker = worker_at(world, event->a);
    const struct hub *hub = &world->hub.hub;
    const struct sent *sent = event->owned;
    struct worker_call *call = calloc(1, sizeof *call);
    ensure(call != NULL);
    *call = (struct worker_call){.world = world,
                                 .worker = (uint32_t)event->a,
                                 .lane = (uint32_t)event->b,
                                 .life = sent->life,
                                 .request = sent->request,
                                 .leaves_at_lease = sent->leaves_at_lease,
                                 .done_count = sent->done_count};
    memcpy(call->done, sent->done, sizeof call->done);
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

static void on_end(struct world *world, const struct event *event)
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
            struct lane *lane = &worker->lanes[call->lane];
            leave(world, call);
            if (lane->request == call->request) {
                trace(world, TRACE_WORKER_LEAVES, index, lane->request, 2);
                lane_free(world, index, call->lane);
            }
            return;
        }
    }
}

/* --- what it holds, and what it has to say --- */

static void outbox_remove(struct sim_worker *worker, uint32_t i)
{
    buf_free(&worker->outbox[i].large);
    memmove(&worker->outbox[i], &worker->outbox[i + 1], (worker->outbox_count - i - 1) * sizeof worker->outbox[0]);
    worker->outbox_count--;
}

static struct outbox_item *outbox_add(struct sim_worker *worker, enum outcome_type type,
                                      const struct lease_token *token, uint64_t op)
{
    if (worker->outbox_count == SIM_OUTBOX_MAX) {
        return NULL;
    }
    struct outbox_item *item = &worker->outbox[worker->outbox_count++];
    *item = (struct outbox_item){.outcome = {.type = type, .token = *token}, .op = op};
    buf_init(&item->large, LIMIT_INPUT_SIZE);
    return item;
}

static void forget_work(struct sim_worker *worker)
{
    while (worker->outbox_count > 0) {
        outbox_remove(worker, worker->outbox_count - 1);
    }
    worker->held_count = 0;
    worker->session = 0;
}

static uint32_t held_find(const struct sim_worker *worker, const struct lease_token *token)
{
    uint32_t i = 0;
    while (i < worker->held_count && !lease_token_equal(&worker->held[i].token, token)) {
        i++;
    }
    return i;
}

static void held_remove(struct sim_worker *worker, uint32_t i)
{
    memmove(&worker->held[i], &worker->held[i + 1], (worker->held_count - i - 1) * sizeof worker->held[0]);
    worker->held_count--;
}

static void on_extend(struct world *world, const struct event *event)
{
    struct sim_worker *worker = worker_at(world, event->a);
    for (uint32_t i = 0; i < worker->held_count; i++) {
        const struct held *held = &worker->held[i];
        if (held->number == event->b) {
            world_after(world, held->lease_ms * SIM_MS / 3, on_extend, event->a, event->b, NULL);
            outbox_add(worker, OUTCOME_EXTEND, &held->token, held->op);
            turn(world, (uint32_t)event->a);
            return;
        }
    }
}

static void on_done(struct world *world, const struct event *event)
{
    struct sim_worker *worker = worker_at(world, event->a);
    uint32_t i = 0;
    while (i < worker->held_count && worker->held[i].number != event->b) {
        i++;
    }
    if (i == worker->held_count) {
        return; /* lost meanwhile */
    }
    if (is_frozen(world, worker)) {
        world_after(world, worker->frozen_until_ns - world->now_ns + SIM_US, on_done, event->a, event->b, NULL);
        return;
    }
    struct held held = worker->held[i];
    const struct workload_kind *kind = &world->workload->kinds[check_op(world, held.op)->kind];
    enum outcome_type type = OUTCOME_COMPLETE;
    if (world_chance(world, STREAM_WORKER, kind->fail_permille)) {
        type = world_chance(world, STREAM_WORKER, 100) ? OUTCOME_RELEASE : OUTCOME_FAIL;
    }
    struct outbox_item *item = outbox_add(worker, type, &held.token, held.op);
    if (item == NULL) {
        world_after(world, 5 * SIM_MS, on_done, event->a, event->b, NULL);
        return;
    }
    held_remove(worker, i);
    if (type == OUTCOME_COMPLETE) {
        node_write_result(world, STREAM_WORKER, item, kind);
    }
    trace(world, TRACE_DONE, number_of(world, event->a), held.op, (uint64_t)type);
    turn(world, (uint32_t)event->a);
}

/* --- asking --- */

/* The answer can no longer come: what went out with it is said again. */
static void lane_free(struct world *world, uint32_t index, uint32_t number)
{
    struct sim_worker *worker = worker_at(world, index);
    worker->lanes[number].request = 0;
    for (uint32_t i = 0; i < worker->outbox_count; i++) {
        if (worker->outbox[i].report == number + 1) {
            worker->outbox[i].report = 0;
        }
    }
}

static void hang_up(struct world *world, uint32_t index, uint32_t number)
{
    struct sim_worker *worker = worker_at(world, index);
    struct lane *lane = &worker->lanes[number];
    trace(world, TRACE_WORKER_LEAVES, index, lane->request, 1);
    world_after(world, arrival_after(world, worker, lane, SIDE_HUB), on_end, lane->request, 0, NULL);
    lane_free(world, index, number);
}

/* Its patience is over, or it has other plans. */
static void on_patience(struct world *world, const struct event *event)
{
    uint32_t index = (uint32_t)(event->a / LANES);
    uint32_t number = (uint32_t)(event->a % LANES);
    struct sim_worker *worker = worker_at(world, index);
    if (worker->lanes[number].request != event->b) {
        return;
    }
    if (is_frozen(world, worker)) {
        world_after(world, worker->frozen_until_ns - world->now_ns + SIM_US, on_patience, event->a, event->b, NULL);
        return;
    }
    hang_up(world, index, number);
    turn(world, index);
}

static void on_turn(struct world *world, const struct event *event)
{
    turn(world, (uint32_t)event->a);
}

static void lane_pause(struct world *world, uint32_t index, struct lane *lane, int64_t for_ns)
{
    lane->pause_until_ns = world->now_ns + for_ns;
    world_after(world, for_ns, on_turn, index, 0, NULL);
}

static int64_t choose_wait_ms(struct world *world)
{
    uint64_t way = world_below(world, STREAM_WORKER, 10);
    return way < 3 ? 0 : (int64_t)(1 + world_below(world, STREAM_WORKER, way < 7 ? 200 : WAIT_MS_MAX));
}

/* Sends a request that is ready but for its number, and takes `sent`. */
static void lane_send(struct world *world, uint32_t index, uint32_t number, struct sent *sent)
{
    struct sim_worker *worker = worker_at(world, index);
    struct lane *lane = &worker->lanes[number];
    sent->request = lane->request = ++world->number;
    sent->life = worker->life;
    lane->max = sent->max;
    lane->is_report = sent->session != 0;
    sent->leaves_at_lease = !world->is_healed && world_chance(world, STREAM_WORKER, 60);
    trace(world, TRACE_WORKER_CALLS, index, sent->done_count, sent->request);
    int64_t patience_ns = (sent->wait_ms + TIMEOUT_MS) * SIM_MS;
    if (!world->is_healed && world_chance(world, STREAM_WORKER, 60)) {
        patience_ns = (int64_t)world_below(world, STREAM_WORKER, (uint64_t)(sent->wait_ms + 5) * 1000) * SIM_US;
    }
    world_after(world, patience_ns, on_patience, (uint64_t)index * LANES + number, sent->request, NULL);
    if (fault_loses(world)) {
        free(sent);
    } else {
        world_after(world, arrival_after(world, worker, lane, SIDE_HUB), on_sent, index, number, sent);
    }
}

/* Says what is done and not on its way yet; `room`: for leases that may come back. */
static void send_report(struct world *world, uint32_t index, uint32_t number, uint32_t room)
{
    struct sim_worker *worker = worker_at(world, index);
    struct buf *text = &world->text;
    uint32_t count = 0;
    uint64_t done[REPORT_MAX];
    uint32_t done_count = 0;
    buf_reset(text);
    buf_append_char(text, '[');
    for (uint32_t i = 0; i < worker->outbox_count && count < REPORT_MAX; i++) {
        struct outbox_item *item = &worker->outbox[i];
        if (item->report != 0) {
            continue;
        }
        struct outcome outcome = node_outcome(item);
        if (count++ > 0) {
            buf_append_char(text, ',');
        }
        work_write_outcome(text, &outcome);
        item->report = number + 1;
        if (outcome.type == OUTCOME_COMPLETE) {
            done[done_count++] = outcome.token.task_id;
        }
    }
    buf_append_char(text, ']');
    ensure(buf_status(text) == STATUS_OK);
    struct sent *sent = calloc(1, sizeof *sent + text->len);
    ensure(sent != NULL);
    sent->session = worker->session;
    sent->max =
        room > 0 && world_chance(world, STREAM_WORKER, 600) ? 1 + (uint32_t)world_below(world, STREAM_WORKER, room) : 0;
    sent->wait_ms = sent->max > 0 ? choose_wait_ms(world) : 0;
    sent->done_count = done_count;
    memcpy(sent->done, done, done_count * sizeof done[0]);
    sent->len = text->len;
    memcpy(sent->outcomes, text->data, text->len);
    lane_send(world, index, number, sent);
}

static void send_poll(struct world *world, uint32_t index, uint32_t number, uint32_t room)
{
    struct sent *sent = calloc(1, sizeof *sent);
    ensure(sent != NULL);
    sent->max = 1 + (uint32_t)world_below(world, STREAM_WORKER, room);
    sent->wait_ms = choose_wait_ms(world);
    lane_send(world, index, number, sent);
}

/* Does whatever can be done now. */
static void turn(struct world *world, uint32_t index)
{
    struct sim_worker *worker = worker_at(world, index);
    if (!worker->is_up || is_frozen(world, worker)) {
        return; /* thawing and a new life come back here */
    }
    for (uint32_t i = 0; i < LANES; i++) {
        struct lane *lane = &worker->lanes[i];
        if (lane->request != 0 || lane->pause_until_ns > world->now_ns) {
            continue;
        }
        uint32_t unsaid = 0;
        for (uint32_t k = 0; k < worker->outbox_count; k++) {
            unsaid += worker->outbox[k].report == 0;
        }
        uint32_t asked = worker->held_count;
        bool is_asking = false;
        for (uint32_t k = 0; k < LANES; k++) {
            const struct lane *each = &worker->lanes[k];
            asked += each->request != 0 ? each->max : 0;
            is_asking = is_asking || (each->request != 0 && !each->is_report);
        }
        uint32_t room = asked < worker->slots && !world->workers->is_retired ? worker->slots - asked : 0;
        if (unsaid > 0 && worker->session != 0) {
            send_report(world, index, i, room);
        } else if (room > 0 && (!is_asking || world_chance(world, STREAM_WORKER, 300))) {
            send_poll(world, index, i, room);
        }
    }
}

/* --- hearing --- */

static void on_lease(struct world *world, uint32_t index, const struct work_lease *lease)
{
    struct sim_worker *worker = worker_at(world, index);
    uint64_t number = node_op_of_input(lease->input);
    check_delivered(world, number_of(world, index), lease, number);
    CHECK_THAT(world, worker->held_count < worker->slots, "T5", "worker %s was given more leases than it has slots",
               worker->name);
    if (world->report->has_failed) {
        return;
    }
    const struct op *op = check_op(world, number);
    const struct workload_kind *kind = &world->workload->kinds[op->kind];
    CHECK_THAT(world, slice_equal_str(lease->kind, kind->name) && (worker->kinds & 1u << op->kind) != 0, "T5",
               "worker %s is given work of a kind that it does not know", worker->name);
    CHECK_THAT(world, check_seen(world, number)->lease_seq != lease->token.seq || op->lease_session == worker->session,
               "T2", "worker %s is given the lease of another session", worker->name);
    struct held *held = &worker->held[worker->held_count++];
    *held = (struct held){.token = lease->token, .op = number, .number = ++world->number, .lease_ms = lease->lease_ms};
    trace(world, TRACE_WORK, number_of(world, index), number, lease->token.attempt);
    int64_t work_ns = world_range(world, STREAM_WORKER, kind->work);
    world_after(world, work_ns, on_done, index, held->number, NULL);
    if (work_ns > held->lease_ms * SIM_MS / 3) {
        world_after(world, held->lease_ms * SIM_MS / 3, on_extend, index, held->number, NULL);
    }
}

static uint64_t version_of(const struct told *told, uint64_t task_id)
{
    for (uint32_t i = 0; i < told->done_count; i++) {
        if (told->done[i] == task_id) {
            return told->versions[i];
        }
    }
    return 0;
}

/* What became of an outcome. One that was refused belongs to a lease that is no more. */
static void on_result(struct world *world, uint32_t index, uint32_t i, bool is_taken, const struct told *told)
{
    struct sim_worker *worker = worker_at(world, index);
    struct outbox_item *item = &worker->outbox[i];
    struct lease_token token = item->outcome.token;
    if (is_taken) {
        uint64_t version = version_of(told, token.task_id);
        CHECK_THAT(world, item->outcome.type != OUTCOME_COMPLETE || version != 0, "T3",
                   "worker %s is told that task %llx is done, and it is not", worker->name,
                   (unsigned long long)token.task_id);
        check_accepted(world, number_of(world, index), item, version);
    }
    outbox_remove(worker, i);
    uint32_t held = held_find(worker, &token);
    if (!is_taken && held < worker->held_count) {
        trace(world, TRACE_DROP, number_of(world, index), worker->held[held].op, 4);
        held_remove(worker, held);
    }
}

static void on_results(struct world *world, uint32_t index, uint32_t number, struct json_value results,
                       const struct told *told)
{
    struct sim_worker *worker = worker_at(world, index);
    struct json_value one;
    for (struct json_iter it = json_iter_of(results); json_next(&it, NULL, &one) && !world->report->has_failed;) {
        struct json_value member;
        struct slice text = {0};
        struct lease_token token;
        bool is_taken = false;
        bool is_good = json_member(one, "token", &member) && json_get_str(member, &text) &&
                       lease_token_parse(text, &token) && json_member(one, "ok", &member) &&
                       json_get_bool(member, &is_taken);
        uint32_t i = 0;
        while (
            is_good && i < worker->outbox_count &&
            (worker->outbox[i].report != number + 1 || !lease_token_equal(&worker->outbox[i].outcome.token, &token))) {
            i++;
        }
        CHECK_THAT(world, is_good && i < worker->outbox_count, "proto",
                   "worker %s is told about an outcome that it did not report", worker->name);
        if (!world->report->has_failed) {
            on_result(world, index, i, is_taken, told);
        }
    }
}

static void on_body(struct world *world, uint32_t index, uint32_t number, const struct told *told)
{
    struct sim_worker *worker = worker_at(world, index);
    struct lane *lane = &worker->lanes[number];
    struct json_value root;
    struct json_value member;
    struct json_value leases;
    struct slice text = {0};
    uint64_t session = 0;
    enum status status = json_parse(world->json, slice_of(told->body, told->len), &root, NULL, NULL);
    bool is_good = status == STATUS_OK && json_member(root, "session", &member) && json_get_str(member, &text) &&
                   base32_parse(text, &session) && json_member(root, "leases", &leases) &&
                   json_member(root, "results", &member) == lane->is_report;
    CHECK_THAT(world, is_good, "proto", "worker %s cannot read its answer: %.*s", worker->name,
               (int)(told->len < 200 ? told->len : 200), told->body);
    if (!is_good) {
        return;
    }
    if (worker->session != session) { /* the one before has ended, and its leases with it */
        worker->held_count = 0;
        worker->session = session;
    }
    if (lane->is_report) {
        on_results(world, index, number, member, told);
        for (uint32_t i = 0; i < worker->outbox_count; i++) {
            CHECK_THAT(world, worker->outbox[i].report != number + 1, "proto",
                       "worker %s is not told what became of an outcome", worker->name);
        }
    }
    CHECK_THAT(world, json_count(leases) <= lane->max, "T5", "worker %s asked for %u leases and gets %zu", worker->name,
               lane->max, json_count(leases));
    for (struct json_iter it = json_iter_of(leases); json_next(&it, NULL, &member) && !world->report->has_failed;) {
        struct work_lease lease;
        status = work_lease_read(member, &lease);
        CHECK_THAT(world, status == STATUS_OK, "proto", "worker %s cannot read a lease", worker->name);
        if (status == STATUS_OK) {
            on_lease(world, index, &lease);
        }
    }
    if (json_count(leases) == 0) {
        lane_pause(world, index, lane, (int64_t)(1 + world_below(world, STREAM_WORKER, 40)) * SIM_MS);
    }
}

/* A problem instead of an answer. */
static void on_problem(struct world *world, uint32_t index, uint32_t number, const struct told *told)
{
    struct sim_worker *worker = worker_at(world, index);
    struct lane *lane = &worker->lanes[number];
    switch (told->status) {
    case STATUS_BUSY:
    case STATUS_NOT_READY:
    case STATUS_NO_SPACE: /* nothing was done, or it may have been */
        break;
    case STATUS_SESSION_LOST:
        forget_work(worker);
        break;
    case STATUS_LEASE_LOST: { /* of a report with a single outcome */
        uint32_t found = 0;
        for (uint32_t i = worker->outbox_count; i-- > 0;) {
            if (worker->outbox[i].report == number + 1) {
                on_result(world, index, i, false, told);
                found++;
            }
        }
        CHECK_THAT(world, found == 1, "proto", "worker %s reports %u outcomes and is told that its lease is lost",
                   worker->name, found);
        break;
    }
    default:
        world_fail(world, "proto", "worker %s is refused: %s", worker->name, status_title(told->status));
    }
    lane_free(world, index, number);
    lane_pause(world, index, lane, (int64_t)(1 + world_below(world, STREAM_WORKER, 60)) * SIM_MS);
}

static void on_told(struct world *world, const struct event *event)
{
    uint32_t index = (uint32_t)event->a;
    uint32_t number = (uint32_t)event->b;
    struct sim_worker *worker = worker_at(world, index);
    const struct told *told = event->owned;
    if (worker->lanes[number].request != told->request) {
        return; /* it has hung up meanwhile */
    }
    if (is_frozen(world, worker)) {
        struct told *kept = malloc(sizeof *kept + told->len);
        ensure(kept != NULL);
        memcpy(kept, told, sizeof *kept + told->len);
        world_after(world, worker->frozen_until_ns - world->now_ns + SIM_US, on_told, event->a, event->b, kept);
        return;
    }
    trace(world, TRACE_WORKER_HEARS, index, (uint64_t)told->status, told->request);
    if (told->status == STATUS_OK) {
        on_body(world, index, number, told);
        lane_free(world, index, number);
    } else {
        on_problem(world, index, number, told);
    }
    turn(world, index);
}

/* --- life and faults --- */

void workers_init(struct world *world)
{
    const struct workload *workload = world->workload;
    struct workers *workers = calloc(1, sizeof *workers);
    ensure(workers != NULL);
    world->workers = workers;
    workers->count = workload->worker_count;
    workers->list = calloc(workers->count + 1, sizeof *workers->list);
    ensure(workers->list != NULL);
    for (uint32_t i = 0; i < workers->count; i++) {
        struct sim_worker *worker = worker_at(world, i);
        snprintf(worker->name, sizeof worker->name, "w%u", i);
        const struct workload_nodes *group = workload_worker_group(workload, i);
        worker->slots = group->slots < SIM_HELD_MAX ? group->slots : SIM_HELD_MAX;
        worker->kinds = group->kinds;
        worker->is_up = true;
        world_after(world, (int64_t)world_below(world, STREAM_WORKER, 50) * SIM_MS, on_turn, i, 0, NULL);
    }
}

void workers_free(struct world *world)
{
    ensure(world->workers->calls == NULL);
    for (uint32_t i = 0; i < world->workers->count; i++) {
        forget_work(worker_at(world, i));
    }
    free(world->workers->list);
    free(world->workers);
}

uint32_t workers_count(const struct world *world)
{
    return world->workers->count;
}

const char *worker_name(const struct world *world, uint32_t index)
{
    return world->workers->list[index].name;
}

static void on_restart(struct world *world, const struct event *event)
{
    struct sim_worker *worker = worker_at(world, event->a);
    if (!worker->is_up && worker->life == event->b) {
        worker->is_up = true;
        turn(world, (uint32_t)event->a);
    }
}

static void worker_crash(struct world *world, uint32_t index, enum sim_fault fault)
{
    struct sim_worker *worker = worker_at(world, index);
    if (!worker->is_up) {
        return;
    }
    trace(world, TRACE_NODE_CRASH, number_of(world, index), worker->held_count, worker->outbox_count);
    bool is_silent = world_chance(world, STREAM_WORKER, 300);
    for (uint32_t i = 0; i < LANES; i++) {
        if (worker->lanes[i].request != 0 && !is_silent) {
            hang_up(world, index, i);
        }
        lane_free(world, index, i);
        worker->lanes[i].pause_until_ns = 0;
    }
    forget_work(worker);
    worker->is_up = false;
    worker->life++;
    worker->frozen_until_ns = 0;
    int64_t wait_ns = (int64_t)(1 + world_below(world, STREAM_FAULT + (unsigned)fault, 2 * RESTART_MS)) * SIM_MS;
    world_after(world, wait_ns, on_restart, index, worker->life, NULL);
}

static void worker_lie(struct world *world, uint32_t index, enum stream stream)
{
    struct sim_worker *worker = worker_at(world, index);
    uint64_t op;
    uint64_t way;
    struct lease_token token;
    if (!worker->is_up || worker->session == 0 || is_frozen(world, worker) ||
        !node_choose_lie(world, number_of(world, index), stream, &op, &token, &way)) {
        return;
    }
    for (uint32_t i = 0; i < worker->outbox_count; i++) {
        if (worker->outbox[i].outcome.token.task_id == token.task_id) {
            return; /* its answer could not be told from that of the lie */
        }
    }
    for (uint32_t i = 0; i < worker->held_count; i++) {
        if (worker->held[i].token.task_id == token.task_id) {
            return;
        }
    }
    struct outbox_item *item = outbox_add(worker, OUTCOME_COMPLETE, &token, op);
    if (item != NULL) {
        item->is_lie = true;
        snprintf(item->payload, sizeof item->payload, "{\"lie\":%llu}", (unsigned long long)way);
        trace(world, TRACE_LIE, number_of(world, index), op, way);
        turn(world, index);
    }
}

void worker_suffers(struct world *world, uint32_t index, enum sim_fault fault, int64_t for_ns, uint32_t ways)
{
    struct sim_worker *worker = worker_at(world, index);
    switch (fault) {
    case SIM_FAULT_NODE_CRASH:
        worker_crash(world, index, fault);
        break;
    case SIM_FAULT_NODE_FREEZE:
        if (worker->is_up && !is_frozen(world, worker)) {
            trace(world, TRACE_NODE_FREEZE, number_of(world, index), (uint64_t)(for_ns / SIM_MS), 0);
            worker->frozen_until_ns = world->now_ns + for_ns;
            world_after(world, for_ns + SIM_US, on_turn, index, 0, NULL);
        }
        break;
    case SIM_FAULT_NODE_LIE:
        worker_lie(world, index, (enum stream)(STREAM_FAULT + (unsigned)fault));
        break;
    case SIM_FAULT_CUT:
    case SIM_FAULT_HALF_OPEN: {
        uint32_t number = ways % LANES;
        if (worker->lanes[number].request != 0 && fault == SIM_FAULT_CUT) {
            hang_up(world, index, number);
            turn(world, index);
        } else if (worker->lanes[number].request != 0) { /* the hub does not learn of it */
            lane_free(world, index, number);
            turn(world, index);
        }
        break;
    }
    case SIM_FAULT_CLOG:
    case SIM_FAULT_PARTITION:
        for (unsigned side = SIDE_NODE; side <= SIDE_HUB; side++) {
            if ((ways & 1u << side) != 0 && worker->cut_until_ns[side] < world->now_ns + for_ns) {
                worker->cut_until_ns[side] = world->now_ns + for_ns;
                trace(world, TRACE_CLOG, number_of(world, index), side, (uint64_t)(for_ns / SIM_MS));
            }
        }
        break;
    default:
        break;
    }
}

void workers_heal(struct world *world)
{
    for (uint32_t i = 0; i < world->workers->count; i++) {
        struct sim_worker *worker = worker_at(world, i);
        worker->cut_until_ns[SIDE_NODE] = worker->cut_until_ns[SIDE_HUB] = 0;
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
