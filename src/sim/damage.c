/* damage.c - what the journal makes of a disk that was harmed.
 *
 * A copy of the hub's disk is spoilt in one or two places (a bit flipped, a sector that cannot be read, a write that went
 * elsewhere or nowhere) and recovered from: that must give the state of the sound copy, or an earlier one, or refuse. It never
 * gives another state, since whoever opens such a disk would not learn of it.
 *
 * A torn tail is harm of the usual sort: recovery cuts it. What was cut must be gone from the disk, or later, when entries
 * of the same size have been written in front of it, it would be read as their successors. That takes a chance that no
 * number of seeds can be relied on to bring about; so it is looked for at once. */
#include <stdio.h>

#include "base/ensure.h"
#include "journal/segment.h"
#include "sim/world.h"

/* --- a copy --- */

struct copy {
    struct world *world;
    struct sequencer *sequencer;
    struct journal_callbacks callbacks;
};

static void copy_on_entry(void *ctx, const struct journal_entry *entry)
{
    struct copy *copy = ctx;
    check_replayed(copy->world, core_seq(sequencer_core(copy->sequencer)), entry);
    copy->callbacks.on_entry(copy->callbacks.ctx, entry);
}

static bool copy_has_stopped(void *ctx)
{
    struct copy *copy = ctx;
    return copy->callbacks.has_stopped(copy->callbacks.ctx);
}

static void copy_on_durable(void *ctx, uint64_t seq)
{
    (void)ctx;
    (void)seq;
}

static void copy_on_failed(void *ctx, enum status status, const char *why)
{
    (void)ctx;
    (void)status;
    (void)why;
}

static enum status copy_on_snapshot(void *ctx, uint64_t seq, struct slice state)
{
    return sequencer_load_snapshot(((struct copy *)ctx)->sequencer, seq, state);
}

static void copy_on_finished(void *ctx, const struct effect_finished *finished, uint64_t seq)
{
    (void)ctx;
    (void)finished;
    (void)seq;
}

static int64_t copy_wall_ns(void *ctx)
{
    return hub_wall_ns(ctx);
}

/* Recovers from a disk as a hub would, and throws the hub away. */
static enum status recover_copy(struct world *world, struct disk *disk, uint64_t *ret_seq, uint64_t *ret_hash)
{
    struct copy copy = {.world = world};
    const struct sequencer_sinks sinks = {
        .on_finished = copy_on_finished, .on_failed = copy_on_failed, .wall_ns = copy_wall_ns, .ctx = world};
    const struct journal_callbacks callbacks = {.on_entry = copy_on_entry,
                                                .on_durable = copy_on_durable,
                                                .on_failed = copy_on_failed,
                                                .has_stopped = copy_has_stopped,
                                                .ctx = &copy};
    struct file_journal_config config = hub_journal_config(world, disk);
    struct file_journal_recovery recovery;
    struct journal *journal = NULL;
    copy.sequencer = sequencer_new(1, &sinks);
    ensure(copy.sequencer != NULL);
    copy.callbacks = sequencer_journal_callbacks(copy.sequencer);
    enum status status = file_journal_open(&config, NULL, &callbacks, copy_on_snapshot, &recovery, &journal);
    if (status == STATUS_OK) {
        *ret_seq = core_seq(sequencer_core(copy.sequencer));
        *ret_hash = core_fingerprint(sequencer_core(copy.sequencer));
        journal->driver->close(journal);
    }
    sequencer_free(copy.sequencer);
    return status;
}

struct listing {
    char paths[32][64];
    uint32_t count;
    const char *dir;
};

static bool on_name(void *ctx, const char *name)
{
    struct listing *listing = ctx;
    size_t len = strlen(name);
    bool is_ours = len > 4 && (strcmp(name + len - 4, ".seg") == 0 || strcmp(name + len - 5, ".snap") == 0) &&
                   strncmp(name, "spare", 5) != 0;
    if (is_ours && listing->count < ARRAY_COUNT(listing->paths)) {
        snprintf(listing->paths[listing->count++], sizeof(listing->paths[0]), "%s/%.50s", listing->dir, name);
    }
    return true;
}

