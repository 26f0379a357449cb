/* The sandbox below any kind: every way to watch limits that this machine has, with root and without, and what is left. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "work/sandbox/attack.h"
#include "work/sandbox/memfile.h"
#include "work/sandbox/probe.h"
#include "work/sandbox/process_tree.h"
#include "work/sandbox/sandbox_internal.h"

#include "sandbox_gate.h"

static const struct sandbox_limits usual = {
    .cpu_ms = 2000, .wall_ms = 5000, .mem_mib = 128, .procs = 32, .out_kib = 64, .fs_mib = 16};

struct ended {
    int calls;
    struct sandbox_result result;
    char out[4096], err[4096];
};

static void on_done(void *ctx, const struct sandbox_result *result)
{
    struct ended *ended = ctx;
    ended->calls++;
    ended->result = *result;
    snprintf(ended->out, sizeof(ended->out), "%.*s", SLICE_ARG(result->out));
    snprintf(ended->err, sizeof(ended->err), "%.*s", SLICE_ARG(result->err));
}

/* In a forked child: never outlives a test that failed, which would leave the runner waiting for the end of its output. */
static void end_with_parent(pid_t parent)
{
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent) {
        _exit(1);
    }
}

static void finish(uv_loop_t *loop, struct ended *ended)
{
    while (ended->calls == 0) {
        uv_run(loop, UV_RUN_ONCE);
    }
    assert_int_equal(ended->calls, 1);
}

static void run(struct sandbox_host *host, uv_loop_t *loop, struct sandbox_spec *spec, struct ended *ret_ended)
{
    struct sandbox_run *started;
    *ret_ended = (struct ended){0};
    assert_int_equal(sandbox_start(host, spec, on_done, ret_ended, &started), STATUS_OK);
    assert_int_equal(ret_ended->calls, 0);
    finish(loop, ret_ended);
}

static int open_fds(void)
{
    int count = 0;
    for (int fd = 0; fd < 1024; fd++) {
        count += fcntl(fd, F_GETFD) >= 0;
    }
    return count;
}

/* A child of a process that was started not long ago. */
static pid_t child_of(pid_t parent)
{
    pid_t found = -1;
    for (pid_t pid = parent + 1; pid < parent + 50000 && found < 0; pid++) {
        char path[32], text[512];
        snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
        FILE *file = fopen(path, "r");
        int of = 0;
        if (file != NULL && fgets(text, sizeof(text), file) != NULL && strrchr(text, ')') != NULL &&
            sscanf(strrchr(text, ')') + 1, " %*c %d", &of) == 1 && of == parent) {
            found = pid;
        }
        if (file != NULL) {
            fclose(file);
        }
    }
    return found;
}

/* Never with a number that was not found: kill(-1) would hit the whole machine. */
static void child_kill(pid_t parent)
{
    pid_t child = child_of(parent);
    assert_true(child > 1);
    assert_int_equal(kill(child, SIGKILL), 0);
}

static void host_open(uv_loop_t *loop, struct sandbox_host **ret_host)
{
    struct buf why;
    buf_init(&why, 4096);
    assert_int_equal(uv_loop_init(loop), 0);
    enum status status = sandbox_host_open(loop, 2, ret_host, &why);
    if (status != STATUS_OK) {
        fail_msg("no sandbox here, where there was one before: %s", buf_cstr(&why));
    }
    buf_free(&why);
}

static void host_close(uv_loop_t *loop, struct sandbox_host *host)
{
    char group[256];
    snprintf(group, sizeof(group), "%s", host->cgroups.path[0]);
    sandbox_host_close(host);
    uv_run(loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(loop), 0);
    if (group[0] != 0) {
        assert_int_not_equal(access(group, F_OK), 0);
    }
}

/* The whole proof in one mode; then that nothing is left. */
static void prove(const char *mode)
{
    uv_loop_t loop;
    struct sandbox_host *host;
    struct buf facts, why;
    setenv("SHOAL_CGROUP", mode, 1);
    host_open(&loop, &host);
    unsetenv("SHOAL_CGROUP");
    if (strcmp(mode, "none") != 0 && strcmp(cgroup_mode_name(sandbox_host_cgroup_mode(host)), mode) != 0) {
        print_message("this machine has no usable control groups %s\n", mode);
        host_close(&loop, host);
        skip();
    }
    buf_init(&facts, 4096);
    buf_init(&why, 4096);
    int fds = open_fds();
    enum status status = sandbox_probe(host, &loop, &facts, &why);
    if (status != STATUS_OK) {
        fail_msg("mode %s: %s", mode, buf_cstr(&why));
    }
    assert_int_equal(open_fds(), fds);
    struct process_usage usage;
    process_tree_usage(getpid(), &usage);
    assert_int_equal(usage.count, 1);
    buf_free(&facts);
    buf_free(&why);
    host_close(&loop, host);
}

