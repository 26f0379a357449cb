/* seal.c - SipHash-2-4-128 (Aumasson and Bernstein), over whole 64-bit numbers. */
#include "base/seal.h"

#include <assert.h>
#include <string.h>

#include "base/base32.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/hash.h"

#define SECRET_SIZE_MAX 256

static inline uint64_t rotate(uint64_t value, unsigned by)
{
    return value << by | value >> (64 - by);
}

static inline void rounds(uint64_t v[4], unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        v[0] += v[1];
        v[1] = rotate(v[1], 13) ^ v[0];
        v[0] = rotate(v[0], 32);
        v[2] += v[3];
        v[3] = rotate(v[3], 16) ^ v[2];
        v[0] += v[3];
        v[3] = rotate(v[3], 21) ^ v[0];
        v[2] += v[1];
        v[1] = rotate(v[1], 17) ^ v[2];
        v[2] = rotate(v[2], 32);
    }
}

static void take(uint64_t v[4], uint64_t number)
{
    v[3] ^= number;
    rounds(v, 2);
    v[0] ^= number;
}

struct seal seal_make(const struct seal_key *key, const uint64_t *numbers, size_t count)
{
    uint64_t v[4] = {key->part[0] ^ UINT64_C(0x736f6d6570736575), key->part[1] ^ UINT64_C(0x646f72616e646f6d) ^ 0xee,
                     key->part[0] ^ UINT64_C(0x6c7967656e657261), key->part[1] ^ UINT64_C(0x7465646279746573)};
    for (size_t i = 0; i < count; i++) {
        take(v, numbers[i]);
    }
    take(v, (uint64_t)(count * sizeof(*numbers)) << 56);
    struct seal seal;
    v[2] ^= 0xee;
    rounds(v, 4);
    seal.part[0] = v[0] ^ v[1] ^ v[2] ^ v[3];
    v[1] ^= 0xdd;
    rounds(v, 4);
    seal.part[1] = v[0] ^ v[1] ^ v[2] ^ v[3];
    seal.part[1] |= seal_is_none(&seal);
    return seal;
}

void seal_key_derive(struct slice secret, const char *label, struct seal_key *ret_key)
{
    char text[SECRET_SIZE_MAX];
    size_t label_size = strlen(label) + 1; /* its NUL ends it, whatever the secret begins with */
    ensure(label_size + secret.len <= sizeof(text));
    memcpy(text, label, label_size);
    memcpy(text + label_size, secret.data, secret.len);
    uint8_t digest[SHA256_SIZE];
    sha256(slice_of(text, label_size + secret.len), digest);
    struct reader reader = reader_of(slice_of((const char *)digest, sizeof(digest)));
    ret_key->part[0] = reader_u64(&reader);
    ret_key->part[1] = reader_u64(&reader);
    explicit_bzero(text, sizeof(text));
    explicit_bzero(digest, sizeof(digest));
}

void seal_format(const struct seal *seal, char ret[SEAL_DIGITS + 1])
{
    static_assert(SEAL_DIGITS == 2 * BASE32_DIGITS, "two numbers");
    base32_format(seal->part[0], ret);
    base32_format(seal->part[1], ret + BASE32_DIGITS);
}

bool seal_parse(struct slice text, struct seal *ret_seal)
{
    struct seal seal;
    if (text.len != SEAL_DIGITS || !base32_parse(slice_of(text.data, BASE32_DIGITS), &seal.part[0]) ||
        !base32_parse(slice_of(text.data + BASE32_DIGITS, BASE32_DIGITS), &seal.part[1]) || seal_is_none(&seal)) {
        return false;
    }
    char canonical[SEAL_DIGITS + 1]; /* base32_parse takes capitals as well, and a seal has one spelling */
    seal_format(&seal, canonical);
    if (memcmp(canonical, text.data, SEAL_DIGITS) != 0) {
        return false;
    }
    *ret_seal = seal;
    return true;
}
