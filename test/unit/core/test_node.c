/* Sessions: hello, resume, replace, lost; credit, drain, quiet; what a node can run. */
#include "fixture_each.h"

static struct node_view view_of(const char *name)
{
    struct node_view view;
    assert_true(core_node_find(f.core, slice_str(name), &view));
    return view;
}

static void test_hello_makes_a_node_and_its_kinds(void **state)
{
    (void)state;
    struct command_node_hello hello = hello_default("n", 3);
    hello.kinds[1] = SLICE("code.run");
    hello.kind_count = 2;
    hello.facts.labels[0] = SLICE("arm");
    hello.facts.label_count = 1;
    uint64_t session = fixture_hello(&f, hello);
    assert_false(f.reply.is_resumed);
    assert_true(core_kind_is_known(f.core, SLICE("code.run")));
    struct node_view view = view_of("n");
    assert_int_equal(view.session, session);
    assert_int_equal(view.credit, 3);
    assert_int_equal(view.kind_count, 2);
    assert_int_equal(view.facts.label_count, 1);
    assert_true(slice_equal_str(view.info, "{}"));
    assert_true(core_session_find(f.core, session, &view));
    assert_false(core_session_find(f.core, session + 65536, &view));
}

static void test_lost_node_gives_its_work_back_in_order(void **state)
{
    (void)state;
    uint64_t session = fixture_node(&f, "a", 3);
    uint64_t id[4];
    for (int i = 0; i < 4; i++) {
        id[i] = fixture_submit(&f, submit_default());
    }
    assert_int_equal(fixture_lost(&f, session), STATUS_OK);
    const struct effect *ended = fixture_effect(&f, EFFECT_SESSION, 0);
    assert_non_null(ended);
    assert_true(ended->as.session.has_ended);
    assert_int_equal(ended->as.session.session, session);
    assert_int_equal(fixture_lost(&f, session), STATUS_SESSION_LOST);
    assert_int_equal(fixture_credit(&f, session, 5), STATUS_SESSION_LOST);
    assert_int_equal(view_of("a").session, 0);
    assert_int_equal(view_of("a").lost, 3);
    uint64_t b = fixture_node(&f, "b", 4);
    assert_int_equal(fixture_effects(&f, EFFECT_LEASE), 4);
    for (uint32_t i = 0; i < 4; i++) {
        assert_int_equal(fixture_effect(&f, EFFECT_LEASE, i)->as.lease.offer.token.task_id, id[i]);
    }
    uint64_t at = 0;
    for (uint32_t i = 0; i < 4; i++) {
        at = core_session_task(f.core, b, at);
        assert_int_equal(at, id[i]);
    }
}

static void test_resume_keeps_what_is_held_and_loses_the_rest(void **state)
{
    (void)state;
    uint64_t session = fixture_node(&f, "n", 2);
    uint64_t kept = fixture_submit(&f, submit_default());
    struct lease_token kept_token = fixture_lease(&f);
    uint64_t gone = fixture_submit(&f, submit_default());
    struct lease_token stale = {kept, 9, 9};
    struct buf held;
    buf_init(&held, 1000);
    lease_token_put(&held, &stale);
    lease_token_put(&held, &kept_token);
    struct command_node_hello hello = hello_default("n", 0);
    hello.held = held.data;
    hello.held_count = 2;
    uint64_t again = fixture_hello(&f, hello);
    assert_true(f.reply.is_resumed);
    assert_int_not_equal(again, session);
    struct reader refused = reader_of(f.reply.refused);
    uint32_t ordinal;
    enum status status;
    assert_true(effect_refused_next(&refused, &ordinal, &status));
    assert_int_equal(ordinal, 0);
    assert_int_equal(status, STATUS_LEASE_LOST);
    assert_false(effect_refused_next(&refused, &ordinal, &status));
    assert_int_equal(fixture_state(&f, gone), TASK_READY);
    assert_int_equal(fixture_view(&f, gone).attempts_lost, 1);
    assert_int_equal(fixture_state(&f, kept), TASK_LEASED);
    assert_int_equal(fixture_complete(&f, session, kept_token), STATUS_SESSION_LOST);
    assert_int_equal(fixture_complete(&f, again, kept_token), STATUS_OK);
    buf_free(&held);
}

