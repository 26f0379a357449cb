/* work.c - what a node says, read by the hub; work_write.c writes the messages of both ends, work_answer.c reads the hub's.
 *
 * What a node says is checked to the last member before anything is made of it: an unknown member, a value out of its
 * range or a string past its limit refuses the whole message and names the place (RFC 6901). What a hub says is read
 * more loosely, because the hub may be newer than its nodes.
 *
 * A node's message becomes a command of command.h. Strings of the command point into the parser's document; what has to
 * change its form (outcomes, held tokens, info) is encoded into the caller's scratch buffer. The scratch may move while it grows,
 * so offsets are kept until the message is complete and turned into slices at the very end. */
#include "proto/work.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/ensure.h"
#include "proto/name.h"

#define INFO_SIZE_MAX 4096 /* command_node_hello.info */

/* --- saying what is wrong --- */

__attribute__((format(printf, 4, 5))) static enum status wrong(struct field_error *error, enum status status,
                                                               const char *pointer, const char *detail_format, ...)
{
    error->status = status;
    snprintf(error->pointer, sizeof(error->pointer), "%s", pointer);
    va_list args;
    va_start(args, detail_format);
    vsnprintf(error->detail, sizeof(error->detail), detail_format, args);
    va_end(args);
    return status;
}

/* The same for a member of the object at `pointer`, with the name escaped as RFC 6901 wants it. */
__attribute__((format(printf, 5, 6))) static enum status wrong_member(struct field_error *error, enum status status,
                                                                      const char *pointer, struct slice name,
                                                                      const char *detail_format, ...)
{
    char full[sizeof(error->pointer)];
    size_t len = (size_t)snprintf(full, sizeof(full), "%s/", pointer);
    len = len < sizeof(full) ? len : sizeof(full) - 1;
    for (size_t i = 0; i < name.len && len + 3 < sizeof(full); i++) {
        char c = name.data[i];
        if (c == '~' || c == '/') {
            full[len++] = '~';
            full[len++] = c == '~' ? '0' : '1';
        } else {
            full[len++] = c;
        }
    }
    full[len] = '\0';
    char detail[sizeof(error->detail)];
    va_list args;
    va_start(args, detail_format);
    vsnprintf(detail, sizeof(detail), detail_format, args);
    va_end(args);
    return wrong(error, status, full, "%s", detail);
}

static enum status wrong_memory(struct field_error *error, const struct buf *buf)
{
    return wrong(error, buf_status(buf) == STATUS_OK ? STATUS_NO_MEMORY : buf_status(buf), "",
                 "the message does not fit into memory");
}

/* --- reading values with their limits --- */

static bool read_name(struct json_value value, struct slice *ret_name)
{
    return json_get_str(value, ret_name) && name_is_valid(*ret_name);
}

static bool read_label(struct json_value value, struct slice *ret_label)
{
    return json_get_str(value, ret_label) && label_is_valid(*ret_label);
}

/* The kind of an error: a label without spaces. */
static bool read_word(struct json_value value, struct slice *ret_word)
{
    return read_label(value, ret_word) && memchr(ret_word->data, ' ', ret_word->len) == NULL;
}

static bool read_u32(struct json_value value, uint32_t max, uint32_t *ret)
{
    int64_t number;
    if (!json_get_i64(value, &number) || number < 0 || number > (int64_t)max) {
        return false;
    }
    *ret = (uint32_t)number;
    return true;
}

static bool read_text(struct json_value value, size_t size_max, struct slice *ret)
{
    struct slice text;
    if (!json_get_str(value, &text) || text.len > size_max) {
        return false;
    }
    *ret = text;
    return true;
}

static bool read_hex_u64(struct json_value value, uint64_t *ret)
{
    struct slice text;
    if (!json_get_str(value, &text) || text.len == 0 || text.len > 16) {
        return false;
    }
    uint64_t number = 0;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i];
        unsigned digit;
        if (c >= '0' && c <= '9') {
            digit = (unsigned)(c - '0');
        } else if (c >= 'a' && c <= 'f') {
            digit = (unsigned)(c - 'a') + 10;
        } else if (c >= 'A' && c <= 'F') {
            digit = (unsigned)(c - 'A') + 10;
        } else {
            return false;
        }
        number = number << 4 | digit;
    }
    *ret = number;
    return true;
}

