#include "fixture.h"

#include <stdio.h>

#include "base/ensure.h"

#define BODY_SIZE_MAX (64u << 20)

void fixture_begin(struct fixture *f)
{
    *f = (struct fixture){.core = core_new()};
    assert_non_null(f->core);
    buf_init(&f->body, BODY_SIZE_MAX);
    buf_init(&f->bytes, BODY_SIZE_MAX);
    fixture_at_ms(f, 1000);
    fixture_kind(f, "k");
}

void fixture_end(struct fixture *f)
{
    assert_null(core_check(f->core));
    core_free(f->core);
    buf_free(&f->body);
    buf_free(&f->bytes);
}

void fixture_at_ms(struct fixture *f, int64_t ms)
{
    f->time_ns = ms * 1000000;
}

struct buf *fixture_batch(struct fixture *f)
{
    if (f->batch_count++ == 0) {
        struct entry_head head = {.origin = 7, .batch = core_seq(f->core)};
        buf_reset(&f->body);
        entry_head_put(&f->body, &head);
    }
    return &f->body;
}

void fixture_apply(struct fixture *f)
{
    buf_put_u32(&f->body, 16, f->batch_count);
    struct core_entry entry = {core_seq(f->core) + 1, f->time_ns, buf_slice(&f->body)};
    buf_reset(&f->bytes);
    assert_int_equal(core_apply(f->core, &entry, &f->bytes), STATUS_OK);
    struct reader reader = reader_of(buf_slice(&f->bytes));
    uint32_t replies = 0;
    f->effect_count = 0;
    struct effect effect;
    while (effect_next(&reader, &effect)) {
        if (f->effect_count < FIXTURE_EFFECTS_MAX) {
            f->effect[f->effect_count++] = effect;
        }
        if (effect.type == EFFECT_REPLY) {
            assert_int_equal(effect.as.reply.ordinal, replies);
            f->reply = effect.as.reply;
            replies++;
        }
    }
    assert_int_equal(replies, f->batch_count);
    f->batch_count = 0;
    const char *why = f->is_unchecked ? NULL : core_check(f->core);
    if (why != NULL) {
        fail_msg("entry %llu: %s", (unsigned long long)entry.seq, why);
    }
}

void fixture_tick(struct fixture *f)
{
    command_put_tick(fixture_batch(f));
    fixture_apply(f);
}

struct command_submit submit_default(void)
{
    struct command_submit submit = {
        .queue = SLICE("default"), .kind = SLICE("k"), .input = SLICE("1"), .priority = 5, .weight = 1, .body_hash = 1};
    retry_policy_default(&submit.retry);
    return submit;
}

enum status fixture_try_submit(struct fixture *f, struct command_submit submit)
{
    command_put_submit(fixture_batch(f), &submit);
    fixture_apply(f);
    return f->reply.status;
}

uint64_t fixture_submit(struct fixture *f, struct command_submit submit)
{
    assert_int_equal(fixture_try_submit(f, submit), STATUS_OK);
    return f->reply.task_id;
}

void fixture_kind(struct fixture *f, const char *name)
{
    struct command_kind_set command = {slice_str(name)};
    command_put_kind_set(fixture_batch(f), &command);
    fixture_apply(f);
    assert_int_equal(f->reply.status, STATUS_OK);
}

void fixture_queue(struct fixture *f, const char *name, int paused)
{
    struct command_queue_set command = {.name = slice_str(name), .has_paused = paused >= 0, .paused = paused > 0};
    command_put_queue_set(fixture_batch(f), &command);
    fixture_apply(f);
    assert_int_equal(f->reply.status, STATUS_OK);
}

struct command_node_hello hello_default(const char *name, uint32_t credit)
{
    return (struct command_node_hello){.node = slice_str(name),
                                       .instance = 1,
                                       .kinds = {SLICE("k")},
                                       .kind_count = 1,
                                       .facts = {.cpu_milli = 4000, .memory_mib = 4096, .gpu = 0},
                                       .info = SLICE("{}"),
                                       .credit = credit};
}

