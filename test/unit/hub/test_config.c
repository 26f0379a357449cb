/* The configuration file: what it sets, and that each mistake names file and line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "hub/config.h"

static void test_defaults(void **state)
{
    (void)state;
    struct hub_config config;
    hub_config_default(&config);
    assert_string_equal(config.host, "127.0.0.1");
    assert_int_equal(config.durability, DURABILITY_BATCH);
    assert_true(config.beat_ms < config.suspect_ms && config.suspect_ms < config.lost_ms);
    assert_true(config.segment_size > 0 && config.tasks_max > 0 && config.data_dir[0] != '\0');
}

static enum status parse(struct hub_config *config, const char *text, struct buf *why)
{
    hub_config_default(config);
    buf_init(why, 4096);
    return hub_config_parse(config, "hub.yaml", slice_str(text), why);
}

static void test_every_key(void **state)
{
    (void)state;
    struct hub_config config;
    struct buf why;
    enum status status = parse(&config,
                               "# a comment\n"
                               "listen: \"[::1]:9000\"\n"
                               "data: /var/lib/shoal\n"
                               "durability: interval\n"
                               "node_key: secret\n"
                               "sync_interval_ms: 20\n"
                               "segment_size_mib: 8\n"
                               "snapshot_every_mib: 32\n"
                               "tasks_max: 1000\n"
                               "payload_max_mib: 64\n"
                               "finished_keep_ms: 0\n"
                               "blob_max_mib: 16\n"
                               "connections_max: 77\n"
                               "memory_budget_mib: 33\n"
                               "http_header_ms: 1000\n"
                               "http_body_idle_ms: 2000\n"
                               "http_idle_ms: 3000\n"
                               "beat_ms: 100\n"
                               "suspect_ms: 300\n"
                               "lost_ms: 600\n"
                               "closed_grace_ms: 50\n",
                               &why);
    assert_string_equal(buf_cstr(&why), "");
    assert_int_equal(status, STATUS_OK);
    assert_string_equal(config.host, "::1");
    assert_int_equal(config.port, 9000);
    assert_string_equal(config.data_dir, "/var/lib/shoal");
    assert_int_equal(config.durability, DURABILITY_INTERVAL);
    assert_string_equal(config.node_key, "secret");
    assert_int_equal(config.sync_interval_ms, 20);
    assert_int_equal(config.segment_size, 8 << 20);
    assert_int_equal(config.snapshot_every_size, 32 << 20);
    assert_int_equal(config.tasks_max, 1000);
    assert_int_equal(config.payload_size_max, 64 << 20);
    assert_int_equal(config.finished_keep_ms, 0);
    assert_int_equal(config.blob_size_max, 16 << 20);
    assert_int_equal(config.connections_max, 77);
    assert_int_equal(config.memory_budget, 33u << 20);
    assert_int_equal(config.header_ms, 1000);
    assert_int_equal(config.body_idle_ms, 2000);
    assert_int_equal(config.idle_ms, 3000);
    assert_int_equal(config.beat_ms, 100);
    assert_int_equal(config.suspect_ms, 300);
    assert_int_equal(config.lost_ms, 600);
    assert_int_equal(config.closed_grace_ms, 50);
    buf_free(&why);
}

static void test_empty_file_changes_nothing(void **state)
{
    (void)state;
    const char *texts[] = {"", "\n\n", "# only a comment\n", "{}\n"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
        struct hub_config config, defaults;
        struct buf why;
        hub_config_default(&defaults);
        assert_int_equal(parse(&config, texts[i], &why), STATUS_OK);
        assert_int_equal(config.port, defaults.port);
        assert_int_equal(config.tasks_max, defaults.tasks_max);
        buf_free(&why);
    }
}

static void test_mistakes_name_the_line(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *line;
        const char *what;
    } cases[] = {
        {"listen: 127.0.0.1:0\n\nlisten_to: me\n", "line 3:", "listen_to"},
        {"durability: sometimes\n", "line 1:", "durability"},
        {"tasks_max: 5\nbeat_ms: soon\n", "line 2:", "beat_ms"},
        {"tasks_max: -1\n", "line 1:", "tasks_max"},
        {"# comment\n\n\ntasks_max: 0\n", "line 4:", "between 1 and"},
        {"tasks_max: 99999999999\n", "line 1:", "between 1 and"},
        {"tasks_max: 99999999999999999999999\n", "line 1:", "tasks_max"},
        {"beat_ms: 500\ntasks_max:\n  a: 1\n", "line 2:", "tasks_max"},
        {"tasks_max: 5\nbeat_ms: 300\ntasks_max: 6\n", "line 3:", "twice"},
        {"listen: nowhere\n", "line 1:", "HOST:PORT"},
        {"listen: localhost:70000\n", "line 1:", "HOST:PORT"},
        {"data: \"\"\n", "line 1:", "data"},
        {"beat_ms: 900\nsuspect_ms: 800\n", "line 2:", "must rise"},
        {"- a list\n", "line 1:", "mapping"},
        {"just a word\n", "line 1:", "mapping"},
        {"tasks_max: 5\nlisten: [\n", "line 3:", "not YAML"},
        {"tasks_max: 1\n data: x\n", "line 2:", "not YAML"},
        {"node_key_file: /does/not/exist\n", "line 1:", "cannot read the key file"},
        {"data: {x: 1}\nfoo: 1\n", "line 1:", "data"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct hub_config config, before;
        struct buf why;
        hub_config_default(&before);
        assert_int_equal(parse(&config, cases[i].text, &why), STATUS_CONFIG);
        const char *text = buf_cstr(&why);
        if (strstr(text, "hub.yaml") != text || strstr(text, cases[i].line) == NULL ||
            strstr(text, cases[i].what) == NULL || strchr(text, '\n') != NULL) {
            fail_msg("case %zu says: %s", i, text);
        }
        assert_memory_equal(&config, &before, sizeof(config));
        buf_free(&why);
    }
}

static void test_long_values_are_refused(void **state)
{
    (void)state;
    char text[4096];
    memset(text, 'x', sizeof(text));
    memcpy(text, "data: ", 6);
    memcpy(text + sizeof(text) - 2, "\n", 2);
    struct hub_config config;
    struct buf why;
    assert_int_equal(parse(&config, text, &why), STATUS_CONFIG);
    assert_non_null(strstr(buf_cstr(&why), "line 1: \"data\" is longer than"));
    buf_free(&why);
    memcpy(text, "listen", 6);
    memcpy(text + 6, ": ", 2);
    assert_int_equal(parse(&config, text, &why), STATUS_CONFIG);
    buf_free(&why);
}

static void test_listen(void **state)
{
    (void)state;
    static const struct {
        const char *text, *host; /* host NULL: refused */
        int port;
    } cases[] = {
        {"127.0.0.1:0", "127.0.0.1", 0},
        {"localhost:80", "localhost", 80},
        {":9000", "127.0.0.1", 9000},
        {"9000", "127.0.0.1", 9000},
        {"[::]:1", "::", 1},
        {"0.0.0.0:65535", "0.0.0.0", 65535},
        {"::1:80", NULL, 0},
        {"host:", NULL, 0},
        {"host:65536", NULL, 0},
        {"host:1x", NULL, 0},
        {"", NULL, 0},
        {"host:000001", NULL, 0},
        {"host: 80", NULL, 0},
        {"host:-1", NULL, 0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct hub_config config;
        hub_config_default(&config);
        bool is_ok = hub_config_set_listen(&config, slice_str(cases[i].text));
        assert_int_equal(is_ok, cases[i].host != NULL);
        if (is_ok) {
            assert_string_equal(config.host, cases[i].host);
            assert_int_equal(config.port, cases[i].port);
        }
    }
}

