/* test_work.c - the hub-node messages: round trips, and every way to be wrong is refused with its place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "proto/work.h"

static struct json_parser *parser;
static struct buf scratch;
static struct buf text;
static struct work_message message;
static struct field_error error;
static struct work_answer *answer;

static int setup(void **state)
{
    (void)state;
    parser = json_parser_new();
    answer = calloc(1, sizeof(*answer));
    buf_init(&scratch, 1 << 20);
    buf_init(&text, 1 << 20);
    return parser != NULL && answer != NULL ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    json_parser_free(parser);
    free(answer);
    buf_free(&scratch);
    buf_free(&text);
    return 0;
}

static const struct lease_token token_a = {
    .task_id = (UINT64_C(77) << 24) | 5, .attempt = 3, .seq = 900719925474099312};
static const struct lease_token token_b = {.task_id = (UINT64_C(78) << 24) | 6, .attempt = 1, .seq = 12};

static void assert_token(struct lease_token a, struct lease_token b)
{
    assert_int_equal(a.task_id, b.task_id);
    assert_int_equal(a.attempt, b.attempt);
    assert_int_equal(a.seq, b.seq);
}

static void assert_slice(struct slice s, const char *expected)
{
    if (!slice_equal_str(s, expected)) {
        fail_msg("got \"%.*s\", expected \"%s\"", SLICE_ARG(s), expected);
    }
}

static enum status decode(struct slice bytes)
{
    buf_reset(&scratch);
    return work_message_decode(parser, bytes, &scratch, &message, &error);
}

static void test_hello(void **state)
{
    (void)state;
    struct buf held;
    buf_init(&held, 4096);
    lease_token_put(&held, &token_a);
    lease_token_put(&held, &token_b);
    struct command_node_hello hello = {
        .node = SLICE("nord-1"),
        .instance = 0xfedcba9876543210u,
        .owner = 0xfeed,
        .start = UINT64_MAX,
        .kinds = {SLICE("code.run"), SLICE("test.echo")},
        .kind_count = 2,
        .facts = {.labels = {SLICE("gpu=none"), SLICE("fast")},
                  .label_count = 2,
                  .cpu_milli = 8000,
                  .memory_mib = 16384,
                  .gpu = 1},
        .info = SLICE("{\"version\":\"0.1.0\"}"),
        .credit = 8,
        .held = held.data,
        .held_count = 2,
    };
    buf_reset(&text);
    work_write_hello(&text, &hello, NULL, SLICE("secret"));
    assert_int_equal(buf_status(&text), STATUS_OK);
    assert_int_equal(decode(buf_slice(&text)), STATUS_OK);
    assert_int_equal(message.type, WORK_HELLO);
    assert_slice(message.hello.node, "nord-1");
    assert_int_equal(message.hello.instance, 0xfedcba9876543210u);
    assert_true(message.hello.owner == 0xfeed && message.hello.start == UINT64_MAX);
    assert_slice(message.key, "secret");
    assert_int_equal(message.hello.kind_count, 2);
    assert_slice(message.hello.kinds[1], "test.echo");
    assert_int_equal(message.hello.facts.label_count, 2);
    assert_slice(message.hello.facts.labels[0], "gpu=none");
    assert_int_equal(message.hello.facts.cpu_milli, 8000);
    assert_int_equal(message.hello.facts.memory_mib, 16384);
    assert_int_equal(message.hello.facts.gpu, 1);
    assert_int_equal(message.hello.credit, 8);
    assert_int_equal(message.hello.held_count, 2);
    assert_token(command_held_at(&message.hello, 0), token_a);
    assert_token(command_held_at(&message.hello, 1), token_b);
    assert_slice(message.hello.info, "{\"version\":\"0.1.0\"}");
    buf_free(&held);
}

/* The least a hello needs; info before held, so that the two encoded parts lie in the other order. */
static void test_hello_small(void **state)
{
    (void)state;
    assert_int_equal(decode(SLICE("{\"instance\":\"a\",\"node\":\"n\",\"type\":\"hello\"}")), STATUS_OK);
    assert_int_equal(message.hello.instance, 10);
    assert_int_equal(message.hello.held_count, 0);
    assert_slice(message.hello.info, "{}");

    buf_reset(&text);
    char token[LEASE_TOKEN_TEXT_SIZE];
    lease_token_format(&token_b, token);
    buf_printf(&text,
               "{\"type\":\"hello\",\"node\":\"n\",\"instance\":\"1\",\"info\":{ \"a\" : [1, 2] },\"held\":[\"%s\"]}",
               token);
    assert_int_equal(decode(buf_slice(&text)), STATUS_OK);
    assert_slice(message.hello.info, "{\"a\":[1,2]}");
    assert_int_equal(message.hello.held_count, 1);
    assert_token(command_held_at(&message.hello, 0), token_b);
}

