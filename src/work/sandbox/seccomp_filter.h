/* seccomp_filter.h - which system calls a sandboxed program may make. */
#ifndef SHOAL_WORK_SANDBOX_SECCOMP_FILTER_H
#define SHOAL_WORK_SANDBOX_SECCOMP_FILTER_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/status.h"

/* Writes the filter, as the kernel's BPF program that `bwrap --seccomp` reads, to a fresh memory file.
 * `allows_unmapped`: memory files, System V shared memory and message queues too, which hold memory that only a control
 * group sees. UNSUPPORTED_HOST with one sentence in `ret_why`. */
STATUS_MUST_CHECK enum status seccomp_filter_make(bool allows_unmapped, int *ret_fd, struct buf *ret_why);

#endif
