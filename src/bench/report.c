/* report.c - the run directory, and what a run ran on. */
#include "bench/report.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "bench/build_info.h"

#define FILE_SIZE_MAX ((size_t)256 << 20)

const char *report_verdict_name(enum bench_verdict verdict)
{
    static const char *const names[] = {[BENCH_PASS] = "pass",
                                        [BENCH_GATE_MISSED] = "gate-missed",
                                        [BENCH_INVALID] = "invalid",
                                        [BENCH_INTERRUPTED] = "interrupted"};
    return (unsigned)verdict < ARRAY_COUNT(names) ? names[verdict] : "invalid";
}

const char *report_commit(void)
{
    return SHOAL_COMMIT;
}

static void read_cpu_name(char *ret, size_t size)
{
    char line[256];
    snprintf(ret, size, "unknown");
    FILE *file = fopen("/proc/cpuinfo", "re");
    while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
        const char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) != 0 || colon == NULL) {
            continue;
        }
        snprintf(ret, size, "%.*s", (int)strcspn(colon + 2, "\n"), colon + 2);
        break;
    }
    if (file != NULL) {
        fclose(file);
    }
}

const struct report_machine *report_machine(void)
{
    static struct report_machine machine;
    struct utsname uts;
    if (machine.cores > 0) {
        return &machine;
    }
    read_cpu_name(machine.cpu, sizeof(machine.cpu));
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    machine.cores = cores > 0 ? (uint32_t)cores : 1;
    machine.memory_bytes = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    if (uname(&uts) == 0) {
        snprintf(machine.kernel, sizeof(machine.kernel), "%.16s %.64s", uts.sysname, uts.release);
        snprintf(machine.host, sizeof(machine.host), "%.64s", uts.nodename);
    }
    return &machine;
}

/* --- the directory --- */

static enum status io_status(int error)
{
    return error == ENOSPC || error == EDQUOT                    ? STATUS_NO_SPACE
           : error == EACCES || error == EPERM || error == EROFS ? STATUS_PERMISSION
                                                                 : STATUS_IO;
}

enum status report_make_dir(const char *parent, const struct bench_result *result, char *ret_dir, size_t dir_size,
                            char *ret_why, size_t why_size)
{
    char stamp[32];
    time_t seconds = (time_t)(result->started_wall_ns / NS_PER_S);
    struct tm tm;
    if (gmtime_r(&seconds, &tm) == NULL || strftime(stamp, sizeof(stamp), "%Y%m%dT%H%M%SZ", &tm) == 0) {
        snprintf(stamp, sizeof(stamp), "run");
    }
    if (mkdir(parent, 0755) != 0 && errno != EEXIST) {
        enum status status = io_status(errno);
        snprintf(ret_why, why_size, "cannot make the folder %s: %s", parent, strerror(errno));
        return status;
    }
    for (int i = 1; i < 1000; i++) { /* two runs may begin within a second */
        char number[8] = "";
        if (i > 1) {
            snprintf(number, sizeof(number), "-%d", i);
        }
        if ((size_t)snprintf(ret_dir, dir_size, "%s/%s-%s%s", parent, stamp,
                             result->scenario[0] != '\0' ? result->scenario : "run", number) >= dir_size) {
            break;
        }
        if (mkdir(ret_dir, 0755) == 0) {
            return STATUS_OK;
        }
        if (errno != EEXIST) {
            break;
        }
    }
    enum status status = io_status(errno);
    snprintf(ret_why, why_size, "cannot make the folder %s: %s", ret_dir, strerror(errno));
    return status;
}

static bool write_whole(int fd, struct slice text)
{
    while (text.len > 0) {
        ssize_t written = write(fd, text.data, text.len);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written < 0) {
            return false;
        }
        text = slice_of(text.data + written, text.len - (size_t)written);
    }
    return true;
}

static enum status write_file(const char *dir, const char *name, const struct buf *text, char *ret_why, size_t why_size)
{
    char path[1200], temporary[1200];
    if (buf_status(text) != STATUS_OK) {
        snprintf(ret_why, why_size, "%s does not fit into memory", name);
        return STATUS_NO_MEMORY;
    }
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    snprintf(temporary, sizeof(temporary), "%s/.%s.new", dir, name);
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    bool is_written = fd >= 0 && write_whole(fd, buf_slice(text));
    int error = errno;
    if (fd >= 0 && close(fd) != 0 && is_written) {
        is_written = false;
        error = errno;
    }
    if (is_written && rename(temporary, path) != 0) {
        is_written = false;
        error = errno;
    }
    if (is_written) {
        return STATUS_OK;
    }
    if (fd >= 0) {
        (void)unlink(temporary);
    }
    snprintf(ret_why, why_size, "cannot write %s: %s", path, strerror(error));
    return io_status(error);
}

enum status report_write(const char *dir, const struct report_context *context, const struct bench_result *result,
                         char *ret_why, size_t why_size)
{
    /* run.json last: it says that the rest is there. */
    static const char *const names[] = {"series.ndjson", "samples.ndjson", "histograms.json", "report.md",
                                        "report.html",   "junit.xml",      "metrics.prom",    "run.json"};
    struct buf text;
    enum status status = STATUS_OK;
    buf_init(&text, FILE_SIZE_MAX);
    for (size_t i = 0; i < ARRAY_COUNT(names) && status == STATUS_OK; i++) {
        buf_reset(&text);
        switch (i) {
        case 0:
            report_series(result, &text);
            break;
        case 1:
            report_samples(result, &text);
            break;
        case 2:
            report_histograms(result, &text);
            break;
        case 3:
            report_markdown(context, result, &text);
            break;
        case 4:
            report_html(context, result, &text);
            break;
        case 5:
            report_junit(result, &text);
            break;
        case 6:
            report_prometheus(result, &text);
            break;
        default:
            report_json(context, result, &text);
            break;
        }
        status = write_file(dir, names[i], &text, ret_why, why_size);
    }
    buf_free(&text);
    return status;
}
