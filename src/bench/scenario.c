/* scenario.c - reads scenario files: the walk over the lines, what stands for what, and the small statements.
 *
 *   title TEXT | seed N | sample every D
 *   let NAME VALUE                     $NAME or ${NAME} below is VALUE, or what was given from outside
 *   target URL|NAME [connections N] [timeout D]
 *   start …, fault …                   scenario_fault.c
 *   feed …                             scenario_text.c
 *   flow …, and its steps              scenario_flow.c
 *   phase …                            scenario_phase.c
 *   gate …                             scenario_gate.c
 *   kind, queue, nodes, clients, mix, submits     base/workload.c
 *
 * A statement is one line. Three things happen to it in this order: it is split into words (base/words.c), each $name in a
 * word is replaced (a word stays one word, and mistakes keep the column of what was written), and the statement's
 * reader takes the words. Names are looked up when the whole text has been read, so that a phase may stand above its flow; only
 * `after` looks upwards, which keeps the graph of the phases free of cycles. */
#include "bench/scenario.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "bench/scenario_internal.h"

#define SOURCE_SIZE_MAX (1u << 20)
#define TIMEOUT_NS_DEFAULT (INT64_C(10) * 1000000000)
#define SAMPLE_NS_DEFAULT (INT64_C(1) * 1000000000)
#define CONNECTIONS_MAX 100000

/* --- memory: a list of blocks, freed together --- */

struct block {
    struct block *next;
    max_align_t data[];
};

void *scenario_alloc(struct scenario *scenario, size_t size)
{
    struct block *block = calloc(1, sizeof(*block) + size);
    if (block == NULL) {
        return NULL;
    }
    block->next = scenario->memory;
    scenario->memory = block;
    return block->data;
}

void scenario_free(struct scenario *scenario)
{
    for (struct block *block = scenario->memory; block != NULL;) {
        struct block *next = block->next;
        free(block);
        block = next;
    }
    buf_free(&scenario->source);
    memset(scenario, 0, sizeof(*scenario));
}

enum status complain_memory(struct parser *parser)
{
    snprintf(parser->words.why, parser->words.why_size, "there is not enough memory for this scenario");
    return STATUS_NO_MEMORY;
}

enum status copy_word(struct parser *parser, const struct words_word *word, const char *what, char *ret, size_t size)
{
    if (word->text.len >= size) {
        return words_complain(&parser->words, word, "%s has at most %zu bytes", what, size - 1);
    }
    if (memchr(word->text.data, '\0', word->text.len) != NULL) {
        return words_complain(&parser->words, word, "%s holds a NUL byte", what);
    }
    memcpy(ret, word->text.data, word->text.len);
    ret[word->text.len] = '\0';
    return STATUS_OK;
}

/* --- files --- */

/* The content of an open file, owned by the caller (free). */
static enum status read_stream(FILE *stream, size_t size_max, char **ret_data, size_t *ret_len)
{
    size_t cap = 1u << 16, len = 0;
    char *data = malloc(cap);
    enum status status = data != NULL ? STATUS_OK : STATUS_NO_MEMORY;
    while (status == STATUS_OK) {
        len += fread(data + len, 1, cap - len, stream);
        if (len < cap) {
            status = ferror(stream) != 0 ? STATUS_IO : STATUS_OK;
            break;
        }
        if (len > size_max) {
            status = STATUS_TOO_LARGE;
            break;
        }
        char *larger = realloc(data, cap * 2);
        status = larger != NULL ? STATUS_OK : STATUS_NO_MEMORY;
        data = larger != NULL ? larger : data;
        cap *= larger != NULL ? 2 : 1;
    }
    if (status == STATUS_OK && len > size_max) {
        status = STATUS_TOO_LARGE;
    }
    if (status != STATUS_OK) {
        free(data);
        return status;
    }
    *ret_data = data;
    *ret_len = len;
    return STATUS_OK;
}

