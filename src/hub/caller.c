#include "hub/caller.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"

#define SEED_ADDRESS 1

static struct command_caller caller_of(struct slice text, bool is_operator)
{
    uint64_t id = hash64(text, SEED_ADDRESS); /* no two addresses of one length have the same */
    return (struct command_caller){.id = id > CALLER_ANYBODY ? id : id + 2, .is_operator = is_operator};
}

struct command_caller caller_operator(void)
{
    return caller_of(SLICE("operator"), true);
}

struct command_caller caller_of_peer(const char *peer)
{
    char host[80];
    struct in_addr in4;
    struct in6_addr in6;
    const char *start = peer[0] == '[' ? peer + 1 : peer;
    const char *end = peer[0] == '[' ? strchr(peer, ']') : strrchr(peer, ':');
    size_t len = end != NULL ? (size_t)(end - start) : strlen(start);
    snprintf(host, sizeof(host), "%.*s", (int)(len < sizeof(host) ? len : 0), start);
    char *zone = strchr(host, '%');
    if (zone != NULL) {
        *zone = '\0';
    }
    if (inet_pton(AF_INET6, host, &in6) == 1) {
        if (!IN6_IS_ADDR_V4MAPPED(&in6)) {
            return caller_of(slice_of((const char *)&in6, 8), IN6_IS_ADDR_LOOPBACK(&in6));
        }
        memcpy(&in4, &in6.s6_addr[12], sizeof(in4));
    } else if (inet_pton(AF_INET, host, &in4) != 1) {
        return caller_of(slice_str(host), false);
    }
    return caller_of(slice_of((const char *)&in4, sizeof(in4)), ntohl(in4.s_addr) == INADDR_LOOPBACK);
}

void caller_refusal(const struct core *core, const struct effect_reply *reply, char ret_text[CALLER_TEXT_SIZE])
{
    static const char *const advice[TABLE_SHARED] = {
        [TABLE_NAMES] = "fewer labels, fairness keys and error kinds, or tasks that end, give room",
        [TABLE_KINDS] = "DELETE /v1/kinds/{name} gives room",
        [TABLE_QUEUES] = "DELETE /v1/queues/{name} gives room",
        [TABLE_REQUIREMENTS] = "each goes with its last task; tasks that require nothing need none",
        [TABLE_RETRY_POLICIES] = "each goes with its last task; the default policy needs none",
        [TABLE_FAIRNESS_KEYS] = "each goes with its last task; tasks without a key need none",
        [TABLE_SESSIONS] = "each ends with its node or worker"};
    enum core_table table = reply->count < TABLE_SHARED ? (enum core_table)reply->count : TABLE_NAMES;
    struct table_view view;
    core_table(core, table, &view);
    if (reply->status == STATUS_TABLE_SHARE) {
        snprintf(ret_text, CALLER_TEXT_SIZE, "%s: one caller may have %" PRIu64 ", half of what there can be; %s",
                 core_table_name(table), view.max / 100 * LIMIT_TABLE_SHARE_PERCENT, advice[table]);
    } else {
        snprintf(ret_text, CALLER_TEXT_SIZE,
                 "%s: %" PRIu64 " of %" PRIu64 " are taken and the rest is kept for the operator; %s",
                 core_table_name(table), view.used, view.max, advice[table]);
    }
}
