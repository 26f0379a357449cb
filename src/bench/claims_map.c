/* claims_map.c - reads bench/claims.map, which documents its own grammar at its top. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "base/words.h"
#include "bench/claims_internal.h"

#define RULES_MAX 512
#define RUNS_MAX 64
#define ALIASES_MAX 32
#define TEXT_SIZE 1024

/* --- patterns --- */

static bool is_plain(char c)
{
    return c != '/' && c != '#';
}

/* "*" stands for anything, "{x}" for one or more characters other than "/" and "#"; both take as much as they can. A brace that is no capture
 * because the text has it too, as in "/tasks/{id}", is a character like any other. */
static bool glob(struct slice pattern, struct slice text, struct claim_captures *captures)
{
    if (pattern.len == 0) {
        return text.len == 0;
    }
    struct slice rest = slice_of(pattern.data + 1, pattern.len - 1);
    if (pattern.data[0] == '*') {
        for (size_t taken = text.len + 1; taken-- > 0;) {
            if (glob(rest, slice_of(text.data + taken, text.len - taken), captures)) {
                return true;
            }
        }
        return false;
    }
    bool is_same = text.len > 0 && text.data[0] == pattern.data[0];
    if (is_same && glob(rest, slice_of(text.data + 1, text.len - 1), captures)) {
        return true;
    }
    const char *close = pattern.data[0] == '{' ? memchr(pattern.data, '}', pattern.len) : NULL;
    if (close == NULL || captures->count == CLAIM_CAPTURES_MAX) {
        return false;
    }
    struct slice name = slice_of(pattern.data + 1, (size_t)(close - pattern.data) - 1);
    rest = slice_of(close + 1, pattern.len - name.len - 2);
    size_t longest = 0;
    while (longest < text.len && is_plain(text.data[longest])) {
        longest++;
    }
    uint32_t count = captures->count;
    for (size_t taken = longest; taken > 0; taken--) {
        captures->names[count] = name;
        captures->values[count] = slice_of(text.data, taken);
        captures->count = count + 1;
        if (glob(rest, slice_of(text.data + taken, text.len - taken), captures)) {
            return true;
        }
        captures->count = count;
    }
    return false;
}

bool claim_matches(const struct claim *claim, struct slice pattern, struct claim_captures *ret_captures)
{
    *ret_captures = (struct claim_captures){.count = 0};
    const char *hash = pattern.len > 0 ? memrchr(pattern.data, '#', pattern.len) : NULL;
    struct slice head = pattern;
    if (hash != NULL) {
        head.len = (size_t)(hash - pattern.data);
        struct slice list = slice_of(hash + 1, pattern.len - head.len - 1), item;
        bool is_in = false;
        while (!is_in && words_list_next(&list, &item)) {
            is_in = slice_equal_str(item, "*") || slice_equal(item, claim->name);
        }
        if (!is_in) {
            return false;
        }
    }
    return glob(head, slice_of(claim->id.data, claim->id.len - claim->name.len - 1), ret_captures);
}

/* --- filling in --- */

const struct claim_alias *claim_alias_find(const struct claims *claims, struct slice metric)
{
    for (uint32_t i = 0; i < claims->alias_count; i++) {
        if (slice_equal(claims->aliases[i].claim, metric)) {
            return &claims->aliases[i];
        }
    }
    return NULL;
}

bool claim_fill(const struct claims *claims, const struct claim *claim, const struct claim_captures *captures,
                struct slice text, char *ret, size_t size)
{
    size_t len = 0;
    if (text.len > 0 && text.data[0] == '*') {
        const struct claim_alias *alias = claim_alias_find(claims, claim->name);
        if (alias == NULL || alias->run.len >= size) {
            return false;
        }
        memcpy(ret, alias->run.data, alias->run.len);
        len = alias->run.len;
        text = slice_of(text.data + 1, text.len - 1);
    }
    while (text.len > 0) {
        struct slice piece = slice_of(text.data, 1);
        size_t used = 1;
        for (uint32_t i = 0; text.data[0] == '{' && i < captures->count; i++) {
            struct slice name = captures->names[i];
            if (text.len >= name.len + 2 && memcmp(text.data + 1, name.data, name.len) == 0 &&
                text.data[name.len + 1] == '}') {
                piece = captures->values[i];
                used = name.len + 2;
                break;
            }
        }
        if (len + piece.len >= size) {
            return false;
        }
        memcpy(ret + len, piece.data, piece.len);
        len += piece.len;
        text = slice_of(text.data + used, text.len - used);
    }
    ret[len] = '\0';
    return true;
}