uint64_t fixture_hello(struct fixture *f, struct command_node_hello hello)
{
    command_put_node_hello(fixture_batch(f), &hello);
    fixture_apply(f);
    assert_int_equal(f->reply.status, STATUS_OK);
    return f->reply.session;
}

uint64_t fixture_node(struct fixture *f, const char *name, uint32_t credit)
{
    return fixture_hello(f, hello_default(name, credit));
}

enum status fixture_credit(struct fixture *f, uint64_t session, uint32_t add)
{
    struct command_node_report report = {.session = session, .credit_add = add};
    command_put_node_report(fixture_batch(f), &report);
    fixture_apply(f);
    return f->reply.status;
}

/* The status of the report, or of its one outcome when that was refused. */
enum status fixture_report(struct fixture *f, uint64_t session, const struct outcome *outcome)
{
    struct buf bytes;
    buf_init(&bytes, 1 << 20);
    outcome_put(&bytes, outcome);
    struct command_node_report report = {.session = session, .outcome_count = 1, .outcomes = buf_slice(&bytes)};
    command_put_node_report(fixture_batch(f), &report);
    buf_free(&bytes);
    fixture_apply(f);
    struct reader refused = reader_of(f->reply.refused);
    uint32_t ordinal;
    enum status status = f->reply.status;
    if (effect_refused_next(&refused, &ordinal, &status)) {
        assert_int_equal(ordinal, 0);
    }
    return status;
}

enum status fixture_complete(struct fixture *f, uint64_t session, struct lease_token token)
{
    struct outcome outcome = {.type = OUTCOME_COMPLETE, .token = token, .payload = SLICE("\"done\"")};
    return fixture_report(f, session, &outcome);
}

enum status fixture_fail(struct fixture *f, uint64_t session, struct lease_token token, const char *kind)
{
    struct outcome outcome = {
        .type = OUTCOME_FAIL, .token = token, .error_kind = slice_str(kind), .message = SLICE("it broke")};
    return fixture_report(f, session, &outcome);
}

enum status fixture_lost(struct fixture *f, uint64_t session)
{
    struct command_node_lost command = {session, LOST_SILENT};
    command_put_node_lost(fixture_batch(f), &command);
    fixture_apply(f);
    return f->reply.status;
}

enum status fixture_task(struct fixture *f, enum command_type type, uint64_t task_id)
{
    struct command_task command = {task_id, SLICE("because")};
    command_put_task(fixture_batch(f), type, &command);
    fixture_apply(f);
    return f->reply.status;
}

void fixture_configure(struct fixture *f, struct command_configure configure)
{
    command_put_configure(fixture_batch(f), &configure);
    fixture_apply(f);
}

void fixture_history(struct fixture *f, uint64_t seq)
{
    struct command_history_done command = {seq};
    command_put_history_done(fixture_batch(f), &command);
    fixture_apply(f);
}

const struct effect *fixture_effect(const struct fixture *f, enum effect_type type, uint32_t n)
{
    for (uint32_t i = 0; i < f->effect_count; i++) {
        if (f->effect[i].type == type && n-- == 0) {
            return &f->effect[i];
        }
    }
    return NULL;
}

uint32_t fixture_effects(const struct fixture *f, enum effect_type type)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < f->effect_count; i++) {
        count += f->effect[i].type == type;
    }
    return count;
}

struct lease_token fixture_lease(const struct fixture *f)
{
    assert_int_equal(fixture_effects(f, EFFECT_LEASE), 1);
    return fixture_effect(f, EFFECT_LEASE, 0)->as.lease.offer.token;
}

enum task_state fixture_state(const struct fixture *f, uint64_t task_id)
{
    struct task_brief brief;
    assert_int_equal(core_task_brief(f->core, task_id, &brief), STATUS_OK);
    return brief.state;
}

struct task_view fixture_view(const struct fixture *f, uint64_t task_id)
{
    struct task_view view;
    assert_int_equal(core_task_get(f->core, task_id, &view), STATUS_OK);
    return view;
}
