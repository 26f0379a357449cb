/* http1.c - llhttp with a frame around it, strict where it is lax and lax where it is wrong.
 *
 * llhttp finds the parts; this file keeps the head, enforces the maxima, and refuses what would let two parsers see two
 * different messages in the same bytes (request smuggling): llhttp already refuses Content-Length beside
 * Transfer-Encoding, repeated or malformed lengths and malformed chunk sizes. Added here:
 *   - obsolete line folding and fields without a name: refused (RFC 9112 5)
 *   - Transfer-Encoding other than exactly "chunked": 501; with HTTP/1.0: refused (6.1)
 *   - no or two Host fields in an HTTP/1.1 request: refused (3.2)
 *   - a Host that is no host and port (3.2), a target with a fragment, without an authority, or "*" for anything but OPTIONS
 *   - more than one blank between the parts of a request line (3), a version that is missing
 *   - a major version other than 1: 505; CONNECT: 501
 *   - endless white space, chunk extensions and trailers, which cost no header bytes: bounded
 *
 * What llhttp refuses or misses and RFC 9112 allows is put into words that it reads. It is stopped where that begins, by a
 * pause of our own, and goes on behind it, as if the bytes had been cut there:
 *   - a tab behind Content-Length, "chunked" and the words of Connection is optional white space (5.1) like a blank, so it
 *     is handed over as one. What stands between two digits stays in the way, whichever it is.
 *   - a chunk extension behind one with a value (7.1.1): the ';' that llhttp loses is handed over again
 * No byte is taken away and no lenient mode used but that for versions, which are looked at here.
 *
 * Of a response its status is looked at before its fields (RFC 9112 6.3, rule 1).
 *
 * Invariants: (H1) offsets of a head lie inside its text, which never exceeds 65535 bytes; (H2) the head of a message
 * is not touched after on_head; (H3) after an error no event follows. */
#include "proto/http1.h"

#include <assert.h>
#include <llhttp.h>
#include <strings.h>

#include "base/ensure.h"

#define TEXT_SIZE_MAX (LIMIT_HTTP_TARGET_SIZE + LIMIT_HTTP_HEADERS_SIZE)
/* Method, version, colons, spaces and line ends, on top of what is counted as target and header text. */
#define RAW_SIZE_MAX (TEXT_SIZE_MAX + 4096 + 8 * LIMIT_HTTP_HEADER_COUNT)
#define EXTENSION_SIZE_MAX 16384u /* chunk extensions and trailers of one message; nobody uses either */
#define TEXT_KEPT_SIZE 4096u      /* memory a reset head keeps */

/* Of a request line, and why llhttp was paused though no event asked for it. */
enum { LINE_NONE, LINE_METHOD, LINE_TARGET };
enum { OWN_PAUSE_NONE, OWN_PAUSE_VALUE, OWN_PAUSE_EXTENSION };

static_assert(TEXT_SIZE_MAX <= UINT16_MAX, "offsets of a head are 16 bits");
static_assert(sizeof(llhttp_t) <= sizeof(((struct http1_parser *)0)->llhttp), "room for llhttp_t");

void http1_head_init(struct http1_head *head)
{
    head->text = (struct buf){0};
    buf_init(&head->text, TEXT_SIZE_MAX);
    http1_head_reset(head);
}

void http1_head_reset(struct http1_head *head)
{
    if (head->text.cap > TEXT_KEPT_SIZE) {
        buf_free(&head->text);
    }
    buf_reset(&head->text);
    head->target_len = 0;
    head->field_count = 0;
    head->method = HTTP1_OTHER;
    head->status_code = 0;
    head->minor = 1;
    head->has_body = false;
    head->is_chunked = false;
    head->denies_body = false;
    head->ends_with_stream = false;
    head->keeps_alive = false;
    head->expects_continue = false;
    head->wants_websocket = false;
    head->content_length = 0;
}

void http1_head_free(struct http1_head *head)
{
    buf_free(&head->text);
}

struct slice http1_target(const struct http1_head *head)
{
    return slice_of(head->text.data, head->target_len);
}

static struct slice field_name(const struct http1_head *head, uint32_t i)
{
    return slice_of(head->text.data + head->fields[i].name_at, head->fields[i].name_len);
}

static struct slice field_value(const struct http1_head *head, uint32_t i)
{
    return slice_of(head->text.data + head->fields[i].value_at, head->fields[i].value_len);
}

