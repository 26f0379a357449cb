/* Attempts to get out of a sandbox, to outlive it, or to take more than was given: each must end in the right verdict
 * and leave nothing behind (code_try looks after every run). */
#include "code_fixture.h"
#include "sandbox_gate.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static struct code_fixture fixture;

static int group_setup(void **ctx)
{
    (void)ctx;
    if (!code_fixture_open(&fixture, NULL)) {
        fail_msg("code.run cannot be offered here: %s", buf_cstr(&fixture.why));
    }
    if (!code_has_lang(&fixture, "python") || !code_has_lang(&fixture, "c")) {
        code_fixture_close(&fixture);
        printf("skipped: the attempts are written in Python and C, and not both are offered here\n");
        exit(77);
    }
    return 0;
}

static int group_teardown(void **ctx)
{
    (void)ctx;
    code_fixture_close(&fixture);
    return 0;
}

static struct code_outcome *python(const char *source, const char *members)
{
    return code_try_source(&fixture, "python", source, members);
}

static struct code_outcome *c(const char *body, const char *members)
{
    struct buf source;
    buf_init(&source, 65536);
    buf_printf(
        &source,
        "#define _GNU_SOURCE\n#include <errno.h>\n#include <fcntl.h>\n#include <sched.h>\n#include <signal.h>\n"
        "#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n#include <sys/mman.h>\n"
        "#include <sys/mount.h>\n#include <sys/ptrace.h>\n#include <sys/resource.h>\n#include <sys/socket.h>\n"
        "#include <sys/file.h>\n#include <sys/stat.h>\n#include <sys/syscall.h>\n#include <sys/types.h>\n#include <sys/wait.h>\n"
        "#include <unistd.h>\nint main(void) {\n%s\n}\n",
        body);
    struct code_outcome *outcome = code_try_source(&fixture, "c", buf_cstr(&source), members);
    buf_free(&source);
    return outcome;
}

/* --- taking more ----------------------------------------------------------------------------------------------- */

static void test_fork_bomb(void **ctx)
{
    (void)ctx;
    struct code_outcome *outcome = c("for (;;) fork();", "\"limits\":{\"procs\":32,\"cpu_ms\":500,\"wall_ms\":5000}");
    assert_verdict(outcome, "TLE");
    outcome = c("int n = 0; for (;;) { pid_t p = fork(); if (p < 0) break; if (p == 0) { pause(); _exit(0); } n++; }\n"
                "printf(\"%d\\n\", n); return errno == EAGAIN ? 0 : 9;",
                "\"limits\":{\"procs\":20}");
    assert_verdict(outcome, "OK");
    int count = atoi(outcome->out);
    assert_true(count >= 17 && count <= 21);
    /* threads are processes to the kernel */
    outcome = python(
        "import threading, time\nn = 0\ntry:\n  while True:\n    threading.Thread(target=time.sleep, args=(9,), daemon=True).start(); n += 1\n"
        "except RuntimeError: print(n, flush=True)\nimport os; os._exit(0)",
        "\"limits\":{\"procs\":20}");
    assert_verdict(outcome, "OK");
    assert_true(atoi(outcome->out) >= 17 && atoi(outcome->out) <= 21);
}

static void test_vfork_bomb_in_sessions(void **ctx)
{
    (void)ctx;
    struct code_outcome *outcome =
        python("import os\nwhile True:\n  try:\n    if os.fork() == 0: os.setsid()\n  except OSError: pass",
               "\"limits\":{\"procs\":64,\"cpu_ms\":1000,\"wall_ms\":5000,\"mem_mib\":512}");
    assert_verdict(outcome, "TLE");
}

static void test_memory_bombs(void **ctx)
{
    (void)ctx;
    static const char *const bodies[] = {
        "for (;;) { char *p = malloc(1 << 22); if (p) memset(p, 1, 1 << 22); }",
        /* shared memory, memory files and the tmpfs count as well */
        "for (;;) { char *p = mmap(0, 1 << 22, 3, MAP_SHARED | MAP_ANONYMOUS, -1, 0); if (p != MAP_FAILED) memset(p, 1, 1 << 22); }",
        "int fd = memfd_create(\"x\", 0); static char b[1 << 20]; signal(SIGXFSZ, SIG_IGN); for (;;) { memset(b, 1, sizeof(b));\n"
        " if (write(fd, b, sizeof(b)) < 0) fd = memfd_create(\"x\", 0); }",
        /* many processes with a little each */
        "for (int i = 0; i < 30; i++) if (fork() == 0) { char *p = malloc(8 << 20); memset(p, 1, 8 << 20); pause(); } pause();",
    };
    for (size_t i = 0; i < sizeof(bodies) / sizeof(*bodies); i++) {
        assert_verdict(c(bodies[i], "\"limits\":{\"mem_mib\":64,\"wall_ms\":10000,\"fs_mib\":16}"), "MLE");
    }
}

