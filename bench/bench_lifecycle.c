/* bench_lifecycle.c - whole task lifecycles through the hub: submit in batches, lease and complete in batches.
 *
 *   bench_lifecycle PORT TASKS [BATCH=100] [PRODUCERS=4] [WORKERS=4]
 *
 * Producers send POST /v1/tasks:batch, workers POST /v1/leases and then POST /v1/leases:report (report a batch, get a
 * batch), all over kept connections from one thread. Every answer is checked, every lease is completed, and at the end as
 * many completions must have been accepted as tasks were acknowledged. Prints one JSON line. */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "client.h"

enum role { PRODUCER, WORKER };

struct peer {
    enum role role;
    int fd;
    struct buf in;
    struct buf out;
    size_t sent;
    char session[64];
    unsigned in_report; /* outcomes in the request under way */
    int number;
    bool is_done;
    int64_t asked_ns;
};

static uint64_t tasks_total, tasks_sent, tasks_acknowledged, tasks_completed;
static unsigned batch_size;
static double *samples[2];
static size_t sample_count[2];

static void ask(struct peer *peer)
{
    static struct buf body = {.max = 16u << 20};
    buf_reset(&body);
    buf_reset(&peer->out);
    peer->sent = 0;
    if (peer->role == PRODUCER) {
        if (tasks_sent >= tasks_total) {
            peer->is_done = true;
            return;
        }
        unsigned count = batch_size;
        if (count > tasks_total - tasks_sent) {
            count = (unsigned)(tasks_total - tasks_sent);
        }
        buf_append_char(&body, '[');
        for (unsigned i = 0; i < count; i++) {
            buf_printf(&body, "%s{\"kind\":\"bench.noop\",\"input\":{\"n\":%llu}}", i > 0 ? "," : "",
                       (unsigned long long)(tasks_sent + i));
        }
        buf_append_char(&body, ']');
        tasks_sent += count;
        peer->in_report = count;
        client_request(&peer->out, "POST", "/v1/tasks:batch", buf_slice(&body));
    } else if (peer->session[0] == '\0') {
        buf_printf(&body, "{\"node\":\"bench-%d\",\"kinds\":[\"bench.noop\"],\"max\":%u,\"wait_ms\":500}", peer->number,
                   batch_size);
        client_request(&peer->out, "POST", "/v1/leases", buf_slice(&body));
    }
    peer->asked_ns = clock_mono_ns();
}

/* Turns the leases of an answer into the next report; a worker with nothing to do polls again. */
static void next_report(struct peer *peer, struct slice answer)
{
    static struct buf body = {.max = 16u << 20};
    buf_reset(&body);
    buf_reset(&peer->out);
    peer->sent = 0;
    peer->in_report = 0;
    buf_printf(&body, "{\"session\":\"%s\",\"max\":%u,\"wait_ms\":500,\"outcomes\":[", peer->session, batch_size);
    const char *leases = memmem(answer.data, answer.len, "\"leases\":", 9);
    const char *end = answer.data + answer.len;
    for (const char *at = leases; at != NULL;) {
        at = memmem(at, (size_t)(end - at), "\"token\":\"", 9);
        if (at == NULL) {
            break;
        }
        at += 9;
        const char *close = memchr(at, '"', (size_t)(end - at));
        buf_printf(&body, "%s{\"token\":\"%.*s\",\"outcome\":\"complete\",\"result\":{\"ok\":true}}",
                   peer->in_report > 0 ? "," : "", (int)(close - at), at);
        peer->in_report++;
        at = close;
    }
    buf_append_str(&body, "]}");
    if (tasks_completed >= tasks_total && peer->in_report == 0) {
        peer->is_done = true;
        return;
    }
    client_request(&peer->out, "POST", "/v1/leases:report", buf_slice(&body));
    peer->asked_ns = clock_mono_ns();
}

static unsigned count_of(struct slice text, const char *needle)
{
    unsigned count = 0;
    size_t len = strlen(needle);
    const char *end = text.data + text.len;
    for (const char *at = text.data; (at = memmem(at, (size_t)(end - at), needle, len)) != NULL; at += len) {
        count++;
    }
    return count;
}

