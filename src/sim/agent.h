/* agent.h - a node that runs the production agent: what its simulated world (agent.c) and its shadow (shadow.c) share.
 * world.h has what the rest of the simulator calls. */
#ifndef SHOAL_SIM_AGENT_H
#define SHOAL_SIM_AGENT_H

#include "node/agent.h"
#include "sim/world.h"

/* One attempt in progress, made by the simulated launcher. */
struct work_run {
    struct sim_agent *sim;
    struct lease_token token;
    uint64_t op;
    uint64_t number; /* never used twice; events name it */
    uint32_t kind;   /* of the workload */
    uint32_t slot;
    int64_t started_ns, timeout_ms, lease_ms;
    int64_t said_ns;   /* when the hub was last told that it goes on */
    bool is_cancelled; /* the agent has asked for its end */
    bool is_dropped;   /* the hub has said that its lease is no more */
    bool is_stubborn;  /* cancelled, it comes to its own end all the same */
    void (*done)(void *ctx, const struct work_done *done);
    void *ctx;
};

struct sim_timer {
    int64_t due_ns;   /* INT64_MAX: off */
    int64_t event_ns; /* of the event that is posted; INT64_MAX: none */
    uint64_t number;  /* of that event */
};

struct sim_kind {
    struct sim_agent *sim;
    uint32_t kind; /* of the workload */
    struct launcher launcher;
};

struct late; /* agent.c */

struct sim_agent {
    struct world *world;
    uint32_t index; /* of the node */
    struct sim_node *node;
    struct agent *agent; /* NULL: the process is not there */
    struct sim_kind kinds[WORKLOAD_KINDS_MAX];
    struct agent_kind offers[WORKLOAD_KINDS_MAX];
    struct sim_timer timers[AGENT_TIMER_COUNT];
    uint64_t connection; /* number of the connection that the agent has; 0: none */
    bool is_closing;     /* the agent has closed it */
    bool wants_flush, has_flush_event;
    struct late *late; /* owned; what happened while the process stood still */
    size_t late_count, late_cap;
    bool has_thaw;
    struct work_run *runs[SIM_HELD_MAX]; /* owned; node->held_count of them */

    /* of the shadow */
    bool is_signalled;    /* the process was told to end */
    bool is_told_to_end;  /* by the hub */
    bool has_left;        /* it has said leave */
    uint32_t credit_open; /* granted on this connection and not used by a lease */
    int64_t heard_ns, welcome_ns, thawed_ns;
    struct {
        struct lease_token token;
        uint64_t op;
        int64_t lease_ms;
        bool is_there, is_taken;
    } lease; /* the one that is being delivered */
};

/* --- shadow.c: what the agent must be doing, known from what it was told and what it says --- */
/* A connection is open; it has said something (all of it, before the network has it); the connection is gone. */
void shadow_opened(struct sim_agent *sim);
void shadow_said(struct sim_agent *sim, struct slice text);
void shadow_closed(struct sim_agent *sim);
/* What the hub says, before the agent hears it and after. */
void shadow_hears(struct sim_agent *sim, const struct work_answer *said);
void shadow_heard(struct sim_agent *sim, const struct work_answer *said);
/* The agent starts a lease (checks that it may), cancels a run, is told the end of one or that it never began. */
void shadow_starts(struct sim_agent *sim, const struct lease_token *token, uint64_t op, uint32_t slot);
void shadow_cancels(struct sim_agent *sim, const struct work_run *run);
/* `result`: JSON of a success that the hub should take, or empty: a failure. */
void shadow_done(struct sim_agent *sim, const struct lease_token *token, uint64_t op, struct slice result);
/* A run is past its time_out by more than a little. */
void shadow_overdue(struct sim_agent *sim, const struct work_run *run);
void shadow_ended(struct sim_agent *sim, enum status status, const char *why, uint32_t runs_left);

#endif