static void test_report(void **state)
{
    (void)state;
    const struct outcome outcomes[] = {
        {.type = OUTCOME_COMPLETE, .token = token_a, .payload = SLICE("{\"out\":\"\\u0000 x\"}")},
        {.type = OUTCOME_COMPLETE, .token = token_a},
        {.type = OUTCOME_FAIL,
         .token = token_b,
         .error_kind = SLICE("code"),
         .message = SLICE("exit 1 \"quoted\""),
         .payload = SLICE("[1]"),
         .is_final = true},
        {.type = OUTCOME_EXTEND, .token = token_b},
        {.type = OUTCOME_EXTEND, .token = token_b, .lease_ms = 5000},
        {.type = OUTCOME_PROGRESS,
         .token = token_a,
         .progress_permille = 250,
         .message = SLICE("frame 3"),
         .payload = SLICE("{\"frame\":3}"),
         .lease_ms = 7000},
        {.type = OUTCOME_RELEASE, .token = token_a, .message = SLICE("draining")},
    };
    const size_t count = sizeof(outcomes) / sizeof(outcomes[0]);
    struct buf list;
    buf_init(&list, 1 << 16);
    for (size_t i = 0; i < count; i++) {
        if (i > 0) {
            buf_append_char(&list, ',');
        }
        work_write_outcome(&list, &outcomes[i]);
    }
    buf_reset(&text);
    work_write_report(&text, buf_slice(&list), 3);
    assert_int_equal(decode(buf_slice(&text)), STATUS_OK);
    assert_int_equal(message.type, WORK_REPORT);
    assert_int_equal(message.report.credit_add, 3);
    assert_false(message.report.has_credit);
    assert_int_equal(message.report.outcome_count, count);
    struct reader reader = reader_of(message.report.outcomes);
    for (size_t i = 0; i < count; i++) {
        struct outcome got;
        assert_true(outcome_next(&reader, &got));
        assert_int_equal(got.type, outcomes[i].type);
        assert_token(got.token, outcomes[i].token);
        if (i == 1) {
            assert_slice(got.payload, "null");
        } else {
            assert_true(slice_equal(got.payload, outcomes[i].payload));
        }
        assert_true(slice_equal(got.error_kind, outcomes[i].error_kind));
        assert_true(slice_equal(got.message, outcomes[i].message));
        assert_int_equal(got.is_final, outcomes[i].is_final);
        assert_int_equal(got.progress_permille, outcomes[i].progress_permille);
        assert_int_equal(got.lease_ms, outcomes[i].lease_ms);
    }
    struct outcome none;
    assert_false(outcome_next(&reader, &none));
    assert_true(reader_is_done(&reader));
    buf_free(&list);

    buf_reset(&text);
    work_write_credit_set(&text, 0);
    assert_int_equal(decode(buf_slice(&text)), STATUS_OK);
    assert_true(message.report.has_credit);
    assert_int_equal(message.report.credit_set, 0);
    assert_int_equal(message.report.outcome_count, 0);
}

