/* probe.h - a node proves its own sandbox before it offers work in one. */
#ifndef SHOAL_WORK_SANDBOX_PROBE_H
#define SHOAL_WORK_SANDBOX_PROBE_H

#include "base/buf.h"
#include "base/status.h"
#include "work/sandbox/sandbox.h"

/* Runs small attacks (attack.c) through the very path that work takes, and looks whether each limit bites. Blocks for
 * about a second. OK appends {"passed":12,"ms":800} to `facts`; else UNSUPPORTED_HOST and one sentence that names what did
 * not hold. */
STATUS_MUST_CHECK enum status sandbox_probe(struct sandbox_host *host, uv_loop_t *loop, struct buf *facts,
                                            struct buf *ret_why);

#endif