static void test_proof_v2(void **ctx)
{
    (void)ctx;
    prove("v2");
}

static void test_proof_v1(void **ctx)
{
    (void)ctx;
    prove("v1");
}

static void test_proof_polling(void **ctx)
{
    (void)ctx;
    prove("none");
}

/* Without root: own user for all slots, polling. In a child, since a user once dropped does not come back. */
static void test_proof_without_root(void **ctx)
{
    (void)ctx;
    if (geteuid() != 0) {
        prove("none"); /* then the other tests are this already */
        return;
    }
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        uv_loop_t loop;
        struct sandbox_host *host;
        struct buf facts, why;
        buf_init(&facts, 4096);
        buf_init(&why, 4096);
        if (setgid(1899999999) != 0 || setuid(1899999999) != 0) {
            _exit(3);
        }
        if (uv_loop_init(&loop) != 0 || sandbox_host_open(&loop, 2, &host, &why) != STATUS_OK ||
            sandbox_probe(host, &loop, &facts, &why) != STATUS_OK) {
            fprintf(stderr, "without root: %s\n", buf_cstr(&why));
            _exit(unshare(CLONE_NEWUSER) == 0 ? 1 : 77); /* only root may make sandboxes here */
        }
        bool is_right = !sandbox_host_is_root(host) && sandbox_host_cgroup_mode(host) == CGROUP_NONE &&
                        sandbox_host_slot_uid(host, 1) == 1899999999;
        buf_free(&facts);
        buf_free(&why);
        sandbox_host_close(host);
        _exit(is_right ? 0 : 2);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77) {
        skip();
    }
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* --- details --------------------------------------------------------------------------------------------------- */

static uv_loop_t loop;
static struct sandbox_host *host;

static int setup(void **ctx)
{
    (void)ctx;
    host_open(&loop, &host);
    return 0;
}

static int teardown(void **ctx)
{
    (void)ctx;
    host_close(&loop, host);
    return 0;
}

static void test_files_in_and_out(void **ctx)
{
    (void)ctx;
    int in = memfile_of("in", SLICE("content")), out = memfile_new("out"),
        stdin_fd = memfile_of("stdin", SLICE("typed"));
    struct sandbox_file files[] = {{.path = SANDBOX_WORK_DIR "/deep/er/copy", .fd = in},
                                   {.path = "/shoal/shown", .fd = in, .is_read_only = true}};
    const char *argv[] = {"/bin/cp", "-v", "/dev/stdin", "/proc/self/fd/9", NULL};
    struct sandbox_spec spec = {
        .argv = argv, .files = files, .file_count = 2, .stdin_fd = stdin_fd, .out_fd = out, .limits = usual};
    struct ended ended;
    run(host, &loop, &spec, &ended);
    assert_int_equal(ended.result.end, SANDBOX_EXITED);
    assert_int_equal(ended.result.exit_code, 0);
    struct buf bytes;
    buf_init(&bytes, 100);
    assert_int_equal(memfile_read(out, &bytes), STATUS_OK);
    assert_string_equal(buf_cstr(&bytes), "typed");
    buf_free(&bytes);

    const char *cat[] = {"/bin/cat", "deep/er/copy", "/shoal/shown", "/work/deep/er/copy", NULL};
    spec.argv = cat;
    run(host, &loop, &spec, &ended); /* the same memory files again: every run reads from the start */
    assert_string_equal(ended.out, "contentcontentcontent");
    close(in);
    close(out);
    close(stdin_fd);
}

static void test_environment(void **ctx)
{
    (void)ctx;
    static const char *const env[] = {"A=1=2", "EMPTY=", NULL};
    const char *argv[] = {"/usr/bin/env", NULL};
    struct sandbox_spec spec = {.argv = argv, .env = env, .stdin_fd = -1, .out_fd = -1, .limits = usual};
    struct ended ended;
    setenv("SHOAL_SECRET", "x", 1);
    run(host, &loop, &spec, &ended);
    unsetenv("SHOAL_SECRET");
    assert_null(strstr(ended.out, "SECRET"));
    assert_non_null(strstr(ended.out, "A=1=2\n"));
    assert_non_null(strstr(ended.out, "EMPTY=\n"));
    assert_non_null(strstr(ended.out, "HOME=/tmp\n"));
}

