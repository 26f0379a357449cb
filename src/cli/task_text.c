/* task_text.c - a task as text for people, and as an exit code. */
#include "cli/task_text.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/base32.h"
#include "base/base64.h"
#include "base/clock.h"
#include "base/limits.h"

#define STEP_WAIT_MS 20000    /* one GET waits so long */
#define STEP_WAIT_LIVE_MS 500 /* when a progress line is to move */
#define RECONNECT_MS 30000    /* how long a hub may be away */
#define RECONNECT_PAUSE_MS 300
#define WAIT_GRACE_MS 250 /* for an answer that is on its way when the wait ends */
#define LABEL_COLUMNS 11  /* of task_write, with the blank behind a label */

bool task_is_final(struct slice state)
{
    return slice_equal_str(state, "succeeded") || slice_equal_str(state, "dead") ||
           slice_equal_str(state, "cancelled") || slice_equal_str(state, "expired");
}

/* The verdict of a code.run task, "" for other tasks and without a result. */
static struct slice verdict_of(struct json_value task)
{
    struct json_value result;
    if (!slice_equal_str(client_str(task, "kind"), "code.run") || !json_member(task, "result", &result)) {
        return (struct slice){NULL, 0};
    }
    return client_str(result, "verdict");
}

enum status task_outcome(struct json_value task)
{
    struct slice state = client_str(task, "state");
    struct slice verdict = verdict_of(task);
    if (slice_equal_str(state, "succeeded")) {
        return verdict.len == 0 || slice_equal_str(verdict, "OK") ? STATUS_OK : STATUS_FAILED;
    }
    if (slice_equal_str(state, "cancelled")) {
        return STATUS_CANCELLED;
    }
    if (slice_equal_str(state, "expired")) {
        return STATUS_TIMEOUT;
    }
    return slice_equal_str(state, "dead") ? STATUS_FAILED : STATUS_AGAIN;
}

enum status task_check_id(const struct cli *cli, const char *id)
{
    uint64_t number;
    if (base32_parse(slice_str(id), &number)) {
        return STATUS_OK;
    }
    return cli_fail(cli, STATUS_USAGE, "\"%s\" is not a task id; an id has 13 letters and digits", id);
}

static void write_ago(struct buf *out, const char *label, struct json_value task, const char *name)
{
    int64_t at_ns = client_time_ns(task, name);
    if (at_ns == 0) {
        return;
    }
    int64_t ms = (clock_wall_ns() - at_ns) / NS_PER_MS;
    char text[32];
    cli_duration_text(ms < 0 ? -ms : ms, text, sizeof(text));
    buf_printf(out, "%-10s %.*s  (%s%s%s)\n", label, SLICE_ARG(client_str(task, name)), ms < 0 ? "in " : "", text,
               ms < 0 ? "" : " ago");
}

static void write_json_member(struct buf *out, const char *label, struct json_value task, const char *name)
{
    struct json_value value;
    if (!json_member(task, name, &value) || json_type_of(value) == JSON_NULL) {
        return;
    }
    buf_printf(out, "%-10s ", label);
    size_t begin = out->len;
    json_print(out, value);
    if (out->len - begin > 2000) {
        out->len = begin + 2000;
        while (out->len > begin && ((unsigned char)out->data[out->len] & 0xC0) == 0x80) {
            out->len--;
        }
        buf_append_str(out, "… (--json shows all)");
    }
    buf_append_char(out, '\n');
}

static void write_error(struct buf *out, const char *label, struct json_value task, const char *name)
{
    struct json_value error;
    if (!json_member(task, name, &error) || json_type_of(error) != JSON_OBJECT) {
        return;
    }
    buf_printf(out, "%-10s %.*s: ", label, SLICE_ARG(client_str(error, "kind")));
    cli_write_indented(out, client_str(error, "message"), LABEL_COLUMNS);
    buf_append_char(out, '\n');
    write_json_member(out, "detail", error, "detail");
}

