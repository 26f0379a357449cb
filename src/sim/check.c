/* check.c - what must hold, seen from outside.
 *
 * Every submit is an op with a number that its input carries, so that whoever sees the task can name it. What anybody is
 * told about an op is kept here and compared with all that was told before:
 *
 *  visible   nothing of an entry leaves the hub that a recovery could lose (J1): a recovery reaches every visible entry
 *  entries   a recovery replays exactly what was proposed, byte for byte (J2), without gaps (J4), in time (J5)
 *  state     a process killed at entry n and one recovered to entry n have the same hash (J3)
 *  identity  an op has one task, a task one op, for ever (exactly once; T1, T4)
 *  leases    tokens of a task only grow; each is given to one node (T2); first attempts of a line keep its order
 *  turns     no fairness key is passed over again and again (T7)
 *  outcomes  at most one complete of a task is taken, that of the newest lease, from the node that has it (T3)
 *  answers   linearisable: linearisability is local, so each task by itself is a register whose versions are the entries
 *            that changed it. A version has one content; an answer is not older than what was shown before it was asked
 *            for; a final state stays unless a retry is asked for, and succeeded stays in any case
 *  rows      history holds each final state, once durable for good
 *  silence   a node that cannot be heard has no session after lost_ms
 *  end       with everything mended all ops end, and memory returns to what it was (T5) */
#include <stdio.h>
#include <stdlib.h>

#include "base/ensure.h"
#include "sim/world.h"

#define LOOK_EVERY 256u /* steps between two looks at the whole state */
#define SILENCE_SLACK_MS 1500
#define QUIET_MS 700
#define PASSED_MAX 64u /* one quantum, and what nodes and kinds that differ make of it, with much room */

typedef unsigned long long ull;

/* --- ops --- */

static bool is_equal_task(const void *ctx, uint32_t value, const void *key)
{
    const struct checks *checks = ctx;
    return checks->ops[value].task_id == *(const uint64_t *)key;
}

static uint64_t hash_of_task(const void *ctx, uint32_t value)
{
    const struct checks *checks = ctx;
    return hash_mix(checks->ops[value].task_id);
}

static size_t line_count(const struct world *world)
{
    return (size_t)world->workload->queue_count * (WORKLOAD_KEYS_MAX + 1) * 10 * WORKLOAD_KINDS_MAX;
}

void checks_init(struct world *world)
{
    struct checks *checks = &world->checks;
    map_init(&checks->by_task);
    checks->first_leased = calloc(line_count(world), sizeof *checks->first_leased);
    checks->waiting = calloc(line_count(world), sizeof *checks->waiting);
    ensure(checks->first_leased != NULL && checks->waiting != NULL);
}

void checks_free(struct world *world)
{
    struct checks *checks = &world->checks;
    free(checks->ops);
    free(checks->entry_hashes);
    free(checks->first_leased);
    for (size_t i = 0; i < line_count(world); i++) {
        free(checks->waiting[i].ops);
    }
    free(checks->waiting);
    map_free(&checks->by_task);
}

struct op *check_op_new(struct world *world, uint64_t *ret_number)
{
    struct checks *checks = &world->checks;
    if (checks->op_count == checks->op_cap) {
        checks->op_cap = checks->op_cap == 0 ? 1024 : checks->op_cap * 2;
        checks->ops = realloc(checks->ops, checks->op_cap * sizeof *checks->ops);
        ensure(checks->ops != NULL);
    }
    struct op *op = &checks->ops[checks->op_count++];
    *op = (struct op){.holder = UINT32_MAX};
    *ret_number = checks->op_count;
    checks->open_count++;
    return op;
}

struct op *check_op(struct world *world, uint64_t number)
{
    ensure(number >= 1 && number <= world->checks.op_count);
    return &world->checks.ops[number - 1];
}

struct op *check_op_of_task(struct world *world, uint64_t task_id)
{
    struct checks *checks = &world->checks;
    uint32_t index = map_find(&checks->by_task, hash_mix(task_id), is_equal_task, checks, &task_id);
    return index != MAP_NONE ? &checks->ops[index] : NULL;
}

