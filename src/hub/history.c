/* history.c - finished tasks in SQLite.
 *
 *   owner   history_add ──▶ chunk in the making ──advance, or 1 MiB──▶ queue of chunks ──▶ worker
 *           history_poll ◀──wake_owner──────────── position ◀──COMMIT── rows + position in one transaction
 *           history_get, history_list: a connection of their own, which sees what was committed
 *
 * A row and the position that covers it are committed together. After a crash the journal is replayed from the position:
 * a row that comes again replaces itself, a row that was not committed comes for the first time. That is exactly once,
 * by content, without a word between the two stores.
 *
 * One fsync per transaction is what costs, so a transaction takes all that comes within COMMIT_NS, up to COMMIT_ROWS.
 * Chunks stay with the worker until they are committed: a full disk rolls back and they are written again later.
 *
 * Format: table task, table meta (position, number of rows), the tables of history_index.c, application_id and
 * user_version (schema) in the file's header. `row` comes last in a record, so what reads the columns before it does not
 * touch the pages that a large row spills into.
 *
 * Invariants: H1 the position never covers a row that is not in the file; H2 nothing is reported before it is durable;
 * H3 rows of one task are written in the order in which they were added.
 * Rejected: one transaction per entry (an fsync each). */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "hub/history_internal.h"

#define COMMIT_ROWS 20000u
#define COMMIT_NS (200 * NS_PER_MS)
#define GATHER_SIZE (256u << 10) /* queued rows that are worth waking the worker for before COMMIT_NS is over */
#define POSITION_NS NS_PER_S     /* a position that moved without rows is written this much later */
#define RETRY_NS NS_PER_S        /* after a full disk */
#define PLACE_ROWS 1000u         /* of an older file that get a place between two transactions: some 10 ms */
/* Pages of 8 KiB: a row with a small input and result is some hundred bytes. A checkpoint every 64 MiB of log: one per
 * thousand pages, as SQLite does by itself, would sync the file after every large transaction. auto_vacuum is heard only
 * where no table is yet: an older file keeps its size, and uses its free pages again. */
/* What became of a task that was tried again from here. */
#define RETRIED_SCHEMA "CREATE TABLE retried(id INTEGER PRIMARY KEY, as_id INTEGER NOT NULL);"
#define PRAGMAS_WRITER                                                                                                 \
    "PRAGMA page_size=8192; PRAGMA auto_vacuum=INCREMENTAL; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"         \
    "PRAGMA wal_autocheckpoint=8192;"                                                                                  \
    "PRAGMA journal_size_limit=134217728; PRAGMA cache_size=-16384; PRAGMA temp_store=MEMORY;"

enum status history_status_of(int code)
{
    switch (code & 0xff) {
    case SQLITE_OK:
    case SQLITE_DONE:
    case SQLITE_ROW:
        return STATUS_OK;
    case SQLITE_FULL:
        return STATUS_NO_SPACE;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_ERROR: /* our statements are right, so the tables are not */
        return STATUS_CORRUPT;
    case SQLITE_NOMEM:
        return STATUS_NO_MEMORY;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return STATUS_LOCKED;
    default:
        return STATUS_IO;
    }
}

/* The status of the last call on this connection, which gave `code`. SQLite has a code for a full disk, but not where it
 * makes room for the index of its log: there it is an I/O error, and the system's number tells which. */
static enum status status_of_call(sqlite3 *db, int code)
{
    enum status status = history_status_of(code);
    int number = sqlite3_system_errno(db);
    bool is_full = sqlite3_extended_errcode(db) == SQLITE_IOERR_SHMSIZE || number == ENOSPC || number == EDQUOT;
    return status == STATUS_IO && is_full ? STATUS_NO_SPACE : status;
}

/* --- the worker --- */

int history_step(sqlite3_stmt *statement)
{
    int code = sqlite3_step(statement);
    (void)sqlite3_reset(statement);
    return code == SQLITE_DONE || code == SQLITE_ROW ? SQLITE_OK : code;
}

/* One queued row; slices point into its chunk. */
struct row {
    uint64_t task_id;
    int state;
    int64_t created_ns, finished_ns;
    uint64_t retry_of;
    struct slice queue, kind, error_kind, row;
};

