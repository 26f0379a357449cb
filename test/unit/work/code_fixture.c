#include "code_fixture.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "work/sandbox/process_tree.h"

bool code_fixture_open(struct code_fixture *fixture, const char *hub_url)
{
    *fixture = (struct code_fixture){.is_root = geteuid() == 0};
    strcpy(fixture->data_dir, "/tmp/shoal-test-code.XXXXXX");
    assert_non_null(mkdtemp(fixture->data_dir));
    assert_int_equal(uv_loop_init(&fixture->loop.uv), 0);
    buf_init(&fixture->facts, 65536);
    buf_init(&fixture->why, 65536);
    fixture->env = (struct node_env){
        .loop = &fixture->loop, .data_dir = fixture->data_dir, .hub_url = hub_url, .slots = FIXTURE_SLOTS};
    fixture->parser = json_parser_new();
    buf_append_char(&fixture->facts, '{');
    if (code_run_launcher.open(&fixture->env, &fixture->state, &fixture->facts, &fixture->why) != STATUS_OK) {
        return false;
    }
    buf_append_char(&fixture->facts, '}');

    struct json_value root, sandbox, value;
    struct slice text;
    assert_int_equal(json_parse(fixture->parser, buf_slice(&fixture->facts), &root, NULL, NULL), STATUS_OK);
    assert_true(json_member(root, "sandbox", &sandbox));
    if (json_member(sandbox, "groups", &value) && json_get_str(value, &text)) {
        snprintf(fixture->groups, sizeof(fixture->groups), "%.*s", SLICE_ARG(text));
    }
    assert_true(json_member(sandbox, "users", &value) && json_get_str(value, &text));
    if (fixture->is_root) {
        assert_int_equal(sscanf(text.data, "%u", &fixture->uid_base), 1);
    }
    return true;
}

static void remove_tree(const char *path)
{
    DIR *list = opendir(path);
    struct dirent *entry;
    while (list != NULL && (entry = readdir(list)) != NULL) {
        char child[1024];
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) {
            continue;
        }
        snprintf(child, sizeof(child), "%s/%s", path, entry->d_name);
        if (unlink(child) != 0) {
            remove_tree(child);
        }
    }
    if (list != NULL) {
        closedir(list);
    }
    rmdir(path);
}

void code_fixture_close(struct code_fixture *fixture)
{
    if (fixture->state != NULL) {
        code_run_launcher.close(fixture->state);
        if (fixture->groups[0] != 0) { /* the node's own group goes with it */
            assert_int_not_equal(access(fixture->groups, F_OK), 0);
        }
    }
    uv_run(&fixture->loop.uv, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&fixture->loop.uv), 0);
    remove_tree(fixture->data_dir);
    buf_free(&fixture->facts);
    buf_free(&fixture->why);
    json_parser_free(fixture->parser);
}

static void check_store(const char *data_dir, const char *name)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/code.run/%s", data_dir, name);
    DIR *list = opendir(path);
    assert_non_null(list);
    struct dirent *entry;
    while ((entry = readdir(list)) != NULL) {
        if (entry->d_name[0] != '.' &&
            (strlen(entry->d_name) != 64 || strspn(entry->d_name, "0123456789abcdef") != 64)) {
            fail_msg("%s holds %s", path, entry->d_name);
        }
    }
    closedir(list);
}

void code_fixture_check_clean(struct code_fixture *fixture)
{
    for (uint32_t slot = 0; fixture->is_root && slot < FIXTURE_SLOTS; slot++) {
        if (process_tree_of_users(fixture->uid_base + slot, 1, 0) > 0) {
            char command[128]; /* for whoever reads the failure */
            snprintf(command, sizeof(command), "ps -o pid,ppid,stat,etimes,wchan:20,args -u %u >&2",
                     fixture->uid_base + slot);
            if (system(command) != 0) {
                perror("ps");
            }
            fail_msg("processes of slot %u are left", slot);
        }
    }
    if (fixture->groups[0] != 0) {
        DIR *list = opendir(fixture->groups);
        assert_non_null(list);
        struct dirent *entry;
        while ((entry = readdir(list)) != NULL) {
            if (entry->d_type == DT_DIR && entry->d_name[0] != '.') {
                fail_msg("the control group %s is left", entry->d_name);
            }
        }
        closedir(list);
    }
    struct process_usage usage;
    process_tree_usage(getpid(), &usage);
    assert_int_equal(usage.count, 1);

    char path[128];
    snprintf(path, sizeof(path), "%s/code.run", fixture->data_dir);
    DIR *list = opendir(path);
    assert_non_null(list);
    struct dirent *entry;
    while ((entry = readdir(list)) != NULL) {
        if (entry->d_name[0] != '.' && strcmp(entry->d_name, "cache") != 0 && strcmp(entry->d_name, "blobs") != 0) {
            fail_msg("%s holds %s", path, entry->d_name);
        }
    }
    closedir(list);
    check_store(fixture->data_dir, "cache");
    check_store(fixture->data_dir, "blobs");
}