static void test_short_messages(void **state)
{
    (void)state;
    buf_reset(&text);
    work_write_credit(&text, 4);
    assert_int_equal(decode(buf_slice(&text)), STATUS_OK);
    assert_int_equal(message.type, WORK_CREDIT);
    assert_int_equal(message.credit, 4);

    const struct work_load load = {.is_known = true, .cpu_permille = 999, .memory_used_mib = 12, .running = 3};
    buf_reset(&text);
    work_write_beat(&text, &load);
    assert_int_equal(decode(buf_slice(&text)), STATUS_OK);
    assert_int_equal(message.type, WORK_BEAT);
    assert_true(message.load.is_known);
    assert_int_equal(message.load.cpu_permille, load.cpu_permille);
    assert_int_equal(message.load.memory_used_mib, load.memory_used_mib);
    assert_int_equal(message.load.running, load.running);

    const struct work_load unknown = {0};
    buf_reset(&text);
    work_write_beat(&text, &unknown);
    assert_int_equal(decode(buf_slice(&text)), STATUS_OK);
    assert_false(message.load.is_known);

    buf_reset(&text);
    work_write_leave(&text);
    assert_int_equal(decode(buf_slice(&text)), STATUS_OK);
    assert_int_equal(message.type, WORK_LEAVE);
}

static void test_bad_messages(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum status status;
        const char *pointer;
    } rows[] = {
        {"", STATUS_BAD_JSON, ""},
        {"{\"type\":\"beat\"", STATUS_BAD_JSON, ""},
        {"[]", STATUS_INVALID, ""},
        {"{}", STATUS_INVALID, "/type"},
        {"{\"type\":1}", STATUS_INVALID, "/type"},
        {"{\"type\":\"welcome\"}", STATUS_INVALID, "/type"},
        {"{\"type\":\"leave\",\"a/b~c\":1}", STATUS_UNKNOWN_FIELD, "/a~1b~0c"},
        {"{\"type\":\"beat\",\"n\":1}", STATUS_UNKNOWN_FIELD, "/n"},
        {"{\"type\":\"beat\",\"load\":1}", STATUS_INVALID, "/load"},
        {"{\"type\":\"beat\",\"load\":{\"cpu_permille\":1001}}", STATUS_INVALID, "/load/cpu_permille"},
        {"{\"type\":\"beat\",\"load\":{\"x\":1}}", STATUS_UNKNOWN_FIELD, "/load/x"},
        {"{\"type\":\"credit\"}", STATUS_INVALID, "/n"},
        {"{\"type\":\"credit\",\"n\":-1}", STATUS_INVALID, "/n"},
        {"{\"type\":\"credit\",\"n\":4097}", STATUS_INVALID, "/n"},
        {"{\"type\":\"credit\",\"n\":1.5}", STATUS_INVALID, "/n"},
        {"{\"type\":\"hello\",\"instance\":\"1\"}", STATUS_INVALID, "/node"},
        {"{\"type\":\"hello\",\"node\":\"n\"}", STATUS_INVALID, "/instance"},
        {"{\"type\":\"hello\",\"node\":\"\",\"instance\":\"1\"}", STATUS_INVALID, "/node"},
        {"{\"type\":\"hello\",\"node\":\"a b\",\"instance\":\"1\"}", STATUS_INVALID, "/node"},
        {"{\"type\":\"hello\",\"node\":\"n\",\"instance\":1}", STATUS_INVALID, "/instance"},
        {"{\"type\":\"hello\",\"node\":\"n\",\"instance\":\"12345678123456781\"}", STATUS_INVALID, "/instance"},
        {"{\"type\":\"hello\",\"node\":\"n\",\"instance\":\"g\"}", STATUS_INVALID, "/instance"},
        {"{\"type\":\"hello\",\"node\":\"n\",\"instance\":\"1\",\"kinds\":\"code.run\"}", STATUS_INVALID, "/kinds"},
        {"{\"type\":\"hello\",\"node\":\"n\",\"instance\":\"1\",\"kinds\":[\"a\",7]}", STATUS_INVALID, "/kinds/1"},
        {"{\"type\":\"hello\",\"node\":\"n\",\"instance\":\"1\",\"gpu\":-1}", STATUS_INVALID, "/gpu"},
        {"{\"type\":\"hello\",\"node\":\"n\",\"instance\":\"1\",\"held\":[\"x\"]}", STATUS_INVALID, "/held/0"},
        {"{\"type\":\"hello\",\"node\":\"n\",\"instance\":\"1\",\"info\":[]}", STATUS_INVALID, "/info"},
        {"{\"type\":\"hello\",\"node\":\"n\",\"instance\":\"1\",\"credits\":1}", STATUS_UNKNOWN_FIELD, "/credits"},
        {"{\"type\":\"report\",\"outcomes\":{}}", STATUS_INVALID, "/outcomes"},
        {"{\"type\":\"report\",\"outcomes\":[1]}", STATUS_INVALID, "/outcomes/0"},
        {"{\"type\":\"report\",\"outcomes\":[{}]}", STATUS_INVALID, "/outcomes/0/token"},
        {"{\"type\":\"report\",\"outcomes\":[{\"token\":\"zz\"}]}", STATUS_INVALID, "/outcomes/0/token"},
        {"{\"type\":\"report\",\"outcomes\":[],\"extra\":1}", STATUS_UNKNOWN_FIELD, "/extra"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        enum status status = decode(slice_str(rows[i].text));
        if (status != rows[i].status || strcmp(error.pointer, rows[i].pointer) != 0 || error.status != status ||
            error.detail[0] == '\0') {
            fail_msg("%s: %s at \"%s\" (%s)", rows[i].text, status_slug(status), error.pointer, error.detail);
        }
    }
}

