/* utf8.h - whether bytes are valid UTF-8 (Unicode, table 3-7). Pure, any thread. */
#ifndef SHOAL_BASE_UTF8_H
#define SHOAL_BASE_UTF8_H

#include "base/slice.h"

/* No overlong forms, no surrogates, nothing past U+10FFFF. ASCII goes eight bytes at a time. */
bool utf8_is_valid(struct slice text);
/* The length of the character at the front (len >= 1); 0 when there is none. */
size_t utf8_character_len(const unsigned char *at, size_t len);

#endif
