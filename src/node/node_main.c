/* node_main.c - one node process: launchers, facts, agent, signals.
 *
 * The first SIGINT or SIGTERM drains, the second kills what runs. SIGHUP kills it at once: whoever started this process is
 * gone, and the next start must not wait for what nobody waits for. The data directory is locked, because slots own
 * scratch directories and uids below it. */
#include "node/node_main.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/entropy.h"
#include "base/log.h"
#include "base/version.h"
#include "node/agent.h"
#include "node/facts.h"
#include "node/identity.h"
#include "node/launchers.h"

#define INFO_SIZE_MAX 4096 /* what a hello takes */

struct node {
    const struct node_options *options;
    struct loop loop;
    struct agent *agent;
    struct load_sampler sampler;
    struct agent_kind kinds[LIMIT_KINDS_PER_NODE];
    uint32_t kind_count;
    uv_signal_t on_int, on_term, on_hup;
    int signals_seen;
    bool has_said_taken;
    int lock_fd;
    char data_dir[PATH_MAX];
    struct node_identity identity;
    const char *name; /* chosen, or in name_made */
    char name_made[IDENTITY_NAME_SIZE];
    enum status status;
    bool runs_left;
};

static enum status complain(enum status status, const char *sentence)
{
    fprintf(stderr, "shoal node: %s.\n", sentence);
    return status;
}

static enum status status_of_errno(int error)
{
    return error == ENOSPC ? STATUS_NO_SPACE : error == EACCES || error == EPERM ? STATUS_PERMISSION : STATUS_IO;
}

