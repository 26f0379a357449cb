/* ws_frame.c - an incremental reader of WebSocket frames, and their writer.
 *
 *   HEADER ──complete──▶ PAYLOAD ──control frame done──▶ event, HEADER
 *                           ├──data frame done, not final──▶ HEADER (the fragment stays in `message`)
 *                           └──data frame done, final──▶ event, HEADER
 *
 * A whole unfragmented message inside the bytes of one call, which is nearly every one, is unmasked where it lies and
 * handed on without a copy. Everything else is collected in `message`.
 *
 * Invariants: (W1) message_opcode is WS_CONTINUATION exactly between messages; (W2) message.len plus payload_left of
 * a data frame never exceeds message_size_max, so the limit is known before the bytes come; (W3) control frames are
 * final and at most 125 bytes, and never touch `message`; (W4) after an error every call returns it. */
#include "proto/ws_frame.h"

#include <openssl/evp.h>
#include <openssl/sha.h>
#include <string.h>

#include "base/ensure.h"
#include "base/utf8.h"

#define ACCEPT_GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" /* RFC 6455 1.3 */

void ws_parser_init(struct ws_parser *parser, bool from_client, size_t message_size_max)
{
    *parser = (struct ws_parser){.wants_mask = from_client, .message_size_max = message_size_max};
    buf_init(&parser->message, message_size_max + WS_PADDING_SIZE);
}

void ws_parser_free(struct ws_parser *parser)
{
    buf_free(&parser->message);
}

static enum ws_event fail(struct ws_parser *parser, uint16_t code, const char *detail, struct ws_incoming *ret_incoming)
{
    parser->error = code;
    parser->detail = detail;
    *ret_incoming = (struct ws_incoming){.payload = slice_str(detail), .code = code};
    return WS_EVENT_ERROR;
}

/* How many header bytes there are, as far as the first two tell. */
static size_t header_size(const struct ws_parser *parser)
{
    if (parser->header_len < 2) {
        return 2;
    }
    uint8_t len = parser->header[1] & 0x7f;
    return 2u + (len == 126 ? 2u : len == 127 ? 8u : 0u) + (parser->header[1] & 0x80 ? 4u : 0u);
}

static uint64_t read_be(const uint8_t *at, size_t count)
{
    uint64_t value = 0;
    for (size_t i = 0; i < count; i++) {
        value = value << 8 | at[i];
    }
    return value;
}

static enum ws_event begin_frame(struct ws_parser *parser, struct ws_incoming *ret_incoming)
{
    const uint8_t *header = parser->header;
    parser->is_final = (header[0] & 0x80) != 0;
    parser->opcode = header[0] & 0x0f;
    bool is_masked = (header[1] & 0x80) != 0;
    size_t at = 2;
    uint64_t len = header[1] & 0x7f;
    if (len == 126) {
        len = read_be(header + at, 2);
        at += 2;
        if (len < 126) {
            return fail(parser, WS_CLOSE_PROTOCOL, "A frame's length is not in its shortest form.", ret_incoming);
        }
    } else if (len == 127) {
        len = read_be(header + at, 8);
        at += 8;
        if (len <= UINT16_MAX || len > INT64_MAX) {
            return fail(parser, WS_CLOSE_PROTOCOL, "A frame's length is not in its shortest form.", ret_incoming);
        }
    }
    if (header[0] & 0x70) {
        return fail(parser, WS_CLOSE_PROTOCOL, "A reserved bit is set.", ret_incoming);
    }
    if (is_masked != parser->wants_mask) {
        return fail(parser, WS_CLOSE_PROTOCOL,
                    is_masked ? "A server's frame is masked." : "A client's frame is not masked.", ret_incoming);
    }
    parser->mask_at = 0;
    memset(parser->mask, 0, sizeof(parser->mask));
    if (is_masked) {
        memcpy(parser->mask, header + at, sizeof(parser->mask));
    }
    parser->payload_left = len;
    parser->has_header = true;
    parser->header_len = 0;

    switch (parser->opcode) {
    case WS_CLOSE:
    case WS_PING:
    case WS_PONG:
        if (!parser->is_final || len > WS_CONTROL_SIZE_MAX) {
            return fail(parser, WS_CLOSE_PROTOCOL, "A control frame is fragmented or longer than 125 bytes.",
                        ret_incoming);
        }
        parser->control_len = 0;
        return WS_EVENT_NONE;
    case WS_TEXT:
    case WS_BINARY:
        if (parser->message_opcode != WS_CONTINUATION) {
            return fail(parser, WS_CLOSE_PROTOCOL, "A message begins inside another.", ret_incoming);
        }
        parser->message_opcode = parser->opcode;
        buf_reset(&parser->message);
        break;
    case WS_CONTINUATION:
        if (parser->message_opcode == WS_CONTINUATION) {
            return fail(parser, WS_CLOSE_PROTOCOL, "A continuation frame continues nothing.", ret_incoming);
        }
        break;
    default:
        return fail(parser, WS_CLOSE_PROTOCOL, "The opcode is not known.", ret_incoming);
    }
    if (len > parser->message_size_max - parser->message.len) {
        return fail(parser, WS_CLOSE_TOO_BIG, "The message is larger than the limit.", ret_incoming);
    }
    return WS_EVENT_NONE;
}

