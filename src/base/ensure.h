/* ensure.h - assertions that stay on, and magic numbers.
 *
 * ensure(x) states what is true. When it is not, the program has a bug: it prints one line and aborts. Input from
 * the network or the disk is never ensured; it is checked and refused with a status. */
#ifndef SHOAL_BASE_ENSURE_H
#define SHOAL_BASE_ENSURE_H

#include <stddef.h>

#include "base/magic.h"

_Noreturn void ensure_failed(const char *condition, const char *file, int line, const char *function);

/* A hook hears what failed before the process aborts; it may leave by longjmp (the simulator does, to tell of its seed). */
void ensure_on_failure(void (*hook)(const char *text));

#define ensure(condition) ((condition) ? (void)0 : ensure_failed(#condition, __FILE__, __LINE__, __func__))

/* The first member of an object is `uint32_t magic`, a number of magic.def. It is set when the object is made, checked where the object
 * crosses a border, and zeroed when it dies. */
#define ensure_magic(object, value) ensure((object) != NULL && (object)->magic == (value))

/* Moves ownership: yields the pointer and nulls its source. */
#define TAKE(pointer)                                                                                                  \
    (__extension__({                                                                                                   \
        __typeof__(pointer) taken_ = (pointer);                                                                        \
        (pointer) = NULL;                                                                                              \
        taken_;                                                                                                        \
    }))

#define ARRAY_COUNT(array) (sizeof(array) / sizeof((array)[0]))

#endif
