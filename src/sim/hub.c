/* hub.c - the hub's process: what hub_main.c wires with a loop, threads and SQLite, wired with events.
 *
 *   start: recovery ─▶ first commands ─▶ ready ─▶ turns ─▶ crash, or stop in order ─▶ what the disk kept ─▶ start
 *
 * The journal's writer runs in an event of its own, some time after it was woken, so that entries gather while the
 * "disk" is busy, as they do while a real fdatasync runs. History is a list of rows that becomes durable some time after
 * their entries; a crash takes the rest. A snapshot is begun at one moment (the fork) and gets its name when its entry is
 * durable. */
#include <stdio.h>
#include <stdlib.h>

#include "base/ensure.h"
#include "base/limits.h"
#include "hub/snapshotter.h"
#include "hub/task_waits.h"
#include "sim/world.h"

#define SEGMENT_SIZE LIMIT_SEGMENT_SIZE_MIN
#define UNSYNCED_SIZE_MAX (1u << 20)
#define FINISHED_KEEP_MS 3000
#define TASKS_MAX 2000
#define HISTORY_TELL_MS 250
#define DEADLINE_MS_MAX 10000 /* as in hub_main.c */
#define RESTART_MS 40
#define DRAIN_MAX 200

static struct sim_hub *hub_of(void *ctx)
{
    return ctx;
}

/* --- turns --- */

static void arm_deadline(struct world *world);

static void on_flush(struct world *world, const struct event *event)
{
    struct sim_hub *hub = &world->hub;
    if (hub->is_up && hub->life == event->a) {
        hub->has_flush = false;
        sequencer_flush(hub->hub.sequencer);
        arm_deadline(world);
    }
}

void hub_flush_soon(struct world *world)
{
    struct sim_hub *hub = &world->hub;
    if (!hub->has_flush) {
        hub->has_flush = true;
        world_after(world, (int64_t)world_below(world, STREAM_HUB, 30) * SIM_US, on_flush, hub->life, 0, NULL);
    }
}

static void on_deadline(struct world *world, const struct event *event)
{
    struct sim_hub *hub = &world->hub;
    if (hub->is_up && hub->life == event->a && hub->arm_number == event->b) {
        hub->armed_ns = INT64_MAX;
        hub_flush_soon(world);
    }
}

static void arm_deadline(struct world *world)
{
    struct sim_hub *hub = &world->hub;
    int64_t deadline_ns = sequencer_next_deadline_ns(hub->hub.sequencer);
    if (deadline_ns == hub->armed_ns) {
        return;
    }
    hub->armed_ns = deadline_ns;
    hub->arm_number++;
    if (deadline_ns == INT64_MAX) {
        return;
    }
    int64_t now_ns = hub_wall_ns(world);
    int64_t wait_ms = deadline_ns <= now_ns ? 0 : (deadline_ns - now_ns) / SIM_MS + 1;
    wait_ms = wait_ms > DEADLINE_MS_MAX ? DEADLINE_MS_MAX : wait_ms;
    world_after(world, wait_ms * SIM_MS, on_deadline, hub->life, hub->arm_number, NULL);
}

/* --- the journal's threads --- */

static void on_poll(struct world *world, const struct event *event)
{
    struct sim_hub *hub = &world->hub;
    if (hub->is_up && hub->life == event->a) {
        hub->has_poll = false;
        hub->hub.journal->driver->poll(hub->hub.journal);
    }
}

static void wake_owner(void *ctx)
{
    struct world *world = ctx;
    struct sim_hub *hub = &world->hub;
    if (hub->is_up && !hub->has_poll) {
        hub->has_poll = true;
        world_after(world, (int64_t)world_below(world, STREAM_HUB, 20) * SIM_US, on_poll, hub->life, 0, NULL);
    }
}

static void on_prepare(struct world *world, const struct event *event)
{
    struct sim_hub *hub = &world->hub;
    if (!hub->is_up || hub->life != event->a) {
        return;
    }
    hub->has_prepare = false;
    enum status status = file_journal_prepare(hub->hub.journal);
    if (status == STATUS_OK || status == STATUS_NO_SPACE) {
        hub->has_prepare = true;
        world_after(world, status == STATUS_OK ? 100 * SIM_US : SIM_S, on_prepare, hub->life, 0, NULL);
    }
}

