/* journal_thread.c - the threads behind the journal.
 *
 *   loop thread   propose ──lock, queue, wake_writer──▶ writer thread   write, fdatasync
 *                 poll    ◀──uv_async── wake_owner ────                 │ hint
 *                                                                      ▼
 *                                                     preparer thread  zero-fills the next segment (nice 10)
 *
 * The writer sleeps on a condition and is woken by a flag, so a wake-up between its last look and its sleep is not lost.
 * The preparer cannot know when a segment was used up, so the writer hints after it wrote, at most every HINT_NS: a
 * segment of 64 MiB lasts much longer than that, and an idle hub wakes nobody.
 *
 * Rejected: io_uring (one sync at a time is all a single log needs), a delay to gather larger groups (an fsync takes long
 * enough for a group to form behind it). */
#include "hub/journal_thread.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/ensure.h"

#define HINT_NS (50 * NS_PER_MS)
#define PREPARER_NICE 10

struct journal_thread {
    uint32_t magic;
    pthread_mutex_t mutex; /* the journal's lock too */
    pthread_cond_t writer_wake;
    pthread_cond_t preparer_wake;
    bool has_work;
    bool has_hint;
    bool is_stopping;
    bool is_running;
    pthread_t writer;
    pthread_t preparer;
    struct journal *journal;
    uv_async_t async;
};

static void hook_lock(void *ctx)
{
    struct journal_thread *thread = ctx;
    pthread_mutex_lock(&thread->mutex);
}

static void hook_unlock(void *ctx)
{
    struct journal_thread *thread = ctx;
    pthread_mutex_unlock(&thread->mutex);
}

/* The owner calls it with the lock held. */
static void hook_wake_writer(void *ctx)
{
    struct journal_thread *thread = ctx;
    if (!thread->has_work) {
        thread->has_work = true;
        pthread_cond_signal(&thread->writer_wake);
    }
}

static void hook_wake_owner(void *ctx)
{
    struct journal_thread *thread = ctx;
    uv_async_send(&thread->async);
}

static int64_t hook_mono_ns(void *ctx)
{
    (void)ctx;
    return clock_mono_ns();
}

/* Waits for a signal, or until a moment of the monotonic clock (INT64_MAX: for ever). */
static void wait_until(pthread_cond_t *cond, pthread_mutex_t *mutex, int64_t until_ns)
{
    if (until_ns == INT64_MAX) {
        pthread_cond_wait(cond, mutex);
        return;
    }
    struct timespec until = {.tv_sec = (time_t)(until_ns / NS_PER_S), .tv_nsec = (long)(until_ns % NS_PER_S)};
    (void)pthread_cond_timedwait(cond, mutex, &until);
}

static void *writer_run(void *ctx)
{
    struct journal_thread *thread = ctx;
    pthread_setname_np(pthread_self(), "shoal-journal");
    int64_t hint_ns = 0;
    pthread_mutex_lock(&thread->mutex);
    while (true) {
        bool is_last = thread->is_stopping;
        thread->has_work = false;
        pthread_mutex_unlock(&thread->mutex);
        bool did_something = false;
        while (file_journal_write(thread->journal)) {
            did_something = true;
        }
        int64_t sync_due_ns = file_journal_sync_due_ns(thread->journal);
        int64_t now_ns = clock_mono_ns();
        if (!did_something && sync_due_ns <= now_ns) {
            sync_due_ns = now_ns + HINT_NS; /* a journal that has failed must not make this thread spin */
        }
        pthread_mutex_lock(&thread->mutex);
        if (did_something && now_ns - hint_ns >= HINT_NS) {
            hint_ns = now_ns;
            thread->has_hint = true;
            pthread_cond_signal(&thread->preparer_wake);
        }
        if (is_last) {
            break;
        }
        while (!thread->has_work && !thread->is_stopping && clock_mono_ns() < sync_due_ns) {
            wait_until(&thread->writer_wake, &thread->mutex, sync_due_ns);
        }
    }
    pthread_mutex_unlock(&thread->mutex);
    return NULL;
}

