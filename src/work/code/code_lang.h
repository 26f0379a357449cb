/* code_lang.h - the languages of code.run: how each is compiled and run, and which flags a task may give. Pure. */
#ifndef SHOAL_WORK_CODE_CODE_LANG_H
#define SHOAL_WORK_CODE_CODE_LANG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"
#include "work/sandbox/sandbox.h"

enum code_lang { LANG_PYTHON, LANG_JAVASCRIPT, LANG_C, LANG_CPP, LANG_JAVA, LANG_COUNT };

/* Where a flag of the task goes. */
enum code_flag_use { FLAG_REFUSED, FLAG_COMPILE, FLAG_LINK, FLAG_RUN };

struct code_lang_info {
    const char *name;        /* as in a task */
    const char *entry;       /* the default */
    const char *suffixes[4]; /* of source files that are compiled, or that an entry may have */
    bool is_compiled;
    bool keeps_output_back; /* into a pipe, until a buffer is full or the program ends by itself */
    uint32_t procs_min;     /* with fewer processes and threads its runtime hangs or does not start; measured */
    const char *runtime;    /* program that runs it, NULL: its own compiled one */
    const char *compiler;   /* NULL: none */
    const char *version_option;
};

extern const struct code_lang_info code_langs[LANG_COUNT];

bool code_lang_of(struct slice name, enum code_lang *ret_lang);
/* Whether a task in this language may give the flag, and where it belongs. */
enum code_flag_use code_flag_use(enum code_lang lang, struct slice flag);
/* Whether the path ends like a source file of the language. */
bool code_is_source(enum code_lang lang, struct slice path);
/* "pkg/Main.java" to "pkg.Main"; false when it does not fit. */
bool code_java_class(struct slice entry, char *ret_name, size_t size);

#endif
