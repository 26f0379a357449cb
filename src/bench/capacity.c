/* capacity.c - doubles, halves, overloads, and fits.
 *
 *   search     rates are doubled until one is not sustained, then the gap is halved (in logarithms) until it is a tenth
 *   overload   0.7 of the capacity for comparison, then 1, 2 and 10 times of it, then 0.7 again until all is as before
 *   growth     1, 2, 4, … users without pauses, and the law of scaling through their goodput (statistics_scaling.c)
 *
 * Sustained is a rate of which 95 % have a right answer, in time and while it lasts. A point at which the generator was the bottleneck is no point of the
 * target: the search ends there and says so. In an overload the generator sheds what waits for longer than two seconds' worth of
 * the capacity, as clients give up too. */
#include "bench/capacity.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "base/hash.h"
#include "base/json.h"

#define BISECTIONS 5
#define NARROW 1.1 /* the gap between sustained and not sustained */
#define NS_PER_S INT64_C(1000000000)
#define SLACK_NS (NS_PER_S / 50) /* between a phase's beginning and that of a second */

struct search {
    const struct capacity_options *options;
    struct scenario *plan; /* a copy whose phases are ours; its memory is the original's */
    uint32_t flows;
    struct capacity *capacity;
};

/* --- runs --- */

static struct scenario_phase *add_phase(struct search *search, const char *name, int64_t duration_ns)
{
    struct scenario *plan = search->plan;
    uint32_t own = plan->phase_count++;
    ensure(own < SCENARIO_PHASES_MAX);
    plan->phases[own] = (struct scenario_phase){
        .line = 1, .duration_ns = duration_ns, .flows = search->flows, .after = own > 0 ? UINT64_C(1) << (own - 1) : 0};
    snprintf(plan->phases[own].name, sizeof(plan->phases[own].name), "%s", name);
    return &plan->phases[own];
}

static struct scenario_phase *add_rate(struct search *search, const char *name, double rate, int64_t duration_ns)
{
    struct scenario_phase *phase = add_phase(search, name, duration_ns);
    phase->model = SCENARIO_OPEN;
    phase->schedule = (struct schedule){.model = SCHEDULE_CONSTANT,
                                        .duration_ns = duration_ns,
                                        .rate_from = rate,
                                        .seed = hash64(slice_str(name), search->plan->seed)};
    return phase;
}

static struct scenario_phase *add_users(struct search *search, const char *name, uint32_t users, int64_t duration_ns)
{
    struct scenario_phase *phase = add_phase(search, name, duration_ns);
    phase->model = SCENARIO_USERS;
    phase->users_from = phase->users_to = users;
    return phase;
}

static void tell(const struct search *search, const char *format, double value)
{
    char text[96];
    if (search->options->on_progress != NULL) {
        snprintf(text, sizeof(text), format, value);
        search->options->on_progress(search->options->ctx, text);
    }
}

static double metric(const struct bench_result *result, const char *name)
{
    double value;
    return bench_metric(result, slice_str(name), &value, NULL) == STATUS_OK ? value : 0;
}

/* Mean of right answers and median of p99 over the whole seconds of a phase. */
static void usual_of(const struct bench_result *result, const struct bench_series *series, double *ret_ok,
                     double *ret_p99_ns)
{
    double *p99s = malloc((result->second_count + 1) * sizeof(*p99s));
    double ok = 0;
    size_t count = 0;
    for (uint32_t i = 0; i < result->second_count && p99s != NULL; i++) {
        int64_t begin = (int64_t)result->seconds[i].second * NS_PER_S;
        if (begin + SLACK_NS >= series->begin_ns && begin + NS_PER_S <= series->end_ns + SLACK_NS) {
            ok += (double)result->seconds[i].counts.ok;
            p99s[count++] = (double)result->seconds[i].p99_ns;
        }
    }
    *ret_ok = count > 0 ? ok / (double)count : 0;
    *ret_p99_ns = p99s != NULL ? statistics_median(p99s, count) : 0;
    free(p99s);
}

