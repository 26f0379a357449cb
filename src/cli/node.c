/* node.c - shoal node: options to node_options, then the node itself. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/limits.h"
#include "cli/daemon.h"
#include "node/launchers.h"
#include "node/node_main.h"
#include "proto/name.h"

/* "a,b=c" into labels; --labels may also be given several times. */
static enum status read_labels(const struct cli *cli, struct node_options *options)
{
    int at = 0;
    const char *list;
    while ((list = cli_list_next(cli, "labels", &at)) != NULL) {
        while (*list != '\0') {
            size_t len = strcspn(list, ",");
            struct slice label = slice_of(list, len);
            if (!label_is_valid(label)) {
                return cli_fail(cli, STATUS_USAGE,
                                "\"%.*s\" is not a label; a label is NAME or NAME=VALUE of at most 128 bytes",
                                SLICE_ARG(label));
            }
            if (options->label_count == LIMIT_LABELS) {
                return cli_fail(cli, STATUS_USAGE, "a node has at most %d labels", LIMIT_LABELS);
            }
            options->labels[options->label_count++] = label;
            list += len + (list[len] == ',');
        }
    }
    return STATUS_OK;
}

static enum status read_offers(const struct cli *cli, struct node_options *options)
{
    int at = 0;
    const char *kind;
    while ((kind = cli_list_next(cli, "offer", &at)) != NULL) {
        if (launcher_find(slice_str(kind)) == NULL) {
            const char *names[LIMIT_KINDS_PER_NODE + 1] = {NULL};
            for (size_t i = 0; i < LIMIT_KINDS_PER_NODE && launchers[i] != NULL; i++) {
                names[i] = launchers[i]->kind;
            }
            const char *nearest = cli_nearest(kind, names);
            return cli_fail(cli, STATUS_USAGE, "this build has no kind \"%s\"%s%s%s", kind,
                            nearest != NULL ? "; did you mean \"" : "", nearest != NULL ? nearest : "",
                            nearest != NULL ? "\"?" : "");
        }
        if (options->offer_count == LIMIT_KINDS_PER_NODE) {
            return cli_fail(cli, STATUS_USAGE, "a node offers at most %d kinds", LIMIT_KINDS_PER_NODE);
        }
        options->offers[options->offer_count++] = kind;
    }
    return STATUS_OK;
}

enum status daemon_node_options(const struct cli *cli, struct node_options *ret_options)
{
    struct node_options *options = ret_options;
    *options = (struct node_options){.name = cli_text(cli, "name"),
                                     .slots = (uint32_t)cli_number(cli, "slots"),
                                     .drain_ms = cli_number(cli, "drain")};
    if (options->name != NULL && !name_is_valid(slice_str(options->name))) {
        return cli_fail(cli, STATUS_USAGE, "\"%s\" does not name a node; it takes " NAME_RULE, options->name);
    }
    if (options->slots == 0) {
        long online = sysconf(_SC_NPROCESSORS_ONLN);
        options->slots = online < 1 ? 1 : online > 1024 ? 1024 : (uint32_t)online;
    }
    enum status status = read_labels(cli, options);
    return status == STATUS_OK ? read_offers(cli, options) : status;
}

enum status cli_node(struct cli *cli)
{
    static char key[128];
    struct node_options options;
    enum status status = daemon_log_setup(cli);
    if (status == STATUS_OK) {
        status = daemon_node_options(cli, &options);
    }
    if (status != STATUS_OK) {
        return status;
    }
    options.hub_url = cli_text(cli, "hub");
    options.data_dir = cli_text(cli, "data");
    const char *key_file = cli_text(cli, cli_text(cli, "key-file") != NULL ? "key-file" : "api-key-file");
    if (key_file != NULL) {
        status = daemon_read_key(cli, key_file, key, sizeof(key));
        options.key = key;
    }
    return status == STATUS_OK ? node_main(&options) : status;
}
