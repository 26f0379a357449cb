/* tail.c - shoal tail: state changes as they happen, of one task or of the newest tasks of a queue.
 *
 * The hub is asked again and again; what changed since the last answer is printed. One task is asked with wait_ms, so that
 * its end shows at once; a list every half second. A hub that goes away is waited for. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/limits.h"
#include "cli/task_text.h"

#define POLL_MS 500
#define SEEN_MAX                                                                                                       \
    4096 /* tasks remembered: four pages of the newest, so that one falls out long after it left the page */

struct seen {
    char id[16];
    uint64_t facts; /* hash of what is shown of it */
};

struct tail {
    const struct cli *cli;
    struct client *client;
    struct seen *seen; /* ring */
    uint32_t seen_count, seen_next;
    struct buf out;
    bool is_json;
    bool is_away;
};

static uint64_t facts_of(struct json_value task)
{
    struct json_value progress;
    int64_t permille = json_member(task, "progress", &progress) ? client_i64(progress, "permille", 0) : 0;
    int64_t numbers[2] = {client_i64(task, "attempts", 0), permille};
    return hash64(client_str(task, "state"), hash64(slice_of(numbers, sizeof(numbers)), 0));
}

/* Whether what is shown of the task is new; remembers it. */
static bool note_change(struct tail *tail, struct json_value task)
{
    struct slice id = client_str(task, "id");
    uint64_t facts = facts_of(task);
    for (uint32_t i = 0; i < tail->seen_count; i++) {
        struct seen *seen = &tail->seen[i];
        if (!slice_equal_str(id, seen->id)) {
            continue;
        }
        bool is_new = seen->facts != facts;
        seen->facts = facts;
        return is_new;
    }
    struct seen *seen = &tail->seen[tail->seen_next];
    snprintf(seen->id, sizeof(seen->id), "%.*s", SLICE_ARG(id));
    seen->facts = facts;
    tail->seen_next = (tail->seen_next + 1) % SEEN_MAX;
    if (tail->seen_count < SEEN_MAX) {
        tail->seen_count++;
    }
    return true;
}

static void write_change(struct tail *tail, struct json_value task)
{
    if (tail->is_json) {
        json_print(&tail->out, task);
        buf_append_char(&tail->out, '\n');
        return;
    }
    size_t begin = tail->out.len;
    time_t now = time(NULL);
    struct tm local;
    char clock_text[16];
    localtime_r(&now, &local);
    strftime(clock_text, sizeof(clock_text), "%H:%M:%S", &local);
    struct slice state = client_str(task, "state");
    buf_printf(&tail->out, "%s  %.*s  %s%-9.*s%s  %.*s", clock_text, SLICE_ARG(client_str(task, "id")),
               cli_state_color(state), SLICE_ARG(state), PAINT_PLAIN, SLICE_ARG(client_str(task, "kind")));
    struct json_value value;
    if (json_member(task, "lease", &value) && json_type_of(value) == JSON_OBJECT) {
        buf_printf(&tail->out, "  on %.*s", SLICE_ARG(client_str(value, "node")));
    }
    if (!task_is_final(state) && json_member(task, "progress", &value) && json_type_of(value) == JSON_OBJECT) {
        buf_printf(&tail->out, "  %" PRId64 " %% %.*s", client_i64(value, "permille", 0) / 10,
                   SLICE_ARG(client_str(value, "note")));
    }
    if (json_member(task, "error", &value) && json_type_of(value) == JSON_OBJECT) {
        buf_printf(&tail->out, "  %.*s: %.*s", SLICE_ARG(client_str(value, "kind")),
                   SLICE_ARG(client_str(value, "message")));
    }
    paint_end_line(&tail->out, begin);
}

static void pause_ms(int64_t ms)
{
    struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * NS_PER_MS};
    nanosleep(&time, NULL);
}

