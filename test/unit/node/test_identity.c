/* test_identity.c - a data directory keeps its name and secret, and each start is later than all before. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../scratch.h"
#include "node/identity.h"
#include "proto/name.h"

static struct node_identity take(const char *dir, int64_t now_ms)
{
    struct node_identity identity;
    char why[256] = "";
    enum status status = identity_take(dir, now_ms, &identity, why, sizeof(why));
    if (status != STATUS_OK) {
        fail_msg("%s", why);
    }
    return identity;
}

static void test_lives(void **state)
{
    (void)state;
    char dir[] = "/tmp/shoal-identity-XXXXXX", path[64];
    assert_non_null(mkdtemp(dir));
    struct node_identity first = take(dir, 1000);
    assert_true(first.start == 1000 && first.owner != 0 && strlen(first.suffix) == IDENTITY_SUFFIX_SIZE - 1);
    uint64_t before = first.start;
    static const int64_t clocks[] = {1000, 5000, 4000, 4000, 0, -7, 5002, 9000};
    for (size_t i = 0; i < sizeof(clocks) / sizeof(clocks[0]); i++) { /* also when the clock goes back */
        struct node_identity next = take(dir, clocks[i]);
        assert_true(next.start > before && next.owner == first.owner);
        assert_string_equal(next.suffix, first.suffix);
        before = next.start;
    }
    snprintf(path, sizeof(path), "%s/identity", dir);
    struct stat facts;
    assert_int_equal(stat(path, &facts), 0);
    assert_int_equal(facts.st_mode & 0777, 0600);
    static const char *const damaged[] = {"", "abc", "abcdef 0 5\n", "abcdef 12 \n", "ABCDEF 12 5\n", "abcde 12 5\n"};
    for (size_t i = 0; i < sizeof(damaged) / sizeof(damaged[0]); i++) {
        FILE *file = fopen(path, "w");
        assert_non_null(file);
        fputs(damaged[i], file);
        fclose(file);
        struct node_identity other = take(dir, 1);
        assert_true(other.owner != first.owner && other.start == 1);
    }
    scratch_remove(dir);
    struct node_identity none;
    char why[256];
    assert_int_not_equal(identity_take("/does/not/exist", 1, &none, why, sizeof(why)), STATUS_OK);
    assert_non_null(strstr(why, "/does/not/exist/identity"));
}

static void test_names(void **state)
{
    (void)state;
    static const struct node_identity identity = {.suffix = "0abcde"};
    static const struct {
        const char *host, *name;
    } cases[] = {{"vm", "vm-0abcde"}, {"", "node-0abcde"}, {"a b/c\xc3\xa4", "a-b-c---0abcde"}};
    char name[IDENTITY_NAME_SIZE];
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        identity_name(&identity, cases[i].host, name);
        assert_string_equal(name, cases[i].name);
    }
    char host[512];
    memset(host, 'x', sizeof(host) - 1);
    host[sizeof(host) - 1] = '\0';
    identity_name(&identity, host, name);
    assert_true(name_is_valid(slice_str(name)));
    assert_non_null(strstr(name, "-0abcde"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_lives), cmocka_unit_test(test_names)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
