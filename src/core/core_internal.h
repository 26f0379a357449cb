/* core_internal.h - the state of the core, for the files of src/core alone.
 *
 * Records live in slabs and name each other by 32-bit indices. What a save writes is marked nowhere: everything is
 * written except what is derived from the rest (maps, heaps, bitsets), which a load builds again. Memory is bounded by
 * limits that are part of the state and that submits are refused by; running out of real memory below them ends the
 * process (a replica that refused what its peers accepted would diverge). */
#ifndef SHOAL_CORE_CORE_INTERNAL_H
#define SHOAL_CORE_CORE_INTERNAL_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/ensure.h"
#include "base/heap.h"
#include "base/limits.h"
#include "base/map.h"
#include "base/slab.h"
#include "core/bitset.h"
#include "core/core.h"
#include "core/effect.h"
#include "proto/task_id.h"

#define NONE UINT32_MAX
#define NS_PER_MS INT64_C(1000000)
#define NEVER_NS INT64_MAX
#define PRIORITY_COUNT (LIMIT_PRIORITY_MAX + 1)

/* --- block: a string of its own on the heap, counted against payload_size_max --- */
struct block {
    uint32_t len : 31;
    uint32_t names_blobs : 1; /* see refs.c */
    char data[];
};
#define BLOCK_OVERHEAD 16u /* length and what malloc adds, so that many small blocks count as what they cost */

/* --- signature.c: the nodes with a session that have a name --- */
struct node_list {
    uint32_t *nodes; /* owned; in no order that anything depends on */
    uint32_t len, cap;
};
struct bearers {
    struct node_list offer, label; /* as a kind, as a label */
};

/* --- symbol.c: interned names --- */
struct symbol {
    char *text; /* owned */
    uint32_t len;
    uint32_t refs;
    uint64_t hash;
    uint32_t queue;          /* the queue of this name, or NONE */
    uint32_t node;           /* the node of this name, or NONE */
    uint32_t signatures;     /* derived: the first signature of the kind of this name, or NONE */
    struct bearers *bearers; /* derived: who has it as kind or label; NULL: nobody */
    bool is_kind;            /* a known kind */
    uint64_t kind_owner;     /* who made it known, 0 nobody that is counted */
};

/* --- queue.c --- */
struct queue {
    uint32_t symbol;
    bool is_paused;
    int64_t created_ns;
    uint64_t changed_seq;
    uint64_t counts[TASK_STATE_COUNT];
    uint64_t submitted, succeeded, dead, cancelled, expired, retried;
    uint64_t owner; /* who made it */
    uint32_t slots; /* derived: the first of its slots, or NONE */
    uint32_t refs;  /* derived: flows and unique keys */
};

/* --- ready.c: flows, slots --- */
struct flow { /* one fairness key of one queue; lives while a task names it */
    uint32_t queue;
    uint32_t symbol;                  /* of the key, NONE for the queue's common one */
    uint32_t refs;                    /* tasks */
    uint32_t waiting[PRIORITY_COUNT]; /* ready tasks of each lane */
    uint64_t vtime[PRIORITY_COUNT];   /* virtual time of each lane */
    uint64_t owner;
};

struct slot { /* the ready tasks of one lane (flow, priority) with one signature, first in first out */
    uint32_t flow;
    uint32_t signature;
    uint32_t head, tail;
    uint32_t count;
    uint32_t position;                     /* in its cell's heap, HEAP_NONE while its queue is paused */
    uint64_t tag;                          /* the lane's vtime as the heap knows it; never ahead of the lane */
    uint32_t next_of_queue, prev_of_queue; /* derived: the slots of its queue, in no order that anything depends on */
    uint8_t priority;
};

