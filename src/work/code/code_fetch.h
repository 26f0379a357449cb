/* code_fetch.h - the files and the standard input of a task, as descriptors. Blocking: for the thread pool. */
#ifndef SHOAL_WORK_CODE_CODE_FETCH_H
#define SHOAL_WORK_CODE_CODE_FETCH_H

#include <stdatomic.h>

#include "work/code/code_blob.h"
#include "work/code/code_input.h"
#include "work/code/code_store.h"

struct code_fetch {
    struct code_store *blobs;
    const struct code_hub *hub;
    const struct code_input *input;     /* its limits as they will hold on this node */
    const struct sandbox_limits *asked; /* as they were asked for */
    const atomic_bool *cancel;
    int *file_fds; /* as many as there are files; -1: to be filled */
    int *stdin_fd; /* -1: to be filled if the input comes from a blob */
};

/* Looks at the sizes of all blobs first and refuses before a byte is fetched: the files are copied into the box one by
 * one, so each counts, also one that has the content of another. Then every blob is fetched once, to disk. TOO_LARGE and
 * NOT_FOUND (the input is wrong), BUSY (too large for this node, not for others), NO_SPACE, UNREACHABLE,
 * DIGEST_MISMATCH, CANCELLED, with a sentence in `ret_why`. What was filled belongs to the caller either way. */
STATUS_MUST_CHECK enum status code_fetch(const struct code_fetch *fetch, struct buf *ret_why);

#endif
