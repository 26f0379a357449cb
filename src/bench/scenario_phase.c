/* scenario_phase.c - phases: who comes when.
 *
 *   phase NAME MODEL [for D] [flow A,B] [after P,Q | after start] [delay D] [discard] [shed N]
 *     open models    constant R/s | ramp R/s..R/s | step R/s..R/s steps N | poisson R/s | spike R/s..R/s at D for D
 *                    burst N every D times N [over D] | trace FILE
 *     closed model   users N | users N..M   [ramp D] [think RANGE | pacing D] [iterations N]
 *     nobody         idle
 *
 * A phase begins when the phase above it has ended, or those that `after` names, or at once with `after start`. A trace holds
 * one moment a line, from the start of the phase, as a duration (1.5s) or in plain seconds (1.5), none before the one above it. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "base/hash.h"
#include "bench/scenario_internal.h"

#define USERS_MAX 1000000
#define STEPS_MAX 1000
#define BURST_MAX 10000000
#define ITERATIONS_MAX INT64_C(1000000000000)
#define SHED_MAX 100000000
#define TRACE_MAX 10000000
#define NS_PER_S INT64_C(1000000000)

static enum status take_rates(struct parser *parser, double *ret_from, double *ret_to, bool is_range)
{
    struct words *words = &parser->words;
    struct words_word word;
    const char *what = is_range ? "two rates such as 10/s..500/s" : "a rate such as 500/s, 10k/s or 30/m";
    enum status status = words_take(words, what, &word);
    if (status != STATUS_OK) {
        return status;
    }
    bool is_good = is_range ? words_rate_range(word.text, ret_from, ret_to) &&
                                  memmem(word.text.data, word.text.len, "..", 2) != NULL
                            : words_rate(word.text, ret_from);
    if (!is_good) {
        return words_complain(words, &word, "\"%.*s\" is no rate: %s is needed", SLICE_ARG(word.text), what);
    }
    if (*ret_from > SCHEDULE_RATE_MAX || (is_range && *ret_to > SCHEDULE_RATE_MAX)) {
        return words_complain(words, &word, "a rate is at most %.0f/s", SCHEDULE_RATE_MAX);
    }
    if (*ret_from <= 0 && (!is_range || *ret_to <= 0)) {
        return words_complain(words, &word, "a rate of nothing asks for nothing; \"idle\" is the phase for that");
    }
    return STATUS_OK;
}

static enum status take_keyword(struct parser *parser, const char *keyword, const char *how)
{
    if (words_take_if(&parser->words, keyword)) {
        return STATUS_OK;
    }
    const struct words *words = &parser->words;
    return words_complain(words, words_is_done(words) ? NULL : &words->list[words->at], "\"%s\" is missing here: %s",
                          keyword, how);
}

/* --- traces --- */

static bool trace_time(struct slice text, int64_t *ret_ns)
{
    char number[32];
    if (words_value(text, WORDS_TIME, ret_ns)) {
        return true;
    }
    int len = snprintf(number, sizeof(number), "%.*ss", SLICE_ARG(text));
    return len > 0 && (size_t)len < sizeof(number) && words_value(slice_of(number, (size_t)len), WORDS_TIME, ret_ns);
}