/* --- signature.c --- */
struct signature {
    uint32_t kind; /* symbol */
    uint32_t refs; /* tasks */
    uint32_t cpu_milli, memory_mib, gpu;
    bool is_alone; /* its tasks run on nodes that run nothing else meanwhile */
    uint32_t label_count;
    uint32_t *labels;                    /* symbols in ascending order; owned */
    uint32_t next_of_kind, prev_of_kind; /* derived: the signatures of its kind, in no order that anything depends on */
    struct bitset nodes;                 /* derived: those that have a session and can run it */
    struct heap cell[PRIORITY_COUNT];    /* derived: slots by (tag, flow) */
    uint64_t vtime[PRIORITY_COUNT];      /* start tag of the last task served from the cell */
    uint64_t owner;
};

/* --- retry.c --- */
struct retry {
    uint32_t refs;
    uint32_t attempts_max, factor_milli, jitter_percent;
    int64_t base_ms, cap_ms;
    uint32_t not_retryable_count;
    uint32_t not_retryable[16]; /* symbols in the order given */
    uint64_t owner;
};

/* --- task.c --- */
struct attempt { /* one that was made; a task keeps the newest LIMIT_ATTEMPTS_KEPT */
    struct block *error_kind, *message;
    int64_t started_ns, ended_ns;
    uint32_t number;
    uint32_t node; /* symbol */
    uint32_t older;
    uint8_t outcome;
    bool is_death; /* counted in its task's deaths */
};

struct task_side { /* what few tasks have */
    struct block *unique_key, *traceparent, *checkpoint, *result;
    struct block *error_kind, *error_message, *error_detail, *progress_note;
    int64_t ttl_ms, timeout_ms;
    bool is_retried;   /* it was final once, and tried again */
    uint64_t retry_of; /* the task of history that this one is another try of; 0: none */
    uint32_t unique;   /* the record that it holds its key by, or NONE */
    uint16_t progress_permille;
    uint8_t unique_mode;
};

struct task {
    uint64_t id;
    struct block *input;
    int64_t created_ns;
    int64_t run_at_ns;   /* when a scheduled task becomes ready */
    int64_t expires_ns;  /* end of ttl, 0 none */
    int64_t deadline_ns; /* what the timer heap orders by; NEVER_NS: not in it */
    int64_t started_ns;  /* of the newest attempt, 0 before the first */
    uint64_t changed_seq;
    union {
        uint64_t lease_seq;    /* leased: the fence */
        uint64_t finished_seq; /* final */
    };
    union {
        int64_t lease_expires_ns; /* leased */
        int64_t finished_ns;      /* final */
    };
    uint32_t newer, older; /* all live tasks in order of creation */
    uint32_t block;        /* of roll.c; derived */
    uint32_t next, prev;   /* ready: its slot; leased: its node; final: the finished tasks */
    uint32_t owner;        /* ready: slot; leased: node; else NONE */
    uint32_t timer_position;
    uint32_t flow, signature, retry;
    uint32_t side;           /* or NONE */
    uint32_t attempt_newest; /* or NONE */
    uint32_t idempotency;    /* first of the keys that answer with this task, or NONE */
    uint32_t attempts;
    uint32_t lease_ms;
    uint16_t attempts_failed, attempts_lost;
    uint16_t weight;
    uint8_t priority : 7;
    uint8_t is_held : 1; /* only inside node_hello */
    uint8_t state;       /* enum task_state */
    uint16_t deaths;     /* of attempts_lost: its node died, as far as is known */
};
static_assert(sizeof(struct task) <= 200, "DESIGN section 6: a task record is at most about 200 bytes");
static_assert(LIMIT_TASKS < 1 << TASK_ID_INDEX_BITS, "an index fits into an id");

/* --- roll.c --- */
#define ROLL_BLOCK_TASKS 512u /* see roll.c: a walk looks at every block, and at every task of one that matches */
struct roll_class {           /* tasks of one block with one queue, kind and error */
    uint32_t queue;           /* NONE: the place is free */
    uint32_t kind;            /* symbol */
    uint32_t error;           /* hash of the last error's kind, 0: none */
    uint16_t total;
    uint16_t counts[TASK_STATE_COUNT];
};
struct roll_block { /* a run of the list of live tasks */
    uint32_t newer, older;
    uint32_t first, last; /* its oldest task and its newest */
    uint32_t count;
    uint32_t class_used, class_cap; /* a power of two */
    struct roll_class *classes;     /* owned */
    uint16_t counts[TASK_STATE_COUNT];
};

