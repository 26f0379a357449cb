/* What fills up: shares, the reserve, what needs no room, deletion, collection; and old commands by the limits of then. */
#include <stdio.h>

#include "fixture_each.h"

#define ALICE ((struct command_caller){.id = 100})
#define BOB ((struct command_caller){.id = 200})
#define OPERATOR ((struct command_caller){.id = 300, .is_operator = true})

static struct table_view table(enum core_table which)
{
    struct table_view view;
    core_table(f.core, which, &view);
    return view;
}

static enum status add_queue(const char *name, struct command_caller by)
{
    command_put_queue_set(fixture_batch(&f), &(struct command_queue_set){.name = slice_str(name), .by = by});
    fixture_apply(&f);
    return f.reply.status;
}

static enum status add_kind(const char *name, struct command_caller by)
{
    command_put_kind_set(fixture_batch(&f), &(struct command_kind_set){.name = slice_str(name), .by = by});
    fixture_apply(&f);
    return f.reply.status;
}

static enum status drop(enum drop_what what, const char *name)
{
    command_put_drop(fixture_batch(&f), &(struct command_drop){what, slice_str(name)});
    fixture_apply(&f);
    return f.reply.status;
}

static uint32_t collect(int64_t gone_ms, uint32_t kinds_keep, uint32_t queues_keep)
{
    command_put_collect(fixture_batch(&f), &(struct command_collect){gone_ms, kinds_keep, queues_keep});
    fixture_apply(&f);
    assert_int_equal(f.reply.status, STATUS_OK);
    return f.reply.count;
}

/* How many of a thing a caller can make before it is refused. */
static uint32_t fill(enum status (*add)(const char *, struct command_caller), const char *prefix,
                     struct command_caller by)
{
    char name[32];
    uint32_t count = 0;
    f.is_unchecked = true;
    for (;; count++) {
        snprintf(name, sizeof(name), "%s-%u", prefix, count);
        if (add(name, by) != STATUS_OK) {
            return count;
        }
    }
}

static void test_queues_have_shares_and_a_reserve(void **state)
{
    (void)state;
    assert_int_equal(fill(add_queue, "alice", ALICE), LIMIT_QUEUES / 2);
    assert_int_equal(f.reply.status, STATUS_TABLE_SHARE);
    assert_int_equal(f.reply.count, TABLE_QUEUES);
    assert_int_equal(fill(add_queue, "bob", BOB), LIMIT_QUEUES / 10 * 4 - 1); /* default is one too */
    assert_int_equal(f.reply.status, STATUS_TABLE_FULL);
    assert_int_equal(add_queue("alice-7", ALICE), STATUS_OK); /* it exists */
    assert_int_equal(fill(add_queue, "operator", OPERATOR), LIMIT_QUEUES / 10);
    assert_int_equal(table(TABLE_QUEUES).used, LIMIT_QUEUES);
    assert_int_equal(core_caller_used(f.core, 100, TABLE_QUEUES), LIMIT_QUEUES / 2);
    assert_null(core_check(f.core));
    /* Deletion gives room and share back. */
    assert_int_equal(drop(DROP_QUEUE, "alice-7"), STATUS_OK);
    assert_int_equal(drop(DROP_QUEUE, "alice-7"), STATUS_NOT_FOUND);
    assert_int_equal(core_caller_used(f.core, 100, TABLE_QUEUES), LIMIT_QUEUES / 2 - 1);
    assert_int_equal(add_queue("again", ALICE), STATUS_TABLE_FULL);
    /* Collection makes room: never used, the newest first. */
    assert_int_equal(collect(LIMIT_GONE_KEEP_MS, LIMIT_KINDS, LIMIT_QUEUES / 2), LIMIT_QUEUES / 2 - 1);
    assert_int_equal(add_queue("again", ALICE), STATUS_OK);
    assert_null(core_check(f.core));
}

static void test_a_queue_in_use_stays(void **state)
{
    (void)state;
    assert_int_equal(add_queue("used", ALICE), STATUS_OK);
    struct command_submit submit = submit_default();
    submit.queue = SLICE("used");
    uint64_t id = fixture_submit(&f, submit);
    assert_int_equal(drop(DROP_QUEUE, "used"), STATUS_CONFLICT);
    assert_int_equal(drop(DROP_QUEUE, "default"), STATUS_CONFLICT);
    assert_int_equal(drop(DROP_KIND, "k"), STATUS_CONFLICT);
    assert_int_equal(collect(0, 0, 0), 0);
    assert_int_equal(fixture_task(&f, COMMAND_CANCEL, id), STATUS_OK);
    fixture_history(&f, core_seq(f.core) + 1);
    fixture_at_ms(&f, f.time_ns / 1000000 + LIMIT_FINISHED_KEEP_MS + 1);
    fixture_tick(&f);
    assert_int_equal(collect(0, 5, 0), 0); /* it has a past: only a person deletes it */
    assert_int_equal(drop(DROP_QUEUE, "used"), STATUS_OK);
    assert_int_equal(fixture_try_submit(&f, submit), STATUS_QUEUE_UNKNOWN);
    assert_int_equal(drop(DROP_KIND, "k"), STATUS_OK);
    assert_int_equal(fixture_try_submit(&f, submit_default()), STATUS_KIND_UNKNOWN);
}

