/* history_sweep.c - rows that have stayed long enough go, and the file gives their space back.
 *
 * The worker does it beside its real work, STEP_ROWS rows in a transaction of its own, so a backlog of millions is taken off
 * in many small steps. A round goes through the buckets (history_index.c) and in each from the oldest task on. By age a
 * bucket is done at the first task that was created too late to be due: it has not ended before. By number the oldest of
 * all buckets of a queue and state go first.
 *
 * A row that went does not come again: the position in the file covers it, and a replay begins behind that. (After a repair
 * that takes the journal back, rows may come again; the next round takes them off.) */
#include <stdlib.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "hub/history_internal.h"

#define STEP_ROWS 500u /* in one transaction: some 5 ms */
#define ROUND_NS_MIN NS_PER_S
#define ROUND_NS_MAX (60 * NS_PER_S)
#define SHRINK_PAGES "512" /* given back in one go: 4 MiB */
#define SHRINK_ABOVE 1024  /* free pages below which none are given back: they will be used again */

static int64_t keep_ms_of(const struct history_keep *keep, int state)
{
    return state == TASK_SUCCEEDED ? keep->succeeded_ms
           : state == TASK_DEAD    ? keep->dead_ms
           : state == TASK_EXPIRED ? keep->expired_ms
                                   : keep->cancelled_ms;
}

/* The time between two rounds: a tenth of the shortest time that a row stays. */
static int64_t round_ns(const struct history_keep *keep)
{
    int64_t least_ns = keep->rows_max > 0 ? 50 * NS_PER_S : INT64_MAX;
    for (int state = TASK_SUCCEEDED; state < TASK_STATE_COUNT; state++) {
        int64_t keep_ns = keep_ms_of(keep, state) * NS_PER_MS;
        least_ns = keep_ns > 0 && keep_ns < least_ns ? keep_ns : least_ns;
    }
    if (least_ns == INT64_MAX) {
        return INT64_MAX;
    }
    return least_ns / 10 < ROUND_NS_MIN ? ROUND_NS_MIN : least_ns / 10 > ROUND_NS_MAX ? ROUND_NS_MAX : least_ns / 10;
}

void history_keep(struct history *history, const struct history_keep *keep)
{
    ensure_magic(history, HISTORY_MAGIC);
    pthread_mutex_lock(&history->mutex);
    history->keep = *keep;
    history->sweep.due_ns = round_ns(keep) < INT64_MAX ? 0 : INT64_MAX;
    pthread_mutex_unlock(&history->mutex);
    pthread_cond_signal(&history->wake);
}

bool sweep_is_due(struct history *history)
{
    struct sweep *sweep = &history->sweep;
    if (history->removals != NULL) {
        return true;
    }
    if (sweep->due_ns == INT64_MAX || clock_mono_ns() < sweep->due_ns) {
        return false;
    }
    sweep->keep = history->keep;
    return true;
}

/* How many rows of the bucket's queue and state there are too many. */
static uint64_t excess_of(const struct history *history, const struct bucket *bucket)
{
    const struct buckets *buckets = &history->buckets;
    uint64_t count = 0, max = history->sweep.keep.rows_max;
    for (uint32_t i = 0; max > 0 && i < buckets->count; i++) {
        const struct bucket *other = buckets->items[i];
        if (other->state == bucket->state && slice_equal(other->queue, bucket->queue)) {
            count += other->count + (uint64_t)other->added;
        }
    }
    return count > max ? count - max : 0;
}

static int remove_row(struct history *history, uint64_t task_id)
{
    bool is_there = false;
    int code = history_unplace_row(history, task_id, &is_there);
    if (code == SQLITE_OK && is_there) {
        (void)sqlite3_bind_int64(history->remove, 1, id_to_sql(task_id));
        code = history_step(history->remove);
        history->sweep.removed++;
    }
    return code;
}

struct old_row {
    uint64_t id;
    int64_t created_ns, finished_ns;
};

