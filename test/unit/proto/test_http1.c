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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_log_however_it_is_cut),
        cmocka_unit_test(folding_is_found_however_it_is_cut),
        cmocka_unit_test(lists),
        cmocka_unit_test(nothing_follows_an_error),
        cmocka_unit_test(a_closing_message_pauses),
        cmocka_unit_test(responses),
        cmocka_unit_test(mutated_requests),
        cmocka_unit_test(random_bytes_never_break_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
