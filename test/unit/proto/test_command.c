/* Commands as bytes: what goes in comes out; what is cut or changed is refused or decodes to something within limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/rng.h"
#include "proto/command.h"

static struct buf out;

static int begin(void **state)
{
    (void)state;
    buf_init(&out, 8u << 20);
    return 0;
}

static int end(void **state)
{
    (void)state;
    buf_free(&out);
    return 0;
}

static struct command_submit full_submit(void)
{
    struct command_submit submit = {.queue = SLICE("images"),
                                    .kind = SLICE("image.generate"),
                                    .input = SLICE("{\"prompt\":\"a shoal\"}"),
                                    .fairness_key = SLICE("alice"),
                                    .unique_key = SLICE("u-1"),
                                    .idempotency_key = SLICE("i-1"),
                                    .body_hash = 0x123456789abcdef0,
                                    .traceparent = SLICE("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
                                    .priority = 9,
                                    .weight = 1000,
                                    .unique_mode = UNIQUE_FOR_TIME,
                                    .unique_ms = 60000,
                                    .run_at_ns = 1700000000000000000,
                                    .ttl_ms = LIMIT_DURATION_MS,
                                    .timeout_ms = 5,
                                    .lease_ms = 6000,
                                    .requirement = {.labels = {SLICE("arm"), SLICE("zone=b")},
                                                    .label_count = 2,
                                                    .cpu_milli = 1500,
                                                    .memory_mib = 2048,
                                                    .gpu = 1}};
    submit.retry = (struct retry_policy){.attempts_max = LIMIT_ATTEMPTS,
                                         .factor_milli = 1500,
                                         .jitter_percent = 100,
                                         .base_ms = 1,
                                         .cap_ms = LIMIT_DURATION_MS,
                                         .not_retryable = {SLICE("code"), SLICE("poison")},
                                         .not_retryable_count = 2};
    return submit;
}

static struct command decode(void)
{
    static struct command command; /* what it points into is `out` */
    struct reader reader = reader_of(buf_slice(&out));
    assert_int_equal(buf_status(&out), STATUS_OK);
    assert_int_equal(command_get(&reader, &command), STATUS_OK);
    assert_true(reader_is_done(&reader));
    return command;
}

static void assert_same_requirement(const struct requirement *a, const struct requirement *b)
{
    assert_int_equal(a->cpu_milli, b->cpu_milli);
    assert_int_equal(a->memory_mib, b->memory_mib);
    assert_int_equal(a->gpu, b->gpu);
    assert_int_equal(a->label_count, b->label_count);
    for (uint32_t i = 0; i < a->label_count; i++) {
        assert_true(slice_equal(a->labels[i], b->labels[i]));
    }
}

static void assert_same_submit(const struct command_submit *a, const struct command_submit *b)
{
    assert_true(slice_equal(a->queue, b->queue) && slice_equal(a->kind, b->kind) && slice_equal(a->input, b->input));
    assert_true(slice_equal(a->fairness_key, b->fairness_key) && slice_equal(a->unique_key, b->unique_key));
    assert_true(slice_equal(a->idempotency_key, b->idempotency_key) && slice_equal(a->traceparent, b->traceparent));
    assert_int_equal(a->body_hash, b->body_hash);
    assert_int_equal(a->priority, b->priority);
    assert_int_equal(a->weight, b->weight);
    assert_int_equal(a->unique_mode, b->unique_mode);
    assert_int_equal(a->unique_ms, b->unique_ms);
    assert_int_equal(a->run_at_ns, b->run_at_ns);
    assert_int_equal(a->ttl_ms, b->ttl_ms);
    assert_int_equal(a->timeout_ms, b->timeout_ms);
    assert_int_equal(a->lease_ms, b->lease_ms);
    assert_same_requirement(&a->requirement, &b->requirement);
    assert_int_equal(a->retry.attempts_max, b->retry.attempts_max);
    assert_int_equal(a->retry.factor_milli, b->retry.factor_milli);
    assert_int_equal(a->retry.jitter_percent, b->retry.jitter_percent);
    assert_int_equal(a->retry.base_ms, b->retry.base_ms);
    assert_int_equal(a->retry.cap_ms, b->retry.cap_ms);
    assert_int_equal(a->retry.not_retryable_count, b->retry.not_retryable_count);
    for (uint32_t i = 0; i < a->retry.not_retryable_count; i++) {
        assert_true(slice_equal(a->retry.not_retryable[i], b->retry.not_retryable[i]));
    }
}

