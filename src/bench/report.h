/* report.h - the run directory: everything that was measured, for programs, for people, and for reading it back.
 *
 *   run.json          the run: machine, build, settings, scenario, results, gates (schema in docs/bench.md)
 *   series.ndjson     a line for each second
 *   samples.ndjson    a line for each process and second, and for each line of /metrics and second
 *   histograms.json   every histogram, nothing lost
 *   report.md  report.html  junit.xml  metrics.prom
 *
 * Files are written to a temporary name and renamed, run.json last: a folder with a run.json is complete. */
#ifndef SHOAL_BENCH_REPORT_H
#define SHOAL_BENCH_REPORT_H

#include "bench/metrics.h"
#include "bench/scenario.h"

#define REPORT_SCHEMA "shoal-bench-run/1"

struct report_context {              /* what a run was made of */
    const struct scenario *scenario; /* NULL: not known */
    const char *const *defines;      /* NAME=VALUE, ended by NULL; NULL: none */
    double time_scale;
};

/* Makes `parent`/<time>-<scenario> (with a number behind it when that is there) and gives its path. */
STATUS_MUST_CHECK enum status report_make_dir(const char *parent, const struct bench_result *result, char *ret_dir,
                                              size_t dir_size, char *ret_why, size_t why_size);
/* Writes all files into an existing folder. NO_SPACE, PERMISSION, IO, NO_MEMORY with a sentence. */
STATUS_MUST_CHECK enum status report_write(const char *dir, const struct report_context *context,
                                           const struct bench_result *result, char *ret_why, size_t why_size);
/* Reads a run directory back, completely: every metric gives what it gave. NOT_FOUND, BAD_JSON, INVALID with a sentence. The result
 * is to be freed in any case. */
STATUS_MUST_CHECK enum status report_read(const char *dir, struct bench_result *ret_result, char *ret_why,
                                          size_t why_size);

const char *report_verdict_name(enum bench_verdict verdict); /* "pass", "gate-missed", "invalid", "interrupted" */

/* The single files, appended to `out`. */
void report_json(const struct report_context *context, const struct bench_result *result, struct buf *out);
void report_series(const struct bench_result *result, struct buf *out);
void report_samples(const struct bench_result *result, struct buf *out);
void report_histograms(const struct bench_result *result, struct buf *out);
void report_markdown(const struct report_context *context, const struct bench_result *result, struct buf *out);
void report_html(const struct report_context *context, const struct bench_result *result, struct buf *out);
void report_junit(const struct bench_result *result, struct buf *out);
void report_prometheus(const struct bench_result *result, struct buf *out);
/* What is shown at the end of a run on a terminal. */
void report_terminal(const struct bench_result *result, bool has_color, struct buf *out);

/* What a run ran on and with; static storage. */
struct report_machine {
    char cpu[96], kernel[96], host[65];
    uint32_t cores;
    uint64_t memory_bytes;
};
const struct report_machine *report_machine(void);
const char *report_commit(void); /* of this build; "unknown" outside of a repository */

#endif
