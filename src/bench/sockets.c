/* sockets.c - the WebSocket of a user.
 *
 * A socket outlives the step that uses it and may outlive the user: on_closed of the client comes last, and only then the memory
 * goes. `user` is NULL once the user has dropped it. */
#include "bench/sockets.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/ensure.h"

struct socket {
    struct engine *engine;
    struct user *user; /* NULL: dropped */
    struct ws_client *client;
    bool is_open;
    bool is_asked;   /* a message was sent whose answer ends the step */
    bool is_closing; /* by ws-close */
    int64_t sent_ns;
    uint64_t bytes_out;
    uint64_t unread; /* messages that came before anybody waited for one */
};

static void step_ended(struct socket *socket, enum bench_error error, uint64_t bytes_in)
{
    socket->is_asked = false;
    user_step_ended(socket->user, error, socket->sent_ns, clock_mono_ns(), socket->bytes_out, bytes_in);
}

static bool is_waited_for(const struct socket *socket)
{
    return socket->user != NULL && socket->user->state == USER_ASKS;
}

static void on_open(struct ws_client *client)
{
    struct socket *socket = ws_client_user(client);
    socket->is_open = true;
    if (socket->user == NULL) {
        ws_client_close(client);
    } else if (is_waited_for(socket)) {
        step_ended(socket, BENCH_ERROR_COUNT, 0);
    }
}

static void on_message(struct ws_client *client, struct slice message)
{
    struct socket *socket = ws_client_user(client);
    if (!is_waited_for(socket) || !socket->is_asked) {
        socket->unread++;
        return;
    }
    const struct scenario_step *step = socket->user->flow->steps[socket->user->step].step;
    if (memmem(message.data, message.len, step->match, strlen(step->match)) != NULL) {
        step_ended(socket, BENCH_ERROR_COUNT, message.len);
    } /* else it is something that the server says by itself; the deadline decides */
}

static enum bench_error error_of(enum status status)
{
    switch (status) {
    case STATUS_UNREACHABLE:
        return BENCH_ERROR_REFUSED;
    case STATUS_TIMEOUT:
        return BENCH_ERROR_TIMED_OUT;
    case STATUS_UNAUTHORIZED:
    case STATUS_NOT_FOUND:
    case STATUS_BAD_REQUEST:
        return BENCH_ERROR_STATUS_4XX;
    case STATUS_BUSY:
        return BENCH_ERROR_STATUS_5XX;
    case STATUS_BAD_HTTP:
        return BENCH_ERROR_NONSENSE;
    case STATUS_TOO_LARGE:
        return BENCH_ERROR_TOO_LARGE;
    case STATUS_NO_MEMORY:
        return BENCH_ERROR_NO_CONNECTION;
    default:
        return BENCH_ERROR_RESET;
    }
}

static void on_closed(struct ws_client *client, enum status status, const char *why)
{
    struct socket *socket = ws_client_user(client);
    struct user *user = socket->user;
    bool is_asked_for = socket->is_closing;
    (void)why;
    bool is_waiting = is_waited_for(socket);
    int64_t sent_ns = socket->sent_ns;
    uint64_t bytes_out = socket->bytes_out;
    socket->engine->sockets_open--;
    free(socket);
    if (user == NULL) {
        return;
    }
    user->socket = NULL;
    if (is_waiting) {
        user_step_ended(user, is_asked_for ? BENCH_ERROR_COUNT : error_of(status), sent_ns, clock_mono_ns(), bytes_out,
                        0);
    }
}

static const struct ws_client_callbacks callbacks = {
    .on_open = on_open, .on_message = on_message, .on_closed = on_closed};

static enum bench_error open_socket(struct user *user, const struct step_plan *plan)
{
    struct engine *engine = user->engine;
    struct socket *socket = calloc(1, sizeof(*socket));
    if (socket == NULL) {
        return BENCH_ERROR_NO_CONNECTION;
    }
    struct buf *url = &engine->scratch;
    buf_reset(url);
    buf_printf(url, "http://%s", http_origin_authority(engine->origin));
    request_append_text(url, user, &plan->step->path);
    const char *subprotocol = plan->step->protocol;
    socket->user = user;
    socket->sent_ns = clock_mono_ns();
    enum status status =
        ws_client_connect(&engine->loop, buf_cstr(url), subprotocol[0] != '\0' ? subprotocol : NULL,
                          plan->step->timeout_ns / NS_PER_MS + 1000, &callbacks, socket, &socket->client);
    if (status != STATUS_OK) {
        free(socket);
        return status == STATUS_INVALID ? BENCH_ERROR_RESOLVE : BENCH_ERROR_NO_CONNECTION;
    }
    socket->engine = engine;
    engine->sockets_open++;
    user->socket = socket;
    return BENCH_ERROR_COUNT;
}

static void send_message(struct user *user, const struct step_plan *plan)
{
    struct socket *socket = user->socket;
    struct buf *text = &user->out;
    buf_reset(text);
    request_append_text(text, user, &plan->step->body);
    socket->sent_ns = clock_mono_ns();
    socket->bytes_out = text->len;
    socket->is_asked = plan->step->expects_answer;
    ws_client_send_text(socket->client, buf_slice(text));
    if (!socket->is_asked) {
        step_ended(socket, BENCH_ERROR_COUNT, 0);
    }
}

void socket_step(struct user *user, const struct step_plan *plan, int64_t now_ns)
{
    enum bench_error error = BENCH_ERROR_COUNT;
    switch (plan->step->action) {
    case SCENARIO_WS_OPEN:
        socket_drop(user);
        error = open_socket(user, plan);
        break;
    case SCENARIO_WS_SEND:
        if (user->socket == NULL || !user->socket->is_open) {
            error = BENCH_ERROR_RESET; /* it was closed meanwhile */
        } else {
            send_message(user, plan);
        }
        break;
    default:
        if (user->socket == NULL) {
            error = BENCH_ERROR_RESET;
        } else {
            user->socket->is_closing = true;
            user->socket->sent_ns = now_ns;
            ws_client_close(user->socket->client);
        }
        break;
    }
    if (error != BENCH_ERROR_COUNT) {
        user_step_ended(user, error, 0, now_ns, 0, 0);
    }
}

void socket_drop(struct user *user)
{
    struct socket *socket = user->socket;
    if (socket == NULL) {
        return;
    }
    user->socket = NULL;
    socket->user = NULL;
    ws_client_close(socket->client);
}
