/* file_journal.c - the driver `file`: the owner's side of the journal, and recovery. segment.c has the format to the
 * byte, walk.c tells a torn tail from damage, file_writer.c is the other thread's side.
 *
 *        owner's thread                  under the lock                writer's thread
 *   propose ─encode─▶ batch being filled ──swap──▶ batch being written ─pwrite─▶ fdatasync
 *      └▶ on_entry, at once                                                        │
 *   poll ◀──────────────── durable_seq, wake_owner ◀───────────────────────────────┘
 *      └▶ on_durable
 *
 * Group commit is natural: while one batch is being synced the next one fills, so an idle journal adds no delay and a
 * busy one writes large batches. The owner decides where each record goes, because a record's checksum begins with its
 * segment's salt; the writer only moves bytes.
 *
 * A segment's life:
 *
 *   spare.tmp ──zeros, synced──▶ spare-N.seg ──rename, folder synced──▶ <first seq>.seg ──trim──▶ spare-M.seg | removed
 *     (removed when found          (full size,                          header and records
 *      by opening)                  content synced)                     follow in one write
 *
 * What a crash can leave, and what opening makes of it:
 *   spare.tmp                    was being filled: removed
 *   a segment without header     it got its name, its first batch was lost: removed, nothing in it was ever durable
 *   a header, then nothing       the same, further on: kept, empty
 *   a torn tail                  zeroed to the end of the segment, so that what is left of it can never pass for
 *                                records once new ones have been written in front; later segments are removed
 *   a damaged snapshot           put aside when the older one and the log hold all that it held, else refused; the same
 *                                with one that the owner refuses, as damaged or as newer than this build; one that
 *                                cannot be read is always refused, since it may be sound
 *   two names swapped, a file
 *   gone that trim had let go    older than the snapshot: never looked at
 *
 * Invariants, file_journal_check() verifies F1-F5:
 *  J1 An answered command survives kill -9 and power loss. on_durable(s) follows a successful fdatasync of every segment
 *     that holds entries up to s, and of the folder that holds their names. Opening syncs what it replays before anyone
 *     can see it, and writes it anew for that: after kill -9 it may never have reached the disk, and after a sync that failed
 *     the next sync is a lie. A failed sync ends everything; it is never retried.
 *  J2 Nothing unanswered is half-applied: an entry is one record under one checksum, there or not.
 *  J4 seq has no gaps: opening accepts exactly the next seq, or refuses.
 *  J5 Time never goes back: an entry's time is the later of the proposer's clock and the entry's before.
 *  F1 reported <= durable <= last, and synced <= durable.
 *  F2 The entries after written_seq are, in order and whole, the batch being written and the batch being filled.
 *  F3 Chunks of a batch cover its bytes, in order, and lie inside of their segments.
 *  F4 Segments are in order; each but the newest ends where the next begins, or where a snapshot stands in for it.
 *  F5 The place of the next record lies inside of the newest segment.
 *  F6 No entry is accepted without a place that is already allocated on the disk: a disk that fills up refuses new
 *     entries (NO_SPACE) and loses none; the hub stays up and readable, and goes on when there is space again.
 *
 * Rejected: O_DSYNC and io_uring (no gain over one fdatasync a batch at these sizes, more to go wrong); records that span
 * segments (recovery would need two files for one record); making segments as needed in the writer (F6 could not hold). */
#include <stdio.h>
#include <stdlib.h>

#include "base/ensure.h"
#include "base/hash.h"
#include "base/mutation.h"
#include "journal/file_journal_parts.h"
#include "journal/walk.h"

#define ZEROS_SIZE ((size_t)1 << 20)
#define FULL_RETRY_NS INT64_C(1000000000) /* how often refused proposals ask a full disk for room */

/* --- small things --- */

struct file_journal *file_journal_of(struct journal *journal)
{
    struct file_journal *fj = (struct file_journal *)journal;
    ensure_magic(fj, FILE_JOURNAL_MAGIC);
    return fj;
}

const struct file_journal *file_journal_of_const(const struct journal *journal)
{
    const struct file_journal *fj = (const struct file_journal *)journal;
    ensure_magic(fj, FILE_JOURNAL_MAGIC);
    return fj;
}

void file_journal_lock(const struct file_journal *fj)
{
    if (fj->hooks.lock != NULL) {
        fj->hooks.lock(fj->hooks.ctx);
    }
}

void file_journal_unlock(const struct file_journal *fj)
{
    if (fj->hooks.unlock != NULL) {
        fj->hooks.unlock(fj->hooks.ctx);
    }
}

void file_journal_batch_free(struct file_batch *batch)
{
    buf_free(&batch->bytes);
    free(batch->chunks);
    batch->chunks = NULL;
    batch->chunk_count = batch->chunk_cap = 0;
}

