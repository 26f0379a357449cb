/* metrics.h - everything that a run measured, by name.
 *
 * A run fills one struct bench_result; gates, reports, compare, history and claims all read it through the names here, so a
 * name that a gate may use is a name that a report shows. The names are one table (metrics.def). */
#ifndef SHOAL_BENCH_METRICS_H
#define SHOAL_BENCH_METRICS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"
#include "base/status.h"
#include "bench/histogram.h"

#define BENCH_NAME_SIZE 48
#define BENCH_ERROR_CLASSES 16

/* Why a request failed. Every failure has exactly one class. */
enum bench_error {
    BENCH_ERROR_REFUSED,    /* nobody listens */
    BENCH_ERROR_RESET,      /* the connection broke before the answer was complete */
    BENCH_ERROR_TIMED_OUT,  /* counted as timed out, not as failed */
    BENCH_ERROR_NONSENSE,   /* the answer is no HTTP, no WebSocket, no JSON where some was needed */
    BENCH_ERROR_STATUS_4XX, /* an answer that was not expected */
    BENCH_ERROR_STATUS_5XX,
    BENCH_ERROR_STATUS_OTHER,
    BENCH_ERROR_MISMATCH, /* the expected text or member is missing */
    BENCH_ERROR_RESOLVE,  /* name or address */
    BENCH_ERROR_TOO_LARGE,
    BENCH_ERROR_NO_CONNECTION, /* descriptors or ports ran out on the generator's side */
    BENCH_ERROR_COUNT
};
const char *bench_error_name(enum bench_error error);

/* What was counted: of a phase, of a step of a flow inside a phase, or of a second.
 * Conservation, asserted at the end and every second: scheduled = ok + failed + timed_out + shed + in_flight. */
struct bench_counts {
    uint64_t scheduled; /* requests whose intended time has come */
    uint64_t ok, failed, timed_out;
    uint64_t shed; /* never sent: no user or connection was free within the limit the scenario sets */
    uint64_t in_flight;
    uint64_t bytes_out, bytes_in;
    uint64_t connects; /* connections made */
    uint64_t errors[BENCH_ERROR_COUNT];
};

/* A series of measurements of one sort: a step of a flow in a phase, "all" of a phase, or something that nodes saw. */
struct bench_series {
    char phase[BENCH_NAME_SIZE]; /* "" : the whole run (phases marked `discard` left out) */
    char step[BENCH_NAME_SIZE];  /* label of the step; "" : all of them */
    struct bench_counts counts;
    uint64_t items;            /* tasks submitted, leased or completed: 100 for one request with a batch of 100 */
    int64_t begin_ns, end_ns;  /* of the phase, from the start of the run */
    struct histogram *latency; /* ns from the intended send to the end of the answer */
    struct histogram *service; /* ns from the real send to the end of the answer */
    struct histogram *assign,
        *complete; /* as below, of the tasks that a phase submitted; NULL where step is not "" or nothing was */
};

/* One second of one series ("" phase and step: of the run). */
struct bench_second {
    uint32_t second;            /* from the start of the run */
    struct bench_counts counts; /* of this second */
    uint64_t items;
    double rate_meant;
    int64_t p50_ns, p95_ns, p99_ns, max_ns;
    int64_t lag_max_ns;
};

/* Once a second, of one process (hub, node, generator) or of the machine. */
struct bench_sample {
    uint32_t second;
    uint16_t process;   /* index into processes */
    double cpu_percent; /* of one core */
    uint64_t memory_bytes, descriptors, threads;
    uint64_t disk_read_bytes, disk_written_bytes, net_in_bytes, net_out_bytes; /* within this second */
};
struct bench_process {
    char name[BENCH_NAME_SIZE]; /* "hub", "node1", "generator", "machine" */
    int pid;
    /* over the run, filled at its end */
    double cpu_mean_percent, cpu_peak_percent;
    uint64_t memory_mean_bytes, memory_peak_bytes, memory_end_bytes;
    double leak_bytes_per_hour, leak_low, leak_high; /* least squares, and its 95 % interval */
};
/* A value of the target's /metrics, once a second. */
struct bench_scrape {
    char name[96];
    uint32_t count;
    uint32_t *seconds; /* owned */
    double *values;    /* owned */
};
/* What happened to the target, as it was done. */
struct bench_event {
    int64_t at_ns;                     /* from the start of the run */
    char what[96];                     /* "kill hub", "phase steady begins", … */
    char fault[BENCH_NAME_SIZE];       /* its name in metrics, "kill_hub"; "" for what is no beginning of a fault */
    int64_t detected_ns, recovered_ns; /* for faults: after at_ns; -1: not (yet). recovery.c fills them in */
};

