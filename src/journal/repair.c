/* repair.c - looking at a journal that nobody has open (`shoal verify`), and making a damaged one usable again
 * (`shoal repair`).
 *
 * Repair cuts the log where opening would refuse it. Nothing that might be of use is deleted: what is cut off is first
 * copied to, or renamed into, a file whose name ends in .damaged, and the report says which entries are lost. Spares and
 * half-made files hold nothing and go. The order is such that a crash, or a full disk, on the way leaves a journal that can
 * be repaired again: copies first, then whole files from the newest to the oldest, and the cut itself last.
 *
 *   segment   sound sound sound S###### later later │ later segment │ later segment
 *   becomes   sound sound sound 0000000000000000000   .seg.damaged    .seg.damaged
 *   and       .seg.damaged: a copy of the whole segment as it was
 *
 * Damage to entries that the newest snapshot stands in for costs nothing: the segment is written anew without them, under
 * the name of the first entry behind the snapshot.
 *
 * Entries behind other damage are sound but cannot be kept: what they do depends on the one that is gone. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/ensure.h"
#include "journal/file_journal.h"
#include "journal/walk.h"

#define SNAPSHOTS_MAX 16
#define COPY_SIZE ((size_t)1 << 20)

/* --- scan --- */

enum status file_journal_scan(struct disk *disk, uint64_t from,
                              bool (*visit)(void *ctx, const struct journal_entry *entry), void *ctx,
                              struct file_journal_recovery *ret_recovery)
{
    struct walk_files files;
    *ret_recovery = (struct file_journal_recovery){0};
    enum status status = walk_files_list(disk, &files);
    if (status != STATUS_OK) {
        snprintf(ret_recovery->detail, sizeof(ret_recovery->detail), "the folder journal cannot be read: %s",
                 status_title(status));
        return status;
    }
    struct walk walk = {.disk = disk, .files = &files, .from = from, .visit = visit, .ctx = ctx};
    struct snapshot_info snapshots[SNAPSHOTS_MAX];
    if (from == 0) {
        walk.stand_ins = snapshots;
        status = snapshot_list(disk, snapshots, SNAPSHOTS_MAX, &walk.stand_in_count);
        if (status != STATUS_OK && status != STATUS_NOT_FOUND) {
            snprintf(walk.detail, sizeof(walk.detail), "the folder snapshot cannot be read: %s", status_title(status));
        } else {
            status = STATUS_OK;
        }
    }
    status = status == STATUS_OK ? walk_run(&walk) : status;
    walk_files_free(&files);
    ret_recovery->first_seq = walk.first_visited;
    ret_recovery->entries = walk.visited;
    ret_recovery->last_seq = walk.expected_seq - 1;
    ret_recovery->truncated_size = walk.end == WALK_TORN ? walk.tail_size : 0;
    snprintf(ret_recovery->detail, sizeof(ret_recovery->detail), "%s", walk.detail);
    if (status == STATUS_OK && walk.end == WALK_DAMAGED) {
        return STATUS_CORRUPT;
    }
    return status;
}

/* --- repair --- */

struct repair {
    struct disk *disk;
    bool is_dry_run;
    struct file_journal_repair *report;
    size_t detail_len;
    struct walk_files files;
    uint64_t base_seq;    /* newest sound snapshot; 0: none */
    uint64_t damaged_seq; /* newest damaged snapshot; 0: none */
};

