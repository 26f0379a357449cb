/* nodes.c - shoal nodes: the nodes as a table or one in full; drain and quiet one. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/client.h"

static void write_list(struct buf *out, struct json_value object, const char *name)
{
    struct json_value list, item;
    struct slice key, text;
    if (!json_member(object, name, &list)) {
        return;
    }
    bool is_first = true;
    for (struct json_iter it = json_iter_of(list); json_next(&it, &key, &item); is_first = false) {
        if (!json_get_str(item, &text)) {
            continue;
        }
        if (!is_first) {
            buf_append_char(out, ',');
        }
        buf_append_slice(out, text);
    }
}

static void write_row(struct buf *out, struct json_value node)
{
    size_t begin = out->len;
    struct slice state = client_str(node, "state");
    struct json_value load = {NULL, 0};
    bool has_load = json_member(node, "load", &load) && json_type_of(load) == JSON_OBJECT;
    buf_printf(out, "%-18.*s  %s%-8.*s%s", SLICE_ARG(client_str(node, "name")), cli_state_color(state),
               SLICE_ARG(state), PAINT_PLAIN);
    buf_printf(out, "  %7" PRId64 "  %4" PRId64 "  %9" PRId64 "  %6" PRId64 "  %5" PRId64,
               client_i64(node, "leases", 0), client_i64(node, "credit", 0), client_i64(node, "succeeded", 0),
               client_i64(node, "failed", 0), client_i64(node, "lost", 0));
    if (has_load) {
        buf_printf(out, "  %3" PRId64 " %%", client_i64(load, "cpu_permille", 0) / 10);
    } else {
        buf_append_str(out, "      ");
    }
    buf_append_str(out, "  ");
    write_list(out, node, "kinds");
    if (client_bool(node, "draining")) {
        buf_append_str(out, " (draining)");
    }
    if (client_bool(node, "quiet")) {
        buf_append_str(out, " (quiet)");
    }
    paint_end_line(out, begin);
}

static void write_node(struct buf *out, struct json_value node)
{
    struct slice state = client_str(node, "state");
    buf_printf(out, "%-10s %.*s\n", "node", SLICE_ARG(client_str(node, "name")));
    buf_printf(out, "%-10s %s%.*s%s%s%s\n", "state", cli_state_color(state), SLICE_ARG(state), PAINT_PLAIN,
               client_bool(node, "draining") ? ", draining" : "", client_bool(node, "quiet") ? ", quiet" : "");
    buf_printf(out, "%-10s %.*s\n%-10s %.*s\n", "since", SLICE_ARG(client_str(node, "since")), "joined",
               SLICE_ARG(client_str(node, "joined_at")));
    static const char *const lists[] = {"kinds", "labels"};
    for (size_t i = 0; i < 2; i++) {
        size_t begin = out->len;
        buf_printf(out, "%-10s ", lists[i]);
        write_list(out, node, lists[i]);
        paint_end_line(out, begin);
    }
    buf_printf(out, "%-10s %" PRId64 " running, %" PRId64 " free\n", "slots", client_i64(node, "leases", 0),
               client_i64(node, "credit", 0));
    buf_printf(out, "%-10s %" PRId64 " succeeded, %" PRId64 " failed, %" PRId64 " lost\n", "attempts",
               client_i64(node, "succeeded", 0), client_i64(node, "failed", 0), client_i64(node, "lost", 0));
    struct json_value info, value;
    struct slice key;
    if (json_member(node, "info", &info)) {
        for (struct json_iter it = json_iter_of(info); json_next(&it, &key, &value);) {
            struct slice text;
            size_t begin = out->len;
            buf_printf(out, "%-10.*s ", SLICE_ARG(key));
            if (json_get_str(value, &text)) {
                buf_append_slice(out, text);
            } else {
                json_print(out, value);
            }
            paint_end_line(out, begin);
        }
    }
}

static enum status show_all(const struct cli *cli, struct client *client)
{
    return client_list(
        client, &(struct client_list){
                    .path = "/v1/nodes",
                    .wanted = UINT64_MAX,
                    .is_json = cli_flag(cli, "json"),
                    .header = "NODE                STATE     RUNNING  FREE  SUCCEEDED  FAILED   LOST    CPU  KINDS\n",
                    .none = "No node has joined yet; start one with: shoal node\n",
                    .write_row = write_row});
}

/* One node, as it is after what `verb` did to it. */
static enum status show_one(const struct cli *cli, struct client *client, const char *verb, const char *name)
{
    struct client_answer answer;
    enum status status = client_call_thing(client, "/v1/nodes", verb, name, &answer);
    if (status != STATUS_OK) {
        return status;
    }
    struct buf out;
    buf_init(&out, 1u << 20);
    if (verb != NULL && strcmp(verb, "rm") == 0) {
        buf_printf(&out, cli_flag(cli, "json") ? "{}\n" : "%s is forgotten.\n", name);
    } else if (cli_flag(cli, "json")) {
        json_print(&out, answer.root);
        buf_append_char(&out, '\n');
    } else {
        write_node(&out, answer.root);
    }
    status = cli_print(buf_slice(&out));
    buf_free(&out);
    return status;
}

enum status cli_nodes(struct cli *cli)
{
    static const char *const verbs[] = {"drain", "undrain", "quiet", "unquiet", "rm", NULL};
    const char *verb, *name;
    enum status status =
        cli_verb(cli, "a node", verbs, "there are drain, undrain, quiet, unquiet and rm", &verb, &name);
    if (status != STATUS_OK) {
        return status;
    }
    struct client *client = client_new(cli);
    if (client == NULL) {
        return STATUS_USAGE;
    }
    status = name != NULL ? show_one(cli, client, verb, name) : show_all(cli, client);
    client_free(client);
    return status;
}
