/* limits.h - every maximum in one place, with where its number comes from.
 *
 * Units come last in a name. What a configuration can change has its default here and its bounds beside it. */
#ifndef SHOAL_BASE_LIMITS_H
#define SHOAL_BASE_LIMITS_H

/* --- names (queue, kind, node, fairness key, labels) --- */
#define LIMIT_NAME_SIZE 128 /* bytes of a queue, kind, node or label name */
#define LIMIT_KEY_SIZE 256  /* bytes of an idempotency, unique or fairness key */
#define LIMIT_LABELS 32     /* labels on one node or in one requirement */
#define LIMIT_KINDS_PER_NODE 64
#define LIMIT_SYMBOLS 1000000 /* distinct names in the core's table */

/* --- tasks --- */
#define LIMIT_TASKS 16000000   /* live tasks; a task id keeps 24 bits for its index (16.7 M) */
#define LIMIT_INPUT_SIZE 65536 /* inline input, checkpoint or result; larger ones are blobs (DESIGN section 1) */
#define LIMIT_PAYLOAD_TOTAL_SIZE (UINT64_C(3) << 30) /* all inline payloads together: 4 GiB less the records */
#define LIMIT_PROGRESS_SIZE 1024                     /* bytes of a progress message */
#define LIMIT_ERROR_SIZE 4096                        /* bytes of an attempt's error message */
#define LIMIT_BATCH_TASKS 1000                       /* tasks in one tasks:batch */
#define LIMIT_PRIORITY_MAX 9
#define LIMIT_WEIGHT_MAX 1000
#define LIMIT_ATTEMPTS 1000    /* retry.max at most */
#define LIMIT_ATTEMPTS_LOST 10 /* an attempt lost with its node counts apart from those that failed */
/* A task under which two nodes died is more likely their murderer than unlucky: it is held for somebody to look at. */
#define LIMIT_DEATHS 2
#define LIMIT_DEATHS_MAX 1000                           /* that a hub can be set to */
#define LIMIT_ATTEMPTS_KEPT 16                          /* attempts remembered for each task, the newest ones */
#define LIMIT_DURATION_MS (INT64_C(366) * 86400 * 1000) /* any *_ms field */
#define LIMIT_IDEMPOTENCY_KEYS 4000000
#define LIMIT_IDEMPOTENCY_MS (INT64_C(24) * 3600 * 1000)
#define LIMIT_SIGNATURES 4096 /* distinct requirement sets, beside one plain one for each kind */
#define LIMIT_QUEUES 10000
#define LIMIT_KINDS 10000
#define LIMIT_FLOWS 1000000 /* (queue, fairness key) pairs with work */
#define LIMIT_RETRY_POLICIES 4096
#define LIMIT_FINISHED_KEEP_MS (60 * 1000) /* finished tasks stay in memory this long once history has them */

/* --- shares of the tables of names, kinds, queues, requirement sets, retry policies, fairness keys and sessions --- */
#define LIMIT_TABLE_OPEN_PERCENT 90  /* of a table are for everybody, the rest for the operator */
#define LIMIT_TABLE_SHARE_PERCENT 50 /* of a table are what one caller can make */
#define LIMIT_TABLE_WARN_PERCENT 80  /* from here on /readyz says so, and what nobody needs is collected */
#define LIMIT_COLLECT 10000          /* records that one COLLECT lets go of: about 10 ms */
#define LIMIT_GONE_KEEP_MS (INT64_C(7) * 86400 * 1000) /* a node that is gone is remembered for so long, */
#define LIMIT_GONE_KEEP_FULL_MS (INT64_C(600) * 1000)  /* and for so long while names or nodes run short */

/* --- leases and nodes --- */
#define LIMIT_NODES 65536
#define LIMIT_CREDIT 4096 /* leases that a node may hold or wait for */
#define LIMIT_LEASE_MS_DEFAULT 30000
#define LIMIT_LEASE_MS_MIN 1000
#define LIMIT_LEASE_MS_MAX 3600000
#define LIMIT_BEAT_MS 500 /* DESIGN section 6: heartbeat, suspect, lost, grace after a closed connection */
#define LIMIT_SUSPECT_MS 1500
#define LIMIT_LOST_MS 2500
#define LIMIT_CLOSED_GRACE_MS 250
#define LIMIT_WORKER_IDLE_MS 60000 /* an HTTP worker that has not called for so long is gone */

