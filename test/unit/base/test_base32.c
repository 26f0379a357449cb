#include "check.h"

#include "base/base32.h"

static void test_known(void **state)
{
    (void)state;
    static const struct {
        uint64_t value;
        const char *text;
    } cases[] = {
        {0, "0000000000000"},
        {31, "000000000000z"},
        {32, "0000000000010"},
        {UINT64_MAX, "fzzzzzzzzzzzz"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[BASE32_TEXT_SIZE];
        base32_format(cases[i].value, text);
        assert_string_equal(text, cases[i].text);
        uint64_t value = 1;
        assert_true(base32_parse(slice_str(text), &value));
        assert_true(value == cases[i].value);
    }
    uint64_t value = 0;
    assert_true(base32_parse(SLICE("0000000000OiL"), &value)); /* as people write it down */
    assert_int_equal(value, 33);
    assert_true(base32_parse(SLICE("FZZZZZZZZZZZZ"), &value));
    assert_true(value == UINT64_MAX);
}

static void test_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {"",
                                        "0",
                                        "000000000000",
                                        "00000000000000",
                                        "g000000000000",
                                        "zzzzzzzzzzzzz",
                                        "000000000000u",
                                        "000000000000-",
                                        " 000000000000"};
    uint64_t value = 77;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        assert_false(base32_parse(slice_str(texts[i]), &value));
    }
    assert_false(base32_parse(slice_of("00000000000\0"
                                       "0",
                                       13),
                              &value));
    assert_int_equal(value, 77);
}

static void test_text_order_is_number_order(void **state)
{
    (void)state;
    struct rng rng = test_rng();
    for (int i = 0; i < 10000; i++) {
        uint64_t a = rng_u64(&rng), b = rng_u64(&rng) >> rng_below(&rng, 64), back = 0;
        char text_a[BASE32_TEXT_SIZE], text_b[BASE32_TEXT_SIZE];
        base32_format(a, text_a);
        base32_format(b, text_b);
        assert_int_equal(strcmp(text_a, text_b) < 0, a < b);
        assert_true(base32_parse(slice_str(text_b), &back));
        assert_true(back == b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_text_order_is_number_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
