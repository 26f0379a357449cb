/* check.c - the invariants, verified against the whole state.
 *
 * Each function checks what the essay of its module states and gives the first sentence that does not hold. Walks are
 * bounded by the number of records, so that a damaged state (core_load asks too) ends them. */
#include <stdio.h>
#include <stdlib.h>

#include "core/core_internal.h"
#include "proto/blob_name.h"

struct check {
    struct core *core;
    /* per record, counted again */
    uint32_t *symbol_refs, *flow_refs, *signature_refs, *retry_refs, *side_refs, *attempt_refs;
    uint32_t *key_refs;     /* idempotency keys in the chain of a task */
    uint64_t *queue_counts; /* queues × states */
};

static char check_text[160];

#define CHECK(condition, ...)                                                                                          \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            snprintf(check_text, sizeof(check_text), __VA_ARGS__);                                                     \
            return check_text;                                                                                         \
        }                                                                                                              \
    } while (0)

#define EACH(index, slab)                                                                                              \
    uint32_t index = slab_next(&(slab), 0);                                                                            \
    index != SLAB_NONE;                                                                                                \
    index = slab_next(&(slab), index + 1)

/* T1, T2: a task is in exactly the structures of its state. What counts them is compared later. */
static const char *check_task(struct check *check, uint32_t index)
{
    struct core *core = check->core;
    const struct task *task = task_at(core, index);
    unsigned long long id = (unsigned long long)task->id;
    bool is_final = task_state_is_final((enum task_state)task->state);
    CHECK(task->state != TASK_BLOCKED && task->state != TASK_VALIDATING, "T1: task %llx is in state %u", id,
          task->state);
    CHECK(task_id_index(task->id) == index && task_id_number(task->id) <= core->task_number,
          "T1: task %llx has a wrong id", id);
    CHECK((task->owner != NONE) == (task->state == TASK_READY || task->state == TASK_LEASED),
          "T1: task %llx has an owner that its state does not give", id);
    CHECK(task->state != TASK_SCHEDULED || (task->next == NONE && task->prev == NONE),
          "T1: scheduled task %llx is in a list", id);
    CHECK(!is_final || (task->finished_seq != 0 && task->finished_seq <= core->seq), "T1: task %llx ended at no entry",
          id);
    CHECK(!task->is_held, "T1: task %llx is still marked", id);
    CHECK((task->deadline_ns != NEVER_NS) == (task->timer_position != HEAP_NONE),
          "T1: task %llx and the timers disagree", id);
    CHECK(task->timer_position == HEAP_NONE ||
              (task->timer_position < core->timers.len && core->timers.items[task->timer_position] == index),
          "T1: task %llx is not where the timers say", id);
    CHECK(task->state != TASK_SCHEDULED || task->deadline_ns <= task->run_at_ns, "T1: task %llx would sleep on", id);
    CHECK(task->state != TASK_LEASED || task->deadline_ns <= task->lease_expires_ns, "T2: lease of %llx has no end",
          id);
    CHECK(is_final ? task->deadline_ns == NEVER_NS : task->expires_ns == 0 || task->deadline_ns <= task->expires_ns,
          "T1: task %llx has a wrong deadline", id);
    check->flow_refs[task->flow]++;
    check->signature_refs[task->signature]++;
    check->retry_refs[task->retry]++;
    check->queue_counts[(size_t)task_queue(core, task) * TASK_STATE_COUNT + task->state]++;
    if (task->side != NONE) {
        check->side_refs[task->side]++;
    }
    uint32_t count = 0, running = 0, number = task->attempts;
    for (uint32_t i = task->attempt_newest; i != NONE; i = attempt_at(core, i)->older) {
        const struct attempt *attempt = attempt_at(core, i);
        CHECK(++count <= LIMIT_ATTEMPTS_KEPT, "T2: task %llx keeps too many attempts", id);
        CHECK(attempt->number == number, "T2: the attempts of task %llx do not follow each other", id);
        CHECK(attempt->outcome != ATTEMPT_RUNNING || count == 1, "T2: an old attempt of task %llx runs", id);
        running += attempt->outcome == ATTEMPT_RUNNING;
        number--;
        check->attempt_refs[i]++;
        check->symbol_refs[attempt->node]++;
    }
    CHECK(running == (task->state == TASK_LEASED ? 1u : 0u), "T2: task %llx has %u running attempts", id, running);
    CHECK(count == (task->attempts < LIMIT_ATTEMPTS_KEPT ? task->attempts : LIMIT_ATTEMPTS_KEPT),
          "T2: task %llx lacks attempts", id);
    return NULL;
}

