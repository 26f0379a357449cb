/* sequencer.h - turns the commands of many requests into entries, and entries' effects into answers.
 *
 * Requests add commands to the batch in the making; sequencer_flush (once per loop turn, or when the batch is full)
 * proposes it as one entry. The journal calls back with the order; the core applies at once; effects wait in a queue until
 * the journal says durable, and only then leave through the sinks. It knows no socket, thread or clock: the journal, the
 * wall clock and the sinks are handed in, so the simulator runs this very code. */
#ifndef SHOAL_HUB_SEQUENCER_H
#define SHOAL_HUB_SEQUENCER_H

#include "base/buf.h"
#include "core/core.h"
#include "journal/journal.h"

struct sequencer;

/* A request that waits for its command's reply. The sequencer holds it from commit until `on_reply` (exactly once, never
 * from inside commit), which comes when the entry is durable; or, with seq 0 and nothing done, with TOO_LARGE (the command
 * does not fit an entry) or NO_SPACE; or with NOT_READY when the hub ends first (then the command may or may not have
 * been done, as after any broken connection). */
struct pending {
    void (*on_reply)(struct pending *pending, const struct effect_reply *reply, uint64_t seq);
    struct pending *next; /* of the sequencer */
};

struct sequencer_sinks { /* where released effects go; all on the owner's thread */
    void (*on_lease)(void *ctx, const struct effect_lease *lease, uint64_t seq);
    void (*on_stop)(void *ctx, const struct effect_stop *stop);
    void (*on_session)(void *ctx, const struct effect_session *session);
    void (*on_task)(void *ctx, const struct effect_task *task, uint64_t seq);
    void (*on_finished)(void *ctx, const struct effect_finished *finished, uint64_t seq);
    /* After all effects of one or more entries were released: everything up to seq is durable. */
    void (*on_released)(void *ctx, uint64_t seq);
    void (*on_failed)(void *ctx, enum status status, const char *why);
    int64_t (*wall_ns)(void *ctx);
    void *ctx;
};

/* An empty sequencer around an empty core. `origin` is random per process. NULL without memory. */
struct sequencer *sequencer_new(uint64_t origin, const struct sequencer_sinks *sinks);
void sequencer_free(struct sequencer *sequencer);
/* Callbacks for the journal's opening: replays into the core (effects of replayed entries with seq > history_seq go only to
 * on_finished; all others are dropped), and the snapshot loader. */
struct journal_callbacks sequencer_journal_callbacks(struct sequencer *sequencer);
enum status sequencer_load_snapshot(void *sequencer, uint64_t seq, struct slice state);
/* Why the last snapshot was not taken, half a sentence for people; empty when there is nothing to say. */
const char *sequencer_snapshot_why(const struct sequencer *sequencer);
void sequencer_set_history_seq(struct sequencer *sequencer, uint64_t history_seq);
/* Recovery is over: from here the journal is used. Hands rows that history lacks to on_finished. */
void sequencer_start(struct sequencer *sequencer, struct journal *journal);

/* The batch in the making: append exactly one encoded command (command_put_*) to the buffer, then commit it with its
 * pending (NULL when nobody waits). begin is NULL when the hub is full: answer BUSY (503, Retry-After). It may propose the
 * batch before, so views of the core die with it. A command of up to 3 MiB always fits. */
struct buf *sequencer_begin(struct sequencer *sequencer);
void sequencer_commit(struct sequencer *sequencer, struct pending *pending);
/* Takes back what was appended since begin. */
void sequencer_abort(struct sequencer *sequencer);
/* Proposes the batch, and a TICK first if the core's next deadline has passed. */
void sequencer_flush(struct sequencer *sequencer);
/* When to call sequencer_flush for time's sake; INT64_MAX never. Wall clock. */
int64_t sequencer_next_deadline_ns(const struct sequencer *sequencer);

/* The time of entries, by the sinks' clock: what a delay counts from. */
int64_t sequencer_now_ns(const struct sequencer *sequencer);

/* A read of the core: flushes nothing; the caller reads the core now and answers when `seq` (task_view.changed_seq or
 * core_seq) is durable. True: it already is, answer at once. Else on_durable is called once it is. */
struct read_waiter {
    void (*on_durable)(struct read_waiter *waiter);
    uint64_t seq;
    struct read_waiter *next;
};
bool sequencer_await(struct sequencer *sequencer, uint64_t seq, struct read_waiter *waiter);
struct core *sequencer_core(struct sequencer *sequencer);
uint64_t sequencer_durable_seq(const struct sequencer *sequencer);
/* Bytes of effects held back, entries applied and not durable. */
uint64_t sequencer_held_size(const struct sequencer *sequencer);
/* Bytes of entry bodies applied since it was made, replayed ones included. */
uint64_t sequencer_applied_size(const struct sequencer *sequencer);
/* From here on begin is NULL; what was committed goes its way. */
void sequencer_stop(struct sequencer *sequencer);

#endif
