/* history.h - what past runs say together: each metric of each scenario as a series, and where it took another level. */
#ifndef SHOAL_BENCH_HISTORY_H
#define SHOAL_BENCH_HISTORY_H

#include "bench/metrics.h"

#define HISTORY_RUNS_MAX 4096
#define HISTORY_METRICS 6
#define HISTORY_NOISE 0.02 /* the smallest relative change worth a word */
#define HISTORY_P_MAX 0.01 /* a level that comes by chance once in a hundred series is none */

struct history_run {
    char dir[1024];
    char scenario[BENCH_NAME_SIZE], title[160];
    int64_t started_wall_ns;
    enum bench_verdict verdict;
    double values[HISTORY_METRICS]; /* NAN: not measured */
};
struct history {
    struct history_run *runs; /* owned; by scenario and title, then by time */
    uint32_t count;
    uint32_t unread; /* folders with a run.json that could not be read */
};

extern const char *const history_metrics[HISTORY_METRICS];

/* Reads every run directory in the folder and below it (depth 8 at most; links are not followed). NOT_FOUND when the folder cannot be
 * opened, NO_MEMORY. Runs past HISTORY_RUNS_MAX are not read. */
STATUS_MUST_CHECK enum status history_read(const char *folder, struct history *ret_history);
void history_free(struct history *history);
/* Tables for people, or one JSON document. Runs that are invalid or were interrupted are counted and left out of the series. */
void history_write_text(const struct history *history, struct buf *out);
void history_write_json(const struct history *history, struct buf *out);

#endif
