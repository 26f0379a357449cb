/* file_writer.c - the file driver's writer: moves batches to the disk, syncs them, makes spares.
 *
 * One thread at a time is the writer; the preparer may be the same or another. Neither knows the core or the callbacks:
 * what they have done the owner learns from the fields under the lock (file_journal_parts.h) when it polls.
 *
 * The order that J1 rests on, for one batch:
 *   1. a segment that ends here is synced before the next one begins, so a tear never spans two segments that hold
 *      acknowledged entries
 *   2. the spare is renamed, and the folder synced, before the first byte is written into it: a spare never holds
 *      records of the segment it is about to become
 *   3. header and records, one write for each segment
 *   4. fdatasync, and only then durable_seq moves
 * An error anywhere is final (`failed`): after a failed sync the kernel may have dropped the pages, and a second sync that
 * succeeds would prove nothing. Only making spares may meet a full disk and try again, since nothing depends on it. */
#include <stdio.h>
#include <stdlib.h>

#include "base/ensure.h"
#include "base/mutation.h"
#include "journal/file_journal_parts.h"

#define PREPARE_SIZE ((size_t)1 << 20) /* one call of prepare: about 3 ms, so that a waiting batch is not held up */

/* Left for others on a disk that fills up: an eighth of a segment (8 MiB) on top of the spare. */
static uint64_t free_size_needed(uint64_t spare_size)
{
    return spare_size + spare_size / 8;
}

/* Ends the journal. Not locked. */
static void fail(struct file_journal *fj, enum status status, const char *what)
{
    file_journal_lock(fj);
    if (fj->failed == STATUS_OK) {
        fj->failed = status;
        snprintf(fj->why, sizeof(fj->why), "%s: %s", what, status_title(status));
    }
    file_journal_unlock(fj);
    if (fj->hooks.wake_owner != NULL) {
        fj->hooks.wake_owner(fj->hooks.ctx);
    }
}

static int64_t mono_ns(const struct file_journal *fj)
{
    return fj->hooks.mono_ns != NULL ? fj->hooks.mono_ns(fj->hooks.ctx) : 0;
}

static enum status sync_file(struct file_journal *fj)
{
    if (!fj->is_dirty || fj->file == NULL) {
        return STATUS_OK;
    }
    enum status status = MUTATION(skip_fsync) ? STATUS_OK : fj->config.disk->sync(fj->config.disk, fj->file);
    if (status == STATUS_OK) {
        fj->is_dirty = false;
    }
    return status;
}

/* Turns a spare into the segment that the chunk begins, and makes it the file being written. */
static enum status begin_file(struct file_journal *fj, const struct file_chunk *chunk, const char **ret_what)
{
    struct disk *disk = fj->config.disk;
    char spare[SEGMENT_PATH_SIZE];
    char path[SEGMENT_PATH_SIZE];
    segment_spare_path(chunk->spare_id, spare);
    segment_path(chunk->first_seq, path);
    *ret_what = "syncing a full segment";
    enum status status = fj->config.durability == DURABILITY_NONE ? STATUS_OK : sync_file(fj);
    if (status != STATUS_OK) {
        return status;
    }
    if (fj->file != NULL) {
        disk->close(disk, TAKE(fj->file));
    }
    fj->is_dirty = false;
    *ret_what = "beginning a segment";
    status = disk->rename(disk, spare, path);
    if (status == STATUS_OK && !MUTATION(skip_dir_sync)) {
        status = disk->sync_dir(disk, "journal");
    }
    if (status == STATUS_OK) {
        status = disk->open(disk, path, DISK_OPEN_WRITE, &fj->file);
    }
    if (status == STATUS_OK) {
        fj->file_first_seq = chunk->first_seq;
    }
    return status;
}

static enum status write_batch(struct file_journal *fj, const struct file_batch *batch, const char **ret_what)
{
    for (size_t i = 0; i < batch->chunk_count; i++) {
        const struct file_chunk *chunk = &batch->chunks[i];
        if (chunk->begins_segment) {
            enum status status = begin_file(fj, chunk, ret_what);
            if (status != STATUS_OK) {
                return status;
            }
        }
        ensure(fj->file != NULL && fj->file_first_seq == chunk->first_seq);
        *ret_what = "writing a segment";
        fj->is_dirty = true;
        enum status status = fj->config.disk->write_at(fj->config.disk, fj->file, chunk->offset,
                                                       batch->bytes.data + chunk->start, chunk->len);
        if (status != STATUS_OK) {
            return status;
        }
    }
    return STATUS_OK;
}

