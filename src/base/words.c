/* words.c - the lexer and the values of workload and scenario files.
 *
 * A value is a decimal number and a suffix. The number is kept as an integer and a power of ten, so that 1.5s is exactly
 * 1,500,000,000 ns and 0.1% exactly one permille; what would not be whole in its unit is refused and never rounded. */
#include "base/words.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"

#define NS_PER_MS INT64_C(1000000)
#define NS_PER_S (1000 * NS_PER_MS)
#define NEAR_SIZE_MAX 32 /* names are short; a longer word is near nothing */
#define DIGITS_MAX 18    /* of a number: they fit into 63 bits */
#define PROPERTIES_MAX 32

/* --- lines --- */

void words_begin(struct words *words, struct slice text, char *why, size_t why_size)
{
    memset(words, 0, offsetof(struct words, list));
    words->rest = text;
    words->why = why;
    words->why_size = why_size;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* Columns count characters: the bytes that continue one (10xxxxxx) are none. */
static uint32_t column_of(struct slice line, size_t at)
{
    uint32_t column = 1;
    for (size_t i = 0; i < at; i++) {
        column += ((unsigned char)line.data[i] & 0xC0) != 0x80;
    }
    return column;
}

static enum status split(struct words *words, struct slice line)
{
    size_t at = 0;
    words->count = words->at = 0;
    words->end_column = 1;
    words->is_indented = line.len > 0 && is_blank(line.data[0]);
    while (at < line.len && line.data[at] != '#') {
        if (is_blank(line.data[at])) {
            at++;
            continue;
        }
        struct words_word word = {.column = column_of(line, at)};
        if (words->count == WORDS_MAX) {
            return words_complain(words, &word, "a line takes at most %d words", WORDS_MAX);
        }
        char quote = line.data[at];
        size_t start = at;
        if (quote == '"' || quote == '\'') {
            const char *end = memchr(line.data + at + 1, quote, line.len - at - 1);
            if (end == NULL) {
                return words_complain(words, &word, "the %c that begins here has no end in this line", quote);
            }
            at = (size_t)(end - line.data) + 1;
            word.text = slice_of(line.data + start + 1, at - start - 2);
            word.is_quoted = true;
            if (at < line.len && !is_blank(line.data[at]) && line.data[at] != '#') {
                word.column = column_of(line, at);
                return words_complain(words, &word, "a blank is needed behind a closing %c", quote);
            }
        } else {
            while (at < line.len && !is_blank(line.data[at]) && line.data[at] != '#') {
                at++;
            }
            word.text = slice_of(line.data + start, at - start);
        }
        words->list[words->count++] = word;
        words->end_column = column_of(line, at);
    }
    return STATUS_OK;
}

enum status words_next(struct words *words)
{
    words->count = words->at = 0;
    while (words->rest.len > 0) {
        const char *end = memchr(words->rest.data, '\n', words->rest.len);
        size_t len = end != NULL ? (size_t)(end - words->rest.data) : words->rest.len;
        struct slice line = slice_of(words->rest.data, len);
        len += end != NULL;
        words->rest = slice_of(words->rest.data + len, words->rest.len - len);
        words->line++;
        enum status status = split(words, line);
        if (status != STATUS_OK || words->count > 0) {
            return status;
        }
    }
    return STATUS_END;
}

/* --- mistakes --- */

enum status words_complain(const struct words *words, const struct words_word *where, const char *format, ...)
{
    int len = snprintf(words->why, words->why_size, "line %u, column %u: ", words->line > 0 ? words->line : 1,
                       where != NULL           ? where->column
                       : words->end_column > 0 ? words->end_column
                                               : 1);
    if (len > 0 && (size_t)len < words->why_size) {
        va_list args;
        va_start(args, format);
        (void)vsnprintf(words->why + len, words->why_size - (size_t)len, format, args);
        va_end(args);
        for (char *at = words->why + len; *at != '\0'; at++) { /* what it quotes of a file may hold anything */
            *at = (unsigned char)*at < ' ' || *at == 0x7f ? '?' : *at;
        }
    }
    return STATUS_INVALID;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Edits (insert, delete, replace, swap of neighbours) from a to b; optimal string alignment. */
static size_t edit_distance(struct slice a, struct slice b)
{
    if (a.len > NEAR_SIZE_MAX || b.len > NEAR_SIZE_MAX) {
        return SIZE_MAX;
    }
    size_t cost[NEAR_SIZE_MAX + 1][NEAR_SIZE_MAX + 1];
    for (size_t i = 0; i <= a.len; i++) {
        cost[i][0] = i;
    }
    for (size_t k = 0; k <= b.len; k++) {
        cost[0][k] = k;
    }
    for (size_t i = 1; i <= a.len; i++) {
        for (size_t k = 1; k <= b.len; k++) {
            size_t best = least(cost[i - 1][k] + 1, cost[i][k - 1] + 1);
            best = least(best, cost[i - 1][k - 1] + (a.data[i - 1] != b.data[k - 1]));
            if (i > 1 && k > 1 && a.data[i - 1] == b.data[k - 2] && a.data[i - 2] == b.data[k - 1]) {
                best = least(best, cost[i - 2][k - 2] + 1);
            }
            cost[i][k] = best;
        }
    }
    return cost[a.len][b.len];
}

const char *words_nearest(struct slice word, const char *const *names)
{
    const char *nearest = NULL;
    size_t nearest_distance = SIZE_MAX;
    for (; *names != NULL; names++) {
        size_t distance = edit_distance(word, slice_str(*names));
        /* The beginning of one name is near it however short. */
        if (word.len >= 2 && slice_starts_with(slice_str(*names), word)) {
            distance = 1;
        }
        /* A word of which nothing is left is not near. */
        if (distance < nearest_distance && (distance < word.len || distance < strlen(*names))) {
            nearest_distance = distance;
            nearest = *names;
        }
    }
    return nearest != NULL && nearest_distance <= 1 + word.len / 3 ? nearest : NULL;
}

enum status words_complain_unknown(const struct words *words, const struct words_word *where, const char *what,
                                   const char *const *names)
{
    const char *nearest = words_nearest(where->text, names);
    if (nearest != NULL) {
        return words_complain(words, where, "\"%.*s\" is %s; did you mean \"%s\"?", SLICE_ARG(where->text), what,
                              nearest);
    }
    char list[200];
    size_t len = 0;
    for (size_t i = 0; names[i] != NULL && len < sizeof(list); i++) {
        len += (size_t)snprintf(list + len, sizeof(list) - len, "%s%s", i > 0 ? ", " : "", names[i]);
    }
    return words_complain(words, where, "\"%.*s\" is %s; there are: %s", SLICE_ARG(where->text), what,
                          names[0] != NULL ? list : "none");
}

/* --- values --- */

struct number {
    int64_t digits;
    int64_t divisor; /* a power of ten */
    struct slice suffix;
};

static bool read_number(struct slice text, struct number *ret)
{
    *ret = (struct number){.divisor = 1};
    size_t at = 0, count = 0;
    bool has_point = false;
    for (; at < text.len; at++) {
        char c = text.data[at];
        if (c == '.' && !has_point && count > 0) {
            has_point = true;
            continue;
        }
        if (c < '0' || c > '9') {
            break;
        }
        if (++count > DIGITS_MAX) {
            return false;
        }
        ret->digits = ret->digits * 10 + (c - '0');
        ret->divisor *= has_point ? 10 : 1;
    }
    ret->suffix = slice_of(text.data + at, text.len - at);
    return count > 0 && !(has_point && text.data[at - 1] == '.');
}

static const struct {
    enum words_unit unit;
    const char *suffix;
    int64_t factor;
} suffixes[] = {{WORDS_COUNT, "", 1},
                {WORDS_COUNT, "k", 1000},
                {WORDS_COUNT, "M", 1000000},
                {WORDS_TIME, "ns", 1},
                {WORDS_TIME, "us", 1000},
                {WORDS_TIME, "ms", NS_PER_MS},
                {WORDS_TIME, "s", NS_PER_S},
                {WORDS_TIME, "m", 60 * NS_PER_S},
                {WORDS_TIME, "h", 3600 * NS_PER_S},
                {WORDS_TIME, "d", 86400 * NS_PER_S},
                {WORDS_SIZE, "", 1},
                {WORDS_SIZE, "k", INT64_C(1) << 10},
                {WORDS_SIZE, "M", INT64_C(1) << 20},
                {WORDS_SIZE, "G", INT64_C(1) << 30},
                {WORDS_PERMILLE, "%", 10}};

/* The factor of a suffix of this unit, 0 when it has none. */
static int64_t factor_of(enum words_unit unit, struct slice suffix)
{
    for (size_t i = 0; i < ARRAY_COUNT(suffixes); i++) {
        if (suffixes[i].unit == unit && slice_equal_str(suffix, suffixes[i].suffix)) {
            return suffixes[i].factor;
        }
    }
    return 0;
}

/* "1h30m": numbers with units that grow smaller. */
static bool read_time(struct slice text, int64_t *ret)
{
    int64_t total = 0, last_factor = INT64_MAX;
    do {
        struct number number;
        if (!read_number(text, &number)) {
            return false;
        }
        size_t len = 0;
        while (len < number.suffix.len && !(number.suffix.data[len] >= '0' && number.suffix.data[len] <= '9')) {
            len++;
        }
        int64_t factor = factor_of(WORDS_TIME, slice_of(number.suffix.data, len));
        __int128 scaled = (__int128)number.digits * factor;
        if (factor == 0 || factor >= last_factor || scaled % number.divisor != 0 ||
            scaled / number.divisor > INT64_MAX - total) {
            return false;
        }
        total += (int64_t)(scaled / number.divisor);
        last_factor = factor;
        text = slice_of(number.suffix.data + len, number.suffix.len - len);
    } while (text.len > 0);
    *ret = total;
    return true;
}

bool words_value(struct slice text, enum words_unit unit, int64_t *ret)
{
    struct number number;
    if (!read_number(text, &number)) {
        return false;
    }
    if (unit == WORDS_TIME && number.digits == 0 && number.suffix.len == 0) {
        *ret = 0;
        return true;
    }
    if (unit == WORDS_TIME) {
        return read_time(text, ret);
    }
    int64_t factor = factor_of(unit, number.suffix);
    __int128 scaled = (__int128)number.digits * factor;
    if (factor == 0 || scaled % number.divisor != 0 || scaled / number.divisor > INT64_MAX) {
        return false;
    }
    *ret = (int64_t)(scaled / number.divisor);
    return true;
}

/* The two sides of "a..b"; false when there is no "..". */
static bool split_range(struct slice text, struct slice *ret_first, struct slice *ret_second)
{
    const char *dots = text.len > 0 ? memmem(text.data, text.len, "..", 2) : NULL;
    if (dots == NULL) {
        return false;
    }
    size_t at = (size_t)(dots - text.data);
    *ret_first = slice_of(text.data, at);
    *ret_second = slice_of(dots + 2, text.len - at - 2);
    return true;
}

/* `first` with the suffix of `second`, in `room`. */
static struct slice with_suffix_of(struct slice first, struct slice second, char room[64])
{
    struct number number;
    if (!read_number(second, &number) || first.len + number.suffix.len > 64) {
        return first;
    }
    memcpy(room, first.data, first.len);
    memcpy(room + first.len, number.suffix.data, number.suffix.len);
    return slice_of(room, first.len + number.suffix.len);
}

bool words_range(struct slice text, enum words_unit unit, struct words_range *ret)
{
    struct slice first, second;
    struct words_range range;
    if (!split_range(text, &first, &second)) {
        if (!words_value(text, unit, &range.min)) {
            return false;
        }
        range.max = range.min;
    } else {
        char room[64];
        if (!words_value(second, unit, &range.max) ||
            (!words_value(first, unit, &range.min) &&
             !words_value(with_suffix_of(first, second, room), unit, &range.min)) ||
            range.min > range.max) {
            return false;
        }
    }
    *ret = range;
    return true;
}

bool words_rate(struct slice text, double *ret_per_s)
{
    static const struct {
        const char *suffix;
        double factor, seconds;
    } units[] = {{"/s", 1, 1}, {"k/s", 1e3, 1}, {"M/s", 1e6, 1}, {"/m", 1, 60}, {"k/m", 1e3, 60}, {"/h", 1, 3600}};
    struct number number;
    if (!read_number(text, &number)) {
        return false;
    }
    for (size_t i = 0; i < ARRAY_COUNT(units); i++) {
        if (slice_equal_str(number.suffix, units[i].suffix)) {
            *ret_per_s = (double)number.digits / (double)number.divisor * units[i].factor / units[i].seconds;
            return true;
        }
    }
    return false;
}

bool words_rate_range(struct slice text, double *ret_from, double *ret_to)
{
    struct slice first, second;
    double from, to;
    char room[64];
    if (!split_range(text, &first, &second)) {
        if (!words_rate(text, &from)) {
            return false;
        }
        to = from;
    } else if (!words_rate(second, &to) ||
               (!words_rate(first, &from) && !words_rate(with_suffix_of(first, second, room), &from))) {
        return false;
    }
    *ret_from = from;
    *ret_to = to;
    return true;
}

bool words_is_name(struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-' ||
              c == '_')) {
            return false;
        }
    }
    return text.len > 0;
}

