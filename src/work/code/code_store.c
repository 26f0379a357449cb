/* code_store.c - a bounded directory of content by key.
 *
 *   <dir>/<key>          32 bytes SHA-256 of the content, then the content
 *   <dir>/<key>.<n>.new  being written; removed at open
 *
 * A file appears whole by rename and is checked against its digest when it is read, so a crash or a bad disk costs a
 * recompilation and nothing else; there is no fsync. The directory belongs to the node alone: no box ever sees it.
 *
 * Invariants: (C1) `size` is the sum over the entries on disk, `held` over those with a memory file; (C2) both are at
 * most their maximum after every call; (C3) a memory file here is sealed, so handing it out cannot change it. */
#include "work/code/code_store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/ensure.h"
#include "work/sandbox/memfile.h"

#define KEY_LEN (SHA256_HEX_SIZE - 1)
#define ENTRIES_MAX 4096
#define HELD_MAX (UINT64_C(128) << 20)
#define HELD_ONE_MAX (UINT64_C(16) << 20)
#define CONTENT_MAX (UINT64_C(1) << 30)

struct entry {
    char key[SHA256_HEX_SIZE];
    uint64_t size;
    uint64_t used; /* higher is later */
    int fd;        /* -1: on disk only */
    bool is_on_disk;
};

struct code_store {
    pthread_mutex_t lock;
    char dir[512];
    uint64_t size_max, size, held, clock;
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

static void entry_drop_held(struct code_store *store, struct entry *entry)
{
    if (entry->fd < 0) {
        return;
    }
    close(entry->fd);
    entry->fd = -1;
    store->held -= entry->size;
}

static void entry_remove(struct code_store *store, struct entry *entry)
{
    entry_drop_held(store, entry);
    if (entry->is_on_disk) {
        char path[640];
        path_of(store, entry->key, path, sizeof(path));
        unlink(path);
        store->size -= entry->size;
    }
    *entry = store->entries[--store->count];
}

static struct entry *entry_oldest(struct code_store *store, bool is_held_only)
{
    struct entry *oldest = NULL;
    for (size_t i = 0; i < store->count; i++) {
        if ((!is_held_only || store->entries[i].fd >= 0) && (oldest == NULL || store->entries[i].used < oldest->used)) {
            oldest = &store->entries[i];
        }
    }
    return oldest;
}

/* Keeps C2. */
static void shrink(struct code_store *store)
{
    while (store->count > 0 && store->size > store->size_max) {
        entry_remove(store, entry_oldest(store, false));
    }
    while (store->held > HELD_MAX) {
        struct entry *entry = entry_oldest(store, true);
        ensure(entry != NULL);
        if (entry->is_on_disk) {
            entry_drop_held(store, entry);
        } else {
            entry_remove(store, entry);
        }
    }
}

static struct entry *entry_add(struct code_store *store, const char *key, uint64_t size)
{
    if (store->count == ENTRIES_MAX) {
        entry_remove(store, entry_oldest(store, false));
    }
    struct entry *entry = &store->entries[store->count++];
    *entry = (struct entry){.size = size, .used = ++store->clock, .fd = -1};
    memcpy(entry->key, key, KEY_LEN);
    return entry;
}

static void entry_hold(struct code_store *store, struct entry *entry, int fd)
{
    if (entry->fd >= 0 || (entry->size > HELD_ONE_MAX && entry->is_on_disk)) {
        return;
    }
    entry->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (entry->fd >= 0) {
        store->held += entry->size;
    }
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
            st.st_size < SHA256_SIZE) {
            unlink(path);
            continue;
        }
        memcpy(found[count].key, item->d_name, KEY_LEN);
        found[count].size = (uint64_t)st.st_size - SHA256_SIZE;
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

enum status code_store_open(const char *dir, uint64_t size_max, struct code_store **ret_store)
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
        entry_drop_held(store, &store->entries[i]);
    }
    pthread_mutex_destroy(&store->lock);
    free(store->entries);
    free(store);
}

/* --- reading and writing --------------------------------------------------------------------------------------- */

/* Reads and verifies a file without the lock. */
static enum status file_load(const char *path, int *ret_fd)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) {
        return STATUS_NOT_FOUND;
    }
    struct buf bytes;
    buf_init(&bytes, CONTENT_MAX + SHA256_SIZE);
    enum status status = memfile_read(fd, &bytes);
    close(fd);
    uint8_t digest[SHA256_SIZE];
    int content = -1;
    if (status == STATUS_OK && bytes.len >= SHA256_SIZE) {
        struct slice rest = slice_of(bytes.data + SHA256_SIZE, bytes.len - SHA256_SIZE);
        sha256(rest, digest);
        if (memcmp(digest, bytes.data, SHA256_SIZE) == 0) {
            content = memfile_of("content", rest);
        }
    }
    buf_free(&bytes);
    if (content < 0) {
        return STATUS_CORRUPT;
    }
    *ret_fd = content;
    return STATUS_OK;
}

static bool write_all(int fd, struct slice bytes)
{
    for (size_t done = 0; done < bytes.len;) {
        ssize_t written = write(fd, bytes.data + done, bytes.len - done);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written <= 0) {
            return false;
        }
        done += (size_t)written;
    }
    return true;
}

static bool file_save(const char *path, uint64_t number, struct slice content)
{
    char fresh[700];
    snprintf(fresh, sizeof(fresh), "%s.%llu.new", path, (unsigned long long)number);
    int fd = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) {
        return false;
    }
    uint8_t digest[SHA256_SIZE];
    sha256(content, digest);
    bool is_ok = write_all(fd, slice_of(digest, sizeof(digest))) && write_all(fd, content);
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

enum status code_store_get(struct code_store *store, const char *key, int *ret_fd)
{
    if (code_store_peek(store, key, ret_fd) == STATUS_OK) {
        return STATUS_OK;
    }
    pthread_mutex_lock(&store->lock);
    bool is_known = entry_find(store, key) != NULL;
    pthread_mutex_unlock(&store->lock);
    if (!is_known) {
        return STATUS_NOT_FOUND;
    }
    char path[640];
    path_of(store, key, path, sizeof(path));
    int fd = -1;
    enum status status = file_load(path, &fd);
    pthread_mutex_lock(&store->lock);
    struct entry *entry = entry_find(store, key); /* it may have gone meanwhile */
    if (entry != NULL && status == STATUS_OK) {
        entry->used = ++store->clock;
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

void code_store_put(struct code_store *store, const char *key, int fd)
{
    ensure(is_key(key));
    struct buf bytes;
    buf_init(&bytes, CONTENT_MAX);
    if (memfile_read(fd, &bytes) != STATUS_OK) {
        buf_free(&bytes);
        return;
    }
    char path[640];
    path_of(store, key, path, sizeof(path));
    pthread_mutex_lock(&store->lock);
    bool is_known = entry_find(store, key) != NULL;
    uint64_t number = ++store->clock;
    pthread_mutex_unlock(&store->lock);
    if (!is_known) {
        bool is_saved = bytes.len <= store->size_max && file_save(path, number, buf_slice(&bytes));
        pthread_mutex_lock(&store->lock);
        if (entry_find(store, key) == NULL) {
            struct entry *entry = entry_add(store, key, bytes.len);
            entry->is_on_disk = is_saved;
            if (is_saved) {
                store->size += bytes.len;
            }
            entry_hold(store, entry, fd);
            if (entry->fd < 0 && !is_saved) {
                entry_remove(store, entry);
            }
            shrink(store);
        }
        pthread_mutex_unlock(&store->lock);
    }
    buf_free(&bytes);
}
