/* test_engine.c - the engine against servers whose behaviour is known: what it measures is what was done to it.
 *
 * Time on a shared machine is noisy, so the truth is held in two forms: what the server was told to take, and what it really took by
 * its own clock. Where the two differ by more than half of what is allowed, the machine was too busy for a statement, and
 * the comparison is made with the latter. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "bench/engine.h"
#include "truth_server.h"

#define TOLERANCE 0.01

struct run {
    struct scenario *scenario;
    struct bench_result result;
    enum status status;
    char why[512];
};

static void run_text(struct run *run, const char *text)
{
    run->scenario = calloc(1, sizeof(*run->scenario));
    assert_non_null(run->scenario);
    if (scenario_parse(slice_str(text), NULL, NULL, run->scenario, run->why, sizeof(run->why)) != STATUS_OK) {
        fail_msg("%s\n%s", run->why, text);
    }
    struct bench_options options = {.program = "shoal", .scratch = "/tmp", .time_scale = 1};
    run->status = bench_run(run->scenario, &options, &run->result, run->why, sizeof(run->why));
}

static void run_end(struct run *run)
{
    bench_result_free(&run->result);
    scenario_free(run->scenario);
    free(run->scenario);
}

/* Whatever happened, each request is accounted for. */
static void assert_conserved(const struct bench_result *result, uint64_t in_flight)
{
    for (uint32_t i = 0; i < result->series_count; i++) {
        const struct bench_counts *counts = &result->series[i].counts;
        uint64_t errors = 0;
        for (int error = 0; error < BENCH_ERROR_COUNT; error++) {
            errors += counts->errors[error];
        }
        assert_int_equal(counts->scheduled,
                         counts->ok + counts->failed + counts->timed_out + counts->shed + counts->in_flight);
        assert_int_equal(errors, counts->failed + counts->timed_out);
        assert_int_equal(counts->errors[BENCH_ERROR_TIMED_OUT], counts->timed_out);
        assert_true(counts->in_flight <= in_flight);
    }
    uint64_t scheduled = 0;
    for (uint32_t i = 0; i < result->second_count; i++) {
        scheduled += result->seconds[i].counts.scheduled;
    }
    assert_int_equal(scheduled, result->series[0].counts.scheduled);
    assert_null(strstr(result->invalid_why, "accounted"));
}

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* The smallest value that `percent` of them do not exceed. */
static double truth_percentile(int64_t *values, size_t count, double percent)
{
    qsort(values, count, sizeof(*values), compare);
    size_t rank = (size_t)ceil(percent / 100 * (double)count);
    return (double)values[rank > 0 ? rank - 1 : 0];
}

/* --- programmed latencies --- */

/* 70 % take 100 ms, 25 % 300 ms, 4.5 % 1 s and 0.5 % 2 s: p50, p90, p99 and p99.9 lie in the middle of one each. The tail is a Pareto
 * distribution with exponent 3 from 200 ms on, cut at its 99.95th percentile. */
static int64_t programmed(char kind, uint64_t index)
{
    uint64_t at = index * 7919 % 1000; /* 7919 is prime, so 1000 indices in a row have 1000 places */
    if (kind == 'm') {
        return at < 700 ? 100 * NS_PER_MS : at < 950 ? 300 * NS_PER_MS : at < 995 ? 1000 * NS_PER_MS : 2000 * NS_PER_MS;
    }
    return (int64_t)(200e6 / cbrt(1 - ((double)at + 0.5) / 1000));
}

/* What was really done to each request of a kind: from its intended time (by the server's clock) to the moment it was answered. The
 * run's beginning is taken from the request that arrived soonest after its time. */