static void prepare_soon(struct world *world)
{
    struct sim_hub *hub = &world->hub;
    if (!hub->has_prepare) {
        hub->has_prepare = true;
        world_after(world, 200 * SIM_US, on_prepare, hub->life, 0, NULL);
    }
}

static void on_write(struct world *world, const struct event *event)
{
    struct sim_hub *hub = &world->hub;
    if (!hub->is_up || hub->life != event->a) {
        return;
    }
    if (hub->slow_until_ns > world->now_ns) {
        world_after(world, hub->slow_until_ns - world->now_ns, on_write, event->a, 0, NULL);
        return;
    }
    hub->has_write = false;
    while (file_journal_write(hub->hub.journal)) {
    }
    prepare_soon(world);
}

static void wake_writer(void *ctx)
{
    struct world *world = ctx;
    struct sim_hub *hub = &world->hub;
    if (hub->is_up && !hub->has_write) {
        hub->has_write = true;
        int64_t sync_ns = (int64_t)(50 + world_below(world, STREAM_DISK, 1500)) * SIM_US;
        world_after(world, sync_ns, on_write, hub->life, 0, NULL);
    }
}

static int64_t mono_ns(void *ctx)
{
    return ((struct world *)ctx)->now_ns;
}

/* --- the time of those who wait --- */

static void on_waits(struct world *world, const struct event *event)
{
    struct sim_hub *hub = &world->hub;
    if (hub->is_up && hub->waits_number == event->a) {
        task_waits_tick(hub->hub.task_waits);
    }
}

static void waits_set_timer(void *ctx, int64_t after_ns)
{
    struct world *world = ctx;
    world->hub.waits_number++;
    if (after_ns != TASK_WAITS_NO_TIMER) { /* in milliseconds, as a loop has it */
        world_after(world, (after_ns + SIM_MS - 1) / SIM_MS * SIM_MS, on_waits, world->hub.waits_number, 0, NULL);
    }
}

static void waits_end(void *ctx)
{
    ((struct world *)ctx)->hub.waits_number++;
}

/* --- history --- */

static void on_history_tell(struct world *world, const struct event *event)
{
    struct sim_hub *hub = &world->hub;
    if (!hub->is_up || hub->life != event->a) {
        return;
    }
    hub->has_history_timer = false;
    if (!history_position_is_news(&hub->position)) {
        return;
    }
    if (history_position_tell(&hub->position, hub->hub.sequencer)) {
        hub_flush_soon(world);
    } else {
        hub->has_history_timer = true;
        world_after(world, HISTORY_TELL_MS * SIM_MS, on_history_tell, hub->life, 0, NULL);
    }
}

static void history_done(struct world *world)
{
    struct sim_hub *hub = &world->hub;
    if (!hub->has_history_timer) {
        hub->has_history_timer = true;
        world_after(world, HISTORY_TELL_MS * SIM_MS, on_history_tell, hub->life, 0, NULL);
    }
}

/* Rows up to what is durable in the journal become durable too. */
static void history_commit(struct world *world)
{
    struct sim_hub *hub = &world->hub;
    size_t left = 0;
    for (size_t i = 0; i < hub->row_count; i++) {
        if (hub->rows[i].seq <= hub->released_seq) {
            check_row(world, &hub->rows[i], true);
        } else {
            hub->rows[left++] = hub->rows[i];
        }
    }
    trace(world, TRACE_HISTORY, hub->released_seq, hub->row_count - left, left);
    hub->row_count = left;
    hub->position.durable_seq = hub->released_seq;
}

static void on_history_commit(struct world *world, const struct event *event)
{
    struct sim_hub *hub = &world->hub;
    if (!hub->is_up || hub->life != event->a) {
        return;
    }
    hub->has_commit = false;
    history_commit(world);
    history_done(world);
}

