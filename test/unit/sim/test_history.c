/* Recorded histories: a sound one holds; each rule finds what breaks it, and only that; garbage is refused with its line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/ensure.h"
#include "sim/history_check.h"
#include "sim/history_file.h"

#define T1 "000000g000001"
#define T2 "0000010000002"
#define T3 "000001g000003"
#define T4 "0000020000004"

/* Four ops: 1 is done by its second lease after a duplicate submit, 2 is cancelled, 3 shares the unique key of 4, 5 is never
 * answered and given up, though it has become a task. */
static const char *const sound[] = {
    /* 0 */ "{\"what\":\"submit\",\"op\":1,\"sent_ns\":10,\"answered_ns\":20,\"task\":\"" T1 "\",\"seq\":2}",
    /* 1 */
    "{\"what\":\"submit\",\"op\":1,\"sent_ns\":21,\"answered_ns\":25,\"task\":\"" T1 "\",\"seq\":3,\"duplicate\":true}",
    /* 2 */ "{\"what\":\"lease\",\"op\":1,\"token\":\"" T1 ".1.2\",\"node\":\"a\",\"answered_ns\":22}",
    /* 3 */
    "{\"what\":\"read\",\"op\":1,\"task\":\"" T1 "\",\"sent_ns\":26,\"answered_ns\":30,\"seq\":4,\"state\":\"leased\"}",
    /* 4 */ "{\"what\":\"lease\",\"op\":1,\"token\":\"" T1 ".2.6\",\"node\":\"b\",\"answered_ns\":60}",
    /* 5 */
    "{\"what\":\"refused\",\"op\":1,\"token\":\"" T1
    ".1.2\",\"node\":\"a\",\"sent_ns\":61,\"answered_ns\":70,\"seq\":7}",
    /* 6 */
    "{\"what\":\"complete\",\"op\":1,\"token\":\"" T1
    ".2.6\",\"node\":\"b\",\"sent_ns\":71,\"answered_ns\":80,\"seq\":8,\"result\":{\"n\":1}}",
    /* 7 */
    "{\"what\":\"read\",\"op\":1,\"task\":\"" T1
    "\",\"sent_ns\":81,\"answered_ns\":82,\"seq\":9,\"state\":\"succeeded\",\"result\":{\"n\":1}}",
    /* 8 */ "{\"what\":\"submit\",\"op\":2,\"sent_ns\":83,\"answered_ns\":85,\"task\":\"" T2 "\",\"seq\":10}",
    /* 9 */ "{\"what\":\"cancel\",\"op\":2,\"task\":\"" T2 "\",\"sent_ns\":86,\"answered_ns\":88,\"seq\":11}",
    /* 10 */
    "{\"what\":\"submit\",\"op\":4,\"sent_ns\":89,\"answered_ns\":90,\"task\":\"" T3 "\",\"seq\":12,\"unique\":\"u\"}",
    /* 11 */
    "{\"what\":\"submit\",\"op\":3,\"sent_ns\":91,\"answered_ns\":92,\"task\":\"" T3
    "\",\"seq\":13,\"unique\":\"u\",\"duplicate\":true}",
    /* 12 */ "{\"what\":\"submit\",\"op\":5,\"sent_ns\":93}",
    /* 13 */ "{\"what\":\"give_up\",\"op\":5}",
    /* 14 */
    "{\"what\":\"row\",\"op\":1,\"task\":\"" T1
    "\",\"sent_ns\":100,\"answered_ns\":101,\"seq\":20,\"state\":\"succeeded\",\"result\":{\"n\":1},\"attempt\":2}",
    /* 15 */
    "{\"what\":\"row\",\"op\":2,\"task\":\"" T2
    "\",\"sent_ns\":102,\"answered_ns\":103,\"seq\":20,\"state\":\"cancelled\"}",
    /* 16 */
    "{\"what\":\"row\",\"op\":4,\"task\":\"" T3 "\",\"sent_ns\":104,\"answered_ns\":105,\"seq\":20,\"state\":\"dead\"}",
    /* 17 */
    "{\"what\":\"row\",\"op\":5,\"task\":\"" T4
    "\",\"sent_ns\":104,\"answered_ns\":105,\"seq\":20,\"state\":\"expired\"}",
    /* 18 */ "{\"what\":\"end\"}",
};

struct found {
    unsigned count;
    char rules[400]; /* " T2:line …" */
    char why[400];   /* of the first */
};

