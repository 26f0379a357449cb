/* map.h - a hash index: 64-bit hash -> 32-bit value, open addressing.
 *
 * The map stores no keys. Its values are indices into a slab or table of the caller, who compares keys there through
 * `is_equal`. Eight bytes an entry at most half empty. Nothing may depend on the order of a map's inside; it has no
 * walk for that reason. One thread at a time. */
#ifndef SHOAL_BASE_MAP_H
#define SHOAL_BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MAP_NONE UINT32_MAX

struct map_slot {
    uint32_t hash;  /* the high half of the 64-bit hash; the low half chooses the place */
    uint32_t value; /* MAP_NONE: empty */
};

struct map {
    struct map_slot *slots; /* owned */
    uint32_t len;
    uint32_t cap; /* power of two, or 0 */
};

/* Whether `value` stands for the key that `key` points to. */
typedef bool map_is_equal(const void *ctx, uint32_t value, const void *key);

void map_init(struct map *map);
void map_free(struct map *map);
/* The value with this key; MAP_NONE when there is none. */
uint32_t map_find(const struct map *map, uint64_t hash, map_is_equal *is_equal, const void *ctx, const void *key);
/* Adds a value whose key is not in the map yet. The caller keeps a way to compute a stored value's hash: growing
 * asks for it through `hash_of`. False without memory. */
typedef uint64_t map_hash_of(const void *ctx, uint32_t value);
bool map_add(struct map *map, uint64_t hash, uint32_t value, map_hash_of *hash_of, const void *ctx);
/* Puts every value to where its hash is now, after a change of what hash_of says of all of them. False without memory: then
 * nothing has changed, and nothing can be found. */
bool map_rehash(struct map *map, map_hash_of *hash_of, const void *ctx);
/* The most entries in a row without an empty place between them: what the slowest search passes. O(capacity). */
uint32_t map_longest_run(const struct map *map);
/* Removes the entry with this hash and value; it must be there. */
void map_remove(struct map *map, uint64_t hash, uint32_t value, map_hash_of *hash_of, const void *ctx);

#endif
