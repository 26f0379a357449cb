#include "core/bitset.h"

#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"

void bitset_free(struct bitset *set)
{
    free(set->words);
    *set = (struct bitset){0};
}

static void grow(struct bitset *set, uint32_t len)
{
    if (len <= set->len) {
        return;
    }
    uint64_t *words = realloc(set->words, (size_t)len * sizeof(*words));
    ensure(words != NULL);
    memset(words + set->len, 0, (size_t)(len - set->len) * sizeof(*words));
    set->words = words;
    set->len = len;
}

void bitset_set(struct bitset *set, uint32_t bit)
{
    grow(set, bit / 64 + 1);
    set->words[bit / 64] |= UINT64_C(1) << (bit % 64);
}

void bitset_clear_all(struct bitset *set)
{
    if (set->len > 0) {
        memset(set->words, 0, (size_t)set->len * sizeof(*set->words));
    }
}

void bitset_add(struct bitset *into, const struct bitset *from)
{
    grow(into, from->len);
    for (uint32_t i = 0; i < from->len; i++) {
        into->words[i] |= from->words[i];
    }
}

uint32_t bitset_next_common(const struct bitset *a, const struct bitset *b, uint32_t from)
{
    uint32_t len = a->len < b->len ? a->len : b->len;
    if (len == 0) {
        return BITSET_NONE;
    }
    uint32_t start = from / 64;
    uint64_t mask = ~UINT64_C(0) << (from % 64);
    if (start >= len) {
        start = 0;
        mask = ~UINT64_C(0);
    }
    /* The first word is looked at twice: its high part first, its low part last. */
    for (uint32_t i = 0; i <= len; i++) {
        uint32_t at = start + i < len ? start + i : start + i - len;
        uint64_t word = a->words[at] & b->words[at];
        if (i == 0) {
            word &= mask;
        } else if (i == len) {
            word &= ~mask;
        }
        if (word != 0) {
            return at * 64 + (uint32_t)__builtin_ctzll(word);
        }
    }
    return BITSET_NONE;
}

uint32_t bitset_next(const struct bitset *set, uint32_t from)
{
    uint64_t mask = ~UINT64_C(0) << (from % 64);
    for (uint32_t at = from / 64; at < set->len; at++, mask = ~UINT64_C(0)) {
        uint64_t word = set->words[at] & mask;
        if (word != 0) {
            return at * 64 + (uint32_t)__builtin_ctzll(word);
        }
    }
    return BITSET_NONE;
}

bool bitset_is_empty(const struct bitset *set)
{
    for (uint32_t i = 0; i < set->len; i++) {
        if (set->words[i] != 0) {
            return false;
        }
    }
    return true;
}
