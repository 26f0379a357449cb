/* What happens to a lease: granted, reported, extended, ended by time, by its node, by a stale token. */
#include "fixture_each.h"

static void test_grant_and_complete(void **state)
{
    (void)state;
    uint64_t session = fixture_node(&f, "n", 1);
    uint64_t id = fixture_submit(&f, submit_default());
    assert_int_equal(f.reply.state, TASK_READY); /* the reply is of the command; the lease follows in the same entry */
    const struct effect *lease = fixture_effect(&f, EFFECT_LEASE, 0);
    assert_non_null(lease);
    assert_int_equal(lease->as.lease.session, session);
    assert_int_equal(lease->as.lease.offer.token.task_id, id);
    assert_int_equal(lease->as.lease.offer.token.attempt, 1);
    assert_int_equal(lease->as.lease.offer.token.seq, core_seq(f.core));
    assert_true(slice_equal_str(lease->as.lease.offer.input, "1"));
    assert_int_equal(lease->as.lease.offer.expires_ns, 1000000000 + LIMIT_LEASE_MS_DEFAULT * INT64_C(1000000));
    assert_int_equal(core_session_task(f.core, session, 0), id);
    struct lease_token token = fixture_lease(&f);
    assert_int_equal(fixture_complete(&f, session, token), STATUS_OK);
    assert_int_equal(fixture_state(&f, id), TASK_SUCCEEDED);
    assert_true(slice_equal_str(fixture_view(&f, id).result, "\"done\""));
    assert_int_equal(fixture_complete(&f, session, token), STATUS_LEASE_LOST); /* T3 */
    assert_int_equal(core_session_task(f.core, session, 0), 0);
}

static void test_stale_tokens_change_nothing(void **state)
{
    (void)state;
    uint64_t a = fixture_node(&f, "a", 1);
    uint64_t id = fixture_submit(&f, submit_default());
    struct lease_token token = fixture_lease(&f);
    uint64_t b = fixture_node(&f, "b", 0);
    struct lease_token wrong[] = {token, token, token, {0, 0, 0}};
    wrong[0].attempt++;
    wrong[1].seq--;
    wrong[2].task_id += UINT64_C(1) << TASK_ID_INDEX_BITS;
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(fixture_complete(&f, a, wrong[i]), STATUS_LEASE_LOST);
    }
    assert_int_equal(fixture_complete(&f, b, token), STATUS_LEASE_LOST); /* not its lease */
    assert_int_equal(fixture_complete(&f, a + 12345 * 65536, token), STATUS_SESSION_LOST);
    assert_int_equal(fixture_state(&f, id), TASK_LEASED);
    assert_int_equal(fixture_complete(&f, a, token), STATUS_OK);
}

static void test_refusals_name_their_outcomes(void **state)
{
    (void)state;
    uint64_t session = fixture_node(&f, "n", 2);
    command_put_submit(fixture_batch(&f), &(struct command_submit){.queue = SLICE("default"),
                                                                   .kind = SLICE("k"),
                                                                   .input = SLICE("1"),
                                                                   .weight = 1,
                                                                   .retry = submit_default().retry});
    command_put_submit(fixture_batch(&f), &(struct command_submit){.queue = SLICE("default"),
                                                                   .kind = SLICE("k"),
                                                                   .input = SLICE("2"),
                                                                   .weight = 1,
                                                                   .retry = submit_default().retry});
    fixture_apply(&f);
    assert_int_equal(fixture_effects(&f, EFFECT_LEASE), 2);
    struct lease_token token[2];
    for (uint32_t i = 0; i < 2; i++) {
        token[i] = fixture_effect(&f, EFFECT_LEASE, i)->as.lease.offer.token;
    }
    struct buf bytes;
    buf_init(&bytes, 1 << 20);
    struct outcome outcomes[] = {{.type = OUTCOME_COMPLETE, .token = token[0]},
                                 {.type = OUTCOME_COMPLETE, .token = token[0]}, /* ended by the one before */
                                 {.type = OUTCOME_FAIL, .token = token[1]},
                                 {.type = OUTCOME_RELEASE, .token = {1, 1, 1}}};
    for (size_t i = 0; i < 4; i++) {
        outcome_put(&bytes, &outcomes[i]);
    }
    struct command_node_report report = {.session = session, .outcome_count = 4, .outcomes = buf_slice(&bytes)};
    command_put_node_report(fixture_batch(&f), &report);
    fixture_apply(&f);
    buf_free(&bytes);
    struct reader refused = reader_of(f.reply.refused);
    uint32_t ordinal;
    enum status status;
    assert_true(effect_refused_next(&refused, &ordinal, &status));
    assert_int_equal(ordinal, 1);
    assert_int_equal(status, STATUS_LEASE_LOST);
    assert_true(effect_refused_next(&refused, &ordinal, &status));
    assert_int_equal(ordinal, 3);
    assert_false(effect_refused_next(&refused, &ordinal, &status));
    assert_int_equal(fixture_state(&f, token[0].task_id), TASK_SUCCEEDED);
    assert_int_equal(fixture_state(&f, token[1].task_id), TASK_SCHEDULED);
}

