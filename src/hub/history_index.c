/* history_index.c - which rows a filter wants, newest or oldest first, without looking at the others.
 *
 * Rows are sorted into buckets, one for each (state, queue, kind, kind of the error) that occurs: a handful on most hubs.
 * Table `place` is the only index: (bucket, id). A filter selects buckets, and their ids are merged in order:
 *
 *   state=dead ─▶ bucket 3 (dead default code.run boom)  … 812, 790, 13
 *                 bucket 7 (dead night code.run timeout) … 801, 44        ─▶ 812, 801, 790, 44, 13
 *
 * So every filter and every pair of filters costs one seek for each row of the page and one for each bucket that may
 * have one, and an insert pays for one index instead of one for each pair. Buckets lie in memory, with how many rows
 * they have and the bounds of their ids: a bucket is only asked when the merge comes down to its bound, so that the first page
 * of ten thousand buckets seeks a page's worth of times.
 *
 * Times are a range of ids, because ids are in order of creation: its ends are found by bisection on the primary key.
 *
 * The tables change in the transaction that writes the row; memory follows after COMMIT, before the position is told.
 * What a reader does not see yet is therefore still in the core's memory.
 *
 * A file from before this index gets its places in the background, newest rows first; what lies below `unplaced` is found
 * by walking. Invariant H4: a row with an id of at least `unplaced` has exactly one place, in the bucket of its key.
 * Rejected: an index for each filter and pair (ten, each a third of the insert's cost). */
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "base/entropy.h"
#include "base/hash.h"
#include "hub/history_internal.h"
#include "proto/blob_name.h"

#define SHARED_BUCKET 0u /* the one of what found no bucket */

/* --- buckets --- */

static uint64_t key_hash(const struct row_key *key)
{
    const struct hash_key *process = entropy_hash_key();
    uint64_t hash = hash_keyed(process, (uint64_t)(key->state + 1), key->queue);
    return hash_keyed(process, hash_keyed(process, hash, key->kind), key->error_kind);
}

static bool key_is_of(const void *ctx, uint32_t value, const void *key_)
{
    const struct buckets *buckets = ctx;
    const struct row_key *key = key_;
    const struct bucket *bucket = buckets->items[value];
    return bucket->state == key->state && slice_equal(bucket->queue, key->queue) &&
           slice_equal(bucket->kind, key->kind) && slice_equal(bucket->error_kind, key->error_kind);
}

static uint64_t hash_of_value(const void *ctx, uint32_t value)
{
    const struct buckets *buckets = ctx;
    return buckets->items[value]->hash;
}

/* A new bucket behind the last one, in memory; it gets into the file when it has a row. */
static struct bucket *bucket_make(struct buckets *buckets, const struct row_key *key)
{
    size_t size = key->queue.len + key->kind.len + key->error_kind.len;
    struct bucket *bucket = calloc(1, sizeof(*bucket) + size);
    ensure(bucket != NULL);
    char *text = (char *)(bucket + 1);
    const struct {
        const struct slice *from;
        struct slice *into;
    } texts[] = {{&key->queue, &bucket->queue}, {&key->kind, &bucket->kind}, {&key->error_kind, &bucket->error_kind}};
    for (size_t i = 0; i < ARRAY_COUNT(texts); i++) {
        if (texts[i].from->len > 0) {
            memcpy(text, texts[i].from->data, texts[i].from->len);
        }
        *texts[i].into = slice_of(text, texts[i].from->len);
        text += texts[i].from->len;
    }
    bucket->state = key->state;
    bucket->hash = key_hash(key);
    bucket->first_id = bucket->new_first_id = UINT64_MAX;
    pthread_mutex_lock(&buckets->mutex);
    if (buckets->count == buckets->cap) {
        buckets->cap = buckets->cap == 0 ? 64 : buckets->cap * 2;
        buckets->items = realloc(buckets->items, buckets->cap * sizeof(struct bucket *));
        ensure(buckets->items != NULL);
    }
    buckets->items[buckets->count++] = bucket;
    pthread_mutex_unlock(&buckets->mutex);
    if (buckets->count - 1 != SHARED_BUCKET) {
        ensure(map_add(&buckets->map, bucket->hash, buckets->count - 1, hash_of_value, buckets));
    }
    return bucket;
}

