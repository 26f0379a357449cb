/* blob_sweep.h - what the store's disk holds: which blobs nobody names any more, how slow uploads are, how full it is.
 *
 * Loop's thread; directories are read and files unlinked on libuv's pool. */
#ifndef SHOAL_HUB_BLOB_SWEEP_H
#define SHOAL_HUB_BLOB_SWEEP_H

#include "hub/hub.h"

/* Starts the sweep and the watch over the disk of a hub that is open (history and core included). NO_MEMORY. */
STATUS_MUST_CHECK enum status blob_sweep_new(struct hub *hub, struct blob_sweep **ret_sweep);
/* Ends both. Before blob_store_close and history_close. */
void blob_sweep_free(struct blob_sweep *sweep);

/* Whether a task, in memory or in history, names the blob. AGAIN while that cannot be told: history is being indexed. */
STATUS_MUST_CHECK enum status blob_is_named(struct hub *hub, const char *hex, bool *ret_is_named);

struct storage_stats {
    uint64_t blobs, blobs_size;       /* as of the last pass, and what came and went since */
    uint64_t blobs_collected, passes; /* by this process */
    uint64_t disk_free, disk_reserve; /* bytes; reserve 0: none is kept */
    bool is_low;                      /* new work and blobs are refused until there is room again */
};
void blob_sweep_stats(const struct blob_sweep *sweep, struct storage_stats *ret);

#endif