enum status trace_read(struct parser *parser, const struct words_word *word, struct slice text,
                       struct schedule *schedule)
{
    size_t lines = 1;
    char why[160] = "";
    for (size_t i = 0; i < text.len; i++) {
        lines += text.data[i] == '\n';
    }
    lines = lines < TRACE_MAX ? lines : TRACE_MAX;
    int64_t *times = scenario_alloc(parser->scenario, lines * sizeof(*times));
    struct words *reader = malloc(sizeof(*reader));
    if (times == NULL || reader == NULL) {
        free(reader);
        return complain_memory(parser);
    }
    words_begin(reader, text, why, sizeof(why));
    size_t count = 0;
    enum status status, result = STATUS_OK;
    while ((status = words_next(reader)) == STATUS_OK && result == STATUS_OK) {
        int64_t at = 0;
        if (count == TRACE_MAX) {
            result = words_complain(&parser->words, word, "a trace takes at most %d moments", TRACE_MAX);
        } else if (reader->count != 1 || !trace_time(reader->list[0].text, &at) || at >= SCENARIO_TIME_MAX) {
            result = words_complain(&parser->words, word, "line %u of the trace is no moment such as 1.5s or 1.5",
                                    reader->line);
        } else if (count > 0 && at < times[count - 1]) {
            result =
                words_complain(&parser->words, word, "line %u of the trace lies before the one above it", reader->line);
        } else {
            times[count++] = at;
        }
    }
    if (result == STATUS_OK && status == STATUS_INVALID) {
        result = words_complain(&parser->words, word, "the trace: %s", why);
    }
    free(reader);
    if (result == STATUS_OK && count == 0) {
        return words_complain(&parser->words, word, "the trace is empty");
    }
    schedule->trace_ns = times;
    schedule->trace_count = count;
    return result;
}

/* --- models --- */

static enum status read_constant(struct parser *parser, struct scenario_phase *phase)
{
    phase->schedule.model = SCHEDULE_CONSTANT;
    return take_rates(parser, &phase->schedule.rate_from, NULL, false);
}

static enum status read_poisson(struct parser *parser, struct scenario_phase *phase)
{
    phase->schedule.model = SCHEDULE_POISSON;
    return take_rates(parser, &phase->schedule.rate_from, NULL, false);
}

static enum status read_ramp(struct parser *parser, struct scenario_phase *phase)
{
    phase->schedule.model = SCHEDULE_RAMP;
    return take_rates(parser, &phase->schedule.rate_from, &phase->schedule.rate_to, true);
}

static enum status read_step(struct parser *parser, struct scenario_phase *phase)
{
    int64_t steps = 0;
    phase->schedule.model = SCHEDULE_STEP;
    enum status status = take_rates(parser, &phase->schedule.rate_from, &phase->schedule.rate_to, true);
    if (status == STATUS_OK) {
        status = take_keyword(parser, "steps", "step R/s..R/s steps N");
    }
    if (status == STATUS_OK) {
        status = words_take_value(&parser->words, "steps", WORDS_COUNT, 2, STEPS_MAX, &steps);
    }
    phase->schedule.steps = (uint32_t)steps;
    return status;
}

static enum status read_spike(struct parser *parser, struct scenario_phase *phase)
{
    static const char how[] = "spike R/s..R/s at D for D, then the phase's own \"for D\"";
    struct schedule *schedule = &phase->schedule;
    schedule->model = SCHEDULE_SPIKE;
    enum status status = take_rates(parser, &schedule->rate_from, &schedule->rate_to, true);
    if (status == STATUS_OK) {
        status = take_keyword(parser, "at", how);
    }
    if (status == STATUS_OK) {
        status = words_take_value(&parser->words, "at", WORDS_TIME, 0, SCENARIO_TIME_MAX, &schedule->spike_at_ns);
    }
    if (status == STATUS_OK) {
        status = take_keyword(parser, "for", how);
    }
    return status == STATUS_OK
               ? words_take_value(&parser->words, "for", WORDS_TIME, 1, SCENARIO_TIME_MAX, &schedule->spike_for_ns)
               : status;
}