static struct row row_get(struct reader *reader)
{
    struct row row;
    row.task_id = reader_u64(reader);
    row.state = reader_u8(reader);
    row.created_ns = (int64_t)reader_u64(reader);
    row.finished_ns = (int64_t)reader_u64(reader);
    row.queue = reader_lv(reader);
    row.kind = reader_lv(reader);
    row.error_kind = reader_lv(reader);
    row.retry_of = reader_u64(reader);
    row.row = reader_lv(reader);
    ensure(!reader->failed);
    return row;
}

static int step_row(sqlite3_stmt *statement, const struct row *row)
{
    (void)sqlite3_bind_int64(statement, 1, id_to_sql(row->task_id));
    (void)sqlite3_bind_int(statement, 2, row->state);
    (void)sqlite3_bind_int64(statement, 3, row->created_ns);
    (void)sqlite3_bind_int64(statement, 4, row->finished_ns);
    (void)sqlite3_bind_text(statement, 5, row->queue.len > 0 ? row->queue.data : "", (int)row->queue.len,
                            SQLITE_STATIC);
    (void)sqlite3_bind_text(statement, 6, row->kind.len > 0 ? row->kind.data : "", (int)row->kind.len, SQLITE_STATIC);
    (void)sqlite3_bind_blob(statement, 7, row->row.len > 0 ? row->row.data : "", (int)row->row.len, SQLITE_STATIC);
    return history_step(statement);
}

int history_unplace_row(struct history *history, uint64_t task_id, bool *ret_is_there)
{
    struct row_key key;
    int code = index_key_of(history, task_id, &key, ret_is_there);
    if (code == SQLITE_OK && *ret_is_there) {
        code = index_remove(history, &key, task_id);
    }
    (void)sqlite3_reset(history->old);
    return code;
}

static int write_row(struct history *history, const struct row *row, int64_t *new_rows)
{
    int code = step_row(history->insert, row);
    if (code == SQLITE_OK && sqlite3_changes(history->writer) == 0) { /* after a restart, or finished once more */
        bool is_there = false;
        code = history_unplace_row(history, row->task_id, &is_there);
        if (code == SQLITE_OK) {
            code = step_row(history->update, row);
        }
    } else if (code == SQLITE_OK) {
        *new_rows += 1;
    }
    if (code == SQLITE_OK) {
        code = index_add(history, &(struct row_key){row->state, row->queue, row->kind, row->error_kind, row->row},
                         row->task_id);
    }
    if (code == SQLITE_OK && row->retry_of != 0) {
        (void)sqlite3_bind_int64(history->set_retried, 1, id_to_sql(row->retry_of));
        (void)sqlite3_bind_int64(history->set_retried, 2, id_to_sql(row->task_id));
        code = history_step(history->set_retried);
    }
    return code;
}

static int insert_rows(struct history *history, const struct chunk *chunk, int64_t *new_rows)
{
    struct reader reader = reader_of(buf_slice(&chunk->rows));
    int code = SQLITE_OK;
    while (code == SQLITE_OK && reader_left(&reader) > 0) {
        struct row row = row_get(&reader);
        code = write_row(history, &row, new_rows);
    }
    return code;
}

static int write_meta(struct history *history, uint64_t position, uint64_t rows)
{
    (void)sqlite3_bind_int64(history->set_meta, 1, (int64_t)position);
    (void)sqlite3_bind_int64(history->set_meta, 2, (int64_t)rows);
    return history_step(history->set_meta);
}

/* What one transaction covers; of the worker. */
struct transaction {
    struct chunk *first, *last; /* all of it, also what is inserted already */
    struct chunk *written;      /* the last chunk inserted; NULL: none */
    uint64_t rows;
    int64_t new_rows; /* of those inserted, the ones that were not there */
    uint64_t position;
    int64_t begun_ns; /* when the first row was seen; 0: none yet */
    bool is_open;
};

static int transaction_write(struct history *history, struct transaction *transaction)
{
    int code = SQLITE_OK;
    if (!transaction->is_open) {
        code = sqlite3_exec(history->writer, "BEGIN IMMEDIATE", NULL, NULL, NULL);
        transaction->is_open = code == SQLITE_OK;
        transaction->written = NULL;
        transaction->new_rows = 0;
    }
    struct chunk *chunk = transaction->written == NULL ? transaction->first : transaction->written->next;
    for (; chunk != NULL && code == SQLITE_OK; chunk = chunk->next) {
        code = insert_rows(history, chunk, &transaction->new_rows);
        if (code == SQLITE_OK) {
            transaction->written = chunk;
        }
    }
    return code;
}

