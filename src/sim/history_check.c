/* history_check.c - what outsiders saw, compared with all that they saw before.
 *
 *  identity  an op has one task, a task one op, for ever (once; T4)
 *  leases    tokens of a task only grow; each is given to one node, once (T2)
 *  outcomes  at most one complete of a task is taken, that of the newest lease, from the node that has it (T3)
 *  answers   linearisable: linearisability is local, so each task by itself is a register whose versions are entries. A
 *            version has one content; an answer is not older than what was shown before it was asked for; a final state
 *            stays unless a retry is asked for, and succeeded stays in any case
 *  rows      history holds each final state, once durable for good
 *
 * A version need not be the very entry that changed the task. The simulator knows that one; over HTTP a read says only
 * as of which entry it holds. So nothing here takes a version for the first one with its content: two versions may show
 * the same, and of a final state the oldest version that showed it is kept. */
#include "sim/history_check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/ensure.h"
#include "base/hash.h"

typedef unsigned long long ull;

static void violate(struct history_check *check, const char *rule, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void violate(struct history_check *check, const char *rule, const char *format, ...)
{
    char why[400];
    va_list args;
    va_start(args, format);
    vsnprintf(why, sizeof(why), format, args);
    va_end(args);
    check->violations++;
    check->hooks.violated(check->hooks.ctx, rule, why);
}

#define MUST(check, condition, rule, ...)                                                                              \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            violate(check, rule, __VA_ARGS__);                                                                         \
    } while (0)

/* --- ops --- */

static bool is_equal_task(const void *ctx, uint32_t value, const void *key)
{
    const struct history_check *check = ctx;
    return check->ops[value].task_id == *(const uint64_t *)key;
}

static uint64_t hash_of_task(const void *ctx, uint32_t value)
{
    const struct history_check *check = ctx;
    return hash_mix(check->ops[value].task_id);
}

void history_check_init(struct history_check *check, const struct history_check_hooks *hooks)
{
    *check = (struct history_check){.hooks = *hooks};
    map_init(&check->by_task);
}

void history_check_free(struct history_check *check)
{
    free(check->ops);
    map_free(&check->by_task);
}

uint64_t history_op_new(struct history_check *check, uint64_t unique)
{
    if (check->op_count == check->op_cap) {
        check->op_cap = check->op_cap == 0 ? 1024 : check->op_cap * 2;
        check->ops = realloc(check->ops, check->op_cap * sizeof(*check->ops));
        ensure(check->ops != NULL);
    }
    check->ops[check->op_count++] = (struct history_op){.unique = unique, .holder = HISTORY_NODE_NONE};
    check->open_count++;
    return check->op_count;
}

struct history_op *history_op_at(struct history_check *check, uint64_t number)
{
    ensure(number >= 1 && number <= check->op_count);
    return &check->ops[number - 1];
}

struct history_op *history_op_of_task(struct history_check *check, uint64_t task_id)
{
    uint32_t index = map_find(&check->by_task, hash_mix(task_id), is_equal_task, check, &task_id);
    return index != MAP_NONE ? &check->ops[index] : NULL;
}

uint64_t history_hash_nothing(void)
{
    return hash64((struct slice){NULL, 0}, 0);
}

static void set_over(struct history_check *check, struct history_op *op, bool is_over)
{
    if (op->is_over != is_over) {
        op->is_over = is_over;
        check->open_count += is_over ? -1u : 1u;
    }
}

void history_see_give_up(struct history_check *check, uint64_t number)
{
    struct history_op *op = history_op_at(check, number);
    op->is_given_up = true;
    if (op->task_id == 0) {
        set_over(check, op, true); /* if it is there after all, somebody will see it */
    }
}

