/* history.c - past runs in the order of time.
 *
 * Runs of one scenario and title are a series for each metric; change points come from statistics_change.c and are told with the
 * medians of the levels on both sides. Nothing is smoothed, and a run that was invalid says nothing here either. */
#include "bench/history.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/ensure.h"
#include "base/json.h"
#include "base/timefmt.h"
#include "bench/report.h"
#include "bench/statistics.h"

#define DEPTH_MAX 8
#define CHANGES_MAX 32

const char *const history_metrics[HISTORY_METRICS] = {"goodput", "success", "p50", "p99", "cpu.hub", "memory_peak.hub"};

/* --- reading --- */

static enum status add_run(struct history *history, const char *dir)
{
    struct bench_result result;
    char why[1400] = "";
    enum status status = report_read(dir, &result, why, sizeof(why));
    if (status != STATUS_OK) {
        history->unread += status != STATUS_NO_MEMORY;
        bench_result_free(&result);
        return status == STATUS_NO_MEMORY ? status : STATUS_OK;
    }
    struct history_run *run = &history->runs[history->count++];
    snprintf(run->dir, sizeof(run->dir), "%s", dir);
    snprintf(run->scenario, sizeof(run->scenario), "%s", result.scenario);
    snprintf(run->title, sizeof(run->title), "%s", result.title);
    run->started_wall_ns = result.started_wall_ns;
    run->verdict = result.verdict;
    for (size_t i = 0; i < HISTORY_METRICS; i++) {
        if (bench_metric(&result, slice_str(history_metrics[i]), &run->values[i], NULL) != STATUS_OK) {
            run->values[i] = NAN;
        }
    }
    bench_result_free(&result);
    return STATUS_OK;
}

static enum status walk(struct history *history, const char *folder, int depth)
{
    char path[1024];
    struct stat info;
    struct dirent *entry;
    enum status status = STATUS_OK;
    DIR *dir = opendir(folder);
    if (dir == NULL) {
        return depth == 0 ? STATUS_NOT_FOUND : STATUS_OK;
    }
    int len = snprintf(path, sizeof(path), "%s/run.json", folder);
    if (len > 0 && (size_t)len < sizeof(path) && stat(path, &info) == 0 && history->count < HISTORY_RUNS_MAX) {
        status = add_run(history, folder);
    }
    while (status == STATUS_OK && (entry = readdir(dir)) != NULL) {
        len = snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
        bool is_folder = entry->d_name[0] != '.' && len > 0 && (size_t)len < sizeof(path) && lstat(path, &info) == 0 &&
                         S_ISDIR(info.st_mode);
        if (is_folder && depth < DEPTH_MAX) {
            status = walk(history, path, depth + 1);
        }
    }
    closedir(dir);
    return status;
}

static int by_series_and_time(const void *a, const void *b)
{
    const struct history_run *x = a, *y = b;
    int order = strcmp(x->scenario, y->scenario);
    order = order != 0 ? order : strcmp(x->title, y->title);
    return order != 0 ? order : (x->started_wall_ns > y->started_wall_ns) - (x->started_wall_ns < y->started_wall_ns);
}

enum status history_read(const char *folder, struct history *ret_history)
{
    *ret_history = (struct history){.runs = calloc(HISTORY_RUNS_MAX, sizeof(*ret_history->runs))};
    enum status status = ret_history->runs != NULL ? walk(ret_history, folder, 0) : STATUS_NO_MEMORY;
    if (status != STATUS_OK) {
        history_free(ret_history);
        return status;
    }
    qsort(ret_history->runs, ret_history->count, sizeof(*ret_history->runs), by_series_and_time);
    return STATUS_OK;
}

void history_free(struct history *history)
{
    free(history->runs);
    *history = (struct history){0};
}

/* --- series --- */

