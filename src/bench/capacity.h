/* capacity.h - how much a target takes, what it does with more than that, and how it grows.
 *
 * The work of a scenario (its starts, flows and workload) is put on at rates that are searched for; its phases, faults and gates are
 * left aside. Every point is a run of its own with a target that is started anew and a warm-up. */
#ifndef SHOAL_BENCH_CAPACITY_H
#define SHOAL_BENCH_CAPACITY_H

#include "bench/scenario.h"
#include "bench/statistics.h"

#define CAPACITY_POINTS_MAX 48
#define CAPACITY_OVERLOADS 3
#define CAPACITY_USERS_POINTS 12
#define CAPACITY_SUSTAINED 0.95 /* of what was asked for has a right answer */

struct capacity_options {
    double rate_from, rate_max;               /* a second; doubled from the first until it is no longer sustained */
    int64_t warm_ns, point_ns;                /* of each point of the search and of the fit */
    int64_t before_ns, overload_ns, after_ns; /* of an overload: at 0.7 of the capacity, beyond it, at 0.7 again */
    uint32_t users_max;                       /* of the fit; 0: none is made */
    /* Runs it. Anything but OK ends the search with that status. */
    enum status (*run)(void *ctx, const struct scenario *scenario, struct bench_result *ret_result);
    void (*on_progress)(void *ctx, const char *text); /* a line, before a run; may be NULL */
    void *ctx;
};
struct capacity_point {
    double asked; /* rate a second, or users */
    double goodput, success_percent, p50_ns, p99_ns;
    bool is_valid, is_sustained; /* not valid: the generator was the bottleneck */
};
struct capacity_overload {
    double factor, asked;
    double goodput, success_percent, p99_ns; /* meanwhile */
    double before_goodput, before_p99_ns;
    int64_t
        recovered_ns; /* after its end, in whole seconds: 90 % of the goodput and twice the p99 of before; -1: not in after_ns */
    bool is_valid;
};
struct capacity {
    struct capacity_point points[CAPACITY_POINTS_MAX]; /* in the order in which they were measured */
    uint32_t point_count;
    double sustained;        /* the largest rate that was; 0: none */
    double goodput_most;     /* right answers a second, at any rate */
    bool is_bounded;         /* a rate above was measured and not sustained */
    bool is_generator_bound; /* the search ended because the generator could do no more: the target may take more */
    struct capacity_overload overloads[CAPACITY_OVERLOADS];
    uint32_t overload_count;
    struct capacity_point users[CAPACITY_USERS_POINTS];
    uint32_t users_count;
    bool has_fit;
    struct scaling_fit fit;
    double residuals[CAPACITY_USERS_POINTS];
};

STATUS_MUST_CHECK enum status capacity_search(const struct scenario *scenario, const struct capacity_options *options,
                                              struct capacity *ret_capacity);
void capacity_write_text(const struct capacity *capacity, struct buf *out);
void capacity_write_json(const struct capacity *capacity, const struct scenario *scenario, struct buf *out);

#endif
