/* A task's life apart from leases: submit, schedule, ttl, cancel, retry, limits, leaving memory. */
#include <stdio.h>

#include "fixture_each.h"
#include "proto/blob_name.h"

static void test_submit_is_ready_and_seen(void **state)
{
    (void)state;
    struct command_submit submit = submit_default();
    submit.fairness_key = SLICE("alice");
    submit.traceparent = SLICE("00-abc");
    submit.weight = 7;
    submit.requirement = (struct requirement){.labels = {SLICE("zone=b"), SLICE("arm")}, .label_count = 2, .gpu = 1};
    submit.retry.attempts_max = 9;
    submit.retry.not_retryable[0] = SLICE("code");
    submit.retry.not_retryable_count = 1;
    uint64_t id = fixture_submit(&f, submit);
    assert_int_equal(f.reply.state, TASK_READY);
    assert_false(f.reply.is_duplicate);
    struct task_view view = fixture_view(&f, id);
    assert_int_equal(view.state, TASK_READY);
    assert_true(slice_equal_str(view.queue, "default"));
    assert_true(slice_equal_str(view.kind, "k"));
    assert_true(slice_equal_str(view.input, "1"));
    assert_true(slice_equal_str(view.fairness_key, "alice"));
    assert_true(slice_equal_str(view.traceparent, "00-abc"));
    assert_int_equal(view.weight, 7);
    assert_int_equal(view.requirement.label_count, 2);
    assert_int_equal(view.requirement.gpu, 1);
    assert_int_equal(view.retry.attempts_max, 9);
    assert_true(slice_equal_str(view.retry.not_retryable[0], "code"));
    assert_int_equal(view.created_ns, 1000000000);
    assert_int_equal(view.changed_seq, core_seq(f.core));
    assert_int_equal(view.lease_ms, LIMIT_LEASE_MS_DEFAULT);
}

static void test_unknown_names_are_refused(void **state)
{
    (void)state;
    struct command_submit submit = submit_default();
    submit.kind = SLICE("nobody");
    assert_int_equal(fixture_try_submit(&f, submit), STATUS_KIND_UNKNOWN);
    submit = submit_default();
    submit.queue = SLICE("nowhere");
    assert_int_equal(fixture_try_submit(&f, submit), STATUS_QUEUE_UNKNOWN);
    struct core_stats stats;
    core_stats(f.core, &stats);
    assert_int_equal(stats.accepted, 0);
    assert_int_equal(fixture_task(&f, COMMAND_CANCEL, 12345), STATUS_NOT_FOUND);
    assert_int_equal(fixture_task(&f, COMMAND_RETRY, 12345), STATUS_NOT_FOUND);
}

static void test_run_at_waits_for_its_time(void **state)
{
    (void)state;
    struct command_submit submit = submit_default();
    submit.run_at_ns = 2000000000;
    uint64_t id = fixture_submit(&f, submit);
    assert_int_equal(f.reply.state, TASK_SCHEDULED);
    assert_int_equal(core_next_deadline_ns(f.core), 2000000000);
    fixture_node(&f, "n", 1);
    assert_int_equal(fixture_effects(&f, EFFECT_LEASE), 0);
    fixture_at_ms(&f, 1999);
    fixture_tick(&f);
    assert_int_equal(fixture_state(&f, id), TASK_SCHEDULED);
    fixture_at_ms(&f, 2000);
    fixture_tick(&f);
    assert_int_equal(fixture_state(&f, id), TASK_LEASED);
    assert_int_equal(fixture_lease(&f).task_id, id);
}

static void test_the_same_moment_fires_in_order_of_ids(void **state)
{
    (void)state;
    uint64_t id[20];
    for (int i = 0; i < 20; i++) {
        struct command_submit submit = submit_default();
        submit.run_at_ns = 2000000000;
        id[i] = fixture_submit(&f, submit);
    }
    fixture_at_ms(&f, 2000);
    fixture_tick(&f);
    fixture_node(&f, "n", 20);
    for (uint32_t i = 0; i < 20; i++) {
        assert_int_equal(fixture_effect(&f, EFFECT_LEASE, i)->as.lease.offer.token.task_id, id[i]);
    }
}