static size_t real_latencies(const struct truth_record *records, uint64_t count, double rate, char kind,
                             int64_t *ret_latencies)
{
    int64_t begin_ns = INT64_MAX;
    size_t len = 0;
    for (uint64_t i = 0; i < count; i++) {
        int64_t early_ns = records[i].received_ns - (int64_t)((double)i * 1e9 / rate);
        begin_ns = early_ns < begin_ns ? early_ns : begin_ns;
    }
    for (uint64_t i = 0; i < count; i++) {
        if (records[i].kind == kind) {
            ret_latencies[len++] = records[i].sent_ns - begin_ns - (int64_t)((double)i * 1e9 / rate);
        }
    }
    return len;
}

/* How far a measured value is off, as a share. Where the machine itself kept things from being as they were planned, it is held against what
 * was really done. */
static double error_of(const char *what, double percent, double planned, double real, double measured)
{
    double truth = fabs(real - planned) / planned > TOLERANCE / 2 ? real : planned;
    printf("%s p%g: planned %.3f ms, really %.3f ms, measured %.3f ms (%+.2f %%)\n", what, percent, planned / 1e6,
           real / 1e6, measured / 1e6, 100 * (measured - truth) / truth);
    return fabs(measured - truth) / truth;
}

#define RATE 800.0

/* Holds the percentiles of one step against the truth. */
static unsigned compare_step(const struct bench_result *result, const char *step, char kind,
                             const struct truth_record *records, uint64_t count)
{
    static const double percents[] = {50, 90, 99, 99.9};
    const struct bench_series *series = bench_result_series(result, "p", step);
    int64_t *planned = malloc(count * sizeof(*planned));
    int64_t *real = malloc(count * sizeof(*real));
    int64_t *served = malloc(count * sizeof(*served));
    size_t len = 0;
    unsigned wrong = 0;
    assert_non_null(series);
    for (uint64_t i = 0; i < count; i++) {
        if (records[i].kind == kind) {
            assert_true(records[i].sent_ns != 0);
            planned[len] = records[i].delay_ns;
            served[len++] = records[i].sent_ns - records[i].received_ns;
        }
    }
    assert_int_equal(len, series->counts.ok);
    assert_int_equal(len, real_latencies(records, count, RATE, kind, real));
    assert_int_equal(histogram_count(series->latency), len);
    for (size_t i = 0; i < ARRAY_COUNT(percents); i++) {
        double told = truth_percentile(planned, len, percents[i]);
        wrong += error_of(step, percents[i], told, truth_percentile(real, len, percents[i]),
                          (double)histogram_percentile(series->latency, percents[i])) > TOLERANCE;
        wrong += error_of("service time", percents[i], told, truth_percentile(served, len, percents[i]),
                          (double)histogram_percentile(series->service, percents[i])) > TOLERANCE;
    }
    free(planned);
    free(real);
    free(served);
    return wrong;
}

static void percentiles_are_right_to_one_percent(void **state)
{
    (void)state;
    unsigned wrong = 1;
    for (int attempt = 0; attempt < 3 && wrong > 0; attempt++) {
        uint16_t port;
        struct truth_config config = {.delay_ns = programmed};
        struct truth_server *server = truth_server_start(&config, &port);
        char text[512];
        snprintf(text, sizeof(text),
                 "target http://127.0.0.1:%u timeout 20s\n"
                 "flow modes\n  get /m/${index} as modes\n"
                 "flow tail\n  get /t/${index} as tail\n"
                 "phase p constant %g/s for 7s flow modes,tail\n",
                 port, RATE);
        struct run run;
        run_text(&run, text);
        assert_int_equal(run.status, STATUS_OK);
        assert_int_equal(run.result.series[0].counts.ok, 5600);
        assert_conserved(&run.result, 0);
        uint64_t count;
        int64_t stall_ns;
        const struct truth_record *records = truth_server_stop(server, &count, &stall_ns);
        assert_int_equal(count, 5600);
        wrong = compare_step(&run.result, "modes", 'm', records, count) +
                compare_step(&run.result, "tail", 't', records, count);
        truth_server_free(server);
        run_end(&run);
    }
    assert_int_equal(wrong, 0);
}

