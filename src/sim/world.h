/* world.h - what the parts of the simulator share: time, chance, the trace, and who knows whom. */
#ifndef SHOAL_SIM_WORLD_H
#define SHOAL_SIM_WORLD_H

#include <setjmp.h>

#include "base/map.h"
#include "base/rng.h"
#include "hub/history_position.h"
#include "hub/hub.h"
#include "hub/sessions.h"
#include "journal/disk_sim.h"
#include "proto/work.h"
#include "sim/history_check.h"
#include "sim/sim.h"

#define SIM_US INT64_C(1000)
#define SIM_MS INT64_C(1000000)
#define SIM_S INT64_C(1000000000)

struct world;

/* --- time: world.c --- */
struct event {
    int64_t at_ns;
    uint64_t order; /* among those of one moment */
    void (*fire)(struct world *world, const struct event *event);
    uint64_t a, b;
    void *owned; /* freed after fire */
};
/* Fires it after `delay_ns`. `owned` is malloc'd or NULL. */
void world_after(struct world *world, int64_t delay_ns, void (*fire)(struct world *world, const struct event *event),
                 uint64_t a, uint64_t b, void *owned);

/* --- chance: one stream for each purpose, so that a new use does not shift the others --- */
enum stream {
    STREAM_CLIENT,
    STREAM_NODE,
    STREAM_NET,
    STREAM_DISK,
    STREAM_HUB,
    STREAM_FAULT, /* + enum sim_fault */
    STREAM_WORKER = STREAM_FAULT + SIM_FAULT_COUNT,
    STREAM_COUNT
};
uint64_t world_below(struct world *world, enum stream stream, uint64_t bound);
bool world_chance(struct world *world, enum stream stream, uint32_t permille);
int64_t world_range(struct world *world, enum stream stream, struct words_range range);

/* --- the trace --- */
enum trace_kind {
#define X(NAME, format) TRACE_##NAME,
#include "sim/trace.def"
#undef X
    TRACE_COUNT
};
void trace(struct world *world, enum trace_kind kind, uint64_t a, uint64_t b, uint64_t c);

/* --- failure: the first one counts and ends the run --- */
void world_fail(struct world *world, const char *rule, const char *format, ...) __attribute__((format(printf, 3, 4)));
#define CHECK_THAT(world, condition, rule, ...)                                                                        \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            world_fail(world, rule, __VA_ARGS__);                                                                      \
        }                                                                                                              \
    } while (0)

/* --- network: net.c. A link is one TCP connection between a node and the hub --- */
enum side { SIDE_NODE, SIDE_HUB };
struct link {
    uint32_t index;
    uint32_t node;
    uint64_t number;            /* never used twice */
    bool is_open[2];            /* as each side believes */
    int64_t last_arrival_ns[2]; /* at each side: a stream keeps its order */
    int64_t clogged_until_ns[2];
    struct session *session; /* the hub's record */
    uint32_t guise;          /* number of the node under whose name it speaks, + 1; 0: its own */
    uint32_t pending;        /* events that name it */
};
void net_init(struct world *world);
void net_free(struct world *world);
/* A node dials; later node_on_connected or node_on_refused. */
void net_dial(struct world *world, uint32_t node);
void net_send(struct world *world, struct link *link, enum side from, struct slice text);
/* One side closes in order: what it sent before arrives. */
void net_close(struct world *world, struct link *link, enum side side);
/* One side is gone. With `is_silent` the other does not learn of it until it sends. */
void net_abort(struct world *world, struct link *link, enum side side, bool is_silent);
void net_hub_died(struct world *world, bool is_silent);
const struct session_port *net_port(struct world *world);

