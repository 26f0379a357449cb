/* Each bit and each byte that goes wrong in a finished log is noticed, or did not matter: never is a wrong entry
 * delivered. And what `shoal repair` leaves can be opened. */
#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/ensure.h"

struct record_place {
    char path[64];
    uint64_t offset;
    uint64_t size; /* without padding */
    uint64_t seq;
};

struct finished_log {
    struct fixture fixture;
    char paths[16][64];
    size_t path_count;
    struct record_place places[512];
    size_t place_count;
    uint64_t last_batch_seq; /* first entry of the last batch */
};

static bool collect_path(void *ctx, const char *name)
{
    struct finished_log *log = ctx;
    if (strstr(name, ".seg") != NULL && strncmp(name, "spare", 5) != 0 && strstr(name, "damaged") == NULL) {
        assert_true(log->path_count < ARRAY_COUNT(log->paths));
        snprintf(log->paths[log->path_count++], sizeof(log->paths[0]), "journal/%s", name);
    }
    return true;
}

static int compare_paths(const void *a, const void *b)
{
    return strcmp(a, b);
}

static uint64_t read_le(const char *at, unsigned bytes)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes; i++) {
        value |= (uint64_t)(unsigned char)at[i] << (8 * i);
    }
    return value;
}

/* Finds the records by the format as segment.c describes it, not by its code. */
static void find_places(struct finished_log *log)
{
    struct disk *disk = log->fixture.disk;
    uint64_t seq = 0;
    log->path_count = 0;
    log->place_count = 0;
    assert_int_equal(disk->list(disk, "journal", collect_path, log), STATUS_OK);
    qsort(log->paths, log->path_count, sizeof(log->paths[0]), compare_paths);
    for (size_t i = 0; i < log->path_count; i++) {
        struct slice content = disk_sim_content(disk, log->paths[i]);
        seq = seq == 0 ? strtoull(log->paths[i] + 8, NULL, 10) : seq;
        for (uint64_t at = 8192; at + 32 <= content.len && read_le(content.data + at + 8, 8) == seq; seq++) {
            uint64_t len = read_le(content.data + at, 4);
            struct record_place *place = &log->places[log->place_count++];
            assert_true(log->place_count <= ARRAY_COUNT(log->places));
            *place = (struct record_place){.offset = at, .size = 32 + len, .seq = seq};
            memcpy(place->path, log->paths[i], sizeof(place->path));
            at += (32 + len + 7) & ~7ull;
        }
    }
    assert_int_equal(seq, log->fixture.last_seq + 1);
}

/* `batches` batches of 1 to 4 entries, synced each. */
static void make_log(struct finished_log *log, uint64_t seed, unsigned batches)
{
    struct fixture *fixture = &log->fixture;
    fixture_init(fixture, seed);
    assert_int_equal(fixture_open(fixture), STATUS_OK);
    for (unsigned i = 0; i < batches; i++) {
        fixture->now_ns += 1000;
        fixture_settle(fixture);
        for (uint64_t n = 1 + rng_below(&fixture->rng, 4); n > 0; n--) {
            fixture_must_propose(fixture, rng_below(&fixture->rng, 400));
        }
    }
    log->last_batch_seq = fixture->durable_seq + 1;
    fixture_settle(fixture);
    assert_true(log->last_batch_seq <= fixture->last_seq);
    fixture_close(fixture);
    disk_sim_crash(fixture->disk, DISK_SIM_LOSE_ALL);
    find_places(log);
}

static const struct record_place *place_of(const struct finished_log *log, const char *path, uint64_t offset)
{
    for (size_t i = 0; i < log->place_count; i++) {
        const struct record_place *place = &log->places[i];
        if (strcmp(place->path, path) == 0 && offset >= place->offset && offset < place->offset + place->size) {
            return place;
        }
    }
    return NULL;
}

