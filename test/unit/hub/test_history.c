/* Rows in, rows out; exactly once across reopening, kill -9 and a full disk. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/rng.h"
#include "hub/history.h"
#include "hub/history_internal.h"
#include "proto/task_id.h"

#define NS_WAIT_MAX (20 * NS_PER_S)

struct fixture {
    char dir[64];
    char path[96];
    struct history *history;
    _Atomic int wakes;
    uint64_t done_seq;
    enum status failed;
    struct buf why;
};

static void on_wake(void *ctx)
{
    struct fixture *fixture = ctx;
    atomic_fetch_add(&fixture->wakes, 1);
}

static void on_done(void *ctx, uint64_t seq)
{
    struct fixture *fixture = ctx;
    assert_true(seq > fixture->done_seq);
    fixture->done_seq = seq;
}

static void on_failed(void *ctx, enum status status, const char *why)
{
    struct fixture *fixture = ctx;
    assert_true(why[0] != '\0');
    fixture->failed = status;
}

static enum status reopen(struct fixture *fixture)
{
    struct history_hooks hooks = {.wake_owner = on_wake, .on_done = on_done, .on_failed = on_failed, .ctx = fixture};
    buf_reset(&fixture->why);
    return history_open(fixture->path, &hooks, &fixture->history, &fixture->done_seq, &fixture->why);
}

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    (void)snprintf(fixture->dir, sizeof(fixture->dir), "/tmp/shoal-history-XXXXXX");
    if (fixture == NULL || mkdtemp(fixture->dir) == NULL) {
        return -1;
    }
    (void)snprintf(fixture->path, sizeof(fixture->path), "%s/history.db", fixture->dir);
    buf_init(&fixture->why, 1024);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    history_close(fixture->history);
    static const char *const names[] = {"", "-wal", "-shm"};
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        char path[128];
        (void)snprintf(path, sizeof(path), "%s%s", fixture->path, names[i]);
        (void)unlink(path);
    }
    int result = rmdir(fixture->dir);
    buf_free(&fixture->why);
    free(fixture);
    return result;
}

/* The row of task n: everything in it follows from n and `version`, so that a test knows what must be there. */
static void add(struct history *history, uint64_t n, int version, uint64_t seq)
{
    char row[400];
    int len = snprintf(row, sizeof(row), "row %llu version %d ", (unsigned long long)n, version);
    memset(row + len, 'x', sizeof(row) - (size_t)len);
    struct effect_finished finished = {
        .task_id = task_id_make(n, (uint32_t)n & 0xffff),
        .state = n % 3 == 0 ? TASK_DEAD : TASK_SUCCEEDED,
        .created_ns = (int64_t)n * 10,
        .finished_ns = (int64_t)n * 20,
        .queue = n % 2 == 0 ? slice_str("even") : slice_str("odd"),
        .kind = slice_str("code.run"),
        .row = slice_of(row, (size_t)len + n % 200),
    };
    history_add(history, &finished, seq);
}

static bool has_row(struct history *history, uint64_t n, int version)
{
    char start[64];
    int len = snprintf(start, sizeof(start), "row %llu version %d ", (unsigned long long)n, version);
    struct buf row;
    buf_init(&row, 1 << 20);
    enum status status = history_get(history, task_id_make(n, (uint32_t)n & 0xffff), &row);
    bool is_there = status == STATUS_OK;
    if (is_there) {
        assert_int_equal(row.len, (size_t)len + n % 200);
        assert_memory_equal(row.data, start, (size_t)len);
    } else {
        assert_int_equal(status, STATUS_NOT_FOUND);
    }
    buf_free(&row);
    return is_there;
}

static void await_done(struct fixture *fixture, uint64_t seq)
{
    int64_t until_ns = clock_mono_ns() + NS_WAIT_MAX;
    while (fixture->done_seq < seq) {
        history_poll(fixture->history);
        assert_int_equal(fixture->failed, STATUS_OK);
        assert_true(clock_mono_ns() < until_ns);
        (void)nanosleep(&(struct timespec){.tv_nsec = 2 * NS_PER_MS}, NULL);
    }
    assert_true(atomic_load(&fixture->wakes) > 0);
}

