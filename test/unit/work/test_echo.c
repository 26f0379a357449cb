/* test_echo.c - the kind test.echo: its input back, later, failing, cancelled. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "work/test/echo.h"

static struct loop loop;
static void *echo;
static int done_count;
static bool is_success, is_final;
static char result[256], error_kind[64], message[256];

static void on_done(void *ctx, const struct work_done *done)
{
    assert_ptr_equal(ctx, &loop);
    done_count++;
    is_success = done->is_success;
    is_final = done->is_final;
    snprintf(result, sizeof(result), "%.*s", SLICE_ARG(done->result));
    snprintf(error_kind, sizeof(error_kind), "%.*s", SLICE_ARG(done->error_kind));
    snprintf(message, sizeof(message), "%.*s", SLICE_ARG(done->message));
}

static struct work_run *begin(const char *input)
{
    struct work_run *run = NULL;
    const struct work_input work = {.kind = SLICE("test.echo"), .input = slice_str(input)};
    done_count = 0;
    uv_update_time(&loop.uv);
    assert_int_equal(test_echo_launcher.start(echo, &work, on_done, &loop, &run), STATUS_OK);
    assert_non_null(run);
    assert_int_equal(done_count, 0); /* never from inside start */
    return run;
}

static void finish(void)
{
    while (done_count == 0) {
        uv_run(&loop.uv, UV_RUN_ONCE);
    }
    assert_int_equal(done_count, 1);
}

static int setup(void **state)
{
    (void)state;
    struct buf facts, why;
    buf_init(&facts, 1024);
    buf_init(&why, 1024);
    assert_int_equal(loop_init(&loop), STATUS_OK);
    const struct node_env env = {.loop = &loop, .slots = 1};
    assert_int_equal(test_echo_launcher.open(&env, &echo, &facts, &why), STATUS_OK);
    buf_free(&facts);
    buf_free(&why);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    test_echo_launcher.close(echo);
    loop_stop(&loop);
    loop_run(&loop);
    loop_free(&loop);
    return 0;
}

static void test_echoes(void **state)
{
    (void)state;
    begin("{\"value\":{\"a\":[1,\"\\u0001\"]}}");
    finish();
    assert_true(is_success);
    assert_string_equal(result, "{\"a\":[1,\"\\u0001\"]}");
    begin("{}");
    finish();
    assert_string_equal(result, "null");
    begin("{\"sleep_ms\":30,\"value\":7}");
    uint64_t begun_ms = uv_now(&loop.uv);
    finish();
    assert_true(uv_now(&loop.uv) - begun_ms >= 29);
    assert_string_equal(result, "7");
}

static void test_fails(void **state)
{
    (void)state;
    begin("{\"fail\":\"as told\",\"final\":true}");
    finish();
    assert_false(is_success);
    assert_true(is_final);
    assert_string_equal(error_kind, "echo");
    assert_string_equal(message, "as told");
    begin("{\"fail\":true}");
    finish();
    assert_false(is_success);
    assert_false(is_final);
    static const char *const bad[] = {"7",
                                      "null",
                                      "{\"sleep\":1}",
                                      "{\"sleep_ms\":-1}",
                                      "{\"sleep_ms\":3600001}",
                                      "{\"fail\":3}",
                                      "{\"final\":\"no\"}"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        begin(bad[i]);
        finish();
        assert_false(is_success);
        assert_true(is_final);
        assert_string_equal(error_kind, "bad-input");
    }
}

static void test_cancel_and_progress(void **state)
{
    (void)state;
    struct work_run *run = begin("{\"sleep_ms\":60000}");
    uint16_t permille = 0;
    struct buf note;
    buf_init(&note, 1024);
    assert_false(test_echo_launcher.progress(run, &permille, &note)); /* nothing yet */
    buf_free(&note);
    test_echo_launcher.cancel(run);
    finish();
    assert_false(is_success);
    assert_string_equal(error_kind, "cancelled");

    run = begin("{\"sleep_ms\":100}");
    uv_sleep(40);
    uv_update_time(&loop.uv);
    buf_init(&note, 1024);
    assert_true(test_echo_launcher.progress(run, &permille, &note));
    assert_in_range(permille, 300, 1000);
    assert_true(note.len > 0);
    buf_free(&note);
    finish();
    assert_true(is_success);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_echoes),
        cmocka_unit_test(test_fails),
        cmocka_unit_test(test_cancel_and_progress),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
