/* http_internal.h - what the files of the HTTP server share. Internal to net: http_server.c (listening, time-outs,
 * pools), http_connection.c (bytes in, requests, the turn of a connection), http_answer.c (answers), http_budget.c (memory of all
 * connections), http_ws.c. */
#ifndef SHOAL_NET_HTTP_INTERNAL_H
#define SHOAL_NET_HTTP_INTERNAL_H

#include "base/ensure.h"
#include "base/limits.h"
#include "net/http_server.h"
#include "net/outbox.h"
#include "proto/http1.h"
#include "proto/http1_write.h"

#define HTTP_LISTENERS_MAX 8u
#define HTTP_DROP_KEEP_SIZE (64u << 20) /* a rest of a body that is worth reading for the sake of the connection */
#define HTTP_PEEK_SIZE_MAX (1u << 20)   /* read behind the last request while its answer is not sent */
#define HTTP_REFUSE_MS 1000             /* for a connection over the limit to read its 503 */
#define HTTP_LINGER_CLOSING_MS 1000     /* once the server itself ends */
#define HTTP_WS_CLOSE_MS 2000           /* for the peer's half of the close handshake */

/* Ring of intrusive nodes; an empty ring's head points to itself. */
struct list {
    struct list *next, *previous;
};
static inline void list_init(struct list *list)
{
    list->next = list->previous = list;
}
static inline bool list_is_empty(const struct list *list)
{
    return list->next == list;
}
static inline void list_remove(struct list *node)
{
    node->previous->next = node->next;
    node->next->previous = node->previous;
    list_init(node);
}
static inline void list_append(struct list *list, struct list *node)
{
    node->next = list;
    node->previous = list->previous;
    list->previous->next = node;
    list->previous = node;
}

/* What a connection is waiting for, each with its own time-out and therefore its own list, oldest first. */
enum phase {
    PHASE_NONE,
    PHASE_IDLE,
    PHASE_HEAD,
    PHASE_BODY,
    PHASE_ROOM, /* for its body, in line */
    PHASE_WRITE,
    PHASE_DROP,
    PHASE_REFUSE,
    PHASE_WS_CLOSE,
    PHASE_COUNT
};

/* A request and its place in the connection's queue. `pub` is what handlers see. */
struct request {
    struct http_request pub;    /* first: a struct http_request is cast to its struct request */
    struct http_server *server; /* NULL once the request is an orphan */
    struct request *next;       /* behind it on its connection, or in the pool */
    struct buf answer;          /* bytes of the answer while others come first */
    struct buf body;
    void (*on_drained)(struct http_request *request);
    uint64_t answer_left; /* bytes of the content still promised, when streamed with a length */
    uint64_t body_size;   /* received so far */
    uint64_t body_room;   /* of the budget, for `body` */
    size_t held;          /* of `answer`, as it is part of the connection's held_size */
    enum http_body_mode mode;
    bool is_shown;    /* a handler has seen it and owes an answer */
    bool is_received; /* complete */
    bool is_answered; /* the handler is done with it */
    bool has_begun;   /* the head of its answer is written */
    bool answer_is_chunked;
    bool answer_has_length;
    bool is_paused;      /* http_body_pause */
    bool wants_room;     /* a write returned false */
    bool wants_continue; /* 100 Continue is due when its turn comes */
    bool was_continued;
    struct http1_head head;
};

/* A body while its handler looks at it. */
struct body_in_hand {
    struct buf body;
    uint64_t room;
};

struct http_connection {
    uint32_t magic;
    enum phase phase;
    struct list node; /* in server->phases[phase] */
    int64_t phase_begun_ms;
    uint64_t phase_request; /* number of the request that the phase began with */
    size_t phase_unsent;
    uint64_t phase_sent;          /* outbox_sent when the phase began */
    int64_t body_begun_ms;        /* of `receiving` */
    uint64_t charged;             /* of the budget, without bodies */
    uint64_t room_wanted;         /* for the body of `receiving`, which is not read meanwhile; 0: it does not wait */
    struct body_in_hand *in_hand; /* during on_request */
    struct http_server *server;
    uv_tcp_t tcp;
    struct outbox box;
    struct loop_flush flush;
    struct http1_parser parser;
    struct request *first, *last; /* not fully answered, in order of arrival */
    struct request *receiving;    /* the last one, while its bytes are coming in */
    struct request *upgrading;    /* a WebSocket handshake that is not answered yet */
    uint32_t request_count;
    uint64_t request_number;
    struct buf unread; /* received and not parsed: the parser is paused */
    size_t unread_at;
    size_t held_size;   /* of answers that wait for those before them */
    size_t peek_left;   /* bytes behind the last request that may still be dropped while its answer is not sent */
    int64_t drop_by_ms; /* a refused body, or what comes after the end, is dropped until then; 0: nothing is */
    struct ws_connection *ws;
    bool is_reading;
    bool is_parser_paused;
    bool is_in_turn;
    bool is_in_parser;
    bool saw_end;   /* of the peer's stream */
    bool is_ending; /* no further request is read; closes when everything is sent */
    bool is_lingering;
    bool is_broken; /* what was sent cannot be completed */
    bool is_closed;
    bool is_refusing; /* over connections_max: only here to say so */
    char peer[64];
};