static enum status read_burst(struct parser *parser, struct scenario_phase *phase)
{
    static const char how[] = "burst N every D times N [over D]";
    struct words *words = &parser->words;
    struct schedule *schedule = &phase->schedule;
    int64_t size = 0, count = 0;
    schedule->model = SCHEDULE_BURST;
    enum status status = words_take_value(words, "burst", WORDS_COUNT, 1, BURST_MAX, &size);
    if (status == STATUS_OK) {
        status = take_keyword(parser, "every", how);
    }
    if (status == STATUS_OK) {
        status = words_take_value(words, "every", WORDS_TIME, 1000000, SCENARIO_TIME_MAX, &schedule->burst_every_ns);
    }
    if (status == STATUS_OK) {
        status = take_keyword(parser, "times", how);
    }
    if (status == STATUS_OK) {
        status = words_take_value(words, "times", WORDS_COUNT, 1, BURST_MAX, &count);
    }
    if (status == STATUS_OK && words_take_if(words, "over")) {
        status = words_take_value(words, "over", WORDS_TIME, 0, schedule->burst_every_ns, &schedule->burst_over_ns);
    }
    schedule->burst_size = (uint64_t)size;
    schedule->burst_count = (uint64_t)count;
    if (status == STATUS_OK && count > SCENARIO_TIME_MAX / schedule->burst_every_ns) {
        return words_complain(words, NULL, "so many bursts would take longer than 30 days");
    }
    phase->duration_ns = schedule->burst_every_ns * count;
    return status;
}

static enum status read_trace(struct parser *parser, struct scenario_phase *phase)
{
    struct words_word word;
    struct slice text = {NULL, 0};
    phase->schedule.model = SCHEDULE_TRACE;
    enum status status = words_take(&parser->words, "a file", &word);
    if (status == STATUS_OK) {
        status = read_file(parser, &word, &text);
    }
    if (status == STATUS_OK) {
        status = trace_read(parser, &word, text, &phase->schedule);
    }
    if (status == STATUS_OK) {
        phase->duration_ns = phase->schedule.trace_ns[phase->schedule.trace_count - 1] + 1;
    }
    return status;
}

static enum status read_users(struct parser *parser, struct scenario_phase *phase)
{
    struct words_range users;
    phase->model = SCENARIO_USERS;
    /* A range of users may fall. */
    struct words *words = &parser->words;
    struct words_word word;
    enum status status = words_take(words, "a number of users such as 500, or 10..500", &word);
    if (status != STATUS_OK) {
        return status;
    }
    const char *dots = word.text.len > 0 ? memmem(word.text.data, word.text.len, "..", 2) : NULL;
    size_t len = dots != NULL ? (size_t)(dots - word.text.data) : word.text.len;
    struct slice second = dots != NULL ? slice_of(dots + 2, word.text.len - len - 2) : word.text;
    if (!words_value(slice_of(word.text.data, len), WORDS_COUNT, &users.min) ||
        !words_value(second, WORDS_COUNT, &users.max)) {
        return words_complain(words, &word, "\"%.*s\" is no number of users: 500, or 10..500, is needed",
                              SLICE_ARG(word.text));
    }
    if (users.min > USERS_MAX || users.max > USERS_MAX || (users.min == 0 && users.max == 0)) {
        return words_complain(words, &word, "users takes 1 to %d", USERS_MAX);
    }
    phase->users_from = (uint32_t)users.min;
    phase->users_to = (uint32_t)users.max;
    return STATUS_OK;
}

static enum status read_idle(struct parser *parser, struct scenario_phase *phase)
{
    (void)parser;
    phase->model = SCENARIO_IDLE;
    return STATUS_OK;
}

static const struct {
    const char *name;
    enum status (*read)(struct parser *parser, struct scenario_phase *phase);
} models[] = {
    {"constant", read_constant}, {"ramp", read_ramp},   {"step", read_step},
    {"poisson", read_poisson},   {"spike", read_spike}, {"burst", read_burst},
    {"trace", read_trace},       {"users", read_users}, {"idle", read_idle},
};

static enum status read_model(struct parser *parser, struct scenario_phase *phase)
{
    struct words_word word;
    enum status status = words_take(&parser->words, "a model such as constant, ramp or users", &word);
    if (status != STATUS_OK) {
        return status;
    }
    const char *names[ARRAY_COUNT(models) + 1] = {NULL};
    for (size_t i = 0; i < ARRAY_COUNT(models); i++) {
        if (!word.is_quoted && slice_equal_str(word.text, models[i].name)) {
            return models[i].read(parser, phase);
        }
        names[i] = models[i].name;
    }
    return words_complain_unknown(&parser->words, &word, "no model of a phase", names);
}

