/* A result that is made by hand goes into a folder and comes back the same; each file keeps the rules of its format. */
#include <ctype.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/json.h"
#include "bench/live.h"
#include "bench/report.h"

static struct bench_result result;
static struct scenario *scenario;
static struct report_context context;
static char dir[64], why[1400];

static void fill_series(const char *phase, const char *step, uint64_t count)
{
    struct bench_series *series = bench_result_add_series(&result, phase, step);
    assert_non_null(series);
    series->counts = (struct bench_counts){.scheduled = count + 6,
                                           .ok = count,
                                           .failed = 2,
                                           .timed_out = 1,
                                           .shed = 2,
                                           .in_flight = 1,
                                           .bytes_in = 12345678901234,
                                           .bytes_out = 7,
                                           .connects = 3};
    series->counts.errors[BENCH_ERROR_RESET] = 2;
    series->counts.errors[BENCH_ERROR_TIMED_OUT] = 1;
    series->items = 3 * count;
    series->begin_ns = 5;
    series->end_ns = 9 * NS_PER_S;
    for (uint64_t i = 0; i < count; i++) {
        histogram_record(series->latency, (int64_t)(i * i * 1000 + 17));
        histogram_record(series->service, (int64_t)(i * 1000));
    }
}

static int setup(void **state)
{
    (void)state;
    snprintf(dir, sizeof(dir), "/tmp/test_report.XXXXXX");
    assert_non_null(mkdtemp(dir));
    scenario = calloc(1, sizeof(*scenario));
    static char source[] = "title \"<b> & | \\ \"\nphase a users 3 # ```";
    scenario->source =
        (struct buf){.data = source, .len = strlen(source), .cap = sizeof(source), .max = sizeof(source)};
    scenario->phase_count = 1;
    snprintf(scenario->phases[0].name, sizeof(scenario->phases[0].name), "steady");
    static const char *const defines[] = {"rate=5", "quote=\"", NULL};
    context = (struct report_context){.scenario = scenario, .defines = defines, .time_scale = 0.25};
    bench_result_init(&result);
    assert_int_equal(bench_result_histograms(&result), STATUS_OK);
    snprintf(result.scenario, sizeof(result.scenario), "made-up");
    snprintf(result.title, sizeof(result.title), "Title with <tags> & \"quotes\" | bars");
    result.started_wall_ns = INT64_C(1790000000) * NS_PER_S;
    result.duration_ns = 9876543210;
    result.seed = UINT64_MAX;
    fill_series("", "", 1000);
    fill_series("steady", "", 900);
    fill_series("steady", "GET /x|y", 400);
    bench_result_add_series(&result, "empty", "");
    result.seconds = calloc(9, sizeof(*result.seconds));
    result.second_count = 9;
    for (uint32_t i = 0; i < 9; i++) {
        result.seconds[i] = (struct bench_second){.second = i,
                                                  .items = i,
                                                  .rate_meant = 100.0 / 3,
                                                  .p50_ns = 1000 + i,
                                                  .p95_ns = 2000,
                                                  .p99_ns = 3000,
                                                  .max_ns = 4000,
                                                  .lag_max_ns = 5};
        result.seconds[i].counts = (struct bench_counts){.scheduled = 30 + i, .ok = 30, .failed = i};
        result.seconds[i].counts.errors[BENCH_ERROR_MISMATCH] = i;
    }
    result.processes = calloc(2, sizeof(*result.processes));
    result.process_count = 2;
    result.processes[0] = (struct bench_process){.name = "hub",
                                                 .pid = 77,
                                                 .cpu_mean_percent = 1.0 / 3,
                                                 .cpu_peak_percent = 5,
                                                 .memory_mean_bytes = 100,
                                                 .memory_peak_bytes = 1u << 30,
                                                 .memory_end_bytes = 7,
                                                 .leak_bytes_per_hour = -1.5,
                                                 .leak_low = -3,
                                                 .leak_high = 1e9};
    snprintf(result.processes[1].name, sizeof(result.processes[1].name), "generator");
    result.samples = calloc(18, sizeof(*result.samples));
    for (uint32_t i = 0; i < 18; i++) {
        result.samples[result.sample_count++] = (struct bench_sample){.second = i / 2,
                                                                      .process = (uint16_t)(i % 2),
                                                                      .cpu_percent = i / 7.0,
                                                                      .memory_bytes = i * 1000,
                                                                      .descriptors = i,
                                                                      .threads = 2,
                                                                      .disk_read_bytes = 1,
                                                                      .disk_written_bytes = 2,
                                                                      .net_in_bytes = 3,
                                                                      .net_out_bytes = 4};
    }
    result.scrapes = calloc(2, sizeof(*result.scrapes));
    result.scrape_count = 2;
    for (uint32_t i = 0; i < 2; i++) {
        struct bench_scrape *scrape = &result.scrapes[i];
        snprintf(scrape->name, sizeof(scrape->name), "tasks{state=\"%u\\\"\"}", i);
        scrape->count = 9;
        scrape->seconds = calloc(9, sizeof(uint32_t));
        scrape->values = calloc(9, sizeof(double));
        for (uint32_t k = 0; k < 9; k++) {
            scrape->seconds[k] = k;
            scrape->values[k] = k * 0.1 + i;
        }
    }
    struct bench_event *event = bench_result_add_event(&result, NS_PER_S, "phase steady begins");
    event = bench_result_add_event(&result, 2 * NS_PER_S, "kill hub");
    snprintf(event->fault, sizeof(event->fault), "kill_hub");
    event->detected_ns = 12 * NS_PER_MS;
    event->recovered_ns = 340 * NS_PER_MS;
    event = bench_result_add_event(&result, 3 * NS_PER_S, "cut line");
    snprintf(event->fault, sizeof(event->fault), "cut_line");
    result.gates = calloc(3, sizeof(*result.gates));
    result.gate_count = 3;
    result.gates[0] = (struct bench_gate_result){
        .text = "p99 < 5ms", .is_met = true, .is_known = true, .measured = 4.2e6, .wanted = 5e6, .unit = "ns"};
    result.gates[1] = (struct bench_gate_result){
        .text = "recover.cut_line < 5s", .is_known = true, .measured = INFINITY, .wanted = 5e9, .unit = "ns"};
    result.gates[2] = (struct bench_gate_result){.text = "assign_p99 < 5ms & \"more\"", .wanted = 5e6, .unit = "ns"};
    histogram_record(result.lag, 12345);
    histogram_record(result.session_open, 777777);
    result.iterations = 4711;
    result.sessions = 40;
    result.sessions_failed = 2;
    result.sessions_lost = 1;
    result.sessions_open_ns = NS_PER_S;
    result.lost_tasks = 3;
    result.doubled_tasks = 1;
    result.evenness_percent = 98.25;
    result.memory_total_bytes = UINT64_C(24) << 30;
    result.cores = 2;
    struct bench_series *of_phase = (struct bench_series *)(uintptr_t)bench_result_series(&result, "steady", "");
    assert_non_null(of_phase);
    of_phase->assign = histogram_new();
    assert_non_null(of_phase->assign);
    histogram_record(of_phase->assign, 31415926);
    result.users_max = 12;
    result.connections_max = 13;
    result.verdict = BENCH_GATE_MISSED;
    snprintf(result.invalid_why, sizeof(result.invalid_why), "A sentence.");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    char command[128];
    bench_result_free(&result);
    free(scenario);
    snprintf(command, sizeof(command), "rm -rf '%s'", dir);
    assert_int_equal(system(command), 0);
    return 0;
}