bool history_see_task(struct history_check *check, uint64_t number, uint64_t task_id)
{
    if (number < 1 || number > check->op_count) {
        violate(check, "T4", "task %llx is nobody's", (ull)task_id);
        return false;
    }
    struct history_op *op = history_op_at(check, number);
    if (op->task_id == task_id) {
        return true;
    }
    if (op->task_id != 0) {
        violate(check, "once", "op %llu is task %llx and task %llx", (ull)number, (ull)op->task_id, (ull)task_id);
        return false;
    }
    if (history_op_of_task(check, task_id) != NULL) {
        violate(check, "once", "task %llx is op %llu and another one", (ull)task_id, (ull)number);
        return false;
    }
    op->task_id = task_id;
    set_over(check, op, false);
    ensure(map_add(&check->by_task, hash_mix(task_id), (uint32_t)(number - 1), hash_of_task, check));
    return true;
}

void history_see_ack(struct history_check *check, uint64_t number, uint64_t task_id, uint64_t seq, bool is_duplicate)
{
    struct history_op *op = history_op_at(check, number);
    const struct history_op *other = history_op_of_task(check, task_id);
    bool is_others = is_duplicate && other != NULL && other != op && op->task_id == 0;
    /* The task of an op that nobody has seen yet may hold the unique key; a later look tells whose it is. */
    bool is_unseen = is_duplicate && other == NULL && op->unique > 0;
    if (is_others || is_unseen) {
        MUST(check, is_unseen || (op->unique > 0 && other->unique == op->unique), "once",
             "op %llu is answered with the task of another one", (ull)number);
        op->is_acked = op->is_alias = true;
        set_over(check, op, true);
        return;
    }
    if (!history_see_task(check, number, task_id)) {
        return;
    }
    op->is_acked = true;
    if (!is_duplicate) {
        MUST(check, op->create_seq == 0 || op->create_seq == seq, "once",
             "op %llu was made at entry %llu and at entry %llu", (ull)number, (ull)op->create_seq, (ull)seq);
        op->create_seq = seq;
    }
}

/* --- answers --- */

/* The final state that counts, at `shown->version`, which is not before op->final_seq unless it is the same once more. */
static void saw_final(struct history_op *op, const struct history_shown *shown)
{
    bool is_same = op->final_seq != 0 && op->final_state == shown->state && op->final_hash == shown->result_hash;
    if (!is_same || op->is_retried || shown->version < op->final_seq) {
        op->final_seq = shown->version;
    }
    op->final_state = shown->state;
    op->final_hash = shown->result_hash;
}

/* Somebody was shown this. */
static void saw_state(struct history_check *check, struct history_op *op, const struct history_shown *shown)
{
    ull id = (ull)op->task_id, version = (ull)shown->version;
    bool is_final = task_state_is_final(shown->state);
    const char *name = task_state_name(shown->state);
    /* A cancel and the retry that undoes it may be one entry: its row says cancelled, a read says ready. */
    bool is_undone = op->is_retried && is_final != task_state_is_final(op->shown_state) &&
                     shown->state != TASK_SUCCEEDED && op->shown_state != TASK_SUCCEEDED;
    if (shown->version == op->shown_version && version != 0 && !is_undone) {
        MUST(check, op->shown_state == shown->state && op->shown_hash == shown->result_hash, "answers",
             "task %llx at entry %llu was shown as %s and as %s", id, version, task_state_name(op->shown_state), name);
    }
    if (shown->version > op->shown_version) {
        op->shown_version = shown->version;
        op->shown_state = shown->state;
        op->shown_hash = shown->result_hash;
    }
    if (shown->version > op->version_floor) {
        op->version_floor = shown->version;
    }
    if (op->is_accepted && shown->version >= op->final_seq && op->final_state == TASK_SUCCEEDED) {
        MUST(check, shown->state == TASK_SUCCEEDED && shown->result_hash == op->accepted_hash, "T3",
             "task %llx was done at entry %llu and is shown as %s with another result or state", id, (ull)op->final_seq,
             name);
    }
    bool stays = !op->is_retried || op->final_state == TASK_SUCCEEDED;
    if (op->final_seq != 0 && shown->version >= op->final_seq && stays) {
        MUST(check, shown->state == op->final_state && shown->result_hash == op->final_hash, "answers",
             "task %llx was %s at entry %llu and is shown as %s at entry %llu, or with another result", id,
             task_state_name(op->final_state), (ull)op->final_seq, name, version);
    } else if (op->final_seq != 0 && is_final && !op->is_retried) { /* else it was what a retry took back */
        MUST(check, shown->state == op->final_state && shown->result_hash == op->final_hash, "answers",
             "task %llx was %s at entry %llu and %s at entry %llu, or with another result", id, name, version,
             task_state_name(op->final_state), (ull)op->final_seq);
    }
    if (is_final) {
        MUST(check, op->is_retried || shown->version >= op->open_version, "answers",
             "task %llx was %s at entry %llu and not final at entry %llu", id, name, version, (ull)op->open_version);
        if (shown->version >= op->final_seq || !op->is_retried) {
            saw_final(op, shown);
            set_over(check, op, true);
        }
        return;
    }
    if (shown->version > op->open_version) {
        op->open_version = shown->version;
    }
    if (shown->version > op->final_seq) {
        set_over(check, op, false);
    }
}

