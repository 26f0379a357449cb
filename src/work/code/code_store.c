/* code_store.c - a bounded directory of content by key.
 *
 *   <dir>/<key>          the content; with keys that are no digests, 32 bytes SHA-256 of the content before it
 *   <dir>/<key>.<n>.new  being written; removed at open
 *
 * A file appears whole by rename and is checked against its digest when it is first read, so a crash or a bad disk costs
 * a recompilation and nothing else; there is no fsync. The directory belongs to the node alone: no box ever sees it.
 *
 * Content is never held in memory for being used often: the kernel's file cache does that, and gives it back when memory
 * is wanted. What is held is an open descriptor. Only content for which the disk has no room stays a memory file.
 *
 * Invariants: (C1) `size` is the sum over the entries on disk, `held` over those in memory, `open` the number of entries
 * with a descriptor; (C2) each is at most its maximum after every call; (C3) what is handed out cannot be written
 * through. */
#include "work/code/code_store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/ensure.h"
#include "work/sandbox/memfile.h"

#define KEY_LEN (SHA256_HEX_SIZE - 1)
#define ENTRIES_MAX 4096
#define OPEN_MAX 128                      /* descriptors; a node has 1,024 of them at the least */
#define HELD_MAX (UINT64_C(32) << 20)     /* memory, only while the disk is full */
#define PIECE_SIZE 65536                  /* read and hashed at a time, on the stack of a thread of the pool */
#define RESERVE_SIZE (UINT64_C(64) << 20) /* left free on the disk by drafts */

struct entry {
    char key[SHA256_HEX_SIZE];
    uint64_t size;
    uint64_t used; /* higher is later */
    int fd;        /* -1: none open */
    bool is_on_disk;
    bool is_verified; /* since the store was opened */
};

struct code_store {
    pthread_mutex_t lock;
    char dir[512];
    uint64_t head_size; /* in front of the content */
    uint64_t size_max, size, held, open, clock;
    struct entry *entries; /* ENTRIES_MAX */
    size_t count;
};

static bool is_key(const char *name)
{
    return strlen(name) == KEY_LEN && strspn(name, "0123456789abcdef") == KEY_LEN;
}

static void path_of(const struct code_store *store, const char *key, char *ret_path, size_t size)
{
    snprintf(ret_path, size, "%s/%s", store->dir, key);
}

static struct entry *entry_find(struct code_store *store, const char *key)
{
    for (size_t i = 0; i < store->count; i++) {
        if (memcmp(store->entries[i].key, key, KEY_LEN) == 0) {
            return &store->entries[i];
        }
    }
    return NULL;
}

/* Closes its descriptor; one without a file has no content then. */
static void entry_close(struct code_store *store, struct entry *entry)
{
    if (entry->fd < 0) {
        return;
    }
    close(entry->fd);
    entry->fd = -1;
    store->open--;
    store->held -= entry->is_on_disk ? 0 : entry->size;
}

static void entry_remove(struct code_store *store, struct entry *entry)
{
    entry_close(store, entry);
    if (entry->is_on_disk) {
        char path[640];
        path_of(store, entry->key, path, sizeof(path));
        unlink(path);
        store->size -= entry->size;
    }
    *entry = store->entries[--store->count];
}

enum which { ANY, OPEN, IN_MEMORY };

static struct entry *entry_oldest(struct code_store *store, enum which which)
{
    struct entry *oldest = NULL;
    for (size_t i = 0; i < store->count; i++) {
        struct entry *entry = &store->entries[i];
        bool fits = which == ANY || (entry->fd >= 0 && (which == OPEN || !entry->is_on_disk));
        if (fits && (oldest == NULL || entry->used < oldest->used)) {
            oldest = entry;
        }
    }
    return oldest;
}

/* Keeps C2. */
static void shrink(struct code_store *store)
{
    while (store->count > 0 && store->size > store->size_max) {
        entry_remove(store, entry_oldest(store, ANY));
    }
    while (store->held > HELD_MAX) {
        entry_remove(store, entry_oldest(store, IN_MEMORY));
    }
    while (store->open > OPEN_MAX) {
        struct entry *entry = entry_oldest(store, OPEN);
        if (entry->is_on_disk) {
            entry_close(store, entry);
        } else {
            entry_remove(store, entry);
        }
    }
}

