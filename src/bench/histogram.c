/* histogram.c - HdrHistogram's layout in one flat array of counts.
 *
 * A value below 2048 has a bucket of its own. Above, a value with its highest bit at position p is shifted right by
 * s = p - 10, which leaves a number of eleven bits whose highest is set: 1024 <= v >> s < 2048. Its bucket is
 *
 *   index = 1024 s + (v >> s)          lower end (index - 1024 s) << s, width 1 << s
 *
 * so buckets of one width follow those of half that width without a gap, and a bucket is narrower than 1/1024 of what is
 * in it. Index and value are a few shifts apart; there is no search.
 *
 * The sum is exact (it saturates past 584 years), as minimum and maximum are; the standard deviation is taken from the
 * middles of the buckets when it is asked for, so that recording stays a handful of instructions. `low` and `high`
 * enclose the buckets in use: what is reset, added or walked is that much and not the whole array. */
#include "bench/histogram.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "base/ensure.h"
#include "base/json.h"

#define SUB_BITS 11
#define SUB_HALF (1u << (SUB_BITS - 1))
/* HISTOGRAM_VALUE_MAX has 42 bits: the last shift is 31. */
#define BUCKETS ((size_t)SUB_HALF * 31 + (1u << SUB_BITS))
static_assert(HISTOGRAM_VALUE_MAX < INT64_C(1) << 42, "the largest value has a bucket");

struct histogram {
    uint32_t magic;
    size_t low, high; /* buckets that hold something lie in [low, high); BUCKETS, 0 when there are none */
    uint64_t count, clamped, sum;
    int64_t min, max;
    uint64_t counts[BUCKETS];
};

static size_t index_of(int64_t value)
{
    if (value < (1 << SUB_BITS)) {
        return (size_t)value;
    }
    unsigned shift = 63u - (unsigned)__builtin_clzll((unsigned long long)value) - (SUB_BITS - 1);
    return (size_t)SUB_HALF * shift + (size_t)(value >> shift);
}

static unsigned shift_of(size_t index)
{
    return index < (1u << SUB_BITS) ? 0 : (unsigned)(index / SUB_HALF) - 1;
}

static int64_t lower_end(size_t index)
{
    unsigned shift = shift_of(index);
    return (int64_t)(index - (size_t)SUB_HALF * shift) << shift;
}

static int64_t upper_end(size_t index)
{
    return lower_end(index) + (INT64_C(1) << shift_of(index)) - 1;
}

static uint64_t add_saturated(uint64_t a, uint64_t b)
{
    return a + b >= a ? a + b : UINT64_MAX;
}

struct histogram *histogram_new(void)
{
    struct histogram *histogram = calloc(1, sizeof(*histogram));
    if (histogram != NULL) {
        histogram->magic = HISTOGRAM_MAGIC;
        histogram->low = BUCKETS;
    }
    return histogram;
}

void histogram_free(struct histogram *histogram)
{
    if (histogram == NULL) {
        return;
    }
    ensure_magic(histogram, HISTOGRAM_MAGIC);
    histogram->magic = 0;
    free(histogram);
}

void histogram_reset(struct histogram *histogram)
{
    ensure_magic(histogram, HISTOGRAM_MAGIC);
    if (histogram->low < histogram->high) {
        memset(&histogram->counts[histogram->low], 0,
               (histogram->high - histogram->low) * sizeof(histogram->counts[0]));
    }
    histogram->low = BUCKETS;
    histogram->high = 0;
    histogram->count = histogram->clamped = histogram->sum = 0;
    histogram->min = histogram->max = 0;
}

void histogram_record_many(struct histogram *histogram, int64_t value, uint64_t count)
{
    ensure_magic(histogram, HISTOGRAM_MAGIC);
    if (count == 0) {
        return;
    }
    if (value > HISTOGRAM_VALUE_MAX) {
        value = HISTOGRAM_VALUE_MAX;
        histogram->clamped += count;
    }
    value = value < 0 ? 0 : value;
    size_t index = index_of(value);
    histogram->counts[index] += count;
    histogram->low = index < histogram->low ? index : histogram->low;
    histogram->high = index >= histogram->high ? index + 1 : histogram->high;
    histogram->min = histogram->count == 0 || value < histogram->min ? value : histogram->min;
    histogram->max = value > histogram->max ? value : histogram->max;
    histogram->count += count;
    uint64_t sum;
    histogram->sum =
        __builtin_mul_overflow((uint64_t)value, count, &sum) ? UINT64_MAX : add_saturated(histogram->sum, sum);
}

