/* client.c - clients: each does one thing after the other, and repeats what was not answered.
 *
 *   think ──▶ request ──(late, lost, twice)──▶ hub: command or read ──durable──▶ answer ──(late, lost)──▶ check ──▶ think
 *                └── no answer in time: a keyed submit and a read are said again, anything else may or may not have been
 *
 * A request reaches the sequencer as the routes' handlers would bring it: begin, one command, commit; a read answers when
 * the entry that touched the task last is durable. */
#include <stdio.h>
#include <stdlib.h>

#include "base/ensure.h"
#include "hub/task_waits.h"
#include "sim/world.h"

#define TIMEOUT_MS 900
#define WAIT_MS_MAX 2000
#define WAIT_SLACK_MS 2 /* of a timer in milliseconds */
#define BACKOFF_MS 20
#define UNIQUE_KEYS 4
#define GIVE_UP 3 /* repeats of a question; submits are repeated for ever */

struct client {
    uint64_t request; /* number of the one that is waited for; 0: none */
    uint64_t op;      /* what it is about */
    enum workload_op doing;
    uint64_t floor; /* of the task's version when it was asked */
    uint32_t repeats;
    bool is_busy; /* something is to be done that is not answered for good */
};

/* A request at the hub. */
struct hub_call {
    struct pending pending;
    struct read_waiter read;
    struct world *world;
    struct hub_call *next, **link;
    uint32_t client;
    uint64_t request;
    bool is_waiting; /* as a read */
    uint32_t wait;   /* TASK_WAIT_NONE, or in the hub's task_waits */
    uint64_t op;
    int64_t due_ns; /* of the wait */
    struct answer answer;
};

struct request { /* on its way */
    uint64_t request;
    uint64_t op;
    enum workload_op doing;
    uint32_t pick; /* queue or node */
    int64_t wait_ms;
    bool flag;
};

struct clients {
    struct client *list; /* owned */
    uint32_t count;
    struct hub_call *calls; /* at the hub */
};

static void on_next(struct world *world, const struct event *event);

void clients_init(struct world *world)
{
    world->clients = calloc(1, sizeof(*world->clients));
    ensure(world->clients != NULL);
    world->clients->count = world->workload->clients;
    world->clients->list = calloc(world->clients->count, sizeof(*world->clients->list));
    ensure(world->clients->list != NULL);
    for (uint32_t i = 0; i < world->clients->count; i++) {
        world_after(world, (int64_t)world_below(world, STREAM_CLIENT, 20) * SIM_MS, on_next, i, 0, NULL);
    }
}

static void call_end(struct hub_call *call)
{
    *call->link = call->next;
    if (call->next != NULL) {
        call->next->link = call->link;
    }
    free(call);
}

/* Ends a call that waits for a task, as the route does for a caller that has left. */
static void forget_wait(struct hub_call *call)
{
    task_waits_remove(call->world->hub.hub.task_waits, call->wait);
    call_end(call);
}

void clients_hub_died(struct world *world)
{
    /* The sequencer answers pendings once more when it is freed; reads it only forgets. */
    for (struct hub_call *call = world->clients->calls; call != NULL;) {
        struct hub_call *next = call->next;
        call->client = UINT32_MAX;
        if (call->wait != TASK_WAIT_NONE) {
            forget_wait(call);
        } else if (call->is_waiting) {
            call_end(call);
        }
        call = next;
    }
}

void clients_free(struct world *world)
{
    while (world->clients->calls != NULL) { /* only after a history that failed: check_end looks */
        ensure(world->report->has_failed);
        call_end(world->clients->calls);
    }
    free(world->clients->list);
    free(world->clients);
}

bool clients_are_done(const struct world *world)
{
    for (uint32_t i = 0; i < world->clients->count; i++) {
        if (world->clients->list[i].is_busy) {
            return false;
        }
    }
    return true;
}

uint32_t clients_open_calls(const struct world *world)
{
    uint32_t count = 0;
    for (const struct hub_call *call = world->clients->calls; call != NULL; call = call->next) {
        count++;
    }
    return count;
}

static int64_t delay_ns(struct world *world)
{
    return (int64_t)(20 + world_below(world, STREAM_CLIENT, 500)) * SIM_US;
}

static void next_after(struct world *world, uint32_t index, int64_t after_ns)
{
    world_after(world, after_ns, on_next, index, 0, NULL);
}

/* --- answers --- */

