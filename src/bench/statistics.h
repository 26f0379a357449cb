/* statistics.h - the statistics of reports: fits with intervals, comparison of two, change points. Pure; no allocation but where said.
 *
 * Each function names the source of its formula in statistics.c. */
#ifndef SHOAL_BENCH_STATISTICS_H
#define SHOAL_BENCH_STATISTICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct line_fit {                                   /* y = intercept + slope x, least squares */
    double slope, intercept, slope_low, slope_high; /* 95 % (Student) */
    double r_squared;
};
/* False with fewer than 3 points or no spread in x. */
bool statistics_line(const double *x, const double *y, size_t count, struct line_fit *ret_fit);

/* Median and its quantiles. `values` is sorted in place. */
double statistics_median(double *values, size_t count);
double statistics_quantile(double *sorted, size_t count, double q);

enum comparison { COMPARISON_SAME, COMPARISON_FASTER, COMPARISON_SLOWER, COMPARISON_UNSTABLE };
struct comparison_result {
    enum comparison verdict; /* of b against a, for a value of which more is better */
    double ratio, ratio_low,
        ratio_high; /* b / a: geometric mean of the paired ratios, 95 % by bootstrap (BCa or percentile, 10,000 resamples, seeded) */
    double spread_a, spread_b; /* coefficient of variation */
    double p_value;            /* Wilcoxon signed rank, paired, two-sided */
};
/* Pairs a[i], b[i] were measured next to each other. `noise` is the smallest relative change worth a word (0.02). UNSTABLE: the interval is wider than
 * the change that could be seen (ratio_high / ratio_low > 1 + 2 * unstable). */
void statistics_compare(const double *a, const double *b, size_t count, double noise, double unstable, uint64_t seed,
                        struct comparison_result *ret_result);

/* Change points of a series by E-divisive means (Matteson and James 2014) with a permutation test, as used for
 * performance histories by MongoDB (Daly et al. 2020). Indices where a new level begins, ascending; returns how many. */
size_t statistics_change_points(const double *values, size_t count, double p_max, uint64_t seed, size_t *ret_indices,
                                size_t indices_max);

/* Universal Scalability Law (Gunther): x(n) = lambda n / (1 + sigma (n-1) + kappa n (n-1)), least squares with kappa, sigma >= 0. */
struct scaling_fit {
    double lambda, sigma, kappa, peak_n, peak_x;
    double residual_rms; /* relative */
};
bool statistics_scaling(const double *n, const double *x, size_t count, struct scaling_fit *ret_fit,
                        double *ret_residuals);

#endif
