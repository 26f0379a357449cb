/* fuzz_http1.c - HTTP/1 heads and bodies, as a server and as a client reads them.
 *
 *   u8 flags (1: a response; 2: every event asks for a pause) | u8 seed of the split points | the stream
 *
 * However the network cuts the stream, the same messages come out and the same end; the pieces of a body may differ, not
 * what they are together. Each piece lies in memory of its own length. Where a part of a head is both too much and wrong,
 * either may be said: a limit is noticed with the piece that exceeds it, a wrong byte before its part is handed on. */
#include "base/rng.h"
#include "proto/http1.h"
#include "test/fuzz/fuzz.h"

struct session {
    struct http1_head head;
    struct buf trace; /* what happened, without where pieces began */
    bool is_in_body;
    bool wants_pauses;
    bool has_head;
    unsigned messages;
    enum status end;
};

static enum http1_next next_of(const struct session *session)
{
    return session->wants_pauses ? HTTP1_PAUSE : HTTP1_GO_ON;
}

static struct http1_head *on_begin(void *ctx)
{
    struct session *session = ctx;
    ensure(!session->has_head && !session->is_in_body);
    http1_head_reset(&session->head);
    return &session->head;
}

static enum http1_next on_head(void *ctx)
{
    struct session *session = ctx;
    struct http1_head *head = &session->head;
    struct slice target = http1_target(head);
    session->has_head = true;
    ensure(head->target_len <= head->text.len && head->field_count <= LIMIT_HTTP_HEADER_COUNT && head->minor <= 1);
    ensure(!head->is_chunked || (head->has_body && head->content_length == UINT64_MAX));
    ensure(!head->wants_websocket || !head->has_body);
    ensure(memchr(target.data != NULL ? target.data : "", '\0', target.len) == NULL);
    buf_printf(&session->trace, "%d %d %d %d%d%d%d%d %llu %.*s\n", head->method, head->status_code, head->minor,
               head->has_body, head->is_chunked, head->keeps_alive, head->expects_continue, head->wants_websocket,
               (unsigned long long)head->content_length, SLICE_ARG(target));
    for (uint32_t i = 0; i < head->field_count; i++) {
        const struct http1_field *field = &head->fields[i];
        ensure((size_t)field->name_at + field->name_len <= head->text.len && field->name_len > 0);
        ensure((size_t)field->value_at + field->value_len <= head->text.len);
        struct slice value = slice_of(head->text.data + field->value_at, field->value_len);
        for (size_t at = 0; at < value.len; at++) { /* nothing that would end a line or a string further on */
            ensure(value.data[at] != '\r' && value.data[at] != '\n' && value.data[at] != '\0');
        }
        ensure(value.len == 0 || (value.data[0] != ' ' && value.data[0] != '\t'));
        buf_append(&session->trace, head->text.data + field->name_at, field->name_len);
        buf_append_char(&session->trace, ':');
        buf_append_slice(&session->trace, value);
        buf_append_char(&session->trace, '\n');
    }
    ensure(http1_header(head, "host").len <= head->text.len);
    return next_of(session);
}

static enum http1_next on_body(void *ctx, struct slice piece)
{
    struct session *session = ctx;
    ensure(session->has_head && piece.len > 0);
    session->is_in_body = true;
    buf_append_slice(&session->trace, piece);
    return next_of(session);
}

static enum http1_next on_complete(void *ctx)
{
    struct session *session = ctx;
    ensure(session->has_head);
    session->has_head = session->is_in_body = false;
    session->messages++;
    buf_append_str(&session->trace, "\nend\n");
    return next_of(session);
}

/* Pieces of up to `piece_max` bytes, or the whole at once. */
static void run(struct session *session, bool is_response, struct slice stream, struct rng *rng, size_t piece_max)
{
    static const struct http1_events events = {on_begin, on_head, on_body, on_complete};
    struct http1_parser parser;
    enum status status = STATUS_OK;
    http1_head_init(&session->head);
    buf_init(&session->trace, 1u << 22);
    http1_parser_init(&parser, is_response, &events, session);
    for (size_t at = 0; at < stream.len && (status == STATUS_OK || status == STATUS_AGAIN);) {
        size_t len = rng != NULL ? 1 + rng_below(rng, piece_max) : stream.len;
        len = len < stream.len - at ? len : stream.len - at;
        char *piece = fuzz_copy(slice_of(stream.data + at, len));
        size_t used = 0;
        status = http1_parse(&parser, slice_of(piece, len), &used);
        ensure(used <= len);
        ensure(status != STATUS_OK || used == len);
        while (status == STATUS_AGAIN) { /* the rest, even when it is empty */
            http1_parser_resume(&parser);
            size_t more = 0;
            status = http1_parse(&parser, slice_of(piece + used, len - used), &more);
            used += more;
            ensure(used <= len);
        }
        free(piece);
        at += used;
    }
    ensure(buf_status(&session->trace) == STATUS_OK);
    if (status == STATUS_OK) {
        ensure(http1_parser_is_inside(&parser) || !session->has_head);
    } else { /* the end is the end */
        size_t used;
        ensure(parser.detail != NULL && parser.detail[0] != '\0');
        ensure(http1_parse(&parser, SLICE("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), &used) == status);
    }
    buf_printf(&session->trace, "%d", status == STATUS_OK && http1_parser_is_inside(&parser));
    session->end = status;
    http1_head_free(&session->head);
}

static bool is_same_end(enum status whole, enum status split)
{
    bool is_limit = split == STATUS_HEADERS_TOO_LARGE || split == STATUS_URI_TOO_LONG;
    return whole == split || (is_limit && whole == STATUS_BAD_HTTP);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) {
        return 0;
    }
    struct session whole = {0};
    struct slice stream = slice_of(data + 2, size - 2);
    bool is_response = (data[0] & 1) != 0;
    run(&whole, is_response, stream, NULL, 0);
    for (unsigned i = 0; i < 3; i++) { /* bytes, small pieces, larger ones */
        struct session split = {.wants_pauses = (data[0] & 2) != 0};
        struct rng rng;
        rng_seed(&rng, data[1]);
        run(&split, is_response, stream, &rng, i == 0 ? 1 : i == 1 ? 7 : 61);
        ensure(split.messages == whole.messages && fuzz_equal(&split.trace, &whole.trace));
        ensure(is_same_end(whole.end, split.end));
        buf_free(&split.trace);
    }
    buf_free(&whole.trace);
    return 0;
}
