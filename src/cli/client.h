/* client.h - the command line's end of the hub's HTTP API, through libcurl. Blocking, one thread. */
#ifndef SHOAL_CLI_CLIENT_H
#define SHOAL_CLI_CLIENT_H

#include <stdio.h>

#include "base/json.h"
#include "cli/cli.h"

struct client;

struct client_answer { /* of the newest call; belongs to the client and dies with the next one */
    long http;
    struct slice body;
    bool is_json; /* body parsed well: root is its value */
    struct json_value root;
};

/* A client of the hub that --hub names. NULL after it said why. */
struct client *client_new(const struct cli *cli);
void client_free(struct client *client);

/* One request. `path` is escaped already and begins with '/'. `type` is the content type of the body; NULL: no body.
 * Beyond `wait_ms` (what the hub was asked to wait) ten seconds are allowed. OK for 2xx; else the failure has been told to
 * the user and its status is returned: UNREACHABLE, or what the problem+json says. */
STATUS_MUST_CHECK enum status client_call(struct client *client, const char *method, const char *path, const char *type,
                                          struct slice body, int64_t wait_ms, struct client_answer *ret_answer);
/* `shoal THINGS [VERB] NAME`: GET of one thing of the collection; "add" is a PUT of it, "rm" a DELETE, which answers nothing, any
 * other verb a POST of name:verb. `verb` and `name` as cli_verb gives them. */
STATUS_MUST_CHECK enum status client_call_thing(struct client *client, const char *collection, const char *verb,
                                                const char *name, struct client_answer *ret_answer);
/* Prints a list, page by page as they come, until `wanted` items are printed or there are no more: no command says less than
 * there is. With is_json it is one object like the hub's own pages. `cursor` is where to begin, empty for the start, and becomes
 * that of what follows, empty at the end; NULL: from start to end. Failures are told. */
struct client_list {
    const char *path;     /* "/v1/tasks" */
    struct slice filters; /* "&state=dead…", escaped, or empty */
    uint64_t wanted;      /* UINT64_MAX: all */
    struct buf *cursor;
    bool is_json;
    const char *header; /* a line above the items, "" for none */
    const char *none;   /* what is said instead when there are none; NULL: the header alone */
    void (*write_row)(struct buf *out, struct json_value item);
};
STATUS_MUST_CHECK enum status client_list(struct client *client, const struct client_list *list);
/* The same as client_call without telling: for callers that know what to do about it. client_tell says what the newest call met. */
STATUS_MUST_CHECK enum status client_try(struct client *client, const char *method, const char *path, const char *type,
                                         struct slice body, int64_t wait_ms, struct client_answer *ret_answer);
void client_tell(struct client *client);
/* The next call takes no longer than this, whatever it waits for; at least a moment. */
void client_patience(struct client *client, int64_t patience_ms);
/* A header for the next call only, "Name: value". */
void client_header(struct client *client, const char *line);
/* Streams a file to PUT /v1/blobs; `ret_blob` receives "sha256:<hex>". Failures are told. */
#define CLIENT_BLOB_SIZE 80
STATUS_MUST_CHECK enum status client_upload(struct client *client, int fd, uint64_t size,
                                            char ret_blob[CLIENT_BLOB_SIZE]);
/* Streams the blob "sha256:<hex>" to a file, without touching the newest answer. False when not all of it came: `ret_size`
 * says how much did. Nothing is told. */
bool client_download(struct client *client, struct slice blob, FILE *file, uint64_t *ret_size);
/* Appends text percent-encoded for a path segment or a query value. */
void client_escape(struct buf *out, struct slice text);
const char *client_hub(const struct client *client);

/* The member of an object as text, "" when it is missing or no string. */
struct slice client_str(struct json_value object, const char *name);
int64_t client_i64(struct json_value object, const char *name, int64_t fallback);
bool client_bool(struct json_value object, const char *name);
/* Nanoseconds of an RFC 3339 member; 0 when it is missing. */
int64_t client_time_ns(struct json_value object, const char *name);

#endif
