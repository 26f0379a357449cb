/* task_json.c - the submit body, member by member, and the task that a client sees.
 *
 * Decoding walks the members once and dispatches on their names, so that an unknown one is noticed for free. Everything
 * that command.c ensures is checked here with a sentence for the client; what depends on the state of the hub (is the
 * kind known, is the queue) is the core's to say. */
#include "hub/task_json.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/base32.h"
#include "base/ensure.h"
#include "base/limits.h"
#include "base/timefmt.h"
#include "hub/fields.h"

#define NS_IN_MS INT64_C(1000000)
#define FACTOR_MILLI_MAX (1000 * 1000)
#define NOT_RETRYABLE_MAX 16

/* --- in --- */

static void read_not_retryable(const struct field *field, struct retry_policy *retry)
{
    if (!field_array(field)) {
        return;
    }
    if (json_count(field->value) > NOT_RETRYABLE_MAX) {
        problem_add(field->problem, STATUS_INVALID, field->base, field->key, "at most %d error kinds",
                    NOT_RETRYABLE_MAX);
        return;
    }
    struct json_iter it = json_iter_of(field->value);
    struct json_value element;
    retry->not_retryable_count = 0;
    for (uint32_t i = 0; json_next(&it, NULL, &element); i++) {
        char index[12];
        snprintf(index, sizeof(index), "%u", i);
        struct field kind = {field->problem, "/retry/not_retryable", slice_str(index), element};
        struct slice text;
        if (field_text(&kind, LIMIT_NAME_SIZE, &text)) {
            retry->not_retryable[retry->not_retryable_count++] = text;
        }
    }
}

static void read_retry(const struct field *parent, struct retry_policy *retry)
{
    if (!field_object(parent)) {
        return;
    }
    struct field field = {.problem = parent->problem, .base = "/retry"};
    struct json_iter it = json_iter_of(parent->value);
    uint64_t seen = 0;
    int64_t number;
    while (json_next(&it, &field.key, &field.value)) {
        if (slice_equal(field.key, SLICE("max"))) {
            if (field_is_first(&field, &seen, 0) && field_int(&field, 1, LIMIT_ATTEMPTS, &number)) {
                retry->attempts_max = (uint32_t)number;
            }
        } else if (slice_equal(field.key, SLICE("base_ms"))) {
            if (field_is_first(&field, &seen, 1) && field_int(&field, 0, LIMIT_DURATION_MS, &number)) {
                retry->base_ms = number;
            }
        } else if (slice_equal(field.key, SLICE("factor"))) {
            if (field_is_first(&field, &seen, 2) && field_milli(&field, 1000, FACTOR_MILLI_MAX, &number)) {
                retry->factor_milli = (uint32_t)number;
            }
        } else if (slice_equal(field.key, SLICE("cap_ms"))) {
            if (field_is_first(&field, &seen, 3) && field_int(&field, 0, LIMIT_DURATION_MS, &number)) {
                retry->cap_ms = number;
            }
        } else if (slice_equal(field.key, SLICE("jitter"))) {
            if (field_is_first(&field, &seen, 4) && field_milli(&field, 0, 1000, &number)) {
                retry->jitter_percent = (uint32_t)((number + 5) / 10);
            }
        } else if (slice_equal(field.key, SLICE("not_retryable"))) {
            if (field_is_first(&field, &seen, 5)) {
                read_not_retryable(&field, retry);
            }
        } else {
            field_unknown(&field);
        }
    }
}

