/* collector.h - asks the core to let go of what nobody needs: nodes that are long gone, and, while a table runs full, kinds and
 * queues that were never used. Owner's thread; no clock, no timer of its own. */
#ifndef SHOAL_HUB_COLLECTOR_H
#define SHOAL_HUB_COLLECTOR_H

#include "hub/sequencer.h"

#define COLLECTOR_TICK_MS 5000

struct collector {
    struct pending pending;
    struct sequencer *sequencer;
    bool is_waiting;    /* a COLLECT is on its way */
    int64_t now_ns;     /* of the newest tick */
    int64_t pressed_ns; /* a full table is not looked at again before */
    uint64_t count;     /* records that went */
};

/* The sequencer outlives it, or answers its command first. */
void collector_init(struct collector *collector, struct sequencer *sequencer);
/* Proposes a COLLECT when there is something to do; true then: flush soon. `now_ns` is the time of entries. */
bool collector_tick(struct collector *collector, int64_t now_ns);

#endif
