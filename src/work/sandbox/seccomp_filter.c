/* seccomp_filter.c - which system calls a sandboxed program may make.
 *
 * An allow-list with three answers. What ordinary programs and the five runtimes need is allowed. What only an attack
 * on the sandbox needs ends the process with SIGSYS, which is what the verdict SECURITY is read from. All else,
 * among it every call that a later kernel will invent, fails with ENOSYS, because that is the answer on which the C
 * library and the runtimes fall back to older ways (clone3 to clone, whose flags can be looked at; io_uring to epoll).
 *
 * The filter is the second fence, not the first: namespaces, a lost set of capabilities and no new privileges already
 * make the killed calls fail. It keeps the kernel's rarely used doors out of reach while a hole in one is unknown.
 *
 * SIGSYS comes as a trap, not as the kernel's own kill: the kill writes a line to the machine's audit log each time, and a
 * program can have thousands of children killed in a second. A program that handles the signal goes on, without the call.
 * No program can send the signal to itself or others, so that it is a sign of the filter alone.
 *
 * What shows or tells something through files that all boxes share is refused with ENOSYS: inotify, fanotify, and F_NOTIFY
 * and leases of fcntl. Programs that watch files fall back to looking.
 *
 * Sockets: AF_UNIX only. Any other family fails with EACCES rather than killing, since the C library asks for
 * AF_NETLINK and AF_INET merely to resolve a name, and a program may well handle having no network. */
#include "work/sandbox/seccomp_filter.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/ensure.h"

/* Names, not numbers: a name that this architecture or libseccomp does not know is passed over. */
static const char *const allowed[] = {
    /* memory */
    "brk", "mmap", "mmap2", "munmap", "mprotect", "mremap", "madvise", "msync", "mincore", "mlock", "mlock2", "munlock",
    "mlockall", "munlockall", "membarrier", "pkey_alloc", "pkey_free", "pkey_mprotect", "get_mempolicy",
    /* files */
    "open", "openat", "openat2", "creat", "close", "close_range", "read", "write", "readv", "writev", "pread64",
    "pwrite64", "preadv", "pwritev", "preadv2", "pwritev2", "lseek", "_llseek", "fstat", "fstat64", "stat", "stat64",
    "lstat", "lstat64", "newfstatat", "fstatat64", "statx", "statfs", "statfs64", "fstatfs", "fstatfs64", "access",
    "faccessat", "faccessat2", "dup", "dup2", "dup3", "flock", "fsync", "fdatasync", "sync", "syncfs",
    "sync_file_range", "truncate", "ftruncate", "fallocate", "fadvise64", "readahead", "getdents", "getdents64",
    "getcwd", "chdir", "fchdir", "mkdir", "mkdirat", "rmdir", "rename", "renameat", "renameat2", "link", "linkat",
    "unlink", "unlinkat", "symlink", "symlinkat", "readlink", "readlinkat", "chmod", "fchmod", "fchmodat", "fchmodat2",
    "chown", "fchown", "lchown", "fchownat", "umask", "utime", "utimes", "futimesat", "utimensat", "mknod", "mknodat",
    "getxattr", "lgetxattr", "fgetxattr", "listxattr", "llistxattr", "flistxattr", "setxattr", "lsetxattr", "fsetxattr",
    "removexattr", "lremovexattr", "fremovexattr", "pipe", "pipe2", "sendfile", "sendfile64", "splice", "tee",
    "vmsplice", "copy_file_range",
    /* waiting */
    "select", "_newselect", "pselect6", "poll", "ppoll", "epoll_create", "epoll_create1", "epoll_ctl", "epoll_ctl_old",
    "epoll_wait", "epoll_wait_old", "epoll_pwait", "epoll_pwait2", "eventfd", "eventfd2", "signalfd", "signalfd4",
    "timerfd_create", "timerfd_settime", "timerfd_gettime", "futex", "futex_waitv", "get_robust_list",
    "set_robust_list", "nanosleep", "clock_nanosleep", "pause", "restart_syscall",
    /* processes and threads */
    "fork", "vfork", "execve", "execveat", "exit", "exit_group", "wait4", "waitid", "waitpid", "pidfd_open", "getpid",
    "getppid", "gettid", "getpgid", "getpgrp", "setpgid", "getsid", "setsid", "set_tid_address", "set_thread_area",
    "get_thread_area", "arch_prctl", "prctl", "rseq", "getuid", "getgid", "geteuid", "getegid", "getresuid",
    "getresgid", "getgroups", "setuid", "setgid", "setreuid", "setregid", "setresuid", "setresgid", "setfsuid",
    "setfsgid", "setgroups", "capget", "capset", "getpriority", "ioprio_get", "ioprio_set", "sched_yield",
    "sched_getaffinity", "sched_getparam", "sched_getscheduler", "sched_get_priority_max", "sched_get_priority_min",
    "sched_rr_get_interval", "sched_getattr", "getrlimit", "setrlimit", "getrusage", "times", "getcpu", "sysinfo",
    "uname", "getrandom",
    /* signals */
    "rt_sigaction", "rt_sigprocmask", "rt_sigpending", "rt_sigsuspend", "rt_sigtimedwait", "rt_sigreturn",
    "sigaltstack", "sigreturn", "alarm", "setitimer", "getitimer",
    /* clocks and timers */
    "time", "gettimeofday", "clock_gettime", "clock_getres", "clock_gettime64", "timer_create", "timer_settime",
    "timer_gettime", "timer_getoverrun", "timer_delete",
    /* sockets inside the sandbox */
    "bind", "listen", "accept", "accept4", "connect", "sendto", "recvfrom", "sendmsg", "recvmsg", "sendmmsg",
    "recvmmsg", "shutdown", "getsockname", "getpeername", "setsockopt", "getsockopt",
    /* devices: a session of its own has no controlling terminal whose input TIOCSTI could fake */
    "ioctl",
    /* System V IPC, in a namespace of its own */
    "shmat", "shmdt", "shmctl", "semget", "semop", "semtimedop", "semctl", "msgsnd", "msgrcv", "msgctl"};