void task_write(struct buf *out, struct json_value task)
{
    struct slice state = client_str(task, "state");
    buf_printf(out, "%-10s %.*s\n", "task", SLICE_ARG(client_str(task, "id")));
    buf_printf(out, "%-10s %s%.*s%s\n", "state", cli_state_color(state), SLICE_ARG(state), PAINT_PLAIN);
    buf_printf(out, "%-10s %.*s, queue %.*s, priority %" PRId64 "\n", "kind", SLICE_ARG(client_str(task, "kind")),
               SLICE_ARG(client_str(task, "queue")), client_i64(task, "priority", 0));
    write_ago(out, "created", task, "created_at");
    write_ago(out, "runs at", task, "run_at");
    write_ago(out, "started", task, "started_at");
    write_ago(out, "finished", task, "finished_at");
    buf_printf(out, "%-10s %" PRId64 " (%" PRId64 " failed, %" PRId64 " lost)\n", "attempts",
               client_i64(task, "attempts", 0), client_i64(task, "attempts_failed", 0),
               client_i64(task, "attempts_lost", 0));
    struct json_value value;
    if (json_member(task, "lease", &value) && json_type_of(value) == JSON_OBJECT) {
        buf_printf(out, "%-10s %.*s until %.*s\n", "leased to", SLICE_ARG(client_str(value, "node")),
                   SLICE_ARG(client_str(value, "expires_at")));
    }
    if (json_member(task, "progress", &value) && json_type_of(value) == JSON_OBJECT) {
        buf_printf(out, "%-10s %" PRId64 " %% ", "progress", client_i64(value, "permille", 0) / 10);
        cli_write_indented(out, client_str(value, "note"), LABEL_COLUMNS);
        buf_append_char(out, '\n');
    }
    write_error(out, "error", task, "error");
    write_error(out, "before", task, "last_error");
    if (client_str(task, "hint").len > 0) {
        buf_printf(out, "%-10s ", "hint");
        cli_write_indented(out, client_str(task, "hint"), LABEL_COLUMNS);
        buf_append_char(out, '\n');
    }
    write_json_member(out, "input", task, "input");
    write_json_member(out, "checkpoint", task, "checkpoint");
    write_json_member(out, "result", task, "result");
}

/* What ended a compiler that did not get to judge the program. */
static const char *compiler_limit(struct slice verdict)
{
    static const struct {
        const char *verdict, *text;
    } limits[] = {
        {"TLE", " (the compiler ran out of its own time, not the program of its)"},
        {"MLE", " (the compiler ran out of its own memory, not the program of its)"},
        {"OLE", " (the compiler printed more than it may)"},
    };
    for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
        if (slice_equal_str(verdict, limits[i].verdict)) {
            return limits[i].text;
        }
    }
    return "";
}

void task_phrase(struct buf *out, struct json_value task)
{
    struct slice verdict = verdict_of(task);
    struct json_value result, stats, error;
    if (verdict.len > 0 && json_member(task, "result", &result)) {
        buf_printf(out, "%.*s", SLICE_ARG(verdict));
        struct slice phase = client_str(result, "phase");
        if (!slice_equal_str(verdict, "OK") && phase.len > 0) {
            buf_printf(out, " in %.*s", SLICE_ARG(phase));
        }
        if (slice_equal_str(phase, "compile")) {
            buf_append_str(out, compiler_limit(verdict));
        }
        int64_t exit_code = client_i64(result, "exit", 0);
        int64_t signal_number = client_i64(result, "signal", 0);
        if (signal_number > 0) {
            buf_printf(out, ", signal %" PRId64, signal_number);
        } else if (exit_code > 0) {
            buf_printf(out, ", exit code %" PRId64, exit_code);
        }
        if (json_member(result, "stats", &stats)) {
            buf_printf(out, ", %" PRId64 " ms, %" PRId64 " ms of cpu, %" PRId64 " MiB", client_i64(stats, "wall_ms", 0),
                       client_i64(stats, "cpu_ms", 0), client_i64(stats, "peak_mib", 0));
        }
        return;
    }
    struct slice state = client_str(task, "state");
    buf_printf(out, "%.*s", SLICE_ARG(state));
    if (!slice_equal_str(state, "succeeded") && json_member(task, "error", &error) &&
        json_type_of(error) == JSON_OBJECT) {
        struct slice kind = client_str(error, "kind");
        bool says_more = !slice_equal(kind, state); /* "expired (expired: …)" */
        buf_printf(out, " (%.*s%s", says_more ? (int)kind.len : 0, kind.data != NULL ? kind.data : "",
                   says_more ? ": " : "");
        cli_write_indented(out, client_str(error, "message"), 2);
        buf_append_char(out, ')');
    }
}

/* Appends what stands in the result itself: a text, or bytes as base64. */
static void take_inline(struct json_value result, const char *name, struct buf *out)
{
    char member[32];
    snprintf(member, sizeof(member), "%s_encoding", name);
    struct slice text = client_str(result, name);
    if (!slice_equal_str(client_str(result, member), "base64")) {
        buf_append_slice(out, text);
    } else if (!base64_decode(out, text)) {
        buf_reset(out);
    }
}

