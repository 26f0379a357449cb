#include "proto/http1_write.h"

#include <string.h>

#include "base/ensure.h"

static const char day_names[7][4] = {"Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"}; /* 1970-01-01 was a Thursday */
static const char month_names[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                        "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

static void put_digits(char *at, int64_t value, int count)
{
    for (int i = count - 1; i >= 0; i--) {
        at[i] = (char)('0' + value % 10);
        value /= 10;
    }
}

void http1_format_date(int64_t unix_s, char ret[HTTP1_DATE_SIZE])
{
    ensure(unix_s >= 0);
    int64_t days = unix_s / 86400;
    int64_t second = unix_s % 86400;
    /* Days to civil date with the year beginning in March, so that the leap day comes last (H. Hinnant, chrono). */
    int64_t shifted = days + 719468;
    int64_t era = shifted / 146097;
    int64_t day_of_era = shifted % 146097;
    int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t month_from_march = (5 * day_of_year + 2) / 153;
    int64_t day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    int64_t month = month_from_march < 10 ? month_from_march + 3 : month_from_march - 9;
    int64_t year = year_of_era + era * 400 + (month <= 2);

    memcpy(ret, "Thu, 00 Jan 0000 00:00:00 GMT", HTTP1_DATE_SIZE);
    memcpy(ret, day_names[days % 7], 3);
    put_digits(ret + 5, day, 2);
    memcpy(ret + 8, month_names[month - 1], 3);
    put_digits(ret + 12, year, 4);
    put_digits(ret + 17, second / 3600, 2);
    put_digits(ret + 20, second / 60 % 60, 2);
    put_digits(ret + 23, second % 60, 2);
}

/* The codes that Shoal sends (status.def and the successes), with RFC 9110's phrases. */
#define STATUS_LINES                                                                                                   \
    X(100, "Continue")                                                                                                 \
    X(101, "Switching Protocols")                                                                                      \
    X(200, "OK")                                                                                                       \
    X(201, "Created")                                                                                                  \
    X(202, "Accepted")                                                                                                 \
    X(204, "No Content")                                                                                               \
    X(206, "Partial Content")                                                                                          \
    X(301, "Moved Permanently")                                                                                        \
    X(302, "Found")                                                                                                    \
    X(303, "See Other")                                                                                                \
    X(304, "Not Modified")                                                                                             \
    X(307, "Temporary Redirect")                                                                                       \
    X(308, "Permanent Redirect")                                                                                       \
    X(400, "Bad Request")                                                                                              \
    X(401, "Unauthorized")                                                                                             \
    X(403, "Forbidden")                                                                                                \
    X(404, "Not Found")                                                                                                \
    X(405, "Method Not Allowed")                                                                                       \
    X(406, "Not Acceptable")                                                                                           \
    X(408, "Request Timeout")                                                                                          \
    X(409, "Conflict")                                                                                                 \
    X(410, "Gone")                                                                                                     \
    X(411, "Length Required")                                                                                          \
    X(412, "Precondition Failed")                                                                                      \
    X(413, "Content Too Large")                                                                                        \
    X(414, "URI Too Long")                                                                                             \
    X(415, "Unsupported Media Type")                                                                                   \
    X(416, "Range Not Satisfiable")                                                                                    \
    X(417, "Expectation Failed")                                                                                       \
    X(422, "Unprocessable Content")                                                                                    \
    X(426, "Upgrade Required")                                                                                         \
    X(428, "Precondition Required")                                                                                    \
    X(429, "Too Many Requests")                                                                                        \
    X(431, "Request Header Fields Too Large")                                                                          \
    X(499, "Client Closed Request")                                                                                    \
    X(500, "Internal Server Error")                                                                                    \
    X(501, "Not Implemented")                                                                                          \
    X(502, "Bad Gateway")                                                                                              \
    X(503, "Service Unavailable")                                                                                      \
    X(504, "Gateway Timeout")                                                                                          \
    X(505, "HTTP Version Not Supported")                                                                               \
    X(507, "Insufficient Storage")

bool http1_status_line(int status, struct slice *ret_line)
{
    switch (status) {
#define X(code, phrase)                                                                                                \
    case code:                                                                                                         \
        *ret_line = SLICE("HTTP/1.1 " #code " " phrase "\r\n");                                                        \
        return true;
        STATUS_LINES
#undef X
    default:
        return false;
    }
}

static char *put(char *at, struct slice text)
{
    if (text.len > 0) {
        memcpy(at, text.data, text.len);
    }
    return at + text.len;
}

static char *put_u64(char *at, uint64_t value)
{
    char digits[20];
    size_t i = sizeof(digits);
    do {
        digits[--i] = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    memcpy(at, digits + i, sizeof(digits) - i);
    return at + (sizeof(digits) - i);
}

/* Room is reserved once for the whole head: it is written for every answer, and each checked append would cost as much
 * as its copy. */
void http1_write_head(struct buf *out, const struct http1_answer_head *head)
{
    struct slice line;
    char own_line[32];
    if (!http1_status_line(head->status, &line)) {
        ensure(head->status >= 100 && head->status <= 999);
        memcpy(own_line, "HTTP/1.1 000 Status\r\n", 21);
        put_digits(own_line + 9, head->status, 3);
        line = slice_of(own_line, 21);
    }
    struct slice type = slice_str(head->content_type);
    size_t size_max = line.len + 6 + HTTP1_DATE_SIZE + 2 + 16 + type.len + 28 + 20 + 28 + head->headers.len;
    if (buf_reserve(out, size_max) != STATUS_OK) {
        return;
    }
    char *begin = out->data + out->len;
    char *at = put(begin, line);
    if (head->date != NULL) {
        at = put(at, SLICE("Date: "));
        at = put(at, slice_of(head->date, HTTP1_DATE_SIZE - 1));
        at = put(at, SLICE("\r\n"));
    }
    if (type.data != NULL) {
        at = put(at, SLICE("Content-Type: "));
        at = put(at, type);
        at = put(at, SLICE("\r\n"));
    }
    if (head->length == HTTP1_LENGTH_CHUNKED) {
        at = put(at, SLICE("Transfer-Encoding: chunked\r\n"));
    } else if (head->length != HTTP1_LENGTH_NONE) {
        at = put(at, SLICE("Content-Length: "));
        at = put_u64(at, head->length);
        at = put(at, SLICE("\r\n"));
    }
    if (head->connection == HTTP1_CONNECTION_CLOSE) {
        at = put(at, SLICE("Connection: close\r\n"));
    } else if (head->connection == HTTP1_CONNECTION_KEEP_ALIVE) {
        at = put(at, SLICE("Connection: keep-alive\r\n"));
    }
    at = put(at, head->headers);
    at = put(at, SLICE("\r\n"));
    out->len += (size_t)(at - begin);
    ensure(out->len <= out->cap);
}

void http1_write_chunk_size(struct buf *out, uint64_t size)
{
    char digits[18];
    size_t i = sizeof(digits);
    digits[--i] = '\n';
    digits[--i] = '\r';
    do {
        digits[--i] = "0123456789abcdef"[size & 15];
        size >>= 4;
    } while (size != 0);
    buf_append(out, digits + i, sizeof(digits) - i);
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The byte at text[*at], decoded; *at moves behind it. */
static char next_decoded(struct slice text, bool plus_is_space, size_t *at)
{
    char c = text.data[(*at)++];
    if (c == '%' && text.len - *at >= 2) {
        int high = hex_value(text.data[*at]);
        int low = hex_value(text.data[*at + 1]);
        if (high >= 0 && low >= 0) {
            *at += 2;
            return (char)(high << 4 | low);
        }
    }
    return c == '+' && plus_is_space ? ' ' : c;
}

void http1_percent_decode(struct slice text, bool plus_is_space, struct buf *out)
{
    size_t at = 0;
    while (at < text.len) {
        buf_append_char(out, next_decoded(text, plus_is_space, &at));
    }
}

static bool is_name(struct slice raw, const char *name)
{
    size_t at = 0;
    while (at < raw.len && *name != '\0') {
        if (next_decoded(raw, true, &at) != *name++) {
            return false;
        }
    }
    return at == raw.len && *name == '\0';
}

bool http1_query_find(struct slice query, const char *name, struct slice *ret_raw)
{
    size_t at = 0;
    while (at < query.len) {
        const char *begin = query.data + at;
        const char *end = memchr(begin, '&', query.len - at);
        size_t pair_len = end != NULL ? (size_t)(end - begin) : query.len - at;
        const char *equals = memchr(begin, '=', pair_len);
        size_t name_len = equals != NULL ? (size_t)(equals - begin) : pair_len;
        if (is_name(slice_of(begin, name_len), name)) {
            size_t value_at = equals != NULL ? name_len + 1 : pair_len;
            *ret_raw = slice_of(begin + value_at, pair_len - value_at);
            return true;
        }
        at += pair_len + 1;
    }
    return false;
}