static bool equal_any_case(struct slice text, const char *word, size_t word_len)
{
    return text.len == word_len && strncasecmp(text.data, word, word_len) == 0;
}

struct slice http1_header(const struct http1_head *head, const char *name)
{
    size_t name_len = strlen(name);
    for (uint32_t i = 0; i < head->field_count; i++) {
        if (head->fields[i].name_len == name_len && equal_any_case(field_name(head, i), name, name_len)) {
            return field_value(head, i);
        }
    }
    return (struct slice){NULL, 0};
}

bool http1_header_once(const struct http1_head *head, const char *name, struct slice *ret)
{
    size_t name_len = strlen(name);
    *ret = (struct slice){NULL, 0};
    for (uint32_t i = 0; i < head->field_count; i++) {
        if (head->fields[i].name_len == name_len && equal_any_case(field_name(head, i), name, name_len)) {
            if (ret->data != NULL) {
                return false;
            }
            *ret = field_value(head, i);
        }
    }
    return true;
}

bool http1_list_has(struct slice list, const char *token)
{
    size_t token_len = strlen(token);
    size_t at = 0;
    while (at < list.len) {
        while (at < list.len && (list.data[at] == ' ' || list.data[at] == '\t' || list.data[at] == ',')) {
            at++;
        }
        size_t begin = at;
        while (at < list.len && list.data[at] != ',') {
            at++;
        }
        size_t end = at;
        while (end > begin && (list.data[end - 1] == ' ' || list.data[end - 1] == '\t')) {
            end--;
        }
        if (equal_any_case(slice_of(list.data + begin, end - begin), token, token_len)) {
            return true;
        }
    }
    return false;
}

static llhttp_t *llhttp_of(struct http1_parser *parser)
{
    return (llhttp_t *)(void *)parser->llhttp;
}

static int refuse(struct http1_parser *parser, enum status status, const char *detail)
{
    parser->status = status;
    parser->detail = detail;
    return HPE_USER;
}

static int next_to_llhttp(enum http1_next next)
{
    return next == HTTP1_PAUSE ? HPE_PAUSED : HPE_OK;
}

static int on_message_begin(llhttp_t *llhttp)
{
    struct http1_parser *parser = llhttp->data;
    parser->head = parser->events->on_begin(parser->ctx);
    if (parser->head == NULL) {
        return refuse(parser, STATUS_NO_MEMORY, "There is no memory for another request.");
    }
    parser->is_inside = true;
    parser->begun_here = true;
    parser->in_head = true;
    parser->in_value = false;
    parser->gap_has_lf = false;
    parser->raw_size = 0;
    parser->extension_size = 0;
    parser->line_part = LINE_NONE;
    parser->has_plain_value = false;
    return HPE_OK;
}

/* --- the request line --- */

/* A part of the request line ends here: what follows is gathered, over as many calls of http1_parse as it takes. */
static void begin_gap(struct http1_parser *parser, uint8_t part, const char *end)
{
    parser->line_part = part;
    parser->gap_begin = end;
    parser->gap_len = 0;
}

static void gather_gap(struct http1_parser *parser, const char *end)
{
    for (const char *at = parser->gap_begin; at < end && parser->gap_len < sizeof(parser->gap); at++) {
        parser->gap[parser->gap_len++] = *at;
    }
    parser->gap_begin = end;
}

static bool gap_is(struct http1_parser *parser, const char *end, const char *wanted)
{
    gather_gap(parser, end);
    return slice_equal_str(slice_of(parser->gap, parser->gap_len), wanted);
}

static int on_method(llhttp_t *llhttp, const char *at, size_t len)
{
    begin_gap(llhttp->data, LINE_METHOD, at + len);
    return HPE_OK;
}

static int on_version(llhttp_t *llhttp, const char *at, size_t len)
{
    struct http1_parser *parser = llhttp->data;
    (void)len;
    if (parser->line_part != LINE_TARGET) {
        return HPE_OK; /* a response, or a further piece */
    }
    if (!gap_is(parser, at, " HTTP/")) {
        return refuse(parser, STATUS_BAD_HTTP,
                      "A request line is a method, a target and HTTP/1.1, one blank between them.");
    }
    parser->line_part = LINE_NONE;
    return HPE_OK;
}

