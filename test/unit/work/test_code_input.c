/* Reading the input of code.run: what is taken, what is refused and with which pointer; flags; cutting output. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/limits.h"
#include "base/rng.h"
#include "base/utf8.h"
#include "work/code/code_input.h"
#include "work/code/code_result.h"

static struct json_parser *parser;

static int setup(void **ctx)
{
    (void)ctx;
    parser = json_parser_new();
    return parser == NULL;
}

static int teardown(void **ctx)
{
    (void)ctx;
    json_parser_free(parser);
    return 0;
}

static void refused(const char *text, enum status status, const char *beginning)
{
    struct code_input input;
    struct buf why;
    buf_init(&why, 4096);
    enum status got = code_input_read(parser, slice_str(text), &input, &why);
    if (got != status || strncmp(buf_cstr(&why), beginning, strlen(beginning)) != 0) {
        fail_msg("%s gave %s: %s", text, status_slug(got), buf_cstr(&why));
    }
    assert_int_equal(input.file_count, 0);
    buf_free(&why);
}

static void test_whole(void **ctx)
{
    (void)ctx;
    struct code_input input;
    struct buf why;
    buf_init(&why, 4096);
    assert_int_equal(
        code_input_read(
            parser,
            SLICE(
                "{\"limits\":{\"cpu_ms\":100,\"wall_ms\":200,\"mem_mib\":64,\"procs\":3,\"out_kib\":5,\"fs_mib\":6},\"stdin\":\"in\","
                "\"flags\":[\"-O3\",\"-lm\",\"-DX=1\"],\"args\":[\"a\",\"\"],\"entry\":\"y.c\",\"lang\":\"c\","
                "\"files\":[{\"text\":\"x\",\"path\":\"d/x.c\"},{\"path\":\"y.c\",\"blob\":\"sha256:"
                "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\"}]}"),
            &input, &why),
        STATUS_OK);
    assert_int_equal(input.lang, LANG_C);
    assert_int_equal(input.file_count, 2);
    assert_string_equal(input.files[0].path, "d/x.c");
    assert_string_equal(input.files[0].text, "x");
    assert_null(input.files[1].text);
    assert_int_equal(strlen(input.files[1].blob), 64);
    assert_int_equal(input.entry, 1);
    assert_int_equal(input.arg_count, 2);
    assert_string_equal(input.args[1], "");
    assert_null(input.args[2]);
    assert_int_equal(input.flag_uses[0], FLAG_COMPILE);
    assert_int_equal(input.flag_uses[1], FLAG_LINK);
    assert_int_equal(input.limits.cpu_ms, 100);
    assert_int_equal(input.limits.wall_ms, 200);
    assert_int_equal(input.limits.mem_mib, 64);
    assert_int_equal(input.limits.procs, 3);
    assert_int_equal(input.limits.out_kib, 5);
    assert_int_equal(input.limits.fs_mib, 6);
    assert_string_equal(input.stdin_text, "in");
    code_input_free(&input);
    buf_free(&why);
}

#define FILES "\"files\":[{\"path\":\"main.py\",\"text\":\"\"}]"

static void test_refused(void **ctx)
{
    (void)ctx;
    refused("", STATUS_BAD_JSON, "/ ");
    refused("{\"lang\":\"python\"", STATUS_BAD_JSON, "/ ");
    refused("[]", STATUS_INVALID, "/ must be an object");
    refused("null", STATUS_INVALID, "/ must be an object");
    refused("{}", STATUS_INVALID, "/lang is missing");
    refused("{\"lang\":\"python\"}", STATUS_INVALID, "/files is missing");
    refused("{\"lang\":7," FILES "}", STATUS_INVALID, "/lang");
    refused("{\"lang\":\"Python\"," FILES "}", STATUS_INVALID, "/lang");
    refused("{\"lang\":\"python\",\"language\":1," FILES "}", STATUS_UNKNOWN_FIELD, "/language");
    refused("{\"lang\":\"python\",\"files\":{}}", STATUS_INVALID, "/files");
    refused("{\"lang\":\"python\",\"files\":[]}", STATUS_INVALID, "/files");
    refused("{\"lang\":\"python\",\"files\":[1]}", STATUS_INVALID, "/files/0");
    refused("{\"lang\":\"python\",\"files\":[{\"path\":\"a\"}]}", STATUS_INVALID, "/files/0 needs");
    refused("{\"lang\":\"python\",\"files\":[{\"text\":\"a\"}]}", STATUS_INVALID, "/files/0 needs");
    refused("{\"lang\":\"python\",\"files\":[{\"path\":\"a\",\"path\":\"b\",\"text\":\"\"}]}", STATUS_INVALID,
            "/files/0/path");
    refused("{\"lang\":\"python\",\"files\":[{\"path\":\"a\",\"text\":\"a\",\"mode\":1}]}", STATUS_UNKNOWN_FIELD,
            "/files/0/mode");
    refused("{\"lang\":\"python\",\"files\":[{\"path\":\"a\",\"text\":\"a\",\"blob\":\"sha256:00\"}]}", STATUS_INVALID,
            "/files/0/blob");
    refused("{\"lang\":\"python\",\"files\":[{\"path\":\"a\",\"blob\":\"sha256:00\"}]}", STATUS_INVALID,
            "/files/0/blob");
    refused("{\"lang\":\"python\",\"files\":[{\"path\":\"a\",\"text\":1}]}", STATUS_INVALID, "/files/0/text");
    refused("{\"lang\":\"python\",\"files\":[{\"path\":\"m.py\",\"text\":\"\"},{\"path\":\"m.py\",\"text\":\"\"}]}",
            STATUS_INVALID, "/files/1/path");
    refused("{\"lang\":\"python\",\"files\":[{\"path\":\"m.py/x\",\"text\":\"\"},{\"path\":\"m.py\",\"text\":\"\"}]}",
            STATUS_INVALID, "/files/1/path");
    refused("{\"lang\":\"python\",\"args\":\"x\"," FILES "}", STATUS_INVALID, "/args");
    refused("{\"lang\":\"python\",\"args\":[\"x\",1]," FILES "}", STATUS_INVALID, "/args/1");
    refused("{\"lang\":\"python\",\"args\":[\"a\\u0000b\"]," FILES "}", STATUS_INVALID, "/args/0");
    refused("{\"lang\":\"python\",\"args\":[\"a\"],\"args\":[\"b\"]," FILES "}", STATUS_INVALID, "/args");
    refused("{\"lang\":\"python\",\"flags\":[\"-c\"]," FILES "}", STATUS_INVALID, "/flags/0");
    refused("{\"lang\":\"python\",\"stdin\":[]," FILES "}", STATUS_INVALID, "/stdin");
    refused("{\"lang\":\"python\",\"limits\":[]," FILES "}", STATUS_INVALID, "/limits");
    refused("{\"lang\":\"python\",\"limits\":{\"cpu\":1}," FILES "}", STATUS_UNKNOWN_FIELD, "/limits/cpu");
    refused("{\"lang\":\"python\",\"limits\":{\"cpu_ms\":0}," FILES "}", STATUS_INVALID, "/limits/cpu_ms");
    refused("{\"lang\":\"python\",\"limits\":{\"cpu_ms\":-5}," FILES "}", STATUS_INVALID, "/limits/cpu_ms");
    refused("{\"lang\":\"python\",\"limits\":{\"mem_mib\":1e9}," FILES "}", STATUS_INVALID, "/limits/mem_mib");
    refused("{\"lang\":\"python\",\"limits\":{\"procs\":1.5}," FILES "}", STATUS_INVALID, "/limits/procs");
    refused("{\"lang\":\"python\",\"limits\":{\"procs\":18446744073709551615}," FILES "}", STATUS_INVALID,
            "/limits/procs");
    refused("{\"lang\":\"python\",\"entry\":\"x.py\"," FILES "}", STATUS_INVALID, "/entry");
    refused("{\"lang\":\"python\",\"entry\":\"a.txt\",\"files\":[{\"path\":\"a.txt\",\"text\":\"\"}]}", STATUS_INVALID,
            "/entry");
    refused("{\"lang\":\"python\",\"files\":[{\"path\":\"a.py\",\"text\":\"\"},{\"path\":\"b.py\",\"text\":\"\"}]}",
            STATUS_INVALID, "/entry");
    refused("{\"lang\":\"java\",\"files\":[{\"path\":\"a b.java\",\"text\":\"\"}]}", STATUS_INVALID, "/entry");
}

static void test_many_files(void **ctx)
{
    (void)ctx;
    struct buf text;
    buf_init(&text, 1 << 20);
    for (int count = CODE_FILES_MAX; count <= CODE_FILES_MAX + 1; count++) {
        buf_reset(&text);
        buf_append_str(&text, "{\"lang\":\"c\",\"files\":[");
        for (int i = 0; i < count; i++) {
            buf_printf(&text, "%s{\"path\":\"f%d.c\",\"text\":\"\"}", i > 0 ? "," : "", i);
        }
        buf_append_str(&text, "]}");
        if (count > CODE_FILES_MAX) {
            refused(buf_cstr(&text), STATUS_INVALID, "/files");
            continue;
        }
        struct code_input input;
        struct buf why;
        buf_init(&why, 4096);
        assert_int_equal(code_input_read(parser, buf_slice(&text), &input, &why), STATUS_OK);
        assert_int_equal(input.file_count, CODE_FILES_MAX);
        code_input_free(&input);
        buf_free(&why);
    }
    buf_free(&text);
}

/* Whatever bytes come in, reading ends with a status and frees what it took (the sanitizers look). */
static void test_mutations(void **ctx)
{
    (void)ctx;
    static const char seed[] =
        "{\"lang\":\"c\",\"files\":[{\"path\":\"main.c\",\"text\":\"x\"},{\"path\":\"d/e\",\"text\":\"\"}],"
        "\"args\":[\"a\",\"b\"],\"flags\":[\"-O2\"],\"stdin\":\"s\",\"limits\":{\"cpu_ms\":10},\"entry\":\"main.c\"}";
    struct rng rng;
    rng_seed(&rng, 20);
    int good = 0;
    for (int i = 0; i < 20000; i++) {
        char text[sizeof(seed)];
        memcpy(text, seed, sizeof(seed));
        for (uint64_t n = rng_below(&rng, 4); n > 0; n--) {
            text[rng_below(&rng, sizeof(seed) - 1)] = (char)"{}[]\",:x0/.\\-"[rng_below(&rng, 13)];
        }
        struct code_input input;
        struct buf why;
        buf_init(&why, 4096);
        if (code_input_read(parser, slice_of(text, sizeof(seed) - 1), &input, &why) == STATUS_OK) {
            good++;
            code_input_free(&input);
        } else {
            assert_true(why.len > 1 && why.data[0] == '/');
        }
        buf_free(&why);
    }
    assert_true(good > 1000 && good < 19000);
}

