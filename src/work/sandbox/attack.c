/* attack.c - small attacks from inside a sandbox. A part of the static init, since it is the one program that every
 * sandbox has. Each prints what it could do that it should not have, or dies of it. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "work/sandbox/attack.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int failed(const char *what)
{
    printf("%s\n", what);
    fflush(stdout);
    return 1;
}

static int memory(void)
{
    static char *kept; /* a chain, so that no compiler sees that nobody looks at it */
    for (;;) {
        char *more = malloc(1 << 20);
        if (more == NULL) {
            return failed("malloc failed before the limit bit");
        }
        memset(more, 1, 1 << 20);
        memcpy(more, &kept, sizeof(kept));
        kept = more;
    }
}

static int processes(void)
{
    for (int i = 0; i < 200; i++) {
        pid_t pid = fork();
        if (pid < 0) {
            return errno == EAGAIN ? 0 : failed("fork failed for another reason");
        }
        if (pid == 0) {
            pause();
            _exit(0);
        }
    }
    return failed("200 processes could be made");
}

/* Fills the disk at a path; the count of MiB that fitted, at most `most`. */
static int fill(const char *path, int most)
{
    static char block[1 << 20];
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600), count = 0;
    if (fd < 0) {
        return 0;
    }
    memset(block, 1, sizeof(block));
    while (count < most && write(fd, block, sizeof(block)) == (ssize_t)sizeof(block)) {
        count++;
    }
    close(fd);
    unlink(path);
    return count;
}

static int disk(void)
{
    signal(SIGXFSZ, SIG_IGN);
    if (fill("/tmp/fill", 64) > 4) {
        return failed("more than fs_mib could be written to /tmp");
    }
    if (fill("/dev/shm/fill", 64) > 16) {
        return failed("more than 16 MiB could be written to /dev/shm");
    }
    static const char *const closed[] = {"/fill", "/dev/fill", "/usr/fill", "/etc/fill", "/shoal/fill", "/proc/fill"};
    for (size_t i = 0; i < sizeof(closed) / sizeof(*closed); i++) {
        if (fill(closed[i], 1) > 0) {
            return failed(closed[i]);
        }
    }
    return 0;
}

_Noreturn static int spin(void)
{
    for (volatile unsigned long i = 0;; i++) {
    }
}

_Noreturn static int sleep_long(void)
{
    for (;;) {
        pause();
    }
}

static int output(void)
{
    static char block[4096];
    memset(block, 'x', sizeof(block));
    for (;;) {
        if (write(1, block, sizeof(block)) < 0) {
            return 1;
        }
    }
}

static int network(void)
{
    if (socket(AF_INET, SOCK_STREAM, 0) >= 0 || socket(AF_INET6, SOCK_DGRAM, 0) >= 0 ||
        socket(AF_NETLINK, SOCK_RAW, 0) >= 0 || socket(AF_PACKET, SOCK_RAW, 0) >= 0) {
        return failed("a network socket could be made");
    }
    char line[256];
    FILE *devices = fopen("/proc/self/net/dev", "r");
    for (int i = 0; devices != NULL && fgets(line, sizeof(line), devices) != NULL; i++) {
        if (i >= 2 && strstr(line, "lo:") == NULL) {
            return failed("there is a network device besides lo");
        }
    }
    return 0;
}

static int files(void)
{
    static const char *const hidden[] = {"/etc/shadow",
                                         "/root",
                                         "/home",
                                         "/var",
                                         "/run",
                                         "/sys",
                                         "/srv",
                                         "/mnt",
                                         "/etc/hostname",
                                         "/etc/machine-id",
                                         "/dev/kmsg",
                                         "/dev/mem",
                                         "/proc/1/root/etc/shadow"};
    for (size_t i = 0; i < sizeof(hidden) / sizeof(*hidden); i++) {
        if (access(hidden[i], F_OK) == 0) {
            return failed(hidden[i]);
        }
    }
    DIR *proc = opendir("/proc");
    struct dirent *entry;
    while (proc != NULL && (entry = readdir(proc)) != NULL) {
        if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9' && atoi(entry->d_name) > 100) {
            return failed("processes of the machine can be seen");
        }
    }
    return 0;
}

static int rights(void)
{
    char line[256];
    FILE *status = fopen("/proc/self/status", "r");
    bool is_sealed = false;
    while (status != NULL && fgets(line, sizeof(line), status) != NULL) {
        unsigned long long mask;
        if ((sscanf(line, "CapEff: %llx", &mask) == 1 || sscanf(line, "CapPrm: %llx", &mask) == 1 ||
             sscanf(line, "CapBnd: %llx", &mask) == 1) &&
            mask != 0) {
            return failed("it has capabilities");
        }
        if (strncmp(line, "NoNewPrivs:\t1", 13) == 0) {
            is_sealed = true;
        }
    }
    if (!is_sealed) {
        return failed("new privileges are possible");
    }
    if (getuid() == 0 || setuid(0) == 0) {
        return failed("it can be root");
    }
    if (kill(1, SIGKILL) != 0 && errno != EPERM) {
        return failed("process 1 is not there");
    }
    struct rlimit none = {0, 0};
    if (prlimit(1, RLIMIT_CORE, &none, NULL) == 0) {
        return failed("the limits of process 1 can be set");
    }
    if (open("/proc/1/fd", O_RDONLY) >= 0 || open("/proc/1/mem", O_RDONLY) >= 0) {
        return failed("process 1 can be looked into");
    }
    return 0;
}

/* Leaves a process in a session of its own behind. */
static int survive(void)
{
    if (fork() == 0) {
        setsid();
        signal(SIGHUP, SIG_IGN);
        signal(SIGTERM, SIG_IGN);
        if (fork() == 0) {
            sleep_long();
        }
        _exit(0);
    }
    wait(NULL);
    return 0;
}

int attack(const char *name)
{
    static const struct {
        const char *name;
        int (*play)(void);
    } attacks[] = {{"memory", memory},   {"processes", processes}, {"disk", disk},       {"cpu", spin},
                   {"wall", sleep_long}, {"output", output},       {"network", network}, {"files", files},
                   {"rights", rights},   {"survive", survive}};
    for (size_t i = 0; i < sizeof(attacks) / sizeof(*attacks); i++) {
        if (strcmp(name, attacks[i].name) == 0) {
            return attacks[i].play();
        }
    }
    if (strcmp(name, "ptrace") == 0) {
        return ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0 ? failed("ptrace is allowed")
                                                          : failed("ptrace was only refused");
    }
    if (strcmp(name, "namespace") == 0) {
        return unshare(CLONE_NEWUSER) == 0 ? failed("a user namespace could be made")
                                           : failed("unshare was only refused");
    }
    if (strcmp(name, "mount") == 0) {
        return mount("none", "/tmp", "tmpfs", 0, NULL) == 0 ? failed("mount is allowed")
                                                            : failed("mount was only refused");
    }
    return failed("no such attack");
}