static void test_rows_come_back(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(reopen(fixture), STATUS_OK);
    assert_int_equal(fixture->done_seq, 0);
    for (uint64_t n = 1; n <= 1000; n++) {
        add(fixture->history, n, 1, n);
    }
    assert_int_equal(history_backlog(fixture->history), 1000);
    assert_true(history_backlog_size(fixture->history) > 1000 * 40);
    history_advance(fixture->history, 1000);
    await_done(fixture, 1000);
    assert_int_equal(fixture->done_seq, 1000);
    assert_int_equal(history_backlog(fixture->history), 0);
    assert_int_equal(history_backlog_size(fixture->history), 0);
    assert_int_equal(history_count(fixture->history), 1000);
    for (uint64_t n = 1; n <= 1000; n++) {
        assert_true(has_row(fixture->history, n, 1));
    }
    assert_false(has_row(fixture->history, 1001, 1));
}

static void test_nothing_is_reported_before_advance(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(reopen(fixture), STATUS_OK);
    history_advance(fixture->history, 5);
    add(fixture->history, 1, 1, 6);
    add(fixture->history, 2, 1, 7);
    /* Seq 6 is not known to be complete: another row of it might come. */
    (void)nanosleep(&(struct timespec){.tv_nsec = 300 * NS_PER_MS}, NULL);
    history_poll(fixture->history);
    assert_true(fixture->done_seq <= 5);
    history_advance(fixture->history, 7);
    await_done(fixture, 7);
    assert_int_equal(fixture->done_seq, 7);
}

static void test_position_without_rows(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(reopen(fixture), STATUS_OK);
    history_advance(fixture->history, 12345);
    await_done(fixture, 12345);
    history_close(fixture->history);
    fixture->history = NULL;
    assert_int_equal(reopen(fixture), STATUS_OK);
    assert_int_equal(fixture->done_seq, 12345);
}

static void test_close_writes_what_is_queued(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(reopen(fixture), STATUS_OK);
    for (uint64_t n = 1; n <= 5000; n++) {
        add(fixture->history, n, 1, n);
    }
    history_advance(fixture->history, 5000);
    add(fixture->history, 5001, 1, 5001); /* never covered by an advance */
    history_close(fixture->history);
    fixture->history = NULL;
    assert_int_equal(reopen(fixture), STATUS_OK);
    assert_int_equal(fixture->done_seq, 5000);
    assert_true(has_row(fixture->history, 1, 1) && has_row(fixture->history, 5000, 1));
    /* The row behind the position comes again from the journal, perhaps another one: it replaces itself. */
    add(fixture->history, 5001, 2, 5001);
    add(fixture->history, 17, 2, 5002);
    history_advance(fixture->history, 5002);
    await_done(fixture, 5002);
    assert_true(has_row(fixture->history, 5001, 2) && has_row(fixture->history, 17, 2));
    assert_int_equal(history_count(fixture->history), 5001);
}

struct listing {
    uint64_t numbers[2000];
    size_t count, stop_at;
};

static bool on_row(void *ctx, uint64_t task_id, struct slice row)
{
    struct listing *listing = ctx;
    assert_true(row.len > 0 && memcmp(row.data, "row ", 4) == 0);
    listing->numbers[listing->count++] = task_id_number(task_id);
    return listing->count != listing->stop_at;
}

