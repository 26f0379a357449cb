/* scenario_fault.c - what is started for a run, and what goes wrong with it.
 *
 *   start hub [NAME] [set KEY=VALUE]… [disk SIZE] [memory SIZE]
 *   start node [NAME] [count N] [to HUB|PROXY] [kinds K,K] [slots N] [memory SIZE]
 *   start proxy [NAME] [to HUB]
 *   start exec NAME COMMAND [memory SIZE]                       ${port} in the command is a free port
 *
 *   fault kill|stop TARGET at D [in PHASE] [for D] [every D] [as NAME]      started again after `for`
 *   fault freeze TARGET at D for D …
 *   fault restart TARGET at D …
 *   fault delay PROXY RANGE at D … | loss PROXY P% at D … | bandwidth PROXY SIZE/s at D …
 *   fault cut|blackhole PROXY at D …
 *   fault fill-disk HUB [SIZE] at D … | limit-memory TARGET SIZE at D …
 *
 * Without a name what is started is called by its sort; several nodes are NAME1, NAME2, …, and a fault may name one or all of them. */
#include <stdio.h>
#include <string.h>

#include "base/ensure.h"
#include "bench/scenario_internal.h"

#define NODES_MAX 256
#define SLOTS_MAX 1000
#define DISK_SIZE_MIN (1 << 20)
#define SIZE_MAX_BYTES (INT64_C(1) << 40)

static const char *const start_names[] = {
    [START_HUB] = "hub", [START_NODE] = "node", [START_PROXY] = "proxy", [START_EXEC] = "exec", NULL};
static const char *const fault_names[] = {[FAULT_KILL] = "kill",
                                          [FAULT_STOP] = "stop",
                                          [FAULT_FREEZE] = "freeze",
                                          [FAULT_RESTART] = "restart",
                                          [FAULT_DELAY] = "delay",
                                          [FAULT_CUT] = "cut",
                                          [FAULT_BLACKHOLE] = "blackhole",
                                          [FAULT_LOSS] = "loss",
                                          [FAULT_BANDWIDTH] = "bandwidth",
                                          [FAULT_FILL_DISK] = "fill-disk",
                                          [FAULT_LIMIT_MEMORY] = "limit-memory",
                                          NULL};

const char *scenario_fault_name(enum scenario_fault_action action)
{
    return (size_t)action < ARRAY_COUNT(fault_names) - 1 ? fault_names[action] : "?";
}

/* --- start --- */

static bool is_start_keyword(const struct words_word *word)
{
    static const char *const keywords[] = {"set", "disk", "memory", "count", "to", "kinds", "slots"};
    for (size_t i = 0; i < ARRAY_COUNT(keywords); i++) {
        if (!word->is_quoted && slice_equal_str(word->text, keywords[i])) {
            return true;
        }
    }
    return false;
}

static enum status read_setting(struct parser *parser, struct scenario_start *start)
{
    struct words_word word;
    enum status status = words_take(&parser->words, "KEY=VALUE", &word);
    if (status != STATUS_OK) {
        return status;
    }
    if (start->setting_count == ARRAY_COUNT(start->settings)) {
        return words_complain(&parser->words, &word, "a hub takes at most %zu settings here",
                              ARRAY_COUNT(start->settings));
    }
    if (word.text.len == 0 || word.text.data[0] == '=' || memchr(word.text.data, '=', word.text.len) == NULL) {
        return words_complain(&parser->words, &word, "\"%.*s\" is no setting: KEY=VALUE is needed",
                              SLICE_ARG(word.text));
    }
    return copy_word(parser, &word, "a setting", start->settings[start->setting_count++], sizeof(start->settings[0]));
}

static enum status read_kinds(struct parser *parser, struct scenario_start *start)
{
    struct words_word word;
    struct slice item;
    enum status status = words_take(&parser->words, "a list of kinds such as shell,python", &word);
    struct slice list = status == STATUS_OK ? word.text : (struct slice){NULL, 0};
    while (words_list_next(&list, &item)) {
        if (!words_is_name(item)) {
            return words_complain(&parser->words, &word, "\"%.*s\" is no list of kinds: names with commas are needed",
                                  SLICE_ARG(word.text));
        }
    }
    return status == STATUS_OK ? copy_word(parser, &word, "a list of kinds", start->kinds, sizeof(start->kinds))
                               : status;
}

