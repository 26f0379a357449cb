/* recovery.c - detection and recovery times of faults.
 *
 * Right answers are counted in bins of 10 ms. A second is good when it has 90 % of the answers of an average second before the
 * fault, and no gap without answers that was not usual before. Without the second condition a target would count as
 * recovered up to a second early: the backlog that a stall leaves behind makes up for an empty beginning. First the
 * dip is looked for, then the first answer behind it that begins a good second. */
#include "bench/recovery.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

#define BIN_NS (10 * NS_PER_MS)
#define BINS_A_SECOND (NS_PER_S / BIN_NS)
#define BEFORE_BINS (5 * BINS_A_SECOND) /* what counts as before */
#define SHARE_BACK 0.9
#define GAP_BINS 10                    /* 100 ms without an answer are amiss, unless such gaps were there before */
#define SHOWS_WITHIN_NS (3 * NS_PER_S) /* after the fault or its detection: later dips have other reasons */

struct recovery {
    uint32_t *bins; /* right answers */
    size_t bin_count, bin_capacity;
    int64_t *noticed_ns; /* one a bin at most, ascending */
    size_t noticed_count, noticed_capacity;
    bool has_failed; /* without memory nothing is said rather than something wrong */
};

struct recovery *recovery_new(void)
{
    return calloc(1, sizeof(struct recovery));
}

static void grow_bins(struct recovery *recovery, size_t count)
{
    size_t capacity = recovery->bin_capacity == 0 ? 1024 : recovery->bin_capacity;
    while (capacity < count) {
        capacity *= 2;
    }
    uint32_t *grown = realloc(recovery->bins, capacity * sizeof(*grown));
    if (grown == NULL) {
        recovery->has_failed = true;
        return;
    }
    memset(grown + recovery->bin_capacity, 0, (capacity - recovery->bin_capacity) * sizeof(*grown));
    recovery->bins = grown;
    recovery->bin_capacity = capacity;
}

void recovery_noticed(struct recovery *recovery, int64_t at_ns)
{
    if (recovery == NULL || recovery->has_failed) {
        return;
    }
    if (recovery->noticed_count > 0 && at_ns < recovery->noticed_ns[recovery->noticed_count - 1] + BIN_NS) {
        return;
    }
    if (recovery->noticed_count == recovery->noticed_capacity) {
        size_t capacity = recovery->noticed_capacity == 0 ? 256 : recovery->noticed_capacity * 2;
        int64_t *grown = realloc(recovery->noticed_ns, capacity * sizeof(*grown));
        if (grown == NULL) {
            recovery->has_failed = true;
            return;
        }
        recovery->noticed_ns = grown;
        recovery->noticed_capacity = capacity;
    }
    recovery->noticed_ns[recovery->noticed_count++] = at_ns;
}

void recovery_answer(struct recovery *recovery, int64_t at_ns, bool is_ok)
{
    if (recovery == NULL || recovery->has_failed || at_ns < 0) {
        return;
    }
    if (!is_ok) {
        recovery_noticed(recovery, at_ns);
        return;
    }
    size_t bin = (size_t)(at_ns / BIN_NS);
    if (bin >= recovery->bin_capacity) {
        grow_bins(recovery, bin + 1);
    }
    if (recovery->has_failed) {
        return;
    }
    recovery->bins[bin]++;
    if (bin >= recovery->bin_count) {
        recovery->bin_count = bin + 1;
    }
}

static uint64_t sum(const struct recovery *recovery, size_t from, size_t to)
{
    uint64_t total = 0;
    for (size_t i = from; i < to && i < recovery->bin_count; i++) {
        total += recovery->bins[i];
    }
    return total;
}

/* `until_ns`: of the next fault's beginning; what it notices is not this one's. */
static void detect(const struct recovery *recovery, struct bench_event *event, int64_t until_ns)
{
    for (size_t i = 0; i < recovery->noticed_count; i++) {
        if (recovery->noticed_ns[i] >= event->at_ns && recovery->noticed_ns[i] < until_ns) {
            event->detected_ns = recovery->noticed_ns[i] - event->at_ns;
            return;
        }
    }
}

/* The longest run of bins without an answer. */
static size_t longest_gap(const struct recovery *recovery, size_t from, size_t to)
{
    size_t longest = 0, gap = 0;
    for (size_t i = from; i < to && i < recovery->bin_count; i++) {
        gap = recovery->bins[i] == 0 ? gap + 1 : 0;
        longest = gap > longest ? gap : longest;
    }
    return longest;
}

struct normal { /* what a good second looks like */
    double answers;
    size_t gap; /* bins */
};

static bool is_good(const struct recovery *recovery, size_t bin, const struct normal *normal)
{
    return (double)sum(recovery, bin, bin + BINS_A_SECOND) >= normal->answers &&
           longest_gap(recovery, bin, bin + BINS_A_SECOND) <= normal->gap;
}

static void recover(const struct recovery *recovery, struct bench_event *event)
{
    size_t fault = (size_t)(event->at_ns / BIN_NS);
    size_t before = fault > BEFORE_BINS ? fault - BEFORE_BINS : 0;
    while (before < fault && before < recovery->bin_count && recovery->bins[before] == 0) {
        before++; /* the run began later */
    }
    if (before >= fault || fault >= recovery->bin_count) {
        return;
    }
    size_t gap = 2 * longest_gap(recovery, before, fault);
    struct normal normal = {.answers = SHARE_BACK * (double)sum(recovery, before, fault) / (double)(fault - before) *
                                       BINS_A_SECOND,
                            .gap = gap > GAP_BINS ? gap : GAP_BINS};
    int64_t until_ns = event->at_ns + (event->detected_ns > 0 ? event->detected_ns : 0) + SHOWS_WITHIN_NS;
    size_t bin = fault, last = recovery->bin_count >= BINS_A_SECOND ? recovery->bin_count - BINS_A_SECOND : 0;
    while (bin <= last && is_good(recovery, bin, &normal)) {
        if ((int64_t)++bin * BIN_NS > until_ns) {
            event->recovered_ns = 0; /* nothing was ever amiss */
            return;
        }
    }
    if (bin > last && bin > fault) {
        event->recovered_ns = 0; /* nor until the run was over */
        return;
    }
    while (bin <= last && (recovery->bins[bin] == 0 || !is_good(recovery, bin, &normal))) {
        bin++;
    }
    if (bin > last) {
        return; /* not within the run */
    }
    int64_t recovered_ns = (int64_t)bin * BIN_NS - event->at_ns;
    event->recovered_ns = recovered_ns > 0 ? recovered_ns : 0;
}

void recovery_finish(struct recovery *recovery, struct bench_result *result)
{
    if (recovery == NULL) {
        return;
    }
    for (uint32_t i = 0; i < result->event_count && !recovery->has_failed; i++) {
        struct bench_event *event = &result->events[i];
        int64_t until_ns = INT64_MAX;
        if (event->fault[0] == '\0') {
            continue;
        }
        for (uint32_t k = i + 1; k < result->event_count && until_ns == INT64_MAX; k++) {
            if (result->events[k].fault[0] != '\0' && result->events[k].at_ns > event->at_ns) {
                until_ns = result->events[k].at_ns;
            }
        }
        detect(recovery, event, until_ns);
        recover(recovery, event);
    }
    free(recovery->bins);
    free(recovery->noticed_ns);
    free(recovery);
}
