/* compare.h - two things that were measured next to each other, metric by metric: faster, slower, same or unstable.
 *
 * Pure apart from memory; one thread at a time. */
#ifndef SHOAL_BENCH_COMPARE_H
#define SHOAL_BENCH_COMPARE_H

#include "bench/metrics.h"
#include "bench/statistics.h"

#define COMPARE_METRICS_MAX 16
#define COMPARE_PAIRS_MAX 4096
#define COMPARE_NOISE 0.02    /* the smallest relative change worth a word */
#define COMPARE_UNSTABLE 0.05 /* an interval in which a change of so much could hide says nothing */

struct compare_metric {
    char name[96];
    const char *unit;
    bool is_more_better; /* rates and shares of success; of times and sizes less is */
    uint32_t count;      /* of pairs */
    double a[COMPARE_PAIRS_MAX], b[COMPARE_PAIRS_MAX];
    double median_a, median_b;           /* these three after compare_judge */
    double ratio, ratio_low, ratio_high; /* of the values, b / a */
    struct comparison_result result;     /* of the speed: of times and sizes, of their inverse */
};
struct compare {
    uint32_t metric_count;
    struct compare_metric metrics[COMPARE_METRICS_MAX];
};

/* Of these metrics (names ended by NULL), or of goodput, p50 and p99 with NULL. INVALID for a name that is unknown or for too many; ret_why is
 * a sentence. The caller frees what comes back with free(). */
STATUS_MUST_CHECK enum status compare_new(const char *const *metrics, struct compare **ret_compare, char *ret_why,
                                          size_t why_size);
/* One round. A metric that one of the two does not have is left out of it. */
void compare_add(struct compare *compare, const struct bench_result *a, const struct bench_result *b);
/* The seconds of two runs that were made apart, paired by their number; the first and the last are left out. Replaces the metrics
 * by goodput, p50 and p99 of a second. What happened between the runs is not in the interval, and the reader is to be told. */
void compare_seconds(struct compare *compare, const struct bench_result *a, const struct bench_result *b);
void compare_judge(struct compare *compare, uint64_t seed);
/* The verdict of all: unstable when any is, else slower when any is, else faster when any is. */
enum comparison compare_verdict(const struct compare *compare);
void compare_write_text(const struct compare *compare, struct buf *out);
void compare_write_json(const struct compare *compare, struct buf *out);

#endif