static void test_flags(void **ctx)
{
    (void)ctx;
    static const struct {
        enum code_lang lang;
        const char *flag;
        enum code_flag_use use;
    } cases[] = {{LANG_C, "-O2", FLAG_COMPILE},
                 {LANG_C, "-O22", FLAG_REFUSED},
                 {LANG_C, "-std=c17", FLAG_COMPILE},
                 {LANG_CPP, "-std=c17", FLAG_REFUSED},
                 {LANG_CPP, "-std=c++20", FLAG_COMPILE},
                 {LANG_C, "-lm", FLAG_LINK},
                 {LANG_C, "-lcurl", FLAG_REFUSED},
                 {LANG_C, "-DNAME", FLAG_COMPILE},
                 {LANG_C, "-DN_1=-1.5", FLAG_COMPILE},
                 {LANG_C, "-DN=\"", FLAG_REFUSED},
                 {LANG_C, "-D=1", FLAG_REFUSED},
                 {LANG_C, "-DN=a b", FLAG_REFUSED},
                 {LANG_PYTHON, "-O", FLAG_RUN},
                 {LANG_PYTHON, "-c", FLAG_REFUSED},
                 {LANG_PYTHON, "-O2", FLAG_REFUSED},
                 {LANG_JAVASCRIPT, "--stack-size=2000", FLAG_RUN},
                 {LANG_JAVASCRIPT, "--stack-size=", FLAG_REFUSED},
                 {LANG_JAVASCRIPT, "--eval=1", FLAG_REFUSED},
                 {LANG_JAVASCRIPT, "-r", FLAG_REFUSED},
                 {LANG_JAVA, "-Xss4m", FLAG_RUN},
                 {LANG_JAVA, "-Xssm", FLAG_REFUSED},
                 {LANG_JAVA, "-Xss4", FLAG_REFUSED},
                 {LANG_JAVA, "-Xss4t", FLAG_REFUSED},
                 {LANG_JAVA, "-g", FLAG_COMPILE},
                 {LANG_JAVA, "-J-version", FLAG_REFUSED},
                 {LANG_JAVA, "", FLAG_REFUSED}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        if (code_flag_use(cases[i].lang, slice_str(cases[i].flag)) != cases[i].use) {
            fail_msg("%s for %s", cases[i].flag, code_langs[cases[i].lang].name);
        }
    }
}