static void on_violated(void *ctx, uint64_t line, const char *rule, const char *why)
{
    struct found *found = ctx;
    size_t len = strlen(found->rules);
    snprintf(found->rules + len, sizeof(found->rules) - len, " %s:%llu", rule, (unsigned long long)line);
    if (found->count++ == 0) {
        snprintf(found->why, sizeof(found->why), "%s", why);
    }
}

/* The sound history with one line replaced (NULL: left out), and one more line at the end (NULL: none). */
static void judge(int replaced, const char *by, const char *added, struct found *ret_found,
                  struct history_file_report *ret_report)
{
    struct buf text;
    buf_init(&text, 1u << 20);
    for (size_t i = 0; i < ARRAY_COUNT(sound); i++) {
        const char *line = (int)i == replaced ? by : sound[i];
        if (line != NULL) {
            buf_printf(&text, "%s\n", line);
        }
    }
    if (added != NULL) {
        buf_printf(&text, "%s\n", added);
    }
    *ret_found = (struct found){0};
    assert_int_equal(
        history_file_check(buf_slice(&text), &(struct history_file_hooks){on_violated, ret_found}, ret_report),
        STATUS_OK);
    assert_int_equal(ret_report->violations, ret_found->count);
    buf_free(&text);
}

static void a_sound_history_holds(void **state)
{
    (void)state;
    struct found found;
    struct history_file_report report;
    judge(-1, NULL, NULL, &found, &report);
    if (found.count > 0) {
        fail_msg("%s %s", found.rules, found.why);
    }
    assert_true(report.has_end);
    assert_int_equal(report.records, ARRAY_COUNT(sound));
    assert_int_equal(report.acked, 4);
    assert_int_equal(report.aliases, 1);
    assert_int_equal(report.given_up, 1);
    assert_int_equal(report.tasks, 4);
    assert_int_equal(report.leases, 2);
    assert_int_equal(report.completes, 1);
    assert_int_equal(report.rows, 4);
}

