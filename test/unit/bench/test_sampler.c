/* What Linux tells, from texts as it writes them, and a real sampler on this process and a page of metrics. */
#include <math.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "bench/procfs.h"
#include "bench/sampler.h"
#include "bench/statistics.h"
#include "net/http_server.h"

static void test_process(void **state)
{
    (void)state;
    struct procfs_process process;
    assert_true(procfs_parse_process(
        SLICE(
            "4321 (a (nasty) name) S 1 4321 4321 0 -1 4194560 1234 0 5 0 700 300 11 12 20 0 9 0 123456 987654321 2500 "
            "18446744073709551615 1 1 0 0 0 0 0 4096 17642 0 0 0 17 1 0 0 0 0 0 0 0 0 0 0 0 0 0\n"),
        &process));
    assert_int_equal(process.cpu_ticks, 1000);
    assert_int_equal(process.threads, 9);
    assert_int_equal(process.memory_pages, 2500);
    static const char *const wrong[] = {"", "1", "1 (a", "1 (a) S 1 2 3",
                                        "1 (a) S x x x x x x x x x x x x x x x x x x x x x x x x"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        assert_false(procfs_parse_process(slice_str(wrong[i]), &process));
    }
    uint64_t read, written;
    assert_true(
        procfs_parse_io(SLICE("rchar: 323934931\nwchar: 323929600\nsyscr: 632687\nsyscw: 632675\nread_bytes: 4096\n"
                              "write_bytes: 323932160\ncancelled_write_bytes: 0\n"),
                        &read, &written));
    assert_true(read == 4096 && written == 323932160);
    assert_false(procfs_parse_io(SLICE("rchar: 1\n"), &read, &written));
}

static void test_machine(void **state)
{
    (void)state;
    struct procfs_machine machine = {0};
    assert_true(procfs_parse_cpu(SLICE("cpu  100 10 50 9000 800 1 2 3 40 0\ncpu0 1 1 1 1\n"), &machine));
    assert_int_equal(machine.busy_ticks, 166); /* neither idle, nor waiting, nor guests a second time */
    assert_false(procfs_parse_cpu(SLICE("intr 5\n"), &machine));
    assert_true(
        procfs_parse_memory(SLICE("MemTotal:       1000 kB\nMemFree: 1 kB\nMemAvailable:    400 kB\n"), &machine));
    assert_int_equal(machine.memory_used_bytes, 600 * 1024);
    assert_false(procfs_parse_memory(SLICE("MemTotal: 1000 kB\n"), &machine));
    assert_true(procfs_parse_disks(SLICE("   7       0 loop0 9 9 999 9 9 9 999 9 9 9 9\n"
                                         "   8       0 sda 1 0 10 0 1 0 20 0 0 0 0\n"
                                         "   8       1 sda1 1 0 10 0 1 0 20 0 0 0 0\n"
                                         " 259       0 nvme0n1 1 0 100 0 1 0 200 0 0 0 0\n"
                                         " 259       1 nvme0n1p1 1 0 100 0 1 0 200 0 0 0 0\n"
                                         " 253       0 dm-0 1 0 10 0 1 0 20 0 0 0 0\n"),
                                   &machine));
    assert_int_equal(machine.disk_read_bytes, 110 * 512);
    assert_int_equal(machine.disk_written_bytes, 220 * 512);
    assert_true(procfs_parse_net(
        SLICE("Inter-|   Receive                |  Transmit\n face |bytes packets|bytes\n"
              "    lo: 1000 1 0 0 0 0 0 0 1000 1 0 0 0 0 0 0\n  eth0:500 1 0 0 0 0 0 0 70 1 0 0 0 0 0 0\n"),
        &machine));
    assert_true(machine.net_in_bytes == 1500 && machine.net_out_bytes == 1070);
    assert_false(procfs_parse_net(SLICE(""), &machine));
}

static void test_readings(void **state)
{
    (void)state;
    struct procfs_reading before, after;
    assert_true(procfs_read_process(getpid(), &before));
    assert_true(before.process.threads >= 1 && before.process.memory_pages > 10);
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    assert_true(procfs_read_process(getpid(), &after));
    assert_int_equal(after.descriptors, before.descriptors + 2);
    close(fds[0]);
    close(fds[1]);
    assert_false(procfs_read_process(0x7ffffff0, &after));
}

static void test_line(void **state)
{
    (void)state;
    struct line_fit fit;
    /* Draper and Smith's way, worked by hand: x = 1..5, y = 2 4 5 4 5; slope 0.6, s² = 0.8, Sxx = 10, t(3) = 3.182 */
    const double x[] = {1, 2, 3, 4, 5}, y[] = {2, 4, 5, 4, 5};
    assert_true(statistics_line(x, y, 5, &fit));
    assert_true(fabs(fit.slope - 0.6) < 1e-12 && fabs(fit.intercept - 2.2) < 1e-12 &&
                fabs(fit.r_squared - 0.6) < 1e-12);
    assert_true(fabs(fit.slope_high - 0.6 - 3.182 * sqrt(0.08)) < 1e-9 &&
                fabs(fit.slope_low + fit.slope_high - 1.2) < 1e-12);
    const double same[] = {3, 3, 3};
    assert_false(statistics_line(same, y, 3, &fit));
    assert_false(statistics_line(x, y, 2, &fit));
}

