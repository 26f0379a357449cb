/* history_file.h - a recorded history of real processes, as NDJSON, judged by history_check.h.
 *
 * One record a line, in any order; docs/simulator.md lists them. Pure, one thread at a time. */
#ifndef SHOAL_SIM_HISTORY_FILE_H
#define SHOAL_SIM_HISTORY_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"
#include "base/status.h"

struct history_file_hooks {
    /* `line` is that of the record at hand, 0 at the end; the texts live for the call. */
    void (*violated)(void *ctx, uint64_t line, const char *rule, const char *why);
    void *ctx;
};

struct history_file_report {
    uint64_t records, submits, acked, aliases, given_up, tasks, leases, completes, refused, reads, cancels, rows;
    uint64_t violations;
    bool has_end; /* else whether everything has ended was not asked */
    /* of a file that cannot be read */
    uint64_t bad_line;
    char why[256];
};

/* OK: the file could be read, and report.violations says whether it holds. INVALID: bad_line and why. NO_MEMORY. */
STATUS_MUST_CHECK enum status history_file_check(struct slice text, const struct history_file_hooks *hooks,
                                                 struct history_file_report *ret_report);

#endif