/* --- refs.c --- */
struct blob_ref { /* a blob that texts name */
    uint8_t digest[SHA256_SIZE];
    uint32_t count;
};

/* --- unique.c, idempotency.c --- */
struct unique {
    struct block *key;
    uint32_t queue;
    uint32_t kind;     /* symbol; NONE: of any kind, as entries of the first level took keys */
    uint32_t position; /* in the heap of ends; HEAP_NONE unless UNIQUE_FOR_TIME */
    uint64_t task_id;
    int64_t until_ns; /* UNIQUE_FOR_TIME */
    uint8_t mode;
    uint8_t state; /* the task's last known one, for when it has left memory */
};

struct idempotency {
    struct block *key;
    uint64_t body_hash;
    uint64_t task_id;
    int64_t created_ns;
    uint32_t newer;        /* all keys in order of arrival */
    uint32_t next_of_task; /* other keys of the same task, the older ones */
    uint32_t prev_of_task; /* derived */
    uint8_t state;         /* as in struct unique */
};

/* --- node.c --- */
struct node {
    uint32_t symbol;
    uint64_t session; /* 0: none */
    uint64_t instance;
    uint64_t owner, start; /* as the hello said */
    bool is_worker, is_draining, is_quiet;
    bool is_taken; /* derived: holds a lease that is alone */
    uint64_t changed_seq;
    int64_t joined_ns, session_ns;
    uint32_t credit, leases;
    uint32_t lease_head, lease_tail; /* tasks in the order of their grants */
    uint64_t succeeded, failed, lost;
    uint32_t kind_count, label_count;
    uint32_t *kinds;              /* symbols, ascending; owned */
    uint32_t *labels;             /* symbols, ascending; owned */
    uint32_t *kind_at, *label_at; /* derived: its places in the bearers of them; NULL without a session */
    uint32_t cpu_milli, memory_mib, gpu;
    uint64_t caller; /* of its newest hello: who is charged for it */
    struct block *info;
    struct bitset match;            /* derived: signatures it can run; empty without a session */
    uint32_t gone_position;         /* derived: in core->gone; HEAP_NONE while it has a session */
    uint64_t vtime[PRIORITY_COUNT]; /* start tag of the last task it was given */
};
#define NODE_INDEX_BITS 16
static_assert(LIMIT_NODES <= 1 << NODE_INDEX_BITS, "a session id keeps 16 bits for the index of its node");

/* --- table.c --- */
struct caller { /* one that has made something; derived from the owners of what is there */
    uint64_t id;
    uint32_t used[TABLE_SHARED];
};