/* Every member of every object here that is read one by one. */
static const char *const member_names[] = {
    "type",
    "node",
    "instance",
    "owner",
    "start",
    "key",
    "kinds",
    "labels",
    "cpu_milli",
    "memory_mib",
    "gpu",
    "held",
    "info",
    "n",
    "load",
    "credit",
    "credit_set",
    "outcomes",
    "kind",
    "message",
    "detail",
    "cpu_permille",
    "memory_used_mib",
    "running",
};
static_assert(ARRAY_COUNT(member_names) <= 64, "a bit for each");

/* Two members of one name are refused: whichever counted, somebody on the way could have read the other one. `seen` has a
 * bit for each name of this object that came already. Names that are not known here are not looked at. */
static enum status check_first(const char *pointer, struct slice key, uint64_t *seen, struct field_error *error)
{
    for (size_t i = 0; i < ARRAY_COUNT(member_names); i++) {
        if (!slice_equal_str(key, member_names[i])) {
            continue;
        }
        if ((*seen >> i & 1) != 0) {
            return wrong_member(error, STATUS_INVALID, pointer, key, "given twice");
        }
        *seen |= UINT64_C(1) << i;
    }
    return STATUS_OK;
}

/* Notes a token as it was said; one that the hub has not sealed means no lease from here on. */
static struct lease_token take_token(const struct work_tokens *tokens, struct lease_token token)
{
    if (tokens == NULL) {
        return token;
    }
    buf_append(tokens->said, &token, sizeof(token));
    if (tokens->key == NULL || !lease_token_is_sealed(tokens->key, &token)) {
        token.seq = 0;
    }
    return token;
}

/* --- outcomes --- */

enum outcome_member {
    MEMBER_TOKEN = 1 << 0,
    MEMBER_OUTCOME = 1 << 1,
    MEMBER_RESULT = 1 << 2,
    MEMBER_ERROR = 1 << 3,
    MEMBER_FINAL = 1 << 4,
    MEMBER_LEASE_MS = 1 << 5,
    MEMBER_PERMILLE = 1 << 6,
    MEMBER_NOTE = 1 << 7,
    MEMBER_CHECKPOINT = 1 << 8,
    MEMBER_MESSAGE = 1 << 9
};

static const struct {
    const char *name;
    enum outcome_member bit;
} outcome_members[] = {
    {"token", MEMBER_TOKEN},       {"outcome", MEMBER_OUTCOME}, {"result", MEMBER_RESULT},
    {"error", MEMBER_ERROR},       {"final", MEMBER_FINAL},     {"lease_ms", MEMBER_LEASE_MS},
    {"permille", MEMBER_PERMILLE}, {"note", MEMBER_NOTE},       {"checkpoint", MEMBER_CHECKPOINT},
    {"message", MEMBER_MESSAGE},
};

/* The word of each outcome, and the members it takes besides token and outcome. */
static const struct {
    const char *name;
    enum outcome_type type;
    unsigned members;
} outcome_types[] = {
    {"complete", OUTCOME_COMPLETE, MEMBER_RESULT},
    {"fail", OUTCOME_FAIL, MEMBER_ERROR | MEMBER_FINAL},
    {"extend", OUTCOME_EXTEND, MEMBER_LEASE_MS},
    {"progress", OUTCOME_PROGRESS, MEMBER_PERMILLE | MEMBER_NOTE | MEMBER_CHECKPOINT | MEMBER_LEASE_MS},
    {"release", OUTCOME_RELEASE, MEMBER_MESSAGE},
};

/* Prints a JSON payload into `payload` (emptied before) and refuses one past the limit of inline payloads. */
static enum status take_payload(struct json_value value, const char *pointer, const char *name, struct buf *payload,
                                struct field_error *error)
{
    buf_reset(payload);
    json_print(payload, value);
    if (buf_status(payload) == STATUS_OK) {
        return STATUS_OK;
    }
    if (buf_status(payload) == STATUS_TOO_LARGE) {
        return wrong_member(error, STATUS_TOO_LARGE, pointer, slice_str(name),
                            "at most %d bytes of JSON; put more into a blob", LIMIT_INPUT_SIZE);
    }
    return wrong_memory(error, payload);
}

