/* The sequencer around a real core, with a journal that orders, delays, refuses and fails as the test wants. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/rng.h"
#include "hub/sequencer.h"

#define START_NS (INT64_C(1700000000) * NS_PER_S)
#define ORIGIN 0xabcdef

/* --- a journal in memory --- */

struct stored {
    int64_t time_ns;
    struct buf body;
};

struct fake_journal {
    struct journal base;
    struct journal_callbacks callbacks;
    struct stored *entries; /* all that were proposed; entry i has seq i + 1 */
    uint64_t count, cap;
    uint64_t ordered; /* on_entry was called for so many */
    uint64_t durable;
    bool orders_later;
    enum status refusal; /* OK: accepts */
    uint64_t refusals;
    int64_t last_time_ns;
};

static void order(struct fake_journal *journal)
{
    while (journal->ordered < journal->count) {
        const struct stored *stored = &journal->entries[journal->ordered++];
        struct journal_entry entry = {journal->ordered, stored->time_ns, buf_slice(&stored->body)};
        journal->callbacks.on_entry(journal->callbacks.ctx, &entry);
    }
}

static void store(struct fake_journal *journal, int64_t now_ns, struct slice body)
{
    if (journal->count == journal->cap) {
        journal->cap = journal->cap == 0 ? 16 : journal->cap * 2;
        journal->entries = realloc(journal->entries, journal->cap * sizeof(*journal->entries));
        assert_non_null(journal->entries);
    }
    struct stored *stored = &journal->entries[journal->count++];
    journal->last_time_ns = now_ns > journal->last_time_ns ? now_ns : journal->last_time_ns;
    stored->time_ns = journal->last_time_ns;
    buf_init(&stored->body, LIMIT_ENTRY_SIZE);
    buf_append_slice(&stored->body, body);
    assert_int_equal(buf_status(&stored->body), STATUS_OK);
}

static enum status fake_propose(struct journal *base, int64_t now_ns, struct slice body)
{
    struct fake_journal *journal = (struct fake_journal *)base;
    if (journal->refusal != STATUS_OK) {
        journal->refusals++;
        return journal->refusal;
    }
    store(journal, now_ns, body);
    if (!journal->orders_later) {
        order(journal);
    }
    return STATUS_OK;
}

static uint64_t fake_last_seq(const struct journal *base)
{
    return ((const struct fake_journal *)base)->ordered;
}

static uint64_t fake_durable_seq(const struct journal *base)
{
    return ((const struct fake_journal *)base)->durable;
}

static uint64_t fake_unsynced_size(const struct journal *base)
{
    (void)base;
    return 0;
}

static void fake_nothing(struct journal *base)
{
    (void)base;
}

static const struct journal_driver fake_driver = {.propose = fake_propose,
                                                  .poll = fake_nothing,
                                                  .last_seq = fake_last_seq,
                                                  .durable_seq = fake_durable_seq,
                                                  .unsynced_size = fake_unsynced_size,
                                                  .close = fake_nothing};

/* --- a hub around it --- */

#define LOG_MAX 20000

enum event_type { EVENT_REPLY, EVENT_LEASE, EVENT_TASK, EVENT_FINISHED, EVENT_READ, EVENT_RELEASED };

struct event {
    enum event_type type;
    uint64_t seq;
    uint64_t id; /* of the pending, task or waiter */
};

struct fixture {
    struct fake_journal journal;
    struct sequencer *sequencer;
    int64_t now_ns;
    struct event log[LOG_MAX];
    size_t log_count;
    enum status failed;
    void (*inside_task)(struct fixture *fixture); /* what a sink does to the sequencer */
};

static struct fixture *current; /* pendings know nothing of it */

static void log_event(enum event_type type, uint64_t seq, uint64_t id)
{
    assert_true(current->log_count < LOG_MAX);
    /* S2: whatever leaves is durable by now. */
    assert_true(seq <= current->journal.durable);
    current->log[current->log_count++] = (struct event){type, seq, id};
}

static void sink_lease(void *ctx, const struct effect_lease *lease, uint64_t seq)
{
    (void)ctx;
    log_event(EVENT_LEASE, seq, lease->offer.token.task_id);
}

static void sink_stop(void *ctx, const struct effect_stop *stop)
{
    (void)ctx;
    (void)stop;
}

static void sink_session(void *ctx, const struct effect_session *session)
{
    (void)ctx;
    (void)session;
}

static void sink_task(void *ctx, const struct effect_task *task, uint64_t seq)
{
    struct fixture *fixture = ctx;
    log_event(EVENT_TASK, seq, task->task_id);
    if (fixture->inside_task != NULL) {
        fixture->inside_task(fixture);
    }
}

static void sink_finished(void *ctx, const struct effect_finished *finished, uint64_t seq)
{
    struct fixture *fixture = ctx;
    struct task_view *view = malloc(sizeof(*view));
    assert_int_equal(task_view_get(finished->row, view), STATUS_OK);
    assert_int_equal(view->task_id, finished->task_id);
    assert_true(task_state_is_final(view->state));
    free(view);
    fixture->log[fixture->log_count++] = (struct event){EVENT_FINISHED, seq, finished->task_id};
}

