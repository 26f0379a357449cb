/* test_task_waits.c - waits end once: by the task, by time, or by the end of the hub. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/rng.h"
#include "hub/task_waits.h"

struct fixture {
    struct hub hub;
};

struct witness {
    struct task_waits *waits;
    unsigned done, final;
    uint32_t wait;
    struct witness *removes; /* removes this one's wait when it is done */
};

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    assert_int_equal(loop_init(&fixture->hub.loop), STATUS_OK);
    assert_int_equal(task_waits_new(&fixture->hub, &fixture->hub.task_waits), STATUS_OK);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    task_waits_free(fixture->hub.task_waits);
    loop_free(&fixture->hub.loop);
    free(fixture);
    return 0;
}

static void on_done(void *ctx, bool is_final)
{
    struct witness *witness = ctx;
    witness->done++;
    witness->final += is_final;
    if (witness->removes != NULL && witness->removes->done == 0) {
        task_waits_remove(witness->waits, witness->removes->wait);
        witness->removes->done = 100;
    }
}

static void add(struct fixture *fixture, struct witness *witness, uint64_t task_id, int64_t wait_ms)
{
    witness->waits = fixture->hub.task_waits;
    assert_int_equal(task_waits_add(fixture->hub.task_waits, task_id, wait_ms, on_done, witness, &witness->wait),
                     STATUS_OK);
}

static void final(struct fixture *fixture, uint64_t task_id, enum task_state state)
{
    task_waits_on_task(&fixture->hub, &(struct effect_task){.task_id = task_id, .state = state}, 1);
}

static void a_final_task_wakes_its_waits_and_no_others(void **state)
{
    struct fixture *fixture = *state;
    struct witness a = {0}, b = {0}, c = {0};
    add(fixture, &a, 7, 60000);
    add(fixture, &b, 7, 60000);
    add(fixture, &c, 8, 60000);
    final(fixture, 7, TASK_LEASED);
    assert_int_equal(a.done, 0);
    final(fixture, 7, TASK_DEAD);
    assert_int_equal(a.final + b.final, 2);
    assert_int_equal(c.done, 0);
    final(fixture, 7, TASK_SUCCEEDED);
    assert_int_equal(a.done + b.done, 2);
    assert_int_equal(task_waits_count(fixture->hub.task_waits), 1);
    task_waits_remove(fixture->hub.task_waits, c.wait);
}

static void one_may_take_another_away(void **state)
{
    struct fixture *fixture = *state;
    struct witness a = {0}, b = {0};
    a.removes = &b;
    b.removes = &a;
    add(fixture, &a, 7, 60000);
    add(fixture, &b, 7, 60000);
    final(fixture, 7, TASK_SUCCEEDED);
    assert_int_equal(a.done + b.done, 101);
    assert_int_equal(task_waits_count(fixture->hub.task_waits), 0);
}

static void stop_ends_all(void **state)
{
    struct fixture *fixture = *state;
    struct witness many[50] = {0};
    for (unsigned i = 0; i < 50; i++) {
        add(fixture, &many[i], i / 3, 60000);
    }
    task_waits_stop(fixture->hub.task_waits);
    for (unsigned i = 0; i < 50; i++) {
        assert_int_equal(many[i].done, 1);
        assert_int_equal(many[i].final, 0);
    }
}

/* Keeps the loop turning; ends it when all witnesses are done. */
struct turning {
    uv_timer_t timer;
    struct witness *witnesses;
    unsigned count;
    int64_t end_ns;
};

static void on_turn(uv_timer_t *timer)
{
    struct turning *turning = timer->data;
    unsigned done = 0;
    for (unsigned i = 0; i < turning->count; i++) {
        done += turning->witnesses[i].done;
    }
    if (done == turning->count || clock_mono_ns() > turning->end_ns) {
        uv_stop(timer->loop);
    }
}

