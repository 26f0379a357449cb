/* sandbox_internal.h - what sandbox_host.c, sandbox_spawn.c and sandbox.c share; nobody else includes it. */
#ifndef SHOAL_WORK_SANDBOX_SANDBOX_INTERNAL_H
#define SHOAL_WORK_SANDBOX_SANDBOX_INTERNAL_H

#include "work/sandbox/sandbox.h"
#include "work/sandbox/sandbox_view.h"

#define SANDBOX_UID_INSIDE 1000
#define SANDBOX_SYSTEM_PATHS_MAX 48

struct sandbox_host {
    uint32_t magic;
    uv_loop_t *loop;
    uint32_t slots;
    uint32_t cpus;
    uint32_t runs; /* in progress */
    char bwrap_path[256];
    char bwrap_version[64];
    struct cgroup_host cgroups;
    struct buf cgroup_note; /* why no better mode */
    bool is_root;
    bool has_view; /* each box sees the system through inodes of its own */
    struct sandbox_view view;
    uid_t uid_base;  /* slot n is uid_base + n; with !is_root the node's own */
    int uid_lock_fd; /* abstract socket that keeps the range ours on this machine */
    int filter_fd;   /* memory file: seccomp program */
    int init_fd;     /* memory file: the static init */
    int passwd_fd;
    int group_fd;
    /* bwrap arguments of the read-only system, made once */
    char *system_args[SANDBOX_SYSTEM_PATHS_MAX * 3];
    size_t system_arg_count;
};

/* The bytes of the static init, embedded by the build. */
extern const unsigned char sandbox_init_image[];
extern const size_t sandbox_init_image_size;

/* What a child needs, prepared before the fork so that nothing between fork and exec allocates. */
struct sandbox_child {
    pid_t pid;
    int pid_fd; /* of bwrap */
    int out_fd; /* our ends, non-blocking */
    int err_fd;
    int record_fd;
    int in_fd; /* of a streamed stdin, non-blocking; else -1 */
};
/* Forks and executes bwrap. On failure errno tells and nothing is left behind. */
STATUS_MUST_CHECK enum status sandbox_spawn(struct sandbox_host *host, const struct sandbox_spec *spec,
                                            struct cgroup *group, struct sandbox_child *ret_child);

#endif
