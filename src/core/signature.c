/* signature.c - what a task needs, matched once against what a node has.
 *
 * A signature is a distinct (kind, labels, cpu, memory, gpu). Each is matched against each node once, when either comes;
 * the answer is a bit in both directions. Finding a node for a task, or work for a node, is then an intersection of
 * bitsets, whatever the number of tasks. A signature goes with its last task.
 *
 * Only nodes with a session are matched: those that are gone are many, and cost nothing. A node that comes (back) is matched
 * against the signatures of its kinds, a new signature against the live nodes that have its rarest name. */
#include <stdlib.h>

#include "base/hash.h"
#include "core/core_internal.h"

/* A signature to look for, labels sorted. */
struct wanted {
    uint32_t kind, cpu_milli, memory_mib, gpu, label_count;
    uint32_t labels[LIMIT_LABELS];
    bool is_alone;
};

static uint64_t hash_fields(const struct core *core, uint32_t kind, uint32_t cpu_milli, uint32_t memory_mib,
                            uint32_t gpu, bool is_alone, const uint32_t *labels, uint32_t label_count)
{
    uint64_t numbers[3 + LIMIT_LABELS] = {(uint64_t)kind << 32 | gpu, (uint64_t)cpu_milli << 32 | memory_mib, is_alone};
    for (uint32_t i = 0; i < label_count; i++) {
        numbers[3 + i] = labels[i];
    }
    return hash_keyed_numbers(&core->hash_key, numbers, 3 + label_count);
}

static uint64_t hash_of(const void *ctx, uint32_t value)
{
    const struct signature *s = signature_at(ctx, value);
    return hash_fields(ctx, s->kind, s->cpu_milli, s->memory_mib, s->gpu, s->is_alone, s->labels, s->label_count);
}

static bool is_equal(const void *ctx, uint32_t value, const void *key)
{
    const struct signature *s = signature_at(ctx, value);
    const struct wanted *w = key;
    return s->kind == w->kind && s->cpu_milli == w->cpu_milli && s->memory_mib == w->memory_mib && s->gpu == w->gpu &&
           s->is_alone == w->is_alone && s->label_count == w->label_count &&
           (w->label_count == 0 || memcmp(s->labels, w->labels, w->label_count * sizeof(w->labels[0])) == 0);
}

bool signature_is_plain(const struct signature *s)
{
    return s->label_count == 0 && s->cpu_milli == 0 && s->memory_mib == 0 && s->gpu == 0 && !s->is_alone;
}

void symbols_sort(uint32_t *symbols, uint32_t *count)
{
    /* At most 64 of them, mostly sorted: insertion is enough. */
    for (uint32_t i = 1; i < *count; i++) {
        uint32_t symbol = symbols[i];
        uint32_t j = i;
        for (; j > 0 && symbols[j - 1] > symbol; j--) {
            symbols[j] = symbols[j - 1];
        }
        symbols[j] = symbol;
    }
}

/* Where the symbol is in an ascending list; NONE. */
static uint32_t find_symbol(const uint32_t *symbols, uint32_t count, uint32_t symbol)
{
    uint32_t low = 0;
    while (count > 0) {
        uint32_t half = count / 2;
        if (symbols[low + half] < symbol) {
            low += half + 1;
            count -= half + 1;
        } else if (symbols[low + half] == symbol) {
            return low + half;
        } else {
            count = half;
        }
    }
    return NONE;
}

static bool has_symbol(const uint32_t *symbols, uint32_t count, uint32_t symbol)
{
    return find_symbol(symbols, count, symbol) != NONE;
}

bool signature_is_matched(const struct signature *signature, const struct node *node)
{
    if (signature->cpu_milli > node->cpu_milli || signature->memory_mib > node->memory_mib ||
        signature->gpu > node->gpu || !has_symbol(node->kinds, node->kind_count, signature->kind)) {
        return false;
    }
    for (uint32_t i = 0; i < signature->label_count; i++) {
        if (!has_symbol(node->labels, node->label_count, signature->labels[i])) {
            return false;
        }
    }
    return true;
}

