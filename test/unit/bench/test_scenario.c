#include "bench/scenario.h"

#include <dirent.h>
#include <unistd.h>

#include "../base/check.h"
#include "base/ensure.h"

static char why[512];
static struct scenario *scenario;

static int setup(void **state)
{
    (void)state;
    scenario = calloc(1, sizeof *scenario);
    return scenario == NULL;
}

static int teardown(void **state)
{
    (void)state;
    free(scenario);
    return 0;
}

static void test_examples(void **state)
{
    (void)state;
    const char *folder = getenv("SHOAL_SCENARIOS");
    assert_non_null(folder);
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    struct dirent *entry;
    int count = 0;
    while ((entry = readdir(dir)) != NULL) {
        char path[4096];
        size_t len = strlen(entry->d_name);
        if (len < 9 || strcmp(entry->d_name + len - 9, ".scenario") != 0) {
            continue;
        }
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (scenario_load(path, NULL, scenario, why, sizeof why) != STATUS_OK) {
            fail_msg("%s: %s", entry->d_name, why);
        }
        assert_int_equal(strlen(scenario->name), len - 9);
        assert_memory_equal(scenario->name, entry->d_name, len - 9);
        scenario_free(scenario);
        count++;
    }
    closedir(dir);
    assert_true(count >= 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_examples),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