static void test_kinds_have_shares_and_are_collected(void **state)
{
    (void)state;
    assert_int_equal(fill(add_kind, "alice", ALICE), LIMIT_KINDS / 2);
    assert_int_equal(add_kind("bob", BOB), STATUS_OK);
    (void)fixture_submit(&f, submit_default()); /* k is in use */
    /* The newest go first; what one who made a few has made is not what fills a table. */
    assert_int_equal(collect(0, 2, LIMIT_QUEUES), LIMIT_KINDS / 2 - LIMIT_KINDS / 100);
    assert_true(core_kind_is_known(f.core, SLICE("k")));
    assert_true(core_kind_is_known(f.core, SLICE("alice-0")));
    assert_true(core_kind_is_known(f.core, SLICE("bob")));
    assert_int_equal(core_caller_used(f.core, 100, TABLE_KINDS), LIMIT_KINDS / 100);
    assert_int_equal(add_kind("alice-new", ALICE), STATUS_OK);
    struct slice name;
    assert_true(core_kind_at(f.core, LIMIT_KINDS / 100 + 2, &name));
    assert_true(slice_equal_str(name, "alice-new"));
    assert_false(core_kind_at(f.core, LIMIT_KINDS / 100 + 3, &name));
    assert_int_equal(drop(DROP_KIND, "alice-0"), STATUS_OK);
    assert_int_equal(drop(DROP_KIND, "alice-0"), STATUS_NOT_FOUND);
    assert_null(core_check(f.core));
}

/* A task of its own label set, delayed. */
static enum status submit_labels(const char *label, struct command_caller by)
{
    struct command_submit submit = submit_default();
    submit.requirement.labels[0] = slice_str(label);
    submit.requirement.label_count = 1;
    submit.run_at_ns = f.time_ns + INT64_C(1000000000000);
    submit.by = by;
    return fixture_try_submit(&f, submit);
}

static void test_label_sets_leave_plain_tasks_alone(void **state)
{
    (void)state;
    uint32_t share = LIMIT_SIGNATURES / 100 * LIMIT_TABLE_SHARE_PERCENT;
    assert_int_equal(fill(submit_labels, "alice", ALICE), share);
    assert_int_equal(f.reply.status, STATUS_TABLE_SHARE);
    assert_int_equal(f.reply.count, TABLE_REQUIREMENTS);
    assert_true(fill(submit_labels, "bob", BOB) > 1000);
    assert_int_equal(f.reply.status, STATUS_TABLE_FULL);
    assert_int_equal(submit_labels("alice-3", BOB), STATUS_OK); /* it exists */
    assert_true(fill(submit_labels, "operator", OPERATOR) > 300);
    assert_int_equal(table(TABLE_REQUIREMENTS).used, LIMIT_SIGNATURES);
    struct command_submit plain = submit_default();
    plain.by.id = CALLER_ANYBODY;
    assert_int_equal(fixture_try_submit(&f, plain), STATUS_OK);
    assert_int_equal(add_kind("new.kind", BOB), STATUS_OK);
    plain.kind = SLICE("new.kind");
    assert_int_equal(fixture_try_submit(&f, plain), STATUS_OK);
    plain.by.id = 0; /* a command of before, in a replay: by the limits of then */
    plain.kind = SLICE("k");
    assert_int_equal(fixture_try_submit(&f, plain), STATUS_OK);
    assert_null(core_check(f.core));
}

static enum status submit_policy(const char *error, struct command_caller by)
{
    struct command_submit submit = submit_default();
    submit.retry.not_retryable[0] = slice_str(error);
    submit.retry.not_retryable_count = 1;
    submit.run_at_ns = f.time_ns + INT64_C(1000000000000);
    submit.by = by;
    return fixture_try_submit(&f, submit);
}

static void test_policies_have_shares(void **state)
{
    (void)state;
    assert_int_equal(fill(submit_policy, "alice", ALICE), LIMIT_RETRY_POLICIES / 100 * LIMIT_TABLE_SHARE_PERCENT);
    assert_int_equal(f.reply.count, TABLE_RETRY_POLICIES);
    assert_int_equal(submit_policy("bob", BOB), STATUS_OK);
    assert_null(core_check(f.core));
}

static enum status hello_by(const char *name, struct command_caller by)
{
    struct command_node_hello hello = hello_default(name, 0);
    hello.by = by;
    command_put_node_hello(fixture_batch(&f), &hello);
    fixture_apply(&f);
    return f.reply.status;
}

