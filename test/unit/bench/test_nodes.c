/* Whole runs against a real hub: submits, tasks from end to end, simulated nodes, WebSocket steps, a hub that dies. SHOAL names the
 * program. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "bench/engine.h"

struct run {
    struct scenario *scenario;
    struct bench_result result;
    enum status status;
    char why[512], scratch[64];
};

static void run_text(struct run *run, const char *text)
{
    run->scenario = calloc(1, sizeof(*run->scenario));
    assert_non_null(run->scenario);
    snprintf(run->scratch, sizeof(run->scratch), "/tmp/test_nodes.XXXXXX");
    assert_non_null(mkdtemp(run->scratch));
    if (scenario_parse(slice_str(text), NULL, NULL, run->scenario, run->why, sizeof(run->why)) != STATUS_OK) {
        fail_msg("%s\n%s", run->why, text);
    }
    struct bench_options options = {.program = getenv("SHOAL"), .scratch = run->scratch, .time_scale = 1};
    run->status = bench_run(run->scenario, &options, &run->result, run->why, sizeof(run->why));
    const struct bench_result *result = &run->result;
    for (uint32_t i = 0; i < result->series_count; i++) {
        const struct bench_counts *counts = &result->series[i].counts;
        printf("%s/%s: %llu scheduled, %llu ok, %llu failed, %llu timed out, %llu items, p50 %.2f ms, p99 %.2f ms\n",
               result->series[i].phase, result->series[i].step, (unsigned long long)counts->scheduled,
               (unsigned long long)counts->ok, (unsigned long long)counts->failed,
               (unsigned long long)counts->timed_out, (unsigned long long)result->series[i].items,
               (double)histogram_percentile(result->series[i].latency, 50) / 1e6,
               (double)histogram_percentile(result->series[i].latency, 99) / 1e6);
        assert_int_equal(counts->scheduled, counts->ok + counts->failed + counts->timed_out + counts->shed);
        assert_int_equal(counts->in_flight, 0);
    }
}

static void run_end(struct run *run)
{
    char command[128];
    bench_result_free(&run->result);
    scenario_free(run->scenario);
    free(run->scenario);
    snprintf(command, sizeof(command), "rm -rf '%s'", run->scratch);
    assert_int_equal(system(command), 0);
}

static void every_task_is_done_once(void **state)
{
    (void)state;
    struct run run;
    run_text(&run,
             "start hub\n"
             "kind quick share 3 work 1ms..20ms fail 10% attempts 20 backoff 10ms input 10..200\n"
             "kind slow share 1 work 700ms..1500ms lease 1s result 100..1k\n" /* longer than its lease: extended */
             "queue default keys 3\nqueue other priority 2..7\n"
             "nodes 30 slots 5\nnodes 10 slots 2 kinds quick\n"
             "flow one share 4\n  submit as one\n"
             "flow many\n  submit 20 as many\n"
             "flow whole share 2\n  task as whole\n"
             "phase open constant 70/s for 2s flow one,many\n"
             "phase closed users 5 for 2s flow whole after start\n");
    assert_int_equal(run.status, STATUS_OK);
    const struct bench_result *result = &run.result;
    assert_int_equal(result->sessions, 40);
    assert_int_equal(result->sessions_failed + result->sessions_lost, 0);
    assert_int_equal(result->lost_tasks, 0);
    assert_int_equal(result->doubled_tasks, 0);
    const struct bench_series *one = bench_result_series(result, "open", "one");
    const struct bench_series *many = bench_result_series(result, "open", "many");
    const struct bench_series *whole = bench_result_series(result, "closed", "whole");
    assert_int_equal(one->counts.ok + many->counts.ok, 140);
    assert_int_equal(many->items, 20 * many->counts.ok);
    assert_int_equal(one->items, one->counts.ok);
    assert_true(whole->counts.ok >= 5);
    assert_int_equal(whole->counts.failed, 0);
    uint64_t tasks = one->items + many->items + whole->items;
    assert_int_equal(histogram_count(result->assign), tasks);
    assert_int_equal(histogram_count(result->complete), tasks);
    assert_int_equal(histogram_count(result->session_open), 40);
    assert_int_equal(histogram_count(bench_result_series(result, "closed", "")->assign), whole->items);
    assert_true(histogram_percentile(result->complete, 99) >
                600 * NS_PER_MS); /* the slow ones really took their time */
    assert_true(result->evenness_percent > 10);
    run_end(&run);
}

