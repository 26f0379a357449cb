/* statistics.c - quantiles, and whether one of two is faster.
 *
 * What is measured next to each other has most of its noise in common: the machine, its neighbours, its temperature. So two
 * things are compared by the ratios of pairs, in logarithms, where twice as fast and half as fast lie equally far from 0.
 *
 *   interval   percentile bootstrap of the mean logarithm, its ends moved outwards as Student's t and sqrt(n / (n-1)) ask for
 *              (Hesterberg, What Teachers Should Know About the Bootstrap, 2015, section 5.3): without that, five pairs
 *              give an "95 %" interval that holds the truth four times in five
 *   p          Wilcoxon's signed rank test; its distribution is counted out, in half ranks so that ties are whole numbers
 *   quantiles  definition 7 of Hyndman and Fan 1996, as R's default */
#include "bench/statistics.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "base/rng.h"

#define RESAMPLES 10000
#define EXACT_MAX 50
#define PAIRS_MAX 10000
#define PAIRS_MIN 3

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double statistics_quantile(const double *sorted, size_t count, double q)
{
    if (count == 0) {
        return 0;
    }
    q = q < 0 ? 0 : q > 1 ? 1 : q;
    double at = (double)(count - 1) * q;
    size_t low = (size_t)at;
    return low + 1 < count ? sorted[low] + (at - (double)low) * (sorted[low + 1] - sorted[low]) : sorted[count - 1];
}

double statistics_median(double *values, size_t count)
{
    if (count > 1) {
        qsort(values, count, sizeof(*values), by_value);
    }
    return statistics_quantile(values, count, 0.5);
}

static double mean_of(const double *values, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++) {
        sum += values[i];
    }
    return sum / (double)count;
}

static double spread_of(const double *values, size_t count)
{
    double mean = mean_of(values, count), squares = 0;
    for (size_t i = 0; i < count; i++) {
        squares += (values[i] - mean) * (values[i] - mean);
    }
    return count > 1 && mean != 0 ? sqrt(squares / (double)(count - 1)) / fabs(mean) : 0;
}

/* --- Wilcoxon --- */

static double normal_tail(double z) /* P(Z > z) */
{
    return 0.5 * erfc(z / sqrt(2));
}

static int by_magnitude(const void *a, const void *b)
{
    double x = fabs(*(const double *)a), y = fabs(*(const double *)b);
    return (x > y) - (x < y);
}

/* P(W <= rank_sum) and P(W >= rank_sum), W being the sum of those of `ranks` (doubled) whose coin falls on heads. */
static void exact_tails(const unsigned *ranks, size_t count, unsigned rank_sum, double *ret_low, double *ret_high)
{
    static const unsigned sum_max = EXACT_MAX * (EXACT_MAX + 1);
    double ways[EXACT_MAX * (EXACT_MAX + 1) + 1] = {1};
    unsigned largest = 0;
    for (size_t i = 0; i < count; i++) {
        largest += ranks[i];
        ensure(largest <= sum_max);
        for (unsigned sum = largest; sum >= ranks[i]; sum--) {
            /* Halved each time, so that these are probabilities. */
            ways[sum] = (ways[sum] + ways[sum - ranks[i]]) / 2;
        }
        for (unsigned sum = 0; sum < ranks[i]; sum++) {
            ways[sum] /= 2;
        }
    }
    *ret_low = *ret_high = 0;
    for (unsigned sum = 0; sum <= largest; sum++) {
        *ret_low += sum <= rank_sum ? ways[sum] : 0;
        *ret_high += sum >= rank_sum ? ways[sum] : 0;
    }
}

