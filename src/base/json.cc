/* json.cc - the only C++ file: simdjson's DOM behind plain C functions.
 *
 * simdjson parses into a tape, which json_tape.h describes and json_read.c reads; nothing but the parsing and the
 * formatting of doubles happens here. DOM and not On-Demand: a request is checked against its schema field by field in
 * any order, and wrong text must be refused before the first field is looked at.
 *
 * Invariants: (P1) after a parse that succeeded, word 0 of the tape is the root and 1 the document's value; (P2) `copy`
 * ends in SIMDJSON_PADDING readable bytes past the text; (P3) no exception leaves this file: it is compiled without
 * them, and simdjson allocates with std::nothrow.
 *
 * A number is kept as it stood. simdjson's tape does not say where that was, so after a parse that met a double (or a minus
 * zero) text and tape are walked once more, side by side, and each such number gets its place. A number past 64 bits or a
 * double's range makes simdjson refuse the text: then each of them is overwritten with a double of as many bytes, the text
 * parsed again, and put back (P4: `copy` holds the text itself whenever json_parse has returned).
 *
 * simdjson does not say where it stumbled. Refused text is therefore read once more by json_scan.c. */
#define SIMDJSON_EXCEPTIONS 0
#include "base/json.h"

#include <cfloat>
#include <charconv>
#include <climits>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <new>
#include <simdjson.h>

#include "base/json_scan.h"
#include "base/json_tape.h"
#include "base/limits.h"

namespace
{
constexpr size_t capacity_min = 4096;         /* about 60 KiB of tables in all; task bodies are smaller than that */
constexpr size_t capacity_kept = 1024 * 1024; /* a parser that grew past it shrinks again when it gets a small text */
} // namespace

struct json_parser {
    simdjson::dom::parser parser;
    simdjson::dom::document doc;
    struct json_tape tape = {};
    char *copy = nullptr;
    size_t capacity = 0; /* bytes of text that parser, doc and copy are ready for */
};

static enum status set_capacity(struct json_parser *self, size_t capacity)
{
    self->capacity = 0;
    char *copy = static_cast<char *>(realloc(self->copy, capacity + simdjson::SIMDJSON_PADDING));
    if (copy == nullptr) {
        return STATUS_NO_MEMORY;
    }
    self->copy = copy;
    /* simdjson counts a scalar as a level of its own. */
    if (self->doc.allocate(capacity) || self->parser.allocate(capacity, LIMIT_JSON_DEPTH + 1)) {
        return STATUS_NO_MEMORY;
    }
    self->tape = json_tape{self->doc.tape.get(), self->doc.string_buf.get(), self->copy};
    self->capacity = capacity;
    return STATUS_OK;
}

struct json_parser *json_parser_new(void)
{
    struct json_parser *self = new (std::nothrow) json_parser;
    if (self != nullptr && set_capacity(self, capacity_min) != STATUS_OK) {
        json_parser_free(self);
        return nullptr;
    }
    return self;
}

void json_parser_free(struct json_parser *parser)
{
    if (parser != nullptr) {
        free(parser->copy);
        delete parser;
    }
}

static enum status make_room(struct json_parser *self, size_t len)
{
    bool is_oversized = self->capacity > capacity_kept && len <= capacity_min;
    if (len <= self->capacity && self->capacity > 0 && !is_oversized) {
        return STATUS_OK;
    }
    size_t capacity = capacity_min;
    while (capacity < len) {
        capacity *= 2;
    }
    return set_capacity(self, capacity);
}