static int read_oldest(struct history *history, uint32_t bucket, uint64_t after_id, uint32_t max, struct old_row *rows,
                       uint32_t *ret_count)
{
    sqlite3_stmt *oldest = history->oldest;
    (void)sqlite3_bind_int64(oldest, 1, bucket);
    (void)sqlite3_bind_int64(oldest, 2, id_to_sql(after_id));
    (void)sqlite3_bind_int64(oldest, 3, max);
    int code;
    *ret_count = 0;
    while ((code = sqlite3_step(oldest)) == SQLITE_ROW) {
        rows[(*ret_count)++] = (struct old_row){.id = id_from_sql(sqlite3_column_int64(oldest, 0)),
                                                .created_ns = sqlite3_column_int64(oldest, 1),
                                                .finished_ns = sqlite3_column_int64(oldest, 2)};
    }
    (void)sqlite3_reset(oldest);
    return code == SQLITE_DONE ? SQLITE_OK : code;
}

/* Removes what is due by age of the bucket; *left counts down what may be looked at. */
static int sweep_age(struct history *history, uint32_t index, uint32_t *left, bool *ret_is_done)
{
    struct sweep *sweep = &history->sweep;
    int64_t keep_ms = keep_ms_of(&sweep->keep, history->buckets.items[index]->state);
    int64_t until_ns = clock_wall_ns() - keep_ms * NS_PER_MS;
    static struct old_row rows[STEP_ROWS]; /* of the one worker there is */
    uint32_t count = 0;
    *ret_is_done = true;
    if (keep_ms == 0) {
        return SQLITE_OK;
    }
    uint32_t max = *left;
    int code = read_oldest(history, index, sweep->after_id, max, rows, &count);
    for (uint32_t i = 0; i < count && code == SQLITE_OK; i++) {
        if (rows[i].created_ns > until_ns) {
            return SQLITE_OK;
        }
        sweep->after_id = rows[i].id;
        *left -= 1;
        code = rows[i].finished_ns <= until_ns ? remove_row(history, rows[i].id) : SQLITE_OK;
    }
    *ret_is_done = count < max;
    return code;
}

/* Removes the oldest row of the bucket's queue and state, whichever bucket has it. */
static int remove_oldest_of(struct history *history, const struct bucket *bucket)
{
    const struct buckets *buckets = &history->buckets;
    uint64_t oldest = UINT64_MAX;
    for (uint32_t i = 0; i < buckets->count; i++) {
        const struct bucket *other = buckets->items[i];
        struct old_row row;
        uint32_t count = 0;
        if (other->state != bucket->state || !slice_equal(other->queue, bucket->queue)) {
            continue;
        }
        int code = read_oldest(history, i, 0, 1, &row, &count);
        if (code != SQLITE_OK) {
            return code;
        }
        oldest = count > 0 && row.id < oldest ? row.id : oldest;
    }
    return oldest < UINT64_MAX ? remove_row(history, oldest) : SQLITE_OK;
}

static int sweep_number(struct history *history, const struct bucket *bucket, uint32_t *left, bool *ret_is_done)
{
    uint64_t excess = excess_of(history, bucket);
    int code = SQLITE_OK;
    for (; excess > 0 && *left > 0 && code == SQLITE_OK; excess--, *left -= 1) {
        code = remove_oldest_of(history, bucket);
    }
    *ret_is_done = excess == 0;
    return code;
}

int sweep_removals(struct history *history)
{
    struct sweep *sweep = &history->sweep;
    pthread_mutex_lock(&history->mutex);
    sweep->taken = TAKE(history->removals);
    pthread_mutex_unlock(&history->mutex);
    int code = SQLITE_OK;
    for (struct history_removal *removal = sweep->taken; removal != NULL && code == SQLITE_OK;
         removal = removal->next) {
        uint64_t before = sweep->removed;
        code = remove_row(history, removal->task_id);
        removal->status = sweep->removed > before ? STATUS_OK : STATUS_NOT_FOUND;
    }
    return code;
}

