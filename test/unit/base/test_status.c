#include "check.h"

#include "base/status.h"

static void test_table(void **state)
{
    (void)state;
    for (int i = 0; i < STATUS_COUNT; i++) {
        enum status status = (enum status)i, found = STATUS_OK;
        const char *slug = status_slug(status);
        assert_true(strlen(slug) > 0 && strspn(slug, "abcdefghijklmnopqrstuvwxyz-") == strlen(slug));
        assert_true(status_from_slug(slug, &found));
        assert_int_equal(found, status); /* no two have the same slug */
        const char *title = status_title(status);
        assert_true(strlen(title) > 3 && title[strlen(title) - 1] == '.' && title[0] >= 'A' && title[0] <= 'Z');
        assert_in_range(status_http(status), 200, 599);
        assert_in_range(status_exit(status), 0, 255);
        if (status != STATUS_OK) {
            assert_true(status == STATUS_END || status_exit(status) != 0);
            assert_true(status_http(status) >= 400);
        }
    }
    enum status untouched = STATUS_BUSY;
    assert_false(status_from_slug("no-such-slug", &untouched));
    assert_int_equal(untouched, STATUS_BUSY);
}

static void test_out_of_range(void **state)
{
    (void)state;
    assert_string_equal(status_slug((enum status)STATUS_COUNT), "internal");
    assert_string_equal(status_slug((enum status) - 1), "internal");
    assert_int_equal(status_http((enum status)9999), 500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_out_of_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