static void on_done(void *ctx, const struct work_done *done)
{
    struct code_outcome *outcome = ctx;
    outcome->calls++;
    outcome->is_success = done->is_success;
    outcome->is_final = done->is_final;
    snprintf(outcome->error_kind, sizeof(outcome->error_kind), "%.*s", SLICE_ARG(done->error_kind));
    snprintf(outcome->message, sizeof(outcome->message), "%.*s", SLICE_ARG(done->message));
    buf_reset(&outcome->result);
    buf_append_slice(&outcome->result, done->result);
}

struct work_run *code_start(struct code_fixture *fixture, uint32_t slot, const char *input,
                            struct code_outcome *ret_outcome)
{
    *ret_outcome = (struct code_outcome){.exit = -1, .signal = -1};
    buf_init(&ret_outcome->result, 1 << 20);
    struct work_input work = {.kind = SLICE("code.run"), .slot = slot, .input = slice_str(input)};
    struct work_run *run = NULL;
    assert_int_equal(code_run_launcher.start(fixture->state, &work, on_done, ret_outcome, &run), STATUS_OK);
    assert_int_equal(ret_outcome->calls, 0); /* never from inside start */
    return run;
}

static size_t get_text(struct json_value root, const char *name, char *ret_text, size_t size)
{
    struct json_value value;
    struct slice text;
    assert_true(json_member(root, name, &value) && json_get_str(value, &text));
    assert_true(text.len < size);
    memcpy(ret_text, text.data, text.len);
    ret_text[text.len] = 0;
    return text.len;
}

static int64_t get_number(struct json_value root, const char *name)
{
    struct json_value value;
    int64_t number = -1;
    assert_true(json_member(root, name, &value));
    json_get_i64(value, &number);
    return number;
}

void code_finish(struct code_fixture *fixture, struct code_outcome *outcome)
{
    while (outcome->calls == 0) {
        uv_run(&fixture->loop.uv, UV_RUN_ONCE);
    }
    assert_int_equal(outcome->calls, 1);
    if (outcome->is_success) {
        struct json_value root, value;
        assert_true(outcome->result.len <= LIMIT_INPUT_SIZE);
        assert_int_equal(json_parse(fixture->parser, buf_slice(&outcome->result), &root, NULL, NULL), STATUS_OK);
        get_text(root, "phase", outcome->phase, sizeof(outcome->phase));
        get_text(root, "verdict", outcome->verdict, sizeof(outcome->verdict));
        outcome->out_len = get_text(root, "stdout", outcome->out, sizeof(outcome->out));
        outcome->err_len = get_text(root, "stderr", outcome->err, sizeof(outcome->err));
        outcome->exit = get_number(root, "exit");
        outcome->signal = get_number(root, "signal");
        assert_true(json_member(root, "truncated", &value) && json_get_bool(value, &outcome->is_truncated));
        if (json_member(root, "compile", &value)) {
            assert_true(json_member(value, "cached", &value) && json_get_bool(value, &outcome->is_cached));
        }
        assert_true(json_member(root, "stats", &value));
        outcome->wall_ms = get_number(value, "wall_ms");
        outcome->cpu_ms = get_number(value, "cpu_ms");
        outcome->peak_mib = get_number(value, "peak_mib");
    }
}

struct code_outcome *code_try(struct code_fixture *fixture, const char *input)
{
    static struct code_outcome outcome;
    buf_free(&outcome.result);
    code_start(fixture, 0, input, &outcome);
    code_finish(fixture, &outcome);
    code_fixture_check_clean(fixture);
    return &outcome;
}

struct code_outcome *code_try_source(struct code_fixture *fixture, const char *lang, const char *source,
                                     const char *members)
{
    static const struct {
        const char *lang, *path;
    } names[] = {
        {"python", "main.py"}, {"javascript", "main.js"}, {"c", "main.c"}, {"cpp", "main.cpp"}, {"java", "Main.java"}};
    const char *path = "";
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        if (strcmp(names[i].lang, lang) == 0) {
            path = names[i].path;
        }
    }
    struct buf input;
    buf_init(&input, 1 << 20);
    buf_printf(&input, "{\"lang\":\"%s\",\"files\":[{\"path\":\"%s\",\"text\":", lang, path);
    json_write_str(&input, slice_str(source));
    buf_printf(&input, "}]%s%s}", members != NULL ? "," : "", members != NULL ? members : "");
    struct code_outcome *outcome = code_try(fixture, buf_cstr(&input));
    buf_free(&input);
    return outcome;
}

void assert_verdict(const struct code_outcome *outcome, const char *verdict)
{
    if (!outcome->is_success) {
        fail_msg("failed with %s: %s", outcome->error_kind, outcome->message);
    }
    if (strcmp(outcome->verdict, verdict) != 0) {
        fail_msg("%s wanted, got %.*s", verdict, (int)(outcome->result.len < 2000 ? outcome->result.len : 2000),
                 outcome->result.data);
    }
}

bool code_has_lang(const struct code_fixture *fixture, const char *lang)
{
    char member[32];
    snprintf(member, sizeof(member), "\"%s\":", lang);
    return memmem(fixture->facts.data, fixture->facts.len, member, strlen(member)) != NULL;
}
