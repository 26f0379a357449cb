#include "check.h"

#include <math.h>

#include "base/json.h"
#include "base/json_scan.h"
#include "base/limits.h"

static struct json_parser *parser;
static struct buf out;

static int setup(void **state)
{
    (void)state;
    buf_init(&out, 64u << 20);
    parser = json_parser_new();
    return parser == NULL;
}

static int teardown(void **state)
{
    (void)state;
    json_parser_free(parser);
    buf_free(&out);
    return 0;
}

static struct json_value parsed(struct slice text)
{
    struct json_value root = {0};
    assert_int_equal(json_parse(parser, text, &root, NULL, NULL), STATUS_OK);
    return root;
}

static const char *printed(struct json_value value)
{
    buf_reset(&out);
    json_print(&out, value);
    assert_int_equal(buf_status(&out), STATUS_OK);
    return buf_cstr(&out);
}

static void test_types(void **state)
{
    (void)state;
    struct json_value root = parsed(SLICE(" {\"n\":null,\"t\":true,\"i\":-5,\"u\":18446744073709551615,\"d\":2.0,"
                                          "\"s\":\"a\\u0000\\ud83d\\ude00\",\"l\":[1,[],{}],\"o\":{\"x\":1},\"e\":2.5,"
                                          "\"t\":false} "));
    assert_int_equal(json_type_of(root), JSON_OBJECT);
    assert_int_equal(json_count(root), 10);
    struct json_value value;
    bool flag = false;
    int64_t i64 = 9;
    uint64_t u64 = 9;
    double number = 9;
    struct slice text = {NULL, 9};
    assert_true(json_member(root, "n", &value));
    assert_int_equal(json_type_of(value), JSON_NULL);
    assert_false(json_get_bool(value, &flag) || json_get_i64(value, &i64) || json_get_double(value, &number) ||
                 json_get_str(value, &text) || json_get_u64(value, &u64) || json_member(value, "x", &value));
    assert_true(i64 == 9 && u64 == 9 && number == 9 && text.len == 9 && !flag);
    assert_true(json_member(root, "t", &value) && json_get_bool(value, &flag));
    assert_true(flag); /* the first of two counts */
    assert_true(json_member(root, "i", &value) && json_type_of(value) == JSON_INT && json_get_i64(value, &i64));
    assert_int_equal(i64, -5);
    assert_false(json_get_u64(value, &u64));
    assert_true(json_get_double(value, &number) && number == -5);
    assert_true(json_member(root, "u", &value) && json_type_of(value) == JSON_UINT && json_get_u64(value, &u64));
    assert_true(u64 == UINT64_MAX);
    assert_false(json_get_i64(value, &i64));
    assert_true(json_get_double(value, &number) && number == 0x1p64);
    assert_true(json_member(root, "d", &value) && json_type_of(value) == JSON_DOUBLE && json_get_i64(value, &i64));
    assert_int_equal(i64, 2);
    assert_true(json_get_u64(value, &u64) && u64 == 2);
    assert_true(json_member(root, "e", &value));
    assert_false(json_get_i64(value, &i64));
    assert_true(json_member(root, "s", &value) && json_type_of(value) == JSON_STRING && json_get_str(value, &text));
    assert_int_equal(text.len, 6);
    assert_memory_equal(text.data, "a\0\xF0\x9F\x98\x80", 6);
    assert_true(json_member(root, "l", &value) && json_type_of(value) == JSON_ARRAY);
    assert_int_equal(json_count(value), 3);
    assert_true(json_member(root, "o", &value) && json_member(value, "x", &value));
    assert_false(json_member(root, "x", &value));
    assert_false(json_member(root, "", &value));
}

static void test_walk(void **state)
{
    (void)state;
    struct json_value root = parsed(SLICE("[1.5,{\"a\":[2],\"b\":3},[],4]")), value;
    struct slice key = {NULL, 7};
    static const enum json_type types[] = {JSON_DOUBLE, JSON_OBJECT, JSON_ARRAY, JSON_INT};
    size_t count = 0;
    for (struct json_iter iter = json_iter_of(root); json_next(&iter, &key, &value); count++) {
        assert_int_equal(json_type_of(value), types[count]);
        assert_int_equal(key.len, 0);
        if (count == 1) {
            struct json_iter inner = json_iter_of(value);
            assert_true(json_next(&inner, &key, &value));
            assert_slice_equal(key, "a");
            assert_true(json_next(&inner, &key, &value));
            assert_slice_equal(key, "b");
            assert_false(json_next(&inner, &key, &value));
            key.len = 0;
        }
    }
    assert_int_equal(count, 4);
    struct json_iter nothing = json_iter_of(parsed(SLICE("\"text\"")));
    assert_false(json_next(&nothing, &key, &value));
}