/* What a scan of the damaged log may say. */
static void check_scan(struct finished_log *log, enum status status, const struct file_journal_recovery *recovery,
                       const struct record_place *hit)
{
    uint64_t last_seq = log->fixture.last_seq;
    if (hit == NULL) {
        assert_int_equal(status, STATUS_OK);
        assert_int_equal(recovery->last_seq, last_seq);
    } else if (hit->seq < log->last_batch_seq) {
        assert_int_equal(status, STATUS_CORRUPT);
        assert_int_equal(recovery->last_seq, hit->seq - 1);
        assert_non_null(strstr(recovery->detail, hit->path));
        assert_non_null(strstr(recovery->detail, "offset"));
    } else {
        /* Nothing written later vouches for the last batch. */
        assert_int_equal(status, STATUS_OK);
        assert_int_equal(recovery->last_seq, hit->seq - 1);
        assert_true(recovery->truncated_size > 0);
    }
}

static void each_byte_is_flipped(void **state)
{
    (void)state;
    static struct finished_log log;
    make_log(&log, 5, 40);
    assert_true(log.path_count >= 3);
    unsigned corrupt = 0;
    for (size_t i = 0; i < log.path_count; i++) {
        for (uint64_t at = 0; at < FIXTURE_SEGMENT_SIZE; at++) {
            struct file_journal_recovery recovery;
            unsigned bit = (unsigned)rng_below(&log.fixture.rng, 8);
            disk_sim_flip_bit(log.fixture.disk, log.paths[i], at, bit);
            enum status status = file_journal_scan(log.fixture.disk, 1, fixture_is_entry, &log.fixture, &recovery);
            check_scan(&log, status, &recovery, place_of(&log, log.paths[i], at));
            corrupt += status == STATUS_CORRUPT;
            disk_sim_flip_bit(log.fixture.disk, log.paths[i], at, bit);
        }
    }
    assert_true(corrupt > 10000);
    fixture_free(&log.fixture);
}

/* The same through opening, which also cuts; at fewer places. */
static void opening_agrees_with_scanning(void **state)
{
    (void)state;
    static struct finished_log log;
    make_log(&log, 6, 40);
    for (size_t i = 0; i < log.path_count; i++) {
        for (uint64_t at = i; at < FIXTURE_SEGMENT_SIZE; at += 61) {
            struct fixture copy = log.fixture;
            copy.disk = disk_sim_clone(log.fixture.disk, at);
            copy.entries = malloc(FIXTURE_ENTRIES_MAX * sizeof(*copy.entries));
            assert_non_null(copy.entries);
            memcpy(copy.entries, log.fixture.entries, log.fixture.last_seq * sizeof(*copy.entries));
            copy.durable_seq = log.last_batch_seq - 1; /* the last batch may be taken for a torn write */
            disk_sim_flip_bit(copy.disk, log.paths[i], at, (unsigned)(at % 8));
            const struct record_place *hit = place_of(&log, log.paths[i], at);
            enum status status = fixture_open(&copy);
            if (status == STATUS_OK) {
                assert_true(hit == NULL || hit->seq >= log.last_batch_seq);
                assert_int_equal(copy.last_seq, hit == NULL ? log.fixture.last_seq : hit->seq - 1);
                fixture_must_propose(&copy, 50);
                fixture_settle(&copy);
                fixture_close(&copy);
                assert_int_equal(fixture_open(&copy), STATUS_OK);
            } else {
                assert_int_equal(status, STATUS_CORRUPT);
                assert_true(hit != NULL && hit->seq < log.last_batch_seq);
                assert_non_null(strstr(copy.recovery.detail, "shoal repair"));
            }
            fixture_free(&copy);
        }
    }
    fixture_free(&log.fixture);
}

static void each_length_of_a_cut_file_is_noticed(void **state)
{
    (void)state;
    static struct finished_log log;
    make_log(&log, 8, 22);
    for (size_t i = 0; i < log.path_count; i++) {
        struct disk *disk = disk_sim_clone(log.fixture.disk, i);
        assert_non_null(disk);
        for (uint64_t size = FIXTURE_SEGMENT_SIZE; size-- > 0;) {
            struct file_journal_recovery recovery;
            disk_sim_resize(disk, log.paths[i], size);
            assert_int_equal(file_journal_scan(disk, 1, fixture_is_entry, &log.fixture, &recovery), STATUS_CORRUPT);
            assert_non_null(strstr(recovery.detail, log.paths[i]));
        }
        disk_sim_free(disk);
    }
    fixture_free(&log.fixture);
}