static const char *check_unique_of(struct check *check, const struct task *task)
{
    struct core *core = check->core;
    const struct task_side *side = task_side(core, task);
    unsigned long long id = (unsigned long long)task->id;
    if (side == NULL) {
        return NULL;
    }
    CHECK((side->unique_mode == UNIQUE_NONE) == (side->unique_key == NULL), "task %llx has half a unique key", id);
    if (side->unique != NONE) {
        const struct unique *unique = unique_at(core, side->unique);
        CHECK(unique->task_id == task->id && unique->mode == side->unique_mode &&
                  unique->queue == task_queue(core, task) &&
                  (unique->kind == NONE || unique->kind == signature_at(core, task->signature)->kind) &&
                  slice_equal(block_slice(unique->key), block_slice(side->unique_key)),
              "task %llx holds a unique key that is not its own", id);
    }
    CHECK(side->unique_mode != UNIQUE_UNFINISHED || side->unique == NONE ||
              !task_state_is_final((enum task_state)task->state),
          "final task %llx still holds its unique key", id);
    CHECK(side->unique_mode != UNIQUE_QUEUED || side->unique == NONE || task->state <= TASK_READY,
          "task %llx holds the unique key of a queued one", id);
    CHECK(side->unique_mode != UNIQUE_QUEUED || side->unique != NONE || task->state > TASK_READY || core->has_keyless,
          "U1: task %llx waits without its unique key", id);
    CHECK(side->unique_mode != UNIQUE_UNFINISHED || side->unique != NONE ||
              task_state_is_final((enum task_state)task->state),
          "U1: task %llx is unfinished and lacks its unique key", id);
    return NULL;
}

/* All live tasks, in order of creation (T4: accepted = live + evicted). */
static const char *check_live(struct check *check)
{
    struct core *core = check->core;
    uint32_t count = 0;
    uint32_t newer = NONE;
    for (uint32_t i = core->newest; i != NONE; i = task_at(core, i)->older) {
        CHECK(++count <= core->tasks.used, "T4: the list of tasks does not end");
        CHECK(task_at(core, i)->newer == newer, "T4: the list of tasks is broken");
        CHECK(newer == NONE || task_at(core, i)->id < task_at(core, newer)->id, "T4: the list of tasks is unordered");
        newer = i;
    }
    CHECK(count == core->tasks.used && core->oldest == newer, "T4: the list of tasks lacks some");
    CHECK(core->accepted == core->tasks.used + core->evicted, "T4: %llu accepted, %u live, %llu evicted",
          (unsigned long long)core->accepted, core->tasks.used, (unsigned long long)core->evicted);
    CHECK(roll_is_right(core), "V1, V2: the index over the list of tasks is wrong");
    for (EACH(i, core->tasks)) {
        const char *why = check_task(check, i);
        if (why == NULL) {
            why = check_unique_of(check, task_at(core, i));
        }
        if (why != NULL) {
            return why;
        }
    }
    return NULL;
}

static const char *check_finished(struct check *check)
{
    struct core *core = check->core;
    uint64_t final = 0;
    for (unsigned s = TASK_SUCCEEDED; s < TASK_STATE_COUNT; s++) {
        final += core->counts[s];
    }
    uint64_t count = 0, seq = 0;
    uint32_t prev = NONE;
    for (uint32_t i = core->finished_head; i != NONE; i = task_at(core, i)->next) {
        const struct task *task = task_at(core, i);
        CHECK(++count <= core->tasks.used, "T1: the list of finished tasks does not end");
        CHECK(task->prev == prev && task_state_is_final((enum task_state)task->state) && task->finished_seq >= seq,
              "T1: the list of finished tasks is broken");
        seq = task->finished_seq;
        prev = i;
    }
    CHECK(count == final && core->finished_tail == prev, "T1: the list of finished tasks lacks some");
    return NULL;
}

