/* peer_beanstalkd.c - beanstalkd's text protocol (doc/protocol.txt of its distribution): put, reserve, delete. It has no
 * batches, but it takes commands one behind the other without waiting for answers. */
#include <stdlib.h>
#include <string.h>

#include "peer.h"

#define TIME_TO_RUN_S 60

static void submit(struct peer_conn *conn, unsigned count, uint64_t first)
{
    for (unsigned i = 0; i < count; i++) {
        struct slice task = peer_task(first + i);
        buf_append_str(&conn->out, "put 1024 0 ");
        buf_append_u64_dec(&conn->out, TIME_TO_RUN_S);
        buf_append_char(&conn->out, ' ');
        buf_append_u64_dec(&conn->out, task.len);
        buf_append_str(&conn->out, "\r\n");
        buf_append_slice(&conn->out, task);
        buf_append_str(&conn->out, "\r\n");
    }
    conn->awaited = count;
}

static void turn(struct peer_conn *conn, unsigned want)
{
    struct slice held = buf_slice(&conn->held), id;
    while (peer_next_line(&held, &id)) {
        buf_append_str(&conn->out, "delete ");
        buf_append_slice(&conn->out, id);
        buf_append_str(&conn->out, "\r\n");
    }
    for (unsigned i = 0; i < want; i++) {
        buf_append_str(&conn->out, "reserve\r\n");
    }
    conn->awaited = conn->held_count + want;
    buf_reset(&conn->held);
    conn->held_count = 0;
}

static void understand(struct peer_conn *conn)
{
    struct slice left = buf_slice(&conn->in), rest = left, line;
    while (conn->awaited > 0 && peer_next_line(&rest, &line)) {
        if (slice_starts_with(line, SLICE("RESERVED "))) {
            const char *id = line.data + 9;
            char *space;
            strtoull(id, &space, 10);
            size_t size = strtoul(space, NULL, 10) + 2;
            if (rest.len < size) {
                break;
            }
            peer_hold(conn, slice_of(id, (size_t)(space - id)));
            rest = slice_of(rest.data + size, rest.len - size);
        } else if (slice_starts_with(line, SLICE("INSERTED ")) || slice_starts_with(line, SLICE("DELETED"))) {
            conn->done_count++;
        } else {
            peer_refuse(conn, "refused", line);
        }
        conn->awaited--;
        left = rest;
    }
    peer_understood(conn, left);
}

const struct peer_wire peer_beanstalkd = {
    .name = "beanstalkd", .submit = submit, .turn = turn, .understand = understand};
