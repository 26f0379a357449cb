/* hub_main.c - one hub process: opens the parts, wires them, runs the loop, ends them.
 *
 *   data/LOCK             one hub at a time
 *   data/journal/         segments             data/snapshot/   the core's state, two of them
 *   data/history.db       finished tasks       data/blobs/      large payloads
 *
 * Opening: lock, history (its position says which rows are missing), recovery (snapshot, then entries), threads, server.
 * The address is printed when the first entry of this process is durable: whoever reads it can submit.
 *
 * Ending, on the first SIGINT or SIGTERM: nothing new is taken, what is under way is answered, connections close, the
 * journal is synced, rows are written, a snapshot is made. A second signal ends the process at once; that is as safe as
 * kill -9, since everything acknowledged is durable.
 *
 * A failure of the journal (or of SQLite, but for a full disk) ends the process with its status: what was not durable
 * was not acknowledged, and a restart knows more than this process does. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/entropy.h"
#include "base/limits.h"
#include "base/log.h"
#include "hub/blob_sweep.h"
#include "hub/collector.h"
#include "hub/config.h"
#include "hub/guard.h"
#include "hub/history_position.h"
#include "hub/hub.h"
#include "hub/hub_clock.h"
#include "hub/journal_thread.h"
#include "hub/snapshotter.h"

#define STOP_GRACE_MS 5000                /* answers under way may take so long when the hub ends */
#define HISTORY_DONE_NS (250 * NS_PER_MS) /* between two HISTORY_DONE commands */
#define PROGRESS_NS (2 * NS_PER_S)        /* between two log lines of a long recovery */
#define SNAPSHOT_RETRY_NS (60 * NS_PER_S) /* after one that failed */
#define DEADLINE_MS_MAX 10000             /* the time of entries may run faster or slower: look again after so long */
#define LOCK_WAIT_NS NS_PER_S             /* 1 GiB is freed in about 200 ms */
#define SCRATCH_SIZE_MAX (16u << 20)

struct engine {
    struct hub hub; /* first: sinks get a pointer to it */
    struct disk *disk;
    struct journal_thread *journal_thread;
    struct snapshotter *snapshotter;
    struct hub_clock clock; /* the time of entries */
    struct journal_callbacks sequencer_callbacks;

    uv_async_t history_async;
    uv_timer_t deadline_timer;
    uv_timer_t history_timer;
    uv_timer_t collector_timer;
    struct collector collector;
    uv_signal_t sigint, sigterm;
    bool has_handles;
    struct loop_flush flush;
    int64_t armed_ns; /* deadline that deadline_timer is set to; INT64_MAX: none */

    bool is_recovering;
    enum status recovery_status; /* why an entry was not taken */
    int64_t progress_ns;
    uint64_t progress_entries;

    struct history_position position;
    int64_t history_warned_ns;

    uint64_t snapshot_applied_size; /* sequencer_applied_size at the last snapshot */
    int64_t snapshot_retry_ns;
    struct buf why; /* the plain sentence */
};

static struct engine *engine_of(void *hub)
{
    return (struct engine *)hub;
}

__attribute__((format(printf, 3, 4))) static enum status sentence(struct engine *engine, enum status status,
                                                                  const char *format, ...)
{
    if (engine->why.len == 0) {
        va_list args;
        va_start(args, format);
        buf_vprintf(&engine->why, format, args);
        va_end(args);
    }
    return status;
}

/* --- flushing and time --- */

static void on_deadline(uv_timer_t *timer)
{
    struct engine *engine = timer->data;
    engine->armed_ns = INT64_MAX;
    hub_schedule_flush(&engine->hub);
}

static void arm_deadline(struct engine *engine)
{
    int64_t deadline_ns = sequencer_next_deadline_ns(engine->hub.sequencer);
    if (deadline_ns == engine->armed_ns) {
        return;
    }
    engine->armed_ns = deadline_ns;
    if (deadline_ns == INT64_MAX) {
        (void)uv_timer_stop(&engine->deadline_timer);
        return;
    }
    int64_t now_ns = sequencer_now_ns(engine->hub.sequencer);
    int64_t wait_ms = deadline_ns <= now_ns ? 0 : (deadline_ns - now_ns) / NS_PER_MS + 1;
    wait_ms = wait_ms > DEADLINE_MS_MAX ? DEADLINE_MS_MAX : wait_ms;
    (void)uv_timer_start(&engine->deadline_timer, on_deadline, (uint64_t)wait_ms, 0);
}

