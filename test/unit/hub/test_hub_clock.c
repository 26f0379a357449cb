/* The time of entries: what becomes of it when somebody sets the machine's clock. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h> /* wants those above */

#include "base/clock.h"
#include "hub/hub_clock.h"

#define BEGIN_NS (INT64_C(1770000000) * NS_PER_S)
#define HOUR_NS (3600 * NS_PER_S)

static void follows_the_wall_clock(void **state)
{
    (void)state;
    struct hub_clock clock;
    hub_clock_start(&clock, BEGIN_NS, 77, BEGIN_NS - HOUR_NS);
    for (int64_t at = 0; at < 10 * NS_PER_S; at += 13 * NS_PER_MS) {
        int64_t wall_ns = BEGIN_NS + at + at / 2000; /* 500 ppm is the most that a clock is slewed by (adjtimex) */
        assert_int_equal(hub_clock_now(&clock, wall_ns, 77 + at), wall_ns);
    }
}

/* Asks every `step_ns` for `total_ns` with the wall clock `off_ns` away; the time that passed for the hub. */
static int64_t run(struct hub_clock *clock, int64_t off_ns, int64_t step_ns, int64_t total_ns)
{
    int64_t begin_ns = clock->time_ns, boot_ns = clock->boot_ns;
    int64_t last_ns = begin_ns;
    for (int64_t at = step_ns; at <= total_ns; at += step_ns) {
        int64_t now_ns = hub_clock_now(clock, begin_ns + off_ns + at, boot_ns + at);
        assert_true(now_ns >= last_ns); /* J5 */
        last_ns = now_ns;
    }
    return last_ns - begin_ns;
}

static void a_jump_is_made_good_slowly(void **state)
{
    (void)state;
    static const int64_t steps_ns[] = {1, NS_PER_MS, 10 * NS_PER_S};
    struct hub_clock clock;
    for (unsigned i = 0; i < 3; i++) {
        int64_t total_ns = steps_ns[i] * 1000;
        /* Forward: a lease that has 30 s left does not end now, but in 20 s at the earliest. */
        hub_clock_start(&clock, BEGIN_NS, 1, 0);
        assert_in_range(run(&clock, HOUR_NS * 1000, steps_ns[i], total_ns), total_ns, total_ns + total_ns / 2);
        /* Back: time goes on. */
        hub_clock_start(&clock, BEGIN_NS, 1, 0);
        assert_in_range(run(&clock, -HOUR_NS * 1000, steps_ns[i], total_ns), total_ns / 2, total_ns);
    }
    /* And in the end it is the wall clock's again: an hour takes two, either way. */
    hub_clock_start(&clock, BEGIN_NS, 1, 0);
    assert_int_equal(run(&clock, HOUR_NS, NS_PER_S, 2 * HOUR_NS), 3 * HOUR_NS);
    hub_clock_start(&clock, BEGIN_NS, 1, 0);
    assert_int_equal(run(&clock, -HOUR_NS, NS_PER_S, 2 * HOUR_NS), HOUR_NS);
}

static void all_time_counts_however_seldom_it_is_asked(void **state)
{
    (void)state;
    struct hub_clock clock;
    hub_clock_start(&clock, BEGIN_NS, 1, 0);
    assert_int_equal(hub_clock_now(&clock, BEGIN_NS + 9 * HOUR_NS, 1 + 9 * HOUR_NS), BEGIN_NS + 9 * HOUR_NS);
    /* A boot clock that does not move, or goes back, moves nothing. */
    assert_int_equal(hub_clock_now(&clock, BEGIN_NS, 1), BEGIN_NS + 9 * HOUR_NS);
    assert_int_equal(hub_clock_now(&clock, BEGIN_NS + 20 * HOUR_NS, 1), BEGIN_NS + 9 * HOUR_NS);
}

static void starts_no_earlier_than_the_newest_entry(void **state)
{
    (void)state;
    struct hub_clock clock;
    hub_clock_start(&clock, BEGIN_NS, 1, BEGIN_NS + HOUR_NS);
    assert_int_equal(hub_clock_now(&clock, BEGIN_NS + 2, 3), BEGIN_NS + HOUR_NS + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(follows_the_wall_clock),
        cmocka_unit_test(a_jump_is_made_good_slowly),
        cmocka_unit_test(all_time_counts_however_seldom_it_is_asked),
        cmocka_unit_test(starts_no_earlier_than_the_newest_entry),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
