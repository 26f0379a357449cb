/* routes_blob.c - blobs over HTTP: streamed up and down in constant memory.
 *
 * Up: the body goes to the store in pieces; when the store's queue is full the connection stops reading until there is room.
 * Down: the next piece is read from disk when the one before has left for the socket. Whichever side is slow, the other
 * waits, and nothing piles up between. */
#include <inttypes.h>
#include <stdio.h>

#include "base/ensure.h"
#include "hub/blob_sweep.h"
#include "hub/routes.h"
#include "hub/task_json.h"

#define HEX_DIGITS (SHA256_HEX_SIZE - 1)

static bool is_digest(struct slice text)
{
    if (text.len != HEX_DIGITS) {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        if (!((text.data[i] >= '0' && text.data[i] <= '9') || (text.data[i] >= 'a' && text.data[i] <= 'f'))) {
            return false;
        }
    }
    return true;
}

/* --- up --- */

static void on_room(void *ctx)
{
    struct call *call = ctx;
    ensure_magic(call, CALL_MAGIC);
    http_body_pause(call->request, false);
}

static void refuse_size(struct call *call)
{
    struct problem problem;
    uint64_t limit = call->hub->config.blob_size_max;
    problem_set(&problem, STATUS_TOO_LARGE, "a blob may have at most %" PRIu64 " bytes", limit);
    problem.limit = limit;
    call_refuse(call, &problem);
}

/* True: answered. The memory that a transfer holds is for those that are under way. */
static bool is_too_busy(struct call *call)
{
    if (!http_server_is_pressed(call->hub->server)) {
        return false;
    }
    call_refuse_status(call, STATUS_BUSY, "the hub has no memory free for another transfer now");
    return true;
}

/* The upload is too slow, or takes too long. */
static void on_slow(void *ctx)
{
    struct call *call = ctx;
    ensure_magic(call, CALL_MAGIC);
    blob_upload_abort(TAKE(call->extra));
    call_refuse_status(call, STATUS_REQUEST_TIMEOUT,
                       "the upload is too slow: at least %" PRIu64 " bytes a second, and %" PRId64 " s in all",
                       call->hub->config.blob_rate_min, call->hub->config.blob_upload_ms / 1000);
}

/* Whether `size` more bytes fit. False: answered. */
static bool has_room(struct call *call, uint64_t size)
{
    uint64_t quota = call->hub->config.blob_quota, count, used;
    blob_store_figures(call->hub->blobs, &count, &used);
    if (quota > 0 && (used >= quota || size > quota - used)) {
        call_refuse_status(call, STATUS_NO_SPACE,
                           "blobs may have %" PRIu64 " bytes together, and have %" PRIu64 "; delete some", quota, used);
        return false;
    }
    return !call->hub->is_disk_low || (call_refuse_low_disk(call), false);
}

enum http_body_mode blob_put_head(struct call *call)
{
    struct hub *hub = call->hub;
    struct http_request *request = call->request;
    struct slice hex = call_param(call);
    bool has_digest = call->route->of == ROUTE_BLOB_PUT_HEX;
    if (has_digest && !is_digest(hex)) {
        call_refuse_status(call, STATUS_NOT_FOUND, "a blob is named by 64 lower-case hexadecimal digits");
        return HTTP_BODY_ANSWERED;
    }
    if (!hub->is_ready || hub->is_stopping) {
        call_refuse_status(call, STATUS_NOT_READY, NULL);
        return HTTP_BODY_ANSWERED;
    }
    if (request->content_length != UINT64_MAX && request->content_length > hub->config.blob_size_max) {
        refuse_size(call);
        return HTTP_BODY_ANSWERED;
    }
    if (is_too_busy(call) || !has_room(call, request->content_length != UINT64_MAX ? request->content_length : 0)) {
        return HTTP_BODY_ANSWERED;
    }
    struct blob_upload *upload = NULL;
    enum status status =
        blob_upload_begin(hub->blobs, has_digest ? call->param : NULL, on_room, on_slow, call, &upload);
    if (status != STATUS_OK) {
        call_refuse_status(call, status, NULL);
        return HTTP_BODY_ANSWERED;
    }
    call->extra = upload;
    call_charge(call, BLOB_UPLOAD_MEMORY);
    call->body_size = 0;
    return HTTP_BODY_STREAM;
}

