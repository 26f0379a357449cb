/* Times until a fault was noticed and until it was over, of histories that are made up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/clock.h"
#include "bench/recovery.h"

#define RATE 500
#define GAP_NS (NS_PER_S / RATE)

struct history {
    int64_t fault_ns, down_until_ns; /* no right answers in between */
    bool does_fail;                  /* answers fail meanwhile; otherwise they come all at once when it is over */
    int64_t end_ns;
};

static struct bench_event play(const struct history *history)
{
    struct bench_result result;
    bench_result_init(&result);
    struct recovery *recovery = recovery_new();
    assert_non_null(recovery);
    struct bench_event *event = bench_result_add_event(&result, history->fault_ns, "kill hub");
    snprintf(event->fault, sizeof(event->fault), "kill_hub");
    unsigned backlog = 0;
    for (int64_t at_ns = 0; at_ns < history->end_ns; at_ns += GAP_NS) {
        bool is_down = at_ns >= history->fault_ns && at_ns < history->down_until_ns;
        if (!is_down) {
            for (; backlog > 0; backlog--) {
                recovery_answer(recovery, at_ns, true);
            }
            recovery_answer(recovery, at_ns, true);
        } else if (history->does_fail) {
            recovery_answer(recovery, at_ns + 3 * NS_PER_MS, false);
        } else {
            backlog++;
        }
    }
    recovery_finish(recovery, &result);
    struct bench_event copy = result.events[0];
    bench_result_free(&result);
    return copy;
}

static void assert_within(int64_t value, int64_t low_ms, int64_t high_ms)
{
    if (value < low_ms * NS_PER_MS || value > high_ms * NS_PER_MS) {
        fail_msg("%lld us are not within %lld and %lld ms", (long long)(value / 1000), (long long)low_ms,
                 (long long)high_ms);
    }
}

static void test_errors(void **state)
{
    (void)state;
    struct bench_event event = play(&(struct history){
        .fault_ns = 6 * NS_PER_S, .down_until_ns = 8 * NS_PER_S, .does_fail = true, .end_ns = 12 * NS_PER_S});
    assert_within(event.detected_ns, 0, 6);
    assert_within(event.recovered_ns, 1990, 2020);
}

static void test_stall_with_backlog(void **state)
{
    (void)state;
    struct bench_event event =
        play(&(struct history){.fault_ns = 6 * NS_PER_S, .down_until_ns = 8 * NS_PER_S, .end_ns = 12 * NS_PER_S});
    assert_true(event.detected_ns == -1); /* nothing failed */
    assert_within(event.recovered_ns, 1990, 2020);
    event = play(&(struct history){
        .fault_ns = 6 * NS_PER_S, .down_until_ns = 6 * NS_PER_S + 400 * NS_PER_MS, .end_ns = 12 * NS_PER_S});
    assert_within(event.recovered_ns, 390, 420); /* shorter than the second that is looked at */
}

static void test_no_effect(void **state)
{
    (void)state;
    struct bench_event event =
        play(&(struct history){.fault_ns = 6 * NS_PER_S, .down_until_ns = 6 * NS_PER_S, .end_ns = 12 * NS_PER_S});
    assert_true(event.detected_ns == -1 && event.recovered_ns == 0);
    /* the run is over soon after */
    event =
        play(&(struct history){.fault_ns = 6 * NS_PER_S, .down_until_ns = 6 * NS_PER_S, .end_ns = 7500 * NS_PER_MS});
    assert_true(event.detected_ns == -1 && event.recovered_ns == 0);
}

static void test_never(void **state)
{
    (void)state;
    struct bench_event event = play(&(struct history){
        .fault_ns = 6 * NS_PER_S, .down_until_ns = 20 * NS_PER_S, .does_fail = true, .end_ns = 12 * NS_PER_S});
    assert_within(event.detected_ns, 0, 6);
    assert_true(event.recovered_ns == -1);
    /* back, but for less than a second */
    event = play(&(struct history){.fault_ns = 6 * NS_PER_S,
                                   .down_until_ns = 8 * NS_PER_S,
                                   .does_fail = true,
                                   .end_ns = 8 * NS_PER_S + 500 * NS_PER_MS});
    assert_true(event.recovered_ns == -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_stall_with_backlog),
        cmocka_unit_test(test_no_effect),
        cmocka_unit_test(test_never),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
