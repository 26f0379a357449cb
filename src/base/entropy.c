#include "base/entropy.h"

#include <sys/random.h>

#include "base/ensure.h"

void random_bytes(void *ret, size_t len)
{
    char *at = ret;
    while (len > 0) {
        ssize_t got = getrandom(at, len, 0);
        ensure(got > 0);
        at += got;
        len -= (size_t)got;
    }
}