static void sink_released(void *ctx, uint64_t seq)
{
    (void)ctx;
    log_event(EVENT_RELEASED, seq, 0);
}

static void sink_failed(void *ctx, enum status status, const char *why)
{
    struct fixture *fixture = ctx;
    assert_true(why[0] != '\0');
    fixture->failed = status;
}

static int64_t sink_wall_ns(void *ctx)
{
    struct fixture *fixture = ctx;
    return fixture->now_ns;
}

static void new_sequencer(struct fixture *fixture)
{
    struct sequencer_sinks sinks = {.on_lease = sink_lease,
                                    .on_stop = sink_stop,
                                    .on_session = sink_session,
                                    .on_task = sink_task,
                                    .on_finished = sink_finished,
                                    .on_released = sink_released,
                                    .on_failed = sink_failed,
                                    .wall_ns = sink_wall_ns,
                                    .ctx = fixture};
    fixture->sequencer = sequencer_new(ORIGIN, &sinks);
    assert_non_null(fixture->sequencer);
    fixture->journal.callbacks = sequencer_journal_callbacks(fixture->sequencer);
}

static void durable(struct fixture *fixture, uint64_t seq)
{
    fixture->journal.durable = seq;
    fixture->journal.callbacks.on_durable(fixture->journal.callbacks.ctx, seq);
}

static void durable_all(struct fixture *fixture)
{
    durable(fixture, fixture->journal.ordered);
}

static struct buf *begin(struct fixture *fixture)
{
    struct buf *batch = sequencer_begin(fixture->sequencer);
    assert_non_null(batch);
    return batch;
}

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    current = fixture;
    fixture->now_ns = START_NS;
    fixture->journal.base.driver = &fake_driver;
    new_sequencer(fixture);
    sequencer_start(fixture->sequencer, &fixture->journal.base);
    command_put_kind_set(begin(fixture), &(struct command_kind_set){.name = SLICE("test.job")});
    sequencer_commit(fixture->sequencer, NULL);
    sequencer_flush(fixture->sequencer);
    durable(fixture, 1);
    fixture->log_count = 0;
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    sequencer_free(fixture->sequencer);
    for (uint64_t i = 0; i < fixture->journal.count; i++) {
        buf_free(&fixture->journal.entries[i].body);
    }
    free(fixture->journal.entries);
    free(fixture);
    return 0;
}

/* --- requests --- */

struct request {
    struct pending pending; /* first */
    uint64_t id;
    int replies;
    enum status status;
    uint64_t seq;
    uint64_t task_id;
    uint64_t session;
};

static void on_reply(struct pending *pending, const struct effect_reply *reply, uint64_t seq)
{
    struct request *request = (struct request *)pending;
    request->replies++;
    assert_int_equal(request->replies, 1); /* S1 */
    request->status = reply->status;
    request->seq = seq;
    request->task_id = reply->task_id;
    request->session = reply->session;
    log_event(EVENT_REPLY, seq, request->id);
}

static void submit(struct fixture *fixture, struct request *request, uint64_t id, const char *kind, struct slice input)
{
    struct command_submit command = {
        .queue = SLICE("default"), .kind = slice_str(kind), .input = input, .priority = 5, .weight = 1};
    retry_policy_default(&command.retry);
    *request = (struct request){.pending.on_reply = on_reply, .id = id};
    command_put_submit(begin(fixture), &command);
    sequencer_commit(fixture->sequencer, &request->pending);
}

static void hello(struct fixture *fixture, struct request *request, uint32_t credit)
{
    struct command_node_hello command = {.node = SLICE("node-1"),
                                         .instance = 7,
                                         .kinds = {SLICE("test.job")},
                                         .kind_count = 1,
                                         .facts = {.cpu_milli = 4000, .memory_mib = 1024},
                                         .info = SLICE("{}"),
                                         .credit = credit};
    *request = (struct request){.pending.on_reply = on_reply, .id = 999};
    command_put_node_hello(begin(fixture), &command);
    sequencer_commit(fixture->sequencer, &request->pending);
}

static void cancel(struct fixture *fixture, struct request *request, uint64_t task_id)
{
    *request = (struct request){.pending.on_reply = on_reply, .id = 888};
    command_put_task(begin(fixture), COMMAND_CANCEL, &(struct command_task){.task_id = task_id});
    sequencer_commit(fixture->sequencer, &request->pending);
}

static size_t count_events(const struct fixture *fixture, enum event_type type)
{
    size_t count = 0;
    for (size_t i = 0; i < fixture->log_count; i++) {
        count += fixture->log[i].type == type;
    }
    return count;
}

/* --- tests --- */

