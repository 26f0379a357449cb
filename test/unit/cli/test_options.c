/* test_options.c - the command line's parser against the real table of commands, and the table itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/cli.h"

#define WORDS_MAX 32

/* Parses a line of words separated by single spaces. */
static char line_copy[1024];
static enum status parse(struct cli *cli, const char *line)
{
    static const char *words[WORDS_MAX];
    int count = 0;
    words[count++] = "shoal";
    snprintf(line_copy, sizeof(line_copy), "%s", line);
    for (char *save, *word = strtok_r(line_copy, " ", &save); word != NULL && count < WORDS_MAX;
         word = strtok_r(NULL, " ", &save)) {
        words[count++] = word;
    }
    return cli_parse(count, words, cli);
}

/* What the parser says on standard error, for a line that it refuses. */
static char said[2048];
static enum status refuse(const char *line)
{
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    fflush(stderr);
    int kept = dup(STDERR_FILENO);
    dup2(fds[1], STDERR_FILENO);
    struct cli cli;
    enum status status = parse(&cli, line);
    fflush(stderr);
    dup2(kept, STDERR_FILENO);
    close(kept);
    close(fds[1]);
    ssize_t len = read(fds[0], said, sizeof(said) - 1);
    close(fds[0]);
    said[len > 0 ? len : 0] = '\0';
    cli_free(&cli);
    return status;
}

static void test_values(void **state)
{
    (void)state;
    struct cli cli;
    assert_int_equal(parse(&cli, "submit code.run --priority 7 --file a.py --file=b=c --wait --timeout 90s --queue q"),
                     STATUS_OK);
    assert_string_equal(cli.command->name, "submit");
    assert_int_equal(cli.arg_count, 1);
    assert_string_equal(cli.args[0], "code.run");
    assert_int_equal(cli_number(&cli, "priority"), 7);
    assert_int_equal(cli_number(&cli, "timeout"), 90000);
    assert_int_equal(cli_number(&cli, "weight"), 0); /* not given */
    assert_null(cli_text(&cli, "weight"));
    assert_string_equal(cli_text(&cli, "queue"), "q");
    assert_true(cli_flag(&cli, "wait"));
    assert_false(cli_flag(&cli, "json"));
    assert_true(cli_is_given(&cli, "file"));
    int at = 0;
    assert_string_equal(cli_list_next(&cli, "file", &at), "a.py");
    assert_string_equal(cli_list_next(&cli, "file", &at), "b=c");
    assert_null(cli_list_next(&cli, "file", &at));
    cli_free(&cli);

    assert_int_equal(parse(&cli, "submit --queue one --queue two -- --odd"), STATUS_OK);
    assert_string_equal(cli_text(&cli, "queue"), "two"); /* the last one counts */
    assert_string_equal(cli.args[0], "--odd");
    cli_free(&cli);

    assert_int_equal(parse(&cli, "submit k --input -"), STATUS_OK); /* a dash alone is a value or a word */
    assert_string_equal(cli_text(&cli, "input"), "-");
    cli_free(&cli);
}

static void test_before_the_command(void **state)
{
    (void)state;
    struct cli cli;
    assert_int_equal(parse(&cli, "--json --hub http://h:1 ls --limit 3"), STATUS_OK);
    assert_string_equal(cli.command->name, "ls");
    assert_true(cli_flag(&cli, "json"));
    assert_string_equal(cli_text(&cli, "hub"), "http://h:1");
    assert_int_equal(cli_number(&cli, "limit"), 3);
    cli_free(&cli);
    assert_int_equal(parse(&cli, "--version"), STATUS_OK);
    assert_string_equal(cli.command->name, "version");
    cli_free(&cli);
    assert_int_equal(parse(&cli, ""), STATUS_OK);
    assert_string_equal(cli.command->name, "help");
    cli_free(&cli);
    assert_int_equal(parse(&cli, "submit --help"), STATUS_OK); /* without its KIND */
    assert_true(cli_flag(&cli, "help"));
    cli_free(&cli);
    assert_int_equal(refuse("--limit 3 ls"), STATUS_USAGE);
    assert_non_null(strstr(said, "after the command"));
}

