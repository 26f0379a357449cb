/* child.c - fork, exec, and nothing left behind.
 *
 * Between fork and exec only system calls are made. What goes wrong there comes back through a pipe that a
 * successful exec closes: the step's name and the error number.
 *
 * A small disk is a tmpfs in a mount namespace, which an ordinary user may make inside of a user namespace. The parent
 * holds descriptors of the namespaces, so that a process that was killed finds its files again, and of the
 * folder, through which the disk can be filled from outside even while nobody runs in there.
 *
 * Two things kill a child whose parent is gone: PR_SET_PDEATHSIG, at once but only the child itself; and the keeper, the whole
 * group. A program that leaves its process group escapes both. */
#include "bench/child.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/ensure.h"

#define GROUPS_MAX 256
#define FILL_NAME "filled-by-bench"
#define FILL_PIECE_MIN 4096 /* a page, which is what a tmpfs counts in */

/* --- the keeper --- */

static _Noreturn void keep(int pipe)
{
    pid_t groups[GROUPS_MAX] = {0};
    pid_t message;
    for (int number = 1; number < NSIG; number++) { /* what ends the run ends us through the pipe */
        (void)signal(number, number == SIGCHLD ? SIG_DFL : SIG_IGN);
    }
    for (;;) {
        ssize_t got =
            read(pipe, &message, sizeof(message)); /* messages are shorter than PIPE_BUF: whole or not at all */
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got != sizeof(message)) {
            break;
        }
        pid_t from = message > 0 ? 0 : -message, to = message > 0 ? message : 0; /* a new group, or one that is gone */
        for (unsigned i = 0; i < GROUPS_MAX; i++) {
            if (groups[i] == from) {
                groups[i] = to;
                break;
            }
        }
    }
    for (unsigned i = 0; i < GROUPS_MAX; i++) {
        if (groups[i] > 0) {
            (void)kill(-groups[i], SIGKILL);
        }
    }
    _exit(0);
}

enum status keeper_start(struct keeper *ret_keeper)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) != 0) {
        return STATUS_IO;
    }
    pid_t pid = fork();
    if (pid < 0) {
        close(fds[0]);
        close(fds[1]);
        return STATUS_NO_MEMORY;
    }
    if (pid == 0) {
        (void)setpgid(0, 0);
        (void)dup2(fds[0], 3);
        (void)close_range(4, UINT_MAX, 0);
        int null = open("/dev/null", O_RDWR); /* a pipe on standard output must end with the caller */
        for (int fd = 0; fd < 3 && null >= 0; fd++) {
            (void)dup2(null, fd);
        }
        keep(3);
    }
    close(fds[0]);
    *ret_keeper = (struct keeper){.pipe = fds[1], .pid = pid};
    return STATUS_OK;
}

void keeper_stop(struct keeper *keeper)
{
    if (keeper->pipe < 0) {
        return;
    }
    close(keeper->pipe);
    keeper->pipe = -1;
    while (waitpid(keeper->pid, NULL, 0) < 0 && errno == EINTR)
        ;
}

static void tell(const struct keeper *keeper, pid_t message)
{
    ssize_t written = write(keeper->pipe, &message, sizeof(message));
    (void)written; /* without the keeper there is still PR_SET_PDEATHSIG */
}

/* --- in the child, before its program --- */

struct failure { /* what comes back through the pipe */
    int error;
    char step[60];
};

static bool write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool is_written = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0) {
        close(fd);
    }
    return is_written;
}

/* The caller's user stays who he is. */
static bool map_user(uid_t uid, gid_t gid)
{
    char text[64];
    snprintf(text, sizeof(text), "%u %u 1", uid, uid);
    if (!write_file("/proc/self/setgroups", "deny") || !write_file("/proc/self/uid_map", text)) {
        return false;
    }
    snprintf(text, sizeof(text), "%u %u 1", gid, gid);
    return write_file("/proc/self/gid_map", text);
}

