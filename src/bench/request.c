/* request.c - the bytes of requests, and what answers are held against.
 *
 * A step in which nothing varies is made once, head and body in one piece, and only sent afterwards. Any other is put together
 * in the user's own buffer from literals and values; what a user takes from an answer is kept as text. Tasks of the workload
 * carry the number of their submit in the input ({"op":n,…}), by which a simulated node that gets the lease finds out when
 * it was meant to be sent. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/ensure.h"
#include "base/hash.h"
#include "base/limits.h"
#include "bench/engine_internal.h"

#define LETTERS_SIZE (256u << 10) /* twice the largest cut, so that cuts differ */
#define TASK_WAIT_MS 30000        /* of one wait for a task's end; half of what the hub allows */

/* --- values --- */

uint64_t user_random(struct user *user)
{
    return hash_mix(user->random++);
}

int64_t user_draw(struct user *user, int64_t min, int64_t max)
{
    return max > min ? min + (int64_t)(user_random(user) % (uint64_t)(max - min + 1)) : min;
}

static void append_letters(struct buf *out, struct engine *engine, uint64_t random, uint64_t len)
{
    while (len > 0) {
        uint64_t piece = len < LETTERS_SIZE / 2 ? len : LETTERS_SIZE / 2;
        buf_append(out, engine->letters.data + random % (LETTERS_SIZE / 2), piece);
        len -= piece;
    }
}

static void append_feed(struct buf *out, struct user *user, const struct variable_plan *plan)
{
    const struct scenario_feed *feed = &user->engine->scenario->feeds[plan->feed];
    uint64_t row = user->rows[plan->feed];
    uint64_t span = (uint64_t)(feed->range.max - feed->range.min) + 1;
    switch (feed->kind) {
    case FEED_RANGE:
        buf_append_i64_dec(out, feed->range.min + (int64_t)(row % span));
        break;
    case FEED_TEXT:
        append_letters(out, user->engine, hash_mix(row), (uint64_t)feed->range.min + hash_mix(row + 1) % span);
        break;
    default:
        buf_append_slice(out, feed->cells[(size_t)(row % feed->rows) * feed->columns + plan->column]);
        break;
    }
}

static void append_variable(struct buf *out, struct user *user, int variable)
{
    const struct variable_plan *plan = &user->engine->variables[variable];
    switch (plan->kind) {
    case VARIABLE_INDEX:
        buf_append_u64_dec(out, user->index);
        break;
    case VARIABLE_USER:
        buf_append_u64_dec(out, user->number);
        break;
    case VARIABLE_UUID: { /* version 4 in form; drawn from the seed */
        uint64_t a = user_random(user);
        uint64_t b = user_random(user);
        buf_printf(out, "%08" PRIx64 "-%04" PRIx64 "-4%03" PRIx64 "-%04" PRIx64 "-%012" PRIx64, a >> 32,
                   (a >> 16) & 0xffff, a & 0xfff, 0x8000 | (b >> 50), b & 0xffffffffffff);
        break;
    }
    case VARIABLE_FEED:
        append_feed(out, user, plan);
        break;
    case VARIABLE_TAKEN:
        if (user->values != NULL) {
            buf_append(out, user->values[variable].text, user->values[variable].len);
        }
        break;
    }
}

void request_append_text(struct buf *out, struct user *user, const struct scenario_text *text)
{
    for (uint32_t i = 0; i < text->count; i++) {
        if (text->parts[i].variable < 0) {
            buf_append_slice(out, text->parts[i].literal);
        } else {
            append_variable(out, user, text->parts[i].variable);
        }
    }
}

bool requests_choose_rows(struct engine *engine, struct user *user)
{
    for (uint32_t i = 0; i < engine->scenario->feed_count; i++) {
        const struct scenario_feed *feed = &engine->scenario->feeds[i];
        bool is_listed = feed->kind == FEED_CSV || feed->kind == FEED_WORDS;
        uint64_t rows = is_listed ? feed->rows : (uint64_t)(feed->range.max - feed->range.min) + 1;
        if (feed->order == FEED_RANDOM || feed->kind == FEED_TEXT) {
            user->rows[i] = user_random(user);
        } else if (feed->order == FEED_ONCE && engine->feed_next[i] >= rows) {
            return false;
        } else {
            user->rows[i] = engine->feed_next[i]++;
        }
    }
    return true;
}