void histogram_record(struct histogram *histogram, int64_t value)
{
    histogram_record_many(histogram, value, 1);
}

void histogram_add(struct histogram *to, const struct histogram *from)
{
    ensure_magic(to, HISTOGRAM_MAGIC);
    ensure_magic(from, HISTOGRAM_MAGIC);
    ensure(to != from);
    if (from->count == 0) {
        return;
    }
    for (size_t i = from->low; i < from->high; i++) {
        to->counts[i] += from->counts[i];
    }
    to->low = from->low < to->low ? from->low : to->low;
    to->high = from->high > to->high ? from->high : to->high;
    to->min = to->count == 0 || from->min < to->min ? from->min : to->min;
    to->max = from->max > to->max ? from->max : to->max;
    to->count += from->count;
    to->clamped += from->clamped;
    to->sum = add_saturated(to->sum, from->sum);
}

uint64_t histogram_count(const struct histogram *histogram)
{
    ensure_magic(histogram, HISTOGRAM_MAGIC);
    return histogram->count;
}

uint64_t histogram_clamped(const struct histogram *histogram)
{
    ensure_magic(histogram, HISTOGRAM_MAGIC);
    return histogram->clamped;
}

int64_t histogram_percentile(const struct histogram *histogram, double percent)
{
    ensure_magic(histogram, HISTOGRAM_MAGIC);
    if (histogram->count == 0) {
        return 0;
    }
    percent = percent < 0 ? 0 : percent > 100 ? 100 : percent;
    double wanted = ceil(percent / 100 * (double)histogram->count);
    /* 99.9 is no binary fraction: 99.9 % of 1000 must be 999 values, not 1000. */
    if (wanted >= 1 && (wanted - 1) >= percent / 100 * (double)histogram->count * (1 - 1e-12)) {
        wanted--;
    }
    uint64_t rank = wanted < 1 ? 1 : (uint64_t)wanted;
    rank = rank > histogram->count ? histogram->count : rank;
    if (rank == 1) {
        return histogram->min;
    }
    uint64_t seen = 0;
    for (size_t i = histogram->low; i < histogram->high; i++) {
        seen += histogram->counts[i];
        if (seen >= rank) {
            int64_t upper = upper_end(i);
            return upper < histogram->max ? upper : histogram->max;
        }
    }
    return histogram->max;
}

int64_t histogram_min(const struct histogram *histogram)
{
    ensure_magic(histogram, HISTOGRAM_MAGIC);
    return histogram->min;
}

int64_t histogram_max(const struct histogram *histogram)
{
    ensure_magic(histogram, HISTOGRAM_MAGIC);
    return histogram->max;
}

double histogram_mean(const struct histogram *histogram)
{
    ensure_magic(histogram, HISTOGRAM_MAGIC);
    return histogram->count > 0 ? (double)histogram->sum / (double)histogram->count : 0;
}

double histogram_stddev(const struct histogram *histogram)
{
    ensure_magic(histogram, HISTOGRAM_MAGIC);
    if (histogram->count < 2) {
        return 0;
    }
    double mean = histogram_mean(histogram), squares = 0;
    for (size_t i = histogram->low; i < histogram->high; i++) {
        if (histogram->counts[i] > 0) {
            double middle = ((double)lower_end(i) + (double)upper_end(i)) / 2;
            squares += (middle - mean) * (middle - mean) * (double)histogram->counts[i];
        }
    }
    return sqrt(squares / (double)(histogram->count - 1));
}

double histogram_share_within(const struct histogram *histogram, int64_t value)
{
    ensure_magic(histogram, HISTOGRAM_MAGIC);
    if (histogram->count == 0 || value < histogram->min) {
        return 0;
    }
    if (value >= histogram->max) {
        return 1;
    }
    size_t end = index_of(value) + 1;
    uint64_t within = 0;
    for (size_t i = histogram->low; i < end && i < histogram->high; i++) {
        within += histogram->counts[i];
    }
    return (double)within / (double)histogram->count;
}

