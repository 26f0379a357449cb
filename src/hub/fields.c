/* fields.c - checks of single members; every limit of a request's JSON that is not about meaning is enforced here. */
#include "hub/fields.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "base/limits.h"
#include "base/timefmt.h"

/* Most that a requirement or a node may name; far above any machine, and far below an overflow of sums. */
#define CPU_MILLI_MAX (INT64_C(1000000) * 1000)
#define MEMORY_MIB_MAX (INT64_C(1) << 30)
#define GPU_MAX 65535

static void wrong(const struct field *field, const char *what)
{
    problem_add(field->problem, STATUS_INVALID, field->base, field->key, "%s", what);
}

bool field_name(const struct field *field, struct slice *ret)
{
    struct slice text;
    if (!json_get_str(field->value, &text) || !name_is_valid(text)) {
        problem_add(field->problem, STATUS_INVALID, field->base, field->key, "%s", NAME_RULE);
        return false;
    }
    *ret = text;
    return true;
}

bool field_text(const struct field *field, size_t size_max, struct slice *ret)
{
    struct slice text;
    bool is_good = json_get_str(field->value, &text) && text.len >= 1 && text.len <= size_max;
    for (size_t i = 0; is_good && i < text.len; i++) {
        is_good = (unsigned char)text.data[i] >= 0x20 && text.data[i] != 0x7f;
    }
    if (!is_good) {
        problem_add(field->problem, STATUS_INVALID, field->base, field->key,
                    "a text of 1 to %zu bytes without control characters", size_max);
        return false;
    }
    *ret = text;
    return true;
}

bool field_bool(const struct field *field, bool *ret)
{
    if (json_get_bool(field->value, ret)) {
        return true;
    }
    wrong(field, "true or false");
    return false;
}

bool field_int(const struct field *field, int64_t min, int64_t max, int64_t *ret)
{
    int64_t value;
    if (json_get_i64(field->value, &value) && value >= min && value <= max) {
        *ret = value;
        return true;
    }
    problem_add(field->problem, STATUS_INVALID, field->base, field->key, "an integer from %" PRId64 " to %" PRId64, min,
                max);
    return false;
}

bool field_milli(const struct field *field, int64_t min_milli, int64_t max_milli, int64_t *ret)
{
    double value;
    if (json_get_double(field->value, &value) && value >= (double)min_milli / 1000 &&
        value <= (double)max_milli / 1000) {
        *ret = (int64_t)llround(value * 1000);
        return true;
    }
    problem_add(field->problem, STATUS_INVALID, field->base, field->key, "a number from %g to %g",
                (double)min_milli / 1000, (double)max_milli / 1000);
    return false;
}

bool field_time(const struct field *field, int64_t *ret_wall_ns)
{
    struct slice text;
    if (json_get_str(field->value, &text) && time_parse(text, ret_wall_ns) == STATUS_OK) {
        return true;
    }
    wrong(field, "an RFC 3339 time such as 2026-01-31T23:59:59Z");
    return false;
}

bool field_object(const struct field *field)
{
    if (json_type_of(field->value) == JSON_OBJECT) {
        return true;
    }
    wrong(field, "an object");
    return false;
}

bool field_array(const struct field *field)
{
    if (json_type_of(field->value) == JSON_ARRAY) {
        return true;
    }
    wrong(field, "an array");
    return false;
}

void field_unknown(const struct field *field)
{
    problem_add(field->problem, STATUS_UNKNOWN_FIELD, field->base, field->key, "no such field");
}

static void read_labels(const struct field *field, struct requirement *requirement)
{
    if (!field_array(field)) {
        return;
    }
    if (json_count(field->value) > LIMIT_LABELS) {
        problem_add(field->problem, STATUS_INVALID, field->base, field->key, "at most %d labels", LIMIT_LABELS);
        return;
    }
    char base[128];
    snprintf(base, sizeof(base), "%s/%.*s", field->base, SLICE_ARG(field->key));
    struct json_iter it = json_iter_of(field->value);
    struct json_value element;
    requirement->label_count = 0;
    for (uint32_t i = 0; json_next(&it, NULL, &element); i++) {
        char index[12];
        snprintf(index, sizeof(index), "%u", i);
        struct field label = {field->problem, base, slice_str(index), element};
        struct slice text;
        if (field_text(&label, LIMIT_NAME_SIZE, &text)) {
            requirement->labels[requirement->label_count++] = text;
        }
    }
}

bool field_requirement(const struct field *field, uint64_t *seen, unsigned bit, struct requirement *requirement)
{
    static const char *const names[FIELD_REQUIREMENT_BITS] = {"labels", "cpu", "memory_mib", "gpu"};
    unsigned which = 0;
    while (which < FIELD_REQUIREMENT_BITS && !slice_equal_str(field->key, names[which])) {
        which++;
    }
    if (which == FIELD_REQUIREMENT_BITS) {
        return false;
    }
    if (!field_is_first(field, seen, bit + which)) {
        return true;
    }
    int64_t value;
    if (which == 0) {
        read_labels(field, requirement);
    } else if (which == 1 && field_milli(field, 0, CPU_MILLI_MAX, &value)) {
        requirement->cpu_milli = (uint32_t)value;
    } else if (which == 2 && field_int(field, 0, MEMORY_MIB_MAX, &value)) {
        requirement->memory_mib = (uint32_t)value;
    } else if (which == 3 && field_int(field, 0, GPU_MAX, &value)) {
        requirement->gpu = (uint32_t)value;
    }
    return true;
}

bool fields_parse(struct json_parser *parser, struct slice text, struct problem *problem, struct json_value *ret_root)
{
    size_t offset = 0;
    const char *reason = NULL;
    enum status status = json_parse(parser, text, ret_root, &offset, &reason);
    if (status == STATUS_OK) {
        return true;
    }
    if (status != STATUS_BAD_JSON) {
        problem_set(problem, status, "%s", status_title(status));
        return false;
    }
    problem_set(problem, STATUS_BAD_JSON, "byte %zu: %s", offset, reason != NULL ? reason : "not JSON");
    problem->has_offset = true;
    problem->offset = offset;
    return false;
}

void write_milli(struct buf *out, uint64_t milli)
{
    buf_append_u64_dec(out, milli / 1000);
    uint64_t rest = milli % 1000;
    if (rest == 0) {
        return;
    }
    char digits[4] = {(char)('0' + rest / 100), (char)('0' + rest / 10 % 10), (char)('0' + rest % 10), '\0'};
    size_t len = 3;
    while (digits[len - 1] == '0') {
        len--;
    }
    buf_append_char(out, '.');
    buf_append(out, digits, len);
}
