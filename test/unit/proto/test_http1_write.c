#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h> /* wants those above */

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "proto/http1_write.h"

static void dates(void **state)
{
    (void)state;
    char text[HTTP1_DATE_SIZE];
    http1_format_date(784111777, text);
    assert_string_equal(text, "Sun, 06 Nov 1994 08:49:37 GMT"); /* RFC 9110's example */
    http1_format_date(0, text);
    assert_string_equal(text, "Thu, 01 Jan 1970 00:00:00 GMT");
    http1_format_date(951782400, text);
    assert_string_equal(text, "Tue, 29 Feb 2000 00:00:00 GMT");
    /* Against the C library, a step that is no multiple of a day, up to 2100 and past its missing leap day. */
    for (int64_t at = 0; at < INT64_C(4300000000); at += 40009 * 7) {
        char expected[64];
        time_t seconds = (time_t)at;
        struct tm tm;
        gmtime_r(&seconds, &tm);
        strftime(expected, sizeof(expected), "%a, %d %b %Y %H:%M:%S GMT", &tm);
        http1_format_date(at, text);
        assert_string_equal(text, expected);
    }
}

static void heads(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 1000);
    http1_write_head(&out, &(struct http1_answer_head){.status = 404,
                                                       .date = "Sun, 06 Nov 1994 08:49:37 GMT",
                                                       .content_type = "text/plain",
                                                       .length = 12,
                                                       .connection = HTTP1_CONNECTION_CLOSE,
                                                       .headers = SLICE("X-Y: z\r\n")});
    assert_string_equal(buf_cstr(&out), "HTTP/1.1 404 Not Found\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
                                        "Content-Type: text/plain\r\nContent-Length: 12\r\nConnection: close\r\n"
                                        "X-Y: z\r\n\r\n");
    buf_reset(&out);
    http1_write_head(&out, &(struct http1_answer_head){.status = 299, .length = HTTP1_LENGTH_CHUNKED});
    assert_string_equal(buf_cstr(&out), "HTTP/1.1 299 Status\r\nTransfer-Encoding: chunked\r\n\r\n");
    buf_reset(&out);
    http1_write_head(&out, &(struct http1_answer_head){
                               .status = 200, .length = UINT64_MAX - 2, .connection = HTTP1_CONNECTION_KEEP_ALIVE});
    assert_string_equal(buf_cstr(&out),
                        "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551613\r\nConnection: keep-alive\r\n\r\n");
    buf_reset(&out);
    http1_write_head(&out, &(struct http1_answer_head){.status = 204, .length = HTTP1_LENGTH_NONE});
    assert_string_equal(buf_cstr(&out), "HTTP/1.1 204 No Content\r\n\r\n");
    buf_reset(&out);
    http1_write_chunk_size(&out, 0);
    http1_write_chunk_size(&out, 0x1a2b3);
    http1_write_chunk_size(&out, UINT64_MAX);
    assert_string_equal(buf_cstr(&out), "0\r\n1a2b3\r\nffffffffffffffff\r\n");
    buf_free(&out);
    /* A buffer that is too small is left as it was. */
    buf_init(&out, 20);
    http1_write_head(&out, &(struct http1_answer_head){.status = 200});
    assert_true(out.failed);
    assert_int_equal(out.len, 0);
    buf_free(&out);
}

static void percent_decoding(void **state)
{
    (void)state;
    static const struct {
        const char *text, *plain, *plus;
    } table[] = {
        {"", "", ""},
        {"abc", "abc", "abc"},
        {"a%20b+c", "a b+c", "a b c"},
        {"%41%62%7a%7A", "Abzz", "Abzz"},
        {"%", "%", "%"},
        {"%4", "%4", "%4"},
        {"%4g%zz%%41", "%4g%zz%A", "%4g%zz%A"},
        {"%2541", "%41", "%41"},
        {"%c3%a9", "\xc3\xa9", "\xc3\xa9"},
    };
    struct buf out;
    buf_init(&out, 100);
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        buf_reset(&out);
        http1_percent_decode(slice_str(table[i].text), false, &out);
        assert_string_equal(buf_cstr(&out), table[i].plain);
        buf_reset(&out);
        http1_percent_decode(slice_str(table[i].text), true, &out);
        assert_string_equal(buf_cstr(&out), table[i].plus);
    }
    buf_free(&out);
}

static void queries(void **state)
{
    (void)state;
    static const struct {
        const char *query, *name, *value; /* NULL: missing */
    } table[] = {
        {"", "a", NULL},       {"a=1", "a", "1"},   {"a=1&b=2", "b", "2"},  {"a=1&a=2", "a", "1"},
        {"ab=1", "a", NULL},   {"a", "a", ""},      {"a&b=2", "b", "2"},    {"&&a=1&", "a", "1"},
        {"a=1=2", "a", "1=2"}, {"%61=1", "a", "1"}, {"x+y=1", "x y", "1"},  {"a=%26&b=2", "a", "%26"},
        {"=1", "", "1"},       {"a=", "a", ""},     {"aa=1&a=2", "a", "2"},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct slice raw;
        bool found = http1_query_find(slice_str(table[i].query), table[i].name, &raw);
        assert_int_equal(found, table[i].value != NULL);
        if (found) {
            assert_true(slice_equal_str(raw, table[i].value));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dates),
        cmocka_unit_test(heads),
        cmocka_unit_test(percent_decoding),
        cmocka_unit_test(queries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
