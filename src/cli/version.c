/* version.c - shoal version. */
#include "base/version.h"

#include <stdio.h>
#include <sys/utsname.h>

#include "cli/cli.h"

enum status cli_version(struct cli *cli)
{
    struct utsname name = {0};
    (void)uname(&name);
    if (cli->values != NULL && cli_flag(cli, "json")) {
        printf("{\"version\":\"%s\",\"system\":\"%s\",\"machine\":\"%s\"}\n", SHOAL_VERSION, name.sysname,
               name.machine);
    } else {
        printf("shoal %s (%s, %s)\n", SHOAL_VERSION, name.sysname, name.machine);
    }
    return STATUS_OK;
}