void history_remove(struct history *history, struct history_removal *removal)
{
    ensure_magic(history, HISTORY_MAGIC);
    pthread_mutex_lock(&history->mutex);
    removal->next = history->removals;
    history->removals = removal;
    pthread_mutex_unlock(&history->mutex);
    pthread_cond_signal(&history->wake);
}

int sweep_step(struct history *history)
{
    struct sweep *sweep = &history->sweep;
    struct buckets *buckets = &history->buckets;
    uint32_t left = STEP_ROWS;
    int code = SQLITE_OK;
    bool is_time = sweep->due_ns < INT64_MAX && clock_mono_ns() >= sweep->due_ns;
    while (is_time && code == SQLITE_OK && left > 0 && sweep->bucket < buckets->count) {
        const struct bucket *bucket = buckets->items[sweep->bucket];
        bool is_done = true;
        if (bucket->state >= TASK_SUCCEEDED && bucket->count + (uint64_t)bucket->added > 0) {
            code = sweep_age(history, sweep->bucket, &left, &is_done);
            if (code == SQLITE_OK && is_done) {
                code = sweep_number(history, bucket, &left, &is_done);
            }
        }
        if (is_done) {
            sweep->bucket++;
            sweep->after_id = 0;
        }
    }
    if (code == SQLITE_OK && sweep->removed > 0) {
        (void)sqlite3_bind_int64(history->set_rows, 1, (int64_t)(atomic_load(&history->rows) - sweep->removed));
        code = history_step(history->set_rows);
    }
    return code;
}

void sweep_committed(struct history *history, bool is_committed)
{
    struct sweep *sweep = &history->sweep;
    if (is_committed) {
        atomic_fetch_sub(&history->rows, sweep->removed);
        atomic_fetch_add(&history->removed, sweep->removed);
    }
    sweep->removed = 0;
    pthread_mutex_lock(&history->mutex);
    bool has_news = sweep->taken != NULL;
    while (sweep->taken != NULL) {
        struct history_removal *removal = sweep->taken;
        sweep->taken = removal->next;
        removal->status = is_committed ? removal->status : STATUS_NO_SPACE;
        removal->next = history->removed_ones;
        history->removed_ones = removal;
    }
    if (!is_committed || sweep->bucket >= history->buckets.count) { /* the round is over, or tried again later */
        int64_t pause_ns = round_ns(&history->keep);
        sweep->due_ns = pause_ns < INT64_MAX ? clock_mono_ns() + pause_ns : INT64_MAX;
        sweep->bucket = 0;
        sweep->after_id = 0;
    }
    pthread_mutex_unlock(&history->mutex);
    if (has_news && history->hooks.wake_owner != NULL) {
        history->hooks.wake_owner(history->hooks.ctx);
    }
}

static int64_t pragma_number(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *statement = NULL;
    int64_t value = 0;
    if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) == SQLITE_OK && sqlite3_step(statement) == SQLITE_ROW) {
        value = sqlite3_column_int64(statement, 0);
    }
    (void)sqlite3_finalize(statement);
    return value;
}

int sweep_shrink(struct history *history)
{
    int code = SQLITE_OK;
    if (pragma_number(history->writer, "PRAGMA freelist_count") > SHRINK_ABOVE) {
        code = sqlite3_exec(history->writer, "PRAGMA incremental_vacuum(" SHRINK_PAGES ")", NULL, NULL, NULL);
    }
    int64_t page_size = pragma_number(history->writer, "PRAGMA page_size");
    atomic_store(&history->file_size, (uint64_t)(pragma_number(history->writer, "PRAGMA page_count") * page_size));
    atomic_store(&history->free_size, (uint64_t)(pragma_number(history->writer, "PRAGMA freelist_count") * page_size));
    return code;
}

void history_stats(struct history *history, struct history_stats *ret)
{
    ensure_magic(history, HISTORY_MAGIC);
    *ret = (struct history_stats){.rows = atomic_load(&history->rows),
                                  .removed = atomic_load(&history->removed),
                                  .file_size = atomic_load(&history->file_size),
                                  .free_size = atomic_load(&history->free_size)};
}
