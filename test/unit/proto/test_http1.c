#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h> /* wants those above */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "proto/http1.h"

/* Writes down what the parser says, so that two ways of feeding the same bytes can be compared. */
struct recorder {
    struct http1_parser parser;
    struct http1_head head;
    struct buf log;
    bool pauses; /* after every event */
    bool in_body;
};

static struct http1_head *on_begin(void *ctx)
{
    struct recorder *recorder = ctx;
    http1_head_reset(&recorder->head);
    buf_append_str(&recorder->log, "begin ");
    recorder->in_body = false;
    return &recorder->head;
}

static enum http1_next on_head(void *ctx)
{
    struct recorder *recorder = ctx;
    const struct http1_head *head = &recorder->head;
    struct slice target = http1_target(head);
    buf_printf(&recorder->log, "head(%d %.*s minor=%d length=%lld keeps=%d expects=%d ws=%d", head->method,
               SLICE_ARG(target), head->minor, (long long)head->content_length, head->keeps_alive,
               head->expects_continue, head->wants_websocket);
    for (uint32_t i = 0; i < head->field_count; i++) {
        buf_printf(&recorder->log, " [%.*s=%.*s]", head->fields[i].name_len, head->text.data + head->fields[i].name_at,
                   head->fields[i].value_len, head->text.data + head->fields[i].value_at);
    }
    buf_append_str(&recorder->log, ") ");
    return recorder->pauses ? HTTP1_PAUSE : HTTP1_GO_ON;
}

static enum http1_next on_body(void *ctx, struct slice piece)
{
    struct recorder *recorder = ctx;
    buf_append_str(&recorder->log, recorder->in_body ? "" : "body:");
    recorder->in_body = true;
    buf_append_slice(&recorder->log, piece);
    return recorder->pauses ? HTTP1_PAUSE : HTTP1_GO_ON;
}

static enum http1_next on_complete(void *ctx)
{
    struct recorder *recorder = ctx;
    buf_append_str(&recorder->log, " complete ");
    return recorder->pauses ? HTTP1_PAUSE : HTTP1_GO_ON;
}

static const struct http1_events events = {on_begin, on_head, on_body, on_complete};

static void recorder_init(struct recorder *recorder)
{
    *recorder = (struct recorder){0};
    http1_head_init(&recorder->head);
    buf_init(&recorder->log, 1u << 20);
    http1_parser_init(&recorder->parser, false, &events, recorder);
}

static void recorder_free(struct recorder *recorder)
{
    http1_head_free(&recorder->head);
    buf_free(&recorder->log);
}

/* Feeds in pieces of `step` bytes, each in memory of its own exact size so that a sanitizer sees a read past it. */
static enum status feed(struct recorder *recorder, struct slice text, size_t step)
{
    for (size_t at = 0; at < text.len; at += step) {
        size_t len = text.len - at < step ? text.len - at : step;
        char *piece = malloc(len);
        assert_non_null(piece);
        memcpy(piece, text.data + at, len);
        size_t done = 0;
        enum status status = STATUS_OK;
        bool again = false;
        while (done < len || again) {
            size_t used;
            status = http1_parse(&recorder->parser, slice_of(piece + done, len - done), &used);
            assert_true(used <= len - done);
            done += used;
            again = status == STATUS_AGAIN;
            if (again) {
                http1_parser_resume(&recorder->parser);
                status = STATUS_OK;
            } else if (status != STATUS_OK) {
                break;
            }
        }
        free(piece);
        if (status != STATUS_OK) {
            return status;
        }
    }
    return STATUS_OK;
}

