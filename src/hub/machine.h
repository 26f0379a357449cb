/* machine.h - how much memory this process may use at most. Reads /proc and /sys; any thread. */
#ifndef SHOAL_HUB_MACHINE_H
#define SHOAL_HUB_MACHINE_H

#include <stdint.h>

/* Bytes: the least of the machine's memory, the limits of this process's cgroup and of those above it (v2 and v1), and
 * RLIMIT_AS. What cannot be read limits nothing. */
uint64_t machine_memory(void);

/* The same from files below `root` ("" in earnest). */
uint64_t machine_memory_below(const char *root);

#endif
