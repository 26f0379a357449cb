/* fault.c - what goes wrong, and when. Each sort has its own schedule and its own stream. */
#include "base/ensure.h"
#include "sim/world.h"

static const uint32_t every_ms[SIM_FAULT_COUNT] = {
#define X(NAME, name, every, sentence) every,
#include "sim/fault.def"
#undef X
};

static enum stream stream_of(enum sim_fault fault)
{
    return (enum stream)(STREAM_FAULT + (unsigned)fault);
}

static uint64_t below(struct world *world, enum sim_fault fault, uint64_t bound)
{
    return world_below(world, stream_of(fault), bound);
}

bool fault_is_on(const struct world *world, enum sim_fault fault)
{
    return (world->options.faults & 1u << fault) != 0;
}

/* A pipe for one fault that waits for its moment. */
bool fault_loses(struct world *world)
{
    bool is_lost = world->lose_next && !world->is_healed;
    world->lose_next = false;
    return is_lost;
}

bool fault_duplicates(struct world *world)
{
    bool is_doubled = world->duplicate_next && !world->is_healed;
    world->duplicate_next = false;
    return is_doubled;
}

static int64_t some_ms(struct world *world, enum sim_fault fault, uint64_t usual, uint64_t long_)
{
    uint64_t ms = below(world, fault, 8) == 0 ? below(world, fault, long_) : below(world, fault, usual);
    return (int64_t)(ms + 1) * SIM_MS;
}

static void arm_disk(struct world *world, enum sim_fault fault)
{
    struct sim_hub *hub = &world->hub;
    if (hub->is_power_armed || hub->is_fault_armed) {
        return; /* the disk takes one at a time */
    }
    uint64_t number = 1 + below(world, fault, 12);
    trace(world, TRACE_DISK, (uint64_t)fault, number, 0);
    if (fault == SIM_FAULT_POWER_WRITE) {
        static const unsigned ops[] = {DISK_SIM_WRITE, DISK_SIM_SYNC, DISK_SIM_ANY, DISK_SIM_RENAME, DISK_SIM_SYNC_DIR};
        unsigned op = ops[below(world, fault, ARRAY_COUNT(ops))];
        disk_sim_cut_power(hub->disk, op, number, below(world, fault, 3000));
        hub->is_power_armed = true;
    } else if (fault == SIM_FAULT_FSYNC) {
        disk_sim_fail_call(hub->disk, DISK_SIM_SYNC, number, STATUS_IO, 0);
        hub->is_fault_armed = true;
    } else {
        disk_sim_fail_call(hub->disk, DISK_SIM_ANY & ~(unsigned)DISK_SIM_SYNC, number, STATUS_IO,
                           below(world, fault, 2000));
        hub->is_fault_armed = true;
    }
}

static void on_room(struct world *world, const struct event *event)
{
    (void)event;
    if (world->hub.full_until_ns <= world->now_ns) {
        disk_sim_set_capacity(world->hub.disk, UINT64_MAX);
    }
}

struct used {
    struct disk *disk;
    const char *dir;
    uint64_t size;
};

static bool on_file(void *ctx, const char *name)
{
    struct used *used = ctx;
    char path[96];
    size_t dir_len = strlen(used->dir);
    size_t len = strlen(name);
    ensure(dir_len + 1 + len < sizeof(path));
    memcpy(path, used->dir, dir_len);
    path[dir_len] = '/';
    memcpy(path + dir_len + 1, name, len + 1);
    used->size += disk_sim_file_size(used->disk, path);
    return true;
}

static void fill_disk(struct world *world)
{
    struct sim_hub *hub = &world->hub;
    if (hub->is_power_armed || hub->is_fault_armed) {
        return; /* looking at the files would count as calls */
    }
    struct used used = {.disk = hub->disk};
    static const char *const dirs[] = {"journal", "snapshot"};
    for (size_t i = 0; i < ARRAY_COUNT(dirs); i++) {
        used.dir = dirs[i];
        enum status status = hub->disk->list(hub->disk, dirs[i], on_file, &used);
        (void)status; /* not there yet: nothing in it */
    }
    int64_t for_ns = some_ms(world, SIM_FAULT_DISK_FULL, 3000, 8000);
    hub->full_until_ns = world->now_ns + for_ns;
    disk_sim_set_capacity(hub->disk, used.size + below(world, SIM_FAULT_DISK_FULL, 100000));
    trace(world, TRACE_DISK, SIM_FAULT_DISK_FULL, used.size, (uint64_t)(for_ns / SIM_MS));
    world_after(world, for_ns, on_room, 0, 0, NULL);
}

static void partition(struct world *world, uint32_t index)
{
    struct sim_node *node = &world->nodes[index];
    int64_t until_ns = world->now_ns + some_ms(world, SIM_FAULT_PARTITION, 3000, 9000);
    uint64_t ways = 1 + below(world, SIM_FAULT_PARTITION, 3);
    for (unsigned side = SIDE_NODE; side <= SIDE_HUB; side++) {
        if ((ways & 1u << side) != 0 && node->cut_until_ns[side] < until_ns) {
            node->cut_until_ns[side] = until_ns;
            trace(world, TRACE_CLOG, index, side, (uint64_t)((until_ns - world->now_ns) / SIM_MS));
        }
    }
}

