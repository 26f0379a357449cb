/* core.h - the deterministic state machine: tasks, queues, leases, nodes.
 *
 * core_apply is a pure function of state and entry: no clock, no random, no floats, no I/O, no iteration over unordered
 * containers, no pointer values in outcomes. Time is the entry's time. A refused command is an outcome (a reply with a
 * status), never a failure of apply. The same entries give the same state hash, on any machine and build.
 *
 * One thread owns a core. Views that reads return point into its memory and die with the next core_apply.
 *
 * Invariants, verified by core_check():
 *  T1 an accepted task is in exactly one state, and in exactly the structures of that state
 *  T2 at most one live lease per task
 *  T3 a task succeeds at most once
 *  T4 no accepted task is ever lost: accepted = live + evicted to history
 *  T5 counters equal a recount
 *  T6 with work ready and a capable node with credit, a lease is granted in the same entry
 *  T7 fairness keys with work share within one quantum
 *  V1, V2 the index that answers filtered lists equals a recount (roll.c)
 *  C1 what is counted against a caller is what it has made and is still there */
#ifndef SHOAL_CORE_CORE_H
#define SHOAL_CORE_CORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/hash.h"
#include "base/status.h"
#include "core/effect.h"
#include "proto/command.h"

struct core;

struct core_entry {
    uint64_t seq;    /* 1, 2, 3, … */
    int64_t time_ns; /* since 1970 UTC; never less than the entry's before */
    struct slice body;
};

/* An empty core with the limits of limits.h; knows the queue "default". NULL without memory. */
struct core *core_new(void);
void core_free(struct core *core);
/* Applies the next entry (seq must be core_seq() + 1) and appends its effects. CORRUPT when the body cannot be decoded:
 * then nothing of it was applied, but seq advanced. TOO_NEW when a newer Shoal made it (entry_explain says why): nothing
 * changed, not even seq, and the caller can only end. When the effects do not fit into their buffer, it says so
 * (buf_status); the state has moved on all the same, and the caller ends the process. */
STATUS_MUST_CHECK enum status core_apply(struct core *core, const struct core_entry *entry, struct buf *effects);
/* Sequence number of the last entry applied; 0 for an empty core. And its time. */
uint64_t core_seq(const struct core *core);
int64_t core_time_ns(const struct core *core);
/* When time alone will change something next; INT64_MAX for never. It can lie in the past: one entry does a bounded
 * amount of what is due, and the next entry goes on. */
int64_t core_next_deadline_ns(const struct core *core);
/* Steps of loops over nodes, signatures, slots and keys that this process has made for it: a measure of cost that no
 * clock disturbs. Not part of the state. */
uint64_t core_steps(const struct core *core);
/* Verifies the invariants in O(state). NULL when they hold, else a sentence that names the first that does not. */
const char *core_check(struct core *core);
/* SHA-256 of the canonical state. O(state). */
void core_hash(const struct core *core, uint8_t ret_digest[SHA256_SIZE]);
/* XXH3 of the same: an eighth of the work, for those who compare states of one process and trust them. O(state). */
uint64_t core_fingerprint(const struct core *core);
/* Writes the canonical state through `write` (false stops: IO), or reads one that core_save wrote: CORRUPT when it is
 * not one. A loaded core behaves, byte for byte, as the saved one would have. */
STATUS_MUST_CHECK enum status core_save(const struct core *core, bool (*write)(void *ctx, const void *data, size_t len),
                                        void *ctx);
STATUS_MUST_CHECK enum status core_load(struct slice state, struct core **ret_core);
/* The same. TOO_NEW when a newer Shoal wrote it. `why`, which may be NULL, gets half a sentence for people ("it was …"). */
STATUS_MUST_CHECK enum status core_load_why(struct slice state, struct core **ret_core, struct buf *why);
/* Whether a sound state is in the format that core_save writes: only then is its digest the core_hash of what it loads. */
bool core_state_is_current(struct slice state);

/* The data directory's secret, COMMAND_SECRET_SIZE bytes, in the core; empty while it has none. Keys are derived of it
 * (seal_key_derive); it is never shown. */
struct slice core_secret(const struct core *core);

/* --- reads --- */

#define ATTEMPT_VIEW_MAX LIMIT_ATTEMPTS_KEPT

