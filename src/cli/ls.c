/* ls.c - shoal ls: tasks as a table, newest first. */
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/limits.h"
#include "cli/task_text.h"
#include "core/effect.h"

static void add_filter(struct buf *path, const struct cli *cli, const char *name)
{
    const char *value = cli_text(cli, name);
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

enum status cli_ls(struct cli *cli)
{
    enum status status = check_state(cli);
    if (status != STATUS_OK) {
        return status;
    }
    struct client *client = client_new(cli);
    if (client == NULL) {
        return STATUS_USAGE;
    }
    bool is_all = cli_flag(cli, "all");
    bool is_json = cli_flag(cli, "json");
    int64_t limit = is_all ? LIMIT_PAGE_MAX : cli_number(cli, "limit");
    struct buf out, path, cursor;
    buf_init(&out, 1u << 30);
    buf_init(&path, 8000);
    buf_init(&cursor, 4096);
    buf_append_str(&cursor, cli_text(cli, "cursor") != NULL ? cli_text(cli, "cursor") : "");
    buf_append_str(&out, is_json ? "{\"items\":["
                                 : "ID             STATE      KIND              QUEUE         TRYS       AGE\n");
    uint64_t shown = 0;
    do {
        struct client_answer answer;
        buf_reset(&path);
        buf_printf(&path, "/v1/tasks?limit=%" PRId64, limit);
        add_filter(&path, cli, "state");
        add_filter(&path, cli, "queue");
        add_filter(&path, cli, "kind");
        if (cursor.len > 0) {
            buf_append_str(&path, "&cursor=");
            client_escape(&path, buf_slice(&cursor));
        }
        status = client_call(client, "GET", buf_cstr(&path), NULL, (struct slice){NULL, 0}, 0, &answer);
        if (status != STATUS_OK) {
            break;
        }
        struct json_value items, item;
        struct slice key;
        if (json_member(answer.root, "items", &items)) {
            for (struct json_iter it = json_iter_of(items); json_next(&it, &key, &item); shown++) {
                if (is_json) {
                    if (shown > 0) {
                        buf_append_char(&out, ',');
                    }
                    json_print(&out, item);
                } else {
                    write_row(&out, item);
                }
            }
        }
        buf_reset(&cursor);
        buf_append_slice(&cursor, client_str(answer.root, "next_cursor"));
    } while (is_all && cursor.len > 0);
    if (status == STATUS_OK) {
        if (is_json) {
            buf_append_str(&out, "],\"next_cursor\":");
            if (cursor.len > 0) {
                json_write_str(&out, buf_slice(&cursor));
            } else {
                buf_append_str(&out, "null");
            }
            buf_append_str(&out, "}\n");
        } else if (shown == 0) {
            buf_reset(&out);
            buf_append_str(&out, "There are no such tasks.\n");
        } else if (cursor.len > 0) {
            buf_printf(&out, "… more: --all, or --cursor %s\n", buf_cstr(&cursor));
        }
        status = cli_print(buf_slice(&out));
    }
    buf_free(&out);
    buf_free(&path);
    buf_free(&cursor);
    client_free(client);
    return status;
}