/* "error": {"kind", "message", "detail"} */
static enum status read_error_member(struct json_value value, const char *pointer, struct outcome *outcome,
                                     struct buf *payload, struct field_error *error)
{
    if (json_type_of(value) != JSON_OBJECT) {
        return wrong_member(error, STATUS_INVALID, pointer, SLICE("error"), "must be an object");
    }
    char inner[sizeof(error->pointer)];
    snprintf(inner, sizeof(inner), "%.*s/error", (int)sizeof(inner) - 7, pointer);
    uint64_t seen = 0;
    struct slice key;
    struct json_value member;
    for (struct json_iter it = json_iter_of(value); json_next(&it, &key, &member);) {
        enum status first = check_first(inner, key, &seen, error);
        if (first != STATUS_OK) {
            return first;
        }
        if (slice_equal_str(key, "kind")) {
            if (!read_word(member, &outcome->error_kind)) {
                return wrong_member(error, STATUS_INVALID, inner, key, "must be a word of 1 to %d bytes",
                                    LIMIT_NAME_SIZE);
            }
        } else if (slice_equal_str(key, "message")) {
            if (!read_text(member, LIMIT_ERROR_SIZE, &outcome->message)) {
                return wrong_member(error, STATUS_INVALID, inner, key, "must be a string of at most %d bytes",
                                    LIMIT_ERROR_SIZE);
            }
        } else if (slice_equal_str(key, "detail")) {
            enum status status = take_payload(member, inner, "detail", payload, error);
            if (status != STATUS_OK) {
                return status;
            }
            outcome->payload = buf_slice(payload);
        } else {
            return wrong_member(error, STATUS_UNKNOWN_FIELD, inner, key, "is not known here");
        }
    }
    return STATUS_OK;
}

static enum status read_outcome_member(enum outcome_member bit, struct slice key, struct json_value value,
                                       const char *pointer, struct outcome *outcome, struct buf *payload,
                                       struct field_error *error)
{
    struct slice text;
    uint32_t number;
    enum status status;
    switch (bit) {
    case MEMBER_TOKEN:
        if (!json_get_str(value, &text) || !lease_token_parse(text, &outcome->token)) {
            return wrong_member(error, STATUS_INVALID, pointer, key, "must be the token of a lease");
        }
        return STATUS_OK;
    case MEMBER_OUTCOME:
        if (json_get_str(value, &text)) {
            for (size_t i = 0; i < ARRAY_COUNT(outcome_types); i++) {
                if (slice_equal_str(text, outcome_types[i].name)) {
                    outcome->type = outcome_types[i].type;
                    return STATUS_OK;
                }
            }
        }
        return wrong_member(error, STATUS_INVALID, pointer, key,
                            "must be \"complete\", \"fail\", \"extend\", \"progress\" or \"release\"");
    case MEMBER_RESULT:
    case MEMBER_CHECKPOINT:
        status = take_payload(value, pointer, bit == MEMBER_RESULT ? "result" : "checkpoint", payload, error);
        if (status == STATUS_OK) {
            outcome->payload = buf_slice(payload);
        }
        return status;
    case MEMBER_ERROR:
        return read_error_member(value, pointer, outcome, payload, error);
    case MEMBER_FINAL:
        if (!json_get_bool(value, &outcome->is_final)) {
            return wrong_member(error, STATUS_INVALID, pointer, key, "must be true or false");
        }
        return STATUS_OK;
    case MEMBER_LEASE_MS:
        if (!json_get_i64(value, &outcome->lease_ms) ||
            (outcome->lease_ms != 0 &&
             (outcome->lease_ms < LIMIT_LEASE_MS_MIN || outcome->lease_ms > LIMIT_LEASE_MS_MAX))) {
            return wrong_member(error, STATUS_INVALID, pointer, key, "must be 0 or %d to %d", LIMIT_LEASE_MS_MIN,
                                LIMIT_LEASE_MS_MAX);
        }
        return STATUS_OK;
    case MEMBER_PERMILLE:
        if (!read_u32(value, 1000, &number)) {
            return wrong_member(error, STATUS_INVALID, pointer, key, "must be 0 to 1000");
        }
        outcome->progress_permille = (uint16_t)number;
        return STATUS_OK;
    case MEMBER_NOTE:
        if (!read_text(value, LIMIT_PROGRESS_SIZE, &outcome->message)) {
            return wrong_member(error, STATUS_INVALID, pointer, key, "must be a string of at most %d bytes",
                                LIMIT_PROGRESS_SIZE);
        }
        return STATUS_OK;
    case MEMBER_MESSAGE:
        if (!read_text(value, LIMIT_ERROR_SIZE, &outcome->message)) {
            return wrong_member(error, STATUS_INVALID, pointer, key, "must be a string of at most %d bytes",
                                LIMIT_ERROR_SIZE);
        }
        return STATUS_OK;
    }
    return STATUS_OK;
}

