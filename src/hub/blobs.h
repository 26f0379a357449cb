/* blobs.h - large payloads as files named by their SHA-256: data/blobs/ab/abcdef….
 *
 * Written to a temporary file while they arrive, synced, renamed when the digest is known. Constant memory. Disk work
 * runs on libuv's thread pool; calls and callbacks on the loop's thread. */
#ifndef SHOAL_HUB_BLOBS_H
#define SHOAL_HUB_BLOBS_H

#include "base/hash.h"
#include "net/loop.h"

/* Bytes that an upload gathers at most before its sender pauses, and that a reader holds. */
#define BLOB_UPLOAD_MEMORY ((1u << 20) + (256u << 10))
#define BLOB_READER_MEMORY (256u << 10)

struct blob_store;
struct blob_upload;

STATUS_MUST_CHECK enum status blob_store_open(struct loop *loop, const char *dir, uint64_t size_max,
                                              struct blob_store **ret_store);
void blob_store_close(struct blob_store *store);

/* Begins an upload. `expected_hex` (64 digits) or NULL. Pieces are copied and written in order; `on_room` is called when
 * a paused uploader may go on, `on_slow` (from blob_uploads_judge) when it is too slow and must abort the upload. */
STATUS_MUST_CHECK enum status blob_upload_begin(struct blob_store *store, const char *expected_hex,
                                                void (*on_room)(void *ctx), void (*on_slow)(void *ctx), void *ctx,
                                                struct blob_upload **ret_upload);
/* Finds uploads that are older than ten seconds and came with fewer than `rate_min` bytes a second (0: any), or that are
 * older than `total_ms` (0: any). */
void blob_uploads_judge(struct blob_store *store, uint64_t rate_min, int64_t total_ms);
/* False: pause until on_room. */
bool blob_upload_write(struct blob_upload *upload, struct slice piece);
/* Finishes: `done` comes with OK and the digest, or TOO_LARGE, DIGEST_MISMATCH, NO_SPACE, IO. Frees the upload. */
void blob_upload_end(struct blob_upload *upload,
                     void (*done)(void *ctx, enum status status, const char *hex, uint64_t size, bool is_new),
                     void *ctx);
/* The sender went away: drops what there is. */
void blob_upload_abort(struct blob_upload *upload);

/* Size of a stored blob: NOT_FOUND. Synchronous (one stat). `hex` must be 64 lower-case hex digits, else NOT_FOUND. */
STATUS_MUST_CHECK enum status blob_stat(struct blob_store *store, const char *hex, uint64_t *ret_size);
/* The blob is wanted: its age begins anew. */
void blob_touch(struct blob_store *store, const char *hex);
/* Takes a blob away. Its name is gone when this returns, its space soon after. AGAIN when it was touched or put less than
 * `age_ms` ago (0: whatever its age); NOT_FOUND. */
STATUS_MUST_CHECK enum status blob_remove(struct blob_store *store, const char *hex, int64_t age_ms);
/* One of the 256 folders of the store: how much is in it, and which blobs are at least `age_ms` old (INT64_MAX: none). */
struct blob_list_item {
    char hex[SHA256_HEX_SIZE];
    uint64_t size;
};
struct blob_list {
    struct blob_list_item *items; /* owned */
    uint32_t count, cap;
    uint64_t all_count, all_size;
};
/* `done` gets the list, which it frees. It comes even when the store is closed meanwhile. */
STATUS_MUST_CHECK enum status blob_list_begin(struct blob_store *store, uint32_t folder, int64_t age_ms,
                                              void (*done)(void *ctx, struct blob_list *list), void *ctx);
void blob_list_free(struct blob_list *list);
/* How much is stored: as it was counted last, and what came and went since. */
void blob_store_counted(struct blob_store *store, uint64_t count, uint64_t size);
void blob_store_figures(struct blob_store *store, uint64_t *ret_count, uint64_t *ret_size);
/* Reads a range in pieces of at most 256 KiB: each `on_piece` is followed by the next only after blob_read_next. The last
 * one has len 0 and frees the reader. */
struct blob_reader;
STATUS_MUST_CHECK enum status blob_read_begin(struct blob_store *store, const char *hex, uint64_t offset, uint64_t len,
                                              void (*on_piece)(void *ctx, enum status status, struct slice piece),
                                              void *ctx, struct blob_reader **ret_reader);
void blob_read_next(struct blob_reader *reader);
void blob_read_abort(struct blob_reader *reader);

#endif