void check_write_input(const struct op *op, uint64_t number, struct buf *ret_text)
{
    buf_reset(ret_text);
    buf_printf(ret_text, "{\"op\":%llu", (ull)number);
    if (op->input_size > ret_text->len + 10) {
        buf_append_str(ret_text, ",\"pad\":\"");
        while (ret_text->len + 2 < op->input_size) {
            buf_append_char(ret_text, 'i');
        }
        buf_append_char(ret_text, '"');
    }
    buf_append_char(ret_text, '}');
}

uint64_t check_op_of_text(struct slice input)
{
    static const char head[] = "{\"op\":";
    uint64_t number = 0;
    if (!slice_starts_with(input, slice_str(head))) {
        return 0;
    }
    for (size_t i = sizeof head - 1; i < input.len && input.data[i] >= '0' && input.data[i] <= '9'; i++) {
        number = number * 10 + (uint64_t)(input.data[i] - '0');
    }
    return number;
}

static void set_over(struct world *world, struct op *op, bool is_over)
{
    if (op->is_over != is_over) {
        op->is_over = is_over;
        world->checks.open_count += is_over ? -1u : 1u;
    }
}

void check_give_up(struct world *world, uint64_t number)
{
    struct op *op = check_op(world, number);
    op->is_given_up = true;
    if (op->task_id == 0) {
        set_over(world, op, true); /* if it is there after all, somebody will see it */
    }
}

void check_visible(struct world *world, uint64_t seq, const char *what)
{
    (void)what;
    if (seq > world->checks.visible_seq) {
        world->checks.visible_seq = seq;
    }
    world->report->checks++;
}

/* Somebody saw that this op is this task. */
void check_bind(struct world *world, uint64_t number, uint64_t task_id)
{
    struct checks *checks = &world->checks;
    CHECK_THAT(world, number >= 1 && number <= checks->op_count, "T4", "task %llx is nobody's", (ull)task_id);
    if (world->report->has_failed) {
        return;
    }
    struct op *op = check_op(world, number);
    if (op->task_id == task_id) {
        return;
    }
    CHECK_THAT(world, op->task_id == 0, "once", "op %llu is task %llx and task %llx", (ull)number, (ull)op->task_id,
               (ull)task_id);
    CHECK_THAT(world, check_op_of_task(world, task_id) == NULL, "once", "task %llx is op %llu and another one",
               (ull)task_id, (ull)number);
    if (world->report->has_failed) {
        return;
    }
    op->task_id = task_id;
    set_over(world, op, false);
    ensure(map_add(&checks->by_task, hash_mix(task_id), (uint32_t)(number - 1), hash_of_task, checks));
}

/* --- whose turn it is --- */

static size_t line_number(const struct op *op, uint32_t key)
{
    size_t line = (size_t)op->queue * (WORKLOAD_KEYS_MAX + 1) + key;
    return (line * 10 + op->priority) * WORKLOAD_KINDS_MAX + op->kind;
}

static void waits(struct world *world, uint64_t number)
{
    const struct op *op = check_op(world, number);
    struct waiting *line = &world->checks.waiting[line_number(op, op->key)];
    if (!op->is_plain || op->lease_seq != 0 || op->is_over) {
        return;
    }
    if (line->count == line->cap) {
        line->cap = line->cap == 0 ? 64 : line->cap * 2;
        line->ops = realloc(line->ops, line->cap * sizeof *line->ops);
        ensure(line->ops != NULL);
    }
    line->ops[line->count++] = (uint32_t)number;
}

/* Whether somebody is known to wait in a line. */
static bool has_waiting(struct world *world, struct waiting *line)
{
    for (; line->head < line->count; line->head++) {
        const struct op *op = check_op(world, line->ops[line->head]);
        if (op->is_plain && op->lease_seq == 0 && !op->is_over) {
            return true;
        }
    }
    line->head = line->count = 0;
    return false;
}

