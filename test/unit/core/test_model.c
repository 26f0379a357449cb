/* Random commands against a naive twin: plain arrays and linear scans that say what must happen.
 *
 * The twin predicts every reply, every state and every counter. Of grants it predicts what is promised: a lease goes to a
 * capable node with credit; never while a task of higher priority could go out; inside a line the first one; and none is
 * left undone (T6). After each entry core_check() runs, a second core that saw the same entries must have made the same
 * bytes, and now and then that one is replaced by what the first one saved. */
#include <stdio.h>
#include <stdlib.h>

#include "base/rng.h"
#include "fixture.h"

#define SEEDS 60
#define ENTRIES 260
#define TASKS 4000
#define NODES 5
#define QUEUES 2
#define KEYS 3
#define MS INT64_C(1000000)
#define KEEP_MS 300
#define TASKS_MAX 40
#define DEATHS_MAX 2

struct twin_task {
    uint64_t id;
    enum task_state state;
    int queue, key, kind, gpu, priority;
    int64_t order; /* in its line: less is earlier */
    int unique_mode, unique_key;
    bool holds;
    int64_t unique_until;
    int64_t run_at, expires, ttl_ms, timeout_ms, lease_ms;
    uint32_t retry_max;
    int64_t retry_base_ms;
    uint32_t attempts, failed, lost;
    bool is_poison, is_alone, is_retried;
    uint32_t deaths;
    int death_node; /* of the newest attempt, if its node died; -1 */
    int node;
    uint64_t lease_seq;
    int64_t started, lease_end;
    int64_t grant_order;
    uint64_t finished_seq;
    int64_t finished_at, finished_order;
    bool is_evicted;
};

struct twin_node {
    bool is_known, is_live, is_worker, drain, quiet;
    uint64_t session, instance;
    uint32_t credit;
    unsigned kinds; /* bits */
    int gpu;
    uint64_t succeeded, failed, lost;
};

struct twin_key {
    int task;
    uint64_t body_hash;
    int64_t created;
    bool is_used;
};

struct twin {
    struct rng rng;
    uint64_t seq, history_seq;
    int64_t now, order_back, order_front, grant_order, finished_order;
    struct twin_task task[TASKS];
    int task_count;
    struct twin_node node[NODES];
    bool is_paused[QUEUES];
    struct twin_key key[8];
    uint64_t accepted, duplicates, evicted, retried, finals[TASK_STATE_COUNT], expired_leases, lost_leases, granted;
    uint64_t last_session;
};

static struct twin t;
static uint64_t superseded_ever, poison_ever, alone_ever, survived_ever; /* over all seeds: prove that they happen */
static const char *const queue_names[QUEUES] = {"default", "q"};
static const char *const kind_names[] = {"k", "k1", "k2"};
static const char *const key_names[KEYS] = {"", "alice", "bob"};
static const char *const node_names[NODES] = {"n0", "n1", "n2", "n3", "w"};
static const char *const unique_names[] = {"u0", "u1"};
static const char *const idempotency_names[] = {"i0", "i1", "i2", "i3", "i4", "i5", "i6", "i7"};

static uint32_t below(uint32_t bound)
{
    return (uint32_t)rng_below(&t.rng, bound);
}

/* --- what the twin does --- */

static uint32_t live_count(void)
{
    uint32_t count = 0;
    for (int i = 0; i < t.task_count; i++) {
        count += !t.task[i].is_evicted;
    }
    return count;
}

static int holder_of(int queue, int kind, int unique_key)
{
    for (int i = 0; i < t.task_count; i++) {
        const struct twin_task *task = &t.task[i];
        if (task->holds && task->queue == queue && task->kind == kind && task->unique_key == unique_key &&
            (task->unique_mode != UNIQUE_FOR_TIME || task->unique_until > t.now)) {
            return i;
        }
    }
    return -1;
}

static void set_state(struct twin_task *task, enum task_state state)
{
    task->state = state;
    if (task->unique_mode == UNIQUE_NONE || task->unique_mode == UNIQUE_FOR_TIME) {
        return;
    }
    bool is_wanted = task->unique_mode == UNIQUE_QUEUED ? state <= TASK_READY : !task_state_is_final(state);
    if (!is_wanted) {
        task->holds = false;
    } else if (!task->holds && holder_of(task->queue, task->kind, task->unique_key) < 0) {
        task->holds = true;
    }
}

static void make_ready(struct twin_task *task, bool is_first)
{
    task->order = is_first ? --t.order_front : ++t.order_back;
    set_state(task, TASK_READY);
}

static void finish(struct twin_task *task, enum task_state state)
{
    task->is_poison = false;
    task->node = -1;
    task->finished_seq = t.seq;
    task->finished_at = t.now;
    task->finished_order = ++t.finished_order;
    t.finals[state]++;
    set_state(task, state);
}