/* --- a stall: what coordinated omission would hide --- */

#define STALL_RATE 400
#define STALL_SECONDS 6
#define STALL_CONNECTIONS 100
#define STALL_DELAY_NS (20 * NS_PER_MS)
#define STALL_AT_NS (2 * NS_PER_S)
#define STALL_FOR_NS (2 * NS_PER_S)

static int64_t twenty_ms(char kind, uint64_t index)
{
    (void)kind;
    (void)index;
    return STALL_DELAY_NS;
}

/* What an ideal client sees of an ideal server: requests wait for a connection in the order of their times, and the server does
 * nothing at all between the beginning and the end of the stall. */
static void compute_stalled(int64_t *ret_latencies, size_t count)
{
    int64_t free_at[STALL_CONNECTIONS] = {0};
    for (size_t i = 0; i < count; i++) {
        int64_t at_ns = (int64_t)((double)i * 1e9 / STALL_RATE);
        size_t first = 0;
        for (size_t c = 1; c < STALL_CONNECTIONS; c++) {
            first = free_at[c] < free_at[first] ? c : first;
        }
        int64_t begin_ns = at_ns > free_at[first] ? at_ns : free_at[first];
        int64_t received_ns = begin_ns;
        if (received_ns >= STALL_AT_NS && received_ns < STALL_AT_NS + STALL_FOR_NS) {
            received_ns = STALL_AT_NS + STALL_FOR_NS;
        }
        int64_t end_ns = received_ns + STALL_DELAY_NS;
        if (end_ns >= STALL_AT_NS && end_ns < STALL_AT_NS + STALL_FOR_NS) {
            end_ns = STALL_AT_NS + STALL_FOR_NS;
        }
        free_at[first] = end_ns;
        ret_latencies[i] = end_ns - at_ns;
    }
}

static void a_stall_is_in_the_latency_and_not_in_the_service_time(void **state)
{
    (void)state;
    static int64_t latencies[STALL_RATE * STALL_SECONDS];
    static const double percents[] = {75, 90, 99, 99.9};
    compute_stalled(latencies, ARRAY_COUNT(latencies));
    unsigned wrong = 1;
    for (int attempt = 0; attempt < 3 && wrong > 0; attempt++) {
        uint16_t port;
        struct truth_config config = {.delay_ns = twenty_ms, .stall_at_ns = STALL_AT_NS, .stall_for_ns = STALL_FOR_NS};
        struct truth_server *server = truth_server_start(&config, &port);
        char text[512];
        snprintf(text, sizeof(text),
                 "target http://127.0.0.1:%u connections %d timeout 20s\n"
                 "flow f\n  get /s/${index} as stalled\n"
                 "phase p constant %d/s for %ds\n",
                 port, STALL_CONNECTIONS, STALL_RATE, STALL_SECONDS);
        struct run run;
        run_text(&run, text);
        assert_int_equal(run.status, STATUS_OK);
        assert_conserved(&run.result, 0);
        const struct bench_series *series = bench_result_series(&run.result, "p", "stalled");
        assert_non_null(series);
        assert_int_equal(series->counts.ok, STALL_RATE * STALL_SECONDS);
        uint64_t count;
        int64_t stall_ns;
        const struct truth_record *records = truth_server_stop(server, &count, &stall_ns);
        static int64_t real[STALL_RATE * STALL_SECONDS];
        assert_int_equal(real_latencies(records, count, STALL_RATE, 's', real), ARRAY_COUNT(real));
        wrong = 0;
        for (size_t i = 0; i < ARRAY_COUNT(percents); i++) {
            wrong += error_of("stall", percents[i], truth_percentile(latencies, ARRAY_COUNT(latencies), percents[i]),
                              truth_percentile(real, ARRAY_COUNT(real), percents[i]),
                              (double)histogram_percentile(series->latency, percents[i])) > TOLERANCE;
        }
        /* Only one request on each connection saw the stall itself; a closed measurement would report nothing else. */
        double share_slow = 1 - histogram_share_within(series->service, 200 * NS_PER_MS);
        printf("stall: %.1f %% of the service times are above 200 ms, %.1f %% of the latencies\n", 100 * share_slow,
               100 * (1 - histogram_share_within(series->latency, 200 * NS_PER_MS)));
        wrong +=
            share_slow > (double)STALL_CONNECTIONS / (STALL_RATE * STALL_SECONDS) + 0.005; /* we were stalled too */
        assert_true(histogram_share_within(series->latency, 200 * NS_PER_MS) < 0.75);
        truth_server_free(server);
        run_end(&run);
    }
    assert_int_equal(wrong, 0);
}