static void read_unique(const struct field *parent, struct command_submit *command)
{
    if (!field_object(parent)) {
        return;
    }
    struct field field = {.problem = parent->problem, .base = "/unique"};
    struct json_iter it = json_iter_of(parent->value);
    uint64_t seen = 0;
    uint32_t errors = parent->problem->error_count;
    command->unique_mode = UNIQUE_UNFINISHED;
    while (json_next(&it, &field.key, &field.value)) {
        if (slice_equal(field.key, SLICE("key"))) {
            if (field_is_first(&field, &seen, 0)) {
                field_text(&field, LIMIT_KEY_SIZE, &command->unique_key);
            }
        } else if (slice_equal(field.key, SLICE("mode"))) {
            struct slice mode = {0};
            if (!field_is_first(&field, &seen, 1)) {
                continue;
            }
            json_get_str(field.value, &mode);
            if (slice_equal(mode, SLICE("queued"))) {
                command->unique_mode = UNIQUE_QUEUED;
            } else if (slice_equal(mode, SLICE("unfinished"))) {
                command->unique_mode = UNIQUE_UNFINISHED;
            } else if (slice_equal(mode, SLICE("time"))) {
                command->unique_mode = UNIQUE_FOR_TIME;
            } else {
                problem_add(field.problem, STATUS_INVALID, field.base, field.key,
                            "\"queued\", \"unfinished\" or \"time\"");
            }
        } else if (slice_equal(field.key, SLICE("for_ms"))) {
            if (field_is_first(&field, &seen, 2)) {
                field_int(&field, 1, LIMIT_DURATION_MS, &command->unique_ms);
            }
        } else {
            field_unknown(&field);
        }
    }
    if (parent->problem->error_count != errors) {
        return;
    }
    if (command->unique_key.len == 0) {
        problem_add(parent->problem, STATUS_INVALID, "/unique/key", (struct slice){0}, "is needed");
    } else if ((command->unique_mode == UNIQUE_FOR_TIME) != (command->unique_ms > 0)) {
        problem_add(parent->problem, STATUS_INVALID, "/unique/for_ms", (struct slice){0},
                    "goes with the mode \"time\", and is needed there");
    }
}

static void read_requires(const struct field *parent, struct requirement *requirement)
{
    if (!field_object(parent)) {
        return;
    }
    struct field field = {.problem = parent->problem, .base = "/requires"};
    struct json_iter it = json_iter_of(parent->value);
    uint64_t seen = 0;
    while (json_next(&it, &field.key, &field.value)) {
        if (slice_equal_str(field.key, "alone")) {
            if (field_is_first(&field, &seen, FIELD_REQUIREMENT_BITS)) {
                field_bool(&field, &requirement->is_alone);
            }
        } else if (!field_requirement(&field, &seen, 0, requirement)) {
            field_unknown(&field);
        }
    }
}

static void read_input(const struct field *field, struct buf *input, struct command_submit *command)
{
    json_print(input, field->value);
    if (buf_status(input) != STATUS_OK || input->len > LIMIT_INPUT_SIZE) {
        problem_add(field->problem, STATUS_TOO_LARGE, field->base, field->key,
                    "at most %d bytes of JSON without white space; put more into a blob (PUT /v1/blobs)",
                    LIMIT_INPUT_SIZE);
        field->problem->limit = LIMIT_INPUT_SIZE;
        return;
    }
    command->input = buf_slice(input);
}

enum submit_member {
    MEMBER_KIND,
    MEMBER_QUEUE,
    MEMBER_INPUT,
    MEMBER_PRIORITY,
    MEMBER_FAIRNESS_KEY,
    MEMBER_WEIGHT,
    MEMBER_RUN_AT,
    MEMBER_DELAY_MS,
    MEMBER_TTL_MS,
    MEMBER_TIMEOUT_MS,
    MEMBER_LEASE_MS,
    MEMBER_RETRY,
    MEMBER_UNIQUE,
    MEMBER_REQUIRES,
    MEMBER_COUNT
};
static const struct slice member_names[MEMBER_COUNT] = {
    [MEMBER_KIND] = {"kind", 4},
    [MEMBER_QUEUE] = {"queue", 5},
    [MEMBER_INPUT] = {"input", 5},
    [MEMBER_PRIORITY] = {"priority", 8},
    [MEMBER_FAIRNESS_KEY] = {"fairness_key", 12},
    [MEMBER_WEIGHT] = {"weight", 6},
    [MEMBER_RUN_AT] = {"run_at", 6},
    [MEMBER_DELAY_MS] = {"delay_ms", 8},
    [MEMBER_TTL_MS] = {"ttl_ms", 6},
    [MEMBER_TIMEOUT_MS] = {"timeout_ms", 10},
    [MEMBER_LEASE_MS] = {"lease_ms", 8},
    [MEMBER_RETRY] = {"retry", 5},
    [MEMBER_UNIQUE] = {"unique", 6},
    [MEMBER_REQUIRES] = {"requires", 8},
};

