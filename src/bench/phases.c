/* phases.c - which phases run when, and the arrivals and users that they bring.
 *
 *   WAITS ── all that it comes after have ended, and its delay is over ──▶ RUNS ── time, or iterations, are over ──▶ ENDED
 *
 * A phase begins at the planned end of those before it, not at the moment somebody noticed, so the times of a run do not drift.
 * Arrivals follow the schedule's cursor with one alarm: when it rings, everything whose time has come is begun, and it is set
 * to the next one. Nothing that the target does moves an arrival. What is still in flight when a phase ends
 * is waited for and counted in it, while the next phase runs. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/hash.h"
#include "bench/engine_internal.h"

#define LATE_NS (10 * NS_PER_MS) /* past the end of its phase; less is the wake-up of a timer */

static void begin_ready(struct engine *engine, int64_t now_ns);

const struct flow_plan *phase_choose_flow(const struct phase_run *phase, uint32_t number, uint64_t index,
                                          uint64_t *ret_random)
{
    const struct engine *engine = phase->engine;
    uint64_t random = hash_mix(phase->plan.schedule.seed ^ hash_mix(((uint64_t)number << 40) ^ index));
    *ret_random = random;
    uint64_t at = phase->share_total > 0 ? hash_mix(random) % phase->share_total : 0;
    const struct flow_plan *flow = NULL;
    for (uint32_t i = 0; i < engine->scenario->flow_count; i++) {
        if ((phase->plan.flows & (1u << i)) == 0) {
            continue;
        }
        flow = &engine->flows[i];
        if (at < flow->flow->share) {
            return flow;
        }
        at -= flow->flow->share;
    }
    return flow;
}

/* --- arrivals --- */

static void arrive(struct phase_run *phase, const struct arrival *arrival, int64_t now_ns)
{
    struct engine *engine = phase->engine;
    uint64_t random;
    const struct flow_plan *flow = phase_choose_flow(phase, 0, arrival->index, &random);
    phase->arrivals++;
    phase->arrivals_late += now_ns > phase->end_ns + LATE_NS;
    if (!flow->begins_with_request) {
        user_arrive(phase, arrival, NULL, false, now_ns);
        return;
    }
    struct connection *connection = pool_take(engine);
    if (connection != NULL) {
        user_arrive(phase, arrival, connection, false, now_ns);
        return;
    }
    tally_lag(engine, now_ns - arrival->at_ns); /* the others' is noted when they ask */
    bool is_full = phase->plan.shed_above > 0 && engine->pool.arrivals_len >= phase->plan.shed_above;
    if (is_full || !pool_queue(engine, arrival)) {
        tally_shed(phase, flow->first_label);
    }
}

static void on_arrival(struct alarm *alarm, int64_t now_ns)
{
    struct phase_run *phase = (struct phase_run *)(void *)((char *)alarm - offsetof(struct phase_run, arrival));
    while (phase->cursor.at_ns != INT64_MAX && !phase->takes_no_more) {
        struct arrival arrival = {
            .at_ns = phase->begin_ns + phase->cursor.at_ns, .index = phase->cursor.index, .phase = phase};
        if (arrival.at_ns > now_ns) {
            alarm_set(&phase->arrival, arrival.at_ns);
            return;
        }
        schedule_next(&phase->cursor);
        arrive(phase, &arrival, now_ns);
    }
}

/* --- users --- */

/* How many users there are to be at a moment of the phase. */
static uint32_t users_at(const struct scenario_phase *plan, int64_t since_ns)
{
    if (plan->ramp_ns <= 0 || since_ns >= plan->ramp_ns) {
        return plan->users_to;
    }
    double change = (double)plan->users_to - (double)plan->users_from;
    double now = (double)plan->users_from + change * ((double)since_ns / (double)plan->ramp_ns);
    return (uint32_t)(now + 0.5);
}

/* When the number changes next. */
static int64_t users_change_at(const struct scenario_phase *plan, uint32_t now)
{
    double change = (double)plan->users_to - (double)plan->users_from;
    if (now == plan->users_to || change == 0) {
        return INT64_MAX;
    }
    double next = change > 0 ? (double)now + 0.5 : (double)now - 0.5;
    return (int64_t)((next - (double)plan->users_from) / change * (double)plan->ramp_ns) + 1;
}

