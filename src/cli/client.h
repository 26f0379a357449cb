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
/* `shoal THINGS [VERB] [NAME]`: GET of the collection (with `query`, "" or "?…") or of one thing; "add" is a PUT of it, "rm" a
 * DELETE, which answers nothing, any other verb a POST of name:verb. `verb` and `name` as cli_verb gives them. */
STATUS_MUST_CHECK enum status client_call_thing(struct client *client, const char *collection, const char *query,
                                                const char *verb, const char *name, struct client_answer *ret_answer);
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
