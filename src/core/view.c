/* view.c - what others see: views of tasks, queues and nodes, and a task's view as bytes.
 *
 * A view points into the core. The row of a finished task is its view written out, so that history answers with the
 * very same function that memory does. */
#include "core/core_internal.h"

static void fill_labels(const struct core *core, const uint32_t *labels, uint32_t label_count, struct requirement *ret)
{
    ret->label_count = label_count;
    for (uint32_t i = 0; i < label_count; i++) {
        ret->labels[i] = symbol_text(core, labels[i]);
    }
}

static void fill_retry(const struct core *core, const struct retry *retry, struct retry_policy *ret)
{
    ret->attempts_max = retry->attempts_max;
    ret->factor_milli = retry->factor_milli;
    ret->jitter_percent = retry->jitter_percent;
    ret->base_ms = retry->base_ms;
    ret->cap_ms = retry->cap_ms;
    ret->not_retryable_count = retry->not_retryable_count;
    for (uint32_t i = 0; i < retry->not_retryable_count; i++) {
        ret->not_retryable[i] = symbol_text(core, retry->not_retryable[i]);
    }
}

static void fill_attempts(const struct core *core, const struct task *task, struct task_view *ret)
{
    ret->attempt_count = 0;
    for (uint32_t i = task->attempt_newest; i != NONE; i = attempt_at(core, i)->older) {
        ret->attempt_count++;
    }
    ensure(ret->attempt_count <= ATTEMPT_VIEW_MAX);
    uint32_t at = ret->attempt_count;
    for (uint32_t i = task->attempt_newest; i != NONE; i = attempt_at(core, i)->older) {
        const struct attempt *attempt = attempt_at(core, i);
        ret->attempt[--at] = (struct attempt_view){.attempt = attempt->number,
                                                   .outcome = (enum attempt_outcome)attempt->outcome,
                                                   .node = symbol_text(core, attempt->node),
                                                   .started_ns = attempt->started_ns,
                                                   .ended_ns = attempt->ended_ns,
                                                   .error_kind = block_slice(attempt->error_kind),
                                                   .message = block_slice(attempt->message)};
    }
}

static void fill_side(const struct task_side *side, struct task_view *ret)
{
    static const struct task_side none;
    if (side == NULL) {
        side = &none;
    }
    ret->unique_key = block_slice(side->unique_key);
    ret->traceparent = block_slice(side->traceparent);
    ret->timeout_ms = side->timeout_ms;
    ret->ttl_ms = side->ttl_ms;
    ret->retry_of = side->retry_of;
    ret->unique_mode = (enum unique_mode)side->unique_mode;
    ret->result = block_slice(side->result);
    ret->checkpoint = block_slice(side->checkpoint);
    ret->error_kind = block_slice(side->error_kind);
    ret->error_message = block_slice(side->error_message);
    ret->error_detail = block_slice(side->error_detail);
    ret->progress_permille = side->progress_permille;
    ret->progress_note = block_slice(side->progress_note);
}