/* Memory that lives without being mapped by anybody. A control group counts it; /proc does not show it. */
static const char *const unmapped[] = {"memfd_create", "shmget", "msgget"};

static const char *const deadly[] = {
    /* other processes */
    "ptrace", "process_vm_readv", "process_vm_writev", "pidfd_getfd", "kcmp",
    /* mounts and namespaces */
    "mount", "umount", "umount2", "pivot_root", "chroot", "setns", "unshare", "move_mount", "open_tree", "fsopen",
    "fsconfig", "fsmount", "fspick", "mount_setattr", "open_by_handle_at", "quotactl", "quotactl_fd", "acct", "swapon",
    "swapoff",
    /* the kernel itself */
    "bpf", "perf_event_open", "userfaultfd", "keyctl", "add_key", "request_key", "kexec_load", "kexec_file_load",
    "reboot", "init_module", "finit_module", "delete_module", "create_module", "syslog", "iopl", "ioperm", "vm86",
    "vm86old", "lookup_dcookie", "_sysctl", "vhangup", "nfsservctl",
    /* the machine's name and time */
    "sethostname", "setdomainname", "settimeofday", "stime", "clock_settime", "clock_settime64"};

static const uint64_t clone_namespaces[] = {CLONE_NEWNS,   CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC,
                                            CLONE_NEWUSER, CLONE_NEWPID,    CLONE_NEWNET};

static int add_all(scmp_filter_ctx filter, uint32_t action, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int number = seccomp_syscall_resolve_name(names[i]);
        if (number == __NR_SCMP_ERROR) {
            continue;
        }
        int rc = seccomp_rule_add(filter, action, number, 0);
        if (rc != 0 && rc != -EDOM) { /* EDOM: not on this architecture */
            return rc;
        }
    }
    return 0;
}

/* Of itself a process may set limits and priorities, not of process 1, which has the same user: RLIMIT_CPU would let the
 * kernel kill it, as no signal from inside can, and a policy for idle times would keep it from ending the run. A number
 * counts by its lower half, as in the kernel; there is no comparison for "unequal under a mask", hence the bits. */
