/* status.h - enum status: one vocabulary of outcomes from the disk to the exit code.
 *
 * Made from status.def. Functions that can fail return it, and the compiler insists that it is looked at
 * (STATUS_MUST_CHECK). Pure, any thread. */
#ifndef SHOAL_BASE_STATUS_H
#define SHOAL_BASE_STATUS_H

#include <stdbool.h>

enum status {
#define X(name, slug, http, exit_code, retryable, title) STATUS_##name,
#include "base/status.def"
#undef X
    STATUS_COUNT
};

#define STATUS_MUST_CHECK __attribute__((warn_unused_result))

/* The word for programs, e.g. "lease-lost". Static storage. Out-of-range values give "internal". */
const char *status_slug(enum status status);
/* One sentence for people. Static storage. */
const char *status_title(enum status status);
/* HTTP status code, 500 where the table has 0. */
int status_http(enum status status);
/* Exit code of a command line that ends with this outcome. */
int status_exit(enum status status);
/* Whether the same request may succeed later unchanged. */
bool status_is_retryable(enum status status);
/* The status with this slug; false when there is none (ret_status is then untouched). */
bool status_from_slug(const char *slug, enum status *ret_status);

#endif
