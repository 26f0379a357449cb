/* Every call of the disk fails once, every call is once where the power goes, and recovery itself is cut off: what was
 * reported durable is always there, in order, and nothing is there that was not proposed. */
#include "fixture.h"

#include <stdlib.h>

#define SCRIPT_STEPS 260
#define SCRIPT_SEED 7

static void run_script(struct fixture *fixture, unsigned steps)
{
    if (fixture_open(fixture) != STATUS_OK) {
        return;
    }
    for (unsigned i = 0; i < steps; i++) {
        if (!fixture_step(fixture)) {
            return;
        }
    }
}

/* After a crash: opens, works on, loses all that is unsynced, opens again. */
static void recover_and_go_on(struct fixture *fixture)
{
    assert_int_equal(fixture_open(fixture), STATUS_OK);
    uint64_t recovered_seq = fixture->last_seq;
    for (unsigned i = 0; i < 3; i++) {
        fixture->now_ns += 10;
        fixture_must_propose(fixture, 100 + 50 * i);
    }
    fixture_settle(fixture);
    assert_int_equal(fixture->failures, 0);
    assert_int_equal(fixture->durable_seq, recovered_seq + 3);
    fixture_close(fixture);
    disk_sim_crash(fixture->disk, DISK_SIM_LOSE_ALL);
    assert_int_equal(fixture_open(fixture), STATUS_OK);
    assert_int_equal(fixture->last_seq, recovered_seq + 3);
}

static uint64_t count_calls(void)
{
    struct fixture fixture;
    fixture_init(&fixture, SCRIPT_SEED);
    run_script(&fixture, SCRIPT_STEPS);
    fixture_close(&fixture);
    uint64_t calls = disk_sim_calls(fixture.disk, DISK_SIM_ANY);
    fixture_free(&fixture);
    assert_true(calls > 300); /* else the script has become too small to mean anything */
    return calls;
}

/* Opens a copy of the disk as a crash with this seed leaves it. */
static void check_survivor(struct fixture *fixture, uint64_t seed, enum disk_sim_loss loss)
{
    struct fixture survivor = *fixture;
    survivor.disk = disk_sim_clone(fixture->disk, seed);
    survivor.entries = malloc(FIXTURE_ENTRIES_MAX * sizeof(*survivor.entries));
    assert_non_null(survivor.disk);
    assert_non_null(survivor.entries);
    memcpy(survivor.entries, fixture->entries, (fixture->last_seq + 1) * sizeof(*survivor.entries));
    disk_sim_crash(survivor.disk, loss);
    recover_and_go_on(&survivor);
    fixture_free(&survivor);
}

/* What a failed sync did not write counts as clean afterwards: the next process reads it, and must write it again. */
static void a_power_cut_after_a_failed_sync(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct fixture fixture;
        fixture_init(&fixture, seed);
        assert_int_equal(fixture_open(&fixture), STATUS_OK);
        for (unsigned i = 0; i < seed % 5; i++) {
            fixture_must_propose(&fixture, 300);
        }
        fixture_settle(&fixture);
        disk_sim_fail_call(fixture.disk, DISK_SIM_SYNC, 1, STATUS_IO, 0);
        fixture_must_propose(&fixture, 2000);
        fixture_must_propose(&fixture, 700);
        fixture_settle(&fixture);
        assert_int_equal(fixture.failures, 1);
        fixture_close(&fixture);
        disk_sim_restart(fixture.disk);
        recover_and_go_on(&fixture);
        fixture_free(&fixture);
    }
}

static void each_call_fails_once(void **state)
{
    (void)state;
    static const enum status statuses[] = {STATUS_IO, STATUS_NO_SPACE, STATUS_NO_MEMORY};
    uint64_t calls = count_calls();
    for (uint64_t call = 1; call <= calls; call++) {
        struct fixture fixture;
        fixture_init(&fixture, SCRIPT_SEED);
        disk_sim_fail_call(fixture.disk, DISK_SIM_ANY, call, statuses[call % 3], (call * 37) % 2000);
        run_script(&fixture, SCRIPT_STEPS);
        fixture_close(&fixture);
        assert_true(disk_sim_has_failed(fixture.disk));
        disk_sim_fail_call(fixture.disk, 0, 0, STATUS_IO, 0);
        check_survivor(&fixture, call, DISK_SIM_LOSE_NONE);
        check_survivor(&fixture, call, DISK_SIM_LOSE_ALL);
        check_survivor(&fixture, call, DISK_SIM_LOSE_SOME);
        fixture_free(&fixture);
    }
}

