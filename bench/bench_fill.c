/* bench_fill.c - fills a hub with queued tasks that nobody runs: bench_fill PORT TASKS */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "client.h"

#define BATCH 1000u

int main(int argc, char **argv)
{
    if (argc < 3) {
        client_die("usage: bench_fill PORT TASKS");
    }
    uint64_t total = strtoull(argv[2], NULL, 10);
    int fd = client_connect((uint16_t)atoi(argv[1]));
    struct buf in = {.max = 64u << 20}, body = {.max = 64u << 20};
    struct slice answer;
    if (client_call(fd, &in, "PUT", "/v1/kinds/bench.fill", SLICE("{}"), &answer) >= 300) {
        client_die("the kind is refused: %.*s", (int)answer.len, answer.data);
    }
    int64_t began_ns = clock_mono_ns();
    for (uint64_t sent = 0; sent < total;) {
        buf_reset(&body);
        buf_append_char(&body, '[');
        uint64_t count = total - sent < BATCH ? total - sent : BATCH;
        for (uint64_t i = 0; i < count; i++) {
            buf_printf(&body, "%s{\"kind\":\"bench.fill\",\"input\":{\"n\":%llu,\"text\":\"a small task\"}}",
                       i > 0 ? "," : "", (unsigned long long)(sent + i));
        }
        buf_append_char(&body, ']');
        int status = client_call(fd, &in, "POST", "/v1/tasks:batch", buf_slice(&body), &answer);
        struct slice refused;
        if (status != 200 || !client_field(answer, "refused", &refused) || !slice_equal_str(refused, "0")) {
            client_die("after %llu tasks: %d %.*s", (unsigned long long)sent, status,
                       (int)(answer.len < 300 ? answer.len : 300), answer.data);
        }
        sent += count;
    }
    double seconds = (double)(clock_mono_ns() - began_ns) / 1e9;
    printf("filled %llu tasks in %.2f s, %.0f /s\n", (unsigned long long)total, seconds, (double)total / seconds);
    return 0;
}
