/* test_task_json.c - submit bodies in, tasks out.
 *
 * Besides cases by hand: every body that is accepted is encoded and decoded as a command, so that no check of the encoder can
 * end the process; and a task's view goes through its history row and says the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/rng.h"
#include "hub/task_json.h"

#define NOW_NS INT64_C(1767225600000000000) /* 2026-01-01 */

static struct json_parser *parser;
static struct buf input;

static int setup(void **state)
{
    (void)state;
    parser = json_parser_new();
    buf_init(&input, LIMIT_INPUT_SIZE);
    return parser == NULL;
}

static int teardown(void **state)
{
    (void)state;
    json_parser_free(parser);
    buf_free(&input);
    return 0;
}

static bool decode(const char *text, struct command_submit *command, struct problem *problem)
{
    struct json_value root;
    problem_init(problem);
    assert_int_equal(json_parse(parser, slice_str(text), &root, NULL, NULL), STATUS_OK);
    bool is_good = task_json_decode(root, NOW_NS, &input, command, problem);
    assert_int_equal(is_good, problem_is_ok(problem));
    if (is_good) { /* what passes here must pass the encoder and the decoder */
        struct buf out;
        buf_init(&out, 1 << 20);
        command_put_submit(&out, command);
        struct reader reader = reader_of(buf_slice(&out));
        struct command decoded;
        assert_int_equal(command_get(&reader, &decoded), STATUS_OK);
        assert_true(reader_is_done(&reader));
        assert_true(slice_equal(decoded.as.submit.input, command->input));
        buf_free(&out);
    }
    return is_good;
}

static void defaults(void **state)
{
    (void)state;
    struct command_submit command;
    struct problem problem;
    assert_true(decode("{\"kind\":\"code.run\"}", &command, &problem));
    assert_true(slice_equal_str(command.kind, "code.run"));
    assert_true(slice_equal_str(command.queue, "default"));
    assert_true(slice_equal_str(command.input, "null"));
    assert_int_equal(command.priority, 5);
    assert_int_equal(command.weight, 1);
    assert_int_equal(command.run_at_ns, 0);
    assert_int_equal(command.unique_mode, UNIQUE_NONE);
    struct retry_policy policy;
    retry_policy_default(&policy);
    assert_int_equal(command.retry.attempts_max, policy.attempts_max);
    assert_int_equal(command.retry.base_ms, policy.base_ms);
}

static void everything(void **state)
{
    (void)state;
    struct command_submit command;
    struct problem problem;
    assert_true(decode(
        "{\"kind\":\"k\",\"queue\":\"q\",\"input\": { \"a\" : [ 1 , 2 ] },\"priority\":9,\"fairness_key\":\"me é\","
        "\"weight\":1000,\"delay_ms\":1500,\"ttl_ms\":60000,\"timeout_ms\":1,\"lease_ms\":1000,"
        "\"retry\":{\"max\":1,\"base_ms\":0,\"factor\":1.5,\"cap_ms\":7,\"jitter\":0.25,"
        "\"not_retryable\":[\"code\",\"input\"]},\"unique\":{\"key\":\"u\",\"mode\":\"time\",\"for_ms\":5},"
        "\"requires\":{\"labels\":[\"zone=a\",\"x\"],\"cpu\":0.5,\"memory_mib\":512,\"gpu\":1}}",
        &command, &problem));
    assert_true(slice_equal_str(command.input, "{\"a\":[1,2]}"));
    assert_int_equal(command.run_at_ns, NOW_NS + INT64_C(1500000000));
    assert_int_equal(command.retry.factor_milli, 1500);
    assert_int_equal(command.retry.jitter_percent, 25);
    assert_int_equal(command.retry.not_retryable_count, 2);
    assert_true(slice_equal_str(command.retry.not_retryable[1], "input"));
    assert_int_equal(command.unique_mode, UNIQUE_FOR_TIME);
    assert_int_equal(command.unique_ms, 5);
    assert_int_equal(command.requirement.label_count, 2);
    assert_int_equal(command.requirement.cpu_milli, 500);
    assert_int_equal(command.requirement.gpu, 1);
    assert_true(decode("{\"kind\":\"k\",\"run_at\":\"2030-01-01T00:00:00Z\"}", &command, &problem));
    assert_true(command.run_at_ns > NOW_NS);
    assert_true(decode("{\"kind\":\"k\",\"unique\":{\"key\":\"u\"}}", &command, &problem));
    assert_int_equal(command.unique_mode, UNIQUE_UNFINISHED);
}