static void test_disk_fill(void **ctx)
{
    (void)ctx;
    /* every place that can be written, to the end: what fits is the tmpfs and the small /dev/shm */
    struct code_outcome *outcome = python(
        "import os\ntotal = 0\nblock = b'x' * 65536\n"
        "for path in ['/tmp/f', '/tmp/work/f', '/dev/shm/f', '/f', '/dev/f', '/usr/f', '/etc/f', '/shoal/f', '/proc/f', '/var/tmp/f', '/run/f']:\n"
        "  try:\n"
        "    f = os.open(path, os.O_WRONLY | os.O_CREAT)\n"
        "    while True: total += os.write(f, block)\n"
        "  except OSError as e: pass\n"
        "print(total >> 20)",
        "\"limits\":{\"fs_mib\":4,\"mem_mib\":128}");
    assert_verdict(outcome, "OK");
    if (atoi(outcome->out) < 7 || atoi(outcome->out) > 20) { /* a single file ends at fs_mib, in /dev/shm too */
        fail_msg("%s MiB could be written", outcome->out);
    }
    /* files without content */
    outcome =
        python("import os\nn = 0\ntry:\n  while n < 2000000:\n    os.close(os.open('f%d' % n, os.O_CREAT)); n += 1\n"
               "except OSError as e: print(n, e.errno)",
               "\"limits\":{\"fs_mib\":4,\"mem_mib\":64,\"cpu_ms\":4000}");
    assert_true(outcome->is_success);
    assert_true(strcmp(outcome->verdict, "OK") == 0 || strcmp(outcome->verdict, "MLE") == 0 ||
                strcmp(outcome->verdict, "TLE") == 0);
}

static void test_endless_output(void **ctx)
{
    (void)ctx;
    struct code_outcome *outcome = c("for (;;) write(1, \"xxxxxxxxxxxxxxx\\n\", 16);", NULL);
    assert_verdict(outcome, "OLE");
    assert_true(outcome->is_truncated);
    /* from many processes, to both streams */
    outcome = c(
        "fork(); fork(); fork(); for (;;) { puts(\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"); fputs(\"y\", stderr); }",
        NULL);
    assert_verdict(outcome, "OLE");
}

static void test_limits_cannot_be_raised(void **ctx)
{
    (void)ctx;
    struct code_outcome *outcome = c(
        "struct rlimit all = {RLIM_INFINITY, RLIM_INFINITY}; int kinds[] = {RLIMIT_NPROC, RLIMIT_FSIZE, RLIMIT_NOFILE, RLIMIT_CPU, RLIMIT_CORE};\n"
        "for (int i = 0; i < 5; i++) if (setrlimit(kinds[i], &all) == 0) return 1;\n"
        "int n = getpriority(PRIO_PROCESS, 0); if (n > -20 && setpriority(PRIO_PROCESS, 0, n - 1) == 0) return 2; return 0;",
        NULL);
    assert_verdict(outcome, "OK");
    /* process 1 has the same user: with a limit of processor time the kernel would kill it, and the run end as our fault */
    outcome = c(
        "struct rlimit none = {0, 0}, old; for (int i = 0; i < 16; i++) if (prlimit(1, i, &none, NULL) == 0 || errno != EPERM) return 1;\n"
        "if (prlimit(1, RLIMIT_CPU, NULL, &old) != 0 || prlimit(0, RLIMIT_CORE, &none, NULL) != 0) return 2; return 0;",
        NULL);
    assert_verdict(outcome, "OK");
    /* nor may it be starved by a policy for idle times, so that a run would not end; numbers count by their lower half */
    outcome = c(
        "struct sched_param p = {0}; cpu_set_t cpus; sched_getaffinity(0, sizeof(cpus), &cpus);\n"
        "if (sched_setscheduler(1, SCHED_IDLE, &p) == 0 || errno != EPERM) return 1;\n"
        "if (syscall(SYS_sched_setscheduler, 0x700000001L, SCHED_IDLE, &p) == 0 || errno != EPERM) return 2;\n"
        "if (sched_setaffinity(1, sizeof(cpus), &cpus) == 0 || sched_setparam(1, &p) == 0) return 3;\n"
        "if (setpriority(PRIO_PROCESS, 1, 19) == 0 || setpriority(PRIO_PGRP, 0, 19) == 0 || setpriority(PRIO_USER, 0, 19) == 0) return 4;\n"
        "if (syscall(SYS_setpriority, PRIO_PROCESS, 0x100000001L, 19) == 0) return 5;\n"
        "if (sched_setaffinity(getpid(), sizeof(cpus), &cpus) != 0 || sched_setaffinity(0, sizeof(cpus), &cpus) != 0) return 6;\n"
        "int n = getpriority(PRIO_PROCESS, 0), next = n < 19 ? n + 1 : 19;\n"
        "if (setpriority(PRIO_PROCESS, getpid(), n) != 0 || nice(1) != next || sched_setscheduler(0, SCHED_IDLE, &p) != 0) return 7;\n"
        "return 0;",
        NULL);
    assert_verdict(outcome, "OK");
    outcome = c("signal(SIGXCPU, SIG_IGN); signal(SIGTERM, SIG_IGN); for (volatile int i = 0;; i++) ;",
                "\"limits\":{\"cpu_ms\":300}");
    assert_verdict(outcome, "TLE");
}

