/* outbox.h - the unsent bytes of one stream.
 *
 * Appends go to `out`; outbox_flush writes them with one system call where the socket has room, and hands the rest to
 * libuv where it has not. Internal to net; on the loop's thread. */
#ifndef SHOAL_NET_OUTBOX_H
#define SHOAL_NET_OUTBOX_H

#include <uv.h>

#include "base/buf.h"

#define OUTBOX_SIZE_MAX (1u << 30) /* no stream gets here: reading stops or it is closed long before */

/* Buffers that no connection needs just now, so that idle connections hold none and busy ones allocate none. */
struct buf_pool {
    struct buf bufs[64];
    uint32_t count;
};
void buf_pool_free(struct buf_pool *pool);

struct outbox {
    uv_stream_t *stream;
    struct buf_pool *pool; /* may be NULL */
    struct buf out;
    struct buf writing;   /* what libuv is writing */
    size_t writing_begun; /* bytes of it that were sent before libuv got it */
    uv_write_t write;
    bool is_writing;
    uint64_t sent;                                     /* bytes given to the system by writes that are over */
    uint64_t *sent_total;                              /* counter of somebody; may be NULL */
    void (*on_written)(struct outbox *box, int error); /* libuv is done with `writing`; not called once closed is set */
    bool is_closed;                                    /* set by the owner when it closes the stream */
};

/* `stream` must be open. The owner frees the box in the stream's close callback. */
void outbox_init(struct outbox *box, uv_stream_t *stream, struct buf_pool *pool);
void outbox_free(struct outbox *box);
/* Where to append. */
struct buf *outbox_buf(struct outbox *box);
size_t outbox_unsent(const struct outbox *box);
/* Bytes that the system has taken in all. */
uint64_t outbox_sent(const struct outbox *box);
/* Sends what it can. 0, or a libuv error number that means the stream is dead. */
int outbox_flush(struct outbox *box);

#endif
