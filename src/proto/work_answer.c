/* work_answer.c - what the hub says, read by a node. Unknown members are passed over: a hub may be newer. */
#include "proto/work.h"

#include <stdio.h>

#include "base/base32.h"

/* Each member getter leaves its output alone when the member is missing or of another type. */
static void member_i64(struct json_value object, const char *name, int64_t *ret)
{
    struct json_value value;
    if (json_member(object, name, &value)) {
        (void)json_get_i64(value, ret);
    }
}

static void member_bool(struct json_value object, const char *name, bool *ret)
{
    struct json_value value;
    if (json_member(object, name, &value)) {
        (void)json_get_bool(value, ret);
    }
}

static void member_str(struct json_value object, const char *name, struct slice *ret)
{
    struct json_value value;
    if (json_member(object, name, &value)) {
        (void)json_get_str(value, ret);
    }
}

static bool member_token(struct json_value object, struct lease_token *ret)
{
    struct json_value value;
    struct slice text;
    return json_member(object, "token", &value) && json_get_str(value, &text) && lease_token_parse(text, ret);
}

static uint32_t clamp_u32(int64_t number)
{
    return number < 0 ? 0 : number > UINT32_MAX ? UINT32_MAX : (uint32_t)number;
}

static enum status read_welcome(struct json_value root, struct work_answer *answer)
{
    struct work_welcome *welcome = &answer->welcome;
    *welcome = (struct work_welcome){.beat_ms = LIMIT_BEAT_MS, .lost_ms = LIMIT_LOST_MS, .lost = answer->lost};
    struct slice session = {NULL, 0};
    member_str(root, "session", &session);
    if (!base32_parse(session, &welcome->session)) {
        return STATUS_INVALID;
    }
    int64_t beat_ms = LIMIT_BEAT_MS, lost_ms = LIMIT_LOST_MS, seq = 0;
    member_i64(root, "beat_ms", &beat_ms);
    member_i64(root, "lost_ms", &lost_ms);
    member_i64(root, "seq", &seq);
    welcome->beat_ms = clamp_u32(beat_ms);
    welcome->lost_ms = clamp_u32(lost_ms);
    welcome->seq = (uint64_t)seq;
    if (welcome->beat_ms == 0) {
        return STATUS_INVALID;
    }
    member_bool(root, "resumed", &welcome->is_resumed);
    member_bool(root, "drain", &welcome->drain);
    member_bool(root, "quiet", &welcome->quiet);
    struct json_value list, value;
    struct slice key, text;
    if (json_member(root, "lost", &list)) {
        for (struct json_iter it = json_iter_of(list); json_next(&it, &key, &value);) {
            if (welcome->lost_count == WORK_LIST_MAX || !json_get_str(value, &text) ||
                !lease_token_parse(text, &answer->lost[welcome->lost_count])) {
                return STATUS_INVALID;
            }
            welcome->lost_count++;
        }
    }
    return STATUS_OK;
}

enum status work_lease_read(struct json_value object, struct work_lease *ret_lease)
{
    struct work_lease *lease = ret_lease;
    *lease = (struct work_lease){.lease_ms = LIMIT_LEASE_MS_DEFAULT};
    member_str(object, "kind", &lease->kind);
    member_str(object, "queue", &lease->queue);
    member_str(object, "traceparent", &lease->traceparent);
    member_i64(object, "lease_ms", &lease->lease_ms);
    member_i64(object, "timeout_ms", &lease->timeout_ms);
    lease->has_checkpoint = json_member(object, "checkpoint", &lease->checkpoint);
    if (!member_token(object, &lease->token) || lease->kind.len == 0 || !json_member(object, "input", &lease->input) ||
        lease->lease_ms <= 0 || lease->timeout_ms < 0) {
        return STATUS_INVALID;
    }
    lease->attempt = lease->token.attempt;
    return STATUS_OK;
}

