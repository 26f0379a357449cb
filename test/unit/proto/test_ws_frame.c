#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h> /* wants those above */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "proto/ws_frame.h"

#define SIZE_MAX_HERE 100000u

static const uint8_t mask[4] = {0x37, 0xfa, 0x21, 0x3d};

/* Feeds `text` in pieces of `step`, each in memory of its own with exactly the promised padding behind it; writes the
 * events down. Stops at an error. */
static void feed(struct ws_parser *parser, struct slice text, size_t step, struct buf *log)
{
    for (size_t at = 0; at < text.len; at += step) {
        size_t len = text.len - at < step ? text.len - at : step;
        char *piece = calloc(1, len + WS_PADDING_SIZE);
        assert_non_null(piece);
        memcpy(piece, text.data + at, len);
        size_t done = 0;
        for (;;) {
            size_t used;
            struct ws_incoming incoming;
            enum ws_event event = ws_parse(parser, piece + done, len - done, &used, &incoming);
            assert_true(used <= len - done);
            done += used;
            if (event == WS_EVENT_NONE) {
                assert_int_equal(done, len);
                break;
            }
            if (event == WS_EVENT_ERROR) {
                buf_printf(log, "error(%u) ", incoming.code);
                free(piece);
                return;
            }
            static const char *const names[] = {"", "message", "ping", "pong", "close"};
            buf_printf(log, "%s(", names[event]);
            if (event == WS_EVENT_MESSAGE) {
                /* The padding is readable. */
                volatile char sum = 0;
                for (size_t i = 0; i < WS_PADDING_SIZE; i++) {
                    sum = (char)(sum + incoming.payload.data[incoming.payload.len + i]);
                }
                buf_append_str(log, incoming.is_text ? "t:" : "b:");
            } else if (event == WS_EVENT_CLOSE) {
                buf_printf(log, "%u:", incoming.code);
            }
            buf_append_slice(log, incoming.payload);
            buf_append_str(log, ") ");
        }
        free(piece);
    }
}

static void check(bool from_client, struct slice text, const char *expected)
{
    for (size_t step = 1; step <= text.len && step < 400; step++) {
        struct ws_parser parser;
        struct buf log;
        buf_init(&log, 1u << 20);
        ws_parser_init(&parser, from_client, SIZE_MAX_HERE);
        feed(&parser, text, step, &log);
        assert_string_equal(buf_cstr(&log), expected);
        ws_parser_free(&parser);
        buf_free(&log);
    }
}

