/* help.c - --help and the man page, from the table of commands. */
#include <stdio.h>
#include <string.h>

#include "base/version.h"
#include "cli/cli.h"

/* Appends `text` wrapped to `columns`, every line indented by `indent`; the cursor stands at column `at`. A newline in
 * the text ends a paragraph. */
static void wrap(struct buf *out, const char *text, int indent, int columns, int at)
{
    bool is_line_empty = at <= indent;
    if (at < indent) {
        buf_printf(out, "%*s", indent - at, "");
        at = indent;
    }
    while (*text != '\0') {
        if (*text == '\n') {
            buf_printf(out, "\n%*s", indent, "");
            at = indent;
            is_line_empty = true;
            text++;
            continue;
        }
        if (*text == ' ') {
            text++;
            continue;
        }
        size_t len = strcspn(text, " \n");
        if (!is_line_empty && at + 1 + (int)len > columns) {
            buf_printf(out, "\n%*s", indent, "");
            at = indent;
            is_line_empty = true;
        }
        if (!is_line_empty) {
            buf_append_char(out, ' ');
            at++;
        }
        buf_append(out, text, len);
        at += (int)len;
        is_line_empty = false;
        text += len;
    }
    buf_append_char(out, '\n');
}

#define TIME_HELP "TIME has a unit: ms, s, m, h or d, such as 500ms, 1.5h or 1h30m."

/* Exit codes, each with the outcomes of status.def that end in it. */
static void write_exit_codes(struct buf *out)
{
    buf_append_str(out, "Exit codes, with the \"code\" that --json prints:\n\n");
    for (int code = 0; code < 256; code++) {
        for (enum status status = STATUS_OK; status < STATUS_COUNT; status++) {
            if (status_exit(status) == code && status != STATUS_END && status != STATUS_AGAIN) {
                buf_printf(out, "  %3d  %-21s %s\n", code, status_slug(status), status_title(status));
            }
        }
    }
}

static bool takes_time(const struct cli_command *command)
{
    for (const struct cli_option *option = command->options; option->name != NULL; option++) {
        if (option->type == CLI_DURATION) {
            return true;
        }
    }
    return false;
}

void cli_help_overview(struct buf *out)
{
    buf_append_str(out,
                   "shoal " SHOAL_VERSION " - work submitted over HTTP runs on nodes, in sandboxes, and comes back\n\n"
                   "Usage: shoal COMMAND [options]\n\nCommands:\n");
    for (const struct cli_command *command = cli_commands; command->name != NULL; command++) {
        buf_printf(out, "  %-9s %s\n", command->name, command->summary);
    }
    buf_append_str(out, "\nStart with:   shoal up\n"
                        "and then:     shoal run hello.py\n\n"
                        "\"shoal help COMMAND\" tells more. --json works with every command; the hub is --hub URL or\n"
                        "SHOAL_HUB, by default " CLI_HUB_DEFAULT ".\n"
                        "\"shoal help exit-codes\" lists the exit codes.\n");
}

static void option_label(const struct cli_option *option, char *ret, size_t size)
{
    snprintf(ret, size, "--%s%s%s", option->name, option->value != NULL ? " " : "",
             option->value != NULL ? option->value : "");
}

/* The help of an option with where its value comes from when it is not given. */
static void option_text(const struct cli_option *option, struct buf *out)
{
    buf_append_str(out, option->help);
    if (option->type == CLI_LIST) {
        buf_append_str(out, " May be given several times.");
    }
    if (option->env != NULL) {
        buf_printf(out, " Environment: %s.", option->env);
    }
    if (option->fallback != NULL) {
        buf_printf(out, " Default: %s.", option->fallback);
    }
}

void cli_help_command(struct buf *out, const struct cli_command *command, int columns)
{
    buf_printf(out, "Usage: shoal %s%s%s [options]\n\n", command->name, *command->arguments != '\0' ? " " : "",
               command->arguments);
    wrap(out, command->text, 0, columns, 0);
    buf_append_str(out, "\nOptions:\n");
    for (const struct cli_option *option = command->options; option->name != NULL; option++) {
        char label[96];
        option_label(option, label, sizeof(label));
        buf_printf(out, "  %s", label);
        int at = 2 + (int)strlen(label);
        if (at > 26) {
            buf_append_char(out, '\n');
            at = 0;
        }
        struct buf text;
        buf_init(&text, 4096);
        option_text(option, &text);
        wrap(out, buf_cstr(&text), 28, columns, at);
        buf_free(&text);
    }
    if (takes_time(command)) {
        buf_append_char(out, '\n');
        wrap(out, TIME_HELP, 0, columns, 0);
    }
    if (command->example != NULL) {
        buf_printf(out, "\nExamples:\n%s", command->example);
    }
}

/* --- the man page (man(7) macros) --- */

