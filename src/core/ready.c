/* ready.c - in which order ready tasks are handed out, and to whom.
 *
 * Priority 9 first. Inside a priority the flows, (queue, fairness key) pairs, share by weight; inside a flow first in,
 * first out. Nodes differ in what they can run, so the ready tasks are kept by what they need:
 *
 *     lane = (flow, priority)        has a virtual time: what it has been served, in QUANTUM / weight a task
 *     slot = (lane, signature)       first-in-first-out list of tasks
 *     cell = (signature, priority)   heap of its slots, least virtual time first
 *
 * Handing out takes the highest priority that has a cell with an idle capable node, and there the slot whose lane has
 * the least virtual time: start-time fair queueing (Goyal, Vin and Cheng 1996). A lane's time is shared by its slots, so a
 * flow gains nothing by spreading over signatures. docs/decisions/0002-fair-queueing.md says why this and not rounds.
 *
 * What keeps a lane from hoarding time while it asks for nothing or nobody can serve it:
 *   - a lane that gets work again starts no earlier than the last task served from the cell it joins;
 *   - a task that node N takes starts no earlier than N's task before: max(lane, N).
 * So a lane that waited for its node for a day is served first, once, and then shares.
 *
 * A slot's tag in the heap may lag behind its lane, which moves when another slot of it is served. Times only grow, so a
 * lagging tag is too small and comes up too early; it is then refreshed and sinks (R2).
 *
 * `servable` are the signatures for which a ready task and an idle node may now exist: set when a task becomes ready or a
 * node idle, cleared when a search for a node finds none. It is empty between entries; that is T6.
 *
 * Invariants:
 *  R1 a ready task is in the slot of its (flow, priority, signature); a slot is never empty
 *  R2 a slot is in its cell's heap unless its queue is paused; its tag is not above its lane's time
 *  R3 backlog[p] has exactly the signatures whose cell of priority p is not empty
 *  R4 flow->waiting[p] is the number of ready tasks in its slots of priority p
 * core_check() verifies them. */
#include "base/hash.h"

#include <assert.h>

#include "base/mutation.h"
#include "core/core_internal.h"

#define QUANTUM                                                                                                        \
    UINT64_C(1000000) /* a task of weight 1; 64 bits last for 1.8e13 of them, and weight 1000 errs by nothing */
static_assert(QUANTUM % LIMIT_WEIGHT_MAX == 0 && QUANTUM / LIMIT_WEIGHT_MAX >= 1000, "weights divide finely");

struct lane_key {
    uint32_t flow, signature;
    uint8_t priority;
};

/* --- flows --- */

struct flow_key {
    uint32_t queue, symbol;
};

static uint64_t flow_hash(const struct core *core, uint32_t queue, uint32_t symbol)
{
    uint64_t number = (uint64_t)queue << 32 | symbol;
    return hash_keyed_numbers(&core->hash_key, &number, 1);
}

static bool flow_is_equal(const void *ctx, uint32_t value, const void *key)
{
    const struct flow *flow = flow_at(ctx, value);
    const struct flow_key *wanted = key;
    return flow->queue == wanted->queue && flow->symbol == wanted->symbol;
}

static uint64_t flow_hash_of(const void *ctx, uint32_t value)
{
    const struct flow *flow = flow_at(ctx, value);
    return flow_hash(ctx, flow->queue, flow->symbol);
}

/* Whether there may be one more. The common one of a queue is outside of the count, except by the limits of before. */
static bool may_add_flow(struct core *core, uint32_t symbol, const struct command_caller *by)
{
    if (by->id == 0) {
        core->refusal = STATUS_BUSY;
        return core->flows.used < LIMIT_FLOWS;
    }
    return symbol == NONE || table_admits(core, by, TABLE_FAIRNESS_KEYS, 1);
}

uint32_t flow_acquire(struct core *core, uint32_t queue, struct slice fairness_key, const struct command_caller *by)
{
    struct flow_key key = {queue, NONE};
    if (fairness_key.len > 0) {
        key.symbol = symbol_acquire(core, fairness_key);
        ensure(key.symbol != NONE); /* task_submit has looked that there is room */
    }
    uint64_t hash = flow_hash(core, queue, key.symbol);
    uint32_t index = map_find(&core->flow_map, hash, flow_is_equal, core, &key);
    if (index != MAP_NONE) {
        symbol_unref(core, key.symbol);
        flow_at(core, index)->refs++;
        return index;
    }
    if (!may_add_flow(core, key.symbol, by)) {
        symbol_unref(core, key.symbol);
        return NONE;
    }
    index = slab_alloc(&core->flows);
    ensure(index != SLAB_NONE);
    *flow_at(core, index) =
        (struct flow){.queue = queue, .symbol = key.symbol, .refs = 1, .owner = key.symbol != NONE ? by->id : 0};
    table_charge(core, flow_at(core, index)->owner, TABLE_FAIRNESS_KEYS, 1);
    table_charge(core, flow_at(core, index)->owner, TABLE_NAMES, 1);
    flow_index(core, index);
    return index;
}

