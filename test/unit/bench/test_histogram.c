#include "bench/histogram.h"

#include <math.h>

#include "../base/check.h"
#include "base/ensure.h"
#include "base/json.h"

#define COUNT 100000

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* The definition of the header, on all values: the smallest that at least `percent` do not exceed. */
static int64_t exact_percentile(const int64_t *sorted, size_t count, int64_t per_100k)
{
    uint64_t rank = ((uint64_t)count * (uint64_t)per_100k + 99999) / 100000;
    return sorted[rank > 0 ? rank - 1 : 0];
}

static int64_t draw(struct rng *rng, int shape)
{
    double uniform = ((double)(rng_u64(rng) >> 11) + 0.5) * 0x1p-53;
    switch (shape) {
    case 0:
        return (int64_t)rng_below(rng, 3000); /* where buckets hold one value */
    case 1:
        return (int64_t)(-log(uniform) * 2e6); /* exponential, 2 ms */
    case 2:
        return (int64_t)(1e5 * pow(uniform, -1 / 1.2)); /* Pareto with a heavy tail */
    case 3:
        return rng_below(rng, 100) < 95 ? 1000000 + (int64_t)rng_below(rng, 1000) : INT64_C(2000000000);
    default:
        return (int64_t)(exp(uniform * log((double)HISTOGRAM_VALUE_MAX))); /* every magnitude */
    }
}

static void test_percentiles_against_sorted_values(void **state)
{
    (void)state;
    static const int64_t per_100k[] = {0,     1,     1000,  25000, 50000, 75000, 90000,
                                       95000, 99000, 99900, 99990, 99999, 100000};
    struct rng rng = test_rng();
    int64_t *values = malloc(COUNT * sizeof(*values));
    struct histogram *histogram = histogram_new();
    assert_non_null(values);
    assert_non_null(histogram);
    for (int shape = 0; shape < 5; shape++) {
        histogram_reset(histogram);
        double sum = 0;
        for (size_t i = 0; i < COUNT; i++) {
            values[i] = draw(&rng, shape);
            values[i] = values[i] > HISTOGRAM_VALUE_MAX ? HISTOGRAM_VALUE_MAX : values[i];
            histogram_record(histogram, values[i]);
            sum += (double)values[i];
        }
        qsort(values, COUNT, sizeof(*values), by_value);
        for (size_t i = 0; i < ARRAY_COUNT(per_100k); i++) {
            double exact = (double)exact_percentile(values, COUNT, per_100k[i]);
            double got = (double)histogram_percentile(histogram, (double)per_100k[i] / 1000);
            if (fabs(got - exact) > exact / 1000) {
                fail_msg("shape %d, percentile %g: %.0f instead of %.0f", shape, (double)per_100k[i] / 1000, got,
                         exact);
            }
            /* What the percentile says must hold of the shares, too. */
            assert_true(histogram_share_within(histogram, (int64_t)got) >= (double)per_100k[i] / 100000 - 1e-12);
        }
        double mean = sum / COUNT, squares = 0;
        for (size_t i = 0; i < COUNT; i++) {
            squares += ((double)values[i] - mean) * ((double)values[i] - mean);
        }
        assert_true(fabs(histogram_mean(histogram) - mean) <= mean * 1e-9);
        double stddev = sqrt(squares / (COUNT - 1));
        assert_true(fabs(histogram_stddev(histogram) - stddev) <= stddev / 1000);
        assert_int_equal(histogram_min(histogram), values[0]);
        assert_int_equal(histogram_max(histogram), values[COUNT - 1]);
        assert_int_equal(histogram_count(histogram), COUNT);
    }
    histogram_free(histogram);
    free(values);
}

