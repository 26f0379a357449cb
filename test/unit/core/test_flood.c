/* Keys that a client made collide cost no more than others: their place in the maps depends on a secret.
 *
 * The keys here collide under the hash that a core without a secret uses, found by trying. What is looked at is the longest
 * run of a map, so that no clock has a say. */
#include <stdio.h>
#include <stdlib.h>

#include "fixture_each.h"

#include "core/core_internal.h"

#define KEYS 3000u
#define PLACE_BITS 12u /* 3000 keys fill a map of 4096 places to under 3/4 */
#define KEY_SIZE 24u
#define RUN_MAX 400u /* random keys: about 100; those here without a secret: 3000 */

static char keys[KEYS][KEY_SIZE];

/* Keys whose hash, under a key of zeros, has zeros where a map of 2^PLACE_BITS places looks. */
static void make_keys(uint64_t tweak)
{
    const struct hash_key none = {{0, 0}};
    uint32_t count = 0;
    for (uint64_t number = 0; count < KEYS; number++) {
        int len = snprintf(keys[count], KEY_SIZE, "%llx", (unsigned long long)number);
        struct slice key = slice_of(keys[count], (size_t)len);
        count += (hash_keyed(&none, tweak, key) & ((1u << PLACE_BITS) - 1)) == 0;
    }
}

/* The same for digests; they are named by nothing but the tasks below, as if their blobs were there. */
static uint8_t digests[KEYS][SHA256_SIZE];
static void make_digests(void)
{
    const struct hash_key none = {{0, 0}};
    uint32_t count = 0;
    for (uint64_t number = 0; count < KEYS; number++) {
        memcpy(digests[count], &number, sizeof(number));
        struct slice digest = slice_of((const char *)digests[count], SHA256_SIZE);
        count += (hash_keyed(&none, 0, digest) & ((1u << PLACE_BITS) - 1)) == 0;
    }
}

static void configure(bool has_secret, const char *secret)
{
    command_put_configure(fixture_batch(&f), &(struct command_configure){
                                                 .secret = slice_of(secret, has_secret ? COMMAND_SECRET_SIZE : 0)});
    fixture_apply(&f);
}

/* Submits a task with each of the keys, as idempotency key, unique key and fairness key at once. */
static void submit_keys(void)
{
    f.is_unchecked = true;
    for (uint32_t i = 0; i < KEYS; i++) {
        struct command_submit submit = submit_default();
        submit.idempotency_key = submit.unique_key = submit.fairness_key = slice_str(keys[i]);
        submit.unique_mode = UNIQUE_UNFINISHED;
        char input[SHA256_HEX_SIZE + 16] = "\"sha256:";
        hex_encode(digests[i], SHA256_SIZE, input + strlen(input));
        submit.input = slice_str(strcat(input, "\""));
        command_put_submit(fixture_batch(&f), &submit);
        if (i % 500 == 499) {
            fixture_apply(&f);
        }
    }
    struct core_stats stats;
    core_stats(f.core, &stats);
    assert_int_equal(stats.accepted, KEYS);
}

static uint32_t longest_run(void)
{
    const struct map *maps[] = {&f.core->symbol_map, &f.core->unique_map, &f.core->idempotency_map,
                                &f.core->flow_map,   &f.core->slot_map,   &f.core->signature_map,
                                &f.core->blob_map};
    uint32_t longest = 0;
    for (size_t i = 0; i < ARRAY_COUNT(maps); i++) {
        uint32_t run = map_longest_run(maps[i]);
        longest = run > longest ? run : longest;
    }
    return longest;
}

static bool append_to(void *ctx, const void *data, size_t len)
{
    buf_append(ctx, data, len);
    return buf_status(ctx) == STATUS_OK;
}

/* What is loaded again has the same hash, and is what the test goes on with. */
static void reload(void)
{
    struct buf saved;
    struct core *loaded;
    uint64_t fingerprint = core_fingerprint(f.core);
    buf_init(&saved, 1 << 26);
    assert_int_equal(core_save(f.core, append_to, &saved), STATUS_OK);
    assert_int_equal(core_load(buf_slice(&saved), &loaded), STATUS_OK);
    assert_true(core_fingerprint(loaded) == fingerprint);
    core_free(f.core);
    f.core = loaded;
    buf_free(&saved);
}

static void test_keys_that_collide_do_not_with_a_secret(void **state)
{
    (void)state;
    configure(true, "the secret of this data directory");
    submit_keys();
    assert_true(longest_run() < RUN_MAX);
    reload();
    assert_true(longest_run() < RUN_MAX);
}

