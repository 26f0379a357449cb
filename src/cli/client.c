/* client.c - the hub's HTTP API through libcurl. */
#include "cli/client.h"

#include <curl/curl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/timefmt.h"
#include "cli/daemon.h"

#define CONNECT_MS 5000
#define PATIENCE_MS 10000          /* beyond what the hub was asked to wait */
#define BODY_SIZE_MAX (256u << 20) /* a page of 1000 tasks with 64 KiB each, with room */

struct client {
    const struct cli *cli;
    char hub[512]; /* without a slash at its end */
    CURL *curl;
    struct curl_slist *headers;
    struct buf body;
    struct json_parser *parser;
    struct client_answer answer;
    char curl_error[CURL_ERROR_SIZE];
    enum status status; /* of the newest call */
    int upload_fd;
    int64_t patience_ms; /* of the next call, 0: as usual */
    char key[128];       /* "": none */
};

static size_t on_body(char *data, size_t size, size_t count, void *ctx)
{
    struct client *client = ctx;
    buf_append(&client->body, data, size * count);
    return buf_status(&client->body) == STATUS_OK ? size * count : 0;
}

static size_t on_upload(char *data, size_t size, size_t count, void *ctx)
{
    struct client *client = ctx;
    ssize_t got = read(client->upload_fd, data, size * count);
    return got >= 0 ? (size_t)got : CURL_READFUNC_ABORT;
}

struct client *client_new(const struct cli *cli)
{
    const char *hub = cli_text(cli, "hub");
    if (strncmp(hub, "http://", 7) != 0 && strncmp(hub, "https://", 8) != 0) {
        cli_fail(cli, STATUS_USAGE, "\"%s\" is not the address of a hub; it looks like " CLI_HUB_DEFAULT, hub);
        return NULL;
    }
    struct client *client = calloc(1, sizeof(*client));
    if (client == NULL || (client->parser = json_parser_new()) == NULL || (client->curl = curl_easy_init()) == NULL) {
        cli_fail(cli, STATUS_NO_MEMORY, "there is no memory left");
        if (client != NULL) {
            json_parser_free(client->parser);
        }
        free(client);
        return NULL;
    }
    client->cli = cli;
    snprintf(client->hub, sizeof(client->hub), "%s", hub);
    for (size_t len = strlen(client->hub); len > 0 && client->hub[len - 1] == '/'; len--) {
        client->hub[len - 1] = '\0';
    }
    buf_init(&client->body, BODY_SIZE_MAX);
    const char *key_file = cli_text(cli, "api-key-file");
    if (key_file != NULL && daemon_read_key(cli, key_file, client->key, sizeof(client->key)) != STATUS_OK) {
        client_free(client);
        return NULL;
    }
    return client;
}

void client_free(struct client *client)
{
    if (client == NULL) {
        return;
    }
    curl_slist_free_all(client->headers);
    curl_easy_cleanup(client->curl);
    json_parser_free(client->parser);
    buf_free(&client->body);
    free(client);
}

const char *client_hub(const struct client *client)
{
    return client->hub;
}

void client_patience(struct client *client, int64_t patience_ms)
{
    client->patience_ms = patience_ms > 0 ? patience_ms : 1;
}

void client_header(struct client *client, const char *line)
{
    struct curl_slist *list = curl_slist_append(client->headers, line);
    if (list != NULL) {
        client->headers = list;
    }
}

