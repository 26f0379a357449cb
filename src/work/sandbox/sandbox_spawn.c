/* sandbox_spawn.c - the command line of a box and the fork that executes it.
 *
 * The child joins its control group, becomes the slot's user and executes bwrap, in that order: joining needs the
 * node's rights, and bwrap must make its user namespace as the slot's user, so that everything inside is that user's
 * to the kernel. Only async-signal-safe calls lie between fork and exec, since the node has threads.
 *
 * Not uv_spawn: it can neither join a control group nor set up descriptors above the first few by number without
 * knowing them all, and it reaps through SIGCHLD; a pidfd is one more descriptor on the loop and cannot be mistaken. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/ensure.h"
#include "work/sandbox/init.h"
#include "work/sandbox/memfile.h"
#include "work/sandbox/sandbox_internal.h"

#define FIRST_DATA_FD 10 /* content of files, from here upwards, inside bwrap */
#define NOFILE_MAX 1024
#define GROUPED_SPARE 16
#define EXIT_BEFORE_EXEC 124

/* An argument list that grows and owns its strings; a failed allocation sticks. */
struct args {
    char **items;
    size_t count;
    size_t cap;
    bool failed;
};

static void args_add(struct args *args, const char *text)
{
    if (args->count + 1 >= args->cap) {
        size_t cap = args->cap == 0 ? 128 : args->cap * 2;
        char **grown = realloc(args->items, cap * sizeof(*grown));
        if (grown == NULL) {
            args->failed = true;
            return;
        }
        args->items = grown;
        args->cap = cap;
    }
    char *copy = strdup(text);
    if (copy == NULL) {
        args->failed = true;
        return;
    }
    args->items[args->count++] = copy;
    args->items[args->count] = NULL;
}

/* Moves a descriptor out of a variable. */
#define TAKE_FD(fd)                                                                                                    \
    (__extension__({                                                                                                   \
        int taken_ = (fd);                                                                                             \
        (fd) = -1;                                                                                                     \
        taken_;                                                                                                        \
    }))

#define ADD(args, ...)                                                                                                 \
    do {                                                                                                               \
        const char *const words_[] = {__VA_ARGS__};                                                                    \
        for (size_t word_ = 0; word_ < ARRAY_COUNT(words_); word_++)                                                   \
            args_add((args), words_[word_]);                                                                           \
    } while (0)

static void args_add_u64(struct args *args, uint64_t value)
{
    char text[24];
    snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
    args_add(args, text);
}

static void args_free(struct args *args)
{
    for (size_t i = 0; i < args->count; i++) {
        free(args->items[i]);
    }
    free(args->items);
}

/* Descriptors of the child: `from` here becomes `to` there. */
struct fd_map {
    struct fd_pair {
        int from; /* owned */
        int to;
    } *items;
    size_t count;
    size_t cap;
    bool failed;
};

/* Takes ownership of `from`. */
static void fd_map_add(struct fd_map *map, int from, int to)
{
    if (from < 0) {
        map->failed = true;
        return;
    }
    ensure(map->count < map->cap);
    map->items[map->count++] = (struct fd_pair){from, to};
}

static void fd_map_free(struct fd_map *map)
{
    for (size_t i = 0; i < map->count; i++) {
        close(map->items[i].from);
    }
    free(map->items);
}

/* `--option FD DEST` with a fresh reader of a memory file. */
static void data_add(struct args *args, struct fd_map *map, int *next_fd, const char *permissions, const char *option,
                     int file_fd, const char *path)
{
    ADD(args, "--perms", permissions, option);
    args_add_u64(args, (uint64_t)*next_fd);
    args_add(args, path);
    fd_map_add(map, memfile_reopen_read(file_fd), (*next_fd)++);
}