/* What is planted, and the rule that must be named with the line; what follows from it may be told as well. */
static void each_rule_finds_what_breaks_it(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        int replaced;
        const char *by, *added, *rules;
    } cases[] = {
        {"an acknowledged op has no row", 15, NULL, NULL, " T4:0"},
        {"an op was never answered, and nobody gave it up", 13, NULL, NULL, " T4:0"},
        {"a task of nobody", -1, NULL,
         "{\"what\":\"row\",\"op\":9,\"task\":\"000002g000009\",\"sent_ns\":104,\"answered_ns\":105,\"seq\":20,\"state\":"
         "\"dead\"}",
         " T4:20"},
        {"a task is nowhere to be found", -1, NULL,
         "{\"what\":\"missing\",\"op\":2,\"task\":\"" T2 "\",\"sent_ns\":90,\"answered_ns\":91}", " T4:20"},
        {"two tasks for one op, by the repeated submit", 1,
         "{\"what\":\"submit\",\"op\":1,\"sent_ns\":21,\"answered_ns\":25,\"task\":\"000002g000009\",\"seq\":3}", NULL,
         " once:2"},
        {"two tasks for one op, by the list", -1, NULL,
         "{\"what\":\"row\",\"op\":2,\"task\":\"000002g000009\",\"sent_ns\":104,\"answered_ns\":105,\"seq\":20,\"state\":"
         "\"dead\"}",
         " once:20"},
        {"the repeated submit made it once more", 1,
         "{\"what\":\"submit\",\"op\":1,\"sent_ns\":21,\"answered_ns\":25,\"task\":\"" T1 "\",\"seq\":3}", NULL,
         " once:2"},
        {"one task for two ops", 8,
         "{\"what\":\"submit\",\"op\":2,\"sent_ns\":83,\"answered_ns\":85,\"task\":\"" T1 "\",\"seq\":10}", NULL,
         " once:9"},
        {"another op's task without a unique key", 11,
         "{\"what\":\"submit\",\"op\":3,\"sent_ns\":91,\"answered_ns\":92,\"task\":\"" T3
         "\",\"seq\":13,\"duplicate\":true}",
         NULL, " once:12"},
        {"a task is listed twice", -1, NULL,
         "{\"what\":\"row\",\"op\":2,\"task\":\"" T2
         "\",\"sent_ns\":104,\"answered_ns\":105,\"seq\":20,\"state\":\"cancelled\"}",
         " once:20"},
        {"two acceptances", -1, NULL,
         "{\"what\":\"complete\",\"op\":1,\"token\":\"" T1
         ".2.6\",\"node\":\"b\",\"sent_ns\":81,\"answered_ns\":83,\"seq\":9,\"result\":{\"n\":1}}",
         " T3:20"},
        {"a complete of a lease that is not the newest", 6,
         "{\"what\":\"complete\",\"op\":1,\"token\":\"" T1
         ".1.5\",\"node\":\"b\",\"sent_ns\":71,\"answered_ns\":80,\"seq\":8,\"result\":{\"n\":1}}",
         NULL, " T2:7"},
        {"a complete of another node than the one that has the lease", 6,
         "{\"what\":\"complete\",\"op\":1,\"token\":\"" T1
         ".2.6\",\"node\":\"a\",\"sent_ns\":71,\"answered_ns\":80,\"seq\":8,\"result\":{\"n\":1}}",
         NULL, " T2:7"},
        {"a complete that was refused before", 5,
         "{\"what\":\"refused\",\"op\":1,\"token\":\"" T1
         ".2.6\",\"node\":\"b\",\"sent_ns\":61,\"answered_ns\":70,\"seq\":7}",
         NULL, " T2:7"},
        {"a lease goes to two nodes", -1, NULL,
         "{\"what\":\"lease\",\"op\":1,\"token\":\"" T1 ".2.6\",\"node\":\"c\",\"answered_ns\":61}", " T2:20"},
        {"a later lease has an earlier attempt", 2,
         "{\"what\":\"lease\",\"op\":1,\"token\":\"" T1 ".3.2\",\"node\":\"a\",\"answered_ns\":22}", NULL, " T2:5"},
        {"done, and leased again", -1, NULL,
         "{\"what\":\"lease\",\"op\":1,\"token\":\"" T1 ".3.15\",\"node\":\"a\",\"answered_ns\":95}", " T3:20"},
        {"cancelled, and completed", -1, NULL,
         "{\"what\":\"complete\",\"op\":2,\"token\":\"" T2
         ".1.10\",\"node\":\"b\",\"sent_ns\":89,\"answered_ns\":90,\"seq\":12,\"result\":1}",
         " T3:20"},
        {"done, and cancelled", -1, NULL,
         "{\"what\":\"cancel\",\"op\":1,\"task\":\"" T1 "\",\"sent_ns\":86,\"answered_ns\":88,\"seq\":11}", " T3:20"},
        {"another result than the one that was taken", 14,
         "{\"what\":\"row\",\"op\":1,\"task\":\"" T1
         "\",\"sent_ns\":100,\"answered_ns\":101,\"seq\":20,\"state\":\"succeeded\",\"result\":{\"n\":2},\"attempt\":2}",
         NULL, " T3:15 answers:15"},
        {"listed as done by another attempt", 14,
         "{\"what\":\"row\",\"op\":1,\"task\":\"" T1
         "\",\"sent_ns\":100,\"answered_ns\":101,\"seq\":20,\"state\":\"succeeded\",\"result\":{\"n\":1},\"attempt\":1}",
         NULL, " T3:15"},
        {"a final state changes", -1, NULL,
         "{\"what\":\"read\",\"op\":2,\"task\":\"" T2
         "\",\"sent_ns\":90,\"answered_ns\":91,\"seq\":14,\"state\":\"ready\"}",
         " answers:20"},
        {"final at one entry, and not final at a later one that was told first", 3,
         "{\"what\":\"read\",\"op\":1,\"task\":\"" T1
         "\",\"sent_ns\":26,\"answered_ns\":30,\"seq\":4,\"state\":\"succeeded\",\"result\":{\"n\":1}}",
         NULL, " T3:7"},
        {"two contents of one version", -1, NULL,
         "{\"what\":\"read\",\"op\":1,\"task\":\"" T1
         "\",\"sent_ns\":26,\"answered_ns\":31,\"seq\":4,\"state\":\"ready\"}",
         " answers:20"},
        {"a read that goes back", 7,
         "{\"what\":\"read\",\"op\":1,\"task\":\"" T1
         "\",\"sent_ns\":81,\"answered_ns\":82,\"seq\":5,\"state\":\"leased\"}",
         NULL, " answers:8"},
        {"the numbers of entries go back: some were lost", 8,
         "{\"what\":\"submit\",\"op\":2,\"sent_ns\":83,\"answered_ns\":85,\"task\":\"" T2 "\",\"seq\":7}", NULL,
         " J1:9"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct found found;
        struct history_file_report report;
        judge(cases[i].replaced, cases[i].by, cases[i].added, &found, &report);
        if (strstr(found.rules, cases[i].rules) == NULL) {
            fail_msg("%s: found%s (%s), expected%s", cases[i].what, found.rules, found.why, cases[i].rules);
        }
    }
}

