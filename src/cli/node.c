/* node.c - shoal node: options to node_options, then the node itself. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/limits.h"
#include "cli/daemon.h"
#include "node/launchers.h"
#include "node/node_main.h"

/* A name as the hub takes it: no space and nothing invisible. */
static bool is_name(struct slice text)
{
    if (text.len == 0 || text.len > LIMIT_NAME_SIZE) {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        if ((unsigned char)text.data[i] <= ' ' || text.data[i] == 0x7f) {
            return false;
        }
    }
    return true;
}

/* "a,b=c" into labels; --labels may also be given several times. */
static enum status read_labels(const struct cli *cli, struct node_options *options)
{
    int at = 0;
    const char *list;
    while ((list = cli_list_next(cli, "labels", &at)) != NULL) {
        while (*list != '\0') {
            size_t len = strcspn(list, ",");
            struct slice label = slice_of(list, len);
            if (!is_name(label)) {
                return cli_fail(cli, STATUS_USAGE,
                                "\"%.*s\" is not a label; a label is NAME or NAME=VALUE without spaces",
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

enum status cli_node(struct cli *cli)
{
    static char host_name[LIMIT_NAME_SIZE + 1];
    static char key[128];
    struct node_options options = {.hub_url = cli_text(cli, "hub"),
                                   .name = cli_text(cli, "name"),
                                   .data_dir = cli_text(cli, "data"),
                                   .slots = (uint32_t)cli_number(cli, "slots"),
                                   .drain_ms = cli_number(cli, "drain")};
    enum status status = daemon_log_setup(cli);
    if (status != STATUS_OK) {
        return status;
    }
    if (options.name == NULL) {
        if (gethostname(host_name, sizeof(host_name) - 1) != 0 || host_name[0] == '\0') {
            snprintf(host_name, sizeof(host_name), "node");
        }
        options.name = host_name;
    }
    if (!is_name(slice_str(options.name))) {
        return cli_fail(cli, STATUS_USAGE, "\"%s\" is not a name for a node; it has 1 to %d bytes without spaces",
                        options.name, LIMIT_NAME_SIZE);
    }
    if (options.slots == 0) {
        long online = sysconf(_SC_NPROCESSORS_ONLN);
        options.slots = online < 1 ? 1 : online > 1024 ? 1024 : (uint32_t)online;
    }
    const char *key_file = cli_text(cli, "key-file");
    if (key_file != NULL) {
        status = daemon_read_key(cli, key_file, key, sizeof(key));
        options.key = key;
    }
    if (status == STATUS_OK) {
        status = read_labels(cli, &options);
    }
    if (status == STATUS_OK) {
        status = read_offers(cli, &options);
    }
    return status == STATUS_OK ? node_main(&options) : status;
}
