/* nodes.c - the sessions of simulated nodes.
 *
 *   OFF ── dial ──▶ CONNECTS ── open, hello ──▶ GREETS ── welcome ──▶ IS_ON
 *    ▲ pause, 100 ms to 2 s                                            │
 *    └──────────────── the connection ended, or the hub was silent ────┘
 *
 * Before the run all sessions are opened, DIALS_MAX at a time, so that a listen queue does not overflow. A session that fails then
 * has failed; one that ends later is lost, and comes back with the same instance, holding on to its leases, as a real node does.
 * About 6 KiB a session, most of it the WebSocket client; 10,000 beats twice a second take a third of a core. */
#include "bench/nodes.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/hash.h"
#include "base/limits.h"
#include "bench/nodes_internal.h"

#define DIALS_MAX 256
#define CONNECT_MS 10000
#define BACKOFF_MIN_MS 100
#define BACKOFF_MAX_MS 2000
#define OPEN_TIMEOUT_NS (120 * NS_PER_S)
#define SETUP_TIMEOUT_NS (10 * NS_PER_S)
#define LETTERS_SIZE 70000 /* a result is at most LIMIT_INPUT_SIZE */

static void dial(struct node_session *node);
static void dial_more(struct nodes *nodes);

/* --- saying --- */

void node_send(struct node_session *node)
{
    if (buf_status(&node->nodes->text) == STATUS_OK) {
        ws_client_send_text(node->client, buf_slice(&node->nodes->text));
    }
}

static void send_hello(struct node_session *node)
{
    struct nodes *nodes = node->nodes;
    const struct workload *workload = nodes->config.workload;
    struct buf *held = &nodes->list_text;
    char name[32];
    struct command_node_hello hello = {.instance = node->instance, .info = SLICE("{}")};
    snprintf(name, sizeof(name), "bench-%u", node->index);
    hello.node = slice_str(name);
    for (uint32_t i = 0; i < workload->kind_count; i++) {
        if (node->kinds == 0 || (node->kinds & (1u << i)) != 0) {
            hello.kinds[hello.kind_count++] = slice_str(workload->kinds[i].name);
        }
    }
    buf_reset(held);
    for (const struct sim_job *job = node->jobs; job != NULL; job = job->next) {
        buf_append(held, &job->token, sizeof(job->token));
        hello.held_count++;
    }
    hello.credit = node->slots - node->running;
    node->credit_unsaid = 0;
    buf_reset(&nodes->text);
    work_write_hello(&nodes->text, &hello, (const struct lease_token *)(const void *)held->data,
                     (struct slice){NULL, 0});
    node_send(node);
}

static void on_flush(struct loop_flush *flush)
{
    node_flush((struct node_session *)(void *)((char *)flush - offsetof(struct node_session, flush)));
}

static void beat(struct node_session *node, int64_t now_ns)
{
    if (now_ns - node->heard_ns > node->lost_ns) {
        ws_client_close(node->client); /* silent, whatever TCP believes */
        return;
    }
    struct work_load load = {.is_known = true, .running = node->running};
    buf_reset(&node->nodes->text);
    work_write_beat(&node->nodes->text, &load);
    node_send(node);
    alarm_set(&node->alarm, now_ns + node->beat_ns);
}

static void on_alarm(struct alarm *alarm, int64_t now_ns)
{
    struct node_session *node = (struct node_session *)(void *)((char *)alarm - offsetof(struct node_session, alarm));
    ensure_magic(node, BENCH_NODE_MAGIC);
    if (node->state == NODE_IS_ON) {
        beat(node, now_ns);
    } else if (node->state == NODE_OFF && !node->nodes->is_closing) {
        dial(node);
    }
}

/* --- hearing --- */

static void welcome(struct node_session *node, const struct work_answer *answer, int64_t now_ns)
{
    struct nodes *nodes = node->nodes;
    struct bench_result *result = nodes->config.result;
    node->state = NODE_IS_ON;
    node->backoff_ms = BACKOFF_MIN_MS;
    node->beat_ns = answer->welcome.beat_ms * NS_PER_MS;
    node->lost_ns = answer->welcome.lost_ms * NS_PER_MS;
    if (node->lost_ns < 2 * node->beat_ns) {
        node->lost_ns = 2 * node->beat_ns;
    }
    for (uint32_t i = 0; i < answer->welcome.lost_count; i++) {
        node_drop(node, &answer->welcome.lost[i]);
    }
    histogram_record(result->session_open, now_ns - node->dialled_ns);
    if (!node->was_welcomed) {
        node->was_welcomed = true;
        nodes->welcomed++;
        nodes->dialling--;
        result->sessions++;
        result->sessions_open_ns = now_ns - nodes->first_dial_ns;
        dial_more(nodes);
    }
    /* Spread over the time of a beat, or they would all come in the same millisecond for ever. */
    alarm_set(&node->alarm, now_ns + (int64_t)rng_below(&nodes->rng, (uint64_t)node->beat_ns));
    node_online(node, now_ns);
}

