/* What the file driver promises its owner, one sentence a test; crashes and damage have files of their own. */
#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/ensure.h"
#include "base/limits.h"

static void an_entry_is_applied_at_once_and_durable_after_writing(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_init(&fixture, 1);
    assert_int_equal(fixture_open(&fixture), STATUS_OK);
    assert_int_equal(fixture.recovery.entries, 0);
    assert_string_equal(fixture.recovery.detail, "");
    assert_int_equal(fixture_propose(&fixture, 10), STATUS_OK);
    assert_int_equal(fixture.applied_seq, 1);
    fixture.journal->driver->poll(fixture.journal);
    assert_int_equal(fixture.durables, 0);
    assert_int_equal(fixture.journal->driver->durable_seq(fixture.journal), 0);
    assert_int_equal(fixture.journal->driver->unsynced_size(fixture.journal), 48);
    assert_true(file_journal_write(fixture.journal));
    assert_int_equal(fixture.durables, 0); /* the writer calls nobody */
    fixture.journal->driver->poll(fixture.journal);
    assert_int_equal(fixture.durables, 1);
    assert_int_equal(fixture.durable_seq, 1);
    assert_int_equal(fixture.journal->driver->unsynced_size(fixture.journal), 0);
    assert_false(file_journal_write(fixture.journal));
    fixture_free(&fixture);
}

static void many_proposals_share_one_write_and_one_sync(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_init(&fixture, 1);
    assert_int_equal(fixture_open(&fixture), STATUS_OK);
    fixture_must_propose(&fixture, 10);
    fixture_settle(&fixture);
    uint64_t writes = disk_sim_calls(fixture.disk, DISK_SIM_WRITE);
    uint64_t syncs = disk_sim_calls(fixture.disk, DISK_SIM_SYNC);
    for (unsigned i = 0; i < 50; i++) {
        assert_int_equal(fixture_propose(&fixture, 60), STATUS_OK);
    }
    fixture_settle(&fixture);
    assert_int_equal(fixture.durable_seq, 51);
    assert_int_equal(disk_sim_calls(fixture.disk, DISK_SIM_WRITE), writes + 1);
    assert_int_equal(disk_sim_calls(fixture.disk, DISK_SIM_SYNC), syncs + 1);
    fixture_free(&fixture);
}

static void time_never_goes_back(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_init(&fixture, 1);
    assert_int_equal(fixture_open(&fixture), STATUS_OK);
    fixture.now_ns = 5000;
    fixture_must_propose(&fixture, 1);
    fixture.now_ns = 4000;
    fixture_must_propose(&fixture, 1);
    assert_int_equal(fixture.entries[1].time_ns, 5000); /* and on_entry was given the same: its state agrees */
    fixture_close(&fixture);
    fixture.now_ns = 3000;
    assert_int_equal(fixture_open(&fixture), STATUS_OK);
    fixture_must_propose(&fixture, 1);
    assert_int_equal(fixture.entries[2].time_ns, 5000);
    fixture_free(&fixture);
}

static void bodies_of_every_length_come_back(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_init(&fixture, 1);
    assert_int_equal(fixture_open(&fixture), STATUS_OK);
    for (size_t len = 0; len < 1100; len++) {
        fixture_must_propose(&fixture, len);
    }
    fixture_close(&fixture); /* which writes what is left */
    assert_int_equal(fixture_open(&fixture), STATUS_OK);
    assert_int_equal(fixture.last_seq, 1100);
    assert_int_equal(fixture.recovery.first_seq, 1);
    assert_int_equal(fixture.recovery.entries, 1100);
    assert_int_equal(fixture.recovery.truncated_size, 0);
    fixture_free(&fixture);
}

static void too_much_unsynced_is_busy_and_changes_nothing(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_init(&fixture, 1);
    fixture.config.unsynced_size_max = 1000;
    assert_int_equal(fixture_open(&fixture), STATUS_OK);
    assert_int_equal(fixture_propose(&fixture, 464), STATUS_OK);
    assert_int_equal(fixture_propose(&fixture, 464), STATUS_OK);
    assert_int_equal(fixture_propose(&fixture, 0), STATUS_BUSY);
    assert_int_equal(fixture.applied_seq, 2);
    assert_null(file_journal_check(fixture.journal));
    fixture_settle(&fixture);
    /* One that is larger than the limit passes when nothing else waits. */
    assert_int_equal(fixture_propose(&fixture, 2000), STATUS_OK);
    assert_int_equal(fixture_propose(&fixture, 0), STATUS_BUSY);
    fixture_settle(&fixture);
    assert_int_equal(fixture.durable_seq, 3);
    fixture_free(&fixture);
}

