/* segment.h - the bytes of a segment: its names, its header, its records. Pure; segment.c draws the format.
 *
 * Private to src/journal. Nothing here trusts what it reads: a decode is false, never an assertion. */
#ifndef SHOAL_JOURNAL_SEGMENT_H
#define SHOAL_JOURNAL_SEGMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/limits.h"
#include "base/slice.h"

#define SEGMENT_HEADER_SIZE 8192u /* two blocks of 4 KiB, a copy of the header at the start of each */
#define SEGMENT_HEADER_COPY_AT 4096u
#define SEGMENT_HEADER_BYTES 64u /* of a block that mean something */
#define SEGMENT_RECORD_HEAD_SIZE 32u
#define SEGMENT_ALIGN 8u          /* records begin at multiples of it */
#define SEGMENT_RECORD_VERSION 2u /* 1: entries without a feature level, before which builds did not look for one */
#define SEGMENT_UNSYNCED_UNKNOWN UINT32_MAX
#define SEGMENT_PATH_SIZE 64u

struct segment_header {
    uint64_t first_seq;
    uint64_t size; /* of the file, bytes */
    uint32_t salt; /* first value of every record's checksum */
    bool is_fresh; /* all zeros before use; else it was recycled and holds old records */
};

struct segment_record {
    uint64_t seq;
    int64_t time_ns;
    uint32_t unsynced; /* seq less the newest sequence number known to be synced when this was encoded */
    uint16_t version;
    uint16_t flags;
    struct slice body;
};

/* What a file in journal/ is, by its name. */
enum segment_name { SEGMENT_NAME_OTHER, SEGMENT_NAME_SEGMENT, SEGMENT_NAME_SPARE, SEGMENT_NAME_TMP };

/* "journal/00000000000000000001.seg" and "journal/spare-1.seg". */
void segment_path(uint64_t first_seq, char ret_path[SEGMENT_PATH_SIZE]);
void segment_spare_path(uint64_t id, char ret_path[SEGMENT_PATH_SIZE]);
/* `name` without the folder; ret_number is the first seq or the spare's id. */
enum segment_name segment_parse_name(const char *name, uint64_t *ret_number);
/* Exactly 20 decimal digits and then `suffix`; false for anything else. Also used for snapshots. */
bool segment_parse_digits(const char *name, const char *suffix, uint64_t *ret_number);

/* Appends the SEGMENT_HEADER_SIZE bytes of a header. */
void segment_header_encode(const struct segment_header *header, struct buf *out);
/* How many of the two copies are sound and say `first_seq` (0: no header), and which one is not. `data` holds the first
 * SEGMENT_HEADER_SIZE bytes. A sound header of a later format version gives UINT32_MAX in ret_version_unknown. */
unsigned segment_header_decode(const char *data, uint64_t first_seq, struct segment_header *ret_header,
                               uint32_t *ret_bad_copy_at, bool *ret_is_version_unknown);

/* Bytes that a record with a body of so many bytes takes. */
static inline uint64_t segment_record_size(uint64_t body_len)
{
    return (SEGMENT_RECORD_HEAD_SIZE + body_len + SEGMENT_ALIGN - 1) & ~(uint64_t)(SEGMENT_ALIGN - 1);
}
/* Size of a segment that holds one record with such a body and nothing else. */
static inline uint64_t segment_size_for(uint64_t body_len)
{
    return SEGMENT_HEADER_SIZE + segment_record_size(body_len);
}

/* Appends a record, padded. Room must have been reserved. */
void segment_record_encode(const struct segment_record *record, uint32_t salt, struct buf *out);
/* Whether a sound record of any version lies at `offset` of a segment held in memory. */
bool segment_record_decode(const char *data, uint64_t size, uint64_t offset, uint32_t salt,
                           struct segment_record *ret_record);
/* Whether record `seq` was begun at `offset`, sound or not: its head names seq, or all of it but the number is sound. What
 * is left of another life of the segment is not taken for it. */
bool segment_head_says(const char *data, uint64_t size, uint64_t offset, uint32_t salt, uint64_t seq,
                       uint64_t *ret_record_size);
/* The newest sequence number that this record proves to have been synced. */
static inline uint64_t segment_record_synced(const struct segment_record *record)
{
    return record->unsynced == SEGMENT_UNSYNCED_UNKNOWN || record->unsynced > record->seq
               ? 0
               : record->seq - record->unsynced;
}
/* The first sound record at or after *offset whose seq lies in [least_seq, base_seq + (its offset - base_offset) / head
 * size], the range that records written after (base_offset, base_seq) can have. False when there is none; else
 * *offset is where it is. */
bool segment_find_record(const char *data, uint64_t size, uint64_t *offset, uint32_t salt, uint64_t least_seq,
                         uint64_t base_offset, uint64_t base_seq, struct segment_record *ret_record);

#endif
