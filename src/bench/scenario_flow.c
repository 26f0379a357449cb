/* scenario_flow.c - flows: what one user, or one arrival, does.
 *
 *   flow NAME [share N]                        the steps below belong to it, until another statement comes
 *     get|post|put|patch|delete PATH [header "K: V"]… [body TEXT | body-file FILE] [expect 200|2xx|200..299]
 *                               [match TEXT] [take VAR=/pointer]… [as LABEL] [timeout D] [times N]
 *     submit [N] [expect …] [match TEXT] [take …]… [as LABEL] [timeout D] [times N]
 *     task [as LABEL] [timeout D] [times N]
 *     think RANGE
 *     ws-open PATH [protocol P] [as LABEL] [timeout D]
 *     ws-send TEXT [expect TEXT] [as LABEL] [timeout D] [times N]
 *     ws-close
 *
 * A step without `as` is called by its method and path, as they were written, up to a "?". */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/ensure.h"
#include "base/limits.h"
#include "bench/scenario_internal.h"

#define SHARE_MAX 1000000
#define TIMES_MAX 1000000
#define TIMEOUT_NS_MIN 1000000
#define TIMEOUT_NS_MAX (INT64_C(3600) * 1000000000)

static const struct {
    const char *name;
    enum scenario_action action;
    const char *method;
} steps[] = {
    {"get", SCENARIO_REQUEST, "GET"},       {"post", SCENARIO_REQUEST, "POST"},
    {"put", SCENARIO_REQUEST, "PUT"},       {"patch", SCENARIO_REQUEST, "PATCH"},
    {"delete", SCENARIO_REQUEST, "DELETE"}, {"head", SCENARIO_REQUEST, "HEAD"},
    {"submit", SCENARIO_SUBMIT, ""},        {"task", SCENARIO_TASK, ""},
    {"think", SCENARIO_THINK, ""},          {"ws-open", SCENARIO_WS_OPEN, ""},
    {"ws-send", SCENARIO_WS_SEND, ""},      {"ws-close", SCENARIO_WS_CLOSE, ""},
};
const char *const scenario_steps[] = {"get",  "post",  "put",     "patch",   "delete",   "head", "submit",
                                      "task", "think", "ws-open", "ws-send", "ws-close", NULL};
static_assert(ARRAY_COUNT(scenario_steps) == ARRAY_COUNT(steps) + 1, "the names of all steps");

enum status scenario_read_flow(struct parser *parser)
{
    struct scenario *scenario = parser->scenario;
    struct words *words = &parser->words;
    if (scenario->flow_count == SCENARIO_FLOWS_MAX) {
        return words_complain(words, &words->list[0], "a scenario takes at most %d flows", SCENARIO_FLOWS_MAX);
    }
    struct scenario_flow *flow = &scenario->flows[scenario->flow_count];
    flow->share = 1;
    enum status status = words_take_name(words, "a name of a flow", flow->name, sizeof(flow->name));
    if (status != STATUS_OK) {
        return status;
    }
    for (uint32_t i = 0; i < scenario->flow_count; i++) {
        if (strcmp(scenario->flows[i].name, flow->name) == 0) {
            return words_complain(words, &words->list[1], "there is a flow \"%s\" already", flow->name);
        }
    }
    const struct words_property properties[] = {{.name = "share", .number = &flow->share, .min = 1, .max = SHARE_MAX}};
    status = words_take_properties(words, properties, ARRAY_COUNT(properties));
    scenario->flow_count++;
    flow->line = words->line;
    parser->flow = flow;
    return status;
}

/* --- the properties of steps --- */

enum property {
    PROPERTY_HEADER = 1,
    PROPERTY_BODY = 2,
    PROPERTY_EXPECT = 4,
    PROPERTY_MATCH = 8,
    PROPERTY_TAKE = 16,
    PROPERTY_AS = 32,
    PROPERTY_TIMEOUT = 64,
    PROPERTY_TIMES = 128,
    PROPERTY_PROTOCOL = 256,
    PROPERTY_EXPECT_TEXT = 512
};