static void on_open(struct ws_client *client)
{
    struct node_session *node = ws_client_user(client);
    ensure_magic(node, BENCH_NODE_MAGIC);
    if (node->nodes->is_closing) {
        ws_client_close(client);
        return;
    }
    node->state = NODE_GREETS;
    send_hello(node);
}

static void on_message(struct ws_client *client, struct slice message)
{
    struct node_session *node = ws_client_user(client);
    struct nodes *nodes = node->nodes;
    struct work_answer *answer = nodes->answer;
    int64_t now_ns = clock_mono_ns();
    alarms_look(nodes->config.alarms, now_ns);
    node->heard_ns = now_ns;
    enum status status = work_answer_decode(nodes->parser, message, answer);
    if (status == STATUS_NOT_IMPLEMENTED) {
        return;
    }
    if (status != STATUS_OK) {
        snprintf(nodes->why, sizeof(nodes->why), "the hub sent a message that is not understood");
        ws_client_close(client);
        return;
    }
    if (answer->type == WORK_ERROR) {
        snprintf(nodes->why, sizeof(nodes->why), "%.*s", SLICE_ARG(answer->error_detail));
        return; /* the hub closes */
    }
    if (node->state == NODE_GREETS && answer->type == WORK_WELCOME) {
        welcome(node, answer, now_ns);
        return;
    }
    if (node->state != NODE_IS_ON) {
        return;
    }
    switch (answer->type) {
    case WORK_LEASE:
        node_take_lease(node, &answer->lease, now_ns);
        break;
    case WORK_REPORTED:
        node_reported(node, answer, now_ns);
        break;
    case WORK_DIRECTIVES:
        for (uint32_t i = 0; i < answer->directive_count; i++) {
            if (answer->directives[i].type == DIRECTIVE_CANCEL) {
                node_drop(node, &answer->directives[i].token);
            } else if (answer->directives[i].type == DIRECTIVE_TERMINATE) {
                ws_client_close(client); /* the session is over, not the node */
            }
        }
        break;
    default:
        break;
    }
}

static void on_closed(struct ws_client *client, enum status status, const char *why)
{
    struct node_session *node = ws_client_user(client);
    ensure_magic(node, BENCH_NODE_MAGIC);
    struct nodes *nodes = node->nodes;
    (void)status;
    enum node_state before = node->state;
    node->client = NULL;
    node->state = NODE_OFF;
    nodes->clients--;
    loop_flush_cancel(&node->flush);
    alarm_set(&node->alarm, ALARM_NEVER);
    if (nodes->is_closing) {
        return;
    }
    node_offline(node);
    if (!nodes->has_begun && !node->was_welcomed) {
        node->has_failed = true;
        nodes->failed++;
        nodes->dialling--;
        nodes->config.result->sessions_failed++;
        if (nodes->why[0] == '\0') {
            snprintf(nodes->why, sizeof(nodes->why), "%s", why != NULL ? why : "");
        }
        dial_more(nodes);
        return;
    }
    int64_t now_ns = clock_mono_ns();
    if (before == NODE_IS_ON) {
        nodes->config.result->sessions_lost++;
        if (nodes->recovery != NULL) {
            recovery_noticed(nodes->recovery, now_ns - nodes->begin_ns);
        }
    }
    /* Between half and the whole of the pause, so that thousands do not come back in step. */
    uint32_t half_ms = node->backoff_ms / 2;
    int64_t pause_ms = half_ms + (int64_t)rng_below(&nodes->rng, half_ms + 1);
    node->backoff_ms = 2 * node->backoff_ms > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : 2 * node->backoff_ms;
    alarm_set(&node->alarm, now_ns + pause_ms * NS_PER_MS);
}

static const struct ws_client_callbacks callbacks = {
    .on_open = on_open, .on_message = on_message, .on_closed = on_closed};

/* --- dialling --- */

static void dial(struct node_session *node)
{
    struct nodes *nodes = node->nodes;
    node->dialled_ns = clock_mono_ns();
    node->heard_ns = node->dialled_ns;
    enum status status = ws_client_connect(nodes->config.loop, nodes->url, WORK_SUBPROTOCOL, CONNECT_MS, &callbacks,
                                           node, &node->client);
    if (status == STATUS_OK) {
        node->state = NODE_CONNECTS;
        nodes->clients++;
    } else {
        alarm_set(&node->alarm, node->dialled_ns + BACKOFF_MAX_MS * NS_PER_MS);
    }
}

