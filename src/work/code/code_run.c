/* code_run.c - one attempt at a code.run task, from its input to its outcome.
 *
 *   start ─▶ PREPARE ─▶ [COMPILE ─▶] RUN ─▶ [UPLOAD ─▶] done
 *              │ blobs and the compile cache, on the thread pool when they need the disk or the network
 *              └ a bad input or a missing blob ends here
 *
 * COMPILE and RUN are sandboxes of their own: what the compiler left behind in its box is gone before the program
 * starts, but for the one memory file it was given to write to. That file is sealed when the compile box is dead, kept
 * in the cache, and bound read-only into the box of the program.
 *
 * A box starts when the node has the memory and the processes that its limits allow (code_budget.h); until then the run
 * waits, holding nothing but its input.
 *
 * A program that fails, loops or attacks is a task that succeeded: its verdict is the result. Only what is not the
 * program's doing fails an attempt: "input" (final), "blob", "sandbox" and "cancelled".
 *
 * Invariants: (R1) `done` is called once, never from inside start or cancel; (R2) a run has at most one sandbox and one
 * job on the thread pool at a time, beside the saving of what was compiled; (R3) after `done` nothing of the run is
 * left: no process, no descriptor, no file but those of the two stores. */
#include "work/code/code_run.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "work/code/code_blob.h"
#include "work/code/code_budget.h"
#include "work/code/code_fetch.h"
#include "work/code/code_host.h"
#include "work/code/code_input.h"
#include "work/code/code_result.h"
#include "work/code/code_store.h"
#include "work/sandbox/host_limits.h"
#include "work/sandbox/memfile.h"
#include "work/sandbox/probe.h"
#include "work/sandbox/sandbox.h"

#define CACHE_SIZE_MAX (UINT64_C(512) << 20)
#define BLOBS_SIZE_MAX (UINT64_C(2) << 30)
#define WHY_MAX 4096
#define PROGRAM_IN_MEMORY_MAX (UINT64_C(4) << 20) /* a larger one goes to disk before it is run */

/* What a compiler may use: a template that explodes ends as TLE or MLE of the compile phase. */
static const struct sandbox_limits compile_limits = {
    .cpu_ms = 60000, .wall_ms = 90000, .mem_mib = 1536, .procs = 128, .out_kib = 256, .fs_mib = 256};

struct state {
    uint32_t magic;
    struct sandbox_host *sandbox;
    struct code_host host;
    struct code_store *cache, *blobs;
    struct code_budget budget;
    struct json_parser *parser;
    uv_loop_t *loop;
    char *hub_url, *hub_key; /* owned */
    struct code_hub hub;     /* of both */
    bool is_cache_shared;    /* among queues */
    uint32_t runs;
};

enum step { STEP_NEW, STEP_PREPARE, STEP_WAIT, STEP_COMPILE, STEP_RUN, STEP_UPLOAD, STEP_DONE };

struct work_run {
    uint32_t magic;
    struct state *state;
    void (*done)(void *ctx, const struct work_done *done);
    void *ctx;
    uint32_t slot;
    struct code_input input;     /* with the limits that hold on this node */
    struct sandbox_limits asked; /* those of the task */
    char queue[LIMIT_NAME_SIZE + 1];
    struct code_claim claim;
    bool has_input;
    enum step step;
    bool is_step_news; /* for progress */
    atomic_bool is_cancelled;

    uv_timer_t later; /* leaves start before anything happens; closed at the end */
    uv_work_t work;
    uv_work_t save;
    bool is_saving;
    bool is_finished;

    char key[SHA256_HEX_SIZE]; /* of what compiling makes */
    int file_fds[CODE_FILES_MAX];
    int stdin_fd;
    int program_fd;
    struct sandbox_run *sandbox_run;

    /* of the thread pool's job */
    enum status work_status;
    struct buf why;

    struct code_result result;
    struct sandbox_result end;
    struct buf out, err; /* copies of what the sandbox lent */

    /* the outcome */
    bool is_success;
    bool is_final;
    const char *error_kind;
    struct buf json;
};