static void test_nothing_leaves_before_durable(void **state)
{
    struct fixture *fixture = *state;
    struct request request;
    submit(fixture, &request, 1, "test.job", SLICE("1"));
    assert_int_equal(fixture->journal.count, 1); /* nothing is proposed before flush */
    sequencer_flush(fixture->sequencer);
    assert_int_equal(fixture->journal.count, 2);
    /* Applied at once, told to nobody. */
    assert_int_equal(core_seq(sequencer_core(fixture->sequencer)), 2);
    assert_int_equal(fixture->log_count, 0);
    assert_int_equal(request.replies, 0);
    assert_true(sequencer_held_size(fixture->sequencer) > 0);
    assert_int_equal(sequencer_durable_seq(fixture->sequencer), 1);
    durable(fixture, 2);
    assert_int_equal(request.replies, 1);
    assert_int_equal(request.status, STATUS_OK);
    assert_int_equal(request.seq, 2);
    assert_int_equal(count_events(fixture, EVENT_RELEASED), 1);
    assert_int_equal(sequencer_held_size(fixture->sequencer), 0);
    assert_int_equal(sequencer_durable_seq(fixture->sequencer), 2);
}

static void test_replies_match_their_commands(void **state)
{
    struct fixture *fixture = *state;
    struct request requests[300];
    for (size_t i = 0; i < 300; i++) {
        submit(fixture, &requests[i], i, i % 3 == 1 ? "no.such" : "test.job", SLICE("1"));
        if (i % 7 == 0) {
            command_put_kind_set(begin(fixture), &(struct command_kind_set){.name = SLICE("other.kind")});
            sequencer_commit(fixture->sequencer, NULL);
        }
    }
    sequencer_flush(fixture->sequencer);
    assert_int_equal(fixture->journal.count, 2); /* one entry for all of them */
    durable(fixture, 2);
    uint64_t last_task = 0;
    for (size_t i = 0; i < 300; i++) {
        assert_int_equal(requests[i].replies, 1);
        assert_int_equal(requests[i].status, i % 3 == 1 ? STATUS_KIND_UNKNOWN : STATUS_OK);
        if (i % 3 != 1) {
            assert_true(requests[i].task_id > last_task);
            last_task = requests[i].task_id;
        }
    }
    /* In the order of the commands. */
    uint64_t next = 0;
    for (size_t i = 0; i < fixture->log_count; i++) {
        if (fixture->log[i].type == EVENT_REPLY) {
            assert_int_equal(fixture->log[i].id, next++);
        }
    }
    assert_int_equal(next, 300);
}

static void test_entries_are_released_in_order(void **state)
{
    struct fixture *fixture = *state;
    struct request node, requests[10];
    hello(fixture, &node, 100);
    sequencer_flush(fixture->sequencer);
    for (size_t i = 0; i < 10; i++) {
        submit(fixture, &requests[i], i, "test.job", SLICE("1"));
        sequencer_flush(fixture->sequencer);
    }
    assert_int_equal(fixture->journal.count, 12);
    durable(fixture, 5);
    assert_int_equal(count_events(fixture, EVENT_LEASE), 3);
    assert_int_equal(count_events(fixture, EVENT_RELEASED), 1);
    durable(fixture, 5); /* news of something else: nothing new */
    durable(fixture, 12);
    assert_int_equal(count_events(fixture, EVENT_LEASE), 10);
    assert_int_equal(count_events(fixture, EVENT_RELEASED), 2);
    uint64_t seq = 0;
    for (size_t i = 0; i < fixture->log_count; i++) {
        assert_true(fixture->log[i].seq >= seq);
        seq = fixture->log[i].seq;
    }
    for (size_t i = 0; i < 10; i++) {
        assert_int_equal(requests[i].seq, 3 + i);
    }
}

static void test_order_comes_later_with_others_between(void **state)
{
    struct fixture *fixture = *state;
    fixture->journal.orders_later = true;
    struct request first, second;
    submit(fixture, &first, 1, "test.job", SLICE("1"));
    sequencer_flush(fixture->sequencer);
    /* Another hub's entry comes between ours: the same batch number, another origin, a command at the same place. */
    struct buf foreign;
    buf_init(&foreign, 1024);
    entry_head_put(&foreign, &(struct entry_head){.origin = ORIGIN + 1, .batch = 3, .count = 1});
    command_put_kind_set(&foreign, &(struct command_kind_set){.name = SLICE("foreign.kind")});
    store(&fixture->journal, fixture->now_ns, buf_slice(&foreign));
    buf_free(&foreign);
    submit(fixture, &second, 2, "no.such", SLICE("1"));
    sequencer_flush(fixture->sequencer);
    assert_int_equal(core_seq(sequencer_core(fixture->sequencer)), 1);
    /* While their place is unknown no TICK is proposed and no timer is set. */
    assert_true(sequencer_next_deadline_ns(fixture->sequencer) == INT64_MAX);
    order(&fixture->journal);
    assert_int_equal(core_seq(sequencer_core(fixture->sequencer)), 4);
    assert_true(core_kind_is_known(sequencer_core(fixture->sequencer), SLICE("foreign.kind")));
    assert_int_equal(fixture->log_count, 0);
    durable(fixture, 3);
    assert_int_equal(first.status, STATUS_OK);
    assert_int_equal(first.seq, 2);
    assert_int_equal(second.replies, 0);
    durable(fixture, 4);
    assert_int_equal(second.status, STATUS_KIND_UNKNOWN);
    assert_int_equal(second.seq, 4);
}

