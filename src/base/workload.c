/* workload.c - reads workload files.
 *
 *   statement  one a line; "#" begins a comment
 *   clients N  [think RANGE] [open N]
 *   kind NAME  [share N] [work RANGE] [fail P%] [input RANGE] [result RANGE] [delay RANGE] [lease D] [timeout D] [ttl D]
 *              [attempts N] [backoff D]
 *   queue NAME [share N] [keys N] [priority RANGE]
 *   nodes N    [slots N] [kinds NAME,NAME]            after the kinds
 *   mix        [submit N] [get N] [cancel N] [retry N] [pause N] [drain N]
 *   submits    [keyless P%] [unique P%]
 *
 * A RANGE is VALUE or VALUE..VALUE. Durations have a unit (us, ms, s, m), sizes may have k, percentages end with "%". */
#include "base/workload.h"

#include <stdio.h>
#include <string.h>

#include "base/ensure.h"

#define NS_PER_MS INT64_C(1000000)
#define WORDS_MAX 40
#define NUMBER_MAX (INT64_MAX / 100000000000)

static const char *const op_names[WORKLOAD_OP_COUNT] = {"submit", "get", "cancel", "retry", "pause", "drain"};

const char *workload_op_name(enum workload_op op)
{
    return (size_t)op < ARRAY_COUNT(op_names) ? op_names[op] : "?";
}

struct line {
    struct slice words[WORDS_MAX];
    uint32_t count;
    uint32_t at;
    uint32_t number;
    char *why;
    size_t why_size;
};

static enum status complain(const struct line *line, const char *what, struct slice word)
{
    snprintf(line->why, line->why_size, "line %u: %s%s\"%.*s\"", line->number, what, what[0] != '\0' ? ": " : "",
             SLICE_ARG(word));
    return STATUS_INVALID;
}

/* --- values --- */

enum unit { UNIT_COUNT, UNIT_TIME, UNIT_SIZE, UNIT_PERMILLE };

static bool read_one(struct slice text, enum unit unit, int64_t *ret)
{
    static const struct {
        enum unit unit;
        const char *suffix;
        int64_t factor;
    } suffixes[] = {{UNIT_COUNT, "", 1},
                    {UNIT_TIME, "us", 1000},
                    {UNIT_TIME, "ms", NS_PER_MS},
                    {UNIT_TIME, "s", 1000 * NS_PER_MS},
                    {UNIT_TIME, "m", 60000 * NS_PER_MS},
                    {UNIT_SIZE, "", 1},
                    {UNIT_SIZE, "k", 1024},
                    {UNIT_PERMILLE, "%", 10}};
    int64_t number = 0;
    size_t at = 0;
    for (; at < text.len && text.data[at] >= '0' && text.data[at] <= '9'; at++) {
        number = number * 10 + (text.data[at] - '0');
        if (number > NUMBER_MAX) {
            return false;
        }
    }
    struct slice rest = {text.data + at, text.len - at};
    if (at == 0) {
        return false;
    }
    if (unit == UNIT_TIME && number == 0 && rest.len == 0) {
        *ret = 0;
        return true;
    }
    for (size_t i = 0; i < ARRAY_COUNT(suffixes); i++) {
        if (suffixes[i].unit == unit && slice_equal_str(rest, suffixes[i].suffix)) {
            *ret = number * suffixes[i].factor;
            return true;
        }
    }
    return false;
}

static bool read_range(struct slice text, enum unit unit, struct workload_range *ret)
{
    for (size_t at = 0; at + 1 < text.len; at++) {
        if (text.data[at] == '.' && text.data[at + 1] == '.') {
            return read_one(slice_of(text.data, at), unit, &ret->min) &&
                   read_one(slice_of(text.data + at + 2, text.len - at - 2), unit, &ret->max) && ret->min <= ret->max;
        }
    }
    bool is_good = read_one(text, unit, &ret->min);
    ret->max = ret->min;
    return is_good;
}

struct property {
    const char *name;
    enum unit unit;
    struct workload_range *range;
    uint32_t *number;
    int64_t *ms;
    int64_t max; /* of what it is stored as */
};

