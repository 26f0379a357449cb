/* tally.c - every request is counted once when its time comes and once when it is over.
 *
 *   scheduled ──▶ in flight ──▶ ok | failed | timed out
 *        └──────▶ shed
 *
 * Invariant (T1): scheduled = ok + failed + timed_out + shed + in_flight in every series, and the sum of in_flight is the number of
 * users that wait for an answer or a connection, plus the arrivals in line; looked at each second and at the end. A run in
 * which it does not hold says nothing about the target and is marked invalid.
 *
 * The histograms hold requests that went well, and those that timed out with the time that they were waited for: to leave these out
 * would make a target look the better the more it hangs. Failed ones are only counted: a refusal is quick, and would
 * make a broken target look fast. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "bench/engine_internal.h"

static void add_counts(struct bench_counts *to, const struct bench_counts *from)
{
    to->scheduled += from->scheduled;
    to->ok += from->ok;
    to->failed += from->failed;
    to->timed_out += from->timed_out;
    to->shed += from->shed;
    to->in_flight += from->in_flight;
    to->bytes_out += from->bytes_out;
    to->bytes_in += from->bytes_in;
    to->connects += from->connects;
    for (int i = 0; i < BENCH_ERROR_COUNT; i++) {
        to->errors[i] += from->errors[i];
    }
}

enum status tally_prepare_phase(struct phase_run *phase)
{
    struct engine *engine = phase->engine;
    for (uint32_t flow = 0; flow < engine->scenario->flow_count; flow++) {
        if ((phase->plan.flows & (1u << flow)) == 0) {
            continue;
        }
        for (uint32_t step = 0; step < engine->scenario->flows[flow].step_count; step++) {
            uint32_t label = engine->flows[flow].steps[step].label;
            if (engine->scenario->flows[flow].steps[step].action == SCENARIO_THINK || phase->series[label] != NULL) {
                continue;
            }
            struct tally_series *series = calloc(1, sizeof(*series));
            if (series == NULL) {
                return STATUS_NO_MEMORY;
            }
            phase->series[label] = series;
            series->latency = histogram_new();
            series->service = histogram_new();
            if (series->latency == NULL || series->service == NULL) {
                return STATUS_NO_MEMORY;
            }
        }
    }
    return STATUS_OK;
}

void tally_free_phase(struct phase_run *phase)
{
    for (uint32_t i = 0; i < ENGINE_LABELS_MAX; i++) {
        if (phase->series[i] != NULL) {
            histogram_free(phase->series[i]->latency);
            histogram_free(phase->series[i]->service);
            free(TAKE(phase->series[i]));
        }
    }
}

void tally_scheduled(struct phase_run *phase, uint32_t label)
{
    struct bench_counts *counts = &phase->series[label]->counts;
    counts->scheduled++;
    counts->in_flight++;
}

void tally_shed(struct phase_run *phase, uint32_t label)
{
    struct bench_counts *counts = &phase->series[label]->counts;
    counts->scheduled++;
    counts->shed++;
}

void tally_ended(struct phase_run *phase, uint32_t label, const struct tally_end *end)
{
    struct engine *engine = phase->engine;
    struct tally_series *series = phase->series[label];
    struct bench_counts *counts = &series->counts;
    counts->in_flight--;
    counts->bytes_out += end->bytes_out;
    counts->bytes_in += end->bytes_in;
    bool is_ok = end->error == BENCH_ERROR_COUNT;
    if (engine->recovery != NULL) {
        recovery_answer(engine->recovery, end->end_ns - engine->begin_ns, is_ok);
    }
    if (!is_ok) {
        counts->errors[end->error]++;
        if (end->error != BENCH_ERROR_TIMED_OUT) {
            counts->failed++;
            return;
        }
        counts->timed_out++;
    } else {
        counts->ok++;
        series->items += end->items;
    }
    int64_t latency_ns = end->end_ns - end->intended_ns;
    histogram_record(series->latency, latency_ns);
    histogram_record(engine->second_latency, latency_ns);
    if (end->sent_ns != 0) {
        histogram_record(series->service, end->end_ns - end->sent_ns);
    }
}

void tally_lag(struct engine *engine, int64_t lag_ns)
{
    histogram_record(engine->result->lag, lag_ns);
    if (lag_ns > engine->second_lag_max_ns) {
        engine->second_lag_max_ns = lag_ns;
    }
}

struct bench_counts tally_total(const struct engine *engine, uint64_t *ret_items)
{
    struct bench_counts total = {0};
    *ret_items = 0;
    for (uint32_t i = 0; i < engine->scenario->phase_count; i++) {
        for (uint32_t label = 0; label < engine->label_count; label++) {
            const struct tally_series *series = engine->phases[i].series[label];
            if (series != NULL) {
                add_counts(&total, &series->counts);
                *ret_items += series->items;
            }
        }
    }
    struct http_origin_stats stats;
    http_origin_stats(engine->origin, &stats);
    total.connects = stats.connects;
    return total;
}

bool tally_is_conserved(const struct engine *engine)
{
    uint64_t in_flight = 0;
    for (uint32_t i = 0; i < engine->scenario->phase_count; i++) {
        for (uint32_t label = 0; label < engine->label_count; label++) {
            const struct tally_series *series = engine->phases[i].series[label];
            if (series == NULL) {
                continue;
            }
            const struct bench_counts *counts = &series->counts;
            if (counts->scheduled !=
                counts->ok + counts->failed + counts->timed_out + counts->shed + counts->in_flight) {
                return false;
            }
            in_flight += counts->in_flight;
        }
    }
    uint64_t seen = engine->pool.arrivals_len;
    for (uint32_t i = 0; i < engine->scenario->phase_count; i++) {
        for (const struct user *user = engine->phases[i].users; user != NULL; user = user->next) {
            seen += user->state == USER_ASKS || user->state == USER_WAITS;
        }
    }
    return in_flight == seen;
}

static void subtract(struct bench_counts *from, const struct bench_counts *what)
{
    from->scheduled -= what->scheduled;
    from->ok -= what->ok;
    from->failed -= what->failed;
    from->timed_out -= what->timed_out;
    from->shed -= what->shed;
    from->bytes_out -= what->bytes_out;
    from->bytes_in -= what->bytes_in;
    from->connects -= what->connects;
    for (int i = 0; i < BENCH_ERROR_COUNT; i++) {
        from->errors[i] -= what->errors[i];
    }
}

void tally_second(struct engine *engine, uint32_t second)
{
    struct bench_result *result = engine->result;
    if (!tally_is_conserved(engine) && result->invalid_why[0] == '\0') {
        snprintf(result->invalid_why, sizeof(result->invalid_why),
                 "In second %u not every request is accounted for; this is a mistake of the generator.", second);
    }
    if (result->second_count == engine->seconds_cap) {
        uint32_t cap = engine->seconds_cap > 0 ? 2 * engine->seconds_cap : 256;
        struct bench_second *seconds = realloc(result->seconds, cap * sizeof(*seconds));
        if (seconds == NULL) {
            return; /* the totals hold without it */
        }
        result->seconds = seconds;
        engine->seconds_cap = cap;
    }
    uint64_t items;
    struct bench_counts total = tally_total(engine, &items);
    struct bench_counts of_second = total;
    subtract(&of_second, &engine->counted);
    int64_t middle_ns = engine->begin_ns + (int64_t)second * NS_PER_S + NS_PER_S / 2;
    result->seconds[result->second_count++] =
        (struct bench_second){.second = second,
                              .counts = of_second,
                              .items = items - engine->items_counted,
                              .rate_meant = phases_rate_meant(engine, middle_ns),
                              .p50_ns = histogram_percentile(engine->second_latency, 50),
                              .p95_ns = histogram_percentile(engine->second_latency, 95),
                              .p99_ns = histogram_percentile(engine->second_latency, 99),
                              .max_ns = histogram_max(engine->second_latency),
                              .lag_max_ns = engine->second_lag_max_ns};
    engine->counted = total;
    engine->items_counted = items;
    engine->second_lag_max_ns = 0;
    histogram_reset(engine->second_latency);
}

