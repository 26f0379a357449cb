/* The order in which ready tasks are handed out: priority, fair shares between keys (T7), first in first out. */
#include <string.h>

#include "fixture_each.h"

static uint64_t add(const char *key, uint32_t weight, uint8_t priority)
{
    struct command_submit submit = submit_default();
    submit.fairness_key = slice_str(key);
    submit.weight = weight;
    submit.priority = priority;
    return fixture_submit(&f, submit);
}

/* Grants n leases one by one and says whose they are: the key's last letter. */
static void take(uint64_t session, uint32_t n, char *ret)
{
    for (uint32_t i = 0; i < n; i++) {
        assert_int_equal(fixture_credit(&f, session, 1), STATUS_OK);
        struct task_view view = fixture_view(&f, fixture_lease(&f).task_id);
        ret[i] = view.fairness_key.len > 0 ? view.fairness_key.data[view.fairness_key.len - 1] : '-';
    }
    ret[n] = '\0';
}

static uint32_t count_of(const char *text, char c)
{
    uint32_t count = 0;
    for (; *text != '\0'; text++) {
        count += *text == c;
    }
    return count;
}

static void test_priority_first_then_age(void **state)
{
    (void)state;
    static const uint8_t priorities[] = {5, 9, 0, 5, 9};
    uint64_t id[5];
    for (int i = 0; i < 5; i++) {
        id[i] = add("", 1, priorities[i]);
    }
    fixture_node(&f, "n", 5);
    static const int order[] = {1, 4, 0, 3, 2};
    for (uint32_t i = 0; i < 5; i++) {
        assert_int_equal(fixture_effect(&f, EFFECT_LEASE, i)->as.lease.offer.token.task_id, id[order[i]]);
    }
}

static void test_priority_holds_across_a_batch(void **state)
{
    (void)state;
    fixture_node(&f, "n", 1);
    struct command_submit submit = submit_default();
    submit.priority = 1;
    command_put_submit(fixture_batch(&f), &submit);
    submit.priority = 8;
    command_put_submit(fixture_batch(&f), &submit);
    fixture_apply(&f);
    assert_int_equal(fixture_lease(&f).task_id, f.reply.task_id); /* the second one */
}

static void test_keys_take_turns(void **state)
{
    (void)state;
    for (int i = 0; i < 6; i++) {
        add("a", 1, 5); /* a comes first with all of its work */
    }
    for (int i = 0; i < 3; i++) {
        add("b", 1, 5);
        add("c", 1, 5);
    }
    char got[16];
    take(fixture_node(&f, "n", 0), 12, got);
    assert_string_equal(got, "abcabcabcaaa");
}

static void test_shares_follow_weights_in_every_window(void **state)
{
    (void)state;
    for (int i = 0; i < 160; i++) {
        add("a", 4, 5);
        add("b", 2, 5);
        add("c", 1, 5);
    }
    char got[211];
    take(fixture_node(&f, "n", 0), 210, got);
    for (int from = 0; from + 70 <= 210; from++) {
        char window[71];
        memcpy(window, got + from, sizeof(window) - 1);
        window[sizeof(window) - 1] = '\0';
        /* 70 tasks at 4:2:1 are 40, 20, 10; within one quantum of each key, its own and one of the others */
        assert_in_range(count_of(window, 'a'), 38, 42);
        assert_in_range(count_of(window, 'b'), 18, 22);
        assert_in_range(count_of(window, 'c'), 9, 11);
    }
}

static void test_a_late_key_does_not_catch_up(void **state)
{
    (void)state;
    for (int i = 0; i < 60; i++) {
        add("a", 1, 5);
    }
    char got[64];
    uint64_t session = fixture_node(&f, "n", 0);
    take(session, 30, got);
    for (int i = 0; i < 30; i++) {
        add("b", 1, 5);
    }
    take(session, 20, got);
    assert_in_range(count_of(got, 'b'), 9, 11);
}