static void test_another_instance_replaces(void **state)
{
    (void)state;
    uint64_t session = fixture_node(&f, "n", 1);
    uint64_t id = fixture_submit(&f, submit_default());
    struct lease_token token = fixture_lease(&f);
    struct buf held;
    buf_init(&held, 1000);
    lease_token_put(&held, &token);
    struct command_node_hello hello = hello_default("n", 0);
    hello.instance = 2;
    hello.held = held.data;
    hello.held_count = 1;
    uint64_t again = fixture_hello(&f, hello);
    assert_false(f.reply.is_resumed);
    assert_int_not_equal(again, session);
    assert_int_equal(f.reply.refused.len, 5); /* what it holds belongs to the former instance */
    assert_int_equal(fixture_effect(&f, EFFECT_SESSION, 0)->as.session.reason, LOST_REPLACED);
    assert_int_equal(fixture_state(&f, id), TASK_READY);
    buf_free(&held);
}

static void test_hello_after_lost_refuses_held(void **state)
{
    (void)state;
    uint64_t session = fixture_node(&f, "n", 1);
    fixture_submit(&f, submit_default());
    struct lease_token token = fixture_lease(&f);
    fixture_lost(&f, session);
    struct buf held;
    buf_init(&held, 1000);
    lease_token_put(&held, &token);
    struct command_node_hello hello = hello_default("n", 1);
    hello.held = held.data;
    hello.held_count = 1;
    session = fixture_hello(&f, hello);
    assert_false(f.reply.is_resumed);
    assert_int_equal(f.reply.refused.len, 5);
    assert_int_equal(fixture_lease(&f).attempt, 2);
    assert_int_equal(fixture_complete(&f, session, token), STATUS_LEASE_LOST);
    buf_free(&held);
}

static void test_worker_hello_again_keeps_its_leases(void **state)
{
    (void)state;
    struct command_node_hello hello = hello_default("w", 1);
    hello.is_worker = true;
    uint64_t session = fixture_hello(&f, hello);
    uint64_t id = fixture_submit(&f, submit_default());
    struct lease_token token = fixture_lease(&f);
    hello.credit = 2;
    assert_int_equal(fixture_hello(&f, hello), session);
    assert_true(f.reply.is_resumed);
    assert_int_equal(fixture_state(&f, id), TASK_LEASED);
    assert_int_equal(view_of("w").credit, 2);
    assert_int_equal(fixture_complete(&f, session, token), STATUS_OK);
}

static void test_credit_is_spent_set_and_capped(void **state)
{
    (void)state;
    uint64_t session = fixture_node(&f, "n", 1);
    fixture_submit(&f, submit_default());
    assert_int_equal(view_of("n").credit, 0);
    fixture_submit(&f, submit_default());
    assert_int_equal(fixture_effects(&f, EFFECT_LEASE), 0);
    fixture_credit(&f, session, 1);
    assert_int_equal(fixture_effects(&f, EFFECT_LEASE), 1);
    struct command_node_report report = {.session = session, .has_credit = true, .credit_set = 1000000};
    command_put_node_report(fixture_batch(&f), &report);
    fixture_apply(&f);
    assert_int_equal(view_of("n").credit, LIMIT_CREDIT - 2);
    report.credit_set = 0;
    command_put_node_report(fixture_batch(&f), &report);
    fixture_apply(&f);
    fixture_submit(&f, submit_default());
    assert_int_equal(fixture_effects(&f, EFFECT_LEASE), 0);
}

static void set_flags(const char *name, int drain, int quiet)
{
    struct command_node_set command = {.node = slice_str(name),
                                       .has_drain = drain >= 0,
                                       .drain = drain > 0,
                                       .has_quiet = quiet >= 0,
                                       .quiet = quiet > 0};
    command_put_node_set(fixture_batch(&f), &command);
    fixture_apply(&f);
}

