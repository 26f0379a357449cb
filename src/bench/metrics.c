/* metrics.c - a name becomes a number.
 *
 * A name is taken apart once (struct query): which line of metrics.def, which percentile, and of what. Requests are
 * answered from the series that the engine kept (exact, with histograms), or over a window from the seconds of the run.
 * What processes and /metrics are asked for always comes from their samples, where a phase or a window is an
 * interval of seconds. */
#include "bench/metrics.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/words.h"

enum scope { SERIES, ERROR, PROCESS, SCRAPE, FAULT, PHASE, WITHIN, RUN };

enum id {
#define METRIC(id, name, unit, scope, help) M_##id,
#define FAMILY(id, prefix, scope, help) M_##id,
#include "bench/metrics.def"
#undef METRIC
#undef FAMILY
};

struct metric {
    const char *name; /* of a family: what stands before pNN, min, … */
    const char *unit;
    enum scope scope;
    bool is_family;
    const char *help;
};

static const struct metric metrics[] = {
#define METRIC(id, name, unit, scope, help) {name, unit, scope, false, help},
#define FAMILY(id, prefix, scope, help) {prefix, "ns", scope, true, help},
#include "bench/metrics.def"
#undef METRIC
#undef FAMILY
};

enum form { FORM_PLAIN, FORM_PERCENTILE, FORM_MIN, FORM_MEAN, FORM_STDDEV, FORM_MAX };

struct query {
    const struct metric *metric;
    enum id id;
    enum form form;
    double percent;
    char of[96];      /* process, fault, class or line of /metrics */
    int64_t limit_ns; /* WITHIN */
    char step[BENCH_NAME_SIZE], phase[BENCH_NAME_SIZE];
    bool has_window;
    bool is_whole;          /* the window is the whole phase */
    int64_t from_ns, to_ns; /* of the run; set by bind_window */
};

/* --- names --- */

static bool copy(struct slice text, char *ret, size_t size)
{
    if (text.len == 0 || text.len >= size) {
        return false;
    }
    memcpy(ret, text.data, text.len);
    ret[text.len] = '\0';
    return true;
}

/* "p99", "p99.9" and "p99_9" (for places where a point has a meaning of its own). */
static bool read_percent(struct slice text, double *ret)
{
    double value = 0, unit = 1;
    bool has_point = false;
    if (text.len < 2 || text.data[0] != 'p' || text.len > 12) {
        return false;
    }
    for (size_t i = 1; i < text.len; i++) {
        char c = text.data[i];
        if ((c == '.' || c == '_') && !has_point && i > 1 && i + 1 < text.len) {
            has_point = true;
        } else if (c >= '0' && c <= '9') {
            unit = has_point ? unit / 10 : 1;
            value = has_point ? value + unit * (c - '0') : value * 10 + (c - '0');
        } else {
            return false;
        }
    }
    *ret = value;
    return value <= 100;
}

static bool read_form(struct slice text, struct query *query)
{
    static const char *const names[] = {
        [FORM_MIN] = "min", [FORM_MEAN] = "mean", [FORM_STDDEV] = "stddev", [FORM_MAX] = "max"};
    for (enum form form = FORM_MIN; form <= FORM_MAX; form++) {
        if (slice_equal_str(text, names[form])) {
            query->form = form;
            return true;
        }
    }
    query->form = FORM_PERCENTILE;
    return read_percent(text, &query->percent);
}

static bool is_dotted(enum scope scope)
{
    return scope == ERROR || scope == PROCESS || scope == SCRAPE || scope == FAULT || scope == WITHIN;
}

