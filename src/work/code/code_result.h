/* code_result.h - the result of a code.run task as JSON. Pure. */
#ifndef SHOAL_WORK_CODE_CODE_RESULT_H
#define SHOAL_WORK_CODE_CODE_RESULT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/hash.h"
#include "base/slice.h"
#include "work/sandbox/sandbox.h"

#define CODE_STDOUT_INLINE_MAX 40000 /* bytes as JSON or base64; with stderr and the rest below LIMIT_INPUT_SIZE */
#define CODE_STDERR_INLINE_MAX 16000

struct code_result {
    bool is_compile; /* phase: compile, else run */
    const struct sandbox_result *run;
    bool has_compile; /* the language has a compile step, and it went well */
    bool is_cached;
    int64_t compile_wall_ms;
    struct sandbox_limits asked, held; /* of the program: as the task had them, as they were on this node */
    bool loses_output;                 /* the language keeps back what it writes, and was not told not to */
    char stdout_blob[SHA256_HEX_SIZE]; /* "" unless the whole output was uploaded */
    char stderr_blob[SHA256_HEX_SIZE];
};

/* The verdict for an end that is a verdict: any but CANCELLED and FAULT. */
const char *code_verdict(const struct sandbox_result *run, bool is_compile);
/* Bytes of the longest prefix that goes inline: at most `json_max` bytes as a JSON string, cut between characters; or, of
 * bytes that are no UTF-8, as base64. Output that was cut at its limit may end within a character. */
size_t code_inline_len(struct slice text, bool is_truncated, size_t json_max);
void code_result_write(const struct code_result *result, struct buf *out);

#endif