void claim_metric_place(const char *metric, char ret_step[BENCH_NAME_SIZE], char ret_phase[BENCH_NAME_SIZE])
{
    static const char stops[] = " +-*/()<>=!:@";
    ret_step[0] = ret_phase[0] = '\0';
    size_t at = strcspn(metric, ":@");
    if (metric[at] == ':') {
        size_t len = strcspn(metric + at + 1, stops);
        snprintf(ret_step, BENCH_NAME_SIZE, "%.*s", (int)len, metric + at + 1);
        at += 1 + len;
    }
    if (metric[at] == '@') {
        snprintf(ret_phase, BENCH_NAME_SIZE, "%.*s", (int)strcspn(metric + at + 1, stops), metric + at + 1);
    }
}

bool claim_unit_factor(struct slice from, struct slice to, double *ret_factor)
{
    static const struct {
        const char *from, *to;
        double factor;
    } units[] = {{"ns", "ns", 1},
                 {"ns", "us", 1e-3},
                 {"ns", "ms", 1e-6},
                 {"ns", "s", 1e-9},
                 {"ns", "min", 1.0 / 60e9},
                 {"ns", "h", 1.0 / 3600e9},
                 {"s", "us", 1e6},
                 {"s", "ms", 1e3},
                 {"s", "s", 1},
                 {"s", "min", 1.0 / 60},
                 {"s", "h", 1.0 / 3600},
                 {"bytes", "KB", 1e-3},
                 {"bytes", "MB", 1e-6},
                 {"bytes", "GB", 1e-9},
                 {"bytes", "TB", 1e-12},
                 {"B/s", "MB/s", 1e-6},
                 {"B/s", "Mbps", 8e-6},
                 {"B/s", "Gbps", 8e-9},
                 {"%", "%", 1},
                 {"/s", "tps", 1},
                 {"/s", "rps", 1},
                 {"/s", "req/s", 1},
                 {"/s", "q/s", 1},
                 {"/s", "msg/s", 1},
                 {"/s", "ev/s", 1},
                 {"/s", "op/s", 1},
                 {"/s", "n/s", 1},
                 {"/s", "nodes/s", 1},
                 {"/s", "n", 1},
                 {"/s", "n/min", 60},
                 {"n", "n", 1},
                 {"n", "req", 1},
                 {"n", "tasks", 1},
                 {"n", "users", 1},
                 {"n", "bool", 1},
                 {"n", "s", 1}};
    for (size_t i = 0; i < ARRAY_COUNT(units); i++) {
        if (slice_equal_str(from, units[i].from) && slice_equal_str(to, units[i].to)) {
            *ret_factor = units[i].factor;
            return true;
        }
    }
    return false;
}

/* --- statements --- */

static const char *const goods[] = {[CLAIM_LOWER] = "lower", [CLAIM_HIGHER] = "higher", [CLAIM_ABOUT] = "about", NULL};
static const char *const scale_names[] = {[CLAIM_USERS] = "users",       [CLAIM_SECONDS] = "seconds",
                                          [CLAIM_REQUESTS] = "requests", [CLAIM_SESSIONS] = "sessions",
                                          [CLAIM_RATE] = "rate",         [CLAIM_CONNECTIONS] = "connections",
                                          [CLAIM_BYTES] = "bytes",       NULL};

static int index_of(struct slice word, const char *const *names)
{
    for (int i = 0; names[i] != NULL; i++) {
        if (slice_equal_str(word, names[i])) {
            return i;
        }
    }
    return -1;
}

static enum status read_alias(struct words *words, struct claims *claims)
{
    struct words_word claim, run, good;
    enum status status = words_take(words, "a metric of claims", &claim);
    if (status == STATUS_OK) {
        status = words_take(words, "a metric of runs", &run);
    }
    if (status == STATUS_OK) {
        status = words_take(words, "lower, higher or about", &good);
    }
    if (status != STATUS_OK) {
        return status;
    }
    int index = index_of(good.text, goods);
    if (index < 0) {
        return words_complain_unknown(words, &good, "no side", goods);
    }
    if (claims->alias_count == ALIASES_MAX) {
        return words_complain(words, &claim, "more than %d aliases", ALIASES_MAX);
    }
    claims->aliases[claims->alias_count++] =
        (struct claim_alias){.claim = claim.text, .run = run.text, .good = (enum claim_good)index};
    return words_take_end(words);
}

