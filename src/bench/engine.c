/* engine.c - a run from its beginning to its end.
 *
 *   start targets ─▶ look the name up ─▶ make queues and kinds known, open sessions ─▶ phases ─▶ drain ─▶ judge
 *
 * Everything happens on one loop and one thread: sending, receiving, sampling, starting and killing. That thread's own lag is part of
 * what is measured: how late it turned to an arrival or a pause that was over, and how long answers that came in one batch
 * waited for each other.
 *
 * After the last phase nothing new is begun, and what is in flight is waited for until it would have timed out. */
#include "bench/engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "bench/engine_internal.h"
#include "bench/gates.h"

#define LEAD_NS (20 * NS_PER_MS)  /* between the last preparation and the first arrival */
#define SETTLE_NS (30 * NS_PER_S) /* accepted tasks that have not ended by then are lost */
#define CLOSE_NS (5 * NS_PER_S)   /* sessions and sockets that have not closed by then are left */

int64_t engine_thread_cpu_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (int64_t)now.tv_sec * NS_PER_S + now.tv_nsec;
}

/* --- each second --- */

static void watch_processes(struct engine *engine)
{
    int pid;
    const char *name;
    for (uint32_t i = 0; engine->targets != NULL && i < ENGINE_PROCESSES_MAX &&
                         (name = targets_process(engine->targets, i, &pid)) != NULL;
         i++) {
        if (pid != 0 && pid != engine->pids[i]) {
            engine->pids[i] = pid;
            sampler_watch(engine->sampler, name, pid);
        }
    }
}

static double hub_use(const struct engine *engine, uint64_t *ret_memory_bytes)
{
    const struct bench_result *result = engine->result;
    for (uint32_t i = result->sample_count; i-- > 0;) {
        const struct bench_sample *sample = &result->samples[i];
        if (strncmp(result->processes[sample->process].name, "hub", 3) == 0) {
            *ret_memory_bytes = sample->memory_bytes;
            return sample->cpu_percent;
        }
    }
    *ret_memory_bytes = 0;
    return 0;
}

static void tell_progress(struct engine *engine, int64_t now_ns)
{
    if (engine->options->on_progress == NULL) {
        return;
    }
    char phase[256];
    phases_names(engine, phase, sizeof(phase));
    uint64_t items;
    struct bench_counts total = tally_total(engine, &items);
    struct bench_progress progress = {.scenario = engine->scenario,
                                      .at_ns = now_ns - engine->begin_ns,
                                      .planned_ns = phases_planned_ns(engine),
                                      .phase = phase,
                                      .seconds = engine->result->seconds,
                                      .second_count = engine->result->second_count,
                                      .total = &total,
                                      .generator_cpu_percent = engine->generator_cpu_percent};
    progress.hub_cpu_percent = hub_use(engine, &progress.hub_memory_bytes);
    engine->options->on_progress(engine->options->ctx, &progress);
}

static void close_second(struct engine *engine, int64_t now_ns)
{
    int64_t cpu_ns = engine_thread_cpu_ns();
    if (now_ns > engine->second_at_ns) {
        engine->generator_cpu_percent =
            100.0 * (double)(cpu_ns - engine->second_cpu_ns) / (double)(now_ns - engine->second_at_ns);
    }
    engine->second_cpu_ns = cpu_ns;
    engine->second_at_ns = now_ns;
    tally_second(engine, engine->second);
    watch_processes(engine);
    int64_t every = engine->scenario->sample_ns / NS_PER_S;
    if (every <= 1 || engine->second % every == 0) {
        sampler_tick(engine->sampler, engine->second);
    }
    tell_progress(engine, now_ns);
    engine->second++;
}

static void on_second(struct alarm *alarm, int64_t now_ns)
{
    struct engine *engine = (struct engine *)(void *)((char *)alarm - offsetof(struct engine, second_alarm));
    close_second(engine, now_ns);
    alarm_set(alarm, engine->begin_ns + ((int64_t)engine->second + 1) * NS_PER_S);
}

/* How long answers that came together waited for each other. In the open model the arrivals tell; there, thousands of quick batches would
 * only hide a late one. */
