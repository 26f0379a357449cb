/* expression.c - a recursive descent over the grammar in the header; no tree is built, it is evaluated as it is read. */
#include "bench/expression.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NUMBER_SIZE_MAX 40

struct reader {
    const char *at, *end;
    const struct expression_names *names;
    struct expression_result *outermost;
    unsigned depth;
    enum status status;
    char *why;
    size_t why_size;
};

static double comparison(struct reader *reader);

static double fail(struct reader *reader, enum status status, const char *what, struct slice word)
{
    if (reader->status == STATUS_OK) {
        reader->status = status;
        snprintf(reader->why, reader->why_size, "%s: \"%.*s\"", what, SLICE_ARG(word));
    }
    return 0;
}

static void skip_blanks(struct reader *reader)
{
    while (reader->at < reader->end && (*reader->at == ' ' || *reader->at == '\t')) {
        reader->at++;
    }
}

static bool take(struct reader *reader, char c)
{
    skip_blanks(reader);
    if (reader->at == reader->end || *reader->at != c) {
        return false;
    }
    reader->at++;
    return true;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) || (c != '\0' && strchr("_.:@%", c) != NULL);
}

static double number(struct reader *reader)
{
    char text[NUMBER_SIZE_MAX];
    size_t len = 0;
    while (reader->at + len < reader->end && (is_digit(reader->at[len]) || reader->at[len] == '.')) {
        len++;
    }
    struct slice word = slice_of(reader->at, len);
    if (len >= sizeof(text)) {
        return fail(reader, STATUS_INVALID, "a number is too long", word);
    }
    memcpy(text, reader->at, len);
    text[len] = '\0';
    char *end;
    double value = strtod(text, &end);
    if (end != text + len) {
        return fail(reader, STATUS_INVALID, "not a number", word);
    }
    reader->at += len;
    return value;
}

static double named(struct reader *reader, struct slice function, struct slice name)
{
    double value = 0;
    if (reader->status == STATUS_OK && !reader->names->value(reader->names->ctx, function, name, &value)) {
        return fail(reader, STATUS_NOT_FOUND, "there is no value of this name", name);
    }
    return value;
}

/* name, [name] or function(name) */
static double name(struct reader *reader)
{
    const struct slice none = {reader->at, 0};
    if (take(reader, '[')) {
        const char *close = memchr(reader->at, ']', (size_t)(reader->end - reader->at));
        if (close == NULL) {
            return fail(reader, STATUS_INVALID, "\"]\" is missing",
                        slice_of(reader->at, (size_t)(reader->end - reader->at)));
        }
        struct slice inside = slice_of(reader->at, (size_t)(close - reader->at));
        reader->at = close + 1;
        return named(reader, none, inside);
    }
    const char *start = reader->at;
    while (reader->at < reader->end && is_name(*reader->at)) {
        reader->at++;
    }
    struct slice word = slice_of(start, (size_t)(reader->at - start));
    if (word.len == 0) {
        return fail(reader, STATUS_INVALID, "a value is missing before",
                    slice_of(reader->at, (size_t)(reader->end - reader->at)));
    }
    if (!take(reader, '(')) {
        return named(reader, none, word);
    }
    skip_blanks(reader);
    start = reader->at;
    while (reader->at < reader->end && is_name(*reader->at)) {
        reader->at++;
    }
    struct slice inside = slice_of(start, (size_t)(reader->at - start));
    if (!take(reader, ')')) {
        return fail(reader, STATUS_INVALID, "\")\" is missing after", inside);
    }
    return named(reader, word, inside);
}

static double value(struct reader *reader)
{
    if (reader->depth == EXPRESSION_DEPTH_MAX) {
        return fail(reader, STATUS_INVALID, "too many brackets before",
                    slice_of(reader->at, (size_t)(reader->end - reader->at)));
    }
    reader->depth++;
    skip_blanks(reader);
    double result;
    if (take(reader, '-')) {
        result = -value(reader);
    } else if (take(reader, '(')) {
        result = comparison(reader);
        if (!take(reader, ')')) {
            result = fail(reader, STATUS_INVALID, "\")\" is missing before",
                          slice_of(reader->at, (size_t)(reader->end - reader->at)));
        }
    } else if (reader->at < reader->end && is_digit(*reader->at)) {
        result = number(reader);
    } else {
        result = name(reader);
    }
    reader->depth--;
    return result;
}

static double product(struct reader *reader)
{
    double result = value(reader);
    for (;;) {
        if (take(reader, '*')) {
            result *= value(reader);
        } else if (take(reader, '/')) {
            double by = value(reader);
            if (by == 0 && reader->status == STATUS_OK) {
                return fail(reader, STATUS_NOT_FOUND, "division by nothing before",
                            slice_of(reader->at, (size_t)(reader->end - reader->at)));
            }
            result /= by;
        } else {
            return result;
        }
    }
}

static double sum(struct reader *reader)
{
    double result = product(reader);
    for (;;) {
        if (take(reader, '+')) {
            result += product(reader);
        } else if (take(reader, '-')) {
            result -= product(reader);
        } else {
            return result;
        }
    }
}

static double comparison(struct reader *reader)
{
    double left = sum(reader);
    skip_blanks(reader);
    char first = reader->at < reader->end ? *reader->at : '\0';
    if (first != '=' && first != '<' && first != '>' && first != '!') {
        return left;
    }
    reader->at++;
    bool has_equal = first == '=' || (reader->at < reader->end && *reader->at == '=');
    if (has_equal && first != '=') {
        reader->at++;
    }
    if (first == '!' && !has_equal) {
        return fail(reader, STATUS_INVALID, "\"!\" wants \"=\" behind it, before",
                    slice_of(reader->at, (size_t)(reader->end - reader->at)));
    }
    double right = sum(reader);
    double slack = reader->names->tolerance * fmax(fabs(left), fabs(right));
    bool is_equal = fabs(left - right) <= slack;
    bool is_true = first == '='   ? is_equal
                   : first == '!' ? !is_equal
                   : first == '<' ? (has_equal ? left <= right || is_equal : left < right && !is_equal)
                                  : (has_equal ? left >= right || is_equal : left > right && !is_equal);
    reader->outermost->is_comparison = true;
    reader->outermost->left = left;
    reader->outermost->right = right;
    return is_true ? 1 : 0;
}

enum status expression_evaluate(struct slice text, const struct expression_names *names,
                                struct expression_result *ret_result, char *ret_why, size_t why_size)
{
    struct expression_result result = {0};
    struct reader reader = {.at = text.data,
                            .end = text.data + text.len,
                            .names = names,
                            .outermost = &result,
                            .why = ret_why,
                            .why_size = why_size};
    result.value = comparison(&reader);
    skip_blanks(&reader);
    if (reader.status == STATUS_OK && reader.at < reader.end) {
        fail(&reader, STATUS_INVALID, "something else is expected than",
             slice_of(reader.at, (size_t)(reader.end - reader.at)));
    }
    if (reader.status == STATUS_OK) {
        *ret_result = result;
    }
    return reader.status;
}
