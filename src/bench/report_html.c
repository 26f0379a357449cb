/* report_html.c - the report as one page that needs nothing else: charts are SVG written here, colours follow the reader's
 * light or dark setting, and there is no script.
 *
 * A chart is lines over a common x axis. Long runs are thinned to a point a pixel: the largest of those that fall together, so that no
 * peak is lost. Events are vertical lines; their words appear when the pointer rests on them, and in the table. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/timefmt.h"
#include "base/version.h"
#include "bench/report.h"
#include "bench/report_markup.h"

#define WIDTH 880
#define HEIGHT 240
#define LEFT 84
#define RIGHT 12
#define TOP 10
#define BOTTOM 26
#define PLOT_WIDTH (WIDTH - LEFT - RIGHT)
#define PLOT_HEIGHT (HEIGHT - TOP - BOTTOM)
#define LINES_MAX 8
#define TICKS 4

struct line {
    char name[BENCH_NAME_SIZE];
    double *x, *y; /* owned by the chart */
    size_t count;
    bool is_dashed;
};

struct chart {
    const char *title, *unit, *help;
    bool is_log;      /* y */
    bool is_quantile; /* x: -log10 of the share above, instead of seconds */
    struct line lines[LINES_MAX];
    size_t line_count;
    double x_max, y_max, y_min; /* of what is drawn; y_min of log charts only */
};

static void html(struct buf *out, const char *text)
{
    report_markup(out, text, true);
}

/* --- charts --- */

static struct line *add_line(struct chart *chart, const char *name, size_t points_max, bool is_dashed)
{
    if (chart->line_count == LINES_MAX) {
        return NULL;
    }
    struct line *line = &chart->lines[chart->line_count];
    *line = (struct line){.is_dashed = is_dashed};
    line->x = calloc(points_max + 1, sizeof(*line->x));
    line->y = calloc(points_max + 1, sizeof(*line->y));
    if (line->x == NULL || line->y == NULL) {
        free(line->x);
        free(line->y);
        return NULL;
    }
    snprintf(line->name, sizeof(line->name), "%s", name);
    chart->line_count++;
    return line;
}

static void add_point(struct chart *chart, struct line *line, double x, double y)
{
    if (line == NULL || !isfinite(y) || (chart->is_log && y <= 0)) {
        return;
    }
    line->x[line->count] = x;
    line->y[line->count++] = y;
    chart->x_max = fmax(chart->x_max, x);
    chart->y_max = fmax(chart->y_max, y);
    chart->y_min = chart->y_min == 0 ? y : fmin(chart->y_min, y);
}

static void chart_free(struct chart *chart)
{
    for (size_t i = 0; i < chart->line_count; i++) {
        free(chart->lines[i].x);
        free(chart->lines[i].y);
    }
}

static double x_of(const struct chart *chart, double x)
{
    return LEFT + (chart->x_max > 0 ? x / chart->x_max : 0) * PLOT_WIDTH;
}

static double y_of(const struct chart *chart, double y)
{
    double share = chart->y_max > 0 ? y / chart->y_max : 0;
    if (chart->is_log) {
        share = (log10(y) - log10(chart->y_min)) / fmax(log10(chart->y_max) - log10(chart->y_min), 1e-9);
    }
    return TOP + (1 - share) * PLOT_HEIGHT;
}

static void draw_line(const struct chart *chart, size_t index, struct buf *out)
{
    const struct line *line = &chart->lines[index];
    double pixel = -1, y_top = 0, x_top = 0;
    buf_printf(out, "<polyline class=\"l%zu%s\" points=\"", index, line->is_dashed ? " dashed" : "");
    for (size_t i = 0; i <= line->count; i++) {
        double at = i < line->count ? floor(x_of(chart, line->x[i])) : INFINITY;
        if (at != pixel && pixel >= 0) {
            buf_printf(out, "%.1f,%.1f ", x_of(chart, x_top), y_of(chart, y_top));
        }
        if (i == line->count) {
            break;
        }
        if (at != pixel || line->y[i] > y_top) {
            y_top = line->y[i];
            x_top = line->x[i];
        }
        pixel = at;
    }
    buf_append_str(out, "\"/>\n");
}

