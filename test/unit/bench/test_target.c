/* Real hubs, nodes and programs are started, hurt and stopped. SHOAL names the program. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "bench/target.h"

static struct loop loop;
static struct scenario *scenario;
static struct targets *targets;
static char scratch[64], why[900];
static int exits, faults_begun, faults_ended;

static void on_exit_of(void *ctx, const char *name, int exit_code, int signal)
{
    (void)ctx;
    (void)name;
    (void)exit_code;
    (void)signal;
    exits++;
}

static void on_fault(void *ctx, const struct scenario_fault *fault, bool is_begin)
{
    (void)ctx;
    (void)fault;
    faults_begun += is_begin;
    faults_ended += !is_begin;
}

static const struct targets_callbacks callbacks = {on_exit_of, on_fault, NULL};

static int setup(void **state)
{
    (void)state;
    snprintf(scratch, sizeof(scratch), "/tmp/test_target.XXXXXX");
    assert_non_null(mkdtemp(scratch));
    scenario = calloc(1, sizeof(*scenario));
    exits = faults_begun = faults_ended = 0;
    targets = NULL;
    why[0] = '\0';
    assert_int_equal(loop_init(&loop), STATUS_OK);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    char command[128];
    if (targets != NULL) {
        targets_stop(targets);
    }
    loop_free(&loop);
    free(scenario);
    snprintf(command, sizeof(command), "rm -rf '%s'", scratch);
    assert_int_equal(system(command), 0);
    return 0;
}

static struct scenario_start *add(enum scenario_start_kind kind, const char *name)
{
    struct scenario_start *start = &scenario->starts[scenario->start_count++];
    start->kind = kind;
    start->line = scenario->start_count;
    start->count = 1;
    snprintf(start->name, sizeof(start->name), "%s", name);
    return start;
}

static void begin(void)
{
    enum status status =
        targets_start(&loop, scenario, getenv("SHOAL"), scratch, &callbacks, &targets, why, sizeof(why));
    if (status != STATUS_OK) {
        fail_msg("%s: %s", status_slug(status), why);
    }
}

static int pid_of(const char *name)
{
    int pid = -1;
    const char *found;
    for (uint32_t i = 0; (found = targets_process(targets, i, &pid)) != NULL; i++) {
        if (strcmp(found, name) == 0) {
            return pid;
        }
    }
    return -1;
}

static void turn(void)
{
    uv_run(&loop.uv, UV_RUN_NOWAIT);
    (void)poll(NULL, 0, 2);
}

static bool answers(const char *name, const char *path)
{
    char command[256];
    snprintf(command, sizeof(command), "curl -sf -m 2 -o /dev/null '%s%s'", targets_url(targets, name), path);
    return system(command) == 0;
}

#define until(condition)                                                                                               \
    do {                                                                                                               \
        int64_t end_ns_ = clock_mono_ns() + 30 * NS_PER_S;                                                             \
        while (!(condition)) {                                                                                         \
            turn();                                                                                                    \
            if (clock_mono_ns() > end_ns_)                                                                             \
                fail_msg("never: %s", #condition);                                                                     \
        }                                                                                                              \
    } while (0)

static struct scenario_fault *fault(enum scenario_fault_action action, const char *target, int64_t for_ms)
{
    struct scenario_fault *fault = &scenario->faults[scenario->fault_count++];
    fault->action = action;
    snprintf(fault->target, sizeof(fault->target), "%s", target);
    fault->for_ns = for_ms * NS_PER_MS;
    return fault;
}

static void hurt(const struct scenario_fault *fault)
{
    enum status status = targets_fault(targets, fault, why, sizeof(why));
    if (status != STATUS_OK) {
        fail_msg("%s: %s", status_slug(status), why);
    }
}

static void test_everything_starts_and_ends(void **state)
{
    (void)state;
    add(START_HUB, "hub");
    add(START_PROXY, "line");
    struct scenario_start *nodes = add(START_NODE, "node");
    nodes->count = 2;
    nodes->slots = 3;
    snprintf(nodes->to, sizeof(nodes->to), "line");
    begin();
    assert_true(answers("hub", "/readyz") && answers("", "/readyz"));
    assert_string_not_equal(targets_url(targets, "line"), targets_url(targets, "hub"));
    assert_null(targets_url(targets, "moon"));
    int pid, pids[3] = {pid_of("hub"), pid_of("node1"), pid_of("node2")};
    assert_true(pids[0] > 0 && pids[1] > 0 && pids[2] > 0);
    assert_null(targets_process(targets, 3, &pid));
    targets_stop(targets);
    targets = NULL;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(kill(pids[i], 0), -1);
    }
    assert_int_equal(exits, 0);
    assert_false(uv_loop_alive(&loop.uv) && loop.is_stopping);
}

static void test_kill_and_restart_keep_port_and_data(void **state)
{
    (void)state;
    add(START_HUB, "hub");
    begin();
    char url[64], command[256];
    snprintf(url, sizeof(url), "%s", targets_url(targets, "hub"));
    snprintf(command, sizeof(command), "curl -sf -X PUT -o /dev/null '%s/v1/queues/kept'", url);
    assert_int_equal(system(command), 0);
    int before = pid_of("hub");
    hurt(fault(FAULT_KILL, "hub", 100));
    until(pid_of("hub") == 0);
    assert_false(answers("hub", "/readyz"));
    until(faults_ended == 1);
    assert_string_equal(targets_url(targets, "hub"), url);
    assert_true(answers("hub", "/v1/queues/kept") && pid_of("hub") != before);
    before = pid_of("hub");
    hurt(fault(FAULT_RESTART, "hub", 0));
    until(faults_ended == 2);
    assert_true(answers("hub", "/v1/queues/kept") && pid_of("hub") != before);
    hurt(fault(FAULT_STOP, "hub", 0));
    until(pid_of("hub") == 0);
    assert_int_equal(targets_fault(targets, fault(FAULT_KILL, "hub", 0), why, sizeof(why)), STATUS_NOT_FOUND);
    hurt(fault(FAULT_RESTART, "hub", 0)); /* starts what is down */
    until(faults_ended == 3);
    assert_true(answers("hub", "/v1/queues/kept"));
    assert_int_equal(exits, 0);
    assert_int_equal(faults_begun, 4);
}

