/* routes_system.c - health, facts and figures.
 *
 * Counters of the core are those since the journal began; counters of HTTP are those of this process. What a scrape shows is
 * the state as applied, which can be ahead of the disk by the entries of one fsync: figures are not promises. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/version.h"
#include "hub/blob_sweep.h"
#include "hub/routes.h"
#include "hub/sessions.h"
#include "hub/task_waits.h"

void handle_healthz(struct call *call)
{
    buf_append_slice(&call->routes->out, SLICE("{\"status\":\"ok\"}"));
    call_answer(call, 200, sequencer_durable_seq(call->hub->sequencer), "");
}

void handle_status(struct call *call)
{
    struct buf *out = &call->routes->out;
    uint64_t seq = sequencer_durable_seq(call->hub->sequencer);
    int64_t uptime_ms = (clock_mono_ns() - call->hub->started_ns) / NS_PER_MS;
    buf_append_slice(out, SLICE("{\"status\":\"ok\",\"version\":\"" SHOAL_VERSION "\",\"uptime_ms\":"));
    buf_append_u64_dec(out, uptime_ms > 0 ? (uint64_t)uptime_ms : 0);
    buf_append_slice(out, SLICE(",\"seq\":"));
    buf_append_u64_dec(out, seq);
    buf_append_char(out, '}');
    call_answer(call, 200, seq, "");
}

static const char *durability_word(enum durability durability)
{
    switch (durability) {
    case DURABILITY_BATCH:
        return "batch";
    case DURABILITY_INTERVAL:
        return "interval";
    case DURABILITY_NONE:
        return "none";
    }
    return "unknown";
}

/* Whether a table is nearly or wholly taken. Tables that make room by themselves never are. */
static bool is_short(const struct core *core, enum core_table table, struct table_view *ret_view, bool *ret_is_full)
{
    core_table(core, table, ret_view);
    uint64_t max = table < TABLE_SHARED ? ret_view->max / 100 * LIMIT_TABLE_OPEN_PERCENT : ret_view->max;
    *ret_is_full = !ret_view->makes_room && ret_view->used >= max;
    return !ret_view->makes_room && ret_view->used >= max / 100 * LIMIT_TABLE_WARN_PERCENT;
}

/* Why the hub is not simply ready: sentences, then the tables that run short in figures, and whether one is full. */
static void write_reasons(struct buf *out, const struct hub *hub)
{
    const struct core *core = sequencer_core(hub->sequencer);
    struct table_view view;
    bool is_full, is_any_full = false;
    const char *comma = "";
    buf_append_str(out, ",\"reasons\":[");
    if (hub->is_disk_low) {
        buf_append_str(out, "\"disk: little space is left; new tasks and blobs are refused\"");
        comma = ",";
    }
    for (unsigned i = 0; i < TABLE_COUNT; i++) {
        if (is_short(core, (enum core_table)i, &view, &is_full)) {
            buf_printf(out, "%s\"%s: %" PRIu64 " of %" PRIu64 " are taken%s\"", comma,
                       core_table_name((enum core_table)i), view.used, view.max,
                       !is_full           ? ""
                       : i < TABLE_SHARED ? "; it is full, and the rest is kept for the operator"
                                          : "; it is full");
            comma = ",";
            is_any_full = is_any_full || is_full;
        }
    }
    buf_append_str(out, "],\"warnings\":[");
    comma = "";
    for (unsigned i = 0; i < TABLE_COUNT; i++) {
        if (is_short(core, (enum core_table)i, &view, &is_full)) {
            buf_printf(out, "%s{\"table\":\"%s\",\"used\":%" PRIu64 ",\"max\":%" PRIu64 ",\"full\":%s}", comma,
                       core_table_name((enum core_table)i), view.used, view.max, is_full ? "true" : "false");
            comma = ",";
        }
    }
    buf_printf(out, "],\"full\":%s}", is_any_full ? "true" : "false");
}

