/* workload.c - reads workload files, and the workload part of scenario files.
 *
 *   statement  one a line; words as in words.h
 *   clients N  [think RANGE] [open N]
 *   kind NAME  [share N] [work RANGE] [fail P%] [input RANGE] [result RANGE] [delay RANGE] [lease D] [timeout D] [ttl D]
 *              [attempts N] [backoff D]
 *   queue NAME [share N] [keys N] [priority RANGE]
 *   nodes N    [slots N] [kinds NAME,NAME]            after the kinds
 *   workers N  [slots N] [kinds NAME,NAME]            the same, over plain HTTP
 *   mix        [submit N] [get N] [cancel N] [retry N] [pause N] [drain N] [wait N]
 *   submits    [keyless P%] [unique P%]
 *
 * A RANGE is VALUE or VALUE..VALUE. Durations have a unit (us, ms, s, m, h), sizes may have k or M, percentages end with "%". */
#include "base/workload.h"

#include <assert.h>
#include <string.h>

#include "base/ensure.h"

#define NS_PER_MS INT64_C(1000000)
#define TIME_MAX (INT64_C(3600) * 1000 * NS_PER_MS)
#define PAYLOAD_SIZE_MAX 32768
#define SLOTS_MAX 1000
#define SHARE_MAX 1000
#define CLIENTS_DEFAULT 8

static const char *const op_names[WORKLOAD_OP_COUNT] = {"submit", "get", "cancel", "retry", "pause", "drain", "wait"};
const char *const workload_statements[] = {"clients", "kind", "queue", "nodes", "workers", "mix", "submits", NULL};

const char *workload_op_name(enum workload_op op)
{
    return (size_t)op < ARRAY_COUNT(op_names) ? op_names[op] : "?";
}

static const struct workload_nodes *group_of(const struct workload_nodes *groups, uint32_t index)
{
    for (; index >= groups->count; groups++) {
        index -= groups->count;
    }
    return groups;
}

const struct workload_nodes *workload_group(const struct workload *workload, uint32_t index)
{
    ensure(index < workload->node_count);
    return group_of(workload->groups, index);
}

const struct workload_nodes *workload_worker_group(const struct workload *workload, uint32_t index)
{
    ensure(index < workload->worker_count);
    return group_of(workload->worker_groups, index);
}

/* --- statements --- */

static enum status read_kind(struct words *words, struct workload *workload)
{
    const struct words_word *first = &words->list[0];
    if (workload->kind_count == WORKLOAD_KINDS_MAX) {
        return words_complain(words, first, "a workload takes at most %d kinds", WORKLOAD_KINDS_MAX);
    }
    struct workload_kind *kind = &workload->kinds[workload->kind_count];
    *kind = (struct workload_kind){.share = 1,
                                   .work = {NS_PER_MS, 20 * NS_PER_MS},
                                   .input = {16, 64},
                                   .result = {16, 64},
                                   .lease_ms = 2000,
                                   .attempts = 3,
                                   .backoff_ms = 20};
    enum status status = words_take_name(words, "a name of a kind", kind->name, sizeof(kind->name));
    if (status != STATUS_OK) {
        return status;
    }
    for (uint32_t i = 0; i < workload->kind_count; i++) {
        if (strcmp(workload->kinds[i].name, kind->name) == 0) {
            return words_complain(words, &words->list[1], "there is a kind \"%s\" already", kind->name);
        }
    }
    workload->kind_count++;
    const struct words_property properties[] = {
        {.name = "share", .number = &kind->share, .max = SHARE_MAX},
        {.name = "work", .unit = WORDS_TIME, .range = &kind->work, .max = TIME_MAX},
        {.name = "fail", .unit = WORDS_PERMILLE, .number = &kind->fail_permille, .max = 1000},
        {.name = "input", .unit = WORDS_SIZE, .range = &kind->input, .max = PAYLOAD_SIZE_MAX},
        {.name = "result", .unit = WORDS_SIZE, .range = &kind->result, .max = PAYLOAD_SIZE_MAX},
        {.name = "delay", .unit = WORDS_TIME, .range = &kind->delay, .max = TIME_MAX},
        {.name = "lease", .unit = WORDS_TIME, .ms = &kind->lease_ms, .max = TIME_MAX},
        {.name = "timeout", .unit = WORDS_TIME, .ms = &kind->timeout_ms, .max = TIME_MAX},
        {.name = "ttl", .unit = WORDS_TIME, .ms = &kind->ttl_ms, .max = TIME_MAX},
        {.name = "attempts", .number = &kind->attempts, .min = 1, .max = 1000},
        {.name = "backoff", .unit = WORDS_TIME, .ms = &kind->backoff_ms, .max = TIME_MAX},
    };
    return words_take_properties(words, properties, ARRAY_COUNT(properties));
}

