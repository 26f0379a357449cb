/* live.h - how a run goes, while it goes: a view on a terminal, or a line now and then elsewhere. */
#ifndef SHOAL_BENCH_LIVE_H
#define SHOAL_BENCH_LIVE_H

#include "base/buf.h"
#include "bench/engine.h"

struct live {
    int fd;
    bool is_terminal; /* a view that is drawn anew each second; else a line when a phase begins and every 5 s */
    int columns;
    /* of live.c */
    int lines_drawn;
    int64_t told_at_ns;
    char told_phase[96];
};

/* On a terminal the cursor is hidden until live_end. */
void live_begin(struct live *live, int fd, bool is_terminal, int columns);
/* For bench_options.on_progress; ctx is the struct. */
void live_progress(void *ctx, const struct bench_progress *progress);
/* Takes the view away, so that the report stands in its place, and restores the cursor. */
void live_end(struct live *live);

/* What is drawn, and what is told in a line. */
void live_frame(const struct bench_progress *progress, int columns, struct buf *out);
void live_line(const struct bench_progress *progress, struct buf *out);

#endif
