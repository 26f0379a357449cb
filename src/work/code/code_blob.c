/* code_blob.c - blobs of the hub, through libcurl. A digest names the content, so whatever a proxy or a broken disk
 * sends instead is noticed here and never reaches a box. */
#include "work/code/code_blob.h"

#include <curl/curl.h>
#include <stdio.h>
#include <string.h>

#include "base/ensure.h"
#include "work/sandbox/memfile.h"

#define CONNECT_MS 5000
#define STALL_S 20 /* without a byte for so long it is given up */

struct transfer {
    const atomic_bool *cancel;
    int fd;
    uint64_t size, size_max;
    struct sha256 *sha;
    struct slice upload;
    size_t uploaded;
    bool is_too_large, is_write_failed;
};

static size_t on_body(char *data, size_t size, size_t count, void *ctx)
{
    struct transfer *transfer = ctx;
    size_t len = size * count;
    transfer->size += len;
    if (transfer->size > transfer->size_max) {
        transfer->is_too_large = true;
        return 0;
    }
    sha256_update(transfer->sha, data, len);
    transfer->is_write_failed = !memfile_write(transfer->fd, slice_of(data, len));
    return transfer->is_write_failed ? 0 : len;
}

static size_t on_ignored(char *data, size_t size, size_t count, void *ctx)
{
    (void)data;
    (void)ctx;
    return size * count;
}

static size_t on_upload(char *data, size_t size, size_t count, void *ctx)
{
    struct transfer *transfer = ctx;
    size_t left = transfer->upload.len - transfer->uploaded, len = size * count < left ? size * count : left;
    if (len > 0) {
        memcpy(data, transfer->upload.data + transfer->uploaded, len);
    }
    transfer->uploaded += len;
    return len;
}

static int on_progress(void *ctx, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    (void)a, (void)b, (void)c, (void)d;
    struct transfer *transfer = ctx;
    return transfer->cancel != NULL && atomic_load(transfer->cancel) ? 1 : 0;
}

static CURL *curl_prepare(const struct code_hub *hub, const char *hex, struct transfer *transfer)
{
    char url[1024];
    snprintf(url, sizeof(url), "%s/v1/blobs/%s", hub->url, hex);
    CURL *curl = curl_easy_init();
    if (curl == NULL) {
        return NULL;
    }
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    if (hub->key != NULL) {
        curl_easy_setopt(curl, CURLOPT_HTTPAUTH, CURLAUTH_BEARER);
        curl_easy_setopt(curl, CURLOPT_XOAUTH2_BEARER, hub->key);
    }
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, (long)STALL_S);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, transfer);
    return curl;
}

/* Runs it; the status of what came back. */
static enum status curl_run(CURL *curl, const struct transfer *transfer, const char *what, struct buf *why)
{
    char error[CURL_ERROR_SIZE] = "";
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, error);
    CURLcode code = curl_easy_perform(curl);
    long http = 0;
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &http);
    if (code == CURLE_ABORTED_BY_CALLBACK) {
        buf_append_str(why, "cancelled");
        return STATUS_CANCELLED;
    }
    if (transfer->is_too_large) {
        buf_printf(why, "the blob is larger than %llu bytes", (unsigned long long)transfer->size_max);
        return STATUS_TOO_LARGE;
    }
    if (transfer->is_write_failed) {
        buf_append_str(why, "this node has no space for the blob");
        return STATUS_NO_SPACE;
    }
    if (code != CURLE_OK) {
        buf_printf(why, "the hub cannot be reached for %s: %s", what, error[0] != 0 ? error : curl_easy_strerror(code));
        return STATUS_UNREACHABLE;
    }
    if (http == 401) {
        buf_printf(why, "the hub wants another key for %s", what);
        return STATUS_UNREACHABLE;
    }
    if (http == 404) {
        buf_append_str(why, "the hub has no such blob");
        return STATUS_NOT_FOUND;
    }
    if (http < 200 || http > 299) {
        buf_printf(why, "the hub answered %ld to %s", http, what);
        return STATUS_UNREACHABLE;
    }
    return STATUS_OK;
}

enum status code_blob_head(const struct code_hub *hub, const char *hex, const atomic_bool *cancel, uint64_t *ret_size,
                           struct buf *ret_why)
{
    struct transfer transfer = {.cancel = cancel, .fd = -1};
    CURL *curl = curl_prepare(hub, hex, &transfer);
    if (curl == NULL) {
        return STATUS_NO_MEMORY;
    }
    curl_off_t size = -1;
    curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
    enum status status = curl_run(curl, &transfer, "the size of a blob", ret_why);
    if (status == STATUS_OK &&
        (curl_easy_getinfo(curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &size) != CURLE_OK || size < 0)) {
        buf_append_str(ret_why, "the hub does not say how long the blob is");
        status = STATUS_UNREACHABLE;
    }
    curl_easy_cleanup(curl);
    *ret_size = status == STATUS_OK ? (uint64_t)size : 0;
    return status;
}

enum status code_blob_get(const struct code_hub *hub, const char *hex, uint64_t size_max, const atomic_bool *cancel,
                          int fd, struct buf *ret_why)
{
    struct transfer transfer = {.cancel = cancel, .size_max = size_max, .fd = fd, .sha = sha256_new()};
    CURL *curl = curl_prepare(hub, hex, &transfer);
    enum status status = STATUS_NO_MEMORY;
    if (transfer.sha != NULL && curl != NULL) {
        curl_easy_setopt(curl, CURLOPT_FAILONERROR, 0L);
        curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
        curl_easy_setopt(curl, CURLOPT_WRITEDATA, &transfer);
        status = curl_run(curl, &transfer, "a blob", ret_why);
    }
    if (status == STATUS_OK) {
        uint8_t digest[SHA256_SIZE];
        char found[SHA256_HEX_SIZE];
        sha256_final(transfer.sha, digest);
        hex_encode(digest, sizeof(digest), found);
        if (strcmp(found, hex) != 0) {
            buf_append_str(ret_why, "the hub sent other bytes than the digest names");
            status = STATUS_DIGEST_MISMATCH;
        }
    }
    curl_easy_cleanup(curl);
    sha256_free(transfer.sha);
    return status;
}

enum status code_blob_put(const struct code_hub *hub, struct slice content, const atomic_bool *cancel,
                          char ret_hex[SHA256_HEX_SIZE], struct buf *ret_why)
{
    uint8_t digest[SHA256_SIZE];
    sha256(content, digest);
    hex_encode(digest, sizeof(digest), ret_hex);
    struct transfer transfer = {.cancel = cancel, .fd = -1, .upload = content};
    CURL *curl = curl_prepare(hub, ret_hex, &transfer);
    if (curl == NULL) {
        return STATUS_NO_MEMORY;
    }
    struct curl_slist *headers = curl_slist_append(NULL, "Expect:");
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(curl, CURLOPT_INFILESIZE_LARGE, (curl_off_t)content.len);
    curl_easy_setopt(curl, CURLOPT_READFUNCTION, on_upload);
    curl_easy_setopt(curl, CURLOPT_READDATA, &transfer);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_ignored);
    enum status status = curl_run(curl, &transfer, "an upload", ret_why);
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    return status;
}
