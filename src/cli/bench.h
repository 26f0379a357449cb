/* bench.h - what the verbs of `shoal bench` share. */
#ifndef SHOAL_CLI_BENCH_H
#define SHOAL_CLI_BENCH_H

#include "bench/engine.h"
#include "bench/report.h"
#include "cli/cli.h"

#define BENCH_DEFINES_MAX 64
#define BENCH_RUNS_DIR "bench-runs" /* where reports go without --out */

/* A scratch folder and the program that scenarios start; everything a run needs beside its scenario. */
struct bench_place {
    char scratch[128], program[1024];
};
STATUS_MUST_CHECK enum status bench_place_make(const struct cli *cli, struct bench_place *ret_place);
void bench_place_remove(const struct bench_place *place);

/* The NAME=VALUE of an option that is a list, ended by NULL. */
void bench_defines(const struct cli *cli, const char *option, const char *ret_defines[BENCH_DEFINES_MAX]);
/* Reads a scenario; USAGE after it said where the mistake is. The caller frees it with bench_scenario_free. */
STATUS_MUST_CHECK enum status bench_scenario_load(const struct cli *cli, const char *path, const char *const *defines,
                                                  struct scenario **ret_scenario);
STATUS_MUST_CHECK enum status bench_scenario_parse(const struct cli *cli, const char *name, struct slice text,
                                                   const char *const *defines, struct scenario **ret_scenario);
void bench_scenario_free(struct scenario *scenario);
/* --time-scale, or what --quick means. */
double bench_time_scale(const struct cli *cli);
/* Runs it with the live view that the options ask for. OK and INTERRUPTED fill in the result; anything else has been told of. The
 * result is to be freed in any case. */
STATUS_MUST_CHECK enum status bench_run_shown(const struct cli *cli, const struct scenario *scenario,
                                              struct bench_result *ret_result);
/* GATE_MISSED, INVALID_RUN, INTERRUPTED or OK: what the command ends with. */
enum status bench_status_of(const struct bench_result *result);

/* --- verbs in files of their own --- */
enum status bench_verb_verify(struct cli *cli);
enum status bench_verb_claims(struct cli *cli);

/* bench_compare.c */
enum status bench_verb_compare(struct cli *cli);
enum status bench_verb_history(struct cli *cli);
enum status bench_verb_capacity(struct cli *cli);

#endif