static void answered(struct peer *peer, int status, struct slice body)
{
    if (status == 503) { /* back-pressure: the same again */
        peer->sent = 0;
        return;
    }
    if (status != 200) {
        client_die("status %d: %.*s", status, (int)(body.len < 500 ? body.len : 500), body.data);
    }
    double took_ms = (double)(clock_mono_ns() - peer->asked_ns) / 1e6;
    samples[peer->role][sample_count[peer->role]++] = took_ms;
    if (peer->role == PRODUCER) {
        struct slice accepted;
        if (!client_field(body, "accepted", &accepted) || strtoul(accepted.data, NULL, 10) != peer->in_report) {
            client_die("not all were accepted: %.*s", (int)(body.len < 500 ? body.len : 500), body.data);
        }
        tasks_acknowledged += peer->in_report;
        ask(peer);
        return;
    }
    if (peer->session[0] == '\0') {
        struct slice session;
        if (!client_field(body, "session", &session) || session.len >= sizeof(peer->session)) {
            client_die("no session: %.*s", (int)body.len, body.data);
        }
        memcpy(peer->session, session.data, session.len);
    } else {
        const char *leases = memmem(body.data, body.len, "\"leases\":", 9);
        struct slice results = slice_of(body.data, leases != NULL ? (size_t)(leases - body.data) : body.len);
        unsigned ok = count_of(results, "\"ok\":true");
        if (ok != peer->in_report) {
            client_die("%u of %u outcomes were accepted: %.*s", ok, peer->in_report,
                       (int)(body.len < 800 ? body.len : 800), body.data);
        }
        tasks_completed += ok;
    }
    next_report(peer, body);
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        client_die("usage: bench_lifecycle PORT TASKS [BATCH] [PRODUCERS] [WORKERS]");
    }
    uint16_t port = (uint16_t)atoi(argv[1]);
    tasks_total = strtoull(argv[2], NULL, 10);
    batch_size = argc > 3 ? (unsigned)atoi(argv[3]) : 100;
    unsigned producers = argc > 4 ? (unsigned)atoi(argv[4]) : 4, workers = argc > 5 ? (unsigned)atoi(argv[5]) : 4;
    unsigned count = producers + workers;
    struct peer *peers = calloc(count, sizeof(*peers));
    struct pollfd *polls = calloc(count, sizeof(*polls));
    /* Idle polls make more requests than batches; room for all of them. */
    size_t room = (size_t)(tasks_total / batch_size + 1) * 8 + 100000;
    samples[0] = malloc(room * sizeof(double));
    samples[1] = malloc(room * sizeof(double));

    struct buf in = {.max = 64u << 20};
    struct slice answer;
    int setup = client_connect(port);
    if (client_call(setup, &in, "PUT", "/v1/kinds/bench.noop", SLICE("{}"), &answer) >= 300) {
        client_die("the kind is refused: %.*s", (int)answer.len, answer.data);
    }
    for (unsigned i = 0; i < count; i++) {
        peers[i].role = i < producers ? PRODUCER : WORKER;
        peers[i].number = (int)i;
        peers[i].fd = client_connect(port);
        fcntl(peers[i].fd, F_SETFL, O_NONBLOCK);
        buf_init(&peers[i].in, 64u << 20);
        buf_init(&peers[i].out, 64u << 20);
        polls[i].fd = peers[i].fd;
        ask(&peers[i]);
    }
    int64_t began_ns = clock_mono_ns(), submitted_ns = 0, completed_ns = 0;
    for (unsigned done = 0; done < count;) {
        done = 0;
        for (unsigned i = 0; i < count; i++) {
            struct peer *peer = &peers[i];
            if (peer->is_done) {
                polls[i].fd = -1;
                done++;
                continue;
            }
            while (peer->sent < peer->out.len) {
                ssize_t sent = write(peer->fd, peer->out.data + peer->sent, peer->out.len - peer->sent);
                if (sent <= 0) {
                    break;
                }
                peer->sent += (size_t)sent;
            }
            polls[i].events = (short)(POLLIN | (peer->sent < peer->out.len ? POLLOUT : 0));
        }
        if (done == count || poll(polls, count, 5000) <= 0) {
            if (done == count) {
                break;
            }
            client_die("nothing happens: %llu of %llu completed", (unsigned long long)tasks_completed,
                       (unsigned long long)tasks_total);
        }
        for (unsigned i = 0; i < count; i++) {
            struct peer *peer = &peers[i];
            if (peer->is_done || (polls[i].revents & (POLLIN | POLLHUP | POLLERR)) == 0) {
                continue;
            }
            if (client_read(peer->fd, &peer->in) == 0) {
                client_die("the hub closed a connection");
            }
            size_t size;
            int status;
            struct slice body;
            if (client_answer(&peer->in, &size, &status, &body)) {
                answered(peer, status, body);
                buf_consume(&peer->in, size);
            }
        }
        if (submitted_ns == 0 && tasks_acknowledged == tasks_total) {
            submitted_ns = clock_mono_ns();
        }
        if (completed_ns == 0 && tasks_completed == tasks_total) {
            completed_ns = clock_mono_ns(); /* not when the last idle poll comes home */
        }
    }
    double seconds = (double)(completed_ns - began_ns) / 1e9;
    if (tasks_completed != tasks_acknowledged || tasks_completed != tasks_total) {
        client_die("acknowledged %llu, completed %llu of %llu", (unsigned long long)tasks_acknowledged,
                   (unsigned long long)tasks_completed, (unsigned long long)tasks_total);
    }
    printf(
        "{\"tasks\":%llu,\"batch\":%u,\"producers\":%u,\"workers\":%u,\"seconds\":%.3f,\"lifecycles_per_s\":%.0f,"
        "\"submit_seconds\":%.3f,\"submit_batch_p50_ms\":%.2f,\"submit_batch_p99_ms\":%.2f,\"report_batch_p50_ms\":%.2f,"
        "\"report_batch_p99_ms\":%.2f}\n",
        (unsigned long long)tasks_total, batch_size, producers, workers, seconds, (double)tasks_total / seconds,
        (double)(submitted_ns - began_ns) / 1e9, client_percentile(samples[0], sample_count[0], 50),
        client_percentile(samples[0], sample_count[0], 99), client_percentile(samples[1], sample_count[1], 50),
        client_percentile(samples[1], sample_count[1], 99));
    return 0;
}
