/* test_facts.c - the parsers on real and broken files, and the machine itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/json.h"
#include "node/facts.h"

static void test_stat(void **state)
{
    (void)state;
    uint64_t busy = 0, total = 0;
    assert_true(facts_parse_stat(SLICE("cpu  10 1 5 100 20 2 3 4 50 0\ncpu0 1 2 3 4\n"), &busy, &total));
    assert_int_equal(total, 145); /* guest time (50) is inside user time */
    assert_int_equal(busy, 25);
    assert_true(facts_parse_stat(SLICE("cpu  1 2 3 4"), &busy, &total)); /* an old kernel */
    assert_int_equal(total, 10);
    assert_int_equal(busy, 6);
    assert_false(facts_parse_stat(SLICE(""), &busy, &total));
    assert_false(facts_parse_stat(SLICE("cpu0 1 2 3 4\n"), &busy, &total));
    assert_false(facts_parse_stat(SLICE("cpu  1 2 x\n"), &busy, &total));
    assert_false(facts_parse_stat(SLICE("cpu  99999999999999999999999 2 3 4\n"), &busy, &total));
}

static void test_meminfo(void **state)
{
    (void)state;
    uint32_t mib = 0;
    struct slice text = SLICE("MemTotal:       16318480 kB\nMemFree: 1 kB\nMemAvailable:   8388608 kB\n");
    assert_true(facts_parse_meminfo(text, "MemAvailable", &mib));
    assert_int_equal(mib, 8192);
    assert_true(facts_parse_meminfo(text, "MemTotal", &mib));
    assert_int_equal(mib, 15936);
    assert_false(facts_parse_meminfo(text, "Mem", &mib));
    assert_false(facts_parse_meminfo(text, "SwapTotal", &mib));
    assert_false(facts_parse_meminfo(SLICE("MemTotal: lots\n"), "MemTotal", &mib));
    assert_false(facts_parse_meminfo(SLICE("MemTotal"), "MemTotal", &mib));
}

static void test_os_release(void **state)
{
    (void)state;
    char name[16] = "untouched";
    struct slice text = SLICE("ID=debian\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nVERSION_ID=\"12\"\n");
    assert_true(facts_parse_os_release(text, "ID", name, sizeof(name)));
    assert_string_equal(name, "debian");
    assert_true(facts_parse_os_release(text, "PRETTY_NAME", name, sizeof(name)));
    assert_string_equal(name, "Debian GNU/Linu"); /* cut, and ended */
    assert_false(facts_parse_os_release(text, "NAME", name, sizeof(name)));
    assert_string_equal(name, "Debian GNU/Linu");
}

static void test_this_machine(void **state)
{
    (void)state;
    struct node_facts facts;
    facts_read(&facts);
    assert_true(facts.core_count >= 1);
    assert_true(facts.cpu_milli > 0);
    assert_true(facts.memory_mib > 0);
    assert_true(facts.kernel[0] != '\0');
    struct buf text;
    buf_init(&text, 65536);
    buf_append_char(&text, '{');
    facts_write(&text, &facts);
    buf_append_char(&text, '}');
    struct json_parser *parser = json_parser_new();
    struct json_value root, value;
    assert_int_equal(json_parse(parser, buf_slice(&text), &root, NULL, NULL), STATUS_OK);
    int64_t cores = 0;
    assert_true(json_member(root, "cores", &value) && json_get_i64(value, &cores));
    assert_int_equal(cores, facts.core_count);
    json_parser_free(parser);
    buf_free(&text);

    struct load_sampler sampler = {0};
    struct work_load load = {0};
    load_sample(&sampler, &load);
    assert_int_equal(load.cpu_permille, 0); /* nothing to compare with yet */
    assert_true(load.memory_used_mib > 0);
    load_sample(&sampler, &load);
    assert_true(load.cpu_permille <= 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stat),
        cmocka_unit_test(test_meminfo),
        cmocka_unit_test(test_os_release),
        cmocka_unit_test(test_this_machine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
