/* refs.c - how often the texts in memory name each blob.
 *
 * Every text that the core keeps is a block; one that names blobs is marked, so that only those are looked through again
 * when they go. Derived from the blocks: not saved, part of no hash, of no influence on any outcome. */
#include "base/hash.h"
#include "core/core_internal.h"
#include "proto/blob_name.h"

static bool is_equal(const void *ctx, uint32_t value, const void *key)
{
    const struct core *core = ctx;
    const struct blob_ref *ref = slab_at(&core->blob_refs, value);
    return memcmp(ref->digest, key, SHA256_SIZE) == 0;
}

/* A text can name a blob that never was, so that whoever writes texts chooses digests: keyed. */
static uint64_t digest_hash(const struct core *core, const uint8_t digest[SHA256_SIZE])
{
    return hash_keyed(&core->hash_key, 0, slice_of((const char *)digest, SHA256_SIZE));
}

static uint64_t hash_of(const void *ctx, uint32_t value)
{
    const struct core *core = ctx;
    const struct blob_ref *ref = slab_at(&core->blob_refs, value);
    return digest_hash(core, ref->digest);
}

bool refs_add(struct core *core, struct slice text)
{
    uint8_t digest[SHA256_SIZE];
    bool has_any = false;
    for (size_t at = 0; blob_name_next(text, &at, digest);) {
        has_any = true;
        uint64_t hash = digest_hash(core, digest);
        uint32_t index = map_find(&core->blob_map, hash, is_equal, core, digest);
        if (index == MAP_NONE) {
            index = slab_alloc(&core->blob_refs);
            ensure(index != SLAB_NONE);
            struct blob_ref *ref = slab_at(&core->blob_refs, index);
            memcpy(ref->digest, digest, SHA256_SIZE);
            ensure(map_add(&core->blob_map, hash, index, hash_of, core));
        }
        struct blob_ref *ref = slab_at(&core->blob_refs, index);
        ref->count++;
    }
    return has_any;
}

void refs_remove(struct core *core, struct slice text)
{
    uint8_t digest[SHA256_SIZE];
    for (size_t at = 0; blob_name_next(text, &at, digest);) {
        uint64_t hash = digest_hash(core, digest);
        uint32_t index = map_find(&core->blob_map, hash, is_equal, core, digest);
        ensure(index != MAP_NONE);
        struct blob_ref *ref = slab_at(&core->blob_refs, index);
        if (--ref->count == 0) {
            map_remove(&core->blob_map, hash, index, hash_of, core);
            slab_free(&core->blob_refs, index);
        }
    }
}

bool core_blob_is_named(const struct core *core, const uint8_t digest[SHA256_SIZE])
{
    ensure_magic(core, CORE_MAGIC);
    return map_find(&core->blob_map, digest_hash(core, digest), is_equal, core, digest) != MAP_NONE;
}

void refs_rehash(struct core *core)
{
    ensure(map_rehash(&core->blob_map, hash_of, core));
}