/* A task that is to wait again while another one holds its key is over. */
static bool is_superseded(struct twin_task *task)
{
    int holder = task->unique_mode == UNIQUE_QUEUED ? holder_of(task->queue, task->kind, task->unique_key) : -1;
    if (holder < 0) {
        return false;
    }
    finish(task, TASK_CANCELLED);
    superseded_ever++;
    return true;
}

static void lost(struct twin_task *task, bool is_expired, bool has_died)
{
    has_died |= is_expired && t.node[task->node].is_worker;
    task->death_node = has_died ? task->node : -1;
    task->deaths += has_died;
    t.node[task->node].lost++;
    *(is_expired ? &t.expired_leases : &t.lost_leases) += 1;
    task->node = -1;
    task->lost++;
    if (task->deaths >= DEATHS_MAX) {
        finish(task, TASK_DEAD);
        task->is_poison = true;
        poison_ever++;
    } else if (task->lost > LIMIT_ATTEMPTS_LOST) {
        finish(task, TASK_DEAD);
    } else if (!is_superseded(task)) {
        make_ready(task, true);
    }
}

static void fail_attempt(struct twin_task *task, bool is_final)
{
    t.node[task->node].failed++;
    task->node = -1;
    task->failed++;
    if (is_final || task->failed >= task->retry_max) {
        finish(task, TASK_DEAD);
        return;
    }
    if (is_superseded(task)) {
        return;
    }
    int64_t delay_ms = task->retry_base_ms;
    for (uint32_t i = 1; i < task->failed; i++) {
        delay_ms *= 2;
    }
    if (delay_ms > 700) {
        delay_ms = 700;
    }
    if (delay_ms == 0) {
        make_ready(task, false);
    } else {
        task->run_at = t.now + delay_ms * MS;
        set_state(task, TASK_SCHEDULED);
    }
}

static int64_t deadline_of(const struct twin_task *task)
{
    int64_t least = INT64_MAX;
    if (task->is_evicted || task_state_is_final(task->state)) {
        return least;
    }
    least = task->expires != 0 && task->expires < least ? task->expires : least;
    if (task->state == TASK_SCHEDULED) {
        least = task->run_at < least ? task->run_at : least;
    } else if (task->state == TASK_LEASED) {
        least = task->lease_end < least ? task->lease_end : least;
        int64_t end = task->timeout_ms != 0 ? task->started + task->timeout_ms * MS : INT64_MAX;
        least = end < least ? end : least;
    }
    return least;
}

static void fire(void)
{
    for (;;) {
        struct twin_task *first = NULL;
        for (int i = 0; i < t.task_count; i++) {
            struct twin_task *task = &t.task[i];
            if (deadline_of(task) <= t.now && (first == NULL || deadline_of(task) < deadline_of(first))) {
                first = task; /* in the order of ids where deadlines are the same */
            }
        }
        if (first == NULL) {
            return;
        }
        int64_t deadline = deadline_of(first);
        if (first->expires == deadline) {
            finish(first, TASK_EXPIRED);
        } else if (first->state == TASK_SCHEDULED) {
            make_ready(first, false);
        } else if (first->timeout_ms != 0 && first->started + first->timeout_ms * MS == deadline) {
            fail_attempt(first, false);
        } else {
            lost(first, true, false);
        }
    }
}

static struct twin_task *oldest_finished(void)
{
    struct twin_task *oldest = NULL;
    for (int i = 0; i < t.task_count; i++) {
        struct twin_task *task = &t.task[i];
        if (!task->is_evicted && task_state_is_final(task->state) &&
            (oldest == NULL || task->finished_order < oldest->finished_order)) {
            oldest = task;
        }
    }
    return oldest;
}

static void evict_due(void)
{
    for (;;) {
        struct twin_task *task = oldest_finished();
        if (task == NULL || task->finished_seq > t.history_seq ||
            (task->finished_at + KEEP_MS * MS > t.now && live_count() < TASKS_MAX)) {
            return;
        }
        task->is_evicted = true;
        t.evicted++;
    }
}

static bool make_room(void)
{
    while (live_count() >= TASKS_MAX) {
        struct twin_task *task = oldest_finished();
        if (task == NULL || task->finished_seq > t.history_seq) {
            return false;
        }
        task->is_evicted = true;
        t.evicted++;
    }
    return true;
}

static int find_task(uint64_t id)
{
    for (int i = 0; i < t.task_count; i++) {
        if (t.task[i].id == id && !t.task[i].is_evicted) {
            return i;
        }
    }
    return -1;
}

