/* scenario_text.c - texts with ${variables}, and the feeds that fill them.
 *
 *   feed NAME csv FILE      [cycle|random|once]      first line: the columns; ${NAME.column}
 *   feed NAME range A..B    [cycle|random|once]
 *   feed NAME words W W …   [cycle|random|once]
 *   feed NAME text SIZE..SIZE                        random letters, each time others
 *
 * In a text ${name} is a variable and $$ is a plain $; any other $ is itself. CSV is that of RFC 4180: fields in "quotes" may hold
 * commas, line ends and doubled quotes. Cells are unquoted where they lie, so a file is in memory once. */
#include <stdio.h>
#include <string.h>

#include "base/ensure.h"
#include "bench/scenario_internal.h"

#define COLUMNS_MAX 64
#define ROWS_MAX 10000000
#define TEXT_SIZE_MAX (128u << 20) /* as large as the files that people move about */

/* --- variables --- */

static int find_variable(const struct parser *parser, struct slice name, int flow)
{
    for (uint32_t i = 0; i < parser->scenario->variable_count; i++) {
        if (slice_equal_str(name, parser->scenario->variables[i]) &&
            (parser->variable_flow[i] == VARIABLE_EVERYWHERE || parser->variable_flow[i] == flow)) {
            return (int)i;
        }
    }
    return -1;
}

enum status variable_add(struct parser *parser, const struct words_word *word, struct slice name, int flow,
                         int *ret_variable)
{
    struct scenario *scenario = parser->scenario;
    if (!words_is_name(name) || name.len >= BENCH_NAME_SIZE) {
        return words_complain(&parser->words, word, "\"%.*s\" is no name for a variable", SLICE_ARG(name));
    }
    int found = find_variable(parser, name, flow);
    if (found >= 0 && (flow < 0 || parser->variable_flow[found] == VARIABLE_EVERYWHERE)) {
        return words_complain(&parser->words, word, "there is a ${%.*s} already", SLICE_ARG(name));
    }
    if (found < 0 && scenario->variable_count == SCENARIO_VARIABLES_MAX) {
        return words_complain(&parser->words, word, "a scenario takes at most %d variables", SCENARIO_VARIABLES_MAX);
    }
    if (found < 0) {
        found = (int)scenario->variable_count++;
        parser->variable_flow[found] = flow;
        snprintf(scenario->variables[found], BENCH_NAME_SIZE, "%.*s", SLICE_ARG(name));
    }
    *ret_variable = found;
    return STATUS_OK;
}

/* --- texts --- */

static enum status add_part(struct parser *parser, struct text_builder *builder, const struct words_word *word,
                            struct scenario_part part)
{
    if (builder->count == ARRAY_COUNT(builder->parts)) {
        return words_complain(&parser->words, word, "a text takes at most %zu pieces and variables",
                              ARRAY_COUNT(builder->parts));
    }
    builder->parts[builder->count++] = part;
    return STATUS_OK;
}

enum status text_append_literal(struct parser *parser, struct text_builder *builder, const struct words_word *word,
                                struct slice literal)
{
    if (literal.len == 0) {
        return STATUS_OK;
    }
    return add_part(parser, builder, word, (struct scenario_part){.literal = literal, .variable = -1});
}

static enum status add_variable(struct parser *parser, struct text_builder *builder, const struct words_word *word,
                                struct slice name)
{
    int flow = parser->flow != NULL ? (int)(parser->flow - parser->scenario->flows) : VARIABLE_EVERYWHERE;
    int variable = find_variable(parser, name, flow);
    if (variable >= 0) {
        return add_part(parser, builder, word, (struct scenario_part){.variable = variable});
    }
    const char *names[SCENARIO_VARIABLES_MAX + 1];
    uint32_t count = 0;
    for (uint32_t i = 0; i < parser->scenario->variable_count; i++) {
        if (parser->variable_flow[i] == VARIABLE_EVERYWHERE || parser->variable_flow[i] == flow) {
            names[count++] = parser->scenario->variables[i];
        }
    }
    names[count] = NULL;
    struct words_word place = {.text = name, .column = word->column};
    return words_complain_unknown(&parser->words, &place, "no variable that is known here", names);
}

