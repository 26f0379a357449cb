/* http1.h - HTTP/1.x bytes to events, through llhttp in its strict mode.
 *
 * Pure: no socket, no clock. The parser copies each head into a struct http1_head of the caller, because reads may split
 * it anywhere and because it outlives the read buffer; bodies are handed on where they lie. What llhttp lets through
 * and RFC 9112 does not (folded fields, two Host lines, a malformed Host, two blanks in the request line, …) is refused
 * here, and what it refuses though it is legal (a tab behind a length, several chunk extensions, HTTP/1.2) is read. One
 * thread at a time. */
#ifndef SHOAL_PROTO_HTTP1_H
#define SHOAL_PROTO_HTTP1_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/limits.h"
#include "base/slice.h"
#include "base/status.h"

enum http1_method {
    HTTP1_GET,
    HTTP1_HEAD,
    HTTP1_POST,
    HTTP1_PUT,
    HTTP1_PATCH,
    HTTP1_DELETE,
    HTTP1_OPTIONS,
    HTTP1_OTHER
};

/* Offsets into the head's text: 16 bits suffice, target and fields together are at most 40 KiB. */
struct http1_field {
    uint16_t name_at, name_len;
    uint16_t value_at, value_len;
};

struct http1_head {
    struct buf text; /* target, then names and values one after the other */
    size_t target_len;
    uint32_t field_count;
    enum http1_method method; /* of a request */
    int status_code;          /* of a response */
    uint8_t minor;            /* HTTP/1.<minor>; 1 for what is later, which is read like it (RFC 9110 2.5) */
    bool has_body;            /* a body follows, as far as the head tells: who asked by HEAD knows better */
    bool is_chunked;          /* it comes in chunks */
    bool denies_body;         /* a response whose fields speak of a body that its status rules out: 1xx, 204, 304 */
    bool ends_with_stream;    /* a response whose body has no length: it ends with the connection */
    bool keeps_alive;         /* what the sender allows */
    bool expects_continue;
    bool wants_websocket;    /* Connection: upgrade and Upgrade: websocket, without a body, in HTTP/1.1 */
    uint64_t content_length; /* UINT64_MAX when chunked, 0 without a body */
    struct http1_field fields[LIMIT_HTTP_HEADER_COUNT];
};

void http1_head_init(struct http1_head *head);
/* Empties it, keeping a small amount of memory for the next one. */
void http1_head_reset(struct http1_head *head);
void http1_head_free(struct http1_head *head);
struct slice http1_target(const struct http1_head *head);
/* The first field with this name (any case is found; `name` in lower case); empty when missing. */
struct slice http1_header(const struct http1_head *head, const char *name);
/* The same for a field that may stand there once: *ret has NULL data when it is missing; false when it is there again. */
bool http1_header_once(const struct http1_head *head, const char *name, struct slice *ret);
/* Whether a comma-separated list (Connection, Upgrade, …) contains the token, in any case. */
bool http1_list_has(struct slice list, const char *token);

enum http1_next {
    HTTP1_GO_ON,
    HTTP1_PAUSE,
    HTTP1_NO_BODY /* from on_head of a response: it answers a HEAD, so no body follows whatever its fields say */
};

struct http1_events {
    /* The first byte of a message: where its head goes (reset by the caller). NULL: no memory; parsing ends. */
    struct http1_head *(*on_begin)(void *ctx);
    /* The head is complete and sound. */
    enum http1_next (*on_head)(void *ctx);
    /* A piece of the body, chunking removed. */
    enum http1_next (*on_body)(void *ctx, struct slice piece);
    /* The message is complete; interim responses (1xx, not 101) are messages of their own. After one with !keeps_alive or wants_websocket nothing further is parsed until
     * http1_parser_resume. */
    enum http1_next (*on_complete)(void *ctx);
};

struct http1_parser {
    uint64_t llhttp[16]; /* a llhttp_t; its header clashes with others, so only http1.c sees it */
    const struct http1_events *events;
    void *ctx;
    struct http1_head *head; /* being filled; NULL from on_head on */
    size_t raw_size;         /* bytes of this head as sent, after those in which it began */
    size_t extension_size;   /* bytes of chunk extensions and trailers, which are dropped */
    enum status status;      /* why parsing ended */
    const char *detail;      /* one sentence to go with it */
    bool is_inside;          /* a message has begun and is not complete */
    bool begun_here;         /* it began in the bytes at hand */
    bool in_head;
    bool in_value;
    bool keeps_alive;      /* of the message at hand */
    bool gap_has_lf;       /* a line end was seen since the last part of a field */
    const char *gap_begin; /* end of the last part of a field or request line, or the start of the bytes being parsed */
    const char *bytes_end; /* of the bytes being parsed */
    char gap[8];           /* what stands behind the last part of a request line, its first bytes */
    uint8_t gap_len;
    uint8_t line_part;    /* of the request line, that was seen last */
    uint8_t own_pause;    /* why llhttp was paused, when no event asked for it */
    bool has_plain_value; /* a value whose tabs are read as the blanks that they are */
};

void http1_parser_init(struct http1_parser *parser, bool is_response, const struct http1_events *events, void *ctx);
/* Feeds bytes. OK: all were used. AGAIN: an event asked for a pause, or a message ended that needs one; *ret_used
 * bytes were used, the rest (even if it is empty) is for the call after http1_parser_resume. Else the stream cannot be read further: BAD_HTTP,
 * URI_TOO_LONG, HEADERS_TOO_LARGE, NOT_IMPLEMENTED, VERSION_NOT_SUPPORTED, NO_MEMORY; `detail` says why, and the same
 * comes back ever after. */
STATUS_MUST_CHECK enum status http1_parse(struct http1_parser *parser, struct slice bytes, size_t *ret_used);
/* After AGAIN. */
void http1_parser_resume(struct http1_parser *parser);
/* Whether bytes of a message have been seen that is not complete. */
bool http1_parser_is_inside(const struct http1_parser *parser);

#endif
