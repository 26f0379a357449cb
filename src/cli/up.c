/* up.c - shoal up: a hub and one node with one command.
 *
 * Both run as children, each in a process group of its own, so that Ctrl-C reaches them in the right order: the node drains
 * while the hub still takes its reports, then the hub stops. A second Ctrl-C hurries both. Their standard output comes
 * through pipes, because the first line of each says that it is ready.
 *
 * The hub is what others rely on: when it ends by itself everything ends, with its exit code. A node that ends is
 * started again, later and later while it does not get ready; the hub goes on without it.
 *
 * Should this process be killed, the kernel tells the children: SIGTERM to the hub, SIGHUP to the node, which gives its work
 * back at once instead of draining. Until they are gone they hold their locks. `up.lock` tells such leftovers from a
 * `shoal up` that lives: whoever has it waits for the hub's lock before it starts a hub, and for the node's beside it.
 *
 *   node:  NONE ──hub ready──▶ WAITING ──time over, lock free──▶ STARTED ──ends──▶ WAITING */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/daemon.h"
#include "node/node_main.h"

#define ARGS_MAX 256
#define LINE_SIZE 1024
#define ROUND_MS 100 /* between two looks at children and locks */
#define HUB_LOCK_MS                                                                                                    \
    30000               /* a hub that was left behind makes its last snapshot; a second or two for millions of tasks */
#define SAY_WAIT_MS 500 /* a shorter wait is not worth a line */
#define NODE_AGAIN_MS_MIN 250   /* doubles with each start that did not get ready … */
#define NODE_AGAIN_MS_MAX 30000 /* … up to this */

struct child {
    const char *name;
    int death_signal;     /* when this process dies */
    pid_t pid;            /* 0: not running */
    int out;              /* its standard output; -1 at the end */
    char line[LINE_SIZE]; /* being collected */
    size_t line_len;
    char first_line[LINE_SIZE];
    bool is_ready; /* its first line has come */
    int wait_status;
};

static volatile sig_atomic_t signals_seen;

static void on_signal(int number)
{
    (void)number;
    signals_seen = signals_seen + 1;
}

static enum status start(const struct cli *cli, struct child *child, const char *const *args)
{
    int pipe_fds[2];
    if (pipe2(pipe_fds, O_CLOEXEC) != 0) {
        return cli_fail(cli, STATUS_IO, "cannot make a pipe: %s", strerror(errno));
    }
    child->line_len = 0;
    child->first_line[0] = '\0';
    child->is_ready = false;
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid < 0) {
        close(pipe_fds[0]);
        close(pipe_fds[1]);
        return cli_fail(cli, STATUS_NO_MEMORY, "cannot start a process: %s", strerror(errno));
    }
    if (pid == 0) {
        setpgid(0, 0);
        (void)signal(child->death_signal, SIG_DFL); /* nohup ignores SIGHUP for us, and not for what this is */
        prctl(PR_SET_PDEATHSIG, child->death_signal);
        if (getppid() != parent) {
            _exit(1);
        }
        dup2(pipe_fds[1], STDOUT_FILENO);
        execv("/proc/self/exe", (char *const *)args);
        fprintf(stderr, "shoal up: cannot start %s: %s.\n", child->name, strerror(errno));
        _exit(1);
    }
    close(pipe_fds[1]);
    fcntl(pipe_fds[0], F_SETFL, O_NONBLOCK);
    child->pid = pid;
    child->out = pipe_fds[0];
    return STATUS_OK;
}

static void stop(struct child *child)
{
    if (child->pid > 0) {
        kill(child->pid, SIGTERM);
    }
}

static void end_line(struct child *child)
{
    child->line[child->line_len] = '\0';
    child->line_len = 0;
    printf("%s\n", child->line);
    fflush(stdout);
    if (!child->is_ready) {
        memcpy(child->first_line, child->line, sizeof(child->first_line));
    }
    child->is_ready = true;
}

/* Passes on what a child has printed. */
static void read_lines(struct child *child)
{
    char piece[4096];
    while (child->out >= 0) {
        ssize_t got = read(child->out, piece, sizeof(piece));
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return; /* EAGAIN: nothing more now */
        }
        if (got == 0) {
            close(child->out);
            child->out = -1;
        }
        for (ssize_t i = 0; i < got; i++) {
            if (piece[i] == '\n') {
                end_line(child);
            } else if (child->line_len + 1 < sizeof(child->line)) {
                child->line[child->line_len++] = piece[i];
            }
        }
    }
}