/* R1 to R4 of ready.c, and T7's structure. */
static const char *check_ready(struct check *check)
{
    struct core *core = check->core;
    uint64_t ready = 0;
    uint32_t *waiting = calloc((size_t)core->flows.len * PRIORITY_COUNT + 1, sizeof(*waiting));
    const char *why = NULL;
    ensure(waiting != NULL);
    for (EACH(s, core->slots)) {
        const struct slot *slot = slot_at(core, s);
        const struct flow *flow = flow_at(core, slot->flow);
        uint32_t count = 0, prev = NONE;
        bool is_list = true;
        for (uint32_t i = slot->head; i != NONE && is_list; i = task_at(core, i)->next) {
            const struct task *task = task_at(core, i);
            is_list = ++count <= slot->count && task->state == TASK_READY && task->owner == s && task->prev == prev &&
                      task->flow == slot->flow && task->signature == slot->signature &&
                      task->priority == slot->priority;
            prev = i;
        }
        const struct heap *cell = &signature_at(core, slot->signature)->cell[slot->priority];
        bool is_paused = queue_at(core, flow->queue)->is_paused;
        bool is_listed = slot->prev_of_queue == NONE ? queue_at(core, flow->queue)->slots == s
                                                     : slot_at(core, slot->prev_of_queue)->next_of_queue == s;
        if (!is_listed) {
            why = "R2: a slot is not in the list of its queue";
        } else if (!is_list || count != slot->count || count == 0 || slot->tail != prev) {
            why = "R1: a slot does not hold exactly its ready tasks";
        } else if (is_paused != (slot->position == HEAP_NONE)) {
            why = "R2: a slot is in a heap although its queue is paused, or not although it is not";
        } else if (!is_paused && (slot->position >= cell->len || cell->items[slot->position] != s ||
                                  slot->tag > flow->vtime[slot->priority])) {
            why = "R2: a slot is not where its heap says, or ahead of its lane";
        }
        if (why != NULL) {
            break;
        }
        waiting[(size_t)slot->flow * PRIORITY_COUNT + slot->priority] += count;
        ready += count;
    }
    for (uint32_t f = slab_next(&core->flows, 0); f != SLAB_NONE && why == NULL; f = slab_next(&core->flows, f + 1)) {
        if (memcmp(flow_at(core, f)->waiting, waiting + (size_t)f * PRIORITY_COUNT,
                   sizeof(flow_at(core, f)->waiting)) != 0) {
            why = "R4: a flow counts its waiting tasks wrong";
        }
    }
    free(waiting);
    if (why == NULL && ready != core->counts[TASK_READY]) {
        why = "T1: a ready task is in no slot";
    }
    return why;
}

/* R3, T6. */
static const char *check_cells(struct check *check)
{
    struct core *core = check->core;
    for (EACH(s, core->signatures)) {
        const struct signature *signature = signature_at(core, s);
        bool has_work = false;
        CHECK(signature->prev_of_kind == NONE ? symbol_at(core, signature->kind)->signatures == s
                                              : signature_at(core, signature->prev_of_kind)->next_of_kind == s,
              "signature %u is not in the list of its kind", s);
        for (uint32_t p = 0; p < PRIORITY_COUNT; p++) {
            CHECK(heap_is_ordered(&signature->cell[p]), "R2: a cell is out of order");
            CHECK((signature->cell[p].len > 0) == bitset_has(&core->backlog[p], s), "R3: a backlog bit is wrong");
            has_work |= signature->cell[p].len > 0;
        }
        for (EACH(n, core->nodes)) {
            const struct node *node = node_at(core, n);
            bool is_matched = node->session != 0 && signature_is_matched(signature, node);
            CHECK(is_matched == bitset_has(&signature->nodes, n) && is_matched == bitset_has(&node->match, s),
                  "a match of node %u and signature %u is wrong", n, s);
            CHECK(!has_work || !is_matched || !bitset_has(signature->is_alone ? &core->empty : &core->idle, n),
                  "T6: work of signature %u is ready and node %u idle", s, n);
        }
    }
    CHECK(bitset_is_empty(&core->servable), "T6: a search for work was left undone");
    return NULL;
}

