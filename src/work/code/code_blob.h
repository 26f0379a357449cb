/* code_blob.h - blobs of the hub, from and to memory files. Blocking: for the thread pool. */
#ifndef SHOAL_WORK_CODE_CODE_BLOB_H
#define SHOAL_WORK_CODE_CODE_BLOB_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/hash.h"
#include "base/slice.h"
#include "base/status.h"

/* GET hub_url/v1/blobs/<hex> into a sealed memory file, its digest verified. NOT_FOUND, TOO_LARGE past `size_max`,
 * UNREACHABLE, DIGEST_MISMATCH, CANCELLED once *cancel is set; a sentence in `ret_why`. */
STATUS_MUST_CHECK enum status code_blob_get(const char *hub_url, const char *hex, uint64_t size_max,
                                            const atomic_bool *cancel, int *ret_fd, struct buf *ret_why);
/* PUT hub_url/v1/blobs/<hex of content>. */
STATUS_MUST_CHECK enum status code_blob_put(const char *hub_url, struct slice content, const atomic_bool *cancel,
                                            char ret_hex[SHA256_HEX_SIZE], struct buf *ret_why);

#endif
