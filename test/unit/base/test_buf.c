#include "check.h"

#include "base/buf.h"

#define MODEL_MAX 4096

/* Random appends and consumes against a plain array that is far larger than the maximum. */
static void test_model(void **state)
{
    (void)state;
    struct rng rng = test_rng();
    for (int round = 0; round < 200; round++) {
        struct buf buf;
        size_t max = 1 + rng_below(&rng, MODEL_MAX);
        buf_init(&buf, max);
        char model[MODEL_MAX];
        size_t len = 0;
        for (int step = 0; step < 200; step++) {
            char bytes[300];
            size_t count = rng_below(&rng, sizeof(bytes));
            for (size_t i = 0; i < count; i++) {
                bytes[i] = (char)rng_u64(&rng);
            }
            bool is_too_much = len + count > max;
            switch (rng_below(&rng, 4)) {
            case 0:
                count = len > 0 ? rng_below(&rng, len + 1) : 0;
                buf_consume(&buf, count);
                memmove(model, model + count, len - count);
                len -= count;
                is_too_much = false;
                break;
            case 1:
                memset(bytes, 0, count);
                buf_append_zeros(&buf, count);
                break;
            case 2:
                buf_append_slice(&buf, slice_of(bytes, count));
                break;
            default:
                buf_append(&buf, bytes, count);
                break;
            }
            if (is_too_much) {
                assert_int_equal(buf_status(&buf), STATUS_TOO_LARGE);
                buf_append_char(&buf, 'x'); /* sticks: nothing is added any more */
                assert_int_equal(buf.len, len);
                assert_memory_equal(buf.data != NULL ? buf.data : "", model, len);
                buf_reset(&buf);
                len = 0;
                assert_int_equal(buf_status(&buf), STATUS_OK);
                continue;
            }
            if (buf.len != len) { /* an append */
                memcpy(model + len, bytes, count);
                len += count;
            }
            assert_int_equal(buf_status(&buf), STATUS_OK);
            assert_int_equal(buf.len, len);
            assert_memory_equal(buf.data != NULL ? buf.data : "", model, len);
        }
        buf_free(&buf);
        assert_int_equal(buf.max, max);
    }
}

static void test_integers(void **state)
{
    (void)state;
    struct buf buf;
    buf_init(&buf, 1000);
    buf_append_u8(&buf, 0xAB);
    buf_append_u16(&buf, 0x1234);
    buf_append_u32(&buf, 0xDEADBEEF);
    buf_append_u64(&buf, 0x0102030405060708);
    assert_memory_equal(buf.data, "\xAB\x34\x12\xEF\xBE\xAD\xDE\x08\x07\x06\x05\x04\x03\x02\x01", 15);
    buf_append_lv(&buf, SLICE("hello"));
    buf_append_lv(&buf, (struct slice){NULL, 0});
    buf_put_u32(&buf, 3, 7);

    struct reader reader = reader_of(buf_slice(&buf));
    assert_int_equal(reader_u8(&reader), 0xAB);
    assert_int_equal(reader_u16(&reader), 0x1234);
    assert_int_equal(reader_u32(&reader), 7);
    assert_int_equal(reader_u64(&reader), 0x0102030405060708);
    assert_slice_equal(reader_lv(&reader), "hello");
    assert_int_equal(reader_lv(&reader).len, 0);
    assert_true(reader_is_done(&reader));
    assert_int_equal(reader_u8(&reader), 0);
    assert_true(reader.failed);
    assert_false(reader_is_done(&reader));
    buf_free(&buf);
}

static void test_reader_refuses_what_is_not_there(void **state)
{
    (void)state;
    /* a length of 4 G with 3 bytes behind it */
    struct reader reader = reader_of(slice_of("\xFF\xFF\xFF\xFF"
                                              "abc",
                                              7));
    struct slice got = reader_lv(&reader);
    assert_int_equal(got.len, 0);
    assert_true(reader.failed);
    assert_int_equal(reader_u8(&reader), 0); /* sticks, although a byte is left */

    struct reader nothing = reader_of((struct slice){NULL, 0});
    assert_true(reader_is_done(&nothing));
    assert_int_equal(reader_u64(&nothing), 0);
    assert_true(nothing.failed);
}

static void test_decimals_and_printf(void **state)
{
    (void)state;
    static const int64_t numbers[] = {0, 1, -1, 9, 10, -10, 1234567890, INT64_MAX, INT64_MIN};
    struct buf buf;
    buf_init(&buf, 1000);
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        char expected[32];
        snprintf(expected, sizeof(expected), "%lld", (long long)numbers[i]);
        buf_reset(&buf);
        buf_append_i64_dec(&buf, numbers[i]);
        assert_string_equal(buf_cstr(&buf), expected);
    }
    buf_reset(&buf);
    buf_append_u64_dec(&buf, UINT64_MAX);
    buf_printf(&buf, " %s=%d", "x", 42);
    assert_string_equal(buf_cstr(&buf), "18446744073709551615 x=42");
    buf_free(&buf);
    assert_string_equal(buf_cstr(&buf), "");
    buf_free(&buf);
}

static void test_printf_at_the_maximum(void **state)
{
    (void)state;
    struct buf buf;
    buf_init(&buf, 5);
    buf_printf(&buf, "%s", "12345");
    assert_int_equal(buf_status(&buf), STATUS_OK);
    assert_string_equal(buf_cstr(&buf), "12345");
    buf_printf(&buf, "%d", 6);
    assert_int_equal(buf_status(&buf), STATUS_TOO_LARGE);
    assert_int_equal(buf.len, 5);
    assert_int_equal(buf_reserve(&buf, 0), STATUS_TOO_LARGE);
    buf_reset(&buf);
    assert_int_equal(buf_reserve(&buf, 5), STATUS_OK);
    assert_int_equal(buf_reserve(&buf, 6), STATUS_TOO_LARGE);
    buf_free(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model),
        cmocka_unit_test(test_integers),
        cmocka_unit_test(test_reader_refuses_what_is_not_there),
        cmocka_unit_test(test_decimals_and_printf),
        cmocka_unit_test(test_printf_at_the_maximum),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
