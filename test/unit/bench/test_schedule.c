#include "bench/schedule.h"

#include <math.h>

#include "../base/check.h"
#include "base/ensure.h"

#define S INT64_C(1000000000)
#define MS INT64_C(1000000)

static const int64_t trace[] = {0, 5, 5, 7 * MS, 2 * S, 2 * S + 1, 9 * S};

static const struct schedule schedules[] = {
    {.model = SCHEDULE_CONSTANT, .duration_ns = 10 * S, .rate_from = 100},
    {.model = SCHEDULE_CONSTANT, .duration_ns = 3 * S, .rate_from = 0.7},
    {.model = SCHEDULE_CONSTANT, .duration_ns = S, .rate_from = 333333.3},
    {.model = SCHEDULE_CONSTANT, .duration_ns = S, .rate_from = 0},
    {.model = SCHEDULE_CONSTANT, .duration_ns = 0, .rate_from = 10},
    {.model = SCHEDULE_RAMP, .duration_ns = 10 * S, .rate_from = 0, .rate_to = 1000},
    {.model = SCHEDULE_RAMP, .duration_ns = 10 * S, .rate_from = 1000, .rate_to = 0},
    {.model = SCHEDULE_RAMP, .duration_ns = 7 * S, .rate_from = 50, .rate_to = 51},
    {.model = SCHEDULE_RAMP, .duration_ns = 7 * S, .rate_from = 0, .rate_to = 0},
    {.model = SCHEDULE_STEP, .duration_ns = 10 * S, .rate_from = 100, .rate_to = 1000, .steps = 10},
    {.model = SCHEDULE_STEP, .duration_ns = 9 * S, .rate_from = 500, .rate_to = 0, .steps = 3},
    {.model = SCHEDULE_STEP, .duration_ns = 9 * S, .rate_from = 0, .rate_to = 500, .steps = 4},
    {.model = SCHEDULE_STEP, .duration_ns = 2 * S, .rate_from = 70, .rate_to = 90, .steps = 1},
    {.model = SCHEDULE_POISSON, .duration_ns = 20 * S, .rate_from = 1000, .seed = 5},
    {.model = SCHEDULE_POISSON, .duration_ns = 20 * S, .rate_from = 0, .seed = 5},
    {.model = SCHEDULE_SPIKE,
     .duration_ns = 10 * S,
     .rate_from = 50,
     .rate_to = 5000,
     .spike_at_ns = 4 * S,
     .spike_for_ns = 2 * S},
    {.model = SCHEDULE_SPIKE,
     .duration_ns = 10 * S,
     .rate_from = 0,
     .rate_to = 300,
     .spike_at_ns = 4 * S,
     .spike_for_ns = 2 * S},
    {.model = SCHEDULE_SPIKE,
     .duration_ns = 10 * S,
     .rate_from = 300,
     .rate_to = 0,
     .spike_at_ns = 0,
     .spike_for_ns = 9 * S},
    {.model = SCHEDULE_BURST, .duration_ns = 10 * S, .burst_size = 100, .burst_count = 4, .burst_every_ns = 2 * S},
    {.model = SCHEDULE_BURST,
     .duration_ns = 10 * S,
     .burst_size = 7,
     .burst_count = 0,
     .burst_every_ns = 3 * S,
     .burst_over_ns = 3 * S},
    {.model = SCHEDULE_BURST, .duration_ns = 10 * S, .burst_size = 7, .burst_count = 1},
    {.model = SCHEDULE_TRACE, .duration_ns = 5 * S, .trace_ns = trace, .trace_count = ARRAY_COUNT(trace)},
    {.model = SCHEDULE_TRACE, .duration_ns = 10 * S, .trace_ns = trace, .trace_count = ARRAY_COUNT(trace)},
};

static void test_cursor_and_index_agree(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(schedules); i++) {
        const struct schedule *schedule = &schedules[i];
        uint64_t count = schedule_count(schedule);
        struct schedule_cursor cursor;
        schedule_begin(&cursor, schedule);
        int64_t before = 0;
        /* A random index of a Poisson phase is a walk, so only some are asked for. */
        uint64_t stride = schedule->model == SCHEDULE_POISSON ? 997 : 1;
        for (uint64_t index = 0; index < count; index++) {
            assert_int_equal(cursor.index, index);
            assert_true(cursor.at_ns >= before && cursor.at_ns < schedule->duration_ns);
            if (index % stride == 0) {
                assert_int_equal(schedule_at(schedule, index), cursor.at_ns);
            }
            before = cursor.at_ns;
            schedule_next(&cursor);
        }
        assert_true(cursor.at_ns == INT64_MAX);
        schedule_next(&cursor);
        assert_true(cursor.at_ns == INT64_MAX && cursor.index == count);
        assert_true(schedule_at(schedule, count) == INT64_MAX);
        assert_true(schedule_at(schedule, count + 1000) == INT64_MAX);
    }
}