static int add_process_1_rules(scmp_filter_ctx filter)
{
    static const int calls[] = {SCMP_SYS(sched_setscheduler), SCMP_SYS(sched_setparam), SCMP_SYS(sched_setattr),
                                SCMP_SYS(sched_setaffinity)};
    const uint64_t half = UINT32_MAX;
    int rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(prlimit64), 1, SCMP_A0(SCMP_CMP_EQ, 0));
    if (rc == 0) {
        rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(prlimit64), 2, SCMP_A0(SCMP_CMP_NE, 0),
                              SCMP_A2(SCMP_CMP_EQ, 0));
    }
    if (rc == 0) {
        rc = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(prlimit64), 2, SCMP_A0(SCMP_CMP_NE, 0),
                              SCMP_A2(SCMP_CMP_NE, 0));
    }
    for (size_t i = 0; i < ARRAY_COUNT(calls) && rc == 0; i++) {
        rc = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), calls[i], 1, SCMP_A0(SCMP_CMP_MASKED_EQ, half, 1));
        if (rc == 0) {
            rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, calls[i], 1, SCMP_A0(SCMP_CMP_MASKED_EQ, half, 0));
        }
        for (uint64_t bit = 2; bit < half && rc == 0; bit <<= 1) {
            rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, calls[i], 1, SCMP_A0(SCMP_CMP_MASKED_EQ, bit, bit));
        }
    }
    /* of single processes only: process 1 is one of their group, and of their user */
    int call = SCMP_SYS(setpriority);
    if (rc == 0) {
        rc = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), call, 1, SCMP_A0(SCMP_CMP_NE, PRIO_PROCESS));
    }
    if (rc == 0) {
        rc = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), call, 2, SCMP_A0(SCMP_CMP_EQ, PRIO_PROCESS),
                              SCMP_A1(SCMP_CMP_MASKED_EQ, half, 1));
    }
    if (rc == 0) {
        rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, 2, SCMP_A0(SCMP_CMP_EQ, PRIO_PROCESS),
                              SCMP_A1(SCMP_CMP_MASKED_EQ, half, 0));
    }
    for (uint64_t bit = 2; bit < half && rc == 0; bit <<= 1) {
        rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, 2, SCMP_A0(SCMP_CMP_EQ, PRIO_PROCESS),
                              SCMP_A1(SCMP_CMP_MASKED_EQ, bit, bit));
    }
    return rc;
}

/* Every signal but SIGSYS, 0b0011111: of the numbers below 128 those that differ from it in one bit. */
static int add_signal_rule(scmp_filter_ctx filter, int call, unsigned at)
{
    const uint64_t high = UINT32_MAX & ~UINT64_C(127), half = UINT32_MAX;
    int rc = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), call, 1, SCMP_CMP(at, SCMP_CMP_MASKED_EQ, half, SIGSYS));
    for (uint64_t bit = 1; bit < 128 && rc == 0; bit <<= 1) {
        uint64_t other = bit & ~(uint64_t)SIGSYS;
        rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, 1, SCMP_CMP(at, SCMP_CMP_MASKED_EQ, high | bit, other));
    }
    return rc;
}

static int add_signal_rules(scmp_filter_ctx filter)
{
    static const struct {
        const char *name;
        unsigned at; /* of the signal among the arguments */
    } calls[] = {{"kill", 1},
                 {"tkill", 1},
                 {"tgkill", 2},
                 {"rt_sigqueueinfo", 1},
                 {"rt_tgsigqueueinfo", 2},
                 {"pidfd_send_signal", 1}};
    static_assert(SIGSYS == 31, "the bits of add_signal_rule");
    int rc = 0;
    for (size_t i = 0; i < ARRAY_COUNT(calls) && rc == 0; i++) {
        int number = seccomp_syscall_resolve_name(calls[i].name);
        rc = number != __NR_SCMP_ERROR ? add_signal_rule(filter, number, calls[i].at) : 0;
    }
    return rc;
}