/* Reads "name value" pairs up to the end of the line. */
static enum status read_properties(struct line *line, const struct property *properties, size_t count)
{
    while (line->at < line->count) {
        struct slice name = line->words[line->at++];
        const struct property *property = NULL;
        for (size_t i = 0; i < count; i++) {
            if (slice_equal_str(name, properties[i].name)) {
                property = &properties[i];
            }
        }
        if (property == NULL || line->at == line->count) {
            return complain(line, property == NULL ? "no such word here" : "a value is missing after", name);
        }
        struct slice value = line->words[line->at++];
        struct workload_range range;
        if (!read_range(value, property->unit, &range) || range.max > property->max ||
            (property->range == NULL && range.min != range.max)) {
            return complain(line, "not a value for this", value);
        }
        if (property->range != NULL) {
            *property->range = range;
        } else if (property->ms != NULL) {
            *property->ms = range.min / NS_PER_MS;
        } else {
            *property->number = (uint32_t)range.min;
        }
    }
    return STATUS_OK;
}

/* --- statements --- */

#define TIME_MAX (INT64_C(3600) * 1000 * NS_PER_MS)
#define SIZE_MAX_OF_PAYLOAD 32768

static bool take_name(struct line *line, char ret_name[WORKLOAD_NAME_SIZE])
{
    if (line->at == line->count || line->words[line->at].len >= WORKLOAD_NAME_SIZE) {
        return false;
    }
    struct slice word = line->words[line->at++];
    for (size_t i = 0; i < word.len; i++) {
        char c = word.data[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-' ||
              c == '_')) {
            return false;
        }
    }
    memcpy(ret_name, word.data, word.len);
    ret_name[word.len] = '\0';
    return true;
}

static bool take_count(struct line *line, int64_t max, uint32_t *ret)
{
    int64_t number;
    if (line->at == line->count || !read_one(line->words[line->at], UNIT_COUNT, &number) || number < 1 ||
        number > max) {
        return false;
    }
    line->at++;
    *ret = (uint32_t)number;
    return true;
}

static void kind_init(struct workload_kind *kind)
{
    *kind = (struct workload_kind){.share = 1,
                                   .work = {NS_PER_MS, 20 * NS_PER_MS},
                                   .input = {16, 64},
                                   .result = {16, 64},
                                   .lease_ms = 2000,
                                   .attempts = 3,
                                   .backoff_ms = 20};
}

static enum status read_kind(struct line *line, struct workload *workload)
{
    struct slice word = line->at < line->count ? line->words[line->at] : (struct slice){NULL, 0};
    if (workload->kind_count == WORKLOAD_KINDS_MAX) {
        return complain(line, "too many kinds", word);
    }
    struct workload_kind *kind = &workload->kinds[workload->kind_count];
    kind_init(kind);
    if (!take_name(line, kind->name)) {
        return complain(line, "a kind needs a name", word);
    }
    workload->kind_count++;
    const struct property properties[] = {
        {.name = "share", .number = &kind->share, .max = 1000},
        {.name = "work", .unit = UNIT_TIME, .range = &kind->work, .max = TIME_MAX},
        {.name = "fail", .unit = UNIT_PERMILLE, .number = &kind->fail_permille, .max = 1000},
        {.name = "input", .unit = UNIT_SIZE, .range = &kind->input, .max = SIZE_MAX_OF_PAYLOAD},
        {.name = "result", .unit = UNIT_SIZE, .range = &kind->result, .max = SIZE_MAX_OF_PAYLOAD},
        {.name = "delay", .unit = UNIT_TIME, .range = &kind->delay, .max = TIME_MAX},
        {.name = "lease", .unit = UNIT_TIME, .ms = &kind->lease_ms, .max = TIME_MAX},
        {.name = "timeout", .unit = UNIT_TIME, .ms = &kind->timeout_ms, .max = TIME_MAX},
        {.name = "ttl", .unit = UNIT_TIME, .ms = &kind->ttl_ms, .max = TIME_MAX},
        {.name = "attempts", .number = &kind->attempts, .max = 1000},
        {.name = "backoff", .unit = UNIT_TIME, .ms = &kind->backoff_ms, .max = TIME_MAX},
    };
    enum status status = read_properties(line, properties, ARRAY_COUNT(properties));
    return status == STATUS_OK && kind->attempts == 0 ? complain(line, "at least one attempt is needed", word) : status;
}

