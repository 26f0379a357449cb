#include "bench/capacity.h"

#include <math.h>

#include "../base/check.h"
#include "base/ensure.h"
#include "base/json.h"

#define S INT64_C(1000000000)

/* A made-up target: right answers up to `limit` a second; what is over it stands in a line that is worked off afterwards. Users
 * get what the law of scaling says. A generator that can make no more than `generator` a second says so. */
struct target {
    double limit, generator;
    double lambda, sigma, kappa;
    uint32_t runs, fails_at;
};

static void fill_series(struct bench_result *result, const struct scenario_phase *phase, int64_t begin_ns, double ok,
                        double asked, int64_t latency_ns)
{
    struct bench_series *series = bench_result_add_series(result, phase->name, "");
    assert_non_null(series);
    double seconds = (double)phase->duration_ns / 1e9;
    series->begin_ns = begin_ns;
    series->end_ns = begin_ns + phase->duration_ns;
    series->counts.scheduled = (uint64_t)(asked * seconds);
    series->counts.ok = (uint64_t)(ok * seconds);
    series->counts.timed_out = series->counts.scheduled - series->counts.ok;
    histogram_record_many(series->latency, latency_ns, series->counts.ok);
}

static enum status run(void *ctx, const struct scenario *scenario, struct bench_result *ret_result)
{
    struct target *target = ctx;
    if (++target->runs == target->fails_at) {
        return STATUS_INTERRUPTED;
    }
    assert_int_equal(scenario->gate_count, 0);
    assert_int_equal(scenario->fault_count, 0);
    ret_result->seconds = calloc(600, sizeof(*ret_result->seconds));
    int64_t at = 0;
    double line = 0;
    for (uint32_t i = 0; i < scenario->phase_count; i++) {
        const struct scenario_phase *phase = &scenario->phases[i];
        assert_true(phase->flows == 1 && (i == 0 ? phase->after == 0 : phase->after == UINT64_C(1) << (i - 1)));
        double asked = 0, ok, sum = 0;
        for (int64_t second = 0; second < phase->duration_ns / S; second++) {
            if (phase->model == SCENARIO_USERS) {
                double n = phase->users_to;
                asked = ok = target->lambda * n / (1 + target->sigma * (n - 1) + target->kappa * n * (n - 1));
            } else {
                asked = phase->schedule.rate_from;
                if (asked > target->generator) {
                    ret_result->verdict = BENCH_INVALID;
                }
                line += asked;
                ok = fmin(line, target->limit);
                line = fmin(line - ok, 2 * target->limit); /* others have given up */
            }
            struct bench_second *to = &ret_result->seconds[ret_result->second_count];
            to->second = ret_result->second_count++;
            to->counts.ok = (uint64_t)ok;
            to->p99_ns = 1000000 + (int64_t)(line / target->limit * 1e9);
            sum += ok;
        }
        fill_series(ret_result, phase, at, sum / ((double)phase->duration_ns / 1e9), asked, 1000000);
        at += phase->duration_ns;
    }
    return STATUS_OK;
}

static struct scenario *scenario;
static struct capacity capacity;

static int setup(void **state)
{
    (void)state;
    char why[300];
    scenario = calloc(1, sizeof(*scenario));
    return scenario_parse(SLICE("target http://a\nflow f\n get /\nphase p constant 5/s for 1s\ngate p99 < 1s\n"), NULL,
                          NULL, scenario, why, sizeof(why)) == STATUS_OK
               ? 0
               : 1;
}

static int teardown(void **state)
{
    (void)state;
    scenario_free(scenario);
    free(scenario);
    return 0;
}

static struct capacity_options options_of(struct target *target)
{
    return (struct capacity_options){.rate_from = 100,
                                     .rate_max = 1e6,
                                     .warm_ns = S,
                                     .point_ns = 2 * S,
                                     .before_ns = 3 * S,
                                     .overload_ns = 4 * S,
                                     .after_ns = 12 * S,
                                     .run = run,
                                     .ctx = target};
}