static void test_cannot_execute(void **ctx)
{
    (void)ctx;
    const char *argv[] = {"/no/such/program", NULL};
    struct sandbox_spec spec = {.argv = argv, .stdin_fd = -1, .out_fd = -1, .limits = usual};
    struct ended ended;
    run(host, &loop, &spec, &ended);
    assert_int_equal(ended.result.end, SANDBOX_FAULT);
    assert_non_null(strstr(ended.result.fault, "No such file"));
    /* bwrap's own complaint reaches the fault: a path that is not there to be bound */
    static const char *const binds[] = {"/no/such/runtime", NULL};
    spec.binds = binds;
    run(host, &loop, &spec, &ended);
    assert_int_equal(ended.result.end, SANDBOX_FAULT);
    assert_non_null(strstr(ended.result.fault, "/no/such/runtime"));
}

static void test_supervisor_is_killed(void **ctx)
{
    (void)ctx;
    /* something on the machine kills bwrap: the run ends, and nothing of it is left */
    for (int round = 0; round < 5; round++) {
        const char *argv[] = {"/bin/sleep", "30", NULL};
        struct sandbox_spec spec = {.argv = argv, .stdin_fd = -1, .out_fd = -1, .limits = usual};
        struct sandbox_run *started;
        struct ended ended = {0};
        assert_int_equal(sandbox_start(host, &spec, on_done, &ended, &started), STATUS_OK);
        usleep((useconds_t)round * 10000);
        uv_run(&loop, UV_RUN_NOWAIT);
        child_kill(getpid());
        finish(&loop, &ended);
        assert_int_equal(ended.result.end, SANDBOX_FAULT);
        if (sandbox_host_is_root(host)) {
            assert_int_equal(process_tree_of_users(sandbox_host_slot_uid(host, 0), 1, 0), 0);
        }
    }
}

static void test_node_is_killed(void **ctx)
{
    (void)ctx;
    /* kill -9 of the node itself: its sandboxes die with it; the next node removes its groups and takes its users */
    int report[2];
    assert_int_equal(pipe(report), 0);
    pid_t parent = getpid(), pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        end_with_parent(parent);
        uv_loop_t own;
        struct sandbox_host *inner;
        struct buf why;
        buf_init(&why, 4096);
        if (uv_loop_init(&own) != 0 || sandbox_host_open(&own, 1, &inner, &why) != STATUS_OK) {
            _exit(1);
        }
        const char *argv[] = {"/bin/sleep", "60", NULL};
        struct sandbox_spec spec = {.argv = argv, .stdin_fd = -1, .out_fd = -1, .limits = usual};
        spec.limits.wall_ms = 60000;
        struct sandbox_run *started;
        struct ended ended = {0};
        if (sandbox_start(inner, &spec, on_done, &ended, &started) != STATUS_OK) {
            _exit(1);
        }
        for (int i = 0; i < 20; i++) {
            uv_run(&own, UV_RUN_NOWAIT);
            usleep(10000);
        }
        struct {
            uid_t uid;
            char group[256];
        } words = {.uid = sandbox_host_slot_uid(inner, 0)};
        memcpy(words.group, inner->cgroups.path[0], sizeof(words.group));
        if (write(report[1], &words, sizeof(words)) != sizeof(words)) {
            _exit(1);
        }
        for (;;) {
            pause();
        }
    }
    close(report[1]); /* a child that ends early is an end of file, not a wait without end */
    struct {
        uid_t uid;
        char group[256];
    } words;
    assert_int_equal(read(report[0], &words, sizeof(words)), sizeof(words));
    if (sandbox_host_is_root(host)) {
        assert_true(process_tree_of_users(words.uid, 1, 0) >= 2);
    }
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    int left = 1;
    for (int i = 0; i < 200 && left > 0 && sandbox_host_is_root(host); i++) {
        left = (int)process_tree_of_users(words.uid, 1, 0);
        usleep(10000);
    }
    if (sandbox_host_is_root(host)) {
        assert_int_equal(left, 0);
    }
    uv_loop_t other;
    struct sandbox_host *next;
    host_open(&other, &next);
    if (words.group[0] != 0) {
        assert_int_not_equal(access(words.group, F_OK), 0);
    }
    /* ours is not stale: it still works */
    const char *argv[] = {"/bin/true", NULL};
    struct sandbox_spec spec = {.argv = argv, .stdin_fd = -1, .out_fd = -1, .limits = usual};
    struct ended ended;
    run(host, &loop, &spec, &ended);
    assert_int_equal(ended.result.end, SANDBOX_EXITED);
    host_close(&other, next);
    close(report[0]);
}

