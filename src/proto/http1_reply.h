/* http1_reply.h - the answers of one connection, one after another, as a client of HTTP/1.1 has to read them.
 *
 * Where an answer ends is decided by RFC 9112 section 6.3, rule by rule:
 *   1. nothing follows the head of an answer to HEAD, of 204 and of 304, whatever their fields say
 *   -  1xx other than 101 is an interim answer, as many as there may be: none of them is the answer
 *   -  101 was not asked for: nonsense (who asks for an upgrade uses http1.h itself)
 *   3. Transfer-Encoding beside Content-Length: nonsense, as is Transfer-Encoding in HTTP/1.0
 *   4. chunked is read to its last chunk and trailers. Any other coding was not offered by a client that sends no TE:
 *      nonsense, since its content could not be given to anybody
 *   5. a Content-Length that is no number, or that comes twice or as a list: nonsense (RFC 9110 8.6 lets a reader choose)
 *   6. a Content-Length is read to its last byte; an end before it means that the answer was cut off
 *   8. with neither, the answer ends with the connection
 * Bytes behind an answer, which no request has asked for, are never taken for the next one: the connection is of no
 * further use.
 *
 * A server repeats itself: until its Date changes, the head of an answer is the very bytes of the one before. A memo
 * remembers the last head that was parsed together with what it meant, and an answer that begins with those bytes is
 * understood by one memcmp. Same bytes, same meaning; whatever differs goes through the parser from its first byte. The
 * memo may be shared by all connections to one place.
 *
 * Pure: no socket, no clock. One thread at a time. */
#ifndef SHOAL_PROTO_HTTP1_REPLY_H
#define SHOAL_PROTO_HTTP1_REPLY_H

#include "proto/http1.h"

#define HTTP1_MEMO_SIZE 2048u   /* a longer head is not remembered */
#define HTTP1_REPLY_PADDING 64u /* readable behind a body, as parsers of JSON want it */

struct http1_memo {
    char head[HTTP1_MEMO_SIZE];
    size_t len; /* 0: none */
    int status_code;
    bool keeps_alive;
    uint64_t content_length;
};

enum http1_reply_state {
    HTTP1_REPLY_MORE, /* more bytes are needed */
    HTTP1_REPLY_DONE, /* complete: status_code, body, keeps_alive, has_extra are set */
    HTTP1_REPLY_NONSENSE,
    HTTP1_REPLY_TOO_LARGE, /* its head, or a body that was wanted */
};

struct http1_reply {
    int status_code;   /* of the answer itself, from its head on; 0 before */
    bool keeps_alive;  /* the connection may carry another request */
    bool has_extra;    /* bytes came behind the answer; keeps_alive is false then */
    bool knew_head;    /* the memo was enough */
    struct slice body; /* what was wanted of it, with HTTP1_REPLY_PADDING readable behind; valid until the next call */
    /* inside */
    struct http1_memo *memo; /* may be NULL */
    bool is_head;            /* it answers a HEAD */
    bool has_begun;          /* bytes of it have been seen */
    bool has_head;
    bool had_interim;
    bool until_end;   /* its body has no length but ends with the connection */
    bool is_complete; /* set by the parser's events */
    bool is_too_large, is_nonsense;
    bool counts_body; /* the head was remembered, body_left bytes are to come */
    uint64_t body_left;
    size_t body_max;
    struct buf collected; /* the body, when it came in pieces */
    struct http1_parser parser;
    struct http1_head head;
};

void http1_reply_init(struct http1_reply *reply, struct http1_memo *memo);
void http1_reply_free(struct http1_reply *reply);
/* A connection is new: nothing is left of the one before. Before its first http1_reply_begin. */
void http1_reply_connected(struct http1_reply *reply);
/* An answer is due. The body is collected up to body_max bytes; 0: it is only read. */
void http1_reply_begin(struct http1_reply *reply, bool is_head, size_t body_max);
/* Bytes of the answer that is due, with HTTP1_REPLY_PADDING readable behind them. After anything but MORE the next call is
 * http1_reply_begin, or http1_reply_connected when the connection is of no use any more. */
enum http1_reply_state http1_reply_feed(struct http1_reply *reply, struct slice bytes);
/* The stream ended in order before http1_reply_feed said DONE. True: that is how this answer ends, it is complete. */
bool http1_reply_end(struct http1_reply *reply);

#endif