enum status text_append(struct parser *parser, struct text_builder *builder, const struct words_word *word)
{
    struct slice rest = word->text;
    enum status status = STATUS_OK;
    while (rest.len > 0 && status == STATUS_OK) {
        const char *dollar = memchr(rest.data, '$', rest.len);
        size_t len = dollar != NULL ? (size_t)(dollar - rest.data) : rest.len;
        char next = len + 1 < rest.len ? rest.data[len + 1] : '\0';
        size_t used = len;
        if (dollar != NULL && next != '{') {
            used = len += 1; /* the sign itself belongs to the literal, and of $$ only one */
            used += next == '$';
        }
        status = text_append_literal(parser, builder, word, slice_of(rest.data, len));
        if (status == STATUS_OK && dollar != NULL && next == '{') {
            const char *end = memchr(dollar, '}', rest.len - len);
            if (end == NULL) {
                return words_complain(&parser->words, word, "a ${ has no } behind it (and $$ is a plain $)");
            }
            status = add_variable(parser, builder, word, slice_of(dollar + 2, (size_t)(end - dollar) - 2));
            used = (size_t)(end - rest.data) + 1;
        }
        rest = slice_of(rest.data + used, rest.len - used);
    }
    return status;
}

enum status text_finish(struct parser *parser, const struct text_builder *builder, struct scenario_text *ret_text)
{
    *ret_text = (struct scenario_text){.count = builder->count};
    if (builder->count == 0) {
        return STATUS_OK;
    }
    ret_text->parts = scenario_alloc(parser->scenario, builder->count * sizeof(*ret_text->parts));
    if (ret_text->parts == NULL) {
        return complain_memory(parser);
    }
    memcpy(ret_text->parts, builder->parts, builder->count * sizeof(*ret_text->parts));
    return STATUS_OK;
}

enum status text_of(struct parser *parser, const struct words_word *word, struct scenario_text *ret_text)
{
    struct text_builder builder = {.count = 0};
    enum status status = text_append(parser, &builder, word);
    return status == STATUS_OK ? text_finish(parser, &builder, ret_text) : status;
}

enum status literal_of(struct parser *parser, struct slice word, struct slice *ret_text)
{
    *ret_text = word;
    if (word.len < 2 || memmem(word.data, word.len, "$$", 2) == NULL) {
        return STATUS_OK;
    }
    char *copy = scenario_alloc(parser->scenario, word.len);
    if (copy == NULL) {
        return complain_memory(parser);
    }
    size_t len = 0;
    for (size_t i = 0; i < word.len; i++) {
        copy[len++] = word.data[i];
        i += word.data[i] == '$' && i + 1 < word.len && word.data[i + 1] == '$';
    }
    *ret_text = slice_of(copy, len);
    return STATUS_OK;
}

/* --- CSV --- */

struct csv {
    char *at, *end;
    uint32_t line;
};

/* Takes one field; *ret_is_last: a line ends behind it. False for quotes that are wrong. */
static bool csv_field(struct csv *csv, struct slice *ret_field, bool *ret_is_last)
{
    char *start = csv->at;
    if (csv->at < csv->end && *csv->at == '"') {
        char *out = ++start;
        csv->at++;
        for (;; csv->at++) {
            if (csv->at == csv->end) {
                return false;
            }
            if (*csv->at == '"') {
                if (csv->at + 1 == csv->end || csv->at[1] != '"') {
                    break;
                }
                csv->at++;
            }
            csv->line += *csv->at == '\n';
            *out++ = *csv->at;
        }
        csv->at++;
        *ret_field = slice_of(start, (size_t)(out - start));
    } else {
        while (csv->at < csv->end && *csv->at != ',' && *csv->at != '\n' && *csv->at != '\r') {
            csv->at++;
        }
        *ret_field = slice_of(start, (size_t)(csv->at - start));
    }
    *ret_is_last = csv->at == csv->end || *csv->at == '\n' ||
                   (*csv->at == '\r' && (csv->at + 1 == csv->end || csv->at[1] == '\n'));
    if (*ret_is_last) {
        csv->at += csv->at < csv->end && *csv->at == '\r';
        csv->at += csv->at < csv->end;
        csv->line++;
        return true;
    }
    if (*csv->at != ',') {
        return false; /* something behind a closing quote, or a lone carriage return */
    }
    csv->at++;
    return true;
}

