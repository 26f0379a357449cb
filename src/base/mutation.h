/* mutation.h - MUTATION(name): a bug planted on purpose, see mutation.def. Constant false in normal builds, so that
 * nothing of it is compiled. */
#ifndef SHOAL_BASE_MUTATION_H
#define SHOAL_BASE_MUTATION_H

#include <stdbool.h>

#include "base/slice.h"

enum mutation {
    MUTATION_none,
#define X(name, rule, sentence) MUTATION_##name,
#include "base/mutation.def"
#undef X
    MUTATION_COUNT
};

#ifdef SHOAL_MUTATIONS
extern enum mutation mutation_on;
#define MUTATION(name) (mutation_on == MUTATION_##name)
#else
#define MUTATION(name) false
#endif

/* Turns one on ("" or "none": none). False when there is no such one, or the build has none. */
bool mutation_set(struct slice name);
/* Name, sentence and rule (the word of the check that must find it) of the i-th, i >= 1; NULL past the last. */
const char *mutation_name(enum mutation mutation);
const char *mutation_sentence(enum mutation mutation);
const char *mutation_rule(enum mutation mutation);

#endif
