#include "check.h"

#include "base/heap.h"

#define ITEMS 500

struct items {
    uint32_t key[ITEMS];
    uint32_t position[ITEMS];
};

static bool is_before(void *ctx, uint32_t a, uint32_t b)
{
    struct items *items = ctx;
    return items->key[a] != items->key[b] ? items->key[a] < items->key[b] : a < b;
}

static void set_position(void *ctx, uint32_t item, uint32_t position)
{
    ((struct items *)ctx)->position[item] = position;
}

static uint32_t least_of(struct items *items)
{
    uint32_t least = HEAP_NONE;
    for (uint32_t i = 0; i < ITEMS; i++) {
        if (items->position[i] != HEAP_NONE && (least == HEAP_NONE || is_before(items, i, least))) {
            least = i;
        }
    }
    return least;
}

static void test_model(void **state)
{
    (void)state;
    struct rng rng = test_rng();
    static struct items items;
    for (uint32_t i = 0; i < ITEMS; i++) {
        items.position[i] = HEAP_NONE;
    }
    struct heap heap;
    heap_init(&heap, is_before, set_position, &items);
    assert_int_equal(heap_top(&heap), HEAP_NONE);
    uint32_t count = 0;
    for (int step = 0; step < 30000; step++) {
        uint32_t item = (uint32_t)rng_below(&rng, ITEMS);
        if (items.position[item] == HEAP_NONE) {
            items.key[item] = (uint32_t)rng_below(&rng, 100);
            assert_true(heap_push(&heap, item));
            count++;
        } else if (rng_below(&rng, 2) == 0) {
            items.key[item] = (uint32_t)rng_below(&rng, 100);
            heap_fix(&heap, items.position[item]);
        } else {
            heap_remove(&heap, items.position[item]);
            assert_int_equal(items.position[item], HEAP_NONE);
            count--;
        }
        assert_int_equal(heap.len, count);
        assert_int_equal(heap_top(&heap), least_of(&items));
        if (step % 100 == 0) {
            assert_true(heap_is_ordered(&heap));
            for (uint32_t i = 0; i < heap.len; i++) {
                assert_int_equal(items.position[heap.items[i]], i);
            }
        }
    }
    while (heap.len > 0) {
        uint32_t top = heap_top(&heap);
        assert_int_equal(top, least_of(&items));
        heap_remove(&heap, 0);
    }
    heap_free(&heap);
}

static void test_check_sees_disorder(void **state)
{
    (void)state;
    static struct items items = {.key = {1, 2, 3}};
    struct heap heap;
    heap_init(&heap, is_before, set_position, &items);
    for (uint32_t i = 0; i < 3; i++) {
        assert_true(heap_push(&heap, i));
    }
    assert_true(heap_is_ordered(&heap));
    items.key[2] = 0;
    assert_false(heap_is_ordered(&heap));
    heap_fix(&heap, items.position[2]);
    assert_true(heap_is_ordered(&heap));
    heap_free(&heap);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model),
        cmocka_unit_test(test_check_sees_disorder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