static void test_failures_back_off_and_end_dead(void **state)
{
    (void)state;
    struct command_submit submit = submit_default();
    submit.retry = (struct retry_policy){.attempts_max = 3, .factor_milli = 3000, .base_ms = 100, .cap_ms = 250};
    uint64_t session = fixture_node(&f, "n", 5);
    uint64_t id = fixture_submit(&f, submit);
    assert_int_equal(fixture_fail(&f, session, fixture_lease(&f), "code"), STATUS_OK);
    assert_int_equal(fixture_state(&f, id), TASK_SCHEDULED);
    assert_int_equal(core_next_deadline_ns(f.core), 1100000000);
    fixture_at_ms(&f, 1100);
    fixture_tick(&f);
    assert_int_equal(fixture_lease(&f).attempt, 2);
    assert_int_equal(fixture_fail(&f, session, fixture_lease(&f), "code"), STATUS_OK);
    assert_int_equal(core_next_deadline_ns(f.core), 1350000000); /* the cap, not 300 */
    fixture_at_ms(&f, 1350);
    fixture_tick(&f);
    assert_int_equal(fixture_fail(&f, session, fixture_lease(&f), "code"), STATUS_OK);
    assert_int_equal(fixture_state(&f, id), TASK_DEAD);
    struct task_view view = fixture_view(&f, id);
    assert_int_equal(view.attempts_failed, 3);
    assert_int_equal(view.attempt_count, 3);
    assert_int_equal(view.attempt[2].outcome, ATTEMPT_FAILED);
    assert_true(slice_equal_str(view.attempt[0].node, "n"));
    assert_true(slice_equal_str(view.attempt[0].error_kind, "code"));
}

static void test_jitter_is_bounded_and_repeatable(void **state)
{
    (void)state;
    struct command_submit submit = submit_default();
    submit.retry.base_ms = 1000;
    submit.retry.jitter_percent = 20;
    uint64_t session = fixture_node(&f, "n", 100);
    int64_t least = INT64_MAX, most = 0;
    for (int i = 0; i < 40; i++) {
        uint64_t id = fixture_submit(&f, submit);
        fixture_fail(&f, session, fixture_lease(&f), "code");
        int64_t delay_ms = (fixture_view(&f, id).run_at_ns - f.time_ns) / 1000000;
        least = delay_ms < least ? delay_ms : least;
        most = delay_ms > most ? delay_ms : most;
    }
    assert_true(least >= 800 && most <= 1000 && most - least > 50);
}

