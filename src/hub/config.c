/* config.c - the hub's configuration file.
 *
 * libcyaml checks the shape against the schema below, made from one table of keys; it names what is wrong, but for some
 * mistakes only the line of the token before. So the lines come from a walk over the same text with libyaml, on which
 * libcyaml stands: it remembers the line of every key, and of a syntax error. Bounds are checked here, with the line of
 * the key.
 *
 * Rejected: environment variables as a third source (two places to look at are enough). */
#include "hub/config.h"

#include <cyaml/cyaml.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <yaml.h>

#include "base/ensure.h"
#include "base/key_file.h"
#include "base/limits.h"
#include "hub/machine.h"

#define CONFIG_FILE_SIZE_MAX (1u << 20)
#define CONFIG_KEYS_MAX 64u
#define MIB (UINT64_C(1) << 20)

/* KEY(name, member of struct values, least, most, help) */
#define NUMBER_KEYS(KEY)                                                                                               \
    KEY(sync_interval_ms, 1, 60000, "with durability interval: time between two syncs")                                \
    KEY(segment_size_mib, 1, 4096, "size of one journal file")                                                         \
    KEY(snapshot_every_mib, 1, 1048576, "journal written between two snapshots")                                       \
    KEY(tasks_max, 1, LIMIT_TASKS, "tasks in memory at a time")                                                        \
    KEY(payload_max_mib, 1, 1048576, "inputs and results in memory, all together")                                     \
    KEY(finished_keep_ms, 0, LIMIT_DURATION_MS, "how long finished tasks stay in memory once history has them")        \
    KEY(blob_max_mib, 1, 16777216, "size of one blob")                                                                 \
    KEY(memory_budget_mib, 32, 1048576,                                                                                \
        "bodies and answers of all connections in memory; default: an eighth, at most 512")                            \
    KEY(history_succeeded_ms, 0, LIMIT_HISTORY_KEEP_MS, "how long succeeded tasks stay in history; 0: for ever")       \
    KEY(history_dead_ms, 0, LIMIT_HISTORY_KEEP_MS, "how long dead tasks stay in history; 0: for ever")                 \
    KEY(history_cancelled_ms, 0, LIMIT_HISTORY_KEEP_MS, "how long cancelled tasks stay in history; 0: for ever")       \
    KEY(history_expired_ms, 0, LIMIT_HISTORY_KEEP_MS, "how long expired tasks stay in history; 0: for ever")           \
    KEY(history_rows_max, 0, INT64_MAX, "tasks of one queue in one state in history; 0: any number")                   \
    KEY(blob_quota_mib, 0, 1u << 30, "size of all blobs; 0: any")                                                      \
    KEY(blob_keep_ms, 0, LIMIT_DURATION_MS, "a blob that no task names goes after so long; 0: never")                  \
    KEY(blob_rate_min_kib, 0, 1048576, "least rate of an upload, a second; 0: any")                                    \
    KEY(blob_upload_ms, 0, LIMIT_DURATION_MS, "longest time of an upload; 0: any")                                     \
    KEY(disk_reserve_mib, 0, 1u << 30, "free space below which new work is refused; 0: none")                          \
    KEY(connections_max, 1, 1000000, "open connections")                                                               \
    KEY(http_header_ms, 100, 3600000, "time for a request's head to arrive")                                           \
    KEY(http_body_idle_ms, 100, 3600000, "longest pause in a request's body")                                          \
    KEY(http_idle_ms, 100, 86400000, "how long an idle connection stays open")                                         \
    KEY(beat_ms, 50, 60000, "time between two heartbeats of a node")                                                   \
    KEY(suspect_ms, 100, 600000, "silence after which a node is suspect")                                              \
    KEY(lost_ms, 200, 3600000, "silence after which a node is lost")                                                   \
    KEY(closed_grace_ms, 0, 600000, "how long a node whose connection closed may take to come back")                   \
    KEY(deaths_max, 1, LIMIT_DEATHS_MAX, "nodes that may die under a task before it is held as poison")                \
    KEY(no_auth, 0, 1, "1: listens beyond loopback although nobody is asked for a key")

