/* save.c - the canonical state as bytes, and back.
 *
 *   "SHOALCOR" | version u32 | scalars | kinds | slabs | SHA-256 of all before
 *
 * A slab is its length, its free list in the order of reuse, and its live records by index. One function for each kind
 * of record names its fields, for writing and for reading: the two cannot disagree. What is derived is not written:
 * maps, heaps, bitsets, counts, and the tags of slots; a load builds them again. Nothing that an outcome depends on is
 * left out, so a loaded core goes on byte for byte as the saved one, and the digest of the stream is the state hash.
 *
 * A load trusts nothing: the digest first, then each length against the bytes that are left, each index against its slab
 * (S1), then core_check() on the whole. */
#include <stdlib.h>

#include "base/hash.h"
#include "base/mutation.h"
#include "core/core_internal.h"

#define SAVE_MAGIC "SHOALCOR"
#define SAVE_VERSION 1u
#define SAVE_BUFFER_SIZE 65536u

struct archive {
    struct core *core;
    bool is_loading;
    bool failed;
    /* loading */
    struct reader reader;
    /* saving */
    struct sha256 *sha;                                     /* NULL: only the fingerprint is wanted */
    uint64_t fingerprint;                                   /* of what was flushed */
    bool (*write)(void *ctx, const void *data, size_t len); /* NULL: only a hash is wanted */
    void *ctx;
    size_t len;
    char buffer[SAVE_BUFFER_SIZE];
};

/* --- primitive fields --- */

static void flush(struct archive *archive)
{
    if (archive->sha != NULL) {
        sha256_update(archive->sha, archive->buffer, archive->len);
    } else {
        archive->fingerprint = hash64(slice_of(archive->buffer, archive->len), archive->fingerprint);
    }
    if (archive->write != NULL && !archive->failed && !archive->write(archive->ctx, archive->buffer, archive->len)) {
        archive->failed = true;
    }
    archive->len = 0;
}

static void put_bytes(struct archive *archive, const void *data, size_t len)
{
    while (len > 0) {
        if (archive->len == SAVE_BUFFER_SIZE) {
            flush(archive);
        }
        size_t room = SAVE_BUFFER_SIZE - archive->len;
        size_t part = len < room ? len : room;
        memcpy(archive->buffer + archive->len, data, part);
        archive->len += part;
        data = (const char *)data + part;
        len -= part;
    }
}

static inline void put_le(struct archive *archive, uint64_t value, size_t count)
{
    if (SAVE_BUFFER_SIZE - archive->len < 8) {
        flush(archive);
    }
    le_put(archive->buffer + archive->len, value, count);
    archive->len += count;
}

static void field_u8(struct archive *archive, uint8_t *value)
{
    if (archive->is_loading) {
        *value = reader_u8(&archive->reader);
    } else {
        put_le(archive, *value, 1);
    }
}

static void field_bool(struct archive *archive, bool *value)
{
    uint8_t byte = *value ? 1 : 0;
    field_u8(archive, &byte);
    archive->failed |= byte > 1;
    *value = byte == 1;
}

static void field_u16(struct archive *archive, uint16_t *value)
{
    if (archive->is_loading) {
        *value = reader_u16(&archive->reader);
    } else {
        put_le(archive, *value, 2);
    }
}

static void field_u32(struct archive *archive, uint32_t *value)
{
    if (archive->is_loading) {
        *value = reader_u32(&archive->reader);
    } else {
        put_le(archive, *value, 4);
    }
}

static void field_u64(struct archive *archive, uint64_t *value)
{
    if (archive->is_loading) {
        *value = reader_u64(&archive->reader);
    } else {
        put_le(archive, *value, 8);
    }
}

/* Times and durations are never negative, so that sums of them are bounded. */
static void field_i64(struct archive *archive, int64_t *value)
{
    uint64_t raw = (uint64_t)*value;
    field_u64(archive, &raw);
    archive->failed |= raw > INT64_MAX;
    *value = (int64_t)raw;
}

static void field_block(struct archive *archive, struct block **block)
{
    if (archive->is_loading) {
        *block = block_new(archive->core, reader_lv(&archive->reader));
    } else {
        struct slice text = block_slice(*block);
        put_le(archive, text.len, 4);
        put_bytes(archive, text.data, text.len);
    }
}

static bool is_broken(const struct archive *archive)
{
    return archive->failed || archive->reader.failed;
}

