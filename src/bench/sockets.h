/* sockets.h - the steps ws-open, ws-send and ws-close of a user. Inside the engine. */
#ifndef SHOAL_BENCH_SOCKETS_H
#define SHOAL_BENCH_SOCKETS_H

#include "bench/engine_internal.h"

/* Does a step; user_step_ended is called when it is over, soon or at once. The user's alarm is its deadline. */
void socket_step(struct user *user, const struct step_plan *plan, int64_t now_ns);
/* The user has no use for it any more; harmless without one. */
void socket_drop(struct user *user);

#endif
