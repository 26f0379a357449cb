/* history_check.h - whether what was seen from outside can have happened: every acknowledged op exactly once, one
 * acceptance for a task, answers that contradict neither each other nor time.
 *
 * Pure: it is fed what clients and nodes were told and says what cannot be. The simulator feeds it while it runs; for real
 * processes it is fed from a file (history_file.h). Owns its memory; one thread at a time. A violation is told to
 * `violated` and the checking goes on. */
#ifndef SHOAL_SIM_HISTORY_CHECK_H
#define SHOAL_SIM_HISTORY_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/map.h"
#include "core/core.h"

#define HISTORY_NODE_NONE UINT32_MAX

struct history_check_hooks {
    /* `rule` is a word of docs/simulator.md, `why` a sentence; both only valid during the call. */
    void (*violated)(void *ctx, const char *rule, const char *why);
    const char *(*node_name)(void *ctx, uint32_t node);
    void *ctx;
};

struct history_row { /* a finished task as history has it */
    uint64_t op, task_id, seq;
    uint64_t result_hash;
    enum task_state state;
};

/* What a task was shown to be. `version` is an entry as of which that held: the one that changed the task last, or a
 * later one. */
struct history_shown {
    uint64_t version;
    enum task_state state;
    uint64_t result_hash;
};

struct history_op {  /* one submit as a client means it, and all that anybody was told of it */
    uint64_t unique; /* 0: none; ops of the same may stand for each other's task */
    bool is_acked, is_alias, is_given_up;
    bool is_retried;  /* a retry was asked for: final is not for ever */
    bool is_over;     /* known to be final, and no retry is asked for */
    bool has_row;     /* history holds it, durably */
    bool is_listed;   /* it stood in the list of all tasks */
    bool is_accepted; /* a complete of it was */
    uint64_t task_id; /* 0: not known yet */
    uint64_t create_seq;
    uint32_t attempt; /* newest lease that was released */
    uint64_t lease_seq;
    uint32_t holder;      /* node that the newest lease went to */
    uint64_t refused_seq; /* newest lease of which an outcome was refused */
    uint64_t accepted_hash;
    uint32_t accepted_attempt;
    uint64_t version_floor; /* newest version that anybody was shown */
    uint64_t open_version;  /* newest at which it was shown not to be final, since a retry was asked for */
    uint64_t shown_version; /* and what it was at the newest */
    enum task_state shown_state;
    uint64_t shown_hash;
    uint64_t final_seq; /* of the final state that counts: the oldest version that showed it */
    enum task_state final_state;
    uint64_t final_hash;
    struct history_row row;
};

struct history_check {
    struct history_check_hooks hooks;
    struct history_op *ops; /* owned; the number of an op is its index + 1 */
    size_t op_count, op_cap;
    struct map by_task;  /* task id → index of op */
    uint32_t open_count; /* ops sent and not known to be final */
    uint64_t violations;
};

void history_check_init(struct history_check *check, const struct history_check_hooks *hooks);
void history_check_free(struct history_check *check);

/* A client means to submit; the number comes back. */
uint64_t history_op_new(struct history_check *check, uint64_t unique);
/* The number must be one that was given out. The pointer lives until the next history_op_new. */
struct history_op *history_op_at(struct history_check *check, uint64_t number);
struct history_op *history_op_of_task(struct history_check *check, uint64_t task_id); /* NULL: nobody's */

/* Somebody saw that this op is this task; the number may be anything. False: that cannot be, and was told. */
bool history_see_task(struct history_check *check, uint64_t number, uint64_t task_id);
/* Its client will not ask again: it may have been done or not. */
void history_see_give_up(struct history_check *check, uint64_t number);
/* The submit was answered: made at entry `seq`, or there already. */
void history_see_ack(struct history_check *check, uint64_t number, uint64_t task_id, uint64_t seq, bool is_duplicate);
/* A read was answered. `floor` is the newest version that anybody had been shown when it was asked for. */
void history_see_read(struct history_check *check, uint64_t number, uint64_t floor, const struct history_shown *shown);
/* A read, cancel or retry was answered with "there is none". */
void history_see_missing(struct history_check *check, uint64_t number);
/* A cancel or a retry was answered: it was done at entry `seq`. Whoever may ask for a retry says so first. */
void history_see_cancel(struct history_check *check, uint64_t number, uint64_t seq);
void history_want_retry(struct history_check *check, uint64_t number);
void history_see_retry(struct history_check *check, uint64_t number, uint64_t seq);
/* A lease of a task was released, in the order of the journal; and one arrived at a node, in any order. False: the
 * token names a task that is not this op's. */
bool history_see_lease(struct history_check *check, uint64_t number, const struct lease_token *token);
void history_see_delivery(struct history_check *check, uint64_t number, const struct lease_token *token, uint32_t node);
/* A node was told that its complete counts, at entry `seq` or before. */
void history_see_complete(struct history_check *check, uint64_t number, const struct lease_token *token, uint32_t node,
                          uint64_t seq, uint64_t result_hash);
/* A node was told that an outcome of its lease changes nothing. */
void history_see_refused(struct history_check *check, uint64_t number, const struct lease_token *token);
/* The list of all tasks, walked once, shows it. `attempt` is the one that succeeded; 0: not known, or none. */
void history_see_listed(struct history_check *check, uint64_t number, uint32_t attempt);
/* History holds this row durably. */
void history_see_row(struct history_check *check, const struct history_row *row);
/* All has come to rest: everything that was asked for was answered, and has ended. */
void history_see_end(struct history_check *check);

/* The hash of a task without a result. */
uint64_t history_hash_nothing(void);

#endif
