/* procfs.c - small files of /proc, read and taken apart. */
#include "bench/procfs.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TEXT_SIZE (64u << 10) /* /proc/stat of a machine with many interrupts is cut off behind what is wanted */
#define SECTOR_SIZE 512

static struct slice take_line(struct slice *text)
{
    const char *end = text->len > 0 ? memchr(text->data, '\n', text->len) : NULL;
    size_t len = end != NULL ? (size_t)(end - text->data) : text->len;
    struct slice line = slice_of(text->data, len);
    len += end != NULL;
    *text = slice_of(text->data + len, text->len - len);
    return line;
}

/* The next word, of what stands between blanks. */
static struct slice take_word(struct slice *line)
{
    size_t from = 0;
    while (from < line->len && (line->data[from] == ' ' || line->data[from] == '\t')) {
        from++;
    }
    size_t to = from;
    while (to < line->len && line->data[to] != ' ' && line->data[to] != '\t') {
        to++;
    }
    struct slice word = slice_of(line->data + from, to - from);
    *line = slice_of(line->data + to, line->len - to);
    return word;
}

static bool to_number(struct slice word, uint64_t *ret)
{
    uint64_t number = 0;
    if (word.len == 0) {
        return false;
    }
    for (size_t i = 0; i < word.len; i++) {
        if (word.data[i] < '0' || word.data[i] > '9' || __builtin_mul_overflow(number, 10u, &number) ||
            __builtin_add_overflow(number, (uint64_t)(word.data[i] - '0'), &number)) {
            return false;
        }
    }
    *ret = number;
    return true;
}

/* Number `index` (from 0) of the words of a line. */
static bool number_at(struct slice line, unsigned index, uint64_t *ret)
{
    struct slice word = take_word(&line);
    for (unsigned i = 0; i < index; i++) {
        word = take_word(&line);
    }
    return to_number(word, ret);
}

bool procfs_parse_process(struct slice stat, struct procfs_process *ret)
{
    /* The name is in brackets and may hold brackets and blanks: what counts is behind the last one. */
    const char *end = stat.len > 0 ? memrchr(stat.data, ')', stat.len) : NULL;
    uint64_t user, system;
    if (end == NULL) {
        return false;
    }
    struct slice rest = slice_of(end + 1, (size_t)(stat.data + stat.len - end - 1));
    /* Fields 14, 15, 20 and 24 of proc(5); the state is field 3 and the first one here. */
    if (!number_at(rest, 11, &user) || !number_at(rest, 12, &system) || !number_at(rest, 17, &ret->threads) ||
        !number_at(rest, 21, &ret->memory_pages)) {
        return false;
    }
    ret->cpu_ticks = user + system;
    return true;
}

/* The number behind a name at a line's beginning. */
static bool named(struct slice text, const char *name, uint64_t *ret)
{
    while (text.len > 0) {
        struct slice line = take_line(&text);
        if (slice_equal_str(take_word(&line), name)) {
            return number_at(line, 0, ret);
        }
    }
    return false;
}

bool procfs_parse_io(struct slice io, uint64_t *ret_read_bytes, uint64_t *ret_written_bytes)
{
    return named(io, "read_bytes:", ret_read_bytes) && named(io, "write_bytes:", ret_written_bytes);
}

bool procfs_parse_cpu(struct slice stat, struct procfs_machine *ret)
{
    struct slice line = take_line(&stat);
    if (!slice_equal_str(take_word(&line), "cpu")) {
        return false;
    }
    uint64_t busy = 0;
    for (unsigned i = 0; i < 8; i++) { /* user nice system idle iowait irq softirq steal; guest time is inside user */
        uint64_t ticks = 0;
        if (!number_at(line, i, &ticks) && i < 4) {
            return false;
        }
        if (i != 3 && i != 4) {
            busy += ticks;
        }
    }
    ret->busy_ticks = busy;
    return true;
}

bool procfs_parse_memory(struct slice meminfo, struct procfs_machine *ret)
{
    uint64_t total, available;
    if (!named(meminfo, "MemTotal:", &total) || !named(meminfo, "MemAvailable:", &available) || available > total) {
        return false;
    }
    ret->memory_used_bytes = (total - available) * 1024;
    return true;
}