/* --- targets that misbehave --- */

struct misbehaviour {
    const char *name;
    enum truth_manner manner;
    enum bench_error error; /* of all requests; BENCH_ERROR_COUNT: they go well */
};

static const struct misbehaviour misbehaviours[] = {
    {"chunked", TRUTH_CHUNKED, BENCH_ERROR_COUNT},       {"interim", TRUTH_INTERIM, BENCH_ERROR_COUNT},
    {"split", TRUTH_SPLIT, BENCH_ERROR_COUNT},           {"until end", TRUTH_UNTIL_END, BENCH_ERROR_COUNT},
    {"says close", TRUTH_SAYS_CLOSE, BENCH_ERROR_COUNT}, {"just closes", TRUTH_JUST_CLOSES, BENCH_ERROR_COUNT},
    {"varies", TRUTH_VARIES, BENCH_ERROR_COUNT},         {"talks on", TRUTH_TALKS_ON, BENCH_ERROR_COUNT},
    {"resets", TRUTH_RESETS, BENCH_ERROR_RESET},         {"ends", TRUTH_ENDS, BENCH_ERROR_RESET},
    {"hangs up", TRUTH_HANGS_UP, BENCH_ERROR_RESET},     {"stalls", TRUTH_STALLS, BENCH_ERROR_TIMED_OUT},
    {"garbage", TRUTH_GARBAGE, BENCH_ERROR_NONSENSE},    {"huge head", TRUTH_HUGE_HEAD, BENCH_ERROR_TOO_LARGE},
    {"fails", TRUTH_FAILS, BENCH_ERROR_STATUS_5XX},
};

static void misbehave(const struct misbehaviour *how, const char *phase)
{
    uint16_t port;
    struct truth_config config = {.manner = how->manner};
    struct truth_server *server = truth_server_start(&config, &port);
    char text[512];
    snprintf(text, sizeof(text),
             "target http://127.0.0.1:%u timeout 300ms\nflow f\n  get /x/${index} as x\nphase p %s\n", port, phase);
    struct run run;
    run_text(&run, text);
    const struct bench_counts *counts = &run.result.series[0].counts;
    uint64_t expected = how->error == BENCH_ERROR_COUNT ? counts->ok : counts->errors[how->error];
    uint64_t done = counts->ok + counts->failed + counts->timed_out;
    /* On a busy machine an answer may really come too late. */
    bool is_right = expected > 0 && expected + counts->timed_out >= done && expected * 10 >= done * 9;
    if (run.status != STATUS_OK || !is_right || counts->in_flight != 0) {
        for (int error = 0; error < BENCH_ERROR_COUNT; error++) {
            printf("%s: %s %llu\n", how->name, bench_error_name((enum bench_error)error),
                   (unsigned long long)counts->errors[error]);
        }
        fail_msg("%s, %s: status %d, ok %llu of %llu", how->name, phase, run.status, (unsigned long long)counts->ok,
                 (unsigned long long)counts->scheduled);
    }
    assert_conserved(&run.result, 0);
    run_end(&run);
    uint64_t count;
    int64_t stall_ns;
    (void)truth_server_stop(server, &count, &stall_ns);
    truth_server_free(server);
}