/* One stream of a program, from its blob when it was too long for the result. `ret_is_line_open`: its last line may lack its end. */
static enum status print_stream(struct client *client, struct json_value result, const char *name, FILE *file,
                                bool *ret_is_line_open)
{
    char member[32];
    snprintf(member, sizeof(member), "%s_blob", name);
    struct slice blob = client_str(result, member);
    uint64_t size = 0;
    struct buf text;
    buf_init(&text, 64u << 20);
    take_inline(result, name, &text);
    *ret_is_line_open =
        text.len > 0 && text.data[text.len - 1] != '\n'; /* what is in a blob ends in the middle of nowhere */
    if (blob.len > 0 && client_download(client, blob, file, &size)) {
        *ret_is_line_open = true;
        buf_free(&text);
        return STATUS_OK;
    }
    if (size == 0) {
        fwrite(text.data, 1, text.len, file);
    }
    buf_free(&text);
    bool is_written = fflush(file) == 0 && ferror(file) == 0;
    if (!is_written) {
        return errno == EPIPE ? STATUS_OK : STATUS_IO; /* a reader such as head has seen enough */
    }
    if (blob.len > 0) {
        cli_say("shoal: the rest of %s cannot be fetched from the hub; it is the blob %.*s.\n", name, SLICE_ARG(blob));
    }
    return blob.len > 0 ? STATUS_UNREACHABLE : STATUS_OK;
}

/* What the node has to say about the run, a sentence each, on lines of their own. */
static void print_notes(struct json_value result, bool *is_line_open)
{
    struct json_value notes, note;
    struct slice key, text;
    if (!json_member(result, "notes", &notes)) {
        return;
    }
    for (struct json_iter it = json_iter_of(notes); json_next(&it, &key, &note);) {
        if (json_get_str(note, &text)) {
            cli_say("%sshoal: %.*s.\n", *is_line_open ? "\n" : "", SLICE_ARG(text));
            *is_line_open = false;
        }
    }
}

enum status task_print_result(struct client *client, struct json_value task)
{
    struct buf out, phrase;
    buf_init(&out, 64u << 20);
    buf_init(&phrase, 65536);
    struct json_value result;
    enum status status = STATUS_OK;
    enum status outcome = task_outcome(task);
    bool has_verdict = verdict_of(task).len > 0, is_line_open = false;
    if (has_verdict && json_member(task, "result", &result)) {
        bool is_out_open, is_err_open;
        status = print_stream(client, result, "stdout", stdout, &is_out_open);
        enum status errors = print_stream(client, result, "stderr", stderr, &is_err_open);
        is_line_open = is_err_open || (is_out_open && cli_is_terminal(STDOUT_FILENO)); /* where our sentence goes */
        status = status != STATUS_OK ? status : errors;
        bool is_whole = client_str(result, "stdout_blob").len > 0 || client_str(result, "stderr_blob").len > 0;
        if (client_bool(result, "truncated") && !is_whole) {
            cli_say("shoal: the output was longer than its limit and is cut.\n");
        }
        print_notes(result, &is_line_open);
    } else if (outcome == STATUS_OK && json_member(task, "result", &result)) {
        json_print(&out, result);
        buf_append_char(&out, '\n');
        status = cli_print(buf_slice(&out));
    }
    if (outcome != STATUS_OK || (has_verdict && cli_is_terminal(STDERR_FILENO))) {
        task_phrase(&phrase, task);
        cli_say("%s%s%.*s%s\n", is_line_open ? "\n" : "", outcome == STATUS_OK ? PAINT_DIM : PAINT_RED,
                SLICE_ARG(buf_slice(&phrase)), PAINT_PLAIN);
    }
    buf_free(&out);
    buf_free(&phrase);
    return status;
}

static void show_progress(struct json_value task, int64_t since_ns)
{
    char time[32];
    struct buf line;
    buf_init(&line, 65536);
    cli_duration_text((clock_mono_ns() - since_ns) / NS_PER_MS, time, sizeof(time));
    buf_printf(&line, "%.*s  %.*s  %s", SLICE_ARG(client_str(task, "id")), SLICE_ARG(client_str(task, "state")), time);
    struct json_value value;
    if (json_member(task, "lease", &value) && json_type_of(value) == JSON_OBJECT) {
        buf_printf(&line, "  on %.*s", SLICE_ARG(client_str(value, "node")));
    }
    if (json_member(task, "progress", &value) && json_type_of(value) == JSON_OBJECT) {
        buf_printf(&line, "  %" PRId64 " %%  %.*s", client_i64(value, "permille", 0) / 10,
                   SLICE_ARG(client_str(value, "note")));
    }
    paint_end_line(&line, 0);
    cli_say(PAINT_LINE_START "%.*s", (int)line.len - 1, line.data); /* without its newline */
    buf_free(&line);
}

static void pause_ms(int64_t ms)
{
    struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * NS_PER_MS};
    nanosleep(&time, NULL);
}