static void on_flush(struct loop_flush *flush)
{
    struct engine *engine = (struct engine *)((char *)flush - offsetof(struct engine, flush));
    if (engine->hub.sequencer != NULL) {
        sequencer_flush(engine->hub.sequencer);
        arm_deadline(engine);
    }
}

void hub_schedule_flush(struct hub *hub)
{
    loop_flush_soon(&hub->loop, &engine_of(hub)->flush);
}

bool hub_takes_work(const struct hub *hub)
{
    return history_backlog_size(hub->history) <= LIMIT_HISTORY_BACKLOG_SIZE;
}

/* --- ending --- */

/* Begins to end; the loop returns when the last connection is closed. */
static void engine_stop(struct engine *engine, enum status status)
{
    struct hub *hub = &engine->hub;
    if (hub->is_stopping) {
        return;
    }
    hub->is_stopping = true;
    hub->exit_status = status;
    if (hub->server != NULL) {
        log_info("hub.stop", "status=%s", status_slug(status));
        routes_stop(hub);
        http_server_close(hub->server, status == STATUS_OK ? STOP_GRACE_MS : 0);
        hub_schedule_flush(hub);
    }
    if (hub->loop.read_buffer != NULL) {
        loop_stop(&hub->loop);
    }
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct engine *engine = handle->data;
    if (engine->hub.is_stopping) {
        _exit(status_exit(STATUS_INTERRUPTED));
    }
    log_info("hub.signal", "signal=%d", number);
    engine_stop(engine, STATUS_OK);
}

/* --- history --- */

static void on_history_timer(uv_timer_t *timer)
{
    struct engine *engine = timer->data;
    struct hub *hub = &engine->hub;
    if (hub->is_stopping || !history_position_is_news(&engine->position)) {
        return;
    }
    if (history_position_tell(&engine->position, hub->sequencer)) {
        hub_schedule_flush(hub);
    } else {
        (void)uv_timer_start(timer, on_history_timer, HISTORY_DONE_NS / NS_PER_MS, 0);
    }
}

static void on_history_done(void *ctx, uint64_t seq)
{
    struct engine *engine = engine_of(ctx);
    engine->position.durable_seq = seq;
    if (!uv_is_active((uv_handle_t *)&engine->history_timer)) {
        (void)uv_timer_start(&engine->history_timer, on_history_timer, HISTORY_DONE_NS / NS_PER_MS, 0);
    }
}

static void on_history_failed(void *ctx, enum status status, const char *why)
{
    struct engine *engine = engine_of(ctx);
    if (status != STATUS_NO_SPACE && status != STATUS_NO_MEMORY && status != STATUS_LOCKED) {
        (void)sentence(engine, status, "the history file in %s cannot be written: %s", engine->hub.config.data_dir,
                       why);
        engine_stop(engine, status);
        return;
    }
    int64_t now_ns = clock_mono_ns();
    if (engine->history_warned_ns == 0 || now_ns - engine->history_warned_ns > SNAPSHOT_RETRY_NS) {
        engine->history_warned_ns = now_ns;
        log_warn("history.waits", "status=%s why=\"%s\" rows=%llu", status_slug(status), why,
                 (unsigned long long)history_backlog(engine->hub.history));
    }
}

static void on_history_wake(void *ctx)
{
    (void)uv_async_send(&engine_of(ctx)->history_async);
}

static void on_history_async(uv_async_t *async)
{
    struct engine *engine = async->data;
    if (engine->hub.history != NULL) {
        history_poll(engine->hub.history);
    }
}

/* --- what nobody needs --- */

static void on_collector_timer(uv_timer_t *timer)
{
    struct engine *engine = timer->data;
    struct hub *hub = &engine->hub;
    if (hub->is_ready && !hub->is_stopping && collector_tick(&engine->collector, sequencer_now_ns(hub->sequencer))) {
        hub_schedule_flush(hub);
    }
}

/* --- sinks of the sequencer --- */

