/* words.h - a text of statements, one a line, as words that know their place, and what words stand for.
 *
 * Workload files and scenario files are read with it: "#" begins a comment, words are split at blanks, "double" or 'single'
 * quotes hold blanks and "#" together (there are no escapes: take the other quotes). Every mistake is a sentence that
 * begins with "line L, column C: ", counted from 1 in characters. Nothing is allocated; words are views into the text. Pure, any thread. */
#ifndef SHOAL_BASE_WORDS_H
#define SHOAL_BASE_WORDS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"
#include "base/status.h"

#define WORDS_MAX 128 /* in a line */

struct words_word {
    struct slice text; /* without its quotes */
    uint32_t column;
    bool is_quoted;
};

/* A walk over a text. Fields are read; only the functions change them, save that a caller may put another text into a word. */
struct words {
    struct slice rest; /* lines not read yet */
    uint32_t line;
    uint32_t end_column; /* one behind the last word */
    bool is_indented;
    uint32_t count, at; /* words of this line; the next one to be taken */
    struct words_word list[WORDS_MAX];
    char *why;
    size_t why_size;
};

/* `text` outlives the walk; mistakes are written to why[why_size]. */
void words_begin(struct words *words, struct slice text, char *why, size_t why_size);
/* The next line that has words. END: there is none. INVALID: quotes that do not end, or more than WORDS_MAX words. */
STATUS_MUST_CHECK enum status words_next(struct words *words);
static inline bool words_is_done(const struct words *words) /* with this line */
{
    return words->at == words->count;
}

/* --- mistakes: all give INVALID, and one line of text: what is quoted has ? for control characters --- */

/* `where` NULL: behind the last word. */
STATUS_MUST_CHECK enum status words_complain(const struct words *words, const struct words_word *where,
                                             const char *format, ...) __attribute__((format(printf, 3, 4)));
/* `"phaes" is no statement; did you mean "phase"?` or, without a near one, `…; there are: phase, gate`. `names` ends with NULL;
 * `what` has its article: "no statement". */
STATUS_MUST_CHECK enum status words_complain_unknown(const struct words *words, const struct words_word *where,
                                                     const char *what, const char *const *names);
/* The name that is nearest to the word, NULL when none is near. `names` ends with NULL. */
const char *words_nearest(struct slice word, const char *const *names);

/* --- values --- */

enum words_unit {
    WORDS_COUNT,   /* 20, 5k, 1.5M */
    WORDS_TIME,    /* ns: 50us, 250ms, 1.5s, 2m, 1h30m, 2d; 0 alone */
    WORDS_SIZE,    /* bytes: 512, 4k, 1M, 2G, of 1024 */
    WORDS_PERMILLE /* 5%, 0.1% */
};
struct words_range { /* both ends belong to it */
    int64_t min, max;
};
/* False when the text is no such value, is finer than the unit (0.5 of a byte) or does not fit. */
bool words_value(struct slice text, enum words_unit unit, int64_t *ret);
/* VALUE or VALUE..VALUE, where the first may lack the unit that the second has: 1..20ms. */
bool words_range(struct slice text, enum words_unit unit, struct words_range *ret);
/* 100/s, 0.5/s, 30/m, 10k/s as a number a second, and R/s or R/s..R/s or R..R/s. */
bool words_rate(struct slice text, double *ret_per_s);
bool words_rate_range(struct slice text, double *ret_from, double *ret_to);
/* Letters, digits, ".", "-" and "_", at least one. */
bool words_is_name(struct slice text);
/* Splits "a,b,c": takes the first item off `list`; false when it is empty. */
bool words_list_next(struct slice *list, struct slice *ret_item);
/* What a value of that unit looks like, for sentences: "a duration such as 250ms". */
const char *words_unit_help(enum words_unit unit);

/* --- taking from the line; on a mistake the sentence is written and INVALID comes back --- */

/* The next word; `what` is what is missing otherwise, with its article: "a name". */
STATUS_MUST_CHECK enum status words_take(struct words *words, const char *what, struct words_word *ret_word);
/* Takes the next word when it is this one, unquoted. */
bool words_take_if(struct words *words, const char *word);
STATUS_MUST_CHECK enum status words_take_name(struct words *words, const char *what, char *ret_name, size_t size);
STATUS_MUST_CHECK enum status words_take_value(struct words *words, const char *what, enum words_unit unit, int64_t min,
                                               int64_t max, int64_t *ret);
STATUS_MUST_CHECK enum status words_take_range(struct words *words, const char *what, enum words_unit unit, int64_t min,
                                               int64_t max, struct words_range *ret);
/* Nothing more may stand in the line. */
STATUS_MUST_CHECK enum status words_take_end(const struct words *words);

/* "name value": one of the four is set. */
struct words_property {
    const char *name;
    enum words_unit unit;
    struct words_range *range;
    uint32_t *number;
    int64_t *value; /* as it is: ns, bytes */
    int64_t *ms;    /* of a time */
    int64_t min, max;
};
/* The name at the front of the line and its value. */
STATUS_MUST_CHECK enum status words_take_property(struct words *words, const struct words_property *properties,
                                                  size_t count);
/* All of them up to the end of the line. */
STATUS_MUST_CHECK enum status words_take_properties(struct words *words, const struct words_property *properties,
                                                    size_t count);

#endif