static void test_list(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(reopen(fixture), STATUS_OK);
    for (uint64_t n = 1; n <= 600; n++) {
        add(fixture->history, n, 1, n);
    }
    history_advance(fixture->history, 600);
    await_done(fixture, 600);

    struct task_filter any = TASK_FILTER_ANY;
    struct listing *listing = calloc(1, sizeof(*listing));
    uint64_t last = 7;
    assert_int_equal(history_list(fixture->history, &any, LIST_NEWEST, UINT64_MAX, 10000, on_row, listing, &last),
                     STATUS_OK);
    assert_int_equal(listing->count, 600);
    assert_int_equal(last, 0);
    for (size_t i = 0; i < 600; i++) {
        assert_int_equal(listing->numbers[i], 600 - i);
    }

    /* A page that the visitor ends, and the next one from there. */
    *listing = (struct listing){.stop_at = 10};
    assert_int_equal(history_list(fixture->history, &any, LIST_NEWEST, UINT64_MAX, 10000, on_row, listing, &last),
                     STATUS_OK);
    assert_int_equal(listing->count, 10);
    assert_int_equal(task_id_number(last), 591);
    *listing = (struct listing){.stop_at = 1};
    assert_int_equal(history_list(fixture->history, &any, LIST_NEWEST, last, 10000, on_row, listing, &last), STATUS_OK);
    assert_int_equal(listing->numbers[0], 590);

    struct task_filter dead_even = TASK_FILTER_ANY;
    dead_even.state = TASK_DEAD;
    dead_even.queue = slice_str("even");
    dead_even.kind = slice_str("code.run");
    *listing = (struct listing){.stop_at = 10};
    assert_int_equal(history_list(fixture->history, &dead_even, LIST_NEWEST, UINT64_MAX, 1, on_row, listing, &last),
                     STATUS_OK);
    assert_int_equal(listing->count, 10);
    assert_int_equal(task_id_number(last), 546);
    for (size_t i = 0; i < 10; i++) {
        assert_int_equal(listing->numbers[i], 600 - 6 * i);
    }
    struct task_filter none = TASK_FILTER_ANY;
    none.kind = slice_str("code.ru");
    *listing = (struct listing){0};
    assert_int_equal(history_list(fixture->history, &none, LIST_NEWEST, UINT64_MAX, 1, on_row, listing, &last),
                     STATUS_OK);
    assert_int_equal(listing->count, 0);
    assert_int_equal(last, 0);
    free(listing);
}

/* --- lists against a naive recount --- */

enum { MODEL_ROWS = 3000 };
static const char *const model_queues[] = {"default", "night", "q3"};
static const char *const model_kinds[] = {"code.run", "echo"};
static const char *const model_errors[] = {"", "boom", "timeout"};

struct model_row {
    uint64_t id;
    int state, queue, kind, error;
    int64_t created_ns;
    bool is_there;
};

static void add_model_row(struct history *history, const struct model_row *row, uint64_t seq)
{
    static struct task_view view;
    view = (struct task_view){.task_id = row->id,
                              .state = (enum task_state)row->state,
                              .queue = slice_str(model_queues[row->queue]),
                              .kind = slice_str(model_kinds[row->kind]),
                              .error_kind = slice_str(model_errors[row->error]),
                              .created_ns = row->created_ns,
                              .finished_ns = row->created_ns + 5};
    struct buf bytes;
    buf_init(&bytes, 1 << 20);
    task_view_put(&bytes, &view);
    struct effect_finished finished = {.task_id = row->id,
                                       .state = view.state,
                                       .created_ns = view.created_ns,
                                       .finished_ns = view.finished_ns,
                                       .queue = view.queue,
                                       .kind = view.kind,
                                       .error_kind = view.error_kind,
                                       .row = buf_slice(&bytes)};
    history_add(history, &finished, seq);
    buf_free(&bytes);
}

static struct model_row model_row_make(struct rng *rng, uint64_t n)
{
    int state = TASK_SUCCEEDED + (int)rng_below(rng, 4);
    return (struct model_row){.id = task_id_make(n, (uint32_t)rng_below(rng, 1000)),
                              .state = state,
                              .queue = (int)rng_below(rng, 3),
                              .kind = (int)rng_below(rng, 2),
                              .error = state == TASK_SUCCEEDED ? 0 : (int)rng_below(rng, 3),
                              .created_ns = (int64_t)(n / 7) * 1000 + 1000,
                              .is_there = true};
}