enum status read_file(struct parser *parser, const struct words_word *word, struct slice *ret_text)
{
    char path[4096];
    if (parser->folder == NULL) {
        return words_complain(&parser->words, word, "files cannot be read here");
    }
    bool is_absolute = word->text.len > 0 && word->text.data[0] == '/';
    int path_len = snprintf(path, sizeof(path), "%s%s%.*s", is_absolute ? "" : parser->folder, is_absolute ? "" : "/",
                            SLICE_ARG(word->text));
    if (path_len < 0 || (size_t)path_len >= sizeof(path)) {
        return words_complain(&parser->words, word, "the path of the file is too long");
    }
    FILE *stream = fopen(path, "re");
    if (stream == NULL) {
        return words_complain(&parser->words, word, "the file %s cannot be opened", path);
    }
    char *data = NULL;
    size_t len = 0;
    enum status status = read_stream(stream, SCENARIO_FILE_SIZE_MAX, &data, &len);
    (void)fclose(stream);
    if (status == STATUS_NO_MEMORY) {
        return complain_memory(parser);
    }
    if (status != STATUS_OK) {
        return words_complain(&parser->words, word, "the file %s cannot be read, or has more than %u MiB", path,
                              SCENARIO_FILE_SIZE_MAX >> 20);
    }
    char *copy = scenario_alloc(parser->scenario, len + 1);
    if (copy != NULL) {
        memcpy(copy, data, len);
        *ret_text = slice_of(copy, len);
    }
    free(data);
    return copy != NULL ? STATUS_OK : complain_memory(parser);
}

/* --- $name --- */

static bool is_name_character(char c, bool is_first)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (!is_first && c >= '0' && c <= '9');
}

static struct scenario_define *find_define(struct parser *parser, struct slice name)
{
    for (uint32_t i = 0; i < parser->define_count; i++) {
        if (slice_equal(parser->defines[i].name, name)) {
            return &parser->defines[i];
        }
    }
    return NULL;
}

static enum status complain_define(struct parser *parser, const struct words_word *word, struct slice name)
{
    const char *names[SCENARIO_DEFINES_MAX + 1];
    char copies[SCENARIO_DEFINES_MAX][BENCH_NAME_SIZE];
    for (uint32_t i = 0; i < parser->define_count; i++) {
        snprintf(copies[i], sizeof(copies[i]), "%.*s", SLICE_ARG(parser->defines[i].name));
        names[i] = copies[i];
    }
    names[parser->define_count] = NULL;
    const char *nearest = words_nearest(name, names);
    return words_complain(&parser->words, word, "$%.*s has no value: \"let %.*s VALUE\" above gives it one%s%s%s",
                          SLICE_ARG(name), SLICE_ARG(name), nearest != NULL ? "; did you mean $" : "",
                          nearest != NULL ? nearest : "", nearest != NULL ? "?" : " (and $$ is a plain $)");
}

/* A $name or ${name} at text[at]: its end and the name; false when there is none. */
static bool find_name(struct slice text, size_t at, size_t *ret_end, struct slice *ret_name, bool *ret_has_braces)
{
    size_t start = at + 1, end;
    *ret_has_braces = start < text.len && text.data[start] == '{';
    start += *ret_has_braces;
    for (end = start; end < text.len && is_name_character(text.data[end], end == start); end++) {
    }
    *ret_name = slice_of(text.data + start, end - start);
    if (end == start || (*ret_has_braces && (end == text.len || text.data[end] != '}'))) {
        return false;
    }
    *ret_end = end + *ret_has_braces;
    return true;
}

/* Replaces each $name in the word, and ${name} where a let or a value from outside has that name. Other ${name} and $$ are left to
 * those who read texts. */