static void read_point(const struct bench_result *result, double asked, struct capacity_point *ret)
{
    *ret = (struct capacity_point){.asked = asked,
                                   .goodput = metric(result, "goodput@point"),
                                   .success_percent = metric(result, "success@point"),
                                   .p50_ns = metric(result, "p50@point"),
                                   .p99_ns = metric(result, "p99@point"),
                                   .is_valid = result->verdict != BENCH_INVALID};
    /* Answers that come after the phase, out of the line that grew in it, are no throughput: what came within counts. */
    const struct bench_series *series = bench_result_series(result, "point", "");
    double ok, p99_ns;
    if (series != NULL) {
        usual_of(result, series, &ok, &p99_ns);
        ret->goodput = ok > 0 ? ok : ret->goodput;
    }
}

/* --- the search --- */

static enum status measure_rate(struct search *search, double rate, struct capacity_point **ret_point)
{
    const struct capacity_options *options = search->options;
    struct capacity *capacity = search->capacity;
    struct bench_result result;
    search->plan->phase_count = 0;
    add_rate(search, "warm-up", rate, options->warm_ns)->is_discarded = true;
    (void)add_rate(search, "point", rate, options->point_ns);
    tell(search, "%.0f a second", rate);
    bench_result_init(&result);
    enum status status = options->run(options->ctx, search->plan, &result);
    if (status == STATUS_OK) {
        struct capacity_point *point = &capacity->points[capacity->point_count++];
        read_point(&result, rate, point);
        point->is_sustained = point->is_valid && point->goodput >= CAPACITY_SUSTAINED * rate;
        if (point->is_sustained && rate > capacity->sustained) {
            capacity->sustained = rate;
        }
        if (point->is_valid && point->goodput > capacity->goodput_most) {
            capacity->goodput_most = point->goodput;
        }
        *ret_point = point;
    }
    bench_result_free(&result);
    return status;
}

static enum status find_rate(struct search *search)
{
    const struct capacity_options *options = search->options;
    struct capacity *capacity = search->capacity;
    struct capacity_point *point = NULL;
    double low = 0, high = 0;
    for (double rate = options->rate_from; high == 0 && rate <= options->rate_max; rate *= 2) {
        enum status status = measure_rate(search, rate, &point);
        if (status != STATUS_OK) {
            return status;
        }
        low = point->is_sustained ? rate : low;
        high = point->is_sustained ? high : rate;
        if (!point->is_valid) {
            capacity->is_generator_bound = true;
        }
        if (capacity->point_count + BISECTIONS + 1 >= CAPACITY_POINTS_MAX) {
            break;
        }
    }
    /* Too much from the beginning: downwards. */
    for (double rate = options->rate_from / 2; low == 0 && rate >= 1 && !capacity->is_generator_bound; rate /= 2) {
        enum status status = measure_rate(search, rate, &point);
        if (status != STATUS_OK) {
            return status;
        }
        low = point->is_sustained ? rate : low;
        high = point->is_sustained ? high : rate;
        if (capacity->point_count + BISECTIONS + 1 >= CAPACITY_POINTS_MAX) {
            break;
        }
    }
    for (int i = 0; i < BISECTIONS && low > 0 && high / low > NARROW; i++) {
        double middle = sqrt(low * high);
        enum status status = measure_rate(search, middle, &point);
        if (status != STATUS_OK) {
            return status;
        }
        low = point->is_sustained ? middle : low;
        high = point->is_sustained ? high : middle;
        capacity->is_generator_bound = point->is_valid ? capacity->is_generator_bound : true;
    }
    /* What bounds it is the smallest rate above that was not sustained. */
    const struct capacity_point *above = NULL;
    for (uint32_t i = 0; i < capacity->point_count; i++) {
        const struct capacity_point *candidate = &capacity->points[i];
        if (!candidate->is_sustained && candidate->asked > capacity->sustained &&
            (above == NULL || candidate->asked < above->asked)) {
            above = candidate;
        }
    }
    capacity->is_generator_bound = above != NULL && !above->is_valid;
    capacity->is_bounded = above != NULL && above->is_valid;
    return STATUS_OK;
}

/* --- overload --- */

