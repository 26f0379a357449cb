/* target_process.c - processes of a run: how they are started, when they are ready, what their end means.
 *
 *   DOWN ──start──▶ STARTING ──says it is ready──▶ READY ──ends──▶ DOWN
 *
 * A hub and a node say so in their first line of output, which goes to a log file in the scratch folder; a program of
 * somebody else is ready when its port takes connections. A hub that comes back keeps its port. An end is expected
 * while a fault or the end of the run is the cause; any other is told to the engine. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "bench/target_internal.h"

#define LOOK_MS 5 /* how often a process that starts is looked at */
#define ARGS_MAX 64
#define LOG_TAIL_SIZE 600
#define NODE_KIND "test.echo" /* of nodes that are told nothing: needs no sandbox */

struct watch { /* of a process's end */
    uv_poll_t poll;
    int pidfd;
    struct target *target;
};

/* --- what a process wrote --- */

/* The last lines of its log, on one line. */
static void log_tail(const struct target *target, char *ret, size_t size)
{
    ret[0] = '\0';
    int fd = open(target->log, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return;
    }
    off_t end = lseek(fd, 0, SEEK_END);
    off_t from = end - (off_t)(size - 1) > target->log_from ? end - (off_t)(size - 1) : target->log_from;
    ssize_t got = pread(fd, ret, size - 1, from);
    close(fd);
    size_t len = got > 0 ? (size_t)got : 0;
    while (len > 0 && (ret[len - 1] == '\n' || ret[len - 1] == ' ')) {
        len--;
    }
    ret[len] = '\0';
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)ret[i] < ' ') {
            ret[i] = ret[i] == '\n' ? '|' : ' ';
        }
    }
}

/* Looks for a text in what it wrote since its start, and gives what follows in the line. */
static bool find_in_log(const struct target *target, const char *text, char *ret, size_t size)
{
    char head[4096];
    int fd = open(target->log, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    ssize_t got = pread(fd, head, sizeof(head) - 1, target->log_from);
    close(fd);
    head[got > 0 ? got : 0] = '\0';
    const char *at = strstr(head, text);
    const char *end = at != NULL ? strchr(at, '\n') : NULL;
    if (end == NULL) {
        return false;
    }
    at += strlen(text);
    snprintf(ret, size, "%.*s", (int)(end - at), at);
    return true;
}

/* --- ready? --- */

static bool takes_connections(uint16_t port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0); /* on loopback it is taken or refused at once */
    bool is_taken = fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
    if (fd >= 0) {
        close(fd);
    }
    return is_taken;
}

static bool looks_ready(struct target *target)
{
    char rest[256];
    switch (target->start->kind) {
    case START_HUB:
        if (!find_in_log(target, "shoal hub listening on http://127.0.0.1:", rest, sizeof(rest))) {
            return false;
        }
        target->port = (uint16_t)strtoul(rest, NULL, 10);
        snprintf(target->url, sizeof(target->url), "http://127.0.0.1:%u", target->port);
        return true;
    case START_NODE:
        return find_in_log(target, " ready: ", rest, sizeof(rest));
    case START_EXEC:
        return takes_connections(target->port);
    case START_PROXY:
        return true;
    }
    return false;
}

static void look(struct target *target)
{
    if (target->state != STARTING) {
        return;
    }
    if (looks_ready(target)) {
        target->state = READY;
        if (target->told_when_ready != NULL) {
            target_tell_fault(target->all, TAKE(target->told_when_ready), false);
        }
    } else if (clock_mono_ns() > target->deadline_ns && target->why[0] == '\0') {
        char tail[LOG_TAIL_SIZE];
        log_tail(target, tail, sizeof(tail));
        snprintf(target->why, sizeof(target->why), "%s is not ready after %d s: %s", target->name,
                 TARGET_READY_MS / 1000, tail);
        child_signal(target->pid, SIGKILL);
    }
}

