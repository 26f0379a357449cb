/* work_write.c - the messages between hub and node as text: what either side says. */
#include "proto/work.h"

#include <inttypes.h>

#include "base/base32.h"
#include "base/ensure.h"
#include "base/timefmt.h"

static void write_token(struct buf *out, const struct lease_token *token)
{
    char text[LEASE_TOKEN_TEXT_SIZE];
    lease_token_format(token, text);
    buf_append_char(out, '"');
    buf_append_str(out, text);
    buf_append_char(out, '"');
}

static void write_id(struct buf *out, uint64_t id)
{
    char text[BASE32_TEXT_SIZE];
    base32_format(id, text);
    buf_append_char(out, '"');
    buf_append_str(out, text);
    buf_append_char(out, '"');
}

static void write_names(struct buf *out, const struct slice *names, uint32_t count)
{
    buf_append_char(out, '[');
    for (uint32_t i = 0; i < count; i++) {
        if (i > 0) {
            buf_append_char(out, ',');
        }
        json_write_str(out, names[i]);
    }
    buf_append_char(out, ']');
}

void work_write_hello(struct buf *out, const struct command_node_hello *hello, const struct lease_token *held,
                      struct slice key)
{
    buf_append_str(out, "{\"type\":\"hello\",\"node\":");
    json_write_str(out, hello->node);
    buf_printf(out, ",\"instance\":\"%016" PRIx64 "\"", hello->instance);
    if (hello->owner != 0) {
        buf_printf(out, ",\"owner\":\"%016" PRIx64 "\",\"start\":%" PRIu64, hello->owner, hello->start);
    }
    if (key.len > 0) {
        buf_append_str(out, ",\"key\":");
        json_write_str(out, key);
    }
    buf_append_str(out, ",\"kinds\":");
    write_names(out, hello->kinds, hello->kind_count);
    buf_append_str(out, ",\"labels\":");
    write_names(out, hello->facts.labels, hello->facts.label_count);
    buf_printf(out, ",\"cpu_milli\":%" PRIu32 ",\"memory_mib\":%" PRIu32 ",\"gpu\":%" PRIu32 ",\"credit\":%" PRIu32,
               hello->facts.cpu_milli, hello->facts.memory_mib, hello->facts.gpu, hello->credit);
    buf_append_str(out, ",\"held\":[");
    for (uint32_t i = 0; i < hello->held_count; i++) {
        struct lease_token token = held != NULL ? held[i] : command_held_at(hello, i);
        if (i > 0) {
            buf_append_char(out, ',');
        }
        write_token(out, &token);
    }
    buf_append_str(out, "],\"info\":");
    buf_append_slice(out, hello->info.len > 0 ? hello->info : SLICE("{}"));
    buf_append_char(out, '}');
}

void work_write_outcome(struct buf *out, const struct outcome *outcome)
{
    buf_append_str(out, "{\"token\":");
    write_token(out, &outcome->token);
    switch (outcome->type) {
    case OUTCOME_COMPLETE:
        buf_append_str(out, ",\"outcome\":\"complete\",\"result\":");
        buf_append_slice(out, outcome->payload.len > 0 ? outcome->payload : SLICE("null"));
        break;
    case OUTCOME_FAIL:
        buf_append_str(out, ",\"outcome\":\"fail\",\"error\":{\"kind\":");
        json_write_str(out, outcome->error_kind.len > 0 ? outcome->error_kind : SLICE("failed"));
        buf_append_str(out, ",\"message\":");
        json_write_str(out, outcome->message);
        if (outcome->payload.len > 0) {
            buf_append_str(out, ",\"detail\":");
            buf_append_slice(out, outcome->payload);
        }
        buf_append_char(out, '}');
        if (outcome->is_final) {
            buf_append_str(out, ",\"final\":true");
        }
        break;
    case OUTCOME_EXTEND:
        buf_append_str(out, ",\"outcome\":\"extend\"");
        break;
    case OUTCOME_PROGRESS:
        buf_printf(out, ",\"outcome\":\"progress\",\"permille\":%u", outcome->progress_permille);
        if (outcome->message.len > 0) {
            buf_append_str(out, ",\"note\":");
            json_write_str(out, outcome->message);
        }
        if (outcome->payload.len > 0) {
            buf_append_str(out, ",\"checkpoint\":");
            buf_append_slice(out, outcome->payload);
        }
        break;
    case OUTCOME_RELEASE:
        buf_append_str(out, ",\"outcome\":\"release\"");
        if (outcome->message.len > 0) {
            buf_append_str(out, ",\"message\":");
            json_write_str(out, outcome->message);
        }
        break;
    }
    if ((outcome->type == OUTCOME_EXTEND || outcome->type == OUTCOME_PROGRESS) && outcome->lease_ms > 0) {
        buf_printf(out, ",\"lease_ms\":%" PRId64, outcome->lease_ms);
    }
    buf_append_char(out, '}');
}

void work_write_report(struct buf *out, struct slice outcomes_json, uint32_t credit_add)
{
    buf_append_str(out, "{\"type\":\"report\"");
    if (credit_add > 0) {
        buf_printf(out, ",\"credit\":%" PRIu32, credit_add);
    }
    buf_append_str(out, ",\"outcomes\":[");
    buf_append_slice(out, outcomes_json);
    buf_append_str(out, "]}");
}

void work_write_credit_set(struct buf *out, uint32_t n)
{
    buf_printf(out, "{\"type\":\"report\",\"credit_set\":%" PRIu32 ",\"outcomes\":[]}", n);
}

void work_write_credit(struct buf *out, uint32_t n)
{
    buf_printf(out, "{\"type\":\"credit\",\"n\":%" PRIu32 "}", n);
}

