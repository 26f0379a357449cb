/* sequencer.c - from the commands of many requests to entries, and from entries' effects to answers.
 *
 *   begin/commit ──▶ batch in the making ──flush/propose──▶ proposed ──on_entry──▶ held ──on_durable──▶ sinks, pendings
 *                        │ BUSY: stays, tried again             │ apply to the core at once
 *                        └ NO_SPACE: its pendings are told so    └ effects wait here
 *
 * One batch becomes one entry. The core applies an entry the moment its place in the order is known, so that the next
 * command already sees its outcome; what it caused outside of the core lies in a ring of held entries until the journal
 * says that the entry will survive. The ring holds every entry applied and not durable, without gaps, so a reader that must
 * wait for entry n hangs itself on the record of n in one step.
 *
 * A refused proposal is never half of one: BUSY and NO_SPACE promise that nothing happened. A busy batch waits whole, takes
 * more commands until it is large, and then begin() answers NULL. With a full disk the requests that wait are told NO_SPACE at once; commands that
 * nobody waits for (a lost node, the position of history) stay in the batch, because nobody would repeat them.
 *
 * Invariants:
 *  S1 a pending's on_reply runs exactly once
 *  S2 no reply, waiter or effect leaves before the journal said that its entry is durable, or nothing of it happened
 *  S3 effects leave in the order of the entries, and inside an entry in the order of the core
 *  S4 the ring holds exactly the entries durable_seq < seq <= core_seq
 *  S5 sinks may call begin, commit, abort, await and flush; a release inside a release only moves the mark
 *
 * Rejected: applying only what is durable (every command would wait one fsync to see the one before it). */
#include "hub/sequencer.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/ensure.h"
#include "base/limits.h"
#include "base/mutation.h"

#define HELD_OVERHEAD 256u /* what a held entry costs beside its effects, for the bound */
#define BATCH_SIZE_FLUSH                                                                                               \
    (LIMIT_ENTRY_SIZE / 4)           /* a batch past it is proposed before the next command: 3 MiB are left */
#define POOL_MAX 64u                 /* buffers kept for reuse; one fsync rarely covers more entries */
#define POOL_BUF_SIZE_MAX (1u << 20) /* a larger one is given back to the system */
#define RETRY_NS INT64_C(100000000)  /* a refused proposal is tried again at least so often */
#define COMMAND_HEAD_SIZE 5u         /* u8 type, u32 len (command.h) */

struct batch {
    struct batch *next;
    uint64_t number;
    struct buf body;
    struct pending **pendings; /* one for each command; NULL where nobody waits */
    uint32_t count;
    uint32_t cap;
};

struct held {
    uint64_t seq;
    struct buf effects;
    struct batch *batch; /* NULL for an entry of another process */
    struct read_waiter *first_waiter;
    struct read_waiter *last_waiter;
};

struct sequencer {
    uint32_t magic;
    struct core *core;
    struct journal *journal; /* NULL while recovering */
    struct sequencer_sinks sinks;
    uint64_t origin;
    uint64_t batch_number;
    uint64_t history_seq;
    uint64_t durable_seq;
    uint64_t applied_size;

    struct batch *making; /* always there */
    size_t mark;          /* end of the last committed command in it */
    bool is_open;         /* between begin and commit or abort */
    bool is_stopped;
    bool has_failed;
    int64_t retry_at_ns;                          /* 0, or when a refused batch is tried again */
    struct batch *proposed_first, *proposed_last; /* their place in the order is not known yet */
    struct batch *spare;

    struct held *ring;
    uint32_t ring_cap; /* power of two */
    uint32_t ring_head;
    uint32_t ring_count;
    uint64_t held_size;
    bool is_releasing;
    bool is_flushing;

    struct buf pool[POOL_MAX];
    uint32_t pool_count;
    char snapshot_why[192];
    struct pending *too_large; /* commands that did not fit, answered by the next flush */
};

/* --- batches and buffers --- */

