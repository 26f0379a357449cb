/* hub.h - the parts of one hub process, wired together.
 *
 * Only src/hub includes it. hub_main.c makes and ends the parts; routes and sessions use them. All on the loop's thread. */
#ifndef SHOAL_HUB_HUB_H
#define SHOAL_HUB_HUB_H

#include "base/json.h"
#include "hub/blobs.h"
#include "hub/history.h"
#include "hub/sequencer.h"
#include "journal/file_journal.h"
#include "net/http_server.h"
#include "net/loop.h"

#define DISK_RESERVE_AUTO UINT64_MAX

struct hub_config { /* from the command line, then the file, then defaults; hub/config.h reads it */
    char data_dir[1024];
    char host[256];
    uint16_t port;
    enum durability durability;
    int64_t sync_interval_ms;
    uint64_t segment_size;
    uint64_t snapshot_every_size;
    uint32_t tasks_max;
    uint64_t payload_size_max;
    int64_t finished_keep_ms;
    uint64_t blob_size_max;
    uint64_t memory_budget; /* bytes of all buffered bodies and answers */
    struct history_keep history_keep;
    uint64_t blob_quota;    /* bytes of all blobs; 0: any number */
    int64_t blob_keep_ms;   /* a blob that no task names goes after so long; 0: it stays */
    uint64_t blob_rate_min; /* bytes a second of an upload, 0: any */
    int64_t blob_upload_ms; /* for the whole of an upload; 0: any time */
    uint64_t disk_reserve;  /* bytes that must be free for new work; DISK_RESERVE_AUTO: as blob_sweep.c says */
    uint32_t connections_max;
    int64_t header_ms, body_idle_ms, idle_ms;
    int64_t beat_ms, suspect_ms, lost_ms, closed_grace_ms;
    char node_key[128];  /* empty: nodes need none, or the API key when there is one */
    char api_key[128];   /* empty: callers need none */
    uint32_t deaths_max; /* nodes that may die under a task before it is held */
    bool has_no_auth;    /* may listen beyond loopback without an API key */
    char hosts[1024];    /* guard.h */
    char origins[1024];
};

struct routes;     /* routes.h: request contexts and the tables of routes.c */
struct sessions;   /* sessions.h: WebSocket sessions of nodes, heartbeats, and HTTP workers' long polls */
struct blob_sweep; /* blob_sweep.h: which blobs may go, slow uploads, a disk that is nearly full */
struct task_waits; /* task_waits.h: requests that wait for a task to become final */

struct hub {
    struct hub_config config;
    struct loop loop;
    struct sequencer *sequencer;
    struct journal *journal;
    struct history *history;
    struct blob_store *blobs;
    struct blob_sweep *blob_sweep;
    bool is_disk_low; /* new work is refused */
    struct http_server *server;
    struct routes *routes;
    struct sessions *sessions;
    struct task_waits *task_waits;
    struct json_parser *json; /* for request bodies and messages, one at a time */
    int64_t started_ns;       /* monotonic */
    bool is_ready;
    bool is_stopping;
    struct file_journal_recovery recovery;
    uint64_t snapshot_seq; /* newest snapshot */
    uint64_t snapshots_made;
    enum status exit_status; /* why the hub is ending */
    struct buf scratch;      /* for one request's text at a time */
};

/* --- made by routes.c / sessions.c, called by hub_main.c --- */
/* The HTTP callbacks of all routes. Sets hub->routes, which routes_free frees after the server is gone. */
struct http_callbacks routes_callbacks(struct hub *hub);
void routes_free(struct hub *hub);
/* The hub is stopping (is_stopping is set): answers every request that only waits (wait_ms, lease polls) and closes the
 * nodes' WebSockets with 1001, without ending their sessions. Before http_server_close; flush the sequencer afterwards. */
void routes_stop(struct hub *hub);
STATUS_MUST_CHECK enum status sessions_new(struct hub *hub, struct sessions **ret_sessions);
/* After recovery: every session in the core is given lost_ms to come back. */
void sessions_start(struct sessions *sessions);
void sessions_free(struct sessions *sessions);
STATUS_MUST_CHECK enum status task_waits_new(struct hub *hub, struct task_waits **ret_waits);
void task_waits_free(struct task_waits *waits);
/* Sinks of the sequencer, in sessions.c and task_waits.c; hub_main.c puts them into sequencer_sinks (ctx = hub). */
void sessions_on_lease(void *hub, const struct effect_lease *lease, uint64_t seq);
void sessions_on_stop(void *hub, const struct effect_stop *stop);
void sessions_on_session(void *hub, const struct effect_session *session);
void sessions_on_released(void *hub, uint64_t seq); /* flush messages put together for each session */
void task_waits_on_task(void *hub, const struct effect_task *task, uint64_t seq);

/* --- made by hub_main.c --- */
/* Ask for sequencer_flush at the end of this loop turn. Cheap, idempotent: call after every sequencer_commit. */
void hub_schedule_flush(struct hub *hub);
/* False while history is so far behind that no new work may be taken: answer a submit with BUSY. */
bool hub_takes_work(const struct hub *hub);
/* Runs a hub until SIGINT/SIGTERM or failure; returns the status for the exit code. Prints one line with its address when
 * ready ("shoal hub listening on http://HOST:PORT"), and one plain sentence on standard error when it fails. */
enum status hub_main(const struct hub_config *config);

#endif