/* Text with what roff would take for itself escaped; a line that starts with a dot or quote gets a zero-width start. */
static void roff_text(struct buf *out, const char *text)
{
    bool is_line_start = true;
    for (; *text != '\0'; text++) {
        if (is_line_start && (*text == '.' || *text == '\'')) {
            buf_append_str(out, "\\&");
        }
        is_line_start = *text == '\n';
        if (*text == '\\') {
            buf_append_str(out, "\\e");
        } else if (*text == '-') {
            buf_append_str(out, "\\-");
        } else {
            buf_append_char(out, *text);
        }
    }
}

/* Paragraphs: an empty line in the text becomes .PP. */
static void roff_paragraphs(struct buf *out, const char *text)
{
    while (*text != '\0') {
        size_t len = strcspn(text, "\n");
        char line[1024];
        snprintf(line, sizeof(line), "%.*s", (int)len, text);
        if (len == 0) {
            buf_append_str(out, ".PP\n");
        } else {
            roff_text(out, line), buf_append_char(out, '\n');
        }
        text += len;
        if (*text == '\n') {
            text++;
        }
    }
}

static void roff_command(struct buf *out, const struct cli_command *command)
{
    buf_append_str(out, ".SS shoal ");
    buf_printf(out, "%s %s\n", command->name, command->arguments);
    roff_paragraphs(out, command->text);
    for (const struct cli_option *option = command->options; option->name != NULL; option++) {
        if (strcmp(option->name, "help") == 0) {
            continue;
        }
        buf_append_str(out, ".TP\n.B \\-\\-");
        roff_text(out, option->name);
        if (option->value != NULL) {
            buf_append_str(out, " \\fI");
            roff_text(out, option->value);
            buf_append_str(out, "\\fR");
        }
        buf_append_char(out, '\n');
        struct buf text;
        buf_init(&text, 4096);
        option_text(option, &text);
        roff_text(out, buf_cstr(&text));
        buf_append_char(out, '\n');
        buf_free(&text);
    }
    if (takes_time(command)) {
        buf_append_str(out, ".PP\n" TIME_HELP "\n");
    }
    if (command->example != NULL) {
        buf_append_str(out, ".PP\n.nf\n");
        roff_text(out, command->example);
        buf_append_str(out, ".fi\n");
    }
}

/* Exit codes with the outcomes of status.def that end in each. */
static void roff_exit_codes(struct buf *out)
{
    for (int code = 0; code < 256; code++) {
        bool is_first = true;
        for (enum status status = STATUS_OK; status < STATUS_COUNT; status++) {
            if (status_exit(status) != code || status == STATUS_END || status == STATUS_AGAIN) {
                continue;
            }
            if (is_first) {
                buf_printf(out, ".TP\n.B %d\n", code);
            }
            is_first = false;
            roff_text(out, status_title(status));
            buf_append_str(out, " (");
            roff_text(out, status_slug(status));
            buf_append_str(out, ")\n");
        }
    }
}

void cli_help_man(struct buf *out)
{
    buf_append_str(
        out, ".TH SHOAL 1 \"\" \"shoal " SHOAL_VERSION "\" \"User Commands\"\n"
             ".SH NAME\nshoal \\- run work on a pool of machines\n"
             ".SH SYNOPSIS\n.B shoal\n.I COMMAND\n.RI [ options ]\n"
             ".SH DESCRIPTION\nA hub keeps tasks durably, nodes run them in sandboxes, and results come back over "
             "HTTP. One program is\nboth, and the client of both.\n.SH COMMANDS\n");
    for (const struct cli_command *command = cli_commands; command->name != NULL; command++) {
        roff_command(out, command);
    }
    buf_append_str(out, ".SH ENVIRONMENT\n"
                        ".TP\n.B SHOAL_HUB\nAddress of the hub where \\-\\-hub is not given.\n"
                        ".TP\n.B NO_COLOR\nWhen set, nothing is coloured.\n"
                        ".SH EXIT STATUS\n");
    roff_exit_codes(out);
}

enum status cli_help(struct cli *cli)
{
    struct buf out;
    buf_init(&out, 1u << 20);
    enum status status = STATUS_OK;
    if (cli->values != NULL && cli_flag(cli, "man")) {
        cli_help_man(&out);
    } else if (cli->arg_count > 0 && strcmp(cli->args[0], "exit-codes") == 0) {
        write_exit_codes(&out);
    } else if (cli->arg_count > 0) {
        const struct cli_command *command = cli_command_find(cli->args[0]);
        if (command != NULL) {
            cli_help_command(&out, command, cli_columns());
        } else {
            status = cli_unknown_command(cli->args[0]);
        }
    } else {
        cli_help_overview(&out);
    }
    if (status == STATUS_OK) {
        status = cli_print(buf_slice(&out));
    }
    buf_free(&out);
    return status;
}
