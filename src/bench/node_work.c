/* node_work.c - leases of a simulated node: taken, waited out, reported.
 *
 *   lease ──▶ RUNS ── its time is over ──▶ FINISHED ── report ──▶ REPORTED ── "reported" ──▶ gone
 *              │ extended at half of its lease time              └── connection lost ──▶ FINISHED, said again
 *
 * As src/node/agent.c, whose rules these are: credit beyond the free slots is never given, reports are answered in order, an outcome is
 * kept until it is acknowledged, and outcomes of one turn of the loop share a report. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/limits.h"
#include "bench/nodes_internal.h"

#define REPORT_SIZE_MAX (LIMIT_WS_MESSAGE_SIZE / 4)
#define ATTEMPTS_DEFAULT 3 /* of a hub that was told nothing else */

static void on_job_alarm(struct alarm *alarm, int64_t now_ns);

static void link_job(struct sim_job *job, struct node_session *node)
{
    job->node = node;
    job->next = node->jobs;
    job->link = &node->jobs;
    if (job->next != NULL) {
        job->next->link = &job->next;
    }
    node->jobs = job;
    node->job_count++;
}

static void unlink_job(struct sim_job *job)
{
    struct nodes *nodes = job->node->nodes;
    alarm_set(&job->alarm, ALARM_NEVER);
    *job->link = job->next;
    if (job->next != NULL) {
        job->next->link = job->link;
    }
    job->node->job_count--;
    job->next = nodes->free_jobs;
    nodes->free_jobs = job;
}

static struct sim_job *new_job(struct node_session *node)
{
    struct nodes *nodes = node->nodes;
    struct sim_job *job = nodes->free_jobs;
    if (job != NULL) {
        nodes->free_jobs = job->next;
    } else {
        job = calloc(1, sizeof(*job));
        if (job == NULL || alarm_open(nodes->config.alarms, &job->alarm, on_job_alarm) != STATUS_OK) {
            free(job);
            return NULL;
        }
    }
    link_job(job, node);
    return job;
}

void node_jobs_free(struct nodes *nodes)
{
    for (uint32_t i = 0; i < nodes->count; i++) {
        while (nodes->list[i].jobs != NULL) {
            unlink_job(nodes->list[i].jobs);
        }
    }
    while (nodes->free_jobs != NULL) {
        struct sim_job *job = nodes->free_jobs;
        nodes->free_jobs = job->next;
        alarm_close(&job->alarm);
        free(job);
    }
}

/* --- taking --- */

static uint8_t kind_of(const struct workload *workload, struct slice name)
{
    for (uint32_t i = 0; i < workload->kind_count; i++) {
        if (slice_equal_str(name, workload->kinds[i].name)) {
            return (uint8_t)i;
        }
    }
    return 0;
}

static int64_t draw(struct rng *rng, struct words_range range)
{
    return range.max > range.min ? range.min + (int64_t)rng_below(rng, (uint64_t)(range.max - range.min) + 1)
                                 : range.min;
}

static void arm(struct sim_job *job)
{
    alarm_set(&job->alarm, job->ends_ns < job->extend_ns ? job->ends_ns : job->extend_ns);
}

static void finish(struct sim_job *job)
{
    struct node_session *node = job->node;
    job->state = JOB_FINISHED;
    job->report = 0;
    node->running--;
    node->credit_unsaid++;
    loop_flush_soon(node->nodes->config.loop, &node->flush);
}

void node_take_lease(struct node_session *node, const struct work_lease *lease, int64_t now_ns)
{
    struct nodes *nodes = node->nodes;
    const struct workload *workload = nodes->config.workload;
    struct json_value member;
    uint64_t op = UINT64_MAX;
    if (json_member(lease->input, "op", &member)) {
        (void)json_get_u64(member, &op);
    }
    ops_leased(&nodes->ops, op, now_ns);
    struct sim_job *job = new_job(node);
    if (job == NULL) {
        return; /* the lease runs out, and somebody else gets the task */
    }
    const struct workload_kind *kind = &workload->kinds[kind_of(workload, lease->kind)];
    job->token = lease->token;
    job->op = op;
    job->kind = (uint8_t)(kind - workload->kinds);
    job->is_repeated = false;
    job->state = JOB_RUNS;
    job->fails = rng_below(&nodes->rng, 1000) < kind->fail_permille;
    job->ends_ns = now_ns + draw(&nodes->rng, kind->work);
    job->extend_every_ns = lease->lease_ms * NS_PER_MS / 2;
    job->extend_ns = now_ns + job->extend_every_ns;
    node->running++;
    if (job->ends_ns <= now_ns) {
        finish(job);
    } else {
        arm(job);
    }
}

static void on_job_alarm(struct alarm *alarm, int64_t now_ns)
{
    struct sim_job *job = (struct sim_job *)(void *)((char *)alarm - offsetof(struct sim_job, alarm));
    struct node_session *node = job->node;
    if (job->state != JOB_RUNS) {
        return;
    }
    if (job->ends_ns <= now_ns) {
        finish(job);
        return;
    }
    if (node->state == NODE_IS_ON) {
        struct nodes *nodes = node->nodes;
        struct outcome outcome = {.type = OUTCOME_EXTEND, .token = job->token};
        buf_reset(&nodes->list_text);
        work_write_outcome(&nodes->list_text, &outcome);
        buf_reset(&nodes->text);
        work_write_report(&nodes->text, buf_slice(&nodes->list_text), 0);
        node->reports_sent++;
        node_send(node);
    }
    job->extend_ns = now_ns + job->extend_every_ns;
    arm(job);
}

