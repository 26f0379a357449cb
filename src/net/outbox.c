#include "net/outbox.h"

#include <stdlib.h>

#include "base/ensure.h"

#define POOLED_SIZE_MAX 32768u /* larger buffers go back to malloc */

void buf_pool_free(struct buf_pool *pool)
{
    while (pool->count > 0) {
        buf_free(&pool->bufs[--pool->count]);
    }
}

static void give_back(struct outbox *box, struct buf *buf)
{
    buf_reset(buf);
    if (buf->cap == 0) {
        return;
    }
    if (box->pool == NULL ? buf->cap > POOLED_SIZE_MAX
                          : buf->cap > POOLED_SIZE_MAX || box->pool->count == ARRAY_COUNT(box->pool->bufs)) {
        buf_free(buf);
    } else if (box->pool != NULL) {
        box->pool->bufs[box->pool->count++] = *buf;
        buf_init(buf, OUTBOX_SIZE_MAX);
    }
}

void outbox_init(struct outbox *box, uv_stream_t *stream, struct buf_pool *pool)
{
    *box = (struct outbox){.stream = stream, .pool = pool};
    buf_init(&box->out, OUTBOX_SIZE_MAX);
    buf_init(&box->writing, OUTBOX_SIZE_MAX);
}

void outbox_free(struct outbox *box)
{
    ensure(!box->is_writing);
    buf_free(&box->out);
    buf_free(&box->writing);
}

struct buf *outbox_buf(struct outbox *box)
{
    if (box->out.cap == 0 && box->pool != NULL && box->pool->count > 0) {
        box->out = box->pool->bufs[--box->pool->count];
    }
    return &box->out;
}

size_t outbox_unsent(const struct outbox *box)
{
    return box->out.len + (box->is_writing ? uv_stream_get_write_queue_size(box->stream) : 0);
}

uint64_t outbox_sent(const struct outbox *box)
{
    size_t left = box->is_writing ? uv_stream_get_write_queue_size(box->stream) : 0;
    return box->sent + (box->is_writing ? box->writing.len - box->writing_begun - left : 0);
}

static void on_write(uv_write_t *write, int error)
{
    struct outbox *box = write->data;
    box->is_writing = false;
    box->sent += box->writing.len - box->writing_begun;
    if (error == 0 && box->sent_total != NULL) {
        *box->sent_total += box->writing.len - box->writing_begun;
    }
    give_back(box, &box->writing);
    if (!box->is_closed) {
        box->on_written(box, error);
    }
}

int outbox_flush(struct outbox *box)
{
    if (box->is_writing || box->is_closed) {
        return 0;
    }
    if (box->out.failed) {
        return UV_ENOMEM;
    }
    if (box->out.len == 0) {
        return 0;
    }
    uv_buf_t piece = uv_buf_init(box->out.data, (unsigned)box->out.len);
    int count = uv_try_write(box->stream, &piece, 1);
    if (count < 0 && count != UV_EAGAIN) {
        return count;
    }
    size_t sent = count > 0 ? (size_t)count : 0;
    box->sent += sent;
    if (box->sent_total != NULL) {
        *box->sent_total += sent;
    }
    if (sent == box->out.len) {
        give_back(box, &box->out);
        return 0;
    }
    struct buf spare = box->writing;
    box->writing = box->out;
    box->out = spare;
    box->write.data = box;
    piece = uv_buf_init(box->writing.data + sent, (unsigned)(box->writing.len - sent));
    int error = uv_write(&box->write, box->stream, &piece, 1, on_write);
    if (error != 0) {
        return error;
    }
    box->writing_begun = sent;
    box->is_writing = true;
    return 0;
}