namespace
{

/* The numbers of a text one after the other, whatever else it holds. */
struct number_walk {
    const char *at;
    const char *end;
};

bool is_number_byte(char c)
{
    return (c >= '0' && c <= '9') || c == '-' || c == '+' || c == '.' || c == 'e' || c == 'E';
}

/* Where the next number begins, and how long it is; nullptr at the end. */
const char *next_number(number_walk *walk, size_t *ret_len)
{
    const char *at = walk->at;
    for (; at < walk->end; at++) {
        if (*at == '"') {
            for (at++; at < walk->end && *at != '"'; at++) {
                at += *at == '\\';
            }
        } else if (*at == '-' || (*at >= '0' && *at <= '9')) {
            const char *begin = at;
            while (at < walk->end && is_number_byte(*at)) {
                at++;
            }
            walk->at = at;
            *ret_len = static_cast<size_t>(at - begin);
            return begin;
        }
    }
    walk->at = walk->end;
    return nullptr;
}

/* A well-formed number that no word of the tape can hold. What is malformed is left for the parser to refuse. */
bool is_big(const char *text, size_t len)
{
    size_t offset;
    const char *reason;
    const char *end = text + len;
    if (len < 5 || !json_scan(slice{text, len}, &offset, &reason)) {
        return false;
    }
    if (std::memchr(text, '.', len) == nullptr && std::memchr(text, 'e', len) == nullptr &&
        std::memchr(text, 'E', len) == nullptr) {
        int64_t low;
        uint64_t high;
        return *text == '-' ? std::from_chars(text, end, low).ec != std::errc()
                            : std::from_chars(text, end, high).ec != std::errc();
    }
    return std::isinf(std::strtod(text, nullptr)); /* what follows a number ends it: `copy` is padded */
}

/* Overwrites the big numbers of the copy with zeros of as many bytes; how many there were. */
size_t hide_big_numbers(char *copy, size_t len)
{
    number_walk walk = {copy, copy + len};
    size_t hidden = 0, number_len = 0;
    for (const char *at; (at = next_number(&walk, &number_len)) != nullptr;) {
        if (is_big(at, number_len)) {
            char *number = copy + (at - copy);
            std::memset(number, '0', number_len);
            number[1] = '.';
            hidden++;
        }
    }
    return hidden;
}

/* Whether a number on the tape may stand in the text otherwise than it would be written. */
bool has_odd_number(const uint64_t *words, const char *copy, size_t len)
{
    size_t end = static_cast<size_t>(words[0] & 0xFFFFFFFF);
    bool has_zero = false;
    for (size_t i = 1; i < end; i++) {
        char tag = static_cast<char>(words[i] >> 56);
        if (tag == 'd') {
            return true;
        }
        if (tag == 'l' || tag == 'u') {
            has_zero |= words[++i] == 0;
        }
    }
    return has_zero && memmem(copy, len, "-0", 2) != nullptr;
}

/* Gives each number that would be written otherwise its place in the text. */
void place_numbers(uint64_t *words, const char *copy, size_t len, bool has_big)
{
    size_t end = static_cast<size_t>(words[0] & 0xFFFFFFFF), number_len = 0;
    number_walk walk = {copy, copy + len};
    for (size_t i = 1; i < end; i++) {
        char tag = static_cast<char>(words[i] >> 56);
        if (tag != 'l' && tag != 'u' && tag != 'd') {
            continue;
        }
        const char *at = next_number(&walk, &number_len);
        uint64_t place = static_cast<uint64_t>(at - copy) + 1;
        if (tag == 'd' || (tag == 'l' && *at == '-' && words[i + 1] == 0)) {
            words[i] |= place;
        }
        if (has_big && tag == 'd' && is_big(at, number_len)) {
            double value = std::strtod(at, nullptr);
            value = value > DBL_MAX ? DBL_MAX : value < -DBL_MAX ? -DBL_MAX : value;
            std::memcpy(&words[i + 1], &value, sizeof(value));
            words[i] |= NUMBER_BIG;
        }
        i++;
    }
}

} // namespace

enum status json_parse(struct json_parser *parser, struct slice text, struct json_value *ret_root, size_t *ret_offset,
                       const char **ret_reason)
{
    if (text.len > simdjson::SIMDJSON_MAXSIZE_BYTES / 2) {
        return STATUS_TOO_LARGE;
    }
    enum status status = make_room(parser, text.len);
    if (status != STATUS_OK) {
        return status;
    }
    if (text.len > 0) {
        memcpy(parser->copy, text.data, text.len);
    }
    memset(parser->copy + text.len, 0, simdjson::SIMDJSON_PADDING);
    simdjson::error_code error = parser->parser.parse_into_document(parser->doc, parser->copy, text.len, false).error();
    bool has_big = false;
    if (error != simdjson::SUCCESS && error != simdjson::MEMALLOC) { /* the code for it differs between versions */
        has_big = hide_big_numbers(parser->copy, text.len) > 0;
        if (has_big) {
            error = parser->parser.parse_into_document(parser->doc, parser->copy, text.len, false).error();
            memcpy(parser->copy, text.data, text.len);
        }
    }
    if (error == simdjson::SUCCESS) {
        uint64_t *words = parser->doc.tape.get();
        if (has_big || has_odd_number(words, parser->copy, text.len)) {
            place_numbers(words, parser->copy, text.len, has_big);
        }
        *ret_root = json_value{&parser->tape, 1};
        return STATUS_OK;
    }
    if (error == simdjson::MEMALLOC) {
        return STATUS_NO_MEMORY;
    }
    size_t offset = 0;
    const char *reason = simdjson::error_message(error);
    (void)json_scan(text, &offset, &reason);
    if (ret_offset != nullptr) {
        *ret_offset = offset;
    }
    if (ret_reason != nullptr) {
        *ret_reason = reason;
    }
    return STATUS_BAD_JSON;
}

size_t json_format_double(double value, char ret[JSON_NUMBER_SIZE])
{
    std::to_chars_result end = std::to_chars(ret, ret + JSON_NUMBER_SIZE, value);
    return static_cast<size_t>(end.ptr - ret);
}
