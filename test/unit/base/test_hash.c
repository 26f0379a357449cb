#include "check.h"

#include "base/hash.h"

static void test_crc32c_vectors(void **state)
{
    (void)state;
    assert_int_equal(crc32c(0, "123456789", 9), 0xE3069283);
    assert_int_equal(crc32c(0, "", 0), 0);
    /* RFC 3720, B.4 */
    unsigned char bytes[32] = {0};
    assert_int_equal(crc32c(0, bytes, 32), 0x8A9136AA);
    memset(bytes, 0xFF, 32);
    assert_int_equal(crc32c(0, bytes, 32), 0x62A8AB43);
    for (int i = 0; i < 32; i++) {
        bytes[i] = (unsigned char)i;
    }
    assert_int_equal(crc32c(0, bytes, 32), 0x46DD794E);
    assert_int_equal(crc32c_portable(0, bytes, 32), 0x46DD794E);
    assert_int_equal(crc32c_portable(0, "123456789", 9), 0xE3069283);
}

static void test_crc32c_in_pieces(void **state)
{
    (void)state;
    struct rng rng = test_rng();
    static unsigned char bytes[1000];
    for (size_t i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (unsigned char)rng_u64(&rng);
    }
    for (int i = 0; i < 2000; i++) {
        size_t start = rng_below(&rng, 16); /* any alignment */
        size_t len = rng_below(&rng, sizeof(bytes) - start + 1);
        size_t cut = rng_below(&rng, len + 1);
        uint32_t whole = crc32c(0, bytes + start, len);
        assert_int_equal(crc32c(crc32c(0, bytes + start, cut), bytes + start + cut, len - cut), whole);
        assert_int_equal(crc32c_portable(0, bytes + start, len), whole);
    }
}

static void check_sha256(struct slice bytes, const char *expected)
{
    uint8_t digest[SHA256_SIZE];
    char hex[SHA256_HEX_SIZE];
    sha256(bytes, digest);
    hex_encode(digest, sizeof(digest), hex);
    assert_string_equal(hex, expected);

    struct sha256 *sha = sha256_new();
    assert_non_null(sha);
    for (size_t i = 0; i < bytes.len; i += 7) {
        sha256_update(sha, bytes.data + i, bytes.len - i < 7 ? bytes.len - i : 7);
    }
    memset(digest, 0, sizeof(digest));
    sha256_final(sha, digest);
    sha256_free(sha);
    hex_encode(digest, sizeof(digest), hex);
    assert_string_equal(hex, expected);
}

static void test_sha256_vectors(void **state) /* FIPS 180-4 examples */
{
    (void)state;
    check_sha256((struct slice){NULL, 0}, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    check_sha256(SLICE("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    check_sha256(SLICE("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
                 "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

static void test_hash64(void **state)
{
    (void)state;
    assert_true(hash64((struct slice){NULL, 0}, 0) == UINT64_C(0x2D06800538D394C2)); /* XXH3's value for no bytes */
    assert_true(hash64(SLICE("a"), 0) != hash64(SLICE("b"), 0));
    assert_true(hash64(SLICE("a"), 0) != hash64(SLICE("a"), 1));
    assert_true(hash64(SLICE("a"), 5) == hash64(SLICE("a"), 5));
}

/* Vectors of SipHash-1-3 with the key 00 01 … 0f, made by a second implementation that gives the published vector of SipHash-2-4
 * (0xa129ca6149be45e5), for the messages 00 01 … of 8, 15 and 16 bytes. The tweak is the first eight bytes. */
static void test_keyed_hash(void **state)
{
    (void)state;
    struct hash_key key = {{UINT64_C(0x0706050403020100), UINT64_C(0x0f0e0d0c0b0a0908)}};
    const uint64_t tweak = UINT64_C(0x0706050403020100);
    const char bytes[] = {8, 9, 10, 11, 12, 13, 14, 15};
    const uint64_t numbers[] = {1, 2};
    const uint64_t swapped[] = {2, 1};
    struct hash_key zero = {{0, 0}};
    assert_true(hash_keyed_numbers(&key, numbers, 2) != hash_keyed_numbers(&key, swapped, 2));
    assert_true(hash_keyed_numbers(&key, numbers, 2) != hash_keyed_numbers(&key, numbers, 1));
    assert_true(hash_keyed_numbers(&key, numbers, 2) != hash_keyed_numbers(&zero, numbers, 2));
    assert_true(hash_keyed(&key, tweak, slice_of(bytes, 0)) == UINT64_C(0x369095118d299a8e));
    assert_true(hash_keyed(&key, tweak, slice_of(bytes, 7)) == UINT64_C(0xd320d86d2a519956));
    assert_true(hash_keyed(&key, tweak, slice_of(bytes, 8)) == UINT64_C(0xcc4fdd1a7d908b66));
    /* Every bit of key, tweak, bytes and length counts. */
    uint64_t plain = hash_keyed(&key, tweak, slice_of(bytes, 7));
    assert_true(plain != hash_keyed(&key, tweak, slice_of(bytes, 6)));
    for (unsigned bit = 0; bit < 64; bit++) {
        struct hash_key other = key;
        other.part[bit & 1] ^= UINT64_C(1) << bit;
        assert_true(plain != hash_keyed(&other, tweak, slice_of(bytes, 7)));
        assert_true(plain != hash_keyed(&key, tweak ^ UINT64_C(1) << bit, slice_of(bytes, 7)));
        char changed[8];
        memcpy(changed, bytes, 8);
        changed[bit / 8] ^= (char)(1 << bit % 8);
        assert_true((plain != hash_keyed(&key, tweak, slice_of(changed, 7))) == (bit < 56));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keyed_hash),       cmocka_unit_test(test_crc32c_vectors),
        cmocka_unit_test(test_crc32c_in_pieces), cmocka_unit_test(test_sha256_vectors),
        cmocka_unit_test(test_hash64),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