struct ids {
    uint64_t id[MODEL_ROWS];
    uint32_t count, stop_at;
};

static bool on_id(void *ctx, uint64_t task_id, struct slice row)
{
    struct ids *ids = ctx;
    static struct task_view view;
    assert_int_equal(task_view_get(row, &view), STATUS_OK);
    assert_true(view.task_id == task_id);
    ids->id[ids->count++] = task_id;
    return ids->count != ids->stop_at;
}

static struct slice pick(struct rng *rng, const char *const *names, uint32_t count)
{
    uint32_t i = (uint32_t)rng_below(rng, count + 1);
    return i < count ? slice_str(names[i]) : (struct slice){NULL, 0};
}

static bool is_wanted(const struct model_row *row, const struct task_filter *filter)
{
    return row->is_there && (filter->state < 0 || row->state == filter->state) &&
           (filter->queue.len == 0 || slice_equal_str(filter->queue, model_queues[row->queue])) &&
           (filter->kind.len == 0 || slice_equal_str(filter->kind, model_kinds[row->kind])) &&
           (filter->error_kind.len == 0 || slice_equal_str(filter->error_kind, model_errors[row->error])) &&
           row->created_ns >= filter->created_from_ns && row->created_ns < filter->created_until_ns;
}

/* Any filter, page by page in both orders, from anywhere: what a walk over everything finds. */
static void compare_lists(struct history *history, const struct model_row *rows, uint32_t count, struct rng *rng)
{
    struct task_filter filter = TASK_FILTER_ANY;
    filter.state = rng_below(rng, 2) == 0 ? -1 : TASK_SUCCEEDED + (int)rng_below(rng, 4);
    filter.queue = pick(rng, model_queues, 3);
    filter.kind = pick(rng, model_kinds, 2);
    filter.error_kind =
        rng_below(rng, 2) == 0 ? slice_str(model_errors[1 + rng_below(rng, 2)]) : (struct slice){NULL, 0};
    if (rng_below(rng, 2) == 0) {
        filter.created_from_ns = (int64_t)rng_below(rng, MODEL_ROWS / 7 * 1000);
        filter.created_until_ns = filter.created_from_ns + (int64_t)rng_below(rng, MODEL_ROWS / 7 * 1000);
    }
    static struct ids page;
    for (int order = LIST_NEWEST; order <= LIST_OLDEST; order++) {
        uint64_t at = order == LIST_NEWEST ? UINT64_MAX : 0;
        if (rng_below(rng, 2) == 0) {
            at = rows[rng_below(rng, count)].id + rng_below(rng, 3) - 1;
        }
        uint64_t start = at;
        uint32_t n = 0;
        bool is_end = false;
        while (!is_end) {
            page = (struct ids){.stop_at = 1 + (uint32_t)rng_below(rng, 60)};
            uint64_t last = 1;
            assert_int_equal(history_list(history, &filter, (enum list_order)order, at, 1000000, on_id, &page, &last),
                             STATUS_OK);
            for (uint32_t i = 0; i < page.count; i++, n++) {
                const struct model_row *row;
                do {
                    assert_true(n < count);
                    row = &rows[order == LIST_NEWEST ? count - 1 - n : n];
                    n += !(is_wanted(row, &filter) && (order == LIST_NEWEST ? row->id < start : row->id > start));
                } while (!(is_wanted(row, &filter) && (order == LIST_NEWEST ? row->id < start : row->id > start)));
                assert_true(page.id[i] == row->id);
            }
            is_end = last == 0;
            assert_true(is_end || page.count == page.stop_at); /* never short unless it is the last */
            at = last;
        }
        for (; n < count; n++) {
            const struct model_row *row = &rows[order == LIST_NEWEST ? count - 1 - n : n];
            assert_false(is_wanted(row, &filter) && (order == LIST_NEWEST ? row->id < start : row->id > start));
        }
    }
}

