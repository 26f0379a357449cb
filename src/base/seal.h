/* seal.h - short keyed tags (SipHash-2-4 with 128 bits) on what leaves the process and must come back unchanged.
 *
 * Whoever does not know the key cannot make one: a guess hits with 2^-128, and whatever was seen tells nothing about the next.
 * Pure, any thread. */
#ifndef SHOAL_BASE_SEAL_H
#define SHOAL_BASE_SEAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

struct seal_key {
    uint64_t part[2];
};
struct seal {
    uint64_t part[2]; /* both 0: none */
};

/* The key of one use (`label`) of a secret; keys of different labels tell nothing about each other. */
void seal_key_derive(struct slice secret, const char *label, struct seal_key *ret_key);
/* The tag of `count` numbers. Never the one that means none. */
struct seal seal_make(const struct seal_key *key, const uint64_t *numbers, size_t count);
/* Takes the same time wherever they differ. */
static inline bool seal_equal(const struct seal *a, const struct seal *b)
{
    return ((a->part[0] ^ b->part[0]) | (a->part[1] ^ b->part[1])) == 0;
}
static inline bool seal_is_none(const struct seal *seal)
{
    return (seal->part[0] | seal->part[1]) == 0;
}

/* 26 digits of base 32 in lower case and a NUL; back: false for anything else, and for what means none. */
#define SEAL_DIGITS 26
void seal_format(const struct seal *seal, char ret[SEAL_DIGITS + 1]);
bool seal_parse(struct slice text, struct seal *ret_seal);

#endif
