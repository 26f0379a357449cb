/* bench_compare.c - shoal bench compare, history and capacity: what several runs say together.
 *
 * compare A B takes run directories, scenarios or programs. What can still be run is run in turn, A B, B A, A B, …, so that a machine
 * that grows slower meets both alike; each pair gives one ratio, and the ratios an interval. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "bench/capacity.h"
#include "bench/compare.h"
#include "bench/history.h"
#include "cli/bench.h"

#define METRICS_MAX COMPARE_METRICS_MAX

/* --- one run, told of in one line --- */

static void progress(const struct cli *cli, const char *text)
{
    if (!cli_flag(cli, "json") && !cli_flag(cli, "no-live")) {
        cli_say("%s\n", text);
    }
}

/* `program` NULL: this one. OK also for a run that is invalid, which its verdict says. */
static enum status run_once(const struct cli *cli, const struct scenario *scenario, const char *program,
                            double time_scale, struct bench_result *ret_result)
{
    struct bench_place place;
    char why[900] = "";
    enum status status = bench_place_make(cli, &place);
    if (status != STATUS_OK) {
        return status;
    }
    struct bench_options options = {
        .program = program != NULL ? program : place.program, .scratch = place.scratch, .time_scale = time_scale};
    status = bench_run(scenario, &options, ret_result, why, sizeof(why));
    bench_place_remove(&place);
    if (status == STATUS_OK || status == STATUS_INTERRUPTED) {
        return status;
    }
    return cli_fail(cli, status_exit(status) > 2 && status_exit(status) < 5 ? STATUS_FAILED : status, "%s",
                    why[0] != '\0' ? why : status_title(status));
}

/* --- compare --- */

struct side { /* A or B */
    const char *name;
    struct scenario *scenario;
    char program[1024]; /* "": this one */
};

static bool is_run_dir(const char *path)
{
    char file[1100];
    struct stat info;
    snprintf(file, sizeof(file), "%s/run.json", path);
    return stat(file, &info) == 0;
}

static bool is_program(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISREG(info.st_mode) && access(path, X_OK) == 0;
}

/* A program runs the scenario of --scenario; else the word is a scenario itself. */
static enum status side_open(const struct cli *cli, const char *word, const char *option, struct side *ret_side)
{
    const char *file = cli_text(cli, "scenario"), *defines[BENCH_DEFINES_MAX], *own[BENCH_DEFINES_MAX];
    *ret_side = (struct side){.name = word};
    bench_defines(cli, "set", defines);
    bench_defines(cli, option, own);
    size_t count = 0;
    while (defines[count] != NULL) {
        count++;
    }
    for (size_t i = 0; own[i] != NULL; i++) {
        if (count + 1 == BENCH_DEFINES_MAX) {
            return cli_fail(cli, STATUS_USAGE, "at most %d values can be set", BENCH_DEFINES_MAX - 1);
        }
        defines[count++] = own[i];
    }
    defines[count] = NULL;
    if (is_program(word)) {
        if (file == NULL) {
            return cli_fail(cli, STATUS_USAGE, "%s is a program: --scenario FILE says what is run with it", word);
        }
        if (realpath(word, ret_side->program) == NULL) {
            return cli_fail(cli, STATUS_USAGE, "%s: %s", word, strerror(errno));
        }
    } else if (file != NULL) {
        return cli_fail(cli, STATUS_USAGE, "%s is no program that could be run, as --scenario asks for", word);
    }
    return bench_scenario_load(cli, file != NULL ? file : word, defines, &ret_side->scenario);
}

static enum status run_rounds(const struct cli *cli, const struct side sides[2], int64_t rounds,
                              struct compare *compare)
{
    enum status status = STATUS_OK;
    int64_t invalid = 0;
    for (int64_t round = 0; round < rounds && status == STATUS_OK; round++) {
        struct bench_result results[2];
        bool are_valid = true;
        bench_result_init(&results[0]);
        bench_result_init(&results[1]);
        for (int i = 0; i < 2 && status == STATUS_OK; i++) {
            int side = (round + i) % 2; /* A B, B A, A B, … */
            char text[256], p99[40];
            double rate = 0, of_p99 = 0;
            status = run_once(cli, sides[side].scenario, sides[side].program[0] != '\0' ? sides[side].program : NULL,
                              bench_time_scale(cli), &results[side]);
            if (status != STATUS_OK) {
                break;
            }
            are_valid = are_valid && results[side].verdict != BENCH_INVALID;
            if (bench_metric(&results[side], SLICE("goodput"), &rate, NULL) != STATUS_OK ||
                bench_metric(&results[side], SLICE("p99"), &of_p99, NULL) != STATUS_OK) {
                rate = of_p99 = 0;
            }
            bench_value_text(of_p99, "ns", p99, sizeof(p99));
            snprintf(text, sizeof(text), "round %" PRId64 "/%" PRId64 ", %c: %.0f right answers/s, p99 %s%s%.100s",
                     round + 1, rounds, "AB"[side], rate, p99,
                     results[side].verdict == BENCH_INVALID ? "; invalid: " : "",
                     results[side].verdict == BENCH_INVALID ? results[side].invalid_why : "");
            progress(cli, text);
        }
        if (status == STATUS_OK && are_valid) {
            compare_add(compare, &results[0], &results[1]);
        }
        invalid += !are_valid;
        bench_result_free(&results[0]);
        bench_result_free(&results[1]);
    }
    if (status == STATUS_OK && invalid * 3 > rounds) {
        return cli_fail(cli, STATUS_INVALID_RUN,
                        "in %" PRId64 " of %" PRId64 " rounds a run was invalid, which says nothing about A or B",
                        invalid, rounds);
    }
    return status;
}

