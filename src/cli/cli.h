/* cli.h - what the subcommands of `shoal` share: the table of commands and options, and what was parsed from it.
 *
 * commands.c holds one table. The parser, --help, `shoal help --man` and the "did you mean" all read it, so an option
 * that works is an option that is documented. */
#ifndef SHOAL_CLI_CLI_H
#define SHOAL_CLI_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/printable.h"
#include "base/status.h"

#define CLI_HUB_DEFAULT "http://127.0.0.1:7433"
#define CLI_LISTEN_DEFAULT "127.0.0.1:7433"

enum cli_type {
    CLI_FLAG,     /* no value */
    CLI_TEXT,     /* the last one counts */
    CLI_LIST,     /* may be given many times */
    CLI_NUMBER,   /* whole number within min..max */
    CLI_DURATION, /* 500ms, 1.5h, 1h30m (words_value of a time) within min..max ms; as a number: ms */
    CLI_SIZE      /* bytes, or a number with k, m, g (powers of 1024) */
};

struct cli_option {
    const char *name; /* without the dashes; NULL ends a table */
    enum cli_type type;
    const char *value;    /* what the help calls the value; NULL for flags */
    const char *fallback; /* value when it is not given, as text; NULL: none */
    const char *env;      /* environment variable that stands before the fallback; NULL: none */
    const char *help;     /* one or two sentences */
    int64_t min, max;     /* NUMBER, DURATION, SIZE; max 0: no bound */
};

struct cli;

struct cli_command {
    const char *name;      /* NULL ends the table */
    const char *arguments; /* "KIND", "[NAME]", …; "" when there are none */
    int args_min, args_max;
    const char *summary; /* one line */
    const char *text;    /* paragraphs for help and man page */
    const char *example; /* lines of a session; may be NULL */
    const struct cli_option *options;
    enum status (*run)(struct cli *cli);
};

extern const struct cli_command cli_commands[];

struct cli_value {
    const struct cli_option *option;
    const char *text;
};

struct cli { /* one parsed command line */
    const struct cli_command *command;
    const char *program;      /* argv[0] */
    struct cli_value *values; /* owned */
    int value_count;
    const char **args; /* owned; the words that are no options */
    int arg_count;
};

/* --- options.c --- */
/* Parses the words after the program's name. USAGE has printed its sentence already. Frees nothing: cli_free. */
STATUS_MUST_CHECK enum status cli_parse(int argc, const char *const *argv, struct cli *ret_cli);
void cli_free(struct cli *cli);
const struct cli_command *cli_command_find(const char *name);
/* Says that there is no such command, and which one is near. USAGE. */
enum status cli_unknown_command(const char *word);
/* The value of an option of this command (a mistake in the name is a bug): text, the environment's, or the fallback. */
const char *cli_text(const struct cli *cli, const char *name); /* NULL when there is none */
bool cli_has_option(const struct cli *cli, const char *name);  /* whether the command knows it */
bool cli_flag(const struct cli *cli, const char *name);
bool cli_is_given(const struct cli *cli, const char *name);
int64_t cli_number(const struct cli *cli, const char *name); /* NUMBER, DURATION (ms), SIZE; 0 when there is none */
/* The values of a LIST: start with *at = 0; NULL at the end. */
const char *cli_list_next(const struct cli *cli, const char *name, int *at);
/* The word of a list that is nearest to `word`, NULL when none is near. `names` ends with NULL. */
const char *cli_nearest(const char *word, const char *const *names);
/* The words of "shoal THINGS [VERB] [NAME]": NULL where there is none. USAGE after it said what is wrong. `thing` is "a
 * queue"; `verbs` ends with NULL, and `all` lists them for people. */
STATUS_MUST_CHECK enum status cli_verb(const struct cli *cli, const char *thing, const char *const *verbs,
                                       const char *all, const char **ret_verb, const char **ret_name);
/* Reads a value as the table's type says; false when it is none or out of bounds. */
bool cli_read_number(const struct cli_option *option, const char *text, int64_t *ret);

/* --- help.c --- */
void cli_help_overview(struct buf *out);
void cli_help_command(struct buf *out, const struct cli_command *command, int columns);
void cli_help_man(struct buf *out);

/* --- output.c: all that the commands print for people goes through here, so that what came from a hub, a worker or a file is
 * escaped on the way and colours are the marks of base/printable.h. What a program printed is its user's, and goes out as it is
 * (task_text.c). --- */
/* One plain sentence on standard error, "shoal COMMAND: …", or a JSON object with --json. Returns the status. */
enum status cli_fail(const struct cli *cli, enum status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Words for people on standard error, as they are. */
void cli_say(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Writes everything to standard output; IO when it cannot (a closed pipe ends quietly). */
STATUS_MUST_CHECK enum status cli_print(struct slice text);
/* Text of several lines; those after the first are indented, so that none looks like a line of ours. */
void cli_write_indented(struct buf *out, struct slice text, int columns);
/* Whether standard output (1) or error (2) is a terminal that takes colours (NO_COLOR, TERM=dumb are honoured). */
bool cli_has_color(int fd);
bool cli_is_terminal(int fd);
int cli_columns(void);
/* "3.2 s", "4 min", "2 d" */
void cli_duration_text(int64_t ms, char *ret, size_t size);
/* The colour mark of a task's, node's or check's state, "" when it has none; PAINT_PLAIN ends it. */
const char *cli_state_color(struct slice state);

/* --- one for each subcommand, in the file of its name --- */
enum status cli_hub(struct cli *cli);
enum status cli_node(struct cli *cli);
enum status cli_up(struct cli *cli);
enum status cli_submit(struct cli *cli);
enum status cli_get(struct cli *cli);
enum status cli_ls(struct cli *cli);
enum status cli_tail(struct cli *cli);
enum status cli_cancel(struct cli *cli);
enum status cli_rm(struct cli *cli);
enum status cli_retry(struct cli *cli);
enum status cli_kinds(struct cli *cli);
enum status cli_queues(struct cli *cli);
enum status cli_nodes(struct cli *cli);
enum status cli_stats(struct cli *cli);
enum status cli_verify(struct cli *cli);
enum status cli_repair(struct cli *cli);
enum status cli_sim(struct cli *cli);
enum status cli_bench(struct cli *cli);
enum status cli_doctor(struct cli *cli);
enum status cli_version(struct cli *cli);
enum status cli_help(struct cli *cli);

#endif