void work_write_beat(struct buf *out, const struct work_load *load)
{
    buf_append_str(out, "{\"type\":\"beat\"");
    if (load->is_known) {
        buf_printf(out,
                   ",\"load\":{\"cpu_permille\":%" PRIu32 ",\"memory_used_mib\":%" PRIu32 ",\"running\":%" PRIu32 "}",
                   load->cpu_permille, load->memory_used_mib, load->running);
    }
    buf_append_char(out, '}');
}

void work_write_leave(struct buf *out)
{
    buf_append_str(out, "{\"type\":\"leave\"}");
}

void work_write_welcome(struct buf *out, const struct work_welcome *welcome)
{
    buf_append_str(out, "{\"type\":\"welcome\",\"session\":");
    write_id(out, welcome->session);
    buf_printf(out, ",\"beat_ms\":%" PRIu32 ",\"lost_ms\":%" PRIu32 ",\"seq\":%" PRIu64 ",\"resumed\":%s,\"lost\":[",
               welcome->beat_ms, welcome->lost_ms, welcome->seq, welcome->is_resumed ? "true" : "false");
    for (uint32_t i = 0; i < welcome->lost_count; i++) {
        if (i > 0) {
            buf_append_char(out, ',');
        }
        write_token(out, &welcome->lost[i]);
    }
    buf_printf(out, "],\"drain\":%s,\"quiet\":%s}", welcome->drain ? "true" : "false",
               welcome->quiet ? "true" : "false");
}

static void write_offer_members(struct buf *out, const struct work_lease_offer *offer)
{
    buf_append_str(out, "\"token\":");
    write_token(out, &offer->token);
    buf_append_str(out, ",\"task\":");
    write_id(out, offer->token.task_id);
    buf_append_str(out, ",\"attempt\":");
    buf_append_u64_dec(out, offer->token.attempt);
    buf_append_str(out, ",\"kind\":");
    json_write_str(out, offer->kind);
    buf_append_str(out, ",\"queue\":");
    json_write_str(out, offer->queue);
    buf_append_str(out, ",\"input\":");
    buf_append_slice(out, offer->input.len > 0 ? offer->input : SLICE("null"));
    if (offer->checkpoint.len > 0) {
        buf_append_str(out, ",\"checkpoint\":");
        buf_append_slice(out, offer->checkpoint);
    }
    if (offer->traceparent.len > 0) {
        buf_append_str(out, ",\"traceparent\":");
        json_write_str(out, offer->traceparent);
    }
    buf_append_str(out, ",\"lease_ms\":");
    buf_append_i64_dec(out, offer->lease_ms);
    if (offer->timeout_ms > 0) {
        buf_append_str(out, ",\"timeout_ms\":");
        buf_append_i64_dec(out, offer->timeout_ms);
    }
}

void work_write_lease(struct buf *out, const struct work_lease_offer *offer)
{
    buf_append_str(out, "{\"type\":\"lease\",");
    write_offer_members(out, offer);
    buf_append_char(out, '}');
}

void work_write_offer(struct buf *out, const struct work_lease_offer *offer)
{
    buf_append_char(out, '{');
    write_offer_members(out, offer);
    char time[TIME_TEXT_SIZE];
    time_format(offer->expires_ns, time);
    buf_append_str(out, ",\"expires_at\":\"");
    buf_append_str(out, time);
    buf_append_str(out, "\"}");
}

void work_write_reported(struct buf *out, const struct work_refused *refused, uint32_t count, uint64_t seq)
{
    buf_append_str(out, "{\"type\":\"reported\",\"refused\":[");
    for (uint32_t i = 0; i < count; i++) {
        buf_append_str(out, i > 0 ? ",{\"token\":" : "{\"token\":");
        write_token(out, &refused[i].token);
        buf_printf(out, ",\"code\":\"%s\"}", status_slug(refused[i].status));
    }
    buf_printf(out, "],\"seq\":%" PRIu64 "}", seq);
}

const char *directive_name(enum directive_type type)
{
    static const char *const names[] = {
        [DIRECTIVE_CANCEL] = "cancel",
        [DIRECTIVE_DRAIN] = "drain",
        [DIRECTIVE_QUIET] = "quiet",
        [DIRECTIVE_TERMINATE] = "terminate",
    };
    return (size_t)type < ARRAY_COUNT(names) ? names[type] : NULL;
}

void work_write_beat_answer(struct buf *out, const struct directive *directives, uint32_t count)
{
    buf_append_str(out, "{\"type\":\"beat\",\"directives\":[");
    for (uint32_t i = 0; i < count; i++) {
        const struct directive *directive = &directives[i];
        const char *name = directive_name(directive->type);
        ensure(name != NULL);
        buf_printf(out, "%s{\"do\":\"%s\"", i > 0 ? "," : "", name);
        if (directive->type == DIRECTIVE_CANCEL) {
            buf_append_str(out, ",\"token\":");
            write_token(out, &directive->token);
        }
        if (directive->type == DIRECTIVE_CANCEL || directive->type == DIRECTIVE_TERMINATE) {
            buf_append_str(out, ",\"reason\":");
            json_write_str(out, slice_of(directive->reason, strnlen(directive->reason, sizeof(directive->reason))));
        } else {
            buf_printf(out, ",\"on\":%s", directive->on ? "true" : "false");
        }
        buf_append_char(out, '}');
    }
    buf_append_str(out, "]}");
}

void work_write_error(struct buf *out, enum status status, struct slice detail)
{
    buf_printf(out, "{\"type\":\"error\",\"code\":\"%s\",\"detail\":", status_slug(status));
    json_write_str(out, detail.len > 0 ? detail : slice_str(status_title(status)));
    buf_append_char(out, '}');
}
