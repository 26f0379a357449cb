/* session_hello.c - who may work under a name, what is logged of those who may not, and what only this hub can have given
 * out.
 *
 * The core takes every hello and lets it replace the session before; it knows nothing of silence. So a hello that would
 * take a name from somebody who works is refused here, before it becomes a command. Whoever is asked for under a name that
 * has a session:
 *
 *   the same process (instance), over another connection              comes in: its leases go on
 *   a later start of the same data directory (owner, start)           comes in at once: one process holds its lock
 *   an earlier start of it: a hello that was long under way           SESSION_LOST
 *   anybody else, while the holder is heard of or may come back, or
 *   is a worker over HTTP that holds leases (who works does not call)  NAME_TAKEN; tries again
 *   anybody else, when the holder is silent for suspect_ms            comes in, unless it started before the holder
 *
 * A token that leaves the hub gets a seal under a key of the data directory's secret, and so does the session of a worker. The
 * core knows neither: here they are put on, and what comes back without them is refused before it becomes a command.
 *
 * Between the check and the session stands the disk: a name whose hello is under way is taken as well (N4: a record in
 * HELLO, and only such a one, is in by_hello). */
#include <inttypes.h>
#include <stdio.h>

#include "base/base32.h"
#include "base/clock.h"
#include "base/ensure.h"
#include "base/entropy.h"
#include "base/log.h"
#include "base/mutation.h"
#include "hub/sessions_internal.h"

/* --- names under way --- */

static struct slice hello_name(const struct session *session)
{
    return slice_of(session->hello_name, session->hello_name_len);
}

static bool is_equal_name(const void *ctx, uint32_t value, const void *key)
{
    return slice_equal(hello_name(session_at(ctx, value)), *(const struct slice *)key);
}

static uint64_t hash_of_name(const void *ctx, uint32_t value)
{
    return hash_keyed(entropy_hash_key(), 0, hello_name(session_at(ctx, value)));
}

bool session_hello_begin(struct session *session, struct slice name)
{
    ensure(session->hello_name_len == 0 && name.len > 0 && name.len <= sizeof(session->hello_name));
    memcpy(session->hello_name, name.data, name.len);
    session->hello_name_len = (uint8_t)name.len;
    struct sessions *sessions = session->sessions;
    if (map_add(&sessions->by_hello, hash_keyed(entropy_hash_key(), 0, name), session->index, hash_of_name, sessions)) {
        return true;
    }
    session->hello_name_len = 0;
    return false;
}

void session_hello_end(struct session *session)
{
    struct sessions *sessions = session->sessions;
    if (session->hello_name_len > 0) {
        map_remove(&sessions->by_hello, hash_keyed(entropy_hash_key(), 0, hello_name(session)), session->index,
                   hash_of_name, sessions);
        session->hello_name_len = 0;
    }
}

/* --- who holds a name --- */

/* Whether the holder of a session works or may come back to it. */
static bool is_there(const struct session *holder)
{
    if (holder->worker != NULL) {
        return worker_is_there(holder);
    }
    return holder->phase == SESSION_LIVE || holder->phase == SESSION_CLOSED || holder->phase == SESSION_RETURNING;
}

static enum status taken(struct slice name, const char *peer, char *ret_detail)
{
    snprintf(ret_detail, SESSION_DETAIL_SIZE,
             "a node named %.*s is already connected%s%s; choose another name or wait until it is gone",
             SLICE_ARG(name), peer[0] != '\0' ? " from " : "", peer);
    return STATUS_NAME_TAKEN;
}