/* L1 to L3 of lease.c. */
static const char *check_nodes(struct check *check)
{
    struct core *core = check->core;
    uint64_t leased = 0;
    uint32_t sessions = 0;
    for (EACH(n, core->nodes)) {
        const struct node *node = node_at(core, n);
        uint32_t count = 0, prev = NONE;
        bool is_taken = false;
        for (uint32_t i = node->lease_head; i != NONE; i = task_at(core, i)->next) {
            const struct task *task = task_at(core, i);
            CHECK(++count <= node->leases, "L3: node %u holds more leases than it counts", n);
            CHECK(task->state == TASK_LEASED && task->owner == n && task->prev == prev,
                  "L1: the lease list of node %u is broken", n);
            CHECK(attempt_at(core, task->attempt_newest)->node == node->symbol,
                  "L1: an attempt names another node than %u", n);
            is_taken |= signature_at(core, task->signature)->is_alone;
            prev = i;
        }
        CHECK(count == node->leases && node->lease_tail == prev, "L3: node %u counts its leases wrong", n);
        CHECK(node->session != 0 || (count == 0 && node->credit == 0), "L1: node %u holds a lease without session", n);
        CHECK(node->session == 0 || ((node->session & ((1u << NODE_INDEX_BITS) - 1)) == n &&
                                     node->session >> NODE_INDEX_BITS <= core->session_number),
              "session of node %u has a wrong number", n);
        CHECK(node->credit + node->leases <= LIMIT_CREDIT, "node %u has too much credit", n);
        CHECK(!is_taken || node->leases == 1, "A1: node %u runs something beside a task that is alone", n);
        CHECK(is_taken == node->is_taken, "A1: node %u is wrong about being alone", n);
        bool is_idle = node->session != 0 && node->credit > 0 && !node->is_draining && !node->is_quiet && !is_taken;
        CHECK((is_idle && node->leases == 0) == bitset_has(&core->empty, n), "T6: the empty bit of node %u is wrong",
              n);
        CHECK(is_idle == bitset_has(&core->idle, n), "T6: the idle bit of node %u is wrong", n);
        CHECK((node->session != 0) == bitset_has(&core->live, n), "the live bit of node %u is wrong", n);
        CHECK((node->session != 0) == (node->kind_at != NULL), "node %u is among the bearers of its names, or not", n);
        for (uint32_t i = 0; node->session != 0 && i < node->kind_count + node->label_count; i++) {
            bool is_kind = i < node->kind_count;
            uint32_t at = is_kind ? node->kind_at[i] : node->label_at[i - node->kind_count];
            const struct bearers *bearers =
                symbol_at(core, is_kind ? node->kinds[i] : node->labels[i - node->kind_count])->bearers;
            const struct node_list *list = bearers == NULL ? NULL : is_kind ? &bearers->offer : &bearers->label;
            CHECK(list != NULL && at < list->len && list->nodes[at] == n, "node %u is no bearer of one of its names",
                  n);
        }
        CHECK((node->session != 0) == (node->gone_position == HEAP_NONE) &&
                  (node->session != 0 || core->gone.items[node->gone_position] == n),
              "node %u is not where the heap of those that are gone says", n);
        leased += count;
        sessions += node->session != 0;
        check->symbol_refs[node->symbol]++;
        for (uint32_t i = 0; i < node->kind_count; i++) {
            check->symbol_refs[node->kinds[i]]++;
            CHECK(i == 0 || node->kinds[i - 1] < node->kinds[i], "the kinds of node %u are unordered", n);
        }
        for (uint32_t i = 0; i < node->label_count; i++) {
            check->symbol_refs[node->labels[i]]++;
            CHECK(i == 0 || node->labels[i - 1] < node->labels[i], "the labels of node %u are unordered", n);
        }
    }
    CHECK(leased == core->counts[TASK_LEASED], "T2: a leased task is in no node's list");
    CHECK(sessions == core->sessions, "T5: sessions are counted wrong");
    CHECK(core->gone.len == core->nodes.used - sessions && heap_is_ordered(&core->gone),
          "the heap of nodes that are gone is wrong");
    return NULL;
}