struct step_reader {
    struct parser *parser;
    struct scenario_step *step;
    struct text_builder headers;
    uint32_t header_count;
    bool has_body;
};

static enum status read_header(struct step_reader *reader)
{
    struct parser *parser = reader->parser;
    struct words_word word;
    enum status status = words_take(&parser->words, "a header such as \"Accept: text/html\"", &word);
    if (status != STATUS_OK) {
        return status;
    }
    const char *colon = memchr(word.text.data, ':', word.text.len);
    size_t name_len = colon != NULL ? (size_t)(colon - word.text.data) : 0;
    if (name_len == 0 || memchr(word.text.data, ' ', name_len) != NULL) {
        return words_complain(&parser->words, &word, "\"%.*s\" is no header: \"Name: value\" is needed",
                              SLICE_ARG(word.text));
    }
    for (size_t i = 0; i < word.text.len; i++) {
        if ((unsigned char)word.text.data[i] < ' ' && word.text.data[i] != '\t') {
            return words_complain(&parser->words, &word, "a header holds no control character");
        }
    }
    static const char *const ours[] = {"content-length", "transfer-encoding", "connection"};
    for (size_t i = 0; i < ARRAY_COUNT(ours); i++) {
        if (name_len == strlen(ours[i]) && strncasecmp(word.text.data, ours[i], name_len) == 0) {
            return words_complain(&parser->words, &word, "the header %s is set by the generator", ours[i]);
        }
    }
    if (reader->header_count++ == SCENARIO_HEADERS_MAX) {
        return words_complain(&parser->words, &word, "a step takes at most %d headers", SCENARIO_HEADERS_MAX);
    }
    status = text_append(parser, &reader->headers, &word);
    return status == STATUS_OK ? text_append_literal(parser, &reader->headers, &word, SLICE("\r\n")) : status;
}

static enum status read_body(struct step_reader *reader, bool is_file)
{
    struct parser *parser = reader->parser;
    struct words_word word;
    enum status status = words_take(&parser->words, is_file ? "a file" : "a text", &word);
    if (status == STATUS_OK && reader->has_body) {
        return words_complain(&parser->words, &word, "there is a body already");
    }
    reader->has_body = true;
    if (status == STATUS_OK && is_file) {
        status = read_file(parser, &word, &word.text);
    }
    return status == STATUS_OK ? text_of(parser, &word, &reader->step->body) : status;
}

/* 200, 2xx, 200..299 */
static enum status read_expect(struct step_reader *reader)
{
    struct parser *parser = reader->parser;
    struct words_word word;
    struct words_range range;
    enum status status = words_take(&parser->words, "a status code such as 200, 2xx or 200..404", &word);
    if (status != STATUS_OK) {
        return status;
    }
    bool is_class = word.text.len == 3 && word.text.data[0] >= '1' && word.text.data[0] <= '5' &&
                    memcmp(word.text.data + 1, "xx", 2) == 0;
    if (is_class) {
        range.min = (word.text.data[0] - '0') * 100;
        range.max = range.min + 99;
    } else if (!words_range(word.text, WORDS_COUNT, &range) || range.min < 100 || range.max > 599) {
        return words_complain(&parser->words, &word, "\"%.*s\" is no status code: 200, 2xx or 200..404 is needed",
                              SLICE_ARG(word.text));
    }
    reader->step->expect_low = (int)range.min;
    reader->step->expect_high = (int)range.max;
    return STATUS_OK;
}

static enum status read_match(struct step_reader *reader)
{
    struct parser *parser = reader->parser;
    struct words_word word;
    enum status status = words_take(&parser->words, "a text", &word);
    if (status == STATUS_OK && word.text.len == 0) {
        return words_complain(&parser->words, &word, "an empty text is in every answer");
    }
    if (status == STATUS_OK) {
        status = literal_of(parser, word.text, &word.text);
    }
    return status == STATUS_OK
               ? copy_word(parser, &word, "a text to match", reader->step->match, sizeof(reader->step->match))
               : status;
}

