/* The journal with its real threads, disk and loop: order, durability and an end at any moment. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "../scratch.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/rng.h"
#include "hub/journal_thread.h"

struct fixture {
    char dir[64];
    struct disk *disk;
    struct loop loop;
    struct journal_thread *thread;
    struct journal *journal;
    struct rng rng;
    uv_idle_t idle;
    uint64_t entries; /* seen by on_entry */
    uint64_t durable; /* told by on_durable */
    uint64_t busy;
    uint64_t target;
    enum status failed;
};

static void on_entry(void *ctx, const struct journal_entry *entry)
{
    struct fixture *fixture = ctx;
    fixture->entries++;
    assert_int_equal(entry->seq, fixture->entries);
    uint64_t content;
    assert_true(entry->body.len >= sizeof(content));
    memcpy(&content, entry->body.data, sizeof(content));
    assert_int_equal(content, entry->seq);
}

static void on_durable(void *ctx, uint64_t seq)
{
    struct fixture *fixture = ctx;
    assert_true(seq >= fixture->durable && seq <= fixture->entries);
    fixture->durable = seq;
}

static void on_failed(void *ctx, enum status status, const char *why)
{
    struct fixture *fixture = ctx;
    (void)why;
    fixture->failed = status;
}

static enum status on_snapshot(void *ctx, uint64_t seq, struct slice state)
{
    (void)ctx;
    (void)seq;
    (void)state;
    fail_msg("there is no snapshot");
    return STATUS_OK;
}

static void open_journal(struct fixture *fixture, enum durability durability)
{
    assert_int_equal(loop_init(&fixture->loop), STATUS_OK);
    assert_int_equal(journal_thread_new(&fixture->loop, &fixture->thread), STATUS_OK);
    struct file_journal_config config = {.disk = fixture->disk,
                                         .segment_size = LIMIT_SEGMENT_SIZE_MIN * 4,
                                         .unsynced_size_max = 1u << 20,
                                         .durability = durability,
                                         .sync_interval_ms = 20,
                                         .salt = 42};
    struct file_journal_hooks hooks = journal_thread_hooks(fixture->thread);
    struct journal_callbacks callbacks = {
        .on_entry = on_entry, .on_durable = on_durable, .on_failed = on_failed, .ctx = fixture};
    struct file_journal_recovery recovery;
    fixture->entries = 0;
    fixture->durable = 0;
    enum status status = file_journal_open(&config, &hooks, &callbacks, on_snapshot, &recovery, &fixture->journal);
    if (status != STATUS_OK) {
        fail_msg("opening: %s %s", status_slug(status), recovery.detail);
    }
    fixture->durable = fixture->entries;
    assert_int_equal(journal_thread_start(fixture->thread, fixture->journal), STATUS_OK);
}

static void close_journal(struct fixture *fixture)
{
    journal_thread_stop(fixture->thread);
    fixture->journal->driver->close(fixture->journal);
    journal_thread_free(fixture->thread);
    loop_free(&fixture->loop);
}

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    (void)snprintf(fixture->dir, sizeof(fixture->dir), "/tmp/shoal-journal-XXXXXX");
    if (mkdtemp(fixture->dir) == NULL || disk_posix_open(fixture->dir, &fixture->disk) != STATUS_OK) {
        return -1;
    }
    rng_seed(&fixture->rng, 11);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    disk_posix_close(fixture->disk);
    int result = scratch_remove(fixture->dir);
    free(fixture);
    return result;
}

/* Proposes an entry that holds its own number and some bytes. */
static enum status propose_one(struct fixture *fixture)
{
    static char body[32768];
    uint64_t number = fixture->entries + 1;
    memcpy(body, &number, sizeof(number));
    size_t len = sizeof(number) + rng_below(&fixture->rng, rng_below(&fixture->rng, 50) == 0 ? 30000 : 400);
    enum status status = fixture->journal->driver->propose(fixture->journal, clock_wall_ns(), slice_of(body, len));
    if (status == STATUS_BUSY) {
        fixture->busy++;
    } else {
        assert_int_equal(status, STATUS_OK);
    }
    return status;
}