static void on_finished(void *ctx, const struct effect_finished *finished, uint64_t seq)
{
    struct engine *engine = engine_of(ctx);
    history_add(engine->hub.history, finished, seq);
    engine->position.rows_seq = seq;
    /* A replay can be faster than SQLite, and nobody waits for answers yet. */
    while (engine->is_recovering && history_backlog_size(engine->hub.history) > LIMIT_HISTORY_BACKLOG_SIZE) {
        (void)nanosleep(&(struct timespec){.tv_nsec = 5 * NS_PER_MS}, NULL);
    }
}

static void snapshot_when_due(struct engine *engine)
{
    struct hub *hub = &engine->hub;
    uint64_t applied = sequencer_applied_size(hub->sequencer);
    if (applied - engine->snapshot_applied_size < hub->config.snapshot_every_size || hub->is_stopping ||
        snapshotter_is_running(engine->snapshotter) || clock_mono_ns() < engine->snapshot_retry_ns) {
        return;
    }
    enum status status = snapshotter_begin(engine->snapshotter);
    if (status == STATUS_OK) {
        engine->snapshot_applied_size = applied;
    } else if (status != STATUS_AGAIN) {
        engine->snapshot_retry_ns = clock_mono_ns() + SNAPSHOT_RETRY_NS;
        log_warn("snapshot.failed", "status=%s", status_slug(status));
    }
}

static void print_ready(struct engine *engine)
{
    struct hub *hub = &engine->hub;
    bool is_v6 = strchr(hub->config.host, ':') != NULL;
    printf("shoal hub listening on http://%s%s%s:%u\n", is_v6 ? "[" : "", hub->config.host, is_v6 ? "]" : "",
           http_server_port(hub->server));
    (void)fflush(stdout);
}

static void on_released(void *ctx, uint64_t seq)
{
    struct engine *engine = engine_of(ctx);
    struct hub *hub = &engine->hub;
    history_advance(hub->history, seq);
    snapshotter_on_durable(engine->snapshotter, seq);
    if (hub->sessions != NULL) {
        sessions_on_released(hub, seq);
    }
    snapshot_when_due(engine);
    if (!hub->is_ready && hub->server != NULL && !hub->is_stopping) {
        hub->is_ready = true;
        print_ready(engine);
    }
}

static void on_journal_failure(void *ctx, enum status status, const char *why)
{
    struct engine *engine = engine_of(ctx);
    (void)sentence(engine, status, "the journal in %s can go on no further: %s", engine->hub.config.data_dir, why);
    engine->recovery_status = status;
    if (!engine->is_recovering) {
        engine_stop(engine, status);
    }
}

static int64_t on_wall_ns(void *ctx)
{
    return hub_clock_now(&engine_of(ctx)->clock, clock_wall_ns(), clock_boot_ns());
}

/* --- callbacks of the journal: the sequencer's, with progress before and the timer behind --- */

static void on_entry(void *ctx, const struct journal_entry *entry)
{
    struct engine *engine = ctx;
    engine->sequencer_callbacks.on_entry(engine->sequencer_callbacks.ctx, entry);
    if (!engine->is_recovering) {
        return;
    }
    /* Asking the clock for every entry would cost more than some entries do. */
    if (++engine->progress_entries % 1024 == 0 && clock_mono_ns() - engine->progress_ns > PROGRESS_NS) {
        engine->progress_ns = clock_mono_ns();
        log_info("hub.replay", "entries=%llu seq=%llu", (unsigned long long)engine->progress_entries,
                 (unsigned long long)entry->seq);
    }
}

static void on_durable(void *ctx, uint64_t seq)
{
    struct engine *engine = ctx;
    engine->sequencer_callbacks.on_durable(engine->sequencer_callbacks.ctx, seq);
    arm_deadline(engine);
}

static bool has_stopped(void *ctx)
{
    const struct engine *engine = ctx;
    return engine->sequencer_callbacks.has_stopped(engine->sequencer_callbacks.ctx);
}

static void on_journal_failed(void *ctx, enum status status, const char *why)
{
    struct engine *engine = ctx;
    engine->sequencer_callbacks.on_failed(engine->sequencer_callbacks.ctx, status, why);
}

