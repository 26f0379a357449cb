/* verify.c - replay as a standing test of determinism.
 *
 *   snapshot A (or nothing) ──entries──▶ state at B ──entries──▶ … ──▶ last
 *                                          │ core_hash
 *                                          └ must equal that of the loaded B, which must be the one that B carries
 *
 * A hub that crashed and recovered from B goes on from what B holds; a hub that lived on goes on from what A and the
 * entries make. That both are the same state, to the bit, is what makes a restart invisible (J3). */
#include "hub/verify.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/ensure.h"
#include "core/core.h"

#define SNAPSHOTS_MAX 16u
/* Around the name of the data directory. */
#define HINT_BEGIN " (`shoal repair --data "
#define HINT_END " --dry-run` says what can be saved)"

struct replay {
    const char *data_dir;
    struct disk *disk;
    struct core *core;
    struct buf effects;
    struct snapshot_info snapshots[SNAPSHOTS_MAX]; /* newest first */
    size_t snapshot_count;
    bool has_base;
    struct verify_report *report;
    enum status status;
    struct buf *why;
};

static enum status complain(struct buf *why, enum status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static enum status complain(struct buf *why, enum status status, const char *format, ...)
{
    if (why->len == 0) {
        va_list args;
        va_start(args, format);
        buf_vprintf(why, format, args);
        va_end(args);
    }
    return status;
}

static unsigned long long ull(uint64_t value)
{
    return (unsigned long long)value;
}

/* Loads a snapshot and checks that what was loaded has the hash that it carries. */
static enum status load(struct replay *replay, uint64_t seq, struct core **ret_core)
{
    struct snapshot_info info;
    char *state = NULL;
    size_t len = 0;
    enum status status = snapshot_read(replay->disk, seq, &info, &state, &len);
    if (status != STATUS_OK) {
        return complain(replay->why, status, "the snapshot at entry %llu cannot be used: %s%s%s%s", ull(seq),
                        status_title(status), status == STATUS_CORRUPT ? HINT_BEGIN : "",
                        status == STATUS_CORRUPT ? replay->data_dir : "", status == STATUS_CORRUPT ? HINT_END : "");
    }
    struct core *core = NULL;
    struct buf load_why;
    buf_init(&load_why, 256);
    status = core_load_why(slice_of(state, len), &core, &load_why);
    if (status != STATUS_OK) {
        status = complain(replay->why, status, "snapshot/%020llu.snap holds no state that can be used: %s", ull(seq),
                          load_why.len > 0 ? buf_cstr(&load_why) : status_title(status));
        buf_free(&load_why);
        free(state);
        return status;
    }
    buf_free(&load_why);
    /* The state hash is the digest that a state ends with. One in an older format is another stream than would be saved
     * now, and only the digest can be held against what the snapshot carries. */
    uint8_t hash[SHA256_SIZE];
    core_hash(core, hash);
    bool is_current = core_state_is_current(slice_of(state, len));
    bool has_its_hash = memcmp(state + len - sizeof(hash), info.state_hash, sizeof(hash)) == 0 &&
                        (!is_current || memcmp(hash, info.state_hash, sizeof(hash)) == 0);
    free(state);
    if (core_seq(core) != seq || !has_its_hash) {
        core_free(core);
        return complain(replay->why, STATUS_CORRUPT,
                        "the snapshot at entry %llu does not have the state hash it carries", ull(seq));
    }
    *ret_core = core;
    return STATUS_OK;
}

/* Goes on from the snapshot at `seq`, since the journal lacks the entries up to there. Those in between, which nothing
 * leads to either, are loaded all the same. */
static enum status jump(struct replay *replay, uint64_t seq)
{
    uint64_t from = core_seq(replay->core);
    for (size_t i = replay->snapshot_count; i-- > 0;) {
        if (replay->snapshots[i].seq <= from || replay->snapshots[i].seq > seq) {
            continue;
        }
        struct core *core = NULL;
        enum status status = load(replay, replay->snapshots[i].seq, &core);
        if (status != STATUS_OK) {
            return status;
        }
        core_free(replay->core);
        replay->core = core;
    }
    replay->report->stood_in += seq - from;
    replay->report->stood_in_first = from + 1;
    replay->report->stood_in_last = seq;
    return STATUS_OK;
}

static bool has_snapshot(const struct replay *replay, uint64_t seq)
{
    bool has = false;
    for (size_t i = 0; i < replay->snapshot_count; i++) {
        has |= replay->snapshots[i].seq == seq;
    }
    return has;
}

/* Where replay begins: from nothing when the journal still has its first entry, else from the oldest snapshot. */
static enum status choose_base(struct replay *replay, uint64_t first_seq)
{
    replay->has_base = true;
    if (first_seq == 1) {
        replay->core = core_new();
        return replay->core != NULL ? STATUS_OK
                                    : complain(replay->why, STATUS_NO_MEMORY, "there is no memory for the state");
    }
    if (replay->snapshot_count == 0) {
        return complain(replay->why, STATUS_CORRUPT,
                        "the journal begins at entry %llu and there is no snapshot before it", ull(first_seq));
    }
    uint64_t seq = replay->snapshots[replay->snapshot_count - 1].seq;
    if (seq + 1 < first_seq && !has_snapshot(replay, first_seq - 1)) {
        return complain(replay->why, STATUS_CORRUPT, "the entries between snapshot %llu and entry %llu are missing",
                        ull(seq), ull(first_seq));
    }
    replay->report->base_seq = seq;
    return load(replay, seq, &replay->core);
}

/* Compares with the snapshot that was taken here, if one was. */
static enum status compare(struct replay *replay)
{
    uint64_t seq = core_seq(replay->core);
    for (size_t i = 0; i < replay->snapshot_count; i++) {
        const struct snapshot_info *info = &replay->snapshots[i];
        if (info->seq != seq || seq == replay->report->base_seq) {
            continue;
        }
        uint8_t hash[SHA256_SIZE];
        uint8_t loaded_hash[SHA256_SIZE];
        struct core *loaded = NULL;
        enum status status = load(replay, seq, &loaded);
        if (status != STATUS_OK) {
            return status;
        }
        core_hash(replay->core, hash);
        core_hash(loaded, loaded_hash);
        core_free(loaded);
        if (memcmp(hash, loaded_hash, sizeof(hash)) != 0) {
            return complain(replay->why, STATUS_CORRUPT,
                            "replay to entry %llu gives another state than the snapshot taken there", ull(seq));
        }
        replay->report->snapshots_compared++;
    }
    return STATUS_OK;
}

static enum status replay_entry(struct replay *replay, const struct journal_entry *entry)
{
    if (!replay->has_base) {
        enum status status = choose_base(replay, entry->seq);
        if (status != STATUS_OK) {
            return status;
        }
    }
    if (entry->seq <= core_seq(replay->core)) {
        return STATUS_OK;
    }
    if (entry->seq > core_seq(replay->core) + 1 && has_snapshot(replay, entry->seq - 1)) {
        enum status status = jump(replay, entry->seq - 1);
        if (status != STATUS_OK) {
            return status;
        }
    }
    if (entry->seq != core_seq(replay->core) + 1) {
        return complain(replay->why, STATUS_CORRUPT, "entry %llu is followed by entry %llu",
                        ull(core_seq(replay->core)), ull(entry->seq));
    }
    buf_reset(&replay->effects);
    struct core_entry core_entry = {.seq = entry->seq, .time_ns = entry->time_ns, .body = entry->body};
    enum status status = core_apply(replay->core, &core_entry, &replay->effects);
    if (status == STATUS_CORRUPT) {
        replay->report->undecodable++;
    } else if (status == STATUS_TOO_NEW) {
        char entry_why[ENTRY_WHY_SIZE];
        entry_explain(entry->body, entry_why);
        return complain(replay->why, status, "entry %llu was written by a newer Shoal: %s", ull(entry->seq), entry_why);
    } else if (status != STATUS_OK) {
        return complain(replay->why, status, "entry %llu cannot be applied: %s", ull(entry->seq), status_title(status));
    }
    replay->report->entries++;
    return compare(replay);
}

static bool visit(void *ctx, const struct journal_entry *entry)
{
    struct replay *replay = ctx;
    replay->status = replay_entry(replay, entry);
    return replay->status == STATUS_OK;
}

/* After the last entry. */
static enum status conclude(struct replay *replay)
{
    if (!replay->has_base) {
        /* No entry at all: the newest snapshot is everything there is, or nothing is. */
        replay->report->base_seq = replay->snapshot_count > 0 ? replay->snapshots[0].seq : 0;
        replay->core = replay->snapshot_count > 0 ? NULL : core_new();
        enum status status = replay->snapshot_count > 0 ? load(replay, replay->snapshots[0].seq, &replay->core)
                             : replay->core != NULL     ? STATUS_OK
                                                        : STATUS_NO_MEMORY;
        if (status != STATUS_OK) {
            return complain(replay->why, status, "there is no memory for the state");
        }
    }
    if (replay->snapshot_count > 0 && replay->snapshots[0].seq > core_seq(replay->core)) {
        enum status status = jump(replay, replay->snapshots[0].seq);
        if (status != STATUS_OK) {
            return status;
        }
    }
    const char *broken = core_check(replay->core);
    if (broken != NULL) {
        return complain(replay->why, STATUS_CORRUPT, "after the last entry an invariant does not hold: %s", broken);
    }
    struct core_stats stats;
    core_stats(replay->core, &stats);
    replay->report->last_seq = core_seq(replay->core);
    replay->report->tasks_live = stats.tasks_live;
    replay->report->history_seq = stats.history_seq;
    core_hash(replay->core, replay->report->state_hash);
    return STATUS_OK;
}

/* Opens an existing data directory and takes its lock. */
static enum status open_dir(const char *data_dir, struct disk **ret_disk, struct buf *why)
{
    struct stat info;
    if (stat(data_dir, &info) != 0 || !S_ISDIR(info.st_mode)) {
        return complain(why, STATUS_NOT_FOUND, "there is no data directory %s", data_dir);
    }
    struct disk *disk = NULL;
    enum status status = disk_posix_open(data_dir, &disk);
    if (status != STATUS_OK) {
        return complain(why, status, "the data directory %s cannot be opened", data_dir);
    }
    status = disk_posix_lock(disk);
    if (status != STATUS_OK) {
        disk_posix_close(disk);
        return complain(why, status,
                        status == STATUS_LOCKED ? "the data directory %s is in use by a shoal hub"
                                                : "the data directory %s cannot be locked",
                        data_dir);
    }
    *ret_disk = disk;
    return STATUS_OK;
}

enum status verify_run(const char *data_dir, struct verify_report *ret_report, struct buf *why)
{
    *ret_report = (struct verify_report){0};
    struct replay *replay = calloc(1, sizeof(*replay));
    if (replay == NULL) {
        return complain(why, STATUS_NO_MEMORY, "there is no memory");
    }
    replay->data_dir = data_dir;
    replay->report = ret_report;
    replay->why = why;
    buf_init(&replay->effects, SIZE_MAX / 4);
    enum status status = open_dir(data_dir, &replay->disk, why);
    if (status == STATUS_OK) {
        status = snapshot_list(replay->disk, replay->snapshots, SNAPSHOTS_MAX, &replay->snapshot_count);
        if (status == STATUS_NOT_FOUND) {
            status = STATUS_OK; /* a hub that never got as far as making the folder */
        }
        ret_report->snapshots = (uint32_t)replay->snapshot_count;
    }
    struct file_journal_recovery recovery = {0};
    if (status == STATUS_OK) {
        status = file_journal_scan(replay->disk, 0, visit, replay, &recovery);
        ret_report->torn_size = recovery.truncated_size;
        if (status != STATUS_OK) {
            bool is_damaged = status == STATUS_CORRUPT;
            (void)complain(why, status, "the journal in %s %s: %s%s%s%s", data_dir,
                           is_damaged ? "is damaged" : "cannot be read",
                           recovery.detail[0] != '\0' ? recovery.detail : status_title(status),
                           is_damaged ? HINT_BEGIN : "", is_damaged ? data_dir : "", is_damaged ? HINT_END : "");
        }
    }
    status = status == STATUS_OK ? replay->status : status;
    status = status == STATUS_OK ? conclude(replay) : status;
    if (status != STATUS_OK) {
        (void)complain(why, status, "%s", status_title(status));
    }
    core_free(replay->core);
    buf_free(&replay->effects);
    disk_posix_close(replay->disk);
    free(replay);
    return status;
}

struct age {
    struct buf *why;
    bool is_too_new;
};

static bool visit_age(void *ctx, const struct journal_entry *entry)
{
    struct age *age = ctx;
    struct entry_head head;
    if (entry_check(entry->body, &head) != STATUS_TOO_NEW) {
        return true;
    }
    char entry_why[ENTRY_WHY_SIZE];
    entry_explain(entry->body, entry_why);
    (void)complain(age->why, STATUS_TOO_NEW,
                   "entry %llu was written by a newer Shoal, whose data this one does not repair: %s", ull(entry->seq),
                   entry_why);
    age->is_too_new = true;
    return false;
}

/* Nothing is cut from data that a newer Shoal wrote: it knows better what is damage. Damage itself is no concern here. */
static enum status check_age(struct disk *disk, const char *data_dir, struct buf *why)
{
    struct age age = {.why = why};
    struct file_journal_recovery recovery;
    enum status status = file_journal_scan(disk, 0, visit_age, &age, &recovery);
    if (status == STATUS_TOO_NEW) {
        return complain(why, status, "the data in %s needs a newer Shoal: %s", data_dir, recovery.detail);
    }
    return age.is_too_new ? STATUS_TOO_NEW : STATUS_OK;
}

enum status repair_run(const char *data_dir, bool is_dry_run, struct file_journal_repair *ret_report, struct buf *why)
{
    struct disk *disk = NULL;
    enum status status = open_dir(data_dir, &disk, why);
    if (status != STATUS_OK) {
        return status;
    }
    status = check_age(disk, data_dir, why);
    if (status != STATUS_OK) {
        disk_posix_close(disk);
        return status;
    }
    status = file_journal_repair(disk, is_dry_run, ret_report);
    disk_posix_close(disk);
    if (status != STATUS_OK) {
        (void)complain(why, status, "the journal in %s cannot be repaired: %s", data_dir, status_title(status));
    }
    return status;
}