bool file_journal_take_spare(struct file_journal *fj, uint64_t size, struct file_spare *ret_spare)
{
    for (size_t i = 0; i < fj->spare_count; i++) {
        if (fj->spares[i].size >= size) {
            *ret_spare = fj->spares[i];
            fj->spares[i] = fj->spares[--fj->spare_count];
            return true;
        }
    }
    return false;
}

static bool add_segment(struct file_journal *fj, uint64_t first_seq, uint64_t size)
{
    if (fj->segment_count == fj->segment_cap) {
        size_t cap = fj->segment_cap == 0 ? 16 : fj->segment_cap * 2;
        struct file_segment *segments = realloc(fj->segments, cap * sizeof(*segments));
        if (segments == NULL) {
            return false;
        }
        fj->segments = segments;
        fj->segment_cap = cap;
    }
    if (fj->segment_count > 0) {
        fj->segments[fj->segment_count - 1].last_seq = first_seq - 1;
    }
    fj->segments[fj->segment_count++] = (struct file_segment){.first_seq = first_seq, .size = size};
    return true;
}

/* --- proposing --- */

/* Makes room for one more chunk. */
static bool reserve_chunk(struct file_batch *batch)
{
    if (batch->chunk_count < batch->chunk_cap) {
        return true;
    }
    size_t cap = batch->chunk_cap == 0 ? 4 : batch->chunk_cap * 2;
    struct file_chunk *chunks = realloc(batch->chunks, cap * sizeof(*chunks));
    if (chunks == NULL) {
        return false;
    }
    batch->chunks = chunks;
    batch->chunk_cap = cap;
    return true;
}

/* Locked. The next record begins a segment: takes a spare for it, or says why there is none. */
static enum status begin_segment(struct file_journal *fj, struct file_batch *batch, uint64_t record_size,
                                 int64_t now_ns)
{
    uint64_t size = SEGMENT_HEADER_SIZE + record_size;
    struct file_spare spare;
    if (!file_journal_take_spare(fj, size, &spare)) {
        int64_t since_ns = now_ns - fj->asked_ns;
        if (!fj->is_full || since_ns >= FULL_RETRY_NS || since_ns < 0) {
            fj->asked_ns = now_ns;
            fj->spare_size_wanted = size > fj->spare_size_wanted ? size : fj->spare_size_wanted;
            if (fj->hooks.wake_writer != NULL) {
                fj->hooks.wake_writer(fj->hooks.ctx);
            }
        }
        return fj->is_full ? STATUS_NO_SPACE : STATUS_BUSY;
    }
    uint64_t first_seq = fj->last_seq + 1;
    if (!add_segment(fj, first_seq, spare.size)) {
        fj->spares[fj->spare_count++] = spare;
        return STATUS_NO_MEMORY;
    }
    uint64_t mixed = hash_mix(fj->config.salt ^ hash_mix(first_seq));
    struct segment_header header = {
        .first_seq = first_seq,
        .size = spare.size,
        .salt = (uint32_t)(mixed >> 32),
        .is_fresh = spare.is_fresh,
    };
    batch->chunks[batch->chunk_count++] = (struct file_chunk){
        .first_seq = first_seq,
        .start = batch->bytes.len,
        .len = SEGMENT_HEADER_SIZE,
        .begins_segment = true,
        .spare_id = spare.id,
    };
    segment_header_encode(&header, &batch->bytes);
    fj->place_first_seq = first_seq;
    fj->place_offset = SEGMENT_HEADER_SIZE;
    fj->place_size = spare.size;
    fj->place_salt = header.salt;
    return STATUS_OK;
}

/* Locked. Encodes the record into the batch being filled; on failure nothing has changed. */
static enum status append_record(struct file_journal *fj, int64_t now_ns, int64_t time_ns, struct slice body)
{
    struct file_batch *batch = &fj->batches[fj->filling];
    uint64_t size = segment_record_size(body.len);
    if (fj->failed != STATUS_OK) {
        return fj->failed;
    }
    /* An entry larger than the whole limit still passes when it is alone. */
    if (fj->unsynced_size > 0 && fj->unsynced_size + size > fj->config.unsynced_size_max) {
        return STATUS_BUSY;
    }
    /* All memory first, so that nothing can fail half-way. */
    if (buf_reserve(&batch->bytes, SEGMENT_HEADER_SIZE + size) != STATUS_OK || !reserve_chunk(batch)) {
        batch->bytes.failed = false;
        return STATUS_NO_MEMORY;
    }
    if (fj->place_size - fj->place_offset < size) {
        enum status status = begin_segment(fj, batch, size, now_ns);
        if (status != STATUS_OK) {
            return status;
        }
    } else if (batch->chunk_count == 0) {
        batch->chunks[batch->chunk_count++] = (struct file_chunk){
            .first_seq = fj->place_first_seq,
            .offset = fj->place_offset,
            .start = batch->bytes.len,
        };
    }
    uint64_t seq = fj->last_seq + 1;
    uint64_t unsynced = seq - fj->synced_seq;
    segment_record_encode(
        &(struct segment_record){
            .seq = seq,
            .time_ns = time_ns,
            .unsynced = unsynced < SEGMENT_UNSYNCED_UNKNOWN ? (uint32_t)unsynced : SEGMENT_UNSYNCED_UNKNOWN,
            .version = SEGMENT_RECORD_VERSION,
            .body = body,
        },
        fj->place_salt, &batch->bytes);
    ensure(!batch->bytes.failed);
    batch->chunks[batch->chunk_count - 1].len += size;
    batch->last_seq = seq;
    batch->entry_size += size;
    fj->place_offset += size;
    fj->unsynced_size += size;
    if (fj->hooks.wake_writer != NULL) {
        fj->hooks.wake_writer(fj->hooks.ctx);
    }
    return STATUS_OK;
}