void view_fill(const struct core *core, uint32_t index, struct task_view *ret)
{
    const struct task *task = task_at(core, index);
    const struct flow *flow = flow_at(core, task->flow);
    const struct signature *signature = signature_at(core, task->signature);
    bool is_leased = task->state == TASK_LEASED;
    bool is_final = task_state_is_final((enum task_state)task->state);
    ret->task_id = task->id;
    ret->state = (enum task_state)task->state;
    ret->changed_seq = task->changed_seq;
    ret->queue = symbol_text(core, queue_at(core, flow->queue)->symbol);
    ret->kind = symbol_text(core, signature->kind);
    ret->fairness_key = symbol_text(core, flow->symbol);
    ret->priority = task->priority;
    ret->weight = task->weight;
    ret->created_ns = task->created_ns;
    ret->run_at_ns = task->run_at_ns;
    ret->started_ns = task->started_ns;
    ret->finished_ns = is_final ? task->finished_ns : 0;
    ret->expires_ns = task->expires_ns;
    ret->lease_ms = task->lease_ms;
    ret->attempts = task->attempts;
    ret->attempts_failed = task->attempts_failed;
    ret->attempts_lost = task->attempts_lost;
    ret->deaths = task->deaths;
    ret->is_unservable =
        (task->state == TASK_READY || task->state == TASK_SCHEDULED) && bitset_is_empty(&signature->nodes);
    fill_labels(core, signature->labels, signature->label_count, &ret->requirement);
    ret->requirement.cpu_milli = signature->cpu_milli;
    ret->requirement.memory_mib = signature->memory_mib;
    ret->requirement.gpu = signature->gpu;
    ret->requirement.is_alone = signature->is_alone;
    fill_retry(core, retry_at(core, task->retry), &ret->retry);
    ret->input = block_slice(task->input);
    fill_side(task_side(core, task), ret);
    ret->node = is_leased ? symbol_text(core, node_at(core, task->owner)->symbol) : (struct slice){NULL, 0};
    ret->token = is_leased
                     ? (struct lease_token){.task_id = task->id, .attempt = task->attempts, .seq = task->lease_seq}
                     : (struct lease_token){0};
    ret->lease_expires_ns = is_leased ? task->lease_expires_ns : 0;
    fill_attempts(core, task, ret);
}

/* --- as bytes --- */

/* Rows stay in history for ever, so every version is read. A new field goes to the end of a row: count ROW_VERSION up, and
 * read it `if (version >= 2)`, with what an older row has of it else. */
#define ROW_VERSION 2

static void put_texts(struct buf *out, const struct slice *const texts[], size_t count)
{
    for (size_t i = 0; i < count; i++) {
        buf_append_lv(out, *texts[i]);
    }
}

void task_view_put(struct buf *out, const struct task_view *view)
{
    buf_append_u8(out, ROW_VERSION);
    buf_append_u8(out, (uint8_t)view->state);
    buf_append_u8(out, view->priority);
    buf_append_u8(out, (uint8_t)view->retry.jitter_percent);
    buf_append_u16(out, (uint16_t)view->weight);
    buf_append_u16(out, view->progress_permille);
    const uint64_t numbers[] = {view->task_id,
                                view->changed_seq,
                                (uint64_t)view->created_ns,
                                (uint64_t)view->run_at_ns,
                                (uint64_t)view->started_ns,
                                (uint64_t)view->finished_ns,
                                (uint64_t)view->expires_ns,
                                (uint64_t)view->timeout_ms,
                                (uint64_t)view->lease_ms,
                                (uint64_t)view->retry.base_ms,
                                (uint64_t)view->retry.cap_ms,
                                view->token.task_id,
                                view->token.seq,
                                (uint64_t)view->lease_expires_ns};
    for (size_t i = 0; i < ARRAY_COUNT(numbers); i++) {
        buf_append_u64(out, numbers[i]);
    }
    const uint32_t small[] = {view->attempts,
                              view->attempts_failed,
                              view->attempts_lost,
                              view->token.attempt,
                              view->requirement.cpu_milli,
                              view->requirement.memory_mib,
                              view->requirement.gpu,
                              view->retry.attempts_max,
                              view->retry.factor_milli,
                              view->requirement.label_count,
                              view->retry.not_retryable_count,
                              view->attempt_count};
    for (size_t i = 0; i < ARRAY_COUNT(small); i++) {
        buf_append_u32(out, small[i]);
    }
    const struct slice *const texts[] = {
        &view->queue,        &view->kind,          &view->fairness_key, &view->unique_key, &view->traceparent,
        &view->input,        &view->result,        &view->checkpoint,   &view->error_kind, &view->error_message,
        &view->error_detail, &view->progress_note, &view->node};
    put_texts(out, texts, ARRAY_COUNT(texts));
    for (uint32_t i = 0; i < view->requirement.label_count; i++) {
        buf_append_lv(out, view->requirement.labels[i]);
    }
    for (uint32_t i = 0; i < view->retry.not_retryable_count; i++) {
        buf_append_lv(out, view->retry.not_retryable[i]);
    }
    for (uint32_t i = 0; i < view->attempt_count; i++) {
        const struct attempt_view *attempt = &view->attempt[i];
        buf_append_u32(out, attempt->attempt);
        buf_append_u8(out, (uint8_t)attempt->outcome);
        buf_append_u64(out, (uint64_t)attempt->started_ns);
        buf_append_u64(out, (uint64_t)attempt->ended_ns);
        buf_append_lv(out, attempt->node);
        buf_append_lv(out, attempt->error_kind);
        buf_append_lv(out, attempt->message);
    }
    buf_append_u8(out, view->requirement.is_alone); /* since version 2 */
    buf_append_u8(out, (uint8_t)view->unique_mode);
    buf_append_u64(out, (uint64_t)view->ttl_ms);
    buf_append_u64(out, view->retry_of);
}

