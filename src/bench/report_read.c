/* report_read.c - a run directory becomes a result again.
 *
 * The files may come from another version or a torn copy: what is missing or of the wrong type is an error that names the file,
 * never a crash and never a silent zero in what gates and comparisons look at. Members that are not known are let be. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"
#include "bench/report.h"

#define FILE_SIZE_MAX (256u << 20)

struct reading {
    const char *dir;
    const char *file; /* being read */
    struct json_parser *parser;
    struct buf text;
    char *why;
    size_t why_size;
    enum status status;
};

static void fail(struct reading *reading, enum status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void fail(struct reading *reading, enum status status, const char *format, ...)
{
    char sentence[200];
    va_list args;
    if (reading->status != STATUS_OK) {
        return;
    }
    va_start(args, format);
    vsnprintf(sentence, sizeof(sentence), format, args);
    va_end(args);
    reading->status = status;
    snprintf(reading->why, reading->why_size, "%s/%s: %s", reading->dir, reading->file, sentence);
}

static bool load(struct reading *reading, const char *file)
{
    char path[1024];
    struct stat info;
    reading->file = file;
    buf_reset(&reading->text);
    snprintf(path, sizeof(path), "%s/%s", reading->dir, file);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        fail(reading, STATUS_NOT_FOUND, "cannot be opened: %s", strerror(errno));
        return false;
    }
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode) || info.st_size > FILE_SIZE_MAX ||
        buf_reserve(&reading->text, (size_t)info.st_size + 1) != STATUS_OK) {
        fail(reading, STATUS_TOO_LARGE, "is no file that could be read");
        close(fd);
        return false;
    }
    ssize_t got;
    while (reading->text.len < (size_t)info.st_size &&
           (got = read(fd, reading->text.data + reading->text.len, (size_t)info.st_size - reading->text.len)) > 0) {
        reading->text.len += (size_t)got;
    }
    close(fd);
    return true;
}

static bool parse(struct reading *reading, struct slice text, struct json_value *ret)
{
    size_t offset = 0;
    const char *reason = "";
    if (json_parse(reading->parser, text, ret, &offset, &reason) == STATUS_OK) {
        return true;
    }
    fail(reading, STATUS_BAD_JSON, "byte %zu: %s", offset, reason);
    return false;
}

/* --- members; each says what is missing --- */

static void wrong(struct reading *reading, const char *name)
{
    fail(reading, STATUS_INVALID, "\"%s\" is missing or of another type", name);
}

static struct json_value member(struct reading *reading, struct json_value object, const char *name)
{
    struct json_value value = object;
    if (reading->status == STATUS_OK && !json_member(object, name, &value)) {
        wrong(reading, name);
    }
    return value;
}

static uint64_t get_u64(struct reading *reading, struct json_value object, const char *name)
{
    uint64_t number = 0;
    struct json_value value = member(reading, object, name);
    if (reading->status == STATUS_OK && !json_get_u64(value, &number)) {
        wrong(reading, name);
    }
    return number;
}

static int64_t get_i64(struct reading *reading, struct json_value object, const char *name)
{
    int64_t number = 0;
    struct json_value value = member(reading, object, name);
    if (reading->status == STATUS_OK && !json_get_i64(value, &number)) {
        wrong(reading, name);
    }
    return number;
}

/* null is `nothing`. */
static double get_double(struct reading *reading, struct json_value object, const char *name, double nothing)
{
    double number = nothing;
    struct json_value value = member(reading, object, name);
    if (reading->status == STATUS_OK && json_type_of(value) != JSON_NULL && !json_get_double(value, &number)) {
        wrong(reading, name);
    }
    return number;
}

static int64_t get_time_or_null(struct reading *reading, struct json_value object, const char *name)
{
    struct json_value value = member(reading, object, name);
    if (reading->status == STATUS_OK && json_type_of(value) == JSON_NULL) {
        return -1;
    }
    return get_i64(reading, object, name);
}

static bool get_bool(struct reading *reading, struct json_value object, const char *name)
{
    bool is_true = false;
    struct json_value value = member(reading, object, name);
    if (reading->status == STATUS_OK && !json_get_bool(value, &is_true)) {
        wrong(reading, name);
    }
    return is_true;
}

