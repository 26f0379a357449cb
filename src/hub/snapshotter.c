/* snapshotter.c - snapshots of the core by a forked child.
 *
 *   parent   fork ──── goes on applying ──── entry durable: writes a byte ──────────── SIGCHLD, waitpid(child)
 *   child        └─ nice, hash, save to snapshot/<seq>.tmp ─── reads the byte ─── sync, rename, exit 0
 *
 * fork gives the child the state of one moment at the cost of copying page tables (about 5 ms a GiB) and of the pages that
 * change meanwhile. What the child must not keep of its parent:
 *  - signal handlers: libuv's write into a pipe that both share, and the parent would see the child's signals as its own
 *  - sockets: a child that outlives a killed hub would hold its port
 *  - the lock of the data directory, for the same reason
 *  - its life: with PR_SET_PDEATHSIG it is killed with the parent, so that it never writes beside a successor
 *
 * It uses malloc, which glibc keeps usable across fork, and no other lock of the parent's.
 * Rejected: writing from the loop (the hub would stand still), copying records on write by hand (fork does it). */
#include "hub/snapshotter.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/ensure.h"
#include "journal/file_journal.h"

#define CHILD_NICE 10
#define CHILD_MS_MAX (30 * 60 * 1000) /* a child that is not done by then hangs; 4 GiB at 10 MB/s take seven minutes */

struct snapshotter {
    uint32_t magic;
    struct disk *disk;
    struct sequencer *sequencer;
    void (*on_done)(void *ctx, enum status status, uint64_t seq);
    void *ctx;
    dev_t lock_dev;
    ino_t lock_ino;
    uv_signal_t sigchld;
    uv_timer_t timer;
    int open_handles;
    pid_t child;       /* 0: none */
    int go_fd;         /* write end of the child's pipe; -1 when the byte was sent */
    uint64_t seq;      /* of the child */
    uint64_t done_seq; /* of the newest snapshot */
};

enum status snapshot_core(struct disk *disk, const struct core *core)
{
    uint8_t hash[SHA256_SIZE];
    core_hash(core, hash);
    struct snapshot_writer *writer = NULL;
    enum status status = snapshot_begin(disk, core_seq(core), core_time_ns(core), hash, &writer);
    if (status != STATUS_OK) {
        return status;
    }
    status = core_save(core, snapshot_write, writer);
    enum status end_status = snapshot_end(writer, status == STATUS_OK);
    return status != STATUS_OK ? status : end_status;
}

/* --- the child --- */

/* Closes what would outlive a killed hub: sockets and the lock. */
static void child_close_inherited(const struct snapshotter *snapshotter, int keep_fd)
{
    DIR *dir = opendir("/proc/self/fd");
    if (dir == NULL) {
        return;
    }
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        int fd = atoi(entry->d_name);
        struct stat info;
        if (fd <= STDERR_FILENO || fd == keep_fd || fd == dirfd(dir) || fstat(fd, &info) != 0) {
            continue;
        }
        bool is_lock = info.st_dev == snapshotter->lock_dev && info.st_ino == snapshotter->lock_ino;
        if (S_ISSOCK(info.st_mode) || is_lock) {
            (void)close(fd);
        }
    }
    (void)closedir(dir);
}

static void child_reset_signals(void)
{
    for (int number = 1; number < NSIG; number++) {
        if (number != SIGKILL && number != SIGSTOP) {
            (void)signal(number, SIG_DFL);
        }
    }
    /* Ctrl-C goes to the whole group: the parent decides. */
    (void)signal(SIGINT, SIG_IGN);
    (void)signal(SIGTERM, SIG_IGN);
    (void)signal(SIGHUP, SIG_IGN);
    (void)signal(SIGPIPE, SIG_IGN);
    sigset_t none;
    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

_Noreturn static void child_run(struct snapshotter *snapshotter, int wait_fd, pid_t parent)
{
    child_reset_signals();
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent) {
        _exit(1);
    }
    child_close_inherited(snapshotter, wait_fd);
    (void)setpriority(PRIO_PROCESS, 0, CHILD_NICE);

    const struct core *core = sequencer_core(snapshotter->sequencer);
    uint8_t hash[SHA256_SIZE];
    core_hash(core, hash);
    struct snapshot_writer *writer = NULL;
    enum status status = snapshot_begin(snapshotter->disk, core_seq(core), core_time_ns(core), hash, &writer);
    if (status == STATUS_OK) {
        status = core_save(core, snapshot_write, writer);
        char byte = 0;
        ssize_t got;
        do {
            got = read(wait_fd, &byte, 1);
        } while (got < 0 && errno == EINTR);
        enum status end_status = snapshot_end(writer, status == STATUS_OK && got == 1);
        status = status != STATUS_OK ? status : end_status;
    }
    /* The exit code carries the status; every one of them fits. */
    static_assert(STATUS_COUNT < 128, "an exit code must hold a status");
    _exit((int)status);
}

/* --- the parent --- */

static void close_go(struct snapshotter *snapshotter)
{
    if (snapshotter->go_fd >= 0) {
        (void)close(snapshotter->go_fd);
        snapshotter->go_fd = -1;
    }
}

/* The child is gone: what became of it. */
static enum status child_status(int wait_status)
{
    if (WIFEXITED(wait_status) && WEXITSTATUS(wait_status) < STATUS_COUNT) {
        return (enum status)WEXITSTATUS(wait_status);
    }
    return STATUS_FAILED;
}

