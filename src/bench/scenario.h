/* scenario.h - a scenario file as a struct: what is started, who asks for what, when, what goes wrong, and what must hold.
 *
 * The grammar is documented in docs/bench.md. Lines and words are those of workload files (base/words.h), and the
 * statements of a workload (kind, queue, nodes, clients, mix, submits) stand in a scenario as they are: the simulator reads a scenario's
 * workload part, and the generator submits the very work that the simulator simulates. Pure apart from scenario_load. */
#ifndef SHOAL_BENCH_SCENARIO_H
#define SHOAL_BENCH_SCENARIO_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"
#include "base/status.h"
#include "base/workload.h"
#include "bench/metrics.h"
#include "bench/schedule.h"

#define SCENARIO_PHASES_MAX 64
#define SCENARIO_FLOWS_MAX 32
#define SCENARIO_STEPS_MAX 32
#define SCENARIO_FEEDS_MAX 16
#define SCENARIO_STARTS_MAX 16
#define SCENARIO_FAULTS_MAX 64
#define SCENARIO_GATES_MAX 64
#define SCENARIO_TAKES_MAX 4
#define SCENARIO_HEADERS_MAX 8
#define SCENARIO_VARIABLES_MAX 256

/* Variables that are always there, by their place in the scenario's list. */
enum scenario_variable {
    SCENARIO_INDEX, /* ${index}: of the arrival, or of the user's flow */
    SCENARIO_USER,  /* ${user}: its number */
    SCENARIO_UUID,  /* ${uuid}: another one each time */
    SCENARIO_PORT,  /* ${port}: in commands of `start exec` only */
    SCENARIO_OWN_VARIABLES
};

/* Text with ${name} in it: feeds, values taken from answers in the same flow, and the above. */
struct scenario_text {
    struct scenario_part {
        struct slice literal; /* when variable < 0 */
        int variable;         /* of the scenario's variables */
    } *parts;                 /* owned by the scenario */
    uint32_t count;
};

enum scenario_action {
    SCENARIO_REQUEST, /* one HTTP request */
    SCENARIO_SUBMIT,  /* tasks of the workload: one, or a batch */
    SCENARIO_TASK,    /* a whole lifecycle: submit one, wait until it has ended; the sample ends there */
    SCENARIO_THINK,   /* the user pauses */
    SCENARIO_WS_OPEN, /* the user's WebSocket */
    SCENARIO_WS_SEND, /* a message (`body`), and its answer when expects_answer says so */
    SCENARIO_WS_CLOSE
};
struct scenario_step {
    enum scenario_action action;
    char label[BENCH_NAME_SIZE]; /* what reports call it */
    uint32_t line;
    char method[12];
    struct scenario_text path, body, headers; /* headers: whole lines with CRLF */
    int expect_low, expect_high;              /* status codes that are right; 200..299 without */
    char match[64];                           /* must be in the answer's body, or message; "" none */
    char protocol[64];                        /* WS_OPEN: the subprotocol to ask for; "" none */
    bool expects_answer;                      /* WS_SEND: the sample ends with the next message */
    struct {
        char pointer[64]; /* RFC 6901 into the answer's JSON */
        int variable;
    } takes[SCENARIO_TAKES_MAX];
    uint32_t take_count;
    uint32_t batch; /* SUBMIT */
    uint32_t times; /* the step is done this often, one after the other; 1 usually */
    int64_t timeout_ns;
    struct words_range think;
};
struct scenario_flow {
    char name[BENCH_NAME_SIZE];
    uint32_t line;
    uint32_t share;
    uint32_t step_count;
    struct scenario_step steps[SCENARIO_STEPS_MAX];
};

enum scenario_feed_kind { FEED_CSV, FEED_RANGE, FEED_WORDS, FEED_TEXT };
enum scenario_feed_order { FEED_CYCLE, FEED_RANDOM, FEED_ONCE };
struct scenario_feed {
    char name[BENCH_NAME_SIZE]; /* of a CSV: its columns are name.column */
    enum scenario_feed_kind kind;
    enum scenario_feed_order order;
    struct words_range range; /* RANGE: numbers; TEXT: bytes of random letters */
    struct slice *cells;      /* CSV, WORDS: row by row; owned by the scenario */
    uint32_t columns, rows;
    int first_variable; /* columns follow each other */
};

enum scenario_model {
    SCENARIO_OPEN,  /* by its schedule */
    SCENARIO_USERS, /* closed: users that go through flows again and again */
    SCENARIO_IDLE   /* nobody asks; sessions stay */
};
struct scenario_phase {
    char name[BENCH_NAME_SIZE];
    uint32_t line;
    enum scenario_model model;
    struct schedule schedule;      /* OPEN; its seed is drawn from the scenario's and the phase's name */
    uint32_t users_from, users_to; /* USERS: grows or falls linearly over `ramp_ns` */
    int64_t ramp_ns;
    struct words_range think; /* between a user's flows; pacing_ns 0 */
    int64_t pacing_ns;        /* a user begins a flow every so often, if the last one is over */
    uint64_t iterations_max;  /* ends the phase after so many flows; 0: only the time does */
    int64_t duration_ns;      /* 0: until the iterations are over */
    uint64_t after;           /* bit i: begins when phase i has ended; 0: at the start */
    int64_t after_delay_ns;
    uint32_t flows;      /* bit i: flow i takes part */
    bool is_discarded;   /* warm-up: its numbers are shown but belong to no total */
    uint32_t shed_above; /* OPEN: arrivals are shed while so many wait for a connection; 0: never */
};

