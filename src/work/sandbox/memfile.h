/* memfile.h - memory files: how content gets into a sandbox and out of it without a path that a job could change. */
#ifndef SHOAL_WORK_SANDBOX_MEMFILE_H
#define SHOAL_WORK_SANDBOX_MEMFILE_H

#include "base/buf.h"
#include "base/slice.h"
#include "base/status.h"

/* A new memory file, empty. Closed on exec. -1 with errno. */
int memfile_new(const char *name);
/* A new memory file with this content, sealed against any change. -1 with errno. */
int memfile_of(const char *name, struct slice content);
/* Another descriptor of the same file with an offset of its own, at 0. -1 with errno. */
int memfile_reopen_read(int fd);
/* Appends the whole content to `out`. IO, TOO_LARGE. */
STATUS_MUST_CHECK enum status memfile_read(int fd, struct buf *out);

#endif