static int on_version_complete(llhttp_t *llhttp)
{
    if (llhttp->http_major != 1) {
        return refuse(llhttp->data, STATUS_VERSION_NOT_SUPPORTED, "Only HTTP/1.0 and HTTP/1.1 are spoken here.");
    }
    return HPE_OK;
}

static int text_failed(struct http1_parser *parser)
{
    return refuse(parser, STATUS_HEADERS_TOO_LARGE, "The header section is larger than 32768 bytes.");
}

static int on_url(llhttp_t *llhttp, const char *at, size_t len)
{
    struct http1_parser *parser = llhttp->data;
    struct http1_head *head = parser->head;
    if (parser->line_part == LINE_METHOD && !gap_is(parser, at, " ")) {
        return refuse(parser, STATUS_BAD_HTTP, "There is more than one blank in front of the request target.");
    }
    if (at + len < parser->bytes_end && (at[len] == '\r' || at[len] == '\n')) {
        return refuse(parser, STATUS_BAD_HTTP, "The request line has no version."); /* else it would be HTTP/0.9 */
    }
    begin_gap(parser, LINE_TARGET, at + len);
    if (len > LIMIT_HTTP_TARGET_SIZE - head->target_len) {
        return refuse(parser, STATUS_URI_TOO_LONG, "The request target is longer than 8192 bytes.");
    }
    buf_append(&head->text, at, len);
    head->target_len = head->text.len;
    return head->text.failed ? text_failed(parser) : HPE_OK;
}

/* The end of a piece costs a byte as well, since it may be all that there is. */
static int drop_extension(llhttp_t *llhttp, const char *at, size_t len)
{
    struct http1_parser *parser = llhttp->data;
    size_t size = len + (at + len < parser->bytes_end);
    if (size > EXTENSION_SIZE_MAX - parser->extension_size) {
        return refuse(parser, STATUS_BAD_HTTP, "The chunk extensions or trailers are too long.");
    }
    parser->extension_size += size;
    return HPE_OK;
}

/* Behind the ';' that ends a value without quotes llhttp waits for another one. */
static int on_chunk_extension_value(llhttp_t *llhttp, const char *at, size_t len)
{
    struct http1_parser *parser = llhttp->data;
    int error = drop_extension(llhttp, at, len);
    if (error == HPE_OK && at + len < parser->bytes_end && at[len] == ';' && (len == 0 || at[len - 1] != '"')) {
        parser->own_pause = OWN_PAUSE_EXTENSION;
        return HPE_PAUSED;
    }
    return error;
}

/* Between the parts of one field there may be white space, but no line end: that would be folding, which llhttp joins
 * silently. The gap may be split between two calls of http1_parse. */
static bool gap_has_lf(const struct http1_parser *parser, const char *end)
{
    for (const char *at = parser->gap_begin; at < end; at++) {
        if (*at == '\n') {
            return true;
        }
    }
    return false;
}

static int on_header_field(llhttp_t *llhttp, const char *at, size_t len)
{
    struct http1_parser *parser = llhttp->data;
    if (!parser->in_head) {
        parser->gap_begin = at + len;
        return drop_extension(llhttp, at, len);
    }
    struct http1_head *head = parser->head;
    if (parser->in_value || head->field_count == 0) {
        parser->in_value = false;
        if (head->field_count == LIMIT_HTTP_HEADER_COUNT) {
            return refuse(parser, STATUS_HEADERS_TOO_LARGE, "There are more than 100 header fields.");
        }
        head->fields[head->field_count++] = (struct http1_field){.name_at = (uint16_t)head->text.len};
    }
    buf_append(&head->text, at, len);
    if (head->text.failed || head->text.len - head->target_len > LIMIT_HTTP_HEADERS_SIZE) {
        return text_failed(parser);
    }
    parser->gap_begin = at + len;
    parser->gap_has_lf = false;
    struct http1_field *field = &head->fields[head->field_count - 1];
    field->name_len = (uint16_t)(head->text.len - field->name_at);
    field->value_at = (uint16_t)head->text.len;
    return HPE_OK;
}

/* Of the field being read; without data when it has none. */
static struct slice last_name(const struct http1_head *head)
{
    bool is_there = head->field_count > 0 && head->fields[head->field_count - 1].name_len > 0;
    return is_there ? field_name(head, head->field_count - 1) : (struct slice){NULL, 0};
}