void handle_readyz(struct call *call)
{
    struct hub *hub = call->hub;
    struct core_stats stats;
    core_stats(sequencer_core(hub->sequencer), &stats);
    bool is_ready = hub->is_ready && !hub->is_stopping && !hub->is_disk_low;
    uint64_t durable = sequencer_durable_seq(hub->sequencer);
    buf_printf(&call->routes->out,
               "{\"ready\":%s,\"durability\":\"%s\",\"seq\":%" PRIu64 ",\"durable_seq\":%" PRIu64
               ",\"snapshot_seq\":%" PRIu64 ",\"history_seq\":%" PRIu64 ",\"recovered_entries\":%" PRIu64,
               is_ready ? "true" : "false", durability_word(hub->config.durability), stats.seq, durable,
               hub->snapshot_seq, stats.history_seq, hub->recovery.entries);
    write_reasons(&call->routes->out, hub);
    call_answer(call, is_ready ? 200 : 503, durable, is_ready ? "" : "Retry-After: 1\r\n");
}

void handle_openapi(struct call *call)
{
    struct buf *text = &call->routes->openapi;
    if (text->len == 0) {
        route_table_openapi(text, SHOAL_VERSION);
    }
    buf_append_slice(&call->routes->out, buf_slice(text));
    call_answer(call, 200, sequencer_durable_seq(call->hub->sequencer), "");
}

/* --- figures --- */

struct figures {
    struct core_stats core;
    struct table_view tables[TABLE_COUNT];
    struct sessions_stats sessions;
    struct http_server_stats http;
    struct storage_stats storage;
    struct history_stats history;
    uint64_t durable_seq, unsynced_size, held_size, history_backlog;
    uint32_t waits, calls;
    double cpu_s;
    uint64_t rss_size;
    uint32_t fds;
    double uptime_s;
};

/* Resident memory from /proc; 0 when it cannot be read. */
static uint64_t read_rss(void)
{
    FILE *file = fopen("/proc/self/statm", "re");
    if (file == NULL) {
        return 0;
    }
    unsigned long long pages = 0;
    if (fscanf(file, "%*s %llu", &pages) != 1) {
        pages = 0;
    }
    fclose(file);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void collect(struct call *call, struct figures *figures)
{
    struct hub *hub = call->hub;
    *figures = (struct figures){0};
    core_stats(sequencer_core(hub->sequencer), &figures->core);
    for (unsigned i = 0; i < TABLE_COUNT; i++) {
        core_table(sequencer_core(hub->sequencer), (enum core_table)i, &figures->tables[i]);
    }
    sessions_stats(hub->sessions, &figures->sessions);
    http_server_stats(hub->server, &figures->http);
    blob_sweep_stats(hub->blob_sweep, &figures->storage);
    if (hub->history != NULL) {
        history_stats(hub->history, &figures->history);
    }
    figures->durable_seq = sequencer_durable_seq(hub->sequencer);
    figures->unsynced_size = hub->journal->driver->unsynced_size(hub->journal);
    figures->held_size = sequencer_held_size(hub->sequencer);
    figures->history_backlog = hub->history != NULL ? history_backlog(hub->history) : 0;
    figures->waits = task_waits_count(hub->task_waits);
    figures->calls = call->routes->call_count;
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) == 0) {
        figures->cpu_s = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                         (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    }
    figures->rss_size = read_rss();
    figures->fds = figures->http.connections;
    figures->uptime_s = (double)(clock_mono_ns() - hub->started_ns) / 1e9;
}

