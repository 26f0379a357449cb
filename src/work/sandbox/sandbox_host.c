/* sandbox_host.c - what this machine can give to sandboxes, found out once at the start of a node.
 *
 * User ids. RLIMIT_NPROC and the kernel's permission checks between processes go by the user outside of the box, so
 * two boxes must never share one. A root node takes a range of ids that nothing else uses and holds an abstract
 * socket named after it, so that two nodes on one machine have different ranges; the kernel frees the name when the
 * node dies. A node that is not root has one user for all its slots: the pid namespaces still keep boxes apart, and on
 * Linux 5.14 and later RLIMIT_NPROC counts per user namespace. */
#include "work/sandbox/sandbox_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/ensure.h"
#include "base/json.h"
#include "work/sandbox/memfile.h"
#include "work/sandbox/process_tree.h"
#include "work/sandbox/seccomp_filter.h"

/* Free on systemd machines (its UIDS-GIDS page leaves 1879048192 to 2147483647 unused); then one inside the 65536 ids
 * of an ordinary container. */
static const uid_t uid_bases[] = {1900000000, 64000};
#define UID_RANGE 256 /* slots of a node at most */
#define UID_RANGES 16 /* nodes on a machine at most */

static bool binary_find(const char *name, char *ret_path, size_t size)
{
    static const char *const dirs[] = {"/usr/bin", "/bin", "/usr/local/bin"};
    for (size_t i = 0; i < ARRAY_COUNT(dirs); i++) {
        snprintf(ret_path, size, "%s/%s", dirs[i], name);
        if (access(ret_path, X_OK) == 0) {
            return true;
        }
    }
    return false;
}

static bool bwrap_find(struct sandbox_host *host, struct buf *why)
{
    if (!binary_find("bwrap", host->bwrap_path, sizeof(host->bwrap_path))) {
        buf_append_str(why, "bubblewrap (bwrap) is not installed");
        return false;
    }
    char command[300];
    snprintf(command, sizeof(command), "%s --version", host->bwrap_path);
    FILE *pipe = popen(command, "re");
    if (pipe != NULL) {
        char line[128] = "";
        if (fgets(line, sizeof(line), pipe) != NULL) {
            sscanf(line, "bubblewrap %63s", host->bwrap_version);
        }
        pclose(pipe);
    }
    unsigned major = 0, minor = 0;
    if (sscanf(host->bwrap_version, "%u.%u", &major, &minor) != 2 || (major == 0 && minor < 8)) {
        buf_printf(why, "bubblewrap 0.8 or later is needed, this one says \"%s\"", host->bwrap_version);
        return false;
    }
    return true;
}

/* --- user ids -------------------------------------------------------------------------------------------------- */

static bool uid_range_is_mapped(uid_t base)
{
    FILE *map = fopen("/proc/self/uid_map", "re");
    if (map == NULL) {
        return false;
    }
    unsigned long long inside, outside, count;
    bool is_mapped = false;
    while (fscanf(map, "%llu %llu %llu", &inside, &outside, &count) == 3) {
        if (base >= inside && base + UID_RANGE <= inside + count) {
            is_mapped = true;
        }
    }
    fclose(map);
    return is_mapped;
}

static int uid_range_lock(uid_t base)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    int len = snprintf(name.sun_path + 1, sizeof(name.sun_path) - 1, "shoal-uids-%u", (unsigned)base);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && bind(fd, (struct sockaddr *)&name,
                        (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)len)) == 0) {
        return fd;
    }
    if (fd >= 0) {
        close(fd);
    }
    return -1;
}