static void lose_leases(int node, const bool *is_held, bool has_died)
{
    for (;;) {
        struct twin_task *last = NULL;
        for (int i = 0; i < t.task_count; i++) {
            struct twin_task *task = &t.task[i];
            if (task->state == TASK_LEASED && task->node == node && (is_held == NULL || !is_held[i]) &&
                (last == NULL || task->grant_order > last->grant_order)) {
                last = task;
            }
        }
        if (last == NULL) {
            return;
        }
        lost(last, false, has_died);
    }
}

/* --- commands: each is made, encoded, applied to the twin, and its reply compared --- */

enum { EXPECT_MAX = 8 };
struct expect {
    struct effect_reply reply;
    int new_task;         /* its id is what the reply says; -1: none */
    int hello;            /* node whose session is what the reply says; -1: none */
    bool is_same_session; /* of that node: the one it has */
};
static struct expect expected[EXPECT_MAX];
static uint32_t expected_count;

static struct effect_reply *expect(enum command_type type)
{
    expected[expected_count] =
        (struct expect){.reply = {.ordinal = expected_count, .command = type}, .new_task = -1, .hello = -1};
    return &expected[expected_count++].reply;
}

static void twin_submit(const struct command_submit *submit, int queue, int key, int kind, int unique_key,
                        int idempotency)
{
    struct effect_reply *reply = expect(COMMAND_SUBMIT);
    if (idempotency >= 0) {
        struct twin_key *known = &t.key[idempotency];
        if (known->is_used && known->created + LIMIT_IDEMPOTENCY_MS * MS > t.now) {
            if (known->body_hash != submit->body_hash) {
                reply->status = STATUS_IDEMPOTENCY_MISMATCH;
                return;
            }
            reply->task_id = t.task[known->task].id;
            reply->state = t.task[known->task].state;
            reply->is_duplicate = true;
            t.duplicates++;
            /* made by this very entry: its id is not known before the reply */
            if (reply->task_id == 0) {
                expected[expected_count - 1].new_task = known->task;
            }
            return;
        }
    }
    if (kind == 3) {
        reply->status = STATUS_KIND_UNKNOWN;
        return;
    }
    int holder = submit->unique_mode != UNIQUE_NONE ? holder_of(queue, kind, unique_key) : -1;
    int made = t.task_count;
    if (holder >= 0) {
        reply->task_id = t.task[holder].id;
        reply->state = t.task[holder].state;
        reply->is_duplicate = true;
        t.duplicates++;
        if (reply->task_id == 0) {
            expected[expected_count - 1].new_task = holder;
        }
        if (t.task[holder].is_evicted) {
            return;
        }
        made = holder;
    } else {
        if (!make_room()) {
            reply->status = STATUS_BUSY;
            return;
        }
        struct twin_task *task = &t.task[t.task_count++];
        assert_true(t.task_count < TASKS);
        *task = (struct twin_task){.queue = queue,
                                   .key = key,
                                   .kind = kind,
                                   .gpu = (int)submit->requirement.gpu,
                                   .is_alone = submit->requirement.is_alone,
                                   .priority = submit->priority,
                                   .unique_mode = (int)submit->unique_mode,
                                   .unique_key = unique_key,
                                   .run_at = submit->run_at_ns,
                                   .expires = submit->ttl_ms != 0 ? t.now + submit->ttl_ms * MS : 0,
                                   .ttl_ms = submit->ttl_ms,
                                   .timeout_ms = submit->timeout_ms,
                                   .lease_ms = submit->lease_ms,
                                   .retry_max = submit->retry.attempts_max,
                                   .retry_base_ms = submit->retry.base_ms,
                                   .death_node = -1,
                                   .node = -1};
        t.accepted++;
        if (submit->unique_mode != UNIQUE_NONE) {
            task->holds = true;
            task->unique_until = t.now + submit->unique_ms * MS;
        }
        if (submit->run_at_ns <= t.now) {
            make_ready(task, false);
        } else {
            set_state(task, TASK_SCHEDULED);
        }
        reply->state = task->state;
        expected[expected_count - 1].new_task = made;
    }
    if (idempotency >= 0) {
        t.key[idempotency] = (struct twin_key){made, submit->body_hash, t.now, true};
    }
}

