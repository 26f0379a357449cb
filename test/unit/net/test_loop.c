#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h> /* wants those above */

#include <string.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "net/loop.h"

struct call {
    struct loop_call call; /* first */
    int number;
};

static int seen[2000];
static int seen_count;
static struct loop *the_loop;

static void run_call(struct loop_call *call)
{
    seen[seen_count++] = ((struct call *)(void *)call)->number;
    if (seen_count == 2000) {
        loop_stop(the_loop);
    }
}

static void post_many(void *arg)
{
    struct call *calls = arg;
    for (int i = 0; i < 1000; i++) {
        loop_post(the_loop, &calls[i].call);
    }
}

static void posts_from_other_threads(void **state)
{
    (void)state;
    struct loop loop;
    static struct call calls[2][1000];
    assert_int_equal(loop_init(&loop), STATUS_OK);
    the_loop = &loop;
    uv_thread_t threads[2];
    for (int t = 0; t < 2; t++) {
        for (int i = 0; i < 1000; i++) {
            calls[t][i] = (struct call){{run_call, NULL}, t * 1000 + i};
        }
        assert_int_equal(uv_thread_create(&threads[t], post_many, calls[t]), 0);
    }
    loop_run(&loop);
    uv_thread_join(&threads[0]);
    uv_thread_join(&threads[1]);
    assert_int_equal(seen_count, 2000);
    int next[2] = {0, 1000};
    for (int i = 0; i < 2000; i++) {
        assert_int_equal(seen[i], next[seen[i] / 1000]++); /* each thread's in its order */
    }
    loop_free(&loop);
}

struct flusher {
    struct loop_flush flush; /* first */
    struct loop *loop;
    int count;
    int again; /* times to queue itself again */
    struct flusher *cancels;
};

static void on_flush(struct loop_flush *flush)
{
    struct flusher *self = (struct flusher *)(void *)flush;
    self->count++;
    if (self->again > 0) {
        self->again--;
        loop_flush_soon(self->loop, flush);
    }
    if (self->cancels != NULL) {
        loop_flush_cancel(&self->cancels->flush);
    }
}

static void on_timer(uv_timer_t *timer)
{
    uv_close((uv_handle_t *)timer, NULL);
    loop_stop(timer->data);
}

static void flushes_come_before_the_loop_waits(void **state)
{
    (void)state;
    struct loop loop;
    assert_int_equal(loop_init(&loop), STATUS_OK);
    struct flusher a = {{on_flush, NULL, NULL}, &loop, 0, 3, NULL};
    struct flusher b = {{on_flush, NULL, NULL}, &loop, 0, 0, NULL};
    struct flusher c = {{on_flush, NULL, NULL}, &loop, 0, 0, &b};
    loop_flush_soon(&loop, &a.flush);
    loop_flush_soon(&loop, &a.flush);
    loop_flush_soon(&loop, &c.flush);
    loop_flush_soon(&loop, &b.flush);
    uv_timer_t timer;
    uv_timer_init(&loop.uv, &timer);
    timer.data = &loop;
    uv_timer_start(&timer, on_timer, 3000, 0);
    /* With nothing but the timer: it must not be waited for between the rounds of `a`. */
    int64_t begin_ns = clock_mono_ns();
    while (a.count < 4) {
        uv_run(&loop.uv, UV_RUN_ONCE);
    }
    assert_true(clock_mono_ns() - begin_ns < 2 * NS_PER_S);
    assert_int_equal(c.count, 1);
    assert_int_equal(b.count, 0); /* taken back in time */
    loop_flush_cancel(&b.flush);
    uv_timer_start(&timer, on_timer, 1, 0);
    loop_run(&loop);
    assert_int_equal(a.count, 4);
    loop_free(&loop);
}

static void on_timer_twice(uv_timer_t *timer)
{
    loop_stop(timer->data);
}

static void stopping_twice_does_not_wait_for_handles(void **state)
{
    (void)state;
    struct loop loop;
    assert_int_equal(loop_init(&loop), STATUS_OK);
    uv_timer_t timer;
    uv_timer_init(&loop.uv, &timer);
    timer.data = &loop;
    uv_timer_start(&timer, on_timer_twice, 1, 1);
    loop_run(&loop);
    assert_true(loop_mono_ns(&loop) > 0);
    loop_free(&loop); /* closes the timer */
}

static void errors_have_a_status(void **state)
{
    (void)state;
    static const struct {
        int error;
        enum status status;
    } table[] = {
        {0, STATUS_OK},
        {UV_EADDRINUSE, STATUS_ADDRESS_IN_USE},
        {UV_ECONNREFUSED, STATUS_UNREACHABLE},
        {UV_EAI_NONAME, STATUS_UNREACHABLE},
        {UV_EOF, STATUS_CLOSED},
        {UV_EPIPE, STATUS_CLOSED},
        {UV_ENOSPC, STATUS_NO_SPACE},
        {UV_ENOMEM, STATUS_NO_MEMORY},
        {UV_EMFILE, STATUS_BUSY},
        {UV_ETIMEDOUT, STATUS_TIMEOUT},
        {UV_ENOENT, STATUS_NOT_FOUND},
        {UV_EACCES, STATUS_PERMISSION},
        {UV_EPERM, STATUS_PERMISSION},
        {UV_EIO, STATUS_IO},
    };
    for (size_t i = 0; i < ARRAY_COUNT(table); i++) {
        assert_int_equal(status_of_uv(table[i].error), table[i].status);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(posts_from_other_threads),
        cmocka_unit_test(flushes_come_before_the_loop_waits),
        cmocka_unit_test(stopping_twice_does_not_wait_for_handles),
        cmocka_unit_test(errors_have_a_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
