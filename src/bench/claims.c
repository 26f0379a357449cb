/* claims.c - reads the table of claims, and gives each its verdict from what the runs measured.
 *
 * A verdict is made in this order: a source that contradicts itself in a number is inconsistent there, whatever we measured; what is not
 * built or not comparable says so; a run that was smaller than the source's test in anything that the map names gives "scaled", never
 * "met", however good the number is; only then do the two numbers meet. */
#include "bench/claims.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "bench/claims_internal.h"
#include "bench/expression.h"

#define COLUMNS 10
#define METRIC_SIZE 1024
/* A run of thirty seconds takes 29.98 of them by its last answer. */
#define SCALE_SLACK 0.99
#define ABOUT 0.05

static const char *const verdicts[CLAIM_VERDICT_COUNT] = {
    [CLAIM_MET] = "met",
    [CLAIM_MISSED] = "missed",
    [CLAIM_SCALED] = "scaled",
    [CLAIM_NOT_BUILT] = "not built yet",
    [CLAIM_NOT_COMPARABLE] = "not comparable",
    [CLAIM_INCONSISTENT] = "inconsistent",
};

const char *claim_verdict_name(enum claim_verdict verdict)
{
    return verdicts[verdict];
}

/* --- the table --- */

static bool to_number(struct slice text, double *ret)
{
    char copy[40], *end;
    if (text.len == 0 || text.len >= sizeof(copy)) {
        return false;
    }
    memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    *ret = strtod(copy, &end);
    return *end == '\0' && end != copy && isfinite(*ret);
}

/* NUMBER, NUMBER..NUMBER or NUMBER->NUMBER. */
static void read_value(struct claim *claim)
{
    struct slice text = claim->claimed;
    const char *split = NULL;
    size_t width = 2;
    for (size_t i = 1; i + 1 < text.len && split == NULL; i++) {
        if (memcmp(text.data + i, "..", 2) == 0 || memcmp(text.data + i, "->", 2) == 0) {
            split = text.data + i;
        }
    }
    if (split == NULL) {
        claim->has_number = to_number(text, &claim->value);
        claim->low = claim->high = claim->before = claim->value;
        return;
    }
    struct slice left = slice_of(text.data, (size_t)(split - text.data));
    struct slice right = slice_of(split + width, text.len - left.len - width);
    claim->has_number = to_number(left, &claim->low) && to_number(right, &claim->high);
    claim->before = claim->low;
    claim->value = claim->high;
    if (split[0] == '-') {
        claim->low = claim->high;
    }
}

static bool read_row(struct slice line, struct claim *claim)
{
    struct slice columns[COLUMNS] = {{0}};
    for (unsigned i = 0; i < COLUMNS; i++) {
        const char *tab = line.len > 0 ? memchr(line.data, '\t', line.len) : NULL;
        size_t len = tab != NULL ? (size_t)(tab - line.data) : line.len;
        columns[i] = slice_of(line.data, len);
        if (tab == NULL) {
            if (i < COLUMNS - 2) {
                return false;
            }
            break;
        }
        line = slice_of(tab + 1, line.len - len - 1);
    }
    *claim = (struct claim){.id = columns[0],
                            .source = columns[1],
                            .class = columns[2].len == 1 ? columns[2].data[0] : '\0',
                            .title = columns[3],
                            .load = columns[4],
                            .metric = columns[5],
                            .unit = columns[6],
                            .op = columns[7],
                            .is_chosen = true,
                            .claimed = columns[8],
                            .target = columns[9]};
    const char *hash = claim->id.len > 0 ? memrchr(claim->id.data, '#', claim->id.len) : NULL;
    if (hash == NULL || claim->class == '\0' || claim->claimed.len == 0 || claim->id.data[0] != 'S') {
        return false;
    }
    size_t head = (size_t)(hash - claim->id.data);
    const char *slash = memchr(claim->id.data, '/', head);
    claim->name = slice_of(hash + 1, claim->id.len - head - 1);
    claim->scenario = slice_of(claim->id.data, slash != NULL ? (size_t)(slash - claim->id.data) : head);
    claim->axis = slash != NULL ? slice_of(slash + 1, head - claim->scenario.len - 1) : slice_of(hash, 0);
    read_value(claim);
    return true;
}

