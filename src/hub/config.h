/* config.h - the hub's configuration: defaults, then a YAML file, then the command line.
 *
 * The file is one flat mapping. Unknown keys, wrong types and values out of range are errors that name file and line. Pure
 * but for reading the file; call before the hub starts. */
#ifndef SHOAL_HUB_CONFIG_H
#define SHOAL_HUB_CONFIG_H

#include "hub/hub.h"

void hub_config_default(struct hub_config *ret_config);
/* Reads the file over what is in `config` already. CONFIG: `why` is one sentence with file, line and what is wrong, and
 * config is as it was. */
STATUS_MUST_CHECK enum status hub_config_load(struct hub_config *config, const char *path, struct buf *why);
/* The same with the text of the file; `name` stands for it in messages. */
STATUS_MUST_CHECK enum status hub_config_parse(struct hub_config *config, const char *name, struct slice text,
                                               struct buf *why);
/* "HOST:PORT", "[v6]:PORT", ":PORT" or "PORT". False when it is none or does not fit. */
bool hub_config_set_listen(struct hub_config *config, struct slice text);
/* "batch", "interval" or "none". */
const char *durability_name(enum durability durability);
bool durability_from_name(struct slice name, enum durability *ret_durability);

/* The keys of the file, for help and documentation: false past the last. Numbers have their bounds. */
struct hub_config_key {
    const char *name;
    const char *help;
    bool is_number;
    uint64_t min, max;
};
bool hub_config_key_at(size_t i, struct hub_config_key *ret_key);

#endif