/* What every request has: address, collecting the body, patience. */
static void prepare(struct client *client, const char *path, int64_t patience_ms)
{
    char url[9000];
    int64_t connect_ms = CONNECT_MS;
    if (client->patience_ms > 0) {
        patience_ms = client->patience_ms;
        connect_ms = patience_ms < CONNECT_MS ? patience_ms : CONNECT_MS;
        client->patience_ms = 0;
    }
    snprintf(url, sizeof(url), "%s%s", client->hub, path);
    CURL *curl = client->curl;
    curl_easy_reset(curl);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, client->curl_error);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, client);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)connect_ms);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)patience_ms);
    curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "shoal");
    if (client->key[0] != '\0') {
        curl_easy_setopt(curl, CURLOPT_HTTPAUTH, CURLAUTH_BEARER);
        curl_easy_setopt(curl, CURLOPT_XOAUTH2_BEARER, client->key);
    }
    /* A proxy of the environment knows nothing of a hub on this machine. */
    const char *host = strstr(client->hub, "//");
    if (host != NULL && (strncmp(host, "//127.", 6) == 0 || strncmp(host, "//localhost", 11) == 0 ||
                         strncmp(host, "//[::1]", 7) == 0)) {
        curl_easy_setopt(curl, CURLOPT_PROXY, "");
    }
    client->curl_error[0] = '\0';
    buf_reset(&client->body);
}

static enum status status_of_problem(const struct client_answer *answer)
{
    struct slice code = answer->is_json ? client_str(answer->root, "code") : (struct slice){NULL, 0};
    char slug[64];
    snprintf(slug, sizeof(slug), "%.*s", SLICE_ARG(code));
    enum status status;
    if (status_from_slug(slug, &status) && status != STATUS_OK) {
        return status;
    }
    return answer->http == 404 ? STATUS_NOT_FOUND : answer->http >= 500 ? STATUS_INTERNAL : STATUS_BAD_REQUEST;
}

static enum status perform(struct client *client, struct client_answer *ret_answer)
{
    curl_easy_setopt(client->curl, CURLOPT_HTTPHEADER, client->headers);
    CURLcode code = curl_easy_perform(client->curl);
    curl_slist_free_all(client->headers);
    client->headers = NULL;
    client->answer = (struct client_answer){0};
    if (code != CURLE_OK) {
        client->status = code == CURLE_OPERATION_TIMEDOUT ? STATUS_TIMEOUT : STATUS_UNREACHABLE;
        if (client->curl_error[0] == '\0') {
            snprintf(client->curl_error, sizeof(client->curl_error), "%s", curl_easy_strerror(code));
        }
        return client->status;
    }
    curl_easy_getinfo(client->curl, CURLINFO_RESPONSE_CODE, &client->answer.http);
    client->answer.body = buf_slice(&client->body);
    client->answer.is_json =
        json_parse(client->parser, client->answer.body, &client->answer.root, NULL, NULL) == STATUS_OK;
    if (client->answer.http < 200 || client->answer.http >= 300) {
        client->status = status_of_problem(&client->answer);
    } else {
        client->status = client->answer.is_json || client->answer.http == 204
                             ? STATUS_OK
                             : STATUS_INTERNAL; /* all that says something is JSON */
    }
    *ret_answer = client->answer;
    return client->status;
}

enum status client_try(struct client *client, const char *method, const char *path, const char *type, struct slice body,
                       int64_t wait_ms, struct client_answer *ret_answer)
{
    *ret_answer = (struct client_answer){0};
    prepare(client, path, wait_ms + PATIENCE_MS);
    curl_easy_setopt(client->curl, CURLOPT_CUSTOMREQUEST, method);
    if (type != NULL) {
        char line[128];
        snprintf(line, sizeof(line), "Content-Type: %s", type);
        client_header(client, line);
        client_header(client, "Expect:");
        curl_easy_setopt(client->curl, CURLOPT_POST, 1L);
        curl_easy_setopt(client->curl, CURLOPT_CUSTOMREQUEST, method);
        curl_easy_setopt(client->curl, CURLOPT_POSTFIELDS, body.len > 0 ? body.data : "");
        curl_easy_setopt(client->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.len);
    }
    return perform(client, ret_answer);
}