/* 1, 2 or 5 times a power of ten, so that about TICKS of them fit. */
static double nice_step(double range)
{
    double step = pow(10, floor(log10(range / TICKS)));
    double times = range / TICKS / step;
    return step * (times > 5 ? 10 : times > 2 ? 5 : times > 1 ? 2 : 1);
}

static void y_tick(const struct chart *chart, double value, struct buf *out)
{
    char text[40];
    double y = y_of(chart, value);
    bench_value_text(value, chart->unit, text, sizeof(text));
    buf_printf(out, "<line class=\"grid\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/>", LEFT, WIDTH - RIGHT, y, y);
    buf_printf(out, "<text class=\"y\" x=\"%d\" y=\"%.1f\">%s</text>\n", LEFT - 6, y + 4, text);
}

static void draw_axes(const struct chart *chart, struct buf *out)
{
    if (chart->is_log) {
        int decades = (int)lround(log10(chart->y_max / chart->y_min));
        for (int i = 0; i <= decades; i++) {
            y_tick(chart, chart->y_min * pow(10, i), out);
        }
    } else {
        double step = nice_step(chart->y_max);
        for (int i = 0; i <= (int)lround(chart->y_max / step); i++) {
            y_tick(chart, step * i, out);
        }
    }
    double step = chart->is_quantile ? 1 : nice_step(chart->x_max);
    for (int i = 0; i <= (int)(chart->x_max / step * 1.001); i++) {
        char text[40];
        double value = step * i;
        if (chart->is_quantile) {
            snprintf(text, sizeof(text), "%.6g %%", 100 * (1 - pow(10, -value)));
        } else {
            bench_value_text(value * 1e9, "ns", text, sizeof(text));
        }
        buf_printf(out, "<text class=\"x\" x=\"%.1f\" y=\"%d\">%s</text>\n", x_of(chart, value), HEIGHT - 8, text);
    }
}

static void draw_events(const struct chart *chart, const struct bench_result *result, struct buf *out)
{
    for (uint32_t i = 0; i < result->event_count; i++) {
        double at_s = (double)result->events[i].at_ns / 1e9;
        if (at_s > chart->x_max) {
            continue;
        }
        double x = x_of(chart, at_s);
        buf_printf(
            out,
            "<g class=\"%s\"><line x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%d\"/><rect x=\"%.1f\" y=\"%d\" width=\"8\" height=\"%d\"/><title>",
            result->events[i].fault[0] != '\0' ? "fault" : "event", x, x, TOP, HEIGHT - BOTTOM, x - 4, TOP,
            PLOT_HEIGHT);
        html(out, result->events[i].what);
        buf_printf(out, ", %.2f s</title></g>\n", at_s);
    }
}

static void draw(struct chart *chart, const struct bench_result *result, struct buf *out)
{
    size_t points = 0;
    for (size_t i = 0; i < chart->line_count; i++) {
        points += chart->lines[i].count;
    }
    if (points == 0 || chart->x_max <= 0 || chart->y_max <= 0) {
        return;
    }
    if (chart->is_log) { /* whole decades */
        chart->y_min = pow(10, floor(log10(chart->y_min)));
        chart->y_max = pow(10, ceil(log10(fmax(chart->y_max, chart->y_min * 1.01))));
    } else {
        double step = nice_step(chart->y_max);
        chart->y_max = ceil(chart->y_max / step) * step;
    }
    buf_printf(out,
               "<h3>%s</h3>\n<p class=\"help\">%s</p>\n<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"%s\">\n",
               chart->title, chart->help, WIDTH, HEIGHT, chart->title);
    draw_axes(chart, out);
    if (!chart->is_quantile) {
        draw_events(chart, result, out);
    }
    for (size_t i = 0; i < chart->line_count; i++) {
        draw_line(chart, i, out);
    }
    buf_append_str(out, "</svg>\n<p class=\"legend\">");
    for (size_t i = 0; i < chart->line_count; i++) {
        buf_printf(out, "<span class=\"k%zu\">", i);
        html(out, chart->lines[i].name);
        buf_append_str(out, "</span> ");
    }
    buf_append_str(out, "</p>\n");
}