/* Each turn of the loop proposes some, until the target; then the loop runs until all of it is durable. */
static void on_idle(uv_idle_t *idle)
{
    struct fixture *fixture = idle->data;
    for (uint64_t n = rng_below(&fixture->rng, 40); n > 0 && fixture->entries < fixture->target; n--) {
        if (propose_one(fixture) == STATUS_BUSY) {
            break;
        }
    }
    assert_int_equal(fixture->failed, STATUS_OK);
    if (fixture->entries == fixture->target) {
        (void)uv_idle_stop(idle);
    }
}

static void run_load(struct fixture *fixture, uint64_t target)
{
    fixture->target = target;
    assert_int_equal(uv_idle_init(&fixture->loop.uv, &fixture->idle), 0);
    fixture->idle.data = fixture;
    assert_int_equal(uv_idle_start(&fixture->idle, on_idle), 0);
    while (fixture->durable < target) {
        (void)uv_run(&fixture->loop.uv, UV_RUN_ONCE);
    }
    uv_close((uv_handle_t *)&fixture->idle, NULL);
}

static void run_under(struct fixture *fixture, enum durability durability)
{
    open_journal(fixture, durability);
    assert_int_equal(fixture->entries, 0);
    run_load(fixture, 4000);
    assert_int_equal(fixture->journal->driver->durable_seq(fixture->journal), 4000);
    close_journal(fixture);
    open_journal(fixture, durability);
    assert_int_equal(fixture->entries, 4000);
    run_load(fixture, 5000);
    close_journal(fixture);
}

static void test_load_with_batch(void **state)
{
    run_under(*state, DURABILITY_BATCH);
}

static void test_load_with_interval(void **state)
{
    run_under(*state, DURABILITY_INTERVAL);
}

static void test_load_with_none(void **state)
{
    run_under(*state, DURABILITY_NONE);
}

/* Ends at a random moment, with entries proposed and not yet written: closing writes them all. */
static void test_close_at_any_moment(void **state)
{
    struct fixture *fixture = *state;
    uint64_t proposed = 0;
    for (int round = 0; round < 30; round++) {
        open_journal(fixture, round % 3 == 0 ? DURABILITY_INTERVAL : DURABILITY_BATCH);
        assert_int_equal(fixture->entries, proposed);
        uint64_t turns = rng_below(&fixture->rng, 6);
        for (uint64_t turn = 0; turn < turns; turn++) {
            for (uint64_t n = rng_below(&fixture->rng, 60); n > 0 && propose_one(fixture) == STATUS_OK; n--) {
            }
            (void)uv_run(&fixture->loop.uv, UV_RUN_NOWAIT);
        }
        proposed = fixture->entries;
        if (round % 2 == 0) {
            /* As the hub ends: threads first, then what they did is told. */
            journal_thread_stop(fixture->thread);
            fixture->journal->driver->poll(fixture->journal);
            assert_int_equal(fixture->durable, proposed);
        }
        close_journal(fixture);
    }
    assert_true(proposed > 0);
}

/* An idle journal makes one entry durable without anybody asking again, and wakes nobody after that. */
static void test_single_entries(void **state)
{
    struct fixture *fixture = *state;
    open_journal(fixture, DURABILITY_BATCH);
    for (uint64_t seq = 1; seq <= 50; seq++) {
        while (propose_one(fixture) == STATUS_BUSY) {
            (void)uv_run(&fixture->loop.uv, UV_RUN_ONCE);
        }
        while (fixture->durable < seq) {
            (void)uv_run(&fixture->loop.uv, UV_RUN_ONCE);
        }
    }
    assert_int_equal(fixture->journal->driver->unsynced_size(fixture->journal), 0);
    close_journal(fixture);
}

static void test_never_started(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(loop_init(&fixture->loop), STATUS_OK);
    assert_int_equal(journal_thread_new(&fixture->loop, &fixture->thread), STATUS_OK);
    journal_thread_stop(fixture->thread);
    journal_thread_free(fixture->thread);
    loop_free(&fixture->loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_load_with_batch, setup, teardown),
        cmocka_unit_test_setup_teardown(test_load_with_interval, setup, teardown),
        cmocka_unit_test_setup_teardown(test_load_with_none, setup, teardown),
        cmocka_unit_test_setup_teardown(test_close_at_any_moment, setup, teardown),
        cmocka_unit_test_setup_teardown(test_single_entries, setup, teardown),
        cmocka_unit_test_setup_teardown(test_never_started, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