static void applied_nothing(void *ctx, const struct journal_entry *entry)
{
    *(size_t *)ctx = entry->body.len;
}

static void durable_nothing(void *ctx, uint64_t seq)
{
    (void)ctx;
    (void)seq;
}

static void failed_nothing(void *ctx, enum status status, const char *why)
{
    (void)ctx;
    fail_msg("%s: %s", status_slug(status), why);
}

static void the_largest_entry_fits_a_small_segment_size(void **state)
{
    (void)state;
    struct disk *disk = disk_sim_new(1);
    struct file_journal_config config = {
        .disk = disk, .segment_size = LIMIT_SEGMENT_SIZE_MIN, .unsynced_size_max = LIMIT_UNSYNCED_SIZE};
    size_t len = 0;
    struct journal_callbacks callbacks = {applied_nothing, durable_nothing, failed_nothing, &len};
    struct file_journal_recovery recovery;
    struct journal *journal;
    char *body = calloc(1, LIMIT_ENTRY_SIZE + 1);
    assert_non_null(disk);
    assert_non_null(body);
    assert_int_equal(file_journal_open(&config, NULL, &callbacks, NULL, &recovery, &journal), STATUS_OK);
    assert_int_equal(journal->driver->propose(journal, 1, slice_of(body, LIMIT_ENTRY_SIZE + 1)), STATUS_TOO_LARGE);
    for (unsigned i = 0; i < 3; i++) {
        enum status status = journal->driver->propose(journal, 1, slice_of(body, LIMIT_ENTRY_SIZE));
        assert_int_equal(status, STATUS_BUSY); /* room of this size is made first */
        assert_true(file_journal_write(journal));
        assert_int_equal(journal->driver->propose(journal, 1, slice_of(body, LIMIT_ENTRY_SIZE)), STATUS_OK);
        assert_int_equal(len, LIMIT_ENTRY_SIZE);
        enum status small;
        while ((small = journal->driver->propose(journal, 1, slice_of(body, 100))) == STATUS_BUSY) {
            assert_true(file_journal_write(journal));
        }
        assert_int_equal(small, STATUS_OK);
    }
    journal->driver->close(journal);
    assert_int_equal(file_journal_open(&config, NULL, &callbacks, NULL, &recovery, &journal), STATUS_OK);
    assert_int_equal(recovery.entries, 6);
    journal->driver->close(journal);
    disk_sim_free(disk);
    free(body);
}

static void a_failed_sync_ends_it_and_is_not_tried_again(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_init(&fixture, 1);
    assert_int_equal(fixture_open(&fixture), STATUS_OK);
    fixture_must_propose(&fixture, 10);
    fixture_settle(&fixture);
    assert_int_equal(fixture_propose(&fixture, 10), STATUS_OK);
    disk_sim_fail_call(fixture.disk, DISK_SIM_SYNC, 1, STATUS_IO, 0);
    assert_true(file_journal_write(fixture.journal));
    uint64_t syncs = disk_sim_calls(fixture.disk, DISK_SIM_SYNC | DISK_SIM_WRITE);
    fixture.journal->driver->poll(fixture.journal);
    assert_int_equal(fixture.failures, 1);
    assert_int_equal(fixture.failed, STATUS_IO);
    assert_int_equal(fixture.durable_seq, 1);
    assert_int_equal(fixture_propose(&fixture, 10), STATUS_IO);
    assert_false(file_journal_write(fixture.journal));
    fixture.journal->driver->poll(fixture.journal); /* on_failed once: the fixture demands it */
    fixture_close(&fixture);
    assert_int_equal(disk_sim_calls(fixture.disk, DISK_SIM_SYNC | DISK_SIM_WRITE), syncs);
    fixture_free(&fixture);
}

