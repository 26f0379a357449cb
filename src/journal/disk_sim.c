/* disk_sim.c - files as two images, names as two tables.
 *
 *   node   now:  what readers see                 names   now:  what open finds
 *          kept: what survives a power cut                kept: what survives
 *          state of each sector: CLEAN | DIRTY (written      log: changes since the folder's sync, in order
 *          since the sync) | BAD (cannot be read)
 *
 * sync copies dirty sectors from now to kept. A crash makes both images the same again: kept, with any dirty sectors taken
 * from now. A sector is written whole or not, the one promise that disks do make. A sync that fails copies some sectors
 * and marks all of them clean, as Linux does: a second sync would succeed and prove nothing.
 *
 * Content grows in steps of a sector and keeps what is behind its end zeroed. Nodes are counted by names and open files. */
#include "journal/disk_sim.h"

#include <assert.h>
#include <stdlib.h>

#include "base/ensure.h"
#include "base/rng.h"

#define PATH_SIZE 96u
#define NAMES_MAX 4096u

enum sector_state { SECTOR_CLEAN, SECTOR_DIRTY, SECTOR_BAD };

struct node {
    uint32_t refs;
    char *now;       /* owned, `sectors` sectors */
    char *kept;      /* owned, as long */
    uint8_t *states; /* owned, one a sector */
    size_t sectors;
    uint64_t size_now;
    uint64_t size_kept;
};

struct name {
    char path[PATH_SIZE];
    struct node *node; /* counted */
};

struct names {
    struct name *items; /* owned */
    size_t len;
    size_t cap;
};

/* A change of names: `to` becomes `node`, and `from` goes; either may be empty. */
struct change {
    char from[PATH_SIZE];
    char to[PATH_SIZE];
    struct node *node; /* counted; NULL when `to` is empty */
};

struct disk_sim {
    struct disk table; /* first */
    uint32_t magic;
    struct rng rng;
    struct names now;
    struct names kept;
    struct change *log; /* owned */
    size_t log_len;
    size_t log_cap;
    char (*dirs)[PATH_SIZE]; /* owned */
    size_t dir_len;
    size_t dir_cap;
    uint64_t calls[12];
    uint64_t capacity;
    uint32_t open_files;
    unsigned fault_ops;
    uint64_t fault_in; /* calls until it happens; 0: none set */
    enum status fault_status;
    size_t fault_torn_len;
    bool is_fault_power;
    bool has_failed;
    bool is_dead; /* power is cut */
};

struct disk_file {
    struct node *node; /* counted */
};

static struct disk_sim *sim_of(struct disk *disk)
{
    struct disk_sim *sim = (struct disk_sim *)disk;
    ensure_magic(sim, DISK_SIM_MAGIC);
    return sim;
}

static const struct disk_sim *sim_of_const(const struct disk *disk)
{
    const struct disk_sim *sim = (const struct disk_sim *)disk;
    ensure_magic(sim, DISK_SIM_MAGIC);
    return sim;
}

/* --- nodes --- */

static void node_unref(struct node *node)
{
    if (node == NULL || --node->refs > 0) {
        return;
    }
    free(node->now);
    free(node->kept);
    free(node->states);
    free(node);
}

static struct node *node_ref(struct node *node)
{
    node->refs++;
    return node;
}

/* Grows to `bytes`; those behind the first `old` are zero. */
static bool grow_zeroed(void **items, size_t old, size_t bytes)
{
    char *grown = realloc(*items, bytes);
    if (grown == NULL) {
        return false;
    }
    memset(grown + old, 0, bytes - old);
    *items = grown;
    return true;
}