static void a_hub_that_dies_loses_nothing(void **state)
{
    (void)state;
    struct run run;
    run_text(&run, "start hub\n"
                   "kind quick work 5ms..50ms\n"
                   "queue default\n"
                   "nodes 40 slots 4\n"
                   "flow one\n  submit as one\n"
                   "phase p constant 200/s for 6s\n"
                   "fault kill hub at 2s for 500ms as death\n");
    assert_int_equal(run.status, STATUS_OK);
    const struct bench_result *result = &run.result;
    const struct bench_counts *counts = &result->series[0].counts;
    assert_true(counts->failed > 20); /* the time without a hub */
    assert_true(counts->ok > 250);    /* how soon a hub is back depends on the machine */
    /* Nobody there, gone in the middle, or not ready again yet (503). */
    assert_int_equal(counts->errors[BENCH_ERROR_REFUSED] + counts->errors[BENCH_ERROR_RESET] +
                         counts->errors[BENCH_ERROR_STATUS_5XX] + counts->timed_out,
                     counts->failed + counts->timed_out);
    assert_int_equal(result->lost_tasks, 0);
    assert_int_equal(result->doubled_tasks, 0);
    assert_true(result->sessions_lost >= 40);
    bool has_recovered = false;
    for (uint32_t i = 0; i < result->event_count; i++) {
        const struct bench_event *event = &result->events[i];
        if (strcmp(event->fault, "death") == 0) {
            printf("noticed after %.1f ms, recovered after %.1f ms\n", (double)event->detected_ns / 1e6,
                   (double)event->recovered_ns / 1e6);
            has_recovered = event->detected_ns >= 0 && event->recovered_ns >= 400 * NS_PER_MS;
        }
    }
    assert_true(has_recovered);
    run_end(&run);
}

static void users_speak_websocket(void **state)
{
    (void)state;
    struct run run;
    run_text(
        &run,
        "start hub\n"
        "flow node\n"
        "  ws-open /v1/work protocol shoal.work.v1 as open\n"
        "  ws-send '{\"type\":\"hello\",\"node\":\"n${user}-${index}\",\"instance\":\"${index}\",\"kinds\":[\"k\"],"
        "\"labels\":[],\"cpu_milli\":0,\"memory_mib\":0,\"gpu\":0,\"credit\":0,\"held\":[],\"info\":{}}' "
        "expect welcome as hello\n"
        "  ws-send '{\"type\":\"beat\"}' expect beat as beat times 3\n"
        "  ws-send '{\"type\":\"leave\"}' as leave\n"
        "  ws-close\n"
        "flow wrong\n"
        "  ws-open /v1/nothing as nothing\n"
        "flow silent\n"
        "  ws-open /v1/work protocol shoal.work.v1 as open\n"
        "  ws-send '{\"type\":\"no-such-message\"}' expect welcome as silence timeout 500ms\n"
        "phase p users 4 for 5s iterations 20 flow node\n"
        "phase q users 1 for 5s iterations 3 flow wrong\n"
        "phase r constant 5/s for 400ms flow silent\n");
    assert_int_equal(run.status, STATUS_OK);
    const struct bench_result *result = &run.result;
    assert_int_equal(bench_result_series(result, "p", "open")->counts.ok, 20);
    assert_int_equal(bench_result_series(result, "p", "hello")->counts.ok, 20);
    assert_int_equal(bench_result_series(result, "p", "beat")->counts.ok, 60);
    assert_int_equal(bench_result_series(result, "p", "ws-close")->counts.ok, 20);
    const struct bench_counts *nothing = &bench_result_series(result, "q", "nothing")->counts;
    assert_int_equal(nothing->errors[BENCH_ERROR_STATUS_4XX], 3);
    const struct bench_counts *silence = &bench_result_series(result, "r", "silence")->counts;
    assert_int_equal(silence->ok, 0);
    assert_int_equal(silence->scheduled, 2);
    run_end(&run);
}

static void more_sessions_than_descriptors_are_a_sentence(void **state)
{
    (void)state;
    struct rlimit before, low = {.rlim_cur = 300, .rlim_max = 300};
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    pid_t child = fork(); /* a limit that was lowered can only be raised again by root */
    if (child == 0) {
        struct run run;
        (void)setrlimit(RLIMIT_NOFILE, &low);
        run_text(&run, "target http://127.0.0.1:9\nkind k\nqueue default\nnodes 1000 slots 1\nflow f\n  submit\n"
                       "phase p users 1 for 1s\n");
        bool is_right = run.status == STATUS_UNSUPPORTED_HOST && strstr(run.why, "300 descriptors") != NULL;
        printf("%s\n", run.why);
        run_end(&run);
        _exit(is_right ? 0 : 1);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void a_hub_that_is_not_there_is_a_sentence(void **state)
{
    (void)state;
    struct run run;
    run_text(&run, "target http://127.0.0.1:9\nkind k\nqueue default\nnodes 2 slots 1\nflow f\n  submit\n"
                   "phase p users 1 for 1s\n");
    assert_int_equal(run.status, STATUS_UNREACHABLE);
    assert_non_null(strstr(run.why, "127.0.0.1:9"));
    run_end(&run);
}

int main(void)
{
    if (getenv("SHOAL") == NULL) {
        fprintf(stderr, "SHOAL must name the program\n");
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_task_is_done_once),
        cmocka_unit_test(a_hub_that_dies_loses_nothing),
        cmocka_unit_test(users_speak_websocket),
        cmocka_unit_test(more_sessions_than_descriptors_are_a_sentence),
        cmocka_unit_test(a_hub_that_is_not_there_is_a_sentence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
