/* magic.h - the numbers of magic.def as constants, and its texts. Included by ensure.h. */
#ifndef SHOAL_BASE_MAGIC_H
#define SHOAL_BASE_MAGIC_H

#include <stdint.h>

#define MAGIC_FILE_SIZE 8u /* bytes of a text in a file, without the NUL */

enum magic {
#define M(NAME, number) NAME = (number),
#define F(NAME, text, number)
#include "base/magic.def"
#undef M
#undef F
};

#define M(NAME, number)
#define F(NAME, text, number) extern const char NAME[MAGIC_FILE_SIZE + 1];
#include "base/magic.def"
#undef M
#undef F

/* What a number stands for, "CORE_MAGIC"; NULL when it is none. */
const char *magic_name(uint32_t number);

#endif
