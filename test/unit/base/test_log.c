#include "check.h"

#include <unistd.h>

#include "base/json.h"
#include "base/log.h"

/* Runs `log` with standard error turned into a pipe and returns what came out. */
static const char *captured(void (*log)(void))
{
    static char text[8192];
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    int saved = dup(STDERR_FILENO);
    assert_true(saved >= 0);
    assert_true(dup2(ends[1], STDERR_FILENO) >= 0);
    log();
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(ends[1]);
    ssize_t len = read(ends[0], text, sizeof(text) - 1);
    close(ends[0]);
    assert_true(len >= 0);
    text[len] = '\0';
    return text;
}

static void two_lines(void)
{
    log_debug("test.hidden", NULL);
    log_info("test.plain", NULL);
    log_warn("test.fields", "count=%d text=\"%s\"", 3, "a\nb");
}

static void test_logfmt(void **state)
{
    (void)state;
    log_setup(LOG_INFO, false);
    const char *text = captured(two_lines);
    assert_null(strstr(text, "hidden"));
    assert_non_null(strstr(text, "Z info test.plain\n"));
    assert_non_null(strstr(text, "Z warn test.fields count=3 text=\"a b\"\n"));
    assert_int_equal(text[4], '-'); /* begins with the time */
}

static void long_line(void)
{
    char fields[5000];
    memset(fields, '"', sizeof(fields) - 1);
    fields[sizeof(fields) - 1] = '\0';
    log_error("test.long", "%s", fields);
}

static void check_is_json_line(const char *text)
{
    size_t len = strlen(text);
    assert_true(len > 0 && text[len - 1] == '\n');
    struct json_parser *parser = json_parser_new();
    assert_non_null(parser);
    struct json_value root, event;
    struct slice name;
    assert_int_equal(json_parse(parser, slice_of(text, len - 1), &root, NULL, NULL), STATUS_OK);
    assert_true(json_member(root, "event", &event) && json_get_str(event, &name));
    assert_true(slice_starts_with(name, SLICE("test.")));
    json_parser_free(parser);
}

static void one_line(void)
{
    log_error("test.json", "path=\"%s\"", "a\\b\n\x01");
}

static void test_json(void **state)
{
    (void)state;
    log_setup(LOG_ERROR, true);
    check_is_json_line(captured(one_line));
    check_is_json_line(captured(long_line));
    assert_string_equal(captured(two_lines), "");
    log_setup(LOG_INFO, false);
    const char *text = captured(long_line);
    assert_int_equal(text[strlen(text) - 1], '\n');
}

static void test_levels(void **state)
{
    (void)state;
    enum log_level level = LOG_ERROR;
    assert_true(log_level_from_text("debug", &level));
    assert_int_equal(level, LOG_DEBUG);
    assert_true(log_level_from_text("warn", &level));
    assert_int_equal(level, LOG_WARN);
    assert_false(log_level_from_text("loud", &level));
    assert_false(log_level_from_text("", &level));
    assert_int_equal(level, LOG_WARN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_logfmt),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_levels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
