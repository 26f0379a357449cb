#include "base/entropy.h"
#include "check.h"

static void test_same_seed_same_numbers(void **state)
{
    (void)state;
    struct rng a, b, c;
    rng_seed(&a, 7);
    rng_seed(&b, 7);
    rng_seed(&c, 8);
    bool differs = false;
    for (int i = 0; i < 100; i++) {
        uint64_t value = rng_u64(&a);
        assert_true(value == rng_u64(&b));
        differs |= value != rng_u64(&c);
    }
    assert_true(differs);
}

static void test_below_is_even(void **state)
{
    (void)state;
    struct rng rng = test_rng();
    int counts[10] = {0};
    for (int i = 0; i < 100000; i++) {
        uint64_t value = rng_below(&rng, 10);
        assert_true(value < 10);
        counts[value]++;
    }
    for (int i = 0; i < 10; i++) {
        assert_in_range(counts[i], 9500, 10500); /* five standard deviations are 474 */
    }
    assert_int_equal(rng_below(&rng, 1), 0);
}

static void test_random_bytes(void **state)
{
    (void)state;
    unsigned char a[32] = {0}, b[32] = {0};
    random_bytes(a, sizeof(a));
    random_bytes(b, sizeof(b));
    assert_memory_not_equal(a, b, sizeof(a));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_seed_same_numbers),
        cmocka_unit_test(test_below_is_even),
        cmocka_unit_test(test_random_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
