/* sandbox.c - watches one box from start to end.
 *
 *   SETTING UP ──record STARTED──▶ RUNNING ──record ENDED, or a limit──▶ ENDING ──bwrap gone──▶ EMPTYING ──▶ done
 *
 * Five descriptors are on the loop for a run: bwrap's pidfd, its stdout and stderr, the record socket of the box's
 * process 1, and one timer. The timer does not tick: it is set to the earliest moment at which a limit could be
 * passed (the CPU time left divided by the processors there are), with an upper bound for what cannot be predicted.
 *
 * Ending. Killing process 1 of the box makes the kernel kill and reap everything in its pid namespace before bwrap sees
 * it die, so when bwrap's pidfd fires after that nothing is left. EMPTYING checks it, for bwrap may have been killed by
 * somebody else: the control group must be empty and process 1 dead, which the kernel lets it be only as the last.
 *
 * Invariants: (S1) `done` is called exactly once, after everything that runs under the slot's user for this run is
 * dead and the control group is gone, or with SANDBOX_FAULT when the kernel does not let go; (S2) the first limit that
 * was seen to be passed decides the end; (S3) at most out_kib of output is ever held; (S4) this process opens no path
 * inside the box, ever (without control groups it asks how full /tmp is, a mount that nobody inside can move): content goes
 * in and comes out through memory files and pipes alone. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "work/sandbox/init.h"
#include "work/sandbox/memfile.h"
#include "work/sandbox/process_tree.h"
#include "work/sandbox/sandbox_internal.h"

#define SETUP_MS 20000   /* bwrap needs about 10 ms; a machine that swaps, much more */
#define CHECK_MS_MAX 100 /* between two looks at a control group */
#define POLL_MS 20       /* between two walks through /proc */
#define CHECK_MS_MIN 2
#define ENDING_MS 5000 /* from the end of the program to that of bwrap; it takes about one */
#define EMPTY_RETRY_MS 1
#define EMPTY_MS 10000 /* then the kernel is not letting go of something */
#define FAULT_TEXT_MAX 400
#define STATUS_SIGNALLED_BY_BWRAP 128

enum phase { PHASE_SETUP, PHASE_RUNNING, PHASE_ENDING, PHASE_EMPTYING, PHASE_CLOSING };

struct stream {
    uv_poll_t poll;
    int fd;
    struct buf bytes;
    bool is_over;
};

/* Sends a file to the program as it reads. */
struct feed {
    uv_poll_t poll;
    int from; /* owned; -1: nothing is streamed */
    int to;
    bool is_over;
};

struct sandbox_run {
    uint32_t magic;
    struct sandbox_host *host;
    struct sandbox_limits limits;
    uint32_t slot;
    sandbox_done *done;
    void *ctx;

    enum phase phase;
    struct cgroup group;
    struct sandbox_child child;
    int init_pid_fd; /* -1 until STARTED */
    pid_t init_pid;
    uv_poll_t process;
    uv_poll_t record;
    uv_timer_t timer;
    struct stream out, err;
    struct feed in;
    uint32_t handles_open;

    bool is_decided; /* a limit or a cancel chose `end` */
    enum sandbox_end end;
    bool has_oom; /* the kernel killed something for want of memory, noticed only at the end */
    bool has_ended_record;
    struct init_record ended;
    int bwrap_status;
    int64_t started_ns; /* STARTED seen */
    int64_t stopped_ns; /* ENDED seen or kill sent */
    int64_t emptying_ns;
    int64_t cpu_base_us; /* used by the box's own making */
    int64_t cpu_us;
    int64_t memory_peak_bytes;
    int64_t procs_refused;
    bool is_truncated;
    char fault[SANDBOX_FAULT_SIZE];
};

static void run_step(struct sandbox_run *run);
static void timer_fired(uv_timer_t *timer);

static void timer_set(struct sandbox_run *run, int64_t delay_ms)
{
    uv_timer_start(&run->timer, timer_fired, (uint64_t)(delay_ms > 0 ? delay_ms : 0), 0);
}

