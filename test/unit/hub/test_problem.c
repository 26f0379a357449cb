/* test_problem.c - problem+json: what comes first decides, pointers are escaped, sentences are cut. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "hub/fields.h"
#include "hub/problem.h"

static struct json_parser *parser;

static int setup(void **state)
{
    (void)state;
    parser = json_parser_new();
    return parser == NULL;
}

static int teardown(void **state)
{
    (void)state;
    json_parser_free(parser);
    return 0;
}

/* Writes the problem and parses it again; the text lives in `out`. */
static struct json_value written(const struct problem *problem, struct buf *out)
{
    struct json_value root;
    buf_reset(out);
    problem_write(out, problem);
    assert_int_equal(buf_status(out), STATUS_OK);
    assert_int_equal(json_parse(parser, buf_slice(out), &root, NULL, NULL), STATUS_OK);
    return root;
}

static void expect_text(struct json_value object, const char *name, const char *wanted)
{
    struct json_value value;
    struct slice text;
    assert_true(json_member(object, name, &value));
    assert_true(json_get_str(value, &text));
    if (!slice_equal_str(text, wanted)) {
        fail_msg("%s is %.*s, not %s", name, SLICE_ARG(text), wanted);
    }
}

static void expect_number(struct json_value object, const char *name, int64_t wanted)
{
    struct json_value value;
    int64_t number;
    assert_true(json_member(object, name, &value));
    assert_true(json_get_i64(value, &number));
    assert_int_equal(number, wanted);
}

static void the_first_place_decides(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 1 << 20);
    struct problem problem;
    problem_init(&problem);
    assert_true(problem_is_ok(&problem));
    problem_add(&problem, STATUS_UNKNOWN_FIELD, "", SLICE("prio"), "no such field");
    problem_add(&problem, STATUS_INVALID, "/retry", SLICE("max"), "an integer from %d to %d", 1, 1000);
    struct json_value root = written(&problem, &out), errors, place;
    expect_text(root, "code", "unknown-field");
    expect_number(root, "status", 422);
    expect_text(root, "detail", "/prio: no such field");
    assert_true(json_member(root, "errors", &errors));
    assert_int_equal(json_count(errors), 2);
    struct json_iter it = json_iter_of(errors);
    assert_true(json_next(&it, NULL, &place));
    expect_text(place, "pointer", "/prio");
    assert_true(json_next(&it, NULL, &place));
    expect_text(place, "pointer", "/retry/max");
    expect_text(place, "detail", "an integer from 1 to 1000");
    buf_free(&out);
}

static void pointers_are_escaped_and_cut(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 1 << 20);
    struct problem problem;
    problem_init(&problem);
    problem_add(&problem, STATUS_UNKNOWN_FIELD, "", SLICE("a/b~c\"\x01"), "no such field");
    char key[1000];
    memset(key, '~', sizeof(key));
    problem_add(&problem, STATUS_UNKNOWN_FIELD, "/requires", slice_of(key, sizeof(key)), "no such field");
    assert_string_equal(problem.errors[0].pointer, "/a~1b~0c\"\x01");
    assert_true(strlen(problem.errors[1].pointer) < sizeof(problem.errors[1].pointer));
    /* An escape is never cut in two. */
    const char *end = problem.errors[1].pointer + strlen(problem.errors[1].pointer);
    assert_memory_equal(end - 2, "~0", 2);
    (void)written(&problem, &out);
    buf_free(&out);
}

static void only_eight_places_are_kept(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 1 << 20);
    struct problem problem;
    problem_init(&problem);
    for (int i = 0; i < 100; i++) {
        problem_add(&problem, STATUS_INVALID, "", SLICE("x"), "number %d", i);
    }
    struct json_value errors;
    assert_true(json_member(written(&problem, &out), "errors", &errors));
    assert_int_equal(json_count(errors), PROBLEM_ERRORS_MAX);
    buf_free(&out);
}

static void broken_utf8_in_a_name_gives_valid_json(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 1 << 20);
    struct problem problem;
    problem_set(&problem, STATUS_NOT_FOUND, "there is no task %s", "\xff\xfe\xc3");
    expect_text(written(&problem, &out), "code", "not-found");
    buf_free(&out);
}

/* Every status that can leave by HTTP has a title, a code in 400..599, and is valid JSON. */
static void every_status(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 1 << 20);
    for (int i = STATUS_OK + 1; i < STATUS_COUNT; i++) {
        struct problem problem;
        struct json_value value;
        bool is_retryable;
        problem_set(&problem, (enum status)i, "why");
        struct json_value root = written(&problem, &out);
        expect_text(root, "code", status_slug((enum status)i));
        expect_number(root, "status", status_http((enum status)i));
        assert_true(json_member(root, "retryable", &value) && json_get_bool(value, &is_retryable));
        assert_int_equal(is_retryable, status_is_retryable((enum status)i));
    }
    buf_free(&out);
}

static void bad_json_names_the_byte(void **state)
{
    (void)state;
    struct problem problem;
    struct json_value root;
    struct buf out;
    buf_init(&out, 1 << 20);
    problem_init(&problem);
    assert_false(fields_parse(parser, SLICE("{\"a\":1,}"), &problem, &root));
    assert_int_equal(problem.status, STATUS_BAD_JSON);
    assert_true(problem.has_offset && problem.offset <= 8);
    root = written(&problem, &out);
    expect_number(root, "status", 400);
    expect_number(root, "offset", (int64_t)problem.offset);
    buf_free(&out);
}

static void names(void **state)
{
    (void)state;
    assert_true(name_is_valid(SLICE("code.run")));
    assert_true(name_is_valid(SLICE("A-Z_0.9")));
    static const char *const wrong[] = {"", "a b", "a/b", "a:b", "a\n", "\xc3\xa9", "a%20"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        assert_false(name_is_valid(slice_str(wrong[i])));
    }
    char text[LIMIT_NAME_SIZE + 1];
    memset(text, 'x', sizeof(text));
    assert_true(name_is_valid(slice_of(text, LIMIT_NAME_SIZE)));
    assert_false(name_is_valid(slice_of(text, LIMIT_NAME_SIZE + 1)));
}

static void thousandths(void **state)
{
    (void)state;
    static const struct {
        uint64_t milli;
        const char *text;
    } cases[] = {{0, "0"}, {2000, "2"}, {500, "0.5"}, {1, "0.001"}, {10, "0.01"}, {1250, "1.25"}, {999999, "999.999"}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct buf out;
        buf_init(&out, 64);
        write_milli(&out, cases[i].milli);
        assert_string_equal(buf_cstr(&out), cases[i].text);
        buf_free(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_place_decides),
        cmocka_unit_test(pointers_are_escaped_and_cut),
        cmocka_unit_test(only_eight_places_are_kept),
        cmocka_unit_test(broken_utf8_in_a_name_gives_valid_json),
        cmocka_unit_test(every_status),
        cmocka_unit_test(bad_json_names_the_byte),
        cmocka_unit_test(names),
        cmocka_unit_test(thousandths),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