static void on_answer(struct world *world, const struct event *event)
{
    struct client *client = &world->clients->list[event->a];
    const struct answer *answer = event->owned;
    if (client->request != event->b) {
        return; /* too late, or the second one */
    }
    client->request = 0;
    world->report->answers++;
    trace(world, TRACE_ANSWER, event->a, (uint64_t)answer->status, client->op);
    bool is_retryable =
        answer->status == STATUS_BUSY || answer->status == STATUS_NO_SPACE || answer->status == STATUS_NOT_READY;
    if (is_retryable && (client->doing == WORKLOAD_SUBMIT || client->repeats++ < GIVE_UP)) {
        next_after(world, (uint32_t)event->a, (int64_t)(1 + world_below(world, STREAM_CLIENT, BACKOFF_MS)) * SIM_MS);
        return;
    }
    client->is_busy = false;
    if (!is_retryable) {
        check_answer(world, client->op, answer, client->floor);
    }
    next_after(world, (uint32_t)event->a, world_range(world, STREAM_CLIENT, world->workload->think));
}

/* Sends the answer of a call back, and ends the call. */
static void answer_call(struct hub_call *call)
{
    struct world *world = call->world;
    if (call->client != UINT32_MAX && !fault_loses(world)) {
        struct answer *answer = malloc(sizeof(*answer));
        ensure(answer != NULL);
        *answer = call->answer;
        if (answer->seq > 0) {
            check_visible(world, answer->seq, "an answer");
        }
        if (answer->is_shown) {
            check_visible(world, answer->version, "a shown task");
        }
        world_after(world, delay_ns(world), on_answer, call->client, call->request, answer);
    }
    call_end(call);
}

static void on_reply(struct pending *pending, const struct effect_reply *reply, uint64_t seq)
{
    struct hub_call *call = (struct hub_call *)pending;
    call->answer.status = reply->status;
    call->answer.task_id = reply->task_id;
    call->answer.state = reply->state;
    call->answer.is_duplicate = reply->is_duplicate;
    call->answer.seq = seq;
    answer_call(call);
}

/* --- at the hub --- */

static void on_read(struct read_waiter *waiter)
{
    answer_call((struct hub_call *)((char *)waiter - offsetof(struct hub_call, read)));
}

static void read_task(struct world *world, struct hub_call *call, uint64_t number)
{
    static struct task_view view; /* large */
    struct sequencer *sequencer = world->hub.hub.sequencer;
    struct answer *answer = &call->answer;
    const struct history_op *op = check_seen(world, number);
    answer->task_id = op->task_id;
    answer->is_shown = true;
    if (core_task_get(sequencer_core(sequencer), op->task_id, &view) == STATUS_OK) {
        answer->version = view.changed_seq;
        answer->state = view.state;
        answer->result_hash = hash64(view.result, 0);
        CHECK_THAT(world, hash64(view.input, 0) == check_op(world, number)->input_hash, "T4",
                   "task %llx shows another input", (unsigned long long)op->task_id);
    } else if (op->has_row) {
        answer->version = op->row.seq;
        answer->state = op->row.state;
        answer->result_hash = op->row.result_hash;
    } else {
        answer->status = STATUS_NOT_FOUND;
        answer->is_shown = false;
    }
    call->is_waiting = answer->is_shown && !sequencer_await(sequencer, answer->version, &call->read);
    if (!call->is_waiting) {
        answer_call(call);
    }
}

/* --- waiting for the end of a task --- */

static void on_waited(void *ctx, bool is_final)
{
    struct hub_call *call = ctx;
    struct world *world = call->world;
    call->wait = TASK_WAIT_NONE;
    CHECK_THAT(world, is_final || world->now_ns >= call->due_ns || world->hub.hub.is_stopping, "wait",
               "a wait for op %llu ends %lld ms before its time, and the task has not ended",
               (unsigned long long)call->op, (long long)((call->due_ns - world->now_ns) / SIM_MS));
    read_task(world, call, call->op);
}

static void wait_task(struct world *world, struct hub_call *call, int64_t wait_ms)
{
    const struct hub *hub = &world->hub.hub;
    uint64_t task_id = check_seen(world, call->op)->task_id;
    struct task_brief brief;
    if (core_task_brief(sequencer_core(hub->sequencer), task_id, &brief) != STATUS_OK ||
        task_state_is_final(brief.state)) {
        read_task(world, call, call->op);
        return;
    }
    call->due_ns = world->now_ns + wait_ms * SIM_MS;
    enum status status = task_waits_add(hub->task_waits, task_id, wait_ms, on_waited, call, &call->wait);
    CHECK_THAT(world, status == STATUS_OK, "wait", "the hub takes no wait: %s", status_title(status));
}

