/* peer_redis.c - Redis as a queue, in the two ways that its documentation shows.
 *
 * redis-list: the "reliable queue" pattern of LMOVE: LPUSH puts a task in, BLMOVE moves it to a list of this consumer, LREM takes
 * it off there. A batch is one LPUSH of many values, and a pipeline of the others.
 * redis-stream: XADD, XREADGROUP of a consumer group, XACK; and XDEL, since a stream keeps what is acknowledged.
 *
 * Replies come in the order of the commands: first those to the commands that complete, then those to the ones that take. */
#include <stdlib.h>
#include <string.h>

#include "peer.h"

static void head(struct buf *out, unsigned words)
{
    buf_append_char(out, '*');
    buf_append_u64_dec(out, words);
    buf_append_str(out, "\r\n");
}

static void word(struct buf *out, struct slice text)
{
    buf_append_char(out, '$');
    buf_append_u64_dec(out, text.len);
    buf_append_str(out, "\r\n");
    buf_append_slice(out, text);
    buf_append_str(out, "\r\n");
}

static void word_number(struct buf *out, const char *prefix, uint64_t number)
{
    struct buf text = {.max = 64};
    buf_append_str(&text, prefix);
    buf_append_u64_dec(&text, number);
    word(out, buf_slice(&text));
    buf_free(&text);
}

/* Takes a line with its \r\n off the front. */
static bool take_line(struct slice *text, struct slice *ret_line)
{
    if (!peer_next_line(text, ret_line)) {
        return false;
    }
    if (ret_line->len > 0) {
        ret_line->len--;
    }
    return true;
}

/* Takes one reply off the front and calls `on_string` for every string in it, however deep. False when it is not whole. */
static bool take_reply(struct peer_conn *conn, struct slice *text, long *ret_number,
                       void (*on_string)(struct peer_conn *conn, struct slice string))
{
    struct slice line;
    if (!take_line(text, &line) || line.len == 0) {
        return false;
    }
    long value = strtol(line.data + 1, NULL, 10);
    *ret_number = value;
    switch (line.data[0]) {
    case '-':
        peer_refuse(conn, "refused", line);
    case '$':
        if (value < 0) {
            return true;
        }
        if (text->len < (size_t)value + 2) {
            return false;
        }
        if (on_string != NULL) {
            on_string(conn, slice_of(text->data, (size_t)value));
        }
        *text = slice_of(text->data + value + 2, text->len - (size_t)value - 2);
        return true;
    case '*':
        for (long i = 0; i < value; i++) {
            long inner;
            if (!take_reply(conn, text, &inner, on_string)) {
                return false;
            }
        }
        *ret_number = value;
        return true;
    default: /* + and : */
        return true;
    }
}

/* --- lists --- */

static void list_submit(struct peer_conn *conn, unsigned count, uint64_t first)
{
    head(&conn->out, 2 + count);
    word(&conn->out, SLICE("LPUSH"));
    word(&conn->out, SLICE("queue"));
    for (unsigned i = 0; i < count; i++) {
        word(&conn->out, peer_task(first + i));
    }
    conn->awaited = 1;
    conn->batch = count;
}

static void list_turn(struct peer_conn *conn, unsigned want)
{
    struct slice held = buf_slice(&conn->held), task;
    while (peer_next_line(&held, &task)) {
        head(&conn->out, 4);
        word(&conn->out, SLICE("LREM"));
        word_number(&conn->out, "taken-by-", conn->number);
        word(&conn->out, SLICE("-1")); /* the oldest are at the tail */
        word(&conn->out, task);
    }
    for (unsigned i = 0; i < want; i++) {
        head(&conn->out, 6);
        word(&conn->out, SLICE("BLMOVE"));
        word(&conn->out, SLICE("queue"));
        word_number(&conn->out, "taken-by-", conn->number);
        word(&conn->out, SLICE("RIGHT"));
        word(&conn->out, SLICE("LEFT"));
        word(&conn->out, SLICE("0"));
    }
    conn->awaited = conn->held_count + want;
    buf_reset(&conn->held);
    conn->held_count = 0;
}

