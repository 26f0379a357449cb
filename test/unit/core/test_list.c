/* Filtered lists of live tasks against a walk over everything, and what they may look at. */
#include <stdlib.h>

#include "base/ensure.h"
#include "base/rng.h"
#include "fixture.h"

static struct fixture f;
static const char *const queues[] = {"default", "q1", "q2"};
static const char *const kinds[] = {"k", "k1"};
static const char *const errors[] = {"boom", "busy"};

static int begin(void **state)
{
    (void)state;
    fixture_begin(&f);
    fixture_queue(&f, "q1", -1);
    fixture_queue(&f, "q2", -1);
    fixture_kind(&f, "k1");
    return 0;
}

static int end(void **state)
{
    (void)state;
    fixture_end(&f);
    return 0;
}

static bool matches(const struct task_view *view, const struct task_filter *filter)
{
    return (filter->state < 0 || (int)view->state == filter->state) &&
           (filter->queue.len == 0 || slice_equal(filter->queue, view->queue)) &&
           (filter->kind.len == 0 || slice_equal(filter->kind, view->kind)) &&
           (filter->error_kind.len == 0 || slice_equal(filter->error_kind, view->error_kind)) &&
           view->created_ns >= filter->created_from_ns && view->created_ns < filter->created_until_ns;
}

static struct slice pick(struct rng *rng, const char *const *names, uint32_t count)
{
    uint32_t i = (uint32_t)rng_below(rng, count + 1);
    return i < count ? slice_str(names[i]) : (struct slice){NULL, 0};
}

/* One random filter, in both orders, from a random id on: the same ids as of the naive walk. */
static void compare(struct rng *rng, const uint64_t *ids, uint32_t count)
{
    struct task_filter filter = TASK_FILTER_ANY;
    filter.state = (int)rng_below(rng, TASK_STATE_COUNT + 1) - 1;
    filter.queue = pick(rng, queues, ARRAY_COUNT(queues));
    filter.kind = pick(rng, kinds, ARRAY_COUNT(kinds));
    filter.error_kind = rng_below(rng, 3) == 0 ? slice_str(errors[rng_below(rng, 2)]) : (struct slice){NULL, 0};
    if (rng_below(rng, 3) == 0) {
        filter.created_from_ns = (int64_t)rng_below(rng, 2000) * 1000000;
        filter.created_until_ns = filter.created_from_ns + (int64_t)rng_below(rng, 2000) * 1000000;
    }
    for (int order = LIST_NEWEST; order <= LIST_OLDEST; order++) {
        uint64_t at = order == LIST_NEWEST ? UINT64_MAX : 0;
        if (rng_below(rng, 2) == 0) {
            at = ids[rng_below(rng, count)] + rng_below(rng, 3) - 1;
        }
        for (uint32_t n = 0; n < count; n++) {
            uint64_t id = order == LIST_NEWEST ? ids[count - 1 - n] : ids[n];
            struct task_view view;
            if ((order == LIST_NEWEST ? id >= at : id <= at) || core_task_get(f.core, id, &view) != STATUS_OK ||
                !matches(&view, &filter)) {
                continue;
            }
            at = core_task_next(f.core, &filter, (enum list_order)order, at, NULL);
            assert_int_equal(at, id);
        }
        assert_int_equal(core_task_next(f.core, &filter, (enum list_order)order, at, NULL), 0);
    }
}