static void random_submit(struct buf *out)
{
    struct command_submit submit = submit_default();
    int queue = (int)below(QUEUES), key = (int)below(KEYS), kind = below(20) == 0 ? 3 : (int)below(3);
    int unique_key = (int)below(2), idempotency = below(4) == 0 ? (int)below(8) : -1;
    submit.queue = slice_str(queue_names[queue]);
    submit.fairness_key = slice_str(key_names[key]);
    submit.kind = kind == 3 ? SLICE("unknown") : slice_str(kind_names[kind]);
    submit.priority = (uint8_t)(below(3) * 4);
    submit.weight = 1 + below(3);
    submit.requirement.gpu = below(4) == 0;
    submit.lease_ms = 1000 + below(2000);
    submit.run_at_ns = below(4) == 0 ? t.now + (int64_t)below(1500) * MS : 0;
    submit.ttl_ms = below(4) == 0 ? 1 + below(4000) : 0;
    submit.timeout_ms = below(4) == 0 ? 1 + below(3000) : 0;
    submit.retry = (struct retry_policy){
        .attempts_max = 1 + below(3), .factor_milli = 2000, .base_ms = (int64_t)below(3) * 200, .cap_ms = 700};
    submit.requirement.is_alone = below(10) == 0;
    if (below(3) == 0) {
        submit.unique_mode = (enum unique_mode)(1 + below(3));
        submit.unique_key = slice_str(unique_names[unique_key]);
        submit.unique_ms = 1 + below(3000);
    }
    if (idempotency >= 0) {
        submit.idempotency_key = slice_str(idempotency_names[idempotency]);
        submit.body_hash = 1 + below(2);
    }
    submit.by.id = below(3) * 100; /* nobody, or one of two callers */
    command_put_submit(out, &submit);
    twin_submit(&submit, queue, key, kind, unique_key, idempotency);
}

static void random_cancel_or_retry(struct buf *out)
{
    enum command_type type = below(3) == 0 ? COMMAND_RETRY : COMMAND_CANCEL;
    int index = t.task_count > 0 ? t.task_count - 1 - (int)below(t.task_count < 30 ? (uint32_t)t.task_count : 30) : -1;
    if (index >= 0 && t.task[index].id == 0) {
        index = -1; /* made by this very entry */
    }
    struct command_task command = {index >= 0 ? t.task[index].id : 77, SLICE("so")};
    command_put_task(out, type, &command);
    struct effect_reply *reply = expect(type);
    reply->task_id = command.task_id;
    if (index < 0 || t.task[index].is_evicted) {
        reply->status = STATUS_NOT_FOUND;
        return;
    }
    struct twin_task *task = &t.task[index];
    bool is_final = task_state_is_final(task->state);
    if (type == COMMAND_CANCEL) {
        if (is_final) {
            reply->status = STATUS_CONFLICT;
        } else {
            finish(task, TASK_CANCELLED);
        }
    } else {
        int holder = task->unique_mode != UNIQUE_NONE ? holder_of(task->queue, task->kind, task->unique_key) : -1;
        bool is_open = is_final && task->state != TASK_SUCCEEDED;
        if (!is_open && task->is_retried) {
            reply->is_duplicate = true;
        } else if (!is_open || (holder >= 0 && holder != index)) {
            reply->status = STATUS_CONFLICT;
            expected[expected_count - 1].new_task = is_open ? holder : -1; /* which is in the way */
        } else {
            task->is_retried = true;
            task->failed = task->lost = task->deaths = 0;
            task->is_alone |= task->is_poison;
            task->is_poison = false;
            task->expires = task->ttl_ms != 0 ? t.now + task->ttl_ms * MS : 0;
            t.retried++;
            make_ready(task, false);
        }
    }
    reply->state = task->state;
}

static void random_hello(struct buf *out)
{
    int index = (int)below(NODES);
    struct twin_node *node = &t.node[index];
    struct command_node_hello hello = {.node = slice_str(node_names[index]),
                                       .instance = 1 + below(4) / 3,
                                       .is_worker = index == NODES - 1,
                                       .credit = below(4),
                                       .info = SLICE("{}")};
    unsigned kinds = 1 + below(7);
    for (uint32_t k = 0; k < 3; k++) {
        if (kinds >> k & 1) {
            hello.kinds[hello.kind_count++] = slice_str(kind_names[k]);
        }
    }
    hello.facts.gpu = below(2);
    bool is_resumed = node->is_live && node->instance == hello.instance;
    static bool is_held[TASKS];
    struct buf held, refused;
    buf_init(&held, 1 << 20);
    buf_init(&refused, 1 << 20);
    for (int i = 0; i < t.task_count; i++) {
        struct twin_task *task = &t.task[i];
        bool is_its = task->state == TASK_LEASED && task->node == index;
        is_held[i] = false;
        if ((is_its && below(2) == 0) || (task->id != 0 && below(100) == 0)) {
            struct lease_token token = {task->id, task->attempts, task->lease_seq};
            lease_token_put(&held, &token);
            is_held[i] = is_resumed && is_its;
            if (!is_held[i] && node->is_known && node->instance == hello.instance && task->death_node == index &&
                !task->is_evicted && !task_state_is_final(task->state) && (!is_resumed || !hello.is_worker)) {
                task->death_node = -1; /* it comes back with it */
                task->deaths--;
                survived_ever++;
            }
            if (!is_held[i]) {
                buf_append_u32(&refused, hello.held_count);
                buf_append_u8(&refused, STATUS_LEASE_LOST);
            }
            hello.held_count++;
        }
    }
    hello.held = held.data;
    hello.by.id = 100;
    command_put_node_hello(out, &hello);
    struct effect_reply *reply = expect(COMMAND_NODE_HELLO);
    expected[expected_count - 1].hello = index;
    reply->is_resumed = is_resumed;
    if (node->is_live && !is_resumed) {
        lose_leases(index, NULL, true);
    }
    if (is_resumed && hello.is_worker) {
        expected[expected_count - 1].is_same_session = true;
    } else {
        static char refusals[EXPECT_MAX][4096];
        assert_true(refused.len <= sizeof(refusals[0]));
        if (refused.len > 0) {
            memcpy(refusals[reply->ordinal], refused.data, refused.len);
        }
        reply->refused = slice_of(refusals[reply->ordinal], refused.len);
        if (is_resumed) {
            lose_leases(index, is_held, false);
        }
    }
    node->is_known = node->is_live = true;
    node->instance = hello.instance;
    node->is_worker = hello.is_worker;
    node->kinds = kinds;
    node->gpu = (int)hello.facts.gpu;
    node->credit = hello.credit;
    buf_free(&held);
    buf_free(&refused);
}