static void get_numbers(struct reader *reader, struct task_view *ret)
{
    ret->task_id = reader_u64(reader);
    ret->changed_seq = reader_u64(reader);
    ret->created_ns = (int64_t)reader_u64(reader);
    ret->run_at_ns = (int64_t)reader_u64(reader);
    ret->started_ns = (int64_t)reader_u64(reader);
    ret->finished_ns = (int64_t)reader_u64(reader);
    ret->expires_ns = (int64_t)reader_u64(reader);
    ret->timeout_ms = (int64_t)reader_u64(reader);
    ret->lease_ms = (int64_t)reader_u64(reader);
    ret->retry.base_ms = (int64_t)reader_u64(reader);
    ret->retry.cap_ms = (int64_t)reader_u64(reader);
    ret->token.task_id = reader_u64(reader);
    ret->token.seq = reader_u64(reader);
    ret->lease_expires_ns = (int64_t)reader_u64(reader);
    ret->attempts = reader_u32(reader);
    ret->attempts_failed = reader_u32(reader);
    ret->attempts_lost = reader_u32(reader);
    ret->token.attempt = reader_u32(reader);
    ret->requirement.cpu_milli = reader_u32(reader);
    ret->requirement.memory_mib = reader_u32(reader);
    ret->requirement.gpu = reader_u32(reader);
    ret->retry.attempts_max = reader_u32(reader);
    ret->retry.factor_milli = reader_u32(reader);
    ret->requirement.label_count = reader_u32(reader);
    ret->retry.not_retryable_count = reader_u32(reader);
    ret->attempt_count = reader_u32(reader);
}

/* What rows have since version 2. */
static void get_newer(struct reader *reader, uint8_t version, struct task_view *ret)
{
    uint8_t is_alone = 0, mode = ret->unique_key.len > 0 ? UNIQUE_UNFINISHED : UNIQUE_NONE; /* the usual one */
    ret->ttl_ms = ret->expires_ns > ret->created_ns ? (ret->expires_ns - ret->created_ns) / NS_PER_MS : 0;
    ret->retry_of = 0;
    if (version >= 2) {
        is_alone = reader_u8(reader);
        mode = reader_u8(reader);
        ret->ttl_ms = (int64_t)reader_u64(reader);
        ret->retry_of = reader_u64(reader);
    }
    reader->failed |= is_alone > 1 || mode > UNIQUE_FOR_TIME || (mode == UNIQUE_NONE) != (ret->unique_key.len == 0) ||
                      ret->ttl_ms < 0 || ret->ttl_ms > LIMIT_DURATION_MS;
    ret->requirement.is_alone = is_alone == 1;
    ret->unique_mode = (enum unique_mode)mode;
}