static struct batch *batch_new(struct sequencer *sequencer)
{
    struct batch *batch = sequencer->spare;
    if (batch != NULL) {
        sequencer->spare = batch->next;
        batch->next = NULL;
    } else {
        batch = calloc(1, sizeof(*batch));
        if (batch == NULL) {
            return NULL;
        }
        buf_init(&batch->body, LIMIT_ENTRY_SIZE);
    }
    entry_head_put(&batch->body, &(struct entry_head){.origin = sequencer->origin});
    if (batch->body.failed) {
        buf_free(&batch->body);
        free(batch->pendings);
        free(batch);
        return NULL;
    }
    return batch;
}

static void batch_free(struct batch *batch)
{
    if (batch != NULL) {
        buf_free(&batch->body);
        free(batch->pendings);
        free(batch);
    }
}

static void batch_recycle(struct sequencer *sequencer, struct batch *batch)
{
    if (batch->body.cap > POOL_BUF_SIZE_MAX) {
        buf_free(&batch->body);
    }
    buf_reset(&batch->body);
    batch->count = 0;
    batch->next = sequencer->spare;
    sequencer->spare = batch;
}

static bool batch_reserve_pending(struct batch *batch)
{
    if (batch->count < batch->cap) {
        return true;
    }
    uint32_t cap = batch->cap == 0 ? 64 : batch->cap * 2;
    struct pending **pendings = realloc(batch->pendings, cap * sizeof(*pendings));
    if (pendings == NULL) {
        return false;
    }
    batch->pendings = pendings;
    batch->cap = cap;
    return true;
}

static struct buf pool_take(struct sequencer *sequencer)
{
    if (sequencer->pool_count > 0) {
        return sequencer->pool[--sequencer->pool_count];
    }
    struct buf buf;
    buf_init(&buf, SIZE_MAX / 4);
    return buf;
}

static void pool_give(struct sequencer *sequencer, struct buf *buf)
{
    if (sequencer->pool_count == POOL_MAX || buf->cap > POOL_BUF_SIZE_MAX) {
        buf_free(buf);
        return;
    }
    buf_reset(buf);
    sequencer->pool[sequencer->pool_count++] = *buf;
}

static void answer(struct pending *pending, uint32_t ordinal, enum status status, uint64_t seq)
{
    struct effect_reply reply = {.ordinal = ordinal, .status = status};
    pending->on_reply(pending, &reply, seq);
}

static void answer_batch(struct batch *batch, enum status status, uint64_t seq)
{
    for (uint32_t i = 0; i < batch->count; i++) {
        if (batch->pendings[i] != NULL) {
            answer(TAKE(batch->pendings[i]), i, status, seq);
        }
    }
}

static void fail(struct sequencer *sequencer, enum status status, const char *why)
{
    if (!sequencer->has_failed) {
        sequencer->has_failed = true;
        sequencer->sinks.on_failed(sequencer->sinks.ctx, status, why);
    }
}

/* --- the ring of held entries --- */

static struct held *ring_at(struct sequencer *sequencer, uint32_t i)
{
    return &sequencer->ring[(sequencer->ring_head + i) & (sequencer->ring_cap - 1)];
}

static bool ring_push(struct sequencer *sequencer, const struct held *held)
{
    if (sequencer->ring_count == sequencer->ring_cap) {
        uint32_t cap = sequencer->ring_cap == 0 ? 64 : sequencer->ring_cap * 2;
        struct held *ring = calloc(cap, sizeof(*ring));
        if (ring == NULL) {
            return false;
        }
        for (uint32_t i = 0; i < sequencer->ring_count; i++) {
            ring[i] = *ring_at(sequencer, i);
        }
        free(sequencer->ring);
        sequencer->ring = ring;
        sequencer->ring_cap = cap;
        sequencer->ring_head = 0;
    }
    *ring_at(sequencer, sequencer->ring_count) = *held;
    sequencer->ring_count++;
    sequencer->held_size += held->effects.len + HELD_OVERHEAD;
    return true;
}

/* --- making --- */

struct sequencer *sequencer_new(uint64_t origin, const struct sequencer_sinks *sinks)
{
    struct sequencer *sequencer = calloc(1, sizeof(*sequencer));
    if (sequencer == NULL) {
        return NULL;
    }
    sequencer->magic = SEQUENCER_MAGIC;
    sequencer->origin = origin;
    sequencer->sinks = *sinks;
    sequencer->core = core_new();
    sequencer->making = batch_new(sequencer);
    if (sequencer->core == NULL || sequencer->making == NULL) {
        core_free(sequencer->core);
        batch_free(sequencer->making);
        free(sequencer);
        return NULL;
    }
    sequencer->mark = sequencer->making->body.len;
    return sequencer;
}