/* Fields that llhttp reads itself, and where it takes blanks for white space but not tabs. */
static bool is_read_by_llhttp(struct slice name)
{
    switch (name.len) {
    case 10:
        return equal_any_case(name, "connection", 10);
    case 14:
        return equal_any_case(name, "content-length", 14);
    case 17:
        return equal_any_case(name, "transfer-encoding", 17);
    default:
        return false;
    }
}

/* Whether the value that begins here has no tab, as far as can be seen. */
static bool is_free_of_tabs(const struct http1_parser *parser)
{
    for (const char *at = parser->gap_begin; at < parser->bytes_end && *at != '\t'; at++) {
        if (*at == '\r' || *at == '\n') {
            return true;
        }
    }
    return false;
}

static int on_header_field_complete(llhttp_t *llhttp)
{
    struct http1_parser *parser = llhttp->data;
    parser->in_value = true;
    /* A trailer's name was dropped, and its value will be. */
    bool is_plain = !parser->in_head || is_read_by_llhttp(last_name(parser->head));
    if (is_plain && !is_free_of_tabs(parser)) {
        parser->own_pause = OWN_PAUSE_VALUE;
        return HPE_PAUSED;
    }
    return HPE_OK;
}

static int on_header_value(llhttp_t *llhttp, const char *at, size_t len)
{
    struct http1_parser *parser = llhttp->data;
    if (!parser->in_head) {
        return drop_extension(llhttp, at, len);
    }
    struct http1_head *head = parser->head;
    if (head->field_count == 0 || (len > 0 && (parser->gap_has_lf || gap_has_lf(parser, at)))) {
        return refuse(parser, STATUS_BAD_HTTP, "A header field is folded over two lines.");
    }
    parser->gap_begin = at + len;
    buf_append(&head->text, at, len);
    if (head->text.failed || head->text.len - head->target_len > LIMIT_HTTP_HEADERS_SIZE) {
        return text_failed(parser);
    }
    struct http1_field *field = &head->fields[head->field_count - 1];
    field->value_len = (uint16_t)(head->text.len - field->value_at);
    return HPE_OK;
}

static enum http1_method method_of(uint8_t method)
{
    switch (method) {
    case HTTP_GET:
        return HTTP1_GET;
    case HTTP_HEAD:
        return HTTP1_HEAD;
    case HTTP_POST:
        return HTTP1_POST;
    case HTTP_PUT:
        return HTTP1_PUT;
    case HTTP_PATCH:
        return HTTP1_PATCH;
    case HTTP_DELETE:
        return HTTP1_DELETE;
    case HTTP_OPTIONS:
        return HTTP1_OPTIONS;
    default:
        return HTTP1_OTHER;
    }
}

/* --- the head as a whole --- */

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* Length of a registered name or IPv4 address (RFC 3986 3.2.2), up to what cannot stand in one. */
static size_t name_len_of(struct slice text)
{
    size_t at = 0;
    while (at < text.len) {
        char c = text.data[at];
        if (c == '%') {
            if (text.len - at < 3 || !is_hex(text.data[at + 1]) || !is_hex(text.data[at + 2])) {
                return at;
            }
            at += 3;
            continue;
        }
        bool is_plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!is_plain && (c == '\0' || strchr("-._~!$&'()*+,;=", c) == NULL)) {
            return at;
        }
        at++;
    }
    return at;
}

/* "[...]" with nothing in it but what an address has; whether it is one is for those who know their names. */
static size_t literal_len_of(struct slice text)
{
    size_t at = 1;
    while (at < text.len && (is_hex(text.data[at]) || text.data[at] == ':' || text.data[at] == '.')) {
        at++;
    }
    return at > 2 && at < text.len && text.data[at] == ']' ? at + 1 : 0;
}

/* uri-host [ ":" port ], as of a Host field: no user, no blank, nothing else. */
static bool is_authority(struct slice text)
{
    bool is_literal = text.len > 0 && text.data[0] == '[';
    size_t at = is_literal ? literal_len_of(text) : name_len_of(text);
    if (is_literal && at == 0) {
        return false;
    }
    if (at < text.len && text.data[at] == ':') {
        at++;
        while (at < text.len && text.data[at] >= '0' && text.data[at] <= '9') {
            at++;
        }
    }
    return at == text.len;
}