static void test_lists_against_a_recount(void **state)
{
    struct fixture *fixture = *state;
    static struct model_row rows[MODEL_ROWS];
    struct rng rng;
    rng_seed(&rng, 13);
    assert_int_equal(reopen(fixture), STATUS_OK);
    uint32_t count = 0;
    for (uint64_t seq = 1; count < MODEL_ROWS; seq++) {
        for (uint32_t i = 0; i < 500; i++) {
            rows[count] = model_row_make(&rng, count + 1);
            add_model_row(fixture->history, &rows[count++], seq);
            if (rng_below(&rng, 5) == 0) { /* an old one, finished once more: it changes its place */
                struct model_row *old = &rows[rng_below(&rng, count)];
                struct model_row again = model_row_make(&rng, task_id_number(old->id));
                again.id = old->id;
                *old = again;
                add_model_row(fixture->history, old, seq);
            }
        }
        history_advance(fixture->history, seq);
        await_done(fixture, seq);
        for (uint32_t i = 0; i < 60; i++) {
            compare_lists(fixture->history, rows, count, &rng);
        }
        if (seq % 2 == 0) {
            history_close(fixture->history);
            assert_int_equal(reopen(fixture), STATUS_OK);
        }
    }
    /* As a file from before the index: the same answers while its rows get their places, and after it. */
    history_close(fixture->history);
    fixture->history = NULL;
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(fixture->path, &db), SQLITE_OK);
    assert_int_equal(
        sqlite3_exec(
            db,
            "DROP TABLE bucket; DROP TABLE place; DROP TABLE unplaced; DROP TABLE blob_name; DROP TABLE retried;"
            "PRAGMA user_version=1",
            NULL, NULL, NULL),
        SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    assert_int_equal(reopen(fixture), STATUS_OK);
    int64_t until_ns = clock_mono_ns() + NS_WAIT_MAX;
    do {
        compare_lists(fixture->history, rows, count, &rng);
        assert_true(clock_mono_ns() < until_ns);
    } while (!history_is_indexed(fixture->history));
    for (uint32_t i = 0; i < 100; i++) {
        compare_lists(fixture->history, rows, count, &rng);
    }
}

/* Waits until `count` rows are left, and looks again a little later. */
static void await_rows(struct history *history, uint64_t count)
{
    struct history_stats stats;
    int64_t until_ns = clock_mono_ns() + NS_WAIT_MAX;
    do {
        (void)nanosleep(&(struct timespec){.tv_nsec = 20 * NS_PER_MS}, NULL);
        history_stats(history, &stats);
        assert_true(clock_mono_ns() < until_ns);
    } while (stats.rows != count);
    assert_int_equal(history_count(history), count);
}

/* Rows go by age of their state, and by number of their queue and state, the oldest first; lists and counts agree, and it is
 * the same after a restart. */
