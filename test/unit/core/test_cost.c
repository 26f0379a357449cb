/* What a client can repeat costs the same however many nodes are gone, queues are full and keys are old. Counted in steps
 * (core_steps), which no clock and no busy machine disturbs. */
#include <stdio.h>

#include "fixture_each.h"

#define GONE_MANY 64000
#define BATCH 500

static void many_gone(uint32_t count)
{
    f.is_unchecked = true;
    char names[BATCH][24];
    uint64_t sessions[BATCH];
    for (uint32_t i = 0; i < count; i += BATCH) {
        for (uint32_t j = 0; j < BATCH; j++) {
            snprintf(names[j], sizeof(names[j]), "gone-%u", i + j);
            struct command_node_hello hello = hello_default(names[j], 1);
            hello.facts.labels[0] = SLICE("common");
            hello.facts.label_count = 1;
            command_put_node_hello(fixture_batch(&f), &hello);
        }
        fixture_apply(&f);
        for (uint32_t j = 0; j < BATCH; j++) {
            sessions[j] = fixture_effect(&f, EFFECT_REPLY, j)->as.reply.session;
        }
        for (uint32_t j = 0; j < BATCH; j++) {
            command_put_node_lost(fixture_batch(&f),
                                  &(struct command_node_lost){.session = sessions[j], .reason = LOST_SILENT});
        }
        fixture_apply(&f);
    }
}

/* Tasks of `count` label sets, delayed by a day and cancelled again. */
static uint64_t steps_of_label_sets(uint32_t count)
{
    uint64_t before = core_steps(f.core);
    char label[24];
    for (uint32_t i = 0; i < count; i++) {
        struct command_submit submit = submit_default();
        snprintf(label, sizeof(label), "only-%u", i);
        submit.requirement.labels[0] = slice_str(label);
        submit.requirement.label_count = 1;
        submit.run_at_ns = f.time_ns + INT64_C(86400) * 1000 * 1000000;
        uint64_t id = fixture_submit(&f, submit);
        fixture_task(&f, COMMAND_CANCEL, id);
    }
    fixture_history(&f, core_seq(f.core) + 1);
    fixture_at_ms(&f, f.time_ns / 1000000 + 120000);
    fixture_tick(&f); /* they leave memory, and their label sets with them */
    struct core_stats stats;
    core_stats(f.core, &stats);
    assert_int_equal(stats.signatures, 0);
    return core_steps(f.core) - before;
}

static void test_label_sets_beside_gone_nodes(void **state)
{
    (void)state;
    (void)fixture_node(&f, "live", 1);
    uint64_t few = steps_of_label_sets(200);
    many_gone(GONE_MANY);
    uint64_t many = steps_of_label_sets(200);
    assert_int_equal(few, many);
}

/* The same beside many that are there: none of them has such a label. */
static void test_label_sets_beside_live_nodes(void **state)
{
    (void)state;
    (void)fixture_node(&f, "live", 1);
    uint64_t few = steps_of_label_sets(200);
    f.is_unchecked = true;
    char name[24];
    for (uint32_t i = 0; i < 20000; i++) {
        snprintf(name, sizeof(name), "live-%u", i);
        struct command_node_hello hello = hello_default(name, 0);
        hello.facts.labels[0] = SLICE("common");
        hello.facts.label_count = 1;
        (void)fixture_hello(&f, hello);
    }
    assert_int_equal(few, steps_of_label_sets(200));
    assert_null(core_check(f.core));
}

/* A node that comes and goes beside signatures of a kind that is not its own. */
static uint64_t steps_of_hello(void)
{
    uint64_t before = core_steps(f.core);
    uint64_t session = fixture_node(&f, "comes", 1);
    assert_int_equal(fixture_lost(&f, session), STATUS_OK);
    return core_steps(f.core) - before;
}

static void test_hello_beside_foreign_signatures(void **state)
{
    (void)state;
    uint64_t few = steps_of_hello();
    fixture_kind(&f, "other");
    char label[24];
    for (uint32_t i = 0; i < 2000; i++) {
        struct command_submit submit = submit_default();
        submit.kind = SLICE("other");
        snprintf(label, sizeof(label), "only-%u", i);
        submit.requirement.labels[0] = slice_str(label);
        submit.requirement.label_count = 1;
        (void)fixture_submit(&f, submit);
    }
    assert_int_equal(few, steps_of_hello());
}

/* A new name at LIMIT_NODES takes the place of the one that has been gone for longest, without looking for it. */
static void test_new_name_in_a_full_table(void **state)
{
    (void)state;
    many_gone(65500);
    char name[24];
    uint64_t before = core_steps(f.core);
    for (uint32_t i = 0; i < 100; i++) {
        snprintf(name, sizeof(name), "new-%u", i);
        (void)fixture_node(&f, name, 0);
    }
    struct core_stats stats;
    core_stats(f.core, &stats);
    assert_int_equal(stats.nodes, LIMIT_NODES);
    assert_true(core_steps(f.core) - before < 2000);
    struct node_view view;
    assert_false(core_node_find(f.core, SLICE("gone-0"), &view)); /* the first that went */
    assert_true(core_node_find(f.core, SLICE("gone-65499"), &view));
    assert_null(core_check(f.core));
}

/* Pausing a queue costs what waits in it, not what waits in others. */
static void test_pause_beside_a_long_queue(void **state)
{
    (void)state;
    f.is_unchecked = true;
    fixture_queue(&f, "empty", -1);
    char key[24];
    for (uint32_t i = 0; i < 20000; i++) {
        struct command_submit submit = submit_default();
        snprintf(key, sizeof(key), "tenant-%u", i);
        submit.fairness_key = slice_str(key);
        command_put_submit(fixture_batch(&f), &submit);
        if (f.batch_count == BATCH) {
            fixture_apply(&f);
        }
    }
    uint64_t before = core_steps(f.core);
    fixture_queue(&f, "empty", 1);
    fixture_queue(&f, "empty", 0);
    assert_int_equal(core_steps(f.core), before);
    fixture_queue(&f, "default", 1);
    assert_int_equal(core_steps(f.core), before + 20000);
    assert_null(core_check(f.core));
}

/* Many idempotency keys that arrived at one task through its unique key go in one step each. */
static void test_old_keys_of_one_task(void **state)
{
    (void)state;
    f.is_unchecked = true;
    char key[24];
    for (uint32_t i = 0; i < 20000; i++) {
        struct command_submit submit = submit_default();
        snprintf(key, sizeof(key), "key-%u", i);
        submit.idempotency_key = slice_str(key);
        submit.unique_mode = UNIQUE_UNFINISHED;
        submit.unique_key = SLICE("u");
        command_put_submit(fixture_batch(&f), &submit);
        if (f.batch_count == BATCH) {
            fixture_apply(&f);
        }
    }
    struct core_stats stats;
    core_stats(f.core, &stats);
    assert_int_equal(stats.idempotency_keys, 20000);
    assert_null(core_check(f.core));
    uint64_t before = core_steps(f.core);
    fixture_at_ms(&f, f.time_ns / 1000000 + LIMIT_IDEMPOTENCY_MS + 1);
    fixture_tick(&f);
    core_stats(f.core, &stats);
    assert_int_equal(stats.idempotency_keys, 0);
    assert_true(core_steps(f.core) - before <= 20100);
    assert_null(core_check(f.core));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_label_sets_beside_gone_nodes),    TEST(test_label_sets_beside_live_nodes),
        TEST(test_hello_beside_foreign_signatures), TEST(test_new_name_in_a_full_table),
        TEST(test_pause_beside_a_long_queue),       TEST(test_old_keys_of_one_task),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
