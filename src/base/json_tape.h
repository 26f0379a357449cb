/* json_tape.h - what json.cc leaves behind for json_read.c: simdjson's tape (doc/tape.md of simdjson).
 *
 * Each word is a type in the high byte and 56 bits of payload:
 *   r       word 0 and the last: the document
 *   { [     low 32 bits: the index behind the closing } or ], which is a word of its own; then the elements,
 *           in an object each behind its name
 *   "       where in `strings` a u32 length, the decoded bytes and a NUL lie
 *   l u d   an int64, uint64 or double in the next word. Payload (ours, simdjson's is 0): where in `text` the number
 *           stands, counted from 1; 0 for one that prints as it stood. With NUMBER_BIG it is past what the word can hold
 *   t f n   true, false, null
 * A json_value is a tape and the index of its first word: two machine words that own nothing. */
#ifndef SHOAL_BASE_JSON_TAPE_H
#define SHOAL_BASE_JSON_TAPE_H

#include <stdint.h>

#define NUMBER_BIG (UINT64_C(1) << 55)

struct json_tape {
    const uint64_t *words;
    const uint8_t *strings;
    const char *text;
};

#endif
