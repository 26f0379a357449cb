/* sim.h - the whole of Shoal in one thread: hub, nodes, clients, disk and network, driven by one seed.
 *
 * What runs is the production code of core, journal, proto, sequencer and sessions; only the world around it is made up:
 * a clock that jumps to the next event, a disk in memory (disk_sim.h), connections that stall and break. The same options
 * give the same history, to the bit, on any machine and build. docs/simulator.md says how to use it. */
#ifndef SHOAL_SIM_SIM_H
#define SHOAL_SIM_SIM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"
#include "base/workload.h"

/* Sorts of faults; each has a stream of random numbers and a schedule of its own, so that switching one off leaves the
 * others where they were. */
enum sim_fault {
#define X(NAME, name, every_ms, sentence) SIM_FAULT_##NAME,
#include "sim/fault.def"
#undef X
    SIM_FAULT_COUNT
};
#define SIM_FAULTS_ALL ((1u << SIM_FAULT_COUNT) - 1)
const char *sim_fault_name(enum sim_fault fault);
const char *sim_fault_sentence(enum sim_fault fault);

/* What a history can be about; with more, most of a run would be spent on saying hello. */
#define SIM_NODES_MAX 32
#define SIM_CLIENTS_MAX 256

struct sim_options {
    uint64_t seed;
    uint64_t steps;      /* events before the faults heal */
    unsigned faults;     /* bits of enum sim_fault */
    uint32_t fault_rate; /* percent of the usual number of faults; 100 */
    const struct workload *workload;
};

struct sim_report {
    bool has_failed;
    bool is_liveness; /* what failed is that something did not happen */
    char rule[16];    /* the invariant: J1, T4, … */
    char why[512];
    uint64_t failed_step;
    uint64_t trace_hash;    /* of everything that happened */
    uint8_t state_hash[32]; /* of the core at the end */
    uint64_t steps, commands, entries, tasks, answers, crashes, recoveries, recovered_entries, snapshots, faults,
        checks, damages;
    int64_t virtual_ns;
    uint32_t life_count;
};

/* INVALID, with a sentence, for a workload that is larger than the above. */
STATUS_MUST_CHECK enum status sim_accepts(const struct workload *workload, char *ret_why, size_t why_size);
/* Runs one history. */
void sim_run(const struct sim_options *options, struct sim_report *ret_report);
/* After a run that failed: its last events as text, newest last. Owned by the simulator, valid until the next run. */
const char *sim_last_events(void);
/* Looks for a smaller history that fails by the same rule: fewer sorts of faults, fewer steps. Leaves the options as
 * they were when there is none. */
void sim_shrink(struct sim_options *options, const struct sim_report *report);

#endif
