/* gates.c - pass or not. */
#include "bench/gates.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NEAR 0.05 /* what "~" allows, of the wanted value */

bool gate_holds(const char *op, double value, double wanted)
{
    double slack = 1e-9 * fmax(fabs(value), fabs(wanted)); /* for sums of floating point that should be equal */
    if (strcmp(op, "<") == 0) {
        return value < wanted;
    }
    if (strcmp(op, "<=") == 0) {
        return value <= wanted + slack;
    }
    if (strcmp(op, ">") == 0) {
        return value > wanted;
    }
    if (strcmp(op, ">=") == 0) {
        return value >= wanted - slack;
    }
    if (strcmp(op, "==") == 0) {
        return fabs(value - wanted) <= slack;
    }
    return strcmp(op, "~") == 0 && fabs(value - wanted) <= NEAR * fabs(wanted) + slack;
}

static enum status measure(const struct scenario_gate *gate, const struct bench_result *result,
                           struct bench_gate_result *ret)
{
    struct slice name = slice_str(gate->metric);
    const char *unit = "";
    enum status status;
    double value = 0;
    if (gate->from_ns == 0 && gate->to_ns == 0) {
        status = bench_metric(result, name, &value, &unit);
    } else if (gate->op[0] == '=' ||
               gate->op[0] == '~') { /* every second must be equal: the one that is farther off counts */
        double largest = 0;
        status = bench_metric_window(result, name, gate->from_ns, gate->to_ns, false, &value, &unit);
        if (status == STATUS_OK) {
            status = bench_metric_window(result, name, gate->from_ns, gate->to_ns, true, &largest, &unit);
        }
        if (status == STATUS_OK && fabs(largest - gate->value) > fabs(value - gate->value)) {
            value = largest;
        }
    } else {
        bool is_largest = gate->op[0] == '<';
        status = bench_metric_window(result, name, gate->from_ns, gate->to_ns, is_largest, &value, &unit);
    }
    snprintf(ret->unit, sizeof(ret->unit), "%s", unit);
    ret->measured = value;
    return status;
}

enum status gates_evaluate(const struct scenario *scenario, struct bench_result *result)
{
    struct bench_gate_result *gates = calloc(scenario->gate_count + 1, sizeof(*gates));
    if (gates == NULL) {
        return STATUS_NO_MEMORY;
    }
    bool are_all_met = true;
    for (uint32_t i = 0; i < scenario->gate_count; i++) {
        const struct scenario_gate *gate = &scenario->gates[i];
        snprintf(gates[i].text, sizeof(gates[i].text), "%s", gate->text);
        gates[i].wanted = gate->value;
        gates[i].is_known = measure(gate, result, &gates[i]) == STATUS_OK;
        gates[i].is_met = gates[i].is_known && gate_holds(gate->op, gates[i].measured, gate->value);
        are_all_met = are_all_met && gates[i].is_met;
    }
    free(result->gates);
    result->gates = gates;
    result->gate_count = scenario->gate_count;
    if (!are_all_met && result->verdict == BENCH_PASS) {
        result->verdict = BENCH_GATE_MISSED;
    }
    return STATUS_OK;
}