/* Whether what is written should be synced now. */
static bool is_sync_due(const struct file_journal *fj, bool is_closing)
{
    if (!fj->is_dirty) {
        return false;
    }
    switch (fj->config.durability) {
    case DURABILITY_BATCH:
        return true;
    case DURABILITY_INTERVAL:
        return is_closing || fj->hooks.mono_ns == NULL ||
               mono_ns(fj) - fj->synced_at_ns >= fj->config.sync_interval_ms * 1000000;
    case DURABILITY_NONE:
        return false;
    }
    return true;
}

static void reset_batch(struct file_batch *batch)
{
    if (batch->bytes.cap > FILE_JOURNAL_BATCH_KEEP) {
        buf_free(&batch->bytes);
    }
    buf_reset(&batch->bytes);
    batch->chunk_count = 0;
    batch->entry_size = 0;
}

static bool write_and_sync(struct file_journal *fj, bool is_closing)
{
    struct file_batch *batch = NULL;
    const char *what = "";
    file_journal_lock(fj);
    if (fj->failed != STATUS_OK) {
        file_journal_unlock(fj);
        return false;
    }
    if (fj->batches[fj->filling].chunk_count > 0) {
        batch = &fj->batches[fj->filling];
        fj->filling ^= 1u;
        ensure(fj->batches[fj->filling].chunk_count == 0);
    }
    file_journal_unlock(fj);

    enum status status = STATUS_OK;
    if (batch != NULL) {
        status = write_batch(fj, batch, &what);
        if (status == STATUS_OK) {
            fj->written_seq = batch->last_seq;
        }
    }
    bool is_synced = status == STATUS_OK && is_sync_due(fj, is_closing);
    if (is_synced) {
        what = "syncing a segment";
        status = sync_file(fj);
        fj->synced_at_ns = mono_ns(fj);
    }
    if (status != STATUS_OK) {
        fail(fj, status, what);
        return true;
    }
    if (batch == NULL && !is_synced) {
        return false;
    }
    uint64_t entry_size = batch != NULL ? batch->entry_size : 0;
    if (batch != NULL) {
        reset_batch(batch);
    }
    file_journal_lock(fj);
    if (is_synced) {
        fj->synced_seq = fj->written_seq;
    }
    fj->durable_seq = fj->written_seq; /* with DURABILITY_BATCH the same as synced_seq */
    ensure(fj->config.durability != DURABILITY_BATCH || fj->durable_seq == fj->synced_seq);
    ensure(fj->unsynced_size >= entry_size);
    fj->unsynced_size -= entry_size;
    file_journal_unlock(fj);
    if (fj->hooks.wake_owner != NULL) {
        fj->hooks.wake_owner(fj->hooks.ctx);
    }
    return true;
}

bool file_journal_write(struct journal *journal)
{
    struct file_journal *fj = file_journal_of(journal);
    bool has_done = write_and_sync(fj, false);
    file_journal_lock(fj);
    bool is_wanted = fj->spare_size_wanted > 0 && fj->failed == STATUS_OK && !fj->is_preparing;
    file_journal_unlock(fj);
    if (is_wanted) {
        /* The owner cannot go on without it. A full disk is remembered in is_full. */
        (void)file_journal_prepare_all(fj);
        has_done = true;
    }
    return has_done;
}

void file_journal_write_all(struct file_journal *fj)
{
    while (write_and_sync(fj, true)) {
    }
}

int64_t file_journal_sync_due_ns(struct journal *journal)
{
    const struct file_journal *fj = file_journal_of(journal);
    if (fj->config.durability != DURABILITY_INTERVAL || !fj->is_dirty) {
        return INT64_MAX;
    }
    return fj->synced_at_ns + fj->config.sync_interval_ms * 1000000;
}

/* --- spares --- */

/* Gives the file being filled up. */
static void drop_spare_file(struct file_journal *fj)
{
    struct disk *disk = fj->config.disk;
    if (fj->spare_file != NULL) {
        disk->close(disk, TAKE(fj->spare_file));
    }
    (void)disk->remove(disk, FILE_JOURNAL_TMP); /* if it stays, opening removes it, and so does the next attempt */
}