void target_on_tick(uv_timer_t *timer)
{
    struct targets *targets = timer->data;
    bool is_needed = targets->is_stopping;
    for (uint32_t i = 0; i < targets->count; i++) {
        look(targets->list[i]);
        is_needed = is_needed || targets->list[i]->state == STARTING;
    }
    if (!is_needed) {
        uv_timer_stop(timer);
    }
}

void target_tick_soon(struct targets *targets)
{
    if (!uv_is_active((uv_handle_t *)&targets->tick)) {
        uv_timer_start(&targets->tick, target_on_tick, LOOK_MS, LOOK_MS);
    }
}

/* --- processes --- */

static void on_watch_closed(uv_handle_t *handle)
{
    struct watch *watch = handle->data;
    watch->target->all->handles--;
    free(watch);
}

static void on_end(uv_poll_t *poll, int error, int events)
{
    struct watch *watch = poll->data;
    struct target *target = watch->target;
    struct targets *targets = target->all;
    int code, number;
    (void)error;
    (void)events;
    child_reap(&targets->keeper, target->pid, &code, &number);
    uv_close((uv_handle_t *)poll, on_watch_closed);
    close(watch->pidfd);
    target->pid = 0;
    bool was_starting = target->state == STARTING;
    target->state = DOWN;
    if (was_starting && target->why[0] == '\0') {
        char tail[LOG_TAIL_SIZE];
        log_tail(target, tail, sizeof(tail));
        snprintf(target->why, sizeof(target->why), "%s ended with %s %d: %s", target->name,
                 number != 0 ? "signal" : "exit code", number != 0 ? number : code, tail);
    }
    if (target->starts_again && !targets->is_stopping) {
        char why[256];
        target->starts_again = false;
        if (target_start_process(target, why, sizeof(why)) == STATUS_OK) {
            return;
        }
        target->is_end_expected = false;
    }
    if (!target->is_end_expected && !targets->is_stopping && targets->callbacks.on_exit != NULL) {
        targets->callbacks.on_exit(targets->callbacks.ctx, target->name, code, number);
    }
}

/* The text of a command with ${port} filled in; false when it names anything else. */
static bool command_text(const struct scenario *scenario, const struct scenario_text *text, uint16_t port,
                         struct buf *out, char *ret_why, size_t why_size)
{
    for (uint32_t i = 0; i < text->count; i++) {
        if (text->parts[i].variable < 0) {
            buf_append_slice(out, text->parts[i].literal);
        } else if (strcmp(scenario->variables[text->parts[i].variable], "port") == 0) {
            buf_printf(out, "%u", port);
        } else {
            snprintf(ret_why, why_size, "a command knows ${port} only, not ${%s}",
                     scenario->variables[text->parts[i].variable]);
            return false;
        }
    }
    return true;
}

static uint16_t free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    uint16_t port = 0;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0 &&
        getsockname(fd, (struct sockaddr *)&address, &len) == 0) {
        port = ntohs(address.sin_port);
    }
    if (fd >= 0) {
        close(fd);
    }
    return port;
}

struct command { /* arguments, and the memory of those that are made here */
    const char *args[ARGS_MAX];
    size_t count;
    char listen[32], slots[16], kinds[128];
    struct buf text;
};

static void add_arg(struct command *command, const char *arg)
{
    ensure(command->count + 1 < ARGS_MAX);
    command->args[command->count++] = arg;
    command->args[command->count] = NULL;
}

static void add_option(struct command *command, const char *name, const char *value)
{
    add_arg(command, name);
    add_arg(command, value);
}

static void hub_command(const struct target *target, struct command *command)
{
    snprintf(command->listen, sizeof(command->listen), "127.0.0.1:%u", target->port);
    add_arg(command, target->all->program);
    add_arg(command, "hub");
    add_option(command, "--data", target->data);
    add_option(command, "--listen", command->listen);
    for (uint32_t i = 0; i < target->start->setting_count; i++) {
        add_option(command, "--set", target->start->settings[i]);
    }
}