static enum status read_take(struct step_reader *reader)
{
    struct parser *parser = reader->parser;
    struct scenario_step *step = reader->step;
    struct words_word word;
    enum status status = words_take(&parser->words, "VARIABLE=/json/pointer", &word);
    if (status != STATUS_OK) {
        return status;
    }
    if (step->take_count == SCENARIO_TAKES_MAX) {
        return words_complain(&parser->words, &word, "a step takes at most %d values", SCENARIO_TAKES_MAX);
    }
    const char *equals = memchr(word.text.data, '=', word.text.len);
    size_t name_len = equals != NULL ? (size_t)(equals - word.text.data) : 0;
    struct words_word pointer = {.column = word.column};
    if (equals != NULL) {
        pointer.text = slice_of(equals + 1, word.text.len - name_len - 1);
    }
    if (name_len == 0 || (pointer.text.len > 0 && pointer.text.data[0] != '/')) {
        return words_complain(&parser->words, &word, "\"%.*s\" takes nothing: VARIABLE=/json/pointer is needed",
                              SLICE_ARG(word.text));
    }
    /* RFC 6901: a "~" is ~0 or ~1. */
    for (size_t i = 0; i < pointer.text.len; i++) {
        char next = i + 1 < pointer.text.len ? pointer.text.data[i + 1] : '\0';
        if (pointer.text.data[i] == '~' && next != '0' && next != '1') {
            return words_complain(&parser->words, &word, "in a JSON pointer a ~ is written ~0, and a / in a name ~1");
        }
    }
    status = copy_word(parser, &pointer, "a JSON pointer", step->takes[step->take_count].pointer,
                       sizeof(step->takes[0].pointer));
    if (status == STATUS_OK) {
        status = variable_add(parser, &word, slice_of(word.text.data, name_len),
                              (int)(parser->flow - parser->scenario->flows), &step->takes[step->take_count].variable);
    }
    step->take_count += status == STATUS_OK;
    return status;
}

static enum status read_label(struct step_reader *reader)
{
    struct parser *parser = reader->parser;
    struct words_word word;
    enum status status = words_take(&parser->words, "a label", &word);
    if (status == STATUS_OK && (word.text.len == 0 || memchr(word.text.data, '@', word.text.len) != NULL)) {
        return words_complain(&parser->words, &word, "a label is not empty and has no @");
    }
    return status == STATUS_OK ? copy_word(parser, &word, "a label", reader->step->label, sizeof(reader->step->label))
                               : status;
}

