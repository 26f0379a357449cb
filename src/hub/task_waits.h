/* task_waits.h - requests that wait for a task to become final.
 *
 * A wait names a task and a moment; on_done is called once, when a released effect made the task final, when the moment has
 * passed, or when the hub stops. Loop's thread. */
#ifndef SHOAL_HUB_TASK_WAITS_H
#define SHOAL_HUB_TASK_WAITS_H

#include "hub/hub.h"

#define TASK_WAIT_NONE UINT32_MAX
#define TASK_WAITS_MAX 100000 /* five for each of LIMIT_HTTP_CONNECTIONS; 40 bytes each */

typedef void task_wait_done(void *ctx, bool is_final);

/* --- the world, as a small table of functions --- */
#define TASK_WAITS_NO_TIMER INT64_C(-1)
struct task_waits_port {
    int64_t (*mono_ns)(void *ctx);
    /* task_waits_tick once, this much later (or a little more), in place of what was asked for before; TASK_WAITS_NO_TIMER:
     * never. Not from inside. */
    void (*set_timer)(void *ctx, int64_t after_ns);
    void (*end)(void *ctx); /* the waits are freed */
    void *ctx;
};
/* task_waits_new (hub.h) with another world than the loop. */
STATUS_MUST_CHECK enum status task_waits_make(const struct task_waits_port *port, struct task_waits **ret_waits);
/* Called by the world: ends the waits whose moment has passed. */
void task_waits_tick(struct task_waits *waits);

/* Waits at most `wait_ms`. BUSY past TASK_WAITS_MAX. Never calls on_done from inside. */
STATUS_MUST_CHECK enum status task_waits_add(struct task_waits *waits, uint64_t task_id, int64_t wait_ms,
                                             task_wait_done *on_done, void *ctx, uint32_t *ret_wait);
/* Forgets a wait whose on_done has not been called. */
void task_waits_remove(struct task_waits *waits, uint32_t wait);
/* Ends all waits as if their time had passed. */
void task_waits_stop(struct task_waits *waits);
uint32_t task_waits_count(const struct task_waits *waits);

#endif