static void command_make(struct sandbox_host *host, const struct sandbox_spec *spec, struct args *args,
                         struct fd_map *map)
{
    int next_fd = FIRST_DATA_FD;
    ADD(args, host->bwrap_path, "--unshare-user", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts",
        "--unshare-cgroup-try", "--disable-userns", "--uid", "1000", "--gid", "1000", "--hostname", "shoal",
        "--new-session", "--die-with-parent", "--as-pid-1", "--cap-drop", "ALL", "--clearenv");
    for (size_t i = 0; i < host->system_arg_count; i++) {
        args_add(args, host->system_args[i]);
    }
    for (size_t i = 0; spec->binds != NULL && spec->binds[i] != NULL; i++) {
        ADD(args, "--ro-bind", spec->binds[i], spec->binds[i]);
    }
    data_add(args, map, &next_fd, "0444", "--ro-bind-data", host->passwd_fd, "/etc/passwd");
    data_add(args, map, &next_fd, "0444", "--ro-bind-data", host->group_fd, "/etc/group");
    data_add(args, map, &next_fd, "0555", "--ro-bind-data", host->init_fd, "/shoal/init");

    ADD(args, "--proc", "/proc", "--dev", "/dev");
    ADD(args, "--size");
    args_add_u64(args, (uint64_t)spec->limits.fs_mib << 20);
    ADD(args, "--tmpfs", "/tmp", "--dir", SANDBOX_WORK_DIR, "--symlink", "tmp/work", "/work");
    for (size_t i = 0; i < spec->file_count; i++) {
        const struct sandbox_file *file = &spec->files[i];
        if (file->is_read_only) {
            data_add(args, map, &next_fd, file->is_executable ? "0555" : "0444", "--ro-bind-data", file->fd,
                     file->path);
        } else {
            data_add(args, map, &next_fd, file->is_executable ? "0755" : "0644", "--file", file->fd, file->path);
        }
    }
    /* the box's own root and /dev lie on tmpfs without a size; read-only, they cannot be filled. POSIX semaphores and
     * shared memory want /dev/shm */
    ADD(args, "--size", "16777216", "--tmpfs", "/dev/shm", "--remount-ro", "/dev", "--remount-ro", "/");
    ADD(args, "--chdir", SANDBOX_WORK_DIR, "--setenv", "PATH", "/usr/bin:/bin", "--setenv", "HOME", "/tmp", "--setenv",
        "TMPDIR", "/tmp", "--setenv", "LANG", "C.UTF-8");
    for (size_t i = 0; spec->env != NULL && spec->env[i] != NULL; i++) {
        const char *equals = strchr(spec->env[i], '=');
        ensure(equals != NULL);
        char name[64];
        snprintf(name, sizeof(name), "%.*s", (int)(equals - spec->env[i]), spec->env[i]);
        ADD(args, "--setenv", name, equals + 1);
    }
    ADD(args, "--seccomp");
    args_add_u64(args, (uint64_t)next_fd);
    fd_map_add(map, memfile_reopen_read(host->filter_fd), next_fd++);

    ADD(args, "--", "/shoal/init");
    /* one more for init itself, one for bwrap, which older kernels count as the same user. A control group holds the limit
     * itself and counts how often it was met, so there this is only for the case that the group does not hold */
    args_add_u64(args, (uint64_t)spec->limits.procs + 2 + (host->cgroups.mode != CGROUP_NONE ? GROUPED_SPARE : 0));
    /* one byte more than the tmpfs holds, so that a full tmpfs is what a program meets; it is memory files like
     * SANDBOX_OUT_FD that this bounds */
    args_add_u64(args, ((uint64_t)spec->limits.fs_mib << 20) + 1);
    args_add_u64(args, NOFILE_MAX);
    args_add_u64(args, (uint64_t)spec->limits.mem_mib << 20); /* the stack is memory like any other */
    args_add_u64(args,
                 (uint64_t)(spec->limits.cpu_ms + 999) / 1000 + 1); /* a backstop for the supervisor's own watch */
    args_add(args, "--");
    for (size_t i = 0; spec->argv[i] != NULL; i++) {
        args_add(args, spec->argv[i]);
    }
}