static enum status read_property(struct step_reader *reader, unsigned allowed)
{
    struct parser *parser = reader->parser;
    struct words *words = &parser->words;
    struct scenario_step *step = reader->step;
    if ((allowed & PROPERTY_HEADER) != 0 && words_take_if(words, "header")) {
        return read_header(reader);
    }
    if ((allowed & PROPERTY_BODY) != 0 && words_take_if(words, "body")) {
        return read_body(reader, false);
    }
    if ((allowed & PROPERTY_BODY) != 0 && words_take_if(words, "body-file")) {
        return read_body(reader, true);
    }
    if ((allowed & PROPERTY_EXPECT) != 0 && words_take_if(words, "expect")) {
        return read_expect(reader);
    }
    if ((allowed & PROPERTY_EXPECT_TEXT) != 0 && words_take_if(words, "expect")) {
        step->expects_answer = true;
        return read_match(reader);
    }
    if ((allowed & PROPERTY_MATCH) != 0 && words_take_if(words, "match")) {
        return read_match(reader);
    }
    if ((allowed & PROPERTY_TAKE) != 0 && words_take_if(words, "take")) {
        return read_take(reader);
    }
    if ((allowed & PROPERTY_AS) != 0 && words_take_if(words, "as")) {
        return read_label(reader);
    }
    if ((allowed & PROPERTY_PROTOCOL) != 0 && words_take_if(words, "protocol")) {
        return words_take_name(words, "a name of a protocol", step->protocol, sizeof(step->protocol));
    }
    struct words_property properties[10];
    size_t count = 0;
    if ((allowed & PROPERTY_TIMEOUT) != 0) {
        properties[count++] = (struct words_property){.name = "timeout",
                                                      .unit = WORDS_TIME,
                                                      .value = &step->timeout_ns,
                                                      .min = TIMEOUT_NS_MIN,
                                                      .max = TIMEOUT_NS_MAX};
    }
    if ((allowed & PROPERTY_TIMES) != 0) {
        properties[count++] =
            (struct words_property){.name = "times", .number = &step->times, .min = 1, .max = TIMES_MAX};
    }
    /* Names only, so that the sentence about an unknown one knows them; none of them gets this far. */
    static const struct {
        enum property property;
        const char *name;
    } others[] = {{PROPERTY_HEADER, "header"},      {PROPERTY_BODY, "body"},
                  {PROPERTY_BODY, "body-file"},     {PROPERTY_EXPECT, "expect"},
                  {PROPERTY_EXPECT_TEXT, "expect"}, {PROPERTY_MATCH, "match"},
                  {PROPERTY_TAKE, "take"},          {PROPERTY_AS, "as"},
                  {PROPERTY_PROTOCOL, "protocol"}};
    const char *names[ARRAY_COUNT(others) + 3];
    size_t name_count = 0;
    const struct words_word *word = &words->list[words->at];
    for (size_t i = 0; i < count; i++) {
        if (slice_equal_str(word->text, properties[i].name) && !word->is_quoted) {
            return words_take_property(words, properties, count);
        }
        names[name_count++] = properties[i].name;
    }
    for (size_t i = 0; i < ARRAY_COUNT(others); i++) {
        if ((allowed & others[i].property) != 0) {
            names[name_count++] = others[i].name;
        }
    }
    names[name_count] = NULL;
    return words_complain_unknown(words, word, "no word that can stand here", names);
}

static enum status read_properties(struct step_reader *reader, unsigned allowed)
{
    enum status status = STATUS_OK;
    while (status == STATUS_OK && !words_is_done(&reader->parser->words)) {
        status = read_property(reader, allowed);
    }
    return status == STATUS_OK ? text_finish(reader->parser, &reader->headers, &reader->step->headers) : status;
}

/* --- the steps --- */

/* The path, and the label that comes from it. */
static enum status read_path(struct step_reader *reader, const char *name)
{
    struct parser *parser = reader->parser;
    struct words_word word;
    enum status status = words_take(&parser->words, "a path such as /v1/tasks", &word);
    if (status != STATUS_OK) {
        return status;
    }
    if (!slice_starts_with(word.text, SLICE("/")) && !slice_starts_with(word.text, SLICE("${"))) {
        return words_complain(&parser->words, &word, "\"%.*s\" is no path: it begins with /", SLICE_ARG(word.text));
    }
    for (size_t i = 0; i < word.text.len; i++) {
        if ((unsigned char)word.text.data[i] <= ' ' || word.text.data[i] == 0x7f) {
            return words_complain(&parser->words, &word, "a path holds no blank: %%20 stands for one");
        }
    }
    if (word.text.len > LIMIT_HTTP_TARGET_SIZE) {
        return words_complain(&parser->words, &word, "a path has at most %d bytes", LIMIT_HTTP_TARGET_SIZE);
    }
    const char *query = memchr(word.text.data, '?', word.text.len);
    size_t len = query != NULL ? (size_t)(query - word.text.data) : word.text.len;
    snprintf(reader->step->label, sizeof(reader->step->label), "%s %.*s", name, (int)len, word.text.data);
    for (char *c = reader->step->label; *c != '\0'; c++) {
        *c = *c == '@' ? '_' : *c; /* what stands before a phase in the name of a metric */
    }
    return text_of(parser, &word, &reader->step->path);
}

