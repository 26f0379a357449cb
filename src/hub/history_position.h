/* history_position.h - how far history is, and what the core was told of it.
 *
 * The core forgets finished tasks and the journal is trimmed only up to where history holds their rows durably; the core is
 * told with HISTORY_DONE. Pure bookkeeping, on the owner's thread, for whoever has the rows: the hub (history.h) and the
 * simulator. */
#ifndef SHOAL_HUB_HISTORY_POSITION_H
#define SHOAL_HUB_HISTORY_POSITION_H

#include "hub/sequencer.h"

struct history_position {
    uint64_t rows_seq;    /* of the newest row that was handed to history by this process */
    uint64_t durable_seq; /* every row up to here is durable */
    uint64_t told_seq;    /* what the core was told, or is about to be */
};

/* A process begins: so far history came. Sets what the sequencer replays rows from. */
void history_position_begin(struct history_position *position, uint64_t durable_seq, struct sequencer *sequencer);
/* After recovery: what the core knows from the processes before. True: it holds finished tasks whose rows are durable, and
 * has not been told (history_position_tell is due). */
bool history_position_recovered(struct history_position *position, const struct core *core);
/* Whether there is something to tell. Only rows are worth an entry: a position that moved past entries without rows frees
 * nothing in the core. */
bool history_position_is_news(const struct history_position *position);
/* Adds HISTORY_DONE to the batch; flush soon. False: the hub is full, try again later. */
bool history_position_tell(struct history_position *position, struct sequencer *sequencer);

#endif
