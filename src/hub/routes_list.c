/* routes_list.c - GET /v1/tasks: tasks of memory and history in one order.
 *
 * Two walks in the same order, each of which finds its next match by index (core/roll.c, history_index.c), are merged. A
 * task in memory hides its row: it may have been retried since. So a page is full unless it is the last one. The only
 * exceptions, both passing, are a history file of an older version that is being indexed, and more than HIDDEN_MAX rows in
 * a run that are hidden because their tasks were just retried; the page then ends early, with a cursor. */
#include "base/ensure.h"
#include "hub/fields.h"
#include "hub/paging.h"
#include "hub/task_json.h"

/* Rows that one request looks at in vain, each a step of SQLite: 1.2 us, and more with a cold cache */
#define HIDDEN_MAX 4000

struct listing {
    struct core *core;
    struct task_filter filter;
    struct page page;
    struct buf *out;
    uint64_t memory_at; /* the next match in memory, not written yet; 0: none */
    uint32_t hidden_left;
    bool is_cut; /* ends early */
    enum status status;
};

static bool comes_before(const struct listing *listing, uint64_t a, uint64_t b)
{
    return listing->page.order == LIST_NEWEST ? a > b : a < b;
}

static void memory_next(struct listing *listing, uint64_t at)
{
    listing->memory_at = core_task_next(listing->core, &listing->filter, listing->page.order, at, NULL);
}

/* False when the page is full. */
static bool write_item(struct listing *listing, const struct task_view *view)
{
    if (!page_takes(&listing->page, listing->out, view->task_id)) {
        return false;
    }
    task_json_write(listing->out, view, true);
    return true;
}

/* Writes the matches of memory that come before `limit` (0: all of them). False when the page is full. */
static bool write_memory(struct listing *listing, uint64_t limit)
{
    while (listing->memory_at != 0 && (limit == 0 || comes_before(listing, listing->memory_at, limit))) {
        struct task_view view;
        if (core_task_get(listing->core, listing->memory_at, &view) == STATUS_OK && !write_item(listing, &view)) {
            return false;
        }
        memory_next(listing, listing->memory_at);
    }
    return true;
}

static bool visit_row(void *ctx, uint64_t task_id, struct slice row)
{
    struct listing *listing = ctx;
    if (!write_memory(listing, task_id)) {
        return false;
    }
    struct task_brief brief;
    if (core_task_brief(listing->core, task_id, &brief) == STATUS_OK) { /* memory shows it, if it matches */
        listing->is_cut = --listing->hidden_left == 0;
        return !listing->is_cut;
    }
    struct task_view view;
    listing->status = task_view_get(row, &view);
    return listing->status == STATUS_OK && write_item(listing, &view);
}

/* Fills the page and writes its end. */
static enum status list_tasks(struct hub *hub, struct listing *listing)
{
    struct page *page = &listing->page;
    bool is_final = listing->filter.state < 0 || task_state_is_final((enum task_state)listing->filter.state);
    memory_next(listing, page->at);
    uint64_t history_last = 0;
    if (is_final && hub->history != NULL) {
        enum status status = history_list(hub->history, &listing->filter, page->order, page->at, HIDDEN_MAX, visit_row,
                                          listing, &history_last);
        if (status != STATUS_OK || listing->status != STATUS_OK) {
            return status != STATUS_OK ? status : listing->status;
        }
    }
    if (!page->has_next && history_last != 0) { /* cut: what memory has up to there, and on from there */
        listing->is_cut = true;
        (void)write_memory(listing, page->order == LIST_NEWEST ? history_last - 1 : history_last + 1);
    } else if (!page->has_next) {
        (void)write_memory(listing, 0);
    }
    bool is_cut = listing->is_cut && !page->has_next;
    write_page_end(listing->out, is_cut ? history_last : page->last, is_cut || page->has_next);
    return STATUS_OK;
}

static bool take_state(struct call *call, struct listing *listing)
{
    struct slice text;
    enum task_state state;
    if (!call_query(call, "state", &text)) {
        return true;
    }
    if (!task_state_from_name(text, &state)) {
        call_refuse_status(
            call, STATUS_BAD_REQUEST,
            "state: scheduled, blocked, ready, leased, validating, succeeded, dead, cancelled or expired");
        return false;
    }
    listing->filter.state = (int)state;
    return true;
}

void handle_task_list(struct call *call)
{
    struct hub *hub = call->hub;
    struct listing listing = {.core = sequencer_core(hub->sequencer),
                              .filter = TASK_FILTER_ANY,
                              .out = &call->routes->out,
                              .hidden_left = HIDDEN_MAX};
    struct task_filter *filter = &listing.filter;
    if (!call_query_ordered_page(call, &listing.page) || !take_state(call, &listing) ||
        !call_query_time(call, "created_after", &filter->created_from_ns) ||
        !call_query_time(call, "created_before", &filter->created_until_ns)) {
        return;
    }
    /* Copies: a decoded parameter lives in a buffer that is used again. */
    char queue[LIMIT_NAME_SIZE], kind[LIMIT_NAME_SIZE], error_kind[LIMIT_NAME_SIZE];
    const struct {
        const char *name;
        char *keep;
        struct slice *filter;
    } names[] = {{"queue", queue, &filter->queue},
                 {"kind", kind, &filter->kind},
                 {"error_kind", error_kind, &filter->error_kind}};
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        struct slice text;
        if (!call_query(call, names[i].name, &text)) {
            continue;
        }
        if (!name_is_valid(text)) {
            call_refuse_status(call, STATUS_BAD_REQUEST, "%s: no such name can be", names[i].name);
            return;
        }
        memcpy(names[i].keep, text.data, text.len);
        *names[i].filter = (struct slice){names[i].keep, text.len};
    }
    buf_append_slice(listing.out, SLICE("{\"items\":["));
    enum status status = list_tasks(hub, &listing);
    if (status != STATUS_OK) {
        buf_reset(listing.out);
        call_refuse_status(call, status, NULL);
        return;
    }
    call_answer_durable(call, 200, core_seq(listing.core));
}
