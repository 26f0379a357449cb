/* effect.c - effects as bytes: `u8 type | u32 len | body`, fields in the order of their structs.
 *
 * The bytes never leave the process that made them, so a malformed one is a bug and is ensured. */
#include "core/effect.h"

#include "base/ensure.h"

static const char *const state_names[TASK_STATE_COUNT] = {
    [TASK_SCHEDULED] = "scheduled", [TASK_BLOCKED] = "blocked",       [TASK_READY] = "ready",
    [TASK_LEASED] = "leased",       [TASK_VALIDATING] = "validating", [TASK_SUCCEEDED] = "succeeded",
    [TASK_DEAD] = "dead",           [TASK_CANCELLED] = "cancelled",   [TASK_EXPIRED] = "expired",
};

const char *task_state_name(enum task_state state)
{
    ensure((unsigned)state < TASK_STATE_COUNT);
    return state_names[state];
}

bool task_state_from_name(struct slice name, enum task_state *ret_state)
{
    for (unsigned i = 0; i < TASK_STATE_COUNT; i++) {
        if (slice_equal_str(name, state_names[i])) {
            *ret_state = (enum task_state)i;
            return true;
        }
    }
    return false;
}

const char *attempt_outcome_name(enum attempt_outcome outcome)
{
    static const char *const names[] = {
        [ATTEMPT_RUNNING] = "running",   [ATTEMPT_SUCCEEDED] = "succeeded", [ATTEMPT_FAILED] = "failed",
        [ATTEMPT_LOST] = "lost",         [ATTEMPT_EXPIRED] = "expired",     [ATTEMPT_TIMED_OUT] = "timed_out",
        [ATTEMPT_RELEASED] = "released", [ATTEMPT_CANCELLED] = "cancelled",
    };
    ensure((unsigned)outcome < ARRAY_COUNT(names));
    return names[outcome];
}

bool effect_refused_next(struct reader *reader, uint32_t *ret_ordinal, enum status *ret_status)
{
    if (reader->failed || reader->at == reader->end) {
        return false;
    }
    *ret_ordinal = reader_u32(reader);
    *ret_status = (enum status)reader_u8(reader);
    ensure(!reader->failed && *ret_status < STATUS_COUNT);
    return true;
}

void effect_put_reply(struct buf *out, const struct effect_reply *reply)
{
    size_t start = buf_begin_part(out, (uint8_t)EFFECT_REPLY);
    buf_append_u32(out, reply->ordinal);
    buf_append_u8(out, (uint8_t)reply->command);
    buf_append_u8(out, (uint8_t)reply->status);
    buf_append_u64(out, reply->task_id);
    buf_append_u8(out, (uint8_t)reply->state);
    buf_append_u8(out, (uint8_t)((reply->is_duplicate ? 1 : 0) | (reply->is_resumed ? 2 : 0)));
    buf_append_u64(out, reply->session);
    buf_append_u32(out, reply->count);
    buf_append_lv(out, reply->refused);
    buf_end_part(out, start);
}

static void get_reply(struct reader *reader, struct effect_reply *ret)
{
    ret->ordinal = reader_u32(reader);
    ret->command = (enum command_type)reader_u8(reader);
    ret->status = (enum status)reader_u8(reader);
    ret->task_id = reader_u64(reader);
    ret->state = (enum task_state)reader_u8(reader);
    uint8_t flags = reader_u8(reader);
    ret->is_duplicate = (flags & 1) != 0;
    ret->is_resumed = (flags & 2) != 0;
    ret->session = reader_u64(reader);
    ret->count = reader_u32(reader);
    ret->refused = reader_lv(reader);
}

void effect_put_lease(struct buf *out, const struct effect_lease *lease)
{
    const struct work_lease_offer *offer = &lease->offer;
    size_t start = buf_begin_part(out, (uint8_t)EFFECT_LEASE);
    buf_append_u64(out, lease->session);
    lease_token_put(out, &offer->token);
    buf_append_u64(out, (uint64_t)offer->expires_ns);
    buf_append_u64(out, (uint64_t)offer->lease_ms);
    buf_append_u64(out, (uint64_t)offer->timeout_ms);
    buf_append_lv(out, offer->kind);
    buf_append_lv(out, offer->queue);
    buf_append_lv(out, offer->input);
    buf_append_lv(out, offer->checkpoint);
    buf_append_lv(out, offer->traceparent);
    buf_end_part(out, start);
}

