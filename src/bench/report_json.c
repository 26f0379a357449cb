/* report_json.c - a result as JSON, so that nothing is lost: report_read.c reads all of it back.
 *
 * Times are whole nanoseconds, shares are percent, sizes bytes; a name ends in its unit. What was not measured is null. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "base/json.h"
#include "base/timefmt.h"
#include "base/version.h"
#include "bench/report.h"

static void key(struct buf *out, const char *name)
{
    buf_printf(out, "\"%s\":", name);
}

static void text(struct buf *out, const char *name, const char *value)
{
    key(out, name);
    json_write_str(out, slice_str(value));
}

static void number(struct buf *out, const char *name, double value)
{
    key(out, name);
    json_write_double(out, value);
}

static void counts_json(const struct bench_counts *counts, struct buf *out)
{
    buf_printf(out,
               "{\"scheduled\":%" PRIu64 ",\"ok\":%" PRIu64 ",\"failed\":%" PRIu64 ",\"timed_out\":%" PRIu64
               ",\"shed\":%" PRIu64 ",\"in_flight\":%" PRIu64 ",\"bytes_out\":%" PRIu64 ",\"bytes_in\":%" PRIu64
               ",\"connects\":%" PRIu64 ",\"errors\":{",
               counts->scheduled, counts->ok, counts->failed, counts->timed_out, counts->shed, counts->in_flight,
               counts->bytes_out, counts->bytes_in, counts->connects);
    const char *comma = "";
    for (enum bench_error error = 0; error < BENCH_ERROR_COUNT; error++) {
        if (counts->errors[error] > 0) {
            buf_printf(out, "%s\"%s\":%" PRIu64, comma, bench_error_name(error), counts->errors[error]);
            comma = ",";
        }
    }
    buf_append_str(out, "}}");
}

/* The percentiles that people ask for; histograms.json has them all. */
static void summary_json(const struct histogram *histogram, struct buf *out)
{
    if (histogram == NULL || histogram_count(histogram) == 0) {
        buf_append_str(out, "null");
        return;
    }
    buf_printf(out,
               "{\"count\":%" PRIu64 ",\"clamped\":%" PRIu64 ",\"min_ns\":%" PRId64
               ",\"mean_ns\":%.0f,\"stddev_ns\":%.0f",
               histogram_count(histogram), histogram_clamped(histogram), histogram_min(histogram),
               histogram_mean(histogram), histogram_stddev(histogram));
    static const struct {
        const char *name;
        double percent;
    } wanted[] = {{"p50", 50}, {"p75", 75}, {"p90", 90}, {"p95", 95}, {"p99", 99}, {"p99_9", 99.9}, {"p99_99", 99.99}};
    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
        buf_printf(out, ",\"%s_ns\":%" PRId64, wanted[i].name, histogram_percentile(histogram, wanted[i].percent));
    }
    buf_printf(out, ",\"max_ns\":%" PRId64 "}", histogram_max(histogram));
}

static void machine_json(struct buf *out)
{
    const struct report_machine *machine = report_machine();
    buf_append_str(out, "\"machine\":{");
    text(out, "cpu", machine->cpu);
    buf_printf(out, ",\"cores\":%" PRIu32 ",\"memory_bytes\":%" PRIu64 ",", machine->cores, machine->memory_bytes);
    text(out, "kernel", machine->kernel);
    buf_append_str(out, ",");
    text(out, "host", machine->host);
    buf_append_str(out, "},\"build\":{");
    text(out, "version", SHOAL_VERSION);
    buf_append_str(out, ",");
    text(out, "commit", report_commit());
    buf_append_str(out, ",");
    text(out, "compiler", __VERSION__);
    buf_printf(out, ",\"is_optimized\":%s}",
#ifdef __OPTIMIZE__
               "true"
#else
               "false"
#endif
    );
}

static void starts_json(const struct scenario *scenario, struct buf *out)
{
    static const char *const kinds[] = {
        [START_HUB] = "hub", [START_NODE] = "node", [START_PROXY] = "proxy", [START_EXEC] = "exec"};
    buf_append_str(out, "\"started\":[");
    for (uint32_t i = 0; i < scenario->start_count; i++) {
        const struct scenario_start *start = &scenario->starts[i];
        buf_append_str(out, i > 0 ? ",{" : "{");
        text(out, "kind", kinds[start->kind]);
        buf_append_str(out, ",");
        text(out, "name", start->name);
        buf_printf(out, ",\"count\":%" PRIu32 ",\"disk_bytes\":%" PRIu64 ",\"memory_bytes\":%" PRIu64 ",\"settings\":[",
                   start->count, start->disk_bytes, start->memory_bytes);
        for (uint32_t k = 0; k < start->setting_count; k++) {
            buf_append_str(out, k > 0 ? "," : "");
            json_write_str(out, slice_str(start->settings[k]));
        }
        buf_append_str(out, "]}");
    }
    buf_append_str(out, "]");
}

