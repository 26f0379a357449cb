/* command.h - the commands that an entry of the journal holds, as structs and as bytes.
 *
 * The gateway fills a struct and encodes it; the core decodes it and applies it. Slices of a decoded command point
 * into the entry. An entry body is: u64 origin | u56 batch | u8 level | u32 count | count × (u8 type | u32 len | body).
 * `origin` names the hub process that proposed it, `batch` its proposal, so that the proposer recognises its own
 * commands when the order comes from elsewhere. Numbers are little-endian. Pure, any thread.
 *
 * How this may change, since entries outlive the build that wrote them (docs/decisions/0007-format.md):
 *   - `level` is the feature level of the build that proposed the entry. An entry of a higher level than ENTRY_LEVEL, or with a
 *     command of a type that is not known, is TOO_NEW: hub, verify, repair and simulator stop and name it; nothing is passed over.
 *   - Whatever changes how an entry is encoded, or what applying it does, counts ENTRY_LEVEL up, once for each release.
 *   - A new field of a command goes to the end of its body. Its decoder asks has_tail(): an older body ends before it and means
 *     the default. (SUBMIT: a new bit of its mask instead.) A new field of an outcome is a new outcome_type, since outcomes
 *     stand without a length. Bytes behind the last known field are CORRUPT: a later field comes with a higher level.
 *   - What the core does differently asks for the level of the entry that is applied: core_level(core) >= ENTRY_LEVEL_X, so that
 *     a replay of old entries gives the state that was acknowledged when they were new.
 *   - Types, bits and fields are never taken out, renumbered or given another meaning.
 *
 * Decoders never trust their input: every count and length is checked, and a malformed body is CORRUPT. Limits of
 * meaning (a priority above 9, a name too long, …) are checked once, by the decoder too, so that nothing past it has to. */
#ifndef SHOAL_PROTO_COMMAND_H
#define SHOAL_PROTO_COMMAND_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/limits.h"
#include "base/seal.h"
#include "base/slice.h"
#include "base/status.h"

/* What a build knows; each says which release brought it. */
enum entry_level {
    ENTRY_LEVEL_FIRST, /* 0.1.0-first: entries without a level have this one */
    ENTRY_LEVEL_MEND,  /* levels themselves */
    ENTRY_LEVEL_END
};
#define ENTRY_LEVEL (ENTRY_LEVEL_END - 1)
#define ENTRY_BATCH_MAX ((UINT64_C(1) << 56) - 1)

enum command_type {
    COMMAND_TICK = 1,  /* nothing but the passing of time */
    COMMAND_CONFIGURE, /* sets the core's limits */
    COMMAND_SUBMIT,
    COMMAND_CANCEL,
    COMMAND_RETRY,        /* a dead, cancelled or expired task back to ready */
    COMMAND_QUEUE_SET,    /* makes or changes a queue; pause and resume are this too */
    COMMAND_KIND_SET,     /* makes a kind known */
    COMMAND_NODE_HELLO,   /* opens or resumes a node's session */
    COMMAND_NODE_REPORT,  /* outcomes and credit of a session */
    COMMAND_NODE_LOST,    /* ends a session; its attempts are lost */
    COMMAND_NODE_SET,     /* drain, quiet */
    COMMAND_HISTORY_DONE, /* history holds every row up to a sequence number durably */
    COMMAND_DROP,         /* forgets a kind, a queue or a node that nobody needs */
    COMMAND_COLLECT, /* forgets nodes that are long gone, and under pressure kinds and queues that were never used */
    COMMAND_TYPE_END
};

/* --- who asked: what new names and records are counted against --- */
#define CALLER_ANYBODY UINT64_C(1) /* of a submit that needs nothing which is counted: who sent it is not kept */
struct command_caller {
    uint64_t id;      /* of an address or a key, above 1; 0: not said. Commands without it come from before shares were
                       * kept, and are refused by the limits of then */
    bool is_operator; /* may use the room that is kept back */
};

/* --- requirement set, also the facts of a node --- */
struct requirement {
    struct slice labels[LIMIT_LABELS]; /* "key=value" or "key"; all must be among the node's labels */
    uint32_t label_count;
    uint32_t cpu_milli; /* thousandths of a core */
    uint32_t memory_mib;
    uint32_t gpu;  /* whole devices */
    bool is_alone; /* of a task: on a node that runs nothing else meanwhile */
};

enum unique_mode {
    UNIQUE_NONE,
    UNIQUE_QUEUED,     /* while a task with this key waits (scheduled, blocked, ready) */
    UNIQUE_UNFINISHED, /* while one is not final */
    UNIQUE_FOR_TIME    /* for unique_ms from its submit */
};

struct retry_policy {
    uint32_t attempts_max;          /* failed attempts before the task is dead, >= 1; default 3 */
    uint32_t factor_milli;          /* thousandths; default 2000 */
    uint32_t jitter_percent;        /* 0..100: the delay is reduced by up to so much; default 10 */
    int64_t base_ms;                /* delay after the first failure; default 1000 */
    int64_t cap_ms;                 /* longest delay; default 300000 */
    struct slice not_retryable[16]; /* error kinds that go dead at once */
    uint32_t not_retryable_count;
};
void retry_policy_default(struct retry_policy *ret_policy);

