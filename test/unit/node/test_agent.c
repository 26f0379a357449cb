/* test_agent.c - the agent against a hub made of the real server and the real messages, with a launcher that the test
 * steers. Everything runs on one loop in one thread. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/log.h"
#include "net/http_server.h"
#include "node/agent.h"

#define RUNS_MAX 32
#define OUTCOMES_MAX 256
#define PATIENCE_NS (10 * NS_PER_S)

/* --- a launcher whose runs end when the test says so --- */

struct work_run {
    void (*done)(void *ctx, const struct work_done *done);
    void *ctx;
    char input[256];
    uint32_t slot;
    int64_t timeout_ms;
    bool is_over, is_cancelled, ignores_cancel;
};

static struct work_run runs[RUNS_MAX];
static uint32_t run_count;
static bool start_fails;
static bool runs_ignore_cancel;
static int progress_news; /* how many times progress has news */

static void run_end(uint32_t i, const struct work_done *done)
{
    assert_true(i < run_count);
    assert_false(runs[i].is_over);
    runs[i].is_over = true;
    runs[i].done(runs[i].ctx, done);
}

static void run_succeed(uint32_t i, const char *json)
{
    const struct work_done done = {.is_success = true, .result = slice_str(json)};
    run_end(i, &done);
}

static enum status fake_start(void *state, const struct work_input *input,
                              void (*done)(void *ctx, const struct work_done *done), void *ctx,
                              struct work_run **ret_run)
{
    (void)state;
    if (start_fails) {
        return STATUS_NO_MEMORY;
    }
    assert_true(run_count < RUNS_MAX);
    struct work_run *run = &runs[run_count++];
    *run = (struct work_run){.done = done,
                             .ctx = ctx,
                             .slot = input->slot,
                             .timeout_ms = input->timeout_ms,
                             .ignores_cancel = runs_ignore_cancel};
    snprintf(run->input, sizeof(run->input), "%.*s", SLICE_ARG(input->input));
    *ret_run = run;
    return STATUS_OK;
}

static void fake_cancel(struct work_run *run)
{
    assert_false(run->is_over);
    assert_false(run->is_cancelled);
    run->is_cancelled = true;
    if (run->ignores_cancel) {
        return;
    }
    run->is_over = true;
    const struct work_done done = {.error_kind = SLICE("cancelled"), .message = SLICE("stopped")};
    run->done(run->ctx, &done); /* from inside cancel, which is the hardest moment */
}

static bool fake_progress(struct work_run *run, uint16_t *ret_permille, struct buf *ret_note)
{
    (void)run;
    if (progress_news == 0) {
        return false;
    }
    progress_news--;
    *ret_permille = 250;
    buf_append_str(ret_note, "a quarter");
    return true;
}

static const struct launcher fake_launcher = {
    .kind = "test.fake", .start = fake_start, .cancel = fake_cancel, .progress = fake_progress};
static const struct agent_kind fake_kinds[] = {{&fake_launcher, NULL}};

/* --- a hub that the test steers --- */

struct got { /* one outcome as the hub received it */
    enum outcome_type type;
    struct lease_token token;
    char payload[128], error_kind[64], message[128];
    bool is_final;
    uint16_t permille;
};

static struct loop loop;
static struct http_server *server;
static uint16_t port;
static struct ws_connection *ws;
static struct json_parser *parser;
static struct buf scratch, text;
static struct work_message message;
static struct field_error field_error;

static uint32_t hello_count, beat_count, report_count, leave_count, connection_count;
static uint32_t credit; /* as the hub counts it */
static uint32_t hello_credit;
static uint64_t hello_instance;
static struct lease_token held[64];
static uint32_t held_count;
static struct got outcomes[OUTCOMES_MAX];
static uint32_t outcome_count;
static bool answers_hello, answers_reports, answers_beats, refuses_extends;
static struct lease_token lost[8];
static uint32_t lost_count;
static uint32_t beat_ms, lost_ms;

static struct agent *agent;
static bool is_ended;
static enum status end_status;
static char end_why[256];
static uint32_t end_runs_left;
static int welcome_count;

static void hub_send(void)
{
    assert_int_equal(buf_status(&text), STATUS_OK);
    if (ws != NULL) {
        ws_send_text(ws, buf_slice(&text));
    }
    buf_reset(&text);
}

