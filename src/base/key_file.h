/* key_file.h - secrets that stand in files. Reads the disk; core, proto and journal never include it. */
#ifndef SHOAL_BASE_KEY_FILE_H
#define SHOAL_BASE_KEY_FILE_H

#include "base/buf.h"
#include "base/status.h"

/* The first line of a file without white space around it, with a NUL, into ret[size]. CONFIG when it cannot be read, is
 * empty or too long, or when others than its owner and group may read or write it: a key that everybody knows keeps nobody
 * out. `why` gets a sentence without a full stop. */
STATUS_MUST_CHECK enum status key_file_read(const char *path, char *ret, size_t size, struct buf *why);

#endif
