/* code_fetch.c - the files and the standard input of a task, as descriptors.
 *
 * A digest names the content, so one that is named by several files is asked for, fetched and kept once; the files share
 * a descriptor. What arrives goes to disk as it arrives: however large a blob is, the node holds a piece of it. */
#include "work/code/code_fetch.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/ensure.h"
#include "work/code/code_blob.h"
#include "work/sandbox/memfile.h"

#define STDIN_AT CODE_FILES_MAX /* its place behind the files */
#define PLACES (CODE_FILES_MAX + 1)

/* One digest of the task's. */
struct content {
    const char *hex;
    size_t place; /* the first that names it */
    uint64_t size;
    int fd; /* borrowed from the place; -1: not yet there */
};

struct contents {
    struct content items[PLACES];
    size_t count;
};

static const char *hex_at(const struct code_input *input, size_t place)
{
    return place == STDIN_AT ? input->stdin_blob : input->files[place].blob;
}

static int *fd_at(const struct code_fetch *fetch, size_t place)
{
    return place == STDIN_AT ? fetch->stdin_fd : &fetch->file_fds[place];
}

static struct content *content_of(struct contents *contents, const char *hex)
{
    for (size_t i = 0; i < contents->count; i++) {
        if (strcmp(contents->items[i].hex, hex) == 0) {
            return &contents->items[i];
        }
    }
    return NULL;
}

static void say_where(struct buf *why, size_t place)
{
    if (place == STDIN_AT) {
        buf_append_str(why, " (/stdin/blob)");
    } else {
        buf_printf(why, " (/files/%zu/blob)", place);
    }
}

static enum status no_hub(struct buf *why)
{
    buf_append_str(why, "this node has no hub to fetch the blob from");
    return STATUS_NOT_FOUND;
}

/* Notes a digest with its size, and its descriptor if the store has it. */
static enum status content_note(const struct code_fetch *fetch, struct contents *contents, size_t place,
                                struct buf *why)
{
    const char *hex = hex_at(fetch->input, place);
    if (content_of(contents, hex) != NULL) {
        return STATUS_OK;
    }
    struct content *content = &contents->items[contents->count++];
    *content = (struct content){.hex = hex, .place = place, .fd = -1};
    int *fd = fd_at(fetch, place);
    if ((*fd >= 0 || code_store_get(fetch->blobs, hex, fd) == STATUS_OK) && memfile_size(*fd, &content->size)) {
        content->fd = *fd;
        return STATUS_OK;
    }
    enum status status =
        fetch->hub->url == NULL ? no_hub(why) : code_blob_head(fetch->hub, hex, fetch->cancel, &content->size, why);
    if (status != STATUS_OK) {
        say_where(why, place);
    }
    return status;
}

/* What the files take in the box; the sum cannot run over, for it stops at the first that is too much. */
static enum status sizes_check(const struct code_fetch *fetch, struct contents *contents, struct buf *why)
{
    uint64_t total = 0;
    for (size_t i = 0; i < fetch->input->file_count; i++) {
        const struct code_file *file = &fetch->input->files[i];
        total += file->text != NULL ? file->text_len : content_of(contents, file->blob)->size;
        if (total > (uint64_t)fetch->asked->fs_mib << 20) {
            buf_append_str(why, "/limits/fs_mib is less than the files need");
            return STATUS_TOO_LARGE;
        }
        if (total > (uint64_t)fetch->asked->mem_mib << 20) {
            buf_append_str(why, "/limits/mem_mib is less than the files need, which lie in memory");
            return STATUS_TOO_LARGE;
        }
    }
    if (total > (uint64_t)fetch->input->limits.mem_mib << 20) {
        buf_printf(why, "the files need more than the %u MiB that this node has for a task",
                   fetch->input->limits.mem_mib);
        return STATUS_BUSY;
    }
    return STATUS_OK;
}

static enum status content_fetch(const struct code_fetch *fetch, struct content *content, struct buf *why)
{
    struct code_draft draft;
    int *fd = fd_at(fetch, content->place);
    enum status status = code_store_draft(fetch->blobs, content->hex, content->size, &draft);
    if (status == STATUS_OK) {
        status = code_blob_get(fetch->hub, content->hex, content->size, fetch->cancel, draft.fd, why);
        if (status == STATUS_OK) {
            status = code_store_adopt(fetch->blobs, content->hex, &draft, fd);
        } else {
            code_store_abandon(&draft);
        }
    }
    if (status != STATUS_OK) {
        if (why->len == 0) {
            buf_printf(why, "the blob cannot be kept on this node: %s", strerror(errno));
        }
        say_where(why, content->place);
        return status;
    }
    content->fd = *fd;
    return STATUS_OK;
}

enum status code_fetch(const struct code_fetch *fetch, struct buf *ret_why)
{
    struct contents contents = {.count = 0};
    const struct code_input *input = fetch->input;
    enum status status = STATUS_OK;
    for (size_t i = 0; i < input->file_count && status == STATUS_OK; i++) {
        if (input->files[i].text == NULL) {
            status = content_note(fetch, &contents, i, ret_why);
        }
    }
    if (status == STATUS_OK) {
        status = sizes_check(fetch, &contents, ret_why);
    }
    if (status == STATUS_OK && input->stdin_blob[0] != 0) { /* it is read from disk and has no limit of the task's */
        status = content_note(fetch, &contents, STDIN_AT, ret_why);
    }
    for (size_t i = 0; i < contents.count && status == STATUS_OK; i++) {
        if (contents.items[i].fd < 0) {
            status = content_fetch(fetch, &contents.items[i], ret_why);
        }
    }
    for (size_t i = 0; i < PLACES && status == STATUS_OK; i++) {
        bool is_blob =
            i == STDIN_AT ? input->stdin_blob[0] != 0 : i < input->file_count && input->files[i].text == NULL;
        int *fd = is_blob ? fd_at(fetch, i) : NULL;
        if (fd != NULL && *fd < 0 &&
            (*fd = fcntl(content_of(&contents, hex_at(input, i))->fd, F_DUPFD_CLOEXEC, 3)) < 0) {
            buf_printf(ret_why, "no descriptor for a file: %s", strerror(errno));
            status = STATUS_IO;
        }
    }
    return status;
}