static void on_population(struct alarm *alarm, int64_t now_ns)
{
    struct phase_run *phase = (struct phase_run *)(void *)((char *)alarm - offsetof(struct phase_run, arrival));
    int64_t since_ns = now_ns - phase->begin_ns;
    uint32_t wanted = users_at(&phase->plan, since_ns);
    uint32_t before = phase->users_wanted;
    phase->users_wanted = wanted;
    for (uint32_t number = before; number < wanted && phase->state == PHASE_RUNS; number++) {
        phase->arrivals++;
        user_join(phase, number, now_ns, now_ns);
    }
    if (wanted < before) {
        struct user *next;
        for (struct user *user = phase->users; user != NULL; user = next) {
            next = user->next;
            if (user->number >= wanted) {
                user_retire(user);
            }
        }
    }
    int64_t change_at = users_change_at(&phase->plan, wanted);
    if (change_at != INT64_MAX) {
        alarm_set(&phase->arrival, phase->begin_ns + (change_at > since_ns ? change_at : since_ns + NS_PER_MS));
    }
}

/* --- beginning and ending --- */

static void add_event(struct phase_run *phase, int64_t at_ns, const char *verb)
{
    char what[96];
    snprintf(what, sizeof(what), "phase %s %s", phase->plan.name, verb);
    (void)bench_result_add_event(phase->engine->result, at_ns - phase->engine->begin_ns, what);
}

static void note_cpu(struct engine *engine, const struct phase_run *phase, int64_t now_ns)
{
    if (!engine->has_cpu_mark && !phase->plan.is_discarded && phase->plan.model != SCENARIO_IDLE) {
        engine->has_cpu_mark = true;
        engine->cpu_begin_ns = engine_thread_cpu_ns();
        engine->measured_begin_ns = now_ns;
    }
}

static void begin(struct phase_run *phase, int64_t now_ns)
{
    phase->state = PHASE_RUNS;
    phase->end_ns = phase->plan.duration_ns > 0 ? phase->begin_ns + phase->plan.duration_ns : ALARM_NEVER;
    note_cpu(phase->engine, phase, now_ns);
    add_event(phase, phase->begin_ns, "begins");
    alarm_set(&phase->boundary, phase->end_ns);
    switch (phase->plan.model) {
    case SCENARIO_OPEN:
        schedule_begin(&phase->cursor, &phase->plan.schedule);
        on_arrival(&phase->arrival, now_ns);
        break;
    case SCENARIO_USERS:
        phase->engine->closed_phases++;
        on_population(&phase->arrival, now_ns);
        break;
    case SCENARIO_IDLE:
        break;
    }
}

void phase_end_now(struct phase_run *phase, int64_t now_ns)
{
    struct engine *engine = phase->engine;
    if (phase->plan.model == SCENARIO_OPEN) {
        on_arrival(&phase->arrival, now_ns); /* those whose time came while the generator was busy are late, not gone */
    }
    engine->closed_phases -= phase->plan.model == SCENARIO_USERS && phase->state == PHASE_RUNS;
    phase->state = PHASE_ENDED;
    engine->phases_ended++;
    phase->ended_ns = phase->end_ns != ALARM_NEVER && phase->end_ns < now_ns ? phase->end_ns : now_ns;
    alarm_set(&phase->boundary, ALARM_NEVER);
    alarm_set(&phase->arrival, ALARM_NEVER);
    add_event(phase, phase->ended_ns, "ends");
    if (phase->plan.model == SCENARIO_USERS) {
        struct user *next;
        for (struct user *user = phase->users; user != NULL; user = next) {
            next = user->next;
            user_retire(user);
        }
    }
    begin_ready(engine, now_ns);
}

static void on_boundary(struct alarm *alarm, int64_t now_ns)
{
    struct phase_run *phase = (struct phase_run *)(void *)((char *)alarm - offsetof(struct phase_run, boundary));
    if (phase->state == PHASE_WAITS) {
        begin(phase, now_ns);
    } else if (phase->state == PHASE_RUNS) {
        phase_end_now(phase, now_ns);
    }
}

/* Sets the beginning of those that can have one now. */
static void begin_ready(struct engine *engine, int64_t now_ns)
{
    for (uint32_t i = 0; i < engine->scenario->phase_count; i++) {
        struct phase_run *phase = &engine->phases[i];
        if (phase->state != PHASE_WAITS || phase->begin_ns != 0) {
            continue;
        }
        int64_t after_ns = engine->begin_ns;
        bool is_ready = true;
        for (uint32_t before = 0; before < engine->scenario->phase_count; before++) {
            if ((phase->plan.after & (UINT64_C(1) << before)) == 0) {
                continue;
            }
            is_ready = is_ready && engine->phases[before].state == PHASE_ENDED;
            if (engine->phases[before].ended_ns > after_ns) {
                after_ns = engine->phases[before].ended_ns;
            }
        }
        if (!is_ready) {
            continue;
        }
        phase->begin_ns = after_ns + phase->plan.after_delay_ns;
        if (phase->begin_ns <= now_ns) {
            begin(phase, now_ns);
        } else {
            alarm_set(&phase->boundary, phase->begin_ns);
        }
    }
}

