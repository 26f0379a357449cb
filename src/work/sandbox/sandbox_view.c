/* sandbox_view.c - the system directories and devices of one box as inodes of its own.
 *
 * The child that becomes bwrap takes a mount namespace and covers in it what bwrap will bind: directories by an overlay
 * of themselves, whose inodes are new while their content is the machine's, device nodes by others of the same number. The
 * namespace ends with the box, so there is nothing to remove. */
#include "work/sandbox/sandbox_view.h"

#include <assert.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/ensure.h"

static const struct {
    const char *name, *path;
    unsigned major, minor;
} devices[] = {{"/null", "/dev/null", 1, 3},     {"/zero", "/dev/zero", 1, 5},       {"/full", "/dev/full", 1, 7},
               {"/random", "/dev/random", 1, 8}, {"/urandom", "/dev/urandom", 1, 9}, {"/tty", "/dev/tty", 5, 0}};

static bool is_dir(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static bool is_below(const char *path, const char *dir)
{
    size_t len = strlen(dir);
    return strncmp(path, dir, len) == 0 && (path[len] == '/' || path[len] == 0);
}

/* Whether a file system is mounted inside of `dir`, at a directory: single files, as containers have them in /etc, are
 * hidden and not missed. */
static bool has_mounts(const char *dir)
{
    char line[2048], point[1024];
    bool is_found = false;
    FILE *mounts = fopen("/proc/self/mounts", "re");
    while (mounts != NULL && !is_found && fgets(line, sizeof(line), mounts) != NULL) {
        is_found =
            sscanf(line, "%*s %1023s", point) == 1 && strcmp(point, dir) != 0 && is_below(point, dir) && is_dir(point);
    }
    if (mounts != NULL) {
        fclose(mounts);
    }
    return mounts == NULL || is_found;
}

bool sandbox_view_add(struct sandbox_view *view, const char *dir)
{
    static_assert(SANDBOX_VIEW_TEXT_SIZE > sizeof(view->dirs[0]) + sizeof(view->base) + 32, "all fits");
    if (view->count == SANDBOX_VIEW_DIRS_MAX || !is_dir(dir) || strlen(dir) >= sizeof(view->dirs[0]) ||
        strpbrk(dir, ":,\\") != NULL || is_below(dir, view->base) || has_mounts(dir)) {
        return false;
    }
    memcpy(view->dirs[view->count], dir, strlen(dir) + 1);
    int len = snprintf(view->options[view->count], sizeof(view->options[0]), "lowerdir=%s:", dir);
    strcat(strcpy(view->options[view->count] + len, view->base), "/none");
    view->count++;
    return true;
}

bool sandbox_view_open(struct sandbox_view *view)
{
    static const char *const places[] = {"/mnt", "/media", "/srv"};
    static const char *const dirs[] = {"/usr", "/etc", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"};
    *view = (struct sandbox_view){.count = 0};
    for (size_t i = 0; i < ARRAY_COUNT(places) && view->base[0] == 0; i++) {
        if (is_dir(places[i])) {
            snprintf(view->base, sizeof(view->base), "%s", places[i]);
        }
    }
    bool is_ok = view->base[0] != 0;
    for (size_t i = 0; i < ARRAY_COUNT(dirs) && is_ok; i++) {
        is_ok = !is_dir(dirs[i]) || sandbox_view_add(view, dirs[i]);
    }
    return is_ok;
}

/* Two short texts in one; the names here are ours. */
static const char *join(char *ret_text, size_t size, const char *a, const char *b)
{
    size_t a_len = strlen(a), b_len = strlen(b);
    if (a_len + b_len >= size) {
        return "";
    }
    memcpy(ret_text, a, a_len);
    memcpy(ret_text + a_len, b, b_len + 1);
    return ret_text;
}

bool sandbox_view_enter(const struct sandbox_view *view)
{
    char path[64];
    umask(022);
    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) != 0 ||
        mount("box", view->base, "tmpfs", MS_NOSUID | MS_NOEXEC, "mode=755,size=64k,nr_inodes=32") != 0 ||
        mkdir(join(path, sizeof(path), view->base, "/none"), 0755) != 0) {
        return false;
    }
    for (size_t i = 0; i < view->count; i++) {
        if (mount("view", view->dirs[i], "overlay", MS_RDONLY | MS_NOSUID | MS_NODEV, view->options[i]) != 0) {
            return false;
        }
    }
    for (size_t i = 0; i < ARRAY_COUNT(devices); i++) {
        join(path, sizeof(path), view->base, devices[i].name);
        if (mknod(path, S_IFCHR | 0666, makedev(devices[i].major, devices[i].minor)) != 0 || chmod(path, 0666) != 0 ||
            mount(path, devices[i].path, NULL, MS_BIND, NULL) != 0) {
            return false;
        }
    }
    return true;
}

bool sandbox_view_try(const struct sandbox_view *view)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        _exit(sandbox_view_enter(view) ? 0 : 1);
    }
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}
