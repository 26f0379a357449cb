/* fuzz_options.c - the command line, one word a line. What is accepted can be asked for everything in the command's table;
 * what is refused is refused with one line. The commands themselves are not run. */
#include <stdio.h>

#include "cli/cli.h"
#include "test/fuzz/fuzz.h"

#define WORDS_MAX 64

/* What the table of commands.c points to. */
#define NOT_RUN(name)                                                                                                  \
    enum status name(struct cli *cli)                                                                                  \
    {                                                                                                                  \
        (void)cli;                                                                                                     \
        ensure_failed("a command was run", __FILE__, __LINE__, #name);                                                 \
    }
NOT_RUN(cli_hub)
NOT_RUN(cli_node)
NOT_RUN(cli_up)
NOT_RUN(cli_submit)
NOT_RUN(cli_get)
NOT_RUN(cli_ls)
NOT_RUN(cli_tail)
NOT_RUN(cli_cancel)
NOT_RUN(cli_retry)
NOT_RUN(cli_rm)
NOT_RUN(cli_queues)
NOT_RUN(cli_kinds)
NOT_RUN(cli_nodes)
NOT_RUN(cli_stats)
NOT_RUN(cli_verify)
NOT_RUN(cli_repair)
NOT_RUN(cli_sim)
NOT_RUN(cli_bench)
NOT_RUN(cli_doctor)
NOT_RUN(cli_version)
NOT_RUN(cli_help)

static void ask(const struct cli *cli)
{
    const struct cli_command *command = cli->command;
    ensure(command != NULL && cli_command_find(command->name) == command);
    bool is_help = false;
    for (const struct cli_option *option = command->options; option->name != NULL; option++) {
        is_help |= strcmp(option->name, "help") == 0 && cli_flag(cli, "help");
    }
    ensure(cli->arg_count >= 0 && (is_help || (cli->arg_count >= command->args_min &&
                                               (command->args_max < 0 || cli->arg_count <= command->args_max))));
    for (int i = 0; i < cli->arg_count; i++) {
        ensure(cli->args[i] != NULL);
    }
    for (const struct cli_option *option = command->options; option->name != NULL; option++) {
        if (option->type == CLI_LIST) {
            int at = 0, count = 0;
            while (cli_list_next(cli, option->name, &at) != NULL) {
                ensure(++count <= cli->value_count);
            }
        } else if (option->type == CLI_NUMBER || option->type == CLI_DURATION || option->type == CLI_SIZE) {
            int64_t number = cli_number(cli, option->name);
            if (cli_is_given(cli, option->name)) {
                ensure(number >= option->min && (option->max == 0 || number <= option->max));
            }
        } else if (option->type == CLI_TEXT) {
            ensure(!cli_is_given(cli, option->name) || cli_text(cli, option->name) != NULL);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *words[WORDS_MAX] = {"shoal"};
    int count = 1;
    char *text = malloc(size + 1);
    ensure(text != NULL);
    memcpy(text, data, size);
    text[size] = '\0';
    for (char *at = text; at < text + size && count < WORDS_MAX; at += strlen(at) + 1) {
        at[strcspn(at, "\n")] = '\0';
        words[count++] = at;
    }
    struct cli cli;
    char *said = NULL;
    size_t said_len = 0;
    FILE *kept = stderr;
    stderr = open_memstream(&said, &said_len); /* the parser's sentences are for people */
    ensure(stderr != NULL);
    enum status status = cli_parse(count, words, &cli);
    fclose(stderr);
    stderr = kept;
    ensure(status == STATUS_OK || status == STATUS_USAGE);
    if (status == STATUS_OK) {
        ensure(said_len == 0);
        ask(&cli);
    } else {
        ensure(said_len > 1 && said[said_len - 1] == '\n');
    }
    cli_free(&cli);
    free(said);
    free(text);
    return 0;
}
