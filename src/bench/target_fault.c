/* target_fault.c - what is done to a run's processes and lines, and how it is taken back.
 *
 * A fault with a duration leaves a struct target_undo behind: a timer that takes it back. A process that was killed or stopped for a
 * while is taken back by starting it, which is told only when it is ready. */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "bench/target_internal.h"

struct target_undo {
    struct target_undo *next, **previous;
    struct target *target;
    const struct scenario_fault *fault;
    uv_timer_t timer;
};

static enum status set_memory_limit(const struct target *target, uint64_t bytes)
{
    struct rlimit limit;
    if (prlimit(target->pid, RLIMIT_DATA, NULL, &limit) != 0) {
        return STATUS_FAILED;
    }
    limit.rlim_cur = bytes > 0 && bytes < limit.rlim_max ? bytes : limit.rlim_max;
    return prlimit(target->pid, RLIMIT_DATA, &limit, NULL) == 0 ? STATUS_OK : STATUS_FAILED;
}

/* Starts it again as soon as it is down. */
static enum status start_again(struct target *target, const struct scenario_fault *fault, char *ret_why,
                               size_t why_size)
{
    target->told_when_ready = fault;
    if (target->pid == 0) {
        return target_start_process(target, ret_why, why_size);
    }
    target->starts_again = true;
    return STATUS_OK;
}

static void undo_proxy(struct target *target, const struct scenario_fault *fault)
{
    enum status status = STATUS_OK;
    switch (fault->action) {
    case FAULT_DELAY:
        proxy_set_delay(target->proxy, (struct words_range){0, 0});
        break;
    case FAULT_LOSS:
        proxy_set_loss(target->proxy, 0);
        break;
    case FAULT_BANDWIDTH:
        proxy_set_bandwidth(target->proxy, 0);
        break;
    case FAULT_BLACKHOLE:
        proxy_set_blackhole(target->proxy, false);
        break;
    case FAULT_CUT:
        status = proxy_set_cut(target->proxy, false);
        break;
    default:
        break;
    }
    if (status != STATUS_OK && target->all->callbacks.on_exit != NULL) {
        target->all->callbacks.on_exit(target->all->callbacks.ctx, target->name, -1, 0);
    }
}

static void take_back(struct target *target, const struct scenario_fault *fault)
{
    char why[256];
    if (target->proxy != NULL) {
        undo_proxy(target, fault);
    } else if (fault->action == FAULT_KILL || fault->action == FAULT_STOP) {
        if (start_again(target, fault, why, sizeof(why)) != STATUS_OK && target->all->callbacks.on_exit != NULL) {
            target->all->callbacks.on_exit(target->all->callbacks.ctx, target->name, -1, 0);
        }
        return; /* told once it is ready */
    } else if (fault->action == FAULT_FREEZE && target->pid > 0) {
        child_signal(target->pid, SIGCONT);
    } else if (fault->action == FAULT_FILL_DISK) {
        child_disk_clear(&target->disk);
    } else if (fault->action == FAULT_LIMIT_MEMORY && target->pid > 0) {
        enum status status = set_memory_limit(target, target->start->memory_bytes);
        (void)status; /* it may have died of it */
    }
    target_tell_fault(target->all, fault, false);
}

static void on_undo_closed(uv_handle_t *handle)
{
    struct target_undo *undo = handle->data;
    undo->target->all->handles--;
    free(undo);
}

static void close_undo(struct target_undo *undo)
{
    *undo->previous = undo->next;
    if (undo->next != NULL) {
        undo->next->previous = undo->previous;
    }
    uv_close((uv_handle_t *)&undo->timer, on_undo_closed);
}

static void on_undo(uv_timer_t *timer)
{
    struct target_undo *undo = timer->data;
    struct target *target = undo->target;
    const struct scenario_fault *fault = undo->fault;
    close_undo(undo);
    take_back(target, fault);
}

static enum status undo_later(struct target *target, const struct scenario_fault *fault)
{
    struct targets *targets = target->all;
    struct target_undo *undo = calloc(1, sizeof(*undo));
    if (undo == NULL) {
        return STATUS_NO_MEMORY;
    }
    *undo = (struct target_undo){.target = target, .fault = fault, .next = targets->undos, .previous = &targets->undos};
    if (undo->next != NULL) {
        undo->next->previous = &undo->next;
    }
    targets->undos = undo;
    targets->handles++;
    ensure(uv_timer_init(&targets->loop->uv, &undo->timer) == 0);
    undo->timer.data = undo;
    uv_update_time(&targets->loop->uv);
    uv_timer_start(&undo->timer, on_undo, (uint64_t)((fault->for_ns + NS_PER_MS - 1) / NS_PER_MS), 0);
    return STATUS_OK;
}