static void take_value(struct user *user, int variable, struct slice text)
{
    struct user_value *value = &user->values[variable];
    if (text.len > value->cap) {
        char *bigger = realloc(value->text, text.len);
        if (bigger == NULL) {
            return;
        }
        value->text = bigger;
        value->cap = (uint32_t)text.len;
    }
    if (text.len > 0) {
        memcpy(value->text, text.data, text.len);
    }
    value->len = (uint32_t)text.len;
}

/* --- tasks of the workload --- */

/* Which of `count` records with a share each. */
static uint32_t choose_share(struct user *user, const char *first_share, size_t stride, uint32_t count)
{
    uint64_t total = 0;
    for (uint32_t i = 0; i < count; i++) {
        total += *(const uint32_t *)(const void *)(first_share + i * stride);
    }
    uint64_t at = total > 0 ? user_random(user) % total : 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t share = *(const uint32_t *)(const void *)(first_share + i * stride);
        if (at < share) {
            return i;
        }
        at -= share;
    }
    return 0;
}

static void append_ms(struct buf *out, const char *name, int64_t ms)
{
    if (ms > 0) {
        buf_printf(out, ",\"%s\":%" PRId64, name, ms);
    }
}

static void append_task(struct buf *out, struct user *user, uint64_t op)
{
    const struct workload *workload = &user->engine->scenario->workload;
    const struct workload_kind *kind = &workload->kinds[choose_share(user, (const char *)&workload->kinds[0].share,
                                                                     sizeof(workload->kinds[0]), workload->kind_count)];
    const struct workload_queue *queue = &workload->queues[choose_share(
        user, (const char *)&workload->queues[0].share, sizeof(workload->queues[0]), workload->queue_count)];
    buf_printf(out, "{\"kind\":\"%s\",\"queue\":\"%s\",\"input\":{\"op\":%" PRIu64, kind->name, queue->name, op);
    int64_t input = user_draw(user, kind->input.min, kind->input.max);
    if (input > 40) {
        buf_append_str(out, ",\"pad\":\"");
        append_letters(out, user->engine, user_random(user), (uint64_t)input - 40);
        buf_append_char(out, '"');
    }
    buf_append_char(out, '}');
    if (queue->priority.max > 0) {
        buf_printf(out, ",\"priority\":%" PRId64, user_draw(user, queue->priority.min, queue->priority.max));
    }
    if (queue->keys > 0) {
        buf_printf(out, ",\"fairness_key\":\"key-%" PRIu64 "\"", user_random(user) % queue->keys);
    }
    append_ms(out, "delay_ms", user_draw(user, kind->delay.min, kind->delay.max) / 1000000);
    append_ms(out, "ttl_ms", kind->ttl_ms);
    append_ms(out, "timeout_ms", kind->timeout_ms);
    append_ms(out, "lease_ms", kind->lease_ms);
    if (workload->unique_permille > 0 && user_random(user) % 1000 < workload->unique_permille) {
        buf_printf(out, ",\"unique\":{\"key\":\"u-%" PRIu64 "\"}", user_random(user) % 4);
    }
    if (kind->attempts > 0) {
        buf_printf(out, ",\"retry\":{\"max\":%" PRIu32 ",\"base_ms\":%" PRId64 "}", kind->attempts, kind->backoff_ms);
    }
    buf_append_char(out, '}');
}

/* --- putting requests together --- */

static void begin_head(struct buf *out, const struct engine *engine, const struct step_plan *plan, const char *method)
{
    struct slice base = http_origin_path(engine->origin);
    while (base.len > 0 && base.data[base.len - 1] == '/') {
        base.len--;
    }
    (void)plan;
    buf_append_str(out, method);
    buf_append_char(out, ' ');
    buf_append_slice(out, base);
}

