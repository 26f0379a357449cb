#include "hub/machine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define PATH_SIZE 4608u
#define LINES_MAX 64

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* The number in a file; UINT64_MAX for "max", and when there is none. */
static uint64_t read_limit(const char *path)
{
    char text[64];
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return UINT64_MAX;
    }
    uint64_t limit = UINT64_MAX;
    if (fgets(text, sizeof(text), file) != NULL && text[0] >= '0' && text[0] <= '9') {
        limit = strtoull(text, NULL, 10);
    }
    fclose(file);
    return limit > 0 ? limit : UINT64_MAX;
}

/* The limits of a group and of all above it: each of them counts. */
static uint64_t limits_up_from(const char *mount, const char *group, const char *name)
{
    char path[PATH_SIZE], at[4096];
    uint64_t limit = UINT64_MAX;
    snprintf(at, sizeof(at), "%s", group);
    for (;;) {
        snprintf(path, sizeof(path), "%s%s/%s", mount, at, name);
        limit = least(limit, read_limit(path));
        char *slash = strrchr(at, '/');
        if (slash == NULL) {
            return limit;
        }
        *slash = '\0';
    }
}

/* /proc/self/cgroup: "0::/path" of v2, "N:memory,…:/path" of v1. A container often sees its own group as the root of the
 * mount, whatever the path says; the walk upwards ends there in any case. */
static uint64_t cgroup_limit(const char *root)
{
    char path[PATH_SIZE], line[4096], v2[PATH_SIZE], v1[PATH_SIZE];
    uint64_t limit = UINT64_MAX;
    snprintf(v2, sizeof(v2), "%s/sys/fs/cgroup", root);
    snprintf(v1, sizeof(v1), "%s/sys/fs/cgroup/memory", root);
    snprintf(path, sizeof(path), "%s/proc/self/cgroup", root);
    FILE *file = fopen(path, "re");
    for (int i = 0; file != NULL && i < LINES_MAX && fgets(line, sizeof(line), file) != NULL; i++) {
        line[strcspn(line, "\n")] = '\0';
        char *controllers = strchr(line, ':');
        char *group = controllers != NULL ? strchr(controllers + 1, ':') : NULL;
        if (group == NULL) {
            continue;
        }
        *group++ = '\0';
        controllers++;
        if (controllers[0] == '\0') {
            limit = least(limit, limits_up_from(v2, group, "memory.max"));
        } else if (strstr(controllers, "memory") != NULL) {
            limit = least(limit, limits_up_from(v1, group, "memory.limit_in_bytes"));
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    return limit;
}

uint64_t machine_memory_below(const char *root)
{
    long pages = sysconf(_SC_PHYS_PAGES), page_size = sysconf(_SC_PAGESIZE);
    uint64_t memory = pages > 0 && page_size > 0 ? (uint64_t)pages * (uint64_t)page_size : UINT64_MAX;
    memory = least(memory, cgroup_limit(root));
    struct rlimit limit;
    if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
        memory = least(memory, limit.rlim_cur);
    }
    return memory;
}

uint64_t machine_memory(void)
{
    return machine_memory_below("");
}
