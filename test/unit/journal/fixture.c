#include "fixture.h"

#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "base/hash.h"

void fixture_body(uint64_t seq, uint64_t generation, size_t len, char *ret)
{
    uint64_t word = hash_mix(seq * 1000003 + generation);
    for (size_t i = 0; i < len; i++) {
        if (i % 8 == 0) {
            word = hash_mix(word);
        }
        ret[i] = (char)(word >> (8 * (i % 8)));
    }
}

static uint64_t next_state(uint64_t state, uint64_t seq, int64_t time_ns, struct slice body)
{
    return hash64(body, hash_mix(state ^ hash_mix(seq) ^ (uint64_t)time_ns));
}

bool fixture_is_entry(void *ctx, const struct journal_entry *entry)
{
    struct fixture *fixture = ctx;
    static char body[FIXTURE_BODY_MAX];
    assert_true(entry->seq >= 1 && entry->seq <= fixture->last_seq);
    const struct fixture_entry *model = &fixture->entries[entry->seq - 1];
    assert_int_equal(entry->time_ns, model->time_ns);
    assert_int_equal(entry->body.len, model->body_len);
    fixture_body(entry->seq, model->generation, model->body_len, body);
    assert_memory_equal(entry->body.data != NULL ? entry->body.data : "", body, entry->body.len);
    return true;
}

static void on_entry(void *ctx, const struct journal_entry *entry)
{
    struct fixture *fixture = ctx;
    assert_int_equal(entry->seq, fixture->applied_seq + 1);
    fixture->applied_seq = entry->seq;
    fixture->state = next_state(fixture->state, entry->seq, entry->time_ns, entry->body);
    if (fixture->is_replaying) {
        fixture_is_entry(fixture, entry);
        assert_int_equal(fixture->state, fixture->entries[entry->seq - 1].state);
    }
}

static void on_durable(void *ctx, uint64_t seq)
{
    struct fixture *fixture = ctx;
    assert_false(fixture->is_replaying);
    assert_true(seq <= fixture->applied_seq);
    if (fixture->durables > 0 && fixture->journal != NULL) {
        assert_int_equal(seq, fixture->journal->driver->durable_seq(fixture->journal));
    }
    fixture->durables++;
    fixture->durable_seq = seq > fixture->durable_seq ? seq : fixture->durable_seq;
}

static void on_failed(void *ctx, enum status status, const char *why)
{
    struct fixture *fixture = ctx;
    assert_int_equal(fixture->failures, 0);
    assert_int_not_equal(status, STATUS_OK);
    assert_true(strlen(why) > 0);
    fixture->failures++;
    fixture->failed = status;
}

static enum status on_snapshot(void *ctx, uint64_t seq, struct slice state)
{
    struct fixture *fixture = ctx;
    assert_int_equal(fixture->applied_seq, 0);
    assert_true(seq >= 1 && seq <= fixture->last_seq);
    assert_true(state.len >= sizeof(uint64_t));
    memcpy(&fixture->state, state.data, sizeof(uint64_t));
    assert_int_equal(fixture->state, fixture->entries[seq - 1].state);
    fixture->applied_seq = seq;
    return STATUS_OK;
}

void fixture_init(struct fixture *fixture, uint64_t seed)
{
    *fixture = (struct fixture){0};
    fixture->disk = disk_sim_new(hash_mix(seed));
    fixture->entries = calloc(FIXTURE_ENTRIES_MAX, sizeof(*fixture->entries));
    assert_non_null(fixture->disk);
    assert_non_null(fixture->entries);
    rng_seed(&fixture->rng, seed);
    fixture->now_ns = 1000000000;
    fixture->body_max = 700;
    fixture->config = (struct file_journal_config){
        .disk = fixture->disk,
        .segment_size = FIXTURE_SEGMENT_SIZE,
        .unsynced_size_max = 20000,
        .durability = DURABILITY_BATCH,
        .salt = seed,
    };
}

void fixture_free(struct fixture *fixture)
{
    fixture_close(fixture);
    disk_sim_free(fixture->disk);
    free(fixture->entries);
    *fixture = (struct fixture){0};
}

enum status fixture_open(struct fixture *fixture)
{
    const struct journal_callbacks callbacks = {on_entry, on_durable, on_failed, fixture};
    struct journal *journal;
    assert_null(fixture->journal);
    fixture->applied_seq = 0;
    fixture->state = 0;
    fixture->failed = STATUS_OK;
    fixture->failures = 0;
    fixture->is_replaying = true;
    fixture->config.disk = fixture->disk;
    enum status status =
        file_journal_open(&fixture->config, &fixture->hooks, &callbacks, on_snapshot, &fixture->recovery, &journal);
    fixture->is_replaying = false;
    if (status != STATUS_OK) {
        assert_true(fixture->recovery.detail[0] != '\0');
        return status;
    }
    fixture->journal = journal;
    uint64_t last_seq = journal->driver->last_seq(journal);
    assert_int_equal(last_seq, fixture->applied_seq);
    assert_int_equal(last_seq, fixture->recovery.last_seq);
    assert_int_equal(last_seq, journal->driver->durable_seq(journal));
    assert_int_equal(journal->driver->unsynced_size(journal), 0);
    assert_true(last_seq <= fixture->last_seq);
    assert_null(file_journal_check(journal));
    if (fixture->config.durability == DURABILITY_BATCH) {
        assert_true(last_seq >= fixture->durable_seq);
    }
    /* What was recovered is durable from here on, and what was not recovered never was. */
    fixture->last_seq = last_seq;
    fixture->durable_seq = last_seq;
    return STATUS_OK;
}

