/* agent.h - the node's side of the hub–node protocol: leases in, outcomes out, whatever happens to the connection.
 *
 * The agent keeps `slots` places, each of which runs one attempt through a launcher. It grants the hub exactly as much
 * credit as it has free slots, keeps every outcome until the hub has acknowledged it, and reconnects for as long as it
 * lives. Everything happens on the loop's thread. See agent.c for the states and invariants. */
#ifndef SHOAL_NODE_AGENT_H
#define SHOAL_NODE_AGENT_H

#include "proto/work.h"
#include "work/launcher.h"

#define AGENT_SLOTS_MAX 1024

struct agent;
struct loop;

struct agent_kind { /* an opened launcher */
    const struct launcher *launcher;
    void *state; /* from launcher->open */
};

struct agent_config {    /* copied by agent_start, except what pointers and slices name: that outlives the agent */
    const char *hub_url; /* http://HOST:PORT, without a path */
    struct slice name;
    struct slice key;  /* may be empty */
    uint32_t slots;    /* 1 .. AGENT_SLOTS_MAX */
    uint64_t instance; /* random, one for each process */
    uint64_t owner;    /* secret of the data directory; 0: none */
    uint64_t start;    /* rises with each process of one owner; 0: not known */
    struct requirement facts;
    struct slice info; /* JSON object */
    const struct agent_kind *kinds;
    uint32_t kind_count; /* <= LIMIT_KINDS_PER_NODE */
    int64_t drain_ms;    /* how long agent_drain waits for running work before it gives it back */
    int64_t connect_ms;  /* 0: the default, 2000 */
    /* Fills cpu_permille and memory_used_mib for a beat; may be NULL. */
    void (*sample_load)(void *ctx, struct work_load *ret_load);
    /* The hub has welcomed the node; again after each reconnect, with is_first false. May be NULL. */
    void (*on_welcome)(void *ctx, bool is_first);
    /* The hub has refused a hello, and the agent will try again: NAME_TAKEN, BUSY, … `detail` is a sentence without a full
     * stop, borrowed. May be NULL. */
    void (*on_refused)(void *ctx, enum status status, struct slice detail);
    /* The last call: nothing of the agent is left on the loop, agent_free may follow. OK after a drain; UNAUTHORIZED,
     * SESSION_LOST (another process took the name), CANCELLED (told to by the hub), UNREACHABLE (outcomes could not
     * be delivered), INTERRUPTED (agent_kill). `why` is one plain sentence. `runs_left`: runs that did not end in
     * time; then launchers must not be closed. */
    void (*on_ended)(void *ctx, enum status status, const char *why, uint32_t runs_left);
    void *ctx;
};

/* INVALID when hub_url is none that ws_client takes. Connecting itself is retried until it works. agent_net.c. */
STATUS_MUST_CHECK enum status agent_start(struct loop *loop, const struct agent_config *config,
                                          struct agent **ret_agent);
/* Takes nothing new, finishes what runs within drain_ms (then gives it back), reports, leaves. */
void agent_drain(struct agent *agent);
/* Stops what runs at once, gives it back if the hub can be told within two seconds, and ends. */
void agent_kill(struct agent *agent);
/* After on_ended. NULL is fine. */
void agent_free(struct agent *agent);

struct agent_stats {
    bool is_online; /* welcomed on the connection that is open now */
    bool is_draining;
    uint32_t running;
    uint32_t unreported; /* outcomes that the hub has not acknowledged */
    uint64_t succeeded, failed, released, dropped, connects;
};
void agent_stats(const struct agent *agent, struct agent_stats *ret_stats);

/* --- the world, as a small table of functions ---
 *
 * Time, timers and the one connection to the hub. agent_net.c has the real ones (a loop and ws_client), the simulator its
 * own. Nothing in the table calls back from inside a call. */
enum agent_timer {
    AGENT_TIMER_CONNECT, /* not connected: the next try; greeting: patience */
    AGENT_TIMER_BEAT,
    AGENT_TIMER_WORK, /* nearest due time of any job, and the deadlines of drain and end */
    AGENT_TIMER_COUNT
};
#define AGENT_TIMER_OFF (-1)
struct agent_port {
    int64_t (*mono_ns)(void *ctx);
    uint64_t (*random)(void *ctx); /* asked once, for the seed of the agent's own generator */
    /* agent_on_timer once, in `wait_ms`; it replaces what was set before. AGENT_TIMER_OFF: never. */
    void (*set_timer)(void *ctx, enum agent_timer timer, int64_t wait_ms);
    /* Dials the hub. After OK exactly one agent_on_closed comes, and before it agent_on_open if the hub answers within
     * `connect_ms`. Only one connection is there at a time. */
    enum status (*connect)(void *ctx, int64_t connect_ms);
    void (*send)(void *ctx, struct slice text); /* borrowed; dropped when the connection is not open */
    void (*close)(void *ctx);                   /* agent_on_closed follows; no message comes before it */
    void (*flush_soon)(void *ctx);              /* agent_on_flush before this turn ends; twice is the same as once */
    void (*end)(void *ctx);                     /* no call is to come any more but agent_on_ended, later */
    void (*free)(void *ctx);                    /* of agent_free */
    void *ctx;
};
/* agent_start in another world; dials at once. A status of the first `connect` ends it, else NO_MEMORY; then port->free
 * is not called. */
STATUS_MUST_CHECK enum status agent_make(const struct agent_config *config, const struct agent_port *port,
                                         struct agent **ret_agent);
/* Called by the world, never from inside a call of the table. `message` is JSON text, borrowed. */
void agent_on_open(struct agent *agent);
void agent_on_message(struct agent *agent, struct slice message);
void agent_on_closed(struct agent *agent, enum status status, const char *why);
void agent_on_timer(struct agent *agent, enum agent_timer timer);
void agent_on_flush(struct agent *agent);
void agent_on_ended(struct agent *agent); /* the agent may be freed inside */

#endif