/* --- full disks --- */

static void a_full_disk_refuses_and_loses_nothing(void **state)
{
    (void)state;
    for (uint64_t extra = 0; extra < 3 * FIXTURE_SEGMENT_SIZE; extra += 1777) {
        struct fixture fixture;
        fixture_init(&fixture, extra);
        disk_sim_set_capacity(fixture.disk, 2 * FIXTURE_SEGMENT_SIZE + extra);
        assert_int_equal(fixture_open(&fixture), STATUS_OK);
        enum status status;
        unsigned rounds = 0;
        do {
            fixture.now_ns += 2000000000;
            status = fixture_propose(&fixture, 300);
            if (status == STATUS_BUSY) {
                fixture_settle(&fixture);
            }
            assert_true(++rounds < 1000);
        } while (status == STATUS_OK || status == STATUS_BUSY);
        assert_int_equal(status, STATUS_NO_SPACE);
        fixture_settle(&fixture);
        assert_int_equal(fixture.failures, 0);
        assert_int_equal(fixture.durable_seq, fixture.last_seq);
        assert_true(fixture.last_seq > 20);
        assert_int_equal(file_journal_prepare(fixture.journal), STATUS_NO_SPACE);
        assert_false(disk_sim_has_file(fixture.disk, "journal/spare.tmp")); /* gives back what it could not use */
        /* The hub is restarted on the full disk: it comes up with everything. */
        fixture_close(&fixture);
        assert_int_equal(fixture_open(&fixture), STATUS_OK);
        /* Someone makes space. Whoever was refused is told, by itself or by the thread that prepares. */
        disk_sim_set_capacity(fixture.disk, 20 * FIXTURE_SEGMENT_SIZE);
        if (extra % 2 == 0) {
            while (file_journal_prepare(fixture.journal) == STATUS_OK) {
            }
        } else {
            do {
                fixture.now_ns += 2000000000;
                status = fixture_propose(&fixture, 300);
                fixture_settle(&fixture);
            } while (status == STATUS_NO_SPACE || status == STATUS_BUSY);
            assert_int_equal(status, STATUS_OK);
        }
        fixture_must_propose(&fixture, 300);
        fixture_settle(&fixture);
        assert_int_equal(fixture.durable_seq, fixture.last_seq);
        fixture_free(&fixture);
    }
}

static void news_of_room_is_told(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_init(&fixture, 1);
    assert_int_equal(fixture_open(&fixture), STATUS_OK);
    while (fixture_propose(&fixture, 500) == STATUS_OK) {
    }
    file_journal_write(fixture.journal); /* writes, and makes the room that was refused */
    fixture.journal->driver->poll(fixture.journal);
    unsigned durables = fixture.durables;
    fixture.journal->driver->poll(fixture.journal);
    assert_int_equal(fixture.durables, durables);
    /* A refusal for want of room when nothing is unsynced: on_durable comes all the same, or the owner would wait for
     * ever. */
    fixture_must_propose(&fixture, 500);
    fixture_settle(&fixture);
    enum status status;
    while ((status = fixture_propose(&fixture, 500)) == STATUS_OK) {
        fixture_settle(&fixture);
    }
    assert_int_equal(status, STATUS_BUSY);
    assert_int_equal(fixture.journal->driver->unsynced_size(fixture.journal), 0);
    durables = fixture.durables;
    assert_true(file_journal_write(fixture.journal));
    fixture.journal->driver->poll(fixture.journal);
    assert_int_equal(fixture.durables, durables + 1);
    assert_int_equal(fixture_propose(&fixture, 500), STATUS_OK);
    fixture_free(&fixture);
}

static void a_new_journal_on_a_full_disk_says_so(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_init(&fixture, 1);
    disk_sim_set_capacity(fixture.disk, 1000);
    assert_int_equal(fixture_open(&fixture), STATUS_NO_SPACE);
    assert_int_equal(disk_sim_calls(fixture.disk, DISK_SIM_WRITE), 0);
    fixture_free(&fixture);
}

/* --- snapshots, trimming, recycling --- */