bool words_list_next(struct slice *list, struct slice *ret_item)
{
    if (list->len == 0) {
        return false;
    }
    const char *comma = memchr(list->data, ',', list->len);
    size_t len = comma != NULL ? (size_t)(comma - list->data) : list->len;
    *ret_item = slice_of(list->data, len);
    len += comma != NULL;
    *list = slice_of(list->data + len, list->len - len);
    return true;
}

const char *words_unit_help(enum words_unit unit)
{
    switch (unit) {
    case WORDS_COUNT:
        return "a whole number such as 20 or 5k";
    case WORDS_TIME:
        return "a duration such as 250ms, 1.5s, 2m or 1h30m";
    case WORDS_SIZE:
        return "a size such as 512, 4k or 1M";
    case WORDS_PERMILLE:
        return "a percentage such as 5% or 0.1%";
    }
    return "a value";
}

/* As it would be written: in the largest suffix of which it is a whole multiple. */
static void format_value(int64_t value, enum words_unit unit, char ret[32])
{
    const char *suffix = "";
    int64_t factor = 1;
    for (size_t i = 0; i < ARRAY_COUNT(suffixes); i++) {
        if (suffixes[i].unit == unit && value % suffixes[i].factor == 0 && suffixes[i].factor >= factor && value != 0) {
            suffix = suffixes[i].suffix;
            factor = suffixes[i].factor;
        }
    }
    if (unit == WORDS_PERMILLE) {
        snprintf(ret, 32, "%g%%", (double)value / 10);
        return;
    }
    snprintf(ret, 32, "%lld%s", (long long)(value / factor), suffix);
}

