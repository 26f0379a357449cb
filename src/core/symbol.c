/* symbol.c - names as small numbers.
 *
 * Queues, kinds, nodes, labels, fairness keys and error kinds that a policy names are each kept once. Comparing two is
 * comparing two numbers, a task holds four bytes instead of a string, and a symbol goes when its last reference goes
 * (fairness keys come and go by the million). */
#include <stdlib.h>

#include "base/hash.h"
#include "core/core_internal.h"

static bool is_equal(const void *ctx, uint32_t value, const void *key)
{
    const struct symbol *symbol = symbol_at(ctx, value);
    return slice_equal(slice_of(symbol->text, symbol->len), *(const struct slice *)key);
}

static uint64_t hash_of(const void *ctx, uint32_t value)
{
    return symbol_at(ctx, value)->hash;
}

uint32_t symbol_find(const struct core *core, struct slice text)
{
    return map_find(&core->symbol_map, hash_keyed(&core->hash_key, 0, text), is_equal, core, &text);
}

uint32_t symbol_acquire(struct core *core, struct slice text)
{
    uint64_t hash = hash_keyed(&core->hash_key, 0, text);
    uint32_t index = map_find(&core->symbol_map, hash, is_equal, core, &text);
    if (index != MAP_NONE) {
        symbol_at(core, index)->refs++;
        return index;
    }
    index = slab_alloc(&core->symbols);
    if (index == SLAB_NONE) {
        ensure(core->symbols.used >= core->symbols.max);
        return NONE;
    }
    struct symbol *symbol = symbol_at(core, index);
    *symbol = (struct symbol){
        .len = (uint32_t)text.len, .refs = 1, .hash = hash, .queue = NONE, .node = NONE, .signatures = NONE};
    symbol->text = malloc(text.len > 0 ? text.len : 1);
    ensure(symbol->text != NULL);
    if (text.len > 0) {
        memcpy(symbol->text, text.data, text.len);
    }
    ensure(map_add(&core->symbol_map, hash, index, hash_of, core));
    return index;
}

void symbol_ref(struct core *core, uint32_t symbol)
{
    symbol_at(core, symbol)->refs++;
}

void symbol_unref(struct core *core, uint32_t index)
{
    if (index == NONE) {
        return;
    }
    struct symbol *symbol = symbol_at(core, index);
    ensure(symbol->refs > 0);
    if (--symbol->refs > 0) {
        return;
    }
    ensure(symbol->queue == NONE && symbol->node == NONE && !symbol->is_kind);
    map_remove(&core->symbol_map, symbol->hash, index, hash_of, core);
    ensure(symbol->bearers == NULL);
    free(symbol->text);
    symbol->text = NULL;
    slab_free(&core->symbols, index);
}

bool symbol_index(struct core *core, uint32_t index)
{
    struct symbol *symbol = symbol_at(core, index);
    struct slice text = slice_of(symbol->text, symbol->len);
    symbol->hash = hash_keyed(&core->hash_key, 0, text);
    if (symbol_find(core, text) != NONE) {
        return false;
    }
    ensure(map_add(&core->symbol_map, symbol->hash, index, hash_of, core));
    return true;
}

struct slice symbol_text(const struct core *core, uint32_t index)
{
    if (index == NONE) {
        return (struct slice){NULL, 0};
    }
    const struct symbol *symbol = symbol_at(core, index);
    return slice_of(symbol->text, symbol->len);
}

struct block *block_new(struct core *core, struct slice text)
{
    if (text.len == 0) {
        return NULL;
    }
    struct block *block = malloc(sizeof(*block) + text.len);
    ensure(block != NULL && text.len <= INT32_MAX);
    block->len = (uint32_t)text.len & INT32_MAX;
    memcpy(block->data, text.data, text.len);
    block->names_blobs = refs_add(core, text);
    core->payload_size += text.len + BLOCK_OVERHEAD;
    return block;
}

void block_drop(struct core *core, struct block **block)
{
    struct block *gone = TAKE(*block);
    if (gone != NULL) {
        ensure(core->payload_size >= gone->len + BLOCK_OVERHEAD);
        core->payload_size -= gone->len + BLOCK_OVERHEAD;
        if (gone->names_blobs) {
            refs_remove(core, block_slice(gone));
        }
        free(gone);
    }
}

void symbol_rehash(struct core *core)
{
    for (uint32_t i = slab_next(&core->symbols, 0); i != SLAB_NONE; i = slab_next(&core->symbols, i + 1)) {
        struct symbol *symbol = symbol_at(core, i);
        symbol->hash = hash_keyed(&core->hash_key, 0, slice_of(symbol->text, symbol->len));
    }
    ensure(map_rehash(&core->symbol_map, hash_of, core));
}
