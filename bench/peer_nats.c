/* peer_nats.c - NATS JetStream as a work queue over NATS's text protocol.
 *
 * A stream with file storage and work-queue retention, one durable pull consumer that acknowledges explicitly. A task is
 * published with a reply subject and counts when the stream has acknowledged it (what clients call a synchronous publish; a
 * batch publishes all and then waits: their asynchronous one). It is taken by a pull, and completed by a *double* ack: the
 * server confirms that the ack arrived, as its documentation advises where a task must be done exactly once.
 *
 * Three subscriptions tell apart what arrives: 1 answers to publishing, 2 confirmed acks, 3 tasks. */
#include <stdlib.h>
#include <string.h>

#include "peer.h"

enum { PUBLISHED = 1, ACKED = 2, TASK = 3 };

static void publish(struct buf *out, struct slice subject, const char *reply, unsigned number, struct slice payload)
{
    buf_append_str(out, "PUB ");
    buf_append_slice(out, subject);
    buf_append_str(out, " _INBOX.");
    buf_append_str(out, reply);
    buf_append_char(out, '.');
    buf_append_u64_dec(out, number);
    buf_append_char(out, ' ');
    buf_append_u64_dec(out, payload.len);
    buf_append_str(out, "\r\n");
    buf_append_slice(out, payload);
    buf_append_str(out, "\r\n");
}

static void join(struct peer_conn *conn)
{
    buf_printf(
        &conn->out,
        "CONNECT {\"verbose\":false,\"pedantic\":false,\"tls_required\":false,\"headers\":true,\"no_responders\":true,"
        "\"lang\":\"c\",\"version\":\"1\",\"protocol\":1}\r\n"
        "SUB _INBOX.put.%u 1\r\nSUB _INBOX.ack.%u 2\r\nSUB _INBOX.get.%u 3\r\nPING\r\n",
        conn->number, conn->number, conn->number);
    conn->awaited = 1; /* the PONG */
    peer_exchange(&peer_nats, conn);
}

static void prepare(struct peer_conn *conn)
{
    join(conn);
    publish(&conn->out, SLICE("$JS.API.STREAM.CREATE.WORK"), "put", conn->number,
            SLICE("{\"name\":\"WORK\",\"subjects\":[\"work\"],\"retention\":\"workqueue\",\"storage\":\"file\","
                  "\"num_replicas\":1,\"discard\":\"new\"}"));
    conn->awaited = 1;
    peer_exchange(&peer_nats, conn);
    publish(&conn->out, SLICE("$JS.API.CONSUMER.DURABLE.CREATE.WORK.workers"), "put", conn->number,
            SLICE("{\"stream_name\":\"WORK\",\"config\":{\"durable_name\":\"workers\",\"ack_policy\":\"explicit\","
                  "\"ack_wait\":60000000000,\"max_ack_pending\":100000,\"max_waiting\":2048}}"));
    conn->awaited = 1;
    peer_exchange(&peer_nats, conn);
}

static void submit(struct peer_conn *conn, unsigned count, uint64_t first)
{
    for (unsigned i = 0; i < count; i++) {
        publish(&conn->out, SLICE("work"), "put", conn->number, peer_task(first + i));
    }
    conn->awaited = count;
}

static void turn(struct peer_conn *conn, unsigned want)
{
    struct slice held = buf_slice(&conn->held), subject;
    struct buf pull = {.max = 128};
    while (peer_next_line(&held, &subject)) {
        publish(&conn->out, subject, "ack", conn->number, SLICE("+ACK"));
    }
    buf_printf(&pull, "{\"batch\":%u,\"expires\":60000000000}", want);
    publish(&conn->out, SLICE("$JS.API.CONSUMER.MSG.NEXT.WORK.workers"), "get", conn->number, buf_slice(&pull));
    buf_free(&pull);
    conn->awaited = conn->held_count + want;
    buf_reset(&conn->held);
    conn->held_count = 0;
}

/* MSG subject sid [reply] size: its numbers and its reply subject. */
static void arrived(struct peer_conn *conn, unsigned sid, struct slice reply, struct slice payload)
{
    switch (sid) {
    case PUBLISHED:
        if (memmem(payload.data, payload.len, "\"error\"", 7) != NULL) {
            peer_refuse(conn, "refused", payload);
        }
        conn->done_count++;
        break;
    case ACKED:
        if (payload.len != 0) {
            peer_refuse(conn, "an ack is refused", payload);
        }
        conn->done_count++;
        break;
    case TASK:
        if (reply.len == 0) {
            peer_refuse(conn, "a task that cannot be acknowledged", payload);
        }
        peer_hold(conn, reply);
        break;
    default:
        peer_refuse(conn, "an unknown subscription", payload);
    }
    if (conn->awaited == 0) {
        peer_refuse(conn, "an answer too many", payload);
    }
    conn->awaited--;
}

static unsigned split(struct slice line, struct slice *words, unsigned room)
{
    unsigned count = 0;
    const char *at = line.data, *end = line.data + line.len;
    while (at < end && count < room) {
        const char *space = memchr(at, ' ', (size_t)(end - at));
        words[count++] = slice_of(at, (size_t)((space != NULL ? space : end) - at));
        at = space != NULL ? space + 1 : end;
    }
    return count;
}

static void understand(struct peer_conn *conn)
{
    struct slice left = buf_slice(&conn->in), rest = left, line, words[6];
    while (peer_next_line(&rest, &line)) {
        line.len -= line.len > 0; /* \r */
        if (slice_starts_with(line, SLICE("MSG "))) {
            unsigned count = split(line, words, 6);
            if (count < 4) {
                peer_refuse(conn, "nonsense", line);
            }
            size_t size = strtoul(words[count - 1].data, NULL, 10);
            if (rest.len < size + 2) {
                break;
            }
            arrived(conn, (unsigned)strtoul(words[2].data, NULL, 10), count == 5 ? words[3] : (struct slice){0},
                    slice_of(rest.data, size));
            rest = slice_of(rest.data + size + 2, rest.len - size - 2);
        } else if (slice_starts_with(line, SLICE("PING"))) {
            buf_append_str(&conn->out, "PONG\r\n");
        } else if (slice_starts_with(line, SLICE("PONG"))) {
            conn->awaited--;
        } else if (!slice_starts_with(line, SLICE("INFO ")) && !slice_starts_with(line, SLICE("+OK"))) {
            peer_refuse(conn, "refused", left); /* -ERR; or HMSG, which says that a pull ended without its tasks */
        }
        left = rest;
    }
    buf_consume(&conn->in, conn->in.len - left.len);
}

const struct peer_wire peer_nats = {
    .name = "nats", .prepare = prepare, .join = join, .submit = submit, .turn = turn, .understand = understand};
