/* clock.h - what time it is. The one place that asks the machine; core, proto and journal never include it. */
#ifndef SHOAL_BASE_CLOCK_H
#define SHOAL_BASE_CLOCK_H

#include <stdint.h>

#define NS_PER_US INT64_C(1000)
#define NS_PER_MS INT64_C(1000000)
#define NS_PER_S INT64_C(1000000000)

/* Nanoseconds since 1970-01-01 UTC. May jump. */
int64_t clock_wall_ns(void);
/* Nanoseconds since some fixed moment. Never goes back. */
int64_t clock_mono_ns(void);
/* The same, but counts the time that the machine was asleep. */
int64_t clock_boot_ns(void);
/* Nanoseconds of processor time that this process has used: figures made of it hold on a machine that others use too. */
int64_t clock_cpu_ns(void);

#endif