struct core {
    uint32_t magic;
    /* --- saved --- */
    uint64_t seq;
    int64_t time_ns;
    uint32_t tasks_max;
    uint64_t payload_size_max;
    struct hash_key hash_key; /* derived: of the secret; zeros while there is none */
    bool has_secret;
    uint8_t secret[COMMAND_SECRET_SIZE]; /* random, from the first CONFIGURE that has one */
    int64_t finished_keep_ms;
    uint32_t deaths_max;     /* 0: LIMIT_DEATHS */
    uint64_t task_number;    /* of the last task accepted */
    uint64_t session_number; /* of the last session opened */
    uint64_t history_seq;
    uint32_t node_cursor; /* where the search for an idle node goes on */
    uint64_t accepted, succeeded, dead, cancelled, expired, evicted, retried, duplicates;
    uint64_t attempts_ended, leases_granted, leases_expired, leases_lost;
    struct {
        uint64_t submitted, succeeded, dead, cancelled, expired, retried;
    } dropped; /* totals of queues that were deleted */
    struct slab symbols, queues, flows, slots, signatures, retries;
    struct slab tasks, sides, attempts, uniques, idempotencies, nodes;
    uint32_t newest, oldest;               /* live tasks */
    uint32_t finished_head, finished_tail; /* final tasks in memory, in the order they ended */
    uint32_t idempotency_oldest, idempotency_newest;
    /* --- derived --- */
    uint64_t counts[TASK_STATE_COUNT];
    uint64_t payload_size;
    uint32_t sessions;
    struct slab blocks; /* of roll.c */
    uint32_t block_newest, block_oldest;
    struct slab blob_refs; /* of refs.c */
    struct map blob_map;
    uint32_t kind_count;
    uint32_t plain_signatures, common_flows; /* of those in the slabs: the ones that no table counts */
    struct slab callers;
    struct map caller_map;
    struct map symbol_map, flow_map, slot_map, signature_map, retry_map, unique_map, idempotency_map;
    struct heap timers;                    /* tasks by (deadline, id) */
    uint32_t unique_kindless;              /* unique records whose kind is NONE */
    struct heap unique_ends;               /* unique records by (until, index) */
    struct heap gone;                      /* nodes without a session by (since when, index) */
    struct bitset live;                    /* nodes with one */
    struct bitset idle;                    /* nodes that can be given a task now */
    struct bitset empty;                   /* of these, the ones without a lease */
    struct bitset backlog[PRIORITY_COUNT]; /* signatures whose cell is not empty */
    struct bitset servable;                /* signatures that may have both; empty between entries */
    uint32_t *kinds;                       /* symbols of known kinds in order of becoming known; saved */
    uint32_t kinds_cap;
    uint64_t steps; /* of the loops over nodes, signatures, slots and keys: what the tests hold cost by; core_steps() */
    /* --- of the entry being applied --- */
    bool
        has_keyless; /* derived: some task waits without its unique key, as builds of the first level let it (unique.c) */
    uint8_t level;   /* enum entry_level: what it may depend on is what builds of that level did */
    struct buf *effects;
    struct buf row;      /* of history */
    struct buf refused;  /* of a reply */
    enum status refusal; /* why table_admits said no, and of which table */
    enum core_table refusal_table;
};

/* now + ms without overflow. */
static inline int64_t time_add_ms(int64_t ns, int64_t ms)
{
    return ms > (NEVER_NS - 1 - ns) / NS_PER_MS ? NEVER_NS - 1 : ns + ms * NS_PER_MS;
}

/* block */
struct block *block_new(struct core *core, struct slice text); /* NULL for an empty one */
void block_drop(struct core *core, struct block **block);
static inline struct slice block_slice(const struct block *block)
{
    return block != NULL ? slice_of(block->data, block->len) : (struct slice){NULL, 0};
}

/* symbol.c */
uint32_t symbol_find(const struct core *core, struct slice text); /* NONE */
uint32_t symbol_acquire(struct core *core, struct slice text);    /* +1 ref; NONE when the table is full */
void symbol_ref(struct core *core, uint32_t symbol);
void symbol_unref(struct core *core, uint32_t symbol); /* NONE is fine */
void symbol_rehash(struct core *core);
bool symbol_index(struct core *core, uint32_t symbol);              /* into the map, while loading */
struct slice symbol_text(const struct core *core, uint32_t symbol); /* NONE: empty */
static inline struct symbol *symbol_at(const struct core *core, uint32_t symbol)
{
    return slab_at(&core->symbols, symbol);
}

/* queue.c */
static inline struct queue *queue_at(const struct core *core, uint32_t queue)
{
    return slab_at(&core->queues, queue);
}
uint32_t queue_find(const struct core *core, struct slice name);
/* Made by a command with a caller, records are owned and refused by table_admits; without, by the plain limits. NONE and
 * false: refused, and core->refusal says why. */
