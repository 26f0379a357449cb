/* identity.h - who a node is over the lives of its process: the file `identity` in its data directory.
 *
 * A data directory is one node, because its process holds a lock there. So whoever can show what the file says is the
 * rightful successor of the process before, and nobody else is. */
#ifndef SHOAL_NODE_IDENTITY_H
#define SHOAL_NODE_IDENTITY_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

#define IDENTITY_SUFFIX_SIZE 7 /* six digits of base 32 and a NUL: a thousand machines of one name rarely share one */

struct node_identity {
    char suffix[IDENTITY_SUFFIX_SIZE]; /* ends the default name */
    uint64_t owner;                    /* secret, never 0: shown to the hub alone */
    uint64_t start;                    /* milliseconds of the wall clock, but above that of every start before */
};

/* Reads the file, makes it when missing or damaged, and notes this start in it. `now_ms` is the wall clock. The caller
 * holds the directory's lock. On failure ret_why[why_size] is one sentence without a full stop. */
STATUS_MUST_CHECK enum status identity_take(const char *data_dir, int64_t now_ms, struct node_identity *ret_identity,
                                            char *ret_why, size_t why_size);

/* "HOST-SUFFIX" as a name that a hub takes; what of the machine's name it would not is replaced by "-". */
#define IDENTITY_NAME_SIZE 129
void identity_name(const struct node_identity *identity, const char *host, char ret_name[IDENTITY_NAME_SIZE]);

#endif