static enum status compare_dirs(const struct cli *cli, struct compare *compare)
{
    struct bench_result results[2];
    char why[1400] = "";
    enum status status = STATUS_OK;
    bench_result_init(&results[0]);
    bench_result_init(&results[1]);
    for (int i = 0; i < 2 && status == STATUS_OK; i++) {
        status = report_read(cli->args[i + 1], &results[i], why, sizeof(why));
        if (status != STATUS_OK) {
            status = cli_fail(cli, status == STATUS_NOT_FOUND ? STATUS_USAGE : status, "%s", why);
        } else if (results[i].verdict == BENCH_INVALID) {
            status =
                cli_fail(cli, STATUS_INVALID_RUN, "%s is an invalid run: %s", cli->args[i + 1], results[i].invalid_why);
        }
    }
    if (status == STATUS_OK) {
        compare_seconds(compare, &results[0], &results[1]);
    }
    bench_result_free(&results[0]);
    bench_result_free(&results[1]);
    return status;
}

static enum status show_comparison(const struct cli *cli, struct compare *compare, bool is_of_dirs)
{
    struct buf out;
    buf_init(&out, 16u << 20);
    compare_judge(compare, 1);
    if (cli_flag(cli, "json")) {
        compare_write_json(compare, &out);
    } else {
        compare_write_text(compare, &out);
        buf_printf(&out, "B is %s.%s\n", statistics_comparison_name(compare_verdict(compare)),
                   is_of_dirs ? " The pairs are seconds of two runs that were made apart: what changed between them "
                                "besides A and B is not in the interval."
                              : "");
    }
    enum status status = cli_print(buf_slice(&out));
    buf_free(&out);
    return status;
}

enum status bench_verb_compare(struct cli *cli)
{
    struct side sides[2] = {{.name = "A"}, {.name = "B"}};
    struct compare *compare = NULL;
    const char *metrics[METRICS_MAX + 2], *metric;
    char why[200] = "";
    int at = 0, count = 0;
    while (count <= METRICS_MAX && (metric = cli_list_next(cli, "metric", &at)) != NULL) {
        metrics[count++] = metric;
    }
    metrics[count] = NULL;
    enum status status = compare_new(metrics, &compare, why, sizeof(why));
    if (status != STATUS_OK) {
        return cli_fail(cli, status == STATUS_INVALID ? STATUS_USAGE : status, "%s", why);
    }
    bool is_of_dirs = is_run_dir(cli->args[1]) && is_run_dir(cli->args[2]);
    if (is_of_dirs) {
        status = compare_dirs(cli, compare);
    } else {
        status = side_open(cli, cli->args[1], "a-set", &sides[0]);
        if (status == STATUS_OK) {
            status = side_open(cli, cli->args[2], "b-set", &sides[1]);
        }
        if (status == STATUS_OK) {
            status = run_rounds(cli, sides, cli_number(cli, "rounds"), compare);
        }
    }
    if (status == STATUS_OK) {
        status = show_comparison(cli, compare, is_of_dirs);
    }
    bench_scenario_free(sides[0].scenario);
    bench_scenario_free(sides[1].scenario);
    free(compare);
    return status;
}

/* --- history --- */

enum status bench_verb_history(struct cli *cli)
{
    const char *folder = cli->arg_count > 1 ? cli->args[1] : BENCH_RUNS_DIR;
    struct history history;
    struct buf out;
    enum status status = history_read(folder, &history);
    if (status != STATUS_OK) {
        return cli_fail(cli, status == STATUS_NOT_FOUND ? STATUS_USAGE : status, "the folder %s cannot be read",
                        folder);
    }
    buf_init(&out, 64u << 20);
    if (cli_flag(cli, "json")) {
        history_write_json(&history, &out);
    } else {
        history_write_text(&history, &out);
    }
    status = cli_print(buf_slice(&out));
    buf_free(&out);
    history_free(&history);
    return status;
}

