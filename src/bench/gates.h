/* gates.h - whether a run was good enough: the scenario's gates against what was measured. Pure. */
#ifndef SHOAL_BENCH_GATES_H
#define SHOAL_BENCH_GATES_H

#include "bench/metrics.h"
#include "bench/scenario.h"

/* Fills in result->gates, and sets the verdict from PASS to GATE_MISSED when one is not met (other verdicts stay). A gate whose metric was not measured
 * is not met. NO_MEMORY. */
STATUS_MUST_CHECK enum status gates_evaluate(const struct scenario *scenario, struct bench_result *result);
/* Whether `value` meets a gate's comparison; "~" is within 5 %. */
bool gate_holds(const char *op, double value, double wanted);

#endif