static void test_rows_go_when_their_time_is_over(void **state)
{
    struct fixture *fixture = *state;
    static struct model_row rows[MODEL_ROWS];
    struct rng rng;
    rng_seed(&rng, 11);
    assert_int_equal(reopen(fixture), STATUS_OK);
    int64_t now_ns = clock_wall_ns();
    const int64_t hour_ns = 3600 * NS_PER_S;
    uint32_t old_succeeded = 0;
    for (uint32_t i = 0; i < MODEL_ROWS; i++) {
        rows[i] = model_row_make(&rng, i + 1);
        rows[i].created_ns = now_ns - (i < MODEL_ROWS / 2 ? 48 : 1) * hour_ns + i;
        old_succeeded += i < MODEL_ROWS / 2 && rows[i].state == TASK_SUCCEEDED;
        add_model_row(fixture->history, &rows[i], i / 100 + 1);
    }
    history_advance(fixture->history, MODEL_ROWS);
    await_done(fixture, MODEL_ROWS);
    history_keep(fixture->history, &(struct history_keep){.succeeded_ms = 24 * hour_ns / NS_PER_MS});
    await_rows(fixture->history, MODEL_ROWS - old_succeeded);
    for (uint32_t i = 0; i < MODEL_ROWS; i++) {
        rows[i].is_there = !(i < MODEL_ROWS / 2 && rows[i].state == TASK_SUCCEEDED);
    }
    for (uint32_t i = 0; i < 60; i++) {
        compare_lists(fixture->history, rows, MODEL_ROWS, &rng);
    }
    enum { ROWS_MAX = 40 };
    history_keep(fixture->history, &(struct history_keep){.rows_max = ROWS_MAX});
    uint32_t kept[TASK_STATE_COUNT][3] = {0}, all = 0;
    for (uint32_t i = MODEL_ROWS; i-- > 0;) {
        uint32_t *count = &kept[rows[i].state][rows[i].queue];
        rows[i].is_there = rows[i].is_there && *count < ROWS_MAX;
        *count += rows[i].is_there;
        all += rows[i].is_there;
    }
    assert_int_equal(all, 4 * 3 * ROWS_MAX);
    await_rows(fixture->history, all);
    for (int round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < 60; i++) {
            compare_lists(fixture->history, rows, MODEL_ROWS, &rng);
        }
        history_close(fixture->history);
        assert_int_equal(reopen(fixture), STATUS_OK);
        assert_int_equal(history_count(fixture->history), all);
    }
}

/* No list reads a table from end to end, however SQLite plans it. */
static void test_lists_use_the_index(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(reopen(fixture), STATUS_OK);
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(fixture->path, &db), SQLITE_OK);
    static const char *const statements[] = {SQL_LIST_NEWEST, SQL_LIST_OLDEST, SQL_NEXT_NEWEST, SQL_NEXT_OLDEST,
                                             SQL_GET,         SQL_OLD,         SQL_CREATED,     SQL_UNPLACED,
                                             SQL_NAMES_BLOB,  SQL_OLDEST};
    for (size_t i = 0; i < sizeof(statements) / sizeof(*statements); i++) {
        char sql[256];
        (void)snprintf(sql, sizeof(sql), "EXPLAIN QUERY PLAN %s", statements[i]);
        sqlite3_stmt *plan = NULL;
        assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &plan, NULL), SQLITE_OK);
        while (sqlite3_step(plan) == SQLITE_ROW) {
            const char *detail = (const char *)sqlite3_column_text(plan, 3);
            assert_int_equal(strncmp(detail, "SEARCH ", 7), 0);
            assert_null(strstr(detail, "TEMP B-TREE"));
        }
        (void)sqlite3_finalize(plan);
    }
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void test_ids_above_the_sign(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(reopen(fixture), STATUS_OK);
    const uint64_t numbers[] = {1, (UINT64_C(1) << 39) - 1, UINT64_C(1) << 39, TASK_ID_NUMBER_MAX};
    for (size_t i = 0; i < 4; i++) {
        add(fixture->history, numbers[i], 1, i + 1);
    }
    history_advance(fixture->history, 4);
    await_done(fixture, 4);
    struct task_filter any = TASK_FILTER_ANY;
    struct listing *listing = calloc(1, sizeof(*listing));
    uint64_t last;
    assert_int_equal(history_list(fixture->history, &any, LIST_NEWEST, UINT64_MAX, 10, on_row, listing, &last),
                     STATUS_OK);
    assert_int_equal(listing->count, 4);
    for (size_t i = 0; i < 4; i++) {
        assert_true(listing->numbers[i] == numbers[3 - i]);
        assert_true(has_row(fixture->history, numbers[i], 1));
    }
    free(listing);
}

