/* bitset.h - a growable set of small integers, 64 to a word. Bits past the end read as clear. One thread at a time. */
#ifndef SHOAL_CORE_BITSET_H
#define SHOAL_CORE_BITSET_H

#include <stdbool.h>
#include <stdint.h>

#define BITSET_NONE UINT32_MAX

struct bitset {
    uint64_t *words; /* owned */
    uint32_t len;    /* words */
};

void bitset_free(struct bitset *set);
/* Sets a bit, growing as needed. */
void bitset_set(struct bitset *set, uint32_t bit);
static inline void bitset_clear(struct bitset *set, uint32_t bit)
{
    if (bit / 64 < set->len) {
        set->words[bit / 64] &= ~(UINT64_C(1) << (bit % 64));
    }
}
static inline bool bitset_has(const struct bitset *set, uint32_t bit)
{
    return bit / 64 < set->len && (set->words[bit / 64] >> (bit % 64) & 1) != 0;
}
void bitset_clear_all(struct bitset *set);
/* into |= from */
void bitset_add(struct bitset *into, const struct bitset *from);
/* The first bit of a ∩ b at or cyclically after `from`; BITSET_NONE when the intersection is empty. */
uint32_t bitset_next_common(const struct bitset *a, const struct bitset *b, uint32_t from);
/* The first bit at or after `from`; BITSET_NONE when there is none. */
uint32_t bitset_next(const struct bitset *set, uint32_t from);
bool bitset_is_empty(const struct bitset *set);

#endif
