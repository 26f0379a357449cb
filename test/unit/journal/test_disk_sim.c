/* The disk in memory keeps its own promises; without that the tests that stand on it would prove nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "journal/disk_sim.h"

static struct disk_file *create(struct disk *disk, const char *path, const char *text)
{
    struct disk_file *file;
    assert_int_equal(disk->make_dir(disk, "d"), STATUS_OK);
    assert_int_equal(disk->open(disk, path, DISK_OPEN_CREATE, &file), STATUS_OK);
    assert_int_equal(disk->write_at(disk, file, 0, text, strlen(text)), STATUS_OK);
    return file;
}

static void only_what_was_synced_survives(void **state)
{
    (void)state;
    struct disk *disk = disk_sim_new(1);
    struct disk_file *file = create(disk, "d/a", "first");
    assert_int_equal(disk->sync(disk, file), STATUS_OK);
    disk->close(disk, file);
    struct disk *unnamed = disk_sim_clone(disk, 1);
    disk_sim_crash(unnamed, DISK_SIM_LOSE_ALL);
    assert_false(disk_sim_has_file(unnamed, "d/a")); /* content was synced, the name was not */
    disk_sim_free(unnamed);

    assert_int_equal(disk->sync_dir(disk, "d"), STATUS_OK);
    assert_int_equal(disk->open(disk, "d/a", DISK_OPEN_WRITE, &file), STATUS_OK);
    assert_int_equal(disk->write_at(disk, file, 0, "second time", 11), STATUS_OK);
    disk->close(disk, file);
    assert_int_equal(disk->rename(disk, "d/a", "d/b"), STATUS_OK);
    struct disk *kept = disk_sim_clone(disk, 1);
    disk_sim_crash(kept, DISK_SIM_LOSE_NONE);
    assert_true(slice_equal_str(disk_sim_content(kept, "d/b"), "second time"));
    disk_sim_free(kept);
    disk_sim_crash(disk, DISK_SIM_LOSE_ALL);
    assert_false(disk_sim_has_file(disk, "d/b"));
    assert_true(slice_equal_str(disk_sim_content(disk, "d/a"), "first"));
    disk_sim_free(disk);
}

static void sectors_survive_one_by_one(void **state)
{
    (void)state;
    static char ones[8 * DISK_SIM_SECTOR_SIZE];
    static const char zeros[sizeof(ones)];
    memset(ones, 1, sizeof(ones));
    unsigned seen = 0; /* numbers of survivors that occurred */
    for (uint64_t seed = 0; seed < 200; seed++) {
        struct disk *disk = disk_sim_new(seed);
        struct disk_file *file = create(disk, "d/a", "");
        assert_int_equal(disk->write_at(disk, file, 0, zeros, sizeof(zeros)), STATUS_OK);
        assert_int_equal(disk->sync(disk, file), STATUS_OK);
        assert_int_equal(disk->sync_dir(disk, "d"), STATUS_OK);
        assert_int_equal(disk->write_at(disk, file, 0, ones, sizeof(ones)), STATUS_OK);
        disk->close(disk, file);
        disk_sim_crash(disk, DISK_SIM_LOSE_SOME);
        struct slice content = disk_sim_content(disk, "d/a");
        unsigned survivors = 0;
        for (size_t at = 0; at < sizeof(ones); at += DISK_SIM_SECTOR_SIZE) {
            bool is_new = content.data[at] == 1;
            survivors += is_new;
            assert_memory_equal(content.data + at, is_new ? ones : zeros, DISK_SIM_SECTOR_SIZE);
        }
        seen |= 1u << survivors;
        disk_sim_free(disk);
    }
    assert_true((seen & 1) != 0 && (seen & 1u << 8) != 0 && (seen & 1u << 4) != 0);
}

static void a_failed_sync_forgets(void **state)
{
    (void)state;
    unsigned lost = 0;
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct disk *disk = disk_sim_new(seed);
        struct disk_file *file = create(disk, "d/a", "x");
        assert_int_equal(disk->sync(disk, file), STATUS_OK);
        assert_int_equal(disk->sync_dir(disk, "d"), STATUS_OK);
        assert_int_equal(disk->write_at(disk, file, 0, "y", 1), STATUS_OK);
        disk_sim_fail_call(disk, DISK_SIM_SYNC, 1, STATUS_IO, 0);
        assert_int_equal(disk->sync(disk, file), STATUS_IO);
        assert_true(disk_sim_has_failed(disk));
        assert_int_equal(disk->sync(disk, file), STATUS_OK); /* and yet … */
        disk->close(disk, file);
        assert_true(slice_equal_str(disk_sim_content(disk, "d/a"), "y"));
        disk_sim_crash(disk, DISK_SIM_LOSE_NONE);
        lost += slice_equal_str(disk_sim_content(disk, "d/a"), "x");
        disk_sim_free(disk);
    }
    assert_true(lost > 0 && lost < 20);
}

static void faults_and_limits(void **state)
{
    (void)state;
    struct disk *disk = disk_sim_new(1);
    struct disk_file *file = create(disk, "d/a", "0123456789");
    char text[16];
    uint64_t size;
    disk_sim_fail_call(disk, DISK_SIM_WRITE, 2, STATUS_IO, 3);
    assert_int_equal(disk->write_at(disk, file, 0, "a", 1), STATUS_OK);
    assert_int_equal(disk->write_at(disk, file, 0, "bcdef", 5), STATUS_IO);
    assert_true(slice_equal_str(disk_sim_content(disk, "d/a"), "bcd3456789"));
    disk_sim_set_capacity(disk, 12);
    assert_int_equal(disk->free_size(disk, &size), STATUS_OK);
    assert_int_equal(size, 2);
    assert_int_equal(disk->write_at(disk, file, 10, "abc", 3), STATUS_NO_SPACE);
    assert_int_equal(disk->write_at(disk, file, 9, "abc", 3), STATUS_OK);
    assert_int_equal(disk->read_at(disk, file, 0, text, 13), STATUS_IO);
    disk_sim_spoil_sector(disk, "d/a", 3);
    assert_int_equal(disk->read_at(disk, file, 0, text, 1), STATUS_IO);
    assert_int_equal(disk->write_at(disk, file, 0, "z", 1), STATUS_OK);
    assert_int_equal(disk->read_at(disk, file, 0, text, 1), STATUS_OK);
    disk_sim_cut_power(disk, DISK_SIM_ANY, 1, 0);
    assert_int_equal(disk->sync_dir(disk, "d"), STATUS_IO);
    assert_int_equal(disk->sync(disk, file), STATUS_IO);
    disk->close(disk, file);
    disk_sim_restart(disk);
    assert_int_equal(disk->open(disk, "d/a", DISK_OPEN_CREATE, &file), STATUS_CONFLICT);
    assert_int_equal(disk->open(disk, "d/b", DISK_OPEN_WRITE, &file), STATUS_NOT_FOUND);
    assert_int_equal(disk->open(disk, "e/b", DISK_OPEN_CREATE, &file), STATUS_NOT_FOUND);
    disk_sim_free(disk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_what_was_synced_survives),
        cmocka_unit_test(sectors_survive_one_by_one),
        cmocka_unit_test(a_failed_sync_forgets),
        cmocka_unit_test(faults_and_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