static enum status read_table(struct slice table, struct claims *claims, char *ret_why, size_t why_size)
{
    uint32_t lines = 0;
    for (size_t i = 0; i < table.len; i++) {
        lines += table.data[i] == '\n';
    }
    claims->claims = calloc((size_t)lines + 1, sizeof(*claims->claims));
    if (claims->claims == NULL) {
        snprintf(ret_why, why_size, "there is no memory for the claims");
        return STATUS_NO_MEMORY;
    }
    for (uint32_t number = 1; table.len > 0; number++) {
        const char *end = memchr(table.data, '\n', table.len);
        size_t len = end != NULL ? (size_t)(end - table.data) : table.len;
        struct slice line = slice_of(table.data, len);
        len += end != NULL;
        table = slice_of(table.data + len, table.len - len);
        if (number == 1 || line.len == 0) { /* names of the columns */
            continue;
        }
        if (!read_row(line, &claims->claims[claims->count])) {
            snprintf(
                ret_why, why_size,
                "claims.tsv, line %u: id, source, class, scenario, load, metric, unit, operator, claimed and target are expected, with tabs between",
                number);
            return STATUS_INVALID;
        }
        claims->count++;
    }
    return STATUS_OK;
}

enum status claims_read(struct slice table, struct slice map, struct claims *ret_claims, char *ret_why, size_t why_size)
{
    *ret_claims = (struct claims){.count = 0};
    enum status status = read_table(table, ret_claims, ret_why, why_size);
    if (status == STATUS_OK) {
        status = claims_read_map(map, ret_claims, ret_why, why_size);
    }
    if (status != STATUS_OK) {
        claims_free(ret_claims);
    }
    return status;
}

void claims_free(struct claims *claims)
{
    free(claims->claims);
    free(claims->runs);
    free(claims->rules);
    free(claims->aliases);
    *claims = (struct claims){.count = 0};
}

/* --- numbers of the source itself --- */

struct source_names {
    const struct claims *claims;
    const struct claim *claim;
};

const struct claim *claim_find(const struct claims *claims, struct slice id)
{
    for (uint32_t i = 0; i < claims->count; i++) {
        if (slice_equal(claims->claims[i].id, id)) {
            return &claims->claims[i];
        }
    }
    return NULL;
}

static const struct claim *neighbour(const struct claims *claims, const struct claim *claim, struct slice name)
{
    for (uint32_t i = 0; i < claims->count; i++) {
        const struct claim *other = &claims->claims[i];
        if (slice_equal(other->scenario, claim->scenario) && slice_equal(other->axis, claim->axis) &&
            slice_equal(other->name, name)) {
            return other;
        }
    }
    return NULL;
}

static bool fold(const struct claims *claims, const struct claim *claim, struct slice function, struct slice name,
                 double *ret)
{
    double sum = 0, low = INFINITY, high = -INFINITY;
    uint32_t count = 0;
    for (uint32_t i = 0; i < claims->count; i++) {
        const struct claim *other = &claims->claims[i];
        if (slice_equal(other->scenario, claim->scenario) && slice_equal(other->name, name) && other->has_number) {
            sum += other->value;
            low = fmin(low, other->value);
            high = fmax(high, other->value);
            count++;
        }
    }
    *ret = slice_equal_str(function, "sum")    ? sum
           : slice_equal_str(function, "mean") ? sum / count
           : slice_equal_str(function, "min")  ? low
           : slice_equal_str(function, "max")  ? high
                                               : NAN;
    return count > 0 && !isnan(*ret);
}

static bool load_value(struct slice load, struct slice key, double *ret)
{
    for (size_t at = 0; at + key.len + 1 < load.len; at++) {
        bool is_start = at == 0 || load.data[at - 1] == ' ' || load.data[at - 1] == ';';
        if (is_start && memcmp(load.data + at, key.data, key.len) == 0 && load.data[at + key.len] == '=') {
            size_t start = at + key.len + 1, end = start;
            while (end < load.len && load.data[end] != ';' && load.data[end] != ' ') {
                end++;
            }
            return to_number(slice_of(load.data + start, end - start), ret);
        }
    }
    return false;
}

static bool source_value(void *ctx, struct slice function, struct slice name, double *ret)
{
    const struct source_names *names = ctx;
    static const struct slice before = SLICE("before."), load = SLICE("load.");
    if (function.len > 0) {
        return fold(names->claims, names->claim, function, name, ret);
    }
    if (slice_equal_str(name, "axis")) {
        return to_number(names->claim->axis, ret);
    }
    if (slice_starts_with(name, load)) {
        return load_value(names->claim->load, slice_of(name.data + load.len, name.len - load.len), ret);
    }
    bool is_before = slice_starts_with(name, before);
    if (is_before) {
        name = slice_of(name.data + before.len, name.len - before.len);
    }
    const struct claim *claim = name.len > 0 && memchr(name.data, '#', name.len) != NULL
                                    ? claim_find(names->claims, name)
                                    : neighbour(names->claims, names->claim, name);
    if (claim == NULL || !claim->has_number) {
        return false;
    }
    *ret = is_before ? claim->before : claim->value;
    return true;
}

