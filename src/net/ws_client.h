/* ws_client.h - the client end of a WebSocket on a loop (the node's side of the hub–node protocol). */
#ifndef SHOAL_NET_WS_CLIENT_H
#define SHOAL_NET_WS_CLIENT_H

#include "base/slice.h"
#include "base/status.h"
#include "net/loop.h"

struct ws_client;

struct ws_client_callbacks {
    void (*on_open)(struct ws_client *client);
    void (*on_message)(struct ws_client *client, struct slice message); /* text; JSON padding behind it */
    /* The connection failed or ended, also after ws_client_close: the last call; then the client frees itself. `why` is
     * one plain sentence (connection refused, HTTP 401 …). */
    void (*on_closed)(struct ws_client *client, enum status status, const char *why);
};

/* Connects to ws://host:port/path (also http://; a missing port is 80). Name look-up does not block the loop. INVALID for
 * a URL that is none. Callbacks come from the loop, never from inside a call. */
STATUS_MUST_CHECK enum status ws_client_connect(struct loop *loop, const char *url, const char *subprotocol,
                                                int64_t connect_ms, const struct ws_client_callbacks *callbacks,
                                                void *user, struct ws_client **ret_client);
/* What is wrong with the URL, as one sentence; NULL when ws_client_connect takes it. */
const char *ws_client_url_problem(const char *url);
void *ws_client_user(const struct ws_client *client);
/* Only between on_open and on_closed; dropped otherwise. Messages of one loop turn share a write. Past
 * LIMIT_HTTP_OUT_SIZE unsent the connection is closed. */
void ws_client_send_text(struct ws_client *client, struct slice message);
size_t ws_client_unsent_size(const struct ws_client *client);
/* Sends a close frame and waits up to 2 s for the peer's, or gives up connecting; on_closed follows. */
void ws_client_close(struct ws_client *client);

#endif