static void get_text(struct reading *reading, struct json_value object, const char *name, char *ret, size_t size)
{
    struct slice text = {NULL, 0};
    struct json_value value = member(reading, object, name);
    if (reading->status == STATUS_OK && !json_get_str(value, &text)) {
        wrong(reading, name);
    }
    snprintf(ret, size, "%.*s", SLICE_ARG(text));
}

static struct json_value get_array(struct reading *reading, struct json_value object, const char *name)
{
    struct json_value value = member(reading, object, name);
    if (reading->status == STATUS_OK && json_type_of(value) != JSON_ARRAY) {
        wrong(reading, name);
    }
    return value;
}

static void *make(struct reading *reading, size_t count, size_t size)
{
    void *array = calloc(count + 1, size);
    if (array == NULL) {
        fail(reading, STATUS_NO_MEMORY, "there is no memory left");
    }
    return array;
}

/* --- run.json --- */

static void read_counts(struct reading *reading, struct json_value object, struct bench_counts *ret)
{
    struct json_value counts = member(reading, object, "counts");
    ret->scheduled = get_u64(reading, counts, "scheduled");
    ret->ok = get_u64(reading, counts, "ok");
    ret->failed = get_u64(reading, counts, "failed");
    ret->timed_out = get_u64(reading, counts, "timed_out");
    ret->shed = get_u64(reading, counts, "shed");
    ret->in_flight = get_u64(reading, counts, "in_flight");
    ret->bytes_out = get_u64(reading, counts, "bytes_out");
    ret->bytes_in = get_u64(reading, counts, "bytes_in");
    ret->connects = get_u64(reading, counts, "connects");
    struct json_value errors = member(reading, counts, "errors"), number;
    for (enum bench_error error = 0; error < BENCH_ERROR_COUNT && reading->status == STATUS_OK; error++) {
        if (json_member(errors, bench_error_name(error), &number) && !json_get_u64(number, &ret->errors[error])) {
            wrong(reading, bench_error_name(error));
        }
    }
}

static void read_series(struct reading *reading, struct json_value root, struct bench_result *result)
{
    struct json_value element;
    for (struct json_iter it = json_iter_of(get_array(reading, root, "series"));
         reading->status == STATUS_OK && json_next(&it, NULL, &element);) {
        char phase[BENCH_NAME_SIZE], step[BENCH_NAME_SIZE];
        get_text(reading, element, "phase", phase, sizeof(phase));
        get_text(reading, element, "step", step, sizeof(step));
        struct bench_series *series = bench_result_add_series(result, phase, step);
        if (series == NULL) {
            fail(reading, STATUS_NO_MEMORY, "there is no memory left");
            return;
        }
        series->begin_ns = get_i64(reading, element, "begin_ns");
        series->end_ns = get_i64(reading, element, "end_ns");
        series->items = get_u64(reading, element, "items");
        read_counts(reading, element, &series->counts);
    }
}

static void read_processes(struct reading *reading, struct json_value root, struct bench_result *result)
{
    struct json_value list = get_array(reading, root, "processes"), element;
    if (reading->status != STATUS_OK ||
        (result->processes = make(reading, json_count(list), sizeof(*result->processes))) == NULL) {
        return;
    }
    for (struct json_iter it = json_iter_of(list); reading->status == STATUS_OK && json_next(&it, NULL, &element);) {
        struct bench_process *process = &result->processes[result->process_count++];
        get_text(reading, element, "name", process->name, sizeof(process->name));
        process->pid = (int)get_i64(reading, element, "pid");
        process->cpu_mean_percent = get_double(reading, element, "cpu_mean_percent", 0);
        process->cpu_peak_percent = get_double(reading, element, "cpu_peak_percent", 0);
        process->memory_mean_bytes = get_u64(reading, element, "memory_mean_bytes");
        process->memory_peak_bytes = get_u64(reading, element, "memory_peak_bytes");
        process->memory_end_bytes = get_u64(reading, element, "memory_end_bytes");
        process->leak_bytes_per_hour = get_double(reading, element, "leak_bytes_per_hour", NAN);
        process->leak_low = get_double(reading, element, "leak_low", 0);
        process->leak_high = get_double(reading, element, "leak_high", 0);
    }
}