static void commit_soon(struct world *world)
{
    struct sim_hub *hub = &world->hub;
    if (!hub->has_commit && hub->row_count > 0) {
        hub->has_commit = true;
        world_after(world, (int64_t)(2 + world_below(world, STREAM_DISK, 40)) * SIM_MS, on_history_commit, hub->life, 0,
                    NULL);
    }
}

/* --- snapshots --- */

static void drop_snapshot(struct sim_hub *hub)
{
    enum status status = snapshot_end(TAKE(hub->snapshot), false);
    ensure(status != STATUS_OK);
}

static void finish_snapshot(struct world *world)
{
    struct sim_hub *hub = &world->hub;
    enum status status = snapshot_end(TAKE(hub->snapshot), true);
    trace(world, TRACE_SNAPSHOT, hub->snapshot_seq, status == STATUS_OK ? 2 : 3, hub->position.durable_seq);
    if (status == STATUS_OK) {
        world->report->snapshots++;
        hub->snapshot_done_seq = hub->snapshot_seq;
        status = file_journal_trim(hub->hub.journal, hub->position.durable_seq);
        (void)status; /* the next one tries again, as the hub does */
    }
}

void hub_snapshot(struct world *world)
{
    struct sim_hub *hub = &world->hub;
    if (!hub->is_up || hub->snapshot != NULL) {
        return;
    }
    const struct core *core = sequencer_core(hub->hub.sequencer);
    uint64_t seq = core_seq(core);
    if (seq == 0 || seq == hub->snapshot_done_seq) {
        return;
    }
    uint8_t hash[SHA256_SIZE];
    core_hash(core, hash);
    if (snapshot_begin(hub->disk, seq, core_time_ns(core), hash, &hub->snapshot) != STATUS_OK) {
        return;
    }
    hub->snapshot_seq = seq;
    trace(world, TRACE_SNAPSHOT, seq, 1, hub->position.durable_seq);
    if (core_save(core, snapshot_write, hub->snapshot) != STATUS_OK) {
        drop_snapshot(hub);
    } else if (sequencer_durable_seq(hub->hub.sequencer) >= seq) {
        finish_snapshot(world);
    }
}

/* --- sinks of the sequencer --- */

static void on_lease(void *ctx, const struct effect_lease *lease, uint64_t seq)
{
    struct world *world = hub_of(ctx)->world;
    trace(world, TRACE_LEASE, lease->offer.token.task_id, lease->offer.token.attempt, lease->offer.token.seq);
    check_lease(world, lease, seq);
    workers_on_promise(world, lease);
    sessions_on_lease(ctx, lease, seq);
}

static void on_stop(void *ctx, const struct effect_stop *stop)
{
    sessions_on_stop(ctx, stop);
}

static void on_session(void *ctx, const struct effect_session *session)
{
    struct world *world = hub_of(ctx)->world;
    trace(world, TRACE_SESSION, session->session, session->has_ended ? (uint64_t)session->reason : 0, 0);
    sessions_on_session(ctx, session);
}

static void on_task(void *ctx, const struct effect_task *task, uint64_t seq)
{
    task_waits_on_task(ctx, task, seq);
    if (task_state_is_final(task->state)) {
        check_waits_heard(hub_of(ctx)->world, task->task_id);
    }
}

static void on_finished(void *ctx, const struct effect_finished *finished, uint64_t seq)
{
    struct sim_hub *hub = ctx;
    struct world *world = hub->world;
    static struct task_view view; /* large */
    enum status status = task_view_get(finished->row, &view);
    CHECK_THAT(world, status == STATUS_OK, "T4", "the row of task %llx cannot be read",
               (unsigned long long)finished->task_id);
    if (status != STATUS_OK) {
        return;
    }
    if (hub->row_count == hub->row_cap) {
        hub->row_cap = hub->row_cap == 0 ? 256 : hub->row_cap * 2;
        hub->rows = realloc(hub->rows, hub->row_cap * sizeof(*hub->rows));
        ensure(hub->rows != NULL);
    }
    struct history_row *row = &hub->rows[hub->row_count++];
    *row = (struct history_row){.op = check_op_of_text(view.input),
                                .task_id = finished->task_id,
                                .seq = seq,
                                .state = finished->state,
                                .result_hash = hash64(view.result, 0)};
    hub->position.rows_seq = seq;
    check_row(world, row, false);
}

