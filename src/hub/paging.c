/* paging.c - see paging.h. */
#include "hub/paging.h"

#include "base/base32.h"
#include "base/timefmt.h"

bool query_decimal(struct slice text, uint64_t max, uint64_t *ret)
{
    uint64_t value = 0;
    if (text.len == 0 || text.len > 18) {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') {
            return false;
        }
        value = value * 10 + (uint64_t)(text.data[i] - '0');
    }
    if (value > max) {
        return false;
    }
    *ret = value;
    return true;
}

bool call_query_page(struct call *call, uint64_t start, uint32_t *ret_limit, uint64_t *ret_cursor)
{
    struct slice text;
    uint64_t limit = LIMIT_PAGE_DEFAULT;
    if (call_query(call, "limit", &text) && (!query_decimal(text, LIMIT_PAGE_MAX, &limit) || limit == 0)) {
        call_refuse_status(call, STATUS_BAD_REQUEST, "limit: an integer from 1 to %d", LIMIT_PAGE_MAX);
        return false;
    }
    *ret_limit = (uint32_t)limit;
    *ret_cursor = start;
    if (call_query(call, "cursor", &text) && text.len > 0 && !base32_parse(text, ret_cursor)) {
        call_refuse_status(call, STATUS_BAD_REQUEST, "cursor: not a next_cursor of this list");
        return false;
    }
    return true;
}

bool call_query_ordered_page(struct call *call, struct page *ret)
{
    *ret = (struct page){.order = LIST_NEWEST};
    struct slice text;
    if (call_query(call, "order", &text)) {
        bool is_oldest = slice_equal(text, SLICE("oldest"));
        if (!is_oldest && !slice_equal(text, SLICE("newest"))) {
            call_refuse_status(call, STATUS_BAD_REQUEST, "order: newest or oldest");
            return false;
        }
        ret->order = is_oldest ? LIST_OLDEST : LIST_NEWEST;
    }
    return call_query_page(call, ret->order == LIST_NEWEST ? UINT64_MAX : 0, &ret->limit, &ret->at);
}

bool call_query_time(struct call *call, const char *name, int64_t *ret)
{
    struct slice text;
    if (call_query(call, name, &text) && time_parse(text, ret) != STATUS_OK) {
        call_refuse_status(call, STATUS_BAD_REQUEST, "%s: an RFC 3339 time, such as 2026-01-31T12:00:00Z", name);
        return false;
    }
    return true;
}

bool page_takes(struct page *page, struct buf *out, uint64_t place)
{
    if (page->count == page->limit) {
        page->has_next = true;
        return false;
    }
    if (page->count > 0) {
        buf_append_char(out, ',');
    }
    page->count++;
    page->last = place;
    return true;
}

void write_page_end(struct buf *out, uint64_t next_cursor, bool has_next)
{
    if (!has_next) {
        buf_append_slice(out, SLICE("],\"next_cursor\":null}"));
        return;
    }
    char text[BASE32_TEXT_SIZE];
    base32_format(next_cursor, text);
    buf_append_slice(out, SLICE("],\"next_cursor\":\""));
    buf_append(out, text, BASE32_DIGITS);
    buf_append_slice(out, SLICE("\"}"));
}
