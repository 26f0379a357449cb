/* statistics_change.c - where a series of results took another level.
 *
 * E-divisive (Matteson and James, A Nonparametric Approach for Multiple Change Point Analysis, 2014): for two samples X and Y of
 * sizes m and n, the energy distance with exponent 1 is
 *
 *   E = 2/(mn) sum |x - y|  -  2/(m(m-1)) sum_{i<j} |xi - xj|  -  2/(n(n-1)) sum_{i<j} |yi - yj|,     Q = mn/(m+n) E
 *
 * The best split of a segment is where Q is largest. Whether it says anything is asked of the segment's own values in random order:
 * if at least p_max of the permutations have a split that is as good, there is none. Both sides are then segments of
 * their own. It supposes no distribution, and a single outlier is no level. Moving one value from the right side to the left one
 * changes the three sums by its distances to all others, so the best split costs n^2 subtractions and no memory. */
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "bench/statistics.h"

#define PERMUTATIONS 199
#define SEGMENT_MIN 3 /* on either side; of two values the spread is hardly known */
#define COUNT_MAX 4096

static double distance(double a, double b)
{
    return a > b ? a - b : b - a;
}

/* The first index of the right side, and Q there; 0 when the segment is too short to be split. */
static size_t best_split(const double *values, size_t count, double *ret_q)
{
    double left = 0, right = 0, between = 0;
    size_t best = 0;
    *ret_q = 0;
    if (count < 2 * (size_t)SEGMENT_MIN) {
        return 0;
    }
    for (size_t i = 0; i < count; i++) {
        for (size_t k = i + 1; k < count; k++) {
            right += distance(values[i], values[k]);
        }
    }
    for (size_t split = 1; split + SEGMENT_MIN <= count; split++) {
        double moved = values[split - 1], to_left = 0, to_right = 0;
        for (size_t i = 0; i + 1 < split; i++) {
            to_left += distance(moved, values[i]);
        }
        for (size_t i = split; i < count; i++) {
            to_right += distance(moved, values[i]);
        }
        left += to_left;
        right -= to_right;
        between += to_right - to_left;
        if (split < SEGMENT_MIN) {
            continue;
        }
        double m = (double)split, n = (double)(count - split);
        double q = m * n / (m + n) * (2 / (m * n) * between - 2 / (m * (m - 1)) * left - 2 / (n * (n - 1)) * right);
        if (q > *ret_q) {
            *ret_q = q;
            best = split;
        }
    }
    return best;
}

static bool is_chance(double *scratch, size_t count, double q, double p_max, struct rng *rng)
{
    /* It can be said before the last one that too many are as good. */
    double allowed = p_max * (PERMUTATIONS + 1);
    unsigned as_good = 1; /* the order that was measured is one of them */
    for (unsigned r = 0; r < PERMUTATIONS; r++) {
        double other;
        for (size_t i = count - 1; i > 0; i--) {
            size_t k = rng_below(rng, i + 1);
            double value = scratch[i];
            scratch[i] = scratch[k];
            scratch[k] = value;
        }
        (void)best_split(scratch, count, &other);
        as_good += other >= q;
        if (as_good > allowed) {
            return true;
        }
    }
    return false;
}

static int by_index(const void *a, const void *b)
{
    size_t x = *(const size_t *)a, y = *(const size_t *)b;
    return (x > y) - (x < y);
}

size_t statistics_change_points(const double *values, size_t count, double p_max, uint64_t seed, size_t *ret_indices,
                                size_t indices_max)
{
    struct segment {
        size_t from, to;
    } *segments;
    size_t found = 0, open = 0;
    struct rng rng;
    if (count > COUNT_MAX) { /* the newest ones */
        size_t skipped = count - COUNT_MAX;
        found = statistics_change_points(values + skipped, COUNT_MAX, p_max, seed, ret_indices, indices_max);
        for (size_t i = 0; i < found; i++) {
            ret_indices[i] += skipped;
        }
        return found;
    }
    double *scratch = malloc((count + 1) * sizeof(*scratch));
    segments = malloc((count + 1) * sizeof(*segments));
    if (scratch == NULL || segments == NULL) {
        free(scratch);
        free(segments);
        return 0;
    }
    rng_seed(&rng, seed);
    segments[open++] = (struct segment){0, count};
    while (open > 0 && found < indices_max) {
        struct segment segment = segments[--open];
        size_t len = segment.to - segment.from;
        double q;
        size_t split = best_split(values + segment.from, len, &q);
        if (split == 0) {
            continue;
        }
        memcpy(scratch, values + segment.from, len * sizeof(*scratch));
        if (is_chance(scratch, len, q, p_max, &rng)) {
            continue;
        }
        ret_indices[found++] = segment.from + split;
        segments[open++] = (struct segment){segment.from + split, segment.to};
        segments[open++] = (struct segment){segment.from, segment.from + split};
    }
    free(scratch);
    free(segments);
    qsort(ret_indices, found, sizeof(*ret_indices), by_index);
    return found;
}