/* --- reaching out ---------------------------------------------------------------------------------------------- */

static void test_network(void **ctx)
{
    (void)ctx;
    struct code_outcome *outcome = python("import socket\nsocket.create_connection(('127.0.0.1', 22), 2)", NULL);
    assert_verdict(outcome, "RE");
    assert_non_null(strstr(outcome->err, "Permission denied"));
    outcome = python("import urllib.request\nurllib.request.urlopen('http://example.org', timeout=3)", NULL);
    assert_verdict(outcome, "RE");
    outcome = c(
        "int families[] = {AF_INET, AF_INET6, AF_NETLINK, AF_PACKET, AF_VSOCK, AF_ALG, 0x10000 | AF_INET};\n"
        "for (int i = 0; i < 7; i++) if (socket(families[i], SOCK_STREAM, 0) >= 0 || socket(families[i], SOCK_RAW, 0) >= 0\n"
        " || socket(families[i], SOCK_DGRAM, 0) >= 0) return i + 1;\n"
        "return syscall(SYS_socket, 0x100000000L | AF_INET, SOCK_STREAM, 0) >= 0 ? 20 : 0;",
        NULL);
    assert_verdict(outcome, "OK");
    /* pairs inside the sandbox work: runtimes use them */
    outcome = python("import socket\na, b = socket.socketpair()\na.send(b'x')\nprint(b.recv(1))", NULL);
    assert_verdict(outcome, "OK");
    if (code_has_lang(&fixture, "javascript")) {
        outcome = code_try_source(&fixture, "javascript", "require('net').connect(80, '127.0.0.1')", NULL);
        assert_verdict(outcome, "RE");
    }
    /* the abstract name that a root node holds is in another network namespace */
    outcome = python("import socket\ns = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
                     "try: s.connect('\\0shoal-uids-1900000000')\nexcept OSError as e: print(e.errno)",
                     NULL);
    assert_verdict(outcome, "OK");
    assert_string_equal(outcome->out, "111\n");
}

