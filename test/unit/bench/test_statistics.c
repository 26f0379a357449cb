#include "bench/statistics.h"

#include <math.h>

#include "../base/check.h"
#include "base/ensure.h"

static double uniform(struct rng *rng)
{
    return ((double)(rng_u64(rng) >> 11) + 0.5) * 0x1p-53;
}

static double normal(struct rng *rng) /* Box and Muller */
{
    double radius = sqrt(-2 * log(uniform(rng)));
    return radius * cos(6.283185307179586 * uniform(rng));
}

static void assert_near(double got, double wanted, double slack)
{
    if (!(fabs(got - wanted) <= slack)) {
        fail_msg("%.9g instead of %.9g", got, wanted);
    }
}

static void test_quantiles(void **state)
{
    (void)state;
    double values[] = {9, 1, 8, 2, 7, 3, 6, 4, 10, 5};
    assert_near(statistics_median(values, 10), 5.5, 1e-12);
    assert_near(statistics_quantile(values, 10, 0.25), 3.25, 1e-12); /* R: quantile(1:10, 0.25) */
    assert_near(statistics_quantile(values, 10, 0.9), 9.1, 1e-12);
    assert_near(statistics_quantile(values, 10, 0), 1, 0);
    assert_near(statistics_quantile(values, 10, 1), 10, 0);
    assert_near(statistics_median(values, 1), 1, 0);
    assert_near(statistics_median(values, 0), 0, 0);
}

/* Tables of the t distribution. */
static void test_student(void **state)
{
    (void)state;
    assert_near(statistics_student(1), 12.706, 5e-4);
    assert_near(statistics_student(10), 2.228, 5e-4);
    assert_near(statistics_student(11), 2.201, 5e-4);
    assert_near(statistics_student(30), 2.042, 5e-4);
    assert_near(statistics_student(120), 1.980, 5e-4);
}

/* Anscombe's first set: y = 3.0001 + 0.5001 x, standard error of the slope 0.1179, R² 0.6665 (R: lm(y1 ~ x1, anscombe)). */
static void test_line(void **state)
{
    (void)state;
    static const double x[] = {10, 8, 13, 9, 11, 14, 6, 4, 12, 7, 5};
    static const double y[] = {8.04, 6.95, 7.58, 8.81, 8.33, 9.96, 7.24, 4.26, 10.84, 4.82, 5.68};
    struct line_fit fit;
    assert_true(statistics_line(x, y, 11, &fit));
    assert_near(fit.slope, 0.5001, 5e-5);
    assert_near(fit.intercept, 3.0001, 5e-5);
    assert_near(fit.r_squared, 0.6665, 5e-5);
    assert_near(fit.slope_high - fit.slope, 2.262 * 0.1179, 5e-4);
    assert_near(fit.slope - fit.slope_low, 2.262 * 0.1179, 5e-4);
    assert_false(statistics_line(x, y, 2, &fit));
    static const double same[] = {3, 3, 3};
    assert_false(statistics_line(same, y, 3, &fit));
}

static void test_wilcoxon(void **state)
{
    (void)state;
    /* Hollander and Wolfe, depression scales, as in R's help of wilcox.test: V = 40, one-sided p 0.01953. */
    static const double before[] = {1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30};
    static const double after[] = {0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29};
    double differences[200];
    for (int i = 0; i < 9; i++) {
        differences[i] = before[i] - after[i];
    }
    assert_near(statistics_wilcoxon(differences, 9), 2 * 10.0 / 512, 1e-12);
    /* All of five in one direction: 2 / 2^5. */
    static const double up[] = {1, 2, 3, 4, 5};
    assert_near(statistics_wilcoxon(up, 5), 0.0625, 1e-12);
    /* With ties, counted by hand: |d| 1 1 2, ranks 1.5 1.5 3, W+ = 4.5 of {0, 1.5, 1.5, 3, 3, 4.5, 4.5, 6}: 2 * 3/8. */
    static const double tied[] = {1, -1, 2, 0};
    assert_near(statistics_wilcoxon(tied, 4), 0.75, 1e-12);
    static const double zeros[] = {0, 0};
    assert_near(statistics_wilcoxon(zeros, 2), 1, 0);
    /* The normal distribution takes over where counting ends; at 50 both agree. W+ is 850, z 2.0464; at 51 901, z 2.2266. */
    for (int i = 0; i < 51; i++) {
        differences[i] = (i % 3 == 0 ? -1 : 1) * (i + 1);
    }
    assert_near(statistics_wilcoxon(differences, 50), 0.0407, 0.001);
    assert_near(statistics_wilcoxon(differences, 51), 0.0260, 0.0005);
}

