/* fuzz_work_answer.c - what the hub says to a node. What is understood is written by the hub's own writers and understood
 * the same again. */
#include "proto/work.h"
#include "test/fuzz/fuzz.h"

static struct json_parser *parser, *parser_again;
static struct work_answer answer, again; /* large */
static struct buf text, input, checkpoint, print;

static bool is_same_token(const struct lease_token *a, const struct lease_token *b)
{
    return a->task_id == b->task_id && a->attempt == b->attempt && a->seq == b->seq;
}

static void write_lease(void)
{
    const struct work_lease *lease = &answer.lease;
    ensure(lease->kind.len > 0 && lease->lease_ms > 0 && lease->timeout_ms >= 0);
    ensure(lease->attempt == lease->token.attempt);
    buf_reset(&input);
    buf_reset(&checkpoint);
    json_print(&input, lease->input);
    if (lease->has_checkpoint) {
        json_print(&checkpoint, lease->checkpoint);
    }
    work_write_lease(&text, &(struct work_lease_offer){.token = lease->token,
                                                       .kind = lease->kind,
                                                       .queue = lease->queue,
                                                       .input = buf_slice(&input),
                                                       .checkpoint = buf_slice(&checkpoint),
                                                       .traceparent = lease->traceparent,
                                                       .lease_ms = lease->lease_ms,
                                                       .timeout_ms = lease->timeout_ms});
}

static void same_lease(void)
{
    ensure(is_same_token(&answer.lease.token, &again.lease.token) && slice_equal(answer.lease.kind, again.lease.kind));
    ensure(slice_equal(answer.lease.queue, again.lease.queue));
    ensure(slice_equal(answer.lease.traceparent, again.lease.traceparent));
    ensure(answer.lease.lease_ms == again.lease.lease_ms && answer.lease.timeout_ms == again.lease.timeout_ms);
    ensure(answer.lease.has_checkpoint == again.lease.has_checkpoint);
    buf_reset(&print);
    json_print(&print, again.lease.input);
    ensure(fuzz_equal(&print, &input));
}

static void write_again(void)
{
    switch (answer.type) {
    case WORK_WELCOME:
        ensure(answer.welcome.beat_ms > 0 && answer.welcome.lost_count <= WORK_LIST_MAX);
        work_write_welcome(&text, &answer.welcome);
        break;
    case WORK_LEASE:
        write_lease();
        break;
    case WORK_REPORTED:
        ensure(answer.refused_count <= WORK_LIST_MAX);
        work_write_reported(&text, answer.refused, answer.refused_count, 1);
        break;
    case WORK_DIRECTIVES:
        ensure(answer.directive_count <= WORK_LIST_MAX);
        work_write_beat_answer(&text, answer.directives, answer.directive_count);
        break;
    case WORK_ERROR:
        work_write_error(&text, answer.error, answer.error_detail);
        break;
    default:
        ensure(!"a type of answer");
    }
    ensure(buf_status(&text) == STATUS_OK);
}

static void same(void)
{
    ensure(again.type == answer.type);
    switch (answer.type) {
    case WORK_WELCOME:
        ensure(again.welcome.session == answer.welcome.session && again.welcome.beat_ms == answer.welcome.beat_ms);
        ensure(again.welcome.lost_ms == answer.welcome.lost_ms && again.welcome.seq == answer.welcome.seq);
        ensure(again.welcome.lost_count == answer.welcome.lost_count && again.welcome.drain == answer.welcome.drain);
        break;
    case WORK_LEASE:
        same_lease();
        break;
    case WORK_REPORTED:
        ensure(again.refused_count == answer.refused_count);
        for (uint32_t i = 0; i < answer.refused_count; i++) {
            ensure(is_same_token(&again.refused[i].token, &answer.refused[i].token));
            ensure(again.refused[i].status == answer.refused[i].status);
        }
        break;
    case WORK_DIRECTIVES:
        ensure(again.directive_count == answer.directive_count);
        for (uint32_t i = 0; i < answer.directive_count; i++) {
            ensure(again.directives[i].type == answer.directives[i].type);
        }
        break;
    case WORK_ERROR:
        ensure(again.error == answer.error);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (parser == NULL) {
        struct buf *const bufs[] = {&text, &input, &checkpoint, &print};
        for (size_t i = 0; i < ARRAY_COUNT(bufs); i++) {
            buf_init(bufs[i], 16u << 20);
        }
        parser = json_parser_new();
        parser_again = json_parser_new();
        ensure(parser != NULL && parser_again != NULL);
    }
    char *copy = fuzz_copy(slice_of(data, size));
    enum status status = work_answer_decode(parser, slice_of(copy, size), &answer);
    free(copy); /* nothing decoded may point into it */
    ensure(status == STATUS_OK || status == STATUS_INVALID || status == STATUS_BAD_JSON ||
           status == STATUS_NOT_IMPLEMENTED);
    if (status == STATUS_OK) {
        buf_reset(&text);
        write_again();
        ensure(work_answer_decode(parser_again, buf_slice(&text), &again) == STATUS_OK);
        same();
    }
    return 0;
}