/* --- the end of a run ------------------------------------------------------------------------------------------ */

static void run_free(struct work_run *run)
{
    for (size_t i = 0; i < CODE_FILES_MAX; i++) {
        if (run->file_fds[i] >= 0) {
            close(run->file_fds[i]);
        }
    }
    if (run->stdin_fd >= 0) {
        close(run->stdin_fd);
    }
    if (run->program_fd >= 0) {
        close(run->program_fd);
    }
    if (run->has_input) {
        code_input_free(&run->input);
    }
    buf_free(&run->why);
    buf_free(&run->out);
    buf_free(&run->err);
    buf_free(&run->json);
    run->magic = 0;
    free(run);
}

static void later_closed(uv_handle_t *handle)
{
    struct work_run *run = handle->data;
    ensure_magic(run, CODE_RUN_MAGIC);
    struct work_done done = {.is_success = run->is_success, .is_final = run->is_final};
    if (run->is_success) {
        done.result = buf_slice(&run->json);
    } else {
        done.error_kind = slice_str(run->error_kind);
        done.message = buf_slice(&run->why);
        done.detail = buf_slice(&run->json);
    }
    run->state->runs--;
    run->done(run->ctx, &done);
    run_free(run);
}

/* When both the outcome is there and the saving is over. */
static void run_end_when_idle(struct work_run *run)
{
    if (run->is_finished && !run->is_saving && run->step != STEP_DONE) {
        run->step = STEP_DONE;
        uv_close((uv_handle_t *)&run->later, later_closed);
    }
}

static void run_fail(struct work_run *run, const char *kind, bool is_final)
{
    run->error_kind = kind;
    run->is_final = is_final;
    run->is_finished = true;
    run_end_when_idle(run);
}

static void run_cancelled(struct work_run *run)
{
    buf_reset(&run->why);
    buf_append_str(&run->why, "cancelled");
    run_fail(run, "cancelled", false);
}