/* Whether `name` is of this line of the table; its pieces go into `query`. */
static bool matches(const struct metric *metric, struct slice name, struct query *query)
{
    *query = (struct query){.metric = metric, .id = (enum id)(metric - metrics)};
    size_t len = strlen(metric->name);
    if (metric->scope != RUN && metric->scope != FAULT) {
        const char *at = name.len > 0 ? memrchr(name.data, '@', name.len) : NULL;
        if (at != NULL) {
            struct slice phase = slice_of(at + 1, (size_t)(name.data + name.len - at - 1));
            if (!copy(phase, query->phase, sizeof(query->phase))) {
                return false;
            }
            name.len = (size_t)(at - name.data);
        }
    }
    if (metric->scope == SERIES || metric->scope == ERROR) {
        const char *colon = name.len > 0 ? memchr(name.data, ':', name.len) : NULL;
        if (colon != NULL) {
            struct slice step = slice_of(colon + 1, (size_t)(name.data + name.len - colon - 1));
            if (!copy(step, query->step, sizeof(query->step))) {
                return false;
            }
            name.len = (size_t)(colon - name.data);
        }
    }
    if (name.len < len || memcmp(name.data, metric->name, len) != 0) {
        return false;
    }
    struct slice rest = slice_of(name.data + len, name.len - len);
    if (metric->is_family) {
        return read_form(rest, query);
    }
    if (!is_dotted(metric->scope)) {
        return rest.len == 0;
    }
    return rest.len > 1 && rest.data[0] == '.' &&
           copy(slice_of(rest.data + 1, rest.len - 1), query->of, sizeof(query->of));
}

static enum bench_error error_of(const char *name)
{
    enum bench_error error = 0;
    while (error < BENCH_ERROR_COUNT && strcmp(name, bench_error_name(error)) != 0) {
        error++;
    }
    return error;
}

static bool parse(struct slice name, struct query *query)
{
    for (size_t i = 0; i < ARRAY_COUNT(metrics); i++) {
        if (matches(&metrics[i], name, query)) {
            return metrics[i].scope == ERROR    ? error_of(query->of) < BENCH_ERROR_COUNT
                   : metrics[i].scope == WITHIN ? words_value(slice_str(query->of), WORDS_TIME, &query->limit_ns)
                                                : true;
        }
    }
    return false;
}

bool bench_metric_is_known(struct slice name, const char **ret_unit)
{
    struct query query;
    if (!parse(name, &query)) {
        return false;
    }
    if (ret_unit != NULL) {
        *ret_unit = query.metric->unit;
    }
    return true;
}

/* Latencies of a second are kept for these only. */
static bool has_second_value(const struct query *query)
{
    if (query->form == FORM_MAX) {
        return query->id == M_LATENCY || query->id == M_LAG;
    }
    return query->id == M_LATENCY && query->form == FORM_PERCENTILE &&
           (query->percent == 50 || query->percent == 95 || query->percent == 99);
}

static bool can_have_window(const struct query *query)
{
    switch (query->metric->scope) {
    case SERIES:
        return query->step[0] == '\0' && query->id != M_DURATION && query->id != M_IN_FLIGHT &&
               (!query->metric->is_family || has_second_value(query));
    case ERROR:
        return query->step[0] == '\0';
    case PROCESS:
        return query->id != M_LEAK && query->id != M_LEAK_LOW && query->id != M_LEAK_HIGH;
    case SCRAPE:
        return true;
    case RUN:
        return query->metric->is_family && has_second_value(query);
    case FAULT:
    case PHASE:
    case WITHIN:
        return false;
    }
    return false;
}

bool bench_metric_has_window(struct slice name)
{
    struct query query;
    return parse(name, &query) && can_have_window(&query);
}

const char *const *bench_metric_words(void)
{
    static const char *const words[] = {
#define METRIC(id, name, unit, scope, help) name,
#define FAMILY(id, prefix, scope, help)                                                                                \
    prefix "p50", prefix "p99", prefix "min", prefix "mean", prefix "stddev", prefix "max",
#include "bench/metrics.def"
#undef METRIC
#undef FAMILY
        NULL};
    return words;
}

/* --- values --- */

static enum status histogram_value(const struct query *query, const struct histogram *histogram, double *ret)
{
    if (histogram == NULL || histogram_count(histogram) == 0) {
        return STATUS_END;
    }
    switch (query->form) {
    case FORM_PERCENTILE:
        *ret = (double)histogram_percentile(histogram, query->percent);
        break;
    case FORM_MIN:
        *ret = (double)histogram_min(histogram);
        break;
    case FORM_MEAN:
        *ret = histogram_mean(histogram);
        break;
    case FORM_STDDEV:
        *ret = histogram_stddev(histogram);
        break;
    case FORM_MAX:
        *ret = (double)histogram_max(histogram);
        break;
    case FORM_PLAIN:
        return STATUS_NOT_FOUND;
    }
    return STATUS_OK;
}

static enum status ratio(double part, double whole, double *ret)
{
    if (!(whole > 0)) {
        return STATUS_END;
    }
    *ret = part / whole;
    return STATUS_OK;
}

