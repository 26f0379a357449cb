/* claims_files.c - the files that the program carries: claims, their map, scenarios and layouts of reports (src/embed.py). */
#include <stdio.h>
#include <string.h>

#include "bench/claims.h"

extern const struct embedded_file {
    const char *name;
    const char *content;
    uint64_t size;
} bench_files[];

static struct slice file(const char *name)
{
    for (const struct embedded_file *each = bench_files; each->name != NULL; each++) {
        if (strcmp(each->name, name) == 0) {
            return slice_of(each->content, each->size);
        }
    }
    return (struct slice){"", 0};
}

void claims_default(struct slice *ret_table, struct slice *ret_map)
{
    *ret_table = file("claims.tsv");
    *ret_map = file("claims.map");
}

struct slice claims_scenario(const char *name)
{
    char path[BENCH_NAME_SIZE + 16];
    snprintf(path, sizeof(path), "%s.scenario", name);
    return file(path);
}

struct slice claims_template(unsigned source)
{
    char path[32];
    snprintf(path, sizeof(path), "report-%u.md", source);
    return file(path);
}
