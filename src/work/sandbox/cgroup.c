/* cgroup.c - control groups for sandboxes.
 *
 *   <base>/shoal-<random>/            one per node, flock()ed while the node lives
 *   <base>/shoal-<random>/run-<n>/    one per sandbox: memory, pids, cpu time
 *
 * <base> is the node's own group, so that limits put on the node from outside hold for its sandboxes too; in version 2
 * a group with processes cannot hand controllers to children, so the node first moves itself to <base>/shoal-agent,
 * and where that is not allowed, the root of the hierarchy is tried.
 *
 * A node that was killed leaves its groups behind, possibly with processes. The lock is what tells them from the
 * groups of a living node; process ids would not, for a node in another container counts from one as well.
 *
 * Invariants: (G1) every group below shoal-<random> belongs to one sandbox; (G2) a group is removed only when it is
 * empty, so nothing can be in it that is not counted; (G3) swap never adds to the memory limit. */
#include "work/sandbox/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/ensure.h"

#define NODE_PREFIX "shoal-"
#define AGENT_NAME "shoal-agent" /* where a node moves itself in version 2 */

static const char *const controller_names[CGROUP_CONTROLLERS] = {"memory", "pids", "cpuacct"};

static bool file_write(const char *dir, const char *file, const char *text)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/%s", dir, file);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    ssize_t written = write(fd, text, strlen(text));
    int error = errno;
    close(fd);
    errno = error;
    return written == (ssize_t)strlen(text);
}

static bool file_write_u64(const char *dir, const char *file, uint64_t value)
{
    char text[24];
    snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
    return file_write(dir, file, text);
}

/* Reads a small file; "" when that fails. */
static bool file_read(const char *dir, const char *file, char *ret_text, size_t size)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/%s", dir, file);
    ret_text[0] = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    ssize_t got = read(fd, ret_text, size - 1);
    close(fd);
    ret_text[got > 0 ? got : 0] = 0;
    return got >= 0;
}

/* The number after `key` at the start of a line; -1 when there is none. */
static int64_t field_of(const char *text, const char *key)
{
    size_t len = strlen(key);
    for (const char *line = text; line != NULL && *line != 0;) {
        if (strncmp(line, key, len) == 0 && line[len] == ' ') {
            return strtoll(line + len + 1, NULL, 10);
        }
        line = strchr(line, '\n');
        if (line != NULL) {
            line++;
        }
    }
    return -1;
}

/* --- finding the hierarchies ----------------------------------------------------------------------------------- */

static bool option_has(const char *options, const char *word)
{
    size_t len = strlen(word);
    for (const char *at = options; (at = strstr(at, word)) != NULL; at += len) {
        if ((at == options || at[-1] == ',') && (at[len] == ',' || at[len] == 0)) {
            return true;
        }
    }
    return false;
}

/* Mount point of the hierarchy: with `controller` NULL that of version 2. */
static bool mount_find(const char *controller, char *ret_path, size_t size)
{
    FILE *mounts = fopen("/proc/self/mounts", "re");
    if (mounts == NULL) {
        return false;
    }
    char line[1024], point[256], type[32], options[256];
    bool is_found = false;
    while (!is_found && fgets(line, sizeof(line), mounts) != NULL) {
        if (sscanf(line, "%*s %255s %31s %255s", point, type, options) != 3) {
            continue;
        }
        if (controller == NULL ? strcmp(type, "cgroup2") == 0
                               : strcmp(type, "cgroup") == 0 && option_has(options, controller)) {
            snprintf(ret_path, size, "%s", point);
            is_found = true;
        }
    }
    fclose(mounts);
    return is_found;
}

