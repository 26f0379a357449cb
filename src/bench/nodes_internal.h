/* nodes_internal.h - what nodes.c (sessions), node_work.c (leases) and node_ops.c (what became of each task) share. */
#ifndef SHOAL_BENCH_NODES_INTERNAL_H
#define SHOAL_BENCH_NODES_INTERNAL_H

#include "base/json.h"
#include "base/rng.h"
#include "bench/nodes.h"
#include "bench/scenario.h"
#include "net/ws_client.h"
#include "proto/work.h"

#define NODE_URL_SIZE 320

/* --- what became of each task (node_ops.c) --- */

enum op_flag {
    OP_ACCEPTED = 1,
    OP_LEASED = 2,
    OP_ENDED = 4, /* completed, or failed for good */
    OP_UNCERTAIN =
        8 /* an outcome was repeated after a reconnect and refused: it had been taken, or the lease was lost */
};
struct op {
    int64_t intended_ns;
    uint8_t flags;
    uint8_t phase;
    uint8_t completions;
};
#define OPS_CHUNK 65536u
#define OPS_CHUNKS_MAX 4096u /* 268 million tasks */
struct ops {
    struct op *chunks[OPS_CHUNKS_MAX]; /* owned */
    uint64_t count;                    /* the highest number that was sent, plus one */
    uint64_t open;                     /* accepted and not ended */
    uint64_t doubled;
    struct histogram *assign[SCENARIO_PHASES_MAX], *complete[SCENARIO_PHASES_MAX]; /* owned; NULL until used */
};
struct op *ops_at(struct ops *ops, uint64_t number); /* NULL when it is not one of ours */
void ops_sent(struct ops *ops, uint64_t first, uint64_t count, int64_t intended_ns, uint32_t phase);
void ops_accepted(struct ops *ops, uint64_t first, uint64_t count);
void ops_leased(struct ops *ops, uint64_t number, int64_t now_ns);
void ops_completed(struct ops *ops, uint64_t number, int64_t now_ns);
/* It failed so often that it will not be tried again. */
void ops_dead(struct ops *ops, uint64_t number);
void ops_uncertain(struct ops *ops, uint64_t number);
uint64_t ops_lost(const struct ops *ops);
void ops_free(struct ops *ops);

/* --- leases (node_work.c) --- */

enum job_state { JOB_RUNS, JOB_FINISHED, JOB_REPORTED };
struct sim_job {
    struct node_session *node;
    struct sim_job *next, **link; /* in node->jobs, oldest last; next: in nodes->free_jobs */
    struct lease_token token;
    uint64_t op;
    int64_t ends_ns, extend_ns;
    int64_t extend_every_ns;
    uint32_t report; /* number of the report that carried its outcome */
    uint8_t kind;
    enum job_state state;
    bool fails;
    bool is_repeated; /* its outcome was sent before, on a connection that broke */
    struct alarm alarm;
};

enum node_state { NODE_OFF, NODE_CONNECTS, NODE_GREETS, NODE_IS_ON };
struct node_session {
    uint32_t magic;
    uint32_t index;
    struct nodes *nodes;
    struct ws_client *client;
    enum node_state state;
    bool was_welcomed;
    bool has_failed; /* before the run began; it is not tried again */
    uint32_t slots, kinds;
    uint32_t job_count; /* all of them: running, or not yet acknowledged */
    uint32_t running;
    uint32_t credit_unsaid;
    uint32_t reports_sent, reports_answered;
    uint32_t backoff_ms;
    uint64_t instance;
    uint64_t done; /* tasks */
    int64_t dialled_ns, heard_ns;
    int64_t beat_ns, lost_ns;
    struct sim_job *jobs;
    struct alarm alarm; /* the next beat, or the next try to connect */
    struct loop_flush flush;
};

struct nodes {
    struct nodes_config config;
    char url[NODE_URL_SIZE];
    struct node_session *list; /* owned; count */
    uint32_t count;
    uint32_t dialled, dialling, welcomed, failed, clients;
    bool has_begun, is_closing;
    int64_t begin_ns;
    int64_t first_dial_ns;
    struct recovery *recovery;
    char why[256]; /* of the last session that failed */
    struct json_parser *parser;
    struct work_answer *answer;
    struct buf text, list_text;
    struct buf letters; /* results are cut from it */
    struct rng rng;
    struct sim_job *free_jobs;
    struct ops ops;
};

void node_take_lease(struct node_session *node, const struct work_lease *lease, int64_t now_ns);
void node_reported(struct node_session *node, const struct work_answer *answer, int64_t now_ns);
/* The lease is void: no outcome of it is wanted. */
void node_drop(struct node_session *node, const struct lease_token *token);
/* The connection is gone: what had been reported and not answered is said again later. */
void node_offline(struct node_session *node);
/* The connection is back. */
void node_online(struct node_session *node, int64_t now_ns);
/* Sends what has finished since. */
void node_flush(struct node_session *node);
void node_jobs_free(struct nodes *nodes);
void node_send(struct node_session *node);

#endif
