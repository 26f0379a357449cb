#include "hub/collector.h"

#include "base/limits.h"

#define PRESSED_AGAIN_MS 60000 /* a full table of which nothing can go is looked through once a minute */

static int64_t ms_to_ns(int64_t ms)
{
    return ms * INT64_C(1000000);
}

void collector_init(struct collector *collector, struct sequencer *sequencer)
{
    *collector = (struct collector){.sequencer = sequencer};
}

static void on_reply(struct pending *pending, const struct effect_reply *reply, uint64_t seq)
{
    struct collector *collector = (struct collector *)pending;
    (void)seq;
    collector->is_waiting = false;
    collector->count += reply->status == STATUS_OK ? reply->count : 0;
    if (reply->count == 0) {
        collector->pressed_ns = collector->now_ns + ms_to_ns(PRESSED_AGAIN_MS);
    }
}

static bool is_pressed(const struct core *core, enum core_table table)
{
    struct table_view view;
    core_table(core, table, &view);
    return view.used >= view.max / 100 * LIMIT_TABLE_WARN_PERCENT;
}

bool collector_tick(struct collector *collector, int64_t now_ns)
{
    const struct core *core = sequencer_core(collector->sequencer);
    collector->now_ns = now_ns;
    if (collector->is_waiting) {
        return false;
    }
    bool are_names = is_pressed(core, TABLE_NAMES);
    bool are_kinds = are_names || is_pressed(core, TABLE_KINDS);
    bool are_queues = are_names || is_pressed(core, TABLE_QUEUES);
    bool are_nodes = are_kinds || is_pressed(core, TABLE_NODES); /* a node refers to kinds */
    struct command_collect command = {.gone_ms = are_nodes ? LIMIT_GONE_KEEP_FULL_MS : LIMIT_GONE_KEEP_MS,
                                      .kinds_keep = are_kinds ? LIMIT_KINDS / 2 : UINT32_MAX,
                                      .queues_keep = are_queues ? LIMIT_QUEUES / 2 : UINT32_MAX};
    int64_t gone_ns = core_longest_gone_ns(core);
    bool is_due = gone_ns != INT64_MAX && gone_ns <= now_ns - ms_to_ns(command.gone_ms);
    bool is_worth = is_due || ((are_kinds || are_queues) && now_ns >= collector->pressed_ns);
    struct buf *out = is_worth ? sequencer_begin(collector->sequencer) : NULL;
    if (out == NULL) {
        return false;
    }
    command_put_collect(out, &command);
    collector->pending.on_reply = on_reply;
    collector->is_waiting = true;
    sequencer_commit(collector->sequencer, &collector->pending);
    return true;
}