/* XORs with the mask, which goes on where the last piece of this frame ended; eight bytes at a time. */
static void unmask(struct ws_parser *parser, char *bytes, size_t len)
{
    if (!parser->wants_mask || len == 0) {
        return;
    }
    uint8_t turned[8];
    for (size_t i = 0; i < sizeof(turned); i++) {
        turned[i] = parser->mask[(parser->mask_at + i) & 3];
    }
    uint64_t mask;
    memcpy(&mask, turned, sizeof(mask));
    size_t at = 0;
    for (; at + sizeof(mask) <= len; at += sizeof(mask)) {
        uint64_t word;
        memcpy(&word, bytes + at, sizeof(word));
        word ^= mask;
        memcpy(bytes + at, &word, sizeof(word));
    }
    for (; at < len; at++) {
        bytes[at] = (char)((uint8_t)bytes[at] ^ turned[at & 7]);
    }
    parser->mask_at = (uint8_t)((parser->mask_at + len) & 3);
}

static enum ws_event end_message(struct ws_parser *parser, struct slice payload, struct ws_incoming *ret_incoming)
{
    bool is_text = parser->message_opcode == WS_TEXT;
    parser->message_opcode = WS_CONTINUATION;
    if (is_text && !utf8_is_valid(payload)) {
        return fail(parser, WS_CLOSE_BAD_DATA, "The text is not valid UTF-8.", ret_incoming);
    }
    *ret_incoming = (struct ws_incoming){.payload = payload, .is_text = is_text};
    return WS_EVENT_MESSAGE;
}

static enum ws_event end_control(struct ws_parser *parser, struct ws_incoming *ret_incoming)
{
    struct slice payload = slice_of(parser->control, parser->control_len);
    *ret_incoming = (struct ws_incoming){.payload = payload};
    if (parser->opcode != WS_CLOSE) {
        return parser->opcode == WS_PING ? WS_EVENT_PING : WS_EVENT_PONG;
    }
    if (payload.len == 0) {
        ret_incoming->code = WS_CLOSE_NONE;
        return WS_EVENT_CLOSE;
    }
    if (payload.len == 1) {
        return fail(parser, WS_CLOSE_PROTOCOL, "A close frame has half a code.", ret_incoming);
    }
    uint16_t code = (uint16_t)read_be((const uint8_t *)payload.data, 2);
    struct slice reason = slice_of(payload.data + 2, payload.len - 2);
    if (!ws_close_code_is_valid(code)) {
        return fail(parser, WS_CLOSE_PROTOCOL, "A close frame has a code that may not be sent.", ret_incoming);
    }
    if (!utf8_is_valid(reason)) {
        return fail(parser, WS_CLOSE_BAD_DATA, "The reason of a close frame is not valid UTF-8.", ret_incoming);
    }
    *ret_incoming = (struct ws_incoming){.payload = reason, .code = code};
    return WS_EVENT_CLOSE;
}

/* Takes what there is of the payload; an event when the frame's end completes something. */
static enum ws_event read_payload(struct ws_parser *parser, char *bytes, size_t len, size_t *ret_taken,
                                  struct ws_incoming *ret_incoming)
{
    size_t piece_len = len < parser->payload_left ? len : (size_t)parser->payload_left;
    bool is_control = parser->opcode >= WS_CLOSE;
    bool is_first = is_control || parser->message.len == 0;
    bool is_whole = parser->payload_left == piece_len;
    unmask(parser, bytes, piece_len);
    parser->payload_left -= piece_len;
    *ret_taken = piece_len;
    if (is_control) {
        if (piece_len > 0) {
            memcpy(parser->control + parser->control_len, bytes, piece_len);
            parser->control_len = (uint8_t)(parser->control_len + piece_len);
        }
        if (parser->payload_left > 0) {
            return WS_EVENT_NONE;
        }
        parser->has_header = false;
        return end_control(parser, ret_incoming);
    }
    if (is_whole && is_first && parser->is_final) {
        parser->has_header = false;
        return end_message(parser, slice_of(bytes, piece_len), ret_incoming);
    }
    buf_append(&parser->message, bytes, piece_len);
    if (parser->payload_left > 0) {
        /* A long frame's room is taken at once, once its bytes really come. */
        if (is_first && parser->payload_left < 8 * (uint64_t)len) {
            (void)buf_reserve(&parser->message, (size_t)parser->payload_left + WS_PADDING_SIZE);
        }
    }
    if (parser->message.failed) {
        return fail(parser, WS_CLOSE_INTERNAL, "There is no memory for the message.", ret_incoming);
    }
    if (parser->payload_left > 0) {
        return WS_EVENT_NONE;
    }
    parser->has_header = false;
    if (!parser->is_final) {
        return WS_EVENT_NONE;
    }
    if (buf_reserve(&parser->message, WS_PADDING_SIZE) != STATUS_OK) {
        return fail(parser, WS_CLOSE_INTERNAL, "There is no memory for the message.", ret_incoming);
    }
    return end_message(parser, buf_slice(&parser->message), ret_incoming);
}