static void save(void)
{
    if (report_write(dir, &context, &result, why, sizeof(why)) != STATUS_OK) {
        fail_msg("%s", why);
    }
}

static void test_comes_back_the_same(void **state)
{
    (void)state;
    struct bench_result again;
    save();
    if (report_read(dir, &again, why, sizeof(why)) != STATUS_OK) {
        fail_msg("%s", why);
    }
    struct buf a, b;
    buf_init(&a, 1u << 26);
    buf_init(&b, 1u << 26);
    report_json(&context, &result, &a);
    report_series(&result, &a);
    report_samples(&result, &a);
    report_histograms(&result, &a);
    report_json(&context, &again, &b);
    report_series(&again, &b);
    report_samples(&again, &b);
    report_histograms(&again, &b);
    assert_string_equal(buf_cstr(&a), buf_cstr(&b));
    static const char *const names[] = {"p50",
                                        "p99.9",
                                        "service_p90@steady",
                                        "stddev:GET /x|y@steady",
                                        "cpu.hub@steady",
                                        "cpu_share.hub",
                                        "leak.hub",
                                        "memory_peak.generator",
                                        "scrape.tasks{state=\"1\\\"\"}",
                                        "scrape_rate.tasks{state=\"0\\\"\"}",
                                        "recover.cut_line",
                                        "detect.kill_hub",
                                        "session_open_p99",
                                        "lost_tasks",
                                        "evenness",
                                        "memory_share.hub",
                                        "assign_p50@steady",
                                        "assign_within.20ms@steady",
                                        "goodput@steady",
                                        "error.reset",
                                        "lag_max"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        double x = 1, y = 2;
        assert_int_equal(bench_metric(&result, slice_str(names[i]), &x, NULL), STATUS_OK);
        assert_int_equal(bench_metric(&again, slice_str(names[i]), &y, NULL), STATUS_OK);
        if (x != y) {
            fail_msg("%s was %g and is %g", names[i], x, y);
        }
    }
    assert_int_equal(again.seconds[8].counts.errors[BENCH_ERROR_MISMATCH], 8);
    assert_true(isinf(again.gates[1].measured));
    buf_free(&a);
    buf_free(&b);
    bench_result_free(&again);
}

