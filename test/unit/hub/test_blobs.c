/* Uploads and reads through the loop: what arrives whole is there, and nothing else ever is. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "../scratch.h"
#include "base/buf.h"
#include "base/rng.h"
#include "hub/blobs.h"

#define SIZE_MAX_TEST (3u << 20)

struct fixture {
    char dir[64];
    struct loop loop;
    struct blob_store *store;
};

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    (void)snprintf(fixture->dir, sizeof(fixture->dir), "/tmp/shoal-blobs-XXXXXX");
    if (mkdtemp(fixture->dir) == NULL || loop_init(&fixture->loop) != STATUS_OK ||
        blob_store_open(&fixture->loop, fixture->dir, SIZE_MAX_TEST, &fixture->store) != STATUS_OK) {
        return -1;
    }
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    blob_store_close(fixture->store);
    loop_stop(&fixture->loop);
    loop_run(&fixture->loop);
    loop_free(&fixture->loop);
    int result = scratch_remove(fixture->dir);
    free(fixture);
    return result;
}

static unsigned files_in_tmp(const struct fixture *fixture)
{
    char path[128];
    (void)snprintf(path, sizeof(path), "%s/tmp", fixture->dir);
    DIR *dir = opendir(path);
    assert_non_null(dir);
    unsigned count = 0;
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        count += entry->d_name[0] != '.';
    }
    (void)closedir(dir);
    return count;
}

static void hex_of(struct slice content, char ret[SHA256_HEX_SIZE])
{
    uint8_t digest[SHA256_SIZE];
    sha256(content, digest);
    hex_encode(digest, sizeof(digest), ret);
}

static char *random_content(size_t len, uint64_t seed)
{
    struct rng rng;
    rng_seed(&rng, seed);
    char *content = malloc(len + 1);
    assert_non_null(content);
    for (size_t i = 0; i < len; i++) {
        content[i] = (char)rng_u64(&rng);
    }
    return content;
}

/* --- uploading --- */

struct outcome_of_upload {
    bool is_done;
    enum status status;
    char hex[SHA256_HEX_SIZE];
    uint64_t size;
    bool is_new;
    bool has_room;
};

static void on_done(void *ctx, enum status status, const char *hex, uint64_t size, bool is_new)
{
    struct outcome_of_upload *outcome = ctx;
    assert_false(outcome->is_done);
    outcome->is_done = true;
    outcome->status = status;
    outcome->size = size;
    outcome->is_new = is_new;
    if (status == STATUS_OK) {
        (void)snprintf(outcome->hex, sizeof(outcome->hex), "%s", hex);
    }
}

static void on_room(void *ctx)
{
    struct outcome_of_upload *outcome = ctx;
    outcome->has_room = true;
}

static void turn_until(struct fixture *fixture, const bool *flag)
{
    while (!*flag) {
        (void)uv_run(&fixture->loop.uv, UV_RUN_ONCE);
    }
}

static struct outcome_of_upload upload(struct fixture *fixture, const char *expected, struct slice content,
                                       size_t piece_size)
{
    struct outcome_of_upload outcome = {0};
    struct blob_upload *upload;
    assert_int_equal(blob_upload_begin(fixture->store, expected, on_room, NULL, &outcome, &upload), STATUS_OK);
    for (size_t at = 0; at < content.len;) {
        size_t len = content.len - at < piece_size ? content.len - at : piece_size;
        outcome.has_room = false;
        bool goes_on = blob_upload_write(upload, slice_of(content.data + at, len));
        at += len;
        if (!goes_on) {
            turn_until(fixture, &outcome.has_room);
        }
    }
    blob_upload_end(upload, on_done, &outcome);
    assert_false(outcome.is_done); /* never from inside end */
    turn_until(fixture, &outcome.is_done);
    return outcome;
}

/* --- reading --- */

struct reading {
    struct blob_reader *reader;
    struct buf content;
    bool is_done;
    enum status status;
    size_t abort_after;
};

static void on_piece(void *ctx, enum status status, struct slice piece)
{
    struct reading *reading = ctx;
    assert_false(reading->is_done);
    assert_true(piece.len <= 256u << 10);
    if (status != STATUS_OK || piece.len == 0) {
        reading->is_done = true;
        reading->status = status;
        return;
    }
    buf_append_slice(&reading->content, piece);
    if (reading->abort_after != 0 && reading->content.len >= reading->abort_after) {
        blob_read_abort(reading->reader);
        reading->is_done = true;
        return;
    }
    blob_read_next(reading->reader);
}

static struct reading read_blob(struct fixture *fixture, const char *hex, uint64_t offset, uint64_t len,
                                size_t abort_after)
{
    struct reading reading = {.abort_after = abort_after};
    buf_init(&reading.content, 64u << 20);
    assert_int_equal(blob_read_begin(fixture->store, hex, offset, len, on_piece, &reading, &reading.reader), STATUS_OK);
    turn_until(fixture, &reading.is_done);
    return reading;
}

/* --- tests --- */