/* --- the child ------------------------------------------------------------------------------------------------- */

static _Noreturn void child_fail(const char *what)
{
    const char *reason = strerrordesc_np(errno);
    if (reason == NULL) {
        reason = "unknown error";
    }
    if (write(2, what, strlen(what)) > 0 && write(2, ": ", 2) > 0 && write(2, reason, strlen(reason)) > 0) {
    }
    _exit(EXIT_BEFORE_EXEC);
}

/* When memory runs out that a box shares with others, it is the box that goes, and never the node. What is inherited
 * cannot be lowered again without rights. Where /proc cannot be written the budget of the node must do. */
static void oom_first(void)
{
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd >= 0) {
        (void)!write(fd, "1000", 4);
        close(fd);
    }
}

static _Noreturn void child_main(struct sandbox_host *host, const struct sandbox_view *view, const struct cgroup *group,
                                 uid_t uid, pid_t parent, struct args *args, struct fd_map *map, int high)
{
    struct sigaction plain = {.sa_handler = SIG_DFL};
    for (int signal = 1; signal < NSIG; signal++) {
        sigaction(signal, &plain, NULL);
    }

    /* first out of each other's way, then all else is closed by exec, then to the numbers bwrap was told */
    for (size_t i = 0; i < map->count; i++) {
        if ((map->items[i].from = fcntl(map->items[i].from, F_DUPFD_CLOEXEC, high)) < 0) {
            _exit(EXIT_BEFORE_EXEC);
        }
    }
    for (size_t i = 0; i < map->count; i++) {
        if (map->items[i].to <= 2 && dup2(map->items[i].from, map->items[i].to) < 0) {
            _exit(EXIT_BEFORE_EXEC);
        }
    }
    if (!cgroup_join(group)) {
        child_fail("cannot join the control group");
    }
    if (syscall(SYS_close_range, 3u, ~0u, 4u /* CLOSE_RANGE_CLOEXEC */) != 0) {
        for (int fd = 3; fd < high + 256; fd++) {
            fcntl(fd, F_SETFD, FD_CLOEXEC);
        }
    }
    for (size_t i = 0; i < map->count; i++) {
        if (map->items[i].to > 2 && dup2(map->items[i].from, map->items[i].to) < 0) {
            child_fail("cannot place a descriptor");
        }
    }

    if (host->has_view && !sandbox_view_enter(view)) {
        child_fail("cannot make a view of the system");
    }
    oom_first();
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    umask(022);
    if (chdir("/") != 0) {
        child_fail("cannot change to /");
    }
    /* the bare calls: those of the C library would want to reach threads that this child does not have */
    if (host->is_root && (syscall(SYS_setgroups, 0, NULL) != 0 || syscall(SYS_setresgid, uid, uid, uid) != 0 ||
                          syscall(SYS_setresuid, uid, uid, uid) != 0)) {
        child_fail("cannot become the slot's user");
    }
    /* changing the user clears it, so it comes last; a parent that died before it would go unnoticed */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) {
        _exit(EXIT_BEFORE_EXEC);
    }
    sigset_t empty;
    sigemptyset(&empty);
    sigprocmask(SIG_SETMASK, &empty, NULL);
    static char *const environment[] = {NULL};
    execve(host->bwrap_path, args->items, environment);
    child_fail("cannot execute bwrap");
}

/* --- the parent ------------------------------------------------------------------------------------------------ */

/* A pipe that the slot's user may open by name, as /dev/stdout or /dev/fd/1. */
static bool pipe_make(const struct sandbox_host *host, uid_t uid, int ret_ends[2])
{
    return pipe2(ret_ends, O_CLOEXEC) == 0 && (!host->is_root || fchown(ret_ends[0], uid, uid) == 0);
}

