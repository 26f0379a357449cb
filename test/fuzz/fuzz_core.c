/* fuzz_core.c - the state machine under any entries, in any order.
 *
 * The input is a script: small commands about few names, with tokens and ids that the core itself gave out or that are
 * wrong by a little, put together into entries; and bodies of arbitrary bytes. After each entry every invariant of core.h
 * is verified. A twin applies the same entries, and is now and then replaced by what core_load makes of what core_save
 * wrote: it must cause the same effects, byte for byte, and have the same hash. */
#include "core/core.h"
#include "proto/task_id.h"
#include "test/fuzz/fuzz.h"

#define REMEMBERED 32u
#define EFFECTS_SIZE_MAX (16u << 20)

struct script {
    struct reader in;
    struct core *core, *twin;
    int64_t time_ns;
    struct buf body, effects, effects_twin;
    uint32_t batch_count;
    uint64_t ids[REMEMBERED], sessions[REMEMBERED];
    struct lease_token tokens[REMEMBERED];
    uint32_t id_count, session_count, token_count;
};

static const char *const names[] = {"default", "a", "b", "k", "l"};
static const char *const labels[] = {"gpu", "zone=1", "zone=2", "os=linux"};

static struct slice name(struct script *s)
{
    return slice_str(names[fuzz_below(&s->in, ARRAY_COUNT(names))]);
}

static struct slice kind(struct script *s)
{
    return slice_str(names[3 + fuzz_below(&s->in, 2)]);
}

/* Nothing, or one of three texts. */
static struct slice key(struct script *s)
{
    static const char *const keys[] = {"", "", "x", "y", "a longer one"};
    return slice_str(keys[fuzz_below(&s->in, ARRAY_COUNT(keys))]);
}

/* 0, or up to about three days, small ones more often. */
static int64_t duration_ms(struct script *s)
{
    uint32_t byte = fuzz_below(&s->in, 256);
    return byte < 96 ? 0 : (int64_t)(byte % 16) << (byte / 16 + (byte > 240 ? 8 : 0));
}

/* How many of so many are remembered. */
static uint32_t kept(uint32_t count)
{
    return count < REMEMBERED ? count : REMEMBERED;
}

static uint64_t task_id(struct script *s)
{
    uint32_t choice = fuzz_below(&s->in, 256);
    return s->id_count == 0 || choice > 250 ? task_id_make(choice, choice) : s->ids[choice % kept(s->id_count)];
}

static uint64_t session(struct script *s)
{
    uint32_t choice = fuzz_below(&s->in, 256);
    return s->session_count == 0 || choice > 250 ? choice : s->sessions[choice % kept(s->session_count)];
}

static struct lease_token token(struct script *s)
{
    uint32_t choice = fuzz_below(&s->in, 256);
    struct lease_token token = {task_id(s), choice % 3, core_seq(s->core)};
    if (s->token_count > 0) {
        token = s->tokens[choice % kept(s->token_count)];
        token.attempt += choice > 250;
        token.seq -= choice == 250;
    }
    return token;
}

static void requirement(struct script *s, struct requirement *ret)
{
    uint32_t bits = fuzz_below(&s->in, 256);
    *ret = (struct requirement){.cpu_milli = (bits >> 4 & 3) * 500, .memory_mib = (bits >> 6) * 512};
    for (uint32_t i = 0; i < ARRAY_COUNT(labels); i++) {
        if (bits >> i & 1) {
            ret->labels[ret->label_count++] = slice_str(labels[i]);
        }
    }
    ret->gpu = bits == 255;
}

static void put_submit(struct script *s)
{
    struct command_submit submit = {
        .queue = name(s), .kind = kind(s), .input = SLICE("{\"n\":1}"), .priority = 5, .weight = 1};
    retry_policy_default(&submit.retry);
    submit.priority = (uint8_t)fuzz_below(&s->in, 10);
    submit.fairness_key = key(s);
    uint32_t bits = fuzz_below(&s->in, 256);
    if (bits & 1) {
        submit.unique_key = SLICE("one");
        submit.unique_mode = (enum unique_mode)(1 + fuzz_below(&s->in, 3));
        submit.unique_ms = submit.unique_mode == UNIQUE_FOR_TIME ? 1 + duration_ms(s) : 0;
    }
    if (bits & 2) {
        submit.idempotency_key = key(s);
        submit.body_hash = fuzz_below(&s->in, 2);
    }
    submit.run_at_ns = bits & 4 ? s->time_ns + duration_ms(s) * 1000000 : 0;
    submit.ttl_ms = bits & 8 ? duration_ms(s) : 0;
    submit.timeout_ms = bits & 16 ? duration_ms(s) : 0;
    submit.lease_ms = bits & 32 ? LIMIT_LEASE_MS_MIN + duration_ms(s) : 0;
    if (bits & 64) {
        requirement(s, &submit.requirement);
    }
    if (bits & 128) {
        submit.retry.attempts_max = 1 + fuzz_below(&s->in, 4);
        submit.retry.base_ms = duration_ms(s);
        submit.retry.not_retryable[0] = SLICE("code");
        submit.retry.not_retryable_count = 1;
        submit.weight = 1 + fuzz_below(&s->in, 200);
    }
    command_put_submit(&s->body, &submit);
}