static void test_some_failures_are_final(void **state)
{
    (void)state;
    uint64_t session = fixture_node(&f, "n", 5);
    struct command_submit submit = submit_default();
    submit.retry.not_retryable[0] = SLICE("poison");
    submit.retry.not_retryable_count = 1;
    uint64_t id = fixture_submit(&f, submit);
    fixture_fail(&f, session, fixture_lease(&f), "poison");
    assert_int_equal(fixture_state(&f, id), TASK_DEAD);
    id = fixture_submit(&f, submit);
    struct outcome outcome = {.type = OUTCOME_FAIL, .token = fixture_lease(&f), .is_final = true};
    assert_int_equal(fixture_report(&f, session, &outcome), STATUS_OK);
    assert_int_equal(fixture_state(&f, id), TASK_DEAD);
}

static void test_expired_lease_is_granted_again_and_the_late_report_refused(void **state)
{
    (void)state;
    struct command_submit submit = submit_default();
    submit.lease_ms = 2000;
    uint64_t session = fixture_node(&f, "n", 2);
    uint64_t id = fixture_submit(&f, submit);
    struct lease_token first = fixture_lease(&f);
    fixture_at_ms(&f, 2999);
    fixture_tick(&f);
    assert_int_equal(fixture_effects(&f, EFFECT_STOP), 0);
    fixture_at_ms(&f, 3000);
    fixture_tick(&f);
    assert_int_equal(fixture_effect(&f, EFFECT_STOP, 0)->as.stop.reason, STOP_EXPIRED);
    struct lease_token second = fixture_lease(&f);
    assert_int_equal(second.task_id, id);
    assert_int_equal(second.attempt, 2);
    assert_int_equal(fixture_complete(&f, session, first), STATUS_LEASE_LOST);
    assert_int_equal(fixture_complete(&f, session, second), STATUS_OK);
    struct task_view view = fixture_view(&f, id);
    assert_int_equal(view.attempts_lost, 1);
    assert_int_equal(view.attempts_failed, 0);
    assert_int_equal(view.attempt[0].outcome, ATTEMPT_EXPIRED);
    assert_int_equal(view.attempt[1].outcome, ATTEMPT_SUCCEEDED);
}

static void test_extend_and_progress_move_the_end(void **state)
{
    (void)state;
    struct command_submit submit = submit_default();
    submit.lease_ms = 2000;
    uint64_t session = fixture_node(&f, "n", 2);
    uint64_t id = fixture_submit(&f, submit);
    struct lease_token token = fixture_lease(&f);
    fixture_at_ms(&f, 2000);
    struct outcome extend = {.type = OUTCOME_EXTEND, .token = token};
    assert_int_equal(fixture_report(&f, session, &extend), STATUS_OK);
    assert_int_equal(fixture_view(&f, id).lease_expires_ns, 4000000000);
    extend.lease_ms = 10000;
    assert_int_equal(fixture_report(&f, session, &extend), STATUS_OK);
    assert_int_equal(core_next_deadline_ns(f.core), 12000000000);
    struct outcome progress = {.type = OUTCOME_PROGRESS,
                               .token = token,
                               .progress_permille = 250,
                               .message = SLICE("a quarter"),
                               .payload = SLICE("{\"at\":5}"),
                               .lease_ms = 3000};
    assert_int_equal(fixture_report(&f, session, &progress), STATUS_OK);
    struct task_view view = fixture_view(&f, id);
    assert_int_equal(view.lease_expires_ns, 5000000000);
    assert_int_equal(view.progress_permille, 250);
    assert_true(slice_equal_str(view.progress_note, "a quarter"));
    /* the checkpoint is handed to the next attempt, and an empty one keeps the former */
    progress.payload = (struct slice){NULL, 0};
    assert_int_equal(fixture_report(&f, session, &progress), STATUS_OK);
    struct outcome release = {.type = OUTCOME_RELEASE, .token = token};
    assert_int_equal(fixture_report(&f, session, &release), STATUS_OK);
    const struct effect *lease = fixture_effect(&f, EFFECT_LEASE, 0);
    assert_non_null(lease);
    assert_true(slice_equal_str(lease->as.lease.offer.checkpoint, "{\"at\":5}"));
    assert_int_equal(fixture_view(&f, id).attempt[0].outcome, ATTEMPT_RELEASED);
    assert_int_equal(fixture_view(&f, id).attempts_lost, 0);
}