static enum status decode_outcome(struct json_value value, const char *pointer, const struct work_tokens *tokens,
                                  struct buf *payload, struct buf *out, struct field_error *error)
{
    if (json_type_of(value) != JSON_OBJECT) {
        return wrong(error, STATUS_INVALID, pointer, "must be an object");
    }
    struct outcome outcome = {0};
    unsigned seen = 0;
    struct slice key;
    struct json_value member;
    for (struct json_iter it = json_iter_of(value); json_next(&it, &key, &member);) {
        size_t i = 0;
        while (i < ARRAY_COUNT(outcome_members) && !slice_equal_str(key, outcome_members[i].name)) {
            i++;
        }
        if (i == ARRAY_COUNT(outcome_members)) {
            return wrong_member(error, STATUS_UNKNOWN_FIELD, pointer, key, "is not known here");
        }
        if ((seen & outcome_members[i].bit) != 0) {
            return wrong_member(error, STATUS_INVALID, pointer, key, "given twice");
        }
        seen |= outcome_members[i].bit;
        enum status status =
            read_outcome_member(outcome_members[i].bit, key, member, pointer, &outcome, payload, error);
        if (status != STATUS_OK) {
            return status;
        }
    }
    if ((seen & MEMBER_TOKEN) == 0) {
        return wrong_member(error, STATUS_INVALID, pointer, SLICE("token"), "is missing");
    }
    if ((seen & MEMBER_OUTCOME) == 0) {
        return wrong_member(error, STATUS_INVALID, pointer, SLICE("outcome"), "is missing");
    }
    unsigned allowed = MEMBER_TOKEN | MEMBER_OUTCOME;
    const char *word = "";
    for (size_t i = 0; i < ARRAY_COUNT(outcome_types); i++) {
        if (outcome_types[i].type == outcome.type) {
            allowed |= outcome_types[i].members;
            word = outcome_types[i].name;
        }
    }
    for (size_t i = 0; i < ARRAY_COUNT(outcome_members); i++) {
        if ((seen & ~allowed & outcome_members[i].bit) != 0) {
            return wrong_member(error, STATUS_UNKNOWN_FIELD, pointer, slice_str(outcome_members[i].name),
                                "does not belong to \"%s\"", word);
        }
    }
    if (outcome.type == OUTCOME_COMPLETE && outcome.payload.len == 0) {
        outcome.payload = SLICE("null");
    }
    if (outcome.type == OUTCOME_FAIL && outcome.error_kind.len == 0) {
        outcome.error_kind = SLICE("failed");
    }
    outcome.token = take_token(tokens, outcome.token);
    outcome_put(out, &outcome);
    return STATUS_OK;
}

/* Keeps why an outcome is refused, with its token if that can be read. */
static void keep_bad(struct json_value value, uint32_t ordinal, const struct field_error *error, struct buf *bad)
{
    struct work_bad_outcome item = {.ordinal = ordinal, .error = *error};
    struct json_value token;
    struct slice text;
    item.has_token =
        json_member(value, "token", &token) && json_get_str(token, &text) && lease_token_parse(text, &item.token);
    buf_append(bad, &item, sizeof(item));
}

