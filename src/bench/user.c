/* user.c - what one user does: the steps of a flow, one after the other.
 *
 *             ┌──────────── no connection is free ────────────▶ WAITS ──┐
 *   flow ──▶ step ── think ──▶ THINKS ──▶ step …                        │
 *             └── request ──▶ ASKS ◀────────────────────────────────────┘
 *                              └── answer, failure, time-out ──▶ next step, or the flow is over
 *
 * Time. `at_ns` is when the user is meant to do the next thing: the arrival's time from the schedule, then the end of the answer
 * before, plus the pause. A request is measured from there, however late the generator or a connection was. A closed user with a
 * pacing begins its flows at even distances; one that took longer begins the next one at once (as Locust's constant_pacing).
 *
 * A request that fails ends its flow: what follows would ask with values that were never taken. A user that cannot connect
 * pauses before the next flow (10 ms, doubling up to 1 s), so that a target that is down is not counted a million times. A
 * user of the open model is one flow, which its arrival began, and nothing makes it wait but connections. */
#include <stdlib.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "bench/engine_internal.h"
#include "bench/sockets.h"

#define BODY_SIZE_MAX (8u << 20) /* of an answer that is looked into; what a hub's answers can be at most */
#define STATUS_CODE_CREATED 201
#define PAUSE_MIN_NS (10 * NS_PER_MS)
#define PAUSE_MAX_NS NS_PER_S

static void go(struct user *user, int64_t now_ns);
static void on_alarm(struct alarm *alarm, int64_t now_ns);

static bool is_closed_model(const struct user *user)
{
    return user->phase->plan.model == SCENARIO_USERS;
}

/* --- coming and going --- */

static struct user *user_new(struct phase_run *phase)
{
    struct engine *engine = phase->engine;
    struct user *user = engine->free_users;
    if (user != NULL) {
        engine->free_users = user->next;
    } else {
        user = calloc(1, sizeof(*user));
        if (user == NULL || alarm_open(engine->alarms, &user->alarm, on_alarm) != STATUS_OK) {
            free(user);
            return NULL;
        }
        user->magic = BENCH_USER_MAGIC;
        user->engine = engine;
        buf_init(&user->out, REQUEST_SIZE_MAX);
        if (engine->has_takes) {
            user->values = calloc(engine->scenario->variable_count, sizeof(*user->values));
            if (user->values == NULL) {
                alarm_close(&user->alarm);
                free(user);
                return NULL;
            }
        }
    }
    user->phase = phase;
    user->state = USER_THINKS;
    user->connection = NULL;
    user->failures_in_a_row = 0;
    user->is_counted = false;
    user->task_id[0] = '\0';
    user->next = phase->users;
    user->link = &phase->users;
    if (user->next != NULL) {
        user->next->link = &user->next;
    }
    phase->users = user;
    phase->users_now++;
    engine->users_now++;
    if (engine->users_now > engine->result->users_max) {
        engine->result->users_max = engine->users_now;
    }
    return user;
}

static void user_end(struct user *user, int64_t now_ns)
{
    struct engine *engine = user->engine;
    struct phase_run *phase = user->phase;
    struct connection *connection = TAKE(user->connection);
    socket_drop(user);
    alarm_set(&user->alarm, ALARM_NEVER);
    *user->link = user->next;
    if (user->next != NULL) {
        user->next->link = user->link;
    }
    user->state = USER_FREE;
    user->phase = NULL;
    user->next = engine->free_users;
    engine->free_users = user;
    phase->users_now--;
    engine->users_now--;
    bool is_done =
        phase->takes_no_more || (phase->plan.iterations_max > 0 && phase->iterations >= phase->plan.iterations_max);
    if (is_done && phase->users_now == 0 && phase->state == PHASE_RUNS && phase->plan.model == SCENARIO_USERS) {
        phase_end_now(phase, now_ns);
    }
    if (connection != NULL) {
        pool_give(engine, connection, now_ns);
    }
}

static void free_user(struct user *user)
{
    socket_drop(user);
    alarm_close(&user->alarm);
    buf_free(&user->out);
    for (uint32_t i = 0; user->values != NULL && i < user->engine->scenario->variable_count; i++) {
        free(user->values[i].text);
    }
    free(user->values);
    user->magic = 0;
    free(user);
}

void users_free(struct engine *engine)
{
    for (uint32_t i = 0; engine->phases != NULL && i < engine->scenario->phase_count; i++) {
        while (engine->phases[i].users != NULL) {
            struct user *user = engine->phases[i].users;
            engine->phases[i].users = user->next;
            free_user(user);
        }
    }
    while (engine->free_users != NULL) {
        struct user *user = engine->free_users;
        engine->free_users = user->next;
        free_user(user);
    }
}