static void one_log_however_it_is_cut(void **state)
{
    (void)state;
    static const char text[] =
        "GET /a?b=c HTTP/1.1\r\nHost: h\r\nEmpty:\r\nSpaced:  \t v w \t \r\n\r\n"
        "POST /p HTTP/1.1\r\nhost: h\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n0123456789"
        "\r\nPUT /c HTTP/1.1\r\nHOST: h\r\nTransfer-Encoding: Chunked\r\n\r\n"
        "5;ext=1\r\nabcde\r\n00A\r\nfghijklmno\r\n0\r\nTrailer: t\r\n\r\n"
        "GET /10 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
        "OPTIONS * HTTP/1.1\r\nHost: h\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n"
        "GET /ws HTTP/1.1\r\nHost: h\r\nUpgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n\r\n";
    static const char expected[] =
        "begin head(0 /a?b=c minor=1 length=0 keeps=1 expects=0 ws=0 [Host=h] [Empty=] [Spaced=v w])  complete "
        "begin head(2 /p minor=1 length=10 keeps=1 expects=1 ws=0 [host=h] [Content-Length=10] [Expect=100-continue]) "
        "body:0123456789 complete "
        "begin head(3 /c minor=1 length=-1 keeps=1 expects=0 ws=0 [HOST=h] [Transfer-Encoding=Chunked]) "
        "body:abcdefghijklmno complete "
        "begin head(0 /10 minor=0 length=0 keeps=1 expects=0 ws=0 [Connection=keep-alive])  complete "
        "begin head(6 * minor=1 length=0 keeps=1 expects=0 ws=0 [Host=h] [Upgrade=h2c] [Connection=Upgrade])  complete "
        "begin head(0 /ws minor=1 length=0 keeps=1 expects=0 ws=1 [Host=h] [Upgrade=WebSocket] "
        "[Connection=keep-alive, Upgrade])  complete ";
    for (int pauses = 0; pauses < 2; pauses++) {
        for (size_t step = 1; step < sizeof(text); step++) {
            struct recorder recorder;
            recorder_init(&recorder);
            recorder.pauses = pauses != 0;
            assert_int_equal(feed(&recorder, SLICE(text), step), STATUS_OK);
            assert_string_equal(buf_cstr(&recorder.log), expected);
            assert_false(http1_parser_is_inside(&recorder.parser));
            recorder_free(&recorder);
        }
    }
}

static void folding_is_found_however_it_is_cut(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "GET / HTTP/1.1\r\nHost: h\r\nX: a\r\n b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nX: a\r\n\tb\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nX:\r\n b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\n Content-Length: 3\r\n\r\n",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        for (size_t step = 1; step <= strlen(texts[i]); step++) {
            struct recorder recorder;
            recorder_init(&recorder);
            assert_int_equal(feed(&recorder, slice_str(texts[i]), step), STATUS_BAD_HTTP);
            assert_non_null(recorder.parser.detail);
            assert_null(strstr(buf_cstr(&recorder.log), "head"));
            recorder_free(&recorder);
        }
    }
}

static void lists(void **state)
{
    (void)state;
    assert_true(http1_list_has(SLICE("keep-alive, Upgrade"), "upgrade"));
    assert_true(http1_list_has(SLICE(" ,,\tupgrade\t,"), "upgrade"));
    assert_false(http1_list_has(SLICE("upgrades, up grade"), "upgrade"));
    assert_false(http1_list_has(SLICE(""), "upgrade"));
}

static void nothing_follows_an_error(void **state)
{
    (void)state;
    struct recorder recorder;
    recorder_init(&recorder);
    assert_int_equal(feed(&recorder, SLICE("GET / HTTP/1.1\r\nHost: h\r\nbad\r\n"), 1000), STATUS_BAD_HTTP);
    size_t len = recorder.log.len;
    assert_int_equal(feed(&recorder, SLICE("\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n"), 1000), STATUS_BAD_HTTP);
    http1_parser_resume(&recorder.parser);
    assert_int_equal(feed(&recorder, SLICE("GET / HTTP/1.1\r\nHost: h\r\n\r\n"), 1000), STATUS_BAD_HTTP);
    assert_int_equal(recorder.log.len, len);
    recorder_free(&recorder);
}

/* Nothing after a message that ends the connection is parsed without a resume. */
static void a_closing_message_pauses(void **state)
{
    (void)state;
    static const char text[] = "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\nGET /next";
    struct recorder recorder;
    recorder_init(&recorder);
    size_t used;
    assert_int_equal(http1_parse(&recorder.parser, SLICE(text), &used), STATUS_AGAIN);
    assert_int_equal(used, sizeof(text) - 1 - 9);
    recorder_free(&recorder);
}

