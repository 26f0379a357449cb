/* recovery.h - how long a fault went unnoticed, and how long until things were as before.
 *
 * Detected: the first request that failed, or session that was lost, after the fault. Recovered: the first right answer, after goodput fell,
 * from which on one second is as good as before: at least 90 % of the answers of an average second among the last five before the fault,
 * without a gap of more than 100 ms (or twice the longest there was). 0 when goodput never fell. The engine tells of
 * every answer; times are ns from the start of the run. */
#ifndef SHOAL_BENCH_RECOVERY_H
#define SHOAL_BENCH_RECOVERY_H

#include "bench/metrics.h"

struct recovery;

/* For runs with faults; takes 400 bytes a second. NULL without memory. */
struct recovery *recovery_new(void);
void recovery_answer(struct recovery *recovery, int64_t at_ns, bool is_ok); /* NULL recovery: nothing */
/* Sessions of simulated nodes that were lost count as noticing. */
void recovery_noticed(struct recovery *recovery, int64_t at_ns);
/* Fills in detected_ns and recovered_ns of all events with a fault, and frees. NULL recovery: nothing. */
void recovery_finish(struct recovery *recovery, struct bench_result *result);

#endif
