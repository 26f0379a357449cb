/* http1_reply.c - from bytes to whole answers. The rules are in the header; http1.c refuses what rules 3 to 5 refuse.
 *
 * Invariants: (R1) the parser stands between two messages whenever a remembered head may be used; (R2) a remembered head
 * is a final one that began and ended in one piece, whose body has a length, and none of its lines ends otherwise than by
 * CR LF, so that its end is where any parser sees it. */
#include "proto/http1_reply.h"

#include "base/ensure.h"

static struct http1_head *on_begin(void *ctx)
{
    struct http1_reply *reply = ctx;
    http1_head_reset(&reply->head);
    return &reply->head;
}

static enum http1_next on_head(void *ctx)
{
    struct http1_reply *reply = ctx;
    const struct http1_head *head = &reply->head;
    if (head->status_code < 100 || head->status_code == 101) {
        reply->is_nonsense = true;
        return HTTP1_PAUSE;
    }
    if (head->status_code < 200) {
        reply->had_interim = true;
        return HTTP1_GO_ON;
    }
    reply->status_code = head->status_code;
    reply->has_head = true;
    /* A 204 that speaks of a body is against RFC 9110 15.3.5, and its server may well send one. */
    reply->keeps_alive = head->keeps_alive && !(head->status_code == 204 && head->denies_body);
    if (reply->is_head) {
        return HTTP1_NO_BODY;
    }
    reply->until_end = head->ends_with_stream;
    return HTTP1_GO_ON;
}

static bool collect(struct http1_reply *reply, struct slice piece)
{
    if (reply->body_max == 0) {
        return true;
    }
    if (piece.len > reply->body_max - reply->collected.len) {
        return false;
    }
    buf_append_slice(&reply->collected, piece);
    return buf_status(&reply->collected) == STATUS_OK;
}

static enum http1_next on_body(void *ctx, struct slice piece)
{
    struct http1_reply *reply = ctx;
    if (!collect(reply, piece)) {
        reply->is_too_large = true;
        return HTTP1_PAUSE;
    }
    return HTTP1_GO_ON;
}

static enum http1_next on_complete(void *ctx)
{
    struct http1_reply *reply = ctx;
    if (!reply->has_head) {
        return HTTP1_GO_ON; /* an interim answer; the real one follows */
    }
    reply->is_complete = true;
    return HTTP1_PAUSE;
}

static const struct http1_events parser_events = {on_begin, on_head, on_body, on_complete};

void http1_reply_init(struct http1_reply *reply, struct http1_memo *memo)
{
    *reply = (struct http1_reply){.memo = memo};
    buf_init(&reply->collected, SIZE_MAX / 2);
    http1_head_init(&reply->head);
    http1_reply_connected(reply);
}

void http1_reply_free(struct http1_reply *reply)
{
    buf_free(&reply->collected);
    http1_head_free(&reply->head);
}

void http1_reply_connected(struct http1_reply *reply)
{
    http1_parser_init(&reply->parser, true, &parser_events, reply);
}

void http1_reply_begin(struct http1_reply *reply, bool is_head, size_t body_max)
{
    reply->status_code = 0;
    reply->keeps_alive = reply->has_extra = reply->knew_head = false;
    reply->body = (struct slice){NULL, 0};
    reply->is_head = is_head;
    reply->has_begun = reply->has_head = reply->had_interim = reply->until_end = reply->is_complete = false;
    reply->is_too_large = reply->is_nonsense = reply->counts_body = false;
    reply->body_left = 0;
    reply->body_max = body_max;
    buf_reset(&reply->collected);
}

/* Complete; `extra` bytes came behind. */
static enum http1_reply_state done(struct http1_reply *reply, size_t extra)
{
    if (extra > 0) {
        reply->has_extra = true;
        reply->keeps_alive = false;
    }
    if (reply->collected.len > 0) {
        if (buf_reserve(&reply->collected, HTTP1_REPLY_PADDING) != STATUS_OK) {
            return HTTP1_REPLY_TOO_LARGE;
        }
        memset(reply->collected.data + reply->collected.len, 0, HTTP1_REPLY_PADDING);
        reply->body = buf_slice(&reply->collected);
    }
    return HTTP1_REPLY_DONE;
}

