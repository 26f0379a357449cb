/* slice.h - a view of bytes that somebody else owns. */
#ifndef SHOAL_BASE_SLICE_H
#define SHOAL_BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct slice {
    const char *data; /* not NUL-terminated; may be NULL when len is 0 */
    size_t len;
};

/* For string literals only. */
#define SLICE(literal) ((struct slice){(literal), sizeof(literal) - 1})
/* For printf("%.*s"). */
#define SLICE_ARG(s) (int)(s).len, (s).data != NULL ? (s).data : ""

static inline struct slice slice_of(const void *data, size_t len)
{
    return (struct slice){(const char *)data, len};
}

static inline struct slice slice_str(const char *string)
{
    return string != NULL ? (struct slice){string, strlen(string)} : (struct slice){NULL, 0};
}

static inline bool slice_equal(struct slice a, struct slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

static inline bool slice_equal_str(struct slice a, const char *string)
{
    return slice_equal(a, slice_str(string));
}

static inline bool slice_starts_with(struct slice s, struct slice prefix)
{
    return s.len >= prefix.len && (prefix.len == 0 || memcmp(s.data, prefix.data, prefix.len) == 0);
}

#endif