static void test_rewind(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(reopen(fixture), STATUS_OK);
    add(fixture->history, 1, 1, 10);
    history_advance(fixture->history, 100);
    history_close(fixture->history);
    fixture->history = NULL;
    assert_int_equal(reopen(fixture), STATUS_OK);
    assert_int_equal(fixture->done_seq, 100);
    assert_int_equal(history_rewind(fixture->history, 50), STATUS_OK);
    fixture->done_seq = 50;
    add(fixture->history, 2, 1, 51);
    history_advance(fixture->history, 51);
    await_done(fixture, 51);
    history_close(fixture->history);
    fixture->history = NULL;
    assert_int_equal(reopen(fixture), STATUS_OK);
    assert_int_equal(fixture->done_seq, 51);
    assert_true(has_row(fixture->history, 1, 1) && has_row(fixture->history, 2, 1));
}

/* Inputs and results are nobody else's to read. */
static void test_files_are_not_for_everybody(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(reopen(fixture), STATUS_OK);
    add(fixture->history, 1, 1, 1);
    history_advance(fixture->history, 1);
    await_done(fixture, 1);
    static const char *const names[] = {"", "-wal", "-shm"};
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        char path[128];
        struct stat info;
        (void)snprintf(path, sizeof(path), "%s%s", fixture->path, names[i]);
        assert_int_equal(stat(path, &info), 0);
        assert_int_equal(info.st_mode & 0137, 0);
    }
}

static void write_file(const char *path, const void *data, size_t len)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
}

static void assert_refused(struct fixture *fixture, const char *why)
{
    assert_int_equal(reopen(fixture), STATUS_CORRUPT);
    const char *text = buf_cstr(&fixture->why);
    if (strstr(text, fixture->path) == NULL || strstr(text, why) == NULL || strchr(text, '\n') != NULL) {
        fail_msg("says: %s", text);
    }
    fixture->history = NULL;
}

