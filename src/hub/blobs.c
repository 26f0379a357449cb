/* blobs.c - large payloads as files named by their content.
 *
 *   upload   write ──copy──▶ gather ──swap──▶ worker: write(2), SHA-256 ──▶ … end ──▶ worker: compare, fsync, link in place
 *   reader   worker: pread ──▶ on_piece ──▶ blob_read_next ──▶ …
 *
 * The loop gathers pieces while a thread of libuv's pool writes the ones before: two buffers of at most GATHER_MAX bytes
 * an upload, whatever its size. One piece of work is under way at a time, so order needs no numbers.
 *
 * Files: blobs/tmp/<number>.part while they arrive (all removed at start: nobody was told about them), then
 * blobs/<first two digits>/<64 digits>. A name appears only with its whole content synced; the directories are synced
 * before anybody is told. The same content from two senders at once: the first to rename wins, the other one's file goes.
 *
 * Rejected: hashing on the loop (SHA-256 of 1 GiB is seconds), a table of blobs (the directory is one). */
#include "hub/blobs.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/ensure.h"

#define WRITE_SIZE (256u << 10) /* gathered before a worker is asked to write */
#define GATHER_MAX (1u << 20)   /* the sender pauses above it; one more piece still fits */
#define READ_SIZE (256u << 10)
static_assert(BLOB_UPLOAD_MEMORY > GATHER_MAX && BLOB_READER_MEMORY >= READ_SIZE, "what they hold");
#define PATH_SIZE 1280u /* LIMIT of data_dir (1024), blobs/, shard, digest */
#define HEX_LEN 64u
#define UPLOAD_GRACE_NS (10 * NS_PER_S) /* an upload's rate is judged no sooner */

struct blob_store {
    uint32_t magic;
    struct loop *loop;
    char dir[PATH_SIZE - 128];
    uint64_t size_max;
    uint64_t next_number;
    uint32_t users; /* uploads, readers and lists alive */
    bool is_closed;
    struct blob_upload *uploads;  /* alive, newest first */
    pthread_mutex_t placing;      /* held while a file gets its name, is touched or is taken away */
    _Atomic uint64_t count, size; /* of what is stored, as far as it is known */
};

struct blob_upload {
    uint32_t magic;
    struct blob_store *store;
    uv_work_t work;
    bool is_working;
    bool is_ending;
    bool is_aborted;
    bool has_paused;
    struct blob_upload *newer, *older; /* of the store's */
    int64_t begun_ns;
    int64_t paused_ns; /* so long the disk kept the sender waiting ... */
    int64_t pause_ns;  /* ... and since then it does; 0: it does not */
    void (*on_slow)(void *ctx);
    char expected[HEX_LEN + 1]; /* empty: any */
    void (*on_room)(void *ctx);
    void *room_ctx;
    void (*done)(void *ctx, enum status status, const char *hex, uint64_t size, bool is_new);
    void *done_ctx;
    struct buf gather;  /* of the loop */
    struct buf writing; /* of the worker while one works */
    uint64_t size;
    /* of the worker */
    enum status status; /* the first thing that went wrong; what comes after is dropped */
    int fd;
    struct sha256 *sha;
    char path[PATH_SIZE];
    char hex[HEX_LEN + 1];
    bool finishes;
    bool is_new;
};

struct blob_reader {
    uint32_t magic;
    struct blob_store *store;
    uv_work_t work;
    bool is_working;
    bool is_aborted;
    void (*on_piece)(void *ctx, enum status status, struct slice piece);
    void *ctx;
    int fd;
    uint64_t offset;
    uint64_t left;
    ssize_t got;
    int error;
    char data[READ_SIZE];
};

static enum status status_of_errno(int error)
{
    switch (error) {
    case ENOENT:
        return STATUS_NOT_FOUND;
    case ENOSPC:
    case EDQUOT:
        return STATUS_NO_SPACE;
    case ENOMEM:
        return STATUS_NO_MEMORY;
    default:
        return STATUS_IO;
    }
}