static void free_batches(struct batch *batch)
{
    while (batch != NULL) {
        struct batch *next = batch->next;
        answer_batch(batch, STATUS_NOT_READY, 0);
        batch_free(batch);
        batch = next;
    }
}

void sequencer_free(struct sequencer *sequencer)
{
    if (sequencer == NULL) {
        return;
    }
    ensure_magic(sequencer, SEQUENCER_MAGIC);
    sequencer->is_stopped = true;
    while (sequencer->ring_count > 0) {
        struct held held = *ring_at(sequencer, 0);
        sequencer->ring_head = (sequencer->ring_head + 1) & (sequencer->ring_cap - 1);
        sequencer->ring_count--;
        free_batches(held.batch);
        buf_free(&held.effects);
    }
    free_batches(TAKE(sequencer->proposed_first));
    free_batches(TAKE(sequencer->making));
    while (sequencer->too_large != NULL) {
        struct pending *pending = sequencer->too_large;
        sequencer->too_large = pending->next;
        answer(pending, 0, STATUS_TOO_LARGE, 0);
    }
    free_batches(TAKE(sequencer->spare));
    for (uint32_t i = 0; i < sequencer->pool_count; i++) {
        buf_free(&sequencer->pool[i]);
    }
    free(sequencer->ring);
    core_free(sequencer->core);
    sequencer->magic = 0;
    free(sequencer);
}

void sequencer_stop(struct sequencer *sequencer)
{
    sequencer->is_stopped = true;
}

/* --- release --- */

static void release_effect(struct sequencer *sequencer, const struct held *held, const struct effect *effect)
{
    const struct sequencer_sinks *sinks = &sequencer->sinks;
    switch (effect->type) {
    case EFFECT_REPLY: {
        uint32_t ordinal = effect->as.reply.ordinal;
        struct batch *batch = held->batch;
        if (batch != NULL && ordinal < batch->count && batch->pendings[ordinal] != NULL) {
            struct pending *pending = TAKE(batch->pendings[ordinal]);
            pending->on_reply(pending, &effect->as.reply, held->seq);
        }
        break;
    }
    case EFFECT_LEASE:
        sinks->on_lease(sinks->ctx, &effect->as.lease, held->seq);
        break;
    case EFFECT_STOP:
        sinks->on_stop(sinks->ctx, &effect->as.stop);
        break;
    case EFFECT_SESSION:
        sinks->on_session(sinks->ctx, &effect->as.session);
        break;
    case EFFECT_TASK:
        sinks->on_task(sinks->ctx, &effect->as.task, held->seq);
        break;
    case EFFECT_FINISHED:
        sinks->on_finished(sinks->ctx, &effect->as.finished, held->seq);
        break;
    }
}

static void release_entry(struct sequencer *sequencer, struct held *held)
{
    struct reader reader = reader_of(buf_slice(&held->effects));
    struct effect effect;
    while (effect_next(&reader, &effect)) {
        release_effect(sequencer, held, &effect);
    }
    ensure(reader_is_done(&reader));
    if (held->batch != NULL) {
        /* Only an entry that the core could not decode leaves commands without a reply: our own mistake. */
        answer_batch(held->batch, STATUS_INTERNAL, held->seq);
        batch_recycle(sequencer, held->batch);
    }
    for (struct read_waiter *waiter = held->first_waiter; waiter != NULL;) {
        struct read_waiter *next = waiter->next;
        waiter->on_durable(waiter);
        waiter = next;
    }
    pool_give(sequencer, &held->effects);
}