static uint32_t bucket_find(struct buckets *buckets, const struct row_key *key, bool makes)
{
    uint32_t found = map_find(&buckets->map, key_hash(key), key_is_of, buckets, key);
    if (found == MAP_NONE && makes && buckets->count < BUCKETS_MAX) {
        (void)bucket_make(buckets, key);
        found = buckets->count - 1;
    }
    return found != MAP_NONE ? found : SHARED_BUCKET;
}

static struct bucket *bucket_dirty(struct buckets *buckets, uint32_t index)
{
    struct bucket *bucket = buckets->items[index];
    if (!bucket->is_dirty) {
        if (buckets->dirty_count == buckets->dirty_cap) {
            buckets->dirty_cap = buckets->dirty_cap == 0 ? 64 : buckets->dirty_cap * 2;
            buckets->dirty = realloc(buckets->dirty, buckets->dirty_cap * sizeof(uint32_t));
            ensure(buckets->dirty != NULL);
        }
        buckets->dirty[buckets->dirty_count++] = index;
        bucket->is_dirty = true;
    }
    return bucket;
}

static void bind_slice(sqlite3_stmt *statement, int at, struct slice text)
{
    (void)sqlite3_bind_text(statement, at, text.len > 0 ? text.data : "", (int)text.len, SQLITE_STATIC);
}

static struct slice column_slice(sqlite3_stmt *statement, int column)
{
    const void *text = sqlite3_column_blob(statement, column);
    return slice_of(text, (size_t)sqlite3_column_bytes(statement, column));
}

/* --- the worker's side --- */

/* Runs the statement for each blob that the row names. */
static int for_blobs(sqlite3_stmt *statement, struct slice row, uint64_t task_id)
{
    uint8_t digest[SHA256_SIZE];
    int code = SQLITE_OK;
    for (size_t at = 0; code == SQLITE_OK && blob_name_next(row, &at, digest);) {
        (void)sqlite3_bind_blob(statement, 1, digest, sizeof(digest), SQLITE_STATIC);
        (void)sqlite3_bind_int64(statement, 2, id_to_sql(task_id));
        code = history_step(statement);
    }
    return code;
}

int index_add(struct history *history, const struct row_key *key, uint64_t task_id)
{
    struct buckets *buckets = &history->buckets;
    uint32_t index = bucket_find(buckets, key, true);
    (void)sqlite3_bind_int64(history->place, 1, index);
    (void)sqlite3_bind_int64(history->place, 2, id_to_sql(task_id));
    int code = history_step(history->place);
    if (code == SQLITE_OK && sqlite3_changes(history->writer) > 0) {
        struct bucket *bucket = bucket_dirty(buckets, index);
        bucket->added++;
        bucket->new_first_id = task_id < bucket->new_first_id ? task_id : bucket->new_first_id;
        bucket->new_last_id = task_id > bucket->new_last_id ? task_id : bucket->new_last_id;
    }
    return code == SQLITE_OK ? for_blobs(history->name_blob, key->row, task_id) : code;
}

int index_remove(struct history *history, const struct row_key *key, uint64_t task_id)
{
    /* Its bucket, or the shared one when that had been full. */
    const uint32_t places[] = {bucket_find(&history->buckets, key, false), SHARED_BUCKET};
    int named = for_blobs(history->unname_blob, key->row, task_id);
    if (named != SQLITE_OK) {
        return named;
    }
    for (size_t i = 0; i < ARRAY_COUNT(places); i++) {
        (void)sqlite3_bind_int64(history->unplace, 1, places[i]);
        (void)sqlite3_bind_int64(history->unplace, 2, id_to_sql(task_id));
        int code = history_step(history->unplace);
        if (code != SQLITE_OK) {
            return code;
        }
        if (sqlite3_changes(history->writer) > 0) {
            bucket_dirty(&history->buckets, places[i])->added--;
            return SQLITE_OK;
        }
    }
    return SQLITE_OK; /* it had no place yet */
}

