/* target.c - the hub, the nodes and the lines of a run.
 *
 * Everything that is started is a `struct target`: a process (target_process.c) or a proxy (proxy.c). They start in the
 * order of who needs whom, and end in the reverse one. What is done to them meanwhile is in target_fault.c. */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "bench/target_internal.h"

#define STOP_MS 5000

void target_tell_fault(struct targets *targets, const struct scenario_fault *fault, bool is_begin)
{
    if (targets->callbacks.on_fault != NULL && !targets->is_stopping) {
        targets->callbacks.on_fault(targets->callbacks.ctx, fault, is_begin);
    }
}

struct target *target_find(const struct targets *targets, const char *name)
{
    for (uint32_t i = 0; i < targets->count; i++) {
        if (strcmp(targets->list[i]->name, name) == 0) {
            return targets->list[i];
        }
    }
    return NULL;
}

static struct target *first_hub(const struct targets *targets)
{
    for (uint32_t i = 0; i < targets->count; i++) {
        if (targets->list[i]->start->kind == START_HUB) {
            return targets->list[i];
        }
    }
    return NULL;
}

struct target *target_destination(const struct target *target, char *ret_why, size_t why_size)
{
    const struct targets *targets = target->all;
    const struct scenario_start *start = target->start;
    struct target *to = start->to[0] != '\0' ? target_find(targets, start->to) : first_hub(targets);
    if (to == NULL || to->port == 0) {
        if (start->to[0] != '\0') {
            snprintf(ret_why, why_size, "nothing with the name %s is started before %s", start->to, start->name);
        } else {
            snprintf(ret_why, why_size, "%s needs a hub to go to: start one, or name what it goes to", start->name);
        }
        return NULL;
    }
    return to;
}

/* --- starting everything --- */

static void on_proxy_closed(void *ctx)
{
    struct targets *targets = ctx;
    targets->handles--;
}

static enum status start_proxy(struct target *target, char *ret_why, size_t why_size)
{
    struct targets *targets = target->all;
    struct target *to = target_destination(target, ret_why, why_size);
    if (to == NULL) {
        return STATUS_INVALID;
    }
    uint64_t seed = targets->scenario->seed ^ target->start->line;
    enum status status = proxy_start(targets->loop, to->port, seed, &target->proxy);
    if (status != STATUS_OK) {
        snprintf(ret_why, why_size, "cannot start the proxy %s: %s", target->name, status_title(status));
        return status;
    }
    targets->handles++;
    target->state = READY;
    target->port = proxy_port(target->proxy);
    snprintf(target->url, sizeof(target->url), "http://127.0.0.1:%u", target->port);
    return STATUS_OK;
}

static enum status add_target(struct targets *targets, const struct scenario_start *start, uint32_t number)
{
    struct target *target = targets->count < TARGETS_MAX ? calloc(1, sizeof(*target)) : NULL;
    if (target == NULL) {
        return STATUS_NO_MEMORY;
    }
    targets->list[targets->count++] = target;
    *target = (struct target){.all = targets, .start = start, .state = DOWN};
    child_disk_init(&target->disk);
    if (number > 0) {
        snprintf(target->name, sizeof(target->name), "%.*s%" PRIu32, (int)sizeof(target->name) - 12, start->name,
                 number);
    } else {
        snprintf(target->name, sizeof(target->name), "%s", start->name);
    }
    snprintf(target->data, sizeof(target->data), "%s/%s", targets->scratch, target->name);
    snprintf(target->log, sizeof(target->log), "%s/%s.log", targets->scratch, target->name);
    return mkdir(target->data, 0700) == 0 || errno == EEXIST ? STATUS_OK : STATUS_IO;
}

/* Runs the loop until all that start are ready. */
static enum status wait_ready(struct targets *targets, char *ret_why, size_t why_size)
{
    for (;;) {
        bool is_waiting = false;
        for (uint32_t i = 0; i < targets->count; i++) {
            const struct target *target = targets->list[i];
            is_waiting = is_waiting || target->state == STARTING;
            if (target->state == DOWN && target->why[0] != '\0') {
                snprintf(ret_why, why_size, "%s", target->why);
                return STATUS_FAILED;
            }
        }
        if (!is_waiting) {
            return STATUS_OK;
        }
        if (targets->callbacks.is_interrupted != NULL && *targets->callbacks.is_interrupted) {
            snprintf(ret_why, why_size, "it was interrupted while it started");
            return STATUS_INTERRUPTED;
        }
        uv_run(&targets->loop->uv, UV_RUN_ONCE);
    }
}

