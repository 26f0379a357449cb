/* json.h - reading JSON through simdjson (json.cc), writing it with a small writer.
 *
 * A parser keeps the document it parsed last; values point into it and die with the next json_parse. Text is valid
 * UTF-8 or refused. Numbers read as int64, uint64 or double; whatever they are, json_print writes them as they
 * stood in the text, digit for digit, also those that no double can hold. One thread at a time. */
#ifndef SHOAL_BASE_JSON_H
#define SHOAL_BASE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"
#include "base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

struct json_parser;

enum json_type { JSON_NULL, JSON_BOOL, JSON_INT, JSON_UINT, JSON_DOUBLE, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

/* JSON_UINT only for integers above INT64_MAX. An integer past 64 bits and a number past a double's range are JSON_DOUBLE:
 * the nearest finite one, and never an integer. */
struct json_value {
    const void *document;
    size_t index;
};

/* NULL without memory. */
struct json_parser *json_parser_new(void);
void json_parser_free(struct json_parser *parser);
/* Parses a whole document (copied inside when `text` has no spare room behind it). BAD_JSON sets *ret_offset to the
 * first byte that cannot be right and *ret_reason to a static sentence; both may be NULL. Depth is at most
 * LIMIT_JSON_DEPTH, where an empty array or object inside the deepest one is let through. Duplicate keys are let through; the first one counts. */
STATUS_MUST_CHECK enum status json_parse(struct json_parser *parser, struct slice text, struct json_value *ret_root,
                                         size_t *ret_offset, const char **ret_reason);

enum json_type json_type_of(struct json_value value);
/* Each is false, and leaves its output alone, when the value is of another type. */
bool json_get_bool(struct json_value value, bool *ret);
bool json_get_i64(struct json_value value, int64_t *ret);      /* also for a double without a fraction, e.g. 2.0 */
bool json_get_u64(struct json_value value, uint64_t *ret);     /* any integer that is not negative, 2.0 as above */
bool json_get_double(struct json_value value, double *ret);    /* any number */
bool json_get_str(struct json_value value, struct slice *ret); /* decoded, lives as long as the document */
/* The member of an object by name; false when there is none or it is no object. */
bool json_member(struct json_value object, const char *name, struct json_value *ret);

/* Walks:  struct json_iter it = json_iter_of(value); while (json_next(&it, &key, &element)) …
 * For arrays the key is empty. ret_key may be NULL. Any other value has no elements. */
struct json_iter {
    struct json_value container;
    size_t at;
    size_t end;
    bool is_object;
};
struct json_iter json_iter_of(struct json_value container);
bool json_next(struct json_iter *iter, struct slice *ret_key, struct json_value *ret_value);
size_t json_count(struct json_value container);

/* Appends the value as JSON without white space. Numbers keep their text; strings are written with the escapes they need. */
void json_print(struct buf *out, struct json_value value);
/* The same with each double in its shortest form, so that 1.0 and 1.00 are one; for hashes. */
void json_print_canonical(struct buf *out, struct json_value value);
/* The text of a number where it is not what its value would be written as; false: it is, or this is no number. */
bool json_get_number_text(struct json_value value, struct slice *ret, bool *ret_is_big);

/* Writing: plain functions that append to a buffer; the caller writes the braces and commas that are constant. */
void json_write_str(struct buf *out, struct slice text); /* with quotes; invalid UTF-8 becomes U+FFFD */
/* The shortest text that reads back as the same double and as a double: 2.0 and 1e+22, not 2; null for NaN and
 * infinities. Knows no locale. */
void json_write_double(struct buf *out, double value);
/* The same without the trailing .0, for finite values; no NUL. The length comes back. */
#define JSON_NUMBER_SIZE 32
size_t json_format_double(double value, char ret[JSON_NUMBER_SIZE]);

#ifdef __cplusplus
}
#endif

#endif