/* The path of this process inside a hierarchy, as /proc/self/cgroup says. */
static bool own_path(const char *controller, char *ret_path, size_t size)
{
    FILE *groups = fopen("/proc/self/cgroup", "re");
    if (groups == NULL) {
        return false;
    }
    char line[1024];
    bool is_found = false;
    while (!is_found && fgets(line, sizeof(line), groups) != NULL) {
        line[strcspn(line, "\n")] = 0;
        char *names = strchr(line, ':');
        char *path = names != NULL ? strchr(names + 1, ':') : NULL;
        if (path == NULL) {
            continue;
        }
        *path++ = 0;
        names++;
        if (controller == NULL ? *names == 0 : option_has(names, controller)) {
            snprintf(ret_path, size, "%s", path);
            is_found = true;
        }
    }
    fclose(groups);
    return is_found;
}

static bool is_dir(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* Where this node's groups may go in a hierarchy: its own group when that is visible, else the mount's root. */
static bool base_find(const char *controller, char *ret_base, size_t size)
{
    char mount[256], own[256];
    if (!mount_find(controller, mount, sizeof(mount))) {
        return false;
    }
    if (own_path(controller, own, sizeof(own)) && strcmp(own, "/") != 0 && strstr(own, "..") == NULL) {
        snprintf(ret_base, size, "%.200s%.200s", mount, own);
        if (is_dir(ret_base)) {
            return true;
        }
    }
    snprintf(ret_base, size, "%s", mount);
    return true;
}

/* --- emptying and removing ------------------------------------------------------------------------------------- */

/* SIGKILL to all processes of one directory; true when there were none. */
static bool dir_kill(const char *dir)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/cgroup.procs", dir);
    FILE *procs = fopen(path, "re");
    if (procs == NULL) {
        return true;
    }
    bool is_empty = true;
    long pid;
    while (fscanf(procs, "%ld", &pid) == 1) {
        is_empty = false;
        if (pid > 0) {
            kill((pid_t)pid, SIGKILL);
        }
    }
    fclose(procs);
    return is_empty;
}

/* Kills what is in a dead node's directory and removes it with its children. Blocks for at most half a second; at the
 * start of a node only. */
static void dir_clear(const char *dir)
{
    DIR *list = opendir(dir);
    if (list == NULL) {
        return;
    }
    struct dirent *entry;
    while ((entry = readdir(list)) != NULL) {
        if (entry->d_type == DT_DIR && entry->d_name[0] != '.') {
            char child[512];
            snprintf(child, sizeof(child), "%s/%.200s", dir, entry->d_name);
            dir_clear(child);
        }
    }
    closedir(list);
    for (int i = 0; i < 100 && rmdir(dir) != 0 && errno == EBUSY; i++) {
        dir_kill(dir);
        usleep(5000);
    }
}

/* Removes the groups of nodes that no longer hold their lock. Each hierarchy has locks of its own, because two nodes may
 * share one hierarchy and not another (a container often has a memory group of its own and no pids group). */
static void stale_clear(const char *base)
{
    DIR *list = opendir(base);
    if (list == NULL) {
        return;
    }
    struct dirent *entry;
    while ((entry = readdir(list)) != NULL) {
        if (strncmp(entry->d_name, NODE_PREFIX, sizeof(NODE_PREFIX) - 1) != 0 ||
            strcmp(entry->d_name, AGENT_NAME) == 0) {
            continue;
        }
        char path[512];
        snprintf(path, sizeof(path), "%s/%.64s", base, entry->d_name);
        int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0) {
            continue;
        }
        if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
            dir_clear(path);
        }
        close(fd);
    }
    closedir(list);
}

/* --- opening --------------------------------------------------------------------------------------------------- */

static void name_make(char *ret_name, size_t size)
{
    uint64_t random = 0;
    if (getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random)) {
        random = (uint64_t)clock_mono_ns() ^ (uint64_t)getpid() << 40;
    }
    snprintf(ret_name, size, NODE_PREFIX "%016llx", (unsigned long long)random);
}

/* Makes the node's group in one hierarchy and locks it. Between the two another node that looks for stale groups may
 * take it for one: then it is gone when the lock comes, and is made again. */