static void test_submit_full(void **state)
{
    (void)state;
    struct command_submit submit = full_submit();
    command_put_submit(&out, &submit);
    struct command command = decode();
    assert_int_equal(command.type, COMMAND_SUBMIT);
    assert_same_submit(&command.as.submit, &submit);
}

static void test_submit_plain_is_small(void **state)
{
    (void)state;
    struct command_submit submit = {
        .queue = SLICE("default"), .kind = SLICE("echo"), .input = SLICE("1"), .priority = 5, .weight = 1};
    retry_policy_default(&submit.retry);
    command_put_submit(&out, &submit);
    assert_true(out.len <= 40);
    struct command command = decode();
    assert_same_submit(&command.as.submit, &submit);
}

/* One of each command, for the tests of damage. */
static void put_each(enum command_type type)
{
    struct buf bytes;
    buf_init(&bytes, 1 << 20);
    struct lease_token token = {0x1234567890, 3, 77};
    switch (type) {
    case COMMAND_TICK:
        command_put_tick(&out);
        break;
    case COMMAND_CONFIGURE:
        command_put_configure(&out, &(struct command_configure){5, 6, 7, SLICE("0123456789abcdef0123456789abcdef")});
        break;
    case COMMAND_SUBMIT: {
        struct command_submit submit = full_submit();
        command_put_submit(&out, &submit);
        break;
    }
    case COMMAND_CANCEL:
    case COMMAND_RETRY:
        command_put_task(&out, type, &(struct command_task){99, SLICE("because")});
        break;
    case COMMAND_QUEUE_SET:
        command_put_queue_set(&out, &(struct command_queue_set){SLICE("q"), true, false, true, {5, true}});
        break;
    case COMMAND_KIND_SET:
        command_put_kind_set(&out, &(struct command_kind_set){SLICE("code.run"), {0}});
        break;
    case COMMAND_NODE_HELLO: {
        lease_token_put(&bytes, &token);
        lease_token_put(&bytes, &(struct lease_token){.task_id = 1, .attempt = 2, .seq = 3});
        struct command_node_hello hello = {.node = SLICE("n1"),
                                           .instance = 5,
                                           .owner = 0xfeed,
                                           .start = 99,
                                           .is_worker = true,
                                           .kinds = {SLICE("a"), SLICE("b")},
                                           .kind_count = 2,
                                           .facts = full_submit().requirement,
                                           .info = SLICE("{\"v\":1}"),
                                           .credit = 16,
                                           .held = bytes.data,
                                           .held_count = 2};
        command_put_node_hello(&out, &hello);
        break;
    }
    case COMMAND_NODE_REPORT: {
        for (int i = OUTCOME_COMPLETE; i <= OUTCOME_RELEASE; i++) {
            struct outcome outcome = {.type = (enum outcome_type)i,
                                      .token = token,
                                      .payload = SLICE("{}"),
                                      .error_kind = SLICE("code"),
                                      .message = SLICE("m"),
                                      .is_final = true,
                                      .progress_permille = 1000,
                                      .lease_ms = 5000};
            outcome_put(&bytes, &outcome);
        }
        struct command_node_report report = {.session = 9,
                                             .credit_add = 1,
                                             .has_credit = true,
                                             .credit_set = 2,
                                             .outcome_count = 5,
                                             .outcomes = buf_slice(&bytes)};
        command_put_node_report(&out, &report);
        break;
    }
    case COMMAND_NODE_LOST:
        command_put_node_lost(&out, &(struct command_node_lost){9, LOST_LEFT});
        break;
    case COMMAND_NODE_SET:
        command_put_node_set(&out, &(struct command_node_set){SLICE("n1"), true, false, true, true});
        break;
    case COMMAND_HISTORY_DONE:
        command_put_history_done(&out, &(struct command_history_done){42});
        break;
    case COMMAND_DROP:
        command_put_drop(&out, &(struct command_drop){DROP_QUEUE, SLICE("q")});
        break;
    case COMMAND_COLLECT:
        command_put_collect(&out, &(struct command_collect){60000, 7, 8});
        break;
    case COMMAND_TYPE_END:
        fail();
    }
    buf_free(&bytes);
}

