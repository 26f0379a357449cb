/* blob_sweep.c - see blob_sweep.h.
 *
 * Collection. A pass goes through the 256 folders of the store, one at a time: a thread of the pool lists the blobs whose
 * file was last put or asked for (HEAD) longer ago than blob_keep_ms; then the loop asks for each whether a task in memory
 * or a row of history names it, and takes those that are not out of the way, a few a turn. Both answers come from counts
 * that are kept as texts come and go (core/refs.c, table blob_name), so a restart has them again at once.
 *
 *   timer ─▶ list folder n (pool) ─▶ named? (loop) ─ no ─▶ rename to tmp (loop) ─▶ unlink (pool) ─▶ … ─▶ folder n + 1
 *
 * No blob goes that a task names: commands are applied on the loop, where the question is asked and the name taken in one go.
 * A client that put or asked for the blob (HEAD) has the whole of blob_keep_ms to submit what names it.
 *
 * The disk. Once a second its free space is looked at. Below the reserve the hub takes no new tasks and no blobs (507), and
 * goes on with all the rest: leases, reports, reads, cancels. With a quarter more than the reserve it takes work again.
 * So the journal and history have the reserve to let what is there finish.
 *
 * Uploads. One that is older than UPLOAD_GRACE_NS and slower than the rate, or older than the time for all of it, is
 * ended; time in which the disk kept the sender waiting does not count as slowness. */
#include "hub/blob_sweep.h"

#include <stdlib.h>
#include <sys/statvfs.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/log.h"
#include "proto/blob_name.h"

#define FOLDERS 256u
#define STEP_MS 10u      /* between two turns of a pass */
#define STEP_BLOBS 32u   /* looked at in one turn: 32 questions of some us each */
#define WATCH_MS 1000u   /* between two looks at the disk and the uploads */
#define PASS_MS_MIN 1000 /* between two passes at least ... */
#define PASS_MS_MAX (60 * 60 * 1000)
#define AUTO_RESERVE (UINT64_C(512) << 20) /* when none is configured: a twentieth of the disk, at most this */

struct blob_sweep {
    uint32_t magic;
    struct hub *hub;
    uv_timer_t step_timer, watch_timer;
    uint32_t closing; /* handles that are not closed yet */
    bool is_ending;
    bool is_listing;
    uint32_t folder; /* being looked at; FOLDERS: no pass is under way */
    struct blob_list *list;
    uint32_t list_at;
    int64_t next_pass_ns;
    struct storage_stats stats;
    uint64_t pass_blobs, pass_size;
};

enum status blob_is_named(struct hub *hub, const char *hex, bool *ret_is_named)
{
    uint8_t digest[SHA256_SIZE];
    *ret_is_named = false;
    if (!blob_digest_parse(hex, digest)) {
        return STATUS_NOT_FOUND;
    }
    if (core_blob_is_named(sequencer_core(hub->sequencer), digest)) {
        *ret_is_named = true;
        return STATUS_OK;
    }
    if (hub->history == NULL) {
        return STATUS_OK;
    }
    enum status status = history_names_blob(hub->history, digest, ret_is_named);
    return status == STATUS_OK && !*ret_is_named && !history_is_indexed(hub->history) ? STATUS_AGAIN : status;
}

/* --- the pass --- */

static void schedule_step(struct blob_sweep *sweep, uint64_t ms);

static void on_listed(void *ctx, struct blob_list *list)
{
    struct blob_sweep *sweep = ctx;
    sweep->is_listing = false;
    if (sweep->is_ending) {
        blob_list_free(list);
        if (sweep->closing == 0) {
            free(sweep);
        }
        return;
    }
    sweep->list = list;
    sweep->list_at = 0;
    sweep->pass_blobs += list->all_count;
    sweep->pass_size += list->all_size;
    schedule_step(sweep, list->count > 0 ? STEP_MS : 1);
}

static void end_pass(struct blob_sweep *sweep)
{
    int64_t pause_ms = sweep->hub->config.blob_keep_ms / 4;
    pause_ms = pause_ms == 0 || pause_ms > PASS_MS_MAX ? PASS_MS_MAX : pause_ms < PASS_MS_MIN ? PASS_MS_MIN : pause_ms;
    sweep->next_pass_ns = clock_mono_ns() + pause_ms * NS_PER_MS;
    sweep->stats.passes++;
    blob_store_counted(sweep->hub->blobs, sweep->pass_blobs, sweep->pass_size);
    sweep->pass_blobs = sweep->pass_size = 0;
}

static void look_at(struct blob_sweep *sweep, const struct blob_list_item *item)
{
    struct hub *hub = sweep->hub;
    bool is_named = true;
    if (blob_is_named(hub, item->hex, &is_named) != STATUS_OK || is_named) {
        return;
    }
    if (blob_remove(hub->blobs, item->hex, hub->config.blob_keep_ms) == STATUS_OK) {
        sweep->stats.blobs_collected++;
        sweep->pass_blobs -= sweep->pass_blobs > 0;
        sweep->pass_size -= item->size < sweep->pass_size ? item->size : sweep->pass_size;
    }
}