static void read_events(struct reading *reading, struct json_value root, struct bench_result *result)
{
    struct json_value element;
    for (struct json_iter it = json_iter_of(get_array(reading, root, "events"));
         reading->status == STATUS_OK && json_next(&it, NULL, &element);) {
        char what[96];
        get_text(reading, element, "what", what, sizeof(what));
        struct bench_event *event = bench_result_add_event(result, get_i64(reading, element, "at_ns"), what);
        if (event == NULL) {
            fail(reading, STATUS_NO_MEMORY, "there is no memory left");
            return;
        }
        get_text(reading, element, "fault", event->fault, sizeof(event->fault));
        event->detected_ns = get_time_or_null(reading, element, "detected_ns");
        event->recovered_ns = get_time_or_null(reading, element, "recovered_ns");
    }
}

static void read_gates(struct reading *reading, struct json_value root, struct bench_result *result)
{
    struct json_value list = get_array(reading, root, "gates"), element;
    if (reading->status != STATUS_OK ||
        (result->gates = make(reading, json_count(list), sizeof(*result->gates))) == NULL) {
        return;
    }
    for (struct json_iter it = json_iter_of(list); reading->status == STATUS_OK && json_next(&it, NULL, &element);) {
        struct bench_gate_result *gate = &result->gates[result->gate_count++];
        get_text(reading, element, "text", gate->text, sizeof(gate->text));
        get_text(reading, element, "unit", gate->unit, sizeof(gate->unit));
        gate->is_met = get_bool(reading, element, "is_met");
        gate->is_known = get_bool(reading, element, "is_known");
        gate->measured = get_double(reading, element, "measured", gate->is_known ? INFINITY : 0);
        gate->wanted = get_double(reading, element, "wanted", INFINITY);
    }
}

static void read_totals(struct reading *reading, struct json_value root, struct bench_result *result)
{
    struct json_value totals = member(reading, root, "totals");
    result->iterations = get_u64(reading, totals, "iterations");
    result->users_max = (uint32_t)get_u64(reading, totals, "users_max");
    result->connections_max = (uint32_t)get_u64(reading, totals, "connections_max");
    result->sessions = get_u64(reading, totals, "sessions");
    result->sessions_failed = get_u64(reading, totals, "sessions_failed");
    result->sessions_lost = get_u64(reading, totals, "sessions_lost");
    result->sessions_open_ns = get_i64(reading, totals, "sessions_open_ns");
    result->lost_tasks = get_u64(reading, totals, "lost_tasks");
    result->doubled_tasks = get_u64(reading, totals, "doubled_tasks");
    result->memory_total_bytes = get_u64(reading, totals, "memory_total_bytes");
    result->cores = (uint32_t)get_u64(reading, totals, "cores");
    result->evenness_percent = get_double(reading, totals, "evenness_percent", 0);
}

static void read_run(struct reading *reading, struct bench_result *result)
{
    struct json_value root;
    char schema[64], verdict[24];
    if (!load(reading, "run.json") || !parse(reading, buf_slice(&reading->text), &root)) {
        return;
    }
    get_text(reading, root, "schema", schema, sizeof(schema));
    if (reading->status == STATUS_OK && strcmp(schema, REPORT_SCHEMA) != 0) {
        fail(reading, STATUS_INVALID, "its schema is %s, and this program reads " REPORT_SCHEMA, schema);
    }
    get_text(reading, root, "scenario", result->scenario, sizeof(result->scenario));
    get_text(reading, root, "title", result->title, sizeof(result->title));
    get_text(reading, root, "invalid_why", result->invalid_why, sizeof(result->invalid_why));
    get_text(reading, root, "verdict", verdict, sizeof(verdict));
    enum bench_verdict known = BENCH_PASS;
    while (known < BENCH_INTERRUPTED && strcmp(verdict, report_verdict_name(known)) != 0) {
        known++;
    }
    if (reading->status == STATUS_OK && strcmp(verdict, report_verdict_name(known)) != 0) {
        wrong(reading, "verdict");
    }
    result->verdict = known;
    result->started_wall_ns = get_i64(reading, root, "started_wall_ns");
    result->duration_ns = get_i64(reading, root, "duration_ns");
    result->seed = get_u64(reading, root, "seed");
    read_gates(reading, root, result);
    read_series(reading, root, result);
    read_totals(reading, root, result);
    read_processes(reading, root, result);
    read_events(reading, root, result);
}