static void a_missing_segment_is_noticed(void **state)
{
    (void)state;
    static struct finished_log log;
    make_log(&log, 9, 40);
    for (size_t i = 0; i + 1 < log.path_count; i++) {
        struct file_journal_recovery recovery;
        struct disk *disk = disk_sim_clone(log.fixture.disk, i);
        assert_non_null(disk);
        assert_int_equal(disk->remove(disk, log.paths[i]), STATUS_OK);
        assert_int_equal(file_journal_scan(disk, 1, fixture_is_entry, &log.fixture, &recovery), STATUS_CORRUPT);
        disk_sim_free(disk);
    }
    fixture_free(&log.fixture);
}

static void an_unreadable_sector_is_an_error_that_names_the_file(void **state)
{
    (void)state;
    static struct finished_log log;
    make_log(&log, 10, 40);
    disk_sim_spoil_sector(log.fixture.disk, log.paths[1], 9000);
    assert_int_equal(fixture_open(&log.fixture), STATUS_IO);
    assert_non_null(strstr(log.fixture.recovery.detail, log.paths[1]));
    /* Repair goes on around it and keeps what is in front. */
    struct file_journal_repair report;
    assert_int_equal(file_journal_repair(log.fixture.disk, false, &report), STATUS_OK);
    assert_true(report.kept_last_seq > 0 && report.kept_last_seq < log.fixture.last_seq);
    log.fixture.durable_seq = report.kept_last_seq;
    assert_int_equal(fixture_open(&log.fixture), STATUS_OK);
    assert_int_equal(log.fixture.last_seq, report.kept_last_seq);
    fixture_free(&log.fixture);
}

/* --- repair --- */

static void repair_cuts_at_the_damage(void **state)
{
    (void)state;
    static struct finished_log log;
    make_log(&log, 12, 40);
    for (size_t i = 0; i < log.place_count; i += 3) {
        const struct record_place *place = &log.places[i];
        struct fixture copy = log.fixture;
        struct file_journal_repair planned;
        struct file_journal_repair report;
        char aside[80];
        copy.disk = disk_sim_clone(log.fixture.disk, i);
        copy.entries = malloc(FIXTURE_ENTRIES_MAX * sizeof(*copy.entries));
        assert_non_null(copy.entries);
        memcpy(copy.entries, log.fixture.entries, log.fixture.last_seq * sizeof(*copy.entries));
        disk_sim_flip_bit(copy.disk, place->path, place->offset + place->size - 1, 3);
        assert_int_equal(file_journal_repair(copy.disk, true, &planned), STATUS_OK);
        assert_int_equal(disk_sim_calls(copy.disk, DISK_SIM_WRITE | DISK_SIM_RENAME | DISK_SIM_REMOVE), 0);
        assert_int_equal(file_journal_repair(copy.disk, false, &report), STATUS_OK);
        assert_int_equal(report.kept_last_seq, planned.kept_last_seq);
        assert_int_equal(report.lost_entries, planned.lost_entries);
        assert_int_equal(report.files_changed, planned.files_changed);
        if (place->seq < log.last_batch_seq) {
            assert_int_equal(report.kept_last_seq, place->seq - 1);
            assert_int_equal(report.lost_entries, log.fixture.last_seq - place->seq + 1);
            assert_true(report.files_changed > 0);
            snprintf(aside, sizeof(aside), "%s.damaged", place->path);
            assert_true(disk_sim_has_file(copy.disk, aside));
        } else {
            assert_int_equal(report.files_changed, 0); /* opening cuts it by itself */
            assert_int_equal(report.lost_entries, 0);
        }
        copy.durable_seq = place->seq - 1;
        disk_sim_crash(copy.disk, DISK_SIM_LOSE_ALL); /* what repair did is durable */
        assert_int_equal(fixture_open(&copy), STATUS_OK);
        assert_int_equal(copy.last_seq, place->seq - 1);
        for (unsigned n = 0; n < 60; n++) {
            fixture_must_propose(&copy, 200);
        }
        fixture_settle(&copy);
        fixture_close(&copy);
        assert_int_equal(fixture_open(&copy), STATUS_OK);
        assert_int_equal(copy.last_seq, place->seq - 1 + 60);
        fixture_free(&copy);
    }
    fixture_free(&log.fixture);
}

