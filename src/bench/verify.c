/* verify.c - one run after the other; a run that was invalid gets a second chance, since the machine may just have been busy. */
#include "bench/verify.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"

#define WHY_SIZE 256

static uint32_t count_needed(const struct claims *claims)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < claims->run_count; i++) {
        count += claims_need_run(claims, i);
    }
    return count;
}

static void free_outcome(struct claim_outcome *outcome)
{
    if (outcome->result != NULL) {
        bench_result_free((struct bench_result *)(uintptr_t)outcome->result);
        free((void *)(uintptr_t)outcome->result);
    }
    if (outcome->scenario != NULL) {
        scenario_free((struct scenario *)(uintptr_t)outcome->scenario);
        free((void *)(uintptr_t)outcome->scenario);
    }
    free((void *)(uintptr_t)outcome->why);
    *outcome = (struct claim_outcome){NULL, NULL, NULL};
}

void verification_free(struct verification *verification)
{
    for (uint32_t i = 0; verification->outcomes != NULL && i < verification->claims.run_count; i++) {
        free_outcome(&verification->outcomes[i]);
    }
    free(verification->outcomes);
    claims_free(&verification->claims);
    verification->outcomes = NULL;
}

static struct scenario *read_scenario(const struct claim_run *run, bool is_quick, char *ret_why)
{
    const char *defines[ARRAY_COUNT(run->defines[0]) + 1] = {NULL};
    for (uint32_t i = 0; i < run->define_count; i++) {
        defines[i] = run->defines[is_quick][i];
    }
    struct scenario *scenario = calloc(1, sizeof(*scenario));
    if (scenario == NULL) {
        snprintf(ret_why, WHY_SIZE, "there is no memory for the scenario");
        return NULL;
    }
    if (scenario_parse(claims_scenario(run->scenario), ".", defines, scenario, ret_why, WHY_SIZE) != STATUS_OK) {
        free(scenario);
        return NULL;
    }
    snprintf(scenario->name, sizeof(scenario->name), "%s", run->name);
    return scenario;
}

/* One run; the result, or why there is none. INTERRUPTED is passed on with what there was. */
static enum status run_once(const struct verify_options *options, const struct scenario *scenario,
                            struct claim_outcome *outcome)
{
    char why[WHY_SIZE] = "";
    struct bench_result *result = calloc(1, sizeof(*result));
    if (result == NULL) {
        return STATUS_NO_MEMORY;
    }
    enum status status = bench_run(scenario, &options->run, result, why, sizeof(why));
    if (status != STATUS_OK && status != STATUS_INTERRUPTED) {
        free(result);
        outcome->why = strdup(why);
        return outcome->why != NULL ? STATUS_FAILED : STATUS_NO_MEMORY;
    }
    outcome->result = result;
    if (result->verdict == BENCH_INVALID || status == STATUS_INTERRUPTED) {
        snprintf(why, sizeof(why), "%s%.200s",
                 status == STATUS_INTERRUPTED ? "it was interrupted" : "the run is invalid: ",
                 status == STATUS_INTERRUPTED ? "" : result->invalid_why);
        outcome->why = strdup(why);
    }
    return status;
}

static enum status run_one(const struct verify_options *options, const struct claim_run *run, uint32_t index,
                           uint32_t count, struct claim_outcome *outcome)
{
    char why[WHY_SIZE] = "";
    struct scenario *scenario = read_scenario(run, options->is_quick, why);
    struct verify_step step = {.run = run, .index = index, .count = count, .scenario = scenario};
    options->on_begin(options->ctx, &step);
    enum status status = STATUS_OK;
    outcome->scenario = scenario;
    if (scenario == NULL) {
        outcome->why = strdup(why);
        status = outcome->why != NULL ? STATUS_OK : STATUS_NO_MEMORY;
    } else {
        status = run_once(options, scenario, outcome);
        if (status == STATUS_FAILED || (status == STATUS_OK && outcome->why != NULL)) {
            outcome->scenario = NULL; /* not to be freed with the first result */
            free_outcome(outcome);
            outcome->scenario = scenario;
            step.is_again = true;
            options->on_begin(options->ctx, &step);
            status = run_once(options, scenario, outcome);
        }
    }
    step.result = outcome->result;
    step.why = outcome->why;
    options->on_end(options->ctx, &step);
    return status == STATUS_INTERRUPTED || status == STATUS_NO_MEMORY ? status : STATUS_OK;
}

enum status verify(const struct verify_options *options, struct verification *ret_verification, char *ret_why,
                   size_t why_size)
{
    struct slice table, map;
    struct verification *verification = ret_verification;
    *verification = (struct verification){.outcomes = NULL};
    claims_default(&table, &map);
    enum status status = claims_read(table, map, &verification->claims, ret_why, why_size);
    if (status != STATUS_OK) {
        return status;
    }
    struct claims *claims = &verification->claims;
    verification->outcomes = calloc((size_t)claims->run_count + 1, sizeof(*verification->outcomes));
    if (verification->outcomes == NULL) {
        status = STATUS_NO_MEMORY;
    } else if (options->only != NULL && !claims_choose(claims, options->only)) {
        status = STATUS_INVALID;
    }
    uint32_t count = count_needed(claims), index = 0;
    for (uint32_t i = 0; status == STATUS_OK && i < claims->run_count; i++) {
        if (claims_need_run(claims, i)) {
            status = run_one(options, &claims->runs[i], index++, count, &verification->outcomes[i]);
        }
    }
    if (status != STATUS_OK && status != STATUS_INTERRUPTED) {
        snprintf(ret_why, why_size, "%s",
                 status == STATUS_INVALID ? "no claim has such an id; `shoal bench claims` lists them"
                                          : "there is no memory left");
        verification_free(verification);
        return status;
    }
    claims_judge(claims, verification->outcomes);
    return status;
}
