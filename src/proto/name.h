/* name.h - what a queue, kind or node may be called, whoever says it: HTTP, WebSocket or command line. Pure. */
#ifndef SHOAL_PROTO_NAME_H
#define SHOAL_PROTO_NAME_H

#include <assert.h>
#include <stdbool.h>

#include "base/limits.h"
#include "base/slice.h"

#define NAME_RULE "a name of 1 to 128 characters of A-Z a-z 0-9 . _ -"
static_assert(LIMIT_NAME_SIZE == 128, "NAME_RULE says so");

/* 1..LIMIT_NAME_SIZE of A-Z a-z 0-9 . _ -; such a name needs no escape in a path, in JSON or on a terminal. */
static inline bool name_is_valid(struct slice text)
{
    if (text.len == 0 || text.len > LIMIT_NAME_SIZE) {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i];
        bool is_good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
                       c == '_' || c == '-';
        if (!is_good) {
            return false;
        }
    }
    return true;
}

/* A label: 1..LIMIT_NAME_SIZE bytes without control characters. */
static inline bool label_is_valid(struct slice text)
{
    bool is_good = text.len >= 1 && text.len <= LIMIT_NAME_SIZE;
    for (size_t i = 0; is_good && i < text.len; i++) {
        is_good = (unsigned char)text.data[i] >= 0x20 && text.data[i] != 0x7f;
    }
    return is_good;
}

#endif
