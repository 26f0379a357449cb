/* journal.h - one durable order of entries, whoever makes it.
 *
 * A driver takes proposals (batches of encoded commands) and gives back, in one total order, the same for everyone:
 *   on_entry(entry)     the entry has its place: apply it now, keep its effects
 *   on_durable(seq)     every entry up to seq will survive anything: release what they caused
 * The `file` driver calls on_entry from inside propose and on_durable some time after; a driver that orders through
 * other machines calls both later, and entries of other hubs come in between. Nothing above may assume more. All calls
 * and callbacks happen on the thread that owns the journal; writing to disk happens behind it.
 *
 * Invariants: J1 an answered command survives kill -9 and power loss; J2 nothing unanswered is half-applied; J3 replay
 * gives the same state hash; J4 seq has no gaps; J5 time never goes back. */
#ifndef SHOAL_JOURNAL_JOURNAL_H
#define SHOAL_JOURNAL_JOURNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"
#include "base/status.h"

struct journal_entry {
    uint64_t seq;
    int64_t time_ns;
    struct slice body; /* valid during the callback */
};

struct journal_callbacks {
    void (*on_entry)(void *ctx, const struct journal_entry *entry);
    void (*on_durable)(void *ctx, uint64_t seq);
    /* The journal can go on no further (an fsync failed, the disk is full or damaged): the process must end. */
    void (*on_failed)(void *ctx, enum status status, const char *why);
    void *ctx;
    /* While opening, asked after each entry: the owner cannot go on (it says why itself). May be NULL: it always can. */
    bool (*has_stopped)(void *ctx);
};

struct journal; /* of the driver; begins with this table */

struct journal_driver {
    /* Puts a batch into the order. `now_ns` is the proposer's wall clock; the entry's time is at least that of the entry
     * before (J5). BUSY when too much is unsynced or room is being made: nothing happened, try again after the next
     * on_durable. NO_SPACE when the disk has no room for it: nothing happened, the journal goes on, later ones may fit.
     * TOO_LARGE past LIMIT_ENTRY_SIZE. */
    enum status (*propose)(struct journal *journal, int64_t now_ns, struct slice body);
    /* Lets the driver report what has happened meanwhile (on_durable, on_entry, on_failed). Called by the owner when the
     * driver's wake-up came. */
    void (*poll)(struct journal *journal);
    uint64_t (*last_seq)(const struct journal *journal);    /* newest ordered */
    uint64_t (*durable_seq)(const struct journal *journal); /* newest durable */
    /* Bytes proposed and not yet durable. */
    uint64_t (*unsynced_size)(const struct journal *journal);
    /* Ends it: what was proposed is made durable first. */
    void (*close)(struct journal *journal);
};

struct journal {
    const struct journal_driver *driver;
};

#endif
