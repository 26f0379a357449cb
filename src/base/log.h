/* log.h - log lines on standard error, `time level event key=value …` (logfmt) or one JSON object a line.
 *
 * Only the edges log (hub, node, command line); libraries return a status. Any thread: a line is one write(2). */
#ifndef SHOAL_BASE_LOG_H
#define SHOAL_BASE_LOG_H

#include <stdbool.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

/* Call before threads start. Default: INFO, logfmt. */
void log_setup(enum log_level least, bool is_json);
/* Reads "debug", "info", "warn" or "error". */
bool log_level_from_text(const char *text, enum log_level *ret_level);
/* `event` is a fixed dotted word such as "hub.start"; then comes a printf format that yields `key=value key="two words"`
 * pairs, or NULL. Newlines inside are replaced. */
void log_line(enum log_level level, const char *event, const char *format, ...) __attribute__((format(printf, 3, 4)));

#define log_debug(...) log_line(LOG_DEBUG, __VA_ARGS__)
#define log_info(...) log_line(LOG_INFO, __VA_ARGS__)
#define log_warn(...) log_line(LOG_WARN, __VA_ARGS__)
#define log_error(...) log_line(LOG_ERROR, __VA_ARGS__)

#endif