static void wrong_fields_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *body;
        enum status status;
        const char *pointer;
    } cases[] = {
        {"{}", STATUS_INVALID, "/kind"},
        {"[]", STATUS_INVALID, ""},
        {"5", STATUS_INVALID, ""},
        {"{\"kind\":7}", STATUS_INVALID, "/kind"},
        {"{\"kind\":\"\"}", STATUS_INVALID, "/kind"},
        {"{\"kind\":\"a b\"}", STATUS_INVALID, "/kind"},
        {"{\"kind\":\"k\",\"kind\":\"l\"}", STATUS_INVALID, "/kind"},
        {"{\"kind\":\"k\",\"queue\":null}", STATUS_INVALID, "/queue"},
        {"{\"kind\":\"k\",\"prio\":1}", STATUS_UNKNOWN_FIELD, "/prio"},
        {"{\"kind\":\"k\",\"\":1}", STATUS_UNKNOWN_FIELD, ""},
        {"{\"kind\":\"k\",\"priority\":10}", STATUS_INVALID, "/priority"},
        {"{\"kind\":\"k\",\"priority\":1.5}", STATUS_INVALID, "/priority"},
        {"{\"kind\":\"k\",\"weight\":0}", STATUS_INVALID, "/weight"},
        {"{\"kind\":\"k\",\"fairness_key\":\"\"}", STATUS_INVALID, "/fairness_key"},
        {"{\"kind\":\"k\",\"fairness_key\":\"a\\u0000b\"}", STATUS_INVALID, "/fairness_key"},
        {"{\"kind\":\"k\",\"run_at\":\"tomorrow\"}", STATUS_INVALID, "/run_at"},
        {"{\"kind\":\"k\",\"delay_ms\":1000000000000000000}", STATUS_INVALID, "/delay_ms"},
        {"{\"kind\":\"k\",\"delay_ms\":18446744073709551615}", STATUS_INVALID, "/delay_ms"},
        {"{\"kind\":\"k\",\"delay_ms\":1,\"run_at\":\"2030-01-01T00:00:00Z\"}", STATUS_INVALID, "/delay_ms"},
        {"{\"kind\":\"k\",\"ttl_ms\":0}", STATUS_INVALID, "/ttl_ms"},
        {"{\"kind\":\"k\",\"lease_ms\":999}", STATUS_INVALID, "/lease_ms"},
        {"{\"kind\":\"k\",\"retry\":3}", STATUS_INVALID, "/retry"},
        {"{\"kind\":\"k\",\"retry\":{\"max\":0}}", STATUS_INVALID, "/retry/max"},
        {"{\"kind\":\"k\",\"retry\":{\"wat\":0}}", STATUS_UNKNOWN_FIELD, "/retry/wat"},
        {"{\"kind\":\"k\",\"retry\":{\"factor\":1e300}}", STATUS_INVALID, "/retry/factor"},
        {"{\"kind\":\"k\",\"retry\":{\"jitter\":1.01}}", STATUS_INVALID, "/retry/jitter"},
        {"{\"kind\":\"k\",\"retry\":{\"not_retryable\":[\"a\",1]}}", STATUS_INVALID, "/retry/not_retryable/1"},
        {"{\"kind\":\"k\",\"unique\":{}}", STATUS_INVALID, "/unique/key"},
        {"{\"kind\":\"k\",\"unique\":{\"key\":\"u\",\"mode\":\"x\"}}", STATUS_INVALID, "/unique/mode"},
        {"{\"kind\":\"k\",\"unique\":{\"key\":\"u\",\"mode\":\"time\"}}", STATUS_INVALID, "/unique/for_ms"},
        {"{\"kind\":\"k\",\"unique\":{\"key\":\"u\",\"for_ms\":5}}", STATUS_INVALID, "/unique/for_ms"},
        {"{\"kind\":\"k\",\"requires\":{\"cpu\":-1}}", STATUS_INVALID, "/requires/cpu"},
        {"{\"kind\":\"k\",\"requires\":{\"labels\":[\"ok\",5]}}", STATUS_INVALID, "/requires/labels/1"},
        {"{\"kind\":\"k\",\"requires\":{\"disk\":5}}", STATUS_UNKNOWN_FIELD, "/requires/disk"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct command_submit command;
        struct problem problem;
        if (decode(cases[i].body, &command, &problem)) {
            fail_msg("%s is accepted", cases[i].body);
        }
        if (problem.status != cases[i].status || problem.error_count != 1 ||
            strcmp(problem.errors[0].pointer, cases[i].pointer) != 0) {
            fail_msg("%s: %s at %s, %u places", cases[i].body, status_slug(problem.status), problem.errors[0].pointer,
                     problem.error_count);
        }
    }
}

