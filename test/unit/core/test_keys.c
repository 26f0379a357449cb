/* Unique keys and idempotency keys. */
#include "fixture_each.h"

static bool append(void *ctx, const void *data, size_t len)
{
    buf_append(ctx, data, len);
    return buf_status(ctx) == STATUS_OK;
}

static struct command_submit unique(enum unique_mode mode, const char *key)
{
    struct command_submit submit = submit_default();
    submit.unique_mode = mode;
    submit.unique_key = slice_str(key);
    submit.unique_ms = 1000;
    return submit;
}

static struct command_submit keyed(const char *key, uint64_t body_hash)
{
    struct command_submit submit = submit_default();
    submit.idempotency_key = slice_str(key);
    submit.body_hash = body_hash;
    return submit;
}

static void assert_duplicate_of(uint64_t id, struct command_submit submit, enum task_state state)
{
    assert_int_equal(fixture_try_submit(&f, submit), STATUS_OK);
    assert_true(f.reply.is_duplicate);
    assert_int_equal(f.reply.task_id, id);
    assert_int_equal(f.reply.state, state);
}

static uint64_t assert_new(struct command_submit submit)
{
    uint64_t id = fixture_submit(&f, submit);
    assert_false(f.reply.is_duplicate);
    return id;
}

static void test_unique_while_queued(void **state)
{
    (void)state;
    uint64_t a = assert_new(unique(UNIQUE_QUEUED, "x"));
    assert_duplicate_of(a, unique(UNIQUE_QUEUED, "x"), TASK_READY);
    assert_new(unique(UNIQUE_QUEUED, "y"));
    fixture_queue(&f, "other", -1);
    struct command_submit elsewhere = unique(UNIQUE_QUEUED, "x");
    elsewhere.queue = SLICE("other");
    assert_new(elsewhere); /* keys are of their queue */
    uint64_t session = fixture_node(&f, "n", 1);
    struct lease_token token = fixture_lease(&f);
    assert_int_equal(token.task_id, a);
    uint64_t b = assert_new(unique(UNIQUE_QUEUED, "x"));                   /* a is leased */
    assert_int_equal(fixture_fail(&f, session, token, "code"), STATUS_OK); /* a would wait again: b does its work */
    assert_int_equal(fixture_state(&f, a), TASK_CANCELLED);
    assert_true(slice_equal_str(fixture_view(&f, a).error_kind, "superseded"));
    assert_int_equal(fixture_task(&f, COMMAND_RETRY, a), STATUS_CONFLICT);
    assert_duplicate_of(b, unique(UNIQUE_QUEUED, "x"), TASK_READY);
    fixture_task(&f, COMMAND_CANCEL, b);
    assert_new(unique(UNIQUE_QUEUED, "x"));
}

static void reload(void)
{
    struct buf saved;
    buf_init(&saved, 1 << 20);
    assert_int_equal(core_save(f.core, append, &saved), STATUS_OK);
    core_free(f.core);
    assert_int_equal(core_load(buf_slice(&saved), &f.core), STATUS_OK);
    buf_free(&saved);
}

/* A submit in an entry as the first format has them. */
static void submit_of_before(struct command_submit submit)
{
    command_put_submit(fixture_batch(&f), &submit);
    f.body.data[15] = ENTRY_LEVEL_FIRST; /* the top byte of the batch */
    fixture_apply(&f);
    assert_int_equal(f.reply.status, STATUS_OK);
}

/* A key is one of its kind: another kind of the queue has its own. */
static void test_a_key_is_of_its_kind(void **state)
{
    (void)state;
    static const enum unique_mode modes[] = {UNIQUE_QUEUED, UNIQUE_UNFINISHED, UNIQUE_FOR_TIME};
    static const char *const keys[] = {"q", "u", "t"};
    fixture_kind(&f, "test.other");
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        uint64_t a = assert_new(unique(modes[i], keys[i]));
        struct command_submit other = unique(modes[i], keys[i]);
        other.kind = SLICE("test.other");
        uint64_t b = assert_new(other);
        assert_duplicate_of(a, unique(modes[i], keys[i]), TASK_READY);
        assert_duplicate_of(b, other, TASK_READY);
        fixture_task(&f, COMMAND_CANCEL, b);
        assert_duplicate_of(a, unique(modes[i], keys[i]), TASK_READY);
    }
    reload();
    assert_true(fixture_try_submit(&f, unique(UNIQUE_UNFINISHED, "u")) == STATUS_OK && f.reply.is_duplicate);
}