/* An array of symbols, allocated when loading. */
static void field_list(struct archive *archive, uint32_t **list, uint32_t *count, uint32_t count_max)
{
    field_u32(archive, count);
    if (archive->is_loading) {
        if (is_broken(archive) || *count > count_max) {
            archive->failed = true;
            *count = 0;
            return;
        }
        *list = *count > 0 ? malloc(*count * sizeof(**list)) : NULL;
        ensure(*count == 0 || *list != NULL);
    }
    for (uint32_t i = 0; i < *count; i++) {
        field_u32(archive, &(*list)[i]);
    }
}

/* --- records --- */

static void symbol_fields(struct archive *archive, void *record)
{
    struct symbol *symbol = record;
    field_u32(archive, &symbol->refs);
    field_bool(archive, &symbol->is_kind);
    if (archive->is_loading) {
        struct slice text = reader_lv(&archive->reader);
        symbol->len = (uint32_t)text.len;
        symbol->queue = symbol->node = symbol->signatures = NONE;
        symbol->text = malloc(text.len > 0 ? text.len : 1);
        ensure(symbol->text != NULL);
        if (text.len > 0) {
            memcpy(symbol->text, text.data, text.len);
        }
    } else {
        put_le(archive, symbol->len, 4);
        put_bytes(archive, symbol->text, symbol->len);
    }
}

static void queue_fields(struct archive *archive, void *record)
{
    struct queue *queue = record;
    if (archive->is_loading) {
        queue->slots = NONE;
    }
    field_u32(archive, &queue->symbol);
    field_bool(archive, &queue->is_paused);
    field_i64(archive, &queue->created_ns);
    field_u64(archive, &queue->changed_seq);
    for (uint32_t i = 0; i < TASK_STATE_COUNT; i++) {
        field_u64(archive, &queue->counts[i]);
    }
    field_u64(archive, &queue->submitted);
    field_u64(archive, &queue->succeeded);
    field_u64(archive, &queue->dead);
    field_u64(archive, &queue->cancelled);
    field_u64(archive, &queue->expired);
    field_u64(archive, &queue->retried);
}

static void flow_fields(struct archive *archive, void *record)
{
    struct flow *flow = record;
    field_u32(archive, &flow->queue);
    field_u32(archive, &flow->symbol);
    field_u32(archive, &flow->refs);
    for (uint32_t p = 0; p < PRIORITY_COUNT; p++) {
        field_u32(archive, &flow->waiting[p]);
        field_u64(archive, &flow->vtime[p]);
    }
}

static void slot_fields(struct archive *archive, void *record)
{
    struct slot *slot = record;
    field_u32(archive, &slot->flow);
    field_u32(archive, &slot->signature);
    field_u32(archive, &slot->head);
    field_u32(archive, &slot->tail);
    field_u32(archive, &slot->count);
    field_u8(archive, &slot->priority);
}

static void signature_fields(struct archive *archive, void *record)
{
    struct signature *signature = record;
    field_u32(archive, &signature->kind);
    field_u32(archive, &signature->refs);
    field_u32(archive, &signature->cpu_milli);
    field_u32(archive, &signature->memory_mib);
    field_u32(archive, &signature->gpu);
    field_list(archive, &signature->labels, &signature->label_count, LIMIT_LABELS);
    for (uint32_t p = 0; p < PRIORITY_COUNT; p++) {
        field_u64(archive, &signature->vtime[p]);
    }
}

static void retry_fields(struct archive *archive, void *record)
{
    struct retry *retry = record;
    field_u32(archive, &retry->refs);
    field_u32(archive, &retry->attempts_max);
    field_u32(archive, &retry->factor_milli);
    field_u32(archive, &retry->jitter_percent);
    field_i64(archive, &retry->base_ms);
    field_i64(archive, &retry->cap_ms);
    field_u32(archive, &retry->not_retryable_count);
    if (retry->not_retryable_count > ARRAY_COUNT(retry->not_retryable) || retry->base_ms > LIMIT_DURATION_MS ||
        retry->cap_ms > LIMIT_DURATION_MS || retry->jitter_percent > 100) {
        archive->failed = true;
        retry->not_retryable_count = 0;
    }
    for (uint32_t i = 0; i < retry->not_retryable_count; i++) {
        field_u32(archive, &retry->not_retryable[i]);
    }
}