struct attempt_view {
    uint32_t attempt;
    enum attempt_outcome outcome;
    struct slice node;
    int64_t started_ns;
    int64_t ended_ns; /* 0 while running */
    struct slice error_kind;
    struct slice message;
};

struct task_view {
    uint64_t task_id;
    enum task_state state;
    uint64_t changed_seq; /* entry that touched it last: an answer waits until that one is durable */
    struct slice queue, kind, fairness_key, unique_key, traceparent;
    uint8_t priority;
    uint32_t weight;
    int64_t created_ns, run_at_ns, started_ns, finished_ns; /* 0: not yet */
    int64_t expires_ns;                                     /* end of ttl; 0: none */
    int64_t timeout_ms, lease_ms, ttl_ms;
    uint64_t retry_of; /* the task that this one is another try of; 0: none */
    enum unique_mode unique_mode;
    uint32_t attempts, attempts_failed, attempts_lost;
    uint32_t deaths;    /* nodes that died while it ran; not in a row */
    bool is_unservable; /* it waits, and no node with a session could run it; not in a row */
    struct requirement requirement;
    struct retry_policy retry;
    struct slice input;
    struct slice result;                                  /* JSON; empty unless succeeded */
    struct slice checkpoint;                              /* JSON; empty when none */
    struct slice error_kind, error_message, error_detail; /* of the last failed attempt; or why it was cancelled */
    uint16_t progress_permille;
    struct slice progress_note;
    /* while leased */
    struct slice node;
    struct lease_token token;
    int64_t lease_expires_ns;
    uint32_t attempt_count; /* entries in attempt[], the newest ones, oldest first */
    struct attempt_view attempt[ATTEMPT_VIEW_MAX];
};
/* The whole view as bytes (history rows) and back; slices of a decoded view point into `row`. */
void task_view_put(struct buf *out, const struct task_view *view);
STATUS_MUST_CHECK enum status task_view_get(struct slice row, struct task_view *ret_view);

/* The idempotency key under which another try of a task of history is submitted, so that there is one; no client's key can
 * be it. And the task that was submitted so; 0: none, or too long ago (LIMIT_IDEMPOTENCY_MS). */
#define RETRY_KEY_SIZE 17
struct slice core_retry_key(uint64_t task_id, char ret[RETRY_KEY_SIZE]);
uint64_t core_retried_as(const struct core *core, uint64_t task_id);

/* NOT_FOUND when the id is not in memory (it may be in history). */
STATUS_MUST_CHECK enum status core_task_get(const struct core *core, uint64_t task_id, struct task_view *ret_view);
/* Error kind of a task that is dead because nodes died while it ran. Its retry is alone on its node. */
#define POISON "poison"
/* Which tasks a list wants. */
struct task_filter {
    int state;                                 /* negative: any */
    struct slice queue, kind, error_kind;      /* empty: any */
    int64_t created_from_ns, created_until_ns; /* [from, until) */
};
#define TASK_FILTER_ANY ((struct task_filter){.state = -1, .created_until_ns = INT64_MAX})
enum list_order { LIST_NEWEST, LIST_OLDEST };
/* The next live match beyond the id `at` (to start: UINT64_MAX, or 0 oldest first), which need not be live; 0 when
 * there is none. *steps (may be NULL) grows by what was looked at: at most about one for each ROLL_BLOCK_TASKS / 8 live
 * tasks and ROLL_BLOCK_TASKS for each match, unless two error kinds have the same hash. */
uint64_t core_task_next(const struct core *core, const struct task_filter *filter, enum list_order order, uint64_t at,
                        uint64_t *steps);
/* Whether a text in memory names this blob: an input, a result, a checkpoint, an error. */
bool core_blob_is_named(const struct core *core, const uint8_t digest[SHA256_SIZE]);
/* Cheap facts for filters, without filling a view. */
struct task_brief {
    enum task_state state;
    struct slice queue, kind;
    int64_t finished_ns;
    uint64_t finished_seq;
};
STATUS_MUST_CHECK enum status core_task_brief(const struct core *core, uint64_t task_id, struct task_brief *ret_brief);
/* Finished tasks in memory in the order they became final: the first with finished_seq > seq; 0 for none. For handing
 * rows to history again after a restart. */
