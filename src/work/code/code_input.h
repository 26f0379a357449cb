/* code_input.h - the input of a code.run task, read and checked. docs/code-run.md describes every field. Pure. */
#ifndef SHOAL_WORK_CODE_CODE_INPUT_H
#define SHOAL_WORK_CODE_CODE_INPUT_H

#include "base/buf.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/status.h"
#include "work/code/code_lang.h"
#include "work/sandbox/sandbox.h"

#define CODE_FILES_MAX 64
#define CODE_ARGS_MAX 256
#define CODE_FLAGS_MAX 32
#define CODE_PATH_SIZE 200 /* bytes of a path */
#define CODE_OUT_KIB_MAX 16384

struct code_file {
    char *path; /* relative, clean */
    char *text; /* what came inside the input, any bytes; NULL for a blob */
    size_t text_len;
    char blob[SHA256_HEX_SIZE]; /* "" for a text */
};

/* Owns its strings. */
struct code_input {
    enum code_lang lang;
    struct code_file files[CODE_FILES_MAX];
    size_t file_count;
    size_t entry;                  /* index into files */
    char *args[CODE_ARGS_MAX + 1]; /* ended by NULL */
    size_t arg_count;
    char *flags[CODE_FLAGS_MAX];
    enum code_flag_use flag_uses[CODE_FLAGS_MAX];
    size_t flag_count;
    char *stdin_text; /* any bytes; NULL: none, or a blob */
    size_t stdin_len;
    char stdin_blob[SHA256_HEX_SIZE]; /* "": none */
    bool is_unbuffered;               /* what the program writes is not kept back in it */
    struct sandbox_limits limits;
};

/* Reads `text`. INVALID, UNKNOWN_FIELD or BAD_JSON with a sentence in `ret_why` that begins with the JSON pointer of
 * what is wrong; NO_MEMORY. On failure `ret_input` is empty. */
STATUS_MUST_CHECK enum status code_input_read(struct json_parser *parser, struct slice text,
                                              struct code_input *ret_input, struct buf *ret_why);
void code_input_free(struct code_input *input);

#endif