static int transaction_commit(struct history *history, struct transaction *transaction)
{
    int code =
        write_meta(history, transaction->position, atomic_load(&history->rows) + (uint64_t)transaction->new_rows);
    if (code == SQLITE_OK) {
        code = index_flush(history);
    }
    if (code == SQLITE_OK) {
        code = sqlite3_exec(history->writer, "COMMIT", NULL, NULL, NULL);
    }
    if (code == SQLITE_OK) {
        index_publish(history); /* before the position is reported, and with it the tasks leave memory */
    }
    return code;
}

static void chunk_free(struct chunk *chunk)
{
    buf_free(&chunk->rows);
    free(chunk);
}

static void transaction_end(struct history *history, struct transaction *transaction)
{
    uint64_t rows = 0;
    uint64_t size = 0;
    while (transaction->first != NULL) {
        struct chunk *chunk = transaction->first;
        transaction->first = chunk->next;
        rows += chunk->count;
        size += chunk->rows.len;
        chunk_free(chunk);
    }
    atomic_fetch_add(&history->rows, (uint64_t)transaction->new_rows);
    atomic_fetch_sub(&history->backlog_rows, rows);
    atomic_fetch_sub(&history->backlog_size, size);
    uint64_t position = transaction->position;
    *transaction = (struct transaction){.position = position};
}

/* Takes what the owner queued into the transaction. With the lock held. */
static void take_queued(struct history *history, struct transaction *transaction)
{
    struct chunk *chunk = history->first;
    if (chunk != NULL) {
        *(transaction->first == NULL ? &transaction->first : &transaction->last->next) = chunk;
        transaction->last = history->last;
        history->first = NULL;
        history->last = NULL;
        history->queued_size = 0;
        for (; chunk != NULL; chunk = chunk->next) {
            transaction->rows += chunk->count;
        }
    }
    transaction->position = history->advance_queued;
}

/* Sleeps until the owner has something, `until_ns`, or the end. With the lock held. */
static void wait_for_work(struct history *history, enum sleep sleep, int64_t until_ns)
{
    history->sleep = sleep;
    if (until_ns == INT64_MAX) {
        pthread_cond_wait(&history->wake, &history->mutex);
    } else {
        struct timespec until = {.tv_sec = (time_t)(until_ns / NS_PER_S), .tv_nsec = (long)(until_ns % NS_PER_S)};
        (void)pthread_cond_timedwait(&history->wake, &history->mutex, &until);
    }
    history->sleep = SLEEP_NONE;
}

static void report(struct history *history, enum status status, const char *why, uint64_t done_seq)
{
    pthread_mutex_lock(&history->mutex);
    if (status == STATUS_OK) {
        history->done_seq = done_seq;
    } else {
        history->failed_status = status;
        (void)snprintf(history->failed_why, sizeof(history->failed_why), "%s", why);
    }
    history->has_news = true;
    pthread_mutex_unlock(&history->mutex);
    if (history->hooks.wake_owner != NULL) {
        history->hooks.wake_owner(history->hooks.ctx);
    }
}

/* With the lock held: sleeps until there is a reason to write or commit. True: this is the last round. */
static bool gather(struct history *history, struct transaction *transaction, uint64_t written_position)
{
    int64_t position_due_ns = INT64_MAX;
    while (!history->is_stopping) {
        int64_t now_ns = clock_mono_ns();
        if (history->first != NULL || transaction->rows > 0) {
            transaction->begun_ns = transaction->begun_ns == 0 ? now_ns : transaction->begun_ns;
            int64_t due_ns = transaction->begun_ns + COMMIT_NS;
            if (now_ns >= due_ns || history->queued_size >= GATHER_SIZE) {
                break;
            }
            wait_for_work(history, SLEEP_ROWS, due_ns);
        } else if (!index_is_complete(history) || sweep_is_due(history)) {
            break; /* there is something to do in the meantime */
        } else if (history->advance_queued <= written_position) {
            wait_for_work(history, SLEEP_IDLE, history->sweep.due_ns);
        } else if (position_due_ns == INT64_MAX) {
            position_due_ns = now_ns + POSITION_NS;
        } else if (now_ns < position_due_ns) {
            wait_for_work(history, SLEEP_POSITION, position_due_ns);
        } else {
            break;
        }
    }
    take_queued(history, transaction);
    return history->is_stopping;
}