/* origin-form, absolute-form, or "*" for OPTIONS (RFC 9112 3.2). */
static const char *wrong_with_target(const struct http1_head *head)
{
    struct slice target = http1_target(head);
    if (target.len > 0 && memchr(target.data, '#', target.len) != NULL) {
        return "A request target has no fragment.";
    }
    if (target.len > 0 && target.data[0] == '*') {
        return target.len > 1 || head->method != HTTP1_OPTIONS ? "Only OPTIONS has the target \"*\"." : NULL;
    }
    if (target.len == 0 || target.data[0] == '/') {
        return NULL;
    }
    const char *scheme_end = memmem(target.data, target.len, "://", 3);
    size_t begin = scheme_end != NULL ? (size_t)(scheme_end - target.data) + 3 : target.len;
    size_t end = begin;
    while (end < target.len && target.data[end] != '/' && target.data[end] != '?') {
        end++;
    }
    bool is_sound =
        end > begin && target.data[begin] != ':' && is_authority(slice_of(target.data + begin, end - begin));
    return is_sound ? NULL : "The authority of the request target is not a host and a port.";
}

/* One pass over the fields: trims values, and notes the few that decide how the message is read. */
static int look_at_fields(struct http1_parser *parser, bool is_request, struct slice *ret_encoding,
                          struct slice *ret_upgrade)
{
    struct http1_head *head = parser->head;
    uint32_t hosts = 0;
    for (uint32_t i = 0; i < head->field_count; i++) {
        struct slice value = field_value(head, i);
        while (value.len > 0 && (value.data[value.len - 1] == ' ' || value.data[value.len - 1] == '\t')) {
            value.len--;
        }
        head->fields[i].value_len = (uint16_t)value.len;
        struct slice name = field_name(head, i);
        switch (name.len) {
        case 0:
            return refuse(parser, STATUS_BAD_HTTP, "A header field has no name.");
        case 4:
            if (equal_any_case(name, "host", 4)) {
                hosts++;
                if (is_request && !is_authority(value)) {
                    return refuse(parser, STATUS_BAD_HTTP, "The Host field is not a host and a port.");
                }
            }
            break;
        case 6:
            if (equal_any_case(name, "expect", 6)) {
                head->expects_continue = equal_any_case(value, "100-continue", 12);
            }
            break;
        case 7:
            if (equal_any_case(name, "upgrade", 7)) {
                *ret_upgrade = value;
            }
            break;
        case 17:
            if (equal_any_case(name, "transfer-encoding", 17)) {
                if (ret_encoding->data != NULL) {
                    return refuse(parser, STATUS_BAD_HTTP, "There are two Transfer-Encoding fields.");
                }
                *ret_encoding = value.data != NULL ? value : SLICE("");
            }
            break;
        default:
            break;
        }
    }
    if (is_request && (hosts > 1 || (hosts == 0 && head->minor >= 1))) {
        return refuse(parser, STATUS_BAD_HTTP, "A request has exactly one Host field.");
    }
    return HPE_OK;
}

/* A response: its status may rule out the body that its fields speak of (RFC 9112 6.3, rule 1), and an interim one says
 * nothing about the end of the connection, whatever it says. */
static void look_at_status(struct http1_parser *parser, llhttp_t *llhttp)
{
    struct http1_head *head = parser->head;
    bool is_interim = head->status_code / 100 == 1;
    if (is_interim && head->status_code != 101) {
        llhttp->flags = (uint16_t)((llhttp->flags & ~F_CONNECTION_CLOSE) | F_CONNECTION_KEEP_ALIVE);
        head->keeps_alive = true;
    }
    if (is_interim || head->status_code == 204 || head->status_code == 304) {
        head->denies_body = head->has_body;
        head->has_body = head->is_chunked = false;
        head->content_length = 0;
    } else {
        head->ends_with_stream = !head->is_chunked && (llhttp->flags & F_CONTENT_LENGTH) == 0;
        head->has_body = head->has_body || head->ends_with_stream;
    }
}