static bool node_grow(struct node *node, uint64_t size)
{
    size_t sectors = (size_t)((size + DISK_SIM_SECTOR_SIZE - 1) / DISK_SIM_SECTOR_SIZE);
    if (sectors <= node->sectors) {
        return true;
    }
    size_t bytes = sectors * DISK_SIM_SECTOR_SIZE;
    size_t old = node->sectors * DISK_SIM_SECTOR_SIZE;
    static_assert(SECTOR_CLEAN == 0, "new sectors are clean");
    if (!grow_zeroed((void **)&node->now, old, bytes) || !grow_zeroed((void **)&node->kept, old, bytes) ||
        !grow_zeroed((void **)&node->states, node->sectors, sectors)) {
        return false;
    }
    node->sectors = sectors;
    return true;
}

static void mark(struct node *node, uint64_t offset, uint64_t len)
{
    for (uint64_t i = offset / DISK_SIM_SECTOR_SIZE; len > 0 && i <= (offset + len - 1) / DISK_SIM_SECTOR_SIZE; i++) {
        node->states[i] = SECTOR_DIRTY;
    }
}

static void set_size_now(struct node *node, uint64_t size)
{
    if (size < node->size_now) {
        memset(node->now + size, 0, node->size_now - size);
        mark(node, size, node->size_now - size);
    }
    node->size_now = size;
}

static void copy_sector(struct node *node, size_t i)
{
    memcpy(node->kept + i * DISK_SIM_SECTOR_SIZE, node->now + i * DISK_SIM_SECTOR_SIZE, DISK_SIM_SECTOR_SIZE);
}

/* --- names --- */

static void *grow_items(void *items, size_t item_size, size_t len, size_t *cap)
{
    if (len < *cap) {
        return items;
    }
    size_t more = *cap == 0 ? 16 : *cap * 2;
    void *grown = more <= NAMES_MAX ? realloc(items, more * item_size) : NULL;
    ensure(grown != NULL); /* a disk for tests: out of memory ends the test */
    *cap = more;
    return grown;
}

static struct name *names_find(const struct names *names, const char *path)
{
    for (size_t i = 0; i < names->len; i++) {
        if (strcmp(names->items[i].path, path) == 0) {
            return &names->items[i];
        }
    }
    return NULL;
}

static void names_remove(struct names *names, const char *path)
{
    struct name *name = names_find(names, path);
    if (name != NULL) {
        node_unref(name->node);
        *name = names->items[--names->len];
    }
}

static void names_set(struct names *names, const char *path, struct node *node)
{
    node_ref(node);
    names_remove(names, path);
    names->items = grow_items(names->items, sizeof(*names->items), names->len, &names->cap);
    struct name *name = &names->items[names->len++];
    ensure(strlen(path) < PATH_SIZE);
    strcpy(name->path, path);
    name->node = node;
}

static void names_clear(struct names *names)
{
    while (names->len > 0) {
        node_unref(names->items[--names->len].node);
    }
}

static void names_apply(struct names *names, const struct change *change)
{
    if (change->to[0] != '\0') {
        names_set(names, change->to, change->node);
    }
    if (change->from[0] != '\0') {
        names_remove(names, change->from);
    }
}

/* Changes the names that readers see, and remembers the change. */
static void change_names(struct disk_sim *sim, const char *from, const char *to, struct node *node)
{
    sim->log = grow_items(sim->log, sizeof(*sim->log), sim->log_len, &sim->log_cap);
    struct change *change = &sim->log[sim->log_len++];
    *change = (struct change){.node = node != NULL ? node_ref(node) : NULL};
    ensure(strlen(from) < PATH_SIZE && strlen(to) < PATH_SIZE);
    strcpy(change->from, from);
    strcpy(change->to, to);
    names_apply(&sim->now, change);
}

/* Length of the folder's part of a path, 0 for the root. */
static size_t dir_len(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? (size_t)(slash - path) : 0;
}

static bool is_in_dir(const char *path, const char *dir)
{
    size_t len = dir_len(path);
    return len == strlen(dir) && strncmp(path, dir, len) == 0;
}