static void on_batch(void *ctx, int64_t waited_ns)
{
    struct engine *engine = ctx;
    if (engine->closed_phases > 0) {
        tally_lag(engine, waited_ns);
    }
}

static void on_signal(uv_signal_t *signal, int number)
{
    struct engine *engine = signal->data;
    (void)number;
    engine->is_interrupted = true;
}

/* --- faults --- */

static void on_target_exit(void *ctx, const char *name, int exit_code, int signal)
{
    struct engine *engine = ctx;
    char what[96];
    if (signal != 0) {
        snprintf(what, sizeof(what), "%.40s was ended by signal %d", name, signal);
    } else {
        snprintf(what, sizeof(what), "%.40s ended by itself with code %d", name, exit_code);
    }
    (void)bench_result_add_event(engine->result, engine->begin_ns != 0 ? clock_mono_ns() - engine->begin_ns : 0, what);
}

static void on_target_fault(void *ctx, const struct scenario_fault *fault, bool is_begin)
{
    struct engine *engine = ctx;
    char what[96];
    snprintf(what, sizeof(what), "%s %s", fault->name, is_begin ? "begins" : "is over");
    struct bench_event *event = bench_result_add_event(engine->result, clock_mono_ns() - engine->begin_ns, what);
    if (event != NULL && is_begin) {
        snprintf(event->fault, sizeof(event->fault), "%s", fault->name);
    }
}

/* Whether its phase still runs; where there is none, the run. */
static bool fault_may_go_on(const struct fault_run *fault)
{
    const struct engine *engine = fault->engine;
    return fault->plan.phase < 0 ? !phases_are_over(engine) : engine->phases[fault->plan.phase].state != PHASE_ENDED;
}

static void on_fault_alarm(struct alarm *alarm, int64_t now_ns)
{
    struct fault_run *fault = (struct fault_run *)(void *)((char *)alarm - offsetof(struct fault_run, alarm));
    struct engine *engine = fault->engine;
    if (fault->next_ns == 0) {
        /* Its phase has not begun: look again when the time may have come. */
        const struct phase_run *phase = &engine->phases[fault->plan.phase];
        if (phase->state == PHASE_WAITS) {
            alarm_set(alarm, now_ns + NS_PER_MS);
            return;
        }
        fault->next_ns = phase->begin_ns + fault->plan.at_ns;
        if (fault->next_ns > now_ns) {
            alarm_set(alarm, fault->next_ns);
            return;
        }
    }
    if (!fault_may_go_on(fault)) {
        return;
    }
    char why[200] = "";
    if (targets_fault(engine->targets, &fault->plan, why, sizeof(why)) != STATUS_OK) {
        struct bench_result *result = engine->result;
        snprintf(result->invalid_why, sizeof(result->invalid_why), "The fault %s could not be done: %s",
                 fault->plan.name, why);
    }
    if (fault->plan.every_ns > 0) {
        fault->next_ns += fault->plan.every_ns;
        alarm_set(alarm, fault->next_ns);
    }
}

static enum status faults_prepare(struct engine *engine)
{
    const struct scenario *scenario = engine->scenario;
    engine->faults = calloc(scenario->fault_count + 1, sizeof(*engine->faults));
    if (scenario->fault_count > 0) {
        engine->recovery = recovery_new();
    }
    if (engine->faults == NULL || (scenario->fault_count > 0 && engine->recovery == NULL)) {
        return STATUS_NO_MEMORY;
    }
    for (uint32_t i = 0; i < scenario->fault_count; i++) {
        struct fault_run *fault = &engine->faults[i];
        fault->engine = engine;
        fault->plan = scenario->faults[i];
        fault->plan.at_ns = (int64_t)((double)fault->plan.at_ns * engine->time_scale);
        fault->plan.every_ns = (int64_t)((double)fault->plan.every_ns * engine->time_scale);
        if (alarm_open(engine->alarms, &fault->alarm, on_fault_alarm) != STATUS_OK) {
            return STATUS_NO_MEMORY;
        }
    }
    return STATUS_OK;
}

