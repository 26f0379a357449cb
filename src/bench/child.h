/* child.h - processes that do not outlive the run: started in a group of their own, on a disk of their own if need be.
 *
 * A keeper process watches over them all. It holds one end of a pipe; when the other end is gone, because the caller
 * ended in whatever way, it kills every group that is left. The calls are made by one thread, and block only until the
 * new program runs. */
#ifndef SHOAL_BENCH_CHILD_H
#define SHOAL_BENCH_CHILD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/status.h"

struct keeper {
    int pipe; /* -1: there is none */
    pid_t pid;
};
/* IO, NO_MEMORY. Forks: before threads are started. */
STATUS_MUST_CHECK enum status keeper_start(struct keeper *ret_keeper);
/* Kills the groups that are left, and ends the keeper. */
void keeper_stop(struct keeper *keeper);

/* A small file system of one process, that stays while it is down. */
struct child_disk {
    int user_ns, mount_ns; /* descriptors; -1: none */
    int dir;               /* the folder of that file system, seen from outside; -1: none */
};
struct child_spec {
    const char *const *args; /* args[0] is the program's path; ends with NULL */
    const char *log_path;    /* what it writes is appended here */
    uint64_t memory_bytes;   /* RLIMIT_DATA; 0: none */
    uint64_t disk_bytes;     /* 0: none; else a tmpfs is mounted over disk_dir, in a namespace of its own */
    const char *disk_dir;
};
/* Starts it. With disk_bytes, `disk` is filled in by the first start, and entered again by later ones. INVALID, PERMISSION,
 * IO: ret_why is a sentence without a full stop. */
STATUS_MUST_CHECK enum status child_start(const struct keeper *keeper, const struct child_spec *spec,
                                          struct child_disk *disk, pid_t *ret_pid, int *ret_pidfd, char *ret_why,
                                          size_t why_size);
/* After the process has ended (its pidfd is readable): its exit code or -1, and its signal or 0; kills what is left of its group. */
void child_reap(const struct keeper *keeper, pid_t pid, int *ret_code, int *ret_signal);
/* Sends a signal to its group. */
void child_signal(pid_t pid, int number);

void child_disk_init(struct child_disk *disk);
void child_disk_free(struct child_disk *disk);
/* Fills it with `bytes` (0: until it is full), and takes that back. */
STATUS_MUST_CHECK enum status child_disk_fill(const struct child_disk *disk, uint64_t bytes);
void child_disk_clear(const struct child_disk *disk);

#endif
