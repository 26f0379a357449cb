/* histogram.h - how often each value was seen, in constant memory and with three significant digits.
 *
 * The layout of HdrHistogram (Tene): buckets that double in width, 2048 sub-buckets each, so that a value is
 * recorded with a relative error below 1/1024 (none below 2048) anywhere between 0 and HISTOGRAM_VALUE_MAX. Recording is a few
 * instructions and never allocates. Values are nanoseconds, though nothing here depends on it. One thread at a time. */
#ifndef SHOAL_BENCH_HISTOGRAM_H
#define SHOAL_BENCH_HISTOGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/status.h"

#define HISTOGRAM_VALUE_MAX (INT64_C(3600) * 1000000000) /* larger values are recorded as this, and counted */

struct histogram;

/* NULL when there is no memory (about 270 KiB; untouched parts of it cost nothing). */
struct histogram *histogram_new(void);
void histogram_free(struct histogram *histogram); /* NULL is harmless */
void histogram_reset(struct histogram *histogram);
/* Negative values count as 0. */
void histogram_record(struct histogram *histogram, int64_t value);
void histogram_record_many(struct histogram *histogram, int64_t value, uint64_t count);
/* Adds all of `from` to `to`. */
void histogram_add(struct histogram *to, const struct histogram *from);
uint64_t histogram_count(const struct histogram *histogram);
uint64_t histogram_clamped(const struct histogram *histogram); /* how many were above the maximum */
/* 0 when it is empty. The percentile is the smallest recorded value that at least `percent` (0..100) of the values do not
 * exceed, as the upper end of its bucket but never above the exact maximum. Minimum and maximum are exact. */
int64_t histogram_percentile(const struct histogram *histogram, double percent);
int64_t histogram_min(const struct histogram *histogram);
int64_t histogram_max(const struct histogram *histogram);
double histogram_mean(const struct histogram *histogram);
double histogram_stddev(const struct histogram *histogram);
/* Share (0..1) of the values that do not exceed `value` or are in its bucket. */
double histogram_share_within(const struct histogram *histogram, int64_t value);

/* Walks the buckets that hold something, in order: start with *at = 0; false at the end. `ret_value` is the upper end. */
bool histogram_next(const struct histogram *histogram, size_t *at, int64_t *ret_value, uint64_t *ret_count);
/* {"count":…,"clamped":…,"min":…,"max":…,"sum":…,"buckets":[[upper,count],…]} and back: nothing is lost. INVALID, with an
 * empty histogram, for what it did not write. */
void histogram_write_json(const struct histogram *histogram, struct buf *out);
struct json_value;
STATUS_MUST_CHECK enum status histogram_read_json(const struct json_value *value, struct histogram *ret_histogram);

#endif
