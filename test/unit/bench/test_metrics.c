/* Names become numbers, gates become verdicts. The result is small and made by hand, so that each number is known. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "bench/gates.h"
#include "bench/metrics.h"

static struct bench_result result;

static void add_counts(struct bench_series *series, uint64_t ok, int64_t begin_s, int64_t end_s)
{
    series->counts =
        (struct bench_counts){.scheduled = ok + 10, .ok = ok, .failed = 4, .timed_out = 3, .shed = 2, .in_flight = 1};
    series->counts.errors[BENCH_ERROR_RESET] = 4;
    series->counts.errors[BENCH_ERROR_TIMED_OUT] = 3;
    series->counts.bytes_in = 1000 * ok;
    series->items = 100 * ok;
    series->begin_ns = begin_s * NS_PER_S;
    series->end_ns = end_s * NS_PER_S;
}

static int setup(void **state)
{
    (void)state;
    bench_result_init(&result);
    assert_int_equal(bench_result_histograms(&result), STATUS_OK);
    struct bench_series *run = bench_result_add_series(&result, "", "");
    add_counts(run, 991, 0, 10);
    for (int i = 1; i <= 1000; i++) {
        histogram_record(run->latency, i * NS_PER_MS);
        histogram_record(run->service, i * NS_PER_US);
    }
    add_counts(bench_result_add_series(&result, "steady", ""), 500, 5, 10);
    struct bench_series *step = bench_result_add_series(&result, "steady", "GET /status");
    add_counts(step, 200, 5, 10);
    histogram_record(step->latency, 7 * NS_PER_MS);
    result.seconds = calloc(10, sizeof(*result.seconds));
    result.second_count = 10;
    for (uint32_t i = 0; i < 10; i++) {
        result.seconds[i] = (struct bench_second){.second = i,
                                                  .counts = {.scheduled = 110, .ok = i == 7 ? 0 : 100, .failed = 10},
                                                  .p50_ns = NS_PER_MS,
                                                  .p95_ns = (i + 1) * NS_PER_MS,
                                                  .p99_ns = (i == 7   ? 1000
                                                             : i == 8 ? 50
                                                                      : 20) *
                                                            NS_PER_MS,
                                                  .max_ns = 60 * NS_PER_MS,
                                                  .lag_max_ns = i * NS_PER_US};
    }
    result.processes = calloc(2, sizeof(*result.processes));
    result.process_count = 2;
    snprintf(result.processes[0].name, sizeof(result.processes[0].name), "hub");
    snprintf(result.processes[1].name, sizeof(result.processes[1].name), "generator");
    result.processes[0].leak_bytes_per_hour = 1000;
    result.processes[0].leak_low = -10;
    result.processes[0].leak_high = 2010;
    result.samples = calloc(10, sizeof(*result.samples));
    result.sample_count = 10;
    for (uint32_t i = 0; i < 10; i++) {
        result.samples[i] = (struct bench_sample){.second = i,
                                                  .process = 0,
                                                  .cpu_percent = i < 5 ? 20 : 80,
                                                  .memory_bytes = (i == 3 ? 900 : 100 + i),
                                                  .descriptors = 5 + i,
                                                  .disk_written_bytes = 4096};
    }
    result.scrapes = calloc(1, sizeof(*result.scrapes));
    result.scrape_count = 1;
    snprintf(result.scrapes[0].name, sizeof(result.scrapes[0].name), "shoal_tasks{state=\"ready\"}");
    result.scrapes[0].count = 10;
    result.scrapes[0].seconds = calloc(10, sizeof(uint32_t));
    result.scrapes[0].values = calloc(10, sizeof(double));
    for (uint32_t i = 0; i < 10; i++) {
        result.scrapes[0].seconds[i] = i;
        result.scrapes[0].values[i] = 3.0 * i;
    }
    const int64_t times[3][2] = {{20, 500}, {40, 300}, {-1, -1}};
    for (int i = 0; i < 3; i++) {
        struct bench_event *event = bench_result_add_event(&result, i * NS_PER_S, "kill hub");
        snprintf(event->fault, sizeof(event->fault), i < 2 ? "kill_hub" : "cut_line");
        event->detected_ns = times[i][0] < 0 ? -1 : times[i][0] * NS_PER_MS;
        event->recovered_ns = times[i][1] < 0 ? -1 : times[i][1] * NS_PER_MS;
    }
    result.sessions = 500;
    result.sessions_open_ns = 2 * NS_PER_S;
    histogram_record(result.lag, 5000);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    bench_result_free(&result);
    return 0;
}

static double value(const char *name)
{
    double value = -12345;
    const char *unit;
    enum status status = bench_metric(&result, slice_str(name), &value, &unit);
    if (status != STATUS_OK) {
        fail_msg("%s: %s", name, status_slug(status));
    }
    return value;
}

static enum status status_of(const char *name)
{
    double value;
    return bench_metric(&result, slice_str(name), &value, NULL);
}

static bool is_near(double a, double b)
{
    return fabs(a - b) <= 0.001 * fabs(b);
}

static void test_requests(void **state)
{
    (void)state;
    assert_true(is_near(value("p50"), 500e6));
    assert_true(is_near(value("p99"), 990e6));
    assert_true(is_near(value("p99.9"), 999e6));
    assert_true(value("p99_9") == value("p99.9"));
    assert_true(is_near(value("service_p50"), 500e3));
    assert_true(value("max") == 1000e6 && value("min") == 1e6);
    assert_true(is_near(value("mean"), 500.5e6));
    assert_true(is_near(value("rate"), 99.8));
    assert_true(is_near(value("goodput"), 99.1));
    assert_true(is_near(value("goodput@steady"), 100));
    assert_true(is_near(value("items@steady"), 10000));
    assert_true(is_near(value("success"), 99.1));
    assert_true(is_near(value("errors"), 0.7));
    assert_true(is_near(value("timeouts"), 0.3));
    assert_true(is_near(value("shed"), 0.2));
    assert_true(value("error.reset@steady") == 4 && value("error.refused") == 0);
    assert_true(value("in_flight") == 1 && value("scheduled") == 1001);
    assert_true(value("duration@steady") == 5e9);
    assert_true(is_near(value("p50:GET /status@steady"), 7e6));
    assert_true(is_near(value("goodput:GET /status@steady"), 40));
    assert_true(value("lag_p50") == 5000 && value("session_rate") == 250);
}

static void test_processes_scrapes_faults(void **state)
{
    (void)state;
    assert_true(value("cpu.hub") == 50 && value("cpu.hub@steady") == 80 && value("cpu_peak.hub") == 80);
    assert_true(is_near(value("per_core.hub@steady"), 125));
    assert_true(value("memory_peak.hub") == 900 && value("memory_peak.hub@steady") == 109);
    assert_true(value("memory_end.hub") == 109 && value("descriptors.hub") == 14);
    assert_true(value("memory_start.hub") > 0);
    assert_int_equal(status_of("memory_share.hub"), STATUS_END); /* how much there is was not told */
    assert_int_equal(status_of("cpu_share.hub"), STATUS_END);
    result.cores = 4;
    result.memory_total_bytes = 3600;
    assert_true(value("cpu_share.hub") == 12.5 && value("memory_share.hub") == 25);
    assert_true(value("disk_written.hub") == 4096);
    assert_true(value("leak.hub") == 1000 && value("leak_high.hub") == 2010);
    assert_true(value("scrape.shoal_tasks{state=\"ready\"}") == 27);
    assert_true(value("scrape_max.shoal_tasks{state=\"ready\"}@steady") == 27);
    assert_true(value("scrape_rate.shoal_tasks{state=\"ready\"}@steady") == 3);
    assert_true(value("detect.kill_hub") == 40e6 && value("recover.kill_hub") == 500e6);
    assert_true(isinf(value("recover.cut_line")));
    assert_int_equal(status_of("detect.cut_line"), STATUS_END);
}

