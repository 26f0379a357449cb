/* world.c - virtual time, seeded chance, the trace, and the run from the first event to the last check.
 *
 *   events by (time, order) ──▶ fire ──▶ checks that cost little ──▶ now and then core_check and friends
 *      │ after `steps` of them the faults heal: everything broken mends, nobody asks for anything new
 *      └ then all that was accepted must end (liveness), and memory must come to rest
 *
 * Nothing here asks the machine for time, chance or addresses: two runs with the same options fire the same events in
 * the same order, and `trace` mixes all of them into one hash. */
#include <stdio.h>
#include <stdlib.h>

#include "base/ensure.h"
#include "sim/world.h"

#define LAST_EVENTS 60
#define HEAL_NS (900 * SIM_S) /* of virtual time for everything to end once nothing is broken any more */
#define HEAL_STEPS 4000000u   /* and events */
#define WALL_BASE_NS (INT64_C(1700000000) * SIM_S)

/* --- faults' names --- */

static const struct {
    const char *name, *sentence;
} fault_names[SIM_FAULT_COUNT] = {
#define X(NAME, name, every_ms, sentence) {name, sentence},
#include "sim/fault.def"
#undef X
};

const char *sim_fault_name(enum sim_fault fault)
{
    return (size_t)fault < ARRAY_COUNT(fault_names) ? fault_names[fault].name : NULL;
}

const char *sim_fault_sentence(enum sim_fault fault)
{
    return (size_t)fault < ARRAY_COUNT(fault_names) ? fault_names[fault].sentence : NULL;
}

/* --- the trace --- */

struct traced {
    int64_t at_ns;
    uint64_t step;
    enum trace_kind kind;
    uint64_t a, b, c;
};

static struct traced last[LAST_EVENTS]; /* of the run, for the story of a failure */
static uint64_t last_count;
static char *last_text; /* owned */

static const char *const trace_formats[TRACE_COUNT] = {
#define X(NAME, format) format,
#include "sim/trace.def"
#undef X
};

void trace(struct world *world, enum trace_kind kind, uint64_t a, uint64_t b, uint64_t c)
{
    uint64_t hash = world->report->trace_hash;
    hash = hash_mix(hash ^ (uint64_t)world->now_ns);
    hash = hash_mix(hash ^ ((uint64_t)kind << 56 ^ a));
    hash = hash_mix(hash ^ b);
    world->report->trace_hash = hash_mix(hash ^ c);
    last[last_count++ % LAST_EVENTS] = (struct traced){world->now_ns, world->step, kind, a, b, c};
}

const char *sim_last_events(void)
{
    struct buf out;
    buf_init(&out, 1 << 20);
    uint64_t first = last_count > LAST_EVENTS ? last_count - LAST_EVENTS : 0;
    for (uint64_t i = first; i < last_count; i++) {
        const struct traced *one = &last[i % LAST_EVENTS];
        buf_printf(&out, "%9llu %12.6f ms  ", (unsigned long long)one->step, (double)one->at_ns / 1e6);
        char text[256];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        snprintf(text, sizeof(text), trace_formats[one->kind], (unsigned long long)one->a, (unsigned long long)one->b,
                 (unsigned long long)one->c);
#pragma GCC diagnostic pop
        buf_append_str(&out, text);
        buf_append_char(&out, '\n');
    }
    free(last_text);
    last_text = strdup(buf_cstr(&out));
    buf_free(&out);
    return last_text != NULL ? last_text : "";
}

/* --- failure --- */

static struct world *running; /* for the hook of ensure */

void world_fail(struct world *world, const char *rule, const char *format, ...)
{
    struct sim_report *report = world->report;
    if (report->has_failed) {
        return;
    }
    report->has_failed = true;
    report->failed_step = world->step;
    snprintf(report->rule, sizeof(report->rule), "%s", rule);
    va_list args;
    va_start(args, format);
    vsnprintf(report->why, sizeof(report->why), format, args);
    va_end(args);
}

static void on_ensure(const char *text)
{
    if (running != NULL) {
        struct world *world = running;
        world_fail(world, "ensure", "a statement that must hold does not: %s", text);
        longjmp(world->failed, 1); /* what the run owned is lost, as after any abort */
    }
}

