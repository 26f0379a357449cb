/* scenario_gate.c - what must hold for a run to pass.
 *
 *   gate METRIC OP VALUE[UNIT] [from D] [to D]        OP: < <= > >= == ~ (within 5 %)
 *
 * The value is written in any unit that fits the metric's (5ms for a latency, 99.9% for a share, 2k/s for a rate, 50M for
 * memory) and kept in the unit of the table in metrics.def. What the metric's name speaks of, a phase, a step, a process or a
 * fault, must be in the scenario: a gate that can never be measured is a mistake of the file and no result. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "bench/scenario_internal.h"

static const struct {
    const char *unit; /* of the metric; "" before the first of its suffixes is no suffix at all */
    const char *suffix;
    double factor;
} suffixes[] = {
    {"ns", "ns", 1},
    {"ns", "us", 1e3},
    {"ns", "ms", 1e6},
    {"ns", "s", 1e9},
    {"ns", "m", 60e9},
    {"ns", "h", 3600e9},
    {"%", "%", 1},
    {"%", "", 1},
    {"/s", "/s", 1},
    {"/s", "k/s", 1e3},
    {"/s", "M/s", 1e6},
    {"/s", "/m", 1.0 / 60},
    {"/s", "", 1},
    {"n", "", 1},
    {"n", "k", 1e3},
    {"n", "M", 1e6},
    {"bytes", "", 1},
    {"bytes", "k", 1024},
    {"bytes", "M", 1048576},
    {"bytes", "G", 1073741824},
    {"B/s", "", 1},
    {"B/s", "/s", 1},
    {"B/s", "k/s", 1024},
    {"B/s", "M/s", 1048576},
    {"B/s", "G/s", 1073741824},
    {"bytes/h", "", 1},
    {"bytes/h", "/h", 1},
    {"bytes/h", "k/h", 1024},
    {"bytes/h", "M/h", 1048576},
    {"bytes/h", "G/h", 1073741824},
};

/* Reads "-1.5k" as number and suffix. False when there is no number. */
static bool read_number(struct slice text, double *ret_value, struct slice *ret_suffix)
{
    size_t at = text.len > 0 && text.data[0] == '-';
    size_t digits = 0;
    char number[40];
    bool has_point = false;
    while (at < text.len && ((text.data[at] >= '0' && text.data[at] <= '9') || (text.data[at] == '.' && !has_point))) {
        has_point = has_point || text.data[at] == '.';
        digits += text.data[at] != '.';
        at++;
    }
    if (digits == 0 || at >= sizeof(number) || text.data[at - 1] == '.') {
        return false;
    }
    memcpy(number, text.data, at);
    number[at] = '\0';
    *ret_value = strtod(number, NULL);
    *ret_suffix = slice_of(text.data + at, text.len - at);
    return true;
}

static enum status read_value(struct parser *parser, struct scenario_gate *gate, const char *unit)
{
    struct words_word word;
    struct slice suffix = {NULL, 0};
    double value = 0;
    enum status status = words_take(&parser->words, "a value", &word);
    if (status != STATUS_OK) {
        return status;
    }
    bool is_number = read_number(word.text, &value, &suffix);
    if (is_number && value == 0 && suffix.len == 0) {
        gate->value = 0;
        return STATUS_OK;
    }
    char list[80] = "";
    for (size_t i = 0; i < ARRAY_COUNT(suffixes); i++) {
        if (strcmp(suffixes[i].unit, unit) != 0) {
            continue;
        }
        if (is_number && slice_equal_str(suffix, suffixes[i].suffix)) {
            gate->value = value * suffixes[i].factor;
            return STATUS_OK;
        }
        size_t len = strlen(list);
        snprintf(list + len, sizeof(list) - len, "%s%s", len > 0 ? ", " : "",
                 suffixes[i].suffix[0] != '\0' ? suffixes[i].suffix : "nothing");
    }
    return words_complain(&parser->words, &word, "\"%.*s\" is no value for %s: a number with %s behind it is needed",
                          SLICE_ARG(word.text), gate->metric, list[0] != '\0' ? list : "nothing");
}

