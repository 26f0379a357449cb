/* history_internal.h - the history, for history.c, history_index.c and history_sweep.c alone. */
#ifndef SHOAL_HUB_HISTORY_INTERNAL_H
#define SHOAL_HUB_HISTORY_INTERNAL_H

#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>

#include "base/map.h"
#include "hub/history.h"

#define HISTORY_APPLICATION_ID 0x53484f4c /* "SHOL" */
#define HISTORY_SCHEMA 4
#define CHUNK_SIZE (1u << 20)
/* --- history_index.c: which rows a filter wants --- */

/* The rows of one (state, queue, kind, kind of the error). */
struct bucket {
    struct slice queue, kind, error_kind; /* owned, in one piece with this */
    uint64_t hash;
    int state; /* -1: the bucket of what found no bucket, see BUCKETS_MAX; its rows are looked at one by one */
    /* as committed; guarded by buckets.mutex */
    uint64_t count, first_id, last_id; /* no row of it lies outside of [first_id, last_id] */
    /* of the worker: what the open transaction does to it */
    int64_t added;
    uint64_t new_first_id, new_last_id;
    bool is_dirty;
};

struct buckets {
    pthread_mutex_t mutex; /* guards the array, and of each bucket what is said there; the worker alone writes */
    struct bucket **items; /* owned; the index is the bucket's id in the file */
    uint32_t count, cap;
    struct map map;  /* of the worker */
    uint32_t *dirty; /* of the worker; owned */
    uint32_t dirty_count, dirty_cap;
    uint64_t unplaced;     /* rows with smaller ids are in no bucket yet (an older file); guarded by mutex */
    uint64_t new_unplaced; /* of the worker */
    bool is_unplaced_dirty;
};

/* --- history_sweep.c: which rows go --- */
struct sweep {
    struct history_keep keep;
    uint32_t bucket;               /* looked at next; past the last: nothing is to do before due_ns */
    uint64_t after_id;             /* rows of it up to here were looked at in this round */
    int64_t due_ns;                /* monotonic; INT64_MAX: no row ever goes */
    uint64_t removed;              /* in the open transaction */
    struct history_removal *taken; /* in the open transaction */
};

struct chunk {
    struct chunk *next;
    struct buf rows;
    uint64_t count;
};

/* What the worker sleeps for tells what is worth waking it: every release of an entry would be thousands a second. */
enum sleep {
    SLEEP_NONE,
    SLEEP_IDLE,     /* anything */
    SLEEP_POSITION, /* a row */
    SLEEP_ROWS      /* GATHER_SIZE bytes of rows */
};

struct history {
    uint32_t magic;
    struct history_hooks hooks;
    sqlite3 *writer; /* of the worker, once it runs */
    sqlite3_stmt *insert;
    sqlite3_stmt *update;
    sqlite3_stmt *set_meta;
    sqlite3_stmt *old; /* what a row was before it is written over or removed */
    sqlite3_stmt *remove;
    sqlite3_stmt *place, *unplace, *put_bucket;
    sqlite3_stmt *name_blob, *unname_blob;
    sqlite3_stmt *oldest, *set_rows;
    sqlite3_stmt *set_retried;
    sqlite3_stmt *unplaced_rows, *set_unplaced;
    sqlite3 *reader; /* of the owner */
    sqlite3_stmt *get;
    sqlite3_stmt *names_blob;
    sqlite3_stmt *retried;
    sqlite3_stmt *list[2]; /* by enum list_order, as the next ones */
    sqlite3_stmt *next[2]; /* the next place of a bucket */
    sqlite3_stmt *created; /* the first row from an id on, and when its task was created */

    struct buckets buckets;
    struct history_keep keep;    /* guarded by mutex */
    struct sweep sweep;          /* of the worker */
    struct task_view *view;      /* of the worker: to read rows */
    struct task_view *list_view; /* of the owner */

    struct chunk *making; /* of the owner */
    uint64_t advance_seq; /* of the owner: last told */

    pthread_t thread;
    bool is_running;
    pthread_mutex_t mutex; /* guards what follows, up to the counters */
    pthread_cond_t wake;
    struct chunk *first, *last;
    size_t queued_size;
    uint64_t advance_queued;
    enum sleep sleep;
    bool is_stopping;
    uint64_t done_seq;
    enum status failed_status;
    char failed_why[256];
    bool has_news;
    struct history_removal *removals;     /* asked for */
    struct history_removal *removed_ones; /* done, to be told */

    _Atomic uint64_t rows; /* committed */
    _Atomic uint64_t removed, file_size, free_size;
    _Atomic uint64_t backlog_rows;
    _Atomic uint64_t backlog_size;

    uint64_t reported_seq; /* of the owner */
};

