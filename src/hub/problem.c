/* problem.c - collects what is wrong with a request and writes it as problem+json.
 *
 * Several places are collected, so that a client can mend its request in one round; the first one found names the code,
 * because a program can act on one word only. Sentences are cut at the size of their fields: they quote what came from
 * outside, and an answer must not grow with the mistake. */
#include "hub/problem.h"

#include <stdio.h>
#include <string.h>

#include "base/ensure.h"
#include "base/json.h"

void problem_init(struct problem *problem)
{
    problem->status = STATUS_OK;
    problem->is_passing = false;
    problem->has_offset = false;
    problem->limit = 0;
    problem->detail[0] = '\0';
    problem->error_count = 0;
}

void problem_set(struct problem *problem, enum status status, const char *format, ...)
{
    problem_init(problem);
    problem->status = status;
    va_list args;
    va_start(args, format);
    vsnprintf(problem->detail, sizeof(problem->detail), format, args);
    va_end(args);
}

/* Appends `key` as one token of a JSON pointer (RFC 6901: ~ and / are escaped); stops where the field is full. */
static void append_pointer_token(char *pointer, size_t size, struct slice key)
{
    size_t at = strlen(pointer);
    if (at + 1 >= size) {
        return;
    }
    pointer[at++] = '/';
    for (size_t i = 0; i < key.len; i++) {
        char c = key.data[i];
        size_t need = c == '~' || c == '/' ? 2 : 1;
        if (at + need >= size) {
            break;
        }
        if (need == 2) {
            pointer[at++] = '~';
            pointer[at++] = c == '~' ? '0' : '1';
        } else {
            pointer[at++] = c;
        }
    }
    pointer[at] = '\0';
}

/* Takes the next place, or NULL past the last; in both cases it is counted. */
static struct field_error *next_place(struct problem *problem)
{
    uint32_t i = problem->error_count++;
    return i < PROBLEM_ERRORS_MAX ? &problem->errors[i] : NULL;
}

static void adopt_first(struct problem *problem, const struct field_error *place)
{
    if (problem->status != STATUS_OK) {
        return;
    }
    problem->status = place->status;
    snprintf(problem->detail, sizeof(problem->detail), "%s: %s",
             place->pointer[0] != '\0' ? place->pointer : "the body", place->detail);
}

void problem_add(struct problem *problem, enum status status, const char *base, struct slice key, const char *format,
                 ...)
{
    struct field_error *place = next_place(problem);
    if (place == NULL) {
        return;
    }
    place->status = status;
    snprintf(place->pointer, sizeof(place->pointer), "%s", base);
    if (key.len > 0) {
        append_pointer_token(place->pointer, sizeof(place->pointer), key);
    }
    va_list args;
    va_start(args, format);
    vsnprintf(place->detail, sizeof(place->detail), format, args);
    va_end(args);
    adopt_first(problem, place);
}

void problem_add_field_error(struct problem *problem, const struct field_error *error)
{
    struct field_error *place = next_place(problem);
    if (place == NULL) {
        return;
    }
    *place = *error;
    adopt_first(problem, place);
}

void problem_write(struct buf *out, const struct problem *problem)
{
    ensure(problem->status != STATUS_OK);
    buf_append_slice(out, SLICE("{\"type\":\"about:blank\",\"title\":"));
    json_write_str(out, slice_str(status_title(problem->status)));
    buf_append_slice(out, SLICE(",\"status\":"));
    buf_append_u64_dec(out, (uint64_t)status_http(problem->status));
    buf_append_slice(out, SLICE(",\"code\":"));
    json_write_str(out, slice_str(status_slug(problem->status)));
    if (problem->detail[0] != '\0') {
        buf_append_slice(out, SLICE(",\"detail\":"));
        json_write_str(out, slice_str(problem->detail));
    }
    buf_append_str(out, problem->is_passing || status_is_retryable(problem->status) ? ",\"retryable\":true"
                                                                                    : ",\"retryable\":false");
    if (problem->error_count > 0) {
        buf_append_slice(out, SLICE(",\"errors\":["));
        for (uint32_t i = 0; i < problem->error_count && i < PROBLEM_ERRORS_MAX; i++) {
            buf_append_str(out, i == 0 ? "{\"pointer\":" : ",{\"pointer\":");
            json_write_str(out, slice_str(problem->errors[i].pointer));
            buf_append_slice(out, SLICE(",\"detail\":"));
            json_write_str(out, slice_str(problem->errors[i].detail));
            buf_append_char(out, '}');
        }
        buf_append_char(out, ']');
    }
    if (problem->has_offset) {
        buf_append_slice(out, SLICE(",\"offset\":"));
        buf_append_u64_dec(out, problem->offset);
    }
    if (problem->limit > 0) {
        buf_append_slice(out, SLICE(",\"limit\":"));
        buf_append_u64_dec(out, problem->limit);
    }
    buf_append_char(out, '}');
}

void problem_write_status(struct buf *out, enum status status, const char *detail)
{
    struct problem problem;
    problem_set(&problem, status, "%s", detail != NULL ? detail : status_title(status));
    problem_write(out, &problem);
}
