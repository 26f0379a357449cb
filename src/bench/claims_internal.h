/* claims_internal.h - what claims_map.c and claims.c share. */
#ifndef SHOAL_BENCH_CLAIMS_INTERNAL_H
#define SHOAL_BENCH_CLAIMS_INTERNAL_H

#include "bench/claims.h"

enum rule_kind { RULE_MEASURE, RULE_UNBUILT, RULE_INCOMPARABLE, RULE_RELATION, RULE_DOUBT };

#define CLAIM_CAPTURES_MAX 3
struct claim_captures { /* what {x} of a pattern stood for */
    struct slice names[CLAIM_CAPTURES_MAX], values[CLAIM_CAPTURES_MAX];
    uint32_t count;
};

struct claim_rule {
    enum rule_kind kind;
    uint32_t line, used;
    struct slice pattern;
    struct slice run;    /* MEASURE; may hold {x} */
    struct slice metric; /* MEASURE: name or expression, may hold {x} and a leading "*" */
    struct slice unit;   /* of an expression; empty: a bare number */
    bool is_expression;
    int good; /* enum claim_good; -1: the alias says */
    struct {
        enum claim_scale_kind kind;
        struct slice value; /* expression */
    } scales[CLAIM_SCALES_MAX];
    uint32_t scale_count;
    struct slice text; /* why, or the relation */
    double tolerance;
};

struct claim_alias {
    struct slice claim, run;
    enum claim_good good;
};

/* The claim of this id; NULL when there is none. */
const struct claim *claim_find(const struct claims *claims, struct slice id);
/* Whether the id of a claim fits a pattern. */
bool claim_matches(const struct claim *claim, struct slice pattern, struct claim_captures *ret_captures);
const struct claim_alias *claim_alias_find(const struct claims *claims, struct slice metric);
/* Writes a text of the rule with {x} and the leading "*" replaced; false when it does not fit. */
bool claim_fill(const struct claims *claims, const struct claim *claim, const struct claim_captures *captures,
                struct slice text, char *ret, size_t size);
/* The step and phase that the first name in a metric or expression asks for; "" where it asks for none. */
void claim_metric_place(const char *metric, char ret_step[BENCH_NAME_SIZE], char ret_phase[BENCH_NAME_SIZE]);
/* Reads the map into claims->{runs,rules,aliases} and gives each claim its rule. */
STATUS_MUST_CHECK enum status claims_read_map(struct slice map, struct claims *claims, char *ret_why, size_t why_size);
/* From a unit of metrics.def ("ns", "bytes", "/s", "%", "n", and "s") to one of the table. */
bool claim_unit_factor(struct slice from, struct slice to, double *ret_factor);

#endif