static void responses(void **state)
{
    (void)state;
    static const char text[] =
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n\x81";
    struct recorder recorder;
    recorder_init(&recorder);
    http1_parser_init(&recorder.parser, true, &events, &recorder);
    size_t used;
    assert_int_equal(http1_parse(&recorder.parser, SLICE(text), &used), STATUS_AGAIN);
    assert_int_equal(used, sizeof(text) - 2);
    assert_int_equal(recorder.head.status_code, 101);
    assert_true(slice_equal_str(http1_header(&recorder.head, "upgrade"), "websocket"));
    assert_int_equal(http1_header(&recorder.head, "absent").len, 0);
    recorder_free(&recorder);
}

/* Random changes to good requests, fed whole and in random pieces: both must tell the same story. */
static void mutated_requests(void **state)
{
    (void)state;
    static const char seed_text[] =
        "GET /a?b=c HTTP/1.1\r\nHost: h\r\nX: y\r\n\r\n"
        "POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nabcd"
        "PUT /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    static const char alphabet[] = "\r\n :;,0123456789abcdefGETHTP/1.x\t\0\x7f\xff";
    struct rng rng;
    rng_seed(&rng, 7);
    for (int round = 0; round < 20000; round++) {
        char text[sizeof(seed_text)];
        size_t len = sizeof(seed_text) - 1;
        memcpy(text, seed_text, len);
        uint64_t changes = 1 + rng_below(&rng, 4);
        for (uint64_t i = 0; i < changes; i++) {
            size_t at = (size_t)rng_below(&rng, len);
            if (rng_below(&rng, 3) == 0) {
                size_t count = 1 + (size_t)rng_below(&rng, 4);
                count = count < len - at ? count : len - at;
                memmove(text + at, text + at + count, len - at - count);
                len -= count;
            } else {
                text[at] = alphabet[rng_below(&rng, sizeof(alphabet) - 1)];
            }
        }
        struct recorder whole, cut;
        recorder_init(&whole);
        recorder_init(&cut);
        enum status status = feed(&whole, slice_of(text, len), len);
        enum status cut_status = feed(&cut, slice_of(text, len), 1 + (size_t)rng_below(&rng, 9));
        if (status != cut_status || !slice_equal(buf_slice(&whole.log), buf_slice(&cut.log))) {
            fail_msg("round %d: %s and %s for\n%.*s\n%s\n%s", round, status_slug(status), status_slug(cut_status),
                     (int)len, text, buf_cstr(&whole.log), buf_cstr(&cut.log));
        }
        recorder_free(&whole);
        recorder_free(&cut);
    }
}

static void random_bytes_never_break_it(void **state)
{
    (void)state;
    struct rng rng;
    rng_seed(&rng, 1);
    for (int round = 0; round < 20000; round++) {
        char text[200];
        size_t len = 1 + (size_t)rng_below(&rng, sizeof(text));
        for (size_t i = 0; i < len; i++) {
            text[i] = (char)rng_u64(&rng);
        }
        struct recorder recorder;
        recorder_init(&recorder);
        (void)feed(&recorder, SLICE("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"),
                   round % 2 == 0 ? 1000 : 0 + 7);
        (void)feed(&recorder, slice_of(text, len), 1 + (size_t)rng_below(&rng, len));
        recorder_free(&recorder);
    }
}

/* What HTTP allows is read and what it forbids is refused, the same however it is cut. `log` is what the parser tells, without
 * the fields; of what is refused nothing counts but that no request came of it. */
#define GET_WITH(fields) "GET / HTTP/1.1\r\nHost: a\r\n" fields "\r\n\r\n"
#define POST_WITH(fields, body) "POST / HTTP/1.1\r\nHost: a\r\n" fields "\r\n\r\n" body
#define CHUNKS(body) POST_WITH("Transfer-Encoding: chunked", body)

