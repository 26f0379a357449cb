/* loop.c - libuv with an end-of-turn hook and a mailbox.
 *
 * A turn of libuv is: timers, pending, idle, prepare, poll (all I/O callbacks), check, closing. Output is flushed in
 * check, right after the I/O callbacks that caused it, and in prepare, for what timers and other check hooks caused;
 * so nothing that is queued ever waits through a poll.
 *
 * Only the mailbox (async) keeps the loop alive; loop_stop lets go of it, and the loop ends once everybody else has
 * closed what is theirs. */
#include "net/loop.h"

#include <signal.h>
#include <stdlib.h>

#include "base/ensure.h"

static void flush_all(struct loop *loop)
{
    /* Only those queued now: one that queues itself again comes in the next hook, so a turn always ends. */
    struct loop_flush batch = loop->flushes;
    if (batch.next == &loop->flushes) {
        return;
    }
    batch.next->previous = &batch;
    batch.previous->next = &batch;
    loop->flushes.next = loop->flushes.previous = &loop->flushes;
    while (batch.next != &batch) {
        struct loop_flush *flush = batch.next;
        loop_flush_cancel(flush);
        flush->flush(flush);
    }
}

static void on_prepare(uv_prepare_t *prepare)
{
    struct loop *loop = prepare->data;
    flush_all(loop);
    if (loop->flushes.next != &loop->flushes) {
        /* A flush queued another one (an answer that lets a parked request go on). It must not wait through the
         * poll, and sockets must have their turn before it: poll without waiting. */
        uv_async_send(&loop->async);
    }
}

static void on_check(uv_check_t *check)
{
    flush_all(check->data);
}

static void on_async(uv_async_t *async)
{
    struct loop *loop = async->data;
    uv_mutex_lock(&loop->calls_lock);
    struct loop_call *call = loop->calls;
    loop->calls = NULL;
    loop->calls_end = &loop->calls;
    uv_mutex_unlock(&loop->calls_lock);
    while (call != NULL) {
        struct loop_call *next = call->next;
        call->next = NULL;
        call->run(call);
        call = next;
    }
}

enum status loop_init(struct loop *loop)
{
    *loop = (struct loop){0};
    loop->flushes.next = loop->flushes.previous = &loop->flushes;
    loop->calls_end = &loop->calls;
    loop->read_buffer = calloc(1, LOOP_READ_BUFFER_SIZE + LOOP_READ_PADDING_SIZE);
    if (loop->read_buffer == NULL) {
        return STATUS_NO_MEMORY;
    }
    signal(SIGPIPE, SIG_IGN);
    int error = uv_loop_init(&loop->uv);
    if (error != 0) {
        free(TAKE(loop->read_buffer));
        return status_of_uv(error);
    }
    loop->uv.data = loop;
    ensure(uv_mutex_init(&loop->calls_lock) == 0);
    error = uv_async_init(&loop->uv, &loop->async, on_async);
    if (error != 0) {
        uv_mutex_destroy(&loop->calls_lock);
        ensure(uv_loop_close(&loop->uv) == 0);
        free(TAKE(loop->read_buffer));
        return status_of_uv(error);
    }
    loop->async.data = loop;
    uv_prepare_init(&loop->uv, &loop->prepare);
    loop->prepare.data = loop;
    uv_prepare_start(&loop->prepare, on_prepare);
    uv_unref((uv_handle_t *)&loop->prepare);
    uv_check_init(&loop->uv, &loop->check);
    loop->check.data = loop;
    uv_check_start(&loop->check, on_check);
    uv_unref((uv_handle_t *)&loop->check);
    return STATUS_OK;
}

void loop_run(struct loop *loop)
{
    uv_run(&loop->uv, UV_RUN_DEFAULT);
}

void loop_stop(struct loop *loop)
{
    if (loop->is_stopping) {
        uv_stop(&loop->uv);
        return;
    }
    loop->is_stopping = true;
    uv_unref((uv_handle_t *)&loop->async);
}

static void close_handle(uv_handle_t *handle, void *ctx)
{
    (void)ctx;
    if (!uv_is_closing(handle)) {
        uv_close(handle, NULL);
    }
}

void loop_free(struct loop *loop)
{
    if (loop->read_buffer == NULL) {
        return;
    }
    uv_walk(&loop->uv, close_handle, NULL);
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    ensure(uv_loop_close(&loop->uv) == 0);
    uv_mutex_destroy(&loop->calls_lock);
    free(TAKE(loop->read_buffer));
}

int64_t loop_mono_ns(const struct loop *loop)
{
    return (int64_t)uv_now(&loop->uv) * 1000000;
}

void loop_flush_soon(struct loop *loop, struct loop_flush *flush)
{
    if (flush->next != NULL) {
        return;
    }
    flush->next = &loop->flushes;
    flush->previous = loop->flushes.previous;
    flush->previous->next = flush;
    loop->flushes.previous = flush;
}

void loop_flush_cancel(struct loop_flush *flush)
{
    if (flush->next == NULL) {
        return;
    }
    flush->previous->next = flush->next;
    flush->next->previous = flush->previous;
    flush->next = flush->previous = NULL;
}

void loop_post(struct loop *loop, struct loop_call *call)
{
    call->next = NULL;
    uv_mutex_lock(&loop->calls_lock);
    *loop->calls_end = call;
    loop->calls_end = &call->next;
    uv_mutex_unlock(&loop->calls_lock);
    uv_async_send(&loop->async);
}

enum status status_of_uv(int error)
{
    switch (error) {
    case 0:
        return STATUS_OK;
    case UV_EADDRINUSE:
        return STATUS_ADDRESS_IN_USE;
    case UV_ENOMEM:
    case UV_ENOBUFS:
        return STATUS_NO_MEMORY;
    case UV_EMFILE:
    case UV_ENFILE:
    case UV_EAGAIN:
        return STATUS_BUSY;
    case UV_ENOSPC:
        return STATUS_NO_SPACE;
    case UV_ENOENT:
        return STATUS_NOT_FOUND;
    case UV_ECONNREFUSED:
    case UV_EHOSTUNREACH:
    case UV_ENETUNREACH:
    case UV_ENETDOWN:
    case UV_EAI_NONAME:
    case UV_EAI_AGAIN:
    case UV_EAI_FAIL:
    case UV_EAI_NODATA:
    case UV_EAI_FAMILY:
    case UV_EAI_SERVICE:
        return STATUS_UNREACHABLE;
    case UV_EOF:
    case UV_ECONNRESET:
    case UV_ECONNABORTED:
    case UV_EPIPE:
    case UV_ENOTCONN:
    case UV_ESHUTDOWN:
        return STATUS_CLOSED;
    case UV_ECANCELED:
        return STATUS_CANCELLED;
    case UV_ETIMEDOUT:
        return STATUS_TIMEOUT;
    case UV_EINVAL:
    case UV_EADDRNOTAVAIL:
        return STATUS_INVALID;
    case UV_EACCES:
    case UV_EPERM:
        return STATUS_PERMISSION;
    case UV_ENOSYS:
    case UV_ENOTSUP:
        return STATUS_UNSUPPORTED_HOST;
    default:
        return STATUS_IO;
    }
}