void check_waits(struct world *world)
{
    for (const struct hub_call *call = world->clients->calls; call != NULL; call = call->next) {
        CHECK_THAT(world, call->wait == TASK_WAIT_NONE || world->now_ns <= call->due_ns + WAIT_SLACK_MS * SIM_MS,
                   "wait", "a wait for op %llu is over since %lld ms", (unsigned long long)call->op,
                   (long long)((world->now_ns - call->due_ns) / SIM_MS));
    }
}

void check_waits_heard(struct world *world, uint64_t task_id)
{
    for (const struct hub_call *call = world->clients->calls; call != NULL; call = call->next) {
        CHECK_THAT(world, call->wait == TASK_WAIT_NONE || check_seen(world, call->op)->task_id != task_id, "wait",
                   "task %llx has ended, and a request waits for that", (unsigned long long)task_id);
    }
}

/* A client that waited has left. */
static void on_left(struct world *world, const struct event *event)
{
    for (struct hub_call *call = world->clients->calls; call != NULL; call = call->next) {
        if (call->request == event->a && call->wait != TASK_WAIT_NONE) {
            forget_wait(call);
            return;
        }
    }
}

/* --- changing --- */

static void put_submit(struct world *world, struct buf *out, const struct op *op, uint64_t number)
{
    const struct workload *workload = world->workload;
    const struct workload_kind *kind = &workload->kinds[op->kind];
    char key[32];
    char flow[16];
    char unique[16];
    snprintf(key, sizeof(key), "op-%llu", (unsigned long long)number);
    snprintf(flow, sizeof(flow), "key-%u", op->key);
    snprintf(unique, sizeof(unique), "u-%u", op->unique);
    check_write_input(op, number, &world->aux);
    struct command_submit command = {.queue = slice_str(workload->queues[op->queue].name),
                                     .kind = slice_str(kind->name),
                                     .input = buf_slice(&world->aux),
                                     .body_hash = op->input_hash,
                                     .priority = op->priority,
                                     .weight = 1,
                                     .ttl_ms = kind->ttl_ms,
                                     .timeout_ms = kind->timeout_ms,
                                     .lease_ms = kind->lease_ms,
                                     .by = {.id = CALLER_ANYBODY + 1 + op->key % 3}};
    retry_policy_default(&command.retry);
    command.retry.attempts_max = kind->attempts;
    command.retry.base_ms = kind->backoff_ms;
    command.retry.cap_ms = 100 * kind->backoff_ms;
    if (!op->is_keyless) {
        command.idempotency_key = slice_str(key);
    }
    if (op->key > 0) {
        command.fairness_key = slice_str(flow);
    }
    if (op->unique > 0) {
        command.unique_key = slice_str(unique);
        command.unique_mode = op->unique % 2 == 0 ? UNIQUE_QUEUED : UNIQUE_UNFINISHED;
    }
    if (op->delay_ns > 0) {
        command.run_at_ns = hub_wall_ns(world) + op->delay_ns;
    }
    command_put_submit(out, &command);
}

static struct slice node_name(const struct world *world, uint32_t pick)
{
    return slice_str(pick < world->node_count ? world->nodes[pick].name : worker_name(world, pick - world->node_count));
}

static void put_command(struct world *world, struct buf *out, const struct request *request)
{
    uint64_t task_id = request->op != 0 ? check_seen(world, request->op)->task_id : 0;
    switch (request->doing) {
    case WORKLOAD_SUBMIT:
        put_submit(world, out, check_op(world, request->op), request->op);
        break;
    case WORKLOAD_CANCEL:
        command_put_task(out, COMMAND_CANCEL, &(struct command_task){.task_id = task_id, .reason = SLICE("asked")});
        break;
    case WORKLOAD_RETRY:
        command_put_task(out, COMMAND_RETRY, &(struct command_task){.task_id = task_id});
        break;
    case WORKLOAD_PAUSE:
        command_put_queue_set(
            out, &(struct command_queue_set){.name = slice_str(world->workload->queues[request->pick].name),
                                             .has_paused = true,
                                             .paused = request->flag});
        break;
    default:
        command_put_node_set(out, &(struct command_node_set){.node = node_name(world, request->pick),
                                                             .has_drain = true,
                                                             .drain = request->flag});
    }
}