static void context_json(const struct report_context *context, struct buf *out)
{
    const struct scenario *scenario = context->scenario;
    buf_append_str(out, "\"defines\":[");
    for (const char *const *define = context->defines; define != NULL && *define != NULL; define++) {
        buf_append_str(out, define > context->defines ? "," : "");
        json_write_str(out, slice_str(*define));
    }
    buf_append_str(out, "],");
    number(out, "time_scale", context->time_scale > 0 ? context->time_scale : 1);
    buf_append_str(out, ",\"settings\":");
    if (scenario == NULL) {
        buf_append_str(out, "null,\"source\":null");
        return;
    }
    buf_append_str(out, "{");
    text(out, "target", scenario->target);
    buf_printf(out, ",\"connections\":%" PRIu32 ",\"timeout_ns\":%" PRId64 ",", scenario->connections,
               scenario->timeout_ns);
    starts_json(scenario, out);
    buf_append_str(out, "},");
    key(out, "source");
    json_write_str(out, buf_slice(&scenario->source));
}

static void phases_json(const struct report_context *context, const struct bench_result *result, struct buf *out)
{
    static const char *const models[] = {
        [SCENARIO_OPEN] = "open", [SCENARIO_USERS] = "users", [SCENARIO_IDLE] = "idle"};
    const char *comma = "";
    buf_append_str(out, "\"phases\":[");
    for (uint32_t i = 0; context->scenario != NULL && i < context->scenario->phase_count; i++) {
        const struct scenario_phase *phase = &context->scenario->phases[i];
        const struct bench_series *series = bench_result_series(result, phase->name, "");
        buf_printf(out, "%s{", comma);
        text(out, "name", phase->name);
        buf_append_str(out, ",");
        text(out, "model", models[phase->model]);
        buf_printf(out, ",\"is_discarded\":%s,\"begin_ns\":%" PRId64 ",\"end_ns\":%" PRId64 "}",
                   phase->is_discarded ? "true" : "false", series != NULL ? series->begin_ns : -1,
                   series != NULL ? series->end_ns : -1);
        comma = ",";
    }
    buf_append_str(out, "]");
}

static void series_json(const struct bench_result *result, struct buf *out)
{
    buf_append_str(out, "\"series\":[");
    for (uint32_t i = 0; i < result->series_count; i++) {
        const struct bench_series *series = &result->series[i];
        buf_append_str(out, i > 0 ? ",\n{" : "\n{");
        text(out, "phase", series->phase);
        buf_append_str(out, ",");
        text(out, "step", series->step);
        buf_printf(out, ",\"begin_ns\":%" PRId64 ",\"end_ns\":%" PRId64 ",\"items\":%" PRIu64 ",\"counts\":",
                   series->begin_ns, series->end_ns, series->items);
        counts_json(&series->counts, out);
        buf_append_str(out, ",\"latency\":");
        summary_json(series->latency, out);
        buf_append_str(out, ",\"service\":");
        summary_json(series->service, out);
        buf_append_str(out, "}");
    }
    buf_append_str(out, "]");
}

static void totals_json(const struct bench_result *result, struct buf *out)
{
    buf_printf(out,
               "\"totals\":{\"iterations\":%" PRIu64 ",\"users_max\":%" PRIu32 ",\"connections_max\":%" PRIu32
               ",\"sessions\":%" PRIu64 ",\"sessions_failed\":%" PRIu64 ",\"sessions_lost\":%" PRIu64
               ",\"sessions_open_ns\":%" PRId64 ",\"lost_tasks\":%" PRIu64 ",\"doubled_tasks\":%" PRIu64
               ",\"memory_total_bytes\":%" PRIu64 ",\"cores\":%" PRIu32 ",\"evenness_percent\":",
               result->iterations, result->users_max, result->connections_max, result->sessions,
               result->sessions_failed, result->sessions_lost, result->sessions_open_ns, result->lost_tasks,
               result->doubled_tasks, result->memory_total_bytes, result->cores);
    json_write_double(out, result->evenness_percent);
    buf_append_str(out, ",\"lag\":");
    summary_json(result->lag, out);
    buf_append_str(out, ",\"assign\":");
    summary_json(result->assign, out);
    buf_append_str(out, ",\"complete\":");
    summary_json(result->complete, out);
    buf_append_str(out, ",\"session_open\":");
    summary_json(result->session_open, out);
    buf_append_str(out, "}");
}

