/* Saving and loading: the same state and the same future; damaged bytes are refused. (test_model.c continues a loaded core
 * for thousands of entries.) */
#include <stdio.h>
#include <stdlib.h>

#include "base/rng.h"
#include "fixture.h"

static bool append_to(void *ctx, const void *data, size_t len)
{
    buf_append(ctx, data, len);
    return buf_status(ctx) == STATUS_OK;
}

static bool refuse_all(void *ctx, const void *data, size_t len)
{
    (void)ctx;
    (void)data;
    (void)len;
    return false;
}

/* Something of everything: all states, keys, labels, a paused queue, attempts, a checkpoint, a gone node, free indices. */
static void fill(struct fixture *f)
{
    fixture_queue(f, "q", 1);
    uint64_t session = fixture_node(f, "n", 3);
    struct command_node_hello hello = hello_default("gone", 0);
    hello.facts.labels[0] = SLICE("zone=a");
    hello.facts.label_count = 1;
    fixture_lost(f, fixture_hello(f, hello));
    struct command_submit submit = submit_default();
    submit.idempotency_key = SLICE("key");
    submit.traceparent = SLICE("00-1-2");
    uint64_t id = fixture_submit(f, submit);
    struct lease_token token = fixture_lease(f);
    struct outcome progress = {.type = OUTCOME_PROGRESS,
                               .token = token,
                               .message = SLICE("note"),
                               .payload = SLICE("{}"),
                               .progress_permille = 5};
    fixture_report(f, session, &progress);
    fixture_fail(f, session, token, "code");
    uint64_t cancelled = fixture_submit(f, submit_default());
    fixture_task(f, COMMAND_CANCEL, cancelled);
    submit = submit_default();
    submit.unique_mode = UNIQUE_FOR_TIME;
    submit.unique_key = SLICE("u");
    submit.unique_ms = 5000;
    submit.ttl_ms = 9000;
    fixture_submit(f, submit);
    submit.unique_key = SLICE("v");
    submit.unique_mode = UNIQUE_QUEUED;
    submit.requirement = (struct requirement){.labels = {SLICE("zone=b"), SLICE("arm")}, .label_count = 2};
    submit.retry.not_retryable[0] = SLICE("poison");
    submit.retry.not_retryable_count = 1;
    fixture_submit(f, submit);
    submit = submit_default();
    submit.queue = SLICE("q");
    submit.fairness_key = SLICE("alice");
    fixture_submit(f, submit);
    assert_int_equal(fixture_state(f, id), TASK_SCHEDULED);
}

static void test_saved_and_loaded_are_the_same(void **state)
{
    (void)state;
    static struct fixture f;
    fixture_begin(&f);
    fill(&f);
    struct buf saved, again;
    buf_init(&saved, 1 << 24);
    buf_init(&again, 1 << 24);
    assert_int_equal(core_save(f.core, append_to, &saved), STATUS_OK);
    assert_int_equal(core_save(f.core, refuse_all, NULL), STATUS_IO);
    struct core *loaded;
    assert_int_equal(core_load(buf_slice(&saved), &loaded), STATUS_OK);
    assert_int_equal(core_save(loaded, append_to, &again), STATUS_OK);
    assert_true(slice_equal(buf_slice(&saved), buf_slice(&again)));
    uint8_t a[SHA256_SIZE], b[SHA256_SIZE];
    core_hash(f.core, a);
    core_hash(loaded, b);
    assert_memory_equal(a, b, SHA256_SIZE);
    assert_memory_equal(a, saved.data + saved.len - SHA256_SIZE, SHA256_SIZE);
    uint64_t fingerprint = core_fingerprint(f.core);
    assert_true(core_fingerprint(loaded) == fingerprint);
    struct core_stats one, other;
    core_stats(f.core, &one);
    core_stats(loaded, &other);
    assert_memory_equal(&one, &other, sizeof(one));
    fixture_tick(&f);
    core_hash(f.core, b);
    assert_memory_not_equal(a, b, SHA256_SIZE); /* an entry more is another state */
    assert_true(core_fingerprint(f.core) != fingerprint);
    core_free(loaded);
    buf_free(&saved);
    buf_free(&again);
    fixture_end(&f);
}

