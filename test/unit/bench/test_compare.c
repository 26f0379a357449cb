#include "bench/compare.h"
#include "bench/history.h"
#include "bench/report.h"

#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../base/check.h"
#include "base/ensure.h"
#include "base/json.h"

#define S INT64_C(1000000000)

static char why[1500];

static void make_result(struct bench_result *result, double rate, int64_t latency_ns, int64_t when_ns)
{
    bench_result_init(result);
    assert_int_equal(bench_result_histograms(result), STATUS_OK);
    snprintf(result->scenario, sizeof(result->scenario), "made-up");
    result->started_wall_ns = when_ns;
    result->duration_ns = 10 * S;
    struct bench_series *series = bench_result_add_series(result, "", "");
    series->end_ns = 10 * S;
    series->counts.scheduled = series->counts.ok = (uint64_t)(rate * 10);
    histogram_record_many(series->latency, latency_ns, series->counts.ok);
    histogram_record_many(series->service, latency_ns, series->counts.ok);
    result->seconds = calloc(10, sizeof(*result->seconds));
    result->second_count = 10;
    for (uint32_t i = 0; i < 10; i++) {
        result->seconds[i].second = i;
        result->seconds[i].counts.ok = (uint64_t)rate + i % 3;
        result->seconds[i].p50_ns = latency_ns;
        result->seconds[i].p99_ns = 2 * latency_ns + i;
    }
}

static void test_rounds(void **state)
{
    (void)state;
    struct compare *compare;
    struct rng rng = test_rng();
    assert_int_equal(compare_new(NULL, &compare, why, sizeof(why)), STATUS_OK);
    for (int round = 0; round < 8; round++) {
        struct bench_result a, b;
        double mood = 1 + (double)rng_below(&rng, 100) / 200, noise = (double)rng_below(&rng, 100) / 10000;
        make_result(&a, 1000 * mood, (int64_t)(2e6 / mood), 0);
        make_result(&b, 1200 * mood * (1 + noise), (int64_t)(2e6 / mood), 0);
        compare_add(compare, &a, &b);
        bench_result_free(&a);
        bench_result_free(&b);
    }
    compare_judge(compare, 1);
    assert_string_equal(compare->metrics[0].name, "goodput");
    assert_int_equal(compare->metrics[0].result.verdict, COMPARISON_FASTER);
    assert_true(fabs(compare->metrics[0].ratio - 1.2) < 0.02 && compare->metrics[0].ratio_low > 1.19);
    assert_int_equal(compare->metrics[2].result.verdict, COMPARISON_SAME);
    assert_int_equal(compare_verdict(compare), COMPARISON_FASTER);
    struct buf out;
    buf_init(&out, 1u << 20);
    compare_write_json(compare, &out);
    struct json_parser *parser = json_parser_new();
    struct json_value root, member;
    struct slice verdict;
    assert_int_equal(json_parse(parser, buf_slice(&out), &root, NULL, NULL), STATUS_OK);
    assert_true(json_member(root, "verdict", &member) && json_get_str(member, &verdict));
    assert_slice_equal(verdict, "faster");
    json_parser_free(parser);
    buf_free(&out);
    free(compare);
}

/* Of times less is better, and the ratio is that of the times. */
static void test_times_and_names(void **state)
{
    (void)state;
    struct compare *compare;
    static const char *const metrics[] = {"p99", "rate", "missing@phase", NULL};
    static const char *const p99[] = {"p99", NULL}, *const unknown[] = {"godput", NULL};
    assert_int_equal(compare_new(unknown, &compare, why, sizeof(why)), STATUS_INVALID);
    assert_string_equal(why, "\"godput\" is no metric; did you mean \"goodput\"?");
    assert_int_equal(compare_new(metrics, &compare, why, sizeof(why)), STATUS_INVALID);
    assert_int_equal(compare_new(p99, &compare, why, sizeof(why)), STATUS_OK);
    for (int round = 0; round < 6; round++) {
        struct bench_result a, b;
        make_result(&a, 1000, 2000000 + round * 1000, 0);
        make_result(&b, 1000, 3000000 + round * 1000, 0);
        compare_add(compare, &a, &b);
        bench_result_free(&a);
        bench_result_free(&b);
    }
    compare_judge(compare, 1);
    assert_int_equal(compare->metrics[0].result.verdict, COMPARISON_SLOWER);
    assert_true(fabs(compare->metrics[0].ratio - 1.5) < 0.01 && compare->metrics[0].ratio_low <= 1.5);
    free(compare);
}