static enum status start_kind(struct targets *targets, enum scenario_start_kind kind, char *ret_why, size_t why_size)
{
    enum status status = STATUS_OK;
    for (uint32_t i = 0; i < targets->scenario->start_count && status == STATUS_OK; i++) {
        const struct scenario_start *start = &targets->scenario->starts[i];
        if (start->kind != kind) {
            continue;
        }
        for (uint32_t n = 1; n <= (start->count > 1 ? start->count : 1) && status == STATUS_OK; n++) {
            status = add_target(targets, start, start->count > 1 ? n : 0);
            if (status != STATUS_OK) {
                if (status == STATUS_NO_MEMORY) {
                    snprintf(ret_why, why_size, "there is no memory for it, or more than %d are started", TARGETS_MAX);
                } else {
                    snprintf(ret_why, why_size, "cannot make a folder in %s", targets->scratch);
                }
                return status;
            }
            struct target *target = targets->list[targets->count - 1];
            status = kind == START_PROXY ? start_proxy(target, ret_why, why_size)
                                         : target_start_process(target, ret_why, why_size);
        }
    }
    return status;
}

enum status targets_start(struct loop *loop, const struct scenario *scenario, const char *program, const char *scratch,
                          const struct targets_callbacks *callbacks, struct targets **ret_targets, char *ret_why,
                          size_t why_size)
{
    struct targets *targets = calloc(1, sizeof(*targets));
    if (targets == NULL) {
        snprintf(ret_why, why_size, "%s", status_title(STATUS_NO_MEMORY));
        return STATUS_NO_MEMORY;
    }
    *targets = (struct targets){.loop = loop,
                                .scenario = scenario,
                                .program = program,
                                .scratch = scratch,
                                .callbacks = *callbacks,
                                .keeper = {.pipe = -1},
                                .handles = 1};
    ensure(uv_timer_init(&loop->uv, &targets->tick) == 0);
    targets->tick.data = targets;
    enum status status = scenario->start_count > 0 ? keeper_start(&targets->keeper) : STATUS_OK;
    if (status != STATUS_OK) {
        snprintf(ret_why, why_size, "cannot start a process: %s", status_title(status));
    }
    /* Nodes go to hubs or through proxies, proxies to hubs or programs. */
    static const enum scenario_start_kind order[] = {START_HUB, START_EXEC, START_PROXY, START_NODE};
    for (size_t i = 0; i < ARRAY_COUNT(order) && status == STATUS_OK; i++) {
        status = start_kind(targets, order[i], ret_why, why_size);
        if (status == STATUS_OK && order[i] != START_HUB) {
            status = wait_ready(targets, ret_why, why_size);
        }
    }
    if (status == STATUS_OK) {
        *ret_targets = targets;
    } else {
        targets_stop(targets);
    }
    return status;
}

const char *targets_url(const struct targets *targets, const char *name)
{
    const struct target *target = name[0] != '\0' ? target_find(targets, name) : first_hub(targets);
    return target != NULL && target->url[0] != '\0' ? target->url : NULL;
}

const char *targets_process(const struct targets *targets, uint32_t index, int *ret_pid)
{
    for (uint32_t i = 0; i < targets->count; i++) {
        if (targets->list[i]->start->kind == START_PROXY) {
            continue;
        }
        if (index-- == 0) {
            *ret_pid = targets->list[i]->pid;
            return targets->list[i]->name;
        }
    }
    return NULL;
}

/* --- the end --- */

static void on_tick_closed(uv_handle_t *handle)
{
    struct targets *targets = handle->data;
    targets->handles--;
}

/* Ends the processes of a kind, gently and then less so. */
static void end_processes(struct targets *targets, bool are_nodes)
{
    int64_t start_ns = clock_mono_ns();
    int sent = 0; /* SIGTERM, SIGTERM again (a node then gives its work back at once), SIGKILL */
    static const int64_t after_ms[] = {0, STOP_MS / 5, STOP_MS};
    for (;;) {
        bool are_left = false;
        bool is_time = sent < 3 && clock_mono_ns() >= start_ns + after_ms[sent] * NS_PER_MS;
        for (uint32_t i = 0; i < targets->count; i++) {
            struct target *target = targets->list[i];
            if (target->pid == 0 || (target->start->kind == START_NODE) != are_nodes) {
                continue;
            }
            are_left = true;
            if (is_time) {
                child_signal(target->pid, SIGCONT); /* what is frozen hears nothing */
                child_signal(target->pid, sent < 2 ? SIGTERM : SIGKILL);
            }
        }
        if (!are_left) {
            return;
        }
        sent += is_time;
        target_tick_soon(targets);
        uv_run(&targets->loop->uv, UV_RUN_ONCE);
    }
}

void targets_stop(struct targets *targets)
{
    targets->is_stopping = true;
    target_drop_undos(targets);
    end_processes(targets, true);
    end_processes(targets, false);
    for (uint32_t i = 0; i < targets->count; i++) {
        if (targets->list[i]->proxy != NULL) {
            proxy_close(TAKE(targets->list[i]->proxy), on_proxy_closed, targets);
        }
    }
    uv_close((uv_handle_t *)&targets->tick, on_tick_closed);
    while (targets->handles > 0) {
        uv_run(&targets->loop->uv, UV_RUN_ONCE);
    }
    keeper_stop(&targets->keeper);
    for (uint32_t i = 0; i < targets->count; i++) {
        child_disk_free(&targets->list[i]->disk);
        free(targets->list[i]);
    }
    free(targets);
}