struct shape {
    const char *what;
    struct slice text;
    enum status status;
    const char *body; /* of what is read; NULL: refused */
};

#define TAKEN(what, text, body)                                                                                        \
    {                                                                                                                  \
        what, {text, sizeof(text) - 1}, STATUS_OK, body                                                                \
    }
#define REFUSED(what, text)                                                                                            \
    {                                                                                                                  \
        what, {text, sizeof(text) - 1}, STATUS_BAD_HTTP, NULL                                                          \
    }
#define REFUSED_AS(status, what, text)                                                                                 \
    {                                                                                                                  \
        what, {text, sizeof(text) - 1}, status, NULL                                                                   \
    }

static const struct shape shapes[] = {
    /* the length of a body */
    REFUSED("a length and chunks", POST_WITH("Content-Length: 4\r\nTransfer-Encoding: chunked", "0\r\n\r\n")),
    REFUSED("chunks and a length", POST_WITH("Transfer-Encoding: chunked\r\nContent-Length: 4", "0\r\n\r\n")),
    REFUSED("two lengths", POST_WITH("Content-Length: 4\r\nContent-Length: 5", "abcd")),
    REFUSED("one length twice", POST_WITH("Content-Length: 4\r\nContent-Length: 4", "abcd")),
    REFUSED("a list of lengths", POST_WITH("Content-Length: 4, 4", "abcd")),
    REFUSED("a signed length", POST_WITH("Content-Length: +4", "abcd")),
    REFUSED("a negative length", POST_WITH("Content-Length: -4", "abcd")),
    REFUSED("a hexadecimal length", POST_WITH("Content-Length: 0x4", "abcd")),
    REFUSED("an empty length", POST_WITH("Content-Length: ", "")),
    REFUSED("a length of a tab", POST_WITH("Content-Length: \t", "")),
    REFUSED("a length of 2^64", POST_WITH("Content-Length: 18446744073709551616", "")),
    REFUSED("a blank in a length", POST_WITH("Content-Length: 1 2", "abcdefghijkl")),
    REFUSED("a tab in a length", POST_WITH("Content-Length: 1\t2", "abcdefghijkl")),
    REFUSED("a form feed behind a length", POST_WITH("Content-Length: 4\f", "abcd")),
    REFUSED("a length that is folded", POST_WITH("Content-Length: 4\t\r\n\t2", "abcd")),
    REFUSED("a length on the next line", POST_WITH("Content-Length:\t\r\n\t4", "abcd")),
    TAKEN("a length with zeros", POST_WITH("Content-Length: 004", "abcd"), "abcd"),
    TAKEN("blanks around a length", POST_WITH("Content-Length:   4   ", "abcd"), "abcd"),
    TAKEN("no blank before a length", POST_WITH("Content-Length:4", "abcd"), "abcd"),
    TAKEN("a tab behind a length", POST_WITH("Content-Length: 4\t", "abcd"), "abcd"),
    TAKEN("tabs around a length", POST_WITH("Content-Length:\t 4 \t \t", "abcd"), "abcd"),
    /* transfer codings */
    REFUSED_AS(STATUS_NOT_IMPLEMENTED, "another coding", POST_WITH("Transfer-Encoding: xchunked", "0\r\n\r\n")),
    REFUSED("chunked is not last", POST_WITH("Transfer-Encoding: chunked, identity", "0\r\n\r\n")),
    REFUSED_AS(STATUS_NOT_IMPLEMENTED, "gzip", POST_WITH("Transfer-Encoding: gzip, chunked", "0\r\n\r\n")),
    REFUSED("chunked twice", POST_WITH("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "0\r\n\r\n")),
    REFUSED("a vertical tab before it", POST_WITH("Transfer-Encoding: \vchunked", "0\r\n\r\n")),
    REFUSED("a vertical tab behind it", POST_WITH("Transfer-Encoding: chunked\v", "0\r\n\r\n")),
    REFUSED("chunks in HTTP/1.0", "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    TAKEN("CHUNKED", POST_WITH("Transfer-Encoding: CHUNKED", "1\r\na\r\n0\r\n\r\n"), "a"),
    TAKEN("tabs around chunked", POST_WITH("Transfer-Encoding:\tchunked\t", "1\r\na\r\n0\r\n\r\n"), "a"),
    /* chunks */
    REFUSED("bare line feeds in chunks", CHUNKS("1\na\n0\n\n")),
    REFUSED("a line feed in an extension", CHUNKS("1;\nx\r\na\r\n0\r\n\r\n")),
    REFUSED("a line feed behind an extension", CHUNKS("1;a=b;c=d\na\r\n0\r\n\r\n")),
    REFUSED("a carriage return in an extension", CHUNKS("1;a=b;c\rd\r\na\r\n0\r\n\r\n")),
    REFUSED("a size behind an extension", CHUNKS("1;a=b;\r\na\r\n0\r\n\r\n")),
    REFUSED("a quote that does not end", CHUNKS("1;a=\"b\r\na\r\n0\r\n\r\n")),
    REFUSED("a blank behind a size", CHUNKS("1 \r\na\r\n0\r\n\r\n")),
    REFUSED("a size with 0x", CHUNKS("0x1\r\na\r\n0\r\n\r\n")),
    REFUSED("a size of 2^64+1", CHUNKS("10000000000000001\r\na\r\n0\r\n\r\n")),
    REFUSED("a signed size", CHUNKS("+1\r\na\r\n0\r\n\r\n")),
    REFUSED("no size", CHUNKS("\r\na\r\n0\r\n\r\n")),
    REFUSED("a chunk that is longer", CHUNKS("1\r\nab\r\n0\r\n\r\n")),
    TAKEN("an extension", CHUNKS("1;a=b\r\na\r\n0\r\n\r\n"), "a"),
    TAKEN("two extensions", CHUNKS("1;a=b;c=d\r\na\r\n0\r\n\r\n"), "a"),
    TAKEN("many extensions", CHUNKS("2;a;b=;c=d;e=\"f;g\";h=i;j\r\nab\r\n3;x=y;z\r\ncde\r\n0;a=b;c=d\r\n\r\n"),
          "abcde"),
    TAKEN("a quoted one first", CHUNKS("1;a=\"b c\";d=e;f=\"\"\r\na\r\n0\r\n\r\n"), "a"),
    /* legal, but not read by llhttp, and sent by nobody */
    REFUSED("an escape in quotes", CHUNKS("1;a=\"\\\"\"\r\na\r\n0\r\n\r\n")),
    REFUSED("blanks around an extension", CHUNKS("1 ; a = b\r\na\r\n0\r\n\r\n")),
    TAKEN("a length among the trailers", CHUNKS("0\r\nContent-Length: 5\t\r\n\r\n"), ""),
    /* fields */
    REFUSED("a blank before the colon", GET_WITH("X-A : b")),
    REFUSED("a folded field", GET_WITH("X-A: b\r\n c")),
    REFUSED("bare line feeds", "GET / HTTP/1.1\nHost: a\n\n"),
    REFUSED("a carriage return in a value", GET_WITH("X-A: b\rc")),
    REFUSED("a NUL in a value", GET_WITH("X-A: b\0c")),
    REFUSED("a blank before a name", "GET / HTTP/1.1\r\n Host: a\r\n\r\n"),
    REFUSED("no name", GET_WITH(": b")),
    REFUSED("a name that is not ASCII", GET_WITH("X-\xe9: b")),
    TAKEN("a field that asks for something else", GET_WITH("Expect: x"), ""),
    /* Host */
    REFUSED("no Host", "GET / HTTP/1.1\r\n\r\n"),
    REFUSED("two Hosts", GET_WITH("Host: b")),
    REFUSED("a blank in Host", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n"),
    REFUSED("a tab in Host", "GET / HTTP/1.1\r\nHost: a\tb\r\n\r\n"),
    REFUSED("a blank in Host, HTTP/1.0", "GET / HTTP/1.0\r\nHost: a b\r\n\r\n"),
    REFUSED("a user in Host", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n"),
    REFUSED("a path in Host", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"),
    REFUSED("a scheme in Host", "GET / HTTP/1.1\r\nHost: http://a\r\n\r\n"),
    REFUSED("a port of letters", "GET / HTTP/1.1\r\nHost: a:b\r\n\r\n"),
    REFUSED("two ports", "GET / HTTP/1.1\r\nHost: a:1:2\r\n\r\n"),
    REFUSED("a blank before the port", "GET / HTTP/1.1\r\nHost: a :1\r\n\r\n"),
    REFUSED("an address without brackets", "GET / HTTP/1.1\r\nHost: ::1\r\n\r\n"),
    REFUSED("an open bracket", "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n"),
    REFUSED("empty brackets", "GET / HTTP/1.1\r\nHost: []\r\n\r\n"),
    REFUSED("something behind brackets", "GET / HTTP/1.1\r\nHost: [::1]a\r\n\r\n"),
    REFUSED("a percent sign alone", "GET / HTTP/1.1\r\nHost: a%2\r\n\r\n"),
    REFUSED("a Host that is not ASCII", "GET / HTTP/1.1\r\nHost: \xc3\xa9\r\n\r\n"),
    REFUSED("a Host with a quote", "GET / HTTP/1.1\r\nHost: a\"\r\n\r\n"),
    TAKEN("a Host with a port", "GET / HTTP/1.1\r\nHost: a.b-c_d:8080\r\n\r\n", ""),
    TAKEN("a Host in tabs", "GET / HTTP/1.1\r\nHost:\ta:1\t\r\n\r\n", ""),
    TAKEN("an empty port", "GET / HTTP/1.1\r\nHost: a:\r\n\r\n", ""),
    TAKEN("an empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", ""),
    TAKEN("an address", "GET / HTTP/1.1\r\nHost: [2001:db8::1.2.3.4]:80\r\n\r\n", ""),
    TAKEN("an escaped Host", "GET / HTTP/1.1\r\nHost: a%2Db\r\n\r\n", ""),
    TAKEN("no Host, HTTP/1.0", "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", ""),
    /* the target */
    TAKEN("absolute-form", "GET http://b:1/x?y HTTP/1.1\r\nHost: a\r\n\r\n", ""),
    TAKEN("absolute-form without a path", "GET http://b HTTP/1.1\r\nHost: a\r\n\r\n", ""),
    REFUSED("absolute-form without an authority", "GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n"),
    REFUSED("absolute-form with a port alone", "GET http://:1/x HTTP/1.1\r\nHost: a\r\n\r\n"),
    REFUSED("absolute-form with a user", "GET http://u@b/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    REFUSED("authority-form", "GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n"),
    REFUSED("no slash", "GET a HTTP/1.1\r\nHost: a\r\n\r\n"),
    REFUSED_AS(STATUS_NOT_IMPLEMENTED, "CONNECT", "CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n"),
    TAKEN("OPTIONS *", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", ""),
    REFUSED("GET *", "GET * HTTP/1.1\r\nHost: a\r\n\r\n"),
    REFUSED("OPTIONS *x", "OPTIONS *x HTTP/1.1\r\nHost: a\r\n\r\n"),
    REFUSED("a fragment", "GET /#x HTTP/1.1\r\nHost: a\r\n\r\n"),
    REFUSED("a fragment behind a query", "GET /?a#x HTTP/1.1\r\nHost: a\r\n\r\n"),
    REFUSED("an empty fragment", "GET /# HTTP/1.1\r\nHost: a\r\n\r\n"),
    REFUSED("absolute-form with a fragment", "GET http://a/#x HTTP/1.1\r\nHost: a\r\n\r\n"),
    /* the request line */
    TAKEN("empty lines before it", "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", ""),
    REFUSED("two blanks before the target", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n"),
    REFUSED("two blanks behind the target", "GET /  HTTP/1.1\r\nHost: a\r\n\r\n"),
    REFUSED("a blank behind the version", "GET / HTTP/1.1 \r\nHost: a\r\n\r\n"),
    REFUSED("a blank before the method", " GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    REFUSED("tabs", "GET\t/\tHTTP/1.1\r\nHost: a\r\n\r\n"),
    REFUSED("no target", "GET HTTP/1.1\r\nHost: a\r\n\r\n"),
    REFUSED("no version", "GET /\r\n"),
    REFUSED("no version and a line feed", "GET /\n"),
    REFUSED("a method in lower case", "get / HTTP/1.1\r\nHost: a\r\n\r\n"),
    REFUSED("a version in lower case", "GET / http/1.1\r\nHost: a\r\n\r\n"),
    REFUSED("another protocol", "OPTIONS * RTSP/1.0\r\nHost: a\r\n\r\n"),
    REFUSED("two digits", "GET / HTTP/1.10\r\nHost: a\r\n\r\n"),
    REFUSED_AS(STATUS_VERSION_NOT_SUPPORTED, "HTTP/2.0", "GET / HTTP/2.0\r\n"),
    REFUSED_AS(STATUS_VERSION_NOT_SUPPORTED, "HTTP/0.9", "GET / HTTP/0.9\r\n"),
    REFUSED_AS(STATUS_VERSION_NOT_SUPPORTED, "the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    TAKEN("HTTP/1.2", "GET / HTTP/1.2\r\nHost: a\r\n\r\n", ""),
    REFUSED("HTTP/1.2 without a Host", "GET / HTTP/1.2\r\n\r\n"),
};

/* Behind what is taken stands another request: a parser that found the end elsewhere would not see it as it is. */
static void check_shape(const struct shape *shape, size_t step)
{
    static const char next[] = "GET /next HTTP/1.1\r\nHost: n\r\n\r\n";
    struct recorder recorder;
    recorder_init(&recorder);
    struct buf text;
    buf_init(&text, 1u << 16);
    buf_append_slice(&text, shape->text);
    if (shape->body != NULL) {
        buf_append_str(&text, next);
    }
    enum status status = feed(&recorder, buf_slice(&text), step);
    const char *log = buf_cstr(&recorder.log);
    if (status != shape->status) {
        fail_msg("%s, in pieces of %zu: %s (%s), not %s", shape->what, step, status_slug(status),
                 recorder.parser.detail != NULL ? recorder.parser.detail : "", status_slug(shape->status));
    }
    if (shape->body == NULL) {
        assert_non_null(recorder.parser.detail);
        assert_null(strstr(log, "complete"));
    } else {
        const char *body = strstr(log, ") ");
        assert_non_null(body);
        struct buf expected;
        buf_init(&expected, 1u << 16);
        buf_printf(&expected, ") %s%s complete begin head(0 /next ", shape->body[0] != '\0' ? "body:" : "",
                   shape->body);
        if (strncmp(body, buf_cstr(&expected), expected.len) != 0) {
            fail_msg("%s, in pieces of %zu: %s", shape->what, step, log);
        }
        buf_free(&expected);
    }
    buf_free(&text);
    recorder_free(&recorder);
}

static void shapes_whole_and_cut(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        for (size_t step = 1; step <= shapes[i].text.len; step++) {
            check_shape(&shapes[i], step);
        }
        check_shape(&shapes[i], 1000);
    }
}

/* A tab is white space in Connection as well: what ends the connection ends it, and what upgrades it upgrades it. */
static void connection_with_tabs(void **state)
{
    (void)state;
    static const struct {
        const char *fields;
        bool keeps_alive, wants_websocket;
    } rows[] = {
        {"Connection: close\t", false, false},
        {"Connection:\tx\t,\tclose\t", false, false},
        {"Connection: close\t, x", false, false},
        {"Connection: closed\t", true, false},
        {"Upgrade: websocket\t\r\nConnection: keep-alive\t,\tUpgrade\t", true, true},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct buf text;
        buf_init(&text, 4096);
        buf_printf(&text, "GET / HTTP/1.1\r\nHost: a\r\n%s\r\n\r\n", rows[i].fields);
        for (size_t step = 1; step <= text.len; step++) {
            struct recorder recorder;
            recorder_init(&recorder);
            assert_int_equal(feed(&recorder, buf_slice(&text), step), STATUS_OK);
            if (recorder.head.keeps_alive != rows[i].keeps_alive ||
                recorder.head.wants_websocket != rows[i].wants_websocket) {
                fail_msg("%s, in pieces of %zu: %s", rows[i].fields, step, buf_cstr(&recorder.log));
            }
            recorder_free(&recorder);
        }
        buf_free(&text);
    }
}

/* RFC 9110 7.8, RFC 6455 4.1. */
static void no_websocket_over_http_1_0(void **state)
{
    (void)state;
    for (int minor = 0; minor < 3; minor++) {
        struct recorder recorder;
        recorder_init(&recorder);
        char text[200];
        int len = snprintf(text, sizeof(text),
                           "GET /ws HTTP/1.%d\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", minor);
        assert_int_equal(feed(&recorder, slice_of(text, (size_t)len), 1000), STATUS_OK);
        assert_int_equal(recorder.head.wants_websocket, minor > 0);
        assert_int_equal(recorder.head.minor, minor > 0 ? 1 : 0);
        recorder_free(&recorder);
    }
}

/* A tab behind "chunked" made the client read such an answer up to the end of the connection, its framing included. */
static void a_response_with_tabs(void **state)
{
    (void)state;
    static const char text[] = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\t\r\n\r\n1;a=b;c=d\r\nx\r\n0\r\n\r\n"
                               "HTTP/1.1 200 OK\r\nContent-Length:\t1\t\r\n\r\ny";
    for (size_t step = 1; step < sizeof(text); step++) {
        struct recorder recorder;
        recorder_init(&recorder);
        http1_parser_init(&recorder.parser, true, &events, &recorder);
        assert_int_equal(feed(&recorder, SLICE(text), step), STATUS_OK);
        assert_non_null(strstr(buf_cstr(&recorder.log), "body:x complete begin"));
        assert_non_null(strstr(buf_cstr(&recorder.log), "body:y complete"));
        recorder_free(&recorder);
        recorder_init(&recorder);
        http1_parser_init(&recorder.parser, true, &events, &recorder);
        assert_int_equal(feed(&recorder, SLICE("HTTP/1.1 200 OK\r\n:\tx\r\n\r\n"), step),
                         STATUS_BAD_HTTP); /* no name */
        recorder_free(&recorder);
    }
}

/* What is dropped is bounded, also when it is nothing but what separates it. */
static void extensions_are_bounded(void **state)
{
    (void)state;
    static const char *const units[] = {";", ";a", ";a=b", ";a=\"\"", ";=", "\r\nA:b"};
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        for (size_t step = 1; step < 2000; step = step * 3 + 1) {
            struct recorder recorder;
            recorder_init(&recorder);
            assert_int_equal(feed(&recorder, SLICE(CHUNKS("0")), 1000), STATUS_OK);
            struct buf text;
            buf_init(&text, 1u << 20);
            while (text.len < 100000) {
                buf_append_str(&text, units[i]);
            }
            assert_int_equal(feed(&recorder, buf_slice(&text), step), STATUS_BAD_HTTP);
            buf_free(&text);
            recorder_free(&recorder);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_log_however_it_is_cut),
        cmocka_unit_test(folding_is_found_however_it_is_cut),
        cmocka_unit_test(shapes_whole_and_cut),
        cmocka_unit_test(connection_with_tabs),
        cmocka_unit_test(no_websocket_over_http_1_0),
        cmocka_unit_test(a_response_with_tabs),
        cmocka_unit_test(extensions_are_bounded),
        cmocka_unit_test(lists),
        cmocka_unit_test(nothing_follows_an_error),
        cmocka_unit_test(a_closing_message_pauses),
        cmocka_unit_test(responses),
        cmocka_unit_test(mutated_requests),
        cmocka_unit_test(random_bytes_never_break_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