void flow_unref(struct core *core, uint32_t index)
{
    struct flow *flow = flow_at(core, index);
    ensure(flow->refs > 0);
    if (--flow->refs > 0) {
        return;
    }
    map_remove(&core->flow_map, flow_hash_of(core, index), index, flow_hash_of, core);
    if (!MUTATION(share_kept)) {
        table_charge(core, flow->owner, TABLE_FAIRNESS_KEYS, -1);
    }
    table_charge(core, flow->owner, TABLE_NAMES, -1);
    core->common_flows -= flow->symbol == NONE ? 1 : 0;
    queue_at(core, flow->queue)->refs--;
    symbol_unref(core, flow->symbol);
    slab_free(&core->flows, index);
}

void flow_index(struct core *core, uint32_t index)
{
    core->common_flows += flow_at(core, index)->symbol == NONE ? 1 : 0;
    queue_at(core, flow_at(core, index)->queue)->refs++;
    ensure(map_add(&core->flow_map, flow_hash_of(core, index), index, flow_hash_of, core));
}

/* --- slots and cells --- */

static uint64_t slot_hash(const struct core *core, const struct lane_key *key)
{
    const uint64_t numbers[] = {(uint64_t)key->flow << 32 | key->signature, key->priority};
    return hash_keyed_numbers(&core->hash_key, numbers, ARRAY_COUNT(numbers));
}

static bool slot_is_equal(const void *ctx, uint32_t value, const void *key)
{
    const struct slot *slot = slot_at(ctx, value);
    const struct lane_key *wanted = key;
    return slot->flow == wanted->flow && slot->signature == wanted->signature && slot->priority == wanted->priority;
}

static uint64_t slot_hash_of(const void *ctx, uint32_t value)
{
    const struct slot *slot = slot_at(ctx, value);
    struct lane_key key = {slot->flow, slot->signature, slot->priority};
    return slot_hash(ctx, &key);
}

static bool slot_is_before(void *ctx, uint32_t a, uint32_t b)
{
    const struct slot *left = slot_at(ctx, a);
    const struct slot *right = slot_at(ctx, b);
    return left->tag != right->tag ? left->tag < right->tag : left->flow < right->flow;
}

static void slot_set_position(void *ctx, uint32_t item, uint32_t position)
{
    slot_at(ctx, item)->position = position;
}

void ready_init_signature(struct core *core, struct signature *signature)
{
    for (uint32_t p = 0; p < PRIORITY_COUNT; p++) {
        heap_init(&signature->cell[p], slot_is_before, slot_set_position, core);
    }
}

static void cell_add(struct core *core, uint32_t index)
{
    struct slot *slot = slot_at(core, index);
    ensure(slot->position == HEAP_NONE);
    slot->tag = flow_at(core, slot->flow)->vtime[slot->priority];
    ensure(heap_push(&signature_at(core, slot->signature)->cell[slot->priority], index));
    bitset_set(&core->backlog[slot->priority], slot->signature);
    bitset_set(&core->servable, slot->signature);
}

static void cell_remove(struct core *core, uint32_t index)
{
    struct slot *slot = slot_at(core, index);
    struct heap *cell = &signature_at(core, slot->signature)->cell[slot->priority];
    ensure(slot->position != HEAP_NONE);
    heap_remove(cell, slot->position);
    if (cell->len == 0) {
        bitset_clear(&core->backlog[slot->priority], slot->signature);
    }
}

/* The list of the slots of a queue, for pausing it. */
static void queue_list_add(struct core *core, uint32_t index)
{
    struct slot *slot = slot_at(core, index);
    struct queue *queue = queue_at(core, flow_at(core, slot->flow)->queue);
    slot->prev_of_queue = NONE;
    slot->next_of_queue = queue->slots;
    if (queue->slots != NONE) {
        slot_at(core, queue->slots)->prev_of_queue = index;
    }
    queue->slots = index;
}