/* One spoilt place; where there is something to spoil. */
static void spoil(struct world *world, struct disk *disk, const char *path)
{
    const enum stream stream = STREAM_FAULT + SIM_FAULT_DAMAGE;
    struct slice content = disk_sim_content(disk, path);
    uint64_t offset = 0;
    for (int i = 0; i < 30 && content.len > 0; i++) {
        offset = world_below(world, stream, content.len);
        if (content.data[offset] != 0) {
            break;
        }
        offset = world_below(world, stream, content.len < 20000 ? content.len : 20000);
    }
    uint64_t sector = offset / DISK_SIM_SECTOR_SIZE * DISK_SIM_SECTOR_SIZE;
    uint64_t way = world_below(world, stream, 4);
    char bytes[DISK_SIM_SECTOR_SIZE] = {0};
    trace(world, TRACE_DISK, 100 + way, offset, content.len);
    if (content.len == 0 || sector + sizeof(bytes) > content.len) {
        return;
    }
    if (way == 0) {
        disk_sim_flip_bit(disk, path, offset, (unsigned)world_below(world, stream, 8));
        return;
    }
    if (way == 1) {
        disk_sim_spoil_sector(disk, path, offset);
        return;
    }
    if (way == 2) { /* misdirected: another sector's content */
        uint64_t from = world_below(world, stream, content.len / sizeof(bytes)) * sizeof(bytes);
        memcpy(bytes, content.data + from, sizeof(bytes));
    } /* else lost: the zeros from before */
    struct disk_file *file;
    if (disk->open(disk, path, DISK_OPEN_WRITE, &file) == STATUS_OK) {
        enum status status = disk->write_at(disk, file, sector, bytes, sizeof(bytes));
        status = status == STATUS_OK ? disk->sync(disk, file) : status;
        ensure(status == STATUS_OK);
        disk->close(disk, file);
    }
}

void hub_damage(struct world *world)
{
    const enum stream stream = STREAM_FAULT + SIM_FAULT_DAMAGE;
    uint64_t seq = 0;
    uint64_t spoilt_seq = 0;
    uint64_t hash = 0;
    uint64_t spoilt_hash = 0;
    uint64_t seed = world_below(world, stream, UINT64_MAX);
    struct disk *sound = disk_sim_clone(world->hub.disk, seed);
    ensure(sound != NULL);
    disk_sim_set_capacity(sound, UINT64_MAX);
    disk_sim_crash(sound, DISK_SIM_LOSE_NONE);
    struct disk *spoilt = disk_sim_clone(sound, seed);
    ensure(spoilt != NULL);
    disk_sim_set_capacity(spoilt, UINT64_MAX);
    enum status status = recover_copy(world, sound, &seq, &hash);
    CHECK_THAT(world, status == STATUS_OK || world->hub.life < 2, "J1", "a copy of the sound disk is refused: %s",
               status_title(status));
    struct listing listing = {.count = 0};
    static const char *const dirs[] = {"journal", "snapshot"};
    for (size_t i = 0; i < ARRAY_COUNT(dirs); i++) {
        listing.dir = dirs[i];
        enum status listed = spoilt->list(spoilt, dirs[i], on_name, &listing);
        (void)listed; /* a folder that is not there yet has nothing to spoil */
    }
    uint64_t count = listing.count > 0 ? 1 + world_below(world, stream, 2) : 0;
    for (uint64_t i = 0; i < count; i++) {
        spoil(world, spoilt, listing.paths[world_below(world, stream, listing.count)]);
    }
    if (count > 0 && status == STATUS_OK && !world->report->has_failed) {
        world->report->damages++;
        status = recover_copy(world, spoilt, &spoilt_seq, &spoilt_hash);
        trace(world, TRACE_DAMAGE, count, spoilt_seq, (uint64_t)status);
        bool is_refusal = status == STATUS_CORRUPT || status == STATUS_IO;
        CHECK_THAT(world, status == STATUS_OK || is_refusal, "damage", "recovery from damage ends with %s",
                   status_title(status));
        if (status == STATUS_OK) {
            CHECK_THAT(world, spoilt_seq <= seq, "damage", "damage made entries: %llu instead of %llu",
                       (unsigned long long)spoilt_seq, (unsigned long long)seq);
            CHECK_THAT(world, spoilt_seq != seq || hash == spoilt_hash, "J3",
                       "recovery from damage gives another state at entry %llu", (unsigned long long)seq);
        }
    }
    disk_sim_free(sound);
    disk_sim_free(spoilt);
}

/* --- a torn tail --- */

void check_tail(struct world *world, const struct file_journal_recovery *recovery)
{
    const struct disk *disk = world->hub.disk;
    uint64_t first_seq = recovery->last_seq + 1;
    char path[SEGMENT_PATH_SIZE];
    if (recovery->truncated_size == 0) {
        return;
    }
    for (segment_path(first_seq, path); !disk_sim_has_file(disk, path); segment_path(first_seq, path)) {
        if (--first_seq == 0) {
            return;
        }
    }
    struct slice content = disk_sim_content(disk, path);
    struct segment_header header;
    struct segment_record record;
    uint64_t offset = SEGMENT_HEADER_SIZE;
    uint32_t bad_copy_at;
    bool is_later_version;
    world->report->checks++;
    if (content.len < SEGMENT_HEADER_SIZE ||
        segment_header_decode(content.data, first_seq, &header, &bad_copy_at, &is_later_version) == 0) {
        return;
    }
    bool is_left = segment_find_record(content.data, content.len, &offset, header.salt, recovery->last_seq + 1, offset,
                                       first_seq, &record);
    CHECK_THAT(world, !is_left, "J2", "the log was cut behind entry %llu, and entry %llu is still there",
               (unsigned long long)recovery->last_seq, (unsigned long long)record.seq);
}
