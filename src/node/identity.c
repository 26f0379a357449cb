/* identity.c - the file is one line, "SUFFIX OWNER START", replaced as a whole by a rename. */
#include "node/identity.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base32.h"
#include "base/entropy.h"
#include "base/log.h"
#include "proto/name.h"

#define LINE_SIZE 128
#define HOST_SIZE_MAX 64

static bool read_identity(const char *path, struct node_identity *ret)
{
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return false;
    }
    char line[LINE_SIZE] = "";
    bool has_line = fgets(line, sizeof(line), file) != NULL;
    fclose(file);
    struct node_identity identity = {0};
    bool is_good = has_line && sscanf(line, "%6[0-9a-z] %" SCNx64 " %" SCNu64, identity.suffix, &identity.owner,
                                      &identity.start) == 3;
    if (!is_good || strlen(identity.suffix) != IDENTITY_SUFFIX_SIZE - 1 || identity.owner == 0) {
        log_warn("node.identity", "file=\"%s\" why=\"it is damaged; the node begins as a new one\"", path);
        return false;
    }
    *ret = identity;
    return true;
}

static void make_identity(struct node_identity *ret)
{
    uint64_t number;
    char text[BASE32_TEXT_SIZE];
    random_bytes(&number, sizeof(number));
    base32_format(number, text);
    *ret = (struct node_identity){0};
    memcpy(ret->suffix, text + BASE32_DIGITS - (IDENTITY_SUFFIX_SIZE - 1), IDENTITY_SUFFIX_SIZE);
    random_bytes(&ret->owner, sizeof(ret->owner));
    ret->owner |= 1;
}

static bool write_identity(const char *path, const struct node_identity *identity)
{
    char other[PATH_MAX + 32];
    snprintf(other, sizeof(other), "%s.new", path);
    int fd = open(other, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) {
        return false;
    }
    char line[LINE_SIZE];
    int len = snprintf(line, sizeof(line), "%s %016" PRIx64 " %" PRIu64 "\n", identity->suffix, identity->owner,
                       identity->start);
    bool is_good = write(fd, line, (size_t)len) == len && fsync(fd) == 0;
    int error = errno;
    close(fd);
    if (is_good && rename(other, path) == 0) {
        return true;
    }
    error = is_good ? errno : error;
    (void)unlink(other);
    errno = error;
    return false;
}

enum status identity_take(const char *data_dir, int64_t now_ms, struct node_identity *ret_identity, char *ret_why,
                          size_t why_size)
{
    char path[PATH_MAX + 16];
    snprintf(path, sizeof(path), "%s/identity", data_dir);
    bool is_known = read_identity(path, ret_identity);
    if (!is_known) {
        make_identity(ret_identity);
    }
    uint64_t now = now_ms > 0 ? (uint64_t)now_ms : 1;
    ret_identity->start = now > ret_identity->start ? now : ret_identity->start + 1;
    if (write_identity(path, ret_identity)) {
        return STATUS_OK;
    }
    if (is_known) { /* a full disk is no reason to stay away: the clock alone says which start is newer */
        log_warn("node.identity", "file=\"%s\" why=\"it cannot be written: %s\"", path, strerror(errno));
        return STATUS_OK;
    }
    snprintf(ret_why, why_size, "cannot write %s: %s", path, strerror(errno));
    return errno == ENOSPC ? STATUS_NO_SPACE : errno == EACCES || errno == EPERM ? STATUS_PERMISSION : STATUS_IO;
}

void identity_name(const struct node_identity *identity, const char *host, char ret_name[IDENTITY_NAME_SIZE])
{
    char machine[HOST_SIZE_MAX + 1];
    snprintf(machine, sizeof(machine), "%s", host[0] != '\0' ? host : "node");
    for (char *at = machine; *at != '\0'; at++) {
        if (!name_is_valid(slice_of(at, 1))) {
            *at = '-';
        }
    }
    snprintf(ret_name, IDENTITY_NAME_SIZE, "%s-%s", machine, identity->suffix);
}
