#include "hub/hub_clock.h"

void hub_clock_start(struct hub_clock *clock, int64_t wall_ns, int64_t boot_ns, int64_t newest_ns)
{
    clock->time_ns = wall_ns > newest_ns ? wall_ns : newest_ns;
    clock->boot_ns = boot_ns;
}

int64_t hub_clock_now(struct hub_clock *clock, int64_t wall_ns, int64_t boot_ns)
{
    int64_t passed_ns = boot_ns > clock->boot_ns ? boot_ns - clock->boot_ns : 0;
    int64_t half_ns = passed_ns / 2; /* rounded down: who asks every nanosecond does not stop it */
    int64_t earliest_ns = clock->time_ns + passed_ns - half_ns;
    int64_t latest_ns = clock->time_ns + passed_ns + half_ns;
    clock->boot_ns += passed_ns;
    clock->time_ns = wall_ns < earliest_ns ? earliest_ns : wall_ns > latest_ns ? latest_ns : wall_ns;
    return clock->time_ns;
}