static enum status counts_value(const struct query *query, const struct bench_counts *counts, uint64_t items,
                                int64_t duration_ns, double *ret)
{
    double seconds = (double)duration_ns / (double)NS_PER_S;
    double ended = (double)(counts->ok + counts->failed + counts->timed_out);
    double all = ended + (double)counts->shed;
    switch (query->id) {
    case M_RATE:
        return ratio(ended, seconds, ret);
    case M_GOODPUT:
        return ratio((double)counts->ok, seconds, ret);
    case M_MEANT:
        return ratio((double)counts->scheduled, seconds, ret);
    case M_ITEMS:
        return ratio((double)items, seconds, ret);
    case M_BYTES_IN:
        return ratio((double)counts->bytes_in, seconds, ret);
    case M_BYTES_OUT:
        return ratio((double)counts->bytes_out, seconds, ret);
    case M_SUCCESS:
        return ratio(100.0 * (double)counts->ok, all, ret);
    case M_ERRORS:
        return ratio(100.0 * (double)(counts->failed + counts->timed_out), all, ret);
    case M_TIMEOUTS:
        return ratio(100.0 * (double)counts->timed_out, all, ret);
    case M_SHED:
        return ratio(100.0 * (double)counts->shed, all, ret);
    case M_SCHEDULED:
        *ret = (double)counts->scheduled;
        return STATUS_OK;
    case M_OK:
        *ret = (double)counts->ok;
        return STATUS_OK;
    case M_FAILED:
        *ret = (double)counts->failed;
        return STATUS_OK;
    case M_TIMED_OUT:
        *ret = (double)counts->timed_out;
        return STATUS_OK;
    case M_IN_FLIGHT:
        *ret = (double)counts->in_flight;
        return STATUS_OK;
    case M_CONNECTS:
        *ret = (double)counts->connects;
        return STATUS_OK;
    case M_DURATION:
        *ret = (double)duration_ns;
        return STATUS_OK;
    case M_ERROR:
        *ret = (double)counts->errors[error_of(query->of)];
        return STATUS_OK;
    default:
        return STATUS_NOT_FOUND;
    }
}

static enum status series_value(const struct bench_result *result, const struct query *query, double *ret)
{
    const struct bench_series *series = bench_result_series(result, query->phase, query->step);
    if (series == NULL) {
        return STATUS_NOT_FOUND;
    }
    if (query->id == M_LATENCY) {
        return histogram_value(query, series->latency, ret);
    }
    if (query->id == M_SERVICE) {
        return histogram_value(query, series->service, ret);
    }
    return counts_value(query, &series->counts, series->items, series->end_ns - series->begin_ns, ret);
}

/* The whole seconds that lie in the window; a window that is shorter is the second that holds it. */
static void window_seconds(const struct query *query, uint32_t *ret_from, uint32_t *ret_to)
{
    int64_t from = (query->from_ns + NS_PER_S - 1) / NS_PER_S, to = query->to_ns / NS_PER_S;
    if (to <= from) {
        from = query->from_ns / NS_PER_S;
        to = from + 1;
    }
    *ret_from = (uint32_t)from;
    *ret_to = (uint32_t)to;
}

static void add_counts(struct bench_counts *sum, const struct bench_counts *counts)
{
    sum->scheduled += counts->scheduled;
    sum->ok += counts->ok;
    sum->failed += counts->failed;
    sum->timed_out += counts->timed_out;
    sum->shed += counts->shed;
    sum->bytes_out += counts->bytes_out;
    sum->bytes_in += counts->bytes_in;
    sum->connects += counts->connects;
    for (unsigned i = 0; i < BENCH_ERROR_COUNT; i++) {
        sum->errors[i] += counts->errors[i];
    }
}

static double second_latency(const struct query *query, const struct bench_second *second)
{
    if (query->id == M_LAG) {
        return (double)second->lag_max_ns;
    }
    if (query->form == FORM_MAX) {
        return (double)second->max_ns;
    }
    return (double)(query->percent == 50 ? second->p50_ns : query->percent == 95 ? second->p95_ns : second->p99_ns);
}

