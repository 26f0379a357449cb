/* node_ops.c - what became of each task that was submitted, by its number.
 *
 * Sixteen bytes a task, in chunks that never move. An answer and a lease may come in either order: a quick node is faster than the
 * answer to the submit. A task is lost when the hub has promised to do it and no node saw its outcome accepted. Where a
 * connection broke between an outcome and its acknowledgement, the hub may say that the lease is over because it
 * had taken the outcome; such a task is uncertain and not called lost. */
#include <stdlib.h>

#include "bench/nodes_internal.h"

struct op *ops_at(struct ops *ops, uint64_t number)
{
    if (number >= ops->count || ops->chunks[number / OPS_CHUNK] == NULL) {
        return NULL;
    }
    return &ops->chunks[number / OPS_CHUNK][number % OPS_CHUNK];
}

void ops_sent(struct ops *ops, uint64_t first, uint64_t count, int64_t intended_ns, uint32_t phase)
{
    for (uint64_t number = first; number < first + count; number++) {
        uint64_t chunk = number / OPS_CHUNK;
        if (chunk >= OPS_CHUNKS_MAX) {
            return;
        }
        if (ops->chunks[chunk] == NULL && (ops->chunks[chunk] = calloc(OPS_CHUNK, sizeof(struct op))) == NULL) {
            return; /* not followed; nothing is said about it then */
        }
        if (number >= ops->count) {
            ops->count = number + 1;
        }
        ops->chunks[chunk][number % OPS_CHUNK] = (struct op){.intended_ns = intended_ns, .phase = (uint8_t)phase};
    }
}

void ops_accepted(struct ops *ops, uint64_t first, uint64_t count)
{
    for (uint64_t number = first; number < first + count; number++) {
        struct op *op = ops_at(ops, number);
        if (op != NULL && (op->flags & OP_ACCEPTED) == 0) {
            op->flags |= OP_ACCEPTED;
            ops->open += (op->flags & OP_ENDED) == 0;
        }
    }
}

static void record(struct histogram **histogram, int64_t value_ns)
{
    if (*histogram == NULL) {
        *histogram = histogram_new();
    }
    if (*histogram != NULL) {
        histogram_record(*histogram, value_ns);
    }
}

void ops_leased(struct ops *ops, uint64_t number, int64_t now_ns)
{
    struct op *op = ops_at(ops, number);
    if (op != NULL && (op->flags & OP_LEASED) == 0) {
        op->flags |= OP_LEASED;
        record(&ops->assign[op->phase], now_ns - op->intended_ns);
    }
}

static void end(struct ops *ops, struct op *op)
{
    if ((op->flags & OP_ENDED) == 0) {
        op->flags |= OP_ENDED;
        ops->open -= (op->flags & OP_ACCEPTED) != 0;
    }
}

void ops_completed(struct ops *ops, uint64_t number, int64_t now_ns)
{
    struct op *op = ops_at(ops, number);
    if (op == NULL) {
        return;
    }
    if (op->completions > 0) {
        ops->doubled += op->completions == 1;
    } else {
        record(&ops->complete[op->phase], now_ns - op->intended_ns);
    }
    op->completions += op->completions < UINT8_MAX;
    end(ops, op);
}

void ops_dead(struct ops *ops, uint64_t number)
{
    struct op *op = ops_at(ops, number);
    if (op != NULL) {
        end(ops, op);
    }
}

void ops_uncertain(struct ops *ops, uint64_t number)
{
    struct op *op = ops_at(ops, number);
    if (op != NULL) {
        op->flags |= OP_UNCERTAIN;
        end(ops, op); /* if it was not taken it comes again, and completes */
    }
}

uint64_t ops_lost(const struct ops *ops)
{
    return ops->open;
}

void ops_free(struct ops *ops)
{
    for (uint32_t i = 0; i < OPS_CHUNKS_MAX; i++) {
        free(ops->chunks[i]);
    }
    for (uint32_t i = 0; i < SCENARIO_PHASES_MAX; i++) {
        histogram_free(ops->assign[i]);
        histogram_free(ops->complete[i]);
    }
}