static void test_bad_outcomes(void **state)
{
    (void)state;
    char token[LEASE_TOKEN_TEXT_SIZE];
    lease_token_format(&token_a, token);
    static const struct {
        const char *rest;
        enum status status;
        const char *pointer;
    } rows[] = {
        {"", STATUS_INVALID, "/outcomes/0/outcome"},
        {",\"outcome\":\"done\"", STATUS_INVALID, "/outcomes/0/outcome"},
        {",\"outcome\":\"extend\",\"result\":1", STATUS_UNKNOWN_FIELD, "/outcomes/0/result"},
        {",\"outcome\":\"complete\",\"final\":true", STATUS_UNKNOWN_FIELD, "/outcomes/0/final"},
        {",\"outcome\":\"complete\",\"x\":true", STATUS_UNKNOWN_FIELD, "/outcomes/0/x"},
        {",\"outcome\":\"fail\",\"error\":\"x\"", STATUS_INVALID, "/outcomes/0/error"},
        {",\"outcome\":\"fail\",\"error\":{\"kind\":\"\"}", STATUS_INVALID, "/outcomes/0/error/kind"},
        {",\"outcome\":\"fail\",\"error\":{\"message\":3}", STATUS_INVALID, "/outcomes/0/error/message"},
        {",\"outcome\":\"fail\",\"error\":{\"why\":3}", STATUS_UNKNOWN_FIELD, "/outcomes/0/error/why"},
        {",\"outcome\":\"fail\",\"final\":1", STATUS_INVALID, "/outcomes/0/final"},
        {",\"outcome\":\"extend\",\"lease_ms\":999", STATUS_INVALID, "/outcomes/0/lease_ms"},
        {",\"outcome\":\"extend\",\"lease_ms\":3600001", STATUS_INVALID, "/outcomes/0/lease_ms"},
        {",\"outcome\":\"progress\",\"permille\":1001", STATUS_INVALID, "/outcomes/0/permille"},
        {",\"outcome\":\"progress\",\"note\":null", STATUS_INVALID, "/outcomes/0/note"},
        {",\"outcome\":\"release\",\"message\":[]", STATUS_INVALID, "/outcomes/0/message"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        buf_reset(&text);
        buf_printf(&text, "{\"type\":\"report\",\"outcomes\":[{\"token\":\"%s\"%s}]}", token, rows[i].rest);
        enum status status = decode(buf_slice(&text));
        if (status != rows[i].status || strcmp(error.pointer, rows[i].pointer) != 0) {
            fail_msg("%s: %s at \"%s\"", rows[i].rest, status_slug(status), error.pointer);
        }
    }
}

/* Strings and payloads at their limit pass, one byte more is refused. */
static void test_limits(void **state)
{
    (void)state;
    char token[LEASE_TOKEN_TEXT_SIZE];
    lease_token_format(&token_a, token);
    for (int over = 0; over < 2; over++) {
        buf_reset(&text);
        buf_printf(&text, "{\"type\":\"report\",\"outcomes\":[{\"token\":\"%s\",\"outcome\":\"complete\",\"result\":\"",
                   token);
        for (int i = 0; i < LIMIT_INPUT_SIZE - 2 + over; i++) {
            buf_append_char(&text, 'x');
        }
        buf_append_str(&text, "\"}]}");
        assert_int_equal(decode(buf_slice(&text)), over ? STATUS_TOO_LARGE : STATUS_OK);
        if (over) {
            assert_string_equal(error.pointer, "/outcomes/0/result");
        }

        buf_reset(&text);
        buf_printf(
            &text,
            "{\"type\":\"report\",\"outcomes\":[{\"token\":\"%s\",\"outcome\":\"fail\",\"error\":{\"message\":\"",
            token);
        for (int i = 0; i < LIMIT_ERROR_SIZE + over; i++) {
            buf_append_char(&text, 'x');
        }
        buf_append_str(&text, "\"}}]}");
        assert_int_equal(decode(buf_slice(&text)), over ? STATUS_INVALID : STATUS_OK);

        buf_reset(&text);
        buf_append_str(&text, "{\"type\":\"hello\",\"instance\":\"1\",\"node\":\"n\",\"kinds\":[");
        for (int i = 0; i < LIMIT_KINDS_PER_NODE + over; i++) {
            buf_append_str(&text, i > 0 ? ",\"k\"" : "\"k\"");
        }
        buf_append_str(&text, "]}");
        assert_int_equal(decode(buf_slice(&text)), over ? STATUS_INVALID : STATUS_OK);
    }
}

/* A scratch that is too small is an error, never a half message. */
static void test_small_scratch(void **state)
{
    (void)state;
    const struct outcome outcome = {.type = OUTCOME_COMPLETE, .token = token_a, .payload = SLICE("\"0123456789\"")};
    struct buf list;
    buf_init(&list, 4096);
    work_write_outcome(&list, &outcome);
    buf_reset(&text);
    work_write_report(&text, buf_slice(&list), 0);
    buf_free(&list);
    for (size_t max = 0; max < 40; max++) {
        struct buf small;
        buf_init(&small, max);
        enum status status = work_message_decode(parser, buf_slice(&text), &small, &message, &error);
        if (status == STATUS_OK) {
            struct reader reader = reader_of(message.report.outcomes);
            struct outcome got;
            assert_true(outcome_next(&reader, &got));
        } else {
            assert_int_equal(status, STATUS_TOO_LARGE);
        }
        buf_free(&small);
    }
}

static void test_answers(void **state)
{
    (void)state;
    const struct lease_token lost[] = {token_a, token_b};
    const struct work_welcome welcome = {.session = UINT64_MAX,
                                         .beat_ms = 500,
                                         .lost_ms = 2500,
                                         .seq = 42,
                                         .is_resumed = true,
                                         .drain = true,
                                         .lost = lost,
                                         .lost_count = 2};
    buf_reset(&text);
    work_write_welcome(&text, &welcome);
    assert_int_equal(work_answer_decode(parser, buf_slice(&text), answer), STATUS_OK);
    assert_int_equal(answer->type, WORK_WELCOME);
    assert_int_equal(answer->welcome.session, UINT64_MAX);
    assert_int_equal(answer->welcome.beat_ms, 500);
    assert_int_equal(answer->welcome.lost_ms, 2500);
    assert_int_equal(answer->welcome.seq, 42);
    assert_true(answer->welcome.is_resumed);
    assert_true(answer->welcome.drain);
    assert_false(answer->welcome.quiet);
    assert_int_equal(answer->welcome.lost_count, 2);
    assert_token(answer->welcome.lost[1], token_b);

    const struct work_lease_offer offer = {.token = token_a,
                                           .kind = SLICE("code.run"),
                                           .queue = SLICE("default"),
                                           .input = SLICE("{\"lang\":\"c\"}"),
                                           .checkpoint = SLICE("[7]"),
                                           .traceparent = SLICE("00-1-2-01"),
                                           .expires_ns = INT64_C(1700000000123000000),
                                           .lease_ms = 30000,
                                           .timeout_ms = 1500};
    buf_reset(&text);
    work_write_lease(&text, &offer);
    assert_int_equal(work_answer_decode(parser, buf_slice(&text), answer), STATUS_OK);
    assert_int_equal(answer->type, WORK_LEASE);
    assert_token(answer->lease.token, token_a);
    assert_int_equal(answer->lease.attempt, 3);
    assert_slice(answer->lease.kind, "code.run");
    assert_slice(answer->lease.queue, "default");
    assert_slice(answer->lease.traceparent, "00-1-2-01");
    assert_int_equal(answer->lease.lease_ms, 30000);
    assert_int_equal(answer->lease.timeout_ms, 1500);
    assert_true(answer->lease.has_checkpoint);
    buf_reset(&scratch);
    json_print(&scratch, answer->lease.input);
    json_print(&scratch, answer->lease.checkpoint);
    assert_slice(buf_slice(&scratch), "{\"lang\":\"c\"}[7]");

    buf_reset(&text);
    work_write_offer(&text, &offer);
    struct json_value root, value;
    struct slice time;
    assert_int_equal(json_parse(parser, buf_slice(&text), &root, NULL, NULL), STATUS_OK);
    assert_false(json_member(root, "type", &value));
    assert_true(json_member(root, "expires_at", &value) && json_get_str(value, &time));
    assert_slice(time, "2023-11-14T22:13:20.123Z");

    const struct work_refused refused[] = {{token_b, STATUS_LEASE_LOST}, {token_a, STATUS_CONFLICT}};
    buf_reset(&text);
    work_write_reported(&text, refused, 2, 99);
    assert_int_equal(work_answer_decode(parser, buf_slice(&text), answer), STATUS_OK);
    assert_int_equal(answer->type, WORK_REPORTED);
    assert_int_equal(answer->refused_count, 2);
    assert_token(answer->refused[0].token, token_b);
    assert_int_equal(answer->refused[1].status, STATUS_CONFLICT);

    const struct directive directives[] = {
        {.type = DIRECTIVE_CANCEL, .token = token_a, .reason = "timeout"},
        {.type = DIRECTIVE_DRAIN, .on = false},
        {.type = DIRECTIVE_QUIET, .on = true},
        {.type = DIRECTIVE_TERMINATE, .reason = "superseded"},
    };
    buf_reset(&text);
    work_write_beat_answer(&text, directives, 4);
    assert_int_equal(work_answer_decode(parser, buf_slice(&text), answer), STATUS_OK);
    assert_int_equal(answer->type, WORK_DIRECTIVES);
    assert_int_equal(answer->directive_count, 4);
    assert_int_equal(answer->directives[0].type, DIRECTIVE_CANCEL);
    assert_token(answer->directives[0].token, token_a);
    assert_string_equal(answer->directives[0].reason, "timeout");
    assert_int_equal(answer->directives[1].type, DIRECTIVE_DRAIN);
    assert_false(answer->directives[1].on);
    assert_true(answer->directives[2].on);
    assert_string_equal(answer->directives[3].reason, "superseded");

    buf_reset(&text);
    work_write_error(&text, STATUS_UNAUTHORIZED, SLICE("the node key is wrong"));
    assert_int_equal(work_answer_decode(parser, buf_slice(&text), answer), STATUS_OK);
    assert_int_equal(answer->type, WORK_ERROR);
    assert_int_equal(answer->error, STATUS_UNAUTHORIZED);
    assert_slice(answer->error_detail, "the node key is wrong");
}

/* A newer hub may say more; broken text never passes. */
static void test_strange_answers(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum status status;
    } rows[] = {
        {"{\"type\":\"reported\",\"new\":{}}", STATUS_OK},
        {"{\"type\":\"beat\",\"directives\":[{\"do\":\"dance\"},{\"do\":\"drain\"}]}", STATUS_OK},
        {"{\"type\":\"gossip\"}", STATUS_NOT_IMPLEMENTED},
        {"{}", STATUS_INVALID},
        {"nope", STATUS_BAD_JSON},
        {"{\"type\":\"welcome\"}", STATUS_INVALID},
        {"{\"type\":\"welcome\",\"session\":\"0000000000001\",\"beat_ms\":0}", STATUS_INVALID},
        {"{\"type\":\"welcome\",\"session\":\"0000000000001\",\"lost\":[3]}", STATUS_INVALID},
        {"{\"type\":\"lease\",\"kind\":\"k\",\"input\":null}", STATUS_INVALID},
        {"{\"type\":\"reported\",\"refused\":[{}]}", STATUS_INVALID},
        {"{\"type\":\"beat\",\"directives\":[{\"do\":\"cancel\"}]}", STATUS_INVALID},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        enum status status = work_answer_decode(parser, slice_str(rows[i].text), answer);
        if (status != rows[i].status) {
            fail_msg("%s: %s", rows[i].text, status_slug(status));
        }
        if (i == 1) {
            assert_int_equal(answer->directive_count, 1);
            assert_true(answer->directives[0].on);
        }
    }
}

