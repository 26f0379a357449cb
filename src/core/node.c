/* node.c - nodes, their sessions and their credit.
 *
 * A node is known by its name; a session is one connected life of its process. The hub knows by heartbeat, outside of the
 * journal, when a session is over and says NODE_LOST; here only that command ends one.
 *
 *   hello, no session          a new session; what it says it holds is stale and refused
 *   hello, same instance       the session goes on under a new number: leases it still holds stay, its others are lost
 *   hello, other instance      the old session ends (replaced), its leases are lost; then as without session
 *   hello of a plain-HTTP worker's own session: only facts and credit; leases end by time alone
 *
 * A node is idle, and in core->idle, when it has a session, credit, and is neither draining nor quiet.
 *
 * A session number is counter << 16 | node index: never used twice, and found without a table. */
#include <stdlib.h>

#include "base/mutation.h"
#include "core/core_internal.h"

/* The sorted facts of a hello as symbols, with a reference to each. */
struct facts {
    uint32_t kinds[LIMIT_KINDS_PER_NODE];
    uint32_t labels[LIMIT_LABELS];
    uint32_t kind_count, label_count;
};

uint32_t node_find(const struct core *core, struct slice name)
{
    uint32_t symbol = symbol_find(core, name);
    return symbol != NONE ? symbol_at(core, symbol)->node : NONE;
}

uint32_t node_of_session(const struct core *core, uint64_t session)
{
    uint32_t index = (uint32_t)(session & ((1u << NODE_INDEX_BITS) - 1));
    return session != 0 && slab_is_live(&core->nodes, index) &&
                   (node_at(core, index)->session == session ||
                    (MUTATION(stale_session) && node_at(core, index)->session != 0))
               ? index
               : NONE;
}

static bool is_gone_before(void *ctx, uint32_t a, uint32_t b)
{
    const struct node *left = node_at(ctx, a);
    const struct node *right = node_at(ctx, b);
    return left->session_ns != right->session_ns ? left->session_ns < right->session_ns : a < b;
}

static void set_gone_position(void *ctx, uint32_t item, uint32_t position)
{
    node_at(ctx, item)->gone_position = position;
}

void node_init(struct core *core)
{
    heap_init(&core->gone, is_gone_before, set_gone_position, core);
}

void node_index(struct core *core, uint32_t index)
{
    struct node *node = node_at(core, index);
    node->gone_position = HEAP_NONE;
    if (node->session != 0) {
        bitset_set(&core->live, index);
        signature_join_node(core, index);
    } else {
        ensure(heap_push(&core->gone, index));
    }
}

void node_update_idle(struct core *core, uint32_t index)
{
    const struct node *node = node_at(core, index);
    bool is_idle = node->session != 0 && node->credit > 0 && !node->is_draining && !node->is_quiet && !node->is_taken;
    if (is_idle && node->leases == 0) {
        bitset_set(&core->empty, index);
    } else {
        bitset_clear(&core->empty, index);
    }
    if (!is_idle) {
        bitset_clear(&core->idle, index);
    } else {
        bitset_set(&core->idle, index);
        if (!MUTATION(forget_idle)) {
            bitset_add(&core->servable, &node->match);
        }
    }
}

static void set_credit(struct core *core, uint32_t index, uint64_t credit)
{
    struct node *node = node_at(core, index);
    uint32_t room = node->leases < LIMIT_CREDIT ? LIMIT_CREDIT - node->leases : 0;
    node->credit = credit < room ? (uint32_t)credit : room;
    node->changed_seq = core->seq;
    node_update_idle(core, index);
}

/* --- facts --- */

static void unique_symbols(struct core *core, uint32_t *symbols, uint32_t *count)
{
    symbols_sort(symbols, count);
    uint32_t distinct = 0;
    for (uint32_t i = 0; i < *count; i++) {
        if (distinct > 0 && symbols[distinct - 1] == symbols[i]) {
            symbol_unref(core, symbols[i]);
        } else {
            symbols[distinct++] = symbols[i];
        }
    }
    *count = distinct;
}

static void facts_take(struct core *core, const struct command_node_hello *hello, struct facts *ret_facts)
{
    ret_facts->kind_count = hello->kind_count;
    ret_facts->label_count = hello->facts.label_count;
    for (uint32_t i = 0; i < hello->kind_count; i++) {
        ret_facts->kinds[i] = symbol_acquire(core, hello->kinds[i]);
        ensure(ret_facts->kinds[i] != NONE); /* node_hello has looked that there is room */
    }
    for (uint32_t i = 0; i < hello->facts.label_count; i++) {
        ret_facts->labels[i] = symbol_acquire(core, hello->facts.labels[i]);
        ensure(ret_facts->labels[i] != NONE);
    }
    unique_symbols(core, ret_facts->kinds, &ret_facts->kind_count);
    unique_symbols(core, ret_facts->labels, &ret_facts->label_count);
}