static enum status read_run(struct words *words, struct claims *claims)
{
    if (claims->run_count == RUNS_MAX) {
        return words_complain(words, NULL, "more than %d runs", RUNS_MAX);
    }
    struct claim_run *run = &claims->runs[claims->run_count];
    *run = (struct claim_run){.define_count = 0};
    enum status status = words_take_name(words, "a name for the run", run->name, sizeof(run->name));
    if (status == STATUS_OK) {
        status = words_take_name(words, "a scenario", run->scenario, sizeof(run->scenario));
    }
    while (status == STATUS_OK && !words_is_done(words)) {
        struct words_word word;
        status = words_take(words, "a value", &word);
        if (status != STATUS_OK) {
            break;
        }
        const char *equals = memchr(word.text.data, '=', word.text.len);
        if (equals == NULL || run->define_count == ARRAY_COUNT(run->defines[0])) {
            return words_complain(words, &word, "NAME=VALUE or NAME=FULL|QUICK is expected, at most %zu of them",
                                  ARRAY_COUNT(run->defines[0]));
        }
        size_t head = (size_t)(equals - word.text.data) + 1;
        struct slice value = slice_of(equals + 1, word.text.len - head), quick = value;
        const char *bar = memchr(value.data, '|', value.len);
        if (bar != NULL) {
            quick = slice_of(bar + 1, value.len - (size_t)(bar - value.data) - 1);
            value.len = (size_t)(bar - value.data);
        }
        for (int i = 0; i < 2; i++) {
            struct slice text = i == 0 ? value : quick;
            snprintf(run->defines[i][run->define_count], sizeof(run->defines[i][0]), "%.*s%.*s", (int)head,
                     word.text.data, SLICE_ARG(text));
        }
        run->define_count++;
    }
    if (status == STATUS_OK && claims_scenario(run->scenario).len == 0) {
        return words_complain(words, NULL, "there is no scenario \"%s\"", run->scenario);
    }
    claims->run_count += status == STATUS_OK;
    return status;
}

static enum status read_measure(struct words *words, struct claim_rule *rule)
{
    struct words_word word;
    enum status status = words_take(words, "a run", &word);
    rule->run = word.text;
    if (status == STATUS_OK) {
        status = words_take(words, "a metric", &word);
        rule->metric = word.text;
        rule->is_expression = word.is_quoted;
    }
    rule->good = -1;
    while (status == STATUS_OK && !words_is_done(words)) {
        status = words_take(words, "a unit, a side or a scale", &word);
        if (status != STATUS_OK) {
            break;
        }
        int good = index_of(word.text, goods);
        const char *equals = memchr(word.text.data, '=', word.text.len);
        if (good >= 0) {
            rule->good = good;
        } else if (equals == NULL && rule->is_expression && rule->unit.len == 0) {
            rule->unit = word.text;
        } else {
            struct slice name =
                slice_of(word.text.data, equals != NULL ? (size_t)(equals - word.text.data) : word.text.len);
            int kind = index_of(name, scale_names);
            if (kind < 0 || equals == NULL || rule->scale_count == CLAIM_SCALES_MAX) {
                return words_complain_unknown(words, &word, "no scale (NAME=VALUE)", scale_names);
            }
            rule->scales[rule->scale_count].kind = (enum claim_scale_kind)kind;
            rule->scales[rule->scale_count++].value = slice_of(equals + 1, word.text.len - name.len - 1);
        }
    }
    return status;
}

static enum status read_rule(struct words *words, struct claims *claims, enum rule_kind kind)
{
    if (claims->rule_count == RULES_MAX) {
        return words_complain(words, NULL, "more than %d lines for claims", RULES_MAX);
    }
    struct claim_rule *rule = &claims->rules[claims->rule_count++];
    *rule = (struct claim_rule){.kind = kind, .line = words->line};
    struct words_word word;
    enum status status = words_take(words, "a pattern of claims", &word);
    if (status != STATUS_OK) {
        return status;
    }
    rule->pattern = word.text;
    if (kind == RULE_MEASURE) {
        return read_measure(words, rule);
    }
    status = words_take(words, "a text in quotes", &word);
    rule->text = word.text;
    if (status == STATUS_OK && (kind == RULE_RELATION || kind == RULE_DOUBT) && words_take_if(words, "within")) {
        status = words_take(words, "a share such as 1%", &word);
        char *end;
        char number[24];
        snprintf(number, sizeof(number), "%.*s", SLICE_ARG(word.text));
        rule->tolerance = strtod(number, &end) / 100;
        if (status == STATUS_OK && (end == number || strcmp(end, "%") != 0)) {
            return words_complain(words, &word, "a share such as 1%% is expected");
        }
    }
    return status == STATUS_OK ? words_take_end(words) : status;
}

