/* agent_jobs.c - what runs on a node: a lease becomes a job in a slot, a job becomes an outcome. See agent.c. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/ensure.h"
#include "base/log.h"
#include "base/mutation.h"
#include "node/agent_internal.h"

struct job *agent_job_find(struct agent *agent, const struct lease_token *token)
{
    for (struct job *job = agent->jobs; job != NULL; job = job->next) {
        if (job->token.task_id == token->task_id && job->token.seq == token->seq &&
            job->token.attempt == token->attempt) {
            return job;
        }
    }
    return NULL;
}

void agent_job_free(struct job *job)
{
    struct agent *agent = job->agent;
    struct job **link = &agent->jobs;
    while (*link != job) {
        link = &(*link)->next;
    }
    *link = job->next;
    agent->job_count--;
    buf_free(&job->outcome);
    job->magic = 0;
    free(job);
}

void agent_job_stop(struct job *job, enum job_end end)
{
    if (job->state == JOB_FINISHED) {
        return;
    }
    bool was_running = job->state == JOB_RUNNING;
    if (was_running || end == END_DROPPED) {
        job->end = end;
    }
    job->state = JOB_STOPPING;
    if (was_running) {
        job->kind->launcher->cancel(job->run);
    }
}

void agent_job_drop(struct job *job, const char *why)
{
    char token[LEASE_TOKEN_TEXT_SIZE];
    lease_token_name(&job->token, token);
    log_info("node.drop", "token=%s state=%s why=\"%s\"", token, job->state == JOB_FINISHED ? "finished" : "running",
             why);
    if (job->state == JOB_FINISHED) {
        job->agent->stats.dropped++;
        agent_job_free(job);
    } else {
        agent_job_stop(job, END_DROPPED);
    }
}

/* Text for the hub, cut at a limit without splitting a UTF-8 character. */
static struct slice cut(struct slice text, size_t size_max)
{
    if (text.len <= size_max) {
        return text;
    }
    size_t len = size_max;
    while (len > 0 && ((unsigned char)text.data[len] & 0xC0) == 0x80) {
        len--;
    }
    return slice_of(text.data, len);
}

/* Makes sure that a launcher's JSON is what the hub will take: valid, and within the limit once printed tightly. */
static enum status tidy_json(struct agent *agent, struct slice json, struct buf *out)
{
    struct json_value root;
    buf_reset(out);
    enum status status = json_parse(agent->result_parser, json, &root, NULL, NULL);
    if (status != STATUS_OK) {
        return status;
    }
    json_print(out, root);
    return buf_status(out);
}

static void outcome_of_done(struct job *job, const struct work_done *done, struct outcome *ret_outcome)
{
    struct agent *agent = job->agent;
    *ret_outcome = (struct outcome){.token = job->token};
    if (done->is_success) {
        enum status status = tidy_json(agent, done->result.len > 0 ? done->result : SLICE("null"), &agent->payload);
        if (status == STATUS_OK) {
            ret_outcome->type = OUTCOME_COMPLETE;
            ret_outcome->payload = buf_slice(&agent->payload);
            return;
        }
        ret_outcome->type = OUTCOME_FAIL;
        ret_outcome->error_kind = status == STATUS_TOO_LARGE ? SLICE("result-too-large") : SLICE("internal");
        ret_outcome->message = status == STATUS_TOO_LARGE ? SLICE("the result is larger than 65536 bytes of JSON")
                                                          : SLICE("the result is not valid JSON");
        ret_outcome->is_final = status == STATUS_TOO_LARGE;
        return;
    }
    if (job->end == END_RELEASED) {
        ret_outcome->type = OUTCOME_RELEASE;
        ret_outcome->message = SLICE("the node is stopping");
        return;
    }
    ret_outcome->type = OUTCOME_FAIL;
    if (job->end == END_TIMED_OUT) {
        ret_outcome->error_kind = SLICE("timeout");
        ret_outcome->message = SLICE("the attempt took longer than its timeout_ms");
        return;
    }
    ret_outcome->error_kind = cut(done->error_kind, LIMIT_NAME_SIZE);
    ret_outcome->message = cut(done->message, LIMIT_ERROR_SIZE);
    ret_outcome->is_final = done->is_final;
    if (done->detail.len > 0 && tidy_json(agent, done->detail, &agent->payload) == STATUS_OK) {
        ret_outcome->payload = buf_slice(&agent->payload);
    }
}

/* The job's run is over (or never began): its slot is free, its outcome waits for the next report. May be called from
 * inside a walk over the jobs (a launcher may say done while it is being cancelled), so it touches no other job. */