static void each_call_is_where_the_power_goes(void **state)
{
    (void)state;
    uint64_t calls = count_calls();
    for (uint64_t call = 1; call <= calls; call++) {
        struct fixture fixture;
        fixture_init(&fixture, SCRIPT_SEED);
        disk_sim_cut_power(fixture.disk, DISK_SIM_ANY, call, (call * 613) % 4000);
        run_script(&fixture, SCRIPT_STEPS);
        fixture_close(&fixture);
        assert_true(disk_sim_has_failed(fixture.disk));
        for (uint64_t seed = 0; seed < 6; seed++) {
            check_survivor(&fixture, call * 1000 + seed, DISK_SIM_LOSE_SOME);
        }
        check_survivor(&fixture, call, DISK_SIM_LOSE_ALL);
        check_survivor(&fixture, call, DISK_SIM_LOSE_NONE);
        fixture_free(&fixture);
    }
}

/* One write of a batch of several entries, torn at each byte. */
static void a_write_is_torn_at_each_byte(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_init(&fixture, 3);
    assert_int_equal(fixture_open(&fixture), STATUS_OK);
    fixture_must_propose(&fixture, 333);
    fixture_settle(&fixture);
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(fixture_propose(&fixture, 200 + i), STATUS_OK);
    }
    uint64_t batch_size = fixture.journal->driver->unsynced_size(fixture.journal);
    fixture_free(&fixture);
    for (uint64_t torn = 0; torn <= batch_size; torn++) {
        fixture_init(&fixture, 3);
        assert_int_equal(fixture_open(&fixture), STATUS_OK);
        fixture_must_propose(&fixture, 333);
        fixture_settle(&fixture);
        for (unsigned i = 0; i < 4; i++) {
            assert_int_equal(fixture_propose(&fixture, 200 + i), STATUS_OK);
        }
        disk_sim_cut_power(fixture.disk, DISK_SIM_WRITE, 1, torn);
        assert_true(file_journal_write(fixture.journal));
        fixture.journal->driver->poll(fixture.journal);
        assert_int_equal(fixture.failed, STATUS_IO);
        fixture_close(&fixture);
        assert_int_equal(fixture.durable_seq, 1);
        disk_sim_crash(fixture.disk, DISK_SIM_LOSE_NONE);
        assert_int_equal(fixture_open(&fixture), STATUS_OK);
        /* What did get there whole is kept, the rest is cut. */
        uint64_t whole = 0;
        for (uint64_t end = 0; whole < 4; whole++) {
            uint64_t len = 200 + whole;
            if (end + 32 + len > torn) {
                break;
            }
            end += (32 + len + 7) & ~7ull;
        }
        assert_int_equal(fixture.last_seq, 1 + whole);
        assert_int_equal(fixture.recovery.truncated_size > 0, fixture.recovery.detail[0] != '\0');
        fixture_close(&fixture);
        recover_and_go_on(&fixture);
        fixture_free(&fixture);
    }
}

/* Lives of random length that end in a power cut, recovery included, one after the other on the same disk. */
static void power_cuts_one_after_the_other(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct fixture fixture;
        fixture_init(&fixture, seed);
        fixture.config.salt = seed % 3 == 0 ? 0 : seed;
        for (unsigned life = 0; life < 25; life++) {
            disk_sim_cut_power(fixture.disk, DISK_SIM_ANY, 1 + rng_below(&fixture.rng, 120),
                               rng_below(&fixture.rng, 6000));
            run_script(&fixture, 400);
            fixture_close(&fixture);
            if (rng_below(&fixture.rng, 3) == 0) {
                disk_sim_restart(fixture.disk);
            } else {
                disk_sim_crash(fixture.disk, DISK_SIM_LOSE_SOME);
            }
        }
        disk_sim_crash(fixture.disk, DISK_SIM_LOSE_SOME);
        recover_and_go_on(&fixture);
        fixture_free(&fixture);
    }
}

/* After kill -9 the log may hold what no disk has seen. Once it was replayed it must not go any more. */
static void what_was_replayed_is_durable(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_init(&fixture, 11);
    assert_int_equal(fixture_open(&fixture), STATUS_OK);
    fixture_must_propose(&fixture, 100);
    fixture_settle(&fixture);
    assert_int_equal(fixture_propose(&fixture, 300), STATUS_OK);
    disk_sim_cut_power(fixture.disk, DISK_SIM_SYNC, 1, 0); /* written, then killed before the sync */
    assert_true(file_journal_write(fixture.journal));
    fixture_close(&fixture);
    disk_sim_restart(fixture.disk);
    assert_int_equal(fixture.durable_seq, 1);
    assert_int_equal(fixture_open(&fixture), STATUS_OK);
    assert_int_equal(fixture.last_seq, 2);
    fixture_close(&fixture);
    disk_sim_crash(fixture.disk, DISK_SIM_LOSE_ALL);
    assert_int_equal(fixture_open(&fixture), STATUS_OK);
    assert_int_equal(fixture.last_seq, 2);
    fixture_free(&fixture);
}

/* Two records in one torn write, the first lost and the second whole. The first one's place is then filled by a record
 * of the same length: the old second one must not follow it. */