#define DIRECTORY_ENTRY_SIZE 16u

/* Puts the digest of what comes before it at the end of a state. */
static void sign(struct buf *state)
{
    sha256(slice_of(state->data, state->len - SHA256_SIZE), (uint8_t *)state->data + state->len - SHA256_SIZE);
}

static uint32_t section_count(const struct buf *state)
{
    return (uint32_t)le_get(state->data + state->len - SHA256_SIZE - 4, 4);
}

/* The place of the i-th entry of the directory. */
static size_t entry_at(const struct buf *state, uint32_t i)
{
    return state->len - SHA256_SIZE - 4 - (size_t)(section_count(state) - i) * DIRECTORY_ENTRY_SIZE;
}

static void refuse_as_newer(struct buf *state, const char *words)
{
    struct core *loaded = NULL;
    struct buf why;
    buf_init(&why, 512);
    sign(state);
    assert_false(core_state_is_current(buf_slice(state)));
    assert_int_equal(core_load_why(buf_slice(state), &loaded, &why), STATUS_TOO_NEW);
    assert_non_null(strstr(buf_cstr(&why), "newer Shoal"));
    assert_non_null(strstr(buf_cstr(&why), words));
    assert_null(loaded);
    buf_free(&why);
}

static void test_newer_states_are_refused_by_name(void **state)
{
    (void)state;
    static struct fixture f;
    fixture_begin(&f);
    fill(&f);
    struct buf saved;
    buf_init(&saved, 1 << 24);
    assert_int_equal(core_save(f.core, append_to, &saved), STATUS_OK);
    assert_true(core_state_is_current(buf_slice(&saved)));
    for (uint32_t i = 0; i < section_count(&saved); i++) {
        size_t at = entry_at(&saved, i);
        uint32_t tag = (uint32_t)le_get(saved.data + at, 4);
        uint32_t version = (uint32_t)le_get(saved.data + at + 4, 4);
        char words[32];
        buf_put_u32(&saved, at + 4, version + 1);
        (void)snprintf(words, sizeof(words), "section %.4s version %u", saved.data + at, version + 1);
        refuse_as_newer(&saved, words);
        buf_put_u32(&saved, at + 4, version);
        buf_put_u32(&saved, at, 0x58585858);
        (void)snprintf(words, sizeof(words), "section XXXX version %u", version);
        refuse_as_newer(&saved, words);
        buf_put_u32(&saved, at, tag);
    }
    uint32_t format = (uint32_t)le_get(saved.data + 8, 4);
    buf_put_u32(&saved, 8, format + 1);
    refuse_as_newer(&saved, "format");
    buf_put_u32(&saved, 8, format);
    sign(&saved);
    struct core *loaded;
    assert_int_equal(core_load(buf_slice(&saved), &loaded), STATUS_OK);
    core_free(loaded);
    buf_free(&saved);
    fixture_end(&f);
}