/* --- taking --- */

enum status words_take(struct words *words, const char *what, struct words_word *ret_word)
{
    if (words_is_done(words)) {
        return words_complain(words, NULL, "%s is missing here", what);
    }
    *ret_word = words->list[words->at++];
    return STATUS_OK;
}

bool words_take_if(struct words *words, const char *word)
{
    if (words_is_done(words) || words->list[words->at].is_quoted ||
        !slice_equal_str(words->list[words->at].text, word)) {
        return false;
    }
    words->at++;
    return true;
}

enum status words_take_name(struct words *words, const char *what, char *ret_name, size_t size)
{
    struct words_word word;
    enum status status = words_take(words, what, &word);
    if (status != STATUS_OK) {
        return status;
    }
    if (!words_is_name(word.text)) {
        return words_complain(words, &word, "\"%.*s\" is not %s: letters, digits, \".\", \"-\" and \"_\" make one",
                              SLICE_ARG(word.text), what);
    }
    if (word.text.len >= size) {
        return words_complain(words, &word, "%s has at most %zu characters", what, size - 1);
    }
    memcpy(ret_name, word.text.data, word.text.len);
    ret_name[word.text.len] = '\0';
    return STATUS_OK;
}

static enum status out_of_bounds(const struct words *words, const struct words_word *word, const char *what,
                                 enum words_unit unit, int64_t min, int64_t max)
{
    char low[32], high[32];
    format_value(min, unit, low);
    format_value(max, unit, high);
    return words_complain(words, word, "%s takes %s to %s, not \"%.*s\"", what, low, high, SLICE_ARG(word->text));
}