static void test_the_others(void **state)
{
    (void)state;
    put_each(COMMAND_CONFIGURE);
    struct command command = decode();
    assert_int_equal(command.as.configure.tasks_max, 5);
    assert_int_equal(command.as.configure.payload_size_max, 6);
    assert_int_equal(command.as.configure.finished_keep_ms, 7);
    assert_true(slice_equal(command.as.configure.secret, SLICE("0123456789abcdef0123456789abcdef")));
    buf_reset(&out);
    put_each(COMMAND_RETRY);
    command = decode();
    assert_int_equal(command.type, COMMAND_RETRY);
    assert_int_equal(command.as.task.task_id, 99);
    assert_true(slice_equal_str(command.as.task.reason, "because"));
    buf_reset(&out);
    put_each(COMMAND_QUEUE_SET);
    command = decode();
    assert_true(slice_equal_str(command.as.queue_set.name, "q"));
    assert_true(command.as.queue_set.has_paused && !command.as.queue_set.paused && command.as.queue_set.must_exist);
    assert_true(command.as.queue_set.by.id == 5 && command.as.queue_set.by.is_operator);
    buf_reset(&out);
    put_each(COMMAND_KIND_SET);
    command = decode();
    assert_true(slice_equal_str(command.as.kind_set.name, "code.run"));
    buf_reset(&out);
    put_each(COMMAND_NODE_LOST);
    command = decode();
    assert_int_equal(command.as.node_lost.session, 9);
    assert_int_equal(command.as.node_lost.reason, LOST_LEFT);
    buf_reset(&out);
    put_each(COMMAND_NODE_SET);
    command = decode();
    assert_true(command.as.node_set.has_drain && !command.as.node_set.drain);
    assert_true(command.as.node_set.has_quiet && command.as.node_set.quiet);
    buf_reset(&out);
    put_each(COMMAND_HISTORY_DONE);
    command = decode();
    assert_int_equal(command.as.history_done.seq, 42);
    buf_reset(&out);
    put_each(COMMAND_DROP);
    command = decode();
    assert_int_equal(command.as.drop.what, DROP_QUEUE);
    assert_true(slice_equal_str(command.as.drop.name, "q"));
    buf_reset(&out);
    put_each(COMMAND_COLLECT);
    command = decode();
    assert_int_equal(command.as.collect.gone_ms, 60000);
    assert_int_equal(command.as.collect.kinds_keep, 7);
    assert_int_equal(command.as.collect.queues_keep, 8);
}

static void test_hello(void **state)
{
    (void)state;
    put_each(COMMAND_NODE_HELLO);
    struct command command = decode();
    const struct command_node_hello *hello = &command.as.node_hello;
    assert_true(slice_equal_str(hello->node, "n1"));
    assert_int_equal(hello->instance, 5);
    assert_true(hello->is_worker);
    assert_int_equal(hello->kind_count, 2);
    assert_true(slice_equal_str(hello->kinds[1], "b"));
    struct requirement facts = full_submit().requirement;
    assert_same_requirement(&hello->facts, &facts);
    assert_true(slice_equal_str(hello->info, "{\"v\":1}"));
    assert_int_equal(hello->credit, 16);
    assert_true(hello->owner == 0xfeed && hello->start == 99);
    assert_int_equal(hello->held_count, 2);
    assert_int_equal(command_held_at(hello, 0).task_id, 0x1234567890);
    assert_int_equal(command_held_at(hello, 0).attempt, 3);
    assert_int_equal(command_held_at(hello, 0).seq, 77);
    assert_int_equal(command_held_at(hello, 1).seq, 3);
}

