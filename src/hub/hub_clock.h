/* hub_clock.h - the time that entries carry: the wall clock's, without its jumps.
 *
 * It runs with a clock that nobody sets and is pulled towards the wall clock, faster or slower by half at most: an hour
 * that somebody sets forward ends no lease before two thirds of its time, and an hour set back stops nothing
 * (docs/decisions/0006-time-of-entries.md). Pure: the clocks are handed in. */
#ifndef SHOAL_HUB_HUB_CLOCK_H
#define SHOAL_HUB_HUB_CLOCK_H

#include <stdint.h>

struct hub_clock {
    int64_t time_ns; /* last told */
    int64_t boot_ns; /* when */
};

/* Starts at the wall clock's time, or at the newest entry's when that is later. */
void hub_clock_start(struct hub_clock *clock, int64_t wall_ns, int64_t boot_ns, int64_t newest_ns);
/* What time it is. Never less than before. */
int64_t hub_clock_now(struct hub_clock *clock, int64_t wall_ns, int64_t boot_ns);

#endif