struct command_submit {
    struct slice queue; /* "default" when the client said nothing */
    struct slice kind;
    struct slice input;           /* JSON, any value, minified */
    struct slice fairness_key;    /* may be empty: the queue's common key */
    struct slice unique_key;      /* may be empty */
    struct slice idempotency_key; /* may be empty */
    uint64_t body_hash;           /* of the whole request body; tells a repeat from a misuse of an idempotency key */
    uint64_t retry_of;            /* 0, or the finished task, no longer in memory, that this one is another try of */
    struct slice traceparent;     /* W3C trace context of the submitter, may be empty; handed to workers */
    uint8_t priority;             /* 0..9, 9 first; default 5 */
    uint32_t weight;              /* 1..LIMIT_WEIGHT_MAX, of its fairness key; default 1 */
    enum unique_mode unique_mode;
    int64_t unique_ms;  /* with UNIQUE_FOR_TIME */
    int64_t run_at_ns;  /* 0: now */
    int64_t ttl_ms;     /* 0: none; not final so long after submit: expired */
    int64_t timeout_ms; /* 0: none; longest single attempt */
    int64_t lease_ms;   /* 0: LIMIT_LEASE_MS_DEFAULT */
    struct requirement requirement;
    struct retry_policy retry;
    struct command_caller by;
};

struct command_task { /* CANCEL, RETRY */
    uint64_t task_id;
    struct slice reason; /* may be empty */
};

#define COMMAND_SECRET_SIZE 32
struct command_configure { /* 0: the default of limits.h */
    uint32_t tasks_max;
    uint64_t payload_size_max;
    int64_t finished_keep_ms;
    struct slice secret; /* COMMAND_SECRET_SIZE bytes for a data directory that has none yet, or empty */
    uint32_t deaths_max; /* nodes that die under a task before it is held as poison */
};

struct command_queue_set {
    struct slice name;
    bool has_paused, paused;
    bool must_exist; /* pause and resume of an unknown queue are NOT_FOUND */
    struct command_caller by;
};

struct command_kind_set {
    struct slice name;
    struct command_caller by;
};

struct lease_token {
    uint64_t task_id;
    uint32_t attempt; /* 1, 2, … over all attempts of the task */
    uint64_t seq;     /* of the entry that granted it: the fence; no entry has the number 0 */
    struct seal seal; /* what shows that the hub gave it; in texts alone, never in commands and entries */
};

struct command_node_hello {
    struct slice node; /* name */
    uint64_t instance; /* random, of the node's process: the same one resumes its session's leases */
    uint64_t owner;    /* secret of the node's data directory: its next process may take over at once; 0: none */
    uint64_t start;    /* rises with each process of one owner; 0: not known */
    bool is_worker;    /* over plain HTTP: no heartbeat, only leases end it */
    struct slice kinds[LIMIT_KINDS_PER_NODE];
    uint32_t kind_count;
    struct requirement facts; /* labels, cpu, memory, gpu that it has */
    struct slice info;        /* JSON object for people: version, os, load, sandbox facts; stored as it is, <= 4 KiB */
    uint32_t credit;          /* leases it can take beyond the held ones */
    const char *held;         /* encoded tokens of the leases it still works on (command_held_at) */
    uint32_t held_count;
    struct command_caller by;
};

enum outcome_type { OUTCOME_COMPLETE = 1, OUTCOME_FAIL, OUTCOME_EXTEND, OUTCOME_PROGRESS, OUTCOME_RELEASE };

struct outcome {
    enum outcome_type type;
    struct lease_token token;
    struct slice payload;       /* COMPLETE: result JSON. PROGRESS: checkpoint JSON (may be empty: keep the former).
                           * FAIL: detail JSON, may be empty */
    struct slice error_kind;    /* FAIL: a word such as "timeout" or "code" */
    struct slice message;       /* FAIL, RELEASE: for people. PROGRESS: note */
    bool is_final;              /* FAIL: do not retry, whatever the policy says */
    uint16_t progress_permille; /* PROGRESS: 0..1000 */
    int64_t lease_ms; /* EXTEND, PROGRESS: 0 keeps the task's lease time; the lease then ends that much after now */
};

struct command_node_report {
    uint64_t session;
    uint32_t credit_add; /* granted by the node on top of what it had */
    bool has_credit;     /* then `credit_set` replaces the credit left */
    uint32_t credit_set;
    uint32_t outcome_count;
    struct slice outcomes; /* encoded; walk with outcome_next */
};

enum lost_reason { LOST_SILENT = 1, LOST_CLOSED, LOST_LEFT, LOST_REPLACED };

struct command_node_lost {
    uint64_t session;
    enum lost_reason reason;
};