struct read {
    struct read_waiter waiter; /* first */
    uint64_t id;
    int calls;
};

static void on_read(struct read_waiter *waiter)
{
    struct read *read = (struct read *)waiter;
    read->calls++;
    assert_int_equal(read->calls, 1);
    log_event(EVENT_READ, waiter->seq, read->id);
}

static void test_reads_wait(void **state)
{
    struct fixture *fixture = *state;
    struct request requests[3];
    for (size_t i = 0; i < 3; i++) {
        submit(fixture, &requests[i], i, "test.job", SLICE("1"));
        sequencer_flush(fixture->sequencer);
    }
    struct read reads[6];
    for (size_t i = 0; i < 6; i++) {
        reads[i] = (struct read){.waiter.on_durable = on_read, .id = i};
    }
    assert_true(sequencer_await(fixture->sequencer, 0, &reads[0].waiter));
    assert_true(sequencer_await(fixture->sequencer, 1, &reads[0].waiter));
    assert_false(sequencer_await(fixture->sequencer, 4, &reads[0].waiter));
    assert_false(sequencer_await(fixture->sequencer, 2, &reads[1].waiter));
    assert_false(sequencer_await(fixture->sequencer, 3, &reads[2].waiter));
    assert_false(sequencer_await(fixture->sequencer, 2, &reads[3].waiter));
    durable(fixture, 2);
    assert_int_equal(reads[1].calls + reads[3].calls, 2);
    assert_int_equal(reads[0].calls + reads[2].calls, 0);
    assert_true(sequencer_await(fixture->sequencer, 2, &reads[4].waiter));
    durable(fixture, 4);
    assert_int_equal(reads[0].calls + reads[2].calls, 2);
    assert_int_equal(reads[4].calls, 0);
    assert_int_equal(fixture->log[fixture->log_count - 1].type, EVENT_RELEASED);
}

static void test_busy_batch_waits_whole(void **state)
{
    struct fixture *fixture = *state;
    struct request held, waiting;
    submit(fixture, &held, 1, "test.job", SLICE("1"));
    sequencer_flush(fixture->sequencer);
    fixture->journal.refusal = STATUS_BUSY;
    submit(fixture, &waiting, 2, "test.job", SLICE("2"));
    sequencer_flush(fixture->sequencer);
    sequencer_flush(fixture->sequencer);
    assert_int_equal(fixture->journal.refusals, 2);
    /* More may join it, until it is large: then the hub is full. */
    char *input = malloc(60000);
    memset(input, '1', 60000);
    struct request joined[100];
    size_t count = 0;
    for (struct buf *batch; (batch = sequencer_begin(fixture->sequencer)) != NULL; count++) {
        sequencer_abort(fixture->sequencer);
        assert_true(count < 100);
        submit(fixture, &joined[count], 10 + count, "test.job", slice_of(input, 60000));
    }
    free(input);
    assert_true(count > 5);
    assert_int_equal(waiting.replies, 0);
    assert_true(sequencer_next_deadline_ns(fixture->sequencer) > fixture->now_ns);
    assert_true(sequencer_next_deadline_ns(fixture->sequencer) <= fixture->now_ns + NS_PER_S);
    fixture->journal.refusal = STATUS_OK;
    durable(fixture, 2); /* there is room again: the batch goes without being asked */
    assert_int_equal(held.replies, 1);
    assert_int_equal(fixture->journal.count, 3);
    assert_non_null(sequencer_begin(fixture->sequencer));
    sequencer_abort(fixture->sequencer);
    durable(fixture, 3);
    assert_int_equal(waiting.status, STATUS_OK);
    assert_int_equal(waiting.seq, 3);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(joined[i].status, STATUS_OK);
        assert_int_equal(joined[i].seq, 3);
    }
}

static void test_full_disk_is_said_and_nothing_happens(void **state)
{
    struct fixture *fixture = *state;
    struct request requests[3];
    fixture->journal.refusal = STATUS_NO_SPACE;
    submit(fixture, &requests[0], 0, "test.job", SLICE("1"));
    /* Nobody waits for this one, and nobody would say it again. */
    command_put_kind_set(begin(fixture), &(struct command_kind_set){.name = SLICE("kept.kind")});
    sequencer_commit(fixture->sequencer, NULL);
    submit(fixture, &requests[1], 1, "test.job", SLICE("1"));
    sequencer_flush(fixture->sequencer);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(requests[i].replies, 1);
        assert_int_equal(requests[i].status, STATUS_NO_SPACE);
        assert_int_equal(requests[i].seq, 0);
    }
    assert_int_equal(core_seq(sequencer_core(fixture->sequencer)), 1);
    /* Reads go on; later requests are told the same. */
    struct read read = {.waiter.on_durable = on_read};
    assert_true(sequencer_await(fixture->sequencer, 1, &read.waiter));
    submit(fixture, &requests[2], 2, "test.job", SLICE("1"));
    sequencer_flush(fixture->sequencer);
    assert_int_equal(requests[2].status, STATUS_NO_SPACE);

    fixture->journal.refusal = STATUS_OK;
    assert_true(sequencer_next_deadline_ns(fixture->sequencer) <= fixture->now_ns + NS_PER_S);
    sequencer_flush(fixture->sequencer);
    assert_int_equal(fixture->journal.count, 2);
    durable(fixture, 2);
    struct core *core = sequencer_core(fixture->sequencer);
    assert_true(core_kind_is_known(core, SLICE("kept.kind")));
    struct core_stats stats;
    core_stats(core, &stats);
    assert_int_equal(stats.accepted, 0);
    submit(fixture, &requests[0], 3, "test.job", SLICE("1"));
    sequencer_flush(fixture->sequencer);
    durable(fixture, 3);
    assert_int_equal(requests[0].status, STATUS_OK);
}