static bool is_same_list(const uint32_t *a, uint32_t a_count, const uint32_t *b, uint32_t b_count)
{
    return a_count == b_count && (a_count == 0 || memcmp(a, b, a_count * sizeof(*a)) == 0);
}

static void replace_list(struct core *core, uint32_t **list, uint32_t *list_count, const uint32_t *symbols,
                         uint32_t count)
{
    for (uint32_t i = 0; i < *list_count; i++) {
        symbol_unref(core, (*list)[i]);
    }
    free(*list);
    *list = NULL;
    *list_count = count;
    if (count > 0) {
        *list = malloc(count * sizeof(**list));
        ensure(*list != NULL);
        memcpy(*list, symbols, count * sizeof(**list));
    }
}

/* Takes over facts and info of a hello; matches the node anew if its facts changed, or it is new to the matching. */
static void set_facts(struct core *core, uint32_t index, const struct command_node_hello *hello, bool is_matched)
{
    struct node *node = node_at(core, index);
    struct facts facts;
    facts_take(core, hello, &facts);
    bool is_same = is_same_list(node->kinds, node->kind_count, facts.kinds, facts.kind_count) &&
                   is_same_list(node->labels, node->label_count, facts.labels, facts.label_count) &&
                   node->cpu_milli == hello->facts.cpu_milli && node->memory_mib == hello->facts.memory_mib &&
                   node->gpu == hello->facts.gpu;
    if (is_matched && !is_same) {
        signature_unmatch_node(core, index);
    }
    table_charge(core, node->caller, TABLE_NAMES, -(int32_t)node->label_count);
    replace_list(core, &node->kinds, &node->kind_count, facts.kinds, facts.kind_count);
    replace_list(core, &node->labels, &node->label_count, facts.labels, facts.label_count);
    table_charge(core, node->caller, TABLE_NAMES, (int32_t)node->label_count);
    node->cpu_milli = hello->facts.cpu_milli;
    node->memory_mib = hello->facts.memory_mib;
    node->gpu = hello->facts.gpu;
    if (!slice_equal(block_slice(node->info), hello->info)) {
        block_drop(core, &node->info);
        node->info = block_new(core, hello->info);
    }
    bool makes_kinds = hello->by.id == 0 ? !is_same : !hello->is_worker; /* workers used to */
    for (uint32_t i = 0; makes_kinds && i < hello->kind_count; i++) {
        ensure(kind_add(core, hello->kinds[i], &hello->by)); /* node_hello has looked that there is room */
    }
    if (!is_same || !is_matched) {
        signature_match_node(core, index);
    }
}

/* --- sessions --- */

/* All leases for which `is_held` is not set are lost. From the last to the first, as each goes to the front of its line. */
static void lose_leases(struct core *core, uint32_t index, bool has_died)
{
    for (uint32_t i = node_at(core, index)->lease_tail; i != NONE;) {
        struct task *task = task_at(core, i);
        uint32_t prev = task->prev;
        if (MUTATION(leak_lease) && i == node_at(core, index)->lease_tail && node_at(core, index)->leases > 1) {
            i = prev;
            continue;
        }
        if (!task->is_held || MUTATION(ignore_held)) {
            lease_lost(core, i, ATTEMPT_LOST, has_died);
        }
        task->is_held = 0;
        i = prev;
    }
}

static void put_ended(struct core *core, const struct node *node, enum lost_reason reason)
{
    struct effect_session effect = {node->session, true, reason, node->is_draining, node->is_quiet};
    effect_put_session(core->effects, &effect);
}

static void end_session(struct core *core, uint32_t index, enum lost_reason reason)
{
    struct node *node = node_at(core, index);
    ensure(node->session != 0 && core->sessions > 0);
    put_ended(core, node, reason);
    lose_leases(core, index, reason != LOST_LEFT);
    ensure(node->leases == 0 || MUTATION(leak_lease));
    node->session = 0;
    node->credit = 0;
    node->session_ns = core->time_ns;
    node->changed_seq = core->seq;
    core->sessions--;
    node_update_idle(core, index);
    signature_unmatch_node(core, index);
    table_charge(core, node->caller, TABLE_SESSIONS, -1);
    bitset_clear(&core->live, index);
    ensure(heap_push(&core->gone, index));
}

