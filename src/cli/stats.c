/* stats.c - shoal stats: the hub's numbers. */
#include <unistd.h>

#include "cli/client.h"

/* One line for each number; objects inside are written as a prefix. */
static void write_members(struct buf *out, struct json_value object, const char *prefix)
{
    struct slice key, text;
    struct json_value value;
    for (struct json_iter it = json_iter_of(object); json_next(&it, &key, &value);) {
        struct buf name;
        buf_init(&name, 256);
        buf_printf(&name, "%s%s%.*s", prefix, *prefix != '\0' ? "." : "", SLICE_ARG(key));
        if (json_type_of(value) == JSON_OBJECT) {
            write_members(out, value, buf_cstr(&name));
        } else {
            buf_printf(out, "%-32s ", buf_cstr(&name));
            if (json_get_str(value, &text)) {
                buf_append_slice(out, text);
            } else {
                json_print(out, value);
            }
            buf_append_char(out, '\n');
        }
        buf_free(&name);
    }
}

enum status cli_stats(struct cli *cli)
{
    struct client *client = client_new(cli);
    if (client == NULL) {
        return STATUS_USAGE;
    }
    struct client_answer answer;
    enum status status = client_call(client, "GET", "/v1/stats", NULL, (struct slice){NULL, 0}, 0, &answer);
    if (status == STATUS_OK) {
        struct buf out;
        buf_init(&out, 16u << 20);
        if (cli_flag(cli, "json")) {
            json_print(&out, answer.root);
            buf_append_char(&out, '\n');
        } else {
            write_members(&out, answer.root, "");
        }
        status = cli_print(buf_slice(&out));
        buf_free(&out);
    }
    client_free(client);
    return status;
}
