/* truth_server.h - an HTTP server whose latencies are known, and which misbehaves on demand. For tests of the load generator.
 *
 * A thread of its own with plain sockets and its own clock; nothing of Shoal's net layer, so that a mistake there cannot hide in both
 * ends. A request for /KIND/INDEX is answered after what `delay_ns` says for it. */
#ifndef TEST_TRUTH_SERVER_H
#define TEST_TRUTH_SERVER_H

#include <stdint.h>

enum truth_manner {
    TRUTH_ANSWERS,     /* as it should */
    TRUTH_CHUNKED,     /* the body in chunks */
    TRUTH_INTERIM,     /* a 103 goes ahead of each answer */
    TRUTH_SPLIT,       /* byte by byte, in many small writes */
    TRUTH_UNTIL_END,   /* HTTP/1.0: the body ends with the connection */
    TRUTH_SAYS_CLOSE,  /* Connection: close */
    TRUTH_JUST_CLOSES, /* closes after each answer without saying so */
    TRUTH_VARIES,      /* a head that is never the same, bodies of all sizes up to 200 KiB */
    TRUTH_RESETS,      /* in the middle of the answer */
    TRUTH_ENDS,        /* closes in the middle of the answer */
    TRUTH_HANGS_UP,    /* closes as soon as a request has come */
    TRUTH_STALLS,      /* never answers */
    TRUTH_GARBAGE,     /* what it says is no HTTP */
    TRUTH_HUGE_HEAD,   /* 1 MiB of header fields */
    TRUTH_TALKS_ON,    /* more bytes than the answer has */
    TRUTH_FAILS,       /* 503 */
};

struct truth_record {
    int64_t received_ns, sent_ns; /* clock_mono_ns; 0: it never came, or was never answered */
    int64_t delay_ns;
    char kind;
};
struct truth_config {
    enum truth_manner manner;
    int64_t (*delay_ns)(char kind, uint64_t index); /* NULL: none */
    int64_t stall_at_ns, stall_for_ns;              /* from the first request on; for so long it does nothing at all */
};
struct truth_server;

struct truth_server *truth_server_start(const struct truth_config *config, uint16_t *ret_port);
/* Ends its thread. Records by index, valid until truth_server_free. */
const struct truth_record *truth_server_stop(struct truth_server *server, uint64_t *ret_count,
                                             int64_t *ret_stall_begin_ns);
void truth_server_free(struct truth_server *server);

#endif
