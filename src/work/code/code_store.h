/* code_store.h - a bounded directory of content by key, with the recently used in memory.
 *
 * Holds what compilers made and blobs that were fetched. Any thread. */
#ifndef SHOAL_WORK_CODE_CODE_STORE_H
#define SHOAL_WORK_CODE_CODE_STORE_H

#include <stdint.h>

#include "base/hash.h"
#include "base/status.h"

struct code_store;

/* Opens or makes the directory; beyond `size_max` bytes the least recently used content goes. IO with errno. */
STATUS_MUST_CHECK enum status code_store_open(const char *dir, uint64_t size_max, struct code_store **ret_store);
void code_store_close(struct code_store *store);

/* A sealed memory file with the content, owned by the caller; NOT_FOUND. Content that is damaged on disk is removed
 * and NOT_FOUND. `key` is lower-case hexadecimal, 64 digits. */
STATUS_MUST_CHECK enum status code_store_get(struct code_store *store, const char *key, int *ret_fd);
/* The same without touching the disk. */
STATUS_MUST_CHECK enum status code_store_peek(struct code_store *store, const char *key, int *ret_fd);
/* Keeps the content of a sealed memory file. A full disk is no error: the content is then kept in memory only. */
void code_store_put(struct code_store *store, const char *key, int fd);

#endif