static void attempt_fields(struct archive *archive, void *record)
{
    struct attempt *attempt = record;
    field_u32(archive, &attempt->number);
    field_u8(archive, &attempt->outcome);
    field_u32(archive, &attempt->node);
    field_u32(archive, &attempt->older);
    field_i64(archive, &attempt->started_ns);
    field_i64(archive, &attempt->ended_ns);
    field_block(archive, &attempt->error_kind);
    field_block(archive, &attempt->message);
    if (archive->is_loading) {
        archive->core->payload_size += sizeof(struct attempt);
    }
}

static void side_fields(struct archive *archive, void *record)
{
    struct task_side *side = record;
    field_block(archive, &side->unique_key);
    field_block(archive, &side->traceparent);
    field_block(archive, &side->checkpoint);
    field_block(archive, &side->result);
    field_block(archive, &side->error_kind);
    field_block(archive, &side->error_message);
    field_block(archive, &side->error_detail);
    field_block(archive, &side->progress_note);
    field_i64(archive, &side->ttl_ms);
    field_i64(archive, &side->timeout_ms);
    field_u32(archive, &side->unique);
    field_u16(archive, &side->progress_permille);
    field_u8(archive, &side->unique_mode);
}

static void task_fields(struct archive *archive, void *record)
{
    struct task *task = record;
    uint8_t priority = task->priority;
    field_u64(archive, &task->id);
    field_block(archive, &task->input);
    field_i64(archive, &task->created_ns);
    field_i64(archive, &task->run_at_ns);
    field_i64(archive, &task->expires_ns);
    field_i64(archive, &task->started_ns);
    field_u64(archive, &task->changed_seq);
    field_u64(archive, &task->lease_seq);        /* or finished_seq */
    field_i64(archive, &task->lease_expires_ns); /* or finished_ns */
    field_u32(archive, &task->newer);
    field_u32(archive, &task->older);
    field_u32(archive, &task->next);
    field_u32(archive, &task->prev);
    field_u32(archive, &task->owner);
    field_u32(archive, &task->flow);
    field_u32(archive, &task->signature);
    field_u32(archive, &task->retry);
    field_u32(archive, &task->side);
    field_u32(archive, &task->attempt_newest);
    field_u32(archive, &task->idempotency);
    field_u32(archive, &task->attempts);
    field_u32(archive, &task->lease_ms);
    field_u16(archive, &task->attempts_failed);
    field_u16(archive, &task->attempts_lost);
    field_u16(archive, &task->weight);
    field_u8(archive, &priority);
    field_u8(archive, &task->state);
    archive->failed |= priority > LIMIT_PRIORITY_MAX;
    task->priority = priority & 0x7F;
}

static void unique_fields(struct archive *archive, void *record)
{
    struct unique *unique = record;
    field_block(archive, &unique->key);
    field_u32(archive, &unique->queue);
    field_u64(archive, &unique->task_id);
    field_i64(archive, &unique->until_ns);
    field_u8(archive, &unique->mode);
    field_u8(archive, &unique->state);
}

static void idempotency_fields(struct archive *archive, void *record)
{
    struct idempotency *key = record;
    field_block(archive, &key->key);
    field_u64(archive, &key->body_hash);
    field_u64(archive, &key->task_id);
    field_i64(archive, &key->created_ns);
    field_u32(archive, &key->newer);
    field_u32(archive, &key->next_of_task);
    field_u8(archive, &key->state);
    if (archive->is_loading) {
        key->prev_of_task = NONE;
    }
}

static void node_fields(struct archive *archive, void *record)
{
    struct node *node = record;
    field_u32(archive, &node->symbol);
    field_u64(archive, &node->session);
    field_u64(archive, &node->instance);
    field_bool(archive, &node->is_worker);
    field_bool(archive, &node->is_draining);
    field_bool(archive, &node->is_quiet);
    field_u64(archive, &node->changed_seq);
    field_i64(archive, &node->joined_ns);
    field_i64(archive, &node->session_ns);
    field_u32(archive, &node->credit);
    field_u32(archive, &node->leases);
    field_u32(archive, &node->lease_head);
    field_u32(archive, &node->lease_tail);
    field_u64(archive, &node->succeeded);
    field_u64(archive, &node->failed);
    field_u64(archive, &node->lost);
    field_list(archive, &node->kinds, &node->kind_count, LIMIT_KINDS_PER_NODE);
    field_list(archive, &node->labels, &node->label_count, LIMIT_LABELS);
    field_u32(archive, &node->cpu_milli);
    field_u32(archive, &node->memory_mib);
    field_u32(archive, &node->gpu);
    field_block(archive, &node->info);
    for (uint32_t p = 0; p < PRIORITY_COUNT; p++) {
        field_u64(archive, &node->vtime[p]);
    }
}

