/* target.h - what a scenario starts, and what it does to it: processes, proxies, small disks.
 *
 * On the engine's loop; calls come from its thread only. */
#ifndef SHOAL_BENCH_TARGET_H
#define SHOAL_BENCH_TARGET_H

#include "bench/scenario.h"
#include "net/loop.h"

struct targets;

struct targets_callbacks {
    /* A started process ended without being told to: a run that loses its target says so. */
    void (*on_exit)(void *ctx, const char *name, int exit_code, int signal);
    /* A fault began (is_begin) or was taken back. */
    void (*on_fault)(void *ctx, const struct scenario_fault *fault, bool is_begin);
    const bool *is_interrupted; /* ends the wait for what starts; NULL: nothing does */
    void *ctx;
};

/* Starts hubs, proxies, then nodes, each on a free loopback port, and waits (running the loop) until they are ready. On failure
 * everything is stopped again and ret_why holds one sentence with the last lines that the process wrote. */
STATUS_MUST_CHECK enum status targets_start(struct loop *loop, const struct scenario *scenario, const char *program,
                                            const char *scratch, const struct targets_callbacks *callbacks,
                                            struct targets **ret_targets, char *ret_why, size_t why_size);
/* http://127.0.0.1:port of a hub, proxy or exec, "" being the first hub; NULL when there is none of that name. */
const char *targets_url(const struct targets *targets, const char *name);
/* Process id of a started process; 0: not running. Walk with index 0, 1, … until NULL. */
const char *targets_process(const struct targets *targets, uint32_t index, int *ret_pid);
/* Does what a fault says; it is taken back by itself after for_ns. The name of several nodes ("node" of node1, node2, …) means all of them. Kill and stop
 * with a duration start the process again, under its old port and with its data; restart stops it in order and starts it, or starts it when it is down.
 * INVALID, NOT_FOUND, FAILED with a sentence when it cannot be done. `fault` lives as long as the targets. */
STATUS_MUST_CHECK enum status targets_fault(struct targets *targets, const struct scenario_fault *fault, char *ret_why,
                                            size_t why_size);
/* Ends everything it started (SIGTERM, then SIGKILL after 5 s), running the loop, and frees. */
void targets_stop(struct targets *targets);

#endif
