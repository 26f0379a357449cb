/* test_claims.c - the claims of the program itself are wholly covered; verdicts from made-up runs. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "bench/claims.h"

static char why[400];

static void test_ours(void **state)
{
    (void)state;
    struct slice table, map;
    struct claims claims;
    claims_default(&table, &map);
    enum status status = claims_read(table, map, &claims, why, sizeof(why));
    if (status != STATUS_OK) {
        fail_msg("%s", why);
    }
    assert_int_equal(claims.count, 1472);
    assert_int_equal(claims_sources(&claims), 5);
    for (uint32_t i = 0; i < claims.run_count; i++) { /* no run that nothing asks for */
        if (!claims_need_run(&claims, i)) {
            fail_msg("no claim needs the run %s", claims.runs[i].name);
        }
    }
    /* Nothing was run: what is not built and not comparable says so, and nothing is met. */
    struct claim_outcome *outcomes = calloc(claims.run_count, sizeof(*outcomes));
    claims_judge(&claims, outcomes);
    uint32_t counts[CLAIM_VERDICT_COUNT], all = 0;
    claims_count(&claims, UINT32_MAX, counts);
    for (unsigned i = 0; i < CLAIM_VERDICT_COUNT; i++) {
        all += counts[i];
    }
    assert_int_equal(all, 1472);
    assert_int_equal(counts[CLAIM_MET] + counts[CLAIM_SCALED], 0);
    assert_true(counts[CLAIM_INCONSISTENT] > 10 && counts[CLAIM_NOT_BUILT] > 100 && counts[CLAIM_NOT_COMPARABLE] > 100);
    for (uint32_t i = 0; i < claims.count; i++) { /* what is money, vendors or a GPU stays so */
        if (claims.claims[i].class == 'X') {
            assert_true(claims.claims[i].verdict == CLAIM_NOT_COMPARABLE ||
                        claims.claims[i].verdict == CLAIM_INCONSISTENT);
        }
    }
    free(outcomes);
    claims_free(&claims);
}

/* Each claim has its place in the report of its source, and only one; nothing else is taken for a place. */
static void test_templates(void **state)
{
    (void)state;
    struct slice table, map;
    struct claims claims;
    claims_default(&table, &map);
    assert_int_equal(claims_read(table, map, &claims, why, sizeof(why)), STATUS_OK);
    struct claim_outcome *outcomes = calloc(claims.run_count, sizeof(*outcomes));
    claims_judge(&claims, outcomes);
    for (uint32_t i = 0; i < claims.count; i++) {
        const struct claim *claim = &claims.claims[i];
        struct slice text = claims_template(claim_source(claim));
        char place[128];
        size_t len = (size_t)snprintf(place, sizeof(place), "{%.*s}", SLICE_ARG(claim->id));
        const char *first = memmem(text.data, text.len, place, len);
        if (first == NULL || memmem(first + 1, text.len - (size_t)(first + 1 - text.data), place, len) != NULL) {
            fail_msg("report-%u.md has %s not once", claim_source(claim), place);
        }
    }
    struct buf out;
    buf_init(&out, 1u << 20);
    for (unsigned source = 0; source < claims_sources(&claims); source++) {
        buf_reset(&out);
        claims_write_report(&claims, source, &out);
        assert_null(strstr(buf_cstr(&out), "{S"));
        assert_non_null(strstr(buf_cstr(&out), "measured"));
    }
    assert_int_equal(claims_template(claims_sources(&claims)).len, 0);
    buf_free(&out);
    free(outcomes);
    claims_free(&claims);
}

/* The scenario of each run is sound, in full and quick. */
static void test_scenarios(void **state)
{
    (void)state;
    struct slice table, map;
    struct claims claims;
    unsigned wrong = 0;
    struct scenario *scenario = malloc(sizeof(*scenario));
    assert_non_null(scenario);
    claims_default(&table, &map);
    assert_int_equal(claims_read(table, map, &claims, why, sizeof(why)), STATUS_OK);
    for (uint32_t i = 0; i < claims.run_count; i++) {
        const struct claim_run *run = &claims.runs[i];
        for (unsigned is_quick = 0; is_quick < 2; is_quick++) {
            const char *defines[9] = {NULL};
            for (uint32_t j = 0; j < run->define_count; j++) {
                defines[j] = run->defines[is_quick][j];
            }
            if (scenario_parse(claims_scenario(run->scenario), ".", defines, scenario, why, sizeof(why)) != STATUS_OK) {
                print_message("run %s, %s.scenario: %s\n", run->name, run->scenario, why);
                wrong++;
                continue;
            }
            scenario_free(scenario);
        }
    }
    free(scenario);
    claims_free(&claims);
    assert_int_equal(wrong, 0);
}