static void queue_list_remove(struct core *core, const struct slot *slot)
{
    if (slot->prev_of_queue != NONE) {
        slot_at(core, slot->prev_of_queue)->next_of_queue = slot->next_of_queue;
    } else {
        queue_at(core, flow_at(core, slot->flow)->queue)->slots = slot->next_of_queue;
    }
    if (slot->next_of_queue != NONE) {
        slot_at(core, slot->next_of_queue)->prev_of_queue = slot->prev_of_queue;
    }
}

/* The slot of a cell that comes first, its tag up to date. */
static uint32_t cell_first(struct core *core, struct heap *cell)
{
    for (;;) {
        uint32_t index = heap_top(cell);
        ensure(index != HEAP_NONE);
        struct slot *slot = slot_at(core, index);
        uint64_t vtime = flow_at(core, slot->flow)->vtime[slot->priority];
        ensure(slot->tag <= vtime);
        if (slot->tag == vtime) {
            return index;
        }
        slot->tag = vtime;
        heap_fix(cell, slot->position);
    }
}

static uint32_t slot_of(struct core *core, const struct task *task)
{
    struct lane_key key = {task->flow, task->signature, task->priority};
    uint64_t hash = slot_hash(core, &key);
    uint32_t index = map_find(&core->slot_map, hash, slot_is_equal, core, &key);
    if (index != MAP_NONE) {
        return index;
    }
    struct flow *flow = flow_at(core, task->flow);
    if (flow->waiting[task->priority] == 0) {
        uint64_t served = signature_at(core, task->signature)->vtime[task->priority];
        if (flow->vtime[task->priority] < served) {
            flow->vtime[task->priority] = served;
        }
    }
    index = slab_alloc(&core->slots);
    ensure(index != SLAB_NONE);
    *slot_at(core, index) = (struct slot){.flow = task->flow,
                                          .signature = task->signature,
                                          .head = NONE,
                                          .tail = NONE,
                                          .position = HEAP_NONE,
                                          .priority = task->priority};
    ensure(map_add(&core->slot_map, hash, index, slot_hash_of, core));
    queue_list_add(core, index);
    if (!queue_at(core, flow->queue)->is_paused) {
        cell_add(core, index);
    }
    return index;
}

void ready_add(struct core *core, uint32_t index, bool is_first)
{
    struct task *task = task_at(core, index);
    ensure(task->owner == NONE && task->next == NONE && task->prev == NONE);
    uint32_t slot_index = slot_of(core, task);
    struct slot *slot = slot_at(core, slot_index);
    task->owner = slot_index;
    if (slot->head == NONE) {
        slot->head = slot->tail = index;
    } else if (is_first) {
        task->next = slot->head;
        task_at(core, slot->head)->prev = index;
        slot->head = index;
    } else {
        task->prev = slot->tail;
        task_at(core, slot->tail)->next = index;
        slot->tail = index;
    }
    slot->count++;
    flow_at(core, task->flow)->waiting[task->priority]++;
    if (slot->position != HEAP_NONE) {
        bitset_set(&core->servable, slot->signature);
    }
}

void ready_remove(struct core *core, uint32_t index)
{
    struct task *task = task_at(core, index);
    uint32_t slot_index = task->owner;
    struct slot *slot = slot_at(core, slot_index);
    if (task->prev != NONE) {
        task_at(core, task->prev)->next = task->next;
    } else {
        ensure(slot->head == index);
        slot->head = task->next;
    }
    if (task->next != NONE) {
        task_at(core, task->next)->prev = task->prev;
    } else {
        ensure(slot->tail == index);
        slot->tail = task->prev;
    }
    task->owner = task->next = task->prev = NONE;
    struct flow *flow = flow_at(core, task->flow);
    ensure(slot->count > 0 && flow->waiting[task->priority] > 0);
    slot->count--;
    flow->waiting[task->priority]--;
    if (slot->count == 0) {
        ensure(slot->head == NONE && slot->tail == NONE);
        if (slot->position != HEAP_NONE) {
            cell_remove(core, slot_index);
        }
        queue_list_remove(core, slot);
        map_remove(&core->slot_map, slot_hash_of(core, slot_index), slot_index, slot_hash_of, core);
        slab_free(&core->slots, slot_index);
    }
}

void ready_pause(struct core *core, uint32_t queue)
{
    for (uint32_t i = queue_at(core, queue)->slots; i != NONE; i = slot_at(core, i)->next_of_queue) {
        cell_remove(core, i);
        core->steps++;
    }
}

