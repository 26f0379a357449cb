/* magic.c - no magic number stands for two things: a number that is in magic.def twice is a case that is here twice. */
#include "base/magic.h"

#include <stddef.h>

#define M(NAME, number)
#define F(NAME, text, number) const char NAME[MAGIC_FILE_SIZE + 1] = text;
#include "base/magic.def"
#undef M
#undef F

const char *magic_name(uint32_t number)
{
    switch (number) {
#define M(NAME, number)                                                                                                \
    case number:                                                                                                       \
        return #NAME;
#define F(NAME, text, number)                                                                                          \
    case number:                                                                                                       \
        return #NAME;
#include "base/magic.def"
#undef M
#undef F
    default:
        return NULL;
    }
}