/* The count is the integral of the rate, taken here by the trapezoidal rule in small steps. */
static void test_count_is_the_integral_of_the_rate(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(schedules); i++) {
        const struct schedule *schedule = &schedules[i];
        if (schedule->model == SCHEDULE_TRACE || schedule->model == SCHEDULE_POISSON || schedule->burst_count == 1) {
            continue;
        }
        double integral = 0, step = 1e6;
        for (int64_t at = 0; at < schedule->duration_ns; at += (int64_t)step) {
            integral += schedule_rate(schedule, at + (int64_t)(step / 2)) * step / 1e9;
        }
        double count = (double)schedule_count(schedule);
        /* A last burst or arrival may lie just before the end of what it stands for. */
        double slack = schedule->model == SCHEDULE_BURST ? (double)schedule->burst_size : 1;
        if (fabs(count - integral) > slack + integral * 1e-6) {
            fail_msg("schedule %zu: %.0f arrivals, integral %.3f", i, count, integral);
        }
    }
    assert_int_equal(schedule_count(&schedules[0]), 1000);
    assert_int_equal(schedule_count(&schedules[1]), 3);
    assert_int_equal(schedule_count(&schedules[5]), 5000);
    assert_int_equal(schedule_count(&schedules[9]), 5500);
    assert_int_equal(schedule_count(&schedules[15]), 8 * 50 + 10000);
    assert_int_equal(schedule_count(&schedules[18]), 400);
    assert_int_equal(schedule_count(&schedules[21]), 6);
}