static void test_spreading_over_signatures_gains_nothing(void **state)
{
    (void)state;
    fixture_queue(&f, "q", -1);
    for (uint32_t i = 0; i < 40; i++) {
        struct command_submit submit = submit_default();
        submit.fairness_key = SLICE("a");
        submit.requirement.cpu_milli = 100 + i % 8; /* eight signatures */
        fixture_submit(&f, submit);
        submit.fairness_key = SLICE("b");
        submit.requirement.cpu_milli = 0;
        fixture_submit(&f, submit);
    }
    char got[64];
    take(fixture_node(&f, "n", 0), 40, got);
    assert_in_range(count_of(got, 'a'), 19, 21);
    for (int from = 0; from + 10 <= 40; from++) {
        char window[11];
        memcpy(window, got + from, sizeof(window) - 1);
        window[sizeof(window) - 1] = '\0';
        assert_in_range(count_of(window, 'a'), 4, 6);
    }
}

static void test_a_key_that_nobody_could_serve_does_not_hoard(void **state)
{
    (void)state;
    for (int i = 0; i < 100; i++) {
        add("a", 1, 5);
        struct command_submit submit = submit_default();
        submit.fairness_key = SLICE("b");
        submit.requirement.gpu = 1;
        fixture_submit(&f, submit);
    }
    char got[64];
    uint64_t plain = fixture_node(&f, "plain", 0);
    take(plain, 50, got);
    assert_int_equal(count_of(got, 'a'), 50);
    struct command_node_hello hello = hello_default("gpu", 0);
    hello.facts.gpu = 1;
    take(fixture_hello(&f, hello), 20, got);
    assert_in_range(count_of(got, 'b'), 9, 11); /* not twenty */
}

static void test_paused_queue_gives_nothing(void **state)
{
    (void)state;
    fixture_queue(&f, "q", 0);
    struct command_submit submit = submit_default();
    submit.queue = SLICE("q");
    uint64_t a = fixture_submit(&f, submit);
    fixture_queue(&f, "q", 1);
    uint64_t b = fixture_submit(&f, submit);
    fixture_node(&f, "n", 5);
    assert_int_equal(fixture_effects(&f, EFFECT_LEASE), 0);
    uint64_t other = fixture_submit(&f, submit_default());
    assert_int_equal(fixture_lease(&f).task_id, other);
    fixture_queue(&f, "q", 0);
    assert_int_equal(fixture_effects(&f, EFFECT_LEASE), 2);
    assert_int_equal(fixture_effect(&f, EFFECT_LEASE, 0)->as.lease.offer.token.task_id, a);
    assert_int_equal(fixture_effect(&f, EFFECT_LEASE, 1)->as.lease.offer.token.task_id, b);
    struct command_queue_set pause = {.name = SLICE("nowhere"), .has_paused = true, .paused = true, .must_exist = true};
    command_put_queue_set(fixture_batch(&f), &pause);
    fixture_apply(&f);
    assert_int_equal(f.reply.status, STATUS_NOT_FOUND);
}

static void test_cancel_in_the_middle_of_a_line(void **state)
{
    (void)state;
    uint64_t id[5];
    for (int i = 0; i < 5; i++) {
        id[i] = add("a", 1, 5);
    }
    fixture_task(&f, COMMAND_CANCEL, id[2]);
    fixture_task(&f, COMMAND_CANCEL, id[0]);
    fixture_task(&f, COMMAND_CANCEL, id[4]);
    fixture_node(&f, "n", 5);
    assert_int_equal(fixture_effects(&f, EFFECT_LEASE), 2);
    assert_int_equal(fixture_effect(&f, EFFECT_LEASE, 0)->as.lease.offer.token.task_id, id[1]);
    assert_int_equal(fixture_effect(&f, EFFECT_LEASE, 1)->as.lease.offer.token.task_id, id[3]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_priority_first_then_age),
        TEST(test_priority_holds_across_a_batch),
        TEST(test_keys_take_turns),
        TEST(test_shares_follow_weights_in_every_window),
        TEST(test_a_late_key_does_not_catch_up),
        TEST(test_spreading_over_signatures_gains_nothing),
        TEST(test_a_key_that_nobody_could_serve_does_not_hoard),
        TEST(test_paused_queue_gives_nothing),
        TEST(test_cancel_in_the_middle_of_a_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