static void test_round_trip(void **state)
{
    struct fixture *fixture = *state;
    static const size_t sizes[] = {0, 1, 65536, 262144, 262145, SIZE_MAX_TEST};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        char *content = random_content(sizes[i], i);
        char hex[SHA256_HEX_SIZE];
        hex_of(slice_of(content, sizes[i]), hex);
        uint64_t size;
        assert_int_equal(blob_stat(fixture->store, hex, &size), STATUS_NOT_FOUND);
        struct outcome_of_upload outcome = upload(fixture, NULL, slice_of(content, sizes[i]), 64000);
        assert_int_equal(outcome.status, STATUS_OK);
        assert_string_equal(outcome.hex, hex);
        assert_int_equal(outcome.size, sizes[i]);
        assert_true(outcome.is_new);
        assert_int_equal(blob_stat(fixture->store, hex, &size), STATUS_OK);
        assert_int_equal(size, sizes[i]);
        struct reading reading = read_blob(fixture, hex, 0, size, 0);
        assert_int_equal(reading.status, STATUS_OK);
        assert_true(slice_equal(buf_slice(&reading.content), slice_of(content, sizes[i])));
        buf_free(&reading.content);
        /* Once more: the same blob, not a new one. */
        outcome = upload(fixture, hex, slice_of(content, sizes[i]), 1u << 20);
        assert_int_equal(outcome.status, STATUS_OK);
        assert_false(outcome.is_new);
        free(content);
    }
    assert_int_equal(files_in_tmp(fixture), 0);
}

static void test_ranges(void **state)
{
    struct fixture *fixture = *state;
    size_t len = 600000;
    char *content = random_content(len, 9);
    struct outcome_of_upload outcome = upload(fixture, NULL, slice_of(content, len), len);
    static const struct {
        uint64_t offset, len;
    } ranges[] = {{0, 1}, {599999, 1}, {600000, 0}, {1, 599999}, {262144, 262144}};
    for (size_t i = 0; i < sizeof(ranges) / sizeof(*ranges); i++) {
        struct reading reading = read_blob(fixture, outcome.hex, ranges[i].offset, ranges[i].len, 0);
        assert_int_equal(reading.status, STATUS_OK);
        assert_true(
            slice_equal(buf_slice(&reading.content), slice_of(content + ranges[i].offset, (size_t)ranges[i].len)));
        buf_free(&reading.content);
    }
    struct reading unused;
    assert_int_equal(blob_read_begin(fixture->store, outcome.hex, 600001, 0, on_piece, &unused, &unused.reader),
                     STATUS_RANGE);
    assert_int_equal(blob_read_begin(fixture->store, outcome.hex, 1, 600000, on_piece, &unused, &unused.reader),
                     STATUS_RANGE);
    assert_int_equal(blob_read_begin(fixture->store, outcome.hex, 1, UINT64_MAX, on_piece, &unused, &unused.reader),
                     STATUS_RANGE);
    /* A reader that goes away in the middle, and one that goes away before the first piece. */
    struct reading reading = read_blob(fixture, outcome.hex, 0, len, 1);
    assert_true(reading.content.len > 0 && reading.content.len < len);
    buf_free(&reading.content);
    assert_int_equal(blob_read_begin(fixture->store, outcome.hex, 0, len, on_piece, &unused, &unused.reader),
                     STATUS_OK);
    blob_read_abort(unused.reader);
    free(content);
}

static void test_names_are_checked(void **state)
{
    struct fixture *fixture = *state;
    static const char *const names[] = {
        "",
        "..",
        "../../etc/passwd",
        "abc",
        "ABCDEF0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF0123456789",
        "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde/",
        "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0",
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        uint64_t size;
        struct blob_upload *upload;
        assert_int_equal(blob_stat(fixture->store, names[i], &size), STATUS_NOT_FOUND);
        assert_int_equal(blob_upload_begin(fixture->store, names[i], on_room, NULL, NULL, &upload), STATUS_INVALID);
    }
}

static void test_digest_mismatch_leaves_nothing(void **state)
{
    struct fixture *fixture = *state;
    char hex[SHA256_HEX_SIZE], other[SHA256_HEX_SIZE];
    hex_of(SLICE("something else"), other);
    hex_of(SLICE("content"), hex);
    struct outcome_of_upload outcome = upload(fixture, other, SLICE("content"), 3);
    assert_int_equal(outcome.status, STATUS_DIGEST_MISMATCH);
    uint64_t size;
    assert_int_equal(blob_stat(fixture->store, hex, &size), STATUS_NOT_FOUND);
    assert_int_equal(blob_stat(fixture->store, other, &size), STATUS_NOT_FOUND);
    assert_int_equal(files_in_tmp(fixture), 0);
}

static void test_too_large_leaves_nothing(void **state)
{
    struct fixture *fixture = *state;
    char *content = random_content(SIZE_MAX_TEST + 1, 3);
    static const size_t pieces[] = {SIZE_MAX_TEST + 1, 100000, 1u << 20};
    for (size_t i = 0; i < 3; i++) {
        struct outcome_of_upload outcome = upload(fixture, NULL, slice_of(content, SIZE_MAX_TEST + 1), pieces[i]);
        assert_int_equal(outcome.status, STATUS_TOO_LARGE);
        assert_int_equal(files_in_tmp(fixture), 0);
    }
    char hex[SHA256_HEX_SIZE];
    hex_of(slice_of(content, SIZE_MAX_TEST + 1), hex);
    uint64_t size;
    assert_int_equal(blob_stat(fixture->store, hex, &size), STATUS_NOT_FOUND);
    free(content);
}

