/* rng.h - a small seeded generator (xoshiro256**, Blackman and Vigna 2018) for tests, simulation and the node's back-off. Pure: the
 * same seed gives the same numbers. The core uses it nowhere: its jitter is a hash. */
#ifndef SHOAL_BASE_RNG_H
#define SHOAL_BASE_RNG_H

#include <stddef.h>
#include <stdint.h>

struct rng {
    uint64_t s[4];
};

void rng_seed(struct rng *rng, uint64_t seed);
uint64_t rng_u64(struct rng *rng);
/* Uniform in [0, bound), bound > 0. */
uint64_t rng_below(struct rng *rng, uint64_t bound);

#endif
