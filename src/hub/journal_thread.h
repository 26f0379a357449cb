/* journal_thread.h - the threads behind the journal: one writes and syncs, one prepares segments.
 *
 * The owner's loop proposes; the writer thread takes all that has accumulated, writes it, syncs it once and wakes the loop,
 * whose thread then calls the journal's poll. No delay is added to make groups larger: a group is what arrived while the
 * one before was being synced. Made before the journal is opened (it supplies the hooks), started after. */
#ifndef SHOAL_HUB_JOURNAL_THREAD_H
#define SHOAL_HUB_JOURNAL_THREAD_H

#include "journal/file_journal.h"
#include "net/loop.h"

struct journal_thread;

/* On the loop's thread. */
STATUS_MUST_CHECK enum status journal_thread_new(struct loop *loop, struct journal_thread **ret_thread);
/* For file_journal_open. */
struct file_journal_hooks journal_thread_hooks(struct journal_thread *thread);
/* Starts both threads. The journal is borrowed until journal_thread_stop. */
STATUS_MUST_CHECK enum status journal_thread_start(struct journal_thread *thread, struct journal *journal);
/* Writes what is queued, ends both threads and waits for them; no poll comes after it. Then the journal may be closed; the
 * hooks stay good until journal_thread_free. */
void journal_thread_stop(struct journal_thread *thread);
/* After the journal was closed; gives the memory back during the loop's next turn. Stops first if need be. */
void journal_thread_free(struct journal_thread *thread);

#endif
