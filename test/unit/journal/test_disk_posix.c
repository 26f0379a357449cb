/* The machine's disk, alone and under a journal with a writer on a thread of its own. */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "journal/file_journal.h"

static char root[] = "/tmp/shoal-test-journal-XXXXXX";

static int make_root(void **state)
{
    (void)state;
    strcpy(root, "/tmp/shoal-test-journal-XXXXXX");
    return mkdtemp(root) != NULL ? 0 : -1;
}

static bool remove_one(void *ctx, const char *name)
{
    char path[300];
    snprintf(path, sizeof(path), "%s/%s/%s", root, (const char *)ctx, name);
    return unlink(path) == 0;
}

static int remove_root(void **state)
{
    struct disk *disk;
    char path[300];
    (void)state;
    if (disk_posix_open(root, &disk) != STATUS_OK) {
        return -1;
    }
    static const char *const dirs[] = {"journal", "snapshot", "d"};
    for (size_t i = 0; i < ARRAY_COUNT(dirs); i++) {
        snprintf(path, sizeof(path), "%s/%s", root, dirs[i]);
        if (disk->list(disk, dirs[i], remove_one, (void *)(uintptr_t)dirs[i]) == STATUS_OK) {
            rmdir(path);
        }
    }
    disk_posix_close(disk);
    snprintf(path, sizeof(path), "%s/LOCK", root);
    unlink(path);
    return rmdir(root);
}

static bool count_name(void *ctx, const char *name)
{
    (void)name;
    (*(unsigned *)ctx)++;
    return true;
}

static void the_table_does_what_it_says(void **state)
{
    struct disk *disk;
    struct disk_file *file;
    uint64_t size;
    char text[16] = {0};
    unsigned count = 0;
    (void)state;
    assert_int_equal(disk_posix_open(root, &disk), STATUS_OK);
    assert_int_equal(disk->list(disk, "d", count_name, &count), STATUS_NOT_FOUND);
    assert_int_equal(disk->make_dir(disk, "d"), STATUS_OK);
    assert_int_equal(disk->make_dir(disk, "d"), STATUS_OK);
    assert_int_equal(disk->open(disk, "d/a", DISK_OPEN_READ, &file), STATUS_NOT_FOUND);
    assert_int_equal(disk->open(disk, "d/a", DISK_OPEN_WRITE, &file), STATUS_NOT_FOUND);
    assert_int_equal(disk->open(disk, "d/a", DISK_OPEN_CREATE, &file), STATUS_OK);
    assert_int_equal(disk->write_at(disk, file, 3, "hello", 5), STATUS_OK);
    assert_int_equal(disk->size(disk, file, &size), STATUS_OK);
    assert_int_equal(size, 8);
    assert_int_equal(disk->read_at(disk, file, 0, text, 8), STATUS_OK);
    assert_memory_equal(text, "\0\0\0hello", 8);
    assert_int_equal(disk->read_at(disk, file, 0, text, 9), STATUS_IO);
    assert_int_equal(disk->truncate(disk, file, 4), STATUS_OK);
    assert_int_equal(disk->sync(disk, file), STATUS_OK);
    disk->close(disk, file);
    assert_int_equal(disk->open(disk, "d/a", DISK_OPEN_CREATE, &file), STATUS_CONFLICT);
    assert_int_equal(disk->rename(disk, "d/a", "d/b"), STATUS_OK);
    assert_int_equal(disk->rename(disk, "d/a", "d/b"), STATUS_NOT_FOUND);
    assert_int_equal(disk->sync_dir(disk, "d"), STATUS_OK);
    assert_int_equal(disk->list(disk, "d", count_name, &count), STATUS_OK);
    assert_int_equal(count, 1);
    assert_int_equal(disk->free_size(disk, &size), STATUS_OK);
    assert_true(size > 0);
    assert_int_equal(disk->remove(disk, "d/b"), STATUS_OK);
    assert_int_equal(disk->remove(disk, "d/b"), STATUS_NOT_FOUND);
    disk_posix_close(disk);
}

static void a_root_is_made_with_what_is_above_it(void **state)
{
    struct disk *disk;
    struct stat st;
    char path[300];
    (void)state;
    snprintf(path, sizeof(path), "%s/x/y", root);
    assert_int_equal(disk_posix_open(path, &disk), STATUS_OK);
    disk_posix_close(disk);
    assert_int_equal(stat(path, &st), 0);
    assert_true(S_ISDIR(st.st_mode));
    rmdir(path);
    snprintf(path, sizeof(path), "%s/x", root);
    rmdir(path);
    assert_int_not_equal(disk_posix_open("/dev/null/x", &disk), STATUS_OK);
    assert_int_not_equal(disk_posix_open("", &disk), STATUS_OK);
}

