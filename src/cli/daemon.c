/* daemon.c - what the commands that run daemons share. */
#include "cli/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/key_file.h"
#include "base/log.h"

enum status daemon_log_setup(const struct cli *cli)
{
    enum log_level level;
    const char *word = cli_text(cli, "log-level");
    if (!log_level_from_text(word, &level)) {
        return cli_fail(cli, STATUS_USAGE, "--log-level must be debug, info, warn or error, not \"%s\"", word);
    }
    log_setup(level, cli_flag(cli, "log-json"));
    return STATUS_OK;
}

enum status daemon_read_key(const struct cli *cli, const char *path, char *ret, size_t size)
{
    struct buf why;
    buf_init(&why, 4096);
    enum status status = key_file_read(path, ret, size, &why);
    if (status != STATUS_OK) {
        status = cli_fail(cli, status, "%s", buf_cstr(&why));
    }
    buf_free(&why);
    return status;
}

void daemon_hub_data(const struct cli *cli, char *ret, size_t size)
{
    const char *dir = cli_text(cli, "data");
    char journal[4200];
    snprintf(journal, sizeof(journal), "%s/journal", dir);
    bool is_own = access(journal, F_OK) == 0;
    snprintf(journal, sizeof(journal), "%s/hub/journal", dir);
    bool is_below = access(journal, F_OK) == 0;
    snprintf(ret, size, "%s%s", dir, !is_own && is_below ? "/hub" : "");
}

bool daemon_nearest_dir(const char *dir, char *ret, size_t size)
{
    struct stat facts;
    snprintf(ret, size, "%s", dir);
    bool is_itself = true;
    while (stat(ret, &facts) != 0 && errno == ENOENT) {
        is_itself = false;
        size_t len = strlen(ret);
        while (len > 1 && ret[len - 1] == '/') {
            len--;
        }
        while (len > 0 && ret[len - 1] != '/') {
            len--;
        }
        while (len > 1 && ret[len - 1] == '/') {
            len--;
        }
        if (len == 0) {
            snprintf(ret, size, ".");
            break;
        }
        ret[len] = '\0';
    }
    return is_itself;
}

enum status daemon_check_data(const struct cli *cli, const char *dir, bool *ret_exists)
{
    char nearest[4200];
    struct stat facts;
    bool exists = daemon_nearest_dir(dir, nearest, sizeof(nearest));
    if (ret_exists != NULL) {
        *ret_exists = exists;
    }
    bool is_there = stat(nearest, &facts) == 0;
    if (is_there && !S_ISDIR(facts.st_mode)) {
        return cli_fail(cli, STATUS_USAGE,
                        "the data directory %s cannot be used: %s is a file; name another with --data", dir, nearest);
    }
    if (is_there && faccessat(AT_FDCWD, nearest, W_OK | X_OK, AT_EACCESS) == 0) {
        return STATUS_OK;
    }
    int error = errno;
    return cli_fail(cli, error == EACCES || error == EPERM ? STATUS_PERMISSION : STATUS_IO,
                    "the data directory %s cannot be %s: %s; name another one with --data", dir,
                    exists ? "written" : "made", strerror(error));
}

enum status daemon_try_listen(const char *host, uint16_t port)
{
    char service[8];
    snprintf(service, sizeof(service), "%u", port);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *found = NULL;
    enum status status = STATUS_OK;
    if (port == 0 || getaddrinfo(host, service, &hints, &found) != 0) {
        return STATUS_OK;
    }
    for (struct addrinfo *at = found; at != NULL && status == STATUS_OK; at = at->ai_next) {
        int fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0) {
            continue;
        }
        int on = 1;
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
        if (at->ai_family == AF_INET6) {
            setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
        }
        if (bind(fd, at->ai_addr, at->ai_addrlen) != 0 || listen(fd, 1) != 0) {
            status = errno == EADDRINUSE                 ? STATUS_ADDRESS_IN_USE
                     : errno == EACCES || errno == EPERM ? STATUS_PERMISSION
                                                         : STATUS_OK;
        }
        close(fd);
    }
    freeaddrinfo(found);
    return status;
}

void daemon_advise(const struct cli *cli, enum status status)
{
    const char *advice =
        status == STATUS_ADDRESS_IN_USE
            ? "choose another address with --listen; \"shoal stats\" tells whether it is a hub that runs there"
        : status == STATUS_LOCKED     ? "use the hub that runs there, or name another directory with --data"
        : status == STATUS_PERMISSION ? "ports below 1024 are for root; choose one above 1023 with --listen"
                                      : NULL;
    if (advice != NULL && !cli_flag(cli, "json")) {
        cli_say("shoal %s: %s.\n", cli->command->name, advice);
    }
}