/* Makes the data directory with its parents, takes its lock, and keeps its absolute path. */
static enum status take_data_dir(struct node *node, char *why, size_t why_size)
{
    char path[PATH_MAX];
    const char *wanted = node->options->data_dir;
    if ((size_t)snprintf(path, sizeof(path), "%s", wanted) >= sizeof(path)) {
        snprintf(why, why_size, "the name of the data directory is too long");
        return STATUS_INVALID;
    }
    for (char *at = path + 1;; at++) {
        if (*at != '/' && *at != '\0') {
            continue;
        }
        char kept = *at;
        *at = '\0';
        if (mkdir(path, 0755) != 0 && errno != EEXIST) {
            enum status status = status_of_errno(errno);
            snprintf(why, why_size, "cannot make the directory %s: %s; name another one with --data", path,
                     strerror(errno));
            return status;
        }
        *at = kept;
        if (kept == '\0') {
            break;
        }
    }
    if (realpath(path, node->data_dir) == NULL) {
        snprintf(why, why_size, "cannot use the directory %s: %s", path, strerror(errno));
        return STATUS_IO;
    }
    char lock[PATH_MAX + 16];
    snprintf(lock, sizeof(lock), "%s/node.lock", node->data_dir);
    node->lock_fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (node->lock_fd < 0) {
        enum status status = status_of_errno(errno);
        snprintf(why, why_size, "cannot write into %s: %s; name another directory with --data", node->data_dir,
                 strerror(errno));
        return status;
    }
    if (flock(node->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        snprintf(why, why_size, "another node uses the data directory %s; name another one with --data",
                 node->data_dir);
        return STATUS_LOCKED;
    }
    return STATUS_OK;
}

/* What the data directory says of the node, and its name. */
static enum status take_identity(struct node *node, const struct node_facts *facts, char *why, size_t why_size)
{
    int64_t now_ms = clock_wall_ns() / NS_PER_MS;
    enum status status = identity_take(node->data_dir, now_ms, &node->identity, why, why_size);
    if (status != STATUS_OK) {
        return status;
    }
    identity_name(&node->identity, facts->hostname, node->name_made);
    node->name = node->options->name != NULL ? node->options->name : node->name_made;
    return STATUS_OK;
}

static void raise_open_files(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/* When memory runs out the node is the last to go; what it runs is the first (sandbox_spawn.c). Not permitted to every
 * user, and then left as it is. */
static void oom_last(void)
{
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd >= 0) {
        (void)!write(fd, "-900", 4);
        close(fd);
    }
}

static void sample_load(void *ctx, struct work_load *ret_load)
{
    struct node *node = ctx;
    load_sample(&node->sampler, ret_load);
}

static void on_welcome(void *ctx, bool is_first)
{
    struct node *node = ctx;
    if (!is_first) {
        return;
    }
    char kinds[512];
    size_t len = 0;
    for (uint32_t i = 0; i < node->kind_count && len < sizeof(kinds); i++) {
        len += (size_t)snprintf(kinds + len, sizeof(kinds) - len, "%s%s", i > 0 ? ", " : "",
                                node->kinds[i].launcher->kind);
    }
    printf("shoal node %s ready: %" PRIu32 " slot%s, kinds %s, hub %s\n", node->name, node->options->slots,
           node->options->slots == 1 ? "" : "s", kinds, node->options->hub_url);
    fflush(stdout);
}

/* Said once: the agent goes on trying. */
static void on_refused(void *ctx, enum status status, struct slice detail)
{
    struct node *node = ctx;
    if (status == STATUS_NAME_TAKEN && !node->has_said_taken) {
        node->has_said_taken = true;
        fprintf(stderr, "shoal node: %.*s; trying until then.\n", SLICE_ARG(detail));
    }
}

static void close_signal(uv_signal_t *handle)
{
    if (!uv_is_closing((uv_handle_t *)handle)) {
        uv_close((uv_handle_t *)handle, NULL);
    }
}

static void close_signals(struct node *node)
{
    close_signal(&node->on_int);
    close_signal(&node->on_term);
    close_signal(&node->on_hup);
}

static void on_ended(void *ctx, enum status status, const char *why, uint32_t runs_left)
{
    struct node *node = ctx;
    node->status = status;
    node->runs_left = runs_left > 0;
    struct agent_stats stats;
    agent_stats(node->agent, &stats);
    log_info("node.end",
             "why=\"%s\" succeeded=%" PRIu64 " failed=%" PRIu64 " released=%" PRIu64 " dropped=%" PRIu64
             " runs_left=%" PRIu32,
             why, stats.succeeded, stats.failed, stats.released, stats.dropped, runs_left);
    if (status != STATUS_OK && status != STATUS_INTERRUPTED) {
        (void)complain(status, why);
    }
    agent_free(TAKE(node->agent));
    close_signals(node);
    loop_stop(&node->loop);
}

static void on_signal(uv_signal_t *handle, int signal_number)
{
    struct node *node = handle->data;
    node->signals_seen++;
    bool is_drain = node->signals_seen == 1 && signal_number != SIGHUP;
    log_info("node.signal", "signal=%s then=%s",
             signal_number == SIGINT   ? "INT"
             : signal_number == SIGHUP ? "HUP"
                                       : "TERM",
             is_drain ? "drain" : "kill");
    if (node->agent == NULL) {
        return;
    }
    if (is_drain) {
        agent_drain(node->agent);
    } else {
        agent_kill(node->agent);
    }
}

static void start_signals(struct node *node)
{
    uv_signal_init(&node->loop.uv, &node->on_int);
    uv_signal_init(&node->loop.uv, &node->on_term);
    uv_signal_init(&node->loop.uv, &node->on_hup);
    node->on_int.data = node->on_term.data = node->on_hup.data = node;
    uv_signal_start(&node->on_int, on_signal, SIGINT);
    uv_signal_start(&node->on_term, on_signal, SIGTERM);
    struct sigaction hup;
    if (sigaction(SIGHUP, NULL, &hup) == 0 && hup.sa_handler != SIG_IGN) { /* nohup says that it must not count */
        uv_signal_start(&node->on_hup, on_signal, SIGHUP);
    }
}

/* {"version":…, facts of the machine, facts of the launchers}; the latter are left out when all is too long. */
static void write_info(struct buf *out, const struct node_facts *facts, struct slice launcher_facts)
{
    buf_append_str(out, "{\"version\":\"" SHOAL_VERSION "\",");
    facts_write(out, facts);
    if (out->len + launcher_facts.len + 1 <= INFO_SIZE_MAX) {
        buf_append_slice(out, launcher_facts);
    }
    buf_append_char(out, '}');
}

/* With loop, launchers and facts there: everything that is borrowed lives until the loop has ended. */
static enum status run(struct node *node, struct slice info, const struct node_facts *facts)
{
    const struct node_options *options = node->options;
    struct agent_config config = {
        .hub_url = options->hub_url,
        .name = slice_str(node->name),
        .key = slice_str(options->key),
        .slots = options->slots,
        .owner = node->identity.owner,
        .start = node->identity.start,
        .facts = {.label_count = options->label_count, .cpu_milli = facts->cpu_milli, .memory_mib = facts->memory_mib},
        .info = info,
        .kinds = node->kinds,
        .kind_count = node->kind_count,
        .drain_ms = options->drain_ms,
        .sample_load = sample_load,
        .on_welcome = on_welcome,
        .on_refused = on_refused,
        .on_ended = on_ended,
        .ctx = node};
    random_bytes(&config.instance, sizeof(config.instance));
    for (uint32_t i = 0; i < options->label_count; i++) {
        config.facts.labels[i] = options->labels[i];
    }
    start_signals(node);
    uv_update_time(&node->loop.uv); /* the launchers' proofs took seconds: a connect time-out counts from now */
    enum status status = agent_start(&node->loop, &config, &node->agent);
    if (status != STATUS_OK) {
        close_signals(node);
        loop_stop(&node->loop);
        char why[640];
        snprintf(why, sizeof(why), "\"%s\" is not the address of a hub; it looks like http://127.0.0.1:7433",
                 options->hub_url);
        complain(status, status == STATUS_INVALID ? why : status_title(status));
    } else {
        log_info("node.start", "name=%s slots=%" PRIu32 " hub=%s data=%s", node->name, options->slots, options->hub_url,
                 node->data_dir);
    }
    loop_run(&node->loop);
    return status != STATUS_OK ? status : node->status;
}

enum status node_main(const struct node_options *options)
{
    ensure(options->slots >= 1 && options->slots <= AGENT_SLOTS_MAX);
    static struct node node; /* too large for a stack, and one a process */
    node = (struct node){.options = options, .lock_fd = -1};
    char why[PATH_MAX + 256];
    enum status status = take_data_dir(&node, why, sizeof(why));
    if (status != STATUS_OK) {
        return complain(status, why);
    }
    struct node_facts facts;
    facts_read(&facts);
    status = take_identity(&node, &facts, why, sizeof(why));
    if (status != STATUS_OK) {
        return complain(status, why);
    }
    raise_open_files();
    oom_last();
    status = loop_init(&node.loop);
    if (status != STATUS_OK) {
        return complain(status, "the event loop cannot be made");
    }
    struct buf launcher_facts, sentence, info;
    buf_init(&launcher_facts, 65536);
    buf_init(&sentence, 4096);
    buf_init(&info, 2 * INFO_SIZE_MAX);
    const struct node_env env = {.loop = &node.loop,
                                 .data_dir = node.data_dir,
                                 .hub_url = options->hub_url,
                                 .key = options->key,
                                 .slots = options->slots};
    status = launchers_open(&env, options->offers, options->offer_count, node.kinds, &node.kind_count, &launcher_facts,
                            &sentence);
    if (status != STATUS_OK) {
        if (status == STATUS_UNSUPPORTED_HOST) {
            fprintf(stderr,
                    "shoal node: this machine cannot do the work: %s.\n  \"shoal doctor\" tells what is missing.\n",
                    sentence.len > 0 ? buf_cstr(&sentence) : status_title(status));
        } else {
            complain(status, sentence.len > 0 ? buf_cstr(&sentence) : status_title(status));
        }
        loop_stop(&node.loop);
        loop_run(&node.loop);
    } else {
        write_info(&info, &facts, buf_slice(&launcher_facts));
        status = run(&node, buf_slice(&info), &facts);
        if (node.runs_left) {
            _exit(status_exit(status)); /* a run that does not end still points into its launcher and the loop */
        }
        launchers_close(node.kinds, node.kind_count);
    }
    loop_free(&node.loop);
    buf_free(&launcher_facts);
    buf_free(&sentence);
    buf_free(&info);
    close(node.lock_fd);
    return status;
}