static void one_process_holds_the_lock(void **state)
{
    struct disk *disk;
    (void)state;
    assert_int_equal(disk_posix_open(root, &disk), STATUS_OK);
    assert_int_equal(disk_posix_lock(disk), STATUS_OK);
    int status;
    pid_t child = fork();
    if (child == 0) {
        struct disk *other;
        _exit(disk_posix_open(root, &other) == STATUS_OK && disk_posix_lock(other) == STATUS_LOCKED ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    disk_posix_close(disk);
    assert_int_equal(disk_posix_open(root, &disk), STATUS_OK);
    assert_int_equal(disk_posix_lock(disk), STATUS_OK);
    disk_posix_close(disk);
}

/* --- a journal with a thread --- */

struct threaded {
    pthread_mutex_t mutex;
    pthread_cond_t writer_cond;
    pthread_cond_t owner_cond;
    bool has_work;
    bool has_news;
    bool is_stopping;
    struct journal *journal;
    uint64_t applied_seq;
    uint64_t durable_seq;
    uint64_t sum; /* of the first bytes of all bodies */
};

static void lock(void *ctx)
{
    pthread_mutex_lock(&((struct threaded *)ctx)->mutex);
}

static void unlock(void *ctx)
{
    pthread_mutex_unlock(&((struct threaded *)ctx)->mutex);
}

static void wake_writer(void *ctx)
{
    struct threaded *threaded = ctx;
    threaded->has_work = true;
    pthread_cond_signal(&threaded->writer_cond);
}

static void wake_owner(void *ctx)
{
    struct threaded *threaded = ctx;
    pthread_mutex_lock(&threaded->mutex);
    threaded->has_news = true;
    pthread_cond_signal(&threaded->owner_cond);
    pthread_mutex_unlock(&threaded->mutex);
}

static int64_t mono_ns(void *ctx)
{
    (void)ctx;
    return clock_mono_ns();
}

static void *run_writer(void *ctx)
{
    struct threaded *threaded = ctx;
    for (;;) {
        while (file_journal_write(threaded->journal) || file_journal_prepare(threaded->journal) == STATUS_OK) {
        }
        pthread_mutex_lock(&threaded->mutex);
        while (!threaded->has_work && !threaded->is_stopping) {
            pthread_cond_wait(&threaded->writer_cond, &threaded->mutex);
        }
        bool is_over = threaded->is_stopping && !threaded->has_work;
        threaded->has_work = false;
        pthread_mutex_unlock(&threaded->mutex);
        if (is_over) {
            return NULL;
        }
    }
}

static void on_entry(void *ctx, const struct journal_entry *entry)
{
    struct threaded *threaded = ctx;
    assert_int_equal(entry->seq, threaded->applied_seq + 1);
    threaded->applied_seq = entry->seq;
    threaded->sum += (unsigned char)entry->body.data[0];
}

static void on_durable(void *ctx, uint64_t seq)
{
    struct threaded *threaded = ctx;
    assert_true(seq >= threaded->durable_seq && seq <= threaded->applied_seq);
    threaded->durable_seq = seq;
}

static void on_failed(void *ctx, enum status status, const char *why)
{
    (void)ctx;
    fail_msg("%s: %s", status_slug(status), why);
}

static void wait_for_news(struct threaded *threaded)
{
    pthread_mutex_lock(&threaded->mutex);
    while (!threaded->has_news) {
        pthread_cond_wait(&threaded->owner_cond, &threaded->mutex);
    }
    threaded->has_news = false;
    pthread_mutex_unlock(&threaded->mutex);
    threaded->journal->driver->poll(threaded->journal);
}

#define THREADED_ENTRIES 6000

static void owner_and_writer_on_two_threads(void **state)
{
    struct threaded threaded = {
        .mutex = PTHREAD_MUTEX_INITIALIZER,
        .writer_cond = PTHREAD_COND_INITIALIZER,
        .owner_cond = PTHREAD_COND_INITIALIZER,
    };
    struct disk *disk;
    (void)state;
    assert_int_equal(disk_posix_open(root, &disk), STATUS_OK);
    struct file_journal_config config = {
        .disk = disk, .segment_size = 256 << 10, .unsynced_size_max = 64 << 10, .salt = 99};
    struct file_journal_hooks hooks = {lock, unlock, wake_writer, wake_owner, mono_ns, &threaded};
    struct journal_callbacks callbacks = {on_entry, on_durable, on_failed, &threaded};
    struct file_journal_recovery recovery;
    pthread_t thread;
    char body[600];
    assert_int_equal(file_journal_open(&config, &hooks, &callbacks, NULL, &recovery, &threaded.journal), STATUS_OK);
    struct journal *journal = threaded.journal;
    assert_int_equal(pthread_create(&thread, NULL, run_writer, &threaded), 0);
    for (unsigned i = 0; i < THREADED_ENTRIES; i++) {
        memset(body, (int)(i % 251), sizeof(body));
        enum status status;
        while ((status = journal->driver->propose(journal, i, slice_of(body, 1 + i % sizeof(body)))) == STATUS_BUSY) {
            wait_for_news(&threaded);
        }
        assert_int_equal(status, STATUS_OK);
    }
    while (threaded.durable_seq < THREADED_ENTRIES) {
        wait_for_news(&threaded);
    }
    pthread_mutex_lock(&threaded.mutex);
    threaded.is_stopping = true;
    pthread_cond_signal(&threaded.writer_cond);
    pthread_mutex_unlock(&threaded.mutex);
    pthread_join(thread, NULL);
    assert_null(file_journal_check(journal));
    journal->driver->close(journal);

    uint64_t sum = threaded.sum;
    threaded.sum = threaded.applied_seq = 0;
    assert_int_equal(file_journal_open(&config, &hooks, &callbacks, NULL, &recovery, &threaded.journal), STATUS_OK);
    assert_int_equal(recovery.entries, THREADED_ENTRIES);
    assert_int_equal(threaded.sum, sum);
    threaded.journal->driver->close(threaded.journal);
    disk_posix_close(disk);
}

/* A child proposes and tells through a pipe what is durable; it is killed; everything it told is there. */
static void kill_9_loses_nothing_that_was_told(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 8; round++) {
        int pipes[2];
        struct threaded threaded = {.mutex = PTHREAD_MUTEX_INITIALIZER};
        struct journal_callbacks callbacks = {on_entry, on_durable, on_failed, &threaded};
        struct file_journal_config config = {.segment_size = 64 << 10, .unsynced_size_max = 64 << 10, .salt = round};
        struct file_journal_recovery recovery;
        assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
        pid_t child = fork();
        if (child == 0) {
            struct journal *journal;
            char body[200] = "b";
            if (disk_posix_open(root, &config.disk) != STATUS_OK || disk_posix_lock(config.disk) != STATUS_OK ||
                file_journal_open(&config, NULL, &callbacks, NULL, &recovery, &journal) != STATUS_OK) {
                _exit(1);
            }
            for (unsigned i = 0;; i++) {
                (void)!journal->driver->propose(journal, i, slice_of(body, 1 + i % sizeof(body)));
                if (i % 5 == 0) {
                    file_journal_write(journal);
                    journal->driver->poll(journal);
                    if (write(pipes[1], &threaded.durable_seq, sizeof(threaded.durable_seq)) < 0) {
                        _exit(1);
                    }
                }
            }
        }
        close(pipes[1]);
        uint64_t told = 0;
        uint64_t durable;
        int64_t until_ns = clock_mono_ns() + 10000000 + round * 7000000;
        while (clock_mono_ns() < until_ns && read(pipes[0], &durable, sizeof(durable)) == sizeof(durable)) {
            told = durable;
        }
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        while (read(pipes[0], &durable, sizeof(durable)) == sizeof(durable)) {
            told = durable;
        }
        close(pipes[0]);
        assert_true(told > 0);
        struct journal *journal;
        assert_int_equal(disk_posix_open(root, &config.disk), STATUS_OK);
        assert_int_equal(disk_posix_lock(config.disk), STATUS_OK);
        enum status status = file_journal_open(&config, NULL, &callbacks, NULL, &recovery, &journal);
        assert_int_equal(status, STATUS_OK);
        assert_true(recovery.last_seq >= told);
        journal->driver->close(journal);
        disk_posix_close(config.disk);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_table_does_what_it_says, make_root, remove_root),
        cmocka_unit_test_setup_teardown(a_root_is_made_with_what_is_above_it, make_root, remove_root),
        cmocka_unit_test_setup_teardown(one_process_holds_the_lock, make_root, remove_root),
        cmocka_unit_test_setup_teardown(owner_and_writer_on_two_threads, make_root, remove_root),
        cmocka_unit_test_setup_teardown(kill_9_loses_nothing_that_was_told, make_root, remove_root),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