/* A directory that does not fit its sections: swapped, doubled, missing, too long, without a version. */
static void test_wrong_directories_are_refused(void **state)
{
    (void)state;
    static struct fixture f;
    fixture_begin(&f);
    fill(&f);
    struct buf saved;
    buf_init(&saved, 1 << 24);
    assert_int_equal(core_save(f.core, append_to, &saved), STATUS_OK);
    uint32_t count = section_count(&saved);
    struct core *loaded = NULL;
    for (uint32_t i = 0; i < count; i++) {
        char kept[DIRECTORY_ENTRY_SIZE];
        size_t at = entry_at(&saved, i);
        memcpy(kept, saved.data + at, sizeof(kept));
        memcpy(saved.data + at, saved.data + entry_at(&saved, (i + 1) % count), 8); /* another's tag and version */
        sign(&saved);
        assert_int_equal(core_load(buf_slice(&saved), &loaded), STATUS_CORRUPT);
        memcpy(saved.data + at, kept, sizeof(kept));
        buf_put_u32(&saved, at + 4, 0);
        sign(&saved);
        assert_int_equal(core_load(buf_slice(&saved), &loaded), STATUS_CORRUPT);
        memcpy(saved.data + at, kept, sizeof(kept));
        for (uint32_t k = 0; k < 8; k++) {
            saved.data[at + 8 + k] ^= 0x40;
            sign(&saved);
            assert_int_equal(core_load(buf_slice(&saved), &loaded), STATUS_CORRUPT);
            saved.data[at + 8 + k] ^= 0x40;
        }
    }
    static const uint32_t counts[] = {0, 1, 13, 15, UINT32_MAX, 1u << 28};
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        buf_put_u32(&saved, saved.len - SHA256_SIZE - 4, counts[i]);
        sign(&saved);
        assert_int_not_equal(core_load(buf_slice(&saved), &loaded), STATUS_OK);
    }
    assert_null(loaded);
    buf_free(&saved);
    fixture_end(&f);
}

static void test_damage_is_refused(void **state)
{
    (void)state;
    static struct fixture f;
    fixture_begin(&f);
    fill(&f);
    struct buf saved;
    buf_init(&saved, 1 << 24);
    assert_int_equal(core_save(f.core, append_to, &saved), STATUS_OK);
    struct core *loaded = NULL;
    for (size_t len = 0; len < saved.len; len++) {
        assert_int_equal(core_load(slice_of(saved.data, len), &loaded), STATUS_CORRUPT);
    }
    for (size_t at = 0; at < saved.len; at++) {
        saved.data[at] ^= 1 << at % 8;
        assert_int_equal(core_load(buf_slice(&saved), &loaded), STATUS_CORRUPT);
        saved.data[at] ^= 1 << at % 8;
    }
    assert_null(loaded);
    buf_free(&saved);
    fixture_end(&f);
}

/* Behind a digest that fits: refused, or a state that holds together and can go on. */
static void test_forged_states_do_no_harm(void **state)
{
    (void)state;
    static struct fixture f;
    fixture_begin(&f);
    fill(&f);
    struct buf saved, effects, body;
    buf_init(&saved, 1 << 24);
    buf_init(&effects, 1 << 24);
    buf_init(&body, 1 << 20);
    assert_int_equal(core_save(f.core, append_to, &saved), STATUS_OK);
    struct entry_head head = {.count = 1};
    entry_head_put(&body, &head);
    command_put_tick(&body);
    struct rng rng;
    rng_seed(&rng, 11);
    size_t len = saved.len - SHA256_SIZE;
    uint32_t accepted = 0;
    for (size_t i = 0; i < len * 3; i++) {
        size_t at = i % len;
        char before = saved.data[at];
        saved.data[at] = i < len ? (char)0xFF : i < 2 * len ? (char)(before + 1) : (char)rng_u64(&rng);
        sha256(slice_of(saved.data, len), (uint8_t *)saved.data + len);
        struct core *loaded;
        if (core_load(buf_slice(&saved), &loaded) == STATUS_OK) {
            accepted++;
            assert_null(core_check(loaded));
            struct core_entry entry = {core_seq(loaded) + 1, core_time_ns(loaded), buf_slice(&body)};
            buf_reset(&effects);
            assert_int_equal(core_apply(loaded, &entry, &effects), STATUS_OK);
            assert_null(core_check(loaded));
            core_free(loaded);
        }
        saved.data[at] = before;
    }
    assert_true(accepted > 0 && accepted < len * 3);
    buf_free(&saved);
    buf_free(&effects);
    buf_free(&body);
    fixture_end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_saved_and_loaded_are_the_same),    cmocka_unit_test(test_damage_is_refused),
        cmocka_unit_test(test_newer_states_are_refused_by_name), cmocka_unit_test(test_wrong_directories_are_refused),
        cmocka_unit_test(test_forged_states_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