static enum status read_queue(struct words *words, struct workload *workload)
{
    if (workload->queue_count == WORKLOAD_QUEUES_MAX) {
        return words_complain(words, &words->list[0], "a workload takes at most %d queues", WORKLOAD_QUEUES_MAX);
    }
    struct workload_queue *queue = &workload->queues[workload->queue_count];
    *queue = (struct workload_queue){.share = 1, .priority = {5, 5}};
    enum status status = words_take_name(words, "a name of a queue", queue->name, sizeof(queue->name));
    if (status != STATUS_OK) {
        return status;
    }
    for (uint32_t i = 0; i < workload->queue_count; i++) {
        if (strcmp(workload->queues[i].name, queue->name) == 0) {
            return words_complain(words, &words->list[1], "there is a queue \"%s\" already", queue->name);
        }
    }
    workload->queue_count++;
    const struct words_property properties[] = {
        {.name = "share", .number = &queue->share, .max = SHARE_MAX},
        {.name = "keys", .number = &queue->keys, .max = WORKLOAD_KEYS_MAX},
        {.name = "priority", .range = &queue->priority, .max = 9},
    };
    return words_take_properties(words, properties, ARRAY_COUNT(properties));
}

/* "a,b" as bits. */
static enum status read_kinds(struct words *words, const struct workload *workload, uint32_t *ret_kinds)
{
    struct words_word word;
    enum status status = words_take(words, "a list of kinds such as quick,slow", &word);
    if (status != STATUS_OK) {
        return status;
    }
    const char *names[WORKLOAD_KINDS_MAX + 1] = {NULL};
    for (uint32_t i = 0; i < workload->kind_count; i++) {
        names[i] = workload->kinds[i].name;
    }
    struct slice list = word.text, item;
    *ret_kinds = 0;
    while (words_list_next(&list, &item)) {
        uint32_t i = 0;
        while (i < workload->kind_count && !slice_equal_str(item, names[i])) {
            i++;
        }
        if (i == workload->kind_count) {
            return words_complain_unknown(words, &(struct words_word){.text = item, .column = word.column},
                                          "no kind that stands above", names);
        }
        *ret_kinds |= 1u << i;
    }
    return *ret_kinds != 0 ? STATUS_OK : words_complain(words, &word, "a list of kinds is needed, such as quick,slow");
}

/* A group of nodes, or of workers, for a list of them. */
static enum status read_group(struct words *words, const char *what, const struct workload *workload,
                              struct workload_nodes *groups, uint32_t *group_count, uint32_t *total)
{
    if (*group_count == WORKLOAD_GROUPS_MAX) {
        return words_complain(words, &words->list[0], "a workload takes at most %d groups of %s", WORKLOAD_GROUPS_MAX,
                              what);
    }
    struct workload_nodes group = {.slots = 2, .kinds = (1u << workload->kind_count) - 1};
    int64_t count;
    enum status status = words_take_value(words, what, WORDS_COUNT, 1, WORKLOAD_NODES_MAX, &count);
    if (status == STATUS_OK && (uint64_t)count + *total > WORKLOAD_NODES_MAX) {
        return words_complain(words, &words->list[1], "all groups together take at most %d %s", WORKLOAD_NODES_MAX,
                              what);
    }
    while (status == STATUS_OK && !words_is_done(words)) {
        const struct words_property properties[] = {
            {.name = "slots", .number = &group.slots, .max = SLOTS_MAX},
            {.name = "kinds"}, /* for the list of what can stand here */
        };
        status = words_take_if(words, "kinds") ? read_kinds(words, workload, &group.kinds)
                                               : words_take_property(words, properties, ARRAY_COUNT(properties));
    }
    if (status == STATUS_OK) {
        group.count = (uint32_t)count;
        *total += group.count;
        groups[(*group_count)++] = group;
    }
    return status;
}

static enum status read_nodes(struct words *words, struct workload *workload)
{
    return read_group(words, "nodes", workload, workload->groups, &workload->group_count, &workload->node_count);
}

static enum status read_workers(struct words *words, struct workload *workload)
{
    return read_group(words, "workers", workload, workload->worker_groups, &workload->worker_group_count,
                      &workload->worker_count);
}

static enum status read_clients(struct words *words, struct workload *workload)
{
    int64_t count;
    enum status status = words_take_value(words, "clients", WORDS_COUNT, 1, WORKLOAD_CLIENTS_MAX, &count);
    if (status != STATUS_OK) {
        return status;
    }
    workload->clients = (uint32_t)count;
    const struct words_property properties[] = {
        {.name = "think", .unit = WORDS_TIME, .range = &workload->think, .max = TIME_MAX},
        {.name = "open", .number = &workload->open_max, .min = 1, .max = 1000000},
    };
    return words_take_properties(words, properties, ARRAY_COUNT(properties));
}