enum bench_verdict { BENCH_PASS, BENCH_GATE_MISSED, BENCH_INVALID, BENCH_INTERRUPTED };

struct bench_gate_result {
    char text[160]; /* as in the scenario */
    bool is_met, is_known;
    double measured, wanted;
    char unit[12];
};

struct bench_result {
    char scenario[BENCH_NAME_SIZE], title[160];
    int64_t started_wall_ns, duration_ns;
    uint64_t seed;
    struct bench_series *series; /* owned; the run's "" "" first */
    uint32_t series_count;
    struct bench_second *seconds; /* owned; of the whole run */
    uint32_t second_count;
    struct bench_process *processes; /* owned */
    uint32_t process_count;
    struct bench_sample *samples; /* owned */
    uint32_t sample_count;
    struct bench_scrape *scrapes; /* owned */
    uint32_t scrape_count;
    struct bench_event *events; /* owned */
    uint32_t event_count;
    struct bench_gate_result *gates; /* owned */
    uint32_t gate_count;
    struct histogram *lag;      /* ns that the generator was late: from the intended send to when it turned to it */
    struct histogram *assign;   /* ns from a submit's intended send to the arrival of its lease at a node of ours */
    struct histogram *complete; /* ns from a submit's intended send to its outcome being accepted */
    uint64_t iterations;        /* flows begun by users or arrivals */
    uint64_t sessions, sessions_failed, sessions_lost; /* simulated nodes */
    double evenness_percent;     /* of the tasks that they did, see metrics.def; 0: they did none */
    uint64_t memory_total_bytes; /* of the machine; 0: not known, as its cores */
    uint32_t cores;
    int64_t sessions_open_ns;           /* from the first dial to the last welcome */
    uint64_t lost_tasks, doubled_tasks; /* acknowledged tasks that no node completed; more than once */
    struct histogram *session_open;     /* ns from dialling to welcome */
    uint32_t users_max, connections_max;
    enum bench_verdict verdict;
    char invalid_why[256]; /* sentences: why the run says nothing about the target */
};
/* Everything empty; histograms are NULL (which counts as empty everywhere) until bench_result_histograms makes them. */
void bench_result_init(struct bench_result *result);
STATUS_MUST_CHECK enum status bench_result_histograms(struct bench_result *result); /* NO_MEMORY */
void bench_result_free(struct bench_result *result);
/* A further series with its histograms; the array moves, so keep indices, not pointers. NULL without memory. */
struct bench_series *bench_result_add_series(struct bench_result *result, const char *phase, const char *step);
/* A further event, detected and recovered being -1. NULL without memory. */
struct bench_event *bench_result_add_event(struct bench_result *result, int64_t at_ns, const char *what);

/* The series of a phase and step; NULL when there is none. */
const struct bench_series *bench_result_series(const struct bench_result *result, const char *phase, const char *step);

/* --- names ---
 *
 *   NAME[:STEP][@PHASE]     p99, rate@steady, p95:submit@peak, success, cpu.hub, memory_peak.hub, leak.hub,
 *                           assign_p99, assign_within.2s@peak, lag_p99, recover.kill_hub, scrape.shoal_tasks_ready
 *
 * metrics.def lists NAME with its unit ("ns", "%", "/s", "n", "bytes") and what it means. */
/* Whether the name is one (whatever phases and steps there are); ret_unit may be NULL. */
bool bench_metric_is_known(struct slice name, const char **ret_unit);
/* Whether it can be asked over a window of seconds (bench_metric_window). */
bool bench_metric_has_window(struct slice name);
/* The words before any '.', ':' or '@' (p50, p99 standing for all percentiles), ended by NULL: for "did you mean". Static storage. */
const char *const *bench_metric_words(void);
/* The value in the unit of the table. NOT_FOUND: no such name, phase, step or process; END: known, but nothing was measured. A
 * fault from which the target did not recover has recovered after INFINITY. */
STATUS_MUST_CHECK enum status bench_metric(const struct bench_result *result, struct slice name, double *ret_value,
                                           const char **ret_unit);
/* The same over the seconds from from_ns to to_ns (0: the end) of its phase, or of the run without one. Counts, rates and shares are
 * those of the window; of latencies the worst second counts (is_largest), or the best. */
STATUS_MUST_CHECK enum status bench_metric_window(const struct bench_result *result, struct slice name, int64_t from_ns,
                                                  int64_t to_ns, bool is_largest, double *ret_value,
                                                  const char **ret_unit);
/* A value with its unit for people: "1.25 ms", "12.3 MiB", "99.9 %". */
void bench_value_text(double value, const char *unit, char *ret, size_t size);
/* All names with help: for people (columns of text), or as the Markdown table of docs/bench.md. */
void bench_metrics_list(struct buf *out, bool is_markdown);

#endif