static enum status expand(struct parser *parser, struct words_word *word)
{
    struct slice text = word->text;
    struct buf out;
    if (text.len == 0 || memchr(text.data, '$', text.len) == NULL) {
        return STATUS_OK;
    }
    enum status status = STATUS_OK;
    bool has_any = false;
    buf_init(&out, SOURCE_SIZE_MAX);
    for (size_t at = 0; at < text.len && status == STATUS_OK;) {
        size_t end = at + 1;
        struct slice name;
        bool has_braces;
        if (text.data[at] != '$' || !find_name(text, at, &end, &name, &has_braces)) {
            /* "$$name" is no $name: both signs are passed over. */
            end = at + 1;
            end += text.data[at] == '$' && end < text.len && text.data[end] == '$';
            buf_append(&out, text.data + at, end - at);
            at = end;
            continue;
        }
        struct scenario_define *define = find_define(parser, name);
        if (define != NULL) {
            define->is_used = has_any = true;
            buf_append_slice(&out, define->value);
        } else if (has_braces) {
            buf_append(&out, text.data + at, end - at);
        } else {
            status = complain_define(parser, word, name);
        }
        at = end;
    }
    if (status == STATUS_OK && buf_status(&out) != STATUS_OK) {
        status = words_complain(&parser->words, word, "what this stands for is longer than 1 MiB");
    }
    if (status == STATUS_OK && has_any) {
        char *copy = scenario_alloc(parser->scenario, out.len + 1);
        if (copy == NULL) {
            status = complain_memory(parser);
        } else {
            memcpy(copy, buf_cstr(&out), out.len);
            word->text = slice_of(copy, out.len);
        }
    }
    buf_free(&out);
    return status;
}

static enum status read_let(struct parser *parser)
{
    struct words_word name, value;
    enum status status = words_take(&parser->words, "a name", &name);
    if (status == STATUS_OK) {
        status = words_take(&parser->words, "a value", &value);
    }
    if (status != STATUS_OK) {
        return status;
    }
    bool is_name = name.text.len > 0 && name.text.len < BENCH_NAME_SIZE;
    for (size_t i = 0; i < name.text.len; i++) {
        is_name = is_name && is_name_character(name.text.data[i], i == 0);
    }
    if (!is_name) {
        return words_complain(&parser->words, &name, "\"%.*s\" is no name for let: letters, digits and \"_\" make one",
                              SLICE_ARG(name.text));
    }
    struct scenario_define *define = find_define(parser, name.text);
    if (define != NULL) {
        /* The line says that the name exists, which is all that a value from outside needs. */
        if (!define->is_given || define->is_used) {
            return words_complain(&parser->words, &name, "$%.*s has a value already", SLICE_ARG(name.text));
        }
        define->is_used = true;
    } else if (parser->define_count == SCENARIO_DEFINES_MAX) {
        return words_complain(&parser->words, &name, "there are at most %d names", SCENARIO_DEFINES_MAX);
    } else {
        parser->defines[parser->define_count++] = (struct scenario_define){.name = name.text, .value = value.text};
    }
    return words_take_end(&parser->words);
}

static enum status take_defines(struct parser *parser, const char *const *defines)
{
    for (; defines != NULL && *defines != NULL; defines++) {
        const char *equals = strchr(*defines, '=');
        if (equals == NULL || equals == *defines) {
            return words_complain(&parser->words, NULL, "\"%s\" is not NAME=VALUE", *defines);
        }
        struct slice name = slice_of(*defines, (size_t)(equals - *defines));
        if (find_define(parser, name) != NULL || parser->define_count == SCENARIO_DEFINES_MAX) {
            return words_complain(&parser->words, NULL, "%.*s is given twice, or there are more than %d names",
                                  SLICE_ARG(name), SCENARIO_DEFINES_MAX);
        }
        parser->defines[parser->define_count++] =
            (struct scenario_define){.name = name, .value = slice_str(equals + 1), .is_given = true};
    }
    return STATUS_OK;
}

/* --- small statements --- */