/* --- slabs and the whole --- */

static void save_free_list(struct archive *archive, const struct slab *slab)
{
    uint32_t count = slab->len - slab->used;
    put_le(archive, slab->len, 4);
    put_le(archive, count, 4);
    for (uint32_t i = slab->free_head; i != SLAB_NONE; i = slab_free_after(slab, i)) {
        put_le(archive, i, 4);
    }
}

static bool load_free_list(struct archive *archive, struct slab *slab)
{
    uint32_t len = reader_u32(&archive->reader);
    uint32_t free_count = reader_u32(&archive->reader);
    uint64_t left = reader_left(&archive->reader);
    if (archive->reader.failed || free_count > len || (uint64_t)free_count * 4 + (len - free_count) > left) {
        return false;
    }
    uint32_t *order = malloc(((size_t)free_count + 1) * sizeof(*order));
    ensure(order != NULL);
    for (uint32_t i = 0; i < free_count; i++) {
        order[i] = reader_u32(&archive->reader);
    }
    bool is_good = slab_restore(slab, len, order, free_count);
    free(order);
    return is_good;
}

static void slab_fields(struct archive *archive, struct slab *slab, void (*fields)(struct archive *, void *))
{
    if (is_broken(archive)) {
        return;
    }
    if (!archive->is_loading) {
        save_free_list(archive, slab);
    } else if (!load_free_list(archive, slab)) {
        archive->failed = true;
        return;
    }
    for (uint32_t i = slab_next(slab, 0); i != SLAB_NONE && !is_broken(archive); i = slab_next(slab, i + 1)) {
        fields(archive, slab_at(slab, i));
    }
}

static void head_fields(struct archive *archive)
{
    const char *magic = SAVE_MAGIC;
    for (size_t i = 0; i < sizeof(SAVE_MAGIC) - 1; i++) {
        uint8_t byte = (uint8_t)magic[i];
        field_u8(archive, &byte);
        archive->failed |= byte != (uint8_t)magic[i];
    }
    uint32_t version = SAVE_VERSION;
    field_u32(archive, &version);
    archive->failed |= version != SAVE_VERSION;
}

static void scalar_fields(struct archive *archive)
{
    struct core *core = archive->core;
    field_u64(archive, &core->seq);
    field_i64(archive, &core->time_ns);
    field_u32(archive, &core->tasks_max);
    field_u64(archive, &core->payload_size_max);
    field_i64(archive, &core->finished_keep_ms);
    field_u64(archive, &core->task_number);
    field_u64(archive, &core->session_number);
    field_u64(archive, &core->history_seq);
    if (!MUTATION(snapshot_forgets)) {
        field_u32(archive, &core->node_cursor);
    }
    uint64_t *const counters[] = {&core->accepted,       &core->succeeded,      &core->dead,
                                  &core->cancelled,      &core->expired,        &core->evicted,
                                  &core->retried,        &core->duplicates,     &core->attempts_ended,
                                  &core->leases_granted, &core->leases_expired, &core->leases_lost};
    for (size_t i = 0; i < ARRAY_COUNT(counters); i++) {
        field_u64(archive, counters[i]);
    }
    field_u32(archive, &core->newest);
    field_u32(archive, &core->oldest);
    field_u32(archive, &core->finished_head);
    field_u32(archive, &core->finished_tail);
    field_u32(archive, &core->idempotency_oldest);
    field_u32(archive, &core->idempotency_newest);
}

static void all_fields(struct archive *archive)
{
    struct core *core = archive->core;
    head_fields(archive);
    scalar_fields(archive);
    field_list(archive, &core->kinds, &core->kind_count, LIMIT_SYMBOLS);
    slab_fields(archive, &core->symbols, symbol_fields);
    slab_fields(archive, &core->queues, queue_fields);
    slab_fields(archive, &core->flows, flow_fields);
    slab_fields(archive, &core->signatures, signature_fields);
    slab_fields(archive, &core->retries, retry_fields);
    slab_fields(archive, &core->nodes, node_fields);
    slab_fields(archive, &core->slots, slot_fields);
    slab_fields(archive, &core->attempts, attempt_fields);
    slab_fields(archive, &core->sides, side_fields);
    slab_fields(archive, &core->tasks, task_fields);
    slab_fields(archive, &core->uniques, unique_fields);
    slab_fields(archive, &core->idempotencies, idempotency_fields);
}

