/* report_text.c - a result in words and tables: terminal, Markdown, JUnit, Prometheus. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/printable.h"
#include "base/timefmt.h"
#include "base/version.h"
#include "bench/report.h"
#include "bench/report_markup.h"

/* --- the tables that every form has --- */

static const char *verdict_sentence(const struct bench_result *result)
{
    switch (result->verdict) {
    case BENCH_PASS:
        return result->gate_count > 0 ? "Every gate is met." : "There were no gates.";
    case BENCH_GATE_MISSED:
        return "A gate is missed.";
    case BENCH_INVALID:
        return "The run says nothing about the target.";
    case BENCH_INTERRUPTED:
        return "The run was interrupted; this is what there was.";
    }
    return "";
}

/* The value of a metric of a series, "-" without one. */
static void series_text(const struct bench_result *result, const struct bench_series *series, const char *metric,
                        char *ret, size_t size)
{
    char name[160];
    double value;
    const char *unit;
    snprintf(name, sizeof(name), "%s%s%s%s%s", metric, series->step[0] != '\0' ? ":" : "", series->step,
             series->phase[0] != '\0' ? "@" : "", series->phase);
    if (bench_metric(result, slice_str(name), &value, &unit) == STATUS_OK) {
        bench_value_text(value, unit, ret, size);
    } else {
        snprintf(ret, size, "-");
    }
}

static void series_name(const struct bench_series *series, char *ret, size_t size)
{
    if (series->phase[0] == '\0' && series->step[0] == '\0') {
        snprintf(ret, size, "all");
    } else {
        snprintf(ret, size, "%s%s%s", series->phase, series->phase[0] != '\0' && series->step[0] != '\0' ? " / " : "",
                 series->step);
    }
}

static const struct column {
    const char *title, *metric;
} columns[] = {{"ok", "ok"},       {"rate", "rate"}, {"success", "success"},
               {"p50", "p50"},     {"p90", "p90"},   {"p99", "p99"},
               {"p99.9", "p99.9"}, {"max", "max"},   {"service p99", "service_p99"}};
#define COLUMNS (sizeof(columns) / sizeof(columns[0]))

static const struct {
    const char *title, *metric;
} run_metrics[] = {{"Generator's lag, p99", "lag_p99"},
                   {"Simulated nodes", "sessions"},
                   {"Sessions opened", "session_rate"},
                   {"Session opening, p99", "session_open_p99"},
                   {"Sessions lost", "sessions_lost"},
                   {"Submit to lease, p50", "assign_p50"},
                   {"Submit to lease, p99", "assign_p99"},
                   {"Submit to completion, p50", "complete_p50"},
                   {"Submit to completion, p99", "complete_p99"},
                   {"Tasks lost", "lost_tasks"},
                   {"Tasks completed twice", "doubled_tasks"},
                   {"Most users at one time", "users_max"},
                   {"Most connections at one time", "connections_max"}};

/* What there is of the run's own metrics; false when it is nothing to show. */
static bool run_metric(const struct bench_result *result, size_t index, char *ret, size_t size)
{
    double value;
    const char *unit;
    bool is_of_nodes = index >= 1 && index <= 10;
    if ((is_of_nodes && result->sessions + result->sessions_failed == 0) ||
        bench_metric(result, slice_str(run_metrics[index].metric), &value, &unit) != STATUS_OK) {
        return false;
    }
    if (value == 0 && strcmp(run_metrics[index].metric, "users_max") == 0) {
        return false;
    }
    bench_value_text(value, unit, ret, size);
    return true;
}

static void gate_text(const struct bench_gate_result *gate, char *ret, size_t size)
{
    if (gate->is_known) {
        bench_value_text(gate->measured, gate->unit, ret, size);
    } else {
        snprintf(ret, size, "not measured");
    }
}

static void event_times(const struct bench_event *event, char *ret, size_t size)
{
    char detected[24], recovered[24];
    ret[0] = '\0';
    if (event->fault[0] == '\0') {
        return;
    }
    bench_value_text((double)event->detected_ns, "ns", detected, sizeof(detected));
    bench_value_text((double)event->recovered_ns, "ns", recovered, sizeof(recovered));
    snprintf(ret, size, "%s%s, %s%s", event->detected_ns >= 0 ? "noticed after " : "no request failed",
             event->detected_ns >= 0 ? detected : "",
             event->recovered_ns > 0    ? "as before after "
             : event->recovered_ns == 0 ? "nothing slowed down"
                                        : "not as before within the run",
             event->recovered_ns > 0 ? recovered : "");
}

