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

static const struct {
    char letter;
    bool is_color;
    const char *sequence;
} marks[] = {
    {'r', true, "\033[31m"}, {'g', true, "\033[32m"}, {'y', true, "\033[33m"}, {'b', true, "\033[34m"},
    {'c', true, "\033[36m"}, {'d', true, "\033[2m"},  {'0', true, "\033[0m"},  {'l', false, "\r\033[K"},
};

static void append_mark(struct buf *out, char letter, bool has_color)
{
    for (size_t i = 0; i < sizeof(marks) / sizeof(marks[0]); i++) {
        if (marks[i].letter == letter && (has_color || !marks[i].is_color)) {
            buf_append_str(out, marks[i].sequence);
        }
    }
}

/* Takes the text up to the next mark off `rest`, and the mark; its letter is 0 when there is none. */
static struct slice next_part(struct slice *rest, char *ret_letter)
{
    const char *mark = memchr(rest->data, PAINT_MARK[0], rest->len);
    size_t len = mark != NULL ? (size_t)(mark - rest->data) : rest->len;
    struct slice part = slice_of(rest->data, len);
    *ret_letter = mark != NULL && len + 1 < rest->len ? mark[1] : 0;
    size_t taken = mark == NULL ? len : len + 2 < rest->len ? len + 2 : rest->len;
    *rest = slice_of(rest->data + taken, rest->len - taken);
    return part;
}

void paint_append(struct buf *out, struct slice text, bool has_color)
{
    while (text.len > 0) {
        char letter;
        struct slice part = next_part(&text, &letter);
        printable_append(out, part, PRINTABLE_LINES);
        append_mark(out, letter, has_color);
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
        char letter;
        struct slice part = next_part(&left, &letter);
        printable_append(out, part, PRINTABLE_LINE);
        if (letter != 0) {
            buf_append_str(out, PAINT_MARK);
            buf_append_char(out, letter);
        }
    }
    buf_append_char(out, '\n');
    buf_free(&line);
}