/* T7: a key is not passed over again and again by the others of its queue. */
static void has_turn(struct world *world, const struct op *op)
{
    struct waiting *waiting = world->checks.waiting;
    for (uint32_t kind = 0; kind < WORKLOAD_KINDS_MAX; kind++) {
        waiting[line_number(op, op->key) - op->kind + kind].passed = 0;
    }
    for (uint32_t key = 0; key <= world->workload->queues[op->queue].keys; key++) {
        struct waiting *line = &waiting[line_number(op, key)];
        if (key == op->key) {
            continue;
        }
        line->passed = has_waiting(world, line) ? line->passed + 1 : 0;
        CHECK_THAT(world, line->passed <= PASSED_MAX, "T7", "op %u waits while other keys had %u turns",
                   line->ops[line->head], line->passed);
    }
}

/* --- answers --- */

/* Somebody was shown that at `version` the task was in this state. */
static void saw_state(struct world *world, struct op *op, uint64_t version, enum task_state state, uint64_t result_hash)
{
    ull id = (ull)op->task_id;
    if (version == op->shown_version && version != 0) {
        CHECK_THAT(world, op->shown_state == state && op->shown_hash == result_hash, "answers",
                   "task %llx at entry %llu was shown as %s and as %s", id, (ull)version,
                   task_state_name(op->shown_state), task_state_name(state));
    }
    if (version > op->shown_version) {
        op->shown_version = version;
        op->shown_state = state;
        op->shown_hash = result_hash;
    }
    if (version > op->version_floor) {
        op->version_floor = version;
    }
    if (op->is_accepted && version >= op->final_seq && op->final_state == TASK_SUCCEEDED) {
        CHECK_THAT(world, state == TASK_SUCCEEDED && result_hash == op->accepted_hash, "T3",
                   "task %llx was done at entry %llu and is shown as %s with another result or state", id,
                   (ull)op->final_seq, task_state_name(state));
    }
    if (op->final_seq != 0 && version >= op->final_seq && (!op->is_retried || op->final_state == TASK_SUCCEEDED)) {
        CHECK_THAT(world, state == op->final_state && result_hash == op->final_hash, "answers",
                   "task %llx was %s at entry %llu and is shown as %s at entry %llu", id,
                   task_state_name(op->final_state), (ull)op->final_seq, task_state_name(state), (ull)version);
    }
    if (task_state_is_final(state) && version >= op->final_seq) {
        op->final_seq = version;
        op->final_state = state;
        op->final_hash = result_hash;
        set_over(world, op, true);
    } else if (version > op->final_seq) {
        set_over(world, op, false);
    }
}

static void check_submitted(struct world *world, uint64_t number, const struct answer *answer)
{
    struct op *op = check_op(world, number);
    if (answer->status != STATUS_OK) {
        bool is_limit = answer->status == STATUS_TOO_LARGE || answer->status == STATUS_KIND_UNKNOWN;
        CHECK_THAT(world, !is_limit, "T4", "op %llu is refused: %s", (ull)number, status_title(answer->status));
        return;
    }
    const struct op *other = check_op_of_task(world, answer->task_id);
    if (answer->is_duplicate && other != NULL && other != op && op->task_id == 0) {
        CHECK_THAT(world, op->unique > 0 && other->unique == op->unique && other->queue == op->queue, "once",
                   "op %llu is answered with the task of another one", (ull)number);
        op->is_acked = op->is_alias = true;
        set_over(world, op, true);
        return;
    }
    if (answer->is_duplicate && other == NULL && op->unique > 0) {
        /* The task of an op that nobody has seen yet holds the key; a later look tells whose it is. */
        op->is_acked = op->is_alias = true;
        set_over(world, op, true);
        return;
    }
    check_bind(world, number, answer->task_id);
    op->is_acked = true;
    if (!answer->is_duplicate) {
        CHECK_THAT(world, op->create_seq == 0 || op->create_seq == answer->seq, "once",
                   "op %llu was made at entry %llu and at entry %llu", (ull)number, (ull)op->create_seq,
                   (ull)answer->seq);
        op->create_seq = answer->seq;
        waits(world, number);
    }
}

