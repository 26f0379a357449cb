/* host_limits.h - how much memory, how many processes and how much processor time this process may use: what the machine
 * has, or the least that any control group around it allows, of version 1 and of version 2. Blocking reads of small
 * files; any thread. */
#ifndef SHOAL_WORK_SANDBOX_HOST_LIMITS_H
#define SHOAL_WORK_SANDBOX_HOST_LIMITS_H

#include <stdint.h>

#include "base/buf.h"

struct host_limits {
    uint64_t memory_bytes;  /* 0: unknown */
    uint32_t procs;         /* processes and threads; 0: unknown */
    uint32_t cpu_milli;     /* thousandths of cores; 0: no quota */
    bool is_memory_grouped; /* a control group allows less than the machine has */
};

/* `root` is put before every path: "" for this machine, another for tests. */
void host_limits_read(const char *root, struct host_limits *ret_limits);

#endif
