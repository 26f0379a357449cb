/* Limits of memory as containers set them, in a copy of the files that tell. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h> /* wants those above */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hub/machine.h"

static char root[64];

static void put(const char *name, const char *text)
{
    char path[512];
    int at = snprintf(path, sizeof(path), "%s/%s", root, name);
    for (char *slash = path + strlen(root) + 1; (slash = strchr(slash, '/')) != NULL; slash++) {
        *slash = '\0';
        mkdir(path, 0700);
        *slash = '/';
    }
    assert_true(at > 0 && (size_t)at < sizeof(path));
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

static void begin(void)
{
    snprintf(root, sizeof(root), "/tmp/shoal-machine-XXXXXX");
    assert_non_null(mkdtemp(root));
}

static void end(void)
{
    char command[128];
    snprintf(command, sizeof(command), "rm -rf %s", root);
    assert_int_equal(system(command), 0);
}

static void every_group_above_limits(void **state)
{
    (void)state;
    begin();
    uint64_t whole = machine_memory_below(root); /* no file at all */
    assert_true(whole > 64u << 20);
    put("proc/self/cgroup", "0::/a/b\n");
    put("sys/fs/cgroup/a/b/memory.max", "max\n");
    assert_int_equal(machine_memory_below(root), whole);
    put("sys/fs/cgroup/a/memory.max", "50331648\n");
    assert_int_equal(machine_memory_below(root), 48u << 20);
    put("sys/fs/cgroup/a/b/memory.max", "33554432\n");
    assert_int_equal(machine_memory_below(root), 32u << 20);
    put("sys/fs/cgroup/memory.max", "16777216\n"); /* as a container sees its own group */
    assert_int_equal(machine_memory_below(root), 16u << 20);
    end();
}

static void the_first_version_counts(void **state)
{
    (void)state;
    begin();
    uint64_t whole = machine_memory_below(root);
    put("proc/self/cgroup", "9:cpu,cpuacct:/x\n4:memory:/docker/abc\n0::/\n");
    put("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"); /* none */
    assert_int_equal(machine_memory_below(root), whole);
    put("sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes", "33554432\n");
    assert_int_equal(machine_memory_below(root), 32u << 20);
    put("sys/fs/cgroup/memory/memory.limit_in_bytes", "16777216\n");
    assert_int_equal(machine_memory_below(root), 16u << 20);
    end();
}

static void nonsense_limits_nothing(void **state)
{
    (void)state;
    begin();
    uint64_t whole = machine_memory_below(root);
    put("proc/self/cgroup", "\n:::\nmemory\n0:\n4:memory\n0::relative\n4:memory:/x\n");
    put("sys/fs/cgroup/memory.max", "\n");
    put("sys/fs/cgroup/memory/x/memory.limit_in_bytes", "-1\n");
    assert_int_equal(machine_memory_below(root), whole);
    assert_true(machine_memory() <= whole);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_group_above_limits),
        cmocka_unit_test(the_first_version_counts),
        cmocka_unit_test(nonsense_limits_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