static void what_a_tear_left_does_not_come_back(void **state)
{
    (void)state;
    struct fixture fixture;
    char path[64] = "journal/00000000000000000001.seg";
    uint64_t kept_second = 0;
    for (uint64_t seed = 0; seed < 64; seed++) {
        fixture_init(&fixture, seed);
        fixture.config.salt = 0;
        assert_int_equal(fixture_open(&fixture), STATUS_OK);
        fixture_must_propose(&fixture, 480);
        fixture_settle(&fixture);
        assert_int_equal(fixture_propose(&fixture, 480), STATUS_OK);
        assert_int_equal(fixture_propose(&fixture, 480), STATUS_OK);
        disk_sim_cut_power(fixture.disk, DISK_SIM_SYNC, 1, 0);
        assert_true(file_journal_write(fixture.journal));
        fixture_close(&fixture);
        disk_sim_crash(fixture.disk, DISK_SIM_LOSE_SOME);
        struct slice content = disk_sim_content(fixture.disk, path);
        bool has_first = content.data[8192 + 512 + 8] == 2;
        bool has_second = content.data[8192 + 1024 + 8] == 3;
        assert_int_equal(fixture_open(&fixture), STATUS_OK);
        if (!has_first && has_second) {
            kept_second++;
            assert_int_equal(fixture.last_seq, 1);
            assert_int_equal(fixture.recovery.truncated_size, 1024);
        }
        fixture_must_propose(&fixture, 480);
        uint64_t last_seq = fixture.last_seq;
        fixture_settle(&fixture);
        fixture_close(&fixture);
        assert_int_equal(fixture_open(&fixture), STATUS_OK);
        assert_int_equal(fixture.last_seq, last_seq);
        fixture_free(&fixture);
    }
    assert_true(kept_second > 0);
}

/* With weaker durability less is promised: still a prefix, in order, and never a refusal. */
static void weaker_durability_still_gives_a_prefix(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct fixture fixture;
        fixture_init(&fixture, seed);
        fixture.config.durability = seed % 2 == 0 ? DURABILITY_NONE : DURABILITY_INTERVAL;
        for (unsigned life = 0; life < 10; life++) {
            disk_sim_cut_power(fixture.disk, DISK_SIM_ANY, 1 + rng_below(&fixture.rng, 200), 100);
            run_script(&fixture, 400);
            fixture_close(&fixture);
            disk_sim_crash(fixture.disk, DISK_SIM_LOSE_SOME);
        }
        fixture_free(&fixture);
    }
}

/* A torn tail is cut, and the sync of that fails: the zeros are read from then on, while the disk still has the records
 * behind the tear. They must not come back as the successors of an entry that was written in front of them later. */
static void a_cut_whose_sync_failed_is_done_again(void **state)
{
    (void)state;
    unsigned failed = 0;
    for (uint64_t seed = 0; seed < 40; seed++) {
        struct fixture fixture;
        fixture_init(&fixture, seed);
        assert_int_equal(fixture_open(&fixture), STATUS_OK);
        fixture_must_propose(&fixture, 480);
        fixture_settle(&fixture);
        for (unsigned i = 0; i < 9; i++) {
            fixture_must_propose(&fixture, 480);
        }
        disk_sim_cut_power(fixture.disk, DISK_SIM_SYNC, 1, 0);
        assert_true(file_journal_write(fixture.journal));
        fixture_close(&fixture);
        disk_sim_crash(fixture.disk, DISK_SIM_LOSE_NONE);
        disk_sim_flip_bit(fixture.disk, "journal/00000000000000000001.seg", 8192 + 512 + 100, 3); /* entry 2 is torn */
        disk_sim_fail_call(fixture.disk, DISK_SIM_SYNC, 1, STATUS_IO, 0);
        failed += fixture_open(&fixture) == STATUS_IO;
        disk_sim_restart(fixture.disk);
        assert_int_equal(fixture_open(&fixture), STATUS_OK);
        assert_int_equal(fixture.last_seq, 1);
        fixture_must_propose(&fixture, 480);
        fixture_settle(&fixture);
        fixture_close(&fixture);
        disk_sim_crash(fixture.disk, DISK_SIM_LOSE_ALL);
        assert_int_equal(fixture_open(&fixture), STATUS_OK);
        assert_int_equal(fixture.last_seq, 2);
        fixture_free(&fixture);
    }
    assert_int_equal(failed, 40);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_power_cut_after_a_failed_sync),
        cmocka_unit_test(each_call_fails_once),
        cmocka_unit_test(each_call_is_where_the_power_goes),
        cmocka_unit_test(a_write_is_torn_at_each_byte),
        cmocka_unit_test(power_cuts_one_after_the_other),
        cmocka_unit_test(what_was_replayed_is_durable),
        cmocka_unit_test(what_a_tear_left_does_not_come_back),
        cmocka_unit_test(weaker_durability_still_gives_a_prefix),
        cmocka_unit_test(a_cut_whose_sync_failed_is_done_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