static enum status read_metric(struct parser *parser, struct scenario_gate *gate, const char **ret_unit)
{
    struct words_word word;
    struct words *words = &parser->words;
    enum status status = words_take(words, "a metric such as p99 or success@steady", &word);
    if (status == STATUS_OK) {
        status = copy_word(parser, &word, "a metric", gate->metric, sizeof(gate->metric));
    }
    if (status != STATUS_OK) {
        return status;
    }
    if (!bench_metric_is_known(word.text, ret_unit)) {
        /* The word before what it is asked of is probably what is misspelt. */
        size_t len = 0;
        while (len < word.text.len && memchr(".:@", word.text.data[len], 3) == NULL) {
            len++;
        }
        const char *nearest = words_nearest(slice_of(word.text.data, len), bench_metric_words());
        bool is_same = nearest != NULL && slice_equal_str(slice_of(word.text.data, len), nearest);
        return words_complain(words, &word, "\"%s\" is no metric%s%s%s; \"shoal bench metrics\" lists them",
                              gate->metric, nearest != NULL && !is_same ? "; did you mean \"" : "",
                              nearest != NULL && !is_same ? nearest : "", nearest != NULL && !is_same ? "\"?" : "");
    }
    parser->gate_metric[parser->scenario->gate_count] = word;
    return STATUS_OK;
}

static enum status read_op(struct parser *parser, struct scenario_gate *gate)
{
    static const char *const ops[] = {"<", "<=", ">", ">=", "==", "~", NULL};
    struct words_word word;
    enum status status = words_take(&parser->words, "one of < <= > >= == ~", &word);
    if (status != STATUS_OK) {
        return status;
    }
    for (size_t i = 0; ops[i] != NULL; i++) {
        if (slice_equal_str(word.text, ops[i])) {
            snprintf(gate->op, sizeof(gate->op), "%s", ops[i]);
            return STATUS_OK;
        }
    }
    return words_complain(&parser->words, &word, "\"%.*s\" compares nothing: one of < <= > >= == ~ is needed",
                          SLICE_ARG(word.text));
}

enum status scenario_read_gate(struct parser *parser)
{
    struct scenario *scenario = parser->scenario;
    struct words *words = &parser->words;
    const char *unit = "";
    if (scenario->gate_count == SCENARIO_GATES_MAX) {
        return words_complain(words, &words->list[0], "a scenario takes at most %d gates", SCENARIO_GATES_MAX);
    }
    struct scenario_gate *gate = &scenario->gates[scenario->gate_count];
    *gate = (struct scenario_gate){.line = words->line};
    enum status status = read_metric(parser, gate, &unit);
    if (status == STATUS_OK) {
        status = read_op(parser, gate);
    }
    if (status == STATUS_OK) {
        status = read_value(parser, gate, unit);
    }
    const struct words_word *window = words_is_done(words) ? NULL : &words->list[words->at];
    const struct words_property properties[] = {
        {.name = "from", .unit = WORDS_TIME, .value = &gate->from_ns, .max = SCENARIO_TIME_MAX},
        {.name = "to", .unit = WORDS_TIME, .value = &gate->to_ns, .min = 1000000, .max = SCENARIO_TIME_MAX},
    };
    if (status == STATUS_OK) {
        status = words_take_properties(words, properties, ARRAY_COUNT(properties));
    }
    if (status != STATUS_OK) {
        return status;
    }
    if (window != NULL && !bench_metric_has_window(slice_str(gate->metric))) {
        return words_complain(words, window, "%s is known of a whole phase or run, not of a window in it",
                              gate->metric);
    }
    if (gate->to_ns > 0 && gate->from_ns >= gate->to_ns) {
        return words_complain(words, window, "the window is empty: it ends before it begins");
    }
    size_t len = 0;
    for (uint32_t i = 1; i < words->count && len < sizeof(gate->text); i++) {
        len += (size_t)snprintf(gate->text + len, sizeof(gate->text) - len, "%s%.*s", i > 1 ? " " : "",
                                SLICE_ARG(words->list[i].text));
    }
    scenario->gate_count++;
    return STATUS_OK;
}

/* --- when all has been read --- */

/* What the name of a metric is asked of, as metrics.def has it; "" when the table has no such word in front of a point. */
static const char *scope_of(struct slice word)
{
    static const struct {
        const char *name, *scope;
    } metrics[] = {
#define METRIC(ID, name, unit, scope, help) {name, #scope},
#define FAMILY(ID, prefix, scope, help)
#include "bench/metrics.def"
#undef METRIC
#undef FAMILY
    };
    for (size_t i = 0; i < ARRAY_COUNT(metrics); i++) {
        if (slice_equal_str(word, metrics[i].name)) {
            return metrics[i].scope;
        }
    }
    return "";
}

