/* json_scan.h - where a text stops being JSON. For error messages only: it reads every byte by itself, slowly and
 * strictly (RFC 8259, UTF-8, the limits of json.h). Pure, any thread. */
#ifndef SHOAL_BASE_JSON_SCAN_H
#define SHOAL_BASE_JSON_SCAN_H

#include <stdbool.h>
#include <stddef.h>

#include "base/slice.h"

#ifdef __cplusplus
extern "C" {
#endif

/* True when `text` is one JSON document. Else *ret_offset is the first byte that cannot be right (text.len when the
 * text ends too early; the first byte of an escape that is wrong) and *ret_reason
 * a sentence in static storage. */
bool json_scan(struct slice text, size_t *ret_offset, const char **ret_reason);

#ifdef __cplusplus
}
#endif

#endif
