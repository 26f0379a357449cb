/* schedule.h - when the n-th arrival of a phase is meant to begin: a pure function of index, phase and seed.
 *
 * The open models. Nothing here looks at a clock, at the target or at earlier calls, so the same scenario and seed ask
 * for the same work at the same moments, however the target behaves. Times are ns from the start of the phase. */
#ifndef SHOAL_BENCH_SCHEDULE_H
#define SHOAL_BENCH_SCHEDULE_H

#include <stddef.h>
#include <stdint.h>

#define SCHEDULE_RATE_MAX                                                                                              \
    1e8 /* a second; far above what one process can send, far below where doubles lose nanoseconds */

enum schedule_model {
    SCHEDULE_CONSTANT, /* rate_from */
    SCHEDULE_RAMP,     /* from rate_from to rate_to, linear in time; arrival n solves the quadratic */
    SCHEDULE_STEP,     /* steps of equal length from rate_from to rate_to */
    SCHEDULE_POISSON,  /* exponential gaps with mean 1/rate_from */
    SCHEDULE_SPIKE,    /* rate_from, but rate_to between spike_at and spike_at + spike_for */
    SCHEDULE_BURST, /* burst_size at once (or spread over burst_over <= burst_every), every burst_every; burst_count times,
                          0: till the end */
    SCHEDULE_TRACE /* the times of a file */
};

struct schedule {
    enum schedule_model model;
    int64_t duration_ns;
    double rate_from, rate_to; /* a second */
    uint32_t steps;
    int64_t spike_at_ns, spike_for_ns;
    uint64_t burst_size, burst_count;
    int64_t burst_every_ns, burst_over_ns;
    const int64_t *trace_ns; /* ascending; not owned */
    size_t trace_count;
    uint64_t seed; /* of the phase */
};

/* How many arrivals the phase has in all. */
uint64_t schedule_count(const struct schedule *schedule);
/* When arrival `index` is meant to begin; not descending in index. INT64_MAX from schedule_count on. POISSON walks there from
 * the first arrival; whoever wants all of them uses a cursor. */
int64_t schedule_at(const struct schedule *schedule, uint64_t index);

/* Walks the arrivals in order, in constant time each (STEP: logarithmic in the steps), giving the very times of schedule_at. */
struct schedule_cursor {
    const struct schedule *schedule;
    uint64_t index; /* of the next one */
    int64_t at_ns;  /* its time; INT64_MAX at the end */
    double state;
};
void schedule_begin(struct schedule_cursor *cursor, const struct schedule *schedule);
void schedule_next(struct schedule_cursor *cursor);
/* The rate that is meant at a moment of the phase, a second. Bursts: their mean; a trace: what comes in the second from then on. */
double schedule_rate(const struct schedule *schedule, int64_t at_ns);

#endif