static void test_i64_of_doubles(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool is_integer;
        int64_t value;
    } cases[] = {
        {"9223372036854774784.0", true, INT64_C(9223372036854774784)},
        {"9223372036854775808.0", false, 0}, /* 2^63 */
        {"-9223372036854775808.0", true, INT64_MIN},
        {"-9223372036854777856.0", false, 0},
        {"1e300", false, 0},
        {"0.5", false, 0},
        {"-0.0", true, 0},
        {"1e3", true, 1000},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int64_t value = 0;
        assert_int_equal(json_get_i64(parsed(slice_str(cases[i].text)), &value), cases[i].is_integer);
        assert_true(value == cases[i].value);
    }
}

struct refusal {
    struct slice text;
    size_t offset;
    const char *word; /* stands in the reason */
};
#define REFUSAL(text, offset, word)                                                                                    \
    {                                                                                                                  \
        {(text), sizeof(text) - 1}, (offset), (word)                                                                   \
    }

static void test_refused(void **state)
{
    (void)state;
    static const struct refusal cases[] = {
        REFUSAL("", 0, "ends"),
        REFUSAL(" \n\t ", 4, "ends"),
        REFUSAL("\0", 0, "value"),
        REFUSAL("{}\0", 2, "follows"),
        REFUSAL("{\"a\":\"x\0y\"}", 7, "control"),
        REFUSAL("\"a\nb\"", 2, "control"),
        REFUSAL("\xEF\xBB\xBF{}", 0, "value"),
        REFUSAL("[1,2", 4, "ends"),
        REFUSAL("[1 2]", 3, "comma"),
        REFUSAL("[1,]", 3, "value"),
        REFUSAL("[,1]", 1, "value"),
        REFUSAL("[1}", 2, "]"),
        REFUSAL("{\"a\":1]", 6, "}"),
        REFUSAL("{\"a\" 1}", 5, "colon"),
        REFUSAL("{\"a\":1,}", 7, "name"),
        REFUSAL("{a:1}", 1, "name"),
        REFUSAL("{1:1}", 1, "name"),
        REFUSAL("{'a':1}", 1, "name"),
        REFUSAL("{\"a\"", 4, "ends"),
        REFUSAL("1 2", 2, "follows"),
        REFUSAL("tru", 3, "ends"),
        REFUSAL("truE", 3, "true"),
        REFUSAL("nulls", 4, "follows"),
        REFUSAL("NaN", 0, "value"),
        REFUSAL("// x", 0, "value"),
        REFUSAL("\"abc", 4, "ends"),
        REFUSAL("\"abc\\", 5, "ends"),
        REFUSAL("\"\\x\"", 1, "escape"),
        REFUSAL("\"\\u12g4\"", 1, "hexadecimal"),
        REFUSAL("\"\\u12", 5, "ends"),
        REFUSAL("\"\\ud800\"", 1, "surrogate"),
        REFUSAL("\"\\ud800\\n\"", 1, "surrogate"),
        REFUSAL("\"\\ud800\\ud800\"", 1, "surrogate"),
        REFUSAL("\"x\\udc00\"", 2, "surrogate"),
        REFUSAL("\"\x80\"", 1, "UTF-8"),
        REFUSAL("\"\xC0\xAF\"", 1, "UTF-8"),         /* overlong */
        REFUSAL("\"\xE0\x80\xAF\"", 2, "UTF-8"),     /* overlong */
        REFUSAL("\"\xED\xA0\x80\"", 2, "UTF-8"),     /* a surrogate */
        REFUSAL("\"\xF4\x90\x80\x80\"", 2, "UTF-8"), /* past U+10FFFF */
        REFUSAL("\"ab\xC3\"", 4, "UTF-8"),
        REFUSAL("\"\xE2\x82", 3, "ends"),
        REFUSAL("{\"\xFF\":1}", 2, "UTF-8"),
        REFUSAL("-", 1, "ends"),
        REFUSAL("-a", 1, "digit"),
        REFUSAL("+1", 0, "value"),
        REFUSAL(".5", 0, "value"),
        REFUSAL("01", 1, "zero"),
        REFUSAL("[-01]", 3, "zero"),
        REFUSAL("1.", 2, "ends"),
        REFUSAL("[1.]", 3, "digit"),
        REFUSAL("1e", 2, "ends"),
        REFUSAL("[1e+]", 4, "digit"),
        REFUSAL("0x10", 1, "follows"),
        REFUSAL("[1e999,01]", 8, "zero"),
        REFUSAL("[100000000000000000000000,1.]", 28, "digit"),
        REFUSAL("[1e999,truE]", 10, "true"),
        REFUSAL("[--1e999]", 2, "digit"),
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct json_value root;
        size_t offset = 999;
        const char *reason = NULL;
        enum status status = json_parse(parser, cases[i].text, &root, &offset, &reason);
        if (status != STATUS_BAD_JSON || offset != cases[i].offset || strstr(reason, cases[i].word) == NULL) {
            fail_msg("%.*s: %s at %zu: %s", SLICE_ARG(cases[i].text), status_slug(status), offset,
                     reason != NULL ? reason : "");
        }
        assert_int_equal(json_parse(parser, cases[i].text, &root, NULL, NULL), STATUS_BAD_JSON);
    }
}