static bool is_real_disk(struct slice name)
{
    static const char *const others[] = {"loop", "ram", "zram", "dm-", "md", "sr", "fd"};
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        if (slice_starts_with(name, slice_str(others[i]))) {
            return false;
        }
    }
    return name.len > 0;
}

bool procfs_parse_disks(struct slice diskstats, struct procfs_machine *ret)
{
    struct slice disk = {NULL, 0};
    ret->disk_read_bytes = ret->disk_written_bytes = 0;
    while (diskstats.len > 0) {
        struct slice line = take_line(&diskstats);
        struct slice rest = line;
        uint64_t read, written;
        (void)take_word(&rest);
        (void)take_word(&rest);
        struct slice name = take_word(&rest);
        /* Partitions follow their disk and begin with its name. */
        if (!is_real_disk(name) || (disk.len > 0 && slice_starts_with(name, disk))) {
            continue;
        }
        if (!number_at(line, 5, &read) || !number_at(line, 9, &written)) {
            continue;
        }
        disk = name;
        ret->disk_read_bytes += read * SECTOR_SIZE;
        ret->disk_written_bytes += written * SECTOR_SIZE;
    }
    return true;
}

bool procfs_parse_net(struct slice net_dev, struct procfs_machine *ret)
{
    bool is_any = false;
    ret->net_in_bytes = ret->net_out_bytes = 0;
    while (net_dev.len > 0) {
        struct slice line = take_line(&net_dev);
        const char *colon =
            line.len > 0 ? memchr(line.data, ':', line.len) : NULL; /* "eth0:123" has no blank in old kernels */
        uint64_t in, out;
        if (colon == NULL) {
            continue;
        }
        line = slice_of(colon + 1, (size_t)(line.data + line.len - colon - 1));
        if (!number_at(line, 0, &in) || !number_at(line, 8, &out)) {
            continue;
        }
        is_any = true;
        ret->net_in_bytes += in;
        ret->net_out_bytes += out;
    }
    return is_any;
}

/* --- readings --- */

static struct slice read_text(const char *path, char *text, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t len = 0;
    if (fd < 0) {
        return (struct slice){NULL, 0};
    }
    while (len < size) {
        ssize_t got = read(fd, text + len, size - len);
        if (got <= 0) {
            break;
        }
        len += (size_t)got;
    }
    close(fd);
    return slice_of(text, len);
}

/* Open descriptors; Linux 6.2 says it as the size of the folder, older ones let count. */
static uint64_t count_descriptors(const char *path)
{
    struct stat info;
    uint64_t count = 0;
    if (stat(path, &info) != 0) {
        return 0;
    }
    if (info.st_size > 0) {
        return (uint64_t)info.st_size;
    }
    DIR *dir = opendir(path);
    if (dir == NULL) {
        return 0;
    }
    while (readdir(dir) != NULL) {
        count++;
    }
    closedir(dir);
    return count > 2 ? count - 2 : 0;
}

bool procfs_read_process(int pid, struct procfs_reading *ret)
{
    char path[64], text[4096];
    *ret = (struct procfs_reading){0};
    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    if (!procfs_parse_process(read_text(path, text, sizeof(text)), &ret->process)) {
        return false;
    }
    snprintf(path, sizeof(path), "/proc/%d/io", pid);
    (void)procfs_parse_io(read_text(path, text, sizeof(text)), &ret->read_bytes, &ret->written_bytes);
    snprintf(path, sizeof(path), "/proc/%d/fd", pid);
    ret->descriptors = count_descriptors(path);
    return true;
}

void procfs_read_machine(struct procfs_machine *ret)
{
    static char text[TEXT_SIZE]; /* of the one thread that samples */
    *ret = (struct procfs_machine){0};
    (void)procfs_parse_cpu(read_text("/proc/stat", text, sizeof(text)), ret);
    (void)procfs_parse_memory(read_text("/proc/meminfo", text, sizeof(text)), ret);
    (void)procfs_parse_disks(read_text("/proc/diskstats", text, sizeof(text)), ret);
    (void)procfs_parse_net(read_text("/proc/net/dev", text, sizeof(text)), ret);
}
