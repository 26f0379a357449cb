/* expression.h - arithmetic over named numbers: what claims.map uses to relate numbers to each other.
 *
 *   comparison  sum [(= | != | < | <= | > | >=) sum]      1 or 0; "=" within the tolerance
 *   sum         product {(+ | -) product}
 *   product     value {(* | /) value}
 *   value       number | name | [name] | sum(name) | mean(name) | min(name) | max(name) | (comparison) | -value
 *
 * A name is letters, digits and any of _ . : @ %, not beginning with a digit; in brackets it may hold anything but a closing one. Pure, any thread. */
#ifndef SHOAL_BENCH_EXPRESSION_H
#define SHOAL_BENCH_EXPRESSION_H

#include <stdbool.h>
#include <stddef.h>

#include "base/slice.h"
#include "base/status.h"

#define EXPRESSION_DEPTH_MAX 32

struct expression_names {
    /* The value of a name. `function` is "sum", "mean", … or empty. False: there is none, and the whole has none. */
    bool (*value)(void *ctx, struct slice function, struct slice name, double *ret_value);
    void *ctx;
    double tolerance; /* relative, of "=" and "!=", and of the other comparisons at their edge */
};

struct expression_result {
    double value;
    bool is_comparison; /* value is 1 or 0 */
    double left, right; /* of the outermost comparison */
};

/* INVALID: the text is no expression; NOT_FOUND: a name has no value. In both cases ret_why is one sentence. */
STATUS_MUST_CHECK enum status expression_evaluate(struct slice text, const struct expression_names *names,
                                                  struct expression_result *ret_result, char *ret_why, size_t why_size);

#endif