static const char *check_keys(struct check *check)
{
    struct core *core = check->core;
    uint32_t kindless = 0;
    for (EACH(i, core->uniques)) {
        const struct unique *unique = unique_at(core, i);
        CHECK(unique->key != NULL, "a unique record has no key");
        kindless += unique->kind == NONE;
        if (unique->kind != NONE) {
            check->symbol_refs[unique->kind]++;
        }
        uint32_t task = task_find(core, unique->task_id);
        const struct task_side *side = task != NONE ? task_side(core, task_at(core, task)) : NULL;
        CHECK(task != NONE ? side != NULL && side->unique == i : unique->mode == UNIQUE_FOR_TIME,
              "a unique record is held by nobody");
        CHECK((unique->mode == UNIQUE_FOR_TIME) == (unique->position != HEAP_NONE), "a unique record has a wrong end");
    }
    CHECK(kindless == core->unique_kindless, "T5: unique keys of any kind are counted wrong");
    CHECK(heap_is_ordered(&core->unique_ends) && heap_is_ordered(&core->timers), "a heap of times is out of order");
    uint32_t count = 0, last = NONE;
    for (uint32_t i = core->idempotency_oldest; i != NONE; i = idempotency_at(core, i)->newer) {
        const struct idempotency *key = idempotency_at(core, i);
        CHECK(++count <= core->idempotencies.used, "the list of idempotency keys does not end");
        CHECK(key->key != NULL && (last == NONE || idempotency_at(core, last)->created_ns <= key->created_ns),
              "the list of idempotency keys is broken");
        last = i;
    }
    CHECK(count == core->idempotencies.used && core->idempotency_newest == last,
          "the list of idempotency keys lacks some");
    for (EACH(t, core->tasks)) {
        const struct task *task = task_at(core, t);
        uint32_t newer = NONE;
        for (uint32_t i = task->idempotency; i != NONE; newer = i, i = idempotency_at(core, i)->next_of_task) {
            CHECK(idempotency_at(core, i)->prev_of_task == newer, "the keys of a task are chained wrong");
            CHECK(idempotency_at(core, i)->task_id == task->id && ++check->key_refs[i] == 1,
                  "a task's idempotency keys are not its own");
        }
    }
    for (EACH(i, core->idempotencies)) {
        CHECK((task_find(core, idempotency_at(core, i)->task_id) != NONE) == (check->key_refs[i] == 1),
              "an idempotency key is not at its task");
    }
    return NULL;
}