static void faults_start(struct engine *engine)
{
    for (uint32_t i = 0; i < engine->scenario->fault_count; i++) {
        struct fault_run *fault = &engine->faults[i];
        fault->next_ns = fault->plan.phase < 0 ? engine->begin_ns + fault->plan.at_ns : 0;
        alarm_set(&fault->alarm, fault->plan.phase < 0 ? fault->next_ns : engine->begin_ns);
    }
}

/* --- preparing --- */

/* As many descriptors as the machine allows. */
static enum status raise_limits(const struct engine *engine, char *ret_why, size_t why_size)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return STATUS_OK;
    }
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
    uint64_t wanted = 64 + engine->scenario->connections +
                      (engine->scenario->has_workload ? engine->scenario->workload.node_count : 0);
    for (uint32_t i = 0; i < engine->scenario->phase_count; i++) {
        const struct scenario_phase *phase = &engine->scenario->phases[i];
        uint64_t users = phase->users_from > phase->users_to ? phase->users_from : phase->users_to;
        if (phase->model == SCENARIO_USERS && 64 + users > wanted) {
            wanted = 64 + users;
        }
    }
    if (limit.rlim_max != RLIM_INFINITY && wanted > limit.rlim_max) {
        snprintf(ret_why, why_size,
                 "The scenario needs about %llu connections at a time, but this process may have %llu descriptors "
                 "(ulimit -Hn).",
                 (unsigned long long)wanted, (unsigned long long)limit.rlim_max);
        return STATUS_UNSUPPORTED_HOST;
    }
    return STATUS_OK;
}

static const char *first_hub(const struct engine *engine)
{
    for (uint32_t i = 0; i < engine->scenario->start_count; i++) {
        if (engine->scenario->starts[i].kind == START_HUB) {
            return engine->scenario->starts[i].name;
        }
    }
    return NULL;
}

static enum status find_target(struct engine *engine, char *ret_why, size_t why_size)
{
    const char *target = engine->scenario->target;
    const char *url = target;
    if (strstr(target, "://") == NULL) {
        const char *name = target[0] != '\0' ? target : first_hub(engine);
        url = name != NULL && engine->targets != NULL ? targets_url(engine->targets, name) : NULL;
        if (url == NULL) {
            snprintf(ret_why, why_size,
                     "The scenario has no target: say \"target http://HOST:PORT\" or \"start hub\".");
            return STATUS_INVALID;
        }
    }
    snprintf(engine->url, sizeof(engine->url), "%s", url);
    return http_origin_new(&engine->loop, engine->alarms, engine->url, &engine->origin, ret_why, why_size);
}

static enum status start_targets(struct engine *engine, char *ret_why, size_t why_size)
{
    if (engine->scenario->start_count == 0) {
        return STATUS_OK;
    }
    struct targets_callbacks callbacks = {.on_exit = on_target_exit,
                                          .on_fault = on_target_fault,
                                          .is_interrupted = &engine->is_interrupted,
                                          .ctx = engine};
    return targets_start(&engine->loop, engine->scenario, engine->options->program, engine->options->scratch,
                         &callbacks, &engine->targets, ret_why, why_size);
}

static enum status start_sampler(struct engine *engine)
{
    const char *hub = first_hub(engine);
    const char *metrics_url = hub != NULL ? targets_url(engine->targets, hub) : NULL;
    enum status status = sampler_new(&engine->loop, engine->result, metrics_url, &engine->sampler);
    if (status == STATUS_OK) {
        watch_processes(engine);
    }
    return status;
}

static enum status start_nodes(struct engine *engine, char *ret_why, size_t why_size)
{
    if (!engine->scenario->has_workload) {
        return STATUS_OK;
    }
    struct nodes_config config = {.loop = &engine->loop,
                                  .alarms = engine->alarms,
                                  .url = engine->url,
                                  .origin = engine->origin,
                                  .workload = &engine->scenario->workload,
                                  .seed = engine->scenario->seed,
                                  .result = engine->result};
    return nodes_open(&config, &engine->is_interrupted, &engine->nodes, ret_why, why_size);
}