/* --- at the end --- */

static enum status add_to(struct bench_result *result, const char *phase, const char *step, int64_t begin_ns,
                          int64_t end_ns, const struct tally_series *from)
{
    struct bench_series *series = NULL;
    for (uint32_t i = 0; i < result->series_count && series == NULL; i++) {
        if (strcmp(result->series[i].phase, phase) == 0 && strcmp(result->series[i].step, step) == 0) {
            series = &result->series[i];
        }
    }
    if (series == NULL) {
        series = bench_result_add_series(result, phase, step);
        if (series == NULL) {
            return STATUS_NO_MEMORY;
        }
        series->begin_ns = begin_ns;
        series->end_ns = end_ns;
    }
    series->begin_ns = begin_ns < series->begin_ns ? begin_ns : series->begin_ns;
    series->end_ns = end_ns > series->end_ns ? end_ns : series->end_ns;
    if (from != NULL) {
        add_counts(&series->counts, &from->counts);
        series->items += from->items;
        histogram_add(series->latency, from->latency);
        histogram_add(series->service, from->service);
    }
    return STATUS_OK;
}

static enum status add_histogram(struct histogram **to, const struct histogram *from)
{
    if (*to == NULL && (*to = histogram_new()) == NULL) {
        return STATUS_NO_MEMORY;
    }
    histogram_add(*to, from);
    return STATUS_OK;
}