static void test_abort_leaves_nothing(void **state)
{
    struct fixture *fixture = *state;
    char *content = random_content(1u << 20, 4);
    /* Before anything, after a piece that no worker has seen, and while a worker writes. */
    static const size_t lens[] = {0, 1000, 1u << 20};
    for (size_t i = 0; i < 3; i++) {
        struct blob_upload *upload;
        assert_int_equal(blob_upload_begin(fixture->store, NULL, on_room, NULL, NULL, &upload), STATUS_OK);
        if (lens[i] > 0) {
            (void)blob_upload_write(upload, slice_of(content, lens[i]));
        }
        blob_upload_abort(upload);
    }
    struct outcome_of_upload after = upload(fixture, NULL, SLICE("after them"), 4);
    assert_int_equal(after.status, STATUS_OK);
    while (files_in_tmp(fixture) > 0) {
        assert_true(uv_run(&fixture->loop.uv, UV_RUN_ONCE) != 0);
    }
    free(content);
}

static void test_the_same_content_at_once(void **state)
{
    struct fixture *fixture = *state;
    size_t len = 700000;
    char *content = random_content(len, 5);
    struct blob_upload *uploads[8];
    struct outcome_of_upload outcomes[8] = {0};
    for (size_t i = 0; i < 8; i++) {
        assert_int_equal(blob_upload_begin(fixture->store, NULL, on_room, NULL, &outcomes[i], &uploads[i]), STATUS_OK);
        (void)blob_upload_write(uploads[i], slice_of(content, len));
    }
    for (size_t i = 0; i < 8; i++) {
        blob_upload_end(uploads[i], on_done, &outcomes[i]);
    }
    unsigned fresh = 0;
    for (size_t i = 0; i < 8; i++) {
        turn_until(fixture, &outcomes[i].is_done);
        assert_int_equal(outcomes[i].status, STATUS_OK);
        assert_string_equal(outcomes[i].hex, outcomes[0].hex);
        fresh += outcomes[i].is_new;
    }
    assert_int_equal(fresh, 1);
    assert_int_equal(files_in_tmp(fixture), 0);
    struct reading reading = read_blob(fixture, outcomes[0].hex, 0, len, 0);
    assert_true(slice_equal(buf_slice(&reading.content), slice_of(content, len)));
    buf_free(&reading.content);
    free(content);
}

static void test_leftovers_and_damage(void **state)
{
    struct fixture *fixture = *state;
    struct outcome_of_upload outcome = upload(fixture, NULL, SLICE("whole"), 5);
    char path[256];
    (void)snprintf(path, sizeof(path), "%s/%.2s/%s", fixture->dir, outcome.hex, outcome.hex);
    assert_int_equal(truncate(path, 2), 0);
    /* A sender that brings a damaged blob again mends it. */
    outcome = upload(fixture, NULL, SLICE("whole"), 5);
    assert_int_equal(outcome.status, STATUS_OK);
    assert_true(outcome.is_new);
    uint64_t size;
    assert_int_equal(blob_stat(fixture->store, outcome.hex, &size), STATUS_OK);
    assert_int_equal(size, 5);

    (void)snprintf(path, sizeof(path), "%s/tmp/77.part", fixture->dir);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fclose(file), 0);
    blob_store_close(fixture->store);
    assert_int_equal(blob_store_open(&fixture->loop, fixture->dir, SIZE_MAX_TEST, &fixture->store), STATUS_OK);
    assert_int_equal(files_in_tmp(fixture), 0);
    assert_int_equal(blob_stat(fixture->store, outcome.hex, &size), STATUS_OK);
}

static void test_a_file_cut_under_a_reader(void **state)
{
    struct fixture *fixture = *state;
    char *content = random_content(1u << 20, 6);
    struct outcome_of_upload outcome = upload(fixture, NULL, slice_of(content, 1u << 20), 1u << 20);
    char path[256];
    (void)snprintf(path, sizeof(path), "%s/%.2s/%s", fixture->dir, outcome.hex, outcome.hex);
    struct reading reading = {0};
    buf_init(&reading.content, 64u << 20);
    assert_int_equal(blob_read_begin(fixture->store, outcome.hex, 0, 1u << 20, on_piece, &reading, &reading.reader),
                     STATUS_OK);
    assert_int_equal(truncate(path, 10), 0);
    turn_until(fixture, &reading.is_done);
    assert_int_equal(reading.status, STATUS_CORRUPT);
    buf_free(&reading.content);
    free(content);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_round_trip, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ranges, setup, teardown),
        cmocka_unit_test_setup_teardown(test_names_are_checked, setup, teardown),
        cmocka_unit_test_setup_teardown(test_digest_mismatch_leaves_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_too_large_leaves_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_abort_leaves_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_same_content_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_leftovers_and_damage, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_file_cut_under_a_reader, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
