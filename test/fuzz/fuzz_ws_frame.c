/* fuzz_ws_frame.c - WebSocket frames, in both roles.
 *
 *   u8 flags (1: from a client; 2: a small limit) | u8 seed of the split points | the stream
 *
 * However the stream is cut, the same events come out. Every message, ping and close that was read is written again and
 * read back the same. */
#include "base/rng.h"
#include "base/utf8.h"
#include "proto/ws_frame.h"
#include "test/fuzz/fuzz.h"

#define MESSAGE_SIZE_MAX 65536u
#define MESSAGE_SIZE_SMALL 64u

/* One frame of what was read, from the same role: it must be read back as it is. */
static void write_and_read(bool from_client, enum ws_event event, const struct ws_incoming *incoming)
{
    static const uint8_t mask[4] = {0x5a, 0, 0xff, 0x17};
    struct buf bytes;
    buf_init(&bytes, 1u << 20);
    switch (event) {
    case WS_EVENT_CLOSE: {
        char reason[WS_CONTROL_SIZE_MAX];
        size_t len = incoming->payload.len < sizeof(reason) - 1 ? incoming->payload.len : sizeof(reason) - 1;
        memcpy(reason, len > 0 ? incoming->payload.data : "", len);
        reason[len] = '\0';
        ws_write_close(&bytes, incoming->code, reason, from_client ? mask : NULL);
        break;
    }
    default:
        ws_write_frame(&bytes,
                       event == WS_EVENT_PING   ? WS_PING
                       : event == WS_EVENT_PONG ? WS_PONG
                       : incoming->is_text      ? WS_TEXT
                                                : WS_BINARY,
                       incoming->payload, from_client ? mask : NULL);
    }
    size_t len = bytes.len, used;
    struct ws_parser parser;
    struct ws_incoming again;
    buf_append_zeros(&bytes, WS_PADDING_SIZE);
    ensure(buf_status(&bytes) == STATUS_OK);
    ws_parser_init(&parser, from_client, MESSAGE_SIZE_MAX);
    ensure(ws_parse(&parser, bytes.data, len, &used, &again) == event && used == len);
    ensure(again.is_text == incoming->is_text && again.code == incoming->code);
    if (event != WS_EVENT_CLOSE ||
        memchr(incoming->payload.data != NULL ? incoming->payload.data : "", '\0', incoming->payload.len) == NULL) {
        ensure(slice_equal(again.payload, incoming->payload));
    }
    ws_parser_free(&parser);
    buf_free(&bytes);
}

static void run(struct buf *trace, bool from_client, size_t size_max, struct slice stream, struct rng *rng,
                size_t piece_max)
{
    struct ws_parser parser;
    enum ws_event event = WS_EVENT_NONE;
    ws_parser_init(&parser, from_client, size_max);
    buf_init(trace, 1u << 22);
    for (size_t at = 0; at < stream.len && event != WS_EVENT_ERROR;) {
        size_t len = rng != NULL ? 1 + rng_below(rng, piece_max) : stream.len;
        len = len < stream.len - at ? len : stream.len - at;
        char *piece = malloc(len + WS_PADDING_SIZE);
        ensure(piece != NULL);
        memcpy(piece, stream.data + at, len);
        memset(piece + len, 0x7f, WS_PADDING_SIZE);
        size_t done = 0;
        do {
            struct ws_incoming incoming = {0};
            size_t used = 0;
            event = ws_parse(&parser, piece + done, len - done, &used, &incoming);
            ensure(used <= len - done);
            done += used;
            if (event == WS_EVENT_NONE) {
                ensure(done == len);
                break;
            }
            ensure(event == WS_EVENT_ERROR || incoming.payload.len <= size_max ||
                   incoming.payload.len <= WS_CONTROL_SIZE_MAX);
            ensure(event != WS_EVENT_MESSAGE || !incoming.is_text || utf8_is_valid(incoming.payload));
            ensure(event != WS_EVENT_CLOSE || incoming.code == WS_CLOSE_NONE || ws_close_code_is_valid(incoming.code));
            buf_printf(trace, "\n%d %u %d %zu ", (int)event, incoming.code, incoming.is_text, incoming.payload.len);
            buf_append_slice(trace, incoming.payload);
            if (event != WS_EVENT_ERROR && rng == NULL) {
                write_and_read(from_client, event, &incoming);
            }
        } while (event != WS_EVENT_ERROR);
        for (size_t i = 0; i < WS_PADDING_SIZE; i++) { /* readable, but not ours to write */
            ensure(piece[len + i] == 0x7f);
        }
        free(piece);
        at += len;
    }
    if (event == WS_EVENT_ERROR) {
        char more[2 + WS_PADDING_SIZE] = {(char)0x81, 0};
        struct ws_incoming incoming;
        size_t used;
        ensure(ws_parse(&parser, more, 2, &used, &incoming) == WS_EVENT_ERROR && incoming.code == parser.error);
    }
    ensure(buf_status(trace) == STATUS_OK);
    ws_parser_free(&parser);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) {
        return 0;
    }
    struct buf whole, split;
    struct slice stream = slice_of(data + 2, size - 2);
    bool from_client = (data[0] & 1) != 0;
    size_t size_max = data[0] & 2 ? MESSAGE_SIZE_SMALL : MESSAGE_SIZE_MAX;
    run(&whole, from_client, size_max, stream, NULL, 0);
    for (unsigned i = 0; i < 3; i++) {
        struct rng rng;
        rng_seed(&rng, data[1]);
        run(&split, from_client, size_max, stream, &rng, i == 0 ? 1 : i == 1 ? 9 : 130);
        ensure(fuzz_equal(&whole, &split));
        buf_free(&split);
    }
    buf_free(&whole);
    if (ws_key_is_valid(stream)) {
        char accept[WS_ACCEPT_TEXT_SIZE];
        ws_accept_of(stream, accept);
        ensure(strlen(accept) == WS_ACCEPT_TEXT_SIZE - 1);
    }
    return 0;
}
