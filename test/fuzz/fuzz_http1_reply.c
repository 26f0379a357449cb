/* fuzz_http1_reply.c - the answers of a connection, as a client reads them.
 *
 *   u8 flags (1: the first request was a HEAD; 2: bodies are only counted; 4: the stream ends in order) | u8 seed of the
 *   split points | the stream
 *
 * However the network cuts the stream, the same answers come out. And a memo changes nothing: a reader that has one and
 * a reader without see the same answers in the same bytes, also in a second pass, when the memo has seen all their heads. */
#include "base/rng.h"
#include "proto/http1_reply.h"
#include "test/fuzz/fuzz.h"

#define BODY_MAX 4096u
#define ANSWERS_MAX 16u

/* What one connection brought: each answer asked for only once the one before is over, as a client does. Behind the last
 * one that was complete, bytes that nobody asked for are only told. */
struct answers {
    struct buf trace;
    unsigned count;
};

static void note(struct answers *answers, const struct http1_reply *reply, enum http1_reply_state state)
{
    bool is_done = state == HTTP1_REPLY_DONE;
    ensure(!is_done || reply->status_code >= 200);
    ensure(!reply->has_extra || !reply->keeps_alive);
    ensure(reply->body.len <= BODY_MAX);
    buf_printf(&answers->trace, "%d %d %d %.*s\n", state, is_done ? reply->status_code : 0,
               is_done && reply->keeps_alive, (int)(is_done ? reply->body.len : 0), reply->body.data);
    answers->count++;
}

/* One answer from the front of the stream; how many bytes it got. `piece_max` 0: the whole at once. */
static void run(struct answers *answers, struct http1_memo *memo, struct slice stream, const uint8_t flags,
                struct rng *rng, size_t piece_max)
{
    struct http1_reply reply;
    http1_reply_init(&reply, memo);
    http1_reply_begin(&reply, (flags & 1) != 0, (flags & 2) != 0 ? 0 : BODY_MAX);
    enum http1_reply_state state = HTTP1_REPLY_MORE;
    size_t at = 0;
    while (at < stream.len && state == HTTP1_REPLY_MORE) {
        size_t len = piece_max > 0 ? 1 + rng_below(rng, piece_max) : stream.len - at;
        len = len < stream.len - at ? len : stream.len - at;
        char *piece = fuzz_copy(slice_of(stream.data + at, len));
        state = http1_reply_feed(&reply, slice_of(piece, len));
        at += len;
        bool was_cut_behind = state == HTTP1_REPLY_DONE && at < stream.len;
        if (was_cut_behind) { /* the rest would be read before the next request */
            reply.has_extra = true;
            reply.keeps_alive = false;
        }
        if (state != HTTP1_REPLY_MORE) {
            note(answers, &reply, state);
        }
        free(piece);
    }
    if (state == HTTP1_REPLY_MORE) {
        bool is_whole = (flags & 4) != 0 && http1_reply_end(&reply);
        ensure(!is_whole || !reply.keeps_alive);
        note(answers, &reply, is_whole ? HTTP1_REPLY_DONE : HTTP1_REPLY_MORE);
    }
    http1_reply_free(&reply);
}

/* The same answer as often as it may be said over one connection: exactly what it is, so that the parser's state between
 * two answers is looked at as well. */
static void repeat(struct slice stream, struct http1_memo *memo, struct answers *answers, const uint8_t flags)
{
    struct http1_reply reply;
    http1_reply_init(&reply, memo);
    for (unsigned i = 0; i < ANSWERS_MAX; i++) {
        http1_reply_begin(&reply, (flags & 1) != 0, (flags & 2) != 0 ? 0 : BODY_MAX);
        char *copy = fuzz_copy(stream);
        enum http1_reply_state state = http1_reply_feed(&reply, slice_of(copy, stream.len));
        note(answers, &reply, state);
        free(copy);
        if (state != HTTP1_REPLY_DONE || !reply.keeps_alive) {
            break;
        }
    }
    http1_reply_free(&reply);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) {
        return 0;
    }
    struct slice stream = slice_of(data + 2, size - 2);
    struct answers plain = {0}, plain_repeated = {0};
    struct http1_memo memo = {0};
    buf_init(&plain.trace, 1u << 22);
    buf_init(&plain_repeated.trace, 1u << 22);
    run(&plain, NULL, stream, data[0], NULL, 0);
    repeat(stream, NULL, &plain_repeated, data[0]);
    for (unsigned i = 0; i < 8; i++) { /* whole, bytes, small pieces, larger ones; the memo empty, then not */
        static const size_t pieces[] = {0, 1, 7, 61};
        struct answers other = {0};
        struct rng rng;
        rng_seed(&rng, data[1]);
        buf_init(&other.trace, 1u << 22);
        run(&other, &memo, stream, data[0], &rng, pieces[i % 4]);
        ensure(fuzz_equal(&other.trace, &plain.trace));
        buf_free(&other.trace);
    }
    struct answers repeated = {0};
    buf_init(&repeated.trace, 1u << 22);
    repeat(stream, &memo, &repeated, data[0]);
    ensure(fuzz_equal(&repeated.trace, &plain_repeated.trace));
    ensure(buf_status(&plain.trace) == STATUS_OK && buf_status(&repeated.trace) == STATUS_OK);
    buf_free(&repeated.trace);
    buf_free(&plain_repeated.trace);
    buf_free(&plain.trace);
    return 0;
}