static void dial_more(struct nodes *nodes)
{
    while (nodes->dialled < nodes->count && nodes->dialling < DIALS_MAX && !nodes->is_closing) {
        struct node_session *node = &nodes->list[nodes->dialled++];
        nodes->dialling++;
        dial(node);
    }
}

/* --- setting up --- */

struct setup {
    bool is_over;
    struct http_outcome outcome;
};

static void on_setup_done(struct http_client *client, void *user, const struct http_outcome *outcome)
{
    struct setup *setup = user;
    (void)client;
    setup->is_over = true;
    setup->outcome = *outcome;
}

/* Makes one kind or queue known. */
static enum status put(struct nodes *nodes, struct http_client *client, struct setup *setup, const char *what,
                       const char *name, const bool *is_interrupted, char *ret_why, size_t why_size)
{
    char text[512];
    int len = snprintf(text, sizeof(text),
                       "PUT /v1/%s/%s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\n"
                       "Content-Length: 2\r\n\r\n{}",
                       what, name, http_origin_authority(nodes->config.origin));
    struct http_request_bytes request = {
        .parts = {slice_of(text, (size_t)len)}, .deadline_ns = clock_mono_ns() + SETUP_TIMEOUT_NS, .may_repeat = true};
    setup->is_over = false;
    http_client_send(client, &request);
    while (!setup->is_over && !*is_interrupted) {
        uv_run(&nodes->config.loop->uv, UV_RUN_ONCE);
    }
    if (*is_interrupted) {
        return STATUS_OK; /* the run notices */
    }
    if (setup->outcome.failure != HTTP_NO_FAILURE) {
        snprintf(ret_why, why_size, "No hub answers at %.200s.", nodes->config.url);
        return STATUS_UNREACHABLE;
    }
    if (setup->outcome.status_code / 100 != 2) {
        snprintf(ret_why, why_size, "The hub at %.200s does not take the %.6s \"%.100s\": HTTP %d.", nodes->config.url,
                 what, name, setup->outcome.status_code);
        return STATUS_FAILED;
    }
    return STATUS_OK;
}

static enum status make_known(struct nodes *nodes, const bool *is_interrupted, char *ret_why, size_t why_size)
{
    const struct workload *workload = nodes->config.workload;
    struct setup setup = {0};
    struct http_client *client = http_client_new(nodes->config.origin, on_setup_done, &setup);
    if (client == NULL) {
        return STATUS_NO_MEMORY;
    }
    enum status status = STATUS_OK;
    for (uint32_t i = 0; i < workload->kind_count && status == STATUS_OK; i++) {
        status = put(nodes, client, &setup, "kinds", workload->kinds[i].name, is_interrupted, ret_why, why_size);
    }
    for (uint32_t i = 0; i < workload->queue_count && status == STATUS_OK; i++) {
        status = put(nodes, client, &setup, "queues", workload->queues[i].name, is_interrupted, ret_why, why_size);
    }
    http_client_free(client);
    return status;
}

static enum status make_sessions(struct nodes *nodes)
{
    const struct workload *workload = nodes->config.workload;
    nodes->list = calloc((size_t)nodes->count + 1, sizeof(*nodes->list));
    if (nodes->list == NULL) {
        nodes->count = 0;
        return STATUS_NO_MEMORY;
    }
    uint64_t instance_seed = hash_mix(nodes->config.seed ^ (uint64_t)clock_wall_ns());
    for (uint32_t i = 0; i < nodes->count; i++) {
        struct node_session *node = &nodes->list[i];
        const struct workload_nodes *group = workload_group(workload, i);
        node->magic = BENCH_NODE_MAGIC;
        node->index = i;
        node->nodes = nodes;
        node->slots = group->slots;
        node->kinds = group->kinds;
        node->backoff_ms = BACKOFF_MIN_MS;
        node->instance = hash_mix(instance_seed + i) | 1;
        node->flush.flush = on_flush;
        if (alarm_open(nodes->config.alarms, &node->alarm, on_alarm) != STATUS_OK) {
            return STATUS_NO_MEMORY;
        }
    }
    return STATUS_OK;
}

