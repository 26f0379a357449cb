#include "base/ensure.h"

#include <stdio.h>
#include <stdlib.h>

_Noreturn void ensure_failed(const char *condition, const char *file, int line, const char *function)
{
    fprintf(stderr, "shoal: a statement that must hold does not: %s (%s:%d, %s)\n", condition, file, line, function);
    fflush(stderr);
    abort();
}