static enum status prepare_loop(struct engine *engine)
{
    static const int numbers[ARRAY_COUNT(engine->signals)] = {SIGINT, SIGTERM,
                                                              SIGHUP}; /* the last: its terminal is gone */
    enum status status = loop_init(&engine->loop);
    if (status != STATUS_OK) {
        return status;
    }
    engine->loop.data = engine;
    for (size_t i = 0; i < ARRAY_COUNT(engine->signals); i++) {
        uv_signal_init(&engine->loop.uv, &engine->signals[i]);
        engine->signals[i].data = engine;
        if (!engine->options->keeps_going_on_interrupt) {
            uv_signal_start(&engine->signals[i], on_signal, numbers[i]);
        }
    }
    status = alarms_new(&engine->loop, &engine->alarms);
    if (status != STATUS_OK) {
        return status;
    }
    alarms_watch(engine->alarms, on_batch, engine);
    return alarm_open(engine->alarms, &engine->second_alarm, on_second);
}

static enum status prepare(struct engine *engine, char *ret_why, size_t why_size)
{
    snprintf(ret_why, why_size, "There is no memory.");
    engine->second = 0;
    engine->second_latency = histogram_new();
    if (engine->second_latency == NULL || bench_result_histograms(engine->result) != STATUS_OK) {
        return STATUS_NO_MEMORY;
    }
    enum status status = prepare_loop(engine);
    if (status == STATUS_OK) {
        status = raise_limits(engine, ret_why, why_size);
    }
    if (status == STATUS_OK) {
        status = start_targets(engine, ret_why, why_size);
    }
    if (status == STATUS_OK) {
        status = find_target(engine, ret_why, why_size);
    }
    if (status == STATUS_OK) {
        status = requests_compile(engine, ret_why, why_size);
    }
    if (status == STATUS_OK) {
        status = phases_prepare(engine, ret_why, why_size);
    }
    if (status == STATUS_OK) {
        status = pool_prepare(engine);
    }
    if (status == STATUS_OK) {
        status = faults_prepare(engine);
    }
    if (status == STATUS_OK) {
        status = start_sampler(engine);
    }
    return status == STATUS_OK ? start_nodes(engine, ret_why, why_size) : status;
}

/* --- running --- */

static void begin_drain(struct engine *engine)
{
    int64_t now_ns = clock_mono_ns();
    engine->is_draining = true;
    engine->drain_until_ns = now_ns + engine->scenario->timeout_ns + NS_PER_S;
    if (engine->nodes != NULL && engine->drain_until_ns < now_ns + SETTLE_NS) {
        engine->drain_until_ns = now_ns + SETTLE_NS;
    }
    for (uint32_t i = 0; i < engine->scenario->phase_count; i++) {
        struct user *next;
        for (struct user *user = engine->phases[i].users; user != NULL; user = next) {
            next = user->next;
            user_retire(user);
        }
    }
}

static bool is_over(struct engine *engine)
{
    if (engine->is_interrupted) {
        return true;
    }
    if (!phases_are_over(engine)) {
        return false;
    }
    if (!engine->is_draining) {
        begin_drain(engine);
    }
    bool is_idle = engine->users_now == 0 && engine->pool.arrivals_len == 0;
    return (is_idle && nodes_are_settled(engine->nodes)) || clock_mono_ns() > engine->drain_until_ns;
}

static void run(struct engine *engine)
{
    struct bench_result *result = engine->result;
    engine->begin_ns = clock_mono_ns() + LEAD_NS;
    result->started_wall_ns = clock_wall_ns() + LEAD_NS;
    engine->second_at_ns = engine->begin_ns;
    engine->second_cpu_ns = engine_thread_cpu_ns();
    alarm_set(&engine->second_alarm, engine->begin_ns + NS_PER_S);
    nodes_begin(engine->nodes, engine->begin_ns, engine->recovery);
    faults_start(engine);
    phases_start(engine);
    while (!is_over(engine)) {
        uv_run(&engine->loop.uv, UV_RUN_ONCE);
    }
}

