/* launchers.c - the kinds of this build. A new kind adds its launcher here and nowhere else. */
#include "node/launchers.h"

#include "base/log.h"
#include "work/code/code_run.h"
#include "work/test/echo.h"

const struct launcher *const launchers[] = {
    &code_run_launcher,
    &test_echo_launcher,
    NULL,
};

bool launcher_is_default(const struct launcher *launcher)
{
    return !slice_starts_with(slice_str(launcher->kind), SLICE("test."));
}

const struct launcher *launcher_find(struct slice kind)
{
    for (size_t i = 0; launchers[i] != NULL; i++) {
        if (slice_equal_str(kind, launchers[i]->kind)) {
            return launchers[i];
        }
    }
    return NULL;
}

static enum status open_one(const struct node_env *env, const struct launcher *launcher, struct agent_kind *ret_kind,
                            struct buf *facts, struct buf *ret_why)
{
    struct buf more;
    buf_init(&more, 65536);
    void *state = NULL;
    enum status status = launcher->open(env, &state, &more, ret_why);
    if (status == STATUS_OK) {
        *ret_kind = (struct agent_kind){.launcher = launcher, .state = state};
        if (more.len > 0 && buf_status(&more) == STATUS_OK) {
            buf_append_char(facts, ',');
            buf_append_slice(facts, buf_slice(&more));
        }
    }
    buf_free(&more);
    return status;
}

static enum status open_named(const struct node_env *env, const char *const *names, uint32_t name_count,
                              struct agent_kind *ret_kinds, uint32_t *ret_count, struct buf *facts, struct buf *ret_why)
{
    for (uint32_t i = 0; i < name_count; i++) {
        const struct launcher *launcher = launcher_find(slice_str(names[i]));
        if (launcher == NULL) {
            buf_reset(ret_why);
            buf_printf(ret_why, "this build has no kind \"%s\"", names[i]);
            return STATUS_INVALID;
        }
        bool is_open = false;
        for (uint32_t k = 0; k < *ret_count; k++) {
            is_open |= ret_kinds[k].launcher == launcher;
        }
        if (is_open) {
            continue;
        }
        enum status status = open_one(env, launcher, &ret_kinds[*ret_count], facts, ret_why);
        if (status != STATUS_OK) {
            return status;
        }
        (*ret_count)++;
    }
    return STATUS_OK;
}

static enum status open_default(const struct node_env *env, struct agent_kind *ret_kinds, uint32_t *ret_count,
                                struct buf *facts, struct buf *ret_why)
{
    struct buf why;
    buf_init(&why, 4096);
    for (size_t i = 0; launchers[i] != NULL && *ret_count < LIMIT_KINDS_PER_NODE; i++) {
        if (!launcher_is_default(launchers[i])) {
            continue;
        }
        buf_reset(&why);
        if (open_one(env, launchers[i], &ret_kinds[*ret_count], facts, &why) == STATUS_OK) {
            (*ret_count)++;
        } else {
            buf_printf(ret_why, "%s%s: %s", ret_why->len > 0 ? "; " : "", launchers[i]->kind, buf_cstr(&why));
        }
    }
    buf_free(&why);
    /* When nothing is left the caller says why; once is enough. */
    if (*ret_count > 0 && ret_why->len > 0) {
        log_warn("node.kind", "offered=no why=\"%s\"", buf_cstr(ret_why));
    }
    return *ret_count > 0 ? STATUS_OK : STATUS_UNSUPPORTED_HOST;
}

enum status launchers_open(const struct node_env *env, const char *const *names, uint32_t name_count,
                           struct agent_kind ret_kinds[LIMIT_KINDS_PER_NODE], uint32_t *ret_count, struct buf *facts,
                           struct buf *ret_why)
{
    *ret_count = 0;
    enum status status = name_count > 0 ? open_named(env, names, name_count, ret_kinds, ret_count, facts, ret_why)
                                        : open_default(env, ret_kinds, ret_count, facts, ret_why);
    if (status != STATUS_OK) {
        launchers_close(ret_kinds, *ret_count);
        *ret_count = 0;
    }
    return status;
}

void launchers_close(struct agent_kind *kinds, uint32_t count)
{
    while (count > 0) {
        count--;
        kinds[count].launcher->close(kinds[count].state);
    }
}