static void on_request(struct world *world, const struct event *event)
{
    struct sim_hub *hub = &world->hub;
    const struct request *request = event->owned;
    if (!hub->is_up || !hub->hub.is_ready || hub->hub.is_stopping) {
        return; /* nobody listens; the client will see that it takes too long */
    }
    struct hub_call *call = calloc(1, sizeof(*call));
    ensure(call != NULL);
    call->world = world;
    call->client = (uint32_t)event->a;
    call->request = request->request;
    call->answer.op = request->doing;
    call->op = request->op;
    call->wait = TASK_WAIT_NONE;
    call->pending.on_reply = on_reply;
    call->read.on_durable = on_read;
    call->link = &world->clients->calls;
    call->next = world->clients->calls;
    if (call->next != NULL) {
        call->next->link = &call->next;
    }
    world->clients->calls = call;
    if (request->doing == WORKLOAD_GET) {
        read_task(world, call, request->op);
        return;
    }
    if (request->doing == WORKLOAD_WAIT) {
        wait_task(world, call, request->wait_ms);
        return;
    }
    struct buf *out = sequencer_begin(hub->hub.sequencer);
    if (out == NULL) {
        call->answer.status = STATUS_BUSY;
        answer_call(call);
        return;
    }
    put_command(world, out, request);
    sequencer_commit(hub->hub.sequencer, &call->pending);
    hub_flush_soon(world);
}

/* --- asking --- */

static void on_timeout(struct world *world, const struct event *event)
{
    struct client *client = &world->clients->list[event->a];
    if (client->request != event->b) {
        return;
    }
    trace(world, TRACE_TIMEOUT, event->a, event->b, client->op);
    client->request = 0;
    bool is_repeatable = client->doing == WORKLOAD_SUBMIT && !check_op(world, client->op)->is_keyless;
    bool is_look = client->doing == WORKLOAD_GET || client->doing == WORKLOAD_WAIT;
    if (client->doing == WORKLOAD_WAIT) {
        world_after(world, delay_ns(world), on_left, event->b, 0, NULL);
    }
    if (!is_repeatable && (!is_look || client->repeats++ >= GIVE_UP)) {
        client->is_busy = false; /* it may have been done, or may yet be */
        if (client->doing == WORKLOAD_SUBMIT) {
            check_give_up(world, client->op);
        }
    }
    next_after(world, (uint32_t)event->a, SIM_MS);
}

static void ask(struct world *world, uint32_t index)
{
    struct client *client = &world->clients->list[index];
    struct request request = {.request = ++world->number, .op = client->op, .doing = client->doing};
    const struct op *op = client->op != 0 ? check_op(world, client->op) : NULL;
    client->request = request.request;
    client->floor = op != NULL ? check_seen(world, client->op)->version_floor : 0;
    if (client->doing == WORKLOAD_PAUSE) {
        request.pick = (uint32_t)world_below(world, STREAM_CLIENT, world->workload->queue_count);
    } else if (client->doing == WORKLOAD_DRAIN) {
        request.pick = (uint32_t)world_below(world, STREAM_CLIENT, world->node_count + workers_count(world));
    }
    int64_t patience_ms = TIMEOUT_MS;
    if (client->doing == WORKLOAD_WAIT) {
        request.wait_ms = 1 + (int64_t)world_below(world, STREAM_CLIENT, WAIT_MS_MAX);
        patience_ms = world_chance(world, STREAM_CLIENT, 200) ? (int64_t)world_below(world, STREAM_CLIENT, WAIT_MS_MAX)
                                                              : request.wait_ms + TIMEOUT_MS;
    }
    request.flag = world_chance(world, STREAM_CLIENT, 400);
    if (client->doing == WORKLOAD_SUBMIT) {
        trace(world, TRACE_SUBMIT, index, client->op, request.request);
    } else {
        trace(world, TRACE_ASK, index, (uint64_t)client->doing + 1, client->op);
    }
    uint32_t copies = fault_loses(world) ? 0 : fault_duplicates(world) && op != NULL && !op->is_keyless ? 2 : 1;
    for (uint32_t i = 0; i < copies; i++) {
        struct request *sent = malloc(sizeof(*sent));
        ensure(sent != NULL);
        *sent = request;
        world_after(world, delay_ns(world) + (int64_t)i * 3 * SIM_MS, on_request, index, 0, sent);
    }
    world_after(world, patience_ms * SIM_MS, on_timeout, index, request.request, NULL);
}