uint64_t core_finished_after(const struct core *core, uint64_t seq, uint64_t after_task_id);

struct queue_view {
    struct slice name;
    bool is_paused;
    int64_t created_ns;
    uint64_t changed_seq;
    uint64_t counts[TASK_STATE_COUNT];                                /* live tasks; final ones still in memory */
    uint64_t submitted, succeeded, dead, cancelled, expired, retried; /* totals since the beginning */
};
/* The first index at or after `from` that has a queue, or node: UINT32_MAX past the last. Indices are taken again after a
 * deletion, so their order is that of creation as long as nothing is deleted. */
uint32_t core_queue_next(const struct core *core, uint32_t from);
uint32_t core_node_next(const struct core *core, uint32_t from);
bool core_queue_at(const struct core *core, uint32_t i, struct queue_view *ret_view);
bool core_queue_find(const struct core *core, struct slice name, struct queue_view *ret_view);
bool core_kind_is_known(const struct core *core, struct slice name);
bool core_kind_at(const struct core *core, uint32_t i, struct slice *ret_name);

struct node_view {
    struct slice name;
    uint64_t session; /* 0: no live session */
    uint64_t instance;
    uint64_t owner, start; /* as its hello said; secrets like the instance */
    bool is_worker, is_draining, is_quiet;
    uint64_t changed_seq;
    int64_t joined_ns;  /* first hello */
    int64_t session_ns; /* this session's hello, or when the last one ended */
    uint32_t credit;    /* free */
    uint32_t leases;    /* held */
    uint64_t succeeded, failed, lost;
    struct slice kinds[LIMIT_KINDS_PER_NODE];
    uint32_t kind_count;
    struct requirement facts;
    struct slice info; /* JSON */
};
bool core_node_at(const struct core *core, uint32_t i, struct node_view *ret_view);
bool core_node_find(const struct core *core, struct slice name, struct node_view *ret_view);
bool core_session_find(const struct core *core, uint64_t session, struct node_view *ret_view);
/* The leases that a session holds: the first after `after_task_id` in grant order (0 to start); 0 when done. */
uint64_t core_session_task(const struct core *core, uint64_t session, uint64_t after_task_id);

/* --- what fills up --- */

enum core_table {
    TABLE_NAMES, /* every name there is, each once */
    TABLE_KINDS,
    TABLE_QUEUES,
    TABLE_REQUIREMENTS, /* distinct ones; the plain one of a kind is not counted */
    TABLE_RETRY_POLICIES,
    TABLE_FAIRNESS_KEYS, /* (queue, key) with work; the common key of a queue is not counted */
    TABLE_SESSIONS,
    TABLE_SHARED,               /* the above are shared by callers: none of them can make more than its share */
    TABLE_NODES = TABLE_SHARED, /* with or without session: the longest gone makes room */
    TABLE_IDEMPOTENCY_KEYS,     /* the oldest makes room */
    TABLE_UNIQUE_KEYS,
    TABLE_TASKS,
    TABLE_PAYLOAD, /* bytes */
    TABLE_COUNT
};
const char *core_table_name(enum core_table table); /* "queues" */
struct table_view {
    uint64_t used, max;
    bool makes_room; /* a full one lets something old go instead of refusing */
};
void core_table(const struct core *core, enum core_table table, struct table_view *ret_view);
/* What a caller has made of a shared table. */
uint32_t core_caller_used(const struct core *core, uint64_t caller, enum core_table table);
/* When the node that has been gone for longest went; INT64_MAX when none is gone. */
int64_t core_longest_gone_ns(const struct core *core);

struct core_stats {
    uint64_t seq;
    int64_t time_ns;
    uint64_t tasks_live, tasks_max;
    uint64_t counts[TASK_STATE_COUNT];
    uint64_t accepted, succeeded, dead, cancelled, expired, evicted, retried, duplicates;
    uint64_t attempts, leases_granted, leases_expired, leases_lost;
    uint64_t payload_size, payload_size_max;
    uint32_t nodes, sessions, queues, kinds, signatures, flows, idempotency_keys;
    uint64_t history_seq; /* from HISTORY_DONE */
};
void core_stats(const struct core *core, struct core_stats *ret_stats);

#endif