void handle_stats(struct call *call)
{
    struct figures f;
    collect(call, &f);
    struct hub *hub = call->hub;
    struct buf *out = &call->routes->out;
    buf_printf(out, "{\"version\":\"" SHOAL_VERSION "\",\"uptime_ms\":%.0f,\"durability\":\"%s\",", f.uptime_s * 1e3,
               durability_word(hub->config.durability));
    buf_printf(out, "\"tasks\":{\"live\":%" PRIu64 ",\"max\":%" PRIu64 ",\"counts\":{", f.core.tasks_live,
               f.core.tasks_max);
    for (unsigned i = 0; i < TASK_STATE_COUNT; i++) {
        buf_printf(out, "%s\"%s\":%" PRIu64, i == 0 ? "" : ",", task_state_name((enum task_state)i), f.core.counts[i]);
    }
    buf_printf(out,
               "},\"totals\":{\"accepted\":%" PRIu64 ",\"duplicates\":%" PRIu64 ",\"succeeded\":%" PRIu64
               ",\"dead\":%" PRIu64 ",\"cancelled\":%" PRIu64 ",\"expired\":%" PRIu64 ",\"retried\":%" PRIu64
               ",\"evicted\":%" PRIu64 "}},",
               f.core.accepted, f.core.duplicates, f.core.succeeded, f.core.dead, f.core.cancelled, f.core.expired,
               f.core.retried, f.core.evicted);
    buf_printf(out,
               "\"leases\":{\"attempts\":%" PRIu64 ",\"granted\":%" PRIu64 ",\"expired\":%" PRIu64 ",\"lost\":%" PRIu64
               "},",
               f.core.attempts, f.core.leases_granted, f.core.leases_expired, f.core.leases_lost);
    buf_printf(out,
               "\"nodes\":{\"known\":%u,\"sessions\":%u,\"suspect\":%u,\"workers\":%u,\"connections\":%u,\"polls\":%u,"
               "\"beats\":%" PRIu64 ",\"reports\":%" PRIu64 "},",
               f.core.nodes, f.core.sessions, f.sessions.suspect, f.sessions.workers, f.sessions.connections,
               f.sessions.polls, f.sessions.beats, f.sessions.reports);
    buf_printf(out, "\"queues\":%u,\"kinds\":%u,\"signatures\":%u,\"flows\":%u,\"idempotency_keys\":%u,", f.core.queues,
               f.core.kinds, f.core.signatures, f.core.flows, f.core.idempotency_keys);
    buf_printf(out,
               "\"payload\":{\"size\":%" PRIu64 ",\"size_max\":%" PRIu64 "},\"journal\":{\"seq\":%" PRIu64
               ",\"durable_seq\":%" PRIu64 ",\"unsynced_size\":%" PRIu64 ",\"held_size\":%" PRIu64
               ",\"snapshot_seq\":%" PRIu64 ",\"snapshots\":%" PRIu64 "},",
               f.core.payload_size, f.core.payload_size_max, f.core.seq, f.durable_seq, f.unsynced_size, f.held_size,
               hub->snapshot_seq, hub->snapshots_made);
    buf_printf(out,
               "\"history\":{\"seq\":%" PRIu64 ",\"backlog\":%" PRIu64 ",\"rows\":%" PRIu64 ",\"removed\":%" PRIu64
               ",\"size\":%" PRIu64 ",\"free\":%" PRIu64 "},",
               f.core.history_seq, f.history_backlog, f.history.rows, f.history.removed, f.history.file_size,
               f.history.free_size);
    buf_printf(out,
               "\"blobs\":{\"count\":%" PRIu64 ",\"size\":%" PRIu64 ",\"collected\":%" PRIu64
               "},\"disk\":{\"free\":%" PRIu64 ",\"reserve\":%" PRIu64 ",\"low\":%s},",
               f.storage.blobs, f.storage.blobs_size, f.storage.blobs_collected, f.storage.disk_free,
               f.storage.disk_reserve, f.storage.is_low ? "true" : "false");
    buf_printf(out,
               "\"http\":{\"connections\":%u,\"websockets\":%u,\"in_flight\":%u,\"waiting\":%u,\"accepted\":%" PRIu64
               ",\"requests\":%" PRIu64 ",\"refused\":%" PRIu64 ",\"bytes_in\":%" PRIu64 ",\"bytes_out\":%" PRIu64 "},",
               f.http.connections, f.http.websockets, f.http.in_flight, f.waits, f.http.accepted, f.http.requests,
               f.http.refused, f.http.bytes_in, f.http.bytes_out);
    buf_printf(out, "\"process\":{\"cpu_ms\":%.0f,\"rss\":%" PRIu64 "}}", f.cpu_s * 1e3, f.rss_size);
    call_answer(call, 200, f.durable_seq, "");
}

static void metric(struct buf *out, const char *name, const char *type, const char *help)
{
    buf_printf(out, "# HELP shoal_%s %s\n# TYPE shoal_%s %s\n", name, help, name, type);
}

static void metric_u64(struct buf *out, const char *name, const char *type, const char *help, uint64_t value)
{
    metric(out, name, type, help);
    buf_printf(out, "shoal_%s %" PRIu64 "\n", name, value);
}

