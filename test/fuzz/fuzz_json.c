/* fuzz_json.c - the JSON reader (simdjson), the scanner that explains refusals, and the writer.
 *
 * The two readers agree on what is JSON, but for depth: the fast one lets an empty container inside the deepest level
 * through (json.h). What was read is printed, read again and printed the same; walking sees what counting counts. */
#include <math.h>

#include "base/json.h"
#include "base/json_scan.h"
#include "base/limits.h"
#include "base/utf8.h"
#include "test/fuzz/fuzz.h"

static struct json_parser *parser;
static struct buf first, second;

static bool is_nested_deeply(struct slice text)
{
    size_t openings = 0;
    for (size_t i = 0; i < text.len; i++) {
        openings += text.data[i] == '[' || text.data[i] == '{';
    }
    return openings > LIMIT_JSON_DEPTH;
}

/* The accessors of a type agree with each other, and with none of another type. */
static void look(struct json_value value)
{
    enum json_type type = json_type_of(value);
    bool flag;
    int64_t i64;
    uint64_t u64;
    double number = 0;
    struct slice text, key;
    struct json_value element, found;
    bool is_number = type == JSON_INT || type == JSON_UINT || type == JSON_DOUBLE;
    ensure(json_get_bool(value, &flag) == (type == JSON_BOOL));
    ensure(json_get_str(value, &text) == (type == JSON_STRING));
    ensure(json_get_double(value, &number) == is_number && isfinite(number));
    ensure(type != JSON_STRING || utf8_is_valid(text));
    if (json_get_i64(value, &i64)) {
        ensure(type == JSON_INT || (type == JSON_DOUBLE && (double)i64 == number));
        ensure(json_get_u64(value, &u64) == (i64 >= 0) && (i64 < 0 || u64 == (uint64_t)i64));
    } else if (json_get_u64(value, &u64)) {
        ensure(type == JSON_UINT && u64 > INT64_MAX);
    }
    size_t count = 0;
    for (struct json_iter it = json_iter_of(value); json_next(&it, &key, &element); count++) {
        ensure(type == JSON_ARRAY || type == JSON_OBJECT);
        ensure(utf8_is_valid(key) && (type == JSON_OBJECT || key.len == 0));
        if (type == JSON_OBJECT && memchr(key.data, 0, key.len) == NULL) { /* strings end in a NUL */
            ensure(json_member(value, key.data, &found) && found.index <= element.index);
        }
        look(element);
    }
    ensure(count == json_count(value));
}

static void document(struct slice text)
{
    struct json_value root;
    size_t offset = SIZE_MAX, scan_offset = SIZE_MAX;
    const char *reason = NULL, *scan_reason = NULL;
    enum status status = json_parse(parser, text, &root, &offset, &reason);
    bool is_json = json_scan(text, &scan_offset, &scan_reason);
    ensure(status == STATUS_OK || status == STATUS_BAD_JSON);
    ensure(is_json == (status == STATUS_OK) || (status == STATUS_OK && is_nested_deeply(text)));
    if (status != STATUS_OK) {
        ensure(offset == scan_offset && offset <= text.len && reason != NULL && reason[0] != '\0');
        return;
    }
    look(root);
    buf_reset(&first);
    json_print(&first, root);
    ensure(buf_status(&first) == STATUS_OK);
    ensure(json_parse(parser, buf_slice(&first), &root, NULL, NULL) == STATUS_OK);
    buf_reset(&second);
    json_print(&second, root);
    ensure(fuzz_equal(&first, &second));
}

static void writers(struct slice text, double number)
{
    struct json_value root;
    struct slice again;
    double value;
    buf_reset(&first);
    json_write_str(&first, text);
    ensure(json_parse(parser, buf_slice(&first), &root, NULL, NULL) == STATUS_OK && json_get_str(root, &again));
    ensure(!utf8_is_valid(text) || slice_equal(text, again));
    buf_reset(&first);
    json_write_double(&first, number);
    ensure(json_parse(parser, buf_slice(&first), &root, NULL, NULL) == STATUS_OK);
    if (isfinite(number)) {
        ensure(json_type_of(root) == JSON_DOUBLE && json_get_double(root, &value));
        ensure(memcmp(&value, &number, sizeof(value)) == 0);
    } else {
        ensure(json_type_of(root) == JSON_NULL);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (parser == NULL) {
        parser = json_parser_new();
        buf_init(&first, 16u << 20);
        buf_init(&second, 16u << 20);
        ensure(parser != NULL);
    }
    char *copy = fuzz_copy(slice_of(data, size));
    double number = 0;
    memcpy(&number, data, size < sizeof(number) ? size : sizeof(number));
    document(slice_of(copy, size));
    writers(slice_of(copy, size), number);
    free(copy);
    return 0;
}
