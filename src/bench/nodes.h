/* nodes.h - simulated nodes: thousands of real sessions of the hub-node protocol in one process.
 *
 * Each is a WebSocket with a hello, credit, beats, leases and reports, and its work is waiting: as long as the workload's kind says.
 * The hub cannot tell it from a node that computes. What they see is half of the measuring: when a lease came, when its outcome was
 * accepted, and whether every accepted task was completed exactly once. The loop's thread only. A NULL struct nodes (a
 * scenario without a workload) has nothing to do and does it. */
#ifndef SHOAL_BENCH_NODES_H
#define SHOAL_BENCH_NODES_H

#include "base/workload.h"
#include "bench/metrics.h"
#include "bench/recovery.h"
#include "net/alarm.h"
#include "net/http_client.h"
#include "net/loop.h"

struct nodes;

struct nodes_config {
    struct loop *loop;
    struct alarms *alarms;
    const char *url; /* of the hub; these three outlive the nodes */
    struct http_origin *origin;
    const struct workload *workload;
    uint64_t seed;
    struct bench_result *result; /* sessions and the like are written there */
};
/* Makes the workload's kinds and queues known to the hub and opens all sessions, running the loop until each is welcome or has failed; gives up
 * early when *is_interrupted becomes true. UNREACHABLE, BUSY, …: ret_why is a sentence; nothing is left but what nodes_close and
 * nodes_free take (ret_nodes is written in any case but NO_MEMORY). */
STATUS_MUST_CHECK enum status nodes_open(const struct nodes_config *config, const bool *is_interrupted,
                                         struct nodes **ret_nodes, char *ret_why, size_t why_size);
/* The run begins: sessions that end from now on are lost ones, and are told to `recovery` (may be NULL). */
void nodes_begin(struct nodes *nodes, int64_t begin_ns, struct recovery *recovery);

/* Tasks first_op … first_op + count - 1 are on their way to the hub, meant to be sent at intended_ns, in a phase of the scenario. */
void nodes_sent(struct nodes *nodes, uint64_t first_op, uint64_t count, int64_t intended_ns, uint32_t phase);
/* The hub has promised to do them. */
void nodes_accepted(struct nodes *nodes, uint64_t first_op, uint64_t count);
/* Whether every accepted task has ended. */
bool nodes_are_settled(const struct nodes *nodes);
/* What the tasks of a phase took; NULL when none of them came to a node. */
const struct histogram *nodes_assign(const struct nodes *nodes, uint32_t phase);
const struct histogram *nodes_complete(const struct nodes *nodes, uint32_t phase);
/* Lost and doubled tasks, evenness, into the result. */
void nodes_finish(struct nodes *nodes);

/* Ends all sessions; the loop has to run until nodes_are_closed. */
void nodes_close(struct nodes *nodes);
bool nodes_are_closed(const struct nodes *nodes);
void nodes_free(struct nodes *nodes);

#endif