static void on_snapshot_done(void *ctx, enum status status, uint64_t seq)
{
    struct engine *engine = ctx;
    struct hub *hub = &engine->hub;
    if (status != STATUS_OK) {
        engine->snapshot_retry_ns = clock_mono_ns() + SNAPSHOT_RETRY_NS;
        engine->snapshot_applied_size = 0; /* due again, once the time for another try has come */
        log_warn("snapshot.failed", "seq=%llu status=%s", (unsigned long long)seq, status_slug(status));
        return;
    }
    hub->snapshot_seq = seq;
    hub->snapshots_made++;
    status = file_journal_trim(hub->journal, engine->position.durable_seq);
    log_info("snapshot.done", "seq=%llu history=%llu trim=%s", (unsigned long long)seq,
             (unsigned long long)engine->position.durable_seq, status_slug(status));
}

/* --- opening --- */

static void raise_file_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static enum status open_data_dir(struct engine *engine)
{
    const char *dir = engine->hub.config.data_dir;
    enum status status = disk_posix_open(dir, &engine->disk);
    if (status != STATUS_OK) {
        return sentence(engine, status, "the data directory %s cannot be opened: %s", dir, strerror(errno));
    }
    /* A hub that was just killed holds the lock until the kernel has taken its memory apart. */
    int64_t until_ns = clock_mono_ns() + LOCK_WAIT_NS;
    while ((status = disk_posix_lock(engine->disk)) == STATUS_LOCKED && clock_mono_ns() < until_ns) {
        (void)nanosleep(&(struct timespec){.tv_nsec = 20 * NS_PER_MS}, NULL);
    }
    if (status == STATUS_LOCKED) {
        return sentence(engine, status, "the data directory %s is in use by another shoal hub", dir);
    }
    if (status != STATUS_OK) {
        return sentence(engine, status, "the data directory %s cannot be locked: %s", dir, strerror(errno));
    }
    return STATUS_OK;
}

static enum status open_handles(struct engine *engine)
{
    struct hub *hub = &engine->hub;
    uv_loop_t *uv = &hub->loop.uv;
    int error = uv_async_init(uv, &engine->history_async, on_history_async);
    if (error != 0) {
        return sentence(engine, status_of_uv(error), "the hub cannot make its event loop: %s", uv_strerror(error));
    }
    (void)uv_timer_init(uv, &engine->deadline_timer);
    (void)uv_timer_init(uv, &engine->history_timer);
    (void)uv_timer_init(uv, &engine->collector_timer);
    (void)uv_signal_init(uv, &engine->sigint);
    (void)uv_signal_init(uv, &engine->sigterm);
    uv_handle_t *handles[] = {(uv_handle_t *)&engine->history_async, (uv_handle_t *)&engine->deadline_timer,
                              (uv_handle_t *)&engine->history_timer, (uv_handle_t *)&engine->collector_timer,
                              (uv_handle_t *)&engine->sigint,        (uv_handle_t *)&engine->sigterm};
    for (size_t i = 0; i < ARRAY_COUNT(handles); i++) {
        handles[i]->data = engine;
        uv_unref(handles[i]); /* the server keeps the loop alive; these only serve it */
    }
    engine->has_handles = true;
    engine->flush.flush = on_flush;
    engine->armed_ns = INT64_MAX;
    (void)uv_signal_start(&engine->sigint, on_signal, SIGINT);
    (void)uv_signal_start(&engine->sigterm, on_signal, SIGTERM);
    return STATUS_OK;
}

static enum status open_history(struct engine *engine)
{
    struct hub *hub = &engine->hub;
    char path[sizeof(hub->config.data_dir) + 16];
    (void)snprintf(path, sizeof(path), "%s/history.db", hub->config.data_dir);
    struct history_hooks hooks = {
        .wake_owner = on_history_wake, .on_done = on_history_done, .on_failed = on_history_failed, .ctx = hub};
    enum status status = history_open(path, &hooks, &hub->history, &engine->position.durable_seq, &engine->why);
    if (status != STATUS_OK) {
        return sentence(engine, status, "the history file %s cannot be opened", path);
    }
    history_keep(hub->history, &hub->config.history_keep);
    return STATUS_OK;
}