static void step(struct blob_sweep *sweep)
{
    for (uint32_t n = 0; sweep->list != NULL && n < STEP_BLOBS; n++) {
        if (sweep->list_at == sweep->list->count) {
            blob_list_free(TAKE(sweep->list));
            sweep->folder++;
            break;
        }
        look_at(sweep, &sweep->list->items[sweep->list_at++]);
    }
    if (sweep->list != NULL) {
        schedule_step(sweep, STEP_MS);
        return;
    }
    if (sweep->folder == FOLDERS) {
        end_pass(sweep);
        return;
    }
    int64_t keep_ms = sweep->hub->config.blob_keep_ms;
    sweep->is_listing = blob_list_begin(sweep->hub->blobs, sweep->folder, keep_ms > 0 ? keep_ms : INT64_MAX, on_listed,
                                        sweep) == STATUS_OK;
    if (!sweep->is_listing) { /* no memory: another time */
        sweep->folder = FOLDERS;
        end_pass(sweep);
    }
}

static void on_step(uv_timer_t *timer)
{
    step(timer->data);
}

static void schedule_step(struct blob_sweep *sweep, uint64_t ms)
{
    (void)uv_timer_start(&sweep->step_timer, on_step, ms, 0);
}

/* --- the watch --- */

static void look_at_disk(struct blob_sweep *sweep)
{
    struct statvfs disk;
    const struct hub_config *config = &sweep->hub->config;
    if (statvfs(config->data_dir, &disk) != 0) {
        return;
    }
    struct storage_stats *stats = &sweep->stats;
    uint64_t size = (uint64_t)disk.f_blocks * disk.f_frsize;
    stats->disk_free = (uint64_t)disk.f_bavail * disk.f_frsize;
    stats->disk_reserve = size / 20 < AUTO_RESERVE ? size / 20 : AUTO_RESERVE;
    if (config->disk_reserve != DISK_RESERVE_AUTO) {
        stats->disk_reserve = config->disk_reserve;
    }
    uint64_t enough = stats->disk_reserve + (stats->is_low ? stats->disk_reserve / 4 : 0);
    bool is_low = stats->disk_free < enough;
    if (is_low != stats->is_low) {
        stats->is_low = is_low;
        log_warn(is_low ? "disk.low" : "disk.enough", "free=%llu reserve=%llu meaning=\"%s\"",
                 (unsigned long long)stats->disk_free, (unsigned long long)stats->disk_reserve,
                 is_low ? "new tasks and blobs are refused, those that are there go on" : "new work is taken again");
    }
    sweep->hub->is_disk_low = is_low;
}

static void on_watch(uv_timer_t *timer)
{
    struct blob_sweep *sweep = timer->data;
    struct hub *hub = sweep->hub;
    look_at_disk(sweep);
    blob_uploads_judge(hub->blobs, hub->config.blob_rate_min, hub->config.blob_upload_ms);
    if (sweep->folder == FOLDERS && clock_mono_ns() >= sweep->next_pass_ns) {
        sweep->folder = 0;
        step(sweep);
    }
}

/* --- from beginning to end --- */

enum status blob_sweep_new(struct hub *hub, struct blob_sweep **ret_sweep)
{
    struct blob_sweep *sweep = calloc(1, sizeof(*sweep));
    if (sweep == NULL) {
        return STATUS_NO_MEMORY;
    }
    sweep->magic = BLOB_SWEEP_MAGIC;
    sweep->hub = hub;
    sweep->folder = FOLDERS;
    uv_timer_t *timers[] = {&sweep->step_timer, &sweep->watch_timer};
    for (size_t i = 0; i < ARRAY_COUNT(timers); i++) {
        (void)uv_timer_init(&hub->loop.uv, timers[i]);
        timers[i]->data = sweep;
        uv_unref((uv_handle_t *)timers[i]);
    }
    look_at_disk(sweep);
    (void)uv_timer_start(&sweep->watch_timer, on_watch, WATCH_MS, WATCH_MS);
    *ret_sweep = sweep;
    return STATUS_OK;
}

static void on_closed(uv_handle_t *handle)
{
    struct blob_sweep *sweep = handle->data;
    if (--sweep->closing == 0 && !sweep->is_listing) {
        free(sweep);
    }
}

void blob_sweep_free(struct blob_sweep *sweep)
{
    if (sweep == NULL) {
        return;
    }
    ensure_magic(sweep, BLOB_SWEEP_MAGIC);
    sweep->is_ending = true;
    if (sweep->list != NULL) {
        blob_list_free(TAKE(sweep->list));
    }
    sweep->closing = 2;
    uv_close((uv_handle_t *)&sweep->step_timer, on_closed);
    uv_close((uv_handle_t *)&sweep->watch_timer, on_closed);
}

void blob_sweep_stats(const struct blob_sweep *sweep, struct storage_stats *ret)
{
    ensure_magic(sweep, BLOB_SWEEP_MAGIC);
    *ret = sweep->stats;
    blob_store_figures(sweep->hub->blobs, &ret->blobs, &ret->blobs_size);
}