static enum status read_start_properties(struct parser *parser, struct scenario_start *start, uint32_t own)
{
    struct words *words = &parser->words;
    bool is_hub = start->kind == START_HUB, is_node = start->kind == START_NODE, is_proxy = start->kind == START_PROXY;
    enum status status = STATUS_OK;
    int64_t disk = 0, memory = 0;
    while (status == STATUS_OK && !words_is_done(words)) {
        struct words_property properties[8];
        size_t known = 0, count;
        if (is_hub) {
            properties[known++] = (struct words_property){
                .name = "disk", .unit = WORDS_SIZE, .value = &disk, .min = DISK_SIZE_MIN, .max = SIZE_MAX_BYTES};
        }
        if (!is_proxy) {
            properties[known++] = (struct words_property){
                .name = "memory", .unit = WORDS_SIZE, .value = &memory, .min = DISK_SIZE_MIN, .max = SIZE_MAX_BYTES};
        }
        if (is_node) {
            properties[known++] =
                (struct words_property){.name = "count", .number = &start->count, .min = 1, .max = NODES_MAX};
            properties[known++] =
                (struct words_property){.name = "slots", .number = &start->slots, .min = 1, .max = SLOTS_MAX};
        }
        count = known;
        if (is_hub) {
            properties[count++] = (struct words_property){.name = "set"}; /* for the sentence about unknown words */
        }
        if (is_node || is_proxy) {
            properties[count++] = (struct words_property){.name = "to"};
        }
        if (is_node) {
            properties[count++] = (struct words_property){.name = "kinds"};
        }
        if (is_hub && words_take_if(words, "set")) {
            status = read_setting(parser, start);
        } else if ((is_node || is_proxy) && words_take_if(words, "to")) {
            status = words_take(words, "a name of a hub or proxy", &parser->start_to[own]);
        } else if (is_node && words_take_if(words, "kinds")) {
            status = read_kinds(parser, start);
        } else {
            status = words_take_property(words, properties, count);
        }
    }
    start->disk_bytes = (uint64_t)disk;
    start->memory_bytes = (uint64_t)memory;
    return status;
}

/* Whether a name is that of a process of this start, or of its group of nodes. */
static bool owns_name(const struct scenario_start *start, struct slice name)
{
    if (slice_equal_str(name, start->name)) {
        return true;
    }
    if (start->count < 2) {
        return false;
    }
    struct slice prefix = slice_str(start->name);
    int64_t number;
    return start->kind == START_NODE && slice_starts_with(name, prefix) &&
           words_value(slice_of(name.data + prefix.len, name.len - prefix.len), WORDS_COUNT, &number) && number >= 1 &&
           number <= start->count && name.data[prefix.len] != '0';
}

const struct scenario_start *scenario_find_start(const struct scenario *scenario, struct slice name)
{
    for (uint32_t i = 0; i < scenario->start_count; i++) {
        if (owns_name(&scenario->starts[i], name)) {
            return &scenario->starts[i];
        }
    }
    return NULL;
}

static enum status read_command(struct parser *parser, struct scenario_start *start)
{
    struct words_word word;
    enum status status = words_take(&parser->words, "a command in quotes", &word);
    if (status != STATUS_OK) {
        return status;
    }
    /* ${port} is the one variable that a command knows. */
    struct text_builder builder = {.count = 0};
    struct slice rest = word.text;
    while (rest.len > 0 && status == STATUS_OK) {
        const char *port = memmem(rest.data, rest.len, "${port}", 7);
        size_t len = port != NULL ? (size_t)(port - rest.data) : rest.len;
        status = text_append_literal(parser, &builder, &word, slice_of(rest.data, len));
        if (status == STATUS_OK && port != NULL) {
            if (builder.count == ARRAY_COUNT(builder.parts)) {
                return words_complain(&parser->words, &word, "a command names ${port} at most 32 times");
            }
            builder.parts[builder.count++] = (struct scenario_part){.variable = SCENARIO_PORT};
            len += 7;
        }
        rest = slice_of(rest.data + len, rest.len - len);
    }
    return status == STATUS_OK ? text_finish(parser, &builder, &start->command) : status;
}

