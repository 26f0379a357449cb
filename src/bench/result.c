/* result.c - the memory of what was measured. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/metrics.h"

void bench_result_init(struct bench_result *result)
{
    *result = (struct bench_result){0};
}

enum status bench_result_histograms(struct bench_result *result)
{
    struct histogram **all[] = {&result->lag, &result->assign, &result->complete, &result->session_open};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        if (*all[i] == NULL && (*all[i] = histogram_new()) == NULL) {
            return STATUS_NO_MEMORY;
        }
    }
    return STATUS_OK;
}

void bench_result_free(struct bench_result *result)
{
    for (uint32_t i = 0; i < result->series_count; i++) {
        histogram_free(result->series[i].latency);
        histogram_free(result->series[i].service);
        histogram_free(result->series[i].assign);
        histogram_free(result->series[i].complete);
    }
    for (uint32_t i = 0; i < result->scrape_count; i++) {
        free(result->scrapes[i].seconds);
        free(result->scrapes[i].values);
    }
    free(result->series);
    free(result->seconds);
    free(result->processes);
    free(result->samples);
    free(result->scrapes);
    free(result->events);
    free(result->gates);
    histogram_free(result->lag);
    histogram_free(result->assign);
    histogram_free(result->complete);
    histogram_free(result->session_open);
    bench_result_init(result);
}

struct bench_series *bench_result_add_series(struct bench_result *result, const char *phase, const char *step)
{
    struct bench_series *grown = realloc(result->series, (result->series_count + 1) * sizeof(*grown));
    if (grown == NULL) {
        return NULL;
    }
    result->series = grown;
    struct bench_series *series = &grown[result->series_count];
    *series = (struct bench_series){.latency = histogram_new(), .service = histogram_new()};
    if (series->latency == NULL || series->service == NULL) {
        histogram_free(series->latency);
        histogram_free(series->service);
        return NULL;
    }
    snprintf(series->phase, sizeof(series->phase), "%s", phase);
    snprintf(series->step, sizeof(series->step), "%s", step);
    result->series_count++;
    return series;
}

struct bench_event *bench_result_add_event(struct bench_result *result, int64_t at_ns, const char *what)
{
    struct bench_event *grown = realloc(result->events, (result->event_count + 1) * sizeof(*grown));
    if (grown == NULL) {
        return NULL;
    }
    result->events = grown;
    struct bench_event *event = &grown[result->event_count++];
    *event = (struct bench_event){.at_ns = at_ns, .detected_ns = -1, .recovered_ns = -1};
    snprintf(event->what, sizeof(event->what), "%s", what);
    return event;
}

const struct bench_series *bench_result_series(const struct bench_result *result, const char *phase, const char *step)
{
    for (uint32_t i = 0; i < result->series_count; i++) {
        if (strcmp(result->series[i].phase, phase) == 0 && strcmp(result->series[i].step, step) == 0) {
            return &result->series[i];
        }
    }
    return NULL;
}

const char *bench_error_name(enum bench_error error)
{
    static const char *const names[BENCH_ERROR_COUNT] = {
        [BENCH_ERROR_REFUSED] = "refused",
        [BENCH_ERROR_RESET] = "reset",
        [BENCH_ERROR_TIMED_OUT] = "timed_out",
        [BENCH_ERROR_NONSENSE] = "nonsense",
        [BENCH_ERROR_STATUS_4XX] = "status_4xx",
        [BENCH_ERROR_STATUS_5XX] = "status_5xx",
        [BENCH_ERROR_STATUS_OTHER] = "status",
        [BENCH_ERROR_MISMATCH] = "mismatch",
        [BENCH_ERROR_RESOLVE] = "resolve",
        [BENCH_ERROR_TOO_LARGE] = "too_large",
        [BENCH_ERROR_NO_CONNECTION] = "no_connection",
    };
    return (unsigned)error < BENCH_ERROR_COUNT ? names[error] : "unknown";
}