static void a_retry_makes_final_no_longer_final(void **state)
{
    (void)state;
    static const char done[] =
        "{\"what\":\"row\",\"op\":2,\"task\":\"" T2
        "\",\"sent_ns\":102,\"answered_ns\":103,\"seq\":20,\"state\":\"succeeded\",\"result\":1}";
    struct found found;
    struct history_file_report report;
    judge(15, done, NULL, &found, &report);
    assert_true(found.count > 0);
    judge(15, done, "{\"what\":\"retry\",\"op\":2,\"task\":\"" T2 "\",\"sent_ns\":89,\"answered_ns\":90,\"seq\":12}",
          &found, &report);
    assert_int_equal(found.count, 0);
    judge(15, done, "{\"what\":\"retry\",\"op\":2,\"task\":\"" T2 "\",\"sent_ns\":89}", &found, &report);
    assert_int_equal(found.count, 0); /* it may have been done */
    judge(-1, NULL, "{\"what\":\"retry\",\"op\":1,\"task\":\"" T1 "\",\"sent_ns\":89,\"answered_ns\":90,\"seq\":12}",
          &found, &report);
    assert_string_equal(found.rules, " T3:20"); /* succeeded is for ever */
}

static void without_an_end_nothing_needs_to_have_ended(void **state)
{
    (void)state;
    struct found found;
    struct history_file_report report;
    judge(18, NULL, "{\"what\":\"submit\",\"op\":6,\"sent_ns\":1}", &found, &report);
    assert_int_equal(found.count, 0);
    assert_false(report.has_end);
}