static void test_forbidden_calls(void **ctx)
{
    (void)ctx;
    static const char *const bodies[] = {
        "ptrace(PTRACE_TRACEME, 0, 0, 0);",
        "ptrace(PTRACE_ATTACH, 1, 0, 0);",
        "mount(\"none\", \"/tmp\", \"tmpfs\", 0, 0);",
        "umount2(\"/usr\", MNT_DETACH);",
        "unshare(CLONE_NEWUSER);",
        "unshare(CLONE_NEWNS);",
        "setns(0, 0);",
        "chroot(\"/tmp\");",
        "syscall(SYS_pivot_root, \".\", \".\");",
        "syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);",
        "syscall(SYS_clone, CLONE_NEWNET | CLONE_NEWPID | SIGCHLD, 0, 0, 0, 0);",
        "syscall(SYS_bpf, 0, 0, 0);",
        "syscall(SYS_perf_event_open, 0, 0, 0, 0, 0);",
        "syscall(SYS_userfaultfd, 0);",
        "syscall(SYS_keyctl, 0, 0, 0, 0, 0);",
        "syscall(SYS_add_key, 0, 0, 0, 0, 0);",
        "syscall(SYS_kexec_load, 0, 0, 0, 0);",
        "syscall(SYS_reboot, 0, 0, 0, 0);",
        "syscall(SYS_init_module, 0, 0, 0);",
        "syscall(SYS_finit_module, 0, 0, 0);",
        "syscall(SYS_open_by_handle_at, 0, 0, 0);",
        "syscall(SYS_process_vm_readv, 1, 0, 0, 0, 0, 0);",
        "syscall(SYS_process_vm_writev, 1, 0, 0, 0, 0, 0);",
        "syscall(438 /* pidfd_getfd */, 0, 0, 0);",
        "syscall(SYS_kcmp, 1, 1, 0, 0, 0);",
        "syscall(SYS_syslog, 2, 0, 0);",
        "syscall(SYS_swapon, 0, 0);",
        "sethostname(\"x\", 1);",
        "syscall(SYS_settimeofday, 0, 0);",
        "syscall(SYS_open_tree, -100, \"/\", 0);",
        "syscall(SYS_fsopen, \"tmpfs\", 0);",
#ifdef __x86_64__
        /* the old door of 32 bits: write */
        "__asm__ volatile(\"int $0x80\" : : \"a\"(4), \"b\"(1), \"c\"(0), \"d\"(0));",
        "syscall(0x40000000 | 39 /* x32 getpid */);",
#endif
    };
    /* one program, so that the compiler is not what the test measures */
    struct buf source;
    char number[32];
    buf_init(&source, 65536);
    buf_append_str(&source, "int which; scanf(\"%d\", &which); switch (which) {\n");
    for (size_t i = 0; i < sizeof(bodies) / sizeof(*bodies); i++) {
        buf_printf(&source, "case %zu: %s break;\n", i, bodies[i]);
    }
    buf_append_str(&source, "}\nputs(strerror(errno)); return 0;");
    for (size_t i = 0; i < sizeof(bodies) / sizeof(*bodies); i++) {
        snprintf(number, sizeof(number), "\"stdin\":\"%zu\"", i);
        struct code_outcome *outcome = c(buf_cstr(&source), number);
        if (!outcome->is_success || strcmp(outcome->verdict, "SECURITY") != 0) {
            fail_msg("%s: %s", bodies[i], buf_cstr(&outcome->result));
        }
        assert_int_equal(outcome->signal, 31);
    }
    buf_free(&source);
}

/* A lock on a file of the system is nobody else's: what this process locks outside is free inside, and its pid unknown. */
static void test_locks_are_its_own(void **ctx)
{
    (void)ctx;
    if (memmem(fixture.facts.data, fixture.facts.len, "\"locks\":\"each box its own\"", 26) == NULL) {
        skip(); /* no root or no overlayfs */
    }
    static const char *const paths[] = {"/usr/lib/os-release", "/usr/bin", "/etc/ld.so.cache", "/dev/null"};
    int fds[4];
    for (size_t i = 0; i < 4; i++) {
        fds[i] = open(paths[i], O_RDONLY | O_CLOEXEC);
        assert_true(fds[i] >= 0);
        (void)flock(fds[i], LOCK_EX | LOCK_NB);
    }
    struct flock whole = {.l_type = F_RDLCK};
    assert_int_equal(fcntl(fds[0], F_SETLK, &whole), 0);
    struct code_outcome *outcome = c(
        "const char *paths[] = {\"/usr/lib/os-release\", \"/usr/bin\", \"/etc/ld.so.cache\", \"/dev/null\"};\n"
        "for (int i = 0; i < 4; i++) { int fd = open(paths[i], O_RDONLY); if (fd < 0) return 10 + i;\n"
        "  if (flock(fd, LOCK_EX | LOCK_NB) != 0) return 20 + i;\n"
        "  struct flock l = {.l_type = F_WRLCK}; if (i == 0 && (fcntl(fd, F_GETLK, &l) != 0 || l.l_type != F_UNLCK)) return 30; }\n"
        "int null = open(\"/dev/null\", O_WRONLY); if (write(null, \"x\", 1) != 1) return 40;\n"
        "char byte = 1; int zero = open(\"/dev/zero\", O_RDONLY), dice = open(\"/dev/urandom\", O_RDONLY);\n"
        "if (read(zero, &byte, 1) != 1 || byte != 0 || read(dice, &byte, 1) != 1) return 41;\n"
        "int own = open(\"file\", O_RDWR | O_CREAT, 0600); struct flock l = {.l_type = F_WRLCK};\n"
        "return flock(own, LOCK_EX) != 0 || fcntl(own, F_SETLK, &l) != 0;",
        NULL);
    assert_verdict(outcome, "OK");
    for (size_t i = 0; i < 4; i++) {
        close(fds[i]);
    }
}