static bool group_claim(struct cgroup_host *host, int controller, const char *dir)
{
    for (int tries = 0; tries < 10; tries++) {
        if (mkdir(dir, 0755) != 0 && errno != EEXIST) {
            return false;
        }
        int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd >= 0 && flock(fd, LOCK_EX) == 0 && access(dir, F_OK) == 0) {
            host->lock_fd[controller] = fd;
            return true;
        }
        if (fd >= 0) {
            close(fd);
        }
    }
    return false;
}

static bool v1_open(struct cgroup_host *host, struct buf *note)
{
    char base[CGROUP_CONTROLLERS][512], name[32];
    for (int i = 0; i < CGROUP_CONTROLLERS; i++) {
        if (!base_find(controller_names[i], base[i], sizeof(base[i]))) {
            buf_printf(note, "no version 1 hierarchy has the controller %s; ", controller_names[i]);
            return false;
        }
    }
    for (int i = 0; i < CGROUP_CONTROLLERS; i++) {
        stale_clear(base[i]);
    }
    name_make(name, sizeof(name));
    for (int i = 0; i < CGROUP_CONTROLLERS; i++) {
        snprintf(host->path[i], sizeof(host->path[i]), "%.200s/%s", base[i], name);
        bool is_shared = false; /* controllers that are mounted together share their directory */
        for (int j = 0; j < i; j++) {
            is_shared |= strcmp(host->path[i], host->path[j]) == 0;
        }
        if (!is_shared && !group_claim(host, i, host->path[i])) {
            buf_printf(note, "cannot make a version 1 group for %s: %s; ", controller_names[i], strerror(errno));
            for (int j = 0; j < i; j++) {
                rmdir(host->path[j]);
            }
            return false;
        }
    }
    return true;
}

/* Hands memory and pids to the children of `dir`. */
static bool v2_delegate(const char *dir)
{
    char controllers[256];
    if (!file_read(dir, "cgroup.controllers", controllers, sizeof(controllers)) ||
        strstr(controllers, "memory") == NULL || strstr(controllers, "pids") == NULL) {
        return false;
    }
    return file_write(dir, "cgroup.subtree_control", "+memory +pids");
}

static bool v2_open_at(struct cgroup_host *host, const char *base)
{
    char name[32];
    if (!v2_delegate(base)) {
        /* a group with processes cannot delegate: step into a child of it, and try once more */
        char agent[512];
        snprintf(agent, sizeof(agent), "%.300s/" AGENT_NAME, base);
        if ((mkdir(agent, 0755) != 0 && errno != EEXIST) || !file_write(agent, "cgroup.procs", "0")) {
            return false;
        }
        if (!v2_delegate(base)) {
            file_write(base, "cgroup.procs", "0");
            rmdir(agent);
            return false;
        }
    }
    stale_clear(base);
    name_make(name, sizeof(name));
    snprintf(host->path[0], sizeof(host->path[0]), "%.200s/%s", base, name);
    if (!group_claim(host, 0, host->path[0])) {
        return false;
    }
    if (v2_delegate(host->path[0])) {
        return true;
    }
    rmdir(host->path[0]);
    return false;
}

static bool v2_open(struct cgroup_host *host, struct buf *note)
{
    char mount[256], base[512], controllers[256];
    if (!mount_find(NULL, mount, sizeof(mount))) {
        buf_printf(note, "no version 2 hierarchy is mounted; ");
        return false;
    }
    if (!file_read(mount, "cgroup.controllers", controllers, sizeof(controllers)) ||
        strstr(controllers, "memory") == NULL || strstr(controllers, "pids") == NULL) {
        buf_printf(note, "the version 2 hierarchy has no memory and pids controllers; ");
        return false;
    }
    if (base_find(NULL, base, sizeof(base)) && v2_open_at(host, base)) {
        return true;
    }
    if (strcmp(base, mount) != 0 && v2_open_at(host, mount)) {
        return true;
    }
    buf_printf(note, "version 2 groups cannot be made: %s; ", strerror(errno));
    return false;
}