static void test_defaults(void **state)
{
    (void)state;
    struct cli cli;
    unsetenv("SHOAL_HUB");
    assert_int_equal(parse(&cli, "ls"), STATUS_OK);
    assert_string_equal(cli_text(&cli, "hub"), CLI_HUB_DEFAULT);
    assert_int_equal(cli_number(&cli, "limit"), 50);
    assert_false(cli_is_given(&cli, "hub"));
    setenv("SHOAL_HUB", "http://other:9", 1);
    assert_string_equal(cli_text(&cli, "hub"), "http://other:9");
    cli_free(&cli);
    assert_int_equal(parse(&cli, "ls --hub http://third:1"), STATUS_OK);
    assert_string_equal(cli_text(&cli, "hub"), "http://third:1");
    cli_free(&cli);
    unsetenv("SHOAL_HUB");
}

static void test_mistakes(void **state)
{
    (void)state;
    static const struct {
        const char *line, *says;
    } rows[] = {
        {"sumbit code.run", "did you mean \"submit\"?"},
        {"cancle x", "did you mean \"cancel\"?"},
        {"node --slot 3", "did you mean \"--slots\"?"},
        {"xyzzy", "shoal help"},
        {"submit k --prioritty 3", "did you mean \"--priority\"?"},
        {"submit k --plugh 3", "shoal help submit"},
        {"submit", "is missing"},
        {"get a b", "\"b\" is one word too many"},
        {"ls extra", "one word too many"},
        {"submit k --priority", "needs a value"},
        {"submit k --priority 10", "from 0 to 9"},
        {"submit k --priority -1", "from 0 to 9"},
        {"submit k --priority 1x", "a whole number"},
        {"submit k --priority 99999999999999999999", "a whole number"},
        {"submit k --timeout soon", "a time with its unit such as"},
        {"submit k --timeout 90", "a time with its unit such as"},
        {"submit k --timeout 0.5us", "a time with its unit such as"},
        {"submit k --timeout 9000000000d", "a time with its unit such as"},
        {"run a.py -wait", "did you mean \"--wait\"?"},
        {"run a.py --verbose=2",
         "there is no option \"--verbose\"; \"shoal help run\" lists them; words for the program"},
        {"submit k --delay 9000d", "from 0 ms to 366 d, not \"9000d\""},
        {"submit k --wait=yes", "takes no value"},
        {"node --slots 0", "from 1 to 1024"},
        {"ls -l", "two dashes"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        enum status status = refuse(rows[i].line);
        if (status != STATUS_USAGE || strstr(said, rows[i].says) == NULL) {
            fail_msg("\"%s\" gave %s and said: %s", rows[i].line, status_slug(status), said);
        }
        /* one sentence, one line */
        assert_int_equal(strcspn(said, "\n"), strlen(said) - 1);
    }
}

static void test_numbers(void **state)
{
    (void)state;
    const struct cli_option number = {.name = "n", .type = CLI_NUMBER, .min = 2, .max = 5};
    const struct cli_option duration = {.name = "t", .type = CLI_DURATION};
    const struct cli_option size = {.name = "s", .type = CLI_SIZE};
    int64_t value = -7;
    assert_true(cli_read_number(&number, "5", &value));
    assert_int_equal(value, 5);
    static const char *const bad[] = {"", "1", "6", " 3", "3 ", "+3", "-3", "0x3", "3k", "3s", "3.0"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_false(cli_read_number(&number, bad[i], &value));
    }
    assert_int_equal(value, 5);
    static const struct {
        const char *text;
        int64_t ms;
    } times[] = {{"0", 0},         {"250ms", 250},     {"3s", 3000},      {"5m", 300000},    {"2h", 7200000},
                 {"1d", 86400000}, {"1h30m", 5400000}, {"1.5h", 5400000}, {"1m0.25s", 60250}};
    for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        assert_true(cli_read_number(&duration, times[i].text, &value));
        assert_int_equal(value, times[i].ms);
    }
    assert_false(cli_read_number(&duration, "250", &value)); /* of what? */
    assert_false(cli_read_number(&duration, "0.5ms", &value));
    assert_false(cli_read_number(&duration, "3S", &value));
    assert_false(cli_read_number(&duration, "3 s", &value));
    assert_false(cli_read_number(&duration, "9223372036854775807s", &value));
    assert_true(cli_read_number(&size, "64K", &value));
    assert_int_equal(value, 65536);
    assert_true(cli_read_number(&size, "2g", &value));
    assert_int_equal(value, INT64_C(2) << 30);
    assert_false(cli_read_number(&size, "9223372036854775807k", &value));
}