static void end_head(struct buf *out, struct user *user, const struct step_plan *plan, bool has_body, size_t body_len)
{
    buf_append_str(out, " HTTP/1.1\r\n");
    if (!plan->has_host) {
        buf_append_str(out, "Host: ");
        buf_append_str(out, http_origin_authority(user->engine->origin));
        buf_append_str(out, "\r\n");
    }
    request_append_text(out, user, &plan->step->headers);
    if (has_body && !plan->has_content_type) {
        buf_append_str(out, "Content-Type: application/json\r\n");
    }
    if (has_body) {
        buf_append_str(out, "Content-Length: ");
        buf_append_u64_dec(out, body_len);
        buf_append_str(out, "\r\n");
    }
    buf_append_str(out, "\r\n");
}

static void make_plain(struct buf *out, struct user *user, const struct step_plan *plan)
{
    const struct scenario_step *step = plan->step;
    struct buf *body = &user->engine->scratch;
    buf_reset(body);
    request_append_text(body, user, &step->body);
    begin_head(out, user->engine, plan, step->method);
    request_append_text(out, user, &step->path);
    bool is_sent_with_body = !plan->is_head && strcmp(step->method, "GET") != 0 && strcmp(step->method, "DELETE") != 0;
    end_head(out, user, plan, is_sent_with_body || body->len > 0, body->len);
    buf_append_slice(out, buf_slice(body));
}

static void make_submit(struct buf *out, struct user *user, const struct step_plan *plan)
{
    struct engine *engine = user->engine;
    const struct scenario_step *step = plan->step;
    struct buf *body = &engine->scratch;
    uint32_t count = step->action == SCENARIO_SUBMIT && step->batch > 1 ? step->batch : 1;
    user->first_op = engine->op_next;
    user->items = count;
    engine->op_next += count;
    buf_reset(body);
    if (count > 1) {
        buf_append_char(body, '[');
    }
    for (uint32_t i = 0; i < count; i++) {
        if (i > 0) {
            buf_append_char(body, ',');
        }
        append_task(body, user, user->first_op + i);
    }
    if (count > 1) {
        buf_append_char(body, ']');
    }
    begin_head(out, engine, plan, "POST");
    buf_append_str(out, count > 1 ? "/v1/tasks:batch" : "/v1/tasks");
    if (step->action == SCENARIO_TASK) {
        buf_printf(out, "?wait_ms=%d", TASK_WAIT_MS);
    }
    end_head(out, user, plan, true, body->len);
    /* Before the empty line: whether the submit can be told from its repetition. */
    if (user_random(user) % 1000 >= engine->scenario->workload.keyless_permille) {
        out->len -= 2;
        buf_printf(out, "Idempotency-Key: b%" PRIx64 "-%" PRIu64 "\r\n\r\n",
                   hash_mix(engine->scenario->seed ^ (uint64_t)engine->begin_ns), user->first_op);
    }
    buf_append_slice(out, buf_slice(body));
}

static void make_task_wait(struct buf *out, struct user *user, const struct step_plan *plan)
{
    begin_head(out, user->engine, plan, "GET");
    buf_printf(out, "/v1/tasks/%s?wait_ms=%d", user->task_id, TASK_WAIT_MS);
    end_head(out, user, plan, false, 0);
}

bool request_make(struct user *user, const struct step_plan *plan, struct slice *ret_bytes)
{
    user->items = 0;
    if (plan->fixed.len > 0) {
        *ret_bytes = buf_slice(&plan->fixed);
        return true;
    }
    struct buf *out = &user->out;
    buf_reset(out);
    if (plan->step->action == SCENARIO_REQUEST) {
        make_plain(out, user, plan);
    } else if (plan->step->action == SCENARIO_TASK && user->task_id[0] != '\0') {
        make_task_wait(out, user, plan);
        user->items = 1;
    } else {
        make_submit(out, user, plan);
    }
    *ret_bytes = buf_slice(out);
    return buf_status(out) == STATUS_OK && buf_status(&user->engine->scratch) == STATUS_OK;
}

/* --- answers --- */

