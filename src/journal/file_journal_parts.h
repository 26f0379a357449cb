/* file_journal_parts.h - the inside of the file driver, shared by file_journal.c (owner's side, recovery), file_writer.c
 * (writer's side) and file_trim.c. Private to src/journal.
 *
 * Who may touch what: each field belongs to the owner's thread, to the writer's thread, or to both under the lock. */
#ifndef SHOAL_JOURNAL_FILE_JOURNAL_PARTS_H
#define SHOAL_JOURNAL_FILE_JOURNAL_PARTS_H

#include "base/buf.h"
#include "journal/file_journal.h"
#include "journal/segment.h"

#define FILE_JOURNAL_SPARES 2              /* kept for their zeros; more are removed by trim */
#define FILE_JOURNAL_SPARES_MAX 4          /* with those made for one big entry */
#define FILE_JOURNAL_BATCH_KEEP (4u << 20) /* a buffer that grew past this is given back when it was written */
#define FILE_JOURNAL_TMP "journal/spare.tmp"

/* A run of bytes that goes to one place of one segment. */
struct file_chunk {
    uint64_t first_seq; /* of the segment */
    uint64_t offset;    /* in it */
    size_t start;       /* in the batch's bytes */
    size_t len;
    bool begins_segment; /* the spare `spare_id` becomes the segment first */
    uint64_t spare_id;
};

/* What is written and synced in one go. */
struct file_batch {
    struct buf bytes;
    struct file_chunk *chunks; /* owned */
    size_t chunk_count;
    size_t chunk_cap;
    uint64_t last_seq;   /* newest entry in it */
    uint64_t entry_size; /* bytes of its records, for the limit on unsynced bytes */
};

/* A file of full size, synced, that may become a segment. */
struct file_spare {
    uint64_t id;
    uint64_t size;
    bool is_fresh; /* all zeros */
};

struct file_segment {
    uint64_t first_seq;
    uint64_t last_seq; /* of all but the newest segment */
    uint64_t size;
};

struct file_journal {
    struct journal base; /* first: a struct journal * is one of these */
    uint32_t magic;
    struct file_journal_config config;
    struct file_journal_hooks hooks;

    /* owner */
    struct journal_callbacks callbacks;
    uint64_t last_seq;
    int64_t last_time_ns;
    uint64_t reported_seq; /* on_durable has said so */
    bool is_failure_reported;
    struct file_segment *segments; /* owned; the newest one last */
    size_t segment_count;
    size_t segment_cap;
    /* The place of the next record; size 0: there is none, the next record begins a segment. */
    uint64_t place_first_seq;
    uint64_t place_offset;
    uint64_t place_size;
    uint32_t place_salt;
    int64_t asked_ns; /* when a refused proposal last asked for room on a full disk */

    /* both, under the lock */
    struct file_batch batches[2]; /* one is filled by the owner while the writer writes the other */
    unsigned filling;
    uint64_t synced_seq;  /* survives a power cut */
    uint64_t durable_seq; /* what on_durable may say: synced, or only written where the configuration says so */
    uint64_t unsynced_size;
    enum status failed; /* OK, or why nothing more can be written */
    char why[160];
    struct file_spare spares[FILE_JOURNAL_SPARES_MAX];
    size_t spare_count;
    uint64_t spare_id_next;
    uint64_t spare_size_wanted; /* a proposal was refused for want of a spare of this size; 0: none was */
    bool is_full;               /* the last attempt to make a spare met a full disk */
    bool has_room_news;         /* a refused proposal has got its spare, or will not get it */
    bool is_preparing;          /* a thread is inside file_journal_prepare */

    /* writer */
    struct disk_file *file; /* of the segment being written; NULL: none yet */
    uint64_t file_first_seq;
    bool is_dirty; /* written since the last sync */
    uint64_t written_seq;
    int64_t synced_at_ns;

    /* preparer, guarded by is_preparing */
    struct disk_file *spare_file; /* being filled; NULL: none */
    uint64_t spare_offset;
    uint64_t spare_size;
    uint64_t spare_id;
};

struct file_journal *file_journal_of(struct journal *journal);
const struct file_journal *file_journal_of_const(const struct journal *journal);
void file_journal_lock(const struct file_journal *fj);
void file_journal_unlock(const struct file_journal *fj);
void file_journal_batch_free(struct file_batch *batch);
/* Locked: takes a spare of at least `size` out of the list; false when there is none. */
bool file_journal_take_spare(struct file_journal *fj, uint64_t size, struct file_spare *ret_spare);
/* Makes the spare that is wanted or missing, all of it; for opening and for a writer whose owner waits. */
enum status file_journal_prepare_all(struct file_journal *fj);
/* Writes and syncs everything, whatever the durability; for close. */
void file_journal_write_all(struct file_journal *fj);

#endif
