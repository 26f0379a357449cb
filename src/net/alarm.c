/* alarm.c - one heap, one timerfd.
 *
 * Deadlines of requests are set 100,000 times a second and hardly ever pass. So moving an alarm to a later time touches no
 * heap: the heap looks at the alarm when the earlier time has come, finds that it wants to wait, and sorts it in anew. Only
 * an earlier time moves it at once. Every alarm is in the heap from open to close (never is a time too), so setting
 * one cannot fail.
 *
 * The timerfd is set in a prepare hook, right before the loop waits, and only when the top of the heap has changed. Hooks that
 * start later run earlier in libuv, so what alarms queue for the end of the turn (loop_flush_soon) is flushed in the same
 * prepare round, by loop.c's hook.
 *
 * Invariants: (A1) armed_ns <= wanted_ns; (A2) the heap is ordered by armed_ns; (A3) table[id].alarm is the alarm or NULL. */
#include "net/alarm.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/heap.h"

/* What libuv takes from the kernel at a time; under load it does so many times before it runs its other hooks. */
#define BATCH_MAX 1024u

struct slot {
    struct alarm *alarm; /* NULL: the id is free */
};

struct alarms {
    struct heap heap;
    struct slot *table; /* owned; by id */
    uint32_t *free_ids; /* owned; ids below len that are not in use */
    uint32_t len, cap, free_count;
    int64_t programmed_ns;                 /* what the timerfd is set to; INT64_MIN: it has fired or was never set */
    int64_t batch_begin_ns, batch_last_ns; /* when its first and its latest event were handled; 0: none yet */
    uint32_t batch_count;
    void (*on_batch)(void *ctx, int64_t waited_ns);
    void *batch_ctx;
    int fd;
    uv_poll_t poll;
    uv_prepare_t prepare;
    uint32_t handles_open;
};

static bool is_before(void *ctx, uint32_t a, uint32_t b)
{
    const struct alarms *alarms = ctx;
    return alarms->table[a].alarm->armed_ns < alarms->table[b].alarm->armed_ns;
}

static void set_position(void *ctx, uint32_t item, uint32_t position)
{
    struct alarms *alarms = ctx;
    alarms->table[item].alarm->position = position;
}

int64_t alarms_next_ns(const struct alarms *alarms)
{
    uint32_t top = heap_top(&alarms->heap);
    return top != HEAP_NONE ? alarms->table[top].alarm->armed_ns : ALARM_NEVER;
}

static void rearm(struct alarm *alarm, int64_t at_ns)
{
    alarm->armed_ns = at_ns;
    heap_fix(&alarm->alarms->heap, alarm->position);
}

void alarms_run(struct alarms *alarms, int64_t now_ns)
{
    /* One that sets itself to a past time again has to wait for the next round, or sockets would never get theirs. */
    for (uint32_t left = alarms->heap.len; left > 0 && alarms_next_ns(alarms) <= now_ns; left--) {
        struct alarm *alarm = alarms->table[heap_top(&alarms->heap)].alarm;
        if (alarm->wanted_ns > now_ns) {
            rearm(alarm, alarm->wanted_ns);
            continue;
        }
        alarm->wanted_ns = ALARM_NEVER;
        rearm(alarm, ALARM_NEVER);
        alarm->run(alarm, now_ns);
    }
}

static void end_batch(struct alarms *alarms)
{
    if (alarms->batch_begin_ns != 0 && alarms->on_batch != NULL) {
        alarms->on_batch(alarms->batch_ctx, alarms->batch_last_ns - alarms->batch_begin_ns);
    }
    alarms->batch_begin_ns = 0;
    alarms->batch_count = 0;
}

void alarms_look(struct alarms *alarms, int64_t now_ns)
{
    if (alarms->batch_begin_ns == 0) {
        alarms->batch_begin_ns = now_ns;
    }
    alarms->batch_last_ns = now_ns;
    if (++alarms->batch_count == BATCH_MAX) {
        end_batch(alarms);
    }
    if (alarms_next_ns(alarms) <= now_ns) {
        alarms_run(alarms, now_ns);
    }
}

void alarms_watch(struct alarms *alarms, void (*on_batch)(void *ctx, int64_t waited_ns), void *ctx)
{
    alarms->on_batch = on_batch;
    alarms->batch_ctx = ctx;
}

static void on_timer(uv_poll_t *poll, int status, int events)
{
    struct alarms *alarms = poll->data;
    (void)status;
    (void)events;
    alarms->programmed_ns = INT64_MIN;
    alarms_run(alarms, clock_mono_ns());
}

