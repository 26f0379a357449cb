/* fuzz_config.c - the hub's configuration file. Either everything in it is taken and within its bounds, or nothing is and one
 * line says where and why; the same text gives the same. */
#include "hub/config.h"
#include "test/fuzz/fuzz.h"

#define NAME "hub.yaml"

static void is_equal(const struct hub_config *a, const struct hub_config *b)
{
    ensure(strcmp(a->data_dir, b->data_dir) == 0 && strcmp(a->host, b->host) == 0 && a->port == b->port);
    ensure(a->durability == b->durability && a->sync_interval_ms == b->sync_interval_ms);
    ensure(a->segment_size == b->segment_size && a->snapshot_every_size == b->snapshot_every_size);
    ensure(a->tasks_max == b->tasks_max && a->payload_size_max == b->payload_size_max);
    ensure(a->finished_keep_ms == b->finished_keep_ms && a->blob_size_max == b->blob_size_max);
    ensure(a->connections_max == b->connections_max && a->header_ms == b->header_ms && a->idle_ms == b->idle_ms);
    ensure(a->body_idle_ms == b->body_idle_ms && a->beat_ms == b->beat_ms && a->suspect_ms == b->suspect_ms);
    ensure(a->lost_ms == b->lost_ms && a->closed_grace_ms == b->closed_grace_ms);
    ensure(strcmp(a->node_key, b->node_key) == 0);
}

static void is_within(const struct hub_config *config)
{
    ensure(memchr(config->data_dir, '\0', sizeof(config->data_dir)) != NULL && config->data_dir[0] != '\0');
    ensure(memchr(config->host, '\0', sizeof(config->host)) != NULL && config->host[0] != '\0');
    ensure(memchr(config->node_key, '\0', sizeof(config->node_key)) != NULL);
    ensure(config->durability <= DURABILITY_NONE && config->tasks_max <= LIMIT_TASKS && config->tasks_max > 0);
    ensure(config->segment_size >= LIMIT_SEGMENT_SIZE_MIN && config->sync_interval_ms > 0);
    ensure(config->beat_ms > 0 && config->beat_ms < config->suspect_ms && config->suspect_ms < config->lost_ms);
    ensure(config->header_ms > 0 && config->body_idle_ms > 0 && config->idle_ms > 0 && config->finished_keep_ms >= 0);
    ensure(config->connections_max > 0 && config->closed_grace_ms >= 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct hub_config config, again, untouched;
    struct buf why, why_again;
    char *copy = fuzz_copy(slice_of(data, size));
    struct slice text = slice_of(copy, size);
    buf_init(&why, 65536);
    buf_init(&why_again, 65536);
    hub_config_default(&config);
    hub_config_default(&again);
    hub_config_default(&untouched);
    is_within(&config);
    enum status status = hub_config_parse(&config, NAME, text, &why);
    ensure(hub_config_parse(&again, NAME, text, &why_again) == status);
    ensure(fuzz_equal(&why, &why_again));
    is_equal(&config, &again);
    if (status == STATUS_OK) {
        ensure(why.len == 0);
        is_within(&config);
    } else {
        ensure(status == STATUS_CONFIG && slice_starts_with(buf_slice(&why), SLICE(NAME)));
        ensure(memchr(why.data, '\n', why.len) == NULL);
        is_equal(&config, &untouched);
    }
    if (hub_config_set_listen(&again, text)) {
        ensure(again.host[0] != '\0' && memchr(again.host, '\0', sizeof(again.host)) != NULL);
    } else {
        is_equal(&config, &again);
    }
    buf_free(&why);
    buf_free(&why_again);
    free(copy);
    return 0;
}