static void on_durable(void *ctx, uint64_t seq)
{
    struct sequencer *sequencer = ctx;
    ensure_magic(sequencer, SEQUENCER_MAGIC);
    if (seq > sequencer->durable_seq) {
        sequencer->durable_seq = seq;
    }
    if (sequencer->is_releasing) {
        return;
    }
    sequencer->is_releasing = true;
    bool is_any = false;
    while (sequencer->ring_count > 0 && ring_at(sequencer, 0)->seq <= sequencer->durable_seq) {
        struct held held = *ring_at(sequencer, 0);
        sequencer->ring_head = (sequencer->ring_head + 1) & (sequencer->ring_cap - 1);
        sequencer->ring_count--;
        sequencer->held_size -= held.effects.len + (MUTATION(leak_held) ? 0 : HELD_OVERHEAD);
        release_entry(sequencer, &held);
        is_any = true;
    }
    sequencer->is_releasing = false;
    if (is_any) {
        sequencer->sinks.on_released(sequencer->sinks.ctx, sequencer->durable_seq);
    }
    if (sequencer->retry_at_ns != 0) {
        sequencer->retry_at_ns = 0;
        sequencer_flush(sequencer);
    }
}

/* --- order --- */

/* The batch that this entry was, taken off the list of proposed ones; NULL when another process proposed it. */
static struct batch *proposed_take(struct sequencer *sequencer, struct slice body)
{
    struct reader reader = reader_of(body);
    struct entry_head head;
    if (entry_head_get(&reader, &head) != STATUS_OK || head.origin != sequencer->origin) {
        return NULL;
    }
    struct batch *before = NULL;
    for (struct batch *batch = sequencer->proposed_first; batch != NULL; before = batch, batch = batch->next) {
        if (batch->number != head.batch) {
            continue;
        }
        if (before == NULL) {
            sequencer->proposed_first = batch->next;
        } else {
            before->next = batch->next;
        }
        if (sequencer->proposed_last == batch) {
            sequencer->proposed_last = before;
        }
        batch->next = NULL;
        return batch;
    }
    return NULL;
}

static void replay_effects(struct sequencer *sequencer, struct buf *effects, uint64_t seq)
{
    if (seq <= sequencer->history_seq || MUTATION(lose_row)) {
        return;
    }
    struct reader reader = reader_of(buf_slice(effects));
    struct effect effect;
    while (effect_next(&reader, &effect)) {
        if (effect.type == EFFECT_FINISHED) {
            sequencer->sinks.on_finished(sequencer->sinks.ctx, &effect.as.finished, seq);
        }
    }
}

/* An entry that means something to a newer Shoal only: to pass over it would be to go on with another state than whoever
 * knows it. Everything stops here, with nothing applied, and says what it met. */
static void fail_too_new(struct sequencer *sequencer, const struct journal_entry *entry)
{
    char why[ENTRY_WHY_SIZE];
    char text[ENTRY_WHY_SIZE + 64];
    entry_explain(entry->body, why);
    (void)snprintf(text, sizeof(text), "entry %llu was written by a newer Shoal: %s", (unsigned long long)entry->seq,
                   why);
    fail(sequencer, STATUS_TOO_NEW, text);
}

static bool has_stopped(void *ctx)
{
    return ((const struct sequencer *)ctx)->has_failed;
}

static void on_entry(void *ctx, const struct journal_entry *entry)
{
    struct sequencer *sequencer = ctx;
    ensure_magic(sequencer, SEQUENCER_MAGIC);
    if (sequencer->has_failed) {
        return;
    }
    ensure(entry->seq == core_seq(sequencer->core) + 1);
    sequencer->applied_size += entry->body.len;

    struct held held = {.seq = entry->seq, .effects = pool_take(sequencer)};
    struct core_entry core_entry = {.seq = entry->seq, .time_ns = entry->time_ns, .body = entry->body};
    /* CORRUPT: the core passed over the entry whole, as every replay of it will. */
    enum status status = core_apply(sequencer->core, &core_entry, &held.effects);
    if (status == STATUS_TOO_NEW) {
        pool_give(sequencer, &held.effects);
        fail_too_new(sequencer, entry);
        return;
    }
    bool is_short = (status != STATUS_OK && status != STATUS_CORRUPT) || buf_status(&held.effects) != STATUS_OK;
    if (sequencer->journal == NULL) {
        if (!is_short) {
            replay_effects(sequencer, &held.effects, entry->seq);
        }
        pool_give(sequencer, &held.effects);
        sequencer->durable_seq = entry->seq;
    } else {
        held.batch = proposed_take(sequencer, entry->body);
        is_short = is_short || !ring_push(sequencer, &held);
        if (MUTATION(answer_before_fsync)) {
            on_durable(sequencer, entry->seq);
        }
    }
    if (is_short) {
        /* The state has moved on and what it caused is lost; a restart has it again from the journal. */
        fail(sequencer, STATUS_NO_MEMORY, "there is no memory for what an entry causes");
    }
}