/* T5: counters and references equal a recount. */
static const char *check_counters(struct check *check)
{
    struct core *core = check->core;
    uint64_t counts[TASK_STATE_COUNT] = {0};
    uint64_t totals[6] = {core->dropped.submitted, core->dropped.succeeded, core->dropped.dead,
                          core->dropped.cancelled, core->dropped.expired,   core->dropped.retried};
    for (EACH(q, core->queues)) {
        const struct queue *queue = queue_at(core, q);
        check->symbol_refs[queue->symbol]++;
        for (unsigned s = 0; s < TASK_STATE_COUNT; s++) {
            CHECK(queue->counts[s] == check->queue_counts[(size_t)q * TASK_STATE_COUNT + s],
                  "T5: queue %u counts its %s tasks wrong", q, task_state_name((enum task_state)s));
            counts[s] += queue->counts[s];
        }
        const uint64_t mine[] = {queue->submitted, queue->succeeded, queue->dead,
                                 queue->cancelled, queue->expired,   queue->retried};
        for (size_t i = 0; i < ARRAY_COUNT(mine); i++) {
            totals[i] += mine[i];
        }
    }
    CHECK(memcmp(counts, core->counts, sizeof(counts)) == 0, "T5: states are counted wrong");
    const uint64_t all[] = {core->accepted, core->succeeded, core->dead, core->cancelled, core->expired, core->retried};
    CHECK(memcmp(totals, all, sizeof(all)) == 0, "T5: the totals of the queues do not add up");
    uint64_t final = 0;
    for (unsigned s = TASK_SUCCEEDED; s < TASK_STATE_COUNT; s++) {
        final += counts[s];
    }
    CHECK(core->succeeded + core->dead + core->cancelled + core->expired == final + core->evicted + core->retried,
          "T3: more or fewer ends than finished tasks");
    CHECK(core->leases_granted == core->attempts_ended + counts[TASK_LEASED], "T5: grants and ends do not add up");
    for (EACH(f, core->flows)) {
        const struct flow *flow = flow_at(core, f);
        CHECK(flow->refs == check->flow_refs[f] && flow->refs > 0, "T5: references to flow %u", f);
        if (flow->symbol != NONE) {
            check->symbol_refs[flow->symbol]++;
        }
    }
    for (EACH(s, core->signatures)) {
        const struct signature *signature = signature_at(core, s);
        CHECK(signature->refs == check->signature_refs[s] && signature->refs > 0, "T5: references to signature %u", s);
        check->symbol_refs[signature->kind]++;
        for (uint32_t i = 0; i < signature->label_count; i++) {
            check->symbol_refs[signature->labels[i]]++;
            CHECK(i == 0 || signature->labels[i - 1] < signature->labels[i], "the labels of signature %u", s);
        }
    }
    for (EACH(r, core->retries)) {
        const struct retry *retry = retry_at(core, r);
        CHECK(retry->refs == check->retry_refs[r] + (r == 0 ? 1 : 0) && retry->refs > 0, "T5: references to policy %u",
              r);
        for (uint32_t i = 0; i < retry->not_retryable_count; i++) {
            check->symbol_refs[retry->not_retryable[i]]++;
        }
    }
    for (uint32_t i = 0; i < core->kind_count; i++) {
        check->symbol_refs[core->kinds[i]]++;
        CHECK(symbol_at(core, core->kinds[i])->is_kind, "T5: kind %u is not one", i);
    }
    for (EACH(s, core->symbols)) {
        CHECK(symbol_at(core, s)->refs == check->symbol_refs[s] && check->symbol_refs[s] > 0,
              "T5: symbol %u has %u references, not %u", s, symbol_at(core, s)->refs, check->symbol_refs[s]);
    }
    for (EACH(s, core->sides)) {
        CHECK(check->side_refs[s] == 1, "T5: side record %u has %u tasks", s, check->side_refs[s]);
    }
    for (EACH(a, core->attempts)) {
        CHECK(check->attempt_refs[a] == 1, "T5: attempt record %u has %u tasks", a, check->attempt_refs[a]);
    }
    return NULL;
}

/* References to queues, and C1. */
static const char *check_tables(struct check *check)
{
    const struct core *core = check->core;
    uint32_t refs = 0;
    for (EACH(q, core->queues)) {
        refs += queue_at(core, q)->refs;
    }
    CHECK(refs == core->flows.used + core->uniques.used, "T5: references to queues");
    return table_check(core);
}

static uint64_t size_of(const struct block *block)
{
    return block != NULL ? block->len + BLOCK_OVERHEAD : 0;
}