enum status words_take_range(struct words *words, const char *what, enum words_unit unit, int64_t min, int64_t max,
                             struct words_range *ret)
{
    struct words_word word;
    struct words_range range;
    char missing[96];
    snprintf(missing, sizeof(missing), "a value for %s (%s)", what, words_unit_help(unit));
    enum status status = words_take(words, missing, &word);
    if (status != STATUS_OK) {
        return status;
    }
    if (!words_range(word.text, unit, &range)) {
        return words_complain(words, &word, "\"%.*s\" is no value for %s: %s is needed, or a range such as 1..5",
                              SLICE_ARG(word.text), what, words_unit_help(unit));
    }
    if (range.min < min || range.max > max) {
        return out_of_bounds(words, &word, what, unit, min, max);
    }
    *ret = range;
    return STATUS_OK;
}

enum status words_take_value(struct words *words, const char *what, enum words_unit unit, int64_t min, int64_t max,
                             int64_t *ret)
{
    struct words_word word;
    int64_t value;
    char missing[96];
    snprintf(missing, sizeof(missing), "a value for %s (%s)", what, words_unit_help(unit));
    enum status status = words_take(words, missing, &word);
    if (status != STATUS_OK) {
        return status;
    }
    if (!words_value(word.text, unit, &value)) {
        return words_complain(words, &word, "\"%.*s\" is no value for %s: %s is needed", SLICE_ARG(word.text), what,
                              words_unit_help(unit));
    }
    if (value < min || value > max) {
        return out_of_bounds(words, &word, what, unit, min, max);
    }
    *ret = value;
    return STATUS_OK;
}