static void test_report(void **state)
{
    (void)state;
    put_each(COMMAND_NODE_REPORT);
    struct command command = decode();
    const struct command_node_report *report = &command.as.node_report;
    assert_int_equal(report->session, 9);
    assert_int_equal(report->credit_add, 1);
    assert_true(report->has_credit);
    assert_int_equal(report->credit_set, 2);
    struct reader reader = reader_of(report->outcomes);
    struct outcome outcome;
    for (int i = OUTCOME_COMPLETE; i <= OUTCOME_RELEASE; i++) {
        assert_true(outcome_next(&reader, &outcome));
        assert_int_equal(outcome.type, i);
        assert_int_equal(outcome.token.seq, 77);
        bool has_payload = i == OUTCOME_COMPLETE || i == OUTCOME_FAIL || i == OUTCOME_PROGRESS;
        assert_int_equal(outcome.payload.len, has_payload ? 2 : 0);
        assert_int_equal(outcome.lease_ms, i == OUTCOME_EXTEND || i == OUTCOME_PROGRESS ? 5000 : 0);
        assert_int_equal(outcome.is_final, i == OUTCOME_FAIL);
    }
    assert_false(outcome_next(&reader, &outcome));
    assert_false(reader.failed);
}

/* The bytes in an allocation of exactly their size, so that the sanitizer sees a read past them. */
static enum status decode_copy(struct slice bytes)
{
    char *copy = malloc(bytes.len > 0 ? bytes.len : 1);
    assert_non_null(copy);
    if (bytes.len > 0) {
        memcpy(copy, bytes.data, bytes.len);
    }
    struct reader reader = reader_of(slice_of(copy, bytes.len));
    static struct command command;
    enum status status = command_get(&reader, &command);
    if (status == STATUS_OK && command.type == COMMAND_SUBMIT) {
        assert_true(command.as.submit.priority <= LIMIT_PRIORITY_MAX);
        assert_in_range(command.as.submit.weight, 1, LIMIT_WEIGHT_MAX);
        assert_in_range(command.as.submit.queue.len, 1, LIMIT_NAME_SIZE);
        assert_true(command.as.submit.requirement.label_count <= LIMIT_LABELS);
    }
    free(copy);
    return status;
}

static void test_every_truncation_is_refused(void **state)
{
    (void)state;
    for (int type = COMMAND_TICK; type < COMMAND_TYPE_END; type++) {
        buf_reset(&out);
        put_each((enum command_type)type);
        assert_int_equal(decode_copy(buf_slice(&out)), STATUS_OK);
        for (size_t len = 0; len < out.len; len++) {
            assert_int_equal(decode_copy(slice_of(out.data, len)), STATUS_CORRUPT);
        }
        /* a body that is longer than its fields */
        buf_append_char(&out, 'x');
        buf_put_u32(&out, 1, (uint32_t)(out.len - 5));
        assert_int_equal(decode_copy(buf_slice(&out)), STATUS_CORRUPT);
    }
}

static void test_changed_bytes_never_harm(void **state)
{
    (void)state;
    struct rng rng;
    rng_seed(&rng, 3);
    uint32_t refused = 0;
    for (int type = COMMAND_TICK; type < COMMAND_TYPE_END; type++) {
        buf_reset(&out);
        put_each((enum command_type)type);
        for (uint32_t i = 0; i < 20000; i++) {
            struct buf changed;
            buf_init(&changed, 8u << 20);
            buf_append_slice(&changed, buf_slice(&out));
            for (uint64_t flips = 1 + rng_below(&rng, 4); flips > 0; flips--) {
                changed.data[rng_below(&rng, changed.len)] = (char)rng_u64(&rng);
            }
            refused += decode_copy(buf_slice(&changed)) == STATUS_CORRUPT;
            buf_free(&changed);
        }
    }
    assert_true(refused > 20000);
}