static enum status fj_propose(struct journal *journal, int64_t now_ns, struct slice body)
{
    struct file_journal *fj = file_journal_of(journal);
    if (body.len > LIMIT_ENTRY_SIZE) {
        return STATUS_TOO_LARGE;
    }
    int64_t time_ns = now_ns > fj->last_time_ns || MUTATION(time_goes_back) ? now_ns : fj->last_time_ns;
    file_journal_lock(fj);
    enum status status = append_record(fj, now_ns, time_ns, body);
    file_journal_unlock(fj);
    if (status != STATUS_OK) {
        return status;
    }
    fj->last_seq++;
    fj->last_time_ns = time_ns;
    struct journal_entry entry = {.seq = fj->last_seq, .time_ns = time_ns, .body = body};
    fj->callbacks.on_entry(fj->callbacks.ctx, &entry);
    return STATUS_OK;
}

static void fj_poll(struct journal *journal)
{
    struct file_journal *fj = file_journal_of(journal);
    char why[sizeof(fj->why)];
    file_journal_lock(fj);
    uint64_t durable_seq = fj->durable_seq;
    enum status failed = fj->failed;
    bool has_room_news = fj->has_room_news;
    fj->has_room_news = false;
    memcpy(why, fj->why, sizeof(why));
    file_journal_unlock(fj);
    ensure(durable_seq >= fj->reported_seq && durable_seq <= fj->last_seq);
    /* News of room alone is told as well: whoever was refused waits for the next on_durable. */
    if (durable_seq > fj->reported_seq || has_room_news) {
        fj->reported_seq = durable_seq;
        fj->callbacks.on_durable(fj->callbacks.ctx, durable_seq);
    }
    if (failed != STATUS_OK && !fj->is_failure_reported) {
        fj->is_failure_reported = true;
        fj->callbacks.on_failed(fj->callbacks.ctx, failed, why);
    }
}

static uint64_t fj_last_seq(const struct journal *journal)
{
    return file_journal_of_const(journal)->last_seq;
}

static uint64_t fj_durable_seq(const struct journal *journal)
{
    const struct file_journal *fj = file_journal_of_const(journal);
    file_journal_lock(fj);
    uint64_t durable_seq = fj->durable_seq;
    file_journal_unlock(fj);
    return durable_seq;
}

static uint64_t fj_unsynced_size(const struct journal *journal)
{
    const struct file_journal *fj = file_journal_of_const(journal);
    file_journal_lock(fj);
    uint64_t size = fj->unsynced_size;
    file_journal_unlock(fj);
    return size;
}

static void free_journal(struct file_journal *fj)
{
    struct disk *disk = fj->config.disk;
    if (fj->file != NULL) {
        disk->close(disk, fj->file);
    }
    if (fj->spare_file != NULL) {
        disk->close(disk, fj->spare_file);
        (void)disk->remove(disk, FILE_JOURNAL_TMP); /* opening removes it if this does not */
    }
    file_journal_batch_free(&fj->batches[0]);
    file_journal_batch_free(&fj->batches[1]);
    free(fj->segments);
    fj->magic = 0;
    free(fj);
}

static void fj_close(struct journal *journal)
{
    struct file_journal *fj = file_journal_of(journal);
    file_journal_write_all(fj);
    free_journal(fj);
}

static const struct journal_driver driver = {
    .propose = fj_propose,
    .poll = fj_poll,
    .last_seq = fj_last_seq,
    .durable_seq = fj_durable_seq,
    .unsynced_size = fj_unsynced_size,
    .close = fj_close,
};

/* --- checking --- */

