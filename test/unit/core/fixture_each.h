/* fixture_each.h - one core `f`, which cmocka makes before each test of the file that includes this, and ends after it. */
#ifndef SHOAL_TEST_CORE_FIXTURE_EACH_H
#define SHOAL_TEST_CORE_FIXTURE_EACH_H

#include "fixture.h"

static struct fixture f;

static int begin(void **state)
{
    (void)state;
    fixture_begin(&f);
    return 0;
}

static int end(void **state)
{
    (void)state;
    fixture_end(&f);
    return 0;
}

#endif
