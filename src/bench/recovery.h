/* recovery.h - how long a fault went unnoticed, and how long until things were as before.
 *
 * Detected: the first request that failed, or session that was lost, after the fault. Recovered: the first successful answer after the
 * fault (after its detection, when it was detected) from which on one second brings at least 90 % of the goodput of
 * the seconds before the fault (up to five of them). The engine tells of every answer; times are ns from the start of the run. */
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