static void reap(struct child *child)
{
    int wait_status;
    if (child->pid > 0 && waitpid(child->pid, &wait_status, WNOHANG) == child->pid) {
        child->pid = 0;
        child->wait_status = wait_status;
    }
}

static enum status status_of_exit(int wait_status)
{
    if (!WIFEXITED(wait_status)) {
        return STATUS_FAILED;
    }
    int code = WEXITSTATUS(wait_status);
    for (enum status status = STATUS_OK; status < STATUS_COUNT; status++) {
        if (status_exit(status) == code) {
            return status;
        }
    }
    return STATUS_FAILED;
}

struct up {
    const struct cli *cli;
    struct child hub, node;
    char url[256];
    char hub_data[1100], node_data[1100];
    const char *hub_args[ARGS_MAX], *node_args[ARGS_MAX];
    int lock_fd;
    enum status status;
    bool is_ending;
    int signals_passed;
    int rounds_without_hub;
    bool node_is_due; /* to be started at node_due_ns, when its lock is free */
    int64_t node_due_ns, node_again_ms;
    bool has_said_how, has_said_lock;
    int said_wait_status; /* the end of the node that was told last; -1: none */
};

/* --- locks --- */

/* Whether somebody holds the lock of this file. */
static bool is_locked(const char *path)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        return false; /* nobody has been here yet, or the child will say what is wrong */
    }
    bool is_held = flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    close(fd);
    return is_held;
}

/* Takes up.lock. LOCKED: another shoal up lives here. */
static enum status take_lock(struct up *up, const char *data)
{
    char path[1100];
    snprintf(path, sizeof(path), "%s/up.lock", data);
    up->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (up->lock_fd < 0) {
        return cli_fail(up->cli, errno == ENOSPC ? STATUS_NO_SPACE : STATUS_IO, "cannot make %s: %s", path,
                        strerror(errno));
    }
    if (flock(up->lock_fd, LOCK_EX | LOCK_NB) == 0) {
        return STATUS_OK;
    }
    return cli_fail(up->cli, STATUS_LOCKED,
                    "another shoal up uses the data directory %s; use the hub that runs there, or name another "
                    "directory with --data",
                    data);
}

/* A hub that a killed shoal up has left behind ends by itself. After HUB_LOCK_MS ours tells what is wrong. */
static enum status wait_for_hub_lock(const struct up *up)
{
    char path[1200];
    snprintf(path, sizeof(path), "%s/LOCK", up->hub_data);
    int64_t began_ns = clock_mono_ns();
    bool has_said = false;
    while (is_locked(path)) {
        int64_t waited_ms = (clock_mono_ns() - began_ns) / NS_PER_MS;
        if (signals_seen > 0) {
            return STATUS_INTERRUPTED;
        }
        if (waited_ms >= HUB_LOCK_MS) {
            break;
        }
        if (waited_ms >= SAY_WAIT_MS && !has_said) {
            has_said = true;
            fprintf(stderr, "shoal up: the hub that ran here before is still ending; waiting for it.\n");
        }
        (void)poll(NULL, 0, ROUND_MS / 5);
    }
    return STATUS_OK;
}

static size_t pass_on(const struct cli *cli, const char *option, const char *as, const char **args, size_t count)
{
    int at = 0;
    const char *value;
    while ((value = cli_list_next(cli, option, &at)) != NULL && count + 3 < ARGS_MAX) {
        args[count++] = as;
        args[count++] = value;
    }
    return count;
}

static size_t common_args(const struct cli *cli, const char **args, const char *command, const char *data)
{
    size_t count = 0;
    args[count++] = "shoal";
    args[count++] = command;
    args[count++] = "--data";
    args[count++] = data;
    args[count++] = "--log-level";
    args[count++] = cli_text(cli, "log-level");
    if (cli_flag(cli, "log-json")) {
        args[count++] = "--log-json";
    }
    return count;
}

static enum status start_hub(struct up *up)
{
    const struct cli *cli = up->cli;
    size_t count = common_args(cli, up->hub_args, "hub", up->hub_data);
    up->hub_args[count++] = "--listen";
    up->hub_args[count++] = cli_text(cli, "listen");
    if (cli_text(cli, "node-key-file") != NULL) {
        up->hub_args[count++] = "--node-key-file";
        up->hub_args[count++] = cli_text(cli, "node-key-file");
    }
    if (cli_text(cli, "api-key-file") != NULL) {
        up->hub_args[count++] = "--api-key-file";
        up->hub_args[count++] = cli_text(cli, "api-key-file");
    }
    if (cli_flag(cli, "no-auth")) {
        up->hub_args[count++] = "--no-auth";
    }
    if (cli_text(cli, "config") != NULL) {
        up->hub_args[count++] = "--config";
        up->hub_args[count++] = cli_text(cli, "config");
    }
    count = pass_on(cli, "set", "--set", up->hub_args, count);
    up->hub_args[count] = NULL;
    return start(cli, &up->hub, up->hub_args);
}

