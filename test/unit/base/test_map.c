#include "check.h"

#include "base/hash.h"
#include "base/map.h"

#define KEYS 3000

/* value -> key; the naive twin of the map is this table and `is_in`. */
struct table {
    uint64_t key[KEYS];
    bool is_in[KEYS];
    uint64_t hash_mask; /* few bits make long runs of collisions */
};

static uint64_t hash_key(const struct table *table, uint64_t key)
{
    return hash_mix(key) & table->hash_mask;
}

static bool key_equal(const void *ctx, uint32_t value, const void *key)
{
    return ((const struct table *)ctx)->key[value] == *(const uint64_t *)key;
}

static uint64_t hash_of(const void *ctx, uint32_t value)
{
    const struct table *table = ctx;
    return hash_key(table, table->key[value]);
}

static uint32_t find(const struct map *map, const struct table *table, uint64_t key)
{
    return map_find(map, hash_key(table, key), key_equal, table, &key);
}

static void run_model(struct rng *rng, uint64_t hash_mask, uint32_t keys, int steps)
{
    static struct table table;
    table.hash_mask = hash_mask;
    struct map map;
    map_init(&map);
    uint32_t count = 0;
    for (uint32_t i = 0; i < keys; i++) {
        table.key[i] = rng_u64(rng);
        table.is_in[i] = false;
        assert_int_equal(find(&map, &table, table.key[i]), MAP_NONE);
    }
    for (int step = 0; step < steps; step++) {
        uint32_t value = (uint32_t)rng_below(rng, keys);
        uint64_t hash = hash_key(&table, table.key[value]);
        if (table.is_in[value]) {
            map_remove(&map, hash, value, hash_of, &table);
            count--;
        } else {
            assert_true(map_add(&map, hash, value, hash_of, &table));
            count++;
        }
        table.is_in[value] = !table.is_in[value];
        assert_int_equal(map.len, count);
        uint32_t other = (uint32_t)rng_below(rng, keys);
        assert_int_equal(find(&map, &table, table.key[other]), table.is_in[other] ? other : MAP_NONE);
    }
    for (uint32_t i = 0; i < keys; i++) {
        assert_int_equal(find(&map, &table, table.key[i]), table.is_in[i] ? i : MAP_NONE);
    }
    map_free(&map);
    assert_int_equal(map.len, 0);
}

static void test_model(void **state)
{
    (void)state;
    struct rng rng = test_rng();
    run_model(&rng, UINT64_MAX, KEYS, 100000);
}

static void test_model_with_collisions(void **state)
{
    (void)state;
    struct rng rng = test_rng();
    run_model(&rng, 0, 50, 5000);                     /* all the same */
    run_model(&rng, 7, 200, 10000);                   /* eight places */
    run_model(&rng, UINT64_C(7) << 32, 200, 10000);   /* one place, eight tags */
    run_model(&rng, UINT64_C(0xFFFFFFF8), 100, 5000); /* runs that wrap around the end */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model),
        cmocka_unit_test(test_model_with_collisions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