/* "/run_at: …" as "--run-at: …" where the command has such an option: the user never saw the JSON. */
static void write_detail(struct buf *out, const struct cli *cli, struct slice detail)
{
    char name[64];
    size_t len = 0;
    while (len < detail.len && detail.data[len] != ':' && detail.data[len] != ' ') {
        len++;
    }
    if (len < 2 || len >= sizeof(name) || detail.data[0] != '/' || len == detail.len || detail.data[len] != ':') {
        buf_append_slice(out, detail);
        return;
    }
    snprintf(name, sizeof(name), "%.*s", (int)len - 1, detail.data + 1);
    for (char *at = name; *at != '\0'; at++) {
        *at = *at == '_' || *at == '/' ? '-' : *at;
    }
    size_t name_len = strlen(name);
    if (name_len > 3 && strcmp(name + name_len - 3, "-ms") == 0) {
        name[name_len - 3] = '\0';
    }
    if (cli_has_option(cli, name)) {
        buf_printf(out, "--%s%.*s", name, (int)(detail.len - len), detail.data + len);
    } else {
        buf_append_slice(out, detail);
    }
}

/* The title, the detail and each pointer of a problem, as one or two sentences. */
static void write_problem(struct buf *out, const struct cli *cli, const struct client_answer *answer)
{
    struct slice detail = client_str(answer->root, "detail");
    struct slice title = client_str(answer->root, "title");
    write_detail(out, cli, detail.len > 0 ? detail : title);
    struct json_value errors, error;
    struct slice key;
    if (!json_member(answer->root, "errors", &errors)) {
        return;
    }
    for (struct json_iter it = json_iter_of(errors); json_next(&it, &key, &error);) {
        struct slice pointer = client_str(error, "pointer");
        struct slice why = client_str(error, "detail");
        if (why.data != NULL && detail.data != NULL && memmem(detail.data, detail.len, why.data, why.len) != NULL) {
            continue; /* the detail has said so */
        }
        buf_printf(out, "\n  %.*s: %.*s", SLICE_ARG(pointer), SLICE_ARG(why));
    }
}

void client_tell(struct client *client)
{
    const struct client_answer *answer = &client->answer;
    if (client->status == STATUS_UNREACHABLE) {
        cli_fail(client->cli, client->status,
                 "the hub at %s cannot be reached: %s; start one with \"shoal up\", or name it with --hub or SHOAL_HUB",
                 client->hub, client->curl_error);
    } else if (client->status == STATUS_TIMEOUT && answer->http == 0) {
        cli_fail(client->cli, client->status, "the hub at %s does not answer: %s", client->hub, client->curl_error);
    } else if (client->status == STATUS_UNAUTHORIZED && !cli_flag(client->cli, "json")) {
        cli_fail(client->cli, client->status,
                 client->key[0] == '\0' ? "the hub at %s asks for a key: --api-key-file FILE, or SHOAL_API_KEY_FILE"
                                        : "the hub at %s asks for another key than that in the file",
                 client->hub);
    } else if (answer->is_json && json_type_of(answer->root) == JSON_OBJECT &&
               (client_str(answer->root, "detail").len > 0 || client_str(answer->root, "title").len > 0)) {
        if (cli_flag(client->cli, "json")) {
            cli_say("%.*s\n", SLICE_ARG(answer->body));
            return;
        }
        struct buf text;
        buf_init(&text, 65536);
        write_problem(&text, client->cli, answer);
        cli_fail(client->cli, client->status, "%s", buf_cstr(&text));
        buf_free(&text);
    } else {
        cli_fail(client->cli, client->status, "%s answered %ld without saying why; is it a hub?", client->hub,
                 answer->http);
    }
}

enum status client_call(struct client *client, const char *method, const char *path, const char *type,
                        struct slice body, int64_t wait_ms, struct client_answer *ret_answer)
{
    enum status status = client_try(client, method, path, type, body, wait_ms, ret_answer);
    if (status != STATUS_OK) {
        client_tell(client);
    }
    return status;
}