/* The length of the head that `bytes` begin with; 0 when it may not be remembered (R2). */
static size_t plain_head_size(struct slice bytes)
{
    const char *end = memmem(bytes.data, bytes.len, "\r\n\r\n", 4);
    size_t len = end != NULL ? (size_t)(end - bytes.data) + 4 : 0;
    if (len == 0 || len > HTTP1_MEMO_SIZE || memcmp(bytes.data, "HTTP/", 5) != 0) {
        return 0;
    }
    for (const char *at = bytes.data; (at = memchr(at, '\n', len - (size_t)(at - bytes.data))) != NULL; at++) {
        if (at[-1] != '\r') { /* not the first byte, that is an H */
            return 0;
        }
        if (at + 1 == bytes.data + len) {
            break;
        }
    }
    return len;
}

static void remember(struct http1_reply *reply, struct slice bytes)
{
    const struct http1_head *head = &reply->head;
    struct http1_memo *memo = reply->memo;
    if (memo == NULL || reply->is_head || reply->had_interim || head->is_chunked || head->denies_body ||
        reply->until_end || head->status_code == 204 || head->status_code == 304) {
        return;
    }
    size_t len = plain_head_size(bytes);
    if (len == 0) {
        return;
    }
    memcpy(memo->head, bytes.data, len);
    memo->len = len;
    memo->status_code = head->status_code;
    memo->keeps_alive = head->keeps_alive;
    memo->content_length = head->content_length;
}

static enum http1_reply_state parse(struct http1_reply *reply, struct slice bytes, bool is_first)
{
    size_t used;
    enum status status = http1_parse(&reply->parser, bytes, &used);
    if (reply->is_nonsense) {
        return HTTP1_REPLY_NONSENSE;
    }
    if (reply->is_too_large || status == STATUS_HEADERS_TOO_LARGE) {
        return HTTP1_REPLY_TOO_LARGE;
    }
    if (status != STATUS_OK && status != STATUS_AGAIN && !reply->is_complete) {
        return HTTP1_REPLY_NONSENSE;
    }
    if (is_first && reply->has_head) {
        remember(reply, bytes);
    }
    if (!reply->is_complete) {
        return status == STATUS_AGAIN ? HTTP1_REPLY_NONSENSE : HTTP1_REPLY_MORE;
    }
    http1_parser_resume(&reply->parser);
    return done(reply, bytes.len - used);
}

static enum http1_reply_state take_counted(struct http1_reply *reply, struct slice piece)
{
    size_t extra = 0;
    if (piece.len > reply->body_left) {
        extra = piece.len - reply->body_left;
        piece.len = reply->body_left;
    }
    reply->body_left -= piece.len;
    if (!collect(reply, piece)) {
        return HTTP1_REPLY_TOO_LARGE;
    }
    return reply->body_left == 0 ? done(reply, extra) : HTTP1_REPLY_MORE;
}

static bool is_known(const struct http1_reply *reply, struct slice bytes)
{
    const struct http1_memo *memo = reply->memo;
    return memo != NULL && memo->len > 0 && !reply->is_head && bytes.len >= memo->len &&
           memcmp(bytes.data, memo->head, memo->len) == 0;
}

enum http1_reply_state http1_reply_feed(struct http1_reply *reply, struct slice bytes)
{
    if (reply->counts_body) {
        return take_counted(reply, bytes);
    }
    bool is_first = !reply->has_begun;
    reply->has_begun = true;
    if (!is_first || !is_known(reply, bytes)) {
        return parse(reply, bytes, is_first);
    }
    const struct http1_memo *memo = reply->memo;
    reply->knew_head = true;
    reply->status_code = memo->status_code;
    reply->keeps_alive = memo->keeps_alive;
    struct slice body = slice_of(bytes.data + memo->len, bytes.len - memo->len);
    if (body.len == memo->content_length && (body.len <= reply->body_max || reply->body_max == 0)) {
        reply->body = body; /* whole, where it lies */
        return HTTP1_REPLY_DONE;
    }
    reply->counts_body = true;
    reply->body_left = memo->content_length;
    return take_counted(reply, body);
}

bool http1_reply_end(struct http1_reply *reply)
{
    if (!reply->until_end || !reply->has_head) {
        return false;
    }
    reply->keeps_alive = false;
    return done(reply, 0) == HTTP1_REPLY_DONE;
}