static void test_load_reads_files(void **state)
{
    (void)state;
    char dir[] = "/tmp/shoal-config-XXXXXX";
    assert_non_null(mkdtemp(dir));
    char path[128], key_path[128], text[512];
    (void)snprintf(path, sizeof(path), "%s/hub.yaml", dir);
    (void)snprintf(key_path, sizeof(key_path), "%s/key", dir);
    FILE *file = fopen(key_path, "w");
    assert_non_null(file);
    (void)fputs("the key\nsecond line\n", file);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(key_path, 0600), 0);
    (void)snprintf(text, sizeof(text), "port_of_call: 1\n");
    file = fopen(path, "w");
    assert_non_null(file);
    (void)fprintf(file, "listen: :1\nnode_key_file: %s\n", key_path);
    assert_int_equal(fclose(file), 0);

    struct hub_config config;
    struct buf why;
    buf_init(&why, 4096);
    hub_config_default(&config);
    assert_int_equal(hub_config_load(&config, path, &why), STATUS_OK);
    assert_string_equal(config.node_key, "the key");
    assert_int_equal(config.port, 1);

    file = fopen(path, "w");
    assert_non_null(file);
    (void)fputs("\nport_of_call: 1\n", file);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(hub_config_load(&config, path, &why), STATUS_CONFIG);
    assert_non_null(strstr(buf_cstr(&why), path));
    assert_non_null(strstr(buf_cstr(&why), "line 2"));

    buf_reset(&why);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(hub_config_load(&config, path, &why), STATUS_CONFIG);
    assert_non_null(strstr(buf_cstr(&why), path));
    buf_free(&why);
    assert_int_equal(unlink(key_path), 0);
    assert_int_equal(rmdir(dir), 0);
}

static void test_keys_are_listed(void **state)
{
    (void)state;
    struct hub_config_key key;
    size_t count = 0;
    for (; hub_config_key_at(count, &key); count++) {
        assert_true(key.name[0] != '\0' && key.help[0] != '\0');
        assert_true(!key.is_number || key.min < key.max);
    }
    assert_int_equal(count, 36);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_every_key),
        cmocka_unit_test(test_empty_file_changes_nothing),
        cmocka_unit_test(test_mistakes_name_the_line),
        cmocka_unit_test(test_long_values_are_refused),
        cmocka_unit_test(test_listen),
        cmocka_unit_test(test_load_reads_files),
        cmocka_unit_test(test_keys_are_listed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