void history_see_read(struct history_check *check, uint64_t number, uint64_t floor, const struct history_shown *shown)
{
    struct history_op *op = history_op_at(check, number);
    MUST(check, shown->version >= floor, "answers",
         "task %llx is shown as of entry %llu after somebody had seen entry %llu", (ull)op->task_id,
         (ull)shown->version, (ull)floor);
    saw_state(check, op, shown);
}

void history_see_missing(struct history_check *check, uint64_t number)
{
    const struct history_op *op = history_op_at(check, number);
    violate(check, "T4", "task %llx of op %llu is nowhere to be found", (ull)op->task_id, (ull)number);
}

void history_see_cancel(struct history_check *check, uint64_t number, uint64_t seq)
{
    struct history_op *op = history_op_at(check, number);
    MUST(check, !(op->is_accepted && op->final_seq < seq), "T3", "task %llx was done and is cancelled",
         (ull)op->task_id);
    if (!op->is_retried) {
        saw_state(check, op, &(struct history_shown){seq, TASK_CANCELLED, history_hash_nothing()});
    }
}

void history_want_retry(struct history_check *check, uint64_t number)
{
    history_op_at(check, number)->is_retried = true;
}

void history_see_retry(struct history_check *check, uint64_t number, uint64_t seq)
{
    struct history_op *op = history_op_at(check, number);
    MUST(check, !(op->is_accepted && op->final_seq < seq), "T3", "task %llx was done and is retried", (ull)op->task_id);
    set_over(check, op, seq < op->final_seq);
}

/* --- leases and outcomes --- */

bool history_see_lease(struct history_check *check, uint64_t number, const struct lease_token *token)
{
    if (!history_see_task(check, number, token->task_id)) {
        return false;
    }
    struct history_op *op = history_op_at(check, number);
    MUST(check, token->attempt > op->attempt && token->seq > op->lease_seq, "T2",
         "task %llx: attempt %u of entry %llu comes after attempt %u of entry %llu", (ull)token->task_id,
         token->attempt, (ull)token->seq, op->attempt, (ull)op->lease_seq);
    MUST(check, !op->is_accepted, "T3", "task %llx is done and leased once more", (ull)token->task_id);
    op->attempt = token->attempt;
    op->lease_seq = token->seq;
    op->holder = HISTORY_NODE_NONE;
    set_over(check, op, false);
    return true;
}

void history_see_delivery(struct history_check *check, uint64_t number, const struct lease_token *token, uint32_t node)
{
    struct history_op *op = history_op_at(check, number);
    MUST(check, op->task_id == token->task_id && token->seq <= op->lease_seq, "T2",
         "node %s gets a lease that was never released", check->hooks.node_name(check->hooks.ctx, node));
    if (token->seq == op->lease_seq) {
        MUST(check, op->holder == HISTORY_NODE_NONE, "T2", "node %s and node %s get the same lease of task %llx",
             check->hooks.node_name(check->hooks.ctx, node), check->hooks.node_name(check->hooks.ctx, op->holder),
             (ull)op->task_id);
        op->holder = node;
    }
}