static enum workload_op choose(struct world *world)
{
    const struct workload *workload = world->workload;
    uint64_t total = 0;
    for (unsigned i = 0; i < WORKLOAD_OP_COUNT; i++) {
        total += workload->mix[i];
    }
    uint64_t at = world_below(world, STREAM_CLIENT, total);
    unsigned op = 0;
    while (at >= workload->mix[op]) {
        at -= workload->mix[op++];
    }
    return (enum workload_op)op;
}

static uint64_t choose_share(struct world *world, const uint32_t *shares, uint32_t count)
{
    uint64_t total = 0;
    for (uint32_t i = 0; i < count; i++) {
        total += shares[i];
    }
    uint64_t at = world_below(world, STREAM_CLIENT, total);
    uint32_t i = 0;
    while (at >= shares[i]) {
        at -= shares[i++];
    }
    return i;
}

static uint64_t new_op(struct world *world, uint32_t index)
{
    const struct workload *workload = world->workload;
    uint32_t kind_shares[WORKLOAD_KINDS_MAX];
    uint32_t queue_shares[WORKLOAD_QUEUES_MAX];
    for (uint32_t i = 0; i < workload->kind_count; i++) {
        kind_shares[i] = workload->kinds[i].share;
    }
    for (uint32_t i = 0; i < workload->queue_count; i++) {
        queue_shares[i] = workload->queues[i].share;
    }
    uint64_t number;
    struct op *op = check_op_new(world, &number);
    op->client = index;
    op->kind = (uint8_t)choose_share(world, kind_shares, workload->kind_count);
    op->queue = (uint8_t)choose_share(world, queue_shares, workload->queue_count);
    const struct workload_kind *kind = &workload->kinds[op->kind];
    const struct workload_queue *queue = &workload->queues[op->queue];
    op->key = (uint8_t)(queue->keys > 0 ? 1 + world_below(world, STREAM_CLIENT, queue->keys) : 0);
    op->priority = (uint8_t)world_range(world, STREAM_CLIENT, queue->priority);
    op->is_keyless = world_chance(world, STREAM_CLIENT, workload->keyless_permille);
    op->unique = (uint16_t)(world_chance(world, STREAM_CLIENT, workload->unique_permille)
                                ? 1 + world_below(world, STREAM_CLIENT, UNIQUE_KEYS)
                                : 0);
    op->delay_ns = world_range(world, STREAM_CLIENT, kind->delay);
    op->is_plain = kind->delay.max == 0;
    op->input_size = (uint32_t)world_range(world, STREAM_CLIENT, kind->input);
    if (op->unique > 0) {
        check_seen(world, number)->unique = (uint64_t)op->kind << 32 | (uint64_t)op->queue << 16 | op->unique;
    }
    check_write_input(op, number, &world->aux);
    op->input_hash = hash64(buf_slice(&world->aux), 0);
    return number;
}

/* One that is known to exist, rather a young one; 0: none. */
static uint64_t choose_op(struct world *world)
{
    size_t count = world->checks.seen.op_count;
    for (int i = 0; i < 6 && count > 0; i++) {
        uint64_t span = world_chance(world, STREAM_CLIENT, 100) || count < 60 ? count : 60;
        uint64_t number = count - world_below(world, STREAM_CLIENT, span);
        const struct history_op *op = check_seen(world, number);
        if (op->is_acked && !op->is_alias) {
            return number;
        }
    }
    return 0;
}

static void on_next(struct world *world, const struct event *event)
{
    uint32_t index = (uint32_t)event->a;
    struct client *client = &world->clients->list[index];
    if (client->request != 0) {
        return;
    }
    if (client->is_busy) {
        ask(world, index);
        return;
    }
    if (world->is_healed) {
        return;
    }
    client->doing = choose(world);
    client->repeats = 0;
    client->op = 0;
    if (client->doing == WORKLOAD_SUBMIT && world->checks.seen.open_count >= world->workload->open_max) {
        client->doing = WORKLOAD_GET;
    }
    if (client->doing == WORKLOAD_SUBMIT) {
        client->op = new_op(world, index);
    } else if (client->doing == WORKLOAD_GET || client->doing == WORKLOAD_CANCEL || client->doing == WORKLOAD_RETRY ||
               client->doing == WORKLOAD_WAIT) {
        client->op = choose_op(world);
        if (client->op == 0) {
            next_after(world, index, SIM_MS);
            return;
        }
        if (client->doing == WORKLOAD_RETRY) {
            history_want_retry(&world->checks.seen, client->op);
            check_op(world, client->op)->is_plain = false;
        }
    }
    client->is_busy = true;
    ask(world, index);
}