int index_key_of(struct history *history, uint64_t task_id, struct row_key *ret_key, bool *ret_is_there)
{
    (void)sqlite3_bind_int64(history->old, 1, id_to_sql(task_id));
    int code = sqlite3_step(history->old);
    *ret_is_there = code == SQLITE_ROW;
    if (code == SQLITE_ROW) {
        bool is_view = task_view_get(column_slice(history->old, 3), history->view) == STATUS_OK;
        *ret_key = (struct row_key){.state = sqlite3_column_int(history->old, 0),
                                    .queue = column_slice(history->old, 1),
                                    .kind = column_slice(history->old, 2),
                                    .row = column_slice(history->old, 3),
                                    .error_kind = is_view ? history->view->error_kind : (struct slice){NULL, 0}};
    }
    return code == SQLITE_ROW || code == SQLITE_DONE ? SQLITE_OK : code;
}

int index_flush(struct history *history)
{
    struct buckets *buckets = &history->buckets;
    sqlite3_stmt *put = history->put_bucket;
    int code = SQLITE_OK;
    for (uint32_t i = 0; i < buckets->dirty_count && code == SQLITE_OK; i++) {
        const struct bucket *bucket = buckets->items[buckets->dirty[i]];
        uint64_t first = bucket->first_id < bucket->new_first_id ? bucket->first_id : bucket->new_first_id;
        uint64_t last = bucket->last_id > bucket->new_last_id ? bucket->last_id : bucket->new_last_id;
        (void)sqlite3_bind_int64(put, 1, buckets->dirty[i]);
        (void)sqlite3_bind_int(put, 2, bucket->state);
        bind_slice(put, 3, bucket->queue);
        bind_slice(put, 4, bucket->kind);
        bind_slice(put, 5, bucket->error_kind);
        (void)sqlite3_bind_int64(put, 6, (int64_t)bucket->count + bucket->added);
        (void)sqlite3_bind_int64(put, 7, id_to_sql(first));
        (void)sqlite3_bind_int64(put, 8, id_to_sql(last));
        code = history_step(put);
    }
    if (code == SQLITE_OK && buckets->is_unplaced_dirty) {
        (void)sqlite3_bind_int64(history->set_unplaced, 1, id_to_sql(buckets->new_unplaced));
        code = history_step(history->set_unplaced);
    }
    return code;
}

static void forget_dirty(struct buckets *buckets)
{
    for (uint32_t i = 0; i < buckets->dirty_count; i++) {
        struct bucket *bucket = buckets->items[buckets->dirty[i]];
        bucket->added = 0;
        bucket->new_first_id = UINT64_MAX;
        bucket->new_last_id = 0;
        bucket->is_dirty = false;
    }
    buckets->dirty_count = 0;
    buckets->new_unplaced = buckets->unplaced;
    buckets->is_unplaced_dirty = false;
}

void index_publish(struct history *history)
{
    struct buckets *buckets = &history->buckets;
    pthread_mutex_lock(&buckets->mutex);
    for (uint32_t i = 0; i < buckets->dirty_count; i++) {
        struct bucket *bucket = buckets->items[buckets->dirty[i]];
        bucket->count += (uint64_t)bucket->added;
        bucket->first_id = bucket->first_id < bucket->new_first_id ? bucket->first_id : bucket->new_first_id;
        bucket->last_id = bucket->last_id > bucket->new_last_id ? bucket->last_id : bucket->new_last_id;
    }
    buckets->unplaced = buckets->is_unplaced_dirty ? buckets->new_unplaced : buckets->unplaced;
    pthread_mutex_unlock(&buckets->mutex);
    forget_dirty(buckets);
}

void index_drop(struct history *history)
{
    forget_dirty(&history->buckets);
}

bool index_is_complete(const struct history *history)
{
    return history->buckets.new_unplaced == 0;
}