static void on_journal_failed(void *ctx, enum status status, const char *why)
{
    struct sequencer *sequencer = ctx;
    ensure_magic(sequencer, SEQUENCER_MAGIC);
    fail(sequencer, status, why);
}

struct journal_callbacks sequencer_journal_callbacks(struct sequencer *sequencer)
{
    ensure_magic(sequencer, SEQUENCER_MAGIC);
    return (struct journal_callbacks){.on_entry = on_entry,
                                      .on_durable = on_durable,
                                      .on_failed = on_journal_failed,
                                      .has_stopped = has_stopped,
                                      .ctx = sequencer};
}

/* --- recovery --- */

void sequencer_set_history_seq(struct sequencer *sequencer, uint64_t history_seq)
{
    sequencer->history_seq = history_seq;
}

/* Tasks that were final when the snapshot was taken and whose rows history lacks. They come before the rows of replayed
 * entries, so that history receives rows in the order of their seq. */
static enum status hand_over_finished(struct sequencer *sequencer)
{
    struct buf row;
    buf_init(&row, SIZE_MAX / 4);
    struct task_view *view = malloc(sizeof(*view));
    if (view == NULL) {
        return STATUS_NO_MEMORY;
    }
    enum status status = STATUS_OK;
    uint64_t id = 0;
    while (status == STATUS_OK && (id = core_finished_after(sequencer->core, sequencer->history_seq, id)) != 0) {
        struct task_brief brief;
        status = core_task_brief(sequencer->core, id, &brief);
        if (status == STATUS_OK) {
            status = core_task_get(sequencer->core, id, view);
        }
        if (status != STATUS_OK) {
            break;
        }
        buf_reset(&row);
        task_view_put(&row, view);
        status = buf_status(&row);
        if (status == STATUS_OK) {
            struct effect_finished finished = {.task_id = id,
                                               .state = view->state,
                                               .created_ns = view->created_ns,
                                               .finished_ns = view->finished_ns,
                                               .queue = view->queue,
                                               .kind = view->kind,
                                               .error_kind = view->error_kind,
                                               .row = buf_slice(&row)};
            sequencer->sinks.on_finished(sequencer->sinks.ctx, &finished, brief.finished_seq);
        }
    }
    free(view);
    buf_free(&row);
    return status;
}

enum status sequencer_load_snapshot(void *ctx, uint64_t seq, struct slice state)
{
    struct sequencer *sequencer = ctx;
    ensure_magic(sequencer, SEQUENCER_MAGIC);
    ensure(sequencer->journal == NULL);
    struct core *core = NULL;
    struct buf why;
    buf_init(&why, sizeof(sequencer->snapshot_why) - 1);
    enum status status = core_load_why(state, &core, &why);
    (void)snprintf(sequencer->snapshot_why, sizeof(sequencer->snapshot_why), "%s", buf_cstr(&why));
    buf_free(&why);
    if (status != STATUS_OK) {
        return status;
    }
    if (core_seq(core) != seq) {
        core_free(core);
        return STATUS_CORRUPT;
    }
    core_free(sequencer->core);
    sequencer->core = core;
    sequencer->durable_seq = seq;
    return hand_over_finished(sequencer);
}

const char *sequencer_snapshot_why(const struct sequencer *sequencer)
{
    return sequencer->snapshot_why;
}

void sequencer_start(struct sequencer *sequencer, struct journal *journal)
{
    ensure_magic(sequencer, SEQUENCER_MAGIC);
    ensure(sequencer->journal == NULL && journal != NULL);
    sequencer->journal = journal;
    sequencer->durable_seq = core_seq(sequencer->core);
}

/* --- the batch in the making --- */