static void time_ends_them_in_order_and_not_early(void **state)
{
    struct fixture *fixture = *state;
    struct witness witnesses[20] = {0};
    struct turning turning = {.witnesses = witnesses, .count = 20, .end_ns = clock_mono_ns() + 20 * NS_PER_S};
    int64_t begun_ns = clock_mono_ns();
    for (unsigned i = 0; i < 20; i++) {
        add(fixture, &witnesses[i], i % 2, 60 - (int64_t)i * 2);
    }
    uv_timer_init(&fixture->hub.loop.uv, &turning.timer);
    turning.timer.data = &turning;
    uv_timer_start(&turning.timer, on_turn, 1, 1);
    uv_run(&fixture->hub.loop.uv, UV_RUN_DEFAULT);
    for (unsigned i = 0; i < 20; i++) {
        assert_int_equal(witnesses[i].done, 1);
        assert_int_equal(witnesses[i].final, 0);
    }
    assert_true(clock_mono_ns() - begun_ns >= 60 * NS_PER_MS);
    uv_close((uv_handle_t *)&turning.timer, NULL);
    uv_run(&fixture->hub.loop.uv, UV_RUN_NOWAIT);
}

/* Random adds, removes and ends against a plain array. */
static void against_a_naive_twin(void **state)
{
    enum { COUNT = 200 };
    struct fixture *fixture = *state;
    struct task_waits *waits = fixture->hub.task_waits;
    struct witness witnesses[COUNT] = {0};
    uint64_t task_of[COUNT] = {0}; /* 0: not waiting */
    unsigned wanted[COUNT] = {0};
    struct rng rng;
    rng_seed(&rng, 3);
    for (int round = 0; round < 20000; round++) {
        unsigned i = (unsigned)rng_below(&rng, COUNT);
        uint64_t task = 1 + rng_below(&rng, 20);
        if (rng_below(&rng, 10) == 0) {
            final(fixture, task, TASK_CANCELLED);
            for (unsigned k = 0; k < COUNT; k++) {
                if (task_of[k] == task) {
                    wanted[k]++;
                    task_of[k] = 0;
                }
            }
        } else if (task_of[i] == 0) {
            add(fixture, &witnesses[i], task, 60000);
            task_of[i] = task;
        } else if (rng_below(&rng, 2) == 0) {
            task_waits_remove(waits, witnesses[i].wait);
            task_of[i] = 0;
        }
        unsigned live = 0;
        for (unsigned k = 0; k < COUNT; k++) {
            live += task_of[k] != 0;
        }
        assert_int_equal(task_waits_count(waits), live);
    }
    for (unsigned k = 0; k < COUNT; k++) {
        assert_int_equal(witnesses[k].done, wanted[k]);
    }
    task_waits_stop(waits);
}

static void there_is_a_maximum(void **state)
{
    struct fixture *fixture = *state;
    struct witness witness = {0};
    uint32_t wait;
    for (unsigned i = 0; i < TASK_WAITS_MAX; i++) {
        assert_int_equal(task_waits_add(fixture->hub.task_waits, i, 60000, on_done, &witness, &wait), STATUS_OK);
    }
    assert_int_equal(task_waits_add(fixture->hub.task_waits, 1, 60000, on_done, &witness, &wait), STATUS_BUSY);
    task_waits_remove(fixture->hub.task_waits, wait);
    assert_int_equal(task_waits_add(fixture->hub.task_waits, 1, 60000, on_done, &witness, &wait), STATUS_OK);
    task_waits_stop(fixture->hub.task_waits);
    assert_int_equal(witness.done, TASK_WAITS_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_final_task_wakes_its_waits_and_no_others, setup, teardown),
        cmocka_unit_test_setup_teardown(one_may_take_another_away, setup, teardown),
        cmocka_unit_test_setup_teardown(stop_ends_all, setup, teardown),
        cmocka_unit_test_setup_teardown(time_ends_them_in_order_and_not_early, setup, teardown),
        cmocka_unit_test_setup_teardown(against_a_naive_twin, setup, teardown),
        cmocka_unit_test_setup_teardown(there_is_a_maximum, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
