/* queues.c - shoal queues: the queues as a table; pause, resume, add and forget one. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/client.h"

static void write_row(struct buf *out, struct json_value queue)
{
    struct json_value counts = {NULL, 0}, totals = {NULL, 0};
    bool has_counts = json_member(queue, "counts", &counts);
    bool has_totals = json_member(queue, "totals", &totals);
    bool is_paused = client_bool(queue, "paused");
    int64_t waiting = 0;
    static const char *const waiting_states[] = {"scheduled", "blocked", "ready"};
    for (size_t i = 0; has_counts && i < 3; i++) {
        waiting += client_i64(counts, waiting_states[i], 0);
    }
    buf_printf(out, "%-20.*s  %s%-7s%s  %9" PRId64 "  %8" PRId64 "  %10" PRId64 "  %8" PRId64 "\n",
               SLICE_ARG(client_str(queue, "name")), is_paused ? PAINT_YELLOW : "", is_paused ? "paused" : "open",
               is_paused ? PAINT_PLAIN : "", waiting, has_counts ? client_i64(counts, "leased", 0) : 0,
               has_totals ? client_i64(totals, "succeeded", 0) : 0, has_totals ? client_i64(totals, "dead", 0) : 0);
}

#define HEADER "QUEUE                 STATE      WAITING   RUNNING   SUCCEEDED      DEAD\n"

static enum status show_all(const struct cli *cli, struct client *client)
{
    return client_list(client, &(struct client_list){.path = "/v1/queues",
                                                     .wanted = UINT64_MAX,
                                                     .is_json = cli_flag(cli, "json"),
                                                     .header = HEADER,
                                                     .write_row = write_row});
}

/* One queue, as it is after what `verb` did to it. */
static enum status show_one(const struct cli *cli, struct client *client, const char *verb, const char *name)
{
    struct client_answer answer;
    enum status status = client_call_thing(client, "/v1/queues", verb, name, &answer);
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
        buf_append_str(&out, HEADER);
        write_row(&out, answer.root);
    }
    status = cli_print(buf_slice(&out));
    buf_free(&out);
    return status;
}

enum status cli_queues(struct cli *cli)
{
    static const char *const verbs[] = {"pause", "resume", "add", "rm", NULL};
    const char *verb, *name;
    enum status status = cli_verb(cli, "a queue", verbs, "there are pause, resume, add and rm", &verb, &name);
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
