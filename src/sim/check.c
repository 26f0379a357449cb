/* check.c - what must hold, seen from outside and, where outside cannot tell, from within.
 *
 * Every submit is an op with a number that its input carries, so that whoever sees the task can name it. What anybody is
 * told about an op goes to history_check.c, which also judges recorded histories of real processes: identity, leases,
 * outcomes, answers, rows. Added here is what takes a simulated hub to see:
 *
 *  visible   nothing of an entry leaves the hub that a recovery could lose (J1): a recovery reaches every visible entry
 *  entries   a recovery replays exactly what was proposed, byte for byte (J2), without gaps (J4), in time (J5)
 *  state     a process killed at entry n and one recovered to entry n have the same hash (J3)
 *  leases    first attempts of a line keep its order; a fence is the entry's number; inputs are what was submitted
 *  turns     no fairness key is passed over again and again (T7)
 *  outcomes  no lie of a node is taken
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

static void on_violated(void *ctx, const char *rule, const char *why)
{
    world_fail(ctx, rule, "%s", why);
}

static const char *name_of_node(void *ctx, uint32_t node)
{
    const struct world *world = ctx;
    return node < world->node_count ? world->nodes[node].name : worker_name(world, node - world->node_count);
}

static size_t line_count(const struct world *world)
{
    return (size_t)world->workload->queue_count * (WORKLOAD_KEYS_MAX + 1) * 10 * WORKLOAD_KINDS_MAX;
}

void checks_init(struct world *world)
{
    struct checks *checks = &world->checks;
    history_check_init(&checks->seen, &(struct history_check_hooks){on_violated, name_of_node, world});
    checks->first_leased = calloc(line_count(world), sizeof(*checks->first_leased));
    checks->waiting = calloc(line_count(world), sizeof(*checks->waiting));
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
    history_check_free(&checks->seen);
}

struct op *check_op_new(struct world *world, uint64_t *ret_number)
{
    struct checks *checks = &world->checks;
    uint64_t number = history_op_new(&checks->seen, 0);
    if (number > checks->op_cap) {
        checks->op_cap = checks->op_cap == 0 ? 1024 : checks->op_cap * 2;
        checks->ops = realloc(checks->ops, checks->op_cap * sizeof(*checks->ops));
        ensure(checks->ops != NULL);
    }
    struct op *op = &checks->ops[number - 1];
    *op = (struct op){0};
    *ret_number = number;
    return op;
}

struct op *check_op(struct world *world, uint64_t number)
{
    ensure(number >= 1 && number <= world->checks.seen.op_count);
    return &world->checks.ops[number - 1];
}

struct history_op *check_seen(struct world *world, uint64_t number)
{
    return history_op_at(&world->checks.seen, number);
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
    for (size_t i = sizeof(head) - 1; i < input.len && input.data[i] >= '0' && input.data[i] <= '9'; i++) {
        number = number * 10 + (uint64_t)(input.data[i] - '0');
    }
    return number;
}

void check_give_up(struct world *world, uint64_t number)
{
    history_see_give_up(&world->checks.seen, number);
}

void check_visible(struct world *world, uint64_t seq, const char *what)
{
    (void)what;
    if (seq > world->checks.visible_seq) {
        world->checks.visible_seq = seq;
    }
    world->report->checks++;
}

/* --- whose turn it is --- */

static size_t line_number(const struct op *op, uint32_t key)
{
    size_t line = (size_t)op->queue * (WORKLOAD_KEYS_MAX + 1) + key;
    return (line * 10 + op->priority) * WORKLOAD_KINDS_MAX + op->kind;
}

/* Whether an op is to have its first lease, as far as anybody knows. */
static bool is_waiting(struct world *world, uint64_t number)
{
    const struct history_op *seen = check_seen(world, number);
    return check_op(world, number)->is_plain && seen->lease_seq == 0 && !seen->is_over;
}

static void waits(struct world *world, uint64_t number)
{
    const struct op *op = check_op(world, number);
    struct waiting *line = &world->checks.waiting[line_number(op, op->key)];
    if (!is_waiting(world, number)) {
        return;
    }
    if (line->count == line->cap) {
        line->cap = line->cap == 0 ? 64 : line->cap * 2;
        line->ops = realloc(line->ops, line->cap * sizeof(*line->ops));
        ensure(line->ops != NULL);
    }
    line->ops[line->count++] = (uint32_t)number;
}