bool json_at_pointer(struct json_value root, const char *pointer, struct json_value *ret_value)
{
    struct json_value value = root;
    while (*pointer == '/') {
        char key[64];
        size_t len = 0;
        for (pointer++; *pointer != '\0' && *pointer != '/'; pointer++) {
            char c = *pointer;
            if (c == '~' && (pointer[1] == '0' || pointer[1] == '1')) {
                c = *++pointer == '0' ? '~' : '/';
            }
            if (len + 1 < sizeof(key)) {
                key[len++] = c;
            }
        }
        key[len] = '\0';
        if (json_type_of(value) == JSON_ARRAY) {
            char *end;
            unsigned long wanted = strtoul(key, &end, 10);
            struct json_iter it = json_iter_of(value);
            struct json_value element;
            if (end == key || *end != '\0') {
                return false;
            }
            do {
                if (!json_next(&it, NULL, &element)) {
                    return false;
                }
            } while (wanted-- > 0);
            value = element;
        } else if (!json_member(value, key, &value)) {
            return false;
        }
    }
    *ret_value = value;
    return *pointer == '\0';
}

bool request_wants_body(const struct scenario_step *step)
{
    return step->match[0] != '\0' || step->take_count > 0 || step->action == SCENARIO_TASK ||
           (step->action == SCENARIO_SUBMIT && step->batch > 1);
}

static enum bench_error take_all(struct user *user, const struct scenario_step *step, struct slice body)
{
    struct engine *engine = user->engine;
    struct json_value root;
    if (json_parse(engine->parser, body, &root, NULL, NULL) != STATUS_OK) {
        return BENCH_ERROR_NONSENSE;
    }
    for (uint32_t i = 0; i < step->take_count; i++) {
        struct json_value value;
        struct slice text;
        if (!json_at_pointer(root, step->takes[i].pointer, &value)) {
            return BENCH_ERROR_MISMATCH;
        }
        if (!json_get_str(value, &text)) {
            buf_reset(&engine->scratch);
            json_print(&engine->scratch, value);
            text = buf_slice(&engine->scratch);
        }
        take_value(user, step->takes[i].variable, text);
    }
    return BENCH_ERROR_COUNT;
}

enum bench_error request_check(struct user *user, const struct step_plan *plan, int status_code, struct slice body)
{
    const struct scenario_step *step = plan->step;
    if (status_code < step->expect_low || status_code > step->expect_high) {
        return status_code >= 500   ? BENCH_ERROR_STATUS_5XX
               : status_code >= 400 ? BENCH_ERROR_STATUS_4XX
                                    : BENCH_ERROR_STATUS_OTHER;
    }
    if (step->match[0] != '\0' && memmem(body.data, body.len, step->match, strlen(step->match)) == NULL) {
        return BENCH_ERROR_MISMATCH;
    }
    return step->take_count > 0 ? take_all(user, step, body) : BENCH_ERROR_COUNT;
}

/* --- compiling --- */

static bool is_literal(const struct scenario_text *text)
{
    for (uint32_t i = 0; i < text->count; i++) {
        if (text->parts[i].variable >= 0) {
            return false;
        }
    }
    return true;
}

static bool text_has(const struct scenario_text *text, const char *word)
{
    for (uint32_t i = 0; i < text->count; i++) {
        struct slice literal = text->parts[i].literal;
        size_t len = strlen(word);
        for (size_t at = 0; text->parts[i].variable < 0 && at + len <= literal.len; at++) {
            if (strncasecmp(literal.data + at, word, len) == 0 && (at == 0 || literal.data[at - 1] == '\n')) {
                return true;
            }
        }
    }
    return false;
}

static bool find_label(struct engine *engine, const char *name, uint32_t *ret_label)
{
    for (uint32_t i = 0; i < engine->label_count; i++) {
        if (strcmp(engine->labels[i], name) == 0) {
            *ret_label = i;
            return true;
        }
    }
    if (engine->label_count == ENGINE_LABELS_MAX) {
        return false;
    }
    *ret_label = engine->label_count;
    snprintf(engine->labels[engine->label_count++], BENCH_NAME_SIZE, "%s", name);
    return true;
}