/* A key that an entry of the first level took is held for every kind, until it ends. */
static void test_old_keys_are_of_any_kind(void **state)
{
    (void)state;
    fixture_kind(&f, "test.other");
    submit_of_before(unique(UNIQUE_UNFINISHED, "x"));
    uint64_t a = f.reply.task_id;
    struct command_submit other = unique(UNIQUE_UNFINISHED, "x");
    other.kind = SLICE("test.other");
    submit_of_before(other);
    assert_true(f.reply.is_duplicate && f.reply.task_id == a); /* as it was */
    assert_duplicate_of(a, other, TASK_READY);
    reload();
    assert_duplicate_of(a, other, TASK_READY);
    fixture_task(&f, COMMAND_CANCEL, a);
    uint64_t b = assert_new(other);
    assert_new(unique(UNIQUE_UNFINISHED, "x"));
    assert_duplicate_of(b, other, TASK_READY);
}

static void evict_all(void)
{
    f.time_ns += INT64_C(120000) * 1000000;
    fixture_history(&f, core_seq(f.core));
    f.time_ns += INT64_C(120000) * 1000000;
    fixture_tick(&f);
}

static struct command_submit another_try(uint64_t id, struct command_submit submit)
{
    static char key[RETRY_KEY_SIZE];
    submit.retry_of = id;
    submit.unique_ms = 0;
    submit.idempotency_key = core_retry_key(id, key);
    return submit;
}

/* A task that only history has is tried again once, whenever and however often that is asked for, and keeps its key. */
static void test_another_try_of_history(void **state)
{
    (void)state;
    struct command_submit submit = unique(UNIQUE_FOR_TIME, "x");
    submit.unique_ms = INT64_C(4) * 24 * 3600 * 1000;
    submit.ttl_ms = 1000000000;
    uint64_t a = assert_new(submit);
    fixture_task(&f, COMMAND_CANCEL, a);
    evict_all();
    struct task_view view;
    assert_int_equal(core_task_get(f.core, a, &view), STATUS_NOT_FOUND);
    uint64_t b = assert_new(another_try(a, submit));
    assert_true(fixture_view(&f, b).retry_of == a && fixture_view(&f, b).unique_mode == UNIQUE_FOR_TIME);
    assert_int_equal(core_retried_as(f.core, a), b);
    assert_duplicate_of(b, unique(UNIQUE_FOR_TIME, "x"), TASK_READY); /* the key is its now */
    for (int day = 0; day < 3; day++) {
        f.time_ns += INT64_C(25) * 3600 * 1000 * 1000000;
        fixture_tick(&f);
        reload();
        assert_duplicate_of(b, another_try(a, submit), TASK_READY);
    }
    fixture_task(&f, COMMAND_CANCEL, b);
    const struct effect *finished = fixture_effect(&f, EFFECT_FINISHED, 0);
    assert_non_null(finished);
    assert_true(finished->as.finished.retry_of == a); /* so that history knows the two */
    evict_all();
    f.time_ns += INT64_C(25) * 3600 * 1000 * 1000000;
    fixture_tick(&f);
    assert_int_equal(core_retried_as(f.core, a), 0);
}

/* Another task has the key by now: that is no answer to who wants this one, but in its way. */
static void test_another_try_while_the_key_is_taken(void **state)
{
    (void)state;
    uint64_t a = assert_new(unique(UNIQUE_UNFINISHED, "x"));
    fixture_task(&f, COMMAND_CANCEL, a);
    uint64_t b = assert_new(unique(UNIQUE_UNFINISHED, "x"));
    assert_int_equal(fixture_task(&f, COMMAND_RETRY, a), STATUS_CONFLICT);
    assert_int_equal(f.reply.task_id, b);
    evict_all();
    assert_int_equal(fixture_try_submit(&f, another_try(a, unique(UNIQUE_UNFINISHED, "x"))), STATUS_CONFLICT);
    assert_int_equal(f.reply.task_id, b);
    fixture_task(&f, COMMAND_CANCEL, b);
    assert_new(another_try(a, unique(UNIQUE_UNFINISHED, "x")));
}

