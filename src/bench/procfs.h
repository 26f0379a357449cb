/* procfs.h - what Linux tells of processes and of the machine. The parsers are pure; text may be anything. */
#ifndef SHOAL_BENCH_PROCFS_H
#define SHOAL_BENCH_PROCFS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

struct procfs_process {
    uint64_t cpu_ticks; /* user and system, of its threads */
    uint64_t threads;
    uint64_t memory_pages; /* resident */
};
struct procfs_machine {
    uint64_t busy_ticks; /* of all processors */
    uint64_t memory_used_bytes;
    uint64_t disk_read_bytes, disk_written_bytes;
    uint64_t net_in_bytes, net_out_bytes; /* of all devices, loopback included */
};

bool procfs_parse_process(struct slice stat, struct procfs_process *ret);
bool procfs_parse_io(struct slice io, uint64_t *ret_read_bytes, uint64_t *ret_written_bytes);
/* Each fills in its part of *ret. */
bool procfs_parse_cpu(struct slice stat, struct procfs_machine *ret);
bool procfs_parse_memory(struct slice meminfo, struct procfs_machine *ret);
bool procfs_parse_disks(struct slice diskstats,
                        struct procfs_machine *ret); /* whole disks; no partitions, loops or memory */
bool procfs_parse_net(struct slice net_dev, struct procfs_machine *ret);

/* Readings; false when the process is gone. What may not be read counts as 0. */
struct procfs_reading {
    struct procfs_process process;
    uint64_t read_bytes, written_bytes, descriptors;
};
bool procfs_read_process(int pid, struct procfs_reading *ret);
void procfs_read_machine(struct procfs_machine *ret);

#endif