static void match(struct core *core, uint32_t signature, uint32_t node)
{
    core->steps++;
    if (signature_is_matched(signature_at(core, signature), node_at(core, node))) {
        bitset_set(&signature_at(core, signature)->nodes, node);
        bitset_set(&node_at(core, node)->match, signature);
    }
}

/* --- bearers --- */

static struct node_list *list_of(struct core *core, uint32_t symbol, bool is_kind)
{
    struct symbol *name = symbol_at(core, symbol);
    if (name->bearers == NULL) {
        name->bearers = calloc(1, sizeof(*name->bearers));
        ensure(name->bearers != NULL);
    }
    return is_kind ? &name->bearers->offer : &name->bearers->label;
}

static uint32_t list_add(struct node_list *list, uint32_t node)
{
    if (list->len == list->cap) {
        list->cap = list->cap == 0 ? 2 : list->cap * 2;
        list->nodes = realloc(list->nodes, (size_t)list->cap * sizeof(*list->nodes));
        ensure(list->nodes != NULL);
    }
    list->nodes[list->len] = node;
    return list->len++;
}

static uint32_t *join_all(struct core *core, uint32_t index, const uint32_t *symbols, uint32_t count, bool is_kind)
{
    uint32_t *at = malloc(((size_t)count + 1) * sizeof(*at));
    ensure(at != NULL);
    for (uint32_t i = 0; i < count; i++) {
        at[i] = list_add(list_of(core, symbols[i], is_kind), index);
    }
    return at;
}

void signature_join_node(struct core *core, uint32_t index)
{
    struct node *node = node_at(core, index);
    ensure(node->kind_at == NULL && node->label_at == NULL);
    node->kind_at = join_all(core, index, node->kinds, node->kind_count, true);
    node->label_at = join_all(core, index, node->labels, node->label_count, false);
}

/* Closes the gap with the last of the list, and tells that one its new place. */
static void leave(struct core *core, uint32_t symbol, uint32_t place, bool is_kind)
{
    struct symbol *name = symbol_at(core, symbol);
    struct node_list *list = is_kind ? &name->bearers->offer : &name->bearers->label;
    uint32_t last = list->nodes[--list->len];
    if (place < list->len) {
        struct node *moved = node_at(core, last);
        uint32_t i = find_symbol(is_kind ? moved->kinds : moved->labels,
                                 is_kind ? moved->kind_count : moved->label_count, symbol);
        list->nodes[place] = last;
        (is_kind ? moved->kind_at : moved->label_at)[i] = place;
    }
    if (name->bearers->offer.len == 0 && name->bearers->label.len == 0) {
        bearers_free(name);
    }
}

void bearers_free(struct symbol *symbol)
{
    if (symbol->bearers != NULL) {
        free(symbol->bearers->offer.nodes);
        free(symbol->bearers->label.nodes);
        free(symbol->bearers);
        symbol->bearers = NULL;
    }
}

/* The shortest list that has every node which can run it. */
static const struct node_list *candidates(const struct core *core, const struct signature *signature)
{
    static const struct node_list none;
    const struct bearers *bearers = symbol_at(core, signature->kind)->bearers;
    const struct node_list *best = bearers != NULL ? &bearers->offer : &none;
    for (uint32_t i = 0; i < signature->label_count; i++) {
        bearers = symbol_at(core, signature->labels[i])->bearers;
        const struct node_list *list = bearers != NULL ? &bearers->label : &none;
        best = list->len < best->len ? list : best;
    }
    return best;
}

/* --- matching --- */

void signature_match_node(struct core *core, uint32_t index)
{
    signature_join_node(core, index);
    const struct node *node = node_at(core, index);
    for (uint32_t k = 0; k < node->kind_count; k++) {
        uint32_t i = symbol_at(core, node->kinds[k])->signatures;
        for (; i != NONE; i = signature_at(core, i)->next_of_kind) {
            match(core, i, index);
        }
    }
}

