/* fixture.h - a file journal with a model beside it that knows what it must hold.
 *
 * The model is the simplest twin there is: for each seq, what was proposed last under it. The state is a running hash over
 * entries, so that snapshots can be checked too. After each opening the fixture demands: exactly the entries 1..last of
 * the model, nothing else, nothing reported durable is missing, time never went back. */
#ifndef SHOAL_TEST_JOURNAL_FIXTURE_H
#define SHOAL_TEST_JOURNAL_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rng.h"
#include "journal/disk_sim.h"
#include "journal/file_journal.h"

#define FIXTURE_ENTRIES_MAX 6000u
#define FIXTURE_BODY_MAX 8192u
#define FIXTURE_SEGMENT_SIZE 16384u /* two blocks of header, two of records */

struct fixture_entry {
    uint64_t generation; /* which proposal of this seq it was; its body follows from seq and generation */
    uint32_t body_len;
    int64_t time_ns;
    uint64_t state; /* after it */
};

struct fixture {
    struct disk *disk; /* owned */
    struct file_journal_config config;
    struct file_journal_hooks hooks;
    struct journal *journal; /* owned; NULL: not open */
    struct rng rng;
    int64_t now_ns;
    uint64_t generation;
    uint32_t body_max;

    struct fixture_entry *entries; /* owned; of seq i + 1 */
    uint64_t last_seq;             /* newest proposed or recovered */
    uint64_t durable_seq;          /* newest reported by on_durable, ever */
    uint64_t state;                /* as the owner has it */
    uint64_t applied_seq;
    uint64_t snapshot_seq; /* newest one finished */
    bool is_replaying;
    enum status failed;
    unsigned failures;
    unsigned durables; /* calls of on_durable */
    struct file_journal_recovery recovery;
};

void fixture_init(struct fixture *fixture, uint64_t seed);
void fixture_free(struct fixture *fixture);
/* Opens; on OK everything above is demanded of what was replayed. */
enum status fixture_open(struct fixture *fixture);
/* Proposes an entry with a body of so many bytes. */
enum status fixture_propose(struct fixture *fixture, size_t body_len);
/* Proposes, writing and polling while it answers BUSY; must end well. */
void fixture_must_propose(struct fixture *fixture, size_t body_len);
/* Writes and polls until nothing is left to do. */
void fixture_settle(struct fixture *fixture);
/* Makes a snapshot of the state as it is. */
enum status fixture_snapshot(struct fixture *fixture);
void fixture_close(struct fixture *fixture);
/* One random step of an owner's life: propose, write, poll, prepare, snapshot, trim, close and open. Returns false when the
 * journal cannot go on. */
bool fixture_step(struct fixture *fixture);
/* For file_journal_scan: whether the entry is the one of the model; ctx is the fixture. */
bool fixture_is_entry(void *fixture, const struct journal_entry *entry);
/* The body of seq and generation into `ret`. */
void fixture_body(uint64_t seq, uint64_t generation, size_t len, char *ret);

#endif