static void test_users_differ(void **ctx)
{
    (void)ctx;
    if (!sandbox_host_is_root(host)) {
        skip();
    }
    uv_loop_t other;
    struct sandbox_host *second;
    host_open(&other, &second);
    assert_int_not_equal(sandbox_host_slot_uid(host, 0), sandbox_host_slot_uid(host, 1));
    assert_int_not_equal(sandbox_host_slot_uid(host, 0), sandbox_host_slot_uid(second, 0));
    assert_int_not_equal(sandbox_host_slot_uid(host, 1), sandbox_host_slot_uid(second, 0));
    host_close(&other, second);
}

static void test_cancel_at_any_moment(void **ctx)
{
    (void)ctx;
    int fds = open_fds();
    for (int ms = 0; ms < 25; ms++) {
        const char *argv[] = {"/shoal/init", ATTACK_OPTION, "survive", NULL};
        struct sandbox_spec spec = {.argv = argv, .stdin_fd = -1, .out_fd = -1, .limits = usual};
        struct sandbox_run *started;
        struct ended ended = {0};
        assert_int_equal(sandbox_start(host, &spec, on_done, &ended, &started), STATUS_OK);
        for (int i = 0; i < ms && ended.calls == 0; i++) {
            usleep(1000);
            uv_run(&loop, UV_RUN_NOWAIT);
        }
        if (ended.calls == 0) {
            sandbox_cancel(started);
            assert_int_equal(ended.calls, 0);
            finish(&loop, &ended);
        }
        assert_true(ended.result.end == SANDBOX_CANCELLED || ended.result.end == SANDBOX_EXITED);
        if (sandbox_host_is_root(host)) {
            assert_int_equal(process_tree_of_users(sandbox_host_slot_uid(host, 0), 1, 0), 0);
        }
    }
    uv_run(&loop, UV_RUN_NOWAIT);
    assert_int_equal(open_fds(), fds);
}

/* Files take memory, empty ones too; without control groups nobody but us counts them. */
static void test_files_are_memory(void **ctx)
{
    (void)ctx;
    if (geteuid() != 0) {
        skip();
    }
    static const char *const scripts[] = {"seq 300000 | xargs touch; sleep 20",
                                          "head -c 150000000 /dev/zero > full; sleep 20", "seq 1000 | xargs touch"};
    uv_loop_t own;
    struct sandbox_host *polling;
    setenv("SHOAL_CGROUP", "none", 1);
    host_open(&own, &polling);
    unsetenv("SHOAL_CGROUP");
    for (size_t i = 0; i < sizeof(scripts) / sizeof(scripts[0]); i++) {
        const char *argv[] = {"/bin/sh", "-c", scripts[i], NULL};
        struct sandbox_spec spec = {.argv = argv, .stdin_fd = -1, .out_fd = -1, .limits = usual};
        spec.limits.cpu_ms = spec.limits.wall_ms = 15000;
        spec.limits.fs_mib = 256;
        struct ended ended;
        run(polling, &own, &spec, &ended);
        assert_int_equal(ended.result.end, i < 2 ? SANDBOX_MEMORY : SANDBOX_EXITED);
    }
    host_close(&own, polling);
}

static void test_process_tree(void **ctx)
{
    (void)ctx;
    int ready[2];
    char byte;
    assert_int_equal(pipe(ready), 0);
    pid_t parent = getpid(), pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        end_with_parent(parent);
        parent = getpid();
        pid_t inner = fork();
        if (inner < 0) {
            _exit(1);
        }
        if (inner == 0) {
            end_with_parent(parent);
            char *memory = malloc(20 << 20);
            memset(memory, 1, 20 << 20);
            for (volatile long i = 0; i < 50000000; i++) {
            }
            if (write(ready[1], memory, 1) != 1) {
                _exit(1);
            }
            pause();
        }
        pause();
    }
    close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    struct process_usage usage;
    process_tree_usage(pid, &usage);
    assert_int_equal(usage.count, 2);
    assert_true(usage.memory_bytes > 20 << 20 && usage.memory_bytes < 400 << 20);
    assert_true(usage.cpu_us > 0);
    process_tree_usage(getpid(), &usage);
    assert_int_equal(usage.count, 3);
    child_kill(pid);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    close(ready[0]);
    process_tree_usage(pid, &usage);
    assert_int_equal(usage.count, 0);
}

int main(void)
{
    sandbox_gate();
#define T(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_proof_without_root),
        cmocka_unit_test(test_proof_v2),
        cmocka_unit_test(test_proof_v1),
        cmocka_unit_test(test_proof_polling),
        cmocka_unit_test(test_process_tree),
        cmocka_unit_test(test_files_are_memory),
        T(files_in_and_out),
        T(environment),
        T(cannot_execute),
        T(supervisor_is_killed),
        T(node_is_killed),
        T(users_differ),
        T(cancel_at_any_moment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