/* --- nodes: node.c --- */
#define SIM_HELD_MAX 64
#define SIM_OUTBOX_MAX 256
struct held {
    struct lease_token token;
    uint64_t op;
    uint64_t number; /* never used twice; events name it */
    int64_t lease_ms;
};
struct outbox_item {
    struct outcome outcome; /* texts below */
    uint64_t op;
    uint32_t report; /* number of the report it went out with on this connection; 0: not yet */
    bool gives_credit;
    bool is_lie;
    bool is_refusal; /* of a lease that was never begun */
    char payload[96];
    struct buf large; /* a payload that is larger */
};
struct sim_agent;
struct sim_node {
    char name[16];
    struct sim_agent *agent; /* owned; runs the production agent. NULL: one that node.c plays, which also lies */
    uint64_t instance;
    uint32_t slots, kinds;
    bool is_up, is_live; /* live: welcomed on its link */
    bool is_dialing;
    uint32_t life;     /* of the process */
    uint64_t dial;     /* number of the newest attempt to connect */
    uint32_t guise;    /* as of link: what its next hello says */
    struct link *link; /* NULL: none */
    int64_t heard_ns;  /* from the hub */
    int64_t told_ns;   /* when the hub last got something of it */
    int64_t live_ns;   /* when the hub last got something of its own session, and … */
    int64_t silent_ns; /* … when that came after suspect_ms of silence; 0: never */
    int64_t frozen_until_ns;
    int64_t cut_until_ns[2]; /* partition, by the side that hears nothing */
    uint32_t held_count, outbox_count;
    struct held held[SIM_HELD_MAX];
    struct outbox_item outbox[SIM_OUTBOX_MAX];
    uint32_t report_sent, report_answered; /* of this connection */
    uint32_t credit_owed;                  /* freed slots that the hub was not told of */
};
/* Also of workers: what a complete carries, an outcome as it is said, and a token near the newest one of some recent task,
 * but none that this node was given. */
void node_write_result(struct world *world, enum stream stream, struct outbox_item *item,
                       const struct workload_kind *kind);
struct outcome node_outcome(const struct outbox_item *item);
bool node_choose_lie(struct world *world, uint32_t index, enum stream stream, uint64_t *ret_op,
                     struct lease_token *ret_token, uint64_t *ret_way);
void nodes_init(struct world *world);
void world_nodes_free(struct world *world);
void node_crash(struct world *world, uint32_t index);
void node_freeze(struct world *world, uint32_t index, int64_t for_ns);
void node_lie(struct world *world, uint32_t index, enum stream stream);
/* An agent's process is told to end (SIGTERM, and perhaps SIGINT later). */
void node_stop(struct world *world, uint32_t index, enum stream stream);
/* One that node.c plays joins under the name of an agent, for one connection. */
void node_pose(struct world *world, uint32_t index, enum stream stream);
/* An agent's process has ended by itself; another one follows. */
void node_ended(struct world *world, uint32_t index);
void node_on_connected(struct world *world, uint32_t index, struct link *link);
void node_on_refused(struct world *world, uint32_t index);
void node_on_text(struct world *world, uint32_t index, const struct link *link, struct slice text);
void node_on_closed(struct world *world, uint32_t index, const struct link *link);
void nodes_heal(struct world *world);
/* NULL: there is no room. */
struct outbox_item *node_outbox_add(struct sim_node *node, enum outcome_type type, const struct lease_token *token,
                                    uint64_t op);
void node_outbox_remove(struct sim_node *node, uint32_t i);
/* The number of the op that a lease's input names; 0: none. */
uint64_t node_op_of_input(struct json_value input);

/* --- nodes that run the production agent: agent.c, shadow.c. Called by node.c --- */
struct sim_agent *agent_node_new(struct world *world, uint32_t index);
void agent_node_free(struct sim_agent *sim);
void agent_node_begin(struct sim_agent *sim);
/* The process is gone, whatever it was doing. */
void agent_node_end(struct sim_agent *sim);
void agent_node_stop(struct sim_agent *sim, enum stream stream);
void agent_node_on_connected(struct sim_agent *sim, struct link *link);
void agent_node_on_refused(struct sim_agent *sim);
void agent_node_on_text(struct sim_agent *sim, struct slice text);
void agent_node_on_closed(struct sim_agent *sim);