/* --- deciding and killing -------------------------------------------------------------------------------------- */

static void run_kill(struct sandbox_run *run)
{
    /* process 1 takes all others with it; before it exists, bwrap's death signal does */
    int target = run->init_pid_fd >= 0 ? run->init_pid_fd : run->child.pid_fd;
    syscall(SYS_pidfd_send_signal, target, SIGKILL, NULL, 0);
}

static void run_decide(struct sandbox_run *run, enum sandbox_end end)
{
    if (run->is_decided || run->phase > PHASE_RUNNING) {
        return;
    }
    run->is_decided = true;
    run->end = end;
    run->stopped_ns = clock_mono_ns();
    run->phase = PHASE_ENDING;
    timer_set(run, ENDING_MS);
    run_kill(run);
}

static void run_fault(struct sandbox_run *run, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void run_fault(struct sandbox_run *run, const char *format, ...)
{
    if (run->fault[0] != 0) {
        return;
    }
    va_list args;
    va_start(args, format);
    vsnprintf(run->fault, sizeof(run->fault), format, args);
    va_end(args);
}

/* --- looking at what it uses ----------------------------------------------------------------------------------- */

static void run_measure(struct sandbox_run *run)
{
    if (run->group.host != NULL) {
        run->cpu_us = cgroup_cpu_us(&run->group) - run->cpu_base_us;
        int64_t peak = cgroup_memory_peak_bytes(&run->group);
        if (peak > run->memory_peak_bytes) {
            run->memory_peak_bytes = peak;
        }
        return;
    }
    struct process_usage usage;
    process_tree_usage(run->child.pid, &usage);
    /* its number is nobody else's while bwrap, which would reap it, has not ended */
    usage.memory_bytes += run->init_pid > 0 ? process_tree_files(run->init_pid) : 0;
    if (usage.cpu_us > run->cpu_us) {
        run->cpu_us = usage.cpu_us;
    }
    if (usage.memory_bytes > run->memory_peak_bytes) {
        run->memory_peak_bytes = usage.memory_bytes;
    }
}

static void run_watch(struct sandbox_run *run)
{
    int64_t wall_ms = (clock_mono_ns() - run->started_ns) / NS_PER_MS;
    run_measure(run);
    bool is_polling = run->group.host == NULL;
    int64_t cpu_left_ms = run->limits.cpu_ms - run->cpu_us / 1000;
    if (is_polling ? run->memory_peak_bytes > (int64_t)run->limits.mem_mib << 20 : cgroup_oom_kills(&run->group) > 0) {
        run_decide(run, SANDBOX_MEMORY);
    } else if (cpu_left_ms < 0 || wall_ms >= run->limits.wall_ms) {
        run_decide(run, SANDBOX_TIME);
    } else {
        int64_t next_ms = cpu_left_ms / run->host->cpus + 1;
        if (next_ms < CHECK_MS_MIN) {
            next_ms = CHECK_MS_MIN;
        }
        if (next_ms > (is_polling ? POLL_MS : CHECK_MS_MAX)) {
            next_ms = is_polling ? POLL_MS : CHECK_MS_MAX;
        }
        if (next_ms > run->limits.wall_ms - wall_ms) {
            next_ms = run->limits.wall_ms - wall_ms;
        }
        timer_set(run, next_ms);
    }
}

static void timer_fired(uv_timer_t *timer)
{
    struct sandbox_run *run = timer->data;
    ensure_magic(run, SANDBOX_RUN_MAGIC);
    switch (run->phase) {
    case PHASE_SETUP:
        run_fault(run, "the sandbox did not stand within %d s", SETUP_MS / 1000);
        run_decide(run, SANDBOX_FAULT);
        break;
    case PHASE_RUNNING:
        run_watch(run);
        break;
    case PHASE_EMPTYING:
        run_step(run);
        break;
    case PHASE_ENDING: /* bwrap itself hangs: what it leaves behind is found while emptying */
        syscall(SYS_pidfd_send_signal, run->child.pid_fd, SIGKILL, NULL, 0);
        break;
    case PHASE_CLOSING:
        break;
    }
}

/* --- output ---------------------------------------------------------------------------------------------------- */

static void stream_close(struct stream *stream)
{
    if (!stream->is_over) {
        uv_poll_stop(&stream->poll);
    }
    stream->is_over = true;
}

static void stream_read(struct sandbox_run *run, struct stream *stream)
{
    char bytes[65536];
    size_t most = (size_t)run->limits.out_kib << 10;
    while (!stream->is_over) {
        ssize_t got = read(stream->fd, bytes, sizeof(bytes));
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0 && errno == EAGAIN) {
            return;
        }
        if (got <= 0) {
            stream_close(stream);
            return;
        }
        size_t room = most - run->out.bytes.len - run->err.bytes.len;
        buf_append(&stream->bytes, bytes, (size_t)got < room ? (size_t)got : room);
        if ((size_t)got > room) {
            run->is_truncated = true;
            run_decide(run, SANDBOX_OUTPUT);
            /* the rest is dropped, and looked at only until it is dead */
            if (run->phase < PHASE_EMPTYING) {
                return;
            }
        }
    }
}

