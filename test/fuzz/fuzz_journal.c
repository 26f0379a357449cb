/* fuzz_journal.c - a journal with a life of its own, then damage, then recovery.
 *
 * The input is a script: propose, write, prepare, snapshot, trim, crash, lose power, open again; flip a bit, cut a file, make a
 * sector unreadable, let a call of the disk fail. A model knows what was proposed under each number and what was reported
 * durable. Whatever happens: an entry that comes back is the one that was proposed last under its number; without damage
 * nothing that was durable is missing; with damage opening gives a prefix, or refuses with a sentence and without having
 * lost what repair can save. Repair is then demanded to make it usable. */
#include "base/hash.h"
#include "journal/disk_sim.h"
#include "journal/file_journal.h"
#include "journal/segment.h"
#include "test/fuzz/fuzz.h"

#define ENTRIES_MAX 2048u
#define SEGMENT_SIZE 16384u
#define FILES_MAX 32u

struct script {
    struct reader in;
    struct disk *disk;
    struct journal *journal; /* NULL: not open */
    int64_t now_ns;
    uint64_t generation;
    uint64_t hashes[ENTRIES_MAX]; /* of the entry proposed last under seq i + 1 */
    uint64_t last_seq, applied_seq, durable_seq;
    bool is_replaying, has_failed;
    bool is_damaged; /* by hand: durable entries may be missing */
    char paths[FILES_MAX][SEGMENT_PATH_SIZE];
    size_t path_count;
    const char *folder; /* while listing */
};

static uint64_t entry_hash(const struct journal_entry *entry)
{
    return hash64(entry->body, hash_mix(entry->seq) ^ hash_mix((uint64_t)entry->time_ns));
}

static void on_entry(void *ctx, const struct journal_entry *entry)
{
    struct script *s = ctx;
    ensure(entry->seq == s->applied_seq + 1 && entry->seq <= ENTRIES_MAX);
    s->applied_seq = entry->seq;
    if (s->is_replaying) {
        ensure(entry->seq <= s->last_seq && s->hashes[entry->seq - 1] == entry_hash(entry));
    } else {
        s->hashes[entry->seq - 1] = entry_hash(entry);
        s->last_seq = entry->seq;
    }
}

static void on_durable(void *ctx, uint64_t seq)
{
    struct script *s = ctx;
    ensure(!s->is_replaying && seq <= s->applied_seq);
    s->durable_seq = seq > s->durable_seq ? seq : s->durable_seq;
}

static void on_failed(void *ctx, enum status status, const char *why)
{
    struct script *s = ctx;
    ensure(status != STATUS_OK && why[0] != '\0');
    s->has_failed = true;
}

/* A snapshot's state is the hash of its last entry. */
static enum status on_snapshot(void *ctx, uint64_t seq, struct slice state)
{
    struct script *s = ctx;
    ensure(s->applied_seq == 0 && seq >= 1 && seq <= s->last_seq && state.len == sizeof(uint64_t));
    ensure(memcmp(state.data, &s->hashes[seq - 1], sizeof(uint64_t)) == 0);
    s->applied_seq = seq;
    return STATUS_OK;
}

static void close_journal(struct script *s)
{
    if (s->journal != NULL) {
        struct journal *journal = TAKE(s->journal);
        journal->driver->close(journal);
    }
}

/* What a process that is killed leaves: closing would write what is left, so it finds no disk. */
static void kill_journal(struct script *s)
{
    if (s->journal != NULL) {
        disk_sim_cut_power(s->disk, DISK_SIM_ANY, 1, 0);
        close_journal(s);
    }
}

