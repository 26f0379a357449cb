#include "hub/history_position.h"

void history_position_begin(struct history_position *position, uint64_t durable_seq, struct sequencer *sequencer)
{
    *position = (struct history_position){.durable_seq = durable_seq, .told_seq = durable_seq};
    sequencer_set_history_seq(sequencer, durable_seq);
}

bool history_position_recovered(struct history_position *position, const struct core *core)
{
    struct core_stats stats;
    core_stats(core, &stats);
    position->told_seq = stats.history_seq;
    bool has_finished = stats.counts[TASK_SUCCEEDED] + stats.counts[TASK_DEAD] + stats.counts[TASK_CANCELLED] +
                            stats.counts[TASK_EXPIRED] >
                        0;
    if (!has_finished || position->durable_seq <= position->told_seq || position->rows_seq >= position->durable_seq) {
        return false;
    }
    position->rows_seq = position->durable_seq;
    return true;
}

bool history_position_is_news(const struct history_position *position)
{
    return position->durable_seq > position->told_seq && position->rows_seq > position->told_seq;
}

bool history_position_tell(struct history_position *position, struct sequencer *sequencer)
{
    struct buf *batch = sequencer_begin(sequencer);
    if (batch == NULL) {
        return false;
    }
    command_put_history_done(batch, &(struct command_history_done){.seq = position->durable_seq});
    sequencer_commit(sequencer, NULL);
    position->told_seq = position->durable_seq;
    return true;
}