/* --- workers over plain HTTP: worker.c. Where nodes are numbered, theirs come behind --- */
void workers_init(struct world *world);
void workers_free(struct world *world);
uint32_t workers_count(const struct world *world);
const char *worker_name(const struct world *world, uint32_t index);
/* Their part of the table for hub/sessions.h. */
void workers_fill_port(struct session_port *ret_port);
/* The hub releases a lease: for one of them it is a promise. Before the sessions hear of it. */
void workers_on_promise(struct world *world, const struct effect_lease *lease);
/* A fault that nodes have too: for how long, and which ways (bits of enum side). */
void worker_suffers(struct world *world, uint32_t index, enum sim_fault fault, int64_t for_ns, uint32_t ways);
void workers_heal(struct world *world);
/* The hub's process ends: nobody hears of its calls any more. Then, when its sequencer is gone, the calls end. */
void workers_hub_died(struct world *world, bool is_silent);
void workers_drop_calls(struct world *world);
void check_workers(struct world *world);
/* Once there is no work left: they stop asking, and are done when the hub has forgotten them. */
bool workers_are_done(struct world *world, char *ret_why, size_t why_size);

/* --- the hub's process: hub.c --- */
struct sim_hub {
    struct hub hub; /* first: sinks get a pointer to it */
    struct world *world;
    struct disk *disk;
    uint32_t life; /* counts processes */
    bool is_up, is_dying;
    uint32_t tick_number;
    bool has_flush, has_write, has_poll, has_prepare, has_commit;
    bool is_power_armed, is_fault_armed; /* of the disk */
    int64_t armed_ns;
    uint32_t arm_number;
    uint32_t waits_number; /* of the timer of its task_waits */
    int64_t up_since_ns;
    int64_t slow_until_ns;              /* the disk stands still */
    int64_t full_until_ns;              /* the disk is full */
    struct journal_callbacks callbacks; /* the sequencer's */
    bool is_recovering;
    /* snapshot under way, as the forked child would have it */
    struct snapshot_writer *snapshot;
    uint64_t snapshot_seq, snapshot_done_seq;
    /* history: rows that are durable are in the ops; these are not yet */
    struct history_row *rows; /* owned */
    size_t row_count, row_cap;
    struct history_position position;
    uint64_t released_seq;
    bool has_history_timer;
    enum status failed;
    char why[128];
};
void hub_init(struct world *world);
void hub_free(struct world *world);
void hub_start_soon(struct world *world, int64_t delay_ns);
enum crash { CRASH_KILL, CRASH_POWER_SOME, CRASH_POWER_ALL, CRASH_POWER_NONE };
void hub_crash(struct world *world, enum crash crash);
void hub_stop(struct world *world);
void hub_flush_soon(struct world *world);
void hub_snapshot(struct world *world);
/* Called after each event: ends a process whose journal has failed or whose power is gone. */
void hub_after_event(struct world *world);
struct file_journal_config hub_journal_config(const struct world *world, struct disk *disk);
int64_t hub_wall_ns(const struct world *world);

/* --- clients: client.c --- */
struct answer {
    enum workload_op op;
    enum status status;
    uint64_t task_id;
    uint64_t seq;     /* of the entry that did it */
    uint64_t version; /* of the task shown: its changed_seq */
    enum task_state state;
    uint64_t result_hash; /* of a succeeded one */
    bool is_duplicate;
    bool is_shown; /* version, state and result are those of a read */
};
void clients_init(struct world *world);
void clients_free(struct world *world);
void clients_hub_died(struct world *world);
/* No request waits past its time; none that waits for this task, which has ended. */
void check_waits(struct world *world);
void check_waits_heard(struct world *world, uint64_t task_id);
bool clients_are_done(const struct world *world);
/* Requests that reached the hub and are not answered, not even by its end. */
uint32_t clients_open_calls(const struct world *world);