static enum submit_member member_of(struct slice key)
{
    unsigned i = 0;
    while (i < MEMBER_COUNT && !slice_equal(member_names[i], key)) {
        i++;
    }
    return (enum submit_member)i;
}

static void read_member(const struct field *field, enum submit_member member, int64_t now_ns, struct buf *input,
                        struct command_submit *command)
{
    int64_t number;
    switch (member) {
    case MEMBER_KIND:
        field_name(field, &command->kind);
        break;
    case MEMBER_QUEUE:
        field_name(field, &command->queue);
        break;
    case MEMBER_INPUT:
        read_input(field, input, command);
        break;
    case MEMBER_PRIORITY:
        if (field_int(field, 0, LIMIT_PRIORITY_MAX, &number)) {
            command->priority = (uint8_t)number;
        }
        break;
    case MEMBER_FAIRNESS_KEY:
        field_text(field, LIMIT_KEY_SIZE, &command->fairness_key);
        break;
    case MEMBER_WEIGHT:
        if (field_int(field, 1, LIMIT_WEIGHT_MAX, &number)) {
            command->weight = (uint32_t)number;
        }
        break;
    case MEMBER_RUN_AT:
        field_time(field, &command->run_at_ns);
        break;
    case MEMBER_DELAY_MS:
        if (field_int(field, 0, LIMIT_DURATION_MS, &number) && number > 0) {
            command->run_at_ns = now_ns + number * NS_IN_MS;
        }
        break;
    case MEMBER_TTL_MS:
        field_int(field, 1, LIMIT_DURATION_MS, &command->ttl_ms);
        break;
    case MEMBER_TIMEOUT_MS:
        field_int(field, 1, LIMIT_DURATION_MS, &command->timeout_ms);
        break;
    case MEMBER_LEASE_MS:
        field_int(field, LIMIT_LEASE_MS_MIN, LIMIT_LEASE_MS_MAX, &command->lease_ms);
        break;
    case MEMBER_RETRY:
        read_retry(field, &command->retry);
        break;
    case MEMBER_UNIQUE:
        read_unique(field, command);
        break;
    case MEMBER_REQUIRES:
        read_requires(field, &command->requirement);
        break;
    case MEMBER_COUNT:
        field_unknown(field);
        break;
    }
}

bool task_json_decode(struct json_value value, int64_t now_ns, struct buf *input, struct command_submit *ret_command,
                      struct problem *problem)
{
    buf_reset(input);
    struct command_submit *command = ret_command;
    /* Not {0}: the arrays of labels and error kinds behind their counts need no zeroing, and this is the hot path. */
    command->queue = SLICE("default");
    command->kind = (struct slice){0};
    command->input = SLICE("null");
    command->fairness_key = command->unique_key = command->idempotency_key = command->traceparent = (struct slice){0};
    command->body_hash = command->retry_of = 0;
    command->priority = 5;
    command->weight = 1;
    command->by = (struct command_caller){0};
    command->unique_mode = UNIQUE_NONE;
    command->unique_ms = command->run_at_ns = command->ttl_ms = command->timeout_ms = command->lease_ms = 0;
    command->requirement.label_count = command->requirement.cpu_milli = command->requirement.memory_mib =
        command->requirement.gpu = 0;
    command->requirement.is_alone = false;
    retry_policy_default(&command->retry);
    if (json_type_of(value) != JSON_OBJECT) {
        problem_add(problem, STATUS_INVALID, "", (struct slice){0}, "a task is an object");
        return false;
    }
    struct field field = {.problem = problem, .base = ""};
    struct json_iter it = json_iter_of(value);
    uint64_t seen = 0;
    while (json_next(&it, &field.key, &field.value)) {
        enum submit_member member = member_of(field.key);
        if (member == MEMBER_COUNT || field_is_first(&field, &seen, member)) {
            read_member(&field, member, now_ns, input, command);
        }
    }
    if ((seen >> MEMBER_KIND & 1) == 0) {
        problem_add(problem, STATUS_INVALID, "/kind", (struct slice){0}, "is needed");
    }
    if ((seen >> MEMBER_RUN_AT & 1) != 0 && (seen >> MEMBER_DELAY_MS & 1) != 0) {
        problem_add(problem, STATUS_INVALID, "/delay_ms", (struct slice){0}, "give run_at or delay_ms, not both");
    }
    return problem_is_ok(problem);
}