void signature_unmatch_node(struct core *core, uint32_t index)
{
    struct node *node = node_at(core, index);
    for (uint32_t i = bitset_next(&node->match, 0); i != BITSET_NONE; i = bitset_next(&node->match, i + 1)) {
        bitset_clear(&signature_at(core, i)->nodes, index);
        core->steps++;
    }
    bitset_free(&node->match);
    for (uint32_t i = 0; i < node->kind_count; i++) {
        leave(core, node->kinds[i], node->kind_at[i], true);
    }
    for (uint32_t i = 0; i < node->label_count; i++) {
        leave(core, node->labels[i], node->label_at[i], false);
    }
    free(TAKE(node->kind_at));
    free(TAKE(node->label_at));
}

/* The list of the signatures of a kind. */
static void kind_list_add(struct core *core, uint32_t index)
{
    struct signature *signature = signature_at(core, index);
    struct symbol *kind = symbol_at(core, signature->kind);
    signature->prev_of_kind = NONE;
    signature->next_of_kind = kind->signatures;
    if (kind->signatures != NONE) {
        signature_at(core, kind->signatures)->prev_of_kind = index;
    }
    kind->signatures = index;
}

static void kind_list_remove(struct core *core, struct signature *signature)
{
    if (signature->prev_of_kind != NONE) {
        signature_at(core, signature->prev_of_kind)->next_of_kind = signature->next_of_kind;
    } else {
        symbol_at(core, signature->kind)->signatures = signature->next_of_kind;
    }
    if (signature->next_of_kind != NONE) {
        signature_at(core, signature->next_of_kind)->prev_of_kind = signature->prev_of_kind;
    }
}

void signature_index(struct core *core, uint32_t index)
{
    core->plain_signatures += signature_is_plain(signature_at(core, index)) ? 1 : 0;
    ensure(map_add(&core->signature_map, hash_of(core, index), index, hash_of, core));
    ready_init_signature(core, signature_at(core, index));
    kind_list_add(core, index);
    const struct node_list *list = candidates(core, signature_at(core, index));
    for (uint32_t i = 0; i < list->len; i++) {
        match(core, index, list->nodes[i]);
    }
}

/* Whether there may be one more. The plain one of a kind is outside of the count, except by the limits of before. */
static bool may_add(struct core *core, const struct wanted *wanted, const struct command_caller *by)
{
    bool is_plain = wanted->label_count == 0 && wanted->cpu_milli == 0 && wanted->memory_mib == 0 && wanted->gpu == 0 &&
                    !wanted->is_alone;
    if (by->id == 0) {
        core->refusal = STATUS_BUSY;
        return core->signatures.used < LIMIT_SIGNATURES;
    }
    return is_plain || table_admits(core, by, TABLE_REQUIREMENTS, 1);
}

/* The signature that is wanted, with a reference; the references of wanted->labels become its own, or go. */
static uint32_t acquire(struct core *core, const struct wanted *wanted, const struct command_caller *by)
{
    uint64_t hash = hash_fields(core, wanted->kind, wanted->cpu_milli, wanted->memory_mib, wanted->gpu,
                                wanted->is_alone, wanted->labels, wanted->label_count);
    uint32_t index = map_find(&core->signature_map, hash, is_equal, core, wanted);
    if (index == MAP_NONE && may_add(core, wanted, by)) {
        index = slab_alloc(&core->signatures);
        ensure(index != SLAB_NONE);
        struct signature *signature = signature_at(core, index);
        signature->kind = wanted->kind;
        signature->refs = 1;
        signature->cpu_milli = wanted->cpu_milli;
        signature->memory_mib = wanted->memory_mib;
        signature->gpu = wanted->gpu;
        signature->is_alone = wanted->is_alone;
        signature->label_count = wanted->label_count;
        if (!signature_is_plain(signature)) {
            signature->owner = by->id;
            table_charge(core, by->id, TABLE_REQUIREMENTS, 1);
            table_charge(core, by->id, TABLE_NAMES, (int32_t)wanted->label_count);
        }
        symbol_ref(core, wanted->kind);
        if (wanted->label_count > 0) {
            signature->labels = malloc(wanted->label_count * sizeof(*signature->labels));
            ensure(signature->labels != NULL);
            memcpy(signature->labels, wanted->labels, wanted->label_count * sizeof(*signature->labels));
        }
        signature_index(core, index);
        return index;
    }
    for (uint32_t i = 0; i < wanted->label_count; i++) {
        symbol_unref(core, wanted->labels[i]);
    }
    if (index == MAP_NONE) {
        return NONE;
    }
    signature_at(core, index)->refs++;
    return index;
}

