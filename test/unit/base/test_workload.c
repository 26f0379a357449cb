#include "base/workload.h"

#include "base/ensure.h"
#include "check.h"

static char why[512];

static enum status parse(const char *text, struct workload *ret)
{
    why[0] = '\0';
    return workload_parse(slice_str(text), ret, why, sizeof(why));
}

static void test_default(void **state)
{
    (void)state;
    struct workload workload;
    workload_default(&workload);
    assert_int_equal(workload.clients, 8);
    assert_int_equal(workload.open_max, 120);
    assert_int_equal(workload.kind_count, 3);
    assert_string_equal(workload.kinds[1].name, "slow");
    assert_int_equal(workload.kinds[1].fail_permille, 200);
    assert_int_equal(workload.kinds[1].lease_ms, 1000);
    assert_true(workload.kinds[2].input.min == 10 && workload.kinds[2].input.max == 3072);
    assert_int_equal(workload.queues[0].keys, 3);
    assert_true(workload.queues[1].priority.min == 2 && workload.queues[1].priority.max == 7);
    assert_int_equal(workload.node_count, 4);
    assert_int_equal(workload.group_count, 2);
    assert_int_equal(workload_group(&workload, 2)->slots, 5);
    assert_int_equal(workload_group(&workload, 3)->slots, 2);
    assert_int_equal(workload_group(&workload, 3)->kinds, 5);
    assert_int_equal(workload.mix[WORKLOAD_GET], 30);
    assert_int_equal(workload.unique_permille, 30);
}

static void test_small_ones(void **state)
{
    (void)state;
    struct workload workload;
    assert_int_equal(parse("kind a\nkind b\nnodes 1 kinds a\nworkers 2 slots 7\nworkers 3 kinds b\n", &workload),
                     STATUS_OK);
    assert_int_equal(workload.node_count, 1);
    assert_int_equal(workload.worker_count, 5);
    assert_int_equal(workload_worker_group(&workload, 1)->slots, 7);
    assert_int_equal(workload_worker_group(&workload, 2)->kinds, 2);
    assert_int_equal(parse("kind a\nnodes 5k slots 3 # many\n", &workload), STATUS_OK);
    assert_int_equal(workload.node_count, 5000);
    assert_int_equal(workload_group(&workload, 4999)->slots, 3);
    assert_int_equal(workload.queue_count, 1);
    assert_string_equal(workload.queues[0].name, "default");
    assert_int_equal(workload.clients, 8);
    assert_int_equal(workload.mix[WORKLOAD_SUBMIT], 1);
    /* A group may stand before the other, and slots before kinds. */
    assert_int_equal(parse("kind a\nkind b\nnodes 1 slots 4 kinds b\nnodes 2 kinds a slots 1", &workload), STATUS_OK);
    assert_int_equal(workload_group(&workload, 0)->kinds, 2);
    assert_int_equal(workload_group(&workload, 2)->kinds, 1);
}

static void test_mistakes(void **state)
{
    (void)state;
    static const struct {
        const char *text, *why;
    } cases[] = {
        {"", "line 1, column 1: there is no kind with a share; \"kind NAME\" makes one"},
        {"kind a\n", "line 1, column 7: there are no nodes; \"nodes N\" makes some"},
        {"kinds a\n", "line 1, column 1: \"kinds\" is no statement; did you mean \"kind\"?"},
        {"phase a",
         "line 1, column 1: \"phase\" is no statement; there are: clients, kind, queue, nodes, workers, mix, submits"},
        {"kind", "line 1, column 5: a name of a kind is missing here"},
        {"kind a/b",
         "line 1, column 6: \"a/b\" is not a name of a kind: letters, digits, \".\", \"-\" and \"_\" make one"},
        {"kind a\nkind a", "line 2, column 6: there is a kind \"a\" already"},
        {"kind a wrok 5ms", "line 1, column 8: \"wrok\" is no word that can stand here; did you mean \"work\"?"},
        {"kind a work 5",
         "line 1, column 13: \"5\" is no value for work: a duration such as 250ms, 1.5s, 2m or 1h30m is needed, or a range such "
         "as 1..5"},
        {"kind a attempts 0", "line 1, column 17: attempts takes 1 to 1k, not \"0\""},
        {"kind a fail 101%", "line 1, column 13: fail takes 0% to 100%, not \"101%\""},
        {"kind a input 0..33k", "line 1, column 14: input takes 0 to 32k, not \"0..33k\""},
        {"kind a\n\nqueue q\nqueue q", "line 4, column 7: there is a queue \"q\" already"},
        {"kind a\nqueue q priority 0..10", "line 2, column 18: priority takes 0 to 9, not \"0..10\""},
        {"kind a\nqueue q share 0\nnodes 1", "line 3, column 8: there is no queue with a share"},
        {"kind a share 0\nnodes 1", "line 2, column 8: there is no kind with a share; \"kind NAME\" makes one"},
        {"kind a\nnodes 0", "line 2, column 7: nodes takes 1 to 65536, not \"0\""},
        {"kind a\nnodes 1 kinds a,b", "line 2, column 15: \"b\" is no kind that stands above; there are: a"},
        {"kind a\nnodes 1 kinds", "line 2, column 14: a list of kinds such as quick,slow is missing here"},
        {"kind a\nnodes 40k\nnodes 40k", "line 3, column 7: all groups together take at most 65536 nodes"},
        {"kind a\nkind b\nnodes 1 kinds a", "line 3, column 16: the kind \"b\" has no node with a slot"},
        {"kind a\nkind b\nnodes 1 kinds a\nworkers 1 slots 0 kinds b",
         "line 4, column 26: the kind \"b\" has no node with a slot"},
        {"kind a\nnodes 1\nworkers 40k\nworkers 40k",
         "line 4, column 9: all groups together take at most 65536 workers"},
        {"kind a\nnodes 1 slots 0", "line 2, column 16: the kind \"a\" has no node with a slot"},
        {"kind a\nnodes 1 slot 2",
         "line 2, column 9: \"slot\" is no word that can stand here; did you mean \"slots\"?"},
        {"mix get 3", "line 1, column 1: a mix without \"submit\" would have nothing to do"},
        {"clients many",
         "line 1, column 9: \"many\" is no value for clients: a whole number such as 20 or 5k is needed"},
        {"clients 3 think 'x", "line 1, column 17: the ' that begins here has no end in this line"},
        {"submits keyless 5",
         "line 1, column 17: \"5\" is no value for keyless: a percentage such as 5% or 0.1% is needed"},
    };
    struct workload workload;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        assert_int_equal(parse(cases[i].text, &workload), STATUS_INVALID);
        assert_string_equal(why, cases[i].why);
    }
}

static void test_too_many(void **state)
{
    (void)state;
    char text[1024] = "";
    struct workload workload;
    for (int i = 0; i <= WORKLOAD_KINDS_MAX; i++) {
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "kind k%d\n", i);
    }
    assert_int_equal(parse(text, &workload), STATUS_INVALID);
    assert_string_equal(why, "line 9, column 1: a workload takes at most 8 kinds");
    strcpy(text, "kind k\n");
    for (int i = 0; i <= WORKLOAD_GROUPS_MAX; i++) {
        strcat(text, "nodes 1\n");
    }
    assert_int_equal(parse(text, &workload), STATUS_INVALID);
    assert_string_equal(why, "line 18, column 1: a workload takes at most 16 groups of nodes");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_default),
        cmocka_unit_test(test_small_ones),
        cmocka_unit_test(test_mistakes),
        cmocka_unit_test(test_too_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
