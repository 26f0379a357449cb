/* entropy.h - random bytes from the system, for secrets and names that nobody may guess. Any thread. core, proto and
 * journal never include it: what they do must be repeatable. */
#ifndef SHOAL_BASE_ENTROPY_H
#define SHOAL_BASE_ENTROPY_H

#include <stddef.h>

void random_bytes(void *ret, size_t len);
/* The key of this process for maps whose keys come from outside and whose order nobody can see. */
struct hash_key;
const struct hash_key *entropy_hash_key(void);

#endif
