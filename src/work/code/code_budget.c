/* code_budget.c - what a node has for its boxes. Invariants: (B1) the sum over the held claims is `used`, and at most the
 * whole; (B2) with claims waiting, the first one does not fit. */
#include "work/code/code_budget.h"

#include "base/ensure.h"

#define MEM_MIB_MIN 16 /* the least that an input may ask for */

/* A box's output is held by the node, once while it comes and once more for the result. */
static uint32_t output_mib(const struct sandbox_limits *limits)
{
    return (limits->out_kib * 2 + 1023) / 1024;
}

static uint32_t without_reserve(uint64_t whole, uint64_t least)
{
    uint64_t reserve = whole / CODE_RESERVE_PART > least ? whole / CODE_RESERVE_PART : least;
    uint64_t rest = whole > reserve ? whole - reserve : 1;
    return rest > UINT32_MAX ? UINT32_MAX : (uint32_t)rest;
}

void code_budget_open(struct code_budget *budget, const struct host_limits *limits)
{
    *budget = (struct code_budget){.mem_mib = UINT32_MAX, .procs = UINT32_MAX};
    if (limits->memory_bytes > 0) {
        budget->mem_mib = without_reserve(limits->memory_bytes >> 20, CODE_RESERVE_MIB);
    }
    if (limits->procs > 0) {
        budget->procs = without_reserve(limits->procs, CODE_RESERVE_PROCS);
    }
    if (budget->mem_mib < MEM_MIB_MIN) {
        budget->mem_mib = MEM_MIB_MIN;
    }
}

bool code_budget_cut(const struct code_budget *budget, struct sandbox_limits *limits)
{
    uint32_t output = output_mib(limits);
    uint32_t most = budget->mem_mib > output + MEM_MIB_MIN ? budget->mem_mib - output : MEM_MIB_MIN;
    bool is_cut = false;
    if (limits->mem_mib > most) {
        limits->mem_mib = most;
        is_cut = true;
    }
    if (limits->procs > budget->procs) {
        limits->procs = budget->procs;
        is_cut = true;
    }
    return is_cut;
}

/* Alone it always runs: what is left after cutting is the node's least. */
static bool fits(const struct code_budget *budget, const struct code_claim *claim)
{
    bool is_alone = budget->used_mib == 0 && budget->used_procs == 0;
    return is_alone || ((uint64_t)budget->used_mib + claim->mem_mib <= budget->mem_mib &&
                        (uint64_t)budget->used_procs + claim->procs <= budget->procs);
}

static void hold(struct code_budget *budget, struct code_claim *claim)
{
    budget->used_mib += claim->mem_mib;
    budget->used_procs += claim->procs;
    claim->is_held = true;
}

bool code_budget_ask(struct code_budget *budget, const struct sandbox_limits *limits, void (*granted)(void *ctx),
                     void *ctx, struct code_claim *claim)
{
    *claim = (struct code_claim){
        .mem_mib = limits->mem_mib + output_mib(limits), .procs = limits->procs, .granted = granted, .ctx = ctx};
    if (budget->first == NULL && fits(budget, claim)) {
        hold(budget, claim);
        return true;
    }
    struct code_claim **last = &budget->first;
    while (*last != NULL) {
        last = &(*last)->next;
    }
    *last = claim;
    claim->is_waiting = true;
    return false;
}

void code_budget_give(struct code_budget *budget, struct code_claim *claim)
{
    if (claim->is_held) {
        ensure(budget->used_mib >= claim->mem_mib && budget->used_procs >= claim->procs);
        budget->used_mib -= claim->mem_mib;
        budget->used_procs -= claim->procs;
        claim->is_held = false;
    } else if (claim->is_waiting) {
        struct code_claim **at = &budget->first;
        while (*at != claim) {
            ensure(*at != NULL);
            at = &(*at)->next;
        }
        *at = claim->next;
        claim->is_waiting = false;
    }
    while (budget->first != NULL && fits(budget, budget->first)) {
        struct code_claim *next = budget->first;
        budget->first = next->next;
        next->is_waiting = false;
        hold(budget, next);
        next->granted(next->ctx);
    }
}
