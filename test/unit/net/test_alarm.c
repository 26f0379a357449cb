/* Alarms against a naive list of what is due, with random times, moves and closings. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/rng.h"
#include "net/alarm.h"

#define ALARMS 500

struct watched {
    struct alarm alarm;
    int64_t wanted_ns; /* ALARM_NEVER: not set */
    unsigned rung;
    bool is_open;
};

static struct loop loop;
static struct alarms *alarms;
static struct watched list[ALARMS];
static int64_t last_ns;

static void on_ring(struct alarm *alarm, int64_t now_ns)
{
    struct watched *watched = (struct watched *)alarm;
    assert_true(watched->is_open);
    assert_true(watched->wanted_ns <= now_ns); /* never early, never after it was taken back */
    assert_true(now_ns >= last_ns);
    last_ns = now_ns;
    watched->wanted_ns = ALARM_NEVER;
    watched->rung++;
}

static void begin(void)
{
    assert_int_equal(loop_init(&loop), STATUS_OK);
    assert_int_equal(alarms_new(&loop, &alarms), STATUS_OK);
    last_ns = 0;
    for (int i = 0; i < ALARMS; i++) {
        list[i] = (struct watched){.wanted_ns = ALARM_NEVER};
    }
}

static void end(void)
{
    for (int i = 0; i < ALARMS; i++) {
        alarm_close(&list[i].alarm);
    }
    alarms_free(alarms);
    loop_free(&loop);
}

static void what_is_due_rings_and_nothing_else(void **state)
{
    (void)state;
    begin();
    struct rng rng;
    rng_seed(&rng, 1);
    int64_t now_ns = 1000;
    for (int step = 0; step < 200000; step++) {
        struct watched *one = &list[rng_below(&rng, ALARMS)];
        switch (rng_below(&rng, 20)) {
        case 0:
            if (one->is_open) {
                alarm_close(&one->alarm);
                one->is_open = false;
                one->wanted_ns = ALARM_NEVER;
            }
            break;
        case 1:
            if (one->is_open) {
                alarm_set(&one->alarm, ALARM_NEVER);
                one->wanted_ns = ALARM_NEVER;
            }
            break;
        case 2:
        case 3:
            now_ns += (int64_t)rng_below(&rng, 200);
            alarms_run(alarms, now_ns);
            for (int i = 0; i < ALARMS; i++) {
                assert_true(list[i].wanted_ns > now_ns);
            }
            break;
        default:
            if (!one->is_open) {
                assert_int_equal(alarm_open(alarms, &one->alarm, on_ring), STATUS_OK);
                one->is_open = true;
            }
            one->wanted_ns = now_ns + 1 + (int64_t)rng_below(&rng, 1000);
            alarm_set(&one->alarm, one->wanted_ns);
            break;
        }
    }
    end();
}

static int again_count;

static void on_again(struct alarm *alarm, int64_t now_ns)
{
    again_count++;
    alarm_set(alarm, now_ns - 1); /* in the past: not in this round again */
}

static void one_that_is_always_due_does_not_keep_the_loop(void **state)
{
    (void)state;
    begin();
    assert_int_equal(alarm_open(alarms, &list[0].alarm, on_again), STATUS_OK);
    alarm_set(&list[0].alarm, 5);
    again_count = 0;
    alarms_run(alarms, 10);
    assert_int_equal(again_count, 1);
    for (int turn = 0; turn < 20; turn++) {
        uv_run(&loop.uv, UV_RUN_ONCE);
    }
    assert_true(again_count >= 10);
    end();
}

/* How late the median of many is. A busy machine makes single ones late, but a timer of whole milliseconds makes all of them late. */
static void they_are_on_time_to_less_than_a_millisecond(void **state)
{
    (void)state;
    enum { COUNT = 200 };
    int64_t late_ns[COUNT];
    begin();
    list[0].is_open = true;
    assert_int_equal(alarm_open(alarms, &list[0].alarm, on_ring), STATUS_OK);
    for (int i = 0; i < COUNT; i++) {
        list[0].wanted_ns = clock_mono_ns() + 1700 * NS_PER_US;
        int64_t wanted_ns = list[0].wanted_ns;
        alarm_set(&list[0].alarm, wanted_ns);
        while (list[0].rung == (unsigned)i) {
            uv_run(&loop.uv, UV_RUN_ONCE);
        }
        int at = i;
        for (late_ns[i] = last_ns - wanted_ns; at > 0 && late_ns[at - 1] > late_ns[at]; at--) {
            int64_t other = late_ns[at];
            late_ns[at] = late_ns[at - 1];
            late_ns[at - 1] = other;
        }
    }
    print_message("late by %.1f us, three quarters by %.1f us at most\n", (double)late_ns[COUNT / 2] / 1e3,
                  (double)late_ns[COUNT * 3 / 4] / 1e3);
    assert_true(late_ns[COUNT / 4] < 300 * NS_PER_US);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_due_rings_and_nothing_else),
        cmocka_unit_test(one_that_is_always_due_does_not_keep_the_loop),
        cmocka_unit_test(they_are_on_time_to_less_than_a_millisecond),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