enum status words_take_end(const struct words *words)
{
    if (words_is_done(words)) {
        return STATUS_OK;
    }
    const struct words_word *word = &words->list[words->at];
    return words_complain(words, word, "nothing more is expected here, but there is \"%.*s\"", SLICE_ARG(word->text));
}

enum status words_take_property(struct words *words, const struct words_property *properties, size_t count)
{
    struct words_word name;
    enum status status = words_take(words, "a property", &name);
    if (status != STATUS_OK) {
        return status;
    }
    for (size_t i = 0; i < count; i++) {
        const struct words_property *property = &properties[i];
        if (name.is_quoted || !slice_equal_str(name.text, property->name)) {
            continue;
        }
        if (property->range != NULL) {
            return words_take_range(words, property->name, property->unit, property->min, property->max,
                                    property->range);
        }
        int64_t value;
        status = words_take_value(words, property->name, property->unit, property->min, property->max, &value);
        if (status == STATUS_OK && property->number != NULL) {
            *property->number = (uint32_t)value;
        } else if (status == STATUS_OK) {
            *(property->ms != NULL ? property->ms : property->value) = property->ms != NULL ? value / NS_PER_MS : value;
        }
        return status;
    }
    const char *names[PROPERTIES_MAX + 1];
    ensure(count <= PROPERTIES_MAX);
    for (size_t i = 0; i < count; i++) {
        names[i] = properties[i].name;
    }
    names[count] = NULL;
    return words_complain_unknown(words, &name, "no word that can stand here", names);
}

enum status words_take_properties(struct words *words, const struct words_property *properties, size_t count)
{
    enum status status = STATUS_OK;
    while (status == STATUS_OK && !words_is_done(words)) {
        status = words_take_property(words, properties, count);
    }
    return status;
}