void blob_put_piece(struct call *call, struct slice piece)
{
    ensure_magic(call, CALL_MAGIC);
    call->body_size += piece.len;
    if (call->body_size > call->hub->config.blob_size_max) {
        blob_upload_abort(TAKE(call->extra));
        refuse_size(call);
        return;
    }
    /* A body of unknown length is held against the quota as it comes. */
    if (call->request->content_length == UINT64_MAX && !has_room(call, call->body_size)) {
        blob_upload_abort(TAKE(call->extra));
        return;
    }
    if (!blob_upload_write(call->extra, piece)) {
        http_body_pause(call->request, true);
    }
}

void blob_put_gone(struct call *call)
{
    ensure_magic(call, CALL_MAGIC);
    blob_upload_abort(TAKE(call->extra));
    call_refuse_status(call, STATUS_CANCELLED, NULL); /* goes nowhere; it ends the request */
}

static void on_stored(void *ctx, enum status status, const char *hex, uint64_t size, bool is_new)
{
    struct call *call = ctx;
    ensure_magic(call, CALL_MAGIC);
    struct buf *out = &call->routes->out;
    buf_reset(out);
    if (status == STATUS_TOO_LARGE) {
        refuse_size(call);
        return;
    }
    if (status == STATUS_DIGEST_MISMATCH) {
        call_refuse_status(call, status, "the content has another SHA-256 than the path");
        return;
    }
    if (status != STATUS_OK) {
        call_refuse_status(call, status, NULL);
        return;
    }
    buf_printf(out, "{\"blob\":\"sha256:%s\",\"url\":\"/v1/blobs/%s\",\"size\":%" PRIu64 "}", hex, hex, size);
    char location[HEX_DIGITS + 64];
    snprintf(location, sizeof(location), "Location: /v1/blobs/%s\r\n", hex);
    call_answer(call, is_new ? 201 : 200, sequencer_durable_seq(call->hub->sequencer), location);
}

/* The body is complete. */
void handle_blob_put(struct call *call)
{
    call->request->on_gone = NULL;
    blob_upload_end(TAKE(call->extra), on_stored, call);
}

/* --- down --- */

static void on_piece(void *ctx, enum status status, struct slice piece);

static void end_download(struct call *call)
{
    struct http_request *request = call->request;
    request->on_gone = NULL;
    request->user = NULL;
    http_answer_end(request); /* short of the promised length after a failure: the client sees that it broke off */
    call_free(call);
}

static void on_gone(struct http_request *request)
{
    struct call *call = request->user;
    ensure_magic(call, CALL_MAGIC);
    if (call->extra != NULL) {
        blob_read_abort(TAKE(call->extra));
    }
    end_download(call);
}

static void on_drained(struct http_request *request)
{
    struct call *call = request->user;
    if (call == NULL || !call->is_held) {
        return;
    }
    call->is_held = false;
    blob_read_next(call->extra);
}

static void on_piece(void *ctx, enum status status, struct slice piece)
{
    struct call *call = ctx;
    ensure_magic(call, CALL_MAGIC);
    if (status != STATUS_OK || piece.len == 0) {
        call->extra = NULL; /* the reader freed itself */
        end_download(call);
        return;
    }
    if (http_answer_write(call->request, piece)) {
        blob_read_next(call->extra);
    } else {
        call->is_held = true;
    }
}

enum range_kind { RANGE_NONE, RANGE_PART, RANGE_BAD };

static bool take_number(struct slice *text, uint64_t *ret)
{
    size_t i = 0;
    uint64_t value = 0;
    while (i < text->len && text->data[i] >= '0' && text->data[i] <= '9' && i < 19) {
        value = value * 10 + (uint64_t)(text->data[i] - '0');
        i++;
    }
    text->data += i;
    text->len -= i;
    *ret = value;
    return i > 0;
}

/* One byte range (RFC 9110 section 14.1.2). Anything else is ignored, as the RFC allows: the whole is answered. */
static enum range_kind parse_range(struct slice text, uint64_t size, uint64_t *ret_offset, uint64_t *ret_len)
{
    struct slice prefix = SLICE("bytes=");
    if (!slice_starts_with(text, prefix)) {
        return RANGE_NONE;
    }
    text.data += prefix.len;
    text.len -= prefix.len;
    uint64_t first, last;
    bool has_first = take_number(&text, &first);
    if (text.len == 0 || text.data[0] != '-') {
        return RANGE_NONE;
    }
    text.data++;
    text.len--;
    bool has_last = take_number(&text, &last);
    if (text.len != 0 || (!has_first && !has_last) || (has_first && has_last && last < first)) {
        return RANGE_NONE;
    }
    if (!has_first) { /* the last so many */
        if (last == 0 || size == 0) {
            return RANGE_BAD;
        }
        *ret_len = last < size ? last : size;
        *ret_offset = size - *ret_len;
        return RANGE_PART;
    }
    if (first >= size) {
        return RANGE_BAD;
    }
    *ret_offset = first;
    *ret_len = (has_last && last < size - 1 ? last : size - 1) - first + 1;
    return RANGE_PART;
}