static enum status twin_outcome(int index, int node, const struct outcome *outcome)
{
    struct twin_task *task = index >= 0 ? &t.task[index] : NULL;
    if (task == NULL || task->is_evicted || task->state != TASK_LEASED || task->node != node ||
        task->attempts != outcome->token.attempt || task->lease_seq != outcome->token.seq) {
        return STATUS_LEASE_LOST;
    }
    switch (outcome->type) {
    case OUTCOME_COMPLETE:
        t.node[node].succeeded++;
        finish(task, TASK_SUCCEEDED);
        break;
    case OUTCOME_FAIL:
        fail_attempt(task, outcome->is_final);
        break;
    case OUTCOME_EXTEND:
    case OUTCOME_PROGRESS:
        task->lease_end = t.now + (outcome->lease_ms != 0 ? outcome->lease_ms : task->lease_ms) * MS;
        break;
    case OUTCOME_RELEASE:
        task->node = -1;
        if (!is_superseded(task)) {
            make_ready(task, true);
        }
        break;
    }
    return STATUS_OK;
}

static void random_report(struct buf *out)
{
    static char refusals[EXPECT_MAX][4096];
    int index = (int)below(NODES);
    struct twin_node *node = &t.node[index];
    bool is_stale = below(10) == 0;
    struct command_node_report report = {.session = is_stale ? node->session + 65536 * 100 : node->session,
                                         .credit_add = below(3),
                                         .has_credit = below(5) == 0,
                                         .credit_set = below(3)};
    struct buf bytes, refused;
    buf_init(&bytes, 1 << 20);
    buf_init(&refused, 4096);
    bool is_live = !is_stale && node->is_live && node->session != 0;
    /* a session opened by this very entry has no number yet; then the report is of the one before, which has ended */
    for (uint32_t i = 0; i < expected_count; i++) {
        is_live = is_live && (expected[i].hello != index || expected[i].is_same_session);
    }
    struct effect_reply *reply = expect(COMMAND_NODE_REPORT);
    for (int i = 0; i < t.task_count && report.outcome_count < 20; i++) {
        struct twin_task *task = &t.task[i];
        bool is_its = task->state == TASK_LEASED && task->node == index && task->id != 0;
        if (!(is_its && below(2) == 0) && !(task->id != 0 && below(200) == 0)) {
            continue;
        }
        struct outcome outcome = {.type = (enum outcome_type)(1 + below(5)),
                                  .is_final = below(8) == 0,
                                  .error_kind = SLICE("code"),
                                  .message = SLICE("m"),
                                  .payload = SLICE("{}"),
                                  .lease_ms = below(2) * 1500};
        outcome.token = (struct lease_token){.task_id = task->id, .attempt = task->attempts, .seq = task->lease_seq};
        outcome.token.attempt += below(10) == 0;
        outcome_put(&bytes, &outcome);
        enum status status = is_live ? twin_outcome(i, index, &outcome) : STATUS_OK;
        if (status != STATUS_OK) {
            buf_append_u32(&refused, report.outcome_count);
            buf_append_u8(&refused, (uint8_t)status);
        }
        report.outcome_count++;
    }
    report.outcomes = buf_slice(&bytes);
    command_put_node_report(out, &report);
    reply->session = report.session;
    reply->status = is_live ? STATUS_OK : STATUS_SESSION_LOST;
    if (is_live) {
        if (refused.len > 0) {
            memcpy(refusals[reply->ordinal], refused.data, refused.len);
        }
        reply->refused = slice_of(refusals[reply->ordinal], refused.len);
        node->credit = (report.has_credit ? report.credit_set : node->credit) + report.credit_add;
    }
    buf_free(&bytes);
    buf_free(&refused);
}

