/* segment.c - the format of a segment, to the byte. All integers little-endian.
 *
 *   file journal/<first seq, 20 digits>.seg, of its full size before it gets that name:
 *
 *        0  header ┐ the same 64 bytes twice, in two blocks, so that one lost
 *     4096  header ┘ block does not make a whole segment unreadable
 *     8192  record, record, record, … then zeros, or what an earlier life left
 *
 *   header   0 magic "SHOALSEG" | 8 version u32 | 12 flags u32 (1: fresh) | 16 first_seq u64 | 24 size u64 |
 *            32 salt u32 | 36 zeros | 60 crc32c u32 over the 60 bytes before
 *
 *   record   0 len u32         of the body
 *            4 crc32c u32      begun with the salt, over len and then over everything after itself, body included
 *            8 seq u64         exactly one more than that of the record before
 *           16 time_ns i64     not less than that of the record before
 *           24 version u16     1
 *           26 flags u16       0
 *           28 unsynced u32    seq - (newest seq known synced when this was encoded)
 *           32 body, then zeros up to a multiple of 8
 *
 * Why a salt: after a power cut recovery searches what lies behind the last good record for records that were written
 * later. Bodies are made of what clients send, so without a secret a client could plant bytes that look like such a
 * record. It also makes records of a segment's earlier life unsound, on top of their sequence numbers being too low. */
#include "journal/segment.h"

#include <assert.h>
#include <stdio.h>

#include "base/ensure.h"
#include "base/hash.h"
#include "base/mutation.h"

#define HEADER_VERSION 1u
#define HEADER_FLAG_FRESH 1u
#define HEADER_CRC_AT 60u
#define SEQ_DIGITS 20u

static_assert(SEGMENT_HEADER_SIZE % SEGMENT_ALIGN == 0, "the first record is aligned");
static_assert(SEGMENT_RECORD_HEAD_SIZE % SEGMENT_ALIGN == 0, "an empty record keeps the next one aligned");
static_assert(LIMIT_SEGMENT_SIZE_MIN >= 2 * SEGMENT_HEADER_SIZE, "the smallest segment has room for records");
static_assert(LIMIT_ENTRY_SIZE < UINT32_MAX - SEGMENT_RECORD_HEAD_SIZE, "a body's length fits its field");

void segment_path(uint64_t first_seq, char ret_path[SEGMENT_PATH_SIZE])
{
    snprintf(ret_path, SEGMENT_PATH_SIZE, "journal/%020llu.seg", (unsigned long long)first_seq);
}

void segment_spare_path(uint64_t id, char ret_path[SEGMENT_PATH_SIZE])
{
    snprintf(ret_path, SEGMENT_PATH_SIZE, "journal/spare-%llu.seg", (unsigned long long)id);
}

/* Reads decimal digits up to `end`; false when there are none, too many, or anything else. */
static bool parse_number(const char *at, const char *end, uint64_t *ret_number)
{
    uint64_t number = 0;
    if (at == end) {
        return false;
    }
    for (; at < end; at++) {
        if (*at < '0' || *at > '9') {
            return false;
        }
        uint64_t digit = (uint64_t)(*at - '0');
        if (number > (UINT64_MAX - digit) / 10) {
            return false;
        }
        number = number * 10 + digit;
    }
    *ret_number = number;
    return true;
}

bool segment_parse_digits(const char *name, const char *suffix, uint64_t *ret_number)
{
    size_t len = strlen(name);
    return len == SEQ_DIGITS + strlen(suffix) && strcmp(name + SEQ_DIGITS, suffix) == 0 &&
           parse_number(name, name + SEQ_DIGITS, ret_number);
}

