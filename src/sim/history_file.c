/* history_file.c - records of what clients and nodes saw, brought into the order of the journal and judged.
 *
 * Each record says when it was asked for and when it was answered, by one clock, and which entry it speaks of. The order
 * in which the rules are applied is that of the entries; where several speak of one entry: made, leased, completed,
 * cancelled, then what was shown as of it. Times serve for one rule more, over all records: whoever asks after an entry
 * was seen gets an answer that is not older (J1, and "answers" of reads). That also finds entries that a recovery lost:
 * their numbers are given out again. */
#include "sim/history_file.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/base32.h"
#include "base/ensure.h"
#include "base/hash.h"
#include "base/json.h"
#include "sim/history_check.h"

#define NODES_MAX 65536u

enum member {
    HAS_OP = 1u << 0,
    HAS_TASK = 1u << 1,
    HAS_TOKEN = 1u << 2,
    HAS_NODE = 1u << 3,
    HAS_SENT = 1u << 4,
    HAS_ANSWERED = 1u << 5,
    HAS_SEQ = 1u << 6,
    HAS_STATE = 1u << 7,
    HAS_RESULT = 1u << 8,
    HAS_DUPLICATE = 1u << 9,
    HAS_UNIQUE = 1u << 10,
    HAS_ATTEMPT = 1u << 11,
};
static const char *const member_names[] = {"op",  "task",  "token",  "node",      "sent_ns", "answered_ns",
                                           "seq", "state", "result", "duplicate", "unique",  "attempt"};

/* In the order in which they are applied within an entry. */
enum what { SUBMIT, GIVE_UP, LEASE, COMPLETE, REFUSED, CANCEL, RETRY, READ, MISSING, ROW, END, WHAT_COUNT };
static const struct {
    const char *name;
    unsigned must, may;
    unsigned answered; /* must be there with answered_ns, and only then */
} whats[] = {
    [SUBMIT] = {"submit", HAS_OP | HAS_SENT, HAS_UNIQUE | HAS_DUPLICATE, HAS_TASK | HAS_SEQ},
    [GIVE_UP] = {"give_up", HAS_OP, 0, 0},
    [LEASE] = {"lease", HAS_OP | HAS_TOKEN | HAS_NODE | HAS_ANSWERED, 0, 0},
    [COMPLETE] = {"complete", HAS_OP | HAS_TOKEN | HAS_NODE | HAS_SENT | HAS_ANSWERED | HAS_SEQ, HAS_RESULT, 0},
    [REFUSED] = {"refused", HAS_OP | HAS_TOKEN | HAS_NODE | HAS_SENT | HAS_ANSWERED | HAS_SEQ, 0, 0},
    [CANCEL] = {"cancel", HAS_OP | HAS_TASK | HAS_SENT | HAS_ANSWERED | HAS_SEQ, 0, 0},
    [RETRY] = {"retry", HAS_OP | HAS_TASK | HAS_SENT, 0, HAS_SEQ},
    [READ] = {"read", HAS_OP | HAS_TASK | HAS_SENT | HAS_ANSWERED | HAS_SEQ | HAS_STATE, HAS_RESULT, 0},
    [MISSING] = {"missing", HAS_OP | HAS_TASK | HAS_SENT | HAS_ANSWERED, HAS_SEQ, 0},
    [ROW] = {"row", HAS_OP | HAS_TASK | HAS_SENT | HAS_ANSWERED | HAS_SEQ | HAS_STATE, HAS_RESULT | HAS_ATTEMPT, 0},
    [END] = {"end", 0, 0, 0},
};

struct record {
    enum what what;
    unsigned has;
    uint64_t line;
    uint64_t op, task_id, seq;
    struct lease_token token;
    uint32_t node, attempt;
    uint64_t sent_ns, answered_ns;
    enum task_state state;
    uint64_t result_hash, unique;
    bool is_duplicate;
};

/* That an entry was seen by then, or a greater one. */
struct sighting {
    uint64_t answered_ns, seq;
};