static void chart_rate(const struct bench_result *result, struct buf *out)
{
    struct chart chart = {.title = "Rate",
                          .unit = "/s",
                          .help = "Right answers, what the scenario asked for, and what failed, each second."};
    struct line *ok = add_line(&chart, "right", result->second_count, false);
    struct line *meant = add_line(&chart, "meant", result->second_count, true);
    struct line *bad = add_line(&chart, "failed, timed out or shed", result->second_count, false);
    for (uint32_t i = 0; i < result->second_count; i++) {
        const struct bench_second *second = &result->seconds[i];
        add_point(&chart, ok, second->second, (double)second->counts.ok);
        if (second->rate_meant > 0) {
            add_point(&chart, meant, second->second, second->rate_meant);
        }
        add_point(&chart, bad, second->second,
                  (double)(second->counts.failed + second->counts.timed_out + second->counts.shed));
    }
    draw(&chart, result, out);
    chart_free(&chart);
}

static void chart_latency(const struct bench_result *result, struct buf *out)
{
    struct chart chart = {.title = "Latency over time",
                          .unit = "ns",
                          .is_log = true,
                          .help = "From the moment a request was meant to be sent; of each second."};
    struct line *p50 = add_line(&chart, "p50", result->second_count, false);
    struct line *p95 = add_line(&chart, "p95", result->second_count, false);
    struct line *p99 = add_line(&chart, "p99", result->second_count, false);
    struct line *max = add_line(&chart, "max", result->second_count, true);
    for (uint32_t i = 0; i < result->second_count; i++) {
        const struct bench_second *second = &result->seconds[i];
        add_point(&chart, p50, second->second, (double)second->p50_ns);
        add_point(&chart, p95, second->second, (double)second->p95_ns);
        add_point(&chart, p99, second->second, (double)second->p99_ns);
        add_point(&chart, max, second->second, (double)second->max_ns);
    }
    draw(&chart, result, out);
    chart_free(&chart);
}

/* Percentiles on an axis on which each nine has the same width. */
static void add_distribution(struct chart *chart, const char *name, const struct histogram *histogram)
{
    enum { POINTS = 240 };
    if (histogram == NULL || histogram_count(histogram) == 0) {
        return;
    }
    struct line *line = add_line(chart, name, POINTS, false);
    double nines = fmin(6, fmax(1, log10((double)histogram_count(histogram))));
    for (int i = 0; i < POINTS; i++) {
        double x = nines * i / (POINTS - 1);
        add_point(chart, line, x, (double)histogram_percentile(histogram, 100 * (1 - pow(10, -x))));
    }
}

static void chart_distribution(const struct bench_result *result, struct buf *out)
{
    struct chart chart = {
        .title = "Latency distribution",
        .unit = "ns",
        .is_log = true,
        .is_quantile = true,
        .help =
            "How many requests, from left to right, were at most that slow; each nine is as wide as the one before."};
    const struct bench_series *all = bench_result_series(result, "", "");
    if (all != NULL) {
        add_distribution(&chart, "latency", all->latency);
        add_distribution(&chart, "service time", all->service);
    }
    for (uint32_t i = 0; i < result->series_count; i++) {
        if (result->series[i].phase[0] != '\0' && result->series[i].step[0] == '\0') {
            add_distribution(&chart, result->series[i].phase, result->series[i].latency);
        }
    }
    draw(&chart, result, out);
    chart_free(&chart);
}