/* --- flows --- */

/* False: there is nothing left to be done. */
static bool begin_flow(struct user *user)
{
    struct phase_run *phase = user->phase;
    user->flow = phase_choose_flow(phase, user->number, user->index, &user->random);
    user->step = user->times_done = 0;
    user->flow_at_ns = user->at_ns;
    if (user->values != NULL) {
        for (uint32_t i = 0; i < user->engine->scenario->variable_count; i++) {
            user->values[i].len = 0;
        }
    }
    if (!requests_choose_rows(user->engine, user)) {
        phase->takes_no_more = true;
        return false;
    }
    phase->iterations++;
    user->engine->result->iterations++;
    return true;
}

static void begin_next_flow(struct user *user, int64_t now_ns)
{
    const struct scenario_phase *plan = &user->phase->plan;
    bool is_over = user->phase->state != PHASE_RUNS || user->phase->takes_no_more ||
                   user->number >= user->phase->users_wanted ||
                   (plan->iterations_max > 0 && user->phase->iterations >= plan->iterations_max);
    if (is_over || !begin_flow(user)) {
        user_end(user, now_ns);
        return;
    }
    go(user, now_ns);
}

static void flow_over(struct user *user, int64_t now_ns)
{
    socket_drop(user);
    if (!is_closed_model(user)) {
        user_end(user, now_ns);
        return;
    }
    const struct scenario_phase *plan = &user->phase->plan;
    if (plan->pacing_ns > 0) {
        int64_t next_ns = user->flow_at_ns + plan->pacing_ns;
        user->at_ns = next_ns > user->at_ns ? next_ns : user->at_ns;
    } else {
        user->at_ns += user_draw(user, plan->think.min, plan->think.max);
    }
    if (user->failures_in_a_row > 0) {
        int64_t pause_ns = PAUSE_MIN_NS << (user->failures_in_a_row < 8 ? user->failures_in_a_row - 1 : 7);
        int64_t least_ns = now_ns + (pause_ns < PAUSE_MAX_NS ? pause_ns : PAUSE_MAX_NS);
        user->at_ns = least_ns > user->at_ns ? least_ns : user->at_ns;
    }
    user->index++;
    user->flow = NULL;
    if (user->at_ns > now_ns) {
        user->state = USER_THINKS;
        alarm_set(&user->alarm, user->at_ns);
        return;
    }
    begin_next_flow(user, now_ns);
}

/* --- steps --- */

static void send_now(struct user *user)
{
    const struct step_plan *plan = &user->flow->steps[user->step];
    struct http_request_bytes request = {.deadline_ns = user->at_ns + plan->step->timeout_ns,
                                         .may_repeat = plan->may_repeat,
                                         .is_head = plan->is_head,
                                         .body_max = request_wants_body(plan->step) ? BODY_SIZE_MAX : 0};
    if (!request_make(user, plan, &request.parts[0])) {
        /* Too large a text; nothing was sent. The deadline is over, so the client says so itself. */
        request.parts[0] = (struct slice){NULL, 0};
        request.deadline_ns = 0;
    }
    user->state = USER_ASKS;
    alarm_set(&user->alarm, ALARM_NEVER);
    user->connection->user = user;
    if (user->items > 0 && user->task_id[0] == '\0') {
        nodes_sent(user->engine->nodes, user->first_op, user->items, user->at_ns, user->phase->index);
    }
    http_client_send(user->connection->client, &request);
}

static void ask(struct user *user, int64_t now_ns)
{
    struct engine *engine = user->engine;
    const struct step_plan *plan = &user->flow->steps[user->step];
    bool has_queued =
        user->is_counted; /* for a connection: its wait is the target's, and its lag was noted when it came */
    user->is_counted = false;
    if (!has_queued) {
        tally_scheduled(user->phase, plan->label);
    }
    if (!has_queued && now_ns != user->at_ns) { /* else it follows from an answer, and nothing was to be waited for */
        tally_lag(engine, now_ns - user->at_ns);
    }
    if (plan->step->action > SCENARIO_THINK) {
        user->state = USER_ASKS;
        alarm_set(&user->alarm, user->at_ns + plan->step->timeout_ns);
        socket_step(user, plan, now_ns);
        return;
    }
    if (user->connection == NULL) {
        user->connection = pool_take(engine);
    }
    if (user->connection == NULL) {
        user->state = USER_WAITS;
        alarm_set(&user->alarm, user->at_ns + plan->step->timeout_ns);
        pool_wait(engine, user);
        return;
    }
    send_now(user);
}