static void *preparer_run(void *ctx)
{
    struct journal_thread *thread = ctx;
    pthread_setname_np(pthread_self(), "shoal-prepare");
    /* On Linux a nice value belongs to the thread. Zero-filling must not stand in the way of answers. */
    (void)setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), PREPARER_NICE);
    pthread_mutex_lock(&thread->mutex);
    while (!thread->is_stopping) {
        thread->has_hint = false;
        pthread_mutex_unlock(&thread->mutex);
        /* A failure (a full disk) is found again by the writer, which must then make the segment itself; the next hint
         * tries again. */
        while (file_journal_prepare(thread->journal) == STATUS_OK) {
        }
        pthread_mutex_lock(&thread->mutex);
        while (!thread->has_hint && !thread->is_stopping) {
            pthread_cond_wait(&thread->preparer_wake, &thread->mutex);
        }
    }
    pthread_mutex_unlock(&thread->mutex);
    return NULL;
}

static void on_async(uv_async_t *async)
{
    struct journal_thread *thread = async->data;
    ensure_magic(thread, JOURNAL_THREAD_MAGIC);
    if (thread->is_running) {
        thread->journal->driver->poll(thread->journal);
    }
}

enum status journal_thread_new(struct loop *loop, struct journal_thread **ret_thread)
{
    struct journal_thread *thread = calloc(1, sizeof(*thread));
    if (thread == NULL) {
        return STATUS_NO_MEMORY;
    }
    thread->magic = JOURNAL_THREAD_MAGIC;
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&thread->mutex, NULL);
    pthread_cond_init(&thread->writer_wake, &attr);
    pthread_cond_init(&thread->preparer_wake, NULL);
    pthread_condattr_destroy(&attr);
    int error = uv_async_init(&loop->uv, &thread->async, on_async);
    if (error != 0) {
        free(thread);
        return status_of_uv(error);
    }
    thread->async.data = thread;
    uv_unref((uv_handle_t *)&thread->async); /* it serves the loop; it does not keep it alive */
    *ret_thread = thread;
    return STATUS_OK;
}

struct file_journal_hooks journal_thread_hooks(struct journal_thread *thread)
{
    return (struct file_journal_hooks){.lock = hook_lock,
                                       .unlock = hook_unlock,
                                       .wake_writer = hook_wake_writer,
                                       .wake_owner = hook_wake_owner,
                                       .mono_ns = hook_mono_ns,
                                       .ctx = thread};
}

static void writer_end(struct journal_thread *thread)
{
    pthread_mutex_lock(&thread->mutex);
    thread->is_stopping = true;
    pthread_cond_signal(&thread->writer_wake);
    pthread_cond_signal(&thread->preparer_wake);
    pthread_mutex_unlock(&thread->mutex);
    pthread_join(thread->writer, NULL);
}

enum status journal_thread_start(struct journal_thread *thread, struct journal *journal)
{
    ensure_magic(thread, JOURNAL_THREAD_MAGIC);
    ensure(!thread->is_running);
    thread->journal = journal;
    thread->is_stopping = false;
    if (pthread_create(&thread->writer, NULL, writer_run, thread) != 0) {
        return STATUS_NO_MEMORY;
    }
    if (pthread_create(&thread->preparer, NULL, preparer_run, thread) != 0) {
        writer_end(thread);
        return STATUS_NO_MEMORY;
    }
    thread->is_running = true;
    return STATUS_OK;
}

void journal_thread_stop(struct journal_thread *thread)
{
    ensure_magic(thread, JOURNAL_THREAD_MAGIC);
    if (!thread->is_running) {
        return;
    }
    thread->is_running = false;
    writer_end(thread);
    pthread_join(thread->preparer, NULL);
}

static void on_async_closed(uv_handle_t *handle)
{
    struct journal_thread *thread = handle->data;
    pthread_cond_destroy(&thread->preparer_wake);
    pthread_cond_destroy(&thread->writer_wake);
    pthread_mutex_destroy(&thread->mutex);
    thread->magic = 0;
    free(thread);
}

void journal_thread_free(struct journal_thread *thread)
{
    if (thread == NULL) {
        return;
    }
    journal_thread_stop(thread);
    uv_close((uv_handle_t *)&thread->async, on_async_closed);
}