/* F2 and F3 for one batch. ret_seq: in, the entry expected first; out, the one after its last. */
static const char *check_batch(const struct file_batch *batch, uint64_t *seq)
{
    size_t start = 0;
    uint64_t first = *seq;
    for (size_t i = 0; i < batch->chunk_count; i++) {
        const struct file_chunk *chunk = &batch->chunks[i];
        if (chunk->start != start || chunk->len > batch->bytes.len - start || chunk->offset % SEGMENT_ALIGN != 0 ||
            chunk->begins_segment != (chunk->offset == 0)) {
            return "F3: the chunks of a batch do not cover its bytes in order";
        }
        start += chunk->len;
    }
    if (start != batch->bytes.len) {
        return "F3: a batch has bytes outside of its chunks";
    }
    if (batch->chunk_count == 0) {
        return batch->entry_size == 0 ? NULL : "F2: an empty batch has entries";
    }
    *seq = batch->last_seq + 1;
    return batch->last_seq >= first ? NULL : "F2: a batch ends before it begins";
}

static const char *check_locked(const struct file_journal *fj)
{
    if (fj->reported_seq > fj->durable_seq || fj->durable_seq > fj->last_seq || fj->synced_seq > fj->durable_seq) {
        return "F1: reported, durable, synced and last entry are out of order";
    }
    if (fj->failed != STATUS_OK) {
        return NULL; /* the batch that failed stays as it was, written or not; nothing goes on from here */
    }
    uint64_t seq = fj->written_seq + 1;
    const char *wrong = check_batch(&fj->batches[fj->filling ^ 1u], &seq);
    if (wrong == NULL) {
        wrong = check_batch(&fj->batches[fj->filling], &seq);
    }
    if (wrong != NULL) {
        return wrong;
    }
    if (seq != fj->last_seq + 1) {
        return "F2: entries are neither written nor waiting to be";
    }
    if (fj->batches[0].entry_size + fj->batches[1].entry_size != fj->unsynced_size) {
        return "F2: unsynced_size is not that of the entries waiting";
    }
    for (size_t i = 0; i + 1 < fj->segment_count; i++) {
        if (fj->segments[i].first_seq >= fj->segments[i + 1].first_seq ||
            fj->segments[i].last_seq >= fj->segments[i + 1].first_seq) {
            return "F4: segments are out of order";
        }
    }
    if (fj->place_size > 0 &&
        (fj->segment_count == 0 || fj->segments[fj->segment_count - 1].first_seq != fj->place_first_seq ||
         fj->segments[fj->segment_count - 1].size != fj->place_size || fj->place_offset < SEGMENT_HEADER_SIZE ||
         fj->place_offset > fj->place_size || fj->place_offset % SEGMENT_ALIGN != 0)) {
        return "F5: the place of the next record lies outside of the newest segment";
    }
    return NULL;
}

const char *file_journal_check(struct journal *journal)
{
    const struct file_journal *fj = file_journal_of(journal);
    file_journal_lock(fj);
    const char *wrong = check_locked(fj);
    file_journal_unlock(fj);
    return wrong;
}

/* --- opening --- */

/* The state of one file_journal_open. */
struct opening {
    struct file_journal *fj;
    struct disk *disk;
    struct walk_files files;
    struct walk walk;
    const struct journal_callbacks *callbacks;
    struct file_journal_recovery *recovery;
    struct snapshot_info snapshots[8]; /* newest first; two are kept, a few more may wait for trim */
    size_t snapshot_count;
    size_t snapshot_used;   /* index; those before it are passed over */
    enum status refused[8]; /* why: CORRUPT or TOO_NEW */
    int64_t snapshot_time_ns;
};

static bool visit_entry(void *ctx, const struct journal_entry *entry)
{
    const struct opening *opening = ctx;
    const struct journal_callbacks *callbacks = opening->callbacks;
    callbacks->on_entry(callbacks->ctx, entry);
    return callbacks->has_stopped == NULL || !callbacks->has_stopped(callbacks->ctx);
}

static enum status fail(struct opening *opening, enum status status, const char *what)
{
    if (opening->recovery->detail[0] == '\0') {
        snprintf(opening->recovery->detail, sizeof(opening->recovery->detail), "%s: %s", what, status_title(status));
    }
    return status;
}

static const char *refusal_text(enum status refused)
{
    return refused == STATUS_TOO_NEW ? "was written by a newer Shoal" : "is damaged";
}

/* Finds the newest snapshot that is sound and that the owner takes. One that cannot be read may be sound, and may be all
 * there is of the newest entries: only one whose bytes are wrong, or mean nothing to the owner, is passed over. */