static bool has_dir(const struct disk_sim *sim, const char *dir, size_t len)
{
    for (size_t i = 0; i < sim->dir_len; i++) {
        if (strlen(sim->dirs[i]) == len && strncmp(sim->dirs[i], dir, len) == 0) {
            return true;
        }
    }
    return len == 0;
}

static bool is_change_in(const struct change *change, const char *dir)
{
    return is_in_dir(change->to[0] != '\0' ? change->to : change->from, dir);
}

/* The first `count` changes of a folder become durable, and all of them are forgotten. */
static void settle_dir(struct disk_sim *sim, const char *dir, size_t count)
{
    size_t left = 0;
    for (size_t i = 0; i < sim->log_len; i++) {
        struct change *change = &sim->log[i];
        if (!is_change_in(change, dir)) {
            sim->log[left++] = *change;
            continue;
        }
        if (count > 0) {
            names_apply(&sim->kept, change);
            count--;
        }
        node_unref(change->node);
    }
    sim->log_len = left;
}

/* --- faults --- */

/* Counts a call. Not OK: it must fail with this. */
static enum status count_call(struct disk_sim *sim, enum disk_sim_op op)
{
    for (unsigned i = 0; i < ARRAY_COUNT(sim->calls); i++) {
        sim->calls[i] += op == 1u << i;
    }
    if (sim->is_dead) {
        return STATUS_IO;
    }
    if (sim->fault_in == 0 || (sim->fault_ops & (unsigned)op) == 0 || --sim->fault_in > 0) {
        return STATUS_OK;
    }
    sim->has_failed = true;
    sim->is_dead = sim->is_fault_power;
    return sim->fault_status;
}

/* --- the table --- */

static enum status sim_open(struct disk *disk, const char *path, enum disk_open_mode mode, struct disk_file **ret_file)
{
    struct disk_sim *sim = sim_of(disk);
    enum status status = count_call(sim, DISK_SIM_OPEN);
    if (status != STATUS_OK) {
        return status;
    }
    struct name *name = names_find(&sim->now, path);
    if (mode == DISK_OPEN_CREATE && name != NULL) {
        return STATUS_CONFLICT;
    }
    if ((mode != DISK_OPEN_CREATE && name == NULL) || !has_dir(sim, path, dir_len(path))) {
        return STATUS_NOT_FOUND;
    }
    struct disk_file *file = calloc(1, sizeof(*file));
    struct node *node = name != NULL ? name->node : calloc(1, sizeof(*node));
    ensure(file != NULL && node != NULL);
    file->node = node_ref(node);
    if (name == NULL) {
        change_names(sim, "", path, node);
    }
    sim->open_files++;
    *ret_file = file;
    return STATUS_OK;
}

static void sim_close(struct disk *disk, struct disk_file *file)
{
    sim_of(disk)->open_files--;
    node_unref(file->node);
    free(file);
}

static enum status sim_size(struct disk *disk, struct disk_file *file, uint64_t *ret_size)
{
    enum status status = count_call(sim_of(disk), DISK_SIM_SIZE);
    if (status == STATUS_OK) {
        *ret_size = file->node->size_now;
    }
    return status;
}

static enum status sim_read_at(struct disk *disk, struct disk_file *file, uint64_t offset, void *data, size_t len)
{
    const struct node *node = file->node;
    enum status status = count_call(sim_of(disk), DISK_SIM_READ);
    if (status != STATUS_OK) {
        return status;
    }
    if (offset > node->size_now || len > node->size_now - offset) {
        return STATUS_IO;
    }
    for (uint64_t i = offset / DISK_SIM_SECTOR_SIZE; len > 0 && i <= (offset + len - 1) / DISK_SIM_SECTOR_SIZE; i++) {
        if (node->states[i] == SECTOR_BAD) {
            return STATUS_IO;
        }
    }
    if (len > 0) {
        memcpy(data, node->now + offset, len);
    }
    return STATUS_OK;
}

