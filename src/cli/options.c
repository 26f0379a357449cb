/* options.c - reads a command line against the table of commands. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/words.h"
#include "cli/cli.h"

#define NAME_SIZE_MAX 64 /* of an option, in a sentence */

const char *cli_nearest(const char *word, const char *const *names)
{
    return words_nearest(slice_str(word), names);
}

const struct cli_command *cli_command_find(const char *name)
{
    for (const struct cli_command *command = cli_commands; command->name != NULL; command++) {
        if (strcmp(command->name, name) == 0) {
            return command;
        }
    }
    return NULL;
}

static const struct cli_option *option_find(const struct cli_command *command, const char *name, size_t len)
{
    for (const struct cli_option *option = command->options; option->name != NULL; option++) {
        if (strlen(option->name) == len && memcmp(option->name, name, len) == 0) {
            return option;
        }
    }
    return NULL;
}

enum status cli_unknown_command(const char *word)
{
    const char *names[64];
    size_t count = 0;
    for (const struct cli_command *command = cli_commands; command->name != NULL && count < 63; command++) {
        names[count++] = command->name;
    }
    names[count] = NULL;
    const char *nearest = cli_nearest(word, names);
    if (nearest != NULL) {
        cli_say("shoal: there is no command \"%s\"; did you mean \"%s\"?\n", word, nearest);
    } else {
        cli_say("shoal: there is no command \"%s\"; \"shoal help\" lists them.\n", word);
    }
    return STATUS_USAGE;
}

/* `word` with its `dashes`, perhaps with "=VALUE" behind it. */
static enum status unknown_option(const struct cli_command *command, const char *word, size_t dashes)
{
    char name[NAME_SIZE_MAX];
    snprintf(name, sizeof(name), "%.*s", (int)strcspn(word + dashes, "="), word + dashes);
    const char *names[64];
    size_t count = 0;
    for (const struct cli_option *option = command->options; option->name != NULL && count < 63; option++) {
        names[count++] = option->name;
    }
    names[count] = NULL;
    const char *nearest = cli_nearest(name, names);
    bool takes_words = strstr(command->arguments, "[ARG...]") != NULL;
    cli_say("shoal %s: there is no option \"%.*s%s\"; ", command->name, (int)dashes, "--", name);
    if (nearest != NULL) {
        cli_say("did you mean \"--%s\"?%s\n", nearest,
                takes_words ? " Words for the program stand behind \" -- \"." : "");
    } else {
        cli_say("\"shoal help %s\" lists them%s.\n", command->name,
                takes_words   ? "; words for the program stand behind \" -- \""
                : dashes == 1 ? ", all with two dashes"
                              : "");
    }
    return STATUS_USAGE;
}

static const struct {
    const char *suffix;
    int64_t factor;
} size_units[] = {{"", 1}, {"k", 1 << 10}, {"m", 1 << 20}, {"g", 1 << 30}};

static bool is_within(const struct cli_option *option, int64_t value)
{
    return value >= option->min && (option->max == 0 || value <= option->max);
}

/* In whole milliseconds; a number without a unit is none, since nobody can tell which was meant. */
static bool read_duration(const struct cli_option *option, const char *text, int64_t *ret_ms)
{
    int64_t ns;
    if (!words_value(slice_str(text), WORDS_TIME, &ns) || ns % NS_PER_MS != 0 || !is_within(option, ns / NS_PER_MS)) {
        return false;
    }
    *ret_ms = ns / NS_PER_MS;
    return true;
}

bool cli_read_number(const struct cli_option *option, const char *text, int64_t *ret)
{
    if (option->type == CLI_DURATION) {
        return read_duration(option, text, ret);
    }
    if (*text < '0' || *text > '9') {
        return false;
    }
    errno = 0;
    char *end;
    long long number = strtoll(text, &end, 10);
    if (errno != 0) {
        return false;
    }
    int64_t factor = 0;
    if (option->type == CLI_NUMBER) {
        factor = *end == '\0' ? 1 : 0;
    } else {
        for (size_t i = 0; i < ARRAY_COUNT(size_units); i++) {
            factor = strcasecmp(end, size_units[i].suffix) == 0 ? size_units[i].factor : factor;
        }
    }
    int64_t value;
    if (factor == 0 || __builtin_mul_overflow((int64_t)number, factor, &value)) {
        return false;
    }
    if (!is_within(option, value)) {
        return false;
    }
    *ret = value;
    return true;
}

static bool takes_number(const struct cli_option *option)
{
    return option->type == CLI_NUMBER || option->type == CLI_DURATION || option->type == CLI_SIZE;
}