static int on_headers_complete(llhttp_t *llhttp)
{
    struct http1_parser *parser = llhttp->data;
    struct http1_head *head = parser->head;
    bool is_request = llhttp->type == HTTP_REQUEST;
    head->minor = llhttp->http_minor > 0 ? 1 : 0;
    head->method = method_of(llhttp->method);
    head->status_code = llhttp->status_code;
    head->keeps_alive = llhttp_should_keep_alive(llhttp) != 0;
    struct slice encoding = {NULL, 0};
    struct slice upgrade = {NULL, 0};
    int error = look_at_fields(parser, is_request, &encoding, &upgrade);
    if (error != HPE_OK) {
        return error;
    }
    if (is_request && llhttp->method == HTTP_CONNECT) {
        return refuse(parser, STATUS_NOT_IMPLEMENTED, "CONNECT is not supported.");
    }
    const char *wrong = is_request ? wrong_with_target(head) : NULL;
    if (wrong != NULL) {
        return refuse(parser, STATUS_BAD_HTTP, wrong);
    }
    if (encoding.data != NULL) {
        if (!equal_any_case(encoding, "chunked", 7)) {
            return refuse(parser, STATUS_NOT_IMPLEMENTED, "Only the transfer encoding \"chunked\" is supported.");
        }
        if (head->minor == 0) {
            return refuse(parser, STATUS_BAD_HTTP, "HTTP/1.0 has no Transfer-Encoding.");
        }
        if ((llhttp->flags & F_CHUNKED) == 0) {
            return refuse(parser, STATUS_BAD_HTTP, "The Transfer-Encoding field is malformed.");
        }
        head->is_chunked = true;
    }
    head->has_body = head->is_chunked || llhttp->content_length > 0;
    head->content_length = head->is_chunked ? UINT64_MAX : llhttp->content_length;
    head->wants_websocket = llhttp->upgrade != 0 && !head->has_body && head->method == HTTP1_GET && head->minor > 0 &&
                            http1_list_has(upgrade, "websocket");
    if (is_request && !head->wants_websocket) {
        llhttp->upgrade = 0; /* an upgrade that nobody offers, or in HTTP/1.0, is ignored (RFC 9110 7.8) */
    }
    if (!is_request) {
        look_at_status(parser, llhttp);
    }
    bool is_bodiless = !is_request && !head->has_body && head->status_code != 101;
    parser->in_head = false;
    parser->keeps_alive = head->keeps_alive;
    parser->head = NULL;
    /* llhttp takes 0 as "go on", pauses on HPE_PAUSED and takes 1 as "there is no body"; 2 would mean another thing. It
     * knows by itself that 204 and 304 have none, and of 1xx only some. */
    enum http1_next next = parser->events->on_head(parser->ctx);
    if (next == HTTP1_PAUSE) {
        llhttp->flags |= is_bodiless ? F_SKIPBODY : 0;
        return HPE_PAUSED;
    }
    return !is_request && (is_bodiless || next == HTTP1_NO_BODY) ? 1 : HPE_OK;
}

static int on_body(llhttp_t *llhttp, const char *at, size_t len)
{
    struct http1_parser *parser = llhttp->data;
    if (len == 0) {
        return HPE_OK;
    }
    return next_to_llhttp(parser->events->on_body(parser->ctx, slice_of(at, len)));
}

static int on_message_complete(llhttp_t *llhttp)
{
    struct http1_parser *parser = llhttp->data;
    bool must_pause = !parser->keeps_alive;
    parser->is_inside = false;
    enum http1_next next = parser->events->on_complete(parser->ctx);
    return next_to_llhttp(must_pause ? HTTP1_PAUSE : next);
}

static const llhttp_settings_t settings = {
    .on_message_begin = on_message_begin,
    .on_method = on_method,
    .on_url = on_url,
    .on_version = on_version,
    .on_version_complete = on_version_complete,
    .on_header_field = on_header_field,
    .on_header_field_complete = on_header_field_complete,
    .on_header_value = on_header_value,
    .on_chunk_extension_name = drop_extension,
    .on_chunk_extension_value = on_chunk_extension_value,
    .on_headers_complete = on_headers_complete,
    .on_body = on_body,
    .on_message_complete = on_message_complete,
};

void http1_parser_init(struct http1_parser *parser, bool is_response, const struct http1_events *events, void *ctx)
{
    *parser = (struct http1_parser){.events = events, .ctx = ctx, .status = STATUS_OK};
    llhttp_init(llhttp_of(parser), is_response ? HTTP_RESPONSE : HTTP_REQUEST, &settings);
    llhttp_of(parser)->data = parser;
    llhttp_of(parser)->lenient_flags |= LENIENT_VERSION; /* they are looked at here */
}

