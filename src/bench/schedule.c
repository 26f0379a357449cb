/* schedule.c - when the n-th arrival of a phase is meant to begin.
 *
 * A rate r(t) has a cumulative count N(t), the integral of r from the start of the phase; arrival n is meant for the
 * moment at which N(t) = n. So arrival 0 comes at the start, a constant 100/s asks at 0, 10 ms, 20 ms, ..., and a phase of
 * D seconds has as many arrivals as there are whole n with t(n) < D. For constant, step and spike N is a line in pieces,
 * for a ramp it is a parabola; both are inverted in closed form, so that an arrival needs nothing from the one before it:
 *
 *   ramp   N(t) = a t + (b - a) t^2 / 2D  =>  t = 2n / (a + sqrt(a^2 + 2 (b - a) n / D))     (no cancellation, a = 0 included)
 *
 * Poisson arrivals are the sums of exponential gaps (Knuth, TAOCP 2, 3.4.1 D); gap k is drawn from a hash of seed and k
 * and not from a generator with a state. Sums are added in the order of the index, here and in the cursor, so both give
 * the same double and the same nanosecond. */
#include "bench/schedule.h"

#include <math.h>
#include <stdbool.h>

#include "base/ensure.h"
#include "base/hash.h"

#define NS_PER_S 1e9

/* --- pieces of constant rate --- */

static int64_t ns_of(double seconds)
{
    double ns = seconds * NS_PER_S;
    return ns >= (double)INT64_MAX ? INT64_MAX : (int64_t)ns;
}

static double step_rate(const struct schedule *schedule, uint32_t step)
{
    if (schedule->steps < 2) {
        return schedule->rate_from;
    }
    return schedule->rate_from + (schedule->rate_to - schedule->rate_from) * step / (schedule->steps - 1);
}

/* Arrivals meant before step `step` begins: the sum of the rates before it, times the length of a step. */
static double step_before(const struct schedule *schedule, uint32_t step, double length)
{
    double slope = schedule->steps < 2 ? 0 : (schedule->rate_to - schedule->rate_from) / (schedule->steps - 1);
    return length * (schedule->rate_from * step + slope * step * (step - 1.0) / 2);
}

static double at_step(const struct schedule *schedule, double index)
{
    uint32_t steps = schedule->steps > 0 ? schedule->steps : 1;
    double length = (double)schedule->duration_ns / NS_PER_S / steps;
    /* The last step that begins with no more than `index` arrivals behind it; N never falls, so it can be halved. */
    uint32_t low = 0, high = steps;
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (step_before(schedule, middle, length) <= index) {
            low = middle;
        } else {
            high = middle;
        }
    }
    double rate = step_rate(schedule, low);
    return rate > 0 ? low * length + (index - step_before(schedule, low, length)) / rate : INFINITY;
}

static double at_spike(const struct schedule *schedule, double index)
{
    double begin = (double)schedule->spike_at_ns / NS_PER_S, length = (double)schedule->spike_for_ns / NS_PER_S;
    double before = begin * schedule->rate_from, during = length * schedule->rate_to;
    if (index < before) {
        return index / schedule->rate_from;
    }
    if (index < before + during) {
        return begin + (index - before) / schedule->rate_to;
    }
    return schedule->rate_from > 0 ? begin + length + (index - before - during) / schedule->rate_from : INFINITY;
}

static double at_ramp(const struct schedule *schedule, double index)
{
    double from = schedule->rate_from, to = schedule->rate_to;
    double under = from * from + 2 * (to - from) * index / ((double)schedule->duration_ns / NS_PER_S);
    if (index == 0) {
        return from > 0 || to > 0 ? 0 : INFINITY;
    }
    /* A falling ramp has no more arrivals once its rate would be below zero. */
    return under < 0 ? INFINITY : 2 * index / (from + sqrt(under));
}

/* --- the others --- */

static int64_t at_burst(const struct schedule *schedule, uint64_t index)
{
    if (schedule->burst_size == 0) {
        return INT64_MAX;
    }
    uint64_t burst = index / schedule->burst_size, within = index % schedule->burst_size;
    if ((schedule->burst_count > 0 && burst >= schedule->burst_count) || (burst > 0 && schedule->burst_every_ns <= 0)) {
        return INT64_MAX;
    }
    double at = (double)burst * (double)schedule->burst_every_ns;
    if (at >= (double)schedule->duration_ns) {
        return INT64_MAX;
    }
    return (int64_t)burst * schedule->burst_every_ns +
           (int64_t)((double)schedule->burst_over_ns * ((double)within / (double)schedule->burst_size));
}

/* Seconds between arrival index - 1 and arrival index. */
static double poisson_gap(const struct schedule *schedule, uint64_t index)
{
    uint64_t bits = hash_mix(hash_mix(schedule->seed) + index);
    double uniform = ((double)(bits >> 11) + 0.5) * 0x1p-53; /* inside (0, 1) */
    return -log(uniform) / schedule->rate_from;
}

static bool is_poisson(const struct schedule *schedule)
{
    return schedule->model == SCHEDULE_POISSON && schedule->rate_from > 0;
}