static uint64_t used_size(const struct disk_sim *sim)
{
    uint64_t size = 0;
    for (size_t i = 0; i < sim->now.len; i++) {
        size += sim->now.items[i].node->size_now;
    }
    return size;
}

static enum status sim_write_at(struct disk *disk, struct disk_file *file, uint64_t offset, const void *data,
                                size_t len)
{
    struct disk_sim *sim = sim_of(disk);
    struct node *node = file->node;
    bool was_dead = sim->is_dead;
    enum status status = count_call(sim, DISK_SIM_WRITE);
    if (status != STATUS_OK) {
        len = was_dead ? 0 : len < sim->fault_torn_len ? len : sim->fault_torn_len;
    }
    uint64_t end = offset + len;
    if (end > node->size_now && end - node->size_now > sim->capacity - used_size(sim)) {
        return status != STATUS_OK ? status : STATUS_NO_SPACE;
    }
    if (len > 0) {
        ensure(node_grow(node, end));
        memcpy(node->now + offset, data, len);
        mark(node, offset, len);
        if (end > node->size_now) {
            set_size_now(node, end);
        }
    }
    return status;
}

static enum status sim_truncate(struct disk *disk, struct disk_file *file, uint64_t size)
{
    struct disk_sim *sim = sim_of(disk);
    enum status status = count_call(sim, DISK_SIM_TRUNCATE);
    if (status != STATUS_OK) {
        return status;
    }
    if (size > file->node->size_now && size - file->node->size_now > sim->capacity - used_size(sim)) {
        return STATUS_NO_SPACE;
    }
    ensure(node_grow(file->node, size));
    set_size_now(file->node, size);
    return STATUS_OK;
}

static enum status sim_sync(struct disk *disk, struct disk_file *file)
{
    struct disk_sim *sim = sim_of(disk);
    struct node *node = file->node;
    bool was_dead = sim->is_dead;
    enum status status = count_call(sim, DISK_SIM_SYNC);
    if (was_dead || sim->is_dead) {
        return status;
    }
    for (size_t i = 0; i < node->sectors; i++) {
        if (node->states[i] == SECTOR_DIRTY) {
            if (status == STATUS_OK || rng_below(&sim->rng, 2) == 0) {
                copy_sector(node, i);
            }
            node->states[i] = SECTOR_CLEAN;
        }
    }
    if (status == STATUS_OK || rng_below(&sim->rng, 2) == 0) {
        node->size_kept = node->size_now;
    }
    return status;
}

static enum status sim_rename(struct disk *disk, const char *from, const char *to)
{
    struct disk_sim *sim = sim_of(disk);
    enum status status = count_call(sim, DISK_SIM_RENAME);
    if (status != STATUS_OK) {
        return status;
    }
    struct name *name = names_find(&sim->now, from);
    if (name == NULL) {
        return STATUS_NOT_FOUND;
    }
    ensure(dir_len(from) == dir_len(to) && strncmp(from, to, dir_len(from)) == 0 && strcmp(from, to) != 0);
    change_names(sim, from, to, name->node);
    return STATUS_OK;
}

static enum status sim_remove(struct disk *disk, const char *path)
{
    struct disk_sim *sim = sim_of(disk);
    enum status status = count_call(sim, DISK_SIM_REMOVE);
    if (status != STATUS_OK) {
        return status;
    }
    if (names_find(&sim->now, path) == NULL) {
        return STATUS_NOT_FOUND;
    }
    change_names(sim, path, "", NULL);
    return STATUS_OK;
}

static enum status sim_make_dir(struct disk *disk, const char *path)
{
    struct disk_sim *sim = sim_of(disk);
    enum status status = count_call(sim, DISK_SIM_MAKE_DIR);
    if (status == STATUS_OK && !has_dir(sim, path, strlen(path))) {
        sim->dirs = grow_items(sim->dirs, sizeof(*sim->dirs), sim->dir_len, &sim->dir_cap);
        ensure(strlen(path) < PATH_SIZE);
        strcpy(sim->dirs[sim->dir_len++], path);
    }
    return status;
}

