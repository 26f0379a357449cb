/* compare.c - collects pairs, and lets statistics.c judge them.
 *
 * Which of two is better is asked of speeds: times and sizes are turned over, so that "faster" is the good word for all. The
 * ratio that is shown is that of the values, as people read them: p99 at 0.8 is 20 % less. */
#include "bench/compare.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "base/json.h"
#include "base/words.h"

static const char *const usual[] = {"goodput", "p50", "p99", NULL};

static bool is_more_better(const char *name, const char *unit)
{
    bool is_error = strncmp(name, "error", 5) == 0 || strncmp(name, "timeouts", 8) == 0 ||
                    strncmp(name, "shed", 4) == 0 || strncmp(name, "cpu", 3) == 0 || strncmp(name, "memory", 6) == 0;
    return !is_error && (strcmp(unit, "/s") == 0 || strcmp(unit, "%") == 0);
}

static void metric_init(struct compare_metric *metric, const char *name, const char *unit)
{
    snprintf(metric->name, sizeof(metric->name), "%s", name);
    metric->unit = unit;
    metric->is_more_better = is_more_better(name, unit);
    metric->count = 0;
}

enum status compare_new(const char *const *metrics, struct compare **ret_compare, char *ret_why, size_t why_size)
{
    struct compare *compare = calloc(1, sizeof(*compare));
    if (compare == NULL) {
        snprintf(ret_why, why_size, "there is no memory left");
        return STATUS_NO_MEMORY;
    }
    metrics = metrics != NULL && metrics[0] != NULL ? metrics : usual;
    for (; *metrics != NULL; metrics++) {
        const char *unit = "";
        if (compare->metric_count == COMPARE_METRICS_MAX) {
            snprintf(ret_why, why_size, "at most %d metrics can be compared", COMPARE_METRICS_MAX);
            free(compare);
            return STATUS_INVALID;
        }
        if (!bench_metric_is_known(slice_str(*metrics), &unit)) {
            const char *nearest = words_nearest(slice_str(*metrics), bench_metric_words());
            snprintf(ret_why, why_size, "\"%s\" is no metric%s%s%s", *metrics,
                     nearest != NULL ? "; did you mean \"" : "", nearest != NULL ? nearest : "",
                     nearest != NULL ? "\"?" : "");
            free(compare);
            return STATUS_INVALID;
        }
        metric_init(&compare->metrics[compare->metric_count++], *metrics, unit);
    }
    *ret_compare = compare;
    return STATUS_OK;
}

static void add_pair(struct compare_metric *metric, double a, double b)
{
    if (metric->count < COMPARE_PAIRS_MAX && isfinite(a) && isfinite(b)) {
        metric->a[metric->count] = a;
        metric->b[metric->count++] = b;
    }
}

void compare_add(struct compare *compare, const struct bench_result *a, const struct bench_result *b)
{
    for (uint32_t i = 0; i < compare->metric_count; i++) {
        struct compare_metric *metric = &compare->metrics[i];
        double of_a, of_b;
        if (bench_metric(a, slice_str(metric->name), &of_a, NULL) == STATUS_OK &&
            bench_metric(b, slice_str(metric->name), &of_b, NULL) == STATUS_OK) {
            add_pair(metric, of_a, of_b);
        }
    }
}

void compare_seconds(struct compare *compare, const struct bench_result *a, const struct bench_result *b)
{
    uint32_t count = a->second_count < b->second_count ? a->second_count : b->second_count;
    metric_init(&compare->metrics[0], "goodput", "/s");
    metric_init(&compare->metrics[1], "p50", "ns");
    metric_init(&compare->metrics[2], "p99", "ns");
    compare->metric_count = 3;
    for (uint32_t i = 1; i + 1 < count; i++) {
        const struct bench_second *of_a = &a->seconds[i], *of_b = &b->seconds[i];
        if (of_a->counts.ok == 0 || of_b->counts.ok == 0) {
            continue; /* between phases */
        }
        add_pair(&compare->metrics[0], (double)of_a->counts.ok, (double)of_b->counts.ok);
        add_pair(&compare->metrics[1], (double)of_a->p50_ns, (double)of_b->p50_ns);
        add_pair(&compare->metrics[2], (double)of_a->p99_ns, (double)of_b->p99_ns);
    }
}

static double median_of(const double *values, uint32_t count, double *scratch)
{
    memcpy(scratch, values, count * sizeof(*values));
    return statistics_median(scratch, count);
}