static void stream_ready(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    struct sandbox_run *run = poll->data;
    ensure_magic(run, SANDBOX_RUN_MAGIC);
    stream_read(run, poll == &run->out.poll ? &run->out : &run->err);
}

/* --- input ----------------------------------------------------------------------------------------------------- */

static void feed_close(struct feed *feed)
{
    if (!feed->is_over) {
        uv_poll_stop(&feed->poll);
        close(feed->to); /* the program sees the end */
        feed->to = -1;
    }
    feed->is_over = true;
}

/* One piece each turn, so that a greedy reader does not keep the loop from others. */
static void feed_ready(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    struct sandbox_run *run = poll->data;
    ensure_magic(run, SANDBOX_RUN_MAGIC);
    char bytes[65536];
    off_t at = lseek(run->in.from, 0, SEEK_CUR);
    ssize_t got = read(run->in.from, bytes, sizeof(bytes));
    if (got <= 0) {
        feed_close(&run->in);
        return;
    }
    ssize_t sent = write(run->in.to, bytes, (size_t)got);
    if (sent < 0 && errno != EAGAIN && errno != EINTR) { /* nobody reads any more */
        feed_close(&run->in);
        return;
    }
    lseek(run->in.from, at + (sent > 0 ? sent : 0), SEEK_SET);
}

/* --- records of process 1 -------------------------------------------------------------------------------------- */

static void record_take(struct sandbox_run *run, const struct init_record *record, pid_t pid)
{
    if (record->magic != INIT_MAGIC) {
        return;
    }
    if (record->type == INIT_STARTED && run->init_pid_fd < 0) {
        run->init_pid_fd = (int)syscall(SYS_pidfd_open, pid, 0);
        run->init_pid = pid;
        if (run->phase != PHASE_SETUP) { /* decided while it was set up: now there is somebody to kill */
            run_kill(run);
            return;
        }
        run->phase = PHASE_RUNNING;
        run->started_ns = clock_mono_ns();
        run->cpu_base_us = cgroup_cpu_us(&run->group);
        run_watch(run);
    } else if (record->type == INIT_EXEC_FAILED) {
        run_fault(run, "the program cannot be executed: %s", strerror(record->value));
        run_decide(run, SANDBOX_FAULT);
    } else if (record->type == INIT_ENDED && !run->has_ended_record) {
        run->ended = *record;
        run->has_ended_record = true;
        if (run->phase == PHASE_RUNNING) {
            run->stopped_ns = clock_mono_ns();
            run->phase = PHASE_ENDING;
            timer_set(run, ENDING_MS);
        }
    }
}

