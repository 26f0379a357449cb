/* fuzz_segment.c - arbitrary bytes as the segments of a journal, through everything that reads one: opening, scanning,
 * verifying and repairing.
 *
 *   u8 flags | records
 *   1: the header is made right   2: so are the checksums of the records, walked as their lengths say
 *   4: the second half of the bytes is a segment of its own, whose first entry is the flags' upper three bits and one more
 *   8: the header says that the segment was recycled   16: with 2, sequence numbers are made right too
 *
 * Opening gives entries without gaps whose time does not go back, or refuses with a sentence. Scanning agrees with it.
 * What was opened takes new entries and gives everything back when it is opened again. What was refused can be repaired,
 * the dry run says beforehand what repair does, and afterwards it opens. */
#include "base/hash.h"
#include "journal/disk_sim.h"
#include "journal/file_journal.h"
#include "journal/segment.h"
#include "test/fuzz/fuzz.h"

#define SALT 77u
#define SEGMENT_SIZE 16384u

struct seen {
    uint64_t first_seq, last_seq, count;
    int64_t time_ns;
    uint64_t hash;
    bool has_failed;
};

static void see(struct seen *seen, const struct journal_entry *entry)
{
    ensure(seen->count == 0 || entry->seq == seen->last_seq + 1);
    ensure(seen->count == 0 || entry->time_ns >= seen->time_ns);
    ensure(entry->body.len <= LIMIT_ENTRY_SIZE);
    seen->first_seq = seen->count == 0 ? entry->seq : seen->first_seq;
    seen->last_seq = entry->seq;
    seen->time_ns = entry->time_ns;
    seen->hash = hash64(entry->body, hash_mix(seen->hash ^ hash_mix(entry->seq)));
    seen->count++;
}

static void on_entry(void *ctx, const struct journal_entry *entry)
{
    see(ctx, entry);
}

static bool visit(void *ctx, const struct journal_entry *entry)
{
    see(ctx, entry);
    return true;
}

static void on_durable(void *ctx, uint64_t seq)
{
    struct seen *seen = ctx;
    ensure(seq <= seen->last_seq);
}

static void on_failed(void *ctx, enum status status, const char *why)
{
    struct seen *seen = ctx;
    ensure(status != STATUS_OK && why[0] != '\0');
    seen->has_failed = true;
}

static enum status open_journal(struct disk *disk, struct seen *seen, struct file_journal_recovery *recovery,
                                struct journal **ret_journal)
{
    const struct file_journal_config config = {.disk = disk,
                                               .segment_size = SEGMENT_SIZE,
                                               .unsynced_size_max = 65536,
                                               .durability = DURABILITY_BATCH,
                                               .salt = SALT};
    const struct file_journal_hooks hooks = {0};
    const struct journal_callbacks callbacks = {on_entry, on_durable, on_failed, seen};
    *seen = (struct seen){0};
    return file_journal_open(&config, &hooks, &callbacks, NULL, recovery, ret_journal);
}

static void put_segment(struct disk *disk, uint64_t first_seq, unsigned flags, struct slice records)
{
    struct buf bytes;
    struct disk_file *file;
    char path[SEGMENT_PATH_SIZE];
    buf_init(&bytes, SEGMENT_HEADER_SIZE + records.len + SEGMENT_SIZE);
    if (flags & 1) {
        uint64_t size = SEGMENT_HEADER_SIZE + records.len;
        size = size < SEGMENT_SIZE ? SEGMENT_SIZE : size;
        segment_header_encode(
            &(struct segment_header){.first_seq = first_seq, .size = size, .salt = SALT, .is_fresh = (flags & 8) == 0},
            &bytes);
        size_t start = bytes.len;
        uint64_t seq = first_seq;
        buf_append_slice(&bytes, records);
        for (size_t at = start; (flags & 2) != 0 && at + SEGMENT_RECORD_HEAD_SIZE <= bytes.len;) {
            uint32_t len = (uint32_t)le_get(bytes.data + at, 4);
            if (len > bytes.len - at - SEGMENT_RECORD_HEAD_SIZE) {
                len = (uint32_t)(bytes.len - at - SEGMENT_RECORD_HEAD_SIZE); /* the last one may say too much */
                buf_put_u32(&bytes, at, len);
            }
            if (flags & 16) { /* and one after the other */
                le_put(bytes.data + at + 8, seq++, 8);
                le_put(bytes.data + at + 24, SEGMENT_RECORD_VERSION, 4);
            }
            uint32_t crc = crc32c(SALT, bytes.data + at, 4);
            buf_put_u32(&bytes, at + 4, crc32c(crc, bytes.data + at + 8, SEGMENT_RECORD_HEAD_SIZE - 8 + (size_t)len));
            at += (size_t)segment_record_size(len);
        }
        if (bytes.len < size) {
            buf_append_zeros(&bytes, (size_t)size - bytes.len);
        }
    } else {
        buf_append_slice(&bytes, records);
    }
    ensure(buf_status(&bytes) == STATUS_OK);
    segment_path(first_seq, path);
    if (!disk_sim_has_file(disk, path)) {
        ensure(disk->open(disk, path, DISK_OPEN_CREATE, &file) == STATUS_OK);
        ensure(disk->write_at(disk, file, 0, bytes.data, bytes.len) == STATUS_OK);
        ensure(disk->sync(disk, file) == STATUS_OK);
        disk->close(disk, file);
    }
    buf_free(&bytes);
}

