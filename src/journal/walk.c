/* walk.c - recovery's eyes.
 *
 * The log is the segments in the order of their first seq; in each of them records follow each other with seq one more
 * each time. Where the expected record S is not there, one of four things is true:
 *
 *   next segment begins with S ─────────────▶ the segment simply ended here, go on
 *   nothing later exists ───────────────────▶ CLEAN: the end of the log (behind it zeros, or records of an earlier
 *                                             life of a recycled segment, whose seqs are below S and whose salt differs)
 *   later records exist, none of them
 *   written when S was durable ─────────────▶ TORN: a power cut kept some sectors of unsynced writes and lost others.
 *                                             Nobody was told about any of them: they may all go
 *   a later record was written when S was
 *   durable already ────────────────────────▶ DAMAGED: S was answered and is gone
 *
 * The last two differ by the field `unsynced` of the later records R: R.seq - R.unsynced is the newest entry that was
 * synced when R was encoded. The disk may keep any subset of the sectors written since the last sync, so "later records
 * exist" says nothing by itself.
 *
 * What cannot be told apart: damage to the very last batch of the log, which no later record vouches for, looks like
 * a torn write and is cut, and reported as one: in a fresh segment by any byte behind the end that is not zero, in a
 * recycled one by a head that names S or by a record that is sound but for its number. A recycled segment's record that
 * is wrong both in its number and elsewhere cannot be told from what an earlier life left: a CLEAN end, as if it had never
 * been written. Only a mark written after each sync could tell, at the price of a second sync a batch.
 *
 * A segment has its full size before it gets its name, so one that is shorter than its header says was cut by somebody
 * else: DAMAGED. A segment whose header is not there in both copies was being begun when the power went (its name
 * became durable first): judged like a missing first record.
 *
 * Rejected: stopping at the first bad record (cannot see damage); following lengths of bad records (a length is the
 * first thing that is wrong); an end mark on each segment (the next segment's first seq says the same). */
#include "journal/walk.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/ensure.h"

#define READ_SIZE ((size_t)1 << 20) /* one call; also how much an unreadable sector costs in a repair, then 4 KiB */

/* --- files --- */

static bool grow(void **items, size_t item_size, size_t count, size_t *cap)
{
    if (count < *cap) {
        return true;
    }
    size_t more = *cap == 0 ? 16 : *cap * 2;
    void *grown = realloc(*items, more * item_size);
    if (grown == NULL) {
        return false;
    }
    *items = grown;
    *cap = more;
    return true;
}

static bool visit_name(void *ctx, const char *name)
{
    struct walk_files *files = ctx;
    uint64_t number = 0;
    switch (segment_parse_name(name, &number)) {
    case SEGMENT_NAME_SEGMENT:
        if (!grow((void **)&files->segments, sizeof(*files->segments), files->segment_count, &files->segment_cap)) {
            files->has_no_memory = true;
            return false;
        }
        files->segments[files->segment_count++] = (struct walk_segment){.first_seq = number};
        break;
    case SEGMENT_NAME_SPARE:
        if (!grow((void **)&files->spares, sizeof(*files->spares), files->spare_count, &files->spare_cap)) {
            files->has_no_memory = true;
            return false;
        }
        files->spares[files->spare_count++] = number;
        break;
    case SEGMENT_NAME_TMP:
        files->has_tmp = true;
        break;
    case SEGMENT_NAME_OTHER:
        break;
    }
    return true;
}

