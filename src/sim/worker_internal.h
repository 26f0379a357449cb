/* worker_internal.h - what worker.c (the workers themselves) and worker_hub.c (their calls at the hub, and what must hold) share.
 * Nobody else includes it. */
#ifndef SHOAL_SIM_WORKER_INTERNAL_H
#define SHOAL_SIM_WORKER_INTERNAL_H

#include "sim/world.h"

#define LANES 2
#define REPORT_MAX 8 /* outcomes of one call */
#define PROMISES_MAX 256

struct lane {
    uint64_t request; /* that is waited for; 0: free */
    uint32_t max;     /* leases that it may bring */
    bool is_report;
    int64_t pause_until_ns;
    int64_t last_arrival_ns[2]; /* by side */
};

struct promise { /* a lease that was released for the worker and is in no answer yet */
    struct lease_token token;
    int64_t at_ns;
};

struct sim_worker {
    char name[16];
    uint32_t slots, kinds;
    bool is_up;
    uint32_t life;
    uint64_t session; /* as the hub said; 0: none */
    int64_t frozen_until_ns;
    int64_t cut_until_ns[2]; /* by the side that hears nothing */
    struct lane lanes[LANES];
    uint32_t held_count, outbox_count;
    struct held held[SIM_HELD_MAX];
    struct outbox_item outbox[SIM_OUTBOX_MAX]; /* report: 1 + lane that it is in; 0: in none */
    uint32_t open_calls;                       /* at the hub */
    int64_t called_ns;                         /* when it had one last */
    struct promise promises[PROMISES_MAX];
    uint32_t promise_count;
};

/* A request at the hub: what hub/workers.c knows as its struct call. */
struct worker_call {
    struct world *world;
    struct poll *poll;
    struct worker_call *next, **link;
    uint32_t worker, lane, life;
    uint64_t request;
    bool is_hung_up;      /* and it can be seen */
    bool leaves_at_lease; /* hangs up when a lease is released for it */
    bool is_dead;         /* its hub is */
    uint32_t done_count;
    uint64_t done[REPORT_MAX]; /* tasks that it reports as done */
    struct buf body;
};

struct workers {
    struct sim_worker *list; /* owned */
    uint32_t count;
    struct worker_call *calls; /* at the hub */
    bool is_retired;           /* all work is done: nobody asks for more */
};

struct sent { /* on its way to the hub */
    uint64_t request;
    uint64_t session; /* 0: a poll */
    uint64_t shown;   /* the session that a poll shows; 0: none */
    uint32_t max, life;
    int64_t wait_ms;
    bool leaves_at_lease;
    uint32_t done_count;
    uint64_t done[REPORT_MAX];
    size_t len;
    char outcomes[]; /* JSON array */
};

struct told { /* on its way back */
    uint64_t request;
    enum status status;
    uint64_t versions[REPORT_MAX]; /* entries at which the tasks done became final */
    uint32_t done_count;
    uint64_t done[REPORT_MAX];
    size_t len;
    char body[];
};

static inline struct sim_worker *worker_at(struct world *world, uint64_t index)
{
    return &world->workers->list[index];
}

static inline uint32_t worker_number(const struct world *world, uint64_t index)
{
    return world->node_count + (uint32_t)index;
}

static inline bool is_frozen(const struct world *world, const struct sim_worker *worker)
{
    return worker->frozen_until_ns > world->now_ns;
}
/* How long until something that a lane sends now arrives at side `to`. */
int64_t worker_arrival_after(struct world *world, const struct sim_worker *worker, struct lane *lane, enum side to);
/* Events. A request arrives (a: worker, b: lane, owned: struct sent); the hang-up of one does (a: its number); an answer does
 * (a: worker, b: lane, owned: struct told). */
void worker_on_sent(struct world *world, const struct event *event);
void worker_on_end(struct world *world, const struct event *event);
void worker_on_told(struct world *world, const struct event *event);
/* The lane has hung up in the moment of a lease: what went out with it is said again once the hub's event is over. */
void worker_left_at_lease(struct world *world, uint32_t index, uint32_t number);

#endif