void check_answer(struct world *world, uint64_t number, const struct answer *answer, uint64_t floor)
{
    world->report->checks++;
    if (answer->op == WORKLOAD_SUBMIT) {
        check_submitted(world, number, answer);
        return;
    }
    if (answer->op == WORKLOAD_PAUSE || answer->op == WORKLOAD_DRAIN) {
        bool is_known = answer->status == STATUS_OK || answer->status == STATUS_NOT_FOUND;
        CHECK_THAT(world, is_known, "answers", "a queue or node cannot be set: %s", status_title(answer->status));
        return;
    }
    struct op *op = check_op(world, number);
    if (answer->op == WORKLOAD_GET) {
        CHECK_THAT(world, answer->status == STATUS_OK, "T4", "task %llx of op %llu is %s", (ull)op->task_id,
                   (ull)number, status_title(answer->status));
        if (answer->status == STATUS_OK) {
            CHECK_THAT(world, answer->version >= floor, "answers",
                       "task %llx is shown as of entry %llu after somebody had seen entry %llu", (ull)op->task_id,
                       (ull)answer->version, (ull)floor);
            saw_state(world, op, answer->version, answer->state, answer->result_hash);
        }
        return;
    }
    /* Cancel and retry: a task that has left memory is NOT_FOUND, one in the wrong state CONFLICT. */
    if (answer->status == STATUS_OK && answer->op == WORKLOAD_CANCEL) {
        CHECK_THAT(world, answer->state == TASK_CANCELLED, "answers", "a cancelled task is %s",
                   task_state_name(answer->state));
        CHECK_THAT(world, !(op->is_accepted && op->final_seq < answer->seq), "T3",
                   "task %llx was done and is cancelled", (ull)op->task_id);
        if (!op->is_retried) {
            saw_state(world, op, answer->seq, TASK_CANCELLED, hash64((struct slice){NULL, 0}, 0));
        }
    } else if (answer->status == STATUS_OK) {
        CHECK_THAT(world, !(op->is_accepted && op->final_seq < answer->seq), "T3", "task %llx was done and is retried",
                   (ull)op->task_id);
        set_over(world, op, answer->seq < op->final_seq);
    } else if (answer->status == STATUS_NOT_FOUND) {
        CHECK_THAT(world, op->has_row, "T4", "task %llx is neither in memory nor in history", (ull)op->task_id);
    }
}

/* --- leases and outcomes --- */

void check_lease(struct world *world, const struct effect_lease *lease, uint64_t seq)
{
    const struct lease_token *token = &lease->offer.token;
    uint64_t number = check_op_of_text(lease->offer.input);
    world->report->checks++;
    check_visible(world, seq, "a lease");
    check_bind(world, number, token->task_id);
    if (world->report->has_failed) {
        return;
    }
    struct op *op = check_op(world, number);
    CHECK_THAT(world, token->seq == seq, "T2", "a lease of entry %llu carries the fence %llu", (ull)seq,
               (ull)token->seq);
    CHECK_THAT(world, token->attempt > op->attempt && token->seq > op->lease_seq, "T2",
               "task %llx: attempt %u of entry %llu comes after attempt %u of entry %llu", (ull)token->task_id,
               token->attempt, (ull)token->seq, op->attempt, (ull)op->lease_seq);
    CHECK_THAT(world, !op->is_accepted, "T3", "task %llx is done and leased once more", (ull)token->task_id);
    CHECK_THAT(world, hash64(lease->offer.input, 0) == op->input_hash, "T4", "task %llx is leased with another input",
               (ull)token->task_id);
    op->attempt = token->attempt;
    op->lease_seq = token->seq;
    op->holder = UINT32_MAX;
    set_over(world, op, false);
    has_turn(world, op);
    if (token->attempt == 1 && op->is_plain) {
        uint64_t *line = &world->checks.first_leased[line_number(op, op->key)];
        uint64_t order = token->task_id >> 24; /* the task's number; task_id.h */
        CHECK_THAT(world, order > *line, "fifo", "task %llx goes out after a younger one of its line",
                   (ull)token->task_id);
        *line = order;
    }
}