static enum status once(struct parser *parser, bool *has)
{
    if (*has) {
        return words_complain(&parser->words, &parser->words.list[0], "there is one %.*s already",
                              SLICE_ARG(parser->words.list[0].text));
    }
    *has = true;
    return STATUS_OK;
}

static enum status read_title(struct parser *parser)
{
    struct words_word word;
    enum status status = once(parser, &parser->has_title);
    if (status == STATUS_OK) {
        status = words_take(&parser->words, "a text in quotes", &word);
    }
    if (status == STATUS_OK) {
        status = copy_word(parser, &word, "a title", parser->scenario->title, sizeof(parser->scenario->title));
    }
    return status == STATUS_OK ? words_take_end(&parser->words) : status;
}

static enum status read_seed(struct parser *parser)
{
    int64_t seed = 0;
    enum status status = once(parser, &parser->has_seed);
    if (status == STATUS_OK) {
        status = words_take_value(&parser->words, "seed", WORDS_COUNT, 0, INT64_MAX, &seed);
    }
    parser->scenario->seed = (uint64_t)seed;
    return status == STATUS_OK ? words_take_end(&parser->words) : status;
}

static enum status read_sample(struct parser *parser)
{
    enum status status = once(parser, &parser->has_sample);
    if (status == STATUS_OK && !words_take_if(&parser->words, "every")) {
        return words_complain(&parser->words, NULL, "\"sample every DURATION\" is how this is written");
    }
    if (status == STATUS_OK) {
        status = words_take_value(&parser->words, "sample every", WORDS_TIME, SAMPLE_NS_DEFAULT,
                                  3600 * SAMPLE_NS_DEFAULT, &parser->scenario->sample_ns);
    }
    return status == STATUS_OK ? words_take_end(&parser->words) : status;
}

static enum status read_target(struct parser *parser)
{
    struct scenario *scenario = parser->scenario;
    if (parser->target_line > 0) {
        return words_complain(&parser->words, &parser->words.list[0], "there is a target already, in line %u",
                              parser->target_line);
    }
    enum status status = words_take(&parser->words, "a URL, or the name of what is started", &parser->target);
    if (status == STATUS_OK) {
        status = copy_word(parser, &parser->target, "a target", scenario->target, sizeof(scenario->target));
    }
    if (status != STATUS_OK) {
        return status;
    }
    parser->target_line = parser->words.line;
    const struct words_property properties[] = {
        {.name = "connections", .number = &scenario->connections, .min = 1, .max = CONNECTIONS_MAX},
        {.name = "timeout",
         .unit = WORDS_TIME,
         .value = &scenario->timeout_ns,
         .min = 1000000,
         .max = 3600 * SAMPLE_NS_DEFAULT},
    };
    return words_take_properties(&parser->words, properties, ARRAY_COUNT(properties));
}

/* --- the walk --- */

static const struct {
    const char *name;
    enum status (*read)(struct parser *parser);
} statements[] = {
    {"title", read_title},
    {"seed", read_seed},
    {"let", read_let},
    {"start", scenario_read_start},
    {"target", read_target},
    {"feed", scenario_read_feed},
    {"flow", scenario_read_flow},
    {"phase", scenario_read_phase},
    {"fault", scenario_read_fault},
    {"gate", scenario_read_gate},
    {"sample", read_sample},
};

static enum status complain_statement(struct parser *parser)
{
    const char *names[96];
    size_t count = 0;
    for (size_t i = 0; i < ARRAY_COUNT(statements); i++) {
        names[count++] = statements[i].name;
    }
    for (size_t i = 0; workload_statements[i] != NULL; i++) {
        names[count++] = workload_statements[i];
    }
    for (size_t i = 0; scenario_steps[i] != NULL; i++) {
        names[count++] = scenario_steps[i];
    }
    ensure(count < ARRAY_COUNT(names));
    names[count] = NULL;
    return words_complain_unknown(&parser->words, &parser->words.list[0], "no statement", names);
}

