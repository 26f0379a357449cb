/* history.h - finished tasks and attempts in SQLite, exactly once by journal position.
 *
 * Rows arrive on the owner's thread (history_add, in order of seq), are written in big transactions by a thread of their
 * own together with the position, and `on_done` tells the owner (through history_poll, after wake_owner) up to which seq
 * everything is durable. A row that comes again (after a restart) replaces itself. Reads use a connection of their own on
 * the owner's thread. File: data/history.db (WAL, synchronous=FULL, so that a position that was reported survives). */
#ifndef SHOAL_HUB_HISTORY_H
#define SHOAL_HUB_HISTORY_H

#include "base/buf.h"
#include "core/core.h"

struct history;

struct history_hooks {
    void (*wake_owner)(void *ctx);            /* from the history thread: call history_poll soon */
    void (*on_done)(void *ctx, uint64_t seq); /* from history_poll */
    /* From history_poll. NO_SPACE: nothing is lost, it is tried again every second. Anything else: it writes no more. */
    void (*on_failed)(void *ctx, enum status status, const char *why);
    void *ctx;
};

/* How long rows stay. A row goes when its task ended so long ago, or when its queue has more rows in its state than that; the oldest
 * (by creation) first. 0: for ever, any number. */
struct history_keep {
    int64_t succeeded_ms, dead_ms, cancelled_ms, expired_ms;
    uint64_t rows_max; /* of one queue in one state */
};
/* From any moment on; without a call rows stay for ever. Owner's thread. */
void history_keep(struct history *history, const struct history_keep *keep);
/* One row to remove, of the caller's memory until `done`, which comes from history_poll once it is durable: OK, NOT_FOUND, or
 * why it cannot be written. Whoever closes the history first hears nothing. Owner's thread. */
struct history_removal {
    uint64_t task_id;
    void (*done)(struct history_removal *removal, enum status status);
    struct history_removal *next; /* inside */
    enum status status;           /* inside */
};
void history_remove(struct history *history, struct history_removal *removal);
struct history_stats {
    uint64_t rows, removed;        /* removed: by this process, because their time was over */
    uint64_t file_size, free_size; /* bytes; free pages are used again, or given back a little at a time */
};
void history_stats(struct history *history, struct history_stats *ret);
/* Opens or makes the file and starts the thread. *ret_seq is the position it holds. */
STATUS_MUST_CHECK enum status history_open(const char *path, const struct history_hooks *hooks,
                                           struct history **ret_history, uint64_t *ret_seq, struct buf *ret_why);
/* Queues a row (copied). Owner's thread. */
void history_add(struct history *history, const struct effect_finished *finished, uint64_t seq);
/* Every row with a seq up to this one was added: the position may advance that far. */
void history_advance(struct history *history, uint64_t seq);
void history_poll(struct history *history);
/* Rows and bytes queued and not yet durable. No row is ever refused; the hub takes no new work past a limit. */
uint64_t history_backlog(const struct history *history);
uint64_t history_backlog_size(const struct history *history);
/* The journal ends before the position that the file holds (the journal was repaired, or an unsafe durability lost its
 * end): takes the position back, before the first row is added. */
STATUS_MUST_CHECK enum status history_rewind(struct history *history, uint64_t seq);
/* Writes what is queued, stops the thread, closes. */
void history_close(struct history *history);

/* --- reads --- */
/* The row of a task (for task_view_get) into `row`; NOT_FOUND. */
STATUS_MUST_CHECK enum status history_get(struct history *history, uint64_t task_id, struct buf *row);
/* The task that was another try of this one, once it is final itself; 0: none. */
uint64_t history_retried_as(struct history *history, uint64_t task_id);
/* The rows that `filter` wants, beyond the id `at` (to start: UINT64_MAX, or 0 oldest first), until visit returns false.
 * Answered by index: no row is read that is not visited, except where an older file is not indexed yet (see
 * history_is_indexed); there at most `scan_max` rows are looked at. *ret_last is the last id looked at, from where to go
 * on; 0: there is nothing beyond. */
STATUS_MUST_CHECK enum status history_list(struct history *history, const struct task_filter *filter,
                                           enum list_order order, uint64_t at, uint32_t scan_max,
                                           bool (*visit)(void *ctx, uint64_t task_id, struct slice row), void *ctx,
                                           uint64_t *ret_last);
/* Whether every row of the file is in the index; a file of an older version is made so in the background. */
bool history_is_indexed(struct history *history);
/* Whether a row names the blob ("sha256:…" anywhere in it), as far as rows are committed and indexed. */
STATUS_MUST_CHECK enum status history_names_blob(struct history *history, const uint8_t digest[SHA256_SIZE],
                                                 bool *ret_is_named);
uint64_t history_count(struct history *history);

#endif
