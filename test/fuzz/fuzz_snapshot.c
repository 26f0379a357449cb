/* fuzz_snapshot.c - a snapshot's file, and the state inside of it.
 *
 *   u8 mode | bytes
 *   0  the bytes are the file     1  the bytes are the state in a sound file     2  the same with the state's digest made right
 *
 * A digest stands in front of every real state, so mode 2 is what finds mistakes behind it: whatever core_load lets through
 * keeps every invariant, is saved as the bytes it came from, and goes on working. */
#include "core/core.h"
#include "journal/disk_sim.h"
#include "journal/file_journal.h"
#include "test/fuzz/fuzz.h"

#define SEQ 7u
#define FORMAT_AT 8 /* behind "SHOALCOR" */
#define PATH "snapshot/00000000000000000007.snap"

static bool save_into(void *ctx, const void *data, size_t len)
{
    buf_append(ctx, data, len);
    return true;
}

/* What a hub does with a state first. */
static void use(struct core *core, const struct slice *state)
{
    struct buf bytes, effects;
    buf_init(&bytes, 64u << 20);
    buf_init(&effects, 64u << 20);
    ensure(core_check(core) == NULL);
    ensure(core_save(core, save_into, &bytes) == STATUS_OK && buf_status(&bytes) == STATUS_OK);
    bool is_newest = state->len > FORMAT_AT && state->data[FORMAT_AT] != 1; /* the first format is written as today's */
    ensure(!is_newest || slice_equal(buf_slice(&bytes), *state));
    struct core *again;
    ensure(core_load(buf_slice(&bytes), &again) == STATUS_OK);
    core_free(again);
    const struct task_filter any = TASK_FILTER_ANY;
    for (uint64_t id = UINT64_MAX; (id = core_task_next(core, &any, LIST_NEWEST, id, NULL)) != 0;) {
        static struct task_view view;
        ensure(core_task_get(core, id, &view) == STATUS_OK && view.task_id == id && view.state < TASK_STATE_COUNT);
    }
    struct node_view node;
    for (uint32_t i = core_node_next(core, 0); core_node_at(core, i, &node); i = core_node_next(core, i + 1)) {
        ensure(node.name.len > 0);
    }
    if (core_seq(core) < UINT64_MAX / 2 && core_time_ns(core) < INT64_MAX / 2) {
        for (unsigned i = 0; i < 3; i++) {
            buf_reset(&bytes);
            entry_head_put(&bytes, &(struct entry_head){.count = 1});
            command_put_tick(&bytes);
            struct core_entry entry = {core_seq(core) + 1, core_time_ns(core) + (INT64_C(1) << (40 + 4 * i)),
                                       buf_slice(&bytes)};
            ensure(core_apply(core, &entry, &effects) == STATUS_OK);
            ensure(core_check(core) == NULL);
        }
    }
    buf_free(&bytes);
    buf_free(&effects);
}

static void load(struct slice state)
{
    struct core *core = NULL;
    enum status status = core_load(state, &core);
    ensure(status == STATUS_OK || status == STATUS_CORRUPT || status == STATUS_TOO_NEW);
    if (status == STATUS_OK) {
        use(core, &state);
        core_free(core);
    }
}

static void write_file(struct disk *disk, const char *path, struct slice content)
{
    struct disk_file *file;
    ensure(disk->open(disk, path, DISK_OPEN_CREATE, &file) == STATUS_OK);
    ensure(disk->write_at(disk, file, 0, content.data, content.len) == STATUS_OK);
    ensure(disk->sync(disk, file) == STATUS_OK);
    disk->close(disk, file);
}

static void read_file(struct disk *disk, const struct slice *expected)
{
    struct snapshot_info infos[4], info;
    size_t count, len;
    char *state = NULL;
    ensure(snapshot_list(disk, infos, ARRAY_COUNT(infos), &count) == STATUS_OK && count <= 1);
    enum status status = snapshot_read(disk, SEQ, &info, &state, &len);
    ensure(status == STATUS_OK || status == STATUS_CORRUPT);
    ensure(expected == NULL || (status == STATUS_OK && slice_equal(slice_of(state, len), *expected)));
    if (status == STATUS_OK) {
        ensure(count == 1 && infos[0].seq == SEQ && info.seq == SEQ && infos[0].time_ns == info.time_ns);
        load(slice_of(state, len));
        free(state);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    struct slice bytes = slice_of(data + 1, size - 1);
    struct buf state;
    struct disk *disk = disk_sim_new(1);
    ensure(disk != NULL && disk->make_dir(disk, "snapshot") == STATUS_OK);
    buf_init(&state, size + SHA256_SIZE);
    buf_append_slice(&state, bytes);
    if (data[0] % 3 == 0) {
        write_file(disk, PATH, bytes);
        read_file(disk, NULL);
    } else {
        uint8_t digest[SHA256_SIZE];
        struct snapshot_writer *writer;
        sha256(bytes, digest);
        if (data[0] % 3 == 2) {
            buf_append(&state, digest, sizeof(digest));
        }
        struct slice whole = buf_slice(&state);
        ensure(snapshot_begin(disk, SEQ, 5, digest, &writer) == STATUS_OK);
        bool ok = snapshot_write(writer, whole.data, whole.len);
        ensure(snapshot_end(writer, ok) == STATUS_OK);
        read_file(disk, &whole);
    }
    disk_sim_free(disk);
    buf_free(&state);
    return 0;
}