void task_json_resubmit(const struct task_view *view, struct command_submit *ret_command)
{
    *ret_command = (struct command_submit){
        .queue = view->queue,
        .kind = view->kind,
        .input = view->input,
        .fairness_key = view->fairness_key,
        .traceparent = view->traceparent,
        .priority = view->priority,
        .weight = view->weight,
        .unique_key = view->unique_key,
        .unique_mode = view->unique_mode, /* a timed key that nobody holds any more is not taken anew: unique_ms is 0 */
        .retry_of = view->task_id,
        .ttl_ms = view->ttl_ms,
        .timeout_ms = view->timeout_ms,
        .lease_ms = view->lease_ms,
        .requirement = view->requirement, /* and alone, as a retry in memory would be: task_retry */
        .retry = view->retry,
    };
    ret_command->requirement.is_alone |= slice_equal_str(view->error_kind, POISON);
}

/* --- out --- */

void write_id(struct buf *out, uint64_t id)
{
    char text[BASE32_TEXT_SIZE];
    base32_format(id, text);
    buf_append(out, text, BASE32_DIGITS);
}

void write_time(struct buf *out, int64_t wall_ns)
{
    char text[TIME_TEXT_SIZE];
    time_format(wall_ns, text);
    buf_append_char(out, '"');
    buf_append_str(out, text);
    buf_append_char(out, '"');
}

static void member_time(struct buf *out, const char *name, int64_t wall_ns)
{
    if (wall_ns == 0) {
        return;
    }
    buf_append_str(out, name);
    write_time(out, wall_ns);
}

static void member_str(struct buf *out, const char *name, struct slice text)
{
    buf_append_str(out, name);
    json_write_str(out, text);
}

static void member_int(struct buf *out, const char *name, int64_t value)
{
    buf_append_str(out, name);
    buf_append_i64_dec(out, value);
}

static void write_strings(struct buf *out, const struct slice *texts, uint32_t count)
{
    buf_append_char(out, '[');
    for (uint32_t i = 0; i < count; i++) {
        if (i > 0) {
            buf_append_char(out, ',');
        }
        json_write_str(out, texts[i]);
    }
    buf_append_char(out, ']');
}

void write_requirement(struct buf *out, const struct requirement *requirement)
{
    buf_append_slice(out, SLICE("\"labels\":"));
    write_strings(out, requirement->labels, requirement->label_count);
    buf_append_slice(out, SLICE(",\"cpu\":"));
    write_milli(out, requirement->cpu_milli);
    member_int(out, ",\"memory_mib\":", requirement->memory_mib);
    member_int(out, ",\"gpu\":", requirement->gpu);
    if (requirement->is_alone) {
        buf_append_slice(out, SLICE(",\"alone\":true"));
    }
}

static void write_retry(struct buf *out, const struct retry_policy *retry)
{
    member_int(out, ",\"retry\":{\"max\":", retry->attempts_max);
    member_int(out, ",\"base_ms\":", retry->base_ms);
    buf_append_slice(out, SLICE(",\"factor\":"));
    write_milli(out, retry->factor_milli);
    member_int(out, ",\"cap_ms\":", retry->cap_ms);
    buf_append_slice(out, SLICE(",\"jitter\":"));
    write_milli(out, retry->jitter_percent * UINT64_C(10));
    buf_append_slice(out, SLICE(",\"not_retryable\":"));
    write_strings(out, retry->not_retryable, retry->not_retryable_count);
    buf_append_char(out, '}');
}

