/* hash.h - checksums and hashes. Pure, any thread. */
#ifndef SHOAL_BASE_HASH_H
#define SHOAL_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

#define SHA256_SIZE 32
#define SHA256_HEX_SIZE 65 /* with the NUL */

/* CRC-32C (Castagnoli, polynomial 0x1EDC6F41, reflected), as in iSCSI (RFC 3720 B.4). `crc` is 0 or the result of the
 * bytes before. Uses the SSE4.2 instruction where the processor has it. */
uint32_t crc32c(uint32_t crc, const void *data, size_t len);
/* The same without the instruction, so that tests can hold one against the other. */
uint32_t crc32c_portable(uint32_t crc, const void *data, size_t len);

/* XXH3 of the bytes: quick, not cryptographic. Whoever chooses the bytes can make as many collide as he likes, whatever the
 * seed: for a map whose keys come from outside there is hash_keyed. */
uint64_t hash64(struct slice bytes, uint64_t seed);
/* Mixes an integer to a well spread one (the finaliser of SplitMix64). */
static inline uint64_t hash_mix(uint64_t value)
{
    value += 0x9E3779B97F4A7C15u;
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9u;
    value = (value ^ (value >> 27)) * 0x94D049BB133111EBu;
    return value ^ (value >> 31);
}

/* SipHash-1-3 of `tweak` and the bytes: nobody who does not know the key can find keys that collide
 * (docs/decisions/0008-keyed-hash.md). */
struct hash_key {
    uint64_t part[2];
};
uint64_t hash_keyed(const struct hash_key *key, uint64_t tweak, struct slice bytes);
/* For numbers that a client can choose or steer: hash_mix in a chain that begins with one half of the key and ends with the
 * other, so that no difference of numbers is known to cancel. */
static inline uint64_t hash_keyed_numbers(const struct hash_key *key, const uint64_t *numbers, size_t count)
{
    uint64_t hash = key->part[0];
    for (size_t i = 0; i < count; i++) {
        hash = hash_mix(hash ^ numbers[i]);
    }
    return hash_mix(hash ^ key->part[1]);
}

/* SHA-256 in one call, and in pieces. A context is owned by its maker, one thread at a time. */
void sha256(struct slice bytes, uint8_t ret_digest[SHA256_SIZE]);
struct sha256;
struct sha256 *sha256_new(void); /* NULL without memory */
void sha256_update(struct sha256 *sha, const void *data, size_t len);
void sha256_final(struct sha256 *sha, uint8_t ret_digest[SHA256_SIZE]); /* then only sha256_free */
void sha256_free(struct sha256 *sha);

/* Lower-case hexadecimal; `ret` holds 2 * len + 1 bytes. */
void hex_encode(const uint8_t *data, size_t len, char *ret);

#endif