static void test_time_out_counts_as_failure(void **state)
{
    (void)state;
    struct command_submit submit = submit_default();
    submit.timeout_ms = 700;
    submit.retry.attempts_max = 1;
    uint64_t session = fixture_node(&f, "n", 2);
    uint64_t id = fixture_submit(&f, submit);
    struct outcome extend = {.type = OUTCOME_EXTEND, .token = fixture_lease(&f)};
    fixture_report(&f, session, &extend); /* an extended lease does not move it */
    assert_int_equal(core_next_deadline_ns(f.core), 1700000000);
    fixture_at_ms(&f, 1700);
    fixture_tick(&f);
    assert_int_equal(fixture_effect(&f, EFFECT_STOP, 0)->as.stop.reason, STOP_TIMED_OUT);
    struct task_view view = fixture_view(&f, id);
    assert_int_equal(view.state, TASK_DEAD);
    assert_true(slice_equal_str(view.error_kind, "timeout"));
    assert_int_equal(view.attempt[0].outcome, ATTEMPT_TIMED_OUT);
}

static void test_a_task_that_kills_its_nodes_is_dead(void **state)
{
    (void)state;
    uint64_t id = fixture_submit(&f, submit_default());
    for (uint32_t i = 0; i < LIMIT_DEATHS; i++) {
        uint64_t session = fixture_node(&f, "n", 1);
        assert_int_equal(fixture_lease(&f).task_id, id);
        assert_int_equal(fixture_lost(&f, session), STATUS_OK);
    }
    struct task_view view = fixture_view(&f, id);
    assert_int_equal(view.state, TASK_DEAD);
    assert_true(slice_equal_str(view.error_kind, POISON));
    assert_non_null(
        memmem(view.error_message.data, view.error_message.len, "2 nodes died while it ran, the last one was n", 43));
    assert_int_equal(view.attempts_lost, LIMIT_DEATHS);
}

/* What killed two nodes and is tried again has a node for itself, and that node nothing beside it. */
static void test_poison_is_tried_again_alone(void **state)
{
    (void)state;
    uint64_t id = fixture_submit(&f, submit_default());
    for (uint32_t i = 0; i < LIMIT_DEATHS; i++) {
        assert_int_equal(fixture_lost(&f, fixture_node(&f, "n", 1)), STATUS_OK);
    }
    uint64_t busy = fixture_node(&f, "busy", 4);
    fixture_submit(&f, submit_default());
    struct lease_token other = fixture_lease(&f);
    assert_int_equal(fixture_task(&f, COMMAND_RETRY, id), STATUS_OK);
    assert_int_equal(fixture_state(&f, id), TASK_READY); /* not beside the other */
    assert_true(fixture_view(&f, id).requirement.is_alone);
    uint64_t third = fixture_submit(&f, submit_default());
    assert_int_equal(fixture_lease(&f).task_id, third); /* others go on */
    assert_int_equal(fixture_complete(&f, busy, other), STATUS_OK);
    assert_int_equal(fixture_effects(&f, EFFECT_LEASE), 0);
    assert_int_equal(fixture_complete(&f, busy, (struct lease_token){third, 1, fixture_view(&f, third).token.seq}),
                     STATUS_OK);
    assert_int_equal(fixture_lease(&f).task_id, id); /* nothing else is there any more */
    struct lease_token alone = fixture_view(&f, id).token;
    uint64_t fourth = fixture_submit(&f, submit_default());
    assert_int_equal(fixture_effects(&f, EFFECT_LEASE), 0); /* though there is credit */
    assert_int_equal(fixture_complete(&f, busy, alone), STATUS_OK);
    assert_int_equal(fixture_lease(&f).task_id, fourth);
}

