/* sampler.c - a row for each process and second.
 *
 * Counters of the system only grow, so that a sample is the difference of two readings; the first reading is made when
 * a process begins to be watched. /metrics is fetched over a connection for each time, with HTTP/1.0, whose end is the
 * answer's end: nothing is kept between two seconds that could go wrong. A fetch that takes longer than a second makes
 * the next one wait; its values count for the second in which it was asked for. */
#include "bench/sampler.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "bench/procfs.h"
#include "bench/statistics.h"

#define WATCHED_MAX 64
#define PAGE_SIZE_MAX (1u << 20) /* of /metrics */
#define SCRAPES_MAX 400          /* lines of /metrics that are kept */
#define FETCH_NS (5 * NS_PER_S)
#define LEAK_SAMPLES_MIN 10
#define WARM_UP 10 /* a tenth of the samples is warm-up for the slope of the memory */

struct watched {
    int pid; /* 0: not now */
    uint16_t process;
    struct procfs_reading last;
    int64_t last_cpu_ns, last_at_ns;
};

struct fetch { /* frees itself */
    uv_tcp_t tcp;
    uv_connect_t connect;
    uv_write_t write;
    struct sampler *sampler; /* NULL: nobody waits any more */
    struct loop *loop;
    uint32_t second;
    int64_t begun_ns;
    char request[200];
    struct buf answer;
};

struct sampler {
    struct loop *loop;
    struct bench_result *result;
    struct watched watched[WATCHED_MAX];
    uint32_t watched_count;
    uint32_t sample_capacity;
    uint16_t machine; /* its process index */
    struct procfs_machine last_machine;
    int64_t machine_at_ns;
    long ticks_a_second, page_size;
    struct fetch *fetch; /* under way; NULL: none */
    struct sockaddr_in metrics_address;
    char metrics_host[96];
    uint32_t scrape_capacity[SCRAPES_MAX];
};

static uint16_t process_index(struct sampler *sampler, const char *name, int pid)
{
    struct bench_result *result = sampler->result;
    for (uint32_t i = 0; i < result->process_count; i++) {
        if (strcmp(result->processes[i].name, name) == 0) {
            result->processes[i].pid = pid;
            return (uint16_t)i;
        }
    }
    struct bench_process *grown = realloc(result->processes, (result->process_count + 1) * sizeof(*grown));
    if (grown == NULL || result->process_count == UINT16_MAX) {
        return UINT16_MAX;
    }
    result->processes = grown;
    struct bench_process *process = &grown[result->process_count];
    *process = (struct bench_process){.pid = pid};
    snprintf(process->name, sizeof(process->name), "%s", name);
    return (uint16_t)result->process_count++;
}

static int64_t cpu_ns(const struct sampler *sampler, int pid, const struct procfs_reading *reading)
{
    if (pid == getpid()) {
        return clock_cpu_ns(); /* finer than ticks */
    }
    return (int64_t)((double)reading->process.cpu_ticks * (double)NS_PER_S / (double)sampler->ticks_a_second);
}

void sampler_watch(struct sampler *sampler, const char *name, int pid)
{
    uint16_t process = process_index(sampler, name, pid);
    struct watched *watched = NULL;
    for (uint32_t i = 0; i < sampler->watched_count && watched == NULL; i++) {
        if (sampler->watched[i].process == process) {
            watched = &sampler->watched[i];
        }
    }
    if (process == UINT16_MAX || (watched == NULL && sampler->watched_count == WATCHED_MAX)) {
        return; /* more than that are not looked at one by one */
    }
    if (watched == NULL) {
        watched = &sampler->watched[sampler->watched_count++];
    }
    *watched = (struct watched){.pid = pid, .process = process, .last_at_ns = clock_mono_ns()};
    if (pid > 0 && procfs_read_process(pid, &watched->last)) {
        watched->last_cpu_ns = cpu_ns(sampler, pid, &watched->last);
    }
}

/* "http://127.0.0.1:8080/…" of a numeric IPv4 address, or localhost. */
static bool read_address(const char *url, struct sockaddr_in *ret, char *ret_host, size_t host_size)
{
    static const char scheme[] = "http://";
    char host[64];
    if (strncmp(url, scheme, sizeof(scheme) - 1) != 0) {
        return false;
    }
    url += sizeof(scheme) - 1;
    snprintf(ret_host, host_size, "%.*s", (int)strcspn(url, "/"), url);
    size_t len = strcspn(url, ":/");
    if (len == 0 || len >= sizeof(host)) {
        return false;
    }
    memcpy(host, url, len);
    host[len] = '\0';
    unsigned long port = url[len] == ':' ? strtoul(url + len + 1, NULL, 10) : 80;
    return port > 0 && port < 65536 &&
           uv_ip4_addr(strcmp(host, "localhost") == 0 ? "127.0.0.1" : host, (int)port, ret) == 0;
}