static void test_full_disk_without_kept_commands_sets_no_timer(void **state)
{
    struct fixture *fixture = *state;
    struct request request;
    fixture->journal.refusal = STATUS_NO_SPACE;
    submit(fixture, &request, 0, "test.job", SLICE("1"));
    sequencer_flush(fixture->sequencer);
    assert_int_equal(request.status, STATUS_NO_SPACE);
    fixture->now_ns += NS_PER_S;
    sequencer_flush(fixture->sequencer);
    assert_int_equal(fixture->journal.refusals, 1);
    assert_true(sequencer_next_deadline_ns(fixture->sequencer) > fixture->now_ns);
}

static void test_large_batches_are_split(void **state)
{
    struct fixture *fixture = *state;
    size_t count = 200;
    struct request *requests = calloc(count, sizeof(*requests));
    char *input = malloc(60000);
    memset(input, '1', 60000);
    for (size_t i = 0; i < count; i++) {
        submit(fixture, &requests[i], i, "test.job", slice_of(input, 60000));
    }
    sequencer_flush(fixture->sequencer);
    assert_true(fixture->journal.count > 200 * 60000 / LIMIT_ENTRY_SIZE);
    for (uint64_t i = 0; i < fixture->journal.count; i++) {
        assert_true(fixture->journal.entries[i].body.len <= LIMIT_ENTRY_SIZE);
    }
    durable_all(fixture);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(requests[i].status, STATUS_OK);
    }
    free(input);
    free(requests);
}

static void test_command_that_fits_no_entry(void **state)
{
    struct fixture *fixture = *state;
    struct request before, large = {.pending.on_reply = on_reply, .id = 7}, after;
    submit(fixture, &before, 1, "test.job", SLICE("1"));
    struct buf *batch = begin(fixture);
    buf_append_zeros(batch, 1000);
    buf_append_zeros(batch, LIMIT_ENTRY_SIZE);
    sequencer_commit(fixture->sequencer, &large.pending);
    assert_int_equal(large.replies, 0); /* never from inside commit */
    submit(fixture, &after, 2, "test.job", SLICE("1"));
    sequencer_flush(fixture->sequencer);
    assert_int_equal(large.status, STATUS_TOO_LARGE);
    durable_all(fixture);
    assert_int_equal(before.status, STATUS_OK);
    assert_int_equal(after.status, STATUS_OK);
}

static void test_abort_takes_back(void **state)
{
    struct fixture *fixture = *state;
    struct request request;
    submit(fixture, &request, 1, "test.job", SLICE("1"));
    command_put_kind_set(begin(fixture), &(struct command_kind_set){.name = SLICE("aborted.kind")});
    sequencer_abort(fixture->sequencer);
    sequencer_flush(fixture->sequencer);
    durable_all(fixture);
    assert_int_equal(request.status, STATUS_OK);
    assert_false(core_kind_is_known(sequencer_core(fixture->sequencer), SLICE("aborted.kind")));
    /* An empty batch is no entry. */
    (void)begin(fixture);
    sequencer_abort(fixture->sequencer);
    uint64_t count = fixture->journal.count;
    sequencer_flush(fixture->sequencer);
    assert_int_equal(fixture->journal.count, count);
}

static void test_tick_when_time_has_come(void **state)
{
    struct fixture *fixture = *state;
    struct request request = {.pending.on_reply = on_reply, .id = 1};
    struct command_submit command = {.queue = SLICE("default"),
                                     .kind = SLICE("test.job"),
                                     .input = SLICE("1"),
                                     .priority = 5,
                                     .weight = 1,
                                     .run_at_ns = fixture->now_ns + 5 * NS_PER_S};
    retry_policy_default(&command.retry);
    command_put_submit(begin(fixture), &command);
    sequencer_commit(fixture->sequencer, &request.pending);
    sequencer_flush(fixture->sequencer);
    durable_all(fixture);
    struct task_brief brief;
    assert_int_equal(core_task_brief(sequencer_core(fixture->sequencer), request.task_id, &brief), STATUS_OK);
    assert_int_equal(brief.state, TASK_SCHEDULED);

    int64_t deadline_ns = sequencer_next_deadline_ns(fixture->sequencer);
    assert_true(deadline_ns <= command.run_at_ns && deadline_ns > fixture->now_ns);
    uint64_t count = fixture->journal.count;
    sequencer_flush(fixture->sequencer); /* not yet */
    assert_int_equal(fixture->journal.count, count);
    fixture->now_ns = command.run_at_ns;
    for (int i = 0; i < 10 && sequencer_next_deadline_ns(fixture->sequencer) <= fixture->now_ns; i++) {
        sequencer_flush(fixture->sequencer);
    }
    assert_true(fixture->journal.count > count);
    durable_all(fixture);
    assert_int_equal(core_task_brief(sequencer_core(fixture->sequencer), request.task_id, &brief), STATUS_OK);
    assert_int_equal(brief.state, TASK_READY);
    count = fixture->journal.count;
    sequencer_flush(fixture->sequencer); /* and not again */
    assert_int_equal(fixture->journal.count, count);
}