static unsigned count_files(struct fixture *fixture, const char *pattern)
{
    unsigned count = 0;
    for (uint64_t seq = 0; seq <= fixture->last_seq + 1; seq++) {
        char path[64];
        snprintf(path, sizeof(path), pattern, (unsigned long long)seq);
        count += disk_sim_has_file(fixture->disk, path);
    }
    return count;
}

static void propose_many(struct fixture *fixture, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        fixture->now_ns += 7;
        fixture_must_propose(fixture, 300);
    }
    fixture_settle(fixture);
}

static void trim_keeps_two_snapshots_and_what_they_need(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_init(&fixture, 1);
    assert_int_equal(fixture_open(&fixture), STATUS_OK);
    propose_many(&fixture, 100);
    unsigned before = count_files(&fixture, "journal/%020llu.seg");
    assert_true(before > 3);
    assert_int_equal(file_journal_trim(fixture.journal, UINT64_MAX), STATUS_OK);
    assert_int_equal(count_files(&fixture, "journal/%020llu.seg"), before);
    assert_int_equal(fixture_snapshot(&fixture), STATUS_OK);
    assert_int_equal(file_journal_trim(fixture.journal, UINT64_MAX), STATUS_OK);
    assert_int_equal(count_files(&fixture, "journal/%020llu.seg"), before); /* one snapshot alone is not enough */
    propose_many(&fixture, 100);
    assert_int_equal(fixture_snapshot(&fixture), STATUS_OK);
    before = count_files(&fixture, "journal/%020llu.seg");
    assert_int_equal(file_journal_trim(fixture.journal, 10), STATUS_OK);
    assert_int_equal(count_files(&fixture, "journal/%020llu.seg"), before); /* history needs them */
    propose_many(&fixture, 100);
    assert_int_equal(fixture_snapshot(&fixture), STATUS_OK);
    assert_int_equal(file_journal_trim(fixture.journal, UINT64_MAX), STATUS_OK);
    assert_int_equal(count_files(&fixture, "snapshot/%020llu.snap"), 2);
    assert_null(file_journal_check(fixture.journal));
    unsigned after = count_files(&fixture, "journal/%020llu.seg");
    assert_true(after > 3 && after < before); /* entries 201 to 300 */
    assert_true(count_files(&fixture, "journal/spare-%llu.seg") <= 2);
    fixture_close(&fixture);
    assert_int_equal(fixture_open(&fixture), STATUS_OK);
    assert_int_equal(fixture.recovery.snapshot_seq, 300);
    assert_int_equal(fixture.recovery.entries, 0);
    /* And a scan from the older snapshot reads on to the end. */
    struct file_journal_recovery recovery;
    assert_int_equal(file_journal_scan(fixture.disk, 201, fixture_is_entry, &fixture, &recovery), STATUS_OK);
    assert_int_equal(recovery.entries, 100);
    assert_int_equal(recovery.first_seq, 201);
    assert_int_equal(file_journal_scan(fixture.disk, 1, fixture_is_entry, &fixture, &recovery), STATUS_CORRUPT);
    assert_non_null(strstr(recovery.detail, "missing"));
    fixture_free(&fixture);
}

static void segments_are_used_again(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_init(&fixture, 1);
    assert_int_equal(fixture_open(&fixture), STATUS_OK);
    uint64_t creates = 0;
    for (unsigned round = 0; round < 30; round++) {
        propose_many(&fixture, 24); /* about one segment */
        assert_int_equal(fixture_snapshot(&fixture), STATUS_OK);
        assert_int_equal(file_journal_trim(fixture.journal, UINT64_MAX), STATUS_OK);
        if (round == 10) {
            creates = disk_sim_calls(fixture.disk, DISK_SIM_FREE_SIZE); /* asked once for each file made of zeros */
        }
        /* The old records behind the end of a recycled segment are not taken for new ones. */
        fixture_close(&fixture);
        assert_int_equal(fixture_open(&fixture), STATUS_OK);
        assert_int_equal(fixture.recovery.truncated_size, 0);
    }
    assert_true(disk_sim_calls(fixture.disk, DISK_SIM_FREE_SIZE) <= creates + 1);
    fixture_free(&fixture);
}