struct recording {
    const struct history_file_hooks *hooks;
    struct history_file_report *report;
    struct json_parser *json;
    struct buf text;
    struct record *records; /* owned */
    size_t count, cap;
    char **names; /* of the nodes; owned, each as well */
    uint32_t name_count;
    uint64_t line;      /* at hand */
    bool *is_submitted; /* by op; owned */
    uint64_t op_max;    /* greatest op that can have been submitted */
    struct history_check check;
    struct sighting *sightings; /* owned; ascending in both */
    size_t sighting_count;
};

/* --- reading --- */

static bool refuse(struct recording *recording, const char *format, ...) __attribute__((format(printf, 2, 3)));
static bool refuse(struct recording *recording, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(recording->report->why, sizeof(recording->report->why), format, args);
    va_end(args);
    recording->report->bad_line = recording->line;
    return false;
}

static bool read_node(struct recording *recording, struct slice name, uint32_t *ret_node)
{
    for (uint32_t i = recording->name_count; i > 0; i--) { /* few, and the newest are asked for most */
        if (slice_equal_str(name, recording->names[i - 1])) {
            *ret_node = i - 1;
            return true;
        }
    }
    if (recording->name_count == NODES_MAX) {
        return refuse(recording, "there are more than %u nodes", NODES_MAX);
    }
    if ((recording->name_count & (recording->name_count + 1)) == 0) { /* 0, 1, 3, 7, …: full */
        recording->names =
            realloc(recording->names, (2 * (size_t)recording->name_count + 1) * sizeof(*recording->names));
        ensure(recording->names != NULL);
    }
    char *copy = malloc(name.len + 1);
    ensure(copy != NULL);
    memcpy(copy, name.data, name.len);
    copy[name.len] = '\0';
    *ret_node = recording->name_count;
    recording->names[recording->name_count++] = copy;
    return true;
}

static uint64_t hash_of(struct recording *recording, struct json_value value)
{
    buf_reset(&recording->text);
    json_print(&recording->text, value);
    return hash64(buf_slice(&recording->text), 0);
}

/* One member into the record. False: told. */
static bool read_member(struct recording *recording, struct record *record, enum member member, struct json_value value)
{
    struct slice text = {0};
    uint64_t number = 0;
    bool is_text = json_get_str(value, &text);
    bool is_number = json_get_u64(value, &number);
    switch (member) {
    case HAS_OP:
        record->op = number;
        return (is_number && number >= 1) || refuse(recording, "op is a number from 1 on");
    case HAS_TASK:
        return (is_text && base32_parse(text, &record->task_id) && record->task_id != 0) ||
               refuse(recording, "task is an id of 13 letters and digits");
    case HAS_TOKEN:
        return (is_text && lease_token_parse(text, &record->token)) ||
               refuse(recording, "token is a lease's, TASK.ATTEMPT.ENTRY");
    case HAS_NODE:
        return is_text && text.len > 0 && memchr(text.data, 0, text.len) == NULL
                   ? read_node(recording, text, &record->node)
                   : refuse(recording, "node is a name");
    case HAS_SENT:
        record->sent_ns = number;
        return is_number || refuse(recording, "sent_ns is a number of nanoseconds");
    case HAS_ANSWERED:
        record->answered_ns = number;
        return is_number || refuse(recording, "answered_ns is a number of nanoseconds");
    case HAS_SEQ:
        record->seq = number;
        return is_number || refuse(recording, "seq is the number of an entry");
    case HAS_STATE:
        return (is_text && task_state_from_name(text, &record->state)) ||
               refuse(recording, "state is no state of a task");
    case HAS_RESULT:
        record->result_hash = hash_of(recording, value);
        return true;
    case HAS_DUPLICATE:
        return json_get_bool(value, &record->is_duplicate) || refuse(recording, "duplicate is true or false");
    case HAS_UNIQUE:
        record->unique = hash64(text, 1) | 1;
        return is_text || refuse(recording, "unique is a text");
    case HAS_ATTEMPT:
        record->attempt = (uint32_t)number;
        return (is_number && number >= 1 && number < UINT32_MAX) || refuse(recording, "attempt is a number from 1");
    }
    return refuse(recording, "a member is not known");
}

