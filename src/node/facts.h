/* facts.h - what a node knows about its machine: cpu, memory, system, load. Linux. */
#ifndef SHOAL_NODE_FACTS_H
#define SHOAL_NODE_FACTS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"
#include "proto/work.h"

struct node_facts {
    uint32_t cpu_milli;  /* thousandths of cores that this process may use: affinity, then the quota of its groups */
    uint32_t memory_mib; /* of the machine, or the least limit of the groups around it (host_limits.h) */
    uint32_t core_count; /* cores online */
    char cpu_model[96];
    char os[96];      /* "Debian GNU/Linux 12 (bookworm)" */
    char kernel[96];  /* "6.1.0-18-amd64" */
    char machine[65]; /* "x86_64" */
    char hostname[65];
};

/* Reads everything that can be read; what cannot be read stays empty or 0. May block (files below /proc and /etc). */
void facts_read(struct node_facts *ret_facts);
/* Appends the facts as JSON members ("os":…,"cpu":{…}) without the outer braces. */
void facts_write(struct buf *out, const struct node_facts *facts);

/* Load between two samples. Zeroed before its first use; the first sample says 0. */
struct load_sampler {
    uint64_t busy, total; /* of the sample before, in clock ticks */
};
/* Fills cpu_permille and memory_used_mib. Two small reads of /proc. */
void load_sample(struct load_sampler *sampler, struct work_load *ret_load);

/* --- the parsers, for tests; each false when the text is not what it should be --- */

/* The first line of /proc/stat: "cpu  user nice system idle iowait irq softirq steal …". */
bool facts_parse_stat(struct slice text, uint64_t *ret_busy, uint64_t *ret_total);
/* A line of /proc/meminfo, "MemTotal:  16384 kB", in MiB. */
bool facts_parse_meminfo(struct slice text, const char *name, uint32_t *ret_mib);
/* The value of NAME=value or NAME="value" in /etc/os-release, cut to `size`. */
bool facts_parse_os_release(struct slice text, const char *name, char *ret, size_t size);

#endif