/* One that is not well formed is refused alone: those before and behind it go through, and numbers keep their digits. */
static void test_a_bad_outcome_is_refused_alone(void **state)
{
    (void)state;
    char good[LEASE_TOKEN_TEXT_SIZE], bad_token[LEASE_TOKEN_TEXT_SIZE];
    lease_token_format(&token_a, good);
    lease_token_format(&token_b, bad_token);
    struct buf said;
    buf_init(&said, 4096);
    buf_printf(&said,
               "{\"type\":\"report\",\"credit\":1,\"outcomes\":["
               "{\"token\":\"%s\",\"outcome\":\"complete\",\"result\":[1e400, 123456789012345678901234567890]},"
               "{\"token\":\"%s\",\"outcome\":\"complete\",\"wrong\":1},"
               "{\"outcome\":\"complete\"},"
               "{\"token\":\"%s\",\"outcome\":\"complete\",\"result\":-0}]}",
               good, bad_token, good);
    assert_int_equal(decode(buf_slice(&said)), STATUS_OK);
    buf_free(&said);
    assert_int_equal(message.report.outcome_count, 2);
    assert_int_equal(message.report.credit_add, 1);
    struct reader reader = reader_of(message.report.outcomes);
    struct outcome outcome;
    static const char *const results[] = {"[1e400,123456789012345678901234567890]", "-0"};
    for (int i = 0; i < 2; i++) {
        assert_true(outcome_next(&reader, &outcome));
        assert_token(outcome.token, token_a);
        assert_slice(outcome.payload, results[i]);
    }
    assert_false(outcome_next(&reader, &outcome));
    struct work_bad_outcome bad[2];
    assert_int_equal(message.bad.len, sizeof(bad));
    memcpy(bad, message.bad.data, sizeof(bad));
    assert_int_equal(bad[0].ordinal, 1);
    assert_true(bad[0].has_token);
    assert_token(bad[0].token, token_b);
    assert_string_equal(bad[0].error.pointer, "/outcomes/1/wrong");
    assert_int_equal(bad[0].error.status, STATUS_UNKNOWN_FIELD);
    assert_int_equal(bad[1].ordinal, 2);
    assert_false(bad[1].has_token);
    assert_string_equal(bad[1].error.pointer, "/outcomes/2/token");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_bad_outcome_is_refused_alone),
        cmocka_unit_test(test_hello),
        cmocka_unit_test(test_hello_small),
        cmocka_unit_test(test_report),
        cmocka_unit_test(test_short_messages),
        cmocka_unit_test(test_bad_messages),
        cmocka_unit_test(test_bad_outcomes),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_small_scratch),
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_strange_answers),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