enum status task_view_get(struct slice row, struct task_view *ret)
{
    struct reader reader = reader_of(row);
    uint8_t version = reader_u8(&reader);
    uint8_t state = reader_u8(&reader);
    ret->state = (enum task_state)state;
    ret->is_unservable = false;
    ret->deaths = 0;
    ret->priority = reader_u8(&reader);
    ret->retry.jitter_percent = reader_u8(&reader);
    ret->weight = reader_u16(&reader);
    ret->progress_permille = reader_u16(&reader);
    get_numbers(&reader, ret);
    if (version > ROW_VERSION) {
        return STATUS_TOO_NEW;
    }
    if (reader.failed || version == 0 || state >= TASK_STATE_COUNT || ret->priority > LIMIT_PRIORITY_MAX ||
        ret->requirement.label_count > LIMIT_LABELS ||
        ret->retry.not_retryable_count > ARRAY_COUNT(ret->retry.not_retryable) ||
        ret->attempt_count > ATTEMPT_VIEW_MAX) {
        return STATUS_CORRUPT;
    }
    struct slice *const texts[] = {&ret->queue,       &ret->kind,          &ret->fairness_key, &ret->unique_key,
                                   &ret->traceparent, &ret->input,         &ret->result,       &ret->checkpoint,
                                   &ret->error_kind,  &ret->error_message, &ret->error_detail, &ret->progress_note,
                                   &ret->node};
    for (size_t i = 0; i < ARRAY_COUNT(texts); i++) {
        *texts[i] = reader_lv(&reader);
    }
    for (uint32_t i = 0; i < ret->requirement.label_count; i++) {
        ret->requirement.labels[i] = reader_lv(&reader);
    }
    for (uint32_t i = 0; i < ret->retry.not_retryable_count; i++) {
        ret->retry.not_retryable[i] = reader_lv(&reader);
    }
    for (uint32_t i = 0; i < ret->attempt_count; i++) {
        struct attempt_view *attempt = &ret->attempt[i];
        attempt->attempt = reader_u32(&reader);
        uint8_t outcome = reader_u8(&reader);
        attempt->outcome = (enum attempt_outcome)outcome;
        reader.failed |= outcome > ATTEMPT_CANCELLED;
        attempt->started_ns = (int64_t)reader_u64(&reader);
        attempt->ended_ns = (int64_t)reader_u64(&reader);
        attempt->node = reader_lv(&reader);
        attempt->error_kind = reader_lv(&reader);
        attempt->message = reader_lv(&reader);
    }
    get_newer(&reader, version, ret);
    return reader_is_done(&reader) ? STATUS_OK : STATUS_CORRUPT;
}

/* --- reads --- */

enum status core_task_get(const struct core *core, uint64_t task_id, struct task_view *ret_view)
{
    ensure_magic(core, CORE_MAGIC);
    uint32_t index = task_find(core, task_id);
    if (index == NONE) {
        return STATUS_NOT_FOUND;
    }
    view_fill(core, index, ret_view);
    return STATUS_OK;
}

enum status core_task_brief(const struct core *core, uint64_t task_id, struct task_brief *ret_brief)
{
    uint32_t index = task_find(core, task_id);
    if (index == NONE) {
        return STATUS_NOT_FOUND;
    }
    const struct task *task = task_at(core, index);
    bool is_final = task_state_is_final((enum task_state)task->state);
    *ret_brief = (struct task_brief){.state = (enum task_state)task->state,
                                     .queue = symbol_text(core, queue_at(core, task_queue(core, task))->symbol),
                                     .kind = symbol_text(core, signature_at(core, task->signature)->kind),
                                     .finished_ns = is_final ? task->finished_ns : 0,
                                     .finished_seq = is_final ? task->finished_seq : 0};
    return STATUS_OK;
}

uint64_t core_finished_after(const struct core *core, uint64_t seq, uint64_t after_task_id)
{
    uint32_t index = core->finished_head;
    uint32_t after = after_task_id != 0 ? task_find(core, after_task_id) : NONE;
    if (after != NONE && task_state_is_final((enum task_state)task_at(core, after)->state)) {
        index = task_at(core, after)->next;
    }
    while (index != NONE && task_at(core, index)->finished_seq <= seq) {
        index = task_at(core, index)->next;
    }
    return index != NONE ? task_at(core, index)->id : 0;
}