static void job_finish(struct job *job, const struct work_done *done)
{
    struct agent *agent = job->agent;
    ensure(agent->slot_used[job->slot]);
    agent->slot_used[job->slot] = false;
    agent->free_slots++;
    job->run = NULL;
    if (agent_takes_work(agent) && !(job->end == END_DROPPED && MUTATION(agent_no_credit))) {
        agent->credit_unsaid++;
    }
    agent_mark_dirty(agent);
    if (job->end == END_DROPPED) {
        agent->stats.dropped++;
        agent_job_free(job);
        return;
    }
    struct outcome outcome;
    outcome_of_done(job, done, &outcome);
    work_write_outcome(&job->outcome, &outcome);
    if (buf_status(&job->outcome) != STATUS_OK) {
        /* No memory for it. The lease runs out and the hub hands the task to somebody else. */
        log_error("node.outcome", "why=\"no memory to keep an outcome\"");
        agent_job_free(job);
        return;
    }
    job->state = JOB_FINISHED;
    job->extend_due_ns = job->progress_due_ns = job->timeout_due_ns = INT64_MAX;
    switch (outcome.type) {
    case OUTCOME_COMPLETE:
        agent->stats.succeeded++;
        break;
    case OUTCOME_RELEASE:
        agent->stats.released++;
        break;
    default:
        agent->stats.failed++;
        break;
    }
}

static void on_run_done(void *ctx, const struct work_done *done)
{
    struct job *job = ctx;
    ensure_magic(job, JOB_MAGIC);
    ensure(job->state != JOB_FINISHED);
    job_finish(job, done);
}

static void note_outcome(struct agent *agent, const struct outcome *outcome)
{
    size_t before = agent->notes.len;
    if (before > 0) {
        buf_append_char(&agent->notes, ',');
    }
    work_write_outcome(&agent->notes, outcome);
    if (buf_status(&agent->notes) != STATUS_OK) {
        agent->notes.len = before; /* the next turn says it again */
        agent->notes.failed = false;
    }
    agent_mark_dirty(agent);
}

/* Gives a lease back that no job was made for. */
static void refuse_lease(struct agent *agent, const struct lease_token *token, const char *why)
{
    const struct outcome outcome = {.type = OUTCOME_RELEASE, .token = *token, .message = slice_str(why)};
    note_outcome(agent, &outcome);
    agent->stats.released++;
}

static const struct agent_kind *kind_find(const struct agent *agent, struct slice name)
{
    for (uint32_t i = 0; i < agent->config.kind_count; i++) {
        if (slice_equal_str(name, agent->config.kinds[i].launcher->kind)) {
            return &agent->config.kinds[i];
        }
    }
    return NULL;
}

static uint32_t slot_take(struct agent *agent)
{
    ensure(agent->free_slots > 0);
    uint32_t slot = 0;
    while (agent->slot_used[slot]) {
        slot++;
    }
    agent->slot_used[slot] = true;
    agent->free_slots--;
    return slot;
}

static void job_start(struct agent *agent, const struct work_lease *lease, const struct agent_kind *kind)
{
    struct job *job = calloc(1, sizeof(*job));
    struct buf input;
    buf_init(&input, LIMIT_WS_MESSAGE_SIZE);
    json_print(&input, lease->input);
    size_t input_len = input.len;
    if (lease->has_checkpoint) {
        json_print(&input, lease->checkpoint);
    }
    if (job == NULL || buf_status(&input) != STATUS_OK) {
        buf_free(&input);
        free(job);
        refuse_lease(agent, &lease->token, "the node has no memory");
        return;
    }
    int64_t now = agent_now_ns(agent);
    *job = (struct job){.magic = JOB_MAGIC,
                        .next = agent->jobs,
                        .agent = agent,
                        .kind = kind,
                        .token = lease->token,
                        .slot = slot_take(agent),
                        .lease_ms = lease->lease_ms,
                        .timeout_ms = lease->timeout_ms,
                        .extend_due_ns = now + lease->lease_ms * NS_PER_MS / 3,
                        .progress_due_ns = kind->launcher->progress != NULL ? now + PROGRESS_MS * NS_PER_MS : INT64_MAX,
                        .timeout_due_ns = lease->timeout_ms > 0 && !MUTATION(agent_no_timeout)
                                              ? now + lease->timeout_ms * NS_PER_MS
                                              : INT64_MAX};
    buf_init(&job->outcome, LIMIT_INPUT_SIZE + 6 * LIMIT_ERROR_SIZE + 2048); /* a byte of a message may become \u00XX */
    agent->jobs = job;
    agent->job_count++;
    struct work_input work = {.kind = slice_str(kind->launcher->kind),
                              .queue = lease->queue,
                              .slot = job->slot,
                              .input = slice_of(input.data, input_len),
                              .checkpoint = slice_of(input.data + input_len, input.len - input_len),
                              .timeout_ms = lease->timeout_ms};
    lease_token_name(&job->token, work.token);
    enum status status = kind->launcher->start(kind->state, &work, on_run_done, job, &job->run);
    buf_free(&input);
    if (status != STATUS_OK) {
        const struct work_done failed = {.error_kind = slice_str(status_slug(status)),
                                         .message = slice_str(status_title(status))};
        job_finish(job, &failed);
    }
    agent_arm_work_timer(agent);
}