static void test_nearest(void **state)
{
    (void)state;
    static const char *const words[] = {"pause", "resume", "add", NULL};
    assert_string_equal(cli_nearest("puase", words), "pause");
    assert_string_equal(cli_nearest("res", words), "resume");
    assert_null(cli_nearest("elephant", words));
    assert_null(cli_nearest("a-word-that-is-longer-than-any-command-can-be", words));
}

/* What the table promises to its readers: every fallback is a value, names are unique, every command explains itself. */
static void test_table(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 1u << 20);
    for (const struct cli_command *command = cli_commands; command->name != NULL; command++) {
        assert_ptr_equal(cli_command_find(command->name), command);
        assert_true(command->args_min <= command->args_max);
        assert_true(command->args_max == 0 || *command->arguments != '\0');
        assert_non_null(command->run);
        bool has_help = false, has_json = false;
        for (const struct cli_option *option = command->options; option->name != NULL; option++) {
            has_help |= strcmp(option->name, "help") == 0;
            has_json |= strcmp(option->name, "json") == 0;
            assert_true((option->type == CLI_FLAG) == (option->value == NULL));
            for (const struct cli_option *other = command->options; other != option; other++) {
                assert_string_not_equal(other->name, option->name);
            }
            int64_t number;
            if (option->fallback != NULL && option->type >= CLI_NUMBER) {
                assert_true(cli_read_number(option, option->fallback, &number));
            }
        }
        assert_true(has_help && has_json);
        buf_reset(&out);
        cli_help_command(&out, command, 80);
        assert_int_equal(buf_status(&out), STATUS_OK);
        const char *text = buf_cstr(&out);
        for (const struct cli_option *option = command->options; option->name != NULL; option++) {
            char label[64];
            snprintf(label, sizeof(label), "--%s", option->name);
            assert_non_null(strstr(text, label));
        }
        while (*text != '\0') { /* wrapped to 80 columns; a … counts three bytes */
            size_t len = strcspn(text, "\n");
            if (len > 82) {
                fail_msg("too wide: %.*s", (int)len, text);
            }
            text += len + (text[len] == '\n');
        }
    }
    buf_reset(&out);
    cli_help_overview(&out);
    for (const struct cli_command *command = cli_commands; command->name != NULL; command++) {
        assert_non_null(strstr(buf_cstr(&out), command->summary));
    }
    buf_reset(&out);
    cli_help_man(&out);
    assert_int_equal(buf_status(&out), STATUS_OK);
    assert_non_null(strstr(buf_cstr(&out), ".B \\-\\-idle") == NULL ? buf_cstr(&out) : NULL);
    assert_non_null(strstr(buf_cstr(&out), ".SS shoal submit KIND"));
    assert_non_null(strstr(buf_cstr(&out), ".B \\-\\-priority \\fI0..9\\fR"));
    assert_non_null(strstr(buf_cstr(&out), ".SH EXIT STATUS"));
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),   cmocka_unit_test(test_before_the_command),
        cmocka_unit_test(test_defaults), cmocka_unit_test(test_mistakes),
        cmocka_unit_test(test_numbers),  cmocka_unit_test(test_nearest),
        cmocka_unit_test(test_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