static bool read_what(struct recording *recording, struct json_value root, enum what *ret_what)
{
    struct json_value value;
    struct slice word;
    if (!json_member(root, "what", &value) || !json_get_str(value, &word)) {
        return refuse(recording, "a record is an object with \"what\"");
    }
    for (unsigned i = 0; i < WHAT_COUNT; i++) {
        if (slice_equal_str(word, whats[i].name)) {
            *ret_what = (enum what)i;
            return true;
        }
    }
    return refuse(recording, "there is no record \"%.*s\"", (int)(word.len < 40 ? word.len : 40), word.data);
}

/* Whether the members that are there belong together. */
static bool has_what_it_needs(struct recording *recording, const struct record *record)
{
    unsigned must = whats[record->what].must, may = must | whats[record->what].may;
    if (whats[record->what].answered != 0) {
        may |= HAS_ANSWERED | whats[record->what].answered;
        if ((record->has & (HAS_ANSWERED | whats[record->what].answered)) != 0) {
            must |= HAS_ANSWERED | whats[record->what].answered;
        }
    }
    for (unsigned i = 0; i < ARRAY_COUNT(member_names); i++) {
        if ((must & ~record->has & 1u << i) != 0) {
            return refuse(recording, "a record \"%s\" needs %s", whats[record->what].name, member_names[i]);
        }
        if ((record->has & ~may & 1u << i) != 0) {
            return refuse(recording, "a record \"%s\" has no %s", whats[record->what].name, member_names[i]);
        }
    }
    bool has_both = (record->has & HAS_SENT) != 0 && (record->has & HAS_ANSWERED) != 0;
    return !has_both || record->sent_ns <= record->answered_ns ||
           refuse(recording, "it was answered before it was sent");
}

static bool read_record(struct recording *recording, struct slice line, struct record *ret_record)
{
    struct json_value root, value;
    const char *reason = "";
    size_t offset = 0;
    *ret_record = (struct record){.line = recording->line, .result_hash = history_hash_nothing()};
    if (json_parse(recording->json, line, &root, &offset, &reason) != STATUS_OK) {
        return refuse(recording, "byte %zu: %s", offset + 1, reason);
    }
    if (!read_what(recording, root, &ret_record->what)) {
        return false;
    }
    struct json_iter it = json_iter_of(root);
    struct slice key;
    while (json_next(&it, &key, &value)) {
        unsigned i = 0;
        while (i < ARRAY_COUNT(member_names) && !slice_equal_str(key, member_names[i])) {
            i++;
        }
        if (slice_equal(key, SLICE("what"))) {
            continue;
        }
        if (i == ARRAY_COUNT(member_names)) {
            return refuse(recording, "there is no member \"%.*s\"", (int)(key.len < 40 ? key.len : 40), key.data);
        }
        if ((ret_record->has & 1u << i) != 0) {
            return refuse(recording, "%s stands there twice", member_names[i]);
        }
        ret_record->has |= 1u << i;
        if (!read_member(recording, ret_record, (enum member)(1u << i), value)) {
            return false;
        }
    }
    if (!has_what_it_needs(recording, ret_record)) {
        return false;
    }
    if ((ret_record->has & HAS_TOKEN) != 0) {
        ret_record->task_id = ret_record->token.task_id;
    }
    if (ret_record->what == LEASE) {
        ret_record->seq = ret_record->token.seq; /* the entry that made it is its fence */
    }
    return true;
}

static bool read_all(struct recording *recording, struct slice text)
{
    for (size_t at = 0; at < text.len;) {
        const char *end = memchr(text.data + at, '\n', text.len - at);
        size_t len = end != NULL ? (size_t)(end - text.data) - at : text.len - at;
        struct record record;
        recording->line++;
        if (!read_record(recording, slice_of(text.data + at, len), &record)) {
            return false;
        }
        if (recording->count == recording->cap) {
            recording->cap = recording->cap == 0 ? 4096 : recording->cap * 2;
            recording->records = realloc(recording->records, recording->cap * sizeof(*recording->records));
            ensure(recording->records != NULL);
        }
        recording->records[recording->count++] = record;
        at += len + 1;
    }
    return true;
}

/* --- what was seen when --- */

static int compare_sightings(const void *left, const void *right)
{
    const struct sighting *a = left, *b = right;
    return a->answered_ns < b->answered_ns ? -1 : a->answered_ns > b->answered_ns;
}