static void record_read(struct sandbox_run *run)
{
    for (;;) {
        struct init_record record;
        struct iovec part = {&record, sizeof(record)};
        union {
            char bytes[CMSG_SPACE(sizeof(struct ucred))];
            struct cmsghdr align;
        } control;
        struct msghdr message = {
            .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
        ssize_t got = recvmsg(run->child.record_fd, &message, MSG_CMSG_CLOEXEC);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            if (got == 0 || errno != EAGAIN) {
                uv_poll_stop(&run->record);
            }
            return;
        }
        struct cmsghdr *head = CMSG_FIRSTHDR(&message);
        struct ucred sender = {0};
        if (head != NULL && head->cmsg_level == SOL_SOCKET && head->cmsg_type == SCM_CREDENTIALS) {
            memcpy(&sender, CMSG_DATA(head), sizeof(sender));
        }
        if (got == (ssize_t)sizeof(record) && sender.pid > 0) {
            record_take(run, &record, sender.pid);
        }
    }
}

static void record_ready(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    struct sandbox_run *run = poll->data;
    ensure_magic(run, SANDBOX_RUN_MAGIC);
    record_read(run);
}

/* --- the end --------------------------------------------------------------------------------------------------- */

/* Whether process 1 of the box is dead, and with it, as the kernel has it, all others of its pid namespace. */
static bool init_is_dead(struct sandbox_run *run)
{
    struct pollfd exit_of_init = {.fd = run->init_pid_fd, .events = POLLIN};
    return poll(&exit_of_init, 1, 0) == 1;
}

/* Whether a process of this run may still live; kills those it finds. An empty control group alone is no proof: the
 * kernel leaves dying processes out of it. */
static bool run_is_empty(struct sandbox_run *run)
{
    if (!cgroup_kill(&run->group)) {
        return false;
    }
    if (run->init_pid_fd >= 0) {
        if (!init_is_dead(run)) {
            run_kill(run);
            return false;
        }
    } else if (run->host->is_root) { /* it ended before process 1 had said a word */
        uid_t uid = sandbox_host_slot_uid(run->host, run->slot);
        if (process_tree_of_users(uid, 1, SIGKILL) > 0) {
            return false;
        }
    }
    return cgroup_remove(&run->group);
}

/* What the numbers say about an end that nobody decided. */
static void run_judge(struct sandbox_run *run, struct sandbox_result *result)
{
    int status = run->has_ended_record ? run->ended.value : 0;
    if (!run->has_ended_record) {
        /* process 1 is gone without a word: the kernel chose it when memory ran out, or the machine failed */
        if (run->started_ns == 0 || run->init_pid_fd < 0) {
            const char *text = run->err.bytes.data;
            size_t len = run->err.bytes.len < FAULT_TEXT_MAX ? run->err.bytes.len : FAULT_TEXT_MAX;
            while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == ' ')) {
                len--;
            }
            run_fault(run, "the sandbox cannot be set up: %.*s", (int)len, len > 0 ? text : "");
        } else {
            run_fault(run, "process 1 of the sandbox ended early (status %d)", run->bwrap_status);
        }
        result->end = SANDBOX_FAULT;
    } else if (WIFSIGNALED(status)) {
        result->signal = WTERMSIG(status);
        result->end = result->signal == SIGSYS ? SANDBOX_SECURITY : SANDBOX_SIGNALLED;
    } else {
        result->exit_code = WEXITSTATUS(status);
        result->end = SANDBOX_EXITED;
    }
}

