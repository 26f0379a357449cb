/* ws_frame.h - WebSocket frames (RFC 6455, version 13, no extensions): bytes to messages and back, and the key of the
 * handshake. Both roles. Pure: no socket, no clock, no random (masks are handed in). One thread at a time. */
#ifndef SHOAL_PROTO_WS_FRAME_H
#define SHOAL_PROTO_WS_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"
#include "base/status.h"

#define WS_CONTROL_SIZE_MAX 125u
#define WS_HEADER_SIZE_MAX 14u
#define WS_PADDING_SIZE 64u /* readable bytes behind each message */

enum ws_opcode { WS_CONTINUATION = 0, WS_TEXT = 1, WS_BINARY = 2, WS_CLOSE = 8, WS_PING = 9, WS_PONG = 10 };

enum ws_close_code {
    WS_CLOSE_NORMAL = 1000,
    WS_CLOSE_GOING_AWAY = 1001,
    WS_CLOSE_PROTOCOL = 1002,
    WS_CLOSE_UNSUPPORTED = 1003,
    WS_CLOSE_NONE = 1005,     /* never sent: there was no code */
    WS_CLOSE_ABNORMAL = 1006, /* never sent: there was no close frame */
    WS_CLOSE_BAD_DATA = 1007,
    WS_CLOSE_TOO_BIG = 1009,
    WS_CLOSE_INTERNAL = 1011,
    WS_CLOSE_TRY_AGAIN = 1013
};

struct ws_parser {
    uint64_t payload_left; /* of the frame being read */
    struct buf message;    /* the fragments so far */
    size_t message_size_max;
    uint8_t header[WS_HEADER_SIZE_MAX];
    uint8_t header_len;
    bool has_header; /* the frame's header is complete, its payload is being read */
    bool wants_mask; /* frames from a client are masked, from a server they are not */
    bool is_final;
    uint8_t opcode;
    uint8_t message_opcode; /* WS_CONTINUATION: no message is open */
    uint8_t mask[4];
    uint8_t mask_at;
    uint8_t control_len;
    char control[WS_CONTROL_SIZE_MAX];
    uint16_t error; /* close code, 0 while all is well */
    const char *detail;
};

/* `from_client`: the bytes come from a client, so they must be masked. */
void ws_parser_init(struct ws_parser *parser, bool from_client, size_t message_size_max);
void ws_parser_free(struct ws_parser *parser);

enum ws_event {
    WS_EVENT_NONE,    /* all bytes are used, more are needed */
    WS_EVENT_MESSAGE, /* payload is a whole message, valid until the next call; text is valid UTF-8 */
    WS_EVENT_PING,    /* payload wants to come back in a pong */
    WS_EVENT_PONG,
    WS_EVENT_CLOSE, /* code (1005 when there was none) and reason */
    WS_EVENT_ERROR  /* close with `code`; the same comes back ever after */
};
struct ws_incoming {
    struct slice payload;
    uint16_t code;
    bool is_text;
};
/* Reads on in bytes[0..len), which it unmasks in place; *ret_used of them are done with. Call again with the rest until
 * WS_EVENT_NONE. A message that lies whole inside `bytes` is not copied, so WS_PADDING_SIZE bytes behind the end of
 * `bytes` must be readable. */
enum ws_event ws_parse(struct ws_parser *parser, char *bytes, size_t len, size_t *ret_used,
                       struct ws_incoming *ret_incoming);

/* Appends a whole final frame. `mask` (4 bytes) when the sender is a client, else NULL. */
void ws_write_frame(struct buf *out, enum ws_opcode opcode, struct slice payload, const uint8_t *mask);
/* Appends a close frame; no code for WS_CLOSE_NONE. The reason is cut to what fits. */
void ws_write_close(struct buf *out, uint16_t code, const char *reason, const uint8_t *mask);
/* Whether a peer may send this close code (RFC 6455 7.4). */
bool ws_close_code_is_valid(uint16_t code);

/* Sec-WebSocket-Key is 16 bytes in base64; Sec-WebSocket-Accept answers it. */
#define WS_KEY_TEXT_SIZE 25
#define WS_ACCEPT_TEXT_SIZE 29
bool ws_key_is_valid(struct slice key);
void ws_key_format(const uint8_t bytes[16], char ret[WS_KEY_TEXT_SIZE]);
void ws_accept_of(struct slice key, char ret[WS_ACCEPT_TEXT_SIZE]);

#endif
