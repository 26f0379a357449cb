/* report_markup.h - text in XML and HTML. */
#ifndef SHOAL_BENCH_REPORT_MARKUP_H
#define SHOAL_BENCH_REPORT_MARKUP_H

#include <stdbool.h>

#include "base/buf.h"

/* Appends text for an element or a double-quoted attribute. Control characters, which XML forbids, become blanks; line ends
 * too, unless keeps_lines. */
void report_markup(struct buf *out, const char *text, bool keeps_lines);

#endif