/* RFC 6455 section 5.7. */
static void examples_of_the_rfc(void **state)
{
    (void)state;
    check(false, SLICE("\x81\x05Hello"), "message(t:Hello) ");
    check(true, SLICE("\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"), "message(t:Hello) ");
    check(false, SLICE("\x01\x03Hel\x80\x02lo"), "message(t:Hello) ");
    check(false, SLICE("\x89\x05Hello"), "ping(Hello) ");
    check(true, SLICE("\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"), "pong(Hello) ");
    char accept[WS_ACCEPT_TEXT_SIZE];
    ws_accept_of(SLICE("dGhlIHNhbXBsZSBub25jZQ=="), accept);
    assert_string_equal(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

static void messages_and_control_frames(void **state)
{
    (void)state;
    check(false, SLICE("\x81\x00\x82\x02\xff\xfe\x81\x01x"), "message(t:) message(b:\xff\xfe) message(t:x) ");
    check(false,
          SLICE("\x01\x01"
                "a\x89\x01p\x00\x00\x00\x01"
                "b\x8a\x00\x80\x01"
                "c\x81\x01"
                "d"),
          "ping(p) pong() message(t:abc) message(t:d) ");
    check(false, SLICE("\x01\x00\x80\x00"), "message(t:) ");
    check(false, SLICE("\x88\x00"), "close(1005:) ");
    check(false, SLICE("\x88\x02\x03\xe8"), "close(1000:) ");
    check(false,
          SLICE("\x88\x05\x0f\xa1"
                "bye"),
          "close(4001:bye) ");
    /* A character may be cut by fragmentation. */
    check(false, SLICE("\x01\x02\xe2\x82\x80\x01\xac"), "message(t:\xe2\x82\xac) ");
}

static void what_is_refused(void **state)
{
    (void)state;
    check(true, SLICE("\x81\x05Hello"), "error(1002) ");      /* unmasked from a client */
    check(false, SLICE("\x81\x81\1\2\3\4x"), "error(1002) "); /* masked from a server */
    check(false, SLICE("\xc1\x00"), "error(1002) ");          /* RSV1 */
    check(false, SLICE("\xa1\x00"), "error(1002) ");          /* RSV2 */
    check(false, SLICE("\x91\x00"), "error(1002) ");          /* RSV3 */
    check(false, SLICE("\x83\x00"), "error(1002) ");          /* reserved opcodes */
    check(false, SLICE("\x8b\x00"), "error(1002) ");
    check(false, SLICE("\x09\x00"), "error(1002) ");              /* fragmented ping */
    check(false, SLICE("\x89\x7e\x00\x7e"), "error(1002) ");      /* ping of 126 bytes */
    check(false, SLICE("\x80\x00"), "error(1002) ");              /* continues nothing */
    check(false, SLICE("\x01\x00\x81\x00"), "error(1002) ");      /* message inside a message */
    check(false, SLICE("\x81\x7e\x00\x05Hello"), "error(1002) "); /* length not shortest */
    check(false, SLICE("\x81\x7f\0\0\0\0\0\0\xff\xff"), "error(1002) ");
    check(false, SLICE("\x81\x7f\x80\0\0\0\0\0\0\0"), "error(1002) "); /* top bit of the length */
    check(false, SLICE("\x81\x02\xc3\x28"), "error(1007) ");           /* not UTF-8 */
    check(false, SLICE("\x01\x01\xc3\x80\x01\x28"), "error(1007) ");
    check(false, SLICE("\x81\x03\xed\xa0\x80"), "error(1007) "); /* surrogate */
    check(false, SLICE("\x88\x01\x03"), "error(1002) ");         /* half a close code */
    check(false, SLICE("\x88\x02\x03\xec"), "error(1002) ");     /* 1004, 1005, 1006, 1015, 999, 5000 */
    check(false, SLICE("\x88\x02\x03\xed"), "error(1002) ");
    check(false, SLICE("\x88\x02\x03\xee"), "error(1002) ");
    check(false, SLICE("\x88\x02\x03\xf7"), "error(1002) ");
    check(false, SLICE("\x88\x02\x03\xe7"), "error(1002) ");
    check(false, SLICE("\x88\x02\x13\x88"), "error(1002) ");
    check(false, SLICE("\x88\x03\x03\xe8\xff"), "error(1007) ");
    check(false, SLICE("\x81\x7f\0\0\0\0\0\x01\x86\xa1"), "error(1009) "); /* 100001 bytes, known from the header */
}

/* Fragments count together. */
static void the_size_limit(void **state)
{
    (void)state;
    struct buf text, log;
    struct ws_parser parser;
    buf_init(&text, 1u << 20);
    buf_init(&log, 1u << 20);
    for (size_t extra = 0; extra < 2; extra++) {
        buf_reset(&text);
        buf_reset(&log);
        buf_append(&text, "\x01\x7e\xc3\x50", 4); /* 50000 */
        for (int i = 0; i < 50000; i++) {
            buf_append_char(&text, 'x');
        }
        buf_append(&text, extra ? "\x80\x7e\xc3\x51" : "\x80\x7e\xc3\x50", 4);
        for (size_t i = 0; i < 50000 + extra; i++) {
            buf_append_char(&text, 'y');
        }
        ws_parser_init(&parser, false, SIZE_MAX_HERE);
        feed(&parser, buf_slice(&text), 9999, &log);
        assert_int_equal(slice_equal(buf_slice(&log), SLICE("error(1009) ")), extra == 1);
        assert_true(extra == 1 || log.len == 100000 + strlen("message(t:) "));
        ws_parser_free(&parser);
    }
    buf_free(&text);
    buf_free(&log);
}

/* Frames of every length around the borders of the length field, written masked and unmasked, come back. */
static void round_trips(void **state)
{
    (void)state;
    static const size_t sizes[] = {0,   1,    7,     8,     9,     124,   125,   126,   127,
                                   128, 1000, 65534, 65535, 65536, 65537, 99999, 100000};
    struct rng rng;
    rng_seed(&rng, 3);
    struct buf out;
    buf_init(&out, 1u << 20);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        char *payload = malloc(sizes[i] + 1);
        assert_non_null(payload);
        for (size_t at = 0; at < sizes[i]; at++) {
            payload[at] = (char)rng_u64(&rng);
        }
        for (int masked = 0; masked < 2; masked++) {
            buf_reset(&out);
            ws_write_frame(&out, WS_BINARY, slice_of(payload, sizes[i]), masked ? mask : NULL);
            for (size_t step = 1; step < out.len + 1000; step = step * 3 + 1) {
                struct ws_parser parser;
                struct buf log;
                buf_init(&log, 1u << 20);
                ws_parser_init(&parser, masked != 0, SIZE_MAX_HERE);
                feed(&parser, buf_slice(&out), step, &log);
                assert_int_equal(log.len, sizes[i] + strlen("message(b:) "));
                assert_true(sizes[i] == 0 || memcmp(log.data + strlen("message(b:"), payload, sizes[i]) == 0);
                ws_parser_free(&parser);
                buf_free(&log);
            }
        }
        free(payload);
    }
    buf_free(&out);
}

static void close_frames(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 1000);
    ws_write_close(&out, 1000, NULL, NULL);
    assert_true(slice_equal(buf_slice(&out), SLICE("\x88\x02\x03\xe8")));
    buf_reset(&out);
    ws_write_close(&out, WS_CLOSE_NONE, "ignored", NULL);
    assert_true(slice_equal(buf_slice(&out), SLICE("\x88\x00")));
    /* A long reason is cut between characters. */
    char reason[200];
    memset(reason, 'a', 122);
    memcpy(reason + 122, "\xe2\x82\xac", 4);
    buf_reset(&out);
    ws_write_close(&out, 4000, reason, NULL);
    assert_int_equal(out.len, 2 + 2 + 122);
    buf_free(&out);
    assert_false(ws_close_code_is_valid(0));
    assert_true(ws_close_code_is_valid(1013));
    assert_false(ws_close_code_is_valid(2999));
    assert_true(ws_close_code_is_valid(3000));
}