static void test_tasks(void **state)
{
    (void)state;
    struct bench_result run;
    bench_result_init(&run);
    assert_int_equal(bench_result_histograms(&run), STATUS_OK);
    assert_non_null(bench_result_add_series(&run, "", ""));
    struct bench_series *series = bench_result_add_series(&run, "steady", "");
    assert_non_null(series);
    series->assign = histogram_new();
    assert_non_null(series->assign);
    for (int64_t i = 1; i <= 100; i++) {
        histogram_record(run.assign, i * NS_PER_MS * 10);
        histogram_record(series->assign, i * NS_PER_MS);
    }
    double found;
    const char *unit;
    assert_int_equal(bench_metric(&run, SLICE("assign_within.500ms"), &found, &unit), STATUS_OK);
    assert_true(fabs(found - 50) < 1.1 && strcmp(unit, "%") == 0);
    assert_int_equal(bench_metric(&run, SLICE("assign_within.0.2s@steady"), &found, &unit), STATUS_OK);
    assert_true(found == 100);
    assert_int_equal(bench_metric(&run, SLICE("assign_p50@steady"), &found, &unit), STATUS_OK);
    assert_true(fabs(found / 50e6 - 1) < 0.01);
    assert_int_equal(bench_metric(&run, SLICE("complete_p50@steady"), &found, &unit), STATUS_END);
    assert_int_equal(bench_metric(&run, SLICE("assign_within.500ms@nowhere"), &found, &unit), STATUS_NOT_FOUND);
    assert_false(bench_metric_is_known(SLICE("assign_within.soon"), NULL));
    assert_int_equal(bench_metric(&run, SLICE("evenness"), &found, &unit), STATUS_END);
    run.evenness_percent = 97;
    assert_int_equal(bench_metric(&run, SLICE("evenness"), &found, &unit), STATUS_OK);
    assert_true(found == 97);
    bench_result_free(&run);
}