static void a_damaged_snapshot_is_replaced_by_the_older_one(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_init(&fixture, 1);
    assert_int_equal(fixture_open(&fixture), STATUS_OK);
    for (unsigned i = 0; i < 3; i++) {
        propose_many(&fixture, 60);
        assert_int_equal(fixture_snapshot(&fixture), STATUS_OK);
        assert_int_equal(file_journal_trim(fixture.journal, UINT64_MAX), STATUS_OK);
    }
    propose_many(&fixture, 5);
    fixture_close(&fixture);
    const char *newest = "snapshot/00000000000000000180.snap";
    const char *older = "snapshot/00000000000000000120.snap";
    uint64_t size = disk_sim_file_size(fixture.disk, newest);
    for (uint64_t at = 0; at < size; at++) {
        struct snapshot_info info;
        char *text;
        size_t len;
        disk_sim_flip_bit(fixture.disk, newest, at, at % 8);
        assert_int_equal(snapshot_read(fixture.disk, 180, &info, &text, &len), STATUS_CORRUPT);
        disk_sim_flip_bit(fixture.disk, newest, at, at % 8);
    }
    for (uint64_t cut = 0; cut < size; cut += 1 + size / 40) {
        struct disk *disk = disk_sim_clone(fixture.disk, cut);
        struct snapshot_info info;
        char *text;
        size_t len;
        disk_sim_resize(disk, newest, cut);
        assert_int_equal(snapshot_read(disk, 180, &info, &text, &len), STATUS_CORRUPT);
        disk_sim_free(disk);
    }
    disk_sim_flip_bit(fixture.disk, newest, 100, 1);
    assert_int_equal(fixture_open(&fixture), STATUS_OK);
    assert_int_equal(fixture.recovery.snapshot_seq, 120);
    assert_int_equal(fixture.recovery.first_seq, 121);
    assert_int_equal(fixture.recovery.last_seq, 185);
    assert_non_null(strstr(fixture.recovery.detail, "180"));
    fixture_close(&fixture);
    assert_false(disk_sim_has_file(fixture.disk, newest)); /* set aside, so that trim does not count on it */
    assert_true(disk_sim_has_file(fixture.disk, "snapshot/00000000000000000180.snap.damaged"));
    assert_int_equal(fixture_open(&fixture), STATUS_OK);
    assert_string_equal(fixture.recovery.detail, "");
    fixture_close(&fixture);
    /* With both gone the log does not reach back far enough. */
    disk_sim_flip_bit(fixture.disk, older, 100, 1);
    assert_int_equal(fixture_open(&fixture), STATUS_CORRUPT);
    assert_true(disk_sim_has_file(fixture.disk, older)); /* a refusal changes nothing */
    struct file_journal_repair report;
    assert_int_equal(file_journal_repair(fixture.disk, false, &report), STATUS_OK);
    assert_int_equal(report.kept_last_seq, 0);
    assert_true(report.lost_entries > 0);
    fixture.durable_seq = 0;
    assert_int_equal(fixture_open(&fixture), STATUS_OK);
    assert_int_equal(fixture.last_seq, 0);
    propose_many(&fixture, 200);
    fixture_free(&fixture);
}

static void every_snapshot_damaged_but_the_whole_log_there(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_init(&fixture, 1);
    assert_int_equal(fixture_open(&fixture), STATUS_OK);
    propose_many(&fixture, 60);
    assert_int_equal(fixture_snapshot(&fixture), STATUS_OK);
    fixture_close(&fixture);
    disk_sim_flip_bit(fixture.disk, "snapshot/00000000000000000060.snap", 3, 1);
    assert_int_equal(fixture_open(&fixture), STATUS_OK);
    assert_int_equal(fixture.recovery.snapshot_seq, 0);
    assert_int_equal(fixture.recovery.entries, 60);
    fixture_free(&fixture);
}