/* --- the rest of the line --- */

struct phase_reader {
    struct words_range think;
    int64_t for_ns, pacing_ns, ramp_ns, iterations, delay_ns;
    uint32_t shed;
    bool has_after, has_ramp, has_think;
};

static enum status read_after(struct parser *parser, struct scenario_phase *phase, uint32_t own)
{
    struct scenario *scenario = parser->scenario;
    struct words_word word;
    enum status status = words_take(&parser->words, "a list of phases, or start", &word);
    if (status != STATUS_OK) {
        return status;
    }
    phase->after = 0;
    if (slice_equal_str(word.text, "start")) {
        return STATUS_OK;
    }
    const char *names[SCENARIO_PHASES_MAX + 2];
    for (uint32_t i = 0; i < own; i++) {
        names[i] = scenario->phases[i].name;
    }
    names[own] = "start";
    names[own + 1] = NULL;
    struct slice list = word.text, item;
    while (words_list_next(&list, &item)) {
        uint32_t i = 0;
        while (i < own && !slice_equal_str(item, names[i])) {
            i++;
        }
        if (i == own) {
            return words_complain_unknown(&parser->words, &(struct words_word){.text = item, .column = word.column},
                                          "no phase that stands above", names);
        }
        phase->after |= UINT64_C(1) << i;
    }
    return phase->after != 0 ? STATUS_OK
                             : words_complain(&parser->words, &word, "a list of phases, or start, is needed");
}

static enum status read_rest(struct parser *parser, struct scenario_phase *phase, uint32_t own,
                             struct phase_reader *reader)
{
    struct words *words = &parser->words;
    enum status status = STATUS_OK;
    while (status == STATUS_OK && !words_is_done(words)) {
        struct words_property properties[12];
        size_t count = 0;
        properties[count++] = (struct words_property){
            .name = "for", .unit = WORDS_TIME, .value = &reader->for_ns, .min = 1000000, .max = SCENARIO_TIME_MAX};
        properties[count++] = (struct words_property){
            .name = "delay", .unit = WORDS_TIME, .value = &reader->delay_ns, .max = SCENARIO_TIME_MAX};
        if (phase->model == SCENARIO_OPEN) {
            properties[count++] =
                (struct words_property){.name = "shed", .number = &reader->shed, .min = 1, .max = SHED_MAX};
        }
        if (phase->model == SCENARIO_USERS) {
            properties[count++] = (struct words_property){
                .name = "ramp", .unit = WORDS_TIME, .value = &reader->ramp_ns, .max = SCENARIO_TIME_MAX};
            properties[count++] = (struct words_property){
                .name = "think", .unit = WORDS_TIME, .range = &reader->think, .max = SCENARIO_TIME_MAX};
            properties[count++] = (struct words_property){.name = "pacing",
                                                          .unit = WORDS_TIME,
                                                          .value = &reader->pacing_ns,
                                                          .min = 1000000,
                                                          .max = SCENARIO_TIME_MAX};
            properties[count++] = (struct words_property){
                .name = "iterations", .value = &reader->iterations, .min = 1, .max = ITERATIONS_MAX};
        }
        size_t known = count;
        properties[count++] = (struct words_property){.name = "flow"}; /* for the sentence about unknown words */
        properties[count++] = (struct words_property){.name = "after"};
        properties[count++] = (struct words_property){.name = "discard"};
        ensure(count <= ARRAY_COUNT(properties));
        const struct words_word *word = &words->list[words->at];
        if (words_take_if(words, "discard")) {
            phase->is_discarded = true;
        } else if (words_take_if(words, "flow")) {
            status = words_take(words, "a list of flows", &parser->phase_flows[own]);
        } else if (words_take_if(words, "after")) {
            reader->has_after = true;
            status = read_after(parser, phase, own);
        } else {
            reader->has_ramp = reader->has_ramp || slice_equal_str(word->text, "ramp");
            reader->has_think = reader->has_think || slice_equal_str(word->text, "think");
            bool is_known = false;
            for (size_t i = 0; i < known; i++) {
                is_known = is_known || slice_equal_str(word->text, properties[i].name);
            }
            status = words_take_property(words, properties, is_known ? known : count);
        }
    }
    return status;
}

