#include "check.h"

#include "base/utf8.h"

/* The naive twin: decodes by the bit patterns of RFC 3629 and looks at the value afterwards. */
static size_t naive_len(const unsigned char *at, size_t len)
{
    uint32_t value;
    size_t size;
    if (at[0] < 0x80) {
        return 1;
    }
    if (at[0] >> 5 == 6) {
        size = 2;
        value = at[0] & 31u;
    } else if (at[0] >> 4 == 14) {
        size = 3;
        value = at[0] & 15u;
    } else if (at[0] >> 3 == 30) {
        size = 4;
        value = at[0] & 7u;
    } else {
        return 0;
    }
    if (len < size) {
        return 0;
    }
    for (size_t i = 1; i < size; i++) {
        if (at[i] >> 6 != 2) {
            return 0;
        }
        value = value << 6 | (at[i] & 63u);
    }
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    return value < least[size] || value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF) ? 0 : size;
}

static void test_every_two_and_many_four_bytes(void **state)
{
    (void)state;
    struct rng rng = test_rng();
    for (uint32_t i = 0; i < 0x20000; i++) {
        unsigned char bytes[4] = {(unsigned char)(i >> 8), (unsigned char)i, 0x80, 0xBF};
        if (i >= 0x10000) {
            bytes[2] = (unsigned char)rng_u64(&rng);
            bytes[3] = (unsigned char)rng_u64(&rng);
        }
        for (size_t len = 1; len <= sizeof(bytes); len++) {
            assert_int_equal(utf8_character_len(bytes, len), naive_len(bytes, len));
        }
    }
}

static void test_texts(void **state)
{
    (void)state;
    assert_true(utf8_is_valid((struct slice){NULL, 0}));
    assert_true(utf8_is_valid(SLICE("plain, longer than eight bytes")));
    assert_true(utf8_is_valid(SLICE("1234567\xC3\xA9 89abcdef\xF0\x9F\x98\x80")));
    assert_false(utf8_is_valid(SLICE("1234567\xC3")));
    assert_false(utf8_is_valid(SLICE("12345678\xFF"
                                     "12345678")));
    assert_false(utf8_is_valid(SLICE("\xED\xA0\x80")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_two_and_many_four_bytes),
        cmocka_unit_test(test_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