static enum status start_node(struct up *up)
{
    const struct cli *cli = up->cli;
    size_t count = common_args(cli, up->node_args, "node", up->node_data);
    up->node_args[count++] = "--hub";
    up->node_args[count++] = up->url;
    static const char *const texts[] = {"name", "slots", "drain", "node-key-file", "api-key-file"};
    static const char *const names[] = {"--name", "--slots", "--drain", "--key-file", "--api-key-file"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (cli_text(cli, texts[i]) == NULL) {
            continue;
        }
        up->node_args[count++] = names[i];
        up->node_args[count++] = cli_text(cli, texts[i]);
    }
    count = pass_on(cli, "labels", "--labels", up->node_args, count);
    count = pass_on(cli, "offer", "--offer", up->node_args, count);
    up->node_args[count] = NULL;
    return start(cli, &up->node, up->node_args);
}

static void say_how(const struct up *up)
{
    bool is_default = strcmp(up->url, CLI_HUB_DEFAULT) == 0;
    printf("\nShoal is up. In another terminal:\n");
    if (!is_default) {
        printf("  export SHOAL_HUB=%s\n", up->url);
    }
    if (cli_text(up->cli, "api-key-file") != NULL) {
        printf("  export SHOAL_API_KEY_FILE=%s\n", cli_text(up->cli, "api-key-file"));
    }
    /* An example of what was offered, if that was chosen. */
    int at = 0;
    const char *offer = NULL, *last = NULL;
    while ((offer = cli_list_next(up->cli, "offer", &at)) != NULL && strcmp(offer, "code.run") != 0) {
        last = offer;
    }
    if (offer == NULL && last != NULL) {
        printf("  shoal submit %s --input '{\"value\":1}' --wait\n", last);
    } else {
        printf("  shoal run hello.py\n");
    }
    printf("  shoal ls\n"
           "Ctrl-C ends it; the tasks stay in %s.\n\n",
           up->hub_data);
    fflush(stdout);
}

/* The address in "shoal hub listening on http://HOST:PORT". */
static bool take_url(struct up *up)
{
    const char *url = strstr(up->hub.first_line, "http://");
    if (url == NULL) {
        return false;
    }
    snprintf(up->url, sizeof(up->url), "%.*s", (int)strcspn(url, " \t\r\n"), url);
    return true;
}

/* --- the node: it comes and goes, the hub stays --- */

static void node_later(struct up *up, int64_t wait_ms)
{
    up->node_is_due = true;
    up->node_due_ns = clock_mono_ns() + wait_ms * NS_PER_MS;
}

static void start_node_when_due(struct up *up)
{
    if (!up->node_is_due || up->is_ending || clock_mono_ns() < up->node_due_ns) {
        return;
    }
    char path[1200];
    snprintf(path, sizeof(path), "%s/node.lock", up->node_data);
    if (is_locked(path)) {
        if (!up->has_said_lock && clock_mono_ns() - up->node_due_ns >= SAY_WAIT_MS * NS_PER_MS) {
            up->has_said_lock = true;
            fprintf(stderr, "shoal up: the node that ran here before is still ending; the hub is there, a node "
                            "follows.\n");
        }
        return;
    }
    up->node_is_due = false;
    if (start_node(up) != STATUS_OK) { /* there was no process or pipe to be had; it has been said */
        node_later(up, NODE_AGAIN_MS_MAX);
    }
}

/* The node has ended although nobody told it to. */
static void on_node_ended(struct up *up)
{
    const struct child *node = &up->node;
    if (node->is_ready) {
        up->node_again_ms = NODE_AGAIN_MS_MIN;
    }
    if (up->said_wait_status != node->wait_status) { /* once for each sort of end */
        up->said_wait_status = node->wait_status;
        bool is_killed = WIFSIGNALED(node->wait_status);
        fprintf(stderr, "shoal up: the node ended (%s %d); the hub goes on, and the node is started again.\n",
                is_killed ? "signal" : "exit code",
                is_killed ? WTERMSIG(node->wait_status) : WEXITSTATUS(node->wait_status));
    }
    node_later(up, up->node_again_ms);
    up->node_again_ms = up->node_again_ms * 2 > NODE_AGAIN_MS_MAX ? NODE_AGAIN_MS_MAX : up->node_again_ms * 2;
}

