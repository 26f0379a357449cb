/* save.c - the canonical state as bytes, and back.
 *
 *   "SHOALCOR" | format u32 | the sections, one behind the other | directory | SHA-256 of all before
 *   directory: for each section tag u32, version u32, length u64; then their number u32
 *
 * A section is the scalars of the core, or one slab: its length, its free list in the order of reuse, and its live records
 * by index. One function for each kind of record names its fields, for writing and for reading: the two cannot disagree.
 * What is derived is not written: maps, heaps, bitsets, counts, and the tags of slots; a load builds them again (load.c).
 * Nothing that an outcome depends on is left out, so a loaded core goes on byte for byte as the saved one, and the digest
 * of the stream is the state hash. The directory stands at the end because the writer streams; a reader looks at it
 * first, so that a state of a newer Shoal is refused by name before anything of it is believed.
 *
 * To add a field to a record (docs/decisions/0007-format.md):
 *   1. in the record's function, at its end:   if (since(archive, 2)) { field_u32(archive, &task->new_one); }
 *   2. in the table of sections, count its version up: 1 to 2.
 * Saving always writes the newest version. A record of an older state has zeros in the new field; what else it should be
 * goes into an else branch. To add a section: a line in the table, with the format's number of today as `since`; the core as
 * core_alloc makes it is what an older state has of it. Nothing that was written once is ever taken out or reordered.
 *
 * Format 1 is the same sections at version 1, in the order of the table, without a directory.
 *
 * A load trusts nothing: the digest first, then each length against the bytes that are left, each index against its slab
 * (S1), then core_check() on the whole. */
#include <stdlib.h>

#include "base/hash.h"
#include "base/magic.h"
#include "base/mutation.h"
#include "core/core_internal.h"

#define SAVE_FORMAT 2u       /* of the frame; the sections have versions of their own */
#define SAVE_FORMAT_PLAIN 1u /* the one without a directory */
#define DIRECTORY_ENTRY_SIZE 16u
#define TAG(a, b, c, d) ((uint32_t)(a) | (uint32_t)(b) << 8 | (uint32_t)(c) << 16 | (uint32_t)(d) << 24)
#define SAVE_BUFFER_SIZE 65536u

struct archive {
    struct core *core;
    bool is_loading;
    bool failed;
    uint32_t version; /* of the section that is written or read */
    /* loading */
    struct reader reader;
    /* saving */
    struct sha256 *sha;                                     /* NULL: only the fingerprint is wanted */
    uint64_t fingerprint;                                   /* of what was flushed */
    bool (*write)(void *ctx, const void *data, size_t len); /* NULL: only a hash is wanted */
    void *ctx;
    uint64_t flushed; /* bytes */
    size_t len;
    char buffer[SAVE_BUFFER_SIZE];
};

