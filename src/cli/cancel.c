/* cancel.c - shoal cancel, shoal retry and shoal rm: one verb on one or more tasks. */
#include <stdio.h>

#include "cli/task_text.h"

/* `verb` NULL deletes. */
static enum status act(struct cli *cli, const char *verb, const char *reason)
{
    struct client *client = client_new(cli);
    if (client == NULL) {
        return STATUS_USAGE;
    }
    struct buf body, out;
    buf_init(&body, 65536);
    buf_init(&out, 65536);
    buf_append_char(&body, '{');
    if (reason != NULL) {
        buf_append_str(&body, "\"reason\":");
        json_write_str(&body, slice_str(reason));
    }
    buf_append_char(&body, '}');
    enum status status = STATUS_OK;
    for (int i = 0; i < cli->arg_count; i++) {
        enum status one = task_check_id(cli, cli->args[i]);
        struct client_answer answer;
        char path[128];
        bool is_removal = verb == NULL;
        snprintf(path, sizeof(path), "/v1/tasks/%s%s%s", cli->args[i], is_removal ? "" : ":", is_removal ? "" : verb);
        if (one == STATUS_OK) {
            one = is_removal ? client_call(client, "DELETE", path, NULL, (struct slice){NULL, 0}, 0, &answer)
                             : client_call(client, "POST", path, "application/json", buf_slice(&body), 0, &answer);
        }
        if (one == STATUS_OK) {
            buf_reset(&out);
            if (cli_flag(cli, "json")) {
                json_print(&out, answer.root);
            } else {
                buf_printf(&out, "%.*s  %.*s", SLICE_ARG(client_str(answer.root, "id")),
                           SLICE_ARG(is_removal ? SLICE("deleted") : client_str(answer.root, "state")));
            }
            paint_end_line(&out, 0);
            one = cli_print(buf_slice(&out));
        }
        if (status == STATUS_OK) {
            status = one; /* the first failure is the exit code; the others are tried all the same */
        }
    }
    buf_free(&body);
    buf_free(&out);
    client_free(client);
    return status;
}

enum status cli_cancel(struct cli *cli)
{
    return act(cli, "cancel", cli_text(cli, "reason"));
}

enum status cli_retry(struct cli *cli)
{
    return act(cli, "retry", NULL);
}

enum status cli_rm(struct cli *cli)
{
    return act(cli, NULL, NULL);
}