#define TEXT_KEYS(KEY)                                                                                                 \
    KEY(listen, "HOST:PORT to listen on")                                                                              \
    KEY(data, "data directory")                                                                                        \
    KEY(durability, "batch, interval or none")                                                                         \
    KEY(node_key, "key that nodes must show")                                                                          \
    KEY(node_key_file, "file whose first line is that key")                                                            \
    KEY(api_key_file, "file whose first line is the key that every caller must show")                                  \
    KEY(hosts, "names that the hub goes by beside its addresses, separated by commas; * is any")                       \
    KEY(origins, "pages of other sites that may use the hub, such as https://shoal.example; * is any")

struct values { /* what libcyaml fills; a key that is missing leaves NULL */
#define KEY(name, ...) char *name;
    TEXT_KEYS(KEY)
#undef KEY
#define KEY(name, ...) uint64_t *name;
    NUMBER_KEYS(KEY)
#undef KEY
};

static const cyaml_schema_field_t fields[] = {
#define KEY(name, ...)                                                                                                 \
    CYAML_FIELD_STRING_PTR(#name, CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct values, name, 0, CYAML_UNLIMITED),
    TEXT_KEYS(KEY)
#undef KEY
#define KEY(name, ...) CYAML_FIELD_UINT_PTR(#name, CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct values, name),
        NUMBER_KEYS(KEY)
#undef KEY
            CYAML_FIELD_END};

static const cyaml_schema_value_t schema = {CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct values, fields)};

static const struct hub_config_key keys[] = {
#define KEY(key, text) {.name = #key, .help = text},
    TEXT_KEYS(KEY)
#undef KEY
#define KEY(key, least, most, text) {.name = #key, .help = text, .is_number = true, .min = least, .max = most},
        NUMBER_KEYS(KEY)
#undef KEY
};

bool hub_config_key_at(size_t i, struct hub_config_key *ret_key)
{
    if (i >= ARRAY_COUNT(keys)) {
        return false;
    }
    *ret_key = keys[i];
    return true;
}

/* An eighth of what this process may use; http_server_start raises it to what it needs at least. */
static uint64_t default_budget(void)
{
    uint64_t eighth = machine_memory() / 8;
    return eighth < LIMIT_MEMORY_BUDGET ? eighth : LIMIT_MEMORY_BUDGET;
}

void hub_config_default(struct hub_config *ret_config)
{
    *ret_config = (struct hub_config){
        .data_dir = "shoal-data",
        .host = "127.0.0.1",
        .port = 7433,
        .durability = DURABILITY_BATCH,
        .sync_interval_ms = 50,
        .segment_size = LIMIT_SEGMENT_SIZE,
        .snapshot_every_size = LIMIT_SNAPSHOT_EVERY_SIZE,
        .tasks_max = LIMIT_TASKS,
        .payload_size_max = LIMIT_PAYLOAD_TOTAL_SIZE,
        .finished_keep_ms = LIMIT_FINISHED_KEEP_MS,
        .deaths_max = LIMIT_DEATHS,
        .blob_size_max = LIMIT_BLOB_SIZE,
        .memory_budget = default_budget(),
        .blob_keep_ms = LIMIT_BLOB_KEEP_MS,
        .blob_rate_min = LIMIT_BLOB_RATE_MIN,
        .blob_upload_ms = LIMIT_BLOB_UPLOAD_MS,
        .disk_reserve = DISK_RESERVE_AUTO,
        .connections_max = LIMIT_HTTP_CONNECTIONS,
        .header_ms = LIMIT_HTTP_HEADER_MS,
        .body_idle_ms = LIMIT_HTTP_BODY_IDLE_MS,
        .idle_ms = LIMIT_HTTP_IDLE_MS,
        .beat_ms = LIMIT_BEAT_MS,
        .suspect_ms = LIMIT_SUSPECT_MS,
        .lost_ms = LIMIT_LOST_MS,
        .closed_grace_ms = LIMIT_CLOSED_GRACE_MS,
    };
}

