/* node_main.h - one node process, wired together: launchers, facts, agent, signals. */
#ifndef SHOAL_NODE_NODE_MAIN_H
#define SHOAL_NODE_NODE_MAIN_H

#include "base/limits.h"
#include "base/slice.h"
#include "base/status.h"

struct node_options {     /* strings are borrowed for the call */
    const char *hub_url;  /* http://HOST:PORT */
    const char *name;     /* NULL: the machine's with what the data directory adds */
    const char *key;      /* NULL: none */
    const char *data_dir; /* made when missing */
    uint32_t slots;       /* 1 .. AGENT_SLOTS_MAX */
    struct slice labels[LIMIT_LABELS];
    uint32_t label_count;
    const char *offers[LIMIT_KINDS_PER_NODE]; /* exactly these kinds; none: all that this machine can run */
    uint32_t offer_count;
    int64_t drain_ms;
};

/* Runs a node until it is told to end; returns the status for the exit code. Prints one line when the hub has welcomed it
 * ("shoal node NAME ready: …"), and one plain sentence on standard error when it fails. */
enum status node_main(const struct node_options *options);

#endif