enum status session_check_name(const struct sessions *sessions, const struct command_node_hello *hello,
                               char ret_detail[SESSION_DETAIL_SIZE])
{
    struct slice name = hello->node;
    if (MUTATION(hello_evicts)) {
        return STATUS_OK;
    }
    uint32_t under_way =
        map_find(&sessions->by_hello, hash_keyed(entropy_hash_key(), 0, name), is_equal_name, sessions, &name);
    if (under_way != MAP_NONE) {
        return taken(name, session_at(sessions, under_way)->peer, ret_detail);
    }
    const struct session *worker = hello->is_worker ? NULL : worker_find(sessions, name);
    if (worker != NULL && worker_is_there(worker)) {
        return taken(name, "", ret_detail);
    }
    struct node_view view;
    if (!core_node_find(sequencer_core(sessions->hub->sequencer), name, &view) || view.session == 0) {
        return STATUS_OK;
    }
    const struct session *holder = session_find(sessions, view.session);
    if (holder == NULL || (view.instance == hello->instance && view.is_worker == hello->is_worker)) {
        return STATUS_OK;
    }
    bool is_older = hello->start != 0 && hello->start < view.start;
    if (hello->owner != 0 && hello->owner == view.owner) {
        if (!is_older) {
            return STATUS_OK;
        }
        snprintf(ret_detail, SESSION_DETAIL_SIZE, "a later process of this node works as %.*s", SLICE_ARG(name));
        return STATUS_SESSION_LOST;
    }
    return is_there(holder) || is_older ? taken(name, holder->peer, ret_detail) : STATUS_OK;
}

/* --- what only the hub can have made --- */

void sessions_take_keys(struct sessions *sessions)
{
    if (sessions->has_keys) {
        return;
    }
    struct slice secret = core_secret(sequencer_core(sessions->hub->sequencer));
    if (secret.len > 0) {
        seal_key_derive(secret, "lease token", &sessions->token_key);
        seal_key_derive(secret, "worker session", &sessions->session_key);
        sessions->has_keys = true;
    }
}

void sessions_seal(struct sessions *sessions, struct lease_token *token)
{
    if (sessions != NULL) {
        sessions_take_keys(sessions);
        if (sessions->has_keys) {
            lease_token_seal(&sessions->token_key, token);
        }
    }
}

struct work_tokens sessions_tokens(struct sessions *sessions)
{
    sessions_take_keys(sessions);
    buf_reset(&sessions->said);
    return (struct work_tokens){.key = sessions->has_keys ? &sessions->token_key : NULL, .said = &sessions->said};
}

void session_write(struct sessions *sessions, struct buf *out, uint64_t session)
{
    sessions_take_keys(sessions);
    char text[BASE32_TEXT_SIZE + 1 + SEAL_DIGITS];
    struct seal seal = seal_make(&sessions->session_key, &session, 1);
    base32_format(session, text);
    text[BASE32_DIGITS] = '.';
    seal_format(&seal, text + BASE32_DIGITS + 1);
    buf_append_str(out, text);
}

bool session_parse(struct sessions *sessions, struct slice text, uint64_t *ret_session)
{
    uint64_t session;
    struct seal seal = {0};
    if (text.len < BASE32_DIGITS || !base32_parse(slice_of(text.data, BASE32_DIGITS), &session)) {
        return false;
    }
    struct slice rest = slice_of(text.data + BASE32_DIGITS, text.len - BASE32_DIGITS);
    if (rest.len > 0 && (rest.data[0] != '.' || !seal_parse(slice_of(rest.data + 1, rest.len - 1), &seal))) {
        return false;
    }
    sessions_take_keys(sessions);
    struct seal ours = seal_make(&sessions->session_key, &session, 1);
    *ret_session = sessions->has_keys && seal_equal(&seal, &ours) ? session : 0;
    return true;
}

/* --- what is logged --- */

static const char *const event_names[BAD_HELLO_COUNT] = {[BAD_HELLO_KEY] = "node.unauthorized",
                                                         [BAD_HELLO_NAME] = "node.name-taken",
                                                         [BAD_HELLO_MESSAGE] = "node.bad-hello",
                                                         [BAD_HELLO_NONE] = "node.no-hello"};

void session_log_bad_hello(struct sessions *sessions, enum bad_hello kind, struct slice name, const char *peer,
                           const char *why)
{
    struct bad_hello_log *log = &sessions->bad_hellos[kind];
    int64_t now_ns = sessions_mono_ns(sessions);
    sessions->stats.bad_hellos++;
    if (log->is_said && now_ns - log->said_ns < NS_PER_S) {
        log->untold++;
        return;
    }
    /* A name that is none may hold anything; it is not repeated. */
    log_warn(event_names[kind], "node=\"%.*s\" from=%s why=\"%s\" untold=%" PRIu64, SLICE_ARG(name),
             peer[0] != '\0' ? peer : "-", why, log->untold);
    *log = (struct bad_hello_log){.is_said = true, .said_ns = now_ns};
}