static void test_held_effects_are_bounded(void **state)
{
    struct fixture *fixture = *state;
    struct request node;
    hello(fixture, &node, 4000);
    size_t count = 0, accepted = 2000;
    struct request *requests = calloc(accepted, sizeof(*requests));
    char *input = malloc(60000);
    memset(input, '1', 60000);
    while (count < accepted) {
        struct buf *probe = sequencer_begin(fixture->sequencer);
        if (probe == NULL) {
            break;
        }
        sequencer_abort(fixture->sequencer);
        submit(fixture, &requests[count], count, "test.job", slice_of(input, 60000));
        count++;
    }
    assert_true(count < accepted); /* leases with their inputs pile up until the hub says it is full */
    assert_true(sequencer_held_size(fixture->sequencer) > LIMIT_HELD_SIZE);
    assert_true(sequencer_held_size(fixture->sequencer) < LIMIT_HELD_SIZE + 2 * LIMIT_ENTRY_SIZE);
    sequencer_flush(fixture->sequencer);
    durable_all(fixture);
    assert_int_equal(sequencer_held_size(fixture->sequencer), 0);
    assert_non_null(sequencer_begin(fixture->sequencer));
    sequencer_abort(fixture->sequencer);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(requests[i].status, STATUS_OK);
    }
    free(input);
    free(requests);
}

/* --- recovery --- */

static bool save(void *ctx, const void *data, size_t len)
{
    buf_append(ctx, data, len);
    return true;
}

/* A new process on the same entries: from `snapshot` (of entry `snapshot_seq`) or from nothing. */
static void restart(struct fixture *fixture, const struct buf *snapshot, uint64_t snapshot_seq, uint64_t history_seq)
{
    sequencer_free(fixture->sequencer);
    new_sequencer(fixture);
    fixture->log_count = 0;
    sequencer_set_history_seq(fixture->sequencer, history_seq);
    if (snapshot != NULL) {
        assert_int_equal(sequencer_load_snapshot(fixture->sequencer, snapshot_seq, buf_slice(snapshot)), STATUS_OK);
    }
    fixture->journal.ordered = snapshot_seq;
    order(&fixture->journal);
    sequencer_start(fixture->sequencer, &fixture->journal.base);
}

static void test_recovery(void **state)
{
    struct fixture *fixture = *state;
    struct request node, tasks[6], cancels[6];
    hello(fixture, &node, 2);
    for (size_t i = 0; i < 6; i++) {
        submit(fixture, &tasks[i], i, "test.job", SLICE("1"));
    }
    sequencer_flush(fixture->sequencer);
    durable_all(fixture);
    struct buf snapshot;
    buf_init(&snapshot, 64u << 20);
    for (size_t i = 0; i < 6; i++) {
        cancel(fixture, &cancels[i], tasks[i].task_id);
        sequencer_flush(fixture->sequencer);
        durable_all(fixture);
        assert_int_equal(cancels[i].status, STATUS_OK);
        if (i == 2) {
            assert_int_equal(core_save(sequencer_core(fixture->sequencer), save, &snapshot), STATUS_OK);
        }
    }
    assert_int_equal(count_events(fixture, EVENT_FINISHED), 6);
    uint64_t seqs[6];
    for (size_t i = 0; i < 6; i++) {
        seqs[i] = cancels[i].seq;
    }
    uint8_t hash[SHA256_SIZE], again[SHA256_SIZE];
    core_hash(sequencer_core(fixture->sequencer), hash);
    uint64_t last_seq = fixture->journal.count;

    /* History lost nothing: no row comes, and nothing else either. */
    restart(fixture, NULL, 0, last_seq);
    assert_int_equal(fixture->log_count, 0);
    core_hash(sequencer_core(fixture->sequencer), again);
    assert_memory_equal(hash, again, sizeof(hash));
    assert_int_equal(sequencer_durable_seq(fixture->sequencer), last_seq);

    /* History stands after the first cancellation: rows 1..5 come, in order, and only rows. */
    for (int with_snapshot = 0; with_snapshot < 2; with_snapshot++) {
        restart(fixture, with_snapshot ? &snapshot : NULL, with_snapshot ? seqs[2] : 0, seqs[0]);
        assert_int_equal(fixture->log_count, 5);
        for (size_t i = 0; i < 5; i++) {
            assert_int_equal(fixture->log[i].type, EVENT_FINISHED);
            assert_int_equal(fixture->log[i].seq, seqs[i + 1]);
            assert_int_equal(fixture->log[i].id, tasks[i + 1].task_id);
        }
        core_hash(sequencer_core(fixture->sequencer), again);
        assert_memory_equal(hash, again, sizeof(hash));
    }

    /* And it goes on where it was: replies of this process only. */
    struct request request;
    submit(fixture, &request, 1, "test.job", SLICE("1"));
    sequencer_flush(fixture->sequencer);
    durable_all(fixture);
    assert_int_equal(request.status, STATUS_OK);
    assert_int_equal(request.seq, last_seq + 1);

    /* A snapshot that says it stands elsewhere, or is none, is refused. */
    sequencer_free(fixture->sequencer);
    new_sequencer(fixture);
    assert_int_equal(sequencer_load_snapshot(fixture->sequencer, seqs[2] + 1, buf_slice(&snapshot)), STATUS_CORRUPT);
    assert_int_equal(sequencer_load_snapshot(fixture->sequencer, seqs[2], SLICE("nonsense")), STATUS_CORRUPT);
    buf_free(&snapshot);
}

