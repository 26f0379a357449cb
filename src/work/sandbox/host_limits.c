/* host_limits.c - reads limits from /proc and from the control groups around this process.
 *
 * A process is below every group on the way from its own up to the root of the hierarchy, and the least limit on that
 * way holds. Of that way only the part below the mount point can be seen (a container often shows its own group as the
 * root); what lies above is known to the kernel, which in version 1 tells it as hierarchical_memory_limit. */
#include "work/sandbox/host_limits.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/ensure.h"

#define PATH_SIZE 1024
#define TEXT_SIZE 65536 /* mountinfo of a machine with many containers; what is past it is not looked at */

static bool text_read(const char *root, const char *path, char *ret_text, size_t size)
{
    char full[PATH_SIZE + 256];
    snprintf(full, sizeof(full), "%s%s", root, path);
    int fd = open(full, O_RDONLY | O_CLOEXEC);
    size_t len = 0;
    ssize_t got = 0;
    while (fd >= 0 && len < size - 1 && (got = read(fd, ret_text + len, size - 1 - len)) > 0) {
        len += (size_t)got;
    }
    if (fd >= 0) {
        close(fd);
    }
    ret_text[len] = 0;
    return len > 0;
}

/* The number a file holds; false when there is none, such as "max" or "-1". */
static bool number_read(const char *root, const char *dir, const char *file, uint64_t *ret_number)
{
    char path[PATH_SIZE + 64], text[128], *end;
    snprintf(path, sizeof(path), "%s/%s", dir, file);
    if (!text_read(root, path, text, sizeof(text)) || text[0] < '0' || text[0] > '9') {
        return false;
    }
    *ret_number = strtoull(text, &end, 10);
    return end != text;
}

/* The number after a word at the start of a line. */
static bool line_number(const char *text, const char *word, uint64_t *ret_number)
{
    size_t len = strlen(word);
    for (const char *line = text; line != NULL && *line != 0; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, word, len) == 0 && (line[len] == ' ' || line[len] == ':')) {
            *ret_number = strtoull(line + len + 1, NULL, 10);
            return true;
        }
    }
    return false;
}

static bool has_word(const char *list, const char *word)
{
    size_t len = strlen(word);
    for (const char *at = list; (at = strstr(at, word)) != NULL; at += len) {
        if ((at == list || at[-1] == ',') && (at[len] == ',' || at[len] == 0)) {
            return true;
        }
    }
    return false;
}

static void least_u32(uint32_t *number, uint64_t other)
{
    if (other > 0 && (*number == 0 || other < *number)) {
        *number = other > UINT32_MAX ? UINT32_MAX : (uint32_t)other;
    }
}

/* --- one group ------------------------------------------------------------------------------------------------- */

static void quota_apply(struct host_limits *limits, uint64_t quota, uint64_t period)
{
    if (period > 0 && quota > 0 && quota < UINT64_MAX / 1000) {
        uint64_t milli = quota * 1000 / period;
        least_u32(&limits->cpu_milli, milli > 0 ? milli : 1);
    }
}

/* Version 1 has a file of its own kind for each controller, version 2 others; a file that is not there limits nothing. */
static void group_apply(const char *root, const char *dir, struct host_limits *limits)
{
    static const char *const memory[] = {"memory.limit_in_bytes", "memory.max"};
    char path[PATH_SIZE + 64], text[8192];
    uint64_t number, period;
    for (size_t i = 0; i < ARRAY_COUNT(memory); i++) {
        if (number_read(root, dir, memory[i], &number) && number < limits->memory_bytes) {
            limits->memory_bytes = number;
            limits->is_memory_grouped = true;
        }
    }
    snprintf(path, sizeof(path), "%s/memory.stat", dir);
    if (text_read(root, path, text, sizeof(text)) && line_number(text, "hierarchical_memory_limit", &number) &&
        number > 0 && number < limits->memory_bytes) {
        limits->memory_bytes = number;
        limits->is_memory_grouped = true;
    }
    if (number_read(root, dir, "pids.max", &number)) {
        least_u32(&limits->procs, number);
    }
    if (number_read(root, dir, "cpu.cfs_quota_us", &number) && number_read(root, dir, "cpu.cfs_period_us", &period)) {
        quota_apply(limits, number, period);
    }
    snprintf(path, sizeof(path), "%s/cpu.max", dir);
    unsigned long long quota, of;
    if (text_read(root, path, text, sizeof(text)) && sscanf(text, "%llu %llu", &quota, &of) == 2) {
        quota_apply(limits, quota, of);
    }
}

