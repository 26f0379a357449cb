/* launcher.h - how a node runs one kind of work.
 *
 * The agent (agent.c) keeps leases and slots; a launcher turns an input into an outcome, on the node's loop, without
 * blocking it. One launcher per kind, registered in launchers.c; its code lives in src/work/<area>/. */
#ifndef SHOAL_WORK_LAUNCHER_H
#define SHOAL_WORK_LAUNCHER_H

#include "base/buf.h"
#include "base/json.h"
#include "net/loop.h"
#include "proto/command.h"

struct work_run; /* one attempt in progress; of the launcher */

struct work_input {
    struct slice kind;
    struct slice queue;                /* that the task came from; borrowed during start */
    uint32_t slot;                     /* 0 .. slots-1: its uid, cgroup and scratch directory are this slot's alone */
    struct slice input;                /* JSON; borrowed during start */
    struct slice checkpoint;           /* JSON or empty */
    int64_t timeout_ms;                /* 0: none; the agent also kills at that time */
    char token[LEASE_TOKEN_TEXT_SIZE]; /* for logs */
};

/* Called exactly once per started run, on the loop, never from inside start. The strings are borrowed. */
struct work_done {
    bool is_success;
    struct slice result;     /* JSON, when successful */
    struct slice error_kind; /* else */
    struct slice message;
    struct slice detail; /* JSON or empty */
    bool is_final;       /* do not retry (bad input) */
};

struct node_env { /* what the agent gives to launchers */
    struct loop *loop;
    const char *data_dir; /* absolute; the launcher uses data_dir/<kind>/ */
    const char *hub_url;  /* for blobs: GET hub_url/v1/blobs/<sha256> */
    const char *key;      /* that the hub asks nodes for; NULL: none */
    uint32_t slots;
};

struct launcher {
    const char *kind;
    /* Prepares and proves itself (may block, at start of the node only). UNSUPPORTED_HOST with one plain sentence in
     * `ret_why` when the kind cannot be offered here. Appends facts for people to `facts` as JSON members
     * ("sandbox":{…}), without the outer braces. */
    enum status (*open)(const struct node_env *env, void **ret_state, struct buf *facts, struct buf *ret_why);
    void (*close)(void *state);
    /* Starts an attempt. A bad input is not an error here: it becomes a final failure through `done`. */
    enum status (*start)(void *state, const struct work_input *input,
                         void (*done)(void *ctx, const struct work_done *done), void *ctx, struct work_run **ret_run);
    /* Stops it hard and soon; `done` still comes (error kind "cancelled"). */
    void (*cancel)(struct work_run *run);
    /* Progress in thousandths since the last call, and a note; false when there is no news. May be NULL. */
    bool (*progress)(struct work_run *run, uint16_t *ret_permille, struct buf *ret_note);
};

/* All launchers of this build, ended by NULL. */
extern const struct launcher *const launchers[];

#endif
