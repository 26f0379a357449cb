/* bench_journal.c - what the journal costs on top of the disk: entries made durable by the file driver against a bare
 * loop of pwrite and fdatasync of as many bytes, into a file of zeros and into one that is only allocated.
 *
 *   bench_journal [DIR [SECONDS]]     a scratch folder is made in DIR (default: .) and removed again
 *
 * Rounds of the three alternate, and the middle one of each is reported: a disk shared with others drifts. Making segments
 * is timed apart; a running hub does it in the time between batches. */
#include <assert.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/limits.h"
#include "journal/file_journal.h"
#include "journal/segment.h"

#define BODY_SIZE 224u /* a small task; 256 bytes with the record's head */
#define RECORD_SIZE 256u
#define ROUNDS 3
#define FILE_SIZE ((size_t)64 << 20)

struct result {
    double entries_per_s;
    double sync_us;
};

static _Noreturn void die(const char *what)
{
    perror(what);
    exit(1);
}

static int compare_results(const void *a, const void *b)
{
    double x = ((const struct result *)a)->entries_per_s;
    double y = ((const struct result *)b)->entries_per_s;
    return x < y ? -1 : x > y;
}

/* --- the bare loop --- */

static int make_file(const char *path, bool is_zeroed)
{
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) {
        die(path);
    }
    if (is_zeroed) {
        char *zeros = calloc(1, 1 << 20);
        for (size_t at = 0; at < FILE_SIZE; at += 1 << 20) {
            if (zeros == NULL || pwrite(fd, zeros, 1 << 20, (off_t)at) != 1 << 20) {
                die("write");
            }
        }
        free(zeros);
    } else if (posix_fallocate(fd, 0, (off_t)FILE_SIZE) != 0) {
        die("fallocate");
    }
    if (fsync(fd) != 0) {
        die("fsync");
    }
    return fd;
}

static struct result run_bare(const char *path, bool is_zeroed, unsigned batch, int64_t run_ns)
{
    int fd = make_file(path, is_zeroed);
    size_t len = (size_t)batch * RECORD_SIZE;
    char *data = malloc(len);
    uint64_t syncs = 0;
    int64_t start_ns = clock_mono_ns();
    int64_t now_ns = start_ns;
    if (data == NULL) {
        die("malloc");
    }
    memset(data, 'x', len);
    for (size_t at = 0; at + len <= FILE_SIZE && now_ns - start_ns < run_ns; at += len) {
        if (pwrite(fd, data, len, (off_t)at) != (ssize_t)len || fdatasync(fd) != 0) {
            die("write");
        }
        syncs++;
        now_ns = clock_mono_ns();
    }
    double seconds = (double)(now_ns - start_ns) / 1e9;
    close(fd);
    unlink(path);
    free(data);
    return (struct result){(double)(syncs * batch) / seconds, seconds * 1e6 / (double)syncs};
}

/* --- the journal --- */

static void on_entry(void *ctx, const struct journal_entry *entry)
{
    *(uint64_t *)ctx = entry->seq;
}

static void on_durable(void *ctx, uint64_t seq)
{
    ensure(seq <= *(uint64_t *)ctx);
}

static void on_failed(void *ctx, enum status status, const char *why)
{
    (void)ctx;
    (void)status;
    fprintf(stderr, "%s\n", why);
    exit(1);
}

static bool remove_one(void *ctx, const char *name)
{
    struct disk *disk = ctx;
    char path[300];
    snprintf(path, sizeof(path), "journal/%s", name);
    return disk->remove(disk, path) == STATUS_OK;
}