static enum status read_reported(struct json_value root, struct work_answer *answer)
{
    answer->refused_count = 0;
    struct json_value list, value;
    struct slice key;
    int64_t seq = 0;
    member_i64(root, "seq", &seq);
    answer->reported_seq = (uint64_t)seq;
    if (!json_member(root, "refused", &list)) {
        return STATUS_OK;
    }
    for (struct json_iter it = json_iter_of(list); json_next(&it, &key, &value);) {
        struct work_refused *refused = &answer->refused[answer->refused_count];
        if (answer->refused_count == WORK_LIST_MAX || !member_token(value, &refused->token)) {
            return STATUS_INVALID;
        }
        struct slice code = {NULL, 0};
        member_str(value, "code", &code);
        char slug[32];
        snprintf(slug, sizeof(slug), "%.*s", SLICE_ARG(code));
        if (!status_from_slug(slug, &refused->status)) {
            refused->status = STATUS_LEASE_LOST;
        }
        answer->refused_count++;
    }
    return STATUS_OK;
}

static enum status read_directives(struct json_value root, struct work_answer *answer)
{
    answer->directive_count = 0;
    struct json_value list, value;
    struct slice key;
    if (!json_member(root, "directives", &list)) {
        return STATUS_OK;
    }
    for (struct json_iter it = json_iter_of(list); json_next(&it, &key, &value);) {
        if (answer->directive_count == WORK_LIST_MAX) {
            return STATUS_INVALID;
        }
        struct directive *directive = &answer->directives[answer->directive_count];
        *directive = (struct directive){.on = true};
        struct slice name = {NULL, 0};
        struct slice reason = {NULL, 0};
        member_str(value, "do", &name);
        member_str(value, "reason", &reason);
        member_bool(value, "on", &directive->on);
        snprintf(directive->reason, sizeof(directive->reason), "%.*s", SLICE_ARG(reason));
        for (enum directive_type type = DIRECTIVE_CANCEL; directive_name(type) != NULL; type++) {
            if (slice_equal_str(name, directive_name(type))) {
                directive->type = type;
            }
        }
        if (directive->type == 0) {
            continue; /* of a newer hub */
        }
        if (directive->type == DIRECTIVE_CANCEL && !member_token(value, &directive->token)) {
            return STATUS_INVALID;
        }
        answer->directive_count++;
    }
    return STATUS_OK;
}

enum status work_answer_decode(struct json_parser *parser, struct slice text, struct work_answer *ret_answer)
{
    struct json_value root;
    enum status status = json_parse(parser, text, &root, NULL, NULL);
    if (status != STATUS_OK) {
        return status;
    }
    struct slice name = {NULL, 0};
    member_str(root, "type", &name);
    if (slice_equal_str(name, "lease")) {
        ret_answer->type = WORK_LEASE;
        return work_lease_read(root, &ret_answer->lease);
    }
    if (slice_equal_str(name, "reported")) {
        ret_answer->type = WORK_REPORTED;
        return read_reported(root, ret_answer);
    }
    if (slice_equal_str(name, "beat")) {
        ret_answer->type = WORK_DIRECTIVES;
        return read_directives(root, ret_answer);
    }
    if (slice_equal_str(name, "welcome")) {
        ret_answer->type = WORK_WELCOME;
        return read_welcome(root, ret_answer);
    }
    if (slice_equal_str(name, "error")) {
        ret_answer->type = WORK_ERROR;
        struct slice code = {NULL, 0};
        member_str(root, "code", &code);
        char slug[32];
        snprintf(slug, sizeof(slug), "%.*s", SLICE_ARG(code));
        if (!status_from_slug(slug, &ret_answer->error)) {
            ret_answer->error = STATUS_INTERNAL;
        }
        ret_answer->error_detail = (struct slice){NULL, 0};
        member_str(root, "detail", &ret_answer->error_detail);
        return STATUS_OK;
    }
    return name.len > 0 ? STATUS_NOT_IMPLEMENTED : STATUS_INVALID;
}
