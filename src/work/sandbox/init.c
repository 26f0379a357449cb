/* init.c - process 1 inside a sandbox.
 *
 * A static program of its own, carried inside the shoal binary and bound into every sandbox as /shoal/init. It starts
 * the one program the sandbox is for, reaps whatever that leaves behind, and tells the supervisor how it ended. When
 * it exits, the kernel kills everything else in the pid namespace: nothing survives a run.
 *
 * Why not bubblewrap's own init: it folds "exit code 139" and "killed by signal 11" into one number, so that a program
 * could pass off an exit code as the kill of the syscall filter. Why not a part of the shoal binary itself: that one
 * is dynamic and large, and every run would pay for it.
 *
 *   argv: init NPROC FSIZE NOFILE STACK CPU_S -- PROGRAM ARGS…     (limits in the units of setrlimit; 0: leave alone)
 *   fd 3: the record socket; one struct init_record when the program starts, one when it has ended
 *
 * Invariants: (I1) the program never holds fd 3 and cannot take it from us: it is closed on exec and this process is
 * not dumpable, so /proc/1 belongs to nobody inside; (I2) being process 1 of the namespace, no signal from inside
 * can end us, and the filter keeps the program from setting our resource limits, whose signals could; (I3) an END record is written only after the program itself was reaped. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "work/sandbox/attack.h"
#include "work/sandbox/init.h"

extern char **environ;

static int64_t mono_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void tell(const struct init_record *record)
{
    while (write(INIT_RECORD_FD, record, sizeof(*record)) < 0 && errno == EINTR) {
    }
}

static void limit(int resource, const char *text)
{
    unsigned long long value = strtoull(text, NULL, 10);
    if (value == 0) {
        return;
    }
    struct rlimit bound = {(rlim_t)value, (rlim_t)value};
    /* CPU: the soft end gives SIGXCPU, the hard one SIGKILL a second later */
    if (resource == RLIMIT_CPU) {
        bound.rlim_max++;
    }
    if (setrlimit(resource, &bound) != 0) {
        _exit(INIT_EXIT_BROKEN);
    }
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], ATTACK_OPTION) == 0) { /* as the program, not as process 1 */
        return attack(argv[2]);
    }
    if (argc < 8 || strcmp(argv[6], "--") != 0) {
        return INIT_EXIT_BROKEN;
    }
    if (prctl(PR_SET_DUMPABLE, 0) != 0 || fcntl(INIT_RECORD_FD, F_SETFD, FD_CLOEXEC) != 0) {
        return INIT_EXIT_BROKEN;
    }

    struct init_record record = {.magic = INIT_MAGIC, .type = INIT_STARTED};
    int64_t start_ns = mono_ns();
    tell(&record);

    /* the pipe carries the reason when the program cannot be executed; it closes by itself when it can */
    int failure[2];
    if (pipe2(failure, O_CLOEXEC) != 0) {
        return INIT_EXIT_BROKEN;
    }
    pid_t program = fork();
    if (program < 0) {
        return INIT_EXIT_BROKEN;
    }
    if (program == 0) {
        struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        limit(RLIMIT_NPROC, argv[1]);
        limit(RLIMIT_FSIZE, argv[2]);
        limit(RLIMIT_NOFILE, argv[3]);
        limit(RLIMIT_STACK, argv[4]);
        limit(RLIMIT_CPU, argv[5]);
        execve(argv[7], argv + 7, environ);
        int error = errno;
        while (write(failure[1], &error, sizeof(error)) < 0 && errno == EINTR) {
        }
        _exit(127);
    }
    close(failure[1]);
    int error = 0;
    ssize_t got;
    while ((got = read(failure[0], &error, sizeof(error))) < 0 && errno == EINTR) {
    }
    if (got == (ssize_t)sizeof(error)) {
        record.type = INIT_EXEC_FAILED;
        record.value = error;
        tell(&record);
        return INIT_EXIT_BROKEN;
    }
    close(failure[0]);

    for (;;) {
        int status;
        pid_t pid = wait(&status);
        if (pid < 0 && errno != EINTR) {
            return INIT_EXIT_BROKEN;
        }
        if (pid != program) {
            continue;
        }
        struct rusage usage;
        record.type = INIT_ENDED;
        record.value = status;
        record.wall_ns = mono_ns() - start_ns;
        if (getrusage(RUSAGE_CHILDREN, &usage) == 0) {
            record.cpu_us = (int64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 +
                            usage.ru_utime.tv_usec + usage.ru_stime.tv_usec;
            record.rss_max_kib = usage.ru_maxrss;
        }
        tell(&record);
        return 0;
    }
}