/* --- terminal --- */

void report_terminal(const struct bench_result *result, bool has_color, struct buf *out)
{
    const char *good = has_color ? PAINT_GREEN : "", *bad = has_color ? PAINT_RED : "",
               *end = has_color ? PAINT_PLAIN : "";
    char name[128], text[128], duration[32];
    bench_value_text((double)result->duration_ns, "ns", duration, sizeof(duration));
    buf_printf(out, "%s%s%s, %s\n\n", result->scenario, result->title[0] != '\0' ? ": " : "", result->title, duration);
    buf_printf(out, "%-28s", "");
    for (size_t i = 0; i < COLUMNS; i++) {
        buf_printf(out, " %11s", columns[i].title);
    }
    buf_append_char(out, '\n');
    for (uint32_t i = 0; i < result->series_count; i++) {
        series_name(&result->series[i], name, sizeof(name));
        buf_printf(out, "%-28.28s", name);
        for (size_t k = 0; k < COLUMNS; k++) {
            series_text(result, &result->series[i], columns[k].metric, text, sizeof(text));
            buf_printf(out, " %11s", text);
        }
        buf_append_char(out, '\n');
    }
    const struct bench_series *all = bench_result_series(result, "", "");
    for (enum bench_error error = 0; all != NULL && error < BENCH_ERROR_COUNT; error++) {
        if (all->counts.errors[error] > 0) {
            buf_printf(out, "%s%" PRIu64 " %s%s\n", bad, all->counts.errors[error], bench_error_name(error), end);
        }
    }
    buf_append_char(out, '\n');
    for (size_t i = 0; i < sizeof(run_metrics) / sizeof(run_metrics[0]); i++) {
        if (run_metric(result, i, text, sizeof(text))) {
            buf_printf(out, "%-30s %s\n", run_metrics[i].title, text);
        }
    }
    for (uint32_t i = 0; i < result->process_count; i++) {
        const struct bench_process *process = &result->processes[i];
        char memory[32];
        bench_value_text((double)process->memory_peak_bytes, "bytes", memory, sizeof(memory));
        buf_printf(out, "%-30s cpu %.0f %% (peak %.0f %%), memory %s\n", process->name, process->cpu_mean_percent,
                   process->cpu_peak_percent, memory);
    }
    for (uint32_t i = 0; i < result->event_count; i++) {
        event_times(&result->events[i], text, sizeof(text));
        if (text[0] != '\0') {
            buf_printf(out, "%-30s at %.2f s, %s\n", result->events[i].what, (double)result->events[i].at_ns / 1e9,
                       text);
        }
    }
    buf_append_char(out, '\n');
    for (uint32_t i = 0; i < result->gate_count; i++) {
        gate_text(&result->gates[i], text, sizeof(text));
        buf_printf(out, "%s%s%s  %s (%s)\n", result->gates[i].is_met ? good : bad,
                   result->gates[i].is_met ? "met   " : "MISSED", end, result->gates[i].text, text);
    }
    buf_printf(out, "%s%s%s%s%s\n", result->verdict == BENCH_PASS ? good : bad, verdict_sentence(result), end,
               result->invalid_why[0] != '\0' ? " " : "", result->invalid_why);
}

/* --- Markdown --- */

/* Text inside of a table: a bar would end the cell. */
static void cell(struct buf *out, const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '|' || *text == '\\') {
            buf_append_char(out, '\\');
        }
        buf_append_char(out, *text == '\n' ? ' ' : *text);
    }
}

