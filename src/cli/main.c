/* main.c - the `shoal` command: parses the command line and runs one subcommand. */
#include <signal.h>

#include "cli/cli.h"

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN); /* a reader that goes away, as in `shoal ls | head`, is no error */
    struct cli cli;
    enum status status = cli_parse(argc, (const char *const *)argv, &cli);
    if (status == STATUS_OK && cli.values != NULL && cli_flag(&cli, "help")) {
        struct buf help;
        buf_init(&help, 1u << 20);
        cli_help_command(&help, cli.command, cli_columns());
        status = cli_print(buf_slice(&help));
        buf_free(&help);
    } else if (status == STATUS_OK) {
        status = cli.command->run(&cli);
    }
    cli_free(&cli);
    return status_exit(status);
}
