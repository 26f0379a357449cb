/* memfile.h - memory files: how content gets into a sandbox and out of it without a path that a job could change.
 *
 * Wherever content is handed over as a descriptor, of a memory file or of one on disk, it begins at the descriptor's
 * offset, which is left alone by whoever reads it. */
#ifndef SHOAL_WORK_SANDBOX_MEMFILE_H
#define SHOAL_WORK_SANDBOX_MEMFILE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"
#include "base/status.h"

/* A new memory file, empty. Closed on exec. -1 with errno. */
int memfile_new(const char *name);
/* A new memory file with this content, sealed against any change. -1 with errno. */
int memfile_of(const char *name, struct slice content);
/* Writes all of it. False with errno. */
bool memfile_write(int fd, struct slice content);
/* Sets the offset to 0 and seals a memory file against any change. False with errno. */
bool memfile_seal(int fd);
/* Bytes from the offset to the end. False with errno. */
bool memfile_size(int fd, uint64_t *ret_size);
/* Another descriptor of the same file, for reading, with an offset of its own where this one's is. -1 with errno. */
int memfile_reopen_read(int fd);
/* Appends the whole content to `out`. IO, TOO_LARGE. */
STATUS_MUST_CHECK enum status memfile_read(int fd, struct buf *out);

#endif