uint32_t queue_make(struct core *core, struct slice name, int64_t now_ns, const struct command_caller *by);
void queue_apply_set(struct core *core, const struct command_queue_set *command, struct effect_reply *reply);
bool kind_add(struct core *core, struct slice name, const struct command_caller *by); /* makes it known */
enum status kind_drop(struct core *core, struct slice name);
uint32_t kind_collect(struct core *core, uint32_t keep, uint32_t count_max); /* what went */
enum status queue_drop(struct core *core, struct slice name);
uint32_t queue_collect(struct core *core, uint32_t keep, uint32_t count_max);

/* table.c */
void table_init(struct core *core);
void table_free(struct core *core);
/* Whether the caller may add `count` to a shared table; else core->refusal and refusal_table are set. Always, by a command
 * without caller. */
bool table_admits(struct core *core, const struct command_caller *by, enum core_table table, uint32_t count);
/* The same for names, of which those that exist already need no room. */
bool table_admits_names(struct core *core, const struct command_caller *by, const struct slice *names, uint32_t count);
void table_refuse(const struct core *core, struct effect_reply *reply); /* with core->refusal */
/* Counts what an owner has; 0 and CALLER_ANYBODY are nobody. */
void table_charge(struct core *core, uint64_t owner, enum core_table table, int32_t count);
void table_index(struct core *core);              /* counts all owners, while loading */
const char *table_check(const struct core *core); /* C1 */
void table_apply_drop(struct core *core, const struct command_drop *command, struct effect_reply *reply);
void table_apply_collect(struct core *core, const struct command_collect *command, struct effect_reply *reply);

/* signature.c */
bool signature_is_plain(const struct signature *signature); /* it asks for nothing but its kind */
static inline struct signature *signature_at(const struct core *core, uint32_t signature)
{
    return slab_at(&core->signatures, signature);
}
uint32_t signature_acquire(struct core *core, uint32_t kind, const struct requirement *requirement,
                           const struct command_caller *by); /* NONE: refused */
/* The same requirements, alone on a node (+1 ref); NONE when the table is full. */
uint32_t signature_acquire_alone(struct core *core, uint32_t signature);
void signature_ref(struct core *core, uint32_t signature);
void signature_unref(struct core *core, uint32_t signature);
void signature_index(struct core *core, uint32_t signature);
void signature_rehash(struct core *core);
void signature_join_node(struct core *core, uint32_t node); /* makes it one of the bearers of its names */
void signature_match_node(struct core *core,
                          uint32_t node); /* the same, and both bitsets: it has a session and facts */
void signature_unmatch_node(struct core *core, uint32_t node); /* the reverse: before its facts change, or at the end */
void bearers_free(struct symbol *symbol);
bool signature_is_matched(const struct signature *signature, const struct node *node);
void symbols_sort(uint32_t *symbols, uint32_t *count); /* ascending, without repeats */

/* retry.c */
static inline struct retry *retry_at(const struct core *core, uint32_t retry)
{
    return slab_at(&core->retries, retry);
}
uint32_t retry_acquire(struct core *core, const struct retry_policy *policy,
                       const struct command_caller *by); /* NONE: refused */
void retry_unref(struct core *core, uint32_t retry);
void retry_index(struct core *core, uint32_t retry);
void retry_rehash(struct core *core);
bool retry_is_retryable(const struct core *core, const struct retry *retry, struct slice error_kind);
int64_t retry_delay_ms(const struct retry *retry, uint32_t failures, uint64_t task_id, uint32_t attempt);

/* ready.c */
static inline struct flow *flow_at(const struct core *core, uint32_t flow)
{
    return slab_at(&core->flows, flow);
}
static inline struct slot *slot_at(const struct core *core, uint32_t slot)
{
    return slab_at(&core->slots, slot);
}
uint32_t flow_acquire(struct core *core, uint32_t queue, struct slice fairness_key,
                      const struct command_caller *by); /* NONE: refused */