static enum status check_value(const struct cli_command *command, const struct cli_option *option, const char *text,
                               const char *source)
{
    int64_t number;
    if (!takes_number(option) || cli_read_number(option, text, &number)) {
        return STATUS_OK;
    }
    const char *what = option->type == CLI_DURATION ? "a time with its unit such as 500ms, 30s, 1.5h or 1h30m"
                       : option->type == CLI_SIZE   ? "a size such as 4096, 64k or 1g"
                                                    : "a whole number";
    cli_say("shoal %s: %s must be %s", command->name, source, what);
    if (option->type == CLI_DURATION && option->max != 0) {
        char least_text[32], most_text[32];
        cli_duration_text(option->min, least_text, sizeof(least_text));
        cli_duration_text(option->max, most_text, sizeof(most_text));
        cli_say(", from %s to %s", least_text, most_text);
    } else if (option->max != 0) {
        cli_say(", from %lld to %lld", (long long)option->min, (long long)option->max);
    }
    cli_say(", not \"%s\".\n", text);
    return STATUS_USAGE;
}

static void add_value(struct cli *cli, const struct cli_option *option, const char *text)
{
    cli->values[cli->value_count++] = (struct cli_value){option, text};
}

/* One option at argv[*at]; moves *at to its last word. */
static enum status parse_option(struct cli *cli, int argc, const char *const *argv, int *at)
{
    const struct cli_command *command = cli->command;
    const char *word = argv[*at] + 2;
    const char *equals = strchr(word, '=');
    size_t len = equals != NULL ? (size_t)(equals - word) : strlen(word);
    const struct cli_option *option = option_find(command, word, len);
    if (option == NULL) {
        return unknown_option(command, argv[*at], 2);
    }
    if (option->type == CLI_FLAG) {
        if (equals != NULL) {
            cli_say("shoal %s: --%s takes no value.\n", command->name, option->name);
            return STATUS_USAGE;
        }
        add_value(cli, option, "");
        return STATUS_OK;
    }
    const char *value = equals != NULL ? equals + 1 : NULL;
    if (value == NULL) {
        if (*at + 1 >= argc) {
            cli_say("shoal %s: --%s needs a value, %s.\n", command->name, option->name, option->value);
            return STATUS_USAGE;
        }
        value = argv[++*at];
    }
    char source[NAME_SIZE_MAX];
    snprintf(source, sizeof(source), "--%s", option->name);
    enum status status = check_value(command, option, value, source);
    if (status == STATUS_OK) {
        add_value(cli, option, value);
    }
    return status;
}

static enum status check_environment(const struct cli *cli)
{
    for (const struct cli_option *option = cli->command->options; option->name != NULL; option++) {
        const char *text = option->env != NULL ? getenv(option->env) : NULL;
        if (text == NULL || *text == '\0' || cli_is_given(cli, option->name)) {
            continue;
        }
        enum status status = check_value(cli->command, option, text, option->env);
        if (status != STATUS_OK) {
            return status;
        }
    }
    return STATUS_OK;
}

static enum status parse_words(struct cli *cli, int argc, const char *const *argv, int command_at)
{
    bool only_args = false;
    for (int i = 0; i < argc; i++) {
        if (i == command_at) {
            continue;
        }
        const char *word = argv[i];
        if (!only_args && strcmp(word, "--") == 0) {
            only_args = true;
        } else if (!only_args && (strcmp(word, "-h") == 0)) {
            add_value(cli, option_find(cli->command, "help", 4), "");
        } else if (!only_args && strncmp(word, "--", 2) == 0) {
            enum status status = parse_option(cli, argc, argv, &i);
            if (status != STATUS_OK) {
                return status;
            }
        } else if (!only_args && word[0] == '-' && word[1] != '\0') {
            return unknown_option(cli->command, word, 1);
        } else {
            cli->args[cli->arg_count++] = word;
        }
    }
    if (cli_flag(cli, "help")) {
        return STATUS_OK;
    }
    const struct cli_command *command = cli->command;
    if (cli->arg_count < command->args_min) {
        cli_say("shoal %s: %s is missing: shoal %s %s\n", command->name,
                command->args_min == 1 ? "a word" : "something", command->name, command->arguments);
        return STATUS_USAGE;
    }
    if (cli->arg_count > command->args_max) {
        cli_say("shoal %s: \"%s\" is one word too many: shoal %s%s%s\n", command->name, cli->args[command->args_max],
                command->name, *command->arguments != '\0' ? " " : "", command->arguments);
        return STATUS_USAGE;
    }
    return check_environment(cli);
}

/* An option before the command, of which only a few may stand there. */
static enum status misplaced_option(const char *word)
{
    static const char *const names[] = {"json", "hub", "help", "version", NULL};
    const char *nearest = cli_nearest(word + strspn(word, "-"), names);
    if (strcmp(word, "--hub") == 0) {
        cli_say("shoal: --hub needs a value, URL, and a command behind it.\n");
    } else if (nearest != NULL) {
        cli_say("shoal: there is no option \"%s\" before a command; did you mean \"--%s\"?\n", word, nearest);
    } else {
        cli_say("shoal: the option \"%s\" stands after the command: shoal COMMAND %s\n", word, word);
    }
    return STATUS_USAGE;
}