static void node_command(const struct target *target, const struct target *to, struct command *command)
{
    add_arg(command, target->all->program);
    add_arg(command, "node");
    add_option(command, "--data", target->data);
    add_option(command, "--name", target->name);
    add_option(command, "--hub", to->url);
    if (target->start->slots > 0) {
        snprintf(command->slots, sizeof(command->slots), "%" PRIu32, target->start->slots);
        add_option(command, "--slots", command->slots);
    }
    snprintf(command->kinds, sizeof(command->kinds), "%s",
             target->start->kinds[0] != '\0' ? target->start->kinds : NODE_KIND);
    char *rest = command->kinds;
    for (char *kind; (kind = strtok_r(rest, ",", &rest)) != NULL && command->count + 3 < ARGS_MAX;) {
        add_option(command, "--offer", kind);
    }
}

static enum status make_command(struct target *target, struct command *command, char *ret_why, size_t why_size)
{
    struct target *to;
    switch (target->start->kind) {
    case START_HUB:
        hub_command(target, command);
        break;
    case START_NODE:
        if ((to = target_destination(target, ret_why, why_size)) == NULL) {
            return STATUS_INVALID;
        }
        node_command(target, to, command);
        break;
    case START_EXEC:
        if (target->port == 0) {
            target->port = free_port();
        }
        snprintf(target->url, sizeof(target->url), "http://127.0.0.1:%u", target->port);
        /* The shell becomes the program where there is only one, so that the process that is watched is the right one. */
        buf_append_str(&command->text, "exec ");
        if (!command_text(target->all->scenario, &target->start->command, target->port, &command->text, ret_why,
                          why_size)) {
            return STATUS_INVALID;
        }
        add_arg(command, "/bin/sh");
        add_option(command, "-c", buf_cstr(&command->text));
        break;
    case START_PROXY:
        break;
    }
    return STATUS_OK;
}

enum status target_start_process(struct target *target, char *ret_why, size_t why_size)
{
    struct targets *targets = target->all;
    struct command command = {0};
    struct stat log;
    char why[400];
    int pidfd = -1;
    struct watch *watch = calloc(1, sizeof(*watch));
    if (watch == NULL) {
        snprintf(ret_why, why_size, "cannot start %s: %s", target->name, status_title(STATUS_NO_MEMORY));
        return STATUS_NO_MEMORY;
    }
    buf_init(&command.text, 64u << 10);
    enum status status = make_command(target, &command, ret_why, why_size);
    if (status == STATUS_OK) {
        struct child_spec spec = {.args = command.args,
                                  .log_path = target->log,
                                  .memory_bytes = target->start->memory_bytes,
                                  .disk_bytes = target->start->disk_bytes,
                                  .disk_dir = target->data};
        target->log_from = stat(target->log, &log) == 0 ? log.st_size : 0;
        status = child_start(&targets->keeper, &spec, &target->disk, &target->pid, &pidfd, why, sizeof(why));
        if (status != STATUS_OK) {
            snprintf(ret_why, why_size, "cannot start %s: %s", target->name, why);
        }
    }
    buf_free(&command.text);
    if (status != STATUS_OK) {
        free(watch);
        return status;
    }
    *watch = (struct watch){.pidfd = pidfd, .target = target};
    ensure(uv_poll_init(&targets->loop->uv, &watch->poll, pidfd) == 0);
    watch->poll.data = watch;
    ensure(uv_poll_start(&watch->poll, UV_READABLE, on_end) == 0);
    targets->handles++;
    target->state = STARTING;
    target->is_end_expected = false;
    target->why[0] = '\0';
    target->deadline_ns = clock_mono_ns() + TARGET_READY_MS * NS_PER_MS;
    target_tick_soon(targets);
    return STATUS_OK;
}