static void test_before_start_nothing_is_taken(void **state)
{
    struct fixture *fixture = *state;
    sequencer_free(fixture->sequencer);
    new_sequencer(fixture);
    assert_null(sequencer_begin(fixture->sequencer));
    assert_true(sequencer_next_deadline_ns(fixture->sequencer) == INT64_MAX);
    sequencer_flush(fixture->sequencer);
    assert_int_equal(fixture->journal.count, 1);
}

static void test_the_end_answers_everybody(void **state)
{
    struct fixture *fixture = *state;
    struct request held, proposed, making, large = {.pending.on_reply = on_reply};
    submit(fixture, &held, 1, "test.job", SLICE("1"));
    sequencer_flush(fixture->sequencer);
    fixture->journal.orders_later = true;
    submit(fixture, &proposed, 2, "test.job", SLICE("1"));
    sequencer_flush(fixture->sequencer);
    submit(fixture, &making, 3, "test.job", SLICE("1"));
    buf_append_zeros(begin(fixture), LIMIT_ENTRY_SIZE + 1);
    sequencer_commit(fixture->sequencer, &large.pending);
    sequencer_stop(fixture->sequencer);
    assert_null(sequencer_begin(fixture->sequencer));
    sequencer_free(fixture->sequencer);
    fixture->sequencer = NULL;
    assert_int_equal(held.status, STATUS_NOT_READY);
    assert_int_equal(proposed.status, STATUS_NOT_READY);
    assert_int_equal(making.status, STATUS_NOT_READY);
    assert_int_equal(large.status, STATUS_TOO_LARGE);
    assert_int_equal(held.replies + proposed.replies + making.replies + large.replies, 4);
}

static void test_journal_failure_is_told_once(void **state)
{
    struct fixture *fixture = *state;
    struct request request;
    submit(fixture, &request, 1, "test.job", SLICE("1"));
    sequencer_flush(fixture->sequencer);
    fixture->journal.callbacks.on_failed(fixture->journal.callbacks.ctx, STATUS_IO, "fsync failed");
    assert_int_equal(fixture->failed, STATUS_IO);
    fixture->failed = STATUS_OK;
    fixture->journal.callbacks.on_failed(fixture->journal.callbacks.ctx, STATUS_IO, "fsync failed");
    assert_int_equal(fixture->failed, STATUS_OK);
    assert_null(sequencer_begin(fixture->sequencer));
    assert_int_equal(request.replies, 0);
    sequencer_free(fixture->sequencer);
    fixture->sequencer = NULL;
    assert_int_equal(request.status, STATUS_NOT_READY);
}

/* --- sinks that use the sequencer --- */

static struct request inside[64];
static size_t inside_count;

static void submit_inside(struct fixture *fixture)
{
    if (inside_count < 64) {
        submit(fixture, &inside[inside_count], 100 + inside_count, "test.job", SLICE("1"));
        inside_count++;
        sequencer_flush(fixture->sequencer);
        if (inside_count % 3 == 0) {
            /* The journal may even say durable from inside. */
            durable_all(fixture);
        }
        struct read_waiter waiter = {.on_durable = NULL};
        assert_true(sequencer_await(fixture->sequencer, 1, &waiter));
    }
}

static void test_sinks_may_use_it(void **state)
{
    struct fixture *fixture = *state;
    inside_count = 0;
    fixture->inside_task = submit_inside;
    struct request requests[4];
    for (size_t i = 0; i < 4; i++) {
        submit(fixture, &requests[i], i, "test.job", SLICE("1"));
        sequencer_flush(fixture->sequencer);
    }
    for (int i = 0; i < 200 && (fixture->journal.durable < fixture->journal.ordered || inside_count < 64); i++) {
        durable_all(fixture);
    }
    assert_int_equal(inside_count, 64);
    for (size_t i = 0; i < 64; i++) {
        assert_int_equal(inside[i].replies, 1);
        assert_int_equal(inside[i].status, STATUS_OK);
    }
    uint64_t seq = 0;
    for (size_t i = 0; i < fixture->log_count; i++) {
        if (fixture->log[i].type != EVENT_RELEASED) {
            assert_true(fixture->log[i].seq >= seq); /* S3 holds all the same */
            seq = fixture->log[i].seq;
        }
    }
}