static enum status read_queue(struct line *line, struct workload *workload)
{
    struct slice word = line->at < line->count ? line->words[line->at] : (struct slice){NULL, 0};
    if (workload->queue_count == WORKLOAD_QUEUES_MAX) {
        return complain(line, "too many queues", word);
    }
    struct workload_queue *queue = &workload->queues[workload->queue_count];
    *queue = (struct workload_queue){.share = 1, .priority = {5, 5}};
    if (!take_name(line, queue->name)) {
        return complain(line, "a queue needs a name", word);
    }
    workload->queue_count++;
    const struct property properties[] = {
        {.name = "share", .number = &queue->share, .max = 1000},
        {.name = "keys", .number = &queue->keys, .max = WORKLOAD_KEYS_MAX},
        {.name = "priority", .range = &queue->priority, .max = 9},
    };
    return read_properties(line, properties, ARRAY_COUNT(properties));
}

/* "a,b" as bits. */
static bool read_kinds(const struct workload *workload, struct slice list, uint32_t *ret_kinds)
{
    *ret_kinds = 0;
    while (list.len > 0) {
        const char *comma = memchr(list.data, ',', list.len);
        size_t len = comma != NULL ? (size_t)(comma - list.data) : list.len;
        uint32_t bit = 0;
        for (uint32_t i = 0; i < workload->kind_count; i++) {
            if (slice_equal_str(slice_of(list.data, len), workload->kinds[i].name)) {
                bit = 1u << i;
            }
        }
        if (bit == 0) {
            return false;
        }
        *ret_kinds |= bit;
        len += comma != NULL;
        list = slice_of(list.data + len, list.len - len);
    }
    return *ret_kinds != 0;
}

static enum status read_nodes(struct line *line, struct workload *workload)
{
    struct slice word = line->at < line->count ? line->words[line->at] : (struct slice){NULL, 0};
    struct workload_node node = {.slots = 2, .kinds = (1u << workload->kind_count) - 1};
    uint32_t count;
    if (!take_count(line, WORKLOAD_NODES_MAX - workload->node_count, &count)) {
        return complain(line, "nodes need a number, and all of them a place", word);
    }
    for (uint32_t i = line->at; i + 1 < line->count; i += 2) {
        if (slice_equal_str(line->words[i], "kinds")) {
            if (!read_kinds(workload, line->words[i + 1], &node.kinds)) {
                return complain(line, "kinds that stand above are needed", line->words[i + 1]);
            }
            memmove(&line->words[i], &line->words[i + 2], (line->count - i - 2) * sizeof line->words[0]);
            line->count -= 2;
            break;
        }
    }
    const struct property properties[] = {{.name = "slots", .number = &node.slots, .max = 1000}};
    enum status status = read_properties(line, properties, ARRAY_COUNT(properties));
    for (uint32_t i = 0; status == STATUS_OK && i < count; i++) {
        workload->nodes[workload->node_count++] = node;
    }
    return status;
}

static enum status read_statement(struct line *line, struct workload *workload)
{
    struct slice word = line->words[line->at++];
    if (slice_equal_str(word, "kind")) {
        return read_kind(line, workload);
    }
    if (slice_equal_str(word, "queue")) {
        return read_queue(line, workload);
    }
    if (slice_equal_str(word, "nodes")) {
        return read_nodes(line, workload);
    }
    if (slice_equal_str(word, "clients")) {
        if (!take_count(line, WORKLOAD_CLIENTS_MAX, &workload->clients)) {
            return complain(line, "clients need a number", word);
        }
        const struct property properties[] = {
            {.name = "think", .unit = UNIT_TIME, .range = &workload->think, .max = TIME_MAX},
            {.name = "open", .number = &workload->open_max, .max = 1000000},
        };
        return read_properties(line, properties, ARRAY_COUNT(properties));
    }
    if (slice_equal_str(word, "submits")) {
        const struct property properties[] = {
            {.name = "keyless", .unit = UNIT_PERMILLE, .number = &workload->keyless_permille, .max = 1000},
            {.name = "unique", .unit = UNIT_PERMILLE, .number = &workload->unique_permille, .max = 1000},
        };
        return read_properties(line, properties, ARRAY_COUNT(properties));
    }
    if (slice_equal_str(word, "mix")) {
        struct property properties[WORKLOAD_OP_COUNT];
        memset(workload->mix, 0, sizeof workload->mix);
        for (uint32_t i = 0; i < WORKLOAD_OP_COUNT; i++) {
            properties[i] = (struct property){.name = op_names[i], .number = &workload->mix[i], .max = 1000};
        }
        return read_properties(line, properties, WORKLOAD_OP_COUNT);
    }
    return complain(line, "no such statement", word);
}