static void test_against_a_naive_walk(void **state)
{
    (void)state;
    enum { TASKS = 4000 };
    static uint64_t ids[TASKS];
    struct rng rng;
    rng_seed(&rng, 27);
    fixture_configure(&f, (struct command_configure){.finished_keep_ms = 400});
    uint32_t count = 0;
    uint64_t session = fixture_node(&f, "n", 1);
    for (uint32_t round = 0; count < TASKS; round++) {
        fixture_at_ms(&f, 10 + round);
        for (uint32_t i = 0; i < 20; i++) {
            struct command_submit submit = submit_default();
            submit.queue = slice_str(queues[rng_below(&rng, 3)]);
            submit.kind = slice_str(kinds[rng_below(&rng, 2)]);
            submit.run_at_ns = rng_below(&rng, 10) == 0 ? INT64_MAX / 2 : 0;
            submit.retry.attempts_max = 1 + (uint32_t)rng_below(&rng, 2);
            command_put_submit(fixture_batch(&f), &submit);
        }
        fixture_apply(&f);
        for (uint32_t i = 0; i < 20; i++) {
            const struct effect *reply = fixture_effect(&f, EFFECT_REPLY, i);
            assert_int_equal(reply->as.reply.status, STATUS_OK);
            ids[count++] = reply->as.reply.task_id;
        }
        /* some fail and wait or die, some are cancelled, some of those are retried; the oldest leave memory */
        assert_int_equal(fixture_credit(&f, session, 6), STATUS_OK);
        struct lease_token tokens[16];
        uint32_t leases = fixture_effects(&f, EFFECT_LEASE);
        leases = leases < ARRAY_COUNT(tokens) ? leases : (uint32_t)ARRAY_COUNT(tokens);
        for (uint32_t i = 0; i < leases; i++) {
            tokens[i] = fixture_effect(&f, EFFECT_LEASE, i)->as.lease.offer.token;
        }
        for (uint32_t i = 0; i < leases; i++) {
            (void)(rng_below(&rng, 2) == 0 ? fixture_complete(&f, session, tokens[i])
                                           : fixture_fail(&f, session, tokens[i], errors[rng_below(&rng, 2)]));
        }
        for (uint32_t i = 0; i < 12; i++) {
            (void)fixture_task(&f, rng_below(&rng, 3) == 0 ? COMMAND_RETRY : COMMAND_CANCEL,
                               ids[rng_below(&rng, count)]);
        }
        fixture_history(&f, core_seq(f.core));
        compare(&rng, ids, count);
    }
    for (uint32_t i = 0; i < 200; i++) {
        compare(&rng, ids, count);
    }
    /* A loaded core has the same index (core_check compares), and emptying it in random order leaves no block behind. */
    for (uint32_t i = count; i > 1; i--) {
        uint32_t other = (uint32_t)rng_below(&rng, i);
        uint64_t id = ids[other];
        ids[other] = ids[i - 1];
        ids[i - 1] = id;
    }
    for (uint32_t i = 0; i < count; i++) {
        command_put_task(fixture_batch(&f), COMMAND_CANCEL, &(struct command_task){.task_id = ids[i]});
        if (i % 50 == 49) {
            fixture_apply(&f);
            fixture_history(&f, core_seq(f.core));
            fixture_at_ms(&f, 100000 + i);
        }
    }
    assert_null(core_check(f.core));
}

/* One task in a hundred thousand is found by stepping over the others in blocks: the same count on every machine. */
static void test_what_is_looked_at(void **state)
{
    (void)state;
    enum { TASKS = 100000 };
    struct command_submit rare = submit_default();
    rare.queue = SLICE("q2");
    uint64_t first = fixture_submit(&f, rare);
    assert_int_equal(fixture_task(&f, COMMAND_CANCEL, first), STATUS_OK);
    uint64_t last = 0;
    for (uint32_t i = 0; i < TASKS; i += 2000) {
        for (uint32_t k = 0; k < 2000; k++) {
            struct command_submit submit = submit_default();
            submit.kind = slice_str(kinds[k % 2]);
            command_put_submit(fixture_batch(&f), &submit);
        }
        fixture_apply(&f);
        last = fixture_effect(&f, EFFECT_REPLY, 1999)->as.reply.task_id;
    }
    struct task_filter filter = TASK_FILTER_ANY;
    filter.state = TASK_CANCELLED;
    uint64_t steps = 0;
    assert_int_equal(core_task_next(f.core, &filter, LIST_NEWEST, UINT64_MAX, &steps), first);
    assert_true(steps < TASKS / 100);
    filter.state = -1;
    filter.queue = SLICE("q2");
    steps = 0;
    assert_int_equal(core_task_next(f.core, &filter, LIST_NEWEST, UINT64_MAX, &steps), first);
    assert_true(steps < TASKS / 100);
    /* the pair that nobody has, though each half is everywhere or once */
    filter.kind = SLICE("k1");
    steps = 0;
    assert_int_equal(core_task_next(f.core, &filter, LIST_NEWEST, UINT64_MAX, &steps), 0);
    assert_true(steps < TASKS / 100);
    filter = TASK_FILTER_ANY;
    filter.error_kind = SLICE("cancelled");
    steps = 0;
    assert_int_equal(core_task_next(f.core, &filter, LIST_OLDEST, 0, &steps), first);
    assert_int_equal(core_task_next(f.core, &filter, LIST_OLDEST, first, &steps), 0);
    assert_true(steps < TASKS / 100);
    /* a range of time at the far end */
    fixture_at_ms(&f, 5000000);
    uint64_t late = fixture_submit(&f, submit_default());
    filter = TASK_FILTER_ANY;
    filter.created_from_ns = INT64_C(5000000) * 1000000;
    steps = 0;
    assert_int_equal(core_task_next(f.core, &filter, LIST_OLDEST, 0, &steps), late);
    assert_true(steps < TASKS / 100);
    filter.created_from_ns = 0;
    filter.created_until_ns = INT64_C(5000000) * 1000000;
    assert_int_equal(core_task_next(f.core, &filter, LIST_NEWEST, UINT64_MAX, &steps), last);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_against_a_naive_walk, begin, end),
        cmocka_unit_test_setup_teardown(test_what_is_looked_at, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