/* An older data directory: the keys are there, and collide, when the secret comes. */
static void test_a_secret_that_comes_later_moves_everything(void **state)
{
    (void)state;
    configure(false, "");
    submit_keys();
    assert_true(longest_run() >= KEYS); /* or the keys prove nothing */
    configure(true, "a secret that comes with an upgrade");
    assert_true(longest_run() < RUN_MAX);
    reload();
    for (uint32_t i = 0; i < KEYS; i += 37) { /* everything is found again */
        assert_true(core_blob_is_named(f.core, digests[i]));
        struct command_submit submit = submit_default();
        submit.idempotency_key = slice_str(keys[i]);
        fixture_submit(&f, submit);
        assert_true(f.reply.is_duplicate);
    }
}

/* Cores with other secrets that see the same commands answer alike: no order of a map shows. */
static void test_outcomes_do_not_depend_on_the_secret(void **state)
{
    (void)state;
    uint64_t fingerprints[2];
    for (unsigned round = 0; round < 2; round++) {
        fixture_end(&f);
        fixture_begin(&f);
        configure(true, round == 0 ? "0123456789abcdef0123456789abcdef" : "fedcba9876543210fedcba9876543210");
        submit_keys();
        uint64_t session = fixture_node(&f, "n", 50);
        fixture_lost(&f, session);
        memset(f.core->secret, 0, sizeof(f.core->secret)); /* all but the secret itself */
        fingerprints[round] = core_fingerprint(f.core);
    }
    assert_true(fingerprints[0] == fingerprints[1]);
}

struct hashed {
    uint32_t hash, number;
};

static int by_hash(const void *a, const void *b)
{
    uint32_t left = ((const struct hashed *)a)->hash, right = ((const struct hashed *)b)->hash;
    return left < right ? -1 : left > right;
}

/* Two kinds of errors that a walk cannot tell apart without a secret. */
static void find_errors(char ret[2][KEY_SIZE])
{
    const uint32_t count = 400000; /* some forty pairs of 31 bits */
    const struct hash_key none = {{0, 0}};
    struct hashed *all = malloc(count * sizeof(*all));
    assert_non_null(all);
    for (uint32_t i = 0; i < count; i++) {
        int len = snprintf(ret[0], KEY_SIZE, "e%u", i);
        all[i] = (struct hashed){(uint32_t)hash_keyed(&none, 0, slice_of(ret[0], (size_t)len)) | 1u, i};
    }
    qsort(all, count, sizeof(*all), by_hash);
    uint32_t i = 1;
    while (i < count && all[i].hash != all[i - 1].hash) {
        i++;
    }
    assert_true(i < count);
    snprintf(ret[0], KEY_SIZE, "e%u", all[i - 1].number);
    snprintf(ret[1], KEY_SIZE, "e%u", all[i].number);
    free(all);
}

/* What it costs to say that no task has the error, among `count` dead ones with the other. */
static uint64_t steps_of(const char *error)
{
    struct task_filter filter = TASK_FILTER_ANY;
    uint64_t steps = 0;
    filter.error_kind = slice_str(error);
    assert_int_equal(core_task_next(f.core, &filter, LIST_NEWEST, UINT64_MAX, &steps), 0);
    return steps;
}

static void test_errors_that_collide_do_not_with_a_secret(void **state)
{
    (void)state;
    const uint32_t count = 2000;
    char errors[2][KEY_SIZE];
    find_errors(errors);
    f.is_unchecked = true;
    uint64_t session = fixture_node(&f, "n", 1);
    for (uint32_t i = 0; i < count; i++) {
        struct command_submit submit = submit_default();
        submit.retry.attempts_max = 1;
        fixture_submit(&f, submit);
        assert_int_equal(fixture_fail(&f, session, fixture_lease(&f), errors[0]), STATUS_OK);
        fixture_credit(&f, session, 1);
    }
    assert_true(steps_of(errors[1]) > count); /* or they prove nothing */
    configure(true, "a secret that comes with an upgrade");
    assert_true(steps_of(errors[1]) < count / 100);
    assert_null(core_check(f.core));
    reload();
    assert_true(steps_of(errors[1]) < count / 100);
}

static int begin_with_keys(void **state)
{
    if (keys[KEYS - 1][0] == 0) {
        make_keys(0);
        make_digests();
    }
    return begin(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_keys_that_collide_do_not_with_a_secret, begin_with_keys, end),
        cmocka_unit_test_setup_teardown(test_a_secret_that_comes_later_moves_everything, begin_with_keys, end),
        cmocka_unit_test_setup_teardown(test_errors_that_collide_do_not_with_a_secret, begin, end),
        cmocka_unit_test_setup_teardown(test_outcomes_do_not_depend_on_the_secret, begin_with_keys, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
