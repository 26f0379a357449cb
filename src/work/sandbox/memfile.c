/* memfile.c - memory files. A path can be swapped for a symlink between a check and its use; a descriptor cannot. */
#include "work/sandbox/memfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int memfile_new(const char *name)
{
    return memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
}

int memfile_of(const char *name, struct slice content)
{
    int fd = memfile_new(name);
    if (fd < 0) {
        return -1;
    }
    if (!memfile_write(fd, content) || !memfile_seal(fd)) {
        int error = errno;
        close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

bool memfile_write(int fd, struct slice content)
{
    for (size_t done = 0; done < content.len;) {
        ssize_t written = write(fd, content.data + done, content.len - done);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written <= 0) {
            return false;
        }
        done += (size_t)written;
    }
    return true;
}

bool memfile_seal(int fd)
{
    return lseek(fd, 0, SEEK_SET) == 0 &&
           fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0;
}

bool memfile_size(int fd, uint64_t *ret_size)
{
    struct stat st;
    off_t at = lseek(fd, 0, SEEK_CUR);
    if (fstat(fd, &st) != 0 || at < 0 || st.st_size < at) {
        return false;
    }
    *ret_size = (uint64_t)(st.st_size - at);
    return true;
}

int memfile_reopen_read(int fd)
{
    char path[32];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    off_t at = lseek(fd, 0, SEEK_CUR);
    int reader = at < 0 ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    if (reader >= 0 && at > 0 && lseek(reader, at, SEEK_SET) != at) {
        close(reader);
        return -1;
    }
    return reader;
}

enum status memfile_read(int fd, struct buf *out)
{
    uint64_t size;
    off_t at = lseek(fd, 0, SEEK_CUR);
    if (!memfile_size(fd, &size)) {
        return STATUS_IO;
    }
    if (buf_reserve(out, (size_t)size) != STATUS_OK) {
        return STATUS_TOO_LARGE;
    }
    for (size_t done = 0; done < (size_t)size;) {
        ssize_t got = pread(fd, out->data + out->len, (size_t)size - done, at + (off_t)done);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            return STATUS_IO;
        }
        out->len += (size_t)got;
        done += (size_t)got;
    }
    return STATUS_OK;
}
