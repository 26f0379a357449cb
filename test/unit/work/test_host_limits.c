/* Limits of the machine and of the control groups around a process: trees of files as real machines show them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "work/code/code_budget.h"
#include "work/sandbox/host_limits.h"

static char root[64];

static void file(const char *path, const char *text)
{
    char full[512];
    snprintf(full, sizeof(full), "%s%s", root, path);
    for (char *at = full + strlen(root) + 1; (at = strchr(at, '/')) != NULL; at++) {
        *at = 0;
        assert_true(mkdir(full, 0755) == 0 || errno == EEXIST);
        *at = '/';
    }
    FILE *out = fopen(full, "w");
    assert_non_null(out);
    fputs(text, out);
    assert_int_equal(fclose(out), 0);
}

static int setup(void **ctx)
{
    (void)ctx;
    strcpy(root, "/tmp/shoal-test-limits.XXXXXX");
    if (mkdtemp(root) == NULL) {
        return 1;
    }
    file("/proc/meminfo", "MemTotal:       16384000 kB\nMemFree:        123 kB\n");
    file("/proc/sys/kernel/threads-max", "127000\n");
    file("/proc/sys/kernel/pid_max", "32768\n");
    return 0;
}

static int teardown(void **ctx)
{
    (void)ctx;
    char command[128];
    snprintf(command, sizeof(command), "rm -r %s", root);
    return system(command);
}

static struct host_limits limits(void)
{
    struct host_limits found;
    host_limits_read(root, &found);
    return found;
}

static void test_machine_alone(void **ctx)
{
    (void)ctx;
    struct host_limits found = limits();
    assert_int_equal(found.memory_bytes >> 20, 16000);
    assert_int_equal(found.procs, 32768);
    assert_int_equal(found.cpu_milli, 0);
    assert_false(found.is_memory_grouped);
}

#define V1_MOUNTS                                                                                                      \
    "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n"                                              \
    "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:7 - cgroup cgroup rw,cpu,cpuacct\n"                    \
    "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"                                       \
    "40 31 0:37 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids\n"

static void test_version_1(void **ctx)
{
    (void)ctx;
    file("/proc/self/mountinfo", V1_MOUNTS);
    file("/proc/self/cgroup", "8:pids:/svc\n4:memory:/svc/node\n2:cpu,cpuacct:/svc\n0::/elsewhere\n");
    file("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    file("/sys/fs/cgroup/memory/svc/memory.limit_in_bytes", "9223372036854771712\n");
    file("/sys/fs/cgroup/memory/svc/node/memory.limit_in_bytes", "314572800\n");
    file("/sys/fs/cgroup/pids/svc/pids.max", "200\n");
    file("/sys/fs/cgroup/cpu,cpuacct/svc/cpu.cfs_quota_us", "150000\n");
    file("/sys/fs/cgroup/cpu,cpuacct/svc/cpu.cfs_period_us", "100000\n");
    struct host_limits found = limits();
    assert_int_equal(found.memory_bytes, 314572800);
    assert_int_equal(found.procs, 200);
    assert_int_equal(found.cpu_milli, 1500);
    assert_true(found.is_memory_grouped);

    /* no limit in its own group, one in the group above */
    file("/sys/fs/cgroup/memory/svc/node/memory.limit_in_bytes", "9223372036854771712\n");
    file("/sys/fs/cgroup/memory/svc/memory.limit_in_bytes", "524288000\n");
    file("/sys/fs/cgroup/pids/svc/pids.max", "max\n");
    file("/sys/fs/cgroup/cpu,cpuacct/svc/cpu.cfs_quota_us", "-1\n");
    found = limits();
    assert_int_equal(found.memory_bytes, 524288000);
    assert_int_equal(found.procs, 32768);
    assert_int_equal(found.cpu_milli, 0);

    /* a limit above what is mounted */
    file("/sys/fs/cgroup/memory/svc/memory.limit_in_bytes", "9223372036854771712\n");
    file("/sys/fs/cgroup/memory/svc/node/memory.stat", "cache 1\nhierarchical_memory_limit 419430400\nrss 2\n");
    assert_int_equal(limits().memory_bytes, 419430400);
}

