#include "base/hash.h"

#include <openssl/evp.h>
#include <pthread.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/buf.h"
#include "base/ensure.h"

#define CRC32C_POLYNOMIAL_REFLECTED 0x82F63B78u

static uint32_t table[8][256];

static void table_make(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;
        for (int bit = 0; bit < 8; bit++) {
            crc = (crc >> 1) ^ ((crc & 1) != 0 ? CRC32C_POLYNOMIAL_REFLECTED : 0);
        }
        table[0][i] = crc;
    }
    for (uint32_t i = 0; i < 256; i++) {
        for (int k = 1; k < 8; k++) {
            table[k][i] = (table[k - 1][i] >> 8) ^ table[0][table[k - 1][i] & 0xFF];
        }
    }
}

/* Slicing by eight (Kounavis and Berry 2005), where there is no instruction for it. */
static uint32_t crc_portable(uint32_t crc, const unsigned char *at, size_t len)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, table_make);
    for (; len >= 8; len -= 8, at += 8) {
        uint64_t word;
        memcpy(&word, at, 8);
        word ^= crc;
        crc = table[7][word & 0xFF] ^ table[6][(word >> 8) & 0xFF] ^ table[5][(word >> 16) & 0xFF] ^
              table[4][(word >> 24) & 0xFF] ^ table[3][(word >> 32) & 0xFF] ^ table[2][(word >> 40) & 0xFF] ^
              table[1][(word >> 48) & 0xFF] ^ table[0][word >> 56];
    }
    for (; len > 0; len--, at++) {
        crc = (crc >> 8) ^ table[0][(crc ^ *at) & 0xFF];
    }
    return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t crc_sse42(uint32_t crc, const unsigned char *at, size_t len)
{
    uint64_t wide = crc;
    for (; len >= 8; len -= 8, at += 8) {
        uint64_t word;
        memcpy(&word, at, 8);
        wide = __builtin_ia32_crc32di(wide, word);
    }
    crc = (uint32_t)wide;
    for (; len > 0; len--, at++) {
        crc = __builtin_ia32_crc32qi(crc, *at);
    }
    return crc;
}
#endif

uint32_t crc32c(uint32_t crc, const void *data, size_t len)
{
    crc = ~crc;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("sse4.2")) {
        return ~crc_sse42(crc, data, len);
    }
#endif
    return ~crc_portable(crc, data, len);
}

uint32_t crc32c_portable(uint32_t crc, const void *data, size_t len)
{
    return ~crc_portable(~crc, data, len);
}

uint64_t hash64(struct slice bytes, uint64_t seed)
{
    return XXH3_64bits_withSeed(bytes.len > 0 ? bytes.data : "", bytes.len, seed);
}

/* --- SipHash-1-3 (Aumasson and Bernstein; 1-3 as in the maps of Python, Ruby and Rust) --- */

static inline uint64_t rotate(uint64_t value, unsigned by)
{
    return value << by | value >> (64 - by);
}

static inline void sip_round(uint64_t v[4])
{
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

static inline void sip_take(uint64_t v[4], uint64_t word)
{
    v[3] ^= word;
    sip_round(v);
    v[0] ^= word;
}

static inline void sip_begin(uint64_t v[4], const struct hash_key *key)
{
    v[0] = key->part[0] ^ UINT64_C(0x736f6d6570736575);
    v[1] = key->part[1] ^ UINT64_C(0x646f72616e646f6d);
    v[2] = key->part[0] ^ UINT64_C(0x6c7967656e657261);
    v[3] = key->part[1] ^ UINT64_C(0x7465646279746573);
}

static inline uint64_t sip_end(uint64_t v[4])
{
    v[2] ^= 0xFF;
    sip_round(v);
    sip_round(v);
    sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

uint64_t hash_keyed(const struct hash_key *key, uint64_t tweak, struct slice bytes)
{
    uint64_t v[4];
    const char *at = bytes.data;
    size_t left = bytes.len;
    sip_begin(v, key);
    sip_take(v, tweak);
    for (; left >= 8; left -= 8, at += 8) {
        sip_take(v, le_get(at, 8));
    }
    uint64_t last = (uint64_t)(bytes.len + sizeof(tweak)) << 56;
    for (size_t i = 0; i < left; i++) {
        last |= (uint64_t)(unsigned char)at[i] << (8 * i);
    }
    sip_take(v, last);
    return sip_end(v);
}

void sha256(struct slice bytes, uint8_t ret_digest[SHA256_SIZE])
{
    ensure(EVP_Digest(bytes.len > 0 ? bytes.data : "", bytes.len, ret_digest, NULL, EVP_sha256(), NULL) == 1);
}

struct sha256 *sha256_new(void)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    if (ctx != NULL && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) != 1) {
        EVP_MD_CTX_free(ctx);
        ctx = NULL;
    }
    return (struct sha256 *)ctx;
}

void sha256_update(struct sha256 *sha, const void *data, size_t len)
{
    ensure(EVP_DigestUpdate((EVP_MD_CTX *)sha, data, len) == 1);
}

void sha256_final(struct sha256 *sha, uint8_t ret_digest[SHA256_SIZE])
{
    ensure(EVP_DigestFinal_ex((EVP_MD_CTX *)sha, ret_digest, NULL) == 1);
}

void sha256_free(struct sha256 *sha)
{
    EVP_MD_CTX_free((EVP_MD_CTX *)sha);
}

void hex_encode(const uint8_t *data, size_t len, char *ret)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < len; i++) {
        ret[2 * i] = digits[data[i] >> 4];
        ret[2 * i + 1] = digits[data[i] & 15];
    }
    ret[2 * len] = '\0';
}