static void test_sessions_have_shares(void **state)
{
    (void)state;
    assert_int_equal(fill(hello_by, "alice", ALICE), LIMIT_NODES / 100 * LIMIT_TABLE_SHARE_PERCENT);
    assert_int_equal(f.reply.status, STATUS_TABLE_SHARE);
    assert_int_equal(hello_by("alice-5", ALICE), STATUS_OK); /* it has a session */
    assert_int_equal(hello_by("bob", BOB), STATUS_OK);
    uint64_t bob = f.reply.session;
    assert_int_equal(hello_by("alice-9", BOB), STATUS_OK); /* now Bob's */
    assert_int_equal(core_caller_used(f.core, 200, TABLE_SESSIONS), 2);
    assert_int_equal(hello_by("alice-new", ALICE), STATUS_OK);
    assert_int_equal(drop(DROP_NODE, "bob"), STATUS_CONFLICT);
    assert_int_equal(fixture_lost(&f, bob), STATUS_OK);
    assert_int_equal(core_caller_used(f.core, 200, TABLE_SESSIONS), 1);
    assert_int_equal(drop(DROP_NODE, "bob"), STATUS_OK);
    assert_int_equal(drop(DROP_NODE, "bob"), STATUS_NOT_FOUND);
    assert_null(core_check(f.core));
}

static void test_workers_make_no_kinds_and_nodes_a_share(void **state)
{
    (void)state;
    struct command_node_hello hello = hello_default("w", 1);
    hello.is_worker = true;
    hello.kinds[0] = SLICE("unheard");
    hello.by = ALICE;
    (void)fixture_hello(&f, hello);
    assert_false(core_kind_is_known(f.core, SLICE("unheard")));
    hello.node = SLICE("n");
    hello.is_worker = false;
    (void)fixture_hello(&f, hello);
    assert_true(core_kind_is_known(f.core, SLICE("unheard")));
    assert_int_equal(core_caller_used(f.core, 100, TABLE_KINDS), 1);
    uint64_t id = 0;
    struct command_submit submit = submit_default();
    submit.kind = SLICE("unheard");
    id = fixture_submit(&f, submit); /* the worker's list has it already */
    assert_int_equal(fixture_state(&f, id), TASK_LEASED);
}

/* A directory that was filled before there were shares: every name of old polls is a kind, every queue taken. */
static void test_a_full_directory_of_before(void **state)
{
    (void)state;
    f.is_unchecked = true;
    char names[64][24];
    for (uint32_t i = 0; i < 800; i++) {
        char node[24];
        snprintf(node, sizeof(node), "poller-%u", i);
        struct command_node_hello hello = hello_default(node, 0);
        hello.is_worker = true;
        hello.kind_count = LIMIT_KINDS_PER_NODE;
        for (uint32_t k = 0; k < LIMIT_KINDS_PER_NODE; k++) {
            snprintf(names[k], sizeof(names[k]), "made.up-%u-%u", i, k);
            hello.kinds[k] = slice_str(names[k]);
        }
        uint64_t session = fixture_hello(&f, hello);
        assert_int_equal(fixture_lost(&f, session), STATUS_OK);
    }
    assert_int_equal(fill(add_queue, "old", (struct command_caller){0}), LIMIT_QUEUES - 1);
    assert_int_equal(f.reply.status, STATUS_BUSY);
    assert_true(table(TABLE_KINDS).used > 50000); /* far over today's limit */
    assert_int_equal(add_kind("bob", BOB), STATUS_TABLE_FULL);
    assert_int_equal(add_queue("bob", BOB), STATUS_TABLE_FULL);
    fixture_at_ms(&f, f.time_ns / 1000000 + LIMIT_GONE_KEEP_FULL_MS);
    uint32_t rounds = 0;
    while (collect(LIMIT_GONE_KEEP_FULL_MS, LIMIT_KINDS / 2, LIMIT_QUEUES / 2) > 0) {
        rounds++;
    }
    assert_true(rounds <= 7);
    assert_int_equal(table(TABLE_NODES).used, 0);
    assert_int_equal(table(TABLE_KINDS).used, LIMIT_KINDS / 2);
    assert_int_equal(table(TABLE_QUEUES).used, LIMIT_QUEUES / 2);
    assert_true(core_kind_is_known(f.core, SLICE("k")));
    assert_int_equal(add_kind("bob", BOB), STATUS_OK);
    assert_int_equal(add_queue("bob", BOB), STATUS_OK);
    assert_null(core_check(f.core));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_queues_have_shares_and_a_reserve),
        TEST(test_a_queue_in_use_stays),
        TEST(test_kinds_have_shares_and_are_collected),
        TEST(test_label_sets_leave_plain_tasks_alone),
        TEST(test_policies_have_shares),
        TEST(test_sessions_have_shares),
        TEST(test_workers_make_no_kinds_and_nodes_a_share),
        TEST(test_a_full_directory_of_before),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