/* However often attempts fail, are lost or come back: at most one task of a key waits (U1). */
static void test_a_key_waits_once(void **state)
{
    (void)state;
    struct command_submit submit = unique(UNIQUE_QUEUED, "x");
    submit.retry.base_ms = 0;
    uint64_t session = fixture_node(&f, "n", 1);
    uint64_t first = assert_new(submit);
    for (int i = 0; i < 5; i++) {
        struct lease_token token = fixture_lease(&f);
        uint64_t next = assert_new(submit);
        const struct outcome release = {.type = OUTCOME_RELEASE, .token = token};
        const struct outcome fail = {.type = OUTCOME_FAIL, .token = token, .error_kind = SLICE("code")};
        assert_int_equal(fixture_report(&f, session, i % 2 == 0 ? &fail : &release), STATUS_OK);
        assert_int_equal(fixture_state(&f, token.task_id), TASK_CANCELLED);
        fixture_credit(&f, session, 1);
        assert_int_equal(fixture_state(&f, next), TASK_LEASED);
    }
    uint64_t last = assert_new(submit);
    assert_int_equal(fixture_lost(&f, session), STATUS_OK);
    struct queue_view queue;
    assert_true(core_queue_find(f.core, SLICE("default"), &queue));
    assert_int_equal(queue.counts[TASK_READY] + queue.counts[TASK_SCHEDULED], 1);
    assert_int_equal(queue.counts[TASK_CANCELLED], 6);
    assert_int_equal(fixture_state(&f, last), TASK_READY);
    assert_int_equal(fixture_state(&f, first), TASK_CANCELLED);
}

/* Entries of builds from before there was this rule give the state that was told of then, and it goes on under the rule. */
static void test_old_entries_share_a_key(void **state)
{
    (void)state;
    struct command_submit submit = unique(UNIQUE_QUEUED, "x");
    uint64_t session = fixture_node(&f, "n", 1);
    uint64_t a = assert_new(submit);
    struct lease_token token = fixture_lease(&f);
    uint64_t b = assert_new(submit);
    const struct outcome fail = {.type = OUTCOME_FAIL, .token = token, .error_kind = SLICE("code")};
    struct buf outcomes;
    buf_init(&outcomes, 4096);
    outcome_put(&outcomes, &fail);
    command_put_node_report(
        fixture_batch(&f),
        &(struct command_node_report){.session = session, .outcome_count = 1, .outcomes = buf_slice(&outcomes)});
    buf_free(&outcomes);
    f.body.data[15] = ENTRY_LEVEL_FIRST; /* the top byte of the batch */
    fixture_apply(&f);
    assert_int_equal(fixture_state(&f, a), TASK_SCHEDULED);
    assert_int_equal(fixture_state(&f, b), TASK_READY);
    reload();
    fixture_at_ms(&f, 5000);
    fixture_tick(&f); /* a is ready as well, without the key */
    assert_int_equal(fixture_state(&f, a), TASK_READY);
    assert_duplicate_of(b, submit, TASK_READY);
}

static void test_a_key_comes_back_when_it_is_free(void **state)
{
    (void)state;
    uint64_t session = fixture_node(&f, "n", 1);
    uint64_t a = assert_new(unique(UNIQUE_QUEUED, "x"));
    assert_int_equal(fixture_fail(&f, session, fixture_lease(&f), "code"), STATUS_OK);
    assert_duplicate_of(a, unique(UNIQUE_QUEUED, "x"), TASK_SCHEDULED);
}

static void test_unique_while_unfinished(void **state)
{
    (void)state;
    uint64_t session = fixture_node(&f, "n", 1);
    uint64_t a = assert_new(unique(UNIQUE_UNFINISHED, "x"));
    struct lease_token token = fixture_lease(&f);
    assert_duplicate_of(a, unique(UNIQUE_UNFINISHED, "x"), TASK_LEASED);
    assert_int_equal(fixture_complete(&f, session, token), STATUS_OK);
    uint64_t b = assert_new(unique(UNIQUE_UNFINISHED, "x"));
    fixture_task(&f, COMMAND_CANCEL, b);
    uint64_t c = assert_new(unique(UNIQUE_UNFINISHED, "x"));
    assert_int_equal(fixture_task(&f, COMMAND_RETRY, b), STATUS_CONFLICT); /* c has the key now */
    fixture_task(&f, COMMAND_CANCEL, c);
    assert_int_equal(fixture_task(&f, COMMAND_RETRY, b), STATUS_OK);
    assert_duplicate_of(b, unique(UNIQUE_UNFINISHED, "x"), TASK_READY);
}

