/* version.c - shoal version. */
#include "base/version.h"

#include <stdio.h>
#include <sys/utsname.h>

#include "cli/cli.h"

enum status cli_version(struct cli *cli)
{
    struct utsname name = {0};
    (void)uname(&name);
    struct buf out;
    buf_init(&out, 4096);
    if (cli->values != NULL && cli_flag(cli, "json")) {
        buf_printf(&out, "{\"version\":\"%s\",\"system\":\"%s\",\"machine\":\"%s\"}\n", SHOAL_VERSION, name.sysname,
                   name.machine);
    } else {
        buf_printf(&out, "shoal %s (%s, %s)\n", SHOAL_VERSION, name.sysname, name.machine);
    }
    enum status status = cli_print(buf_slice(&out));
    buf_free(&out);
    return status;
}