/* --- both --- */

static void on_hub_ready(struct up *up)
{
    if (take_url(up)) {
        node_later(up, 0);
        return;
    }
    up->status = STATUS_INTERNAL;
    up->is_ending = true;
    stop(&up->hub);
}

static void reap_both(struct up *up)
{
    bool hub_ran = up->hub.pid > 0, node_ran = up->node.pid > 0;
    reap(&up->hub);
    reap(&up->node);
    bool hub_ended = hub_ran && up->hub.pid == 0, node_ended = node_ran && up->node.pid == 0;
    if (hub_ended && !up->is_ending) {
        up->status = status_of_exit(up->hub.wait_status);
        up->is_ending = true;
        stop(&up->node);
    } else if (up->hub.pid == 0 && up->node.pid > 0 && ++up->rounds_without_hub == 2) {
        stop(&up->node); /* nobody is there to report to: no draining */
    }
    if (node_ended && up->hub.pid > 0) {
        if (up->is_ending) {
            stop(&up->hub);
        } else {
            on_node_ended(up);
        }
    }
}

static void pass_signals(struct up *up)
{
    while (up->signals_passed < signals_seen) {
        up->signals_passed++;
        up->is_ending = true;
        stop(up->node.pid > 0 ? &up->node : &up->hub);
    }
}

static enum status supervise(struct up *up)
{
    up->status = start_hub(up);
    while (up->hub.pid > 0 || up->node.pid > 0) {
        struct pollfd fds[2] = {{.fd = up->hub.out, .events = POLLIN}, {.fd = up->node.out, .events = POLLIN}};
        /* A signal that comes between the checks and the poll is seen a round later. */
        (void)poll(fds, 2, ROUND_MS);
        bool hub_was_ready = up->hub.is_ready;
        read_lines(&up->hub);
        read_lines(&up->node);
        if (!hub_was_ready && up->hub.is_ready && !up->is_ending) {
            on_hub_ready(up);
        }
        start_node_when_due(up);
        if (up->node.is_ready && !up->has_said_how && !up->is_ending) {
            up->has_said_how = true;
            say_how(up);
        }
        reap_both(up);
        pass_signals(up);
    }
    return up->status;
}

enum status cli_up(struct cli *cli)
{
    struct up up = {.cli = cli,
                    .hub = {.name = "the hub", .death_signal = SIGTERM, .out = -1},
                    .node = {.name = "the node", .death_signal = SIGHUP, .out = -1},
                    .lock_fd = -1,
                    .node_again_ms = NODE_AGAIN_MS_MIN,
                    .said_wait_status = -1};
    struct node_options options;
    const char *data = cli_text(cli, "data");
    if (strlen(data) > 1000) {
        return cli_fail(cli, STATUS_USAGE, "the name of the data directory is too long");
    }
    enum status status = daemon_node_options(cli, &options); /* what is wrong is told before anything starts */
    if (status == STATUS_OK) {
        status = daemon_check_data(cli, data, NULL);
    }
    if (status != STATUS_OK) {
        return status;
    }
    bool is_new = mkdir(data, 0755) == 0;
    if (!is_new && errno != EEXIST) {
        return cli_fail(cli, errno == ENOSPC ? STATUS_NO_SPACE : STATUS_IO, "cannot make the directory %s: %s", data,
                        strerror(errno));
    }
    snprintf(up.hub_data, sizeof(up.hub_data), "%s/hub", data);
    snprintf(up.node_data, sizeof(up.node_data), "%s/node", data);
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    struct sigaction hup;
    if (sigaction(SIGHUP, NULL, &hup) == 0 && hup.sa_handler != SIG_IGN) { /* nohup: the terminal's end is not ours */
        sigaction(SIGHUP, &action, NULL);
    }
    status = take_lock(&up, data);
    if (status == STATUS_OK) {
        status = wait_for_hub_lock(&up);
    }
    if (status == STATUS_OK) {
        status = supervise(&up);
    }
    if (is_new && status != STATUS_OK) { /* nothing stays where nothing came into it */
        char path[1100];
        snprintf(path, sizeof(path), "%s/up.lock", data);
        if (access(up.hub_data, F_OK) != 0) {
            (void)unlink(path);
        }
        (void)rmdir(data);
    }
    if (up.lock_fd >= 0) {
        close(up.lock_fd);
    }
    return status;
}
