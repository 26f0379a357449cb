/* claims.h - what published reports claim, and what of it a run of ours shows.
 *
 * bench/claims.tsv has the claims, one a line; bench/claims.map says for each which run measures it, with which metric, and how large the
 * source's test was - or why nothing measures it. Both are inside the program. A claim gets one verdict:
 *
 *   met             measured at the source's size or beyond, and at least as good as claimed
 *   missed          measured at that size, and worse; or the run said nothing about the target twice
 *   scaled          measured, but with fewer users, less time or smaller things than the source's test
 *   not built yet   the part of Shoal that it is about does not exist
 *   not comparable  money, vendors, regions, other machines: nothing that a run could show
 *   inconsistent    the source contradicts itself here, whatever we measured
 *
 * Pure apart from claims_default. One thread at a time. */
#ifndef SHOAL_BENCH_CLAIMS_H
#define SHOAL_BENCH_CLAIMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"
#include "base/status.h"
#include "bench/metrics.h"
#include "bench/scenario.h"

enum claim_verdict {
    CLAIM_MET,
    CLAIM_MISSED,
    CLAIM_SCALED,
    CLAIM_NOT_BUILT,
    CLAIM_NOT_COMPARABLE,
    CLAIM_INCONSISTENT,
    CLAIM_VERDICT_COUNT
};
const char *claim_verdict_name(enum claim_verdict verdict);

enum claim_good { CLAIM_LOWER, CLAIM_HIGHER, CLAIM_ABOUT };

#define CLAIM_SCALES_MAX 4
enum claim_scale_kind {
    CLAIM_USERS,       /* most users of the phase */
    CLAIM_SECONDS,     /* length of the phase */
    CLAIM_REQUESTS,    /* scheduled in the phase */
    CLAIM_SESSIONS,    /* simulated nodes that were welcomed */
    CLAIM_RATE,        /* right answers a second in the phase */
    CLAIM_CONNECTIONS, /* most at one time */
    CLAIM_BYTES,       /* sent or received by a request of the step, the larger */
    CLAIM_SCALE_COUNT
};

struct claim {
    struct slice id;                   /* S0.05/10#avg */
    struct slice scenario, axis, name; /* its parts: S0.05, 10, avg; axis may be empty */
    struct slice source, title, load, metric, unit, op, claimed, target; /* columns of the table */
    char class;
    double value;             /* the claimed one: of a range the end that is easier to reach, of a->b what it became */
    double low, high, before; /* of a range, of a->b; else all are `value` */
    bool has_number;
    bool is_chosen;
    const struct claim_rule *rule; /* line of the map */

    enum claim_verdict verdict;
    bool is_measured, is_reached; /* measured is there; it is as good as claimed, whatever the size */
    double measured;              /* in the claim's unit */
    double scale; /* of the source's size, where it was smallest: 1 for all of it; 0.01 for a hundredth */
    enum claim_scale_kind scaled; /* in what */
    double gap_for_size; /* the same for a run of that size: a tenth of the time gives a tenth of the requests */
    double gap;      /* how many times worse than claimed; 1 when it is reached; INFINITY when nothing is left of it */
    const char *run; /* that measured it; NULL */
    char note[160];  /* "" or a sentence */
    char doubt[160]; /* what the source says against itself; "" */
};

struct claim_rule; /* of claims_map.c */
struct claim_run {
    char name[BENCH_NAME_SIZE], scenario[BENCH_NAME_SIZE];
    char defines[2][8][64]; /* full, quick: NAME=VALUE */
    uint32_t define_count;
};

struct claims {
    struct claim *claims; /* owned */
    uint32_t count;
    struct claim_run *runs; /* owned */
    uint32_t run_count;
    struct claim_rule *rules; /* owned */
    uint32_t rule_count;
    struct claim_alias *aliases; /* owned */
    uint32_t alias_count;
};

/* Reads the two texts, which outlive the struct. INVALID: ret_why is one sentence that begins with the text's name and line; a claim that no line of the
 * map covers, and a line that covers none, are such mistakes. */
STATUS_MUST_CHECK enum status claims_read(struct slice table, struct slice map, struct claims *ret_claims,
                                          char *ret_why, size_t why_size);
/* The two texts that are inside the program, and scenarios by name (empty: there is none). */
void claims_default(struct slice *ret_table, struct slice *ret_map);
struct slice claims_scenario(const char *name);
struct slice claims_template(unsigned source); /* layout of the report of a source; empty past the last */
void claims_free(struct claims *claims);

/* Whether any chosen claim needs this run. */
bool claims_need_run(const struct claims *claims, uint32_t run);

/* Chooses the claims whose id matches ("*" for anything, metrics behind "#" separated by commas); all are chosen at first. Only what is
 * chosen is counted and written. False when none matches. */
bool claims_choose(struct claims *claims, const char *pattern);

struct claim_outcome { /* of one run */
    const struct bench_result *result;
    const struct scenario *scenario;
    const char *why; /* not NULL: nothing was measured, because of this */
};
/* Fills in the judged part of each claim. `outcomes` has one for each run; result NULL and why NULL: not run. */
void claims_judge(struct claims *claims, const struct claim_outcome *outcomes);

/* How many of a source (its number; UINT_MAX: of all) have each verdict. */
void claims_count(const struct claims *claims, unsigned source, uint32_t ret_counts[CLAIM_VERDICT_COUNT]);
uint32_t claims_sources(const struct claims *claims);
/* The name of a source as the table has it; empty past the last. */
struct slice claims_source(const struct claims *claims, unsigned source);
unsigned claim_source(const struct claim *claim); /* its number: the digit of the id */

/* A value in the claim's unit for people. */
void claim_value_text(const struct claim *claim, double value, char *ret, size_t size);
/* Before any run: what is claimed, and what would measure it or why nothing does. A line or a JSON object each. */
void claims_write_plan(const struct claims *claims, bool is_json, struct buf *out);
/* Tab-separated: id, source, class, claimed, measured, unit, verdict, run, note, doubt. */
void claims_write_table(const struct claims *claims, struct buf *out);
void claims_write_json(const struct claims *claims, struct buf *out);
/* Counts for each source, the worst gaps, the contradictions; for a terminal. */
void claims_write_summary(const struct claims *claims, struct buf *out);
/* The report of a source in its own layout: {ID} in the template becomes what we measured with the sign of its verdict, or a dash. */
void claims_write_report(const struct claims *claims, unsigned source, struct buf *out);

#endif
