/* json_scan.c - a recursive grammar flattened to a loop: `closers` is the stack of brackets that are open, `expect` what
 * may come next. Nothing here is quick and nothing needs to be: only refused text comes by. */
#include "base/json_scan.h"

#include <stdint.h>
#include <string.h>

#include "base/limits.h"

#define TEXT_OF(number) #number
#define TEXT(number) TEXT_OF(number)

enum expect {
    EXPECT_VALUE,
    EXPECT_VALUE_OR_CLOSE, /* right after [ */
    EXPECT_NAME,
    EXPECT_NAME_OR_CLOSE, /* right after { */
    EXPECT_COMMA_OR_CLOSE,
};

struct scan {
    const unsigned char *data;
    size_t at;
    size_t len;
    const char *reason; /* NULL: all is well so far */
};

/* The byte here, or -1 at the end. */
static int peek(const struct scan *scan)
{
    return scan->at < scan->len ? scan->data[scan->at] : -1;
}

static bool refuse(struct scan *scan, const char *reason)
{
    scan->reason = scan->at < scan->len ? reason : "The text ends too early.";
    return false;
}

static bool refuse_at(struct scan *scan, size_t at, const char *reason)
{
    scan->at = at;
    return refuse(scan, reason);
}

static void skip_white(struct scan *scan)
{
    while (peek(scan) == ' ' || peek(scan) == '\t' || peek(scan) == '\n' || peek(scan) == '\r') {
        scan->at++;
    }
}

static bool scan_word(struct scan *scan, const char *word)
{
    for (; *word != '\0'; word++, scan->at++) {
        if (peek(scan) != (unsigned char)*word) {
            return refuse(scan, "Only true, false, null, numbers and texts in double quotes are values.");
        }
    }
    return true;
}

static bool is_digit(int c)
{
    return c >= '0' && c <= '9';
}

static bool scan_digits(struct scan *scan)
{
    if (!is_digit(peek(scan))) {
        return refuse(scan, "A digit is expected here.");
    }
    while (is_digit(peek(scan))) {
        scan->at++;
    }
    return true;
}

static bool scan_number(struct scan *scan)
{
    scan->at += peek(scan) == '-';
    size_t first = scan->at;
    if (!scan_digits(scan)) {
        return false;
    }
    if (scan->at - first > 1 && scan->data[first] == '0') {
        return refuse_at(scan, first + 1, "A number does not begin with a needless zero.");
    }
    if (peek(scan) == '.') {
        scan->at++;
        if (!scan_digits(scan)) {
            return false;
        }
    }
    if (peek(scan) == 'e' || peek(scan) == 'E') {
        scan->at++;
        scan->at += peek(scan) == '-' || peek(scan) == '+';
        return scan_digits(scan);
    }
    return true;
}

/* One character of UTF-8 past ASCII: the second byte's range depends on the first (Unicode, table 3-7). */
static bool scan_utf8(struct scan *scan)
{
    static const char reason[] = "This is not valid UTF-8.";
    int lead = peek(scan);
    int least = 0x80, most = 0xBF, more;
    if (lead >= 0xC2 && lead <= 0xDF) {
        more = 1;
    } else if (lead >= 0xE0 && lead <= 0xEF) {
        more = 2;
        least = lead == 0xE0 ? 0xA0 : least;
        most = lead == 0xED ? 0x9F : most;
    } else if (lead >= 0xF0 && lead <= 0xF4) {
        more = 3;
        least = lead == 0xF0 ? 0x90 : least;
        most = lead == 0xF4 ? 0x8F : most;
    } else {
        return refuse(scan, reason);
    }
    scan->at++;
    for (; more > 0; more--, scan->at++) {
        if (peek(scan) < least || peek(scan) > most) {
            return refuse(scan, reason);
        }
        least = 0x80;
        most = 0xBF;
    }
    return true;
}

/* The four digits behind \u; -1 when they are not. */
static int32_t scan_hex4(struct scan *scan)
{
    int32_t value = 0;
    for (int i = 0; i < 4; i++, scan->at++) {
        int c = peek(scan);
        int digit = is_digit(c) ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
        if (c < 0 || digit < 0) {
            return -1;
        }
        value = value * 16 + digit;
    }
    return value;
}