void check_delivered(struct world *world, uint32_t node, const struct work_lease *lease, uint64_t number)
{
    CHECK_THAT(world, number >= 1 && number <= world->checks.op_count, "T4", "a lease of an unknown input arrives");
    if (world->report->has_failed) {
        return;
    }
    struct op *op = check_op(world, number);
    world->report->checks++;
    CHECK_THAT(world, op->task_id == lease->token.task_id && lease->token.seq <= op->lease_seq, "T2",
               "node %u gets a lease that was never released", node);
    if (lease->token.seq == op->lease_seq) {
        CHECK_THAT(world, op->holder == UINT32_MAX, "T2", "node %u and node %u get the same lease of task %llx", node,
                   op->holder, (ull)op->task_id);
        op->holder = node;
    }
}

void check_accepted(struct world *world, uint32_t node, const struct outbox_item *item, uint64_t seq)
{
    struct op *op = check_op(world, item->op);
    const struct lease_token *token = &item->outcome.token;
    world->report->checks++;
    CHECK_THAT(world, !item->is_lie, "T2", "a lie of node %u about task %llx is taken", node, (ull)token->task_id);
    if (item->outcome.type != OUTCOME_COMPLETE) {
        return;
    }
    CHECK_THAT(world, !op->is_accepted, "T3", "task %llx is done twice", (ull)token->task_id);
    CHECK_THAT(world, token->seq == op->lease_seq && token->attempt == op->attempt && op->holder == node, "T2",
               "node %u completes task %llx with attempt %u, the newest is %u of node %u", node, (ull)token->task_id,
               token->attempt, op->attempt, op->holder);
    CHECK_THAT(world, op->is_retried || op->final_seq == 0 || op->final_state == TASK_SUCCEEDED, "T3",
               "task %llx was %s and is completed", (ull)token->task_id, task_state_name(op->final_state));
    op->is_accepted = true;
    op->accepted_hash = hash64(item->large.len > 0 ? buf_slice(&item->large) : slice_str(item->payload), 0);
    saw_state(world, op, seq, TASK_SUCCEEDED, op->accepted_hash);
}

void check_kept(struct world *world, uint32_t node, uint64_t session, const struct lease_token *token)
{
    static struct task_view view; /* large */
    struct node_view holder;
    const struct sim_hub *hub = &world->hub;
    if (!hub->is_up || !core_session_find(sequencer_core(hub->hub.sequencer), session, &holder) ||
        core_task_get(sequencer_core(hub->hub.sequencer), token->task_id, &view) != STATUS_OK) {
        return; /* it has moved on meanwhile */
    }
    for (uint32_t i = 0; i < view.attempt_count; i++) {
        CHECK_THAT(world, view.attempt[i].attempt != token->attempt || view.attempt[i].outcome != ATTEMPT_LOST, "T2",
                   "node %u was told that it keeps attempt %u of task %llx, which counts as lost", node, token->attempt,
                   (ull)token->task_id);
    }
}

/* --- history --- */

void check_row(struct world *world, const struct history_row *row, bool is_durable)
{
    world->report->checks++;
    CHECK_THAT(world, task_state_is_final(row->state), "T4", "task %llx has a row and is %s", (ull)row->task_id,
               task_state_name(row->state));
    if (!is_durable || world->report->has_failed) {
        return;
    }
    check_bind(world, row->op, row->task_id);
    if (world->report->has_failed) {
        return;
    }
    struct op *op = check_op(world, row->op);
    if (op->has_row && op->row.seq == row->seq) {
        CHECK_THAT(world, op->row.state == row->state && op->row.result_hash == row->result_hash, "J3",
                   "task %llx has two rows of entry %llu", (ull)row->task_id, (ull)row->seq);
    }
    if (op->has_row && !op->is_retried) {
        CHECK_THAT(world, op->row.seq == row->seq, "T3", "task %llx ends at entry %llu and at entry %llu",
                   (ull)row->task_id, (ull)op->row.seq, (ull)row->seq);
    }
    op->has_row = true;
    op->row = *row;
    saw_state(world, op, row->seq, row->state, row->result_hash);
}

/* --- entries and crashes --- */