static enum status read_statement(struct parser *parser)
{
    struct words *words = &parser->words;
    /* The name of a let is not replaced, nor is its keyword. */
    bool is_let = slice_equal_str(words->list[0].text, "let") && !words->list[0].is_quoted;
    enum status status = STATUS_OK;
    for (uint32_t i = is_let ? 2 : 0; i < words->count && status == STATUS_OK; i++) {
        status = expand(parser, &words->list[i]);
    }
    if (status != STATUS_OK) {
        return status;
    }
    status = scenario_read_step(parser);
    if (status != STATUS_NOT_FOUND) {
        return status;
    }
    parser->flow = NULL;
    for (size_t i = 0; i < ARRAY_COUNT(statements); i++) {
        if (words_take_if(words, statements[i].name)) {
            return statements[i].read(parser);
        }
    }
    status = workload_statement(words, &parser->scenario->workload);
    if (status == STATUS_NOT_FOUND) {
        return complain_statement(parser);
    }
    parser->scenario->has_workload = true;
    return status;
}

static enum status check_defines(struct parser *parser)
{
    for (uint32_t i = 0; i < parser->define_count; i++) {
        if (parser->defines[i].is_given && !parser->defines[i].is_used) {
            const char *names[SCENARIO_DEFINES_MAX + 1];
            char copies[SCENARIO_DEFINES_MAX][BENCH_NAME_SIZE];
            uint32_t count = 0;
            for (uint32_t k = 0; k < parser->define_count; k++) {
                if (parser->defines[k].is_used || !parser->defines[k].is_given) {
                    snprintf(copies[count], sizeof(copies[count]), "%.*s", SLICE_ARG(parser->defines[k].name));
                    names[count] = copies[count];
                    count++;
                }
            }
            names[count] = NULL;
            struct words_word word = {.text = parser->defines[i].name, .column = 1};
            parser->words.line = 1;
            return words_complain_unknown(&parser->words, &word, "no name that this scenario has a value for", names);
        }
    }
    return STATUS_OK;
}

static enum status parse(struct parser *parser, struct slice text, const char *folder, const char *const *defines,
                         bool needs_phases, char *ret_why, size_t why_size)
{
    struct scenario *scenario = parser->scenario;
    parser->folder = folder;
    words_begin(&parser->words, text, ret_why, why_size);
    workload_init(&scenario->workload);
    scenario->timeout_ns = TIMEOUT_NS_DEFAULT;
    scenario->sample_ns = SAMPLE_NS_DEFAULT;
    scenario->seed = 1;
    scenario->flows = scenario_alloc(scenario, SCENARIO_FLOWS_MAX * sizeof(*scenario->flows));
    scenario->variables = scenario_alloc(scenario, SCENARIO_VARIABLES_MAX * sizeof(*scenario->variables));
    if (scenario->flows == NULL || scenario->variables == NULL) {
        return complain_memory(parser);
    }
    static const char *const own[SCENARIO_OWN_VARIABLES] = {
        [SCENARIO_INDEX] = "index", [SCENARIO_USER] = "user", [SCENARIO_UUID] = "uuid", [SCENARIO_PORT] = "port"};
    for (int i = 0; i < SCENARIO_OWN_VARIABLES; i++) {
        parser->variable_flow[i] = i == SCENARIO_PORT ? VARIABLE_NOWHERE : VARIABLE_EVERYWHERE;
        snprintf(scenario->variables[scenario->variable_count++], BENCH_NAME_SIZE, "%s", own[i]);
    }
    enum status status = take_defines(parser, defines);
    while (status == STATUS_OK && (status = words_next(&parser->words)) == STATUS_OK) {
        status = read_statement(parser);
    }
    status = status == STATUS_END ? scenario_check(parser, needs_phases) : status;
    return status == STATUS_OK ? check_defines(parser) : status;
}