void ready_resume(struct core *core, uint32_t queue)
{
    for (uint32_t i = queue_at(core, queue)->slots; i != NONE; i = slot_at(core, i)->next_of_queue) {
        struct slot *slot = slot_at(core, i);
        struct flow *flow = flow_at(core, slot->flow);
        uint64_t served = signature_at(core, slot->signature)->vtime[slot->priority];
        if (flow->vtime[slot->priority] < served) { /* time does not pile up during a pause */
            flow->vtime[slot->priority] = served;
        }
        cell_add(core, i);
        core->steps++;
    }
}

void ready_index(struct core *core, uint32_t index)
{
    struct slot *slot = slot_at(core, index);
    slot->position = HEAP_NONE;
    ensure(map_add(&core->slot_map, slot_hash_of(core, index), index, slot_hash_of, core));
    queue_list_add(core, index);
    if (!queue_at(core, flow_at(core, slot->flow)->queue)->is_paused) {
        cell_add(core, index);
    }
}

void ready_node_joined(struct core *core, uint32_t index)
{
    struct node *node = node_at(core, index);
    for (uint32_t i = bitset_next(&node->match, 0); i != BITSET_NONE; i = bitset_next(&node->match, i + 1)) {
        const struct signature *signature = signature_at(core, i);
        for (uint32_t p = 0; p < PRIORITY_COUNT; p++) {
            if (signature->vtime[p] > node->vtime[p]) {
                node->vtime[p] = signature->vtime[p];
            }
        }
        core->steps++;
    }
}

/* --- handing out --- */

static bool is_better(const struct core *core, uint32_t a, uint32_t b)
{
    const struct slot *left = slot_at(core, a);
    const struct slot *right = slot_at(core, b);
    if (left->tag != right->tag) {
        return left->tag < right->tag;
    }
    if (left->flow != right->flow) {
        return left->flow < right->flow;
    }
    return task_at(core, left->head)->id < task_at(core, right->head)->id; /* one lane: the older task */
}

/* The best slot of a priority among the servable signatures; NONE when there is none. */
static uint32_t best_slot(struct core *core, uint32_t priority)
{
    const struct bitset *backlog = &core->backlog[priority];
    uint32_t len = backlog->len < core->servable.len ? backlog->len : core->servable.len;
    uint32_t best = NONE;
    for (uint32_t at = 0; at < len; at++) {
        uint64_t word = backlog->words[at] & core->servable.words[at];
        for (; word != 0; word &= word - 1) {
            uint32_t signature = at * 64 + (uint32_t)__builtin_ctzll(word);
            uint32_t slot = cell_first(core, &signature_at(core, signature)->cell[priority]);
            if (best == NONE || is_better(core, slot, best)) {
                best = slot;
            }
        }
    }
    return best;
}

static void serve(struct core *core, uint32_t slot_index, uint32_t node_index)
{
    struct slot *slot = slot_at(core, slot_index);
    struct flow *flow = flow_at(core, slot->flow);
    struct node *node = node_at(core, node_index);
    uint32_t priority = slot->priority;
    uint32_t index = slot->head;
    struct task *task = task_at(core, index);
    uint64_t start = flow->vtime[priority] > node->vtime[priority] ? flow->vtime[priority] : node->vtime[priority];
    signature_at(core, slot->signature)->vtime[priority] = start;
    node->vtime[priority] = start;
    flow->vtime[priority] = start + (MUTATION(starve_flow) ? 0 : QUANTUM / task->weight);
    ready_remove(core, index);
    lease_grant(core, index, node_index);
}

void ready_dispatch(struct core *core)
{
    for (uint32_t i = 0; i < PRIORITY_COUNT; i++) {
        uint32_t priority = LIMIT_PRIORITY_MAX - i;
        uint32_t slot;
        while ((slot = best_slot(core, priority)) != NONE) {
            uint32_t signature = slot_at(core, slot)->signature;
            const struct signature *wanted = signature_at(core, signature);
            const struct bitset *able = wanted->is_alone && !MUTATION(alone_among_others) ? &core->empty : &core->idle;
            uint32_t node = bitset_next_common(&wanted->nodes, able, core->node_cursor);
            if (node == BITSET_NONE) {
                bitset_clear(&core->servable, signature);
                continue;
            }
            core->node_cursor = node + 1;
            serve(core, slot, node);
        }
    }
    bitset_clear_all(&core->servable);
}

void ready_rehash(struct core *core)
{
    ensure(map_rehash(&core->flow_map, flow_hash_of, core));
    ensure(map_rehash(&core->slot_map, slot_hash_of, core));
}