static struct loop loop;
static unsigned asked;

static void on_request(void *ctx, struct http_request *request)
{
    (void)ctx;
    struct buf body;
    buf_init(&body, 4096);
    buf_printf(&body,
               "# HELP tasks what it is\n# TYPE tasks gauge\ntasks{state=\"ready\",why=\"a b\"} %u\nup 1\n"
               "time_bucket{le=\"1\"} 5\nnot a number\nbad NaN\nstamped 3.5e2 1700000000\n",
               10 * ++asked);
    http_answer(request, &(struct http_answer){.status = 200, .content_type = "text/plain", .body = buf_slice(&body)});
    buf_free(&body);
}

static void turn(int for_ms)
{
    int64_t until_ns = clock_mono_ns() + for_ms * NS_PER_MS;
    while (clock_mono_ns() < until_ns) {
        uv_run(&loop.uv, UV_RUN_NOWAIT);
        (void)poll(NULL, 0, 1);
    }
}

static void test_sampler(void **state)
{
    (void)state;
    struct bench_result result;
    struct sampler *sampler;
    struct http_config config;
    struct http_server *server;
    struct http_callbacks callbacks = {.on_request = on_request};
    char url[64];
    bench_result_init(&result);
    assert_int_equal(loop_init(&loop), STATUS_OK);
    http_config_default(&config);
    config.host = "127.0.0.1";
    config.port = 0;
    assert_int_equal(http_server_start(&loop, &config, &callbacks, &server), STATUS_OK);
    snprintf(url, sizeof(url), "http://127.0.0.1:%u", http_server_port(server));
    assert_int_equal(sampler_new(&loop, &result, url, &sampler), STATUS_OK);
    sampler_watch(sampler, "hub", getpid());
    char *kept[4];
    for (uint32_t second = 0; second < 4; second++) {
        int64_t until_ns = clock_cpu_ns() + 30 * NS_PER_MS;
        while (clock_cpu_ns() < until_ns)
            ; /* work to be seen */
        kept[second] = malloc(4u << 20);
        memset(kept[second], 1, 4u << 20);
        sampler_tick(sampler, second);
        turn(30);
    }
    sampler_watch(sampler, "hub", 0); /* it is gone */
    sampler_tick(sampler, 4);
    turn(20);
    sampler_finish(sampler);
    for (int i = 0; i < 4; i++) {
        free(kept[i]);
    }
    double value;
    assert_int_equal(bench_metric(&result, SLICE("cpu.generator"), &value, NULL), STATUS_OK);
    assert_true(value > 5 && value < 400);
    assert_int_equal(bench_metric(&result, SLICE("memory_peak.hub"), &value, NULL), STATUS_OK);
    double end;
    assert_int_equal(bench_metric(&result, SLICE("memory_end.hub"), &end, NULL), STATUS_OK);
    assert_true(value >= 16e6 && end == value);
    assert_int_equal(bench_metric(&result, SLICE("cpu.machine"), &value, NULL), STATUS_OK);
    assert_true(value > 0);
    assert_int_equal(bench_metric(&result, SLICE("scrape.tasks{state=\"ready\",why=\"a b\"}"), &value, NULL),
                     STATUS_OK);
    assert_true(value == 50);
    assert_int_equal(bench_metric(&result, SLICE("scrape_rate.tasks{state=\"ready\",why=\"a b\"}"), &value, NULL),
                     STATUS_OK);
    assert_true(value == 10);
    assert_int_equal(bench_metric(&result, SLICE("scrape.stamped"), &value, NULL), STATUS_OK);
    assert_true(value == 350);
    assert_int_equal(result.scrape_count, 3);
    uint32_t hub_samples = 0;
    for (uint32_t i = 0; i < result.sample_count; i++) {
        hub_samples += strcmp(result.processes[result.samples[i].process].name, "hub") == 0;
    }
    assert_int_equal(hub_samples, 4);
    bench_result_free(&result);
    http_server_close(server, 0);
    loop_stop(&loop);
    loop_run(&loop);
    loop_free(&loop);
}

static void test_leak(void **state)
{
    (void)state;
    struct bench_result result;
    struct sampler *sampler;
    bench_result_init(&result);
    assert_int_equal(loop_init(&loop), STATUS_OK);
    assert_int_equal(sampler_new(&loop, &result, NULL, &sampler), STATUS_OK);
    result.samples = calloc(100, sizeof(*result.samples));
    for (uint32_t i = 0; i < 100; i++) { /* a warm-up, then 1 KiB a second with some noise */
        result.samples[result.sample_count++] = (struct bench_sample){
            .second = i, .process = 0, .memory_bytes = i < 10 ? 1000 : 5000000 + 1024 * i + (i * 7919 % 13)};
    }
    sampler_finish(sampler);
    assert_true(fabs(result.processes[0].leak_bytes_per_hour - 1024 * 3600) < 0.01 * 1024 * 3600);
    assert_true(result.processes[0].leak_low > 0 && result.processes[0].leak_low < 1024 * 3600);
    bench_result_free(&result);
    loop_free(&loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_process), cmocka_unit_test(test_machine), cmocka_unit_test(test_readings),
        cmocka_unit_test(test_line),    cmocka_unit_test(test_sampler), cmocka_unit_test(test_leak),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