/* The first relation that the source breaks at this claim goes into the note (hard) or the doubt. */
static bool is_broken(const struct claims *claims, struct claim *claim)
{
    bool is_inconsistent = false;
    struct source_names names = {claims, claim};
    for (uint32_t i = 0; i < claims->rule_count; i++) {
        const struct claim_rule *rule = &claims->rules[i];
        struct claim_captures captures;
        if ((rule->kind != RULE_RELATION && rule->kind != RULE_DOUBT) ||
            !claim_matches(claim, rule->pattern, &captures)) {
            continue;
        }
        struct expression_names values = {source_value, &names, fmax(rule->tolerance, 1e-9)};
        struct expression_result result;
        char why[160];
        if (expression_evaluate(rule->text, &values, &result, why, sizeof(why)) != STATUS_OK || result.value != 0) {
            continue;
        }
        if (rule->kind == RULE_RELATION || claim->doubt[0] == '\0') {
            snprintf(claim->doubt, sizeof(claim->doubt), "%.*s does not hold: %.6g and %.6g", SLICE_ARG(rule->text),
                     result.left, result.right);
        }
        if (rule->kind == RULE_RELATION) {
            is_inconsistent = true;
            break;
        }
    }
    double target;
    char op = claim->target.len > 1 ? claim->target.data[0] : '\0';
    bool has_equal = claim->target.len > 2 && claim->target.data[1] == '=';
    if (claim->doubt[0] == '\0' && (op == '<' || op == '>') && claim->has_number &&
        to_number(slice_of(claim->target.data + 1 + has_equal, claim->target.len - 1 - has_equal), &target) &&
        (op == '<' ? claim->low > target || (!has_equal && claim->low >= target)
                   : claim->high < target || (!has_equal && claim->high <= target))) {
        snprintf(claim->doubt, sizeof(claim->doubt), "it misses the source's own target of %.*s",
                 SLICE_ARG(claim->target));
    }
    return is_inconsistent;
}

/* --- what we measured --- */

static bool run_value(void *ctx, struct slice function, struct slice name, double *ret)
{
    const char *unit;
    if (function.len > 0 || bench_metric(ctx, name, ret, &unit) != STATUS_OK) {
        return false;
    }
    if (strcmp(unit, "ns") == 0) {
        *ret /= 1e9;
    }
    return !isnan(*ret);
}

static bool measure(const struct claims *claims, struct claim *claim, const struct claim_captures *captures,
                    const struct bench_result *run, char ret_metric[METRIC_SIZE])
{
    const struct claim_rule *rule = claim->rule;
    const char *unit = "n";
    char why[160] = "";
    double factor = 1;
    enum status status;
    bool is_filled = claim_fill(claims, claim, captures, rule->metric, ret_metric, METRIC_SIZE);
    ensure(is_filled);
    if (rule->is_expression) {
        struct expression_names names = {run_value, (void *)(uintptr_t)run, 0};
        struct expression_result result = {0};
        status = expression_evaluate(slice_str(ret_metric), &names, &result, why, sizeof(why));
        claim->measured = result.value;
    } else {
        status = bench_metric(run, slice_str(ret_metric), &claim->measured, &unit);
        snprintf(why, sizeof(why), "the run measured no %s", ret_metric);
    }
    if (status != STATUS_OK || isnan(claim->measured)) {
        snprintf(claim->note, sizeof(claim->note), "%.150s", why);
        return false;
    }
    bool has_factor = claim_unit_factor(rule->is_expression && rule->unit.len > 0 ? rule->unit : slice_str(unit),
                                        claim->unit, &factor);
    ensure(has_factor);
    claim->measured *= factor;
    return true;
}

static double largest_of_phases(const struct scenario *scenario, const char *phase)
{
    double users = 0;
    for (uint32_t i = 0; i < scenario->phase_count; i++) {
        const struct scenario_phase *each = &scenario->phases[i];
        bool is_meant = phase[0] != '\0' ? strcmp(each->name, phase) == 0 : !each->is_discarded;
        if (is_meant && each->model == SCENARIO_USERS) {
            users = fmax(users, fmax(each->users_from, each->users_to));
        }
    }
    return users;
}