static struct result run_journal(const char *root, unsigned batch, int64_t run_ns, double *ret_prepare_ms)
{
    static char body[BODY_SIZE];
    static_assert(SEGMENT_RECORD_HEAD_SIZE + BODY_SIZE == RECORD_SIZE, "as many bytes as the bare loop");
    uint64_t seq = 0;
    struct disk *disk;
    struct journal *journal;
    struct file_journal_recovery recovery;
    struct journal_callbacks callbacks = {on_entry, on_durable, on_failed, &seq};
    struct file_journal_config config = {
        .segment_size = FILE_SIZE, .unsynced_size_max = LIMIT_UNSYNCED_SIZE, .salt = 1};
    memset(body, 'x', sizeof(body));
    if (disk_posix_open(root, &disk) != STATUS_OK) {
        die(root);
    }
    config.disk = disk;
    int64_t open_ns = clock_mono_ns();
    if (file_journal_open(&config, NULL, &callbacks, NULL, &recovery, &journal) != STATUS_OK) {
        fprintf(stderr, "%s\n", recovery.detail);
        exit(1);
    }
    *ret_prepare_ms = (double)(clock_mono_ns() - open_ns) / 1e6;
    uint64_t syncs = 0;
    int64_t start_ns = clock_mono_ns();
    int64_t now_ns = start_ns;
    bool is_full = false;
    while (!is_full && now_ns - start_ns < run_ns) {
        for (unsigned i = 0; i < batch && !is_full; i++) {
            is_full = journal->driver->propose(journal, now_ns, slice_of(body, sizeof(body))) != STATUS_OK;
        }
        if (is_full) {
            break; /* the end of the one segment, as for the bare loop */
        }
        ensure(file_journal_write(journal));
        journal->driver->poll(journal);
        syncs++;
        now_ns = clock_mono_ns();
    }
    double seconds = (double)(now_ns - start_ns) / 1e9;
    journal->driver->close(journal);
    ensure(disk->list(disk, "journal", remove_one, disk) == STATUS_OK);
    disk_posix_close(disk);
    return (struct result){(double)(syncs * batch) / seconds, seconds * 1e6 / (double)syncs};
}

static void print_row(const char *name, unsigned batch, struct result rounds[ROUNDS], double base)
{
    qsort(rounds, ROUNDS, sizeof(*rounds), compare_results);
    struct result middle = rounds[ROUNDS / 2];
    printf("%6u  %-34s %12.0f %9.1f %9.0f %7.2f\n", batch, name, middle.entries_per_s,
           middle.entries_per_s * RECORD_SIZE / 1e6, middle.sync_us, middle.entries_per_s / base);
}

int main(int argc, char **argv)
{
    static const unsigned batches[] = {1, 8, 64, 512, 4096};
    char root[512];
    char path[600];
    double prepare_ms = 0;
    int64_t run_ns = (int64_t)((argc > 2 ? atof(argv[2]) : 0.5) * 1e9);
    snprintf(root, sizeof(root), "%s/bench_journal-XXXXXX", argc > 1 ? argv[1] : ".");
    if (mkdtemp(root) == NULL) {
        die(root);
    }
    snprintf(path, sizeof(path), "%s/bare", root);
    printf("%6s  %-34s %12s %9s %9s %7s\n", "batch", "what", "entries/s", "MB/s", "us/sync", "of bare");
    for (size_t i = 0; i < ARRAY_COUNT(batches); i++) {
        struct result zeroed[ROUNDS];
        struct result allocated[ROUNDS];
        struct result journal[ROUNDS];
        for (unsigned round = 0; round < ROUNDS; round++) {
            zeroed[round] = run_bare(path, true, batches[i], run_ns);
            journal[round] = run_journal(root, batches[i], run_ns, &prepare_ms);
            allocated[round] = run_bare(path, false, batches[i], run_ns);
        }
        qsort(zeroed, ROUNDS, sizeof(*zeroed), compare_results);
        double base = zeroed[ROUNDS / 2].entries_per_s;
        print_row("pwrite+fdatasync, file of zeros", batches[i], zeroed, base);
        print_row("the journal", batches[i], journal, base);
        print_row("pwrite+fdatasync, only allocated", batches[i], allocated, base);
    }
    printf("making one segment of 64 MiB of zeros: %.0f ms\n", prepare_ms);
    snprintf(path, sizeof(path), "%s/journal", root);
    rmdir(path);
    snprintf(path, sizeof(path), "%s/snapshot", root);
    rmdir(path);
    return rmdir(root) == 0 ? 0 : 1;
}