static void test_version_2(void **ctx)
{
    (void)ctx;
    file("/proc/self/mountinfo", "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n");
    file("/proc/self/cgroup", "0::/system.slice/shoal.service/shoal-agent\n");
    file("/sys/fs/cgroup/system.slice/memory.max", "max\n");
    file("/sys/fs/cgroup/system.slice/pids.max", "300\n");
    file("/sys/fs/cgroup/system.slice/cpu.max", "max 100000\n");
    file("/sys/fs/cgroup/system.slice/shoal.service/memory.max", "1073741824\n");
    file("/sys/fs/cgroup/system.slice/shoal.service/cpu.max", "50000 100000\n");
    file("/sys/fs/cgroup/system.slice/shoal.service/pids.max", "max\n");
    file("/sys/fs/cgroup/system.slice/shoal.service/shoal-agent/memory.max", "max\n");
    struct host_limits found = limits();
    assert_int_equal(found.memory_bytes, 1073741824);
    assert_int_equal(found.procs, 300);
    assert_int_equal(found.cpu_milli, 500);
    static const char *const odd[] = {"100000 0\n", "100000\n", "", "max\n"};
    for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
        file("/sys/fs/cgroup/system.slice/shoal.service/cpu.max", odd[i]);
        assert_int_equal(limits().cpu_milli, 0);
    }
}

/* A container whose mounts show its own group as the root, while /proc names the path from the real root. */
static void test_container(void **ctx)
{
    (void)ctx;
    file("/proc/self/mountinfo", "900 880 0:32 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n"
                                 "901 880 0:37 /docker/abc /sys/fs/cgroup/pids ro - cgroup cgroup rw,pids\n");
    file("/proc/self/cgroup", "8:pids:/docker/abc\n4:memory:/docker/abc/inner\n");
    file("/sys/fs/cgroup/memory/memory.limit_in_bytes", "268435456\n");
    file("/sys/fs/cgroup/memory/inner/memory.limit_in_bytes", "9223372036854771712\n");
    file("/sys/fs/cgroup/pids/pids.max", "77\n");
    struct host_limits found = limits();
    assert_int_equal(found.memory_bytes, 268435456);
    assert_int_equal(found.procs, 77);
    /* the process was moved to a place that is not mounted here: what is mounted still tells something */
    file("/proc/self/cgroup", "8:pids:/other\n4:memory:/../other\n");
    assert_int_equal(limits().memory_bytes, 268435456);
}

/* --- what a node makes of them --- */

static int granted;

static void grant(void *ctx)
{
    (void)ctx;
    granted++;
}

static void test_budget(void **ctx)
{
    (void)ctx;
    struct code_budget budget;
    code_budget_open(&budget, &(struct host_limits){.memory_bytes = 300 << 20, .procs = 200});
    assert_int_equal(budget.mem_mib, 300 - CODE_RESERVE_MIB);
    assert_int_equal(budget.procs, 200 - CODE_RESERVE_PROCS);
    struct sandbox_limits huge = {.mem_mib = 65536, .procs = 4096, .out_kib = 1024},
                          small = {.mem_mib = 64, .procs = 4};
    assert_true(code_budget_cut(&budget, &huge));
    assert_int_equal(huge.mem_mib, budget.mem_mib - 2);
    assert_int_equal(huge.procs, budget.procs);
    assert_false(code_budget_cut(&budget, &small));
    assert_int_equal(small.mem_mib, 64);

    struct code_claim first, second, third, fourth;
    granted = 0;
    assert_true(code_budget_ask(&budget, &small, grant, NULL, &first));
    assert_false(code_budget_ask(&budget, &huge, grant, NULL, &second));
    assert_false(code_budget_ask(&budget, &small, grant, NULL, &third)); /* it would fit, and does not pass */
    assert_false(code_budget_ask(&budget, &small, grant, NULL, &fourth));
    code_budget_give(&budget, &third); /* stops waiting */
    assert_int_equal(granted, 0);
    code_budget_give(&budget, &first);
    assert_int_equal(granted, 1);
    assert_true(second.is_held && !fourth.is_held);
    code_budget_give(&budget, &second);
    assert_true(fourth.is_held);
    code_budget_give(&budget, &fourth);
    code_budget_give(&budget, &fourth);
    assert_int_equal(budget.used_mib + budget.used_procs, 0);
    assert_null(budget.first);

    /* what nobody knows limits nothing; what is hardly there lets one small box run */
    code_budget_open(&budget, &(struct host_limits){0});
    struct sandbox_limits large = {.mem_mib = 65536, .procs = 4096, .out_kib = 1024};
    assert_false(code_budget_cut(&budget, &large));
    code_budget_open(&budget, &(struct host_limits){.memory_bytes = 40 << 20, .procs = 10});
    assert_true(code_budget_cut(&budget, &large));
    assert_int_equal(large.mem_mib, 16);
    assert_true(code_budget_ask(&budget, &large, grant, NULL, &first));
    code_budget_give(&budget, &first);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)
    const struct CMUnitTest tests[] = {T(machine_alone), T(version_1), T(version_2), T(container), T(budget)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