void history_see_complete(struct history_check *check, uint64_t number, const struct lease_token *token, uint32_t node,
                          uint64_t seq, uint64_t result_hash)
{
    struct history_op *op = history_op_at(check, number);
    ull id = (ull)token->task_id;
    MUST(check, !op->is_accepted, "T3", "task %llx is done twice", id);
    bool has_holder = op->holder != HISTORY_NODE_NONE;
    MUST(check, token->seq == op->lease_seq && token->attempt == op->attempt && op->holder == node, "T2",
         "node %s completes task %llx with attempt %u, the newest is %u of node %s",
         check->hooks.node_name(check->hooks.ctx, node), id, token->attempt, op->attempt,
         has_holder ? check->hooks.node_name(check->hooks.ctx, op->holder) : "nobody");
    MUST(check, op->is_retried || op->final_seq == 0 || op->final_state == TASK_SUCCEEDED, "T3",
         "task %llx was %s and is completed", id, task_state_name(op->final_state));
    MUST(check, op->is_retried || op->final_seq == 0 || op->final_seq > token->seq, "T3",
         "task %llx was %s at entry %llu, and its complete is of a lease of entry %llu", id,
         task_state_name(op->final_state), (ull)op->final_seq, (ull)token->seq);
    MUST(check, op->refused_seq != token->seq, "T2",
         "task %llx: an outcome of attempt %u was refused, a later one counts", id, token->attempt);
    op->is_accepted = true;
    op->accepted_hash = result_hash;
    op->accepted_attempt = token->attempt;
    saw_state(check, op, &(struct history_shown){seq, TASK_SUCCEEDED, result_hash});
}

void history_see_refused(struct history_check *check, uint64_t number, const struct lease_token *token)
{
    struct history_op *op = history_op_at(check, number);
    op->refused_seq = token->seq > op->refused_seq ? token->seq : op->refused_seq;
}

/* --- rows, and the end --- */

void history_see_listed(struct history_check *check, uint64_t number, uint32_t attempt)
{
    struct history_op *op = history_op_at(check, number);
    MUST(check, !op->is_listed, "once", "task %llx is listed twice", (ull)op->task_id);
    MUST(check, attempt == 0 || !op->is_accepted || attempt == op->accepted_attempt, "T3",
         "task %llx was completed with attempt %u, and is listed as done by attempt %u", (ull)op->task_id,
         op->accepted_attempt, attempt);
    op->is_listed = true;
}

void history_see_row(struct history_check *check, const struct history_row *row)
{
    if (!history_see_task(check, row->op, row->task_id)) {
        return;
    }
    struct history_op *op = history_op_at(check, row->op);
    if (op->has_row && op->row.seq == row->seq) {
        MUST(check, op->row.state == row->state && op->row.result_hash == row->result_hash, "J3",
             "task %llx has two rows of entry %llu", (ull)row->task_id, (ull)row->seq);
    }
    if (op->has_row && !op->is_retried) {
        MUST(check, op->row.seq == row->seq, "T3", "task %llx ends at entry %llu and at entry %llu", (ull)row->task_id,
             (ull)op->row.seq, (ull)row->seq);
    }
    op->has_row = true;
    op->row = *row;
    const struct history_shown shown = {row->seq, row->state, row->result_hash};
    if (!op->is_retried || row->state == TASK_SUCCEEDED) {
        saw_state(check, op, &shown);
    } else if (row->seq >= op->final_seq) {
        /* An entry may hold both the end and the retry; then readers are shown what is after both. */
        saw_final(op, &shown);
        set_over(check, op, true);
    }
}

void history_see_end(struct history_check *check)
{
    for (size_t i = 0; i < check->op_count; i++) {
        const struct history_op *op = &check->ops[i];
        MUST(check, op->is_acked || op->is_given_up, "T4", "op %llu was never answered", (ull)(i + 1));
        MUST(check, op->is_alias || op->task_id == 0 || op->has_row, "T4", "task %llx of op %llu has no row",
             (ull)op->task_id, (ull)(i + 1));
    }
}