/* --- histograms.json --- */

static void read_histogram(struct reading *reading, struct json_value object, const char *name, struct histogram *ret)
{
    struct json_value value = member(reading, object, name);
    if (reading->status != STATUS_OK || json_type_of(value) == JSON_NULL) {
        return;
    }
    if (histogram_read_json(&value, ret) != STATUS_OK) {
        wrong(reading, name);
    }
}

/* One that a series need not have: `null` in the file. */
static void read_optional(struct reading *reading, struct json_value object, const char *name, struct histogram **ret)
{
    struct json_value value = member(reading, object, name);
    if (reading->status != STATUS_OK || json_type_of(value) == JSON_NULL) {
        return;
    }
    if ((*ret = histogram_new()) == NULL) {
        fail(reading, STATUS_NO_MEMORY, "there is no memory for its histograms");
    } else if (histogram_read_json(&value, *ret) != STATUS_OK) {
        wrong(reading, name);
    }
}

static void read_histograms(struct reading *reading, struct bench_result *result)
{
    struct json_value root, element;
    uint32_t index = 0;
    if (reading->status != STATUS_OK || !load(reading, "histograms.json") ||
        !parse(reading, buf_slice(&reading->text), &root)) {
        return;
    }
    for (struct json_iter it = json_iter_of(get_array(reading, root, "series"));
         reading->status == STATUS_OK && json_next(&it, NULL, &element); index++) {
        char phase[BENCH_NAME_SIZE], step[BENCH_NAME_SIZE];
        get_text(reading, element, "phase", phase, sizeof(phase));
        get_text(reading, element, "step", step, sizeof(step));
        struct bench_series *series = index < result->series_count ? &result->series[index] : NULL;
        if (series == NULL || strcmp(series->phase, phase) != 0 || strcmp(series->step, step) != 0) {
            fail(reading, STATUS_INVALID, "its series are not those of run.json");
            return;
        }
        read_histogram(reading, element, "latency", series->latency);
        read_histogram(reading, element, "service", series->service);
        read_optional(reading, element, "assign", &series->assign);
        read_optional(reading, element, "complete", &series->complete);
    }
    if (reading->status == STATUS_OK && index != result->series_count) {
        fail(reading, STATUS_INVALID, "its series are not those of run.json");
    }
    read_histogram(reading, root, "lag", result->lag);
    read_histogram(reading, root, "assign", result->assign);
    read_histogram(reading, root, "complete", result->complete);
    read_histogram(reading, root, "session_open", result->session_open);
}

/* --- files with an object a line --- */

static size_t count_lines(struct slice text)
{
    size_t count = 0;
    for (size_t i = 0; i < text.len; i++) {
        count += text.data[i] == '\n';
    }
    return count;
}

static bool next_object(struct reading *reading, size_t *at, struct json_value *ret)
{
    const char *start = reading->text.data + *at;
    const char *end = *at < reading->text.len ? memchr(start, '\n', reading->text.len - *at) : NULL;
    if (end == NULL || reading->status != STATUS_OK) {
        return false;
    }
    *at += (size_t)(end - start) + 1;
    return parse(reading, slice_of(start, (size_t)(end - start)), ret);
}

static void read_seconds(struct reading *reading, struct bench_result *result)
{
    struct json_value object;
    if (reading->status != STATUS_OK || !load(reading, "series.ndjson") ||
        (result->seconds = make(reading, count_lines(buf_slice(&reading->text)), sizeof(*result->seconds))) == NULL) {
        return;
    }
    for (size_t at = 0; next_object(reading, &at, &object);) {
        struct bench_second *second = &result->seconds[result->second_count++];
        second->second = (uint32_t)get_u64(reading, object, "second");
        second->items = get_u64(reading, object, "items");
        second->rate_meant = get_double(reading, object, "rate_meant", 0);
        second->p50_ns = get_i64(reading, object, "p50_ns");
        second->p95_ns = get_i64(reading, object, "p95_ns");
        second->p99_ns = get_i64(reading, object, "p99_ns");
        second->max_ns = get_i64(reading, object, "max_ns");
        second->lag_max_ns = get_i64(reading, object, "lag_max_ns");
        read_counts(reading, object, &second->counts);
    }
}