int index_place_more(struct history *history, uint32_t max)
{
    struct buckets *buckets = &history->buckets;
    sqlite3_stmt *rows = history->unplaced_rows;
    (void)sqlite3_bind_int64(rows, 1, id_to_sql(buckets->new_unplaced));
    (void)sqlite3_bind_int64(rows, 2, max);
    uint64_t below = buckets->new_unplaced;
    uint32_t count = 0;
    int code;
    while ((code = sqlite3_step(rows)) == SQLITE_ROW) {
        bool is_view = task_view_get(column_slice(rows, 4), history->view) == STATUS_OK;
        struct row_key key = {.state = sqlite3_column_int(rows, 1),
                              .queue = column_slice(rows, 2),
                              .kind = column_slice(rows, 3),
                              .row = column_slice(rows, 4),
                              .error_kind = is_view ? history->view->error_kind : (struct slice){NULL, 0}};
        below = id_from_sql(sqlite3_column_int64(rows, 0));
        code = index_add(history, &key, below);
        if (code != SQLITE_OK) {
            break;
        }
        count++;
    }
    (void)sqlite3_reset(rows);
    if (code != SQLITE_DONE) {
        return code;
    }
    buckets->new_unplaced = count < max ? 0 : below;
    buckets->is_unplaced_dirty = true;
    return SQLITE_OK;
}

/* --- opening --- */

static int read_buckets(struct history *history, sqlite3_stmt *statement)
{
    struct buckets *buckets = &history->buckets;
    int code;
    while ((code = sqlite3_step(statement)) == SQLITE_ROW) {
        uint32_t id = (uint32_t)sqlite3_column_int64(statement, 0);
        if (sqlite3_column_int64(statement, 0) < 0 || id >= BUCKETS_MAX) {
            return SQLITE_CORRUPT;
        }
        struct row_key key = {.state = sqlite3_column_int(statement, 1),
                              .queue = column_slice(statement, 2),
                              .kind = column_slice(statement, 3),
                              .error_kind = column_slice(statement, 4)};
        /* Ids without a row in the file were made for a transaction that never was: they stay, without a name. */
        while (buckets->count < id) {
            (void)bucket_make(buckets, &(struct row_key){.state = -2});
        }
        struct bucket *bucket = NULL;
        if (id < buckets->count) {
            if (id != SHARED_BUCKET) {
                return SQLITE_CORRUPT;
            }
            bucket = buckets->items[id];
        } else {
            bucket = bucket_make(buckets, &key);
        }
        bucket->count = (uint64_t)sqlite3_column_int64(statement, 5);
        bucket->first_id = id_from_sql(sqlite3_column_int64(statement, 6));
        bucket->last_id = id_from_sql(sqlite3_column_int64(statement, 7));
    }
    return code == SQLITE_DONE ? SQLITE_OK : code;
}

int index_open(struct history *history)
{
    struct buckets *buckets = &history->buckets;
    (void)bucket_make(buckets, &(struct row_key){.state = -1}); /* SHARED_BUCKET */
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(history->writer, "SELECT * FROM bucket ORDER BY id", -1, &statement, NULL);
    if (code == SQLITE_OK) {
        code = read_buckets(history, statement);
    }
    (void)sqlite3_finalize(statement);
    statement = NULL;
    if (code == SQLITE_OK) {
        code = sqlite3_prepare_v2(history->writer, "SELECT below FROM unplaced", -1, &statement, NULL);
    }
    if (code == SQLITE_OK) {
        code = sqlite3_step(statement) == SQLITE_ROW ? SQLITE_OK : SQLITE_CORRUPT;
        buckets->unplaced = buckets->new_unplaced = id_from_sql(sqlite3_column_int64(statement, 0));
    }
    (void)sqlite3_finalize(statement);
    return code;
}

void index_free(struct history *history)
{
    struct buckets *buckets = &history->buckets;
    for (uint32_t i = 0; i < buckets->count; i++) {
        free(buckets->items[i]);
    }
    free(buckets->items);
    free(buckets->dirty);
    map_free(&buckets->map);
    pthread_mutex_destroy(&buckets->mutex);
}

/* --- the owner's side: lists --- */

struct run { /* what is left of one bucket */
    uint32_t bucket;
    bool is_exact; /* `id` is a row; else only a bound: nothing of the bucket comes before it */
    uint64_t id;
};

