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

    struct history_filter any = {.state = -1};
    struct listing *listing = calloc(1, sizeof(*listing));
    uint64_t last = 7;
    assert_int_equal(history_list(fixture->history, &any, UINT64_MAX, 10000, on_row, listing, &last), STATUS_OK);
    assert_int_equal(listing->count, 600);
    assert_int_equal(last, 0);
    for (size_t i = 0; i < 600; i++) {
        assert_int_equal(listing->numbers[i], 600 - i);
    }

    /* A page that the visitor ends, and the next one from there. */
    *listing = (struct listing){.stop_at = 10};
    assert_int_equal(history_list(fixture->history, &any, UINT64_MAX, 10000, on_row, listing, &last), STATUS_OK);
    assert_int_equal(listing->count, 10);
    assert_int_equal(task_id_number(last), 591);
    *listing = (struct listing){.stop_at = 1};
    assert_int_equal(history_list(fixture->history, &any, last, 10000, on_row, listing, &last), STATUS_OK);
    assert_int_equal(listing->numbers[0], 590);

    /* A filter looks at no more rows than it may. */
    struct history_filter dead_even = {.state = TASK_DEAD, .queue = slice_str("even"), .kind = slice_str("code.run")};
    *listing = (struct listing){0};
    assert_int_equal(history_list(fixture->history, &dead_even, UINT64_MAX, 60, on_row, listing, &last), STATUS_OK);
    assert_int_equal(listing->count, 10);
    assert_int_equal(task_id_number(last), 541);
    for (size_t i = 0; i < 10; i++) {
        assert_int_equal(listing->numbers[i] % 6, 0);
    }
    struct history_filter none = {.state = -1, .kind = slice_str("code.ru")};
    *listing = (struct listing){0};
    assert_int_equal(history_list(fixture->history, &none, UINT64_MAX, 10000, on_row, listing, &last), STATUS_OK);
    assert_int_equal(listing->count, 0);
    assert_int_equal(last, 0);
    free(listing);
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
    struct history_filter any = {.state = -1};
    struct listing *listing = calloc(1, sizeof(*listing));
    uint64_t last;
    assert_int_equal(history_list(fixture->history, &any, UINT64_MAX, 10, on_row, listing, &last), STATUS_OK);
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
    assert_int_equal(sqlite3_exec(db, "PRAGMA user_version=2", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    assert_refused(fixture, "newer version");

    assert_int_equal(sqlite3_open(fixture->path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "PRAGMA user_version=1; DROP TABLE meta", NULL, NULL, NULL), SQLITE_OK);
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
        cmocka_unit_test_setup_teardown(test_ids_above_the_sign, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rewind, setup, teardown),
        cmocka_unit_test_setup_teardown(test_files_are_not_for_everybody, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unusable_files_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_kill_loses_and_doubles_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_full_disk_waits, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
