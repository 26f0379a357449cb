/* sampler.h - once a second: what processes and the machine use, and what the target says of itself.
 *
 * Linux: /proc/PID/{stat,status,io,fd,net/dev}, /proc/stat, /proc/meminfo, /proc/diskstats. The readings themselves are small
 * synchronous reads (about 50 us a process); /metrics is fetched over its own connection. */
#ifndef SHOAL_BENCH_SAMPLER_H
#define SHOAL_BENCH_SAMPLER_H

#include "bench/metrics.h"
#include "net/loop.h"

struct sampler;

/* Also samples the calling process as "generator" and the machine as "machine". metrics_url: base URL of a Prometheus text page at
 * /metrics, or NULL. Results are written into `result` (processes, samples, scrapes), which outlives the sampler. */
STATUS_MUST_CHECK enum status sampler_new(struct loop *loop, struct bench_result *result, const char *metrics_url,
                                          struct sampler **ret_sampler);
/* From the next second on; a name that was there before (a restarted process) goes on under it. */
void sampler_watch(struct sampler *sampler, const char *name, int pid);
/* Takes one reading of everything; the engine calls it each second with the second's number. */
void sampler_tick(struct sampler *sampler, uint32_t second);
/* Means, peaks and leak slopes into result->processes; frees. */
void sampler_finish(struct sampler *sampler);

#endif
