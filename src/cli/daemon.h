/* daemon.h - what the commands that run daemons (hub, node, up) share. */
#ifndef SHOAL_CLI_DAEMON_H
#define SHOAL_CLI_DAEMON_H

#include "cli/cli.h"

/* Sets up the log from --log-level and --log-json. Says what is wrong. */
STATUS_MUST_CHECK enum status daemon_log_setup(const struct cli *cli);
/* The first line of a file, without white space around it, into ret[size]. Says what is wrong. */
STATUS_MUST_CHECK enum status daemon_read_key(const struct cli *cli, const char *path, char *ret, size_t size);

/* What --name, --slots, --drain, --labels and --offer say of a node. Says what is wrong. */
struct node_options;
STATUS_MUST_CHECK enum status daemon_node_options(const struct cli *cli, struct node_options *ret_options);

/* The data directory that --data names; or hub/ below it, where `shoal up` puts the hub's. */
void daemon_hub_data(const struct cli *cli, char *ret, size_t size);

/* Whether a data directory can be made and written: OK, or says what stands against it (PERMISSION, USAGE, IO). Makes
 * nothing. `ret_exists` tells whether it is there already; NULL when nobody asks. */
STATUS_MUST_CHECK enum status daemon_check_data(const struct cli *cli, const char *dir, bool *ret_exists);
/* The directory itself, or the nearest one above it that is there, into ret[size]; true when it is the directory itself. */
bool daemon_nearest_dir(const char *dir, char *ret, size_t size);
/* Whether an address can be listened on: ADDRESS_IN_USE, PERMISSION, or OK, also for what only the hub can tell. Says
 * nothing. */
STATUS_MUST_CHECK enum status daemon_try_listen(const char *host, uint16_t port);
/* What to do about a hub that could not start, one sentence on standard error; nothing for a status without advice. */
void daemon_advise(const struct cli *cli, enum status status);

#endif
