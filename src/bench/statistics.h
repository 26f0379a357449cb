/* statistics.h - the statistics of reports: fits with intervals, comparison of two, change points. Pure; no allocation but where said.
 *
 * Each function's file (statistics*.c) names the source of its formula. */
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

/* The 97.5 % quantile of Student's t with so many degrees of freedom (at least 1). */
double statistics_student(size_t freedom);

/* Median, where `values` is sorted in place, and quantiles (q 0..1) of what is sorted: between two values in proportion. 0 when there is none. */
double statistics_median(double *values, size_t count);
double statistics_quantile(const double *sorted, size_t count, double q);

enum comparison { COMPARISON_SAME, COMPARISON_FASTER, COMPARISON_SLOWER, COMPARISON_UNSTABLE };
const char *statistics_comparison_name(enum comparison comparison); /* "faster" */
struct comparison_result {
    enum comparison verdict;      /* of b against a, for a value of which more is better */
    double ratio;                 /* b / a: geometric mean of the paired ratios */
    double ratio_low, ratio_high; /* 95 %, by bootstrap (10,000 resamples, seeded) */
    double spread_a, spread_b;    /* coefficient of variation */
    double p_value;               /* Wilcoxon signed rank of the ratios' logarithms, two-sided */
};
/* Pairs a[i], b[i] > 0 were measured next to each other. `noise` is the smallest relative change worth a word (0.02). FASTER, SLOWER: the
 * interval does not hold 1 and the ratio is beyond the noise. UNSTABLE: else, when the interval is so wide that a change of `unstable` (0.05)
 * could hide in it (ratio_high / ratio_low > 1 + 2 * unstable), when there are fewer than 3 pairs, or a value is not positive. */
void statistics_compare(const double *a, const double *b, size_t count, double noise, double unstable, uint64_t seed,
                        struct comparison_result *ret_result);
/* Two-sided p of Wilcoxon's signed rank test of differences against 0. Exact up to 50 that are not 0, with ties as well; by the
 * normal distribution above. 1 without any. */
double statistics_wilcoxon(const double *differences, size_t count);

/* Change points of a series by E-divisive means (Matteson and James 2014) with a permutation test, as used for
 * performance histories by MongoDB (Daly et al. 2020). Indices where a new level begins, ascending; returns how many. A segment is
 * split when a split as good comes by chance with a probability of at most p_max (0.01 at least). Allocates; 0 without memory. */
size_t statistics_change_points(const double *values, size_t count, double p_max, uint64_t seed, size_t *ret_indices,
                                size_t indices_max);

/* Universal Scalability Law (Gunther): x(n) = lambda n / (1 + sigma (n-1) + kappa n (n-1)), by least squares of the relative residuals,
 * lambda > 0, sigma and kappa >= 0. */
struct scaling_fit {
    double lambda, sigma, kappa;
    double peak_n, peak_x; /* where x is largest; INFINITY when it never falls (peak_x: what it approaches) */
    double residual_rms;   /* relative */
};
/* ret_residuals[count], or NULL: (measured - fitted) / measured. False with fewer than 3 different n, or values that are not positive. */
bool statistics_scaling(const double *n, const double *x, size_t count, struct scaling_fit *ret_fit,
                        double *ret_residuals);

#endif
