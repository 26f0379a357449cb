/* process_tree.h - what a process and its descendants use, read from /proc; for machines without control groups. */
#ifndef SHOAL_WORK_SANDBOX_PROCESS_TREE_H
#define SHOAL_WORK_SANDBOX_PROCESS_TREE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct process_usage {
    int64_t cpu_us;       /* of the living, and of the dead they have waited for */
    int64_t memory_bytes; /* anonymous and shared memory in RAM and swap, without files */
    uint32_t count;
};

/* RAM that the files in a box take, the empty ones too, which only the kernel's memory knows; `init` is process 1 of the box.
 * 0 where it cannot be looked at, which takes root. */
int64_t process_tree_files(pid_t init);
/* Sums over `root` and all below it. */
void process_tree_usage(pid_t root, struct process_usage *ret_usage);
/* Processes whose real user is one of first … first + users - 1; sends each `signal` unless it is 0. Returns how many there
 * are. A zombie is no process here: it runs nothing and holds nothing, and how soon a machine's process 1 reaps one that
 * was left to it is not ours to say. */
uint32_t process_tree_of_users(uid_t first, uint32_t users, int signal);

#endif
