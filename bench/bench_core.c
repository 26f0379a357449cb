/* bench_core.c - the core alone, on one thread: what a command costs, and what a queued task weighs.
 *
 *   bench_core [TASKS]     queued tasks of the second part, default 1,000,000
 *
 * Times are processor time, so that a busy machine tells the same.
 *
 * 1. lifecycles: entries of 100 submits, then one report of 100 completes with credit for 100 more; history follows
 * 2. TASKS queued, over 100 fairness keys: submits/s, resident bytes a task; then save, load, and leasing all of it */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "core/core.h"

#define BATCH 100u

struct bench {
    struct core *core;
    struct buf body, effects;
    uint32_t count;
    int64_t time_ns;
    int64_t apply_ns; /* inside core_apply alone */
};

static int64_t cpu_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return now.tv_sec * NS_PER_S + now.tv_nsec;
}

static struct buf *next(struct bench *b)
{
    if (b->count++ == 0) {
        struct entry_head head = {0};
        buf_reset(&b->body);
        entry_head_put(&b->body, &head);
    }
    return &b->body;
}

static void apply(struct bench *b)
{
    buf_put_u32(&b->body, 16, b->count);
    b->count = 0;
    b->time_ns += NS_PER_MS;
    struct core_entry entry = {core_seq(b->core) + 1, b->time_ns, buf_slice(&b->body)};
    buf_reset(&b->effects);
    int64_t start_ns = cpu_ns();
    ensure(core_apply(b->core, &entry, &b->effects) == STATUS_OK);
    b->apply_ns += cpu_ns() - start_ns;
}