static void on_sigchld(uv_signal_t *handle, int number)
{
    (void)number;
    struct snapshotter *snapshotter = handle->data;
    ensure_magic(snapshotter, SNAPSHOTTER_MAGIC);
    int wait_status = 0;
    if (snapshotter->child == 0 || waitpid(snapshotter->child, &wait_status, WNOHANG) != snapshotter->child) {
        return;
    }
    snapshotter->child = 0;
    close_go(snapshotter);
    (void)uv_timer_stop(&snapshotter->timer);
    enum status status = child_status(wait_status);
    if (status == STATUS_OK) {
        snapshotter->done_seq = snapshotter->seq;
    }
    snapshotter->on_done(snapshotter->ctx, status, snapshotter->seq);
}

static void on_timer(uv_timer_t *timer)
{
    struct snapshotter *snapshotter = timer->data;
    if (snapshotter->child != 0) {
        (void)kill(snapshotter->child, SIGKILL); /* on_sigchld sees it fail */
    }
}

enum status snapshotter_new(struct loop *loop, struct disk *disk, struct sequencer *sequencer, const char *lock_path,
                            uint64_t newest_seq, void (*on_done)(void *ctx, enum status status, uint64_t seq),
                            void *ctx, struct snapshotter **ret_snapshotter)
{
    struct snapshotter *snapshotter = calloc(1, sizeof(*snapshotter));
    if (snapshotter == NULL) {
        return STATUS_NO_MEMORY;
    }
    snapshotter->magic = SNAPSHOTTER_MAGIC;
    snapshotter->disk = disk;
    snapshotter->sequencer = sequencer;
    snapshotter->on_done = on_done;
    snapshotter->ctx = ctx;
    snapshotter->go_fd = -1;
    snapshotter->done_seq = newest_seq;
    struct stat info;
    if (stat(lock_path, &info) == 0) {
        snapshotter->lock_dev = info.st_dev;
        snapshotter->lock_ino = info.st_ino;
    }
    int error = uv_signal_init(&loop->uv, &snapshotter->sigchld);
    if (error != 0) {
        free(snapshotter);
        return status_of_uv(error);
    }
    (void)uv_timer_init(&loop->uv, &snapshotter->timer);
    snapshotter->open_handles = 2;
    snapshotter->sigchld.data = snapshotter;
    snapshotter->timer.data = snapshotter;
    error = uv_signal_start(&snapshotter->sigchld, on_sigchld, SIGCHLD);
    if (error != 0) {
        snapshotter_free(snapshotter);
        return status_of_uv(error);
    }
    uv_unref((uv_handle_t *)&snapshotter->sigchld);
    uv_unref((uv_handle_t *)&snapshotter->timer);
    *ret_snapshotter = snapshotter;
    return STATUS_OK;
}

enum status snapshotter_begin(struct snapshotter *snapshotter)
{
    ensure_magic(snapshotter, SNAPSHOTTER_MAGIC);
    uint64_t seq = core_seq(sequencer_core(snapshotter->sequencer));
    if (snapshotter->child != 0 || seq == 0 || seq == snapshotter->done_seq) {
        return STATUS_AGAIN;
    }
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) != 0) {
        return STATUS_IO;
    }
    /* No signal may run a handler of the parent's in the child. */
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    pid_t parent = getpid();
    pid_t child = fork();
    if (child == 0) {
        (void)close(fds[1]);
        child_run(snapshotter, fds[0], parent);
    }
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    (void)close(fds[0]);
    if (child < 0) {
        (void)close(fds[1]);
        return STATUS_NO_MEMORY;
    }
    snapshotter->child = child;
    snapshotter->seq = seq;
    snapshotter->go_fd = fds[1];
    (void)uv_timer_start(&snapshotter->timer, on_timer, CHILD_MS_MAX, 0);
    snapshotter_on_durable(snapshotter, sequencer_durable_seq(snapshotter->sequencer));
    return STATUS_OK;
}

bool snapshotter_is_running(const struct snapshotter *snapshotter)
{
    return snapshotter->child != 0;
}

void snapshotter_on_durable(struct snapshotter *snapshotter, uint64_t seq)
{
    if (snapshotter->go_fd >= 0 && seq >= snapshotter->seq) {
        /* One byte into an empty pipe never blocks; a child that is gone is reported by waitpid. */
        ssize_t written = write(snapshotter->go_fd, "!", 1);
        (void)written;
        close_go(snapshotter);
    }
}

static void end_child(struct snapshotter *snapshotter)
{
    close_go(snapshotter);
    if (snapshotter->child != 0) {
        (void)kill(snapshotter->child, SIGKILL);
        while (waitpid(snapshotter->child, NULL, 0) < 0 && errno == EINTR) {
        }
        snapshotter->child = 0;
    }
}

enum status snapshotter_run(struct snapshotter *snapshotter)
{
    ensure_magic(snapshotter, SNAPSHOTTER_MAGIC);
    end_child(snapshotter);
    const struct core *core = sequencer_core(snapshotter->sequencer);
    ensure(sequencer_durable_seq(snapshotter->sequencer) >= core_seq(core));
    if (core_seq(core) == 0 || core_seq(core) == snapshotter->done_seq) {
        return STATUS_OK;
    }
    enum status status = snapshot_core(snapshotter->disk, core);
    if (status == STATUS_OK) {
        snapshotter->done_seq = core_seq(core);
    }
    return status;
}

static void on_closed(uv_handle_t *handle)
{
    struct snapshotter *snapshotter = handle->data;
    if (--snapshotter->open_handles == 0) {
        snapshotter->magic = 0;
        free(snapshotter);
    }
}

void snapshotter_free(struct snapshotter *snapshotter)
{
    if (snapshotter == NULL) {
        return;
    }
    end_child(snapshotter);
    uv_close((uv_handle_t *)&snapshotter->sigchld, on_closed);
    uv_close((uv_handle_t *)&snapshotter->timer, on_closed);
}
