/* entropy.h - random bytes from the system, for secrets and names that nobody may guess. Any thread. core, proto and
 * journal never include it: what they do must be repeatable. */
#ifndef SHOAL_BASE_ENTROPY_H
#define SHOAL_BASE_ENTROPY_H

#include <stddef.h>

void random_bytes(void *ret, size_t len);

#endif