struct buf *sequencer_begin(struct sequencer *sequencer)
{
    ensure_magic(sequencer, SEQUENCER_MAGIC);
    ensure(!sequencer->is_open);
    if (sequencer->journal == NULL || sequencer->is_stopped || sequencer->has_failed) {
        return NULL;
    }
    if (sequencer->mark > BATCH_SIZE_FLUSH) {
        sequencer_flush(sequencer);
    }
    /* While the journal is busy the batch still grows to where it is large: a short pause of the disk refuses nobody. */
    if (sequencer->mark > BATCH_SIZE_FLUSH || sequencer->held_size > LIMIT_HELD_SIZE || sequencer->has_failed ||
        !batch_reserve_pending(sequencer->making)) {
        return NULL;
    }
    sequencer->is_open = true;
    return &sequencer->making->body;
}

static void take_back(struct sequencer *sequencer)
{
    sequencer->making->body.len = sequencer->mark;
    sequencer->making->body.failed = false;
    sequencer->is_open = false;
}

void sequencer_commit(struct sequencer *sequencer, struct pending *pending)
{
    ensure_magic(sequencer, SEQUENCER_MAGIC);
    ensure(sequencer->is_open);
    struct batch *batch = sequencer->making;
    if (buf_status(&batch->body) != STATUS_OK) {
        take_back(sequencer);
        if (pending != NULL) {
            pending->next = sequencer->too_large;
            sequencer->too_large = pending;
        }
        return;
    }
    ensure(batch->body.len >= sequencer->mark + COMMAND_HEAD_SIZE);
    batch->pendings[batch->count++] = pending;
    sequencer->mark = batch->body.len;
    sequencer->is_open = false;
}

void sequencer_abort(struct sequencer *sequencer)
{
    ensure_magic(sequencer, SEQUENCER_MAGIC);
    ensure(sequencer->is_open);
    take_back(sequencer);
}

/* Tells everybody who waits on the batch that the disk is full, and keeps the commands that nobody waits for. */
static void drop_waiting_commands(struct sequencer *sequencer)
{
    struct batch *full = sequencer->making;
    struct batch *kept = batch_new(sequencer);
    if (kept == NULL) {
        fail(sequencer, STATUS_NO_MEMORY, "there is no memory for a batch");
        return;
    }
    struct reader reader = reader_of(buf_slice(&full->body));
    (void)reader_bytes(&reader, ENTRY_HEAD_SIZE);
    if (MUTATION(drop_when_full)) {
        full->count = 0;
    }
    for (uint32_t i = 0; i < full->count; i++) {
        const char *from = reader.at;
        (void)reader_u8(&reader);
        (void)reader_lv(&reader);
        ensure(!reader.failed);
        if (full->pendings[i] == NULL && batch_reserve_pending(kept)) {
            buf_append(&kept->body, from, (size_t)(reader.at - from));
            kept->pendings[kept->count++] = NULL;
        }
    }
    sequencer->making = kept;
    sequencer->mark = kept->body.len;
    answer_batch(full, STATUS_NO_SPACE, 0);
    batch_recycle(sequencer, full);
}

/* Proposes the batch in the making. False when it stays. */
static bool propose(struct sequencer *sequencer, int64_t now_ns)
{
    struct batch *batch = sequencer->making;
    struct batch *next = batch_new(sequencer);
    if (next == NULL) {
        sequencer->retry_at_ns = now_ns + RETRY_NS;
        return false;
    }
    /* The head is written over: its number and count are only known now. */
    size_t len = batch->body.len;
    batch->number = ++sequencer->batch_number;
    batch->body.len = 0;
    entry_head_put(&batch->body, &(struct entry_head){sequencer->origin, batch->number, batch->count});
    ensure(batch->body.len == ENTRY_HEAD_SIZE && !batch->body.failed);
    batch->body.len = len;

    struct batch *last = sequencer->proposed_last;
    *(last == NULL ? &sequencer->proposed_first : &last->next) = batch;
    sequencer->proposed_last = batch;
    /* The driver may call on_entry from inside; from here on commands go into the next batch. */
    sequencer->making = next;
    sequencer->mark = next->body.len;

    enum status status = sequencer->journal->driver->propose(sequencer->journal, now_ns, buf_slice(&batch->body));
    if (status == STATUS_OK && MUTATION(apply_twice) && batch->number % 16 == 15) {
        enum status again = sequencer->journal->driver->propose(sequencer->journal, now_ns, buf_slice(&batch->body));
        (void)again;
    }
    if (status == STATUS_OK) {
        sequencer->retry_at_ns = 0;
        return true;
    }
    struct batch *taken = proposed_take(sequencer, buf_slice(&batch->body));
    ensure(taken == batch && sequencer->making == next && next->count == 0);
    sequencer->making = batch;
    sequencer->mark = batch->body.len;
    batch_recycle(sequencer, next);
    sequencer->retry_at_ns = now_ns + RETRY_NS;
    if (status == STATUS_NO_SPACE) {
        drop_waiting_commands(sequencer);
    } else if (status != STATUS_BUSY && status != STATUS_AGAIN) {
        fail(sequencer, status, "the journal refused an entry");
    }
    return false;
}