static enum status sim_sync_dir(struct disk *disk, const char *path)
{
    struct disk_sim *sim = sim_of(disk);
    enum status status = count_call(sim, DISK_SIM_SYNC_DIR);
    if (status == STATUS_OK) {
        settle_dir(sim, path, SIZE_MAX);
    }
    return status;
}

static enum status sim_list(struct disk *disk, const char *path, bool (*visit)(void *ctx, const char *name), void *ctx)
{
    struct disk_sim *sim = sim_of(disk);
    enum status status = count_call(sim, DISK_SIM_LIST);
    if (status != STATUS_OK) {
        return status;
    }
    if (!has_dir(sim, path, strlen(path))) {
        return STATUS_NOT_FOUND;
    }
    /* From the end: visit may remove the file it is shown, which moves the last one into its place. */
    for (size_t i = sim->now.len; i-- > 0;) {
        char name[PATH_SIZE];
        if (!is_in_dir(sim->now.items[i].path, path)) {
            continue;
        }
        strcpy(name, sim->now.items[i].path + strlen(path) + (path[0] != '\0' ? 1 : 0));
        if (!visit(ctx, name)) {
            break;
        }
    }
    return STATUS_OK;
}

static enum status sim_free_size(struct disk *disk, uint64_t *ret_size)
{
    struct disk_sim *sim = sim_of(disk);
    enum status status = count_call(sim, DISK_SIM_FREE_SIZE);
    if (status == STATUS_OK) {
        uint64_t used = used_size(sim);
        *ret_size = used < sim->capacity ? sim->capacity - used : 0;
    }
    return status;
}

/* --- making, ending --- */

struct disk *disk_sim_new(uint64_t seed)
{
    static const struct disk table = {
        .open = sim_open,
        .close = sim_close,
        .size = sim_size,
        .read_at = sim_read_at,
        .write_at = sim_write_at,
        .truncate = sim_truncate,
        .sync = sim_sync,
        .rename = sim_rename,
        .remove = sim_remove,
        .make_dir = sim_make_dir,
        .sync_dir = sim_sync_dir,
        .list = sim_list,
        .free_size = sim_free_size,
    };
    struct disk_sim *sim = calloc(1, sizeof(*sim));
    if (sim == NULL) {
        return NULL;
    }
    sim->table = table;
    sim->magic = DISK_SIM_MAGIC;
    sim->capacity = UINT64_MAX;
    rng_seed(&sim->rng, seed);
    return &sim->table;
}

void disk_sim_free(struct disk *disk)
{
    if (disk == NULL) {
        return;
    }
    struct disk_sim *sim = sim_of(disk);
    ensure(sim->open_files == 0);
    names_clear(&sim->now);
    names_clear(&sim->kept);
    for (size_t i = 0; i < sim->log_len; i++) {
        node_unref(sim->log[i].node);
    }
    free(sim->now.items);
    free(sim->kept.items);
    free(sim->log);
    free(sim->dirs);
    sim->magic = 0;
    free(sim);
}

/* A copy of a node; the copies made so far are found by their originals. */
struct copies {
    const struct node **from;
    struct node **to;
    size_t len;
};

static struct node *copy_node(struct copies *copies, const struct node *from)
{
    if (from == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < copies->len; i++) {
        if (copies->from[i] == from) {
            return copies->to[i];
        }
    }
    struct node *to = calloc(1, sizeof(*to));
    ensure(to != NULL && node_grow(to, from->sectors * DISK_SIM_SECTOR_SIZE));
    if (from->sectors > 0) {
        ensure(to->now != NULL && to->kept != NULL && to->states != NULL);
        memcpy(to->now, from->now, from->sectors * DISK_SIM_SECTOR_SIZE);
        memcpy(to->kept, from->kept, from->sectors * DISK_SIM_SECTOR_SIZE);
        memcpy(to->states, from->states, from->sectors);
    }
    to->size_now = from->size_now;
    to->size_kept = from->size_kept;
    copies->from[copies->len] = from;
    copies->to[copies->len++] = to;
    return to;
}