/* SQLite's integers have a sign: an id is stored less 2^63, which keeps the order over the whole range. */
static inline int64_t id_to_sql(uint64_t task_id)
{
    return (int64_t)(task_id ^ (UINT64_C(1) << 63));
}

static inline uint64_t id_from_sql(int64_t id)
{
    return (uint64_t)id ^ (UINT64_C(1) << 63);
}

/* --- history.c --- */
enum status history_status_of(int code);   /* of a code of SQLite */
int history_step(sqlite3_stmt *statement); /* one step and a reset; SQLITE_OK also for a row */

/* Takes the place of a row that is about to be written over or removed; *ret_is_there false: there is no such row. */
int history_unplace_row(struct history *history, uint64_t task_id, bool *ret_is_there);

/* --- history_sweep.c; of the worker --- */
#define SQL_OLDEST                                                                                                     \
    "SELECT task.id, created_ns, finished_ns FROM place JOIN task ON task.id=place.id"                                 \
    " WHERE bucket=?1 AND place.id>?2 ORDER BY place.id LIMIT ?3"
/* Removes some rows that are due, in the open transaction. */
int sweep_step(struct history *history);
/* Removes what was asked for, in the open transaction. */
int sweep_removals(struct history *history);
bool sweep_is_due(struct history *history);
void sweep_committed(struct history *history, bool is_committed);
/* Gives free pages back to the file system, a few, and notes the size of the file. Outside of a transaction. */
int sweep_shrink(struct history *history);

/* --- history_index.c --- */
/* A bucket more is not made: a hostile worker can name any number of errors. What would need one then shares one. */
#define BUCKETS_MAX 65536u
#define INDEX_SCHEMA                                                                                                   \
    "CREATE TABLE bucket(id INTEGER PRIMARY KEY, state INTEGER NOT NULL, queue TEXT NOT NULL, kind TEXT NOT NULL,"     \
    " error_kind TEXT NOT NULL, count INTEGER NOT NULL, first_id INTEGER NOT NULL, last_id INTEGER NOT NULL);"         \
    "CREATE TABLE place(bucket INTEGER NOT NULL, id INTEGER NOT NULL, PRIMARY KEY(bucket, id)) WITHOUT ROWID;"         \
    "CREATE TABLE unplaced(below INTEGER NOT NULL);"
/* Which rows name which blob. */
#define BLOB_SCHEMA                                                                                                    \
    "CREATE TABLE blob_name(digest BLOB NOT NULL, id INTEGER NOT NULL, PRIMARY KEY(digest, id)) WITHOUT ROWID;"
#define SQL_NAMES_BLOB "SELECT 1 FROM blob_name WHERE digest=?1 LIMIT 1"
#define SQL_LIST_NEWEST "SELECT id, row FROM task WHERE id<?1 AND id>=?2 ORDER BY id DESC"
#define SQL_LIST_OLDEST "SELECT id, row FROM task WHERE id>?1 AND id<=?2 ORDER BY id"
#define SQL_NEXT_NEWEST "SELECT id FROM place WHERE bucket=?3 AND id<?1 AND id>=?2 ORDER BY id DESC LIMIT 1"
#define SQL_NEXT_OLDEST "SELECT id FROM place WHERE bucket=?3 AND id>?1 AND id<=?2 ORDER BY id LIMIT 1"
#define SQL_GET "SELECT row FROM task WHERE id=?1"
#define SQL_OLD "SELECT state, queue, kind, row FROM task WHERE id=?1"
#define SQL_CREATED "SELECT id, created_ns FROM task WHERE id>=?1 ORDER BY id LIMIT 1"
#define SQL_UNPLACED "SELECT id, state, queue, kind, row FROM task WHERE id<?1 ORDER BY id DESC LIMIT ?2"
struct row_key {
    int state;
    struct slice queue, kind, error_kind;
    struct slice row;
};
int index_open(struct history *history); /* reads the buckets; before the worker runs */
void index_free(struct history *history);
/* All inside a transaction of the worker; a code of SQLite. */
int index_add(struct history *history, const struct row_key *key, uint64_t task_id);
int index_remove(struct history *history, const struct row_key *key, uint64_t task_id);
int index_flush(struct history *history);    /* before COMMIT: the buckets that changed */
void index_publish(struct history *history); /* after it */
void index_drop(struct history *history);    /* after ROLLBACK */
/* The key of the row `id` as it is in the file; its slices last until history->old is reset, which the caller does. */
int index_key_of(struct history *history, uint64_t task_id, struct row_key *ret_key, bool *ret_is_there);
bool index_is_complete(const struct history *history); /* of the worker */
/* Gives places to at most `max` rows of an older file, newest first. */
int index_place_more(struct history *history, uint32_t max);

#endif