void sequencer_flush(struct sequencer *sequencer)
{
    ensure_magic(sequencer, SEQUENCER_MAGIC);
    ensure(!sequencer->is_open);
    while (sequencer->too_large != NULL) {
        struct pending *pending = sequencer->too_large;
        sequencer->too_large = pending->next;
        answer(pending, 0, STATUS_TOO_LARGE, 0);
    }
    if (sequencer->journal == NULL || sequencer->has_failed || sequencer->is_flushing) {
        return;
    }
    int64_t now_ns = sequencer_now_ns(sequencer);
    struct batch *batch = sequencer->making;
    if (batch->count == 0) {
        /* An entry that is under way brings its own time along. */
        sequencer->retry_at_ns = 0;
        if (sequencer->proposed_first != NULL || core_next_deadline_ns(sequencer->core) > now_ns ||
            !batch_reserve_pending(batch)) {
            return;
        }
        command_put_tick(&batch->body);
        if (buf_status(&batch->body) != STATUS_OK) {
            take_back(sequencer);
            return;
        }
        batch->pendings[batch->count++] = NULL;
        sequencer->mark = batch->body.len;
    }
    sequencer->is_flushing = true;
    (void)propose(sequencer, now_ns);
    sequencer->is_flushing = false;
}

int64_t sequencer_next_deadline_ns(const struct sequencer *sequencer)
{
    if (sequencer->journal == NULL || sequencer->has_failed) {
        return INT64_MAX;
    }
    if (sequencer->retry_at_ns != 0) {
        return sequencer->retry_at_ns;
    }
    return sequencer->proposed_first != NULL ? INT64_MAX : core_next_deadline_ns(sequencer->core);
}

int64_t sequencer_now_ns(const struct sequencer *sequencer)
{
    return sequencer->sinks.wall_ns(sequencer->sinks.ctx);
}

/* --- reads --- */

bool sequencer_await(struct sequencer *sequencer, uint64_t seq, struct read_waiter *waiter)
{
    ensure_magic(sequencer, SEQUENCER_MAGIC);
    if (MUTATION(read_before_fsync)) {
        return true;
    }
    if (seq <= sequencer->durable_seq && (sequencer->ring_count == 0 || ring_at(sequencer, 0)->seq > seq)) {
        return true;
    }
    ensure(sequencer->ring_count > 0);
    uint64_t first = ring_at(sequencer, 0)->seq;
    /* Inside a release the entry may be the one being released right now: it is durable. */
    if (seq < first) {
        return true;
    }
    ensure(seq - first < sequencer->ring_count);
    struct held *held = ring_at(sequencer, (uint32_t)(seq - first));
    waiter->seq = seq;
    waiter->next = NULL;
    *(held->last_waiter == NULL ? &held->first_waiter : &held->last_waiter->next) = waiter;
    held->last_waiter = waiter;
    return false;
}

struct core *sequencer_core(struct sequencer *sequencer)
{
    return sequencer->core;
}

uint64_t sequencer_durable_seq(const struct sequencer *sequencer)
{
    return sequencer->durable_seq;
}

uint64_t sequencer_held_size(const struct sequencer *sequencer)
{
    return sequencer->held_size;
}

uint64_t sequencer_applied_size(const struct sequencer *sequencer)
{
    return sequencer->applied_size;
}