static enum status csv_columns(struct parser *parser, const struct words_word *word, struct csv *csv,
                               struct scenario_feed *feed)
{
    bool is_last = false;
    while (!is_last) {
        struct slice field;
        char name[2 * BENCH_NAME_SIZE];
        if (!csv_field(csv, &field, &is_last)) {
            return words_complain(&parser->words, word, "line %u of the CSV has quotes that are wrong", csv->line);
        }
        if (feed->columns == COLUMNS_MAX) {
            return words_complain(&parser->words, word, "the CSV has more than %d columns", COLUMNS_MAX);
        }
        if (!words_is_name(field) || field.len >= BENCH_NAME_SIZE) {
            return words_complain(&parser->words, word,
                                  "the first line of the CSV names its columns, and \"%.*s\" is no name",
                                  field.len > 40 ? 40 : (int)field.len, field.len > 0 ? field.data : "");
        }
        snprintf(name, sizeof(name), "%s.%.*s", feed->name, SLICE_ARG(field));
        int variable = 0;
        enum status status = variable_add(parser, word, slice_str(name), VARIABLE_EVERYWHERE, &variable);
        if (status != STATUS_OK) {
            return status;
        }
        feed->first_variable = feed->columns == 0 ? variable : feed->first_variable;
        feed->columns++;
    }
    return STATUS_OK;
}

enum status feed_read_csv(struct parser *parser, const struct words_word *word, struct slice text,
                          struct scenario_feed *feed)
{
    struct csv csv = {.at = (char *)(uintptr_t)text.data, .end = (char *)(uintptr_t)text.data + text.len, .line = 1};
    if (text.len >= 3 && memcmp(text.data, "\xEF\xBB\xBF", 3) == 0) {
        csv.at += 3; /* a byte order mark */
    }
    enum status status = csv_columns(parser, word, &csv, feed);
    if (status != STATUS_OK) {
        return status;
    }
    /* No more rows than line ends, and one that has none. */
    size_t rows_max = 1;
    for (const char *c = csv.at; c < csv.end; c++) {
        rows_max += *c == '\n';
    }
    rows_max = rows_max < ROWS_MAX ? rows_max : ROWS_MAX;
    feed->cells = scenario_alloc(parser->scenario, rows_max * feed->columns * sizeof(*feed->cells));
    if (feed->cells == NULL) {
        return complain_memory(parser);
    }
    while (csv.at < csv.end) {
        uint32_t line = csv.line, count = 0;
        bool is_last = false;
        if (feed->rows == rows_max) {
            return words_complain(&parser->words, word, "the CSV has more than %d rows", ROWS_MAX);
        }
        if (*csv.at == '\n' || *csv.at == '\r') { /* an empty line is no row */
            csv.line += *csv.at++ == '\n';
            continue;
        }
        for (; !is_last; count++) {
            struct slice field;
            if (!csv_field(&csv, &field, &is_last)) {
                return words_complain(&parser->words, word, "line %u of the CSV has quotes that are wrong", line);
            }
            if (count < feed->columns) {
                feed->cells[(size_t)feed->rows * feed->columns + count] = field;
            }
        }
        if (count != feed->columns) {
            return words_complain(&parser->words, word, "line %u of the CSV has %u fields, and its first one %u", line,
                                  count, feed->columns);
        }
        feed->rows++;
    }
    return feed->rows > 0 ? STATUS_OK : words_complain(&parser->words, word, "the CSV has no row");
}

/* --- feeds --- */

static bool order_of(const struct words_word *word, enum scenario_feed_order *ret_order)
{
    static const char *const names[] = {[FEED_CYCLE] = "cycle", [FEED_RANDOM] = "random", [FEED_ONCE] = "once"};
    for (size_t i = 0; i < ARRAY_COUNT(names) && !word->is_quoted; i++) {
        if (slice_equal_str(word->text, names[i])) {
            *ret_order = (enum scenario_feed_order)i;
            return true;
        }
    }
    return false;
}