struct disk *disk_sim_clone(struct disk *disk, uint64_t seed)
{
    const struct disk_sim *from = sim_of(disk);
    struct disk *clone = disk_sim_new(seed);
    size_t most = from->now.len + from->kept.len + from->log_len + 1;
    struct copies copies = {calloc(most, sizeof(struct node *)), calloc(most, sizeof(struct node *)), 0};
    if (clone == NULL || copies.from == NULL || copies.to == NULL) {
        disk_sim_free(clone);
        free(copies.from);
        free(copies.to);
        return NULL;
    }
    struct disk_sim *to = sim_of(clone);
    for (size_t i = 0; i < from->now.len; i++) {
        names_set(&to->now, from->now.items[i].path, copy_node(&copies, from->now.items[i].node));
    }
    for (size_t i = 0; i < from->kept.len; i++) {
        names_set(&to->kept, from->kept.items[i].path, copy_node(&copies, from->kept.items[i].node));
    }
    for (size_t i = 0; i < from->log_len; i++) {
        to->log = grow_items(to->log, sizeof(*to->log), to->log_len, &to->log_cap);
        to->log[i] = from->log[i];
        to->log[i].node = copy_node(&copies, from->log[i].node);
        if (to->log[i].node != NULL) {
            node_ref(to->log[i].node);
        }
        to->log_len++;
    }
    for (size_t i = 0; i < from->dir_len; i++) {
        to->dirs = grow_items(to->dirs, sizeof(*to->dirs), to->dir_len, &to->dir_cap);
        strcpy(to->dirs[to->dir_len++], from->dirs[i]);
    }
    to->capacity = from->capacity;
    free(copies.from);
    free(copies.to);
    return clone;
}

/* --- faults, crashes, damage --- */

uint64_t disk_sim_calls(const struct disk *disk, unsigned ops)
{
    const struct disk_sim *sim = sim_of_const(disk);
    uint64_t calls = 0;
    for (unsigned i = 0; i < ARRAY_COUNT(sim->calls); i++) {
        calls += (ops & 1u << i) != 0 ? sim->calls[i] : 0;
    }
    return calls;
}

static void set_fault(struct disk_sim *sim, unsigned ops, uint64_t n, enum status status, size_t torn_len,
                      bool is_power)
{
    sim->fault_ops = ops;
    sim->fault_in = n;
    sim->fault_status = status;
    sim->fault_torn_len = torn_len;
    sim->is_fault_power = is_power;
    sim->has_failed = false;
}

void disk_sim_fail_call(struct disk *disk, unsigned ops, uint64_t n, enum status status, size_t torn_len)
{
    ensure(status != STATUS_OK);
    set_fault(sim_of(disk), ops, n, status, torn_len, false);
}

void disk_sim_cut_power(struct disk *disk, unsigned ops, uint64_t n, size_t torn_len)
{
    set_fault(sim_of(disk), ops, n, STATUS_IO, torn_len, true);
}

bool disk_sim_has_failed(const struct disk *disk)
{
    return sim_of_const(disk)->has_failed;
}

void disk_sim_set_capacity(struct disk *disk, uint64_t size)
{
    sim_of(disk)->capacity = size;
}