static void bad_targets_are_counted_and_classified(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(misbehaviours); i++) {
        misbehave(&misbehaviours[i], "users 4 for 400ms");
        misbehave(&misbehaviours[i], "constant 100/s for 400ms");
    }
}

static uint16_t closed_port(void)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    close(fd);
    return ntohs(address.sin_port);
}

static void nobody_listens(void **state)
{
    (void)state;
    char text[256];
    struct run run;
    snprintf(text, sizeof(text), "target http://127.0.0.1:%u\nflow f\n  get /\nphase p users 5 for 500ms\n",
             closed_port());
    run_text(&run, text);
    assert_int_equal(run.status, STATUS_OK);
    const struct bench_counts *counts = &run.result.series[0].counts;
    assert_true(counts->scheduled > 5);
    assert_true(counts->scheduled < 200); /* users pause; nobody counts a million refusals */
    assert_int_equal(counts->errors[BENCH_ERROR_REFUSED], counts->failed);
    assert_int_equal(counts->failed, counts->scheduled);
    assert_conserved(&run.result, 0);
    run_end(&run);
}

static void a_name_that_is_unknown_is_a_sentence(void **state)
{
    (void)state;
    struct run run;
    run_text(&run, "target http://no-such-host.invalid\nflow f\n  get /\nphase p users 1 for 100ms\n");
    assert_int_equal(run.status, STATUS_UNREACHABLE);
    assert_non_null(strstr(run.why, "no-such-host.invalid"));
    run_end(&run);
}

/* --- what a run is made of --- */

static struct truth_server *start_plain(uint16_t *ret_port)
{
    struct truth_config config = {.manner = TRUTH_ANSWERS};
    struct truth_server *server = truth_server_start(&config, ret_port);
    assert_non_null(server);
    return server;
}

static void stop_plain(struct truth_server *server)
{
    uint64_t count;
    int64_t stall_ns;
    (void)truth_server_stop(server, &count, &stall_ns);
    truth_server_free(server);
}

static void phases_follow_their_graph(void **state)
{
    (void)state;
    uint16_t port;
    struct truth_server *server = start_plain(&port);
    char text[1024];
    snprintf(text, sizeof(text),
             "target http://127.0.0.1:%u\n"
             "flow f\n  get /a/${index} as a match ok\n"
             "flow g\n  get /b/1 as b expect 404\n"
             "phase warm constant 50/s for 300ms flow f discard\n"
             "phase one ramp 50/s..150/s for 400ms flow f\n"
             "phase two users 2 for 200ms pacing 20ms flow g after warm delay 100ms\n"
             "phase three burst 10 every 50ms times 3 for 200ms flow f after one,two\n",
             port);
    struct run run;
    run_text(&run, text);
    assert_int_equal(run.status, STATUS_OK);
    const struct bench_result *result = &run.result;
    const struct bench_series *warm = bench_result_series(result, "warm", "");
    const struct bench_series *one = bench_result_series(result, "one", "");
    const struct bench_series *two = bench_result_series(result, "two", "b");
    const struct bench_series *three = bench_result_series(result, "three", "a");
    assert_int_equal(warm->counts.ok, 15);
    assert_int_equal(one->counts.ok, 40);
    assert_int_equal(three->counts.ok, 30);
    assert_true(two->counts.scheduled >= 10 && two->counts.scheduled <= 22);
    assert_int_equal(two->counts.errors[BENCH_ERROR_STATUS_OTHER], two->counts.failed);
    assert_int_equal(two->counts.failed, two->counts.scheduled);
    /* Phases with other rates and models use the connections that are there. */
    assert_true(result->series[0].counts.connects <= result->connections_max);
    /* What is discarded belongs to no total. */
    assert_int_equal(result->series[0].counts.scheduled, 70 + two->counts.scheduled);
    assert_true(llabs(one->begin_ns - warm->end_ns) < 100 * NS_PER_MS);
    assert_true(llabs(two->begin_ns - warm->end_ns - 100 * NS_PER_MS) < 100 * NS_PER_MS);
    assert_true(three->begin_ns >= one->end_ns && three->begin_ns >= two->end_ns);
    run_end(&run);
    stop_plain(server);
}

