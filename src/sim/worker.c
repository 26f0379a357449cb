/* worker.c - workers over plain HTTP: they ask for leases, work, report, hang up, die, and come back under the same name.
 *
 *   lane   free ──POST /v1/leases, or :report with what is done──▶ at the hub ──answer──▶ free
 *                      └── lost, no answer in time, hung up: leases in it are nobody's, outcomes in it are said again
 *
 * The requests enter hub/workers.c where the route's handler would bring them, reports after their JSON was decoded; the
 * answers are the bodies that a caller gets. A worker has two lanes, so that its polls stand in line behind each other and its
 * reports overtake them. A lane keeps the order of what it sends, as its connection would. */
#include <stdio.h>
#include <stdlib.h>

#include "base/base32.h"
#include "base/ensure.h"
#include "base/limits.h"
#include "sim/worker_internal.h"

#define WAIT_MS_MAX 4000
#define TIMEOUT_MS 900 /* past the wait that was asked for */
#define RESTART_MS 500

static void turn(struct world *world, uint32_t index);

/* --- what it holds, and what it has to say --- */

static void outbox_remove(struct sim_worker *worker, uint32_t i)
{
    buf_free(&worker->outbox[i].large);
    memmove(&worker->outbox[i], &worker->outbox[i + 1], (worker->outbox_count - i - 1) * sizeof(worker->outbox[0]));
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
    memmove(&worker->held[i], &worker->held[i + 1], (worker->held_count - i - 1) * sizeof(worker->held[0]));
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
    trace(world, TRACE_DONE, worker_number(world, event->a), held.op, (uint64_t)type);
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
    world_after(world, worker_arrival_after(world, worker, lane, SIDE_HUB), worker_on_end, lane->request, 0, NULL);
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

void worker_left_at_lease(struct world *world, uint32_t index, uint32_t number)
{
    trace(world, TRACE_WORKER_LEAVES, index, worker_at(world, index)->lanes[number].request, 2);
    lane_free(world, index, number);
    world_after(world, 0, on_turn, index, 0, NULL); /* not now: the hub is in the middle of something */
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
        world_after(world, worker_arrival_after(world, worker, lane, SIDE_HUB), worker_on_sent, index, number, sent);
    }
}

/* Says what is done and not on its way yet; `room`: for leases that may come back. */
static void send_report(struct world *world, uint32_t index, uint32_t number, uint32_t room)
{
    struct sim_worker *worker = worker_at(world, index);
    struct buf *text = &world->text;
    uint32_t count = 0;
    uint64_t done[REPORT_MAX] = {0};
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
    struct sent *sent = calloc(1, sizeof(*sent) + text->len);
    ensure(sent != NULL);
    sent->session = worker->session;
    sent->max =
        room > 0 && world_chance(world, STREAM_WORKER, 600) ? 1 + (uint32_t)world_below(world, STREAM_WORKER, room) : 0;
    sent->wait_ms = sent->max > 0 ? choose_wait_ms(world) : 0;
    sent->done_count = done_count;
    memcpy(sent->done, done, done_count * sizeof(done[0]));
    sent->len = text->len;
    memcpy(sent->outcomes, text->data, text->len);
    lane_send(world, index, number, sent);
}

static void send_poll(struct world *world, uint32_t index, uint32_t number, uint32_t room)
{
    struct sent *sent = calloc(1, sizeof(*sent));
    ensure(sent != NULL);
    sent->max = 1 + (uint32_t)world_below(world, STREAM_WORKER, room);
    sent->wait_ms = choose_wait_ms(world);
    sent->shown = index % 2 == 0 ? worker_at(world, index)->session : 0; /* half of them keep others away */
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
    check_delivered(world, worker_number(world, index), lease, number);
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
    trace(world, TRACE_WORK, worker_number(world, index), number, lease->token.attempt);
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
        check_accepted(world, worker_number(world, index), item, version);
    }
    outbox_remove(worker, i);
    uint32_t held = held_find(worker, &token);
    if (!is_taken && held < worker->held_count) {
        trace(world, TRACE_DROP, worker_number(world, index), worker->held[held].op, 4);
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
                   text.len > BASE32_DIGITS && base32_parse(slice_of(text.data, BASE32_DIGITS), &session) &&
                   json_member(root, "leases", &leases) && json_member(root, "results", &member) == lane->is_report;
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
    case STATUS_NO_SPACE:   /* nothing was done, or it may have been */
    case STATUS_NAME_TAKEN: /* the process before showed its session, and may still be there for all the hub knows */
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

void worker_on_told(struct world *world, const struct event *event)
{
    uint32_t index = (uint32_t)event->a;
    uint32_t number = (uint32_t)event->b;
    struct sim_worker *worker = worker_at(world, index);
    const struct told *told = event->owned;
    if (worker->lanes[number].request != told->request) {
        return; /* it has hung up meanwhile */
    }
    if (is_frozen(world, worker)) {
        struct told *kept = malloc(sizeof(*kept) + told->len);
        ensure(kept != NULL);
        memcpy(kept, told, sizeof(*kept) + told->len);
        world_after(world, worker->frozen_until_ns - world->now_ns + SIM_US, worker_on_told, event->a, event->b, kept);
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
    struct workers *workers = calloc(1, sizeof(*workers));
    ensure(workers != NULL);
    world->workers = workers;
    workers->count = workload->worker_count;
    workers->list = calloc(workers->count + 1, sizeof(*workers->list));
    ensure(workers->list != NULL);
    for (uint32_t i = 0; i < workers->count; i++) {
        struct sim_worker *worker = worker_at(world, i);
        snprintf(worker->name, sizeof(worker->name), "w%u", i);
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
    trace(world, TRACE_NODE_CRASH, worker_number(world, index), worker->held_count, worker->outbox_count);
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
        !node_choose_lie(world, worker_number(world, index), stream, &op, &token, &way)) {
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
        snprintf(item->payload, sizeof(item->payload), "{\"lie\":%llu}", (unsigned long long)way);
        trace(world, TRACE_LIE, worker_number(world, index), op, way);
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
            trace(world, TRACE_NODE_FREEZE, worker_number(world, index), (uint64_t)(for_ns / SIM_MS), 0);
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
                trace(world, TRACE_CLOG, worker_number(world, index), side, (uint64_t)(for_ns / SIM_MS));
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