static void host_init(struct cgroup_host *host)
{
    *host = (struct cgroup_host){.mode = CGROUP_NONE};
    for (int i = 0; i < CGROUP_CONTROLLERS; i++) {
        host->lock_fd[i] = -1;
    }
}

static void host_reset(struct cgroup_host *host)
{
    for (int i = 0; i < CGROUP_CONTROLLERS; i++) {
        if (host->lock_fd[i] >= 0) {
            close(host->lock_fd[i]);
        }
    }
    host_init(host);
}

void cgroup_host_open(struct cgroup_host *host, enum cgroup_mode best, struct buf *ret_note)
{
    host_init(host);
    if (best >= CGROUP_V2) {
        if (v2_open(host, ret_note)) {
            host->mode = CGROUP_V2;
            return;
        }
        host_reset(host);
    }
    if (best >= CGROUP_V1) {
        if (v1_open(host, ret_note)) {
            host->mode = CGROUP_V1;
            return;
        }
        host_reset(host);
    }
}

void cgroup_host_close(struct cgroup_host *host)
{
    for (int i = 0; i < CGROUP_CONTROLLERS; i++) {
        if (host->path[i][0] != 0) {
            dir_clear(host->path[i]);
        }
    }
    host_reset(host);
}

const char *cgroup_mode_name(enum cgroup_mode mode)
{
    return mode == CGROUP_V2 ? "v2" : mode == CGROUP_V1 ? "v1" : "polling";
}

/* --- one sandbox ----------------------------------------------------------------------------------------------- */

static bool group_dir(const struct cgroup *group, int controller, char ret_path[512])
{
    if (group->host == NULL || group->host->path[controller][0] == 0) {
        return false;
    }
    snprintf(ret_path, 512, "%s/%s", group->host->path[controller], group->name);
    return true;
}

static bool group_limit(const struct cgroup *group, int controller, const char *dir, uint64_t memory_bytes,
                        uint32_t pids_max)
{
    if (group->host->mode == CGROUP_V2) {
        /* swap and group-wide kill are absent on some kernels; the limits themselves must hold */
        file_write(dir, "memory.swap.max", "0");
        file_write(dir, "memory.oom.group", "1");
        return file_write_u64(dir, "memory.max", memory_bytes) && file_write_u64(dir, "pids.max", pids_max);
    }
    if (controller == CGROUP_MEMORY) {
        if (!file_write_u64(dir, "memory.limit_in_bytes", memory_bytes)) {
            return false;
        }
        /* memory and swap together; without swap accounting swap itself is what must not be used */
        if (!file_write_u64(dir, "memory.memsw.limit_in_bytes", memory_bytes)) {
            file_write(dir, "memory.swappiness", "0");
        }
        return true;
    }
    return controller != CGROUP_PIDS || file_write_u64(dir, "pids.max", pids_max);
}

enum status cgroup_make(struct cgroup_host *host, uint64_t memory_bytes, uint32_t pids_max, struct cgroup *ret_group)
{
    struct cgroup group = {.host = host->mode == CGROUP_NONE ? NULL : host, .join_fd = {-1, -1, -1}};
    if (group.host == NULL) {
        *ret_group = group;
        return STATUS_OK;
    }
    snprintf(group.name, sizeof(group.name), "run-%llu", (unsigned long long)++host->made);
    for (int i = 0; i < CGROUP_CONTROLLERS; i++) {
        char dir[512], procs[600];
        if (!group_dir(&group, i, dir)) {
            continue;
        }
        bool is_shared = mkdir(dir, 0755) != 0 && errno == EEXIST && i > 0;
        snprintf(procs, sizeof(procs), "%s/cgroup.procs", dir);
        if (!group_limit(&group, i, dir, memory_bytes, pids_max)) {
            goto fail;
        }
        if (!is_shared && (group.join_fd[i] = open(procs, O_WRONLY | O_CLOEXEC)) < 0) {
            goto fail;
        }
    }
    *ret_group = group;
    return STATUS_OK;
fail:;
    int error = errno;
    cgroup_remove(&group);
    errno = error;
    return STATUS_IO;
}