/* Requests over a window: from the seconds of the run. */
static enum status seconds_value(const struct bench_result *result, const struct query *query, bool is_largest,
                                 double *ret)
{
    uint32_t from, to, count = 0;
    uint64_t items = 0;
    struct bench_counts sum = {0};
    double worst = 0;
    bool has_worst = false;
    window_seconds(query, &from, &to);
    for (uint32_t i = 0; i < result->second_count; i++) {
        const struct bench_second *second = &result->seconds[i];
        if (second->second < from || second->second >= to) {
            continue;
        }
        count++;
        items += second->items;
        add_counts(&sum, &second->counts);
        double value = second_latency(query, second);
        if (query->id == M_LATENCY && second->counts.ok == 0) {
            continue; /* nothing was answered in it: it has no latency */
        }
        if (!has_worst || (is_largest ? value > worst : value < worst)) {
            worst = value;
        }
        has_worst = true;
    }
    if (query->metric->is_family) {
        *ret = worst;
        return has_worst ? STATUS_OK : STATUS_END;
    }
    return count == 0 ? STATUS_END : counts_value(query, &sum, items, (int64_t)count * NS_PER_S, ret);
}

/* --- processes and /metrics --- */

struct usage { /* of the samples of a process within an interval */
    uint32_t count;
    double cpu_sum, cpu_peak, memory_sum, memory_peak, memory_start, memory_end, descriptors, threads;
    double disk_read, disk_written, net_in, net_out;
};

static void add_usage(struct usage *usage, const struct bench_sample *sample)
{
    if (usage->count++ == 0) {
        usage->memory_start = (double)sample->memory_bytes;
    }
    usage->cpu_sum += sample->cpu_percent;
    usage->cpu_peak = fmax(usage->cpu_peak, sample->cpu_percent);
    usage->memory_sum += (double)sample->memory_bytes;
    usage->memory_peak = fmax(usage->memory_peak, (double)sample->memory_bytes);
    usage->memory_end = (double)sample->memory_bytes;
    usage->descriptors = fmax(usage->descriptors, (double)sample->descriptors);
    usage->threads = fmax(usage->threads, (double)sample->threads);
    usage->disk_read += (double)sample->disk_read_bytes;
    usage->disk_written += (double)sample->disk_written_bytes;
    usage->net_in += (double)sample->net_in_bytes;
    usage->net_out += (double)sample->net_out_bytes;
}

static bool is_in_window(const struct query *query, uint32_t second)
{
    uint32_t from, to;
    if (!query->has_window) {
        return true;
    }
    window_seconds(query, &from, &to);
    return second >= from && second < to;
}

/* Goodput of the same interval, for each core. */
static enum status per_core(const struct bench_result *result, const struct query *query, double cpu_percent,
                            double *ret)
{
    struct query asked = {
        .metric = &metrics[M_GOODPUT], .id = M_GOODPUT, .from_ns = query->from_ns, .to_ns = query->to_ns};
    double goodput;
    snprintf(asked.phase, sizeof(asked.phase), "%s", query->phase);
    enum status status = query->has_window && !query->is_whole ? seconds_value(result, &asked, true, &goodput)
                                                               : series_value(result, &asked, &goodput);
    return status == STATUS_OK ? ratio(goodput, cpu_percent / 100.0, ret) : status;
}

static enum status leak_value(const struct bench_process *process, const struct query *query, double *ret)
{
    if (!isfinite(process->leak_bytes_per_hour) || (process->leak_low == 0 && process->leak_high == 0)) {
        return STATUS_END; /* too few samples for a line */
    }
    *ret = query->id == M_LEAK       ? process->leak_bytes_per_hour
           : query->id == M_LEAK_LOW ? process->leak_low
                                     : process->leak_high;
    return STATUS_OK;
}

