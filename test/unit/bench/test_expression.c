/* test_expression.c - values, order of operations, names, and what is refused. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "bench/expression.h"

static bool value(void *ctx, struct slice function, struct slice name, double *ret)
{
    (void)ctx;
    if (slice_equal_str(function, "sum") && slice_equal_str(name, "all")) {
        *ret = 10;
    } else if (function.len == 0 && slice_equal_str(name, "p99.9:task@peak")) {
        *ret = 7;
    } else if (function.len == 0 && slice_equal_str(name, "S0.05/10#avg")) {
        *ret = 3;
    } else {
        return false;
    }
    return true;
}

static enum status evaluate(const char *text, double tolerance, double *ret)
{
    static char why[200];
    struct expression_result result = {0};
    struct expression_names names = {value, NULL, tolerance};
    enum status status = expression_evaluate(slice_str(text), &names, &result, why, sizeof(why));
    *ret = result.value;
    assert_true(status == STATUS_OK || why[0] != '\0');
    return status;
}

static void test_values(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        double value;
    } cases[] = {{"1 + 2 * 3", 7},
                 {"(1 + 2) * 3", 9},
                 {"10 - 2 - 3", 5},
                 {"12 / 3 / 2", 2},
                 {"-2 * -3", 6},
                 {"1.5+1.5", 3},
                 {"p99.9:task@peak * 2", 14},
                 {"[S0.05/10#avg] + sum(all)", 13},
                 {"1 + 1 = 2", 1},
                 {"1 + 1 != 2", 0},
                 {"3 < 3", 0},
                 {"3 <= 3", 1},
                 {"(2 > 1) + (1 > 2) + (5 >= 5)", 2},
                 {"  4  ", 4}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        double found;
        assert_int_equal(evaluate(cases[i].text, 0, &found), STATUS_OK);
        assert_true(fabs(found - cases[i].value) < 1e-12);
    }
    double found;
    assert_int_equal(evaluate("100 = 100.9", 0.01, &found), STATUS_OK);
    assert_true(found == 1);
    assert_int_equal(evaluate("100 = 102", 0.01, &found), STATUS_OK);
    assert_true(found == 0);
    assert_int_equal(evaluate("100.5 <= 100", 0.01, &found), STATUS_OK);
    assert_true(found == 1);
}

static void test_refused(void **state)
{
    (void)state;
    static const char *const invalid[] = {"", "1 +", "(1", "1)", "1 2", "* 3", "[x", "sum(all", "1 ! 2", "1..2", "a b"};
    static const char *const missing[] = {"x", "1 / 0", "sum(x)", "nothing(all)", "[S9]"};
    double found;
    for (size_t i = 0; i < sizeof(invalid) / sizeof(invalid[0]); i++) {
        assert_true(evaluate(invalid[i], 0, &found) != STATUS_OK);
    }
    for (size_t i = 0; i < sizeof(missing) / sizeof(missing[0]); i++) {
        assert_int_equal(evaluate(missing[i], 0, &found), STATUS_NOT_FOUND);
    }
    char deep[201];
    memset(deep, '(', sizeof(deep) - 1);
    deep[sizeof(deep) - 1] = '\0';
    assert_int_equal(evaluate(deep, 0, &found), STATUS_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_values), cmocka_unit_test(test_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
