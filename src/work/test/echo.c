/* echo.c - the kind test.echo: a timer and a copy of the input. */
#include "work/test/echo.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/ensure.h"

struct echo {
    struct loop *loop;
    struct json_parser *parser;
};

struct work_run {
    uint32_t magic;
    uv_timer_t timer;
    void (*done)(void *ctx, const struct work_done *done);
    void *done_ctx;
    bool is_cancelled, is_bad, fails, is_final;
    int64_t started_ns, sleep_ns;
    uint16_t permille_said;
    struct buf result;  /* JSON */
    struct buf message; /* of the failure */
};

static enum status echo_open(const struct node_env *env, void **ret_state, struct buf *facts, struct buf *ret_why)
{
    (void)facts;
    struct echo *echo = calloc(1, sizeof(*echo));
    if (echo == NULL || (echo->parser = json_parser_new()) == NULL) {
        free(echo);
        buf_append_str(ret_why, "there is no memory left");
        return STATUS_NO_MEMORY;
    }
    echo->loop = env->loop;
    *ret_state = echo;
    return STATUS_OK;
}

static void echo_close(void *state)
{
    struct echo *echo = state;
    json_parser_free(echo->parser);
    free(echo);
}

/* Fills the run from its input; what is wrong with it ends up in `message`. */
static void read_input(struct echo *echo, struct slice input, struct work_run *run)
{
    struct json_value root, value;
    struct slice key, text;
    int64_t sleep_ms = 0;
    if (json_parse(echo->parser, input, &root, NULL, NULL) != STATUS_OK || json_type_of(root) != JSON_OBJECT) {
        run->is_bad = true;
        buf_append_str(&run->message, "the input must be an object");
        return;
    }
    for (struct json_iter it = json_iter_of(root); json_next(&it, &key, &value) && !run->is_bad;) {
        if (slice_equal_str(key, "value")) {
            buf_reset(&run->result);
            json_print(&run->result, value);
        } else if (slice_equal_str(key, "sleep_ms")) {
            run->is_bad = !json_get_i64(value, &sleep_ms) || sleep_ms < 0 || sleep_ms > 3600000;
        } else if (slice_equal_str(key, "fail")) {
            if (json_get_str(value, &text)) {
                run->fails = true;
                buf_append_slice(&run->message, text);
            } else {
                run->is_bad = !json_get_bool(value, &run->fails);
            }
        } else if (slice_equal_str(key, "final")) {
            run->is_bad = !json_get_bool(value, &run->is_final);
        } else {
            run->is_bad = true;
        }
        if (run->is_bad) {
            buf_reset(&run->message);
            buf_printf(&run->message, "the field \"%.*s\" is unknown or has a wrong value", SLICE_ARG(key));
        }
    }
    run->sleep_ns = run->is_bad ? 0 : sleep_ms * NS_PER_MS;
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct work_run *run = handle->data;
    struct work_done done = {.is_success = !run->is_cancelled && !run->is_bad && !run->fails};
    if (done.is_success) {
        done.result = buf_slice(&run->result);
    } else {
        done.error_kind = run->is_cancelled ? SLICE("cancelled") : run->is_bad ? SLICE("bad-input") : SLICE("echo");
        done.message = run->is_cancelled      ? SLICE("it was cancelled")
                       : run->message.len > 0 ? buf_slice(&run->message)
                                              : SLICE("it was told to fail");
        done.is_final = run->is_bad || run->is_final;
    }
    run->done(run->done_ctx, &done);
    buf_free(&run->result);
    buf_free(&run->message);
    run->magic = 0;
    free(run);
}

static void on_timer(uv_timer_t *timer)
{
    if (!uv_is_closing((uv_handle_t *)timer)) {
        uv_close((uv_handle_t *)timer, on_timer_closed);
    }
}

static enum status echo_start(void *state, const struct work_input *input,
                              void (*done)(void *ctx, const struct work_done *done), void *ctx,
                              struct work_run **ret_run)
{
    struct echo *echo = state;
    struct work_run *run = calloc(1, sizeof(*run));
    if (run == NULL) {
        return STATUS_NO_MEMORY;
    }
    run->magic = ECHO_MAGIC;
    run->done = done;
    run->done_ctx = ctx;
    buf_init(&run->result, input->input.len * 6 + 16); /* printing may spell a byte as \u00XX, never longer */
    buf_init(&run->message, input->input.len + 256);
    buf_append_str(&run->result, "null");
    read_input(echo, input->input, run);
    if (buf_status(&run->result) != STATUS_OK || buf_status(&run->message) != STATUS_OK) {
        buf_free(&run->result);
        buf_free(&run->message);
        free(run);
        return STATUS_NO_MEMORY;
    }
    uv_timer_init(&echo->loop->uv, &run->timer);
    run->timer.data = run;
    run->started_ns = loop_mono_ns(echo->loop);
    if (run->sleep_ns > 0) {
        uv_timer_start(&run->timer, on_timer, (uint64_t)(run->sleep_ns / NS_PER_MS), 0);
    } else {
        uv_close((uv_handle_t *)&run->timer, on_timer_closed); /* later in this turn of the loop */
    }
    *ret_run = run;
    return STATUS_OK;
}

static void echo_cancel(struct work_run *run)
{
    ensure_magic(run, ECHO_MAGIC);
    run->is_cancelled = true;
    on_timer(&run->timer);
}

static bool echo_progress(struct work_run *run, uint16_t *ret_permille, struct buf *ret_note)
{
    ensure_magic(run, ECHO_MAGIC);
    if (run->sleep_ns == 0) {
        return false;
    }
    int64_t passed_ns = (int64_t)(uv_now(run->timer.loop) * (uint64_t)NS_PER_MS) - run->started_ns;
    int64_t permille = passed_ns * 1000 / run->sleep_ns;
    uint16_t bounded = permille < 0 ? 0 : permille > 1000 ? 1000 : (uint16_t)permille;
    if (bounded <= run->permille_said) {
        return false;
    }
    run->permille_said = bounded;
    *ret_permille = bounded;
    buf_printf(ret_note, "slept %lld ms", (long long)(passed_ns / NS_PER_MS));
    return true;
}

const struct launcher test_echo_launcher = {
    .kind = "test.echo",
    .open = echo_open,
    .close = echo_close,
    .start = echo_start,
    .cancel = echo_cancel,
    .progress = echo_progress,
};
