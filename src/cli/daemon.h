/* daemon.h - what the commands that run daemons (hub, node, up) share. */
#ifndef SHOAL_CLI_DAEMON_H
#define SHOAL_CLI_DAEMON_H

#include "cli/cli.h"

/* Sets up the log from --log-level and --log-json. Says what is wrong. */
STATUS_MUST_CHECK enum status daemon_log_setup(const struct cli *cli);
/* The first line of a file, without white space around it, into ret[size]. Says what is wrong. */
STATUS_MUST_CHECK enum status daemon_read_key(const struct cli *cli, const char *path, char *ret, size_t size);

/* The data directory that --data names; or hub/ below it, where `shoal up` puts the hub's. */
void daemon_hub_data(const struct cli *cli, char *ret, size_t size);

#endif