static enum status load_snapshot(struct opening *opening,
                                 enum status (*on_snapshot)(void *ctx, uint64_t seq, struct slice state))
{
    struct file_journal_recovery *recovery = opening->recovery;
    enum status status =
        snapshot_list(opening->disk, opening->snapshots, ARRAY_COUNT(opening->snapshots), &opening->snapshot_count);
    if (status != STATUS_OK) {
        return fail(opening, status, "the folder snapshot cannot be read");
    }
    for (size_t i = 0; i < opening->snapshot_count; i++) {
        struct snapshot_info info;
        char *state;
        size_t len;
        status = snapshot_read(opening->disk, opening->snapshots[i].seq, &info, &state, &len);
        bool is_read = status == STATUS_OK;
        if (is_read && on_snapshot != NULL) {
            status = on_snapshot(opening->callbacks->ctx, info.seq, slice_of(state, len));
        }
        if (is_read) {
            free(state);
        }
        if (status == STATUS_OK) {
            opening->snapshot_used = i;
            opening->snapshot_time_ns = info.time_ns;
            recovery->snapshot_seq = info.seq;
            return STATUS_OK;
        }
        if (status != STATUS_CORRUPT && status != STATUS_TOO_NEW) {
            char what[SEGMENT_PATH_SIZE + 32];
            snprintf(what, sizeof(what), "snapshot/%020llu.snap cannot be %s",
                     (unsigned long long)opening->snapshots[i].seq, is_read ? "loaded" : "read");
            return fail(opening, status, what);
        }
        opening->refused[i] = status;
    }
    opening->snapshot_used = opening->snapshot_count;
    return STATUS_OK;
}

/* Whether older snapshots and the log hold every entry that the damaged snapshots held. They do not when the log lost
 * unsynced entries that a snapshot had been taken of, or was cut later. */
static enum status check_stand_in(struct opening *opening)
{
    uint64_t log_seq = opening->walk.expected_seq - 1;
    uint64_t last_seq = log_seq > opening->recovery->snapshot_seq ? log_seq : opening->recovery->snapshot_seq;
    uint64_t damaged_seq = opening->snapshot_used > 0 ? opening->snapshots[0].seq : 0;
    if (damaged_seq <= last_seq) {
        return STATUS_OK;
    }
    enum status refused = opening->refused[0];
    snprintf(opening->recovery->detail, sizeof(opening->recovery->detail),
             "snapshot/%020llu.snap %s, and without it nothing is left behind entry %llu%s",
             (unsigned long long)damaged_seq, refusal_text(refused), (unsigned long long)last_seq,
             refused == STATUS_CORRUPT ? "; `shoal repair` can save the rest" : "");
    return refused;
}

/* Puts the snapshots aside that were passed over, and that a sound older one (or the whole log) stood in for, so that trim does not count
 * them among the two it keeps. */
static enum status set_damaged_snapshots_aside(struct opening *opening)
{
    for (size_t i = 0; i < opening->snapshot_used; i++) {
        char path[SEGMENT_PATH_SIZE];
        char aside[SEGMENT_PATH_SIZE];
        unsigned long long seq = opening->snapshots[i].seq;
        snprintf(path, sizeof(path), "snapshot/%020llu.snap", seq);
        snprintf(aside, sizeof(aside), "snapshot/%020llu.snap.%s", seq,
                 opening->refused[i] == STATUS_TOO_NEW ? "newer" : "damaged");
        enum status status = opening->disk->rename(opening->disk, path, aside);
        if (status != STATUS_OK) {
            return fail(opening, status, path);
        }
        snprintf(opening->recovery->detail, sizeof(opening->recovery->detail),
                 "snapshot %llu %s and was put aside; started from %s %llu", seq, refusal_text(opening->refused[i]),
                 opening->recovery->snapshot_seq > 0 ? "snapshot" : "entry",
                 (unsigned long long)(opening->recovery->snapshot_seq > 0 ? opening->recovery->snapshot_seq : 1));
    }
    return STATUS_OK;
}

static enum status with_file(struct disk *disk, const char *path,
                             enum status (*work)(struct disk *, struct disk_file *, void *), void *ctx)
{
    struct disk_file *file;
    enum status status = disk->open(disk, path, DISK_OPEN_WRITE, &file);
    if (status != STATUS_OK) {
        return status;
    }
    status = work(disk, file, ctx);
    if (status == STATUS_OK) {
        status = disk->sync(disk, file);
    }
    disk->close(disk, file);
    return status;
}

/* Writes a file's bytes over themselves. When a sync fails the kernel keeps what it could not write, but takes it for written:
 * a later process reads it, and its sync has nothing to do. Only what is written anew is synced for sure. */
static enum status write_back(struct disk *disk, struct disk_file *file, void *ctx)
{
    (void)ctx;
    uint64_t size = 0;
    char *piece = malloc(ZEROS_SIZE);
    enum status status = piece != NULL ? disk->size(disk, file, &size) : STATUS_NO_MEMORY;
    for (uint64_t at = 0; status == STATUS_OK && at < size;) {
        size_t len = size - at < ZEROS_SIZE ? (size_t)(size - at) : ZEROS_SIZE;
        status = disk->read_at(disk, file, at, piece, len);
        status = status == STATUS_OK ? disk->write_at(disk, file, at, piece, len) : status;
        at += len;
    }
    free(piece);
    return status;
}