/* Sends the fields of a core through an archive, which the caller frees. */
static struct archive *save_fields(const struct core *core, bool (*write)(void *, const void *, size_t), void *ctx,
                                   struct sha256 *sha)
{
    ensure_magic(core, CORE_MAGIC);
    struct archive *archive = malloc(sizeof(*archive));
    ensure(archive != NULL);
    /* Saving writes nothing to the core; the shared descriptions of fields take it as they find it. */
    archive->core = (struct core *)(uintptr_t)core;
    archive->is_loading = archive->failed = false;
    archive->reader = (struct reader){0};
    archive->write = write;
    archive->ctx = ctx;
    archive->len = 0;
    archive->sha = sha;
    archive->fingerprint = 0;
    all_fields(archive);
    flush(archive);
    return archive;
}

static bool save(const struct core *core, bool (*write)(void *, const void *, size_t), void *ctx,
                 uint8_t ret_digest[SHA256_SIZE])
{
    struct sha256 *sha = sha256_new();
    ensure(sha != NULL);
    struct archive *archive = save_fields(core, write, ctx, sha);
    sha256_final(sha, ret_digest);
    sha256_free(sha);
    bool is_good = !archive->failed;
    free(archive);
    return is_good;
}

void core_hash(const struct core *core, uint8_t ret_digest[SHA256_SIZE])
{
    ensure(save(core, NULL, NULL, ret_digest));
}

uint64_t core_fingerprint(const struct core *core)
{
    struct archive *archive = save_fields(core, NULL, NULL, NULL);
    ensure(!archive->failed);
    uint64_t fingerprint = archive->fingerprint;
    free(archive);
    return fingerprint;
}

enum status core_save(const struct core *core, bool (*write)(void *ctx, const void *data, size_t len), void *ctx)
{
    uint8_t digest[SHA256_SIZE];
    return save(core, write, ctx, digest) && write(ctx, digest, sizeof(digest)) ? STATUS_OK : STATUS_IO;
}

/* --- loading --- */

static bool is_index(const struct slab *slab, uint32_t index)
{
    return slab_is_live(slab, index);
}

static bool is_index_or_none(const struct slab *slab, uint32_t index)
{
    return index == NONE || slab_is_live(slab, index);
}

static bool are_symbols(const struct core *core, const uint32_t *symbols, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (!is_index(&core->symbols, symbols[i])) {
            return false;
        }
    }
    return true;
}

static bool is_good_task(const struct core *core, const struct task *task, uint32_t index)
{
    const struct slab *owner = task->state == TASK_READY ? &core->slots : &core->nodes;
    bool has_owner = task->state == TASK_READY || task->state == TASK_LEASED;
    return task->state < TASK_STATE_COUNT && task_id_index(task->id) == index && task->weight >= 1 &&
           task->weight <= LIMIT_WEIGHT_MAX && task->lease_ms <= LIMIT_LEASE_MS_MAX &&
           is_index_or_none(&core->tasks, task->newer) && is_index_or_none(&core->tasks, task->older) &&
           is_index_or_none(&core->tasks, task->next) && is_index_or_none(&core->tasks, task->prev) &&
           (has_owner ? is_index(owner, task->owner) : task->owner == NONE) && is_index(&core->flows, task->flow) &&
           is_index(&core->signatures, task->signature) && is_index(&core->retries, task->retry) &&
           is_index_or_none(&core->sides, task->side) && is_index_or_none(&core->attempts, task->attempt_newest) &&
           is_index_or_none(&core->idempotencies, task->idempotency);
}

