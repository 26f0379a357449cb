/* code_budget.h - what a node has for its boxes, and who may use it now.
 *
 * The limits of all boxes that run at one time are together at most what the node has: its memory and its processes
 * (host_limits.h) less a reserve for itself. A single claim is cut to that; one for which there is no room now waits until
 * others have given back, in the order of asking, so that large ones are not passed for ever. Pure; the loop's thread. */
#ifndef SHOAL_WORK_CODE_CODE_BUDGET_H
#define SHOAL_WORK_CODE_CODE_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

#include "work/sandbox/host_limits.h"
#include "work/sandbox/sandbox.h"

/* Left to the node and to what lives beside it, of memory and processes: an eighth, but at least so much. */
#define CODE_RESERVE_PART 8
#define CODE_RESERVE_MIB 64   /* a node of 16 slots at rest takes 25 */
#define CODE_RESERVE_PROCS 32 /* a node has about ten threads */

struct code_claim {
    uint32_t mem_mib, procs;
    bool is_held;
    bool is_waiting;
    void (*granted)(void *ctx); /* after a wait */
    void *ctx;
    struct code_claim *next;
};

struct code_budget {
    uint32_t mem_mib, procs; /* in all */
    uint32_t used_mib, used_procs;
    struct code_claim *first; /* waiting */
};

/* Unknown limits (0) bind nothing. */
void code_budget_open(struct code_budget *budget, const struct host_limits *limits);
/* Cuts limits to what the node has at all; true when something was cut. */
bool code_budget_cut(const struct code_budget *budget, struct sandbox_limits *limits);
/* Claims for a box with these limits, cut before. True: held at once; false: `granted` comes, from inside the give-back
 * of another one. The claim belongs to the caller and must be given back. */
bool code_budget_ask(struct code_budget *budget, const struct sandbox_limits *limits, void (*granted)(void *ctx),
                     void *ctx, struct code_claim *claim);
/* Gives back, or stops waiting; nothing when neither. */
void code_budget_give(struct code_budget *budget, struct code_claim *claim);

#endif