static void read_sample(struct reading *reading, struct json_value object, struct bench_result *result)
{
    struct bench_sample *sample = &result->samples[result->sample_count++];
    char name[BENCH_NAME_SIZE];
    get_text(reading, object, "process", name, sizeof(name));
    while (sample->process < result->process_count && strcmp(result->processes[sample->process].name, name) != 0) {
        sample->process++;
    }
    if (sample->process == result->process_count) {
        fail(reading, STATUS_INVALID, "there is no process \"%s\" in run.json", name);
    }
    sample->second = (uint32_t)get_u64(reading, object, "second");
    sample->cpu_percent = get_double(reading, object, "cpu_percent", 0);
    sample->memory_bytes = get_u64(reading, object, "memory_bytes");
    sample->descriptors = get_u64(reading, object, "descriptors");
    sample->threads = get_u64(reading, object, "threads");
    sample->disk_read_bytes = get_u64(reading, object, "disk_read_bytes");
    sample->disk_written_bytes = get_u64(reading, object, "disk_written_bytes");
    sample->net_in_bytes = get_u64(reading, object, "net_in_bytes");
    sample->net_out_bytes = get_u64(reading, object, "net_out_bytes");
}

/* Lines of one name follow each other. */
static void read_scrape(struct reading *reading, struct json_value object, struct bench_result *result)
{
    char name[sizeof(result->scrapes[0].name)];
    get_text(reading, object, "scrape", name, sizeof(name));
    struct bench_scrape *scrape = result->scrape_count > 0 ? &result->scrapes[result->scrape_count - 1] : NULL;
    if (scrape == NULL || strcmp(scrape->name, name) != 0) {
        struct bench_scrape *grown = realloc(result->scrapes, (result->scrape_count + 1) * sizeof(*grown));
        if (grown == NULL) {
            fail(reading, STATUS_NO_MEMORY, "there is no memory left");
            return;
        }
        result->scrapes = grown;
        scrape = &grown[result->scrape_count++];
        *scrape = (struct bench_scrape){0};
        snprintf(scrape->name, sizeof(scrape->name), "%s", name);
    }
    if ((scrape->count & (scrape->count - 1)) == 0) { /* at powers of two it grows to the next one */
        uint32_t capacity = scrape->count == 0 ? 1 : scrape->count * 2;
        uint32_t *seconds = realloc(scrape->seconds, capacity * sizeof(*seconds));
        if (seconds != NULL) {
            scrape->seconds = seconds;
        }
        double *values = realloc(scrape->values, capacity * sizeof(*values));
        if (values != NULL) {
            scrape->values = values;
        }
        if (seconds == NULL || values == NULL) {
            fail(reading, STATUS_NO_MEMORY, "there is no memory left");
            return;
        }
    }
    scrape->seconds[scrape->count] = (uint32_t)get_u64(reading, object, "second");
    scrape->values[scrape->count++] = get_double(reading, object, "value", 0);
}

static void read_samples(struct reading *reading, struct bench_result *result)
{
    struct json_value object, ignored;
    if (reading->status != STATUS_OK || !load(reading, "samples.ndjson")) {
        return;
    }
    size_t lines = count_lines(buf_slice(&reading->text));
    result->samples = make(reading, lines, sizeof(*result->samples));
    for (size_t at = 0; result->samples != NULL && next_object(reading, &at, &object);) {
        if (json_member(object, "scrape", &ignored)) {
            read_scrape(reading, object, result);
        } else {
            read_sample(reading, object, result);
        }
    }
}

enum status report_read(const char *dir, struct bench_result *ret_result, char *ret_why, size_t why_size)
{
    struct reading reading = {.dir = dir, .file = "", .why = ret_why, .why_size = why_size, .status = STATUS_OK};
    bench_result_init(ret_result);
    buf_init(&reading.text, FILE_SIZE_MAX + 1);
    reading.parser = json_parser_new();
    if (reading.parser == NULL || bench_result_histograms(ret_result) != STATUS_OK) {
        fail(&reading, STATUS_NO_MEMORY, "there is no memory left");
    }
    if (reading.status == STATUS_OK) {
        read_run(&reading, ret_result);
    }
    read_histograms(&reading, ret_result);
    read_seconds(&reading, ret_result);
    read_samples(&reading, ret_result);
    json_parser_free(reading.parser);
    buf_free(&reading.text);
    return reading.status;
}