static void get_lease(struct reader *reader, struct effect_lease *ret)
{
    struct work_lease_offer *offer = &ret->offer;
    ret->session = reader_u64(reader);
    offer->token = lease_token_get(reader);
    offer->expires_ns = (int64_t)reader_u64(reader);
    offer->lease_ms = (int64_t)reader_u64(reader);
    offer->timeout_ms = (int64_t)reader_u64(reader);
    offer->kind = reader_lv(reader);
    offer->queue = reader_lv(reader);
    offer->input = reader_lv(reader);
    offer->checkpoint = reader_lv(reader);
    offer->traceparent = reader_lv(reader);
}

void effect_put_stop(struct buf *out, const struct effect_stop *stop)
{
    size_t start = buf_begin_part(out, (uint8_t)EFFECT_STOP);
    buf_append_u64(out, stop->session);
    lease_token_put(out, &stop->token);
    buf_append_u8(out, (uint8_t)stop->reason);
    buf_end_part(out, start);
}

static void get_stop(struct reader *reader, struct effect_stop *ret)
{
    ret->session = reader_u64(reader);
    ret->token = lease_token_get(reader);
    ret->reason = (enum stop_reason)reader_u8(reader);
}

void effect_put_session(struct buf *out, const struct effect_session *session)
{
    size_t start = buf_begin_part(out, (uint8_t)EFFECT_SESSION);
    buf_append_u64(out, session->session);
    buf_append_u8(out, (uint8_t)((session->has_ended ? 1 : 0) | (session->drain ? 2 : 0) | (session->quiet ? 4 : 0)));
    buf_append_u8(out, (uint8_t)session->reason);
    buf_end_part(out, start);
}

static void get_session(struct reader *reader, struct effect_session *ret)
{
    ret->session = reader_u64(reader);
    uint8_t flags = reader_u8(reader);
    ret->has_ended = (flags & 1) != 0;
    ret->drain = (flags & 2) != 0;
    ret->quiet = (flags & 4) != 0;
    ret->reason = (enum lost_reason)reader_u8(reader);
}

void effect_put_task(struct buf *out, const struct effect_task *task)
{
    size_t start = buf_begin_part(out, (uint8_t)EFFECT_TASK);
    buf_append_u64(out, task->task_id);
    buf_append_u8(out, (uint8_t)task->state);
    buf_end_part(out, start);
}

static void get_task(struct reader *reader, struct effect_task *ret)
{
    ret->task_id = reader_u64(reader);
    ret->state = (enum task_state)reader_u8(reader);
}

void effect_put_finished(struct buf *out, const struct effect_finished *finished)
{
    size_t start = buf_begin_part(out, (uint8_t)EFFECT_FINISHED);
    buf_append_u64(out, finished->task_id);
    buf_append_u8(out, (uint8_t)finished->state);
    buf_append_u64(out, (uint64_t)finished->created_ns);
    buf_append_u64(out, (uint64_t)finished->finished_ns);
    buf_append_lv(out, finished->queue);
    buf_append_lv(out, finished->kind);
    buf_append_lv(out, finished->error_kind);
    buf_append_u64(out, finished->retry_of);
    buf_append_lv(out, finished->row);
    buf_end_part(out, start);
}

static void get_finished(struct reader *reader, struct effect_finished *ret)
{
    ret->task_id = reader_u64(reader);
    ret->state = (enum task_state)reader_u8(reader);
    ret->created_ns = (int64_t)reader_u64(reader);
    ret->finished_ns = (int64_t)reader_u64(reader);
    ret->queue = reader_lv(reader);
    ret->kind = reader_lv(reader);
    ret->error_kind = reader_lv(reader);
    ret->retry_of = reader_u64(reader);
    ret->row = reader_lv(reader);
}

bool effect_next(struct reader *reader, struct effect *ret_effect)
{
    if (reader->at == reader->end) {
        return false;
    }
    ret_effect->type = (enum effect_type)reader_u8(reader);
    struct reader body = reader_of(reader_lv(reader));
    ensure(!reader->failed);
    switch (ret_effect->type) {
    case EFFECT_REPLY:
        get_reply(&body, &ret_effect->as.reply);
        break;
    case EFFECT_LEASE:
        get_lease(&body, &ret_effect->as.lease);
        break;
    case EFFECT_STOP:
        get_stop(&body, &ret_effect->as.stop);
        break;
    case EFFECT_SESSION:
        get_session(&body, &ret_effect->as.session);
        break;
    case EFFECT_TASK:
        get_task(&body, &ret_effect->as.task);
        break;
    case EFFECT_FINISHED:
        get_finished(&body, &ret_effect->as.finished);
        break;
    default:
        ensure(!"an effect type");
    }
    ensure(reader_is_done(&body));
    return true;
}