void user_serve(struct user *user, struct connection *connection, int64_t now_ns)
{
    (void)now_ns;
    ensure(user->state == USER_WAITS);
    user->connection = connection;
    send_now(user);
}

static void think(struct user *user, const struct scenario_step *step, int64_t now_ns)
{
    user->at_ns += user_draw(user, step->think.min, step->think.max);
    user->step++;
    user->state = USER_THINKS;
    alarm_set(&user->alarm, user->at_ns);
    if (!is_closed_model(user) && user->connection != NULL) {
        pool_give(user->engine, TAKE(user->connection), now_ns); /* others need it meanwhile */
    }
}

static void go(struct user *user, int64_t now_ns)
{
    if (is_closed_model(user) && user->phase->state != PHASE_RUNS) {
        user_end(user, now_ns);
        return;
    }
    if (user->step == user->flow->flow->step_count) {
        flow_over(user, now_ns);
        return;
    }
    const struct scenario_step *step = user->flow->steps[user->step].step;
    if (step->action == SCENARIO_THINK && user->engine->is_draining) {
        user_end(user, now_ns); /* nobody waits for the end of its pauses */
    } else if (step->action == SCENARIO_THINK) {
        think(user, step, now_ns);
    } else {
        ask(user, now_ns);
    }
}

void user_step_ended(struct user *user, enum bench_error error, int64_t sent_ns, int64_t end_ns, uint64_t bytes_out,
                     uint64_t bytes_in)
{
    const struct step_plan *plan = &user->flow->steps[user->step];
    struct tally_end end = {.error = error,
                            .intended_ns = user->at_ns,
                            .sent_ns = sent_ns,
                            .end_ns = end_ns,
                            .items = user->items,
                            .bytes_out = bytes_out,
                            .bytes_in = bytes_in};
    alarm_set(&user->alarm, ALARM_NEVER);
    user->state = USER_THINKS;
    user->task_id[0] = '\0';
    tally_ended(user->phase, plan->label, &end);
    user->at_ns = end_ns;
    bool is_unreachable =
        error == BENCH_ERROR_REFUSED || error == BENCH_ERROR_RESOLVE || error == BENCH_ERROR_NO_CONNECTION;
    user->failures_in_a_row = is_unreachable ? user->failures_in_a_row + 1 : 0;
    if (error != BENCH_ERROR_COUNT) {
        flow_over(user, end_ns);
        return;
    }
    if (++user->times_done >= plan->step->times) {
        user->times_done = 0;
        user->step++;
    }
    go(user, end_ns);
}

static enum bench_error error_of(enum http_failure failure)
{
    switch (failure) {
    case HTTP_REFUSED:
        return BENCH_ERROR_REFUSED;
    case HTTP_UNREACHABLE:
        return BENCH_ERROR_RESOLVE;
    case HTTP_RESET:
        return BENCH_ERROR_RESET;
    case HTTP_TIMED_OUT:
        return BENCH_ERROR_TIMED_OUT;
    case HTTP_NONSENSE:
        return BENCH_ERROR_NONSENSE;
    case HTTP_TOO_LARGE:
        return BENCH_ERROR_TOO_LARGE;
    case HTTP_EXHAUSTED:
        return BENCH_ERROR_NO_CONNECTION;
    default:
        return BENCH_ERROR_COUNT;
    }
}

/* --- tasks --- */

/* What the hub said to a submit. */
static enum bench_error note_submitted(struct user *user, const struct scenario_step *step, int status_code,
                                       struct slice body)
{
    struct nodes *nodes = user->engine->nodes;
    if (step->batch <= 1) {
        if (status_code == STATUS_CODE_CREATED) { /* 200: it stands for a task that was there before */
            nodes_accepted(nodes, user->first_op, 1);
        }
        return BENCH_ERROR_COUNT;
    }
    struct json_value root, results, item;
    if (json_parse(user->engine->parser, body, &root, NULL, NULL) != STATUS_OK ||
        !json_member(root, "results", &results)) {
        return BENCH_ERROR_NONSENSE;
    }
    struct json_iter it = json_iter_of(results);
    uint64_t accepted = 0;
    for (uint64_t op = user->first_op; op < user->first_op + step->batch && json_next(&it, NULL, &item); op++) {
        struct json_value id;
        struct json_value duplicate;
        if (json_member(item, "id", &id)) {
            accepted++;
            if (!json_member(item, "duplicate", &duplicate)) {
                nodes_accepted(nodes, op, 1);
            }
        }
    }
    user->items = accepted;
    return accepted > 0 ? BENCH_ERROR_COUNT : BENCH_ERROR_STATUS_OTHER;
}

