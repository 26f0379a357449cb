/* effect.h - what applying commands causes outside of the core.
 *
 * core_apply appends effects to a buffer; the sequencer holds the buffer until the entry is durable and then walks it.
 * An effect is self-contained: the core may have moved on when it is released. Encoded little-endian, type and length
 * first; slices of a decoded effect point into the buffer. */
#ifndef SHOAL_CORE_EFFECT_H
#define SHOAL_CORE_EFFECT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/status.h"
#include "proto/command.h"
#include "proto/work.h"

enum task_state {
    TASK_SCHEDULED,
    TASK_BLOCKED,
    TASK_READY,
    TASK_LEASED,
    TASK_VALIDATING,
    TASK_SUCCEEDED,
    TASK_DEAD,
    TASK_CANCELLED,
    TASK_EXPIRED,
    TASK_STATE_COUNT
};
const char *task_state_name(enum task_state state);
bool task_state_from_name(struct slice name, enum task_state *ret_state);
static inline bool task_state_is_final(enum task_state state)
{
    return state >= TASK_SUCCEEDED;
}

enum attempt_outcome {
    ATTEMPT_RUNNING,
    ATTEMPT_SUCCEEDED,
    ATTEMPT_FAILED,
    ATTEMPT_LOST,      /* its node was lost */
    ATTEMPT_EXPIRED,   /* its lease ended */
    ATTEMPT_TIMED_OUT, /* timeout_ms passed */
    ATTEMPT_RELEASED,  /* given back by the node */
    ATTEMPT_CANCELLED
};
const char *attempt_outcome_name(enum attempt_outcome outcome);

enum effect_type {
    EFFECT_REPLY = 1, /* exactly one for each command of the entry, in order */
    EFFECT_LEASE,     /* push this lease to the session */
    EFFECT_STOP,      /* tell the session to stop working on a token */
    EFFECT_SESSION,   /* a session ended, or its node's drain/quiet flags changed: tell the connection */
    EFFECT_TASK,      /* a task changed state: for waiters and streams */
    EFFECT_FINISHED   /* a task became final: a row for history */
};

struct effect_reply {
    uint32_t ordinal; /* of the command inside its entry */
    enum command_type command;
    enum status status;
    uint64_t task_id;      /* SUBMIT, CANCEL, RETRY: the task (of a duplicate: the first one) */
    enum task_state state; /* of that task, after the command */
    bool is_duplicate;     /* SUBMIT: nothing new was made (same idempotency or unique key) */
    uint64_t session;      /* NODE_HELLO */
    bool is_resumed;       /* NODE_HELLO: a live session of the same instance went on */
    uint32_t count;        /* COLLECT: what went. With TABLE_FULL and TABLE_SHARE: the enum core_table */
    struct slice
        refused; /* NODE_REPORT, NODE_HELLO: encoded (u32 ordinal, u8 status) of refused outcomes or held tokens */
};
/* Walks effect_reply.refused: false at the end. */
bool effect_refused_next(struct reader *reader, uint32_t *ret_ordinal, enum status *ret_status);

struct effect_lease {
    uint64_t session;
    struct work_lease_offer offer;
};

enum stop_reason { STOP_CANCELLED = 1, STOP_LOST, STOP_TIMED_OUT, STOP_EXPIRED };
struct effect_stop {
    uint64_t session;
    struct lease_token token;
    enum stop_reason reason;
};

struct effect_session {
    uint64_t session;
    bool has_ended;
    enum lost_reason reason; /* when it has ended */
    bool drain;
    bool quiet;
};

struct effect_task {
    uint64_t task_id;
    enum task_state state;
};

/* Everything history keeps of a task, so that an answer about it is the same as from memory. */
struct effect_finished {
    uint64_t task_id;
    enum task_state state;
    int64_t created_ns;
    int64_t finished_ns;
    struct slice queue;
    struct slice kind;
    struct slice error_kind; /* of the last error; empty: none */
    uint64_t retry_of;       /* the task of history that this one was another try of; 0: none */
    struct slice row;        /* the task record in the encoding of task_view_put (core.h), attempts included */
};

struct effect {
    enum effect_type type;
    union {
        struct effect_reply reply;
        struct effect_lease lease;
        struct effect_stop stop;
        struct effect_session session;
        struct effect_task task;
        struct effect_finished finished;
    } as;
};

void effect_put_reply(struct buf *out, const struct effect_reply *reply);
void effect_put_lease(struct buf *out, const struct effect_lease *lease);
void effect_put_stop(struct buf *out, const struct effect_stop *stop);
void effect_put_session(struct buf *out, const struct effect_session *session);
void effect_put_task(struct buf *out, const struct effect_task *task);
void effect_put_finished(struct buf *out, const struct effect_finished *finished);
/* The next effect of a buffer; false at the end. The bytes are our own: a malformed one is a bug. */
bool effect_next(struct reader *reader, struct effect *ret_effect);

#endif