static int compare_u64(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static int compare_segments(const void *a, const void *b)
{
    return compare_u64(&((const struct walk_segment *)a)->first_seq, &((const struct walk_segment *)b)->first_seq);
}

enum status walk_files_list(struct disk *disk, struct walk_files *ret_files)
{
    struct walk_files files = {0};
    enum status status = disk->list(disk, "journal", visit_name, &files);
    if (status == STATUS_OK && files.has_no_memory) {
        status = STATUS_NO_MEMORY;
    }
    if (status != STATUS_OK) {
        walk_files_free(&files);
        return status;
    }
    if (files.segment_count > 0) {
        qsort(files.segments, files.segment_count, sizeof(*files.segments), compare_segments);
    }
    if (files.spare_count > 0) {
        qsort(files.spares, files.spare_count, sizeof(*files.spares), compare_u64);
    }
    *ret_files = files;
    return STATUS_OK;
}

void walk_files_free(struct walk_files *files)
{
    free(files->segments);
    free(files->spares);
    *files = (struct walk_files){0};
}

/* --- images --- */

static enum status read_piece(struct disk *disk, struct disk_file *file, uint64_t offset, char *data, size_t len,
                              bool is_read_error_damage, uint64_t *ret_unreadable_at)
{
    enum status status = disk->read_at(disk, file, offset, data, len);
    if (status != STATUS_IO || !is_read_error_damage) {
        return status;
    }
    for (size_t at = 0; at < len; at += WALK_PIECE_SIZE) {
        size_t part = len - at < WALK_PIECE_SIZE ? len - at : WALK_PIECE_SIZE;
        if (disk->read_at(disk, file, offset + at, data + at, part) != STATUS_OK) {
            memset(data + at, 0, part);
            *ret_unreadable_at = *ret_unreadable_at < offset + at ? *ret_unreadable_at : offset + at;
        }
    }
    return STATUS_OK;
}

enum status walk_image_load(struct disk *disk, const char *path, bool is_read_error_damage,
                            struct walk_image *ret_image)
{
    struct disk_file *file;
    enum status status = disk->open(disk, path, DISK_OPEN_READ, &file);
    if (status != STATUS_OK) {
        return status;
    }
    struct walk_image image = {.unreadable_at = UINT64_MAX};
    status = disk->size(disk, file, &image.size);
    if (status == STATUS_OK) {
        image.data = malloc(image.size > 0 ? image.size : 1);
        status = image.data != NULL ? STATUS_OK : STATUS_NO_MEMORY;
    }
    for (uint64_t at = 0; status == STATUS_OK && at < image.size;) {
        size_t len = image.size - at < READ_SIZE ? (size_t)(image.size - at) : READ_SIZE;
        status = read_piece(disk, file, at, image.data + at, len, is_read_error_damage, &image.unreadable_at);
        at += len;
    }
    disk->close(disk, file);
    if (status != STATUS_OK) {
        free(image.data);
        return status;
    }
    *ret_image = image;
    return STATUS_OK;
}

/* --- the walk --- */

static void say(struct walk *walk, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(struct walk *walk, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(walk->detail, sizeof(walk->detail), format, args);
    va_end(args);
}

static unsigned long long llu(uint64_t value)
{
    return value;
}

/* Loads segment `index`, judges its header. ret_is_whole: the header is sound and the file has the size it says. */
static enum status load_segment(struct walk *walk, size_t index, struct walk_image *ret_image,
                                struct segment_header *ret_header, bool *ret_has_header, bool *ret_is_whole)
{
    struct walk_segment *segment = &walk->files->segments[index];
    char path[SEGMENT_PATH_SIZE];
    segment_path(segment->first_seq, path);
    enum status status = walk_image_load(walk->disk, path, walk->is_read_error_damage, ret_image);
    if (status != STATUS_OK) {
        say(walk, "%s cannot be read: %s", path, status_title(status));
        return status;
    }
    *ret_has_header = false;
    *ret_is_whole = false;
    if (ret_image->size < SEGMENT_HEADER_SIZE) {
        return STATUS_OK;
    }
    bool is_version_unknown;
    unsigned copies = segment_header_decode(ret_image->data, segment->first_seq, ret_header, &segment->bad_copy_at,
                                            &is_version_unknown);
    if (copies == 0 && is_version_unknown) {
        free(ret_image->data);
        say(walk, "%s was written by a newer Shoal", path);
        return STATUS_TOO_NEW;
    }
    segment->has_bad_copy = copies == 1;
    *ret_has_header = copies > 0;
    *ret_is_whole = copies == 0 || ret_header->size == ret_image->size;
    return STATUS_OK;
}

/* What the rest of the log proves, behind the end that the walk has come to. */
struct evidence {
    uint64_t vouched_seq; /* newest entry proven to have been synced */
    uint64_t last_end;    /* in the segment of the end: behind the last thing of a torn tail */
    bool has_later_records;
};

static void collect(struct walk *walk, const struct walk_image *image, uint64_t offset,
                    const struct segment_header *header, uint64_t base_seq, struct evidence *evidence,
                    bool is_end_segment)
{
    uint64_t base_offset = offset;
    struct segment_record record;
    while (segment_find_record(image->data, image->size, &offset, header->salt, walk->expected_seq, base_offset,
                               base_seq, &record)) {
        uint64_t synced = segment_record_synced(&record);
        evidence->has_later_records = true;
        evidence->vouched_seq = synced > evidence->vouched_seq ? synced : evidence->vouched_seq;
        walk->lost_entries++;
        walk->lost_last_seq = record.seq > walk->lost_last_seq ? record.seq : walk->lost_last_seq;
        offset += segment_record_size(record.body.len);
        if (is_end_segment) {
            evidence->last_end = offset;
        }
    }
}

/* Where the zeros begin that an image ends with, not below `least`. */
static uint64_t zeros_from(const struct walk_image *image, uint64_t least)
{
    uint64_t at = image->size;
    while (at >= least + 8 && memcmp(image->data + at - 8, "\0\0\0\0\0\0\0", 8) == 0) {
        at -= 8;
    }
    while (at > least && image->data[at - 1] == 0) {
        at--;
    }
    return at;
}

/* What lies behind the end in its own segment, whose header is sound. */
static struct evidence collect_tail(struct walk *walk, const struct walk_image *image)
{
    struct evidence evidence = {.last_end = walk->end_offset};
    uint64_t remains = 0;
    collect(walk, image, walk->end_offset, &walk->end_header, walk->expected_seq, &evidence, true);
    uint64_t records_end = evidence.last_end;
    if (walk->end_header.is_fresh) {
        evidence.last_end = zeros_from(image, walk->end_offset);
    } else if (segment_head_says(image->data, image->size, walk->end_offset, walk->end_header.salt, walk->expected_seq,
                                 &remains) &&
               walk->end_offset + remains > evidence.last_end) {
        evidence.last_end = walk->end_offset + remains;
    }
    walk->has_remains = evidence.last_end > records_end;
    return evidence;
}

/* Decides between CLEAN, TORN and DAMAGED; the image is that of end_index. */
static enum status judge_end(struct walk *walk, const struct walk_image *image)
{
    const uint64_t expected = walk->expected_seq;
    const struct walk_files *files = walk->files;
    struct evidence evidence = {.last_end = walk->end_offset};
    bool is_tail_dirty = walk->end_offset == 0;
    char path[SEGMENT_PATH_SIZE];

    if (walk->end_offset > 0) {
        evidence = collect_tail(walk, image);
        is_tail_dirty = evidence.last_end > walk->end_offset;
    }
    for (size_t i = walk->end_index + 1; i < files->segment_count; i++) {
        struct walk_image later;
        struct segment_header header;
        bool has_header;
        bool is_whole;
        enum status status = load_segment(walk, i, &later, &header, &has_header, &is_whole);
        if (status != STATUS_OK) {
            return status;
        }
        if (has_header) {
            collect(walk, &later, SEGMENT_HEADER_SIZE, &header, header.first_seq, &evidence, false);
        } else {
            walk->is_loss_unknown = true;
        }
        free(later.data);
        is_tail_dirty = true;
        walk->tail_size += later.size;
    }
    segment_path(files->segments[walk->end_index].first_seq, path);
    if (evidence.vouched_seq >= expected) {
        walk->end = WALK_DAMAGED;
        say(walk, "%s, offset %llu: entry %llu is damaged or missing, and later entries show that it was durable", path,
            llu(walk->end_offset), llu(expected));
        return STATUS_OK;
    }
    walk->tail_size += evidence.last_end - walk->end_offset;
    if (is_tail_dirty || evidence.has_later_records) {
        walk->end = WALK_TORN;
        say(walk, "%s, offset %llu: the last write was torn; entries from %llu on were never durable", path,
            llu(walk->end_offset), llu(expected));
    } else {
        walk->end = WALK_CLEAN;
    }
    return STATUS_OK;
}

/* Damage that needs no evidence: counts what lies behind it and says what the caller has put into detail. */
static enum status judge_damaged(struct walk *walk, const struct walk_image *image)
{
    char detail[sizeof(walk->detail)];
    memcpy(detail, walk->detail, sizeof(detail));
    enum status status = judge_end(walk, image);
    if (status == STATUS_OK) {
        walk->end = WALK_DAMAGED;
        memcpy(walk->detail, detail, sizeof(detail));
    }
    return status;
}

enum records_end { RECORDS_OVER, RECORDS_STOPPED, RECORDS_CONTRADICT, RECORDS_OF_LATER_VERSION };

/* Visits the sound records of one segment from its start. */
static enum records_end walk_records(struct walk *walk, const struct walk_image *image, const char *path)
{
    struct segment_record record;
    while (segment_record_decode(image->data, image->size, walk->end_offset, walk->end_header.salt, &record) &&
           record.seq == walk->expected_seq) {
        if (record.version > SEGMENT_RECORD_VERSION || record.flags != 0) {
            say(walk, "%s, offset %llu: entry %llu was written by a newer Shoal", path, llu(walk->end_offset),
                llu(record.seq));
            return RECORDS_OF_LATER_VERSION;
        }
        if (record.time_ns < walk->last_time_ns || record.unsynced > record.seq) {
            say(walk, "%s, offset %llu: entry %llu contradicts the one before it", path, llu(walk->end_offset),
                llu(record.seq));
            return RECORDS_CONTRADICT;
        }
        uint64_t synced = segment_record_synced(&record);
        walk->synced_seq = synced > walk->synced_seq ? synced : walk->synced_seq;
        walk->last_time_ns = record.time_ns;
        walk->expected_seq++;
        walk->end_offset += segment_record_size(record.body.len);
        if (record.seq >= walk->from) {
            walk->first_visited = walk->visited == 0 ? record.seq : walk->first_visited;
            walk->visited++;
            struct journal_entry entry = {.seq = record.seq, .time_ns = record.time_ns, .body = record.body};
            if (walk->visit != NULL && !walk->visit(walk->ctx, &entry)) {
                walk->is_stopped = true;
                return RECORDS_STOPPED;
            }
        }
    }
    return RECORDS_OVER;
}

/* Visits the records of one segment, jumping over damage to entries that nobody wants. */
static enum records_end walk_image(struct walk *walk, const struct walk_image *image, const char *path)
{
    enum records_end end = walk_records(walk, image, path);
    if (!walk->may_skip || walk->expected_seq >= walk->from || (end != RECORDS_OVER && end != RECORDS_CONTRADICT)) {
        return end;
    }
    struct segment_record record;
    uint64_t offset = walk->end_offset;
    if (!segment_find_record(image->data, image->size, &offset, walk->end_header.salt, walk->from, walk->end_offset,
                             walk->expected_seq, &record) ||
        record.seq != walk->from) {
        return end;
    }
    walk->skipped_to = offset;
    walk->expected_seq = walk->from;
    walk->end_offset = offset;
    return walk_records(walk, image, path);
}

/* Whether a snapshot holds what the log lacks in front of the next segment, and the segment of the end is sound to its end:
 * so it is after a cut, and when unsynced entries were lost of which a snapshot had been taken. */
static bool is_stood_in_for(struct walk *walk, const struct walk_image *image, uint64_t next_seq)
{
    bool has_stand_in = false;
    for (size_t i = 0; i < walk->stand_in_count; i++) {
        has_stand_in |= walk->stand_ins[i].seq + 1 == next_seq;
    }
    if (!has_stand_in) {
        return false;
    }
    struct walk tail = *walk;
    struct evidence evidence = collect_tail(&tail, image);
    return !evidence.has_later_records && evidence.last_end == walk->end_offset;
}

/* Walks segment end_index; ret_is_over: the walk ends here. */
static enum status walk_segment(struct walk *walk, bool *ret_is_over)
{
    const struct walk_files *files = walk->files;
    const struct walk_segment *next =
        walk->end_index + 1 < files->segment_count ? &files->segments[walk->end_index + 1] : NULL;
    struct walk_image image;
    bool has_header;
    bool is_whole;
    enum records_end end = RECORDS_OVER;
    char path[SEGMENT_PATH_SIZE];
    segment_path(files->segments[walk->end_index].first_seq, path);
    enum status status = load_segment(walk, walk->end_index, &image, &walk->end_header, &has_header, &is_whole);
    if (status != STATUS_OK) {
        return status;
    }
    walk->end_offset = has_header ? SEGMENT_HEADER_SIZE : 0;
    *ret_is_over = true;
    if (has_header && is_whole) {
        end = walk_image(walk, &image, path);
    }
    if (!is_whole) {
        say(walk, "%s has the wrong size, %llu bytes: it was cut", path, llu(image.size));
        status = judge_damaged(walk, &image);
    } else if (!has_header) {
        status = judge_end(walk, &image);
    } else if (end == RECORDS_CONTRADICT) {
        status = judge_damaged(walk, &image);
    } else if (end == RECORDS_OF_LATER_VERSION) {
        status = STATUS_TOO_NEW; /* not damage: neither cut it nor repair it */
    } else if (end == RECORDS_STOPPED) {
        status = STATUS_OK;
    } else if (next != NULL && next->first_seq < walk->expected_seq) {
        char next_path[SEGMENT_PATH_SIZE];
        segment_path(next->first_seq, next_path);
        say(walk, "%s begins inside of the segment before it", next_path);
        status = judge_damaged(walk, &image);
    } else if (next != NULL &&
               (next->first_seq == walk->expected_seq || is_stood_in_for(walk, &image, next->first_seq))) {
        walk->expected_seq = next->first_seq;
        *ret_is_over = false;
    } else {
        status = judge_end(walk, &image);
    }
    free(image.data);
    return status;
}

enum status walk_run(struct walk *walk)
{
    const struct walk_files *files = walk->files;
    walk->end = WALK_CLEAN;
    walk->expected_seq = walk->from > 0 ? walk->from : 1;
    walk->last_time_ns = INT64_MIN;
    if (files->segment_count == 0) {
        return STATUS_OK;
    }
    if (files->segments[0].first_seq > walk->expected_seq && walk->from > 0) {
        char path[SEGMENT_PATH_SIZE];
        segment_path(files->segments[0].first_seq, path);
        walk->end = WALK_DAMAGED;
        walk->is_loss_unknown = true;
        say(walk, "entries %llu to %llu are missing; the oldest segment is %s", llu(walk->expected_seq),
            llu(files->segments[0].first_seq - 1), path);
        return STATUS_OK;
    }
    while (walk->start_index + 1 < files->segment_count &&
           files->segments[walk->start_index + 1].first_seq <= walk->expected_seq && walk->from > 0) {
        walk->start_index++;
    }
    walk->end_index = walk->start_index;
    walk->expected_seq = files->segments[walk->start_index].first_seq;
    for (;;) {
        bool is_over;
        enum status status = walk_segment(walk, &is_over);
        if (status != STATUS_OK || is_over) {
            return status;
        }
        walk->end_index++;
    }
}
