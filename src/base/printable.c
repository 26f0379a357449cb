#include "base/printable.h"

#include "base/utf8.h"

/* The code point of a valid character of `len` bytes. */
static uint32_t code_point(const unsigned char *at, size_t len)
{
    static const unsigned char first_bits[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    uint32_t code = at[0] & first_bits[len];
    for (size_t i = 1; i < len; i++) {
        code = code << 6 | (at[i] & 0x3f);
    }
    return code;
}

/* Controls of ISO 6429; marks, embeddings, overrides and isolates of UAX #9; line and paragraph separators; the byte order
 * mark, which nobody sees. */
static bool is_control(uint32_t code, enum printable form)
{
    if (code == '\n' || code == '\t') {
        return form == PRINTABLE_LINE;
    }
    return code < 0x20 || (code >= 0x7f && code <= 0x9f) || code == 0x61c || code == 0x200e || code == 0x200f ||
           (code >= 0x2028 && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069) || code == 0xfeff;
}

void printable_append(struct buf *out, struct slice text, enum printable form)
{
    const unsigned char *bytes = (const unsigned char *)text.data;
    size_t plain_from = 0, at = 0;
    while (at < text.len) {
        size_t len = utf8_character_len(bytes + at, text.len - at);
        uint32_t code = len > 0 ? code_point(bytes + at, len) : 0;
        if (len > 0 && !is_control(code, form)) {
            at += len;
            continue;
        }
        buf_append(out, text.data + plain_from, at - plain_from);
        if (len == 0) {
            buf_printf(out, "\\x%02x", bytes[at]);
        } else {
            buf_printf(out, "\\u%04x", code);
        }
        at += len > 0 ? len : 1;
        plain_from = at;
    }
    buf_append(out, text.data + plain_from, text.len - plain_from);
}

static const struct mark {
    char letter;
    bool is_color;
    const char *sequence;
} marks[] = {
    {'r', true, "\033[31m"}, {'g', true, "\033[32m"}, {'y', true, "\033[33m"}, {'b', true, "\033[34m"},
    {'c', true, "\033[36m"}, {'d', true, "\033[2m"},  {'0', true, "\033[0m"},  {'l', false, "\r\033[K"},
};

/* What a letter behind PAINT_MARK stands for; NULL: nothing, the byte is no mark. */
static const struct mark *mark_of(char letter)
{
    for (size_t i = 0; i < sizeof(marks) / sizeof(marks[0]); i++) {
        if (marks[i].letter == letter) {
            return &marks[i];
        }
    }
    return NULL;
}

/* Takes the text up to the next mark off `rest`, and the mark; NULL when there is none. */
static struct slice next_part(struct slice *rest, const struct mark **ret_mark)
{
    const char *end = rest->data + rest->len, *at = rest->data;
    *ret_mark = NULL;
    while ((at = memchr(at, PAINT_MARK[0], (size_t)(end - at))) != NULL) {
        if (at + 1 < end && (*ret_mark = mark_of(at[1])) != NULL) {
            break;
        }
        at++;
    }
    at = at != NULL ? at : end;
    struct slice part = slice_of(rest->data, (size_t)(at - rest->data));
    at += *ret_mark != NULL ? 2 : 0;
    *rest = slice_of(at, (size_t)(end - at));
    return part;
}

void paint_append(struct buf *out, struct slice text, bool has_color)
{
    while (text.len > 0) {
        const struct mark *mark;
        struct slice part = next_part(&text, &mark);
        printable_append(out, part, PRINTABLE_LINES);
        if (mark != NULL && (has_color || !mark->is_color)) {
            buf_append_str(out, mark->sequence);
        }
    }
}

void paint_end_line(struct buf *out, size_t begin)
{
    struct buf line;
    buf_init(&line, out->max);
    buf_append(&line, out->data + begin, out->len - begin);
    out->len = begin;
    struct slice left = buf_slice(&line);
    while (left.len > 0) {
        const struct mark *mark;
        struct slice part = next_part(&left, &mark);
        printable_append(out, part, PRINTABLE_LINE);
        if (mark != NULL) {
            buf_append_str(out, PAINT_MARK);
            buf_append_char(out, mark->letter);
        }
    }
    buf_append_char(out, '\n');
    buf_free(&line);
}
