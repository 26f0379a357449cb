/* bench_http.c - a server whose only answer is a constant, to be measured against nginx `return 200`
 * (http_vs_nginx.sh). Prints its port; ends with SIGTERM. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "net/http_server.h"

static const char body[] = "{\"status\":\"ok\"}\n";

static void on_request(void *ctx, struct http_request *request)
{
    (void)ctx;
    http_answer(request, &(struct http_answer){.status = 200, .content_type = "application/json", .body = SLICE(body)});
}

static struct http_server *server;

static void on_signal(uv_signal_t *handle, int number)
{
    struct loop *loop = handle->data;
    (void)number;
    http_server_close(server, 0);
    uv_close((uv_handle_t *)handle, NULL);
    loop_stop(loop);
}

int main(int argc, char **argv)
{
    struct loop loop;
    if (loop_init(&loop) != STATUS_OK) {
        return 1;
    }
    struct http_config config;
    http_config_default(&config);
    config.port = argc > 1 ? (uint16_t)atoi(argv[1]) : 0;
    enum status status = http_server_start(&loop, &config, &(struct http_callbacks){.on_request = on_request}, &server);
    if (status != STATUS_OK) {
        fprintf(stderr, "bench_http: %s\n", status_title(status));
        return status_exit(status);
    }
    printf("%u\n", http_server_port(server));
    fflush(stdout);
    uv_signal_t term;
    uv_signal_init(&loop.uv, &term);
    term.data = &loop;
    uv_signal_start(&term, on_signal, SIGTERM);
    loop_run(&loop);
    loop_free(&loop);
    return 0;
}