static void markdown_series(const struct bench_result *result, struct buf *out)
{
    char text[64], name[128];
    buf_append_str(out, "\n## Requests\n\n| what |");
    for (size_t i = 0; i < COLUMNS; i++) {
        buf_printf(out, " %s |", columns[i].title);
    }
    buf_append_str(out, "\n|---|");
    for (size_t i = 0; i < COLUMNS; i++) {
        buf_append_str(out, "---:|");
    }
    buf_append_char(out, '\n');
    for (uint32_t i = 0; i < result->series_count; i++) {
        series_name(&result->series[i], name, sizeof(name));
        buf_append_str(out, "| ");
        cell(out, name);
        buf_append_str(out, " |");
        for (size_t k = 0; k < COLUMNS; k++) {
            series_text(result, &result->series[i], columns[k].metric, text, sizeof(text));
            buf_printf(out, " %s |", text);
        }
        buf_append_char(out, '\n');
    }
    buf_append_str(out,
                   "\nLatency counts from the moment a request was meant to be sent; service time from when it was.\n");
    const struct bench_series *all = bench_result_series(result, "", "");
    bool is_first = true;
    for (enum bench_error error = 0; all != NULL && error < BENCH_ERROR_COUNT; error++) {
        if (all->counts.errors[error] == 0) {
            continue;
        }
        buf_printf(out, "%s| %s | %" PRIu64 " |\n", is_first ? "\n| error | requests |\n|---|---:|\n" : "",
                   bench_error_name(error), all->counts.errors[error]);
        is_first = false;
    }
}

static void markdown_rest(const struct bench_result *result, struct buf *out)
{
    char text[128], peak[32];
    buf_append_str(out, "\n## The run\n\n| what | value |\n|---|---:|\n");
    for (size_t i = 0; i < sizeof(run_metrics) / sizeof(run_metrics[0]); i++) {
        if (run_metric(result, i, text, sizeof(text))) {
            buf_printf(out, "| %s | %s |\n", run_metrics[i].title, text);
        }
    }
    buf_append_str(
        out, "\n## Processes\n\n| process | cpu | cpu at most | memory | memory at most | growth an hour (95 %) |\n"
             "|---|---:|---:|---:|---:|---:|\n");
    for (uint32_t i = 0; i < result->process_count; i++) {
        const struct bench_process *process = &result->processes[i];
        char low[32] = "-", high[32] = "-";
        bench_value_text((double)process->memory_mean_bytes, "bytes", text, sizeof(text));
        bench_value_text((double)process->memory_peak_bytes, "bytes", peak, sizeof(peak));
        if (process->leak_low != 0 || process->leak_high != 0) {
            bench_value_text(process->leak_low, "bytes", low, sizeof(low));
            bench_value_text(process->leak_high, "bytes", high, sizeof(high));
        }
        buf_append_str(out, "| ");
        cell(out, process->name);
        buf_printf(out, " | %.0f %% | %.0f %% | %s | %s | %s to %s |\n", process->cpu_mean_percent,
                   process->cpu_peak_percent, text, peak, low, high);
    }
    if (result->event_count > 0) {
        buf_append_str(out, "\n## Events\n\n| at | what | |\n|---:|---|---|\n");
    }
    for (uint32_t i = 0; i < result->event_count; i++) {
        event_times(&result->events[i], text, sizeof(text));
        buf_printf(out, "| %.2f s | ", (double)result->events[i].at_ns / 1e9);
        cell(out, result->events[i].what);
        buf_printf(out, " | %s |\n", text);
    }
}

void report_markdown(const struct report_context *context, const struct bench_result *result, struct buf *out)
{
    char started[TIME_TEXT_SIZE], text[64];
    const struct report_machine *machine = report_machine();
    time_format(result->started_wall_ns, started);
    buf_printf(out, "# %s\n\n", result->title[0] != '\0' ? result->title : result->scenario);
    buf_printf(out, "**%s** %s\n\n", verdict_sentence(result), result->invalid_why);
    bench_value_text((double)result->duration_ns, "ns", text, sizeof(text));
    buf_printf(out, "Scenario `%s`, seed %" PRIu64 ", began %s, took %s", result->scenario, result->seed, started,
               text);
    if (context->time_scale > 0 && context->time_scale != 1) {
        buf_printf(out, "; times scaled by %g", context->time_scale);
    }
    bench_value_text((double)machine->memory_bytes, "bytes", text, sizeof(text));
    buf_printf(out, ".\nOn %s, %" PRIu32 " cores, %s memory, %s; shoal " SHOAL_VERSION " (%s).\n", machine->cpu,
               machine->cores, text, machine->kernel, report_commit());
    if (result->gate_count > 0) {
        buf_append_str(out, "\n## Gates\n\n| gate | measured | |\n|---|---:|---|\n");
    }
    for (uint32_t i = 0; i < result->gate_count; i++) {
        gate_text(&result->gates[i], text, sizeof(text));
        buf_append_str(out, "| ");
        cell(out, result->gates[i].text);
        buf_printf(out, " | %s | %s |\n", text, result->gates[i].is_met ? "met" : "**missed**");
    }
    markdown_series(result, out);
    markdown_rest(result, out);
    if (context->scenario != NULL && context->scenario->source.len > 0) {
        buf_append_str(out, "\n## Scenario\n\n```\n");
        buf_append_slice(out, buf_slice(&context->scenario->source));
        if (context->scenario->source.data[context->scenario->source.len - 1] != '\n') {
            buf_append_char(out, '\n');
        }
        buf_append_str(out, "```\n");
    }
}

