/* check.h - what every unit test includes: cmocka with the headers it wants before itself, and a random generator whose
 * seed is fixed, so that a failure comes again, and can be set by SHOAL_TEST_SEED to look further. */
#ifndef SHOAL_TEST_CHECK_H
#define SHOAL_TEST_CHECK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "base/slice.h"

static inline struct rng test_rng(void)
{
    const char *text = getenv("SHOAL_TEST_SEED");
    uint64_t seed = text != NULL ? strtoull(text, NULL, 0) : 1;
    printf("seed %llu\n", (unsigned long long)seed);
    struct rng rng;
    rng_seed(&rng, seed);
    return rng;
}

#define assert_slice_equal(actual, text)                                                                               \
    do {                                                                                                               \
        struct slice slice_ = (actual);                                                                                \
        const char *text_ = (text);                                                                                    \
        assert_int_equal(slice_.len, strlen(text_));                                                                   \
        assert_memory_equal(slice_.data, text_, slice_.len);                                                           \
    } while (0)

#endif
