/* The store of compiled programs and blobs: keeps, forgets the oldest, survives restarts and damage. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "work/code/code_store.h"
#include "work/sandbox/memfile.h"

static char dir[64];
static struct code_store *store;

static void key_of(int n, char ret_key[SHA256_HEX_SIZE])
{
    uint8_t digest[SHA256_SIZE];
    sha256(slice_of(&n, sizeof(n)), digest);
    hex_encode(digest, sizeof(digest), ret_key);
}

static void put(int n, size_t size)
{
    char key[SHA256_HEX_SIZE], *content = malloc(size + 1);
    key_of(n, key);
    memset(content, 'a' + n % 26, size);
    int fd = memfile_of("test", slice_of(content, size));
    assert_true(fd >= 0);
    code_store_put(store, key, fd);
    close(fd);
    free(content);
}

static bool has(int n, size_t size)
{
    char key[SHA256_HEX_SIZE];
    int fd;
    key_of(n, key);
    if (code_store_get(store, key, &fd) != STATUS_OK) {
        return false;
    }
    struct buf bytes;
    buf_init(&bytes, 1 << 26);
    assert_int_equal(memfile_read(fd, &bytes), STATUS_OK);
    assert_int_equal(bytes.len, size);
    for (size_t i = 0; i < size; i++) {
        assert_int_equal(bytes.data[i], 'a' + n % 26);
    }
    assert_int_equal(write(fd, "x", 1), -1); /* read-only or sealed */
    buf_free(&bytes);
    close(fd);
    return true;
}

static void reopen(uint64_t size_max)
{
    code_store_close(store);
    store = NULL;
    assert_int_equal(code_store_open(dir, size_max, STORE_KEYS_ANY, &store), STATUS_OK);
}

static int setup(void **ctx)
{
    (void)ctx;
    strcpy(dir, "/tmp/shoal-test-store.XXXXXX");
    if (mkdtemp(dir) == NULL) {
        return 1;
    }
    return code_store_open(dir, 1 << 20, STORE_KEYS_ANY, &store) != STATUS_OK;
}

static int teardown(void **ctx)
{
    (void)ctx;
    code_store_close(store);
    store = NULL;
    char command[128];
    snprintf(command, sizeof(command), "rm -r %s", dir);
    return system(command);
}

static void test_keeps(void **ctx)
{
    (void)ctx;
    assert_false(has(1, 10));
    put(1, 10);
    put(2, 0);
    assert_true(has(1, 10));
    assert_true(has(2, 0));
    put(1, 10);
    reopen(1 << 20);
    assert_true(has(1, 10));
    assert_true(has(2, 0));
    assert_false(has(3, 10));
}

static void test_forgets_the_oldest(void **ctx)
{
    (void)ctx;
    for (int i = 0; i < 10; i++) {
        put(i, 100000);
    }
    assert_true(has(0, 100000)); /* now the most recently used */
    put(10, 100000);
    assert_true(has(0, 100000));
    assert_true(has(10, 100000));
    assert_false(has(1, 100000));
    char path[256], key[SHA256_HEX_SIZE];
    key_of(1, key);
    snprintf(path, sizeof(path), "%s/%s", dir, key);
    assert_int_not_equal(access(path, F_OK), 0);
    reopen(250000);
    int count = 0;
    for (int i = 0; i <= 10; i++) {
        count += has(i, 100000);
    }
    assert_int_equal(count, 2);
    /* larger than the whole store: not on disk, but had for a while */
    put(11, 500000);
    assert_true(has(11, 500000));
    reopen(250000);
    assert_false(has(11, 500000));
}

static void test_damage(void **ctx)
{
    (void)ctx;
    char path[256], key[SHA256_HEX_SIZE];
    for (int i = 0; i < 3; i++) {
        put(i, 1000);
    }
    key_of(0, key);
    snprintf(path, sizeof(path), "%s/%s", dir, key);
    int fd = open(path, O_WRONLY);
    assert_int_equal(pwrite(fd, "!", 1, 500), 1); /* one byte inside */
    close(fd);
    key_of(1, key);
    snprintf(path, sizeof(path), "%s/%s", dir, key);
    assert_int_equal(truncate(path, 700), 0);
    /* left over from a crash, and things that do not belong here */
    snprintf(path, sizeof(path), "%s/%s.7.new", dir, key);
    assert_int_equal(symlink("/etc/passwd", path), 0);
    reopen(1 << 20);
    assert_int_not_equal(access(path, F_OK), 0);
    assert_false(has(0, 1000));
    assert_false(has(1, 1000));
    assert_true(has(2, 1000));
    put(0, 1000);
    assert_true(has(0, 1000));
    /* a link in place of content is not followed */
    key_of(2, key);
    snprintf(path, sizeof(path), "%s/%s", dir, key);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink("/etc/passwd", path), 0);
    reopen(1 << 20);
    assert_false(has(2, 1000));
}