/* The items of the page that is the newest answer. */
static void write_items(const struct client_list *list, struct json_value root, uint64_t *written, struct buf *out)
{
    struct json_value items, item;
    struct slice key;
    if (!json_member(root, "items", &items)) {
        return;
    }
    for (struct json_iter it = json_iter_of(items); json_next(&it, &key, &item); (*written)++) {
        if (!list->is_json) {
            buf_append_str(out, *written == 0 ? list->header : "");
            list->write_row(out, item);
            continue;
        }
        buf_append_str(out, *written > 0 ? "," : "");
        json_print(out, item);
    }
}

static void write_list_end(const struct client_list *list, uint64_t written, struct slice cursor, struct buf *out)
{
    if (!list->is_json) {
        bool is_none = written == 0 && cursor.len == 0;
        buf_append_str(out, !is_none ? "" : list->none != NULL ? list->none : list->header);
        return;
    }
    buf_append_str(out, "],\"next_cursor\":");
    if (cursor.len > 0) {
        json_write_str(out, cursor);
    } else {
        buf_append_str(out, "null");
    }
    buf_append_str(out, "}\n");
}

enum status client_list(struct client *client, const struct client_list *list)
{
    struct buf path, out, from_start;
    buf_init(&path, 16384);
    buf_init(&out, 2 * (size_t)BODY_SIZE_MAX);
    buf_init(&from_start, 4096);
    struct buf *cursor = list->cursor != NULL ? list->cursor : &from_start;
    enum status status = STATUS_OK;
    uint64_t written = 0;
    buf_append_str(&out, list->is_json ? "{\"items\":[" : "");
    do {
        struct client_answer answer;
        uint64_t left = list->wanted - written;
        buf_reset(&path);
        buf_printf(&path, "%s?limit=%" PRIu64, list->path, left < LIMIT_PAGE_MAX ? left : LIMIT_PAGE_MAX);
        buf_append_slice(&path, list->filters);
        if (cursor->len > 0) {
            buf_append_str(&path, "&cursor=");
            client_escape(&path, buf_slice(cursor));
        }
        status = client_call(client, "GET", buf_cstr(&path), NULL, (struct slice){NULL, 0}, 0, &answer);
        if (status != STATUS_OK) {
            break;
        }
        write_items(list, answer.root, &written, &out);
        buf_reset(cursor);
        buf_append_slice(cursor, client_str(answer.root, "next_cursor"));
        bool is_last = written >= list->wanted || cursor->len == 0;
        if (is_last) {
            write_list_end(list, written, buf_slice(cursor), &out);
        }
        status = buf_status(&out) == STATUS_OK ? cli_print(buf_slice(&out)) : STATUS_NO_MEMORY;
        buf_reset(&out);
    } while (status == STATUS_OK && written < list->wanted && cursor->len > 0);
    buf_free(&path);
    buf_free(&out);
    buf_free(&from_start);
    return status;
}

enum status client_call_thing(struct client *client, const char *collection, const char *verb, const char *name,
                              struct client_answer *ret_answer)
{
    struct buf path;
    bool is_add = verb != NULL && strcmp(verb, "add") == 0;
    bool is_rm = verb != NULL && strcmp(verb, "rm") == 0;
    buf_init(&path, 4096);
    buf_append_str(&path, collection);
    buf_append_char(&path, '/');
    client_escape(&path, slice_str(name));
    if (verb != NULL && !is_add && !is_rm) {
        buf_printf(&path, ":%s", verb);
    }
    enum status status = client_call(client,
                                     verb == NULL ? "GET"
                                     : is_rm      ? "DELETE"
                                     : is_add     ? "PUT"
                                                  : "POST",
                                     buf_cstr(&path), verb != NULL && !is_rm ? "application/json" : NULL,
                                     verb != NULL && !is_rm ? SLICE("{}") : (struct slice){NULL, 0}, 0, ret_answer);
    buf_free(&path);
    return status;
}

