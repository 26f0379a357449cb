/* printable.h - text of strangers made safe for a terminal or a log: nothing in it can move the cursor, change colours or
 * hide what stands beside it. Pure, any thread. */
#ifndef SHOAL_BASE_PRINTABLE_H
#define SHOAL_BASE_PRINTABLE_H

#include "base/buf.h"

enum printable {
    PRINTABLE_LINES, /* newlines and tabs stay */
    PRINTABLE_LINE   /* they are escaped as well: what comes out is part of one line */
};

/* Appends the text with every control character (C0, DEL, C1), bidirectional control and line separator of Unicode as
 * \uXXXX, which JSON reads as the same character, and every byte that is not UTF-8 as \xXX. Anything else stays as it is. */
void printable_append(struct buf *out, struct slice text, enum printable form);

/* --- colours --- */

/* Two bytes that no valid text holds: whoever builds text for people puts them in, paint_append turns them into what the
 * terminal understands. So what came from elsewhere can never be mistaken for ours. */
#define PAINT_MARK "\xff"
#define PAINT_RED PAINT_MARK "r"
#define PAINT_GREEN PAINT_MARK "g"
#define PAINT_YELLOW PAINT_MARK "y"
#define PAINT_BLUE PAINT_MARK "b"
#define PAINT_CYAN PAINT_MARK "c"
#define PAINT_DIM PAINT_MARK "d"
#define PAINT_PLAIN PAINT_MARK "0"
#define PAINT_LINE_START PAINT_MARK "l" /* back to the start of the line, which is emptied */

/* Appends the text with its marks as escape sequences (colours only with has_color), the rest as printable_append does. */
void paint_append(struct buf *out, struct slice text, bool has_color);
/* Makes one line of what was appended from offset `begin` on: newlines and tabs inside it, from a name or a message, are
 * escaped, marks stay, a newline ends it. */
void paint_end_line(struct buf *out, size_t begin);

#endif