/* What is done beside the rows that come: a little of it, in a transaction of its own. */
static int run_background(struct history *history)
{
    pthread_mutex_lock(&history->mutex);
    bool is_due = sweep_is_due(history);
    pthread_mutex_unlock(&history->mutex);
    bool is_complete = index_is_complete(history);
    if (is_complete && !is_due) {
        return SQLITE_OK;
    }
    int code = sqlite3_exec(history->writer, "BEGIN IMMEDIATE", NULL, NULL, NULL);
    if (code == SQLITE_OK) {
        code = is_complete ? SQLITE_OK : index_place_more(history, PLACE_ROWS);
    }
    if (code == SQLITE_OK && is_due) {
        code = sweep_removals(history);
    }
    if (code == SQLITE_OK && is_complete) {
        code = sweep_step(history);
    }
    if (code == SQLITE_OK) {
        code = index_flush(history);
    }
    if (code == SQLITE_OK) {
        code = sqlite3_exec(history->writer, "COMMIT", NULL, NULL, NULL);
    }
    if (code == SQLITE_OK) {
        index_publish(history);
        sweep_committed(history, true);
        code = sweep_shrink(history);
    }
    return code;
}

/* After `code` in a transaction: says so and sleeps for a while. False: the file cannot be written any more. */
static bool roll_back(struct history *history, struct transaction *transaction, int code)
{
    enum status status = status_of_call(history->writer, code);
    char why[256];
    (void)snprintf(why, sizeof(why), "%s", sqlite3_errmsg(history->writer));
    (void)sqlite3_exec(history->writer, "ROLLBACK", NULL, NULL, NULL);
    index_drop(history);
    sweep_committed(history, false);
    transaction->is_open = false;
    report(history, status, why, 0);
    if (status != STATUS_NO_SPACE && status != STATUS_NO_MEMORY && status != STATUS_LOCKED) {
        return false;
    }
    int64_t until_ns = clock_mono_ns() + RETRY_NS;
    pthread_mutex_lock(&history->mutex);
    while (!history->is_stopping && clock_mono_ns() < until_ns) {
        wait_for_work(history, SLEEP_NONE, until_ns);
    }
    pthread_mutex_unlock(&history->mutex);
    return true;
}

static void *worker_run(void *ctx)
{
    struct history *history = ctx;
    pthread_setname_np(pthread_self(), "shoal-history");
    struct transaction transaction = {0};
    uint64_t written_position = history->done_seq;
    bool is_last = false;
    while (!is_last) {
        pthread_mutex_lock(&history->mutex);
        is_last = gather(history, &transaction, written_position);
        pthread_mutex_unlock(&history->mutex);
        int code = SQLITE_OK;
        bool has_work = transaction.rows > 0 || transaction.position > written_position;
        if (has_work) {
            code = transaction_write(history, &transaction);
            bool is_due = is_last || transaction.rows == 0 || transaction.rows >= COMMIT_ROWS ||
                          clock_mono_ns() - transaction.begun_ns >= COMMIT_NS;
            if (code == SQLITE_OK && !is_due) {
                continue;
            }
            code = code == SQLITE_OK ? transaction_commit(history, &transaction) : code;
            if (code == SQLITE_OK) {
                written_position = transaction.position;
                transaction_end(history, &transaction);
                report(history, STATUS_OK, NULL, written_position);
            }
        }
        if (code == SQLITE_OK && !is_last) {
            code = run_background(history);
        }
        if (code != SQLITE_OK && !roll_back(history, &transaction, code)) {
            break;
        }
    }
    /* What could not be written comes again from the journal: the position does not cover it. */
    while (transaction.first != NULL) {
        struct chunk *chunk = transaction.first;
        transaction.first = chunk->next;
        chunk_free(chunk);
    }
    return NULL;
}

/* --- opening --- */

static enum status open_error(struct buf *why, const char *path, const char *what, sqlite3 *db, int code)
{
    enum status status = db != NULL ? status_of_call(db, code) : history_status_of(code);
    if (why != NULL) {
        buf_printf(why, "the history file %s cannot be used: %s%s%s", path,
                   status == STATUS_NO_SPACE ? "the disk is full" : what, db != NULL ? ": " : "",
                   db != NULL ? sqlite3_errmsg(db) : "");
    }
    return status == STATUS_OK ? STATUS_CORRUPT : status;
}

