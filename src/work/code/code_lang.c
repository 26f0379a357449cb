/* code_lang.c - the languages of code.run, as tables.
 *
 * Flags are an allow-list because compilers are programs with many doors: -B, -specs, -wrapper and -fplugin of gcc or
 * -J of javac run other programs, -I and @file read what they are pointed at. They run in a box too, so the list is a
 * second fence; it also keeps the key of the compile cache honest, for nothing here depends on the machine. */
#include "work/code/code_lang.h"

#include <ctype.h>
#include <string.h>

#include "base/ensure.h"

/* The least of processes: node starts 7 threads and 4 more with the first file it reads, and waits for ever for one that
 * was refused; java 14 on two cores, and a compiler thread more on larger machines. */
const struct code_lang_info code_langs[LANG_COUNT] = {
    [LANG_PYTHON] = {"python", "main.py", {".py"}, false, true, 1, "python3", NULL, "--version"},
    [LANG_JAVASCRIPT] = {"javascript", "main.js", {".js", ".mjs", ".cjs"}, false, false, 11, "node", NULL, "--version"},
    [LANG_C] = {"c", "main.c", {".c"}, true, true, 1, NULL, "gcc", "-dumpfullversion"},
    [LANG_CPP] = {"cpp", "main.cpp", {".cpp", ".cc", ".cxx"}, true, true, 1, NULL, "g++", "-dumpfullversion"},
    [LANG_JAVA] = {"java", "Main.java", {".java"}, true, false, 20, "java", "javac", "--version"},
};

bool code_lang_of(struct slice name, enum code_lang *ret_lang)
{
    for (int i = 0; i < LANG_COUNT; i++) {
        if (slice_equal_str(name, code_langs[i].name)) {
            *ret_lang = (enum code_lang)i;
            return true;
        }
    }
    return false;
}

bool code_is_source(enum code_lang lang, struct slice path)
{
    for (size_t i = 0; i < ARRAY_COUNT(code_langs[lang].suffixes) && code_langs[lang].suffixes[i] != NULL; i++) {
        size_t len = strlen(code_langs[lang].suffixes[i]);
        if (path.len > len && memcmp(path.data + path.len - len, code_langs[lang].suffixes[i], len) == 0) {
            return true;
        }
    }
    return false;
}

/* --- flags ----------------------------------------------------------------------------------------------------- */

enum value { EXACT, NUMBER, SIZE, DEFINE };

#define C_FAMILY ((1u << LANG_C) | (1u << LANG_CPP))