static void on_released(void *ctx, uint64_t seq)
{
    struct sim_hub *hub = ctx;
    struct world *world = hub->world;
    hub->released_seq = seq;
    commit_soon(world);
    if (hub->snapshot != NULL && seq >= hub->snapshot_seq) {
        finish_snapshot(world);
    }
    sessions_on_released(ctx, seq);
    if (!hub->hub.is_ready && !hub->hub.is_stopping) {
        hub->hub.is_ready = true;
        hub->up_since_ns = world->now_ns;
    }
}

static void on_failed(void *ctx, enum status status, const char *why)
{
    struct sim_hub *hub = ctx;
    hub->is_dying = true;
    hub->failed = status;
    snprintf(hub->why, sizeof(hub->why), "%s", why);
}

static int64_t on_wall_ns(void *ctx)
{
    return hub_wall_ns(hub_of(ctx)->world);
}

/* --- callbacks of the journal --- */

static void on_entry(void *ctx, const struct journal_entry *entry)
{
    struct sim_hub *hub = ctx;
    struct world *world = hub->world;
    check_entry(world, entry, hub->is_recovering);
    hub->callbacks.on_entry(hub->callbacks.ctx, entry);
    if (!hub->is_recovering) {
        struct reader reader = reader_of(entry->body);
        struct entry_head head;
        if (entry_head_get(&reader, &head) == STATUS_OK) {
            world->report->commands += head.count;
        }
        world->report->entries++;
    } else {
        world->report->recovered_entries++;
    }
}

static void on_durable(void *ctx, uint64_t seq)
{
    struct sim_hub *hub = ctx;
    struct world *world = hub->world;
    hub->callbacks.on_durable(hub->callbacks.ctx, seq);
    trace(world, TRACE_DURABLE, seq, core_seq(sequencer_core(hub->hub.sequencer)),
          sequencer_held_size(hub->hub.sequencer));
    arm_deadline(world);
}

static bool has_stopped(void *ctx)
{
    struct sim_hub *hub = ctx;
    return hub->callbacks.has_stopped(hub->callbacks.ctx);
}

static void on_journal_failed(void *ctx, enum status status, const char *why)
{
    struct sim_hub *hub = ctx;
    hub->callbacks.on_failed(hub->callbacks.ctx, status, why);
}

static enum status on_snapshot(void *ctx, uint64_t seq, struct slice state)
{
    struct sequencer *sequencer = hub_of(ctx)->hub.sequencer;
    enum status status = sequencer_load_snapshot(sequencer, seq, state);
    /* The log may stand in for it, and a hub would start. But its digest was sound, so we wrote what we cannot read. */
    CHECK_THAT(hub_of(ctx)->world, status == STATUS_OK, "J1", "the sound snapshot %llu does not load: %s %s",
               (unsigned long long)seq, status_slug(status), sequencer_snapshot_why(sequencer));
    return status;
}

/* --- start --- */

static void close_parts(struct world *world)
{
    struct sim_hub *hub = &world->hub;
    sequencer_free(hub->hub.sequencer);
    hub->hub.sequencer = NULL;
    if (hub->hub.sessions != NULL) {
        struct sessions_stats stats;
        workers_drop_calls(world);
        task_waits_stop(hub->hub.task_waits);
        sessions_stats(hub->hub.sessions, &stats);
        CHECK_THAT(world, stats.polls == 0, "rest", "%u polls outlive their hub", stats.polls);
        sessions_free(TAKE(hub->hub.sessions));
    }
    task_waits_free(TAKE(hub->hub.task_waits));
    if (hub->snapshot != NULL) {
        drop_snapshot(hub);
    }
    if (hub->hub.journal != NULL) {
        struct journal *journal = TAKE(hub->hub.journal);
        journal->driver->close(journal);
    }
    json_parser_free(TAKE(hub->hub.json));
    hub->row_count = 0;
}

