/* facts.c - what a node knows about its machine. */
#include "node/facts.h"

#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/json.h"
#include "work/sandbox/host_limits.h"

/* A whole small file into `buf` of `size` bytes; an empty slice when it cannot be read. */
static struct slice read_small(const char *path, char *buf, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return (struct slice){NULL, 0};
    }
    size_t len = 0;
    while (len < size) {
        ssize_t got = read(fd, buf + len, size - len);
        if (got <= 0) {
            break;
        }
        len += (size_t)got;
    }
    close(fd);
    return slice_of(buf, len);
}

static struct slice next_line(struct slice *text)
{
    const char *end = text->len > 0 ? memchr(text->data, '\n', text->len) : NULL;
    size_t len = end != NULL ? (size_t)(end - text->data) : text->len;
    struct slice line = slice_of(text->data, len);
    size_t skip = end != NULL ? len + 1 : len;
    text->data += skip;
    text->len -= skip;
    return line;
}

/* Takes spaces and then decimal digits off the front. */
static bool take_u64(struct slice *text, uint64_t *ret)
{
    while (text->len > 0 && (*text->data == ' ' || *text->data == '\t')) {
        text->data++;
        text->len--;
    }
    uint64_t number = 0;
    size_t digits = 0;
    while (text->len > 0 && *text->data >= '0' && *text->data <= '9') {
        if (__builtin_mul_overflow(number, 10u, &number) ||
            __builtin_add_overflow(number, (uint64_t)(*text->data - '0'), &number)) {
            return false;
        }
        text->data++;
        text->len--;
        digits++;
    }
    if (digits == 0) {
        return false;
    }
    *ret = number;
    return true;
}

bool facts_parse_stat(struct slice text, uint64_t *ret_busy, uint64_t *ret_total)
{
    struct slice line = next_line(&text);
    if (!slice_starts_with(line, SLICE("cpu "))) {
        return false;
    }
    line.data += 4;
    line.len -= 4;
    uint64_t field[8] = {0}; /* user nice system idle iowait irq softirq steal; guest time is inside user */
    size_t count = 0;
    while (count < 8 && take_u64(&line, &field[count])) {
        count++;
    }
    if (count < 4) {
        return false;
    }
    uint64_t total = 0;
    for (size_t i = 0; i < 8; i++) {
        total += field[i];
    }
    *ret_busy = total - field[3] - field[4];
    *ret_total = total;
    return true;
}

bool facts_parse_meminfo(struct slice text, const char *name, uint32_t *ret_mib)
{
    size_t name_len = strlen(name);
    while (text.len > 0) {
        struct slice line = next_line(&text);
        if (line.len <= name_len || memcmp(line.data, name, name_len) != 0 || line.data[name_len] != ':') {
            continue;
        }
        line.data += name_len + 1;
        line.len -= name_len + 1;
        uint64_t kib;
        if (!take_u64(&line, &kib)) {
            return false;
        }
        *ret_mib = kib / 1024 > UINT32_MAX ? UINT32_MAX : (uint32_t)(kib / 1024);
        return true;
    }
    return false;
}

bool facts_parse_os_release(struct slice text, const char *name, char *ret, size_t size)
{
    size_t name_len = strlen(name);
    while (text.len > 0) {
        struct slice line = next_line(&text);
        if (line.len <= name_len || memcmp(line.data, name, name_len) != 0 || line.data[name_len] != '=') {
            continue;
        }
        struct slice value = slice_of(line.data + name_len + 1, line.len - name_len - 1);
        if (value.len >= 2 && value.data[0] == '"' && value.data[value.len - 1] == '"') {
            value = slice_of(value.data + 1, value.len - 2);
        }
        snprintf(ret, size, "%.*s", SLICE_ARG(value));
        return true;
    }
    return false;
}

/* The least of what the control groups around this process allow, of both versions. */
static void apply_host_limits(struct node_facts *facts)
{
    struct host_limits limits;
    host_limits_read("", &limits);
    if (limits.cpu_milli > 0 && limits.cpu_milli < facts->cpu_milli) {
        facts->cpu_milli = limits.cpu_milli;
    }
    if (limits.memory_bytes >> 20 > 0 && limits.memory_bytes >> 20 < facts->memory_mib) {
        facts->memory_mib = (uint32_t)(limits.memory_bytes >> 20);
    }
}