/* The prefix, written as JSON, is as long as it may be, and cuts no character. */
static void test_inline_len(void **ctx)
{
    (void)ctx;
    struct rng rng;
    rng_seed(&rng, 7);
    for (int round = 0; round < 3000; round++) {
        static const char *const pieces[] = {
            "a", "\n", "\"", "\\", "\x01", "\xc3\xa4", "\xe4\xb8\xad", "\xf0\x9f\x98\x80", "\xff", "\x80"};
        struct buf text, json;
        buf_init(&text, 4096);
        buf_init(&json, 65536);
        for (uint64_t n = rng_below(&rng, 60); n > 0; n--) {
            buf_append_str(&text, pieces[rng_below(&rng, round % 2 == 0 ? 8 : 10)]);
        }
        size_t max = 2 + rng_below(&rng, 120), len = code_inline_len(buf_slice(&text), false, max);
        assert_true(len <= text.len);
        if (!utf8_is_valid(buf_slice(&text))) { /* goes as base64, as much as fits */
            assert_true(base64_len(len) <= max && (len == text.len || base64_len(len + 3) > max));
            buf_free(&text);
            continue;
        }
        json_write_str(&json, slice_of(text.data, len));
        assert_true(json.len <= max);
        if (round % 2 == 0) { /* all valid: then the prefix is valid as well, and nothing became U+FFFD */
            assert_null(memmem(json.data, json.len, "\xef\xbf\xbd", 3));
        }
        buf_free(&text);
        buf_free(&json);
    }
    assert_int_equal(code_inline_len(SLICE("hello"), false, 100), 5);
    assert_int_equal(code_inline_len(SLICE("hello"), false, 5), 3);
    /* cut at its limit within a character, it is text all the same; ended so by the program, it is not */
    assert_int_equal(code_inline_len(SLICE("ab\xe4\xb8"), true, 100), 2);
    assert_int_equal(code_inline_len(SLICE("ab\xe4\xb8"), false, 100), 4);
    assert_int_equal(code_inline_len(SLICE("ab\xe4\xb8\xad"), true, 100), 5);
    assert_int_equal(code_inline_len(SLICE("ab\xff"), true, 100), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole),     cmocka_unit_test(test_refused), cmocka_unit_test(test_many_files),
        cmocka_unit_test(test_mutations), cmocka_unit_test(test_flags),   cmocka_unit_test(test_inline_len),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