static void fill_queue(const struct core *core, uint32_t index, struct queue_view *ret)
{
    const struct queue *queue = queue_at(core, index);
    *ret = (struct queue_view){.name = symbol_text(core, queue->symbol),
                               .is_paused = queue->is_paused,
                               .created_ns = queue->created_ns,
                               .changed_seq = queue->changed_seq,
                               .submitted = queue->submitted,
                               .succeeded = queue->succeeded,
                               .dead = queue->dead,
                               .cancelled = queue->cancelled,
                               .expired = queue->expired,
                               .retried = queue->retried};
    memcpy(ret->counts, queue->counts, sizeof(ret->counts));
}

uint32_t core_queue_next(const struct core *core, uint32_t from)
{
    return slab_next(&core->queues, from);
}

uint32_t core_node_next(const struct core *core, uint32_t from)
{
    return slab_next(&core->nodes, from);
}

bool core_queue_at(const struct core *core, uint32_t i, struct queue_view *ret_view)
{
    if (!slab_is_live(&core->queues, i)) {
        return false;
    }
    fill_queue(core, i, ret_view);
    return true;
}

bool core_queue_find(const struct core *core, struct slice name, struct queue_view *ret_view)
{
    uint32_t index = queue_find(core, name);
    return index != NONE && core_queue_at(core, index, ret_view);
}

bool core_kind_is_known(const struct core *core, struct slice name)
{
    uint32_t symbol = symbol_find(core, name);
    return symbol != NONE && symbol_at(core, symbol)->is_kind;
}

bool core_kind_at(const struct core *core, uint32_t i, struct slice *ret_name)
{
    if (i >= core->kind_count) {
        return false;
    }
    *ret_name = symbol_text(core, core->kinds[i]);
    return true;
}

bool core_node_at(const struct core *core, uint32_t i, struct node_view *ret)
{
    if (!slab_is_live(&core->nodes, i)) {
        return false;
    }
    const struct node *node = node_at(core, i);
    *ret = (struct node_view){.name = symbol_text(core, node->symbol),
                              .session = node->session,
                              .instance = node->instance,
                              .owner = node->owner,
                              .start = node->start,
                              .is_worker = node->is_worker,
                              .is_draining = node->is_draining,
                              .is_quiet = node->is_quiet,
                              .changed_seq = node->changed_seq,
                              .joined_ns = node->joined_ns,
                              .session_ns = node->session_ns,
                              .credit = node->credit,
                              .leases = node->leases,
                              .succeeded = node->succeeded,
                              .failed = node->failed,
                              .lost = node->lost,
                              .kind_count = node->kind_count,
                              .info = block_slice(node->info)};
    for (uint32_t k = 0; k < node->kind_count; k++) {
        ret->kinds[k] = symbol_text(core, node->kinds[k]);
    }
    fill_labels(core, node->labels, node->label_count, &ret->facts);
    ret->facts.cpu_milli = node->cpu_milli;
    ret->facts.memory_mib = node->memory_mib;
    ret->facts.gpu = node->gpu;
    return true;
}

bool core_node_find(const struct core *core, struct slice name, struct node_view *ret_view)
{
    uint32_t index = node_find(core, name);
    return index != NONE && core_node_at(core, index, ret_view);
}

bool core_session_find(const struct core *core, uint64_t session, struct node_view *ret_view)
{
    uint32_t index = node_of_session(core, session);
    return index != NONE && core_node_at(core, index, ret_view);
}

uint64_t core_session_task(const struct core *core, uint64_t session, uint64_t after_task_id)
{
    uint32_t node = node_of_session(core, session);
    if (node == NONE) {
        return 0;
    }
    uint32_t index = node_at(core, node)->lease_head;
    if (after_task_id != 0) {
        uint32_t after = task_find(core, after_task_id);
        bool is_there =
            after != NONE && task_at(core, after)->state == TASK_LEASED && task_at(core, after)->owner == node;
        index = is_there ? task_at(core, after)->next : NONE;
    }
    return index != NONE ? task_at(core, index)->id : 0;
}

struct slice core_secret(const struct core *core)
{
    return slice_of((const char *)core->secret, core->has_secret ? sizeof(core->secret) : 0);
}
