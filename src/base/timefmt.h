/* timefmt.h - RFC 3339 times to and from nanoseconds. Pure, any thread. */
#ifndef SHOAL_BASE_TIMEFMT_H
#define SHOAL_BASE_TIMEFMT_H

#include <stdint.h>

#include "base/slice.h"
#include "base/status.h"

#define TIME_TEXT_SIZE 32

/* "2026-01-31T23:59:59.123Z" (milliseconds, UTC) with its NUL into ret[TIME_TEXT_SIZE]; years 1970 to 2261. */
void time_format(int64_t wall_ns, char ret[TIME_TEXT_SIZE]);
/* Reads RFC 3339 with any fraction and offset; INVALID when it is not one or lies outside of 1970..2261. */
STATUS_MUST_CHECK enum status time_parse(struct slice text, int64_t *ret_wall_ns);

#endif