/* --- JUnit --- */

static void xml(struct buf *out, const char *text)
{
    report_markup(out, text, false);
}

void report_junit(const struct bench_result *result, struct buf *out)
{
    uint32_t failures = 0;
    bool is_error = result->verdict == BENCH_INVALID || result->verdict == BENCH_INTERRUPTED;
    char text[64];
    for (uint32_t i = 0; i < result->gate_count; i++) {
        failures += !result->gates[i].is_met;
    }
    buf_append_str(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n<testsuite name=\"");
    xml(out, result->scenario);
    buf_printf(out, "\" tests=\"%" PRIu32 "\" failures=\"%" PRIu32 "\" errors=\"%d\" time=\"%.3f\">\n",
               result->gate_count + 1, failures, is_error ? 1 : 0, (double)result->duration_ns / 1e9);
    buf_append_str(out, "<testcase classname=\"");
    xml(out, result->scenario);
    buf_append_str(out, "\" name=\"the run is valid\"");
    if (is_error) {
        buf_append_str(out, "><error message=\"");
        xml(out, verdict_sentence(result));
        buf_append_str(out, "\">");
        xml(out, result->invalid_why);
        buf_append_str(out, "</error></testcase>\n");
    } else {
        buf_append_str(out, "/>\n");
    }
    for (uint32_t i = 0; i < result->gate_count; i++) {
        const struct bench_gate_result *gate = &result->gates[i];
        buf_append_str(out, "<testcase classname=\"");
        xml(out, result->scenario);
        buf_append_str(out, "\" name=\"");
        xml(out, gate->text);
        buf_append_str(out, "\"");
        if (gate->is_met) {
            buf_append_str(out, "/>\n");
            continue;
        }
        gate_text(gate, text, sizeof(text));
        buf_append_str(out, "><failure message=\"");
        xml(out, gate->text);
        buf_append_str(out, "\">measured: ");
        xml(out, text);
        buf_append_str(out, "</failure></testcase>\n");
    }
    buf_append_str(out, "</testsuite>\n</testsuites>\n");
}

/* --- Prometheus text format 0.0.4 --- */

static void label(struct buf *out, const char *name, const char *text)
{
    buf_printf(out, "%s=\"", name);
    for (; *text != '\0'; text++) {
        if (*text == '"' || *text == '\\') {
            buf_append_char(out, '\\');
        }
        if (*text == '\n') {
            buf_append_str(out, "\\n");
        } else {
            buf_append_char(out, *text);
        }
    }
    buf_append_char(out, '"');
}

static void series_labels(struct buf *out, const struct bench_result *result, const struct bench_series *series)
{
    buf_append_char(out, '{');
    label(out, "scenario", result->scenario);
    buf_append_char(out, ',');
    label(out, "phase", series->phase);
    buf_append_char(out, ',');
    label(out, "step", series->step);
}

static void family(struct buf *out, const char *name, const char *type, const char *help)
{
    buf_printf(out, "# HELP shoal_bench_%s %s\n# TYPE shoal_bench_%s %s\n", name, help, name, type);
}