enum status nodes_open(const struct nodes_config *config, const bool *is_interrupted, struct nodes **ret_nodes,
                       char *ret_why, size_t why_size)
{
    snprintf(ret_why, why_size, "There is no memory.");
    struct nodes *nodes = calloc(1, sizeof(*nodes));
    if (nodes == NULL) {
        return STATUS_NO_MEMORY;
    }
    *ret_nodes = nodes;
    nodes->config = *config;
    nodes->count = config->workload->node_count;
    rng_seed(&nodes->rng, config->seed);
    buf_init(&nodes->text, LIMIT_WS_MESSAGE_SIZE);
    buf_init(&nodes->list_text, LIMIT_WS_MESSAGE_SIZE / 2);
    buf_init(&nodes->letters, LETTERS_SIZE);
    nodes->parser = json_parser_new();
    nodes->answer = calloc(1, sizeof(*nodes->answer));
    buf_append_char(&nodes->letters, '"');
    for (uint32_t i = 1; i < LETTERS_SIZE; i++) {
        buf_append_char(&nodes->letters, 'x');
    }
    snprintf(nodes->url, sizeof(nodes->url), "http://%s/v1/work", http_origin_authority(config->origin));
    if (nodes->parser == NULL || nodes->answer == NULL || buf_status(&nodes->letters) != STATUS_OK) {
        nodes->count = 0;
        return STATUS_NO_MEMORY;
    }
    enum status status = make_sessions(nodes);
    if (status == STATUS_OK) {
        status = make_known(nodes, is_interrupted, ret_why, why_size);
    }
    if (status != STATUS_OK) {
        return status;
    }
    nodes->first_dial_ns = clock_mono_ns();
    dial_more(nodes);
    while (nodes->welcomed + nodes->failed < nodes->count && !*is_interrupted &&
           clock_mono_ns() < nodes->first_dial_ns + OPEN_TIMEOUT_NS) {
        uv_run(&config->loop->uv, UV_RUN_ONCE);
    }
    if (nodes->count > 0 && nodes->welcomed == 0 && !*is_interrupted) {
        snprintf(ret_why, why_size, "None of %u simulated nodes was welcome: %.200s", nodes->count, nodes->why);
        return STATUS_UNREACHABLE;
    }
    return STATUS_OK;
}

void nodes_begin(struct nodes *nodes, int64_t begin_ns, struct recovery *recovery)
{
    if (nodes != NULL) {
        nodes->has_begun = true;
        nodes->begin_ns = begin_ns;
        nodes->recovery = recovery;
    }
}

/* --- what is told --- */

void nodes_sent(struct nodes *nodes, uint64_t first_op, uint64_t count, int64_t intended_ns, uint32_t phase)
{
    if (nodes != NULL && nodes->count > 0) {
        ops_sent(&nodes->ops, first_op, count, intended_ns, phase);
    }
}

void nodes_accepted(struct nodes *nodes, uint64_t first_op, uint64_t count)
{
    if (nodes != NULL && nodes->count > 0) {
        ops_accepted(&nodes->ops, first_op, count);
    }
}

bool nodes_are_settled(const struct nodes *nodes)
{
    return nodes == NULL || nodes->ops.open == 0;
}

const struct histogram *nodes_assign(const struct nodes *nodes, uint32_t phase)
{
    return nodes != NULL ? nodes->ops.assign[phase] : NULL;
}

const struct histogram *nodes_complete(const struct nodes *nodes, uint32_t phase)
{
    return nodes != NULL ? nodes->ops.complete[phase] : NULL;
}

/* What part of the tasks lies where an even distribution would have put it. */
static double evenness(const struct nodes *nodes)
{
    double total = 0;
    double off = 0;
    for (uint32_t i = 0; i < nodes->count; i++) {
        total += (double)nodes->list[i].done;
    }
    if (total == 0) {
        return 0;
    }
    double mean = total / (double)nodes->count;
    for (uint32_t i = 0; i < nodes->count; i++) {
        double above = (double)nodes->list[i].done - mean;
        off += above > 0 ? above : 0;
    }
    return 100 * (1 - off / total);
}

void nodes_finish(struct nodes *nodes)
{
    if (nodes == NULL || nodes->count == 0) {
        return;
    }
    nodes->recovery = NULL;
    nodes->config.result->lost_tasks = ops_lost(&nodes->ops);
    nodes->config.result->doubled_tasks = nodes->ops.doubled;
    nodes->config.result->evenness_percent = evenness(nodes);
}

/* --- the end --- */

void nodes_close(struct nodes *nodes)
{
    if (nodes == NULL || nodes->is_closing) {
        return;
    }
    nodes->is_closing = true;
    nodes->recovery = NULL;
    for (uint32_t i = 0; i < nodes->count; i++) {
        struct node_session *node = &nodes->list[i];
        alarm_close(&node->alarm);
        if (node->client == NULL) {
            continue;
        }
        if (node->state == NODE_IS_ON) {
            buf_reset(&nodes->text);
            work_write_leave(&nodes->text);
            node_send(node);
        }
        ws_client_close(node->client);
    }
    node_jobs_free(nodes);
}

bool nodes_are_closed(const struct nodes *nodes)
{
    return nodes == NULL || nodes->clients == 0;
}

void nodes_free(struct nodes *nodes)
{
    if (nodes == NULL) {
        return;
    }
    ops_free(&nodes->ops);
    json_parser_free(nodes->parser);
    free(nodes->answer);
    buf_free(&nodes->text);
    buf_free(&nodes->list_text);
    buf_free(&nodes->letters);
    free(nodes->list);
    free(nodes);
}