void compare_judge(struct compare *compare, uint64_t seed)
{
    static double a[COMPARE_PAIRS_MAX], b[COMPARE_PAIRS_MAX];
    for (uint32_t i = 0; i < compare->metric_count; i++) {
        struct compare_metric *metric = &compare->metrics[i];
        metric->median_a = median_of(metric->a, metric->count, a);
        metric->median_b = median_of(metric->b, metric->count, b);
        for (uint32_t k = 0; k < metric->count; k++) {
            a[k] = metric->is_more_better ? metric->a[k] : 1 / metric->a[k];
            b[k] = metric->is_more_better ? metric->b[k] : 1 / metric->b[k];
        }
        statistics_compare(a, b, metric->count, COMPARE_NOISE, COMPARE_UNSTABLE, seed + i, &metric->result);
        const struct comparison_result *result = &metric->result;
        metric->ratio = metric->is_more_better ? result->ratio : 1 / result->ratio;
        metric->ratio_low = metric->is_more_better ? result->ratio_low : 1 / result->ratio_high;
        metric->ratio_high = metric->is_more_better ? result->ratio_high : 1 / result->ratio_low;
    }
}

enum comparison compare_verdict(const struct compare *compare)
{
    bool has[COMPARISON_UNSTABLE + 1] = {false};
    for (uint32_t i = 0; i < compare->metric_count; i++) {
        has[compare->metrics[i].result.verdict] = true;
    }
    return has[COMPARISON_UNSTABLE] ? COMPARISON_UNSTABLE
           : has[COMPARISON_SLOWER] ? COMPARISON_SLOWER
           : has[COMPARISON_FASTER] ? COMPARISON_FASTER
                                    : COMPARISON_SAME;
}

void compare_write_text(const struct compare *compare, struct buf *out)
{
    buf_printf(out, "%-20s %14s %14s   %7s  %-17s %6s %6s  %s\n", "metric", "A", "B", "B/A", "95 % interval", "pairs",
               "p", "B is");
    for (uint32_t i = 0; i < compare->metric_count; i++) {
        const struct compare_metric *metric = &compare->metrics[i];
        char a[40], b[40], interval[48];
        bench_value_text(metric->median_a, metric->unit, a, sizeof(a));
        bench_value_text(metric->median_b, metric->unit, b, sizeof(b));
        snprintf(interval, sizeof(interval), "%.3f .. %.3f", metric->ratio_low, metric->ratio_high);
        buf_printf(out, "%-20s %14s %14s   %7.3f  %-17s %6u %6.3f  %s\n", metric->name, a, b, metric->ratio, interval,
                   metric->count, metric->result.p_value, statistics_comparison_name(metric->result.verdict));
    }
}

static void write_number(struct buf *out, const char *name, double value)
{
    buf_printf(out, ",\"%s\":", name);
    json_write_double(out, value);
}

static void write_values(struct buf *out, const char *name, const double *values, uint32_t count)
{
    buf_printf(out, ",\"%s\":[", name);
    for (uint32_t i = 0; i < count; i++) {
        buf_append_str(out, i > 0 ? "," : "");
        json_write_double(out, values[i]);
    }
    buf_append_char(out, ']');
}

void compare_write_json(const struct compare *compare, struct buf *out)
{
    buf_printf(out, "{\"schema\":\"shoal-bench-compare/1\",\"verdict\":\"%s\",\"metrics\":[",
               statistics_comparison_name(compare_verdict(compare)));
    for (uint32_t i = 0; i < compare->metric_count; i++) {
        const struct compare_metric *metric = &compare->metrics[i];
        buf_append_str(out, i > 0 ? "," : "");
        buf_append_str(out, "{\"name\":");
        json_write_str(out, slice_str(metric->name));
        buf_printf(out, ",\"unit\":\"%s\",\"verdict\":\"%s\"", metric->unit,
                   statistics_comparison_name(metric->result.verdict));
        write_number(out, "median_a", metric->median_a);
        write_number(out, "median_b", metric->median_b);
        write_number(out, "ratio", metric->ratio);
        write_number(out, "ratio_low", metric->ratio_low);
        write_number(out, "ratio_high", metric->ratio_high);
        write_number(out, "p", metric->result.p_value);
        write_number(out, "spread_a", metric->result.spread_a);
        write_number(out, "spread_b", metric->result.spread_b);
        write_values(out, "a", metric->a, metric->count);
        write_values(out, "b", metric->b, metric->count);
        buf_append_char(out, '}');
    }
    buf_append_str(out, "]}\n");
}
