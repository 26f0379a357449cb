/* mutation.c - the table of planted bugs, and which one is on. */
#include "base/mutation.h"

#include <stddef.h>
#include <stdlib.h>

#include "base/ensure.h"

struct planted {
    const char *name, *rule, *sentence;
};

static const struct planted table[MUTATION_COUNT] = {
    [MUTATION_none] = {"none", "-", "no planted bug"},
#define X(name, rule, sentence) [MUTATION_##name] = {#name, rule, sentence},
#include "base/mutation.def"
#undef X
};

const char *mutation_name(enum mutation mutation)
{
    return (size_t)mutation < ARRAY_COUNT(table) ? table[mutation].name : NULL;
}

const char *mutation_sentence(enum mutation mutation)
{
    return (size_t)mutation < ARRAY_COUNT(table) ? table[mutation].sentence : NULL;
}

const char *mutation_rule(enum mutation mutation)
{
    return (size_t)mutation < ARRAY_COUNT(table) ? table[mutation].rule : NULL;
}

#ifdef SHOAL_MUTATIONS
enum mutation mutation_on = MUTATION_none;

/* Hubs and nodes have no option for it, and must not need one in a normal build. */
__attribute__((constructor)) static void take_from_environment(void)
{
    bool is_known = mutation_set(slice_str(getenv("SHOAL_MUTATION")));
    ensure(is_known);
}
#endif

bool mutation_set(struct slice name)
{
    if (name.len == 0) {
        name = SLICE("none");
    }
    for (size_t i = 0; i < ARRAY_COUNT(table); i++) {
        if (slice_equal_str(name, table[i].name)) {
#ifdef SHOAL_MUTATIONS
            mutation_on = (enum mutation)i;
            return true;
#else
            return i == MUTATION_none;
#endif
        }
    }
    return false;
}