enum status work_outcomes_decode(struct json_value array, const char *pointer, const struct work_tokens *tokens,
                                 struct buf *out, uint32_t *ret_count, struct buf *bad, struct field_error *ret_error)
{
    if (json_type_of(array) != JSON_ARRAY) {
        return wrong(ret_error, STATUS_INVALID, pointer, "must be an array");
    }
    if (json_count(array) > WORK_LIST_MAX) {
        return wrong(ret_error, STATUS_INVALID, pointer, "at most %d outcomes at a time", WORK_LIST_MAX);
    }
    struct buf payload;
    buf_init(&payload, LIMIT_INPUT_SIZE);
    bool is_alone = bad == NULL || json_count(array) == 1;
    uint32_t ordinal = 0, count = 0;
    enum status status = STATUS_OK;
    struct slice key;
    struct json_value value;
    for (struct json_iter it = json_iter_of(array); status == STATUS_OK && json_next(&it, &key, &value); ordinal++) {
        char place[sizeof(ret_error->pointer)];
        snprintf(place, sizeof(place), "%s/%" PRIu32, pointer, ordinal);
        size_t said = tokens != NULL ? tokens->said->len : 0;
        status = decode_outcome(value, place, tokens, &payload, out, ret_error);
        count += status == STATUS_OK;
        bool is_its_fault = status == STATUS_INVALID || status == STATUS_UNKNOWN_FIELD || status == STATUS_TOO_LARGE;
        if (is_its_fault && !is_alone) {
            keep_bad(value, ordinal, ret_error, bad);
            if (tokens != NULL) {
                tokens->said->len = said; /* those of outcomes that are ones */
            }
            status = buf_status(bad) == STATUS_OK ? STATUS_OK : wrong_memory(ret_error, bad);
        }
    }
    buf_free(&payload);
    if (status == STATUS_OK && buf_status(out) != STATUS_OK) {
        status = wrong_memory(ret_error, out);
    }
    if (status == STATUS_OK && tokens != NULL && buf_status(tokens->said) != STATUS_OK) {
        status = wrong_memory(ret_error, tokens->said);
    }
    if (status == STATUS_OK) {
        *ret_count = count;
    }
    return status;
}

/* --- messages of a node --- */

static enum status decode_names(struct json_value array, struct slice member, struct slice *ret_names, uint32_t max,
                                uint32_t *ret_count, struct field_error *error)
{
    bool is_labels = slice_equal(member, SLICE("labels"));
    if (json_type_of(array) != JSON_ARRAY || json_count(array) > max) {
        return wrong_member(error, STATUS_INVALID, "", member, "must be an array of at most %" PRIu32 " names", max);
    }
    uint32_t count = 0;
    struct slice key;
    struct json_value value;
    for (struct json_iter it = json_iter_of(array); json_next(&it, &key, &value); count++) {
        if (!(is_labels ? read_label : read_name)(value, &ret_names[count])) {
            char place[sizeof(error->pointer)];
            snprintf(place, sizeof(place), "/%.*s/%" PRIu32, SLICE_ARG(member), count);
            return is_labels ? wrong(error, STATUS_INVALID, place,
                                     "must be a text of 1 to %d bytes without control characters", LIMIT_NAME_SIZE)
                             : wrong(error, STATUS_INVALID, place, "must be " NAME_RULE);
        }
    }
    *ret_count = count;
    return STATUS_OK;
}

struct hello_places { /* where in the scratch buffer the encoded parts begin and end */
    size_t held, info, info_len;
};

static enum status decode_held(struct json_value array, struct buf *scratch, const struct work_tokens *tokens,
                               struct work_message *message, struct field_error *error)
{
    if (json_type_of(array) != JSON_ARRAY || json_count(array) > WORK_LIST_MAX) {
        return wrong(error, STATUS_INVALID, "/held", "must be an array of at most %d tokens", WORK_LIST_MAX);
    }
    uint32_t count = 0;
    struct slice key, text;
    struct json_value value;
    for (struct json_iter it = json_iter_of(array); json_next(&it, &key, &value); count++) {
        struct lease_token token;
        if (!json_get_str(value, &text) || !lease_token_parse(text, &token)) {
            char place[sizeof(error->pointer)];
            snprintf(place, sizeof(place), "/held/%" PRIu32, count);
            return wrong(error, STATUS_INVALID, place, "must be the token of a lease");
        }
        token = take_token(tokens, token);
        lease_token_put(scratch, &token);
    }
    message->hello.held_count = count;
    return STATUS_OK;
}