/* --- Ctrl-C while waiting: the task goes on, so what to do about it is said on the way out --- */

static char farewell[512];

static void on_interrupt(int signal_number)
{
    ssize_t written = write(STDERR_FILENO, farewell, strlen(farewell));
    (void)written;
    signal(signal_number, SIG_DFL); /* ends as whoever started us expects */
    raise(signal_number);
}

static void say_farewell_on_interrupt(const struct cli *cli, const char *id, bool is_live)
{
    if (cli_flag(cli, "json")) {
        snprintf(farewell, sizeof(farewell),
                 "{\"code\":\"interrupted\",\"detail\":\"the task goes on\",\"id\":\"%s\",\"retryable\":true}\n", id);
    } else {
        snprintf(
            farewell, sizeof(farewell),
            "%sshoal %s: the task %s goes on; \"shoal get %s --wait --result\" follows it, \"shoal cancel %s\" ends "
            "it.\n",
            is_live ? "\r\033[K" : "", cli->command->name, id, id, id);
    }
    struct sigaction action = {.sa_handler = on_interrupt};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

static void forget_farewell(void)
{
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
}

/* What is left of a wait that began then; STEP_WAIT_MS when it has no end. */
static int64_t wait_left_ms(int64_t wait_ms, int64_t begun_ns)
{
    if (wait_ms <= 0) {
        return STEP_WAIT_MS;
    }
    int64_t left_ms = wait_ms - (clock_mono_ns() - begun_ns) / NS_PER_MS;
    return left_ms > 0 ? left_ms : 0;
}

void task_say_hint(const struct cli *cli, struct client *client, const char *id)
{
    struct client_answer answer;
    char path[128];
    snprintf(path, sizeof(path), "/v1/tasks/%s", id);
    if (client_try(client, "GET", path, NULL, (struct slice){NULL, 0}, 0, &answer) == STATUS_OK &&
        client_str(answer.root, "hint").len > 0) {
        cli_say("shoal %s: %s waits: %.*s; \"shoal nodes\" lists them.\n", cli->command->name, id,
                SLICE_ARG(client_str(answer.root, "hint")));
    }
}

enum status task_wait(const struct cli *cli, struct client *client, const char *id, int64_t wait_ms,
                      struct client_answer *ret_answer)
{
    bool is_live = cli_is_terminal(STDERR_FILENO) && !cli_flag(cli, "json");
    int64_t begun_ns = clock_mono_ns(), away_since_ns = 0;
    bool is_away = false, is_over = false;
    enum status status;
    say_farewell_on_interrupt(cli, id, is_live);
    for (;;) {
        int64_t left_ms = wait_left_ms(wait_ms, begun_ns);
        int64_t step_ms = is_live ? STEP_WAIT_LIVE_MS : STEP_WAIT_MS;
        step_ms = left_ms < step_ms ? left_ms : step_ms;
        if (wait_ms > 0) { /* a hub that does not answer must not hold us for longer than was asked for */
            client_patience(client, left_ms + WAIT_GRACE_MS);
        }
        char path[128];
        snprintf(path, sizeof(path), "/v1/tasks/%s?wait_ms=%" PRId64, id, step_ms);
        status = client_try(client, "GET", path, NULL, (struct slice){NULL, 0}, step_ms, ret_answer);
        is_away = status == STATUS_UNREACHABLE || status == STATUS_NOT_READY || status == STATUS_TIMEOUT;
        is_over = wait_ms > 0 && wait_left_ms(wait_ms, begun_ns) == 0;
        if (!is_away && (status != STATUS_OK || task_is_final(client_str(ret_answer->root, "state")))) {
            is_over = false;
            break;
        }
        int64_t now_ns = clock_mono_ns();
        away_since_ns = !is_away ? 0 : away_since_ns == 0 ? now_ns : away_since_ns;
        if (is_over || (is_away && now_ns - away_since_ns > RECONNECT_MS * NS_PER_MS)) {
            break;
        }
        if (is_away) {
            int64_t pause = wait_left_ms(wait_ms, begun_ns);
            pause_ms(pause < RECONNECT_PAUSE_MS ? pause : RECONNECT_PAUSE_MS);
        } else if (is_live) {
            show_progress(ret_answer->root, begun_ns);
        }
    }
    forget_farewell();
    if (is_live) {
        cli_say(PAINT_LINE_START);
    }
    if (is_over) {
        return cli_fail(cli, STATUS_TIMEOUT,
                        "the task %s is not finished yet%s; \"shoal get %s --wait\" goes on waiting", id,
                        is_away ? ", as far as is known: the hub is away" : "", id);
    }
    if (status != STATUS_OK) {
        client_tell(client);
    }
    return status;
}