static bool opened_now(int index)
{
    for (uint32_t i = 0; i < expected_count; i++) {
        if (expected[i].hello == index && !expected[i].is_same_session) {
            return true;
        }
    }
    return false;
}

static void random_lost(struct buf *out)
{
    int index = (int)below(NODES);
    struct twin_node *node = &t.node[index];
    bool is_live = node->is_live && !opened_now(index);
    struct command_node_lost command = {node->session, LOST_SILENT};
    command_put_node_lost(out, &command);
    struct effect_reply *reply = expect(COMMAND_NODE_LOST);
    reply->session = node->session;
    reply->status = is_live ? STATUS_OK : STATUS_SESSION_LOST;
    if (is_live) {
        lose_leases(index, NULL, command.reason != LOST_LEFT);
        node->is_live = false;
        node->credit = 0;
    }
}

/* Forgets a node: one that is gone. Or all that are. */
static void random_forget(struct buf *out)
{
    if (below(3) == 0) {
        command_put_collect(out, &(struct command_collect){0, UINT32_MAX, UINT32_MAX});
        struct effect_reply *reply = expect(COMMAND_COLLECT);
        for (int n = 0; n < NODES; n++) {
            struct twin_node *node = &t.node[n];
            if (node->is_known && !node->is_live) {
                *node = (struct twin_node){0};
                reply->count++;
            }
        }
        return;
    }
    int index = (int)below(NODES);
    struct twin_node *node = &t.node[index];
    command_put_drop(out, &(struct command_drop){DROP_NODE, slice_str(node_names[index])});
    expect(COMMAND_DROP)->status = !node->is_known ? STATUS_NOT_FOUND : node->is_live ? STATUS_CONFLICT : STATUS_OK;
    if (node->is_known && !node->is_live) {
        *node = (struct twin_node){0};
    }
}

static void random_settings(struct buf *out)
{
    if (below(2) == 0) {
        int index = (int)below(NODES);
        struct command_node_set set = {.node = slice_str(node_names[index]),
                                       .has_drain = below(2) == 0,
                                       .drain = below(3) == 0,
                                       .has_quiet = below(2) == 0,
                                       .quiet = below(3) == 0};
        command_put_node_set(out, &set);
        struct twin_node *node = &t.node[index];
        expect(COMMAND_NODE_SET)->status = node->is_known ? STATUS_OK : STATUS_NOT_FOUND;
        if (node->is_known) {
            node->drain = set.has_drain ? set.drain : node->drain;
            node->quiet = set.has_quiet ? set.quiet : node->quiet;
        }
    } else {
        int index = (int)below(QUEUES);
        struct command_queue_set set = {
            .name = slice_str(queue_names[index]), .has_paused = true, .paused = below(3) == 0};
        command_put_queue_set(out, &set);
        expect(COMMAND_QUEUE_SET);
        t.is_paused[index] = set.paused;
    }
}

static void random_command(struct buf *out)
{
    uint32_t dice = below(100);
    if (dice < 40) {
        random_submit(out);
    } else if (dice < 52) {
        random_cancel_or_retry(out);
    } else if (dice < 60) {
        random_hello(out);
    } else if (dice < 85) {
        random_report(out);
    } else if (dice < 88) {
        random_lost(out);
    } else if (dice < 92) {
        random_settings(out);
    } else if (dice < 94) {
        random_forget(out);
    } else {
        struct command_history_done done = {t.seq - 1 - below(5) % t.seq};
        command_put_history_done(out, &done);
        expect(COMMAND_HISTORY_DONE);
        t.history_seq = done.seq > t.history_seq ? done.seq : t.history_seq;
    }
}

/* --- comparing --- */

static bool can_run(const struct twin_node *node, const struct twin_task *task)
{
    int leases = 0;
    bool is_taken = false;
    for (int i = 0; i < t.task_count; i++) {
        bool is_here = t.task[i].state == TASK_LEASED && &t.node[t.task[i].node] == node;
        leases += is_here;
        is_taken |= is_here && t.task[i].is_alone;
    }
    return node->is_live && node->credit > 0 && !node->drain && !node->quiet && (node->kinds >> task->kind & 1) != 0 &&
           node->gpu >= task->gpu && !is_taken && (!task->is_alone || leases == 0);
}