/* What simulated nodes saw of the tasks that the phase submitted. */
static enum status collect_tasks(struct engine *engine, const struct phase_run *phase)
{
    struct bench_result *result = engine->result;
    const struct histogram *assign = nodes_assign(engine->nodes, phase->index);
    const struct histogram *complete = nodes_complete(engine->nodes, phase->index);
    enum status status = STATUS_OK;
    for (uint32_t i = 0; i < result->series_count && status == STATUS_OK; i++) {
        struct bench_series *series = &result->series[i];
        if (series->step[0] != '\0' || strcmp(series->phase, phase->plan.name) != 0) {
            continue;
        }
        if (assign != NULL) {
            status = add_histogram(&series->assign, assign);
        }
        if (complete != NULL && status == STATUS_OK) {
            status = add_histogram(&series->complete, complete);
        }
    }
    if (assign != NULL && !phase->plan.is_discarded && status == STATUS_OK) {
        status = add_histogram(&result->assign, assign);
    }
    if (complete != NULL && !phase->plan.is_discarded && status == STATUS_OK) {
        status = add_histogram(&result->complete, complete);
    }
    return status;
}

static enum status collect_phase(struct engine *engine, const struct phase_run *phase)
{
    struct bench_result *result = engine->result;
    bool is_counted = !phase->plan.is_discarded;
    const char *name = phase->plan.name;
    int64_t begin_ns = phase->begin_ns - engine->begin_ns;
    int64_t end_ns = phase->ended_ns - engine->begin_ns;
    enum status status = add_to(result, name, "", begin_ns, end_ns, NULL);
    if (status == STATUS_OK && is_counted) {
        status = add_to(result, "", "", begin_ns, end_ns, NULL);
    }
    for (uint32_t label = 0; label < engine->label_count && status == STATUS_OK; label++) {
        const struct tally_series *from = phase->series[label];
        const char *step = engine->labels[label];
        if (from == NULL) {
            continue;
        }
        status = add_to(result, name, "", begin_ns, end_ns, from);
        if (status == STATUS_OK) {
            status = add_to(result, name, step, begin_ns, end_ns, from);
        }
        if (status == STATUS_OK && is_counted) {
            status = add_to(result, "", "", begin_ns, end_ns, from);
        }
        if (status == STATUS_OK && is_counted) {
            status = add_to(result, "", step, begin_ns, end_ns, from);
        }
    }
    return status == STATUS_OK ? collect_tasks(engine, phase) : status;
}

enum status tally_collect(struct engine *engine)
{
    struct bench_result *result = engine->result;
    if (bench_result_add_series(result, "", "") == NULL) { /* the run's is the first */
        return STATUS_NO_MEMORY;
    }
    result->series[0].begin_ns = INT64_MAX;
    enum status status = STATUS_OK;
    for (uint32_t i = 0; i < engine->scenario->phase_count && status == STATUS_OK; i++) {
        if (engine->phases[i].state != PHASE_WAITS) {
            status = collect_phase(engine, &engine->phases[i]);
        }
    }
    if (result->series[0].begin_ns == INT64_MAX) {
        result->series[0].begin_ns = 0;
    }
    struct http_origin_stats stats;
    http_origin_stats(engine->origin, &stats);
    result->series[0].counts.connects = stats.connects;
    return status;
}