static void sort_sightings(struct recording *recording)
{
    recording->sightings = malloc((recording->count + 1) * sizeof(*recording->sightings));
    ensure(recording->sightings != NULL);
    for (size_t i = 0; i < recording->count; i++) {
        const struct record *record = &recording->records[i];
        if ((record->has & HAS_ANSWERED) != 0 && record->seq > 0) {
            recording->sightings[recording->sighting_count++] = (struct sighting){record->answered_ns, record->seq};
        }
    }
    qsort(recording->sightings, recording->sighting_count, sizeof(*recording->sightings), compare_sightings);
    for (size_t i = 1; i < recording->sighting_count; i++) {
        if (recording->sightings[i].seq < recording->sightings[i - 1].seq) {
            recording->sightings[i].seq = recording->sightings[i - 1].seq;
        }
    }
}

/* The greatest entry of which anybody had been told something before `at_ns`; 0: none. */
static uint64_t seen_before(const struct recording *recording, uint64_t at_ns)
{
    size_t low = 0, high = recording->sighting_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (recording->sightings[middle].answered_ns < at_ns) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low > 0 ? recording->sightings[low - 1].seq : 0;
}

/* --- judging --- */

static void on_violated(void *ctx, const char *rule, const char *why)
{
    const struct recording *recording = ctx;
    recording->hooks->violated(recording->hooks->ctx, recording->line, rule, why);
}

static const char *name_of_node(void *ctx, uint32_t node)
{
    const struct recording *recording = ctx;
    return node < recording->name_count ? recording->names[node] : "nobody";
}

static int compare_records(const void *left, const void *right)
{
    const struct record *a = left, *b = right;
    if (a->seq != b->seq) {
        return a->seq < b->seq ? -1 : 1;
    }
    if (a->what != b->what) {
        return a->what < b->what ? -1 : 1;
    }
    return a->line < b->line ? -1 : a->line > b->line;
}

/* All submits first: an op may be seen by others before anybody answered its client. */
static void make_ops(struct recording *recording)
{
    for (size_t i = 0; i < recording->count; i++) {
        const struct record *record = &recording->records[i];
        if (record->what == SUBMIT && record->op <= recording->count && record->op > recording->op_max) {
            recording->op_max = record->op; /* each has a record, so one past their count skips some that have none */
        }
    }
    recording->is_submitted = calloc(recording->op_max + 1, sizeof(*recording->is_submitted));
    ensure(recording->is_submitted != NULL);
    for (uint64_t op = 1; op <= recording->op_max; op++) {
        uint64_t number = history_op_new(&recording->check, 0);
        ensure(number == op);
    }
    for (size_t i = 0; i < recording->count; i++) {
        const struct record *record = &recording->records[i];
        if (record->what == SUBMIT) {
            recording->report->submits++;
            recording->is_submitted[record->op] = true;
            history_op_at(&recording->check, record->op)->unique = record->unique;
        }
        if (record->what == RETRY && record->op <= recording->op_max) {
            history_want_retry(&recording->check, record->op);
        }
    }
}

/* The number for the rules: 0, which is nobody's, when no client submitted it. */
static uint64_t number_of(const struct recording *recording, const struct record *record)
{
    return record->op <= recording->op_max && recording->is_submitted[record->op] ? record->op : 0;
}

/* Clients that will not ask again, and numbers that no client used. */
static void give_up(struct recording *recording)
{
    for (size_t i = 0; i < recording->count; i++) {
        uint64_t number = recording->records[i].what == GIVE_UP ? number_of(recording, &recording->records[i]) : 0;
        if (number != 0) {
            history_see_give_up(&recording->check, number);
            recording->report->given_up++;
        }
    }
    for (uint64_t op = 1; op <= recording->op_max; op++) {
        if (!recording->is_submitted[op]) {
            history_see_give_up(&recording->check, op);
        }
    }
}

static void apply_lease(struct recording *recording, const struct record *record, uint64_t number)
{
    struct history_op *op = history_op_at(&recording->check, number);
    bool is_again =
        op->task_id == record->task_id && op->lease_seq == record->token.seq && op->attempt == record->token.attempt;
    if (is_again || history_see_lease(&recording->check, number, &record->token)) {
        history_see_delivery(&recording->check, number, &record->token, record->node);
    }
    recording->report->leases++;
}