static enum status decode_hello_member(struct slice key, struct json_value value, struct buf *scratch,
                                       const struct work_tokens *tokens, struct work_message *message,
                                       struct hello_places *places, struct field_error *error)
{
    struct command_node_hello *hello = &message->hello;
    struct requirement *facts = &hello->facts;
    if (slice_equal_str(key, "node")) {
        return read_name(value, &hello->node) ? STATUS_OK
                                              : wrong_member(error, STATUS_INVALID, "", key, "must be " NAME_RULE);
    }
    if (slice_equal_str(key, "start")) {
        return json_get_u64(value, &hello->start)
                   ? STATUS_OK
                   : wrong_member(error, STATUS_INVALID, "", key, "must be a whole number that is not negative");
    }
    if (slice_equal_str(key, "instance") || slice_equal_str(key, "owner")) {
        return read_hex_u64(value, key.data[0] == 'i' ? &hello->instance : &hello->owner)
                   ? STATUS_OK
                   : wrong_member(error, STATUS_INVALID, "", key, "must be 1 to 16 hexadecimal digits in a string");
    }
    if (slice_equal_str(key, "key")) {
        return read_text(value, LIMIT_KEY_SIZE, &message->key)
                   ? STATUS_OK
                   : wrong_member(error, STATUS_INVALID, "", key, "must be a string of at most %d bytes",
                                  LIMIT_KEY_SIZE);
    }
    if (slice_equal_str(key, "kinds")) {
        return decode_names(value, key, hello->kinds, LIMIT_KINDS_PER_NODE, &hello->kind_count, error);
    }
    if (slice_equal_str(key, "labels")) {
        return decode_names(value, key, facts->labels, LIMIT_LABELS, &facts->label_count, error);
    }
    if (slice_equal_str(key, "cpu_milli") || slice_equal_str(key, "memory_mib") || slice_equal_str(key, "gpu")) {
        uint32_t *field = key.data[0] == 'c'   ? &facts->cpu_milli
                          : key.data[0] == 'm' ? &facts->memory_mib
                                               : &facts->gpu;
        return read_u32(value, UINT32_MAX, field)
                   ? STATUS_OK
                   : wrong_member(error, STATUS_INVALID, "", key, "must be 0 to %" PRIu32, UINT32_MAX);
    }
    if (slice_equal_str(key, "credit")) {
        return read_u32(value, LIMIT_CREDIT, &hello->credit)
                   ? STATUS_OK
                   : wrong_member(error, STATUS_INVALID, "", key, "must be 0 to %d", LIMIT_CREDIT);
    }
    if (slice_equal_str(key, "held")) {
        places->held = scratch->len;
        return decode_held(value, scratch, tokens, message, error);
    }
    if (slice_equal_str(key, "info")) {
        if (json_type_of(value) != JSON_OBJECT) {
            return wrong_member(error, STATUS_INVALID, "", key, "must be an object");
        }
        places->info = scratch->len;
        json_print(scratch, value);
        places->info_len = scratch->len - places->info;
        return places->info_len <= INFO_SIZE_MAX
                   ? STATUS_OK
                   : wrong_member(error, STATUS_INVALID, "", key, "at most %d bytes of JSON", INFO_SIZE_MAX);
    }
    return wrong_member(error, STATUS_UNKNOWN_FIELD, "", key, "is not known here");
}

