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

/* Waits at most `wait_ms`. BUSY past TASK_WAITS_MAX. Never calls on_done from inside. */
STATUS_MUST_CHECK enum status task_waits_add(struct task_waits *waits, uint64_t task_id, int64_t wait_ms,
                                             task_wait_done *on_done, void *ctx, uint32_t *ret_wait);
/* Forgets a wait whose on_done has not been called. */
void task_waits_remove(struct task_waits *waits, uint32_t wait);
/* Ends all waits as if their time had passed. */
void task_waits_stop(struct task_waits *waits);
uint32_t task_waits_count(const struct task_waits *waits);

#endif
