/* paging.h - what every list over HTTP shares: how a page is asked for, how it ends, and when it may.
 *
 * A page holds as many items as were asked for, unless it is the last; `next_cursor` is null exactly when nothing follows.
 * A cursor names a place in the order, not a page: what is added or deleted meanwhile neither repeats nor hides others.
 * Loop's thread. */
#ifndef SHOAL_HUB_PAGING_H
#define SHOAL_HUB_PAGING_H

#include "core/core.h"
#include "hub/routes.h"

struct page {
    uint32_t limit;
    enum list_order order;
    uint64_t at; /* items beyond this place; the start of the order when no cursor was given */
    /* as it fills */
    uint32_t count;
    uint64_t last; /* the place of the last item */
    bool has_next;
};

/* A decimal of at most 18 digits and `max`. */
bool query_decimal(struct slice text, uint64_t max, uint64_t *ret);
/* limit, cursor and order (where the route has it). False: answered. */
bool call_query_ordered_page(struct call *call, struct page *ret);
/* The same for lists that have one order and begin at `start`. */
bool call_query_page(struct call *call, uint64_t start, uint32_t *ret_limit, uint64_t *ret_cursor);
/* An RFC 3339 time; *ret stays when it is missing. False: answered. */
bool call_query_time(struct call *call, const char *name, int64_t *ret);
/* Before an item is written: makes room for one more. False: the page is full and this item is on the next one. */
bool page_takes(struct page *page, struct buf *out, uint64_t place);
/* ],"next_cursor":…} */
void write_page_end(struct buf *out, uint64_t next_cursor, bool has_next);

#endif