void flow_unref(struct core *core, uint32_t flow);
void flow_index(struct core *core, uint32_t flow);
void ready_init_signature(struct core *core, struct signature *signature);
void ready_add(struct core *core, uint32_t task, bool is_first); /* at the end of its line, or at its front */
void ready_remove(struct core *core, uint32_t task);
void ready_pause(struct core *core, uint32_t queue);
void ready_resume(struct core *core, uint32_t queue);
void ready_node_joined(struct core *core, uint32_t node);
void ready_dispatch(struct core *core); /* grants until no servable work is left (T6) */
void ready_index(struct core *core, uint32_t slot);
void ready_rehash(struct core *core);

/* timer.c */
void timer_init(struct core *core);
void timer_update(struct core *core, uint32_t task); /* after anything that its deadline depends on changed */
void timer_remove(struct core *core, uint32_t task);
void timer_fire(struct core *core); /* what is due at core->time_ns, in order; much of it over several entries */

/* task.c */
static inline struct task *task_at(const struct core *core, uint32_t task)
{
    return slab_at(&core->tasks, task);
}
static inline struct task_side *side_at(const struct core *core, uint32_t side)
{
    return slab_at(&core->sides, side);
}
static inline struct attempt *attempt_at(const struct core *core, uint32_t attempt)
{
    return slab_at(&core->attempts, attempt);
}
static inline const struct task_side *task_side(const struct core *core, const struct task *task)
{
    return task->side != NONE ? side_at(core, task->side) : NULL;
}
uint32_t task_find(const struct core *core, uint64_t task_id); /* NONE */
struct task_side *task_side_make(struct core *core, struct task *task);
void task_submit(struct core *core, const struct command_submit *command, struct effect_reply *reply);
void task_cancel(struct core *core, const struct command_task *command, struct effect_reply *reply);
void task_retry(struct core *core, const struct command_task *command, struct effect_reply *reply);
void task_set_state(struct core *core, uint32_t task, enum task_state state);
void task_make_ready(struct core *core, uint32_t task, bool is_first);
void task_schedule(struct core *core, uint32_t task, int64_t run_at_ns);
/* Takes a task that is in no state list to its end. */
void task_finish(struct core *core, uint32_t task, enum task_state state);
void task_set_error(struct core *core, uint32_t task, struct slice kind, struct slice message, struct slice detail);
/* Says why a task ends that no attempt of it ended. The detail of its last failed attempt stays. */
void task_set_end(struct core *core, uint32_t task, struct slice kind, struct slice message);
void task_expire(struct core *core, uint32_t task); /* its ttl is over */
void task_evict_due(struct core *core);
int64_t task_next_evict_ns(const struct core *core);
uint32_t task_queue(const struct core *core, const struct task *task);

/* roll.c */
void roll_append(struct core *core, uint32_t task); /* it is the newest; its state, flow and signature are set */
/* Takes the counts of a task away, before anything of it goes; then, once it has left the list of tasks: */
void roll_remove(struct core *core, uint32_t task);
void roll_removed(struct core *core, uint32_t block);
void roll_set_state(struct core *core, uint32_t task, uint8_t state); /* before task->state changes */
void roll_error_begin(struct core *core, uint32_t task);              /* around a change of its error's kind */
void roll_error_end(struct core *core, uint32_t task);
void roll_free(struct core *core);
void roll_rehash(struct core *core);
bool roll_is_right(const struct core *core); /* V1, V2 */

/* refs.c */
bool refs_add(struct core *core, struct slice text); /* whether it names any blob */
void refs_remove(struct core *core, struct slice text);
void refs_rehash(struct core *core);

/* lease.c */
void attempt_free(struct core *core, uint32_t attempt);
void lease_grant(struct core *core, uint32_t task, uint32_t node);
/* Ends the lease of a leased task; it is then in no list and its state is for the caller to set. */
void lease_end(struct core *core, uint32_t task, enum attempt_outcome outcome, struct slice error_kind,
               struct slice message);
