/* daemon.c - what the commands that run daemons share. */
#include "cli/daemon.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

enum status daemon_log_setup(const struct cli *cli)
{
    enum log_level level;
    const char *word = cli_text(cli, "log-level");
    if (!log_level_from_text(word, &level))
        return cli_fail(cli, STATUS_USAGE, "--log-level must be debug, info, warn or error, not \"%s\"", word);
    log_setup(level, cli_flag(cli, "log-json"));
    return STATUS_OK;
}

enum status daemon_read_key(const struct cli *cli, const char *path, char *ret, size_t size)
{
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return cli_fail(cli, STATUS_CONFIG, "cannot read the key file %s: %s", path, strerror(errno));
    char line[512] = "";
    bool has_line = fgets(line, sizeof line, file) != NULL;
    fclose(file);
    size_t len = strcspn(line, "\r\n");
    while (len > 0 && (line[len - 1] == ' ' || line[len - 1] == '\t'))
        len--;
    size_t begin = strspn(line, " \t");
    if (!has_line || begin >= len)
        return cli_fail(cli, STATUS_CONFIG, "the first line of the key file %s is empty", path);
    if (len - begin >= size)
        return cli_fail(cli, STATUS_CONFIG, "the key in %s is longer than %zu bytes", path, size - 1);
    memcpy(ret, line + begin, len - begin);
    ret[len - begin] = '\0';
    return STATUS_OK;
}

void daemon_hub_data(const struct cli *cli, char *ret, size_t size)
{
    const char *dir = cli_text(cli, "data");
    char journal[4200];
    snprintf(journal, sizeof journal, "%s/journal", dir);
    bool is_own = access(journal, F_OK) == 0;
    snprintf(journal, sizeof journal, "%s/hub/journal", dir);
    bool is_below = access(journal, F_OK) == 0;
    snprintf(ret, size, "%s%s", dir, !is_own && is_below ? "/hub" : "");
}
