#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/printable.h"
#include "base/timefmt.h"

#define LINE_SIZE 2048

static enum log_level least_level = LOG_INFO;
static bool writes_json;

static const char *const names[] = {"debug", "info", "warn", "error"};

void log_setup(enum log_level least, bool is_json)
{
    least_level = least;
    writes_json = is_json;
}

bool log_level_from_text(const char *text, enum log_level *ret_level)
{
    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(text, names[i]) == 0) {
            *ret_level = (enum log_level)i;
            return true;
        }
    }
    return false;
}

/* Copies text into a JSON string body. */
static size_t escape(char *to, size_t size, const char *from)
{
    size_t at = 0;
    for (; *from != '\0' && at + 7 < size; from++) {
        unsigned char c = (unsigned char)*from;
        if (c == '"' || c == '\\') {
            to[at++] = '\\';
            to[at++] = (char)c;
        } else if (c < 0x20) {
            at += (size_t)snprintf(to + at, size - at, "\\u%04x", c);
        } else {
            to[at++] = (char)c;
        }
    }
    to[at] = '\0';
    return at;
}

void log_line(enum log_level level, const char *event, const char *format, ...)
{
    if (level < least_level) {
        return;
    }
    char fields[LINE_SIZE / 2] = "";
    if (format != NULL) {
        va_list args;
        va_start(args, format);
        vsnprintf(fields, sizeof(fields), format, args);
        va_end(args);
    }
    char time[TIME_TEXT_SIZE];
    time_format(clock_wall_ns(), time);
    char line[LINE_SIZE];
    int len;
    if (writes_json) {
        char escaped[LINE_SIZE - 256];
        escape(escaped, sizeof(escaped), fields);
        len = snprintf(line, sizeof(line), "{\"time\":\"%s\",\"level\":\"%s\",\"event\":\"%s\",\"fields\":\"%s\"}\n",
                       time, names[level], event, escaped);
    } else {
        struct buf safe;                  /* what it quotes may be a stranger's; a log is read in a terminal */
        buf_init(&safe, LINE_SIZE - 256); /* longer: cut */
        for (char *c = fields; *c != '\0'; c++) {
            *c = *c == '\n' || *c == '\r' ? ' ' : *c;
        }
        printable_append(&safe, slice_str(fields), PRINTABLE_LINE);
        len = snprintf(line, sizeof(line), "%s %s %s%s%.*s\n", time, names[level], event, fields[0] != '\0' ? " " : "",
                       SLICE_ARG(buf_slice(&safe)));
        buf_free(&safe);
    }
    if (len > 0) {
        ssize_t written = write(STDERR_FILENO, line, (size_t)len < sizeof(line) ? (size_t)len : sizeof(line) - 1);
        (void)written; /* nowhere left to report it to */
    }
}