struct series {
    const char *unit;
    uint32_t count; /* of runs in it */
    double values[HISTORY_RUNS_MAX];
    const struct history_run *runs[HISTORY_RUNS_MAX];
    size_t changes[CHANGES_MAX], change_count;
};

static bool is_counted(const struct history_run *run)
{
    return run->verdict == BENCH_PASS || run->verdict == BENCH_GATE_MISSED;
}

/* The medians of the levels before and behind a change. */
static void levels(const struct series *series, size_t change, double *ret_before, double *ret_after)
{
    static double scratch[HISTORY_RUNS_MAX];
    size_t from = change > 0 ? series->changes[change - 1] : 0, at = series->changes[change];
    size_t to = change + 1 < series->change_count ? series->changes[change + 1] : series->count;
    memcpy(scratch, series->values + from, (at - from) * sizeof(*scratch));
    *ret_before = statistics_median(scratch, at - from);
    memcpy(scratch, series->values + at, (to - at) * sizeof(*scratch));
    *ret_after = statistics_median(scratch, to - at);
}

/* A level that differs by less than is worth a word is none; the two then are one, which may change what is beside it. */
static void drop_small_changes(struct series *series)
{
    for (size_t i = 0; i < series->change_count;) {
        double before, after;
        levels(series, i, &before, &after);
        if (fabs(after - before) >= HISTORY_NOISE * fabs(before)) {
            i++;
            continue;
        }
        series->change_count--;
        memmove(&series->changes[i], &series->changes[i + 1], (series->change_count - i) * sizeof(series->changes[0]));
        i = 0;
    }
}

static void make_series(const struct history_run *runs, uint32_t count, size_t metric, struct series *ret)
{
    ret->count = 0;
    ret->unit = "";
    (void)bench_metric_is_known(slice_str(history_metrics[metric]), &ret->unit);
    for (uint32_t i = 0; i < count; i++) {
        if (is_counted(&runs[i]) && isfinite(runs[i].values[metric])) {
            ret->runs[ret->count] = &runs[i];
            ret->values[ret->count++] = runs[i].values[metric];
        }
    }
    ret->change_count =
        statistics_change_points(ret->values, ret->count, HISTORY_P_MAX, metric + 1, ret->changes, CHANGES_MAX);
    drop_small_changes(ret);
}

static uint32_t group_end(const struct history *history, uint32_t from)
{
    uint32_t to = from + 1;
    while (to < history->count && strcmp(history->runs[to].scenario, history->runs[from].scenario) == 0 &&
           strcmp(history->runs[to].title, history->runs[from].title) == 0) {
        to++;
    }
    return to;
}