static enum status process_value(const struct bench_result *result, const struct query *query, double *ret)
{
    uint32_t index = 0;
    while (index < result->process_count && strcmp(result->processes[index].name, query->of) != 0) {
        index++;
    }
    if (index == result->process_count) {
        return STATUS_NOT_FOUND;
    }
    if (query->id == M_LEAK || query->id == M_LEAK_LOW || query->id == M_LEAK_HIGH) {
        return leak_value(&result->processes[index], query, ret);
    }
    struct usage usage = {0};
    for (uint32_t i = 0; i < result->sample_count; i++) {
        if (result->samples[i].process == index && is_in_window(query, result->samples[i].second)) {
            add_usage(&usage, &result->samples[i]);
        }
    }
    if (usage.count == 0) {
        return STATUS_END;
    }
    double count = usage.count;
    switch (query->id) {
    case M_CPU:
        *ret = usage.cpu_sum / count;
        break;
    case M_CPU_PEAK:
        *ret = usage.cpu_peak;
        break;
    case M_CPU_SHARE:
        return ratio(usage.cpu_sum / count, result->cores, ret);
    case M_PER_CORE:
        return per_core(result, query, usage.cpu_sum / count, ret);
    case M_MEMORY:
        *ret = usage.memory_sum / count;
        break;
    case M_MEMORY_PEAK:
        *ret = usage.memory_peak;
        break;
    case M_MEMORY_END:
        *ret = usage.memory_end;
        break;
    case M_MEMORY_START:
        *ret = usage.memory_start;
        break;
    case M_MEMORY_SHARE:
        return ratio(100.0 * usage.memory_peak, (double)result->memory_total_bytes, ret);
    case M_DESCRIPTORS:
        *ret = usage.descriptors;
        break;
    case M_THREADS:
        *ret = usage.threads;
        break;
    case M_DISK_READ:
        *ret = usage.disk_read / count;
        break;
    case M_DISK_WRITTEN:
        *ret = usage.disk_written / count;
        break;
    case M_NET_IN:
        *ret = usage.net_in / count;
        break;
    case M_NET_OUT:
        *ret = usage.net_out / count;
        break;
    default:
        return STATUS_NOT_FOUND;
    }
    return STATUS_OK;
}

static enum status scrape_value(const struct bench_result *result, const struct query *query, double *ret)
{
    uint32_t index = 0;
    while (index < result->scrape_count && strcmp(result->scrapes[index].name, query->of) != 0) {
        index++;
    }
    if (index == result->scrape_count) {
        return STATUS_NOT_FOUND;
    }
    const struct bench_scrape *scrape = &result->scrapes[index];
    double sum = 0, largest = -INFINITY, first = 0, last = 0;
    uint32_t count = 0, first_second = 0, last_second = 0;
    for (uint32_t i = 0; i < scrape->count; i++) {
        if (!is_in_window(query, scrape->seconds[i])) {
            continue;
        }
        last = scrape->values[i];
        last_second = scrape->seconds[i];
        if (count++ == 0) {
            first = last;
            first_second = last_second;
        }
        sum += last;
        largest = fmax(largest, last);
    }
    if (count == 0) {
        return STATUS_END;
    }
    if (query->id == M_SCRAPE_RATE) {
        return last_second == first_second ? STATUS_END : ratio(last - first, last_second - first_second, ret);
    }
    *ret = query->id == M_SCRAPE ? last : query->id == M_SCRAPE_MAX ? largest : sum / count;
    return STATUS_OK;
}

/* --- faults, and the run --- */

static enum status fault_value(const struct bench_result *result, const struct query *query, double *ret)
{
    double worst = -1;
    bool is_found = false;
    for (uint32_t i = 0; i < result->event_count; i++) {
        const struct bench_event *event = &result->events[i];
        if (event->fault[0] == '\0' || strcmp(event->fault, query->of) != 0) {
            continue;
        }
        is_found = true;
        int64_t value_ns = query->id == M_DETECT ? event->detected_ns : event->recovered_ns;
        double value = value_ns >= 0 ? (double)value_ns : query->id == M_RECOVER ? INFINITY : -1;
        worst = fmax(worst, value);
    }
    if (worst >= 0) {
        *ret = worst;
    }
    return worst >= 0 ? STATUS_OK : is_found ? STATUS_END : STATUS_NOT_FOUND;
}

/* Tasks of the run, or of a phase. */
static enum status tasks_value(const struct bench_result *result, const struct query *query, double *ret)
{
    const struct bench_series *series = bench_result_series(result, query->phase, "");
    bool is_assign = query->id == M_ASSIGN || query->id == M_ASSIGN_WITHIN;
    bool is_whole = query->phase[0] == '\0';
    if (!is_whole && series == NULL) {
        return STATUS_NOT_FOUND;
    }
    const struct histogram *histogram =
        is_assign ? (is_whole ? result->assign : series->assign) : (is_whole ? result->complete : series->complete);
    if (query->metric->is_family) {
        return histogram_value(query, histogram, ret);
    }
    if (histogram == NULL || histogram_count(histogram) == 0) {
        return STATUS_END;
    }
    *ret = 100 * histogram_share_within(histogram, query->limit_ns);
    return STATUS_OK;
}