static enum status make_sequencer(struct engine *engine)
{
    struct hub *hub = &engine->hub;
    uint64_t origin = 0;
    random_bytes(&origin, sizeof(origin));
    struct sequencer_sinks sinks = {.on_lease = sessions_on_lease,
                                    .on_stop = sessions_on_stop,
                                    .on_session = sessions_on_session,
                                    .on_task = task_waits_on_task,
                                    .on_finished = on_finished,
                                    .on_released = on_released,
                                    .on_failed = on_journal_failure,
                                    .wall_ns = on_wall_ns,
                                    .ctx = hub};
    hub->sequencer = sequencer_new(origin, &sinks);
    if (hub->sequencer == NULL) {
        return sentence(engine, STATUS_NO_MEMORY, "there is no memory for the hub's state");
    }
    history_position_begin(&engine->position, engine->position.durable_seq, hub->sequencer);
    engine->sequencer_callbacks = sequencer_journal_callbacks(hub->sequencer);
    return STATUS_OK;
}

static enum status on_snapshot(void *ctx, uint64_t seq, struct slice state)
{
    struct engine *engine = ctx;
    log_info("hub.snapshot", "seq=%llu size=%zu", (unsigned long long)seq, state.len);
    enum status status = sequencer_load_snapshot(engine->hub.sequencer, seq, state);
    if (status != STATUS_OK) {
        log_warn("hub.snapshot_refused", "seq=%llu status=%s why=\"%s\"", (unsigned long long)seq, status_slug(status),
                 sequencer_snapshot_why(engine->hub.sequencer));
    }
    return status;
}

static enum status recover(struct engine *engine)
{
    struct hub *hub = &engine->hub;
    enum status status = journal_thread_new(&hub->loop, &engine->journal_thread);
    if (status != STATUS_OK) {
        return sentence(engine, status, "the journal's threads cannot be made");
    }
    struct file_journal_config config = {.disk = engine->disk,
                                         .segment_size = hub->config.segment_size,
                                         .unsynced_size_max = LIMIT_UNSYNCED_SIZE,
                                         .durability = hub->config.durability,
                                         .sync_interval_ms = hub->config.sync_interval_ms};
    random_bytes(&config.salt, sizeof(config.salt));
    struct file_journal_hooks hooks = journal_thread_hooks(engine->journal_thread);
    struct journal_callbacks callbacks = {.on_entry = on_entry,
                                          .on_durable = on_durable,
                                          .on_failed = on_journal_failed,
                                          .has_stopped = has_stopped,
                                          .ctx = engine};
    int64_t begun_ns = clock_mono_ns();
    engine->progress_ns = begun_ns;
    engine->is_recovering = true;
    status = file_journal_open(&config, &hooks, &callbacks, on_snapshot, &hub->recovery, &hub->journal);
    engine->is_recovering = false;
    if (engine->recovery_status != STATUS_OK) {
        return engine->recovery_status; /* an entry was not taken, and the sentence is there */
    }
    if (status == STATUS_TOO_NEW) {
        const char *why = sequencer_snapshot_why(hub->sequencer);
        return sentence(engine, status, "the data in %s needs a newer Shoal: %s%s%s%s", hub->config.data_dir,
                        hub->recovery.detail, why[0] != '\0' ? " (" : "", why, why[0] != '\0' ? ")" : "");
    }
    if (status == STATUS_CORRUPT) {
        return sentence(engine, status, "the journal in %s is damaged (%s): see `shoal verify` and `shoal repair`",
                        hub->config.data_dir, hub->recovery.detail);
    }
    if (status != STATUS_OK) {
        return sentence(engine, status, "the journal in %s cannot be opened: %s%s%s", hub->config.data_dir,
                        status_title(status), hub->recovery.detail[0] != '\0' ? " " : "", hub->recovery.detail);
    }
    const struct file_journal_recovery *found = &hub->recovery;
    log_info("hub.recovered", "snapshot=%llu entries=%llu seq=%llu ms=%lld", (unsigned long long)found->snapshot_seq,
             (unsigned long long)found->entries, (unsigned long long)found->last_seq,
             (long long)((clock_mono_ns() - begun_ns) / NS_PER_MS));
    if (found->truncated_size > 0 || found->detail[0] != '\0') {
        log_warn("journal.recovered", "cut_bytes=%llu detail=\"%s\"", (unsigned long long)found->truncated_size,
                 found->detail);
    }
    hub->snapshot_seq = found->snapshot_seq;
    return STATUS_OK;
}