enum ws_event ws_parse(struct ws_parser *parser, char *bytes, size_t len, size_t *ret_used,
                       struct ws_incoming *ret_incoming)
{
    size_t at = 0;
    enum ws_event event = WS_EVENT_NONE;
    *ret_used = 0;
    if (parser->error != 0) {
        return fail(parser, parser->error, parser->detail, ret_incoming);
    }
    if (parser->message_opcode == WS_CONTINUATION && parser->message.cap > 0) {
        /* The last message has been seen by now. */
        buf_reset(&parser->message);
        if (parser->message.cap > 65536) {
            buf_free(&parser->message);
        }
    }
    while (event == WS_EVENT_NONE && (at < len || (parser->has_header && parser->payload_left == 0))) {
        if (parser->has_header) {
            size_t taken;
            event = read_payload(parser, bytes + at, len - at, &taken, ret_incoming);
            at += taken;
            continue;
        }
        parser->header[parser->header_len++] = (uint8_t)bytes[at++];
        if (parser->header_len >= 2 && parser->header_len == header_size(parser)) {
            event = begin_frame(parser, ret_incoming);
        }
    }
    *ret_used = at;
    return event;
}

static void write_header(struct buf *out, enum ws_opcode opcode, size_t len, const uint8_t *mask)
{
    uint8_t header[WS_HEADER_SIZE_MAX];
    size_t header_len = 2;
    header[0] = (uint8_t)(0x80 | opcode);
    if (len < 126) {
        header[1] = (uint8_t)len;
    } else {
        size_t count = len <= UINT16_MAX ? 2 : 8;
        header[1] = count == 2 ? 126 : 127;
        for (size_t i = 0; i < count; i++) {
            header[2 + i] = (uint8_t)((uint64_t)len >> (8 * (count - 1 - i)));
        }
        header_len += count;
    }
    if (mask != NULL) {
        header[1] |= 0x80;
        memcpy(header + header_len, mask, 4);
        header_len += 4;
    }
    buf_append(out, header, header_len);
}

void ws_write_frame(struct buf *out, enum ws_opcode opcode, struct slice payload, const uint8_t *mask)
{
    if (buf_reserve(out, WS_HEADER_SIZE_MAX + payload.len) != STATUS_OK) {
        return;
    }
    write_header(out, opcode, payload.len, mask);
    buf_append_slice(out, payload);
    if (mask != NULL) {
        struct ws_parser masker = {.wants_mask = true};
        memcpy(masker.mask, mask, sizeof(masker.mask));
        unmask(&masker, out->data + out->len - payload.len, payload.len);
    }
}

void ws_write_close(struct buf *out, uint16_t code, const char *reason, const uint8_t *mask)
{
    char payload[WS_CONTROL_SIZE_MAX];
    size_t len = 0;
    if (code != WS_CLOSE_NONE) {
        payload[0] = (char)(code >> 8);
        payload[1] = (char)code;
        struct slice text = slice_str(reason);
        len = text.len < sizeof(payload) - 2 ? text.len : sizeof(payload) - 2;
        /* Not into the middle of a character. */
        while (len > 0 && len < text.len && ((uint8_t)text.data[len] & 0xc0) == 0x80) {
            len--;
        }
        if (len > 0) {
            memcpy(payload + 2, text.data, len);
        }
        len += 2;
    }
    ws_write_frame(out, WS_CLOSE, slice_of(payload, len), mask);
}

bool ws_close_code_is_valid(uint16_t code)
{
    return (code >= 1000 && code <= 1014 && code != 1004 && code != 1005 && code != 1006) ||
           (code >= 3000 && code <= 4999);
}

bool ws_key_is_valid(struct slice key)
{
    /* 22 digits hold 132 bits, 128 of them meant; the padding is two signs. */
    if (key.len != 24 || key.data[22] != '=' || key.data[23] != '=') {
        return false;
    }
    for (size_t i = 0; i < 22; i++) {
        char c = key.data[i];
        bool is_digit =
            (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' || c == '/';
        if (!is_digit) {
            return false;
        }
    }
    return true;
}

void ws_key_format(const uint8_t bytes[16], char ret[WS_KEY_TEXT_SIZE])
{
    EVP_EncodeBlock((unsigned char *)ret, bytes, 16);
}

void ws_accept_of(struct slice key, char ret[WS_ACCEPT_TEXT_SIZE])
{
    unsigned char text[24 + sizeof(ACCEPT_GUID) - 1];
    unsigned char digest[SHA_DIGEST_LENGTH];
    ensure(key.len == 24);
    memcpy(text, key.data, 24);
    memcpy(text + 24, ACCEPT_GUID, sizeof(ACCEPT_GUID) - 1);
    SHA1(text, sizeof(text), digest);
    EVP_EncodeBlock((unsigned char *)ret, digest, sizeof(digest));
}