/* After `text`: EXACT nothing; NUMBER one to six digits; SIZE the same and k, m or g; DEFINE NAME or NAME=word. */
static const struct flag {
    uint32_t langs;
    enum code_flag_use use;
    enum value value;
    const char *text;
} flags[] = {
    {C_FAMILY, FLAG_COMPILE, EXACT, "-O0"},
    {C_FAMILY, FLAG_COMPILE, EXACT, "-O1"},
    {C_FAMILY, FLAG_COMPILE, EXACT, "-O2"},
    {C_FAMILY, FLAG_COMPILE, EXACT, "-O3"},
    {C_FAMILY, FLAG_COMPILE, EXACT, "-Os"},
    {C_FAMILY, FLAG_COMPILE, EXACT, "-Og"},
    {C_FAMILY, FLAG_COMPILE, EXACT, "-g"},
    {C_FAMILY, FLAG_COMPILE, EXACT, "-w"},
    {C_FAMILY, FLAG_COMPILE, EXACT, "-Wall"},
    {C_FAMILY, FLAG_COMPILE, EXACT, "-Wextra"},
    {C_FAMILY, FLAG_COMPILE, EXACT, "-Werror"},
    {C_FAMILY, FLAG_COMPILE, EXACT, "-Wpedantic"},
    {C_FAMILY, FLAG_COMPILE, EXACT, "-pedantic"},
    {C_FAMILY, FLAG_COMPILE, EXACT, "-pedantic-errors"},
    {C_FAMILY, FLAG_COMPILE, EXACT, "-pthread"},
    {C_FAMILY, FLAG_COMPILE, EXACT, "-fopenmp"},
    {C_FAMILY, FLAG_COMPILE, EXACT, "-ffast-math"},
    {C_FAMILY, FLAG_COMPILE, EXACT, "-fno-strict-aliasing"},
    {C_FAMILY, FLAG_COMPILE, EXACT, "-fwrapv"},
    {C_FAMILY, FLAG_COMPILE, EXACT, "-fstack-protector-strong"},
    {C_FAMILY, FLAG_COMPILE, EXACT, "-flto"},
    {C_FAMILY, FLAG_COMPILE, EXACT, "-static"},
    {C_FAMILY, FLAG_COMPILE, DEFINE, "-D"},
    {C_FAMILY, FLAG_LINK, EXACT, "-lm"},
    {C_FAMILY, FLAG_LINK, EXACT, "-lpthread"},
    {1u << LANG_C, FLAG_COMPILE, EXACT, "-std=c89"},
    {1u << LANG_C, FLAG_COMPILE, EXACT, "-std=c99"},
    {1u << LANG_C, FLAG_COMPILE, EXACT, "-std=c11"},
    {1u << LANG_C, FLAG_COMPILE, EXACT, "-std=c17"},
    {1u << LANG_C, FLAG_COMPILE, EXACT, "-std=c2x"},
    {1u << LANG_C, FLAG_COMPILE, EXACT, "-std=gnu89"},
    {1u << LANG_C, FLAG_COMPILE, EXACT, "-std=gnu99"},
    {1u << LANG_C, FLAG_COMPILE, EXACT, "-std=gnu11"},
    {1u << LANG_C, FLAG_COMPILE, EXACT, "-std=gnu17"},
    {1u << LANG_C, FLAG_COMPILE, EXACT, "-std=gnu2x"},
    {1u << LANG_CPP, FLAG_COMPILE, EXACT, "-std=c++11"},
    {1u << LANG_CPP, FLAG_COMPILE, EXACT, "-std=c++14"},
    {1u << LANG_CPP, FLAG_COMPILE, EXACT, "-std=c++17"},
    {1u << LANG_CPP, FLAG_COMPILE, EXACT, "-std=c++20"},
    {1u << LANG_CPP, FLAG_COMPILE, EXACT, "-std=c++23"},
    {1u << LANG_CPP, FLAG_COMPILE, EXACT, "-std=gnu++17"},
    {1u << LANG_CPP, FLAG_COMPILE, EXACT, "-std=gnu++20"},
    {1u << LANG_CPP, FLAG_COMPILE, EXACT, "-std=gnu++23"},
    {1u << LANG_PYTHON, FLAG_RUN, EXACT, "-O"},
    {1u << LANG_PYTHON, FLAG_RUN, EXACT, "-OO"},
    {1u << LANG_PYTHON, FLAG_RUN, EXACT, "-u"},
    {1u << LANG_PYTHON, FLAG_RUN, EXACT, "-I"},
    {1u << LANG_PYTHON, FLAG_RUN, EXACT, "-S"},
    {1u << LANG_PYTHON, FLAG_RUN, EXACT, "-Xutf8"},
    {1u << LANG_PYTHON, FLAG_RUN, EXACT, "-Wdefault"},
    {1u << LANG_PYTHON, FLAG_RUN, EXACT, "-Werror"},
    {1u << LANG_PYTHON, FLAG_RUN, EXACT, "-Wignore"},
    {1u << LANG_JAVASCRIPT, FLAG_RUN, EXACT, "--use-strict"},
    {1u << LANG_JAVASCRIPT, FLAG_RUN, EXACT, "--expose-gc"},
    {1u << LANG_JAVASCRIPT, FLAG_RUN, EXACT, "--no-warnings"},
    {1u << LANG_JAVASCRIPT, FLAG_RUN, EXACT, "--enable-source-maps"},
    {1u << LANG_JAVASCRIPT, FLAG_RUN, NUMBER, "--stack-size="},
    {1u << LANG_JAVASCRIPT, FLAG_RUN, NUMBER, "--max-semi-space-size="},
    {1u << LANG_JAVA, FLAG_COMPILE, EXACT, "-g"},
    {1u << LANG_JAVA, FLAG_COMPILE, EXACT, "-nowarn"},
    {1u << LANG_JAVA, FLAG_COMPILE, EXACT, "-parameters"},
    {1u << LANG_JAVA, FLAG_COMPILE, EXACT, "-Xlint"},
    {1u << LANG_JAVA, FLAG_COMPILE, EXACT, "-Xlint:all"},
    {1u << LANG_JAVA, FLAG_COMPILE, EXACT, "-Xlint:none"},
    {1u << LANG_JAVA, FLAG_COMPILE, EXACT, "-Werror"},
    {1u << LANG_JAVA, FLAG_RUN, EXACT, "-ea"},
    {1u << LANG_JAVA, FLAG_RUN, EXACT, "-Xint"},
    {1u << LANG_JAVA, FLAG_RUN, SIZE, "-Xss"},
    {1u << LANG_JAVA, FLAG_RUN, SIZE, "-Xms"},
};

static bool is_number(struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (!isdigit((unsigned char)text.data[i])) {
            return false;
        }
    }
    return text.len >= 1 && text.len <= 6;
}

static bool is_define(struct slice text)
{
    bool is_value = false;
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.data[i];
        if (!is_value && c == '=' && i > 0) {
            is_value = true;
        } else if (!isalnum(c) && c != '_' && !(is_value && (c == '.' || c == '-' || c == '+'))) {
            return false;
        }
    }
    return text.len >= 1 && text.len <= 100 && !isdigit((unsigned char)text.data[0]);
}

static bool value_fits(enum value value, struct slice rest)
{
    switch (value) {
    case EXACT:
        return rest.len == 0;
    case NUMBER:
        return is_number(rest);
    case SIZE:
        return rest.len >= 2 && strchr("kmg", rest.data[rest.len - 1]) != NULL && rest.data[rest.len - 1] != 0 &&
               is_number(slice_of(rest.data, rest.len - 1));
    case DEFINE:
        return is_define(rest);
    }
    return false;
}

enum code_flag_use code_flag_use(enum code_lang lang, struct slice flag)
{
    for (size_t i = 0; i < ARRAY_COUNT(flags); i++) {
        struct slice text = slice_str(flags[i].text);
        if ((flags[i].langs & (1u << lang)) != 0 && slice_starts_with(flag, text) &&
            value_fits(flags[i].value, slice_of(flag.data + text.len, flag.len - text.len))) {
            return flags[i].use;
        }
    }
    return FLAG_REFUSED;
}

bool code_java_class(struct slice entry, char *ret_name, size_t size)
{
    static const struct slice suffix = {".java", 5};
    if (entry.len <= suffix.len || entry.len - suffix.len >= size ||
        memcmp(entry.data + entry.len - suffix.len, suffix.data, suffix.len) != 0) {
        return false;
    }
    for (size_t i = 0; i < entry.len - suffix.len; i++) {
        unsigned char c = (unsigned char)entry.data[i];
        if (!isalnum(c) && c != '_' && c != '$' && c != '/' && c < 0x80) {
            return false;
        }
        ret_name[i] = c == '/' ? '.' : (char)c;
    }
    ret_name[entry.len - suffix.len] = 0;
    return true;
}