/* SIGSYS is the sign of the filter: nobody else sends it. All other signals are sent as ever. */
static void test_own_signals(void **ctx)
{
    (void)ctx;
    struct code_outcome *outcome = c(
        "siginfo_t info = {.si_code = SI_QUEUE}; int self = syscall(SYS_pidfd_open, getpid(), 0);\n"
        "if (raise(SIGSYS) == 0 || kill(getpid(), SIGSYS) == 0 || kill(0, SIGSYS) == 0) return 1;\n"
        "if (syscall(SYS_tkill, getpid(), SIGSYS) == 0 || syscall(SYS_tgkill, getpid(), getpid(), SIGSYS) == 0) return 2;\n"
        "if (syscall(SYS_kill, getpid(), 0x10000001fL) == 0 || errno != EPERM) return 3;\n"
        "if (syscall(SYS_rt_sigqueueinfo, getpid(), SIGSYS, &info) == 0) return 4;\n"
        "if (syscall(SYS_rt_tgsigqueueinfo, getpid(), getpid(), SIGSYS, &info) == 0) return 5;\n"
        "if (syscall(424 /* pidfd_send_signal */, self, SIGSYS, 0, 0) == 0) return 6;\n"
        "for (int n = 0; n <= 64; n++) {\n"
        "  if (n == SIGKILL || n == SIGSTOP || n == SIGSYS || n == 32 || n == 33) continue;\n"
        "  if (n > 0) signal(n, SIG_IGN);\n"
        "  if (kill(getpid(), n) != 0) return 100 + n; }\n"
        "return 0;",
        NULL);
    assert_verdict(outcome, "OK");
    /* from one process to another neither */
    outcome = c("pid_t pid = fork(); if (pid == 0) { pause(); _exit(0); } if (kill(pid, SIGSYS) == 0) return 1;\n"
                "kill(pid, SIGTERM); int status; waitpid(pid, &status, 0); return WTERMSIG(status) != SIGTERM;",
                NULL);
    assert_verdict(outcome, "OK");
    /* blocking or ignoring it does not help; a handler gets control, but not the call */
    outcome = c("signal(SIGSYS, SIG_IGN); sigset_t all; sigfillset(&all); sigprocmask(SIG_SETMASK, &all, 0); "
                "unshare(CLONE_NEWUSER); return 0;",
                NULL);
    assert_verdict(outcome, "SECURITY");
    outcome =
        c("struct sigaction act = {.sa_handler = (void (*)(int))getpid}; sigaction(SIGSYS, &act, 0); "
          "mkdir(\"a\", 0700); return mount(\"none\", \"a\", \"tmpfs\", 0, 0) == 0 || unshare(CLONE_NEWUSER) == 0;",
          NULL);
    assert_verdict(outcome, "OK");
}

static void test_refused_calls(void **ctx)
{
    (void)ctx;
    /* calls that runtimes try and do without: refused, not deadly */
    struct code_outcome *outcome = c("if (syscall(425 /* io_uring_setup */, 1, 0) != -1 || errno != ENOSYS) return 1;\n"
                                     "if (syscall(435 /* clone3 */, 0, 0) != -1 || errno != ENOSYS) return 2;\n"
                                     "if (syscall(9999) != -1 || errno != ENOSYS) return 3;\n"
                                     "if (syscall(SYS_personality, 0x0040000) != -1) return 4;\n"
                                     "if (setuid(0) == 0 || setgid(0) == 0) return 5;\n"
                                     "if (mknod(\"/tmp/null\", S_IFCHR | 0666, 0x103) == 0) return 6;\n"
                                     "if (syscall(SYS_mbind, 0, 0, 0, 0, 0, 0) != -1) return 7;\n"
                                     "if (syscall(SYS_inotify_init) != -1 || errno != ENOSYS) return 8;\n"
                                     "if (syscall(SYS_inotify_init1, 0) != -1 || errno != ENOSYS) return 9;\n"
                                     "if (syscall(SYS_fanotify_init, 0x200, 0) != -1 || errno != ENOSYS) return 10;\n"
                                     "int usr = open(\"/usr/lib\", O_RDONLY | O_DIRECTORY), pair[2];\n"
                                     "if (fcntl(usr, 1026 /* F_NOTIFY */, 2) != -1 || errno != ENOSYS) return 11;\n"
                                     "if (syscall(SYS_fcntl, usr, 0x100000402L, 2) != -1) return 12;\n"
                                     "if (fcntl(usr, 10 /* F_SETSIG */, SIGSYS) != -1) return 13;\n"
                                     "if (fcntl(usr, F_SETFD, FD_CLOEXEC) != 0) return 14;\n"
                                     "if (fcntl(usr, F_DUPFD_CLOEXEC, 20) < 20) return 15;\n"
                                     "for (int i = 2; i < 46; i++) if (socketpair(i, SOCK_STREAM, 0, pair) == 0 || "
                                     "errno != EACCES) return 16;\n"
                                     "if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0) return 17;\n"
                                     "return 0;",
                                     NULL);
    assert_verdict(outcome, "OK");
}

