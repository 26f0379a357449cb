#include "check.h"

#include <time.h>

#include "base/timefmt.h"

#define NS INT64_C(1000000000)

static void test_known(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ns;
    } cases[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"1970-01-01T00:00:00.000000001Z", 1},
        {"1970-01-01t00:00:00.5z", NS / 2},
        {"1970-01-01 01:00:00+01:00", 0},
        {"2000-02-29T12:00:00Z", 951825600 * NS},
        {"2026-01-31T23:59:59.123Z", 1769903999 * NS + 123000000},
        {"2026-01-31T23:59:59.1239999999999Z", 1769903999 * NS + 123999999},
        {"2026-01-31T18:29:59-05:30", 1769903999 * NS},
        {"2016-12-31T23:59:60Z", 1483228800 * NS}, /* a leap second is the next minute */
        {"2261-12-31T23:59:59Z", INT64_C(9214646399) * NS},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int64_t ns = -1;
        assert_int_equal(time_parse(slice_str(cases[i].text), &ns), STATUS_OK);
        assert_true(ns == cases[i].ns);
    }
}

static void test_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "2026",
        "2026-01-31",
        "2026-01-31T23:59:59",
        "2026-01-31T23:59Z",
        "2026-02-29T00:00:00Z",
        "1900-02-28T00:00:00Z",
        "2100-02-29T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-00-01T00:00:00Z",
        "2026-01-00T00:00:00Z",
        "2026-04-31T00:00:00Z",
        "2026-01-01T24:00:00Z",
        "2026-01-01T00:60:00Z",
        "2026-01-01T00:00:61Z",
        "2026-01-01T00:00:00.Z",
        "2026-01-01T00:00:00ZZ",
        "2026-01-01T00:00:00+1:00",
        "2026-01-01T00:00:00+24:00",
        "2026-01-01T00:00:00+0100",
        "1970-01-01T00:00:00+00:01",
        "2262-01-01T00:00:00Z",
        "2261-12-31T23:59:59-23:00",
        " 2026-01-01T00:00:00Z",
        "+026-01-01T00:00:00Z",
        "2026-01-01T00:00:00 Z",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        int64_t ns = 77;
        assert_int_equal(time_parse(slice_str(texts[i]), &ns), STATUS_INVALID);
        assert_true(ns == 77);
    }
    int64_t ns;
    assert_int_equal(time_parse(slice_of("2026-01-01T00:00:00\0", 20), &ns), STATUS_INVALID);
}

/* Against the C library, and there and back again. */
static void test_round_trip(void **state)
{
    (void)state;
    struct rng rng = test_rng();
    for (int i = 0; i < 20000; i++) {
        int64_t ms = (int64_t)rng_below(&rng, UINT64_C(9214646400) * 1000);
        char text[TIME_TEXT_SIZE];
        time_format(ms * 1000000 + (int64_t)rng_below(&rng, 1000000), text);
        time_t seconds = ms / 1000;
        struct tm tm;
        gmtime_r(&seconds, &tm);
        char expected[64];
        size_t len = strftime(expected, sizeof(expected), "%Y-%m-%dT%H:%M:%S", &tm);
        snprintf(expected + len, sizeof(expected) - len, ".%03dZ", (int)(ms % 1000));
        assert_string_equal(text, expected);
        int64_t back;
        assert_int_equal(time_parse(slice_str(text), &back), STATUS_OK);
        assert_true(back == ms * 1000000);
    }
}

static void test_format_of_extremes(void **state)
{
    (void)state;
    char text[TIME_TEXT_SIZE];
    time_format(-1, text);
    assert_string_equal(text, "1970-01-01T00:00:00.000Z");
    time_format(INT64_MAX, text);
    assert_string_equal(text, "2262-04-11T23:47:16.854Z");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_format_of_extremes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