static int64_t recovery_of(const struct bench_result *result, const struct bench_series *after, double ok,
                           double p99_ns)
{
    for (uint32_t i = 0; i < result->second_count; i++) {
        const struct bench_second *second = &result->seconds[i];
        int64_t begin = (int64_t)second->second * NS_PER_S;
        if (begin + SLACK_NS < after->begin_ns || begin + NS_PER_S > after->end_ns + SLACK_NS) {
            continue;
        }
        /* A millisecond more is no sign of trouble where everything takes less than one. */
        if ((double)second->counts.ok >= 0.9 * ok && (double)second->p99_ns <= 2 * p99_ns + 1e6) {
            return begin + NS_PER_S - after->begin_ns;
        }
    }
    return -1;
}

static enum status overload(struct search *search, double factor)
{
    const struct capacity_options *options = search->options;
    struct capacity *capacity = search->capacity;
    double usual = 0.7 * capacity->sustained, asked = factor * capacity->sustained;
    struct bench_result result;
    search->plan->phase_count = 0;
    add_rate(search, "warm-up", usual, options->warm_ns)->is_discarded = true;
    (void)add_rate(search, "before", usual, options->before_ns);
    add_rate(search, "point", asked, options->overload_ns)->shed_above =
        (uint32_t)fmin(1e8, fmax(100, 2 * capacity->sustained));
    (void)add_rate(search, "after", usual, options->after_ns);
    tell(search, "overload: %.0f a second", asked);
    bench_result_init(&result);
    enum status status = options->run(options->ctx, search->plan, &result);
    const struct bench_series *before = bench_result_series(&result, "before", "");
    const struct bench_series *after = bench_result_series(&result, "after", "");
    if (status == STATUS_OK && before != NULL && after != NULL) {
        struct capacity_overload *ret = &capacity->overloads[capacity->overload_count++];
        struct capacity_point point;
        read_point(&result, asked, &point);
        *ret = (struct capacity_overload){.factor = factor,
                                          .asked = asked,
                                          .goodput = point.goodput,
                                          .success_percent = point.success_percent,
                                          .p99_ns = point.p99_ns,
                                          .is_valid = point.is_valid};
        usual_of(&result, before, &ret->before_goodput, &ret->before_p99_ns);
        ret->recovered_ns = recovery_of(&result, after, ret->before_goodput, ret->before_p99_ns);
    }
    bench_result_free(&result);
    return status;
}

/* --- growth --- */

static enum status grow(struct search *search)
{
    const struct capacity_options *options = search->options;
    struct capacity *capacity = search->capacity;
    double n[CAPACITY_USERS_POINTS], x[CAPACITY_USERS_POINTS];
    size_t count = 0;
    for (uint32_t users = 1; users <= options->users_max && capacity->users_count < CAPACITY_USERS_POINTS; users *= 2) {
        struct bench_result result;
        search->plan->phase_count = 0;
        add_users(search, "warm-up", users, options->warm_ns)->is_discarded = true;
        (void)add_users(search, "point", users, options->point_ns);
        tell(search, "%.0f users", users);
        bench_result_init(&result);
        enum status status = options->run(options->ctx, search->plan, &result);
        if (status == STATUS_OK) {
            struct capacity_point *point = &capacity->users[capacity->users_count++];
            read_point(&result, users, point);
            point->is_sustained = point->is_valid && point->goodput > 0;
        }
        bench_result_free(&result);
        if (status != STATUS_OK) {
            return status;
        }
    }
    for (uint32_t i = 0; i < capacity->users_count; i++) {
        if (capacity->users[i].is_sustained) {
            n[count] = capacity->users[i].asked;
            x[count++] = capacity->users[i].goodput;
        }
    }
    double residuals[CAPACITY_USERS_POINTS];
    capacity->has_fit = statistics_scaling(n, x, count, &capacity->fit, residuals);
    size_t at = 0;
    for (uint32_t i = 0; i < capacity->users_count && capacity->has_fit; i++) {
        capacity->residuals[i] = capacity->users[i].is_sustained ? residuals[at++] : NAN;
    }
    return STATUS_OK;
}