static char process_state(int pid)
{
    char path[64], text[512] = "";
    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    FILE *file = fopen(path, "r");
    size_t got = file != NULL ? fread(text, 1, sizeof(text) - 1, file) : 0;
    if (file != NULL) {
        fclose(file);
    }
    const char *at = got > 0 ? strrchr(text, ')') : NULL;
    return at != NULL ? at[2] : '-';
}

static void test_freeze(void **state)
{
    (void)state;
    add(START_HUB, "hub");
    begin();
    int pid = pid_of("hub");
    hurt(fault(FAULT_FREEZE, "hub", 150));
    until(process_state(pid) == 'T');
    until(faults_ended == 1);
    until(answers("hub", "/readyz"));
    hurt(fault(FAULT_FREEZE, "hub", 0)); /* and is stopped while frozen */
    until(process_state(pid) == 'T');
}

static void test_memory(void **state)
{
    (void)state;
    const char *sanitize = getenv("SANITIZE");
    if (sanitize != NULL && *sanitize != '\0') {
        skip(); /* a sanitizer maps more than any limit allows */
    }
    add(START_HUB, "hub")->memory_bytes = UINT64_C(4) << 30;
    begin();
    int pid = pid_of("hub");
    struct rlimit limit;
    assert_int_equal(prlimit(pid, RLIMIT_DATA, NULL, &limit), 0);
    assert_true(limit.rlim_cur == UINT64_C(4) << 30);
    struct scenario_fault *small = fault(FAULT_LIMIT_MEMORY, "hub", 100);
    small->bytes = UINT64_C(3) << 30;
    hurt(small);
    assert_int_equal(prlimit(pid, RLIMIT_DATA, NULL, &limit), 0);
    assert_true(limit.rlim_cur == UINT64_C(3) << 30);
    until(faults_ended == 1);
    assert_int_equal(prlimit(pid, RLIMIT_DATA, NULL, &limit), 0);
    assert_true(limit.rlim_cur == UINT64_C(4) << 30);
}

