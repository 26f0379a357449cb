/* base64.h - bytes as text and back (RFC 4648 section 4, with padding). Pure, any thread. */
#ifndef SHOAL_BASE_BASE64_H
#define SHOAL_BASE_BASE64_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/slice.h"

/* Characters that `len` bytes become. */
size_t base64_len(size_t len);
/* Appends; a failed allocation sticks to the buffer. */
void base64_encode(struct buf *out, struct slice bytes);
/* Appends the bytes; false, with part of them appended, when the text is not exactly what base64_encode writes: another
 * alphabet, line breaks, missing padding and stray bits at the end are refused, so that each content has one text. */
bool base64_decode(struct buf *out, struct slice text);

#endif