static void every_wrong_field_is_named_at_once(void **state)
{
    (void)state;
    struct command_submit command;
    struct problem problem;
    assert_false(decode("{\"priority\":99,\"nope\":1,\"retry\":{\"max\":0,\"jitter\":7}}", &command, &problem));
    assert_int_equal(problem.error_count, 5);
    assert_int_equal(problem.status, STATUS_INVALID);
}

static void the_input_has_a_limit(void **state)
{
    (void)state;
    static char body[2 * LIMIT_INPUT_SIZE];
    struct command_submit command;
    struct problem problem;
    /* White space does not count. */
    memset(body, ' ', sizeof(body));
    size_t len = (size_t)sprintf(body, "{\"kind\":\"k\",\"input\":");
    body[len] = ' ';
    memcpy(body + sizeof(body) - 4, "1}", 3);
    assert_true(decode(body, &command, &problem));
    for (int more = 0; more < 2; more++) {
        len = (size_t)sprintf(body, "{\"kind\":\"k\",\"input\":\"");
        memset(body + len, 'x', (size_t)(LIMIT_INPUT_SIZE - 2 + more));
        len += (size_t)(LIMIT_INPUT_SIZE - 2 + more);
        strcpy(body + len, "\"}");
        assert_int_equal(decode(body, &command, &problem), more == 0);
    }
    assert_int_equal(problem.status, STATUS_TOO_LARGE);
    assert_int_equal(problem.limit, LIMIT_INPUT_SIZE);
    assert_string_equal(problem.errors[0].pointer, "/input");
}

/* Random members with random values: accepted or refused, never a broken command (decode() checks). */
static void random_bodies(void **state)
{
    (void)state;
    static const char *const keys[] = {"kind",   "queue",    "input",  "priority",   "fairness_key", "weight",
                                       "run_at", "delay_ms", "ttl_ms", "timeout_ms", "lease_ms",     "retry",
                                       "unique", "requires", "max",    "key"};
    static const char *const values[] = {"\"k\"",
                                         "\"q\"",
                                         "0",
                                         "1",
                                         "5",
                                         "1000",
                                         "-1",
                                         "1e9",
                                         "1.5",
                                         "null",
                                         "true",
                                         "[]",
                                         "{}",
                                         "{\"key\":\"a\"}",
                                         "{\"max\":2}",
                                         "{\"labels\":[\"a\"]}",
                                         "\"2030-01-01T00:00:00Z\"",
                                         "31622400000",
                                         "9223372036854775807",
                                         "\"\"",
                                         "[\"x\"]",
                                         "{\"cpu\":1e6}"};
    struct rng rng;
    rng_seed(&rng, 7);
    unsigned accepted = 0;
    for (int round = 0; round < 50000; round++) {
        char body[1024];
        size_t len = (size_t)sprintf(body, "{\"kind\":\"k\"");
        for (uint64_t left = rng_below(&rng, 4); left > 0; left--) {
            len += (size_t)sprintf(body + len, ",\"%s\":%s", keys[rng_below(&rng, sizeof(keys) / sizeof(keys[0]))],
                                   values[rng_below(&rng, sizeof(values) / sizeof(values[0]))]);
        }
        strcpy(body + len, "}");
        struct command_submit command;
        struct problem problem;
        accepted += decode(body, &command, &problem);
    }
    assert_in_range(accepted, 5000, 49000);
}

static struct task_view example(void)
{
    struct task_view view = {.task_id = 0x0000000001000005,
                             .state = TASK_SUCCEEDED,
                             .queue = SLICE("default"),
                             .kind = SLICE("code.run"),
                             .fairness_key = SLICE("a\"b"),
                             .priority = 7,
                             .weight = 2,
                             .created_ns = NOW_NS,
                             .started_ns = NOW_NS + 1000000,
                             .finished_ns = NOW_NS + 2000000,
                             .lease_ms = 30000,
                             .attempts = 2,
                             .attempts_failed = 1,
                             .input = SLICE("{\"x\":1}"),
                             .result = SLICE("[true]"),
                             .error_kind = SLICE("io"),
                             .error_message = SLICE("no luck"),
                             .error_detail = SLICE("{\"errno\":5}"),
                             .progress_permille = 400,
                             .progress_note = SLICE("half"),
                             .attempt_count = 3};
    view.attempt[0] = (struct attempt_view){.attempt = 1,
                                            .outcome = ATTEMPT_FAILED,
                                            .node = SLICE("n1"),
                                            .started_ns = NOW_NS,
                                            .ended_ns = NOW_NS + 1,
                                            .error_kind = SLICE("io"),
                                            .message = SLICE("no luck")};
    view.attempt[1] = (struct attempt_view){
        .attempt = 2, .outcome = ATTEMPT_SUCCEEDED, .node = SLICE("n2"), .started_ns = NOW_NS, .ended_ns = NOW_NS + 1};
    view.attempt[2] = (struct attempt_view){.attempt = 3,
                                            .outcome = ATTEMPT_RELEASED,
                                            .node = SLICE("n2"),
                                            .started_ns = NOW_NS,
                                            .ended_ns = NOW_NS + 1,
                                            .message = SLICE("not now")};
    retry_policy_default(&view.retry);
    return view;
}

