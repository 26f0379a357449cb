/* scenario_check.c - what can be said only when the whole text has been read: that every name is of something, and that there
 * is something to do and somebody to ask. */
#include <stdio.h>
#include <string.h>

#include "base/ensure.h"
#include "base/hash.h"
#include "bench/scenario_internal.h"

static enum status complain_start(struct parser *parser, uint32_t line, const struct words_word *word, const char *what)
{
    const char *names[SCENARIO_STARTS_MAX + 1];
    for (uint32_t i = 0; i < parser->scenario->start_count; i++) {
        names[i] = parser->scenario->starts[i].name;
    }
    names[parser->scenario->start_count] = NULL;
    parser->words.line = line;
    return words_complain_unknown(&parser->words, word, what, names);
}

static const struct scenario_start *first_hub(const struct scenario *scenario)
{
    for (uint32_t i = 0; i < scenario->start_count; i++) {
        if (scenario->starts[i].kind == START_HUB) {
            return &scenario->starts[i];
        }
    }
    return NULL;
}

static enum status check_target(struct parser *parser, bool needs_phases)
{
    const struct scenario *scenario = parser->scenario;
    if (parser->target_line == 0) {
        if (needs_phases && first_hub(scenario) == NULL) {
            return words_complain(&parser->words, NULL,
                                  "there is nobody to ask; \"target http://HOST:PORT\" or \"start hub\" names one");
        }
        return STATUS_OK;
    }
    const struct words_word *word = &parser->target;
    if (memmem(word->text.data, word->text.len, "://", 3) != NULL) {
        return slice_starts_with(word->text, SLICE("http://")) && word->text.len > 7
                   ? STATUS_OK
                   : complain_at(parser, parser->target_line, word, "\"%.*s\" is no target: http://HOST:PORT is needed",
                                 SLICE_ARG(word->text));
    }
    const struct scenario_start *start = scenario_find_start(scenario, word->text);
    return start != NULL && start->kind != START_NODE
               ? STATUS_OK
               : complain_start(parser, parser->target_line, word, "no URL and no hub, proxy or exec that is started");
}

static enum status check_starts(struct parser *parser)
{
    struct scenario *scenario = parser->scenario;
    for (uint32_t i = 0; i < scenario->start_count; i++) {
        struct scenario_start *start = &scenario->starts[i];
        const struct words_word *word = &parser->start_to[i];
        if (start->kind != START_NODE && start->kind != START_PROXY) {
            continue;
        }
        const struct scenario_start *to =
            word->text.len > 0 ? scenario_find_start(scenario, word->text) : first_hub(scenario);
        if (word->text.len == 0 && to == NULL) {
            return complain_at(parser, start->line, NULL, "no hub is started to which \"%s\" could connect",
                               start->name);
        }
        bool is_good = to != NULL && (to->kind == START_HUB || (to->kind == START_PROXY && start->kind == START_NODE) ||
                                      (to->kind == START_EXEC && start->kind == START_PROXY));
        if (!is_good) {
            return complain_start(parser, start->line, word,
                                  start->kind == START_NODE ? "no hub or proxy that is started"
                                                            : "no hub or exec that is started");
        }
        snprintf(start->to, sizeof(start->to), "%s", to->name);
    }
    return STATUS_OK;
}

static enum status check_flows(struct parser *parser)
{
    struct scenario *scenario = parser->scenario;
    for (uint32_t i = 0; i < scenario->flow_count; i++) {
        struct scenario_flow *flow = &scenario->flows[i];
        bool asks = false, is_open = false;
        for (uint32_t k = 0; k < flow->step_count; k++) {
            struct scenario_step *step = &flow->steps[k];
            asks = asks || (step->action != SCENARIO_THINK && step->action != SCENARIO_WS_CLOSE);
            step->timeout_ns = step->timeout_ns > 0 ? step->timeout_ns : scenario->timeout_ns;
            if ((step->action == SCENARIO_SUBMIT || step->action == SCENARIO_TASK) &&
                scenario->workload.kind_count == 0) {
                return complain_at(parser, step->line, NULL,
                                   "there is no kind of task to submit; \"kind NAME\" makes one");
            }
            if (step->action == SCENARIO_WS_SEND && !is_open) {
                return complain_at(parser, step->line, NULL,
                                   "there is no WebSocket to send on; \"ws-open PATH\" above opens one");
            }
            is_open = step->action == SCENARIO_WS_OPEN || (is_open && step->action != SCENARIO_WS_CLOSE);
        }
        if (!asks) {
            return complain_at(parser, flow->line, NULL,
                               "the flow \"%s\" asks for nothing; steps such as \"get /\" stand below it", flow->name);
        }
    }
    return STATUS_OK;
}

