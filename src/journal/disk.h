/* disk.h - the disk as a small table of functions.
 *
 * The journal, snapshots and recovery know files only through it: disk_posix.c talks to the machine, tests and the
 * simulator bring disks in memory that tear, fail and lose. Paths are relative to one directory, without "..".
 * All calls block; none is called from two threads at once on the same file. */
#ifndef SHOAL_JOURNAL_DISK_H
#define SHOAL_JOURNAL_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"
#include "base/status.h"

struct disk_file; /* of the implementation */

enum disk_open_mode {
    DISK_OPEN_READ,
    DISK_OPEN_WRITE, /* must exist */
    DISK_OPEN_CREATE /* must not exist */
};

/* Errors: NOT_FOUND, CONFLICT (exists), NO_SPACE, IO, NO_MEMORY. After an error of sync the content of the file is
 * unknown: the caller ends the process and never retries. */
struct disk {
    enum status (*open)(struct disk *disk, const char *path, enum disk_open_mode mode, struct disk_file **ret_file);
    void (*close)(struct disk *disk, struct disk_file *file);
    enum status (*size)(struct disk *disk, struct disk_file *file, uint64_t *ret_size);
    /* All of it or an error. Reading past the end is IO. */
    enum status (*read_at)(struct disk *disk, struct disk_file *file, uint64_t offset, void *data, size_t len);
    enum status (*write_at)(struct disk *disk, struct disk_file *file, uint64_t offset, const void *data, size_t len);
    enum status (*truncate)(struct disk *disk, struct disk_file *file, uint64_t size);
    enum status (*sync)(struct disk *disk, struct disk_file *file);             /* content (fdatasync) */
    enum status (*rename)(struct disk *disk, const char *from, const char *to); /* replaces `to` */
    enum status (*remove)(struct disk *disk, const char *path);
    enum status (*make_dir)(struct disk *disk, const char *path); /* OK when it is there */
    enum status (*sync_dir)(struct disk *disk, const char *path); /* makes names durable */
    /* Calls visit for each plain file of a directory, in any order; stops when it returns false. */
    enum status (*list)(struct disk *disk, const char *path, bool (*visit)(void *ctx, const char *name), void *ctx);
    /* Bytes that can still be written. */
    enum status (*free_size)(struct disk *disk, uint64_t *ret_size);
};

/* The machine's disk below `root` (made when missing). Owned by the caller: disk_posix_close. */
STATUS_MUST_CHECK enum status disk_posix_open(const char *root, struct disk **ret_disk);
/* Takes the lock of the root for this process (flock on root/LOCK); LOCKED when another has it. Released by close. */
STATUS_MUST_CHECK enum status disk_posix_lock(struct disk *disk);
void disk_posix_close(struct disk *disk);

#endif
