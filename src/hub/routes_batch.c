/* routes_batch.c - POST /v1/tasks:batch.
 *
 * Every item is decoded and, when it is right, becomes a SUBMIT command with a pending of its own; a wrong one is answered
 * without having been near the journal. The commands of one request stand in the sequencer's batch one after the other
 * and thereby in one entry, unless they are larger than an entry. When the last reply is in, the results are
 * written in the order of the items.
 *
 * A batch is one allocation of a few fixed sizes, kept for the next request. Its `text` holds what must outlive the parser:
 * names for the answer, and the problems of refused items. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/ensure.h"
#include "hub/fields.h"
#include "hub/routes.h"
#include "hub/task_json.h"

#define BATCH_KEY_SIZE_MAX 250 /* "#" and an index below LIMIT_BATCH_TASKS still fit LIMIT_KEY_SIZE */
#define BATCHES_KEPT 32        /* of each size */
#define TEXT_SIZE_KEPT (64u << 10)
#define TEXT_SIZE_MAX (16u << 20)
static_assert(BATCH_KEY_SIZE_MAX + 4 <= LIMIT_KEY_SIZE && LIMIT_BATCH_TASKS <= 1000, "keys of items fit");

struct batch_item {
    struct pending pending;
    struct batch *batch;
    uint64_t task_id;
    uint32_t text_at;      /* queue, then kind; or a problem */
    uint32_t problem_size; /* 0: accepted by the decoder */
    uint8_t queue_len, kind_len;
    bool is_duplicate;
    enum task_state state;
    enum status status;
    uint32_t table; /* of a refusal */
};

struct batch {
    uint32_t magic;
    uint32_t size_class;
    struct batch *next_free;
    struct call *call;
    struct hub *hub;
    struct command_caller by;
    struct buf text;
    uint64_t seq;
    uint32_t count;
    uint32_t waiting; /* replies to come, and one while items are still being decoded */
    bool is_ndjson;
    struct slice idempotency_key, traceparent; /* of the request */
    struct batch_item items[];
};

static const uint32_t class_sizes[] = {16, 128, LIMIT_BATCH_TASKS};
static_assert(ARRAY_COUNT(class_sizes) == ARRAY_COUNT(((struct routes *)0)->free_batches), "a list for each size");

static struct batch *batch_new(struct call *call, uint32_t count)
{
    uint32_t class = 0;
    while (class_sizes[class] < count) {
        class ++;
    }
    struct routes *routes = call->routes;
    struct batch *batch = routes->free_batches[class];
    if (batch != NULL) {
        routes->free_batches[class] = batch->next_free;
    } else {
        batch = malloc(sizeof(*batch) + class_sizes[class] * sizeof(batch->items[0]));
        if (batch == NULL) {
            return NULL;
        }
        batch->size_class = class;
        buf_init(&batch->text, TEXT_SIZE_MAX);
    }
    batch->magic = BATCH_CALL_MAGIC;
    batch->call = call;
    batch->hub = call->hub;
    batch->by = call_caller(call);
    batch->seq = 0;
    batch->count = 0;
    batch->waiting = 1;
    batch->is_ndjson = false;
    batch->traceparent = batch->idempotency_key = (struct slice){0};
    return batch;
}

static void batch_release(struct routes *routes, struct batch *batch)
{
    ensure_magic(batch, BATCH_CALL_MAGIC);
    batch->magic = 0;
    uint32_t kept = 0;
    for (struct batch *at = routes->free_batches[batch->size_class]; at != NULL; at = at->next_free) {
        kept++;
    }
    if (kept >= BATCHES_KEPT) {
        buf_free(&batch->text);
        free(batch);
        return;
    }
    if (batch->text.cap > TEXT_SIZE_KEPT) {
        buf_free(&batch->text);
    }
    buf_reset(&batch->text);
    batch->next_free = routes->free_batches[batch->size_class];
    routes->free_batches[batch->size_class] = batch;
}

void batches_free(struct routes *routes)
{
    for (size_t i = 0; i < ARRAY_COUNT(routes->free_batches); i++) {
        while (routes->free_batches[i] != NULL) {
            struct batch *batch = routes->free_batches[i];
            routes->free_batches[i] = batch->next_free;
            buf_free(&batch->text);
            free(batch);
        }
    }
}

static void write_result(struct buf *out, const struct batch_item *item)
{
    struct slice text = {item->batch->text.data + item->text_at, 0};
    struct slice queue = {text.data, item->queue_len}, kind = {text.data + item->queue_len, item->kind_len};
    if (item->problem_size > 0) {
        buf_append_slice(out, SLICE("{\"error\":"));
        buf_append(out, text.data, item->problem_size);
    } else if (item->status != STATUS_OK) {
        struct problem problem;
        problem_init(&problem);
        const struct effect_reply reply = {.status = item->status, .count = item->table};
        problem_of_submit(&problem, &reply, sequencer_core(item->batch->hub->sequencer), kind, queue);
        buf_append_slice(out, SLICE("{\"error\":"));
        problem_write(out, &problem);
    } else {
        task_json_write_short(out, item->task_id, item->state, queue, kind, item->is_duplicate);
    }
    buf_append_char(out, '}');
}