static struct entry *entry_add(struct code_store *store, const char *key, uint64_t size)
{
    if (store->count == ENTRIES_MAX) {
        entry_remove(store, entry_oldest(store, ANY));
    }
    struct entry *entry = &store->entries[store->count++];
    *entry = (struct entry){.size = size, .used = ++store->clock, .fd = -1};
    memcpy(entry->key, key, KEY_LEN);
    return entry;
}

/* Keeps a descriptor with the entry, so that the next use costs no search. */
static void entry_hold(struct code_store *store, struct entry *entry, int fd)
{
    if (entry->fd >= 0 || (entry->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3)) < 0) {
        return;
    }
    store->open++;
    store->held += entry->is_on_disk ? 0 : entry->size;
}

/* --- opening --------------------------------------------------------------------------------------------------- */

struct found {
    char key[SHA256_HEX_SIZE];
    uint64_t size;
    int64_t mtime;
};

static int by_mtime(const void *a, const void *b)
{
    int64_t left = ((const struct found *)a)->mtime, right = ((const struct found *)b)->mtime;
    return (left > right) - (left < right);
}

static void scan(struct code_store *store)
{
    DIR *list = opendir(store->dir);
    struct found *found = calloc(ENTRIES_MAX, sizeof(*found));
    size_t count = 0;
    struct dirent *item;
    while (list != NULL && found != NULL && (item = readdir(list)) != NULL) {
        char path[1024];
        struct stat st;
        if (item->d_name[0] == '.') {
            continue;
        }
        path_of(store, item->d_name, path, sizeof(path));
        if (!is_key(item->d_name) || count == ENTRIES_MAX || lstat(path, &st) != 0 || !S_ISREG(st.st_mode) ||
            (uint64_t)st.st_size < store->head_size) {
            unlink(path);
            continue;
        }
        memcpy(found[count].key, item->d_name, KEY_LEN);
        found[count].size = (uint64_t)st.st_size - store->head_size;
        found[count++].mtime = st.st_mtime;
    }
    if (list != NULL) {
        closedir(list);
    }
    if (count > 0) {
        qsort(found, count, sizeof(*found), by_mtime);
    }
    for (size_t i = 0; i < count; i++) {
        entry_add(store, found[i].key, found[i].size)->is_on_disk = true;
        store->size += found[i].size;
    }
    free(found);
    shrink(store);
}

enum status code_store_open(const char *dir, uint64_t size_max, enum code_store_keys keys,
                            struct code_store **ret_store)
{
    struct code_store *store = calloc(1, sizeof(*store));
    if (store == NULL) {
        return STATUS_NO_MEMORY;
    }
    store->entries = calloc(ENTRIES_MAX, sizeof(*store->entries));
    if (store->entries == NULL || strlen(dir) >= sizeof(store->dir)) {
        free(store->entries);
        free(store);
        return STATUS_NO_MEMORY;
    }
    strcpy(store->dir, dir);
    store->size_max = size_max;
    store->head_size = keys == STORE_KEYS_DIGEST ? 0 : SHA256_SIZE;
    if (mkdir(dir, 0700) != 0 && errno != EEXIST) {
        free(store->entries);
        free(store);
        return STATUS_IO;
    }
    pthread_mutex_init(&store->lock, NULL);
    scan(store);
    *ret_store = store;
    return STATUS_OK;
}

void code_store_close(struct code_store *store)
{
    if (store == NULL) {
        return;
    }
    for (size_t i = 0; i < store->count; i++) {
        entry_close(store, &store->entries[i]);
    }
    pthread_mutex_destroy(&store->lock);
    free(store->entries);
    free(store);
}

/* --- reading and writing --------------------------------------------------------------------------------------- */

/* Hashes a file from its offset to its end in pieces, and copies it to `to` unless that is -1. */
static bool file_pass(int from, int to, uint8_t ret_digest[SHA256_SIZE], uint64_t *ret_size)
{
    char piece[PIECE_SIZE];
    struct sha256 *sha = sha256_new();
    off_t at = lseek(from, 0, SEEK_CUR);
    bool is_ok = sha != NULL && at >= 0;
    *ret_size = 0;
    while (is_ok) {
        ssize_t got = pread(from, piece, sizeof(piece), at);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            is_ok = got == 0;
            break;
        }
        sha256_update(sha, piece, (size_t)got);
        is_ok = to < 0 || memfile_write(to, slice_of(piece, (size_t)got));
        at += got;
        *ret_size += (uint64_t)got;
    }
    if (is_ok) {
        sha256_final(sha, ret_digest);
    }
    int error = errno;
    sha256_free(sha);
    errno = error;
    return is_ok;
}