/* A snapshot may be all there is of the newest entries: a sector that cannot be read, for now, must not cost them. */
static void a_snapshot_that_cannot_be_read_is_not_passed_over(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_init(&fixture, 1);
    assert_int_equal(fixture_open(&fixture), STATUS_OK);
    propose_many(&fixture, 60);
    assert_int_equal(fixture_snapshot(&fixture), STATUS_OK);
    fixture_close(&fixture);
    const char *path = "snapshot/00000000000000000060.snap";
    uint64_t calls = disk_sim_calls(fixture.disk, DISK_SIM_READ);
    assert_int_equal(fixture_open(&fixture), STATUS_OK);
    calls = disk_sim_calls(fixture.disk, DISK_SIM_READ) - calls;
    fixture_close(&fixture);
    unsigned refused = 0;
    for (uint64_t call = 1; call <= calls; call++) {
        disk_sim_fail_call(fixture.disk, DISK_SIM_READ, call, STATUS_IO, 0);
        enum status status = fixture_open(&fixture);
        assert_true(disk_sim_has_failed(fixture.disk));
        if (status == STATUS_OK) {
            assert_int_equal(fixture.recovery.snapshot_seq, 60); /* the list looked at a header; nothing was lost */
            assert_string_equal(fixture.recovery.detail, "");
            fixture_close(&fixture);
        } else {
            assert_int_equal(status, STATUS_IO);
            refused += strstr(fixture.recovery.detail, path) != NULL;
        }
        assert_true(disk_sim_has_file(fixture.disk, path));
    }
    assert_int_equal(refused, 3); /* header, state, trailer */
    disk_sim_spoil_sector(fixture.disk, path, 0);
    assert_int_equal(fixture_open(&fixture), STATUS_IO);
    assert_non_null(strstr(fixture.recovery.detail, path));
    /* Whoever asks for it goes on without. */
    struct file_journal_repair report;
    assert_int_equal(file_journal_repair(fixture.disk, false, &report), STATUS_OK);
    assert_int_equal(report.kept_last_seq, 60);
    assert_int_equal(report.lost_entries, 0);
    assert_int_equal(fixture_open(&fixture), STATUS_OK);
    assert_int_equal(fixture.recovery.entries, 60);
    fixture_free(&fixture);
}

/* A snapshot of entries that the log then lost unsynced holds them alone; its damage is a loss, and is called one. */
static void a_damaged_snapshot_that_nothing_stands_in_for_is_refused(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_init(&fixture, 1);
    assert_int_equal(fixture_open(&fixture), STATUS_OK);
    propose_many(&fixture, 10);
    for (unsigned i = 0; i < 3; i++) {
        fixture_must_propose(&fixture, 100);
    }
    assert_int_equal(fixture_snapshot(&fixture), STATUS_OK);
    disk_sim_cut_power(fixture.disk, DISK_SIM_ANY, 1, 0);
    fixture_close(&fixture);
    disk_sim_crash(fixture.disk, DISK_SIM_LOSE_ALL);
    assert_int_equal(fixture_open(&fixture), STATUS_OK);
    assert_int_equal(fixture.last_seq, 13);
    fixture_close(&fixture);
    const char *path = "snapshot/00000000000000000013.snap";
    disk_sim_flip_bit(fixture.disk, path, 80, 1);
    assert_int_equal(fixture_open(&fixture), STATUS_CORRUPT);
    assert_non_null(strstr(fixture.recovery.detail, path));
    assert_non_null(strstr(fixture.recovery.detail, "shoal repair"));
    assert_true(disk_sim_has_file(fixture.disk, path)); /* a refusal changes nothing */
    struct file_journal_repair planned, report;
    assert_int_equal(file_journal_repair(fixture.disk, true, &planned), STATUS_OK);
    assert_int_equal(file_journal_repair(fixture.disk, false, &report), STATUS_OK);
    assert_int_equal(report.kept_last_seq, 10);
    assert_int_equal(report.lost_entries, 3);
    assert_int_equal(planned.lost_entries, 3);
    assert_non_null(strstr(report.detail, "entries 11 to 13"));
    fixture.durable_seq = 10;
    assert_int_equal(fixture_open(&fixture), STATUS_OK);
    assert_int_equal(fixture.last_seq, 10);
    propose_many(&fixture, 5);
    fixture_free(&fixture);
}