static uint64_t resident_size(void)
{
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    ensure(file != NULL && fscanf(file, "%*u %lu", &pages) == 1);
    fclose(file);
    return (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void bench_begin(struct bench *b)
{
    *b = (struct bench){.core = core_new(), .time_ns = NS_PER_S};
    ensure(b->core != NULL);
    buf_init(&b->body, 64u << 20);
    buf_init(&b->effects, 256u << 20);
    command_put_kind_set(next(b), &(struct command_kind_set){SLICE("echo")});
    apply(b);
}

static void bench_end(struct bench *b)
{
    core_free(b->core);
    buf_free(&b->body);
    buf_free(&b->effects);
}

static struct command_submit a_submit(void)
{
    struct command_submit submit = {.queue = SLICE("default"),
                                    .kind = SLICE("echo"),
                                    .priority = 5,
                                    .weight = 1,
                                    .input = SLICE("{\"n\":12345678,\"text\":\"a small task\"}")};
    retry_policy_default(&submit.retry);
    return submit;
}

static uint64_t a_node(struct bench *b, uint32_t credit)
{
    struct command_node_hello hello = {
        .node = SLICE("n"), .instance = 1, .kinds = {SLICE("echo")}, .kind_count = 1, .credit = credit};
    command_put_node_hello(next(b), &hello);
    apply(b);
    struct reader reader = reader_of(buf_slice(&b->effects));
    struct effect effect;
    ensure(effect_next(&reader, &effect) && effect.type == EFFECT_REPLY);
    return effect.as.reply.session;
}

static void bench_lifecycles(uint32_t rounds)
{
    struct bench b;
    bench_begin(&b);
    struct command_configure configure = {.finished_keep_ms = 100};
    command_put_configure(next(&b), &configure);
    apply(&b);
    uint64_t session = a_node(&b, BATCH);
    struct command_submit submit = a_submit();
    struct buf outcomes;
    buf_init(&outcomes, 1 << 20);
    b.apply_ns = 0;
    int64_t submit_ns = 0;
    uint64_t effects_size = 0;
    for (uint32_t r = 0; r < rounds; r++) {
        int64_t before_ns = b.apply_ns;
        for (uint32_t i = 0; i < BATCH; i++) {
            command_put_submit(next(&b), &submit);
        }
        apply(&b);
        submit_ns += b.apply_ns - before_ns;
        effects_size += b.effects.len;
        struct reader reader = reader_of(buf_slice(&b.effects));
        struct effect effect;
        uint32_t leases = 0;
        buf_reset(&outcomes);
        while (effect_next(&reader, &effect)) {
            if (effect.type == EFFECT_LEASE) {
                struct outcome outcome = {
                    .type = OUTCOME_COMPLETE, .token = effect.as.lease.offer.token, .payload = SLICE("{\"ok\":true}")};
                outcome_put(&outcomes, &outcome);
                leases++;
            }
        }
        ensure(leases == BATCH);
        struct command_node_report report = {
            .session = session, .credit_add = BATCH, .outcome_count = BATCH, .outcomes = buf_slice(&outcomes)};
        command_put_node_report(next(&b), &report);
        command_put_history_done(next(&b), &(struct command_history_done){core_seq(b.core)});
        apply(&b);
        effects_size += b.effects.len;
    }
    uint64_t tasks = (uint64_t)rounds * BATCH;
    printf(
        "lifecycles          %10.0f /s   %6.0f ns each: submit+lease %.0f, complete+evict %.0f; %.0f bytes of effects\n",
        (double)tasks * 1e9 / (double)b.apply_ns, (double)b.apply_ns / (double)tasks, (double)submit_ns / (double)tasks,
        (double)(b.apply_ns - submit_ns) / (double)tasks, (double)effects_size / (double)tasks);
    buf_free(&outcomes);
    bench_end(&b);
}

static bool append_to(void *ctx, const void *data, size_t len)
{
    buf_append(ctx, data, len);
    return buf_status(ctx) == STATUS_OK;
}

static void bench_queued(uint32_t tasks)
{
    struct bench b;
    bench_begin(&b);
    struct command_submit submit = a_submit();
    uint64_t before_size = resident_size();
    b.apply_ns = 0;
    for (uint32_t i = 0; i < tasks; i++) {
        char key[16];
        snprintf(key, sizeof(key), "tenant-%u", i % 100);
        submit.fairness_key = slice_str(key);
        command_put_submit(next(&b), &submit);
        if (b.count == BATCH) {
            apply(&b);
        }
    }
    if (b.count > 0) {
        apply(&b);
    }
    uint64_t size = resident_size() - before_size;
    printf("submits, queued     %10.0f /s   %6.0f ns each\n", (double)tasks * 1e9 / (double)b.apply_ns,
           (double)b.apply_ns / (double)tasks);
    printf("memory              %10" PRIu64 " MiB  %6.0f bytes a queued task of %zu bytes of input\n", size >> 20,
           (double)size / (double)tasks, submit.input.len);

    int64_t start_ns = cpu_ns();
    struct buf saved;
    buf_init(&saved, (size_t)16 << 30);
    ensure(core_save(b.core, append_to, &saved) == STATUS_OK);
    int64_t saved_ns = cpu_ns();
    struct core *loaded;
    ensure(core_load(buf_slice(&saved), &loaded) == STATUS_OK);
    printf("save, load          %10.2f s, %.2f s for %zu MiB\n", (double)(saved_ns - start_ns) / 1e9,
           (double)(cpu_ns() - saved_ns) / 1e9, saved.len >> 20);
    core_free(loaded);
    buf_free(&saved);

    uint64_t session = a_node(&b, 0);
    b.apply_ns = 0;
    uint32_t taken = tasks < 2 * BATCH ? 0 : tasks < 400000 ? tasks : 400000;
    for (uint32_t i = 0; i < taken; i += BATCH) {
        struct command_node_report report = {.session = session, .has_credit = true, .credit_set = BATCH};
        command_put_node_report(next(&b), &report);
        apply(&b);
        struct command_node_lost lost = {session, LOST_LEFT}; /* a node holds LIMIT_CREDIT leases at most */
        if (i / BATCH % 40 == 39) {
            command_put_node_lost(next(&b), &lost);
            apply(&b);
            session = a_node(&b, 0);
        }
    }
    printf("leases, from queue  %10.0f /s   %6.0f ns each, lost and queued again every 4,000\n",
           (double)taken * 1e9 / (double)b.apply_ns, (double)b.apply_ns / (double)taken);
    bench_end(&b);
}

int main(int argc, char **argv)
{
    uint32_t tasks = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 1000000;
    if (tasks == 0 || tasks > LIMIT_TASKS) {
        fprintf(stderr, "usage: bench_core [1..%d]\n", LIMIT_TASKS);
        return 2;
    }
    bench_lifecycles(20000);
    bench_queued(tasks);
    return 0;
}
