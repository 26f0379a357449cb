/* fuzz_scenario.c - scenario and workload files, and the CSV and trace files that they name. Either a struct in which every number is
 * in its bounds and every name is of something, or one sentence that begins with line and column; the same text gives the same.
 * A first byte of 1 makes the rest a CSV file, 2 a trace. */
#include <stdio.h>

#include "bench/scenario_internal.h"
#include "test/fuzz/fuzz.h"

#define WALK_MAX 1000

static void is_sentence(const char *why)
{
    unsigned line = 0, column = 0;
    int at = 0;
    ensure(sscanf(why, "line %u, column %u: %n", &line, &column, &at) == 2 && at > 0);
    ensure(line > 0 && column > 0 && why[at] != '\0' && strchr(why, '\n') == NULL);
}

static void is_range(const struct words_range *range)
{
    ensure(range->min >= 0 && range->min <= range->max);
}

static void is_text(const struct scenario *scenario, const struct scenario_text *text)
{
    for (uint32_t i = 0; i < text->count; i++) {
        ensure(text->parts[i].variable < (int)scenario->variable_count);
        ensure(text->parts[i].variable >= 0 || text->parts[i].literal.len > 0);
    }
}

static void is_schedule(const struct schedule *schedule)
{
    struct schedule_cursor cursor;
    int64_t before = 0;
    schedule_begin(&cursor, schedule);
    for (int i = 0; i < WALK_MAX && cursor.at_ns != INT64_MAX; i++) {
        ensure(cursor.at_ns >= before && cursor.at_ns < schedule->duration_ns);
        before = cursor.at_ns;
        schedule_next(&cursor);
    }
    ensure(schedule_rate(schedule, before) >= 0);
}

static void is_flow(const struct scenario *scenario, const struct scenario_flow *flow)
{
    ensure(flow->name[0] != '\0' && flow->share > 0 && flow->step_count <= SCENARIO_STEPS_MAX);
    for (uint32_t i = 0; i < flow->step_count; i++) {
        const struct scenario_step *step = &flow->steps[i];
        ensure(step->times > 0 && step->line > 0 && memchr(step->label, '\0', sizeof(step->label)) != NULL);
        ensure(step->expect_low >= 100 && step->expect_low <= step->expect_high && step->expect_high <= 599);
        is_text(scenario, &step->path);
        is_text(scenario, &step->body);
        is_text(scenario, &step->headers);
        is_range(&step->think);
        for (uint32_t k = 0; k < step->take_count; k++) {
            ensure(step->takes[k].variable >= SCENARIO_OWN_VARIABLES &&
                   step->takes[k].variable < (int)scenario->variable_count);
        }
    }
}

static void is_scenario(const struct scenario *scenario)
{
    for (uint32_t i = 0; i < scenario->flow_count; i++) {
        is_flow(scenario, &scenario->flows[i]);
    }
    ensure(scenario->phase_count > 0);
    for (uint32_t i = 0; i < scenario->phase_count; i++) {
        const struct scenario_phase *phase = &scenario->phases[i];
        ensure(phase->after < UINT64_C(1) << i);
        ensure((uint64_t)phase->flows < UINT64_C(1) << scenario->flow_count);
        ensure((phase->flows == 0) == (phase->model == SCENARIO_IDLE));
        ensure(phase->duration_ns > 0 || phase->iterations_max > 0);
        is_range(&phase->think);
        if (phase->model == SCENARIO_OPEN) {
            is_schedule(&phase->schedule);
        }
    }
    for (uint32_t i = 0; i < scenario->fault_count; i++) {
        ensure(scenario->faults[i].phase < (int)scenario->phase_count && scenario->faults[i].at_ns >= 0);
        ensure(scenario_find_start(scenario, slice_str(scenario->faults[i].target)) != NULL);
        ensure(scenario->faults[i].name[0] != '\0');
    }
    for (uint32_t i = 0; i < scenario->gate_count; i++) {
        ensure(bench_metric_is_known(slice_str(scenario->gates[i].metric), NULL));
    }
    for (uint32_t i = 0; i < scenario->feed_count; i++) {
        const struct scenario_feed *feed = &scenario->feeds[i];
        ensure(feed->columns > 0 && feed->first_variable + (int)feed->columns <= (int)scenario->variable_count);
        is_range(&feed->range);
    }
}