static void test_unexpected_end_is_told(void **state)
{
    (void)state;
    add(START_HUB, "hub");
    begin();
    kill(pid_of("hub"), SIGKILL);
    until(exits == 1);
    assert_int_equal(pid_of("hub"), 0);
}

static void exec_text(struct scenario_start *start, struct scenario_part *parts, uint32_t count)
{
    start->command.parts = parts;
    start->command.count = count;
}

static void test_program_of_somebody_else(void **state)
{
    (void)state;
    char names[1][BENCH_NAME_SIZE] = {"port"};
    struct scenario_part parts[] = {{SLICE("python3 -m http.server --bind 127.0.0.1 "), -1}, {{NULL, 0}, 0}};
    scenario->variables = names;
    scenario->variable_count = 1;
    exec_text(add(START_EXEC, "files"), parts, 2);
    begin();
    assert_true(answers("files", "/"));
    hurt(fault(FAULT_KILL, "files", 50));
    until(faults_ended == 1);
    assert_true(answers("files", "/"));
}

static void test_what_does_not_start(void **state)
{
    (void)state;
    struct scenario_part parts[] = {{SLICE("sh -c 'echo the reason; exit 3'"), -1}};
    exec_text(add(START_EXEC, "broken"), parts, 1);
    assert_int_equal(targets_start(&loop, scenario, getenv("SHOAL"), scratch, &callbacks, &targets, why, sizeof(why)),
                     STATUS_FAILED);
    assert_non_null(strstr(why, "broken ended with exit code 3"));
    assert_non_null(strstr(why, "the reason"));
    scenario->start_count = 0;
    add(START_HUB, "hub");
    snprintf(scenario->starts[0].settings[0], sizeof(scenario->starts[0].settings[0]), "nonsense=1");
    scenario->starts[0].setting_count = 1;
    assert_int_equal(targets_start(&loop, scenario, getenv("SHOAL"), scratch, &callbacks, &targets, why, sizeof(why)),
                     STATUS_FAILED);
    assert_non_null(strstr(why, "nonsense"));
    scenario->starts[0].setting_count = 0;
    assert_int_not_equal(
        targets_start(&loop, scenario, "/no/such/program", scratch, &callbacks, &targets, why, sizeof(why)), STATUS_OK);
    assert_non_null(strstr(why, "cannot start hub"));
    scenario->start_count = 0;
    add(START_NODE, "node");
    assert_int_equal(targets_start(&loop, scenario, getenv("SHOAL"), scratch, &callbacks, &targets, why, sizeof(why)),
                     STATUS_INVALID);
    assert_non_null(strstr(why, "needs a hub"));
    targets = NULL;
}

static void test_faults_that_cannot_be(void **state)
{
    (void)state;
    add(START_HUB, "hub");
    add(START_PROXY, "line");
    begin();
    assert_int_equal(targets_fault(targets, fault(FAULT_CUT, "hub", 10), why, sizeof(why)), STATUS_INVALID);
    assert_non_null(strstr(why, "proxy"));
    assert_int_equal(targets_fault(targets, fault(FAULT_KILL, "line", 10), why, sizeof(why)), STATUS_INVALID);
    assert_int_equal(targets_fault(targets, fault(FAULT_KILL, "moon", 10), why, sizeof(why)), STATUS_NOT_FOUND);
    assert_int_equal(targets_fault(targets, fault(FAULT_FILL_DISK, "hub", 10), why, sizeof(why)), STATUS_INVALID);
    assert_non_null(strstr(why, "disk SIZE"));
    assert_int_equal(faults_begun, 0);
    hurt(fault(FAULT_CUT, "line", 30));
    until(faults_ended == 1);
    hurt(fault(FAULT_BLACKHOLE, "line", 0)); /* ended by the end */
}

