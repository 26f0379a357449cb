/* task_text.h - a task as text for people, and as an exit code. */
#ifndef SHOAL_CLI_TASK_TEXT_H
#define SHOAL_CLI_TASK_TEXT_H

#include "cli/client.h"

bool task_is_final(struct slice state);
/* OK for a task that succeeded (and, for code.run, whose program did), FAILED, CANCELLED, TIMEOUT (expired), AGAIN (not
 * final yet). */
enum status task_outcome(struct json_value task);
/* Everything about a task, one fact a line. */
void task_write(struct buf *out, struct json_value task);
/* What came out: the program's output for code.run (its errors to standard error; what was too long for the result is
 * fetched), else the result as JSON. A task that did not succeed says why on standard error. */
enum status task_print_result(struct client *client, struct json_value task);
/* "python OK, 31 ms" or "succeeded": one short phrase. */
void task_phrase(struct buf *out, struct json_value task);
/* Polls until the task is final, or the time is over (TIMEOUT), with a progress line when standard error is a terminal
 * and --json is not given. A hub that goes away is waited for. `ret_answer` holds the whole task. */
STATUS_MUST_CHECK enum status task_wait(const struct cli *cli, struct client *client, const char *id, int64_t wait_ms,
                                        struct client_answer *ret_answer);
/* Says on standard error when no node that is here could run the task. */
void task_say_hint(const struct cli *cli, struct client *client, const char *id);
/* Checks that a word can be a task id, so that it can stand in a path. Says what is wrong. */
STATUS_MUST_CHECK enum status task_check_id(const struct cli *cli, const char *id);

#endif