static bool has_step(const struct scenario *scenario, struct slice name)
{
    for (uint32_t i = 0; i < scenario->flow_count; i++) {
        for (uint32_t k = 0; k < scenario->flows[i].step_count; k++) {
            if (slice_equal_str(name, scenario->flows[i].steps[k].label)) {
                return true;
            }
        }
    }
    return false;
}

static enum status check_phase(struct parser *parser, const struct words_word *word, struct slice name, uint32_t line)
{
    const struct scenario *scenario = parser->scenario;
    const char *names[SCENARIO_PHASES_MAX + 1];
    for (uint32_t i = 0; i < scenario->phase_count; i++) {
        if (slice_equal_str(name, scenario->phases[i].name)) {
            return STATUS_OK;
        }
        names[i] = scenario->phases[i].name;
    }
    names[scenario->phase_count] = NULL;
    parser->words.line = line;
    return words_complain_unknown(&parser->words, &(struct words_word){.text = name, .column = word->column},
                                  "no phase of this scenario", names);
}

static enum status check_step(struct parser *parser, const struct words_word *word, struct slice name, uint32_t line)
{
    const struct scenario *scenario = parser->scenario;
    const char *names[SCENARIO_FLOWS_MAX * SCENARIO_STEPS_MAX + 1];
    size_t count = 0;
    if (has_step(scenario, name)) {
        return STATUS_OK;
    }
    for (uint32_t i = 0; i < scenario->flow_count; i++) {
        for (uint32_t k = 0; k < scenario->flows[i].step_count; k++) {
            names[count++] = scenario->flows[i].steps[k].label;
        }
    }
    names[count] = NULL;
    parser->words.line = line;
    return words_complain_unknown(&parser->words, &(struct words_word){.text = name, .column = word->column},
                                  "no step of this scenario", names);
}

static enum status check_owner(struct parser *parser, const struct words_word *word, struct slice name, bool is_fault,
                               uint32_t line)
{
    const struct scenario *scenario = parser->scenario;
    const char *names[SCENARIO_FAULTS_MAX + SCENARIO_STARTS_MAX + 3];
    size_t count = 0;
    if (is_fault) {
        for (uint32_t i = 0; i < scenario->fault_count; i++) {
            if (slice_equal_str(name, scenario->faults[i].name)) {
                return STATUS_OK;
            }
            names[count++] = scenario->faults[i].name;
        }
    } else {
        const struct scenario_start *start = scenario_find_start(scenario, name);
        bool is_node_group = start != NULL && start->count > 1 && slice_equal_str(name, start->name);
        if ((start != NULL && start->kind != START_PROXY && !is_node_group) || slice_equal_str(name, "generator") ||
            slice_equal_str(name, "machine")) {
            return STATUS_OK;
        }
        for (uint32_t i = 0; i < scenario->start_count; i++) {
            names[count++] = scenario->starts[i].name;
        }
        names[count++] = "generator";
        names[count++] = "machine";
    }
    names[count] = NULL;
    parser->words.line = line;
    return words_complain_unknown(&parser->words, &(struct words_word){.text = name, .column = word->column},
                                  is_fault ? "no fault of this scenario" : "no process of this scenario", names);
}

enum status scenario_check_gate(struct parser *parser, uint32_t gate)
{
    const struct words_word *word = &parser->gate_metric[gate];
    uint32_t line = parser->scenario->gates[gate].line;
    struct slice name = word->text;
    enum status status = STATUS_OK;
    const char *dot = memchr(name.data, '.', name.len);
    size_t before = dot != NULL ? (size_t)(dot - name.data) : 0;
    const char *scope = scope_of(slice_of(name.data, before));
    if (strcmp(scope, "FAULT") == 0) {
        return check_owner(parser, word, slice_of(dot + 1, name.len - before - 1), true, line);
    }
    const char *at = memrchr(name.data, '@', name.len);
    if (at != NULL) {
        status = check_phase(parser, word, slice_of(at + 1, (size_t)(name.data + name.len - at - 1)), line);
        name.len = (size_t)(at - name.data);
    }
    if (status == STATUS_OK && strcmp(scope, "PROCESS") == 0) {
        return check_owner(parser, word, slice_of(dot + 1, name.len - before - 1), false, line);
    }
    /* A line of /metrics may have a colon in its name. */
    const char *colon = strncmp(scope, "SCRAPE", 6) != 0 ? memchr(name.data, ':', name.len) : NULL;
    if (status == STATUS_OK && colon != NULL) {
        status = check_step(parser, word, slice_of(colon + 1, (size_t)(name.data + name.len - colon - 1)), line);
    }
    return status;
}