static enum status start_spare(struct file_journal *fj, uint64_t size)
{
    struct disk *disk = fj->config.disk;
    uint64_t free_size;
    enum status status = disk->free_size(disk, &free_size);
    if (status == STATUS_OK && free_size < free_size_needed(size)) {
        return STATUS_NO_SPACE;
    }
    if (status == STATUS_OK) {
        status = disk->remove(disk, FILE_JOURNAL_TMP);
        status = status == STATUS_NOT_FOUND ? STATUS_OK : status;
    }
    if (status == STATUS_OK) {
        status = disk->open(disk, FILE_JOURNAL_TMP, DISK_OPEN_CREATE, &fj->spare_file);
    }
    fj->spare_offset = 0;
    fj->spare_size = size;
    return status;
}

/* One piece of zeros, synced; the last one gives the file its name. */
static enum status fill_spare(struct file_journal *fj)
{
    static char zeros[PREPARE_SIZE]; /* not const: a megabyte of the program's memory, not of its file */
    struct disk *disk = fj->config.disk;
    uint64_t left = fj->spare_size - fj->spare_offset;
    size_t len = left < PREPARE_SIZE ? (size_t)left : PREPARE_SIZE;
    enum status status = disk->write_at(disk, fj->spare_file, fj->spare_offset, zeros, len);
    if (status == STATUS_OK) {
        status = disk->sync(disk, fj->spare_file);
    }
    if (status != STATUS_OK) {
        return status;
    }
    fj->spare_offset += len;
    if (fj->spare_offset < fj->spare_size) {
        return STATUS_OK;
    }
    char path[SEGMENT_PATH_SIZE];
    file_journal_lock(fj);
    fj->spare_id = fj->spare_id_next++;
    file_journal_unlock(fj);
    segment_spare_path(fj->spare_id, path);
    disk->close(disk, TAKE(fj->spare_file));
    /* Its name need not be durable yet: becoming a segment syncs the folder. */
    return disk->rename(disk, FILE_JOURNAL_TMP, path);
}

/* Locked. The size of the spare to be made; 0: none is. */
static uint64_t spare_size_missing(const struct file_journal *fj)
{
    if (fj->failed != STATUS_OK || fj->spare_count == FILE_JOURNAL_SPARES_MAX) {
        return 0;
    }
    if (fj->spare_size_wanted > fj->config.segment_size) {
        return fj->spare_size_wanted;
    }
    return fj->spare_size_wanted > 0 || fj->spare_count == 0 ? fj->config.segment_size : 0;
}

enum status file_journal_prepare(struct journal *journal)
{
    struct file_journal *fj = file_journal_of(journal);
    file_journal_lock(fj);
    uint64_t size = spare_size_missing(fj);
    if (size == 0 || fj->is_preparing) {
        file_journal_unlock(fj);
        return STATUS_AGAIN;
    }
    fj->is_preparing = true;
    file_journal_unlock(fj);

    if (fj->spare_file != NULL && fj->spare_size < size) {
        drop_spare_file(fj);
    }
    enum status status = fj->spare_file == NULL ? start_spare(fj, size) : STATUS_OK;
    if (status == STATUS_OK) {
        status = fill_spare(fj);
    }
    bool is_ready = status == STATUS_OK && fj->spare_file == NULL;
    if (status != STATUS_OK) {
        drop_spare_file(fj);
    }
    bool is_soft = status == STATUS_OK || status == STATUS_NO_SPACE || status == STATUS_NO_MEMORY;

    file_journal_lock(fj);
    fj->is_preparing = false;
    if (is_ready) {
        ensure(fj->spare_count < FILE_JOURNAL_SPARES_MAX);
        fj->spares[fj->spare_count++] =
            (struct file_spare){.id = fj->spare_id, .size = fj->spare_size, .is_fresh = true};
        fj->has_room_news = fj->has_room_news || fj->spare_size_wanted > 0 || fj->is_full;
        fj->spare_size_wanted = 0;
        fj->is_full = false;
    } else if (status != STATUS_OK && is_soft) {
        fj->has_room_news = fj->has_room_news || fj->spare_size_wanted > 0;
        fj->spare_size_wanted = 0; /* a refused proposal asks again, but not more than once a second */
        fj->is_full = true;
    }
    bool has_room_news = fj->has_room_news;
    file_journal_unlock(fj);
    if (!is_soft) {
        fail(fj, status, "making a spare segment");
    } else if (has_room_news && fj->hooks.wake_owner != NULL) {
        fj->hooks.wake_owner(fj->hooks.ctx);
    }
    return status;
}

enum status file_journal_prepare_all(struct file_journal *fj)
{
    enum status status;
    do {
        status = file_journal_prepare(&fj->base);
    } while (status == STATUS_OK);
    return status == STATUS_AGAIN ? STATUS_OK : status;
}