/* S1: every index names a live record of its slab, and what selects an array or a branch is in range. */
static bool are_indices_good(const struct core *core)
{
    bool good = is_index_or_none(&core->tasks, core->newest) && is_index_or_none(&core->tasks, core->oldest) &&
                is_index_or_none(&core->tasks, core->finished_head) &&
                is_index_or_none(&core->tasks, core->finished_tail) &&
                is_index_or_none(&core->idempotencies, core->idempotency_oldest) &&
                is_index_or_none(&core->idempotencies, core->idempotency_newest) &&
                are_symbols(core, core->kinds, core->kind_count);
    for (uint32_t i = slab_next(&core->queues, 0); good && i != SLAB_NONE; i = slab_next(&core->queues, i + 1)) {
        good = is_index(&core->symbols, queue_at(core, i)->symbol);
    }
    for (uint32_t i = slab_next(&core->flows, 0); good && i != SLAB_NONE; i = slab_next(&core->flows, i + 1)) {
        const struct flow *flow = flow_at(core, i);
        good = is_index(&core->queues, flow->queue) && is_index_or_none(&core->symbols, flow->symbol);
    }
    for (uint32_t i = slab_next(&core->signatures, 0); good && i != SLAB_NONE;
         i = slab_next(&core->signatures, i + 1)) {
        const struct signature *signature = signature_at(core, i);
        good =
            is_index(&core->symbols, signature->kind) && are_symbols(core, signature->labels, signature->label_count);
    }
    for (uint32_t i = slab_next(&core->retries, 0); good && i != SLAB_NONE; i = slab_next(&core->retries, i + 1)) {
        const struct retry *retry = retry_at(core, i);
        good = are_symbols(core, retry->not_retryable, retry->not_retryable_count);
    }
    for (uint32_t i = slab_next(&core->nodes, 0); good && i != SLAB_NONE; i = slab_next(&core->nodes, i + 1)) {
        const struct node *node = node_at(core, i);
        good = is_index(&core->symbols, node->symbol) && is_index_or_none(&core->tasks, node->lease_head) &&
               is_index_or_none(&core->tasks, node->lease_tail) && are_symbols(core, node->kinds, node->kind_count) &&
               are_symbols(core, node->labels, node->label_count) && node->credit <= LIMIT_CREDIT;
    }
    for (uint32_t i = slab_next(&core->slots, 0); good && i != SLAB_NONE; i = slab_next(&core->slots, i + 1)) {
        const struct slot *slot = slot_at(core, i);
        good = is_index(&core->flows, slot->flow) && is_index(&core->signatures, slot->signature) &&
               is_index(&core->tasks, slot->head) && is_index(&core->tasks, slot->tail) &&
               slot->priority <= LIMIT_PRIORITY_MAX;
    }
    for (uint32_t i = slab_next(&core->attempts, 0); good && i != SLAB_NONE; i = slab_next(&core->attempts, i + 1)) {
        const struct attempt *attempt = attempt_at(core, i);
        good = is_index(&core->symbols, attempt->node) && is_index_or_none(&core->attempts, attempt->older) &&
               attempt->outcome <= ATTEMPT_CANCELLED;
    }
    for (uint32_t i = slab_next(&core->sides, 0); good && i != SLAB_NONE; i = slab_next(&core->sides, i + 1)) {
        const struct task_side *side = side_at(core, i);
        good = is_index_or_none(&core->uniques, side->unique) && side->unique_mode <= UNIQUE_FOR_TIME;
    }
    for (uint32_t i = slab_next(&core->tasks, 0); good && i != SLAB_NONE; i = slab_next(&core->tasks, i + 1)) {
        good = is_good_task(core, task_at(core, i), i);
    }
    for (uint32_t i = slab_next(&core->uniques, 0); good && i != SLAB_NONE; i = slab_next(&core->uniques, i + 1)) {
        const struct unique *unique = unique_at(core, i);
        good = is_index(&core->queues, unique->queue) && unique->mode >= UNIQUE_QUEUED &&
               unique->mode <= UNIQUE_FOR_TIME && unique->state < TASK_STATE_COUNT;
    }
    for (uint32_t i = slab_next(&core->idempotencies, 0); good && i != SLAB_NONE;
         i = slab_next(&core->idempotencies, i + 1)) {
        const struct idempotency *key = idempotency_at(core, i);
        good = is_index_or_none(&core->idempotencies, key->newer) &&
               is_index_or_none(&core->idempotencies, key->next_of_task) && key->state < TASK_STATE_COUNT;
    }
    return good;
}