/* Whether the task could be handed out now. */
static bool is_servable(const struct twin_task *task)
{
    if (task->state != TASK_READY || task->is_evicted || t.is_paused[task->queue]) {
        return false;
    }
    for (int n = 0; n < NODES; n++) {
        if (can_run(&t.node[n], task)) {
            return true;
        }
    }
    return false;
}

static void compare_reply(const struct effect_reply *got, struct expect *want)
{
    if (want->new_task >= 0) {
        struct twin_task *task = &t.task[want->new_task];
        if (task->id == 0) {
            task->id = got->task_id;
            assert_false(got->is_duplicate);
        }
        want->reply.task_id = task->id;
    }
    if (want->is_same_session) {
        want->reply.session = t.node[want->hello].session;
    } else if (want->hello >= 0) {
        assert_true(got->session > t.last_session || (got->session >> 16) > (t.last_session >> 16));
        t.last_session = got->session;
        t.node[want->hello].session = got->session;
        want->reply.session = got->session;
    }
    assert_int_equal(got->command, want->reply.command);
    assert_int_equal(got->status, want->reply.status);
    assert_int_equal(got->task_id, want->reply.task_id);
    assert_int_equal(got->state, want->reply.state);
    assert_int_equal(got->is_duplicate, want->reply.is_duplicate);
    assert_int_equal(got->session, want->reply.session);
    assert_int_equal(got->is_resumed, want->reply.is_resumed);
    assert_int_equal(got->count, want->reply.count);
    assert_true(slice_equal(got->refused, want->reply.refused));
}

static void compare_lease(const struct effect_lease *lease)
{
    int index = find_task(lease->offer.token.task_id);
    assert_true(index >= 0);
    struct twin_task *task = &t.task[index];
    int n = 0;
    while (n < NODES && !(t.node[n].is_live && t.node[n].session == lease->session)) {
        n++;
    }
    assert_true(n < NODES);
    assert_int_equal(task->state, TASK_READY);
    assert_false(t.is_paused[task->queue]);
    assert_true(can_run(&t.node[n], task));
    for (int i = 0; i < t.task_count; i++) {
        const struct twin_task *other = &t.task[i];
        if (i == index || !is_servable(other)) {
            continue;
        }
        assert_true(other->priority <= task->priority);
        if (other->priority == task->priority && other->queue == task->queue && other->key == task->key &&
            other->kind == task->kind && other->gpu == task->gpu && other->is_alone == task->is_alone) {
            assert_true(other->order > task->order);
        }
    }
    alone_ever += task->is_alone;
    task->death_node = -1;
    t.node[n].credit--;
    task->attempts++;
    task->node = n;
    task->started = t.now;
    task->lease_seq = t.seq;
    task->lease_end = t.now + task->lease_ms * MS;
    task->grant_order = ++t.grant_order;
    t.granted++;
    set_state(task, TASK_LEASED);
    assert_int_equal(lease->offer.token.attempt, task->attempts);
    assert_int_equal(lease->offer.token.seq, t.seq);
    assert_int_equal(lease->offer.expires_ns, task->lease_end);
}

static void compare_task(const struct core *core, const struct twin_task *task)
{
    struct task_view view;
    if (task->is_evicted) {
        assert_int_equal(core_task_get(core, task->id, &view), STATUS_NOT_FOUND);
        return;
    }
    assert_int_equal(core_task_get(core, task->id, &view), STATUS_OK);
    assert_int_equal(view.state, task->state);
    assert_int_equal(view.attempts, task->attempts);
    assert_int_equal(view.attempts_failed, task->failed);
    assert_int_equal(view.attempts_lost, task->lost);
    assert_int_equal(view.deaths, task->deaths);
    assert_int_equal(view.expires_ns, task->expires);
    if (task->state == TASK_SCHEDULED) {
        assert_int_equal(view.run_at_ns, task->run_at);
    }
    if (task->state == TASK_LEASED) {
        assert_int_equal(view.lease_expires_ns, task->lease_end);
        assert_true(slice_equal_str(view.node, node_names[task->node]));
    }
}