/* Whether the section holds the fields that came with this version. */
static inline bool since(const struct archive *archive, uint32_t version)
{
    return archive->version >= version;
}

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
    archive->flushed += archive->len;
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
    if (since(archive, 2)) {
        field_u64(archive, &symbol->kind_owner);
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
    if (since(archive, 2)) {
        field_u64(archive, &queue->owner);
    }
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
    if (since(archive, 2)) {
        field_u64(archive, &flow->owner);
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
    if (since(archive, 2)) {
        field_u64(archive, &signature->owner);
    }
    if (since(archive, 3)) {
        field_bool(archive, &signature->is_alone);
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
    if (since(archive, 2)) {
        field_u64(archive, &retry->owner);
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
    if (since(archive, 2)) {
        field_bool(archive, &attempt->is_death);
    }
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
    if (since(archive, 2)) {
        field_u64(archive, &side->retry_of);
        field_bool(archive, &side->is_retried);
    }
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
    if (since(archive, 2)) {
        field_u16(archive, &task->deaths);
    }
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
    if (since(archive, 2)) {
        field_u32(archive, &unique->kind);
    } else {
        unique->kind = NONE;
    }
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
    if (since(archive, 2)) {
        field_u64(archive, &node->owner);
        field_u64(archive, &node->start);
    }
    if (since(archive, 3)) {
        field_u64(archive, &node->caller);
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

static void scalar_fields(struct archive *archive, void *record)
{
    struct core *core = record;
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
    if (since(archive, 2)) {
        field_bool(archive, &core->has_secret);
        for (size_t i = 0; i < sizeof(core->secret); i++) {
            field_u8(archive, &core->secret[i]);
        }
        if (archive->is_loading) {
            core_rekey(core, false); /* texts that come behind name blobs, whose map is filled as they come */
        }
    }
    if (since(archive, 3)) {
        uint64_t *const dropped[] = {&core->dropped.submitted, &core->dropped.succeeded, &core->dropped.dead,
                                     &core->dropped.cancelled, &core->dropped.expired,   &core->dropped.retried};
        for (size_t i = 0; i < ARRAY_COUNT(dropped); i++) {
            field_u64(archive, dropped[i]);
        }
    }
    if (since(archive, 4)) {
        field_u32(archive, &core->deaths_max);
    }
}

static void kind_fields(struct archive *archive, void *record)
{
    struct core *core = record;
    field_list(archive, &core->kinds, &core->kind_count, LIMIT_SYMBOLS);
}

/* --- sections --- */

static const struct section {
    uint32_t tag;
    const char *name; /* for people */
    uint32_t version; /* newest, which saving writes */
    uint32_t since;   /* format in which it first was; a later one may be missing */
    size_t slab_at;   /* of its slab in struct core; 0: `fields` takes the core itself */
    void (*fields)(struct archive *archive, void *record);
} sections[] = {
    {TAG('C', 'O', 'R', 'E'), "core", 4, 1, 0, scalar_fields},
    {TAG('K', 'I', 'N', 'D'), "kinds", 1, 1, 0, kind_fields},
    {TAG('S', 'Y', 'M', 'B'), "symbols", 2, 1, offsetof(struct core, symbols), symbol_fields},
    {TAG('Q', 'U', 'E', 'U'), "queues", 2, 1, offsetof(struct core, queues), queue_fields},
    {TAG('F', 'L', 'O', 'W'), "flows", 2, 1, offsetof(struct core, flows), flow_fields},
    {TAG('S', 'I', 'G', 'N'), "signatures", 3, 1, offsetof(struct core, signatures), signature_fields},
    {TAG('R', 'E', 'T', 'R'), "retry policies", 2, 1, offsetof(struct core, retries), retry_fields},
    {TAG('N', 'O', 'D', 'E'), "nodes", 3, 1, offsetof(struct core, nodes), node_fields},
    {TAG('S', 'L', 'O', 'T'), "slots", 1, 1, offsetof(struct core, slots), slot_fields},
    {TAG('A', 'T', 'T', 'E'), "attempts", 2, 1, offsetof(struct core, attempts), attempt_fields},
    {TAG('S', 'I', 'D', 'E'), "sides", 2, 1, offsetof(struct core, sides), side_fields},
    {TAG('T', 'A', 'S', 'K'), "tasks", 2, 1, offsetof(struct core, tasks), task_fields},
    {TAG('U', 'N', 'I', 'Q'), "unique keys", 2, 1, offsetof(struct core, uniques), unique_fields},
    {TAG('I', 'D', 'E', 'M'), "idempotency keys", 1, 1, offsetof(struct core, idempotencies), idempotency_fields},
};
#define SECTION_COUNT ARRAY_COUNT(sections)

static void section_fields(struct archive *archive, const struct section *section)
{
    if (section->slab_at == 0) {
        section->fields(archive, archive->core);
    } else {
        slab_fields(archive, (struct slab *)(void *)((char *)archive->core + section->slab_at), section->fields);
    }
}

static void save_all(struct archive *archive)
{
    uint64_t lengths[SECTION_COUNT];
    put_bytes(archive, MAGIC_CORE_STATE, MAGIC_FILE_SIZE);
    put_le(archive, SAVE_FORMAT, 4);
    for (size_t i = 0; i < SECTION_COUNT; i++) {
        uint64_t start = archive->flushed + archive->len;
        archive->version = sections[i].version;
        section_fields(archive, &sections[i]);
        lengths[i] = archive->flushed + archive->len - start;
    }
    for (size_t i = 0; i < SECTION_COUNT; i++) {
        put_le(archive, sections[i].tag, 4);
        put_le(archive, sections[i].version, 4);
        put_le(archive, lengths[i], 8);
    }
    put_le(archive, SECTION_COUNT, 4);
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
    archive->flushed = 0;
    archive->sha = sha;
    archive->fingerprint = 0;
    save_all(archive);
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

/* --- reading --- */

static enum status complain(struct buf *why, enum status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static enum status complain(struct buf *why, enum status status, const char *format, ...)
{
    if (why != NULL && why->len == 0) {
        va_list args;
        va_start(args, format);
        buf_vprintf(why, format, args);
        va_end(args);
    }
    return status;
}

static const struct section *section_find(uint32_t tag)
{
    for (size_t i = 0; i < SECTION_COUNT; i++) {
        if (sections[i].tag == tag) {
            return &sections[i];
        }
    }
    return NULL;
}

/* A tag as people see it. */
static void tag_text(uint32_t tag, char ret[5])
{
    for (size_t i = 0; i < 4; i++) {
        char c = (char)(tag >> (8 * i));
        ret[i] = (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ? c : '?';
    }
    ret[4] = '\0';
}

struct directory {
    uint32_t count;
    struct {
        const struct section *section;
        uint32_t version;
        uint64_t len;
    } entries[SECTION_COUNT];
};

/* Reads the directory at the end of `body`; what it speaks of are the bytes between `head_size` and itself. */
static enum status directory_read(struct slice body, size_t head_size, struct directory *ret, struct buf *why)
{
    if (body.len < head_size + 4) {
        return STATUS_CORRUPT;
    }
    uint32_t count = (uint32_t)le_get(body.data + body.len - 4, 4);
    uint64_t size = (uint64_t)count * DIRECTORY_ENTRY_SIZE + 4;
    if (size > body.len - head_size) {
        return STATUS_CORRUPT;
    }
    uint64_t left = body.len - head_size - size;
    struct reader reader = reader_of(slice_of(body.data + body.len - size, size));
    *ret = (struct directory){.count = 0};
    for (uint32_t i = 0; i < count; i++) {
        uint32_t tag = reader_u32(&reader);
        uint32_t version = reader_u32(&reader);
        uint64_t len = reader_u64(&reader);
        const struct section *section = section_find(tag);
        if (section == NULL || version > section->version) {
            char text[5];
            tag_text(tag, text);
            return complain(why, STATUS_TOO_NEW,
                            "it was written by a newer Shoal: section %s version %u; this one reads %s %u", text,
                            version, section == NULL ? "no such section, and its format is" : "versions up to",
                            section == NULL ? SAVE_FORMAT : section->version);
        }
        for (uint32_t k = 0; k < ret->count; k++) {
            if (ret->entries[k].section == section) {
                return STATUS_CORRUPT;
            }
        }
        if (version == 0 || len > left) {
            return STATUS_CORRUPT;
        }
        left -= len;
        ret->entries[ret->count].section = section;
        ret->entries[ret->count].version = version;
        ret->entries[ret->count++].len = len;
    }
    return left == 0 ? STATUS_OK : STATUS_CORRUPT;
}

/* Whether nothing is missing that every state has. */
static bool directory_is_complete(const struct directory *directory)
{
    size_t needed = 0;
    size_t found = 0;
    for (size_t i = 0; i < SECTION_COUNT; i++) {
        needed += sections[i].since <= SAVE_FORMAT;
    }
    for (uint32_t i = 0; i < directory->count; i++) {
        found += directory->entries[i].section->since <= SAVE_FORMAT;
    }
    return found == needed;
}

static enum status load_sections(struct archive *archive, struct slice body, struct buf *why)
{
    size_t head_size = (size_t)(archive->reader.at - body.data);
    struct directory directory;
    enum status status = directory_read(body, head_size, &directory, why);
    if (status != STATUS_OK) {
        return status;
    }
    if (!directory_is_complete(&directory)) {
        return STATUS_CORRUPT;
    }
    const char *at = body.data + head_size;
    for (uint32_t i = 0; i < directory.count; i++) {
        archive->reader = reader_of(slice_of(at, directory.entries[i].len));
        archive->version = directory.entries[i].version;
        section_fields(archive, directory.entries[i].section);
        if (archive->failed || !reader_is_done(&archive->reader)) {
            return complain(why, STATUS_CORRUPT, "its %s cannot be read", directory.entries[i].section->name);
        }
        at += directory.entries[i].len;
    }
    return STATUS_OK;
}

/* Format 1: every section that there was, at version 1, and nothing else. */
static enum status load_plain(struct archive *archive)
{
    archive->version = 1;
    for (size_t i = 0; i < SECTION_COUNT; i++) {
        if (sections[i].since == SAVE_FORMAT_PLAIN) {
            section_fields(archive, &sections[i]);
        }
    }
    return !archive->failed && reader_is_done(&archive->reader) ? STATUS_OK : STATUS_CORRUPT;
}

enum status archive_load(struct core *core, struct slice body, struct buf *why)
{
    struct archive *archive = malloc(sizeof(*archive));
    if (archive == NULL) {
        return STATUS_NO_MEMORY;
    }
    archive->core = core;
    archive->is_loading = true;
    archive->failed = false;
    archive->reader = reader_of(body);
    struct slice magic = reader_bytes(&archive->reader, MAGIC_FILE_SIZE);
    uint32_t format = reader_u32(&archive->reader);
    enum status status = STATUS_CORRUPT;
    if (!archive->reader.failed && slice_equal_str(magic, MAGIC_CORE_STATE) && format != 0) {
        status =
            format == SAVE_FORMAT_PLAIN ? load_plain(archive)
            : format == SAVE_FORMAT
                ? load_sections(archive, body, why)
                : complain(why, STATUS_TOO_NEW, "it was written by a newer Shoal: format %u; this one reads up to %u",
                           format, SAVE_FORMAT);
    }
    free(archive);
    return status;
}

bool core_state_is_current(struct slice state)
{
    size_t head_size = MAGIC_FILE_SIZE + 4;
    struct directory directory;
    if (state.len < head_size + SHA256_SIZE || le_get(state.data + MAGIC_FILE_SIZE, 4) != SAVE_FORMAT) {
        return false;
    }
    struct slice body = slice_of(state.data, state.len - SHA256_SIZE);
    if (directory_read(body, head_size, &directory, NULL) != STATUS_OK || directory.count != SECTION_COUNT) {
        return false;
    }
    bool is_current = true;
    for (uint32_t i = 0; i < directory.count; i++) {
        is_current = is_current && directory.entries[i].section == &sections[i] &&
                     directory.entries[i].version == sections[i].version;
    }
    return is_current;
}
