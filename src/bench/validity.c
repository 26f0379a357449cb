/* validity.c - whether a run says something about its target.
 *
 * A generator that is late, or out of breath, measures itself. Such a run is no result, however good its numbers look; what is
 * wrong is said in sentences, all of them. */
#include <stdarg.h>
#include <stdio.h>

#include "base/clock.h"
#include "bench/engine_internal.h"

#define LAG_MAX_NS (10 * NS_PER_MS) /* below it a lag is noise of the machine */
#define LAG_SHARE 0.1               /* of the median latency: a tenth of what is measured may be the generator's */
#define BUSY_PERCENT 97.0           /* of a core: a thread that waits for nothing */
#define HUB_IDLE_PERCENT 90.0       /* a target below it had room left */
#define CPU_SPAN_MIN_NS NS_PER_S    /* a shorter time says nothing about load */

static void complain(struct bench_result *result, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void complain(struct bench_result *result, const char *format, ...)
{
    size_t len = strlen(result->invalid_why);
    va_list args;
    va_start(args, format);
    if (len > 0 && len + 1 < sizeof(result->invalid_why)) {
        result->invalid_why[len++] = ' ';
    }
    vsnprintf(result->invalid_why + len, sizeof(result->invalid_why) - len, format, args);
    va_end(args);
}

static bool has_open_phase(const struct engine *engine)
{
    for (uint32_t i = 0; i < engine->scenario->phase_count; i++) {
        if (engine->phases[i].plan.model == SCENARIO_OPEN) {
            return true;
        }
    }
    return false;
}

static void judge_lag(struct engine *engine)
{
    struct bench_result *result = engine->result;
    int64_t lag_ns = histogram_percentile(result->lag, 99);
    int64_t median_ns = result->series_count > 0 ? histogram_percentile(result->series[0].latency, 50) : 0;
    double allowed_ns = LAG_SHARE * (double)median_ns;
    allowed_ns = allowed_ns > (double)LAG_MAX_NS ? allowed_ns : (double)LAG_MAX_NS;
    if (has_open_phase(engine) && (double)lag_ns > allowed_ns) {
        complain(result, "The generator was late: its lag had a 99th percentile of %.1f ms, %.1f ms are allowed.",
                 (double)lag_ns / 1e6, allowed_ns / 1e6);
    }
}

/* Arrivals that were due and for which there was no time before their phase ended. */
static void judge_rate(struct engine *engine)
{
    for (uint32_t i = 0; i < engine->scenario->phase_count; i++) {
        const struct phase_run *phase = &engine->phases[i];
        if (phase->plan.model != SCENARIO_OPEN || phase->state != PHASE_ENDED || phase->takes_no_more) {
            continue;
        }
        uint64_t meant = schedule_count(&phase->plan.schedule);
        if (phase->arrivals_late * 100 > meant) {
            complain(engine->result, "In phase %s the generator began %llu of %llu arrivals only after its end.",
                     phase->plan.name, (unsigned long long)phase->arrivals_late, (unsigned long long)meant);
        }
    }
}

static void judge_cpu(struct engine *engine, int64_t over_ns)
{
    struct bench_result *result = engine->result;
    int64_t span_ns = over_ns - engine->measured_begin_ns;
    if (!engine->has_cpu_mark || span_ns < CPU_SPAN_MIN_NS) {
        return;
    }
    double busy = 100.0 * (double)(engine_thread_cpu_ns() - engine->cpu_begin_ns) / (double)span_ns;
    double target = 0;
    for (uint32_t i = 0; i < result->process_count; i++) {
        const char *name = result->processes[i].name;
        if (strcmp(name, "generator") != 0 && strcmp(name, "machine") != 0 &&
            result->processes[i].cpu_mean_percent > target) {
            target = result->processes[i].cpu_mean_percent;
        }
    }
    if (busy >= BUSY_PERCENT && target < HUB_IDLE_PERCENT) {
        complain(result, "The generator used %.0f %% of its core, so it may have been the bottleneck.", busy);
    }
}

void validity_judge(struct engine *engine, int64_t over_ns)
{
    struct bench_result *result = engine->result;
    if (!tally_is_conserved(engine)) {
        complain(result, "Not every request is accounted for; this is a mistake of the generator.");
    }
    judge_lag(engine);
    judge_rate(engine);
    judge_cpu(engine, over_ns);
    result->verdict = engine->is_interrupted        ? BENCH_INTERRUPTED
                      : result->invalid_why[0] != 0 ? BENCH_INVALID
                                                    : BENCH_PASS;
}