static void test_many_that_are_due_take_several_entries(void **state)
{
    (void)state;
    static char text[LIMIT_INPUT_SIZE];
    struct command_submit submit = submit_default();
    submit.input = slice_of(text, sizeof(text));
    submit.ttl_ms = 10;
    for (int i = 0; i < 300; i++) {
        fixture_submit(&f, submit);
    }
    fixture_at_ms(&f, 2000);
    uint32_t entries = 0, rows = 0;
    while (core_next_deadline_ns(f.core) <= f.time_ns) {
        fixture_tick(&f);
        rows += fixture_effects(&f, EFFECT_FINISHED);
        assert_true(f.bytes.len < 9u << 20);
        entries++;
    }
    assert_int_equal(rows, 300);
    assert_in_range(entries, 2, 4);
}

static void test_many_small_ones_that_are_due_take_several_entries(void **state)
{
    (void)state;
    struct command_submit submit = submit_default();
    submit.run_at_ns = 2000000000;
    f.is_unchecked = true;
    for (int i = 0; i < 12000; i++) {
        fixture_submit(&f, submit);
    }
    fixture_at_ms(&f, 2000);
    static const uint32_t expected[] = {5000, 5000, 2000};
    uint64_t last_id = 0;
    for (int entry = 0; entry < 3; entry++) {
        assert_true(core_next_deadline_ns(f.core) <= f.time_ns);
        fixture_tick(&f);
        assert_int_equal(fixture_effects(&f, EFFECT_TASK), expected[entry]);
        for (uint32_t i = 0; i < expected[entry]; i++) {
            const struct effect *effect = fixture_effect(&f, EFFECT_TASK, 0) + i; /* there are no others */
            assert_int_equal(effect->type, EFFECT_TASK);
            assert_int_equal(effect->as.task.state, TASK_READY);
            assert_true(effect->as.task.task_id > last_id);
            last_id = effect->as.task.task_id;
        }
    }
    assert_true(core_next_deadline_ns(f.core) > f.time_ns);
    f.is_unchecked = false;
    fixture_tick(&f);
}

static void test_ttl_expires_ready_scheduled_and_leased(void **state)
{
    (void)state;
    struct command_submit submit = submit_default();
    submit.ttl_ms = 500;
    fixture_node(&f, "n", 1);
    uint64_t leased = fixture_submit(&f, submit);
    uint64_t ready = fixture_submit(&f, submit);
    submit.run_at_ns = 9000000000;
    uint64_t scheduled = fixture_submit(&f, submit);
    assert_int_equal(core_next_deadline_ns(f.core), 1500000000);
    fixture_at_ms(&f, 1500);
    fixture_tick(&f);
    assert_int_equal(fixture_state(&f, leased), TASK_EXPIRED);
    assert_int_equal(fixture_state(&f, ready), TASK_EXPIRED);
    assert_int_equal(fixture_state(&f, scheduled), TASK_EXPIRED);
    assert_int_equal(fixture_effects(&f, EFFECT_STOP), 1);
    assert_int_equal(fixture_effect(&f, EFFECT_STOP, 0)->as.stop.reason, STOP_EXPIRED);
    assert_int_equal(fixture_effects(&f, EFFECT_FINISHED), 3);
    struct task_view view = fixture_view(&f, leased);
    assert_true(slice_equal_str(view.error_kind, "expired"));
    assert_int_equal(view.attempt[0].outcome, ATTEMPT_CANCELLED);
}

/* What a client reads of a task that has ended: why, and what its last attempt said. */
static void test_an_end_keeps_the_last_error(void **state)
{
    (void)state;
    struct command_submit submit = submit_default();
    submit.ttl_ms = 5000;
    uint64_t session = fixture_node(&f, "n", 2);
    uint64_t ids[2];
    for (int i = 0; i < 2; i++) {
        ids[i] = fixture_submit(&f, submit);
        const struct outcome fail = {.type = OUTCOME_FAIL,
                                     .token = fixture_lease(&f),
                                     .error_kind = SLICE("code"),
                                     .message = SLICE("it broke"),
                                     .payload = SLICE("{\"line\":7}")};
        assert_int_equal(fixture_report(&f, session, &fail), STATUS_OK);
    }
    assert_int_equal(fixture_task(&f, COMMAND_CANCEL, ids[0]), STATUS_OK);
    fixture_lost(&f, session);
    fixture_at_ms(&f, 7000);
    fixture_tick(&f);
    static const char *const kinds[] = {"cancelled", "expired"};
    for (int i = 0; i < 2; i++) {
        struct task_view view = fixture_view(&f, ids[i]);
        assert_true(slice_equal_str(view.error_kind, kinds[i]));
        assert_true(slice_equal_str(view.error_detail, "{\"line\":7}"));
        assert_int_equal(view.attempt[0].outcome, ATTEMPT_FAILED);
        assert_true(slice_equal_str(view.attempt[0].error_kind, "code"));
        assert_true(slice_equal_str(view.attempt[0].message, "it broke"));
    }
    assert_int_equal(fixture_task(&f, COMMAND_RETRY, ids[1]), STATUS_OK);
    struct task_view view = fixture_view(&f, ids[1]);
    assert_int_equal(view.error_kind.len + view.error_detail.len, 0); /* a new start */
}

