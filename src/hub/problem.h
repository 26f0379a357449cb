/* problem.h - what a refused request is told: RFC 9457 problem+json.
 *
 * A problem collects what is wrong (up to PROBLEM_ERRORS_MAX places) and is written once. Plain data, any thread. */
#ifndef SHOAL_HUB_PROBLEM_H
#define SHOAL_HUB_PROBLEM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"
#include "base/status.h"
#include "proto/work.h"

#define PROBLEM_ERRORS_MAX 8
#define PROBLEM_CONTENT_TYPE "application/problem+json"
#define PROBLEM_RETRY_AFTER_S                                                                                          \
    1 /* a full hub has room again after the next fsync; a second is the smallest header value */

struct problem {
    enum status status; /* OK: nothing is wrong. Of the first error */
    bool is_passing;    /* asking again later may succeed, though with this status it mostly does not */
    bool has_offset;    /* BAD_JSON */
    uint64_t offset;
    uint64_t limit;       /* TOO_LARGE: bytes; 0 leaves it out */
    char detail[340];     /* pointer and detail of one place fit */
    uint32_t error_count; /* all that were added; only the first PROBLEM_ERRORS_MAX are kept */
    struct field_error errors[PROBLEM_ERRORS_MAX];
};

/* Nothing is wrong. Does not touch the arrays: a problem is made for every request. */
void problem_init(struct problem *problem);
/* The whole request is refused with one sentence; replaces what was there. */
void problem_set(struct problem *problem, enum status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Adds a place. `base` is a JSON pointer ("" for the body), `key` a member's name, escaped here, or empty for the value at
 * `base` itself. The first place decides status and detail. */
void problem_add(struct problem *problem, enum status status, const char *base, struct slice key, const char *format,
                 ...) __attribute__((format(printf, 5, 6)));
/* Adds a place found by work.h's decoders, whose pointer is whole. */
void problem_add_field_error(struct problem *problem, const struct field_error *error);
static inline bool problem_is_ok(const struct problem *problem)
{
    return problem->status == STATUS_OK;
}
/* Appends the JSON object, without a newline. */
void problem_write(struct buf *out, const struct problem *problem);
/* The same for a status and one sentence (NULL: the status's title). */
void problem_write_status(struct buf *out, enum status status, const char *detail);

#endif