enum status capacity_search(const struct scenario *scenario, const struct capacity_options *options,
                            struct capacity *ret_capacity)
{
    static const double factors[CAPACITY_OVERLOADS] = {1, 2, 10};
    struct search search = {.options = options, .plan = malloc(sizeof(*search.plan)), .capacity = ret_capacity};
    memset(ret_capacity, 0, sizeof(*ret_capacity));
    if (search.plan == NULL) {
        return STATUS_NO_MEMORY;
    }
    *search.plan = *scenario;
    search.plan->fault_count = search.plan->gate_count = 0;
    for (uint32_t i = 0; i < scenario->phase_count; i++) {
        search.flows |= scenario->phases[i].flows;
    }
    enum status status = find_rate(&search);
    for (int i = 0; i < CAPACITY_OVERLOADS && status == STATUS_OK && ret_capacity->sustained > 0; i++) {
        status = overload(&search, factors[i]);
    }
    if (status == STATUS_OK && options->users_max > 0) {
        status = grow(&search);
    }
    free(search.plan);
    return status;
}

/* --- writing --- */

static void write_points_text(const struct capacity_point *points, uint32_t count, const char *what, bool has_sustained,
                              const double *residuals, struct buf *out)
{
    buf_printf(out, "| %s | right answers/s | success | p50 | p99 | %s |\n|---:|---:|---:|---:|---:|---|\n", what,
               has_sustained ? "" : "residual");
    for (uint32_t i = 0; i < count; i++) {
        char p50[40], p99[40], note[40] = "";
        bench_value_text(points[i].p50_ns, "ns", p50, sizeof(p50));
        bench_value_text(points[i].p99_ns, "ns", p99, sizeof(p99));
        if (!points[i].is_valid) {
            snprintf(note, sizeof(note), "invalid: the generator's limit");
        } else if (has_sustained) {
            snprintf(note, sizeof(note), "%s", points[i].is_sustained ? "sustained" : "not sustained");
        } else if (residuals != NULL && isfinite(residuals[i])) {
            snprintf(note, sizeof(note), "%+.1f %%", residuals[i] * 100);
        }
        buf_printf(out, "| %.0f | %.0f | %.2f %% | %s | %s | %s |\n", points[i].asked, points[i].goodput,
                   points[i].success_percent, p50, p99, note);
    }
}

static void write_overloads_text(const struct capacity *capacity, struct buf *out)
{
    buf_append_str(out,
                   "\nOverload, between 0.7 of the capacity before and after:\n\n"
                   "| times | asked/s | right answers/s | success | p99 | before: right/s | p99 | as before again |\n"
                   "|---:|---:|---:|---:|---:|---:|---:|---|\n");
    for (uint32_t i = 0; i < capacity->overload_count; i++) {
        const struct capacity_overload *at = &capacity->overloads[i];
        char p99[40], before[40], after[64] = "not in the time that was given";
        bench_value_text(at->p99_ns, "ns", p99, sizeof(p99));
        bench_value_text(at->before_p99_ns, "ns", before, sizeof(before));
        if (at->recovered_ns >= 0) {
            snprintf(after, sizeof(after), "within %.1f s", (double)at->recovered_ns / 1e9);
        }
        buf_printf(out, "| %.0f | %.0f | %.0f | %.2f %% | %s | %.0f | %s | %s%s |\n", at->factor, at->asked,
                   at->goodput, at->success_percent, p99, at->before_goodput, before, after,
                   at->is_valid ? "" : "; invalid: the generator's limit");
    }
}

void capacity_write_text(const struct capacity *capacity, struct buf *out)
{
    write_points_text(capacity->points, capacity->point_count, "asked/s", true, NULL, out);
    if (capacity->sustained > 0) {
        buf_printf(out, "\nSustained: %.0f a second (95 %% right answers). Most right answers: %.0f a second. %s\n",
                   capacity->sustained, capacity->goodput_most,
                   capacity->is_generator_bound ? "The generator could do no more: the target may."
                   : capacity->is_bounded       ? "More was not sustained."
                                                : "More was not asked for.");
    } else {
        buf_append_str(out, "\nNo rate was sustained.\n");
    }
    if (capacity->overload_count > 0) {
        write_overloads_text(capacity, out);
    }
    if (capacity->users_count > 0) {
        buf_append_str(out, "\nUsers without pauses:\n\n");
        write_points_text(capacity->users, capacity->users_count, "users", false,
                          capacity->has_fit ? capacity->residuals : NULL, out);
    }
    if (capacity->has_fit) {
        const struct scaling_fit *fit = &capacity->fit;
        buf_printf(out,
                   "\nScaling law: one gives %.0f a second, %.2f %% waits in line, %.4f %% is spent on each other; "
                   "relative residuals %.1f %%.\n",
                   fit->lambda, fit->sigma * 100, fit->kappa * 100, fit->residual_rms * 100);
        if (isfinite(fit->peak_n)) {
            buf_printf(out, "Its peak is at %.0f users with %.0f a second.\n", fit->peak_n, fit->peak_x);
        } else {
            buf_append_str(out, "It has no peak.\n");
        }
    }
}