static void read_cpu_model(char *ret, size_t size)
{
    char buf[4096]; /* the first processor is enough */
    struct slice text = read_small("/proc/cpuinfo", buf, sizeof(buf));
    while (text.len > 0) {
        struct slice line = next_line(&text);
        const char *colon = line.len > 0 ? memchr(line.data, ':', line.len) : NULL;
        if (colon == NULL || !slice_starts_with(line, SLICE("model name"))) {
            continue;
        }
        const char *value = colon + 1;
        while (value < line.data + line.len && *value == ' ') {
            value++;
        }
        snprintf(ret, size, "%.*s", (int)(line.data + line.len - value), value);
        return;
    }
}

void facts_read(struct node_facts *ret_facts)
{
    *ret_facts = (struct node_facts){0};
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    ret_facts->core_count = online > 0 ? (uint32_t)online : 1;
    cpu_set_t set;
    uint32_t usable = sched_getaffinity(0, sizeof(set), &set) == 0 ? (uint32_t)CPU_COUNT(&set) : ret_facts->core_count;
    ret_facts->cpu_milli = usable * 1000;
    char buf[8192];
    (void)facts_parse_meminfo(read_small("/proc/meminfo", buf, sizeof(buf)), "MemTotal", &ret_facts->memory_mib);
    apply_host_limits(ret_facts);
    read_cpu_model(ret_facts->cpu_model, sizeof(ret_facts->cpu_model));
    struct slice release = read_small("/etc/os-release", buf, sizeof(buf));
    if (!facts_parse_os_release(release, "PRETTY_NAME", ret_facts->os, sizeof(ret_facts->os))) {
        snprintf(ret_facts->os, sizeof(ret_facts->os), "Linux");
    }
    struct utsname name;
    if (uname(&name) == 0) {
        snprintf(ret_facts->kernel, sizeof(ret_facts->kernel), "%s", name.release);
        snprintf(ret_facts->machine, sizeof(ret_facts->machine), "%s", name.machine);
        snprintf(ret_facts->hostname, sizeof(ret_facts->hostname), "%s", name.nodename);
    }
}

void facts_write(struct buf *out, const struct node_facts *facts)
{
    buf_append_str(out, "\"os\":");
    json_write_str(out, slice_str(facts->os));
    buf_append_str(out, ",\"kernel\":");
    json_write_str(out, slice_str(facts->kernel));
    buf_append_str(out, ",\"machine\":");
    json_write_str(out, slice_str(facts->machine));
    buf_append_str(out, ",\"hostname\":");
    json_write_str(out, slice_str(facts->hostname));
    buf_append_str(out, ",\"cpu_model\":");
    json_write_str(out, slice_str(facts->cpu_model));
    buf_printf(out, ",\"cores\":%" PRIu32 ",\"memory_mib\":%" PRIu32, facts->core_count, facts->memory_mib);
}

void load_sample(struct load_sampler *sampler, struct work_load *ret_load)
{
    char buf[8192];
    uint64_t busy, total;
    /* The first line is all that is needed, whatever of the file fits. */
    if (facts_parse_stat(read_small("/proc/stat", buf, sizeof(buf)), &busy, &total)) {
        if (sampler->total > 0 && total > sampler->total && busy >= sampler->busy) {
            ret_load->cpu_permille = (uint32_t)((busy - sampler->busy) * 1000 / (total - sampler->total));
        }
        sampler->busy = busy;
        sampler->total = total;
    }
    struct slice text = read_small("/proc/meminfo", buf, sizeof(buf));
    uint32_t memory_mib, available_mib;
    if (facts_parse_meminfo(text, "MemTotal", &memory_mib) &&
        facts_parse_meminfo(text, "MemAvailable", &available_mib) && available_mib <= memory_mib) {
        ret_load->memory_used_mib = memory_mib - available_mib;
    }
}