static enum status read_words(struct parser *parser, struct scenario_feed *feed)
{
    struct words *words = &parser->words;
    uint32_t count = words->count - words->at;
    if (count > 1 && order_of(&words->list[words->count - 1], &feed->order)) {
        count--;
    }
    if (count == 0) {
        return words_complain(words, NULL, "a word is missing here");
    }
    feed->cells = scenario_alloc(parser->scenario, count * sizeof(*feed->cells));
    if (feed->cells == NULL) {
        return complain_memory(parser);
    }
    enum status status = STATUS_OK;
    for (uint32_t i = 0; i < count && status == STATUS_OK; i++) {
        status = literal_of(parser, words->list[words->at + i].text, &feed->cells[feed->rows++]);
    }
    words->at = words->count;
    return status;
}

static enum status read_order(struct parser *parser, struct scenario_feed *feed)
{
    struct words *words = &parser->words;
    static const char *const names[] = {"cycle", "random", "once", NULL};
    if (!words_is_done(words)) {
        const struct words_word *word = &words->list[words->at++];
        if (!order_of(word, &feed->order)) {
            return words_complain_unknown(words, word, "no order", names);
        }
    }
    return words_take_end(words);
}

static enum status read_kind(struct parser *parser, struct scenario_feed *feed, const struct words_word *name)
{
    static const char *const kinds[] = {"csv", "range", "words", "text", NULL};
    struct words *words = &parser->words;
    struct words_word kind, file;
    enum status status = words_take(words, "csv, range, words or text", &kind);
    if (status != STATUS_OK) {
        return status;
    }
    if (slice_equal_str(kind.text, "csv")) {
        struct slice text;
        feed->kind = FEED_CSV;
        status = words_take(words, "a file", &file);
        if (status == STATUS_OK) {
            status = read_order(parser, feed);
        }
        if (status == STATUS_OK) {
            status = read_file(parser, &file, &text);
        }
        return status == STATUS_OK ? feed_read_csv(parser, &file, text, feed) : status;
    }
    feed->columns = 1;
    status = variable_add(parser, name, name->text, VARIABLE_EVERYWHERE, &feed->first_variable);
    if (status != STATUS_OK) {
        return status;
    }
    if (slice_equal_str(kind.text, "range")) {
        feed->kind = FEED_RANGE;
        status = words_take_range(words, "range", WORDS_COUNT, 0, INT64_MAX / 2, &feed->range);
        return status == STATUS_OK ? read_order(parser, feed) : status;
    }
    if (slice_equal_str(kind.text, "words")) {
        feed->kind = FEED_WORDS;
        return read_words(parser, feed);
    }
    if (slice_equal_str(kind.text, "text")) {
        feed->kind = FEED_TEXT;
        feed->order = FEED_RANDOM;
        status = words_take_range(words, "text", WORDS_SIZE, 0, TEXT_SIZE_MAX, &feed->range);
        return status == STATUS_OK ? words_take_end(words) : status;
    }
    return words_complain_unknown(words, &kind, "no sort of feed", kinds);
}

enum status scenario_read_feed(struct parser *parser)
{
    struct scenario *scenario = parser->scenario;
    struct words *words = &parser->words;
    if (scenario->feed_count == SCENARIO_FEEDS_MAX) {
        return words_complain(words, &words->list[0], "a scenario takes at most %d feeds", SCENARIO_FEEDS_MAX);
    }
    struct scenario_feed *feed = &scenario->feeds[scenario->feed_count];
    *feed = (struct scenario_feed){.order = FEED_CYCLE};
    enum status status = words_take_name(words, "a name of a feed", feed->name, sizeof(feed->name));
    struct words_word name = words->list[words->count > 1 ? 1 : 0];
    if (status != STATUS_OK) {
        return status;
    }
    for (uint32_t i = 0; i < scenario->feed_count; i++) {
        if (strcmp(scenario->feeds[i].name, feed->name) == 0) {
            return words_complain(words, &name, "there is a feed \"%s\" already", feed->name);
        }
    }
    status = read_kind(parser, feed, &name);
    scenario->feed_count += status == STATUS_OK;
    return status;
}