enum status cli_parse(int argc, const char *const *argv, struct cli *ret_cli)
{
    *ret_cli = (struct cli){.program = argc > 0 ? argv[0] : "shoal"};
    argc -= argc > 0;
    argv += 1;
    /* What stands before the command are the options that all commands have, so that `shoal --json ls` works. */
    int command_at = 0;
    while (command_at < argc && argv[command_at][0] == '-') {
        const char *word = argv[command_at];
        if (strcmp(word, "--version") == 0 || strcmp(word, "-V") == 0) {
            ret_cli->command = cli_command_find("version");
            return STATUS_OK;
        }
        if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
            ret_cli->command = cli_command_find("help");
            return STATUS_OK;
        }
        if (strcmp(word, "--hub") == 0 && command_at + 1 < argc) {
            command_at++;
        } else if (strcmp(word, "--json") != 0 && strncmp(word, "--hub=", 6) != 0) {
            return misplaced_option(word);
        }
        command_at++;
    }
    if (command_at >= argc) {
        ret_cli->command = cli_command_find("help");
        return STATUS_OK;
    }
    ret_cli->command = cli_command_find(argv[command_at]);
    if (ret_cli->command == NULL) {
        return cli_unknown_command(argv[command_at]);
    }
    ret_cli->values = calloc((size_t)argc + 1, sizeof(*ret_cli->values));
    ret_cli->args = calloc((size_t)argc + 1, sizeof(*ret_cli->args));
    if (ret_cli->values == NULL || ret_cli->args == NULL) {
        return STATUS_NO_MEMORY;
    }
    return parse_words(ret_cli, argc, argv, command_at);
}

void cli_free(struct cli *cli)
{
    free(cli->values);
    free(cli->args);
    *cli = (struct cli){0};
}

static const struct cli_option *option_of(const struct cli *cli, const char *name)
{
    const struct cli_option *option = option_find(cli->command, name, strlen(name));
    ensure(option != NULL);
    return option;
}

bool cli_has_option(const struct cli *cli, const char *name)
{
    return option_find(cli->command, name, strlen(name)) != NULL;
}

enum status cli_verb(const struct cli *cli, const char *thing, const char *const *verbs, const char *all,
                     const char **ret_verb, const char **ret_name)
{
    *ret_verb = cli->arg_count == 2 ? cli->args[0] : NULL;
    *ret_name = cli->arg_count == 2 ? cli->args[1] : cli->arg_count == 1 ? cli->args[0] : NULL;
    if (*ret_name == NULL) {
        return STATUS_OK;
    }
    bool is_verb = false;
    for (size_t i = 0; !is_verb && verbs[i] != NULL; i++) {
        is_verb = strcmp(cli->args[0], verbs[i]) == 0;
    }
    if (cli->arg_count == 1 && is_verb) {
        return cli_fail(cli, STATUS_USAGE, "a name is missing: shoal %s %s NAME", cli->command->name, cli->args[0]);
    }
    if (cli->arg_count == 1 || is_verb) {
        return STATUS_OK;
    }
    const char *nearest = cli_nearest(cli->args[0], verbs);
    return cli_fail(cli, STATUS_USAGE, "\"%s\" is not something to do with %s; %s%s%s", cli->args[0], thing,
                    nearest != NULL ? "did you mean \"" : all, nearest != NULL ? nearest : "",
                    nearest != NULL ? "\"?" : "");
}

const char *cli_text(const struct cli *cli, const char *name)
{
    const struct cli_option *option = option_of(cli, name);
    for (int i = cli->value_count - 1; i >= 0; i--) {
        if (cli->values[i].option == option) {
            return cli->values[i].text;
        }
    }
    const char *from_env = option->env != NULL ? getenv(option->env) : NULL;
    return from_env != NULL && *from_env != '\0' ? from_env : option->fallback;
}

bool cli_is_given(const struct cli *cli, const char *name)
{
    const struct cli_option *option = option_of(cli, name);
    for (int i = 0; i < cli->value_count; i++) {
        if (cli->values[i].option == option) {
            return true;
        }
    }
    return false;
}

bool cli_flag(const struct cli *cli, const char *name)
{
    return cli_is_given(cli, name);
}

int64_t cli_number(const struct cli *cli, const char *name)
{
    const struct cli_option *option = option_of(cli, name);
    const char *text = cli_text(cli, name);
    int64_t number = 0;
    if (text != NULL) {
        ensure(cli_read_number(option, text, &number)); /* checked when it was parsed; the fallback is ours */
    }
    return number;
}

const char *cli_list_next(const struct cli *cli, const char *name, int *at)
{
    const struct cli_option *option = option_of(cli, name);
    while (*at < cli->value_count) {
        const struct cli_value *value = &cli->values[(*at)++];
        if (value->option == option) {
            return value->text;
        }
    }
    return NULL;
}