/* Whether it is the fault of one node or worker, or of what lies between it and the hub. */
static bool is_of_nodes(enum sim_fault fault)
{
    return fault == SIM_FAULT_NODE_CRASH || fault == SIM_FAULT_NODE_FREEZE || fault == SIM_FAULT_NODE_LIE ||
           fault == SIM_FAULT_CUT || fault == SIM_FAULT_HALF_OPEN || fault == SIM_FAULT_CLOG ||
           fault == SIM_FAULT_PARTITION;
}

static void happen(struct world *world, enum sim_fault fault)
{
    struct sim_hub *hub = &world->hub;
    uint32_t index = (uint32_t)below(world, fault, world->node_count + workers_count(world));
    world->report->faults++;
    if (index >= world->node_count && is_of_nodes(fault)) {
        int64_t for_ns = some_ms(world, fault, 2000, 8000);
        worker_suffers(world, index - world->node_count, fault, for_ns, 1 + (uint32_t)below(world, fault, 3));
        return;
    }
    index = index < world->node_count ? index : 0;
    struct sim_node *node = &world->nodes[index];
    switch (fault) {
    case SIM_FAULT_KILL:
        hub_crash(world, CRASH_KILL);
        break;
    case SIM_FAULT_POWER:
        hub_crash(world, (enum crash)(CRASH_POWER_SOME + below(world, fault, 3)));
        break;
    case SIM_FAULT_STOP:
        hub_stop(world);
        break;
    case SIM_FAULT_POWER_WRITE:
    case SIM_FAULT_FSYNC:
    case SIM_FAULT_DISK_IO:
        arm_disk(world, fault);
        break;
    case SIM_FAULT_DISK_FULL:
        fill_disk(world);
        break;
    case SIM_FAULT_DISK_SLOW:
        hub->slow_until_ns = world->now_ns + some_ms(world, fault, 30, 1500);
        break;
    case SIM_FAULT_DAMAGE:
        if (!hub->is_power_armed && !hub->is_fault_armed) {
            hub_damage(world);
        }
        break;
    case SIM_FAULT_SNAPSHOT:
        hub_snapshot(world);
        break;
    case SIM_FAULT_NODE_CRASH:
        node_crash(world, index);
        break;
    case SIM_FAULT_NODE_FREEZE:
        node_freeze(world, index, some_ms(world, fault, 2000, 8000));
        break;
    case SIM_FAULT_NODE_LIE:
        node_lie(world, index, stream_of(fault));
        break;
    case SIM_FAULT_NODE_STOP:
        node_stop(world, index, stream_of(fault));
        break;
    case SIM_FAULT_NODE_TWIN:
        node_pose(world, index, stream_of(fault));
        break;
    case SIM_FAULT_CUT:
    case SIM_FAULT_HALF_OPEN:
        if (node->link != NULL) {
            net_abort(world, node->link, (enum side)below(world, fault, 2), fault == SIM_FAULT_HALF_OPEN);
        }
        break;
    case SIM_FAULT_CLOG:
        if (node->link != NULL) {
            enum side side = (enum side)below(world, fault, 2);
            int64_t for_ns = some_ms(world, fault, 800, 4000);
            node->link->clogged_until_ns[side] = world->now_ns + for_ns;
            trace(world, TRACE_CLOG, index, side, (uint64_t)(for_ns / SIM_MS));
        }
        break;
    case SIM_FAULT_PARTITION:
        partition(world, index);
        break;
    case SIM_FAULT_LOSE:
        world->lose_next = true;
        break;
    case SIM_FAULT_DUPLICATE:
        world->duplicate_next = true;
        break;
    case SIM_FAULT_CLOCK: {
        int64_t jump_ns = some_ms(world, fault, 2000, 60000) * (below(world, fault, 2) == 0 ? 1 : -1);
        world->wall_offset_ns += jump_ns;
        trace(world, TRACE_CLOCK, (uint64_t)(jump_ns / SIM_MS), (uint64_t)(world->wall_offset_ns / SIM_MS), 0);
        break;
    }
    case SIM_FAULT_COUNT:
        break;
    }
}

static int64_t pause_ns(struct world *world, enum sim_fault fault)
{
    uint64_t mean_us = (uint64_t)every_ms[fault] * 100000 / world->options.fault_rate;
    return (int64_t)(1 + below(world, fault, 2 * mean_us)) * SIM_US;
}

static void on_fault(struct world *world, const struct event *event)
{
    enum sim_fault fault = (enum sim_fault)event->a;
    if (world->is_healed) {
        return;
    }
    world_after(world, pause_ns(world, fault), on_fault, event->a, 0, NULL);
    happen(world, fault);
}

void faults_init(struct world *world)
{
    for (unsigned i = 0; i < SIM_FAULT_COUNT; i++) {
        if (fault_is_on(world, (enum sim_fault)i) && world->options.fault_rate > 0) {
            world_after(world, pause_ns(world, (enum sim_fault)i), on_fault, i, 0, NULL);
        }
    }
}

void faults_heal(struct world *world)
{
    struct sim_hub *hub = &world->hub;
    world->lose_next = world->duplicate_next = false;
    disk_sim_set_capacity(hub->disk, UINT64_MAX);
    if (!disk_sim_has_failed(hub->disk)) {
        disk_sim_fail_call(hub->disk, DISK_SIM_ANY, 0, STATUS_IO, 0);
        hub->is_power_armed = hub->is_fault_armed = false;
    } /* else the hub is about to learn of it */
    hub->slow_until_ns = hub->full_until_ns = 0;
    /* The hub's time may not stand still behind what entries already say. */
    if (world->checks.last_time_ns > hub_wall_ns(world)) {
        world->wall_offset_ns += world->checks.last_time_ns - hub_wall_ns(world);
    }
}
