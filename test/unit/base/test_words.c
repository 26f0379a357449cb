#include "base/words.h"

#include "base/ensure.h"
#include "check.h"

static char why[512];

static void begin(struct words *words, const char *text)
{
    why[0] = '\0';
    words_begin(words, slice_str(text), why, sizeof(why));
}

static void test_lines_and_words(void **state)
{
    (void)state;
    struct words words;
    begin(&words, "# nothing\n\n  a  bc\t'x y # z'#comment\r\n\xc3\xa9 \"it's\" '' d#e");
    assert_int_equal(words_next(&words), STATUS_OK);
    assert_int_equal(words.line, 3);
    assert_int_equal(words.count, 3);
    assert_true(words.is_indented);
    assert_slice_equal(words.list[0].text, "a");
    assert_int_equal(words.list[0].column, 3);
    assert_int_equal(words.list[1].column, 6);
    assert_slice_equal(words.list[2].text, "x y # z");
    assert_true(words.list[2].is_quoted && !words.list[1].is_quoted);
    assert_int_equal(words_next(&words), STATUS_OK);
    assert_int_equal(words.line, 4);
    assert_false(words.is_indented);
    assert_int_equal(words.count, 4);
    assert_int_equal(words.list[1].column, 3); /* characters, not bytes */
    assert_slice_equal(words.list[1].text, "it's");
    assert_int_equal(words.list[2].text.len, 0);
    assert_slice_equal(words.list[3].text, "d");
    assert_int_equal(words_next(&words), STATUS_END);
    assert_int_equal(words_next(&words), STATUS_END);
}

static void test_lines_that_are_wrong(void **state)
{
    (void)state;
    struct words words;
    begin(&words, "a\n  b 'c d");
    assert_int_equal(words_next(&words), STATUS_OK);
    assert_int_equal(words_next(&words), STATUS_INVALID);
    assert_string_equal(why, "line 2, column 5: the ' that begins here has no end in this line");
    begin(&words, "\"a\"b");
    assert_int_equal(words_next(&words), STATUS_INVALID);
    assert_string_equal(why, "line 1, column 4: a blank is needed behind a closing \"");
    char many[2 * WORDS_MAX + 2];
    memset(many, ' ', sizeof(many));
    for (size_t i = 0; i < WORDS_MAX; i++) {
        many[2 * i] = 'w';
    }
    many[2 * WORDS_MAX + 1] = '\0';
    begin(&words, many);
    assert_int_equal(words_next(&words), STATUS_OK);
    assert_int_equal(words.count, WORDS_MAX);
    many[2 * WORDS_MAX] = 'w';
    begin(&words, many);
    assert_int_equal(words_next(&words), STATUS_INVALID);
    assert_non_null(strstr(why, "at most 128 words"));
}

static void test_values(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum words_unit unit;
        int64_t value; /* -1: none */
    } cases[] = {
        {"0", WORDS_COUNT, 0},
        {"17", WORDS_COUNT, 17},
        {"5k", WORDS_COUNT, 5000},
        {"1.5M", WORDS_COUNT, 1500000},
        {"1.5", WORDS_COUNT, -1},
        {"999999999999999999", WORDS_COUNT, 999999999999999999},
        {"1000000000000000000", WORDS_COUNT, -1},
        {"999999999999999999M", WORDS_COUNT, -1},
        {"", WORDS_COUNT, -1},
        {"-1", WORDS_COUNT, -1},
        {"k", WORDS_COUNT, -1},
        {"5 ", WORDS_COUNT, -1},
        {".5M", WORDS_COUNT, -1},
        {"1.k", WORDS_COUNT, -1},
        {"1.2.3k", WORDS_COUNT, -1},
        {"0", WORDS_TIME, 0},
        {"1", WORDS_TIME, -1},
        {"7ns", WORDS_TIME, 7},
        {"1.5us", WORDS_TIME, 1500},
        {"0.5ns", WORDS_TIME, -1},
        {"250ms", WORDS_TIME, 250000000},
        {"1.5s", WORDS_TIME, 1500000000},
        {"2m", WORDS_TIME, 120000000000},
        {"0.25h", WORDS_TIME, 900000000000},
        {"3000000h", WORDS_TIME, -1},
        {"1h30m", WORDS_TIME, 5400 * INT64_C(1000000000)},
        {"2d12h", WORDS_TIME, 216000 * INT64_C(1000000000)},
        {"1m0.5s", WORDS_TIME, 60500000000},
        {"1.5h30m", WORDS_TIME, 7200 * INT64_C(1000000000)},
        {"30m1h", WORDS_TIME, -1}, /* units grow smaller */
        {"1h1h", WORDS_TIME, -1},
        {"1h30", WORDS_TIME, -1},
        {"h", WORDS_TIME, -1},
        {"90", WORDS_TIME, -1},
        {"106751d99999h", WORDS_TIME, -1}, /* each fits, the sum does not */
        {"5x", WORDS_TIME, -1},
        {"4k", WORDS_SIZE, 4096},
        {"1.5k", WORDS_SIZE, 1536},
        {"2G", WORDS_SIZE, 2147483648},
        {"5%", WORDS_PERMILLE, 50},
        {"0.1%", WORDS_PERMILLE, 1},
        {"0.01%", WORDS_PERMILLE, -1},
        {"5", WORDS_PERMILLE, -1},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        int64_t value = -1;
        bool is_good = words_value(slice_str(cases[i].text), cases[i].unit, &value);
        if (value != cases[i].value || is_good != (value >= 0)) {
            fail_msg("\"%s\" gives %lld", cases[i].text, (long long)value);
        }
    }
}