static void processes_json(const struct bench_result *result, struct buf *out)
{
    buf_append_str(out, "\"processes\":[");
    for (uint32_t i = 0; i < result->process_count; i++) {
        const struct bench_process *process = &result->processes[i];
        buf_append_str(out, i > 0 ? ",\n{" : "\n{");
        text(out, "name", process->name);
        buf_printf(out, ",\"pid\":%d,", process->pid);
        number(out, "cpu_mean_percent", process->cpu_mean_percent);
        buf_append_str(out, ",");
        number(out, "cpu_peak_percent", process->cpu_peak_percent);
        buf_printf(out,
                   ",\"memory_mean_bytes\":%" PRIu64 ",\"memory_peak_bytes\":%" PRIu64 ",\"memory_end_bytes\":%" PRIu64
                   ",",
                   process->memory_mean_bytes, process->memory_peak_bytes, process->memory_end_bytes);
        number(out, "leak_bytes_per_hour", process->leak_bytes_per_hour);
        buf_append_str(out, ",");
        number(out, "leak_low", process->leak_low);
        buf_append_str(out, ",");
        number(out, "leak_high", process->leak_high);
        buf_append_str(out, "}");
    }
    buf_append_str(out, "]");
}

static void time_or_null(struct buf *out, const char *name, int64_t value_ns)
{
    if (value_ns >= 0) {
        buf_printf(out, ",\"%s\":%" PRId64, name, value_ns);
    } else {
        buf_printf(out, ",\"%s\":null", name);
    }
}

static void events_json(const struct bench_result *result, struct buf *out)
{
    buf_append_str(out, "\"events\":[");
    for (uint32_t i = 0; i < result->event_count; i++) {
        const struct bench_event *event = &result->events[i];
        buf_printf(out, "%s{\"at_ns\":%" PRId64 ",", i > 0 ? ",\n" : "\n", event->at_ns);
        text(out, "what", event->what);
        buf_append_str(out, ",");
        text(out, "fault", event->fault);
        time_or_null(out, "detected_ns", event->detected_ns);
        time_or_null(out, "recovered_ns", event->recovered_ns);
        buf_append_str(out, "}");
    }
    buf_append_str(out, "]");
}

static void gates_json(const struct bench_result *result, struct buf *out)
{
    buf_append_str(out, "\"gates\":[");
    for (uint32_t i = 0; i < result->gate_count; i++) {
        const struct bench_gate_result *gate = &result->gates[i];
        buf_append_str(out, i > 0 ? ",\n{" : "\n{");
        text(out, "text", gate->text);
        buf_printf(out, ",\"is_met\":%s,\"is_known\":%s,", gate->is_met ? "true" : "false",
                   gate->is_known ? "true" : "false");
        /* A fault that was never recovered from is known, and null. */
        number(out, "measured", gate->is_known ? gate->measured : NAN);
        buf_append_str(out, ",");
        number(out, "wanted", gate->wanted);
        buf_append_str(out, ",");
        text(out, "unit", gate->unit);
        buf_append_str(out, "}");
    }
    buf_append_str(out, "]");
}

void report_json(const struct report_context *context, const struct bench_result *result, struct buf *out)
{
    char started[TIME_TEXT_SIZE];
    time_format(result->started_wall_ns, started);
    buf_append_str(out, "{\"schema\":\"" REPORT_SCHEMA "\",\n");
    text(out, "scenario", result->scenario);
    buf_append_str(out, ",");
    text(out, "title", result->title);
    buf_append_str(out, ",");
    text(out, "verdict", report_verdict_name(result->verdict));
    buf_append_str(out, ",");
    text(out, "invalid_why", result->invalid_why);
    buf_append_str(out, ",\n");
    text(out, "started", started);
    buf_printf(out, ",\"started_wall_ns\":%" PRId64 ",\"duration_ns\":%" PRId64 ",\"seed\":%" PRIu64 ",\n",
               result->started_wall_ns, result->duration_ns, result->seed);
    machine_json(out);
    buf_append_str(out, ",\n");
    context_json(context, out);
    buf_append_str(out, ",\n");
    gates_json(result, out);
    buf_append_str(out, ",\n");
    phases_json(context, result, out);
    buf_append_str(out, ",\n");
    series_json(result, out);
    buf_append_str(out, ",\n");
    totals_json(result, out);
    buf_append_str(out, ",\n");
    processes_json(result, out);
    buf_append_str(out, ",\n");
    events_json(result, out);
    buf_append_str(out, "}\n");
}