static void on_prepare(uv_prepare_t *prepare)
{
    struct alarms *alarms = prepare->data;
    end_batch(alarms);
    int64_t next_ns = alarms_next_ns(alarms);
    if (next_ns != ALARM_NEVER) {
        int64_t now_ns = clock_mono_ns();
        if (next_ns <= now_ns) {
            alarms_run(alarms, now_ns);
            next_ns = alarms_next_ns(alarms);
        }
    }
    if (next_ns == alarms->programmed_ns) {
        return;
    }
    struct itimerspec when = {0}; /* all zero: never */
    if (next_ns != ALARM_NEVER) {
        int64_t at_ns = next_ns > 1 ? next_ns : 1;
        when.it_value.tv_sec = (time_t)(at_ns / NS_PER_S);
        when.it_value.tv_nsec = (long)(at_ns % NS_PER_S);
    }
    ensure(timerfd_settime(alarms->fd, TFD_TIMER_ABSTIME, &when, NULL) == 0);
    alarms->programmed_ns = next_ns;
}

enum status alarms_new(struct loop *loop, struct alarms **ret_alarms)
{
    struct alarms *alarms = calloc(1, sizeof(*alarms));
    if (alarms == NULL) {
        return STATUS_NO_MEMORY;
    }
    alarms->fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    int error = alarms->fd < 0 ? -errno : uv_poll_init(&loop->uv, &alarms->poll, alarms->fd);
    if (error != 0) {
        if (alarms->fd >= 0) {
            close(alarms->fd);
        }
        free(alarms);
        return status_of_uv(error);
    }
    alarms->programmed_ns = INT64_MIN;
    heap_init(&alarms->heap, is_before, set_position, alarms);
    alarms->poll.data = alarms->prepare.data = alarms;
    uv_poll_start(&alarms->poll, UV_READABLE, on_timer);
    uv_prepare_init(&loop->uv, &alarms->prepare);
    uv_prepare_start(&alarms->prepare, on_prepare);
    uv_unref((uv_handle_t *)&alarms->prepare);
    alarms->handles_open = 2;
    *ret_alarms = alarms;
    return STATUS_OK;
}

static void on_closed(uv_handle_t *handle)
{
    struct alarms *alarms = handle->data;
    if (--alarms->handles_open == 0) {
        free(alarms);
    }
}

void alarms_free(struct alarms *alarms)
{
    if (alarms == NULL) {
        return;
    }
    ensure(alarms->heap.len == 0);
    uv_close((uv_handle_t *)&alarms->poll, on_closed);
    uv_close((uv_handle_t *)&alarms->prepare, on_closed);
    close(alarms->fd);
    heap_free(&alarms->heap);
    free(alarms->table);
    free(alarms->free_ids);
}

static bool grow(struct alarms *alarms)
{
    uint32_t cap = alarms->cap > 0 ? 2 * alarms->cap : 64;
    struct slot *table = realloc(alarms->table, cap * sizeof(*table));
    if (table == NULL) {
        return false;
    }
    alarms->table = table;
    uint32_t *free_ids = realloc(alarms->free_ids, cap * sizeof(*free_ids));
    if (free_ids == NULL) {
        return false;
    }
    alarms->free_ids = free_ids;
    alarms->cap = cap;
    return true;
}

enum status alarm_open(struct alarms *alarms, struct alarm *alarm, void (*run)(struct alarm *alarm, int64_t now_ns))
{
    if (alarms->free_count == 0 && alarms->len == alarms->cap && !grow(alarms)) {
        return STATUS_NO_MEMORY;
    }
    uint32_t id = alarms->free_count > 0 ? alarms->free_ids[alarms->free_count - 1] : alarms->len;
    *alarm = (struct alarm){.run = run, .alarms = alarms, .wanted_ns = ALARM_NEVER, .armed_ns = ALARM_NEVER, .id = id};
    alarms->table[id].alarm = alarm;
    if (!heap_push(&alarms->heap, id)) {
        alarms->table[id].alarm = NULL;
        alarm->alarms = NULL;
        return STATUS_NO_MEMORY;
    }
    if (alarms->free_count > 0) {
        alarms->free_count--;
    } else {
        alarms->len++;
    }
    return STATUS_OK;
}

void alarm_close(struct alarm *alarm)
{
    struct alarms *alarms = alarm->alarms;
    if (alarms == NULL) {
        return;
    }
    heap_remove(&alarms->heap, alarm->position);
    alarms->table[alarm->id].alarm = NULL;
    alarms->free_ids[alarms->free_count++] = alarm->id;
    alarm->alarms = NULL;
}

void alarm_set(struct alarm *alarm, int64_t at_ns)
{
    alarm->wanted_ns = at_ns;
    if (at_ns < alarm->armed_ns) {
        rearm(alarm, at_ns);
    }
}