static enum status check_phase_flows(struct parser *parser, uint32_t index)
{
    struct scenario *scenario = parser->scenario;
    struct scenario_phase *phase = &scenario->phases[index];
    const struct words_word *word = &parser->phase_flows[index];
    const char *names[SCENARIO_FLOWS_MAX + 1];
    for (uint32_t i = 0; i < scenario->flow_count; i++) {
        names[i] = scenario->flows[i].name;
    }
    names[scenario->flow_count] = NULL;
    if (phase->model == SCENARIO_IDLE) {
        return word->text.len == 0 ? STATUS_OK
                                   : complain_at(parser, phase->line, word, "in an idle phase nobody follows a flow");
    }
    if (word->text.len == 0) {
        phase->flows = (uint32_t)((UINT64_C(1) << scenario->flow_count) - 1);
        return scenario->flow_count > 0
                   ? STATUS_OK
                   : complain_at(parser, phase->line, NULL,
                                 "there is no flow; \"flow NAME\" and its steps say what is asked");
    }
    struct slice list = word->text, item;
    while (words_list_next(&list, &item)) {
        uint32_t i = 0;
        while (i < scenario->flow_count && !slice_equal_str(item, names[i])) {
            i++;
        }
        if (i == scenario->flow_count) {
            parser->words.line = phase->line;
            return words_complain_unknown(&parser->words, &(struct words_word){.text = item, .column = word->column},
                                          "no flow of this scenario", names);
        }
        phase->flows |= UINT32_C(1) << i;
    }
    return phase->flows != 0 ? STATUS_OK : complain_at(parser, phase->line, word, "a list of flows is needed");
}

static enum status check_phases(struct parser *parser, bool needs_phases)
{
    struct scenario *scenario = parser->scenario;
    if (scenario->phase_count == 0 && needs_phases) {
        return words_complain(&parser->words, NULL,
                              "there is no phase; \"phase NAME constant 100/s for 10s\", for one, says who comes when");
    }
    enum status status = STATUS_OK;
    for (uint32_t i = 0; i < scenario->phase_count && status == STATUS_OK; i++) {
        struct scenario_phase *phase = &scenario->phases[i];
        phase->schedule.seed = hash64(slice_str(phase->name), scenario->seed);
        status = check_phase_flows(parser, i);
    }
    return status;
}

static bool suits(const struct scenario_start *start, enum scenario_fault_action action)
{
    switch (action) {
    case FAULT_KILL:
    case FAULT_STOP:
    case FAULT_FREEZE:
    case FAULT_RESTART:
    case FAULT_LIMIT_MEMORY:
        return start->kind != START_PROXY;
    case FAULT_FILL_DISK:
        return start->kind == START_HUB;
    default:
        return start->kind == START_PROXY;
    }
}

static enum status check_faults(struct parser *parser)
{
    struct scenario *scenario = parser->scenario;
    for (uint32_t i = 0; i < scenario->fault_count; i++) {
        struct scenario_fault *fault = &scenario->faults[i];
        const struct words_word *word = &parser->fault_target[i], *phase = &parser->fault_phase[i];
        const struct scenario_start *start = scenario_find_start(scenario, word->text);
        if (start == NULL) {
            return complain_start(parser, fault->line, word, "nothing that is started here");
        }
        if (!suits(start, fault->action)) {
            return complain_at(parser, fault->line, word, "%s cannot be done to \"%s\": it is for %s",
                               scenario_fault_name(fault->action), fault->target,
                               suits(&(struct scenario_start){.kind = START_PROXY}, fault->action)
                                   ? "a proxy (start proxy, target proxy)"
                                   : "a process that is started");
        }
        if (fault->action == FAULT_FILL_DISK && start->disk_bytes == 0) {
            return complain_at(parser, fault->line, word,
                               "only a disk of its own can be filled: \"start hub %s disk 64M\" gives it one",
                               start->name);
        }
        if (phase->text.len == 0) {
            continue;
        }
        const char *names[SCENARIO_PHASES_MAX + 1];
        for (uint32_t k = 0; k < scenario->phase_count; k++) {
            names[k] = scenario->phases[k].name;
            if (slice_equal_str(phase->text, names[k])) {
                fault->phase = (int)k;
            }
        }
        names[scenario->phase_count] = NULL;
        if (fault->phase < 0) {
            parser->words.line = fault->line;
            return words_complain_unknown(&parser->words, phase, "no phase of this scenario", names);
        }
        int64_t duration = scenario->phases[fault->phase].duration_ns;
        if (duration > 0 && fault->at_ns >= duration) {
            return complain_at(parser, fault->line, phase, "the phase is over before the fault comes");
        }
    }
    return STATUS_OK;
}

enum status scenario_check(struct parser *parser, bool needs_phases)
{
    /* At the end of the text, for what is missing altogether. */
    uint32_t last_line = parser->words.line;
    struct scenario *scenario = parser->scenario;
    /* Real nodes may do the work. */
    enum status status =
        scenario->has_workload ? workload_check(&scenario->workload, &parser->words, false) : STATUS_OK;
    if (status == STATUS_OK && needs_phases && scenario->workload.worker_count > 0) {
        return words_complain(&parser->words, NULL,
                              "workers over HTTP are only simulated; \"nodes N\" do the work here");
    }
    status = status == STATUS_OK ? check_flows(parser) : status;
    parser->words.line = last_line;
    status = status == STATUS_OK ? check_phases(parser, needs_phases) : status;
    parser->words.line = last_line;
    status = status == STATUS_OK ? check_target(parser, needs_phases) : status;
    status = status == STATUS_OK ? check_starts(parser) : status;
    status = status == STATUS_OK ? check_faults(parser) : status;
    for (uint32_t i = 0; i < scenario->gate_count && status == STATUS_OK; i++) {
        status = scenario_check_gate(parser, i);
    }
    return status;
}