double statistics_wilcoxon(const double *differences, size_t count)
{
    double *sorted = malloc((count + 1) * sizeof(*sorted));
    unsigned *ranks = malloc((count + 1) * sizeof(*ranks));
    size_t used = 0;
    double p = 1;
    for (size_t i = 0; sorted != NULL && ranks != NULL && i < count; i++) {
        if (differences[i] != 0) {
            sorted[used++] = differences[i];
        }
    }
    if (used > 0) {
        double ties = 0;
        unsigned positive = 0; /* doubled */
        qsort(sorted, used, sizeof(*sorted), by_magnitude);
        for (size_t from = 0, to; from < used; from = to) {
            for (to = from + 1; to < used && fabs(sorted[to]) == fabs(sorted[from]); to++) {
            }
            double equal = (double)(to - from);
            ties += equal * equal * equal - equal;
            for (size_t i = from; i < to; i++) {
                ranks[i] = (unsigned)(from + 1 + to); /* the mean of from + 1 … to, doubled */
                positive += sorted[i] > 0 ? ranks[i] : 0;
            }
        }
        double n = (double)used, low, high;
        if (used <= EXACT_MAX) {
            exact_tails(ranks, used, positive, &low, &high);
        } else {
            double mean = n * (n + 1) / 4, variance = n * (n + 1) * (2 * n + 1) / 24 - ties / 48;
            double sum = (double)positive / 2;
            low = normal_tail((mean - sum - 0.5) / sqrt(variance));
            high = normal_tail((sum - mean - 0.5) / sqrt(variance));
        }
        p = fmin(1, 2 * fmin(low, high));
    }
    free(sorted);
    free(ranks);
    return p;
}

/* --- comparison --- */

const char *statistics_comparison_name(enum comparison comparison)
{
    static const char *const names[] = {[COMPARISON_SAME] = "same",
                                        [COMPARISON_FASTER] = "faster",
                                        [COMPARISON_SLOWER] = "slower",
                                        [COMPARISON_UNSTABLE] = "unstable"};
    return (size_t)comparison < ARRAY_COUNT(names) ? names[comparison] : "?";
}

static bool bootstrap(const double *logs, size_t count, uint64_t seed, double *ret_low, double *ret_high)
{
    double *means = malloc(RESAMPLES * sizeof(*means));
    struct rng rng;
    if (means == NULL) {
        return false;
    }
    rng_seed(&rng, seed);
    for (size_t r = 0; r < RESAMPLES; r++) {
        double sum = 0;
        for (size_t i = 0; i < count; i++) {
            sum += logs[rng_below(&rng, count)];
        }
        means[r] = sum / (double)count;
    }
    qsort(means, RESAMPLES, sizeof(*means), by_value);
    double n = (double)count;
    double tail = normal_tail(sqrt(n / (n - 1)) * statistics_student(count - 1));
    *ret_low = statistics_quantile(means, RESAMPLES, tail);
    *ret_high = statistics_quantile(means, RESAMPLES, 1 - tail);
    free(means);
    return true;
}

void statistics_compare(const double *a, const double *b, size_t count, double noise, double unstable, uint64_t seed,
                        struct comparison_result *ret_result)
{
    count = count < PAIRS_MAX ? count : PAIRS_MAX;
    *ret_result = (struct comparison_result){
        .verdict = COMPARISON_UNSTABLE, .ratio = 1, .ratio_low = 0, .ratio_high = INFINITY, .p_value = 1};
    double *logs = malloc((count + 1) * sizeof(*logs));
    bool are_positive = logs != NULL && count > 0;
    for (size_t i = 0; i < count && are_positive; i++) {
        are_positive = a[i] > 0 && b[i] > 0 && isfinite(a[i]) && isfinite(b[i]);
        logs[i] = are_positive ? log(b[i] / a[i]) : 0;
    }
    if (!are_positive) {
        free(logs);
        return;
    }
    ret_result->ratio = exp(mean_of(logs, count));
    ret_result->spread_a = spread_of(a, count);
    ret_result->spread_b = spread_of(b, count);
    double low, high;
    if (count >= PAIRS_MIN && bootstrap(logs, count, seed, &low, &high)) {
        ret_result->ratio_low = exp(low);
        ret_result->ratio_high = exp(high);
        ret_result->p_value = statistics_wilcoxon(logs, count);
        bool is_wide = ret_result->ratio_high / ret_result->ratio_low > 1 + 2 * unstable;
        ret_result->verdict = ret_result->ratio_low > 1 && ret_result->ratio > 1 + noise          ? COMPARISON_FASTER
                              : ret_result->ratio_high < 1 && ret_result->ratio * (1 + noise) < 1 ? COMPARISON_SLOWER
                              : is_wide                                                           ? COMPARISON_UNSTABLE
                                                                                                  : COMPARISON_SAME;
    }
    free(logs);
}