static void test_what_is_not_there(void **state)
{
    (void)state;
    static const char *const unknown[] = {"",        "p",       "p101",     "pp99", "p99x",   "p9.9.9", "cpu",
                                          "cpu.",    "latency", "rate.hub", "p99@", "p99:@a", "error.", "error.x",
                                          "recover", "P99",     "lag_",     "p_9",  "p9.",    "rate "};
    for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++) {
        assert_false(bench_metric_is_known(slice_str(unknown[i]), NULL));
        assert_int_equal(status_of(unknown[i]), STATUS_NOT_FOUND);
    }
    static const char *const absent[] = {"p99@nowhere",    "p99:nothing@steady", "cpu.mars",
                                         "scrape.nothing", "recover.nothing",    "cpu.hub@nowhere"};
    for (size_t i = 0; i < sizeof(absent) / sizeof(absent[0]); i++) {
        assert_true(bench_metric_is_known(slice_str(absent[i]), NULL));
        assert_int_equal(status_of(absent[i]), STATUS_NOT_FOUND);
    }
    assert_int_equal(status_of("p99@steady"), STATUS_END); /* no latencies were recorded in it */
    assert_int_equal(status_of("assign_p99"), STATUS_END);
    assert_int_equal(status_of("cpu.generator"), STATUS_END);
    assert_int_equal(status_of("leak.generator"), STATUS_END);
    const char *unit = NULL;
    assert_true(bench_metric_is_known(SLICE("leak.hub"), &unit));
    assert_string_equal(unit, "bytes/h");
}

static double window(const char *name, int64_t from_s, int64_t to_s, bool is_largest)
{
    double value = -12345;
    enum status status =
        bench_metric_window(&result, slice_str(name), from_s * NS_PER_S, to_s * NS_PER_S, is_largest, &value, NULL);
    assert_int_equal(status, STATUS_OK);
    return value;
}

static void test_windows(void **state)
{
    (void)state;
    assert_true(window("goodput", 0, 7, true) == 100);
    assert_true(is_near(window("goodput", 6, 8, true), 50));
    assert_true(is_near(window("errors", 0, 5, true), 100.0 / 11));
    assert_true(window("p99", 0, 0, true) == 50e6); /* second 7 had no answers, and so no latency */
    assert_true(window("p99", 0, 0, false) == 20e6);
    assert_true(window("p95@steady", 1, 3, true) == 7e6);
    assert_true(window("p95@steady", 1, 0, true) == 10e6); /* to the end of the phase */
    assert_true(window("lag_max", 2, 5, true) == 4e3);
    assert_true(window("cpu.hub", 4, 6, true) == 50);
    assert_true(window("memory_peak.hub", 3, 4, true) == 900);
    assert_true(window("scrape_max.shoal_tasks{state=\"ready\"}", 0, 3, true) == 6);
    assert_true(bench_metric_has_window(SLICE("rate@steady")));
    assert_false(bench_metric_has_window(SLICE("p90")));
    assert_false(bench_metric_has_window(SLICE("p99:step")));
    assert_false(bench_metric_has_window(SLICE("recover.kill_hub")));
    double ignored;
    assert_int_equal(bench_metric_window(&result, SLICE("rate"), 20 * NS_PER_S, 0, true, &ignored, NULL), STATUS_END);
    assert_int_equal(bench_metric_window(&result, SLICE("p90"), 0, 0, true, &ignored, NULL), STATUS_NOT_FOUND);
}