/* Blobs come in pieces and are kept as they are, under their digest. */
static void test_drafts(void **ctx)
{
    (void)ctx;
    code_store_close(store);
    assert_int_equal(code_store_open(dir, 1 << 20, STORE_KEYS_DIGEST, &store), STATUS_OK);
    uint8_t digest[SHA256_SIZE];
    char key[SHA256_HEX_SIZE], path[256];
    sha256(SLICE("content"), digest);
    hex_encode(digest, sizeof(digest), key);
    struct code_draft draft;
    struct buf bytes;
    uint64_t size = 0;
    int fd = -1;
    buf_init(&bytes, 1 << 20);
    assert_int_equal(code_store_draft(store, key, UINT64_MAX / 2, &draft), STATUS_NO_SPACE);
    assert_int_equal(code_store_draft(store, key, 7, &draft), STATUS_OK);
    code_store_abandon(&draft);
    assert_false(code_store_size(store, key, &size));
    assert_int_equal(code_store_draft(store, key, 7, &draft), STATUS_OK);
    assert_true(memfile_write(draft.fd, SLICE("con")) && memfile_write(draft.fd, SLICE("tent")));
    assert_int_equal(code_store_adopt(store, key, &draft, &fd), STATUS_OK);
    assert_int_equal(memfile_read(fd, &bytes), STATUS_OK);
    assert_true(slice_equal_str(buf_slice(&bytes), "content"));
    assert_int_equal(write(fd, "x", 1), -1);
    close(fd);
    /* the file is the content; what does not have the digest of its name is not given out after a restart */
    snprintf(path, sizeof(path), "%s/%s", dir, key);
    for (int i = 0; i < 2; i++) {
        code_store_close(store);
        assert_int_equal(code_store_open(dir, 1 << 20, STORE_KEYS_DIGEST, &store), STATUS_OK);
        assert_true(code_store_size(store, key, &size));
        assert_int_equal(size, 7);
        assert_int_equal(code_store_get(store, key, &fd), i == 0 ? STATUS_OK : STATUS_NOT_FOUND);
        if (i == 0) {
            close(fd);
            fd = open(path, O_WRONLY | O_CLOEXEC);
            assert_int_equal(write(fd, "C", 1), 1);
            close(fd);
        }
    }
    /* larger than the store: readable, not kept */
    code_store_close(store);
    assert_int_equal(code_store_open(dir, 3, STORE_KEYS_DIGEST, &store), STATUS_OK);
    assert_int_equal(code_store_draft(store, key, 7, &draft), STATUS_OK);
    assert_true(memfile_write(draft.fd, SLICE("content")));
    assert_int_equal(code_store_adopt(store, key, &draft, &fd), STATUS_OK);
    buf_reset(&bytes);
    assert_int_equal(memfile_read(fd, &bytes), STATUS_OK);
    assert_int_equal(bytes.len, 7);
    close(fd);
    assert_false(code_store_size(store, key, &size));
    assert_int_not_equal(access(path, F_OK), 0);
    buf_free(&bytes);
}

static void *hammer(void *arg)
{
    unsigned seed = (unsigned)(uintptr_t)arg;
    for (int i = 0; i < 400; i++) {
        int n = rand_r(&seed) % 30;
        char key[SHA256_HEX_SIZE], content[20000];
        int fd;
        key_of(n, key);
        size_t size = 10000 + (size_t)n * 200;
        if (code_store_get(store, key, &fd) == STATUS_OK) {
            uint64_t found;
            if (!memfile_size(fd, &found) || found != size) {
                abort();
            }
        } else {
            memset(content, 'a' + n % 26, size);
            fd = memfile_of("test", slice_of(content, size));
            code_store_put(store, key, fd);
        }
        close(fd);
    }
    return NULL;
}

static void test_threads(void **ctx)
{
    (void)ctx;
    pthread_t threads[4];
    reopen(200000); /* room for about half */
    for (uintptr_t i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, hammer, (void *)(i + 1)), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
    }
    int count = 0;
    for (int i = 0; i < 30; i++) {
        count += has(i, 10000 + (size_t)i * 200);
    }
    assert_true(count > 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)
    const struct CMUnitTest tests[] = {T(keeps), T(forgets_the_oldest), T(damage), T(drafts), T(threads)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