/* What history and journal say of each other. */
static enum status reconcile_history(struct engine *engine)
{
    struct hub *hub = &engine->hub;
    struct core *core = sequencer_core(hub->sequencer);
    struct core_stats stats;
    core_stats(core, &stats);
    struct history_position *position = &engine->position;
    if (position->durable_seq > core_seq(core)) {
        log_warn("history.ahead",
                 "history=%llu journal=%llu meaning=\"the journal lost its end; history may show tasks "
                 "that it no longer knows\"",
                 (unsigned long long)position->durable_seq, (unsigned long long)core_seq(core));
        enum status status = history_rewind(hub->history, core_seq(core));
        if (status != STATUS_OK) {
            return sentence(engine, status, "the history file in %s cannot be written", hub->config.data_dir);
        }
        position->durable_seq = core_seq(core);
    } else if (stats.history_seq > position->durable_seq) {
        log_warn("history.behind",
                 "history=%llu told=%llu meaning=\"history.db is older than the journal; finished tasks "
                 "that had left memory may be missing\"",
                 (unsigned long long)position->durable_seq, (unsigned long long)stats.history_seq);
    }
    if (history_position_recovered(position, core)) {
        on_history_done(hub, position->durable_seq);
    }
    history_advance(hub->history, core_seq(core));
    return STATUS_OK;
}

static enum status open_blobs(struct engine *engine)
{
    struct hub *hub = &engine->hub;
    char path[sizeof(hub->config.data_dir) + 16];
    (void)snprintf(path, sizeof(path), "%s/blobs", hub->config.data_dir);
    enum status status = blob_store_open(&hub->loop, path, hub->config.blob_size_max, &hub->blobs);
    return status == STATUS_OK
               ? status
               : sentence(engine, status, "the blobs' directory %s cannot be used: %s", path, status_title(status));
}

static enum status start_server(struct engine *engine)
{
    struct hub *hub = &engine->hub;
    const struct hub_config *config = &hub->config;
    struct http_config http;
    http_config_default(&http);
    http.host = config->host;
    http.port = config->port;
    http.memory_budget = config->memory_budget;
    http.connections_max = config->connections_max;
    http.header_ms = config->header_ms;
    http.body_idle_ms = config->body_idle_ms;
    http.idle_ms = config->idle_ms;
    struct http_callbacks callbacks = routes_callbacks(hub);
    enum status status = http_server_start(&hub->loop, &http, &callbacks, &hub->server);
    if (status == STATUS_ADDRESS_IN_USE) {
        return sentence(engine, status, "the address %s port %u is in use by another process", config->host,
                        config->port);
    }
    return status == STATUS_OK ? status
                               : sentence(engine, status, "the hub cannot listen on %s port %u: %s", config->host,
                                          config->port, status_title(status));
}

/* The first commands of this process: limits from the configuration, and the kinds that come with Shoal. */
static enum status propose_first(struct engine *engine)
{
    struct hub *hub = &engine->hub;
    struct buf *batch = sequencer_begin(hub->sequencer);
    if (batch == NULL) {
        return sentence(engine, STATUS_NO_MEMORY, "there is no memory for the first entry");
    }
    uint8_t secret[COMMAND_SECRET_SIZE];
    bool has_secret = core_secret(sequencer_core(hub->sequencer)).len > 0;
    random_bytes(secret, sizeof(secret));
    command_put_configure(
        batch, &(struct command_configure){.secret = slice_of((const char *)secret, has_secret ? 0 : sizeof(secret)),
                                           .tasks_max = hub->config.tasks_max,
                                           .payload_size_max = hub->config.payload_size_max,
                                           .finished_keep_ms = hub->config.finished_keep_ms,
                                           .deaths_max = hub->config.deaths_max});
    sequencer_commit(hub->sequencer, NULL);
    static const struct slice kinds[] = {{"code.run", 8}};
    for (size_t i = 0; i < ARRAY_COUNT(kinds); i++) {
        batch = core_kind_is_known(sequencer_core(hub->sequencer), kinds[i]) ? NULL : sequencer_begin(hub->sequencer);
        if (batch != NULL) {
            command_put_kind_set(batch, &(struct command_kind_set){.name = kinds[i]});
            sequencer_commit(hub->sequencer, NULL);
        }
    }
    hub_schedule_flush(hub);
    collector_init(&engine->collector, hub->sequencer);
    (void)uv_timer_start(&engine->collector_timer, on_collector_timer, 500, COLLECTOR_TICK_MS);
    return STATUS_OK;
}