/* --- words --- */

static const char *const durability_names[] = {
    [DURABILITY_BATCH] = "batch", [DURABILITY_INTERVAL] = "interval", [DURABILITY_NONE] = "none"};

const char *durability_name(enum durability durability)
{
    ensure((size_t)durability < ARRAY_COUNT(durability_names));
    return durability_names[durability];
}

bool durability_from_name(struct slice name, enum durability *ret_durability)
{
    for (size_t i = 0; i < ARRAY_COUNT(durability_names); i++) {
        if (slice_equal_str(name, durability_names[i])) {
            *ret_durability = (enum durability)i;
            return true;
        }
    }
    return false;
}

bool hub_config_set_listen(struct hub_config *config, struct slice text)
{
    size_t host_len = text.len;
    while (host_len > 0 && text.data[host_len - 1] != ':') {
        host_len--;
    }
    struct slice port = slice_of(text.data + host_len, text.len - host_len);
    struct slice host = slice_of(text.data, host_len > 0 ? host_len - 1 : 0);
    if (host.len >= 2 && host.data[0] == '[' && host.data[host.len - 1] == ']') {
        host = slice_of(host.data + 1, host.len - 2);
    } else if (host.len > 0 && memchr(host.data, ':', host.len) != NULL) {
        return false; /* an IPv6 address without brackets: where it ends is anybody's guess */
    }
    uint32_t number = 0;
    for (size_t i = 0; i < port.len; i++) {
        if (port.data[i] < '0' || port.data[i] > '9' || i == 5) {
            return false;
        }
        number = number * 10 + (uint32_t)(port.data[i] - '0');
    }
    if (port.len == 0 || number > UINT16_MAX || host.len >= sizeof(config->host) ||
        (host.len > 0 && memchr(host.data, '\0', host.len) != NULL)) {
        return false;
    }
    if (host.len > 0) {
        memcpy(config->host, host.data, host.len);
        config->host[host.len] = '\0';
    }
    config->port = (uint16_t)number;
    return true;
}

/* --- lines --- */

struct key_line {
    char name[64];
    size_t line; /* from 1 */
};

struct lines {
    struct key_line keys[CONFIG_KEYS_MAX];
    size_t count;
};