static void apply(struct recording *recording, const struct record *record)
{
    uint64_t number = number_of(recording, record);
    struct history_check *check = &recording->check;
    struct history_file_report *report = recording->report;
    uint64_t floor = (record->has & HAS_SENT) != 0 ? seen_before(recording, record->sent_ns) : 0;
    recording->line = record->line;
    bool is_answered = (record->has & HAS_ANSWERED) != 0;
    if (record->what == END || record->what == GIVE_UP || (record->what == SUBMIT && !is_answered)) {
        return;
    }
    if (record->what != READ && record->what != ROW && is_answered && (record->has & HAS_SEQ) != 0 &&
        record->seq < floor) {
        char why[160];
        snprintf(why, sizeof(why), "a %s is answered at entry %" PRIu64 " after somebody had seen entry %" PRIu64,
                 whats[record->what].name, record->seq, floor);
        check->violations++;
        on_violated(recording, "J1", why);
    }
    /* Whom a submit's task belongs to, its answer tells; all others name both. */
    if (record->what != SUBMIT && !history_see_task(check, number, record->task_id)) {
        return;
    }
    struct history_shown shown = {record->seq, record->state, record->result_hash};
    switch (record->what) {
    case SUBMIT:
        history_see_ack(check, number, record->task_id, record->seq, record->is_duplicate);
        break;
    case LEASE:
        apply_lease(recording, record, number);
        break;
    case COMPLETE:
        history_see_complete(check, number, &record->token, record->node, record->seq, record->result_hash);
        report->completes++;
        break;
    case REFUSED:
        history_see_refused(check, number, &record->token);
        report->refused++;
        break;
    case CANCEL:
        history_see_cancel(check, number, record->seq);
        report->cancels++;
        break;
    case RETRY:
        if (is_answered) {
            history_see_retry(check, number, record->seq);
        }
        break;
    case READ:
        history_see_read(check, number, floor, &shown);
        report->reads++;
        break;
    case MISSING:
        history_see_missing(check, number);
        break;
    case ROW:
        history_see_read(check, number, floor, &shown);
        history_see_listed(check, number, record->attempt);
        history_see_row(
            check, &(struct history_row){number, record->task_id, record->seq, record->result_hash, record->state});
        report->rows++;
        break;
    case GIVE_UP:
    case END:
    case WHAT_COUNT:
        break;
    }
}

static void judge(struct recording *recording)
{
    struct history_file_report *report = recording->report;
    history_check_init(&recording->check, &(struct history_check_hooks){on_violated, name_of_node, recording});
    make_ops(recording);
    sort_sightings(recording);
    if (recording->count > 0) { /* else there is no array, which qsort must not be given */
        qsort(recording->records, recording->count, sizeof(*recording->records), compare_records);
    }
    for (size_t i = 0; i < recording->count; i++) {
        report->has_end = report->has_end || recording->records[i].what == END;
        apply(recording, &recording->records[i]);
    }
    give_up(recording);
    recording->line = 0;
    if (report->has_end) {
        history_see_end(&recording->check);
    }
    for (size_t i = 0; i < recording->check.op_count; i++) {
        const struct history_op *op = &recording->check.ops[i];
        report->acked += op->is_acked;
        report->aliases += op->is_alias;
        report->tasks += op->task_id != 0;
    }
    report->records = recording->count;
    report->violations = recording->check.violations;
    history_check_free(&recording->check);
}

enum status history_file_check(struct slice text, const struct history_file_hooks *hooks,
                               struct history_file_report *ret_report)
{
    *ret_report = (struct history_file_report){0};
    struct recording recording = {.hooks = hooks, .report = ret_report, .json = json_parser_new()};
    if (recording.json == NULL) {
        return STATUS_NO_MEMORY;
    }
    buf_init(&recording.text, 64u << 20);
    bool is_whole = read_all(&recording, text);
    if (is_whole) {
        judge(&recording);
    }
    for (uint32_t i = 0; i < recording.name_count; i++) {
        free(recording.names[i]);
    }
    free(recording.names);
    free(recording.records);
    free(recording.sightings);
    free(recording.is_submitted);
    buf_free(&recording.text);
    json_parser_free(recording.json);
    return is_whole ? STATUS_OK : STATUS_INVALID;
}
