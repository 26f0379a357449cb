/* init.h - what process 1 of a sandbox (init.c) tells the supervisor, over an inherited socket. */
#ifndef SHOAL_WORK_SANDBOX_INIT_H
#define SHOAL_WORK_SANDBOX_INIT_H

#include "base/magic.h"
#include <stdint.h>

#define INIT_RECORD_FD 3
#define INIT_EXIT_BROKEN 125

enum init_record_type {
    INIT_STARTED = 1, /* the sandbox stands, the program is about to start */
    INIT_EXEC_FAILED, /* value: errno of execve */
    INIT_ENDED        /* value: wait status; and the numbers below */
};

struct init_record {
    uint32_t magic;
    uint32_t type;
    int32_t value;
    int32_t reserved;
    int64_t wall_ns;     /* from start to end of the program */
    int64_t cpu_us;      /* of it and of all descendants that were reaped */
    int64_t rss_max_kib; /* of the largest single process */
};

#endif