static void garbage_is_refused_with_its_line(void **state)
{
    (void)state;
    static const struct {
        const char *line, *why;
    } cases[] = {
        {"", "byte"},
        {"{", "byte"},
        {"7", "\"what\""},
        {"{\"what\":7}", "\"what\""},
        {"{\"what\":\"lost\"}", "no record \"lost\""},
        {"{\"what\":\"give_up\"}", "needs op"},
        {"{\"what\":\"give_up\",\"op\":0}", "op is"},
        {"{\"what\":\"give_up\",\"op\":-1}", "op is"},
        {"{\"what\":\"give_up\",\"op\":1,\"op\":2}", "twice"},
        {"{\"what\":\"give_up\",\"op\":1,\"seq\":2}", "has no seq"},
        {"{\"what\":\"give_up\",\"op\":1,\"color\":2}", "no member \"color\""},
        {"{\"what\":\"submit\",\"op\":1,\"sent_ns\":1,\"answered_ns\":2,\"task\":\"" T1 "\"}", "needs seq"},
        {"{\"what\":\"submit\",\"op\":1,\"sent_ns\":1,\"seq\":2,\"task\":\"" T1 "\"}", "needs answered_ns"},
        {"{\"what\":\"submit\",\"op\":1,\"sent_ns\":3,\"answered_ns\":2,\"seq\":1,\"task\":\"" T1 "\"}",
         "before it was sent"},
        {"{\"what\":\"submit\",\"op\":1,\"sent_ns\":1.5}", "sent_ns is"},
        {"{\"what\":\"submit\",\"op\":1,\"sent_ns\":1,\"duplicate\":1}", "duplicate is"},
        {"{\"what\":\"submit\",\"op\":1,\"sent_ns\":1,\"unique\":1}", "unique is"},
        {"{\"what\":\"lease\",\"op\":1,\"token\":\"x\",\"node\":\"a\",\"answered_ns\":1}", "token is"},
        {"{\"what\":\"lease\",\"op\":1,\"token\":\"" T1 ".1.2\",\"node\":\"\",\"answered_ns\":1}", "node is"},
        {"{\"what\":\"read\",\"op\":1,\"task\":\"x\",\"sent_ns\":1,\"answered_ns\":2,\"seq\":3,\"state\":\"ready\"}",
         "task is"},
        {"{\"what\":\"read\",\"op\":1,\"task\":\"" T1
         "\",\"sent_ns\":1,\"answered_ns\":2,\"seq\":3,\"state\":\"lost\"}",
         "state is"},
        {"{\"what\":\"read\",\"op\":1,\"task\":\"" T1
         "\",\"sent_ns\":1,\"answered_ns\":2,\"seq\":\"3\",\"state\":\"ready\"}",
         "seq is"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct buf text;
        buf_init(&text, 1u << 20);
        buf_printf(&text, "%s\n%s\n%s\n", sound[0], cases[i].line, sound[1]);
        struct history_file_report report;
        struct found found = {0};
        assert_int_equal(
            history_file_check(buf_slice(&text), &(struct history_file_hooks){on_violated, &found}, &report),
            STATUS_INVALID);
        assert_int_equal(report.bad_line, 2);
        assert_int_equal(found.count, 0);
        if (strstr(report.why, cases[i].why) == NULL) {
            fail_msg("%s: %s", cases[i].line, report.why);
        }
        buf_free(&text);
    }
}

/* Whatever is cut off or flipped, it is judged or refused, and nothing else happens. */
static void damaged_text_does_no_harm(void **state)
{
    (void)state;
    struct buf text;
    buf_init(&text, 1u << 20);
    for (size_t i = 0; i < ARRAY_COUNT(sound); i++) {
        buf_printf(&text, "%s\n", sound[i]);
    }
    unsigned refused = 0;
    for (size_t i = 0; i < text.len; i++) {
        char kept = text.data[i];
        struct found found = {0};
        struct history_file_report report;
        struct history_file_hooks hooks = {on_violated, &found};
        text.data[i] = (char)(kept ^ (1 << (i % 8)));
        refused += history_file_check(buf_slice(&text), &hooks, &report) != STATUS_OK;
        text.data[i] = kept;
        refused += history_file_check(slice_of(text.data, i), &hooks, &report) != STATUS_OK;
    }
    assert_true(refused > text.len / 2);
    buf_free(&text);
}

static void count_rule(void *ctx, const char *rule, const char *why)
{
    (void)rule;
    (void)why;
    ++*(unsigned *)ctx;
}

static const char *node_name(void *ctx, uint32_t node)
{
    (void)ctx;
    (void)node;
    return "n";
}

/* A row comes later than what it tells of: after the retry that undid it, even after the end of what was retried. */
static void rows_of_before_a_retry(void **state)
{
    (void)state;
    unsigned violations = 0;
    struct history_check check;
    history_check_init(&check, &(struct history_check_hooks){count_rule, node_name, &violations});
    const struct lease_token token = {5, 2, 36};
    uint64_t op = history_op_new(&check, 0);
    history_see_ack(&check, op, 5, 10, false);
    history_see_cancel(&check, op, 14);
    history_want_retry(&check, op);
    history_see_retry(&check, op, 36);
    assert_true(history_see_lease(&check, op, &token));
    history_see_delivery(&check, op, &token, 0);
    history_see_complete(&check, op, &token, 0, 43, 7);
    struct history_row row = {op, 5, 14, history_hash_nothing(), TASK_CANCELLED};
    history_see_row(&check, &row);
    assert_int_equal(violations, 0);
    row = (struct history_row){op, 5, 43, 7, TASK_SUCCEEDED};
    history_see_row(&check, &row);
    assert_int_equal(violations, 0);
    /* A cancel and its retry may even be one entry. */
    op = history_op_new(&check, 0);
    history_see_ack(&check, op, 6, 50, false);
    history_want_retry(&check, op);
    history_see_read(&check, op, 50, &(struct history_shown){51, TASK_READY, history_hash_nothing()});
    row = (struct history_row){op, 6, 51, history_hash_nothing(), TASK_CANCELLED};
    history_see_row(&check, &row);
    assert_int_equal(violations, 0);
    /* But nothing undoes a success. */
    history_see_read(&check, op, 50, &(struct history_shown){51, TASK_SUCCEEDED, 7});
    assert_true(violations > 0);
    history_check_free(&check);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sound_history_holds),
        cmocka_unit_test(each_rule_finds_what_breaks_it),
        cmocka_unit_test(a_retry_makes_final_no_longer_final),
        cmocka_unit_test(without_an_end_nothing_needs_to_have_ended),
        cmocka_unit_test(garbage_is_refused_with_its_line),
        cmocka_unit_test(damaged_text_does_no_harm),
        cmocka_unit_test(rows_of_before_a_retry),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