static int64_t always_50ms(char kind, uint64_t index)
{
    (void)kind;
    (void)index;
    return 50 * NS_PER_MS;
}

/* Forty at once over two connections wait a second for the target, not for the generator. */
static void waiting_for_a_connection_is_no_lag(void **state)
{
    (void)state;
    uint16_t port;
    struct truth_config config = {.manner = TRUTH_ANSWERS, .delay_ns = always_50ms};
    struct truth_server *server = truth_server_start(&config, &port);
    char text[256];
    snprintf(text, sizeof(text),
             "target http://127.0.0.1:%u connections 2\nflow f\n  get /a/${index} as a\n"
             "phase p burst 40 every 2s times 1 for 2s flow f\n",
             port);
    struct run run;
    run_text(&run, text);
    assert_int_equal(run.status, STATUS_OK);
    assert_int_equal(run.result.series[0].counts.ok, 40);
    assert_true(histogram_percentile(run.result.series[0].latency, 99) >= 900 * NS_PER_MS);
    assert_true(histogram_percentile(run.result.lag, 99) < 500 * NS_PER_MS);
    assert_int_equal(histogram_count(run.result.lag), 40);
    run_end(&run);
    stop_plain(server);
}

static void values_go_from_answers_and_feeds_into_requests(void **state)
{
    (void)state;
    uint16_t port;
    struct truth_config config = {.manner = TRUTH_ANSWERS};
    struct truth_server *server = truth_server_start(&config, &port);
    char text[1024];
    snprintf(text, sizeof(text),
             "target http://127.0.0.1:%u\n"
             "feed n range 10..29 once\n"
             "flow f\n"
             "  get /${n} take word=/status as first expect 200\n" /* /10: no kind, index 0 */
             "  get /w/${n}?say=${word} as second\n"
             "  head /h/${n} as third\n"
             "  post /p/${n} header \"X-Word: ${word}\" body '{\"n\":${n}}' as fourth\n"
             "  get /${n} take none=/nothing as fifth\n"
             "  get /never as sixth\n"
             "phase p users 2 for 5s iterations 40\n",
             port);
    struct run run;
    run_text(&run, text);
    assert_int_equal(run.status, STATUS_OK);
    assert_int_equal(bench_result_series(&run.result, "p", "first")->counts.ok, 20); /* the feed gives 20 rows, once */
    assert_int_equal(bench_result_series(&run.result, "p", "second")->counts.ok, 20);
    assert_int_equal(bench_result_series(&run.result, "p", "fourth")->counts.ok, 20);
    const struct bench_counts *fifth = &bench_result_series(&run.result, "p", "fifth")->counts;
    assert_int_equal(fifth->errors[BENCH_ERROR_MISMATCH], 20);
    assert_int_equal(bench_result_series(&run.result, "p", "sixth")->counts.scheduled, 0);
    assert_true(run.result.duration_ns < 4 * NS_PER_S); /* it ends when nothing is left to do */
    run_end(&run);
    uint64_t count;
    int64_t stall_ns;
    const struct truth_record *records = truth_server_stop(server, &count, &stall_ns);
    for (uint64_t i = 10; i < 30; i++) {
        assert_true(records[i].kind == 'p'); /* the last one of each */
    }
    truth_server_free(server);
}

