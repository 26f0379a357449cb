/* unbuffer.c - makes the standard output of a C or C++ program line-buffered, by being loaded before it.
 *
 * A library of its own, carried inside the shoal binary. Into a pipe the C library keeps output back until 4 KiB are
 * there; a program that is ended at its time limit takes that with it. Statically linked programs do not load it. */
#include <stdio.h>

__attribute__((constructor)) static void unbuffer(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
}