/* Each value lies in its bucket, and buckets lie side by side, at every border of a power of two. */
static void test_buckets_are_narrow(void **state)
{
    (void)state;
    struct histogram *histogram = histogram_new();
    for (int64_t power = 1; power < HISTOGRAM_VALUE_MAX; power *= 2) {
        for (int64_t value = power > 3 ? power - 3 : 0; value <= power + 3; value++) {
            histogram_reset(histogram);
            histogram_record_many(histogram, value, 3);
            histogram_record(histogram, HISTOGRAM_VALUE_MAX);
            size_t at = 0;
            int64_t upper;
            uint64_t count;
            assert_true(histogram_next(histogram, &at, &upper, &count));
            assert_int_equal(count, 3);
            assert_true(upper >= value && upper - value <= value / 1024);
            assert_true(histogram_next(histogram, &at, &upper, &count));
            assert_true(upper >= HISTOGRAM_VALUE_MAX);
            assert_false(histogram_next(histogram, &at, &upper, &count));
            assert_int_equal(histogram_percentile(histogram, 100), HISTOGRAM_VALUE_MAX);
        }
    }
    histogram_free(histogram);
}

static void test_ends_and_empty(void **state)
{
    (void)state;
    struct histogram *histogram = histogram_new();
    assert_int_equal(histogram_percentile(histogram, 50), 0);
    assert_int_equal(histogram_min(histogram), 0);
    assert_true(histogram_mean(histogram) == 0);
    assert_true(histogram_stddev(histogram) == 0);
    assert_true(histogram_share_within(histogram, 1) == 0);
    histogram_record(histogram, -5);
    assert_int_equal(histogram_max(histogram), 0);
    assert_int_equal(histogram_clamped(histogram), 0);
    histogram_record_many(histogram, INT64_MAX, 2);
    assert_int_equal(histogram_max(histogram), HISTOGRAM_VALUE_MAX);
    assert_int_equal(histogram_clamped(histogram), 2);
    assert_true(fabs(histogram_share_within(histogram, 0) - 1.0 / 3) < 1e-12);
    /* 99.9 % of a thousand are 999 of them, though 99.9 is no binary fraction. */
    histogram_reset(histogram);
    for (int64_t i = 1; i <= 1000; i++) {
        histogram_record(histogram, i);
    }
    assert_int_equal(histogram_percentile(histogram, 99.9), 999);
    assert_int_equal(histogram_percentile(histogram, 99.91), 1000);
    assert_int_equal(histogram_percentile(histogram, 50), 500);
    assert_int_equal(histogram_percentile(histogram, 0), 1);
    assert_int_equal(histogram_percentile(histogram, -3), 1);
    assert_int_equal(histogram_percentile(histogram, 300), 1000);
    histogram_free(histogram);
}

static void test_add_is_recording_both(void **state)
{
    (void)state;
    struct rng rng = test_rng();
    struct histogram *a = histogram_new(), *b = histogram_new(), *both = histogram_new();
    for (int i = 0; i < 20000; i++) {
        int64_t value = draw(&rng, i % 5);
        histogram_record(i % 3 == 0 ? a : b, value);
        histogram_record(both, value);
    }
    struct histogram *empty = histogram_new();
    histogram_add(a, b);
    histogram_add(a, empty);
    histogram_add(empty, a);
    struct buf texts[3];
    const struct histogram *three[] = {a, both, empty};
    for (int i = 0; i < 3; i++) {
        buf_init(&texts[i], 4u << 20);
        histogram_write_json(three[i], &texts[i]);
        assert_int_equal(buf_status(&texts[i]), STATUS_OK);
        assert_true(slice_equal(buf_slice(&texts[i]), buf_slice(&texts[0])));
    }
    for (int i = 0; i < 3; i++) {
        buf_free(&texts[i]);
    }
    histogram_free(a);
    histogram_free(b);
    histogram_free(both);
    histogram_free(empty);
}

static enum status read_text(struct slice text, struct histogram *histogram)
{
    struct json_parser *parser = json_parser_new();
    struct json_value root;
    assert_int_equal(json_parse(parser, text, &root, NULL, NULL), STATUS_OK);
    enum status status = histogram_read_json(&root, histogram);
    json_parser_free(parser);
    return status;
}

