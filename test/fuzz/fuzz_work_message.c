/* fuzz_work_message.c - what a node says to the hub. A message that is understood is written by the node's own writers and
 * understood the same again, and what it becomes in the journal is decoded there. */
#include "proto/work.h"
#include "test/fuzz/fuzz.h"

static struct json_parser *parser, *parser_again;
static struct buf scratch, scratch_again, text, outcomes, first, second;

static void decode_again(struct work_message *ret_message)
{
    struct field_error error;
    ensure(buf_status(&text) == STATUS_OK);
    buf_reset(&scratch_again);
    ensure(work_message_decode(parser_again, buf_slice(&text), &scratch_again, ret_message, &error) == STATUS_OK);
}

static void journal_takes(const struct buf *encoded)
{
    struct command command;
    struct reader reader = reader_of(buf_slice(encoded));
    ensure(buf_status(encoded) == STATUS_OK);
    ensure(command_get(&reader, &command) == STATUS_OK && reader_is_done(&reader));
}

static void hello(const struct work_message *message)
{
    struct work_message again;
    work_write_hello(&text, &message->hello, NULL, message->key);
    decode_again(&again);
    command_put_node_hello(&first, &message->hello);
    command_put_node_hello(&second, &again.hello);
    ensure(fuzz_equal(&first, &second) && slice_equal(message->key, again.key));
    journal_takes(&first);
}

static void report(const struct work_message *message)
{
    struct work_message again;
    struct outcome outcome;
    struct reader reader = reader_of(message->report.outcomes);
    uint32_t count = 0;
    buf_reset(&outcomes);
    for (; outcome_next(&reader, &outcome); count++) {
        if (count > 0) {
            buf_append_char(&outcomes, ',');
        }
        work_write_outcome(&outcomes, &outcome);
    }
    ensure(reader_is_done(&reader) && count == message->report.outcome_count && buf_status(&outcomes) == STATUS_OK);
    work_write_report(&text, buf_slice(&outcomes), message->report.credit_add);
    decode_again(&again);
    ensure(again.report.outcome_count == count && again.report.credit_add == message->report.credit_add);
    ensure(slice_equal(again.report.outcomes, message->report.outcomes));
    command_put_node_report(&first, &message->report);
    journal_takes(&first);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (parser == NULL) {
        struct buf *const bufs[] = {&scratch, &scratch_again, &text, &outcomes, &first, &second};
        for (size_t i = 0; i < ARRAY_COUNT(bufs); i++) {
            buf_init(bufs[i], 16u << 20);
        }
        parser = json_parser_new();
        parser_again = json_parser_new();
        ensure(parser != NULL && parser_again != NULL);
    }
    struct work_message message, again;
    struct field_error error;
    char *copy = fuzz_copy(slice_of(data, size));
    buf_reset(&scratch);
    buf_reset(&text);
    buf_reset(&first);
    buf_reset(&second);
    enum status status = work_message_decode(parser, slice_of(copy, size), &scratch, &message, &error);
    free(copy); /* nothing decoded may point into it */
    if (status != STATUS_OK) {
        ensure(error.status == status && error.detail[0] != '\0');
        ensure(error.pointer[0] == '\0' || error.pointer[0] == '/');
        return 0;
    }
    switch (message.type) {
    case WORK_HELLO:
        hello(&message);
        break;
    case WORK_REPORT:
        report(&message);
        break;
    case WORK_CREDIT:
        work_write_credit(&text, message.credit);
        decode_again(&again);
        ensure(again.type == WORK_CREDIT && again.credit == message.credit);
        break;
    case WORK_BEAT:
        work_write_beat(&text, &message.load);
        decode_again(&again);
        ensure(again.type == WORK_BEAT && again.load.is_known == message.load.is_known);
        ensure(again.load.cpu_permille == message.load.cpu_permille && again.load.running == message.load.running);
        break;
    case WORK_LEAVE:
        work_write_leave(&text);
        decode_again(&again);
        ensure(again.type == WORK_LEAVE);
        break;
    default:
        ensure(!"a type of message");
    }
    return 0;
}