enum segment_name segment_parse_name(const char *name, uint64_t *ret_number)
{
    static const char spare[] = "spare-";
    static const char suffix[] = ".seg";
    size_t len = strlen(name);
    if (segment_parse_digits(name, suffix, ret_number) && *ret_number != 0) {
        return SEGMENT_NAME_SEGMENT;
    }
    if (len > sizeof(spare) - 1 + sizeof(suffix) - 1 && strncmp(name, spare, sizeof(spare) - 1) == 0 &&
        strcmp(name + len - (sizeof(suffix) - 1), suffix) == 0 &&
        parse_number(name + sizeof(spare) - 1, name + len - (sizeof(suffix) - 1), ret_number)) {
        return SEGMENT_NAME_SPARE;
    }
    if (len > 4 && strcmp(name + len - 4, ".tmp") == 0) {
        return SEGMENT_NAME_TMP;
    }
    return SEGMENT_NAME_OTHER;
}

static void put_u16(char *at, uint16_t value)
{
    at[0] = (char)value;
    at[1] = (char)(value >> 8);
}

static void put_u32(char *at, uint32_t value)
{
    put_u16(at, (uint16_t)value);
    put_u16(at + 2, (uint16_t)(value >> 16));
}

static void put_u64(char *at, uint64_t value)
{
    put_u32(at, (uint32_t)value);
    put_u32(at + 4, (uint32_t)(value >> 32));
}