struct http_listener {
    uv_poll_t poll;
    struct http_server *server;
    int fd;
    bool is_open;
};

struct http_budget {
    uint64_t max, used, used_max;
    uint64_t other;                /* what the caller holds, as of the last tick */
    uint64_t bodies, small_bodies; /* of that, rooms of large and of small bodies */
    uint64_t pressed_count, ended_count;
    uint32_t waiting; /* connections in line for room */
    bool is_pressed;
    bool has_line_moved; /* room was given back and those in line have not been looked at */
};

struct http_server {
    uint32_t magic;
    struct loop *loop;
    struct http_config config;
    struct http_callbacks callbacks;
    struct http_listener listeners[HTTP_LISTENERS_MAX];
    uint32_t listener_count;
    uint32_t handles; /* not closed yet: listeners and the timer */
    uint16_t port;
    uv_timer_t timer;
    struct list phases[PHASE_COUNT]; /* every connection is in one */
    struct request *free_requests;
    uint32_t free_request_count;
    struct buf_pool bufs;
    struct http_server_stats stats;
    struct http_budget budget;
    int64_t date_s;
    char date[HTTP1_DATE_SIZE];
    uint32_t refusing; /* connections that are only being told that there are too many */
    int64_t close_by_ms;
    int64_t accept_warned_ms;
    bool is_accept_paused; /* no file descriptor was free */
    bool is_closing;
    bool has_said_goodbye;
};

/* --- http_server.c --- */
struct request *server_take_request(struct http_server *server); /* NULL without memory */
void server_give_request(struct http_server *server, struct request *request);
int64_t server_timeout_ms(const struct http_server *server, enum phase phase);
void server_connection_closed(struct http_server *server, struct http_connection *connection);

/* --- http_connection.c --- */
/* Takes an accepted socket. */
void connection_open(struct http_server *server, int fd, bool is_refusing);
/* At once; what is unsent is lost. */
void connection_abort(struct http_connection *connection);
/* The phase's time is over. */
void connection_timed_out(struct http_connection *connection);
/* Has its turn before the loop waits again. */
void connection_wake(struct http_connection *connection);
/* Answers a request that cannot be served and lets go of the handler that may have seen it. */
void connection_refuse(struct http_connection *connection, struct request *request, enum status status,
                       const char *detail);
/* After an answer is complete: lets the answers behind it move up. Frees requests that are done. */
void connection_advance(struct http_connection *connection);

/* A body that waited has its room now. */
void connection_admitted(struct http_connection *connection);
static inline struct http_connection *connection_of_node(struct list *node)
{
    return (struct http_connection *)(void *)((char *)node - offsetof(struct http_connection, node));
}

/* --- http_budget.c --- */
enum http_room { HTTP_ROOM_MADE, HTTP_ROOM_LATER, HTTP_ROOM_NONE };
void budget_init(struct http_server *server);
void budget_charge(struct http_server *server, int64_t size);
/* No further request can be taken. */
bool budget_is_over(const struct http_server *server);
/* Unsent bytes of a streamed answer past which its writer waits. */
size_t budget_stream_size(const struct http_server *server);
/* Room for a body of at most `size` bytes, in place of what the request has. LATER: the connection is in line, with
 * room_wanted set, and connection_admitted is called. */
enum http_room budget_take_room(struct http_connection *connection, struct request *request, uint64_t size);
void budget_leave_line(struct http_connection *connection);
/* Takes the room back; *room is 0 afterwards. */
void budget_give_room(struct http_server *server, uint64_t *room);
/* At the end of a turn: what the connection holds now. */
void budget_settle(struct http_connection *connection);
/* The connection closes. */
void budget_forget(struct http_connection *connection);
void budget_tick(struct http_server *server, int64_t now_ms);

/* --- http_answer.c --- */
static inline struct request *request_of(struct http_request *pub)
{
    ensure_magic(pub, HTTP_REQUEST_MAGIC);
    return (struct request *)(void *)pub;
}
/* The answer that the server gives by itself. */
void answer_refusal(struct request *request, enum status status, int http_status, const char *detail,
                    struct slice headers);

/* --- http_ws.c --- */
void ws_feed(struct ws_connection *ws, char *bytes, size_t len);
/* The connection is gone; calls on_closed and frees. */
void ws_gone(struct ws_connection *ws);
bool ws_is_closing(const struct ws_connection *ws);
/* Both close frames have passed, or the peer broke the protocol. */
bool ws_is_over(const struct ws_connection *ws);
void ws_check_unsent(struct ws_connection *ws);
/* Memory of a message that is coming in. */
size_t ws_held_size(const struct ws_connection *ws);

#endif