static enum status open_once(struct script *s)
{
    const struct file_journal_config config = {.disk = s->disk,
                                               .segment_size = SEGMENT_SIZE,
                                               .unsynced_size_max = 20000,
                                               .durability = DURABILITY_BATCH,
                                               .salt = 99};
    const struct file_journal_hooks hooks = {0};
    const struct journal_callbacks callbacks = {on_entry, on_durable, on_failed, s};
    struct file_journal_recovery recovery;
    s->applied_seq = 0;
    s->has_failed = false;
    s->is_replaying = true;
    enum status status = file_journal_open(&config, &hooks, &callbacks, on_snapshot, &recovery, &s->journal);
    s->is_replaying = false;
    ensure(status == STATUS_OK || recovery.detail[0] != '\0');
    if (status != STATUS_OK) {
        s->journal = NULL;
        return status;
    }
    ensure(file_journal_check(s->journal) == NULL && recovery.last_seq == s->applied_seq);
    ensure(s->journal->driver->last_seq(s->journal) == s->applied_seq);
    ensure(s->applied_seq <= s->last_seq);
    ensure(s->is_damaged || s->applied_seq >= s->durable_seq); /* a call that fails may refuse, but loses nothing */
    s->last_seq = s->durable_seq = s->applied_seq;
    return STATUS_OK;
}

/* Opens; repairs first when there is damage. A fault of the disk that is still set may spoil the first attempts. */
static void open_journal(struct script *s)
{
    enum status status = open_once(s);
    if (status != STATUS_OK && !s->is_damaged && disk_sim_has_failed(s->disk)) {
        return; /* a call failed on the way, such as the read of a snapshot; the process would end, and try again */
    }
    if (status == STATUS_CORRUPT || (status == STATUS_IO && s->is_damaged)) {
        struct file_journal_repair plan, report;
        ensure(s->is_damaged);
        enum status planned = file_journal_repair(s->disk, true, &plan);
        status = file_journal_repair(s->disk, false, &report);
        ensure((status == planned && plan.files_changed == report.files_changed &&
                plan.kept_last_seq == report.kept_last_seq) ||
               disk_sim_has_failed(s->disk));
        if (status == STATUS_OK) {
            status = open_once(s);
            ensure(status == STATUS_OK || disk_sim_has_failed(s->disk));
        }
    }
    ensure(status != STATUS_OK || s->journal != NULL);
}

static void snapshot(struct script *s)
{
    struct snapshot_writer *writer;
    const uint8_t digest[32] = {1};
    if (s->applied_seq > 0 && snapshot_begin(s->disk, s->applied_seq, s->now_ns, digest, &writer) == STATUS_OK) {
        bool ok = snapshot_write(writer, &s->hashes[s->applied_seq - 1], sizeof(uint64_t));
        enum status status = snapshot_end(writer, ok);
        (void)status; /* one that failed is not there */
    }
}

static void propose(struct script *s)
{
    static char body[8192];
    uint32_t size = fuzz_below(&s->in, 256);
    size = size < 200 ? size : (size - 199) * 140;
    for (size_t i = 0; i < size; i += 97) {
        body[i] = (char)hash_mix(++s->generation);
    }
    if (s->last_seq < ENTRIES_MAX) {
        enum status status = s->journal->driver->propose(s->journal, s->now_ns, slice_of(body, size));
        ensure(status == STATUS_OK || s->applied_seq == s->last_seq);
    }
}

static bool remember_path(void *ctx, const char *name)
{
    struct script *s = ctx;
    ensure(strlen(s->folder) + strlen(name) + 1 < SEGMENT_PATH_SIZE);
    strcpy(s->paths[s->path_count], s->folder);
    strcat(s->paths[s->path_count++], name);
    return s->path_count < FILES_MAX;
}

static int compare_paths(const void *a, const void *b)
{
    return strcmp(a, b);
}

