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

/* XXH3 of the bytes: quick, not cryptographic. */
uint64_t hash64(struct slice bytes, uint64_t seed);
/* Mixes an integer to a well spread one (the finaliser of SplitMix64). */
static inline uint64_t hash_mix(uint64_t value)
{
    value += 0x9E3779B97F4A7C15u;
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9u;
    value = (value ^ (value >> 27)) * 0x94D049BB133111EBu;
    return value ^ (value >> 31);
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