static void list_understand(struct peer_conn *conn)
{
    struct slice left = buf_slice(&conn->in), rest = left;
    long number;
    while (conn->awaited > 0) {
        unsigned held = conn->held_count;
        if (!take_reply(conn, &rest, &number, peer_hold)) {
            break;
        }
        if (!conn->is_turn) {
            if (number < (long)conn->batch) {
                peer_refuse(conn, "LPUSH did not make the list so long", left);
            }
            conn->done_count = conn->batch; /* one reply speaks for all */
        } else if (conn->held_count == held) {
            /* a number: the answer to LREM */
            if (number != 1) {
                peer_refuse(conn, "LREM did not find its task", left);
            }
            conn->done_count++;
        }
        conn->awaited--;
        left = rest;
    }
    peer_understood(conn, left);
}

const struct peer_wire peer_redis_list = {
    .name = "redis-list", .submit = list_submit, .turn = list_turn, .understand = list_understand};

/* --- streams --- */

static void stream_prepare(struct peer_conn *conn)
{
    head(&conn->out, 6);
    word(&conn->out, SLICE("XGROUP"));
    word(&conn->out, SLICE("CREATE"));
    word(&conn->out, SLICE("stream"));
    word(&conn->out, SLICE("workers"));
    word(&conn->out, SLICE("0"));
    word(&conn->out, SLICE("MKSTREAM"));
    conn->awaited = 1;
    peer_exchange(&peer_redis_stream, conn);
}

static void stream_submit(struct peer_conn *conn, unsigned count, uint64_t first)
{
    for (unsigned i = 0; i < count; i++) {
        head(&conn->out, 5);
        word(&conn->out, SLICE("XADD"));
        word(&conn->out, SLICE("stream"));
        word(&conn->out, SLICE("*"));
        word(&conn->out, SLICE("task"));
        word(&conn->out, peer_task(first + i));
    }
    conn->awaited = count;
}

static void ids_command(struct peer_conn *conn, const char *command, bool has_group)
{
    struct slice held = buf_slice(&conn->held), id;
    head(&conn->out, (has_group ? 3 : 2) + conn->held_count);
    word(&conn->out, slice_str(command));
    word(&conn->out, SLICE("stream"));
    if (has_group) {
        word(&conn->out, SLICE("workers"));
    }
    while (peer_next_line(&held, &id)) {
        word(&conn->out, id);
    }
}

static void stream_turn(struct peer_conn *conn, unsigned want)
{
    conn->awaited = 1;
    if (conn->held_count > 0) {
        ids_command(conn, "XACK", true);
        ids_command(conn, "XDEL", false);
        conn->awaited += 2;
        conn->batch = conn->held_count;
        buf_reset(&conn->held);
        conn->held_count = 0;
    }
    head(&conn->out, 11);
    word(&conn->out, SLICE("XREADGROUP"));
    word(&conn->out, SLICE("GROUP"));
    word(&conn->out, SLICE("workers"));
    word_number(&conn->out, "worker-", conn->number);
    word(&conn->out, SLICE("COUNT"));
    word_number(&conn->out, "", want);
    word(&conn->out, SLICE("BLOCK"));
    word(&conn->out, SLICE("0"));
    word(&conn->out, SLICE("STREAMS"));
    word(&conn->out, SLICE("stream"));
    word(&conn->out, SLICE(">"));
}

/* Of an answer to XREADGROUP only the ids are wanted: they are what is neither the stream's name nor a field nor a task. */
static void hold_id(struct peer_conn *conn, struct slice string)
{
    if (string.len > 0 && string.data[0] >= '0' && string.data[0] <= '9') {
        peer_hold(conn, string);
    }
}

static void stream_understand(struct peer_conn *conn)
{
    struct slice left = buf_slice(&conn->in), rest = left;
    long number;
    while (conn->awaited > 0) {
        bool takes = conn->is_turn && conn->awaited == 1;
        unsigned held = conn->held_count;
        size_t held_len = conn->held.len;
        if (!take_reply(conn, &rest, &number, takes ? hold_id : NULL)) {
            conn->held_count = held; /* from the start of this answer again, when more has come */
            conn->held.len = held_len;
            break;
        }
        if (!conn->is_turn) {
            conn->done_count++;
        } else if (!takes && (unsigned)number != conn->batch) {
            peer_refuse(conn, "not all that was held could be acknowledged and deleted", left);
        } else if (!takes) {
            conn->done_count = conn->awaited == 2 ? conn->batch : 0; /* acknowledged, and now deleted */
        }
        conn->awaited--;
        left = rest;
    }
    peer_understood(conn, left);
}

const struct peer_wire peer_redis_stream = {.name = "redis-stream",
                                            .prepare = stream_prepare,
                                            .submit = stream_submit,
                                            .turn = stream_turn,
                                            .understand = stream_understand};