static void put_hello(struct script *s)
{
    struct command_node_hello hello = {.node = name(s), .info = SLICE("{}")};
    uint32_t bits = fuzz_below(&s->in, 256);
    struct buf held;
    buf_init(&held, 4096);
    hello.instance = bits & 3;
    hello.is_worker = (bits & 4) != 0;
    hello.credit = bits >> 4;
    hello.kinds[hello.kind_count++] = SLICE("k");
    if (bits & 8) {
        hello.kinds[hello.kind_count++] = SLICE("l");
    }
    requirement(s, &hello.facts);
    for (hello.held_count = fuzz_below(&s->in, 4); held.len < hello.held_count * (size_t)20;) {
        struct lease_token one = token(s);
        lease_token_put(&held, &one);
    }
    hello.held = held.data;
    command_put_node_hello(&s->body, &hello);
    buf_free(&held);
}

static void put_report(struct script *s)
{
    struct command_node_report report = {.session = session(s)};
    uint32_t bits = fuzz_below(&s->in, 256);
    struct buf outcomes;
    buf_init(&outcomes, 65536);
    report.credit_add = bits & 7;
    report.has_credit = (bits & 8) != 0;
    report.credit_set = report.has_credit ? bits & 7 : 0;
    report.outcome_count = bits >> 5;
    for (uint32_t i = 0; i < report.outcome_count; i++) {
        struct outcome outcome = {.type = (enum outcome_type)(1 + fuzz_below(&s->in, OUTCOME_RELEASE)),
                                  .token = token(s)};
        outcome.payload = outcome.type == OUTCOME_COMPLETE ? SLICE("[1]") : (struct slice){NULL, 0};
        outcome.error_kind = outcome.type == OUTCOME_FAIL ? SLICE("code") : outcome.error_kind;
        outcome.is_final = outcome.type == OUTCOME_FAIL && (bits & 16) != 0;
        outcome.lease_ms = outcome.type == OUTCOME_EXTEND ? duration_ms(s) : 0;
        outcome.progress_permille = outcome.type == OUTCOME_PROGRESS ? 500 : 0;
        outcome_put(&outcomes, &outcome);
    }
    report.outcomes = buf_slice(&outcomes);
    command_put_node_report(&s->body, &report);
    buf_free(&outcomes);
}

static void put_other(struct script *s, uint32_t op)
{
    uint32_t bits;
    switch (op) {
    case 6:
        command_put_task(&s->body, COMMAND_CANCEL, &(struct command_task){.task_id = task_id(s), .reason = key(s)});
        break;
    case 7:
        command_put_task(&s->body, COMMAND_RETRY, &(struct command_task){.task_id = task_id(s)});
        break;
    case 8:
        bits = fuzz_below(&s->in, 8);
        command_put_queue_set(&s->body, &(struct command_queue_set){.name = name(s),
                                                                    .has_paused = bits & 1,
                                                                    .paused = (bits & 2) != 0,
                                                                    .must_exist = (bits & 4) != 0});
        break;
    case 9:
        command_put_kind_set(&s->body, &(struct command_kind_set){.name = kind(s)});
        break;
    case 10:
        command_put_node_lost(&s->body,
                              &(struct command_node_lost){.session = session(s),
                                                          .reason = (enum lost_reason)(1 + fuzz_below(&s->in, 4))});
        break;
    case 11:
        bits = fuzz_below(&s->in, 16);
        command_put_node_set(&s->body, &(struct command_node_set){.node = name(s),
                                                                  .has_drain = bits & 1,
                                                                  .drain = (bits & 2) != 0,
                                                                  .has_quiet = (bits & 4) != 0,
                                                                  .quiet = (bits & 8) != 0});
        break;
    case 12:
        command_put_history_done(&s->body, &(struct command_history_done){.seq = fuzz_below(&s->in, 2) > 0
                                                                                     ? core_seq(s->core)
                                                                                     : fuzz_below(&s->in, 256)});
        break;
    case 13:
        command_put_configure(&s->body, &(struct command_configure){
                                            .tasks_max = fuzz_below(&s->in, 12),
                                            .secret = slice_of("0123456789abcdef0123456789abcdef",
                                                               (size_t)fuzz_below(&s->in, 2) * COMMAND_SECRET_SIZE),
                                            .payload_size_max = fuzz_below(&s->in, 200),
                                            .finished_keep_ms = duration_ms(s)});
        break;
    default:
        command_put_tick(&s->body);
    }
}

