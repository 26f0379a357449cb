/* verify.h - looking over and mending a data directory that no hub has open: `shoal verify` and `shoal repair`.
 *
 * Blocking; for the command line. Both take the directory's lock and give it back. */
#ifndef SHOAL_HUB_VERIFY_H
#define SHOAL_HUB_VERIFY_H

#include "base/buf.h"
#include "journal/file_journal.h"

struct verify_report {
    uint32_t snapshots;          /* found */
    uint32_t snapshots_compared; /* whose state was reached by replay as well, with the same hash */
    uint64_t base_seq;           /* replay began from this snapshot; 0: from nothing */
    uint64_t entries;            /* replayed */
    uint64_t last_seq;
    uint64_t stood_in; /* entries that the journal lacks and a snapshot holds: cut off by a repair, or lost unsynced */
    uint64_t stood_in_first; /* the newest such range; 0: none */
    uint64_t stood_in_last;  /* the snapshot's */
    uint64_t undecodable;    /* entries that the core passed over; more than 0 is a defect of Shoal */
    uint64_t torn_size;      /* bytes of a torn tail; the next start cuts it */
    uint64_t tasks_live;
    uint64_t history_seq;   /* what history had reported */
    uint8_t state_hash[32]; /* after the last entry */
};

/* Replays the journal from the oldest base there is, compares the state hash at each snapshot with the snapshot's and
 * checks the core's invariants at the end. Where the journal lacks entries and goes on behind a snapshot, or ends in front of
 * one, that snapshot stands in for them, as it does when a hub starts. CORRUPT when something is wrong: `why` is one sentence. NOT_FOUND when there is
 * no data directory, LOCKED when a hub has it open. */
STATUS_MUST_CHECK enum status verify_run(const char *data_dir, struct verify_report *ret_report, struct buf *why);

/* Cuts the journal at its first damage (file_journal_repair); `is_dry_run` changes nothing. */
STATUS_MUST_CHECK enum status repair_run(const char *data_dir, bool is_dry_run, struct file_journal_repair *ret_report,
                                         struct buf *why);

#endif