static void test_unique_for_a_time(void **state)
{
    (void)state;
    fixture_configure(&f, (struct command_configure){.finished_keep_ms = 1});
    uint64_t a = assert_new(unique(UNIQUE_FOR_TIME, "x"));
    fixture_task(&f, COMMAND_CANCEL, a);
    assert_duplicate_of(a, unique(UNIQUE_FOR_TIME, "x"), TASK_CANCELLED);
    fixture_history(&f, core_seq(f.core));
    fixture_at_ms(&f, 1500);
    fixture_tick(&f);
    struct task_brief brief;
    assert_int_equal(core_task_brief(f.core, a, &brief), STATUS_NOT_FOUND);
    assert_duplicate_of(a, unique(UNIQUE_FOR_TIME, "x"), TASK_CANCELLED); /* after it left memory, too */
    fixture_at_ms(&f, 2000);
    uint64_t b = assert_new(unique(UNIQUE_FOR_TIME, "x"));
    fixture_at_ms(&f, 3000);
    fixture_tick(&f);
    assert_int_equal(fixture_state(&f, b), TASK_READY);
    assert_new(unique(UNIQUE_FOR_TIME, "x"));
}

static void test_same_key_same_body_is_one_task(void **state)
{
    (void)state;
    uint64_t a = assert_new(keyed("key", 1));
    assert_duplicate_of(a, keyed("key", 1), TASK_READY);
    assert_int_equal(fixture_try_submit(&f, keyed("key", 2)), STATUS_IDEMPOTENCY_MISMATCH);
    assert_new(keyed("other", 1));
    struct core_stats stats;
    core_stats(f.core, &stats);
    assert_int_equal(stats.idempotency_keys, 2);
    assert_int_equal(stats.duplicates, 1);
    assert_int_equal(stats.accepted, 2);
}

static void test_key_outlives_its_task_and_then_ends(void **state)
{
    (void)state;
    fixture_configure(&f, (struct command_configure){.finished_keep_ms = 1});
    uint64_t a = assert_new(keyed("key", 1));
    fixture_task(&f, COMMAND_CANCEL, a);
    fixture_history(&f, core_seq(f.core));
    fixture_at_ms(&f, 2000);
    fixture_tick(&f);
    assert_duplicate_of(a, keyed("key", 1), TASK_CANCELLED);
    assert_int_equal(fixture_try_submit(&f, keyed("key", 2)), STATUS_IDEMPOTENCY_MISMATCH);
    fixture_at_ms(&f, 1000 + LIMIT_IDEMPOTENCY_MS);
    assert_new(keyed("key", 2));
}

static void test_refused_submit_leaves_its_key_free(void **state)
{
    (void)state;
    struct command_submit submit = keyed("key", 1);
    submit.kind = SLICE("nobody");
    assert_int_equal(fixture_try_submit(&f, submit), STATUS_KIND_UNKNOWN);
    assert_new(keyed("key", 2));
}

static void test_key_of_a_unique_duplicate(void **state)
{
    (void)state;
    struct command_submit first = unique(UNIQUE_UNFINISHED, "x");
    uint64_t a = assert_new(first);
    struct command_submit second = first;
    second.idempotency_key = SLICE("key");
    assert_duplicate_of(a, second, TASK_READY);
    fixture_task(&f, COMMAND_CANCEL, a);
    assert_duplicate_of(a, second, TASK_CANCELLED); /* the answer stays, although the unique key is free */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_unique_while_queued),
        TEST(test_another_try_of_history),
        TEST(test_another_try_while_the_key_is_taken),
        TEST(test_a_key_is_of_its_kind),
        TEST(test_old_keys_are_of_any_kind),
        TEST(test_a_key_waits_once),
        TEST(test_old_entries_share_a_key),
        TEST(test_a_key_comes_back_when_it_is_free),
        TEST(test_unique_while_unfinished),
        TEST(test_unique_for_a_time),
        TEST(test_same_key_same_body_is_one_task),
        TEST(test_key_outlives_its_task_and_then_ends),
        TEST(test_refused_submit_leaves_its_key_free),
        TEST(test_key_of_a_unique_duplicate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
