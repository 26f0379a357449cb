/* code_fixture.h - a code.run launcher on a loop of its own, without a hub, and a look at what runs leave behind. */
#ifndef SHOAL_TEST_CODE_FIXTURE_H
#define SHOAL_TEST_CODE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdbool.h>

#include "base/json.h"
#include "work/code/code_run.h"

#define FIXTURE_SLOTS 3

struct code_fixture {
    struct loop loop;
    struct node_env env;
    void *state;
    char data_dir[64];
    struct buf facts; /* with braces */
    struct buf why;   /* when it could not be opened */
    bool is_root;
    uint32_t uid_base;
    char groups[300]; /* "" when polling */
    struct json_parser *parser;
};

/* What came out of one run. */
struct code_outcome {
    uint32_t calls; /* of done */
    bool is_success, is_final;
    char error_kind[32];
    char message[1024];
    struct buf result;
    char phase[16], verdict[16];
    int64_t exit, signal; /* -1 when null */
    char out[70000], err[70000];
    size_t out_len, err_len;
    bool is_truncated, is_cached;
    int64_t wall_ms, cpu_ms, peak_mib;
};

/* False when the kind cannot be offered here; `why` then says it. */
bool code_fixture_open(struct code_fixture *fixture, const char *hub_url);
void code_fixture_close(struct code_fixture *fixture);
/* Asserts that no process of any slot, no control group, and no file beyond the two stores is left. */
void code_fixture_check_clean(struct code_fixture *fixture);

/* Starts; the loop is run by the caller or by code_finish. The input is JSON. */
struct work_run *code_start(struct code_fixture *fixture, uint32_t slot, const char *input,
                            struct code_outcome *ret_outcome);
/* Runs the loop until the outcome is there, reads it, and checks that all is clean. */
void code_finish(struct code_fixture *fixture, struct code_outcome *outcome);
/* Both. The outcome is static: good until the next call. */
struct code_outcome *code_try(struct code_fixture *fixture, const char *input);
/* One source file under its usual name, and further members such as "\"stdin\":\"x\"" or NULL. */
struct code_outcome *code_try_source(struct code_fixture *fixture, const char *lang, const char *source,
                                     const char *members);
/* Asserts on verdict, naming the whole result when it differs. */
void assert_verdict(const struct code_outcome *outcome, const char *verdict);
/* Whether the node offers the language; tests skip otherwise. */
bool code_has_lang(const struct code_fixture *fixture, const char *lang);

#endif