static enum status read_submit(struct step_reader *reader)
{
    struct words *words = &reader->parser->words;
    reader->step->batch = 1;
    if (!words_is_done(words) && words->list[words->at].text.len > 0 && words->list[words->at].text.data[0] >= '0' &&
        words->list[words->at].text.data[0] <= '9') {
        int64_t batch = 1;
        enum status status = words_take_value(words, "submit", WORDS_COUNT, 1, LIMIT_BATCH_TASKS, &batch);
        if (status != STATUS_OK) {
            return status;
        }
        reader->step->batch = (uint32_t)batch;
    }
    return STATUS_OK;
}

static enum status read_action(struct step_reader *reader, const char *name)
{
    struct parser *parser = reader->parser;
    struct scenario_step *step = reader->step;
    struct words *words = &parser->words;
    struct words_word word;
    enum status status = STATUS_OK;
    unsigned allowed = PROPERTY_AS | PROPERTY_TIMEOUT | PROPERTY_TIMES;
    snprintf(step->label, sizeof(step->label), "%s", name);
    switch (step->action) {
    case SCENARIO_REQUEST:
        status = read_path(reader, name);
        allowed |= PROPERTY_HEADER | PROPERTY_EXPECT | PROPERTY_MATCH | PROPERTY_TAKE;
        allowed |= strcmp(name, "get") != 0 ? PROPERTY_BODY : 0;
        break;
    case SCENARIO_SUBMIT:
        status = read_submit(reader);
        allowed |= PROPERTY_EXPECT | PROPERTY_MATCH | PROPERTY_TAKE;
        break;
    case SCENARIO_TASK:
        step->batch = 1;
        break;
    case SCENARIO_THINK:
        status = words_take_range(words, "think", WORDS_TIME, 0, SCENARIO_TIME_MAX, &step->think);
        allowed = 0;
        break;
    case SCENARIO_WS_OPEN:
        status = read_path(reader, name);
        allowed = PROPERTY_PROTOCOL | PROPERTY_AS | PROPERTY_TIMEOUT;
        break;
    case SCENARIO_WS_SEND:
        status = words_take(words, "a text", &word);
        if (status == STATUS_OK) {
            status = text_of(parser, &word, &step->body);
        }
        allowed |= PROPERTY_EXPECT_TEXT;
        break;
    case SCENARIO_WS_CLOSE:
        allowed = 0;
        break;
    }
    if (status != STATUS_OK) {
        return status;
    }
    return allowed != 0 ? read_properties(reader, allowed) : words_take_end(words);
}

enum status scenario_read_step(struct parser *parser)
{
    struct words *words = &parser->words;
    size_t i = 0;
    while (i < ARRAY_COUNT(steps) && !words_take_if(words, steps[i].name)) {
        i++;
    }
    if (i == ARRAY_COUNT(steps)) {
        return STATUS_NOT_FOUND;
    }
    struct scenario_flow *flow = parser->flow;
    if (flow == NULL) {
        return words_complain(words, &words->list[0], "\"%s\" is a step, and steps stand below \"flow NAME\"",
                              steps[i].name);
    }
    if (flow->step_count == SCENARIO_STEPS_MAX) {
        return words_complain(words, &words->list[0], "a flow takes at most %d steps", SCENARIO_STEPS_MAX);
    }
    struct scenario_step *step = &flow->steps[flow->step_count++];
    *step = (struct scenario_step){
        .action = steps[i].action, .line = words->line, .expect_low = 200, .expect_high = 299, .times = 1};
    snprintf(step->method, sizeof(step->method), "%s", steps[i].method);
    struct step_reader reader = {.parser = parser, .step = step};
    return read_action(&reader, steps[i].name);
}