static void arrivals_are_shed_above_a_limit(void **state)
{
    (void)state;
    uint16_t port;
    struct truth_config config = {.manner = TRUTH_STALLS};
    struct truth_server *server = truth_server_start(&config, &port);
    char text[512];
    snprintf(text, sizeof(text),
             "target http://127.0.0.1:%u connections 5 timeout 400ms\nflow f\n  get /a/1 as a\n"
             "phase p constant 200/s for 300ms shed 10\n",
             port);
    struct run run;
    run_text(&run, text);
    const struct bench_counts *counts = &run.result.series[0].counts;
    assert_int_equal(counts->scheduled, 60);
    assert_int_equal(counts->timed_out, 15); /* five are asked, ten are in line */
    assert_int_equal(counts->shed, 45);
    assert_conserved(&run.result, 0);
    run_end(&run);
    stop_plain(server);
}

/* The same seed asks for the same things at the same times. */
static void a_seed_decides_everything(void **state)
{
    (void)state;
    uint64_t first[2] = {0};
    char kinds[3][400];
    memset(kinds, 0, sizeof(kinds));
    for (int i = 0; i < 3; i++) {
        uint16_t port;
        struct truth_config config = {.manner = TRUTH_ANSWERS};
        struct truth_server *server = truth_server_start(&config, &port);
        char text[512];
        snprintf(text, sizeof(text),
                 "seed %d\ntarget http://127.0.0.1:%u\nflow f share 2\n  get /f/${index} as f\n"
                 "flow g\n  get /g/${index} as g\nphase p poisson 300/s for 1s\n",
                 i < 2 ? 7 : 8, port);
        struct run run;
        run_text(&run, text);
        if (i < 2) {
            first[i] = run.result.series[0].counts.scheduled;
        }
        run_end(&run);
        uint64_t count;
        int64_t stall_ns;
        const struct truth_record *records = truth_server_stop(server, &count, &stall_ns);
        for (uint64_t r = 0; r < count && r < sizeof(kinds[i]); r++) {
            kinds[i][r] = records[r].kind;
        }
        truth_server_free(server);
    }
    assert_int_equal(first[0], first[1]);
    assert_memory_equal(kinds[0], kinds[1], sizeof(kinds[0]));
    assert_memory_not_equal(kinds[0], kinds[2], sizeof(kinds[0]));
}

static void interrupt_soon(int number)
{
    (void)number;
    raise(SIGINT);
}

static void an_interrupt_leaves_what_there_was(void **state)
{
    (void)state;
    uint16_t port;
    struct truth_server *server = start_plain(&port);
    char text[256];
    snprintf(text, sizeof(text), "target http://127.0.0.1:%u\nflow f\n  get /a/1\nphase p constant 100/s for 60s\n",
             port);
    signal(SIGALRM, interrupt_soon);
    alarm(1);
    struct run run;
    run_text(&run, text);
    assert_int_equal(run.status, STATUS_INTERRUPTED);
    assert_int_equal(run.result.verdict, BENCH_INTERRUPTED);
    assert_true(run.result.series[0].counts.ok > 20);
    assert_true(run.result.duration_ns < 20 * NS_PER_S);
    assert_conserved(&run.result, 10);
    run_end(&run);
    stop_plain(server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(percentiles_are_right_to_one_percent),
        cmocka_unit_test(a_stall_is_in_the_latency_and_not_in_the_service_time),
        cmocka_unit_test(bad_targets_are_counted_and_classified),
        cmocka_unit_test(nobody_listens),
        cmocka_unit_test(a_name_that_is_unknown_is_a_sentence),
        cmocka_unit_test(phases_follow_their_graph),
        cmocka_unit_test(waiting_for_a_connection_is_no_lag),
        cmocka_unit_test(values_go_from_answers_and_feeds_into_requests),
        cmocka_unit_test(arrivals_are_shed_above_a_limit),
        cmocka_unit_test(a_seed_decides_everything),
        cmocka_unit_test(an_interrupt_leaves_what_there_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
