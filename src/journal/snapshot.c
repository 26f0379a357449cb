/* snapshot.c - files that hold the whole state after one entry.
 *
 *   snapshot/<seq, 20 digits>.snap
 *     0 magic "SHOALSNP" | 8 version u32 | 12 zeros | 16 seq u64 | 24 time_ns i64 | 32 state hash, 32 bytes |
 *    64 crc32c u32 over the 64 bytes before | 68 zeros | 72 the state, as long as it is |
 *   end-40 size of the state u64 | end-32 SHA-256 over everything before
 *
 * Written as <seq>.tmp, synced, renamed, and the folder synced: a file with its final name is whole, or was damaged later,
 * and the digest tells. The size stands at the end because a writer that streams does not know it earlier; the checksum
 * of the header lets a list be made without reading gigabytes. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/ensure.h"
#include "base/hash.h"
#include "base/mutation.h"
#include "journal/file_journal.h"
#include "journal/segment.h"

#define SNAPSHOT_VERSION 1u
#define HEADER_SIZE 72u
#define HEADER_CRC_AT 64u
#define TRAILER_SIZE 40u
#define WRITE_SIZE ((size_t)1 << 20) /* what is gathered for one write */
#define READ_SIZE ((size_t)1 << 20)
#define PATH_SIZE 64u

struct snapshot_writer {
    struct disk *disk;
    struct disk_file *file;
    struct sha256 *sha;
    struct buf pending;
    uint64_t offset; /* in the file, of the first pending byte */
    uint64_t state_size;
    uint64_t seq;
    enum status status;
};

static void path_of(uint64_t seq, const char *suffix, char ret_path[PATH_SIZE])
{
    snprintf(ret_path, PATH_SIZE, "snapshot/%020llu%s", (unsigned long long)seq, suffix);
}

static void flush(struct snapshot_writer *writer)
{
    if (writer->status == STATUS_OK && writer->pending.len > 0) {
        writer->status = writer->disk->write_at(writer->disk, writer->file, writer->offset, writer->pending.data,
                                                writer->pending.len);
        writer->offset += writer->pending.len;
    }
    buf_reset(&writer->pending);
}

static void put(struct snapshot_writer *writer, const void *data, size_t len)
{
    const char *at = data;
    while (len > 0 && writer->status == STATUS_OK) {
        size_t room = WRITE_SIZE - writer->pending.len;
        size_t part = len < room ? len : room;
        buf_append(&writer->pending, at, part);
        if (writer->pending.failed) {
            writer->status = STATUS_NO_MEMORY;
            return;
        }
        at += part;
        len -= part;
        if (writer->pending.len == WRITE_SIZE) {
            flush(writer);
        }
    }
}

static void writer_free(struct snapshot_writer *writer)
{
    sha256_free(writer->sha);
    buf_free(&writer->pending);
    free(writer);
}

enum status snapshot_begin(struct disk *disk, uint64_t seq, int64_t time_ns, const uint8_t state_hash[32],
                           struct snapshot_writer **ret_writer)
{
    char path[PATH_SIZE];
    struct snapshot_writer *writer = calloc(1, sizeof(*writer));
    if (writer == NULL) {
        return STATUS_NO_MEMORY;
    }
    *writer = (struct snapshot_writer){.disk = disk, .seq = seq, .sha = sha256_new()};
    buf_init(&writer->pending, WRITE_SIZE);
    path_of(seq, ".tmp", path);
    enum status status = writer->sha != NULL ? disk->remove(disk, path) : STATUS_NO_MEMORY;
    if (status == STATUS_OK || status == STATUS_NOT_FOUND) {
        status = disk->open(disk, path, DISK_OPEN_CREATE, &writer->file);
    }
    if (status != STATUS_OK) {
        writer_free(writer);
        return status;
    }
    struct buf head;
    buf_init(&head, HEADER_SIZE);
    buf_append(&head, MAGIC_SNAPSHOT, 8);
    buf_append_u32(&head, SNAPSHOT_VERSION);
    buf_append_u32(&head, 0);
    buf_append_u64(&head, seq);
    buf_append_u64(&head, (uint64_t)time_ns);
    buf_append(&head, state_hash, 32);
    buf_append_u32(&head, crc32c(0, head.data, head.len));
    buf_append_u32(&head, 0);
    if (buf_status(&head) != STATUS_OK) {
        writer->status = STATUS_NO_MEMORY;
    } else {
        sha256_update(writer->sha, head.data, head.len);
        put(writer, head.data, head.len);
    }
    buf_free(&head);
    *ret_writer = writer;
    return STATUS_OK;
}

