/* sandbox.h - runs one program in a box of its own and says how it ended.
 *
 * Every kind of work uses it. A box is made by bubblewrap: namespaces of its own for users, processes, network, IPC,
 * host name and mounts; the machine's runtime read-only; one tmpfs as the only writable place; no capabilities; an
 * allow-list of system calls; limits on time, memory, processes, output and files. docs/code-run.md has the whole
 * picture, sandbox.c the reasons.
 *
 * What the program sees: /tmp is the tmpfs, its working directory is /tmp/work (also /work), user and group 1000.
 *
 * Everything here belongs to the thread of the loop given to sandbox_host_open, and nothing blocks it. */
#ifndef SHOAL_WORK_SANDBOX_SANDBOX_H
#define SHOAL_WORK_SANDBOX_SANDBOX_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <uv.h>

#include "base/buf.h"
#include "base/slice.h"
#include "base/status.h"
#include "work/sandbox/cgroup.h"

#define SANDBOX_OUT_FD 9 /* where spec.out_fd is found inside */
#define SANDBOX_WORK_DIR "/tmp/work"
#define SANDBOX_FAULT_SIZE 512

/* --- the machine ----------------------------------------------------------------------------------------------- */

struct sandbox_host;

/* Looks at the machine: bubblewrap, control groups, user ids, filter. UNSUPPORTED_HOST with one sentence in `ret_why`.
 * Environment: SHOAL_CGROUP=none|v1|v2 bounds the choice, SHOAL_SLOT_UID_BASE moves the user ids. */
STATUS_MUST_CHECK enum status sandbox_host_open(uv_loop_t *loop, uint32_t slots, struct sandbox_host **ret_host,
                                                struct buf *ret_why);
/* No run may be in progress. */
void sandbox_host_close(struct sandbox_host *host);
/* From now on runs are watched on another loop. No run may be in progress. */
void sandbox_host_move(struct sandbox_host *host, uv_loop_t *loop);
uint32_t sandbox_host_slots(const struct sandbox_host *host);
/* Appends a JSON object with what was chosen and why. */
void sandbox_host_facts(const struct sandbox_host *host, struct buf *out);
enum cgroup_mode sandbox_host_cgroup_mode(const struct sandbox_host *host);
/* The user that a slot's processes have outside of the box; the node's own when it is not root. */
uid_t sandbox_host_slot_uid(const struct sandbox_host *host, uint32_t slot);
bool sandbox_host_is_root(const struct sandbox_host *host);

/* --- a run ----------------------------------------------------------------------------------------------------- */

struct sandbox_limits {
    int64_t cpu_ms; /* of all processes together */
    int64_t wall_ms;
    uint32_t mem_mib; /* RAM of all processes, with files written to the tmpfs */
    uint32_t procs;   /* processes and threads */
    uint32_t out_kib; /* stdout and stderr together */
    uint32_t fs_mib;  /* the tmpfs */
};

struct sandbox_file {
    const char *path;  /* absolute, inside; its directories are made */
    int fd;            /* the content, from its offset on (memfile.h); borrowed */
    bool is_read_only; /* bound read-only and not counted in fs_mib; else a writable copy */
    bool is_executable;
};

struct sandbox_spec {
    uint32_t slot;
    const char *const *argv;  /* argv[0] absolute, inside; ended by NULL */
    const char *const *env;   /* "NAME=value", added to PATH HOME TMPDIR LANG; ended by NULL; may be NULL */
    const char *const *binds; /* further paths of the machine to show read-only; ended by NULL; may be NULL */
    const struct sandbox_file *files;
    size_t file_count;
    int stdin_fd; /* the content, from its offset on; borrowed; -1: empty */
    /* Stdin is a pipe through which the content is sent, instead of a memory file: for one on disk, which the program must
     * neither find the name of nor be able to lock or change. */
    bool is_stdin_streamed;
    int out_fd; /* memory file the program may write at SANDBOX_OUT_FD; borrowed; -1: none */
    struct sandbox_limits limits;
};

enum sandbox_end {
    SANDBOX_EXITED,    /* `exit_code` */
    SANDBOX_SIGNALLED, /* `signal`, of its own doing */
    SANDBOX_TIME,      /* over cpu_ms or wall_ms */
    SANDBOX_MEMORY,
    SANDBOX_OUTPUT,
    SANDBOX_SECURITY, /* killed by the filter */
    SANDBOX_CANCELLED,
    SANDBOX_FAULT /* the machine's fault; `fault` says which */
};

struct sandbox_result {
    enum sandbox_end end;
    int exit_code;    /* -1 unless it exited by itself */
    int signal;       /* 0 unless a signal ended it */
    struct slice out; /* stdout and stderr, at most out_kib together */
    struct slice err;
    bool is_truncated;
    int64_t wall_ms;
    int64_t cpu_ms;
    int64_t peak_mib;
    int64_t procs_refused; /* how often the limit of processes was met; 0 where only RLIMIT_NPROC holds it */
    char fault[SANDBOX_FAULT_SIZE];
};

struct sandbox_run;
/* Called once, on the loop, when every process of the box is dead, its files are gone and its group is removed. The
 * result is borrowed. The run must not be used afterwards. */
typedef void sandbox_done(void *ctx, const struct sandbox_result *result);

/* Starts a run; what `spec` points to is not needed after the call. Errors are the machine's (IO, NO_MEMORY), never the
 * program's; `done` is then not called. */
STATUS_MUST_CHECK enum status sandbox_start(struct sandbox_host *host, const struct sandbox_spec *spec,
                                            sandbox_done *done, void *ctx, struct sandbox_run **ret_run);
/* Kills everything in it. `done` still comes, with SANDBOX_CANCELLED unless it had ended before. */
void sandbox_cancel(struct sandbox_run *run);

#endif