enum status scenario_read_start(struct parser *parser)
{
    struct scenario *scenario = parser->scenario;
    struct words *words = &parser->words;
    struct words_word kind;
    uint32_t own = scenario->start_count;
    if (own == SCENARIO_STARTS_MAX) {
        return words_complain(words, &words->list[0], "a scenario starts at most %d things", SCENARIO_STARTS_MAX);
    }
    struct scenario_start *start = &scenario->starts[own];
    *start = (struct scenario_start){.line = words->line, .count = 1};
    enum status status = words_take(words, "hub, node, proxy or exec", &kind);
    if (status != STATUS_OK) {
        return status;
    }
    size_t i = 0;
    while (start_names[i] != NULL && !slice_equal_str(kind.text, start_names[i])) {
        i++;
    }
    if (start_names[i] == NULL) {
        return words_complain_unknown(words, &kind, "nothing that can be started", start_names);
    }
    start->kind = (enum scenario_start_kind)i;
    struct words_word name_word = kind;
    if (start->kind == START_EXEC || (!words_is_done(words) && !is_start_keyword(&words->list[words->at]))) {
        name_word = words->list[words_is_done(words) ? words->count - 1 : words->at];
        status =
            words_take_name(words, "a name", start->name, sizeof(start->name) - 4); /* of nodes, a number follows */
    } else {
        snprintf(start->name, sizeof(start->name), "%s", start_names[i]);
    }
    if (status == STATUS_OK && start->kind == START_EXEC) {
        status = read_command(parser, start);
    }
    if (status == STATUS_OK) {
        status = read_start_properties(parser, start, own);
    }
    if (status != STATUS_OK) {
        return status;
    }
    static const char *const taken[] = {"generator", "machine"}; /* what the sampler calls these */
    for (size_t k = 0; k < ARRAY_COUNT(taken); k++) {
        if (owns_name(start, slice_str(taken[k]))) {
            return words_complain(words, &name_word, "\"%s\" is the name of something else in reports", taken[k]);
        }
    }
    for (uint32_t k = 0; k < own; k++) {
        char mine[BENCH_NAME_SIZE + 16], theirs[BENCH_NAME_SIZE + 16];
        snprintf(mine, sizeof(mine), "%s%s", start->name, start->count > 1 ? "1" : "");
        snprintf(theirs, sizeof(theirs), "%s%s", scenario->starts[k].name, scenario->starts[k].count > 1 ? "1" : "");
        if (owns_name(&scenario->starts[k], slice_str(mine)) || owns_name(start, slice_str(theirs)) ||
            strcmp(start->name, scenario->starts[k].name) == 0) {
            return words_complain(words, &name_word, "there is a \"%s\" already, in line %u", scenario->starts[k].name,
                                  scenario->starts[k].line);
        }
    }
    scenario->start_count++;
    return STATUS_OK;
}

/* --- fault --- */

static bool has_value(enum scenario_fault_action action)
{
    return action == FAULT_DELAY || action == FAULT_LOSS || action == FAULT_BANDWIDTH || action == FAULT_LIMIT_MEMORY;
}

static enum status read_fault_value(struct parser *parser, struct scenario_fault *fault)
{
    struct words *words = &parser->words;
    struct words_word word;
    struct words_range range;
    int64_t value = 0;
    double rate;
    enum status status;
    switch (fault->action) {
    case FAULT_DELAY:
        return words_take_range(words, "delay", WORDS_TIME, 0, INT64_C(600) * 1000000000, &fault->delay);
    case FAULT_LOSS:
        status = words_take_value(words, "loss", WORDS_PERMILLE, 1, 1000, &value);
        fault->loss_permille = (uint32_t)value;
        return status;
    case FAULT_FILL_DISK:
    case FAULT_LIMIT_MEMORY:
        status = words_take_value(words, scenario_fault_name(fault->action), WORDS_SIZE, DISK_SIZE_MIN, SIZE_MAX_BYTES,
                                  &value);
        fault->bytes = (uint64_t)value;
        return status;
    default:
        break;
    }
    status = words_take(words, "a bandwidth such as 100k/s", &word);
    if (status != STATUS_OK) {
        return status;
    }
    bool has_unit = words_rate(word.text, &rate) && word.text.data[word.text.len - 1] == 's';
    if (!has_unit || !words_range(slice_of(word.text.data, word.text.len - 2), WORDS_SIZE, &range) ||
        range.min != range.max || range.min < 1 || range.min > SIZE_MAX_BYTES) {
        return words_complain(words, &word, "\"%.*s\" is no bandwidth: 100k/s, in bytes of 1024, is needed",
                              SLICE_ARG(word.text));
    }
    fault->bytes = (uint64_t)range.min;
    return STATUS_OK;
}