static enum status read_submits(struct words *words, struct workload *workload)
{
    const struct words_property properties[] = {
        {.name = "keyless", .unit = WORDS_PERMILLE, .number = &workload->keyless_permille, .max = 1000},
        {.name = "unique", .unit = WORDS_PERMILLE, .number = &workload->unique_permille, .max = 1000},
    };
    return words_take_properties(words, properties, ARRAY_COUNT(properties));
}

static enum status read_mix(struct words *words, struct workload *workload)
{
    struct words_property properties[WORKLOAD_OP_COUNT];
    memset(workload->mix, 0, sizeof(workload->mix));
    for (uint32_t i = 0; i < WORKLOAD_OP_COUNT; i++) {
        properties[i] = (struct words_property){.name = op_names[i], .number = &workload->mix[i], .max = 1000};
    }
    enum status status = words_take_properties(words, properties, WORKLOAD_OP_COUNT);
    return status == STATUS_OK && workload->mix[WORKLOAD_SUBMIT] == 0
               ? words_complain(words, &words->list[0], "a mix without \"submit\" would have nothing to do")
               : status;
}

enum status workload_statement(struct words *words, struct workload *workload)
{
    static enum status (*const readers[])(struct words *, struct workload *) = {
        read_clients, read_kind, read_queue, read_nodes, read_workers, read_mix, read_submits};
    static_assert(ARRAY_COUNT(readers) + 1 == ARRAY_COUNT(workload_statements), "a reader for each statement");
    for (size_t i = 0; i < ARRAY_COUNT(readers); i++) {
        if (words_take_if(words, workload_statements[i])) {
            return readers[i](words, workload);
        }
    }
    return STATUS_NOT_FOUND;
}

/* --- the text --- */

void workload_init(struct workload *ret_workload)
{
    *ret_workload = (struct workload){
        .clients = CLIENTS_DEFAULT, .think = {0, 2 * NS_PER_MS}, .open_max = 200, .mix = {[WORKLOAD_SUBMIT] = 1}};
}

enum status workload_check(struct workload *workload, const struct words *words, bool needs_nodes)
{
    uint32_t kinds = 0, shares = 0, queue_shares = 0;
    if (workload->queue_count == 0) {
        workload->queues[workload->queue_count++] =
            (struct workload_queue){.name = "default", .share = 1, .priority = {5, 5}};
    }
    for (uint32_t i = 0; i < workload->group_count; i++) {
        if (workload->groups[i].kinds == 0) {
            return words_complain(words, NULL, "nodes do kinds of tasks; \"kind NAME\" stands above \"nodes\"");
        }
        kinds |= workload->groups[i].slots > 0 ? workload->groups[i].kinds : 0;
    }
    for (uint32_t i = 0; i < workload->worker_group_count; i++) {
        kinds |= workload->worker_groups[i].slots > 0 ? workload->worker_groups[i].kinds : 0;
    }
    for (uint32_t i = 0; i < workload->queue_count; i++) {
        queue_shares += workload->queues[i].share;
    }
    for (uint32_t i = 0; i < workload->kind_count; i++) {
        shares += workload->kinds[i].share;
    }
    if (shares == 0 && (needs_nodes || workload->kind_count > 0)) {
        return words_complain(words, NULL, "there is no kind with a share; \"kind NAME\" makes one");
    }
    if (queue_shares == 0) {
        return words_complain(words, NULL, "there is no queue with a share");
    }
    if (!needs_nodes) {
        return STATUS_OK;
    }
    if (workload->node_count == 0) {
        return words_complain(words, NULL, "there are no nodes; \"nodes N\" makes some");
    }
    for (uint32_t i = 0; i < workload->kind_count; i++) {
        if ((kinds & 1u << i) == 0) {
            return words_complain(words, NULL, "the kind \"%s\" has no node with a slot", workload->kinds[i].name);
        }
    }
    return STATUS_OK;
}

enum status workload_parse(struct slice text, struct workload *ret_workload, char *ret_why, size_t why_size)
{
    struct workload workload;
    struct words words;
    enum status status;
    workload_init(&workload);
    words_begin(&words, text, ret_why, why_size);
    while ((status = words_next(&words)) == STATUS_OK) {
        status = workload_statement(&words, &workload);
        if (status == STATUS_NOT_FOUND) {
            status = words_complain_unknown(&words, &words.list[0], "no statement", workload_statements);
        }
        if (status != STATUS_OK) {
            return status;
        }
    }
    status = status == STATUS_END ? workload_check(&workload, &words, true) : status;
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
    enum status status = workload_parse(slice_str(text), ret_workload, why, sizeof(why));
    ensure(status == STATUS_OK);
}