static int pragma_get(sqlite3 *db, const char *sql, int64_t *ret_value)
{
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(db, sql, -1, &statement, NULL);
    if (code == SQLITE_OK) {
        code = sqlite3_step(statement);
        if (code == SQLITE_ROW) {
            *ret_value = sqlite3_column_int64(statement, 0);
            code = SQLITE_OK;
        }
    }
    (void)sqlite3_finalize(statement);
    return code == SQLITE_DONE ? SQLITE_OK : code;
}

static int exec_with_schema(sqlite3 *db, const char *statements)
{
    char sql[2048];
    int len =
        snprintf(sql, sizeof(sql), "BEGIN IMMEDIATE; %s PRAGMA application_id=%d; PRAGMA user_version=%d; COMMIT;",
                 statements, HISTORY_APPLICATION_ID, HISTORY_SCHEMA);
    ensure(len > 0 && (size_t)len < sizeof(sql));
    return sqlite3_exec(db, sql, NULL, NULL, NULL);
}

static int make_tables(sqlite3 *db)
{
    return exec_with_schema(
        db, "CREATE TABLE task(id INTEGER PRIMARY KEY, state INTEGER NOT NULL, created_ns INTEGER NOT NULL,"
            " finished_ns INTEGER NOT NULL, queue TEXT NOT NULL, kind TEXT NOT NULL, row BLOB NOT NULL);"
            "CREATE TABLE meta(position INTEGER NOT NULL, rows INTEGER NOT NULL);"
            "INSERT INTO meta VALUES(0, 0);" INDEX_SCHEMA BLOB_SCHEMA RETRIED_SCHEMA
            "INSERT INTO unplaced VALUES(-9223372036854775807-1);");
}

/* Schema 1 had no index, schema 2 did not know which rows name blobs: both get that later, in the background. Schema 3 did not
 * know what was tried again. */
static int upgrade_tables(sqlite3 *db, int64_t schema)
{
    static const char all_unplaced[] =
        "DELETE FROM unplaced;"
        "INSERT INTO unplaced SELECT coalesce(max(id)+1, -9223372036854775807-1) FROM task;";
    char sql[1536];
    if (schema == 3) {
        return exec_with_schema(db, RETRIED_SCHEMA);
    }
    int len =
        snprintf(sql, sizeof(sql), "%s" BLOB_SCHEMA RETRIED_SCHEMA "%s", schema < 2 ? INDEX_SCHEMA : "", all_unplaced);
    ensure(len > 0 && (size_t)len < sizeof(sql));
    return exec_with_schema(db, sql);
}

static enum status prepare_schema(sqlite3 *db, const char *path, struct buf *why, uint64_t *ret_seq, uint64_t *ret_rows)
{
    int64_t schema = 0;
    int64_t application = 0;
    int64_t tables = 0;
    int code = sqlite3_exec(db, PRAGMAS_WRITER, NULL, NULL, NULL);
    if (code == SQLITE_OK) {
        code = pragma_get(db, "PRAGMA user_version", &schema);
    }
    if (code == SQLITE_OK) {
        code = pragma_get(db, "PRAGMA application_id", &application);
    }
    if (code == SQLITE_OK) {
        code = pragma_get(db, "SELECT count(*) FROM sqlite_master", &tables);
    }
    if (code != SQLITE_OK) {
        return open_error(why, path, "it is damaged or no SQLite file", db, code);
    }
    if (tables > 0 && application != HISTORY_APPLICATION_ID) {
        return open_error(why, path, "it belongs to another program", NULL, SQLITE_CORRUPT);
    }
    if (schema > HISTORY_SCHEMA) {
        return open_error(why, path, "a newer version of Shoal wrote it", NULL, SQLITE_CORRUPT);
    }
    code = tables == 0 ? make_tables(db) : schema < HISTORY_SCHEMA ? upgrade_tables(db, schema) : SQLITE_OK;
    if (code != SQLITE_OK) {
        return open_error(why, path, "its tables cannot be made", db, code);
    }
    int64_t position = -1;
    int64_t rows = -1;
    code = pragma_get(db, "SELECT position FROM meta", &position);
    if (code == SQLITE_OK) {
        code = pragma_get(db, "SELECT rows FROM meta", &rows);
    }
    if (code != SQLITE_OK || position < 0 || rows < 0) {
        return open_error(why, path, "it is damaged", db, code == SQLITE_OK ? SQLITE_CORRUPT : code);
    }
    *ret_seq = (uint64_t)position;
    *ret_rows = (uint64_t)rows;
    return STATUS_OK;
}