void agent_take_lease(struct agent *agent, const struct work_lease *lease)
{
    if (agent_job_find(agent, &lease->token) != NULL) {
        return; /* said twice */
    }
    const struct agent_kind *kind = kind_find(agent, lease->kind);
    bool is_granted = agent->credit_at_hub > 0;
    if (is_granted) {
        agent->credit_at_hub--;
    }
    if (!agent_takes_work(agent)) {
        refuse_lease(agent, &lease->token, "the node is draining");
    } else if (!is_granted || agent->free_slots == 0) {
        refuse_lease(agent, &lease->token, "the node has no free slot");
    } else if (kind == NULL) {
        const struct outcome outcome = {.type = OUTCOME_FAIL,
                                        .token = lease->token,
                                        .error_kind = SLICE("kind-unsupported"),
                                        .message = SLICE("this node does not offer that kind")};
        note_outcome(agent, &outcome);
        agent->credit_unsaid++;
    } else {
        job_start(agent, lease, kind);
    }
}

/* --- what becomes due --- */

static void job_say_progress(struct job *job, int64_t now)
{
    struct agent *agent = job->agent;
    job->progress_due_ns = now + PROGRESS_MS * NS_PER_MS;
    uint16_t permille = 0;
    struct buf note;
    buf_init(&note, 64u << 10);
    if (job->kind->launcher->progress(job->run, &permille, &note)) {
        const struct outcome outcome = {.type = OUTCOME_PROGRESS,
                                        .token = job->token,
                                        .progress_permille = permille > 1000 ? 1000 : permille,
                                        .message = cut(buf_slice(&note), LIMIT_PROGRESS_SIZE)};
        note_outcome(agent, &outcome);
        job->extend_due_ns = now + job->lease_ms * NS_PER_MS / 3; /* progress extends as well */
    }
    buf_free(&note);
}

void agent_on_work_timer(struct agent *agent)
{
    int64_t now = agent_now_ns(agent);
    struct job *next;
    for (struct job *job = agent->jobs; job != NULL; job = next) {
        next = job->next;
        if (job->state != JOB_RUNNING) {
            continue;
        }
        if (job->timeout_due_ns <= now) {
            job->timeout_due_ns = INT64_MAX;
            agent_job_stop(job, END_TIMED_OUT);
            continue;
        }
        if (agent->state != AGENT_ONLINE) {
            continue; /* said again after the welcome */
        }
        if (job->progress_due_ns <= now) {
            job_say_progress(job, now);
        }
        if (job->extend_due_ns <= now) {
            const struct outcome outcome = {.type = OUTCOME_EXTEND, .token = job->token};
            if (!MUTATION(agent_never_extends)) {
                note_outcome(agent, &outcome);
            }
            job->extend_due_ns = now + job->lease_ms * NS_PER_MS / 3;
        }
    }
    if (agent->drain_due_ns <= now) {
        agent->drain_due_ns = INT64_MAX;
        agent->end_due_ns = now + RELEASE_MS * NS_PER_MS;
        log_warn("node.drain", "why=\"time is over\" running=%" PRIu32, agent_runs(agent));
        for (struct job *job = agent->jobs; job != NULL; job = next) {
            next = job->next;
            agent_job_stop(job, END_RELEASED);
        }
    }
    if (agent->end_due_ns <= now) {
        agent->end_due_ns = INT64_MAX;
        agent->is_overdue = true;
    }
    agent_check_end(agent);
    agent_arm_work_timer(agent);
}

void agent_arm_work_timer(struct agent *agent)
{
    if (agent->is_leaving_world) {
        return;
    }
    int64_t due = agent->drain_due_ns < agent->end_due_ns ? agent->drain_due_ns : agent->end_due_ns;
    for (const struct job *job = agent->jobs; job != NULL; job = job->next) {
        if (job->state != JOB_RUNNING) {
            continue;
        }
        if (job->timeout_due_ns < due) {
            due = job->timeout_due_ns;
        }
        if (agent->state != AGENT_ONLINE) {
            continue;
        }
        if (job->extend_due_ns < due) {
            due = job->extend_due_ns;
        }
        if (job->progress_due_ns < due) {
            due = job->progress_due_ns;
        }
    }
    if (due == INT64_MAX) {
        agent_set_timer(agent, AGENT_TIMER_WORK, AGENT_TIMER_OFF);
        return;
    }
    int64_t wait_ns = due - agent_now_ns(agent);
    /* Rounded up: a timer that fires just before its time would only be armed again. */
    agent_set_timer(agent, AGENT_TIMER_WORK, wait_ns <= 0 ? 0 : (wait_ns + NS_PER_MS - 1) / NS_PER_MS);
}