enum status sampler_new(struct loop *loop, struct bench_result *result, const char *metrics_url,
                        struct sampler **ret_sampler)
{
    struct sampler *sampler = calloc(1, sizeof(*sampler));
    if (sampler == NULL) {
        return STATUS_NO_MEMORY;
    }
    sampler->loop = loop;
    sampler->result = result;
    sampler->ticks_a_second = sysconf(_SC_CLK_TCK);
    sampler->page_size = sysconf(_SC_PAGESIZE);
    sampler->sample_capacity = result->sample_count;
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    result->cores = cores > 0 ? (uint32_t)cores : 1;
    result->memory_total_bytes = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sampler->page_size;
    if (metrics_url != NULL &&
        !read_address(metrics_url, &sampler->metrics_address, sampler->metrics_host, sizeof(sampler->metrics_host))) {
        sampler->metrics_host[0] = '\0';
    }
    sampler->machine = process_index(sampler, "machine", 0);
    if (sampler->machine == UINT16_MAX) {
        free(sampler);
        return STATUS_NO_MEMORY;
    }
    procfs_read_machine(&sampler->last_machine);
    sampler->machine_at_ns = clock_mono_ns();
    sampler_watch(sampler, "generator", getpid());
    *ret_sampler = sampler;
    return STATUS_OK;
}

/* --- /metrics --- */

static struct bench_scrape *scrape_of(struct sampler *sampler, struct slice name, uint32_t *ret_index)
{
    struct bench_result *result = sampler->result;
    for (uint32_t i = 0; i < result->scrape_count; i++) {
        if (slice_equal_str(name, result->scrapes[i].name)) {
            *ret_index = i;
            return &result->scrapes[i];
        }
    }
    if (result->scrape_count == SCRAPES_MAX || name.len >= sizeof(result->scrapes[0].name)) {
        return NULL;
    }
    struct bench_scrape *grown = realloc(result->scrapes, (result->scrape_count + 1) * sizeof(*grown));
    if (grown == NULL) {
        return NULL;
    }
    result->scrapes = grown;
    *ret_index = result->scrape_count++;
    struct bench_scrape *scrape = &grown[*ret_index];
    *scrape = (struct bench_scrape){0};
    memcpy(scrape->name, name.data, name.len);
    return scrape;
}

static void add_scrape(struct sampler *sampler, struct slice name, uint32_t second, double value)
{
    uint32_t index;
    struct bench_scrape *scrape = scrape_of(sampler, name, &index);
    if (scrape == NULL) {
        return;
    }
    if (scrape->count == sampler->scrape_capacity[index]) {
        uint32_t capacity = scrape->count == 0 ? 64 : scrape->count * 2;
        uint32_t *seconds = realloc(scrape->seconds, capacity * sizeof(*seconds));
        if (seconds != NULL) {
            scrape->seconds = seconds;
        }
        double *values = realloc(scrape->values, capacity * sizeof(*values));
        if (values != NULL) {
            scrape->values = values;
        }
        if (seconds == NULL || values == NULL) {
            return;
        }
        sampler->scrape_capacity[index] = capacity;
    }
    scrape->seconds[scrape->count] = second;
    scrape->values[scrape->count++] = value;
}

/* "name{labels} value [time]" lines; buckets of histograms would be most of it and are left out. */
static void read_page(struct sampler *sampler, struct slice page, uint32_t second)
{
    const char *body = page.len > 3 ? memmem(page.data, page.len, "\r\n\r\n", 4) : NULL;
    if (body == NULL || page.len < 12 || memcmp(page.data + 8, " 200", 4) != 0) {
        return;
    }
    const char *at = body + 4, *end = page.data + page.len;
    while (at < end) {
        const char *line_end = memchr(at, '\n', (size_t)(end - at));
        if (line_end == NULL) {
            break; /* cut off */
        }
        const char *blank = memrchr(at, '}', (size_t)(line_end - at));
        blank = memchr(blank != NULL ? blank : at, ' ', (size_t)(line_end - (blank != NULL ? blank : at)));
        if (*at != '#' && blank != NULL) {
            char number[64];
            char *number_end;
            snprintf(number, sizeof(number), "%.*s", (int)(line_end - blank - 1), blank + 1);
            double value = strtod(number, &number_end);
            struct slice name = slice_of(at, (size_t)(blank - at));
            if (number_end != number && isfinite(value) && memmem(name.data, name.len, "_bucket{", 8) == NULL) {
                add_scrape(sampler, name, second, value);
            }
        }
        at = line_end + 1;
    }
}

