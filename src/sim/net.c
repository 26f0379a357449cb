/* net.c - connections between nodes and the hub, as TCP shows them.
 *
 * A link is a stream in each direction: what was sent arrives late, in order, whole, or not at all because the link is
 * gone. A network that loses or reorders packets is, behind TCP, a direction that stands still for a while (clogged) and
 * then brings everything at once. An end that is gone without a word (power, a forgotten NAT entry) leaves the other
 * believing; it learns of it when it sends, or never. */
#include <stdlib.h>

#include "base/ensure.h"
#include "sim/world.h"

#define DELAY_US 20 /* least one-way delay */
#define SPREAD_US 800

struct packet {
    size_t len;
    char text[];
};

struct net {
    struct link **links; /* owned, each owned */
    uint32_t count, cap;
    struct session_port port;
};

void net_init(struct world *world)
{
    world->net = calloc(1, sizeof(*world->net));
    ensure(world->net != NULL);
}

void net_free(struct world *world)
{
    for (uint32_t i = 0; i < world->net->count; i++) {
        free(world->net->links[i]);
    }
    free(world->net->links);
    free(world->net);
}

static int64_t delay_ns(struct world *world)
{
    uint64_t spread = world_chance(world, STREAM_NET, 20) ? SPREAD_US * 20 : SPREAD_US;
    return (DELAY_US + (int64_t)world_below(world, STREAM_NET, spread)) * SIM_US;
}

/* --- links --- */

static struct link *link_new(struct world *world, uint32_t node)
{
    struct net *net = world->net;
    struct link *link = NULL;
    for (uint32_t i = 0; i < net->count && link == NULL; i++) {
        struct link *old = net->links[i];
        if (!old->is_open[SIDE_NODE] && !old->is_open[SIDE_HUB] && old->pending == 0 && old->session == NULL) {
            link = old;
        }
    }
    if (link == NULL) {
        if (net->count == net->cap) {
            net->cap = net->cap == 0 ? 16 : net->cap * 2;
            net->links = realloc(net->links, net->cap * sizeof(struct link *));
            ensure(net->links != NULL);
        }
        link = calloc(1, sizeof(*link));
        ensure(link != NULL);
        link->index = net->count;
        net->links[net->count++] = link;
    }
    uint32_t index = link->index;
    *link = (struct link){.index = index, .node = node, .number = ++world->number};
    return link;
}

static struct link *link_at(struct world *world, uint64_t index)
{
    return world->net->links[index];
}

static enum side other(enum side side)
{
    return side == SIDE_NODE ? SIDE_HUB : SIDE_NODE;
}

/* How long until something sent now arrives at `to`. */
static int64_t arrival_after(struct world *world, struct link *link, enum side to)
{
    const struct sim_node *node = &world->nodes[link->node];
    int64_t at_ns = world->now_ns + delay_ns(world);
    const int64_t least[] = {link->last_arrival_ns[to], link->clogged_until_ns[to], node->cut_until_ns[to]};
    for (size_t i = 0; i < ARRAY_COUNT(least); i++) {
        at_ns = at_ns < least[i] ? least[i] : at_ns;
    }
    link->last_arrival_ns[to] = at_ns;
    return at_ns - world->now_ns;
}

static void later(struct world *world, struct link *link, enum side to,
                  void (*fire)(struct world *world, const struct event *event), void *owned)
{
    link->pending++;
    world_after(world, arrival_after(world, link, to), fire, link->index, to, owned);
}

/* A side learns that the connection is gone. */
static void learn_end(struct world *world, struct link *link, enum side side)
{
    if (!link->is_open[side]) {
        return;
    }
    link->is_open[side] = false;
    trace(world, TRACE_HANG_UP, link->node, link->index, side);
    if (side == SIDE_HUB) {
        struct session *session = TAKE(link->session);
        if (session != NULL) {
            session_on_closed(session);
        }
    } else {
        node_on_closed(world, link->node, link);
    }
}

static void on_end(struct world *world, const struct event *event)
{
    struct link *link = link_at(world, event->a);
    link->pending--;
    learn_end(world, link, (enum side)event->b);
}

/* What the hub knows of a node's silence. Whoever says hello under its name is another one. */
static void node_is_heard(struct sim_node *node, const struct link *link, int64_t now_ns)
{
    if (link->guise == 0 && session_is_live(link->session)) {
        node->live_ns = now_ns;
    } else if (link->guise == 0 && now_ns - node->live_ns >= LIMIT_SUSPECT_MS * SIM_MS) {
        node->silent_ns = now_ns;
    }
}

static void on_text(struct world *world, const struct event *event)
{
    struct link *link = link_at(world, event->a);
    enum side to = (enum side)event->b;
    const struct packet *packet = event->owned;
    link->pending--;
    if (!link->is_open[to]) {
        if (link->is_open[other(to)]) { /* nobody is there: a reset comes back */
            later(world, link, other(to), on_end, NULL);
        }
        return;
    }
    if (to == SIDE_NODE) {
        node_on_text(world, link->node, link, slice_of(packet->text, packet->len));
        return;
    }
    world->nodes[link->node].told_ns = world->now_ns;
    if (link->guise != 0) {
        world->nodes[link->guise - 1].told_ns = world->now_ns;
    }
    if (link->session != NULL) {
        node_is_heard(&world->nodes[link->node], link, world->now_ns);
        session_on_message(link->session, slice_of(packet->text, packet->len), true);
    }
}