static void damage(struct script *s, uint32_t how)
{
    close_journal(s);
    disk_sim_restart(s->disk);
    s->path_count = 0;
    s->folder = "journal/";
    enum status status = s->disk->list(s->disk, "journal", remember_path, s);
    s->folder = "snapshot/";
    status = s->path_count < FILES_MAX && status == STATUS_OK ? s->disk->list(s->disk, "snapshot", remember_path, s)
                                                              : status;
    qsort(s->paths, s->path_count, SEGMENT_PATH_SIZE, compare_paths);
    if (s->path_count == 0) {
        return;
    }
    const char *path = s->paths[fuzz_below(&s->in, (uint32_t)s->path_count)];
    uint64_t size = disk_sim_file_size(s->disk, path);
    uint64_t at = fuzz_below(&s->in, 256) << 8;
    at = size > 0 ? (at + fuzz_below(&s->in, 256)) % size : 0;
    if (size == 0 || s->is_damaged) {
        return; /* once: a bit that is flipped back brings back what is behind the end */
    }
    s->is_damaged = true;
    switch (how) {
    case 0:
        disk_sim_flip_bit(s->disk, path, at, fuzz_below(&s->in, 8));
        break;
    case 1:
        disk_sim_resize(s->disk, path, at);
        break;
    case 2:
        disk_sim_spoil_sector(s->disk, path, at);
        break;
    default:
        status = s->disk->remove(s->disk, path);
    }
}

static void step(struct script *s, uint32_t op)
{
    enum status status = STATUS_OK;
    switch (op) {
    case 8: /* kill -9, or the power is cut */
    case 9:
    case 10:
        kill_journal(s);
        if (op == 8) {
            disk_sim_restart(s->disk);
        } else {
            disk_sim_crash(s->disk, op == 9 ? DISK_SIM_LOSE_SOME : DISK_SIM_LOSE_ALL);
        }
        break;
    case 11:
        disk_sim_cut_power(s->disk, DISK_SIM_WRITE | DISK_SIM_SYNC | DISK_SIM_RENAME | DISK_SIM_SYNC_DIR,
                           1 + fuzz_below(&s->in, 8), (size_t)fuzz_below(&s->in, 256) * 8);
        break;
    case 12:
        disk_sim_fail_call(s->disk, DISK_SIM_ANY, 1 + fuzz_below(&s->in, 64),
                           fuzz_below(&s->in, 2) > 0 ? STATUS_NO_SPACE : STATUS_IO, 8);
        break;
    case 13:
        damage(s, fuzz_below(&s->in, 4));
        break;
    default:
        if (s->journal == NULL) {
            open_journal(s);
        } else if (s->has_failed) { /* the process ends */
            close_journal(s);
            disk_sim_crash(s->disk, DISK_SIM_LOSE_SOME);
        } else if (op < 4) {
            s->now_ns += (int64_t)op * 1000 - 1000; /* a clock may go back */
            propose(s);
        } else if (op == 4 || op == 5) {
            file_journal_write(s->journal);
            s->journal->driver->poll(s->journal);
        } else if (op == 6) {
            status = file_journal_prepare(s->journal);
        } else if (op == 7) {
            snapshot(s);
        } else {
            status =
                file_journal_trim(s->journal, fuzz_below(&s->in, 2) > 0 ? s->durable_seq : fuzz_below(&s->in, 256));
        }
    }
    (void)status; /* a full or failing disk shows in has_failed, or when it is opened again */
    ensure(s->journal == NULL || s->has_failed || file_journal_check(s->journal) == NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct script s; /* large */
    s = (struct script){.in = reader_of(slice_of(data, size < 1024 ? size : 1024)), .now_ns = 1000000};
    s.disk = disk_sim_new(size > 0 ? data[0] : 0);
    ensure(s.disk != NULL);
    open_journal(&s);
    ensure(s.journal != NULL);
    while (reader_left(&s.in) > 0) {
        step(&s, fuzz_below(&s.in, 16));
    }
    /* The power goes, comes back, and nothing fails any more: what was there must be there. */
    kill_journal(&s);
    disk_sim_crash(s.disk, DISK_SIM_LOSE_SOME);
    open_journal(&s);
    ensure(s.journal != NULL || s.is_damaged);
    close_journal(&s);
    disk_sim_free(s.disk);
    return 0;
}