static void repair_of_a_cut_file(void **state)
{
    (void)state;
    static struct finished_log log;
    make_log(&log, 13, 40);
    const uint64_t sizes[] = {0, 100, 8192, 9001, 16383, 20000};
    for (size_t i = 0; i < ARRAY_COUNT(sizes); i++) {
        struct fixture copy = log.fixture;
        struct file_journal_repair report;
        copy.disk = disk_sim_clone(log.fixture.disk, i);
        copy.entries = malloc(FIXTURE_ENTRIES_MAX * sizeof(*copy.entries));
        assert_non_null(copy.entries);
        memcpy(copy.entries, log.fixture.entries, log.fixture.last_seq * sizeof(*copy.entries));
        disk_sim_resize(copy.disk, log.paths[1], sizes[i]);
        assert_int_equal(fixture_open(&copy), STATUS_CORRUPT);
        assert_int_equal(file_journal_repair(copy.disk, false, &report), STATUS_OK);
        copy.durable_seq = report.kept_last_seq;
        assert_int_equal(fixture_open(&copy), STATUS_OK);
        assert_int_equal(copy.last_seq, report.kept_last_seq);
        fixture_free(&copy);
    }
    fixture_free(&log.fixture);
}

/* Damage between the start of the segment and the snapshot: opening refuses, repair loses nothing. */
static void damage_that_a_snapshot_stands_in_for_costs_nothing(void **state)
{
    (void)state;
    static struct finished_log log;
    fixture_init(&log.fixture, 16);
    assert_int_equal(fixture_open(&log.fixture), STATUS_OK);
    for (unsigned i = 0; i < 40; i++) {
        fixture_must_propose(&log.fixture, 300);
        fixture_settle(&log.fixture);
        if (i == 29) {
            assert_int_equal(fixture_snapshot(&log.fixture), STATUS_OK);
        }
    }
    fixture_close(&log.fixture);
    disk_sim_crash(log.fixture.disk, DISK_SIM_LOSE_ALL);
    find_places(&log);
    const char *needed = log.places[30].path;
    unsigned tried = 0;
    for (size_t i = 0; i < 30; i++) {
        const struct record_place *place = &log.places[i];
        if (strcmp(place->path, needed) != 0) {
            continue; /* an older segment: opening does not look at it */
        }
        struct fixture copy = log.fixture;
        struct file_journal_repair planned;
        struct file_journal_repair report;
        copy.disk = disk_sim_clone(log.fixture.disk, i);
        copy.entries = malloc(FIXTURE_ENTRIES_MAX * sizeof(*copy.entries));
        assert_non_null(copy.entries);
        memcpy(copy.entries, log.fixture.entries, log.fixture.last_seq * sizeof(*copy.entries));
        disk_sim_flip_bit(copy.disk, place->path, place->offset + 50, 1);
        bool is_also_cut = i % 2 == 1; /* damage behind the snapshot as well, in the same segment */
        if (is_also_cut) {
            disk_sim_flip_bit(copy.disk, log.places[33].path, log.places[33].offset + 50, 1);
        }
        assert_int_equal(fixture_open(&copy), STATUS_CORRUPT);
        assert_int_equal(file_journal_repair(copy.disk, true, &planned), STATUS_OK);
        assert_int_equal(file_journal_repair(copy.disk, false, &report), STATUS_OK);
        disk_sim_crash(copy.disk, DISK_SIM_LOSE_ALL);
        assert_int_equal(report.kept_last_seq, is_also_cut ? 33 : 40);
        assert_int_equal(report.lost_entries, is_also_cut ? 7 : 0);
        assert_int_equal(planned.kept_last_seq, report.kept_last_seq);
        assert_int_equal(planned.lost_entries, report.lost_entries);
        copy.durable_seq = report.kept_last_seq;
        assert_int_equal(fixture_open(&copy), STATUS_OK);
        assert_int_equal(copy.last_seq, report.kept_last_seq);
        fixture_must_propose(&copy, 77);
        fixture_close(&copy);
        assert_int_equal(fixture_open(&copy), STATUS_OK);
        assert_int_equal(copy.last_seq, report.kept_last_seq + 1);
        fixture_free(&copy);
        tried++;
    }
    assert_true(tried >= 4);
    fixture_free(&log.fixture);
}