static void test_values_outside_of_limits_are_refused(void **state)
{
    (void)state;
    struct command_submit submit = {
        .queue = SLICE("q"), .kind = SLICE("k"), .input = SLICE("1"), .priority = 5, .weight = 2};
    retry_policy_default(&submit.retry);
    command_put_submit(&out, &submit);
    out.data[5 + 2] = 10; /* priority, after the header and the mask */
    assert_int_equal(decode_copy(buf_slice(&out)), STATUS_CORRUPT);
    out.data[5 + 2] = 9;
    assert_int_equal(decode_copy(buf_slice(&out)), STATUS_OK);
    out.data[out.len - 2] = 0; /* weight 0 */
    assert_int_equal(decode_copy(buf_slice(&out)), STATUS_CORRUPT);
    out.data[out.len - 2] = (char)0xE9; /* weight 1001 */
    out.data[out.len - 1] = 3;
    assert_int_equal(decode_copy(buf_slice(&out)), STATUS_CORRUPT);
    buf_reset(&out);
    buf_append_u8(&out, COMMAND_TYPE_END);
    buf_append_u32(&out, 0);
    assert_int_equal(decode_copy(buf_slice(&out)), STATUS_TOO_NEW);
    buf_reset(&out); /* a name that is too long */
    buf_append_u8(&out, COMMAND_KIND_SET);
    buf_append_u32(&out, 4 + LIMIT_NAME_SIZE + 1);
    buf_append_u32(&out, LIMIT_NAME_SIZE + 1);
    buf_append_zeros(&out, LIMIT_NAME_SIZE + 1);
    assert_int_equal(decode_copy(buf_slice(&out)), STATUS_CORRUPT);
}

static void test_a_full_buffer_is_left_as_it_was(void **state)
{
    (void)state;
    buf_free(&out);
    buf_init(&out, 100);
    command_put_tick(&out);
    size_t len = out.len;
    struct command_submit submit = full_submit();
    command_put_submit(&out, &submit);
    assert_int_equal(buf_status(&out), STATUS_TOO_LARGE);
    assert_int_equal(out.len, len);
}

static void test_entry_head(void **state)
{
    (void)state;
    struct entry_head head = {1, 2, 3}, got;
    entry_head_put(&out, &head);
    assert_int_equal(out.len, ENTRY_HEAD_SIZE);
    buf_put_u32(&out, 16, 4);
    struct reader reader = reader_of(buf_slice(&out));
    assert_int_equal(entry_head_get(&reader, &got), STATUS_OK);
    assert_int_equal(got.origin, 1);
    assert_int_equal(got.batch, 2);
    assert_int_equal(got.count, 4);
    assert_int_equal(got.level, ENTRY_LEVEL);
    reader = reader_of(slice_of(out.data, ENTRY_HEAD_SIZE - 1));
    assert_int_equal(entry_head_get(&reader, &got), STATUS_CORRUPT);
}