/* Opens a file for reading, with its offset at the content; without the lock. Unless it was seen to be whole before, it is
 * read and checked. */
static enum status file_open(const struct code_store *store, const char *key, bool is_verified, int *ret_fd)
{
    char path[640], found[SHA256_HEX_SIZE];
    uint8_t kept[SHA256_SIZE], digest[SHA256_SIZE];
    uint64_t size;
    path_of(store, key, path, sizeof(path));
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) {
        return STATUS_NOT_FOUND;
    }
    bool is_ok = lseek(fd, (off_t)store->head_size, SEEK_SET) >= 0;
    if (is_ok && !is_verified) {
        is_ok = file_pass(fd, -1, digest, &size);
        hex_encode(digest, sizeof(digest), found);
        is_ok = is_ok && (store->head_size == 0 ? memcmp(found, key, KEY_LEN) == 0
                                                : pread(fd, kept, sizeof(kept), 0) == (ssize_t)sizeof(kept) &&
                                                      memcmp(kept, digest, sizeof(kept)) == 0);
    }
    if (!is_ok) {
        close(fd);
        return STATUS_CORRUPT;
    }
    *ret_fd = fd;
    return STATUS_OK;
}

static int fresh_open(const char *path, uint64_t number, char *ret_path, size_t size)
{
    snprintf(ret_path, size, "%s.%llu.new", path, (unsigned long long)number);
    return open(ret_path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
}

/* A copy of a memory file's content in the directory. */
static bool file_save(const struct code_store *store, const char *path, uint64_t number, int content)
{
    char fresh[700];
    uint8_t digest[SHA256_SIZE] = {0};
    uint64_t size;
    int fd = fresh_open(path, number, fresh, sizeof(fresh));
    if (fd < 0) {
        return false;
    }
    bool is_ok = (store->head_size == 0 || memfile_write(fd, slice_of(digest, sizeof(digest)))) &&
                 file_pass(content, fd, digest, &size) &&
                 (store->head_size == 0 || pwrite(fd, digest, sizeof(digest), 0) == (ssize_t)sizeof(digest));
    is_ok = close(fd) == 0 && is_ok && rename(fresh, path) == 0;
    if (!is_ok) {
        unlink(fresh);
    }
    return is_ok;
}

enum status code_store_peek(struct code_store *store, const char *key, int *ret_fd)
{
    ensure(is_key(key));
    int fd = -1;
    pthread_mutex_lock(&store->lock);
    struct entry *entry = entry_find(store, key);
    if (entry != NULL && entry->fd >= 0) {
        entry->used = ++store->clock;
        fd = fcntl(entry->fd, F_DUPFD_CLOEXEC, 3);
    }
    pthread_mutex_unlock(&store->lock);
    if (fd < 0) {
        return STATUS_NOT_FOUND;
    }
    *ret_fd = fd;
    return STATUS_OK;
}

bool code_store_size(struct code_store *store, const char *key, uint64_t *ret_size)
{
    ensure(is_key(key));
    pthread_mutex_lock(&store->lock);
    struct entry *entry = entry_find(store, key);
    if (entry != NULL) {
        *ret_size = entry->size;
    }
    pthread_mutex_unlock(&store->lock);
    return entry != NULL;
}

enum status code_store_get(struct code_store *store, const char *key, int *ret_fd)
{
    if (code_store_peek(store, key, ret_fd) == STATUS_OK) {
        return STATUS_OK;
    }
    pthread_mutex_lock(&store->lock);
    struct entry *entry = entry_find(store, key);
    bool is_known = entry != NULL, is_verified = is_known && entry->is_verified;
    pthread_mutex_unlock(&store->lock);
    if (!is_known) {
        return STATUS_NOT_FOUND;
    }
    int fd = -1;
    enum status status = file_open(store, key, is_verified, &fd);
    pthread_mutex_lock(&store->lock);
    entry = entry_find(store, key); /* it may have gone meanwhile */
    if (entry != NULL && status == STATUS_OK) {
        char path[640];
        path_of(store, key, path, sizeof(path));
        entry->used = ++store->clock;
        entry->is_verified = true;
        entry_hold(store, entry, fd);
        shrink(store);
        utimensat(AT_FDCWD, path, NULL, 0); /* the order of use survives a restart */
    } else if (entry != NULL) {
        entry_remove(store, entry);
    }
    pthread_mutex_unlock(&store->lock);
    if (status != STATUS_OK) {
        return STATUS_NOT_FOUND;
    }
    *ret_fd = fd;
    return STATUS_OK;
}

/* Enters content that was just written, or that is in memory only. */
static void enter(struct code_store *store, const char *key, uint64_t size, bool is_on_disk, int fd)
{
    pthread_mutex_lock(&store->lock);
    struct entry *entry = entry_find(store, key);
    if (entry != NULL && is_on_disk && !entry->is_on_disk) {
        entry_remove(store, entry);
        entry = NULL;
    }
    if (entry == NULL) {
        entry = entry_add(store, key, size);
        entry->is_on_disk = is_on_disk;
        entry->is_verified = true;
        store->size += is_on_disk ? size : 0;
        if (fd >= 0) {
            entry_hold(store, entry, fd);
        }
        if (entry->fd < 0 && !is_on_disk) {
            entry_remove(store, entry);
        }
        shrink(store);
    }
    pthread_mutex_unlock(&store->lock);
}

void code_store_put(struct code_store *store, const char *key, int fd)
{
    uint64_t size, known;
    if (!memfile_size(fd, &size) || code_store_size(store, key, &known)) {
        return;
    }
    char path[640];
    path_of(store, key, path, sizeof(path));
    pthread_mutex_lock(&store->lock);
    uint64_t number = ++store->clock;
    pthread_mutex_unlock(&store->lock);
    int reader = -1;
    bool is_saved = size <= store->size_max && file_save(store, path, number, fd);
    if (is_saved && file_open(store, key, true, &reader) != STATUS_OK) {
        reader = -1;
    }
    if (is_saved || size <= HELD_MAX) {
        enter(store, key, size, is_saved, is_saved ? reader : fd);
    }
    if (reader >= 0) {
        close(reader);
    }
}

/* --- drafts ---------------------------------------------------------------------------------------------------- */

enum status code_store_draft(struct code_store *store, const char *key, uint64_t size, struct code_draft *ret_draft)
{
    ensure(is_key(key) && store->head_size == 0);
    char path[640];
    struct statvfs disk;
    *ret_draft = (struct code_draft){.fd = -1};
    if (statvfs(store->dir, &disk) == 0 && disk.f_bavail * disk.f_frsize < size + RESERVE_SIZE) {
        errno = ENOSPC;
        return STATUS_NO_SPACE;
    }
    path_of(store, key, path, sizeof(path));
    pthread_mutex_lock(&store->lock);
    uint64_t number = ++store->clock;
    pthread_mutex_unlock(&store->lock);
    ret_draft->fd = fresh_open(path, number, ret_draft->path, sizeof(ret_draft->path));
    return ret_draft->fd >= 0 ? STATUS_OK : STATUS_IO;
}

void code_store_abandon(struct code_draft *draft)
{
    if (draft->fd >= 0) {
        close(draft->fd);
        unlink(draft->path);
    }
    draft->fd = -1;
}

enum status code_store_adopt(struct code_store *store, const char *key, struct code_draft *draft, int *ret_fd)
{
    char path[640];
    uint64_t size;
    path_of(store, key, path, sizeof(path));
    int fd = open(draft->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 || !memfile_size(fd, &size)) {
        int error = errno;
        if (fd >= 0) {
            close(fd);
        }
        code_store_abandon(draft);
        errno = error;
        return STATUS_IO;
    }
    if (size <= store->size_max && rename(draft->path, path) == 0) {
        enter(store, key, size, true, fd);
    }
    code_store_abandon(draft); /* where it was renamed there is nothing left to remove */
    *ret_fd = fd;
    return STATUS_OK;
}