/* --- time --- */

static bool is_before(const struct event *a, const struct event *b)
{
    return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->order < b->order;
}

void world_after(struct world *world, int64_t delay_ns, void (*fire)(struct world *world, const struct event *event),
                 uint64_t a, uint64_t b, void *owned)
{
    if (world->event_count == world->event_cap) {
        world->event_cap = world->event_cap == 0 ? 1024 : world->event_cap * 2;
        world->events = realloc(world->events, world->event_cap * sizeof(*world->events));
        ensure(world->events != NULL);
    }
    struct event event = {world->now_ns + (delay_ns > 0 ? delay_ns : 0), ++world->order, fire, a, b, owned};
    size_t at = world->event_count++;
    while (at > 0 && is_before(&event, &world->events[(at - 1) / 2])) {
        world->events[at] = world->events[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    world->events[at] = event;
}

static struct event take_event(struct world *world)
{
    struct event top = world->events[0];
    struct event moved = world->events[--world->event_count];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= world->event_count) {
            break;
        }
        if (child + 1 < world->event_count && is_before(&world->events[child + 1], &world->events[child])) {
            child++;
        }
        if (!is_before(&world->events[child], &moved)) {
            break;
        }
        world->events[at] = world->events[child];
        at = child;
    }
    world->events[at] = moved;
    return top;
}

/* --- chance --- */

uint64_t world_below(struct world *world, enum stream stream, uint64_t bound)
{
    return rng_below(&world->streams[stream], bound);
}

bool world_chance(struct world *world, enum stream stream, uint32_t permille)
{
    return permille > 0 && rng_below(&world->streams[stream], 1000) < permille;
}

int64_t world_range(struct world *world, enum stream stream, struct words_range range)
{
    return range.min + (int64_t)rng_below(&world->streams[stream], (uint64_t)(range.max - range.min) + 1);
}

int64_t hub_wall_ns(const struct world *world)
{
    return WALL_BASE_NS + world->now_ns + world->wall_offset_ns;
}

/* --- one run --- */

static void world_open(struct world *world, const struct sim_options *options, struct sim_report *report)
{
    world->options = *options;
    world->workload = options->workload;
    world->report = report;
    for (unsigned i = 0; i < STREAM_COUNT; i++) {
        rng_seed(&world->streams[i], hash_mix(options->seed ^ hash_mix(i + 1)));
    }
    report->trace_hash = hash_mix(options->seed);
    last_count = 0;
    world->json = json_parser_new();
    world->said = calloc(1, sizeof(*world->said));
    ensure(world->json != NULL && world->said != NULL);
    buf_init(&world->text, 1 << 20);
    buf_init(&world->aux, 1 << 20);
    checks_init(world);
    net_init(world);
    hub_init(world);
    nodes_init(world);
    workers_init(world);
    clients_init(world);
    faults_init(world);
}

static void world_close(struct world *world)
{
    hub_free(world);
    clients_free(world);
    workers_free(world);
    world_nodes_free(world);
    net_free(world);
    for (size_t i = 0; i < world->event_count; i++) {
        free(world->events[i].owned);
    }
    free(world->events);
    checks_free(world);
    buf_free(&world->text);
    buf_free(&world->aux);
    free(world->said);
    json_parser_free(world->json);
}

static void heal(struct world *world)
{
    world->is_healed = true;
    faults_heal(world);
    nodes_heal(world);
    workers_heal(world);
    trace(world, TRACE_HEAL, world->checks.seen.open_count,
          world->hub.is_up ? core_seq(sequencer_core(world->hub.hub.sequencer)) : 0, world->step);
}

static void fire_next(struct world *world)
{
    struct event event = take_event(world);
    ensure(event.at_ns >= world->now_ns);
    world->now_ns = event.at_ns;
    world->step++;
    event.fire(world, &event);
    free(event.owned);
    hub_after_event(world);
    check_now_and_then(world);
}