void check_entry(struct world *world, const struct journal_entry *entry, bool is_replay)
{
    struct checks *checks = &world->checks;
    uint64_t hash = hash64(entry->body, (uint64_t)entry->time_ns);
    world->report->checks++;
    trace(world, TRACE_ENTRY, entry->seq, entry->body.len, hash);
    if (is_replay) {
        check_replayed(world, core_seq(sequencer_core(world->hub.hub.sequencer)), entry);
        return;
    }
    CHECK_THAT(world, entry->time_ns >= checks->last_time_ns, "J5", "entry %llu goes back in time by %lld ms",
               (ull)entry->seq, (long long)((checks->last_time_ns - entry->time_ns) / SIM_MS));
    checks->last_time_ns = entry->time_ns;
    if (checks->entry_count == checks->entry_cap) {
        checks->entry_cap = checks->entry_cap == 0 ? 4096 : checks->entry_cap * 2;
        checks->entry_hashes = realloc(checks->entry_hashes, checks->entry_cap * sizeof *checks->entry_hashes);
        ensure(checks->entry_hashes != NULL);
    }
    CHECK_THAT(world, entry->seq == checks->entry_count + 1, "J4", "entry %llu comes after entry %llu", (ull)entry->seq,
               (ull)checks->entry_count);
    if (entry->seq == checks->entry_count + 1) {
        checks->entry_hashes[checks->entry_count++] = hash;
    }
}

void check_replayed(struct world *world, uint64_t before_seq, const struct journal_entry *entry)
{
    const struct checks *checks = &world->checks;
    CHECK_THAT(world, entry->seq == before_seq + 1, "J4", "a recovery replays entry %llu after entry %llu",
               (ull)entry->seq, (ull)before_seq);
    bool is_known = entry->seq >= 1 && entry->seq <= checks->entry_count &&
                    checks->entry_hashes[entry->seq - 1] == hash64(entry->body, (uint64_t)entry->time_ns);
    CHECK_THAT(world, is_known, "J2", "a recovery replays an entry %llu that was not proposed so", (ull)entry->seq);
}

void check_before_crash(struct world *world)
{
    struct checks *checks = &world->checks;
    const struct core *core = sequencer_core(world->hub.hub.sequencer);
    checks->has_live_hash = !world->hub.is_dying || core_seq(core) > 0;
    checks->live_seq = core_seq(core);
    checks->live_hash = core_fingerprint(core);
}

/* A sentence of core_check or file_journal_check names what it is about: "T5: sessions are counted wrong". */
static void check_sentence(struct world *world, const char *other, const char *when, const char *sentence)
{
    char rule[sizeof world->report->rule];
    size_t len = sentence != NULL ? strcspn(sentence, ": ") : 0;
    if (sentence == NULL) {
        return;
    }
    bool has_rule = len == 2 && sentence[len] == ':';
    snprintf(rule, sizeof rule, "%.*s", has_rule ? (int)len : (int)sizeof rule - 1, has_rule ? sentence : other);
    world_fail(world, rule, "%s%s", when, sentence);
}

static void check_core(struct world *world, struct core *core, const char *when)
{
    world->report->checks++;
    check_sentence(world, "core", when, core_check(core));
}

static void check_is_there(struct world *world, struct core *core, struct op *op)
{
    struct task_brief brief;
    if (core_task_brief(core, op->task_id, &brief) != STATUS_OK) {
        CHECK_THAT(world, op->has_row, "J1", "task %llx is lost by a crash", (ull)op->task_id);
        return;
    }
    if (op->final_seq != 0 && (!op->is_retried || op->final_state == TASK_SUCCEEDED)) {
        CHECK_THAT(world, brief.state == op->final_state, "J1", "task %llx was %s, and is %s after a crash",
                   (ull)op->task_id, task_state_name(op->final_state), task_state_name(brief.state));
    }
}