struct walk {
    struct history *history;
    const struct task_filter *filter;
    enum list_order order;
    uint64_t low, high; /* ids in [low, high] */
    uint64_t at;        /* beyond this one */
    uint32_t left;      /* rows that may be looked at and not visited */
    bool (*visit)(void *ctx, uint64_t task_id, struct slice row);
    void *ctx;
    struct run *runs; /* owned; a heap, the next id on top */
    uint32_t run_count;
    uint64_t last; /* the last id that was looked at, when it ended early */
    bool is_over;  /* by the visitor, or because too much was looked at */
};

static bool comes_before(const struct walk *walk, uint64_t a, uint64_t b)
{
    return walk->order == LIST_NEWEST ? a > b : a < b;
}

static void sift_down(struct walk *walk, uint32_t at)
{
    for (;;) {
        uint32_t best = at;
        for (uint32_t child = 2 * at + 1; child <= 2 * at + 2 && child < walk->run_count; child++) {
            best = comes_before(walk, walk->runs[child].id, walk->runs[best].id) ? child : best;
        }
        if (best == at) {
            return;
        }
        struct run run = walk->runs[at];
        walk->runs[at] = walk->runs[best];
        walk->runs[best] = run;
        at = best;
    }
}

static bool bucket_is_wanted(const struct bucket *bucket, const struct task_filter *filter)
{
    if (bucket->count == 0 || bucket->state < -1) {
        return false;
    }
    return bucket->state == -1 ||
           ((filter->state < 0 || filter->state == bucket->state) &&
            (filter->queue.len == 0 || slice_equal(filter->queue, bucket->queue)) &&
            (filter->kind.len == 0 || slice_equal(filter->kind, bucket->kind)) &&
            (filter->error_kind.len == 0 || slice_equal(filter->error_kind, bucket->error_kind)));
}

/* The buckets that may have rows in the range; the lower bound of what is in buckets at all. */
static uint64_t collect_runs(struct walk *walk)
{
    struct buckets *buckets = &walk->history->buckets;
    pthread_mutex_lock(&buckets->mutex);
    walk->runs = malloc((buckets->count + 1) * sizeof(*walk->runs));
    ensure(walk->runs != NULL);
    for (uint32_t i = 0; i < buckets->count; i++) {
        const struct bucket *bucket = buckets->items[i];
        if (!bucket_is_wanted(bucket, walk->filter) || bucket->first_id > walk->high || bucket->last_id < walk->low) {
            continue;
        }
        uint64_t bound = walk->order == LIST_NEWEST ? bucket->last_id : bucket->first_id;
        bound = bound > walk->high ? walk->high : bound < walk->low ? walk->low : bound;
        walk->runs[walk->run_count++] = (struct run){.bucket = i, .id = bound};
    }
    uint64_t unplaced = buckets->unplaced;
    pthread_mutex_unlock(&buckets->mutex);
    for (uint32_t i = walk->run_count / 2 + 1; i-- > 0;) {
        sift_down(walk, i);
    }
    return unplaced;
}

static bool view_is_wanted(const struct task_view *view, const struct task_filter *filter)
{
    return (filter->state < 0 || filter->state == (int)view->state) &&
           (filter->queue.len == 0 || slice_equal(filter->queue, view->queue)) &&
           (filter->kind.len == 0 || slice_equal(filter->kind, view->kind)) &&
           (filter->error_kind.len == 0 || slice_equal(filter->error_kind, view->error_kind));
}

/* Hands a row to the visitor, unless `is_checked` and it is not wanted. */
static void show(struct walk *walk, uint64_t task_id, struct slice row, bool is_checked)
{
    struct task_view *view = walk->history->list_view;
    walk->last = task_id;
    if (is_checked && (task_view_get(row, view) != STATUS_OK || !view_is_wanted(view, walk->filter))) {
        walk->is_over = --walk->left == 0;
        return;
    }
    walk->is_over = !walk->visit(walk->ctx, task_id, row);
}