static void batch_answer(struct batch *batch)
{
    struct call *call = batch->call;
    struct buf *out = &call->routes->out;
    buf_reset(out);
    uint32_t accepted = 0;
    if (!batch->is_ndjson) {
        buf_append_slice(out, SLICE("{\"results\":["));
    }
    for (uint32_t i = 0; i < batch->count; i++) {
        const struct batch_item *item = &batch->items[i];
        if (i > 0 && !batch->is_ndjson) {
            buf_append_char(out, ',');
        }
        write_result(out, item);
        if (batch->is_ndjson) {
            buf_append_char(out, '\n');
        }
        if (item->problem_size == 0 && item->status == STATUS_OK) {
            accepted++;
        }
    }
    uint64_t seq = batch->seq != 0 ? batch->seq : sequencer_durable_seq(call->hub->sequencer);
    if (!batch->is_ndjson) {
        buf_append_slice(out, SLICE("],\"accepted\":"));
        buf_append_u64_dec(out, accepted);
        buf_append_slice(out, SLICE(",\"refused\":"));
        buf_append_u64_dec(out, batch->count - accepted);
        buf_append_slice(out, SLICE(",\"seq\":"));
        buf_append_u64_dec(out, seq);
        buf_append_char(out, '}');
    }
    bool is_ndjson = batch->is_ndjson;
    batch_release(call->routes, batch);
    call_answer_as(call, 200, seq, is_ndjson ? "application/x-ndjson" : "application/json", "");
}

static void batch_done_one(struct batch *batch)
{
    if (--batch->waiting == 0) {
        batch_answer(batch);
    }
}

static void on_item_reply(struct pending *pending, const struct effect_reply *reply, uint64_t seq)
{
    struct batch_item *item = (struct batch_item *)((char *)pending - offsetof(struct batch_item, pending));
    struct batch *batch = item->batch;
    ensure_magic(batch, BATCH_CALL_MAGIC);
    item->status = reply->status;
    item->table = reply->count;
    item->task_id = reply->task_id;
    item->state = reply->state;
    item->is_duplicate = reply->is_duplicate;
    if (seq > batch->seq) {
        batch->seq = seq;
    }
    batch_done_one(batch);
}

static void refuse_item(struct batch_item *item, const struct problem *problem)
{
    struct buf *text = &item->batch->text;
    item->text_at = (uint32_t)text->len;
    problem_write(text, problem);
    item->problem_size = (uint32_t)(text->len - item->text_at);
    item->status = problem->status;
    if (item->problem_size == 0) { /* no memory for the sentence: the status alone is written later */
        item->queue_len = item->kind_len = 0;
    }
}

static void commit_item(struct batch_item *item, const struct command_submit *command)
{
    struct hub *hub = item->batch->call->hub;
    struct buf *text = &item->batch->text;
    struct problem problem;
    item->text_at = (uint32_t)text->len;
    buf_append_slice(text, command->queue);
    buf_append_slice(text, command->kind);
    struct buf *out = buf_status(text) == STATUS_OK ? sequencer_begin(hub->sequencer) : NULL;
    if (out == NULL) {
        problem_set(&problem, STATUS_BUSY, "%s", status_title(STATUS_BUSY));
        refuse_item(item, &problem);
        return;
    }
    item->queue_len = (uint8_t)command->queue.len;
    item->kind_len = (uint8_t)command->kind.len;
    command_put_submit(out, command);
    item->pending.on_reply = on_item_reply;
    item->batch->waiting++;
    sequencer_commit(hub->sequencer, &item->pending);
}

/* Takes one item. `problem` says already why it is none, or is OK and `value` is to be decoded. */
static void add_item(struct batch *batch, struct json_value value, int64_t now_ns, struct problem *problem)
{
    struct routes *routes = batch->call->routes;
    struct batch_item *item = &batch->items[batch->count];
    *item = (struct batch_item){.batch = batch};
    struct command_submit command;
    if (!problem_is_ok(problem) || !task_json_decode(value, now_ns, &routes->input, &command, problem)) {
        refuse_item(item, problem);
        batch->count++;
        return;
    }
    command.by = batch->by;
    char key[LIMIT_KEY_SIZE + 1];
    struct slice base = batch->idempotency_key;
    if (base.len > 0) {
        int len = snprintf(key, sizeof(key), "%.*s#%u", SLICE_ARG(base), batch->count);
        command.idempotency_key = (struct slice){key, (size_t)len};
        /* The item in its canonical form stands for its body: white space between items is nobody's. */
        buf_reset(&routes->aux);
        json_print_canonical(&routes->aux, value);
        command.body_hash = hash64(buf_slice(&routes->aux), 0);
    }
    command.traceparent = batch->traceparent;
    commit_item(item, &command);
    batch->count++;
}