/* The limits, kinds and queues, as a hub's first commands and an administrator's. */
static void propose_first(struct world *world)
{
    struct sequencer *sequencer = world->hub.hub.sequencer;
    const struct workload *workload = world->workload;
    struct core *core = sequencer_core(sequencer);
    struct buf *batch = sequencer_begin(sequencer);
    ensure(batch != NULL);
    char secret[COMMAND_SECRET_SIZE + 1]; /* another one for each process: the first one must stay */
    snprintf(secret, sizeof(secret), "%032llu", (unsigned long long)++world->number);
    command_put_configure(batch, &(struct command_configure){.secret = slice_str(secret),
                                                             .tasks_max = TASKS_MAX + workload->open_max,
                                                             .finished_keep_ms = FINISHED_KEEP_MS});
    sequencer_commit(sequencer, NULL);
    batch =
        sequencer_begin(sequencer); /* nodes that are away when the hub starts are forgotten, and come as new ones */
    if (batch != NULL) {
        command_put_collect(
            batch, &(struct command_collect){.gone_ms = 1, .kinds_keep = UINT32_MAX, .queues_keep = UINT32_MAX});
        sequencer_commit(sequencer, NULL);
    }
    const struct command_caller by = {.id = CALLER_ANYBODY + 9, .is_operator = true};
    for (uint32_t i = 0; i < workload->kind_count; i++) {
        struct slice name = slice_str(workload->kinds[i].name);
        batch = core_kind_is_known(core, name) ? NULL : sequencer_begin(sequencer);
        if (batch != NULL) {
            command_put_kind_set(batch, &(struct command_kind_set){.name = name, .by = by});
            sequencer_commit(sequencer, NULL);
        }
    }
    for (uint32_t i = 0; i < workload->queue_count; i++) {
        struct queue_view view;
        struct slice name = slice_str(workload->queues[i].name);
        batch = core_queue_find(core, name, &view) ? NULL : sequencer_begin(sequencer);
        if (batch != NULL) {
            command_put_queue_set(batch, &(struct command_queue_set){.name = name, .by = by});
            sequencer_commit(sequencer, NULL);
        }
    }
    hub_flush_soon(world);
}

struct file_journal_config hub_journal_config(const struct world *world, struct disk *disk)
{
    return (struct file_journal_config){.disk = disk,
                                        .segment_size = SEGMENT_SIZE,
                                        .unsynced_size_max = UNSYNCED_SIZE_MAX,
                                        .durability = DURABILITY_BATCH,
                                        .salt = hash_mix(world->options.seed)};
}

/* The disk after the end of a process: what was armed is gone. */
static void settle_disk(struct world *world, enum crash crash)
{
    struct sim_hub *hub = &world->hub;
    static const enum disk_sim_loss losses[] = {[CRASH_POWER_SOME] = DISK_SIM_LOSE_SOME,
                                                [CRASH_POWER_ALL] = DISK_SIM_LOSE_ALL,
                                                [CRASH_POWER_NONE] = DISK_SIM_LOSE_NONE};
    if (crash == CRASH_KILL) {
        disk_sim_restart(hub->disk);
    } else {
        disk_sim_crash(hub->disk, losses[crash]);
    }
    hub->is_power_armed = hub->is_fault_armed = false;
}

static void not_started(struct world *world, enum status status, const struct file_journal_recovery *recovery)
{
    struct sim_hub *hub = &world->hub;
    bool was_hit = disk_sim_has_failed(hub->disk);
    bool is_power = hub->is_power_armed && was_hit;
    bool is_excused = was_hit || (status == STATUS_NO_SPACE && hub->full_until_ns > world->now_ns);
    trace(world, TRACE_HUB_REFUSED, hub->life, (uint64_t)status, recovery->last_seq);
    CHECK_THAT(world, is_excused, "J1", "the hub does not start again: %s (%s)", recovery->detail,
               status_title(status));
    close_parts(world);
    settle_disk(world, is_power ? CRASH_POWER_SOME : CRASH_KILL);
    world->report->crashes++;
    hub_start_soon(world, (int64_t)(1 + world_below(world, STREAM_HUB, 2 * RESTART_MS)) * SIM_MS);
}

