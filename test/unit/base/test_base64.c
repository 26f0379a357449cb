/* base64: the vectors of RFC 4648, every length with every byte, and all that is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/base64.h"

static struct buf out;

static int setup(void **ctx)
{
    (void)ctx;
    buf_init(&out, 1 << 20);
    return 0;
}

static int teardown(void **ctx)
{
    (void)ctx;
    buf_free(&out);
    return 0;
}

static void test_vectors(void **ctx)
{
    (void)ctx;
    static const char *const pairs[][2] = {{"", ""},
                                           {"f", "Zg=="},
                                           {"fo", "Zm8="},
                                           {"foo", "Zm9v"},
                                           {"foob", "Zm9vYg=="},
                                           {"fooba", "Zm9vYmE="},
                                           {"foobar", "Zm9vYmFy"}};
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        buf_reset(&out);
        base64_encode(&out, slice_str(pairs[i][0]));
        assert_true(slice_equal_str(buf_slice(&out), pairs[i][1]));
        assert_int_equal(base64_len(strlen(pairs[i][0])), strlen(pairs[i][1]));
        buf_reset(&out);
        assert_true(base64_decode(&out, slice_str(pairs[i][1])));
        assert_true(slice_equal_str(buf_slice(&out), pairs[i][0]));
    }
}

static void test_round_trip(void **ctx)
{
    (void)ctx;
    char bytes[600];
    for (size_t i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (char)(i * 7 + i / 256);
    }
    struct buf text;
    buf_init(&text, 1 << 20);
    for (size_t len = 0; len <= sizeof(bytes); len++) {
        buf_reset(&text);
        buf_reset(&out);
        base64_encode(&text, slice_of(bytes, len));
        assert_true(base64_decode(&out, buf_slice(&text)));
        assert_int_equal(out.len, len);
        assert_memory_equal(out.data, bytes, len);
    }
    buf_free(&text);
}

static void test_refused(void **ctx)
{
    (void)ctx;
    static const char *const bad[] = {"Z",    "Zg",   "Zg=",    "Zg==Zg==", "Zh==", "Zm9=", "Z===",   "====",
                                      "Zm-v", "Zm_v", "Zm9v\n", "Zm 9v",    "=Zm9", "Z=9v", "Zm9\xff"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        buf_reset(&out);
        if (base64_decode(&out, slice_str(bad[i]))) {
            fail_msg("\"%s\" was taken", bad[i]);
        }
    }
    buf_reset(&out);
    assert_false(base64_decode(&out, slice_of("Zm9\0", 4)));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)
    const struct CMUnitTest tests[] = {T(vectors), T(round_trip), T(refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
