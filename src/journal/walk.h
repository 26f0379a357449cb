/* walk.h - reads the segments of a journal in order, and tells a torn tail from damage.
 *
 * Private to src/journal; shared by opening, `shoal verify` and `shoal repair`. Writes nothing. One thread. */
#ifndef SHOAL_JOURNAL_WALK_H
#define SHOAL_JOURNAL_WALK_H

#include "journal/file_journal.h"
#include "journal/segment.h"

/* --- what lies in journal/ --- */

struct walk_segment {
    uint64_t first_seq;
    bool has_bad_copy; /* found by the walk: one of the two headers is not sound */
    uint32_t bad_copy_at;
};

struct walk_files {
    struct walk_segment *segments; /* owned; by first_seq */
    size_t segment_count;
    size_t segment_cap;
    uint64_t *spares; /* owned; ids, ascending */
    size_t spare_count;
    size_t spare_cap;
    bool has_tmp;
    bool has_no_memory;
};

/* Reads the folder. NOT_FOUND when there is none. */
STATUS_MUST_CHECK enum status walk_files_list(struct disk *disk, struct walk_files *ret_files);
void walk_files_free(struct walk_files *files);

/* --- the walk --- */

enum walk_end {
    WALK_CLEAN,  /* everything up to the end was sound */
    WALK_TORN,   /* the end was being written: what is there was never known durable */
    WALK_DAMAGED /* something that was durable is not there any more */
};

struct walk {
    /* Set by the caller. */
    struct disk *disk;
    struct walk_files *files;
    uint64_t from;             /* first entry wanted; 0: the first there is */
    bool is_read_error_damage; /* for repair: bytes that cannot be read count as zeros */
    bool may_skip; /* for repair: damage in front of `from` is jumped over, since a snapshot stands in for it */
    const struct snapshot_info
        *stand_ins; /* a segment may begin behind one of these though the one before ends earlier */
    size_t stand_in_count;
    bool (*visit)(void *ctx, const struct journal_entry *entry); /* false stops; NULL: only check */
    void *ctx;

    /* Found. */
    enum walk_end end;
    uint64_t first_visited; /* 0: none */
    uint64_t visited;
    uint64_t skipped_to;   /* with may_skip: where entry `from` lies in the first segment; 0: nothing was skipped */
    uint64_t expected_seq; /* the entry after the last sound one */
    int64_t last_time_ns;
    uint64_t synced_seq;              /* newest seq that a sound record proves to have been synced */
    size_t start_index;               /* segment where the walk began */
    size_t end_index;                 /* segment in which it ended */
    uint64_t end_offset;              /* in it, behind the last sound record; 0: its header is no header */
    struct segment_header end_header; /* of that segment, when end_offset > 0 */
    bool is_stopped;                  /* by visit */
    bool has_remains;                 /* behind the last sound record of that segment lies something that is none */
    uint64_t tail_size;               /* bytes of a torn tail, as far as known */
    uint64_t lost_entries;            /* after the end: sound records that cannot be used */
    uint64_t lost_last_seq;           /* the newest of them; 0: none */
    bool is_loss_unknown;             /* a segment after the end cannot be read at all */
    char detail[256];                 /* what is wrong and where, for people */
};

/* OK whatever it finds (look at `end`); an error only when the disk or the memory fails, or TOO_NEW, with `detail`. */
STATUS_MUST_CHECK enum status walk_run(struct walk *walk);

#define WALK_PIECE_SIZE ((size_t)4096) /* what is given up at a time around bytes that cannot be read: a page */

/* A segment in memory. */
struct walk_image {
    char *data; /* owned, malloc'd */
    uint64_t size;
    uint64_t unreadable_at; /* first byte that could not be read and is a zero here; UINT64_MAX: none */
};
/* Reads a whole file. With `is_read_error_damage` an unreadable piece becomes zeros. */
STATUS_MUST_CHECK enum status walk_image_load(struct disk *disk, const char *path, bool is_read_error_damage,
                                              struct walk_image *ret_image);

#endif