static void test_accepted(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"1", "1"},
        {"-0", "-0"},
        {"-0.0", "-0.0"},
        {"1e2", "1e2"},
        {"1E-400", "1E-400"},
        {"1e22", "1e22"},
        {"123456789012345678901.0", "123456789012345678901.0"},
        {"1.7976931348623157e308", "1.7976931348623157e308"},
        {"0e999", "0e999"},
        {"5e-324", "5e-324"},
        {"0.1", "0.1"},
        {"\"\"", "\"\""},
        {"[]", "[]"},
        {" { } ", "{}"},
        {"\"\\/\\b\\f\\n\\r\\t\\\"\\\\\"", "\"/\\b\\f\\n\\r\\t\\\"\\\\\""},
        {"\"\\u001f\\u007f\"", "\"\\u001f\x7f\""},
        {"\"\\u00e9\\u20AC\\uD83D\\uDE00\"", "\"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\""},
        {"[9223372036854775807,-9223372036854775808,9223372036854775808]",
         "[9223372036854775807,-9223372036854775808,9223372036854775808]"},
        {"{\"a\" : [ 1 , { \"b\" : null } ] , \"a\" : true }", "{\"a\":[1,{\"b\":null}],\"a\":true}"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_string_equal(printed(parsed(slice_str(cases[i][0]))), cases[i][1]);
        size_t offset;
        const char *reason;
        assert_true(json_scan(slice_str(cases[i][0]), &offset, &reason));
    }
}

/* What no double and no 64 bits can hold: kept digit for digit, an integer for nobody, and finite. */
static void test_big_numbers_keep_their_text(void **state)
{
    (void)state;
    static const char *const cases[] = {"18446744073709551616",
                                        "-9223372036854775809",
                                        "123456789012345678901234567890",
                                        "1e400",
                                        "-1e999",
                                        "1E99999999999999999999",
                                        "1.8e308",
                                        "0.00018e312",
                                        "179769313486231580800000e285"};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[256], wanted[256];
        snprintf(text, sizeof(text), " [ 1.50 , %s, {\"1e400 \\\" 2\" : %s , \"s\":\"7\"}, -0, 7, 0.10 ] ", cases[i],
                 cases[i]);
        snprintf(wanted, sizeof(wanted), "[1.50,%s,{\"1e400 \\\" 2\":%s,\"s\":\"7\"},-0,7,0.10]", cases[i], cases[i]);
        struct json_value root = parsed(slice_str(text)), value;
        assert_string_equal(printed(root), wanted);
        struct json_iter iter = json_iter_of(root);
        int64_t i64;
        uint64_t u64;
        double number;
        assert_true(json_next(&iter, NULL, &value) && json_get_double(value, &number) && number == 1.5);
        assert_true(json_next(&iter, NULL, &value));
        assert_int_equal(json_type_of(value), JSON_DOUBLE);
        assert_false(json_get_i64(value, &i64) || json_get_u64(value, &u64));
        assert_true(json_get_double(value, &number) && isfinite(number) && fabs(number) > 9e18);
        buf_reset(&out);
        json_print_canonical(&out, root);
        snprintf(wanted, sizeof(wanted), "[1.5,%s,{\"1e400 \\\" 2\":%s,\"s\":\"7\"},0,7,0.1]", cases[i], cases[i]);
        assert_string_equal(buf_cstr(&out), wanted);
        assert_string_equal(printed(parsed(slice_str(cases[i]))), cases[i]);
    }
}