static const char *check_payload(struct check *check)
{
    struct core *core = check->core;
    uint64_t size = (uint64_t)core->attempts.used * sizeof(struct attempt);
    for (EACH(i, core->tasks)) {
        size += size_of(task_at(core, i)->input);
    }
    for (EACH(i, core->sides)) {
        const struct task_side *side = side_at(core, i);
        size += size_of(side->unique_key) + size_of(side->traceparent) + size_of(side->checkpoint) +
                size_of(side->result) + size_of(side->error_kind) + size_of(side->error_message) +
                size_of(side->error_detail) + size_of(side->progress_note);
    }
    for (EACH(i, core->attempts)) {
        size += size_of(attempt_at(core, i)->error_kind) + size_of(attempt_at(core, i)->message);
    }
    for (EACH(i, core->uniques)) {
        size += size_of(unique_at(core, i)->key);
    }
    for (EACH(i, core->idempotencies)) {
        size += size_of(idempotency_at(core, i)->key);
    }
    for (EACH(i, core->nodes)) {
        size += size_of(node_at(core, i)->info);
    }
    CHECK(size == core->payload_size, "T5: payloads are counted wrong");
    return NULL;
}

/* T5 for refs.c: as many blocks name blobs as are marked, and names as are counted. */
static uint64_t count_names(const struct block *block)
{
    uint8_t digest[SHA256_SIZE];
    uint64_t count = 0;
    for (size_t at = 0; blob_name_next(block_slice(block), &at, digest);) {
        count++;
    }
    return count;
}

static const char *check_refs(struct check *check)
{
    struct core *core = check->core;
    uint64_t names = 0, counted = 0;
    for (EACH(i, core->tasks)) {
        names += count_names(task_at(core, i)->input);
    }
    for (EACH(i, core->sides)) {
        const struct task_side *side = side_at(core, i);
        const struct block *const blocks[] = {side->unique_key,   side->traceparent,  side->checkpoint,
                                              side->result,       side->error_kind,   side->error_message,
                                              side->error_detail, side->progress_note};
        for (size_t b = 0; b < ARRAY_COUNT(blocks); b++) {
            names += count_names(blocks[b]);
        }
    }
    for (EACH(i, core->attempts)) {
        names += count_names(attempt_at(core, i)->error_kind) + count_names(attempt_at(core, i)->message);
    }
    for (EACH(i, core->uniques)) {
        names += count_names(unique_at(core, i)->key);
    }
    for (EACH(i, core->idempotencies)) {
        names += count_names(idempotency_at(core, i)->key);
    }
    for (EACH(i, core->nodes)) {
        names += count_names(node_at(core, i)->info);
    }
    for (EACH(i, core->blob_refs)) {
        const struct blob_ref *ref = slab_at(&core->blob_refs, i);
        counted += ref->count;
    }
    CHECK(names == counted, "T5: blobs are counted wrong");
    return NULL;
}

static void *zeros(uint64_t count, size_t size)
{
    void *memory = calloc((size_t)count + 1, size);
    ensure(memory != NULL);
    return memory;
}

const char *core_check(struct core *core)
{
    ensure_magic(core, CORE_MAGIC);
    static const char *(*const parts[])(struct check *) = {check_live,  check_finished, check_ready,    check_cells,
                                                           check_nodes, check_keys,     check_counters, check_payload,
                                                           check_refs,  check_tables};
    struct check check = {.core = core,
                          .symbol_refs = zeros(core->symbols.len, 4),
                          .flow_refs = zeros(core->flows.len, 4),
                          .signature_refs = zeros(core->signatures.len, 4),
                          .retry_refs = zeros(core->retries.len, 4),
                          .side_refs = zeros(core->sides.len, 4),
                          .attempt_refs = zeros(core->attempts.len, 4),
                          .key_refs = zeros(core->idempotencies.len, 4),
                          .queue_counts = zeros((uint64_t)core->queues.len * TASK_STATE_COUNT, 8)};
    const char *why = NULL;
    for (size_t i = 0; i < ARRAY_COUNT(parts) && why == NULL; i++) {
        why = parts[i](&check);
    }
    void *const memory[] = {check.symbol_refs, check.flow_refs,    check.signature_refs, check.retry_refs,
                            check.side_refs,   check.attempt_refs, check.key_refs,       check.queue_counts};
    for (size_t i = 0; i < ARRAY_COUNT(memory); i++) {
        free(memory[i]);
    }
    return why;
}