static void on_fetch_closed(uv_handle_t *handle)
{
    struct fetch *fetch = handle->data;
    buf_free(&fetch->answer);
    free(fetch);
}

static void end_fetch(struct fetch *fetch)
{
    if (uv_is_closing((uv_handle_t *)&fetch->tcp)) {
        return;
    }
    if (fetch->sampler != NULL) {
        fetch->sampler->fetch = NULL;
    }
    fetch->sampler = NULL;
    uv_close((uv_handle_t *)&fetch->tcp, on_fetch_closed);
}

static void on_fetch_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct fetch *fetch = handle->data;
    (void)suggested;
    *buf = uv_buf_init(fetch->loop->read_buffer, LOOP_READ_BUFFER_SIZE);
}

static void on_fetch_read(uv_stream_t *stream, ssize_t got, const uv_buf_t *buf)
{
    struct fetch *fetch = stream->data;
    if (got > 0) {
        buf_append(&fetch->answer, buf->base, (size_t)got);
    }
    if (got >= 0 && !fetch->answer.failed) {
        return;
    }
    if (got == UV_EOF && fetch->sampler != NULL) {
        read_page(fetch->sampler, buf_slice(&fetch->answer), fetch->second);
    }
    end_fetch(fetch);
}

static void on_fetch_connected(uv_connect_t *connect, int error)
{
    struct fetch *fetch = connect->data;
    if (error != 0 || fetch->sampler == NULL) {
        end_fetch(fetch);
        return;
    }
    snprintf(fetch->request, sizeof(fetch->request), "GET /metrics HTTP/1.0\r\nAccept: text/plain\r\nHost: %s\r\n\r\n",
             fetch->sampler->metrics_host);
    uv_buf_t request = uv_buf_init(fetch->request, (unsigned)strlen(fetch->request));
    if (uv_write(&fetch->write, (uv_stream_t *)&fetch->tcp, &request, 1, NULL) != 0 ||
        uv_read_start((uv_stream_t *)&fetch->tcp, on_fetch_alloc, on_fetch_read) != 0) {
        end_fetch(fetch);
    }
}

static void begin_fetch(struct sampler *sampler, uint32_t second)
{
    if (sampler->fetch != NULL && clock_mono_ns() - sampler->fetch->begun_ns > FETCH_NS) {
        end_fetch(sampler->fetch);
    }
    if (sampler->metrics_host[0] == '\0' || sampler->fetch != NULL) {
        return;
    }
    struct fetch *fetch = calloc(1, sizeof(*fetch));
    if (fetch == NULL) {
        return;
    }
    fetch->sampler = sampler;
    fetch->loop = sampler->loop;
    fetch->second = second;
    fetch->begun_ns = clock_mono_ns();
    buf_init(&fetch->answer, PAGE_SIZE_MAX);
    ensure(uv_tcp_init(&sampler->loop->uv, &fetch->tcp) == 0);
    fetch->tcp.data = fetch->connect.data = fetch;
    sampler->fetch = fetch;
    if (uv_tcp_connect(&fetch->connect, &fetch->tcp, (struct sockaddr *)&sampler->metrics_address,
                       on_fetch_connected) != 0) {
        end_fetch(fetch);
    }
}

/* --- samples --- */

static void add_sample(struct sampler *sampler, const struct bench_sample *sample)
{
    struct bench_result *result = sampler->result;
    if (result->sample_count == sampler->sample_capacity) {
        uint32_t capacity = sampler->sample_capacity == 0 ? 256 : sampler->sample_capacity * 2;
        struct bench_sample *grown = realloc(result->samples, capacity * sizeof(*grown));
        if (grown == NULL) {
            return;
        }
        result->samples = grown;
        sampler->sample_capacity = capacity;
    }
    result->samples[result->sample_count++] = *sample;
}

static uint64_t growth(uint64_t from, uint64_t to)
{
    return to > from ? to - from : 0;
}