static void hub_on_hello(void)
{
    hello_count++;
    hello_instance = message.hello.instance;
    hello_credit = credit = message.hello.credit;
    assert_true(slice_equal_str(message.hello.node, "n1"));
    assert_int_equal(message.hello.kind_count, 1);
    assert_true(slice_equal_str(message.hello.kinds[0], "test.fake"));
    held_count = message.hello.held_count;
    assert_true(held_count <= 64);
    for (uint32_t i = 0; i < held_count; i++) {
        held[i] = command_held_at(&message.hello, i);
    }
    if (!answers_hello) {
        return;
    }
    const struct work_welcome welcome = {.session = hello_count,
                                         .beat_ms = beat_ms,
                                         .lost_ms = lost_ms,
                                         .seq = 1,
                                         .is_resumed = hello_count > 1,
                                         .lost = lost,
                                         .lost_count = lost_count};
    work_write_welcome(&text, &welcome);
    hub_send();
}

static void hub_on_report(void)
{
    report_count++;
    credit += message.report.credit_add;
    if (message.report.has_credit) {
        credit = message.report.credit_set;
    }
    struct work_refused refused[64];
    uint32_t refused_count = 0;
    struct reader reader = reader_of(message.report.outcomes);
    struct outcome outcome;
    while (outcome_next(&reader, &outcome)) {
        assert_true(outcome_count < OUTCOMES_MAX);
        struct got *got = &outcomes[outcome_count++];
        *got = (struct got){.type = outcome.type,
                            .token = outcome.token,
                            .is_final = outcome.is_final,
                            .permille = outcome.progress_permille};
        snprintf(got->payload, sizeof(got->payload), "%.*s", SLICE_ARG(outcome.payload));
        snprintf(got->error_kind, sizeof(got->error_kind), "%.*s", SLICE_ARG(outcome.error_kind));
        snprintf(got->message, sizeof(got->message), "%.*s", SLICE_ARG(outcome.message));
        if (refuses_extends && outcome.type == OUTCOME_EXTEND) {
            refused[refused_count++] = (struct work_refused){outcome.token, STATUS_LEASE_LOST};
        }
    }
    assert_true(reader_is_done(&reader));
    if (answers_reports) {
        work_write_reported(&text, refused, refused_count, 2);
        hub_send();
    }
}

static void hub_on_message(struct ws_connection *connection, struct slice bytes, bool is_text)
{
    assert_true(is_text);
    if (connection != ws) {
        return;
    }
    buf_reset(&scratch);
    enum status status = work_message_decode(parser, bytes, &scratch, &message, &field_error);
    if (status != STATUS_OK) {
        fail_msg("the node said %.*s: %s %s", SLICE_ARG(bytes), field_error.pointer, field_error.detail);
    }
    switch (message.type) {
    case WORK_HELLO:
        hub_on_hello();
        break;
    case WORK_REPORT:
        hub_on_report();
        break;
    case WORK_CREDIT:
        credit += message.credit;
        break;
    case WORK_BEAT:
        beat_count++;
        if (answers_beats) {
            work_write_beat_answer(&text, NULL, 0);
            hub_send();
        }
        break;
    case WORK_LEAVE:
        leave_count++;
        break;
    }
}

static void hub_on_closed(struct ws_connection *connection)
{
    if (ws == connection) {
        ws = NULL;
    }
}

static const struct ws_callbacks hub_ws_callbacks = {.on_message = hub_on_message, .on_closed = hub_on_closed};

static void hub_on_request(void *ctx, struct http_request *request)
{
    (void)ctx;
    if (request->wants_upgrade && slice_equal_str(request->path, "/v1/work")) {
        connection_count++;
        ws = ws_accept(request, WORK_SUBPROTOCOL, &hub_ws_callbacks, NULL);
        return;
    }
    const struct http_answer answer = {.status = 404};
    http_answer(request, &answer);
}

static void hub_on_refused(void *ctx, enum status status, const char *detail, struct buf *body)
{
    (void)ctx;
    buf_printf(body, "{\"code\":\"%s\",\"detail\":\"%s\"}", status_slug(status), detail);
}

static void hub_start(void)
{
    struct http_config config;
    http_config_default(&config);
    config.host = "127.0.0.1";
    config.port = port;
    const struct http_callbacks callbacks = {.on_request = hub_on_request, .on_refused = hub_on_refused};
    assert_int_equal(http_server_start(&loop, &config, &callbacks, &server), STATUS_OK);
    port = http_server_port(server);
}

