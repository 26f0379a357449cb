/* work.h - the messages between hub and node: JSON objects over WebSocket, subprotocol "shoal.work.v1".
 *
 *   node → hub   {"type":"hello","node":N,"instance":"<hex u64>","owner":"<hex u64>"?,"start":n?,"key":K?,"kinds":[…],"labels":[…],"cpu_milli":n,"memory_mib":n,
 *                 "gpu":n,"credit":n,"held":["<token>",…],"info":{…}}
 *                {"type":"report","credit":n? (adds n),"credit_set":n? (n replaces what is left),"outcomes":[{"token":T,"outcome":"complete","result":<json>} |
 *                  {…"fail","error":{"kind":K,"message":M,"detail":<json>?},"final":bool?} | {…"extend","lease_ms":n?} |
 *                  {…"progress","permille":n,"note":S?,"checkpoint":<json>?} | {…"release","message":S?}]}
 *                {"type":"credit","n":n}            adds n
 *                {"type":"beat","load":{…}?}        load: {"cpu_permille":n,"memory_used_mib":n,"running":n}; not journaled
 *                {"type":"leave"}                   done: nothing is held any more
 *   hub → node   {"type":"welcome","session":S,"beat_ms":n,"lost_ms":n,"seq":n,"resumed":bool,"lost":["<token>",…],"drain":bool,"quiet":bool}
 *                {"type":"lease","token":T,"task":ID,"attempt":n,"kind":K,"queue":Q,"input":<json>,"checkpoint":<json>?,
 *                 "traceparent":S?,"lease_ms":n,"timeout_ms":n?}
 *                {"type":"reported","refused":[{"token":T,"code":"lease-lost"}],"seq":n}  answer to each report, in order, when durable
 *                {"type":"beat","directives":[{"do":"cancel","token":T,"reason":R} | {"do":"drain","on":bool} | {"do":"quiet","on":bool} |
 *                  {"do":"terminate","reason":R}]}   answer to a beat; also pushed at once when there is a directive
 *                {"type":"error","code":C,"detail":S}  before the hub closes
 *
 * `instance` is random for each process and resumes its session. `owner` is a secret of the node's data directory, `start`
 * rises with each process of it: a later start takes the name over at once, an earlier one is refused. Anybody else waits
 * for a name until its holder is gone: an error with the code name-taken, and the connection closes with 1013.
 *
 * A node keeps an outcome until `reported` acknowledges it, and repeats unacknowledged ones after a reconnect; a
 * repeated `complete` of a lease that this very report ended is refused with lease-lost and harmless.
 * Sessions are written as 13 base-32 digits, so that no client rounds them. The JSON of outcomes is the same in POST /v1/leases:report. Both ends use these functions. Pure. */
#ifndef SHOAL_PROTO_WORK_H
#define SHOAL_PROTO_WORK_H

#include "base/buf.h"
#include "base/json.h"
#include "proto/command.h"

#define WORK_SUBPROTOCOL "shoal.work.v1"

/* Where and why a message or request body is wrong: `pointer` is an RFC 6901 JSON pointer into it. */
struct field_error {
    enum status status; /* INVALID, UNKNOWN_FIELD, … */
    char pointer[128];
    char detail[192];
};

enum work_message_type { WORK_HELLO = 1, WORK_REPORT, WORK_CREDIT, WORK_BEAT, WORK_LEAVE };

struct work_load {
    bool is_known;
    uint32_t cpu_permille; /* of the whole machine */
    uint32_t memory_used_mib;
    uint32_t running;
};

/* An outcome of a report that is not well formed: it alone is refused. */
struct work_bad_outcome {
    uint32_t ordinal; /* its place in the array */
    bool has_token;
    struct lease_token token;
    struct field_error error; /* the pointer counts from the message */
};

struct work_message { /* node → hub, decoded */
    enum work_message_type type;
    struct command_node_hello hello; /* HELLO; held and info point into the parser or into `scratch` */
    struct slice key;
    struct command_node_report report; /* REPORT without its session and without its bad outcomes */
    struct slice bad;                  /* of it: struct work_bad_outcome, unaligned, in `scratch` */
    struct work_load load;             /* BEAT */
    uint32_t credit;                   /* CREDIT */
};

/* Decodes one message of a node. `scratch` (reset by the caller) holds what must be re-encoded (held, outcomes, info)
 * and must live as long as the message. INVALID/UNKNOWN_FIELD/BAD_JSON fill ret_error. */
STATUS_MUST_CHECK enum status work_message_decode(struct json_parser *parser, struct slice text, struct buf *scratch,
                                                  struct work_message *ret_message, struct field_error *ret_error);

/* What the hub wants to know of the tokens in a message or body. One without the key's seal is encoded with the seq 0, which
 * no lease has, so that it is refused as lost; `said` gets each as it came (struct lease_token), for the answer. */
