/* task_waits_net.c - the world of task_waits.c as it really is: a timer of the loop, the clock. */
#include <stdlib.h>

#include "base/clock.h"
#include "hub/task_waits.h"

struct waits_net {
    struct hub *hub;
    uv_timer_t timer;
};

static int64_t net_mono_ns(void *ctx)
{
    (void)ctx;
    return clock_mono_ns();
}

static void on_timer(uv_timer_t *timer)
{
    struct waits_net *net = timer->data;
    task_waits_tick(net->hub->task_waits);
}

static void net_set_timer(void *ctx, int64_t after_ns)
{
    struct waits_net *net = ctx;
    if (after_ns == TASK_WAITS_NO_TIMER) {
        uv_timer_stop(&net->timer);
    } else { /* libuv knows milliseconds; rounded up, or it would come before its time and find nothing */
        uv_timer_start(&net->timer, on_timer, (uint64_t)((after_ns + NS_PER_MS - 1) / NS_PER_MS), 0);
    }
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void net_end(void *ctx)
{
    struct waits_net *net = ctx;
    uv_close((uv_handle_t *)&net->timer, on_closed);
}

enum status task_waits_new(struct hub *hub, struct task_waits **ret_waits)
{
    struct waits_net *net = calloc(1, sizeof(*net));
    if (net == NULL) {
        return STATUS_NO_MEMORY;
    }
    net->hub = hub;
    uv_timer_init(&hub->loop.uv, &net->timer);
    uv_unref((uv_handle_t *)&net->timer); /* waiting requests have connections; those keep the loop alive */
    net->timer.data = net;
    const struct task_waits_port port = {
        .mono_ns = net_mono_ns, .set_timer = net_set_timer, .end = net_end, .ctx = net};
    enum status status = task_waits_make(&port, ret_waits);
    if (status != STATUS_OK) {
        net_end(net);
    }
    return status;
}