/* --- what must hold: check.c --- */
struct op { /* one submit as a client means it; what anybody was told of it is a history_op */
    uint32_t client;
    uint8_t kind, queue, key, priority;
    uint16_t unique; /* 0: none */
    bool is_keyless;
    bool is_plain; /* ready at once: its first attempt keeps its place in line */
    uint32_t input_size;
    int64_t delay_ns; /* before it may start */
    uint64_t input_hash;
    uint64_t lease_session; /* whom its newest lease was for */
};
struct waiting {
    uint32_t *ops; /* owned; numbers */
    size_t count, cap, head;
    uint32_t passed; /* leases to other keys of its queue and priority since one went to its own */
};
struct checks {
    struct history_check seen; /* counts the ops */
    struct op *ops;            /* owned; the number of an op is its index + 1 */
    size_t op_cap;
    size_t settled;         /* ops below it are in history for good */
    uint64_t visible_seq;   /* newest entry that anybody outside has seen something of */
    int64_t last_time_ns;   /* of the newest entry */
    uint64_t *entry_hashes; /* owned; of entry i + 1, as it was proposed */
    size_t entry_count, entry_cap;
    uint64_t live_hash; /* of the core as a process left it */
    uint64_t live_seq;
    bool has_live_hash;
    struct waiting *waiting; /* owned; of each line: those that are known to wait for their first lease */
    uint64_t *first_leased;  /* owned; of each line: the greatest task number that had its first lease */
    uint64_t quiet_seq;      /* of the core when all was quiet last, and since when */
    int64_t quiet_ns;
};
struct op *check_op_new(struct world *world, uint64_t *ret_number);
struct op *check_op(struct world *world, uint64_t number);
struct history_op *check_seen(struct world *world, uint64_t number);
void check_write_input(const struct op *op, uint64_t number, struct buf *ret_text);
/* Its client will not ask again: it may have been done or not. */
void check_give_up(struct world *world, uint64_t number);
/* The number of the op that an input names; 0: none. */
uint64_t check_op_of_text(struct slice input);
void check_visible(struct world *world, uint64_t seq, const char *what);
void check_answer(struct world *world, uint64_t number, const struct answer *answer, uint64_t floor);
void check_lease(struct world *world, const struct effect_lease *lease, uint64_t seq);
void check_delivered(struct world *world, uint32_t node, const struct work_lease *lease, uint64_t op);
void check_accepted(struct world *world, uint32_t node, const struct outbox_item *item, uint64_t seq);
/* A lease that a resumed session keeps, as the node was told. */
void check_kept(struct world *world, uint32_t node, uint64_t session, const struct lease_token *token);
void check_row(struct world *world, const struct history_row *row, bool is_durable);
void check_entry(struct world *world, const struct journal_entry *entry, bool is_replay);
/* An entry of a recovery follows the one before it, and is one that was proposed, byte for byte. */
void check_replayed(struct world *world, uint64_t before_seq, const struct journal_entry *entry);
void check_before_crash(struct world *world);
void check_recovered(struct world *world, const struct file_journal_recovery *recovery);
void check_now_and_then(struct world *world);
void check_end(struct world *world);
/* Whether nothing is left to do; `ret_why` says what is. */
bool check_is_quiet(struct world *world, char *ret_why, size_t why_size);
void checks_init(struct world *world);
void checks_free(struct world *world);

/* --- a harmed disk: damage.c --- */
/* A copy of the disk is spoilt and recovered from. */
void hub_damage(struct world *world);
/* What a recovery cut is gone. */
void check_tail(struct world *world, const struct file_journal_recovery *recovery);

/* --- faults: fault.c --- */
void faults_init(struct world *world);
/* Whether the message at hand is lost, or comes twice. */
bool fault_loses(struct world *world);
bool fault_duplicates(struct world *world);
bool fault_is_on(const struct world *world, enum sim_fault fault);
void faults_heal(struct world *world);

struct clients;
struct net;
struct workers;

struct world {
    struct sim_options options;
    const struct workload *workload;
    struct sim_report *report;
    int64_t now_ns;
    int64_t wall_offset_ns;
    uint64_t step;
    uint64_t order;
    bool is_healed; /* no more faults, no new work */
    bool is_ending;
    struct event *events; /* heap; owned */
    size_t event_count, event_cap;
    struct rng streams[STREAM_COUNT];
    jmp_buf failed;
    struct sim_hub hub;
    struct sim_node *nodes;
    uint32_t node_count;
    struct net *net;
    struct clients *clients;
    struct workers *workers;
    struct checks checks;
    bool lose_next, duplicate_next; /* faults of clients' requests */
    struct json_parser *json;       /* the nodes' */
    struct work_answer *said;       /* what the hub says, decoded */
    struct buf text;                /* a message being written */
    struct buf aux;
    uint64_t number; /* for whatever must not repeat */
};

#endif