struct zeroing {
    uint64_t from;
    uint64_t to;
};

static enum status zero_range(struct disk *disk, struct disk_file *file, void *ctx)
{
    const struct zeroing *range = ctx;
    char *zeros = calloc(1, ZEROS_SIZE);
    enum status status = zeros != NULL ? STATUS_OK : STATUS_NO_MEMORY;
    for (uint64_t at = range->from; status == STATUS_OK && at < range->to;) {
        size_t len = range->to - at < ZEROS_SIZE ? (size_t)(range->to - at) : ZEROS_SIZE;
        status = disk->write_at(disk, file, at, zeros, len);
        at += len;
    }
    free(zeros);
    return status;
}

static enum status mend_header(struct disk *disk, struct disk_file *file, void *ctx)
{
    const struct walk_segment *segment = ctx;
    char block[SEGMENT_HEADER_COPY_AT];
    enum status status = disk->read_at(disk, file, SEGMENT_HEADER_COPY_AT - segment->bad_copy_at, block, sizeof(block));
    return status == STATUS_OK ? disk->write_at(disk, file, segment->bad_copy_at, block, sizeof(block)) : status;
}

/* Takes a torn tail away: later segments, a segment that never began, and the bytes behind the last sound record.
 * sync_replayed makes the removals durable. */
static enum status cut_tail(struct opening *opening)
{
    struct walk *walk = &opening->walk;
    struct walk_files *files = &opening->files;
    size_t keep = walk->end_offset > 0 ? walk->end_index + 1 : walk->end_index;
    char path[SEGMENT_PATH_SIZE];
    enum status status = STATUS_OK;
    /* The newest first: whatever a crash leaves of this is again a torn tail with the same beginning. */
    while (status == STATUS_OK && files->segment_count > keep) {
        segment_path(files->segments[files->segment_count - 1].first_seq, path);
        status = opening->disk->remove(opening->disk, path);
        files->segment_count--;
    }
    if (status == STATUS_OK && walk->end_offset > 0) {
        struct zeroing range = {.from = walk->end_offset, .to = walk->end_header.size};
        segment_path(files->segments[walk->end_index].first_seq, path);
        status = MUTATION(torn_tail_stays) ? STATUS_OK : with_file(opening->disk, path, zero_range, &range);
    }
    return status == STATUS_OK ? STATUS_OK : fail(opening, status, "cutting a torn tail");
}

/* Makes what was replayed durable, before anyone can see it. After kill -9, or a sync that failed, it may only be in
 * memory. The newest segment is written whole, not only up to the end of the log: if the sync of a torn tail's zeros failed
 * in an earlier process, they are read here as a clean end while the disk still has the records behind the tear, which
 * would follow a new entry as its successors (test_crash, a_cut_whose_sync_failed_is_done_again). Measured with 64 MiB
 * on ext4 on a virtual disk: opening takes 140 to 170 ms, full or nearly empty; of a nearly empty one 60 to 90 ms are for
 * the zeros. */
static enum status sync_replayed(struct opening *opening)
{
    struct walk_files *files = &opening->files;
    char path[SEGMENT_PATH_SIZE];
    for (size_t i = opening->walk.start_index; i < files->segment_count; i++) {
        struct walk_segment *segment = &files->segments[i];
        bool is_newest = i + 1 == files->segment_count;
        enum status status = STATUS_OK;
        segment_path(segment->first_seq, path);
        if (segment->has_bad_copy) {
            status = with_file(opening->disk, path, mend_header, segment);
        }
        if (status == STATUS_OK && (is_newest || files->segments[i + 1].first_seq - 1 > opening->walk.synced_seq)) {
            status = with_file(opening->disk, path, write_back, NULL);
        }
        if (status != STATUS_OK) {
            return fail(opening, status, path);
        }
    }
    enum status status = opening->disk->sync_dir(opening->disk, "journal");
    if (status == STATUS_OK) {
        status = opening->disk->sync_dir(opening->disk, "snapshot");
    }
    return status == STATUS_OK ? STATUS_OK : fail(opening, status, "syncing the data directory");
}

/* Why the log cannot be replayed. When a snapshot was passed over and the log does not reach back to what would stand in
 * for it, that snapshot is the reason. */