static void test_small_disk(void **state)
{
    (void)state;
    add(START_HUB, "hub")->disk_bytes = 200u << 20;
    enum status status =
        targets_start(&loop, scenario, getenv("SHOAL"), scratch, &callbacks, &targets, why, sizeof(why));
    if (status == STATUS_PERMISSION) {
        print_message("no namespace of its own can be made here: %s\n", why);
        targets = NULL;
        skip();
    }
    if (status != STATUS_OK) {
        fail_msg("%s", why);
    }
    char path[128], command[256];
    struct statvfs space;
    snprintf(path, sizeof(path), "/proc/%d/root%s/hub", pid_of("hub"), scratch);
    assert_int_equal(statvfs(path, &space), 0);
    assert_true(space.f_blocks * space.f_frsize == 200u << 20);
    snprintf(command, sizeof(command), "curl -sf -X PUT -o /dev/null '%s/v1/queues/kept'", targets_url(targets, "hub"));
    assert_int_equal(system(command), 0);
    hurt(fault(FAULT_FILL_DISK, "hub", 200));
    assert_int_equal(statvfs(path, &space), 0);
    assert_true(space.f_bavail < 256); /* the hub may have given a little back meanwhile */
    until(faults_ended == 1);
    assert_int_equal(statvfs(path, &space), 0);
    assert_true(space.f_bavail > 0);
    hurt(fault(FAULT_KILL, "hub", 20)); /* finds its disk again */
    until(faults_ended == 2);
    assert_true(answers("hub", "/v1/queues/kept"));
    snprintf(path, sizeof(path), "%s/hub/journal", scratch);
    assert_int_equal(access(path, F_OK), -1); /* nothing of it is on the machine's own disk */
}

/* Kills a process that has started targets, and counts who is left of them. */
static void test_nothing_stays_when_the_run_is_killed(void **state)
{
    (void)state;
    char names[1][BENCH_NAME_SIZE] = {"port"};
    /* a program with a child of its own */
    char first[160];
    snprintf(first, sizeof(first), "sh -c 'sleep 1000 & echo $! >%s/pid; python3 -m http.server --bind 127.0.0.1 ",
             scratch);
    struct scenario_part parts[] = {{slice_str(first), -1}, {{NULL, 0}, 0}, {SLICE("'"), -1}};
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    pid_t runner = fork();
    assert_true(runner >= 0);
    if (runner == 0) {
        struct loop own;
        int pids[3] = {0};
        scenario->variables = names;
        scenario->variable_count = 1;
        exec_text(add(START_EXEC, "files"), parts, 3);
        add(START_HUB, "hub");
        add(START_NODE, "node");
        if (loop_init(&own) != STATUS_OK || targets_start(&own, scenario, getenv("SHOAL"), scratch, &callbacks,
                                                          &targets, why, sizeof(why)) != STATUS_OK) {
            fprintf(stderr, "%s\n", why);
            _exit(1);
        }
        pids[0] = pid_of("files");
        pids[1] = pid_of("hub");
        pids[2] = pid_of("node");
        _exit(write(fds[1], pids, sizeof(pids)) == sizeof(pids) && pause() ? 0 : 1);
    }
    int pids[4];
    assert_int_equal(read(fds[0], pids, 3 * sizeof(pids[0])), 3 * sizeof(pids[0]));
    char path[128];
    snprintf(path, sizeof(path), "%s/pid", scratch);
    FILE *file = fopen(path, "r");
    assert_true(file != NULL && fscanf(file, "%d", &pids[3]) == 1);
    fclose(file);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(kill(pids[i], 0), 0);
    }
    kill(runner, SIGKILL);
    assert_int_equal(waitpid(runner, NULL, 0), runner);
    close(fds[0]);
    close(fds[1]);
    int64_t end_ns = clock_mono_ns() + 10 * NS_PER_S;
    for (int i = 0; i < 4; i++) {
        while (process_state(pids[i]) != '-' && process_state(pids[i]) != 'Z') {
            if (clock_mono_ns() > end_ns) {
                fail_msg("process %d of 4 is still there", i + 1);
            }
            (void)poll(NULL, 0, 10);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_everything_starts_and_ends, setup, teardown),
        cmocka_unit_test_setup_teardown(test_kill_and_restart_keep_port_and_data, setup, teardown),
        cmocka_unit_test_setup_teardown(test_freeze, setup, teardown),
        cmocka_unit_test_setup_teardown(test_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unexpected_end_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(test_program_of_somebody_else, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_does_not_start, setup, teardown),
        cmocka_unit_test_setup_teardown(test_faults_that_cannot_be, setup, teardown),
        cmocka_unit_test_setup_teardown(test_small_disk, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nothing_stays_when_the_run_is_killed, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
