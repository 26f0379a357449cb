/* The format to the byte, and what a decoder must refuse. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/hash.h"
#include "journal/segment.h"

static void names(void **state)
{
    static const struct {
        const char *name;
        enum segment_name kind;
        uint64_t number;
    } cases[] = {
        {"00000000000000000001.seg", SEGMENT_NAME_SEGMENT, 1},
        {"18446744073709551615.seg", SEGMENT_NAME_SEGMENT, UINT64_MAX},
        {"18446744073709551616.seg", SEGMENT_NAME_OTHER, 0},
        {"00000000000000000000.seg", SEGMENT_NAME_OTHER, 0},
        {"0000000000000000001.seg", SEGMENT_NAME_OTHER, 0},
        {"0000000000000000000x.seg", SEGMENT_NAME_OTHER, 0},
        {"00000000000000000001.seg.damaged", SEGMENT_NAME_OTHER, 0},
        {"spare-7.seg", SEGMENT_NAME_SPARE, 7},
        {"spare-.seg", SEGMENT_NAME_OTHER, 0},
        {"spare.tmp", SEGMENT_NAME_TMP, 0},
        {".tmp", SEGMENT_NAME_OTHER, 0},
        {"", SEGMENT_NAME_OTHER, 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint64_t number = 0;
        assert_int_equal(segment_parse_name(cases[i].name, &number), cases[i].kind);
        if (cases[i].kind == SEGMENT_NAME_SEGMENT || cases[i].kind == SEGMENT_NAME_SPARE) {
            assert_true(number == cases[i].number);
        }
    }
    char path[SEGMENT_PATH_SIZE];
    segment_path(42, path);
    assert_string_equal(path, "journal/00000000000000000042.seg");
    segment_spare_path(42, path);
    assert_string_equal(path, "journal/spare-42.seg");
}

static void a_record_is_these_bytes(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 1000);
    struct segment_record record = {
        .seq = 0x0102030405060708, .time_ns = 0x1112131415161718, .unsynced = 3, .version = 1, .body = SLICE("hello")};
    segment_record_encode(&record, 0, &out);
    assert_int_equal(out.len, 40);
    assert_int_equal(out.len, segment_record_size(5));
    static const unsigned char tail[] = {8, 7, 6, 5, 4, 3, 2, 1, 0x18, 0x17, 0x16, 0x15, 0x14, 0x13, 0x12, 0x11,
                                         1, 0, 0, 0, 3, 0, 0, 0, 'h',  'e',  'l',  'l',  'o',  0,    0,    0};
    assert_memory_equal(out.data, "\5\0\0\0", 4);
    assert_memory_equal(out.data + 8, tail, sizeof(tail));
    uint32_t crc = crc32c(crc32c(0, "\5\0\0\0", 4), tail, 29);
    assert_int_equal((unsigned char)out.data[4] | (unsigned char)out.data[5] << 8, crc & 0xffff);
    struct segment_record back;
    assert_true(segment_record_decode(out.data, out.len, 0, 0, &back));
    assert_true(back.seq == record.seq && back.time_ns == record.time_ns && back.unsynced == 3);
    assert_true(slice_equal(back.body, record.body));
    assert_false(segment_record_decode(out.data, out.len, 0, 1, &back)); /* another salt */
    buf_free(&out);
}

static void every_flip_and_every_cut_is_refused(void **state)
{
    (void)state;
    struct buf out;
    struct segment_record back;
    buf_init(&out, 1000);
    segment_record_encode(
        &(struct segment_record){
            .seq = 9, .time_ns = 5, .unsynced = 1, .version = 1, .body = SLICE("some bytes of a body")},
        77, &out);
    for (size_t bit = 0; bit < 8 * (32 + 20); bit++) {
        out.data[bit / 8] = (char)(out.data[bit / 8] ^ (1 << (bit % 8)));
        assert_false(segment_record_decode(out.data, out.len, 0, 77, &back));
        out.data[bit / 8] = (char)(out.data[bit / 8] ^ (1 << (bit % 8)));
    }
    for (size_t len = 0; len < 32 + 20; len++) {
        assert_false(segment_record_decode(out.data, len, 0, 77, &back));
    }
    assert_false(segment_record_decode(out.data, out.len, out.len + 8, 77, &back));
    assert_true(segment_record_decode(out.data, out.len, 0, 77, &back));
    buf_free(&out);
}

static void either_copy_of_a_header_is_enough(void **state)
{
    (void)state;
    struct buf out;
    struct segment_header header = {.first_seq = 12, .size = 65536, .salt = 0xdeadbeef, .is_fresh = true};
    struct segment_header back;
    uint32_t bad_at = 1;
    bool is_unknown;
    buf_init(&out, SEGMENT_HEADER_SIZE);
    segment_header_encode(&header, &out);
    assert_int_equal(out.len, SEGMENT_HEADER_SIZE);
    assert_int_equal(segment_header_decode(out.data, 12, &back, &bad_at, &is_unknown), 2);
    assert_true(back.size == 65536 && back.salt == 0xdeadbeef && back.is_fresh && back.first_seq == 12);
    assert_int_equal(segment_header_decode(out.data, 13, &back, &bad_at, &is_unknown), 0);
    for (unsigned at = 0; at < SEGMENT_HEADER_BYTES; at++) {
        out.data[at] ^= 1;
        assert_int_equal(segment_header_decode(out.data, 12, &back, &bad_at, &is_unknown), 1);
        assert_int_equal(bad_at, 0);
        out.data[4096 + at] ^= 1;
        assert_int_equal(segment_header_decode(out.data, 12, &back, &bad_at, &is_unknown), 0);
        out.data[at] ^= 1;
        assert_int_equal(segment_header_decode(out.data, 12, &back, &bad_at, &is_unknown), 1);
        assert_int_equal(bad_at, 4096);
        out.data[4096 + at] ^= 1;
    }
    buf_free(&out);
}

/* Bytes of a client that look like a record do not count without the salt, nor with a seq out of range. */
static void planted_records_are_not_found(void **state)
{
    (void)state;
    struct buf planted;
    struct buf out;
    struct segment_record found;
    uint64_t offset = 0;
    buf_init(&planted, 4000);
    buf_init(&out, 4000);
    segment_record_encode(&(struct segment_record){.seq = 6, .version = 1, .body = SLICE("forged")}, 0, &planted);
    segment_record_encode(&(struct segment_record){.seq = 5, .version = 1, .body = buf_slice(&planted)}, 1234, &out);
    out.data[8]++; /* the record itself is torn */
    assert_false(segment_find_record(out.data, out.len, &offset, 1234, 5, 0, 5, &found));
    assert_true(segment_find_record(out.data, out.len, &offset, 0, 5, 0, 5, &found)); /* who knew the salt could */
    assert_int_equal(offset, 32);
    offset = 0;
    assert_false(segment_find_record(out.data, out.len, &offset, 0, 5, 0, 4, &found)); /* too far ahead to be true */
    buf_free(&planted);
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names),
        cmocka_unit_test(a_record_is_these_bytes),
        cmocka_unit_test(every_flip_and_every_cut_is_refused),
        cmocka_unit_test(either_copy_of_a_header_is_enough),
        cmocka_unit_test(planted_records_are_not_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