static void test_depth(void **state)
{
    (void)state;
    static char text[300000];
    for (size_t depth = LIMIT_JSON_DEPTH - 1; depth <= LIMIT_JSON_DEPTH + 1; depth++) {
        memset(text, '[', depth);
        text[depth] = '1';
        memset(text + depth + 1, ']', depth);
        struct json_value root;
        size_t offset = 0;
        const char *reason = "";
        enum status status = json_parse(parser, slice_of(text, 2 * depth + 1), &root, &offset, &reason);
        if (depth <= LIMIT_JSON_DEPTH) {
            assert_int_equal(status, STATUS_OK);
            assert_int_equal(strlen(printed(root)), 2 * depth + 1);
        } else {
            assert_int_equal(status, STATUS_BAD_JSON);
            assert_int_equal(offset, LIMIT_JSON_DEPTH);
            assert_non_null(strstr(reason, "64 levels"));
        }
    }
    for (int is_object = 0; is_object < 2; is_object++) {
        for (size_t i = 0; i < sizeof(text); i++) {
            text[i] = is_object ? "{\"a\":"[i % 5] : '[';
        }
        struct json_value root;
        size_t offset = 0;
        assert_int_equal(json_parse(parser, slice_of(text, sizeof(text)), &root, &offset, NULL), STATUS_BAD_JSON);
        assert_int_equal(offset, LIMIT_JSON_DEPTH * (is_object ? 5 : 1));
    }
}

/* Every beginning of a document is refused at its end, or one that is whole by itself accepted. */
static void test_every_truncation(void **state)
{
    (void)state;
    static const char text[] =
        "{\"a\":[1,-2.5e+3,true,false,null],\"b\":{\"c\":\"x\\n\\u00e9\\ud83d\\ude00\xC3\xA9\"}}";
    for (size_t len = 0; len < sizeof(text) - 1; len++) {
        char *copy = malloc(len + 1); /* exactly so long, for the address sanitizer */
        assert_non_null(copy);
        memcpy(copy, text, len);
        struct json_value root;
        size_t offset = 999;
        assert_int_equal(json_parse(parser, slice_of(copy, len), &root, &offset, NULL), STATUS_BAD_JSON);
        assert_int_equal(offset, len);
        free(copy);
    }
    parsed(slice_str(text));
}

static void write_random(struct buf *to, struct rng *rng, int depth)
{
    static const char *const texts[] = {"",
                                        "a",
                                        "key \"quoted\"",
                                        "\xC3\xA9",
                                        "\xF0\x9F\x98\x80 longer than eight bytes",
                                        "tab\there",
                                        "0123456789abcdef\\",
                                        "nul\x01"};
    double number;
    uint64_t bits = rng_u64(rng);
    memcpy(&number, &bits, sizeof(number));
    uint64_t choice = rng_below(rng, depth > 0 ? 9 : 7);
    size_t count = rng_below(rng, 5);
    switch (choice) {
    case 0:
        buf_append_str(to, "null");
        break;
    case 1:
        buf_append_str(to, rng_below(rng, 2) ? "true" : "false");
        break;
    case 2:
        buf_append_i64_dec(to, (int64_t)rng_u64(rng) >> rng_below(rng, 64));
        break;
    case 3:
        buf_append_u64_dec(to, rng_u64(rng));
        break;
    case 4:
        json_write_double(to, isfinite(number) ? number : 0.25);
        break;
    case 5:
    case 6:
        json_write_str(to, slice_str(texts[rng_below(rng, sizeof(texts) / sizeof(texts[0]))]));
        break;
    default:
        buf_append_char(to, choice == 7 ? '[' : '{');
        for (size_t i = 0; i < count; i++) {
            buf_append_str(to, i > 0 ? "," : "");
            if (choice == 8) {
                json_write_str(to, slice_str(texts[rng_below(rng, sizeof(texts) / sizeof(texts[0]))]));
                buf_append_char(to, ':');
            }
            write_random(to, rng, depth - 1);
        }
        buf_append_char(to, choice == 7 ? ']' : '}');
    }
}

/* What the writer wrote is read and printed back to the very same bytes. With bytes changed at random, simdjson and the
 * scanner, which know nothing of each other, agree on what is JSON. */