static enum status read_fault_rest(struct parser *parser, struct scenario_fault *fault, uint32_t own)
{
    struct words *words = &parser->words;
    bool has_at = false, has_its_value = !has_value(fault->action);
    enum status status = STATUS_OK;
    const struct words_property properties[] = {
        {.name = "at", .unit = WORDS_TIME, .value = &fault->at_ns, .max = SCENARIO_TIME_MAX},
        {.name = "for", .unit = WORDS_TIME, .value = &fault->for_ns, .min = 1000000, .max = SCENARIO_TIME_MAX},
        {.name = "every", .unit = WORDS_TIME, .value = &fault->every_ns, .min = 1000000, .max = SCENARIO_TIME_MAX},
        {.name = "in"}, /* for the sentence about unknown words */
        {.name = "as"},
    };
    while (status == STATUS_OK && !words_is_done(words)) {
        const struct words_word *word = &words->list[words->at];
        bool is_number = word->text.len > 0 && word->text.data[0] >= '0' && word->text.data[0] <= '9';
        bool may_have_one = fault->action == FAULT_FILL_DISK && fault->bytes == 0; /* without: all the room there is */
        if (is_number && (!has_its_value || may_have_one)) {
            has_its_value = true;
            status = read_fault_value(parser, fault);
        } else if (words_take_if(words, "in")) {
            status = words_take(words, "a name of a phase", &parser->fault_phase[own]);
        } else if (words_take_if(words, "as")) {
            status = words_take_name(words, "a name", fault->name, sizeof(fault->name));
        } else {
            has_at = has_at || (slice_equal_str(word->text, "at") && !word->is_quoted);
            status = words_take_property(words, properties, ARRAY_COUNT(properties));
        }
    }
    if (status != STATUS_OK) {
        return status;
    }
    if (!has_at) {
        return words_complain(words, NULL, "when it happens, \"at D\", is missing here");
    }
    if (!has_its_value) {
        return words_complain(words, NULL, "%s needs a value: %s", scenario_fault_name(fault->action),
                              fault->action == FAULT_DELAY       ? "a duration or range such as 20..50ms"
                              : fault->action == FAULT_LOSS      ? "a percentage such as 5%"
                              : fault->action == FAULT_BANDWIDTH ? "a bandwidth such as 100k/s"
                                                                 : "a size such as 200M");
    }
    if (fault->action == FAULT_FREEZE && fault->for_ns == 0) {
        return words_complain(words, NULL, "how long it stays frozen, \"for D\", is missing here");
    }
    if (fault->every_ns > 0 && fault->for_ns >= fault->every_ns) {
        return words_complain(words, NULL, "it would come again before it has ended: every is not longer than for");
    }
    return STATUS_OK;
}

enum status scenario_read_fault(struct parser *parser)
{
    struct scenario *scenario = parser->scenario;
    struct words *words = &parser->words;
    uint32_t own = scenario->fault_count;
    if (own == SCENARIO_FAULTS_MAX) {
        return words_complain(words, &words->list[0], "a scenario takes at most %d faults", SCENARIO_FAULTS_MAX);
    }
    struct scenario_fault *fault = &scenario->faults[own];
    *fault = (struct scenario_fault){.line = words->line, .phase = -1};
    struct words_word action;
    enum status status = words_take(words, "what happens, such as kill or delay,", &action);
    if (status != STATUS_OK) {
        return status;
    }
    size_t i = 0;
    while (fault_names[i] != NULL && !slice_equal_str(action.text, fault_names[i])) {
        i++;
    }
    if (fault_names[i] == NULL) {
        return words_complain_unknown(words, &action, "no fault", fault_names);
    }
    fault->action = (enum scenario_fault_action)i;
    status = words_take(words, "a name of what is started", &parser->fault_target[own]);
    if (status == STATUS_OK) {
        status = copy_word(parser, &parser->fault_target[own], "a name", fault->target, sizeof(fault->target));
    }
    if (status == STATUS_OK) {
        status = read_fault_rest(parser, fault, own);
    }
    if (status == STATUS_OK && fault->name[0] == '\0') {
        struct slice target = parser->fault_target[own].text;
        snprintf(fault->name, sizeof(fault->name), "%s_%.*s", fault_names[i], SLICE_ARG(target));
        for (char *c = fault->name; *c != '\0'; c++) {
            *c = *c == '-' ? '_' : *c;
        }
    }
    scenario->fault_count += status == STATUS_OK;
    return status;
}
