/* pool.c - connections, and who waits for one.
 *
 * A flow that is under way goes before one that has not begun. The connections stay from phase to phase, so a change of
 * rate opens only what is missing. With a fixed number they are used in turn, as many separate clients would; else the one
 * that was used last goes first, so that there are never more than the load needs. */
#include <stdlib.h>

#include "base/ensure.h"
#include "base/limits.h"
#include "bench/engine_internal.h"

static void put_idle(struct pool *pool, struct connection *connection)
{
    if (pool->is_fixed) {
        connection->next = NULL;
        *pool->idle_end = connection;
        pool->idle_end = &connection->next;
        return;
    }
    connection->next = pool->idle;
    if (pool->idle == NULL) {
        pool->idle_end = &connection->next;
    }
    pool->idle = connection;
}

static struct connection *make(struct engine *engine)
{
    struct pool *pool = &engine->pool;
    struct connection *connection = calloc(1, sizeof(*connection));
    if (connection == NULL) {
        return NULL;
    }
    connection->client = http_client_new(engine->origin, user_answered, connection);
    if (connection->client == NULL) {
        free(connection);
        return NULL;
    }
    connection->all_next = pool->all;
    pool->all = connection;
    pool->count++;
    if (pool->count > engine->result->connections_max) {
        engine->result->connections_max = pool->count;
    }
    return connection;
}

static void expire(struct engine *engine, int64_t now_ns);

static void on_arrivals_alarm(struct alarm *alarm, int64_t now_ns)
{
    expire((struct engine *)(void *)((char *)alarm - offsetof(struct engine, pool.arrivals_alarm)), now_ns);
}

enum status pool_prepare(struct engine *engine)
{
    struct pool *pool = &engine->pool;
    pool->idle_end = &pool->idle;
    pool->waiting_end = &pool->waiting;
    pool->is_fixed = engine->scenario->connections > 0;
    pool->max = pool->is_fixed ? engine->scenario->connections : LIMIT_BENCH_CONNECTIONS;
    for (uint32_t i = 0; pool->is_fixed && i < pool->max; i++) {
        struct connection *connection = make(engine);
        if (connection == NULL) {
            return STATUS_NO_MEMORY;
        }
        put_idle(pool, connection);
    }
    return alarm_open(engine->alarms, &pool->arrivals_alarm, on_arrivals_alarm);
}

void pool_free(struct engine *engine)
{
    struct pool *pool = &engine->pool;
    struct connection *next;
    for (struct connection *connection = pool->all; connection != NULL; connection = next) {
        next = connection->all_next;
        http_client_free(connection->client);
        free(connection);
    }
    alarm_close(&pool->arrivals_alarm);
    free(pool->arrivals);
    *pool = (struct pool){0};
}

struct connection *pool_take(struct engine *engine)
{
    struct pool *pool = &engine->pool;
    struct connection *connection = pool->idle;
    if (connection == NULL) {
        return pool->count < pool->max ? make(engine) : NULL;
    }
    pool->idle = connection->next;
    if (pool->idle == NULL) {
        pool->idle_end = &pool->idle;
    }
    return connection;
}

void pool_wait(struct engine *engine, struct user *user)
{
    user->wait_next = NULL;
    *engine->pool.waiting_end = user;
    engine->pool.waiting_end = &user->wait_next;
}

void pool_wait_no_more(struct engine *engine, struct user *user)
{
    struct pool *pool = &engine->pool;
    for (struct user **at = &pool->waiting; *at != NULL; at = &(*at)->wait_next) {
        if (*at == user) {
            *at = user->wait_next;
            if (*at == NULL) {
                pool->waiting_end = at;
            }
            return;
        }
    }
}

/* --- arrivals in line --- */

static struct arrival *first_arrival(struct pool *pool)
{
    return &pool->arrivals[pool->arrivals_head];
}

static void drop_first(struct pool *pool)
{
    pool->arrivals_head = (pool->arrivals_head + 1) & (pool->arrivals_cap - 1);
    pool->arrivals_len--;
}

static bool grow(struct pool *pool)
{
    size_t cap = pool->arrivals_cap > 0 ? 2 * pool->arrivals_cap : 1024;
    struct arrival *ring = malloc(cap * sizeof(*ring));
    if (ring == NULL) {
        return false;
    }
    for (size_t i = 0; i < pool->arrivals_len; i++) {
        ring[i] = pool->arrivals[(pool->arrivals_head + i) & (pool->arrivals_cap - 1)];
    }
    free(pool->arrivals);
    pool->arrivals = ring;
    pool->arrivals_head = 0;
    pool->arrivals_cap = cap;
    return true;
}

static uint32_t label_of(const struct arrival *arrival)
{
    uint64_t random;
    return phase_choose_flow(arrival->phase, 0, arrival->index, &random)->first_label;
}

/* A feed has no rows left for it. */
static void pool_refuse(const struct arrival *arrival, int64_t now_ns)
{
    tally_ended(arrival->phase, label_of(arrival),
                &(struct tally_end){.error = BENCH_ERROR_MISMATCH, .intended_ns = arrival->at_ns, .end_ns = now_ns});
}

/* Those that have waited longer than anybody would have. */
static void expire(struct engine *engine, int64_t now_ns)
{
    struct pool *pool = &engine->pool;
    int64_t timeout_ns = engine->scenario->timeout_ns;
    while (pool->arrivals_len > 0) {
        struct arrival arrival = *first_arrival(pool);
        if (arrival.at_ns + timeout_ns > now_ns) {
            alarm_set(&pool->arrivals_alarm, arrival.at_ns + timeout_ns);
            return;
        }
        drop_first(pool);
        tally_ended(
            arrival.phase, label_of(&arrival),
            &(struct tally_end){.error = BENCH_ERROR_TIMED_OUT, .intended_ns = arrival.at_ns, .end_ns = now_ns});
    }
}

bool pool_queue(struct engine *engine, const struct arrival *arrival)
{
    struct pool *pool = &engine->pool;
    if (pool->arrivals_len == pool->arrivals_cap && !grow(pool)) {
        return false;
    }
    pool->arrivals[(pool->arrivals_head + pool->arrivals_len++) & (pool->arrivals_cap - 1)] = *arrival;
    tally_scheduled(arrival->phase, label_of(arrival));
    if (pool->arrivals_len == 1) {
        alarm_set(&pool->arrivals_alarm, arrival->at_ns + engine->scenario->timeout_ns);
    }
    return true;
}

void pool_give(struct engine *engine, struct connection *connection, int64_t now_ns)
{
    struct pool *pool = &engine->pool;
    connection->user = NULL;
    if (pool->waiting != NULL) {
        struct user *user = pool->waiting;
        pool_wait_no_more(engine, user);
        user_serve(user, connection, now_ns);
        return;
    }
    while (pool->arrivals_len > 0) {
        struct arrival arrival = *first_arrival(pool);
        drop_first(pool);
        if (!arrival.phase->takes_no_more) {
            user_arrive(arrival.phase, &arrival, connection, true, now_ns);
            return;
        }
        pool_refuse(&arrival, now_ns);
    }
    put_idle(pool, connection);
}
