/* code_store.h - a bounded directory of content by key.
 *
 * Holds what compilers made and blobs that were fetched. Content is read from its file and written to it in pieces: the
 * store takes no memory of the node's but for content that the disk had no room for. Any thread.
 *
 * A descriptor that comes out of here is read-only or a sealed memory file; its content begins at the descriptor's
 * offset (memfile.h). */
#ifndef SHOAL_WORK_CODE_CODE_STORE_H
#define SHOAL_WORK_CODE_CODE_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/hash.h"
#include "base/status.h"

struct code_store;

enum code_store_keys {
    STORE_KEYS_ANY,    /* a key says nothing about the content: its digest is kept in front of it */
    STORE_KEYS_DIGEST, /* a key is the SHA-256 of the content, which alone is in the file */
};

/* Opens or makes the directory; beyond `size_max` bytes the least recently used content goes. IO with errno. */
STATUS_MUST_CHECK enum status code_store_open(const char *dir, uint64_t size_max, enum code_store_keys keys,
                                              struct code_store **ret_store);
void code_store_close(struct code_store *store);

/* A descriptor of the content, owned by the caller; NOT_FOUND. Content that is damaged on disk is removed and
 * NOT_FOUND. `key` is lower-case hexadecimal, 64 digits. Reads the whole content when it is the first time. */
STATUS_MUST_CHECK enum status code_store_get(struct code_store *store, const char *key, int *ret_fd);
/* The same without touching the disk. */
STATUS_MUST_CHECK enum status code_store_peek(struct code_store *store, const char *key, int *ret_fd);
/* Bytes of the content if it is there; it may still be found damaged. */
bool code_store_size(struct code_store *store, const char *key, uint64_t *ret_size);
/* Keeps a copy of the content of a sealed memory file. A full disk is no error: the content is then kept in memory,
 * up to 32 MiB of all. */
void code_store_put(struct code_store *store, const char *key, int fd);

/* Content that arrives piece by piece (STORE_KEYS_DIGEST only): the caller writes to `fd` and checks the digest. */
struct code_draft {
    int fd;
    char path[700];
};
/* NO_SPACE when the disk has not `size` bytes and a reserve; IO with errno. */
STATUS_MUST_CHECK enum status code_store_draft(struct code_store *store, const char *key, uint64_t size,
                                               struct code_draft *ret_draft);
/* Keeps a whole draft and gives a descriptor for reading; content larger than the store is not kept, but can be read
 * from the descriptor. IO with errno. The draft is gone afterwards. */
STATUS_MUST_CHECK enum status code_store_adopt(struct code_store *store, const char *key, struct code_draft *draft,
                                               int *ret_fd);
void code_store_abandon(struct code_draft *draft);

#endif
