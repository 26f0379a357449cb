/* key_file.c - one line, and who may read it. */
#include "base/key_file.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define LINE_SIZE 512

enum status key_file_read(const char *path, char *ret, size_t size, struct buf *why)
{
    FILE *file = fopen(path, "re");
    struct stat facts;
    if (file == NULL || fstat(fileno(file), &facts) != 0) {
        buf_printf(why, "cannot read the key file %s: %s", path, strerror(errno));
        if (file != NULL) {
            fclose(file);
        }
        return STATUS_CONFIG;
    }
    /* What is no regular file, such as the pipe of <(…), has no mode that says anything. */
    if (S_ISREG(facts.st_mode) && (facts.st_mode & (S_IROTH | S_IWOTH | S_IWGRP)) != 0) {
        fclose(file);
        buf_printf(why, "the key file %s can be read or written by others (mode %03o); say: chmod 600 %s", path,
                   (unsigned)(facts.st_mode & 0777), path);
        return STATUS_CONFIG;
    }
    char line[LINE_SIZE] = "";
    bool has_line = fgets(line, sizeof(line), file) != NULL;
    fclose(file);
    size_t len = strcspn(line, "\r\n");
    while (len > 0 && (line[len - 1] == ' ' || line[len - 1] == '\t')) {
        len--;
    }
    size_t begin = strspn(line, " \t");
    enum status status = STATUS_CONFIG;
    if (!has_line || begin >= len) {
        buf_printf(why, "the first line of the key file %s is empty", path);
    } else if (len - begin >= size) {
        buf_printf(why, "the key in %s is longer than %zu bytes", path, size - 1);
    } else {
        memcpy(ret, line + begin, len - begin);
        ret[len - begin] = '\0';
        status = STATUS_OK;
    }
    explicit_bzero(line, sizeof(line));
    return status;
}