static enum status fault_proxy(struct target *target, const struct scenario_fault *fault, char *ret_why,
                               size_t why_size)
{
    switch (fault->action) {
    case FAULT_DELAY:
        proxy_set_delay(target->proxy, fault->delay);
        return STATUS_OK;
    case FAULT_LOSS:
        proxy_set_loss(target->proxy, fault->loss_permille);
        return STATUS_OK;
    case FAULT_BANDWIDTH:
        proxy_set_bandwidth(target->proxy, fault->bytes);
        return STATUS_OK;
    case FAULT_BLACKHOLE:
        proxy_set_blackhole(target->proxy, true);
        return STATUS_OK;
    case FAULT_CUT:
        return proxy_set_cut(target->proxy, true);
    default:
        break;
    }
    snprintf(ret_why, why_size, "%s is a proxy, and this fault is one of processes", target->name);
    return STATUS_INVALID;
}

static enum status fault_process(struct target *target, const struct scenario_fault *fault, char *ret_why,
                                 size_t why_size)
{
    enum status status = STATUS_OK;
    if (fault->action == FAULT_RESTART) {
        target->is_end_expected = true;
        if (target->pid > 0) {
            child_signal(target->pid, SIGTERM);
        }
        return start_again(target, fault, ret_why, why_size);
    }
    if (fault->action == FAULT_FILL_DISK) {
        if (target->disk.dir < 0) {
            snprintf(ret_why, why_size, "fill-disk needs a disk of its own: write \"start hub %s disk SIZE\"",
                     target->name);
            return STATUS_INVALID;
        }
        status = child_disk_fill(&target->disk, fault->bytes);
        if (status != STATUS_OK) {
            snprintf(ret_why, why_size, "the disk of %s cannot be filled", target->name);
        }
        return status;
    }
    if (target->pid == 0) {
        snprintf(ret_why, why_size, "%s does not run any more", target->name);
        return STATUS_NOT_FOUND;
    }
    switch (fault->action) {
    case FAULT_KILL:
        target->is_end_expected = true;
        child_signal(target->pid, SIGKILL);
        break;
    case FAULT_STOP:
        target->is_end_expected = true;
        child_signal(target->pid, SIGTERM);
        break;
    case FAULT_FREEZE:
        child_signal(target->pid, SIGSTOP);
        break;
    case FAULT_LIMIT_MEMORY:
        status = set_memory_limit(target, fault->bytes);
        if (status != STATUS_OK) {
            snprintf(ret_why, why_size, "the memory of %s cannot be limited: %s", target->name, strerror(errno));
        }
        break;
    default:
        snprintf(ret_why, why_size, "%s is a process, and this fault is one of proxies: put a proxy in front of it",
                 target->name);
        return STATUS_INVALID;
    }
    return status;
}

enum status targets_fault(struct targets *targets, const struct scenario_fault *fault, char *ret_why, size_t why_size)
{
    bool is_any = false;
    for (uint32_t i = 0; i < targets->count; i++) {
        struct target *target = targets->list[i];
        /* "node" is all of node1, node2, … */
        if (strcmp(target->name, fault->target) != 0 && strcmp(target->start->name, fault->target) != 0) {
            continue;
        }
        enum status status = target->proxy != NULL ? fault_proxy(target, fault, ret_why, why_size)
                                                   : fault_process(target, fault, ret_why, why_size);
        if (status == STATUS_OK && fault->for_ns > 0 && fault->action != FAULT_RESTART) {
            status = undo_later(target, fault);
        }
        if (status != STATUS_OK) {
            return status;
        }
        is_any = true;
    }
    if (!is_any) {
        snprintf(ret_why, why_size, "nothing with the name %s was started", fault->target);
        return STATUS_NOT_FOUND;
    }
    target_tell_fault(targets, fault, true);
    return STATUS_OK;
}

void target_drop_undos(struct targets *targets)
{
    while (targets->undos != NULL) {
        close_undo(targets->undos);
    }
}
