/* magic.def: no number stands for two things (the compiler sees to that), and each text of a file is the one its number says. */
#include "base/magic.h"

#include <string.h>

#include "check.h"

static void check_text(const char *text, uint32_t number)
{
    assert_int_equal(strlen(text), MAGIC_FILE_SIZE);
    assert_memory_equal(text, "SHOAL", 5);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal((unsigned char)text[5 + i], number >> (8 * i) & 0xFF);
    }
    assert_int_equal(number >> 24, 0);
    assert_non_null(magic_name(number));
}

static void test_texts_are_their_numbers(void **state)
{
    (void)state;
#define M(NAME, number) assert_string_equal(magic_name(number), #NAME);
#define F(NAME, text, number) check_text(NAME, number);
#include "base/magic.def"
#undef M
#undef F
    assert_null(magic_name(0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_texts_are_their_numbers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