static void hub_stop(void)
{
    if (ws != NULL) {
        ws_close(ws, 1001, "restart");
        ws = NULL; /* what still comes is nobody's */
    }
    http_server_close(server, 0);
    server = NULL;
}

static struct lease_token token_of(uint32_t n)
{
    return (struct lease_token){.task_id = (uint64_t)n << 24 | n, .attempt = 1, .seq = 100 + n};
}

static void hub_lease(uint32_t n, int64_t lease_ms, int64_t timeout_ms)
{
    const struct work_lease_offer offer = {.token = token_of(n),
                                           .kind = SLICE("test.fake"),
                                           .queue = SLICE("default"),
                                           .input = SLICE("{\"n\":1}"),
                                           .lease_ms = lease_ms,
                                           .timeout_ms = timeout_ms};
    if (credit > 0) {
        credit--;
    }
    work_write_lease(&text, &offer);
    hub_send();
}

static void hub_direct(enum directive_type type, uint32_t n, const char *reason)
{
    struct directive directive = {.type = type, .token = token_of(n), .on = true};
    snprintf(directive.reason, sizeof(directive.reason), "%s", reason);
    work_write_beat_answer(&text, &directive, 1);
    hub_send();
}

/* --- the stage --- */

static void on_welcome(void *ctx, bool is_first)
{
    (void)ctx;
    assert_int_equal(is_first, welcome_count == 0);
    welcome_count++;
}

static void on_ended(void *ctx, enum status status, const char *why, uint32_t runs_left)
{
    (void)ctx;
    assert_false(is_ended);
    is_ended = true;
    end_status = status;
    end_runs_left = runs_left;
    snprintf(end_why, sizeof(end_why), "%s", why);
}

static void agent_begin(uint32_t slots, int64_t drain_ms)
{
    static char url[64];
    snprintf(url, sizeof(url), "http://127.0.0.1:%u", port);
    const struct agent_config config = {.hub_url = url,
                                        .name = SLICE("n1"),
                                        .slots = slots,
                                        .instance = 0x1234,
                                        .info = SLICE("{\"version\":\"test\"}"),
                                        .kinds = fake_kinds,
                                        .kind_count = 1,
                                        .drain_ms = drain_ms,
                                        .on_welcome = on_welcome,
                                        .on_ended = on_ended};
    uv_update_time(&loop.uv);
    assert_int_equal(agent_start(&loop, &config, &agent), STATUS_OK);
}

static void on_tick(uv_timer_t *timer)
{
    (void)timer;
}