static void run_report(struct sandbox_run *run)
{
    struct sandbox_result result = {.end = run->end,
                                    .exit_code = -1,
                                    .out = buf_slice(&run->out.bytes),
                                    .err = buf_slice(&run->err.bytes),
                                    .procs_refused = run->procs_refused,
                                    .is_truncated = run->is_truncated};
    if (run->has_ended_record) {
        result.wall_ms = run->ended.wall_ns / NS_PER_MS;
        if (run->ended.cpu_us > run->cpu_us) {
            run->cpu_us = run->ended.cpu_us;
        }
        /* it counts the pages of shared libraries too, so a control group knows better */
        if (run->group.host == NULL && run->ended.rss_max_kib * 1024 > run->memory_peak_bytes) {
            run->memory_peak_bytes = run->ended.rss_max_kib * 1024;
        }
    } else if (run->started_ns != 0) {
        result.wall_ms = (run->stopped_ns - run->started_ns) / NS_PER_MS;
    }
    result.cpu_ms = run->cpu_us / 1000;
    result.peak_mib = (run->memory_peak_bytes + (1 << 20) - 1) >> 20;
    if (!run->is_decided) {
        run_judge(run, &result);
    }
    bool is_own_end = result.end == SANDBOX_EXITED || result.end == SANDBOX_SIGNALLED;
    /* what was passed between the last look and the end, or was read only after it */
    bool is_over = true;
    if (run->has_oom && (is_own_end || result.end == SANDBOX_FAULT)) {
        result.end = SANDBOX_MEMORY;
    } else if (is_own_end && result.cpu_ms > run->limits.cpu_ms) {
        result.end = SANDBOX_TIME;
    } else if (is_own_end && run->is_truncated) {
        result.end = SANDBOX_OUTPUT;
    } else {
        is_over = false;
    }
    if (is_over) { /* then it did not end by itself */
        result.exit_code = -1;
        result.signal = 0;
    }
    if (run->emptying_ns < 0) {
        run_fault(run, "the kernel does not let go of the sandbox's processes");
        result.end = SANDBOX_FAULT;
    }
    if (result.end == SANDBOX_FAULT) {
        memcpy(result.fault, run->fault, sizeof(result.fault));
    }
    run->host->runs--;
    run->done(run->ctx, &result);
}

static void handle_closed(uv_handle_t *handle)
{
    struct sandbox_run *run = handle->data;
    ensure_magic(run, SANDBOX_RUN_MAGIC);
    if (--run->handles_open > 0) {
        return;
    }
    int fds[] = {run->child.pid_fd, run->child.out_fd, run->child.err_fd, run->child.record_fd,
                 run->init_pid_fd,  run->in.from,      run->in.to};
    for (size_t i = 0; i < ARRAY_COUNT(fds); i++) {
        if (fds[i] >= 0) {
            close(fds[i]);
        }
    }
    run_report(run);
    buf_free(&run->out.bytes);
    buf_free(&run->err.bytes);
    run->magic = 0;
    free(run);
}

static void run_close(struct sandbox_run *run)
{
    run->phase = PHASE_CLOSING;
    uv_handle_t *handles[] = {(uv_handle_t *)&run->process, (uv_handle_t *)&run->record, (uv_handle_t *)&run->out.poll,
                              (uv_handle_t *)&run->err.poll, (uv_handle_t *)&run->timer};
    for (size_t i = 0; i < ARRAY_COUNT(handles); i++) {
        uv_close(handles[i], handle_closed);
    }
    if (run->in.from >= 0) {
        uv_close((uv_handle_t *)&run->in.poll, handle_closed);
    }
}

/* EMPTYING: looks once, and again soon, until nothing is left. */
static void run_step(struct sandbox_run *run)
{
    if (!run_is_empty(run)) {
        if (clock_mono_ns() - run->emptying_ns < EMPTY_MS * NS_PER_MS) {
            timer_set(run, EMPTY_RETRY_MS);
            return;
        }
        run->emptying_ns = -1;
    }
    if (run->in.from >= 0) {
        feed_close(&run->in);
    }
    /* all writers are dead: this reads to the end */
    stream_read(run, &run->out);
    stream_read(run, &run->err);
    run_close(run);
}

