/* process_tree.c - what a process and its descendants use, read from /proc.
 *
 * A sandbox is a pid namespace, so whatever daemonises inside it is handed to the sandbox's process 1 and stays below
 * the supervisor's child: following parents finds everything. Memory counts anonymous and shared pages but no mapped
 * files: the runtimes' libraries are not the program's. Shared pages count once for each process, which errs on the
 * strict side. */
#include "work/sandbox/process_tree.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/ensure.h"

#define INODE_SIZE 1024     /* of an empty file in tmpfs: about 700 bytes of inode and 200 of name */
#define PROCESSES_MAX 65536 /* looked at in one walk; past it the rest is not counted */

struct process {
    pid_t pid;
    pid_t parent;
    int64_t ticks;
    bool is_inside;
};

static bool proc_read(pid_t pid, const char *file, char *ret_text, size_t size)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    ssize_t got = read(fd, ret_text, size - 1);
    close(fd);
    ret_text[got > 0 ? got : 0] = 0;
    return got > 0;
}

static bool process_read(pid_t pid, struct process *ret_process)
{
    char text[1024];
    if (!proc_read(pid, "stat", text, sizeof(text))) {
        return false;
    }
    /* the name is in brackets and may hold anything: the fields begin after the last one */
    char *fields = strrchr(text, ')');
    int parent;
    long long user, kernel, children_user, children_kernel;
    if (fields == NULL || sscanf(fields + 1, " %*c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lld %lld %lld %lld", &parent,
                                 &user, &kernel, &children_user, &children_kernel) != 5) {
        return false;
    }
    *ret_process = (struct process){pid, (pid_t)parent, user + kernel + children_user + children_kernel, false};
    return true;
}

static int64_t status_kib(const char *text, const char *key)
{
    const char *line = strstr(text, key);
    return line != NULL ? strtoll(line + strlen(key), NULL, 10) : 0;
}

static int by_pid(const void *a, const void *b)
{
    pid_t left = ((const struct process *)a)->pid, right = ((const struct process *)b)->pid;
    return (left > right) - (left < right);
}

static struct process *list_all(size_t *ret_count)
{
    DIR *proc = opendir("/proc");
    if (proc == NULL) {
        return NULL;
    }
    struct process *list = NULL;
    size_t count = 0, cap = 0;
    struct dirent *entry;
    while ((entry = readdir(proc)) != NULL && count < PROCESSES_MAX) {
        if (!isdigit((unsigned char)entry->d_name[0])) {
            continue;
        }
        if (count == cap) {
            size_t more = cap == 0 ? 256 : cap * 2;
            struct process *grown = realloc(list, more * sizeof(*list));
            if (grown == NULL) {
                break;
            }
            list = grown;
            cap = more;
        }
        if (process_read((pid_t)atoi(entry->d_name), &list[count])) {
            count++;
        }
    }
    closedir(proc);
    *ret_count = count;
    return list;
}

void process_tree_usage(pid_t root, struct process_usage *ret_usage)
{
    struct process_usage usage = {0};
    size_t count = 0;
    struct process *list = list_all(&count);
    if (list == NULL) {
        *ret_usage = usage;
        return;
    }
    qsort(list, count, sizeof(*list), by_pid);
    int64_t ticks = 0;
    /* numbers wrap, so a child may come before its parent: repeat until nothing new is found */
    for (bool is_news = true; is_news;) {
        is_news = false;
        for (size_t i = 0; i < count; i++) {
            if (list[i].is_inside) {
                continue;
            }
            struct process key = {.pid = list[i].parent};
            struct process *parent = bsearch(&key, list, count, sizeof(*list), by_pid);
            if (list[i].pid != root && (parent == NULL || !parent->is_inside)) {
                continue;
            }
            list[i].is_inside = is_news = true;
            usage.count++;
            ticks += list[i].ticks;
            char text[4096];
            if (proc_read(list[i].pid, "status", text, sizeof(text))) {
                usage.memory_bytes += 1024 * (status_kib(text, "\nRssAnon:") + status_kib(text, "\nRssShmem:") +
                                              status_kib(text, "\nVmSwap:"));
            }
        }
    }
    free(list);
    usage.cpu_us = ticks * (1000000 / sysconf(_SC_CLK_TCK));
    *ret_usage = usage;
}

int64_t process_tree_files(pid_t init)
{
    static const char *const mounts[] = {"tmp", "dev/shm"};
    int64_t bytes = 0;
    for (size_t i = 0; i < ARRAY_COUNT(mounts); i++) {
        char path[64];
        struct statfs disk;
        snprintf(path, sizeof(path), "/proc/%d/root/%s", (int)init, mounts[i]);
        if (statfs(path, &disk) == 0 && disk.f_type == TMPFS_MAGIC) {
            bytes += (int64_t)(disk.f_blocks - disk.f_bfree) * (int64_t)disk.f_bsize +
                     (int64_t)(disk.f_files - disk.f_ffree) * INODE_SIZE;
        }
    }
    return bytes;
}

uint32_t process_tree_of_users(uid_t first, uint32_t users, int signal)
{
    DIR *proc = opendir("/proc");
    if (proc == NULL) {
        return 0;
    }
    uint32_t count = 0;
    struct dirent *entry;
    while ((entry = readdir(proc)) != NULL) {
        if (!isdigit((unsigned char)entry->d_name[0])) {
            continue;
        }
        char text[4096];
        pid_t pid = (pid_t)atoi(entry->d_name);
        if (!proc_read(pid, "status", text, sizeof(text))) {
            continue;
        }
        const char *state = strstr(text, "\nState:"), *line = strstr(text, "\nUid:");
        if (state == NULL || line == NULL || state[8] == 'Z' || state[8] == 'X') {
            continue;
        }
        unsigned long uid = strtoul(line + 5, NULL, 10);
        if (uid < first || uid - first >= users) {
            continue;
        }
        count++;
        if (signal != 0) {
            kill(pid, signal);
        }
    }
    closedir(proc);
    return count;
}