void report_series(const struct bench_result *result, struct buf *out)
{
    for (uint32_t i = 0; i < result->second_count; i++) {
        const struct bench_second *second = &result->seconds[i];
        buf_printf(out, "{\"second\":%" PRIu32 ",\"items\":%" PRIu64 ",\"rate_meant\":", second->second, second->items);
        json_write_double(out, second->rate_meant);
        buf_printf(out,
                   ",\"p50_ns\":%" PRId64 ",\"p95_ns\":%" PRId64 ",\"p99_ns\":%" PRId64 ",\"max_ns\":%" PRId64
                   ",\"lag_max_ns\":%" PRId64 ",\"counts\":",
                   second->p50_ns, second->p95_ns, second->p99_ns, second->max_ns, second->lag_max_ns);
        counts_json(&second->counts, out);
        buf_append_str(out, "}\n");
    }
}

void report_samples(const struct bench_result *result, struct buf *out)
{
    for (uint32_t i = 0; i < result->sample_count; i++) {
        const struct bench_sample *sample = &result->samples[i];
        buf_printf(out, "{\"second\":%" PRIu32 ",", sample->second);
        text(out, "process", sample->process < result->process_count ? result->processes[sample->process].name : "");
        buf_append_str(out, ",");
        number(out, "cpu_percent", sample->cpu_percent);
        buf_printf(out,
                   ",\"memory_bytes\":%" PRIu64 ",\"descriptors\":%" PRIu64 ",\"threads\":%" PRIu64
                   ",\"disk_read_bytes\":%" PRIu64 ",\"disk_written_bytes\":%" PRIu64 ",\"net_in_bytes\":%" PRIu64
                   ",\"net_out_bytes\":%" PRIu64 "}\n",
                   sample->memory_bytes, sample->descriptors, sample->threads, sample->disk_read_bytes,
                   sample->disk_written_bytes, sample->net_in_bytes, sample->net_out_bytes);
    }
    for (uint32_t i = 0; i < result->scrape_count; i++) {
        const struct bench_scrape *scrape = &result->scrapes[i];
        for (uint32_t k = 0; k < scrape->count; k++) {
            buf_printf(out, "{\"second\":%" PRIu32 ",", scrape->seconds[k]);
            text(out, "scrape", scrape->name);
            buf_append_str(out, ",");
            number(out, "value", scrape->values[k]);
            buf_append_str(out, "}\n");
        }
    }
}

static void histogram_member(struct buf *out, const char *name, const struct histogram *histogram)
{
    key(out, name);
    if (histogram == NULL || histogram_count(histogram) == 0) {
        buf_append_str(out, "null");
    } else {
        histogram_write_json(histogram, out);
    }
}

void report_histograms(const struct bench_result *result, struct buf *out)
{
    buf_append_str(out, "{\"schema\":\"" REPORT_SCHEMA "\",\n\"series\":[");
    for (uint32_t i = 0; i < result->series_count; i++) {
        const struct bench_series *series = &result->series[i];
        buf_append_str(out, i > 0 ? ",\n{" : "\n{");
        text(out, "phase", series->phase);
        buf_append_str(out, ",");
        text(out, "step", series->step);
        buf_append_str(out, ",");
        histogram_member(out, "latency", series->latency);
        buf_append_str(out, ",");
        histogram_member(out, "service", series->service);
        buf_append_str(out, ",");
        histogram_member(out, "assign", series->assign);
        buf_append_str(out, ",");
        histogram_member(out, "complete", series->complete);
        buf_append_str(out, "}");
    }
    buf_append_str(out, "],\n");
    histogram_member(out, "lag", result->lag);
    buf_append_str(out, ",\n");
    histogram_member(out, "assign", result->assign);
    buf_append_str(out, ",\n");
    histogram_member(out, "complete", result->complete);
    buf_append_str(out, ",\n");
    histogram_member(out, "session_open", result->session_open);
    buf_append_str(out, "}\n");
}