bool histogram_next(const struct histogram *histogram, size_t *at, int64_t *ret_value, uint64_t *ret_count)
{
    ensure_magic(histogram, HISTOGRAM_MAGIC);
    size_t i = *at > histogram->low ? *at : histogram->low;
    while (i < histogram->high && histogram->counts[i] == 0) {
        i++;
    }
    if (i >= histogram->high) {
        return false;
    }
    *at = i + 1;
    *ret_value = upper_end(i);
    *ret_count = histogram->counts[i];
    return true;
}

/* --- JSON --- */

void histogram_write_json(const struct histogram *histogram, struct buf *out)
{
    ensure_magic(histogram, HISTOGRAM_MAGIC);
    buf_printf(out, "{\"count\":%llu,\"clamped\":%llu,\"min\":%lld,\"max\":%lld,\"sum\":%llu,\"buckets\":[",
               (unsigned long long)histogram->count, (unsigned long long)histogram->clamped, (long long)histogram->min,
               (long long)histogram->max, (unsigned long long)histogram->sum);
    size_t at = 0;
    int64_t value;
    uint64_t count;
    bool is_first = true;
    while (histogram_next(histogram, &at, &value, &count)) {
        buf_printf(out, "%s[%lld,%llu]", is_first ? "" : ",", (long long)value, (unsigned long long)count);
        is_first = false;
    }
    buf_append_str(out, "]}");
}

static bool read_bucket(struct json_value pair, struct histogram *histogram)
{
    struct json_iter it = json_iter_of(pair);
    struct json_value first, second;
    int64_t upper;
    uint64_t count;
    if (json_type_of(pair) != JSON_ARRAY || json_count(pair) != 2 || !json_next(&it, NULL, &first) ||
        !json_next(&it, NULL, &second) || !json_get_i64(first, &upper) || !json_get_u64(second, &count) || upper < 0) {
        return false;
    }
    if (upper > upper_end(BUCKETS - 1) || upper_end(index_of(upper)) != upper || count == 0) {
        return false;
    }
    size_t index = index_of(upper);
    /* In order, and each once. */
    if (index < histogram->high || count > UINT64_MAX - histogram->count) {
        return false;
    }
    histogram->counts[index] = count;
    histogram->low = index < histogram->low ? index : histogram->low;
    histogram->high = index + 1;
    histogram->count += count;
    return true;
}

static bool read_histogram(struct json_value value, struct histogram *histogram)
{
    struct json_value member, buckets;
    uint64_t count;
    if (!json_member(value, "buckets", &buckets) || json_type_of(buckets) != JSON_ARRAY) {
        return false;
    }
    struct json_iter it = json_iter_of(buckets);
    struct json_value pair;
    while (json_next(&it, NULL, &pair)) {
        if (!read_bucket(pair, histogram)) {
            return false;
        }
    }
    if (!json_member(value, "count", &member) || !json_get_u64(member, &count) || count != histogram->count ||
        !json_member(value, "clamped", &member) || !json_get_u64(member, &histogram->clamped) ||
        !json_member(value, "min", &member) || !json_get_i64(member, &histogram->min) ||
        !json_member(value, "max", &member) || !json_get_i64(member, &histogram->max) ||
        !json_member(value, "sum", &member) || !json_get_u64(member, &histogram->sum)) {
        return false;
    }
    if (histogram->count == 0) {
        return histogram->min == 0 && histogram->max == 0 && histogram->sum == 0 && histogram->clamped == 0;
    }
    return histogram->clamped <= histogram->count && histogram->min >= 0 && histogram->min <= histogram->max &&
           histogram->max <= HISTOGRAM_VALUE_MAX && index_of(histogram->min) == histogram->low &&
           index_of(histogram->max) + 1 == histogram->high;
}

enum status histogram_read_json(const struct json_value *value, struct histogram *ret_histogram)
{
    histogram_reset(ret_histogram);
    if (!read_histogram(*value, ret_histogram)) {
        /* Whatever was read lies in [low, high), so that a reset is enough. */
        histogram_reset(ret_histogram);
        return STATUS_INVALID;
    }
    return STATUS_OK;
}
