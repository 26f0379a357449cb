/* loop.h - one event loop (libuv) per thread, with what every daemon needs around it.
 *
 * The loop's thread owns everything made on it; only loop_post may be called from other threads. */
#ifndef SHOAL_NET_LOOP_H
#define SHOAL_NET_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/status.h"

struct loop {
    uv_loop_t uv;
    /* 64 KiB read buffer shared by all connections of the loop, with room behind it for the JSON parser's padding. */
    char *read_buffer;
    void *data; /* of whoever runs the loop */
};

STATUS_MUST_CHECK enum status loop_init(struct loop *loop);
/* Runs until loop_stop and no handle is left, or loop_stop twice. */
void loop_run(struct loop *loop);
void loop_stop(struct loop *loop);
void loop_free(struct loop *loop);
/* Wall and monotonic clock, read once per loop iteration (uv_update_time has the same staleness). */
int64_t loop_mono_ns(const struct loop *loop);
/* The enum status of a libuv error number: ADDRESS_IN_USE, UNREACHABLE, CLOSED, NO_SPACE, … */
enum status status_of_uv(int error);

#endif