static char *slurp(const char *name, size_t *ret_len)
{
    char path[128];
    struct stat info;
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    assert_int_equal(stat(path, &info), 0);
    char *text = malloc((size_t)info.st_size + 1);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    *ret_len = fread(text, 1, (size_t)info.st_size, file);
    text[*ret_len] = '\0';
    fclose(file);
    return text;
}

static void put(const char *name, const char *text, size_t len)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, len, file), len);
    fclose(file);
}

/* Files that were cut off or changed are refused with a sentence that names them, or read; never a crash. */
static void test_damaged_folders(void **state)
{
    (void)state;
    static const char *const files[] = {"run.json", "histograms.json", "series.ndjson", "samples.ndjson"};
    struct bench_result again;
    save();
    assert_int_equal(report_read("/nonexistent", &again, why, sizeof(why)), STATUS_NOT_FOUND);
    bench_result_free(&again);
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        size_t len;
        char *text = slurp(files[i], &len);
        for (size_t k = 0; k < 60; k++) {
            size_t at = len * k / 60;
            put(files[i], text, at);
            why[0] = '\0';
            enum status status = report_read(dir, &again, why, sizeof(why));
            if (i < 2) { /* a document that is cut off is none */
                assert_int_not_equal(status, STATUS_OK);
            }
            if (status != STATUS_OK) {
                assert_non_null(strstr(why, files[i]));
            }
            bench_result_free(&again);
            char *changed = malloc(len + 1);
            memcpy(changed, text, len);
            changed[at] = "0\"{[x,-}"[k % 8];
            put(files[i], changed, len);
            status = report_read(dir, &again, why, sizeof(why));
            assert_true(status == STATUS_OK || strstr(why, dir) != NULL);
            bench_result_free(&again);
            free(changed);
        }
        put(files[i], text, len);
        free(text);
    }
    put("run.json", "{\"schema\":\"shoal-bench-run/99\"}", 31);
    assert_int_equal(report_read(dir, &again, why, sizeof(why)), STATUS_INVALID);
    assert_non_null(strstr(why, "shoal-bench-run/99"));
    bench_result_free(&again);
}

static void test_json_is_json(void **state)
{
    (void)state;
    struct json_parser *parser = json_parser_new();
    struct json_value root, member;
    size_t len;
    save();
    static const char *const members[] = {
        "schema",      "scenario", "title",   "verdict", "invalid_why", "started",    "started_wall_ns",
        "duration_ns", "seed",     "machine", "build",   "defines",     "time_scale", "settings",
        "source",      "gates",    "phases",  "series",  "totals",      "processes",  "events"};
    char *text = slurp("run.json", &len);
    assert_int_equal(json_parse(parser, slice_of(text, len), &root, NULL, NULL), STATUS_OK);
    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
        assert_true(json_member(root, members[i], &member));
    }
    assert_int_equal(json_count(root),
                     sizeof(members) / sizeof(members[0])); /* one that is new belongs into docs/bench.md and here */
    free(text);
    /* what docs/bench.md tells of is what is there */
    FILE *docs = fopen(SHOAL_SOURCE_ROOT "/docs/bench.md", "r");
    assert_non_null(docs);
    char *manual = calloc(1, 1u << 20);
    assert_true(fread(manual, 1, (1u << 20) - 1, docs) > 0);
    fclose(docs);
    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
        char quoted[64];
        snprintf(quoted, sizeof(quoted), "| `%s` |", members[i]);
        if (strstr(manual, quoted) == NULL) {
            fail_msg("docs/bench.md does not tell of \"%s\" in run.json", members[i]);
        }
    }
    struct buf table;
    buf_init(&table, 1u << 20);
    bench_metrics_list(&table, true);
    if (strstr(manual, buf_cstr(&table)) == NULL) {
        fail_msg("the table of metrics in docs/bench.md is not that of metrics.def: run this test with --metrics");
    }
    buf_free(&table);
    free(manual);
    json_parser_free(parser);
}