static void test_round_trip_and_mutations(void **state)
{
    (void)state;
    struct rng rng = test_rng();
    struct buf text;
    buf_init(&text, 1 << 20);
    for (int i = 0; i < 3000; i++) {
        buf_reset(&text);
        write_random(&text, &rng, 5);
        assert_int_equal(buf_status(&text), STATUS_OK);
        assert_string_equal(printed(parsed(buf_slice(&text))), buf_cstr(&text));
        for (int k = 0; k < 20 && text.len > 0; k++) {
            char *byte = text.data + rng_below(&rng, text.len);
            static const char likely[] = "{}[],:\"\\0123456789eE+-.tfnu \xC3\xA9\x80\xED";
            *byte = rng_below(&rng, 2) ? (char)rng_u64(&rng) : likely[rng_below(&rng, sizeof(likely))];
            struct json_value root;
            size_t offset = SIZE_MAX;
            const char *reason = NULL;
            enum status status = json_parse(parser, buf_slice(&text), &root, &offset, &reason);
            size_t scan_offset = 0;
            const char *scan_reason = "";
            bool is_json = json_scan(buf_slice(&text), &scan_offset, &scan_reason);
            if (is_json != (status == STATUS_OK)) {
                fail_msg("%s; %s at %zu: %.*s", status_slug(status), scan_reason, scan_offset,
                         SLICE_ARG(buf_slice(&text)));
            }
            if (!is_json) {
                assert_int_equal(offset, scan_offset);
                assert_true(offset <= text.len && reason != NULL);
            } else {
                printed(root);
            }
        }
    }
    buf_free(&text);
}

static void test_doubles(void **state)
{
    (void)state;
    struct rng rng = test_rng();
    for (int i = 0; i < 50000; i++) {
        uint64_t bits = rng_u64(&rng), back_bits;
        double number, back;
        memcpy(&number, &bits, sizeof(number));
        if (i % 2 == 0) { /* numbers as people write them */
            number = (double)(int64_t)(bits >> 40) / 1000.0;
            memcpy(&bits, &number, sizeof(bits));
        }
        if (!isfinite(number)) {
            continue;
        }
        buf_reset(&out);
        json_write_double(&out, number);
        struct json_value value = parsed(buf_slice(&out));
        assert_int_equal(json_type_of(value), JSON_DOUBLE);
        assert_true(json_get_double(value, &back));
        memcpy(&back_bits, &back, sizeof(back_bits));
        assert_true(back_bits == bits);
        assert_true(out.len <= 26);
    }
    buf_reset(&out);
    json_write_double(&out, (double)NAN);
    json_write_double(&out, (double)INFINITY);
    assert_string_equal(buf_cstr(&out), "nullnull");
}

static void test_write_str_mends_utf8(void **state)
{
    (void)state;
    static const struct {
        struct slice text;
        const char *written;
    } cases[] = {
        {{"a\xFF"
          "b",
          3},
         "\"a\xEF\xBF\xBD"
         "b\""},
        {{"\xC3", 1}, "\"\xEF\xBF\xBD\""},
        {{"\xC3\"", 2}, "\"\xEF\xBF\xBD\\\"\""},
        {{"\xED\xA0\x80", 3}, "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\""},
        {{"\xF0\x9F\x98", 3}, "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\""},
        {{"\0", 1}, "\"\\u0000\""},
        {{"plain text of some length", 25}, "\"plain text of some length\""},
        {{"seven..\"", 8}, "\"seven..\\\"\""},
        {{NULL, 0}, "\"\""},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        buf_reset(&out);
        json_write_str(&out, cases[i].text);
        assert_string_equal(buf_cstr(&out), cases[i].written);
    }
    /* Any bytes at all become a string that can be read. */
    struct rng rng = test_rng();
    for (int i = 0; i < 5000; i++) {
        char bytes[40];
        size_t len = rng_below(&rng, sizeof(bytes));
        for (size_t k = 0; k < len; k++) {
            bytes[k] = (char)(rng_below(&rng, 3) ? rng_u64(&rng) : rng_below(&rng, 128));
        }
        buf_reset(&out);
        json_write_str(&out, slice_of(bytes, len));
        assert_int_equal(json_type_of(parsed(buf_slice(&out))), JSON_STRING);
    }
}

/* A parser that read something large goes on, gives the memory back, and reads something large again. */
static void test_large_and_small(void **state)
{
    (void)state;
    struct buf text;
    buf_init(&text, 8 << 20);
    buf_append_char(&text, '[');
    while (text.len < 3 << 20) {
        buf_append_str(&text, "{\"kind\":\"code.run\",\"n\":123},");
    }
    buf_append_str(&text, "0]");
    for (int i = 0; i < 3; i++) {
        struct json_value root = parsed(buf_slice(&text));
        assert_true(json_count(root) > 100000);
        assert_int_equal(json_count(parsed(SLICE("[1,2]"))), 2);
    }
    buf_free(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_types),
        cmocka_unit_test(test_walk),
        cmocka_unit_test(test_i64_of_doubles),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_accepted),
        cmocka_unit_test(test_big_numbers_keep_their_text),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_every_truncation),
        cmocka_unit_test(test_round_trip_and_mutations),
        cmocka_unit_test(test_doubles),
        cmocka_unit_test(test_write_str_mends_utf8),
        cmocka_unit_test(test_large_and_small),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