static bool uid_range_take(struct sandbox_host *host, struct buf *why)
{
    if (!host->is_root) {
        host->uid_base = getuid();
        return true;
    }
    const char *chosen = getenv("SHOAL_SLOT_UID_BASE");
    if (chosen != NULL && *chosen != 0) {
        char *end;
        unsigned long long base = strtoull(chosen, &end, 10);
        if (*end != 0 || base == 0 || base > UINT32_MAX - UID_RANGE - 1 || !uid_range_is_mapped((uid_t)base)) {
            buf_printf(why, "SHOAL_SLOT_UID_BASE=%s is not the start of a range of user ids here", chosen);
            return false;
        }
        host->uid_base = (uid_t)base;
        host->uid_lock_fd = uid_range_lock(host->uid_base);
        if (host->uid_lock_fd < 0) {
            buf_printf(why, "the user ids from SHOAL_SLOT_UID_BASE=%s are in use by another node", chosen);
        }
        return host->uid_lock_fd >= 0;
    }
    for (size_t i = 0; i < ARRAY_COUNT(uid_bases); i++) {
        for (uint32_t n = 0; n < (i == 0 ? UID_RANGES : 1); n++) {
            uid_t base = uid_bases[i] + n * UID_RANGE;
            if (!uid_range_is_mapped(base) || (host->uid_lock_fd = uid_range_lock(base)) < 0) {
                continue;
            }
            host->uid_base = base;
            return true;
        }
    }
    buf_append_str(why, "no range of user ids is free for the slots; set SHOAL_SLOT_UID_BASE");
    return false;
}

/* --- the read-only system -------------------------------------------------------------------------------------- */

static void system_add(struct sandbox_host *host, const char *option, const char *from, const char *to)
{
    if (host->system_arg_count + 3 > ARRAY_COUNT(host->system_args)) {
        return;
    }
    const char *args[3] = {option, from, to};
    for (int i = 0; i < 3; i++) {
        char *copy = strdup(args[i]);
        ensure(copy != NULL);
        host->system_args[host->system_arg_count++] = copy;
    }
}

/* The programs and libraries of the machine, and of /etc only what they cannot do without. */
static void system_find(struct sandbox_host *host)
{
    system_add(host, "--ro-bind", "/usr", "/usr");
    static const char *const top[] = {"/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"};
    for (size_t i = 0; i < ARRAY_COUNT(top); i++) {
        struct stat st;
        char target[128];
        if (lstat(top[i], &st) != 0) {
            continue;
        }
        if (S_ISLNK(st.st_mode)) {
            ssize_t len = readlink(top[i], target, sizeof(target) - 1);
            if (len > 0) {
                target[len] = 0;
                system_add(host, "--symlink", target, top[i]);
            }
        } else if (S_ISDIR(st.st_mode)) {
            system_add(host, "--ro-bind", top[i], top[i]);
        }
    }
    static const char *const etc[] = {"/etc/ld.so.cache", "/etc/alternatives", "/etc/localtime", "/etc/java-*",
                                      "/etc/python3*"};
    for (size_t i = 0; i < ARRAY_COUNT(etc); i++) {
        glob_t found;
        if (glob(etc[i], 0, NULL, &found) == 0) {
            for (size_t j = 0; j < found.gl_pathc; j++) {
                system_add(host, "--ro-bind", found.gl_pathv[j], found.gl_pathv[j]);
            }
        }
        globfree(&found);
    }
}

/* --- opening and closing --------------------------------------------------------------------------------------- */

static enum cgroup_mode mode_wanted(void)
{
    const char *word = getenv("SHOAL_CGROUP");
    if (word != NULL && strcmp(word, "none") == 0) {
        return CGROUP_NONE;
    }
    return word != NULL && strcmp(word, "v1") == 0 ? CGROUP_V1 : CGROUP_V2;
}

static bool files_make(struct sandbox_host *host, struct buf *why)
{
    host->init_fd = memfile_of("init", slice_of(sandbox_init_image, sandbox_init_image_size));
    host->passwd_fd = memfile_of("passwd", SLICE("shoal:x:1000:1000::/tmp:/usr/sbin/nologin\n"));
    host->group_fd = memfile_of("group", SLICE("shoal:x:1000:\n"));
    if (host->init_fd >= 0 && host->passwd_fd >= 0 && host->group_fd >= 0) {
        return true;
    }
    buf_printf(why, "memory files cannot be made: %s", strerror(errno));
    return false;
}