static void scale(struct scenario_phase *plan, double factor)
{
    int64_t *const times[] = {&plan->ramp_ns,
                              &plan->duration_ns,
                              &plan->after_delay_ns,
                              &plan->schedule.duration_ns,
                              &plan->schedule.spike_at_ns,
                              &plan->schedule.spike_for_ns,
                              &plan->schedule.burst_every_ns,
                              &plan->schedule.burst_over_ns};
    for (size_t i = 0; i < ARRAY_COUNT(times); i++) {
        *times[i] = (int64_t)((double)*times[i] * factor);
    }
}

enum status phases_prepare(struct engine *engine, char *ret_why, size_t why_size)
{
    const struct scenario *scenario = engine->scenario;
    snprintf(ret_why, why_size, "There is no memory.");
    engine->phases = calloc(scenario->phase_count + 1, sizeof(*engine->phases));
    if (engine->phases == NULL) {
        return STATUS_NO_MEMORY;
    }
    for (uint32_t i = 0; i < scenario->phase_count; i++) {
        struct phase_run *phase = &engine->phases[i];
        phase->engine = engine;
        phase->plan = scenario->phases[i];
        phase->index = i;
        scale(&phase->plan, engine->time_scale);
        for (uint32_t flow = 0; flow < scenario->flow_count; flow++) {
            if ((phase->plan.flows & (1u << flow)) != 0) {
                phase->share_total += scenario->flows[flow].share;
            }
        }
        if (phase->plan.model != SCENARIO_IDLE && phase->share_total == 0) {
            snprintf(ret_why, why_size, "Phase %s has no flow to go through.", phase->plan.name);
            return STATUS_INVALID;
        }
        if (alarm_open(engine->alarms, &phase->arrival,
                       phase->plan.model == SCENARIO_OPEN ? on_arrival : on_population) != STATUS_OK ||
            alarm_open(engine->alarms, &phase->boundary, on_boundary) != STATUS_OK ||
            tally_prepare_phase(phase) != STATUS_OK) {
            return STATUS_NO_MEMORY;
        }
    }
    return STATUS_OK;
}

void phases_start(struct engine *engine)
{
    begin_ready(engine, clock_mono_ns());
}

void phases_stop(struct engine *engine)
{
    for (uint32_t i = 0; engine->phases != NULL && i < engine->scenario->phase_count; i++) {
        alarm_set(&engine->phases[i].arrival, ALARM_NEVER);
        alarm_set(&engine->phases[i].boundary, ALARM_NEVER);
    }
}

void phases_free(struct engine *engine)
{
    for (uint32_t i = 0; engine->phases != NULL && i < engine->scenario->phase_count; i++) {
        alarm_close(&engine->phases[i].arrival);
        alarm_close(&engine->phases[i].boundary);
        tally_free_phase(&engine->phases[i]);
    }
    free(TAKE(engine->phases));
}

bool phases_are_over(const struct engine *engine)
{
    return engine->phases_ended == engine->scenario->phase_count;
}

void phases_names(const struct engine *engine, char *ret, size_t size)
{
    size_t len = 0;
    ret[0] = '\0';
    for (uint32_t i = 0; i < engine->scenario->phase_count && len < size; i++) {
        if (engine->phases[i].state == PHASE_RUNS) {
            len += (size_t)snprintf(ret + len, size - len, "%s%s", len > 0 ? "," : "", engine->phases[i].plan.name);
        }
    }
}

double phases_rate_meant(const struct engine *engine, int64_t now_ns)
{
    double rate = 0;
    for (uint32_t i = 0; i < engine->scenario->phase_count; i++) {
        const struct phase_run *phase = &engine->phases[i];
        bool is_inside = phase->state != PHASE_WAITS && now_ns >= phase->begin_ns && now_ns < phase->end_ns;
        if (phase->plan.model == SCENARIO_OPEN && is_inside) {
            rate += schedule_rate(&phase->plan.schedule, now_ns - phase->begin_ns);
        }
    }
    return rate;
}

/* When each phase will have ended if all goes by time; 0 when some phase ends by its iterations alone. */
int64_t phases_planned_ns(const struct engine *engine)
{
    int64_t ends[SCENARIO_PHASES_MAX] = {0};
    int64_t last = 0;
    for (uint32_t i = 0; i < engine->scenario->phase_count; i++) {
        const struct scenario_phase *plan = &engine->phases[i].plan;
        if (plan->duration_ns <= 0) {
            return 0;
        }
        int64_t begin_ns = 0;
        for (uint32_t before = 0; before < i; before++) {
            if ((plan->after & (UINT64_C(1) << before)) != 0 && ends[before] > begin_ns) {
                begin_ns = ends[before];
            }
        }
        ends[i] = begin_ns + plan->after_delay_ns + plan->duration_ns;
        last = ends[i] > last ? ends[i] : last;
    }
    return last;
}