static void test_cancel(void **state)
{
    (void)state;
    uint64_t ready = fixture_submit(&f, submit_default());
    assert_int_equal(fixture_task(&f, COMMAND_CANCEL, ready), STATUS_OK);
    assert_int_equal(f.reply.state, TASK_CANCELLED);
    assert_true(slice_equal_str(fixture_view(&f, ready).error_message, "because"));
    assert_int_equal(fixture_task(&f, COMMAND_CANCEL, ready), STATUS_CONFLICT);

    uint64_t session = fixture_node(&f, "n", 1);
    uint64_t leased = fixture_submit(&f, submit_default());
    struct lease_token token = fixture_lease(&f);
    assert_int_equal(fixture_task(&f, COMMAND_CANCEL, leased), STATUS_OK);
    assert_int_equal(fixture_state(&f, leased), TASK_CANCELLED);
    const struct effect *stop = fixture_effect(&f, EFFECT_STOP, 0);
    assert_non_null(stop);
    assert_int_equal(stop->as.stop.reason, STOP_CANCELLED);
    assert_int_equal(stop->as.stop.session, session);
    assert_int_equal(stop->as.stop.token.task_id, token.task_id);
    assert_int_equal(fixture_complete(&f, session, token), STATUS_LEASE_LOST);
    assert_int_equal(fixture_state(&f, leased), TASK_CANCELLED);
}

static void test_retry_of_a_final_task(void **state)
{
    (void)state;
    uint64_t session = fixture_node(&f, "n", 1);
    struct command_submit submit = submit_default();
    submit.retry.attempts_max = 1;
    submit.ttl_ms = 5000;
    uint64_t id = fixture_submit(&f, submit);
    struct lease_token token = fixture_lease(&f);
    assert_int_equal(fixture_task(&f, COMMAND_RETRY, id), STATUS_CONFLICT);
    assert_int_equal(fixture_fail(&f, session, token, "code"), STATUS_OK);
    assert_int_equal(fixture_state(&f, id), TASK_DEAD);
    assert_true(slice_equal_str(fixture_view(&f, id).error_kind, "code"));
    fixture_at_ms(&f, 4000);
    assert_int_equal(fixture_task(&f, COMMAND_RETRY, id), STATUS_OK);
    assert_int_equal(fixture_state(&f, id), TASK_READY);
    struct task_view view = fixture_view(&f, id);
    assert_int_equal(view.attempts, 1);
    assert_int_equal(view.attempts_failed, 0);
    assert_int_equal(view.error_kind.len, 0);
    assert_int_equal(view.finished_ns, 0);
    assert_int_equal(view.expires_ns, 9000000000); /* the ttl starts anew */
    assert_int_equal(core_finished_after(f.core, 0, 0), 0);
    fixture_credit(&f, session, 1);
    assert_int_equal(fixture_lease(&f).attempt, 2); /* numbering goes on */
    assert_int_equal(fixture_complete(&f, session, fixture_lease(&f)), STATUS_OK);
    assert_int_equal(fixture_task(&f, COMMAND_RETRY, id), STATUS_OK); /* as was asked for: nothing happens again */
    assert_true(f.reply.is_duplicate && f.reply.state == TASK_SUCCEEDED);
    uint64_t never = fixture_submit(&f, submit_default());
    assert_int_equal(fixture_task(&f, COMMAND_RETRY, never), STATUS_CONFLICT); /* it was never final */
    fixture_task(&f, COMMAND_CANCEL, never);
    struct queue_view queue;
    assert_true(core_queue_find(f.core, SLICE("default"), &queue));
    assert_int_equal(queue.retried, 1);
    assert_int_equal(queue.dead, 1);
    assert_int_equal(queue.succeeded, 1);
    assert_int_equal(queue.counts[TASK_SUCCEEDED], 1);
    assert_int_equal(queue.counts[TASK_DEAD], 0);
}