static enum status compile_step(struct engine *engine, const struct scenario_step *step, struct step_plan *plan)
{
    plan->step = step;
    buf_init(&plan->fixed, REQUEST_SIZE_MAX);
    plan->has_host = text_has(&step->headers, "host:");
    plan->has_content_type = text_has(&step->headers, "content-type:");
    plan->is_head = strcmp(step->method, "HEAD") == 0;
    engine->has_takes = engine->has_takes || step->take_count > 0;
    plan->may_repeat =
        step->action == SCENARIO_REQUEST && (plan->is_head || strcmp(step->method, "GET") == 0 ||
                                             strcmp(step->method, "PUT") == 0 || strcmp(step->method, "DELETE") == 0);
    if (step->action != SCENARIO_REQUEST || !is_literal(&step->path) || !is_literal(&step->body) ||
        !is_literal(&step->headers)) {
        return STATUS_OK;
    }
    struct user nobody = {.engine = engine};
    make_plain(&plan->fixed, &nobody, plan);
    return buf_status(&plan->fixed);
}

static void compile_variables(struct engine *engine)
{
    const struct scenario *scenario = engine->scenario;
    for (uint32_t i = 0; i < scenario->variable_count; i++) {
        struct variable_plan *plan = &engine->variables[i];
        plan->kind = i == SCENARIO_INDEX  ? VARIABLE_INDEX
                     : i == SCENARIO_USER ? VARIABLE_USER
                     : i == SCENARIO_UUID ? VARIABLE_UUID
                                          : VARIABLE_TAKEN;
        for (uint32_t f = 0; f < scenario->feed_count; f++) {
            const struct scenario_feed *feed = &scenario->feeds[f];
            uint32_t columns = feed->kind == FEED_CSV ? feed->columns : 1;
            if ((int)i >= feed->first_variable && i < (uint32_t)feed->first_variable + columns) {
                *plan = (struct variable_plan){
                    .kind = VARIABLE_FEED, .feed = f, .column = i - (uint32_t)feed->first_variable};
            }
        }
    }
}

enum status requests_compile(struct engine *engine, char *ret_why, size_t why_size)
{
    const struct scenario *scenario = engine->scenario;
    snprintf(ret_why, why_size, "There is no memory.");
    buf_init(&engine->scratch, REQUEST_SIZE_MAX);
    buf_init(&engine->letters, LETTERS_SIZE);
    for (uint64_t i = 0; i < LETTERS_SIZE; i++) {
        buf_append_char(&engine->letters, "abcdefghijklmnopqrstuvwxyz012345"[hash_mix(scenario->seed + i) & 31]);
    }
    engine->parser = json_parser_new();
    engine->variables = calloc(scenario->variable_count + 1, sizeof(*engine->variables));
    if (engine->parser == NULL || engine->variables == NULL || buf_status(&engine->letters) != STATUS_OK) {
        return STATUS_NO_MEMORY;
    }
    compile_variables(engine);
    for (uint32_t i = 0; i < scenario->flow_count; i++) {
        const struct scenario_flow *flow = &scenario->flows[i];
        struct flow_plan *plan = &engine->flows[i];
        plan->flow = flow;
        plan->first_label = ENGINE_LABELS_MAX;
        plan->steps = calloc(flow->step_count + 1, sizeof(*plan->steps));
        if (plan->steps == NULL) {
            return STATUS_NO_MEMORY;
        }
        for (uint32_t s = 0; s < flow->step_count; s++) {
            const struct scenario_step *step = &flow->steps[s];
            if (compile_step(engine, step, &plan->steps[s]) != STATUS_OK) {
                return STATUS_NO_MEMORY;
            }
            if (step->action == SCENARIO_THINK) {
                continue;
            }
            if (!find_label(engine, step->label, &plan->steps[s].label)) {
                snprintf(ret_why, why_size, "The scenario has more than %d names of steps.", ENGINE_LABELS_MAX);
                return STATUS_INVALID;
            }
            if (plan->first_label == ENGINE_LABELS_MAX) {
                plan->first_label = plan->steps[s].label;
                plan->begins_with_request = s == 0 && step->action < SCENARIO_THINK;
            }
        }
    }
    return STATUS_OK;
}

void requests_free(struct engine *engine)
{
    for (uint32_t i = 0; i < engine->scenario->flow_count; i++) {
        struct flow_plan *plan = &engine->flows[i];
        for (uint32_t s = 0; plan->steps != NULL && s < plan->flow->step_count; s++) {
            buf_free(&plan->steps[s].fixed);
        }
        free(plan->steps);
    }
    json_parser_free(engine->parser);
    free(engine->variables);
    buf_free(&engine->scratch);
    buf_free(&engine->letters);
}