/* Not Poisson: any arrival by its index alone. */
static int64_t at_direct(const struct schedule *schedule, uint64_t index)
{
    int64_t at = INT64_MAX;
    switch (schedule->model) {
    case SCHEDULE_CONSTANT:
        at = schedule->rate_from > 0 ? ns_of((double)index / schedule->rate_from) : INT64_MAX;
        break;
    case SCHEDULE_RAMP:
        at = ns_of(at_ramp(schedule, (double)index));
        break;
    case SCHEDULE_STEP:
        at = ns_of(at_step(schedule, (double)index));
        break;
    case SCHEDULE_SPIKE:
        at = ns_of(at_spike(schedule, (double)index));
        break;
    case SCHEDULE_BURST:
        at = at_burst(schedule, index);
        break;
    case SCHEDULE_TRACE:
        at = index < schedule->trace_count ? schedule->trace_ns[index] : INT64_MAX;
        break;
    case SCHEDULE_POISSON:
        break; /* without a rate nothing arrives */
    }
    return at < schedule->duration_ns ? at : INT64_MAX;
}

void schedule_begin(struct schedule_cursor *cursor, const struct schedule *schedule)
{
    *cursor = (struct schedule_cursor){.schedule = schedule};
    if (is_poisson(schedule)) {
        cursor->state = poisson_gap(schedule, 0);
        cursor->at_ns = ns_of(cursor->state);
        cursor->at_ns = cursor->at_ns < schedule->duration_ns ? cursor->at_ns : INT64_MAX;
    } else {
        cursor->at_ns = at_direct(schedule, 0);
    }
}

void schedule_next(struct schedule_cursor *cursor)
{
    if (cursor->at_ns == INT64_MAX) {
        return;
    }
    cursor->index++;
    if (is_poisson(cursor->schedule)) {
        cursor->state += poisson_gap(cursor->schedule, cursor->index);
        int64_t at = ns_of(cursor->state);
        cursor->at_ns = at < cursor->schedule->duration_ns ? at : INT64_MAX;
    } else {
        cursor->at_ns = at_direct(cursor->schedule, cursor->index);
    }
}

int64_t schedule_at(const struct schedule *schedule, uint64_t index)
{
    if (!is_poisson(schedule)) {
        return at_direct(schedule, index);
    }
    struct schedule_cursor cursor;
    schedule_begin(&cursor, schedule);
    while (cursor.index < index && cursor.at_ns != INT64_MAX) {
        schedule_next(&cursor);
    }
    return cursor.at_ns;
}

uint64_t schedule_count(const struct schedule *schedule)
{
    struct schedule_cursor cursor;
    if (is_poisson(schedule)) {
        for (schedule_begin(&cursor, schedule); cursor.at_ns != INT64_MAX;) {
            schedule_next(&cursor);
        }
        return cursor.index;
    }
    /* Times never fall, so the first index without one is found by doubling and halving. */
    uint64_t low = 0, high = 1;
    if (at_direct(schedule, 0) == INT64_MAX) {
        return 0;
    }
    while (at_direct(schedule, high) != INT64_MAX) {
        low = high;
        high *= 2;
        ensure(high < UINT64_C(1) << 62); /* a rate is at most SCHEDULE_RATE_MAX */
    }
    while (high - low > 1) {
        uint64_t middle = low + (high - low) / 2;
        if (at_direct(schedule, middle) != INT64_MAX) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return high;
}

double schedule_rate(const struct schedule *schedule, int64_t at_ns)
{
    if (at_ns < 0 || at_ns >= schedule->duration_ns) {
        return 0;
    }
    switch (schedule->model) {
    case SCHEDULE_CONSTANT:
    case SCHEDULE_POISSON:
        return schedule->rate_from;
    case SCHEDULE_RAMP:
        return schedule->rate_from +
               (schedule->rate_to - schedule->rate_from) * ((double)at_ns / (double)schedule->duration_ns);
    case SCHEDULE_STEP: {
        uint32_t steps = schedule->steps > 0 ? schedule->steps : 1;
        uint32_t step = (uint32_t)((double)at_ns / (double)schedule->duration_ns * steps);
        return step_rate(schedule, step < steps ? step : steps - 1);
    }
    case SCHEDULE_SPIKE:
        return at_ns >= schedule->spike_at_ns && at_ns - schedule->spike_at_ns < schedule->spike_for_ns
                   ? schedule->rate_to
                   : schedule->rate_from;
    case SCHEDULE_BURST: {
        bool is_over = schedule->burst_count > 0 && schedule->burst_every_ns > 0 &&
                       (uint64_t)(at_ns / schedule->burst_every_ns) >= schedule->burst_count;
        return schedule->burst_every_ns > 0 && !is_over
                   ? (double)schedule->burst_size / ((double)schedule->burst_every_ns / NS_PER_S)
                   : 0;
    }
    case SCHEDULE_TRACE: {
        /* What comes within the second that begins here. */
        size_t ends[2];
        for (int i = 0; i < 2; i++) {
            int64_t bound = at_ns + (i == 1 ? (int64_t)NS_PER_S : 0);
            size_t low = 0, high = schedule->trace_count;
            while (low < high) {
                size_t middle = low + (high - low) / 2;
                if (schedule->trace_ns[middle] < bound) {
                    low = middle + 1;
                } else {
                    high = middle;
                }
            }
            ends[i] = low;
        }
        return (double)(ends[1] - ends[0]);
    }
    }
    return 0;
}