static void chart_processes(const struct bench_result *result, bool is_memory, struct buf *out)
{
    struct chart cpu = {.title = "Processor", .unit = "%", .help = "Of one core."};
    struct chart memory = {.title = "Memory", .unit = "bytes", .help = "Resident."};
    struct chart *chart = is_memory ? &memory : &cpu;
    for (uint32_t i = 0; i < result->process_count; i++) {
        if (is_memory && strcmp(result->processes[i].name, "machine") == 0) {
            continue; /* it would flatten all others */
        }
        struct line *line = add_line(chart, result->processes[i].name, result->sample_count, false);
        for (uint32_t k = 0; k < result->sample_count && line != NULL; k++) {
            const struct bench_sample *sample = &result->samples[k];
            if (sample->process == i) {
                add_point(chart, line, sample->second, is_memory ? (double)sample->memory_bytes : sample->cpu_percent);
            }
        }
    }
    draw(chart, result, out);
    chart_free(chart);
}

/* --- tables: those of the Markdown report --- */

/* One line of a Markdown table as a row; cells are separated by " | " and may hold "\|". */
static void row(struct buf *out, const char *text, size_t len, const char *tag)
{
    buf_append_str(out, "<tr>");
    for (size_t i = 1; i < len;) {
        char cell[512];
        size_t size = 0;
        while (i < len && text[i] != '|') {
            if (text[i] == '\\' && i + 1 < len) {
                i++;
            }
            if (size + 1 < sizeof(cell)) {
                cell[size++] = text[i];
            }
            i++;
        }
        i++;
        while (size > 0 && cell[size - 1] == ' ') {
            size--;
        }
        cell[size] = '\0';
        const char *from = cell + strspn(cell, " ");
        bool is_strong = strncmp(from, "**", 2) == 0 && size > 4;
        if (is_strong) {
            cell[size - 2] = '\0';
            from += 2;
        }
        buf_printf(out, "<%s%s>", tag, is_strong ? " class=\"bad\"" : "");
        html(out, from);
        buf_printf(out, "</%s>", tag);
    }
    buf_append_str(out, "</tr>\n");
}

/* Headings, tables, paragraphs and the fenced scenario, as report_markdown writes them: no more of Markdown than that. */
static void convert(const char *text, struct buf *out)
{
    bool is_table = false, is_fenced = false;
    for (const char *line = text, *end; *line != '\0'; line = *end == '\n' ? end + 1 : end) {
        end = strchrnul(line, '\n');
        size_t len = (size_t)(end - line);
        if (is_table && line[0] != '|') {
            buf_append_str(out, "</table></div>\n");
            is_table = false;
        }
        if (strncmp(line, "```", 3) == 0) {
            buf_append_str(out, is_fenced ? "</pre>\n" : "<pre>");
            is_fenced = !is_fenced;
            continue;
        }
        struct buf part;
        buf_init(&part, len + 1);
        if (is_fenced) {
            buf_append(&part, line, len);
            html(out, buf_cstr(&part));
            buf_append_char(out, '\n');
        } else if (line[0] == '|') {
            if (strncmp(line, "|--", 3) != 0) {
                if (!is_table) {
                    buf_append_str(out, "<div class=\"scroll\"><table>\n");
                }
                row(out, line, len, is_table ? "td" : "th");
                is_table = true;
            }
        } else if (line[0] == '#') {
            size_t level = strspn(line, "#");
            buf_append(&part, line + level + 1, len - level - 1);
            buf_printf(out, "<h%zu>", level);
            html(out, buf_cstr(&part));
            buf_printf(out, "</h%zu>\n", level);
        } else if (len > 0) {
            bool is_strong = strncmp(line, "**", 2) == 0;
            const char *strong_end = is_strong ? strstr(line + 2, "**") : NULL;
            buf_append_str(out, "<p>");
            if (strong_end != NULL) {
                buf_append(&part, line + 2, (size_t)(strong_end - line) - 2);
                buf_append_str(out, "<strong>");
                html(out, buf_cstr(&part));
                buf_append_str(out, "</strong>");
                buf_reset(&part);
                line = strong_end + 2;
                len = (size_t)(end - line);
            }
            buf_append(&part, line, len);
            html(out, buf_cstr(&part));
            buf_append_str(out, "</p>\n");
        }
        buf_free(&part);
    }
    if (is_table) {
        buf_append_str(out, "</table></div>\n");
    }
}

