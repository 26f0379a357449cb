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
 * simdjson does not say where it stumbled. Refused text is therefore read once more by json_scan.c. */
#define SIMDJSON_EXCEPTIONS 0
#include "base/json.h"

#include <charconv>
#include <climits>
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
    self->tape = json_tape{self->doc.tape.get(), self->doc.string_buf.get()};
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
    if (error == simdjson::SUCCESS) {
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