/* --- journal --- */
#define LIMIT_SEGMENT_SIZE (64u << 20)
#define LIMIT_SEGMENT_SIZE_MIN (64u << 10)
#define LIMIT_ENTRY_SIZE (4u << 20)             /* body of one entry */
#define LIMIT_UNSYNCED_SIZE (64u << 20)         /* bytes proposed and not yet durable; past it the hub is busy */
#define LIMIT_HELD_SIZE (64u << 20)             /* effects waiting for durability; past it the hub is busy */
#define LIMIT_HISTORY_BACKLOG_SIZE (256u << 20) /* rows waiting for SQLite; past it no new work is taken */
#define LIMIT_SNAPSHOT_EVERY_SIZE (256u << 20)  /* journal bytes between two snapshots */

/* --- HTTP --- */
#define LIMIT_HTTP_TARGET_SIZE 8192
#define LIMIT_HTTP_HEADERS_SIZE 32768
#define LIMIT_HTTP_HEADER_COUNT 100
#define LIMIT_HTTP_BODY_SIZE (8u << 20) /* a buffered body; blobs stream past it */
#define LIMIT_HTTP_SMALL_SIZE                                                                                          \
    65536u /* a body that gets room out of the share of small ones; what any client may leave unread */
#define LIMIT_HTTP_ROOM_MS                                                                                             \
    10000 /* a large body waits so long for room; a client that waits longer had better come again */
#define LIMIT_MEMORY_BUDGET                                                                                            \
    (UINT64_C(512) << 20)       /* of all buffered bodies and answers; less on a machine below 4 GiB */
#define LIMIT_HTTP_PIPELINE 128 /* requests of one connection being answered */
#define LIMIT_HTTP_CONNECTIONS 20000
#define LIMIT_HTTP_HEADER_MS 10000    /* a request's head must be complete within */
#define LIMIT_HTTP_BODY_IDLE_MS 30000 /* a body must not pause for longer */
#define LIMIT_HTTP_IDLE_MS 75000      /* keep-alive, as nginx */
/* What a peer still sends after it was answered is read and dropped: many clients write a whole body before they read a
 * byte, and closing a socket with unread bytes destroys the answer. nginx's lingering_timeout and lingering_time. */
#define LIMIT_HTTP_DROP_IDLE_MS 5000
#define LIMIT_HTTP_DROP_MS 30000
#define LIMIT_HTTP_OUT_SIZE (16u << 20)   /* unsent bytes of one WebSocket; past it the connection ends */
#define LIMIT_HTTP_UNREAD_SIZE (2u << 20) /* answers of one connection that wait; past it no request of it is begun */
#define LIMIT_HTTP_STREAM_SIZE (1u << 20) /* unsent bytes of a streamed answer; past it its writer waits */
#define LIMIT_WS_MESSAGE_SIZE (8u << 20)
#define LIMIT_WAIT_MS 60000 /* wait_ms of a GET or of a lease poll */
#define LIMIT_BLOB_SIZE (UINT64_C(16) << 30)
#define LIMIT_HISTORY_KEEP_MS (36525LL * 24 * 3600 * 1000) /* a hundred years: sums of times do not overflow */
#define LIMIT_BLOB_KEEP_MS (24LL * 3600 * 1000)            /* that no task names: a day to submit what does */
#define LIMIT_BLOB_RATE_MIN 1024u /* bytes a second: the slowest modems; a trickle holds a file and memory */
#define LIMIT_BLOB_UPLOAD_MS (12LL * 3600 * 1000) /* 16 GiB at 400 KiB/s */
#define LIMIT_PAGE_DEFAULT 50
#define LIMIT_PAGE_MAX 1000
#define LIMIT_JSON_DEPTH 64

/* --- the load generator --- */
#define LIMIT_BENCH_CONNECTIONS                                                                                        \
    16384 /* of the open model, when a scenario names no number; below the usual 20,000 descriptors */

#endif
