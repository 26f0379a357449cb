/* http_budget.c - how much memory the bytes of all connections may take together, and what happens before it is all gone.
 *
 * What is charged: room for bodies that come in pieces, answers that are not sent, bytes that are not parsed, messages of
 * WebSockets in pieces, the requests themselves, and what the caller of the server charges (http_server_charge) or
 * tells of (other_size).
 *
 *   up to 3/4   everybody as they like, within the limits of one connection
 *   pressed     until it is below 1/2 again: a connection gets its next request read once the one before is answered and most
 *               of its answer is read; writers of long answers wait early; whoever is slow with a large body or with
 *               reading is ended, since their room is somebody else's
 *   over        a new request is answered 503 with Retry-After, and a WebSocket with much of a message is closed (1013)
 *
 * A body that comes in one read lies in the read buffer and needs no room at all; so small requests of well-behaved clients
 * are served whatever else goes on. A body in pieces gets all the room that it may need before its first byte is kept, or
 * none: nobody holds a part of the room while waiting for the rest, so nobody can wait for ever. Large ones share half of the
 * budget and wait in line for it, their connections unread, until it is their turn or room_ms is over (503). Small ones
 * (up to LIMIT_HTTP_SMALL_SIZE) have an eighth for themselves.
 *
 * Invariants: (M1) used is the sum of what the connections, the bodies' rooms and the caller have charged; (M2) a request holds
 * room only between on_head and the end of on_request, or of its life if its body is kept; (M3) a connection is in
 * PHASE_ROOM when and only when room_wanted is set. */
#include "net/http_internal.h"
#include "proto/ws_frame.h"

#define REQUEST_COST (sizeof(struct request) + 1024u) /* and what its handler keeps for it */
#define WAITING_MAX 1024u /* connections in line; each may hold a read buffer of unread bytes */
#define SLOW_GRACE_MS 5000
#define SLOW_GRACE_OVER_MS 1000 /* once others are refused */
#define SLOW_BYTES_PER_S 16384  /* with less than that, and others in need, a holder of room has had it */

void budget_init(struct http_server *server)
{
    struct http_budget *budget = &server->budget;
    uint64_t least = 4 * ((uint64_t)server->config.body_size_max + LIMIT_HTTP_SMALL_SIZE);
    budget->max = server->config.memory_budget > least ? server->config.memory_budget : least;
}

static uint64_t total(const struct http_budget *budget)
{
    return budget->used + budget->other;
}

static void look_at_pressure(struct http_server *server)
{
    struct http_budget *budget = &server->budget;
    if (!budget->is_pressed && total(budget) >= budget->max / 4 * 3) {
        budget->is_pressed = true;
        budget->pressed_count++;
    }
}

void budget_charge(struct http_server *server, int64_t size)
{
    ensure(size >= 0 || server->budget.used >= (uint64_t)-size); /* M1 */
    server->budget.used += (uint64_t)size;
    if (total(&server->budget) > server->budget.used_max) {
        server->budget.used_max = total(&server->budget);
    }
    look_at_pressure(server);
}

bool budget_is_over(const struct http_server *server)
{
    return total(&server->budget) >= server->budget.max;
}

size_t budget_stream_size(const struct http_server *server)
{
    return server->budget.is_pressed ? LIMIT_HTTP_SMALL_SIZE : LIMIT_HTTP_STREAM_SIZE;
}

/* --- room for bodies --- */

static uint64_t *pool_of(struct http_budget *budget, uint64_t size)
{
    return size > LIMIT_HTTP_SMALL_SIZE ? &budget->bodies : &budget->small_bodies;
}

static bool try_room(struct http_server *server, struct request *request, uint64_t size)
{
    struct http_budget *budget = &server->budget;
    uint64_t *pool = pool_of(budget, size);
    uint64_t pool_max = size > LIMIT_HTTP_SMALL_SIZE ? budget->max / 2 : budget->max / 8;
    if (size > pool_max - *pool) {
        return false;
    }
    budget_give_room(server, &request->body_room);
    *pool += size;
    request->body_room = size;
    budget_charge(server, (int64_t)size);
    return true;
}

enum http_room budget_take_room(struct http_connection *connection, struct request *request, uint64_t size)
{
    struct http_server *server = connection->server;
    bool has_line = !list_is_empty(&server->phases[PHASE_ROOM]);
    if (size <= LIMIT_HTTP_SMALL_SIZE) {
        return try_room(server, request, size) ? HTTP_ROOM_MADE : HTTP_ROOM_NONE;
    }
    if (!has_line && try_room(server, request, size)) {
        return HTTP_ROOM_MADE;
    }
    if (server->budget.waiting >= WAITING_MAX) {
        return HTTP_ROOM_NONE;
    }
    connection->room_wanted = size;
    server->budget.waiting++;
    return HTTP_ROOM_LATER;
}

void budget_leave_line(struct http_connection *connection)
{
    if (connection->room_wanted > 0) {
        connection->room_wanted = 0;
        connection->server->budget.waiting--;
    }
}