/* Walks the text: the line of each key of the top mapping. False at a syntax error, described in `why`. */
static bool lines_read(struct lines *lines, const char *name, struct slice text, struct buf *why)
{
    yaml_parser_t parser;
    if (yaml_parser_initialize(&parser) == 0) {
        buf_printf(why, "%s: there is no memory to read it", name);
        return false;
    }
    yaml_parser_set_input_string(&parser, (const unsigned char *)(text.len > 0 ? text.data : ""), text.len);
    int depth = 0;
    bool is_key = true;
    bool is_done = false;
    bool is_ok = true;
    while (!is_done) {
        yaml_event_t event;
        if (yaml_parser_parse(&parser, &event) == 0) {
            buf_printf(why, "%s, line %zu: this is not YAML: %s", name, parser.problem_mark.line + 1,
                       parser.problem != NULL ? parser.problem : "it cannot be read");
            is_ok = false;
            break;
        }
        switch (event.type) {
        case YAML_MAPPING_START_EVENT:
        case YAML_SEQUENCE_START_EVENT:
            depth++;
            break;
        case YAML_MAPPING_END_EVENT:
        case YAML_SEQUENCE_END_EVENT:
            depth--;
            is_key = depth == 1 ? true : is_key;
            break;
        case YAML_SCALAR_EVENT:
            if (depth == 1 && is_key && lines->count < CONFIG_KEYS_MAX) {
                struct key_line *key = &lines->keys[lines->count++];
                (void)snprintf(key->name, sizeof(key->name), "%s", (const char *)event.data.scalar.value);
                key->line = event.start_mark.line + 1;
            }
            is_key = depth == 1 ? !is_key : is_key;
            break;
        case YAML_STREAM_END_EVENT:
            is_done = true;
            break;
        default:
            break;
        }
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    return is_ok;
}

/* The line of a key: its last one, for a key that stands there twice. 0: it is not there. */
static size_t line_of(const struct lines *lines, const char *name)
{
    size_t line = 0;
    for (size_t i = 0; i < lines->count; i++) {
        line = strcmp(lines->keys[i].name, name) == 0 ? lines->keys[i].line : line;
    }
    return line;
}

/* --- what libcyaml says --- */

struct complaint {
    char message[256]; /* the first thing it said */
    char field[64];    /* the innermost field that it named */
};

static void on_log(cyaml_log_t level, void *ctx, const char *format, va_list args)
{
    (void)level;
    struct complaint *complaint = ctx;
    char line[256];
    (void)vsnprintf(line, sizeof(line), format, args);
    line[strcspn(line, "\n")] = '\0';
    const char *text = strncmp(line, "Load: ", 6) == 0 ? line + 6 : line;
    const char *field = strstr(text, "in mapping field '");
    if (field != NULL) {
        field += strlen("in mapping field '");
        if (complaint->field[0] == '\0') {
            (void)snprintf(complaint->field, sizeof(complaint->field), "%.*s", (int)strcspn(field, "'"), field);
        }
    } else if (complaint->message[0] == '\0') {
        (void)snprintf(complaint->message, sizeof(complaint->message), "%s", text);
    }
}

static void explain(const struct complaint *complaint, const struct lines *lines, const char *name, struct buf *why)
{
    static const char unexpected[] = "Unexpected key: ";
    const char *key = complaint->field;
    if (strncmp(complaint->message, unexpected, strlen(unexpected)) == 0) {
        key = complaint->message + strlen(unexpected);
        buf_printf(why, "%s, line %zu: there is no setting \"%s\"", name, line_of(lines, key), key);
    } else if (strncmp(complaint->message, "Mapping field already seen", 26) == 0) {
        buf_printf(why, "%s, line %zu: \"%s\" is there twice", name, line_of(lines, key), key);
    } else if (key[0] != '\0') {
        buf_printf(why, "%s, line %zu: \"%s\" has a wrong value: %s", name, line_of(lines, key), key,
                   complaint->message);
    } else {
        buf_printf(why, "%s, line 1: the file must be a mapping of settings: %s", name, complaint->message);
    }
}

/* --- values --- */

static bool is_outside(uint64_t value, uint64_t least, uint64_t most)
{
    return value < least || value > most;
}

static bool bounds_hold(const struct values *values, const struct lines *lines, const char *name, struct buf *why)
{
#define KEY(key, least, most, text)                                                                                    \
    if (values->key != NULL && is_outside(*values->key, least, most)) {                                                \
        buf_printf(why, "%s, line %zu: \"" #key "\" must be between %llu and %llu", name, line_of(lines, #key),        \
                   (unsigned long long)(least), (unsigned long long)(most));                                           \
        return false;                                                                                                  \
    }
    NUMBER_KEYS(KEY)
#undef KEY
    return true;
}

static bool copy_text(const char *key, const char *value, char *ret, size_t size, const struct lines *lines,
                      const char *name, struct buf *why)
{
    if (value == NULL) {
        return true;
    }
    size_t len = strlen(value);
    if (len >= size) {
        buf_printf(why, "%s, line %zu: \"%s\" is longer than %zu bytes", name, line_of(lines, key), key, size - 1);
        return false;
    }
    memcpy(ret, value, len + 1);
    return true;
}

static bool read_key_file(const char *key, const char *path, char *ret, size_t size, const struct lines *lines,
                          const char *name, struct buf *why)
{
    if (path == NULL) {
        return true;
    }
    struct buf reason;
    buf_init(&reason, 4096);
    bool is_read = key_file_read(path, ret, size, &reason) == STATUS_OK;
    if (!is_read) {
        buf_printf(why, "%s, line %zu: \"%s\": %s", name, line_of(lines, key), key, buf_cstr(&reason));
    }
    buf_free(&reason);
    return is_read;
}

static bool apply(const struct values *values, const struct lines *lines, const char *name, struct hub_config *config,
                  struct buf *why)
{
    if (!bounds_hold(values, lines, name, why) ||
        !copy_text("data", values->data, config->data_dir, sizeof(config->data_dir), lines, name, why) ||
        !copy_text("hosts", values->hosts, config->hosts, sizeof(config->hosts), lines, name, why) ||
        !copy_text("origins", values->origins, config->origins, sizeof(config->origins), lines, name, why) ||
        !copy_text("node_key", values->node_key, config->node_key, sizeof(config->node_key), lines, name, why)) {
        return false;
    }
    if (values->data != NULL && values->data[0] == '\0') {
        buf_printf(why, "%s, line %zu: \"data\" is empty", name, line_of(lines, "data"));
        return false;
    }
    if (values->listen != NULL && !hub_config_set_listen(config, slice_str(values->listen))) {
        buf_printf(why, "%s, line %zu: \"listen\" must be HOST:PORT", name, line_of(lines, "listen"));
        return false;
    }
    if (values->durability != NULL && !durability_from_name(slice_str(values->durability), &config->durability)) {
        buf_printf(why, "%s, line %zu: \"durability\" must be batch, interval or none", name,
                   line_of(lines, "durability"));
        return false;
    }
    if (!read_key_file("node_key_file", values->node_key_file, config->node_key, sizeof(config->node_key), lines, name,
                       why) ||
        !read_key_file("api_key_file", values->api_key_file, config->api_key, sizeof(config->api_key), lines, name,
                       why)) {
        return false;
    }
#define SET(member, key, factor)                                                                                       \
    if (values->key != NULL) {                                                                                         \
        config->member = (__typeof__(config->member))(*values->key * (factor));                                        \
    }
    SET(sync_interval_ms, sync_interval_ms, 1)
    SET(segment_size, segment_size_mib, MIB)
    SET(snapshot_every_size, snapshot_every_mib, MIB)
    SET(tasks_max, tasks_max, 1)
    SET(payload_size_max, payload_max_mib, MIB)
    SET(finished_keep_ms, finished_keep_ms, 1)
    SET(blob_size_max, blob_max_mib, MIB)
    SET(memory_budget, memory_budget_mib, MIB)
    SET(history_keep.succeeded_ms, history_succeeded_ms, 1)
    SET(history_keep.dead_ms, history_dead_ms, 1)
    SET(history_keep.cancelled_ms, history_cancelled_ms, 1)
    SET(history_keep.expired_ms, history_expired_ms, 1)
    SET(history_keep.rows_max, history_rows_max, 1)
    SET(blob_quota, blob_quota_mib, MIB)
    SET(blob_keep_ms, blob_keep_ms, 1)
    SET(blob_rate_min, blob_rate_min_kib, 1024)
    SET(blob_upload_ms, blob_upload_ms, 1)
    SET(disk_reserve, disk_reserve_mib, MIB)
    SET(connections_max, connections_max, 1)
    SET(header_ms, http_header_ms, 1)
    SET(body_idle_ms, http_body_idle_ms, 1)
    SET(idle_ms, http_idle_ms, 1)
    SET(beat_ms, beat_ms, 1)
    SET(suspect_ms, suspect_ms, 1)
    SET(lost_ms, lost_ms, 1)
    SET(closed_grace_ms, closed_grace_ms, 1)
    SET(deaths_max, deaths_max, 1)
#undef SET
    config->has_no_auth = values->no_auth != NULL ? *values->no_auth != 0 : config->has_no_auth;
    if (!(config->beat_ms < config->suspect_ms && config->suspect_ms < config->lost_ms)) {
        size_t line = line_of(lines, "lost_ms");
        line = line != 0 ? line : line_of(lines, "suspect_ms");
        line = line != 0 ? line : line_of(lines, "beat_ms");
        buf_printf(why, "%s, line %zu: \"beat_ms\", \"suspect_ms\" and \"lost_ms\" must rise in this order", name,
                   line);
        return false;
    }
    return true;
}

enum status hub_config_parse(struct hub_config *config, const char *name, struct slice text, struct buf *why)
{
    struct lines lines = {.count = 0};
    if (!lines_read(&lines, name, text, why)) {
        return STATUS_CONFIG;
    }
    struct complaint complaint = {.message = ""};
    cyaml_config_t cyaml = {.log_fn = on_log, .log_ctx = &complaint, .mem_fn = cyaml_mem, .log_level = CYAML_LOG_ERROR};
    struct values *values = NULL;
    cyaml_err_t error = cyaml_load_data((const uint8_t *)(text.len > 0 ? text.data : ""), text.len, &cyaml, &schema,
                                        (cyaml_data_t **)&values, NULL);
    if (error != CYAML_OK) {
        if (complaint.message[0] == '\0') {
            (void)snprintf(complaint.message, sizeof(complaint.message), "%s", cyaml_strerror(error));
        }
        explain(&complaint, &lines, name, why);
        return STATUS_CONFIG;
    }
    /* An empty file is no mapping at all, and fine. */
    struct hub_config changed = *config;
    bool is_ok = values == NULL || apply(values, &lines, name, &changed, why);
    (void)cyaml_free(&cyaml, &schema, values, 0);
    if (!is_ok) {
        return STATUS_CONFIG;
    }
    *config = changed;
    return STATUS_OK;
}

/* A file that holds a key itself must be as secret as a key's own file. */
static bool is_open_secret(const struct stat *facts, const char *path, struct slice text, struct buf *why)
{
    struct lines lines = {.count = 0};
    if (!S_ISREG(facts->st_mode) || (facts->st_mode & S_IROTH) == 0 || !lines_read(&lines, path, text, why)) {
        return false; /* what is no YAML is told by hub_config_parse */
    }
    size_t line = line_of(&lines, "node_key");
    if (line == 0) {
        return false;
    }
    buf_printf(why, "%s, line %zu: \"node_key\" stands in a file that others can read (mode %03o); say: chmod 600 %s",
               path, line, (unsigned)(facts->st_mode & 0777), path);
    return true;
}

enum status hub_config_load(struct hub_config *config, const char *path, struct buf *why)
{
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        buf_printf(why, "the configuration file %s cannot be read: %s", path, strerror(errno));
        return STATUS_CONFIG;
    }
    struct buf text;
    buf_init(&text, CONFIG_FILE_SIZE_MAX);
    char piece[4096];
    size_t got;
    while ((got = fread(piece, 1, sizeof(piece), file)) > 0) {
        buf_append(&text, piece, got);
    }
    struct stat facts;
    bool has_failed = ferror(file) != 0 || fstat(fileno(file), &facts) != 0;
    (void)fclose(file);
    enum status status = STATUS_CONFIG;
    if (has_failed || buf_status(&text) != STATUS_OK) {
        buf_printf(why, "the configuration file %s %s", path, has_failed ? "cannot be read" : "is larger than 1 MiB");
    } else if (!is_open_secret(&facts, path, buf_slice(&text), why)) {
        buf_reset(why);
        status = hub_config_parse(config, path, buf_slice(&text), why);
    }
    buf_free(&text);
    return status;
}