static uint32_t get_u32(const char *at)
{
    const unsigned char *bytes = (const unsigned char *)at;
    return bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

static uint16_t get_u16(const char *at)
{
    const unsigned char *bytes = (const unsigned char *)at;
    return (uint16_t)(bytes[0] | bytes[1] << 8);
}

static uint64_t get_u64(const char *at)
{
    return get_u32(at) | (uint64_t)get_u32(at + 4) << 32;
}

void segment_header_encode(const struct segment_header *header, struct buf *out)
{
    char block[SEGMENT_HEADER_COPY_AT] = {0};
    memcpy(block, MAGIC_SEGMENT, 8);
    put_u32(block + 8, HEADER_VERSION);
    put_u32(block + 12, header->is_fresh ? HEADER_FLAG_FRESH : 0);
    put_u64(block + 16, header->first_seq);
    put_u64(block + 24, header->size);
    put_u32(block + 32, header->salt);
    put_u32(block + HEADER_CRC_AT, crc32c(0, block, HEADER_CRC_AT));
    static_assert(2 * sizeof(block) == SEGMENT_HEADER_SIZE, "two copies fill the header");
    buf_append(out, block, sizeof(block));
    buf_append(out, block, sizeof(block));
}

/* Whether one copy is sound and says first_seq. */
static bool decode_copy(const char *at, uint64_t first_seq, struct segment_header *ret_header,
                        bool *ret_is_version_unknown)
{
    if (memcmp(at, MAGIC_SEGMENT, 8) != 0 || get_u32(at + HEADER_CRC_AT) != crc32c(0, at, HEADER_CRC_AT) ||
        get_u64(at + 16) != first_seq) {
        return false;
    }
    if (get_u32(at + 8) != HEADER_VERSION) {
        *ret_is_version_unknown = true;
        return false;
    }
    *ret_header = (struct segment_header){
        .first_seq = first_seq,
        .size = get_u64(at + 24),
        .salt = get_u32(at + 32),
        .is_fresh = (get_u32(at + 12) & HEADER_FLAG_FRESH) != 0,
    };
    return true;
}

unsigned segment_header_decode(const char *data, uint64_t first_seq, struct segment_header *ret_header,
                               uint32_t *ret_bad_copy_at, bool *ret_is_version_unknown)
{
    unsigned sound = 0;
    *ret_is_version_unknown = false;
    for (uint32_t at = 0; at < SEGMENT_HEADER_SIZE; at += SEGMENT_HEADER_COPY_AT) {
        if (decode_copy(data + at, first_seq, ret_header, ret_is_version_unknown)) {
            sound++;
        } else {
            *ret_bad_copy_at = at;
        }
    }
    return sound;
}

void segment_record_encode(const struct segment_record *record, uint32_t salt, struct buf *out)
{
    char head[SEGMENT_RECORD_HEAD_SIZE];
    ensure(record->body.len <= LIMIT_ENTRY_SIZE && record->seq != 0);
    put_u32(head, (uint32_t)record->body.len);
    put_u64(head + 8, record->seq);
    put_u64(head + 16, (uint64_t)record->time_ns);
    put_u16(head + 24, record->version);
    put_u16(head + 26, record->flags);
    put_u32(head + 28, record->unsynced);
    uint32_t crc = crc32c(salt, head, 4);
    crc = crc32c(crc, head + 8, sizeof(head) - 8);
    crc = crc32c(crc, record->body.data, record->body.len);
    put_u32(head + 4, crc);
    buf_append(out, head, sizeof(head));
    buf_append_slice(out, record->body);
    buf_append_zeros(out, segment_record_size(record->body.len) - sizeof(head) - record->body.len);
}

bool segment_record_decode(const char *data, uint64_t size, uint64_t offset, uint32_t salt,
                           struct segment_record *ret_record)
{
    if (offset > size || size - offset < SEGMENT_RECORD_HEAD_SIZE) {
        return false;
    }
    const char *head = data + offset;
    uint32_t len = get_u32(head);
    uint64_t seq = get_u64(head + 8);
    if (seq == 0 || len > LIMIT_ENTRY_SIZE || len > size - offset - SEGMENT_RECORD_HEAD_SIZE) {
        return false;
    }
    uint32_t crc = crc32c(salt, head, 4);
    crc = crc32c(crc, head + 8, SEGMENT_RECORD_HEAD_SIZE - 8 + (size_t)len);
    if (crc != get_u32(head + 4) && !MUTATION(skip_crc)) {
        return false;
    }
    *ret_record = (struct segment_record){
        .seq = seq,
        .time_ns = (int64_t)get_u64(head + 16),
        .unsynced = get_u32(head + 28),
        .version = get_u16(head + 24),
        .flags = get_u16(head + 26),
        .body = slice_of(head + SEGMENT_RECORD_HEAD_SIZE, len),
    };
    return true;
}

/* The checksum that a record would have if its number were `seq`. */
static uint32_t record_crc(const char *head, uint64_t seq, uint32_t len, uint32_t salt)
{
    char number[8];
    put_u64(number, seq);
    uint32_t crc = crc32c(salt, head, 4);
    crc = crc32c(crc, number, sizeof(number));
    return crc32c(crc, head + 16, SEGMENT_RECORD_HEAD_SIZE - 16 + (size_t)len);
}

bool segment_head_says(const char *data, uint64_t size, uint64_t offset, uint32_t salt, uint64_t seq,
                       uint64_t *ret_record_size)
{
    if (offset > size || size - offset < SEGMENT_RECORD_HEAD_SIZE) {
        return false;
    }
    uint32_t len = get_u32(data + offset);
    if (get_u64(data + offset + 8) != seq) {
        /* Only the number may be wrong; the checksum knows which it was. */
        if (len > LIMIT_ENTRY_SIZE || len > size - offset - SEGMENT_RECORD_HEAD_SIZE ||
            get_u32(data + offset + 4) != record_crc(data + offset, seq, len, salt)) {
            return false;
        }
    }
    uint64_t record_size = segment_record_size(len);
    *ret_record_size = record_size < size - offset ? record_size : size - offset;
    return true;
}

bool segment_find_record(const char *data, uint64_t size, uint64_t *offset, uint32_t salt, uint64_t least_seq,
                         uint64_t base_offset, uint64_t base_seq, struct segment_record *ret_record)
{
    ensure(*offset >= base_offset && *offset % SEGMENT_ALIGN == 0);
    for (uint64_t at = *offset; at + SEGMENT_RECORD_HEAD_SIZE <= size; at += SEGMENT_ALIGN) {
        /* The sequence number first: it rules out nearly every place without a checksum over what may be megabytes. */
        uint64_t seq = get_u64(data + at + 8);
        uint64_t most_seq = base_seq + (at - base_offset) / SEGMENT_RECORD_HEAD_SIZE;
        if (seq >= least_seq && seq <= most_seq && segment_record_decode(data, size, at, salt, ret_record)) {
            *offset = at;
            return true;
        }
    }
    return false;
}