static void test_files_of_the_machine(void **ctx)
{
    (void)ctx;
    char secret[] = "/tmp/shoal-test-secret.XXXXXX", source[4096];
    int fd = mkstemp(secret);
    assert_true(fd >= 0);
    assert_int_equal(fchmod(fd, 0644), 0);
    assert_int_equal(write(fd, "secret", 6), 6);
    close(fd);
    snprintf(
        source, sizeof(source),
        "import os\nfound = []\n"
        "for p in ['%s', '%s', '/etc/shadow', '/etc/ssh', '/etc/hostname', '/root', '/home', '/var', '/run', '/sys', '/boot', '/mnt', '/proc/1/root/etc/shadow',\n"
        "          '/proc/1/cwd', '/proc/1/environ', '/proc/1/mem', '/proc/1/fd/3', '/dev/sda', '/dev/vda', '/dev/kmsg', '/dev/mem', '/dev/fuse', '/dev/kvm',\n"
        "          '/proc/kcore', '/proc/sysrq-trigger', '/../etc/shadow', '/tmp/../../etc/shadow', '/oldroot', '/newroot']:\n"
        "  try:\n"
        "    if os.path.isdir(p): found.append((p, os.listdir(p)))\n"
        "    else: found.append((p, open(p, 'rb').read(10)))\n"
        "  except OSError: pass\n"
        "for p in ['/proc/sys/kernel/core_pattern', '/proc/self/oom_score_adj_', '/proc/sys/kernel/hostname', '/proc/sysrq-trigger', '/usr/bin/python3', '/shoal/init', '/etc/passwd']:\n"
        "  try: open(p, 'r+b').write(b'x'); found.append(('written', p))\n"
        "  except OSError: pass\n"
        "print(found)\nprint(sorted(os.listdir('/etc')))\nprint([p for p in os.listdir('/proc') if p.isdigit()])",
        secret, fixture.data_dir);
    struct code_outcome *outcome = python(source, NULL);
    unlink(secret);
    assert_verdict(outcome, "OK");
    if (strncmp(outcome->out, "[]\n", 3) != 0) {
        fail_msg("reached: %s", outcome->out);
    }
    assert_null(strstr(outcome->out, "shadow"));
    assert_non_null(strstr(outcome->out, "['1', '2']"));
}

static void test_symlinks(void **ctx)
{
    (void)ctx;
    /* links in the work directory lead nowhere, and nobody follows them from outside */
    struct code_outcome *outcome = python(
        "import os\nos.symlink('/etc/shadow', 'a'); os.symlink('../../../../../etc/shadow', 'b'); os.symlink('/proc/1/root', 'c')\n"
        "os.rename('main.py', 'gone'); os.symlink('/etc/shadow', 'main.py')\n"
        "for p in 'a', 'b', 'c/etc/shadow', 'main.py':\n"
        "  try: print(open(p).read())\n"
        "  except OSError as e: print(e.errno)\n"
        "os.chdir('/tmp'); os.rename('work', 'elsewhere'); os.symlink('/etc', 'work')",
        NULL);
    assert_verdict(outcome, "OK");
    assert_string_equal(outcome->out, "2\n2\n13\n2\n");
    /* a link in place of the compiler's output: the output is no path */
    outcome =
        code_try(&fixture, "{\"lang\":\"c\",\"files\":[{\"path\":\"main.c\",\"text\":\"int main(void){return 5;}\"},"
                           "{\"path\":\"a.out\",\"text\":\"not a program\"},{\"path\":\"program\",\"text\":\"\"}]}");
    assert_verdict(outcome, "RE");
    assert_int_equal(outcome->exit, 5);
}

static void test_hidden_descriptors(void **ctx)
{
    (void)ctx;
    struct code_outcome *outcome =
        python("import os\nprint(sorted(int(f) for f in os.listdir('/proc/self/fd')))", NULL);
    assert_verdict(outcome, "OK");
    assert_string_equal(outcome->out, "[0, 1, 2, 3]\n"); /* 3 is that of listdir */
    outcome = python("import os\nprint(dict(os.environ))", NULL);
    assert_null(strstr(outcome->out, "SHOAL"));
    assert_null(strstr(outcome->out, "USER"));
    /* input and program cannot be written, not even through a second descriptor */
    outcome = c("int fd = open(\"/proc/self/fd/0\", O_RDWR); if (fd >= 0 && write(fd, \"x\", 1) == 1) return 1;\n"
                "fd = open(\"/shoal/program\", O_RDWR); return fd >= 0 ? 2 : 0;",
                "\"stdin\":\"abc\"");
    assert_verdict(outcome, "OK");
}

