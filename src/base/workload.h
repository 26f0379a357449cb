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
#include "base/words.h"

#define WORKLOAD_NAME_SIZE 32
#define WORKLOAD_KINDS_MAX 8
#define WORKLOAD_QUEUES_MAX 8
#define WORKLOAD_KEYS_MAX 16
#define WORKLOAD_GROUPS_MAX 16
#define WORKLOAD_NODES_MAX 65536 /* as LIMIT_NODES; what reads a workload may take fewer */
#define WORKLOAD_CLIENTS_MAX 100000

struct workload_kind {
    char name[WORKLOAD_NAME_SIZE];
    uint32_t share;                       /* of the submits */
    struct words_range work;              /* ns that an attempt takes */
    uint32_t fail_permille;               /* attempts that fail */
    struct words_range input, result;     /* bytes */
    struct words_range delay;             /* ns before it may start */
    int64_t lease_ms, timeout_ms, ttl_ms; /* 0: what the hub does without */
    uint32_t attempts;                    /* failed ones before it is dead */
    int64_t backoff_ms;                   /* after the first failure; twice as long after each */
};

struct workload_queue {
    char name[WORKLOAD_NAME_SIZE];
    uint32_t share;
    uint32_t keys; /* fairness keys; 0: none */
    struct words_range priority;
};

struct workload_nodes { /* a group of like ones */
    uint32_t count;
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
    WORKLOAD_WAIT,  /* a look that waits for the end of the task (wait_ms) */
    WORKLOAD_OP_COUNT
};
const char *workload_op_name(enum workload_op op);

struct workload {
    uint32_t clients;
    struct words_range think;  /* ns between an answer and the client's next request */
    uint32_t open_max;         /* tasks under way past which clients only look */
    uint32_t keyless_permille; /* submits without an idempotency key, which are not repeated */
    uint32_t unique_permille;  /* submits with one of a few unique keys */
    uint32_t mix[WORKLOAD_OP_COUNT];
    uint32_t kind_count, queue_count, group_count, worker_group_count;
    uint32_t node_count, worker_count; /* of all groups */
    struct workload_kind kinds[WORKLOAD_KINDS_MAX];
    struct workload_queue queues[WORKLOAD_QUEUES_MAX];
    struct workload_nodes groups[WORKLOAD_GROUPS_MAX];
    struct workload_nodes worker_groups[WORKLOAD_GROUPS_MAX]; /* workers over plain HTTP */
};

/* The workload without a file. */
void workload_default(struct workload *ret_workload);
/* Reads a text that is a workload and nothing else, and checks it. INVALID: ret_why is a sentence that begins with "line L, column C: ". */
STATUS_MUST_CHECK enum status workload_parse(struct slice text, struct workload *ret_workload, char *ret_why,
                                             size_t why_size);

/* The same in pieces, for files in which a workload is a part: an empty one; a line of `words` read into it, where NOT_FOUND
 * says that its first word begins no statement of a workload (nothing is taken then); and whether what was read makes sense, with nodes
 * of its own that can do it if needs_nodes, which INVALID denies in a sentence. A workload without a queue has one of the name
 * "default" then. */
void workload_init(struct workload *ret_workload);
STATUS_MUST_CHECK enum status workload_statement(struct words *words, struct workload *workload);
STATUS_MUST_CHECK enum status workload_check(struct workload *workload, const struct words *words, bool needs_nodes);
/* The first words of statements, NULL at the end. */
extern const char *const workload_statements[];
/* The group of node `index`, which is below node_count; of worker `index`, below worker_count. */
const struct workload_nodes *workload_group(const struct workload *workload, uint32_t index);
const struct workload_nodes *workload_worker_group(const struct workload *workload, uint32_t index);

#endif
