/* report_markup.c - the four characters that mean something in XML and HTML. */
#include "bench/report_markup.h"

void report_markup(struct buf *out, const char *text, bool keeps_lines)
{
    for (; *text != '\0'; text++) {
        switch (*text) {
        case '&':
            buf_append_str(out, "&amp;");
            break;
        case '<':
            buf_append_str(out, "&lt;");
            break;
        case '>':
            buf_append_str(out, "&gt;");
            break;
        case '"':
            buf_append_str(out, "&quot;");
            break;
        default:
            buf_append_char(out, (unsigned char)*text < ' ' && !(keeps_lines && *text == '\n') ? ' ' : *text);
            break;
        }
    }
}
