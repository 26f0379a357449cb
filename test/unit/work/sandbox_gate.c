#include "sandbox_gate.h"

#include <stdio.h>
#include <stdlib.h>

#include "work/sandbox/sandbox.h"

static void on_done(void *ctx, const struct sandbox_result *result)
{
    struct buf *why = ctx;
    if (result->end == SANDBOX_FAULT) {
        buf_append_str(why, result->fault);
    }
}

void sandbox_gate(void)
{
    uv_loop_t loop;
    struct sandbox_host *host = NULL;
    struct buf why;
    buf_init(&why, 4096);
    if (uv_loop_init(&loop) != 0) {
        abort();
    }
    enum status status = sandbox_host_open(&loop, 1, &host, &why);
    if (status == STATUS_OK) {
        const char *argv[] = {"/bin/true", NULL};
        struct sandbox_spec spec = {
            .argv = argv,
            .stdin_fd = -1,
            .out_fd = -1,
            .limits = {.cpu_ms = 2000, .wall_ms = 20000, .mem_mib = 64, .procs = 16, .out_kib = 16, .fs_mib = 4}};
        struct sandbox_run *run;
        if (sandbox_start(host, &spec, on_done, &why, &run) == STATUS_OK) {
            uv_run(&loop, UV_RUN_DEFAULT);
        }
        status = why.len > 0 ? STATUS_UNSUPPORTED_HOST : STATUS_OK;
        sandbox_host_close(host);
    }
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
    if (status == STATUS_UNSUPPORTED_HOST) {
        printf("skipped: no sandbox can be made here: %s\n", buf_cstr(&why));
        exit(77);
    }
    buf_free(&why);
}