static void sample_process(struct sampler *sampler, struct watched *watched, uint32_t second)
{
    struct procfs_reading reading;
    if (watched->pid == 0 || !procfs_read_process(watched->pid, &reading)) {
        return;
    }
    int64_t now_ns = clock_mono_ns(), used_ns = cpu_ns(sampler, watched->pid, &reading);
    double elapsed_ns = (double)(now_ns - watched->last_at_ns);
    struct bench_sample sample = {
        .second = second,
        .process = watched->process,
        .cpu_percent = elapsed_ns > 0 ? 100.0 * (double)(used_ns - watched->last_cpu_ns) / elapsed_ns : 0,
        .memory_bytes = reading.process.memory_pages * (uint64_t)sampler->page_size,
        .descriptors = reading.descriptors,
        .threads = reading.process.threads,
        .disk_read_bytes = growth(watched->last.read_bytes, reading.read_bytes),
        .disk_written_bytes = growth(watched->last.written_bytes, reading.written_bytes)};
    add_sample(sampler, &sample);
    watched->last = reading;
    watched->last_at_ns = now_ns;
    watched->last_cpu_ns = used_ns;
}

static void sample_machine(struct sampler *sampler, uint32_t second)
{
    struct procfs_machine now;
    const struct procfs_machine *last = &sampler->last_machine;
    procfs_read_machine(&now);
    int64_t now_ns = clock_mono_ns();
    double seconds = (double)(now_ns - sampler->machine_at_ns) / (double)NS_PER_S;
    double ticks = (double)growth(last->busy_ticks, now.busy_ticks);
    struct bench_sample sample = {.second = second,
                                  .process = sampler->machine,
                                  .cpu_percent =
                                      seconds > 0 ? 100.0 * ticks / (double)sampler->ticks_a_second / seconds : 0,
                                  .memory_bytes = now.memory_used_bytes,
                                  .disk_read_bytes = growth(last->disk_read_bytes, now.disk_read_bytes),
                                  .disk_written_bytes = growth(last->disk_written_bytes, now.disk_written_bytes),
                                  .net_in_bytes = growth(last->net_in_bytes, now.net_in_bytes),
                                  .net_out_bytes = growth(last->net_out_bytes, now.net_out_bytes)};
    add_sample(sampler, &sample);
    sampler->last_machine = now;
    sampler->machine_at_ns = now_ns;
}

void sampler_tick(struct sampler *sampler, uint32_t second)
{
    for (uint32_t i = 0; i < sampler->watched_count; i++) {
        sample_process(sampler, &sampler->watched[i], second);
    }
    sample_machine(sampler, second);
    begin_fetch(sampler, second);
}

/* --- the end --- */

static void summarise(struct bench_result *result, uint16_t index, double *x, double *y)
{
    struct bench_process *process = &result->processes[index];
    double cpu = 0, memory = 0;
    size_t count = 0;
    for (uint32_t i = 0; i < result->sample_count; i++) {
        const struct bench_sample *sample = &result->samples[i];
        if (sample->process != index) {
            continue;
        }
        cpu += sample->cpu_percent;
        memory += (double)sample->memory_bytes;
        process->cpu_peak_percent = fmax(process->cpu_peak_percent, sample->cpu_percent);
        if (sample->memory_bytes > process->memory_peak_bytes) {
            process->memory_peak_bytes = sample->memory_bytes;
        }
        process->memory_end_bytes = sample->memory_bytes;
        x[count] = (double)sample->second / 3600.0;
        y[count++] = (double)sample->memory_bytes;
    }
    if (count == 0) {
        return;
    }
    process->cpu_mean_percent = cpu / (double)count;
    process->memory_mean_bytes = (uint64_t)(memory / (double)count);
    struct line_fit fit;
    size_t from = count / WARM_UP;
    if (count - from >= LEAK_SAMPLES_MIN && statistics_line(x + from, y + from, count - from, &fit)) {
        process->leak_bytes_per_hour = fit.slope;
        process->leak_low = fit.slope_low;
        process->leak_high = fit.slope_high;
    }
}

void sampler_finish(struct sampler *sampler)
{
    struct bench_result *result = sampler->result;
    if (sampler->fetch != NULL) {
        end_fetch(sampler->fetch);
    }
    double *x = calloc(result->sample_count + 1, sizeof(*x)), *y = calloc(result->sample_count + 1, sizeof(*y));
    for (uint32_t i = 0; i < result->process_count && x != NULL && y != NULL; i++) {
        summarise(result, (uint16_t)i, x, y);
    }
    free(x);
    free(y);
    free(sampler);
}