static const char style[] =
    ":root{color-scheme:light dark;--fg:#1b1f24;--bg:#fff;--dim:#667;--grid:#e3e6ea;--c0:#0b6bcb;--c1:#7a8794;--c2:#c62828;"
    "--c3:#b26a00;--c4:#2e7d32;--c5:#6a3fb5;--c6:#00838f;--c7:#ad1457}"
    "@media(prefers-color-scheme:dark){:root{--fg:#dde3ea;--bg:#14171b;--dim:#93a0ad;--grid:#2a3038;--c0:#5aa9f0;--c1:#8d99a5;"
    "--c2:#ff6b6b;--c3:#e6a23c;--c4:#66bb6a;--c5:#a98bea;--c6:#4dc4d0;--c7:#f06fa6}}"
    "body{font:15px/1.5 system-ui,sans-serif;color:var(--fg);background:var(--bg);max-width:960px;margin:2em auto;padding:0 1em}"
    "h1{font-size:1.5em}h2{font-size:1.2em;margin-top:2em}h3{font-size:1em;margin:1.6em 0 0}.help{color:var(--dim);margin:0}"
    "table{border-collapse:collapse;font-size:.9em}th,td{padding:.25em .7em;text-align:right;border-bottom:1px solid var(--grid);"
    "white-space:nowrap}th:first-child,td:first-child{text-align:left}.scroll{overflow-x:auto}.bad{color:var(--c2);font-weight:600}"
    "pre{background:var(--grid);padding:1em;overflow-x:auto;font-size:.85em}svg{width:100%;height:auto;display:block}"
    "svg text{font:11px system-ui,sans-serif;fill:var(--dim)}.y{text-anchor:end}.x{text-anchor:middle}.grid{stroke:var(--grid)}"
    "polyline{fill:none;stroke-width:1.6;stroke-linejoin:round}.dashed{stroke-dasharray:4 3}.event line{stroke:var(--dim);"
    "stroke-dasharray:2 4}.fault line{stroke:var(--c2)}rect{fill:transparent}.legend span{margin-right:1.2em;font-size:.9em}"
    ".legend span::before{content:\"\";display:inline-block;width:1em;height:.25em;margin-right:.4em;vertical-align:middle;"
    "background:currentColor}.verdict{font-weight:600}";

void report_html(const struct report_context *context, const struct bench_result *result, struct buf *out)
{
    struct buf markdown;
    buf_init(&markdown, 64u << 20);
    buf_append_str(out, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n"
                        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n<title>");
    html(out, result->title[0] != '\0' ? result->title : result->scenario);
    buf_append_str(out, "</title>\n<style>");
    buf_append_str(out, style);
    for (int i = 0; i < LINES_MAX; i++) {
        buf_printf(out, ".l%d{stroke:var(--c%d)}.k%d::before{color:var(--c%d)}", i, i, i, i);
    }
    buf_append_str(out, "</style>\n</head>\n<body>\n");
    report_markdown(context, result, &markdown);
    /* The charts stand behind the gates, where the table of requests begins. */
    const char *text = buf_cstr(&markdown);
    const char *requests = strstr(text, "\n## Requests\n");
    struct buf head;
    buf_init(&head, markdown.len + 1);
    buf_append(&head, text, requests != NULL ? (size_t)(requests - text) : markdown.len);
    convert(buf_cstr(&head), out);
    chart_rate(result, out);
    chart_latency(result, out);
    chart_distribution(result, out);
    chart_processes(result, false, out);
    chart_processes(result, true, out);
    if (requests != NULL) {
        convert(requests, out);
    }
    buf_append_str(out, "</body>\n</html>\n");
    if (buf_status(&markdown) != STATUS_OK) {
        out->failed = true;
    }
    buf_free(&head);
    buf_free(&markdown);
}