static void settle(struct journal *journal)
{
    while (file_journal_write(journal)) {
    }
    while (file_journal_prepare(journal) == STATUS_OK) {
    }
    journal->driver->poll(journal);
}

/* It was opened: it must be as good as any. Takes entries, closes, and finds everything again. */
static void use(struct disk *disk, struct journal *journal, struct seen *seen)
{
    struct file_journal_recovery recovery;
    struct seen again;
    ensure(file_journal_check(journal) == NULL);
    ensure(journal->driver->last_seq(journal) == (seen->count > 0 ? seen->last_seq : 0));
    for (unsigned i = 0; i < 3; i++) {
        char body[600] = {(char)i};
        enum status status = journal->driver->propose(journal, 1, slice_of(body, i == 2 ? sizeof(body) : i));
        if (status == STATUS_BUSY) {
            settle(journal);
            status = journal->driver->propose(journal, 1, slice_of(body, i == 2 ? sizeof(body) : i));
        }
        ensure(status == STATUS_OK && !seen->has_failed);
    }
    settle(journal);
    ensure(journal->driver->durable_seq(journal) == seen->last_seq && file_journal_check(journal) == NULL);
    journal->driver->close(journal);
    disk_sim_crash(disk, DISK_SIM_LOSE_ALL);
    ensure(open_journal(disk, &again, &recovery, &journal) == STATUS_OK);
    ensure(again.count == seen->count && again.hash == seen->hash && recovery.truncated_size == 0);
    journal->driver->close(journal);
}

static uint64_t changes(const struct disk *disk)
{
    return disk_sim_calls(disk, DISK_SIM_WRITE | DISK_SIM_TRUNCATE | DISK_SIM_RENAME | DISK_SIM_REMOVE);
}

static void repair(struct disk *disk)
{
    struct file_journal_repair plan, report, rest;
    struct file_journal_recovery recovery;
    struct journal *journal;
    struct seen seen;
    uint64_t changed = changes(disk);
    enum status planned = file_journal_repair(disk, true, &plan);
    ensure(changes(disk) == changed);
    enum status status = file_journal_repair(disk, false, &report);
    ensure(status == planned && plan.files_changed == report.files_changed);
    ensure(plan.kept_last_seq == report.kept_last_seq && plan.lost_entries == report.lost_entries);
    if (status != STATUS_OK) {
        ensure(report.detail[0] != '\0');
        return;
    }
    ensure(file_journal_repair(disk, true, &rest) == STATUS_OK && rest.files_changed == 0 && rest.lost_entries == 0);
    ensure(open_journal(disk, &seen, &recovery, &journal) == STATUS_OK);
    ensure((seen.count > 0 ? seen.last_seq : 0) == report.kept_last_seq);
    use(disk, journal, &seen);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    struct slice bytes = slice_of(data + 1, size - 1);
    struct disk *disk = disk_sim_new(1);
    ensure(disk != NULL && disk->make_dir(disk, "journal") == STATUS_OK &&
           disk->make_dir(disk, "snapshot") == STATUS_OK);
    if (data[0] & 4) {
        size_t half = bytes.len / 2 / SEGMENT_ALIGN * SEGMENT_ALIGN;
        put_segment(disk, 1, data[0], slice_of(bytes.data, half));
        put_segment(disk, 1 + (data[0] >> 5), data[0], slice_of(bytes.data + half, bytes.len - half));
    } else {
        put_segment(disk, 1, data[0], bytes);
    }
    ensure(disk->sync_dir(disk, "journal") == STATUS_OK && disk->sync_dir(disk, "snapshot") == STATUS_OK);

    struct file_journal_recovery recovery, scanned;
    struct seen seen, seen_by_scan = {0};
    struct journal *journal;
    struct disk *copy = disk_sim_clone(disk, 2);
    ensure(copy != NULL);
    enum status scan = file_journal_scan(disk, 1, visit, &seen_by_scan, &scanned);
    enum status status = open_journal(disk, &seen, &recovery, &journal);
    ensure(status == STATUS_OK || status == STATUS_CORRUPT || status == STATUS_TOO_NEW);
    ensure(scan == status && (status == STATUS_OK || (recovery.detail[0] != '\0' && scanned.detail[0] != '\0')));
    if (status == STATUS_OK) {
        ensure(seen.count == seen_by_scan.count && seen.hash == seen_by_scan.hash);
        use(disk, journal, &seen);
    }
    repair(copy);
    disk_sim_free(copy);
    disk_sim_free(disk);
    return 0;
}
