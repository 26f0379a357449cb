/* kinds.c - shoal kinds: the kinds that are known; add and forget one. */
#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "cli/client.h"

/* All of them, a page behind the other. */
static enum status list(struct cli *cli, struct client *client, struct buf *out)
{
    char path[96], cursor[40] = "";
    bool has_more = true, is_first = true, is_json = cli_flag(cli, "json");
    buf_append_str(out, is_json ? "{\"items\":[" : "");
    while (has_more) {
        struct client_answer answer;
        snprintf(path, sizeof(path), "/v1/kinds?limit=%d%s%s", LIMIT_PAGE_MAX, cursor[0] != '\0' ? "&cursor=" : "",
                 cursor);
        enum status status = client_call(client, "GET", path, NULL, (struct slice){NULL, 0}, 0, &answer);
        if (status != STATUS_OK) {
            return status;
        }
        struct json_value items, item;
        struct slice key;
        if (json_member(answer.root, "items", &items)) {
            for (struct json_iter it = json_iter_of(items); json_next(&it, &key, &item); is_first = false) {
                if (is_json) {
                    buf_append_str(out, is_first ? "" : ",");
                    json_print(out, item);
                } else {
                    buf_printf(out, "%.*s\n", SLICE_ARG(client_str(item, "name")));
                }
            }
        }
        struct slice next = client_str(answer.root, "next_cursor");
        has_more = next.len > 0 && next.len < sizeof(cursor);
        snprintf(cursor, sizeof(cursor), "%.*s", SLICE_ARG(next));
    }
    buf_append_str(out, is_json ? "]}\n" : "");
    return STATUS_OK;
}

enum status cli_kinds(struct cli *cli)
{
    static const char *const verbs[] = {"add", "rm", NULL};
    const char *verb, *name;
    enum status status = cli_verb(cli, "a kind", verbs, "there are add and rm", &verb, &name);
    if (status != STATUS_OK) {
        return status;
    }
    if (name != NULL && verb == NULL) {
        return cli_fail(cli, STATUS_USAGE, "what is to become of it? shoal kinds add %s, shoal kinds rm %s", name,
                        name);
    }
    struct client *client = client_new(cli);
    if (client == NULL) {
        return STATUS_USAGE;
    }
    struct buf out;
    buf_init(&out, 64u << 20);
    if (verb == NULL) {
        status = list(cli, client, &out);
    } else {
        struct client_answer answer;
        status = client_call_thing(client, "/v1/kinds", "", verb, name, &answer);
        bool is_rm = strcmp(verb, "rm") == 0;
        buf_printf(&out, cli_flag(cli, "json") ? "{}\n" : is_rm ? "%s is forgotten.\n" : "%s is known.\n", name);
    }
    if (status == STATUS_OK) {
        status = cli_print(buf_slice(&out));
    }
    buf_free(&out);
    client_free(client);
    return status;
}
