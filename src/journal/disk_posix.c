/* disk_posix.c - the machine's disk: the one file of the journal that knows the operating system.
 *
 * Files are opened relative to a descriptor of the root, so a data directory that is renamed under a running hub keeps
 * working. Interrupted and short reads and writes are continued; every other error becomes a status, ENOSPC and EDQUOT
 * their own. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/ensure.h"
#include "journal/disk.h"

#define IO_SIZE_MAX ((size_t)1 << 30) /* of one call; Linux transfers at most 0x7ffff000 bytes at a time */

struct disk_posix {
    struct disk table; /* first: a struct disk * is one of these */
    uint32_t magic;
    int root_fd;
    int lock_fd; /* -1: not locked */
};

struct disk_file {
    int fd;
};

static struct disk_posix *posix_of(struct disk *disk)
{
    struct disk_posix *posix = (struct disk_posix *)disk;
    ensure_magic(posix, DISK_POSIX_MAGIC);
    return posix;
}

static enum status status_of_errno(int error)
{
    switch (error) {
    case ENOENT:
        return STATUS_NOT_FOUND;
    case EEXIST:
        return STATUS_CONFLICT;
    case ENOSPC:
    case EDQUOT:
        return STATUS_NO_SPACE;
    case ENOMEM:
        return STATUS_NO_MEMORY;
    default:
        return STATUS_IO;
    }
}

static bool is_inside(const char *path)
{
    return path[0] != '\0' && path[0] != '/' && strstr(path, "..") == NULL;
}

static int open_at(int dir_fd, const char *path, int flags)
{
    int fd;
    do {
        fd = openat(dir_fd, path, flags | O_CLOEXEC, 0640);
    } while (fd < 0 && errno == EINTR);
    return fd;
}

static enum status posix_open(struct disk *disk, const char *path, enum disk_open_mode mode,
                              struct disk_file **ret_file)
{
    static const int flags[] = {
        [DISK_OPEN_READ] = O_RDONLY,
        [DISK_OPEN_WRITE] = O_RDWR,
        [DISK_OPEN_CREATE] = O_RDWR | O_CREAT | O_EXCL,
    };
    struct disk_posix *posix = posix_of(disk);
    ensure(is_inside(path) && mode < ARRAY_COUNT(flags));
    struct disk_file *file = malloc(sizeof(*file));
    if (file == NULL) {
        return STATUS_NO_MEMORY;
    }
    file->fd = open_at(posix->root_fd, path, flags[mode]);
    if (file->fd < 0) {
        enum status status = status_of_errno(errno);
        free(file);
        return status;
    }
    *ret_file = file;
    return STATUS_OK;
}

static void posix_close(struct disk *disk, struct disk_file *file)
{
    (void)posix_of(disk);
    close(file->fd);
    free(file);
}

static enum status posix_size(struct disk *disk, struct disk_file *file, uint64_t *ret_size)
{
    struct stat st;
    (void)posix_of(disk);
    if (fstat(file->fd, &st) != 0) {
        return status_of_errno(errno);
    }
    *ret_size = (uint64_t)st.st_size;
    return STATUS_OK;
}

static enum status posix_read_at(struct disk *disk, struct disk_file *file, uint64_t offset, void *data, size_t len)
{
    char *at = data;
    (void)posix_of(disk);
    while (len > 0) {
        ssize_t count = pread(file->fd, at, len < IO_SIZE_MAX ? len : IO_SIZE_MAX, (off_t)offset);
        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count <= 0) {
            return count == 0 ? STATUS_IO : status_of_errno(errno);
        }
        at += count;
        offset += (uint64_t)count;
        len -= (size_t)count;
    }
    return STATUS_OK;
}

static enum status posix_write_at(struct disk *disk, struct disk_file *file, uint64_t offset, const void *data,
                                  size_t len)
{
    const char *at = data;
    (void)posix_of(disk);
    while (len > 0) {
        ssize_t count = pwrite(file->fd, at, len < IO_SIZE_MAX ? len : IO_SIZE_MAX, (off_t)offset);
        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count <= 0) {
            return count == 0 ? STATUS_IO : status_of_errno(errno);
        }
        at += count;
        offset += (uint64_t)count;
        len -= (size_t)count;
    }
    return STATUS_OK;
}

static enum status posix_truncate(struct disk *disk, struct disk_file *file, uint64_t size)
{
    int result;
    (void)posix_of(disk);
    do {
        result = ftruncate(file->fd, (off_t)size);
    } while (result != 0 && errno == EINTR);
    return result == 0 ? STATUS_OK : status_of_errno(errno);
}

static enum status posix_sync(struct disk *disk, struct disk_file *file)
{
    (void)posix_of(disk);
    /* Not repeated on EINTR: after any failure the kernel may have dropped the dirty pages and forgotten the error. */
    return fdatasync(file->fd) == 0 ? STATUS_OK : status_of_errno(errno);
}

static enum status posix_rename(struct disk *disk, const char *from, const char *to)
{
    struct disk_posix *posix = posix_of(disk);
    ensure(is_inside(from) && is_inside(to));
    return renameat(posix->root_fd, from, posix->root_fd, to) == 0 ? STATUS_OK : status_of_errno(errno);
}

static enum status posix_remove(struct disk *disk, const char *path)
{
    struct disk_posix *posix = posix_of(disk);
    ensure(is_inside(path));
    return unlinkat(posix->root_fd, path, 0) == 0 ? STATUS_OK : status_of_errno(errno);
}

