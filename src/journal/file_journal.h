/* file_journal.h - the driver `file`: segments on a local disk, with natural group commit.
 *
 * Split so that no thread is needed to test it: the owner's thread encodes records into a buffer (propose) and hands
 * buffers to a *writer*; a writer is run by whoever wants to (hub/journal_thread.c runs it on a thread of its own; tests
 * and the simulator call it in place). Writer and owner share only `struct file_journal_queue`, behind a lock that the
 * caller supplies through hooks. See file_journal.c for the format to the byte, recovery and the invariants. */
#ifndef SHOAL_JOURNAL_FILE_JOURNAL_H
#define SHOAL_JOURNAL_FILE_JOURNAL_H

#include "journal/disk.h"
#include "journal/journal.h"

enum durability {
    DURABILITY_BATCH,    /* fdatasync before any answer */
    DURABILITY_INTERVAL, /* fdatasync every sync_interval_ms; a crash of the machine can lose that much */
    DURABILITY_NONE      /* never; a crash of the machine can lose anything */
};

struct file_journal_config {
    struct disk *disk;     /* borrowed; holds journal/ and snapshot/ */
    uint64_t segment_size; /* bytes, LIMIT_SEGMENT_SIZE */
    uint64_t unsynced_size_max;
    enum durability durability;
    int64_t sync_interval_ms; /* with DURABILITY_INTERVAL */
    uint64_t
        salt; /* a secret: random for each process (a simulation: its seed); see segment.c for what it is good for */
};

/* Hooks through which owner and writer meet. All NULL: single-threaded, nothing to lock. */
struct file_journal_hooks {
    void (*lock)(void *ctx);
    void (*unlock)(void *ctx);
    void (*wake_writer)(void *ctx); /* called by the owner, locked, when there is something to write */
    void (*wake_owner)(void *ctx);  /* called by the writer, unlocked, when there is something to poll */
    int64_t (*mono_ns)(void *ctx);  /* for DURABILITY_INTERVAL and timings; may be NULL */
    void *ctx;
};

/* What recovery found. */
struct file_journal_recovery {
    uint64_t snapshot_seq; /* 0: started from nothing */
    uint64_t first_seq;    /* first entry replayed; 0: none */
    uint64_t last_seq;
    uint64_t entries;        /* replayed */
    uint64_t truncated_size; /* bytes of a torn tail that were cut */
    char detail[512];        /* for people: when recovery fails, file, offset and what is wrong; else what it found
                              * (a torn tail, a damaged snapshot), empty when there was nothing to say */
};

struct file_journal;

/* Recovery: finds the newest sound snapshot, gives its state to `on_snapshot`, then every entry after it to
 * callbacks.on_entry (on_durable is not called for those), cuts a torn tail, and returns a journal ready for propose.
 * A snapshot that on_snapshot refuses with CORRUPT or TOO_NEW is passed over like a damaged one: an older one and the log
 * stand in for it, or the whole log. CORRUPT when anything else is damaged, or nothing stands in for a snapshot; TOO_NEW when a
 * newer Shoal wrote what is needed; CANCELLED when callbacks.has_stopped: then nothing on the disk was changed; IO when a segment or a snapshot
 * cannot be read (ret_recovery->detail says where). The journal is owned by the caller: close, after its writer has
 * stopped; close writes and syncs what is left, in place, and calls nothing back. */
STATUS_MUST_CHECK enum status file_journal_open(const struct file_journal_config *config,
                                                const struct file_journal_hooks *hooks,
                                                const struct journal_callbacks *callbacks,
                                                enum status (*on_snapshot)(void *ctx, uint64_t seq, struct slice state),
                                                struct file_journal_recovery *ret_recovery,
                                                struct journal **ret_journal);

/* Writer side, any one thread: writes and syncs everything queued. True when it did something. With
 * DURABILITY_INTERVAL also call it when file_journal_sync_due_ns() has passed. */
bool file_journal_write(struct journal *journal);
int64_t file_journal_sync_due_ns(struct journal *journal);
/* Prepares (zero-fills) the next segment if none is ready, one piece of 1 MiB a call so that a batch never waits long
 * behind it: OK: call again when there is nothing to write. AGAIN: nothing to do. NO_SPACE: the disk is full; call again in
 * a second or so. Any one thread that has time. While no room is prepared, entries that do not fit are refused (BUSY, or
 * NO_SPACE on a full disk) and nothing is lost; when it comes, poll calls on_durable even if nothing new is durable. */
enum status file_journal_prepare(struct journal *journal);

/* Verifies the invariants F1-F5 of file_journal.c in O(unwritten bytes). NULL when they hold, else a sentence that names
 * the first that does not. Owner's thread, with the writer at rest. */
const char *file_journal_check(struct journal *journal);

/* --- snapshots (snapshot.c): files snapshot/<seq>.snap, SHA-256 over everything, two kept --- */
struct snapshot_writer;
/* Begins snapshot/<seq>.tmp; `state_hash` is core_hash. Runs in a forked child or in place. */
STATUS_MUST_CHECK enum status snapshot_begin(struct disk *disk, uint64_t seq, int64_t time_ns,
                                             const uint8_t state_hash[32], struct snapshot_writer **ret_writer);
bool snapshot_write(void *writer, const void *data, size_t len); /* fits core_save */
/* Finishes: hash, sync, rename, directory sync; `ok` false or an earlier error: removes it. Frees the writer. */
STATUS_MUST_CHECK enum status snapshot_end(struct snapshot_writer *writer, bool ok);

struct snapshot_info {
    uint64_t seq;
    int64_t time_ns;
    uint64_t size;
    uint8_t state_hash[32];
};
/* Lists snapshots, newest first (at most `max`); does not verify their content. */
STATUS_MUST_CHECK enum status snapshot_list(struct disk *disk, struct snapshot_info *ret_infos, size_t max,
                                            size_t *ret_count);
/* Reads and verifies one. `ret_state` is malloc'd and owned by the caller. CORRUPT when damaged. */
STATUS_MUST_CHECK enum status snapshot_read(struct disk *disk, uint64_t seq, struct snapshot_info *ret_info,
                                            char **ret_state, size_t *ret_len);
/* Removes snapshots but the newest two, and hands segments back (for recycling) that hold only entries at or below both
 * the older of the two and `history_seq`. Owner's thread. */
STATUS_MUST_CHECK enum status file_journal_trim(struct journal *journal, uint64_t history_seq);

/* --- offline, for `shoal verify` and `shoal repair` (nothing else has the directory open) --- */
/* Walks entries with seq >= from in order; 0: all there are, and then entries may be missing in front of a segment that
 * begins behind a snapshot, which stands in for them (sound or not: see for yourself). CORRUPT with detail on damage; a
 * torn tail is only reported. */
STATUS_MUST_CHECK enum status file_journal_scan(struct disk *disk, uint64_t from,
                                                bool (*visit)(void *ctx, const struct journal_entry *entry), void *ctx,
                                                struct file_journal_recovery *ret_recovery);
/* Cuts the journal at the first damage, keeping the damaged remainder as journal/<name>.damaged; removes damaged
 * snapshots likewise. Says in ret_report what it did and which entries are lost. `is_dry_run` only reports. */
struct file_journal_repair {
    uint64_t kept_last_seq;
    uint64_t lost_entries; /* sound entries after the damage that had to go; UINT64_MAX when unknown */
    uint32_t files_changed;
    char detail[512];
};
STATUS_MUST_CHECK enum status file_journal_repair(struct disk *disk, bool is_dry_run,
                                                  struct file_journal_repair *ret_report);

#endif