static void judge(struct engine *engine)
{
    struct bench_result *result = engine->result;
    int64_t over_ns = clock_mono_ns();
    for (uint32_t i = 0; i < engine->scenario->phase_count; i++) {
        struct phase_run *phase = &engine->phases[i];
        if (phase->state == PHASE_RUNS) { /* interrupted */
            phase->ended_ns = over_ns;
        }
    }
    close_second(engine, over_ns);
    alarm_set(&engine->second_alarm, ALARM_NEVER);
    result->duration_ns = over_ns > engine->begin_ns ? over_ns - engine->begin_ns : 0; /* interrupted at once: 0 */
    nodes_finish(engine->nodes);
    sampler_finish(TAKE(engine->sampler));
    enum status status = tally_collect(engine);
    recovery_finish(TAKE(engine->recovery), result);
    validity_judge(engine, over_ns);
    if (status == STATUS_OK) {
        status = gates_evaluate(engine->scenario, result);
    }
    if (status != STATUS_OK && result->verdict != BENCH_INTERRUPTED) {
        result->verdict = BENCH_INVALID;
        snprintf(result->invalid_why, sizeof(result->invalid_why), "There was no memory for the results.");
    }
}

static void tear_down(struct engine *engine)
{
    struct loop *loop = &engine->loop;
    bool has_loop = loop->read_buffer != NULL;
    /* The loop runs on until the targets have ended; an interrupted run has phases and faults that are still to come. */
    phases_stop(engine);
    for (uint32_t i = 0; engine->faults != NULL && i < engine->scenario->fault_count; i++) {
        if (engine->faults[i].engine != NULL) { /* prepared */
            alarm_set(&engine->faults[i].alarm, ALARM_NEVER);
        }
    }
    users_free(engine);
    nodes_close(engine->nodes);
    pool_free(engine);
    if (engine->sampler != NULL) {
        sampler_finish(engine->sampler);
    }
    recovery_finish(engine->recovery, engine->result);
    if (engine->targets != NULL) {
        targets_stop(engine->targets);
    }
    int64_t until_ns = clock_mono_ns() + CLOSE_NS;
    while (has_loop && (engine->sockets_open > 0 || !nodes_are_closed(engine->nodes)) && clock_mono_ns() < until_ns) {
        uv_run(&loop->uv, UV_RUN_ONCE);
    }
    nodes_free(engine->nodes);
    for (uint32_t i = 0; engine->faults != NULL && i < engine->scenario->fault_count; i++) {
        alarm_close(&engine->faults[i].alarm);
    }
    free(engine->faults);
    phases_free(engine);
    requests_free(engine);
    histogram_free(engine->second_latency);
    if (has_loop) {
        uv_run(&loop->uv, UV_RUN_NOWAIT); /* clients that were freed go */
        alarm_close(&engine->second_alarm);
        alarms_free(engine->alarms);
        uv_run(&loop->uv, UV_RUN_NOWAIT);
        loop_free(loop);
    }
    http_origin_free(engine->origin);
    free(engine);
}

enum status bench_run(const struct scenario *scenario, const struct bench_options *options,
                      struct bench_result *ret_result, char *ret_why, size_t why_size)
{
    ret_why[0] = '\0';
    struct engine *engine = calloc(1, sizeof(*engine));
    bench_result_init(ret_result);
    if (engine == NULL) {
        snprintf(ret_why, why_size, "There is no memory.");
        return STATUS_NO_MEMORY;
    }
    engine->scenario = scenario;
    engine->options = options;
    engine->result = ret_result;
    engine->time_scale = options->time_scale > 0 ? options->time_scale : 1;
    snprintf(ret_result->scenario, sizeof(ret_result->scenario), "%s", scenario->name);
    snprintf(ret_result->title, sizeof(ret_result->title), "%s", scenario->title);
    ret_result->seed = scenario->seed;
    enum status status = prepare(engine, ret_why, why_size);
    if (status == STATUS_OK) {
        ret_why[0] = '\0';
        run(engine);
        judge(engine);
        status = engine->is_interrupted ? STATUS_INTERRUPTED : STATUS_OK;
    }
    tear_down(engine);
    return status;
}
