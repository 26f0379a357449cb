/* code_blob.h - blobs of the hub. Blocking: for the thread pool. */
#ifndef SHOAL_WORK_CODE_CODE_BLOB_H
#define SHOAL_WORK_CODE_CODE_BLOB_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/hash.h"
#include "base/slice.h"
#include "base/status.h"

struct code_hub {    /* where blobs are */
    const char *url; /* NULL: nowhere */
    const char *key; /* shown as Authorization: Bearer; NULL: none */
};

/* HEAD hub->url/v1/blobs/<hex>: how long the blob is, before a byte of it is fetched. NOT_FOUND, UNREACHABLE, CANCELLED once
 * *cancel is set; a sentence in `ret_why`. */
STATUS_MUST_CHECK enum status code_blob_head(const struct code_hub *hub, const char *hex, const atomic_bool *cancel,
                                             uint64_t *ret_size, struct buf *ret_why);
/* GET hub->url/v1/blobs/<hex> into the file `fd`, as it arrives; its digest is verified. As above, and TOO_LARGE past
 * `size_max`, NO_SPACE, DIGEST_MISMATCH. */
STATUS_MUST_CHECK enum status code_blob_get(const struct code_hub *hub, const char *hex, uint64_t size_max,
                                            const atomic_bool *cancel, int fd, struct buf *ret_why);
/* PUT hub->url/v1/blobs/<hex of content>. */
STATUS_MUST_CHECK enum status code_blob_put(const struct code_hub *hub, struct slice content, const atomic_bool *cancel,
                                            char ret_hex[SHA256_HEX_SIZE], struct buf *ret_why);

#endif