static enum status decode_hello(struct json_value root, struct buf *scratch, const struct work_tokens *tokens,
                                struct work_message *message, struct field_error *error)
{
    struct hello_places places = {0};
    bool has_instance = false;
    uint64_t seen = 0;
    struct slice key;
    struct json_value value;
    for (struct json_iter it = json_iter_of(root); json_next(&it, &key, &value);) {
        enum status status = check_first("", key, &seen, error);
        if (status == STATUS_OK && !slice_equal_str(key, "type")) {
            status = decode_hello_member(key, value, scratch, tokens, message, &places, error);
        }
        has_instance |= slice_equal_str(key, "instance");
        if (status != STATUS_OK) {
            return status;
        }
    }
    if (message->hello.node.len == 0) {
        return wrong(error, STATUS_INVALID, "/node", "is missing");
    }
    if (!has_instance) {
        return wrong(error, STATUS_INVALID, "/instance", "is missing");
    }
    if (buf_status(scratch) != STATUS_OK || (tokens != NULL && buf_status(tokens->said) != STATUS_OK)) {
        return wrong_memory(error, buf_status(scratch) != STATUS_OK ? scratch : tokens->said);
    }
    if (message->hello.held_count > 0) {
        message->hello.held = scratch->data + places.held;
    }
    message->hello.info = places.info_len > 0 ? slice_of(scratch->data + places.info, places.info_len) : SLICE("{}");
    return STATUS_OK;
}

static enum status decode_report_members(struct json_value root, struct buf *scratch, const struct work_tokens *tokens,
                                         struct buf *bad, struct command_node_report *report, struct field_error *error)
{
    uint64_t seen = 0;
    struct slice key;
    struct json_value value;
    for (struct json_iter it = json_iter_of(root); json_next(&it, &key, &value);) {
        enum status status = check_first("", key, &seen, error);
        if (status != STATUS_OK) {
            return status;
        }
        if (slice_equal_str(key, "type")) {
            continue;
        } else if (slice_equal_str(key, "credit")) {
            if (!read_u32(value, LIMIT_CREDIT, &report->credit_add)) {
                status = wrong_member(error, STATUS_INVALID, "", key, "must be 0 to %d", LIMIT_CREDIT);
            }
        } else if (slice_equal_str(key, "credit_set")) {
            report->has_credit = true;
            if (!read_u32(value, LIMIT_CREDIT, &report->credit_set)) {
                status = wrong_member(error, STATUS_INVALID, "", key, "must be 0 to %d", LIMIT_CREDIT);
            }
        } else if (slice_equal_str(key, "outcomes")) {
            status = work_outcomes_decode(value, "/outcomes", tokens, scratch, &report->outcome_count, bad, error);
        } else {
            status = wrong_member(error, STATUS_UNKNOWN_FIELD, "", key, "is not known here");
        }
        if (status != STATUS_OK) {
            return status;
        }
    }
    return STATUS_OK;
}

static enum status decode_report(struct json_value root, struct buf *scratch, const struct work_tokens *tokens,
                                 struct work_message *message, struct field_error *error)
{
    struct buf bad;
    buf_init(&bad, WORK_LIST_MAX * sizeof(struct work_bad_outcome));
    size_t begin = scratch->len;
    enum status status = decode_report_members(root, scratch, tokens, &bad, &message->report, error);
    size_t end = scratch->len;
    buf_append_slice(scratch, buf_slice(&bad));
    buf_free(&bad);
    if (status == STATUS_OK && buf_status(scratch) != STATUS_OK) {
        status = wrong_memory(error, scratch);
    }
    if (status == STATUS_OK && scratch->len > begin) {
        message->report.outcomes = slice_of(scratch->data + begin, end - begin);
        message->bad = slice_of(scratch->data + end, scratch->len - end);
    }
    return status;
}

static enum status decode_load(struct json_value value, struct work_load *load, struct field_error *error)
{
    if (json_type_of(value) != JSON_OBJECT) {
        return wrong(error, STATUS_INVALID, "/load", "must be an object");
    }
    uint64_t seen = 0;
    struct slice key;
    struct json_value member;
    for (struct json_iter it = json_iter_of(value); json_next(&it, &key, &member);) {
        enum status status = check_first("/load", key, &seen, error);
        if (status != STATUS_OK) {
            return status;
        }
        uint32_t *field = slice_equal_str(key, "cpu_permille")      ? &load->cpu_permille
                          : slice_equal_str(key, "memory_used_mib") ? &load->memory_used_mib
                          : slice_equal_str(key, "running")         ? &load->running
                                                                    : NULL;
        if (field == NULL) {
            return wrong_member(error, STATUS_UNKNOWN_FIELD, "/load", key, "is not known here");
        }
        if (!read_u32(member, field == &load->cpu_permille ? 1000 : UINT32_MAX, field)) {
            return wrong_member(error, STATUS_INVALID, "/load", key, "must be a whole number in its range");
        }
    }
    load->is_known = true;
    return STATUS_OK;
}