/* Those in line, as far as there is room, first come first served. */
static void serve_line(struct http_server *server)
{
    struct list *line = &server->phases[PHASE_ROOM];
    while (!list_is_empty(line)) {
        struct http_connection *connection = connection_of_node(line->next);
        bool waits = connection->room_wanted > 0 && !connection->is_closed;
        if (waits && !try_room(server, connection->receiving, connection->room_wanted)) {
            return;
        }
        budget_leave_line(connection);
        list_remove(&connection->node);
        list_append(&server->phases[PHASE_NONE], &connection->node);
        connection->phase = PHASE_NONE;
        if (waits) {
            connection_admitted(connection);
        }
    }
}

void budget_give_room(struct http_server *server, uint64_t *room)
{
    uint64_t size = *room;
    if (size == 0) {
        return;
    }
    *room = 0;
    *pool_of(&server->budget, size) -= size;
    budget_charge(server, -(int64_t)size);
    server->budget.has_line_moved |= size > LIMIT_HTTP_SMALL_SIZE;
}

/* --- what connections hold --- */

void budget_settle(struct http_connection *connection)
{
    const struct outbox *box = &connection->box;
    uint64_t size = box->out.cap + (box->is_writing ? box->writing.cap : 0) + connection->held_size +
                    connection->unread.cap + connection->request_count * REQUEST_COST +
                    (connection->ws != NULL ? ws_held_size(connection->ws) : 0);
    if (size != connection->charged) {
        int64_t change = (int64_t)size - (int64_t)connection->charged;
        connection->charged = size;
        budget_charge(connection->server, change);
    }
    if (connection->server->budget.has_line_moved) {
        connection->server->budget.has_line_moved = false;
        serve_line(connection->server);
    }
}

void budget_forget(struct http_connection *connection)
{
    budget_leave_line(connection);
    budget_charge(connection->server, -(int64_t)connection->charged);
    connection->charged = 0;
}

/* --- time --- */

static bool is_slow(const struct http_server *server, int64_t elapsed_ms, uint64_t size)
{
    return elapsed_ms > (budget_is_over(server) ? SLOW_GRACE_OVER_MS : SLOW_GRACE_MS) &&
           size < (uint64_t)elapsed_ms * SLOW_BYTES_PER_S / 1000;
}

/* Ends those in a phase that hold much and move little. */
static void end_slow(struct http_server *server, enum phase phase, int64_t now_ms)
{
    struct list *list = &server->phases[phase];
    struct list *next;
    for (struct list *at = list->next; at != list; at = next) {
        struct http_connection *connection = connection_of_node(at);
        next = at->next;
        if (connection->is_closed) {
            continue;
        }
        if (phase == PHASE_BODY) {
            const struct request *receiving = connection->receiving;
            if (receiving != NULL && receiving->body_room > 0 &&
                is_slow(server, now_ms - connection->body_begun_ms, receiving->body_size)) {
                server->budget.ended_count++;
                connection_timed_out(connection);
            }
        } else if (outbox_unsent(&connection->box) > LIMIT_HTTP_SMALL_SIZE &&
                   is_slow(server, now_ms - connection->phase_begun_ms,
                           outbox_sent(&connection->box) - connection->phase_sent)) {
            server->budget.ended_count++;
            connection_abort(connection);
        }
    }
}

/* Past the end WebSockets with much of a message are told to come again: a message has no place to wait in. */
static void close_heavy_websockets(struct http_server *server)
{
    struct list *list = &server->phases[PHASE_NONE];
    for (struct list *at = list->next; at != list; at = at->next) {
        struct http_connection *connection = connection_of_node(at);
        if (connection->ws != NULL && !connection->is_closed && !ws_is_closing(connection->ws) &&
            ws_held_size(connection->ws) > LIMIT_HTTP_SMALL_SIZE) {
            server->budget.ended_count++;
            ws_close(connection->ws, WS_CLOSE_TRY_AGAIN, "The hub has no memory free for the message now.");
        }
    }
}

void budget_tick(struct http_server *server, int64_t now_ms)
{
    struct http_budget *budget = &server->budget;
    if (server->callbacks.other_size != NULL) {
        budget->other = server->callbacks.other_size(server->callbacks.ctx);
        look_at_pressure(server);
    }
    serve_line(server);
    bool has_line = !list_is_empty(&server->phases[PHASE_ROOM]);
    bool is_small_full = budget->small_bodies > budget->max / 16;
    if (budget->is_pressed || has_line || is_small_full) {
        end_slow(server, PHASE_BODY, now_ms);
    }
    if (!budget->is_pressed) {
        return;
    }
    end_slow(server, PHASE_WRITE, now_ms);
    if (budget_is_over(server)) {
        close_heavy_websockets(server);
    }
    if (total(budget) < budget->max / 2) {
        budget->is_pressed = false;
        for (int phase = PHASE_NONE; phase < PHASE_COUNT; phase++) {
            struct list *list = &server->phases[phase];
            for (struct list *at = list->next; at != list; at = at->next) {
                connection_wake(connection_of_node(at));
            }
        }
    }
}

bool http_server_is_pressed(const struct http_server *server)
{
    return server->budget.is_pressed;
}

void http_server_charge(struct http_server *server, int64_t size)
{
    budget_charge(server, size);
}
