/* alarm.h - timers that are on time to some ten microseconds, for what measures.
 *
 * libuv counts whole milliseconds; a load generator that sends 20,000 requests a second needs better. Alarms are kept in
 * one heap and waited for with one timerfd. Whatever handles events on the same loop calls alarms_look with the
 * time it has read anyway, so that an alarm does not wait for a long turn of the loop to end. The loop's thread only. */
#ifndef SHOAL_NET_ALARM_H
#define SHOAL_NET_ALARM_H

#include <stdint.h>

#include "base/status.h"
#include "net/loop.h"

#define ALARM_NEVER INT64_MAX

struct alarms;

/* Part of whatever wants to be woken. */
struct alarm {
    void (*run)(struct alarm *alarm, int64_t now_ns);
    struct alarms *alarms; /* all below is of alarm.c; NULL before alarm_open and after alarm_close */
    int64_t wanted_ns;     /* when it is to run */
    int64_t armed_ns;      /* when the heap looks at it: wanted_ns, or earlier when that was put off since */
    uint32_t id, position;
};

STATUS_MUST_CHECK enum status alarms_new(struct loop *loop, struct alarms **ret_alarms);
/* All alarms are closed. Its handles close in the loop's next turn, which must come before loop_free returns. NULL is harmless. */
void alarms_free(struct alarms *alarms);
/* Makes it known, set to never. Everything that needs memory happens here. */
STATUS_MUST_CHECK enum status alarm_open(struct alarms *alarms, struct alarm *alarm,
                                         void (*run)(struct alarm *alarm, int64_t now_ns));
/* Before its memory goes; harmless when it is not open. */
void alarm_close(struct alarm *alarm);
/* Runs it once at a time of clock_mono_ns(), from the loop, never from inside this call; ALARM_NEVER takes that back. Putting an alarm off
 * costs nothing, which is what deadlines that hardly ever pass want. */
void alarm_set(struct alarm *alarm, int64_t at_ns);
/* When the heap wants to be looked at next. */
int64_t alarms_next_ns(const struct alarms *alarms);
/* Runs what is due. */
void alarms_run(struct alarms *alarms, int64_t now_ns);
/* For handlers of events that have just read the clock: runs what is due. */
void alarms_look(struct alarms *alarms, int64_t now_ns);
/* Tells after each batch of events how long its last one had to wait while the others were handled. A batch is what one
 * epoll_wait brings, 1,024 events at most. */
void alarms_watch(struct alarms *alarms, void (*on_batch)(void *ctx, int64_t waited_ns), void *ctx);

#endif