static void open_session(struct core *core, uint32_t index, const struct command_node_hello *hello)
{
    struct node *node = node_at(core, index);
    node->session = ++core->session_number << NODE_INDEX_BITS | index;
    node->instance = hello->instance;
    node->owner = hello->owner;
    node->start = hello->start;
    node->is_worker = hello->is_worker;
    if (node->gone_position != HEAP_NONE) {
        heap_remove(&core->gone, node->gone_position); /* it is ordered by the time that changes now */
    }
    node->session_ns = core->time_ns;
    bitset_set(&core->live, index);
}

/* Lets go of all that the record of a node without session holds. */
static void node_empty(struct core *core, uint32_t index)
{
    struct node *gone = node_at(core, index);
    ensure(gone->session == 0 && gone->leases == 0);
    heap_remove(&core->gone, gone->gone_position);
    table_charge(core, gone->caller, TABLE_NAMES, -1 - (int32_t)gone->label_count);
    replace_list(core, &gone->kinds, &gone->kind_count, NULL, 0);
    replace_list(core, &gone->labels, &gone->label_count, NULL, 0);
    block_drop(core, &gone->info);
    symbol_at(core, gone->symbol)->node = NONE;
    symbol_unref(core, gone->symbol);
}

enum status node_forget(struct core *core, struct slice name)
{
    uint32_t index = node_find(core, name);
    if (index == NONE) {
        return STATUS_NOT_FOUND;
    }
    if (node_at(core, index)->session != 0) {
        return STATUS_CONFLICT;
    }
    node_empty(core, index);
    slab_free(&core->nodes, index);
    return STATUS_OK;
}

uint32_t node_collect(struct core *core, int64_t gone_ms, uint32_t count_max)
{
    uint32_t count = 0;
    for (; count < count_max; count++) {
        uint32_t index = heap_top(&core->gone);
        if (index == HEAP_NONE || time_add_ms(node_at(core, index)->session_ns, gone_ms) > core->time_ns) {
            break;
        }
        node_empty(core, index);
        slab_free(&core->nodes, index);
    }
    return count;
}

/* A record for a new name: a fresh one, or at LIMIT_NODES the one of the node that has been gone for longest. */
static uint32_t make_node(struct core *core, struct slice name)
{
    uint32_t index;
    if (core->nodes.used < LIMIT_NODES) {
        index = slab_alloc(&core->nodes);
        ensure(index != SLAB_NONE);
    } else {
        index = heap_top(&core->gone);
        if (index == HEAP_NONE) {
            return NONE;
        }
        node_empty(core, index);
    }
    uint32_t symbol = symbol_acquire(core, name);
    ensure(symbol != NONE); /* node_hello has looked that there is room */
    symbol_at(core, symbol)->node = index;
    *node_at(core, index) = (struct node){.symbol = symbol,
                                          .joined_ns = core->time_ns,
                                          .session_ns = core->time_ns,
                                          .gone_position = HEAP_NONE,
                                          .lease_head = NONE,
                                          .lease_tail = NONE};
    return index;
}

static void refuse(struct core *core, uint32_t ordinal, enum status status)
{
    buf_append_u32(&core->refused, ordinal);
    buf_append_u8(&core->refused, (uint8_t)status);
    ensure(buf_status(&core->refused) == STATUS_OK);
}

/* Marks the leases that the node still works on, and refuses tokens that are not among its leases. */
static void check_held(struct core *core, uint32_t index, const struct command_node_hello *hello, bool is_resumed)
{
    for (uint32_t i = 0; i < hello->held_count; i++) {
        struct lease_token token = command_held_at(hello, i);
        uint32_t task = is_resumed ? lease_find(core, index, &token) : NONE;
        if (task == NONE) {
            refuse(core, i, STATUS_LEASE_LOST);
            if (node_at(core, index)->instance == hello->instance) {
                lease_survived(core, &token, node_at(core, index)->symbol);
            }
        } else {
            task_at(core, task)->is_held = 1;
        }
    }
}

/* Whether there is room for what a hello brings: names, kinds that nobody knew, a session. */
static bool admits_hello(struct core *core, const struct command_node_hello *hello, bool has_session)
{
    core->refusal = STATUS_BUSY;
    if (hello->by.id == 0) {
        return core->symbols.used + 1 + hello->kind_count + hello->facts.label_count <= LIMIT_SYMBOLS;
    }
    struct slice names[1 + LIMIT_KINDS_PER_NODE + LIMIT_LABELS];
    uint32_t count = 0, unknown = 0;
    names[count++] = hello->node;
    for (uint32_t i = 0; i < hello->kind_count; i++) {
        names[count++] = hello->kinds[i];
        unknown += core_kind_is_known(core, hello->kinds[i]) ? 0 : 1;
    }
    for (uint32_t i = 0; i < hello->facts.label_count; i++) {
        names[count++] = hello->facts.labels[i];
    }
    return table_admits_names(core, &hello->by, names, count) &&
           (hello->is_worker || unknown == 0 || table_admits(core, &hello->by, TABLE_KINDS, unknown)) &&
           (has_session || table_admits(core, &hello->by, TABLE_SESSIONS, 1));
}