/* --- the way up ------------------------------------------------------------------------------------------------ */

static bool is_dir(const char *root, const char *path)
{
    char full[PATH_SIZE + 256];
    struct stat st;
    snprintf(full, sizeof(full), "%s%s", root, path);
    return stat(full, &st) == 0 && S_ISDIR(st.st_mode);
}

/* The path of this process in a hierarchy: of version 2 with `options` NULL, else of the one whose controllers are among
 * the mount options. */
static bool own_path(const char *groups, const char *options, char *ret_path, size_t size)
{
    char line[PATH_SIZE];
    for (const char *at = groups; *at != 0;) {
        size_t len = strcspn(at, "\n");
        snprintf(line, sizeof(line), "%.*s", (int)(len < sizeof(line) ? len : sizeof(line) - 1), at);
        at += at[len] == '\n' ? len + 1 : len;
        char *names = strchr(line, ':'), *path = names != NULL ? strchr(names + 1, ':') : NULL;
        if (path == NULL) {
            continue;
        }
        *path++ = 0;
        names++;
        names[strcspn(names, ",")] = 0; /* controllers that are mounted together are in every list together */
        if (options == NULL ? *names == 0 : *names != 0 && has_word(options, names)) {
            snprintf(ret_path, size, "%s", path);
            return true;
        }
    }
    return false;
}

/* Applies a mount's groups, from the process's own up to the mount point. `top` is what of the hierarchy is mounted. */
static void mount_apply(const char *root, const char *top, const char *point, const char *own,
                        struct host_limits *limits)
{
    size_t top_len = strcmp(top, "/") == 0 ? 0 : strlen(top), point_len = strlen(point);
    char dir[PATH_SIZE];
    const char *below =
        strncmp(own, top, top_len) == 0 && (own[top_len] == '/' || own[top_len] == 0) ? own + top_len : "";
    snprintf(dir, sizeof(dir), "%s%s", point, strcmp(below, "/") == 0 || strstr(below, "..") != NULL ? "" : below);
    if (!is_dir(root, dir)) { /* it lies outside of what is mounted */
        snprintf(dir, sizeof(dir), "%s", point);
    }
    for (;;) {
        group_apply(root, dir, limits);
        char *slash = strrchr(dir, '/');
        if (slash == NULL || (size_t)(slash - dir) < point_len) {
            return;
        }
        *slash = 0;
    }
}

static void groups_apply(const char *root, struct host_limits *limits)
{
    char *mounts = malloc(TEXT_SIZE), *rest = NULL;
    char groups[8192], top[PATH_SIZE], point[PATH_SIZE], own[PATH_SIZE], type[32], options[256];
    if (mounts != NULL && text_read(root, "/proc/self/mountinfo", mounts, TEXT_SIZE) &&
        text_read(root, "/proc/self/cgroup", groups, sizeof(groups))) {
        for (char *line = strtok_r(mounts, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest)) {
            /* 35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory */
            const char *tail = strstr(line, " - ");
            if (tail == NULL || sscanf(line, "%*s %*s %*s %1023s %1023s", top, point) != 2 ||
                sscanf(tail, " - %31s %*s %255s", type, options) != 2) {
                continue;
            }
            bool is_v2 = strcmp(type, "cgroup2") == 0;
            if ((is_v2 || strcmp(type, "cgroup") == 0) && own_path(groups, is_v2 ? NULL : options, own, sizeof(own))) {
                mount_apply(root, top, point, own, limits);
            }
        }
    }
    free(mounts);
}

void host_limits_read(const char *root, struct host_limits *ret_limits)
{
    char text[8192];
    uint64_t number = 0;
    *ret_limits = (struct host_limits){0};
    if (text_read(root, "/proc/meminfo", text, sizeof(text)) && line_number(text, "MemTotal", &number)) {
        ret_limits->memory_bytes = number * 1024;
    }
    bool is_known = ret_limits->memory_bytes > 0;
    if (!is_known) {
        ret_limits->memory_bytes = UINT64_MAX;
    }
    if (number_read(root, "/proc/sys/kernel", "threads-max", &number)) {
        least_u32(&ret_limits->procs, number);
    }
    if (number_read(root, "/proc/sys/kernel", "pid_max", &number)) {
        least_u32(&ret_limits->procs, number);
    }
    groups_apply(root, ret_limits);
    if (!is_known && !ret_limits->is_memory_grouped) {
        ret_limits->memory_bytes = 0;
    }
}