/* Gives the names back to queues and nodes; false when two claim the same. */
static bool index_names(struct core *core)
{
    for (uint32_t i = slab_next(&core->symbols, 0); i != SLAB_NONE; i = slab_next(&core->symbols, i + 1)) {
        if (!symbol_index(core, i)) {
            return false;
        }
    }
    for (uint32_t i = slab_next(&core->queues, 0); i != SLAB_NONE; i = slab_next(&core->queues, i + 1)) {
        struct symbol *symbol = symbol_at(core, queue_at(core, i)->symbol);
        if (symbol->queue != NONE) {
            return false;
        }
        symbol->queue = i;
    }
    for (uint32_t i = slab_next(&core->nodes, 0); i != SLAB_NONE; i = slab_next(&core->nodes, i + 1)) {
        struct symbol *symbol = symbol_at(core, node_at(core, i)->symbol);
        if (symbol->node != NONE) {
            return false;
        }
        symbol->node = i;
    }
    return true;
}

/* Builds what is derived. */
static void index_rest(struct core *core)
{
    for (uint32_t i = slab_next(&core->nodes, 0); i != SLAB_NONE; i = slab_next(&core->nodes, i + 1)) {
        core->sessions += node_at(core, i)->session != 0;
        node_index(core, i);
    }
    for (uint32_t i = slab_next(&core->flows, 0); i != SLAB_NONE; i = slab_next(&core->flows, i + 1)) {
        flow_index(core, i);
    }
    for (uint32_t i = slab_next(&core->signatures, 0); i != SLAB_NONE; i = slab_next(&core->signatures, i + 1)) {
        signature_index(core, i);
    }
    for (uint32_t i = slab_next(&core->retries, 0); i != SLAB_NONE; i = slab_next(&core->retries, i + 1)) {
        retry_index(core, i);
    }
    for (uint32_t i = slab_next(&core->slots, 0); i != SLAB_NONE; i = slab_next(&core->slots, i + 1)) {
        ready_index(core, i);
    }
    for (uint32_t i = slab_next(&core->uniques, 0); i != SLAB_NONE; i = slab_next(&core->uniques, i + 1)) {
        unique_index(core, i);
    }
    for (uint32_t i = slab_next(&core->idempotencies, 0); i != SLAB_NONE; i = slab_next(&core->idempotencies, i + 1)) {
        idempotency_index(core, i);
    }
    for (uint32_t i = slab_next(&core->nodes, 0); i != SLAB_NONE; i = slab_next(&core->nodes, i + 1)) {
        node_update_idle(core, i);
    }
    for (uint32_t i = slab_next(&core->tasks, 0); i != SLAB_NONE; i = slab_next(&core->tasks, i + 1)) {
        struct task *task = task_at(core, i);
        task->deadline_ns = NEVER_NS;
        task->timer_position = HEAP_NONE;
        core->counts[task->state]++;
        if (!MUTATION(forget_timers)) {
            timer_update(core, i);
        }
    }
    /* The list may be broken still: core_check looks. No task is taken twice, nor is one without end. */
    uint32_t count = 0;
    for (uint32_t i = core->oldest; i != NONE && count < core->tasks.used; i = task_at(core, i)->newer, count++) {
        roll_append(core, i);
    }
    bitset_clear_all(&core->servable); /* T6 holds between entries; core_check looks */
}

enum status core_load(struct slice state, struct core **ret_core)
{
    if (state.len < SHA256_SIZE) {
        return STATUS_CORRUPT;
    }
    struct slice body = slice_of(state.data, state.len - SHA256_SIZE);
    uint8_t digest[SHA256_SIZE];
    sha256(body, digest);
    if (memcmp(digest, state.data + body.len, SHA256_SIZE) != 0) {
        return STATUS_CORRUPT;
    }
    struct core *core = core_alloc();
    struct archive *archive = malloc(sizeof(*archive));
    if (core == NULL || archive == NULL) {
        core_free(core);
        free(archive);
        return STATUS_NO_MEMORY;
    }
    archive->core = core;
    archive->is_loading = true;
    archive->failed = false;
    archive->reader = reader_of(body);
    all_fields(archive);
    bool is_good = !archive->failed && reader_is_done(&archive->reader);
    free(archive);
    core->kinds_cap = core->kind_count;
    if (!is_good || !are_indices_good(core) || !index_names(core)) {
        core_free(core);
        return STATUS_CORRUPT;
    }
    index_rest(core);
    if (core_check(core) != NULL) {
        core_free(core);
        return STATUS_CORRUPT;
    }
    *ret_core = core;
    return STATUS_OK;
}