/* What the program reads: its end of a pipe, or a file of its own, for a shared one could carry locks from box to box. */
static int stdin_make(const struct sandbox_spec *spec, int pipe_end)
{
    if (spec->is_stdin_streamed) {
        return pipe_end;
    }
    return spec->stdin_fd >= 0 ? memfile_reopen_read(spec->stdin_fd) : memfile_of("stdin", SLICE(""));
}

enum status sandbox_spawn(struct sandbox_host *host, const struct sandbox_spec *spec, struct cgroup *group,
                          struct sandbox_child *ret_child)
{
    int out[2] = {-1, -1}, err[2] = {-1, -1}, record[2] = {-1, -1}, in[2] = {-1, -1};
    uid_t uid = sandbox_host_slot_uid(host, spec->slot);
    struct args args = {0};
    struct fd_map map = {.cap = spec->file_count + 16};
    map.items = calloc(map.cap, sizeof(*map.items));
    int pid_fd = -1;
    pid_t pid = -1;
    if (map.items == NULL) {
        return STATUS_NO_MEMORY;
    }
    if (!pipe_make(host, uid, out) || !pipe_make(host, uid, err) ||
        (spec->is_stdin_streamed && (!pipe_make(host, uid, in) || fcntl(in[1], F_SETFL, O_NONBLOCK) != 0)) ||
        socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, record) != 0) {
        goto end;
    }
    /* the kernel then tells which process wrote a record, in our numbering */
    int one = 1;
    if (setsockopt(record[0], SOL_SOCKET, SO_PASSCRED, &one, sizeof(one)) != 0 ||
        fcntl(out[0], F_SETFL, O_NONBLOCK) != 0 || fcntl(err[0], F_SETFL, O_NONBLOCK) != 0 ||
        fcntl(record[0], F_SETFL, O_NONBLOCK) != 0) {
        goto end;
    }
    fd_map_add(&map, stdin_make(spec, TAKE_FD(in[0])), 0);
    fd_map_add(&map, TAKE_FD(out[1]), 1);
    fd_map_add(&map, TAKE_FD(err[1]), 2);
    fd_map_add(&map, TAKE_FD(record[1]), INIT_RECORD_FD);
    if (spec->out_fd >= 0) {
        fd_map_add(&map, fcntl(spec->out_fd, F_DUPFD_CLOEXEC, 3), SANDBOX_OUT_FD);
    }
    command_make(host, spec, &args, &map);
    if (args.failed) {
        errno = ENOMEM;
    }
    if (args.failed || map.failed) {
        goto end;
    }

    struct sandbox_view view = host->view;
    for (size_t i = 0; host->has_view && spec->binds != NULL && spec->binds[i] != NULL; i++) {
        (void)sandbox_view_add(&view, spec->binds[i]); /* one that cannot be covered is shown as it is */
    }
    int high = FIRST_DATA_FD + (int)map.cap + 64;
    pid_t self = getpid();
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid = fork();
    if (pid == 0) {
        child_main(host, &view, group, uid, self, &args, &map, high);
    }
    int error = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = error;
    if (pid > 0) {
        pid_fd = (int)syscall(SYS_pidfd_open, pid, 0);
        if (pid_fd < 0) {
            error = errno;
            kill(pid, SIGKILL);
            waitpid(pid, NULL, 0);
            errno = error;
        }
    }
end:;
    int saved = errno;
    bool is_ok = pid_fd >= 0;
    args_free(&args);
    fd_map_free(&map);
    int ends[] = {out[1],
                  err[1],
                  record[1],
                  in[0],
                  is_ok ? -1 : out[0],
                  is_ok ? -1 : err[0],
                  is_ok ? -1 : record[0],
                  is_ok ? -1 : in[1]};
    for (size_t i = 0; i < ARRAY_COUNT(ends); i++) {
        if (ends[i] >= 0) {
            close(ends[i]);
        }
    }
    errno = saved;
    if (!is_ok) {
        return STATUS_IO;
    }
    *ret_child = (struct sandbox_child){pid, pid_fd, out[0], err[0], record[0], in[1]};
    return STATUS_OK;
}