/* Without F_NOTIFY and F_SETLEASE, which tell what others do with a file, and F_SETSIG, which could choose SIGSYS. */
static int add_fcntl_rules(scmp_filter_ctx filter)
{
    static const unsigned commands[] = {
        F_DUPFD,    F_GETFD,         F_SETFD,      F_GETFL,      F_SETFL,     F_GETLK,     F_SETLK,     F_SETLKW,
        F_SETOWN,   F_GETOWN,        F_GETSIG,     F_SETOWN_EX,  F_GETOWN_EX, F_OFD_GETLK, F_OFD_SETLK, F_OFD_SETLKW,
        F_GETLEASE, F_DUPFD_CLOEXEC, F_SETPIPE_SZ, F_GETPIPE_SZ, F_ADD_SEALS, F_GET_SEALS};
    int rc = 0;
    for (size_t i = 0; i < ARRAY_COUNT(commands) && rc == 0; i++) {
        rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(fcntl), 1,
                              SCMP_A1(SCMP_CMP_MASKED_EQ, UINT32_MAX, commands[i]));
    }
    return rc;
}

static int add_argument_rules(scmp_filter_ctx filter)
{
    uint64_t all = 0;
    int rc = 0;
    for (size_t i = 0; i < ARRAY_COUNT(clone_namespaces) && rc == 0; i++) {
        uint64_t flag = clone_namespaces[i];
        all |= flag;
        rc = seccomp_rule_add(filter, SCMP_ACT_TRAP, SCMP_SYS(clone), 1, SCMP_A0(SCMP_CMP_MASKED_EQ, flag, flag));
    }
    if (rc == 0) {
        rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1, SCMP_A0(SCMP_CMP_MASKED_EQ, all, 0));
    }
    if (rc == 0) {
        rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1, SCMP_A0(SCMP_CMP_EQ, AF_UNIX));
    }
    if (rc == 0) {
        rc = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EACCES), SCMP_SYS(socket), 1, SCMP_A0(SCMP_CMP_NE, AF_UNIX));
    }
    if (rc == 0) { /* AF_TIPC and the like make pairs too */
        rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socketpair), 1, SCMP_A0(SCMP_CMP_EQ, AF_UNIX));
    }
    if (rc == 0) {
        rc = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EACCES), SCMP_SYS(socketpair), 1, SCMP_A0(SCMP_CMP_NE, AF_UNIX));
    }
    /* 0xffffffff asks; 0 is the plain one */
    if (rc == 0) {
        rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(personality), 1, SCMP_A0(SCMP_CMP_EQ, 0xffffffffu));
    }
    if (rc == 0) {
        rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(personality), 1, SCMP_A0(SCMP_CMP_EQ, 0));
    }
    return rc;
}

enum status seccomp_filter_make(bool allows_unmapped, int *ret_fd, struct buf *ret_why)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
    if (filter == NULL) {
        buf_append_str(ret_why, "libseccomp cannot make a filter on this machine");
        return STATUS_UNSUPPORTED_HOST;
    }
    int rc = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_TRAP);
    seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* a tree instead of a list; libseccomp >= 2.5 */
    if (rc == 0) {
        rc = add_all(filter, SCMP_ACT_ALLOW, allowed, ARRAY_COUNT(allowed));
    }
    if (rc == 0 && allows_unmapped) {
        rc = add_all(filter, SCMP_ACT_ALLOW, unmapped, ARRAY_COUNT(unmapped));
    }
    if (rc == 0) {
        rc = add_all(filter, SCMP_ACT_TRAP, deadly, ARRAY_COUNT(deadly));
    }
    if (rc == 0) {
        rc = add_argument_rules(filter);
    }
    if (rc == 0) {
        rc = add_process_1_rules(filter);
    }
    if (rc == 0) {
        rc = add_signal_rules(filter);
    }
    if (rc == 0) {
        rc = add_fcntl_rules(filter);
    }
    int fd = rc == 0 ? memfd_create("seccomp", MFD_CLOEXEC) : -1;
    if (rc == 0 && fd < 0) {
        rc = -errno;
    }
    if (rc == 0) {
        rc = seccomp_export_bpf(filter, fd);
    }
    if (rc == 0 && lseek(fd, 0, SEEK_SET) != 0) {
        rc = -errno;
    }
    seccomp_release(filter);
    if (rc != 0) {
        if (fd >= 0) {
            close(fd);
        }
        buf_printf(ret_why, "libseccomp cannot make the filter: %s", strerror(-rc));
        return STATUS_UNSUPPORTED_HOST;
    }
    *ret_fd = fd;
    return STATUS_OK;
}