/* Tags match, entities are known, attributes are quoted. */
static void check_xml(const char *text)
{
    char open[32][24];
    size_t depth = 0;
    while (*text != '\0') {
        if (*text == '&') {
            assert_true(strncmp(text, "&amp;", 5) == 0 || strncmp(text, "&lt;", 4) == 0 ||
                        strncmp(text, "&gt;", 4) == 0 || strncmp(text, "&quot;", 6) == 0);
            text++;
            continue;
        }
        assert_true((unsigned char)*text >= ' ' || *text == '\n');
        if (*text++ != '<') {
            continue;
        }
        if (*text == '?' || *text == '!') {
            text = strchr(text, '>') + 1;
            continue;
        }
        bool is_end = *text == '/';
        text += is_end;
        size_t len = strcspn(text, " />");
        assert_in_range(len, 1, 23);
        char name[24];
        snprintf(name, sizeof(name), "%.*s", (int)len, text);
        bool is_quoted = false, is_empty = false;
        for (; *text != '>' || is_quoted; text++) {
            assert_true(*text != '\0' && *text != '<');
            is_quoted = is_quoted != (*text == '"');
            is_empty = *text == '/';
        }
        text++;
        if (is_end) {
            assert_true(depth > 0);
            assert_string_equal(open[--depth], name);
        } else if (!is_empty) {
            assert_true(depth < 32);
            snprintf(open[depth++], sizeof(open[0]), "%s", name);
        }
    }
    assert_int_equal(depth, 0);
}

static void test_xml_and_html(void **state)
{
    (void)state;
    size_t len;
    save();
    char *text = slurp("junit.xml", &len);
    check_xml(text);
    assert_non_null(strstr(text, "tests=\"4\" failures=\"2\" errors=\"0\""));
    assert_non_null(strstr(text, "recover.cut_line &lt; 5s"));
    free(text);
    text = slurp("report.html", &len);
    check_xml(text);
    static const char *const external[] = {
        "http://", "https://", "src=", "href=", "url(", "@import", "<script", "<link"};
    for (size_t i = 0; i < sizeof(external) / sizeof(external[0]); i++) {
        assert_null(strstr(text, external[i]));
    }
    static const char *const wanted[] = {"<h3>Rate</h3>",
                                         "<h3>Latency over time</h3>",
                                         "<h3>Latency distribution</h3>",
                                         "<h3>Processor</h3>",
                                         "<h3>Memory</h3>",
                                         "kill hub, 2.00 s",
                                         "&lt;tags&gt; &amp; &quot;quotes&quot; | bars",
                                         "recover.cut_line"};
    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
        if (strstr(text, wanted[i]) == NULL) {
            fail_msg("report.html lacks %s", wanted[i]);
        }
    }
    assert_null(strstr(text, "nan"));
    free(text);
}