static double size_of_run(const struct claim_outcome *outcome, enum claim_scale_kind kind, const char *step,
                          const char *phase)
{
    const struct bench_result *run = outcome->result;
    const struct bench_series *series = bench_result_series(run, phase, step);
    const struct bench_series *whole = bench_result_series(run, phase, "");
    const struct bench_counts *counts = series != NULL ? &series->counts : NULL;
    double seconds = whole != NULL ? (double)(whole->end_ns - whole->begin_ns) / 1e9 : 0;
    switch (kind) {
    case CLAIM_USERS:
        return largest_of_phases(outcome->scenario, phase);
    case CLAIM_SECONDS:
        return seconds;
    case CLAIM_REQUESTS:
        return counts != NULL ? (double)counts->scheduled : 0;
    case CLAIM_SESSIONS:
        return (double)run->sessions;
    case CLAIM_RATE:
        return counts != NULL && seconds > 0 ? (double)counts->ok / seconds : 0;
    case CLAIM_CONNECTIONS:
        return run->connections_max;
    case CLAIM_BYTES:
        return counts != NULL && counts->ok > 0
                   ? fmax((double)counts->bytes_in, (double)counts->bytes_out) / (double)counts->ok
                   : 0;
    case CLAIM_SCALE_COUNT:
        break;
    }
    return 0;
}

static void compare_sizes(const struct claims *claims, struct claim *claim, const struct claim_outcome *outcome,
                          const char *metric)
{
    char step[BENCH_NAME_SIZE], phase[BENCH_NAME_SIZE];
    const struct claim_rule *rule = claim->rule;
    claim_metric_place(metric, step, phase);
    claim->scale = 1;
    for (uint32_t i = 0; i < rule->scale_count; i++) {
        struct source_names names = {claims, claim};
        struct expression_names values = {source_value, &names, 0};
        struct expression_result theirs;
        char why[160];
        enum status status = expression_evaluate(rule->scales[i].value, &values, &theirs, why, sizeof(why));
        if (status != STATUS_OK) { /* it cannot be known, so it is not known to be as large */
            snprintf(claim->note, sizeof(claim->note), "the source's size is not known: %.120s", why);
            claim->scale = 0;
            continue;
        }
        double scale = size_of_run(outcome, rule->scales[i].kind, step, phase) / theirs.value;
        if (scale < claim->scale && scale < SCALE_SLACK) {
            claim->scale = scale;
            claim->scaled = rule->scales[i].kind;
        }
    }
}

static void compare_values(const struct claims *claims, struct claim *claim)
{
    const struct claim_rule *rule = claim->rule;
    const struct claim_alias *alias = claim_alias_find(claims, claim->name);
    enum claim_good good = rule->good >= 0 ? (enum claim_good)rule->good : alias->good;
    double measured = claim->measured, wanted = claim->value, off;
    switch (good) {
    case CLAIM_LOWER:
        wanted = claim->high;
        claim->is_reached = measured <= wanted * (1 + 1e-9);
        claim->gap = claim->is_reached ? 1 : wanted > 0 ? measured / wanted : INFINITY;
        break;
    case CLAIM_HIGHER:
        wanted = claim->low;
        claim->is_reached = measured >= wanted * (1 - 1e-9);
        claim->gap = claim->is_reached ? 1 : measured > 0 ? wanted / measured : INFINITY;
        claim->gap_for_size = fmax(1, claim->gap * claim->scale);
        return;
    case CLAIM_ABOUT:
        off = fmax(claim->low - measured, measured - claim->high);
        claim->is_reached = off <= ABOUT * fabs(wanted);
        claim->gap = claim->is_reached ? 1 : measured > wanted ? measured / wanted : wanted / fmax(measured, 1e-12);
        break;
    }
    claim->gap_for_size = claim->gap;
}

/* The run that measures the claim, which has a measuring rule; what its pattern stood for comes with it. */
static uint32_t run_of(const struct claims *claims, const struct claim *claim, struct claim_captures *ret_captures)
{
    char name[BENCH_NAME_SIZE];
    bool is_filled = claim_matches(claim, claim->rule->pattern, ret_captures) &&
                     claim_fill(claims, claim, ret_captures, claim->rule->run, name, sizeof(name));
    ensure(is_filled);
    uint32_t run = 0;
    while (run < claims->run_count && strcmp(claims->runs[run].name, name) != 0) {
        run++;
    }
    ensure(run < claims->run_count); /* claims_read saw that there is one */
    return run;
}