static void process_ready(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    struct sandbox_run *run = poll->data;
    ensure_magic(run, SANDBOX_RUN_MAGIC);
    siginfo_t info = {0};
    if (waitid(P_PIDFD, (id_t)run->child.pid_fd, &info, WEXITED | WNOHANG) == 0 && info.si_pid == 0) {
        return;
    }
    run->bwrap_status = info.si_code == CLD_EXITED ? info.si_status : STATUS_SIGNALLED_BY_BWRAP + info.si_status;
    uv_poll_stop(&run->process);
    record_read(run);
    if (run->stopped_ns == 0) {
        run->stopped_ns = clock_mono_ns();
    }
    if (run->group.host != NULL) {
        run_measure(run);
        /* the kernel's own kill may come between two looks */
        run->has_oom = cgroup_oom_kills(&run->group) > 0;
        run->procs_refused = cgroup_procs_refused(&run->group);
    }
    run->phase = PHASE_EMPTYING;
    run->emptying_ns = clock_mono_ns();
    run_step(run);
}

/* --- starting -------------------------------------------------------------------------------------------------- */

static void poll_open(struct sandbox_run *run, uv_poll_t *poll, int fd, int events, uv_poll_cb ready)
{
    /* a pipe, a socket and a pidfd on a working loop: these cannot fail but for a programmer's error */
    int rc = uv_poll_init(run->host->loop, poll, fd);
    ensure(rc == 0);
    poll->data = run;
    rc = uv_poll_start(poll, events, ready);
    ensure(rc == 0);
    run->handles_open++;
}

enum status sandbox_start(struct sandbox_host *host, const struct sandbox_spec *spec, sandbox_done *done, void *ctx,
                          struct sandbox_run **ret_run)
{
    ensure_magic(host, SANDBOX_HOST_MAGIC);
    ensure(spec->slot < host->slots && spec->argv[0] != NULL && spec->argv[0][0] == '/');
    struct sandbox_run *run = calloc(1, sizeof(*run));
    if (run == NULL) {
        return STATUS_NO_MEMORY;
    }
    run->magic = SANDBOX_RUN_MAGIC;
    run->host = host;
    run->limits = spec->limits;
    run->slot = spec->slot;
    run->done = done;
    run->ctx = ctx;
    run->init_pid_fd = run->in.from = run->in.to = -1;
    if (spec->is_stdin_streamed && (run->in.from = memfile_reopen_read(spec->stdin_fd)) < 0) {
        free(run);
        return STATUS_IO;
    }
    size_t out_max = (size_t)spec->limits.out_kib << 10;
    buf_init(&run->out.bytes, out_max);
    buf_init(&run->err.bytes, out_max);
    enum status status =
        cgroup_make(&host->cgroups, (uint64_t)spec->limits.mem_mib << 20, spec->limits.procs + 2, &run->group);
    if (status == STATUS_OK) {
        status = sandbox_spawn(host, spec, &run->group, &run->child);
        int error = errno;
        cgroup_joined(&run->group);
        if (status != STATUS_OK) {
            cgroup_remove(&run->group);
        }
        errno = error;
    }
    if (status != STATUS_OK) {
        int error = errno;
        if (run->in.from >= 0) {
            close(run->in.from);
        }
        run->magic = 0;
        free(run);
        errno = error;
        return status;
    }
    run->in.to = run->child.in_fd;
    run->out.fd = run->child.out_fd;
    run->err.fd = run->child.err_fd;
    poll_open(run, &run->process, run->child.pid_fd, UV_READABLE, process_ready);
    poll_open(run, &run->record, run->child.record_fd, UV_READABLE, record_ready);
    poll_open(run, &run->out.poll, run->out.fd, UV_READABLE, stream_ready);
    poll_open(run, &run->err.poll, run->err.fd, UV_READABLE, stream_ready);
    if (run->in.from >= 0) {
        poll_open(run, &run->in.poll, run->in.to, UV_WRITABLE, feed_ready);
    }
    uv_timer_init(host->loop, &run->timer);
    run->timer.data = run;
    run->handles_open++;
    uv_update_time(host->loop);
    timer_set(run, SETUP_MS);
    host->runs++;
    *ret_run = run;
    return STATUS_OK;
}

void sandbox_cancel(struct sandbox_run *run)
{
    ensure_magic(run, SANDBOX_RUN_MAGIC);
    run_decide(run, SANDBOX_CANCELLED);
}
