/* blob_name.h - finding the names of blobs in a text.
 *
 * Whatever the kind, an input or a result names a blob as "sha256:" and 64 lower-case hexadecimal digits. Who keeps such a
 * text keeps the blob: the core counts the names in what tasks hold, history those in its rows. Pure, any thread. */
#ifndef SHOAL_PROTO_BLOB_NAME_H
#define SHOAL_PROTO_BLOB_NAME_H

#include <stdbool.h>
#include <stdint.h>

#include "base/hash.h"
#include "base/slice.h"

/* The next name at or behind *at, which moves past it; false when there is none. */
bool blob_name_next(struct slice text, size_t *at, uint8_t ret_digest[SHA256_SIZE]);
/* 64 lower-case hexadecimal digits; false when they are not. */
bool blob_digest_parse(const char hex[2 * SHA256_SIZE], uint8_t ret_digest[SHA256_SIZE]);

#endif