static void say(struct repair *repair, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(struct repair *repair, const char *format, ...)
{
    char *detail = repair->report->detail;
    size_t room = sizeof(repair->report->detail) - repair->detail_len;
    if (repair->detail_len > 0 && room > 2) {
        repair->detail_len += (size_t)snprintf(detail + repair->detail_len, room, "; ");
        room = sizeof(repair->report->detail) - repair->detail_len;
    }
    va_list args;
    va_start(args, format);
    int len = vsnprintf(detail + repair->detail_len, room, format, args);
    va_end(args);
    size_t most = room > 0 ? room - 1 : 0;
    repair->detail_len += len > 0 && (size_t)len < most ? (size_t)len : most;
}

/* path -> path.damaged, or .damaged-2, … when an earlier repair left one. */
static enum status aside_path(struct repair *repair, const char *path, char ret_aside[SEGMENT_PATH_SIZE])
{
    for (unsigned attempt = 1; attempt < 1000; attempt++) {
        struct disk_file *file;
        if (attempt == 1) {
            snprintf(ret_aside, SEGMENT_PATH_SIZE, "%s.damaged", path);
        } else {
            snprintf(ret_aside, SEGMENT_PATH_SIZE, "%s.damaged-%u", path, attempt);
        }
        enum status status = repair->disk->open(repair->disk, ret_aside, DISK_OPEN_READ, &file);
        if (status == STATUS_NOT_FOUND) {
            return STATUS_OK;
        }
        if (status == STATUS_OK) {
            repair->disk->close(repair->disk, file);
        }
    }
    return STATUS_CONFLICT;
}

static enum status rename_aside(struct repair *repair, const char *path)
{
    char aside[SEGMENT_PATH_SIZE];
    enum status status = aside_path(repair, path, aside);
    if (status != STATUS_OK) {
        return status;
    }
    say(repair, "%s %s", repair->is_dry_run ? "would rename to .damaged" : "renamed to .damaged:", path);
    repair->report->files_changed++;
    return repair->is_dry_run ? STATUS_OK : repair->disk->rename(repair->disk, path, aside);
}

/* Verifies every snapshot; those that are damaged go aside. */
static enum status repair_snapshots(struct repair *repair)
{
    struct snapshot_info infos[SNAPSHOTS_MAX];
    size_t count;
    enum status status = snapshot_list(repair->disk, infos, SNAPSHOTS_MAX, &count);
    bool has_changed = false;
    for (size_t i = 0; status == STATUS_OK && i < count; i++) {
        struct snapshot_info info;
        char *state;
        size_t len;
        enum status read_status = snapshot_read(repair->disk, infos[i].seq, &info, &state, &len);
        if (read_status == STATUS_OK) {
            free(state);
            repair->base_seq = info.seq > repair->base_seq ? info.seq : repair->base_seq;
        } else if (read_status == STATUS_CORRUPT || read_status == STATUS_IO) {
            char path[SEGMENT_PATH_SIZE];
            snprintf(path, sizeof(path), "snapshot/%020llu.snap", (unsigned long long)infos[i].seq);
            status = rename_aside(repair, path);
            repair->damaged_seq = infos[i].seq > repair->damaged_seq ? infos[i].seq : repair->damaged_seq;
            has_changed = true;
        } else {
            status = read_status;
        }
    }
    if (status == STATUS_OK && has_changed && !repair->is_dry_run) {
        status = repair->disk->sync_dir(repair->disk, "snapshot");
    }
    return status;
}

/* A recycled file may hold records of any past; after a cut, seqs begin again below some of them. */
static enum status remove_spares(struct repair *repair)
{
    enum status status = STATUS_OK;
    for (size_t i = 0; status == STATUS_OK && i < repair->files.spare_count && !repair->is_dry_run; i++) {
        char path[SEGMENT_PATH_SIZE];
        segment_spare_path(repair->files.spares[i], path);
        status = repair->disk->remove(repair->disk, path);
    }
    return status;
}

/* Writes a copy of an image under a name that ends in .damaged. */
static enum status copy_aside(struct repair *repair, const char *path, const struct walk_image *image)
{
    struct disk *disk = repair->disk;
    struct disk_file *file;
    char aside[SEGMENT_PATH_SIZE];
    enum status status = aside_path(repair, path, aside);
    if (status == STATUS_OK) {
        status = disk->open(disk, aside, DISK_OPEN_CREATE, &file);
    }
    if (status != STATUS_OK) {
        return status;
    }
    for (uint64_t at = 0; status == STATUS_OK && at < image->size;) {
        size_t len = image->size - at < COPY_SIZE ? (size_t)(image->size - at) : COPY_SIZE;
        status = disk->write_at(disk, file, at, image->data + at, len);
        at += len;
    }
    if (status == STATUS_OK) {
        status = disk->sync(disk, file);
    }
    disk->close(disk, file);
    if (status == STATUS_OK) {
        status = disk->sync_dir(disk, "journal");
    } else {
        (void)disk->remove(disk, aside); /* an incomplete copy of something that is still there */
    }
    return status;
}

/* Zeros the segment from `offset` on, and gives it the size it should have. */
static enum status cut_segment(struct repair *repair, const char *path, uint64_t offset, uint64_t size)
{
    struct disk *disk = repair->disk;
    struct disk_file *file;
    char *zeros = calloc(1, COPY_SIZE);
    if (zeros == NULL) {
        return STATUS_NO_MEMORY;
    }
    enum status status = disk->open(disk, path, DISK_OPEN_WRITE, &file);
    if (status != STATUS_OK) {
        free(zeros);
        return status;
    }
    for (uint64_t at = offset; status == STATUS_OK && at < size;) {
        size_t len = size - at < COPY_SIZE ? (size_t)(size - at) : COPY_SIZE;
        status = disk->write_at(disk, file, at, zeros, len);
        at += len;
    }
    if (status == STATUS_OK) {
        status = disk->truncate(disk, file, size); /* one that is too long is refused as well */
    }
    if (status == STATUS_OK) {
        status = disk->sync(disk, file);
    }
    disk->close(disk, file);
    free(zeros);
    return status;
}

/* Writes zeros where a file cannot be read, which is what the walk has taken it for. A disk puts what is written somewhere
 * that works. */
static enum status fill_unreadable(struct disk *disk, const char *path, uint64_t size)
{
    static const char zeros[WALK_PIECE_SIZE];
    char piece[WALK_PIECE_SIZE];
    struct disk_file *from, *to;
    enum status status = disk->open(disk, path, DISK_OPEN_READ, &from);
    if (status != STATUS_OK) {
        return status;
    }
    status = disk->open(disk, path, DISK_OPEN_WRITE, &to);
    if (status == STATUS_OK) {
        for (uint64_t at = 0; status == STATUS_OK && at < size; at += WALK_PIECE_SIZE) {
            size_t len = size - at < WALK_PIECE_SIZE ? (size_t)(size - at) : WALK_PIECE_SIZE;
            if (disk->read_at(disk, from, at, piece, len) != STATUS_OK) {
                status = disk->write_at(disk, to, at, zeros, len);
            }
        }
        status = status == STATUS_OK ? disk->sync(disk, to) : status;
        disk->close(disk, to);
    }
    disk->close(disk, from);
    return status;
}

/* Cuts the log where the walk ended. */
static enum status cut(struct repair *repair, const struct walk *walk)
{
    struct walk_files *files = &repair->files;
    bool has_sound_part = walk->end_offset > 0 && walk->expected_seq > files->segments[walk->end_index].first_seq;
    char path[SEGMENT_PATH_SIZE];
    enum status status = STATUS_OK;
    segment_path(files->segments[walk->end_index].first_seq, path);
    if (has_sound_part) {
        struct walk_image image;
        status = walk_image_load(repair->disk, path, true, &image);
        if (status == STATUS_OK) {
            say(repair, "%s at offset %llu: %s", repair->is_dry_run ? "would cut" : "cut",
                (unsigned long long)walk->end_offset, path);
            repair->report->files_changed++;
            status = repair->is_dry_run ? STATUS_OK : copy_aside(repair, path, &image);
            if (status == STATUS_OK && !repair->is_dry_run && image.unreadable_at != UINT64_MAX) {
                status = fill_unreadable(repair->disk, path, image.size);
            }
            free(image.data);
        }
    }
    for (size_t i = files->segment_count; status == STATUS_OK && i > walk->end_index + (has_sound_part ? 1 : 0); i--) {
        char later[SEGMENT_PATH_SIZE];
        segment_path(files->segments[i - 1].first_seq, later);
        status = rename_aside(repair, later);
    }
    if (repair->is_dry_run) {
        return status;
    }
    if (status == STATUS_OK) {
        status = repair->disk->sync_dir(repair->disk, "journal");
    }
    if (status == STATUS_OK && has_sound_part) {
        status = cut_segment(repair, path, walk->end_offset, walk->end_header.size);
    }
    return status;
}

/* The segment in which the walk began, without its damaged beginning: from entry base_seq + 1 on, which lies at
 * walk->skipped_to. The records stay as they are, and so does the salt they were made with. */
static enum status rewrite_start(struct repair *repair, const struct walk *walk)
{
    struct disk *disk = repair->disk;
    struct disk_file *file;
    struct walk_image image;
    struct segment_header header;
    uint32_t bad_copy_at;
    bool is_version_unknown;
    char path[SEGMENT_PATH_SIZE];
    char new_path[SEGMENT_PATH_SIZE];
    const char *tmp = "journal/repair.tmp";
    segment_path(repair->files.segments[walk->start_index].first_seq, path);
    segment_path(repair->base_seq + 1, new_path);
    say(repair, "%s %s without its damaged beginning", repair->is_dry_run ? "would rewrite" : "rewrote", path);
    repair->report->files_changed++;
    if (repair->is_dry_run) {
        return STATUS_OK;
    }
    enum status status = walk_image_load(disk, path, true, &image);
    if (status != STATUS_OK) {
        return status;
    }
    struct buf head;
    buf_init(&head, SEGMENT_HEADER_SIZE);
    ensure(segment_header_decode(image.data, repair->files.segments[walk->start_index].first_seq, &header, &bad_copy_at,
                                 &is_version_unknown) > 0);
    header.first_seq = repair->base_seq + 1;
    segment_header_encode(&header, &head);
    uint64_t len = image.size - walk->skipped_to;
    status = disk->remove(disk, tmp);
    if (status == STATUS_OK || status == STATUS_NOT_FOUND) {
        status = buf_status(&head) == STATUS_OK ? disk->open(disk, tmp, DISK_OPEN_CREATE, &file) : STATUS_NO_MEMORY;
    }
    if (status == STATUS_OK) {
        status = disk->write_at(disk, file, 0, head.data, head.len);
        if (status == STATUS_OK) {
            status = disk->write_at(disk, file, SEGMENT_HEADER_SIZE, image.data + walk->skipped_to, len);
        }
        disk->close(disk, file);
    }
    buf_free(&head);
    free(image.data);
    if (status == STATUS_OK) {
        status = cut_segment(repair, tmp, SEGMENT_HEADER_SIZE + len, header.size); /* zeros behind, and a sync */
    }
    if (status == STATUS_OK) {
        status = disk->rename(disk, tmp, new_path);
    }
    if (status == STATUS_OK) {
        status = disk->sync_dir(disk, "journal");
    }
    if (status == STATUS_OK) {
        status = rename_aside(repair, path);
        repair->report->files_changed--; /* the same file, told about above */
    }
    return status == STATUS_OK ? disk->sync_dir(disk, "journal") : status;
}

static void report_loss(struct repair *repair, const struct walk *walk)
{
    struct file_journal_repair *report = repair->report;
    uint64_t kept = walk->expected_seq - 1 > repair->base_seq ? walk->expected_seq - 1 : repair->base_seq;
    report->kept_last_seq = kept;
    if (walk->end != WALK_DAMAGED) {
        return;
    }
    if (walk->lost_last_seq > kept) {
        report->lost_entries = walk->lost_last_seq - kept;
        unsigned long long first_lost = kept + 1;
        say(repair, "lost: entries %llu to %llu", first_lost, (unsigned long long)walk->lost_last_seq);
    }
    if (walk->expected_seq <= repair->base_seq) {
        say(repair, "the snapshot at entry %llu stands in for entries %llu to %llu",
            (unsigned long long)repair->base_seq, (unsigned long long)walk->expected_seq,
            (unsigned long long)repair->base_seq);
    }
    /* Sound up to the entry of the snapshot, and nothing behind it: that was the end of the log. */
    bool is_nothing_lost = walk->lost_last_seq == kept && kept == repair->base_seq && !walk->has_remains;
    if (walk->is_loss_unknown || (walk->lost_last_seq <= kept && !is_nothing_lost)) {
        report->lost_entries = UINT64_MAX;
        say(repair, "how many entries behind it are lost is not known");
    }
}

/* Entries that only a damaged snapshot held: the log had lost them unsynced, or was cut in front of them. */
static void report_snapshot_loss(struct repair *repair)
{
    struct file_journal_repair *report = repair->report;
    if (repair->damaged_seq <= report->kept_last_seq) {
        return;
    }
    uint64_t lost = repair->damaged_seq - report->kept_last_seq;
    if (report->lost_entries < lost) {
        report->lost_entries = lost;
        say(repair, "lost with the snapshot: entries %llu to %llu", (unsigned long long)report->kept_last_seq + 1,
            (unsigned long long)repair->damaged_seq);
    }
}

/* The oldest segments, up to but without `end`, can no longer be followed by the rest. */
static enum status set_older_aside(struct repair *repair, size_t end)
{
    enum status status = STATUS_OK;
    for (size_t i = 0; status == STATUS_OK && i < end; i++) {
        char path[SEGMENT_PATH_SIZE];
        segment_path(repair->files.segments[i].first_seq, path);
        status = rename_aside(repair, path);
    }
    return status == STATUS_OK && !repair->is_dry_run ? repair->disk->sync_dir(repair->disk, "journal") : status;
}

/* Segments in front of those the newest snapshot needs: damage there costs no entry, but a fall-back to the older
 * snapshot must not meet it. They go aside with everything before them. */
static enum status repair_older(struct repair *repair, size_t needed_index)
{
    struct walk_files older = repair->files;
    older.segment_count = needed_index + 1; /* the needed one too, so that the joint is looked at */
    struct walk walk = {.disk = repair->disk, .files = &older, .is_read_error_damage = true};
    enum status status = walk_run(&walk);
    /* Damage further on in the needed one is no concern of those before it. */
    bool is_joint_sound = walk.end != WALK_DAMAGED || walk.expected_seq > older.segments[needed_index].first_seq;
    if (status != STATUS_OK || (walk.end_index == needed_index && is_joint_sound)) {
        return status;
    }
    return set_older_aside(repair, walk.end_index + 1 < needed_index ? walk.end_index + 1 : needed_index);
}

/* Segments that are sound with zeros where they cannot be read: behind the last record, or between records. Opening reads
 * them too, and would refuse. What lay there was never known durable, or is no record; it cannot be told whether it held
 * entries that were answered, so the report says so. */
static enum status repair_unreadable(struct repair *repair, const struct walk *walk)
{
    bool is_cut = walk->end == WALK_DAMAGED; /* then the segment of the end, and what follows, is seen to */
    size_t end = is_cut ? walk->end_index : repair->files.segment_count;
    enum status status = STATUS_OK;
    for (size_t i = walk->start_index + (walk->skipped_to > 0 ? 1 : 0); status == STATUS_OK && i < end; i++) {
        struct walk_image image;
        char path[SEGMENT_PATH_SIZE];
        segment_path(repair->files.segments[i].first_seq, path);
        status = walk_image_load(repair->disk, path, true, &image);
        if (status != STATUS_OK) {
            return status;
        }
        free(image.data);
        if (image.unreadable_at == UINT64_MAX) {
            continue;
        }
        say(repair, "%s zeros where %s cannot be read, at offset %llu", repair->is_dry_run ? "would write" : "wrote",
            path, (unsigned long long)image.unreadable_at);
        repair->report->files_changed++;
        repair->report->lost_entries = is_cut ? repair->report->lost_entries : UINT64_MAX;
        status = repair->is_dry_run ? STATUS_OK : fill_unreadable(repair->disk, path, image.size);
    }
    return status;
}

static enum status repair_segments(struct repair *repair)
{
    struct walk walk = {
        .disk = repair->disk,
        .files = &repair->files,
        .from = repair->base_seq + 1,
        .is_read_error_damage = true,
        .may_skip = true,
    };
    enum status status = walk_run(&walk);
    if (status != STATUS_OK) {
        say(repair, "%s", walk.detail);
        return status;
    }
    if (walk.end == WALK_DAMAGED) {
        say(repair, "%s", walk.detail);
        status = cut(repair, &walk);
    }
    report_loss(repair, &walk);
    if (status == STATUS_OK && walk.end == WALK_DAMAGED && walk.start_index > 0 && walk.end_index == walk.start_index &&
        (walk.end_offset == 0 || walk.expected_seq <= repair->files.segments[walk.end_index].first_seq)) {
        /* Nothing is left of what follows the snapshot. Opening will begin in the segments before it. */
        repair->files.segment_count = walk.start_index;
        return repair_segments(repair);
    }
    status = status == STATUS_OK && repair->files.segment_count > 0 ? repair_unreadable(repair, &walk) : status;
    if (status == STATUS_OK && walk.skipped_to > 0) {
        status = rewrite_start(repair, &walk);
        status = status == STATUS_OK ? set_older_aside(repair, walk.start_index) : status;
    } else if (status == STATUS_OK && walk.start_index > 0) {
        status = repair_older(repair, walk.start_index);
    }
    return status;
}

enum status file_journal_repair(struct disk *disk, bool is_dry_run, struct file_journal_repair *ret_report)
{
    struct repair repair = {.disk = disk, .is_dry_run = is_dry_run, .report = ret_report};
    *ret_report = (struct file_journal_repair){0};
    enum status status = walk_files_list(disk, &repair.files);
    if (status != STATUS_OK) {
        say(&repair, "the folder journal cannot be read: %s", status_title(status));
        return status;
    }
    status = repair_snapshots(&repair);
    if (status == STATUS_OK) {
        status = repair_segments(&repair);
    }
    if (status == STATUS_OK) {
        report_snapshot_loss(&repair);
    }
    if (status == STATUS_OK && ret_report->files_changed > 0) {
        status = remove_spares(&repair);
    }
    if (status == STATUS_OK && ret_report->files_changed == 0) {
        say(&repair, "nothing is damaged");
    }
    walk_files_free(&repair.files);
    return status;
}