static void a_task_is_written_whole(void **state)
{
    (void)state;
    struct task_view view = example();
    struct buf out;
    buf_init(&out, 1 << 20);
    task_json_write(&out, &view, false);
    assert_string_equal(
        buf_cstr(&out),
        "{\"id\":\"00000000g0005\",\"state\":\"succeeded\",\"queue\":\"default\",\"kind\":\"code.run\",\"priority\":7,"
        "\"fairness_key\":\"a\\\"b\",\"weight\":2,\"created_at\":\"2026-01-01T00:00:00.000Z\","
        "\"started_at\":\"2026-01-01T00:00:00.001Z\",\"finished_at\":\"2026-01-01T00:00:00.002Z\",\"lease_ms\":30000,"
        "\"attempts\":2,\"attempts_failed\":1,\"attempts_lost\":0,\"retry\":{\"max\":3,\"base_ms\":1000,\"factor\":2,"
        "\"cap_ms\":300000,\"jitter\":0.1,\"not_retryable\":[]},\"requires\":{\"labels\":[],\"cpu\":0,\"memory_mib\":0,"
        "\"gpu\":0},\"progress\":{\"permille\":400,\"note\":\"half\"},\"input\":{\"x\":1},\"result\":[true],"
        "\"error\":{\"kind\":\"io\",\"message\":\"no luck\",\"detail\":{\"errno\":5}}}");
    buf_reset(&out);
    task_json_write(&out, &view, true);
    assert_null(strstr(buf_cstr(&out), "\"input\""));
    assert_null(strstr(buf_cstr(&out), "\"result\""));
    buf_reset(&out);
    task_json_write_attempts(&out, &view);
    assert_string_equal(
        buf_cstr(&out),
        "{\"items\":[{\"attempt\":1,\"outcome\":\"failed\",\"node\":\"n1\",\"started_at\":\"2026-01-01T00:00:"
        "00.000Z\",\"ended_at\":\"2026-01-01T00:00:00.000Z\",\"error\":{\"kind\":\"io\",\"message\":\"no luck\"}"
        "},{\"attempt\":2,\"outcome\":\"succeeded\",\"node\":\"n2\",\"started_at\":\"2026-01-01T00:00:00.000Z\","
        "\"ended_at\":\"2026-01-01T00:00:00.000Z\"},{\"attempt\":3,\"outcome\":\"released\",\"node\":\"n2\","
        "\"started_at\":\"2026-01-01T00:00:00.000Z\",\"ended_at\":\"2026-01-01T00:00:00.000Z\"}]}");
    buf_free(&out);
}

/* A task answered from history reads like one answered from memory. */
static void history_says_the_same(void **state)
{
    (void)state;
    struct task_view view = example(), again;
    struct buf row, a, b;
    buf_init(&row, 1 << 20);
    buf_init(&a, 1 << 20);
    buf_init(&b, 1 << 20);
    task_view_put(&row, &view);
    assert_int_equal(task_view_get(buf_slice(&row), &again), STATUS_OK);
    task_json_write(&a, &view, false);
    task_json_write_attempts(&a, &view);
    task_json_write(&b, &again, false);
    task_json_write_attempts(&b, &again);
    assert_string_equal(buf_cstr(&a), buf_cstr(&b));
    buf_free(&row);
    buf_free(&a);
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults),
        cmocka_unit_test(everything),
        cmocka_unit_test(wrong_fields_are_named),
        cmocka_unit_test(every_wrong_field_is_named_at_once),
        cmocka_unit_test(the_input_has_a_limit),
        cmocka_unit_test(random_bodies),
        cmocka_unit_test(a_task_is_written_whole),
        cmocka_unit_test(history_says_the_same),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