/* Under no difference p is at most 0.05 in 5 % of the cases. */
static void test_wilcoxon_is_calibrated(void **state)
{
    (void)state;
    struct rng rng = test_rng();
    int rejected = 0;
    for (int round = 0; round < 4000; round++) {
        double differences[12];
        for (int i = 0; i < 12; i++) {
            differences[i] = normal(&rng);
        }
        rejected += statistics_wilcoxon(differences, 12) <= 0.05;
    }
    assert_in_range(rejected, 130, 250); /* the largest step of the distribution below 0.05 is 0.0425: 170 */
}

static void make_pairs(struct rng *rng, double *a, double *b, size_t count, double ratio, double noise)
{
    for (size_t i = 0; i < count; i++) {
        double common = exp(0.1 * normal(rng)); /* the machine's mood, which both share */
        a[i] = 1000 * common * exp(noise * normal(rng));
        b[i] = 1000 * ratio * common * exp(noise * normal(rng));
    }
}

static void test_comparison(void **state)
{
    (void)state;
    struct rng rng = test_rng();
    double a[20], b[20];
    struct comparison_result result;
    make_pairs(&rng, a, b, 12, 1.10, 0.01);
    statistics_compare(a, b, 12, 0.02, 0.05, 1, &result);
    assert_int_equal(result.verdict, COMPARISON_FASTER);
    assert_true(result.ratio_low < 1.10 && result.ratio_high > 1.10 && result.ratio_low > 1.07);
    assert_true(result.p_value < 0.01 && result.spread_a > 0.02);
    statistics_compare(b, a, 12, 0.02, 0.05, 1, &result);
    assert_int_equal(result.verdict, COMPARISON_SLOWER);
    make_pairs(&rng, a, b, 12, 1.0, 0.01);
    statistics_compare(a, b, 12, 0.02, 0.05, 1, &result);
    assert_int_equal(result.verdict, COMPARISON_SAME);
    make_pairs(&rng, a, b, 12, 1.01, 0.001); /* seen, but not worth a word */
    statistics_compare(a, b, 12, 0.02, 0.05, 1, &result);
    assert_int_equal(result.verdict, COMPARISON_SAME);
    make_pairs(&rng, a, b, 5, 1.0, 0.5);
    statistics_compare(a, b, 5, 0.02, 0.05, 1, &result);
    assert_int_equal(result.verdict, COMPARISON_UNSTABLE);
    statistics_compare(a, b, 2, 0.02, 0.05, 1, &result);
    assert_int_equal(result.verdict, COMPARISON_UNSTABLE);
    assert_true(isinf(result.ratio_high));
    b[3] = 0;
    statistics_compare(a, b, 5, 0.02, 0.05, 1, &result);
    assert_int_equal(result.verdict, COMPARISON_UNSTABLE);
    /* The same seed gives the same interval. */
    struct comparison_result again;
    make_pairs(&rng, a, b, 8, 1.2, 0.05);
    statistics_compare(a, b, 8, 0.02, 0.05, 9, &result);
    statistics_compare(a, b, 8, 0.02, 0.05, 9, &again);
    assert_true(result.ratio_low == again.ratio_low && result.ratio_high == again.ratio_high);
    assert_string_equal(statistics_comparison_name(COMPARISON_UNSTABLE), "unstable");
}

/* The interval holds the truth 95 times in 100, with five pairs as with fifteen. */
static void test_interval_is_calibrated(void **state)
{
    (void)state;
    struct rng rng = test_rng();
    static const size_t sizes[] = {5, 8, 15};
    for (size_t s = 0; s < ARRAY_COUNT(sizes); s++) {
        int held = 0, wrong = 0;
        for (int round = 0; round < 400; round++) {
            double a[15], b[15];
            struct comparison_result result;
            make_pairs(&rng, a, b, sizes[s], 1.0, 0.03);
            statistics_compare(a, b, sizes[s], 0.02, 0.05, (uint64_t)round, &result);
            held += result.ratio_low <= 1 && result.ratio_high >= 1;
            wrong += result.verdict == COMPARISON_FASTER || result.verdict == COMPARISON_SLOWER;
        }
        /* 380 are meant; four standard deviations are 17. */
        assert_in_range(held, 360, 398);
        assert_true(wrong <= 40);
    }
}

static void test_change_points_are_found(void **state)
{
    (void)state;
    struct rng rng = test_rng();
    int exact = 0;
    for (int round = 0; round < 20; round++) {
        double values[90];
        size_t found[8];
        /* Levels 100, 110, 95, with a noise of 2. */
        for (int i = 0; i < 90; i++) {
            values[i] = (i < 30 ? 100 : i < 55 ? 110 : 95) + 2 * normal(&rng);
        }
        size_t count = statistics_change_points(values, 90, 0.01, (uint64_t)round, found, 8);
        assert_true(count >= 2 && count <= 3);
        bool has_first = false, has_second = false;
        for (size_t i = 0; i < count; i++) {
            has_first = has_first || (found[i] >= 29 && found[i] <= 31);
            has_second = has_second || (found[i] >= 54 && found[i] <= 56);
            assert_true(i == 0 || found[i] > found[i - 1]);
        }
        assert_true(has_first && has_second);
        exact += count == 2 && found[0] == 30 && found[1] == 55;
    }
    assert_true(exact >= 15);
}

