/* hub.c - shoal hub: the configuration from defaults, file and command line, then the hub itself. */
#include <stdio.h>
#include <string.h>

#include "cli/daemon.h"
#include "hub/config.h"

/* --set KEY=VALUE is a line of the configuration file, so that every key can stand on the command line. */
static enum status apply_set(const struct cli *cli, struct hub_config *config, const char *word)
{
    const char *equals = strchr(word, '=');
    if (equals == NULL || equals == word) {
        return cli_fail(cli, STATUS_USAGE, "--set must be KEY=VALUE, not \"%s\"", word);
    }
    const char *names[64];
    size_t count = 0;
    struct hub_config_key key;
    char name[64];
    snprintf(name, sizeof(name), "%.*s", (int)(equals - word), word);
    bool is_known = false;
    for (; count < 63 && hub_config_key_at(count, &key); count++) {
        names[count] = key.name;
        is_known |= strcmp(key.name, name) == 0;
    }
    names[count] = NULL;
    if (!is_known) {
        const char *nearest = cli_nearest(name, names);
        return cli_fail(cli, STATUS_USAGE, "there is no setting \"%s\"%s%s%s", name,
                        nearest != NULL ? "; did you mean \"" : "", nearest != NULL ? nearest : "",
                        nearest != NULL ? "\"?" : "");
    }
    size_t name_len = strlen(name);
    if (name_len >= 4 && strcmp(name + name_len - 4, "_key") == 0) {
        return cli_fail(
            cli, STATUS_USAGE,
            "--set %s= would show the key to everybody who lists processes; put it into a file and name that "
            "with %s_file, or into the configuration file",
            name, name);
    }
    struct buf line, why;
    buf_init(&line, 4096);
    buf_init(&why, 4096);
    buf_printf(&line, "%s: ", name);
    if (strspn(equals + 1, "0123456789") == strlen(equals + 1)) {
        buf_append_str(&line, equals + 1);
    } else {
        json_write_str(&line, slice_str(equals + 1)); /* a JSON string is a YAML one */
    }
    buf_append_char(&line, '\n');
    enum status status = hub_config_parse(config, "--set", buf_slice(&line), &why);
    if (status != STATUS_OK) {
        status = cli_fail(cli, status, "%s", buf_cstr(&why));
    }
    buf_free(&line);
    buf_free(&why);
    return status;
}

static enum status configure(const struct cli *cli, struct hub_config *config)
{
    hub_config_default(config);
    const char *path = cli_text(cli, "config");
    if (path != NULL) {
        struct buf why;
        buf_init(&why, 4096);
        enum status status = hub_config_load(config, path, &why);
        if (status != STATUS_OK) {
            status = cli_fail(cli, status, "%s", buf_cstr(&why));
        }
        buf_free(&why);
        if (status != STATUS_OK) {
            return status;
        }
    }
    int at = 0;
    const char *word;
    while ((word = cli_list_next(cli, "set", &at)) != NULL) {
        enum status status = apply_set(cli, config, word);
        if (status != STATUS_OK) {
            return status;
        }
    }
    const char *data = cli_text(cli, "data");
    if (data != NULL &&
        (size_t)snprintf(config->data_dir, sizeof(config->data_dir), "%s", data) >= sizeof(config->data_dir)) {
        return cli_fail(cli, STATUS_USAGE, "the name of the data directory is too long");
    }
    const char *listen = cli_text(cli, "listen");
    if (listen != NULL && !hub_config_set_listen(config, slice_str(listen))) {
        return cli_fail(cli, STATUS_USAGE, "--listen must be HOST:PORT such as " CLI_LISTEN_DEFAULT ", not \"%s\"",
                        listen);
    }
    const char *durability = cli_text(cli, "durability");
    if (durability != NULL && !durability_from_name(slice_str(durability), &config->durability)) {
        return cli_fail(cli, STATUS_USAGE, "--durability must be batch, interval or none, not \"%s\"", durability);
    }
    config->has_no_auth |= cli_flag(cli, "no-auth");
    const char *node_key_file = cli_text(cli, "node-key-file"), *api_key_file = cli_text(cli, "api-key-file");
    enum status status = STATUS_OK;
    if (node_key_file != NULL) {
        status = daemon_read_key(cli, node_key_file, config->node_key, sizeof(config->node_key));
    }
    if (status == STATUS_OK && api_key_file != NULL) {
        status = daemon_read_key(cli, api_key_file, config->api_key, sizeof(config->api_key));
    }
    return status;
}

/* What can be told before anything is made: a new hub that cannot listen leaves no data directory behind. One that starts
 * again is not asked for its port here, because the process before it may still be giving it up: hub_main waits for that. */
static enum status check_start(const struct cli *cli, const struct hub_config *config)
{
    bool exists = false;
    enum status status = daemon_check_data(cli, config->data_dir, &exists);
    if (status != STATUS_OK || exists) {
        return status;
    }
    status = daemon_try_listen(config->host, config->port);
    if (status == STATUS_OK) {
        return status;
    }
    cli_fail(cli, status,
             status == STATUS_PERMISSION ? "this user may not listen on %s port %u"
                                         : "the address %s port %u is in use by another process",
             config->host, config->port);
    daemon_advise(cli, status);
    return status;
}

enum status cli_hub(struct cli *cli)
{
    static struct hub_config config;
    enum status status = daemon_log_setup(cli);
    if (status == STATUS_OK) {
        status = configure(cli, &config);
    }
    if (status == STATUS_OK) {
        status = check_start(cli, &config);
    }
    if (status != STATUS_OK) {
        return status;
    }
    status = hub_main(&config);
    daemon_advise(cli, status);
    return status;
}