static void keys(void **state)
{
    (void)state;
    assert_true(ws_key_is_valid(SLICE("dGhlIHNhbXBsZSBub25jZQ==")));
    assert_false(ws_key_is_valid(SLICE("dGhlIHNhbXBsZSBub25jZQ=")));
    assert_false(ws_key_is_valid(SLICE("dGhlIHNhbXBsZSBub25jZQ===")));
    assert_false(ws_key_is_valid(SLICE("dGhlIHNhbXBsZSBub25jZ===")));
    assert_false(ws_key_is_valid(SLICE("dGhlIHNhbXBsZSBub25j Q==")));
    assert_false(ws_key_is_valid(SLICE("")));
    char text[WS_KEY_TEXT_SIZE];
    ws_key_format((const uint8_t *)"the sample nonce", text);
    assert_string_equal(text, "dGhlIHNhbXBsZSBub25jZQ==");
}

/* Bytes that look like frames often enough: the parser says the same whole and in pieces, and never reads astray. */
static void random_frames(void **state)
{
    (void)state;
    struct rng rng;
    rng_seed(&rng, 11);
    for (int round = 0; round < 20000; round++) {
        char text[300];
        size_t len = 0;
        while (len < 200) {
            static const uint8_t firsts[] = {0x81, 0x82, 0x01, 0x80, 0x00, 0x88, 0x89, 0x8a, 0x02};
            bool is_odd = rng_below(&rng, 20) == 0;
            text[len++] = (char)(is_odd ? rng_u64(&rng) : firsts[rng_below(&rng, sizeof(firsts))]);
            size_t payload = (size_t)rng_below(&rng, 20);
            text[len++] = (char)(is_odd ? rng_u64(&rng) : payload);
            for (size_t i = 0; i < payload; i++) {
                text[len++] = (char)(rng_below(&rng, 30) == 0 ? rng_u64(&rng) : 'a');
            }
        }
        struct ws_parser parser;
        struct buf whole, cut;
        buf_init(&whole, 1u << 20);
        buf_init(&cut, 1u << 20);
        ws_parser_init(&parser, false, 100);
        feed(&parser, slice_of(text, len), len, &whole);
        ws_parser_free(&parser);
        ws_parser_init(&parser, false, 100);
        feed(&parser, slice_of(text, len), 1 + (size_t)rng_below(&rng, 7), &cut);
        ws_parser_free(&parser);
        assert_true(slice_equal(buf_slice(&whole), buf_slice(&cut)));
        buf_free(&whole);
        buf_free(&cut);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(examples_of_the_rfc),
        cmocka_unit_test(messages_and_control_frames),
        cmocka_unit_test(what_is_refused),
        cmocka_unit_test(the_size_limit),
        cmocka_unit_test(round_trips),
        cmocka_unit_test(close_frames),
        cmocka_unit_test(keys),
        cmocka_unit_test(random_frames),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