static int show_row_of(struct walk *walk, uint64_t task_id, bool is_checked)
{
    sqlite3_stmt *get = walk->history->get;
    (void)sqlite3_bind_int64(get, 1, id_to_sql(task_id));
    int code = sqlite3_step(get);
    if (code == SQLITE_ROW) { /* else it went in between */
        show(walk, task_id, column_slice(get, 0), is_checked);
    }
    (void)sqlite3_reset(get);
    return code == SQLITE_ROW || code == SQLITE_DONE ? SQLITE_OK : code;
}

static void bind_range(const struct walk *walk, sqlite3_stmt *statement, uint64_t at, uint64_t low, uint64_t high)
{
    (void)sqlite3_bind_int64(statement, 1, id_to_sql(at));
    (void)sqlite3_bind_int64(statement, 2, id_to_sql(walk->order == LIST_NEWEST ? low : high));
}

/* The id just before `id` in the walk: beyond it lies `id`. */
static uint64_t before(const struct walk *walk, uint64_t id)
{
    return walk->order == LIST_NEWEST ? (id < UINT64_MAX ? id + 1 : id) : (id > 0 ? id - 1 : id);
}

/* Finds the first row of the top's bucket beyond `beyond`, and its new place in the heap. */
static int advance_top(struct walk *walk, uint64_t beyond, uint64_t low)
{
    struct run *top = &walk->runs[0];
    sqlite3_stmt *next = walk->history->next[walk->order];
    bind_range(walk, next, beyond, low, walk->high);
    (void)sqlite3_bind_int64(next, 3, top->bucket);
    int code = sqlite3_step(next);
    if (code == SQLITE_ROW) {
        top->id = id_from_sql(sqlite3_column_int64(next, 0));
        top->is_exact = true;
    } else {
        *top = walk->runs[--walk->run_count];
    }
    (void)sqlite3_reset(next);
    sift_down(walk, 0);
    return code == SQLITE_ROW || code == SQLITE_DONE ? SQLITE_OK : code;
}

/* The rows of the buckets, from `low` on up. */
static int merge(struct walk *walk, uint64_t low)
{
    int code = SQLITE_OK;
    while (code == SQLITE_OK && walk->run_count > 0 && !walk->is_over) {
        struct run top = walk->runs[0];
        if (!top.is_exact) {
            uint64_t beyond = before(walk, top.id);
            code = advance_top(walk, comes_before(walk, beyond, walk->at) ? walk->at : beyond, low);
            continue;
        }
        code = show_row_of(walk, top.id, top.bucket == SHARED_BUCKET);
        if (code == SQLITE_OK && !walk->is_over) {
            code = advance_top(walk, top.id, low);
        }
    }
    return code;
}

/* All rows in the range, or those of them that are wanted, by the primary key. */
static int scan(struct walk *walk, uint64_t low, uint64_t high, bool is_checked)
{
    sqlite3_stmt *list = walk->history->list[walk->order];
    uint64_t beyond = walk->order == LIST_NEWEST ? (high < UINT64_MAX ? high + 1 : high) : (low > 0 ? low - 1 : 0);
    bind_range(walk, list, comes_before(walk, beyond, walk->at) ? walk->at : beyond, low, high);
    int code = SQLITE_DONE;
    while (!walk->is_over && (code = sqlite3_step(list)) == SQLITE_ROW) {
        show(walk, id_from_sql(sqlite3_column_int64(list, 0)), column_slice(list, 1), is_checked);
    }
    (void)sqlite3_reset(list);
    return code == SQLITE_ROW || code == SQLITE_DONE ? SQLITE_OK : code;
}

/* The first id whose task was created at `ns` or later; UINT64_MAX: none. */
static int id_at_time(struct history *history, int64_t ns, uint64_t *ret_id)
{
    uint64_t low = 0, high = UINT64_MAX; /* the answer is in [low, high] */
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        (void)sqlite3_bind_int64(history->created, 1, id_to_sql(middle));
        int code = sqlite3_step(history->created);
        uint64_t id = code == SQLITE_ROW ? id_from_sql(sqlite3_column_int64(history->created, 0)) : UINT64_MAX;
        int64_t created_ns = code == SQLITE_ROW ? sqlite3_column_int64(history->created, 1) : INT64_MAX;
        (void)sqlite3_reset(history->created);
        if (code != SQLITE_ROW && code != SQLITE_DONE) {
            return code;
        }
        if (created_ns >= ns) { /* none in [middle, id) */
            high = middle;
        } else {
            low = id + 1;
        }
    }
    *ret_id = low;
    return SQLITE_OK;
}

