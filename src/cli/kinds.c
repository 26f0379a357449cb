/* kinds.c - shoal kinds: the kinds that are known; add and forget one. */
#include <stdio.h>
#include <string.h>

#include "cli/client.h"

static void write_row(struct buf *out, struct json_value kind)
{
    buf_printf(out, "%.*s\n", SLICE_ARG(client_str(kind, "name")));
}

static enum status change_one(const struct cli *cli, struct client *client, const char *verb, const char *name)
{
    struct client_answer answer;
    enum status status = client_call_thing(client, "/v1/kinds", verb, name, &answer);
    if (status != STATUS_OK) {
        return status;
    }
    struct buf out;
    buf_init(&out, 65536);
    bool is_rm = strcmp(verb, "rm") == 0;
    buf_printf(&out, cli_flag(cli, "json") ? "{}\n" : is_rm ? "%s is forgotten.\n" : "%s is known.\n", name);
    status = cli_print(buf_slice(&out));
    buf_free(&out);
    return status;
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
    status = verb != NULL ? change_one(cli, client, verb, name)
                          : client_list(client, &(struct client_list){.path = "/v1/kinds",
                                                                      .wanted = UINT64_MAX,
                                                                      .is_json = cli_flag(cli, "json"),
                                                                      .header = "",
                                                                      .write_row = write_row});
    client_free(client);
    return status;
}