/* A node that was cut off, and comes back with what it worked on, did not die; nor one whose hub forgot to tell it of a lease. */
static void test_who_comes_back_did_not_die(void **state)
{
    (void)state;
    uint64_t id = fixture_submit(&f, submit_default());
    for (uint32_t i = 0; i < 2 * LIMIT_DEATHS; i++) {
        struct command_node_hello hello = hello_default("n", 1);
        uint64_t session = fixture_hello(&f, hello);
        struct lease_token token = fixture_lease(&f);
        assert_int_equal(fixture_lost(&f, session), STATUS_OK);
        assert_int_equal(fixture_view(&f, id).deaths, 1);
        struct buf held;
        buf_init(&held, 4096);
        lease_token_put(&held, &token);
        hello.held = held.data;
        hello.held_count = 1;
        hello.credit = 0;
        session = fixture_hello(&f, hello);
        buf_free(&held);
        assert_int_equal(fixture_view(&f, id).deaths, 0);
        assert_int_equal(fixture_view(&f, id).attempts_lost, 2 * i + 1);
        assert_int_equal(fixture_credit(&f, session, 1), STATUS_OK);
        assert_int_equal(fixture_state(&f, id), TASK_LEASED);
        fixture_hello(&f, hello_default("n", 0)); /* the same process, which never heard of that lease */
        assert_int_equal(fixture_view(&f, id).deaths, 0);
        assert_int_equal(fixture_lost(&f, f.reply.session), STATUS_OK);
    }
    assert_int_equal(fixture_state(&f, id), TASK_READY);
}

/* Entries of the first level went on ten times. */
static void test_old_entries_lose_ten_nodes(void **state)
{
    (void)state;
    uint64_t id = fixture_submit(&f, submit_default());
    for (uint32_t i = 0; i < (LIMIT_ATTEMPTS_LOST + 1); i++) {
        assert_int_equal(fixture_state(&f, id), TASK_READY);
        uint64_t session = fixture_node(&f, "n", 1);
        command_put_node_lost(fixture_batch(&f),
                              &(struct command_node_lost){.session = session, .reason = LOST_SILENT});
        f.body.data[15] = ENTRY_LEVEL_FIRST; /* the top byte of the batch */
        fixture_apply(&f);
    }
    assert_true(slice_equal_str(fixture_view(&f, id).error_kind, "lost"));
}

static void test_only_the_newest_attempts_are_kept(void **state)
{
    (void)state;
    uint64_t session = fixture_node(&f, "n", 100);
    uint64_t id = fixture_submit(&f, submit_default());
    for (int i = 0; i < 30; i++) {
        struct outcome release = {.type = OUTCOME_RELEASE, .token = fixture_lease(&f)};
        assert_int_equal(fixture_report(&f, session, &release), STATUS_OK);
    }
    struct task_view view = fixture_view(&f, id);
    assert_int_equal(view.attempts, 31);
    assert_int_equal(view.attempt_count, LIMIT_ATTEMPTS_KEPT);
    assert_int_equal(view.attempt[0].attempt, 31 - LIMIT_ATTEMPTS_KEPT + 1);
    assert_int_equal(view.attempt[LIMIT_ATTEMPTS_KEPT - 1].outcome, ATTEMPT_RUNNING);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_grant_and_complete),
        TEST(test_stale_tokens_change_nothing),
        TEST(test_refusals_name_their_outcomes),
        TEST(test_failures_back_off_and_end_dead),
        TEST(test_jitter_is_bounded_and_repeatable),
        TEST(test_some_failures_are_final),
        TEST(test_expired_lease_is_granted_again_and_the_late_report_refused),
        TEST(test_extend_and_progress_move_the_end),
        TEST(test_time_out_counts_as_failure),
        TEST(test_a_task_that_kills_its_nodes_is_dead),
        TEST(test_poison_is_tried_again_alone),
        TEST(test_who_comes_back_did_not_die),
        TEST(test_old_entries_lose_ten_nodes),
        TEST(test_only_the_newest_attempts_are_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