static void run_fault(struct work_run *run, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void run_fault(struct work_run *run, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    buf_reset(&run->why);
    buf_vprintf(&run->why, format, args);
    va_end(args);
    buf_printf(&run->json, "{\"phase\":\"%s\",\"verdict\":\"IE\"}", run->step == STEP_COMPILE ? "compile" : "run");
    run_fail(run, "sandbox", false);
}

static void run_succeed(struct work_run *run)
{
    run->end.out = buf_slice(&run->out);
    run->end.err = buf_slice(&run->err);
    run->result.asked = run->asked;
    run->result.held = run->input.limits;
    run->result.loses_output = code_langs[run->input.lang].keeps_output_back && !run->input.is_unbuffered;
    run->result.run = &run->end;
    code_result_write(&run->result, &run->json);
    if (buf_status(&run->json) != STATUS_OK) {
        buf_reset(&run->json);
        run_fault(run, "no memory for the result");
        return;
    }
    run->is_success = true;
    run->is_finished = true;
    run_end_when_idle(run);
}

static void run_step_to(struct work_run *run, enum step step)
{
    run->step = step;
    run->is_step_news = true;
}

/* Goes on as soon as the node has what the limits allow. */
static void run_admit(struct work_run *run, const struct sandbox_limits *limits, void (*go)(void *run))
{
    if (code_budget_ask(&run->state->budget, limits, go, run, &run->claim)) {
        go(run);
    } else {
        run_step_to(run, STEP_WAIT);
    }
}

static void run_not_started(struct work_run *run)
{
    int error = errno;
    code_budget_give(&run->state->budget, &run->claim);
    run_fault(run, "a sandbox cannot be started: %s", strerror(error));
}

/* --- uploading output that is too long for the result ---------------------------------------------------------- */

static void upload_work(uv_work_t *work)
{
    struct work_run *run = work->data;
    struct slice out = buf_slice(&run->out), err = buf_slice(&run->err);
    run->work_status = STATUS_OK;
    if (code_inline_len(out, false, CODE_STDOUT_INLINE_MAX) < out.len) {
        run->work_status = code_blob_put(&run->state->hub, out, &run->is_cancelled, run->result.stdout_blob, &run->why);
    }
    if (run->work_status == STATUS_OK && code_inline_len(err, false, CODE_STDERR_INLINE_MAX) < err.len) {
        run->work_status = code_blob_put(&run->state->hub, err, &run->is_cancelled, run->result.stderr_blob, &run->why);
    }
}

static void upload_done(uv_work_t *work, int status)
{
    (void)status;
    struct work_run *run = work->data;
    ensure_magic(run, CODE_RUN_MAGIC);
    if (atomic_load(&run->is_cancelled)) {
        run_cancelled(run);
    } else if (run->work_status != STATUS_OK) {
        run_fail(run, "blob", false);
    } else {
        run_succeed(run);
    }
}

/* --- running --------------------------------------------------------------------------------------------------- */

static void run_sandbox_done(void *ctx, const struct sandbox_result *result);

static size_t files_spec(struct work_run *run, struct sandbox_file *files, char (*paths)[CODE_PATH_SIZE + 32])
{
    for (size_t i = 0; i < run->input.file_count; i++) {
        snprintf(paths[i], sizeof(paths[i]), SANDBOX_WORK_DIR "/%s", run->input.files[i].path);
        files[i] = (struct sandbox_file){.path = paths[i], .fd = run->file_fds[i]};
    }
    return run->input.file_count;
}

static void run_start(void *ctx)
{
    struct work_run *run = ctx;
    ensure_magic(run, CODE_RUN_MAGIC);
    struct code_command command;
    struct sandbox_file files[CODE_FILES_MAX + 2];
    char paths[CODE_FILES_MAX][CODE_PATH_SIZE + 32];
    run_step_to(run, STEP_RUN);
    code_command_run(&run->state->host, &run->input, &command);
    size_t count = files_spec(run, files, paths);
    if (run->program_fd >= 0) {
        files[count++] = (struct sandbox_file){
            .path = CODE_PROGRAM_PATH, .fd = run->program_fd, .is_read_only = true, .is_executable = true};
    }
    if (run->input.is_unbuffered) {
        files[count++] =
            (struct sandbox_file){.path = CODE_UNBUFFER_PATH, .fd = run->state->host.unbuffer_fd, .is_read_only = true};
    }
    struct sandbox_spec spec = {.slot = run->slot,
                                .argv = command.argv,
                                .env = command.env,
                                .binds = run->state->host.langs[run->input.lang].binds,
                                .files = files,
                                .file_count = count,
                                .stdin_fd = run->stdin_fd,
                                .is_stdin_streamed = run->input.stdin_blob[0] != 0,
                                .out_fd = -1,
                                .limits = run->input.limits};
    if (sandbox_start(run->state->sandbox, &spec, run_sandbox_done, run, &run->sandbox_run) != STATUS_OK) {
        run_not_started(run);
    }
}

static void run_run(struct work_run *run)
{
    run_admit(run, &run->input.limits, run_start);
}

/* Takes over what the sandbox lent: its end, and copies of the output. */
static bool end_take(struct work_run *run, const struct sandbox_result *result)
{
    run->sandbox_run = NULL;
    code_budget_give(&run->state->budget, &run->claim);
    if (result->end == SANDBOX_CANCELLED || atomic_load(&run->is_cancelled)) {
        run_cancelled(run);
        return false;
    }
    if (result->end == SANDBOX_FAULT) {
        run_fault(run, "%s", result->fault);
        return false;
    }
    run->end = *result;
    buf_reset(&run->out);
    buf_reset(&run->err);
    buf_append_slice(&run->out, result->out);
    buf_append_slice(&run->err, result->err);
    return true;
}

static void run_sandbox_done(void *ctx, const struct sandbox_result *result)
{
    struct work_run *run = ctx;
    ensure_magic(run, CODE_RUN_MAGIC);
    if (!end_take(run, result)) {
        return;
    }
    struct slice out = buf_slice(&run->out), err = buf_slice(&run->err);
    bool is_long = code_inline_len(out, false, CODE_STDOUT_INLINE_MAX) < out.len ||
                   code_inline_len(err, false, CODE_STDERR_INLINE_MAX) < err.len;
    /* output past the limit is cut anyway and not worth a blob */
    if (!is_long || result->is_truncated || run->state->hub.url == NULL) {
        run_succeed(run);
        return;
    }
    run_step_to(run, STEP_UPLOAD);
    run->work.data = run;
    uv_queue_work(run->state->loop, &run->work, upload_work, upload_done);
}

/* --- compiling ------------------------------------------------------------------------------------------------- */

static void save_work(uv_work_t *work)
{
    struct work_run *run = work->data;
    code_store_put(run->state->cache, run->key, run->program_fd);
}

static void save_done(uv_work_t *work, int status)
{
    (void)status;
    struct work_run *run = work->data;
    ensure_magic(run, CODE_RUN_MAGIC);
    run->is_saving = false;
    run_end_when_idle(run);
}

/* A large program leaves memory before it is run: it is read from disk then, if the disk took it. */
static void save_large_done(uv_work_t *work, int status)
{
    struct work_run *run = work->data;
    int fd;
    save_done(work, status);
    if (atomic_load(&run->is_cancelled)) {
        run_cancelled(run);
        return;
    }
    if (code_store_peek(run->state->cache, run->key, &fd) == STATUS_OK) {
        close(run->program_fd);
        run->program_fd = fd;
    }
    run_run(run);
}

static void compile_sandbox_done(void *ctx, const struct sandbox_result *result)
{
    struct work_run *run = ctx;
    ensure_magic(run, CODE_RUN_MAGIC);
    if (!end_take(run, result)) {
        return;
    }
    uint64_t size;
    bool is_ok = result->end == SANDBOX_EXITED && result->exit_code == 0;
    run->result.is_compile = !is_ok;
    if (!is_ok) {
        /* a compiler that was over its limits left a partial file: nobody looks at it */
        run_succeed(run);
        return;
    }
    if (!memfile_seal(run->program_fd) || !memfile_size(run->program_fd, &size) || size == 0) {
        run_fault(run, "the compiler ended well and left nothing");
        return;
    }
    run->result.has_compile = true;
    run->result.compile_wall_ms = result->wall_ms;
    run->is_saving = true;
    run->save.data = run;
    bool is_large = size > PROGRAM_IN_MEMORY_MAX;
    uv_queue_work(run->state->loop, &run->save, save_work, is_large ? save_large_done : save_done);
    if (!is_large) {
        run_run(run);
    }
}

static void compile_start(void *ctx)
{
    struct work_run *run = ctx;
    ensure_magic(run, CODE_RUN_MAGIC);
    struct code_command command;
    struct sandbox_file files[CODE_FILES_MAX + 1];
    char paths[CODE_FILES_MAX][CODE_PATH_SIZE + 32];
    run_step_to(run, STEP_COMPILE);
    run->program_fd = memfile_new("program");
    if (run->program_fd < 0) {
        run_not_started(run);
        return;
    }
    code_command_compile(&run->state->host, &run->input, &command);
    size_t count = files_spec(run, files, paths);
    if (run->input.lang == LANG_JAVA) {
        files[count++] = (struct sandbox_file){
            .path = CODE_JAVA_TOOL_PATH, .fd = run->state->host.java_tool_fd, .is_read_only = true};
    }
    struct sandbox_spec spec = {.slot = run->slot,
                                .argv = command.argv,
                                .binds = run->state->host.langs[run->input.lang].binds,
                                .files = files,
                                .file_count = count,
                                .stdin_fd = -1,
                                .out_fd = run->program_fd,
                                .limits = compile_limits};
    (void)code_budget_cut(&run->state->budget, &spec.limits);
    if (sandbox_start(run->state->sandbox, &spec, compile_sandbox_done, run, &run->sandbox_run) != STATUS_OK) {
        run_not_started(run);
    }
}

static void run_compile(struct work_run *run)
{
    struct sandbox_limits limits = compile_limits;
    (void)code_budget_cut(&run->state->budget, &limits);
    run_admit(run, &limits, compile_start);
}

/* --- preparing ------------------------------------------------------------------------------------------------- */

static bool is_compiled(const struct work_run *run)
{
    return code_langs[run->input.lang].is_compiled;
}

/* Everything is there, or why not: go on with the first sandbox. */
static void run_prepared(struct work_run *run)
{
    enum status status = run->work_status;
    if (atomic_load(&run->is_cancelled)) {
        run_cancelled(run);
    } else if (status == STATUS_NOT_FOUND || status == STATUS_TOO_LARGE) {
        run_fail(run, "input", true);
    } else if (status != STATUS_OK) {
        run_fail(run, status == STATUS_BUSY ? "node" : "blob", false);
    } else if (!is_compiled(run)) {
        run_run(run);
    } else if (run->program_fd >= 0) {
        run->result.has_compile = true;
        run->result.is_cached = true;
        run_run(run);
    } else {
        run_compile(run);
    }
}

static enum status run_fetch(struct work_run *run)
{
    const struct code_fetch fetch = {.blobs = run->state->blobs,
                                     .hub = &run->state->hub,
                                     .input = &run->input,
                                     .asked = &run->asked,
                                     .cancel = &run->is_cancelled,
                                     .file_fds = run->file_fds,
                                     .stdin_fd = &run->stdin_fd};
    return code_fetch(&fetch, &run->why);
}

/* On the thread pool: the blobs that are not at hand, and the cache on disk. */
static void prepare_work(uv_work_t *work)
{
    struct work_run *run = work->data;
    run->work_status = run_fetch(run);
    if (run->work_status == STATUS_OK && is_compiled(run) && run->program_fd < 0 &&
        code_store_get(run->state->cache, run->key, &run->program_fd) != STATUS_OK) {
        run->program_fd = -1;
    }
}

static void prepare_done(uv_work_t *work, int status)
{
    (void)status;
    struct work_run *run = work->data;
    ensure_magic(run, CODE_RUN_MAGIC);
    run_prepared(run);
}

static void run_prepare(struct work_run *run)
{
    struct code_input *input = &run->input;
    run_step_to(run, STEP_PREPARE);
    bool is_waiting = false;
    for (size_t i = 0; i < input->file_count; i++) {
        if (input->files[i].text == NULL) {
            is_waiting |= code_store_peek(run->state->blobs, input->files[i].blob, &run->file_fds[i]) != STATUS_OK;
        } else {
            run->file_fds[i] = memfile_of("file", slice_of(input->files[i].text, input->files[i].text_len));
            if (run->file_fds[i] < 0) {
                run_fault(run, "no memory file for an input: %s", strerror(errno));
                return;
            }
        }
    }
    if (input->stdin_blob[0] != 0) {
        is_waiting |= code_store_peek(run->state->blobs, input->stdin_blob, &run->stdin_fd) != STATUS_OK;
    } else if ((run->stdin_fd = memfile_of("stdin", slice_of(input->stdin_text, input->stdin_len))) < 0) {
        run_fault(run, "no memory file for stdin: %s", strerror(errno));
        return;
    }
    if (is_compiled(run)) {
        const struct state *state = run->state;
        if (!code_compile_key(&state->host, input, state->is_cache_shared ? "" : run->queue, run->key)) {
            run_fault(run, "no memory for the key of the cache");
            return;
        }
        is_waiting |= code_store_peek(run->state->cache, run->key, &run->program_fd) != STATUS_OK;
    }
    if (!is_waiting) {
        run->work_status = run_fetch(run); /* has nothing to wait for */
        run_prepared(run);
        return;
    }
    run->work.data = run;
    uv_queue_work(run->state->loop, &run->work, prepare_work, prepare_done);
}

static void later_fired(uv_timer_t *timer)
{
    struct work_run *run = timer->data;
    ensure_magic(run, CODE_RUN_MAGIC);
    if (atomic_load(&run->is_cancelled)) {
        run_cancelled(run);
    } else if (!run->has_input) {
        run_fail(run, "input", true);
    } else if (!run->state->host.langs[run->input.lang].is_offered) {
        buf_printf(&run->why, "this node does not offer %s: %s", code_langs[run->input.lang].name,
                   run->state->host.langs[run->input.lang].why);
        run_fail(run, "language", false);
    } else {
        run_prepare(run);
    }
}

/* --- the launcher ---------------------------------------------------------------------------------------------- */

static enum status code_run_start(void *ctx, const struct work_input *input,
                                  void (*done)(void *ctx, const struct work_done *done), void *done_ctx,
                                  struct work_run **ret_run)
{
    struct state *state = ctx;
    ensure_magic(state, CODE_STATE_MAGIC);
    struct work_run *run = calloc(1, sizeof(*run));
    if (run == NULL) {
        return STATUS_NO_MEMORY;
    }
    run->magic = CODE_RUN_MAGIC;
    run->state = state;
    run->done = done;
    run->ctx = done_ctx;
    run->slot = input->slot;
    run->stdin_fd = run->program_fd = -1;
    for (size_t i = 0; i < CODE_FILES_MAX; i++) {
        run->file_fds[i] = -1;
    }
    buf_init(&run->why, WHY_MAX);
    buf_init(&run->out, (size_t)CODE_OUT_KIB_MAX << 10);
    buf_init(&run->err, (size_t)CODE_OUT_KIB_MAX << 10);
    buf_init(&run->json, LIMIT_INPUT_SIZE);
    enum status status = code_input_read(state->parser, input->input, &run->input, &run->why);
    if (status == STATUS_NO_MEMORY) {
        run_free(run);
        return status;
    }
    run->has_input = status == STATUS_OK;
    run->asked = run->input.limits;
    (void)code_budget_cut(&state->budget, &run->input.limits);
    snprintf(run->queue, sizeof(run->queue), "%.*s", SLICE_ARG(input->queue));
    uv_timer_init(state->loop, &run->later);
    run->later.data = run;
    uv_timer_start(&run->later, later_fired, 0, 0);
    state->runs++;
    *ret_run = run;
    return STATUS_OK;
}

static void code_run_cancel(struct work_run *run)
{
    ensure_magic(run, CODE_RUN_MAGIC);
    atomic_store(&run->is_cancelled, true);
    if (run->sandbox_run != NULL) {
        sandbox_cancel(run->sandbox_run);
    } else if (run->claim.is_waiting) {
        code_budget_give(&run->state->budget, &run->claim);
        uv_timer_start(&run->later, later_fired, 0, 0);
    }
}

static bool code_run_progress(struct work_run *run, uint16_t *ret_permille, struct buf *ret_note)
{
    static const struct {
        uint16_t permille;
        const char *note;
    } steps[] = {[STEP_NEW] = {0, ""},
                 [STEP_PREPARE] = {0, "fetching files"},
                 [STEP_WAIT] = {50, "waiting for memory of the node"},
                 [STEP_COMPILE] = {100, "compiling"},
                 [STEP_RUN] = {300, "running"},
                 [STEP_UPLOAD] = {900, "uploading output"},
                 [STEP_DONE] = {1000, ""}};
    ensure_magic(run, CODE_RUN_MAGIC);
    if (!run->is_step_news) {
        return false;
    }
    run->is_step_news = false;
    *ret_permille = steps[run->step].permille;
    buf_append_str(ret_note, steps[run->step].note);
    return true;
}

static void code_run_close(void *ctx)
{
    struct state *state = ctx;
    if (state == NULL) {
        return;
    }
    ensure_magic(state, CODE_STATE_MAGIC);
    ensure(state->runs == 0);
    code_host_close(&state->host);
    if (state->sandbox != NULL) {
        sandbox_host_close(state->sandbox);
    }
    code_store_close(state->cache);
    code_store_close(state->blobs);
    json_parser_free(state->parser);
    free(state->hub_url);
    free(state->hub_key);
    state->magic = 0;
    free(state);
}

static bool stores_open(struct state *state, const char *data_dir, struct buf *why)
{
    char dir[480], sub[500];
    snprintf(dir, sizeof(dir), "%s/code.run", data_dir);
    if (mkdir(dir, 0700) != 0 && errno != EEXIST) {
        buf_printf(why, "%s cannot be made: %s", dir, strerror(errno));
        return false;
    }
    snprintf(sub, sizeof(sub), "%s/cache", dir);
    enum status status = code_store_open(sub, CACHE_SIZE_MAX, STORE_KEYS_ANY, &state->cache);
    if (status == STATUS_OK) {
        snprintf(sub, sizeof(sub), "%s/blobs", dir);
        status = code_store_open(sub, BLOBS_SIZE_MAX, STORE_KEYS_DIGEST, &state->blobs);
    }
    if (status != STATUS_OK) {
        buf_printf(why, "%s cannot be used: %s", sub, strerror(errno));
    }
    return status == STATUS_OK;
}

static enum status code_run_open(const struct node_env *env, void **ret_state, struct buf *facts, struct buf *ret_why)
{
    struct state *state = calloc(1, sizeof(*state));
    if (state == NULL) {
        return STATUS_NO_MEMORY;
    }
    *state = (struct state){
        .magic = CODE_STATE_MAGIC, .loop = &env->loop->uv, .host = {.java_tool_fd = -1, .unbuffer_fd = -1}};
    struct host_limits limits;
    host_limits_read("", &limits);
    code_budget_open(&state->budget, &limits);
    const char *sharing = getenv("SHOAL_COMPILE_CACHE");
    state->is_cache_shared = sharing != NULL && strcmp(sharing, "shared") == 0;
    state->parser = json_parser_new();
    state->hub_url = env->hub_url != NULL && env->hub_url[0] != 0 ? strdup(env->hub_url) : NULL;
    state->hub_key = env->key != NULL && env->key[0] != 0 ? strdup(env->key) : NULL;
    state->hub = (struct code_hub){state->hub_url, state->hub_key};
    curl_global_init(CURL_GLOBAL_DEFAULT);
    /* proving blocks, so it has a loop of its own; the node's must not call back into the agent meanwhile */
    uv_loop_t own;
    struct buf proof;
    buf_init(&proof, 4096);
    int rc = uv_loop_init(&own);
    ensure(rc == 0);
    enum status status = state->parser == NULL ? STATUS_NO_MEMORY : STATUS_OK;
    if (status == STATUS_OK && !stores_open(state, env->data_dir, ret_why)) {
        status = STATUS_UNSUPPORTED_HOST;
    }
    if (status == STATUS_OK) {
        status = sandbox_host_open(&own, env->slots, &state->sandbox, ret_why);
    }
    if (status == STATUS_OK) {
        status = sandbox_probe(state->sandbox, &own, &proof, ret_why);
    }
    if (status == STATUS_OK) {
        status = code_host_open(&state->host, state->sandbox, &own, state->cache, ret_why);
    }
    uv_run(&own, UV_RUN_DEFAULT);
    rc = uv_loop_close(&own);
    ensure(rc == 0);
    if (status == STATUS_OK) {
        sandbox_host_move(state->sandbox, state->loop);
        buf_append_str(facts, "\"sandbox\":");
        sandbox_host_facts(state->sandbox, facts);
        buf_append_str(facts, ",\"sandbox_proof\":");
        buf_append_slice(facts, buf_slice(&proof));
        buf_printf(facts, ",\"sandbox_memory_mib\":%u,\"sandbox_procs\":%u", state->budget.mem_mib,
                   state->budget.procs);
        buf_append_str(facts, ",\"languages\":");
        code_host_facts(&state->host, facts);
        *ret_state = state;
    } else {
        code_run_close(state);
    }
    buf_free(&proof);
    return status;
}

const struct launcher code_run_launcher = {.kind = "code.run",
                                           .open = code_run_open,
                                           .close = code_run_close,
                                           .start = code_run_start,
                                           .cancel = code_run_cancel,
                                           .progress = code_run_progress};