static void test_drain_and_quiet_take_nothing_new(void **state)
{
    (void)state;
    set_flags("n", 1, -1);
    assert_int_equal(f.reply.status, STATUS_NOT_FOUND);
    uint64_t session = fixture_node(&f, "n", 5);
    uint64_t first = fixture_submit(&f, submit_default());
    struct lease_token token = fixture_lease(&f);
    set_flags("n", 1, 1);
    const struct effect *effect = fixture_effect(&f, EFFECT_SESSION, 0);
    assert_non_null(effect);
    assert_false(effect->as.session.has_ended);
    assert_true(effect->as.session.drain && effect->as.session.quiet);
    fixture_submit(&f, submit_default());
    assert_int_equal(fixture_effects(&f, EFFECT_LEASE), 0);
    assert_int_equal(fixture_complete(&f, session, token), STATUS_OK); /* what it has goes on */
    assert_int_equal(fixture_state(&f, first), TASK_SUCCEEDED);
    set_flags("n", 0, -1);
    assert_int_equal(fixture_effects(&f, EFFECT_LEASE), 0);
    set_flags("n", -1, 0);
    assert_int_equal(fixture_effects(&f, EFFECT_LEASE), 1);
}

static void test_requirements_are_matched(void **state)
{
    (void)state;
    struct command_node_hello hello = hello_default("n", 10);
    hello.facts.labels[0] = SLICE("zone=a");
    hello.facts.label_count = 1;
    fixture_hello(&f, hello);
    struct requirement wants[] = {{.cpu_milli = 5000},
                                  {.memory_mib = 5000},
                                  {.gpu = 1},
                                  {.labels = {SLICE("zone=b")}, .label_count = 1},
                                  {.labels = {SLICE("zone=a"), SLICE("arm")}, .label_count = 2}};
    for (size_t i = 0; i < 5; i++) {
        struct command_submit submit = submit_default();
        submit.requirement = wants[i];
        fixture_submit(&f, submit);
        assert_int_equal(fixture_effects(&f, EFFECT_LEASE), 0);
    }
    struct command_submit submit = submit_default();
    submit.requirement = (struct requirement){
        .labels = {SLICE("zone=a"), SLICE("zone=a")}, .label_count = 2, .cpu_milli = 4000, .memory_mib = 4096};
    fixture_submit(&f, submit);
    assert_int_equal(fixture_effects(&f, EFFECT_LEASE), 1);
    struct core_stats stats;
    core_stats(f.core, &stats);
    assert_int_equal(stats.signatures, 6);
    /* a node with more runs them all */
    hello = hello_default("m", 10);
    hello.facts = (struct requirement){.labels = {SLICE("arm"), SLICE("zone=b"), SLICE("zone=a")},
                                       .label_count = 3,
                                       .cpu_milli = 64000,
                                       .memory_mib = 64000,
                                       .gpu = 2};
    fixture_hello(&f, hello);
    assert_int_equal(fixture_effects(&f, EFFECT_LEASE), 5);
}

static void test_work_spreads_over_idle_nodes(void **state)
{
    (void)state;
    uint64_t session[4];
    static const char *const names[] = {"a", "b", "c", "d"};
    for (int i = 0; i < 4; i++) {
        session[i] = fixture_node(&f, names[i], 100);
    }
    uint32_t count[4] = {0};
    for (int i = 0; i < 40; i++) {
        fixture_submit(&f, submit_default());
        for (int n = 0; n < 4; n++) {
            count[n] += fixture_effect(&f, EFFECT_LEASE, 0)->as.lease.session == session[n];
        }
    }
    for (int n = 0; n < 4; n++) {
        assert_int_equal(count[n], 10);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_hello_makes_a_node_and_its_kinds),
        TEST(test_lost_node_gives_its_work_back_in_order),
        TEST(test_resume_keeps_what_is_held_and_loses_the_rest),
        TEST(test_another_instance_replaces),
        TEST(test_hello_after_lost_refuses_held),
        TEST(test_worker_hello_again_keeps_its_leases),
        TEST(test_credit_is_spent_set_and_capped),
        TEST(test_drain_and_quiet_take_nothing_new),
        TEST(test_requirements_are_matched),
        TEST(test_work_spreads_over_idle_nodes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
