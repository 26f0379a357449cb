/* disk_sim.h - a disk in memory that tears, fails and loses, the same way for the same seed and the same calls.
 *
 * What it models, as badly as a real disk may behave: what was written since a file's last sync survives a power cut as any
 * subset of its 512-byte sectors; a size changed since then is the old or the new one; names made, moved and removed
 * since the folder's last sync survive up to some point in their order; a sync that fails has written some of it and
 * forgotten the rest. For tests and the simulator. One thread. */
#ifndef SHOAL_JOURNAL_DISK_SIM_H
#define SHOAL_JOURNAL_DISK_SIM_H

#include "journal/disk.h"

#define DISK_SIM_SECTOR_SIZE 512u

/* The calls of the table, for choosing which may fail; close is none, it cannot. */
enum disk_sim_op {
    DISK_SIM_OPEN = 1 << 0,
    DISK_SIM_SIZE = 1 << 1,
    DISK_SIM_READ = 1 << 2,
    DISK_SIM_WRITE = 1 << 3,
    DISK_SIM_TRUNCATE = 1 << 4,
    DISK_SIM_SYNC = 1 << 5,
    DISK_SIM_RENAME = 1 << 6,
    DISK_SIM_REMOVE = 1 << 7,
    DISK_SIM_MAKE_DIR = 1 << 8,
    DISK_SIM_SYNC_DIR = 1 << 9,
    DISK_SIM_LIST = 1 << 10,
    DISK_SIM_FREE_SIZE = 1 << 11,
    DISK_SIM_ANY = (1 << 12) - 1
};

/* Owned by the caller: disk_sim_free, after everything opened on it was closed. NULL without memory. */
struct disk *disk_sim_new(uint64_t seed);
void disk_sim_free(struct disk *disk);
/* Another disk with the same content, synced and unsynced; nothing open, no fault set. NULL without memory. */
struct disk *disk_sim_clone(struct disk *disk, uint64_t seed);

/* Calls so far of the kinds in `ops`. */
uint64_t disk_sim_calls(const struct disk *disk, unsigned ops);
/* The n-th call from now of the kinds in `ops` (1: the next) does nothing and reports `status`. A write may do its first
 * `torn_len` bytes before. A sync keeps what the seed says. n = 0: no fault. One fault at a time. */
void disk_sim_fail_call(struct disk *disk, unsigned ops, uint64_t n, enum status status, size_t torn_len);
/* The same, and every call after it fails too (IO), as when the power is cut in the middle of it. */
void disk_sim_cut_power(struct disk *disk, unsigned ops, uint64_t n, size_t torn_len);
/* Whether the fault that was set has happened. */
bool disk_sim_has_failed(const struct disk *disk);
/* Bytes that all files together may have; UINT64_MAX at first. Writes that grow a file past it do nothing: NO_SPACE. */
void disk_sim_set_capacity(struct disk *disk, uint64_t size);

enum disk_sim_loss {
    DISK_SIM_LOSE_SOME, /* as the seed says */
    DISK_SIM_LOSE_ALL,  /* everything that was not synced */
    DISK_SIM_LOSE_NONE  /* nothing */
};
/* The power comes back: unsynced content and names are lost or not, faults are cleared. Nothing may be open. */
void disk_sim_crash(struct disk *disk, enum disk_sim_loss loss);

/* The process died, the machine did not (kill -9): nothing is lost, what is unsynced stays so, faults are cleared. */
void disk_sim_restart(struct disk *disk);

/* --- looking and spoiling, past the table; the file must be there --- */
bool disk_sim_has_file(const struct disk *disk, const char *path);
uint64_t disk_sim_file_size(const struct disk *disk, const char *path);
/* A view of the content as a reader sees it; dies with the next call. */
struct slice disk_sim_content(const struct disk *disk, const char *path);
/* Damage that is durable at once. */
void disk_sim_flip_bit(struct disk *disk, const char *path, uint64_t offset, unsigned bit);
void disk_sim_resize(struct disk *disk, const char *path, uint64_t size);
/* Reads that touch the sector of `offset` fail with IO from now on, until it is written again. */
void disk_sim_spoil_sector(struct disk *disk, const char *path, uint64_t offset);

#endif
