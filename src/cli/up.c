/* up.c - shoal up: a hub and one node with one command.
 *
 * Both run as children, each in a process group of its own, so that Ctrl-C reaches them in the right order: the node drains
 * while the hub still takes its reports, then the hub stops. A second Ctrl-C hurries both. Their standard output comes
 * through pipes, because the first line of each says that it is ready; a child that ends by itself ends everything,
 * with its exit code. Should this process be killed, the kernel tells the children. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/daemon.h"

#define ARGS_MAX 256
#define LINE_SIZE 1024

struct child {
    const char *name;
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
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid < 0) {
        close(pipe_fds[0]);
        close(pipe_fds[1]);
        return cli_fail(cli, STATUS_NO_MEMORY, "cannot start a process: %s", strerror(errno));
    }
    if (pid == 0) {
        setpgid(0, 0);
        prctl(PR_SET_PDEATHSIG, SIGTERM);
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
};

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
    static const char *const texts[] = {"name", "slots", "drain", "node-key-file"};
    static const char *const names[] = {"--name", "--slots", "--drain", "--key-file"};
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

static enum status supervise(struct up *up)
{
    enum status status = start_hub(up);
    int signals_passed = 0;
    int rounds_without_hub = 0;
    bool is_ending = status != STATUS_OK;
    bool has_node = false;
    while (up->hub.pid > 0 || up->node.pid > 0) {
        struct pollfd fds[2] = {{.fd = up->hub.out, .events = POLLIN}, {.fd = up->node.out, .events = POLLIN}};
        /* A signal that comes between the checks and the poll is seen a quarter of a second later. */
        (void)poll(fds, 2, 250);
        bool hub_was_ready = up->hub.is_ready;
        bool node_was_ready = up->node.is_ready;
        read_lines(&up->hub);
        read_lines(&up->node);
        if (!hub_was_ready && up->hub.is_ready && !is_ending) {
            status = take_url(up) ? start_node(up) : STATUS_INTERNAL;
            has_node = status == STATUS_OK;
            if (!has_node) {
                is_ending = true;
                stop(&up->hub);
            }
        }
        if (!node_was_ready && up->node.is_ready && !is_ending) {
            say_how(up);
        }
        bool hub_ran = up->hub.pid > 0, node_ran = up->node.pid > 0;
        reap(&up->hub);
        reap(&up->node);
        if (hub_ran && up->hub.pid == 0 && !is_ending) {
            status = status_of_exit(up->hub.wait_status);
            is_ending = true;
            stop(&up->node);
        } else if (up->hub.pid == 0 && up->node.pid > 0 && ++rounds_without_hub == 2) {
            stop(&up->node); /* nobody is there to report to: no draining */
        }
        if (node_ran && up->node.pid == 0 && up->hub.pid > 0) {
            if (!is_ending) {
                status = status_of_exit(up->node.wait_status);
            }
            is_ending = true;
            stop(&up->hub);
        }
        while (signals_passed < signals_seen) {
            signals_passed++;
            is_ending = true;
            if (has_node && up->node.pid > 0) {
                stop(&up->node);
            } else {
                stop(&up->hub);
            }
        }
    }
    return status;
}

enum status cli_up(struct cli *cli)
{
    struct up up = {.cli = cli, .hub = {.name = "the hub", .out = -1}, .node = {.name = "the node", .out = -1}};
    const char *data = cli_text(cli, "data");
    if (strlen(data) > 1000) {
        return cli_fail(cli, STATUS_USAGE, "the name of the data directory is too long");
    }
    enum status status = daemon_check_data(cli, data, NULL);
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
    sigaction(SIGHUP, &action, NULL);
    status = supervise(&up);
    if (is_new && status != STATUS_OK) {
        (void)rmdir(data); /* where nothing came into it */
    }
    return status;
}
