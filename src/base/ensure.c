#include "base/ensure.h"

#include <stdio.h>
#include <stdlib.h>

static void (*failure_hook)(const char *text);

void ensure_on_failure(void (*hook)(const char *text))
{
    failure_hook = hook;
}

_Noreturn void ensure_failed(const char *condition, const char *file, int line, const char *function)
{
    if (failure_hook != NULL) {
        char text[512];
        snprintf(text, sizeof(text), "%s (%s:%d, %s)", condition, file, line, function);
        failure_hook(text);
    }
    fprintf(stderr, "shoal: a statement that must hold does not: %s (%s:%d, %s)\n", condition, file, line, function);
    fflush(stderr);
    abort();
}