static void compare_state(const struct core *core)
{
    uint64_t counts[TASK_STATE_COUNT] = {0};
    for (int i = 0; i < t.task_count; i++) {
        compare_task(core, &t.task[i]);
        assert_false(is_servable(&t.task[i])); /* T6 */
        counts[t.task[i].state] += !t.task[i].is_evicted;
    }
    for (int n = 0; n < NODES; n++) {
        struct node_view view;
        assert_int_equal(core_node_find(core, slice_str(node_names[n]), &view), t.node[n].is_known);
        if (t.node[n].is_known) {
            assert_int_equal(view.credit, t.node[n].credit);
            assert_int_equal(view.session != 0, t.node[n].is_live);
            assert_int_equal(view.succeeded, t.node[n].succeeded);
            assert_int_equal(view.failed, t.node[n].failed);
            assert_int_equal(view.lost, t.node[n].lost);
        }
    }
    struct core_stats stats;
    core_stats(core, &stats);
    for (unsigned s = 0; s < TASK_STATE_COUNT; s++) {
        assert_int_equal(stats.counts[s], counts[s]);
    }
    assert_int_equal(stats.accepted, t.accepted);
    assert_int_equal(stats.duplicates, t.duplicates);
    assert_int_equal(stats.evicted, t.evicted);
    assert_int_equal(stats.retried, t.retried);
    assert_int_equal(stats.succeeded, t.finals[TASK_SUCCEEDED]);
    assert_int_equal(stats.dead, t.finals[TASK_DEAD]);
    assert_int_equal(stats.cancelled, t.finals[TASK_CANCELLED]);
    assert_int_equal(stats.expired, t.finals[TASK_EXPIRED]);
    assert_int_equal(stats.leases_expired, t.expired_leases);
    assert_int_equal(stats.leases_lost, t.lost_leases);
    assert_int_equal(stats.leases_granted, t.granted);
}

static bool append_to(void *ctx, const void *data, size_t len)
{
    buf_append(ctx, data, len);
    return buf_status(ctx) == STATUS_OK;
}

static struct core *copy_of(const struct core *core)
{
    struct buf state;
    buf_init(&state, 256u << 20);
    assert_int_equal(core_save(core, append_to, &state), STATUS_OK);
    struct core *copy;
    assert_int_equal(core_load(buf_slice(&state), &copy), STATUS_OK);
    buf_free(&state);
    return copy;
}

static void run_seed(uint64_t seed)
{
    static struct fixture f;
    memset(&t, 0, sizeof(t));
    rng_seed(&t.rng, seed);
    fixture_begin(&f);
    fixture_kind(&f, "k1");
    fixture_kind(&f, "k2");
    fixture_queue(&f, "q", -1);
    fixture_configure(
        &f, (struct command_configure){.tasks_max = TASKS_MAX, .finished_keep_ms = KEEP_MS, .deaths_max = DEATHS_MAX});
    struct core *shadow = copy_of(f.core);
    struct buf shadow_effects;
    buf_init(&shadow_effects, 64u << 20);
    t.now = f.time_ns;
    for (int entry = 0; entry < ENTRIES; entry++) {
        t.seq = core_seq(f.core) + 1;
        t.now += (int64_t)below(300) * MS;
        t.now += below(200) == 0 ? LIMIT_IDEMPOTENCY_MS * MS : 0;
        f.time_ns = t.now;
        fire();
        evict_due();
        expected_count = 0;
        for (uint32_t count = 1 + below(EXPECT_MAX - 1); count > 0; count--) {
            random_command(fixture_batch(&f));
        }
        fixture_apply(&f); /* core_check inside */
        for (uint32_t i = 0, reply = 0; i < f.effect_count; i++) {
            if (f.effect[i].type == EFFECT_REPLY) {
                compare_reply(&f.effect[i].as.reply, &expected[reply++]);
            } else if (f.effect[i].type == EFFECT_LEASE) {
                compare_lease(&f.effect[i].as.lease);
            }
        }
        compare_state(f.core);

        struct core_entry again = {t.seq, t.now, buf_slice(&f.body)};
        buf_reset(&shadow_effects);
        assert_int_equal(core_apply(shadow, &again, &shadow_effects), STATUS_OK);
        assert_true(slice_equal(buf_slice(&shadow_effects), buf_slice(&f.bytes)));
        assert_int_equal(core_next_deadline_ns(shadow), core_next_deadline_ns(f.core));
        uint8_t mine[SHA256_SIZE], its[SHA256_SIZE];
        core_hash(f.core, mine);
        core_hash(shadow, its);
        assert_memory_equal(mine, its, SHA256_SIZE);
        if (below(10) == 0) {
            core_free(shadow);
            shadow = copy_of(f.core);
        }
    }
    core_free(shadow);
    buf_free(&shadow_effects);
    fixture_end(&f);
}

static void test_random_commands_against_the_twin(void **state)
{
    (void)state;
    const char *only = getenv("SHOAL_SEED"); /* to look at one again */
    if (only != NULL) {
        run_seed(strtoull(only, NULL, 10));
        return;
    }
    superseded_ever = poison_ever = alone_ever = survived_ever = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        fprintf(stderr, "seed %llu\n", (unsigned long long)seed);
        run_seed(seed);
    }
    assert_true(superseded_ever > 0 && poison_ever > 0 && alone_ever > 0 && survived_ever > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_random_commands_against_the_twin)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