/* Bytes of a head were used, and more of it is to come. */
static enum status note_head_bytes(struct http1_parser *parser, struct slice bytes)
{
    if (!parser->in_head) {
        return STATUS_OK;
    }
    /* The bytes in which it began may hold the message before it; those that follow are all its own. */
    parser->raw_size += parser->begun_here ? 0 : bytes.len;
    parser->gap_has_lf = parser->gap_has_lf || gap_has_lf(parser, bytes.data + bytes.len);
    if (parser->line_part != LINE_NONE) {
        gather_gap(parser, bytes.data + bytes.len);
    }
    if (parser->raw_size > RAW_SIZE_MAX) {
        (void)text_failed(parser);
    }
    return parser->status;
}

/* After a pause of our own, what it was made for. */
static llhttp_errno_t go_on(struct http1_parser *parser)
{
    llhttp_t *llhttp = llhttp_of(parser);
    uint8_t why = parser->own_pause;
    parser->own_pause = OWN_PAUSE_NONE;
    llhttp_resume(llhttp);
    if (why == OWN_PAUSE_EXTENSION) {
        return llhttp_execute(llhttp, ";", 1);
    }
    parser->has_plain_value = true;
    return HPE_OK;
}

/* As http1_parse, but OK also when it stopped in the middle. */
static enum status feed(struct http1_parser *parser, struct slice bytes, size_t *ret_used)
{
    llhttp_t *llhttp = llhttp_of(parser);
    *ret_used = 0;
    parser->gap_begin = bytes.data;
    parser->bytes_end = bytes.data + bytes.len;
    parser->begun_here = false;
    llhttp_errno_t error = llhttp_execute(llhttp, bytes.data, bytes.len);
    size_t used = bytes.len;
    if (error == HPE_PAUSED && parser->own_pause != OWN_PAUSE_NONE) {
        used = (size_t)(llhttp_get_error_pos(llhttp) - bytes.data);
        error = go_on(parser);
    }
    if (error == HPE_OK) {
        *ret_used = used;
        return note_head_bytes(parser, slice_of(bytes.data, used));
    }
    if (error == HPE_PAUSED || error == HPE_PAUSED_UPGRADE) {
        *ret_used = (size_t)(llhttp_get_error_pos(llhttp) - bytes.data);
        return STATUS_AGAIN;
    }
    if (parser->status == STATUS_OK) {
        const char *reason = llhttp_get_error_reason(llhttp);
        parser->status = STATUS_BAD_HTTP;
        parser->detail = reason != NULL && reason[0] != '\0' ? reason : "The bytes are not valid HTTP.";
    }
    return parser->status;
}

/* The next piece of a value whose tabs become blanks; both are one byte. */
static enum status feed_plain_value(struct http1_parser *parser, struct slice bytes, size_t *ret_used)
{
    size_t len = 0;
    while (len < bytes.len && bytes.data[len] != '\t' && bytes.data[len] != '\r' && bytes.data[len] != '\n') {
        len++;
    }
    if (len > 0 || bytes.len == 0) {
        return feed(parser, slice_of(bytes.data, len), ret_used);
    }
    if (bytes.data[0] == '\t') {
        return feed(parser, SLICE(" "), ret_used);
    }
    parser->has_plain_value = false;
    return feed(parser, bytes, ret_used);
}

enum status http1_parse(struct http1_parser *parser, struct slice bytes, size_t *ret_used)
{
    *ret_used = 0;
    if (bytes.len == 0) {
        bytes = SLICE(""); /* after a pause there may be an event to come that needs no further byte */
    }
    enum status status = parser->status;
    bool is_first = true;
    while (status == STATUS_OK && (is_first || *ret_used < bytes.len)) {
        struct slice rest = slice_of(bytes.data + *ret_used, bytes.len - *ret_used);
        size_t used = 0;
        status = parser->has_plain_value ? feed_plain_value(parser, rest, &used) : feed(parser, rest, &used);
        *ret_used += used;
        is_first = false;
    }
    return status;
}

void http1_parser_resume(struct http1_parser *parser)
{
    llhttp_resume(llhttp_of(parser));
    llhttp_resume_after_upgrade(llhttp_of(parser));
}

bool http1_parser_is_inside(const struct http1_parser *parser)
{
    return parser->is_inside;
}