/* Runs the loop until the condition holds, with patience; the timer keeps the loop from sleeping past it. */
#define RUN_UNTIL(condition)                                                                                           \
    do {                                                                                                               \
        int64_t begun_ns_ = clock_mono_ns();                                                                           \
        while (!(condition)) {                                                                                         \
            if (clock_mono_ns() - begun_ns_ > PATIENCE_NS)                                                             \
                fail_msg("never came: %s", #condition);                                                                \
            uv_run(&loop.uv, UV_RUN_ONCE);                                                                             \
        }                                                                                                              \
    } while (0)

static void run_for(int64_t ms)
{
    int64_t until_ns = clock_mono_ns() + ms * NS_PER_MS;
    RUN_UNTIL(clock_mono_ns() >= until_ns);
}

static uv_timer_t tick;

static int setup(void **state)
{
    (void)state;
    run_count = hello_count = beat_count = report_count = leave_count = connection_count = credit = held_count = 0;
    outcome_count = lost_count = 0;
    start_fails = runs_ignore_cancel = refuses_extends = is_ended = false;
    answers_hello = answers_reports = answers_beats = true;
    progress_news = 0;
    welcome_count = 0;
    beat_ms = 100;
    lost_ms = 2000;
    port = 0;
    ws = NULL;
    agent = NULL;
    assert_int_equal(loop_init(&loop), STATUS_OK);
    parser = json_parser_new();
    buf_init(&scratch, 1 << 20);
    buf_init(&text, 1 << 20);
    uv_timer_init(&loop.uv, &tick);
    uv_timer_start(&tick, on_tick, 5, 5);
    hub_start();
    return parser != NULL ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    if (agent != NULL && !is_ended) {
        runs_ignore_cancel = false;
        for (uint32_t i = 0; i < run_count; i++) {
            runs[i].ignores_cancel = false;
        }
        agent_kill(agent);
        RUN_UNTIL(is_ended);
    }
    agent_free(agent);
    if (server != NULL) {
        hub_stop();
    }
    uv_close((uv_handle_t *)&tick, NULL);
    loop_stop(&loop);
    loop_run(&loop);
    loop_free(&loop);
    json_parser_free(parser);
    buf_free(&scratch);
    buf_free(&text);
    return 0;
}

static struct agent_stats stats_now(void)
{
    struct agent_stats stats;
    agent_stats(agent, &stats);
    return stats;
}

static void assert_token(struct lease_token token, uint32_t n)
{
    struct lease_token expected = token_of(n);
    assert_int_equal(token.task_id, expected.task_id);
    assert_int_equal(token.attempt, expected.attempt);
    assert_int_equal(token.seq, expected.seq);
}

/* --- tests --- */

static void test_life_of_a_lease(void **state)
{
    (void)state;
    agent_begin(2, 1000);
    RUN_UNTIL(welcome_count == 1);
    assert_int_equal(hello_credit, 2);
    assert_int_equal(hello_instance, 0x1234);
    assert_int_equal(held_count, 0);
    hub_lease(1, 30000, 5000);
    RUN_UNTIL(run_count == 1);
    assert_string_equal(runs[0].input, "{\"n\":1}");
    assert_int_equal(runs[0].timeout_ms, 5000);
    assert_int_equal(stats_now().running, 1);
    run_succeed(0, "{ \"answer\" : 42 }");
    RUN_UNTIL(stats_now().unreported == 0 && stats_now().running == 0 && outcome_count == 1);
    assert_int_equal(outcomes[0].type, OUTCOME_COMPLETE);
    assert_token(outcomes[0].token, 1);
    assert_string_equal(outcomes[0].payload, "{\"answer\":42}");
    assert_int_equal(credit, 2); /* the slot's credit came with the report */
    assert_int_equal(report_count, 1);
    RUN_UNTIL(beat_count >= 2);
    assert_int_equal(stats_now().succeeded, 1);
}

static void test_failures(void **state)
{
    (void)state;
    agent_begin(1, 1000);
    RUN_UNTIL(welcome_count == 1);
    hub_lease(1, 30000, 0);
    RUN_UNTIL(run_count == 1);
    const struct work_done failed = {
        .error_kind = SLICE("code"), .message = SLICE("it broke"), .detail = SLICE("{\"line\": 3}"), .is_final = true};
    run_end(0, &failed);
    RUN_UNTIL(outcome_count == 1);
    assert_int_equal(outcomes[0].type, OUTCOME_FAIL);
    assert_string_equal(outcomes[0].error_kind, "code");
    assert_string_equal(outcomes[0].message, "it broke");
    assert_string_equal(outcomes[0].payload, "{\"line\":3}");
    assert_true(outcomes[0].is_final);

    start_fails = true;
    hub_lease(2, 30000, 0);
    RUN_UNTIL(outcome_count == 2);
    assert_int_equal(outcomes[1].type, OUTCOME_FAIL);
    assert_string_equal(outcomes[1].error_kind, "no-memory");
    start_fails = false;

    /* what a launcher says must be JSON, and not too much of it */
    hub_lease(3, 30000, 0);
    RUN_UNTIL(run_count == 2);
    run_succeed(1, "{broken");
    RUN_UNTIL(outcome_count == 3);
    assert_string_equal(outcomes[2].error_kind, "internal");
    hub_lease(4, 30000, 0);
    RUN_UNTIL(run_count == 3);
    char *large = malloc(LIMIT_INPUT_SIZE + 16);
    memset(large, 'x', LIMIT_INPUT_SIZE + 15);
    large[0] = large[LIMIT_INPUT_SIZE + 14] = '"';
    large[LIMIT_INPUT_SIZE + 15] = '\0';
    run_succeed(2, large);
    free(large);
    RUN_UNTIL(outcome_count == 4);
    assert_string_equal(outcomes[3].error_kind, "result-too-large");
    assert_true(outcomes[3].is_final);
    RUN_UNTIL(stats_now().unreported == 0);
    assert_int_equal(credit, 1);
    assert_int_equal(stats_now().failed, 4);
}

static void test_beyond_credit(void **state)
{
    (void)state;
    agent_begin(1, 1000);
    RUN_UNTIL(welcome_count == 1);
    hub_lease(1, 30000, 0);
    hub_lease(2, 30000, 0);
    hub_lease(1, 30000, 0); /* said twice: ignored */
    RUN_UNTIL(outcome_count == 1);
    run_for(30);
    assert_int_equal(run_count, 1);
    assert_int_equal(outcome_count, 1);
    assert_int_equal(outcomes[0].type, OUTCOME_RELEASE);
    assert_token(outcomes[0].token, 2);
    assert_int_equal(credit, 0);
    run_succeed(0, "1");
    RUN_UNTIL(credit == 1);
}

/* The report arrives, its answer does not: the outcome comes again, and its credit does not. */
static void test_unacknowledged_is_repeated(void **state)
{
    (void)state;
    agent_begin(2, 1000);
    RUN_UNTIL(welcome_count == 1);
    answers_reports = false;
    hub_lease(1, 30000, 0);
    hub_lease(2, 30000, 0);
    RUN_UNTIL(run_count == 2);
    run_succeed(0, "\"first\"");
    RUN_UNTIL(outcome_count == 1);
    assert_int_equal(stats_now().unreported, 1);
    answers_reports = true;
    ws_close(ws, 1011, "gone");
    RUN_UNTIL(hello_count == 2);
    assert_int_equal(hello_credit, 1); /* one of two slots is free */
    assert_int_equal(held_count, 2);   /* the running one and the unreported one */
    RUN_UNTIL(outcome_count >= 2 && stats_now().unreported == 0);
    bool was_repeated = false;
    for (uint32_t i = 1; i < outcome_count; i++) {
        if (outcomes[i].type == OUTCOME_COMPLETE) {
            assert_token(outcomes[i].token, 1);
            assert_string_equal(outcomes[i].payload, "\"first\"");
            was_repeated = true;
        } else {
            assert_int_equal(outcomes[i].type, OUTCOME_EXTEND); /* leases are extended after a gap */
            assert_token(outcomes[i].token, 2);
        }
    }
    assert_true(was_repeated);
    run_for(30);
    assert_int_equal(credit, 1);
    assert_int_equal(welcome_count, 2);
}

static void test_works_while_the_hub_is_away(void **state)
{
    (void)state;
    agent_begin(1, 1000);
    RUN_UNTIL(welcome_count == 1);
    hub_lease(7, 30000, 0);
    RUN_UNTIL(run_count == 1);
    hub_stop();
    RUN_UNTIL(!stats_now().is_online);
    run_for(250);
    run_succeed(0, "\"done alone\"");
    run_for(250);
    assert_int_equal(outcome_count, 0);
    int64_t back_ns = clock_mono_ns();
    hub_start();
    RUN_UNTIL(outcome_count == 1);
    /* A restarted hub waits LIMIT_LOST_MS for its nodes. */
    assert_true(clock_mono_ns() - back_ns < (int64_t)LIMIT_LOST_MS * NS_PER_MS);
    assert_int_equal(held_count, 1);
    assert_token(held[0], 7);
    assert_string_equal(outcomes[0].payload, "\"done alone\"");
    RUN_UNTIL(stats_now().unreported == 0);
    assert_int_equal(credit, 1);
}

static void test_lost_while_away(void **state)
{
    (void)state;
    agent_begin(2, 1000);
    RUN_UNTIL(welcome_count == 1);
    hub_lease(1, 30000, 0);
    hub_lease(2, 30000, 0);
    RUN_UNTIL(run_count == 2);
    answers_reports = false;
    run_succeed(0, "1");
    RUN_UNTIL(outcome_count == 1);
    lost[0] = token_of(1);
    lost[1] = token_of(2);
    lost_count = 2;
    answers_reports = true;
    ws_close(ws, 1011, "gone");
    RUN_UNTIL(welcome_count == 2);
    RUN_UNTIL(stats_now().running == 0 && credit == 2);
    assert_true(runs[1].is_cancelled);
    assert_int_equal(stats_now().unreported, 0);
    assert_int_equal(stats_now().dropped, 2);
    run_for(30);
    assert_int_equal(outcome_count, 1); /* nothing more is said of either */
}

static void test_cancel(void **state)
{
    (void)state;
    agent_begin(1, 1000);
    RUN_UNTIL(welcome_count == 1);
    hub_lease(1, 30000, 0);
    RUN_UNTIL(run_count == 1);
    hub_direct(DIRECTIVE_CANCEL, 9, "cancelled"); /* nobody's: ignored */
    hub_direct(DIRECTIVE_CANCEL, 1, "cancelled");
    RUN_UNTIL(runs[0].is_cancelled && credit == 1);
    assert_int_equal(outcome_count, 0);
    hub_lease(2, 30000, 0);
    RUN_UNTIL(run_count == 2);
    run_succeed(1, "2");
    RUN_UNTIL(outcome_count == 1);
}

static void test_extend_and_progress(void **state)
{
    (void)state;
    agent_begin(1, 1000);
    RUN_UNTIL(welcome_count == 1);
    int64_t begun_ns = clock_mono_ns();
    hub_lease(1, 1000, 0);
    RUN_UNTIL(outcome_count == 1);
    int64_t took_ms = (clock_mono_ns() - begun_ns) / NS_PER_MS;
    assert_int_equal(outcomes[0].type, OUTCOME_EXTEND);
    assert_in_range(took_ms, 300, 900); /* at a third of the lease */
    progress_news = 1;
    RUN_UNTIL(progress_news == 0);
    bool has_progress = false;
    RUN_UNTIL(outcomes[outcome_count - 1].type == OUTCOME_PROGRESS || outcome_count >= 6);
    for (uint32_t i = 0; i < outcome_count; i++) {
        if (outcomes[i].type != OUTCOME_PROGRESS) {
            continue;
        }
        has_progress = true;
        assert_int_equal(outcomes[i].permille, 250);
        assert_string_equal(outcomes[i].message, "a quarter");
    }
    assert_true(has_progress);
}

static void test_refused_extend_drops(void **state)
{
    (void)state;
    refuses_extends = true;
    agent_begin(1, 1000);
    RUN_UNTIL(welcome_count == 1);
    hub_lease(1, 1000, 0);
    RUN_UNTIL(run_count == 1 && runs[0].is_cancelled);
    RUN_UNTIL(credit == 1);
    assert_int_equal(outcome_count, 1);
    assert_int_equal(stats_now().dropped, 1);
}

static void test_timeout(void **state)
{
    (void)state;
    agent_begin(1, 1000);
    RUN_UNTIL(welcome_count == 1);
    hub_lease(1, 30000, 60);
    RUN_UNTIL(outcome_count == 1);
    assert_true(runs[0].is_cancelled);
    assert_int_equal(outcomes[0].type, OUTCOME_FAIL);
    assert_string_equal(outcomes[0].error_kind, "timeout");
    assert_false(outcomes[0].is_final);
}

static void test_drain(void **state)
{
    (void)state;
    agent_begin(2, 5000);
    RUN_UNTIL(welcome_count == 1);
    hub_lease(1, 30000, 0);
    RUN_UNTIL(run_count == 1);
    agent_drain(agent);
    RUN_UNTIL(report_count == 1);
    assert_int_equal(credit, 0);
    hub_lease(2, 30000, 0); /* was on its way */
    RUN_UNTIL(outcome_count == 1);
    assert_int_equal(outcomes[0].type, OUTCOME_RELEASE);
    assert_token(outcomes[0].token, 2);
    run_for(50);
    assert_false(is_ended);
    run_succeed(0, "1");
    RUN_UNTIL(is_ended);
    assert_int_equal(end_status, STATUS_OK);
    assert_int_equal(end_runs_left, 0);
    assert_int_equal(outcomes[1].type, OUTCOME_COMPLETE);
    RUN_UNTIL(leave_count == 1);
    assert_int_equal(credit, 0);
}

static void test_drain_deadline(void **state)
{
    (void)state;
    agent_begin(1, 100);
    RUN_UNTIL(welcome_count == 1);
    hub_lease(1, 30000, 0);
    RUN_UNTIL(run_count == 1);
    agent_drain(agent);
    RUN_UNTIL(is_ended);
    assert_true(runs[0].is_cancelled);
    assert_int_equal(outcome_count, 1);
    assert_int_equal(outcomes[0].type, OUTCOME_RELEASE);
    assert_int_equal(end_status, STATUS_OK);
}

static void test_drain_without_hub(void **state)
{
    (void)state;
    agent_begin(1, 1000);
    RUN_UNTIL(welcome_count == 1);
    hub_stop();
    RUN_UNTIL(!stats_now().is_online);
    agent_drain(agent); /* nothing is held: nothing to wait for */
    RUN_UNTIL(is_ended);
    assert_int_equal(end_status, STATUS_OK);
}

static void test_kill(void **state)
{
    (void)state;
    agent_begin(2, 60000);
    RUN_UNTIL(welcome_count == 1);
    hub_lease(1, 30000, 0);
    hub_lease(2, 30000, 0);
    RUN_UNTIL(run_count == 2);
    agent_drain(agent);
    agent_kill(agent);
    RUN_UNTIL(is_ended);
    assert_int_equal(end_status, STATUS_INTERRUPTED);
    assert_int_equal(outcome_count, 2);
    assert_int_equal(outcomes[0].type, OUTCOME_RELEASE);
    assert_int_equal(outcomes[1].type, OUTCOME_RELEASE);
    assert_int_equal(end_runs_left, 0);
}

/* A run that will not stop cannot hold the process for ever. */
static void test_kill_stubborn(void **state)
{
    (void)state;
    runs_ignore_cancel = true;
    agent_begin(1, 60000);
    RUN_UNTIL(welcome_count == 1);
    hub_lease(1, 30000, 0);
    RUN_UNTIL(run_count == 1);
    agent_kill(agent);
    RUN_UNTIL(is_ended);
    assert_int_equal(end_status, STATUS_INTERRUPTED);
    assert_int_equal(end_runs_left, 1);
    /* its job stays for the end of the process; here the run ends after all, so that nothing leaks */
    runs[0].is_over = true;
    const struct work_done done = {.error_kind = SLICE("cancelled")};
    runs[0].done(runs[0].ctx, &done);
}

static void test_refused_for_good(void **state)
{
    (void)state;
    answers_hello = false;
    agent_begin(1, 1000);
    RUN_UNTIL(hello_count == 1);
    work_write_error(&text, STATUS_UNAUTHORIZED, SLICE("the key is wrong"));
    hub_send();
    RUN_UNTIL(is_ended);
    assert_int_equal(end_status, STATUS_UNAUTHORIZED);
    assert_non_null(strstr(end_why, "the key is wrong"));
    assert_int_equal(connection_count, 1);
}

static void test_refused_for_now(void **state)
{
    (void)state;
    answers_hello = false;
    agent_begin(1, 1000);
    RUN_UNTIL(hello_count == 1);
    work_write_error(&text, STATUS_NOT_READY, SLICE("recovering"));
    hub_send();
    ws_close(ws, 1013, "try again later");
    answers_hello = true;
    RUN_UNTIL(welcome_count == 1);
    assert_int_equal(connection_count, 2);
}

static void test_superseded(void **state)
{
    (void)state;
    agent_begin(1, 1000);
    RUN_UNTIL(welcome_count == 1);
    hub_lease(1, 30000, 0);
    RUN_UNTIL(run_count == 1);
    hub_direct(DIRECTIVE_TERMINATE, 0, "superseded");
    RUN_UNTIL(is_ended);
    assert_int_equal(end_status, STATUS_SESSION_LOST);
    assert_true(runs[0].is_cancelled);
    assert_int_equal(outcome_count, 0);
}

static void test_silent_hub(void **state)
{
    (void)state;
    beat_ms = 50;
    lost_ms = 200;
    agent_begin(1, 1000);
    RUN_UNTIL(welcome_count == 1);
    answers_beats = false;
    RUN_UNTIL(welcome_count == 2); /* it noticed, and came back */
    answers_beats = true;
    uint32_t connections = connection_count;
    run_for(400);
    assert_int_equal(connection_count, connections); /* and stays, as the hub speaks again */
}

static void test_nonsense_from_the_hub(void **state)
{
    (void)state;
    agent_begin(1, 1000);
    RUN_UNTIL(welcome_count == 1);
    buf_append_str(&text, "{\"type\":\"gossip\"}");
    hub_send(); /* a newer hub: skipped */
    hub_lease(1, 30000, 0);
    RUN_UNTIL(run_count == 1);
    assert_int_equal(connection_count, 1);
    buf_append_str(&text, "{\"type\":");
    hub_send();
    RUN_UNTIL(welcome_count == 2);
    assert_int_equal(held_count, 1); /* the work goes on */
}

static void test_bad_url(void **state)
{
    (void)state;
    const struct agent_config config = {.hub_url = "ftp://nowhere",
                                        .name = SLICE("n1"),
                                        .slots = 1,
                                        .kinds = fake_kinds,
                                        .kind_count = 1,
                                        .on_ended = on_ended};
    struct agent *none = NULL;
    assert_int_equal(agent_start(&loop, &config, &none), STATUS_INVALID);
    assert_null(none);
}

/* Random leases, ends, lost connections and lost answers against a hub that does what the real one does: what a hello
 * does not name is handed out again. At the end every lease was completed, and the credit never went past the slots. */
static void test_storm(void **state)
{
    (void)state;
    enum { LEASES = 300, SLOTS = 4 };
    enum { WAITING, GIVEN, OVER };
    static unsigned char leases[LEASES + 1];
    memset(leases, WAITING, sizeof(leases));
    agent_begin(SLOTS, 5000);
    uint32_t over = 0, seen = 0, hellos = 0, first_run = 0, closes = 0;
    uint64_t dice = 20261121;
    int64_t begun_ns = clock_mono_ns();
    while (over < LEASES) {
        if (clock_mono_ns() - begun_ns > 3 * PATIENCE_NS) {
            fail_msg("%u of %d leases are over after %u hellos", over, LEASES, hello_count);
        }
        dice = dice * 6364136223846793005u + 1442695040888963407u;
        uint32_t throw = (uint32_t)(dice >> 33);
        uv_run(&loop.uv, UV_RUN_ONCE);
        if (hello_count != hellos) {
            hellos = hello_count;
            for (uint32_t n = 1; n <= LEASES; n++) {
                bool is_held = false;
                for (uint32_t i = 0; i < held_count; i++) {
                    is_held |= held[i].seq == token_of(n).seq;
                }
                if (leases[n] == GIVEN && !is_held) {
                    leases[n] = WAITING;
                }
            }
        }
        for (; seen < outcome_count; seen++) {
            uint32_t n = (uint32_t)(outcomes[seen].token.seq - 100);
            assert_in_range(n, 1, LEASES);
            if (outcomes[seen].type == OUTCOME_EXTEND) {
                continue;
            }
            assert_int_equal(outcomes[seen].type, OUTCOME_COMPLETE); /* credit was kept to: nothing is given back */
            over += leases[n] != OVER;
            leases[n] = OVER;
        }
        seen = outcome_count = 0;
        assert_true(credit <= SLOTS);
        answers_reports = throw % 8 != 0;
        for (uint32_t n = 1; n <= LEASES && credit > 0 && ws != NULL && hello_count > 0 && run_count < RUNS_MAX - SLOTS;
             n++) {
            if (leases[n] != WAITING) {
                continue;
            }
            leases[n] = GIVEN;
            hub_lease(n, 30000, 0);
        }
        for (uint32_t i = first_run; i < run_count; i++) {
            if (!runs[i].is_over && (throw >> (i % 16) & 3) == 0) {
                run_succeed(i, "true");
            }
        }
        while (first_run < run_count && runs[first_run].is_over) {
            first_run++;
        }
        if (first_run == run_count) {
            run_count = first_run = 0; /* all of these runs are over: the table begins anew */
        }
        /* An unanswered report shifts the count of answers, so the connection must not outlive it by much. */
        if ((!answers_reports || throw % 64 == 1) && ws != NULL && hello_count > 0) {
            ws_close(ws, 1011, "storm");
            ws = NULL;
            closes++;
        }
    }
    answers_reports = true;
    RUN_UNTIL(stats_now().is_online && stats_now().unreported == 0);
    assert_int_equal(stats_now().running, 0);
    assert_int_equal(credit, SLOTS);
    assert_true(closes > 10);
}

int main(void)
{
    log_setup(LOG_ERROR, false);
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_life_of_a_lease),
        TEST(test_failures),
        TEST(test_beyond_credit),
        TEST(test_unacknowledged_is_repeated),
        TEST(test_works_while_the_hub_is_away),
        TEST(test_lost_while_away),
        TEST(test_cancel),
        TEST(test_extend_and_progress),
        TEST(test_refused_extend_drops),
        TEST(test_timeout),
        TEST(test_drain),
        TEST(test_drain_deadline),
        TEST(test_drain_without_hub),
        TEST(test_kill),
        TEST(test_kill_stubborn),
        TEST(test_refused_for_good),
        TEST(test_refused_for_now),
        TEST(test_superseded),
        TEST(test_silent_hub),
        TEST(test_nonsense_from_the_hub),
        TEST(test_bad_url),
        TEST(test_storm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