/* BEAT, CREDIT and LEAVE: at most one member besides "type". */
static enum status decode_short(struct json_value root, struct work_message *message, struct field_error *error)
{
    bool has_credit = false;
    uint64_t seen = 0;
    struct slice key;
    struct json_value value;
    for (struct json_iter it = json_iter_of(root); json_next(&it, &key, &value);) {
        enum status status = check_first("", key, &seen, error);
        if (status != STATUS_OK) {
            return status;
        }
        if (slice_equal_str(key, "type")) {
            continue;
        }
        if (message->type == WORK_BEAT && slice_equal_str(key, "load")) {
            status = decode_load(value, &message->load, error);
        } else if (message->type == WORK_CREDIT && slice_equal_str(key, "n")) {
            has_credit = true;
            if (!read_u32(value, LIMIT_CREDIT, &message->credit)) {
                status = wrong_member(error, STATUS_INVALID, "", key, "must be 0 to %d", LIMIT_CREDIT);
            }
        } else {
            status = wrong_member(error, STATUS_UNKNOWN_FIELD, "", key, "is not known here");
        }
        if (status != STATUS_OK) {
            return status;
        }
    }
    if (message->type == WORK_CREDIT && !has_credit) {
        return wrong(error, STATUS_INVALID, "/n", "is missing");
    }
    return STATUS_OK;
}

static const struct {
    const char *name;
    enum work_message_type type;
} message_types[] = {
    {"hello", WORK_HELLO}, {"report", WORK_REPORT}, {"credit", WORK_CREDIT}, {"beat", WORK_BEAT}, {"leave", WORK_LEAVE},
};

enum status work_message_decode(struct json_parser *parser, struct slice text, struct buf *scratch,
                                struct work_message *ret_message, struct field_error *ret_error)
{
    return work_message_decode_checked(parser, text, scratch, NULL, ret_message, ret_error);
}

enum status work_message_decode_checked(struct json_parser *parser, struct slice text, struct buf *scratch,
                                        const struct work_tokens *tokens, struct work_message *ret_message,
                                        struct field_error *ret_error)
{
    *ret_message = (struct work_message){0};
    *ret_error = (struct field_error){0};
    struct json_value root, value;
    size_t offset = 0;
    const char *reason = "it is not JSON";
    enum status status = json_parse(parser, text, &root, &offset, &reason);
    if (status != STATUS_OK) {
        return wrong(ret_error, status, "", "at byte %zu: %s", offset, reason);
    }
    if (json_type_of(root) != JSON_OBJECT) {
        return wrong(ret_error, STATUS_INVALID, "", "a message must be an object");
    }
    struct slice name;
    if (!json_member(root, "type", &value) || !json_get_str(value, &name)) {
        return wrong(ret_error, STATUS_INVALID, "/type", "is missing");
    }
    for (size_t i = 0; i < ARRAY_COUNT(message_types); i++) {
        if (slice_equal_str(name, message_types[i].name)) {
            ret_message->type = message_types[i].type;
        }
    }
    switch (ret_message->type) {
    case WORK_HELLO:
        return decode_hello(root, scratch, tokens, ret_message, ret_error);
    case WORK_REPORT:
        return decode_report(root, scratch, tokens, ret_message, ret_error);
    case WORK_CREDIT:
    case WORK_BEAT:
    case WORK_LEAVE:
        return decode_short(root, ret_message, ret_error);
    }
    return wrong(ret_error, STATUS_INVALID, "/type",
                 "must be \"hello\", \"report\", \"credit\", \"beat\" or \"leave\"");
}