/* --- capacity --- */

static enum status capacity_run(void *ctx, const struct scenario *scenario, struct bench_result *ret_result)
{
    return run_once(ctx, scenario, NULL, 1, ret_result);
}

static void capacity_progress(void *ctx, const char *text)
{
    progress(ctx, text);
}

static enum status write_file(const struct cli *cli, const char *dir, const char *name, const struct buf *content)
{
    char path[1200];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    FILE *file = fopen(path, "we");
    bool is_written = file != NULL && fwrite(content->data, 1, content->len, file) == content->len;
    bool is_closed = file != NULL && fclose(file) == 0;
    return is_written && is_closed ? STATUS_OK
                                   : cli_fail(cli, errno == ENOSPC ? STATUS_NO_SPACE : STATUS_IO,
                                              "%s cannot be written: %s", path, strerror(errno));
}

/* capacity.json and capacity.md, into --out or a folder of their own. */
static enum status write_capacity(const struct cli *cli, const struct scenario *scenario, const struct buf *text,
                                  const struct buf *json, char *ret_dir, size_t dir_size)
{
    char why[1400] = "";
    const char *out = cli_text(cli, "out");
    ret_dir[0] = '\0';
    if (cli_flag(cli, "no-report")) {
        return STATUS_OK;
    }
    if (out == NULL) {
        struct bench_result named = {.started_wall_ns = clock_wall_ns()};
        snprintf(named.scenario, sizeof(named.scenario), "%.30s-capacity", scenario->name);
        enum status status = report_make_dir(BENCH_RUNS_DIR, &named, ret_dir, dir_size, why, sizeof(why));
        if (status != STATUS_OK) {
            return cli_fail(cli, status, "%s", why);
        }
    } else if (mkdir(out, 0755) != 0 && errno != EEXIST) {
        return cli_fail(cli, errno == ENOSPC ? STATUS_NO_SPACE : STATUS_IO, "cannot make the folder %s: %s", out,
                        strerror(errno));
    } else {
        snprintf(ret_dir, dir_size, "%s", out);
    }
    enum status status = write_file(cli, ret_dir, "capacity.json", json);
    return status == STATUS_OK ? write_file(cli, ret_dir, "capacity.md", text) : status;
}

enum status bench_verb_capacity(struct cli *cli)
{
    const char *defines[BENCH_DEFINES_MAX];
    struct scenario *scenario = NULL;
    struct capacity *capacity = calloc(1, sizeof(*capacity));
    struct buf text, json;
    char dir[1024];
    double scale = bench_time_scale(cli);
    int64_t point_ns = (int64_t)((double)(cli_number(cli, "point") * NS_PER_MS) * scale);
    point_ns = point_ns < 2 * NS_PER_S ? 2 * NS_PER_S : point_ns; /* of less, a rate says little */
    struct capacity_options options = {.rate_from = (double)cli_number(cli, "from"),
                                       .rate_max = SCHEDULE_RATE_MAX,
                                       .warm_ns = point_ns / 2,
                                       .point_ns = point_ns,
                                       .before_ns = point_ns + NS_PER_S,
                                       .overload_ns = 2 * point_ns,
                                       .after_ns = 4 * point_ns,
                                       .users_max =
                                           cli_is_given(cli, "users") ? (uint32_t)cli_number(cli, "users") : 64,
                                       .run = capacity_run,
                                       .on_progress = capacity_progress,
                                       .ctx = cli};
    if (capacity == NULL) {
        return cli_fail(cli, STATUS_NO_MEMORY, "there is no memory left");
    }
    bench_defines(cli, "set", defines);
    buf_init(&text, 1u << 20);
    buf_init(&json, 1u << 20);
    enum status status = bench_scenario_load(cli, cli->args[1], defines, &scenario);
    if (status == STATUS_OK) {
        status = capacity_search(scenario, &options, capacity);
    }
    if (status == STATUS_OK || (status == STATUS_INTERRUPTED && capacity->point_count > 0)) {
        capacity_write_text(capacity, &text);
        capacity_write_json(capacity, scenario, &json);
        enum status written = write_capacity(cli, scenario, &text, &json, dir, sizeof(dir));
        if (written == STATUS_OK) {
            written = cli_print(buf_slice(cli_flag(cli, "json") ? &json : &text));
        }
        if (written == STATUS_OK && dir[0] != '\0' && !cli_flag(cli, "json")) {
            cli_say("The report is in %s.\n", dir);
        }
        status = status == STATUS_OK ? written : status;
        if (status == STATUS_OK && capacity->sustained <= 0) {
            status = capacity->is_generator_bound ? STATUS_INVALID_RUN : STATUS_GATE_MISSED;
        }
    }
    bench_scenario_free(scenario);
    buf_free(&text);
    buf_free(&json);
    free(capacity);
    return status;
}