/* NULL, or what could not be done (errno says why). */
static const char *mount_disk(const struct child_spec *spec, const struct child_disk *disk)
{
    if (disk->mount_ns >= 0) {
        if (disk->user_ns >= 0 && setns(disk->user_ns, CLONE_NEWUSER) != 0) {
            return "enter the user namespace of its disk";
        }
        return setns(disk->mount_ns, CLONE_NEWNS) != 0 ? "enter the mount namespace of its disk" : NULL;
    }
    uid_t uid = getuid();
    gid_t gid = getgid();
    if (unshare(CLONE_NEWNS) != 0 && (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0 || !map_user(uid, gid))) {
        return "make a namespace for its disk";
    }
    char options[64];
    snprintf(options, sizeof(options), "size=%" PRIu64 ",mode=0700", spec->disk_bytes);
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("tmpfs", spec->disk_dir, "tmpfs", MS_NOSUID | MS_NODEV, options) != 0) {
        return "mount its disk";
    }
    return NULL;
}

static const char *prepare(const struct child_spec *spec, const struct child_disk *disk, pid_t parent)
{
    sigset_t none;
    (void)setpgid(0, 0);
    (void)signal(SIGPIPE, SIG_DFL); /* which the loop ignores, and exec would pass on */
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    int log = open(spec->log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (log < 0 || null < 0) {
        return "open its log";
    }
    (void)dup2(null, STDIN_FILENO);
    (void)dup2(log, STDOUT_FILENO);
    (void)dup2(log, STDERR_FILENO);
    const char *what = spec->disk_bytes > 0 ? mount_disk(spec, disk) : NULL;
    if (what != NULL) {
        return what;
    }
    if (spec->memory_bytes > 0) {
        struct rlimit limit = {.rlim_cur = spec->memory_bytes, .rlim_max = RLIM_INFINITY};
        struct rlimit old;
        if (getrlimit(RLIMIT_DATA, &old) == 0) {
            limit.rlim_max = old.rlim_max;
        }
        if (setrlimit(RLIMIT_DATA, &limit) != 0) {
            return "limit its memory";
        }
    }
    /* After the change of user namespaces, which would clear it. */
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) {
        _exit(1);
    }
    execv(spec->args[0], (char *const *)spec->args);
    return "run it";
}

/* --- in the parent --- */

static int open_of(pid_t pid, const char *rest, int flags)
{
    char path[PATH_MAX];
    if ((size_t)snprintf(path, sizeof(path), "/proc/%d/%s", pid, rest) >= sizeof(path)) {
        return -1;
    }
    return open(path, flags | O_CLOEXEC);
}

/* Keeps hold of the disk of a process that has just been started. */
static bool hold_disk(pid_t pid, const char *dir, struct child_disk *disk)
{
    struct stat ours, its;
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "root%s", dir);
    disk->mount_ns = open_of(pid, "ns/mnt", O_RDONLY);
    int user = open_of(pid, "ns/user", O_RDONLY);
    if (user >= 0 && stat("/proc/self/ns/user", &ours) == 0 && fstat(user, &its) == 0 && ours.st_ino != its.st_ino) {
        disk->user_ns = user;
    } else if (user >= 0) {
        close(user);
    }
    disk->dir = open_of(pid, path, O_RDONLY | O_DIRECTORY);
    return disk->mount_ns >= 0 && disk->dir >= 0;
}