void check_recovered(struct world *world, const struct file_journal_recovery *recovery)
{
    struct checks *checks = &world->checks;
    struct core *core = sequencer_core(world->hub.hub.sequencer);
    uint64_t seq = core_seq(core);
    CHECK_THAT(world, seq >= checks->visible_seq, "J1", "recovery ends at entry %llu, and entry %llu was seen outside",
               (ull)seq, (ull)checks->visible_seq);
    CHECK_THAT(world, seq <= checks->entry_count, "J2", "recovery ends at entry %llu, proposed were %llu", (ull)seq,
               (ull)checks->entry_count);
    CHECK_THAT(world, recovery->last_seq == seq, "J4", "the journal is at entry %llu, the core at %llu",
               (ull)recovery->last_seq, (ull)seq);
    CHECK_THAT(world, world->hub.history_seq <= seq, "J1", "history is ahead of the journal");
    if (world->report->has_failed) {
        return;
    }
    for (size_t i = 0; i < line_count(world); i++) { /* leases that nobody was told of are not known here */
        checks->waiting[i].head = checks->waiting[i].count = checks->waiting[i].passed = 0;
    }
    checks->entry_count = seq; /* what came after it never happened, and nobody knows of it */
    checks->last_time_ns = core_time_ns(core);
    if (checks->has_live_hash && checks->live_seq == seq) {
        CHECK_THAT(world, core_fingerprint(core) == checks->live_hash, "J3",
                   "the state recovered at entry %llu is not the one that was lost", (ull)seq);
    }
    while (checks->settled < checks->op_count) {
        const struct op *op = &checks->ops[checks->settled];
        if (!op->is_alias && !op->has_row && !(op->is_given_up && op->task_id == 0)) {
            break;
        }
        checks->settled++;
    }
    for (size_t i = checks->settled; i < checks->op_count && !world->report->has_failed; i++) {
        struct op *op = &checks->ops[i];
        if (op->task_id != 0 && !op->is_alias) {
            check_is_there(world, core, op);
        }
    }
    check_core(world, core, "after a recovery: ");
}

/* --- now and then --- */

static void check_silence(struct world *world)
{
    const struct sim_hub *hub = &world->hub;
    struct core *core = sequencer_core(hub->hub.sequencer);
    int64_t since_ns = hub->up_since_ns > hub->slow_until_ns ? hub->up_since_ns : hub->slow_until_ns;
    since_ns = since_ns > hub->full_until_ns ? since_ns : hub->full_until_ns;
    int64_t limit_ns = (LIMIT_LOST_MS + SILENCE_SLACK_MS) * SIM_MS;
    for (uint32_t i = 0; i < world->node_count; i++) {
        const struct sim_node *node = &world->nodes[i];
        struct node_view view;
        int64_t heard_ns = node->told_ns > since_ns ? node->told_ns : since_ns;
        if (world->now_ns - heard_ns < limit_ns || !core_node_find(core, slice_str(node->name), &view)) {
            continue;
        }
        CHECK_THAT(world, view.session == 0, "silence", "node %s has not been heard of for %lld ms and has a session",
                   node->name, (long long)((world->now_ns - heard_ns) / SIM_MS));
    }
}

void check_now_and_then(struct world *world)
{
    const struct sim_hub *hub = &world->hub;
    if (!hub->is_up || world->step % LOOK_EVERY != 0 || world->report->has_failed) {
        return;
    }
    check_core(world, sequencer_core(hub->hub.sequencer), "");
    check_sentence(world, "journal", "", file_journal_check(hub->hub.journal));
    if (hub->hub.is_ready) {
        check_silence(world);
    }
}

/* --- the end --- */

