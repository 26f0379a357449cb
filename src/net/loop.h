/* loop.h - one event loop (libuv) per thread, with what every daemon needs around it.
 *
 * The loop's thread owns everything made on it; only loop_post may be called from other threads. */
#ifndef SHOAL_NET_LOOP_H
#define SHOAL_NET_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/status.h"

#define LOOP_READ_BUFFER_SIZE 65536u
#define LOOP_READ_PADDING_SIZE 64u /* readable behind whatever was read: what simdjson wants */

/* Something with output to send. Queued once by loop_flush_soon; `flush` is called before the loop waits again, which
 * is how answers that become ready in one turn share one write. */
struct loop_flush {
    void (*flush)(struct loop_flush *self);
    struct loop_flush *next, *previous; /* of the loop; next is NULL when not queued */
};

/* A call to be made on the loop's thread. The memory is the caller's until `run` is called. */
struct loop_call {
    void (*run)(struct loop_call *self);
    struct loop_call *next; /* of the loop */
};

struct loop {
    uv_loop_t uv;
    /* 64 KiB read buffer shared by all connections of the loop, with room behind it for the JSON parser's padding. */
    char *read_buffer;
    void *data; /* of whoever runs the loop */

    /* of loop.c */
    struct loop_flush flushes; /* ring of those queued; the head is no entry */
    uv_prepare_t prepare;
    uv_check_t check;
    uv_async_t async;
    uv_mutex_t calls_lock;
    struct loop_call *calls, **calls_end; /* posted, oldest first */
    bool is_stopping;
};

/* Also makes the process ignore SIGPIPE: a peer that went away is a status, not the end. */
STATUS_MUST_CHECK enum status loop_init(struct loop *loop);
/* Runs until loop_stop and no handle is left, or loop_stop twice. */
void loop_run(struct loop *loop);
void loop_stop(struct loop *loop);
/* After loop_run. Handles that are still open are closed; their close callbacks run. */
void loop_free(struct loop *loop);
/* The monotonic clock, read once per loop iteration (uv_update_time has the same staleness), in steps of 1 ms. */
int64_t loop_mono_ns(const struct loop *loop);
/* Calls flush once before the loop waits again; queueing twice is the same as once. */
void loop_flush_soon(struct loop *loop, struct loop_flush *flush);
/* Takes it back; harmless when it is not queued. */
void loop_flush_cancel(struct loop_flush *flush);
/* Any thread: runs the call on the loop's thread, in the order of posting, soon. Calls posted after the last loop_run
 * are not made. */
void loop_post(struct loop *loop, struct loop_call *call);
/* The enum status of a libuv error number: ADDRESS_IN_USE, UNREACHABLE, CLOSED, NO_SPACE, … */
enum status status_of_uv(int error);

#endif