static void test_ranges_and_rates(void **state)
{
    (void)state;
    struct words_range range = {7, 7};
    assert_true(words_range(SLICE("1..20ms"), WORDS_TIME, &range));
    assert_true(range.min == 1000000 && range.max == 20000000);
    assert_true(words_range(SLICE("0..2s"), WORDS_TIME, &range));
    assert_true(range.min == 0 && range.max == 2000000000);
    assert_true(words_range(SLICE("10..3k"), WORDS_SIZE, &range)); /* a size may go without a suffix */
    assert_true(range.min == 10 && range.max == 3072);
    assert_true(words_range(SLICE("1.5s"), WORDS_TIME, &range));
    assert_true(range.min == range.max && range.max == 1500000000);
    assert_false(words_range(SLICE("5..3"), WORDS_COUNT, &range));
    assert_false(words_range(SLICE("..3"), WORDS_COUNT, &range));
    assert_false(words_range(SLICE("3.."), WORDS_COUNT, &range));
    assert_false(words_range(SLICE("1..2..3"), WORDS_COUNT, &range));
    assert_true(range.max == 1500000000); /* untouched */
    double from = -1, to = -1;
    assert_true(words_rate(SLICE("30/m"), &from) && from == 0.5);
    assert_true(words_rate(SLICE("10k/s"), &from) && from == 10000);
    assert_true(words_rate(SLICE("0.25/s"), &from) && from == 0.25);
    assert_false(words_rate(SLICE("10"), &from));
    assert_false(words_rate(SLICE("/s"), &from));
    assert_true(words_rate_range(SLICE("0..2k/s"), &from, &to) && from == 0 && to == 2000);
    assert_true(words_rate_range(SLICE("60/m..5/s"), &from, &to) && from == 1 && to == 5);
    assert_true(words_rate_range(SLICE("5/s"), &from, &to) && from == 5 && to == 5);
    assert_false(words_rate_range(SLICE("5/s.."), &from, &to));
    struct slice list = SLICE("a,bc,,d"), item;
    assert_true(words_list_next(&list, &item));
    assert_slice_equal(item, "a");
    assert_true(words_list_next(&list, &item));
    assert_slice_equal(item, "bc");
    assert_true(words_list_next(&list, &item));
    assert_int_equal(item.len, 0);
    assert_true(words_list_next(&list, &item));
    assert_false(words_list_next(&list, &item));
}

struct taken {
    uint32_t share;
    int64_t lease_ms, bytes;
    struct words_range work;
};

static enum status take(const char *text, struct taken *ret)
{
    struct words words;
    const struct words_property properties[] = {
        {.name = "share", .number = &ret->share, .min = 1, .max = 10},
        {.name = "work", .unit = WORDS_TIME, .range = &ret->work, .max = 1000000000},
        {.name = "lease", .unit = WORDS_TIME, .ms = &ret->lease_ms, .max = 60000000000},
        {.name = "bytes", .unit = WORDS_SIZE, .value = &ret->bytes, .max = 1 << 20},
    };
    begin(&words, text);
    if (words_next(&words) != STATUS_OK) {
        return STATUS_END;
    }
    return words_take_properties(&words, properties, ARRAY_COUNT(properties));
}