static void test_full_is_busy_until_history_has_some(void **state)
{
    (void)state;
    fixture_configure(&f, (struct command_configure){.tasks_max = 3});
    uint64_t id[3];
    for (int i = 0; i < 3; i++) {
        id[i] = fixture_submit(&f, submit_default());
    }
    assert_int_equal(fixture_try_submit(&f, submit_default()), STATUS_BUSY);
    assert_int_equal(fixture_task(&f, COMMAND_CANCEL, id[1]), STATUS_OK);
    assert_int_equal(fixture_try_submit(&f, submit_default()), STATUS_BUSY); /* history does not have it yet */
    fixture_history(&f, core_seq(f.core));
    assert_int_equal(fixture_try_submit(&f, submit_default()), STATUS_OK);
    struct task_brief brief;
    assert_int_equal(core_task_brief(f.core, id[1], &brief), STATUS_NOT_FOUND);
    assert_int_equal(fixture_state(&f, id[0]), TASK_READY);
    fixture_configure(&f, (struct command_configure){.payload_size_max = 120});
    struct command_submit big = submit_default();
    static char text[200];
    big.input = slice_of(text, sizeof(text));
    assert_int_equal(fixture_try_submit(&f, big), STATUS_BUSY);
    assert_int_equal(fixture_try_submit(&f, submit_default()), STATUS_OK);
}

static void test_finished_leave_memory_after_history_and_time(void **state)
{
    (void)state;
    fixture_configure(&f, (struct command_configure){.finished_keep_ms = 100});
    uint64_t a = fixture_submit(&f, submit_default());
    uint64_t b = fixture_submit(&f, submit_default());
    fixture_task(&f, COMMAND_CANCEL, a);
    uint64_t a_seq = core_seq(f.core);
    fixture_task(&f, COMMAND_CANCEL, b);
    assert_int_equal(core_finished_after(f.core, 0, 0), a);
    assert_int_equal(core_finished_after(f.core, 0, a), b);
    assert_int_equal(core_finished_after(f.core, a_seq, 0), b);
    assert_int_equal(core_finished_after(f.core, 0, b), 0);
    assert_int_equal(core_next_deadline_ns(f.core), INT64_MAX);
    fixture_at_ms(&f, 5000);
    fixture_tick(&f);
    assert_int_equal(fixture_state(&f, a), TASK_CANCELLED); /* history does not have it */
    fixture_history(&f, a_seq);
    assert_int_equal(core_next_deadline_ns(f.core), 1100000000);
    fixture_tick(&f);
    struct task_brief brief;
    assert_int_equal(core_task_brief(f.core, a, &brief), STATUS_NOT_FOUND);
    assert_int_equal(fixture_state(&f, b), TASK_CANCELLED);
    struct core_stats stats;
    core_stats(f.core, &stats);
    assert_int_equal(stats.evicted, 1);
    assert_int_equal(stats.tasks_live, 1);
    /* the index is used again, the id is not */
    uint64_t c = fixture_submit(&f, submit_default());
    assert_int_not_equal(c, a);
    assert_int_equal(fixture_task(&f, COMMAND_CANCEL, a), STATUS_NOT_FOUND);
}

static void test_list_newest_first(void **state)
{
    (void)state;
    uint64_t id[5];
    for (int i = 0; i < 5; i++) {
        id[i] = fixture_submit(&f, submit_default());
    }
    const struct task_filter any = TASK_FILTER_ANY;
    uint64_t at = UINT64_MAX;
    for (int i = 4; i >= 0; i--) {
        at = core_task_next(f.core, &any, LIST_NEWEST, at, NULL);
        assert_int_equal(at, id[i]);
    }
    assert_int_equal(core_task_next(f.core, &any, LIST_NEWEST, at, NULL), 0);
    assert_int_equal(core_task_next(f.core, &any, LIST_NEWEST, id[3] - 1, NULL), id[2]); /* an id that is not live */
    assert_int_equal(core_task_next(f.core, &any, LIST_OLDEST, id[3] - 1, NULL), id[3]);
}

static bool names(const char *hex)
{
    uint8_t digest[SHA256_SIZE];
    assert_true(blob_digest_parse(hex, digest));
    return core_blob_is_named(f.core, digest);
}