static void write_number(struct buf *out, const char *name, double value)
{
    buf_printf(out, "\"%s\":", name);
    json_write_double(out, value);
}

static void write_points_json(const struct capacity_point *points, uint32_t count, const char *name, struct buf *out)
{
    buf_printf(out, ",\"%s\":[", name);
    for (uint32_t i = 0; i < count; i++) {
        buf_append_str(out, i > 0 ? ",{" : "{");
        write_number(out, "asked", points[i].asked);
        buf_append_char(out, ',');
        write_number(out, "goodput", points[i].goodput);
        buf_append_char(out, ',');
        write_number(out, "success_percent", points[i].success_percent);
        buf_append_char(out, ',');
        write_number(out, "p50_ns", points[i].p50_ns);
        buf_append_char(out, ',');
        write_number(out, "p99_ns", points[i].p99_ns);
        buf_printf(out, ",\"valid\":%s,\"sustained\":%s}", points[i].is_valid ? "true" : "false",
                   points[i].is_sustained ? "true" : "false");
    }
    buf_append_char(out, ']');
}

void capacity_write_json(const struct capacity *capacity, const struct scenario *scenario, struct buf *out)
{
    buf_append_str(out, "{\"schema\":\"shoal-bench-capacity/1\",\"scenario\":");
    json_write_str(out, slice_str(scenario->name));
    buf_append_char(out, ',');
    write_number(out, "sustained", capacity->sustained);
    buf_append_char(out, ',');
    write_number(out, "goodput_most", capacity->goodput_most);
    buf_printf(out, ",\"bounded\":%s,\"generator_bound\":%s", capacity->is_bounded ? "true" : "false",
               capacity->is_generator_bound ? "true" : "false");
    write_points_json(capacity->points, capacity->point_count, "points", out);
    buf_append_str(out, ",\"overloads\":[");
    for (uint32_t i = 0; i < capacity->overload_count; i++) {
        const struct capacity_overload *at = &capacity->overloads[i];
        const struct {
            const char *name;
            double value;
        } numbers[] = {{"factor", at->factor},
                       {"asked", at->asked},
                       {"goodput", at->goodput},
                       {"success_percent", at->success_percent},
                       {"p99_ns", at->p99_ns},
                       {"before_goodput", at->before_goodput},
                       {"before_p99_ns", at->before_p99_ns}};
        buf_append_str(out, i > 0 ? ",{" : "{");
        for (size_t k = 0; k < ARRAY_COUNT(numbers); k++) {
            write_number(out, numbers[k].name, numbers[k].value);
            buf_append_char(out, ',');
        }
        buf_printf(out, "\"recovered_ns\":%" PRId64 ",\"valid\":%s}", at->recovered_ns,
                   at->is_valid ? "true" : "false");
    }
    buf_append_char(out, ']');
    write_points_json(capacity->users, capacity->users_count, "users", out);
    buf_append_str(out, ",\"fit\":");
    if (capacity->has_fit) {
        const struct scaling_fit *fit = &capacity->fit;
        const struct {
            const char *name;
            double value;
        } numbers[] = {{"lambda", fit->lambda}, {"sigma", fit->sigma},   {"kappa", fit->kappa},
                       {"peak_n", fit->peak_n}, {"peak_x", fit->peak_x}, {"residual_rms", fit->residual_rms}};
        buf_append_char(out, '{');
        for (size_t k = 0; k < ARRAY_COUNT(numbers); k++) {
            write_number(out, numbers[k].name, numbers[k].value);
            buf_append_char(out, ',');
        }
        buf_append_str(out, "\"residuals\":[");
        for (uint32_t i = 0; i < capacity->users_count; i++) {
            buf_append_str(out, i > 0 ? "," : "");
            json_write_double(out, capacity->residuals[i]);
        }
        buf_append_str(out, "]}");
    } else {
        buf_append_str(out, "null");
    }
    buf_append_str(out, "}\n");
}