/* The last record of a recycled segment lies in front of an earlier life's records; a bit of it that flips is seen too. */
static void a_flipped_bit_in_the_last_record_of_a_recycled_segment_is_told(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_init(&fixture, 1);
    assert_int_equal(fixture_open(&fixture), STATUS_OK);
    for (unsigned round = 0; round < 12; round++) {
        propose_many(&fixture, 24);
        assert_int_equal(fixture_snapshot(&fixture), STATUS_OK);
        assert_int_equal(file_journal_trim(fixture.journal, UINT64_MAX), STATUS_OK);
    }
    propose_many(&fixture, 3);
    uint64_t last_seq = fixture.last_seq;
    fixture_close(&fixture);
    char path[64];
    uint64_t first_seq = last_seq;
    do {
        snprintf(path, sizeof(path), "journal/%020llu.seg", (unsigned long long)first_seq);
    } while (!disk_sim_has_file(fixture.disk, path) && --first_seq > 0);
    const uint64_t size = 32 + 300; /* propose_many's */
    const uint64_t at = 8192 + (last_seq - first_seq) * ((size + 7) & ~7ull);
    struct slice content = disk_sim_content(fixture.disk, path);
    assert_int_equal((unsigned char)content.data[12], 0); /* flags: recycled */
    assert_int_equal((unsigned char)content.data[at + 8], last_seq & 0xff);
    for (uint64_t bit = 0; bit < size * 8; bit++) {
        struct file_journal_recovery recovery;
        disk_sim_flip_bit(fixture.disk, path, at + bit / 8, bit % 8);
        assert_int_equal(file_journal_scan(fixture.disk, last_seq - 1, NULL, NULL, &recovery), STATUS_OK);
        assert_int_equal(recovery.last_seq, last_seq - 1);
        assert_true(recovery.truncated_size > 0);
        assert_non_null(strstr(recovery.detail, "torn"));
        disk_sim_flip_bit(fixture.disk, path, at + bit / 8, bit % 8);
    }
    fixture_free(&fixture);
}

static void a_snapshot_that_is_given_up_leaves_nothing(void **state)
{
    (void)state;
    struct fixture fixture;
    struct snapshot_writer *writer;
    uint8_t hash[32] = {0};
    fixture_init(&fixture, 1);
    assert_int_equal(fixture_open(&fixture), STATUS_OK);
    assert_int_equal(snapshot_begin(fixture.disk, 5, 1, hash, &writer), STATUS_OK);
    assert_true(snapshot_write(writer, "abc", 3));
    assert_int_equal(snapshot_end(writer, false), STATUS_CANCELLED);
    assert_false(disk_sim_has_file(fixture.disk, "snapshot/00000000000000000005.tmp"));
    assert_false(disk_sim_has_file(fixture.disk, "snapshot/00000000000000000005.snap"));
    /* One that a crash left is removed by opening. */
    assert_int_equal(snapshot_begin(fixture.disk, 6, 1, hash, &writer), STATUS_OK);
    disk_sim_fail_call(fixture.disk, DISK_SIM_RENAME | DISK_SIM_REMOVE, 1, STATUS_IO, 0);
    assert_int_equal(snapshot_end(writer, true), STATUS_IO);
    fixture_close(&fixture);
    assert_int_equal(fixture_open(&fixture), STATUS_OK);
    assert_false(disk_sim_has_file(fixture.disk, "snapshot/00000000000000000006.tmp"));
    fixture_free(&fixture);
}

/* --- durability --- */

static int64_t test_now_ns;

static int64_t test_mono_ns(void *ctx)
{
    (void)ctx;
    return test_now_ns;
}