/* --- reporting --- */

static void write_outcome(struct nodes *nodes, const struct sim_job *job)
{
    const struct workload_kind *kind = &nodes->config.workload->kinds[job->kind];
    struct outcome outcome = {.token = job->token};
    char result[32];
    if (job->fails) {
        outcome.type = OUTCOME_FAIL;
        outcome.error_kind = SLICE("bench");
        outcome.message = SLICE("the workload wants some attempts to fail");
    } else {
        outcome.type = OUTCOME_COMPLETE;
        int64_t size = draw(&nodes->rng, kind->result);
        if (size > 2) {
            /* A JSON string of that size, cut out of a longer one that begins with its quote. */
            size_t len = (size_t)size < nodes->letters.len ? (size_t)size : nodes->letters.len;
            nodes->letters.data[len - 1] = '"';
            outcome.payload = slice_of(nodes->letters.data, len);
            work_write_outcome(&nodes->list_text, &outcome);
            nodes->letters.data[len - 1] = 'x';
            return;
        }
        int len = snprintf(result, sizeof(result), "%" PRIu64, job->op == UINT64_MAX ? 0 : job->op);
        outcome.payload = slice_of(result, (size_t)len);
    }
    work_write_outcome(&nodes->list_text, &outcome);
}

static void send_report(struct node_session *node)
{
    struct nodes *nodes = node->nodes;
    buf_reset(&nodes->text);
    work_write_report(&nodes->text, buf_slice(&nodes->list_text), node->credit_unsaid);
    node->credit_unsaid = 0;
    node->reports_sent++;
    node_send(node);
    buf_reset(&nodes->list_text);
}

void node_flush(struct node_session *node)
{
    struct nodes *nodes = node->nodes;
    if (node->state != NODE_IS_ON) {
        return;
    }
    buf_reset(&nodes->list_text);
    for (struct sim_job *job = node->jobs; job != NULL; job = job->next) {
        if (job->state != JOB_FINISHED) {
            continue;
        }
        if (nodes->list_text.len > 0) {
            buf_append_char(&nodes->list_text, ',');
        }
        write_outcome(nodes, job);
        job->state = JOB_REPORTED;
        job->report = node->reports_sent + 1;
        if (nodes->list_text.len > REPORT_SIZE_MAX) {
            send_report(node);
        }
    }
    if (nodes->list_text.len > 0) {
        send_report(node);
    } else if (node->credit_unsaid > 0) {
        buf_reset(&nodes->text);
        work_write_credit(&nodes->text, node->credit_unsaid);
        node->credit_unsaid = 0;
        node_send(node);
    }
}

/* An outcome was taken. */
static void settle(struct sim_job *job, int64_t now_ns)
{
    struct nodes *nodes = job->node->nodes;
    const struct workload_kind *kind = &nodes->config.workload->kinds[job->kind];
    uint32_t attempts = kind->attempts > 0 ? kind->attempts : ATTEMPTS_DEFAULT;
    job->node->done++;
    if (!job->fails) {
        ops_completed(&nodes->ops, job->op, now_ns);
    } else if (job->token.attempt >= attempts) {
        ops_dead(&nodes->ops,
                 job->op); /* attempts lost with a node do not count: it may come once more, and complete */
    }
}

static struct sim_job *find_job(struct node_session *node, const struct lease_token *token)
{
    for (struct sim_job *job = node->jobs; job != NULL; job = job->next) {
        if (job->token.task_id == token->task_id && job->token.seq == token->seq &&
            job->token.attempt == token->attempt) {
            return job;
        }
    }
    return NULL;
}

void node_drop(struct node_session *node, const struct lease_token *token)
{
    struct sim_job *job = find_job(node, token);
    if (job == NULL) {
        return;
    }
    if (job->state == JOB_RUNS) {
        node->running--;
        node->credit_unsaid++;
        loop_flush_soon(node->nodes->config.loop, &node->flush);
    } else if (job->is_repeated && !job->fails) {
        ops_uncertain(&node->nodes->ops, job->op);
    }
    unlink_job(job);
}

void node_reported(struct node_session *node, const struct work_answer *answer, int64_t now_ns)
{
    uint32_t number = ++node->reports_answered;
    for (uint32_t i = 0; i < answer->refused_count; i++) {
        node_drop(node, &answer->refused[i].token);
    }
    struct sim_job *next;
    for (struct sim_job *job = node->jobs; job != NULL; job = next) {
        next = job->next;
        if (job->state == JOB_REPORTED && job->report == number) {
            settle(job, now_ns);
            unlink_job(job);
        }
    }
}

void node_offline(struct node_session *node)
{
    node->reports_sent = node->reports_answered = 0;
    node->credit_unsaid = 0;
    for (struct sim_job *job = node->jobs; job != NULL; job = job->next) {
        if (job->state == JOB_REPORTED) {
            job->state = JOB_FINISHED;
            job->is_repeated = true;
        }
    }
}

void node_online(struct node_session *node, int64_t now_ns)
{
    for (struct sim_job *job = node->jobs; job != NULL; job = job->next) {
        if (job->state == JOB_RUNS) { /* the lease ran on while nobody could extend it */
            job->extend_ns = now_ns;
            arm(job);
        }
    }
    loop_flush_soon(node->nodes->config.loop, &node->flush);
}
