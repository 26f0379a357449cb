#include "base/entropy.h"

#include <pthread.h>
#include <sys/random.h>

#include "base/ensure.h"
#include "base/hash.h"

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

static struct hash_key process_key;

static void make_process_key(void)
{
    random_bytes(&process_key, sizeof(process_key));
}

const struct hash_key *entropy_hash_key(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, make_process_key);
    return &process_key;
}