enum status sandbox_host_open(uv_loop_t *loop, uint32_t slots, struct sandbox_host **ret_host, struct buf *ret_why)
{
    ensure(loop != NULL && slots > 0);
    struct sandbox_host *host = calloc(1, sizeof(*host));
    if (host == NULL) {
        return STATUS_NO_MEMORY;
    }
    *host = (struct sandbox_host){.magic = SANDBOX_HOST_MAGIC,
                                  .loop = loop,
                                  .slots = slots,
                                  .is_root = geteuid() == 0,
                                  .uid_lock_fd = -1,
                                  .filter_fd = -1,
                                  .init_fd = -1,
                                  .passwd_fd = -1,
                                  .group_fd = -1};
    for (int i = 0; i < CGROUP_CONTROLLERS; i++) {
        host->cgroups.lock_fd[i] = -1;
    }
    buf_init(&host->cgroup_note, 1024);
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    host->cpus = cpus > 0 ? (uint32_t)cpus : 1;
    bool is_ok = slots <= UID_RANGE;
    if (!is_ok) {
        buf_printf(ret_why, "a node has at most %d slots", UID_RANGE);
    }
    if (!is_ok || !bwrap_find(host, ret_why) || !uid_range_take(host, ret_why) || !files_make(host, ret_why)) {
        sandbox_host_close(host);
        return STATUS_UNSUPPORTED_HOST;
    }
    /* a node that was killed had these ids before: what it left is dying, and must be gone before the ids mean us */
    for (int i = 0; host->is_root && i < 100 && process_tree_of_users(host->uid_base, UID_RANGE, SIGKILL) > 0; i++) {
        usleep(10000);
    }
    cgroup_host_open(&host->cgroups, mode_wanted(), &host->cgroup_note);
    if (seccomp_filter_make(host->cgroups.mode != CGROUP_NONE, &host->filter_fd, ret_why) != STATUS_OK) {
        sandbox_host_close(host);
        return STATUS_UNSUPPORTED_HOST;
    }
    system_find(host);
    host->has_view = host->is_root && sandbox_view_open(&host->view) && sandbox_view_try(&host->view);
    *ret_host = host;
    return STATUS_OK;
}

void sandbox_host_close(struct sandbox_host *host)
{
    if (host == NULL) {
        return;
    }
    ensure_magic(host, SANDBOX_HOST_MAGIC);
    ensure(host->runs == 0);
    cgroup_host_close(&host->cgroups);
    buf_free(&host->cgroup_note);
    int fds[] = {host->uid_lock_fd, host->filter_fd, host->init_fd, host->passwd_fd, host->group_fd};
    for (size_t i = 0; i < ARRAY_COUNT(fds); i++) {
        if (fds[i] >= 0) {
            close(fds[i]);
        }
    }
    for (size_t i = 0; i < host->system_arg_count; i++) {
        free(host->system_args[i]);
    }
    host->magic = 0;
    free(host);
}

void sandbox_host_move(struct sandbox_host *host, uv_loop_t *loop)
{
    ensure_magic(host, SANDBOX_HOST_MAGIC);
    ensure(host->runs == 0);
    host->loop = loop;
}

uint32_t sandbox_host_slots(const struct sandbox_host *host)
{
    return host->slots;
}

void sandbox_host_facts(const struct sandbox_host *host, struct buf *out)
{
    buf_append_str(out, "{\"bwrap\":");
    json_write_str(out, slice_str(host->bwrap_version));
    buf_printf(out, ",\"limits\":\"%s\"", cgroup_mode_name(host->cgroups.mode));
    if (host->cgroup_note.len > 2 && host->cgroups.mode != CGROUP_V2) {
        buf_append_str(out, ",\"limits_why\":");
        json_write_str(out, slice_of(host->cgroup_note.data, host->cgroup_note.len - 2));
    }
    if (host->cgroups.mode != CGROUP_NONE) {
        buf_append_str(out, ",\"groups\":");
        json_write_str(out, slice_str(host->cgroups.path[0]));
    }
    if (host->is_root) {
        buf_printf(out, ",\"users\":\"%u to %u, one a slot\"", (unsigned)host->uid_base,
                   (unsigned)(host->uid_base + host->slots - 1));
    } else {
        buf_printf(out, ",\"users\":\"all slots are user %u: the node is not root\"", (unsigned)host->uid_base);
    }
    buf_printf(out, ",\"locks\":\"%s\"}", host->has_view ? "each box its own" : "shared on files of the system");
}

enum cgroup_mode sandbox_host_cgroup_mode(const struct sandbox_host *host)
{
    return host->cgroups.mode;
}

uid_t sandbox_host_slot_uid(const struct sandbox_host *host, uint32_t slot)
{
    ensure(slot < host->slots);
    return host->is_root ? host->uid_base + slot : host->uid_base;
}

bool sandbox_host_is_root(const struct sandbox_host *host)
{
    return host->is_root;
}