static void test_unusable_files_are_refused(void **state)
{
    struct fixture *fixture = *state;
    char garbage[20000];
    memset(garbage, 'g', sizeof(garbage));
    write_file(fixture->path, garbage, sizeof(garbage));
    assert_refused(fixture, "damaged");
    assert_int_equal(unlink(fixture->path), 0);

    sqlite3 *db;
    assert_int_equal(sqlite3_open(fixture->path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "CREATE TABLE theirs(a)", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    assert_refused(fixture, "another program");
    assert_int_equal(unlink(fixture->path), 0);

    assert_int_equal(reopen(fixture), STATUS_OK);
    history_close(fixture->history);
    assert_int_equal(sqlite3_open(fixture->path, &db), SQLITE_OK);
    char pragma[64];
    (void)snprintf(pragma, sizeof(pragma), "PRAGMA user_version=%d", HISTORY_SCHEMA + 1);
    assert_int_equal(sqlite3_exec(db, pragma, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    assert_refused(fixture, "newer version");

    assert_int_equal(sqlite3_open(fixture->path, &db), SQLITE_OK);
    (void)snprintf(pragma, sizeof(pragma), "PRAGMA user_version=%d; DROP TABLE meta", HISTORY_SCHEMA);
    assert_int_equal(sqlite3_exec(db, pragma, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    assert_refused(fixture, "damaged");
}

/* A process that adds rows without end and tells in shared memory what was reported durable. Task n belongs to entry
 * n / 3 + 1, so an entry has three rows. */
static void write_until_killed(struct fixture *fixture, _Atomic uint64_t *told)
{
    if (reopen(fixture) != STATUS_OK) {
        _exit(1);
    }
    uint64_t seq = fixture->done_seq + 1;
    while (true) {
        for (uint64_t n = seq * 3; n < seq * 3 + 3; n++) {
            add(fixture->history, n, 1, seq);
        }
        history_advance(fixture->history, seq);
        seq++;
        if (seq % 500 == 0) {
            history_poll(fixture->history);
            atomic_store(told, fixture->done_seq);
            (void)nanosleep(&(struct timespec){.tv_nsec = 2 * NS_PER_MS}, NULL);
        }
    }
}

static void test_kill_loses_and_doubles_nothing(void **state)
{
    struct fixture *fixture = *state;
    _Atomic uint64_t *told = mmap(NULL, sizeof(*told), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(told, MAP_FAILED);
    struct rng rng;
    rng_seed(&rng, 7);
    for (int round = 0; round < 6; round++) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            write_until_killed(fixture, told);
        }
        (void)nanosleep(&(struct timespec){.tv_nsec = (long)(250 + rng_below(&rng, 500)) * NS_PER_MS}, NULL);
        assert_int_equal(kill(child, SIGKILL), 0);
        int wait_status;
        assert_int_equal(waitpid(child, &wait_status, 0), child);
        assert_true(WIFSIGNALED(wait_status));

        assert_int_equal(reopen(fixture), STATUS_OK);
        uint64_t seq = fixture->done_seq;
        assert_true(seq >= atomic_load(told));
        for (uint64_t n = 3; n < seq * 3 + 3; n += 1 + n / 400) {
            assert_true(has_row(fixture->history, n, 1));
        }
        if (seq > 0) {
            assert_true(has_row(fixture->history, seq * 3 + 2, 1));
        }
        /* A transaction takes whole entries here, so nothing behind the position may be there either. */
        assert_false(has_row(fixture->history, seq * 3 + 3, 1));
        assert_int_equal(history_count(fixture->history), seq * 3);
        history_close(fixture->history);
        fixture->history = NULL;
    }
    assert_true(atomic_load(told) > 0);
    assert_int_equal(munmap((void *)told, sizeof(*told)), 0);
}

/* In a process and a mount namespace of its own: 77 when it may not mount. */
static int run_full_disk(struct fixture *fixture)
{
    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("tmpfs", fixture->dir, "tmpfs", 0, "size=4m") != 0) {
        return 77;
    }
    if (reopen(fixture) != STATUS_OK) {
        return 1;
    }
    for (uint64_t n = 1; n <= 60000; n++) {
        add(fixture->history, n, 1, n);
        if (n % 100 == 0) {
            history_advance(fixture->history, n);
        }
    }
    int64_t until_ns = clock_mono_ns() + NS_WAIT_MAX;
    while (fixture->failed == STATUS_OK && clock_mono_ns() < until_ns) {
        history_poll(fixture->history);
        (void)nanosleep(&(struct timespec){.tv_nsec = 2 * NS_PER_MS}, NULL);
    }
    if (fixture->failed != STATUS_NO_SPACE || fixture->done_seq == 60000) {
        return 2;
    }
    if (mount("tmpfs", fixture->dir, "tmpfs", MS_REMOUNT, "size=256m") != 0) {
        return 77;
    }
    while (fixture->done_seq < 60000 && clock_mono_ns() < until_ns) {
        history_poll(fixture->history);
        (void)nanosleep(&(struct timespec){.tv_nsec = 2 * NS_PER_MS}, NULL);
    }
    if (fixture->done_seq != 60000 || history_count(fixture->history) != 60000 || !has_row(fixture->history, 1, 1) ||
        !has_row(fixture->history, 60000, 1)) {
        return 3;
    }
    history_close(fixture->history);
    return 0;
}

static void test_full_disk_waits(void **state)
{
    struct fixture *fixture = *state;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        _exit(run_full_disk(fixture));
    }
    int wait_status;
    assert_int_equal(waitpid(child, &wait_status, 0), child);
    assert_true(WIFEXITED(wait_status));
    if (WEXITSTATUS(wait_status) == 77) {
        skip();
    }
    assert_int_equal(WEXITSTATUS(wait_status), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_rows_come_back, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nothing_is_reported_before_advance, setup, teardown),
        cmocka_unit_test_setup_teardown(test_position_without_rows, setup, teardown),
        cmocka_unit_test_setup_teardown(test_close_writes_what_is_queued, setup, teardown),
        cmocka_unit_test_setup_teardown(test_list, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lists_against_a_recount, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lists_use_the_index, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rows_go_when_their_time_is_over, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ids_above_the_sign, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rewind, setup, teardown),
        cmocka_unit_test_setup_teardown(test_files_are_not_for_everybody, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unusable_files_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_kill_loses_and_doubles_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_full_disk_waits, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