/* --- outliving ------------------------------------------------------------------------------------------------- */

static void test_survivors(void **ctx)
{
    (void)ctx;
    struct code_outcome *outcome = c(
        "for (int i = 0; i < 5; i++) if (fork() == 0) { setsid(); signal(SIGHUP, SIG_IGN); signal(SIGTERM, SIG_IGN);\n"
        " if (fork() == 0) { close(0); close(1); close(2); for (;;) pause(); } _exit(0); }\n"
        "usleep(20000); return 0;",
        NULL);
    assert_verdict(outcome, "OK");
    /* one that keeps the output open does not keep the run open */
    outcome = c("if (fork() == 0) for (;;) sleep(1); puts(\"done\"); return 0;", NULL);
    assert_verdict(outcome, "OK");
    assert_string_equal(outcome->out, "done\n");
    assert_true(outcome->wall_ms < 1000);
    /* one that would go on forking as it is killed */
    outcome = c("if (fork() == 0) for (;;) if (fork() == 0) setsid(); usleep(50000); return 0;",
                "\"limits\":{\"procs\":50,\"cpu_ms\":5000}");
    assert_verdict(outcome, "OK");
    /* ignoring and blocking every signal */
    outcome = c("sigset_t all; sigfillset(&all); sigprocmask(SIG_SETMASK, &all, 0); for (;;) pause();",
                "\"limits\":{\"wall_ms\":300}");
    assert_verdict(outcome, "TLE");
}

static void test_kill_all(void **ctx)
{
    (void)ctx;
    /* process 1 of the sandbox cannot be hit from inside */
    struct code_outcome *outcome =
        c("if (fork() == 0) for (;;) pause(); kill(-1, SIGKILL); kill(1, SIGKILL); kill(1, SIGSTOP);\n"
          "usleep(20000); puts(\"alive\"); return 0;",
          NULL);
    assert_verdict(outcome, "OK");
    assert_string_equal(outcome->out, "alive\n");
    outcome = c("kill(getpid(), SIGKILL); return 0;", NULL);
    assert_verdict(outcome, "RE");
    assert_int_equal(outcome->signal, 9);
}

static void test_other_slots(void **ctx)
{
    (void)ctx;
    struct code_outcome victim, attacker;
    code_start(
        &fixture, 0,
        "{\"lang\":\"python\",\"files\":[{\"path\":\"main.py\",\"text\":\"import time\\nopen('/tmp/mine','w').write('secret')\\n"
        "time.sleep(0.8)\\nprint('whole')\"}]}",
        &victim);
    code_start(
        &fixture, 1,
        "{\"lang\":\"python\",\"files\":[{\"path\":\"main.py\",\"text\":\"import os,time\\ntime.sleep(0.3)\\n"
        "for p in range(2, 200000):\\n  try:\\n    if p != os.getpid(): os.kill(p, 9); print('killed', p)\\n  except OSError: pass\\n"
        "print(os.path.exists('/tmp/mine'))\"}]}",
        &attacker);
    code_finish(&fixture, &attacker);
    code_finish(&fixture, &victim);
    assert_verdict(&attacker, "OK");
    assert_string_equal(attacker.out, "False\n");
    assert_verdict(&victim, "OK");
    assert_string_equal(victim.out, "whole\n");
    buf_free(&attacker.result);
    buf_free(&victim.result);
    code_fixture_check_clean(&fixture);
}

/* --- the input as a weapon ------------------------------------------------------------------------------------- */

static void test_long_arguments(void **ctx)
{
    (void)ctx;
    struct buf members;
    buf_init(&members, 1 << 20);
    buf_append_str(&members, "\"args\":[");
    for (int i = 0; i < 256; i++) {
        buf_printf(&members, "%s\"%0*d\"", i > 0 ? "," : "", 200, i);
    }
    buf_append_str(&members, "]");
    struct code_outcome *outcome = python("import sys\nprint(len(sys.argv), len(sys.argv[256]))", buf_cstr(&members));
    assert_verdict(outcome, "OK");
    assert_string_equal(outcome->out, "257 200\n");
    buf_reset(&members);
    buf_append_str(&members, "\"args\":[");
    for (int i = 0; i < 257; i++) {
        buf_printf(&members, "%s\"\"", i > 0 ? "," : "");
    }
    buf_append_str(&members, "]");
    outcome = python("", buf_cstr(&members));
    assert_string_equal(outcome->error_kind, "input");
    /* arguments that look like options of the tools in between */
    outcome = python("import sys\nprint(sys.argv[1:])",
                     "\"args\":[\"--\",\"--help\",\"--ro-bind\",\"/\",\"$(id)\",\"`id`\",\"; id\"]");
    assert_verdict(outcome, "OK");
    assert_string_equal(outcome->out, "['--', '--help', '--ro-bind', '/', '$(id)', '`id`', '; id']\n");
    buf_free(&members);
}

