/* fixture.h - a core with its entries made by hand, for the tests of core.
 *
 *   struct fixture f; fixture_begin(&f);
 *   fixture_at_ms(&f, 1000);                      the next entry's time
 *   uint64_t id = fixture_submit(&f, submit());   one entry with one command; core_check() after each
 *   … f.reply, f.effects …
 *   fixture_end(&f);
 *
 * `f.batch` may be filled with several commands (command_put_*; then f.batch_count++) and applied with fixture_apply. */
#ifndef SHOAL_TEST_CORE_FIXTURE_H
#define SHOAL_TEST_CORE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/core.h"
#include "proto/task_id.h"

#define FIXTURE_EFFECTS_MAX 8192

struct fixture {
    struct core *core;
    int64_t time_ns;
    struct buf body;
    uint32_t batch_count;
    struct buf bytes; /* of the effects of the last entry */
    struct effect effect[FIXTURE_EFFECTS_MAX];
    uint32_t effect_count;
    struct effect_reply reply; /* the last one */
    bool is_unchecked;         /* no core_check after each entry, for big states */
};

void fixture_begin(struct fixture *f);
void fixture_end(struct fixture *f);
void fixture_at_ms(struct fixture *f, int64_t ms);
/* Where to append the next command of the batch. */
struct buf *fixture_batch(struct fixture *f);
void fixture_apply(struct fixture *f);
void fixture_tick(struct fixture *f);

/* A submit of kind "k" to "default" with input "1". */
struct command_submit submit_default(void);
uint64_t fixture_submit(struct fixture *f, struct command_submit submit); /* asserts OK; the id */
enum status fixture_try_submit(struct fixture *f, struct command_submit submit);
void fixture_kind(struct fixture *f, const char *name);
void fixture_queue(struct fixture *f, const char *name, int paused); /* -1: leave */
/* A node that runs kind "k"; the session. */
struct command_node_hello hello_default(const char *name, uint32_t credit);
uint64_t fixture_hello(struct fixture *f, struct command_node_hello hello);
uint64_t fixture_node(struct fixture *f, const char *name, uint32_t credit);
enum status fixture_credit(struct fixture *f, uint64_t session, uint32_t add);
enum status fixture_report(struct fixture *f, uint64_t session, const struct outcome *outcome);
enum status fixture_complete(struct fixture *f, uint64_t session, struct lease_token token);
enum status fixture_fail(struct fixture *f, uint64_t session, struct lease_token token, const char *kind);
enum status fixture_lost(struct fixture *f, uint64_t session);
enum status fixture_task(struct fixture *f, enum command_type type, uint64_t task_id);
void fixture_configure(struct fixture *f, struct command_configure configure);
void fixture_history(struct fixture *f, uint64_t seq);

/* The n-th effect of a type in the last entry; NULL when there are fewer. */
const struct effect *fixture_effect(const struct fixture *f, enum effect_type type, uint32_t n);
uint32_t fixture_effects(const struct fixture *f, enum effect_type type);
/* The only lease of the last entry. */
struct lease_token fixture_lease(const struct fixture *f);
enum task_state fixture_state(const struct fixture *f, uint64_t task_id);
struct task_view fixture_view(const struct fixture *f, uint64_t task_id);

#endif
