/* snapshotter.h - snapshots of the core by a forked child, while the hub goes on.
 *
 * On the loop's thread. At most one at a time. The child writes the state as it was at the fork; it gives the file its name
 * only after the hub has told it that the entry it stands at is durable, so that a snapshot never runs ahead of the
 * journal. A child whose hub dies dies with it. */
#ifndef SHOAL_HUB_SNAPSHOTTER_H
#define SHOAL_HUB_SNAPSHOTTER_H

#include "hub/sequencer.h"
#include "journal/disk.h"
#include "net/loop.h"

struct snapshotter;

/* `on_done` on the loop's thread, when a snapshot is in place (OK and its seq) or failed. `lock_path` is the file of the
 * data directory's lock, which the child lets go of; `newest_seq` of the newest snapshot there is. The rest is borrowed. */
STATUS_MUST_CHECK enum status snapshotter_new(struct loop *loop, struct disk *disk, struct sequencer *sequencer,
                                              const char *lock_path, uint64_t newest_seq,
                                              void (*on_done)(void *ctx, enum status status, uint64_t seq), void *ctx,
                                              struct snapshotter **ret_snapshotter);
/* Forks. AGAIN when one is under way or there is nothing new since the last one. */
STATUS_MUST_CHECK enum status snapshotter_begin(struct snapshotter *snapshotter);
bool snapshotter_is_running(const struct snapshotter *snapshotter);
/* Everything up to seq is durable: lets a waiting child finish. */
void snapshotter_on_durable(struct snapshotter *snapshotter, uint64_t seq);
/* Ends a child that is at work, and writes a snapshot in place. Everything must be durable. */
STATUS_MUST_CHECK enum status snapshotter_run(struct snapshotter *snapshotter);
/* Ends a child that is at work; gives the memory back during the loop's next turn. */
void snapshotter_free(struct snapshotter *snapshotter);

/* Writes the state of a core as a snapshot, in place. */
STATUS_MUST_CHECK enum status snapshot_core(struct disk *disk, const struct core *core);

#endif