static enum status read_statement(struct words *words, struct claims *claims)
{
    static const char *const names[] = {"measure", "unbuilt", "incomparable", "relation",
                                        "doubt",   "alias",   "run",          NULL};
    struct words_word word;
    enum status status = words_take(words, "a statement", &word);
    if (status != STATUS_OK) {
        return status;
    }
    int index = index_of(word.text, names);
    if (index < 0) {
        return words_complain_unknown(words, &word, "no statement", names);
    }
    if (index <= RULE_DOUBT) {
        return read_rule(words, claims, (enum rule_kind)index);
    }
    return index == RULE_DOUBT + 1 ? read_alias(words, claims) : read_run(words, claims);
}

/* --- what belongs to what --- */

static bool has_run(const struct claims *claims, const char *name)
{
    for (uint32_t i = 0; i < claims->run_count; i++) {
        if (strcmp(claims->runs[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

/* What can be said of a measuring line for a claim before anything has run. */
static enum status check_measure(const struct claims *claims, const struct claim *claim, const struct claim_rule *rule,
                                 const struct claim_captures *captures, char *ret_why, size_t why_size)
{
    char run[BENCH_NAME_SIZE], metric[TEXT_SIZE];
    const char *unit = "n";
    double factor;
    const char *wrong = NULL;
    if (!claim_fill(claims, claim, captures, rule->run, run, sizeof(run)) || !has_run(claims, run)) {
        wrong = "there is no such run";
    } else if (!claim_fill(claims, claim, captures, rule->metric, metric, sizeof(metric))) {
        wrong = "the metric of the claim has no alias";
    } else if (rule->good < 0 && (rule->metric.len == 0 || rule->metric.data[0] != '*')) {
        wrong = "lower, higher or about is missing";
    } else if (!rule->is_expression && !bench_metric_is_known(slice_str(metric), &unit)) {
        wrong = "a run has no such metric";
    }
    struct slice from = rule->is_expression && rule->unit.len > 0 ? rule->unit : slice_str(unit);
    if (wrong == NULL && !claim_unit_factor(from, claim->unit, &factor)) {
        wrong = "the metric's unit cannot become the claim's";
    }
    if (wrong == NULL && !claim->has_number) {
        wrong = "the claim is no number";
    }
    if (wrong != NULL) {
        snprintf(ret_why, why_size, "claims.map, line %u: for %.*s: %s", rule->line, SLICE_ARG(claim->id), wrong);
        return STATUS_INVALID;
    }
    return STATUS_OK;
}

static enum status give_rules(struct claims *claims, char *ret_why, size_t why_size)
{
    struct claim_captures captures;
    for (uint32_t i = 0; i < claims->count; i++) {
        struct claim *claim = &claims->claims[i];
        for (uint32_t j = 0; j < claims->rule_count; j++) {
            struct claim_rule *rule = &claims->rules[j];
            bool is_extra = rule->kind == RULE_RELATION || rule->kind == RULE_DOUBT;
            if ((!is_extra && claim->rule != NULL) || !claim_matches(claim, rule->pattern, &captures)) {
                continue;
            }
            rule->used++;
            if (is_extra) {
                continue;
            }
            claim->rule = rule;
            if (rule->kind == RULE_MEASURE) {
                enum status status = check_measure(claims, claim, rule, &captures, ret_why, why_size);
                if (status != STATUS_OK) {
                    return status;
                }
            }
        }
        if (claim->rule == NULL) {
            snprintf(ret_why, why_size, "claims.map: no line covers %.*s", SLICE_ARG(claim->id));
            return STATUS_INVALID;
        }
    }
    for (uint32_t j = 0; j < claims->rule_count; j++) {
        if (claims->rules[j].used == 0) {
            snprintf(ret_why, why_size, "claims.map, line %u: %.*s covers no claim, or lines above cover all of them",
                     claims->rules[j].line, SLICE_ARG(claims->rules[j].pattern));
            return STATUS_INVALID;
        }
    }
    return STATUS_OK;
}

enum status claims_read_map(struct slice map, struct claims *claims, char *ret_why, size_t why_size)
{
    claims->runs = calloc(RUNS_MAX, sizeof(*claims->runs));
    claims->rules = calloc(RULES_MAX, sizeof(*claims->rules));
    claims->aliases = calloc(ALIASES_MAX, sizeof(*claims->aliases));
    if (claims->runs == NULL || claims->rules == NULL || claims->aliases == NULL) {
        snprintf(ret_why, why_size, "there is no memory for the claims");
        return STATUS_NO_MEMORY;
    }
    struct words words;
    char why[400];
    words_begin(&words, map, why, sizeof(why));
    enum status status;
    while ((status = words_next(&words)) == STATUS_OK && (status = read_statement(&words, claims)) == STATUS_OK) {
    }
    if (status != STATUS_END) {
        snprintf(ret_why, why_size, "claims.map, %s", why);
        return status;
    }
    return give_rules(claims, ret_why, why_size);
}