void handle_blob_get(struct call *call)
{
    struct hub *hub = call->hub;
    uint64_t size = 0;
    char headers[320];
    enum status status = is_digest(call_param(call)) ? blob_stat(hub->blobs, call->param, &size) : STATUS_NOT_FOUND;
    if (status == STATUS_NOT_FOUND) {
        call_refuse_status(call, status, "there is no blob %.*s", SLICE_ARG(call_param(call)));
        return;
    }
    if (status != STATUS_OK) {
        call_refuse_status(call, status, NULL);
        return;
    }
    if (call->request->method == HTTP_HEAD) {
        blob_touch(hub->blobs, call->param); /* whoever asks is about to name it */
    }
    char etag[HEX_DIGITS + 3];
    snprintf(etag, sizeof(etag), "\"%.*s\"", HEX_DIGITS, call->param);
    int len =
        snprintf(headers, sizeof(headers),
                 "ETag: %s\r\nAccept-Ranges: bytes\r\nCache-Control: public, max-age=31536000, immutable\r\n", etag);
    if (slice_equal_str(http_header(call->request, "if-none-match"), etag)) {
        call_answer_nothing(call, 304, headers, NULL, 0);
        return;
    }
    uint64_t offset = 0, part = size;
    int answer = 200;
    struct slice range = http_header(call->request, "range");
    /* If-Range names the same content or it is not the same blob: the ETag is the content. */
    struct slice if_range = http_header(call->request, "if-range");
    if (range.len > 0 && (if_range.len == 0 || slice_equal_str(if_range, etag))) {
        switch (parse_range(range, size, &offset, &part)) {
        case RANGE_PART:
            answer = 206;
            snprintf(headers + len, sizeof(headers) - (size_t)len,
                     "Content-Range: bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64 "\r\n", offset, offset + part - 1, size);
            break;
        case RANGE_BAD:
            call_refuse_range(call, size);
            return;
        case RANGE_NONE:
            break;
        }
    }
    if (call->request->method == HTTP_HEAD || part == 0) {
        call_answer_nothing(call, answer, headers, "application/octet-stream", part);
        return;
    }
    if (is_too_busy(call)) {
        return;
    }
    struct blob_reader *reader = NULL;
    status = blob_read_begin(hub->blobs, call->param, offset, part, on_piece, call, &reader);
    if (status != STATUS_OK) {
        call_refuse_status(call, status, NULL);
        return;
    }
    call->extra = reader;
    call_charge(call, BLOB_READER_MEMORY);
    call->is_held = false;
    call_answer_begin(call, answer, "application/octet-stream", headers, part);
    http_on_drained(call->request, on_drained);
    call->request->on_gone = on_gone;
}

/* --- DELETE --- */

void handle_blob_delete(struct call *call)
{
    struct hub *hub = call->hub;
    uint64_t size = 0;
    bool is_named = false;
    enum status status = is_digest(call_param(call)) ? blob_stat(hub->blobs, call->param, &size) : STATUS_NOT_FOUND;
    if (status == STATUS_OK) {
        status = blob_is_named(hub, call->param, &is_named);
    }
    if (status == STATUS_OK && is_named) {
        call_refuse_status(call, STATUS_CONFLICT, "a task names this blob, in its input, result or history");
        return;
    }
    if (status == STATUS_OK) {
        status = blob_remove(hub->blobs, call->param, 0);
    }
    if (status == STATUS_NOT_FOUND) {
        call_refuse_status(call, status, "there is no blob %.*s", SLICE_ARG(call_param(call)));
    } else if (status == STATUS_AGAIN) {
        call_refuse_status(call, STATUS_BUSY, "history is being indexed; which tasks name the blob is not known yet");
    } else if (status != STATUS_OK) {
        call_refuse_status(call, status, NULL);
    } else {
        buf_printf(&call->routes->out, "{\"blob\":\"sha256:%.*s\",\"size\":%" PRIu64 "}", HEX_DIGITS, call->param,
                   size);
        call_answer(call, 200, sequencer_durable_seq(hub->sequencer), "");
    }
}
