/* slab.h - many records of one size, named by dense 32-bit indices.
 *
 * Records lie in chunks that never move, so a pointer stays good until its record is freed. Indices are reused last
 * freed first, and the order of reuse is part of the saved state: two slabs that saw the same operations hand out the
 * same indices (the core depends on that). One thread at a time. */
#ifndef SHOAL_BASE_SLAB_H
#define SHOAL_BASE_SLAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/ensure.h"

#define SLAB_NONE UINT32_MAX
#define SLAB_USED (UINT32_MAX - 1) /* inside: free_next of a live index */
#define SLAB_CHUNK_RECORDS 1024u   /* inside: a chunk of task records is about 150 KiB */

struct slab {
    char **chunks;        /* owned */
    uint32_t *free_next;  /* owned; per index: SLAB_USED, or the next free index, or SLAB_NONE at the end */
    uint32_t record_size; /* bytes */
    uint32_t chunk_count;
    uint32_t len;  /* indices ever handed out: all of them are < len */
    uint32_t used; /* records live now */
    uint32_t max;  /* most records at a time */
    uint32_t free_head;
    uint32_t free_cap;
};

void slab_init(struct slab *slab, size_t record_size, uint32_t max);
void slab_free_all(struct slab *slab);
/* A zeroed record; SLAB_NONE when `max` are in use or there is no memory. */
uint32_t slab_alloc(struct slab *slab);
/* Gives a live record back. */
void slab_free(struct slab *slab, uint32_t index);
/* Whether the index names a live record. Any value may be asked for. */
static inline bool slab_is_live(const struct slab *slab, uint32_t index)
{
    return index < slab->len && slab->free_next[index] == SLAB_USED;
}
/* The record of a live index. */
static inline void *slab_at(const struct slab *slab, uint32_t index)
{
    ensure(slab_is_live(slab, index));
    return slab->chunks[index / SLAB_CHUNK_RECORDS] + (size_t)(index % SLAB_CHUNK_RECORDS) * slab->record_size;
}
/* The lowest live index >= from; SLAB_NONE when there is none. For walks in index order. */
uint32_t slab_next(const struct slab *slab, uint32_t from);
/* Re-creates an empty slab so that exactly `live[0..len)` are live and the free list reads `free_order` (last freed
 * first). For loading a saved state. False when the arguments contradict each other or memory is short. */
bool slab_restore(struct slab *slab, uint32_t len, const uint32_t *free_order, uint32_t free_count);
/* Walks the free list: the first is slab->free_head, then this, until SLAB_NONE. For saving. */
uint32_t slab_free_after(const struct slab *slab, uint32_t index);

#endif