static void free_all(struct history *history)
{
    (void)sqlite3_finalize(history->insert);
    (void)sqlite3_finalize(history->update);
    (void)sqlite3_finalize(history->set_meta);
    sqlite3_stmt *const others[] = {
        history->old,           history->remove,       history->place,   history->unplace,   history->put_bucket,
        history->unplaced_rows, history->set_unplaced, history->get,     history->created,   history->list[0],
        history->list[1],       history->next[0],      history->next[1], history->name_blob, history->unname_blob,
        history->names_blob,    history->oldest,       history->set_rows};
    for (size_t i = 0; i < ARRAY_COUNT(others); i++) {
        (void)sqlite3_finalize(others[i]);
    }
    index_free(history);
    free(history->view);
    free(history->list_view);
    (void)sqlite3_close(history->reader);
    (void)sqlite3_close(history->writer);
    while (history->first != NULL) {
        struct chunk *chunk = history->first;
        history->first = chunk->next;
        chunk_free(chunk);
    }
    if (history->making != NULL) {
        chunk_free(history->making);
    }
    pthread_cond_destroy(&history->wake);
    pthread_mutex_destroy(&history->mutex);
    history->magic = 0;
    free(history);
}

static enum status open_connections(struct history *history, const char *path, struct buf *why, uint64_t *ret_seq)
{
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX;
    /* SQLite would make it readable by everybody; -wal and -shm take over what it has. */
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
    if (fd >= 0) {
        close(fd);
    }
    int code = sqlite3_open_v2(path, &history->writer, flags | SQLITE_OPEN_CREATE, NULL);
    if (code != SQLITE_OK) {
        return open_error(why, path, "it cannot be opened", history->writer, code);
    }
    (void)sqlite3_busy_timeout(history->writer, 2000);
    uint64_t rows = 0;
    enum status status = prepare_schema(history->writer, path, why, ret_seq, &rows);
    if (status != STATUS_OK) {
        return status;
    }
    atomic_init(&history->rows, rows);
    code = sqlite3_open_v2(path, &history->reader, flags, NULL);
    if (code != SQLITE_OK) {
        return open_error(why, path, "it cannot be opened", history->reader, code);
    }
    (void)sqlite3_busy_timeout(history->reader, 2000);
    (void)sqlite3_exec(history->reader, "PRAGMA query_only=1; PRAGMA cache_size=-8192", NULL, NULL, NULL);
    struct {
        sqlite3 *db;
        const char *sql;
        sqlite3_stmt **ret;
    } statements[] = {
        {history->writer, "INSERT OR IGNORE INTO task VALUES(?1,?2,?3,?4,?5,?6,?7)", &history->insert},
        {history->writer,
         "UPDATE task SET state=?2, created_ns=?3, finished_ns=?4, queue=?5, kind=?6, row=?7 WHERE id=?1",
         &history->update},
        {history->writer, "UPDATE meta SET position=?1, rows=?2", &history->set_meta},
        {history->writer, SQL_OLD, &history->old},
        {history->writer, "DELETE FROM task WHERE id=?1", &history->remove},
        {history->writer, "INSERT OR IGNORE INTO place VALUES(?1,?2)", &history->place},
        {history->writer, "DELETE FROM place WHERE bucket=?1 AND id=?2", &history->unplace},
        {history->writer, "INSERT OR REPLACE INTO bucket VALUES(?1,?2,?3,?4,?5,?6,?7,?8)", &history->put_bucket},
        {history->writer, SQL_UNPLACED, &history->unplaced_rows},
        {history->writer, "UPDATE unplaced SET below=?1", &history->set_unplaced},
        {history->writer, "INSERT OR IGNORE INTO blob_name VALUES(?1,?2)", &history->name_blob},
        {history->writer, "DELETE FROM blob_name WHERE digest=?1 AND id=?2", &history->unname_blob},
        {history->writer, SQL_OLDEST, &history->oldest},
        {history->writer, "UPDATE meta SET rows=?1", &history->set_rows},
        {history->writer, "INSERT OR REPLACE INTO retried VALUES(?1,?2)", &history->set_retried},
        {history->reader, "SELECT as_id FROM retried WHERE id=?1", &history->retried},
        {history->reader, SQL_NAMES_BLOB, &history->names_blob},
        {history->reader, SQL_GET, &history->get},
        {history->reader, SQL_CREATED, &history->created},
        {history->reader, SQL_LIST_NEWEST, &history->list[LIST_NEWEST]},
        {history->reader, SQL_LIST_OLDEST, &history->list[LIST_OLDEST]},
        {history->reader, SQL_NEXT_NEWEST, &history->next[LIST_NEWEST]},
        {history->reader, SQL_NEXT_OLDEST, &history->next[LIST_OLDEST]},
    };
    for (size_t i = 0; i < ARRAY_COUNT(statements); i++) {
        code = sqlite3_prepare_v3(statements[i].db, statements[i].sql, -1, SQLITE_PREPARE_PERSISTENT, statements[i].ret,
                                  NULL);
        if (code != SQLITE_OK) {
            return open_error(why, path, "its tables are not as expected", statements[i].db, SQLITE_CORRUPT);
        }
    }
    code = index_open(history);
    return code == SQLITE_OK ? STATUS_OK : open_error(why, path, "its index cannot be read", history->writer, code);
}