static void on_start(struct world *world, const struct event *event)
{
    struct sim_hub *hub = &world->hub;
    if (hub->is_up || hub->life != event->a) {
        return;
    }
    const struct sequencer_sinks sinks = {.on_lease = on_lease,
                                          .on_stop = on_stop,
                                          .on_session = on_session,
                                          .on_task = on_task,
                                          .on_finished = on_finished,
                                          .on_released = on_released,
                                          .on_failed = on_failed,
                                          .wall_ns = on_wall_ns,
                                          .ctx = hub};
    const struct journal_callbacks callbacks = {.on_entry = on_entry,
                                                .on_durable = on_durable,
                                                .on_failed = on_journal_failed,
                                                .has_stopped = has_stopped,
                                                .ctx = hub};
    const struct file_journal_hooks hooks = {
        .wake_writer = wake_writer, .wake_owner = wake_owner, .mono_ns = mono_ns, .ctx = world};
    struct file_journal_config config = hub_journal_config(world, hub->disk);
    struct file_journal_recovery recovery;
    hub->life++;
    hub->hub.is_ready = hub->hub.is_stopping = hub->is_dying = false;
    hub->hub.sequencer = sequencer_new(hash_mix(world->options.seed ^ hub->life), &sinks);
    hub->hub.json = json_parser_new();
    ensure(hub->hub.sequencer != NULL && hub->hub.json != NULL);
    hub->callbacks = sequencer_journal_callbacks(hub->hub.sequencer);
    history_position_begin(&hub->position, hub->position.durable_seq, hub->hub.sequencer);
    hub->is_recovering = true;
    enum status status = file_journal_open(&config, &hooks, &callbacks, on_snapshot, &recovery, &hub->hub.journal);
    hub->is_recovering = false;
    if (status != STATUS_OK || world->report->has_failed) {
        not_started(world, status, &recovery);
        return;
    }
    world->report->recoveries++;
    sequencer_start(hub->hub.sequencer, hub->hub.journal);
    trace(world, TRACE_HUB_START, hub->life, recovery.last_seq, recovery.entries);
    hub->is_up = true;
    hub->armed_ns = INT64_MAX;
    hub->has_flush = hub->has_write = hub->has_poll = hub->has_prepare = hub->has_history_timer = hub->has_commit =
        false;
    hub->snapshot_done_seq = recovery.snapshot_seq;
    hub->released_seq = core_seq(sequencer_core(hub->hub.sequencer));
    check_recovered(world, &recovery);
    check_tail(world, &recovery);

    if (history_position_recovered(&hub->position, sequencer_core(hub->hub.sequencer))) {
        history_done(world);
    }
    commit_soon(world);
    const struct task_waits_port waits = {
        .mono_ns = mono_ns, .set_timer = waits_set_timer, .end = waits_end, .ctx = world};
    status = task_waits_make(&waits, &hub->hub.task_waits);
    ensure(status == STATUS_OK);
    status = sessions_make(&hub->hub, net_port(world), &hub->hub.sessions);
    ensure(status == STATUS_OK);
    sessions_start(hub->hub.sessions);
    propose_first(world);
    prepare_soon(world);
}

void hub_start_soon(struct world *world, int64_t delay_ns)
{
    world_after(world, delay_ns, on_start, world->hub.life, 0, NULL);
}

void hub_init(struct world *world)
{
    struct sim_hub *hub = &world->hub;
    hub->world = world;
    hub->disk = disk_sim_new(hash_mix(world->options.seed ^ UINT64_C(0x6469736b)));
    ensure(hub->disk != NULL);
    hub->hub.config = (struct hub_config){.beat_ms = LIMIT_BEAT_MS,
                                          .suspect_ms = LIMIT_SUSPECT_MS,
                                          .lost_ms = LIMIT_LOST_MS,
                                          .closed_grace_ms = LIMIT_CLOSED_GRACE_MS};
    hub_start_soon(world, 0);
}

/* --- ends --- */

static void end_process(struct world *world, enum crash crash, int64_t pause_ns)
{
    struct sim_hub *hub = &world->hub;
    hub->is_up = false;
    close_parts(world);
    settle_disk(world, crash);
    hub_start_soon(world, pause_ns);
}