static void test_finds_the_limit(void **state)
{
    (void)state;
    struct target target = {.limit = 3700, .generator = 1e9};
    struct capacity_options options = options_of(&target);
    assert_int_equal(capacity_search(scenario, &options, &capacity), STATUS_OK);
    /* 95 % of a rate have to be right: the limit is at 3700 / 0.95, found to a tenth. */
    assert_true(capacity.sustained <= 3700 / 0.95 * 1.02 && capacity.sustained >= 3700 / 0.95 / 1.1);
    assert_true(fabs(capacity.goodput_most - 3700) < 40);
    assert_true(capacity.is_bounded && !capacity.is_generator_bound);
    assert_int_equal(capacity.overload_count, 3);
    for (uint32_t i = 0; i < 3; i++) {
        const struct capacity_overload *overload = &capacity.overloads[i];
        assert_true(overload->is_valid && overload->asked == capacity.sustained * overload->factor);
        assert_true(overload->goodput <= 3701 && overload->goodput > 3000);
        assert_true(fabs(overload->before_goodput - 0.7 * capacity.sustained) < 2);
        /* At most two seconds' worth are in line, of which a bit less than a third is worked off each second. */
        assert_true(overload->recovered_ns > 0 && overload->recovered_ns <= 10 * S);
        assert_true(i == 0 || overload->recovered_ns >= capacity.overloads[i - 1].recovered_ns);
    }
    assert_true(capacity.overloads[2].recovered_ns > S);
    assert_int_equal(capacity.users_count, 0);
    assert_false(capacity.has_fit);
    struct buf text, json;
    buf_init(&text, 1u << 20);
    buf_init(&json, 1u << 20);
    capacity_write_text(&capacity, &text);
    capacity_write_json(&capacity, scenario, &json);
    assert_non_null(strstr(buf_cstr(&text), "More was not sustained."));
    struct json_parser *parser = json_parser_new();
    struct json_value root, member;
    double sustained;
    assert_int_equal(json_parse(parser, buf_slice(&json), &root, NULL, NULL), STATUS_OK);
    assert_true(json_member(root, "sustained", &member) && json_get_double(member, &sustained));
    assert_true(sustained == capacity.sustained);
    assert_true(json_member(root, "overloads", &member) && json_count(member) == 3);
    json_parser_free(parser);
    buf_free(&text);
    buf_free(&json);
}

static void test_limit_below_the_first_rate(void **state)
{
    (void)state;
    struct target target = {.limit = 20, .generator = 1e9};
    struct capacity_options options = options_of(&target);
    assert_int_equal(capacity_search(scenario, &options, &capacity), STATUS_OK);
    assert_true(capacity.sustained > 17 && capacity.sustained < 22 && capacity.is_bounded);
}

/* What the generator cannot do is never a result of the target. */
static void test_generator_is_the_limit(void **state)
{
    (void)state;
    struct target target = {.limit = 1e7, .generator = 5000};
    struct capacity_options options = options_of(&target);
    assert_int_equal(capacity_search(scenario, &options, &capacity), STATUS_OK);
    assert_true(capacity.is_generator_bound && !capacity.is_bounded);
    assert_true(capacity.sustained <= 5000 && capacity.sustained > 4000);
    assert_false(capacity.overloads[2].is_valid);
}

static void test_growth(void **state)
{
    (void)state;
    struct target target = {.limit = 500, .generator = 1e9, .lambda = 1000, .sigma = 0.05, .kappa = 0.001};
    struct capacity_options options = options_of(&target);
    options.users_max = 64;
    assert_int_equal(capacity_search(scenario, &options, &capacity), STATUS_OK);
    assert_int_equal(capacity.users_count, 7);
    assert_true(capacity.has_fit && fabs(capacity.fit.lambda - 1000) < 20 && fabs(capacity.fit.sigma - 0.05) < 0.005);
    assert_true(fabs(capacity.fit.kappa - 0.001) < 1e-4 && fabs(capacity.residuals[6]) < 0.01);
}

static void test_interrupted(void **state)
{
    (void)state;
    struct target target = {.limit = 3700, .generator = 1e9, .fails_at = 3};
    struct capacity_options options = options_of(&target);
    assert_int_equal(capacity_search(scenario, &options, &capacity), STATUS_INTERRUPTED);
    assert_int_equal(capacity.point_count, 2); /* what there was */
    assert_int_equal(target.runs, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_finds_the_limit),
        cmocka_unit_test(test_limit_below_the_first_rate),
        cmocka_unit_test(test_generator_is_the_limit),
        cmocka_unit_test(test_growth),
        cmocka_unit_test(test_interrupted),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
