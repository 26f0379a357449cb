/* heap.h - an indexed 4-ary min-heap of 32-bit items.
 *
 * The caller compares items and remembers each item's position, so that an item can be moved or removed from the
 * middle. With a comparison that is a total order the order of popping depends on the items alone, not on how the
 * heap came to be (the core depends on that). One thread at a time. */
#ifndef SHOAL_BASE_HEAP_H
#define SHOAL_BASE_HEAP_H

#include <stdbool.h>
#include <stdint.h>

#define HEAP_NONE UINT32_MAX

struct heap {
    uint32_t *items; /* owned; items[0] is the least */
    uint32_t len;
    uint32_t cap;
    /* Whether a comes before b. */
    bool (*is_before)(void *ctx, uint32_t a, uint32_t b);
    /* Remembers where an item is now; HEAP_NONE when it left the heap. */
    void (*set_position)(void *ctx, uint32_t item, uint32_t position);
    void *ctx;
};

void heap_init(struct heap *heap, bool (*is_before)(void *, uint32_t, uint32_t),
               void (*set_position)(void *, uint32_t, uint32_t), void *ctx);
void heap_free(struct heap *heap);
/* The least item, left in place; HEAP_NONE when empty. */
uint32_t heap_top(const struct heap *heap);
/* False without memory; the heap is then unchanged. */
bool heap_push(struct heap *heap, uint32_t item);
/* Removes the item at a position (position < len). */
void heap_remove(struct heap *heap, uint32_t position);
/* Restores the order after the item at a position changed its key. */
void heap_fix(struct heap *heap, uint32_t position);
/* Verifies order; for checks. */
bool heap_is_ordered(const struct heap *heap);

#endif
