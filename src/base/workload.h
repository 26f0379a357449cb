/* workload.h - what is asked of a hub, as a small text: by whom, how often, into which queues, and what the work is like.
 *
 * The simulator reads it, and a load generator can: what is measured is then what is simulated. docs/simulator.md has the
 * grammar and examples. Pure, any thread. */
#ifndef SHOAL_BASE_WORKLOAD_H
#define SHOAL_BASE_WORKLOAD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"
#include "base/status.h"

#define WORKLOAD_NAME_SIZE 32
#define WORKLOAD_KINDS_MAX 8
#define WORKLOAD_QUEUES_MAX 8
#define WORKLOAD_KEYS_MAX 16
#define WORKLOAD_NODES_MAX 32
#define WORKLOAD_CLIENTS_MAX 256

struct workload_range { /* both ends belong to it */
    int64_t min, max;
};

struct workload_kind {
    char name[WORKLOAD_NAME_SIZE];
    uint32_t share;                       /* of the submits */
    struct workload_range work;           /* ns that an attempt takes */
    uint32_t fail_permille;               /* attempts that fail */
    struct workload_range input, result;  /* bytes */
    struct workload_range delay;          /* ns before it may start */
    int64_t lease_ms, timeout_ms, ttl_ms; /* 0: what the hub does without */
    uint32_t attempts;                    /* failed ones before it is dead */
    int64_t backoff_ms;                   /* after the first failure; twice as long after each */
};

struct workload_queue {
    char name[WORKLOAD_NAME_SIZE];
    uint32_t share;
    uint32_t keys; /* fairness keys; 0: none */
    struct workload_range priority;
};

struct workload_node {
    uint32_t slots;
    uint32_t kinds; /* bit i: kind i */
};

enum workload_op {
    WORKLOAD_SUBMIT,
    WORKLOAD_GET,
    WORKLOAD_CANCEL,
    WORKLOAD_RETRY,
    WORKLOAD_PAUSE, /* a queue, or its resumption */
    WORKLOAD_DRAIN, /* a node, or the end of it */
    WORKLOAD_OP_COUNT
};
const char *workload_op_name(enum workload_op op);

struct workload {
    uint32_t clients;
    struct workload_range think; /* ns between an answer and the client's next request */
    uint32_t open_max;           /* tasks under way past which clients only look */
    uint32_t keyless_permille;   /* submits without an idempotency key, which are not repeated */
    uint32_t unique_permille;    /* submits with one of a few unique keys */
    uint32_t mix[WORKLOAD_OP_COUNT];
    uint32_t kind_count, queue_count, node_count;
    struct workload_kind kinds[WORKLOAD_KINDS_MAX];
    struct workload_queue queues[WORKLOAD_QUEUES_MAX];
    struct workload_node nodes[WORKLOAD_NODES_MAX];
};

/* The workload without a file. */
void workload_default(struct workload *ret_workload);
/* Reads a text. INVALID: ret_why is a sentence with the line (of `why_size` bytes at most). */
STATUS_MUST_CHECK enum status workload_parse(struct slice text, struct workload *ret_workload, char *ret_why,
                                             size_t why_size);

#endif
