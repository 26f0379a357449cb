/* Keys that a client made collide cost no more than others: their place in the maps depends on a secret.
 *
 * The keys here collide under the hash that a core without a secret uses, found by trying. What is looked at is the longest
 * run of a map, so that no clock has a say. */
#include <stdio.h>

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
                                &f.core->flow_map,   &f.core->slot_map,   &f.core->signature_map};
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

static int begin_with_keys(void **state)
{
    if (keys[KEYS - 1][0] == 0) {
        make_keys(0);
    }
    return begin(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_keys_that_collide_do_not_with_a_secret, begin_with_keys, end),
        cmocka_unit_test_setup_teardown(test_a_secret_that_comes_later_moves_everything, begin_with_keys, end),
        cmocka_unit_test_setup_teardown(test_outcomes_do_not_depend_on_the_secret, begin_with_keys, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