/* True: the task goes on, and its end is asked for again. */
static bool task_goes_on(struct user *user, struct slice body, enum bench_error *ret_error)
{
    struct json_value root, member;
    struct slice id, state;
    if (json_parse(user->engine->parser, body, &root, NULL, NULL) != STATUS_OK || !json_member(root, "id", &member) ||
        !json_get_str(member, &id) || id.len == 0 || id.len >= sizeof(user->task_id) ||
        !json_member(root, "state", &member) || !json_get_str(member, &state)) {
        *ret_error = BENCH_ERROR_NONSENSE;
        return false;
    }
    if (user->task_id[0] == '\0') {
        nodes_accepted(user->engine->nodes, user->first_op, 1);
        memcpy(user->task_id, id.data, id.len);
        user->task_id[id.len] = '\0';
    }
    static const char *const final_states[] = {"succeeded", "dead", "cancelled", "expired"};
    for (size_t i = 0; i < ARRAY_COUNT(final_states); i++) {
        if (slice_equal_str(state, final_states[i])) {
            return false;
        }
    }
    return true;
}

void user_answered(struct http_client *client, void *ctx, const struct http_outcome *outcome)
{
    struct connection *connection = ctx;
    struct user *user = connection->user;
    (void)client;
    ensure_magic(user, BENCH_USER_MAGIC);
    const struct step_plan *plan = &user->flow->steps[user->step];
    enum bench_error error = error_of(outcome->failure);
    if (error == BENCH_ERROR_COUNT) {
        error = request_check(user, plan, outcome->status_code, outcome->body);
    }
    if (error == BENCH_ERROR_COUNT && plan->step->action == SCENARIO_SUBMIT) {
        error = note_submitted(user, plan->step, outcome->status_code, outcome->body);
    }
    if (error == BENCH_ERROR_COUNT && plan->step->action == SCENARIO_TASK &&
        task_goes_on(user, outcome->body, &error)) {
        send_now(user);
        return;
    }
    user_step_ended(user, error, outcome->sent_ns, outcome->end_ns, outcome->bytes_out, outcome->bytes_in);
}

static void on_alarm(struct alarm *alarm, int64_t now_ns)
{
    struct user *user = (struct user *)(void *)((char *)alarm - offsetof(struct user, alarm));
    ensure_magic(user, BENCH_USER_MAGIC);
    switch (user->state) {
    case USER_THINKS:
        if (user->flow == NULL) {
            begin_next_flow(user, now_ns);
        } else {
            go(user, now_ns);
        }
        break;
    case USER_WAITS:
        pool_wait_no_more(user->engine, user);
        user_step_ended(user, BENCH_ERROR_TIMED_OUT, 0, now_ns, 0, 0);
        break;
    case USER_ASKS:
        user_step_ended(user, BENCH_ERROR_TIMED_OUT, 0, now_ns, 0, 0);
        break;
    case USER_FREE:
        break;
    }
}

void user_arrive(struct phase_run *phase, const struct arrival *arrival, struct connection *connection, bool is_counted,
                 int64_t now_ns)
{
    struct engine *engine = phase->engine;
    struct user *user = user_new(phase);
    if (user == NULL) {
        /* No memory for one more user: to the target it is as if there were no connection. */
        uint64_t random;
        uint32_t label = phase_choose_flow(phase, 0, arrival->index, &random)->first_label;
        if (!is_counted) {
            tally_scheduled(phase, label);
        }
        tally_ended(
            phase, label,
            &(struct tally_end){.error = BENCH_ERROR_NO_CONNECTION, .intended_ns = arrival->at_ns, .end_ns = now_ns});
        if (connection != NULL) {
            pool_give(engine, connection, now_ns);
        }
        return;
    }
    user->number = 0;
    user->index = arrival->index;
    user->at_ns = arrival->at_ns;
    user->connection = connection;
    user->is_counted = is_counted;
    if (!begin_flow(user)) {
        if (is_counted) {
            tally_ended(
                phase, user->flow->first_label,
                &(struct tally_end){.error = BENCH_ERROR_MISMATCH, .intended_ns = arrival->at_ns, .end_ns = now_ns});
        }
        user_end(user, now_ns);
        return;
    }
    go(user, now_ns);
}

void user_join(struct phase_run *phase, uint32_t number, int64_t at_ns, int64_t now_ns)
{
    struct user *user = user_new(phase);
    if (user == NULL) {
        return;
    }
    user->number = number;
    user->index = 0;
    user->at_ns = at_ns;
    user->flow = NULL;
    begin_next_flow(user, now_ns);
}

void user_retire(struct user *user)
{
    if (user->state == USER_THINKS) {
        user_end(user, clock_mono_ns());
    }
}