/* AGAIN when the hub is away (said once), OK, or a failure that has been told. */
static enum status ask(struct tail *tail, const char *path, int64_t wait_ms, struct client_answer *ret_answer)
{
    enum status status = client_try(tail->client, "GET", path, NULL, (struct slice){NULL, 0}, wait_ms, ret_answer);
    if (status == STATUS_UNREACHABLE || status == STATUS_NOT_READY || status == STATUS_TIMEOUT) {
        if (!tail->is_away) {
            cli_say("shoal tail: the hub at %s is away; waiting for it.\n", client_hub(tail->client));
        }
        tail->is_away = true;
        pause_ms(POLL_MS);
        return STATUS_AGAIN;
    }
    tail->is_away = false;
    if (status != STATUS_OK) {
        client_tell(tail->client);
    }
    return status;
}

static enum status flush(struct tail *tail)
{
    enum status status = tail->out.len > 0 ? cli_print(buf_slice(&tail->out)) : STATUS_OK;
    buf_reset(&tail->out);
    return status;
}

static enum status follow_task(struct tail *tail, const char *id)
{
    char path[128];
    snprintf(path, sizeof(path), "/v1/tasks/%s?wait_ms=%d", id, POLL_MS);
    for (bool is_first = true;; is_first = false) {
        struct client_answer answer;
        char first[128];
        snprintf(first, sizeof(first), "/v1/tasks/%s", id);
        enum status status = ask(tail, is_first ? first : path, is_first ? 0 : POLL_MS, &answer);
        if (status == STATUS_AGAIN) {
            continue;
        }
        if (status != STATUS_OK) {
            return status;
        }
        if (note_change(tail, answer.root)) {
            write_change(tail, answer.root);
        }
        status = flush(tail);
        if (status != STATUS_OK) {
            return status;
        }
        if (task_is_final(client_str(answer.root, "state"))) {
            return task_outcome(answer.root);
        }
    }
}

static enum status follow_list(struct tail *tail)
{
    struct buf path;
    buf_init(&path, 4096);
    buf_printf(&path, "/v1/tasks?limit=%d", LIMIT_PAGE_MAX);
    static const char *const filters[] = {"queue", "kind"};
    for (size_t i = 0; i < 2; i++) {
        if (cli_text(tail->cli, filters[i]) == NULL) {
            continue;
        }
        buf_printf(&path, "&%s=", filters[i]);
        client_escape(&path, slice_str(cli_text(tail->cli, filters[i])));
    }
    enum status status = STATUS_OK;
    for (bool is_first = true; status == STATUS_OK || status == STATUS_AGAIN;) {
        struct client_answer answer;
        status = ask(tail, buf_cstr(&path), 0, &answer);
        if (status != STATUS_OK) {
            continue;
        }
        struct json_value items, item;
        struct slice key;
        struct json_value changed[LIMIT_PAGE_MAX];
        uint32_t count = 0;
        if (json_member(answer.root, "items", &items)) {
            for (struct json_iter it = json_iter_of(items); json_next(&it, &key, &item) && count < LIMIT_PAGE_MAX;) {
                /* What was over before we came is no change. */
                if (note_change(tail, item) && !(is_first && task_is_final(client_str(item, "state")))) {
                    changed[count++] = item;
                }
            }
        }
        while (count > 0) { /* oldest first, as they happened */
            write_change(tail, changed[--count]);
        }
        status = flush(tail);
        is_first = false;
        pause_ms(POLL_MS);
    }
    buf_free(&path);
    return status;
}

enum status cli_tail(struct cli *cli)
{
    enum status status = cli->arg_count > 0 ? task_check_id(cli, cli->args[0]) : STATUS_OK;
    if (status != STATUS_OK) {
        return status;
    }
    struct tail tail = {.cli = cli,
                        .client = client_new(cli),
                        .seen = calloc(SEEN_MAX, sizeof(struct seen)),
                        .is_json = cli_flag(cli, "json")};
    buf_init(&tail.out, 64u << 20);
    if (tail.client == NULL || tail.seen == NULL) {
        status = STATUS_USAGE;
    } else {
        status = cli->arg_count > 0 ? follow_task(&tail, cli->args[0]) : follow_list(&tail);
    }
    client_free(tail.client);
    free(tail.seen);
    buf_free(&tail.out);
    return status;
}