static enum status run_value(const struct bench_result *result, const struct query *query, double *ret)
{
    switch (query->id) {
    case M_LAG:
        return histogram_value(query, result->lag, ret);
    case M_SESSION_OPEN:
        return histogram_value(query, result->session_open, ret);
    case M_SESSION_RATE:
        return ratio((double)result->sessions, (double)result->sessions_open_ns / (double)NS_PER_S, ret);
    case M_SESSIONS:
        *ret = (double)result->sessions;
        break;
    case M_EVENNESS:
        *ret = result->evenness_percent;
        return result->evenness_percent > 0 ? STATUS_OK : STATUS_END;
    case M_SESSIONS_FAILED:
        *ret = (double)result->sessions_failed;
        break;
    case M_SESSIONS_LOST:
        *ret = (double)result->sessions_lost;
        break;
    case M_LOST_TASKS:
        *ret = (double)result->lost_tasks;
        break;
    case M_DOUBLED_TASKS:
        *ret = (double)result->doubled_tasks;
        break;
    case M_ITERATIONS:
        *ret = (double)result->iterations;
        break;
    case M_USERS_MAX:
        *ret = (double)result->users_max;
        break;
    case M_CONNECTIONS_MAX:
        *ret = (double)result->connections_max;
        break;
    default:
        return STATUS_NOT_FOUND;
    }
    return STATUS_OK;
}

/* Sets the interval to that of the query's phase (or the run's), narrowed to what was asked for. */
static enum status bind_window(const struct bench_result *result, struct query *query, int64_t from_ns, int64_t to_ns)
{
    const struct bench_series *phase = bench_result_series(result, query->phase, "");
    if (phase == NULL && query->phase[0] != '\0') {
        return STATUS_NOT_FOUND;
    }
    int64_t begin_ns = query->phase[0] != '\0' ? phase->begin_ns : 0;
    int64_t end_ns = query->phase[0] != '\0' ? phase->end_ns : INT64_C(1) << 61;
    query->from_ns = begin_ns + from_ns;
    query->to_ns = to_ns > 0 && begin_ns + to_ns < end_ns ? begin_ns + to_ns : end_ns;
    query->has_window = true;
    query->is_whole = from_ns == 0 && to_ns == 0 && query->phase[0] != '\0';
    return STATUS_OK;
}

enum status bench_metric(const struct bench_result *result, struct slice name, double *ret_value, const char **ret_unit)
{
    struct query query;
    if (!parse(name, &query)) {
        return STATUS_NOT_FOUND;
    }
    if (ret_unit != NULL) {
        *ret_unit = query.metric->unit;
    }
    enum scope scope = query.metric->scope;
    if ((scope == PROCESS || scope == SCRAPE) && query.phase[0] != '\0') {
        enum status status = bind_window(result, &query, 0, 0);
        if (status != STATUS_OK) {
            return status;
        }
    }
    switch (scope) {
    case SERIES:
    case ERROR:
        return series_value(result, &query, ret_value);
    case PROCESS:
        return process_value(result, &query, ret_value);
    case SCRAPE:
        return scrape_value(result, &query, ret_value);
    case FAULT:
        return fault_value(result, &query, ret_value);
    case PHASE:
    case WITHIN:
        return tasks_value(result, &query, ret_value);
    case RUN:
        return run_value(result, &query, ret_value);
    }
    return STATUS_NOT_FOUND;
}

enum status bench_metric_window(const struct bench_result *result, struct slice name, int64_t from_ns, int64_t to_ns,
                                bool is_largest, double *ret_value, const char **ret_unit)
{
    struct query query;
    if (!parse(name, &query) || !can_have_window(&query)) {
        return STATUS_NOT_FOUND;
    }
    if (ret_unit != NULL) {
        *ret_unit = query.metric->unit;
    }
    enum status status = bind_window(result, &query, from_ns, to_ns);
    if (status != STATUS_OK) {
        return status;
    }
    if (query.metric->scope == PROCESS) {
        return process_value(result, &query, ret_value);
    }
    if (query.metric->scope == SCRAPE) {
        return scrape_value(result, &query, ret_value);
    }
    return seconds_value(result, &query, is_largest, ret_value);
}

/* --- words for people --- */