static void run(struct world *world)
{
    struct sim_report *report = world->report;
    while (world->step < world->options.steps && !report->has_failed) {
        ensure(world->event_count > 0);
        fire_next(world);
    }
    if (report->has_failed) {
        return;
    }
    heal(world);
    int64_t until_ns = world->now_ns + HEAL_NS;
    uint64_t until_step = world->step + HEAL_STEPS;
    char why[256];
    while (!report->has_failed && !check_is_quiet(world, why, sizeof(why))) {
        if (world->now_ns > until_ns || world->step > until_step || world->event_count == 0) {
            report->is_liveness = true;
            world_fail(world, "liveness", "nothing is broken any more, and after %lld s still: %s",
                       (long long)((world->now_ns - until_ns + HEAL_NS) / SIM_S), why);
            return;
        }
        for (int i = 0; i < 50 && world->event_count > 0 && !report->has_failed; i++) {
            fire_next(world);
        }
    }
    if (!report->has_failed) {
        trace(world, TRACE_QUIET, core_seq(sequencer_core(world->hub.hub.sequencer)), 0, 0);
        check_end(world);
    }
}

enum status sim_accepts(const struct workload *workload, char *ret_why, size_t why_size)
{
    if (workload->node_count > SIM_NODES_MAX) {
        snprintf(ret_why, why_size, "the simulator takes at most %d nodes, and these are %u", SIM_NODES_MAX,
                 workload->node_count);
        return STATUS_INVALID;
    }
    if (workload->worker_count > SIM_NODES_MAX) {
        snprintf(ret_why, why_size, "the simulator takes at most %d workers, and these are %u", SIM_NODES_MAX,
                 workload->worker_count);
        return STATUS_INVALID;
    }
    if (workload->clients > SIM_CLIENTS_MAX) {
        snprintf(ret_why, why_size, "the simulator takes at most %d clients, and these are %u", SIM_CLIENTS_MAX,
                 workload->clients);
        return STATUS_INVALID;
    }
    return STATUS_OK;
}

void sim_run(const struct sim_options *options, struct sim_report *ret_report)
{
    ensure(options->workload->node_count <= SIM_NODES_MAX && options->workload->worker_count <= SIM_NODES_MAX &&
           options->workload->clients <= SIM_CLIENTS_MAX);
    *ret_report = (struct sim_report){0};
    struct world *world = calloc(1, sizeof(*world));
    ensure(world != NULL);
    ensure_on_failure(on_ensure);
    running = world;
    if (setjmp(world->failed) == 0) {
        world_open(world, options, ret_report);
        run(world);
        ret_report->steps = world->step;
        ret_report->virtual_ns = world->now_ns;
        ret_report->life_count = world->hub.life;
        ret_report->tasks = world->checks.seen.op_count;
        running = NULL;
        world_close(world);
        free(world);
    } else {
        ret_report->steps = world->step;
        ret_report->virtual_ns = world->now_ns;
    }
    running = NULL;
    ensure_on_failure(NULL);
}

/* --- a smaller history --- */

static bool fails_alike(const struct sim_options *options, const struct sim_report *wanted,
                        struct sim_report *ret_report)
{
    sim_run(options, ret_report);
    return ret_report->has_failed && strcmp(ret_report->rule, wanted->rule) == 0;
}

void sim_shrink(struct sim_options *options, const struct sim_report *report)
{
    struct sim_report found = *report;
    struct sim_report tried;
    struct sim_options best = *options;
    /* A broken rule is broken at a step; what comes after it is not needed. */
    if (!report->is_liveness && report->failed_step < best.steps) {
        best.steps = report->failed_step;
    }
    for (unsigned i = 0; i < SIM_FAULT_COUNT; i++) {
        struct sim_options without = best;
        without.faults &= ~(1u << i);
        if (without.faults != best.faults && fails_alike(&without, &found, &tried)) {
            best = without;
            if (!tried.is_liveness && tried.failed_step < best.steps) {
                best.steps = tried.failed_step;
            }
        }
    }
    for (uint64_t part = best.steps / 2; part >= 1 && best.steps > part; part /= 2) {
        struct sim_options shorter = best;
        shorter.steps = best.steps - part;
        if (fails_alike(&shorter, &found, &tried)) {
            best = shorter;
        }
    }
    *options = best;
    sim_run(options, &tried); /* so that the last events are those of the smaller history */
}