struct command_node_set {
    struct slice node;
    bool has_drain, drain; /* finishes what it has, takes nothing new */
    bool has_quiet, quiet; /* takes nothing new until told otherwise, stays listed as well */
};

struct command_history_done {
    uint64_t seq;
};

enum drop_what { DROP_KIND = 1, DROP_QUEUE, DROP_NODE };

struct command_drop {
    enum drop_what what;
    struct slice name;
};

struct command_collect {
    int64_t gone_ms;      /* nodes gone for so long go, the longest first */
    uint32_t kinds_keep;  /* while there are more: kinds that nobody refers to, the newest first */
    uint32_t queues_keep; /* while there are more: empty queues that never had a task, the newest first */
};

/* --- encoding: one command appended to `out` (type and length included). Slices longer than their limits are a
 * programmer's error here: the gateway has refused them before. --- */
void command_put_tick(struct buf *out);
void command_put_configure(struct buf *out, const struct command_configure *command);
void command_put_submit(struct buf *out, const struct command_submit *command);
void command_put_task(struct buf *out, enum command_type type, const struct command_task *command);
void command_put_queue_set(struct buf *out, const struct command_queue_set *command);
void command_put_kind_set(struct buf *out, const struct command_kind_set *command);
void command_put_node_hello(struct buf *out, const struct command_node_hello *command);
void command_put_node_report(struct buf *out, const struct command_node_report *command);
void command_put_node_lost(struct buf *out, const struct command_node_lost *command);
void command_put_node_set(struct buf *out, const struct command_node_set *command);
void command_put_history_done(struct buf *out, const struct command_history_done *command);
void command_put_drop(struct buf *out, const struct command_drop *command);
void command_put_collect(struct buf *out, const struct command_collect *command);
/* One outcome for command_node_report.outcomes; one token for command_node_hello.held. */
void outcome_put(struct buf *out, const struct outcome *outcome);
/* Whether they mean the same lease; seals are not looked at. */
bool lease_token_equal(const struct lease_token *a, const struct lease_token *b);
void lease_token_put(struct buf *out, const struct lease_token *token);
/* Takes a token off the reader; reader.failed tells when there was none. */
struct lease_token lease_token_get(struct reader *reader);

/* --- decoding --- */
struct entry_head {
    uint64_t origin;
    uint64_t batch; /* <= ENTRY_BATCH_MAX */
    uint32_t count;
    uint8_t level; /* enum entry_level; of what was read: entry_head_put always writes ENTRY_LEVEL */
};
#define ENTRY_HEAD_SIZE 20
void entry_head_put(struct buf *out, const struct entry_head *head); /* count may be patched with buf_put_u32 at 16 */
/* OK whatever the level is: TOO_NEW is the answer of entry_check. */
STATUS_MUST_CHECK enum status entry_head_get(struct reader *reader, struct entry_head *ret_head);
/* Whether a body is one head, its `count` well-formed commands and nothing else: OK, CORRUPT or TOO_NEW. */
STATUS_MUST_CHECK enum status entry_check(struct slice body, struct entry_head *ret_head);
/* Why entry_check says TOO_NEW, for people: "it has …". Empty for any other body. */
#define ENTRY_WHY_SIZE 160
void entry_explain(struct slice body, char ret_why[ENTRY_WHY_SIZE]);

struct command {
    enum command_type type;
    union {
        struct command_configure configure;
        struct command_submit submit;
        struct command_task task;
        struct command_queue_set queue_set;
        struct command_kind_set kind_set;
        struct command_node_hello node_hello;
        struct command_node_report node_report;
        struct command_node_lost node_lost;
        struct command_node_set node_set;
        struct command_history_done history_done;
        struct command_drop drop;
        struct command_collect collect;
    } as;
};
/* Takes the next command off the reader: OK, CORRUPT, or TOO_NEW for a type that is not known. */
STATUS_MUST_CHECK enum status command_get(struct reader *reader, struct command *ret_command);
/* Takes the next outcome off; false at the end or when malformed (reader.failed tells). */
bool outcome_next(struct reader *reader, struct outcome *ret_outcome);
/* The i-th held token of a hello, i < held_count. */
struct lease_token command_held_at(const struct command_node_hello *hello, uint32_t i);

/* Puts the hub's seal on a token. */
void lease_token_seal(const struct seal_key *key, struct lease_token *token);
/* Whether the hub with this key has sealed it. */
bool lease_token_is_sealed(const struct seal_key *key, const struct lease_token *token);

/* "<task>.<attempt>.<seq>.<seal>" as a client sees a token, with NUL, without the last part when there is no seal; and back.
 * For a log there is lease_token_name: it leaves the seal out, because that is a secret. */
#define LEASE_TOKEN_TEXT_SIZE 80
void lease_token_name(const struct lease_token *token, char ret[LEASE_TOKEN_TEXT_SIZE]);
void lease_token_format(const struct lease_token *token, char ret[LEASE_TOKEN_TEXT_SIZE]);
bool lease_token_parse(struct slice text, struct lease_token *ret_token);

#endif