/* Everything of use later in the script; and that each command got one reply, in order. */
static void learn(struct script *s, uint32_t commands)
{
    struct reader reader = reader_of(buf_slice(&s->effects));
    static struct effect effect; /* large */
    uint32_t replies = 0;
    while (effect_next(&reader, &effect)) {
        if (effect.type == EFFECT_REPLY) {
            ensure(effect.as.reply.ordinal == replies++);
            if (effect.as.reply.status == STATUS_OK && effect.as.reply.task_id != 0) {
                s->ids[s->id_count++ % REMEMBERED] = effect.as.reply.task_id;
            }
            if (effect.as.reply.status == STATUS_OK && effect.as.reply.session != 0) {
                s->sessions[s->session_count++ % REMEMBERED] = effect.as.reply.session;
            }
        } else if (effect.type == EFFECT_LEASE) {
            s->tokens[s->token_count++ % REMEMBERED] = effect.as.lease.offer.token;
        } else if (effect.type == EFFECT_FINISHED) {
            static struct task_view view;
            ensure(task_view_get(effect.as.finished.row, &view) == STATUS_OK);
            ensure(view.task_id == effect.as.finished.task_id && task_state_is_final(view.state));
        }
    }
    ensure(reader_is_done(&reader) && replies == commands);
}

static void check(struct core *core)
{
    const char *broken = core_check(core);
    if (broken != NULL) {
        ensure_failed(broken, __FILE__, __LINE__, __func__);
    }
}

static void apply(struct script *s, struct slice body, uint32_t commands)
{
    struct core_entry entry = {core_seq(s->core) + 1, s->time_ns, body};
    buf_reset(&s->effects);
    buf_reset(&s->effects_twin);
    enum status status = core_apply(s->core, &entry, &s->effects);
    ensure(core_apply(s->twin, &entry, &s->effects_twin) == status);
    if (commands == 0 && status == STATUS_TOO_NEW) { /* of a later build: nothing has changed, not even the number */
        ensure(core_seq(s->core) == entry.seq - 1 && core_seq(s->twin) == entry.seq - 1);
        return;
    }
    ensure(status == STATUS_OK || (commands == 0 && status == STATUS_CORRUPT));
    ensure(fuzz_equal(&s->effects, &s->effects_twin) && buf_status(&s->effects) == STATUS_OK);
    ensure(core_seq(s->core) == entry.seq);
    check(s->core);
    if (commands > 0) {
        learn(s, commands);
    }
}

static void apply_batch(struct script *s)
{
    if (s->batch_count > 0) {
        buf_put_u32(&s->body, 16, s->batch_count);
        apply(s, buf_slice(&s->body), s->batch_count);
    }
    s->batch_count = 0;
    buf_reset(&s->body);
    entry_head_put(&s->body, &(struct entry_head){.origin = 1, .batch = core_seq(s->core)});
}

static bool save_into(void *ctx, const void *data, size_t len)
{
    buf_append(ctx, data, len);
    return true;
}

static void reload_twin(struct script *s)
{
    struct buf state;
    buf_init(&state, 64u << 20);
    ensure(core_save(s->core, save_into, &state) == STATUS_OK && buf_status(&state) == STATUS_OK);
    core_free(s->twin);
    ensure(core_load(buf_slice(&state), &s->twin) == STATUS_OK);
    buf_free(&state);
}

static void same_hash(const struct script *s)
{
    uint8_t digest[SHA256_SIZE], digest_twin[SHA256_SIZE];
    core_hash(s->core, digest);
    core_hash(s->twin, digest_twin);
    ensure(memcmp(digest, digest_twin, SHA256_SIZE) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct script s = {.in = reader_of(slice_of(data, size)), .time_ns = INT64_C(1700000000000000000)};
    s.core = core_new();
    s.twin = core_new();
    ensure(s.core != NULL && s.twin != NULL);
    buf_init(&s.body, LIMIT_ENTRY_SIZE);
    buf_init(&s.effects, EFFECTS_SIZE_MAX);
    buf_init(&s.effects_twin, EFFECTS_SIZE_MAX);
    apply_batch(&s);
    while (reader_left(&s.in) > 0) {
        uint32_t byte = fuzz_below(&s.in, 256), op = byte & 15;
        if (op == 14) { /* a body of any bytes */
            apply_batch(&s);
            struct slice body = fuzz_take(&s.in, fuzz_below(&s.in, 256));
            char *copy = fuzz_copy(body);
            apply(&s, slice_of(copy, body.len), 0);
            free(copy);
            continue;
        }
        if (op == 15) {
            apply_batch(&s);
            reload_twin(&s);
            continue;
        }
        if (op < 4) {
            put_submit(&s);
        } else if (op == 4 && byte & 32) {
            put_hello(&s);
        } else if (op < 6) {
            put_report(&s);
        } else {
            put_other(&s, op);
        }
        s.batch_count++;
        if (byte & 16) {
            apply_batch(&s);
            s.time_ns += duration_ms(&s) * 1000000;
        }
    }
    apply_batch(&s);
    same_hash(&s);
    reload_twin(&s);
    same_hash(&s);
    core_free(s.core);
    core_free(s.twin);
    buf_free(&s.body);
    buf_free(&s.effects);
    buf_free(&s.effects_twin);
    return 0;
}
