/* cgroup.h - control groups for sandboxes: version 2, version 1, or none at all.
 *
 * A node opens one host group at start and makes one child group for every sandbox. Where there are no usable control
 * groups the mode is CGROUP_NONE, every call here does nothing, and the supervisor polls /proc instead
 * (process_tree.h). The node's loop thread only; cgroup_join alone is for a forked child (it is async-signal-safe). */
#ifndef SHOAL_WORK_SANDBOX_CGROUP_H
#define SHOAL_WORK_SANDBOX_CGROUP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/status.h"

enum cgroup_mode { CGROUP_NONE, CGROUP_V1, CGROUP_V2 };

/* The controllers that version 1 keeps apart; version 2 uses index 0 for all. */
enum { CGROUP_MEMORY, CGROUP_PIDS, CGROUP_CPUACCT, CGROUP_CONTROLLERS };

struct cgroup_host {
    enum cgroup_mode mode;
    char path[CGROUP_CONTROLLERS][256]; /* of this node's own groups; "" where there is none */
    int lock_fd
        [CGROUP_CONTROLLERS]; /* held while the node lives: tells others that its groups are not stale; -1: none */
    uint64_t made;            /* groups made so far: the next one's name */
};

struct cgroup {
    const struct cgroup_host *host; /* NULL: none */
    char name[48];
    int join_fd[CGROUP_CONTROLLERS]; /* cgroup.procs, for the child; -1 */
};

/* Chooses the best mode this machine allows, or at most `best` (tests, SHOAL_CGROUP=none|v1|v2), and removes the
 * groups of nodes that are dead. Never fails; `ret_note` says why a better mode was not possible. */
void cgroup_host_open(struct cgroup_host *host, enum cgroup_mode best, struct buf *ret_note);
void cgroup_host_close(struct cgroup_host *host);
const char *cgroup_mode_name(enum cgroup_mode mode);

/* A fresh group with these limits. IO with the reason in errno. */
STATUS_MUST_CHECK enum status cgroup_make(struct cgroup_host *host, uint64_t memory_bytes, uint32_t pids_max,
                                          struct cgroup *ret_group);
/* Moves the calling process into the group; in the child between fork and exec. False on failure. */
bool cgroup_join(const struct cgroup *group);
/* Closes the descriptors that only the child needed. */
void cgroup_joined(struct cgroup *group);

/* What the group has used. 0 where unknown. */
int64_t cgroup_cpu_us(const struct cgroup *group);
int64_t cgroup_memory_peak_bytes(const struct cgroup *group);
/* Processes that the kernel killed because the group was out of memory. */
int64_t cgroup_oom_kills(const struct cgroup *group);
/* How often a process or thread was refused because the group had as many as it may. */
int64_t cgroup_procs_refused(const struct cgroup *group);
/* Sends SIGKILL to all that is inside; true when there was nobody left to kill. */
bool cgroup_kill(const struct cgroup *group);
/* Removes the group; false while the kernel still sees something inside (try again soon). */
bool cgroup_remove(struct cgroup *group);

#endif