bool snapshot_write(void *ctx, const void *data, size_t len)
{
    struct snapshot_writer *writer = ctx;
    sha256_update(writer->sha, data, len);
    put(writer, data, len);
    writer->state_size += len;
    return writer->status == STATUS_OK;
}

static void put_trailer(struct snapshot_writer *writer)
{
    uint8_t trailer[TRAILER_SIZE];
    for (size_t i = 0; i < 8; i++) {
        trailer[i] = (uint8_t)(writer->state_size >> (8 * i));
    }
    sha256_update(writer->sha, trailer, 8);
    sha256_final(writer->sha, trailer + 8);
    put(writer, trailer, sizeof(trailer));
    flush(writer);
}

enum status snapshot_end(struct snapshot_writer *writer, bool ok)
{
    struct disk *disk = writer->disk;
    char tmp[PATH_SIZE];
    char path[PATH_SIZE];
    path_of(writer->seq, ".tmp", tmp);
    path_of(writer->seq, ".snap", path);
    if (!ok && writer->status == STATUS_OK) {
        writer->status = STATUS_CANCELLED;
    }
    if (writer->status == STATUS_OK) {
        put_trailer(writer);
    }
    if (writer->status == STATUS_OK) {
        writer->status = MUTATION(snapshot_unsynced) ? STATUS_OK : disk->sync(disk, writer->file);
    }
    disk->close(disk, writer->file);
    if (writer->status == STATUS_OK) {
        writer->status = disk->rename(disk, tmp, path);
    }
    if (writer->status == STATUS_OK) {
        writer->status = disk->sync_dir(disk, "snapshot");
    } else {
        (void)disk->remove(disk, tmp); /* opening removes it if this does not */
    }
    enum status status = writer->status;
    writer_free(writer);
    return status;
}

/* --- reading --- */

struct seq_list {
    uint64_t *seqs; /* owned */
    size_t count;
    size_t cap;
    bool has_no_memory;
};

static bool visit_name(void *ctx, const char *name)
{
    struct seq_list *list = ctx;
    uint64_t seq;
    if (!segment_parse_digits(name, ".snap", &seq)) {
        return true;
    }
    if (list->count == list->cap) {
        size_t cap = list->cap == 0 ? 8 : list->cap * 2;
        uint64_t *seqs = realloc(list->seqs, cap * sizeof(*seqs));
        if (seqs == NULL) {
            list->has_no_memory = true;
            return false;
        }
        list->seqs = seqs;
        list->cap = cap;
    }
    list->seqs[list->count++] = seq;
    return true;
}

static int newest_first(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return x > y ? -1 : x < y;
}

/* Reads header and size; CORRUPT when the header is not one of this snapshot. */
static enum status read_header(struct disk *disk, struct disk_file *file, uint64_t seq, char header[HEADER_SIZE],
                               struct snapshot_info *ret_info)
{
    uint64_t size;
    enum status status = disk->size(disk, file, &size);
    if (status != STATUS_OK) {
        return status;
    }
    if (size < HEADER_SIZE + TRAILER_SIZE) {
        return STATUS_CORRUPT;
    }
    status = disk->read_at(disk, file, 0, header, HEADER_SIZE);
    if (status != STATUS_OK) {
        return status;
    }
    struct reader reader = reader_of(slice_of(header, HEADER_SIZE));
    struct slice magic = reader_bytes(&reader, 8);
    uint32_t version = reader_u32(&reader);
    (void)reader_u32(&reader);
    struct snapshot_info info = {.size = size - HEADER_SIZE - TRAILER_SIZE};
    info.seq = reader_u64(&reader);
    info.time_ns = (int64_t)reader_u64(&reader);
    memcpy(info.state_hash, reader_bytes(&reader, 32).data, 32);
    uint32_t crc = reader_u32(&reader);
    if (!slice_equal_str(magic, MAGIC_SNAPSHOT) || crc != crc32c(0, header, HEADER_CRC_AT) || info.seq != seq ||
        version == 0) {
        return STATUS_CORRUPT;
    }
    if (version > SNAPSHOT_VERSION) {
        return STATUS_TOO_NEW;
    }
    *ret_info = info;
    return STATUS_OK;
}