void net_send(struct world *world, struct link *link, enum side from, struct slice text)
{
    if (!link->is_open[from]) {
        return;
    }
    struct packet *packet = malloc(sizeof(*packet) + text.len);
    ensure(packet != NULL);
    packet->len = text.len;
    memcpy(packet->text, text.data, text.len);
    later(world, link, other(from), on_text, packet);
}

void net_close(struct world *world, struct link *link, enum side side)
{
    if (!link->is_open[side]) {
        return;
    }
    link->is_open[side] = false;
    if (link->is_open[other(side)]) {
        later(world, link, other(side), on_end, NULL);
    }
}

void net_abort(struct world *world, struct link *link, enum side side, bool is_silent)
{
    trace(world, TRACE_CUT, link->index, link->node, is_silent);
    if (is_silent) {
        learn_end(world, link, side);
        return;
    }
    for (enum side each = SIDE_NODE; each <= SIDE_HUB; each++) {
        if (link->is_open[each]) {
            later(world, link, each, on_end, NULL);
        }
    }
}

void net_hub_died(struct world *world, bool is_silent)
{
    for (uint32_t i = 0; i < world->net->count; i++) {
        struct link *link = world->net->links[i];
        bool was_open = link->is_open[SIDE_HUB];
        link->session = NULL;
        link->is_open[SIDE_HUB] = false;
        if (was_open && link->is_open[SIDE_NODE] && !is_silent) {
            later(world, link, SIDE_NODE, on_end, NULL);
        }
    }
}

/* --- dialing --- */

static void on_refused(struct world *world, const struct event *event)
{
    if (world->nodes[event->a].dial == event->b) {
        node_on_refused(world, (uint32_t)event->a);
    }
}

static void on_connected(struct world *world, const struct event *event)
{
    struct link *link = link_at(world, event->a);
    struct sim_node *node = &world->nodes[link->node];
    link->pending--;
    bool is_awaited = node->is_up && node->is_dialing && node->dial == event->b;
    if (!link->is_open[SIDE_NODE]) { /* cut before it was used */
        if (is_awaited) {
            node_on_refused(world, link->node);
        }
    } else if (is_awaited) {
        node_on_connected(world, link->node, link);
    } else { /* the process that dialled is gone */
        net_close(world, link, SIDE_NODE);
    }
}

static void on_dial(struct world *world, const struct event *event)
{
    uint32_t index = (uint32_t)event->a;
    struct sim_node *node = &world->nodes[index];
    struct sim_hub *hub = &world->hub;
    if (node->dial != event->b) {
        return;
    }
    struct session *session =
        hub->is_up && hub->hub.is_ready && !hub->hub.is_stopping ? session_new(hub->hub.sessions) : NULL;
    if (session == NULL) {
        world_after(world, delay_ns(world), on_refused, index, event->b, NULL);
        return;
    }
    struct link *link = link_new(world, index);
    link->is_open[SIDE_NODE] = link->is_open[SIDE_HUB] = true;
    link->session = session;
    session_connected(session, (struct ws_connection *)link, "");
    link->pending++;
    world_after(world, arrival_after(world, link, SIDE_NODE), on_connected, link->index, node->dial, NULL);
}

void net_dial(struct world *world, uint32_t node)
{
    struct sim_node *dialer = &world->nodes[node];
    const int64_t *cut = dialer->cut_until_ns;
    int64_t until_ns = cut[SIDE_HUB] > cut[SIDE_NODE] ? cut[SIDE_HUB] : cut[SIDE_NODE];
    int64_t wait_ns = delay_ns(world);
    wait_ns = world->now_ns + wait_ns < until_ns ? until_ns - world->now_ns : wait_ns;
    dialer->dial = ++world->number;
    world_after(world, wait_ns, on_dial, node, dialer->dial, NULL);
}

/* --- the table for sessions.c --- */

static struct world *the_world; /* connections carry no context; one world lives at a time */

static void port_send(struct ws_connection *ws, struct slice text)
{
    net_send(the_world, (struct link *)ws, SIDE_HUB, text);
}

static void port_close(struct ws_connection *ws, uint16_t code, const char *reason)
{
    (void)code;
    (void)reason;
    net_close(the_world, (struct link *)ws, SIDE_HUB);
}

static void port_set_user(struct ws_connection *ws, struct session *user)
{
    ((struct link *)ws)->session = user;
}

static int64_t port_mono_ns(void *ctx)
{
    return ((struct world *)ctx)->now_ns;
}

static void on_tick(struct world *world, const struct event *event)
{
    struct sim_hub *hub = &world->hub;
    if (!hub->is_up || hub->tick_number != event->a) {
        return;
    }
    world_after(world, SESSIONS_TICK_MS * SIM_MS, on_tick, event->a, 0, NULL);
    sessions_tick(hub->hub.sessions);
}

static void port_set_ticking(void *ctx, bool is_on)
{
    struct world *world = ctx;
    world->hub.tick_number++;
    if (is_on) {
        world_after(world, SESSIONS_TICK_MS * SIM_MS, on_tick, world->hub.tick_number, 0, NULL);
    }
}

static void port_flush_soon(void *ctx)
{
    hub_flush_soon(ctx);
}

static void port_end(void *ctx)
{
    ((struct world *)ctx)->hub.tick_number++;
}

const struct session_port *net_port(struct world *world)
{
    the_world = world;
    world->net->port = (struct session_port){.send = port_send,
                                             .close = port_close,
                                             .set_user = port_set_user,
                                             .mono_ns = port_mono_ns,
                                             .set_ticking = port_set_ticking,
                                             .flush_soon = port_flush_soon,
                                             .end = port_end,
                                             .ctx = world};
    workers_fill_port(&world->net->port);
    return &world->net->port;
}