static void scaled(double value, const char *const *units, const double *sizes, size_t count, char *ret, size_t size)
{
    size_t i = 0;
    while (i + 1 < count && fabs(value) >= sizes[i + 1]) {
        i++;
    }
    double shown = value / sizes[i];
    snprintf(ret, size, "%.*f %s",
             fabs(shown) >= 100 || shown == floor(shown) ? 0
             : fabs(shown) >= 10                         ? 1
                                                         : 2,
             shown, units[i]);
}

void bench_value_text(double value, const char *unit, char *ret, size_t size)
{
    static const char *const times[] = {"ns", "us", "ms", "s", "min", "h"};
    static const double time_sizes[] = {1, 1e3, 1e6, 1e9, 60e9, 3600e9};
    static const char *const bytes[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    static const char *const bytes_s[] = {"B/s", "KiB/s", "MiB/s", "GiB/s", "TiB/s"};
    static const char *const bytes_h[] = {"B/h", "KiB/h", "MiB/h", "GiB/h", "TiB/h"};
    static const double byte_sizes[] = {1, 1024.0, 1048576.0, 1073741824.0, 1099511627776.0};
    if (!isfinite(value)) {
        snprintf(ret, size, "%s", value > 0 ? "never" : "none");
    } else if (strcmp(unit, "ns") == 0) {
        scaled(value, times, time_sizes, ARRAY_COUNT(times), ret, size);
    } else if (strcmp(unit, "bytes") == 0) {
        scaled(value, bytes, byte_sizes, ARRAY_COUNT(bytes), ret, size);
    } else if (strcmp(unit, "B/s") == 0) {
        scaled(value, bytes_s, byte_sizes, ARRAY_COUNT(bytes), ret, size);
    } else if (strcmp(unit, "bytes/h") == 0) {
        scaled(value, bytes_h, byte_sizes, ARRAY_COUNT(bytes), ret, size);
    } else if (strcmp(unit, "%") == 0) {
        snprintf(ret, size, value == floor(value) ? "%.0f %%" : "%.4g %%", value);
    } else {
        snprintf(ret, size, "%.*f%s%s", fabs(value) >= 100 || value == floor(value) ? 0 : 2, value,
                 strcmp(unit, "n") == 0 ? "" : " ", strcmp(unit, "n") == 0 ? "" : unit);
    }
}

static const char *scope_suffix(enum scope scope)
{
    switch (scope) {
    case SERIES:
        return "[:STEP][@PHASE]";
    case ERROR:
        return ".CLASS[:STEP][@PHASE]";
    case PROCESS:
        return ".PROCESS[@PHASE]";
    case SCRAPE:
        return ".LINE[@PHASE]";
    case FAULT:
        return ".FAULT";
    case PHASE:
        return "[@PHASE]";
    case WITHIN:
        return ".DURATION[@PHASE]";
    case RUN:
        return "";
    }
    return "";
}

void bench_metrics_list(struct buf *out, bool is_markdown)
{
    if (is_markdown) {
        buf_append_str(out, "| metric | unit | what it is |\n|---|---|---|\n");
    }
    for (size_t i = 0; i < ARRAY_COUNT(metrics); i++) {
        const struct metric *metric = &metrics[i];
        const char *suffix = scope_suffix(metric->scope);
        static const char *const forms[] = {"pNN", "min", "mean", "stddev", "max"};
        char name[160] = "";
        for (size_t k = 0; k < (metric->is_family ? ARRAY_COUNT(forms) : 1); k++) {
            size_t len = strlen(name);
            snprintf(name + len, sizeof(name) - len, "%s%s%s%s%s", k > 0 ? ", " : "", is_markdown ? "`" : "",
                     metric->name, metric->is_family ? forms[k] : "", k == 0 && is_markdown ? suffix : "");
            len = strlen(name);
            snprintf(name + len, sizeof(name) - len, "%s%s", k == 0 && !is_markdown ? suffix : "",
                     is_markdown ? "`" : "");
        }
        if (is_markdown) {
            buf_printf(out, "| %s | %s | %s |\n", name, metric->unit, metric->help);
        } else if (strlen(name) > 30) {
            buf_printf(out, "%s\n%-30s %-8s %s\n", name, "", metric->unit, metric->help);
        } else {
            buf_printf(out, "%-30s %-8s %s\n", name, metric->unit, metric->help);
        }
    }
}