void lease_put_stop(struct core *core, uint32_t task, enum stop_reason reason);
/* `has_died`: its node, and not only the way to it or this lease. */
void lease_lost(struct core *core, uint32_t task, enum attempt_outcome outcome, bool has_died);
/* The node shows that it works on an attempt that was taken for lost with its death: it was none. */
void lease_survived(struct core *core, const struct lease_token *token, uint32_t node_symbol);
void lease_timed_out(struct core *core, uint32_t task);
enum status lease_apply_outcome(struct core *core, uint32_t node, const struct outcome *outcome);
uint32_t lease_find(const struct core *core, uint32_t node, const struct lease_token *token); /* task or NONE */

/* node.c */
static inline struct node *node_at(const struct core *core, uint32_t node)
{
    return slab_at(&core->nodes, node);
}
uint32_t node_find(const struct core *core, struct slice name);
uint32_t node_of_session(const struct core *core, uint64_t session);
void node_hello(struct core *core, const struct command_node_hello *command, struct effect_reply *reply);
void node_report(struct core *core, const struct command_node_report *command, struct effect_reply *reply);
enum status node_lost(struct core *core, const struct command_node_lost *command);
enum status node_set(struct core *core, const struct command_node_set *command);
void node_update_idle(struct core *core, uint32_t node);
void node_init(struct core *core);
enum status node_forget(struct core *core, struct slice name);
uint32_t node_collect(struct core *core, int64_t gone_ms, uint32_t count_max); /* what went */
void node_index(struct core *core, uint32_t node); /* into the live ones or the gone ones, while loading */

/* unique.c */
void unique_init(struct core *core);
/* The record by which the key is held now, or NONE. */
uint32_t unique_find(const struct core *core, uint32_t queue, uint32_t kind, struct slice key);
/* The other task that now holds the key that this one would hold when it waits again; 0: none. */
uint64_t unique_other(const struct core *core, const struct task *task);
/* Hands the record of a task that has left memory to the one that is another try of it. */
void unique_hand_over(struct core *core, uint32_t unique, uint32_t task);
bool unique_take(struct core *core, uint32_t task);                      /* false when another task holds the key */
void unique_set_end(struct core *core, uint32_t task, int64_t until_ns); /* of a UNIQUE_FOR_TIME key just taken */
void unique_on_state(struct core *core, uint32_t task);                  /* lets go of the key when the mode says so */
void unique_purge(struct core *core);
void unique_index(struct core *core, uint32_t unique);
void unique_rehash(struct core *core);
static inline struct unique *unique_at(const struct core *core, uint32_t unique)
{
    return slab_at(&core->uniques, unique);
}

/* idempotency.c */
uint32_t idempotency_find(const struct core *core, struct slice key);
void idempotency_add(struct core *core, struct slice key, uint64_t body_hash, uint32_t task);
void idempotency_on_final(struct core *core, uint32_t task);
void idempotency_forget(struct core *core, uint32_t task); /* the task leaves memory; its keys stay */
void idempotency_purge(struct core *core);
void idempotency_index(struct core *core, uint32_t idempotency);
void idempotency_rehash(struct core *core);
static inline struct idempotency *idempotency_at(const struct core *core, uint32_t idempotency)
{
    return slab_at(&core->idempotencies, idempotency);
}

/* save.c */
/* Fills a core of core_alloc with what `body`, a state without its digest, says. `why`, which may be NULL, gets a sentence for
 * TOO_NEW, and where there is one for CORRUPT. Nothing derived is there yet, and no index has been looked at. */
enum status archive_load(struct core *core, struct slice body, struct buf *why);

/* core.c */
/* Takes the key of every map of client-chosen content from the secret; with `moves` what the maps hold moves to its new place. */
void core_rekey(struct core *core, bool moves);
/* The feature level of the entry being applied. What the core does otherwise than before asks for it, so that entries
 * that were acknowledged by an older build still mean what they meant (command.h). */
static inline enum entry_level core_level(const struct core *core)
{
    return (enum entry_level)core->level;
}
struct core *core_alloc(void); /* no queue, no policy: what a load fills; NULL without memory */

/* view.c */
void view_fill(const struct core *core, uint32_t task, struct task_view *ret_view);

#endif