/* --- made-up claims --- */

static const char head[] = "id\tseed\tclass\tscenario\tload\tmetric\tunit\top\tclaimed\ttarget\n";
static const char rows[] = "S0.01/10#avg\tx\tL\tusers\tusers=10\tavg\tms\t=\t150\t<500\n"
                           "S0.01/20#avg\tx\tL\tusers\tusers=20\tavg\tms\t=\t50..100\t\n"
                           "S0.01/10#tput\tx\tL\tusers\tusers=10\ttput\ttps\t>=\t100\t\n"
                           "S0.01/20#tput\tx\tL\tusers\tusers=20\ttput\ttps\t=\t10->500\t\n"
                           "S0.01#ok\tx\tL\tusers\tminutes=60\tok\treq\t=\t60\t\n"
                           "S0.01#fail\tx\tL\tusers\tminutes=60\tfail\treq\t=\t60\t\n"
                           "S0.01#total\tx\tL\tusers\tminutes=60\ttotal\treq\t=\t100\t\n"
                           "S1.01#money\ty\tX\tcost\t\tmoney\tusd\t=\t1\t\n"
                           "S1.01#ledger\ty\tC\tledger\t\tledger\ttps\t>=\t15000\t>=20000\n";
static const char map[] = "alias avg mean lower\nalias tput goodput higher\n"
                          "run users users\n"
                          "measure 'S0.01/{n}#*' users *@u{n} users=axis\n"
                          "measure 'S0.01#ok' users ok@u10 higher seconds=load.minutes*60\n"
                          "measure 'S0.01#fail,total' users \"failed@u10 + 1\" n lower\n"
                          "incomparable 'S1.01#money' \"money\"\n"
                          "unbuilt S1.01* \"the ledger is not built\"\n"
                          "relation 'S0.01#total,ok' \"total = ok + fail\" within 1%\n"
                          "doubt 'S0.01/{n}#avg' \"avg < 120\"\n";

static struct scenario *scenario_of_two_phases(void)
{
    struct scenario *scenario = calloc(1, sizeof(*scenario));
    assert_non_null(scenario);
    scenario->phase_count = 2;
    for (unsigned i = 0; i < 2; i++) {
        struct scenario_phase *phase = &scenario->phases[i];
        snprintf(phase->name, sizeof(phase->name), "u%u", (i + 1) * 10);
        phase->model = SCENARIO_USERS;
        phase->users_from = phase->users_to = 10; /* of the second 20 were meant: it is scaled */
    }
    return scenario;
}

static void fill_run(struct bench_result *run)
{
    bench_result_init(run);
    assert_non_null(bench_result_add_series(run, "", ""));
    for (unsigned i = 0; i < 2; i++) {
        struct bench_series *series = bench_result_add_series(run, i == 0 ? "u10" : "u20", "");
        assert_non_null(series);
        series->end_ns = 10 * NS_PER_S;
        series->counts = (struct bench_counts){.scheduled = 1004, .ok = 1000, .failed = 4};
        histogram_record(series->latency, 120 * NS_PER_MS);
    }
}

static const struct claim *claim_of(const struct claims *claims, const char *id)
{
    for (uint32_t i = 0; i < claims->count; i++) {
        if (slice_equal_str(claims->claims[i].id, id)) {
            return &claims->claims[i];
        }
    }
    fail_msg("no claim %s", id);
    return NULL;
}

static void check_verdict(const struct claims *claims, const char *id, enum claim_verdict verdict, bool is_reached)
{
    const struct claim *claim = claim_of(claims, id);
    if (claim->verdict != verdict || claim->is_reached != is_reached) {
        fail_msg("%s: %s, reached %d, measured %g (%s)", id, claim_verdict_name(claim->verdict), claim->is_reached,
                 claim->measured, claim->note);
    }
}