/* A blob is named as long as any text says so; core_check counts again after each entry. */
static void test_blobs_that_tasks_name(void **state)
{
    (void)state;
    static const char a[] = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1eaa";
    static const char b[] = "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffbb";
    char input[400];
    (void)snprintf(input, sizeof(input), "[\"sha256:%s\",\"sha256:%s\",\"sha256:%.63s\",\"sha256:sha256:%s\"]", a, a, b,
                   a);
    fixture_configure(&f, (struct command_configure){.finished_keep_ms = 100});
    struct command_submit submit = submit_default();
    submit.input = slice_str(input);
    uint64_t first = fixture_submit(&f, submit), second = fixture_submit(&f, submit);
    assert_true(names(a));
    assert_false(names(b)); /* a digit short */
    assert_int_equal(fixture_task(&f, COMMAND_CANCEL, first), STATUS_OK);
    fixture_history(&f, core_seq(f.core));
    fixture_at_ms(&f, 1000000);
    fixture_tick(&f);
    struct task_brief brief;
    assert_int_equal(core_task_brief(f.core, first, &brief), STATUS_NOT_FOUND);
    assert_true(names(a));
    (void)snprintf(input, sizeof(input), "\"sha256:%s\"", b);
    submit.input = slice_str(input);
    uint64_t third = fixture_submit(&f, submit);
    assert_true(names(b));
    assert_int_equal(fixture_task(&f, COMMAND_CANCEL, second), STATUS_OK);
    assert_int_equal(fixture_task(&f, COMMAND_CANCEL, third), STATUS_OK);
    fixture_history(&f, core_seq(f.core));
    fixture_at_ms(&f, 2000000);
    fixture_tick(&f);
    assert_false(names(a) || names(b));
}

static void test_finished_row_equals_memory(void **state)
{
    (void)state;
    uint64_t session = fixture_node(&f, "n", 1);
    uint64_t id = fixture_submit(&f, submit_default());
    assert_int_equal(fixture_complete(&f, session, fixture_lease(&f)), STATUS_OK);
    const struct effect *effect = fixture_effect(&f, EFFECT_FINISHED, 0);
    assert_non_null(effect);
    assert_int_equal(effect->as.finished.task_id, id);
    struct task_view row;
    assert_int_equal(task_view_get(effect->as.finished.row, &row), STATUS_OK);
    struct task_view view = fixture_view(&f, id);
    struct buf a, b;
    buf_init(&a, 1 << 20);
    buf_init(&b, 1 << 20);
    task_view_put(&a, &row);
    task_view_put(&b, &view);
    assert_true(slice_equal(buf_slice(&a), buf_slice(&b)));
    assert_true(slice_equal(buf_slice(&a), effect->as.finished.row));
    assert_true(slice_equal_str(row.result, "\"done\""));
    /* every truncation is refused */
    for (size_t len = 0; len < a.len; len++) {
        assert_int_equal(task_view_get(slice_of(a.data, len), &row), STATUS_CORRUPT);
    }
    buf_free(&a);
    buf_free(&b);
}

static void test_malformed_entry_changes_nothing(void **state)
{
    (void)state;
    fixture_submit(&f, submit_default());
    struct core_stats before, after;
    core_stats(f.core, &before);
    struct buf body, effects;
    buf_init(&body, 1 << 20);
    buf_init(&effects, 1 << 20);
    struct entry_head head = {.count = 2};
    entry_head_put(&body, &head);
    struct command_submit submit = submit_default();
    command_put_submit(&body, &submit);
    buf_append_str(&body, "garbage");
    struct core_entry entry = {core_seq(f.core) + 1, 99000000000, buf_slice(&body)};
    assert_int_equal(core_apply(f.core, &entry, &effects), STATUS_CORRUPT);
    assert_int_equal(effects.len, 0);
    core_stats(f.core, &after);
    assert_int_equal(after.seq, before.seq + 1);
    assert_int_equal(after.accepted, before.accepted);
    assert_int_equal(after.time_ns, before.time_ns);
    buf_free(&body);
    buf_free(&effects);
}

static void test_time_never_goes_back(void **state)
{
    (void)state;
    fixture_at_ms(&f, 5000);
    fixture_tick(&f);
    fixture_at_ms(&f, 10);
    uint64_t id = fixture_submit(&f, submit_default());
    assert_int_equal(fixture_view(&f, id).created_ns, 5000000000);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_submit_is_ready_and_seen),
        TEST(test_unknown_names_are_refused),
        TEST(test_run_at_waits_for_its_time),
        TEST(test_the_same_moment_fires_in_order_of_ids),
        TEST(test_many_that_are_due_take_several_entries),
        TEST(test_many_small_ones_that_are_due_take_several_entries),
        TEST(test_ttl_expires_ready_scheduled_and_leased),
        TEST(test_an_end_keeps_the_last_error),
        TEST(test_cancel),
        TEST(test_retry_of_a_final_task),
        TEST(test_full_is_busy_until_history_has_some),
        TEST(test_finished_leave_memory_after_history_and_time),
        TEST(test_list_newest_first),
        TEST(test_blobs_that_tasks_name),
        TEST(test_finished_row_equals_memory),
        TEST(test_malformed_entry_changes_nothing),
        TEST(test_time_never_goes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
