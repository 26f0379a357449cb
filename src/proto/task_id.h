/* task_id.h - the name of a task: one 64-bit number that is both its place in order and its place in memory.
 *
 *   bits 63..24  number: 1, 2, 3, … in order of acceptance, never reused (1.1e12 of them)
 *   bits 23..0   index of its slab record; a lookup checks that the record holds this very id
 *
 * Ids compare as creation order. As text: 13 base-32 digits (base32.h), which sort the same way. 0 is no task. */
#ifndef SHOAL_PROTO_TASK_ID_H
#define SHOAL_PROTO_TASK_ID_H

#include <stdint.h>

#define TASK_ID_INDEX_BITS 24
#define TASK_ID_NUMBER_MAX ((UINT64_C(1) << 40) - 1)

static inline uint64_t task_id_make(uint64_t number, uint32_t index)
{
    return number << TASK_ID_INDEX_BITS | index;
}

static inline uint32_t task_id_index(uint64_t id)
{
    return (uint32_t)(id & ((UINT32_C(1) << TASK_ID_INDEX_BITS) - 1));
}

static inline uint64_t task_id_number(uint64_t id)
{
    return id >> TASK_ID_INDEX_BITS;
}

#endif