/* --- a random life --- */

static void test_random_life(void **state)
{
    struct fixture *fixture = *state;
    struct rng rng;
    rng_seed(&rng, 2024);
    enum { COUNT = 3000 };
    struct request *requests = calloc(COUNT, sizeof(*requests));
    struct read *reads = calloc(COUNT, sizeof(*reads));
    size_t count = 0, read_count = 0;
    while (count < COUNT) {
        fixture->now_ns += (int64_t)rng_below(&rng, 3 * NS_PER_MS);
        switch (rng_below(&rng, 10)) {
        case 0:
        case 1:
        case 2:
        case 3:
            submit(fixture, &requests[count], count, rng_below(&rng, 5) == 0 ? "no.such" : "test.job", SLICE("1"));
            count++;
            break;
        case 4:
        case 5:
            sequencer_flush(fixture->sequencer);
            break;
        case 6:
            order(&fixture->journal);
            break;
        case 7:
            if (fixture->journal.ordered > fixture->journal.durable) {
                durable(fixture, fixture->journal.durable + 1 +
                                     rng_below(&rng, fixture->journal.ordered - fixture->journal.durable));
            }
            break;
        case 8: {
            if (read_count == COUNT) {
                break;
            }
            uint64_t seq = rng_below(&rng, core_seq(sequencer_core(fixture->sequencer)) + 1);
            struct read *read = &reads[read_count++];
            *read = (struct read){.waiter.on_durable = on_read};
            bool is_durable = sequencer_await(fixture->sequencer, seq, &read->waiter);
            assert_int_equal(is_durable, seq <= fixture->journal.durable);
            read->calls = is_durable ? 1 : 0;
            break;
        }
        case 9: {
            static const enum status refusals[] = {STATUS_OK, STATUS_OK, STATUS_OK, STATUS_BUSY, STATUS_NO_SPACE};
            fixture->journal.refusal = refusals[rng_below(&rng, 5)];
            fixture->journal.orders_later = rng_below(&rng, 2) == 0;
            break;
        }
        }
        fixture->log_count = fixture->log_count > LOG_MAX / 2 ? 0 : fixture->log_count;
    }
    fixture->journal.refusal = STATUS_OK;
    fixture->journal.orders_later = false;
    for (int i = 0; i < 5; i++) {
        order(&fixture->journal);
        sequencer_flush(fixture->sequencer);
        durable_all(fixture);
    }
    size_t done = 0, full = 0, unknown = 0;
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(requests[i].replies, 1);
        done += requests[i].status == STATUS_OK;
        full += requests[i].status == STATUS_NO_SPACE;
        unknown += requests[i].status == STATUS_KIND_UNKNOWN;
    }
    assert_int_equal(done + full + unknown, COUNT);
    assert_true(done > 0 && full > 0 && unknown > 0);
    struct core_stats stats;
    core_stats(sequencer_core(fixture->sequencer), &stats);
    assert_int_equal(stats.accepted, done); /* neither more nor less than was said */
    for (size_t i = 0; i < read_count; i++) {
        assert_int_equal(reads[i].calls, 1);
    }
    assert_int_equal(sequencer_held_size(fixture->sequencer), 0);
    assert_null(core_check(sequencer_core(fixture->sequencer)));
    free(reads);
    free(requests);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_nothing_leaves_before_durable, setup, teardown),
        cmocka_unit_test_setup_teardown(test_replies_match_their_commands, setup, teardown),
        cmocka_unit_test_setup_teardown(test_entries_are_released_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(test_order_comes_later_with_others_between, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reads_wait, setup, teardown),
        cmocka_unit_test_setup_teardown(test_busy_batch_waits_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(test_full_disk_is_said_and_nothing_happens, setup, teardown),
        cmocka_unit_test_setup_teardown(test_full_disk_without_kept_commands_sets_no_timer, setup, teardown),
        cmocka_unit_test_setup_teardown(test_large_batches_are_split, setup, teardown),
        cmocka_unit_test_setup_teardown(test_command_that_fits_no_entry, setup, teardown),
        cmocka_unit_test_setup_teardown(test_abort_takes_back, setup, teardown),
        cmocka_unit_test_setup_teardown(test_tick_when_time_has_come, setup, teardown),
        cmocka_unit_test_setup_teardown(test_held_effects_are_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(test_recovery, setup, teardown),
        cmocka_unit_test_setup_teardown(test_before_start_nothing_is_taken, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_end_answers_everybody, setup, teardown),
        cmocka_unit_test_setup_teardown(test_journal_failure_is_told_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sinks_may_use_it, setup, teardown),
        cmocka_unit_test_setup_teardown(test_random_life, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