enum status client_upload(struct client *client, int fd, uint64_t size, char ret_blob[CLIENT_BLOB_SIZE])
{
    struct client_answer answer = {0};
    prepare(client, "/v1/blobs", 0);
    curl_easy_setopt(client->curl, CURLOPT_TIMEOUT_MS, 0L);
    /* No end in sight is fine, standing still is not. */
    curl_easy_setopt(client->curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(client->curl, CURLOPT_LOW_SPEED_TIME, 30L);
    curl_easy_setopt(client->curl, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(client->curl, CURLOPT_READFUNCTION, on_upload);
    curl_easy_setopt(client->curl, CURLOPT_READDATA, client);
    curl_easy_setopt(client->curl, CURLOPT_INFILESIZE_LARGE, (curl_off_t)size);
    client_header(client, "Content-Type: application/octet-stream");
    client_header(client, "Expect:");
    client->upload_fd = fd;
    enum status status = perform(client, &answer);
    struct slice blob = status == STATUS_OK ? client_str(answer.root, "blob") : (struct slice){NULL, 0};
    if (status == STATUS_OK && (blob.len == 0 || blob.len >= CLIENT_BLOB_SIZE)) {
        status = client->status = STATUS_INTERNAL;
    }
    if (status != STATUS_OK) {
        client_tell(client);
        return status;
    }
    snprintf(ret_blob, CLIENT_BLOB_SIZE, "%.*s", SLICE_ARG(blob));
    return STATUS_OK;
}

struct download {
    FILE *file;
    uint64_t size;
};

static size_t on_download(char *data, size_t size, size_t count, void *ctx)
{
    struct download *download = ctx;
    size_t written = fwrite(data, 1, size * count, download->file);
    download->size += written;
    return written;
}

bool client_download(struct client *client, struct slice blob, FILE *file, uint64_t *ret_size)
{
    struct download download = {.file = file};
    char path[128] = "";
    if (slice_starts_with(blob, SLICE("sha256:")) && blob.len < CLIENT_BLOB_SIZE) {
        snprintf(path, sizeof(path), "/v1/blobs/%.*s", (int)blob.len - 7, blob.data + 7);
    }
    CURLcode code = CURLE_URL_MALFORMAT;
    if (path[0] != '\0') {
        CURL *curl = client->curl;
        prepare(client, path, 0);
        curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
        curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, 30L);
        curl_easy_setopt(curl, CURLOPT_FAILONERROR, 1L); /* a problem is not the blob */
        curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_download);
        curl_easy_setopt(curl, CURLOPT_WRITEDATA, &download);
        code = curl_easy_perform(curl);
    }
    *ret_size = download.size;
    return code == CURLE_OK && fflush(file) == 0;
}

void client_escape(struct buf *out, struct slice text)
{
    static const char digits[] = "0123456789ABCDEF";
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.data[i];
        if ((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
            (c != 0 && strchr("-._~", c) != NULL)) {
            buf_append_char(out, (char)c);
        } else {
            buf_append_char(out, '%');
            buf_append_char(out, digits[c >> 4]);
            buf_append_char(out, digits[c & 15]);
        }
    }
}

struct slice client_str(struct json_value object, const char *name)
{
    struct json_value value;
    struct slice text = {NULL, 0};
    if (json_member(object, name, &value)) {
        (void)json_get_str(value, &text);
    }
    return text;
}

int64_t client_i64(struct json_value object, const char *name, int64_t fallback)
{
    struct json_value value;
    int64_t number = fallback;
    if (json_member(object, name, &value)) {
        (void)json_get_i64(value, &number);
    }
    return number;
}

bool client_bool(struct json_value object, const char *name)
{
    struct json_value value;
    bool is_true = false;
    if (json_member(object, name, &value)) {
        (void)json_get_bool(value, &is_true);
    }
    return is_true;
}

int64_t client_time_ns(struct json_value object, const char *name)
{
    int64_t wall_ns = 0;
    struct slice text = client_str(object, name);
    if (text.len == 0 || time_parse(text, &wall_ns) != STATUS_OK) {
        return 0;
    }
    return wall_ns;
}