/* A workload that is read by itself is taken as a part of a scenario, too. */
static void check_workload(struct slice text)
{
    static struct workload workload;
    char why[512] = "";
    if (workload_parse(text, &workload, why, sizeof(why)) != STATUS_OK) {
        is_sentence(why);
        return;
    }
    for (uint32_t i = 0; i < workload.node_count; i += 97) {
        ensure(workload_group(&workload, i)->kinds != 0);
    }
    ensure(workload.kind_count > 0 && workload.queue_count > 0 && workload.clients > 0);
}

static void check_scenario(struct slice text)
{
    static struct scenario a, b;
    char why[512] = "", why_again[512] = "";
    const char *const defines[] = {"given=5", NULL};
    const char *const *used = text.len % 2 == 0 ? defines : NULL;
    enum status status = scenario_parse(text, NULL, used, &a, why, sizeof(why));
    ensure(scenario_parse(text, NULL, used, &b, why_again, sizeof(why_again)) == status);
    ensure(strcmp(why, why_again) == 0);
    if (status == STATUS_OK) {
        is_scenario(&a);
        ensure(a.phase_count == b.phase_count && a.variable_count == b.variable_count);
        ensure(memcmp(a.phases[0].name, b.phases[0].name, sizeof(a.phases[0].name)) == 0);
        scenario_free(&a);
        scenario_free(&b);
    } else {
        ensure(status == STATUS_INVALID && a.memory == NULL);
        is_sentence(why);
    }
}

static void check_file(struct slice text, bool is_csv)
{
    static struct scenario scenario;
    static struct parser parser;
    char why[512] = "";
    memset(&scenario, 0, sizeof(scenario));
    memset(&parser, 0, sizeof(parser));
    parser.scenario = &scenario;
    words_begin(&parser.words, SLICE(""), why, sizeof(why));
    scenario.variables = scenario_alloc(&scenario, SCENARIO_VARIABLES_MAX * sizeof(*scenario.variables));
    char *copy = scenario_alloc(&scenario, text.len + 1);
    ensure(scenario.variables != NULL && copy != NULL);
    memcpy(copy, text.data, text.len);
    const struct words_word word = {.text = SLICE("file"), .column = 1};
    struct scenario_feed feed = {.name = "f"};
    struct schedule schedule = {.model = SCHEDULE_TRACE};
    enum status status = is_csv ? feed_read_csv(&parser, &word, slice_of(copy, text.len), &feed)
                                : trace_read(&parser, &word, slice_of(copy, text.len), &schedule);
    if (status != STATUS_OK) {
        is_sentence(why);
    } else if (is_csv) {
        ensure(feed.rows > 0 && feed.columns > 0 && feed.columns == scenario.variable_count);
        for (size_t i = 0; i < (size_t)feed.rows * feed.columns; i++) {
            ensure(feed.cells[i].data >= copy && feed.cells[i].data + feed.cells[i].len <= copy + text.len);
        }
    } else {
        ensure(schedule.trace_count > 0);
        schedule.duration_ns = schedule.trace_ns[schedule.trace_count - 1] + 1;
        ensure(schedule_count(&schedule) == schedule.trace_count);
        is_schedule(&schedule);
    }
    scenario_free(&scenario);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 0 && (data[0] == 1 || data[0] == 2)) {
        check_file(slice_of(data + 1, size - 1), data[0] == 1);
        return 0;
    }
    char *copy = fuzz_copy(slice_of(data, size));
    check_scenario(slice_of(copy, size));
    check_workload(slice_of(copy, size));
    free(copy);
    return 0;
}
