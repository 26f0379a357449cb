/* fuzz_task_json.c - the body of POST /v1/tasks, all the way: decoded, encoded for the journal, applied, and read again as
 * JSON. A task that was made from a task is the same task. */
#include "core/core.h"
#include "hub/fields.h"
#include "hub/task_json.h"
#include "test/fuzz/fuzz.h"

#define NOW_NS INT64_C(1767225600000000000) /* 2026-01-01 */

static struct json_parser *parser, *parser_again;
static struct buf input, bytes, bytes_again, body, effects, text;

static uint64_t submit(struct core *core)
{
    struct effect effect;
    uint64_t task_id = 0;
    buf_reset(&body);
    buf_reset(&effects);
    entry_head_put(&body, &(struct entry_head){.count = 1});
    buf_append_slice(&body, buf_slice(&bytes));
    struct core_entry entry = {core_seq(core) + 1, NOW_NS, buf_slice(&body)};
    ensure(core_apply(core, &entry, &effects) == STATUS_OK && core_check(core) == NULL);
    for (struct reader reader = reader_of(buf_slice(&effects)); effect_next(&reader, &effect);) {
        if (effect.type == EFFECT_REPLY && effect.as.reply.status == STATUS_OK) {
            task_id = effect.as.reply.task_id;
        }
    }
    return task_id;
}

static void is_json(const struct buf *json, enum json_type type)
{
    struct json_value root;
    ensure(buf_status(json) == STATUS_OK);
    ensure(json_parse(parser_again, buf_slice(json), &root, NULL, NULL) == STATUS_OK && json_type_of(root) == type);
}

static void read_back(struct core *core, const struct command_submit *command, uint64_t task_id)
{
    static struct task_view view, row;
    static struct command_submit again;
    ensure(core_task_get(core, task_id, &view) == STATUS_OK);
    ensure(slice_equal(view.queue, command->queue) && slice_equal(view.kind, command->kind));
    ensure(slice_equal(view.input, command->input) && view.priority == command->priority);
    for (unsigned is_brief = 0; is_brief < 2; is_brief++) {
        buf_reset(&text);
        task_json_write(&text, &view, is_brief == 1);
        is_json(&text, JSON_OBJECT);
    }
    buf_reset(&text);
    task_json_write_attempts(&text, &view);
    is_json(&text, JSON_OBJECT);

    buf_reset(&body);
    task_view_put(&body, &view);
    ensure(task_view_get(buf_slice(&body), &row) == STATUS_OK);
    task_json_resubmit(&row, &again);
    buf_reset(&bytes_again);
    command_put_submit(&bytes_again, &again);
    buf_reset(&bytes);
    task_json_resubmit(&view, &again);
    command_put_submit(&bytes, &again);
    ensure(fuzz_equal(&bytes, &bytes_again));
    ensure(slice_equal(again.input, command->input) && slice_equal(again.unique_key, command->unique_key));
    ensure(again.ttl_ms == command->ttl_ms && again.timeout_ms == command->timeout_ms);
    ensure(again.retry.attempts_max == command->retry.attempts_max && again.weight == command->weight);
}

static void accepted(struct command_submit *command)
{
    struct command decoded;
    buf_reset(&bytes);
    command_put_submit(&bytes, command);
    struct reader reader = reader_of(buf_slice(&bytes));
    ensure(buf_status(&bytes) == STATUS_OK);
    ensure(command_get(&reader, &decoded) == STATUS_OK && reader_is_done(&reader));
    ensure(slice_equal(decoded.as.submit.input, command->input));
    ensure(name_is_valid(command->queue) && name_is_valid(command->kind));
    buf_reset(&bytes_again);
    command_put_submit(&bytes_again, &decoded.as.submit);
    ensure(fuzz_equal(&bytes, &bytes_again));

    struct core *core = core_new();
    ensure(core != NULL);
    uint64_t task_id = submit(core);
    if (task_id != 0) {
        read_back(core, command, task_id);
    }
    core_free(core);
}

static void refused(const struct problem *problem)
{
    ensure(!problem_is_ok(problem) && problem->detail[0] != '\0');
    buf_reset(&text);
    problem_write(&text, problem);
    is_json(&text, JSON_OBJECT);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (parser == NULL) {
        struct buf *const bufs[] = {&bytes, &bytes_again, &body, &effects, &text};
        for (size_t i = 0; i < ARRAY_COUNT(bufs); i++) {
            buf_init(bufs[i], 16u << 20);
        }
        buf_init(&input, LIMIT_INPUT_SIZE);
        parser = json_parser_new();
        parser_again = json_parser_new();
        ensure(parser != NULL && parser_again != NULL);
    }
    static struct command_submit command;
    struct problem problem;
    struct json_value root;
    problem_init(&problem);
    char *copy = fuzz_copy(slice_of(data, size));
    bool is_good = fields_parse(parser, slice_of(copy, size), &problem, &root);
    ensure(is_good == problem_is_ok(&problem));
    free(copy);
    if (is_good) {
        is_good = task_json_decode(root, NOW_NS, &input, &command, &problem);
        ensure(is_good == problem_is_ok(&problem));
    }
    if (is_good) {
        accepted(&command);
    } else {
        refused(&problem);
    }
    return 0;
}