/* What belongs together. */
static enum status settle(struct parser *parser, struct scenario_phase *phase, const struct phase_reader *reader)
{
    const struct words *words = &parser->words;
    phase->duration_ns = reader->for_ns > 0 ? reader->for_ns : phase->duration_ns;
    if (phase->duration_ns == 0 && reader->iterations == 0) {
        return words_complain(words, NULL,
                              phase->model == SCENARIO_USERS
                                  ? "how long this phase is, \"for D\" or \"iterations N\", is missing here"
                                  : "how long this phase is, \"for D\", is missing here");
    }
    if (reader->has_think && reader->pacing_ns > 0) {
        return words_complain(words, NULL, "think and pacing exclude each other");
    }
    phase->think = reader->think;
    phase->pacing_ns = reader->pacing_ns;
    phase->iterations_max = (uint64_t)reader->iterations;
    phase->shed_above = reader->shed;
    phase->after_delay_ns = reader->delay_ns;
    phase->schedule.duration_ns = phase->duration_ns;
    if (phase->model == SCENARIO_USERS) {
        bool is_range = phase->users_from != phase->users_to;
        if (reader->has_ramp && !is_range) {
            phase->users_from = 0;
        }
        phase->ramp_ns = reader->has_ramp ? reader->ramp_ns : is_range ? phase->duration_ns : 0;
        if (is_range && phase->ramp_ns == 0) {
            return words_complain(words, NULL, "over which time the users change, \"ramp D\", is missing here");
        }
        if (phase->duration_ns > 0 && phase->ramp_ns > phase->duration_ns) {
            return words_complain(words, NULL, "the ramp is longer than the phase");
        }
    }
    const struct schedule *schedule = &phase->schedule;
    if (phase->model == SCENARIO_OPEN && schedule->model == SCHEDULE_SPIKE &&
        schedule->spike_at_ns > phase->duration_ns - schedule->spike_for_ns) {
        return words_complain(words, NULL, "the spike ends after the phase does");
    }
    return STATUS_OK;
}

enum status scenario_read_phase(struct parser *parser)
{
    struct scenario *scenario = parser->scenario;
    struct words *words = &parser->words;
    uint32_t own = scenario->phase_count;
    if (own == SCENARIO_PHASES_MAX) {
        return words_complain(words, &words->list[0], "a scenario takes at most %d phases", SCENARIO_PHASES_MAX);
    }
    struct scenario_phase *phase = &scenario->phases[own];
    *phase = (struct scenario_phase){.line = words->line};
    enum status status = words_take_name(words, "a name of a phase", phase->name, sizeof(phase->name));
    if (status != STATUS_OK) {
        return status;
    }
    for (uint32_t i = 0; i < own; i++) {
        if (strcmp(scenario->phases[i].name, phase->name) == 0) {
            return words_complain(words, &words->list[1], "there is a phase \"%s\" already", phase->name);
        }
    }
    if (strcmp(phase->name, "start") == 0) {
        return words_complain(words, &words->list[1], "\"start\" means the beginning and cannot be a phase's name");
    }
    struct phase_reader reader = {.shed = 0};
    phase->after = own > 0 ? UINT64_C(1) << (own - 1) : 0;
    status = read_model(parser, phase);
    if (status == STATUS_OK) {
        status = read_rest(parser, phase, own, &reader);
    }
    if (status == STATUS_OK) {
        status = settle(parser, phase, &reader);
    }
    scenario->phase_count += status == STATUS_OK;
    return status;
}
