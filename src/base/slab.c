#include "base/slab.h"

#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"

void slab_init(struct slab *slab, size_t record_size, uint32_t max)
{
    ensure(record_size > 0 && record_size <= 65536 && max < SLAB_USED);
    *slab = (struct slab){.record_size = (uint32_t)record_size, .max = max, .free_head = SLAB_NONE};
}

void slab_free_all(struct slab *slab)
{
    for (uint32_t i = 0; i < slab->chunk_count; i++) {
        free(slab->chunks[i]);
    }
    free(slab->chunks);
    free(slab->free_next);
    slab_init(slab, slab->record_size, slab->max);
}

static bool grow_to(struct slab *slab, uint32_t len)
{
    if (len > slab->free_cap) {
        uint32_t cap = slab->free_cap < SLAB_CHUNK_RECORDS ? SLAB_CHUNK_RECORDS : slab->free_cap;
        while (cap < len) {
            cap += cap / 2;
        }
        uint32_t *free_next = realloc(slab->free_next, (size_t)cap * sizeof(*free_next));
        if (free_next == NULL) {
            return false;
        }
        slab->free_next = free_next;
        slab->free_cap = cap;
    }
    while ((uint64_t)slab->chunk_count * SLAB_CHUNK_RECORDS < len) {
        if ((slab->chunk_count & (slab->chunk_count - 1)) == 0) { /* the array of chunks doubles at powers of two */
            size_t count = slab->chunk_count == 0 ? 1 : (size_t)slab->chunk_count * 2;
            char **chunks = realloc(slab->chunks, count * sizeof(*chunks));
            if (chunks == NULL) {
                return false;
            }
            slab->chunks = chunks;
        }
        char *chunk = malloc((size_t)SLAB_CHUNK_RECORDS * slab->record_size);
        if (chunk == NULL) {
            return false;
        }
        slab->chunks[slab->chunk_count++] = chunk;
    }
    return true;
}

static char *record_at(const struct slab *slab, uint32_t index)
{
    return slab->chunks[index / SLAB_CHUNK_RECORDS] + (size_t)(index % SLAB_CHUNK_RECORDS) * slab->record_size;
}

uint32_t slab_alloc(struct slab *slab)
{
    uint32_t index = slab->free_head;
    if (index != SLAB_NONE) {
        slab->free_head = slab->free_next[index];
    } else {
        if (slab->used >= slab->max || !grow_to(slab, slab->len + 1)) {
            return SLAB_NONE;
        }
        index = slab->len++;
    }
    slab->free_next[index] = SLAB_USED;
    slab->used++;
    memset(record_at(slab, index), 0, slab->record_size);
    return index;
}

void slab_free(struct slab *slab, uint32_t index)
{
    ensure(slab_is_live(slab, index));
    slab->free_next[index] = slab->free_head;
    slab->free_head = index;
    slab->used--;
}

uint32_t slab_next(const struct slab *slab, uint32_t from)
{
    for (uint32_t i = from; i < slab->len; i++) {
        if (slab->free_next[i] == SLAB_USED) {
            return i;
        }
    }
    return SLAB_NONE;
}

bool slab_restore(struct slab *slab, uint32_t len, const uint32_t *free_order, uint32_t free_count)
{
    ensure(slab->len == 0);
    if (len > slab->max || free_count > len || !grow_to(slab, len)) {
        return false;
    }
    for (uint32_t i = 0; i < len; i++) {
        slab->free_next[i] = SLAB_USED;
        memset(record_at(slab, i), 0, slab->record_size);
    }
    slab->len = len;
    slab->used = len;
    for (uint32_t i = free_count; i > 0; i--) {
        if (!slab_is_live(slab, free_order[i - 1])) {
            return false;
        }
        slab_free(slab, free_order[i - 1]);
    }
    return true;
}

uint32_t slab_free_after(const struct slab *slab, uint32_t index)
{
    ensure(index < slab->len && slab->free_next[index] != SLAB_USED);
    return slab->free_next[index];
}