static enum status explain_replay(struct opening *opening, enum status status)
{
    struct file_journal_recovery *recovery = opening->recovery;
    const struct walk *walk = &opening->walk;
    bool is_trimmed = opening->snapshot_used > 0 && opening->files.segment_count > 0 &&
                      opening->files.segments[0].first_seq > walk->from;
    if (is_trimmed) {
        enum status refused = opening->refused[0];
        snprintf(recovery->detail, sizeof(recovery->detail),
                 "snapshot/%020llu.snap %s, %s, and the journal cannot stand in for it: %.200s%s",
                 (unsigned long long)opening->snapshots[0].seq, refusal_text(refused),
                 opening->snapshot_used == opening->snapshot_count && opening->snapshot_count > 1
                     ? "every older one is of no use either"
                     : "there is no older one",
                 walk->detail, refused == STATUS_CORRUPT ? "; `shoal repair` can save the rest" : "");
        return refused;
    }
    snprintf(recovery->detail, sizeof(recovery->detail), "%.255s%s%s%s", walk->detail,
             opening->snapshot_used > 0 ? "; the newest snapshot " : "",
             opening->snapshot_used > 0 ? refusal_text(opening->refused[0]) : "",
             status == STATUS_OK ? "; `shoal repair` can save the rest" : "");
    return status != STATUS_OK ? fail(opening, status, "reading the journal") : STATUS_CORRUPT;
}

static enum status replay(struct opening *opening)
{
    struct file_journal_recovery *recovery = opening->recovery;
    struct walk *walk = &opening->walk;
    *walk = (struct walk){
        .disk = opening->disk,
        .files = &opening->files,
        .from = recovery->snapshot_seq + 1,
        .visit = visit_entry,
        .ctx = opening,
    };
    enum status status = walk_run(walk);
    if (status == STATUS_OK && walk->is_stopped) {
        snprintf(recovery->detail, sizeof(recovery->detail), "entry %llu was not taken",
                 (unsigned long long)(walk->expected_seq - 1));
        return STATUS_CANCELLED;
    }
    if (status != STATUS_OK || walk->end == WALK_DAMAGED) {
        return explain_replay(opening, status);
    }
    status = check_stand_in(opening);
    if (status != STATUS_OK) {
        return status;
    }
    recovery->first_seq = walk->first_visited;
    recovery->entries = walk->visited;
    recovery->last_seq = walk->expected_seq - 1;
    if (walk->end == WALK_TORN) {
        recovery->truncated_size = walk->tail_size;
        snprintf(recovery->detail, sizeof(recovery->detail), "%s", walk->detail);
        status = cut_tail(opening);
    }
    if (status == STATUS_OK) {
        status = set_damaged_snapshots_aside(opening);
    }
    return status == STATUS_OK ? sync_replayed(opening) : status;
}

/* Takes over the segments as they are, and the place of the next record. */
static enum status adopt_segments(struct opening *opening)
{
    struct file_journal *fj = opening->fj;
    const struct walk *walk = &opening->walk;
    char path[SEGMENT_PATH_SIZE];
    for (size_t i = 0; i < opening->files.segment_count; i++) {
        struct disk_file *file;
        uint64_t size = 0;
        segment_path(opening->files.segments[i].first_seq, path);
        enum status status = opening->disk->open(opening->disk, path, DISK_OPEN_READ, &file);
        if (status == STATUS_OK) {
            status = opening->disk->size(opening->disk, file, &size);
            opening->disk->close(opening->disk, file);
        }
        if (status == STATUS_OK && !add_segment(fj, opening->files.segments[i].first_seq, size)) {
            status = STATUS_NO_MEMORY;
        }
        if (status != STATUS_OK) {
            return fail(opening, status, path);
        }
    }
    fj->last_seq = opening->recovery->last_seq + (MUTATION(skip_number) && walk->end == WALK_TORN ? 1 : 0);
    fj->last_time_ns = walk->last_time_ns;
    if (opening->recovery->snapshot_seq > fj->last_seq) {
        /* The snapshot was taken of entries that were then lost unsynced. It holds what they did; the log goes on
         * behind it, in a segment of its own. */
        fj->last_seq = opening->recovery->last_seq = opening->recovery->snapshot_seq;
    } else if (fj->segment_count > 0 && walk->end_offset > 0) {
        fj->place_first_seq = opening->files.segments[walk->end_index].first_seq;
        fj->place_offset = walk->end_offset;
        fj->place_size = walk->end_header.size;
        fj->place_salt = walk->end_header.salt;
        segment_path(fj->place_first_seq, path);
        enum status status = opening->disk->open(opening->disk, path, DISK_OPEN_WRITE, &fj->file);
        if (status != STATUS_OK) {
            return fail(opening, status, path);
        }
        fj->file_first_seq = fj->place_first_seq;
    }
    if (fj->segment_count > 0) {
        fj->segments[fj->segment_count - 1].last_seq = fj->last_seq;
    }
    if (opening->snapshot_time_ns > fj->last_time_ns) {
        fj->last_time_ns = opening->snapshot_time_ns;
    }
    fj->synced_seq = fj->durable_seq = fj->reported_seq = fj->written_seq = fj->last_seq;
    return STATUS_OK;
}