/* The text format 0.0.4: HELP and TYPE once before a family's lines, names and labels of their alphabet, one number. */
static void test_prometheus(void **state)
{
    (void)state;
    struct buf page;
    char family[96] = "";
    buf_init(&page, 1u << 20);
    report_prometheus(&result, &page);
    for (const char *line = buf_cstr(&page), *end; *line != '\0'; line = end + 1) {
        end = strchr(line, '\n');
        assert_non_null(end);
        if (strncmp(line, "# TYPE ", 7) == 0) {
            size_t len = strcspn(line + 7, " ");
            snprintf(family, sizeof(family), "%.*s", (int)len, line + 7);
            assert_null(
                memmem(buf_cstr(&page), (size_t)(line - buf_cstr(&page)), line, len + 8)); /* not a second time */
        }
        if (*line == '#') {
            continue;
        }
        assert_int_equal(strncmp(line, family, strlen(family)), 0);
        size_t len = strspn(line, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_:");
        assert_true(line[len] == '{');
        const char *at = line + len + 1;
        while (*at != '}') {
            at += strspn(at, "abcdefghijklmnopqrstuvwxyz_,");
            assert_true(at[0] == '=' && at[1] == '"');
            for (at += 2; *at != '"'; at++) {
                at += *at == '\\';
            }
            at++;
        }
        char *number_end;
        assert_true(at[1] == ' ');
        (void)strtod(at + 2, &number_end);
        assert_ptr_equal(number_end, end);
    }
    buf_free(&page);
}

static void test_folders(void **state)
{
    (void)state;
    char first[256], second[256];
    char parent[128];
    snprintf(parent, sizeof(parent), "%s/runs", dir);
    assert_int_equal(report_make_dir(parent, &result, first, sizeof(first), why, sizeof(why)), STATUS_OK);
    assert_int_equal(report_make_dir(parent, &result, second, sizeof(second), why, sizeof(why)), STATUS_OK);
    assert_string_not_equal(first, second);
    assert_non_null(strstr(first, "20260921T141320Z-made-up"));
    assert_int_not_equal(report_write("/nonexistent/x", &context, &result, why, sizeof(why)), STATUS_OK);
    assert_non_null(strstr(why, "/nonexistent/x"));
    /* a run that was interrupted in its first moment has nearly nothing */
    struct bench_result nothing, again;
    static const struct report_context no_context;
    bench_result_init(&nothing);
    nothing.verdict = BENCH_INTERRUPTED;
    assert_int_equal(report_write(first, &no_context, &nothing, why, sizeof(why)), STATUS_OK);
    assert_int_equal(report_read(first, &again, why, sizeof(why)), STATUS_OK);
    assert_int_equal(again.verdict, BENCH_INTERRUPTED);
    bench_result_free(&again);
}

static void test_live(void **state)
{
    (void)state;
    struct bench_counts total = {.ok = 270, .failed = 36};
    struct bench_progress progress = {.scenario = scenario,
                                      .at_ns = 9 * NS_PER_S,
                                      .planned_ns = 18 * NS_PER_S,
                                      .phase = "steady",
                                      .seconds = result.seconds,
                                      .second_count = result.second_count,
                                      .total = &total,
                                      .hub_cpu_percent = 33,
                                      .hub_memory_bytes = 1 << 20};
    struct buf out;
    buf_init(&out, 1u << 16);
    live_line(&progress, &out);
    assert_non_null(strstr(buf_cstr(&out), "9 s steady: 33 /s meant, 30 /s made"));
    assert_non_null(strstr(buf_cstr(&out), "36 errors"));
    buf_reset(&out);
    live_frame(&progress, 80, &out);
    assert_non_null(strstr(buf_cstr(&out), "9 s of 18 s"));
    assert_non_null(strstr(buf_cstr(&out), "█"));
    progress.second_count = 0; /* before the first second is over */
    progress.planned_ns = 0;
    live_frame(&progress, 20, &out);
    /* not on a terminal there is nothing but lines, and only when there is news */
    int fds[2];
    char text[4096];
    struct live live;
    assert_int_equal(pipe(fds), 0);
    live_begin(&live, fds[1], false, 80);
    progress.second_count = result.second_count;
    for (int i = 0; i < 12; i++) {
        progress.at_ns = i * NS_PER_S;
        live_progress(&live, &progress);
    }
    live_end(&live);
    close(fds[1]);
    ssize_t got = read(fds[0], text, sizeof(text) - 1);
    assert_true(got > 0);
    text[got] = '\0';
    int lines = 0;
    for (ssize_t i = 0; i < got; i++) {
        lines += text[i] == '\n';
    }
    assert_int_equal(lines, 3);
    assert_null(strchr(text, '\033'));
    close(fds[0]);
    /* on one the cursor comes back */
    assert_int_equal(pipe(fds), 0);
    live_begin(&live, fds[1], true, 80);
    live_progress(&live, &progress);
    live_progress(&live, &progress);
    live_end(&live);
    close(fds[1]);
    got = read(fds[0], text, sizeof(text) - 1);
    assert_true(got > 0);
    text[got] = '\0';
    assert_non_null(strstr(text, "\033[?25l"));
    assert_string_equal(text + got - 6, "\033[?25h");
    close(fds[0]);
    buf_free(&out);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--metrics") == 0) {
        struct buf table;
        buf_init(&table, 1u << 20);
        bench_metrics_list(&table, true);
        fputs(buf_cstr(&table), stdout);
        buf_free(&table);
        return 0;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_comes_back_the_same, setup, teardown),
        cmocka_unit_test_setup_teardown(test_damaged_folders, setup, teardown),
        cmocka_unit_test_setup_teardown(test_json_is_json, setup, teardown),
        cmocka_unit_test_setup_teardown(test_xml_and_html, setup, teardown),
        cmocka_unit_test_setup_teardown(test_prometheus, setup, teardown),
        cmocka_unit_test_setup_teardown(test_folders, setup, teardown),
        cmocka_unit_test_setup_teardown(test_live, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