static void judge(const struct claims *claims, struct claim *claim, const struct claim_outcome *outcomes)
{
    const struct claim_rule *rule = claim->rule;
    claim->is_measured = claim->is_reached = false;
    claim->scale = claim->gap = claim->gap_for_size = 1;
    claim->note[0] = claim->doubt[0] = '\0';
    claim->run = NULL;
    bool is_inconsistent = is_broken(claims, claim);
    if (rule->kind != RULE_MEASURE) {
        claim->verdict = is_inconsistent              ? CLAIM_INCONSISTENT
                         : rule->kind == RULE_UNBUILT ? CLAIM_NOT_BUILT
                                                      : CLAIM_NOT_COMPARABLE;
        snprintf(claim->note, sizeof(claim->note), "%.*s", SLICE_ARG(rule->text));
        return;
    }
    struct claim_captures captures;
    char metric[METRIC_SIZE];
    uint32_t run = run_of(claims, claim, &captures);
    const struct claim_outcome *outcome = &outcomes[run];
    claim->run = claims->runs[run].name;
    claim->verdict = CLAIM_MISSED;
    if (outcome->result == NULL || outcome->why != NULL) {
        snprintf(claim->note, sizeof(claim->note), "%.150s", outcome->why != NULL ? outcome->why : "it was not run");
        claim->gap = claim->gap_for_size = INFINITY;
    } else if (!measure(claims, claim, &captures, outcome->result, metric)) {
        claim->gap = claim->gap_for_size = INFINITY;
    } else {
        claim->is_measured = true;
        compare_sizes(claims, claim, outcome, metric);
        compare_values(claims, claim);
        claim->verdict = claim->scale < 1 ? CLAIM_SCALED : claim->is_reached ? CLAIM_MET : CLAIM_MISSED;
    }
    if (is_inconsistent) {
        claim->verdict = CLAIM_INCONSISTENT;
    }
}

void claims_judge(struct claims *claims, const struct claim_outcome *outcomes)
{
    for (uint32_t i = 0; i < claims->count; i++) {
        judge(claims, &claims->claims[i], outcomes);
    }
}

bool claims_need_run(const struct claims *claims, uint32_t run)
{
    for (uint32_t i = 0; i < claims->count; i++) {
        const struct claim *claim = &claims->claims[i];
        struct claim_captures captures;
        if (claim->is_chosen && claim->rule->kind == RULE_MEASURE && run_of(claims, claim, &captures) == run) {
            return true;
        }
    }
    return false;
}

bool claims_choose(struct claims *claims, const char *pattern)
{
    struct claim_captures captures;
    bool has_any = false;
    for (uint32_t i = 0; i < claims->count; i++) {
        struct claim *claim = &claims->claims[i];
        claim->is_chosen = claim_matches(claim, slice_str(pattern), &captures);
        has_any = has_any || claim->is_chosen;
    }
    return has_any;
}

/* --- sums --- */

unsigned claim_source(const struct claim *claim)
{
    unsigned source = 0;
    for (size_t i = 1; i < claim->id.len && claim->id.data[i] >= '0' && claim->id.data[i] <= '9'; i++) {
        source = source * 10 + (unsigned)(claim->id.data[i] - '0');
    }
    return source;
}

uint32_t claims_sources(const struct claims *claims)
{
    uint32_t sources = 0;
    for (uint32_t i = 0; i < claims->count; i++) {
        unsigned source = claim_source(&claims->claims[i]);
        sources = source + 1 > sources ? source + 1 : sources;
    }
    return sources;
}

struct slice claims_source(const struct claims *claims, unsigned source)
{
    for (uint32_t i = 0; i < claims->count; i++) {
        if (claim_source(&claims->claims[i]) == source) {
            return claims->claims[i].source;
        }
    }
    return (struct slice){NULL, 0};
}

void claims_count(const struct claims *claims, unsigned source, uint32_t ret_counts[CLAIM_VERDICT_COUNT])
{
    memset(ret_counts, 0, CLAIM_VERDICT_COUNT * sizeof(ret_counts[0]));
    for (uint32_t i = 0; i < claims->count; i++) {
        if (claims->claims[i].is_chosen && (source == UINT32_MAX || claim_source(&claims->claims[i]) == source)) {
            ret_counts[claims->claims[i].verdict]++;
        }
    }
}