/* Why it does not run, in words: what it needs and no node that is here has. */
static void write_hint(struct buf *out, const struct task_view *view)
{
    const struct requirement *needs = &view->requirement;
    struct buf text;
    buf_init(&text, 8192);
    buf_printf(&text, "no node that is here now can run it; it needs the kind %.*s", SLICE_ARG(view->kind));
    for (uint32_t i = 0; i < needs->label_count; i++) {
        buf_printf(&text, ", the label %.*s", SLICE_ARG(needs->labels[i]));
    }
    if (needs->cpu_milli > 0) {
        buf_append_str(&text, ", cpu ");
        write_milli(&text, needs->cpu_milli);
    }
    if (needs->memory_mib > 0) {
        buf_printf(&text, ", memory of %" PRIu32 " MiB", needs->memory_mib);
    }
    if (needs->gpu > 0) {
        buf_printf(&text, ", gpu %" PRIu32, needs->gpu);
    }
    if (needs->is_alone) {
        buf_append_str(&text, ", and a node that runs nothing else");
    }
    member_str(out, ",\"hint\":", buf_slice(&text));
    buf_free(&text);
}

static void write_error(struct buf *out, const char *name, struct slice kind, struct slice message, struct slice detail)
{
    member_str(out, name, kind);
    member_str(out, ",\"message\":", message);
    if (detail.len > 0) {
        buf_append_slice(out, SLICE(",\"detail\":"));
        buf_append_slice(out, detail);
    }
    buf_append_char(out, '}');
}

/* The last attempt that failed, when the task then ended in another way; NULL: none, or `error` is of it. */
static const struct attempt_view *last_failed(const struct task_view *view)
{
    bool is_ended = view->state == TASK_EXPIRED || view->state == TASK_CANCELLED || view->state == TASK_DEAD;
    const struct attempt_view *newest = view->attempt_count > 0 ? &view->attempt[view->attempt_count - 1] : NULL;
    if (!is_ended || view->attempts_failed == 0 || newest == NULL ||
        (view->state == TASK_DEAD && (newest->outcome == ATTEMPT_FAILED || newest->outcome == ATTEMPT_TIMED_OUT))) {
        return NULL;
    }
    for (uint32_t i = view->attempt_count; i > 0; i--) {
        enum attempt_outcome outcome = view->attempt[i - 1].outcome;
        if (outcome == ATTEMPT_FAILED || outcome == ATTEMPT_TIMED_OUT) {
            return &view->attempt[i - 1];
        }
    }
    return NULL;
}

static void write_errors(struct buf *out, const struct task_view *view)
{
    const struct attempt_view *last = last_failed(view);
    if (view->error_kind.len > 0 || view->error_message.len > 0) {
        write_error(out, ",\"error\":{\"kind\":", view->error_kind, view->error_message,
                    last == NULL ? view->error_detail : (struct slice){NULL, 0});
    }
    if (last != NULL) {
        write_error(out, ",\"last_error\":{\"kind\":", last->error_kind, last->message, view->error_detail);
    }
}

void task_json_write_short(struct buf *out, uint64_t task_id, enum task_state state, struct slice queue,
                           struct slice kind, bool is_duplicate)
{
    buf_append_slice(out, SLICE("{\"id\":\""));
    write_id(out, task_id);
    buf_append_slice(out, SLICE("\",\"state\":\""));
    buf_append_str(out, task_state_name(state));
    buf_append_slice(out, SLICE("\",\"queue\":\""));
    buf_append_slice(out, queue);
    buf_append_slice(out, SLICE("\",\"kind\":\""));
    buf_append_slice(out, kind);
    buf_append_char(out, '"');
    if (is_duplicate) {
        buf_append_slice(out, SLICE(",\"duplicate\":true"));
    }
}

