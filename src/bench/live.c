/* live.c - a few lines that are drawn over each other once a second. */
#include "bench/live.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

#define LINE_EVERY_NS (5 * NS_PER_S)
#define LABEL 10 /* columns */

static void send_all(int fd, const struct buf *text)
{
    size_t at = 0;
    while (at < text->len) {
        ssize_t written = write(fd, text->data + at, text->len - at);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written <= 0) {
            return; /* nobody looks */
        }
        at += (size_t)written;
    }
}

static void bar(struct buf *out, double share, int width)
{
    int filled = (int)lrint(share * width);
    buf_append_char(out, '[');
    for (int i = 0; i < width; i++) {
        buf_append_str(out, i < filled ? "█" : "·");
    }
    buf_append_char(out, ']');
}

enum graph { GRAPH_RATE, GRAPH_P99 };

static double graph_value(const struct bench_second *second, enum graph graph)
{
    return graph == GRAPH_RATE ? (double)second->counts.ok : (double)second->p99_ns;
}

/* The last `width` seconds; the highest of them is a full block. */
static void sparkline(struct buf *out, const struct bench_progress *progress, enum graph graph, int width)
{
    static const char *const blocks[] = {" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    uint32_t from = progress->second_count > (uint32_t)width ? progress->second_count - (uint32_t)width : 0;
    double top = 0;
    for (uint32_t i = from; i < progress->second_count; i++) {
        top = fmax(top, graph_value(&progress->seconds[i], graph));
    }
    for (uint32_t i = from; i < progress->second_count; i++) {
        double value = graph_value(&progress->seconds[i], graph);
        buf_append_str(out, blocks[top > 0 ? (int)ceil(value / top * 8) : 0]);
    }
    char text[32];
    bench_value_text(top, graph == GRAPH_RATE ? "/s" : "ns", text, sizeof(text));
    buf_printf(out, " top %s", text);
}

static const struct bench_second *last_second(const struct bench_progress *progress)
{
    static const struct bench_second none;
    return progress->second_count > 0 ? &progress->seconds[progress->second_count - 1] : &none;
}

static uint64_t bad(const struct bench_counts *counts)
{
    return counts->failed + counts->timed_out;
}

static void latencies(const struct bench_second *second, char *p50, char *p99, size_t size)
{
    bench_value_text((double)second->p50_ns, "ns", p50, size);
    bench_value_text((double)second->p99_ns, "ns", p99, size);
}

void live_frame(const struct bench_progress *progress, int columns, struct buf *out)
{
    const struct bench_second *now = last_second(progress);
    char p50[32], p99[32], memory[32];
    int width = columns - 40 < 10 ? 10 : columns - 40 > 60 ? 60 : columns - 40;
    latencies(now, p50, p99, sizeof(p50));
    bench_value_text((double)progress->hub_memory_bytes, "bytes", memory, sizeof(memory));
    buf_printf(out, "%-*s %.*s\n", LABEL, progress->scenario->name, columns - LABEL - 2, progress->phase);
    buf_printf(out, "%-*s ", LABEL, "");
    if (progress->planned_ns > 0) {
        bar(out, fmin(1, (double)progress->at_ns / (double)progress->planned_ns), width);
    }
    buf_printf(out, " %.0f s", (double)progress->at_ns / 1e9);
    if (progress->planned_ns > 0) {
        buf_printf(out, " of %.0f s", (double)progress->planned_ns / 1e9);
    }
    buf_printf(out, "\n%-*s %" PRIu64 " /s made, %.0f /s meant\n%-*s ", LABEL, "rate", now->counts.ok, now->rate_meant,
               LABEL, "");
    sparkline(out, progress, GRAPH_RATE, width);
    buf_printf(out, "\n%-*s p50 %s, p99 %s\n%-*s ", LABEL, "latency", p50, p99, LABEL, "");
    sparkline(out, progress, GRAPH_P99, width);
    buf_printf(out,
               "\n%-*s %" PRIu64 " ok, %" PRIu64 " failed, %" PRIu64 " timed out, %" PRIu64 " shed, %" PRIu64
               " in flight\n",
               LABEL, "in all", progress->total->ok, progress->total->failed, progress->total->timed_out,
               progress->total->shed, progress->total->in_flight);
    buf_printf(out, "%-*s hub %.0f %%, generator %.0f %% of a core; hub's memory %s\n", LABEL, "cpu",
               progress->hub_cpu_percent, progress->generator_cpu_percent, memory);
}

void live_line(const struct bench_progress *progress, struct buf *out)
{
    const struct bench_second *now = last_second(progress);
    char p50[32], p99[32], memory[32];
    latencies(now, p50, p99, sizeof(p50));
    bench_value_text((double)progress->hub_memory_bytes, "bytes", memory, sizeof(memory));
    buf_printf(out,
               "%.0f s %s: %.0f /s meant, %" PRIu64 " /s made, p50 %s, p99 %s, %" PRIu64 " errors, hub %.0f %% %s\n",
               (double)progress->at_ns / 1e9, progress->phase[0] != '\0' ? progress->phase : "the rest",
               now->rate_meant, now->counts.ok, p50, p99, bad(progress->total), progress->hub_cpu_percent, memory);
}

void live_begin(struct live *live, int fd, bool is_terminal, int columns)
{
    static const char hide[] = "\033[?25l";
    *live = (struct live){.fd = fd, .is_terminal = is_terminal, .columns = columns, .told_at_ns = -LINE_EVERY_NS};
    struct buf text;
    buf_init(&text, 64);
    if (is_terminal) {
        buf_append_str(&text, hide);
    }
    send_all(fd, &text);
    buf_free(&text);
}

static void wipe(const struct live *live, struct buf *out)
{
    if (live->lines_drawn > 0) {
        buf_printf(out, "\r\033[%dA\033[J", live->lines_drawn);
    }
}

void live_progress(void *ctx, const struct bench_progress *progress)
{
    struct live *live = ctx;
    struct buf text;
    buf_init(&text, 16384);
    if (live->is_terminal) {
        wipe(live, &text);
        size_t from = text.len;
        live_frame(progress, live->columns, &text);
        live->lines_drawn = 0;
        for (size_t i = from; i < text.len; i++) {
            live->lines_drawn += text.data[i] == '\n';
        }
        send_all(live->fd, &text);
    } else if (strncmp(live->told_phase, progress->phase, sizeof(live->told_phase) - 1) != 0 ||
               progress->at_ns >= live->told_at_ns + LINE_EVERY_NS) {
        snprintf(live->told_phase, sizeof(live->told_phase), "%s", progress->phase);
        live->told_at_ns = progress->at_ns;
        live_line(progress, &text);
        send_all(live->fd, &text);
    }
    buf_free(&text);
}

void live_end(struct live *live)
{
    struct buf text;
    buf_init(&text, 256);
    if (live->is_terminal) {
        wipe(live, &text);
        buf_append_str(&text, "\033[?25h");
    }
    live->lines_drawn = 0;
    send_all(live->fd, &text);
    buf_free(&text);
}