static bool hex_is_digest(const char *hex)
{
    size_t len = strspn(hex, "0123456789abcdef");
    return len == HEX_LEN && hex[len] == '\0';
}

static void blob_path(const struct blob_store *store, const char *hex, char ret[PATH_SIZE])
{
    (void)snprintf(ret, PATH_SIZE, "%s/%.2s/%s", store->dir, hex, hex);
}

static int sync_dir(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return -1;
    }
    int result = fsync(fd);
    int error = errno;
    (void)close(fd);
    errno = error;
    return result;
}

/* --- the store --- */

static int make_dir(const char *path)
{
    return mkdir(path, 0700) == 0 || errno == EEXIST ? 0 : -1;
}

/* Removes what a process before this one left behind unfinished. */
static int clean_tmp(const char *path)
{
    DIR *dir = opendir(path);
    if (dir == NULL) {
        return -1;
    }
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        if (strstr(entry->d_name, ".part") != NULL) {
            (void)unlinkat(dirfd(dir), entry->d_name, 0);
        }
    }
    (void)closedir(dir);
    return 0;
}

enum status blob_store_open(struct loop *loop, const char *dir, uint64_t size_max, struct blob_store **ret_store)
{
    struct blob_store *store = calloc(1, sizeof(*store));
    if (store == NULL) {
        return STATUS_NO_MEMORY;
    }
    store->magic = BLOB_STORE_MAGIC;
    store->loop = loop;
    store->size_max = size_max;
    pthread_mutex_init(&store->placing, NULL);
    int len = snprintf(store->dir, sizeof(store->dir), "%s", dir);
    char path[PATH_SIZE];
    (void)snprintf(path, sizeof(path), "%s/tmp", store->dir);
    if (len < 0 || (size_t)len >= sizeof(store->dir) || make_dir(store->dir) != 0 || make_dir(path) != 0 ||
        clean_tmp(path) != 0 || sync_dir(store->dir) != 0) {
        enum status status = (size_t)len >= sizeof(store->dir) ? STATUS_INVALID : status_of_errno(errno);
        free(store);
        return status;
    }
    *ret_store = store;
    return STATUS_OK;
}

static void store_release(struct blob_store *store)
{
    store->users--;
    if (store->is_closed && store->users == 0) {
        store->magic = 0;
        pthread_mutex_destroy(&store->placing);
        free(store);
    }
}

void blob_store_close(struct blob_store *store)
{
    if (store == NULL) {
        return;
    }
    ensure_magic(store, BLOB_STORE_MAGIC);
    store->is_closed = true;
    store->users++;
    store_release(store);
}

enum status blob_stat(struct blob_store *store, const char *hex, uint64_t *ret_size)
{
    ensure_magic(store, BLOB_STORE_MAGIC);
    if (!hex_is_digest(hex)) {
        return STATUS_NOT_FOUND;
    }
    char path[PATH_SIZE];
    blob_path(store, hex, path);
    struct stat info;
    if (stat(path, &info) != 0) {
        return status_of_errno(errno);
    }
    *ret_size = (uint64_t)info.st_size;
    return STATUS_OK;
}

/* --- uploads --- */

static void upload_free(struct blob_upload *upload)
{
    struct blob_store *store = upload->store;
    *(upload->newer != NULL ? &upload->newer->older : &store->uploads) = upload->older;
    if (upload->older != NULL) {
        upload->older->newer = upload->newer;
    }
    if (upload->fd >= 0) {
        (void)close(upload->fd);
        (void)unlink(upload->path);
    }
    sha256_free(upload->sha);
    buf_free(&upload->gather);
    buf_free(&upload->writing);
    upload->magic = 0;
    free(upload);
    store_release(store);
}

