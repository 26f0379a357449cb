/* fuzz.h - what every fuzz target includes. docs/fuzzing.md says how they are built and run.
 *
 * A target is one function that is handed arbitrary bytes and ensure()s what must hold for any of them. With clang and
 * -Dfuzz=true it is linked to libFuzzer, in every other build to runner.c, which feeds it the corpus. Targets are
 * deterministic: the same bytes do the same, so that a file is all it takes to see a failure again. */
#ifndef SHOAL_TEST_FUZZ_H
#define SHOAL_TEST_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/ensure.h"
#include "base/slice.h"
#include "base/status.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A copy of exactly its length, so that AddressSanitizer sees the first byte read past it. Freed by the caller. */
static inline char *fuzz_copy(struct slice text)
{
    char *copy = malloc(text.len > 0 ? text.len : 1);
    ensure(copy != NULL);
    if (text.len > 0) {
        memcpy(copy, text.data, text.len);
    }
    return copy;
}

/* The first `max` bytes at most of what is left. */
static inline struct slice fuzz_take(struct reader *reader, size_t max)
{
    size_t left = reader_left(reader);
    return reader_bytes(reader, left < max ? left : max);
}

/* A number below `end`; 0 when the input has ended. */
static inline uint32_t fuzz_below(struct reader *reader, uint32_t end)
{
    return reader_left(reader) > 0 ? reader_u8(reader) % end : 0;
}

static inline bool fuzz_equal(const struct buf *a, const struct buf *b)
{
    return slice_equal(buf_slice(a), buf_slice(b));
}

#endif
