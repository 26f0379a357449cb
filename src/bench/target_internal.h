/* target_internal.h - what the files of target.h share: one thing that a scenario started. */
#ifndef SHOAL_BENCH_TARGET_INTERNAL_H
#define SHOAL_BENCH_TARGET_INTERNAL_H

#include <limits.h>
#include <sys/types.h>

#include "bench/child.h"
#include "bench/proxy.h"
#include "bench/target.h"

#define TARGET_READY_MS 30000 /* a hub that recovers a large journal is not what is started here */
#define TARGET_WHY_SIZE 800
#define TARGETS_MAX 1024 /* processes and proxies of a run */

enum target_state { DOWN, STARTING, READY };

struct target {
    struct targets *all;
    const struct scenario_start *start;
    char name[BENCH_NAME_SIZE];
    char url[64];
    uint16_t port;
    struct proxy *proxy; /* PROXY */

    /* processes */
    enum target_state state;
    pid_t pid;
    int64_t deadline_ns; /* of its start */
    char data[PATH_MAX], log[PATH_MAX];
    off_t log_from; /* what it wrote since it was started last */
    struct child_disk disk;
    bool is_end_expected;
    bool starts_again; /* as soon as it has ended */
    const struct scenario_fault *told_when_ready;
    char why[TARGET_WHY_SIZE]; /* of a start that failed */
};

struct targets {
    struct loop *loop;
    const struct scenario *scenario;
    const char *program, *scratch;
    struct targets_callbacks callbacks;
    struct keeper keeper;
    struct target *list[TARGETS_MAX]; /* owned */
    uint32_t count;
    struct target_undo *undos;
    uv_timer_t tick; /* runs while something starts or ends */
    int handles;     /* not closed yet, proxies included */
    bool is_stopping;
};

void target_tell_fault(struct targets *targets, const struct scenario_fault *fault, bool is_begin);
/* By name; NULL when there is none. */
struct target *target_find(const struct targets *targets, const char *name);
/* What its start goes to: the one it names, or the first hub. NULL after ret_why says what is missing. */
struct target *target_destination(const struct target *target, char *ret_why, size_t why_size);

/* --- target_process.c --- */
/* Runs the timer that looks after processes which start or end. */
void target_tick_soon(struct targets *targets);
void target_on_tick(uv_timer_t *timer);
STATUS_MUST_CHECK enum status target_start_process(struct target *target, char *ret_why, size_t why_size);

/* --- target_fault.c --- */
/* Forgets what would be taken back later. */
void target_drop_undos(struct targets *targets);

#endif