static enum status parse_text(struct slice text, const char *folder, const char *const *defines, bool needs_phases,
                              struct scenario *ret_scenario, char *ret_why, size_t why_size)
{
    memset(ret_scenario, 0, sizeof(*ret_scenario));
    buf_init(&ret_scenario->source, SOURCE_SIZE_MAX);
    snprintf(ret_scenario->name, sizeof(ret_scenario->name), "scenario");
    struct parser *parser = calloc(1, sizeof(*parser));
    /* Words are views: into a copy that lives as long as the scenario. */
    buf_append_slice(&ret_scenario->source, text);
    enum status status = buf_status(&ret_scenario->source);
    if (status != STATUS_OK || parser == NULL) {
        snprintf(ret_why, why_size, "line 1, column 1: a scenario has at most 1 MiB");
        status = parser == NULL ? STATUS_NO_MEMORY : STATUS_INVALID;
    } else {
        parser->scenario = ret_scenario;
        status = parse(parser, buf_slice(&ret_scenario->source), folder, defines, needs_phases, ret_why, why_size);
    }
    free(parser);
    if (status != STATUS_OK) {
        scenario_free(ret_scenario);
    }
    return status;
}

enum status scenario_parse(struct slice text, const char *folder, const char *const *defines,
                           struct scenario *ret_scenario, char *ret_why, size_t why_size)
{
    return parse_text(text, folder, defines, true, ret_scenario, ret_why, why_size);
}

static enum status load(const char *path, const char *const *defines, bool needs_phases, struct scenario *ret_scenario,
                        char *ret_why, size_t why_size)
{
    FILE *stream = fopen(path, "re");
    memset(ret_scenario, 0, sizeof(*ret_scenario));
    if (stream == NULL) {
        snprintf(ret_why, why_size, "the file %s cannot be opened", path);
        return STATUS_NOT_FOUND;
    }
    char *data = NULL;
    size_t len = 0;
    enum status status = read_stream(stream, SOURCE_SIZE_MAX, &data, &len);
    (void)fclose(stream);
    if (status != STATUS_OK) {
        snprintf(ret_why, why_size, "the file %s cannot be read, or has more than 1 MiB", path);
        return status;
    }
    const char *slash = strrchr(path, '/');
    const char *base = slash != NULL ? slash + 1 : path;
    char *folder = slash == NULL ? strdup(".") : strndup(path, slash > path ? (size_t)(slash - path) : 1);
    status = folder != NULL
                 ? parse_text(slice_of(data, len), folder, defines, needs_phases, ret_scenario, ret_why, why_size)
                 : STATUS_NO_MEMORY;
    if (status == STATUS_OK) {
        const char *dot = strrchr(base, '.');
        snprintf(ret_scenario->name, sizeof(ret_scenario->name), "%.*s",
                 dot != NULL && dot > base ? (int)(dot - base) : (int)strlen(base), base);
    }
    free(folder);
    free(data);
    return status;
}

enum status scenario_load(const char *path, const char *const *defines, struct scenario *ret_scenario, char *ret_why,
                          size_t why_size)
{
    return load(path, defines, true, ret_scenario, ret_why, why_size);
}

enum status scenario_load_workload(const char *path, struct workload *ret_workload, char *ret_why, size_t why_size)
{
    struct scenario *scenario = calloc(1, sizeof(*scenario));
    if (scenario == NULL) {
        snprintf(ret_why, why_size, "there is not enough memory for this scenario");
        return STATUS_NO_MEMORY;
    }
    enum status status = load(path, NULL, false, scenario, ret_why, why_size);
    if (status == STATUS_OK) {
        struct words words;
        words_begin(&words, (struct slice){NULL, 0}, ret_why, why_size);
        for (size_t i = 0; i < scenario->source.len; i++) {
            words.line += scenario->source.data[i] == '\n' || i + 1 == scenario->source.len;
        }
        status = workload_check(&scenario->workload, &words, true);
        *ret_workload = scenario->workload;
        scenario_free(scenario);
    }
    free(scenario);
    return status;
}