enum status history_open(const char *path, const struct history_hooks *hooks, struct history **ret_history,
                         uint64_t *ret_seq, struct buf *ret_why)
{
    struct history *history = calloc(1, sizeof(*history));
    if (history == NULL) {
        return STATUS_NO_MEMORY;
    }
    history->magic = HISTORY_MAGIC;
    history->hooks = *hooks;
    history->sweep.due_ns = INT64_MAX;
    history->view = malloc(sizeof(*history->view));
    history->list_view = malloc(sizeof(*history->list_view));
    ensure(history->view != NULL && history->list_view != NULL); /* at start, and 2 KiB */
    pthread_mutex_init(&history->buckets.mutex, NULL);
    map_init(&history->buckets.map);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&history->mutex, NULL);
    pthread_cond_init(&history->wake, &attr);
    pthread_condattr_destroy(&attr);

    uint64_t seq = 0;
    enum status status = open_connections(history, path, ret_why, &seq);
    if (status != STATUS_OK) {
        free_all(history);
        return status;
    }
    history->done_seq = seq;
    history->reported_seq = seq;
    history->advance_seq = seq;
    history->advance_queued = seq;
    if (pthread_create(&history->thread, NULL, worker_run, history) != 0) {
        free_all(history);
        return STATUS_NO_MEMORY;
    }
    history->is_running = true;
    *ret_history = history;
    *ret_seq = seq;
    return STATUS_OK;
}

static void worker_end(struct history *history)
{
    if (history->is_running) {
        pthread_mutex_lock(&history->mutex);
        history->is_stopping = true;
        pthread_cond_signal(&history->wake);
        pthread_mutex_unlock(&history->mutex);
        pthread_join(history->thread, NULL);
        history->is_running = false;
    }
}

enum status history_rewind(struct history *history, uint64_t seq)
{
    ensure_magic(history, HISTORY_MAGIC);
    ensure(history->making == NULL && atomic_load(&history->backlog_rows) == 0);
    /* The worker is asleep in between: nothing was added. Its thread is ended so that its connection may be used here. */
    worker_end(history);
    int code = write_meta(history, seq, atomic_load(&history->rows));
    if (code != SQLITE_OK) {
        return history_status_of(code);
    }
    history->done_seq = seq;
    history->reported_seq = seq;
    history->advance_seq = seq;
    history->advance_queued = seq;
    history->is_stopping = false;
    if (pthread_create(&history->thread, NULL, worker_run, history) != 0) {
        return STATUS_NO_MEMORY;
    }
    history->is_running = true;
    return STATUS_OK;
}

/* Hands the chunk in the making, if any, and the position to the worker. */
static void hand_over(struct history *history)
{
    struct chunk *chunk = TAKE(history->making);
    pthread_mutex_lock(&history->mutex);
    if (chunk != NULL) {
        *(history->first == NULL ? &history->first : &history->last->next) = chunk;
        history->last = chunk;
        history->queued_size += chunk->rows.len;
    }
    history->advance_queued = history->advance_seq;
    bool wakes = history->sleep == SLEEP_IDLE || (history->sleep == SLEEP_POSITION && chunk != NULL) ||
                 (history->sleep == SLEEP_ROWS && history->queued_size >= GATHER_SIZE);
    pthread_mutex_unlock(&history->mutex);
    if (wakes) {
        pthread_cond_signal(&history->wake);
    }
}