enum scenario_fault_action {
    FAULT_KILL,      /* SIGKILL; started again after for_ns when that is given */
    FAULT_STOP,      /* SIGTERM, in order; started again after for_ns when that is given */
    FAULT_FREEZE,    /* SIGSTOP for for_ns */
    FAULT_RESTART,   /* SIGTERM, and started again when it has ended */
    FAULT_DELAY,     /* proxy: each direction */
    FAULT_CUT,       /* proxy: connections are broken; new ones are refused for for_ns */
    FAULT_BLACKHOLE, /* proxy: nothing passes, nothing is closed */
    FAULT_LOSS,      /* proxy: a share of the connections is reset as data comes */
    FAULT_BANDWIDTH, /* proxy: bytes a second */
    FAULT_FILL_DISK,
    FAULT_LIMIT_MEMORY
};
struct scenario_fault {
    enum scenario_fault_action action;
    char target[BENCH_NAME_SIZE]; /* of a start; of a group of nodes one may be named: node2 */
    char name[BENCH_NAME_SIZE];   /* what metrics call it: kill_hub, or what `as` says */
    uint32_t line;
    int64_t at_ns;            /* from the start of the phase, or of the run */
    int phase;                /* -1: of the run */
    int64_t for_ns, every_ns; /* again and again when every_ns > 0, until the phase ends */
    struct words_range delay;
    uint32_t loss_permille;
    uint64_t bytes; /* a second, or in all */
};

enum scenario_start_kind { START_HUB, START_NODE, START_PROXY, START_EXEC };
struct scenario_start {
    enum scenario_start_kind kind;
    char name[BENCH_NAME_SIZE];
    uint32_t line;
    uint32_t count;               /* NODE: when above 1, they are name1, name2, … */
    char to[BENCH_NAME_SIZE];     /* PROXY: to whom; NODE: through which (a hub or a proxy) */
    struct scenario_text command; /* EXEC: a program of its own, ${port} in it; ready when the port answers */
    char settings[16][96];        /* HUB: key=value */
    uint32_t setting_count;
    char kinds[128]; /* NODE */
    uint32_t slots;
    uint64_t disk_bytes, memory_bytes; /* a file system, an address space of its own; 0: none */
};

struct scenario_gate {
    char text[160];
    uint32_t line;
    char metric[96];
    char op[3]; /* < <= > >= == ~ */
    double value;
    int64_t from_ns, to_ns; /* window in the phase of the metric, or in the run; to 0: the end */
};

struct scenario {
    char name[BENCH_NAME_SIZE], title[160];
    uint64_t seed;
    struct workload workload;
    bool has_workload;
    struct scenario_start starts[SCENARIO_STARTS_MAX];
    uint32_t start_count;
    char target[256];     /* URL, or the name of a start; "" : the first hub */
    uint32_t connections; /* of the open model; 0: as many as are needed, up to LIMIT_BENCH_CONNECTIONS */
    int64_t timeout_ns;
    int64_t sample_ns;
    char (*variables)[BENCH_NAME_SIZE]; /* owned */
    uint32_t variable_count;
    struct scenario_feed feeds[SCENARIO_FEEDS_MAX];
    uint32_t feed_count;
    struct scenario_flow *flows; /* owned; SCENARIO_FLOWS_MAX */
    uint32_t flow_count;
    struct scenario_phase phases[SCENARIO_PHASES_MAX];
    uint32_t phase_count;
    struct scenario_fault faults[SCENARIO_FAULTS_MAX];
    uint32_t fault_count;
    struct scenario_gate gates[SCENARIO_GATES_MAX];
    uint32_t gate_count;
    struct buf source; /* the file, for the report */
    void *memory;      /* of everything owned */
};

/* Reads a text. `folder` is where CSV, trace and body files are looked for; NULL: nowhere, naming one is a mistake. INVALID: ret_why is one
 * sentence that begins with "line L, column C: ". `defines` are NAME=VALUE, ended by NULL, that stand for $NAME in the text in place of
 * what `let NAME VALUE` says there; one that the text does not know is a mistake. Without phases a text is a mistake.
 * The struct is large: allocate it. On any failure it is empty and needs no scenario_free. */
STATUS_MUST_CHECK enum status scenario_parse(struct slice text, const char *folder, const char *const *defines,
                                             struct scenario *ret_scenario, char *ret_why, size_t why_size);
/* NOT_FOUND, TOO_LARGE, IO: the file, and ret_why says so. */
STATUS_MUST_CHECK enum status scenario_load(const char *path, const char *const *defines, struct scenario *ret_scenario,
                                            char *ret_why, size_t why_size);
void scenario_free(struct scenario *scenario);
/* The workload part of a scenario or workload file, for the simulator. All of the file is read and checked, but it needs no phases. */
STATUS_MUST_CHECK enum status scenario_load_workload(const char *path, struct workload *ret_workload, char *ret_why,
                                                     size_t why_size);
const char *scenario_fault_name(enum scenario_fault_action action); /* "fill-disk" */

#endif