enum status blob_upload_begin(struct blob_store *store, const char *expected_hex, void (*on_room)(void *ctx),
                              void (*on_slow)(void *ctx), void *ctx, struct blob_upload **ret_upload)
{
    ensure_magic(store, BLOB_STORE_MAGIC);
    if (expected_hex != NULL && !hex_is_digest(expected_hex)) {
        return STATUS_INVALID;
    }
    struct blob_upload *upload = calloc(1, sizeof(*upload));
    if (upload == NULL) {
        return STATUS_NO_MEMORY;
    }
    upload->magic = BLOB_UPLOAD_MAGIC;
    upload->store = store;
    upload->fd = -1;
    upload->on_room = on_room;
    upload->on_slow = on_slow;
    upload->room_ctx = ctx;
    upload->begun_ns = clock_mono_ns();
    upload->older = store->uploads;
    if (store->uploads != NULL) {
        store->uploads->newer = upload;
    }
    store->uploads = upload;
    upload->sha = sha256_new();
    upload->work.data = upload;
    if (expected_hex != NULL) {
        memcpy(upload->expected, expected_hex, HEX_LEN + 1);
    }
    /* A piece comes from the connection's read buffer, or whole from a test: it always fits behind GATHER_MAX. */
    buf_init(&upload->gather, SIZE_MAX / 4);
    buf_init(&upload->writing, SIZE_MAX / 4);
    (void)snprintf(upload->path, sizeof(upload->path), "%s/tmp/%llu.part", store->dir,
                   (unsigned long long)++store->next_number);
    store->users++;
    if (upload->sha == NULL) {
        upload_free(upload);
        return STATUS_NO_MEMORY;
    }
    *ret_upload = upload;
    return STATUS_OK;
}

