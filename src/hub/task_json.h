/* task_json.h - tasks as JSON: a submit body in, a task out. Pure, any thread. */
#ifndef SHOAL_HUB_TASK_JSON_H
#define SHOAL_HUB_TASK_JSON_H

#include "base/json.h"
#include "core/core.h"
#include "hub/problem.h"
#include "proto/command.h"

/* Decodes one task of a submit body. `now_ns` turns delay_ms into a time. `input` (reset here) receives the minified input
 * and must live until the command is encoded, as must the parsed document. Fills queue, kind and all the rest but
 * idempotency_key, body_hash and traceparent. False: the problem says what is wrong, everywhere it is. */
bool task_json_decode(struct json_value value, int64_t now_ns, struct buf *input, struct command_submit *ret_command,
                      struct problem *problem);

/* The whole task; `is_brief` leaves out input, result and checkpoint. */
void task_json_write(struct buf *out, const struct task_view *view, bool is_brief);
/* {"items":[…]} of its attempts. */
void task_json_write_attempts(struct buf *out, const struct task_view *view);
/* {"id":…,"state":…,"queue":…,"kind":…[,"duplicate":true]  — without the closing brace. The names need no escape. */
void task_json_write_short(struct buf *out, uint64_t task_id, enum task_state state, struct slice queue,
                           struct slice kind, bool is_duplicate);
/* "2026-01-31T23:59:59.123Z" with its quotes. */
void write_time(struct buf *out, int64_t wall_ns);
/* {"labels":[…],"cpu":…,"memory_mib":…,"gpu":…: without the opening and closing brace. */
void write_requirement(struct buf *out, const struct requirement *requirement);
/* An id as 13 digits, without quotes. */
void write_id(struct buf *out, uint64_t id);
/* The command that makes a task like this one anew, with all its retries ahead. */
void task_json_resubmit(const struct task_view *view, struct command_submit *ret_command);

#endif
