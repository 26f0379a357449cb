/* verify.h - runs the scenarios that replay the claims, one after the other, and judges the claims from what they measured. */
#ifndef SHOAL_BENCH_VERIFY_H
#define SHOAL_BENCH_VERIFY_H

#include "bench/claims.h"
#include "bench/engine.h"

struct verify_step { /* valid during the call */
    const struct claim_run *run;
    uint32_t index, count;             /* of the runs that are needed */
    const struct scenario *scenario;   /* NULL: it could not be read */
    const struct bench_result *result; /* NULL: not run yet, or it could not be run */
    const char *why;                   /* not NULL: the run gives no result, because of this */
    bool is_again;                     /* a first one was invalid */
};

struct verify_options {
    bool
        is_quick; /* shorter and smaller runs, about ten minutes in all; what was smaller than the source's test is "scaled" */
    const char *only;                                            /* pattern of claims, NULL: all */
    struct bench_options run;                                    /* on_progress is called within each run */
    void (*on_begin)(void *ctx, const struct verify_step *step); /* a run begins */
    void (*on_end)(void *ctx,
                   const struct verify_step *step); /* it has ended; result and scenario go with the verification */
    void *ctx;
};

struct verification {
    struct claims claims;
    struct claim_outcome *outcomes; /* owned, with what they point to; one for each run of claims */
};

/* Whatever happens in the runs is in the claims. INTERRUPTED: the claims are judged from the runs there were. INVALID: the map of claims is
 * wrong, or the pattern fits none; ret_why is one sentence. The verification is to be freed unless INVALID or NO_MEMORY came. */
STATUS_MUST_CHECK enum status verify(const struct verify_options *options, struct verification *ret_verification,
                                     char *ret_why, size_t why_size);
void verification_free(struct verification *verification);

#endif