/* What a newer build writes is named; what the first build wrote is read. */
static void test_entries_of_other_builds(void **state)
{
    (void)state;
    struct entry_head head = {1, ENTRY_BATCH_MAX, 2}, got;
    char why[ENTRY_WHY_SIZE];
    entry_head_put(&out, &head);
    command_put_tick(&out);
    size_t second = out.len;
    command_put_tick(&out);
    assert_int_equal(entry_check(buf_slice(&out), &got), STATUS_OK);
    assert_true(got.batch == ENTRY_BATCH_MAX);
    entry_explain(buf_slice(&out), why);
    assert_string_equal(why, "");

    out.data[15] = ENTRY_LEVEL_FIRST;
    assert_int_equal(entry_check(buf_slice(&out), &got), STATUS_OK);
    assert_int_equal(got.level, ENTRY_LEVEL_FIRST);
    out.data[15] = (char)(ENTRY_LEVEL + 1);
    assert_int_equal(entry_check(buf_slice(&out), &got), STATUS_TOO_NEW);
    entry_explain(buf_slice(&out), why);
    assert_non_null(strstr(why, "feature level"));
    out.data[15] = (char)ENTRY_LEVEL;

    out.data[second] = COMMAND_TYPE_END;
    assert_int_equal(entry_check(buf_slice(&out), &got), STATUS_TOO_NEW);
    entry_explain(buf_slice(&out), why);
    assert_non_null(strstr(why, "its command 2 of 2 has type"));
    out.data[second] = 0;
    assert_int_equal(entry_check(buf_slice(&out), &got), STATUS_CORRUPT);
    out.data[second] = COMMAND_TICK;
    buf_append_u8(&out, 0);
    assert_int_equal(entry_check(buf_slice(&out), &got), STATUS_CORRUPT);
    entry_explain(buf_slice(&out), why);
    assert_string_equal(why, "");
}

static void test_token_text(void **state)
{
    (void)state;
    static const struct lease_token tokens[] = {{0, 0, 0}, {1, 2, 3}, {UINT64_MAX, UINT32_MAX, UINT64_MAX}};
    char text[LEASE_TOKEN_TEXT_SIZE];
    struct lease_token got;
    for (size_t i = 0; i < 3; i++) {
        lease_token_format(&tokens[i], text);
        assert_true(lease_token_parse(slice_str(text), &got));
        assert_int_equal(got.task_id, tokens[i].task_id);
        assert_int_equal(got.attempt, tokens[i].attempt);
        assert_int_equal(got.seq, tokens[i].seq);
    }
    lease_token_format(&tokens[1], text);
    assert_string_equal(text, "0000000000001.2.3");
    static const struct seal_key key = {{1, 2}}, other_key = {{1, 3}};
    for (size_t i = 0; i < 3; i++) {
        struct lease_token token = tokens[i];
        assert_false(lease_token_is_sealed(&key, &token));
        lease_token_seal(&key, &token);
        lease_token_format(&token, text);
        assert_true(lease_token_parse(slice_str(text), &got));
        assert_true(lease_token_equal(&got, &tokens[i]) && lease_token_is_sealed(&key, &got));
        assert_false(lease_token_is_sealed(&other_key, &got));
        got.attempt++;
        assert_false(lease_token_is_sealed(&key, &got));
        char name[LEASE_TOKEN_TEXT_SIZE];
        lease_token_name(&token, name);
        assert_int_equal(strlen(name) + 1 + SEAL_DIGITS, strlen(text));
        assert_memory_equal(name, text, strlen(name));
    }
    static const char *const wrong[] = {"",
                                        "0000000000001",
                                        "0000000000001.",
                                        "0000000000001.2",
                                        "0000000000001.2.",
                                        "0000000000001..3",
                                        "0000000000001.2.3.4",
                                        "0000000000001.02.3",
                                        "0000000000001.-2.3",
                                        "0000000000001.4294967296.3",
                                        "u000000000001.2.3",
                                        "0000000000001.2.18446744073709551616",
                                        "0000000000001.2.3 ",
                                        "0000000000001.2.3.00000000000000000000000000",
                                        "0000000000001.2.3.0000000000000000000000001",
                                        "0000000000001.2.3.000000000000000000000000A1",
                                        "0000000000001.2.3..0000000000000000000000001",
                                        "0000000000001.00000000000000000000000001"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        assert_false(lease_token_parse(slice_str(wrong[i]), &got));
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_submit_full),
        TEST(test_submit_plain_is_small),
        TEST(test_the_others),
        TEST(test_hello),
        TEST(test_report),
        TEST(test_every_truncation_is_refused),
        TEST(test_changed_bytes_never_harm),
        TEST(test_values_outside_of_limits_are_refused),
        TEST(test_a_full_buffer_is_left_as_it_was),
        TEST(test_entry_head),
        TEST(test_entries_of_other_builds),
        TEST(test_token_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