static void interval_syncs_when_due(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_init(&fixture, 1);
    fixture.hooks.mono_ns = test_mono_ns;
    fixture.config.durability = DURABILITY_INTERVAL;
    fixture.config.sync_interval_ms = 100;
    test_now_ns = 1000000000;
    assert_int_equal(fixture_open(&fixture), STATUS_OK);
    assert_int_equal(file_journal_sync_due_ns(fixture.journal), INT64_MAX);
    fixture_must_propose(&fixture, 10);
    fixture_settle(&fixture); /* the first one is long due */
    uint64_t syncs = disk_sim_calls(fixture.disk, DISK_SIM_SYNC);
    fixture_must_propose(&fixture, 10);
    fixture_settle(&fixture);
    assert_int_equal(fixture.durable_seq, 2); /* answered, though not synced */
    assert_int_equal(disk_sim_calls(fixture.disk, DISK_SIM_SYNC), syncs);
    assert_int_equal(file_journal_sync_due_ns(fixture.journal), 1100000000);
    assert_false(file_journal_write(fixture.journal));
    test_now_ns = 1100000000;
    assert_true(file_journal_write(fixture.journal));
    assert_int_equal(disk_sim_calls(fixture.disk, DISK_SIM_SYNC), syncs + 1);
    assert_int_equal(file_journal_sync_due_ns(fixture.journal), INT64_MAX);
    fixture_must_propose(&fixture, 10);
    fixture_close(&fixture); /* closing syncs */
    assert_int_equal(disk_sim_calls(fixture.disk, DISK_SIM_SYNC), syncs + 2);
    fixture_free(&fixture);
}

static void none_never_syncs(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_init(&fixture, 1);
    fixture.config.durability = DURABILITY_NONE;
    assert_int_equal(fixture_open(&fixture), STATUS_OK);
    uint64_t syncs = disk_sim_calls(fixture.disk, DISK_SIM_SYNC);
    for (unsigned i = 0; i < 10; i++) {
        fixture_must_propose(&fixture, 10);
        fixture_settle(&fixture);
    }
    assert_int_equal(fixture.durable_seq, 10);
    fixture_close(&fixture);
    assert_int_equal(disk_sim_calls(fixture.disk, DISK_SIM_SYNC), syncs);
    assert_int_equal(fixture_open(&fixture), STATUS_OK); /* kill -9 takes nothing */
    assert_int_equal(fixture.last_seq, 10);
    fixture_free(&fixture);
}

/* --- prepare --- */

static void prepare_works_in_pieces(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_init(&fixture, 1);
    fixture.config.segment_size = 5u << 20;
    assert_int_equal(fixture_open(&fixture), STATUS_OK);
    assert_int_equal(file_journal_prepare(fixture.journal), STATUS_AGAIN); /* opening made the first one */
    fixture_must_propose(&fixture, 10);
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(file_journal_prepare(fixture.journal), STATUS_OK);
        fixture_must_propose(&fixture, 10); /* work goes on in between */
        fixture_settle(&fixture);
    }
    assert_int_equal(file_journal_prepare(fixture.journal), STATUS_AGAIN);
    fixture_close(&fixture);
    assert_int_equal(fixture_open(&fixture), STATUS_OK); /* and takes over the spare */
    assert_int_equal(file_journal_prepare(fixture.journal), STATUS_AGAIN);
    fixture_free(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_entry_is_applied_at_once_and_durable_after_writing),
        cmocka_unit_test(many_proposals_share_one_write_and_one_sync),
        cmocka_unit_test(time_never_goes_back),
        cmocka_unit_test(bodies_of_every_length_come_back),
        cmocka_unit_test(too_much_unsynced_is_busy_and_changes_nothing),
        cmocka_unit_test(the_largest_entry_fits_a_small_segment_size),
        cmocka_unit_test(a_failed_sync_ends_it_and_is_not_tried_again),
        cmocka_unit_test(a_full_disk_refuses_and_loses_nothing),
        cmocka_unit_test(news_of_room_is_told),
        cmocka_unit_test(a_new_journal_on_a_full_disk_says_so),
        cmocka_unit_test(trim_keeps_two_snapshots_and_what_they_need),
        cmocka_unit_test(segments_are_used_again),
        cmocka_unit_test(a_damaged_snapshot_is_replaced_by_the_older_one),
        cmocka_unit_test(every_snapshot_damaged_but_the_whole_log_there),
        cmocka_unit_test(a_snapshot_that_cannot_be_read_is_not_passed_over),
        cmocka_unit_test(a_damaged_snapshot_that_nothing_stands_in_for_is_refused),
        cmocka_unit_test(a_flipped_bit_in_the_last_record_of_a_recycled_segment_is_told),
        cmocka_unit_test(a_snapshot_that_is_given_up_leaves_nothing),
        cmocka_unit_test(interval_syncs_when_due),
        cmocka_unit_test(none_never_syncs),
        cmocka_unit_test(prepare_works_in_pieces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
