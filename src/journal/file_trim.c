/* file_trim.c - lets go of what is no longer needed, and keeps up to two segments' files for their allocated space.
 *
 * Kept are the two newest snapshots and every entry after the older one, so that the loss of a snapshot costs nothing, and
 * every entry that history has not stored. A segment goes only as a whole, only when it has been synced (the writer is
 * done with it), and never the newest. */
#include <stdio.h>

#include "base/ensure.h"
#include "journal/file_journal_parts.h"

#define SNAPSHOTS_KEPT 2
#define SNAPSHOTS_SEEN 16 /* at a time; more are left for the next trim */

/* Removes all but the newest two. ret_older_seq: 0 when there are not two. */
static enum status trim_snapshots(struct disk *disk, uint64_t *ret_older_seq)
{
    struct snapshot_info infos[SNAPSHOTS_SEEN];
    size_t count;
    enum status status = snapshot_list(disk, infos, SNAPSHOTS_SEEN, &count);
    for (size_t i = SNAPSHOTS_KEPT; status == STATUS_OK && i < count; i++) {
        char path[SEGMENT_PATH_SIZE];
        snprintf(path, sizeof(path), "snapshot/%020llu.snap", (unsigned long long)infos[i].seq);
        status = disk->remove(disk, path);
    }
    /* The names of those kept must be durable before what they stand in for goes. */
    if (status == STATUS_OK) {
        status = disk->sync_dir(disk, "snapshot");
    }
    if (status == STATUS_OK) {
        *ret_older_seq = count >= SNAPSHOTS_KEPT ? infos[SNAPSHOTS_KEPT - 1].seq : 0;
    }
    return status;
}

/* The oldest segment leaves the log: it becomes a spare, or is removed when there are enough. */
static enum status release_oldest(struct file_journal *fj, struct file_spare *ret_spare, bool *ret_is_spare)
{
    struct disk *disk = fj->config.disk;
    const struct file_segment *segment = &fj->segments[0];
    char path[SEGMENT_PATH_SIZE];
    char spare[SEGMENT_PATH_SIZE];
    file_journal_lock(fj);
    *ret_is_spare = fj->spare_count < FILE_JOURNAL_SPARES && segment->size == fj->config.segment_size;
    uint64_t id = fj->spare_id_next;
    if (*ret_is_spare) {
        fj->spare_id_next++;
    }
    file_journal_unlock(fj);
    segment_path(segment->first_seq, path);
    segment_spare_path(id, spare);
    *ret_spare = (struct file_spare){.id = id, .size = segment->size};
    return *ret_is_spare ? disk->rename(disk, path, spare) : disk->remove(disk, path);
}

enum status file_journal_trim(struct journal *journal, uint64_t history_seq)
{
    struct file_journal *fj = file_journal_of(journal);
    struct disk *disk = fj->config.disk;
    uint64_t keep_after;
    enum status status = trim_snapshots(disk, &keep_after);
    if (status != STATUS_OK) {
        return status;
    }
    keep_after = history_seq < keep_after ? history_seq : keep_after;
    file_journal_lock(fj);
    keep_after = fj->synced_seq < keep_after ? fj->synced_seq : keep_after;
    file_journal_unlock(fj);
    bool has_released = false;
    while (status == STATUS_OK && fj->segment_count > 1 && fj->segments[0].last_seq <= keep_after) {
        struct file_spare spare;
        bool is_spare;
        status = release_oldest(fj, &spare, &is_spare);
        if (status != STATUS_OK) {
            break;
        }
        has_released = true;
        fj->segment_count--;
        memmove(fj->segments, fj->segments + 1, fj->segment_count * sizeof(*fj->segments));
        if (is_spare) {
            file_journal_lock(fj);
            ensure(fj->spare_count < FILE_JOURNAL_SPARES_MAX);
            fj->spares[fj->spare_count++] = spare;
            fj->has_room_news = fj->has_room_news || fj->spare_size_wanted > 0 || fj->is_full;
            fj->is_full = false;
            if (fj->spare_size_wanted <= spare.size) {
                fj->spare_size_wanted = 0;
            }
            file_journal_unlock(fj);
        }
    }
    if (has_released && status == STATUS_OK) {
        status = disk->sync_dir(disk, "journal");
    }
    return status;
}