void history_close(struct history *history)
{
    if (history == NULL) {
        return;
    }
    ensure_magic(history, HISTORY_MAGIC);
    hand_over(history);
    worker_end(history);
    free_all(history);
}

/* --- the owner's side --- */

void history_add(struct history *history, const struct effect_finished *finished, uint64_t seq)
{
    ensure_magic(history, HISTORY_MAGIC);
    ensure(seq > 0);
    if (history->making == NULL) {
        history->making = calloc(1, sizeof(*history->making));
        ensure(history->making != NULL); /* a row must not be lost, and there is nobody to tell */
        buf_init(&history->making->rows, SIZE_MAX / 4);
    }
    struct buf *rows = &history->making->rows;
    size_t before = rows->len;
    buf_append_u64(rows, finished->task_id);
    buf_append_u8(rows, (uint8_t)finished->state);
    buf_append_u64(rows, (uint64_t)finished->created_ns);
    buf_append_u64(rows, (uint64_t)finished->finished_ns);
    buf_append_lv(rows, finished->queue);
    buf_append_lv(rows, finished->kind);
    buf_append_lv(rows, finished->error_kind);
    buf_append_u64(rows, finished->retry_of);
    buf_append_lv(rows, finished->row);
    ensure(buf_status(rows) == STATUS_OK);
    history->making->count++;
    atomic_fetch_add(&history->backlog_rows, 1);
    atomic_fetch_add(&history->backlog_size, rows->len - before);
    if (rows->len >= CHUNK_SIZE) {
        hand_over(history);
    }
}

void history_advance(struct history *history, uint64_t seq)
{
    ensure_magic(history, HISTORY_MAGIC);
    bool is_first = history->advance_seq < seq;
    history->advance_seq = seq > history->advance_seq ? seq : history->advance_seq;
    if (is_first || history->making != NULL) {
        hand_over(history);
    }
}

void history_poll(struct history *history)
{
    ensure_magic(history, HISTORY_MAGIC);
    pthread_mutex_lock(&history->mutex);
    uint64_t done_seq = history->done_seq;
    enum status status = history->failed_status;
    char why[sizeof(history->failed_why)];
    memcpy(why, history->failed_why, sizeof(why));
    history->failed_status = STATUS_OK;
    struct history_removal *removed = TAKE(history->removed_ones);
    pthread_mutex_unlock(&history->mutex);
    while (removed != NULL) {
        struct history_removal *removal = removed;
        removed = removal->next;
        removal->done(removal, removal->status);
    }
    if (done_seq > history->reported_seq) {
        history->reported_seq = done_seq;
        history->hooks.on_done(history->hooks.ctx, done_seq);
    }
    if (status != STATUS_OK) {
        history->hooks.on_failed(history->hooks.ctx, status, why);
    }
}

uint64_t history_backlog(const struct history *history)
{
    return atomic_load(&history->backlog_rows);
}

uint64_t history_backlog_size(const struct history *history)
{
    return atomic_load(&history->backlog_size);
}

/* --- reads --- */

enum status history_get(struct history *history, uint64_t task_id, struct buf *row)
{
    ensure_magic(history, HISTORY_MAGIC);
    sqlite3_stmt *get = history->get;
    (void)sqlite3_bind_int64(get, 1, id_to_sql(task_id));
    int code = sqlite3_step(get);
    enum status status;
    if (code == SQLITE_ROW) {
        buf_append(row, sqlite3_column_blob(get, 0), (size_t)sqlite3_column_bytes(get, 0));
        status = buf_status(row);
    } else {
        status = code == SQLITE_DONE ? STATUS_NOT_FOUND : history_status_of(code);
    }
    (void)sqlite3_reset(get);
    return status;
}

uint64_t history_retried_as(struct history *history, uint64_t task_id)
{
    ensure_magic(history, HISTORY_MAGIC);
    sqlite3_stmt *retried = history->retried;
    (void)sqlite3_bind_int64(retried, 1, id_to_sql(task_id));
    uint64_t as = sqlite3_step(retried) == SQLITE_ROW ? id_from_sql(sqlite3_column_int64(retried, 0)) : 0;
    (void)sqlite3_reset(retried);
    return as;
}

uint64_t history_count(struct history *history)
{
    ensure_magic(history, HISTORY_MAGIC);
    return atomic_load(&history->rows);
}
