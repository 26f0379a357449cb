/* launchers.h - opening and closing the kinds that a node offers. */
#ifndef SHOAL_NODE_LAUNCHERS_H
#define SHOAL_NODE_LAUNCHERS_H

#include "node/agent.h"

/* Whether a kind is offered without being named: all but those of the area `test`. */
bool launcher_is_default(const struct launcher *launcher);
/* The launcher of a kind; NULL when this build has none. */
const struct launcher *launcher_find(struct slice kind);

/* Opens launchers: the named ones (each must open), or, when none is named, every default one that can be offered here.
 * `facts` receives their JSON members, each set preceded by a comma; `ret_why` one sentence on failure. Those that are
 * skipped are logged with their reason; when none is left their reasons are that sentence, and the status is
 * UNSUPPORTED_HOST. INVALID for a name that this build does not know. On failure nothing stays open. */
STATUS_MUST_CHECK enum status launchers_open(const struct node_env *env, const char *const *names, uint32_t name_count,
                                             struct agent_kind ret_kinds[LIMIT_KINDS_PER_NODE], uint32_t *ret_count,
                                             struct buf *facts, struct buf *ret_why);
void launchers_close(struct agent_kind *kinds, uint32_t count);

#endif