struct work_tokens {
    const struct seal_key *key; /* NULL: none is right */
    struct buf *said;
};
/* The same; `tokens` may be NULL. */
STATUS_MUST_CHECK enum status work_message_decode_checked(struct json_parser *parser, struct slice text,
                                                          struct buf *scratch, const struct work_tokens *tokens,
                                                          struct work_message *ret_message,
                                                          struct field_error *ret_error);
/* Decodes a JSON array of outcomes (as in report.outcomes) into encoded outcomes appended to `out`. A bad one becomes a
 * struct work_bad_outcome in `bad` and the others go on; it refuses all when it is the only one or `bad` is NULL. */
STATUS_MUST_CHECK enum status work_outcomes_decode(struct json_value array, const char *pointer,
                                                   const struct work_tokens *tokens, struct buf *out,
                                                   uint32_t *ret_count, struct buf *bad, struct field_error *ret_error);

/* --- node side: writing --- */
/* `held`: hello->held_count tokens with their seals, which hello->held does not have; NULL: those, without. */
void work_write_hello(struct buf *out, const struct command_node_hello *hello, const struct lease_token *held,
                      struct slice key);
/* outcomes: already encoded JSON objects separated by commas, from work_write_outcome. */
void work_write_outcome(struct buf *out, const struct outcome *outcome);
void work_write_report(struct buf *out, struct slice outcomes_json, uint32_t credit_add);
/* A report without outcomes that sets the credit left, e.g. to 0 when the node drains. */
void work_write_credit_set(struct buf *out, uint32_t n);
void work_write_credit(struct buf *out, uint32_t n);
void work_write_beat(struct buf *out, const struct work_load *load);
void work_write_leave(struct buf *out);

/* --- hub side: writing --- */
struct work_welcome {
    uint64_t session;
    uint32_t beat_ms, lost_ms;
    uint64_t seq;
    bool is_resumed, drain, quiet;
    const struct lease_token *lost; /* held tokens that the hub refused */
    uint32_t lost_count;
};
void work_write_welcome(struct buf *out, const struct work_welcome *welcome);
struct work_lease_offer { /* what the hub hands out; also the body of POST /v1/leases items */
    struct lease_token token;
    struct slice kind, queue;
    struct slice input;       /* JSON */
    struct slice checkpoint;  /* JSON, may be empty */
    struct slice traceparent; /* may be empty */
    int64_t expires_ns;       /* wall clock of the hub; written only by work_write_offer */
    int64_t lease_ms, timeout_ms;
};
void work_write_lease(struct buf *out, const struct work_lease_offer *offer);
/* The same without "type", with "expires_at": an item of POST /v1/leases. */
void work_write_offer(struct buf *out, const struct work_lease_offer *offer);
struct work_refused {
    struct lease_token token;
    enum status status;
};
void work_write_reported(struct buf *out, const struct work_refused *refused, uint32_t count, uint64_t seq);

enum directive_type { DIRECTIVE_CANCEL = 1, DIRECTIVE_DRAIN, DIRECTIVE_QUIET, DIRECTIVE_TERMINATE };
struct directive {
    enum directive_type type;
    struct lease_token token; /* CANCEL */
    char reason[32];          /* CANCEL, TERMINATE */
    bool on;                  /* DRAIN, QUIET */
};
/* The word for it in messages; NULL past the last. */
const char *directive_name(enum directive_type type);
void work_write_beat_answer(struct buf *out, const struct directive *directives, uint32_t count);
void work_write_error(struct buf *out, enum status status, struct slice detail);

/* --- node side: reading what the hub says --- */
enum work_answer_type { WORK_WELCOME = 1, WORK_LEASE, WORK_REPORTED, WORK_DIRECTIVES, WORK_ERROR };
struct work_lease {
    struct lease_token token;
    uint32_t attempt;
    struct slice kind, queue;
    struct json_value input; /* valid until the parser's next use; print it to keep it */
    bool has_checkpoint;
    struct json_value checkpoint;
    struct slice traceparent;
    int64_t lease_ms, timeout_ms;
};
/* Reads a lease out of its JSON object: a "lease" message, or an item of what POST /v1/leases answers. INVALID. */
STATUS_MUST_CHECK enum status work_lease_read(struct json_value object, struct work_lease *ret_lease);
#define WORK_LIST_MAX 4096
struct work_answer {
    enum work_answer_type type;
    struct work_welcome welcome; /* lost points into `lost` below */
    struct work_lease lease;
    struct work_refused refused[WORK_LIST_MAX];
    uint32_t refused_count;
    uint64_t reported_seq; /* REPORTED: the entry that took it */
    struct directive directives[WORK_LIST_MAX];
    uint32_t directive_count;
    struct lease_token lost[WORK_LIST_MAX];
    enum status error;
    struct slice error_detail;
};
/* `ret_answer` is large: keep one and reuse it. Unknown members are ignored here, so that a hub may be newer than its
 * nodes; an unknown type is NOT_IMPLEMENTED and may be skipped. */
STATUS_MUST_CHECK enum status work_answer_decode(struct json_parser *parser, struct slice text,
                                                 struct work_answer *ret_answer);

#endif