enum status snapshot_list(struct disk *disk, struct snapshot_info *ret_infos, size_t max, size_t *ret_count)
{
    struct seq_list list = {0};
    enum status status = disk->list(disk, "snapshot", visit_name, &list);
    if (status == STATUS_NOT_FOUND) {
        status = STATUS_OK; /* a data directory that never held one */
    }
    if (status == STATUS_OK && list.has_no_memory) {
        status = STATUS_NO_MEMORY;
    }
    if (status == STATUS_OK && list.count > 0) {
        qsort(list.seqs, list.count, sizeof(*list.seqs), newest_first);
    }
    size_t count = 0;
    for (size_t i = 0; status == STATUS_OK && i < list.count && count < max; i++) {
        struct disk_file *file;
        char path[PATH_SIZE];
        char header[HEADER_SIZE];
        struct snapshot_info info = {.seq = list.seqs[i]}; /* all that is known of one whose header is damaged */
        path_of(list.seqs[i], ".snap", path);
        status = disk->open(disk, path, DISK_OPEN_READ, &file);
        if (status != STATUS_OK) {
            break;
        }
        enum status header_status = read_header(disk, file, list.seqs[i], header, &info);
        disk->close(disk, file);
        if (header_status == STATUS_NO_MEMORY) {
            status = header_status;
        }
        ret_infos[count++] = info;
    }
    free(list.seqs);
    if (status == STATUS_OK) {
        *ret_count = count;
    }
    return status;
}

static enum status read_state(struct disk *disk, struct disk_file *file, const struct snapshot_info *info,
                              const char header[HEADER_SIZE], char *state)
{
    uint8_t trailer[TRAILER_SIZE];
    uint8_t digest[SHA256_SIZE];
    uint64_t size = 0;
    for (uint64_t at = 0; at < info->size;) {
        size_t len = info->size - at < READ_SIZE ? (size_t)(info->size - at) : READ_SIZE;
        enum status status = disk->read_at(disk, file, HEADER_SIZE + at, state + at, len);
        if (status != STATUS_OK) {
            return status;
        }
        at += len;
    }
    enum status status = disk->read_at(disk, file, HEADER_SIZE + info->size, trailer, sizeof(trailer));
    if (status != STATUS_OK) {
        return status;
    }
    struct sha256 *sha = sha256_new();
    if (sha == NULL) {
        return STATUS_NO_MEMORY;
    }
    sha256_update(sha, header, HEADER_SIZE);
    sha256_update(sha, state, info->size);
    sha256_update(sha, trailer, 8);
    sha256_final(sha, digest);
    sha256_free(sha);
    for (size_t i = 0; i < 8; i++) {
        size |= (uint64_t)trailer[i] << (8 * i);
    }
    return size == info->size && memcmp(digest, trailer + 8, sizeof(digest)) == 0 ? STATUS_OK : STATUS_CORRUPT;
}

enum status snapshot_read(struct disk *disk, uint64_t seq, struct snapshot_info *ret_info, char **ret_state,
                          size_t *ret_len)
{
    struct disk_file *file;
    char path[PATH_SIZE];
    char header[HEADER_SIZE];
    struct snapshot_info info;
    char *state = NULL;
    path_of(seq, ".snap", path);
    enum status status = disk->open(disk, path, DISK_OPEN_READ, &file);
    if (status != STATUS_OK) {
        return status;
    }
    status = read_header(disk, file, seq, header, &info);
    if (status == STATUS_OK) {
        state = malloc(info.size > 0 ? info.size : 1);
        status = state != NULL ? read_state(disk, file, &info, header, state) : STATUS_NO_MEMORY;
    }
    disk->close(disk, file);
    if (status != STATUS_OK) {
        free(state);
        return status;
    }
    *ret_info = info;
    *ret_state = state;
    *ret_len = info.size;
    return STATUS_OK;
}

static_assert(HEADER_CRC_AT + 8 == HEADER_SIZE, "the checksum and four zeros end the header");
