/* json_write.c - the writing half of json.h. */
#include <math.h>
#include <string.h>

#include "base/json.h"
#include "base/utf8.h"

#define REPLACEMENT "\xEF\xBF\xBD" /* U+FFFD */

static bool is_plain(unsigned char c)
{
    return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

#define EACH_BYTE(b) (UINT64_C(0x0101010101010101) * (b))

/* Whether eight bytes are all plain: no quote, no backslash, none below 0x20 and none above 0x7F. A false alarm is
 * impossible for the last two tests as they stand, and harmless for the others: the bytes are then looked at singly. */
static bool eight_are_plain(const char *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof(word));
    uint64_t quote = word ^ EACH_BYTE('"');
    uint64_t backslash = word ^ EACH_BYTE('\\');
    uint64_t odd = word | (word - EACH_BYTE(0x20)) | (quote - EACH_BYTE(1)) | (backslash - EACH_BYTE(1));
    return (odd & EACH_BYTE(0x80)) == 0;
}

static void write_escape(struct buf *out, unsigned char c)
{
    static const char hex[] = "0123456789abcdef";
    static const char *const short_form[0x20] = {
        ['\b'] = "\\b", ['\f'] = "\\f", ['\n'] = "\\n", ['\r'] = "\\r", ['\t'] = "\\t"};
    if (c >= 0x20) {
        buf_append(out, (char[]){'\\', (char)c}, 2);
    } else if (short_form[c] != NULL) {
        buf_append(out, short_form[c], 2);
    } else {
        buf_append(out, (char[]){'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]}, 6);
    }
}

/* How many bytes at the front are plain ASCII that needs no escape. */
static size_t plain_len(struct slice text)
{
    size_t at = 0;
    while (text.len - at >= 8 && eight_are_plain(text.data + at)) {
        at += 8;
    }
    while (at < text.len && is_plain((unsigned char)text.data[at])) {
        at++;
    }
    return at;
}

/* From `at` on: the rest of a text that is not plain throughout. */
static void write_mixed(struct buf *out, struct slice text, size_t at)
{
    size_t start = 0; /* what lies between start and at is good as it is, and not written yet */
    while (at < text.len) {
        unsigned char c = (unsigned char)text.data[at];
        size_t good = c >= 0x80 ? utf8_character_len((const unsigned char *)text.data + at, text.len - at) : 0;
        if (good > 0) {
            at += good;
        } else {
            buf_append(out, text.data + start, at - start);
            if (c < 0x80) {
                write_escape(out, c);
            } else {
                buf_append_str(out, REPLACEMENT);
            }
            start = ++at;
        }
        at += plain_len(slice_of(text.data + at, text.len - at));
    }
    buf_append(out, text.data + start, text.len - start);
}

void json_write_str(struct buf *out, struct slice text)
{
    size_t plain = plain_len(text);
    buf_append_char(out, '"');
    if (plain == text.len) {
        buf_append_slice(out, text);
    } else {
        write_mixed(out, text, plain);
    }
    buf_append_char(out, '"');
}

void json_write_double(struct buf *out, double value)
{
    if (!isfinite(value)) {
        buf_append_str(out, "null");
        return;
    }
    char text[JSON_NUMBER_SIZE];
    size_t len = json_format_double(value, text);
    buf_append(out, text, len);
    if (memchr(text, '.', len) == NULL && memchr(text, 'e', len) == NULL) {
        buf_append(out, ".0", 2);
    }
}

static void print_scalar(struct buf *out, struct json_value value, bool is_canonical)
{
    struct slice number_text;
    bool is_big;
    if (json_get_number_text(value, &number_text, &is_big) && (is_big || !is_canonical)) {
        buf_append_slice(out, number_text);
        return;
    }
    int64_t i64;
    uint64_t u64;
    double number;
    bool flag;
    struct slice text;
    switch (json_type_of(value)) {
    case JSON_BOOL:
        buf_append_str(out, json_get_bool(value, &flag) && flag ? "true" : "false");
        break;
    case JSON_INT:
        if (json_get_i64(value, &i64)) {
            buf_append_i64_dec(out, i64);
        }
        break;
    case JSON_UINT:
        if (json_get_u64(value, &u64)) {
            buf_append_u64_dec(out, u64);
        }
        break;
    case JSON_DOUBLE:
        if (json_get_double(value, &number)) {
            json_write_double(out, number);
        }
        break;
    case JSON_STRING:
        if (json_get_str(value, &text)) {
            json_write_str(out, text);
        }
        break;
    default:
        buf_append_str(out, "null");
    }
}

static void print(struct buf *out, struct json_value value, bool is_canonical)
{
    enum json_type type = json_type_of(value);
    if (type != JSON_ARRAY && type != JSON_OBJECT) {
        print_scalar(out, value, is_canonical);
        return;
    }
    struct json_iter iter = json_iter_of(value);
    struct slice key;
    struct json_value element;
    buf_append_char(out, type == JSON_ARRAY ? '[' : '{');
    for (bool is_first = true; json_next(&iter, &key, &element); is_first = false) {
        if (!is_first) {
            buf_append_char(out, ',');
        }
        if (type == JSON_OBJECT) {
            json_write_str(out, key);
            buf_append_char(out, ':');
        }
        print(out, element, is_canonical); /* no deeper than LIMIT_JSON_DEPTH */
    }
    buf_append_char(out, type == JSON_ARRAY ? ']' : '}');
}

void json_print(struct buf *out, struct json_value value)
{
    print(out, value, false);
}

void json_print_canonical(struct buf *out, struct json_value value)
{
    print(out, value, true);
}
