/* map.c - linear probing with backward-shift deletion: no tombstones, so a map that lives for years of adds and
 * removes stays as quick as a fresh one. Load is kept under 3/4. */
#include "base/map.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"

#define MAP_CAP_MIN 16u
static_assert(MAP_NONE == UINT32_MAX, "grow() writes it as bytes of 0xFF");

void map_init(struct map *map)
{
    *map = (struct map){0};
}

void map_free(struct map *map)
{
    free(map->slots);
    *map = (struct map){0};
}

static uint32_t tag_of(uint64_t hash)
{
    return (uint32_t)(hash >> 32);
}

uint32_t map_find(const struct map *map, uint64_t hash, map_is_equal *is_equal, const void *ctx, const void *key)
{
    if (map->cap == 0) {
        return MAP_NONE;
    }
    uint32_t mask = map->cap - 1;
    for (uint32_t i = (uint32_t)hash & mask; map->slots[i].value != MAP_NONE; i = (i + 1) & mask) {
        if (map->slots[i].hash == tag_of(hash) && is_equal(ctx, map->slots[i].value, key)) {
            return map->slots[i].value;
        }
    }
    return MAP_NONE;
}

static void place(struct map *map, uint64_t hash, uint32_t value)
{
    uint32_t mask = map->cap - 1;
    uint32_t i = (uint32_t)hash & mask;
    while (map->slots[i].value != MAP_NONE) {
        i = (i + 1) & mask;
    }
    map->slots[i] = (struct map_slot){tag_of(hash), value};
}

static bool rebuild(struct map *map, uint32_t cap, map_hash_of *hash_of, const void *ctx)
{
    struct map bigger = {.len = map->len, .cap = cap};
    bigger.slots = malloc((size_t)bigger.cap * sizeof(*bigger.slots));
    if (bigger.slots == NULL) {
        return false;
    }
    memset(bigger.slots, 0xFF, (size_t)bigger.cap * sizeof(*bigger.slots)); /* every value MAP_NONE */
    for (uint32_t i = 0; i < map->cap; i++) {
        if (map->slots[i].value != MAP_NONE) {
            place(&bigger, hash_of(ctx, map->slots[i].value), map->slots[i].value);
        }
    }
    free(map->slots);
    *map = bigger;
    return true;
}

bool map_rehash(struct map *map, map_hash_of *hash_of, const void *ctx)
{
    return map->cap == 0 || rebuild(map, map->cap, hash_of, ctx);
}

uint32_t map_longest_run(const struct map *map)
{
    uint32_t longest = 0;
    uint32_t run = 0;
    for (uint32_t i = 0; i < 2 * map->cap; i++) { /* twice around, for the run across the end */
        run = map->slots[i & (map->cap - 1)].value != MAP_NONE ? run + 1 : 0;
        longest = run > longest ? run : longest;
    }
    return longest < map->len ? longest : map->len;
}

bool map_add(struct map *map, uint64_t hash, uint32_t value, map_hash_of *hash_of, const void *ctx)
{
    ensure(value != MAP_NONE);
    if ((uint64_t)(map->len + 1) * 4 > (uint64_t)map->cap * 3 &&
        !rebuild(map, map->cap == 0 ? MAP_CAP_MIN : map->cap * 2, hash_of, ctx)) {
        return false;
    }
    place(map, hash, value);
    map->len++;
    return true;
}

void map_remove(struct map *map, uint64_t hash, uint32_t value, map_hash_of *hash_of, const void *ctx)
{
    ensure(map->cap > 0);
    uint32_t mask = map->cap - 1;
    uint32_t hole = (uint32_t)hash & mask;
    while (map->slots[hole].value != value) {
        ensure(map->slots[hole].value != MAP_NONE);
        hole = (hole + 1) & mask;
    }
    for (uint32_t i = (hole + 1) & mask; map->slots[i].value != MAP_NONE; i = (i + 1) & mask) {
        uint32_t home = (uint32_t)hash_of(ctx, map->slots[i].value) & mask;
        /* Move it back unless its home lies cyclically after the hole. */
        if (((i - home) & mask) >= ((i - hole) & mask)) {
            map->slots[hole] = map->slots[i];
            hole = i;
        }
    }
    map->slots[hole].value = MAP_NONE;
    map->len--;
}
