/* agent_net.c - the world of agent.c as it really is: a WebSocket client, three timers of the loop, its clock. */
#include <stdio.h>
#include <stdlib.h>

#include "base/ensure.h"
#include "base/entropy.h"
#include "net/ws_client.h"
#include "node/agent.h"

struct agent_net {
    struct loop *loop;
    struct agent *agent;
    struct ws_client *client; /* NULL: none; frees itself after on_closed */
    uv_timer_t timers[AGENT_TIMER_COUNT];
    uint32_t timers_open;
    struct loop_flush flush;
    char url[512];
};

/* --- the connection --- */

static void on_open(struct ws_client *client)
{
    struct agent_net *net = ws_client_user(client);
    agent_on_open(net->agent);
}

static void on_message(struct ws_client *client, struct slice message)
{
    struct agent_net *net = ws_client_user(client);
    agent_on_message(net->agent, message);
}

static void on_closed(struct ws_client *client, enum status status, const char *why)
{
    struct agent_net *net = ws_client_user(client);
    net->client = NULL;
    agent_on_closed(net->agent, status, why);
}

static const struct ws_client_callbacks client_callbacks = {
    .on_open = on_open, .on_message = on_message, .on_closed = on_closed};

static enum status net_connect(void *ctx, int64_t connect_ms)
{
    struct agent_net *net = ctx;
    enum status status =
        ws_client_connect(net->loop, net->url, WORK_SUBPROTOCOL, connect_ms, &client_callbacks, net, &net->client);
    if (status != STATUS_OK) {
        net->client = NULL;
    }
    return status;
}

static void net_send(void *ctx, struct slice text)
{
    struct agent_net *net = ctx;
    ws_client_send_text(net->client, text);
}

static void net_close(void *ctx)
{
    struct agent_net *net = ctx;
    ws_client_close(net->client);
}

/* --- time --- */

static int64_t net_mono_ns(void *ctx)
{
    struct agent_net *net = ctx;
    return loop_mono_ns(net->loop);
}

static uint64_t net_random(void *ctx)
{
    (void)ctx;
    uint64_t random;
    random_bytes(&random, sizeof(random));
    return random;
}

static void on_timer(uv_timer_t *timer)
{
    struct agent_net *net = timer->data;
    agent_on_timer(net->agent, (enum agent_timer)(timer - net->timers));
}

static void net_set_timer(void *ctx, enum agent_timer timer, int64_t wait_ms)
{
    struct agent_net *net = ctx;
    if (wait_ms == AGENT_TIMER_OFF) {
        uv_timer_stop(&net->timers[timer]);
    } else {
        uv_timer_start(&net->timers[timer], on_timer, (uint64_t)wait_ms, 0);
    }
}

static void on_flush(struct loop_flush *flush)
{
    struct agent_net *net = (struct agent_net *)(void *)((char *)flush - offsetof(struct agent_net, flush));
    agent_on_flush(net->agent);
}

static void net_flush_soon(void *ctx)
{
    struct agent_net *net = ctx;
    loop_flush_soon(net->loop, &net->flush);
}

/* --- life --- */

static void on_timer_closed(uv_handle_t *handle)
{
    struct agent_net *net = handle->data;
    if (--net->timers_open == 0) {
        agent_on_ended(net->agent);
    }
}

static void net_end(void *ctx)
{
    struct agent_net *net = ctx;
    loop_flush_cancel(&net->flush);
    for (unsigned i = 0; i < AGENT_TIMER_COUNT; i++) {
        uv_close((uv_handle_t *)&net->timers[i], on_timer_closed);
    }
}

enum status agent_start(struct loop *loop, const struct agent_config *config, struct agent **ret_agent)
{
    struct agent_net *net = calloc(1, sizeof(*net));
    if (net == NULL) {
        return STATUS_NO_MEMORY;
    }
    net->loop = loop;
    net->flush.flush = on_flush;
    size_t len = strlen(config->hub_url);
    while (len > 0 && config->hub_url[len - 1] == '/') {
        len--;
    }
    int written = snprintf(net->url, sizeof(net->url), "%.*s/v1/work", (int)len, config->hub_url);
    const struct agent_port port = {.mono_ns = net_mono_ns,
                                    .random = net_random,
                                    .set_timer = net_set_timer,
                                    .connect = net_connect,
                                    .send = net_send,
                                    .close = net_close,
                                    .flush_soon = net_flush_soon,
                                    .end = net_end,
                                    .free = free,
                                    .ctx = net};
    enum status status = STATUS_INVALID;
    if (written >= 0 && (size_t)written < sizeof(net->url)) {
        status = agent_make(config, &port, &net->agent);
    }
    if (status != STATUS_OK) {
        free(net);
        return status;
    }
    for (unsigned i = 0; i < AGENT_TIMER_COUNT; i++) {
        uv_timer_init(&loop->uv, &net->timers[i]);
        net->timers[i].data = net;
    }
    net->timers_open = AGENT_TIMER_COUNT;
    *ret_agent = net->agent;
    return STATUS_OK;
}