/* What the node has is from now on the caller's. */
static void set_caller(struct core *core, uint32_t index, uint64_t caller)
{
    struct node *node = node_at(core, index);
    int32_t names = 1 + (int32_t)node->label_count;
    table_charge(core, node->caller, TABLE_NAMES, -names);
    table_charge(core, caller, TABLE_NAMES, names);
    if (node->session != 0) {
        table_charge(core, node->caller, TABLE_SESSIONS, -1);
        table_charge(core, caller, TABLE_SESSIONS, 1);
    }
    node->caller = caller;
}

void node_hello(struct core *core, const struct command_node_hello *hello, struct effect_reply *reply)
{
    uint32_t index = node_find(core, hello->node);
    if (!admits_hello(core, hello, index != NONE && node_at(core, index)->session != 0)) {
        table_refuse(core, reply);
        return;
    }
    if (index == NONE) {
        index = make_node(core, hello->node);
        if (index == NONE) {
            reply->status = STATUS_BUSY;
            return;
        }
    }
    struct node *node = node_at(core, index);
    bool is_live = node->session != 0;
    bool is_resumed = is_live && node->instance == hello->instance && node->is_worker == hello->is_worker;
    buf_reset(&core->refused);
    node->credit = 0;
    node_update_idle(core, index); /* not given anything before its facts are right */
    if (is_live && !is_resumed) {
        end_session(core, index, LOST_REPLACED);
    }
    if (!is_resumed || !hello->is_worker) {
        check_held(core, index, hello, is_resumed);
        if (is_resumed) {
            put_ended(core, node, LOST_REPLACED); /* its old connection, if that is still there */
            lose_leases(core, index, false);      /* it is the same process: it never got them, or let them go */
        } else {
            core->sessions++;
            table_charge(core, node->caller, TABLE_SESSIONS, 1);
        }
        open_session(core, index, hello);
    }
    set_caller(core, index, hello->by.id);
    set_facts(core, index, hello, is_resumed);
    if (!is_resumed) {
        ready_node_joined(core, index);
    }
    set_credit(core, index, hello->credit);
    reply->session = node->session;
    reply->is_resumed = is_resumed;
    reply->refused = buf_slice(&core->refused);
}

void node_report(struct core *core, const struct command_node_report *report, struct effect_reply *reply)
{
    uint32_t index = node_of_session(core, report->session);
    reply->session = report->session;
    if (index == NONE) {
        reply->status = STATUS_SESSION_LOST;
        return;
    }
    buf_reset(&core->refused);
    struct reader outcomes = reader_of(report->outcomes);
    struct outcome outcome;
    for (uint32_t i = 0; outcome_next(&outcomes, &outcome); i++) {
        enum status status = lease_apply_outcome(core, index, &outcome);
        if (status != STATUS_OK) {
            refuse(core, i, status);
        }
    }
    const struct node *node = node_at(core, index);
    if (report->has_credit || report->credit_add > 0) {
        set_credit(core, index,
                   (uint64_t)(report->has_credit ? report->credit_set : node->credit) + report->credit_add);
    }
    reply->refused = buf_slice(&core->refused);
}

enum status node_lost(struct core *core, const struct command_node_lost *command)
{
    uint32_t index = node_of_session(core, command->session);
    if (index == NONE) {
        return STATUS_SESSION_LOST;
    }
    end_session(core, index, command->reason);
    return STATUS_OK;
}

enum status node_set(struct core *core, const struct command_node_set *command)
{
    uint32_t index = node_find(core, command->node);
    if (index == NONE) {
        return STATUS_NOT_FOUND;
    }
    struct node *node = node_at(core, index);
    bool is_draining = command->has_drain ? command->drain : node->is_draining;
    bool is_quiet = command->has_quiet ? command->quiet : node->is_quiet;
    if (is_draining == node->is_draining && is_quiet == node->is_quiet) {
        return STATUS_OK;
    }
    node->is_draining = is_draining;
    node->is_quiet = is_quiet;
    node->changed_seq = core->seq;
    node_update_idle(core, index);
    if (node->session != 0) {
        struct effect_session effect = {.session = node->session, .drain = is_draining, .quiet = is_quiet};
        effect_put_session(core->effects, &effect);
    }
    return STATUS_OK;
}