static void test_verdicts(void **state)
{
    (void)state;
    char table[sizeof(head) + sizeof(rows)];
    struct claims claims;
    struct bench_result run;
    struct scenario *scenario = scenario_of_two_phases();
    snprintf(table, sizeof(table), "%s%s", head, rows);
    if (claims_read(slice_str(table), slice_str(map), &claims, why, sizeof(why)) != STATUS_OK) {
        fail_msg("%s", why);
    }
    fill_run(&run);
    struct claim_outcome outcome = {&run, scenario, NULL};
    claims_judge(&claims, &outcome);
    check_verdict(&claims, "S0.01/10#avg", CLAIM_MET, true);
    assert_true(claim_of(&claims, "S0.01/10#avg")->doubt[0] != '\0');
    check_verdict(&claims, "S0.01/20#avg", CLAIM_SCALED, false); /* 120 of 50..100 */
    assert_true(fabs(claim_of(&claims, "S0.01/20#avg")->scale - 0.5) < 1e-9);
    assert_true(fabs(claim_of(&claims, "S0.01/20#avg")->gap - 1.2) < 0.01);
    check_verdict(&claims, "S0.01/10#tput", CLAIM_MET, true);
    check_verdict(&claims, "S0.01/20#tput", CLAIM_SCALED, false);
    check_verdict(&claims, "S0.01#ok", CLAIM_INCONSISTENT, true);
    check_verdict(&claims, "S0.01#total", CLAIM_INCONSISTENT, true);
    check_verdict(&claims, "S0.01#fail", CLAIM_MET, true);
    assert_true(claim_of(&claims, "S0.01#fail")->measured == 5);
    check_verdict(&claims, "S1.01#money", CLAIM_NOT_COMPARABLE, false);
    check_verdict(&claims, "S1.01#ledger", CLAIM_NOT_BUILT, false);
    assert_non_null(strstr(claim_of(&claims, "S1.01#ledger")->doubt, "own target"));

    struct claim yes_or_no = {.unit = SLICE("bool")};
    char text[16];
    claim_value_text(&yes_or_no, 1, text, sizeof(text));
    assert_string_equal(text, "yes");

    /* A run that said nothing about the target is no result. */
    outcome.why = "the generator was too slow";
    claims_judge(&claims, &outcome);
    check_verdict(&claims, "S0.01/10#avg", CLAIM_MISSED, false);
    assert_false(claim_of(&claims, "S0.01/10#avg")->is_measured);

    /* What we measured is shown, what the source said is not, where nothing was measured. */
    outcome.why = NULL;
    claims_judge(&claims, &outcome);
    struct buf out;
    buf_init(&out, 1u << 20);
    claims_write_summary(&claims, &out);
    assert_non_null(strstr(buf_cstr(&out), "S0.01/20#avg"));
    buf_reset(&out);
    claims_write_json(&claims, &out);
    assert_non_null(strstr(buf_cstr(&out), "\"verdict\":\"met\""));
    buf_reset(&out);
    claims_write_table(&claims, &out);
    assert_non_null(strstr(buf_cstr(&out), "S1.01#ledger\ty\tC\t>= 15000 tps\t\tnot built yet"));
    buf_free(&out);
    bench_result_free(&run);
    free(scenario);
    claims_free(&claims);
}

static void test_mistakes(void **state)
{
    (void)state;
    static const struct {
        const char *line, *says;
    } cases[] = {
        {"measure 'S0.01/{n}#avg' nowhere mean lower\n", "no such run"},
        {"measure 'S0.01/{n}#avg' users meen lower\n", "no such metric"},
        {"measure 'S0.01/{n}#avg' users mean\n", "lower, higher or about"},
        {"measure 'S0.01/{n}#avg' users goodput lower\n", "unit"},
        {"measure 'S0.01#ok' users *\n", "no alias"},
        {"measure 'S9*#avg' users mean lower\n", "covers no claim"},
        {"measure 'S0.01/{n}#avg' users mean lower sizes=3\n", "scale"},
        {"mesure S0.01 users mean\n", "measure"},
        {"relation 'S0.01#ok' \"ok = 1\" within 3\n", "share"},
        {"run other nothing\n", "no scenario"},
        {"run other users seconds\n", "NAME=VALUE"},
        {"unbuilt\n", "pattern"},
    };
    char table[sizeof(head) + sizeof(rows)], text[sizeof(map) + 200];
    struct claims claims;
    snprintf(table, sizeof(table), "%s%s", head, rows);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        snprintf(text, sizeof(text), "run users users\n%s%s", cases[i].line, map);
        assert_int_equal(claims_read(slice_str(table), slice_str(text), &claims, why, sizeof(why)), STATUS_INVALID);
        if (strstr(why, cases[i].says) == NULL) {
            fail_msg("\"%s\" says: %s", cases[i].line, why);
        }
    }
    assert_int_equal(claims_read(SLICE("id\nS0.01#a\tb\n"), slice_str(map), &claims, why, sizeof(why)), STATUS_INVALID);
    assert_non_null(strstr(why, "claims.tsv, line 2"));
    assert_int_equal(claims_read(slice_str(table), SLICE("run users users\n"), &claims, why, sizeof(why)),
                     STATUS_INVALID);
    assert_non_null(strstr(why, "no line covers"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ours),     cmocka_unit_test(test_scenarios), cmocka_unit_test(test_templates),
        cmocka_unit_test(test_verdicts), cmocka_unit_test(test_mistakes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
