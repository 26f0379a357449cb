/* fields.h - reading the members of a request's JSON, with what is wrong going into a problem.
 *
 * Each function looks at one value. Right: the output is written and true comes back. Wrong: the output is left alone, a
 * place is added to the problem, false. `base` is the JSON pointer of the object that `key` is a member of. Slices point
 * into the parser. Pure. */
#ifndef SHOAL_HUB_FIELDS_H
#define SHOAL_HUB_FIELDS_H

#include "base/json.h"
#include "hub/problem.h"
#include "proto/name.h"

/* Where a value stands. */
struct field {
    struct problem *problem;
    const char *base;
    struct slice key;
    struct json_value value;
};

/* A queue, kind or node name, by the rule of proto/name.h. */
bool field_name(const struct field *field, struct slice *ret);
/* Text of 1..size_max bytes without control characters. */
bool field_text(const struct field *field, size_t size_max, struct slice *ret);
bool field_bool(const struct field *field, bool *ret);
bool field_int(const struct field *field, int64_t min, int64_t max, int64_t *ret);
/* A number with up to three decimals that count, as thousandths. The bounds are thousandths too. */
bool field_milli(const struct field *field, int64_t min_milli, int64_t max_milli, int64_t *ret);
/* RFC 3339. */
bool field_time(const struct field *field, int64_t *ret_wall_ns);
/* An object or array; adds "an object"/"an array". */
bool field_object(const struct field *field);
bool field_array(const struct field *field);
/* UNKNOWN_FIELD at this key. */
void field_unknown(const struct field *field);
/* labels, cpu, memory_mib, gpu: true when the key is one of them (right or wrong). Each has a bit of `seen` from
 * `bit` on (FIELD_REQUIREMENT_BITS), as in field_is_first. */
#define FIELD_REQUIREMENT_BITS 4
bool field_requirement(const struct field *field, uint64_t *seen, unsigned bit, struct requirement *requirement);
/* Parses a whole body into `ret_root`; BAD_JSON with the offset goes into the problem. */
bool fields_parse(struct json_parser *parser, struct slice text, struct problem *problem, struct json_value *ret_root);

/* Bits that tell members apart that came already: a second one is refused instead of silently winning or losing. */
static inline bool field_is_first(const struct field *field, uint64_t *seen, unsigned bit)
{
    if ((*seen >> bit & 1) != 0) {
        problem_add(field->problem, STATUS_INVALID, field->base, field->key, "given twice");
        return false;
    }
    *seen |= UINT64_C(1) << bit;
    return true;
}

/* Writes thousandths as a JSON number: 2000 is 2, 500 is 0.5. */
void write_milli(struct buf *out, uint64_t milli);

#endif