static void add_gate(struct scenario *scenario, const char *metric, const char *op, double wanted, int64_t from_s,
                     int64_t to_s)
{
    struct scenario_gate *gate = &scenario->gates[scenario->gate_count++];
    snprintf(gate->text, sizeof(gate->text), "%s %s %g", metric, op, wanted);
    snprintf(gate->metric, sizeof(gate->metric), "%s", metric);
    snprintf(gate->op, sizeof(gate->op), "%s", op);
    gate->value = wanted;
    gate->from_ns = from_s * NS_PER_S;
    gate->to_ns = to_s * NS_PER_S;
}

static void test_gates(void **state)
{
    (void)state;
    assert_true(gate_holds("~", 1.04, 1) && !gate_holds("~", 1.06, 1) && gate_holds("~", -0.96, -1));
    assert_true(gate_holds("==", 0.1 + 0.2, 0.3) && !gate_holds("==", 3, 4));
    assert_true(!gate_holds("<", 1, 1) && gate_holds("<=", 1, 1) && gate_holds(">=", 1, 1) && !gate_holds(">", 1, 1));
    assert_false(gate_holds("<", INFINITY, 5e9));
    struct scenario *scenario = calloc(1, sizeof(*scenario));
    add_gate(scenario, "success", ">", 99, 0, 0);
    add_gate(scenario, "p99", "<", 60e6, 1, 7);
    assert_int_equal(gates_evaluate(scenario, &result), STATUS_OK);
    assert_int_equal(result.verdict, BENCH_PASS);
    assert_int_equal(result.gate_count, 2);
    assert_true(result.gates[0].is_met && is_near(result.gates[0].measured, 99.1) && result.gates[1].measured == 20e6);
    assert_string_equal(result.gates[1].unit, "ns");
    add_gate(scenario, "p99", "<", 40e6, 6, 10);      /* missed in second 8 */
    add_gate(scenario, "goodput", ">", 90, 7, 8);     /* nothing was answered */
    add_gate(scenario, "assign_p99", "<", 1e9, 0, 0); /* not measured */
    add_gate(scenario, "recover.cut_line", "<", 5e9, 0, 0);
    assert_int_equal(gates_evaluate(scenario, &result), STATUS_OK);
    assert_int_equal(result.verdict, BENCH_GATE_MISSED);
    for (unsigned i = 2; i < 6; i++) {
        assert_false(result.gates[i].is_met);
    }
    assert_false(result.gates[4].is_known);
    assert_true(result.gates[2].is_known && result.gates[5].is_known);
    result.verdict = BENCH_INVALID; /* an invalid run stays one */
    assert_int_equal(gates_evaluate(scenario, &result), STATUS_OK);
    assert_int_equal(result.verdict, BENCH_INVALID);
    free(scenario);
}

static void test_words(void **state)
{
    (void)state;
    char text[32];
    static const struct {
        double value;
        const char *unit, *text;
    } cases[] = {{1250000, "ns", "1.25 ms"},     {3e9, "ns", "3 s"},
                 {999, "ns", "999 ns"},          {12900000, "bytes", "12.3 MiB"},
                 {-2048, "bytes/h", "-2 KiB/h"}, {100, "%", "100 %"},
                 {12345.6, "/s", "12346 /s"},    {5, "n", "5"},
                 {INFINITY, "ns", "never"},      {2.5, "n", "2.50"}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        bench_value_text(cases[i].value, cases[i].unit, text, sizeof(text));
        assert_string_equal(text, cases[i].text);
    }
    struct buf list;
    buf_init(&list, 1u << 20);
    bench_metrics_list(&list, false);
    assert_non_null(strstr(buf_cstr(&list), "recover.FAULT"));
    assert_int_equal(buf_status(&list), STATUS_OK);
    buf_free(&list);
    for (const char *const *word = bench_metric_words(); *word != NULL;
         word++) { /* each is a name, or one with a dot behind it */
        char name[96], within[96];
        snprintf(name, sizeof(name), "%s.reset", *word);
        snprintf(within, sizeof(within), "%s.1s", *word);
        assert_true(bench_metric_is_known(slice_str(*word), NULL) || bench_metric_is_known(slice_str(name), NULL) ||
                    bench_metric_is_known(slice_str(within), NULL));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_requests, setup, teardown),
        cmocka_unit_test_setup_teardown(test_processes_scrapes_faults, setup, teardown),
        cmocka_unit_test(test_tasks),
        cmocka_unit_test_setup_teardown(test_what_is_not_there, setup, teardown),
        cmocka_unit_test_setup_teardown(test_windows, setup, teardown),
        cmocka_unit_test_setup_teardown(test_gates, setup, teardown),
        cmocka_unit_test(test_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