void task_json_write(struct buf *out, const struct task_view *view, bool is_brief)
{
    buf_append_slice(out, SLICE("{\"id\":\""));
    write_id(out, view->task_id);
    buf_append_slice(out, SLICE("\",\"state\":\""));
    buf_append_str(out, task_state_name(view->state));
    member_str(out, "\",\"queue\":", view->queue);
    member_str(out, ",\"kind\":", view->kind);
    member_int(out, ",\"priority\":", view->priority);
    if (view->fairness_key.len > 0) {
        member_str(out, ",\"fairness_key\":", view->fairness_key);
    }
    member_int(out, ",\"weight\":", view->weight);
    member_time(out, ",\"created_at\":", view->created_ns);
    if (!task_state_is_final(view->state)) { /* else it says when a task will run that never will */
        member_time(out, ",\"run_at\":", view->run_at_ns);
    }
    member_time(out, ",\"started_at\":", view->started_ns);
    member_time(out, ",\"finished_at\":", view->finished_ns);
    member_time(out, ",\"expires_at\":", view->expires_ns);
    if (view->timeout_ms > 0) {
        member_int(out, ",\"timeout_ms\":", view->timeout_ms);
    }
    member_int(out, ",\"lease_ms\":", view->lease_ms > 0 ? view->lease_ms : LIMIT_LEASE_MS_DEFAULT);
    member_int(out, ",\"attempts\":", view->attempts);
    member_int(out, ",\"attempts_failed\":", view->attempts_failed);
    member_int(out, ",\"attempts_lost\":", view->attempts_lost);
    write_retry(out, &view->retry);
    if (view->retry_of != 0) {
        buf_append_slice(out, SLICE(",\"retry_of\":\""));
        write_id(out, view->retry_of);
        buf_append_char(out, '"');
    }
    if (view->unique_key.len > 0) {
        static const char *const modes[] = {"", "queued", "unfinished", "time"};
        member_str(out, ",\"unique\":{\"key\":", view->unique_key);
        member_str(out, ",\"mode\":", slice_str(modes[view->unique_mode]));
        buf_append_char(out, '}');
    }
    buf_append_slice(out, SLICE(",\"requires\":{"));
    write_requirement(out, &view->requirement);
    buf_append_char(out, '}');
    if (view->traceparent.len > 0) {
        member_str(out, ",\"traceparent\":", view->traceparent);
    }
    if (view->progress_permille > 0 || view->progress_note.len > 0) {
        member_int(out, ",\"progress\":{\"permille\":", view->progress_permille);
        member_str(out, ",\"note\":", view->progress_note);
        buf_append_char(out, '}');
    }
    if (view->state == TASK_LEASED) {
        member_str(out, ",\"lease\":{\"node\":", view->node);
        member_int(out, ",\"attempt\":", view->token.attempt);
        member_time(out, ",\"expires_at\":", view->lease_expires_ns);
        buf_append_char(out, '}');
    }
    if (!is_brief) {
        if (view->is_unservable) {
            write_hint(out, view);
        }
        buf_append_slice(out, SLICE(",\"input\":"));
        buf_append_slice(out, view->input.len > 0 ? view->input : SLICE("null"));
        if (view->state == TASK_SUCCEEDED) {
            buf_append_slice(out, SLICE(",\"result\":"));
            buf_append_slice(out, view->result.len > 0 ? view->result : SLICE("null"));
        }
        if (view->checkpoint.len > 0) {
            buf_append_slice(out, SLICE(",\"checkpoint\":"));
            buf_append_slice(out, view->checkpoint);
        }
    }
    write_errors(out, view);
    buf_append_char(out, '}');
}

void task_json_write_attempts(struct buf *out, const struct task_view *view)
{
    buf_append_slice(out, SLICE("{\"items\":["));
    for (uint32_t i = 0; i < view->attempt_count; i++) {
        const struct attempt_view *attempt = &view->attempt[i];
        member_int(out, i == 0 ? "{\"attempt\":" : ",{\"attempt\":", attempt->attempt);
        buf_append_slice(out, SLICE(",\"outcome\":\""));
        buf_append_str(out, attempt_outcome_name(attempt->outcome));
        member_str(out, "\",\"node\":", attempt->node);
        member_time(out, ",\"started_at\":", attempt->started_ns);
        member_time(out, ",\"ended_at\":", attempt->ended_ns);
        if (attempt->error_kind.len > 0) { /* why one was released is no error */
            write_error(out, ",\"error\":{\"kind\":", attempt->error_kind, attempt->message, (struct slice){0});
        }
        buf_append_char(out, '}');
    }
    buf_append_slice(out, SLICE("]}"));
}
