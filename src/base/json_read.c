/* json_read.c - the reading half of json.h: arithmetic on the tape of json_tape.h. */
#include <string.h>

#include "base/json.h"
#include "base/json_tape.h"

#define TWO_TO_63 9223372036854775808.0
#define PAYLOAD_MASK ((UINT64_C(1) << 56) - 1)

static const uint64_t *word_at(struct json_value value)
{
    return ((const struct json_tape *)value.document)->words + value.index;
}

static char tag_of(struct json_value value)
{
    return (char)(*word_at(value) >> 56);
}

/* The index behind the value, which for a container is behind its closing word. */
static size_t index_after(struct json_value value)
{
    switch (tag_of(value)) {
    case '{':
    case '[':
        return (uint32_t)*word_at(value);
    case 'l':
    case 'u':
    case 'd':
        return value.index + 2;
    default:
        return value.index + 1;
    }
}

static struct slice string_at(struct json_value value)
{
    const uint8_t *at = ((const struct json_tape *)value.document)->strings + (*word_at(value) & PAYLOAD_MASK);
    uint32_t len;
    memcpy(&len, at, sizeof(len));
    return slice_of(at + sizeof(len), len);
}

enum json_type json_type_of(struct json_value value)
{
    switch (tag_of(value)) {
    case 't':
    case 'f':
        return JSON_BOOL;
    case 'l':
        return JSON_INT;
    case 'u':
        return JSON_UINT;
    case 'd':
        return JSON_DOUBLE;
    case '"':
        return JSON_STRING;
    case '[':
        return JSON_ARRAY;
    case '{':
        return JSON_OBJECT;
    default:
        return JSON_NULL;
    }
}

bool json_get_bool(struct json_value value, bool *ret)
{
    char tag = tag_of(value);
    if (tag != 't' && tag != 'f') {
        return false;
    }
    *ret = tag == 't';
    return true;
}

bool json_get_i64(struct json_value value, int64_t *ret)
{
    if (tag_of(value) == 'l') {
        memcpy(ret, word_at(value) + 1, sizeof(*ret));
        return true;
    }
    double number;
    if (tag_of(value) != 'd' || (*word_at(value) & NUMBER_BIG) != 0 || !json_get_double(value, &number) ||
        !(number >= -TWO_TO_63 && number < TWO_TO_63) || number != (double)(int64_t)number) {
        return false;
    }
    *ret = (int64_t)number;
    return true;
}

bool json_get_u64(struct json_value value, uint64_t *ret)
{
    int64_t number;
    if (tag_of(value) == 'u') {
        *ret = word_at(value)[1];
        return true;
    }
    if (!json_get_i64(value, &number) || number < 0) {
        return false;
    }
    *ret = (uint64_t)number;
    return true;
}

bool json_get_double(struct json_value value, double *ret)
{
    uint64_t word = word_at(value)[1];
    switch (tag_of(value)) {
    case 'l':
        *ret = (double)(int64_t)word;
        return true;
    case 'u':
        *ret = (double)word;
        return true;
    case 'd':
        memcpy(ret, &word, sizeof(*ret));
        return true;
    default:
        return false;
    }
}

bool json_get_number_text(struct json_value value, struct slice *ret, bool *ret_is_big)
{
    char tag = tag_of(value);
    uint64_t place = *word_at(value) & PAYLOAD_MASK & ~NUMBER_BIG;
    if ((tag != 'l' && tag != 'u' && tag != 'd') || place == 0) {
        return false;
    }
    const char *begin = ((const struct json_tape *)value.document)->text + place - 1;
    *ret = slice_of(begin, strspn(begin, "+-.0123456789Ee"));
    *ret_is_big = (*word_at(value) & NUMBER_BIG) != 0;
    return true;
}

bool json_get_str(struct json_value value, struct slice *ret)
{
    if (tag_of(value) != '"') {
        return false;
    }
    *ret = string_at(value);
    return true;
}

bool json_member(struct json_value object, const char *name, struct json_value *ret)
{
    if (tag_of(object) != '{') {
        return false;
    }
    struct slice wanted = slice_str(name);
    struct slice key;
    struct json_value value;
    for (struct json_iter iter = json_iter_of(object); json_next(&iter, &key, &value);) {
        if (slice_equal(key, wanted)) {
            *ret = value;
            return true;
        }
    }
    return false;
}

struct json_iter json_iter_of(struct json_value container)
{
    char tag = tag_of(container);
    bool has_elements = tag == '{' || tag == '[';
    size_t first = container.index + 1;
    return (struct json_iter){container, first, has_elements ? index_after(container) - 1 : first, tag == '{'};
}

bool json_next(struct json_iter *iter, struct slice *ret_key, struct json_value *ret_value)
{
    if (iter->at >= iter->end) {
        return false;
    }
    struct json_value value = {iter->container.document, iter->at};
    if (ret_key != NULL) {
        *ret_key = iter->is_object ? string_at(value) : (struct slice){NULL, 0};
    }
    value.index += iter->is_object ? 1 : 0;
    iter->at = index_after(value);
    *ret_value = value;
    return true;
}

size_t json_count(struct json_value container)
{
    struct json_value value;
    size_t count = 0;
    for (struct json_iter iter = json_iter_of(container); json_next(&iter, NULL, &value);) {
        count++;
    }
    return count;
}
