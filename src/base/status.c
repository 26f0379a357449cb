/* status.c - the table of status.def as data. */
#include "base/status.h"

#include <stddef.h>
#include <string.h>

struct status_row {
    const char *slug;
    const char *title;
    short http;
    unsigned char exit_code;
    bool is_retryable;
};

static const struct status_row rows[STATUS_COUNT] = {
#define X(name, slug, http, exit_code, retryable, title) [STATUS_##name] = {slug, title, http, exit_code, retryable},
#include "base/status.def"
#undef X
};

static const struct status_row *row_of(enum status status)
{
    return (unsigned)status < STATUS_COUNT ? &rows[status] : &rows[STATUS_INTERNAL];
}

const char *status_slug(enum status status)
{
    return row_of(status)->slug;
}

const char *status_title(enum status status)
{
    return row_of(status)->title;
}

int status_http(enum status status)
{
    int http = row_of(status)->http;
    return http != 0 ? http : 500;
}

int status_exit(enum status status)
{
    return row_of(status)->exit_code;
}

bool status_is_retryable(enum status status)
{
    return row_of(status)->is_retryable;
}

bool status_from_slug(const char *slug, enum status *ret_status)
{
    for (size_t i = 0; i < STATUS_COUNT; i++) {
        if (strcmp(rows[i].slug, slug) == 0) {
            *ret_status = (enum status)i;
            return true;
        }
    }
    return false;
}