enum status child_start(const struct keeper *keeper, const struct child_spec *spec, struct child_disk *disk,
                        pid_t *ret_pid, int *ret_pidfd, char *ret_why, size_t why_size)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) != 0) {
        snprintf(ret_why, why_size, "cannot make a pipe: %s", strerror(errno));
        return STATUS_IO;
    }
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0) {
        struct failure failure = {0};
        snprintf(failure.step, sizeof(failure.step), "%s", prepare(spec, disk, parent));
        failure.error = errno;
        ssize_t written = write(fds[1], &failure, sizeof(failure));
        _exit(written > 0 ? 1 : 2);
    }
    close(fds[1]);
    if (pid < 0) {
        close(fds[0]);
        snprintf(ret_why, why_size, "cannot start a process: %s", strerror(errno));
        return STATUS_NO_MEMORY;
    }
    (void)setpgid(pid, pid); /* both do it, as neither may come too late */
    tell(keeper, pid);
    struct failure failure;
    ssize_t got;
    do {
        got = read(fds[0], &failure, sizeof(failure));
    } while (got < 0 && errno == EINTR);
    close(fds[0]);
    int code, number;
    if (got == (ssize_t)sizeof(failure)) {
        snprintf(ret_why, why_size, "cannot %s: %s", failure.step, strerror(failure.error));
        child_reap(keeper, pid, &code, &number);
        return failure.error == EPERM || failure.error == EACCES ? STATUS_PERMISSION : STATUS_IO;
    }
    int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    bool is_held = spec->disk_bytes == 0 || disk->mount_ns >= 0 || hold_disk(pid, spec->disk_dir, disk);
    if (pidfd < 0 || !is_held) {
        snprintf(ret_why, why_size, "cannot watch it: %s", strerror(errno));
        child_signal(pid, SIGKILL);
        child_reap(keeper, pid, &code, &number);
        if (pidfd >= 0) {
            close(pidfd);
        }
        return STATUS_IO;
    }
    *ret_pid = pid;
    *ret_pidfd = pidfd;
    return STATUS_OK;
}

void child_reap(const struct keeper *keeper, pid_t pid, int *ret_code, int *ret_signal)
{
    int wait_status = 0;
    siginfo_t info;
    /* While it has not been waited for, its number cannot be another group's. */
    while (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT) < 0 && errno == EINTR)
        ;
    (void)kill(-pid, SIGKILL);
    while (waitpid(pid, &wait_status, 0) < 0 && errno == EINTR)
        ;
    tell(keeper, -pid);
    *ret_code = WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : -1;
    *ret_signal = WIFSIGNALED(wait_status) ? WTERMSIG(wait_status) : 0;
}

void child_signal(pid_t pid, int number)
{
    ensure(pid > 0);
    (void)kill(-pid, number);
}

/* --- the small disk --- */

void child_disk_init(struct child_disk *disk)
{
    *disk = (struct child_disk){.user_ns = -1, .mount_ns = -1, .dir = -1};
}

void child_disk_free(struct child_disk *disk)
{
    int *fds[] = {&disk->user_ns, &disk->mount_ns, &disk->dir};
    for (unsigned i = 0; i < ARRAY_COUNT(fds); i++) {
        if (*fds[i] >= 0) {
            close(*fds[i]);
        }
        *fds[i] = -1;
    }
}

enum status child_disk_fill(const struct child_disk *disk, uint64_t bytes)
{
    struct statvfs space;
    int fd = openat(disk->dir, FILL_NAME, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
        return errno == ENOSPC ? STATUS_OK : STATUS_IO; /* full already */
    }
    struct stat already;
    uint64_t at = fstat(fd, &already) == 0 ? (uint64_t)already.st_size : 0;
    uint64_t left = bytes > 0 ? bytes : UINT64_MAX;
    uint64_t piece = fstatvfs(fd, &space) == 0 ? (uint64_t)space.f_bavail * space.f_frsize : 0;
    /* What is free may be taken by somebody else meanwhile: ever smaller pieces until nothing fits. */
    while (left > 0 && piece >= FILL_PIECE_MIN) {
        uint64_t size = piece < left ? piece : left;
        if (posix_fallocate(fd, (off_t)at, (off_t)size) != 0) {
            piece = piece / 2 & ~(uint64_t)(FILL_PIECE_MIN - 1);
            continue;
        }
        at += size;
        left -= size;
    }
    close(fd);
    return STATUS_OK;
}

void child_disk_clear(const struct child_disk *disk)
{
    (void)unlinkat(disk->dir, FILL_NAME, 0);
}