/* Makes both images of a node what the power cut left. `chance` of 8: how likely an unsynced sector survives. */
static void crash_node(struct disk_sim *sim, struct node *node, unsigned chance)
{
    for (size_t i = 0; i < node->sectors; i++) {
        if (node->states[i] == SECTOR_DIRTY && rng_below(&sim->rng, 8) < chance) {
            copy_sector(node, i);
        }
        node->states[i] = node->states[i] == SECTOR_BAD ? SECTOR_BAD : SECTOR_CLEAN;
    }
    if (node->size_now != node->size_kept && rng_below(&sim->rng, 8) < chance) {
        node->size_kept = node->size_now;
    }
    size_t bytes = node->sectors * DISK_SIM_SECTOR_SIZE;
    if (bytes > node->size_kept) {
        memset(node->kept + node->size_kept, 0, bytes - node->size_kept);
    }
    if (bytes > 0) {
        memcpy(node->now, node->kept, bytes);
    }
    node->size_now = node->size_kept;
}

void disk_sim_crash(struct disk *disk, enum disk_sim_loss loss)
{
    struct disk_sim *sim = sim_of(disk);
    /* Mostly kept, mostly lost and even are different dangers; the seed tries all. */
    static const unsigned chances[] = {0, 1, 4, 7, 8};
    unsigned chance = loss == DISK_SIM_LOSE_ALL    ? 0
                      : loss == DISK_SIM_LOSE_NONE ? 8
                                                   : chances[rng_below(&sim->rng, ARRAY_COUNT(chances))];
    ensure(sim->open_files == 0);
    while (sim->log_len > 0) {
        const struct change *first = &sim->log[0];
        char dir[PATH_SIZE];
        const char *path = first->to[0] != '\0' ? first->to : first->from;
        memcpy(dir, path, dir_len(path));
        dir[dir_len(path)] = '\0';
        size_t count = 0;
        for (size_t i = 0; i < sim->log_len; i++) {
            count += is_change_in(&sim->log[i], dir);
        }
        settle_dir(sim, dir, chance == 0 ? 0 : chance == 8 ? count : rng_below(&sim->rng, count + 1));
    }
    names_clear(&sim->now);
    for (size_t i = 0; i < sim->kept.len; i++) {
        names_set(&sim->now, sim->kept.items[i].path, sim->kept.items[i].node);
        crash_node(sim, sim->kept.items[i].node, chance);
    }
    disk_sim_restart(disk);
}

void disk_sim_restart(struct disk *disk)
{
    struct disk_sim *sim = sim_of(disk);
    ensure(sim->open_files == 0);
    sim->is_dead = false;
    set_fault(sim, 0, 0, STATUS_IO, 0, false);
}

static struct node *node_at(const struct disk *disk, const char *path)
{
    const struct name *name = names_find(&sim_of_const(disk)->now, path);
    ensure(name != NULL);
    return name->node;
}

bool disk_sim_has_file(const struct disk *disk, const char *path)
{
    return names_find(&sim_of_const(disk)->now, path) != NULL;
}

uint64_t disk_sim_file_size(const struct disk *disk, const char *path)
{
    return node_at(disk, path)->size_now;
}

struct slice disk_sim_content(const struct disk *disk, const char *path)
{
    const struct node *node = node_at(disk, path);
    return slice_of(node->now, node->size_now);
}

void disk_sim_flip_bit(struct disk *disk, const char *path, uint64_t offset, unsigned bit)
{
    struct node *node = node_at(disk, path);
    ensure(offset < node->size_now && bit < 8);
    node->now[offset] = (char)(node->now[offset] ^ (1 << bit));
    node->kept[offset] = (char)(node->kept[offset] ^ (1 << bit));
}

void disk_sim_resize(struct disk *disk, const char *path, uint64_t size)
{
    struct node *node = node_at(disk, path);
    ensure(node_grow(node, size));
    if (size < node->size_now) {
        memset(node->now + size, 0, node->size_now - size);
        memset(node->kept + size, 0, node->size_now - size);
    }
    node->size_now = size;
    node->size_kept = size;
}

void disk_sim_spoil_sector(struct disk *disk, const char *path, uint64_t offset)
{
    struct node *node = node_at(disk, path);
    ensure(offset < node->size_now);
    node->states[offset / DISK_SIM_SECTOR_SIZE] = SECTOR_BAD;
}
