/* proxy.h - a line that can be made bad: a TCP proxy on the loop with delay, bandwidth, loss, cuts and black holes.
 *
 * On its loop's thread. Times are kept to the millisecond of the loop. */
#ifndef SHOAL_BENCH_PROXY_H
#define SHOAL_BENCH_PROXY_H

#include "base/words.h"
#include "net/loop.h"

struct proxy;

/* Listens on a free port of 127.0.0.1 and passes every connection on to 127.0.0.1:to_port. ADDRESS_IN_USE, NO_MEMORY. */
STATUS_MUST_CHECK enum status proxy_start(struct loop *loop, uint16_t to_port, uint64_t seed, struct proxy **ret_proxy);
uint16_t proxy_port(const struct proxy *proxy);
/* Each piece of data waits so long, drawn evenly from the range (ns), in each direction; order is kept. {0, 0}: no delay. */
void proxy_set_delay(struct proxy *proxy, struct words_range delay);
/* Bytes a second in each direction, of all connections together. 0: no limit. */
void proxy_set_bandwidth(struct proxy *proxy, uint64_t bytes_per_s);
/* The chance that a piece of data that comes (up to 64 KiB) resets its connection instead. */
void proxy_set_loss(struct proxy *proxy, uint32_t permille);
/* True: connections are reset and new ones refused. The port is kept. IO when it cannot listen again. */
STATUS_MUST_CHECK enum status proxy_set_cut(struct proxy *proxy, bool is_cut);
/* True: connections are taken, nothing passes and nothing is closed. False: what waited goes on. */
void proxy_set_blackhole(struct proxy *proxy, bool is_blackhole);
struct proxy_stats {
    uint64_t connections, resets, bytes_to, bytes_from; /* passed on to the target, from it */
    uint32_t open;
};
void proxy_stats(const struct proxy *proxy, struct proxy_stats *ret_stats);
/* Closes everything; on_closed is called from the loop when the memory is gone. */
void proxy_close(struct proxy *proxy, void (*on_closed)(void *ctx), void *ctx);

#endif