static int64_t restart_pause_ns(struct world *world)
{
    return (int64_t)(1 + world_below(world, STREAM_HUB, world_chance(world, STREAM_HUB, 50) ? 4000 : RESTART_MS)) *
           SIM_MS;
}

void hub_crash(struct world *world, enum crash crash)
{
    struct sim_hub *hub = &world->hub;
    if (!hub->is_up) {
        return;
    }
    check_before_crash(world);
    trace(world, TRACE_HUB_CRASH, hub->life, (uint64_t)crash, core_seq(sequencer_core(hub->hub.sequencer)));
    world->report->crashes++;
    hub->is_up = false;
    disk_sim_cut_power(hub->disk, DISK_SIM_ANY, 1, 0); /* what the dying do no longer reaches the disk, … */
    net_hub_died(world, crash != CRASH_KILL && world_chance(world, STREAM_HUB, 500)); /* … nor anybody */
    clients_hub_died(world);
    workers_hub_died(world, crash != CRASH_KILL && world_chance(world, STREAM_WORKER, 500));
    end_process(world, crash, restart_pause_ns(world));
}

void hub_stop(struct world *world)
{
    struct sim_hub *hub = &world->hub;
    if (!hub->is_up || !hub->hub.is_ready) {
        return;
    }
    struct sequencer *sequencer = hub->hub.sequencer;
    struct journal *journal = hub->hub.journal;
    hub->hub.is_stopping = true;
    task_waits_stop(hub->hub.task_waits); /* as routes_stop has it */
    sessions_stop(hub->hub.sessions);
    for (int i = 0; i < DRAIN_MAX && !hub->is_dying && !disk_sim_has_failed(hub->disk); i++) {
        sequencer_flush(sequencer);
        while (file_journal_write(journal)) {
        }
        journal->driver->poll(journal);
        if (sequencer_durable_seq(sequencer) == core_seq(sequencer_core(sequencer))) {
            break;
        }
    }
    trace(world, TRACE_HUB_STOP, hub->life, core_seq(sequencer_core(sequencer)), sequencer_durable_seq(sequencer));
    if (hub->is_dying || disk_sim_has_failed(hub->disk)) {
        return; /* hub_after_event ends it the hard way */
    }
    sequencer_stop(sequencer);
    history_commit(world);
    check_before_crash(world);
    if (sequencer_durable_seq(sequencer) == core_seq(sequencer_core(sequencer)) && hub->snapshot == NULL) {
        enum status status = snapshot_core(hub->disk, sequencer_core(sequencer));
        (void)status; /* without it the next process replays more */
    }
    if (disk_sim_has_failed(hub->disk)) {
        return;
    }
    clients_hub_died(world);
    workers_hub_died(world, false);
    end_process(world, CRASH_KILL, restart_pause_ns(world));
    net_hub_died(world, false);
}

void hub_after_event(struct world *world)
{
    struct sim_hub *hub = &world->hub;
    if (!hub->is_up) {
        return;
    }
    if (hub->is_power_armed && disk_sim_has_failed(hub->disk)) {
        hub_crash(world, CRASH_POWER_SOME);
    } else if (hub->is_dying) {
        bool is_expected = hub->is_fault_armed && disk_sim_has_failed(hub->disk);
        CHECK_THAT(world, is_expected, "journal", "the journal fails though the disk does not: %s (%s)", hub->why,
                   status_title(hub->failed));
        hub_crash(world, CRASH_KILL);
    } else if (hub->hub.is_stopping) {
        hub_crash(world, CRASH_KILL); /* a stop that met a broken disk */
    }
}

void hub_free(struct world *world)
{
    struct sim_hub *hub = &world->hub;
    if (hub->is_up) {
        disk_sim_cut_power(hub->disk, DISK_SIM_ANY, 1, 0);
        net_hub_died(world, true);
        clients_hub_died(world);
        workers_hub_died(world, true);
        hub->is_up = false;
        close_parts(world);
    }
    free(hub->rows);
    disk_sim_free(hub->disk);
}
