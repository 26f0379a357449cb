/* base32.h - 64-bit numbers as 13 digits of Crockford's base 32, lower case, so that text order is number order.
 * Pure, any thread. */
#ifndef SHOAL_BASE_BASE32_H
#define SHOAL_BASE_BASE32_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

#define BASE32_DIGITS 13
#define BASE32_TEXT_SIZE (BASE32_DIGITS + 1)

/* 13 digits and a NUL. */
void base32_format(uint64_t value, char ret[BASE32_TEXT_SIZE]);
/* Exactly 13 digits, either case, i and l as 1, o as 0; false for anything else and for values past 64 bits. */
bool base32_parse(struct slice text, uint64_t *ret_value);

#endif