/* Takes over usable spares and removes the rest. */
static enum status adopt_spares(struct opening *opening)
{
    struct file_journal *fj = opening->fj;
    struct disk *disk = opening->disk;
    char path[SEGMENT_PATH_SIZE];
    for (size_t i = 0; i < opening->files.spare_count; i++) {
        struct disk_file *file;
        uint64_t size = 0;
        uint64_t id = opening->files.spares[i];
        segment_spare_path(id, path);
        enum status status = disk->open(disk, path, DISK_OPEN_READ, &file);
        if (status == STATUS_OK) {
            status = disk->size(disk, file, &size);
            disk->close(disk, file);
        }
        if (status == STATUS_OK && size == fj->config.segment_size && fj->spare_count < FILE_JOURNAL_SPARES) {
            fj->spares[fj->spare_count++] = (struct file_spare){.id = id, .size = size};
        } else if (status == STATUS_OK) {
            status = disk->remove(disk, path);
        }
        if (status != STATUS_OK) {
            return fail(opening, status, path);
        }
        fj->spare_id_next = id >= fj->spare_id_next ? id + 1 : fj->spare_id_next;
    }
    if (fj->place_size > 0 || fj->spare_count > 0) {
        return STATUS_OK;
    }
    enum status status = file_journal_prepare_all(fj);
    /* Without space an existing hub can still answer reads (F6); a new one has no use. */
    if (status == STATUS_NO_SPACE && fj->last_seq > 0) {
        return STATUS_OK;
    }
    return status == STATUS_OK ? STATUS_OK : fail(opening, status, "making the first segment");
}

static bool remove_tmp(void *ctx, const char *name)
{
    struct opening *opening = ctx;
    uint64_t number;
    char path[SEGMENT_PATH_SIZE];
    if (segment_parse_digits(name, ".tmp", &number)) {
        snprintf(path, sizeof(path), "snapshot/%s", name);
        (void)opening->disk->remove(opening->disk, path); /* in the way of nothing: making a new one replaces it */
    }
    return true;
}

static enum status open_all(struct opening *opening,
                            enum status (*on_snapshot)(void *ctx, uint64_t seq, struct slice state))
{
    struct disk *disk = opening->disk;
    enum status status = disk->make_dir(disk, "journal");
    if (status == STATUS_OK) {
        status = disk->make_dir(disk, "snapshot");
    }
    if (status == STATUS_OK) {
        status = walk_files_list(disk, &opening->files);
    }
    if (status == STATUS_OK) {
        status = disk->list(disk, "snapshot", remove_tmp, opening);
    }
    if (status == STATUS_OK && opening->files.has_tmp) {
        status = disk->remove(disk, FILE_JOURNAL_TMP);
        status = status == STATUS_NOT_FOUND ? STATUS_OK : status;
    }
    if (status != STATUS_OK) {
        return fail(opening, status, "the data directory cannot be used");
    }
    status = load_snapshot(opening, on_snapshot);
    if (status == STATUS_OK) {
        status = replay(opening);
    }
    if (status == STATUS_OK) {
        status = adopt_segments(opening);
    }
    if (status == STATUS_OK) {
        status = adopt_spares(opening);
    }
    return status;
}

enum status file_journal_open(const struct file_journal_config *config, const struct file_journal_hooks *hooks,
                              const struct journal_callbacks *callbacks,
                              enum status (*on_snapshot)(void *ctx, uint64_t seq, struct slice state),
                              struct file_journal_recovery *ret_recovery, struct journal **ret_journal)
{
    ensure(config->disk != NULL && config->segment_size >= 2 * SEGMENT_HEADER_SIZE);
    ensure(callbacks->on_entry != NULL && callbacks->on_durable != NULL && callbacks->on_failed != NULL);
    *ret_recovery = (struct file_journal_recovery){0};
    struct file_journal *fj = calloc(1, sizeof(*fj));
    if (fj == NULL) {
        return STATUS_NO_MEMORY;
    }
    fj->base.driver = &driver;
    fj->magic = FILE_JOURNAL_MAGIC;
    fj->config = *config;
    fj->config.segment_size &= ~(uint64_t)(SEGMENT_ALIGN - 1);
    fj->callbacks = *callbacks;
    if (hooks != NULL) {
        fj->hooks = *hooks;
    }
    for (size_t i = 0; i < 2; i++) {
        /* One record more than the limit may be in the two batches together, and a header for each segment begun. */
        buf_init(&fj->batches[i].bytes, 2 * (config->unsynced_size_max + segment_size_for(LIMIT_ENTRY_SIZE)));
    }
    struct opening opening = {.fj = fj, .disk = config->disk, .callbacks = callbacks, .recovery = ret_recovery};
    enum status status = open_all(&opening, on_snapshot);
    walk_files_free(&opening.files);
    if (status != STATUS_OK) {
        free_journal(fj);
        return status;
    }
    *ret_journal = &fj->base;
    return STATUS_OK;
}