uint32_t signature_acquire(struct core *core, uint32_t kind, const struct requirement *requirement,
                           const struct command_caller *by)
{
    struct wanted wanted = {.kind = kind,
                            .cpu_milli = requirement->cpu_milli,
                            .memory_mib = requirement->memory_mib,
                            .gpu = requirement->gpu,
                            .is_alone = requirement->is_alone,
                            .label_count = requirement->label_count};
    for (uint32_t i = 0; i < wanted.label_count; i++) {
        wanted.labels[i] = symbol_acquire(core, requirement->labels[i]);
        ensure(wanted.labels[i] != NONE); /* task_submit has looked that there is room */
    }
    symbols_sort(wanted.labels, &wanted.label_count);
    uint32_t distinct = 0;
    for (uint32_t i = 0; i < wanted.label_count; i++) {
        if (distinct > 0 && wanted.labels[distinct - 1] == wanted.labels[i]) {
            symbol_unref(core, wanted.labels[i]);
        } else {
            wanted.labels[distinct++] = wanted.labels[i];
        }
    }
    wanted.label_count = distinct;
    return acquire(core, &wanted, by);
}

uint32_t signature_acquire_alone(struct core *core, uint32_t index)
{
    const struct signature *like = signature_at(core, index);
    struct wanted wanted = {.kind = like->kind,
                            .cpu_milli = like->cpu_milli,
                            .memory_mib = like->memory_mib,
                            .gpu = like->gpu,
                            .is_alone = true,
                            .label_count = like->label_count};
    for (uint32_t i = 0; i < like->label_count; i++) {
        wanted.labels[i] = like->labels[i];
        symbol_ref(core, wanted.labels[i]);
    }
    return acquire(core, &wanted, &(struct command_caller){0});
}

void signature_ref(struct core *core, uint32_t index)
{
    signature_at(core, index)->refs++;
}

void signature_unref(struct core *core, uint32_t index)
{
    struct signature *signature = signature_at(core, index);
    ensure(signature->refs > 0);
    if (--signature->refs > 0) {
        return;
    }
    map_remove(&core->signature_map, hash_of(core, index), index, hash_of, core);
    kind_list_remove(core, signature);
    core->plain_signatures -= signature_is_plain(signature) ? 1 : 0;
    if (!signature_is_plain(signature)) {
        table_charge(core, signature->owner, TABLE_REQUIREMENTS, -1);
        table_charge(core, signature->owner, TABLE_NAMES, -(int32_t)signature->label_count);
    }
    for (uint32_t i = bitset_next(&signature->nodes, 0); i != BITSET_NONE; i = bitset_next(&signature->nodes, i + 1)) {
        bitset_clear(&node_at(core, i)->match, index);
        core->steps++;
    }
    bitset_clear(&core->servable, index);
    for (uint32_t p = 0; p < PRIORITY_COUNT; p++) {
        ensure(signature->cell[p].len == 0 && !bitset_has(&core->backlog[p], index));
        heap_free(&signature->cell[p]);
    }
    symbol_unref(core, signature->kind);
    for (uint32_t i = 0; i < signature->label_count; i++) {
        symbol_unref(core, signature->labels[i]);
    }
    free(signature->labels);
    bitset_free(&signature->nodes);
    slab_free(&core->signatures, index);
}

void signature_rehash(struct core *core)
{
    ensure(map_rehash(&core->signature_map, hash_of, core));
}