static void test_properties(void **state)
{
    (void)state;
    struct taken taken = {0};
    assert_int_equal(take("work 1..5ms share 3 bytes 64k lease 1.5s", &taken), STATUS_OK);
    assert_true(taken.share == 3 && taken.lease_ms == 1500 && taken.bytes == 65536 && taken.work.max == 5000000);
    static const struct {
        const char *text, *why;
    } cases[] = {
        {"share", "line 1, column 6: a value for share (a whole number such as 20 or 5k) is missing here"},
        {"share 3 wrok 5ms", "line 1, column 9: \"wrok\" is no word that can stand here; did you mean \"work\"?"},
        {"pigeons 3",
         "line 1, column 1: \"pigeons\" is no word that can stand here; there are: share, work, lease, bytes"},
        {"share 0", "line 1, column 7: share takes 1 to 10, not \"0\""},
        {"work 1..2s", "line 1, column 6: work takes 0 to 1s, not \"1..2s\""},
        {"bytes 2M", "line 1, column 7: bytes takes 0 to 1M, not \"2M\""},
        {"lease 5",
         "line 1, column 7: \"5\" is no value for lease: a duration such as 250ms, 1.5s, 2m or 1h30m is needed"},
        {"work 5..3ms",
         "line 1, column 6: \"5..3ms\" is no value for work: a duration such as 250ms, 1.5s, 2m or 1h30m is "
         "needed, or a range such as 1..5"},
        {"\"share\" 3", "line 1, column 1: \"share\" is no word that can stand here; did you mean \"share\"?"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        assert_int_equal(take(cases[i].text, &taken), STATUS_INVALID);
        assert_string_equal(why, cases[i].why);
    }
}

static void test_taking(void **state)
{
    (void)state;
    struct words words;
    char name[8];
    int64_t value;
    begin(&words, "phase up 20 \"up\" more");
    assert_int_equal(words_next(&words), STATUS_OK);
    assert_false(words_take_if(&words, "up"));
    assert_true(words_take_if(&words, "phase"));
    assert_int_equal(words_take_name(&words, "a name", name, sizeof(name)), STATUS_OK);
    assert_string_equal(name, "up");
    assert_int_equal(words_take_value(&words, "users", WORDS_COUNT, 1, 30, &value), STATUS_OK);
    assert_int_equal(value, 20);
    assert_false(words_take_if(&words, "up")); /* what is quoted is never a keyword */
    assert_int_equal(words_take_end(&words), STATUS_INVALID);
    assert_string_equal(why, "line 1, column 13: nothing more is expected here, but there is \"up\"");
    words.at = words.count;
    assert_int_equal(words_take_end(&words), STATUS_OK);
    begin(&words, "much-too-long a/b");
    assert_int_equal(words_next(&words), STATUS_OK);
    assert_int_equal(words_take_name(&words, "a name", name, sizeof(name)), STATUS_INVALID);
    assert_string_equal(why, "line 1, column 1: a name has at most 7 characters");
    assert_int_equal(words_take_name(&words, "a name", name, sizeof(name)), STATUS_INVALID);
    assert_non_null(strstr(why, "line 1, column 15: \"a/b\" is not a name"));
    assert_int_equal(words_take_name(&words, "a name", name, sizeof(name)), STATUS_INVALID);
    assert_string_equal(why, "line 1, column 18: a name is missing here");
}

static void test_nearest(void **state)
{
    (void)state;
    const char *const names[] = {"pause", "resume", "retry", NULL};
    assert_string_equal(words_nearest(SLICE("puase"), names), "pause");
    assert_string_equal(words_nearest(SLICE("res"), names), "resume");
    assert_null(words_nearest(SLICE("elephant"), names));
    assert_null(words_nearest(SLICE("a-word-that-is-longer-than-any-name-can-be"), names));
    assert_null(words_nearest(SLICE(""), (const char *const[]){"long", NULL}));
}

/* Random bytes never read out of bounds (the sanitizers look) and always give a place. */
static void test_garbage(void **state)
{
    (void)state;
    static const char alphabet[] = "ab 01.'\"#\n\r\t%/s\xc3\xa9\0";
    struct rng rng = test_rng();
    for (int round = 0; round < 20000; round++) {
        size_t len = rng_below(&rng, 60);
        char *text = malloc(len + 1);
        for (size_t i = 0; i < len; i++) {
            text[i] = alphabet[rng_below(&rng, sizeof(alphabet))];
        }
        struct words words;
        enum status status;
        uint32_t line = 0;
        words_begin(&words, slice_of(text, len), why, sizeof(why));
        while ((status = words_next(&words)) == STATUS_OK) {
            assert_true(words.line > line && words.count > 0);
            line = words.line;
            for (uint32_t i = 0; i < words.count; i++) {
                struct words_range range;
                double from, to;
                assert_true(words.list[i].text.data >= text &&
                            words.list[i].text.data + words.list[i].text.len <= text + len);
                (void)words_range(words.list[i].text, (enum words_unit)rng_below(&rng, 4), &range);
                (void)words_rate_range(words.list[i].text, &from, &to);
            }
        }
        assert_true(status == STATUS_END || strncmp(why, "line ", 5) == 0);
        free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines_and_words), cmocka_unit_test(test_lines_that_are_wrong),
        cmocka_unit_test(test_values),          cmocka_unit_test(test_ranges_and_rates),
        cmocka_unit_test(test_properties),      cmocka_unit_test(test_taking),
        cmocka_unit_test(test_nearest),         cmocka_unit_test(test_garbage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