enum status fixture_propose(struct fixture *fixture, size_t body_len)
{
    static char body[FIXTURE_BODY_MAX];
    uint64_t seq = fixture->last_seq + 1;
    uint64_t state = fixture->state;
    assert_true(seq <= FIXTURE_ENTRIES_MAX && body_len <= sizeof(body));
    fixture_body(seq, ++fixture->generation, body_len, body);
    enum status status = fixture->journal->driver->propose(fixture->journal, fixture->now_ns, slice_of(body, body_len));
    if (status != STATUS_OK) {
        assert_int_equal(fixture->applied_seq, fixture->last_seq);
        return status;
    }
    int64_t before_ns = seq > 1 ? fixture->entries[seq - 2].time_ns : INT64_MIN;
    int64_t time_ns = fixture->now_ns > before_ns ? fixture->now_ns : before_ns;
    fixture->last_seq = seq;
    fixture->entries[seq - 1] = (struct fixture_entry){
        .generation = fixture->generation,
        .body_len = (uint32_t)body_len,
        .time_ns = time_ns,
        .state = next_state(state, seq, time_ns, slice_of(body, body_len)),
    };
    assert_int_equal(fixture->applied_seq, seq);
    assert_int_equal(fixture->state, fixture->entries[seq - 1].state);
    return STATUS_OK;
}

void fixture_must_propose(struct fixture *fixture, size_t body_len)
{
    enum status status;
    unsigned attempts = 0;
    while ((status = fixture_propose(fixture, body_len)) == STATUS_BUSY) {
        fixture_settle(fixture);
        assert_true(++attempts < 4);
    }
    assert_int_equal(status, STATUS_OK);
}

void fixture_settle(struct fixture *fixture)
{
    while (file_journal_write(fixture->journal)) {
    }
    fixture->journal->driver->poll(fixture->journal);
}

enum status fixture_snapshot(struct fixture *fixture)
{
    struct snapshot_writer *writer;
    uint8_t state_hash[32];
    char state[3000];
    size_t len = sizeof(uint64_t) + rng_below(&fixture->rng, sizeof(state) - sizeof(uint64_t));
    uint64_t seq = fixture->applied_seq;
    memset(state, (int)seq, sizeof(state));
    memcpy(state, &fixture->state, sizeof(uint64_t));
    sha256(slice_of(state, sizeof(uint64_t)), state_hash);
    int64_t time_ns = seq > 0 ? fixture->entries[seq - 1].time_ns : 0;
    enum status status = snapshot_begin(fixture->disk, seq, time_ns, state_hash, &writer);
    if (status != STATUS_OK) {
        return status;
    }
    bool ok = snapshot_write(writer, state, len / 2);
    ok = ok && snapshot_write(writer, state + len / 2, len - len / 2);
    status = snapshot_end(writer, ok);
    if (status == STATUS_OK) {
        fixture->snapshot_seq = seq;
    }
    return status;
}

void fixture_close(struct fixture *fixture)
{
    if (fixture->journal != NULL) {
        struct journal *journal = fixture->journal;
        fixture->journal = NULL;
        journal->driver->close(journal);
    }
}

/* Steps are weighted as an owner would take them; a snapshot now and then, trimming after it. */
bool fixture_step(struct fixture *fixture)
{
    uint64_t dice = rng_below(&fixture->rng, 100);
    enum status status = STATUS_OK;
    if (dice < 50) {
        /* The clock of a machine may jump back; the journal's time must not. */
        fixture->now_ns += (int64_t)rng_below(&fixture->rng, 1000) - 200;
        /* Often a length that was there before, so that what a torn write left lies where new records will end. */
        static const size_t lens[] = {0, 40, 100, 480, 480, 992};
        size_t len = lens[rng_below(&fixture->rng, ARRAY_COUNT(lens))];
        if (rng_below(&fixture->rng, 4) == 0) {
            len = rng_below(&fixture->rng, rng_below(&fixture->rng, 5) == 0 ? FIXTURE_BODY_MAX : fixture->body_max);
        }
        status = fixture_propose(fixture, len);
        if (status == STATUS_BUSY || status == STATUS_NO_SPACE) {
            return true;
        }
    } else if (dice < 75) {
        file_journal_write(fixture->journal);
    } else if (dice < 85) {
        fixture->journal->driver->poll(fixture->journal);
    } else if (dice < 90) {
        enum status prepared = file_journal_prepare(fixture->journal);
        (void)prepared; /* a failure shows in poll */
    } else if (dice < 94) {
        if (rng_below(&fixture->rng, 2) == 0) {
            fixture_settle(fixture); /* else the snapshot is of entries that a crash may still take from the log */
        }
        if (fixture->failures == 0 && fixture->applied_seq > 0) {
            status = fixture_snapshot(fixture);
        }
    } else if (dice < 98) {
        status = file_journal_trim(fixture->journal, rng_below(&fixture->rng, fixture->last_seq + 1));
    } else {
        fixture_close(fixture);
        return fixture_open(fixture) == STATUS_OK;
    }
    if (status != STATUS_OK) {
        return false;
    }
    if (fixture->failures == 0 && !disk_sim_has_failed(fixture->disk)) {
        assert_null(file_journal_check(fixture->journal));
    }
    fixture->journal->driver->poll(fixture->journal);
    return fixture->failures == 0;
}