/* Whether nothing is left to do. A healed world resumes queues and nodes itself: their clients are gone. */
bool check_is_quiet(struct world *world, char *ret_why, size_t why_size)
{
    struct sim_hub *hub = &world->hub;
    if (!hub->is_up || !hub->hub.is_ready) {
        snprintf(ret_why, why_size, "the hub is not up");
        return false;
    }
    struct sequencer *sequencer = hub->hub.sequencer;
    struct core *core = sequencer_core(sequencer);
    struct queue_view queue;
    for (uint32_t i = 0; core_queue_at(core, i, &queue); i++) {
        struct buf *out = queue.is_paused ? sequencer_begin(sequencer) : NULL;
        if (out != NULL) {
            command_put_queue_set(out, &(struct command_queue_set){.name = queue.name, .has_paused = true});
            sequencer_commit(sequencer, NULL);
            hub_flush_soon(world);
        }
    }
    struct node_view node;
    for (uint32_t i = 0; core_node_at(core, i, &node); i++) {
        struct buf *out = node.is_draining ? sequencer_begin(sequencer) : NULL;
        if (out != NULL) {
            command_put_node_set(out, &(struct command_node_set){.node = node.name, .has_drain = true});
            sequencer_commit(sequencer, NULL);
            hub_flush_soon(world);
        }
    }
    struct core_stats stats;
    core_stats(core, &stats);
    uint64_t open = stats.counts[TASK_SCHEDULED] + stats.counts[TASK_READY] + stats.counts[TASK_LEASED];
    if (!clients_are_done(world)) {
        snprintf(ret_why, why_size, "a client waits for an answer");
        return false;
    }
    if (open > 0) {
        snprintf(ret_why, why_size, "%llu tasks scheduled, %llu ready, %llu leased", (ull)stats.counts[TASK_SCHEDULED],
                 (ull)stats.counts[TASK_READY], (ull)stats.counts[TASK_LEASED]);
        return false;
    }
    if (stats.tasks_live > 0) {
        snprintf(ret_why, why_size, "%llu finished tasks stay in memory", (ull)stats.tasks_live);
        return false;
    }
    for (uint32_t i = 0; i < world->node_count; i++) {
        if (!world->nodes[i].is_live || world->nodes[i].held_count > 0 || world->nodes[i].outbox_count > 0) {
            snprintf(ret_why, why_size, "node %s is not at rest", world->nodes[i].name);
            return false;
        }
    }
    if (sequencer_durable_seq(sequencer) < core_seq(core) || core_seq(core) != world->checks.quiet_seq) {
        world->checks.quiet_seq = core_seq(core);
        world->checks.quiet_ns = world->now_ns;
    }
    if (world->now_ns - world->checks.quiet_ns < QUIET_MS * SIM_MS) { /* something may still be on its way */
        snprintf(ret_why, why_size, "entry %llu is young", (ull)core_seq(core));
        return false;
    }
    return true;
}

void check_end(struct world *world)
{
    struct sim_hub *hub = &world->hub;
    struct core *core = sequencer_core(hub->hub.sequencer);
    struct checks *checks = &world->checks;
    uint64_t made = 0;
    for (size_t i = 0; i < checks->op_count; i++) {
        const struct op *op = &checks->ops[i];
        made += op->task_id != 0;
        CHECK_THAT(world, op->is_acked || op->is_given_up, "T4", "op %llu was never answered", (ull)(i + 1));
        CHECK_THAT(world, op->is_alias || op->task_id == 0 || op->has_row, "T4", "task %llx of op %llu has no row",
                   (ull)op->task_id, (ull)(i + 1));
    }
    struct core_stats stats;
    core_stats(core, &stats);
    CHECK_THAT(world, stats.accepted == made, "once", "%llu tasks were accepted for %llu ops", (ull)stats.accepted,
               (ull)made);
    CHECK_THAT(world, stats.accepted == stats.evicted, "T4", "%llu accepted, %llu evicted, none in memory",
               (ull)stats.accepted, (ull)stats.evicted);
    CHECK_THAT(world, stats.flows == 0 && stats.signatures == 0, "rest", "%u flows and %u signatures are left",
               stats.flows, stats.signatures);
    CHECK_THAT(world, stats.sessions == world->node_count, "rest", "%u sessions for %u nodes", stats.sessions,
               world->node_count);
    CHECK_THAT(world, sequencer_held_size(hub->hub.sequencer) == 0, "rest", "effects are held back for nothing");
    CHECK_THAT(world, clients_open_calls(world) == 0, "rest", "%u requests were never answered",
               clients_open_calls(world));
    check_core(world, core, "at the end: ");
    uint64_t leases = 0;
    for (uint32_t i = 0; i < world->node_count; i++) {
        const struct sim_node *node = &world->nodes[i];
        struct node_view view;
        bool is_known = core_node_find(core, slice_str(node->name), &view);
        leases += is_known ? view.leases : 0;
        CHECK_THAT(world, is_known && view.credit == node->slots, "T5", "node %s has %u free slots and credit for %u",
                   node->name, node->slots, is_known ? view.credit : 0);
    }
    CHECK_THAT(world, leases == 0, "T5", "%llu leases are left", (ull)leases);
    core_hash(core, world->report->state_hash);
}