static void sparkline(const struct series *series, struct buf *out)
{
    static const char *const bars[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    uint32_t from = series->count > 40 ? series->count - 40 : 0;
    double low = INFINITY, high = -INFINITY;
    for (uint32_t i = from; i < series->count; i++) {
        low = fmin(low, series->values[i]);
        high = fmax(high, series->values[i]);
    }
    for (uint32_t i = from; i < series->count; i++) {
        double share = high > low ? (series->values[i] - low) / (high - low) : 0.5;
        buf_append_str(out, bars[(size_t)(share * 7.999)]);
    }
}

static void write_series_text(const struct series *series, const char *name, struct buf *out)
{
    char first[40], last[40];
    bench_value_text(series->values[0], series->unit, first, sizeof(first));
    bench_value_text(series->values[series->count - 1], series->unit, last, sizeof(last));
    buf_printf(out, "  %-16s %12s -> %-12s ", name, first, last);
    sparkline(series, out);
    buf_append_char(out, '\n');
    for (size_t i = 0; i < series->change_count; i++) {
        char before[40], after[40], when[TIME_TEXT_SIZE];
        double of_before, of_after;
        levels(series, i, &of_before, &of_after);
        bench_value_text(of_before, series->unit, before, sizeof(before));
        bench_value_text(of_after, series->unit, after, sizeof(after));
        time_format(series->runs[series->changes[i]]->started_wall_ns, when);
        buf_printf(out, "    changed from %s to %s (%+.1f %%) with the run of %s, %s\n", before, after,
                   of_before != 0 ? (of_after / of_before - 1) * 100 : 0, when, series->runs[series->changes[i]]->dir);
    }
}

void history_write_text(const struct history *history, struct buf *out)
{
    static struct series series;
    if (history->count == 0) {
        buf_append_str(out, "There are no runs here.\n");
    }
    for (uint32_t from = 0, to; from < history->count; from = to) {
        to = group_end(history, from);
        uint32_t counted = 0;
        for (uint32_t i = from; i < to; i++) {
            counted += is_counted(&history->runs[i]);
        }
        buf_printf(out, "%s: %u runs, of which %u count%s%s\n", history->runs[from].scenario, to - from, counted,
                   history->runs[from].title[0] != '\0' ? ": " : "", history->runs[from].title);
        for (size_t metric = 0; metric < HISTORY_METRICS; metric++) {
            make_series(history->runs + from, to - from, metric, &series);
            if (series.count > 0) {
                write_series_text(&series, history_metrics[metric], out);
            }
        }
    }
    if (history->unread > 0) {
        buf_printf(out, "%u run directories could not be read.\n", history->unread);
    }
}

static void write_series_json(const struct series *series, const char *name, struct buf *out)
{
    buf_printf(out, "{\"metric\":\"%s\",\"unit\":\"%s\",\"values\":[", name, series->unit);
    for (uint32_t i = 0; i < series->count; i++) {
        buf_append_str(out, i > 0 ? "," : "");
        json_write_double(out, series->values[i]);
    }
    buf_append_str(out, "],\"changes\":[");
    for (size_t i = 0; i < series->change_count; i++) {
        double before, after;
        levels(series, i, &before, &after);
        buf_printf(out, "%s{\"index\":%zu,\"run\":", i > 0 ? "," : "", series->changes[i]);
        json_write_str(out, slice_str(series->runs[series->changes[i]]->dir));
        buf_append_str(out, ",\"before\":");
        json_write_double(out, before);
        buf_append_str(out, ",\"after\":");
        json_write_double(out, after);
        buf_append_char(out, '}');
    }
    buf_append_str(out, "]}");
}

void history_write_json(const struct history *history, struct buf *out)
{
    static struct series series;
    buf_printf(out, "{\"schema\":\"shoal-bench-history/1\",\"unread\":%u,\"scenarios\":[", history->unread);
    for (uint32_t from = 0, to; from < history->count; from = to) {
        to = group_end(history, from);
        buf_append_str(out, from > 0 ? ",{\"scenario\":" : "{\"scenario\":");
        json_write_str(out, slice_str(history->runs[from].scenario));
        buf_append_str(out, ",\"title\":");
        json_write_str(out, slice_str(history->runs[from].title));
        buf_append_str(out, ",\"runs\":[");
        for (uint32_t i = from; i < to; i++) {
            const struct history_run *run = &history->runs[i];
            buf_append_str(out, i > from ? ",{\"dir\":" : "{\"dir\":");
            json_write_str(out, slice_str(run->dir));
            buf_printf(out, ",\"started_wall_ns\":%lld,\"verdict\":\"%s\"}", (long long)run->started_wall_ns,
                       report_verdict_name(run->verdict));
        }
        buf_append_str(out, "],\"series\":[");
        bool is_first = true;
        for (size_t metric = 0; metric < HISTORY_METRICS; metric++) {
            make_series(history->runs + from, to - from, metric, &series);
            if (series.count > 0) {
                buf_append_str(out, is_first ? "" : ",");
                write_series_json(&series, history_metrics[metric], out);
                is_first = false;
            }
        }
        buf_append_str(out, "]}");
    }
    buf_append_str(out, "]}\n");
}