static void test_json_loses_nothing(void **state)
{
    (void)state;
    struct rng rng = test_rng();
    struct histogram *histogram = histogram_new(), *back = histogram_new();
    for (int round = 0; round < 3; round++) {
        histogram_reset(histogram);
        for (int i = 0; i < round * 5000; i++) {
            histogram_record(histogram, draw(&rng, i % 5));
        }
        struct buf text, again;
        buf_init(&text, 4u << 20);
        buf_init(&again, 4u << 20);
        histogram_write_json(histogram, &text);
        histogram_record(back, 12345); /* reading begins with an empty one */
        assert_int_equal(read_text(buf_slice(&text), back), STATUS_OK);
        histogram_write_json(back, &again);
        assert_true(slice_equal(buf_slice(&text), buf_slice(&again)));
        assert_true(histogram_mean(back) == histogram_mean(histogram));
        buf_free(&text);
        buf_free(&again);
    }
    histogram_free(histogram);
    histogram_free(back);
}

static void test_json_of_others_is_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "3",
        "{}",
        "{\"count\":1,\"clamped\":0,\"min\":5,\"max\":5,\"sum\":5}",
        "{\"count\":1,\"clamped\":0,\"min\":5,\"max\":5,\"sum\":5,\"buckets\":7}",
        "{\"count\":2,\"clamped\":0,\"min\":5,\"max\":5,\"sum\":5,\"buckets\":[[5,1]]}",     /* counts differ */
        "{\"count\":1,\"clamped\":0,\"min\":4,\"max\":5,\"sum\":5,\"buckets\":[[5,1]]}",     /* no such minimum */
        "{\"count\":1,\"clamped\":0,\"min\":5,\"max\":6,\"sum\":5,\"buckets\":[[5,1]]}",     /* no such maximum */
        "{\"count\":1,\"clamped\":0,\"min\":5,\"max\":5,\"sum\":5,\"buckets\":[[5]]}",       /* no pair */
        "{\"count\":1,\"clamped\":0,\"min\":5,\"max\":5,\"sum\":5,\"buckets\":[[-5,1]]}",    /* below zero */
        "{\"count\":1,\"clamped\":0,\"min\":5,\"max\":5,\"sum\":5,\"buckets\":[[5,\"1\"]]}", /* no number */
        "{\"count\":0,\"clamped\":0,\"min\":0,\"max\":0,\"sum\":0,\"buckets\":[[5,0]]}",     /* an empty bucket */
        "{\"count\":2,\"clamped\":0,\"min\":4,\"max\":5,\"sum\":9,\"buckets\":[[5,1],[4,1]]}",
        "{\"count\":1,\"clamped\":0,\"min\":4096,\"max\":4096,\"sum\":4096,\"buckets\":[[4096,1]]}", /* no upper end */
        "{\"count\":1,\"clamped\":0,\"min\":5,\"max\":5,\"sum\":5,\"buckets\":[[9223372036854775807,1]]}",
        "{\"count\":1,\"clamped\":2,\"min\":5,\"max\":5,\"sum\":5,\"buckets\":[[5,1]]}",
    };
    struct histogram *histogram = histogram_new();
    for (size_t i = 0; i < ARRAY_COUNT(texts); i++) {
        if (read_text(slice_str(texts[i]), histogram) != STATUS_INVALID) {
            fail_msg("taken: %s", texts[i]);
        }
        assert_int_equal(histogram_count(histogram), 0);
        assert_int_equal(histogram_percentile(histogram, 99), 0);
    }
    assert_int_equal(
        read_text(SLICE("{\"count\":1,\"clamped\":0,\"min\":5,\"max\":5,\"sum\":5,\"buckets\":[[5,1]]}"), histogram),
        STATUS_OK);
    histogram_free(histogram);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_percentiles_against_sorted_values),
        cmocka_unit_test(test_buckets_are_narrow),
        cmocka_unit_test(test_ends_and_empty),
        cmocka_unit_test(test_add_is_recording_both),
        cmocka_unit_test(test_json_loses_nothing),
        cmocka_unit_test(test_json_of_others_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
