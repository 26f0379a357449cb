/* get.c - shoal get: one task, now or when it is finished. */
#include <stdio.h>
#include <unistd.h>

#include "cli/task_text.h"

enum status cli_get(struct cli *cli)
{
    const char *id = cli->args[0];
    enum status status = task_check_id(cli, id);
    if (status != STATUS_OK) {
        return status;
    }
    struct client *client = client_new(cli);
    if (client == NULL) {
        return STATUS_USAGE;
    }
    struct client_answer answer;
    bool is_wait = cli_flag(cli, "wait") || cli_is_given(cli, "wait-for");
    char path[128];
    snprintf(path, sizeof(path), "/v1/tasks/%s%s", id, cli_flag(cli, "attempts") ? "/attempts" : "");
    if (is_wait) {
        status = task_wait(cli, client, id, cli_number(cli, "wait-for"), &answer);
    }
    if (status == STATUS_OK && (!is_wait || cli_flag(cli, "attempts"))) {
        status = client_call(client, "GET", path, NULL, (struct slice){NULL, 0}, 0, &answer);
    }
    if (status == STATUS_OK && cli_flag(cli, "result") && !cli_flag(cli, "json") && !cli_flag(cli, "attempts")) {
        status = task_print_result(client, answer.root);
        if (status == STATUS_OK) {
            status = task_outcome(answer.root);
        }
        if (status == STATUS_AGAIN) {
            status = cli_fail(cli, STATUS_CONFLICT, "the task is not finished yet");
        }
    } else if (status == STATUS_OK) {
        struct buf out;
        buf_init(&out, 64u << 20);
        if (cli_flag(cli, "json")) {
            json_print(&out, answer.root);
            buf_append_char(&out, '\n');
        } else if (cli_flag(cli, "attempts")) {
            struct json_value items, item;
            struct slice key;
            buf_append_str(&out, "ATTEMPT  OUTCOME     NODE              STARTED                   ENDED\n");
            if (json_member(answer.root, "items", &items)) {
                for (struct json_iter it = json_iter_of(items); json_next(&it, &key, &item);) {
                    size_t begin = out.len;
                    buf_printf(&out, "%-7lld  %-10.*s  %-16.*s  %-24.*s  %.*s",
                               (long long)client_i64(item, "attempt", 0), SLICE_ARG(client_str(item, "outcome")),
                               SLICE_ARG(client_str(item, "node")), SLICE_ARG(client_str(item, "started_at")),
                               SLICE_ARG(client_str(item, "ended_at")));
                    paint_end_line(&out, begin);
                }
            }
        } else {
            task_write(&out, answer.root);
        }
        status = cli_print(buf_slice(&out));
        buf_free(&out);
        if (status == STATUS_OK && is_wait && !cli_flag(cli, "attempts")) {
            status = task_outcome(answer.root);
        }
    }
    client_free(client);
    return status;
}