/* --- the text --- */

static bool split(struct slice text, struct line *line)
{
    line->count = line->at = 0;
    for (size_t at = 0; at < text.len && text.data[at] != '#';) {
        if (text.data[at] == ' ' || text.data[at] == '\t' || text.data[at] == '\r') {
            at++;
            continue;
        }
        size_t start = at;
        while (at < text.len && memchr(" \t\r#", text.data[at], 4) == NULL) {
            at++;
        }
        if (line->count == WORDS_MAX) {
            return false;
        }
        line->words[line->count++] = slice_of(text.data + start, at - start);
    }
    return true;
}

static enum status check(struct workload *workload, char *ret_why, size_t why_size)
{
    uint32_t kinds = 0, shares = 0, queue_shares = 0;
    for (uint32_t i = 0; i < workload->node_count; i++) {
        kinds |= workload->nodes[i].slots > 0 ? workload->nodes[i].kinds : 0;
    }
    for (uint32_t i = 0; i < workload->kind_count; i++) {
        shares += workload->kinds[i].share;
    }
    for (uint32_t i = 0; i < workload->queue_count; i++) {
        queue_shares += workload->queues[i].share;
    }
    const char *wrong = workload->clients == 0                      ? "there are no clients"
                        : shares == 0                               ? "there are no kinds with a share"
                        : queue_shares == 0                         ? "there are no queues with a share"
                        : workload->node_count == 0                 ? "there are no nodes"
                        : workload->open_max == 0                   ? "no task may be under way"
                        : workload->mix[WORKLOAD_SUBMIT] == 0       ? "nothing is submitted"
                        : kinds != (1u << workload->kind_count) - 1 ? "a kind has no node with a slot"
                                                                    : NULL;
    if (wrong != NULL) {
        snprintf(ret_why, why_size, "%s", wrong);
        return STATUS_INVALID;
    }
    return STATUS_OK;
}

enum status workload_parse(struct slice text, struct workload *ret_workload, char *ret_why, size_t why_size)
{
    struct workload workload = {.think = {0, 2 * NS_PER_MS}, .open_max = 200, .mix = {[WORKLOAD_SUBMIT] = 1}};
    struct line line = {.why = ret_why, .why_size = why_size};
    while (text.len > 0) {
        const char *end = memchr(text.data, '\n', text.len);
        size_t len = end != NULL ? (size_t)(end - text.data) : text.len;
        line.number++;
        if (!split(slice_of(text.data, len), &line)) {
            return complain(&line, "too many words", line.words[0]);
        }
        enum status status = line.count > 0 ? read_statement(&line, &workload) : STATUS_OK;
        if (status != STATUS_OK) {
            return status;
        }
        len += end != NULL;
        text = slice_of(text.data + len, text.len - len);
    }
    enum status status = check(&workload, ret_why, why_size);
    if (status == STATUS_OK) {
        *ret_workload = workload;
    }
    return status;
}

void workload_default(struct workload *ret_workload)
{
    static const char text[] =
        "clients 8 think 0..20ms open 120\n"
        "kind quick share 6 work 1ms..10ms fail 5% attempts 4\n"
        "kind slow share 2 work 20ms..1500ms fail 20% attempts 3 lease 1s timeout 4s result 0..400\n"
        "kind late share 1 work 1ms..50ms delay 5ms..2s input 10..3k ttl 60s\n"
        "queue default share 3 keys 3\n"
        "queue bulk share 1 priority 2..7\n"
        "nodes 3 slots 5\n"
        "nodes 1 slots 2 kinds quick,late\n"
        "mix submit 60 get 30 cancel 4 retry 3 pause 1 drain 1\n"
        "submits keyless 5% unique 3%\n";
    char why[128] = "";
    enum status status = workload_parse(slice_str(text), ret_workload, why, sizeof why);
    ensure(status == STATUS_OK);
}
