#include "base/buf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"

#define BUF_CAP_MIN 64u /* the first allocation; most answers are a few hundred bytes */

void buf_init(struct buf *buf, size_t max)
{
    *buf = (struct buf){.max = max};
}

void buf_free(struct buf *buf)
{
    free(buf->data);
    *buf = (struct buf){.max = buf->max};
}

void buf_reset(struct buf *buf)
{
    buf->len = 0;
    buf->failed = false;
}

enum status buf_reserve(struct buf *buf, size_t more)
{
    if (buf->failed) {
        return STATUS_TOO_LARGE;
    }
    if (more > buf->max - buf->len) {
        buf->failed = true;
        return STATUS_TOO_LARGE;
    }
    size_t need = buf->len + more;
    if (need <= buf->cap) {
        return STATUS_OK;
    }
    size_t cap = buf->cap < BUF_CAP_MIN ? BUF_CAP_MIN : buf->cap;
    while (cap < need) {
        cap += cap / 2;
    }
    char *data = realloc(buf->data, cap);
    if (data == NULL) {
        buf->failed = true;
        return STATUS_NO_MEMORY;
    }
    buf->data = data;
    buf->cap = cap;
    return STATUS_OK;
}

void buf_consume(struct buf *buf, size_t count)
{
    ensure(count <= buf->len);
    if (count == 0) {
        return;
    }
    buf->len -= count;
    memmove(buf->data, buf->data + count, buf->len);
}

enum status buf_status(const struct buf *buf)
{
    return buf->failed ? STATUS_TOO_LARGE : STATUS_OK;
}

void buf_append(struct buf *buf, const void *data, size_t len)
{
    if (len == 0 || (!buf_has_room(buf, len) && buf_reserve(buf, len) != STATUS_OK)) {
        return;
    }
    memcpy(buf->data + buf->len, data, len);
    buf->len += len;
}

void buf_append_slice(struct buf *buf, struct slice slice)
{
    buf_append(buf, slice.data, slice.len);
}

void buf_append_str(struct buf *buf, const char *string)
{
    buf_append(buf, string, strlen(string));
}

void buf_append_char(struct buf *buf, char c)
{
    if (!buf_has_room(buf, 1) && buf_reserve(buf, 1) != STATUS_OK) {
        return;
    }
    buf->data[buf->len++] = c;
}

void buf_append_zeros(struct buf *buf, size_t count)
{
    if (count == 0 || buf_reserve(buf, count) != STATUS_OK) {
        return;
    }
    memset(buf->data + buf->len, 0, count);
    buf->len += count;
}

void buf_vprintf(struct buf *buf, const char *format, va_list args)
{
    va_list again;
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, format, again);
    va_end(again);
    ensure(len >= 0);
    if (buf->failed || (size_t)len > buf->max - buf->len) {
        buf->failed = true;
        return;
    }
    /* One more than the maximum may be allocated, for the NUL that vsnprintf writes. */
    size_t need = buf->len + (size_t)len + 1;
    if (need > buf->cap) {
        size_t cap = need + need / 2;
        char *data = realloc(buf->data, cap);
        if (data == NULL) {
            buf->failed = true;
            return;
        }
        buf->data = data;
        buf->cap = cap;
    }
    vsnprintf(buf->data + buf->len, (size_t)len + 1, format, args);
    buf->len += (size_t)len;
}

void buf_printf(struct buf *buf, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    buf_vprintf(buf, format, args);
    va_end(args);
}

void buf_append_u64_dec(struct buf *buf, uint64_t value)
{
    char digits[20];
    size_t at = sizeof(digits);
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    buf_append(buf, digits + at, sizeof(digits) - at);
}

void buf_append_i64_dec(struct buf *buf, int64_t value)
{
    if (value < 0) {
        buf_append_char(buf, '-');
        buf_append_u64_dec(buf, (uint64_t)0 - (uint64_t)value);
        return;
    }
    buf_append_u64_dec(buf, (uint64_t)value);
}

void buf_append_lv(struct buf *buf, struct slice slice)
{
    if (slice.len > UINT32_MAX || (!buf_has_room(buf, 4 + slice.len) && buf_reserve(buf, 4 + slice.len) != STATUS_OK)) {
        buf->failed = true;
        return;
    }
    le_put(buf->data + buf->len, slice.len, 4);
    if (slice.len > 0) {
        memcpy(buf->data + buf->len + 4, slice.data, slice.len);
    }
    buf->len += 4 + slice.len;
}

size_t buf_begin_part(struct buf *buf, uint8_t type)
{
    size_t start = buf->len;
    buf_append_u8(buf, type);
    buf_append_u32(buf, 0);
    return start;
}

void buf_end_part(struct buf *buf, size_t start)
{
    if (buf->failed) {
        buf->len = start;
        return;
    }
    buf_put_u32(buf, start + 1, (uint32_t)(buf->len - start - 5));
}

void buf_put_u32(struct buf *buf, size_t offset, uint32_t value)
{
    ensure(offset + 4 <= buf->len);
    le_put(buf->data + offset, value, 4);
}

const char *buf_cstr(struct buf *buf)
{
    if (buf->len == buf->cap) {
        char *data = realloc(buf->data, buf->cap + 1);
        if (data == NULL) {
            return "";
        }
        buf->data = data;
        buf->cap++;
    }
    buf->data[buf->len] = '\0';
    return buf->data;
}

struct reader reader_of(struct slice slice)
{
    return (struct reader){slice.data, slice.data != NULL ? slice.data + slice.len : NULL, false};
}