/* The array of items in a JSON body. False: the problem says why there is none. */
static bool find_items(struct json_value root, struct problem *problem, struct json_value *ret_items)
{
    if (json_type_of(root) == JSON_ARRAY) {
        *ret_items = root;
        return true;
    }
    struct field field = {.problem = problem, .base = "", .value = root};
    if (json_type_of(root) != JSON_OBJECT) {
        problem_add(problem, STATUS_INVALID, "", (struct slice){0}, "an array of tasks, or {\"tasks\":[…]}");
        return false;
    }
    bool is_there = false;
    uint64_t seen = 0;
    struct json_iter it = json_iter_of(root);
    while (json_next(&it, &field.key, &field.value)) {
        if (!slice_equal(field.key, SLICE("tasks"))) {
            field_unknown(&field);
        } else if (field_is_first(&field, &seen, 0) && field_array(&field)) {
            *ret_items = field.value;
            is_there = true;
        }
    }
    if (!is_there && problem_is_ok(problem)) {
        problem_add(problem, STATUS_INVALID, "/tasks", (struct slice){0}, "is needed");
    }
    return problem_is_ok(problem);
}

static bool line_is_blank(struct slice line)
{
    for (size_t i = 0; i < line.len; i++) {
        if (line.data[i] != ' ' && line.data[i] != '\t' && line.data[i] != '\r') {
            return false;
        }
    }
    return true;
}

/* Takes the next line off `text`, without its end. False at the end. */
static bool next_line(struct slice *text, struct slice *ret_line)
{
    if (text->len == 0) {
        return false;
    }
    const char *end = memchr(text->data, '\n', text->len);
    size_t len = end != NULL ? (size_t)(end - text->data) : text->len;
    *ret_line = (struct slice){text->data, len};
    size_t used = end != NULL ? len + 1 : len;
    text->data += used;
    text->len -= used;
    return true;
}

static void refuse_count(struct call *call, size_t count)
{
    call_refuse_status(call, STATUS_TOO_LARGE, "%zu tasks; one batch takes at most %d", count, LIMIT_BATCH_TASKS);
}

/* Checks what every batch needs, and makes it. NULL: answered. */
static struct batch *begin_batch(struct call *call, size_t count)
{
    struct problem problem;
    problem_init(&problem);
    struct slice key = {0};
    if (count > LIMIT_BATCH_TASKS) {
        refuse_count(call, count);
        return NULL;
    }
    if (!call_idempotency_key(call, BATCH_KEY_SIZE_MAX, &key, &problem)) {
        call_refuse(call, &problem);
        return NULL;
    }
    /* Asks once for the whole batch whether there is room, so that a full hub is one 503 and not a thousand. */
    if (call_begin_submit(call) == NULL) {
        return NULL;
    }
    sequencer_abort(call->hub->sequencer);
    struct batch *batch = batch_new(call, (uint32_t)count);
    if (batch == NULL) {
        call_refuse_status(call, STATUS_NO_MEMORY, NULL);
        return NULL;
    }
    batch->idempotency_key = key;
    batch->traceparent = call_traceparent(call);
    return batch;
}

static void finish_batch(struct batch *batch)
{
    hub_schedule_flush(batch->call->hub);
    batch_done_one(batch);
}

static void take_ndjson(struct call *call)
{
    size_t count = 0;
    struct slice text = call_body(call), line;
    while (next_line(&text, &line)) {
        count += line_is_blank(line) ? 0 : 1;
    }
    struct batch *batch = begin_batch(call, count);
    if (batch == NULL) {
        return;
    }
    batch->is_ndjson = true;
    int64_t now_ns = sequencer_now_ns(call->hub->sequencer);
    text = call_body(call);
    while (next_line(&text, &line)) {
        if (line_is_blank(line)) {
            continue;
        }
        struct problem problem;
        problem_init(&problem);
        struct json_value root = {0};
        fields_parse(call->hub->json, line, &problem, &root);
        add_item(batch, root, now_ns, &problem);
    }
    finish_batch(batch);
}

void handle_task_batch(struct call *call)
{
    struct slice type = http_header(call->request, "content-type");
    struct slice ndjson = SLICE("application/x-ndjson");
    if (type.len >= ndjson.len && strncasecmp(type.data, ndjson.data, ndjson.len) == 0 &&
        (type.len == ndjson.len || type.data[ndjson.len] == ';' || type.data[ndjson.len] == ' ')) {
        take_ndjson(call);
        return;
    }
    struct problem problem;
    problem_init(&problem);
    struct json_value root, items;
    bool is_empty;
    if (!call_parse_body(call, &problem, &root, &is_empty) || !find_items(root, &problem, &items)) {
        call_refuse(call, &problem);
        return;
    }
    struct batch *batch = begin_batch(call, json_count(items));
    if (batch == NULL) {
        return;
    }
    int64_t now_ns = sequencer_now_ns(call->hub->sequencer);
    struct json_iter it = json_iter_of(items);
    struct json_value value;
    while (json_next(&it, NULL, &value)) {
        problem_init(&problem);
        add_item(batch, value, now_ns, &problem);
    }
    finish_batch(batch);
}
