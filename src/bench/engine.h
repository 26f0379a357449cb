/* engine.h - runs a scenario: the clock, the users, the connections and the measuring.
 *
 * One loop thread sends and receives; everything that is sampled or reported hangs on the same loop's timers. Latency
 * is counted from the moment a request was *meant* to be sent, so that a target that stalls does not hide the requests that would have
 * come meanwhile (coordinated omission); service time, from the real send, stands beside it. A request that times out counts with the
 * time that it was waited for; one that fails is counted, but in no histogram.
 *
 * One thread asks for 90,000 small answers a second of its processor time (bench/efficiency.sh, against wrk). Arrivals of the
 * open model leave within about 50 us of their time on an idle machine. A time-out counts from the intended send. */
#ifndef SHOAL_BENCH_ENGINE_H
#define SHOAL_BENCH_ENGINE_H

#include "bench/metrics.h"
#include "bench/scenario.h"

struct bench_progress { /* for the live view and --json progress; valid during the call */
    const struct scenario *scenario;
    int64_t at_ns, planned_ns; /* planned_ns 0: not known */
    const char *phase;         /* names of those that run, with commas */
    const struct bench_second *seconds;
    uint32_t second_count;
    const struct bench_counts *total;
    double hub_cpu_percent, generator_cpu_percent;
    uint64_t hub_memory_bytes;
};
struct bench_options {
    const char *program; /* the shoal binary that `start hub` and `start node` run */
    const char *scratch; /* folder for data of what is started; made and removed by the caller */
    double time_scale;   /* durations of phases are multiplied by it; 1 */
    void (*on_progress)(void *ctx, const struct bench_progress *progress); /* once a second; may be NULL */
    void *ctx;
    bool keeps_going_on_interrupt; /* SIGINT is the caller's business */
};

/* Runs it to its end. Whatever happens to the target is in the result, not a status. INTERRUPTED: SIGINT, SIGTERM or SIGHUP came; the
 * result holds what there was. FAILED, UNREACHABLE, …: nothing could be run, and ret_why says why in one sentence. */
STATUS_MUST_CHECK enum status bench_run(const struct scenario *scenario, const struct bench_options *options,
                                        struct bench_result *ret_result, char *ret_why, size_t why_size);

#endif
