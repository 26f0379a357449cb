/* sessions_internal.h - what sessions.c and workers.c share. Nobody else includes it. */
#ifndef SHOAL_HUB_SESSIONS_INTERNAL_H
#define SHOAL_HUB_SESSIONS_INTERNAL_H

#include "base/map.h"
#include "base/slab.h"
#include "hub/sessions.h"

#define SESSIONS_MAX (LIMIT_NODES * 2) /* a node may have a new connection while the old one is still closing */

/* What a session waits for. Each phase with a time has a list in the order of its ends, because its duration is fixed. */
enum session_phase {
    SESSION_NONE,      /* in no list */
    SESSION_GREETING,  /* connected, has not said hello */
    SESSION_HELLO,     /* its hello is on its way to disk; in no list */
    SESSION_LIVE,      /* heard of within suspect_ms */
    SESSION_SUSPECT,   /* not heard of within suspect_ms */
    SESSION_CLOSED,    /* its connection is gone; closed_grace_ms to come back */
    SESSION_RETURNING, /* the hub has restarted; lost_ms to come back */
    SESSION_WORKER,    /* over plain HTTP; LIMIT_WORKER_IDLE_MS to call again */
    SESSION_ENDING,    /* NODE_LOST is proposed; ends with EFFECT_SESSION; in no list */
    SESSION_PHASE_COUNT
};

struct worker; /* workers.c */

struct session {
    uint32_t magic;
    enum session_phase phase;
    struct sessions *sessions;
    struct ws_connection *ws; /* NULL: none */
    uint64_t session;         /* the core's number; 0: none yet, or no more */
    uint64_t instance;
    struct command_caller by; /* of its connection; of a worker: in each poll */
    int64_t due_ns;           /* of the phase, on the clock of sessions_now */
    uint32_t index;           /* in the slab */
    uint32_t next, before;    /* in the phase's list */
    uint32_t connection;      /* number of its connection, for answers that come late */
    bool drain, quiet;        /* as the node was told last */
    bool is_resuming;         /* the same process is saying hello on another connection */
    struct work_load load;
    struct worker *worker;  /* NULL: a node agent */
    uint8_t hello_name_len; /* N4; 0: no hello of it is under way */
    char hello_name[LIMIT_NAME_SIZE];
    char peer[SESSION_PEER_SIZE]; /* for people; empty: not known */
};

struct session_list {
    uint32_t head, tail; /* SLAB_NONE when empty */
    uint32_t count;
};

struct report_call;

enum bad_hello { BAD_HELLO_KEY, BAD_HELLO_NAME, BAD_HELLO_MESSAGE, BAD_HELLO_NONE, BAD_HELLO_COUNT };
struct bad_hello_log { /* one line a second of each kind: whoever wants to fill a disk has it to himself */
    bool is_said;
    int64_t said_ns;
    uint64_t untold; /* since then */
};

struct sessions {
    uint32_t magic;
    struct hub *hub;
    struct slab slab;
    struct map by_session; /* the core's number → index */
    struct map by_name;    /* workers: name → index */
    struct map by_hello;   /* hellos under way: name → index */
    struct session_list lists[SESSION_PHASE_COUNT];
    struct session_port port;
    bool is_ticking;
    int64_t clock_ns;     /* of sessions_now at the last tick */
    int64_t tick_mono_ns; /* when that was */
    uint32_t connection_number;
    struct report_call *free_reports;
    struct poll *checks;         /* polls to look at when the release is over */
    struct work_message message; /* the one being handled; large */
    struct buf scratch;          /* what it points to */
    struct buf out;              /* a message being written */
    struct buf refused;          /* struct work_refused of a report */
    struct buf said;             /* struct lease_token of the message being handled, as they came */
    bool has_keys;
    struct seal_key token_key, session_key; /* of the data directory's secret */
    uint32_t polls;                         /* live ones */
    struct sessions_stats stats;
    struct bad_hello_log bad_hellos[BAD_HELLO_COUNT];
};

/* Takes it out of list and maps and frees it. */
void session_free(struct session *session);
void session_set_phase(struct session *session, enum session_phase phase);
/* Names it by the core's number (0: by none). */
void session_set_number(struct session *session, uint64_t number);
struct session *session_find(const struct sessions *sessions, uint64_t number);
static inline struct session *session_at(const struct sessions *sessions, uint32_t index)
{
    return slab_at(&sessions->slab, index);
}
static inline int64_t sessions_mono_ns(const struct sessions *sessions)
{
    return sessions->port.mono_ns(sessions->port.ctx);
}
static inline void sessions_flush_soon(struct sessions *sessions)
{
    sessions->port.flush_soon(sessions->port.ctx);
}
/* The stretched clock of the phases, in nanoseconds. */
int64_t sessions_now(const struct sessions *sessions);
/* Derives the keys, once the data directory has its secret; nothing when they are there. */
void sessions_take_keys(struct sessions *sessions);
/* Proposes NODE_LOST. False: the hub is full; try again. */
bool session_propose_lost(struct session *session, enum lost_reason reason);

/* --- session_hello.c --- */
#define SESSION_DETAIL_SIZE 320
/* Whether this hello may have its name: OK, or NAME_TAKEN or SESSION_LOST with a sentence. */
enum status session_check_name(const struct sessions *sessions, const struct command_node_hello *hello,
                               char ret_detail[SESSION_DETAIL_SIZE]);
/* The hello of this record is under way: until its end the name is taken. False without memory. */
bool session_hello_begin(struct session *session, struct slice name);
void session_hello_end(struct session *session); /* nothing, when none is */
/* Counts it, and logs it unless one of its kind was logged within a second. `name` is a valid one or empty. */
void session_log_bad_hello(struct sessions *sessions, enum bad_hello kind, struct slice name, const char *peer,
                           const char *why);

/* --- workers.c --- */
/* The record of a worker; NULL when there is none. */
struct session *worker_find(const struct sessions *sessions, struct slice name);
/* Whether a worker waits for an answer, has called within suspect_ms, or holds leases: who works does not call. */
bool worker_is_there(const struct session *session);
/* A worker's session that the core has after a restart. */
enum status workers_adopt(struct sessions *sessions, const struct node_view *view);
/* A lease for a worker. */
void workers_on_lease(struct session *session, const struct effect_lease *lease);
/* The core ended its session. */
void workers_on_ended(struct session *session);
/* Its idle time is over: true when it was ended or goes on waiting, false when the hub is full. */
bool workers_on_idle(struct session *session);
/* After a release: polls that got something move on. */
void workers_on_released(struct sessions *sessions);
void workers_stop(struct sessions *sessions);
/* Frees what a worker's record owns. */
void worker_free(struct session *session);

#endif
