#include "base/heap.h"

#include <stdlib.h>

#include "base/ensure.h"

#define ARITY 4u /* half the depth of a binary heap, and four 4-byte items share a cache line */

void heap_init(struct heap *heap, bool (*is_before)(void *, uint32_t, uint32_t),
               void (*set_position)(void *, uint32_t, uint32_t), void *ctx)
{
    *heap = (struct heap){.is_before = is_before, .set_position = set_position, .ctx = ctx};
}

void heap_free(struct heap *heap)
{
    free(heap->items);
    heap->items = NULL;
    heap->len = heap->cap = 0;
}

uint32_t heap_top(const struct heap *heap)
{
    return heap->len > 0 ? heap->items[0] : HEAP_NONE;
}

static void put(struct heap *heap, uint32_t position, uint32_t item)
{
    heap->items[position] = item;
    heap->set_position(heap->ctx, item, position);
}

static uint32_t sift_up(struct heap *heap, uint32_t position, uint32_t item)
{
    while (position > 0) {
        uint32_t parent = (position - 1) / ARITY;
        if (!heap->is_before(heap->ctx, item, heap->items[parent])) {
            break;
        }
        put(heap, position, heap->items[parent]);
        position = parent;
    }
    put(heap, position, item);
    return position;
}

static void sift_down(struct heap *heap, uint32_t position, uint32_t item)
{
    for (;;) {
        uint64_t first = (uint64_t)position * ARITY + 1;
        if (first >= heap->len) {
            break;
        }
        uint32_t least = (uint32_t)first;
        for (uint32_t child = least + 1; child < heap->len && child < first + ARITY; child++) {
            if (heap->is_before(heap->ctx, heap->items[child], heap->items[least])) {
                least = child;
            }
        }
        if (!heap->is_before(heap->ctx, heap->items[least], item)) {
            break;
        }
        put(heap, position, heap->items[least]);
        position = least;
    }
    put(heap, position, item);
}

bool heap_push(struct heap *heap, uint32_t item)
{
    if (heap->len == heap->cap) {
        uint32_t cap = heap->cap == 0 ? 16 : heap->cap + heap->cap / 2;
        uint32_t *items = realloc(heap->items, (size_t)cap * sizeof(*items));
        if (items == NULL) {
            return false;
        }
        heap->items = items;
        heap->cap = cap;
    }
    heap->len++;
    sift_up(heap, heap->len - 1, item);
    return true;
}

void heap_remove(struct heap *heap, uint32_t position)
{
    ensure(position < heap->len);
    heap->set_position(heap->ctx, heap->items[position], HEAP_NONE);
    heap->len--;
    if (position == heap->len) {
        return;
    }
    uint32_t item = heap->items[heap->len];
    if (sift_up(heap, position, item) == position) {
        sift_down(heap, position, item);
    }
}

void heap_fix(struct heap *heap, uint32_t position)
{
    ensure(position < heap->len);
    uint32_t item = heap->items[position];
    if (sift_up(heap, position, item) == position) {
        sift_down(heap, position, item);
    }
}

bool heap_is_ordered(const struct heap *heap)
{
    for (uint32_t i = 1; i < heap->len; i++) {
        if (heap->is_before(heap->ctx, heap->items[i], heap->items[(i - 1) / ARITY])) {
            return false;
        }
    }
    return true;
}