/* On a worker. */
static enum status upload_write_all(struct blob_upload *upload)
{
    if (upload->fd < 0) {
        upload->fd = open(upload->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (upload->fd < 0) {
            return status_of_errno(errno);
        }
    }
    const char *at = upload->writing.data;
    size_t left = upload->writing.len;
    while (left > 0) {
        ssize_t written = write(upload->fd, at, left);
        if (written < 0) {
            if (errno == EINTR) {
                continue;
            }
            return status_of_errno(errno);
        }
        at += written;
        left -= (size_t)written;
    }
    if (upload->writing.len > 0) {
        sha256_update(upload->sha, upload->writing.data, upload->writing.len);
    }
    return STATUS_OK;
}

/* Gives the file its name. A file of another size is a damaged one and is replaced. Without RENAME_NOREPLACE (some file
 * systems) an equal file is replaced by an equal one. */
static enum status upload_place(struct blob_upload *upload, const char *path)
{
    struct stat info;
    bool is_there = stat(path, &info) == 0;
    if (is_there && (uint64_t)info.st_size == upload->size) {
        upload->is_new = false;
        if (utimensat(AT_FDCWD, path, NULL, 0) != 0) { /* it is wanted again: no sweep takes it now */
            return status_of_errno(errno);
        }
    } else if (!is_there && renameat2(AT_FDCWD, upload->path, AT_FDCWD, path, RENAME_NOREPLACE) == 0) {
        upload->is_new = true;
    } else if (!is_there && errno == EEXIST) {
        upload->is_new = false;
    } else if (is_there || errno == EINVAL || errno == ENOSYS) {
        if (rename(upload->path, path) != 0) {
            return status_of_errno(errno);
        }
        upload->is_new = true;
    } else {
        return status_of_errno(errno);
    }
    if (!upload->is_new && unlink(upload->path) != 0) {
        return status_of_errno(errno);
    }
    return STATUS_OK;
}

/* On a worker: the end of an upload. */
static enum status upload_finish(struct blob_upload *upload)
{
    uint8_t digest[SHA256_SIZE];
    sha256_final(upload->sha, digest);
    hex_encode(digest, sizeof(digest), upload->hex);
    if (upload->expected[0] != '\0' && strcmp(upload->expected, upload->hex) != 0) {
        return STATUS_DIGEST_MISMATCH;
    }
    if (fsync(upload->fd) != 0) {
        return status_of_errno(errno);
    }
    const struct blob_store *store = upload->store;
    char shard[PATH_SIZE];
    (void)snprintf(shard, sizeof(shard), "%s/%.2s", store->dir, upload->hex);
    bool is_new_shard = mkdir(shard, 0700) == 0;
    if (!is_new_shard && errno != EEXIST) {
        return status_of_errno(errno);
    }
    char path[PATH_SIZE];
    blob_path(store, upload->hex, path);
    pthread_mutex_t *placing = &upload->store->placing;
    pthread_mutex_lock(placing);
    enum status status = upload_place(upload, path);
    pthread_mutex_unlock(placing);
    if (status != STATUS_OK) {
        return status;
    }
    if (upload->is_new) {
        atomic_fetch_add(&upload->store->count, 1);
        atomic_fetch_add(&upload->store->size, upload->size);
    }
    (void)close(upload->fd);
    upload->fd = -1;
    /* Another sender's file of this name may be in place and its directory not synced yet: sync it in any case. */
    if (sync_dir(shard) != 0 || sync_dir(store->dir) != 0) {
        return status_of_errno(errno);
    }
    return STATUS_OK;
}

static void upload_work(uv_work_t *work)
{
    struct blob_upload *upload = work->data;
    if (upload->status == STATUS_OK) {
        upload->status = upload_write_all(upload);
    }
    if (upload->status == STATUS_OK && upload->finishes) {
        upload->status = upload_finish(upload);
    }
    if (upload->status != STATUS_OK && upload->fd >= 0) {
        /* Nothing of it will be used: give the space back now, not when the sender is done. */
        (void)close(upload->fd);
        (void)unlink(upload->path);
        upload->fd = -1;
    }
}

static void upload_advance(struct blob_upload *upload);

static void upload_worked(uv_work_t *work, int uv_status)
{
    (void)uv_status;
    struct blob_upload *upload = work->data;
    ensure_magic(upload, BLOB_UPLOAD_MAGIC);
    upload->is_working = false;
    buf_reset(&upload->writing);
    if (upload->is_aborted) {
        upload_free(upload);
        return;
    }
    if (upload->finishes) {
        upload->done(upload->done_ctx, upload->status, upload->hex, upload->size, upload->is_new);
        upload_free(upload);
        return;
    }
    upload_advance(upload);
    if (upload->has_paused && upload->gather.len < WRITE_SIZE) {
        upload->has_paused = false;
        upload->paused_ns += clock_mono_ns() - upload->pause_ns;
        upload->pause_ns = 0;
        upload->on_room(upload->room_ctx); /* may end the upload: last */
    }
}

/* Asks a worker to do what there is to do, if none is at work. */
static void upload_advance(struct blob_upload *upload)
{
    if (upload->is_working || (!upload->is_ending && upload->gather.len < WRITE_SIZE)) {
        return;
    }
    if (upload->status == STATUS_OK) {
        upload->status = upload->size == UINT64_MAX ? STATUS_TOO_LARGE
                         : upload->gather.failed    ? STATUS_NO_MEMORY
                                                    : STATUS_OK;
    }
    struct buf empty = upload->writing;
    upload->writing = upload->gather;
    upload->gather = empty;
    upload->finishes = upload->is_ending;
    upload->is_working = true;
    int error = uv_queue_work(&upload->store->loop->uv, &upload->work, upload_work, upload_worked);
    ensure(error == 0);
}

bool blob_upload_write(struct blob_upload *upload, struct slice piece)
{
    ensure_magic(upload, BLOB_UPLOAD_MAGIC);
    ensure(!upload->is_ending && !upload->is_aborted);
    if (upload->size > upload->store->size_max || piece.len > upload->store->size_max - upload->size) {
        upload->size = UINT64_MAX; /* too large from here on; end() says so */
        buf_reset(&upload->gather);
        return true;
    }
    upload->size += piece.len;
    buf_append_slice(&upload->gather, piece);
    upload_advance(upload);
    upload->has_paused = upload->gather.len >= GATHER_MAX;
    upload->pause_ns = upload->has_paused ? clock_mono_ns() : 0;
    return !upload->has_paused;
}

void blob_upload_end(struct blob_upload *upload,
                     void (*done)(void *ctx, enum status status, const char *hex, uint64_t size, bool is_new),
                     void *ctx)
{
    ensure_magic(upload, BLOB_UPLOAD_MAGIC);
    ensure(!upload->is_ending && !upload->is_aborted);
    upload->is_ending = true;
    upload->has_paused = false;
    upload->done = done;
    upload->done_ctx = ctx;
    upload_advance(upload);
}

void blob_upload_abort(struct blob_upload *upload)
{
    ensure_magic(upload, BLOB_UPLOAD_MAGIC);
    if (upload->is_working) {
        upload->is_aborted = true;
    } else {
        upload_free(upload);
    }
}

/* --- reading --- */

static void reader_free(struct blob_reader *reader)
{
    struct blob_store *store = reader->store;
    (void)close(reader->fd);
    reader->magic = 0;
    free(reader);
    store_release(store);
}

/* On a worker. */
static void reader_work(uv_work_t *work)
{
    struct blob_reader *reader = work->data;
    size_t want = reader->left < READ_SIZE ? (size_t)reader->left : READ_SIZE;
    do {
        reader->got = pread(reader->fd, reader->data, want, (off_t)reader->offset);
    } while (reader->got < 0 && errno == EINTR);
    reader->error = reader->got < 0 ? errno : 0;
}

static void reader_worked(uv_work_t *work, int uv_status)
{
    (void)uv_status;
    struct blob_reader *reader = work->data;
    ensure_magic(reader, BLOB_READER_MAGIC);
    reader->is_working = false;
    if (reader->is_aborted) {
        reader_free(reader);
        return;
    }
    if (reader->error != 0 || (reader->got == 0 && reader->left > 0)) {
        enum status status = reader->error != 0 ? status_of_errno(reader->error) : STATUS_CORRUPT;
        reader->on_piece(reader->ctx, status, (struct slice){NULL, 0});
        reader_free(reader);
        return;
    }
    struct slice piece = slice_of(reader->data, (size_t)reader->got);
    reader->offset += piece.len;
    reader->left -= piece.len;
    if (piece.len == 0) {
        reader->on_piece(reader->ctx, STATUS_OK, piece);
        reader_free(reader);
        return;
    }
    reader->on_piece(reader->ctx, STATUS_OK, piece); /* may go on or abort: last */
}

void blob_read_next(struct blob_reader *reader)
{
    ensure_magic(reader, BLOB_READER_MAGIC);
    ensure(!reader->is_working);
    reader->is_working = true;
    int error = uv_queue_work(&reader->store->loop->uv, &reader->work, reader_work, reader_worked);
    ensure(error == 0);
}

enum status blob_read_begin(struct blob_store *store, const char *hex, uint64_t offset, uint64_t len,
                            void (*on_piece)(void *ctx, enum status status, struct slice piece), void *ctx,
                            struct blob_reader **ret_reader)
{
    uint64_t size = 0;
    enum status status = blob_stat(store, hex, &size);
    if (status != STATUS_OK) {
        return status;
    }
    if (offset > size || len > size - offset) {
        return STATUS_RANGE;
    }
    char path[PATH_SIZE];
    blob_path(store, hex, path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return status_of_errno(errno);
    }
    struct blob_reader *reader = malloc(sizeof(*reader));
    if (reader == NULL) {
        (void)close(fd);
        return STATUS_NO_MEMORY;
    }
    reader->magic = BLOB_READER_MAGIC;
    reader->store = store;
    reader->work.data = reader;
    reader->is_working = false;
    reader->is_aborted = false;
    reader->on_piece = on_piece;
    reader->ctx = ctx;
    reader->fd = fd;
    reader->offset = offset;
    reader->left = len;
    store->users++;
    *ret_reader = reader;
    blob_read_next(reader);
    return STATUS_OK;
}

void blob_read_abort(struct blob_reader *reader)
{
    ensure_magic(reader, BLOB_READER_MAGIC);
    if (reader->is_working) {
        reader->is_aborted = true;
    } else {
        reader_free(reader);
    }
}

/* --- what sweeps and deletes --- */

void blob_uploads_judge(struct blob_store *store, uint64_t rate_min, int64_t total_ms)
{
    ensure_magic(store, BLOB_STORE_MAGIC);
    int64_t now_ns = clock_mono_ns();
    struct blob_upload *older;
    for (struct blob_upload *upload = store->uploads; upload != NULL; upload = older) {
        older = upload->older;
        if (upload->is_ending || upload->is_aborted || upload->pause_ns != 0) {
            continue;
        }
        int64_t age_ns = now_ns - upload->begun_ns;
        int64_t sending_ns = age_ns - upload->paused_ns;
        bool is_slow =
            rate_min > 0 && sending_ns > UPLOAD_GRACE_NS && upload->size / (uint64_t)(sending_ns / NS_PER_S) < rate_min;
        if (is_slow || (total_ms > 0 && age_ns > total_ms * NS_PER_MS)) {
            upload->on_slow(upload->room_ctx); /* ends this upload, and no other */
        }
    }
}

void blob_store_counted(struct blob_store *store, uint64_t count, uint64_t size)
{
    atomic_store(&store->count, count);
    atomic_store(&store->size, size);
}

void blob_store_figures(struct blob_store *store, uint64_t *ret_count, uint64_t *ret_size)
{
    *ret_count = atomic_load(&store->count);
    *ret_size = atomic_load(&store->size);
}

static bool is_older_than(const struct stat *info, int64_t age_ms)
{
    int64_t touched_ns = (int64_t)info->st_mtim.tv_sec * NS_PER_S + info->st_mtim.tv_nsec;
    return age_ms != INT64_MAX && (clock_wall_ns() - touched_ns) / NS_PER_MS >= age_ms;
}

void blob_touch(struct blob_store *store, const char *hex)
{
    ensure_magic(store, BLOB_STORE_MAGIC);
    if (hex_is_digest(hex)) {
        char path[PATH_SIZE];
        blob_path(store, hex, path);
        (void)utimensat(AT_FDCWD, path, NULL, 0); /* one that is gone stays gone */
    }
}

struct removal {
    struct blob_store *store;
    uv_work_t work;
    char path[PATH_SIZE];
};

static void removal_work(uv_work_t *work)
{
    struct removal *removal = work->data;
    (void)unlink(removal->path); /* after a crash the next start finds it in tmp */
}

static void removal_worked(uv_work_t *work, int uv_status)
{
    (void)uv_status;
    struct removal *removal = work->data;
    struct blob_store *store = removal->store;
    free(removal);
    store_release(store);
}

enum status blob_remove(struct blob_store *store, const char *hex, int64_t age_ms)
{
    ensure_magic(store, BLOB_STORE_MAGIC);
    if (!hex_is_digest(hex)) {
        return STATUS_NOT_FOUND;
    }
    struct removal *removal = malloc(sizeof(*removal));
    if (removal == NULL) {
        return STATUS_NO_MEMORY;
    }
    removal->store = store;
    removal->work.data = removal;
    (void)snprintf(removal->path, sizeof(removal->path), "%s/tmp/%llu.gone.part", store->dir,
                   (unsigned long long)++store->next_number);
    char path[PATH_SIZE];
    blob_path(store, hex, path);
    struct stat info;
    pthread_mutex_lock(&store->placing);
    enum status status = stat(path, &info) != 0                        ? status_of_errno(errno)
                         : age_ms > 0 && !is_older_than(&info, age_ms) ? STATUS_AGAIN
                         : rename(path, removal->path) != 0            ? status_of_errno(errno)
                                                                       : STATUS_OK;
    pthread_mutex_unlock(&store->placing);
    if (status != STATUS_OK) {
        free(removal);
        return status;
    }
    uint64_t count = atomic_load(&store->count), size = atomic_load(&store->size);
    uint64_t gone = (uint64_t)info.st_size;
    atomic_store(&store->count, count - (count > 0));
    atomic_store(&store->size, size - (gone < size ? gone : size));
    store->users++;
    int error = uv_queue_work(&store->loop->uv, &removal->work, removal_work, removal_worked);
    ensure(error == 0);
    return STATUS_OK;
}

struct listing {
    struct blob_store *store;
    uv_work_t work;
    uint32_t folder;
    int64_t age_ms;
    struct blob_list *list;
    void (*done)(void *ctx, struct blob_list *list);
    void *ctx;
};

static void list_take(struct listing *listing, const char *name, const struct stat *info)
{
    struct blob_list *list = listing->list;
    list->all_count++;
    list->all_size += (uint64_t)info->st_size;
    if (!is_older_than(info, listing->age_ms)) {
        return;
    }
    if (list->count == list->cap) {
        uint32_t cap = list->cap == 0 ? 64 : list->cap * 2;
        struct blob_list_item *items = realloc(list->items, cap * sizeof(*items));
        if (items == NULL) {
            return; /* the next pass has it again */
        }
        list->items = items;
        list->cap = cap;
    }
    struct blob_list_item *item = &list->items[list->count++];
    memcpy(item->hex, name, HEX_LEN + 1);
    item->size = (uint64_t)info->st_size;
}

static void listing_work(uv_work_t *work)
{
    struct listing *listing = work->data;
    char path[PATH_SIZE];
    (void)snprintf(path, sizeof(path), "%s/%02x", listing->store->dir, listing->folder);
    DIR *dir = opendir(path);
    if (dir == NULL) {
        return; /* nothing was stored there yet */
    }
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        struct stat info;
        if (hex_is_digest(entry->d_name) && fstatat(dirfd(dir), entry->d_name, &info, AT_SYMLINK_NOFOLLOW) == 0 &&
            S_ISREG(info.st_mode)) {
            list_take(listing, entry->d_name, &info);
        }
    }
    (void)closedir(dir);
}

static void listing_worked(uv_work_t *work, int uv_status)
{
    (void)uv_status;
    struct listing *listing = work->data;
    struct blob_store *store = listing->store;
    listing->done(listing->ctx, listing->list);
    free(listing);
    store_release(store);
}

enum status blob_list_begin(struct blob_store *store, uint32_t folder, int64_t age_ms,
                            void (*done)(void *ctx, struct blob_list *list), void *ctx)
{
    ensure_magic(store, BLOB_STORE_MAGIC);
    struct listing *listing = malloc(sizeof(*listing));
    struct blob_list *list = calloc(1, sizeof(*list));
    if (listing == NULL || list == NULL) {
        free(listing);
        free(list);
        return STATUS_NO_MEMORY;
    }
    *listing =
        (struct listing){.store = store, .folder = folder, .age_ms = age_ms, .list = list, .done = done, .ctx = ctx};
    listing->work.data = listing;
    store->users++;
    int error = uv_queue_work(&store->loop->uv, &listing->work, listing_work, listing_worked);
    ensure(error == 0);
    return STATUS_OK;
}

void blob_list_free(struct blob_list *list)
{
    free(list->items);
    free(list);
}
