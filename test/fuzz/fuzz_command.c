/* fuzz_command.c - the body of a journal entry, and the row of a finished task: what the journal and history give back.
 *
 * Every command that is decoded can be encoded, and encoding is the inverse of decoding from then on: what the encoder makes
 * is decoded and encoded to the same bytes. */
#include "core/core.h"
#include "test/fuzz/fuzz.h"

static void put(struct buf *out, const struct command *command)
{
    switch (command->type) {
    case COMMAND_TICK:
        command_put_tick(out);
        break;
    case COMMAND_CONFIGURE:
        command_put_configure(out, &command->as.configure);
        break;
    case COMMAND_SUBMIT:
        command_put_submit(out, &command->as.submit);
        break;
    case COMMAND_CANCEL:
    case COMMAND_RETRY:
        command_put_task(out, command->type, &command->as.task);
        break;
    case COMMAND_QUEUE_SET:
        command_put_queue_set(out, &command->as.queue_set);
        break;
    case COMMAND_KIND_SET:
        command_put_kind_set(out, &command->as.kind_set);
        break;
    case COMMAND_NODE_HELLO:
        for (uint32_t i = 0; i < command->as.node_hello.held_count; i++) {
            (void)command_held_at(&command->as.node_hello, i);
        }
        command_put_node_hello(out, &command->as.node_hello);
        break;
    case COMMAND_NODE_REPORT: {
        struct reader reader = reader_of(command->as.node_report.outcomes);
        struct outcome outcome;
        struct buf outcomes;
        buf_init(&outcomes, LIMIT_ENTRY_SIZE);
        while (outcome_next(&reader, &outcome)) {
            outcome_put(&outcomes, &outcome);
        }
        ensure(reader_is_done(&reader));
        ensure(slice_equal(buf_slice(&outcomes), command->as.node_report.outcomes));
        buf_free(&outcomes);
        command_put_node_report(out, &command->as.node_report);
        break;
    }
    case COMMAND_NODE_LOST:
        command_put_node_lost(out, &command->as.node_lost);
        break;
    case COMMAND_NODE_SET:
        command_put_node_set(out, &command->as.node_set);
        break;
    case COMMAND_HISTORY_DONE:
        command_put_history_done(out, &command->as.history_done);
        break;
    case COMMAND_DROP:
        command_put_drop(out, &command->as.drop);
        break;
    case COMMAND_COLLECT:
        command_put_collect(out, &command->as.collect);
        break;
    default:
        ensure(!"a type of command");
    }
}

static void entry(struct slice body)
{
    struct reader reader = reader_of(body);
    struct entry_head head;
    struct command command, again;
    struct buf first, second;
    buf_init(&first, 2 * LIMIT_ENTRY_SIZE);
    buf_init(&second, 2 * LIMIT_ENTRY_SIZE);
    if (entry_head_get(&reader, &head) == STATUS_OK) {
        struct entry_head written;
        entry_head_put(&first, &head);
        struct reader reread = reader_of(buf_slice(&first));
        ensure(entry_head_get(&reread, &written) == STATUS_OK && written.level == ENTRY_LEVEL);
        ensure(written.origin == head.origin && written.batch == head.batch && written.count == head.count);
        ensure(head.level != ENTRY_LEVEL || slice_equal(buf_slice(&first), slice_of(body.data, ENTRY_HEAD_SIZE)));
    }
    while (reader_left(&reader) > 0 && command_get(&reader, &command) == STATUS_OK) {
        ensure(command.type >= COMMAND_TICK && command.type < COMMAND_TYPE_END);
        buf_reset(&first);
        buf_reset(&second);
        put(&first, &command);
        struct reader encoded = reader_of(buf_slice(&first));
        ensure(buf_status(&first) == STATUS_OK && command_get(&encoded, &again) == STATUS_OK);
        ensure(reader_is_done(&encoded) && again.type == command.type);
        put(&second, &again);
        ensure(fuzz_equal(&first, &second));
    }
    buf_free(&first);
    buf_free(&second);
}

static void row(struct slice bytes)
{
    static struct task_view view;
    struct buf first, second;
    if (task_view_get(bytes, &view) != STATUS_OK) {
        return;
    }
    ensure(view.state < TASK_STATE_COUNT && view.attempt_count <= ATTEMPT_VIEW_MAX);
    buf_init(&first, 2 * LIMIT_ENTRY_SIZE);
    task_view_put(&first, &view);
    ensure(buf_status(&first) == STATUS_OK && task_view_get(buf_slice(&first), &view) == STATUS_OK);
    buf_init(&second, 2 * LIMIT_ENTRY_SIZE);
    task_view_put(&second,
                  &view); /* what was read of an older row is written as today's; that one comes back as it is */
    ensure(fuzz_equal(&first, &second));
    ensure(first.len != bytes.len || bytes.data[0] != first.data[0] || slice_equal(buf_slice(&first), bytes));
    buf_free(&second);
    buf_free(&first);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = fuzz_copy(slice_of(data, size));
    entry(slice_of(copy, size));
    row(slice_of(copy, size));
    free(copy);
    return 0;
}