static enum status open_parts(struct engine *engine)
{
    struct hub *hub = &engine->hub;
    hub->json = json_parser_new();
    if (hub->json == NULL) {
        return sentence(engine, STATUS_NO_MEMORY, "there is no memory for the JSON parser");
    }
    enum status status = open_blobs(engine);
    if (status == STATUS_OK) {
        status = blob_sweep_new(hub, &hub->blob_sweep);
    }
    if (status == STATUS_OK) {
        status = sessions_new(hub, &hub->sessions);
    }
    if (status == STATUS_OK) {
        status = task_waits_new(hub, &hub->task_waits);
    }
    if (status != STATUS_OK) {
        return sentence(engine, status, "a part of the hub cannot be made: %s", status_title(status));
    }
    return STATUS_OK;
}

static enum status start_journal(struct engine *engine)
{
    struct hub *hub = &engine->hub;
    char lock_path[sizeof(hub->config.data_dir) + 16];
    (void)snprintf(lock_path, sizeof(lock_path), "%s/LOCK", hub->config.data_dir);
    hub_clock_start(&engine->clock, clock_wall_ns(), clock_boot_ns(), core_time_ns(sequencer_core(hub->sequencer)));
    sequencer_start(hub->sequencer, hub->journal);
    enum status status = snapshotter_new(&hub->loop, engine->disk, hub->sequencer, lock_path, hub->snapshot_seq,
                                         on_snapshot_done, engine, &engine->snapshotter);
    if (status == STATUS_OK) {
        status = journal_thread_start(engine->journal_thread, hub->journal);
    }
    return status == STATUS_OK ? status : sentence(engine, status, "the journal's threads cannot be started");
}

static enum status engine_open(struct engine *engine)
{
    static enum status (*const steps[])(struct engine *engine) = {
        open_data_dir,     open_handles,  open_history, make_sequencer, recover,
        reconcile_history, start_journal, open_parts,   start_server,   propose_first,
    };
    enum status status = loop_init(&engine->hub.loop);
    if (status != STATUS_OK) {
        return sentence(engine, status, "the hub cannot make its event loop");
    }
    for (size_t i = 0; i < ARRAY_COUNT(steps) && status == STATUS_OK; i++) {
        status = steps[i](engine);
    }
    return status;
}

/* --- closing --- */

/* Everything that was proposed becomes durable and is answered. */
static void drain(struct engine *engine)
{
    struct hub *hub = &engine->hub;
    sequencer_stop(hub->sequencer);
    sequencer_flush(hub->sequencer);
    loop_flush_cancel(&engine->flush);
    journal_thread_stop(engine->journal_thread);
    hub->journal->driver->poll(hub->journal);
}

/* The loop no longer runs, so libuv no longer hears of signals: from here on one ends the process at once. */
static void on_last_signal(int number)
{
    (void)number;
    _exit(130); /* status_exit(STATUS_INTERRUPTED), which a handler may not call */
}

static void last_snapshot(struct engine *engine)
{
    struct hub *hub = &engine->hub;
    struct core *core = sequencer_core(hub->sequencer);
    if (hub->exit_status != STATUS_OK || !hub->is_ready || sequencer_durable_seq(hub->sequencer) < core_seq(core)) {
        return;
    }
    enum status status = snapshotter_run(engine->snapshotter);
    if (status == STATUS_OK) {
        log_info("snapshot.done", "seq=%llu", (unsigned long long)core_seq(core));
    } else {
        log_warn("snapshot.failed", "seq=%llu status=%s", (unsigned long long)core_seq(core), status_slug(status));
    }
}

static void close_handle(uv_handle_t *handle)
{
    if (!uv_is_closing(handle)) {
        uv_close(handle, NULL);
    }
}

