/* peer.h - one kind of server as bench_peer sees it: how a task is put into its queue, taken and done with.
 *
 * Every peer is asked for the same work in the same two exchanges, so that none has to make more round trips than another:
 * *submit* puts tasks in and waits until each is acknowledged; *turn* says that the tasks held are done and takes as many
 * new ones, all in one write. A table of functions below is what a peer adds; the loop, the clock and the counting are
 * bench_peer.c's. One thread. Whatever a server should not have said ends the program with a sentence: a figure from a run
 * with errors would be none. */
#ifndef SHOAL_BENCH_PEER_H
#define SHOAL_BENCH_PEER_H

#include "client.h"

#define PEER_BATCH_MAX 1000u

struct peer_conn {
    int fd;
    unsigned number;
    struct buf in;    /* bytes received; the wire consumes what it has understood */
    struct buf out;   /* bytes to send; the loop sends them */
    size_t sent;      /* of them */
    unsigned awaited; /* answers that the exchange under way still needs */
    struct buf held;  /* what names the tasks held, each with a newline behind it: the wire's own words */
    unsigned held_count;
    unsigned batch; /* the wire's own: for how many tasks one answer speaks */
    unsigned
        done_count; /* tasks submitted, or completed, by the answers understood last; the loop takes it back to 0 */
    bool is_turn;   /* the exchange under way: a turn, else a submit */
    char session[64];
    int64_t asked_ns; /* the loop's: since when the exchange is under way */
    bool is_blocked;  /* the loop's: the socket took not all of `out` */
};

struct peer_wire {
    const char *name;
    /* Once, before anything else, on a blocking connection of its own: makes the queue. */
    void (*prepare)(struct peer_conn *conn);
    /* Once for each connection, blocking; NULL when there is nothing to say. */
    void (*join)(struct peer_conn *conn);
    /* Appends to `out` what submits `count` tasks, the first of them with this number, and sets `awaited`. */
    void (*submit)(struct peer_conn *conn, unsigned count, uint64_t first);
    /* Appends what completes the tasks held and waits for `want` new ones; empties `held` and sets `awaited`. */
    void (*turn)(struct peer_conn *conn, unsigned want);
    /* Understands what has come, as far as it is whole: counts `awaited` down and `done_count` up, fills `held`. */
    void (*understand)(struct peer_conn *conn);
};

extern const struct peer_wire peer_shoal, peer_redis_list, peer_redis_stream, peer_beanstalkd, peer_nats;

/* The text of a task, 100 bytes of JSON, the same for every peer. A view into a static buffer, until the next call. */
struct slice peer_task(uint64_t number);
/* Sends `out` and understands until nothing is awaited; for prepare and join, when the socket still blocks. */
void peer_exchange(const struct peer_wire *wire, struct peer_conn *conn);
/* Takes the next line off `text` (its newline left out): false when there is none. */
bool peer_next_line(struct slice *text, struct slice *ret_line);
/* Notes one more task held; the name holds no newline. */
void peer_hold(struct peer_conn *conn, struct slice name);
/* Consumes all of `in` but what is left. Where every answer has its question, nothing may be left when nothing is awaited. */
void peer_understood(struct peer_conn *conn, struct slice left);
/* Ends the program: the server said something that it should not have. */
_Noreturn void peer_refuse(const struct peer_conn *conn, const char *what, struct slice said);

#endif