static void write_metrics(struct buf *out, const struct hub *hub, const struct figures *f)
{
    metric(out, "build_info", "gauge", "1, with the version and the durability mode as labels.");
    buf_printf(out, "shoal_build_info{version=\"" SHOAL_VERSION "\",durability=\"%s\"} 1\n",
               durability_word(hub->config.durability));
    metric(out, "tasks", "gauge", "Tasks in memory by state.");
    for (unsigned i = 0; i < TASK_STATE_COUNT; i++) {
        buf_printf(out, "shoal_tasks{state=\"%s\"} %" PRIu64 "\n", task_state_name((enum task_state)i),
                   f->core.counts[i]);
    }
    metric(out, "tasks_finished_total", "counter", "Tasks that became final, by state.");
    buf_printf(out, "shoal_tasks_finished_total{state=\"succeeded\"} %" PRIu64 "\n", f->core.succeeded);
    buf_printf(out, "shoal_tasks_finished_total{state=\"dead\"} %" PRIu64 "\n", f->core.dead);
    buf_printf(out, "shoal_tasks_finished_total{state=\"cancelled\"} %" PRIu64 "\n", f->core.cancelled);
    buf_printf(out, "shoal_tasks_finished_total{state=\"expired\"} %" PRIu64 "\n", f->core.expired);
    const struct {
        const char *name, *type, *help;
        uint64_t value;
    } plain[] = {
        {"tasks_max", "gauge", "Most tasks in memory.", f->core.tasks_max},
        {"tasks_accepted_total", "counter", "Tasks accepted.", f->core.accepted},
        {"tasks_duplicate_total", "counter", "Submits that an idempotency or unique key answered.", f->core.duplicates},
        {"tasks_retried_total", "counter", "Final tasks put back to ready.", f->core.retried},
        {"tasks_evicted_total", "counter", "Tasks that left memory for history.", f->core.evicted},
        {"payload_bytes", "gauge", "Inline inputs, results and checkpoints in memory.", f->core.payload_size},
        {"payload_bytes_max", "gauge", "Most of them.", f->core.payload_size_max},
        {"attempts_total", "counter", "Attempts begun.", f->core.attempts},
        {"leases_granted_total", "counter", "Leases granted.", f->core.leases_granted},
        {"leases_expired_total", "counter", "Leases that ended without a report.", f->core.leases_expired},
        {"leases_lost_total", "counter", "Leases lost with their node.", f->core.leases_lost},
        {"nodes", "gauge", "Nodes ever seen.", f->core.nodes},
        {"sessions", "gauge", "Live sessions of nodes and workers.", f->core.sessions},
        {"sessions_suspect", "gauge", "Sessions that have not been heard of lately.", f->sessions.suspect},
        {"worker_polls", "gauge", "HTTP workers that wait for leases.", f->sessions.polls},
        {"beats_total", "counter", "Heartbeats received.", f->sessions.beats},
        {"bad_hellos_total", "counter", "Hellos of nodes that were refused: key, name or message.",
         f->sessions.bad_hellos},
        {"reports_total", "counter", "Reports received.", f->sessions.reports},
        {"nodes_lost_silent_total", "counter", "Sessions ended because nothing was heard.", f->sessions.lost_silent},
        {"nodes_lost_closed_total", "counter", "Sessions ended because the connection closed.",
         f->sessions.lost_closed},
        {"queues", "gauge", "Queues.", f->core.queues},
        {"kinds", "gauge", "Known kinds.", f->core.kinds},
        {"signatures", "gauge", "Distinct requirement sets.", f->core.signatures},
        {"flows", "gauge", "Fairness keys with work.", f->core.flows},
        {"idempotency_keys", "gauge", "Idempotency keys kept.", f->core.idempotency_keys},
        {"journal_seq", "gauge", "Newest entry applied.", f->core.seq},
        {"journal_durable_seq", "gauge", "Newest entry on disk.", f->durable_seq},
        {"journal_unsynced_bytes", "gauge", "Bytes proposed and not yet on disk.", f->unsynced_size},
        {"effects_held_bytes", "gauge", "Bytes of effects that wait for the disk.", f->held_size},
        {"snapshot_seq", "gauge", "Entry of the newest snapshot.", hub->snapshot_seq},
        {"snapshots_total", "counter", "Snapshots made by this process.", hub->snapshots_made},
        {"history_seq", "gauge", "Entry up to which history is complete, as the core knows.", f->core.history_seq},
        {"history_backlog_rows", "gauge", "Rows that wait to be written to history.", f->history_backlog},
        {"history_rows", "gauge", "Finished tasks in history.", f->history.rows},
        {"history_removed_total", "counter", "Of these, removed because their time was over.", f->history.removed},
        {"history_bytes", "gauge", "Size of the history file, as of the newest sweep.", f->history.file_size},
        {"history_free_bytes", "gauge", "Of this, free for new rows.", f->history.free_size},
        {"blobs", "gauge", "Blobs stored, as counted last.", f->storage.blobs},
        {"blobs_bytes", "gauge", "Their size.", f->storage.blobs_size},
        {"blobs_collected_total", "counter", "Blobs deleted because no task named them.", f->storage.blobs_collected},
        {"blob_passes_total", "counter", "Searches for such blobs.", f->storage.passes},
        {"disk_free_bytes", "gauge", "Free space where the data directory is.", f->storage.disk_free},
        {"disk_reserve_bytes", "gauge", "Below this new work is refused.", f->storage.disk_reserve},
        {"disk_low", "gauge", "Whether it is.", f->storage.is_low ? 1 : 0},
        {"http_connections", "gauge", "Open connections.", f->http.connections},
        {"http_websockets", "gauge", "Of these, WebSockets.", f->http.websockets},
        {"http_requests_in_flight", "gauge", "Requests being answered.", f->http.in_flight},
        {"http_requests_waiting", "gauge", "Requests that wait for a task.", f->waits},
        {"http_accepted_total", "counter", "Connections accepted.", f->http.accepted},
        {"http_requests_total", "counter", "Requests received.", f->http.requests},
        {"http_refused_total", "counter", "Requests that were not valid HTTP, too large or too slow.", f->http.refused},
        {"http_buffered_bytes", "gauge", "Bodies, answers and effects in memory that the budget counts.",
         f->http.buffered},
        {"http_buffered_bytes_max", "gauge", "Most of them so far.", f->http.buffered_max},
        {"http_memory_budget_bytes", "gauge", "The budget.", f->http.budget},
        {"http_bodies_waiting", "gauge", "Request bodies that wait for room in the budget.", f->http.waiting},
        {"http_memory_pressed_total", "counter", "Times that three quarters of the budget were taken.",
         f->http.pressed},
        {"http_ended_slow_total", "counter", "Connections ended because others needed the memory they held.",
         f->http.ended_slow},
        {"http_received_bytes_total", "counter", "Bytes received.", f->http.bytes_in},
        {"http_sent_bytes_total", "counter", "Bytes sent.", f->http.bytes_out},
        {"process_resident_memory_bytes", "gauge", "Resident memory.", f->rss_size},
        {"process_connections", "gauge", "Sockets of clients and nodes.", f->fds},
    };
    for (size_t i = 0; i < ARRAY_COUNT(plain); i++) {
        metric_u64(out, plain[i].name, plain[i].type, plain[i].help, plain[i].value);
    }
    metric(out, "table_used", "gauge", "Records in a table of the core; names are those of /readyz.");
    for (unsigned i = 0; i < TABLE_COUNT; i++) {
        buf_printf(out, "shoal_table_used{table=\"%s\"} %" PRIu64 "\n", core_table_name((enum core_table)i),
                   f->tables[i].used);
    }
    metric(out, "table_max", "gauge", "Most of them.");
    for (unsigned i = 0; i < TABLE_COUNT; i++) {
        buf_printf(out, "shoal_table_max{table=\"%s\"} %" PRIu64 "\n", core_table_name((enum core_table)i),
                   f->tables[i].max);
    }
    metric(out, "process_cpu_seconds_total", "counter", "Processor time used.");
    buf_printf(out, "shoal_process_cpu_seconds_total %.6f\n", f->cpu_s);
    metric(out, "uptime_seconds", "gauge", "Since this process began.");
    buf_printf(out, "shoal_uptime_seconds %.3f\n", f->uptime_s);
}

void handle_metrics(struct call *call)
{
    struct figures figures;
    collect(call, &figures);
    write_metrics(&call->routes->out, call->hub, &figures);
    call_answer_as(call, 200, figures.durable_seq, "text/plain; version=0.0.4; charset=utf-8", "");
}