/* A crash, or a full disk, in the middle of a repair leaves something that can be repaired. */
static void repair_itself_fails_at_each_call(void **state)
{
    (void)state;
    static struct finished_log log;
    make_log(&log, 14, 40);
    const struct record_place *place = &log.places[log.place_count / 3];
    disk_sim_flip_bit(log.fixture.disk, place->path, place->offset + 40, 0);
    for (uint64_t call = 1;; call++) {
        struct fixture copy = log.fixture;
        struct file_journal_repair report;
        copy.disk = disk_sim_clone(log.fixture.disk, call);
        copy.entries = malloc(FIXTURE_ENTRIES_MAX * sizeof(*copy.entries));
        assert_non_null(copy.entries);
        memcpy(copy.entries, log.fixture.entries, log.fixture.last_seq * sizeof(*copy.entries));
        disk_sim_cut_power(copy.disk, DISK_SIM_ANY, call, 700);
        enum status status = file_journal_repair(copy.disk, false, &report);
        bool is_through = !disk_sim_has_failed(copy.disk);
        assert_true(!is_through || status == STATUS_OK);
        disk_sim_crash(copy.disk, DISK_SIM_LOSE_SOME);
        assert_int_equal(file_journal_repair(copy.disk, false, &report), STATUS_OK);
        copy.durable_seq = place->seq - 1;
        assert_int_equal(fixture_open(&copy), STATUS_OK);
        assert_int_equal(copy.last_seq, place->seq - 1);
        fixture_free(&copy);
        if (is_through) {
            assert_true(call > 20);
            break;
        }
    }
    fixture_free(&log.fixture);
}

static void nothing_damaged_nothing_done(void **state)
{
    (void)state;
    static struct finished_log log;
    make_log(&log, 15, 40);
    struct file_journal_repair report;
    const unsigned changes = DISK_SIM_WRITE | DISK_SIM_RENAME | DISK_SIM_REMOVE | DISK_SIM_TRUNCATE;
    uint64_t calls = disk_sim_calls(log.fixture.disk, changes);
    assert_int_equal(file_journal_repair(log.fixture.disk, false, &report), STATUS_OK);
    assert_int_equal(report.files_changed, 0);
    assert_int_equal(report.lost_entries, 0);
    assert_int_equal(report.kept_last_seq, log.fixture.last_seq);
    assert_int_equal(disk_sim_calls(log.fixture.disk, changes), calls);
    assert_int_equal(fixture_open(&log.fixture), STATUS_OK);
    fixture_free(&log.fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_byte_is_flipped),
        cmocka_unit_test(opening_agrees_with_scanning),
        cmocka_unit_test(each_length_of_a_cut_file_is_noticed),
        cmocka_unit_test(a_missing_segment_is_noticed),
        cmocka_unit_test(an_unreadable_sector_is_an_error_that_names_the_file),
        cmocka_unit_test(repair_cuts_at_the_damage),
        cmocka_unit_test(repair_of_a_cut_file),
        cmocka_unit_test(damage_that_a_snapshot_stands_in_for_costs_nothing),
        cmocka_unit_test(repair_itself_fails_at_each_call),
        cmocka_unit_test(nothing_damaged_nothing_done),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
