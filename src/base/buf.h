/* buf.h - a growable run of bytes that is created with its maximum.
 *
 * Growing past the maximum or past the memory there is fails with a status and leaves the content as it was. To keep
 * long sequences of appends readable a failure also sticks: `failed` stays set, later appends do nothing, and the
 * caller looks once at the end with buf_status(). One thread at a time. */
#ifndef SHOAL_BASE_BUF_H
#define SHOAL_BASE_BUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"
#include "base/status.h"

struct buf {
    char *data;  /* owned; NULL until the first byte */
    size_t len;  /* bytes in use */
    size_t cap;  /* bytes allocated */
    size_t max;  /* len never exceeds it */
    bool failed; /* an append did not fit; sticks until buf_reset */
};

/* An empty buffer of at most `max` bytes; allocates nothing. */
void buf_init(struct buf *buf, size_t max);
/* Frees the memory; the buffer is empty and usable afterwards, with the same maximum. */
void buf_free(struct buf *buf);
/* Empties it and clears `failed`, keeping the memory. */
void buf_reset(struct buf *buf);
/* Makes room for `more` further bytes: TOO_LARGE past the maximum, NO_MEMORY without memory. Either sticks. */
enum status buf_reserve(struct buf *buf, size_t more);
/* Removes the first `count` bytes (count <= len). */
void buf_consume(struct buf *buf, size_t count);
/* OK, or TOO_LARGE when an append did not fit since the last reset. */
STATUS_MUST_CHECK enum status buf_status(const struct buf *buf);

/* Appends; on failure sets `failed` and leaves the content alone. */
void buf_append(struct buf *buf, const void *data, size_t len);
void buf_append_slice(struct buf *buf, struct slice slice);
void buf_append_str(struct buf *buf, const char *string);
void buf_append_char(struct buf *buf, char c);
void buf_append_zeros(struct buf *buf, size_t count);
void buf_printf(struct buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));
void buf_vprintf(struct buf *buf, const char *format, va_list args);
void buf_append_u64_dec(struct buf *buf, uint64_t value);
void buf_append_i64_dec(struct buf *buf, int64_t value);
/* Little-endian integers of a fixed size. */
static inline void buf_append_u8(struct buf *buf, uint8_t value);
static inline void buf_append_u16(struct buf *buf, uint16_t value);
static inline void buf_append_u32(struct buf *buf, uint32_t value);
static inline void buf_append_u64(struct buf *buf, uint64_t value);
/* u32 length, then the bytes. */
void buf_append_lv(struct buf *buf, struct slice slice);
/* A part with its type and length in front: u8 type | u32 length | what is appended between begin and end. `end` takes what
 * begin gave and patches the length in; a part that did not fit leaves nothing behind but `failed`. */
size_t buf_begin_part(struct buf *buf, uint8_t type);
void buf_end_part(struct buf *buf, size_t start);
/* Overwrites four bytes at an offset (offset + 4 <= len), e.g. a length written before it was known. */
void buf_put_u32(struct buf *buf, size_t offset, uint32_t value);

/* Ensures a NUL after the content (not counted in len) and returns it; "" when that fails. */
const char *buf_cstr(struct buf *buf);

static inline struct slice buf_slice(const struct buf *buf)
{
    return (struct slice){buf->data, buf->len};
}

/* reader - takes fixed-size little-endian fields off the front of a slice. A read past the end gives zeros and sets
 * `failed`, which sticks; look at it once at the end. Never asserts: the bytes may come from anywhere. */
struct reader {
    const char *at;
    const char *end;
    bool failed;
};

struct reader reader_of(struct slice slice);
static inline uint8_t reader_u8(struct reader *reader);
static inline uint16_t reader_u16(struct reader *reader);
static inline uint32_t reader_u32(struct reader *reader);
static inline uint64_t reader_u64(struct reader *reader);
/* `len` bytes, a view into the input. */
static inline struct slice reader_bytes(struct reader *reader, size_t len);
/* u32 length, then the bytes. */
static inline struct slice reader_lv(struct reader *reader);
static inline size_t reader_left(const struct reader *reader)
{
    return (size_t)(reader->end - reader->at);
}
/* Whether everything was read, and nothing was missing. */
static inline bool reader_is_done(const struct reader *reader)
{
    return !reader->failed && reader->at == reader->end;
}

/* --- inside: fixed-size fields, here because the core and the codecs live on them --- */

static inline void le_put(char *at, uint64_t value, size_t count)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    memcpy(at, &value, count); /* one store, as count is a constant */
#else
    for (size_t i = 0; i < count; i++) {
        at[i] = (char)(value >> (8 * i));
    }
#endif
}

static inline uint64_t le_get(const char *at, size_t count)
{
    uint64_t value = 0;
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    memcpy(&value, at, count);
#else
    for (size_t i = 0; i < count; i++) {
        value |= (uint64_t)(unsigned char)at[i] << (8 * i);
    }
#endif
    return value;
}

/* Whether `more` bytes fit into what is allocated; the usual case, for which buf_reserve would be a call too many. */
static inline bool buf_has_room(const struct buf *buf, size_t more)
{
    return more <= buf->cap - buf->len && more <= buf->max - buf->len && !buf->failed;
}

static inline void buf_append_le(struct buf *buf, uint64_t value, size_t count)
{
    if (!buf_has_room(buf, count) && buf_reserve(buf, count) != STATUS_OK) {
        return;
    }
    le_put(buf->data + buf->len, value, count);
    buf->len += count;
}

static inline void buf_append_u8(struct buf *buf, uint8_t value)
{
    buf_append_le(buf, value, 1);
}

static inline void buf_append_u16(struct buf *buf, uint16_t value)
{
    buf_append_le(buf, value, 2);
}

static inline void buf_append_u32(struct buf *buf, uint32_t value)
{
    buf_append_le(buf, value, 4);
}

static inline void buf_append_u64(struct buf *buf, uint64_t value)
{
    buf_append_le(buf, value, 8);
}

static inline uint64_t reader_le(struct reader *reader, size_t count)
{
    if (reader->failed || reader_left(reader) < count) {
        reader->failed = true;
        return 0;
    }
    uint64_t value = le_get(reader->at, count);
    reader->at += count;
    return value;
}

static inline uint8_t reader_u8(struct reader *reader)
{
    return (uint8_t)reader_le(reader, 1);
}

static inline uint16_t reader_u16(struct reader *reader)
{
    return (uint16_t)reader_le(reader, 2);
}

static inline uint32_t reader_u32(struct reader *reader)
{
    return (uint32_t)reader_le(reader, 4);
}

static inline uint64_t reader_u64(struct reader *reader)
{
    return reader_le(reader, 8);
}

static inline struct slice reader_bytes(struct reader *reader, size_t len)
{
    if (reader->failed || reader_left(reader) < len) {
        reader->failed = true;
        return (struct slice){NULL, 0};
    }
    struct slice slice = {reader->at, len};
    reader->at += len;
    return slice;
}

static inline struct slice reader_lv(struct reader *reader)
{
    uint32_t len = reader_u32(reader);
    return reader_bytes(reader, len);
}

#endif
