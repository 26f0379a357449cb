#include "check.h"

#include "base/slab.h"

#define MODEL_MAX 3000 /* three chunks */

struct model {
    uint32_t free_order[MODEL_MAX]; /* the last one is handed out next */
    uint32_t free_count;
    uint32_t len;
    uint64_t value[MODEL_MAX]; /* 0: not live */
};

static void check_against(const struct slab *slab, const struct model *model)
{
    uint32_t live = 0;
    uint32_t at = slab_next(slab, 0);
    for (uint32_t i = 0; i < model->len; i++) {
        assert_int_equal(slab_is_live(slab, i), model->value[i] != 0);
        if (model->value[i] != 0) {
            assert_int_equal(at, i);
            assert_true(*(uint64_t *)slab_at(slab, i) == model->value[i]);
            at = slab_next(slab, i + 1);
            live++;
        }
    }
    assert_int_equal(at, SLAB_NONE);
    assert_int_equal(slab->used, live);
    uint32_t index = slab->free_head;
    for (uint32_t i = model->free_count; i > 0; i--) {
        assert_int_equal(index, model->free_order[i - 1]);
        index = slab_free_after(slab, index);
    }
    assert_int_equal(index, SLAB_NONE);
}

static void test_model(void **state)
{
    (void)state;
    struct rng rng = test_rng();
    static struct model model;
    struct slab slab;
    slab_init(&slab, 24, MODEL_MAX);
    uint32_t lean = 50;
    for (int step = 0; step < 60000; step++) {
        if (step % 5000 == 0) { /* phases of growth and decline */
            lean = 20 + (uint32_t)rng_below(&rng, 70);
            check_against(&slab, &model);
        }
        if (rng_below(&rng, 100) < lean) {
            uint32_t expected = model.free_count > 0    ? model.free_order[model.free_count - 1]
                                : model.len < MODEL_MAX ? model.len
                                                        : SLAB_NONE;
            uint32_t index = slab_alloc(&slab);
            assert_int_equal(index, expected);
            if (index == SLAB_NONE) {
                continue;
            }
            model.free_count > 0 ? model.free_count-- : model.len++;
            static const char zeros[24];
            assert_memory_equal(slab_at(&slab, index), zeros, sizeof(zeros));
            model.value[index] = rng_u64(&rng) | 1;
            memset(slab_at(&slab, index), 0xFF, 24);
            *(uint64_t *)slab_at(&slab, index) = model.value[index];
        } else if (slab.used > 0) {
            uint32_t index = slab_next(&slab, (uint32_t)rng_below(&rng, model.len));
            if (index == SLAB_NONE) {
                index = slab_next(&slab, 0);
            }
            slab_free(&slab, index);
            model.value[index] = 0;
            model.free_order[model.free_count++] = index;
        }
    }
    check_against(&slab, &model);
    slab_free_all(&slab);
    assert_int_equal(slab.used, 0);
}

/* A restored slab goes on exactly like the one that was saved. */
static void test_restore(void **state)
{
    (void)state;
    struct rng rng = test_rng();
    struct slab slab, copy;
    slab_init(&slab, 8, 5000);
    slab_init(&copy, 8, 5000);
    for (int i = 0; i < 4000; i++) {
        assert_int_not_equal(slab_alloc(&slab), SLAB_NONE);
    }
    for (int i = 0; i < 2500; i++) {
        uint32_t index = slab_next(&slab, (uint32_t)rng_below(&rng, 4000));
        if (index != SLAB_NONE) {
            slab_free(&slab, index);
        }
    }
    static uint32_t order[4000];
    uint32_t count = 0;
    for (uint32_t at = slab.free_head; at != SLAB_NONE; at = slab_free_after(&slab, at)) {
        order[count++] = at;
    }
    assert_int_equal(count + slab.used, slab.len);
    assert_true(slab_restore(&copy, slab.len, order, count));
    assert_int_equal(copy.used, slab.used);
    for (int i = 0; i < 3000; i++) {
        assert_int_equal(slab_alloc(&slab), slab_alloc(&copy));
    }
    slab_free_all(&slab);
    slab_free_all(&copy);
}

static void test_restore_refuses_contradictions(void **state)
{
    (void)state;
    static const struct {
        uint32_t len;
        uint32_t order[3];
        uint32_t count;
    } cases[] = {
        {10, {1, 1}, 2},                     /* twice free */
        {10, {10}, 1},                       /* past the end */
        {2, {0, 1, 0}, 3},    {101, {0}, 0}, /* past the maximum */
        {10, {SLAB_NONE}, 1},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct slab slab;
        slab_init(&slab, 8, 100);
        assert_false(slab_restore(&slab, cases[i].len, cases[i].order, cases[i].count));
        slab_free_all(&slab);
    }
}

static void test_any_index_may_be_asked_for(void **state)
{
    (void)state;
    struct slab slab;
    slab_init(&slab, 1, 1);
    assert_false(slab_is_live(&slab, 0));
    assert_false(slab_is_live(&slab, SLAB_NONE));
    assert_int_equal(slab_next(&slab, 0), SLAB_NONE);
    assert_int_equal(slab_alloc(&slab), 0);
    assert_int_equal(slab_alloc(&slab), SLAB_NONE);
    assert_true(slab_is_live(&slab, 0));
    assert_false(slab_is_live(&slab, 1));
    slab_free_all(&slab);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model),
        cmocka_unit_test(test_restore),
        cmocka_unit_test(test_restore_refuses_contradictions),
        cmocka_unit_test(test_any_index_may_be_asked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
