/* agent_internal.h - the agent's parts: agent.c has the session, agent_jobs.c what runs. Nobody else includes it. */
#ifndef SHOAL_NODE_AGENT_INTERNAL_H
#define SHOAL_NODE_AGENT_INTERNAL_H

#include <assert.h>

#include "base/clock.h"
#include "base/mutation.h"
#include "base/rng.h"
#include "node/agent.h"

/* A restarted hub gives its nodes LIMIT_LOST_MS to come back; the longest pause must leave room for a second try. */
#define BACKOFF_MIN_MS 100
#define BACKOFF_MAX_MS 1000
static_assert(BACKOFF_MAX_MS * 2 < LIMIT_LOST_MS, "a restarted hub must find its nodes within its grace");
#define CONNECT_MS 2000
#define WELCOME_MS 10000             /* a hub that is recovering a long journal may take a while */
#define PROGRESS_MS 1000             /* the quickest that progress is passed on */
#define REPORT_SIZE_MAX (256u << 10) /* bytes of outcomes in one report; well below LIMIT_ENTRY_SIZE */
#define RELEASE_MS 5000              /* after drain_ms: time to stop runs and give them back */
#define KILL_MS 2000
#define SAY_OFFLINE_EVERY_NS (30 * NS_PER_S)

enum agent_state { AGENT_OFFLINE, AGENT_CONNECTING, AGENT_GREETING, AGENT_ONLINE, AGENT_LEAVING };

enum job_state { JOB_RUNNING, JOB_STOPPING, JOB_FINISHED };

/* Why a job is being stopped. */
enum job_end { END_ITSELF, END_DROPPED, END_TIMED_OUT, END_RELEASED };

struct job {
    uint32_t magic;
    struct job *next;
    struct agent *agent;
    const struct agent_kind *kind;
    struct lease_token token;
    uint32_t slot;
    struct work_run *run;
    enum job_state state;
    enum job_end end;
    int64_t lease_ms, timeout_ms;
    int64_t extend_due_ns, progress_due_ns, timeout_due_ns; /* INT64_MAX: never */
    uint64_t report_number; /* FINISHED: the report of this connection that carries it; 0: none yet */
    struct buf outcome;     /* FINISHED: its JSON */
};

struct agent {
    uint32_t magic;
    struct agent_port port;
    struct agent_config config;
    enum agent_state state;
    bool has_connection; /* agent_on_closed is to come */
    struct rng rng;
    uint32_t backoff_ms;
    int64_t said_offline_ns;
    bool was_welcomed;
    enum status said_refused; /* of the last hello that was refused; OK: said none since the last welcome */
    int64_t beat_ms, lost_ms;
    int64_t heard_ns; /* when the hub last said anything on this connection */

    struct job *jobs; /* newest first */
    uint32_t job_count;
    bool *slot_used;
    uint32_t free_slots;
    uint32_t credit_at_hub; /* granted and not used by a lease yet */
    uint32_t credit_unsaid; /* slots that became free since the last grant */

    struct buf notes; /* extend and progress outcomes for the next report, comma-separated */
    struct buf list;  /* outcomes of the report being written */
    struct buf text;  /* message being written */
    struct buf payload;
    uint64_t reports_sent, reports_answered; /* on this connection */

    bool is_draining, is_killed;
    int64_t drain_due_ns, end_due_ns; /* INT64_MAX: never */
    bool is_overdue;                  /* end_due_ns has passed */
    bool is_ending;                   /* on_ended will follow */
    bool is_leaving_world;            /* agent_on_ended is to come */
    enum status end_status;
    char end_why[256];

    struct json_parser *parser;        /* of the hub's messages */
    struct json_parser *result_parser; /* of launchers' results: `done` may come while a message is being read */
    struct work_answer *answer;
    struct agent_stats stats;
};

static inline int64_t agent_now_ns(const struct agent *agent)
{
    return agent->port.mono_ns(agent->port.ctx);
}

static inline void agent_set_timer(struct agent *agent, enum agent_timer timer, int64_t wait_ms)
{
    agent->port.set_timer(agent->port.ctx, timer, wait_ms);
}

static inline uint32_t agent_runs(const struct agent *agent)
{
    return agent->config.slots - agent->free_slots;
}

static inline bool agent_takes_work(const struct agent *agent)
{
    return (!agent->is_draining || MUTATION(agent_works_on)) && !agent->is_ending;
}

/* Something has to be said, or an end may have come: looked at before the loop waits again. */
void agent_mark_dirty(struct agent *agent);
/* Whether a drain, a kill or an end has come to its aim or to its deadline. */
void agent_check_end(struct agent *agent);

/* --- agent_jobs.c --- */
struct job *agent_job_find(struct agent *agent, const struct lease_token *token);
void agent_job_free(struct job *job);
/* Asks the launcher to stop; nothing for a finished job. The job may be finished or gone when this returns, others
 * are not touched. */
void agent_job_stop(struct job *job, enum job_end end);
/* The hub holds the lease no more: whatever the job has come to is of no use. */
void agent_job_drop(struct job *job, const char *why);
/* A lease that the hub pushed: starts it, or gives it back. */
void agent_take_lease(struct agent *agent, const struct work_lease *lease);
void agent_on_work_timer(struct agent *agent);
/* Sets the work timer to whatever is due next. */
void agent_arm_work_timer(struct agent *agent);

#endif