static int set_range(struct walk *walk)
{
    walk->low = 0;
    walk->high = UINT64_MAX;
    int code = SQLITE_OK;
    if (walk->filter->created_from_ns > 0) {
        code = id_at_time(walk->history, walk->filter->created_from_ns, &walk->low);
    }
    if (code == SQLITE_OK && walk->filter->created_until_ns < INT64_MAX) {
        code = id_at_time(walk->history, walk->filter->created_until_ns, &walk->high);
        walk->high -= walk->high > 0 ? 1 : 0;
    }
    if (walk->order == LIST_NEWEST && walk->at <= walk->high) {
        walk->high = walk->at > 0 ? walk->at - 1 : 0;
    } else if (walk->order == LIST_OLDEST && walk->at >= walk->low) {
        walk->low = walk->at < UINT64_MAX ? walk->at + 1 : UINT64_MAX;
    }
    return code;
}

static int walk_all(struct walk *walk)
{
    const struct task_filter *filter = walk->filter;
    int code = set_range(walk);
    if (code != SQLITE_OK || walk->low > walk->high) {
        return code;
    }
    if (filter->state < 0 && filter->queue.len == 0 && filter->kind.len == 0 && filter->error_kind.len == 0) {
        return scan(walk, walk->low, walk->high, false);
    }
    uint64_t unplaced = collect_runs(walk);
    uint64_t placed_from = unplaced > walk->low ? unplaced : walk->low;
    bool has_unplaced = unplaced > walk->low;
    uint64_t unplaced_to = unplaced - 1 < walk->high ? unplaced - 1 : walk->high;
    if (has_unplaced && walk->order == LIST_OLDEST) {
        code = scan(walk, walk->low, unplaced_to, true);
    }
    if (code == SQLITE_OK && !walk->is_over && placed_from <= walk->high) {
        if (walk->order == LIST_OLDEST && walk->at < placed_from && placed_from > 0) {
            walk->at = placed_from - 1;
        }
        code = merge(walk, placed_from);
    }
    if (code == SQLITE_OK && !walk->is_over && has_unplaced && walk->order == LIST_NEWEST) {
        code = scan(walk, walk->low, unplaced_to, true);
    }
    return code;
}

enum status history_list(struct history *history, const struct task_filter *filter, enum list_order order, uint64_t at,
                         uint32_t scan_max, bool (*visit)(void *ctx, uint64_t task_id, struct slice row), void *ctx,
                         uint64_t *ret_last)
{
    ensure_magic(history, HISTORY_MAGIC);
    ensure(scan_max > 0);
    struct walk walk = {
        .history = history, .filter = filter, .order = order, .at = at, .left = scan_max, .visit = visit, .ctx = ctx};
    int code = walk_all(&walk);
    free(walk.runs);
    if (code != SQLITE_OK) {
        return history_status_of(code);
    }
    *ret_last = walk.is_over ? walk.last : 0;
    return STATUS_OK;
}

enum status history_names_blob(struct history *history, const uint8_t digest[SHA256_SIZE], bool *ret_is_named)
{
    ensure_magic(history, HISTORY_MAGIC);
    (void)sqlite3_bind_blob(history->names_blob, 1, digest, SHA256_SIZE, SQLITE_STATIC);
    int code = sqlite3_step(history->names_blob);
    (void)sqlite3_reset(history->names_blob);
    *ret_is_named = code == SQLITE_ROW;
    return code == SQLITE_ROW || code == SQLITE_DONE ? STATUS_OK : history_status_of(code);
}

bool history_is_indexed(struct history *history)
{
    ensure_magic(history, HISTORY_MAGIC);
    pthread_mutex_lock(&history->buckets.mutex);
    bool is_complete = history->buckets.unplaced == 0;
    pthread_mutex_unlock(&history->buckets.mutex);
    return is_complete;
}