static void prometheus_requests(const struct bench_result *result, struct buf *out)
{
    static const char *const outcomes[] = {"ok", "failed", "timed_out", "shed", "in_flight"};
    family(out, "requests_total", "counter", "Requests by how they ended.");
    for (uint32_t i = 0; i < result->series_count; i++) {
        const struct bench_counts *counts = &result->series[i].counts;
        const uint64_t values[] = {counts->ok, counts->failed, counts->timed_out, counts->shed, counts->in_flight};
        for (size_t k = 0; k < sizeof(values) / sizeof(values[0]); k++) {
            buf_append_str(out, "shoal_bench_requests_total");
            series_labels(out, result, &result->series[i]);
            buf_printf(out, ",outcome=\"%s\"} %" PRIu64 "\n", outcomes[k], values[k]);
        }
    }
    static const struct {
        const char *name, *help;
        bool is_service;
    } summaries[] = {{"latency_seconds", "Latency from the intended send.", false},
                     {"service_seconds", "Service time from the real send.", true}};
    static const struct {
        const char *text;
        double percent;
    } quantiles[] = {{"0.5", 50}, {"0.9", 90}, {"0.95", 95}, {"0.99", 99}, {"0.999", 99.9}};
    for (size_t s = 0; s < 2; s++) {
        family(out, summaries[s].name, "summary", summaries[s].help);
        for (uint32_t i = 0; i < result->series_count; i++) {
            const struct bench_series *series = &result->series[i];
            const struct histogram *histogram = summaries[s].is_service ? series->service : series->latency;
            if (histogram == NULL || histogram_count(histogram) == 0) {
                continue;
            }
            for (size_t k = 0; k < sizeof(quantiles) / sizeof(quantiles[0]); k++) {
                buf_printf(out, "shoal_bench_%s", summaries[s].name);
                series_labels(out, result, series);
                buf_printf(out, ",quantile=\"%s\"} %.9f\n", quantiles[k].text,
                           (double)histogram_percentile(histogram, quantiles[k].percent) / 1e9);
            }
            buf_printf(out, "shoal_bench_%s_sum", summaries[s].name);
            series_labels(out, result, series);
            buf_printf(out, "} %.9f\nshoal_bench_%s_count",
                       histogram_mean(histogram) * (double)histogram_count(histogram) / 1e9, summaries[s].name);
            series_labels(out, result, series);
            buf_printf(out, "} %" PRIu64 "\n", histogram_count(histogram));
        }
    }
}

void report_prometheus(const struct bench_result *result, struct buf *out)
{
    prometheus_requests(result, out);
    family(out, "duration_seconds", "gauge", "How long the run took.");
    buf_append_str(out, "shoal_bench_duration_seconds{");
    label(out, "scenario", result->scenario);
    buf_printf(out, "} %.3f\n", (double)result->duration_ns / 1e9);
    family(out, "verdict", "gauge", "1 for the verdict of the run.");
    for (enum bench_verdict verdict = BENCH_PASS; verdict <= BENCH_INTERRUPTED; verdict++) {
        buf_append_str(out, "shoal_bench_verdict{");
        label(out, "scenario", result->scenario);
        buf_printf(out, ",verdict=\"%s\"} %d\n", report_verdict_name(verdict), verdict == result->verdict);
    }
    if (result->gate_count > 0) {
        family(out, "gate_met", "gauge", "1 when the gate is met.");
    }
    for (uint32_t i = 0; i < result->gate_count; i++) {
        buf_append_str(out, "shoal_bench_gate_met{");
        label(out, "scenario", result->scenario);
        buf_append_char(out, ',');
        label(out, "gate", result->gates[i].text);
        buf_printf(out, "} %d\n", result->gates[i].is_met);
    }
    if (result->process_count > 0) {
        family(out, "process_cpu_percent", "gauge", "Processor time of a process, of one core, on average.");
    }
    for (uint32_t i = 0; i < result->process_count; i++) {
        buf_append_str(out, "shoal_bench_process_cpu_percent{");
        label(out, "scenario", result->scenario);
        buf_append_char(out, ',');
        label(out, "process", result->processes[i].name);
        buf_printf(out, "} %.3f\n", result->processes[i].cpu_mean_percent);
    }
    if (result->process_count > 0) {
        family(out, "process_memory_peak_bytes", "gauge", "Resident memory of a process at most.");
    }
    for (uint32_t i = 0; i < result->process_count; i++) {
        buf_append_str(out, "shoal_bench_process_memory_peak_bytes{");
        label(out, "scenario", result->scenario);
        buf_append_char(out, ',');
        label(out, "process", result->processes[i].name);
        buf_printf(out, "} %" PRIu64 "\n", result->processes[i].memory_peak_bytes);
    }
}