/* Whether somebody is known to wait in a line. */
static bool has_waiting(struct world *world, struct waiting *line)
{
    for (; line->head < line->count; line->head++) {
        if (is_waiting(world, line->ops[line->head])) {
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

static void check_submitted(struct world *world, uint64_t number, const struct answer *answer)
{
    if (answer->status != STATUS_OK) {
        bool is_limit = answer->status == STATUS_TOO_LARGE || answer->status == STATUS_KIND_UNKNOWN;
        CHECK_THAT(world, !is_limit, "T4", "op %llu is refused: %s", (ull)number, status_title(answer->status));
        return;
    }
    history_see_ack(&world->checks.seen, number, answer->task_id, answer->seq, answer->is_duplicate);
    if (!answer->is_duplicate) {
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
    struct history_check *seen = &world->checks.seen;
    if (answer->op == WORKLOAD_GET || answer->op == WORKLOAD_WAIT) {
        CHECK_THAT(world, answer->status == STATUS_OK, "T4", "the task of op %llu is %s", (ull)number,
                   status_title(answer->status));
        if (answer->status == STATUS_OK) {
            history_see_read(seen, number, floor,
                             &(struct history_shown){answer->version, answer->state, answer->result_hash});
        }
        return;
    }
    /* Cancel and retry: a task that has left memory is NOT_FOUND, one in the wrong state CONFLICT. */
    if (answer->status == STATUS_OK && answer->op == WORKLOAD_CANCEL) {
        CHECK_THAT(world, answer->state == TASK_CANCELLED, "answers", "a cancelled task is %s",
                   task_state_name(answer->state));
        history_see_cancel(seen, number, answer->seq);
    } else if (answer->status == STATUS_OK && answer->is_duplicate) {
        CHECK_THAT(world, !task_state_is_final(answer->state) || answer->state == TASK_SUCCEEDED, "answers",
                   "a second retry leaves a task %s", task_state_name(answer->state));
    } else if (answer->status == STATUS_OK) {
        history_see_retry(seen, number, answer->seq);
    } else if (answer->status == STATUS_NOT_FOUND && !check_seen(world, number)->has_row) {
        history_see_missing(seen, number);
    }
}

/* --- leases and outcomes --- */

/* The core may be ahead of the lease by the loss of this very attempt, but by no more. */
static void check_poison(struct world *world, const struct lease_token *token)
{
    static struct task_view view; /* too large for a stack */
    if (core_task_get(sequencer_core(world->hub.hub.sequencer), token->task_id, &view) == STATUS_OK) {
        CHECK_THAT(world, view.deaths <= LIMIT_DEATHS, "poison", "task %llx is leased although %u nodes died under it",
                   (ull)token->task_id, view.deaths);
    }
}

void check_lease(struct world *world, const struct effect_lease *lease, uint64_t seq)
{
    const struct lease_token *token = &lease->offer.token;
    uint64_t number = check_op_of_text(lease->offer.input);
    world->report->checks++;
    check_visible(world, seq, "a lease");
    if (!history_see_lease(&world->checks.seen, number, token)) {
        return;
    }
    struct op *op = check_op(world, number);
    op->lease_session = lease->session;
    CHECK_THAT(world, token->seq == seq, "T2", "a lease of entry %llu carries the fence %llu", (ull)seq,
               (ull)token->seq);
    CHECK_THAT(world, hash64(lease->offer.input, 0) == op->input_hash, "T4", "task %llx is leased with another input",
               (ull)token->task_id);
    check_poison(world, token);
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
    CHECK_THAT(world, number >= 1 && number <= world->checks.seen.op_count, "T4",
               "a lease of an unknown input arrives");
    if (world->report->has_failed) {
        return;
    }
    world->report->checks++;
    history_see_delivery(&world->checks.seen, number, &lease->token, node);
}

void check_accepted(struct world *world, uint32_t node, const struct outbox_item *item, uint64_t seq)
{
    const struct lease_token *token = &item->outcome.token;
    world->report->checks++;
    CHECK_THAT(world, !item->is_lie, "T2", "a lie of node %u about task %llx is taken", node, (ull)token->task_id);
    if (item->outcome.type == OUTCOME_COMPLETE) {
        uint64_t hash = hash64(item->large.len > 0 ? buf_slice(&item->large) : slice_str(item->payload), 0);
        history_see_complete(&world->checks.seen, item->op, token, node, seq, hash);
    }
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
    history_see_row(&world->checks.seen, row);
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
        checks->entry_hashes = realloc(checks->entry_hashes, checks->entry_cap * sizeof(*checks->entry_hashes));
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
    char rule[sizeof(world->report->rule)];
    size_t len = sentence != NULL ? strcspn(sentence, ": ") : 0;
    if (sentence == NULL) {
        return;
    }
    bool has_rule = len == 2 && sentence[len] == ':';
    snprintf(rule, sizeof(rule), "%.*s", has_rule ? (int)len : (int)sizeof(rule) - 1, has_rule ? sentence : other);
    world_fail(world, rule, "%s%s", when, sentence);
}

static void check_core(struct world *world, struct core *core, const char *when)
{
    world->report->checks++;
    check_sentence(world, "core", when, core_check(core));
}

static void check_is_there(struct world *world, struct core *core, const struct history_op *op)
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
    CHECK_THAT(world, world->hub.position.durable_seq <= seq, "J1", "history is ahead of the journal");
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
    while (checks->settled < checks->seen.op_count) {
        const struct history_op *op = &checks->seen.ops[checks->settled];
        if (!op->is_alias && !op->has_row && !(op->is_given_up && op->task_id == 0)) {
            break;
        }
        checks->settled++;
    }
    for (size_t i = checks->settled; i < checks->seen.op_count && !world->report->has_failed; i++) {
        const struct history_op *op = &checks->seen.ops[i];
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
        check_workers(world);
        check_waits(world);
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
    for (uint32_t i = core_queue_next(core, 0); core_queue_at(core, i, &queue); i = core_queue_next(core, i + 1)) {
        struct buf *out = queue.is_paused ? sequencer_begin(sequencer) : NULL;
        if (out != NULL) {
            command_put_queue_set(out, &(struct command_queue_set){.name = queue.name, .has_paused = true});
            sequencer_commit(sequencer, NULL);
            hub_flush_soon(world);
        }
    }
    struct node_view node;
    for (uint32_t i = core_node_next(core, 0); core_node_at(core, i, &node); i = core_node_next(core, i + 1)) {
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
    if (!workers_are_done(world, ret_why, why_size)) {
        return false;
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
    for (size_t i = 0; i < checks->seen.op_count; i++) {
        made += checks->seen.ops[i].task_id != 0;
    }
    history_see_end(&checks->seen);
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