static void test_paths(void **ctx)
{
    (void)ctx;
    static const char *const bad[] = {"../x",  "/etc/passwd", "a/../../x", "",        "a//b",     "./a",
                                      "a/.",   "..",          ".",         "a/",      "-x",       "@x",
                                      "a\\nb", "a\\u0000b",   "a\\\\b",    "main.py", "main.py/x"};
    char input[1024];
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        snprintf(
            input, sizeof(input),
            "{\"lang\":\"python\",\"files\":[{\"path\":\"main.py\",\"text\":\"\"},{\"path\":\"%s\",\"text\":\"x\"}]}",
            bad[i]);
        struct code_outcome *outcome = code_try(&fixture, input);
        if (outcome->is_success || strcmp(outcome->error_kind, "input") != 0 || !outcome->is_final ||
            strncmp(outcome->message, "/files/1/path", 13) != 0) {
            fail_msg("\"%s\" gave %s %s", bad[i], outcome->error_kind, outcome->message);
        }
    }
    static const char *const good[] = {"a b", "--- /x",         "...",     "..a", "a/..b/c", "$HOME", "`id`",
                                       "a;b", "\\u00fc\\u4e2d", "a:b,c=d", "%s%n"};
    for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
        if (good[i][0] == '-') {
            continue;
        }
        snprintf(
            input, sizeof(input),
            "{\"lang\":\"python\",\"files\":[{\"path\":\"main.py\",\"text\":\"import sys\\nprint(open(sys.argv[1]).read())\"},"
            "{\"path\":\"%s\",\"text\":\"x\"}],\"args\":[\"%s\"]}",
            good[i], good[i]);
        struct code_outcome *outcome = code_try(&fixture, input);
        assert_verdict(outcome, "OK");
        assert_string_equal(outcome->out, "x\n");
    }
}

static void test_flags(void **ctx)
{
    (void)ctx;
    static const char *const bad[] = {"-B/tmp",
                                      "-specs=x",
                                      "-wrapper",
                                      "-fplugin=/tmp/x.so",
                                      "-I/etc",
                                      "-include",
                                      "@args",
                                      "-o",
                                      "-x",
                                      "-Wl,-T",
                                      "-D",
                                      "-DA=\\\"",
                                      "-D1",
                                      "-DA=$(id)",
                                      "-O2 -o",
                                      "-O4",
                                      "-march=native",
                                      "-save-temps",
                                      ""};
    char members[256];
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        snprintf(members, sizeof(members), "\"flags\":[\"%s\"]", bad[i]);
        struct code_outcome *outcome = c("return 0;", members);
        if (outcome->is_success || strncmp(outcome->message, "/flags/0", 8) != 0) {
            fail_msg("\"%s\" was let through", bad[i]);
        }
    }
}

static void test_compiler_bombs(void **ctx)
{
    (void)ctx;
    /* includes itself without end, reads without end: ends, and as the compile phase */
    static const char *const sources[] = {"#include \"main.c\"\n", "#include \"/dev/zero\"\n",
                                          "#include \"/dev/random\"\n"};
    for (size_t i = 0; i < sizeof(sources) / sizeof(*sources); i++) {
        struct code_outcome *outcome = code_try_source(&fixture, "c", sources[i], NULL);
        assert_true(outcome->is_success);
        assert_string_equal(outcome->phase, "compile");
        assert_string_not_equal(outcome->verdict, "OK");
    }
}

int main(void)
{
    sandbox_gate();
#define T(name) cmocka_unit_test(test_##name)
    const struct CMUnitTest tests[] = {
        T(fork_bomb),      T(vfork_bomb_in_sessions),  T(memory_bombs),  T(disk_fill),
        T(endless_output), T(limits_cannot_be_raised), T(network),       T(forbidden_calls),
        T(own_signals),    T(locks_are_its_own),       T(refused_calls), T(files_of_the_machine),
        T(symlinks),       T(hidden_descriptors),      T(survivors),     T(kill_all),
        T(other_slots),    T(long_arguments),          T(paths),         T(flags),
        T(compiler_bombs),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