static void test_noise_has_no_change_points(void **state)
{
    (void)state;
    struct rng rng = test_rng();
    int wrong = 0;
    for (int round = 0; round < 400; round++) {
        double values[40];
        size_t found[8];
        for (int i = 0; i < 40; i++) { /* skewed and with outliers, as latencies are */
            values[i] = 100 * exp(0.1 * normal(&rng)) + (rng_below(&rng, 20) == 0 ? 100 : 0);
        }
        wrong += statistics_change_points(values, 40, 0.02, (uint64_t)round, found, 8) > 0;
    }
    assert_true(wrong <= 20); /* 8 are meant; four standard deviations are 11 */
    assert_true(wrong > 0);   /* a test that never rejects would find nothing either */
}

static void test_change_points_of_little(void **state)
{
    (void)state;
    static const double flat[] = {5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5};
    static const double step[] = {1, 1, 1, 1, 1, 1, 9, 9, 9, 9, 9, 9};
    size_t found[4];
    assert_int_equal(statistics_change_points(flat, 12, 0.05, 1, found, 4), 0);
    assert_int_equal(statistics_change_points(step, 12, 0.05, 1, found, 4), 1);
    assert_int_equal(found[0], 6);
    assert_int_equal(statistics_change_points(step, 5, 0.05, 1, found, 4), 0);
    assert_int_equal(statistics_change_points(step, 0, 0.05, 1, found, 4), 0);
    assert_int_equal(statistics_change_points(step, 12, 0.05, 1, found, 0), 0);
}

static double law(double n, double lambda, double sigma, double kappa)
{
    return lambda * n / (1 + sigma * (n - 1) + kappa * n * (n - 1));
}

static void test_scaling(void **state)
{
    (void)state;
    static const double parameters[][3] = {
        {1000, 0.05, 0.0002}, {250, 0, 0.001}, {80, 0.2, 0}, {5e4, 0, 0}, {3, 0.9, 0.01}};
    static const double n[] = {1, 2, 4, 8, 16, 32, 64, 128};
    double x[8], residuals[8];
    struct scaling_fit fit;
    for (size_t p = 0; p < ARRAY_COUNT(parameters); p++) {
        double lambda = parameters[p][0], sigma = parameters[p][1], kappa = parameters[p][2];
        for (int i = 0; i < 8; i++) {
            x[i] = law(n[i], lambda, sigma, kappa);
        }
        assert_true(statistics_scaling(n, x, 8, &fit, residuals));
        assert_near(fit.lambda, lambda, lambda * 1e-6);
        assert_near(fit.sigma, sigma, 1e-6);
        assert_near(fit.kappa, kappa, 1e-8);
        assert_true(fit.residual_rms < 1e-6 && fabs(residuals[5]) < 1e-6);
        if (kappa > 0) {
            assert_near(fit.peak_n, sqrt((1 - sigma) / kappa), 1e-2);
            assert_near(fit.peak_x, law(fit.peak_n, lambda, sigma, kappa), lambda * 1e-3);
        }
    }
    /* With noise of 2 % the parameters are near, and the residuals are the noise. */
    struct rng rng = test_rng();
    for (int i = 0; i < 8; i++) {
        x[i] = law(n[i], 1000, 0.05, 0.0005) * exp(0.02 * normal(&rng));
    }
    assert_true(statistics_scaling(n, x, 8, &fit, NULL));
    assert_near(fit.lambda, 1000, 60);
    assert_near(fit.sigma, 0.05, 0.02);
    assert_near(fit.kappa, 0.0005, 0.0002);
    assert_true(fit.residual_rms < 0.04);
    /* Faster than linear: no negative sigma, but the best straight line. */
    for (int i = 0; i < 8; i++) {
        x[i] = pow(n[i], 1.2);
    }
    assert_true(statistics_scaling(n, x, 8, &fit, NULL));
    assert_true(fit.sigma == 0 && fit.kappa == 0 && isinf(fit.peak_n));
    assert_false(statistics_scaling(n, x, 2, &fit, NULL));
    x[3] = 0;
    assert_false(statistics_scaling(n, x, 8, &fit, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quantiles),
        cmocka_unit_test(test_student),
        cmocka_unit_test(test_line),
        cmocka_unit_test(test_wilcoxon),
        cmocka_unit_test(test_wilcoxon_is_calibrated),
        cmocka_unit_test(test_comparison),
        cmocka_unit_test(test_interval_is_calibrated),
        cmocka_unit_test(test_change_points_are_found),
        cmocka_unit_test(test_noise_has_no_change_points),
        cmocka_unit_test(test_change_points_of_little),
        cmocka_unit_test(test_scaling),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