static void test_seconds(void **state)
{
    (void)state;
    struct compare *compare;
    struct bench_result a, b;
    assert_int_equal(compare_new(NULL, &compare, why, sizeof(why)), STATUS_OK);
    make_result(&a, 1000, 2000000, 0);
    make_result(&b, 900, 2000000, 0);
    b.seconds[4].counts.ok = 0;
    compare_seconds(compare, &a, &b);
    compare_judge(compare, 1);
    assert_int_equal(compare->metrics[0].count, 7); /* neither the ends nor the empty second */
    assert_int_equal(compare->metrics[0].result.verdict, COMPARISON_SLOWER);
    assert_int_equal(compare->metrics[1].result.verdict, COMPARISON_SAME);
    bench_result_free(&a);
    bench_result_free(&b);
    free(compare);
}

static void test_history(void **state)
{
    (void)state;
    char folder[] = "/tmp/history-XXXXXX", dir[100], command[200];
    struct history history;
    static const struct report_context none;
    struct rng rng = test_rng();
    assert_non_null(mkdtemp(folder));
    for (int i = 0; i < 24; i++) { /* written newest first; the level falls with the 15th run */
        struct bench_result result;
        int run = 23 - i;
        make_result(&result, (run < 15 ? 1000 : 800) + (double)rng_below(&rng, 20), 2000000, (run + 1) * 1000 * S);
        result.verdict = run == 3 ? BENCH_INVALID : BENCH_PASS;
        if (run == 3) { /* must not be among the values */
            result.series[0].counts.ok = 1;
        }
        snprintf(dir, sizeof(dir), "%s/sub%d", folder, i % 2);
        mkdir(dir, 0755);
        snprintf(dir, sizeof(dir), "%s/sub%d/run%02d", folder, i % 2, run);
        mkdir(dir, 0755);
        assert_int_equal(report_write(dir, &none, &result, why, sizeof(why)), STATUS_OK);
        bench_result_free(&result);
    }
    snprintf(dir, sizeof(dir), "%s/broken", folder);
    mkdir(dir, 0755);
    snprintf(command, sizeof(command), "%s/run.json", dir);
    FILE *file = fopen(command, "w");
    fputs("{", file);
    fclose(file);
    assert_int_equal(history_read(folder, &history), STATUS_OK);
    assert_int_equal(history.count, 24);
    assert_int_equal(history.unread, 1);
    assert_true(history.runs[0].started_wall_ns == 1000 * S && history.runs[23].started_wall_ns == 24000 * S);
    struct buf out;
    buf_init(&out, 1u << 20);
    history_write_json(&history, &out);
    struct json_parser *parser = json_parser_new();
    struct json_value root, value, series, changes, change, index;
    int64_t number;
    assert_int_equal(json_parse(parser, buf_slice(&out), &root, NULL, NULL), STATUS_OK);
    assert_true(json_member(root, "scenarios", &value) && json_count(value) == 1);
    struct json_iter it = json_iter_of(value);
    assert_true(json_next(&it, NULL, &value) && json_member(value, "series", &series));
    it = json_iter_of(series);
    assert_true(json_next(&it, NULL, &value) && json_member(value, "changes", &changes)); /* goodput */
    if (json_count(changes) != 1) {
        fail_msg("%s", buf_cstr(&out));
    }
    struct json_value values;
    assert_true(json_member(value, "values", &values) && json_count(values) == 23);
    it = json_iter_of(changes);
    assert_true(json_next(&it, NULL, &change) && json_member(change, "index", &index) && json_get_i64(index, &number));
    assert_int_equal(number, 14); /* run 15, as the invalid one is left out */
    buf_reset(&out);
    history_write_text(&history, &out);
    assert_non_null(strstr(buf_cstr(&out), "24 runs, of which 23 count"));
    assert_non_null(strstr(buf_cstr(&out), "changed from"));
    assert_non_null(strstr(buf_cstr(&out), "1 run directories could not be read"));
    json_parser_free(parser);
    buf_free(&out);
    history_free(&history);
    snprintf(command, sizeof(command), "rm -r '%s'", folder);
    assert_int_equal(system(command), 0);
    assert_int_equal(history_read(folder, &history), STATUS_NOT_FOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rounds),
        cmocka_unit_test(test_times_and_names),
        cmocka_unit_test(test_seconds),
        cmocka_unit_test(test_history),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