static enum status posix_make_dir(struct disk *disk, const char *path)
{
    struct disk_posix *posix = posix_of(disk);
    ensure(is_inside(path));
    if (mkdirat(posix->root_fd, path, 0750) == 0) {
        /* The folder's own name must survive too, or everything synced inside it is lost with it. */
        return fsync(posix->root_fd) == 0 ? STATUS_OK : status_of_errno(errno);
    }
    struct stat st;
    if (errno == EEXIST && fstatat(posix->root_fd, path, &st, 0) == 0 && S_ISDIR(st.st_mode)) {
        return STATUS_OK;
    }
    return errno == EEXIST ? STATUS_IO : status_of_errno(errno);
}

static enum status posix_sync_dir(struct disk *disk, const char *path)
{
    struct disk_posix *posix = posix_of(disk);
    ensure(is_inside(path));
    int fd = open_at(posix->root_fd, path, O_RDONLY | O_DIRECTORY);
    if (fd < 0) {
        return status_of_errno(errno);
    }
    enum status status = fsync(fd) == 0 ? STATUS_OK : status_of_errno(errno);
    close(fd);
    return status;
}

static enum status posix_list(struct disk *disk, const char *path, bool (*visit)(void *ctx, const char *name),
                              void *ctx)
{
    struct disk_posix *posix = posix_of(disk);
    ensure(is_inside(path));
    int fd = open_at(posix->root_fd, path, O_RDONLY | O_DIRECTORY);
    if (fd < 0) {
        return status_of_errno(errno);
    }
    DIR *dir = fdopendir(fd);
    if (dir == NULL) {
        enum status status = status_of_errno(errno);
        close(fd);
        return status;
    }
    enum status status = STATUS_OK;
    for (;;) {
        errno = 0;
        struct dirent *entry = readdir(dir);
        if (entry == NULL) {
            status = errno == 0 ? STATUS_OK : status_of_errno(errno);
            break;
        }
        struct stat st;
        bool is_file = entry->d_type == DT_REG ||
                       (entry->d_type == DT_UNKNOWN &&
                        fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode));
        if (is_file && !visit(ctx, entry->d_name)) {
            break;
        }
    }
    closedir(dir);
    return status;
}

static enum status posix_free_size(struct disk *disk, uint64_t *ret_size)
{
    struct statvfs fs;
    if (fstatvfs(posix_of(disk)->root_fd, &fs) != 0) {
        return status_of_errno(errno);
    }
    *ret_size = (uint64_t)fs.f_bavail * fs.f_frsize;
    return STATUS_OK;
}

/* Makes a folder and those above it. */
static enum status make_path(const char *path)
{
    char *copy = strdup(path);
    if (copy == NULL) {
        return STATUS_NO_MEMORY;
    }
    enum status status = STATUS_OK;
    for (char *at = copy + 1; status == STATUS_OK && at[-1] != '\0'; at++) {
        if (*at != '/' && *at != '\0') {
            continue;
        }
        char was = *at;
        *at = '\0';
        if (mkdir(copy, 0750) != 0 && errno != EEXIST) {
            status = status_of_errno(errno);
        }
        *at = was;
    }
    free(copy);
    return status;
}

enum status disk_posix_open(const char *root, struct disk **ret_disk)
{
    static const struct disk table = {
        .open = posix_open,
        .close = posix_close,
        .size = posix_size,
        .read_at = posix_read_at,
        .write_at = posix_write_at,
        .truncate = posix_truncate,
        .sync = posix_sync,
        .rename = posix_rename,
        .remove = posix_remove,
        .make_dir = posix_make_dir,
        .sync_dir = posix_sync_dir,
        .list = posix_list,
        .free_size = posix_free_size,
    };
    if (root[0] == '\0') {
        return STATUS_INVALID;
    }
    int fd = open_at(AT_FDCWD, root, O_RDONLY | O_DIRECTORY);
    if (fd < 0 && errno == ENOENT) {
        enum status status = make_path(root);
        if (status != STATUS_OK) {
            return status;
        }
        fd = open_at(AT_FDCWD, root, O_RDONLY | O_DIRECTORY);
    }
    if (fd < 0) {
        return status_of_errno(errno);
    }
    struct disk_posix *posix = malloc(sizeof(*posix));
    if (posix == NULL) {
        close(fd);
        return STATUS_NO_MEMORY;
    }
    *posix = (struct disk_posix){.table = table, .magic = DISK_POSIX_MAGIC, .root_fd = fd, .lock_fd = -1};
    *ret_disk = &posix->table;
    return STATUS_OK;
}

enum status disk_posix_lock(struct disk *disk)
{
    struct disk_posix *posix = posix_of(disk);
    ensure(posix->lock_fd < 0);
    int fd = open_at(posix->root_fd, "LOCK", O_RDWR | O_CREAT);
    if (fd < 0) {
        return status_of_errno(errno);
    }
    int result;
    do {
        result = flock(fd, LOCK_EX | LOCK_NB);
    } while (result != 0 && errno == EINTR);
    if (result != 0) {
        enum status status = errno == EWOULDBLOCK ? STATUS_LOCKED : status_of_errno(errno);
        close(fd);
        return status;
    }
    posix->lock_fd = fd;
    return STATUS_OK;
}

void disk_posix_close(struct disk *disk)
{
    if (disk == NULL) {
        return;
    }
    struct disk_posix *posix = posix_of(disk);
    if (posix->lock_fd >= 0) {
        close(posix->lock_fd);
    }
    close(posix->root_fd);
    posix->magic = 0;
    free(posix);
}