static bool scan_escape(struct scan *scan)
{
    size_t start = scan->at++;
    int c = peek(scan);
    if (c < 0) {
        return refuse(scan, "");
    }
    scan->at++;
    if (c != 'u') {
        return strchr("\"\\/bfnrt", c) != NULL && c != '\0' ? true : refuse_at(scan, start, "There is no such escape.");
    }
    int32_t unit = scan_hex4(scan);
    bool is_bad = unit < 0 || (unit >= 0xDC00 && unit <= 0xDFFF);
    if (!is_bad && unit >= 0xD800 && unit <= 0xDBFF) {
        int32_t low = -1;
        if (peek(scan) == '\\') {
            scan->at++;
            if (peek(scan) == 'u') {
                scan->at++;
                low = scan_hex4(scan);
            }
        }
        is_bad = low < 0xDC00 || low > 0xDFFF;
    }
    if (!is_bad) {
        return true;
    }
    if (scan->at >= scan->len) {
        return refuse(scan, "");
    }
    return refuse_at(scan, start,
                     unit < 0 ? "Four hexadecimal digits belong behind \\u."
                              : "Half of a surrogate pair stands alone.");
}

static bool scan_string(struct scan *scan)
{
    for (scan->at++; peek(scan) != '"';) {
        int c = peek(scan);
        if (c < 0x20) {
            return refuse(scan, "A control character in a text must be escaped.");
        }
        if (c == '\\' ? !scan_escape(scan) : c >= 0x80 && !scan_utf8(scan)) {
            return false;
        }
        scan->at += c != '\\' && c < 0x80;
    }
    scan->at++;
    return true;
}

static bool scan_scalar(struct scan *scan)
{
    int c = peek(scan);
    if (c == '"') {
        return scan_string(scan);
    }
    if (c == '-' || is_digit(c)) {
        return scan_number(scan);
    }
    if (c == 't' || c == 'f' || c == 'n') {
        return scan_word(scan, c == 't' ? "true" : c == 'f' ? "false" : "null");
    }
    return refuse(scan, "A value is expected here.");
}

static bool scan_name(struct scan *scan)
{
    if (peek(scan) != '"') {
        return refuse(scan, "A name in double quotes is expected here.");
    }
    if (!scan_string(scan)) {
        return false;
    }
    skip_white(scan);
    if (peek(scan) != ':') {
        return refuse(scan, "A colon is expected here.");
    }
    scan->at++;
    return true;
}

static bool scan_document(struct scan *scan)
{
    char closers[LIMIT_JSON_DEPTH] = {0};
    size_t depth = 0;
    enum expect expect = EXPECT_VALUE;
    do {
        skip_white(scan);
        int c = peek(scan);
        bool may_close = expect != EXPECT_VALUE && expect != EXPECT_NAME;
        if (may_close && c == closers[depth - 1]) {
            scan->at++;
            depth--;
            expect = EXPECT_COMMA_OR_CLOSE;
        } else if (expect == EXPECT_COMMA_OR_CLOSE) {
            if (c != ',') {
                return refuse(scan, closers[depth - 1] == ']' ? "A comma or ] is expected here."
                                                              : "A comma or } is expected here.");
            }
            scan->at++;
            expect = closers[depth - 1] == ']' ? EXPECT_VALUE : EXPECT_NAME;
        } else if (expect == EXPECT_NAME || expect == EXPECT_NAME_OR_CLOSE) {
            if (!scan_name(scan)) {
                return false;
            }
            expect = EXPECT_VALUE;
        } else if (c == '[' || c == '{') {
            if (depth == LIMIT_JSON_DEPTH) {
                return refuse(scan, "This is nested deeper than " TEXT(LIMIT_JSON_DEPTH) " levels.");
            }
            scan->at++;
            closers[depth++] = c == '[' ? ']' : '}';
            expect = c == '[' ? EXPECT_VALUE_OR_CLOSE : EXPECT_NAME_OR_CLOSE;
        } else {
            if (!scan_scalar(scan)) {
                return false;
            }
            expect = EXPECT_COMMA_OR_CLOSE;
        }
    } while (depth > 0);
    skip_white(scan);
    return scan->at == scan->len || refuse(scan, "Something follows the end of the document.");
}

bool json_scan(struct slice text, size_t *ret_offset, const char **ret_reason)
{
    struct scan scan = {.data = (const unsigned char *)text.data, .len = text.len};
    if (scan_document(&scan)) {
        return true;
    }
    *ret_offset = scan.at;
    *ret_reason = scan.reason;
    return false;
}
