/* ls.c - shoal ls: tasks as a table, newest or oldest first.
 *
 * A page of the hub may end early; the command goes on until it has what was asked for, or the end. So "no such tasks" is
 * only said when there are none. */
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/timefmt.h"
#include "base/words.h"
#include "cli/task_text.h"
#include "core/effect.h"

static void add_filter(struct buf *path, const struct cli *cli, const char *option, const char *name)
{
    const char *value = cli_text(cli, option);
    if (value == NULL) {
        return;
    }
    buf_printf(path, "&%s=", name);
    client_escape(path, slice_str(value));
}

static void write_row(struct buf *out, struct json_value task)
{
    size_t begin = out->len;
    struct slice state = client_str(task, "state");
    int64_t created_ns = client_time_ns(task, "created_at");
    char age[32];
    cli_duration_text((clock_wall_ns() - created_ns) / NS_PER_MS, age, sizeof(age));
    buf_printf(out, "%-13.*s  %s%-9.*s%s  %-16.*s  %-12.*s  %4" PRId64 "  %8s", SLICE_ARG(client_str(task, "id")),
               cli_state_color(state), SLICE_ARG(state), PAINT_PLAIN, SLICE_ARG(client_str(task, "kind")),
               SLICE_ARG(client_str(task, "queue")), client_i64(task, "attempts", 0), age);
    struct json_value value;
    if (json_member(task, "lease", &value) && json_type_of(value) == JSON_OBJECT) {
        buf_printf(out, "  on %.*s", SLICE_ARG(client_str(value, "node")));
    } else if (json_member(task, "error", &value) && json_type_of(value) == JSON_OBJECT) {
        buf_printf(out, "  %.*s", SLICE_ARG(client_str(value, "kind")));
    }
    paint_end_line(out, begin);
}

static enum status check_state(const struct cli *cli)
{
    const char *names[TASK_STATE_COUNT + 1] = {NULL};
    enum task_state found;
    const char *word = cli_text(cli, "state");
    if (word == NULL || task_state_from_name(slice_str(word), &found)) {
        return STATUS_OK;
    }
    for (int i = 0; i < TASK_STATE_COUNT; i++) {
        names[i] = task_state_name((enum task_state)i);
    }
    const char *nearest = cli_nearest(word, names);
    if (nearest != NULL) {
        return cli_fail(cli, STATUS_USAGE, "--state: there is no state \"%s\"; did you mean \"%s\"?", word, nearest);
    }
    struct buf all;
    buf_init(&all, 1024);
    for (int i = 0; names[i] != NULL; i++) {
        buf_printf(&all, "%s%s", i > 0 ? ", " : "", names[i]);
    }
    enum status status =
        cli_fail(cli, STATUS_USAGE, "--state: there is no state \"%s\"; there are %s", word, buf_cstr(&all));
    buf_free(&all);
    return status;
}

/* --since and --until: a time, or how long ago. */
static enum status add_time(struct buf *path, const struct cli *cli, const char *option, const char *parameter)
{
    const char *text = cli_text(cli, option);
    int64_t ns;
    if (text == NULL) {
        return STATUS_OK;
    }
    if (time_parse(slice_str(text), &ns) != STATUS_OK) {
        int64_t ago_ns;
        if (!words_value(slice_str(text), WORDS_TIME, &ago_ns) || ago_ns > clock_wall_ns()) {
            return cli_fail(cli, STATUS_USAGE, "--%s: a time such as 2026-01-31T12:00:00Z, or how long ago, as 2h",
                            option);
        }
        ns = clock_wall_ns() - ago_ns;
    }
    char time[TIME_TEXT_SIZE];
    time_format(ns, time);
    buf_printf(path, "&%s=%s", parameter, time);
    return STATUS_OK;
}

/* The filters as a query, each with its "&" before. */
static enum status write_filters(struct buf *path, const struct cli *cli)
{
    enum status status = check_state(cli);
    add_filter(path, cli, "state", "state");
    add_filter(path, cli, "queue", "queue");
    add_filter(path, cli, "kind", "kind");
    add_filter(path, cli, "error", "error_kind");
    buf_append_str(path, cli_flag(cli, "oldest") ? "&order=oldest" : "");
    if (status == STATUS_OK) {
        status = add_time(path, cli, "since", "created_after");
    }
    if (status == STATUS_OK) {
        status = add_time(path, cli, "until", "created_before");
    }
    return status;
}

enum status cli_ls(struct cli *cli)
{
    struct buf filters, cursor;
    buf_init(&filters, 8000);
    buf_init(&cursor, 4096);
    struct client *client = NULL;
    enum status status = write_filters(&filters, cli);
    if (status == STATUS_OK) {
        client = client_new(cli);
        status = client != NULL ? STATUS_OK : STATUS_USAGE;
    }
    if (status == STATUS_OK) {
        buf_append_str(&cursor, cli_text(cli, "cursor") != NULL ? cli_text(cli, "cursor") : "");
        struct client_list list = {.path = "/v1/tasks",
                                   .filters = buf_slice(&filters),
                                   .wanted = cli_flag(cli, "all") ? UINT64_MAX : (uint64_t)cli_number(cli, "limit"),
                                   .cursor = &cursor,
                                   .is_json = cli_flag(cli, "json"),
                                   .header =
                                       "ID             STATE      KIND              QUEUE         TRYS       AGE\n",
                                   .none = "There are no such tasks.\n",
                                   .write_row = write_row};
        status = client_list(client, &list);
        if (status == STATUS_OK && cursor.len > 0 && !list.is_json) {
            struct buf more;
            buf_init(&more, 8192);
            buf_printf(&more, "… more: --all, or --cursor %.*s\n", SLICE_ARG(buf_slice(&cursor)));
            status = cli_print(buf_slice(&more));
            buf_free(&more);
        }
    }
    buf_free(&filters);
    buf_free(&cursor);
    if (client != NULL) {
        client_free(client);
    }
    return status;
}