static void test_times_of_each_model(void **state)
{
    (void)state;
    assert_int_equal(schedule_at(&schedules[0], 0), 0);
    assert_int_equal(schedule_at(&schedules[0], 999), 9990 * MS);
    /* From nothing to 1000/s in 10 s: N(t) = 50 t^2, so arrival 200 at 2 s and arrival 1250 at 5 s. */
    assert_int_equal(schedule_at(&schedules[5], 200), 2 * S);
    assert_int_equal(schedule_at(&schedules[5], 1250), 5 * S);
    /* Falling: N(t) = 1000 t - 50 t^2; 3750 at 5 s. */
    assert_int_equal(schedule_at(&schedules[6], 3750), 5 * S);
    /* The third of ten steps begins behind 100 + 200 arrivals and makes 300/s. */
    assert_int_equal(schedule_at(&schedules[9], 300), 2 * S);
    assert_int_equal(schedule_at(&schedules[9], 450), 2 * S + 500 * MS);
    assert_int_equal(schedule_at(&schedules[15], 200), 4 * S);
    assert_int_equal(schedule_at(&schedules[15], 200 + 5000), 5 * S);
    assert_int_equal(schedule_at(&schedules[15], 200 + 10000), 6 * S);
    assert_int_equal(schedule_at(&schedules[16], 0), 4 * S);
    assert_int_equal(schedule_at(&schedules[17], 0), 9 * S);
    assert_int_equal(schedule_at(&schedules[18], 99), 0);
    assert_int_equal(schedule_at(&schedules[18], 100), 2 * S);
    assert_int_equal(schedule_at(&schedules[19], 8), 3 * S + 3 * S / 7);
    assert_int_equal(schedule_at(&schedules[21], 5), 2 * S + 1);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void test_poisson_is_poisson(void **state)
{
    (void)state;
    struct rng rng = test_rng();
    for (int round = 0; round < 5; round++) {
        struct schedule schedule = {
            .model = SCHEDULE_POISSON, .duration_ns = 100 * S, .rate_from = 1000, .seed = rng_u64(&rng)};
        size_t count = schedule_count(&schedule), at = 0;
        /* The count has mean and variance 100,000. */
        assert_true(fabs((double)count - 100000) < 4.5 * sqrt(100000));
        double *gaps = malloc(count * sizeof(*gaps));
        double windows[1000] = {0}; /* arrivals in each tenth of a second: mean 100, variance 100 */
        struct schedule_cursor cursor;
        int64_t before = 0;
        for (schedule_begin(&cursor, &schedule); cursor.at_ns != INT64_MAX; schedule_next(&cursor)) {
            gaps[at++] = (double)(cursor.at_ns - before) / 1e9;
            windows[cursor.at_ns / (100 * MS)]++;
            before = cursor.at_ns;
        }
        assert_int_equal(at, count);
        double sum = 0, squares = 0;
        for (size_t i = 0; i < count; i++) {
            sum += gaps[i];
        }
        double mean = sum / (double)count;
        for (size_t i = 0; i < count; i++) {
            squares += (gaps[i] - mean) * (gaps[i] - mean);
        }
        double variance = squares / (double)(count - 1);
        assert_true(fabs(mean - 0.001) < 4.5 * 0.001 / sqrt((double)count));
        /* The variance of a sample variance of exponentials is 8 sigma^4 / n. */
        assert_true(fabs(variance - 1e-6) < 4.5 * 1e-6 * sqrt(8.0 / (double)count));
        double window_squares = 0;
        for (size_t i = 0; i < ARRAY_COUNT(windows); i++) {
            window_squares += (windows[i] - 100) * (windows[i] - 100);
        }
        double dispersion = window_squares / 100; /* chi-squared with 1000 degrees of freedom */
        assert_true(fabs(dispersion - 1000) < 4.5 * sqrt(2000));
        /* Kolmogorov and Smirnov against 1 - exp(-1000 t); 2.2 / sqrt(n) is exceeded once in 8000 times. */
        qsort(gaps, count, sizeof(*gaps), by_value);
        double distance = 0;
        for (size_t i = 0; i < count; i++) {
            double meant = 1 - exp(-1000 * gaps[i]);
            distance = fmax(
                distance, fmax(fabs(meant - (double)i / (double)count), fabs(meant - (double)(i + 1) / (double)count)));
        }
        assert_true(distance < 2.2 / sqrt((double)count));
        free(gaps);
    }
}

static void test_same_seed_same_times(void **state)
{
    (void)state;
    struct schedule a = {.model = SCHEDULE_POISSON, .duration_ns = 5 * S, .rate_from = 1000, .seed = 77};
    struct schedule b = a, c = a;
    c.seed = 78;
    struct schedule_cursor cursors[3];
    schedule_begin(&cursors[0], &a);
    schedule_begin(&cursors[1], &b);
    schedule_begin(&cursors[2], &c);
    int same = 0, steps = 0;
    while (cursors[0].at_ns != INT64_MAX) {
        assert_int_equal(cursors[0].at_ns, cursors[1].at_ns);
        same += cursors[0].at_ns == cursors[2].at_ns;
        steps++;
        for (int i = 0; i < 3; i++) {
            schedule_next(&cursors[i]);
        }
    }
    assert_true(cursors[1].at_ns == INT64_MAX);
    assert_true(steps > 4000 && same < 10);
    /* A longer phase begins as the shorter one does. */
    struct schedule longer = a;
    longer.duration_ns *= 2;
    assert_int_equal(schedule_at(&longer, 1234), schedule_at(&a, 1234));
}

static void test_rates(void **state)
{
    (void)state;
    assert_true(schedule_rate(&schedules[0], 0) == 100);
    assert_true(schedule_rate(&schedules[0], -1) == 0);
    assert_true(schedule_rate(&schedules[0], 10 * S) == 0);
    assert_true(fabs(schedule_rate(&schedules[5], 2500 * MS) - 250) < 1e-9);
    assert_true(schedule_rate(&schedules[9], 0) == 100);
    assert_true(schedule_rate(&schedules[9], 9999 * MS) == 1000);
    assert_true(schedule_rate(&schedules[15], 4 * S - 1) == 50);
    assert_true(schedule_rate(&schedules[15], 4 * S) == 5000);
    assert_true(schedule_rate(&schedules[15], 6 * S) == 50);
    assert_true(schedule_rate(&schedules[18], 7 * S) == 50);
    assert_true(schedule_rate(&schedules[18], 8 * S) == 0);
    assert_true(schedule_rate(&schedules[22], 1500 * MS) == 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cursor_and_index_agree), cmocka_unit_test(test_count_is_the_integral_of_the_rate),
        cmocka_unit_test(test_times_of_each_model),    cmocka_unit_test(test_poisson_is_poisson),
        cmocka_unit_test(test_same_seed_same_times),   cmocka_unit_test(test_rates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