bool cgroup_join(const struct cgroup *group)
{
    for (int i = 0; i < CGROUP_CONTROLLERS; i++) {
        if (group->join_fd[i] >= 0 && write(group->join_fd[i], "0", 1) != 1) {
            return false;
        }
    }
    return true;
}

void cgroup_joined(struct cgroup *group)
{
    for (int i = 0; i < CGROUP_CONTROLLERS; i++) {
        if (group->join_fd[i] >= 0) {
            close(group->join_fd[i]);
        }
        group->join_fd[i] = -1;
    }
}

int64_t cgroup_cpu_us(const struct cgroup *group)
{
    char dir[512], text[1024];
    bool is_v2 = group->host != NULL && group->host->mode == CGROUP_V2;
    if (!group_dir(group, is_v2 ? 0 : CGROUP_CPUACCT, dir)) {
        return 0;
    }
    if (is_v2) {
        int64_t us = file_read(dir, "cpu.stat", text, sizeof(text)) ? field_of(text, "usage_usec") : 0;
        return us > 0 ? us : 0;
    }
    return file_read(dir, "cpuacct.usage", text, sizeof(text)) ? strtoll(text, NULL, 10) / 1000 : 0;
}

int64_t cgroup_memory_peak_bytes(const struct cgroup *group)
{
    char dir[512], text[64];
    if (!group_dir(group, CGROUP_MEMORY, dir)) {
        return 0;
    }
    bool is_v2 = group->host->mode == CGROUP_V2;
    if (!file_read(dir, is_v2 ? "memory.peak" : "memory.max_usage_in_bytes", text, sizeof(text))) {
        file_read(dir, "memory.current", text, sizeof(text)); /* memory.peak came with Linux 5.19 */
    }
    return strtoll(text, NULL, 10);
}

int64_t cgroup_oom_kills(const struct cgroup *group)
{
    char dir[512], text[512];
    if (!group_dir(group, CGROUP_MEMORY, dir)) {
        return 0;
    }
    bool is_v2 = group->host->mode == CGROUP_V2;
    file_read(dir, is_v2 ? "memory.events" : "memory.oom_control", text, sizeof(text));
    int64_t kills = field_of(text, "oom_kill");
    return kills > 0 ? kills : 0;
}

int64_t cgroup_procs_refused(const struct cgroup *group)
{
    char dir[512], text[256];
    bool is_v2 = group->host != NULL && group->host->mode == CGROUP_V2;
    if (!group_dir(group, is_v2 ? CGROUP_MEMORY : CGROUP_PIDS, dir)) {
        return 0;
    }
    file_read(dir, "pids.events", text, sizeof(text)); /* of both versions, since Linux 4.8 */
    int64_t refused = field_of(text, "max");
    return refused > 0 ? refused : 0;
}

bool cgroup_kill(const struct cgroup *group)
{
    char dir[512];
    if (!group_dir(group, CGROUP_MEMORY, dir)) {
        return true;
    }
    if (group->host->mode == CGROUP_V2) {
        file_write(dir, "cgroup.kill", "1"); /* since Linux 5.14, and at once; below for the others */
    }
    return dir_kill(dir);
}

bool cgroup_remove(struct cgroup *group)
{
    cgroup_joined(group);
    bool is_gone = true;
    for (int i = 0; i < CGROUP_CONTROLLERS; i++) {
        char dir[512];
        if (group_dir(group, i, dir) && rmdir(dir) != 0 && errno != ENOENT) {
            is_gone = false;
        }
    }
    return is_gone;
}
