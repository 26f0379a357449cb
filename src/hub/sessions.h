/* sessions.h - who is connected: nodes over WebSocket, workers over plain HTTP.
 *
 * What the core knows of a session (leases, credit, flags) is the core's; here is what never enters the journal: the
 * connection, when it was last heard of, its load, the poll that waits. Loop's thread. hub.h has the rest of the
 * interface (sessions_new, _start, _free, the sinks). */
#ifndef SHOAL_HUB_SESSIONS_H
#define SHOAL_HUB_SESSIONS_H

#include "hub/hub.h"
#include "hub/routes.h"

/* --- the world, as a small table of functions --- */
#define SESSIONS_TICK_MS 100 /* a twenty-fifth of lost_ms; half of closed_grace_ms */
struct session;
struct poll; /* workers.c: a worker's request that is being answered */
struct session_port {
    /* A connection is whatever the table's maker says; nothing else looks inside. */
    void (*send)(struct ws_connection *ws, struct slice text);
    void (*close)(struct ws_connection *ws, uint16_t code, const char *reason);
    /* The record that messages of this connection go to; NULL: they go nowhere. */
    void (*set_user)(struct ws_connection *ws, struct session *user);
    /* A worker's request over plain HTTP is also whatever the table's maker says. workers_gone(poll) is due when its caller
     * is gone before the answer; answer and refuse end the request, and that with it. */
    void (*set_poll)(struct call *call, struct poll *poll);
    /* False: the caller has hung up, as far as can be seen without waiting. */
    bool (*is_there)(const struct call *call);
    struct buf *(*answer_begin)(struct call *call); /* where to write the body, empty */
    /* 200 with that body; `seq` is durable. */
    void (*answer)(struct call *call, uint64_t seq);
    void (*refuse)(struct call *call, enum status status, const char *detail);
    int64_t (*mono_ns)(void *ctx);
    void (*set_ticking)(void *ctx, bool is_on); /* sessions_tick every SESSIONS_TICK_MS, or no more */
    void (*flush_soon)(void *ctx);              /* sequencer_flush at the end of this turn */
    void (*end)(void *ctx);                     /* the sessions are freed */
    void *ctx;
};
/* sessions_new (hub.h) with another world than the loop and its WebSockets. */
STATUS_MUST_CHECK enum status sessions_make(struct hub *hub, const struct session_port *port,
                                            struct sessions **ret_sessions);
/* Called by the world. A record (zeroed, in no list; NULL at the maximum) is made before its connection is accepted. */
struct session *session_new(struct sessions *sessions);
/* `peer` is an address for people, cut to SESSION_PEER_SIZE - 1; empty when there is none to tell. */
#define SESSION_PEER_SIZE 64
void session_connected(struct session *session, struct ws_connection *ws, const char *peer);
void session_on_message(struct session *session, struct slice text, bool is_text);
void session_on_closed(struct session *session);
/* Whether its node is welcomed and heard of. */
bool session_is_live(const struct session *session);
void sessions_tick(struct sessions *sessions);

/* Answers every waiting poll and closes the nodes' connections with 1001, without ending their sessions. */
void sessions_stop(struct sessions *sessions);

/* --- workers over plain HTTP (workers.c); each answers the call, now or later --- */
#define WORKER_LEASES_MAX 1000 /* of one call */
/* POST /v1/leases: hello->credit leases at most. Fills in hello's instance. `shown`: the session that the caller showed, as
 * session_parse has read it; 0: none. */
void workers_poll(struct sessions *sessions, struct call *call, struct command_node_hello *hello, uint64_t shown,
                  int64_t wait_ms);
/* POST /v1/leases:report: `count` encoded outcomes (copied), `said` their tokens as they came (count of struct lease_token;
 * copied), and what was refused of the list (struct work_bad_outcome; copied); then up to `max` new leases. */
void workers_report(struct sessions *sessions, struct call *call, uint64_t session, uint32_t count,
                    struct slice outcomes, const struct lease_token *said, struct slice bad, uint32_t max,
                    int64_t wait_ms);
/* Puts the hub's seal on a token, once it has its keys. NULL is fine: no seal. */
void sessions_seal(struct sessions *sessions, struct lease_token *token);
/* What tells the hub's tokens from forged ones, for work_outcomes_decode; its `said` is emptied. Without keys all are forged. Until the next call. */
struct work_tokens sessions_tokens(struct sessions *sessions);
/* A worker's session as it is told: the number and its seal, "<13 digits>.<26 digits>". Whoever has that may act as the
 * worker, so that it is told to it alone. parse: false when it has not that form; the number is 0 when the seal is not ours. */
void session_write(struct sessions *sessions, struct buf *out, uint64_t session);
bool session_parse(struct sessions *sessions, struct slice text, uint64_t *ret_session);
/* The caller left before its answer: what is leased for it goes back. Ends the call (refuse). */
void workers_gone(struct poll *poll);

struct session_facts {
    bool is_suspect; /* not heard of for suspect_ms, or its connection is gone and its time not up yet */
    struct work_load load;
};
/* Of a live session of the core. */
void sessions_facts(const struct sessions *sessions, uint64_t session, struct session_facts *ret_facts);

struct sessions_stats {
    uint32_t connections; /* WebSockets, with or without a hello */
    uint32_t suspect;
    uint32_t workers;
    uint32_t polls; /* HTTP requests that wait for leases */
    uint64_t beats, reports, leases_pushed, lost_silent, lost_closed, bad_hellos;
};
void sessions_stats(const struct sessions *sessions, struct sessions_stats *ret_stats);

#endif