static void engine_close(struct engine *engine)
{
    struct hub *hub = &engine->hub;
    hub->is_stopping = true;
    struct sigaction last = {.sa_handler = on_last_signal};
    (void)sigaction(SIGINT, &last, NULL);
    (void)sigaction(SIGTERM, &last, NULL);
    if (hub->journal != NULL && engine->snapshotter != NULL) {
        drain(engine);
        last_snapshot(engine);
    }
    /* Answers NOT_READY to whoever still waits; what they do then finds a sequencer that takes nothing. */
    sequencer_free(hub->sequencer);
    hub->sequencer = NULL;
    if (hub->server != NULL || hub->routes != NULL) {
        routes_free(hub);
    }
    task_waits_free(TAKE(hub->task_waits));
    sessions_free(TAKE(hub->sessions));
    snapshotter_free(TAKE(engine->snapshotter));
    if (hub->journal != NULL) {
        struct journal *journal = TAKE(hub->journal);
        journal_thread_stop(engine->journal_thread);
        journal->driver->close(journal);
    }
    journal_thread_free(TAKE(engine->journal_thread));
    blob_sweep_free(TAKE(hub->blob_sweep));
    history_close(TAKE(hub->history));
    blob_store_close(TAKE(hub->blobs));
    json_parser_free(TAKE(hub->json));
    buf_free(&hub->scratch);
    if (engine->has_handles) {
        close_handle((uv_handle_t *)&engine->history_async);
        close_handle((uv_handle_t *)&engine->deadline_timer);
        close_handle((uv_handle_t *)&engine->history_timer);
        close_handle((uv_handle_t *)&engine->collector_timer);
        close_handle((uv_handle_t *)&engine->sigint);
        close_handle((uv_handle_t *)&engine->sigterm);
    }
    loop_free(&hub->loop);
    disk_posix_close(TAKE(engine->disk));
}

/* Whoever reaches the address may do everything unless a key is asked for: that must be said, not happen. */
static enum status check_exposure(struct engine *engine)
{
    const struct hub_config *config = &engine->hub.config;
    if (config->api_key[0] != '\0' || config->has_no_auth || guard_is_loopback(config->host)) {
        return STATUS_OK;
    }
    return sentence(
        engine, STATUS_CONFIG,
        "others can reach the hub on %s, so it needs a key that they must show: --api-key-file FILE (a line of "
        "chance, such as from: openssl rand -hex 24), or --no-auth to let everybody do everything",
        config->host);
}

enum status hub_main(const struct hub_config *config)
{
    struct engine *engine = calloc(1, sizeof(*engine));
    if (engine == NULL) {
        (void)fputs("shoal: there is no memory to start the hub\n", stderr);
        return STATUS_NO_MEMORY;
    }
    struct hub *hub = &engine->hub;
    hub->config = *config;
    hub->started_ns = clock_mono_ns();
    buf_init(&hub->scratch, SCRATCH_SIZE_MAX);
    buf_init(&engine->why, 2048);
    raise_file_limit();
    if (config->durability != DURABILITY_BATCH) {
        log_warn("hub.unsafe", "durability=%s meaning=\"a crash of the machine can lose acknowledged work\"",
                 durability_name(config->durability));
    }
    enum status status = check_exposure(engine);
    if (status == STATUS_OK) {
        status = engine_open(engine);
    }
    if (status == STATUS_OK) {
        sessions_start(hub->sessions);
        log_info("hub.start", "data=\"%s\" port=%u durability=%s seq=%llu", config->data_dir,
                 http_server_port(hub->server), durability_name(config->durability),
                 (unsigned long long)core_seq(sequencer_core(hub->sequencer)));
        loop_run(&hub->loop);
        status = hub->exit_status;
    } else {
        /* What was opened closes itself on the loop, a server that found its address in use as well. */
        engine_stop(engine, status);
        if (hub->loop.read_buffer != NULL) {
            loop_run(&hub->loop);
        }
    }
    engine_close(engine);
    if (status != STATUS_OK) {
        (void)fprintf(stderr, "shoal: %s\n", engine->why.len > 0 ? buf_cstr(&engine->why) : status_title(status));
    }
    buf_free(&engine->why);
    free(engine);
    return status;
}
