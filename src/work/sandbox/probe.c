/* probe.c - a node proves its own sandbox before it offers work in one.
 *
 * A kernel without some option, a container that takes rights away, a control group that counts but does not limit:
 * each would leave a limit that is written down and does not bite. So each is attacked once, through the very calls
 * that work goes through. The attacks are spread over the slots and run side by side, one at a time in a slot. */
#include "work/sandbox/probe.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "work/sandbox/attack.h"
#include "work/sandbox/process_tree.h"

#define LANES_MAX 4

static const char *const end_names[] = {
    [SANDBOX_EXITED] = "an exit of its own", [SANDBOX_SIGNALLED] = "a signal",
    [SANDBOX_TIME] = "the time limit",       [SANDBOX_MEMORY] = "the memory limit",
    [SANDBOX_OUTPUT] = "the output limit",   [SANDBOX_SECURITY] = "the filter",
    [SANDBOX_CANCELLED] = "a cancel",        [SANDBOX_FAULT] = "a fault of the machine"};

static const struct probe {
    const char *name;
    enum sandbox_end end; /* EXITED: with code 0 */
    const char *sentence; /* what is wrong when it ends differently */
} probes[] = {
    {"memory", SANDBOX_MEMORY, "the memory limit does not hold"},
    {"processes", SANDBOX_EXITED, "the limit of processes does not hold"},
    {"disk", SANDBOX_EXITED, "the limit of files does not hold"},
    {"cpu", SANDBOX_TIME, "the limit of processor time does not hold"},
    {"wall", SANDBOX_TIME, "the limit of wall time does not hold"},
    {"output", SANDBOX_OUTPUT, "the output limit does not hold"},
    {"network", SANDBOX_EXITED, "the network can be reached"},
    {"files", SANDBOX_EXITED, "files of the machine can be reached"},
    {"rights", SANDBOX_EXITED, "a program inside has rights it should not have"},
    {"survive", SANDBOX_EXITED, "processes survive the end of a run"},
    {"ptrace", SANDBOX_SECURITY, "the filter of system calls does not hold for ptrace"},
    {"namespace", SANDBOX_SECURITY, "the filter of system calls does not hold for namespaces"},
    {"mount", SANDBOX_SECURITY, "the filter of system calls does not hold for mount"},
};

struct lane {
    struct prover *prover;
    uint32_t slot;
    size_t probe; /* in progress */
    bool is_busy;
};

struct prover {
    struct sandbox_host *host;
    struct lane lanes[LANES_MAX];
    uint32_t lane_count;
    size_t next;
    bool has_failed;
    struct buf *why;
};

static void lane_go_on(struct lane *lane);

static void probe_done(void *ctx, const struct sandbox_result *result)
{
    struct lane *lane = ctx;
    struct prover *prover = lane->prover;
    const struct probe *probe = &probes[lane->probe];
    bool is_left = sandbox_host_is_root(prover->host) &&
                   process_tree_of_users(sandbox_host_slot_uid(prover->host, lane->slot), 1, 0) > 0;
    bool is_ok = result->end == probe->end && (result->end != SANDBOX_EXITED || result->exit_code == 0) && !is_left;
    if (!is_ok && !prover->has_failed) {
        prover->has_failed = true;
        struct slice text = result->end == SANDBOX_FAULT ? slice_str(result->fault) : result->out;
        while (text.len > 0 && text.data[text.len - 1] == '\n') {
            text.len--;
        }
        buf_printf(prover->why, "%s here", result->end == SANDBOX_FAULT ? "a sandbox cannot be made" : probe->sentence);
        if (text.len > 0 && text.len < 600 && result->end != SANDBOX_OUTPUT) {
            buf_printf(prover->why, ": %.*s", SLICE_ARG(text));
        }
        buf_printf(prover->why, " (probe %s ended by %s%s)", probe->name, end_names[result->end],
                   is_left ? ", with processes left" : "");
    }
    lane->is_busy = false;
    lane_go_on(lane);
}

static void lane_go_on(struct lane *lane)
{
    struct prover *prover = lane->prover;
    if (prover->has_failed || prover->next == ARRAY_COUNT(probes)) {
        return;
    }
    lane->probe = prover->next++;
    const char *argv[] = {"/shoal/init", ATTACK_OPTION, probes[lane->probe].name, NULL};
    /* small, so that the whole proof takes about a second */
    struct sandbox_spec spec = {
        .slot = lane->slot,
        .argv = argv,
        .stdin_fd = -1,
        .out_fd = -1,
        .limits = {.cpu_ms = 1000, .wall_ms = 5000, .mem_mib = 64, .procs = 16, .out_kib = 64, .fs_mib = 4}};
    if (strcmp(probes[lane->probe].name, "cpu") == 0) {
        spec.limits.cpu_ms = 100;
    }
    if (strcmp(probes[lane->probe].name, "wall") == 0) {
        spec.limits.wall_ms = 100;
    }
    struct sandbox_run *run;
    if (sandbox_start(prover->host, &spec, probe_done, lane, &run) != STATUS_OK) {
        if (!prover->has_failed) {
            buf_printf(prover->why, "a sandbox cannot be started: %s", strerror(errno));
        }
        prover->has_failed = true;
        return;
    }
    lane->is_busy = true;
}

static bool is_busy(const struct prover *prover)
{
    for (uint32_t i = 0; i < prover->lane_count; i++) {
        if (prover->lanes[i].is_busy) {
            return true;
        }
    }
    return false;
}

enum status sandbox_probe(struct sandbox_host *host, uv_loop_t *loop, struct buf *facts, struct buf *ret_why)
{
    int64_t start_ns = clock_mono_ns();
    struct prover prover = {.host = host, .why = ret_why, .lane_count = sandbox_host_slots(host)};
    if (prover.lane_count > LANES_MAX) {
        prover.lane_count = LANES_MAX;
    }
    for (uint32_t i = 0; i < prover.lane_count; i++) {
        prover.lanes[i] = (struct lane){.prover = &prover, .slot = i};
        lane_go_on(&prover.lanes[i]);
    }
    while (is_busy(&prover)) {
        uv_run(loop, UV_RUN_ONCE);
    }
    if (prover.has_failed) {
        return STATUS_UNSUPPORTED_HOST;
    }
    buf_printf(facts, "{\"passed\":%zu,\"ms\":%lld}", ARRAY_COUNT(probes),
               (long long)((clock_mono_ns() - start_ns) / NS_PER_MS));
    return STATUS_OK;
}
